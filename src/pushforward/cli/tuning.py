"""The verb that learns a time grid: tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import (
    COMPUTE,
    SOLVER,
    TRAIN,
    TRAINING,
    Device,
    Flag,
    Json,
    Loading,
    Plugins,
    Precision,
    RunFolder,
)
from pushforward.cli.sampling import loaded_run, precision_of
from pushforward.cli.terminal import app, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.training import Run
    from pushforward.transports import Flow

__all__ = ["tune"]


@app.command(group=TRAIN, sort_key=5)
def tune(
    run: RunFolder,
    *,
    steps: Annotated[int, Parameter(group=SOLVER)] = 8,
    solver: Annotated[str | None, Parameter(group=SOLVER)] = None,
    rows: Annotated[int, Parameter(group=TRAINING)] = 128,
    rounds: Annotated[int, Parameter(group=TRAINING)] = 40,
    json: Json = False,
    raw: Annotated[Flag, Parameter(group=COMPUTE)] = False,
    checkpoint: Annotated[str | None, Parameter(group=COMPUTE)] = None,
    plugin: Plugins = (),
    device: Device = "auto",
    precision: Annotated[Precision, Parameter(group=COMPUTE)] = "auto",
) -> None:
    """Learn the times of a few solver steps.

    The network stays unchanged. The times are kept with the run; `sample` and `evaluate` use them for as many steps of the same
    solver. Example: `pushforward tune runs/digits-flow --steps 8`

    Args:
        steps: Solver steps to learn the times of.
        solver: A deterministic one of `pushforward list solvers`, such as unipc or dpm:3; default the run's own.
        rows: Noise examples to learn on, none of which sampling uses.
        rounds: Updates of the times.
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest.
        precision: Precision of the network calls.
    """
    from pushforward.grid_learning import learn_grid

    if rows < 1 or rounds < 1:
        raise UsageError(f"--rows and --rounds must be at least 1, got {rows} and {rounds}.")
    loading = Loading(raw, checkpoint, plugin, device=device, precision=precision)
    loaded = loaded_run(run, loading)
    flow = _flow(loaded, solver, steps)
    name = type(flow.solver).__name__
    say(f"learning {steps} steps of {name} on {rows} rows of noise ...")
    with precision_of(loading):
        grid = learn_grid(flow, rows=rows, rounds=rounds, watch=lambda i, e: say(f"round {i}/{rounds}  distance {e:.4f}"))
    errors = {"before": grid.before, "after": grid.after, "checkpoint_step": loaded.state["step"]}
    loaded.store_grid(flow.solver, grid.times, **errors)
    show({"run": str(loaded.folder), "steps": steps, "solver": name, "times": grid.times, **errors}, json, _text)


def _flow(run: Run, solver: str | None, steps: int) -> Flow:
    """The run's flow with the solver and the steps that are tuned."""
    from pushforward import solvers
    from pushforward.transports import has_steps, inner_of

    flow = inner_of(run.transport)
    if not has_steps(flow):
        raise UsageError(f"{run.folder} holds a one-call model ({run.spec['family']}), which has no steps to tune.")
    return flow.with_solver(solvers.named(solver) if solver else flow.solver, steps, None if solver else flow.grid)


def _text(r: dict[str, Any]) -> str:
    gain = f"{r['before']:.4f} -> {r['after']:.4f}" if r["after"] < r["before"] else f"{r['before']:.4f}, not bettered"
    times = " ".join(f"{t:.4g}" for t in r["times"])
    return f"distance to the many-step samples (RMS, standard deviations): {gain}\ntimes: {times}\nkept in {r['run']}/grids.json"
