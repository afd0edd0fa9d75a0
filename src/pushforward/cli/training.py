"""The verbs that train one model: train and resume; and the loop around every training."""

from __future__ import annotations

import inspect
import shlex
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.options import (
    amounts,
    changes_of,
    check_plugins,
    device_of,
    plugin_options,
    recipe_of,
    settings_of,
    source,
    words,
)
from pushforward.cli.terminal import Condition, Flag, Frozen, Header, Plugins, Precision, app, columns, first_line, say, show

if TYPE_CHECKING:
    from pushforward.training import Run, Trainer

__all__ = ["announce", "asked_for", "nothing_left", "recipe_help", "resume", "train", "train_all"]

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
    if got:
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
    header: Header | None = None,
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
    latent: str | None = None,
    teacher: str | None = None,
    frozen: Frozen = (),
    plugin: Plugins = (),
    download: Flag = False,
    json: Flag = False,
    **settings: Settings,
) -> None:
    """Train a model: `pushforward train flow --data digits --budget 60s`.

    Args:
        recipe: A name (`pushforward list recipes`), or a Python file that holds one. `train RECIPE --help` adds its own settings.
        data: A name (`pushforward data list`), an image folder, or a .npz, .npy or .csv file.
        size: tiny, small or base.
        steps: Budget in steps: 5000, 20k or 2M. Without any budget: 5000 steps.
        budget: Budget in seconds of training, such as 60s, 10m or 1.5h.
        samples: Budget in training samples: 5000, 20k or 2M.
        out: The run's folder; default runs/DATA-RECIPE.
        seed: Of everything random.
        condition: label (default where there are labels) or none.
        target: The .csv column that becomes the label.
        header: Whether the first line of a .csv holds column names, yes or no; default: decided from what it holds.
        resize: Make images this wide and high.
        limit: Use at most this many training rows.
        augment: flip, shift, dequantise, or several: flip,shift.
        batch: Samples per step.
        accumulate: Parts into which a batch is split to save memory.
        lr: Learning rate.
        ema: Half-life of the averaged weights, in samples.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
        checkpoint_every: Steps between checkpoints; default every two minutes, or every quarter of a short budget.
            The last step is always saved.
        init: A run whose weights to start from.
        latent: A run of autoencoder, vae, hvae or vqvae, or a folder of diffusers' AutoencoderKL: train in its latent space.
        teacher: A run for a recipe that learns from one: short for --frozen teacher=RUN.
        frozen: NAME=RUN: a run for the frozen part of that name that the recipe takes. --frozen latent=RUN is --latent RUN.
        plugin: The Python file that the run of --init, --latent, --teacher or --frozen was trained with.
        download: Fetch a named set that is not there yet.
        json: Print the result as JSON.
    """
    from pushforward.training import Progress
    from pushforward.training.folders import free_folder
    from pushforward.training.start import prepare

    ends = amounts(steps, budget, samples)
    values = settings_of(recipe, settings, inspect.signature(train).parameters)
    own = [recipe] if recipe.endswith(".py") else []
    start = None if init is None else _start(init, [*own, *plugin])
    check_plugins(plugin)
    parts = _frozen_parts(frozen, latent=latent, teacher=teacher)
    others = [file for file in plugin if Path(file) not in map(Path, own)] if parts else []
    latent = parts.pop("latent", None)
    if out:
        free_folder(out, "", "")
    loaded = source(data, target, header, resize, limit, download, condition)
    changes = changes_of(batch=batch, accumulate=accumulate, lr=lr, ema=ema, precision=precision)
    where = device_of(device)
    made = recipe_of(recipe, loaded, size, values, changes, seed, latent, where, [*own, *others], parts)
    asked = asked_for(size, changes, values) | ({"latent": latent, "plugin": others or None} if latent or parts else {})
    if parts:
        asked["frozen"] = [f"{name}={run}" for name, run in parts.items()]
    trainer = prepare(
        made,
        loaded,
        **ends,
        out=out,
        seed=seed,
        init=start,
        plugins=[*own, *others],
        asked=asked,
        device=where,
        augment=words(augment),
        checkpoint_every=checkpoint_every,
        progress=Progress(),
    )
    announce(trainer)
    (run,) = train_all([trainer])
    _done(run, json)


def _frozen_parts(frozen: Sequence[str], **short: str | None) -> dict[str, str]:
    """Runs by the name of the part that they become; some names have an option of their own."""
    from pushforward.training.frozen import pairs_of

    return pairs_of([*frozen, *(f"{name}={run}" for name, run in short.items() if run is not None)])


def asked_for(size: str, changes: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """What was asked for beside the data, by option."""
    return {"size": size, **{name.replace("_", "-"): value for name, value in {**changes, **values}.items()}}


def _start(init: str, plugins: Sequence[str]) -> Run:
    from pushforward.training import load

    check_plugins(plugins)
    return load(init, plugins=plugins)


def announce(trainer: Trainer) -> None:
    """Say what is about to be trained: recipe, data, parameters, precision; and on what it cannot be judged."""
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
    for warning in (*leaks(seen, trainer.data), *shared_examples(trainer.data)):
        say(f"{trainer.folder}: warning: {warning}")


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
        steps: A new budget in steps, in all: 5000, 20k or 2M.
        budget: A new budget in seconds of training, in all, such as 60s, 10m or 1.5h.
        samples: A new budget in samples, in all: 5000, 20k or 2M.
        start: A checkpoint's name, such as step_000500; default the newest.
        plugin: The Python file that the run was trained with.
        device: auto, cpu, cuda or cuda:1.
        json: Print the result as JSON.
    """
    from pushforward.training import Progress
    from pushforward.training.start import reopen

    ends = amounts(steps, budget, samples)
    check_plugins(plugin)
    trainer = reopen(run, **ends, checkpoint=start, plugins=plugin, device=device_of(device), progress=Progress())
    if trainer.done:
        say(f"{run} is finished at step {trainer.clock.step:,}; extend it with --steps N")
    elif not trainer.saved:
        say(f"{run} was never saved: starting it from its first step")
    else:
        total = f" of {trainer.clock.total:,}" if trainer.clock.total else ""
        say(f"resuming {run} at step {trainer.clock.step:,}{total}; checkpoint verified")
    (result,) = train_all([trainer])
    _done(result, json)


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
