"""Checkpoints of a run: what one holds, how it is written whole, verified, sharded, saved and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.lazy import exports

if TYPE_CHECKING:
    from pushforward.training.checkpoint.contents import Checkpoint, load, save
    from pushforward.training.checkpoint.integrity import latest, step_name, unfinished

__all__ = ["Checkpoint", "latest", "load", "save", "step_name", "unfinished"]

__getattr__ = exports(__name__, {"contents": ("Checkpoint", "load", "save"), "integrity": ("latest", "step_name", "unfinished")})
