"""Tensors to and from files: the one place that knows that a tensor may be sharded over processes; and checkpoints as read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import CheckpointError
from pushforward.files import read_json
from pushforward.training.checkpoint import shards
from pushforward.training.checkpoint.contents import MANIFEST, damaged, is_shard, latest, read_state, read_tensors
from pushforward.training.runs import log

MEASURED = ("seconds", "peak_memory_mb", "spec_sha256", "store_seconds")
"""Entries of a checkpoint's state that are times, memory or settings: two equal trainings differ in them."""


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all of its shards; every process must call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor: the same memory, without gradients."""
    tensor = tensor.detach()
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def by_place(numbers: Iterable[int], tensors: Sequence[Tensor]) -> list[list[int]]:
    """The numbers of sharded tensors and those of whole ones, where there are such: no operation takes both together."""
    places: dict[bool, list[int]] = {}
    for number in numbers:
        places.setdefault(hasattr(tensors[number], "device_mesh"), []).append(number)
    return list(places.values())


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of all gradients together, a tensor of no dimension; every process must call this."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    groups = [[gradients[i] for i in numbers] for numbers in by_place(range(len(gradients)), gradients)]
    if not gradients:
        return torch.zeros(())
    norms = [whole(nn.utils.get_total_norm(group, foreach=True)) for group in groups]
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm()


def not_finite(methods: Mapping[str, nn.Module]) -> str | None:
    """The first tensor of a state that is not finite, after the name that its method has here; None where all are finite."""
    for kind, method in methods.items():
        for name, tensor in method.state_dict().items():
            if not bool(torch.isfinite(local(tensor)).all()):
                return f"{kind} {name}"
    return None


def seems_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether the norms of tensors are finite, which is fast to see; a tensor of numbers above 1e19 may not seem so."""
    return not tensors or bool(torch.isfinite(torch.stack(torch._foreach_norm(list(tensors))).sum()))


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A tensor, sharded as another one is."""
    if not hasattr(like, "device_mesh") or hasattr(value, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(like.device), mesh, placements, src_data_rank=None)


def restore(method: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load whole weights into a method, whether its own are sharded or not.

    Raises:
        CheckpointError: If they do not fit, with the mismatch.
    """
    current = method.state_dict()
    try:
        method.load_state_dict({name: placed(v, current[name]) if name in current else v for name, v in tensors.items()})
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"The weights of {where} do not fit the method: {first}") from error


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of whole tensors in the memory of the CPU, each by itself."""
    return {k: v.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for k, v in tensors.items()}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint, verified and read.

    Args:
        folder: Where it lies.
        tensors: Per file, the tensors by name; of a sharded one that each process reads for itself, none.
        state: The counters.
    """

    folder: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """The method's tensors by name: averaged where the method has an average of them, or the last ones."""
        return self.tensors["method"] if raw else self.tensors["method"] | self.tensors["average"]


def load(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Verify and read a checkpoint.

    Raises:
        CheckpointError: If anything is missing or differs from its hash.
    """
    state = read_state(folder)
    try:
        listed = sorted(name for name in read_json(folder / MANIFEST)["files"] if name.endswith(".safetensors"))
        if has_shards(folder):
            return Checkpoint(folder, shards.read(folder, listed, device), state)
        return Checkpoint(folder, {Path(name).stem: read_tensors(folder / name, device) for name in listed}, state)
    except OSError as error:
        raise damaged(folder, "a weights file", f"cannot be read ({error})") from error


def has_shards(folder: Path) -> bool:
    """Whether a checkpoint is sharded."""
    return any(is_shard(path.name) for path in folder.glob("shard-*"))


def state_digest(folder: str | Path) -> str:
    """The sha256 of the state in which a run ended or stopped.

    It covers the newest checkpoint (weights, averages, optimizers, counters) and every row of the log up to it, with floats to
    the last bit. Times, memory, paths and settings are left out. On one machine, with one version of PyTorch and one number of
    threads, the same training has the same digest, whether or not it was killed and resumed.

    Raises:
        CheckpointError: If the run has no checkpoint, or a damaged one.
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
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    counters = {name: value for name, value in stored.state.items() if name not in MEASURED}
    rows = [row for row in log.read(folder / "metrics.jsonl") if row["step"] <= stored.state["step"]]
    for entry in (counters, *({name: value for name, value in row.items() if name != "seconds"} for row in rows)):
        digest.update(json.dumps(_exact(entry), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_exact(part) for part in value]
    return value.hex() if isinstance(value, float) else value
