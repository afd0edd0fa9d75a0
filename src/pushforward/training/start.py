"""Starting and taking up a training: fit, resume, and the trainers behind them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from pushforward import spec
from pushforward.arguments import whole
from pushforward.data import Dataset, dataset_of
from pushforward.devices import device_named
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError
from pushforward.methods import Method
from pushforward.recipes import Recipe
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.budget import Budget
from pushforward.training.folders import claim, hold, put_back
from pushforward.training.generators import seeded
from pushforward.training.given import Given, check_budget, check_size, folder_of, name_of, names_of, recipe_from, refuse_unknown
from pushforward.training.holding import Holding
from pushforward.training.initial import check_initial
from pushforward.training.lineage import earlier_split, seen_by
from pushforward.training.parts import adopt
from pushforward.training.progress import Watcher, watcher_of
from pushforward.training.run import (
    Run,
    budget_of,
    check_spec,
    extend,
    load,
    pick,
    read_spec,
    recipe_of,
    restore,
)
from pushforward.training.settings import Settings
from pushforward.training.trainer import Trainer

__all__ = ["finished", "fit", "kept", "prepare", "reopen", "resume", "seeded"]


_TRAINED_IN = "_trained_in"
"""The attribute of a module that a trainer has been given: the run's folder. Neither it nor a copy is taken for a new one."""


def _recipe(given: Given, data: Dataset, size: str, seed: int) -> tuple[Recipe, bool]:
    """What is trained, and whether its weights can be drawn from the seed again from its spec alone."""
    built = seeded(lambda: recipe_from(given, data, size), seed)
    if isinstance(built, Method) and built is given:
        ancestors = tuple((folder, seen_by(folder)) for folder in _trainings(built))
        return replace(_alone(built), builds_on=ancestors), False
    recipe = built if isinstance(built, Recipe) else _alone(built)
    if isinstance(given, Recipe) or name_of(given) is not None:
        return _fresh(recipe, seed)
    _check_untrained(recipe.method)
    return recipe, False


def _alone(method: Method) -> Recipe:
    return Recipe(method, name=type(method).__name__.lower())


def _fresh(recipe: Recipe, seed: int) -> tuple[Recipe, bool]:
    """The recipe with weights drawn from the seed, and True; a method that cannot be rebuilt keeps its weights, and False.

    Raises:
        UsageError: If such a method has been trained, or is being trained, already.
    """
    content = spec.describe(recipe.method)
    try:
        method = seeded(lambda: spec.build(content), seed)
    except CheckpointError:
        _check_untrained(recipe.method)
        return recipe, False
    adopt(method, recipe.method.parts)
    return replace(recipe, method=method), True


def _mark(trainer: Trainer) -> None:
    folder = str(trainer.folder.absolute())
    for module in (*trainer.recipe.method.modules(), *trainer.average.method.modules()):
        setattr(module, _TRAINED_IN, folder)


def _trainings(method: Method) -> tuple[str, ...]:
    """The folders of the runs that have trained modules of a method."""
    marked = [part for part in method.modules() if hasattr(part, _TRAINED_IN) and any(p.requires_grad for p in part.parameters())]
    return tuple(dict.fromkeys(str(getattr(part, _TRAINED_IN)) for part in marked))


