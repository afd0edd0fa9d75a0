"""The checkpoint that a training goes on from where the newest one is damaged, which is then set aside."""

from __future__ import annotations

import os
from pathlib import Path

from pushforward.errors import CheckpointError
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log

__all__ = ["set_aside"]


def set_aside(folder: Path, damaged: Path, good: Path, error: CheckpointError) -> str:
    """Take its name from a damaged checkpoint and make another one the newest; returns what happened, in sentences.

    Raises:
        CheckpointError: If the disk refuses.
    """
    known = {path.name for path in damaged.parent.iterdir()}
    names = (f"damaged-{damaged.name}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, len(known) + 3))))
    aside = damaged.with_name(next(name for name in names if name not in known))
    lost = max(checkpoints.step_of(damaged), log.last_step(folder / "metrics.jsonl")) - checkpoints.step_of(good)
    with checkpoints._disk(damaged):
        os.rename(damaged, aside)
    checkpoints.write_latest(good.parent, good.name)
    again = f": {lost:,} steps are computed again" if lost > 0 else ""
    stays = "It is neither read nor removed: delete it once nobody wants to look into it."
    return f"{error} The damaged one is set aside as {aside}. {stays} Training goes on from {good.name}{again}."
