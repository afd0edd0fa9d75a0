"""The verbs that train one model: train, resume and distil; the loop around every training, and what is said of it."""

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
    MODEL,
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
    Epochs,
    Flag,
    Flops,
    Frozen,
    Json,
    ModelOption,
    Out,
    Overwrite,
    Plugins,
    Reading,
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
from pushforward.plugins import plugin_options
from pushforward.registries import own_name
from pushforward.runtime import launched

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.training import Run, Trainer

SHORTEST = 0.1  # Seconds of a part of training that is worth a word
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
Every = Annotated[
    int | None,
    Parameter(group=TRAINING, help="Steps between checkpoints; default every two minutes, or every quarter of a short budget."),
]


@app.command(group=TRAIN, sort_key=1)
def train(
    recipe: ModelOption[str],
    *,
    size: ModelOption[str] = "small",
    init: StartingOption[str | None] = None,
    latent: StartingOption[str | None] = None,
    teacher: StartingOption[str | None] = None,
    frozen: Frozen = (),
    plugin: StartingOption[Plugins] = (),
    data: DataOption[str | None] = None,
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Budgeting = NO_BUDGET,
    epochs: Epochs = None,
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
        seed: The seed of all random numbers.
        out: The run's folder; default runs/DATA-RECIPE.
        dry_run: Say what training will need in --devices, then end.
    """
    ends = amounts(budgeting, flops=flops, epochs=epochs)
    recipe = own_name(recipe)
    check_names(plugin, recipe=recipe, data=None if settings else data)  # wrong options are named first
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
    plugins = [*python_files(recipe), *others]
    start = None if init is None else load(init, plugins=plugins)
    check_free(None if overwrite or dry_run or launched().rank else out)
    loaded, where = examples(data, runs, reading, condition, plugins), device_of(device)
    chosen = recipe_of(recipe, loaded, size, values, changes, seed, runs, device=where, plugins=plugins)
    ends |= steps_for(ends.pop("flops"), chosen, loaded) if "flops" in ends else {}
    ends |= {"samples": samples_in(ends.pop("epochs"), loaded)} if "epochs" in ends else {}
    options = of_processes(sharing)
    if dry_run:
        return report_needs(chosen, loaded, ends, sharing, json)
    options |= {"out": out, "overwrite": overwrite, "seed": seed, "init": start, "plugins": plugins, "device": where, **ends}
    options |= {"augment": words(changes.augment), "checkpoint_every": checkpoint_every, "trackers": track}
    parts = [f"{name}={run}" for name, run in runs.items() if name != "latent"]
    more = {"latent": runs.get("latent"), "frozen": parts, "plugin": others}
    asked = asked_for(size, changes, values) | {name: value for name, value in more.items() if value}
    trainer = prepare(chosen, loaded, **options, asked=asked, progress=Progress())
    report_run(_begun(trainer), json, len(loaded.train))


def steps_for(flops: float, recipe: Recipe, data: Dataset) -> dict[str, int]:
    """The steps that so many floating point operations allow, which are said, as an option of `prepare`."""
    from pushforward.training.estimates import steps_within

    steps, each = steps_within(flops, recipe, data)
    say(f"{recipe.name}: a step takes {each:.3g} floating point operations, so {flops:g} allow {steps:,} steps")
    return {"steps": steps}


def _begun(trainer: Trainer, advice: str = "Start again with --overwrite", began: float = STARTED) -> Run:
    try:
        announce(trainer)
        (run,) = train_all([trainer], began=began)
        return run
    except KeyboardInterrupt:
        if trainer.clock.step:
            raise
        raise KeyboardInterrupt(f"no step of {trainer.folder} was done. {advice}") from None


def train_all(trainers: Sequence[Trainer], turn: float | None = None, began: float = STARTED) -> list[Run]:
    """Train until done or interrupted, one after the other or in turns; a signal to end saves and exits 130 or 75.

    Prints what the time was spent on.

    Args:
        trainers: One for each model.
        turn: Seconds of a turn; None trains one after the other.
        began: When this part of the command began, by `time.perf_counter`.
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
                say(f"{count} models train in turns of {turn:g} s; the time left of each is that of its own training")
            runs = train_in_turns(trainers, turn)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finished(trainer) for trainer in trainers]
    # of several processes one was given the signal, and all have stopped
    if (number := max((trainer.stop for trainer in trainers), default=0)) and not all(trainer.done for trainer in trainers):
        for trainer in trainers:
            if trainer.done:
                say(f"{trainer.folder} is finished, at step {trainer.clock.step:,}")
                continue
            again = f"{shlex.quote(str(trainer.folder))}{plugin_options(trainer.content)}"
            say(f"stopped and saved at step {trainer.clock.step:,}\nnext: pushforward resume {again}")
        raise SystemExit(130 if number == signal.SIGINT else 75)
    spent = {"in training steps": sum(trainer.clock.seconds for trainer in trainers) - before}
    for trainer in trainers:
        for what, seconds in trainer.spent.items():
            spent[what] = spent.get(what, 0.0) + seconds
    total = time.perf_counter() - began
    spent["starting and reading data"] = total - sum(spent.values())
    words = ", ".join(f"{duration(part, 2)} {what}" for what, part in spent.items() if part >= SHORTEST)
    if spent["in training steps"]:
        say(f"training took {duration(total, 2)}: {words}")
    return runs


