"""Starting and taking up a training: fit, resume, and the trainers behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pushforward import spec
from pushforward.arguments import whole
from pushforward.data import Dataset, dataset_of
from pushforward.devices import device_named
from pushforward.draws import key
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError
from pushforward.methods import Method
from pushforward.recipes import Recipe
from pushforward.training import checkpoint as checkpoints
from pushforward.training.budget import Budget
from pushforward.training.given import Given, check_budget, folder_of, name_of, names_of, recipe_from
from pushforward.training.parts import adopt
from pushforward.training.progress import Watcher
from pushforward.training.run import (
    Run,
    budget_of,
    check_spec,
    extend,
    free_folder,
    load,
    pick,
    read_spec,
    recipe_of,
    restore,
)
from pushforward.training.trainer import Trainer

__all__ = ["finished", "fit", "kept", "prepare", "reopen", "resume", "seeded"]


def seeded(build: Callable[[], Any], seed: int) -> Any:
    """What ``build`` makes with torch's generator seeded for it; the generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "weights") >> 1)
        return build()


def _fresh(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with weights drawn from the seed; modules that cannot be rebuilt keep theirs."""
    content = spec.describe(recipe.method)
    try:
        made = seeded(lambda: spec.build(content), seed)
    except CheckpointError:
        return recipe
    adopt(made, recipe.method.parts)
    return replace(recipe, method=made)


def _budget(steps: int | None, samples: int | None, seconds: float | None) -> Budget:
    if steps is None and samples is None and seconds is None:
        return Budget(steps=5000)
    return Budget(steps=steps, samples=samples, seconds=seconds)


def prepare(
    recipe: Given,
    data: Dataset | str | Path,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    init: str | Path | Run | None = None,
    size: str = "small",
    plugins: Sequence[str | Path] = (),
    asked: Mapping[str, Any] | None = None,
    **options: Any,
) -> Trainer:
    """A new `Trainer`, as `fit` makes it; see there, and `Trainer` for ``asked``."""
    rows = recipe if isinstance(recipe, Dataset) else dataset_of(data)  # swapped arguments are refused as a recipe
    seed = whole("seed", seed)
    check_budget(steps, samples, seconds)
    given = seeded(lambda: recipe_from(recipe, rows, size), seed)
    if isinstance(given, Method):
        made = Recipe(given, name=type(given).__name__.lower())
    else:
        made = _fresh(given, seed) if isinstance(recipe, Recipe) else given
    if asked is None and name_of(recipe) is not None:
        asked = {"size": size}
    if init is not None:
        source = init if isinstance(init, Run) else load(init, plugins=plugins)
        init = source.folder
        restore(made.method, source.method.state_dict(), source.folder)
    folder = free_folder(out, rows.name, made.name)
    budget = _budget(steps, samples, seconds)
    files = [Path(path) for path in plugins]
    options["device"] = device_named(options.get("device", "cpu"))
    options["augment"] = names_of(options.get("augment", ()))
    return Trainer(made, rows, budget, out=folder, seed=seed, plugins=files, asked=asked, init=init, **options)


def fit(
    recipe: Given,
    data: Dataset | str | Path,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    augment: str | Sequence[str] = (),
    checkpoint_every: int | None = None,
    progress: Watcher | None = None,
    init: str | Path | None = None,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Train a method on data and return the run.

    Args:
        recipe: A recipe's name, or a recipe function, which is called with the data's space; a `Recipe`, whose weights are drawn
            anew from ``seed``; or a `Method`, whose weights are taken as they are and trained with the default `Training`.
        data: A data set, or its name or path (`pushforward.data.load`).
        steps: The budget in steps; 5,000 where no budget is given.
        samples: The budget in training samples.
        seconds: The budget in seconds of training steps; grids, checkpoints and evaluation do not count.
        out: The run's folder, which must not exist; the default is ``runs/DATA-RECIPE``.
        seed: Of everything random: weights, order, noise, times.
        device: Where to train: "cpu", "cuda", "cuda:1", or "auto" for a CUDA device where there is one.
        augment: Augmentations by name, one or several: "flip", "shift", "dequantise".
        checkpoint_every: Steps between checkpoints; the default is every two minutes, or every quarter of a short budget. The
            last step is always saved.
        progress: A `Progress` to show it on the terminal; the default is silent.
        init: A run from whose averaged weights training starts.
        plugins: Python files that the recipe came from.

    Returns:
        The run with its averaged weights; ``run.transport.sample(16)`` draws from it.

    Raises:
        UsageError: For settings that do not fit each other or the data.
        Diverged: If a loss is not finite.
        CheckpointError: If the disk refuses.
    """
    trainer = prepare(
        recipe,
        data,
        steps=steps,
        samples=samples,
        seconds=seconds,
        out=out,
        seed=seed,
        init=init,
        plugins=plugins,
        device=device,
        augment=augment,
        checkpoint_every=checkpoint_every,
        progress=progress,
    )
    trainer.advance()
    return finished(trainer)


def finished(trainer: Trainer) -> Run:
    """The run of a trainer, with the averaged weights in memory."""
    trainer.progress.close()
    name = checkpoints.step_name(trainer.clock.step)
    state = checkpoints.read_json(pick(trainer.folder, name) / "state.json")
    return Run(trainer.folder, trainer.content, trainer.average.method, state)


def kept(trainer: Trainer, error: Diverged) -> Run:
    """The run of a trainer that has diverged, at its last checkpoint and with a warning that says why."""
    trainer.progress.close()
    found = checkpoints.load(pick(trainer.folder, None), trainer.device)
    restore(trainer.average.method, found.tensors["average"], found.folder)
    warning = f"its training broke off, and it is judged as it was after step {found.state['step']:,}. {error}"
    return Run(trainer.folder, trainer.content, trainer.average.method, found.state, (warning,))


def reopen(
    folder: str | Path | Run,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    checkpoint: str | None = None,
    data: Dataset | str | Path | None = None,
    plugins: Iterable[str | Path] = (),
    method: Method | None = None,
    device: torch.device | str = "cpu",
    progress: Watcher | None = None,
) -> Trainer:
    """The `Trainer` of an existing run at its newest checkpoint; see `resume`."""
    from pushforward.data import load as load_data

    folder, plugins = folder_of(folder), list(plugins)
    content = read_spec(folder, plugins)
    where = pick(folder, checkpoint)
    check_spec(folder, content, checkpoints.read_state(where))
    if data is None:
        if not content.get("data"):
            raise UsageError(f"{folder} was trained on data handed over in Python; hand it to pf.resume(run, data=...) again.")
        rows = load_data(**content["data"])
    else:
        rows = dataset_of(data)
    if rows.fingerprint != content["fingerprint"]:
        raise DataError(
            f"The data has changed since {folder} was trained (fingerprint {rows.fingerprint[:12]}, was "
            f"{content['fingerprint'][:12]}). Restore it, or start a new run from its weights: `init={folder}`."
        )
    check_budget(steps, samples, seconds)
    asked = steps is not None or samples is not None or seconds is not None
    budget = _budget(steps, samples, seconds) if asked else budget_of(content)
    trainer = Trainer(
        recipe_of(content, method),
        rows,
        budget,
        out=folder,
        seed=content["seed"],
        device=device_named(device),
        augment=content["augment"],
        checkpoint_every=content["checkpoint_every"],
        progress=progress,
        content=content,
    )
    trainer.restore(where)
    extend(folder, content, budget, trainer.clock.step)
    return trainer


def resume(
    folder: str | Path | Run,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    checkpoint: str | None = None,
    data: Dataset | str | Path | None = None,
    plugins: Iterable[str | Path] = (),
    method: Method | None = None,
    device: torch.device | str = "cpu",
    progress: Watcher | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint; it ends bit for bit where the uninterrupted run ends.

    Args:
        folder: The run's folder, or the run.
        steps: A new budget in steps, in all, to extend the run.
        samples: A new budget in training samples, in all.
        seconds: A new budget in seconds of training steps, in all.
        checkpoint: An older checkpoint's name, such as "step_000500".
        data: The data set, where it was handed over in Python.
        plugins: Python files that the run was trained with.
        method: A method of the run's structure, where it cannot be rebuilt from the spec.
        device: Where to train: "cpu", "cuda", "cuda:1", or "auto" for a CUDA device where there is one.
        progress: A `Progress` to show it on the terminal.

    Returns:
        The run; a finished one is returned as it is.

    Raises:
        CheckpointError: If there is no checkpoint or it is damaged.
        DataError: If the data has changed.
    """
    trainer = reopen(
        folder,
        steps=steps,
        samples=samples,
        seconds=seconds,
        checkpoint=checkpoint,
        data=data,
        plugins=plugins,
        method=method,
        device=device,
        progress=progress,
    )
    trainer.advance()
    return finished(trainer)
