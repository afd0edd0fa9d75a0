"""The verb that turns a run of many network calls into one of few: distil."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.announcing import announce
from pushforward.cli.closing import report_run
from pushforward.cli.groups import (
    BUDGET,
    DATA,
    MODEL,
    NO_BUDGET,
    NO_CHANGES,
    OUTPUT,
    TRAIN,
    TRAINING,
    Budgeting,
    Changes,
    Device,
    Flag,
    Json,
    Plugins,
    RunFolder,
    Settings,
    Track,
)
from pushforward.cli.launching import is_first, of_processes
from pushforward.cli.loop import starting, train_all
from pushforward.cli.parsing import amounts, check_free, device_of, load_plugins, options_of, settings_of, words
from pushforward.cli.sharing import ALONE, Sharing
from pushforward.cli.terminal import app, say
from pushforward.errors import UsageError
from pushforward.plugins import plugin_options

if TYPE_CHECKING:
    from pushforward.training import Run, Trainer

__all__ = ["distil"]


@app.command(group=TRAIN, sort_key=3)
def distil(
    run: RunFolder,
    *,
    calls: Annotated[int, Parameter(group=MODEL)] = 1,
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    budgeting: Budgeting = NO_BUDGET,
    finish: Annotated[str | None, Parameter(group=BUDGET)] = None,
    changes: Changes = NO_CHANGES,
    seed: Annotated[int, Parameter(group=TRAINING)] = 0,
    checkpoint_every: Annotated[int | None, Parameter(group=TRAINING)] = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    overwrite: Annotated[Flag, Parameter(group=OUTPUT)] = False,
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
    **settings: Settings,
) -> None:
    """Distil a run into one that samples in few network calls.

    The teacher is a flow, ddpm or edm, also a latent one; the student is a run of its own and can be sampled in any number of
    steps. Without a budget it takes as many training steps as its teacher. The settings
    of `train distil --help` are taken here as well; with --finish, also those of `train finish --help`. Example:
    `pushforward distil runs/digits-flow --budget 60s`

    Args:
        run: The teacher's folder.
        calls: Network calls for each sample, where sampling names no other number.
        data: Where the teacher's data is now, if it has moved; default where the teacher read it.
        finish: Then train it against a critic for so long, such as 10m, in a second run.
        seed: The seed of all random numbers.
        checkpoint_every: Steps between checkpoints; default every two minutes, or every quarter of a short budget.
        out: The student's folder; default runs/DATA-distil. The finished student's ends in -finished.
        overwrite: Replace the runs that are there.
    """
    from pushforward.training import Progress, load
    from pushforward.training.api import check_finish, student

    load_plugins(plugin, [run])
    options: dict[str, Any] = {**amounts(budgeting), "seed": seed, "plugins": plugin, "overwrite": overwrite}
    options |= {"device": device_of(device), "checkpoint_every": checkpoint_every, "progress": Progress(), "data": data}
    options |= {"trackers": track, **of_processes(sharing)}
    check_free(out if out and not overwrite and is_first() else None)
    own, of_finish = _settings(run, settings, finish)
    teacher = load(run, plugins=plugin)
    if finish is not None:
        check_finish(teacher, out, overwrite, own, of_finish)
    augment = words(changes.augment)
    trainer = student(teacher, calls=calls, settings=own, changes=changes.of_training(), out=out, augment=augment, **options)
    report_run(_trained(trainer, finish, of_finish, options), json, len(trainer.data.train))


def _settings(run: str, settings: dict[str, str], finish: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe's own settings, and those of the finish alone; a second teacher, and a time that is none, are refused."""
    from pushforward import recipes
    from pushforward.training import Budget

    if finish is not None:
        Budget.duration(finish)
    if "teacher" in settings:
        raise UsageError(
            f"distil takes its teacher as the argument: pushforward distil {shlex.quote(run)}. --teacher belongs to train: "
            "pushforward train distil --teacher RUN --data DATA."
        )
    known, further = (recipes.settings(recipes.named(name)) for name in ("distil", "finish"))
    of_finish = {name: text for name, text in settings.items() if (key := name.replace("-", "_")) in further and key not in known}
    if of_finish and finish is None:
        raise UsageError(f"--{next(iter(of_finish))} is a setting of the finish: add --finish 10m, or leave it out.")
    own = {name: text for name, text in settings.items() if name not in of_finish}
    options = (options_of("distil") - {"calls"}) | (further.keys() - known.keys() if finish is not None else set())
    return settings_of("distil", own, options), settings_of("finish", of_finish)


def _trained(trainer: Trainer, finish: str | None, settings: dict[str, Any], options: dict[str, Any]) -> Run:
    """The trained student, finished where that is wanted; settings are those of the finish."""
    if finish is None:
        return _student(trainer, "")
    then = _command(trainer, finish, settings, options.pop("data"))
    return _finished(_student(trainer, then), trainer, (finish, settings, then), options)


def _command(trainer: Trainer, finish: str, settings: dict[str, Any], data: str | None) -> str:
    """The command that finishes a student after an interruption."""
    options = {"teacher": trainer.folder, "data": data, "budget": finish, **settings, "out": f"{trainer.folder}-finished"}
    given = [word for name, value in options.items() if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]
    return f"pushforward train finish {shlex.join(given)}{plugin_options(trainer.content)}"


def _student(trainer: Trainer, then: str) -> Run:
    """The trained student; an interruption also says how it is finished after it has been resumed."""
    try:
        with starting(trainer):
            announce(trainer)
            (run,) = train_all([trainer])
    except SystemExit:
        if then:
            say(f"then: {then}")
        raise
    return run


def _finished(run: Run, trainer: Trainer, how: tuple[str, dict[str, Any], str], options: dict[str, Any]) -> Run:
    """The student after its finish; how: the time, the settings, and the command that does the same."""
    from pushforward.training import Budget
    from pushforward.training.api import finisher

    time, settings, then = how
    say(f"{run.folder}: {run.state['step']:,} steps; now against a critic ...")
    try:
        second = finisher(run, trainer.data, Budget.duration(time), settings, **options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the student is saved. To finish it: {then}") from None
    with starting(second, f"Its student is saved. To finish it: {then} --overwrite"):
        announce(second)
        (result,) = train_all([second])
    return result
