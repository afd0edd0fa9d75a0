"""Checkpoints of a run: what one holds, how it is written whole, verified, sharded, saved and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.training.checkpoint.contents import save
    from pushforward.training.checkpoint.integrity import latest, step_name, unfinished
    from pushforward.training.checkpoint.stored import Checkpoint, load

__all__ = ["Checkpoint", "latest", "load", "save", "step_name", "unfinished"]

__getattr__ = exports(
    __name__, {"contents": ("save",), "stored": ("Checkpoint", "load"), "integrity": ("latest", "step_name", "unfinished")}
)
