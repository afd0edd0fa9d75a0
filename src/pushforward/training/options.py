"""The options of fit and resume, and the budget among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from pushforward.training.loop.callbacks import Watcher

_OF_RECIPE = " It belongs to the recipe: dataclasses.replace(recipe, training=recipe.training.changed({}))."
HINTS = {name: _OF_RECIPE.format(f"{name}=...") for name in ("betas", "clip", "ema_share", "players", "schedule", "weight_decay")}
"""Suggestions for settings of `pushforward.Training` that `fit` does not take."""


class BudgetOptions(TypedDict, total=False):
    """How long to train; one of these.

    Args:
        steps: The budget in steps; 5,000 if a new run has no budget.
        samples: The budget in training examples drawn.
        seconds: The budget in seconds of training steps; grids, checkpoints and evaluation do not count.
        budget: The budget in seconds as text: "60s", "10m" or "1.5h".
    """

    steps: int | None
    samples: int | None
    seconds: float | None
    budget: str | None


class TrainingChanges(TypedDict, total=False):
    """Settings of `pushforward.Training` that replace those of the recipe; None leaves a setting unchanged.

    Args:
        batch: Examples per step.
        accumulate: Micro-batches into which a batch is split to save memory.
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
    """Options of `pushforward.fit` and `pushforward.resume` alike.

    Args:
        plugins: Python files, or a single one, that the recipe came from, or the run was trained with.
        device: The device to train on: "auto" (the default) for a CUDA device if there is one, else the CPU; or "cpu", "cuda",
            "cuda:1".
        progress: True shows progress, also in a script that runs without a terminal: a line on stderr every ten seconds. False is
            silent; None, the default, shows it on a terminal and in a notebook. A `Progress`, or another `Watcher`, is used
            unchanged.
        trackers: Names of `pushforward.trackers`, such as "tensorboard", or trackers of one's own: they receive what is logged.
            One that was used before goes on with its own run.
        shard: Whether each of several processes, which torchrun or another launcher has started, holds a share of the weights, of
            their average and of the optimisers (`torch.distributed.fsdp.fully_shard`), or all of them, as is usual.
        devices: How many processes train; for a check only, since Python starts none of itself. A run may be resumed by any
            number that divides its batch.
    """

    plugins: str | Path | Sequence[str | Path]
    device: torch.device | str
    progress: Watcher | bool | None
    trackers: str | Tracker | Sequence[str | Tracker]
    shard: bool
    devices: int | None


class FitOptions(TrainingOptions, TrainingChanges, total=False):
    """The options of `pushforward.fit`, with those of `BudgetOptions`, `TrainingOptions` and `TrainingChanges`.

    Args:
        out: The run's folder, which must not exist; the default is ``runs/DATA-RECIPE``, with -2, -3, ... where that exists.
        seed: Of everything random: weights, order, noise, times; 0 by default.
        augment: Augmentations by name, one or several: "flip", "shift", "dequantise".
        checkpoint_every: Steps between checkpoints; the default is every two minutes, or every quarter of a short budget. The
            last step is always saved.
        overwrite: Replace the run that is in ``out``, so that a notebook's cell can run again. Anything but a run is never
            replaced.
        init: A run of the same method, or its folder, from whose averaged weights training starts.
        size: tiny, small (the default) or base, for a recipe given by its name or as its function.
        flops: A budget in floating point operations of training steps, instead of steps, samples or seconds: as many steps as it
            allows (`pushforward.training.estimates`).
        epochs: A budget in passes over the training examples, instead of the others; 0.5 is half a pass.
        network: The network of a recipe given by its name or as its function: a name such as "unet", or for flow, ddpm and edm
            a module ``network(x, t, condition)``. Other settings of such a recipe are taken as well, as by
            ``pushforward train``: ``coupling="ot"``.
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
    """The options of `pushforward.resume`: `TrainingOptions`, and a new budget in all (`BudgetOptions`), which extends the run.

    Args:
        checkpoint: An older checkpoint's name, such as "step_000500".
        fallback: Where the newest checkpoint is damaged, go on from the newest one that is whole.
        data: The data set, where it was given as arrays in Python.
        method: A method of the run's structure, where it cannot be rebuilt from the spec.
        network: The run's network, as for `pushforward.load`, where it cannot be rebuilt from the spec.
        epochs: New budget in passes over the training examples.
    """

    checkpoint: str | None
    fallback: bool
    data: DataLike
    method: Method | None
    network: nn.Module | None
    epochs: float | None


BUDGETS = (*BudgetOptions.__annotations__, "epochs", "flops")  # The options of `fit` that say how long to train


def budget_in(options: BudgetOptions) -> Budget | None:
    """The budget that was given; None where there is none.

    Raises:
        UsageError: For several, or one that is no number, naming the option.
    """
    steps, samples, seconds, text = options.get("steps"), options.get("samples"), options.get("seconds"), options.get("budget")
    for name, count in (("steps", steps), ("samples", samples)):
        if count is not None:
            whole(name, count)
    if seconds is not None:
        number("seconds", seconds)
    if text is not None:
        if seconds is not None:
            raise UsageError("Give exactly one budget: `seconds` or `budget`.")
        seconds = Budget.duration(text)
    return None if steps is samples is seconds is None else Budget(steps, samples, seconds)


def samples_in(epochs: float, data: Dataset) -> int:
    """Return the number of training examples in this many passes over the data, rounded up.

    Raises:
        UsageError: For passes that are not a positive number.
    """
    if not 0 < number("epochs", epochs) < math.inf:
        raise UsageError(f"`epochs` must be positive and finite, got {epochs}.")
    return math.ceil(epochs * len(data.train))
