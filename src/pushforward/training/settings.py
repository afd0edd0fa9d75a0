"""Settings of a training beside its recipe, data and budget, as its spec stores them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pushforward.training.machine import version

if TYPE_CHECKING:
    from pushforward.recipes.recipe import Recipe
    from pushforward.trackers import Tracker
    from pushforward.training.budget import Clock

__all__ = ["Settings", "started_with"]

CHECKPOINT_SECONDS = 120.0
"""Training seconds between checkpoints where ``checkpoint_every`` is not given; at most a quarter of a budget in seconds."""


@dataclass(frozen=True)
class Settings:
    """The settings of one training.

    Args:
        seed: Of everything random.
        device: Where it is trained.
        augment: Augmentations by name ("flip", "shift").
        checkpoint_every: Steps between checkpoints; None means every two minutes of training, or every quarter of a short budget.
            The first and the last step are always saved.
        plugins: Python files that define parts of the run; their hashes are stored.
        asked: Given options beside the data, by their names on the command line, so that a report can print a command that
            repeats the run; None where the recipe was made in Python.
        init: The run from whose weights it starts, for the same purpose.
        init_step: The step of that run's checkpoint.
        trackers: Who receives what is logged; not stored.
        from_seed: Whether the weights can be drawn again from the seed and the method's spec.
    """

    seed: int = 0
    device: torch.device | str = "cpu"
    augment: Sequence[str] = ()
    checkpoint_every: int | None = None
    plugins: Sequence[Path] = ()
    asked: Mapping[str, Any] | None = None
    init: str | Path | None = None
    init_step: int | None = None
    from_seed: bool = False
    trackers: Sequence[Tracker] = ()

    def due(self, clock: Clock, saved: float) -> bool:
        """Whether it is time for a checkpoint, the last of which was written after so many seconds of training."""
        if self.checkpoint_every is not None:
            return clock.step % self.checkpoint_every == 0
        limit = clock.budget.seconds
        return clock.seconds - saved >= min(CHECKPOINT_SECONDS, math.inf if limit is None else limit / 4)

    def stored(self) -> dict[str, Any]:
        """The settings as the run's spec stores them; plugins are stored beside."""
        return {
            "seed": self.seed,
            "augment": list(self.augment),
            "checkpoint_every": self.checkpoint_every,
            "asked": None if self.asked is None else dict(self.asked),
            "init": None if self.init is None else str(self.init),
            "init_step": self.init_step,
            "from_seed": self.from_seed,
        }


def started_with(recipe: Recipe, settings: Settings, method: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal in all processes of a training, by name; each process has a device of its own."""
    others = {name: value for name, value in settings.stored().items() if name != "asked"}
    return {
        **{package: version(package) for package in ("torch", "pushforward", "numpy")},
        "kind of device": torch.device(settings.device).type,
        "training": str(sorted(asdict(recipe.training).items())),
        "settings": others,
        "method": method,
    }
