"""The verbs train and resume, and training for other verbs."""

from __future__ import annotations

import math
import shlex
import shutil
import signal
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import (
    amounts,
    data_file,
    examples,
    load_plugins,
    options_of,
    python_files,
    recipe_of,
    settings_of,
    training_options,
)
from pushforward.cli.options import (
    ALL_DATA,
    ALONE,
    NO_BUDGET,
    NO_CHANGES,
    PROCESSES,
    TRAIN,
    TRAINING,
    Budgeting,
    Changes,
    Conditioned,
    DataOption,
    Device,
    Flag,
    Flops,
    Json,
    ModelOption,
    Out,
    Overwrite,
    Plugins,
    Reading,
    RecipeSetting,
    Repeated,
    RunCheckpoint,
    Sharing,
    StartingOption,
    Track,
    TrainingOption,
    app,
    as_options,
    first_line,
    listed,
    say,
    show,
)
from pushforward.numbers import duration, plain
from pushforward.plugins import plugin_options, resume_command
from pushforward.registries import own_name
from pushforward.runtime import launched

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.training import Run, Trainer

SHORTEST = 0.1  # Seconds below which a part of training is not reported
PLANNED = 5000  # Training steps without a budget
NEEDED = ("processes", "parameters", "batch", "precision", "steps", "steps_per_epoch")
Every = Annotated[
    int | None,
    Parameter(
        group=TRAINING,
        help="Steps between checkpoints. Default: two minutes, or a quarter of a short budget.",
    ),
]


