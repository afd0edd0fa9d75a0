"""The verbs that train one model: train and resume; and the loop around every training."""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import (
    ALL_DATA,
    DATA,
    MODEL,
    NO_BUDGET,
    NO_CHANGES,
    OUTPUT,
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
)
from pushforward.cli.options import (
    FrozenRuns,
    amounts,
    check_plugins,
    device_of,
    options_of,
    plugin_options,
    recipe_of,
    settings_of,
    source,
    words,
)
from pushforward.cli.terminal import app, say, show

if TYPE_CHECKING:
    from pushforward.training import Run, Trainer

__all__ = ["announce", "asked_for", "nothing_left", "resume", "train", "train_all"]

Settings = Annotated[str, Parameter(show=False)]


@contextmanager
def _interruptible(trainers: Sequence[Trainer]) -> Iterator[dict[str, int]]:
    """The first SIGINT or SIGTERM lets the present step end and be saved; a second SIGINT stops at once."""
    got: dict[str, int] = {}

    def stop(number: int, frame: Any) -> None:
        if got and number == signal.SIGINT:
            raise KeyboardInterrupt
        got["signal"] = number
        for trainer in trainers:
            trainer.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train_all(trainers: Sequence[Trainer], turns: bool = False) -> list[Run]:
    """Train until done or interrupted, one after the other or in turns; an interruption saves and exits 130 or 75."""
    from pushforward.evaluation import train_in_turns
    from pushforward.training.start import finished

    with _interruptible(trainers) as got, _tidy_terminal(trainers):
        if turns:
            runs = train_in_turns(trainers)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finished(trainer) for trainer in trainers]
    if got and not all(trainer.done for trainer in trainers):
        for trainer in trainers:
            again = f"{shlex.quote(str(trainer.folder))}{plugin_options(trainer.content)}"
            say(f"stopped and saved at step {trainer.clock.step:,}\nnext: pushforward resume {again}")
        raise SystemExit(130 if got["signal"] == signal.SIGINT else 75)
    return runs


