"""One hash of all that a training has computed: equal where two trainings agree bit for bit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import CheckpointError
from pushforward.training.checkpoint.integrity import latest
from pushforward.training.checkpoint.stored import load
from pushforward.training.runs import log

MEASURED = ("seconds", "peak_memory_mb", "spec_sha256", "store_seconds")
"""Entries of a checkpoint's state that are times, memory or settings: two equal trainings differ in them."""


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