def _check_untrained(method: Method) -> None:
    if _trainings(method):
        raise UsageError(
            f"This {type(method).__name__} holds modules that have been given to a training before, so it would start from their "
            "weights whatever the seed; and it cannot be rebuilt, since a module is not part of pushforward or does not keep "
            "its constructor's arguments. Give a function that makes it anew: pf.fit(lambda: pf.recipes.flow(data.space, "
            "network=Own()), data, seed=1). To go on from these weights, give the method itself: pf.fit(recipe.method, data)."
        )


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
    device: torch.device | str = "cpu",
    augment: str | Sequence[str] = (),
    checkpoint_every: int | None = None,
    progress: Watcher | None = None,
    plugins: Sequence[str | Path] = (),
    asked: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Trainer:
    """A new `Trainer`, as `fit` makes it; see there, and `Settings` for ``asked``."""
    rows = recipe if isinstance(recipe, Dataset) else dataset_of(data)  # swapped arguments are refused as a recipe
    seed = whole("seed", seed)
    check_budget(steps, samples, seconds)
    made, from_seed = _recipe(recipe, rows, size, seed)
    if asked is None and name_of(recipe) is not None:
        asked = {"size": size}
    init_step = None
    if init is not None:
        source = init if isinstance(init, Run) else load(init, plugins=plugins)
        init, init_step = source.folder, source.state["step"]
        check_initial(source, made, asked)
        restore(made.method, source.method.state_dict(), source.folder)
        made = replace(made, builds_on=(*made.builds_on, (str(source.folder), source.seen)))
    settings = Settings(
        seed=seed,
        device=device_named(device),
        augment=names_of(augment),
        checkpoint_every=checkpoint_every,
        plugins=[Path(path) for path in plugins],
        asked=asked,
        init=init,
        init_step=init_step,
        from_seed=from_seed,
    )
    budget, claimed = _budget(steps, samples, seconds), claim(out, rows.name, made.name, overwrite=overwrite)
    try:
        trainer = Trainer(made, rows, budget, out=Holding(claimed.folder, claimed.lock), settings=settings, progress=progress)
    except BaseException:
        claimed.discard()
        raise
    claimed.settle()
    _mark(trainer)
    return trainer


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
    progress: Watcher | bool | None = None,
    overwrite: bool = False,
    init: str | Path | None = None,
    size: str | None = None,
    plugins: Sequence[str | Path] = (),
    **unknown: Any,
) -> Run:
    """Train a method on data and return the run.

    Args:
        recipe: A recipe's name, or a recipe function, which is called with the data's space; a `Recipe`, whose weights are drawn
            anew from ``seed``; a function without arguments that returns a recipe, called under ``seed``, for modules of one's
            own that cannot be rebuilt (as part of a `Recipe` these keep their weights and are accepted once); or a `Method`,
            whose weights are taken as they are and trained with the default `Training`.
        data: A data set, or its name or path (`pushforward.data.load`).
        steps: The budget in steps; 5,000 where no budget is given.
        samples: The budget in training samples.
        seconds: The budget in seconds of training steps; grids, checkpoints and evaluation do not count.
        out: The run's folder, which must not exist; the default is ``runs/DATA-RECIPE``, with -2, -3, ... where that exists.
        seed: Of everything random: weights, order, noise, times.
        device: Where to train: "cpu", "cuda", "cuda:1", or "auto" for a CUDA device where there is one.
        augment: Augmentations by name, one or several: "flip", "shift", "dequantise".
        checkpoint_every: Steps between checkpoints; the default is every two minutes, or every quarter of a short budget. The
            last step is always saved.
        progress: True shows progress, False is silent; None, the default, shows it on a terminal and in a notebook. A `Progress`,
            or a `Watcher` of one's own, is used unchanged.
        overwrite: Replace the run that is in ``out``, so that a notebook's cell can run again. What is no run is never replaced.
        init: A run of the same method, from whose averaged weights training starts.
        size: tiny, small (the default) or base, for a recipe given by its name or as its function.
        plugins: Python files that the recipe came from.
        unknown: Refused, with a hint.

    Returns:
        The run with its averaged weights; ``run.transport.sample(16)`` draws from it.

    Raises:
        UsageError: For settings that do not fit each other or the data.
        Diverged: If a loss is not finite.
        CheckpointError: If the disk refuses, or another training is writing to the folder.
    """
    refuse_unknown(unknown, inspect.signature(fit).parameters.keys() - {"unknown"})
    check_size(recipe, size)
    trainer = prepare(
        recipe,
        data,
        steps=steps,
        samples=samples,
        seconds=seconds,
        out=out,
        seed=seed,
        init=init,
        size=size or "small",
        plugins=plugins,
        device=device,
        augment=augment,
        checkpoint_every=checkpoint_every,
        progress=watcher_of(progress),
        overwrite=overwrite,
    )
    return _trained(trainer)


def _trained(trainer: Trainer) -> Run:
    """Train to the end of the budget; progress is closed however training ends."""
    try:
        trainer.advance()
    finally:
        trainer.progress.close()
    return finished(trainer)


def finished(trainer: Trainer) -> Run:
    """The run of a trainer that has ended, with the averaged weights in memory."""
    trainer.progress.close()
    trainer.close()
    name = checkpoints.step_name(trainer.clock.step)
    state = checkpoints.read_json(pick(trainer.folder, name) / "state.json")
    return Run(trainer.folder, trainer.content, trainer.average.method, state)


