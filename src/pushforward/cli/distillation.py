"""The verbs distil and tune, for sampling in few network calls."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import (
    amounts,
    counting,
    load_plugins,
    options_of,
    settings_of,
)
from pushforward.cli.options import (
    ALONE,
    AT_LEAST_1,
    NO_BUDGET,
    NO_CHANGES,
    TRAIN,
    TRAINING,
    Budgeting,
    BudgetOption,
    Changes,
    ComputeOption,
    DataOption,
    Device,
    Json,
    Loading,
    ModelOption,
    Out,
    Overwrite,
    Plugins,
    Precision,
    Raw,
    RecipeSetting,
    RunCheckpoint,
    RunFolder,
    Sharing,
    SolverOption,
    Track,
    TrainingOption,
    app,
    cell,
    say,
    show,
)
from pushforward.cli.sampling import loaded_run, precision_of
from pushforward.cli.training import Every, report_run, train_one
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward import Flow, Run

Amount = Annotated[int | None, Parameter(group=TRAINING, validator=AT_LEAST_1)]
INSTEAD = "dpm"  # The solver to tune if the run's own is stochastic


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
    **settings: RecipeSetting,
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
    later = {}
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


@app.command(group=TRAIN, sort_key=5)
def tune(
    run: RunCheckpoint,
    *,
    steps: SolverOption[int] = 8,
    solver: SolverOption[str | None] = None,
    examples: Amount = None,
    rounds: Amount = None,
    json: Json = False,
    raw: Raw = False,
    plugin: Plugins = (),
    device: Device = "auto",
    precision: ComputeOption[Precision] = "auto",
) -> None:
    """Tune the solver for sampling in few steps.

    The network stays unchanged. The result is stored in the run, and `sample` and `evaluate` use it
    for the same solver, number of steps and weights. After more training, tune again. Examples:
    `pushforward tune runs/digits-flow --steps 8`,
    `pushforward tune runs/digits-flow --steps 4 --solver unipc`

    Args:
        steps: Number of solver steps.
        solver: Deterministic solver, such as unipc or dpm:3 (`pushforward list solvers`). Default:
            the run's own, or dpm if that is stochastic.
        examples: Number of noise examples to learn from. Default: 128.
        rounds: Number of updates. Default: 40.
        precision: Precision of network calls.
    """
    from pushforward.transports.learned_steps import learn_grid

    loading = Loading(raw, plugin, device=device, precision=precision)
    loaded = loaded_run(run, loading)
    flow = _flow(loaded, solver, steps)
    name = type(flow.solver).__name__
    n = examples or 128
    rounds = rounds or 40
    say(f"tuning {flow.steps} steps of {name} on {n:,} noise examples ...")
    with precision_of(loading), counting(f"{loaded.name}: rounds") as count:
        grid = learn_grid(flow, n=n, rounds=rounds, watch=lambda number, _: count(number, rounds))
    errors = {"before": grid.before, "after": grid.after, "checkpoint_step": loaded.state["step"]}
    loaded.store_grid(flow.solver, grid.times, **errors)
    facts = {"run": str(loaded.folder), "steps": flow.steps, "solver": name, "times": grid.times}
    show(facts | errors, json, _text)


def _flow(run: Run, solver: str | None, steps: int) -> Flow:
    from pushforward import solvers
    from pushforward.transports import has_steps, inner_of

    flow = inner_of(run.transport)
    if not has_steps(flow):
        raise UsageError(
            f"{run.folder} is a one-call model ({run.spec['family']}) without steps to tune. "
            "Use a diffusion or flow model."
        )
    if solver is None and flow.solver.stochastic:
        solver = INSTEAD
        own = type(flow.solver).__name__
        say(
            f"{own} is stochastic and cannot be tuned, so {solver} is tuned. "
            f"Sample with --solver {solver} --steps {steps}"
        )
    if solver is None:
        return flow.with_solver(flow.solver, steps, flow.grid)
    return flow.with_solver(solvers.named(solver), steps, None)


def _text(facts: dict[str, Any]) -> str:
    return (
        "distance to many-step samples (RMS, in standard deviations): "
        f"{facts['before']:.4f} -> {facts['after']:.4f}\n"
        f"times: {cell(facts['times'])}\nstored in {facts['run']}/grids.json"
    )
