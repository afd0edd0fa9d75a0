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
# Limits: items of a fact, categories of a column, and characters of a cell, a column's name and a category
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
    rows = {
        name: {"what": first_line(f), "settings": list(recipes.settings(f))}
        for name, f in RECIPES.items()
    }
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


@list_app.command(name="solvers")
def list_solvers(*, plugin: Listed = (), json: Json = False) -> None:
    """List the solvers with their parameter (as in dpm:3), order, calls per step and default grid."""
    load_plugins(plugin)
    rows = {}
    for name, part in SOLVERS.items():
        solver = part()
        arguments = list(inspect.signature(part).parameters)
        rows[name] = {
            "number": {arguments[0]: getattr(solver, arguments[0])} if arguments else None,
            "order": solver.order,
            "calls_per_step": None if solver.adaptive else solver.calls_per_step,
            "grid": solver.grid,
            "stochastic": solver.stochastic,
            "what": first_line(part),
        }
    show(rows, json, lambda rows: columns([_solver(name, row) for name, row in rows.items()]))


def _solver(name: str, row: dict[str, Any]) -> list[str]:
    if row["number"] is None:
        number = ""
    else:
        number = "[:{}={:g}]".format(*next(iter(row["number"].items())))
    calls = f"calls per step: {row['calls_per_step'] or 'adaptive'}"
    return [f"{name}{number}", f"order {row['order']}", calls, f"grid {row['grid']}", row["what"]]


@list_app.command(name="metrics")
def list_metrics(*, plugin: Listed = (), json: Json = False) -> None:
    """List the metrics with their scores."""
    from pushforward.evaluation.model_metrics import MODEL_METRICS

    load_plugins(plugin)
    rows = {
        name: {"what": first_line(metric), "scores": list(metric.scores)}
        for name, metric in METRICS.items()
    }
    rows |= {
        name: {"what": first_line(score), "scores": [name]} for name, score in MODEL_METRICS.items()
    }
    show(
        rows,
        json,
        lambda rows: columns(
            [[name, ", ".join(row["scores"]), row["what"]] for name, row in rows.items()]
        ),
    )


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
    rows = [_run(path) for path in sorted(Path(folder).glob("**/spec.json"))]
    head = [list(row) for row in rows[:1]]
    cells = [[str(value or "-") for value in row.values()] for row in rows]
    empty = f"no runs in {folder}. To train one: pushforward train flow --data digits --budget 60s"
    show(rows, json, lambda _: columns([*head, *cells]) or empty)


def _run(path: Path) -> dict[str, Any]:
    from pushforward.files import read_json
    from pushforward.training.checkpoint.storage import latest, unfinished
    from pushforward.training.runs.folder import check_run

    row: dict[str, Any] = dict.fromkeys(("run", "recipe", "data", "checkpoint", "unfinished"))
    row |= {"run": str(path.parent), "recipe": "cannot be read"}
    try:
        check_run(path.parent)
        content = read_json(path)
        newest = latest(path.parent / "checkpoints")
        row |= {
            "recipe": content["recipe"],
            "data": (content.get("data") or {}).get("name_or_path"),
        }
    except (CheckpointError, OSError, AttributeError, KeyError, TypeError):
        return row
    if newest is not None:
        row |= {
            "checkpoint": newest.name,
            "unfinished": unfinished(newest, content.get("budget") or {}),
        }
    return row