def say_estimate(trainers: Sequence[Trainer], thorough: bool = False) -> None:
    """Print how long training takes, where budgets are in seconds, and how long measuring then takes."""
    left = [(trainer.budget.seconds or math.nan) - trainer.clock.seconds for trainer in trainers]
    ahead = sum(seconds for seconds in left if seconds > 0)
    training = f"training takes about {duration(ahead, 2)}; " if ahead and not any(map(math.isnan, left)) else ""
    most = "as long as it needs" if thorough else "about as long as training, or 30 s, at most"
    say(f"{training}measuring then takes {most}")


@app.command(group=TRAIN, sort_key=2)
def resume(
    run: RunFolder,
    *,
    budgeting: Budgeting = NO_BUDGET,
    start: Annotated[str | None, Parameter(name="--from", group=MODEL)] = None,
    fallback: ModelOption[Flag] = False,
    plugin: ModelOption[Plugins] = (),
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
    check_run(run)
    from pushforward.training import Progress
    from pushforward.training.api import reopen

    options: dict[str, Any] = {**ends, **of_processes(sharing), "checkpoint": start, "fallback": fallback, "plugins": plugin}
    trainer = reopen(run, **options, trackers=track or (), device=device_of(device), progress=Progress())
    say(_standing(run, trainer))
    (result,) = train_all([trainer])
    report_run(result, json, len(trainer.data.train))


def _standing(run: str, trainer: Trainer) -> str:
    step, total = f"step {trainer.clock.step:,}", trainer.clock.total
    if trainer.ended is not None:
        return f"{run} has ended by itself at {step}: {trainer.ended}"
    if trainer.done:
        return f"{run} is finished at {step} ({trainer.budget}); extend it with a larger {str(trainer.budget).split()[0]}"
    if not trainer.saved:
        return f"{run} was never saved: starting it from its first step"
    facts = [f"resuming {run} at {step}{f' of {total:,}' if total else ''}", "checkpoint verified", trainer.processes.words]
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

    The teacher is a flow, ddpm or edm, also a latent one; the student is a run of its own and can be sampled in any number of
    steps. Without a budget it takes as many training steps as its teacher. The settings
    of `train distil --help` are taken here as well; with --finish, also those of `train finish --help`. Example:
    `pushforward distil runs/digits-flow --budget 60s`

    Args:
        run: The teacher's folder.
        calls: Network calls for each sample, where sampling names no other number.
        data: Where the teacher's data is now, if it has moved; default where the teacher read it.
        finish: Then train it against a critic for so long, such as 10m, in a second run.
        seed: The seed of all random numbers.
        out: The student's folder; default runs/DATA-distil. The finished student's ends in -finished.
    """
    from pushforward import recipes
    from pushforward.training import Budget, Progress, load
    from pushforward.training.api import check_finish, finisher, student

    load_plugins(plugin, [run])
    options: dict[str, Any] = {**amounts(budgeting), "seed": seed, "plugins": plugin, "overwrite": overwrite}
    options |= {"device": device_of(device), "checkpoint_every": checkpoint_every, "progress": Progress(), "data": data}
    options |= {"trackers": track, **of_processes(sharing)}
    check_free(out if out and not overwrite and not launched().rank else None)
    known, further = (recipes.settings(recipes.named(name)) for name in ("distil", "finish"))
    names = {name: name.replace("-", "_") for name in settings}
    later = {name: settings.pop(name) for name, key in names.items() if finish and key in further and key not in known}
    own, of_finish = (
        settings_of("distil", settings, {*options_of("distil"), *(further if finish else ())} - {"calls"}),
        settings_of("finish", later),
    )
    seconds, teacher = None if finish is None else Budget.duration(finish), load(run, plugins=plugin)
    if seconds is not None:
        check_finish(teacher, out, overwrite, own, of_finish)
    changed = changes.of_training()
    trainer = student(teacher, calls=calls, settings=own, out=out, augment=words(changes.augment), **changed, **options)
    if seconds is None:
        return report_run(_begun(trainer), json, len(trainer.data.train))
    given = {"teacher": trainer.folder, "data": options.pop("data"), "budget": finish, **of_finish}
    given["out"] = f"{trainer.folder}-finished"
    typed = [word for name, value in given.items() if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]
    then = f"pushforward train finish {shlex.join(typed)}{plugin_options(trainer.content)}"
    try:
        result = _begun(trainer)
    except SystemExit:
        say(f"then: {then}")
        raise
    say(f"{result.folder}: {result.state['step']:,} steps; now against a critic ...")
    try:
        began = time.perf_counter()
        second = finisher(result, trainer.data, seconds, of_finish, **options)
        result = _begun(second, f"Its student is saved. To finish it: {then} --overwrite", began)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(*stop.args or [f"the student is saved. To finish it: {then}"]) from None
    report_run(result, json, len(trainer.data.train))


def print_recipe_help(name: str) -> None:
    """Print the help of `train` with a recipe's own options as panels of their own.

    Args:
        name: A recipe, or a Python file that holds one.

    Raises:
        UsageError: For an unknown recipe.
    """
    from pushforward import recipes
    from pushforward.recipes.recipe import GROUPS

    recipe, keyword = recipes.named(own_name(name)), inspect.Parameter.KEYWORD_ONLY
    hints = typing.get_type_hints(train, include_extras=True)
    shown = [part for part in inspect.signature(train).parameters.values() if part.kind is keyword]
    shown = [part.replace(annotation=hints[part.name]) for part in shown]
    for option in recipes.settings(recipe).values():
        place = GROUPS.index(option.group) if option.group in GROUPS else len(GROUPS)
        kind: Any = option.kind
        default = option.default
        if kind is bool:
            kind, default = Literal["yes", "no"], "yes" if default else "no"
        group = Group(f"{recipe.__name__}: {option.group or 'other options'}", sort_key=11 + place)
        parameter = Parameter(group=group, help=option.help, negative=(), show_default=default is not None)
        shown.append(inspect.Parameter(option.name, keyword, default=default, annotation=Annotated[kind, parameter]))

    def function(**options: Any) -> None:
        return None

    function.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    function.__annotations__ = {part.name: part.annotation for part in shown}
    function.__doc__ = train.__doc__
    page = App(name=f"pushforward train {name}", help=first_line(recipe), help_format="markdown", help_flags=[], version_flags=[])
    page.default(function)
    page.help_print([])


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a folder that the caller has just made, and the runs in it, if that fails before anything was saved."""
    from pushforward.training.runs.folder import LOCK, remove

    try:
        yield
    except BaseException:
        if not any(folder.glob("**/checkpoints/step_*")):
            for lock in sorted(folder.glob(f"**/{LOCK}"), key=lambda path: -len(path.parts)):
                remove(lock.parent)
        raise


def announce(trainer: Trainer) -> None:
    """Say what is about to be trained: recipe, data, parameters, precision; and on what it cannot be judged."""
    from pushforward.data.core.dataset import rare_classes, seen_in_training, shared_examples
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
    from pushforward.training.loop.budget import PASSES, STEPS
    from pushforward.training.monitor.alarms import lost
    from pushforward.training.runs.log import BETTER, best_of, in_words

    rows, notes, start = run.losses(), [], _start(run)
    alarm, guarded = lost(rows), any("coverage_ratio" in (row.get("health") or {}) for row in rows)
    if skipped := in_words(rows):
        notes.append(f"{skipped}. Where they are many, train with a lower --lr or --precision float32.")
    step, passes = run.state["step"], run.state["samples"] / max(1, examples)
    if not alarm and not guarded and (step < STEPS or passes < PASSES):
        few = f"{step:,} steps, {plain(passes, 2)} passes over the data: few, so samples will be poor"
        notes.append(f"{few}. Go on with: {extension(run)}")
    best = best_of(rows)
    if best is not None and best.step != best.last and best.quality <= BETTER * best.last_quality:
        notes.append(f"{best.sentence}: take it with --checkpoint best")
    if alarm and start and run.state.get("weights_step") == 0:
        notes.append(f"it samples as {start} does. Use {start} instead")
    elif alarm:
        notes.append(alarm.rpartition("; ")[2])
    return notes


def _start(run: Run) -> str:
    """The folder of the run that a finish started from, as it was named; empty where that is unknown."""
    named = (run.spec.get("asked") or {}).get("frozen") or ()
    return next((word.partition("=")[2] for word in named if word.startswith("teacher=")), "")


def extension(run: Run) -> str:
    """The command that continues a run with a larger budget of the kind that it has."""
    from pushforward.training import Budget

    budget = Budget(**run.spec["budget"]).longer(run.state["step"])
    return f"pushforward resume {shlex.quote(str(run.folder))} {budget}"


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
    from pushforward.samples import usual_ending

    folder, start = shlex.quote(str(run.folder)), shlex.quote(_start(run))
    if isinstance(run.method, PerceptualAutoencoder):
        return f"train flow --latent {folder}"
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
