"""Checkpoints of sharded weights: each process writes and reads its own part, as files of safetensors in one folder.

Written by torch.distributed.checkpoint in the form of `HuggingFaceStorageWriter`: the header of each file says where in the whole
tensors its parts lie. No file is pickled; what processes tell each other while they write is torch's own.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pushforward.errors import CheckpointError
from pushforward.files import check_tensors, disk, parse_json, read_json
from pushforward.training.checkpoint.contents import MANIFEST, bytes_of, check_space, commit, fill, flush, prune, sha256, staged
from pushforward.training.distributed.processes import Processes


def copied(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Copies of this process's part of tensors in the memory of the CPU, per group and name."""
    from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

    plain = StagingOptions(use_pinned_memory=False, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=False)
    copies: Any = DefaultStager(plain).stage({group: dict(tensors) for group, tensors in groups.items()})
    return dict(copies)


def save(
    channel: Processes, where: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], **options: Any
) -> None:
    """Write a checkpoint: each process its part, into one folder; the first one adds counters and hashes and publishes it.

    No other thread may use the channel meanwhile; ``options`` are those of `checkpoint.prune`.

    Raises:
        CheckpointError: If the disk refuses or has too little space; earlier checkpoints stay.
    """
    with contextlib.ExitStack() as stack:
        temporary = None
        with _all_or_none(channel):
            if channel.rank == 0:
                check_space(where, bytes_of(tensors.values()))
                temporary = stack.enter_context(staged(where))
        shared = Path(channel.first(str(temporary)))
        with _all_or_none(channel), disk(where):
            written = _write(shared, tensors, channel.rank, channel.control)
        files = channel.gathered(written)
        if channel.rank == 0:
            fill(shared, {}, {**state, "processes": channel.count})
            commit(shared, where, {name: entry for written in files for name, entry in written.items()})
    if channel.rank == 0:
        prune(where, **options)


@contextlib.contextmanager
def _all_or_none(channel: Processes) -> Iterator[None]:
    """Within this context the refusal of one process's disk is that of all: each waits at its end.

    Raises:
        CheckpointError: The same in every process.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is, the others wait for this process
        own = error
    if (words := channel.failure(None if own is None else str(own) or type(own).__name__)) is not None:
        raise CheckpointError(words) from own


def _write(folder: Path, groups: Mapping[str, Mapping[str, Tensor]], rank: int, control: Any) -> dict[str, dict[str, Any]]:
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save

    with _as_error(f"{folder.parent} could not be written", "What was saved before is intact."):
        save(_named(groups), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True), process_group=control)
    own = [path for path in folder.glob(f"shard-{rank + 1:05d}-*") if path.is_file()]
    for path in own:
        flush(path)
    return {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in own}


def read(folder: Path, listed: Sequence[str], device: torch.device | str = "cpu") -> dict[str, dict[str, Tensor]]:
    """The tensors of a sharded checkpoint by group and name, whole; one process reads all of them.

    Raises:
        CheckpointError: If a file is damaged or is not listed, or the parts do not fill the tensors.
    """
    groups: dict[str, dict[str, Tensor]] = {"method": {}, "average": {}, "optimizer": {}}
    tensors = {name: torch.empty(size, dtype=dtype) for name, (size, dtype) in _sizes(folder, listed).items()}
    _fill(folder, tensors)
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value.to(device)
    return groups


def restore(trainer: Any, folder: Path) -> None:
    """Give a `Trainer` whose weights are sharded those of a sharded checkpoint; every process reads its own part.

    Raises:
        CheckpointError: If they do not fit the method, or a file is damaged.
    """
    stored, players = _sizes(folder, read_json(folder / MANIFEST)["files"]), trainer.players.values()
    moments = {name.removeprefix("optimizer/"): size for name, size in stored.items() if name.startswith("optimizer/")}
    optimizer = {name: value for player in players for name, value in player.empty(moments).items()}
    expected = _named({"method": trainer.method.state_dict(), "average": trainer.average.state_dict(), "optimizer": optimizer})
    for name, value in expected.items():
        if name not in stored or stored[name][0] != value.shape:
            raise CheckpointError(f"The weights of {folder} do not fit the method: {name} has another shape, or is missing.")
    with torch.no_grad():
        _fill(folder, expected, trainer.processes.control)
    for player in players:
        player.restore(optimizer)


def _named(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}/{name}": value.detach() for group, tensors in groups.items() for name, value in tensors.items()}


def _sizes(folder: Path, listed: Iterable[str]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each whole tensor, from the files' headers, after these have been checked.

    Raises:
        CheckpointError: If a file is not listed, a header is damaged, or parts of a tensor leave gaps, overlap or differ in type.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    if unknown := {path.name for path in folder.glob("*.safetensors")} - set(listed):
        raise CheckpointError(f"Checkpoint {folder} cannot be read: {min(unknown)} is no file of it. Remove this file.")
    try:
        _check_parts(sorted(folder.glob("*.safetensors")))
        metadata: Any = HuggingFaceStorageReader(str(folder)).read_metadata()
        return {name: (entry.size, entry.properties.dtype) for name, entry in metadata.state_dict_metadata.items()}
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"The parts of {folder} cannot be put together: {error}. Take another checkpoint.") from error


def _check_parts(files: Iterable[Path]) -> None:
    """Check that the parts of each tensor, which are rows of it, fill it from the first row to the last.

    Tensors then take no more memory than the files have bytes.

    Raises:
        CheckpointError: If a file is no file of tensors.
        ValueError: If the parts do not fill a tensor, or a file does not say where they lie.
    """
    parts: dict[str, list[tuple[int, int, list[int], str]]] = {}
    for path in files:
        check_tensors(path)
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get("DCP_SHARDING_INFO")
            places = parse_json(described) if described else None
            for name in file.keys():  # noqa: SIM118 - the file itself is no mapping
                part = file.get_slice(name)
                shape = part.get_shape()
                offsets = [0] * len(shape) if places is None else places[name]["saved_offsets"]
                if len(offsets) != len(shape) or any(type(each) is not int for each in offsets) or any(offsets[1:]):
                    raise ValueError(f"the part of the tensor {name[:80]!r} is none of whole rows")
                start, rows = (offsets[0], shape[0]) if shape else (0, 1)
                parts.setdefault(name, []).append((start, start + rows, shape[1:], part.get_dtype()))
    for name, pieces in parts.items():
        end = 0
        for start, stop, *kind in sorted(pieces):
            if start != end or kind != [*pieces[0][2:]]:
                raise ValueError(f"those of the tensor {name[:80]!r} overlap, leave gaps or differ in shape or type")
            end = stop


def _fill(folder: Path, tensors: dict[str, Tensor], control: Any = None) -> None:
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    alone = not any(hasattr(value, "device_mesh") for value in tensors.values())
    with warnings.catch_warnings(), _as_error(f"{folder} cannot be read", "Take another checkpoint."):
        warnings.filterwarnings("ignore", message="torch.distributed is")
        load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), process_group=control, no_dist=alone)


@contextlib.contextmanager
def _as_error(what: str, advice: str) -> Iterator[None]:
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        rank, (first, _) = min(error.failures.items(), key=lambda item: item[0])
        raise CheckpointError(f"{what}: in process {rank}: {str(first).strip().splitlines()[0]}. {advice}") from error
