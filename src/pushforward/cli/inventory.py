"""The verbs list, doctor, data list, data check and data pack."""

from __future__ import annotations

import inspect
import os
import re
import shlex
from pathlib import Path
from typing import Any, Literal

from pushforward.cli.inputs import counting, data_file, device_of, load_plugins, options_of_reading
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
    columns,
    data_app,
    first_line,
    list_app,
    say,
    show,
)
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.numbers import clipped, percent, shortened, some
from pushforward.registries import EXTRACTORS, METRICS, RECIPES, SOLVERS

Listed = DataOption[Plugins]  # Plug-ins whose parts are listed too
EVERYTHING = 1000  # Factor for all limits with --full
# Limits: items of a fact, categories of a column; characters of a cell, a column's name, a category
_SHOWN = 12
_CATEGORIES = 4
_WIDE = 44
_NAME = 28
_TEXT = 16


@list_app.command(name="recipes")
def list_recipes(*, plugin: Listed = (), json: Json = False) -> None:
    """List the recipes."""
    from pushforward import recipes

    load_plugins(plugin)
    rows = {}
    for name, recipe in RECIPES.items():
        rows[name] = {"what": first_line(recipe), "settings": list(recipes.settings(recipe))}
    show(rows, json, _named)


@list_app.command(name="features")
def list_features(*, plugin: Listed = (), json: Json = False) -> None:
    """List the feature extractors."""
    load_plugins(plugin)
    rows = {}
    for name, part in EXTRACTORS.items():
        argument = next(iter(inspect.signature(part).parameters), None)
        rows[name] = {"what": first_line(part), "learns": part.learns, "argument": argument}
    show(rows, json, _named)


@list_app.command(
    name="solvers",
    help="List the solvers with their parameter (as in dpm:3), order, calls per step and default "
    "grid.",
)
def list_solvers(*, plugin: Listed = (), json: Json = False) -> None:
    """List the solvers with their properties."""
    load_plugins(plugin)
    rows = {}
    for name, part in SOLVERS.items():
        solver = part()
        parameter = next(iter(inspect.signature(part).parameters), None)
        rows[name] = {
            "number": {parameter: getattr(solver, parameter)} if parameter else None,
            "order": solver.order,
            "calls_per_step": None if solver.adaptive else solver.calls_per_step,
            "grid": solver.grid,
            "stochastic": solver.stochastic,
            "what": first_line(part),
        }
    show(rows, json, _solvers)


def _solvers(solvers: dict[str, Any]) -> str:
    rows = []
    for name, facts in solvers.items():
        for parameter, value in (facts["number"] or {}).items():
            name = f"{name}[:{parameter}={value:g}]"
        calls = facts["calls_per_step"] or "adaptive"
        order = f"order {facts['order']}"
        rows.append(
            [name, order, f"calls per step: {calls}", f"grid {facts['grid']}", facts["what"]]
        )
    return columns(rows)


@list_app.command(name="metrics")
def list_metrics(*, plugin: Listed = (), json: Json = False) -> None:
    """List the metrics with their scores."""
    from pushforward.evaluation.model_metrics import MODEL_METRICS

    load_plugins(plugin)
    rows = {}
    for name, metric in METRICS.items():
        rows[name] = {"what": first_line(metric), "scores": list(metric.scores)}
    for name, score in MODEL_METRICS.items():
        rows[name] = {"what": first_line(score), "scores": [name]}
    show(rows, json, _metrics)


def _metrics(metrics: dict[str, Any]) -> str:
    rows = []
    for name, facts in metrics.items():
        rows.append([name, ", ".join(facts["scores"]), facts["what"]])
    return columns(rows)


def _named(rows: dict[str, Any]) -> str:
    return columns([[name, row["what"]] for name, row in rows.items()])


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
    rows = [list(run) for run in runs[:1]]
    for run in runs:
        rows.append([str(value or "-") for value in run.values()])
    empty = f"no runs in {folder}. To train one: pushforward train flow --data digits --budget 60s"
    show(runs, json, lambda _: columns(rows) or empty)


def _run(path: Path) -> dict[str, Any]:
    from pushforward.files import read_json
    from pushforward.training.checkpoint.storage import latest, unfinished
    from pushforward.training.runs.folder import check_run

    row: dict[str, Any] = dict.fromkeys(("run", "recipe", "data", "checkpoint", "unfinished"))
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
    """Print devices, package versions and missing extras."""
    from importlib import metadata

    import torch

    from pushforward.denoisers.denoiser import resolve_precision
    from pushforward.training.loop.machine import machine

    installed = {}
    for distribution in metadata.distributions():
        installed[_canonical(distribution.metadata["Name"])] = distribution.version
    facts = {
        **machine(),
        "cuda": torch.cuda.is_available(),
        "best precision": resolve_precision("auto", device_of("auto")),
        "data folder": os.environ.get("PUSHFORWARD_DATA")
        or "~/.cache/pushforward (set PUSHFORWARD_DATA to change)",
    }
    packages = "torchvision numpy scipy scikit-learn pillow safetensors matplotlib cyclopts rich"
    for name in packages.split():
        facts[name] = installed.get(name) or f"missing: pip install {name}"
    needs: dict[str, list[str]] = {}
    if "pushforward" in installed:
        for requirement in metadata.requires("pushforward") or []:
            parts = re.match(r"([\w.-]+).*\bextra == ['\"]([\w.-]+)", requirement)
            if parts:
                needs.setdefault(parts[2], []).append(parts[1])
    for extra, names in needs.items():
        missing = ", ".join(name for name in names if _canonical(name) not in installed)
        if missing:
            facts[f"extra {extra}"] = f"missing {missing}: pip install 'pushforward[{extra}]'"
        else:
            facts[f"extra {extra}"] = "installed"
    show(facts, json, lambda rows: "\n".join(f"{name}: {value}" for name, value in rows.items()))


