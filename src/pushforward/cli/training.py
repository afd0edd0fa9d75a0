"""The verbs that train one model: train and resume; and the loop around every training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.announcing import announce
from pushforward.cli.closing import report_run
from pushforward.cli.early import check_data, check_recipes
from pushforward.cli.foreseen import report_needs
from pushforward.cli.groups import (
    ALL_DATA,
    BUDGET,
    DATA,
    MODEL,
    NO_BUDGET,
    NO_CHANGES,
    OUTPUT,
    PROCESSES,
    STARTING,
    TRAIN,
    TRAINING,
    Budgeting,
    Changes,
    Conditioned,
    Device,
    Flag,
    Frozen,
    Json,
    Plugins,
    Reading,
    RunFolder,
    Settings,
    Track,
)
from pushforward.cli.launching import check_sharing, is_first, of_processes
from pushforward.cli.learned_data import examples
from pushforward.cli.loop import starting, train_all
from pushforward.cli.parsing import (
    FrozenRuns,
    amounts,
    asked_for,
    check_free,
    check_plugins,
    data_file,
    device_of,
    load_plugins,
    options_of,
    python_files,
    recipe_of,
    settings_of,
    words,
)
from pushforward.cli.planned import steps_for
from pushforward.cli.sharing import ALONE, Sharing
from pushforward.cli.terminal import app, say

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.training import Run, Trainer

__all__ = ["resume", "train"]


@app.command(group=TRAIN, sort_key=1)
def train(
    recipe: Annotated[str, Parameter(group=MODEL)],
    *,
    size: Annotated[str, Parameter(group=MODEL)] = "small",
    init: Annotated[str | None, Parameter(group=STARTING)] = None,
    latent: Annotated[str | None, Parameter(group=STARTING)] = None,
    teacher: Annotated[str | None, Parameter(group=STARTING)] = None,
    frozen: Frozen = (),
    plugin: Annotated[Plugins, Parameter(group=STARTING)] = (),
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Budgeting = NO_BUDGET,
    flops: Annotated[str | None, Parameter(group=BUDGET)] = None,
    changes: Changes = NO_CHANGES,
    seed: Annotated[int, Parameter(group=TRAINING)] = 0,
    checkpoint_every: Annotated[int | None, Parameter(group=TRAINING)] = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    overwrite: Annotated[Flag, Parameter(group=OUTPUT)] = False,
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
    dry_run: Annotated[Flag, Parameter(group=PROCESSES)] = False,
    **settings: Settings,
) -> None:
    """Train a model.

    `train RECIPE --help` adds the recipe's own options. Without a budget training takes 5000 steps. Example:
    `pushforward train flow --data digits --budget 60s`

    Args:
        recipe: A name (`pushforward list recipes`), or a Python file that holds a recipe.
        size: Size of the networks: tiny, small or base; finish applies it to its critic alone.
        init: A run whose weights to start from.
        latent: Train in the latent space of this run of autoencoder, vae, hvae or vqvae, or folder of diffusers' AutoencoderKL.
        teacher: A run to learn from: short for --frozen teacher=RUN.
        frozen: NAME=RUN: a run for the frozen part of that name that the recipe takes. --frozen latent=RUN is --latent RUN.
        data: A name, a folder, a .tar, .npy, .npz, .csv or Python file: see `pushforward data check --help`. Default: that of
            --teacher, --frozen or --latent, else digits.
        flops: Budget in floating point operations of training steps: 1e15.
        seed: The seed of all random numbers.
        checkpoint_every: Steps between checkpoints; default every two minutes, or every quarter of a short budget.
        out: The run's folder; default runs/DATA-RECIPE.
        overwrite: Replace the run that is in --out.
        dry_run: Say what training will need in --devices, then end.
    """
    ends = amounts(budgeting, flops=flops)
    check_recipes(recipe, plugins=plugin)
    check_data(None if settings else data, plugin)  # wrong options are named first
    runs = _frozen_runs(frozen, latent=latent, teacher=teacher)
    load_plugins(plugin, [init, *runs.values()], python_files(recipe, data or ""))
    values = settings_of(recipe, settings, options_of("train"))
    data, files = (None, plugin) if data is None else data_file(data, plugin)
    plugins, others, start = _files(recipe, files, init)
    check_free(None if overwrite or dry_run or not is_first() else out)
    loaded, where = examples(data, runs, reading, condition, plugins), device_of(device)
    chosen = recipe_of(recipe, loaded, size, values, changes, seed, FrozenRuns(runs, where, plugins))
    budget = _counted(ends, chosen, loaded)
    if dry_run:
        check_sharing(sharing)
        return report_needs(chosen, loaded, budget, sharing, json)
    options: dict[str, Any] = {"out": out, "overwrite": overwrite, "seed": seed, "init": start, "plugins": plugins}
    options |= {"device": where, "augment": words(changes.augment), "checkpoint_every": checkpoint_every, "trackers": track}
    options["asked"] = asked_for(size, changes, values) | _asked_of(runs, others)
    report_run(_trained(chosen, loaded, budget | options | of_processes(sharing)), json, len(loaded.train))


def _trained(recipe: Recipe, data: Dataset, options: Mapping[str, Any]) -> Run:
    """The run of a new training."""
    from pushforward.training import Progress
    from pushforward.training.api import prepare

    trainer = prepare(recipe, data, **options, progress=Progress())
    with starting(trainer):
        announce(trainer)
        (run,) = train_all([trainer])
    return run


def _counted(ends: dict[str, Any], recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """The budget, of operations in steps."""
    flops = ends.pop("flops", None)
    return ends if flops is None else ends | steps_for(flops, recipe, data)


def _frozen_runs(frozen: Sequence[str], **short: str | None) -> dict[str, str]:
    """Runs by the name of the part that they become; some names have an option of their own."""
    from pushforward.training.frozen_recipes import pairs_of

    return pairs_of([*frozen, *(f"{name}={run}" for name, run in short.items() if run is not None)])


def _files(recipe: str, plugin: Sequence[str], init: str | None) -> tuple[list[str], list[str], Run | None]:
    """The Python files that the new run needs, those beside that of its recipe, and the run to start from."""
    from pushforward.training import load

    own = python_files(recipe)
    start = None if init is None else load(init, plugins=[*own, *plugin])
    others = [file for file in plugin if Path(file) not in map(Path, own)]
    return [*own, *others], others, start


def _asked_of(runs: Mapping[str, str], plugins: Sequence[str]) -> dict[str, Any]:
    """What was asked for of frozen parts and plug-ins, by option."""
    if not runs:
        return {"plugin": list(plugins)} if plugins else {}
    parts = [f"{name}={run}" for name, run in runs.items() if name != "latent"]
    return {"latent": runs.get("latent"), "plugin": plugins or None} | ({"frozen": parts} if parts else {})


@app.command(group=TRAIN, sort_key=2)
def resume(
    run: RunFolder,
    *,
    budgeting: Budgeting = NO_BUDGET,
    start: Annotated[str | None, Parameter(name="--from", group=MODEL)] = None,
    fallback: Annotated[Flag, Parameter(group=MODEL)] = False,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
) -> None:
    """Continue a run, or extend a finished one.

    An interrupted run continues exactly where it was. A new budget counts from the run's first step.

    Args:
        start: A checkpoint's name, such as step_000500; default the newest.
        fallback: Where the newest checkpoint is damaged, go on from the newest whole one.
    """
    from pushforward.training.runs.folder import check_run

    ends = amounts(budgeting)
    check_plugins(plugin)
    check_run(run)
    from pushforward.training import Progress
    from pushforward.training.api import reopen

    options: dict[str, Any] = {**ends, **of_processes(sharing), "checkpoint": start, "fallback": fallback, "plugins": plugin}
    options["trackers"] = track
    trainer = reopen(run, **options, device=device_of(device), progress=Progress())
    say(_standing(run, trainer))
    (result,) = train_all([trainer])
    report_run(result, json, len(trainer.data.train))


def _standing(run: str, trainer: Trainer) -> str:
    """Where a run stands before it continues."""
    if trainer.ended is not None:
        return f"{run} has ended by itself at step {trainer.clock.step:,}: {trainer.ended}"
    if trainer.done:
        budget = str(trainer.budget)
        return f"{run} is finished at step {trainer.clock.step:,} ({budget}); extend it with a larger {budget.split()[0]}"
    if not trainer.saved:
        return f"{run} was never saved: starting it from its first step"
    total = f" of {trainer.clock.total:,}" if trainer.clock.total else ""
    together = f"; {trainer.processes.words}" if trainer.processes.words else ""
    return f"resuming {run} at step {trainer.clock.step:,}{total}; checkpoint verified{together}"
