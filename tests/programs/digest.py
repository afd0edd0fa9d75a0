"""One hash for the state in which a training run ended or stopped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import MEASURED, load
from pushforward.training.runs import log


def state_digest(folder):
    """Compute the sha256 of the state in which a run ended or stopped.

    It covers the newest checkpoint and the log up to it, without times, memory, paths and settings.
    On one machine, with one version of PyTorch and one number of threads, equal training runs have
    equal digests.
    """
    folder = Path(folder)
    newest = latest(folder / "checkpoints")
    assert newest is not None, f"{folder} has no checkpoint"
    stored = load(newest)
    digest = hashlib.sha256()
    for group, tensors in sorted(stored.tensors.items()):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{group}/{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().tobytes())
    entries = [_without(stored.state, MEASURED)]
    for row in log.read(folder / "metrics.jsonl"):
        if row["step"] <= stored.state["step"]:
            entries.append(_without(row, ("seconds",)))
    for entry in entries:
        digest.update(json.dumps(_exact(entry), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _without(entry, names):
    return {name: value for name, value in entry.items() if name not in names}


def _exact(value):
    if isinstance(value, dict):
        return {name: _exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_exact(part) for part in value]
    if isinstance(value, float):
        return value.hex()
    return value
