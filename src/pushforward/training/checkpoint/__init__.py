"""Checkpoints of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.training.checkpoint.storage import latest, save, step_name, unfinished
    from pushforward.training.checkpoint.tensors import Checkpoint, load

__all__ = ["Checkpoint", "latest", "load", "save", "step_name", "unfinished"]

__getattr__ = exports(
    __name__,
    {"storage": ("latest", "save", "step_name", "unfinished"), "tensors": ("Checkpoint", "load")},
)
