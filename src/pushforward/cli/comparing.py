"""The verb that compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.announcing import announce, nothing_left
from pushforward.cli.compared import (
    check_models,
    check_reports,
    named_runs,
    possible_runs,
    shared_data,
    sorted_models,
    stored_results,
)
from pushforward.cli.early import check_data
from pushforward.cli.groups import (
    ALL_DATA,
    BUDGET,
    DATA,
    EVALUATION,
    MODEL,
    NO_CHANGES,
    NO_SWEEP,
    OUTPUT,
    TRAIN,
    TRAINING,
    Changes,
    Conditioned,
    Device,
    Features,
    Full,
    Json,
    Plugins,
    Reading,
    Sweeping,
    Track,
)
from pushforward.cli.loop import train_all
from pushforward.cli.parsing import (
    amounts,
    data_file,
    device_of,
    load_plugins,
    python_files,
    typed_options,
    words,
)
from pushforward.cli.planned import Plan, Planned, longest, report_folder, spent, steps_for
from pushforward.cli.reading import source
from pushforward.cli.terminal import app, command, say, show
from pushforward.cli.unfinished import Unfinished
from pushforward.errors import UsageError
from pushforward.plugins import plugin_options

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.evaluation import Comparison
    from pushforward.extractors import Spaces
    from pushforward.report import Report
    from pushforward.training import Run, Trainer

__all__ = ["compare"]


@app.command(group=TRAIN, sort_key=3)
def compare(
    models: Annotated[tuple[str, ...], Parameter(negative=(), group=MODEL)],
    *,
    size: Annotated[str | None, Parameter(group=MODEL)] = None,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Sweeping = NO_SWEEP,
    flops: Annotated[str | None, Parameter(group=BUDGET)] = None,
    changes: Changes = NO_CHANGES,
    seeds: Annotated[int | None, Parameter(group=TRAINING)] = None,
    seed: Annotated[int | None, Parameter(group=TRAINING)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 5,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    features: Features = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    track: Track = None,
    json: Json = False,
    full: Full = False,
    device: Device = "auto",
) -> None:
    """Compare recipes trained under one budget, or finished runs.

    The result is one report about all models. Without a budget each recipe trains for 60s. Reports are joined without scoring
    their models again, where all were scored alike (same data, n and features). Examples:
    `pushforward compare gan vae ddpm flow --data digits --budget 60s`,
    `pushforward compare runs/a-report runs/b-report`

    A sweep, `pushforward compare vae flow --data digits --budget 15s,30s,60s`, trains each recipe once for each of these times.
    The report says which recipe leads after which time, and draws quality against the time of training.

    Args:
        models: Recipes (`gan vae ddpm flow`), Python files, run folders, or reports (report.json or its folder); write ./gan
            for a folder of that name.
        size: Size of the networks: tiny, small or base; default small.
        data: The data set; default that of the runs that are named, else digits.
        flops: Budget in floating point operations of training steps: 1e15.
        seeds: Trainings of each recipe, with seeds counted from --seed; default 1.
        seed: The first seed; default 0.
        repeats: How often each model is sampled and scored.
        n: How many samples are compared with as many held-out examples; default as many as the data allows.
        out: The folder for the report and the new runs; default runs/compare-DATA-report.
    """
    data, files = _check(models, data, plugin)
    reports = stored_results(models)
    fresh, finished = sorted_models([name for name in models if name not in reports], len(reports))
    own = {**typed_options(budgeting), "--flops": flops, "--size": size, "--seeds": seeds, "--seed": seed}
    own |= typed_options(changes) | {"--track": track}
    _check_unused(fresh, finished, data, own, {**typed_options(replace(reading, download=False)), "--condition": condition})
    trainings = _trainings(seeds, repeats)
    if reports and not fresh and not finished:
        return _join(reports, {"--n": n, "--data": data}, out, json, full)
    budget, shorter = longest(budgeting)
    options = {**amounts(budget, default="60s", flops=flops), "device": device_of(device), "augment": words(changes.augment)}
    plan = Plan(changes, dict.fromkeys(fresh, size or "small"), trainings, seed or 0, shorter, files)
    runs = _loaded_runs(finished, files, out)
    loaded = shared_data(runs, data, lambda name: source(name, reading, condition))
    _check_protocol(reports, loaded, n, features)
    left, trained = _trained(plan, runs, loaded, out, options | {"trackers": track, "others": [*reports, *finished]})
    details = {"n": n, "repeats": repeats, "features": features, "seeds": trainings, "budget": spent(fresh, budgeting, flops)}
    sweep = plan.sweep(trained)
    with left.scored():
        _shown(_reported({**reports, **trained}, loaded, left.folder, details, sweep), left.folder, json, full)


def _check(models: Sequence[str], data: str | None, plugins: Plugins) -> tuple[str | None, Plugins]:
    """Refuse names that nothing has, load the plugins, and return the data's name and all files."""
    check_models(models, plugins)
    check_data(data, plugins)
    load_plugins(plugins, possible_runs(models), python_files(*models, data or ""))
    return (None, plugins) if data is None else data_file(data, plugins)