@app.command(group=INSPECT, sort_key=9)
def doctor(*, json: Json = False) -> None:
    """Print devices, package versions and missing extras."""
    from importlib import metadata

    import torch

    from pushforward.denoisers.denoiser import resolve_precision
    from pushforward.training.loop.machine import machine

    installed = {
        d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()
    }
    facts = {
        **machine(),
        "cuda": torch.cuda.is_available(),
        "best precision": resolve_precision("auto", device_of("auto")),
        "data folder": os.environ.get("PUSHFORWARD_DATA")
        or "~/.cache/pushforward (set PUSHFORWARD_DATA to change)",
    }
    packages = (
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
    facts |= {name: installed.get(name) or f"missing: pip install {name}" for name in packages}
    needs: dict[str, list[str]] = {}
    for requirement in (
        (metadata.requires("pushforward") or []) if "pushforward" in installed else []
    ):
        if parts := re.match(r"([\w.-]+).*\bextra == ['\"]([\w.-]+)", requirement):
            needs.setdefault(parts[2], []).append(parts[1])
    for extra, names in needs.items():
        missing = ", ".join(
            name for name in names if name.lower().replace("_", "-") not in installed
        )
        facts[f"extra {extra}"] = (
            f"missing {missing}: pip install 'pushforward[{extra}]'" if missing else "installed"
        )
    show(facts, json, lambda rows: "\n".join(f"{name}: {value}" for name, value in rows.items()))


@data_app.command(name="list")
def data_list(*, plugin: Listed = (), json: Json = False) -> None:
    """List the built-in data sets, and those of plug-ins."""
    from pushforward.data import listing

    load_plugins(plugin)
    show(
        listing(),
        json,
        lambda rows: columns(
            [[r["name"], "x".join(map(str, r["shape"])), r["what"]] for r in rows]
        ),
    )


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

    Lists every unusable image file with the reason. The exit code is 3 if the data cannot be used for training, or has changed
    since an earlier check.

    Args:
        data: Data set: a name (`pushforward data list`), a folder of images or tars, a .tar, .npz, .npy or .csv file or another
            table, or a Python file that defines data. An .npz file contains x, and optionally label (or y), given, given_names,
            x_test, label_test and given_test.
        out: Write the data's fingerprint, and the size and sha256 of each file, to this new .json file.
        against: Compare the data with an earlier check, stored in this file by --out.
        full: Print all values, files and examples.
        write_schema: Write the kind of each column of a table to this new .json file, for editing and use with --schema.
    """
    load_plugins(plugin)
    data, _ = data_file(data, plugin)
    from pushforward.data import check

    try:
        with counting(data) as progress:
            options: dict[str, Any] = {
                "out": out,
                "against": against,
                "write_schema": write_schema,
                "progress": progress,
            }
            report = check(data, **options_of_reading(reading), **options)
    except DataError as error:
        if json:
            show({"error": as_options(str(error)), "skipped": []}, json, str)
        raise
    refused = report["refused"] and as_options(report["refused"])
    show(
        {"error": refused, **report, "refused": refused} if refused else report,
        json,
        lambda report: _checked(report, full),
    )
    if refused:
        raise DataError(report["refused"].replace("; `pushforward data check` lists them all", ""))
    if write_schema is not None:
        say(
            f"{write_schema} contains the kind of each column. To use it after editing: --schema {shlex.quote(write_schema)}"
        )
    changes = [
        f"{what}: {len(names):,}" for what, names in (report["changes"] or {}).items() if names
    ]
    changes += ["different fingerprint"] * report["differs"]
    if against is not None and not changes:
        say(f"{data} has not changed since {against} was written")
    if changes:
        raise DataError(
            f"{data} has changed since {against} was written ({', '.join(changes)}). Restore it, or write a new file with `out`."
        )


def _checked(report: dict[str, Any], full: bool) -> str:
    most = EVERYTHING if full else 1
    table = report.get("table")
    hidden = ("error", "refused", "table", *(("columns", "shape") if table else ()))
    facts = {
        name: value
        for name, value in report.items()
        if name not in hidden and value not in ([], {}, None, False)
    }
    if report.get("header") is not None:
        facts["header"] = "first line" if report["header"] else "none"
    facts |= {
        f"files {what}": names
        for what, names in (facts.pop("changes", None) or {}).items()
        if names
    }
    text = columns(
        [
            [name.replace("_", " "), as_options(_words(value, most * _SHOWN))]
            for name, value in facts.items()
        ]
    )
    if table:
        text = f"{text}\n{_table(table, most)}"
    shortened = not full and ("…" in text or " more" in text)
    if shortened:
        return f"{text}\n\nTo see everything, add --full"
    return text


def _words(value: Any, most: int) -> str:
    """Format a fact: short numbers, counts such as "a 12, b 7", and one line per row of a list."""
    if isinstance(value, dict):
        return some((f"{name} {_words(inner, most)}" for name, inner in value.items()), most)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join(
            f"\n  {'; '.join(f'{name}: {_words(inner, most)}' for name, inner in row.items())}"
            for row in value
        )
    if isinstance(value, (list, tuple)):
        return some((_words(item, most) for item in value), most)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _table(table: dict[str, Any], most: int) -> str:
    """Format how a table was read, and each column's kind, content, missing fraction, examples and reason.

    The content is that of the training rows, as the model gets it; the missing fraction is that of all rows.
    """
    missing = ", ".join(f'"{text}"' for text in table["missing_texts"])
    facts = [
        ["separator", table["separator"]],
        ["missing values", missing],
        ["target", table["target"]],
    ]
    facts += [["constraint", text] for text in table["constraints"]] + [
        ["note", as_options(text)] for text in table["notes"]
    ]
    names = shortened([field["name"] for field in table["fields"]], most * _NAME)
    wide = most * _WIDE
    rows = [
        [
            "column",
            "kind",
            "training rows: values (fraction) or range",
            "all rows: missing",
            "examples",
            "reason",
        ]
    ]
    for name, field in zip(names, table["fields"], strict=True):
        share = percent(field["missing"]) if field["missing"] else ""
        examples = clipped(", ".join(field["examples"]), wide)
        rows.append(
            [
                name,
                field["kind"],
                clipped(_content(field, most), wide),
                share,
                examples,
                field["why"],
            ]
        )
    return f"{columns([fact for fact in facts if fact[1]])}\n\n{columns(rows)}"


def _content(field: dict[str, Any], most: int) -> str:
    if "shares" in field:
        return some(
            (
                f"{clipped(name, most * _TEXT)} ({percent(share)})"
                for name, share in field["shares"].items()
            ),
            most * _CATEGORIES,
        )
    atoms = some(
        (f"{name} ({percent(share)})" for name, share in (field.get("atoms") or {}).items()),
        most * _CATEGORIES,
    )
    return " to ".join(field.get("range") or ()) + (f"; often {atoms}" if atoms else "")


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

    The tars have WebDataset's layout. Training on them (--data FOLDER) gives the same model as training on the images.

    Args:
        data: Data set: a name, a folder of images, a .tar, .npz or .npy file, or a Python file that defines data.
        out: New output folder.
        encoding: Format of the images: png is smaller, npy (plain pixels) is faster to read.
        per_tar: Number of images per tar.
        resize: Scale and crop images to this size: 64, or 48x64 (height x width).
        download: Download a built-in data set if it is missing.
        stream: Read images from disk one by one instead of all at once. Default for more than 4 GB of pixels.
    """
    load_plugins(plugin)
    data, _ = data_file(data, plugin)
    from pushforward.data import pack

    options: dict[str, Any] = {
        "encoding": encoding,
        "per_tar": per_tar,
        "resize": resize,
        "download": download,
    }
    with counting(data) as progress:
        manifest = pack(data, out, **options, stream=stream or None, progress=progress)
    show(manifest, json, lambda content: _packed(out, content, data))


def _packed(out: str, manifest: dict[str, Any], data: str) -> str:
    size = sum(shard["bytes"] for shard in manifest["shards"]) / 2**20
    skipped = manifest["skipped"]
    images = f"{manifest['train']:,} training and {manifest['held_out']:,} held-out images"
    if skipped:
        hint = f". {skipped:,} image files were left out; see pushforward data check {shlex.quote(data)}"
    else:
        hint = ""
    return f"{out}: {images} in {len(manifest['shards'])} tars, {size:,.1f} MB. To train on them: --data {out}{hint}"
