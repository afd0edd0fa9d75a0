"""The verbs of data: list, check and pack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pushforward.cli.advice import as_options
from pushforward.cli.groups import ALL_DATA, DATA, OUTPUT, Flag, Json, Reading
from pushforward.cli.listing import Listed
from pushforward.cli.parsing import data_file, load_plugins
from pushforward.cli.reading import counting, options_of_reading
from pushforward.cli.table_check import of_table
from pushforward.cli.terminal import columns, data_app, say, show
from pushforward.data.tables.parse_errors import some
from pushforward.errors import DataError

__all__ = ["data_check", "data_list", "data_pack"]

_SHOWN = 12
_NAMED = 5
"""Files that are named of each kind of change."""
_UNSHOWN = ("held_out_classes", "read_as", "changes", "differs", "refused")


@data_app.command(name="list")
def data_list(*, plugin: Listed = (), json: Json = False) -> None:
    """Name the data sets that are built in, and those of plug-ins."""
    from pushforward.data import listing

    load_plugins(plugin)
    show(listing(), json, lambda rows: columns([[r["name"], "x".join(map(str, r["shape"])), r["what"]] for r in rows]))


@data_app.command(name="check")
def data_check(
    data: Annotated[str, Parameter(group=DATA)],
    *,
    reading: Reading = ALL_DATA,
    plugin: Listed = (),
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    against: Annotated[str | None, Parameter(group=DATA)] = None,
    write_schema: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    json: Json = False,
) -> None:
    """Read a data source as training would and say what is in it.

    Of image files it lists every one that cannot be used, with the reason. The exit code is 3 where training would refuse the
    data, and where files have changed since an earlier check.

    Args:
        data: A name (`pushforward data list`), a folder of images or tars, a .tar, .npz, .npy or .csv file or another table, or
            a Python file that defines data. A .npz holds x, and where there are any label (or y), given and its columns'
            given_names, x_test, label_test and given_test.
        out: Write size and sha256 of each file to this new .json file, with the fingerprint of the data.
        against: Name the files that were added, removed or changed since an earlier check wrote this file, and other differences.
        write_schema: Write what was decided of each column of a table to this new .json file, to be edited and read: --schema.
    """
    load_plugins(plugin)
    data, _ = data_file(data, plugin)
    if reading.workers is not None:
        say("--workers has no effect on a check, which reads everything once")
    from pushforward.data import check

    try:
        with counting(data) as progress:
            options: dict[str, Any] = {"out": out, "against": against, "write_schema": write_schema, "progress": progress}
            report = check(data, **options_of_reading(reading), **options)
    except DataError as error:
        if json:
            show({"error": as_options(str(error)), "skipped": []}, json, str)
        raise
    show(_as_json(report) if json else report, json, _in_words)
    if write_schema is not None and not report["refused"]:
        say(f"{write_schema} says what each column holds: edit it, and read it with --schema {shlex.quote(write_schema)}")
    if report["refused"]:
        raise DataError(report["refused"].replace("; `pushforward data check` lists them all", ""))
    _refuse_changes(report, data, against)


def _refuse_changes(report: Mapping[str, Any], data: str, against: str | None) -> None:
    """Refuse data that differs from what an earlier check wrote.

    Raises:
        DataError: Saying in what.
    """
    changes = [f"{len(names):,} {what}" for what, names in (report["changes"] or {}).items() if names]
    changes += ["another fingerprint"] * report["differs"]
    if changes:
        raise DataError(f"{data} is not what {against} says: {', '.join(changes)}. Restore it, or write a new file: `out`.")


@data_app.command(name="pack")
def data_pack(
    data: Annotated[str, Parameter(group=DATA)],
    *,
    out: Annotated[str, Parameter(group=OUTPUT)],
    encoding: Annotated[Literal["png", "npy"], Parameter(group=OUTPUT)] = "png",
    per_tar: Annotated[int, Parameter(group=OUTPUT)] = 10_000,
    resize: Annotated[int | None, Parameter(group=DATA)] = None,
    download: Annotated[Flag, Parameter(group=DATA)] = False,
    stream: Annotated[Flag, Parameter(group=DATA)] = False,
    plugin: Listed = (),
    json: Json = False,
) -> None:
    """Pack images into uncompressed tars, which are read at random and train the same model, bit for bit.

    The tars are in WebDataset's layout, so that other tools read them. Train on them with --data FOLDER.

    Args:
        data: A name, a folder of images, a .tar, .npz or .npy file, or a Python file that defines data.
        out: The new folder; it appears when it is whole.
        encoding: png is small; npy, plain pixels, takes more space and is read faster.
        per_tar: Images in each tar.
        resize: Make images this wide and high.
        download: Fetch a named data set that is not there yet.
        stream: Leave images on disk while they are packed, as is usual for more than 4 GB of pixels.
    """
    load_plugins(plugin)
    data, _ = data_file(data, plugin)
    from pushforward.data import pack

    options: dict[str, Any] = {"encoding": encoding, "per_tar": per_tar, "resize": resize, "download": download}
    with counting(data) as progress:
        manifest = pack(data, out, **options, stream=stream or None, progress=progress)
    show(manifest, json, lambda content: _packed(Path(out), content, data))


def _packed(out: Path, manifest: dict[str, Any], data: str) -> str:
    """The report of packed images."""
    size = sum(shard["bytes"] for shard in manifest["shards"])
    images = f"{manifest['train']:,} training and {manifest['held_out']:,} held-out images"
    skipped = manifest["skipped"]
    files = f"{skipped:,} image file{'s' * (skipped != 1)} cannot be used and {'was' if skipped == 1 else 'were'} left out"
    hint = f". {files}: `pushforward data check {shlex.quote(data)}` lists the reasons." if skipped else ""
    tars = f"{len(manifest['shards'])} tars, {size / 2**20:,.1f} MB"
    return f"{out}: {images} in {tars}. Train on them: --data {out}{hint}"


def _as_json(report: dict[str, Any]) -> dict[str, Any]:
    """The report with the reason of a refusal as the command line says it, which is called its error."""
    refused = report["refused"]
    return report if refused is None else {"error": as_options(refused), **report, "refused": as_options(refused)}


def _in_words(report: dict[str, Any]) -> str:
    if (table := report.get("table")) is not None:
        rest = {name: value for name, value in report.items() if name not in ("table", "columns", "shape")}
        return f"{_in_words(rest)}\n{of_table(table)}"
    return columns([[name, _words(value)] for name, value in _for_people(report).items()])


def _for_people(report: dict[str, Any]) -> dict[str, Any]:
    """What a person is shown of a report: what there is, and what was taken as a table's header."""
    header = {True: "the first line", False: "none, the first line is data", None: None}[report.get("header")]
    held_out = report.get("held_out_classes")
    sides = {name: n if held_out is None else f"{n}/{held_out[name]}" for name, n in report["classes"].items()}
    labels = {"classes": "classes (train/held out)"} if sides and held_out is not None else {}
    facts = {labels.get(name, name): value for name, value in {**report, "classes": sides}.items() if name not in _UNSHOWN}
    facts |= {"header": header, "note": report.get("read_as") and as_options(report["read_as"])}
    facts |= {"copies": report.get("copies") and as_options(report["copies"])}
    facts |= {f"files {what}": _first(names) for what, names in (report["changes"] or {}).items()}
    if report["changes"] and not any(report["changes"].values()):
        facts["changes"] = "none"
    return {name: value for name, value in facts.items() if value not in ([], {}, False, None)}


def _first(names: list[str]) -> list[dict[str, str]]:
    """The first of many files, a line each, and how many more there are."""
    more = [f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return [{"line": line} for line in [*names[:_NAMED], *more]]


def _words(value: Any) -> str:
    """A fact as a person reads it: numbers short, counts as "a 12, b 7", files with their reasons on lines of their own."""
    if isinstance(value, dict):
        return some((f"{name} {count}" for name, count in value.items()), _SHOWN)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join(f"\n  {_row(row)}" for row in value)
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(row: dict[str, Any]) -> str:
    """A file with its reason, or copies of an image."""
    if "line" in row:
        return str(row["line"])
    if "reason" in row:
        return f"{row['file']}: {row['reason']}"
    more = f" and {row['copies'] - len(row['files'])} more" if row["copies"] > len(row["files"]) else ""
    return f"{', '.join(row['files'])}{more}"
