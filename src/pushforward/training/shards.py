"""Checkpoints of sharded weights: each process writes and reads its own part, as files of safetensors in one folder.

Written by torch.distributed.checkpoint in the form of `HuggingFaceStorageWriter`: the header of each file says where in the whole
tensors its parts lie. No file is pickled; what processes tell each other while they write is torch's own.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.errors import CheckpointError
from pushforward.training.disk import flush, sha256
from pushforward.training.verifying import is_shard

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer

__all__ = ["fill", "has_shards", "read", "take_up"]


def fill(folder: Path, groups: Mapping[str, Mapping[str, Tensor]], rank: int, control: Any = None) -> dict[str, dict[str, Any]]:
    """Write this process's part of tensors to a folder, flushed; every process must call this.

    Args:
        folder: The same for all, on a file system that they share.
        groups: Per group, the tensors by name, sharded or whole; a whole one is written once.
        rank: The number of this process.
        control: The processes' group of torch.distributed; None for the default one.

    Returns:
        Size and sha256 of each file that this process has written.

    Raises:
        CheckpointError: If the disk of any process refuses.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save

    with _as_error(
        f"{folder.parent} could not be written", "Free space or choose another `out`; what was saved before is intact."
    ):
        save(_named(groups), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True), process_group=control)
    own = [path for path in folder.glob(f"shard-{rank + 1:05d}-*") if path.is_file()]
    for path in own:
        flush(path)
    return {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in own}


def read(folder: Path, listed: Sequence[str], device: torch.device | str = "cpu") -> dict[str, dict[str, Tensor]]:
    """The tensors of a sharded checkpoint by group and name, whole; one process reads all of them.

    Args:
        folder: The checkpoint.
        listed: The files that its manifest lists.
        device: Where the tensors go.

    Raises:
        OSError: If a file is damaged, or is not listed.
    """
    unknown = {path.name for path in folder.glob("*.safetensors")} - set(listed)
    if unknown:
        raise OSError(f"{min(unknown)} is no file of it")
    groups: dict[str, dict[str, Tensor]] = {"method": {}, "average": {}, "optimizer": {}}
    for name, value in _loaded(folder, {name: torch.empty(size, dtype=dtype) for name, (size, dtype) in _sizes(folder).items()}):
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value.to(device)
    return groups


def take_up(trainer: Trainer, folder: Path) -> None:
    """Give a trainer whose weights are sharded those of a sharded checkpoint; every process reads its own part.

    Raises:
        CheckpointError: If they do not fit the method, or a file is damaged.
    """
    groups: dict[str, Mapping[str, Tensor]] = {
        "method": trainer.method.state_dict(),
        "average": trainer.average.state_dict(),
        "optimizer": {},
    }
    stored = _sizes(folder)
    optimizer = {name.partition("/")[2]: where for name, where in stored.items() if name.startswith("optimizer/")}
    groups["optimizer"] = {name: value for player in trainer.players.values() for name, value in player.empty(optimizer).items()}
    expected = _named(groups)
    wrong = [name for name, value in expected.items() if name not in stored or stored[name][0] != value.shape]
    if wrong:
        raise CheckpointError(
            f"The weights of {folder} do not fit the method: {wrong[0]} has another shape there, or is missing."
        )
    with torch.no_grad():
        for _ in _loaded(folder, expected):
            pass
    for player in trainer.players.values():
        player.restore(dict(groups["optimizer"]))


def _named(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}/{name}": value.detach() for group, tensors in groups.items() for name, value in tensors.items()}


def _sizes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each whole tensor, from the files' headers."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    metadata: Any = HuggingFaceStorageReader(str(folder)).read_metadata()
    return {name: (entry.size, entry.properties.dtype) for name, entry in metadata.state_dict_metadata.items()}


def _loaded(folder: Path, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Read tensors in place; in several processes together where one of them is sharded."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    alone = not any(hasattr(value, "device_mesh") for value in tensors.values())
    with warnings.catch_warnings(), _as_error(f"{folder} cannot be read", "Take another checkpoint."):
        warnings.filterwarnings("ignore", message="torch.distributed is")
        load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=alone)
    yield from tensors.items()


@contextlib.contextmanager
def _as_error(what: str, advice: str) -> Iterator[None]:
    """Within this context what torch reports of all processes is one error of all."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        rank, (first, _) = min(error.failures.items(), key=lambda item: item[0])
        raise CheckpointError(f"{what}: in process {rank}: {str(first).strip().splitlines()[0]}. {advice}") from error


def has_shards(folder: Path) -> bool:
    """Whether a checkpoint is sharded."""
    return any(is_shard(path.name) for path in folder.glob("shard-*"))
