"""The verbs that train one model: train, resume and distil; also training loops and summaries for other verbs."""

from __future__ import annotations

import inspect
import math
import shlex
import signal
import time
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from pushforward.cli.inputs import (
    amounts,
    asked_for,
    check_free,
    check_names,
    data_file,
    device_of,
    examples,
    load_plugins,
    of_processes,
    options_of,
    python_files,
    recipe_of,
    settings_of,
    words,
)
from pushforward.cli.options import (
    ALL_DATA,
    ALONE,
    NO_BUDGET,
    NO_CHANGES,
    PROCESSES,
    STARTED,
    TRAIN,
    TRAINING,
    Budgeting,
    BudgetOption,
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
    Repeated,
    RunCheckpoint,
    RunFolder,
    Settings,
    Sharing,
    StartingOption,
    Track,
    TrainingOption,
    app,
    as_options,
    columns,
    first_line,
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
_MEMORY = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizers": "optimisers",
    "average": "averaged weights",
    "frozen": "frozen networks",
    "gathered": "weights and gradients gathered for use",
    "activations": "activations of a micro-batch",
    "data": "training examples",
}
Every = Annotated[
    int | None,
    Parameter(
        group=TRAINING,
        help="Steps between checkpoints. Default: two minutes, or a quarter of a short budget.",
    ),
]


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
    **settings: Settings,
) -> None:
    """Train a model.

    Without a budget, training takes 5000 steps. `train RECIPE --help` also lists the recipe's own options. Example:
    `pushforward train flow --data digits --budget 60s`

    Args:
        recipe: Recipe name (`pushforward list recipes`), or a Python file that defines a recipe.
        size: Network size: tiny, small or base. In finish, this sets the size of the critic only.
        init: Run whose weights training starts from.
        latent: Train in the latent space of this run (autoencoder, vae, hvae or vqvae) or diffusers AutoencoderKL folder.
        teacher: Run to learn from; short for --frozen teacher=RUN.
        frozen: NAME=RUN: use a run as the recipe's frozen network NAME. Can be repeated.
        data: Data set: a name (`pushforward data list`), a folder, or a .tar, .npy, .npz, .csv or Python file. Default: the data
            of --teacher, --frozen or --latent, otherwise digits.
        seed: Seed of all random numbers.
        out: Output folder. Default: runs/DATA-RECIPE.
        dry_run: Print the steps and memory that training needs, without training.
    """
    ends = amounts(budgeting, flops=flops)
    recipe = own_name(recipe)
    check_names(
        plugin, recipe=recipe, data=None if settings else data
    )  # wrong options are named first
    from pushforward.training import Progress, load
    from pushforward.training.api import prepare
    from pushforward.training.options import samples_in
    from pushforward.training.recipe_argument import pairs_of

    short = {"latent": latent, "teacher": teacher}
    runs = pairs_of([*frozen, *(f"{name}={run}" for name, run in short.items() if run is not None)])
    load_plugins(plugin, [init, *runs.values()], python_files(recipe, data or ""))
    values = settings_of(recipe, settings, options_of("train"))
    data, plugin = (None, plugin) if data is None else data_file(data, plugin)
    others = [file for file in plugin if Path(file) != Path(recipe)]
    start = None if init is None else load(init)
    check_free(None if overwrite or dry_run or launched().rank else out)
    loaded = examples(data, runs, reading, condition)
    where = device_of(device)
    chosen = recipe_of(recipe, loaded, size, values, changes, seed, runs, device=where)
    ends |= steps_for(ends.pop("flops"), chosen, loaded) if "flops" in ends else {}
    ends |= {"samples": samples_in(ends.pop("epochs"), loaded)} if "epochs" in ends else {}
    options = of_processes(sharing)
    if dry_run:
        return report_needs(chosen, loaded, ends, sharing, json)
    options |= {
        "out": out,
        "overwrite": overwrite,
        "seed": seed,
        "init": start,
        "plugins": [*python_files(recipe), *others],
        "device": where,
        **ends,
    }
    options |= {
        "augment": words(changes.augment),
        "checkpoint_every": checkpoint_every,
        "trackers": track,
    }
    parts = [f"{name}={run}" for name, run in runs.items() if name != "latent"]
    more = {"latent": runs.get("latent"), "frozen": parts, "plugin": others}
    asked = asked_for(size, changes, values) | {
        name: value for name, value in more.items() if value
    }
    trainer = prepare(chosen, loaded, **options, asked=asked, progress=Progress())
    report_run(_begun(trainer), json, len(loaded.train))


