"""What training batches are made of: the data, or what a method computes from it once."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from pushforward.data import Dataset, PreparedSampler, Sampler
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Method, PrecomputesInputs
from pushforward.training import checkpoint as checkpoints
from pushforward.training import tensors
from pushforward.training.settings import Settings

__all__ = ["prepared", "sampler_of"]

ROWS = 500
"""Examples encoded at a time."""
CACHE = "cache"
"""The folder, in a run's, of what was computed once from the data."""

_last: tuple[tuple[str, str], Tensor] | None = None
"""What was prepared last in this process: making a recipe needs the codes' units before its trainer needs the codes."""


def prepared(method: PrecomputesInputs, data: Dataset, device: torch.device | str = "cpu") -> Tensor:
    """What a method makes of all training examples, (n, ...), float32 on the CPU.

    Raises:
        CheckpointError: If something is not finite.
    """
    global _last
    key = _weights(method), data.fingerprint
    if _last is not None and _last[0] == key:
        return _last[1]
    tensor = torch.cat([_part(method, data, start, device) for start in range(0, len(data.train), ROWS)])
    if not bool(tensor.isfinite().all()):
        raise CheckpointError("The autoencoder's codes of the data are not finite: its weights have diverged. Train it again.")
    _last = key, tensor
    return tensor


def _part(method: PrecomputesInputs, data: Dataset, start: int, device: torch.device | str) -> Tensor:
    rows = slice(start, start + ROWS)
    space = method.space
    x = space.to_model(data.train.data_units(rows).to(device))
    return method.prepared(x, data.train.condition(space.conditions, rows, device)).float().cpu()


def _weights(method: PrecomputesInputs) -> str:
    digest = hashlib.sha256()
    for name, module in method.parts.items():
        for key, value in module.state_dict().items():
            digest.update(f"{name}.{key}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def sampler_of(
    method: Method, data: Dataset, batch: int, *, settings: Settings, folder: Path, keep: bool = True
) -> Sampler | PreparedSampler:
    """What hands out training batches: of the data, or of what the method prepares from it.

    ``keep`` writes what was prepared to the run's folder.

    Raises:
        UsageError: For augmentations of data that is encoded once.
        CheckpointError: If the disk refuses, or something prepared is not finite.
    """
    names = tuple(method.space.conditions)
    if not isinstance(method, PrecomputesInputs):
        return Sampler(data, batch, seed=settings.seed, augment=settings.augment, conditions=names)
    if settings.augment:
        raise UsageError(
            f"`augment={','.join(settings.augment)}`: data is encoded once, so it is not changed again in every epoch. Leave it "
            "out; the autoencoder, or a model of pixels, can be trained with it."
        )
    once = _kept(method, data, folder, torch.device(settings.device), keep)
    return PreparedSampler(data, once, batch, seed=settings.seed, conditions=names)


def _kept(method: PrecomputesInputs, data: Dataset, folder: Path, device: torch.device, keep: bool) -> Tensor:
    """What was prepared, from the run's folder where it is whole there; else computed, and written where ``keep`` is set."""
    path, key = folder / CACHE / "prepared.safetensors", f"{_weights(method)}-{data.fingerprint}"
    description = path.with_suffix(".json")
    try:
        known = checkpoints.read_json(description)
        if known.get("key") == key and checkpoints.sha256(path) == known.get("sha256"):
            return tensors.read(path)["prepared"]
    except (CheckpointError, OSError, AttributeError, KeyError):
        pass  # a cache that is not there or not whole is made again
    started = time.perf_counter()
    tensor = prepared(method, data, device)
    if not keep:
        return tensor
    with checkpoints._disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{os.getpid()}.safetensors")
        tensors.write(temporary, {"prepared": tensor})
        os.replace(temporary, path)
    seconds = time.perf_counter() - started
    checkpoints.write_json(description, {"key": key, "sha256": checkpoints.sha256(path), "rows": len(tensor), "seconds": seconds})
    return tensor
