"""Tensors of checkpoints, whole or sharded over processes.

Shards are written by torch.distributed.checkpoint in the form of `HuggingFaceStorageWriter`: the header of each file says where
in the whole tensors its parts lie. No file is pickled; what processes tell each other while they write is torch's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pushforward.errors import CheckpointError
from pushforward.files import check_tensors, disk, parse_json, read_json
from pushforward.training.checkpoint.storage import (
    MANIFEST,
    bytes_of,
    check_space,
    commit,
    damaged,
    fill,
    flush,
    is_shard,
    latest,
    prune,
    read_state,
    read_tensors,
    sha256,
    staged,
)
from pushforward.training.distributed.processes import Processes
from pushforward.training.runs import log

Groups = Mapping[str, Mapping[str, Tensor]]  # Tensors by file and name
MEASURED = ("seconds", "peak_memory_mb", "spec_sha256", "store_seconds")
"""Entries of a checkpoint's state that hold times, memory use or settings, and so differ between two equal training runs."""


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor from all its shards; every process must call this."""
    if hasattr(tensor, "full_tensor"):
        return tensor.full_tensor()
    return tensor


def local(tensor: Tensor) -> Tensor:
    """Return this process's shard of a tensor: the same memory, without gradients."""
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        return tensor.to_local()
    return tensor


