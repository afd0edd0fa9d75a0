"""The verb distil, which trains students that sample in few network calls."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pushforward.cli.inputs import (
    amounts,
    check_free,
    device_of,
    load_plugins,
    of_processes,
    options_of,
    settings_of,
)
from pushforward.cli.options import (
    ALONE,
    NO_BUDGET,
    NO_CHANGES,
    TRAIN,
    Budgeting,
    BudgetOption,
    Changes,
    DataOption,
    Device,
    Json,
    ModelOption,
    Out,
    Overwrite,
    Plugins,
    RunFolder,
    Settings,
    Sharing,
    Track,
    TrainingOption,
    app,
    say,
)
from pushforward.cli.training import Every, report_run, train_one
from pushforward.plugins import plugin_options
from pushforward.runtime import launched

if TYPE_CHECKING:
    from pushforward.training import Trainer


@app.command(group=TRAIN, sort_key=3)
def distil(
    run: RunFolder,
    *,
    calls: ModelOption[int] = 1,
    data: DataOption[str | None] = None,
    plugin: ModelOption[Plugins] = (),
    budgeting: Budgeting = NO_BUDGET,
    finish: BudgetOption[str | None] = None,
    changes: Changes = NO_CHANGES,
    seed: TrainingOption[int] = 0,
    checkpoint_every: Every = None,
    out: Out = None,
    overwrite: Overwrite = False,
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
    **settings: Settings,
) -> None:
    """Distil a run into one that samples in few network calls.

    The teacher is a run of flow, ddpm or edm, also in a latent space. The student is a new run,
    which can be sampled in any number of steps. Without a budget, it trains for the same number of
    steps as the teacher. The options of `train distil --help` also apply here, and with --finish
    those of `train finish --help`. Example: `pushforward distil runs/digits-flow --budget 60s`

    Args:
        run: Folder of the teacher run.
        calls: Default number of network calls per sample.
        data: New location of the teacher's data, if it has moved.
        finish: Afterwards, train the student against a critic for this long, such as 10m, in a
            second run.
        seed: Seed of all random numbers.
        out: Output folder of the student. Default: runs/DATA-distil. The second run's folder ends
            in -finished.
    """
    from pushforward import recipes
    from pushforward.training import Budget, Progress, load
    from pushforward.training.api import check_finish, finisher, student

    load_plugins(plugin, [run])
    options: dict[str, Any] = {
        **amounts(budgeting),
        **of_processes(sharing),
        "seed": seed,
        "plugins": plugin,
        "overwrite": overwrite,
        "device": device_of(device),
        "checkpoint_every": checkpoint_every,
        "progress": Progress(),
        "data": data,
        "trackers": track,
    }
    if not overwrite and not launched().rank:
        check_free(out)
    known = options_of("distil") - {"calls"}
    later = {}
    if finish is not None:
        further = recipes.settings(recipes.named("finish"))
        known.update(further)
        later_names = further.keys() - recipes.settings(recipes.named("distil"))
        for name in list(settings):
            if name.replace("-", "_") in later_names:
                later[name] = settings.pop(name)
    own = settings_of("distil", settings, known)
    of_finish = settings_of("finish", later)
    teacher = load(run)
    if finish is not None:
        seconds = Budget.duration(finish)
        check_finish(teacher, out, overwrite, of_finish)
    trainer = student(
        teacher,
        calls=calls,
        settings=own,
        out=out,
        augment=changes.augment,
        **changes.of_training(),
        **options,
    )
    if finish is None:
        return report_run(train_one(trainer), json, len(trainer.data.train))
    then = _finish_command(trainer, {"data": options.pop("data"), "budget": finish, **of_finish})
    try:
        result = train_one(trainer)
    except SystemExit:
        say(f"then: {then}")
        raise
    say(f"{result.folder}: {result.state['step']:,} steps; now training against a critic ...")
    try:
        began = time.perf_counter()
        second = finisher(result, trainer.data, seconds, of_finish, **options)
        result = train_one(second, f"The student is saved. To finish it: {then} --overwrite", began)
    except KeyboardInterrupt as stop:
        saved = f"the student is saved. To finish it: {then}"
        raise KeyboardInterrupt(*stop.args or [saved]) from None
    report_run(result, json, len(trainer.data.train))


def _finish_command(trainer: Trainer, options: Mapping[str, Any]) -> str:
    student = str(trainer.folder)
    words = ["pushforward", "train", "finish", "--teacher", student, "--out", f"{student}-finished"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return f"{shlex.join(words)}{plugin_options(trainer.content)}"