@contextmanager
def _tidy_terminal(trainers: Sequence[Trainer]) -> Iterator[None]:
    """Close the bars and show the cursor again, however training ends."""
    try:
        yield
    finally:
        for trainer in trainers:
            trainer.progress.close()


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a folder that the caller has just made, if what is done with it fails before anything was saved."""
    try:
        yield
    except BaseException:
        if not any(folder.glob("**/checkpoints/step_*")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


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
    data: Annotated[str, Parameter(group=DATA)] = "digits",
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Budgeting = NO_BUDGET,
    changes: Changes = NO_CHANGES,
    seed: Annotated[int, Parameter(group=TRAINING)] = 0,
    checkpoint_every: Annotated[int | None, Parameter(group=TRAINING)] = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    overwrite: Annotated[Flag, Parameter(group=OUTPUT)] = False,
    json: Json = False,
    device: Device = "auto",
    **settings: Settings,
) -> None:
    """Train a model.

    `train RECIPE --help` adds the recipe's own options. Without a budget training takes 5000 steps. Example:
    `pushforward train flow --data digits --budget 60s`

    Args:
        recipe: A name (`pushforward list recipes`), or a Python file that holds a recipe.
        size: Size of the networks: tiny, small or base.
        init: A run whose weights to start from.
        latent: Train in the latent space of this run of autoencoder, vae, hvae or vqvae, or folder of diffusers' AutoencoderKL.
        teacher: A run for a recipe that learns from one: short for --frozen teacher=RUN.
        frozen: NAME=RUN: a run for the frozen part of that name that the recipe takes. --frozen latent=RUN is --latent RUN.
        plugin: The Python file that the run of --init, --latent, --teacher or --frozen was trained with.
        data: A name (`pushforward data list`), an image folder, or a .npy, .csv or .npz file. A .npz holds x, and where there
            are any label (or y), x_test and label_test.
        seed: Of everything random.
        checkpoint_every: Steps between checkpoints; default every two minutes, or every quarter of a short budget.
        out: The run's folder; default runs/DATA-RECIPE.
        overwrite: Replace the run that is in --out.
    """
    from pushforward.training import Progress
    from pushforward.training.start import prepare

    ends, values = amounts(budgeting), settings_of(recipe, settings, options_of("train"))
    runs = _frozen_runs(frozen, latent=latent, teacher=teacher)
    plugins, others, start = _files(recipe, plugin, init, runs)
    if out and not overwrite:
        _check_free(out)
    loaded, where = source(data, reading, condition), device_of(device)
    chosen = recipe_of(recipe, loaded, size, values, changes, seed, FrozenRuns(runs, where, plugins))
    asked = asked_for(size, changes, values) | _asked_of(runs, others)
    options: dict[str, Any] = {"out": out, "seed": seed, "init": start, "plugins": plugins, "asked": asked}
    options |= {"overwrite": overwrite, "device": where, "augment": words(changes.augment)}
    options |= {"checkpoint_every": checkpoint_every, "progress": Progress()}
    trainer = prepare(chosen, loaded, **ends, **options)
    announce(trainer)
    (run,) = train_all([trainer])
    _done(run, json, len(loaded.train))


def _frozen_runs(frozen: Sequence[str], **short: str | None) -> dict[str, str]:
    """Runs by the name of the part that they become; some names have an option of their own."""
    from pushforward.training.frozen import pairs_of

    return pairs_of([*frozen, *(f"{name}={run}" for name, run in short.items() if run is not None)])


def _files(
    recipe: str, plugin: Sequence[str], init: str | None, frozen: Mapping[str, str]
) -> tuple[list[str], list[str], Run | None]:
    """The Python files that the new run needs, those of them that its frozen parts need, and the run to start from."""
    own = [recipe] if recipe.endswith(".py") else []
    start = None if init is None else _start(init, [*own, *plugin])
    check_plugins(plugin)
    others = [file for file in plugin if Path(file) not in map(Path, own)] if frozen else []
    return [*own, *others], others, start


def _asked_of(runs: Mapping[str, str], plugins: Sequence[str]) -> dict[str, Any]:
    """What was asked for of frozen parts, by option."""
    if not runs:
        return {}
    parts = [f"{name}={run}" for name, run in runs.items() if name != "latent"]
    return {"latent": runs.get("latent"), "plugin": plugins or None} | ({"frozen": parts} if parts else {})


def _check_free(out: str) -> None:
    """Refuse a folder that is taken before any data is read."""
    from pushforward.training.folders import free_folder

    free_folder(out, "", "")


def asked_for(size: str, changes: Changes, values: dict[str, Any]) -> dict[str, Any]:
    """What was asked for beside the data, by option."""
    given = {**changes.of_training(), **values}
    return {"size": size, **{name.replace("_", "-"): value for name, value in given.items()}}


def _start(init: str, plugins: Sequence[str]) -> Run:
    from pushforward.training import load

    check_plugins(plugins)
    return load(init, plugins=plugins)


def announce(trainer: Trainer) -> None:
    """Say what is about to be trained: recipe, data, parameters, precision; and on what it cannot be judged."""
    from pushforward.data.class_counts import rare_classes
    from pushforward.data.seen import seen_in_training, shared_examples
    from pushforward.training.lineage import leaks

    counts = {name: sum(p.numel() for p in player.parameters) for name, player in trainer.players.items()}
    sizes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    labels = f"{len(trainer.method.space.classes)} classes" if trainer.method.space.classes else "no labels"
    say(
        f"{trainer.folder}: {trainer.recipe.name} on {trainer.data.name} ({len(trainer.data.train):,} rows of "
        f"{'x'.join(map(str, trainer.data.space.shape))}, {labels}); parameters: {sizes}; {trainer.precision}"
    )
    if trainer.content.get("init") is not None:
        say(f"{trainer.folder}: weights from {trainer.content['init']}, step {trainer.content['init_step']:,}")
    seen = seen_in_training(trainer.data, trainer.recipe.builds_on)
    for warning in (*leaks(seen, trainer.data), *shared_examples(trainer.data), *rare_classes(trainer.data)):
        say(f"{trainer.folder}: warning: {warning}")


def _done(run: Run, as_json: bool, examples: int) -> None:
    from pushforward.cli.closing import closing_notes

    state = run.state
    summary = {
        "run": str(run.folder),
        "recipe": run.spec["recipe"],
        "step": state["step"],
        "samples": state["samples"],
        "seconds": state["seconds"],
        "checkpoint": f"{run.folder}/checkpoints/step_{state['step']:06d}",
    }
    show(summary, as_json, lambda s: f"{s['run']}: {s['step']:,} steps, {s['samples']:,} samples, {s['seconds']:.1f} s")
    for note in closing_notes(run, examples):
        say(f"{run.folder}: {note}")
    say(f"next: pushforward {_next(run)}{plugin_options(run.spec)}")


def _next(run: Run) -> str:
    """What a run is for: a model to sample from, or an autoencoder in whose latent space a model is trained."""
    from pushforward.methods.perceptual import PerceptualAutoencoder

    folder = shlex.quote(str(run.folder))
    if isinstance(run.method, PerceptualAutoencoder):
        from pushforward.evaluation.commands import reading_options

        data = run.spec["data"]
        options = " ".join(["--data", shlex.quote(data["name_or_path"]), *reading_options(data)])
        return f"train flow {options} --latent {folder}"
    return f"sample {folder} --n 64 --out samples.{'png' if run.space.kind == 'image' else 'csv'}"


@app.command(group=TRAIN, sort_key=2)
def resume(
    run: RunFolder,
    *,
    budgeting: Budgeting = NO_BUDGET,
    start: Annotated[str | None, Parameter(name="--from", group=MODEL)] = None,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Continue a run, or extend a finished one.

    An interrupted run continues exactly where it was. A new budget counts from the run's first step.

    Args:
        start: A checkpoint's name, such as step_000500; default the newest.
        plugin: The Python file that the run was trained with.
    """
    from pushforward.training import Progress
    from pushforward.training.start import reopen

    ends = amounts(budgeting)
    check_plugins(plugin)
    trainer = reopen(run, **ends, checkpoint=start, plugins=plugin, device=device_of(device), progress=Progress())
    say(_standing(run, trainer))
    (result,) = train_all([trainer])
    _done(result, json, len(trainer.data.train))


def _standing(run: str, trainer: Trainer) -> str:
    """Where a run stands before it continues."""
    if trainer.done:
        budget = str(trainer.clock.budget)
        return f"{run} is finished at step {trainer.clock.step:,} ({budget}); extend it with a larger {budget.split()[0]}"
    if not trainer.saved:
        return f"{run} was never saved: starting it from its first step"
    total = f" of {trainer.clock.total:,}" if trainer.clock.total else ""
    return f"resuming {run} at step {trainer.clock.step:,}{total}; checkpoint verified"
