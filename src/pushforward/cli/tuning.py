"""The verb tune, which learns the times of a few solver steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

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
    loading = Loading(raw, plugin, device=device, precision=precision)
    loaded = loaded_run(run, loading)
    flow = _flow(loaded, solver, steps)
    amounts = {"n": examples or 128, "rounds": rounds or 40}
    with precision_of(loading), _watched(loaded, flow, amounts) as watch:
        facts = _learned_times(loaded, flow, {**amounts, "watch": watch})
    show(
        {
            "run": str(loaded.folder),
            "steps": flow.steps,
            "solver": type(flow.solver).__name__,
            **facts,
        },
        json,
        _text,
    )


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


@contextmanager
def _watched(
    run: Run, flow: Flow, amounts: dict[str, int]
) -> Iterator[Callable[[int, float], None]]:
    """Yield a callback that shows each round, with an estimate of the time left."""
    from pushforward.training.loop.display import Progress, duration

    rounds = amounts["rounds"]
    solver = type(flow.solver).__name__
    say(f"tuning {flow.steps} steps of {solver} on {amounts['n']:,} noise examples ...")
    progress = Progress()
    first = 0.0

    def watch(number: int, error: float) -> None:
        nonlocal first
        now = time.monotonic()
        left = "?"
        if number == 1:
            first = now
        else:
            left = duration((now - first) / (number - 1) * (rounds - number))
        line = f"round {number:,}/{rounds:,}  distance {error:.4f}  {left} left"
        progress.preparing(run.folder.name, number / rounds, line)

    with closing(progress):
        yield watch


def _learned_times(run: Run, flow: Flow, options: dict[str, Any]) -> dict[str, Any]:
    from pushforward.transports.learned_steps import learn_grid

    grid = learn_grid(flow, **options)
    errors = {"before": grid.before, "after": grid.after, "checkpoint_step": run.state["step"]}
    run.store_grid(flow.solver, grid.times, **errors)
    return {"times": grid.times, **errors}


def _text(r: dict[str, Any]) -> str:
    if r["after"] < r["before"]:
        gain = f"{r['before']:.4f} -> {r['after']:.4f}"
    else:
        gain = f"{r['before']:.4f}, not improved"
    times = " ".join(f"{t:.4g}" for t in r["times"])
    return (
        f"distance to many-step samples (RMS, standard deviations): {gain}\n"
        f"times: {times}\nstored in {r['run']}/grids.json"
    )
