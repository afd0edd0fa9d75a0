"""The verbs list, doctor, data list, data check and data pack."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pushforward.cli.inputs import counting, data_file, load_plugins, options_of_reading
from pushforward.cli.options import (
    ALL_DATA,
    INSPECT,
    DataOption,
    Flag,
    Json,
    Out,
    OutputOption,
    Plugins,
    Reading,
    app,
    as_options,
    cell,
    data_app,
    first_line,
    list_app,
    listed,
    say,
    show,
    table,
)
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.numbers import clipped
from pushforward.registries import EXTRACTORS, METRICS, RECIPES, SOLVERS
from pushforward.runtime import device_named

Listed = DataOption[Plugins]  # Plug-ins whose parts are listed too
SHOWN = ("name", "kind", "range", "often", "missing", "examples", "why")  # Of each column
PACKAGES = (
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "safetensors",
    "matplotlib",
    "cyclopts",
    "rich",
)
ONE_BY_ONE = ("warnings", "notes", "constraints", "skipped", "converted")  # A line for each
# Characters of a value on the terminal, without and with --full
WIDTH = 100
EVERYTHING = 100_000


def _show_parts(parts: Mapping[str, dict[str, Any]], as_json: bool, *shown: str) -> None:
    rows = []
    for name, facts in parts.items():
        rows.append({"name": name, **{key: facts[key] for key in shown}})
    show(parts, as_json, lambda _: table(rows))


def _parameter(part: Any) -> str | None:
    return next(iter(inspect.signature(part).parameters), None)


@list_app.command(name="recipes")
def list_recipes(*, plugin: Listed = (), json: Json = False) -> None:
    """List the recipes."""
    from pushforward import recipes

    load_plugins(plugin)
    parts = {}
    for name, recipe in RECIPES.items():
        parts[name] = {"what": first_line(recipe), "settings": list(recipes.settings(recipe))}
    _show_parts(parts, json, "what")


@list_app.command(name="features")
def list_features(*, plugin: Listed = (), json: Json = False) -> None:
    """List the feature extractors."""
    load_plugins(plugin)
    parts = {}
    for name, part in EXTRACTORS.items():
        facts = {"what": first_line(part), "learns": part.learns, "argument": _parameter(part)}
        parts[name] = facts
    _show_parts(parts, json, "argument", "what")


@list_app.command(name="solvers")
def list_solvers(*, plugin: Listed = (), json: Json = False) -> None:
    """List the solvers with their parameter (as in dpm:3), order, calls per step and grid."""
    load_plugins(plugin)
    parts = {}
    for name, part in SOLVERS.items():
        solver = part()
        parameter = _parameter(part)
        parts[name] = {
            "number": {parameter: getattr(solver, parameter)} if parameter else None,
            "order": solver.order,
            "calls_per_step": None if solver.adaptive else solver.calls_per_step,
            "grid": solver.grid,
            "stochastic": solver.stochastic,
            "what": first_line(part),
        }
    _show_parts(parts, json, "number", "order", "calls_per_step", "grid", "what")


@list_app.command(name="metrics")
def list_metrics(*, plugin: Listed = (), json: Json = False) -> None:
    """List the metrics with their scores."""
    from pushforward.evaluation.model_metrics import MODEL_METRICS

    load_plugins(plugin)
    parts = {}
    for name, metric in METRICS.items():
        parts[name] = {"what": first_line(metric), "scores": list(metric.scores)}
    for name, score in MODEL_METRICS.items():
        parts[name] = {"what": first_line(score), "scores": [name]}
    _show_parts(parts, json, "scores", "what")


@list_app.command(name="runs")
def list_runs(folder: str = "runs", *, json: Json = False) -> None:
    """List the runs in a folder and its subfolders.

    Args:
        folder: Folder to search.

    Raises:
        UsageError: If the folder does not exist, unless it is the default.
    """
    if not Path(folder).is_dir() and folder != "runs":
        raise UsageError(f"{folder} is not a folder. Name a folder that contains runs.")
    runs = [_run(path) for path in sorted(Path(folder).glob("**/spec.json"))]
    empty = f"no runs in {folder}. To train one: pushforward train flow --data digits --budget 60s"
    show(runs, json, lambda _: table(runs) or empty)


def _run(path: Path) -> dict[str, Any]:
    from pushforward.files import read_json
    from pushforward.training.checkpoint.storage import latest, unfinished
    from pushforward.training.runs.folder import check_run

    row = dict.fromkeys(("run", "recipe", "data", "checkpoint", "unfinished"))
    row["run"] = str(path.parent)
    row["recipe"] = "cannot be read"
    try:
        check_run(path.parent)
        content = read_json(path)
        newest = latest(path.parent / "checkpoints")
        data = content.get("data") or {}
        row["data"] = data.get("name_or_path")
        row["recipe"] = content["recipe"]
    except (CheckpointError, OSError, AttributeError, KeyError, TypeError):
        return row
    if newest is not None:
        row["checkpoint"] = newest.name
        row["unfinished"] = unfinished(newest, content.get("budget") or {})
    return row


@app.command(group=INSPECT, sort_key=9)
def doctor(*, json: Json = False) -> None:
    """Print devices and package versions."""
    import torch

    from pushforward.denoisers.denoiser import resolve_precision
    from pushforward.training.loop.machine import machine, version

    facts = {
        **machine(),
        "cuda": torch.cuda.is_available(),
        "best precision": resolve_precision("auto", device_named("auto")),
        "data folder": os.environ.get("PUSHFORWARD_DATA")
        or "~/.cache/pushforward (set PUSHFORWARD_DATA to change)",
    }
    for name in PACKAGES:
        facts[name] = version(name) or f"missing: pip install {name}"
    show(facts, json, listed)


@data_app.command(name="list")
def data_list(*, plugin: Listed = (), json: Json = False) -> None:
    """List the built-in data sets, and those of plug-ins."""
    from pushforward.data import listing

    load_plugins(plugin)
    sets = listing()
    rows = [{name: each[name] for name in ("name", "shape", "what")} for each in sets]
    show(sets, json, lambda _: table(rows))


@data_app.command(name="check")
def data_check(
    data: DataOption[str],
    *,
    reading: Reading = ALL_DATA,
    plugin: Listed = (),
    out: Out = None,
    against: DataOption[str | None] = None,
    write_schema: OutputOption[str | None] = None,
    json: Json = False,
    full: OutputOption[Flag] = False,
) -> None:
    """Check data before training: read it, and print its contents and problems.

    Lists every unusable image file with the reason. The exit code is 3 if the data cannot be used
    for training, or has changed since an earlier check.

    Args:
        data: Data set: a name (`pushforward data list`), a folder of images or tars, a .tar, .npz,
            .npy or .csv file or another table, or a Python file that defines data. An .npz file
            contains x, and optionally label (or y), given, given_names, x_test, label_test and
            given_test.
        out: Write the data's fingerprint, and the size and sha256 of each file, to this new .json
            file.
        against: Compare the data with an earlier check, stored in this file by --out.
        full: Print all values, files and examples.
        write_schema: Write the kind of each column of a table to this new .json file, for editing
            and use with --schema.
    """
    load_plugins(plugin)
    data, _ = data_file(data, plugin)
    from pushforward.data import check

    with counting(data) as progress:
        report = check(
            data,
            out=out,
            against=against,
            write_schema=write_schema,
            progress=progress,
            **options_of_reading(reading),
        )
    show(report, json, lambda report: _checked(report, full))
    if report["refused"]:
        raise DataError(report["refused"])
    if write_schema is not None:
        say(
            f"{write_schema} contains the kind of each column. To use it after editing: "
            f"--schema {shlex.quote(write_schema)}"
        )
    if against is None:
        return
    changes = {what: len(names) for what, names in (report["changes"] or {}).items() if names}
    if changes or report["differs"]:
        raise DataError(
            f"{data} has changed since {against} was written "
            f"({cell(changes) or 'different fingerprint'}). Restore it, or write a new file with "
            "`out`."
        )
    say(f"{data} has not changed since {against} was written")


def _checked(report: dict[str, Any], full: bool) -> str:
    width = EVERYTHING if full else WIDTH
    facts = dict(report)
    for what, names in (facts.pop("changes", None) or {}).items():
        facts[f"files {what}"] = names
    content = facts.pop("table", None)
    if content:
        del facts["columns"], facts["shape"]
        facts |= {name: value for name, value in content.items() if name != "fields"}
        facts["missing_texts"] = [f'"{text}"' for text in content["missing_texts"]]
    shown = {}
    for name, value in facts.items():
        if name in ONE_BY_ONE:
            shown[name] = "".join(f"\n  {as_options(cell(item))}" for item in value)
        elif value:
            shown[name] = clipped(as_options(cell(value)), width)
    text = listed({name: value for name, value in shown.items() if value})
    if content:
        text = f"{text}\n\n{_columns(content['fields'], width // 2)}"
    if "…" in text:
        text = f"{text}\n\nTo see everything, add --full"
    return text


def _columns(fields: list[dict[str, Any]], width: int) -> str:
    rows = []
    for field in fields:
        often = field.get("shares") or field.get("atoms") or None
        facts = {**field, "range": field.get("range"), "often": often}
        rows.append({name: clipped(cell(facts[name]), width) for name in SHOWN})
    return table(rows)


@data_app.command(name="pack")
def data_pack(
    data: DataOption[str],
    *,
    out: OutputOption[str],
    encoding: OutputOption[Literal["png", "npy"]] = "png",
    per_tar: OutputOption[int] = 10_000,
    resize: DataOption[str | None] = None,
    download: DataOption[Flag] = False,
    stream: DataOption[Flag] = False,
    plugin: Listed = (),
    json: Json = False,
) -> None:
    """Pack images into tar files for faster reading.

    The tars have WebDataset's layout. Training on them (--data FOLDER) gives the same model as
    training on the images.

    Args:
        data: Data set: a name, a folder of images, a .tar, .npz or .npy file, or a Python file that
            defines data.
        out: New output folder.
        encoding: Format of the images: png is smaller, npy (plain pixels) is faster to read.
        per_tar: Number of images per tar.
        resize: Scale and crop images to this size: 64, or 48x64 (height x width).
        download: Download a built-in data set if it is missing.
        stream: Read images from disk one by one instead of all at once. Default for more than 4 GB
            of pixels.
    """
    load_plugins(plugin)
    data, _ = data_file(data, plugin)
    from pushforward.data import pack

    with counting(data) as progress:
        manifest = pack(
            data,
            out,
            encoding=encoding,
            per_tar=per_tar,
            resize=resize,
            download=download,
            stream=stream or None,
            progress=progress,
        )
    show(manifest, json, lambda content: _packed(out, content, data))


def _packed(out: str, manifest: dict[str, Any], data: str) -> str:
    text = (
        f"{out}: {manifest['train']:,} training and {manifest['held_out']:,} held-out images in "
        f"{len(manifest['shards'])} tars. To train on them: --data {out}"
    )
    if manifest["skipped"]:
        check = f"pushforward data check {shlex.quote(data)}"
        text += f". {manifest['skipped']:,} image files were left out; see {check}"
    return text
