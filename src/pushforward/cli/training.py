"""The verbs that train: train, resume, compare, demo."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.options import amounts, changes_of, device_of, recipe_of, source, words
from pushforward.cli.terminal import Condition, Flag, Plugins, Precision, app, columns, first_line, say, show
from pushforward.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.training import Run, Trainer

__all__ = ["compare", "demo", "recipe_help", "resume", "train"]

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

    with _interruptible(trainers) as got:
        if turns:
            runs = train_in_turns(trainers)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finished(trainer) for trainer in trainers]
    if got:
        for trainer in trainers:
            say(f"stopped and saved at step {trainer.clock.step:,}\nnext: pushforward resume {trainer.folder}")
        raise SystemExit(130 if got["signal"] == signal.SIGINT else 75)
    return runs


@app.command
def train(
    recipe: str,
    *,
    data: str = "digits",
    size: str = "small",
    steps: str | None = None,
    budget: str | None = None,
    samples: str | None = None,
    out: str | None = None,
    seed: int = 0,
    condition: Condition | None = None,
    target: str | None = None,
    resize: int | None = None,
    limit: int | None = None,
    augment: str = "",
    batch: int | None = None,
    accumulate: int | None = None,
    lr: float | None = None,
    ema: float | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    checkpoint_every: int | None = None,
    init: str | None = None,
    download: Flag = False,
    json: Flag = False,
    **settings: Settings,
) -> None:
    """Train a model: `pushforward train flow --data digits --budget 60s`.

    Args:
        recipe: flow, ddpm, edm, gan, vae, or a Python file that holds a recipe. `train RECIPE --help` adds its own settings.
        data: A name (`pushforward data list`), an image folder, or a .npz, .npy or .csv file.
        size: tiny, small or base.
        steps: Budget in steps, such as 5000 or 20k. Without any budget: 5000 steps.
        budget: Budget in seconds of training, such as 60s, 10m or 1.5h.
        samples: Budget in training samples, such as 1M.
        out: The run's folder; default runs/DATA-RECIPE.
        seed: Of everything random.
        condition: label (default where there are labels) or none.
        target: The .csv column that becomes the label.
        resize: Make images this wide and high.
        limit: Use at most this many training rows.
        augment: flip, shift or flip,shift.
        batch: Samples per step.
        accumulate: Parts into which a batch is split to save memory.
        lr: Learning rate.
        ema: Half-life of the averaged weights, in samples.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
        checkpoint_every: Steps between checkpoints; default every two minutes. The last step is always saved.
        init: A run whose weights to start from.
        download: Fetch a named set that is not there yet.
        json: Print the result as JSON.
    """
    from pushforward.training import Progress
    from pushforward.training.start import prepare

    ends = amounts(steps, budget, samples)
    loaded = source(data, target, resize, limit, download, condition)
    changes = changes_of(batch=batch, accumulate=accumulate, lr=lr, ema=ema, precision=precision)
    made = recipe_of(recipe, loaded, size, settings, changes, seed, inspect.signature(train).parameters)
    plugins = [recipe] if recipe.endswith(".py") else []
    trainer = prepare(
        made,
        loaded,
        **ends,
        out=out,
        seed=seed,
        init=init,
        plugins=plugins,
        device=device_of(device),
        augment=words(augment),
        checkpoint_every=checkpoint_every,
        progress=Progress(),
    )
    _announce(trainer)
    (run,) = train_all([trainer])
    _done(run, json)


def _announce(trainer: Trainer) -> None:
    counts = {name: sum(p.numel() for p in player.parameters) for name, player in trainer.players.items()}
    sizes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    labels = f"{len(trainer.method.space.classes)} classes" if trainer.method.space.classes else "no labels"
    say(
        f"{trainer.folder}: {trainer.recipe.name} on {trainer.data.name} ({len(trainer.data.train):,} rows of "
        f"{'x'.join(map(str, trainer.data.space.shape))}, {labels}); parameters: {sizes}; {trainer.precision}"
    )


def _done(run: Run, as_json: bool) -> None:
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
    ending = "png" if run.space.kind == "image" else "csv"
    say(f"next: pushforward sample {run.folder} --n 64 --out samples.{ending}")


@app.command
def resume(
    run: str,
    *,
    steps: str | None = None,
    budget: str | None = None,
    samples: str | None = None,
    start: Annotated[str | None, Parameter(name="--from")] = None,
    plugin: Plugins = (),
    device: str = "auto",
    json: Flag = False,
) -> None:
    """Go on with an interrupted run, exactly where it was; with a budget, extend a finished one.

    Args:
        run: The run's folder.
        steps: A new budget in steps, in all.
        budget: A new budget in seconds, in all.
        samples: A new budget in samples, in all.
        start: A checkpoint's name, such as step_000500; default the newest.
        plugin: The Python file that the run was trained with.
        device: auto, cpu, cuda or cuda:1.
        json: Print the result as JSON.
    """
    from pushforward.training import Progress
    from pushforward.training.start import reopen

    ends = amounts(steps, budget, samples)
    trainer = reopen(run, **ends, checkpoint=start, plugins=plugin, device=device_of(device), progress=Progress())
    if trainer.done:
        say(f"{run} is finished at step {trainer.clock.step:,}; extend it with --steps N")
    else:
        total = f" of {trainer.clock.total:,}" if trainer.clock.total else ""
        say(f"resuming {run} at step {trainer.clock.step:,}{total}; checkpoint verified")
    (result,) = train_all([trainer])
    _done(result, json)


@app.command
def compare(
    entrants: Annotated[tuple[str, ...], Parameter(negative=())],
    *,
    data: str | None = None,
    budget: str | None = None,
    steps: str | None = None,
    samples: str | None = None,
    size: str = "small",
    seeds: int = 1,
    seed: int = 0,
    repeats: int = 3,
    n: int | None = None,
    condition: Condition | None = None,
    target: str | None = None,
    resize: int | None = None,
    limit: int | None = None,
    augment: str = "",
    batch: int | None = None,
    lr: float | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    out: str | None = None,
    plugin: Plugins = (),
    download: Flag = False,
    json: Flag = False,
) -> None:
    """Train recipes under equal budgets, or take finished runs, and write one report about all.

    Args:
        entrants: Recipes (`gan vae ddpm flow`), Python files, or run folders; write ./gan for a folder of that name.
        data: The data set for entrants that are trained; default digits.
        budget: Seconds of training for each, such as 60s. Without any budget: 60s.
        steps: Steps for each, in place of seconds.
        samples: Training samples for each, in place of seconds.
        size: tiny, small or base.
        seeds: Trainings of each recipe, with seeds counted from --seed.
        seed: The first seed.
        repeats: Samplings of each model.
        n: Samples on either side; default as many as the held-out data allows.
        condition: label (default where there are labels) or none.
        target: The .csv column that becomes the label.
        resize: Make images this wide and high.
        limit: Use at most this many training rows.
        augment: flip, shift or flip,shift.
        batch: Samples per step.
        lr: Learning rate.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
        out: The folder for the report and the new runs; default runs/compare-DATA.
        plugin: Python files that finished runs were trained with.
        download: Fetch a named set that is not there yet.
        json: Print one JSON object and nothing else.
    """
    from pushforward import recipes
    from pushforward.report import compare as judge
    from pushforward.training import Progress, load
    from pushforward.training.run import free_folder
    from pushforward.training.start import prepare

    if not entrants:
        raise UsageError("Name at least one recipe or run, such as: pushforward compare gan vae ddpm flow --data digits")
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}.")
    fresh = [name for name in entrants if name in recipes.registry() or name.endswith(".py")]
    unknown = [name for name in entrants if name not in fresh and not Path(name).is_dir()]
    if unknown:
        hint = did_you_mean(unknown[0], recipes.registry())
        raise UsageError(f'"{unknown[0]}" is neither a recipe ({", ".join(recipes.registry())}) nor a run folder.{hint}')
    ends = amounts(steps, budget, samples, default="60s")
    loaded = source(data or "digits", target, resize, limit, download, condition) if fresh or data else None
    named = loaded.name if loaded is not None else "runs"
    folder = free_folder(out, named, "", under="runs/compare") if out else free_folder(None, f"compare-{named}", "report")
    models: dict[str, Any] = {}
    for name in (name for name in entrants if name not in fresh):
        run = load(name, plugins=plugin)
        models[run.name if run.name not in models else name] = run
    _check_models(models, loaded)
    changes = changes_of(batch=batch, lr=lr, precision=precision)
    progress = Progress()
    trainers = []
    for name in fresh:
        for number in range(seed, seed + seeds):
            assert loaded is not None
            made = recipe_of(name, loaded, size, {}, changes, number)
            own = made.name if seeds == 1 else f"{made.name}-{number}"
            trainer = prepare(
                made,
                loaded,
                **ends,
                out=folder / own,
                seed=number,
                plugins=[name] if name.endswith(".py") else [],
                device=device_of(device),
                augment=words(augment),
                progress=progress,
            )
            _announce(trainer)
            trainers.append(trainer)
    models |= {run.name: run for run in train_all(trainers, turns=True)}
    say("measuring: features, floors, scores, cost")
    command = " ".join(os.path.basename(part) if i == 0 else part for i, part in enumerate(sys.argv))
    spent = next((f"--{k} {v}" for k, v in {"budget": budget, "steps": steps, "samples": samples}.items() if v), "--budget 60s")
    report = judge(models, loaded, n=n, repeats=repeats, seeds=seeds, budget=spent if fresh else None, commands=[command])
    report.save_all(folder)
    show(report.content, json, lambda _: f"{folder}/report.html")


def _check_models(models: dict[str, Any], data: Dataset | None) -> None:
    """Refuse runs of other data before anything is trained."""
    from pushforward.evaluation.compare import check_model
    from pushforward.evaluation.judge import data_of

    if models:
        data = data if data is not None else data_of(next(iter(models.values())))
        for name, model in models.items():
            check_model(name, model, data)


@app.command
def demo(*, budget: str = "75s", out: str | None = None, seed: int = 0) -> None:
    """Train the four families on the embedded digits under one budget and write the report.

    Args:
        budget: Seconds of training for each family.
        out: The folder; default runs/compare-digits-report.
        seed: Of everything random.
    """
    compare(("gan", "vae", "ddpm", "flow"), data="digits", budget=budget, out=out, seed=seed)
    say("open the report in a browser; next: pushforward train flow --data ./your-images --resize 32")


def recipe_help(name: str) -> None:
    """Print a recipe's own settings below the verb's help."""
    from pushforward import recipes

    function = recipes.named(name)
    print(f"\nSettings of the recipe {name}: {first_line(function)}\n")
    about = _arguments(function.__doc__ or "")
    rows = []
    for key, parameter in recipes.settings(function).items():
        rows.append([f"  --{key.replace('_', '-')}", f"{about.get(key, '')} [default: {parameter.default}]"])
    print(columns(rows))


def _arguments(docstring: str) -> dict[str, str]:
    """Name -> text of a Google docstring's Args section."""
    found: dict[str, str] = {}
    inside, name = False, ""
    for line in docstring.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and (not line.strip() or not line.startswith("        ")):
            break
        elif inside and not line.startswith("            "):
            name, _, text = line.strip().partition(":")
            found[name] = text.strip()
        elif inside:
            found[name] += " " + line.strip()
    return found
