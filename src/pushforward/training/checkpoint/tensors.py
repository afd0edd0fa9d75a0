"""Tensors of checkpoints, whose weights may be sharded over processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pushforward.errors import CheckpointError
from pushforward.training.checkpoint.storage import (
    GROUPS,
    read_state,
    read_tensors,
)

AnyTensor = TypeVar("AnyTensor", bound=Tensor)
Groups = Mapping[str, Mapping[str, Tensor]]  # Tensors by file and name


MEASURED = ("seconds", "peak_memory_mb", "spec_sha256", "store_seconds")
"""Entries of a checkpoint's state that hold times, memory use or settings, and so differ between
two equal training runs."""


def unsharded(tensor: Tensor) -> Tensor:
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


def by_place(tensors: Iterable[AnyTensor]) -> list[list[AnyTensor]]:
    """Separate sharded from whole tensors, which no operation takes together."""
    places: dict[bool, list[AnyTensor]] = {}
    for tensor in tensors:
        places.setdefault(hasattr(tensor, "device_mesh"), []).append(tensor)
    return list(places.values())


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Compute the norm of all gradients, a scalar tensor; every process must call this."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norms = []
    for group in by_place(gradients):
        norms.append(unsharded(nn.utils.get_total_norm(group, foreach=True)))
    if len(norms) == 1:
        return norms[0]
    return torch.stack(norms).norm()


def placed(value: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor like another one."""
    if not hasattr(like, "device_mesh") or hasattr(value, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh = like.device_mesh
    placements = like.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(like.device), mesh, placements, src_data_rank=None)


def load_weights(method: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load whole weights into a method, whose own weights may be sharded."""
    current = method.state_dict()
    fitted = dict(tensors)
    for name in current.keys() & tensors.keys():
        fitted[name] = placed(tensors[name], current[name])
    method.load_state_dict(fitted)


@contextlib.contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Context in which weights of a checkpoint are loaded."""
    try:
        yield
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"The weights in {folder} do not fit the method: {first}") from error


def restore(method: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Load whole weights of a checkpoint into a method."""
    with fitting(folder):
        load_weights(method, tensors)


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint, verified and read.

    Args:
        folder: Checkpoint folder.
        tensors: Per file, the tensors by name.
        state: Counters.
    """

    folder: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """Return the method's tensors by name, averaged if there is an average."""
        if raw:
            return self.tensors["method"]
        return self.tensors["method"] | self.tensors["average"]


def load(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Verify and read a checkpoint."""
    state = read_state(folder)
    tensors = {}
    try:
        for group in GROUPS:
            tensors[group] = read_tensors(folder / f"{group}.safetensors", device)
    except OSError as error:
        raise CheckpointError(f"The weights in {folder} cannot be read: {error}.") from error
    return Checkpoint(folder, tensors, state)
