"""The verb compare, which trains recipes and writes one report on all models."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import (
    amounts,
    data_file,
    load_plugins,
    python_files,
    recipe_of,
    source,
    training_options,
    typed_options,
)
from pushforward.cli.options import (
    ALL_DATA,
    AT_LEAST_1,
    MODEL,
    NO_BUDGET,
    NO_CHANGES,
    TRAIN,
    TRAINING,
    Budgeting,
    Changes,
    Compared,
    Conditioned,
    DataOption,
    Device,
    Features,
    Flag,
    Flops,
    Full,
    Json,
    ModelOption,
    Out,
    OutputOption,
    Plugins,
    Reading,
    Repeats,
    Thorough,
    Track,
    TrainingOption,
    app,
    command,
    say,
    show_report,
    tell,
)
from pushforward.cli.training import announce, nothing_left, say_estimates, train_all
from pushforward.errors import UsageError, suggestion
from pushforward.registries import RECIPES, own_name

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.evaluation import Comparison
    from pushforward.extractors import Spaces
    from pushforward.report import Report
    from pushforward.training import Run, Trainer


SECONDS = 60.0  # Training time per recipe without a budget


@app.command(group=TRAIN, sort_key=3)
def compare(
    models: Annotated[tuple[str, ...], Parameter(negative=(), group=MODEL)],
    *,
    size: ModelOption[str | None] = None,
    plugin: ModelOption[Plugins] = (),
    data: DataOption[str | None] = None,
    condition: Conditioned = None,
    reading: Reading = ALL_DATA,
    budgeting: Budgeting = NO_BUDGET,
    flops: Flops = None,
    changes: Changes = NO_CHANGES,
    seeds: Annotated[int | None, Parameter(group=TRAINING, validator=AT_LEAST_1)] = None,
    seed: TrainingOption[int | None] = None,
    repeats: Repeats = None,
    n: Compared = None,
    thorough: Thorough = False,
    features: Features = None,
    out: Out = None,
    track: Track = None,
    json: Json = False,
    full: Full = False,
    live: OutputOption[Flag] = False,
    device: Device = "auto",
) -> None:
    """Compare recipes trained with the same budget, or finished runs.

    Writes one report on all models. Without a budget, each recipe trains for 60s. Reports with the
    same data, n and features are merged without scoring the models again. Examples:
    `pushforward compare gan vae ddpm flow --data digits --budget 60s`,
    `pushforward compare runs/a-report runs/b-report`

    Several budgets, such as `pushforward compare vae flow --data digits --budget 15s,30s,60s`,
    train each recipe once per budget. The report then plots quality against training time, and
    shows which recipe leads after each budget.

    Args:
        models: Recipes (`gan vae ddpm flow`), Python files, run folders or reports (report.json or
            its folder). For a folder named like a recipe, write ./gan.
        size: Network size: tiny, small or base. Default: small.
        data: Data set. Default: the data of the given runs, otherwise digits.
        seeds: Number of training runs per recipe, with consecutive seeds from --seed. Default: 1.
            Finished runs whose names differ only in the seed at the end, such as flow-0 and flow-1,
            become one row.
        seed: First seed. Default: 0.
        out: Folder for the report and the new runs. Default: runs/compare-DATA-report.
        live: Also write live.html, a page that runs the models in a browser.
    """
    models = tuple(map(own_name, models))
    from pushforward.training import load
    from pushforward.training.api import TURN

    load_plugins([*plugin, *python_files(*models, data or "")])
    files = plugin
    if data is not None:
        data, files = data_file(data, plugin)
    fresh, finished, reports = _sorted(models)
    budgets = {**typed_options(budgeting), "--flops": flops}
    if not fresh:
        settings = {**budgets, **typed_options(changes), "--size": size}
        _refuse(settings | {"--seed": seed, "--track": track}, "all models are already trained")
    if data is None and finished:
        read = typed_options(replace(reading, download=False)) | {"--condition": condition}
        _refuse(read, "the data of the runs is used. Choose other data with --data")
    if reports and not fresh and not finished:
        scored = {"--n": n, "--data": data, "--live": live or None}
        _refuse(scored, "the reports are already scored, and contain no models")
        return _join(reports, out, json, full, seeds or 1)
    if live:
        from pushforward.export.onnx_file import library

        library()
    longest, shorter = _sweep(budgeting)
    ends = amounts(longest, flops) or {"seconds": SECONDS}
    runs = [(name, load(name, plugins=files)) for name in finished]
    loaded = _shared_data(runs, data, reading, condition)
    _check_protocol(reports, loaded, n, features)
    first = seed or 0
    count = seeds or 1
    trainings = [(first, ends, "")]
    if count > 1:
        trainings = [(number, ends, f"-{number}") for number in range(first, first + count)]
    for seconds in shorter:
        trainings.append((first, {"seconds": seconds}, f"-{seconds:g}s"))
    folder, trainers = _trainers(
        fresh,
        loaded,
        out,
        trainings,
        size or "small",
        changes,
        files,
        device=device,
        trackers=track,
    )
    named = _named(runs, [trainer.folder.name for trainer in trainers])
    with _going_on(folder):
        trained = {}
        if trainers:
            say_estimates(trainers, thorough)
            trained = {run.name: run for run in train_all(trainers, turn=TURN)}
        points: dict[str, list[Run]] = {}
        for trainer in trainers:
            if trainer.budget.seconds in shorter:
                run = trained.pop(trainer.folder.name)
                points.setdefault(trainer.recipe.name, []).append(run)
        given = [f"{option} {value}" for option, value in budgets.items() if value]
        if fresh and not given:
            given = ["--budget 60s"]
        _report(
            {**reports, **named, **trained},
            loaded,
            folder,
            json,
            full,
            live,
            n=n,
            repeats=repeats,
            features=features,
            seeds=count,
            budget=" ".join(given) or None,
            thorough=thorough,
            shorter=points,
        )


def _sorted(models: Sequence[str]) -> tuple[list[str], list[str], dict[str, Comparison]]:
    from pushforward.evaluation.comparison import read_comparison
    from pushforward.evaluation.models import stored_file

    if len(set(models)) < len(models):
        raise UsageError(
            "A model is given twice. Specify each model once; to train a recipe several times, use "
            "--seeds N."
        )
    fresh = []
    finished = []
    reports = {}
    for name in models:
        known = name in RECIPES or name.endswith(".py")
        file = None if known else stored_file(name)
        if file is not None:
            reports[name] = read_comparison(file)
        elif known:
            fresh.append(name)
        elif Path(name).is_dir():
            finished.append(name)
        else:
            hint = suggestion(name, RECIPES)
            if not hint and name[:1] in "0123456789,":
                hint = " Write budgets without spaces, such as --budget 15s,30s."
            raise UsageError(
                f'"{name}" is not a recipe ({", ".join(RECIPES)}), a run folder or a report.{hint}'
            )
    return fresh, finished, reports


def _refuse(options: dict[str, Any], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be used here: {why}.")


def _join(
    reports: Mapping[str, Comparison], out: str | None, json: bool, full: bool, seeds: int
) -> None:
    name, first = next(iter(reports.items()))
    if len(reports) == 1:
        raise UsageError(
            f"{name} is a single report. Give more reports or models, or print it: "
            f"pushforward report {name}"
        )
    _check_reports(reports)
    _report(reports, None, _report_folder(out, first.data.name), json, full, seeds=seeds)


def _report_folder(out: str | None, data: str = "") -> Path:
    from pushforward.training.runs.folder import free_folder

    if out is None:
        return free_folder(None, f"compare-{data}", "report")
    if Path(out).exists():
        raise UsageError(f"{out} already exists. Choose another --out.")
    return Path(out)


def _sweep(budgeting: Budgeting) -> tuple[Budgeting, list[float]]:
    from pushforward.training import Budget

    if "," not in (budgeting.budget or ""):
        return budgeting, []
    seconds = sorted({Budget.duration(word) for word in str(budgeting.budget).split(",")})
    return replace(budgeting, budget=f"{seconds[-1]:g}s"), seconds[:-1]


def _shared_data(
    runs: Sequence[tuple[str, Run]], data: str | None, reading: Reading, condition: str | None
) -> Dataset:
    from pushforward.evaluation.models import check_model, data_of, most_informed

    if data or not runs:
        loaded = source(data or "digits", reading, condition)
    else:
        loaded = data_of(most_informed(dict(runs)))
    for name, run in runs:
        check_model(name, run, loaded)
    return loaded


def _check_protocol(
    reports: Mapping[str, Comparison], data: Dataset, n: int | None, features: Spaces
) -> None:
    from pushforward.evaluation.evaluator import Evaluator
    from pushforward.evaluation.results import check_same
    from pushforward.evaluation.scores import sample_count
    from pushforward.extractors import check_spaces

    sample_count(data, n)  # refuses an n that the data does not allow
    check_spaces(features, data)
    if not reports:
        return
    _check_reports(reports, data)
    protocols = [(name, report.protocol) for name, report in reports.items()]
    if n is None:
        n = protocols[0][1].n
    new = Evaluator(data, n or 0, 1, spaces=features).comparison()
    check_same([*protocols, ("the new models", new.protocol)])


def _check_reports(reports: Mapping[str, Comparison], data: Dataset | None = None) -> None:
    from pushforward.evaluation.results import check_same

    protocols = [(name, report.protocol) for name, report in reports.items()]
    check_same(protocols, [report.data.name for report in reports.values()])
    for name, report in reports.items():
        if data is not None and report.protocol.data != data.fingerprint:
            raise UsageError(
                f"The scores in {name} are for other data ({report.data.name}, not {data.name}). "
                "Compare models on the same data."
            )


def _named(runs: Sequence[tuple[str, Run]], fresh: Sequence[str]) -> dict[str, Any]:
    named = {}
    for given, run in runs:
        taken = run.name in fresh or run.name in named
        named[given if taken else run.name] = run
    return named


def _trainers(
    fresh: Sequence[str],
    data: Dataset,
    out: str | None,
    trainings: Sequence[tuple[int, dict[str, Any], str]],
    size: str,
    changes: Changes,
    files: Sequence[str],
    **options: Any,
) -> tuple[Path, list[Trainer]]:
    from pushforward.training import Progress
    from pushforward.training.api import prepare
    from pushforward.training.runs.folder import claim

    if not fresh:
        return _report_folder(out, data.name), []
    folder = claim(out, f"compare-{data.name}", "report").folder
    progress = Progress()
    trainers = []
    with nothing_left(folder):
        for name in fresh:
            shared = training_options(name, size, changes, files)
            for seed, budget, suffix in trainings:
                recipe = recipe_of(name, data, size, {}, changes, seed)
                trainer = prepare(
                    recipe,
                    data,
                    **shared,
                    **budget,
                    **options,
                    seed=seed,
                    out=folder / f"{recipe.name}{suffix}",
                    progress=progress,
                )
                trainers.append(trainer)
    for trainer in trainers:
        announce(trainer)
    return folder, trainers


@contextmanager
def _going_on(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if any(folder.glob("*/spec.json")):
            runs = shlex.quote(str(folder))
            say(
                "to write the report once all models are trained: "
                f"pushforward compare {runs}/* --out {runs}/report"
            )
        raise


def _report(
    models: Mapping[str, Run | Comparison],
    data: Dataset | None,
    folder: Path,
    json: bool,
    full: bool,
    live: bool = False,
    **options: Any,
) -> None:
    from pushforward.evaluation import compare as compare_models
    from pushforward.report import Report
    from pushforward.training import Run

    report = Report(compare_models(models, data, commands=[command()], tell=tell, **options))
    show_report(report, folder, json, full)
    if live:
        runs = {name: model for name, model in models.items() if isinstance(model, Run)}
        write_live_page(report, folder, runs)


LIVE = "live.html"  # Beside a report


def write_live_page(report: Report, folder: Path, runs: Mapping[str, Run]) -> None:
    """Write a page that runs models in a browser, and link it with their saved report."""
    from pushforward.export.files import showable
    from pushforward.export.page import write
    from pushforward.report import Report
    from pushforward.report.page import numbers
    from pushforward.report.statistics import named

    say("making a page that runs the models in a browser")
    transports = {}
    left_out = []

    def leave_out(line: str) -> None:
        say(line)
        left_out.append(line)

    for model in report.comparison.models:
        own = (model.trainings or (model,))[0].name
        if own in runs:
            transports[model.name] = runs[own].transport
        else:
            leave_out(
                f"{model.name} is not on the page: reports do not contain models. "
                "Name its run folder."
            )
    models = showable(transports, leave_out)
    if not models:
        return
    known = numbers(report.comparison, report.opening)
    for about, _ in models:
        about["number"] = known[about["name"]]
    names = named(about["name"] for about, _ in models)
    title = f"{names} on {report.comparison.data.name}"
    write(folder / LIVE, models, title, "report.html", left_out)
    Report(report.comparison, report.opening, LIVE).save(folder / "report.html")
    say(f"{folder}/{LIVE}")
