"""Starting a training, going on with a run, and distilling one: fit, resume, distil, and the trainers behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import torch

from pushforward import recipes
from pushforward.arguments import refuse_unknown, whole
from pushforward.data import Dataset, dataset_of
from pushforward.denoisers import has_jump
from pushforward.devices import device_named
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError, did_you_mean
from pushforward.plugins import files_of
from pushforward.plugins import load as load_plugin
from pushforward.recipes import Recipe
from pushforward.trackers import trackers_of
from pushforward.training.distributed.process_group import check_devices, joined
from pushforward.training.distributed.processes import Processes
from pushforward.training.estimates import steps_within
from pushforward.training.frozen_recipes import with_frozen
from pushforward.training.loop.budget import Budget
from pushforward.training.loop.finalize import finished, salvaged, trained
from pushforward.training.loop.progress import watcher_of
from pushforward.training.loop.torch_generators import seeded
from pushforward.training.loop.trainer import Trainer
from pushforward.training.options import HINTS, FitOptions, ResumeOptions, Settings, budget_in
from pushforward.training.recipe_argument import RecipeLike, check_arguments, folder_of, name_of, names_of, recipe_from
from pushforward.training.runs.folder import claim
from pushforward.training.runs.provenance import data_of_run
from pushforward.training.runs.resumption import taken_up
from pushforward.training.runs.run import Run, load
from pushforward.training.runs.run_lock import Holding
from pushforward.training.runs.warm_start import from_run, mark, started
from pushforward.transports import Latent, has_steps, inner_of

RecipeSettings = Mapping[str, Any]
TURN = 5.0  # Seconds of training that a model has before the next one's turn


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
    with processes.phase("the start of training"):
        return _prepared(recipe, data, asked, options, device, processes)


def _prepared(
    given: RecipeLike,
    data: Dataset | str | Path,
    asked: Mapping[str, Any] | None,
    options: FitOptions,
    device: torch.device,
    processes: Processes,
) -> Trainer:
    plugins, out = [Path(path) for path in files_of(options.get("plugins", ()))], options.get("out")
    for path in plugins:
        load_plugin(path)
    trackers = trackers_of(options.get("trackers"))
    dataset = given if isinstance(given, Dataset) else dataset_of(data)  # swapped arguments are refused as a recipe
    seed, size, name = whole("seed", options.get("seed", 0)), options.get("size") or "small", name_of(given)
    budget, flops = budget_in(options), options.get("flops")
    if budget is not None and flops is not None:
        raise UsageError("Give exactly one budget: `steps`, `samples`, `seconds` or `flops`.")
    rebuildable = isinstance(given, Recipe) or name is not None
    recipe, from_seed = started(lambda: recipe_from(given, dataset, size), given, rebuildable, seed)
    if asked is None and name is not None:
        others = [str(path) for path in plugins if str(path) != given]
        asked = {"size": size} | ({"plugin": others} if others else {})
    source = None
    if options.get("init") is not None:
        recipe, source = from_run(options["init"], recipe, plugins)
    elif recipe.first_weights is not None:
        recipe.first_weights(recipe.method)
        from_seed = False
    settings = Settings(
        seed=seed,
        device=device,
        augment=names_of(options.get("augment", ())),
        checkpoint_every=options.get("checkpoint_every"),
        plugins=plugins,
        asked=asked,
        init=None if source is None else source.folder,
        init_step=None if source is None else source.state["step"],
        from_seed=from_seed,
        trackers=trackers,
    )
    if flops is not None:
        budget = Budget(steps=steps_within(flops, recipe, dataset, settings)[0])
    progress = options.get("progress")
    watcher = None if progress is None or processes.rank else watcher_of(progress)
    claimed = claim(out, dataset.name, recipe.name, overwrite=options.get("overwrite", False)) if processes.rank == 0 else None
    try:
        folder = Path(processes.first(None if claimed is None else str(claimed.folder)))
        trainer = Trainer(
            recipe,
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
    mark(trainer.folder, trainer.recipe.method, trainer.average.method)
    return trainer


def fit(recipe: RecipeLike, data: Dataset | str | Path, **options: Unpack[FitOptions]) -> Run:
    """Train a method on data and return the run.

    Args:
        recipe: A recipe's name, or a recipe function, which is called with the data's space; a `Recipe`, whose weights are drawn
            again from ``seed``; a function without arguments that returns a recipe, called under ``seed``, for modules of one's
            own that cannot be rebuilt (as part of a `Recipe` these keep their weights and are accepted once); or a `Method`,
            whose weights are taken as they are and trained with the default `Training`.
        data: A data set, or its name or path (`pushforward.data.load`).
        options: See `pushforward.training.options.FitOptions`: ``steps``, ``samples``, ``seconds`` or ``flops``; ``out``,
            ``seed``, ``device``, ``augment``, ``checkpoint_every``, ``progress``, ``overwrite``, ``init``, ``size``, ``plugins``,
            ``trackers``, ``shard``, ``devices``.

    Where torchrun or another launcher has started several processes, each calls it and all train the one run. Without a terminal
    or a notebook nothing is printed; ``progress=True`` prints a line every ten seconds.

    Returns:
        The run with its averaged weights; ``run.transport.sample(16)`` draws from it.

    Raises:
        UsageError: For settings that do not fit each other or the data.
        DataError: If the data cannot be read, or a file of images that stay on disk is gone; the steps before are saved.
        Diverged: If losses, gradients or weights are not finite, or the logit gap of a GAN runs away. The newest checkpoint is
            sound.
        OutOfMemory: If memory does not suffice for a step.
        CheckpointError: If the disk refuses, or another training is writing to the folder.
        KeyboardInterrupt: After SIGINT, once the present step has been saved.
    """
    check_arguments(recipe, options, FitOptions.__annotations__)
    refuse_unknown(options, FitOptions, "fit", HINTS)
    options["progress"] = watcher_of(options.get("progress"))
    return trained(prepare(recipe, data, **options))


def reopen(folder: str | Path | Run, **options: Unpack[ResumeOptions]) -> Trainer:
    """The `Trainer` of an existing run at its newest checkpoint; see `resume`."""
    refuse_unknown(options, ResumeOptions, "resume", HINTS)
    check_devices(options.get("devices"))
    processes = joined(device_named(options.get("device", "cpu")), shard=options.get("shard", False))
    with processes.phase("the start of training"):
        return taken_up(folder_of(folder), options, processes)


def resume(folder: str | Path | Run, **options: Unpack[ResumeOptions]) -> Run:
    """Go on with a run from its newest checkpoint; it ends bit for bit where the uninterrupted run ends.

    A run that was never saved, because the disk was full at its start, is started.

    Args:
        folder: The run's folder, or the run.
        options: See `pushforward.training.options.ResumeOptions`: a new budget, which is ``steps``, ``samples`` or
            ``seconds`` in all; ``checkpoint``, ``fallback``, ``data``, ``plugins``, ``method``, ``device``, ``progress``,
            ``trackers``, ``shard``, ``devices``.

    Returns:
        The run; a finished one is returned as it is.

    Raises:
        CheckpointError: If the checkpoint is damaged or missing, or another training is writing to the folder.
        DataError: If the data has changed; files that did are named. Also as `pushforward.fit`.
        Diverged, OutOfMemory, KeyboardInterrupt: As `pushforward.fit`.
    """
    return trained(reopen(folder, **options))


def student(
    teacher: str | Path | Run,
    *,
    calls: int = 1,
    data: Dataset | str | Path | None = None,
    settings: RecipeSettings | None = None,
    changes: RecipeSettings | None = None,
    **options: Unpack[FitOptions],
) -> Trainer:
    """The `Trainer` of a run's student; the other arguments are those of `distil`.

    Args:
        changes: Settings of `pushforward.Training` in place of the recipe's: ``{"lr": 1e-3}``.

    Raises:
        UsageError: As `distil`.
        DataError: As `distil`.
    """
    plugins = files_of(options.get("plugins", ()))
    run = teacher if isinstance(teacher, Run) else load(teacher, plugins=plugins)
    flow = inner_of(run.transport)
    if not has_steps(flow) or has_jump(flow.denoiser):
        raise UsageError(
            f"{run.folder} is a {run.spec['recipe']}, which samples in one call already, or in a few `steps`. Distillation needs "
            "a model that samples in many: a flow, ddpm or edm."
        )
    if not 1 <= whole("calls", calls) <= flow.calls:
        raise UsageError(
            f"{run.folder} samples in {flow.calls} calls, so a student takes 1 to {flow.calls} `calls`, got {calls}."
        )
    data = data_of_run(run.folder, run.spec, data)
    student_settings = {"calls": calls, **(settings or {})}
    function = with_frozen("distil", {"teacher": run}, plugins)
    recipe = seeded(lambda: function(data.space, **student_settings), options.get("seed", 0))
    if changes:
        recipe = dataclasses.replace(recipe, training=recipe.training.changed(**changes))
    if budget_in(options) is None:
        options["steps"] = run.state["step"]
    return _learning_from(recipe, data, run, {**(changes or {}), **student_settings}, options)


def _learning_from(recipe: Recipe, data: Dataset, run: Run, settings: RecipeSettings, options: FitOptions) -> Trainer:
    """The `Trainer` of a recipe that learns from a run; its own run records these settings and the teacher."""
    record = {name.replace("_", "-"): value for name, value in settings.items()}
    return prepare(recipe, data, asked={**record, "frozen": [f"teacher={run.folder}"]}, **options)


def check_finish(
    teacher: Run,
    out: str | Path | None,
    overwrite: bool,
    settings: RecipeSettings | None = None,
    finish_settings: RecipeSettings | None = None,
) -> None:
    """Refuse, before a student is trained, settings with which it could not be finished.

    Raises:
        UsageError: Where the finished student's folder is taken, for a model of tables, for a setting that the recipe ``finish``
            refuses, and for a student that it refuses.
    """
    if teacher.space.names:
        raise UsageError("No critic finishes maps of tables: leave `finish` out. For better rows sample in 2 or 4 `steps`.")
    second = Path(f"{out}-finished")
    if out is not None and second.exists() and not overwrite:
        raise UsageError(f"{second} exists already. Choose another `out`, or add `overwrite=True`.")
    finish = recipes.named("finish")
    known = recipes.settings(finish)
    if unknown := (finish_settings or {}).keys() - known.keys():
        raise UsageError(f"The recipe finish has no {', '.join(unknown)}.{did_you_mean(min(unknown), known)}")

    def built() -> Recipe:
        transport = with_frozen("distil", {"teacher": teacher})(teacher.space, **(settings or {})).method.transport()
        start = transport if isinstance(transport, Latent) else transport.denoiser
        return finish(teacher.space, teacher=start, **(finish_settings or {}))

    seeded(built, 0)


def finisher(
    run: Run, data: Dataset, budget: float, settings: RecipeSettings | None = None, **options: Unpack[FitOptions]
) -> Trainer:
    """The `Trainer` that finishes a student in ``budget`` seconds, in the folder beside it that ends in "-finished".

    Args:
        run: The student.
        data: The student's.
        budget: Seconds.
        settings: Of the recipe ``finish``.
        options: As of `distil`.
    """
    function, settings = with_frozen("finish", {"teacher": run}, files_of(options.get("plugins", ()))), settings or {}
    recipe = seeded(lambda: function(data.space, **settings), options.get("seed", 0))
    options = {**options, "out": f"{run.folder}-finished", "steps": None, "samples": None, "seconds": budget}
    return _learning_from(recipe, data, run, settings, options)


def distil(
    teacher: str | Path | Run,
    *,
    calls: int = 1,
    finish: float | None = None,
    data: Dataset | str | Path | None = None,
    settings: RecipeSettings | None = None,
    finish_settings: RecipeSettings | None = None,
    **options: Unpack[FitOptions],
) -> Run:
    """Distil a run that samples in many network calls into one that samples in one call, or a few.

    The student starts as its teacher and learns to jump along trajectories that the teacher makes
    (`pushforward.recipes.distil`). It can be sampled in any number of calls.

    Args:
        teacher: A run of flow, ddpm, edm or another method that samples in steps, or its folder.
        calls: The default number of network calls for each sample, at most as many as the teacher takes.
        finish: Seconds of training against a critic after it (`pushforward.recipes.finish`), in a second run beside the first
            one; None for none.
        data: The teacher's data, where it was given as arrays in Python, or its place, where it has moved.
        settings: Settings of the recipe ``distil``: ``{"trajectories": 4096}``.
        finish_settings: Settings of the recipe ``finish``: ``{"anchor": 1.0}``.
        options: See `pushforward.training.options.FitOptions`. Without a budget the student takes as many steps as its
            teacher has.

    Returns:
        The student, or the finished student.

    Raises:
        UsageError: For a teacher that samples in one call or is a map between two times already, or more calls than it takes.
        DataError: If its data is gone or has changed.
    """
    refuse_unknown(options, FitOptions, "distil", HINTS)
    options["progress"] = watcher_of(options.get("progress"))
    teacher = teacher if isinstance(teacher, Run) else load(teacher, plugins=files_of(options.get("plugins", ())))
    if finish is None and finish_settings:
        raise UsageError("Settings of the finish need a finish: give `finish`, the seconds of its training, or leave them out.")
    if finish is not None:
        check_finish(teacher, options.get("out"), options.get("overwrite", False), settings, finish_settings)
    trainer = student(teacher, calls=calls, data=data, settings=settings, **options)
    run = trained(trainer)
    if finish is None:
        return run
    return trained(finisher(run, trainer.data, finish, finish_settings, **options))


def train_in_turns(trainers: Sequence[Trainer], turn: float = TURN) -> list[Run]:
    """Train several models side by side, so that a machine whose speed drifts treats all alike.

    A training that diverges is left at its last checkpoint, and its run says so in ``warnings``; the others go on.

    Args:
        trainers: One for each model; a trainer whose ``stop`` is set is left where it is.
        turn: Seconds of training in one turn.

    Returns:
        The runs, in the order of ``trainers``.

    Raises:
        Diverged: If all of them diverge.
        CheckpointError: If the disk refuses; the other trainings are saved where they are, as far as it lets them.
        DataError: If data cannot be read any more; all trainings are saved where they are.
    """
    fallen: dict[int, Diverged] = {}

    def attempt(number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Diverged as error:
            fallen[number] = error
            trainers[number].progress.say(f"{trainers[number].folder.name}: {error}")

    try:
        while not any(trainer.stop for trainer in trainers):
            waiting = [number for number, trainer in enumerate(trainers) if number not in fallen and not trainer.done]
            if not waiting:
                break
            for number in waiting:
                attempt(number, partial(trainers[number].advance, turn))
        for number, trainer in enumerate(trainers):
            if number not in fallen:
                attempt(number, trainer.finish)
        if fallen and len(fallen) == len(trainers):
            raise next(iter(fallen.values()))
        return [
            salvaged(trainer, fallen[number]) if number in fallen else finished(trainer)
            for number, trainer in enumerate(trainers)
        ]
    except (CheckpointError, DataError):
        for trainer in trainers:
            with suppress(CheckpointError, Diverged):
                trainer.finish()
        raise
    finally:
        for trainer in trainers:
            trainer.close()
