"""Distillation of a run: a student of few calls, and a finish by a critic after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from pushforward import recipes
from pushforward.arguments import refuse_unknown, whole
from pushforward.data import Dataset
from pushforward.denoisers import has_jump
from pushforward.errors import UsageError, did_you_mean
from pushforward.plugins import files_of
from pushforward.recipes import Recipe
from pushforward.training.ending import trained
from pushforward.training.fit_options import HINTS, FitOptions, budget_in
from pushforward.training.frozen import with_frozen
from pushforward.training.generators import seeded
from pushforward.training.progress import watcher_of
from pushforward.training.run import Run, load
from pushforward.training.run_data import data_of_run
from pushforward.training.start import prepare
from pushforward.training.trainer import Trainer
from pushforward.transports import Latent, has_steps, inner_of

__all__ = ["check_finish", "distil", "finisher", "student"]

Settings = Mapping[str, Any]


def student(
    teacher: str | Path | Run,
    *,
    calls: int = 1,
    data: Dataset | str | Path | None = None,
    settings: Settings | None = None,
    changes: Settings | None = None,
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
    _check_calls(run, whole("calls", calls))
    data = data_of_run(
        run.folder,
        run.spec,
        data,
        absent="Distil it in Python and give the data: pf.training.distil(run, data=data).",
        changed="train the teacher again",
        moved="If it has moved, give its place: `data=PLACE`.",
    )
    student_settings = {"calls": calls, **(settings or {})}
    function = with_frozen("distil", {"teacher": run}, plugins)
    recipe = seeded(lambda: function(data.space, **student_settings), options.get("seed", 0))
    if changes:
        recipe = dataclasses.replace(recipe, training=recipe.training.changed(**changes))
    if budget_in(options) is None:
        options["steps"] = run.state["step"]
    return _prepared(recipe, data, run, {**(changes or {}), **student_settings}, options)


def _prepared(recipe: Recipe, data: Dataset, run: Run, settings: Settings, options: FitOptions) -> Trainer:
    """The `Trainer` of a recipe that learns from a run; its own run records these settings and the teacher."""
    record = {name.replace("_", "-"): value for name, value in settings.items()}
    return prepare(recipe, data, asked={**record, "frozen": [f"teacher={run.folder}"]}, **options)


def check_finish(
    teacher: Run,
    out: str | Path | None,
    overwrite: bool,
    settings: Settings | None = None,
    finish_settings: Settings | None = None,
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
    for name in finish_settings or {}:
        if name not in known:
            raise UsageError(f'The recipe finish has no setting "{name}"; it has {", ".join(known)}.{did_you_mean(name, known)}')

    def built() -> Recipe:
        transport = with_frozen("distil", {"teacher": teacher})(teacher.space, **(settings or {})).method.transport()
        start = transport if isinstance(transport, Latent) else transport.denoiser
        return finish(teacher.space, teacher=start, **(finish_settings or {}))

    seeded(built, 0)


def finisher(run: Run, data: Dataset, budget: float, settings: Settings | None = None, **options: Unpack[FitOptions]) -> Trainer:
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
    return _prepared(recipe, data, run, settings, options)


def distil(
    teacher: str | Path | Run,
    *,
    calls: int = 1,
    finish: float | None = None,
    data: Dataset | str | Path | None = None,
    settings: Settings | None = None,
    finish_settings: Settings | None = None,
    **options: Unpack[FitOptions],
) -> Run:
    """Distil a run that samples in many network calls into one that samples in one call, or a few.

    The student starts as its teacher and learns to jump along trajectories that the teacher makes
    (`pushforward.recipes.distil`). It can be sampled in any number of calls.

    Args:
        teacher: A run of flow, ddpm, edm or another method that samples in steps, or its folder.
        calls: The default number of network calls for each sample, at most as many as the teacher takes.
        finish: Seconds of training against a critic after it (`pushforward.recipes.distil`), in a second run beside the first
            one; None for none.
        data: The teacher's data, where it was given as arrays in Python, or its place, where it has moved.
        settings: Settings of the recipe ``distil``: ``{"trajectories": 4096}``.
        finish_settings: Settings of the recipe ``finish``: ``{"anchor": 1.0}``.
        options: See `pushforward.training.fit_options.FitOptions`. Without a budget the student takes as many steps as its
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


def _check_calls(run: Run, calls: int) -> None:
    flow = inner_of(run.transport)
    if not has_steps(flow):
        raise UsageError(
            f"{run.folder} is a {run.spec['recipe']}, which samples in one call already. Distillation needs a model that "
            "samples in steps: a flow, ddpm or edm."
        )
    if has_jump(flow.denoiser):
        raise UsageError(
            f"{run.folder} is a map between two times already: sample it in 1, 2 or 4 `steps`. To distil again, give its teacher."
        )
    most = flow.calls
    if not 1 <= calls <= most:
        raise UsageError(f"{run.folder} samples in {most} network calls, so a student takes 1 to {most} `calls`, got {calls}.")