def steps_for(flops: float, recipe: Recipe, data: Dataset) -> dict[str, int]:
    """Convert a budget of floating-point operations to steps, as an option of `prepare`, and print it."""
    from pushforward.training.estimates import steps_within

    steps, each = steps_within(flops, recipe, data)
    say(
        f"{recipe.name}: {each:.3g} floating-point operations per step; the budget of {flops:g} allows {steps:,} steps"
    )
    return {"steps": steps}


def _begun(
    trainer: Trainer, advice: str = "Start again with --overwrite", began: float = STARTED
) -> Run:
    try:
        announce(trainer)
        (run,) = train_all([trainer], began=began)
        return run
    except KeyboardInterrupt:
        if trainer.clock.step:
            raise
        raise KeyboardInterrupt(f"{trainer.folder} has not been trained yet. {advice}") from None


def train_all(
    trainers: Sequence[Trainer], turn: float | None = None, began: float = STARTED
) -> list[Run]:
    """Train models one after the other or in turns, and print what the time was spent on.

    A signal saves all models and exits with 130 or 75.

    Args:
        trainers: One trainer per model.
        turn: Duration of a turn in seconds; None trains one model after the other.
        began: Start of this part of the command, as by `time.perf_counter`.
    """
    before = sum(trainer.clock.seconds for trainer in trainers)
    from pushforward.training.api import train_in_turns
    from pushforward.training.loop.signals import interruptible
    from pushforward.training.loop.trainer import finished

    with interruptible(trainers), ExitStack() as stack:
        for trainer in trainers:
            stack.callback(trainer.progress.close)
        if turn:
            if (count := sum(not trainer.done for trainer in trainers)) > 1:
                say(
                    f"training {count} models in turns of {turn:g} s; the time left is shown for each model separately"
                )
            runs = train_in_turns(trainers, turn)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finished(trainer) for trainer in trainers]
    # one of several processes got the signal, and all have stopped
    if (number := max((trainer.stop for trainer in trainers), default=0)) and not all(
        trainer.done for trainer in trainers
    ):
        for trainer in trainers:
            if trainer.done:
                say(f"{trainer.folder} is finished at step {trainer.clock.step:,}")
                continue
            say(f"stopped and saved at step {trainer.clock.step:,}")
            say(f"next: {resume_command(trainer.folder, trainer.content)}")
        raise SystemExit(130 if number == signal.SIGINT else 75)
    spent = {"in training steps": sum(trainer.clock.seconds for trainer in trainers) - before}
    for trainer in trainers:
        for what, seconds in trainer.spent.items():
            spent[what] = spent.get(what, 0.0) + seconds
    total = time.perf_counter() - began
    spent["starting and reading data"] = total - sum(spent.values())
    words = ", ".join(
        f"{duration(part, 2)} {what}" for what, part in spent.items() if part >= SHORTEST
    )
    if spent["in training steps"]:
        say(f"training took {duration(total, 2)}: {words}")
    return runs


def say_estimate(trainers: Sequence[Trainer], thorough: bool = False) -> None:
    """Print estimates for the duration of training, if budgets are in seconds, and of measuring."""
    left = [(trainer.budget.seconds or math.nan) - trainer.clock.seconds for trainer in trainers]
    ahead = sum(seconds for seconds in left if seconds > 0)
    if ahead and not any(map(math.isnan, left)):
        training = f"training takes about {duration(ahead, 2)}; "
    else:
        training = ""
    if thorough:
        limit = "as long as it needs"
    else:
        limit = "about as long as training at most, or 30 s if that is longer"
    say(f"{training}measuring takes {limit}")


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

    An interrupted run continues exactly where it stopped. A new budget includes the steps already done. Example:
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

    options: dict[str, Any] = {
        **ends,
        **of_processes(sharing),
        "checkpoint": checkpoint,
        "fallback": fallback,
        "plugins": plugin,
    }
    trainer = reopen(
        folder, **options, trackers=track or (), device=device_of(device), progress=Progress()
    )
    say(_standing(folder, trainer))
    (result,) = train_all([trainer])
    report_run(result, json, len(trainer.data.train))