def by_place(numbers: Iterable[int], tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of sharded and of whole tensors, if any: no operation supports both together."""
    places: dict[bool, list[int]] = {}
    for number in numbers:
        places.setdefault(hasattr(tensors[number], "device_mesh"), []).append(number)
    return list(places.values())


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Compute the norm of all gradients, a scalar tensor; every process must call this."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    groups = [
        [gradients[i] for i in numbers] for numbers in by_place(range(len(gradients)), gradients)
    ]
    if not gradients:
        return torch.zeros(())
    norms = [whole(nn.utils.get_total_norm(group, foreach=True)) for group in groups]
    if len(norms) == 1:
        return norms[0]
    return torch.stack(norms).norm()


def placed(value: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor like another one."""
    if not hasattr(like, "device_mesh") or hasattr(value, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(like.device), mesh, placements, src_data_rank=None)


def restore(method: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load whole weights into a method, whether its own are sharded or not.

    Raises:
        CheckpointError: If the weights do not fit, with the mismatch.
    """
    current = method.state_dict()
    try:
        method.load_state_dict(
            {
                name: placed(v, current[name]) if name in current else v
                for name, v in tensors.items()
            }
        )
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"The weights in {where} do not fit the method: {first}") from error


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint, verified and read.

    Args:
        folder: Checkpoint folder.
        tensors: Per file, the tensors by name; of a sharded one that each process reads for itself, none.
        state: Counters.
    """

    folder: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """Return the method's tensors by name: averaged if available, otherwise the last weights."""
        if raw:
            return self.tensors["method"]
        return self.tensors["method"] | self.tensors["average"]


def load(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Verify and read a checkpoint.

    Raises:
        CheckpointError: If anything is missing or differs from its hash.
    """
    state = read_state(folder)
    try:
        listed = sorted(
            name for name in read_json(folder / MANIFEST)["files"] if name.endswith(".safetensors")
        )
        if has_shards(folder):
            return Checkpoint(folder, read_shards(folder, listed, device), state)
        return Checkpoint(
            folder, {Path(name).stem: read_tensors(folder / name, device) for name in listed}, state
        )
    except OSError as error:
        raise damaged(folder, "a weights file", f"cannot be read ({error})") from error


def has_shards(folder: Path) -> bool:
    """Return whether a checkpoint is sharded."""
    return any(is_shard(path.name) for path in folder.glob("shard-*"))


def state_digest(folder: str | Path) -> str:
    """Compute the sha256 of the state in which a run ended or stopped.

    It covers the newest checkpoint (weights, averages, optimizers, counters) and every row of the log up to it, with floats to
    the last bit. Times, memory, paths and settings are left out. On one machine, with one version of PyTorch and one number of
    threads, the same training has the same digest, whether or not it was killed and resumed.

    Raises:
        CheckpointError: If the run has no checkpoint, or a damaged checkpoint.
    """
    folder = Path(folder)
    newest = latest(folder / "checkpoints")
    if newest is None:
        raise CheckpointError(f"{folder} has no checkpoint.")
    stored = load(newest)
    digest = hashlib.sha256()
    for group, tensors in sorted(stored.tensors.items()):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{group}/{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    counters = {name: value for name, value in stored.state.items() if name not in MEASURED}
    rows = [
        row for row in log.read(folder / "metrics.jsonl") if row["step"] <= stored.state["step"]
    ]
    for entry in (
        counters,
        *({name: value for name, value in row.items() if name != "seconds"} for row in rows),
    ):
        digest.update(json.dumps(_exact(entry), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_exact(part) for part in value]
    if isinstance(value, float):
        return value.hex()
    return value


def copied_shards(groups: Groups) -> dict[str, dict[str, Tensor]]:
    """Copy this process's shards of tensors to CPU memory, by group and name."""
    from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

    plain = StagingOptions(
        use_pinned_memory=False,
        use_shared_memory=False,
        use_async_staging=False,
        use_non_blocking_copy=False,
    )
    copies: Any = DefaultStager(plain).stage(
        {group: dict(tensors) for group, tensors in groups.items()}
    )
    return dict(copies)


def save_shards(
    channel: Processes, where: Path, tensors: Groups, state: Mapping[str, Any], **options: Any
) -> None:
    """Write a checkpoint: each process its part, into one folder; the first one adds counters and hashes and publishes it.

    No other thread may use the channel meanwhile; ``options`` are those of `checkpoint.prune`.

    Raises:
        CheckpointError: If writing fails or the disk is full; earlier checkpoints are intact.
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
            commit(
                shared, where, {name: entry for written in files for name, entry in written.items()}
            )
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
    if (
        words := channel.failure(None if own is None else str(own) or type(own).__name__)
    ) is not None:
        raise CheckpointError(words) from own


def _write(folder: Path, groups: Groups, rank: int, control: Any) -> dict[str, dict[str, Any]]:
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save

    with _as_error(f"{folder.parent} could not be written", "What was saved before is intact."):
        save(
            _named(groups),
            storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
            process_group=control,
        )
    own = [path for path in folder.glob(f"shard-{rank + 1:05d}-*") if path.is_file()]
    for path in own:
        flush(path)
    return {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in own}


def read_shards(
    folder: Path, listed: Sequence[str], device: torch.device | str = "cpu"
) -> dict[str, dict[str, Tensor]]:
    """Read the whole tensors of a sharded checkpoint by group and name, in one process.

    Raises:
        CheckpointError: If a file is damaged or is not listed, or the parts do not fill the tensors.
    """
    groups: dict[str, dict[str, Tensor]] = {"method": {}, "average": {}, "optimizer": {}}
    tensors = {
        name: torch.empty(size, dtype=dtype)
        for name, (size, dtype) in _sizes(folder, listed).items()
    }
    _fill(folder, tensors)
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value.to(device)
    return groups


def restore_shards(trainer: Any, folder: Path) -> None:
    """Restore a sharded checkpoint into a `Trainer` with sharded weights; every process reads its own shards.

    Raises:
        CheckpointError: If they do not fit the method, or a file is damaged.
    """
    stored = _sizes(folder, read_json(folder / MANIFEST)["files"])
    players = trainer.players.values()
    moments = {
        name.removeprefix("optimizer/"): size
        for name, size in stored.items()
        if name.startswith("optimizer/")
    }
    optimizer = {name: value for player in players for name, value in player.empty(moments).items()}
    expected = _named(
        {
            "method": trainer.method.state_dict(),
            "average": trainer.average.state_dict(),
            "optimizer": optimizer,
        }
    )
    for name, value in expected.items():
        if name not in stored or stored[name][0] != value.shape:
            raise CheckpointError(
                f"The weights in {folder} do not fit the method: {name} is missing or has another shape."
            )
    with torch.no_grad():
        _fill(folder, expected, trainer.processes.control)
    for player in players:
        player.restore(optimizer)


def _named(groups: Groups) -> dict[str, Tensor]:
    return {
        f"{group}/{name}": value.detach()
        for group, tensors in groups.items()
        for name, value in tensors.items()
    }


def _sizes(folder: Path, listed: Iterable[str]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    if unknown := {path.name for path in folder.glob("*.safetensors")} - set(listed):
        raise CheckpointError(
            f"Checkpoint {folder} cannot be read: {min(unknown)} does not belong to it. Remove this file."
        )
    try:
        _check_parts(sorted(folder.glob("*.safetensors")))
        metadata: Any = HuggingFaceStorageReader(str(folder)).read_metadata()
        return {
            name: (entry.size, entry.properties.dtype)
            for name, entry in metadata.state_dict_metadata.items()
        }
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"The shards in {folder} cannot be combined: {error}. Use another checkpoint."
        ) from error


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
                if (
                    len(offsets) != len(shape)
                    or any(type(each) is not int for each in offsets)
                    or any(offsets[1:])
                ):
                    raise ValueError(
                        f"a shard of the tensor {name[:80]!r} does not consist of whole rows"
                    )
                start, rows = (offsets[0], shape[0]) if shape else (0, 1)
                parts.setdefault(name, []).append(
                    (start, start + rows, shape[1:], part.get_dtype())
                )
    for name, pieces in parts.items():
        end = 0
        for start, stop, *kind in sorted(pieces):
            if start != end or kind != [*pieces[0][2:]]:
                raise ValueError(
                    f"the shards of the tensor {name[:80]!r} overlap, leave gaps or differ in shape or type"
                )
            end = stop


def _fill(folder: Path, tensors: dict[str, Tensor], control: Any = None) -> None:
    from torch.distributed.checkpoint import HuggingFaceStorageReader
    from torch.distributed.checkpoint import load as load_shards

    alone = not any(hasattr(value, "device_mesh") for value in tensors.values())
    with (
        warnings.catch_warnings(),
        _as_error(f"{folder} cannot be read", "Use another checkpoint."),
    ):
        warnings.filterwarnings("ignore", message="torch.distributed is")
        load_shards(
            tensors,
            storage_reader=HuggingFaceStorageReader(str(folder)),
            process_group=control,
            no_dist=alone,
        )


@contextlib.contextmanager
def _as_error(what: str, advice: str) -> Iterator[None]:
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        rank, (first, _) = min(error.failures.items(), key=lambda item: item[0])
        raise CheckpointError(
            f"{what}: in process {rank}: {str(first).strip().splitlines()[0]}. {advice}"
        ) from error
