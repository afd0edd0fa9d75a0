"""Starting and taking up a training: fit, resume, and the trainers behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pushforward import recipes, spec
from pushforward.data import Dataset
from pushforward.draws import key
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError
from pushforward.methods import Method
from pushforward.recipes import Recipe
from pushforward.training import checkpoint as checkpoints
from pushforward.training.budget import Budget
from pushforward.training.lineage import earlier_split
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
    recipe: Recipe | Method | str,
    data: Dataset,
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
    if isinstance(recipe, str):
        asked = {"size": size} if asked is None else asked
        made: Recipe = seeded(lambda: recipes.named(recipe)(data.space, size), seed)
    elif isinstance(recipe, Recipe):
        made = _fresh(recipe, seed)
    else:
        made = Recipe(recipe, name=type(recipe).__name__.lower())
    if init is not None:
        source = init if isinstance(init, Run) else load(init, plugins=plugins)
        init = source.folder
        restore(made.method, source.method.state_dict(), source.folder)
        made = replace(made, builds_on=(*made.builds_on, (str(source.folder), source.seen)))
    folder = free_folder(out, data.name, made.name)
    budget = _budget(steps, samples, seconds)
    files = [Path(path) for path in plugins]
    return Trainer(made, data, budget, out=folder, seed=seed, plugins=files, asked=asked, init=init, **options)


def fit(
    recipe: Recipe | Method | str,
    data: Dataset,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    augment: Sequence[str] = (),
    checkpoint_every: int | None = None,
    progress: Watcher | None = None,
    init: str | Path | None = None,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Train a method on data and return the run.

    Args:
        recipe: A `Recipe`, whose weights are drawn anew from ``seed``; a recipe's name; or a `Method`, whose weights are taken
            as they are and trained with the default `Training`.
        data: From `pushforward.data.load`.
        steps: The budget in steps; 5,000 where no budget is given.
        samples: The budget in training samples.
        seconds: The budget in seconds of training steps; grids, checkpoints and evaluation do not count.
        out: The run's folder, which must not exist; the default is ``runs/DATA-RECIPE``.
        seed: Of everything random: weights, order, noise, times.
        device: Where to train.
        augment: Augmentations by name: "flip", "shift".
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
    folder: str | Path,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    checkpoint: str | None = None,
    data: Dataset | None = None,
    plugins: Iterable[str | Path] = (),
    method: Method | None = None,
    device: torch.device | str = "cpu",
    progress: Watcher | None = None,
) -> Trainer:
    """The `Trainer` of an existing run at its newest checkpoint; see `resume`."""
    from pushforward.data import load as load_data

    folder, plugins = Path(folder), list(plugins)
    content = read_spec(folder, plugins)
    where = pick(folder, checkpoint)
    check_spec(folder, content, checkpoints.read_state(where))
    if data is None:
        if not content.get("data"):
            raise UsageError(f"{folder} was trained on data handed over in Python; hand it to pf.resume(run, data=...) again.")
        data = load_data(**content["data"])
    if data.fingerprint != content["fingerprint"]:
        raise DataError(
            f"The data has changed since {folder} was trained (fingerprint {data.fingerprint[:12]}, was "
            f"{content['fingerprint'][:12]}). Restore it, or start a new run from its weights: --init {folder}."
            f"{earlier_split(content)}"
        )
    asked = steps is not None or samples is not None or seconds is not None
    budget = _budget(steps, samples, seconds) if asked else budget_of(content)
    trainer = Trainer(
        recipe_of(content, method),
        data,
        budget,
        out=folder,
        seed=content["seed"],
        device=device,
        augment=content["augment"],
        checkpoint_every=content["checkpoint_every"],
        progress=progress,
        content=content,
    )
    trainer.restore(where)
    extend(folder, content, budget, trainer.clock.step)
    return trainer


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    checkpoint: str | None = None,
    data: Dataset | None = None,
    plugins: Iterable[str | Path] = (),
    method: Method | None = None,
    device: torch.device | str = "cpu",
    progress: Watcher | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint; it ends bit for bit where the uninterrupted run ends.

    Args:
        folder: The run's folder.
        steps: A new budget in steps, in all, to extend the run.
        samples: A new budget in training samples, in all.
        seconds: A new budget in seconds of training steps, in all.
        checkpoint: An older checkpoint's name, such as "step_000500".
        data: The data set, where it was handed over in Python.
        plugins: Python files that the run was trained with.
        method: A method of the run's structure, where it cannot be rebuilt from the spec.
        device: Where to train.
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
