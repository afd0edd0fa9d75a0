"""Options of fit and resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from pushforward.arguments import number, whole
from pushforward.data import Dataset
from pushforward.data.core.load import DataLike
from pushforward.errors import UsageError
from pushforward.methods.method import Method
from pushforward.trackers import Tracker
from pushforward.training.loop.budget import Budget
from pushforward.training.loop.display import Watcher

_OF_RECIPE = (
    " It belongs to the recipe: dataclasses.replace(recipe, training=recipe.training.changed({}))."
)
HINTS = {
    name: _OF_RECIPE.format(f"{name}=...")
    for name in ("betas", "clip", "ema_share", "players", "schedule", "weight_decay")
}
"""Suggestions for settings of `pushforward.Training` that `fit` does not take."""


class BudgetOptions(TypedDict, total=False):
    """Length of training; give exactly one option.

    Args:
        steps: Budget in steps; 5,000 if a new run has no budget.
        samples: Budget in training examples.
        seconds: Budget in seconds of training steps, without pictures, checkpoints and evaluation.
        budget: Budget in seconds as text: "60s", "10m" or "1.5h".
    """

    steps: int | None
    samples: int | None
    seconds: float | None
    budget: str | None


class TrainingChanges(TypedDict, total=False):
    """Settings of `pushforward.Training` that replace those of the recipe.

    Args:
        batch: Batch size; `fit` uses that of a ``DataLoader`` if None is given.
        accumulate: Number of micro-batches that a batch is split into to save memory.
        lr: Learning rate.
        optimizer: "adamw" or "muon".
        ema: Half-life of the averaged weights, in training examples.
        precision: "auto", "float32" or "bfloat16".
    """

    batch: int | None
    accumulate: int | None
    lr: float | None
    optimizer: str | None
    ema: float | None
    precision: str | None


RESUME_HINTS = dict.fromkeys(TrainingChanges.__annotations__, " A resumed run keeps its settings.")
"""Suggestions for arguments of `fit` that `resume` does not take."""


class TrainingOptions(BudgetOptions, total=False):
    """Options of both `pushforward.fit` and `pushforward.resume`.

    Args:
        plugins: Python files, or a single one, that define the recipe or were used to train the
            run.
        device: Device to train on: "auto" (default) for a CUDA device if available, otherwise the
            CPU; or "cpu", "cuda", "cuda:1".
        progress: True shows progress, with a line on stderr every ten seconds in scripts without a
            terminal. False is silent. None, the default, shows progress in terminals and notebooks.
            A `Progress` or another `Watcher` receives the progress.
        trackers: Names of `pushforward.trackers`, such as "tensorboard", or trackers of your own,
            which receive the log. A tracker that was used before continues its own run.
        shard: Whether each of several processes, started by torchrun or another launcher, holds a
            shard of the weights, their average and the optimisers
            (`torch.distributed.fsdp.fully_shard`). By default each process holds all weights.
        devices: Expected number of processes; an error is raised if it differs, since Python starts
            none itself. A run can be resumed with any number that divides its batch size.
    """

    plugins: str | Path | Sequence[str | Path]
    device: torch.device | str
    progress: Watcher | bool | None
    trackers: str | Tracker | Sequence[str | Tracker]
    shard: bool
    devices: int | None


class FitOptions(TrainingOptions, TrainingChanges, total=False):
    """Options of `pushforward.fit`.

    Args:
        out: Run folder, which must not exist; ``runs/DATA-RECIPE`` by default, with -2, -3, ... if
            that exists.
        seed: Seed of weights, order, noise and times; 0 by default.
        augment: Names of augmentations, one or several: "flip", "shift", "dequantise".
        checkpoint_every: Number of steps between checkpoints; by default one every two minutes, or
            every quarter of a short budget. The last step is always saved.
        overwrite: Whether to replace the run in ``out``, for example when a notebook cell runs
            again. Anything other than a run is never replaced.
        init: Run of the same method, or its folder, whose averaged weights are the initial weights.
        size: Network size, "tiny", "small" (default) or "base", for a recipe given by name or as a
            function.
        flops: Budget in floating-point operations of training steps, converted to steps
            (`pushforward.training.estimates`).
        epochs: Budget in passes over the training examples; 0.5 is half a pass.
        network: Network of a recipe given by name or as a function: a name such as "unet", or for
            flow, ddpm and edm a module ``network(x, t, condition)``. Other recipe settings can be
            passed in the same way, such as ``coupling="ot"``.
    """

    out: str | Path | None
    seed: int
    augment: str | Sequence[str]
    checkpoint_every: int | None
    overwrite: bool
    init: Any
    size: str | None
    flops: float | None
    epochs: float | None
    network: nn.Module | str | None


class ResumeOptions(TrainingOptions, total=False):
    """Options of `pushforward.resume`.

    Args:
        checkpoint: Name of an older checkpoint, such as "step_000500".
        fallback: Whether to resume from the newest undamaged checkpoint if the newest one is
            damaged.
        data: Data set, if the run was trained on arrays in Python.
        method: Method with the run's structure, if the spec cannot rebuild it.
        network: Network of the run, as for `pushforward.load`, if the spec cannot rebuild it.
        epochs: New budget in passes over the training examples.
    """

    checkpoint: str | None
    fallback: bool
    data: DataLike
    method: Method | None
    network: nn.Module | None
    epochs: float | None


BUDGETS = (
    *BudgetOptions.__annotations__,
    "epochs",
    "flops",
)  # The options of `fit` that say how long to train


def budget_in(options: Mapping[str, Any], data: Callable[[], Dataset]) -> Budget | None:
    """Return the given budget, or None if there is none, or one in operations."""
    given = {name: options[name] for name in BUDGETS if options.get(name) is not None}
    if len(given) > 1:
        raise UsageError(
            "Pass exactly one budget: `steps`, `samples`, `seconds`, `budget`, `epochs` or `flops`."
        )
    for name, value in given.items():
        if name in ("steps", "samples"):
            return Budget(**{name: whole(name, value)})
        if name == "seconds":
            number(name, value)
            return Budget(seconds=value)
        if name == "budget":
            return Budget(seconds=Budget.duration(value))
        if name == "epochs":
            return Budget(samples=samples_in(value, data()))
    return None


def samples_in(epochs: float, data: Dataset) -> int:
    """Return the number of training examples in ``epochs`` passes over the data, rounded up."""
    if not number("epochs", epochs) > 0:
        raise UsageError(f"`epochs` must be positive, got {epochs}.")
    return math.ceil(epochs * len(data.train))
