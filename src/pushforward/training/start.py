"""Starting a training: fit, and the trainer behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch

from pushforward import spec
from pushforward.arguments import refuse_unknown, whole
from pushforward.data import Dataset, dataset_of
from pushforward.devices import device_named
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Method
from pushforward.plugins import files_of
from pushforward.plugins import load as load_plugin
from pushforward.recipes.recipe import Recipe
from pushforward.trackers import trackers_of
from pushforward.training.budget import Budget
from pushforward.training.ending import trained
from pushforward.training.fit_options import HINTS, FitOptions, ResumeOptions, budget_in
from pushforward.training.flops import steps_within
from pushforward.training.folders import claim
from pushforward.training.generators import seeded
from pushforward.training.holding import Holding
from pushforward.training.initial import check_initial
from pushforward.training.launching import check_devices, joined, note_here, restarted
from pushforward.training.lineage import seen_by
from pushforward.training.marks import mark, trainings
from pushforward.training.parts import adopt
from pushforward.training.processes import Processes
from pushforward.training.progress import watcher_of
from pushforward.training.recipe_like import RecipeLike, check_size, name_of, names_of, recipe_from, refuse_settings
from pushforward.training.run import Run, load
from pushforward.training.run_spec import command
from pushforward.training.same_data import share_fingerprints
from pushforward.training.settings import Settings
from pushforward.training.taking_up import taken_up
from pushforward.training.tensors import restore
from pushforward.training.trainer import Trainer

__all__ = ["fit", "prepare"]


def _recipe(given: RecipeLike, data: Dataset, size: str, seed: int) -> tuple[Recipe, bool]:
    """The recipe, and whether its first weights can be drawn from the seed again from its spec alone."""
    built = seeded(lambda: recipe_from(given, data, size), seed)
    if isinstance(built, Method) and built is given:
        ancestors = tuple((folder, seen_by(folder)) for folder in trainings(built))
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


def _check_untrained(method: Method) -> None:
    if trainings(method):
        raise UsageError(
            f"This {type(method).__name__} holds modules that have been given to a training before, so it would start from their "
            "weights whatever the seed; and it cannot be rebuilt, since a module is not part of pushforward or does not keep "
            "its constructor's arguments. Give a function that makes it again: pf.fit(lambda: pf.recipes.flow(data.space, "
            "network=Own()), data, seed=1). To go on from these weights, give the method itself: pf.fit(recipe.method, data)."
        )


def prepare(
    recipe: RecipeLike, data: Dataset | str | Path, *, asked: Mapping[str, Any] | None = None, **options: Unpack[FitOptions]
) -> Trainer:
    """A new `Trainer`, as `fit` makes it; see there, and `Settings` for ``asked``. Without ``progress`` it is silent.

    Raises:
        UsageError: As `fit`.
    """
    refuse_unknown(options, FitOptions, "fit", HINTS)
    check_devices(options.get("devices"))
    device = device_named(options.get("device", "cpu"))
    processes = joined(device, shard=options.get("shard", False))
    with processes.phase("the start of training", ends_together=True):
        return _prepared(recipe, data, asked, options, device, processes)


def _prepared(
    recipe: RecipeLike,
    data: Dataset | str | Path,
    asked: Mapping[str, Any] | None,
    options: FitOptions,
    device: torch.device,
    processes: Processes,
) -> Trainer:
    plugins = [Path(path) for path in files_of(options.get("plugins", ()))]
    for path in plugins:
        load_plugin(path)
    trackers = trackers_of(options.get("trackers"))
    dataset = recipe if isinstance(recipe, Dataset) else dataset_of(data)  # swapped arguments are refused as a recipe
    share_fingerprints(dataset, processes)
    seed, size, init = whole("seed", options.get("seed", 0)), options.get("size") or "small", options.get("init")
    budget = budget_in(options)
    if budget is not None and options.get("flops") is not None:
        raise UsageError("Give exactly one budget: `steps`, `samples`, `seconds` or `flops`.")
    built, from_seed = _recipe(recipe, dataset, size, seed)
    if asked is None and name_of(recipe) is not None:
        others = [str(path) for path in plugins if str(path) != recipe]
        asked = {"size": size} | ({"plugin": others} if others else {})
    init_step = None
    again = restarted(options.get("out"), dataset.name, built.name, command()) if processes.rank == 0 else None
    if (begun := processes.first(None if again is None else str(again))) is not None:
        return _continued(Path(begun), built, from_seed, dataset, options, processes)
    if init is None and built.first_weights is not None:
        built.first_weights(built.method)
    if init is not None:
        source = init if isinstance(init, Run) else load(init, plugins=plugins)
        init, init_step = source.folder, source.state["step"]
        check_initial(source, built, asked)
        restore(built.method, source.method.state_dict(), source.folder)
        built = replace(built, builds_on=(*built.builds_on, (str(source.folder), source.seen)))
    settings = Settings(
        seed=seed,
        device=device,
        augment=names_of(options.get("augment", ())),
        checkpoint_every=options.get("checkpoint_every"),
        plugins=plugins,
        asked=asked,
        init=init,
        init_step=init_step,
        from_seed=from_seed and (init is not None or built.first_weights is None),
        trackers=trackers,
    )
    if (flops := options.get("flops")) is not None:
        budget = Budget(steps=steps_within(flops, built, dataset, settings)[0])
    progress = options.get("progress")
    watcher = None if progress is None or processes.rank else watcher_of(progress)
    claimed = None
    if processes.rank == 0:
        claimed = claim(options.get("out"), dataset.name, built.name, overwrite=options.get("overwrite", False))
    try:
        folder = Path(processes.first(None if claimed is None else str(claimed.folder)))
        trainer = Trainer(
            built,
            dataset,
            budget or Budget(steps=5000),
            out=Holding(folder, None if claimed is None else claimed.lock, writes=claimed is not None),
            settings=settings,
            progress=watcher,
            processes=processes,
        )
    except BaseException as error:
        if claimed is not None:
            claimed.discard()
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("training had not begun, so nothing is saved") from None
        raise
    if claimed is not None:
        claimed.settle()
        note_here(folder)
    mark(trainer.folder, trainer.recipe.method, trainer.average.method)
    return trainer


def _continued(
    folder: Path, recipe: Recipe, from_seed: bool, data: Dataset, options: FitOptions, processes: Processes
) -> Trainer:
    """The trainer of a run that this launch has begun, before its processes were started again."""
    method = None if from_seed else recipe.method
    again: ResumeOptions = {"data": data, "plugins": options.get("plugins", ()), "method": method}
    again |= {name: options[name] for name in ("device", "progress", "trackers") if name in options}  # type: ignore[literal-required, typeddict-item]
    return taken_up(folder, again, processes)


def fit(recipe: RecipeLike, data: Dataset | str | Path, **options: Unpack[FitOptions]) -> Run:
    """Train a method on data and return the run.

    Args:
        recipe: A recipe's name, or a recipe function, which is called with the data's space; a `Recipe`, whose weights are drawn
            again from ``seed``; a function without arguments that returns a recipe, called under ``seed``, for modules of one's
            own that cannot be rebuilt (as part of a `Recipe` these keep their weights and are accepted once); or a `Method`,
            whose weights are taken as they are and trained with the default `Training`.
        data: A data set, or its name or path (`pushforward.data.load`).
        options: See `pushforward.training.fit_options.FitOptions`: ``steps``, ``samples``, ``seconds`` or ``flops``; ``out``,
            ``seed``, ``device``, ``augment``, ``checkpoint_every``, ``progress``, ``overwrite``, ``init``, ``size``, ``plugins``,
            ``trackers``, ``shard``, ``devices``.

    Where torchrun or another launcher has started several processes, each calls it and all train the one run. Without a terminal
    or a notebook nothing is printed; ``progress=True`` prints a line every ten seconds.

    Returns:
        The run with its averaged weights; ``run.transport.sample(16)`` draws from it.

    Raises:
        UsageError: For settings that do not fit each other or the data.
        DataError: If the data cannot be read, or a file of images that stay on disk is gone; the steps before are saved.
        Diverged: If losses, gradients or weights are not finite again after training went back to its newest checkpoint with half
            the learning rate, or the logit gap of a GAN runs away. The newest checkpoint is sound.
        OutOfMemory: If a batch cannot be split further.
        CheckpointError: If the disk refuses, or another training is writing to the folder.
        KeyboardInterrupt: After SIGINT, once the present step has been saved.
    """
    refuse_settings(recipe, options, FitOptions.__annotations__)
    refuse_unknown(options, FitOptions, "fit", HINTS)
    check_size(recipe, options.get("size"))
    options["progress"] = watcher_of(options.get("progress"))
    return trained(prepare(recipe, data, **options))