def kept(trainer: Trainer, error: Diverged) -> Run:
    """The run of a trainer that has diverged, at its last checkpoint and with a warning that says why."""
    trainer.progress.close()
    trainer.close()
    found = checkpoints.load(pick(trainer.folder, None), trainer.device)
    restore(trainer.average.method, found.weights(), found.folder)
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
    progress: Watcher | bool | None = None,
) -> Trainer:
    """The `Trainer` of an existing run at its newest checkpoint; see `resume`."""
    folder, plugins = folder_of(folder), list(plugins)
    check_budget(steps, samples, seconds)
    put_back(folder)
    content = read_spec(folder, plugins)
    asked = steps is not None or samples is not None or seconds is not None
    budget = _budget(steps, samples, seconds) if asked else budget_of(content)
    lock = hold(folder)
    try:
        where = _newest(folder) if checkpoint is None else pick(folder, checkpoint)
        if where is not None:
            state = checkpoints.read_state(where)
            check_spec(folder, content, state)
            if asked and asdict(budget) != content["budget"]:
                budget.check_beyond(folder, state["seconds"])
        data = _data_of(folder, content, data)
        recipe = recipe_of(content, method) if where is not None else _started_over(folder, content, method, plugins)
        settings = Settings(
            seed=content["seed"],
            device=device_named(device),
            augment=tuple(content["augment"]),
            checkpoint_every=content["checkpoint_every"],
        )
        holding = Holding(folder, lock, content)
        trainer = Trainer(recipe, data, budget, out=holding, settings=settings, progress=watcher_of(progress))
        if where is not None:
            trainer.restore(where)
        extend(folder, content, budget, trainer.clock.step)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    _mark(trainer)
    return trainer


def _newest(folder: Path) -> Path | None:
    """A run's newest checkpoint; None for a run that was never saved and has made no step.

    Raises:
        CheckpointError: If the run has made steps and its checkpoints are gone.
    """
    where = checkpoints.latest(folder / "checkpoints")
    if where is None and (rows := log.read(folder / "metrics.jsonl")):
        raise CheckpointError(
            f"{folder} was trained for {rows[-1]['step']:,} steps, and its checkpoints are gone: it cannot be resumed. Restore "
            "them, or train anew into another folder."
        )
    return where


def _started_over(folder: Path, content: dict[str, Any], method: Method | None, plugins: Sequence[str | Path]) -> Recipe:
    """The recipe of a run that was never saved, with the weights that it had at its start.

    Raises:
        CheckpointError: If they came from Python and are lost, or the run of ``init`` has changed since.
    """
    if method is None and content.get("init") is not None:
        recipe = recipe_of(content)
        name = checkpoints.step_name(content["init_step"])
        if Path(content["init"]).is_dir() and not (Path(content["init"]) / "checkpoints" / name).is_dir():
            raise CheckpointError(
                f"{folder} was never saved, and the weights that it started from are gone: {content['init']} no longer has its "
                f"checkpoint {name}, because it has been trained further since. Delete {folder} and train anew, from the weights "
                f"that {content['init']} has now, or restore the checkpoint."
            )
        source = load(content["init"], checkpoint=name, plugins=plugins)
        restore(recipe.method, source.method.state_dict(), source.folder)
        return recipe
    if method is None and not content.get("from_seed"):
        raise CheckpointError(
            f"{folder} was never saved, and its first weights came from Python: they are lost. Delete the folder and call "
            "pf.fit again, or hand them over: pf.resume(run, method=...)."
        )
    return recipe_of(content, method, content["seed"])


def _data_of(folder: Path, content: dict[str, Any], data: Dataset | str | Path | None) -> Dataset:
    """The data of a run, which must be what it was.

    Raises:
        DataError: If it has changed.
    """
    from pushforward.data import load as load_data

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
            f"{earlier_split(content)}"
        )
    return rows


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
    progress: Watcher | bool | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint; it ends bit for bit where the uninterrupted run ends.

    A run that was never saved, because the disk was full at its start, is started.

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
        progress: True shows progress, False is silent; None, the default, shows it on a terminal and in a notebook.

    Returns:
        The run; a finished one is returned as it is.

    Raises:
        CheckpointError: If the checkpoint is damaged or missing, or another training is writing to the folder.
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
    return _trained(trainer)
