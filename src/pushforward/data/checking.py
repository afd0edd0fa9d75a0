"""A plain report of a data set: `check`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from pushforward.arguments import refuse_unknown
from pushforward.data.census import Census, RefusedError
from pushforward.data.class_counts import class_counts, rare_classes
from pushforward.data.dataset import Dataset
from pushforward.data.file_hashes import Files, Record, compared, differences, file_hashes, read_hashes, write_hashes
from pushforward.data.packed import Packed, manifest_differences, packed_in
from pushforward.data.seen import shared_examples
from pushforward.data.sources import LoadOptions, names, read, stated
from pushforward.data.spaces import TableSpace
from pushforward.data.streamed import content_hashes
from pushforward.data.tables.facts import TableFacts
from pushforward.data.tables.frames import is_frame
from pushforward.data.tables.schema import schema_of, write_schema
from pushforward.errors import UsageError

__all__ = ["CheckOptions", "check"]

_GROUPS, _NAMED = 5, 5
_TOGETHER = "up to 20 equal rows are kept on one side of the split (`copies=apart`: each is split by itself)"
_APART = "each row is split by itself, as in a survey; one that was written twice cannot be told from it (`copies=together`)"


class CheckOptions(LoadOptions, total=False):
    """The options of `check`, beside those of `load`.

    Args:
        out: a new file, into which size and sha256 of each file of the source are written, as JSON, with its name, the data's
            fingerprint, and the options that it was read with.
        against: a file that an earlier check wrote; files that were added, removed or changed since are named, and what else
            differs of the data.
        write_schema: a new file, into which the schema of a table is written: what was decided of each column, to be edited.
    """

    out: str | os.PathLike[str] | None
    against: str | os.PathLike[str] | None
    write_schema: str | os.PathLike[str] | None


def check(name_or_path: Any, **options: Unpack[CheckOptions]) -> dict[str, Any]:
    """Read all data as training would, and report on it; also on a folder of images that training would refuse.

    Args:
        name_or_path: as for `load`.
        options: out, against and write_schema (`CheckOptions`), and those of `load`.

    Returns:
        A plain dict: that of `Dataset.describe`, with ``classes`` and ``held_out_classes`` as {name: number of examples},
        ``range`` (lowest, highest value in data units), ``mean`` and ``std`` per channel or column, ``constant`` columns,
        ``integer`` columns, ``header`` (of a table: whether its first line was taken as column names; else None), ``repeated``
        (held-out examples that are also training examples, which only those of many copies are), ``repeats`` (examples of both
        splits that are copies of an earlier one), ``removed`` (training examples left out because they equal a held-out one),
        ``copies`` (of a table: how equal rows are split, a sentence; else None),
        ``read_as`` (a sentence on a file that may be read in two ways: how it was taken, and how to get the other; else None),
        ``warnings`` (sentences, where held-out examples are training examples or classes have few), ``skipped`` and ``converted``
        as lists of {file, reason}, and ``ignored``.

        Of a table of mixed types: ``table``, with ``rows``, ``separator``, ``missing_texts``, ``target``, ``constraints``,
        ``notes``, and ``fields``, a dict for each column of the file: name, kind ("left out" for one that is not used), range
        (as it is written) and atoms (shares of values that are frequent) of numbers, categories (how many) and their shares, all
        four of the training rows, missing (share of the cells of all rows without a value), examples, and why. Units of
        coordinates are left out.

        Of image files: ``files`` (how many there are), ``sizes`` and ``modes`` as {name: number of files}, such as
        {"64 x 48": 100} (height x width, before scaling) and {"RGB": 99, "CMYK": 1}, the most frequent first, and ``duplicates``:
        up to five of the groups of files with the same pixels, as {files, copies, split}; ``more_duplicates`` says how many
        further groups there are. ``in_several_classes``: up to five of these groups whose files are in different classes, with
        ``classes``, the names of these; ``more_in_several_classes``. ``refused`` is the reason why training
        would refuse them, else None; then ``classes`` counts files, and what needs a data set is left out. ``changes`` has what
        was ``added``, ``removed`` and ``changed`` since the earlier check, and ``differs`` what else is another one, as {name:
        [then, now]}: ``source``, ``fingerprint`` and options of `load`; without ``against`` both are None. ``written``
        is the file that was written, else None; its fingerprint is null where training would refuse the data.

    Raises:
        UsageError, DataError: as for `load`, but not for image files that training would refuse; a file `out` that is there.
        CheckpointError: if the disk refuses.
    """
    refuse_unknown(options, CheckOptions, "data.check")
    out, against = options.get("out"), options.get("against")
    if out is not None and Path(out).exists():
        raise UsageError(f"{os.fspath(out)} is there already. Choose another `out`, or remove it yourself.")
    known, schema = None if against is None else read_hashes(Path(against)), options.get("write_schema")
    loading: Any = {name: value for name, value in options.items() if name not in ("out", "against", "write_schema")}
    try:
        data = read(name_or_path, loading, census=True)
        report = _of_data(data) | {"refused": None}
        if schema is not None:
            _write_schema(Path(schema), data)
    except RefusedError as error:
        report = _of_refused(os.fspath(name_or_path), error)
    report |= {"changes": None, "differs": None, "written": None}
    if is_frame(name_or_path):
        return report
    path = Path(name_or_path).expanduser()
    packed = packed_in(path) if path.is_dir() and os.fspath(name_or_path) not in names() else None
    if out is not None or known is not None or packed is not None:
        files = file_hashes(path, options.get("progress"))
        if packed is not None:
            fingerprint = None if _is_part(loading) else report.get("fingerprint")
            report["refused"] = _not_as_packed(packed, files, fingerprint) or report["refused"]
        now = Record(os.fspath(name_or_path), report.get("fingerprint"), stated(loading), files)
        if known is not None:
            report |= {"changes": compared(known.files, files), "differs": differences(known, now)}
        if out is not None:
            write_hashes(Path(out), now)
            report["written"] = os.fspath(out)
    return report


def _not_as_packed(packed: Packed, files: Files, fingerprint: str | None) -> str:
    """In what packed images differ from their manifest; empty where they do not."""
    digests = {str(shard["file"]): str(shard.get("sha256")) for shard in packed.manifest["shards"]}
    differing = [name for name, digest in digests.items() if files.get(name, {}).get("sha256") != digest]
    if differing:
        return (
            f"{', '.join(differing)} in {packed.folder} differ{'s' * (len(differing) == 1)} from manifest.json: the sha256 is "
            "another than when the images were packed. Restore the tars, or pack the images again."
        )
    wrong = manifest_differences(packed, fingerprint)
    more = f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
    return f"In {packed.folder} {wrong[0]}{more}. Restore these files, or pack the images again." if wrong else ""


def _is_part(loading: LoadOptions) -> bool:
    """Whether the options of `load` leave out or change some of the data."""
    return any(loading.get(name) not in (None, ()) for name in ("resize", "limit", "labelled"))


def _of_data(data: Dataset) -> dict[str, Any]:
    """The report of data that training takes."""
    space, x = data.space, data.train.x
    counts = class_counts(data)
    hashes, held_out = content_hashes(x), content_hashes(data.held_out.x)
    report = {
        **data.describe(),
        "classes": {name: train for name, (train, _) in counts.items()},
        "held_out_classes": {name: held_out for name, (_, held_out) in counts.items()},
        "range": _range(x),
        "mean": list(space.units.get("mean", ())),
        "std": list(space.units.get("std", ())),
        "constant": [_column(space.columns, i) for i in _constant(x)] if len(space.shape) == 1 else [],
        "integer": [_column(space.columns, i) for i in space.integer],
        "header": data.header,
        "read_as": data.read_as or None,
        "copies": {True: _APART, False: _TOGETHER, None: None}[data.apart],
        "repeated": int(np.isin(held_out, hashes).sum()),
        "repeats": len(x) + len(held_out) - len(np.unique(np.concatenate([hashes, held_out]))),
        "warnings": [*shared_examples(data), *rare_classes(data)],
        "skipped": _listed(data.skipped),
        "converted": _listed(data.converted),
        "ignored": data.ignored,
    }
    if data.table is not None and isinstance(space, TableSpace):
        units = ("range", "mean", "std", "constant", "integer", "binary", "classes", "held_out_classes")
        report |= {"table": _of_table(data.table, space), "columns": list(space.names)}
        return {name: value for name, value in report.items() if name not in units} | {"classes": {}}
    if data.census is None:
        return report | {"warnings": [*report["warnings"], *_several(_contradictions(data))]}
    report |= _of_files(data.census, len(data.skipped), data)
    several = len(report["in_several_classes"]) + report["more_in_several_classes"]
    return report | {"warnings": [*report["warnings"], *_several(several)]}


def _of_table(table: TableFacts, space: TableSpace) -> dict[str, Any]:
    """What is reported of a table of mixed types."""
    stated = {"target": space.target or None, "constraints": [constraint.text for constraint in space.constraints]}
    return {"rows": table.rows, **table.layout, **stated, "notes": list(table.notes), "fields": table.columns(space.fields)}


def _write_schema(path: Path, data: Dataset) -> None:
    if data.table is None or not isinstance(data.space, TableSpace):
        raise UsageError(
            f"`write_schema` is for tables of mixed types, and {data.name} is read as {data.space.noun}s. A .csv of numbers is "
            "read as a table with `table=True`."
        )
    constraints = [constraint.text for constraint in data.space.constraints]
    write_schema(path, schema_of(data.table, data.space.target, constraints))


def _of_refused(name: str, error: RefusedError) -> dict[str, Any]:
    """The report of image files that training would refuse."""
    census = error.census
    repeats = len(census.files) - len(np.unique(census.hashes))
    report = {"name": name, "refused": str(error), "classes": census.classes, **_of_files(census, len(error.skipped))}
    return {**report, "repeats": repeats, "skipped": _listed(error.skipped)}


def _of_files(census: Census, skipped: int, data: Dataset | None = None) -> dict[str, Any]:
    """What is reported of image files."""
    sizes = Counter(f"{height} x {width}" for height, width in census.sizes.tolist())
    groups = list(_copies(census))
    labels = census.labels if data is None or data.space.classes else None
    mixed = [] if labels is None else [group for group in groups if np.ptp(labels[group])]
    return {
        "files": len(census.files) + skipped,
        "sizes": dict(sizes.most_common()),
        "modes": dict(Counter(census.modes).most_common()),
        "duplicates": [
            {"files": [census.files[i] for i in group[:_NAMED]], "copies": len(group), "split": _side(census, group, data)}
            for group in groups[:_GROUPS]
        ],
        "more_duplicates": max(0, len(groups) - _GROUPS),
        "in_several_classes": [_contradicting(census, group) for group in mixed[:_GROUPS]],
        "more_in_several_classes": max(0, len(mixed) - _GROUPS),
    }


def _contradicting(census: Census, group: NDArray[np.int64]) -> dict[str, Any]:
    """Copies of an image in several classes: the first file of each class is named first."""
    assert census.labels is not None
    numbers, first = np.unique(census.labels[group], return_index=True)
    order = [*group[first], *np.delete(group, first)]
    names = list(census.classes)
    files = [census.files[i] for i in order[:_NAMED]]
    return {"files": files, "copies": len(group), "classes": [names[number] for number in numbers[:_NAMED]]}


def _contradictions(data: Dataset) -> int:
    """How many images are in several classes; 0 for other data, in which classes may share an example."""
    if not data.space.has_pixels or data.train.labels is None or data.held_out.labels is None:
        return 0
    hashes = np.concatenate([data.train.hashes, data.held_out.hashes])
    pairs = np.unique(np.stack([hashes, np.concatenate([data.train.labels, data.held_out.labels]).view(np.uint64)]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


def _several(count: int) -> list[str]:
    """The warning of images that are in several classes."""
    if not count:
        return []
    which = "1 image is in several classes" if count == 1 else f"{count:,} images are in several classes each"
    return [f"{which}: a model that knows classes learns it in each of them. Remove the copies that are in the wrong class."]


def _copies(census: Census) -> Iterator[NDArray[np.int64]]:
    """The numbers of the files of each group with the same pixels, the largest group first."""
    order = np.argsort(census.hashes, kind="stable")
    edges = np.flatnonzero(np.diff(census.hashes[order])) + 1
    groups = [group for group in np.split(order, edges) if len(group) > 1]
    yield from sorted(groups, key=lambda group: (-len(group), group[0]))


def _side(census: Census, group: NDArray[np.int64], data: Dataset | None) -> str | None:
    """Where the copies of an image are: "train", "held out" or "both"; None where there is no split."""
    if data is None:
        return None
    sides = {"train": data.train.hashes, "held out": data.held_out.hashes}
    inside = [name for name, hashes in sides.items() if (hashes == census.hashes[group[0]]).any()]
    return "both" if len(inside) > 1 else inside[0] if inside else None


def _range(x: NDArray[Any]) -> list[float]:
    """The lowest and the highest value, in data units."""
    if hasattr(x, "level_counts"):  # images that stay on disk
        used = np.flatnonzero(x.level_counts().sum(0))
        return [float(used[0]) / 255, float(used[-1]) / 255]
    scale = 255 if x.dtype == np.uint8 else 1
    return [float(x.min()) / scale, float(x.max()) / scale]


def _constant(x: NDArray[Any]) -> list[int]:
    flat = x.reshape(len(x), -1)
    return [i for i in range(flat.shape[1]) if (flat[:, i] == flat[0, i]).all()]


def _listed(files: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"file": file, "reason": reason} for file, reason in files]


def _column(columns: tuple[str, ...], index: int) -> str:
    return columns[index] if columns else str(index)