def _join(reports: Mapping[str, Comparison], unused: dict[str, Any], out: str | None, json: bool, full: bool) -> None:
    """One report of several, whose models are scored already."""
    _refuse(unused, "the models of reports are scored already")
    if len(reports) == 1:
        raise UsageError(
            f"{next(iter(reports))} is a report already, and there is nothing to compare it with: name a second report or more "
            "models. The report of a single run is written by pushforward report RUN."
        )
    check_reports(reports)
    folder = report_folder(out, next(iter(reports.values())).data.name)
    _shown(_reported(reports, None, folder, {}), folder, json, full)


def _check_protocol(reports: Mapping[str, Comparison], data: Dataset, n: int | None, features: Spaces) -> None:
    """Refuse, before anything is trained, what cannot be scored, and reports of another protocol than the models will have."""
    from pushforward.evaluation.scores import compared
    from pushforward.extractors import check_spaces

    compared(data, n)
    check_spaces(features, data)
    check_reports(reports, data)
    if not reports:
        return
    from pushforward.evaluation.evaluator import Judge
    from pushforward.evaluation.results import check_same

    first = next(iter(reports.values())).protocol
    new = Judge(data, (first.n if n is None else n) or 0, 1, spaces=features).comparison().protocol
    check_same([*((name, report.protocol) for name, report in reports.items()), ("the new models", new)])


def _shown(report: Report, folder: Path, json: bool, full: bool) -> None:
    show(report.comparison.to_plain() if json else None, json, lambda _: f"{report.to_text(full)}\n\n{folder}/report.html")


def _reported(
    models: Mapping[str, Run | Comparison],
    data: Dataset | None,
    folder: Path,
    options: dict[str, Any],
    sweep: Mapping[str, Sequence[Run]] | None = None,
) -> Report:
    """The report, which is written into the folder."""
    from pushforward.evaluation.comparison import compare as judge
    from pushforward.evaluation.curves import with_sweep
    from pushforward.report import Report

    if data is not None:
        say("measuring: features, floors, scores, cost")
        options = options | {"tell": say}
    comparison = judge(models, data, commands=[command()], **options)
    if sweep and data is not None:
        comparison = with_sweep(comparison, sweep, data, options["features"], say)
    report = Report(comparison)
    report.save_all(folder)
    return report


def _loaded_runs(finished: Sequence[str], plugin: Sequence[str], out: str | None) -> list[tuple[str, Run]]:
    """The finished runs by name, after the report's folder has been checked."""
    from pushforward.training import load

    if out:
        report_folder(out)
    return [(name, load(name, plugins=plugin)) for name in finished]


def _trained(
    plan: Plan, runs: Sequence[tuple[str, Run]], data: Dataset, out: str | None, options: dict[str, Any]
) -> tuple[Unfinished, dict[str, Any]]:
    """What is left where the comparison is interrupted, and the finished and the new runs by name."""
    from pushforward.evaluation.cost import TURN

    planned, others = plan.recipes(data), options.pop("others")
    if len(planned) + len(others) == 1:
        say("one model: it is compared with real data and a model without a network; to rank models, name several")
    models = named_runs(runs, [entry.folder for entry in planned])
    folder, trainers = _trainers(planned, data, out, options)
    left = Unfinished(folder, others, [t.folder for t in trainers], [plugin_options(t.content) for t in trainers])
    with left.trained():
        return left, models | {run.name: run for run in train_all(trainers, turn=TURN)}


def _trainers(planned: Sequence[Planned], data: Dataset, out: str | None, options: dict[str, Any]) -> tuple[Path, list[Trainer]]:
    """The report's folder and a trainer for each training.

    A folder for new runs is made at once, so that two comparisons cannot take one folder.
    """
    from pushforward.training import Progress
    from pushforward.training.api import prepare
    from pushforward.training.runs.folder import claim

    if not planned:
        return report_folder(out, data.name), []
    begun, options = claim(out, f"compare-{data.name}", "report"), options | {"progress": Progress()}
    flops = options.pop("flops", None)
    with nothing_left(begun.folder):
        trainers = []
        for entry in planned:
            own: dict[str, Any] = {
                "out": begun.folder / entry.folder,
                "seed": entry.seed,
                "plugins": entry.plugins,
                "asked": entry.settings,
            }
            own |= {} if entry.seconds is None else {"seconds": entry.seconds}
            own |= {} if flops is None else steps_for(flops, entry.recipe, data)
            trainers.append(prepare(entry.recipe, data, **options | own))
    for trainer in trainers:
        announce(trainer)
    return begun.folder, trainers


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


def _refuse(options: dict[str, Any], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be used here: {why}.")
