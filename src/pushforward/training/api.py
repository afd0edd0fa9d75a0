"""Start, resume and distil training runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Unpack
from warnings import warn

from torch import nn

from pushforward import recipes, spec
from pushforward.arguments import one_of, refuse_unknown, split_names, whole
from pushforward.data import Dataset, dataset_of
from pushforward.data.core.examples import batch_size_of
from pushforward.data.core.load import DataLike
from pushforward.denoisers.denoiser import has_jump
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError
from pushforward.files import check_absent, disk, sweep
from pushforward.methods.method import Method
from pushforward.numbers import plural
from pushforward.plugins import files_of, load as load_plugin
from pushforward.recipes import Recipe
from pushforward.registries import own_name
from pushforward.runtime import device_named
from pushforward.trackers import trackers_of
from pushforward.training.checkpoint.storage import fault, latest, next_good, step_name
from pushforward.training.checkpoint.tensors import load as load_checkpoint, restore
from pushforward.training.distributed.processes import Processes, join_group
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.display import watcher_of
from pushforward.training.loop.machine import seeded
from pushforward.training.loop.model_setup import mark
from pushforward.training.loop.trainer import Trainer, finish_run, salvage, train
from pushforward.training.options import (
    BUDGETS,
    HINTS,
    RESUME_HINTS,
    FitOptions,
    ResumeOptions,
    TrainingChanges,
    budget_in,
)
from pushforward.training.recipe_argument import (
    RecipeLike,
    as_run,
    from_run,
    initialise,
    name_of,
    recipe_from,
    settings_in,
    with_frozen,
)
from pushforward.training.runs import log
from pushforward.training.runs.folder import RunLock, claim, hold
from pushforward.training.runs.provenance import data_of_run
from pushforward.training.runs.run import Run, load, pick
from pushforward.training.runs.spec_file import budget_of, check_spec, extend, read_spec, recipe_of
from pushforward.transports import has_steps, inner_of

TURN = 5.0  # Seconds of training that a model has before the next one's turn


def prepare(
    recipe: RecipeLike,
    data: DataLike,
    *,
    asked: Mapping[str, Any] | None = None,
    **options: Unpack[FitOptions],
) -> Trainer:
    """Build a `Trainer` for a new run; see `fit`. Without ``progress`` it is silent."""
    recipe_settings = settings_in(recipe, options, FitOptions.__annotations__.keys() - {"network"})
    refuse_unknown(options.keys() - recipe_settings.keys(), FitOptions, "pf.fit", HINTS)
    given = recipe
    device = device_named(options.get("device", "auto"))
    processes = join_group(
        device, shard=options.get("shard", False), devices=options.get("devices")
    )
    with processes.phase("the start of training"):
        plugins = [load_plugin(path).file for path in files_of(options.get("plugins", ()))]
        # `name_of` refuses a data set in the place of the recipe
        dataset = given if isinstance(given, Dataset) else dataset_of(data)
        budget = budget_in(options, lambda: dataset)
        seed = whole("seed", options.get("seed", 0))
        size = options.get("size") or "small"
        name = name_of(given)
        rebuildable = isinstance(given, Recipe) or name is not None
        recipe, weights_from_seed = initialise(
            lambda: recipe_from(given, dataset, size, recipe_settings), given, rebuildable, seed
        )
        if options.get("batch") is None:
            options["batch"] = batch_size_of(data)
        training_changes = {}
        for setting, value in options.items():
            if setting in TrainingChanges.__annotations__ and value is not None:
                training_changes[setting] = value
        recipe = replace(recipe, training=recipe.training.changed(**training_changes))
        if asked is not None:
            asked = {**training_changes, **asked}
        elif name is not None and not isinstance(recipe_settings.get("network"), nn.Module):
            asked = {"size": size, **training_changes, **_as_options(recipe_settings)}
            others = [str(path) for path in plugins if str(path) != given]
            if others:
                asked["plugin"] = others
        # given weights come last, because `initialise` redraws all of them
        initial_weights = {}
        if options.get("init") is not None:
            recipe, initial_run = from_run(options["init"], recipe)
            initial_weights = {
                "init": str(initial_run.folder),
                "init_step": initial_run.state["step"],
            }
        elif recipe.first_weights is not None:
            recipe.first_weights(recipe.method)
            weights_from_seed = False
        if processes.rank == 0:
            _warn_of(recipe.method)
        settings = Settings(
            seed=seed,
            device=device,
            augment=split_names(options.get("augment", ())),
            checkpoint_every=options.get("checkpoint_every"),
            plugins=plugins,
            asked=asked,
            from_seed=weights_from_seed,
            trackers=trackers_of(options.get("trackers")),
            **initial_weights,
        )
        flops = options.get("flops")
        if flops is not None:
            from pushforward.training.estimates import steps_within

            budget = Budget(steps=steps_within(flops, recipe, dataset, settings)[0])
        return _new_trainer(
            recipe, dataset, budget or Budget(steps=5000), settings, processes, options
        )


def _as_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in settings.items()}


def _new_trainer(
    recipe: Recipe,
    dataset: Dataset,
    budget: Budget,
    settings: Settings,
    processes: Processes,
    options: FitOptions,
) -> Trainer:
    watcher = None
    claimed = None
    if processes.rank == 0:
        if options.get("progress") is not None:
            watcher = watcher_of(options["progress"])
        overwrite = options.get("overwrite", False)
        claimed = claim(options.get("out"), dataset.name, recipe.name, overwrite=overwrite)
    try:
        folder = Path(processes.first(None if claimed is None else str(claimed.folder)))
        trainer = Trainer(
            recipe,
            dataset,
            budget,
            out=claimed or RunLock(folder, None, writes=False),
            settings=settings,
            progress=watcher,
            processes=processes,
        )
    except BaseException as error:
        if claimed is not None:
            claimed.discard()
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("training had not started, so nothing was saved") from None
        raise
    if claimed is not None:
        claimed.settle()
    mark(trainer.folder, trainer.recipe.method, trainer.average.method)
    return trainer


def _warn_of(method: Method) -> None:
    try:
        spec.build(spec.describe(method), check=True)
    except CheckpointError as error:
        warn(str(error), stacklevel=4)


def fit(recipe: RecipeLike, data: DataLike, **options: Unpack[FitOptions]) -> Run:
    """Train a method on data and return the run.

    Args:
        recipe: Name of a recipe, or a recipe function, called with the data's space; a `Recipe`,
            whose weights are redrawn from ``seed``; a function without arguments that returns a
            recipe, called under ``seed``, for your own modules that cannot be rebuilt (as part of a
            `Recipe` these keep their weights and are accepted once); or a `Method`, which keeps its
            weights and is trained with the default `Training`.
        data: Data set; its name or path (`pushforward.data.load`); a data frame; an array or
            tensor, or a tuple (x, labels) of two; a PyTorch ``Dataset`` or ``DataLoader``, whose
            batch size is the default of ``batch``; or a Hugging Face ``Dataset``.
        options: See `pushforward.training.options.FitOptions`. The budget: ``steps``, ``samples``,
            ``epochs``, ``seconds``, ``budget`` or ``flops``. The model: ``size``, ``network``,
            ``init``. Training: ``batch``, ``lr``, ``optimizer``, ``accumulate``, ``ema``,
            ``precision``, ``augment``, ``seed``, ``checkpoint_every``. The rest: ``out``,
            ``overwrite``, ``device``, ``progress``, ``trackers``, ``plugins``, ``shard``,
            ``devices``.

    If torchrun or another launcher has started several processes, each calls this function and all
    train one run. Without a terminal or a notebook nothing is printed; ``progress=True`` prints a
    line every ten seconds.

    Returns:
        Run with averaged weights; ``run.transport.sample(16)`` draws samples.

    Raises:
        UsageError: If settings do not fit each other or the data.
        DataError: If the data cannot be read, or an image file on disk has disappeared; earlier
            steps are saved.
        Diverged: If losses, gradients or weights are not finite, or the logit gap of a GAN
            diverges. The newest checkpoint is intact.
        OutOfMemory: If a step runs out of memory.
        CheckpointError: If writing fails, or another training run uses the folder.
        KeyboardInterrupt: After SIGINT, once the current step has been saved.
    """
    if isinstance(recipe, str):
        recipe = own_name(recipe)
    options["progress"] = watcher_of(options.get("progress"))
    return train(prepare(recipe, data, **options))


def reopen(folder: str | Path | Run, **options: Unpack[ResumeOptions]) -> Trainer:
    """Build the `Trainer` of an existing run at its newest checkpoint; see `resume`."""
    refuse_unknown(options, ResumeOptions, "pf.resume", RESUME_HINTS)
    device = device_named(options.get("device", "auto"))
    folder = folder.folder if isinstance(folder, Run) else Path(folder)
    processes = join_group(
        device, shard=options.get("shard", False), devices=options.get("devices")
    )
    with processes.phase("the start of training"):
        writes = processes.rank == 0
        checkpoint = options.get("checkpoint")
        method = options.get("method")
        watcher = watcher_of(options.get("progress") if writes else False)
        if checkpoint is not None and options.get("fallback"):
            raise UsageError(
                "Pass either `checkpoint`, or `fallback=True`, which resumes from the newest "
                "undamaged checkpoint."
            )
        content = read_spec(folder, options.get("plugins", ()))

        @cache
        def data() -> Dataset:
            return data_of_run(folder, content, options.get("data"))

        given = budget_in(options, data)
        budget = given or budget_of(content)
        trackers = trackers_of(options.get("trackers"))
        lock = hold(folder) if writes else None
        try:
            if checkpoint is None and lock is not None:
                with disk(folder):
                    sweep(folder / "checkpoints")
                    sweep(folder / "cache")
            start = _start(folder, processes, checkpoint, bool(options.get("fallback")))
            if start is not None:
                stored = load_checkpoint(start, device)
                check_spec(folder, content, stored.state)
                if given and asdict(budget) != content["budget"]:
                    batch = content["training"]["batch"]
                    budget.check_beyond(folder, stored.state, batch)
            complete = spec.with_network(content, options.get("network"))
            if start is None:
                recipe = _started_over(folder, complete, method)
            else:
                recipe = recipe_of(complete, method)
            settings = Settings(
                seed=content["seed"],
                device=device,
                augment=tuple(map(str, content["augment"])),
                checkpoint_every=content["checkpoint_every"],
                trackers=trackers,
            )
            trainer = Trainer(
                recipe,
                data(),
                budget,
                out=RunLock(folder, lock, content, writes),
                settings=settings,
                progress=watcher,
                processes=processes,
            )
            if start is not None:
                trainer.restore(stored)
            processes.any(False)  # all have read the spec
            extend(folder, content, budget, trainer.clock.step, writes)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        mark(trainer.folder, trainer.recipe.method, trainer.average.method)
        return trainer


def _start(
    folder: Path, processes: Processes, checkpoint: str | None, fallback: bool
) -> Path | None:
    if checkpoint:
        return pick(folder, checkpoint)
    newest = None
    if processes.rank == 0:  # another machine may still see an older one
        newest = latest(folder / "checkpoints")
        rows = log.read(folder / "metrics.jsonl") if newest is None else []
        if rows:
            raise CheckpointError(
                f"{folder} was trained for {rows[-1]['step']:,} steps, but its checkpoints are "
                "missing, so it cannot be resumed. Restore them, or train again into another "
                "folder."
            )
        if newest is not None and fallback and fault(newest) is not None:
            newest = next_good(newest) or newest
    name = processes.first(None if newest is None else newest.name)
    if name is None:
        return None
    return folder / "checkpoints" / name


def _started_over(folder: Path, content: dict[str, Any], method: Method | None) -> Recipe:
    if method is None and content.get("init") is not None:
        recipe = recipe_of(content)
        source = load(content["init"], checkpoint=step_name(content["init_step"]))
        restore(recipe.method, source.method.state_dict(), source.folder)
        return recipe
    if method is None and not content.get("from_seed"):
        raise CheckpointError(
            f"{folder} was never saved, and its initial weights (from Python or from a teacher) "
            "are lost. Train it again with `overwrite=True`, or pass them in Python: "
            "pf.resume(run, method=...)."
        )
    return recipe_of(content, method, content["seed"])


def resume(folder: str | Path | Run, **options: Unpack[ResumeOptions]) -> Run:
    """Resume a run from its newest checkpoint.

    With a budget in steps or samples, the result is bit for bit that of an uninterrupted run. A
    run that was never saved, for example because the disk was full, is started.

    Args:
        folder: Run folder, or run.
        options: See `pushforward.training.options.ResumeOptions`: a new budget in total, which is
            ``steps``, ``samples``, ``seconds``, ``budget`` or ``epochs``; ``checkpoint``,
            ``fallback``, ``data``, ``plugins``, ``method``, ``network``, ``device``, ``progress``,
            ``trackers``, ``shard``, ``devices``.

    Returns:
        Run; a finished run is returned unchanged.

    Raises:
        CheckpointError: If the checkpoint is damaged or missing, or another training run uses the
            folder.
        DataError: If the data has changed; also as for `pushforward.fit`.
        Diverged, OutOfMemory, KeyboardInterrupt: See `pushforward.fit`.
    """
    return train(reopen(folder, **options))


def student(
    teacher: str | Path | Run,
    *,
    calls: int = 1,
    data: DataLike | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Unpack[FitOptions],
) -> Trainer:
    """Build the `Trainer` of a run's student; the arguments are those of `distil`."""
    run = as_run(teacher, options.get("plugins", ()))
    flow = inner_of(run.transport)
    if not has_steps(flow) or has_jump(flow.denoiser):
        raise UsageError(
            f"{run.folder} is a {run.spec['recipe']}, which already samples in "
            f"{plural(flow.calls, 'call')}. Distillation needs a model that samples in many "
            "steps: flow, ddpm or edm."
        )
    if not 1 <= whole("calls", calls) <= flow.calls:
        raise UsageError(
            f"{run.folder} samples in {flow.calls} calls, so its student can take 1 to "
            f"{flow.calls} `calls`, got {calls}."
        )
    data = data_of_run(run.folder, run.spec, data)
    student_settings = {"calls": calls, **(settings or {})}
    if all(options.get(name) is None for name in BUDGETS):
        options["steps"] = run.state["step"]
    return _learning_from(run, "distil", data, student_settings, options)


