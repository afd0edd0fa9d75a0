"""What is said of a run where its training ends: what was done, what was wrong, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pushforward.cli.terminal import say, show
from pushforward.errors import PushforwardError
from pushforward.plugins import plugin_options
from pushforward.training.checkpoint.best import BETTER, best_of
from pushforward.training.loop.nonfinite import in_words
from pushforward.training.monitor.alarms import RULES, SILENT, lost

if TYPE_CHECKING:
    from pushforward.training.runs.run import Run

__all__ = ["closing_notes", "extension", "report_run"]

Rows = Sequence[Mapping[str, Any]]
"""What a training has logged."""
STEPS, PASSES = 500, 5
"""Training steps, and passes over the data, below which samples are poor."""
STRONGER = 3
"""How many times the anchor is advised where a finish ended early."""
LONGER = 4
"""How many times the budget is advised where training was short."""


def closing_notes(run: Run, examples: int) -> list[str]:
    """Sentences, each with what helps; none for a training of a sensible length whose code, if it has one, is in use.

    Args:
        run: The finished run.
        examples: How many training examples its data has.
    """
    rows = run.losses()
    ended = lost(rows)
    short, variety = (
        ([], _ended(run, rows, ended)) if ended else ([] if _anchor(run) else _short(run, examples), _variety(run, rows))
    )
    return [*_skipped(rows), *_unused_code(run, rows), *short, *_best(rows), *variety]


def _skipped(rows: Rows) -> list[str]:
    words = in_words(rows)
    return [f"{words}. Where they are many, train with a lower --lr or --precision float32."] if words else []


def _short(run: Run, examples: int) -> list[str]:
    step, passes = run.state["step"], run.state["samples"] / max(1, examples)
    if step >= STEPS and passes >= PASSES:
        return []
    over = f"{passes:,.0f}" if passes >= 10 else f"{passes:.1f}" if passes >= 0.1 else "less than 0.1"
    few = f"{step:,} steps are few ({over} passes over the data)"
    if step >= STEPS:
        few = f"{over} passes over the data are few ({step:,} steps)"
    return [f"{few}: samples will be poor. Go on with: {extension(run)}"]


def _best(rows: Rows) -> list[str]:
    """Which checkpoint is better than the last ones, where one is."""
    best = best_of(rows)
    if best is None or best.step == best.last or best.quality > BETTER * best.last_quality:
        return []
    return [f"{best.sentence}: take it with --checkpoint best"]


def _ended(run: Run, rows: Rows, alarm: str) -> list[str]:
    """With which weights a training has ended by itself, what they lost, and how to see whether it gained anything.

    Where it ended with those of its start, the alarm has said so on the line before.
    """
    weights, start, again = alarm.rpartition("; ")[2], _start(run), _again(run)
    if start and run.state.get("weights_step") == 0:
        further = _further(start) or (again and f", or finish it again {again}")
        return [f"it samples as {start} does. Use {start} instead{further}"]
    if ratios := _ratios(run, rows):
        weights += f", where {_in_words(ratios)} of the start's"
    if _lower(ratios):
        weights += f": by these measures it is worse than {start or 'its start'}"
    look = f"To see whether it beats its teacher: pushforward report {shlex.quote(str(run.folder))}"
    return [f"{weights}. {look}", *([f"to finish {start} again {again}"] if start and again else [])]


def _further(start: str) -> str:
    """How to train the map of a finish further, where its own training was short; else empty, as where its folder is gone."""
    from pushforward.training import load

    try:
        origin = load(start)
    except PushforwardError:
        return ""
    if origin.state["step"] >= STEPS:
        return ""
    return f", or train it further before it is finished, since its {origin.state['step']:,} steps are few: {extension(origin)}"


def _again(run: Run) -> str:
    """How to finish the same map again, by a stronger anchor or a lower rate; it ends with the command. Empty without one."""
    from pushforward.evaluation.run_results import commands_of

    anchor, rate = _anchor(run), (run.spec.get("training") or {}).get("lr")
    if not anchor or not rate or run.spec.get("asked") is None:
        return ""
    stronger = f"{STRONGER * anchor:.2g}"
    spec = {**run.spec, "extended": [], "asked": {**run.spec["asked"], "anchor": stronger}}
    words = " && ".join(commands_of(run.folder, spec))
    folder = shlex.quote(f"{run.folder}-again")
    how = f"with a stronger anchor (or, in place of --anchor {stronger}, with --lr {rate / 2:.2g})"
    return words and f"{how}: {words} --out {folder}"


def _anchor(run: Run) -> float:
    """The weight of the anchor of a finish, also of one in a latent space; 0 without one."""
    method = run.spec.get("method") or {}
    anchor = (method.get("method") or method).get("anchor") or {}
    return float(anchor.get("weight") or 0.0)


def _variety(run: Run, rows: Rows) -> list[str]:
    """What the last check of variety has measured where training did not end by it, and what that leaves open."""
    ratios = _ratios(run, rows)
    if not ratios:
        return []
    what = f"{_in_words(ratios)} of the start's, on the same noise"
    if not _lower(ratios):
        return [what if min(ratios.values()) < 1 else f"{what}: no variety was lost"]
    return [f"{what}: lower, within the limits. This may be chance, or a map that is worse than {_start(run) or 'its start'}"]


def _ratios(run: Run, rows: Rows) -> dict[str, float]:
    """Coverage and recall of the weights that a guarded training ends with, as shares of the start's, to two digits.

    Empty where they were not measured.
    """
    step = run.state.get("weights_step")
    last = [row for row in rows if step is None or row["step"] == step]
    checks = [row["health"] for row in last if "coverage_ratio" in (row.get("health") or {})]
    ratios = {name: checks[-1].get(f"{name}_ratio") for name in ("coverage", "recall")} if checks else {}
    return {name: round(ratio, 2) for name, ratio in ratios.items() if ratio is not None}


def _in_words(ratios: Mapping[str, float]) -> str:
    return " and ".join(f"{name} is {ratio:.2f}" for name, ratio in ratios.items())


def _lower(ratios: Mapping[str, float]) -> bool:
    """Whether coverage or recall is lower than the start's, and neither is higher."""
    return bool(ratios) and min(ratios.values()) < 1 and max(ratios.values()) <= 1