def _canonical(package: str) -> str:
    return package.lower().replace("_", "-")


@data_app.command(name="list")
def data_list(*, plugin: Listed = (), json: Json = False) -> None:
    """List the built-in data sets, and those of plug-ins."""
    from pushforward.data import listing

    load_plugins(plugin)
    rows = []
    sets = listing()
    for each in sets:
        rows.append([each["name"], "x".join(map(str, each["shape"])), each["what"]])
    show(sets, json, lambda _: columns(rows))


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

    try:
        with counting(data) as progress:
            report = check(
                data,
                out=out,
                against=against,
                write_schema=write_schema,
                progress=progress,
                **options_of_reading(reading),
            )
    except DataError as error:
        if json:
            show({"error": as_options(str(error)), "skipped": []}, json, str)
        raise
    refused = report["refused"]
    if refused:
        sentence = as_options(refused)
        report = {"error": sentence, **report, "refused": sentence}
    show(report, json, lambda report: _checked(report, full))
    if refused:
        raise DataError(refused.replace("; `pushforward data check` lists them all", ""))
    if write_schema is not None:
        say(
            f"{write_schema} contains the kind of each column. To use it after editing: "
            f"--schema {shlex.quote(write_schema)}"
        )
    if against is None:
        return
    changes = []
    for what, names in (report["changes"] or {}).items():
        if names:
            changes.append(f"{what}: {len(names):,}")
    if report["differs"]:
        changes.append("different fingerprint")
    if changes:
        raise DataError(
            f"{data} has changed since {against} was written ({', '.join(changes)}). "
            "Restore it, or write a new file with `out`."
        )
    say(f"{data} has not changed since {against} was written")


def _checked(report: dict[str, Any], full: bool) -> str:
    most = EVERYTHING if full else 1
    facts = dict(report)
    table = facts.pop("table", None)
    for name in ("error", "refused", *(("columns", "shape") if table else ())):
        facts.pop(name, None)
    header = facts.pop("header", None)
    changes = facts.pop("changes", None) or {}
    rows = []
    for name, value in facts.items():
        if value not in ([], {}, None, False):
            rows.append([name.replace("_", " "), as_options(_words(value, most * _SHOWN))])
    if header is not None:
        rows.append(["header", "first line" if header else "none"])
    for what, names in changes.items():
        if names:
            rows.append([f"files {what}", as_options(_words(names, most * _SHOWN))])
    text = columns(rows)
    if table:
        text = f"{text}\n{_table(table, most)}"
    if not full and ("…" in text or " more" in text):
        return f"{text}\n\nTo see everything, add --full"
    return text


def _words(value: Any, most: int) -> str:
    if isinstance(value, dict):
        return some((f"{name} {_words(inner, most)}" for name, inner in value.items()), most)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        lines = ""
        for row in value:
            cells = [f"{name}: {_words(inner, most)}" for name, inner in row.items()]
            lines += f"\n  {'; '.join(cells)}"
        return lines
    if isinstance(value, (list, tuple)):
        return some((_words(item, most) for item in value), most)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _table(table: dict[str, Any], most: int) -> str:
    missing = ", ".join(f'"{text}"' for text in table["missing_texts"])
    facts = []
    for name, value in (
        ("separator", table["separator"]),
        ("missing values", missing),
        ("target", table["target"]),
    ):
        if value:
            facts.append([name, value])
    facts += [["constraint", text] for text in table["constraints"]]
    facts += [["note", as_options(text)] for text in table["notes"]]
    head = "column", "kind", "training rows: values (fraction) or range"
    rows = [[*head, "all rows: missing", "examples", "reason"]]
    names = shortened([field["name"] for field in table["fields"]], most * _NAME)
    for name, field in zip(names, table["fields"], strict=True):
        content = clipped(_content(field, most), most * _WIDE)
        missing = percent(field["missing"]) if field["missing"] else ""
        examples = clipped(", ".join(field["examples"]), most * _WIDE)
        rows.append([name, field["kind"], content, missing, examples, field["why"]])
    return f"{columns(facts)}\n\n{columns(rows)}"


def _content(field: dict[str, Any], most: int) -> str:
    if "shares" in field:
        return _shares(field["shares"], most)
    content = " to ".join(field.get("range") or ())
    if field.get("atoms"):
        return f"{content}; often {_shares(field['atoms'], most)}"
    return content


def _shares(shares: dict[str, float], most: int) -> str:
    values = [f"{clipped(name, most * _TEXT)} ({percent(part)})" for name, part in shares.items()]
    return some(values, most * _CATEGORIES)


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
    size = sum(shard["bytes"] for shard in manifest["shards"]) / 2**20
    skipped = manifest["skipped"]
    images = f"{manifest['train']:,} training and {manifest['held_out']:,} held-out images"
    tars = f"{len(manifest['shards'])} tars, {size:,.1f} MB"
    line = f"{out}: {images} in {tars}. To train on them: --data {out}"
    if skipped:
        check = f"pushforward data check {shlex.quote(data)}"
        line += f". {skipped:,} image files were left out; see {check}"
    return line