def _learning_from(
    run: Run, name: str, data: Dataset, settings: Mapping[str, Any], options: FitOptions
) -> Trainer:
    function = with_frozen(name, {"teacher": run})
    recipe = seeded(lambda: function(data.space, **settings), options.get("seed", 0))
    asked = {**_as_options(settings), "frozen": [f"teacher={run.folder}"]}
    return prepare(recipe, data, asked=asked, **options)


def _check_finish(teacher: Run, settings: Mapping[str, Any] | None, options: FitOptions) -> None:
    if teacher.space.names:
        raise UsageError(
            "finish does not support tables. Leave out `finish`; for better rows, sample in 2 or 4 "
            "`steps`."
        )
    if options.get("out") is not None:
        check_absent(Path(f"{options['out']}-finished"), options.get("overwrite", False))
    known = recipes.settings(recipes.named("finish"))
    for name in settings or {}:
        one_of("setting", name, known, " of finish")


def distil(
    teacher: str | Path | Run,
    *,
    calls: int = 1,
    finish: float | None = None,
    data: DataLike | None = None,
    settings: Mapping[str, Any] | None = None,
    finish_settings: Mapping[str, Any] | None = None,
    train: Callable[[Trainer], Run] = train,
    **options: Unpack[FitOptions],
) -> Run:
    """Distil a run that samples in many network calls into one that samples in one call, or a few.

    The student learns to jump along trajectories of the teacher (`pushforward.recipes.distil`).

    Args:
        teacher: Run of flow, ddpm, edm or another method that samples in steps, or its folder.
        calls: Default number of network calls per sample, at most the teacher's.
        finish: Seconds of adversarial training afterwards (`pushforward.recipes.finish`), in a
            second run next to the first; None for none.
        data: Data of the teacher, if it was passed in Python or has moved.
        settings: Settings of the recipe ``distil``: ``{"trajectories": 4096}``.
        finish_settings: Settings of the recipe ``finish``: ``{"anchor": 1.0}``.
        train: Function that trains a student and returns the run.
        options: See `pushforward.training.options.FitOptions`; by default, the student is trained
            for as many steps as its teacher.

    Returns:
        Student, or finished student.

    Raises:
        UsageError: If the teacher samples in one call or in fewer than ``calls``.
        DataError: If the teacher's data is missing or has changed.
    """
    refuse_unknown(options, FitOptions, "pf.distil", HINTS)
    options["progress"] = watcher_of(options.get("progress"))
    teacher = as_run(teacher, options.get("plugins", ()))
    if finish is None and finish_settings:
        raise UsageError(
            "Got settings for finish, but not `finish` itself. Pass `finish` (its training time in "
            "seconds), or leave the settings out."
        )
    if finish is not None:
        _check_finish(teacher, finish_settings, options)
    trainer = student(teacher, calls=calls, data=data, settings=settings, **options)
    run = train(trainer)
    if finish is None:
        return run
    no_budget: Any = dict.fromkeys(BUDGETS)
    options = {**options, **no_budget, "out": f"{run.folder}-finished", "seconds": finish}
    return train(_learning_from(run, "finish", trainer.data, finish_settings or {}, options))


def train_in_turns(trainers: Sequence[Trainer], turn: float = TURN) -> list[Run]:
    """Train several models in alternating rounds, so that they meet the same machine speed."""
    fallen = {}

    def attempt(trainer: Trainer, work: Callable[[], object]) -> None:
        try:
            work()
        except Diverged as error:
            fallen[trainer] = error
            trainer.progress.say(f"{trainer.folder.name}: {error}")

    try:
        while not any(trainer.stop for trainer in trainers):
            waiting = [each for each in trainers if each not in fallen and not each.done]
            if not waiting:
                break
            for trainer in waiting:
                attempt(trainer, partial(trainer.advance, turn))
        for trainer in trainers:
            if trainer not in fallen:
                attempt(trainer, trainer.finish)
        if fallen and len(fallen) == len(trainers):
            raise next(iter(fallen.values()))
        runs = []
        for trainer in trainers:
            if trainer in fallen:
                runs.append(salvage(trainer, fallen[trainer]))
            else:
                runs.append(finish_run(trainer))
        return runs
    except (CheckpointError, DataError):
        for trainer in trainers:
            if trainer not in fallen:
                with suppress(CheckpointError, Diverged):
                    trainer.finish()
        raise
    finally:
        for trainer in trainers:
            trainer.close()
