"""The verb that learns a time grid: tune."""

from __future__ import annotations

from typing import Any

from pushforward.cli.options import check_plugins, device_of
from pushforward.cli.terminal import Flag, Plugins, Precision, app, say, show
from pushforward.errors import UsageError

__all__ = ["tune"]


@app.command
def tune(
    run: str,
    *,
    steps: int = 8,
    solver: str | None = None,
    rows: int = 128,
    rounds: int = 40,
    raw: Flag = False,
    checkpoint: str | None = None,
    plugin: Plugins = (),
    device: str = "auto",
    precision: Precision = "auto",
    json: Flag = False,
) -> None:
    """Learn where few steps should fall, and keep it with the run: `pushforward tune runs/digits-flow --steps 8`.

    The network stays as it is. `sample` and `evaluate` use the grid for as many steps of the same solver.

    Args:
        run: The run's folder.
        steps: Solver steps to learn the times of.
        solver: A deterministic one of `pushforward list solvers`, such as unipc or dpm:3; default the run's own.
        rows: Noise rows to learn on, none of which sampling uses.
        rounds: Updates of the times.
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest.
        plugin: The Python file that the run was trained with.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16, for the network calls.
        json: Print the result as JSON.
    """
    from pushforward import solvers
    from pushforward.grid_learning import learn_grid
    from pushforward.precision import network_precision, resolve_precision
    from pushforward.training import load
    from pushforward.transports import Flow, inner_of

    where = device_of(device)
    check_plugins(plugin)
    if rows < 1 or rounds < 1:
        raise UsageError(f"--rows and --rounds must be at least 1, got {rows} and {rounds}.")
    loaded = load(run, raw=raw, checkpoint=checkpoint, plugins=plugin, device=where)
    made = inner_of(loaded.transport)
    if not isinstance(made, Flow):
        raise UsageError(f"{loaded.folder} holds a one-call model ({loaded.spec['family']}), which has no steps to tune.")
    chosen = solvers.named(solver) if solver else made.solver
    flow = made.with_solver(chosen, steps, None if solver else made.grid)
    say(f"learning {steps} steps of {type(chosen).__name__} on {rows} rows of noise ...")
    with network_precision(resolve_precision(precision, where)):
        found = learn_grid(flow, rows=rows, rounds=rounds, watch=lambda i, e: say(f"round {i}/{rounds}  distance {e:.4f}"))
    about = {"before": found.before, "after": found.after, "checkpoint_step": loaded.state["step"]}
    loaded.store_grid(chosen, found.times, **about)
    result = {"run": str(loaded.folder), "steps": steps, "solver": type(chosen).__name__, "times": found.times, **about}
    show(result, json, _text)


def _text(r: dict[str, Any]) -> str:
    gain = f"{r['before']:.4f} -> {r['after']:.4f}" if r["after"] < r["before"] else f"{r['before']:.4f}, not bettered"
    times = " ".join(f"{t:.4g}" for t in r["times"])
    return f"distance to the many-step samples (RMS, standard deviations): {gain}\ntimes: {times}\nkept in {r['run']}/grids.json"
