"""The options of fit and resume, and the settings of a training as its spec stores them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from pushforward.arguments import number, whole
from pushforward.data import Dataset
from pushforward.methods.method import Method
from pushforward.trackers import Tracker
from pushforward.training.loop.budget import Budget, Clock
from pushforward.training.loop.progress import Watcher
from pushforward.training.monitor.machine import version

if TYPE_CHECKING:
    from pushforward.recipes.recipe import Recipe

_OF_RECIPE = " It belongs to the recipe: dataclasses.replace(recipe, training=recipe.training.changed({}))."
HINTS = {
    "budget": " A budget is seconds=60, steps=5000 or samples=1_000_000.",
    "epochs": " Training is measured in steps=5000, or in training examples drawn: an epoch is samples=len(data.train).",
    "batch": _OF_RECIPE.format("batch=128"),
    "batch_size": _OF_RECIPE.format("batch=128"),
    "lr": _OF_RECIPE.format("lr=1e-3"),
}
"""Suggestions for arguments of other names."""


class BudgetOptions(TypedDict, total=False):
    """How long to train; one of these.

    Args:
        steps: The budget in steps; 5,000 where a new training has no budget.
        samples: The budget in training examples drawn.
        seconds: The budget in seconds of training steps; grids, checkpoints and evaluation do not count.
    """

    steps: int | None
    samples: int | None
    seconds: float | None


class FitOptions(BudgetOptions, total=False):
    """The options of `pushforward.fit`, beside its budget (`BudgetOptions`).

    Args:
        out: The run's folder, which must not exist; the default is ``runs/DATA-RECIPE``, with -2, -3, ... where that exists.
        seed: Of everything random: weights, order, noise, times; 0 by default.
        device: Where to train: "cpu" (the default), "cuda", "cuda:1", or "auto" for a CUDA device where there is one.
        augment: Augmentations by name, one or several: "flip", "shift", "dequantise".
        checkpoint_every: Steps between checkpoints; the default is every two minutes, or every quarter of a short budget. The
            last step is always saved.
        progress: True shows progress, also in a script that runs without a terminal: a line on stderr every ten seconds. False is
            silent; None, the default, shows it on a terminal and in a notebook. A `Progress`, or another `Watcher`, is used
            unchanged.
        overwrite: Replace the run that is in ``out``, so that a notebook's cell can run again. Anything but a run is never
            replaced.
        init: A run of the same method, or its folder, from whose averaged weights training starts.
        size: tiny, small (the default) or base, for a recipe given by its name or as its function.
        plugins: Python files, or a single one, that the recipe came from.
        flops: A budget in floating point operations of training steps, in place of steps, samples or seconds: as many steps as it
            allows (`pushforward.training.estimates`).
        trackers: Names of `pushforward.trackers`, such as "tensorboard", or trackers of one's own: they receive what is logged.
        shard: Whether each of several processes, which torchrun or another launcher has started, holds a share of the weights, of
            their average and of the optimisers (`torch.distributed.fsdp.fully_shard`), or all of them, as is usual.
        devices: How many processes train; for a check only, since Python starts none of itself.
    """

    out: str | Path | None
    seed: int
    device: torch.device | str
    augment: str | Sequence[str]
    checkpoint_every: int | None
    progress: Watcher | bool | None
    overwrite: bool
    init: Any
    size: str | None
    plugins: str | Path | Sequence[str | Path]
    flops: float | None
    trackers: str | Tracker | Sequence[str | Tracker]
    shard: bool
    devices: int | None


class ResumeOptions(BudgetOptions, total=False):
    """The options of `pushforward.resume`, beside a new budget in all (`BudgetOptions`), which extends the run.

    Args:
        checkpoint: An older checkpoint's name, such as "step_000500".
        fallback: Where the newest checkpoint is damaged, go on from the newest one that is whole.
        data: The data set, where it was given as arrays in Python.
        plugins: Python files, or a single one, that the run was trained with.
        method: A method of the run's structure, where it cannot be rebuilt from the spec.
        device: Where to train: "cpu" (the default), "cuda", "cuda:1", or "auto" for a CUDA device where there is one.
        progress: As that of `FitOptions`.
        trackers: As for `pushforward.fit`; a tracker that was used before goes on with its own run.
        shard: As that of `FitOptions`; a run may have had its weights whole before.
        devices: As that of `FitOptions`; a run may be resumed by any number of processes that divides its batch.
    """

    checkpoint: str | None
    fallback: bool
    data: Dataset | str | Path | None
    plugins: str | Path | Iterable[str | Path]
    method: Method | None
    device: torch.device | str
    progress: Watcher | bool | None
    trackers: str | Tracker | Sequence[str | Tracker]
    shard: bool
    devices: int | None


def budget_in(options: BudgetOptions) -> Budget | None:
    """The budget that was given; None where there is none.

    Raises:
        UsageError: For several, or one that is no number, naming the option.
    """
    steps, samples, seconds = options.get("steps"), options.get("samples"), options.get("seconds")
    for name, count in (("steps", steps), ("samples", samples)):
        if count is not None:
            whole(name, count)
    if seconds is not None:
        number("seconds", seconds)
    return None if steps is samples is seconds is None else Budget(steps, samples, seconds)


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
        asked: Given options beside the data, by their names on the command line; None where the recipe was made in Python.
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
