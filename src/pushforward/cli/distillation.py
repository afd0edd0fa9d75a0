"""The verb distil, which trains students that sample in few network calls."""

from __future__ import annotations

from dataclasses import asdict

from pushforward.cli.inputs import (
    amounts,
    load_plugins,
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
    from pushforward.training import Budget, Progress
    from pushforward.training.api import distil as distilled

    load_plugins(plugin)
    known = options_of("distil") - {"calls"}
    later: dict[str, str] = {}
    seconds = None
    if finish is not None:
        seconds = Budget.duration(finish)
        further = recipes.settings(recipes.named("finish"))
        known.update(further)
        for name in further.keys() - recipes.settings(recipes.named("distil")):
            option = name.replace("_", "-")
            if option in settings:
                later[option] = settings.pop(option)
    try:
        student = distilled(
            run,
            calls=calls,
            finish=seconds,
            data=data,
            settings=settings_of("distil", settings, known),
            finish_settings=settings_of("finish", later),
            train=train_one,
            **amounts(budgeting),
            **changes.of_training(),
            **asdict(sharing),
            seed=seed,
            augment=changes.augment,
            plugins=plugin,
            checkpoint_every=checkpoint_every,
            out=out,
            overwrite=overwrite,
            trackers=track or (),
            device=device,
            progress=Progress(),
        )
    except (SystemExit, KeyboardInterrupt):
        if finish is not None:
            say(f"to finish a student: pushforward train finish --teacher RUN --budget {finish}")
        raise
    report_run(student, json)