def _standing(run: str, trainer: Trainer) -> str:
    step = f"step {trainer.clock.step:,}"
    total = trainer.clock.total
    if trainer.ended is not None:
        return f"{run} ended at {step}: {trainer.ended}"
    if trainer.done:
        return f"{run} is finished at {step} ({trainer.budget}). To train longer, give a larger {str(trainer.budget).split()[0]}"
    if not trainer.saved:
        return f"{run} has no checkpoint: training starts from the first step"
    facts = [
        f"resuming {run} at {step}{f' of {total:,}' if total else ''}",
        "checkpoint verified",
        trainer.processes.words,
    ]
    return "; ".join(filter(None, facts))


@app.command(group=TRAIN, sort_key=3)
def distil(
    run: RunFolder,
    *,
    calls: ModelOption[int] = 1,
    data: DataOption[str | None] = None,
    plugin: ModelOption[Plugins] = (),
    budgeting: Budgeting = NO_BUDGET,
    finish: BudgetOption[str | None] = None,
    changes: Changes = NO_CHANGES,
    seed: TrainingOption[int] = 0,
    checkpoint_every: Every = None,
    out: Out = None,
    overwrite: Overwrite = False,
    track: Track = None,
    json: Json = False,
    device: Device = "auto",
    sharing: Sharing = ALONE,
    **settings: Settings,
) -> None:
    """Distil a run into one that samples in few network calls.

    The teacher is a run of flow, ddpm or edm, also in a latent space. The student is a new run, which can be sampled in any
    number of steps. Without a budget, it trains for the same number of steps as the teacher. The options of `train distil --help`
    also apply here, and with --finish those of `train finish --help`. Example: `pushforward distil runs/digits-flow --budget 60s`

    Args:
        run: Folder of the teacher run.
        calls: Default number of network calls per sample.
        data: New location of the teacher's data, if it has moved.
        finish: Afterwards, train the student against a critic for this long, such as 10m, in a second run.
        seed: Seed of all random numbers.
        out: Output folder of the student. Default: runs/DATA-distil. The second run's folder ends in -finished.
    """
    from pushforward import recipes
    from pushforward.training import Budget, Progress, load
    from pushforward.training.api import check_finish, finisher, student

    load_plugins(plugin, [run])
    options: dict[str, Any] = {
        **amounts(budgeting),
        "seed": seed,
        "plugins": plugin,
        "overwrite": overwrite,
    }
    options |= {
        "device": device_of(device),
        "checkpoint_every": checkpoint_every,
        "progress": Progress(),
        "data": data,
    }
    options |= {"trackers": track, **of_processes(sharing)}
    check_free(out if out and not overwrite and not launched().rank else None)
    known, further = (recipes.settings(recipes.named(name)) for name in ("distil", "finish"))
    names = {name: name.replace("-", "_") for name in settings}
    later = {
        name: settings.pop(name)
        for name, key in names.items()
        if finish and key in further and key not in known
    }
    own = settings_of(
        "distil", settings, {*options_of("distil"), *(further if finish else ())} - {"calls"}
    )
    of_finish = settings_of("finish", later)
    seconds = None if finish is None else Budget.duration(finish)
    teacher = load(run)
    if seconds is not None:
        check_finish(teacher, out, overwrite, own, of_finish)
    changed = changes.of_training()
    trainer = student(
        teacher,
        calls=calls,
        settings=own,
        out=out,
        augment=words(changes.augment),
        **changed,
        **options,
    )
    if seconds is None:
        return report_run(_begun(trainer), json, len(trainer.data.train))
    given = {"teacher": trainer.folder, "data": options.pop("data"), "budget": finish, **of_finish}
    given["out"] = f"{trainer.folder}-finished"
    typed = [
        word
        for name, value in given.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    then = f"pushforward train finish {shlex.join(typed)}{plugin_options(trainer.content)}"
    try:
        result = _begun(trainer)
    except SystemExit:
        say(f"then: {then}")
        raise
    say(f"{result.folder}: {result.state['step']:,} steps; now training against a critic ...")
    try:
        began = time.perf_counter()
        second = finisher(result, trainer.data, seconds, of_finish, **options)
        result = _begun(second, f"The student is saved. To finish it: {then} --overwrite", began)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            *stop.args or [f"the student is saved. To finish it: {then}"]
        ) from None
    report_run(result, json, len(trainer.data.train))


