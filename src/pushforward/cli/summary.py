"""What is said of a training: before it, at its end, and in its place where it is only planned."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.options import Sharing
from pushforward.cli.terminal import as_options, columns, say, show
from pushforward.numbers import plain
from pushforward.plugins import plugin_options
from pushforward.training.checkpoint.best import BETTER, best_of
from pushforward.training.loop.nonfinite import in_words
from pushforward.training.monitor.alarms import lost

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.training import Trainer
    from pushforward.training.runs.run import Run

STEPS, PASSES = 500, 5  # Training steps, and passes over the data, below which samples are poor
LONGER = 4  # How many times the budget is advised where training was short
PLANNED = 5000  # The steps of a training that is given no budget
_MEMORY = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizers": "optimisers",
    "average": "averaged weights",
    "frozen": "frozen parts",
    "gathered": "whole weights and gradients while they are used",
    "activations": "activations of a part",
    "data": "training examples",
}


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a folder that the caller has just made, and the runs in it, if that fails before anything was saved."""
    from pushforward.training.runs.folder import remove
    from pushforward.training.runs.run_lock import LOCK

    try:
        yield
    except BaseException:
        if not any(folder.glob("**/checkpoints/step_*")):
            for lock in sorted(folder.glob(f"**/{LOCK}"), key=lambda path: -len(path.parts)):
                remove(lock.parent)
        raise


def announce(trainer: Trainer) -> None:
    """Say what is about to be trained: recipe, data, parameters, precision; and on what it cannot be judged."""
    from pushforward.data.core.train_hashes import rare_classes, seen_in_training, shared_examples
    from pushforward.methods.method import parameters, training_only
    from pushforward.training.runs.provenance import leaks, sources_of

    method, data, content, sampler = trainer.method, trainer.data, trainer.content, trainer.method.transport()
    sizes = {"parameters": parameters(sampler), **training_only(method, sampler)}
    facts = [
        f"{trainer.recipe.name} on {data.name} ({len(data.train):,} examples of shape {'x'.join(map(str, data.space.shape))})",
        *(kind.describe() for kind in method.space.conditions.values()),
        ", ".join(f"{name} {count:,}" for name, count in sizes.items() if count),
        *(part.replace("=", ": ", 1) for part in (content["asked"] or {}).get("frozen") or ()),
        *(f"from {name}, not noise" for name in sorted(sources_of(method))),
        trainer.precision,
        trainer.processes.words,
    ]
    say(f"{trainer.folder}: {'; '.join(filter(None, facts))}")
    if content.get("init") is not None:
        say(f"{trainer.folder}: weights from {content['init']}, step {content['init_step']:,}")
    seen = seen_in_training(data, trainer.recipe.builds_on)
    for warning in (*leaks(seen, data), *shared_examples(data), *rare_classes(data)):
        say(f"{trainer.folder}: warning: {as_options(warning)}")


def closing_notes(run: Run, examples: int) -> list[str]:
    """Sentences, each with what helps; none for a training of a sensible length.

    Args:
        run: The finished run.
        examples: How many training examples its data has.
    """
    rows, notes, start = run.losses(), [], _start(run)
    alarm, ratios = lost(rows), _ratios(run, rows)
    kept = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    if skipped := in_words(rows):
        notes.append(f"{skipped}. Where they are many, train with a lower --lr or --precision float32.")
    step, passes = run.state["step"], run.state["samples"] / max(1, examples)
    if not alarm and not ratios and (step < STEPS or passes < PASSES):
        few = f"{step:,} steps, {plain(passes, 2)} passes over the data: few, so samples will be poor"
        notes.append(f"{few}. Go on with: {extension(run)}")
    best = best_of(rows)
    if best is not None and best.step != best.last and best.quality <= BETTER * best.last_quality:
        notes.append(f"{best.sentence}: take it with --checkpoint best")
    if alarm and start and run.state.get("weights_step") == 0:
        notes.append(f"it samples as {start} does. Use {start} instead")
    elif alarm:
        notes.append(alarm.rpartition("; ")[2])
    if ratios:
        verdict = "no variety was lost" if min(ratios.values()) >= 1 else f"below 1: worse than {start or 'its start'}, or chance"
        notes.append(f"shares of the start's, on the same noise: {kept}: {verdict}")
    return notes