class Stopwatch:
    """Seconds since the last lap, or since this process began."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        seconds = now - self._since
        self._since = now
        return seconds


STOPWATCH = Stopwatch()


@app.command(group=TRAIN, sort_key=1)
def train(
    recipe: ModelOption[str],
    *,
    size: ModelOption[str] = "small",
    init: StartingOption[str | None] = None,
    latent: StartingOption[str | None] = None,
    teacher: StartingOption[str | None] = None,
    frozen: StartingOption[Repeated] = (),
    plugin: StartingOption[Plugins] = (),
    data: DataOption[str | None] = None,
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Budgeting = NO_BUDGET,
    flops: Flops = None,
    changes: Changes = NO_CHANGES,
    seed: TrainingOption[int] = 0,
    checkpoint_every: Every = None,
    out: Out = None,
    overwrite: Overwrite = False,
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
    dry_run: Annotated[Flag, Parameter(group=PROCESSES)] = False,
    **settings: RecipeSetting,
) -> None:
    """Train a model.

    Without a budget, training takes 5000 steps. `train RECIPE --help` also lists the recipe's own
    options. Example:
    `pushforward train flow --data digits --budget 60s`

    Args:
        recipe: Recipe name (`pushforward list recipes`), or a Python file that defines a recipe.
        size: Network size: tiny, small or base. In finish, this sets the size of the critic only.
        init: Run whose weights training starts from.
        latent: Train in the latent space of this run (autoencoder, vae, hvae or vqvae) or diffusers
            AutoencoderKL folder.
        teacher: Run to learn from; short for --frozen teacher=RUN.
        frozen: NAME=RUN: use a run as the recipe's frozen network NAME. Can be repeated.
        data: Data set: a name (`pushforward data list`), a folder, or a .tar, .npy, .npz, .csv or
            Python file. Default: the data of --teacher, --frozen or --latent, otherwise digits.
        seed: Seed of all random numbers.
        out: Output folder. Default: runs/DATA-RECIPE.
        dry_run: Print the steps and memory that training needs, without training.
    """
    ends = amounts(budgeting, flops)
    recipe = own_name(recipe)
    from pushforward.training import Progress, load
    from pushforward.training.api import prepare
    from pushforward.training.recipe_argument import pairs_of
    from pushforward.training.runs.folder import free_folder

    named = list(frozen)
    if latent is not None:
        named.append(f"latent={latent}")
    if teacher is not None:
        named.append(f"teacher={teacher}")
    runs = pairs_of(named)
    load_plugins([*plugin, *python_files(recipe, data or "")])
    values = settings_of(recipe, settings, options_of("train"))
    if data is not None:
        data, plugin = data_file(data, plugin)
    start = None if init is None else load(init)
    if out and not (overwrite or dry_run or launched().rank):
        free_folder(out, "", "")
    loaded = examples(data, runs, reading, condition)
    chosen = recipe_of(recipe, loaded, size, values, changes, seed, runs, device=device)
    if dry_run:
        return report_needs(chosen, loaded, ends, sharing, json)
    options = training_options(recipe, size, changes, plugin)
    asked = options["asked"]
    for name, value in values.items():
        asked[name.replace("_", "-")] = value
    if "latent" in runs:
        asked["latent"] = runs.pop("latent")
    if runs:
        asked["frozen"] = [f"{name}={run}" for name, run in runs.items()]
    trainer = prepare(
        chosen,
        loaded,
        **options,
        **ends,
        **asdict(sharing),
        out=out,
        overwrite=overwrite,
        seed=seed,
        init=start,
        device=device,
        checkpoint_every=checkpoint_every,
        trackers=track or (),
        progress=Progress(),
    )
    report_run(train_one(trainer), json)


def train_one(trainer: Trainer) -> Run:
    """Announce and train a model."""
    try:
        announce(trainer)
        return _train(trainer)
    except KeyboardInterrupt:
        if trainer.clock.step:
            raise
        raise KeyboardInterrupt(
            f"{trainer.folder} has not been trained yet. Start again with --overwrite"
        ) from None


def _train(trainer: Trainer) -> Run:
    say_estimate([trainer])
    (run,) = train_all([trainer])
    for note in closing_notes(run, len(trainer.data.train)):
        say(f"{run.folder}: {note}")
    return run


def train_all(trainers: Sequence[Trainer], turn: float | None = None) -> list[Run]:
    """Train models one after the other, or in turns of some seconds, and print the time spent.

    A signal saves all models and exits with 130 or 75.
    """
    from pushforward.training.api import train_in_turns
    from pushforward.training.loop.signals import interruptible
    from pushforward.training.loop.trainer import finish_run

    starting = STOPWATCH.lap()
    before = _spent(trainers)
    with interruptible(trainers), ExitStack() as stack:
        for trainer in trainers:
            stack.callback(trainer.progress.close)
        if turn:
            say(f"training {len(trainers)} models in turns of {turn:g} s")
            runs = train_in_turns(trainers, turn)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finish_run(trainer) for trainer in trainers]
    # one of several processes got the signal, and all have stopped
    number = max((trainer.stop for trainer in trainers), default=0)
    if number and not all(trainer.done for trainer in trainers):
        for trainer in trainers:
            if trainer.done:
                say(f"{trainer.folder} is finished at step {trainer.clock.step:,}")
            else:
                say(f"stopped and saved at step {trainer.clock.step:,}")
                say(f"next: {resume_command(trainer.folder, trainer.content)}")
        raise SystemExit(130 if number == signal.SIGINT else 75)
    spent = _spent(trainers)
    for what, seconds in before.items():
        spent[what] -= seconds
    spent["checking samples and saving"] = STOPWATCH.lap() - sum(spent.values())
    spent["starting and reading data"] = starting
    if spent["in training steps"]:
        parts = [f"{duration(part, 2)} {what}" for what, part in spent.items() if part >= SHORTEST]
        say(f"training took {duration(sum(spent.values()), 2)}: {', '.join(parts)}")
    return runs


def _spent(trainers: Sequence[Trainer]) -> dict[str, float]:
    return {
        "in training steps": sum(trainer.clock.seconds for trainer in trainers),
        "for teacher trajectories": sum(trainer.trajectory_store.seconds for trainer in trainers),
    }


def say_estimate(trainers: Sequence[Trainer]) -> None:
    """Print an estimate of the training time if budgets are in seconds."""
    left = [(trainer.budget.seconds or math.nan) - trainer.clock.seconds for trainer in trainers]
    ahead = sum(max(seconds, 0) for seconds in left)
    if ahead > 0:  # NaN for another kind of budget
        say(f"training takes about {duration(ahead, 2)}, plus checking samples and saving")


def say_estimates(trainers: Sequence[Trainer], thorough: bool) -> None:
    """Print estimates of the time for training and measuring."""
    say_estimate(trainers)
    limit = "about as long as training at most, or 30 s if that is longer"
    if thorough:
        limit = "as long as it needs"
    say(f"measuring takes {limit}")


@app.command(group=TRAIN, sort_key=2)
def resume(
    run: RunCheckpoint,
    *,
    budgeting: Budgeting = NO_BUDGET,
    fallback: ModelOption[Flag] = False,
    plugin: ModelOption[Plugins] = (),
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
) -> None:
    """Continue a run, or extend a finished one.

    An interrupted run continues exactly where it stopped. A new budget includes the steps already
    done. Example:
    `pushforward resume runs/digits-flow --budget 5m`

    Args:
        fallback: If the newest checkpoint is damaged, continue from the newest intact one.
    """
    from pushforward.training.runs.folder import check_run, checkpoint_in

    ends = amounts(budgeting)
    folder, checkpoint = checkpoint_in(run)
    check_run(folder)
    from pushforward.training import Progress
    from pushforward.training.api import reopen

    trainer = reopen(
        folder,
        **ends,
        **asdict(sharing),
        checkpoint=checkpoint,
        fallback=fallback,
        plugins=plugin,
        trackers=track or (),
        device=device,
        progress=Progress(),
    )
    step = f"step {trainer.clock.step:,}"
    if trainer.ended is not None:
        say(f"{folder} ended at {step}: {trainer.ended}")
    elif trainer.done:
        say(f"{folder} is finished at {step} ({trainer.budget}). To train longer, raise the budget")
    else:
        say(f"resuming {folder} at {step}")
    report_run(_train(trainer), json)


def print_recipe_help(name: str) -> None:
    """Print the help of `train` and the options of a recipe, by name or Python file."""
    from pushforward import recipes
    from pushforward.recipes.recipe import GROUPS

    recipe = recipes.named(own_name(name))
    settings = recipes.settings(recipe).values()
    app.help_print(["train"])
    print(f"\n{recipe.__name__}: {first_line(recipe)}")
    width = shutil.get_terminal_size().columns
    for group in (*GROUPS, ""):
        options = [option for option in settings if option.group == group]
        if options:
            print(f"\n{recipe.__name__}: {group or 'other options'}")
        for option in options:
            words = [f"--{option.name.replace('_', '-')}", option.help]
            if option.kind is bool:
                words.append(f"[yes or no; default: {'yes' if option.default else 'no'}]")
            elif option.default is not None:
                words.append(f"[default: {option.default}]")
            print(textwrap.fill("  ".join(words), width, subsequent_indent="    "))


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a new folder if an error occurs before anything is saved."""
    from pushforward.training.runs.folder import LOCK, remove

    try:
        yield
    except BaseException:
        if not any(folder.glob("**/checkpoints/step_*")):
            locks = sorted(folder.glob(f"**/{LOCK}"), key=lambda path: -len(path.parts))
            for lock in locks:
                remove(lock.parent)
        raise


