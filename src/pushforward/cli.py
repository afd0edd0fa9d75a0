"""The command line: one verb per library function, thin.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a bug, 2 usage, 3 data, 4 checkpoint or disk,
5 diverged, 6 out of memory, 7 a missing extra, 75 stopped by SIGTERM after saving, 130 by Ctrl-C after saving.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from pushforward.errors import PushforwardError, UsageError, did_you_mean

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.training import Run, Trainer

__all__ = ["app", "main"]

EXAMPLES = """pushforward trains, samples and compares generative models.

  pushforward demo                                     four families on the same digits, and a report
  pushforward train flow --data digits --budget 60s    train one model
  pushforward sample runs/digits-flow --n 64 --out digits.png
  pushforward compare gan vae ddpm flow --data digits --budget 60s
  pushforward train flow --data ./photos --resize 32   your own images (or a .csv, .npy, .npz)

  pushforward --help lists all verbs."""

Condition = Literal["label", "none"]
Precision = Literal["auto", "float32", "bfloat16"]
Plugins = Annotated[tuple[str, ...], Parameter(name="--plugin", negative_iterable=(), consume_multiple=False)]
Flag = Annotated[bool, Parameter(negative=())]
Settings = Annotated[str, Parameter(show=False)]


def _error(error: CycloptsError) -> str:
    return f"error: {error}"


app = App(
    name="pushforward",
    help="Train, sample and compare GANs, VAEs, diffusion models and flows behind one interface.",
    help_format="markdown",
    version_flags=["--version"],
    error_formatter=_error,
    result_action="return_value",
)
data_app = App(name="data", help="List data sources, or check one before training.")
list_app = App(name="list", help="List recipes, solvers, metrics or runs.")
app.command(data_app)
app.command(list_app)


def _check_models(models: dict[str, Any], data: Dataset | None) -> None:
    """Refuse runs of other data before anything is trained."""
    from pushforward.evaluation.compare import check_model
    from pushforward.evaluation.judge import data_of

    if models:
        data = data if data is not None else data_of(next(iter(models.values())))
        for name, model in models.items():
            check_model(name, model, data)


def _say(line: str = "") -> None:
    print(line, file=sys.stderr, flush=True)


def _print(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    print(json.dumps(value, indent=1, default=str) if as_json else text(value))


def _source(
    data: str, target: str | None, resize: int | None, limit: int | None, download: bool, condition: Condition | None
) -> Dataset:
    from pushforward.data import load

    options = {"target": target, "resize": resize, "limit": limit}
    given = {name: value for name, value in options.items() if value is not None}
    labelled = None if condition is None else condition == "label"
    loaded = load(data, **given, download=download, labelled=labelled)  # type: ignore[arg-type]
    notes = [f"skipped {name}: {why}" for name, why in loaded.skipped]
    notes += [f"converted {name}: {what}" for name, what in loaded.converted]
    for note in notes[:10]:
        _say(note)
    if len(notes) > 10:
        _say(f"... and {len(notes) - 10} more; see: pushforward data check {data}")
    return loaded


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


def _train(trainers: Sequence[Trainer], turns: bool = False) -> list[Run]:
    from pushforward.evaluation import train_in_turns
    from pushforward.training.trainer import finished

    with _interruptible(trainers) as got:
        if turns:
            runs = train_in_turns(trainers)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finished(trainer) for trainer in trainers]
    if got:
        for trainer in trainers:
            _say(f"stopped and saved at step {trainer.clock.step:,}\nnext: pushforward resume {trainer.folder}")
        raise SystemExit(130 if got["signal"] == signal.SIGINT else 75)
    return runs


def _training_changes(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _recipe(name: str, data: Dataset, size: str, settings: dict[str, str], changes: dict[str, Any], seed: int) -> Any:
    """The recipe with its own settings from the command line, checked by name and type, and training changes."""
    import dataclasses

    from pushforward import recipes
    from pushforward.training.trainer import seeded

    function = recipes.named(name)
    known = recipes.settings(function)
    values = {}
    for option, text in settings.items():
        key = option.replace("-", "_")
        if key not in known:
            hint = did_you_mean(f"--{option}", [*_options_of(train), *(f"--{name.replace('_', '-')}" for name in known)])
            raise UsageError(f"Unknown option --{option}.{hint} See: pushforward train {name} --help")
        values[key] = _converted(option, text, known[key].annotation)
    made = seeded(lambda: function(data.space, size, **values), seed)
    players = {p: {k: v for k, v in own.items() if k not in changes} for p, own in made.training.players.items()}
    return dataclasses.replace(made, training=dataclasses.replace(made.training, players=players, **changes))


def _options_of(function: Callable[..., Any]) -> list[str]:
    import inspect

    return [f"--{name.replace('_', '-')}" for name in inspect.signature(function).parameters]


def _converted(option: str, text: str, annotation: Any) -> Any:
    kinds = str(annotation).replace("'", "")
    for kind, make in (("int", int), ("float", float)):
        if kind in kinds and "str" not in kinds:
            try:
                return make(text)
            except ValueError:
                raise UsageError(f'--{option} needs a number, got "{text}".') from None
    return text


def _budget(steps: str | None, budget: str | None, samples: str | None, default: str | None = None) -> dict[str, Any]:
    from pushforward.training import Budget

    given = {
        "steps": None if steps is None else Budget.count(steps),
        "samples": None if samples is None else Budget.count(samples),
        "seconds": None if budget is None else Budget.duration(budget),
    }
    if all(value is None for value in given.values()) and default:
        given["seconds"] = Budget.duration(default)
    if sum(value is not None for value in given.values()) > 1:
        raise UsageError("Give only one budget: --steps, --samples or --budget.")
    return given


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("There is no CUDA device here; use --device cpu.")
    try:
        return str(torch.device(name))
    except RuntimeError:
        raise UsageError(f'Unknown device "{name}"; use auto, cpu, cuda or cuda:1.') from None


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
    from pushforward.training.trainer import prepare

    amounts = _budget(steps, budget, samples)
    loaded = _source(data, target, resize, limit, download, condition)
    changes = _training_changes(batch=batch, accumulate=accumulate, lr=lr, ema=ema, precision=precision)
    made = _recipe(recipe, loaded, size, settings, changes, seed)
    plugins = [recipe] if recipe.endswith(".py") else []
    trainer = prepare(
        made,
        loaded,
        **amounts,
        out=out,
        seed=seed,
        init=init,
        plugins=plugins,
        device=_device(device),
        augment=_words(augment),
        checkpoint_every=checkpoint_every,
        progress=Progress(),
    )
    _announce(trainer)
    (run,) = _train([trainer])
    _done(run, json)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(" ", "").split(",") if word)


def _announce(trainer: Trainer) -> None:
    counts = {name: sum(p.numel() for p in player.parameters) for name, player in trainer.players.items()}
    sizes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    labels = f"{len(trainer.method.space.classes)} classes" if trainer.method.space.classes else "no labels"
    _say(
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
    _print(summary, as_json, lambda s: f"{s['run']}: {s['step']:,} steps, {s['samples']:,} samples, {s['seconds']:.1f} s")
    ending = "png" if run.space.kind == "image" else "csv"
    _say(f"next: pushforward sample {run.folder} --n 64 --out samples.{ending}")


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
    from pushforward.training.trainer import reopen

    amounts = _budget(steps, budget, samples)
    trainer = reopen(run, **amounts, checkpoint=start, plugins=plugin, device=_device(device), progress=Progress())
    if trainer.done:
        _say(f"{run} is finished at step {trainer.clock.step:,}; extend it with --steps N")
    else:
        total = f" of {trainer.clock.total:,}" if trainer.clock.total else ""
        _say(f"resuming {run} at step {trainer.clock.step:,}{total}; checkpoint verified")
    (result,) = _train([trainer])
    _done(result, json)


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

    where = _device(device)
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
    _print(result, json, lambda r: r["out"])


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
    plugin: Plugins = (),
    json: Flag = False,
) -> None:
    """Score a run against held-out data, each number beside what real data scores.

    Args:
        run: The run's folder.
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings.
        metrics: Some of `pushforward list metrics`, separated by commas.
        plugin: The Python file that the run was trained with.
        json: Print one JSON object and nothing else.
    """
    from pushforward.evaluation import evaluate as judge

    content = judge(run, n=n, repeats=repeats, metrics=_words(metrics) or None, plugins=plugin)
    _print(content, json, _table)


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
    from pushforward.training.trainer import prepare

    if not entrants:
        raise UsageError("Name at least one recipe or run, such as: pushforward compare gan vae ddpm flow --data digits")
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}.")
    fresh = [name for name in entrants if name in recipes.registry() or name.endswith(".py")]
    unknown = [name for name in entrants if name not in fresh and not Path(name).is_dir()]
    if unknown:
        hint = did_you_mean(unknown[0], recipes.registry())
        raise UsageError(f'"{unknown[0]}" is neither a recipe ({", ".join(recipes.registry())}) nor a run folder.{hint}')
    amounts = _budget(steps, budget, samples, default="60s")
    loaded = _source(data or "digits", target, resize, limit, download, condition) if fresh or data else None
    named = loaded.name if loaded is not None else "runs"
    folder = free_folder(out, named, "", under="runs/compare") if out else free_folder(None, f"compare-{named}", "report")
    models: dict[str, Any] = {}
    for name in (name for name in entrants if name not in fresh):
        run = load(name, plugins=plugin)
        models[run.name if run.name not in models else name] = run
    _check_models(models, loaded)
    changes = _training_changes(batch=batch, lr=lr, precision=precision)
    progress = Progress()
    trainers = []
    for name in fresh:
        for number in range(seed, seed + seeds):
            assert loaded is not None
            made = _recipe(name, loaded, size, {}, changes, number)
            own = made.name if seeds == 1 else f"{made.name}-{number}"
            trainer = prepare(
                made,
                loaded,
                **amounts,
                out=folder / own,
                seed=number,
                plugins=[name] if name.endswith(".py") else [],
                device=_device(device),
                augment=_words(augment),
                progress=progress,
            )
            _announce(trainer)
            trainers.append(trainer)
    models |= {run.name: run for run in _train(trainers, turns=True)}
    _say("measuring: features, floors, scores, cost")
    words = " ".join(os.path.basename(part) if i == 0 else part for i, part in enumerate(sys.argv))
    spent = next((f"--{k} {v}" for k, v in {"budget": budget, "steps": steps, "samples": samples}.items() if v), "--budget 60s")
    report = judge(models, loaded, n=n, repeats=repeats, seeds=seeds, budget=spent if fresh else None, commands=[words])
    report.save_all(folder)
    _print(report.content, json, lambda _: f"{folder}/report.html")


@app.command
def demo(*, budget: str = "45s", out: str | None = None, seed: int = 0) -> None:
    """Train the four families on the embedded digits under one budget and write the report.

    Args:
        budget: Seconds of training for each family.
        out: The folder; default runs/compare-digits-report.
        seed: Of everything random.
    """
    compare(("gan", "vae", "ddpm", "flow"), data="digits", budget=budget, out=out, seed=seed)
    _say("open the report in a browser; next: pushforward train flow --data ./your-images --resize 32")


@data_app.command(name="list")
def data_list(*, json: Flag = False) -> None:
    """Name the data sources that are built in.

    Args:
        json: Print as JSON.
    """
    from pushforward.data import listing

    _print(listing(), json, lambda rows: _columns([[r["name"], "x".join(map(str, r["shape"])), r["what"]] for r in rows]))


@data_app.command(name="check")
def data_check(
    data: str,
    *,
    target: str | None = None,
    resize: int | None = None,
    limit: int | None = None,
    download: Flag = False,
    json: Flag = False,
) -> None:
    """Read a data source as training would and say what is in it.

    Args:
        data: A name, an image folder, or a .npz, .npy or .csv file.
        target: The .csv column that becomes the label.
        resize: Make images this wide and high.
        limit: Use at most this many training rows.
        download: Fetch a named set that is not there yet.
        json: Print as JSON.
    """
    from pushforward.data import check

    found = check(data, target=target, resize=resize, limit=limit, download=download)
    _print(found, json, lambda report: "\n".join(f"{name}: {value}" for name, value in report.items()))


@list_app.command(name="recipes")
def list_recipes(*, json: Flag = False) -> None:
    """Name the recipes and their settings.

    Args:
        json: Print as JSON.
    """
    from pushforward import recipes

    rows = {
        name: {"what": _first(function), "settings": list(recipes.settings(function))}
        for name, function in recipes.registry().items()
    }
    _print(rows, json, lambda found: _columns([[name, row["what"]] for name, row in found.items()]))


@list_app.command(name="solvers")
def list_solvers(*, json: Flag = False) -> None:
    """Name the solvers with their order and calls per step.

    Args:
        json: Print as JSON.
    """
    from pushforward import solvers

    rows = {}
    for name, part in solvers.registry().items():
        made = part()
        rows[name] = {
            "order": made.order,
            "calls_per_step": made.calls_per_step,
            "grid": made.grid,
            "stochastic": made.stochastic,
            "what": _first(part),
        }
    _print(
        rows,
        json,
        lambda found: _columns(
            [
                [n, f"order {r['order']}", f"{r['calls_per_step']} calls a step", f"grid {r['grid']}", r["what"]]
                for n, r in found.items()
            ]
        ),
    )


@list_app.command(name="metrics")
def list_metrics(*, json: Flag = False) -> None:
    """Name the metrics.

    Args:
        json: Print as JSON.
    """
    from pushforward import metrics

    rows = {name: {"what": _first(part), "scores": list(part.scores)} for name, part in metrics.registry().items()}
    _print(rows, json, lambda found: _columns([[n, ", ".join(r["scores"]), r["what"]] for n, r in found.items()]))


@list_app.command(name="runs")
def list_runs(folder: str = "runs", *, json: Flag = False) -> None:
    """Name the runs below a folder.

    Args:
        folder: Where to look.
        json: Print as JSON.
    """
    from pushforward.training.checkpoint import latest, read_json

    rows = []
    for path in sorted(Path(folder).glob("**/spec.json")):
        content, newest = read_json(path), latest(path.parent / "checkpoints")
        source = (content.get("data") or {}).get("name")
        rows.append(
            {
                "run": str(path.parent),
                "recipe": content.get("recipe"),
                "data": source,
                "checkpoint": newest.name if newest else None,
            }
        )
    _print(
        rows,
        json,
        lambda found: _columns([[str(v or "-") for v in row.values()] for row in found]) or f"no runs in {folder}",
    )


def _first(part: Any) -> str:
    return (part.__doc__ or "").strip().split("\n")[0]


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)] if rows else []
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


@app.command
def doctor(*, json: Flag = False) -> None:
    """Say what this machine offers and what is missing.

    Args:
        json: Print as JSON.
    """
    from importlib import metadata

    import torch

    from pushforward.precision import resolve_precision
    from pushforward.training.run import machine

    found = {
        **machine(),
        "cuda": torch.cuda.is_available(),
        "best precision": resolve_precision("auto", _device("auto")),
    }
    found["data folder"] = os.environ.get("PUSHFORWARD_DATA") or "~/.cache/pushforward (set PUSHFORWARD_DATA to change)"
    for name in (
        "torchvision",
        "numpy",
        "scipy",
        "scikit-learn",
        "pillow",
        "safetensors",
        "matplotlib",
        "cyclopts",
        "rich",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = f"missing: pip install {name}"
    _print(found, json, lambda rows: "\n".join(f"{name}: {value}" for name, value in rows.items()))


def _recipe_help(name: str) -> None:
    from pushforward import recipes

    function = recipes.named(name)
    print(f"\nSettings of the recipe {name}: {_first(function)}\n")
    about = _arguments(function.__doc__ or "")
    rows = []
    for key, parameter in recipes.settings(function).items():
        rows.append([f"  --{key.replace('_', '-')}", f"{about.get(key, '')} [default: {parameter.default}]"])
    print(_columns(rows))


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no traceback reaches a user.

    Set PUSHFORWARD_TRACEBACK=1 to see where an error came from.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = _run(words)
    if arguments is None:
        sys.exit(code)
    return code


def _run(words: list[str]) -> int:
    if not words:
        print(EXAMPLES)
        return 0
    try:
        app(words, exit_on_error=False)
        if len(words) > 1 and words[0] == "train" and not words[1].startswith("-") and {"--help", "-h"} & set(words):
            _recipe_help(words[1])
        return 0
    except CycloptsError:
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if os.environ.get("PUSHFORWARD_TRACEBACK"):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, PushforwardError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate memory" in str(error):
        _say(f"error: out of memory ({str(error).splitlines()[0]}). Use a smaller --batch, --accumulate 2 or --size tiny.")
        return 6
    _say(
        f"error: {type(error).__name__}: {error}\nThis is a bug in pushforward. PUSHFORWARD_TRACEBACK=1 shows where it happened."
    )
    return 1


if __name__ == "__main__":
    main()