def _start(run: Run) -> str:
    """The folder of the run that a finish started from, as it was named; empty where that is unknown."""
    named = (run.spec.get("asked") or {}).get("frozen") or ()
    return next((word.partition("=")[2] for word in named if word.startswith("teacher=")), "")


def extension(run: Run) -> str:
    """The command that continues a run with a larger budget of the kind that it has."""
    seconds, samples = run.spec["budget"].get("seconds"), run.spec["budget"].get("samples")
    if seconds is not None:
        more = f"--budget {math.ceil(LONGER * seconds)}s"
    elif samples is not None:
        more = f"--samples {LONGER * samples}"
    else:
        more = f"--steps {max(LONGER * STEPS, LONGER * run.state['step'])}"
    return f"pushforward resume {shlex.quote(str(run.folder))} {more}"


def _unused_code(run: Run, rows: Rows) -> list[str]:
    checks = [row.get("health") or {} for row in reversed(rows)]
    last: Mapping[str, float] = next((health for health in checks if health.get("units")), {})
    active, units = last.get("active_units"), last.get("units")
    if active is None or units is None or active > SILENT * units:
        return []
    which = "no unit of the code is active" if active < 1 else "hardly a unit of the code is active"
    early = (
        f"; after {run.state['step']:,} steps this may be too early to call collapse"
        if run.state["step"] < RULES["posterior"][1]
        else ""
    )
    warmup = ", or with --warmup 0.3" if last.get("beta") else ""
    from pushforward.report.conditions import alike_samples

    alike = alike_samples(vectors=len(run.space.shape) == 1)
    return [f"at the end {which} ({active:.0f} of {units:.0f}): {alike}{early}: train longer{warmup}."]


def report_run(run: Run, as_json: bool, examples: int) -> None:
    """Print what a training has done, and what to do with its run; ``examples`` is the number of training examples."""
    state = run.state
    summary = {
        "run": str(run.folder),
        "recipe": run.spec["recipe"],
        "step": state["step"],
        "samples": state["samples"],
        "seconds": state["seconds"],
        "trajectory_seconds": state.get("store_seconds") or 0.0,
        "checkpoint": f"{run.folder}/checkpoints/step_{state['step']:06d}",
    }
    stored = f" and {summary['trajectory_seconds']:.1f} s of trajectories" if summary["trajectory_seconds"] else ""
    show(
        summary,
        as_json,
        lambda s: f"{s['run']}: {s['step']:,} steps, {s['samples']:,} training examples, {s['seconds']:.1f} s{stored}",
    )
    for note in closing_notes(run, examples):
        say(f"{run.folder}: {note}")
    say(f"next: pushforward {_next(run)}{plugin_options(run.spec)}")


def _next(run: Run) -> str:
    """What a run is for: a model to sample from, or an autoencoder in whose latent space a model is trained."""
    from pushforward.methods.autoencoders import PerceptualAutoencoder
    from pushforward.outputs import usual_ending

    folder, start = shlex.quote(str(run.folder)), _start(run)
    if start and _lower(_ratios(run, run.losses())):
        return f"compare {folder} {shlex.quote(start)}"
    if isinstance(run.method, PerceptualAutoencoder):
        from pushforward.evaluation.run_results import reading_options

        data = run.spec["data"]
        options = " ".join(["--data", shlex.quote(data["name_or_path"]), *reading_options(data)])
        return f"train flow {options} --latent {folder}"
    better = shlex.quote(start) if start and run.state.get("weights_step") == 0 else folder
    return f"sample {better} --n 64{_a_column(run)} --out samples{usual_ending(run.space)}"


def _a_column(run: Run) -> str:
    """The option that asks for a value of the first column that the model receives, as a training example has it."""
    from pushforward.conditions import Columns

    kind = next((kind for kind in run.space.conditions.values() if isinstance(kind, Columns) and kind.examples), None)
    return "" if kind is None else f" --given {shlex.quote(f'{kind.columns[0]}={kind.examples[0][0]:.3g}')}"