def announce(trainer: Trainer) -> None:
    """Print what is trained, and warnings about the data."""
    from pushforward.data.core.dataset import rare_classes, seen_in_training, shared_examples
    from pushforward.methods.method import parameters
    from pushforward.training.runs.provenance import leaks

    data = trainer.data
    shape = "x".join(map(str, data.space.shape))
    facts = [
        f"{trainer.recipe.name} on {data.name} ({len(data.train):,} examples of shape {shape})",
        *(kind.describe() for kind in trainer.method.space.conditions.values()),
        f"{parameters(trainer.method.transport()):,} parameters",
        trainer.precision,
        trainer.processes.words,
    ]
    say(f"{trainer.folder}: {'; '.join(filter(None, facts))}")
    seen = seen_in_training(data, trainer.recipe.builds_on)
    for warning in (*leaks(seen, data), *shared_examples(data), *rare_classes(data)):
        say(f"{trainer.folder}: warning: {as_options(warning)}")


def closing_notes(run: Run, examples: int) -> list[str]:
    """Return notes on problems of a finished run with ``examples`` training examples."""
    from pushforward.training.loop.budget import PASSES, STEPS, Budget
    from pushforward.training.monitor.alarms import ending_alarm
    from pushforward.training.runs.log import in_words

    rows = run.losses()
    notes = []
    skipped = in_words(rows)
    if skipped:
        notes.append(f"{skipped}. If there are many, use a lower --lr or --precision float32.")
    alarm = ending_alarm(rows)
    step = run.state["step"]
    passes = run.state["samples"] / max(1, examples)
    if alarm:
        notes.append(alarm.rpartition("; ")[2])
    elif step < STEPS or passes < PASSES:
        longer = Budget(**run.spec["budget"]).longer(step)
        notes.append(
            f"{step:,} steps, {plain(passes, 2)} passes over the data: training was short, so "
            f"samples may be poor. To continue: {resume_command(run.folder, run.spec)} {longer}"
        )
    return notes


def report_run(run: Run, as_json: bool) -> None:
    """Print the summary of a run, and the next command."""
    from pushforward.methods.autoencoders import PerceptualAutoencoder
    from pushforward.samples import usual_ending

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
    show(summary, as_json, _summary)
    folder = shlex.quote(str(run.folder))
    command = f"sample {folder} --n 64 --out samples{usual_ending(run.space)}"
    if isinstance(run.method, PerceptualAutoencoder):
        command = f"train flow --latent {folder}"
    say(f"next: pushforward {command}{plugin_options(run.spec)}")


def _summary(facts: dict[str, Any]) -> str:
    return (
        f"{facts['run']}: {facts['step']:,} steps, {facts['samples']:,} training examples, "
        f"{facts['seconds']:.1f} s"
    )


def report_needs(
    recipe: Recipe, data: Dataset, ends: Mapping[str, Any], sharing: Sharing, json: bool
) -> None:
    """Print what training with a budget ``ends`` would need (a dry run)."""
    from pushforward.training import Budget
    from pushforward.training.estimates import plan, steps_within
    from pushforward.training.options import samples_in

    if "flops" in ends:
        steps, _ = steps_within(ends["flops"], recipe, data)
        ends = {"steps": steps}
    if "epochs" in ends:
        ends = {"samples": samples_in(ends["epochs"], data)}
    budget = Budget(**(ends or {"steps": PLANNED}))
    needs = plan(recipe, data, budget, processes=sharing.devices or 1, sharded=sharing.shard)
    result = {"recipe": recipe.name, "data": data.name, **asdict(needs)}
    show(result, json, _needed)


def _needed(result: dict[str, Any]) -> str:
    facts = {name: result[name] for name in ("recipe", "data", *NEEDED)}
    sizes = {"memory per process": result["memory"], "checkpoint": result["checkpoint"]}
    for name, size in sizes.items():
        facts[name] = f"{plain(size / 2**20)} MiB"
    return f"dry run: nothing was trained or written\n\n{listed(facts)}"