def _ratios(run: Run, rows: Any) -> dict[str, float]:
    """Coverage and recall of the weights that a guarded training ends with, as shares of the start's; empty without them."""
    step = run.state.get("weights_step")
    last = [row for row in rows if step is None or row["step"] == step]
    checks = [row["health"] for row in last if "coverage_ratio" in (row.get("health") or {})]
    ratios = {name: checks[-1].get(f"{name}_ratio") for name in ("coverage", "recall")} if checks else {}
    return {name: round(ratio, 2) for name, ratio in ratios.items() if ratio is not None}


def _lower(ratios: Mapping[str, float]) -> bool:
    return bool(ratios) and min(ratios.values()) < 1 and max(ratios.values()) <= 1


def _start(run: Run) -> str:
    """The folder of the run that a finish started from, as it was named; empty where that is unknown."""
    named = (run.spec.get("asked") or {}).get("frozen") or ()
    return next((word.partition("=")[2] for word in named if word.startswith("teacher=")), "")


def extension(run: Run) -> str:
    """The command that continues a run with a larger budget of the kind that it has."""
    budget = run.spec["budget"]
    if budget.get("seconds") is not None:
        more = f"--budget {math.ceil(LONGER * budget['seconds'])}s"
    elif budget.get("samples") is not None:
        more = f"--samples {LONGER * budget['samples']}"
    else:
        more = f"--steps {LONGER * max(STEPS, run.state['step'])}"
    return f"pushforward resume {shlex.quote(str(run.folder))} {more}"


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
    from pushforward.evaluation.models import reading_options
    from pushforward.methods.autoencoders import PerceptualAutoencoder
    from pushforward.outputs import usual_ending

    folder, start = shlex.quote(str(run.folder)), shlex.quote(_start(run))
    if _start(run) and _lower(_ratios(run, run.losses())):
        return f"compare {folder} {start}"
    if isinstance(run.method, PerceptualAutoencoder):
        data = run.spec["data"]
        options = " ".join(["--data", shlex.quote(data["name_or_path"]), *reading_options(data)])
        return f"train flow {options} --latent {folder}"
    better = start if _start(run) and run.state.get("weights_step") == 0 else folder
    return f"sample {better} --n 64 --out samples{usual_ending(run.space)}"


def report_needs(recipe: Recipe, data: Dataset, ends: Mapping[str, Any], sharing: Sharing, json: bool) -> None:
    """Print what a training would need: a dry run.

    Args:
        recipe: The recipe.
        data: Of the training.
        ends: Its budget, as arguments of `pushforward.fit`.
        sharing: The processes that would train it.
        json: Whether as JSON.
    """
    from pushforward.training import Budget
    from pushforward.training.estimates import plan

    needs = plan(recipe, data, Budget(**(ends or {"steps": PLANNED})), processes=sharing.devices or 1, sharded=sharing.shard)
    show({"recipe": recipe.name, "data": data.name, **needs.to_plain()}, json, lambda _: _needed(recipe, data, needs))


def _needed(recipe: Recipe, data: Dataset, needs: Any) -> str:
    rows = [
        ["processes", f"{needs.processes}{', each with a share of the weights' if needs.sharded else ''}"],
        ["parameters", f"{needs.parameters:,}"],
        ["batch", f"{needs.batch:,} examples; {needs.share:,} in each process, {needs.part:,} at a time; {needs.precision}"],
        ["steps", f"{'by the seconds' if needs.steps is None else needs.steps}; an epoch takes {needs.steps_per_epoch:,.1f}"],
        ["checkpoint", _size(needs.checkpoint)],
        ["memory of a process", _size(needs.memory.total)],
    ]
    memory = {name: getattr(needs.memory, name) for name in _MEMORY}
    rows += [[f"  {_MEMORY[name]}", "unknown" if value is None else _size(value)] for name, value in memory.items() if value != 0]
    head = f"{recipe.name} on {data.name}: nothing was started or written"
    return f"{head}\n\n{columns(rows)}"


def _size(size: float) -> str:
    return f"{size / 2**10:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"
