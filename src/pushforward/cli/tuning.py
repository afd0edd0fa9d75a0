"""The verb tune, which learns the times of a few solver steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import counting
from pushforward.cli.options import (
    AT_LEAST_1,
    TRAIN,
    TRAINING,
    ComputeOption,
    Device,
    Json,
    Loading,
    Plugins,
    Precision,
    Raw,
    RunCheckpoint,
    SolverOption,
    app,
    cell,
    say,
    show,
)
from pushforward.cli.sampling import loaded_run, precision_of
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward import Flow, Run

Amount = Annotated[int | None, Parameter(group=TRAINING, validator=AT_LEAST_1)]
INSTEAD = "dpm"  # The solver to tune if the run's own is stochastic


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