def print_recipe_help(name: str) -> None:
    """Print the help of `train` with panels for a recipe's own options.

    Args:
        name: Recipe name, or a Python file that defines a recipe.

    Raises:
        UsageError: If the recipe is unknown.
    """
    from pushforward import recipes
    from pushforward.recipes.recipe import GROUPS

    recipe = recipes.named(own_name(name))
    keyword = inspect.Parameter.KEYWORD_ONLY
    hints = typing.get_type_hints(train, include_extras=True)
    shown = [part for part in inspect.signature(train).parameters.values() if part.kind is keyword]
    shown = [part.replace(annotation=hints[part.name]) for part in shown]
    for option in recipes.settings(recipe).values():
        place = GROUPS.index(option.group) if option.group in GROUPS else len(GROUPS)
        kind: Any = option.kind
        default = option.default
        if kind is bool:
            kind = Literal["yes", "no"]
            default = "yes" if default else "no"
        group = Group(f"{recipe.__name__}: {option.group or 'other options'}", sort_key=11 + place)
        parameter = Parameter(
            group=group, help=option.help, negative=(), show_default=default is not None
        )
        shown.append(
            inspect.Parameter(
                option.name, keyword, default=default, annotation=Annotated[kind, parameter]
            )
        )

    def function(**options: Any) -> None:
        return None

    function.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    function.__annotations__ = {part.name: part.annotation for part in shown}
    function.__doc__ = train.__doc__
    page = App(
        name=f"pushforward train {name}",
        help=first_line(recipe),
        help_format="markdown",
        help_flags=[],
        version_flags=[],
    )
    page.default(function)
    page.help_print([])


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a new folder with its runs if an error occurs before anything is saved."""
    from pushforward.training.runs.folder import LOCK, remove

    try:
        yield
    except BaseException:
        if not any(folder.glob("**/checkpoints/step_*")):
            for lock in sorted(folder.glob(f"**/{LOCK}"), key=lambda path: -len(path.parts)):
                remove(lock.parent)
        raise


def announce(trainer: Trainer) -> None:
    """Print what is trained: recipe, data, parameters and precision; also warnings about the data."""
    from pushforward.data.core.dataset import rare_classes, seen_in_training, shared_examples
    from pushforward.methods.method import parameters, training_only
    from pushforward.training.runs.provenance import leaks, sources_of

    method = trainer.method
    data = trainer.data
    content = trainer.content
    sampler = trainer.method.transport()
    sizes = {"parameters": parameters(sampler), **training_only(method, sampler)}
    facts = [
        f"{trainer.recipe.name} on {data.name} ({len(data.train):,} examples of shape {'x'.join(map(str, data.space.shape))})",
        *(kind.describe() for kind in method.space.conditions.values()),
        ", ".join(f"{name} {count:,}" for name, count in sizes.items() if count),
        *(part.replace("=", ": ", 1) for part in (content["asked"] or {}).get("frozen") or ()),
        *(f"starts from {name} instead of noise" for name in sorted(sources_of(method))),
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
    """Return notes on problems of a finished run, each with a remedy.

    Args:
        run: Finished run.
        examples: Number of training examples.
    """
    from pushforward.training.loop.budget import PASSES, STEPS, Budget
    from pushforward.training.monitor.alarms import lost
    from pushforward.training.runs.log import BETTER, best_of, in_words

    rows = run.losses()
    notes = []
    start = _start(run)
    alarm = lost(rows)
    guarded = any("coverage_ratio" in (row.get("health") or {}) for row in rows)
    if skipped := in_words(rows):
        notes.append(f"{skipped}. If there are many, use a lower --lr or --precision float32.")
    step = run.state["step"]
    passes = run.state["samples"] / max(1, examples)
    if not alarm and not guarded and (step < STEPS or passes < PASSES):
        few = f"{step:,} steps, {plain(passes, 2)} passes over the data: training was short, so samples may be poor"
        longer = Budget(**run.spec["budget"]).longer(step)
        notes.append(f"{few}. To continue: {resume_command(run.folder, run.spec)} {longer}")
    best = best_of(rows)
    if best is not None and best.step != best.last and best.quality <= BETTER * best.last_quality:
        notes.append(f"{best.sentence}. To use it: {run.folder}@best")
    if alarm and start:
        notes.append(f"this run gives the same samples as {start}. Use {start} instead")
    elif alarm:
        notes.append(alarm.rpartition("; ")[2])
    return notes


def _start(run: Run) -> str:
    """Return the folder of the run that `finish` started from if its weights are unchanged; otherwise empty."""
    if run.state.get("weights_step") != 0:
        return ""
    named = (run.spec.get("asked") or {}).get("frozen") or ()
    return next((word.partition("=")[2] for word in named if word.startswith("teacher=")), "")


def report_run(run: Run, as_json: bool, examples: int) -> None:
    """Print the summary of a training run and the next command; ``examples`` is the number of training examples."""
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
    if summary["trajectory_seconds"]:
        stored = f" and {summary['trajectory_seconds']:.1f} s for trajectories"
    else:
        stored = ""
    show(
        summary,
        as_json,
        lambda s: (
            f"{s['run']}: {s['step']:,} steps, {s['samples']:,} training examples, {s['seconds']:.1f} s{stored}"
        ),
    )
    for note in closing_notes(run, examples):
        say(f"{run.folder}: {note}")
    say(f"next: pushforward {_next(run)}{plugin_options(run.spec)}")


def _next(run: Run) -> str:
    """Return the next command: sample a model, or train one in the latent space of an autoencoder."""
    from pushforward.methods.autoencoders import PerceptualAutoencoder
    from pushforward.samples import usual_ending

    if isinstance(run.method, PerceptualAutoencoder):
        return f"train flow --latent {shlex.quote(str(run.folder))}"
    better = _start(run) or str(run.folder)
    return f"sample {shlex.quote(better)} --n 64 --out samples{usual_ending(run.space)}"


def report_needs(
    recipe: Recipe, data: Dataset, ends: Mapping[str, Any], sharing: Sharing, json: bool
) -> None:
    """Print what training would need (a dry run).

    Args:
        recipe: Recipe.
        data: Training data.
        ends: Budget, as arguments of `pushforward.fit`.
        sharing: Options for several processes.
        json: Whether to print JSON.
    """
    from pushforward.training import Budget
    from pushforward.training.estimates import plan

    needs = plan(
        recipe,
        data,
        Budget(**(ends or {"steps": PLANNED})),
        processes=sharing.devices or 1,
        sharded=sharing.shard,
    )
    show(
        {"recipe": recipe.name, "data": data.name, **needs.to_plain()},
        json,
        lambda _: _needed(recipe, data, needs),
    )


def _needed(recipe: Recipe, data: Dataset, needs: Any) -> str:
    rows = [
        [
            "processes",
            f"{needs.processes}{', each with a part of the weights' if needs.sharded else ''}",
        ],
        ["parameters", f"{needs.parameters:,}"],
        [
            "batch size",
            f"{needs.batch:,}; {needs.share:,} per process, {needs.part:,} per micro-batch; {needs.precision}",
        ],
        [
            "steps",
            f"{'limited by time' if needs.steps is None else f'{needs.steps:,}'}; {needs.steps_per_epoch:,.1f} per epoch",
        ],
        ["checkpoint", _size(needs.checkpoint)],
        ["memory per process", _size(needs.memory.total)],
    ]
    memory = {name: getattr(needs.memory, name) for name in _MEMORY}
    rows += [
        [f"  {_MEMORY[name]}", "unknown" if value is None else _size(value)]
        for name, value in memory.items()
        if value != 0
    ]
    head = f"{recipe.name} on {data.name}: dry run, nothing was trained or written"
    return f"{head}\n\n{columns(rows)}"


def _size(size: float) -> str:
    if size < 2**20:
        return f"{size / 2**10:,.1f} KiB"
    return f"{size / 2**20:,.1f} MiB"
