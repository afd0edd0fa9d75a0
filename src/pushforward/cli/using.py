"""The verbs that use a run: sample, evaluate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.options import check_plugins, device_of, words
from pushforward.cli.terminal import Flag, Plugins, Precision, app, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.training import Run

__all__ = ["evaluate", "sample"]


@app.command
def sample(
    run: str,
    *,
    n: int = 64,
    seed: int = 0,
    steps: int | None = None,
    solver: str | None = None,
    grid: str | None = None,
    label: str | None = None,
    scale: float | None = None,
    out: str | None = None,
    overwrite: Flag = False,
    raw: Flag = False,
    checkpoint: str | None = None,
    plugin: Plugins = (),
    batch: int = 256,
    device: str = "auto",
    precision: Precision = "float32",
    json: Flag = False,
) -> None:
    """Draw new samples: `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`.

    Args:
        run: The run's folder.
        n: How many.
        seed: Sample i comes from seed + i alone.
        steps: Solver steps of an iterative model.
        solver: One of `pushforward list solvers`.
        grid: Where the steps fall: time, log_snr, karras, shifted, or shifted:1.5.
        label: A class by number or name; default: drawn as often as in the training data.
        scale: Guidance: 1 is the conditional model, more is truer to the label and less varied.
        out: .png (grid), no ending (folder of PNGs), .npz, .csv for vectors, or .gif (noise to data).
        overwrite: Replace what is there.
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest.
        plugin: The Python file that the run was trained with.
        batch: Rows computed at a time.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
        json: Print the result as JSON.
    """
    from pushforward.outputs import check_target, write_samples
    from pushforward.precision import network_precision, resolve_precision
    from pushforward.training import load

    where = device_of(device)
    check_plugins(plugin)
    loaded = load(run, raw=raw, checkpoint=checkpoint, plugins=plugin, device=where)
    transport = _transport(loaded, steps, solver, grid, scale)
    target = Path(out) if out else _free_name(loaded, seed, n)
    check_target(target, loaded.space, n, overwrite)
    condition = None if label is None else {"label": loaded.space.label_index(label)}
    with network_precision(resolve_precision(precision, where)):
        if target.suffix.lower() == ".gif":
            _gif(target, transport, n, condition, seed)
        else:
            parts = transport.stream(n, condition, seed=seed, batch=batch)
            write_samples(target, loaded.space, n, parts, overwrite)
    result = {"out": str(target), "n": n, "seed": seed, "calls_per_sample": transport.calls}
    show(result, json, lambda r: r["out"])


def _free_name(run: Run, seed: int, n: int) -> Path:
    ending = "png" if run.space.kind == "image" else "csv"
    stem, number = run.folder / "samples" / f"seed{seed}-n{n}", 1
    path = stem.with_suffix(f".{ending}")
    while path.exists():
        number += 1
        path = stem.with_name(f"{stem.name}-{number}.{ending}")
    return path


def _transport(run: Run, steps: int | None, solver: str | None, grid: str | None, scale: float | None) -> Any:
    """The run's transport with what the command line changes of its solver and guidance."""
    from pushforward import solvers
    from pushforward.guidance import Guided
    from pushforward.transports import Flow

    made = run.transport
    asked = {"--steps": steps, "--solver": solver, "--grid": grid, "--scale": scale}
    given = [name for name, value in asked.items() if value is not None]
    if not given:
        return made
    if not isinstance(made, Flow):
        raise UsageError(f"{', '.join(given)}: {run.folder} holds a one-call model ({run.spec['family']}), which has no solver.")
    if scale is not None and not math.isfinite(scale):
        raise UsageError(f"--scale must be a finite number, got {scale}; 1 is the conditional model.")
    denoiser = made.denoiser if scale is None else Guided(made.denoiser, scale)  # type: ignore[arg-type]
    chosen = solvers.named(solver) if solver else made.solver
    kept = made.grid if solver is None else None
    return Flow(denoiser, chosen, steps or made.steps, grid or kept) if steps != 0 else _no_steps()


def _no_steps() -> None:
    raise UsageError("--steps must be at least 1.")


def _gif(path: Path, transport: Any, n: int, condition: dict[str, Any] | None, seed: int) -> None:
    from pushforward.outputs import replacing
    from pushforward.pictures import write_gif

    if not hasattr(transport, "trajectory"):
        raise UsageError("A .gif shows how samples form step by step; a one-call model has no steps. Write a .png.")
    frames = [transport.space.quantise(x) for _, x in transport.trajectory(n, condition, seed=seed)]
    with replacing(path) as temporary:
        write_gif(temporary, [*frames, *[frames[-1]] * 8], 80)


@app.command
def evaluate(
    run: str,
    *,
    n: int | None = None,
    repeats: int = 3,
    metrics: str = "",
    seed: int = 0,
    steps: int | None = None,
    solver: str | None = None,
    grid: str | None = None,
    scale: float | None = None,
    raw: Flag = False,
    checkpoint: str | None = None,
    plugin: Plugins = (),
    batch: int = 256,
    device: str = "auto",
    precision: Precision = "float32",
    json: Flag = False,
) -> None:
    """Score a run against held-out data, each number beside what real data scores.

    Args:
        run: The run's folder.
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings.
        metrics: Some of `pushforward list metrics`, separated by commas.
        seed: Added to the seeds of all samplings, for others than the usual ones.
        steps: Solver steps of an iterative model.
        solver: One of `pushforward list solvers`.
        grid: Where the steps fall: time, log_snr, karras, shifted, or shifted:1.5.
        scale: Guidance: 1 is the conditional model, more is truer to the label and less varied.
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest.
        plugin: The Python file that the run was trained with.
        batch: Rows computed at a time.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
        json: Print one JSON object and nothing else.
    """
    from pushforward.evaluation import evaluate as judge
    from pushforward.precision import network_precision, resolve_precision
    from pushforward.training import load

    where = device_of(device)
    check_plugins(plugin)
    loaded = load(run, raw=raw, checkpoint=checkpoint, plugins=plugin, device=where)
    loaded.transport = _transport(loaded, steps, solver, grid, scale)
    with network_precision(resolve_precision(precision, where)):
        content = judge(loaded, n=n, repeats=repeats, metrics=words(metrics) or None, seed=seed, batch=batch)
    show(content, json, _table)


def _table(content: dict[str, Any]) -> str:
    """The scores as an aligned table: the model, the floor, the no-network row."""
    entrant, baseline = content["entrants"][0]["scores"], content["baseline"]["scores"]
    rows = [("", "model", "ratio", "real data", "no network")]
    for name, row in entrant.items():
        about = content["metrics"].get(name, {})
        floor = about.get("floor") or {}
        spread = "" if row["spread"] is None else f" ± {row['spread']:.2g}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        other = baseline.get(name, {}).get("mean")
        real = "" if floor.get("mean") is None else f"{floor['mean']:.4g} ± {floor['spread']:.2g}"
        rows.append(
            (
                about.get("label", name),
                f"{row['mean']:.4g}{spread}",
                ratio,
                real,
                "" if other is None else f"{other:.4g}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    settings = content["settings"]
    return "\n".join(
        [
            *lines,
            f"\nn = {settings['n']} on either side, {settings['repeats']} samplings; features: {settings['features']}",
        ]
    )
