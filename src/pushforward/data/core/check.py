"""Report on a data set: `check`."""

from __future__ import annotations

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from pushforward.arguments import refuse_unknown
from pushforward.data.core.dataset import Dataset, class_counts, rare_classes, shared_examples
from pushforward.data.core.load import LoadOptions, names, read
from pushforward.data.images.image_file import UnusableError, opened
from pushforward.data.images.image_store import content_hashes, image_names
from pushforward.data.images.tars import packed_in
from pushforward.data.readers.images import tars_in
from pushforward.data.readers.reader import is_frame
from pushforward.errors import DataError, UsageError
from pushforward.files import plain_path, replacing
from pushforward.numbers import counted
from pushforward.registries import at

_GROUPS = 5
_NAMED = 5
_TOGETHER = "up to 20 copies of a row stay on the same side of the split (`copies=apart` splits each row independently)"
_APART = (
    "each row is split independently, as in a survey; accidental copies cannot be told from "
    "equal rows (`copies=together` keeps equal rows on one side)"
)
FORMAT = "pushforward-files-1"
# Entries of a report about coordinates, which rows of a table have in place of values
COORDINATES = (
    "range",
    "mean",
    "std",
    "constant",
    "integer",
    "binary",
    "classes",
    "held_out_classes",
)


class CheckOptions(LoadOptions, total=False):
    """Options of `check`, in addition to those of `load`.

    Args:
        out: New JSON file for the size and sha256 of each source file and the fingerprint of the
            data.
        against: File written by an earlier check; files that were added, removed or changed since
            then are reported.
        write_schema: New JSON file for the schema of a table, which lists the decision about each
            column and can be edited.
    """

    out: str | os.PathLike[str] | None
    against: str | os.PathLike[str] | None
    write_schema: str | os.PathLike[str] | None


def check(name_or_path: Any, **options: Unpack[CheckOptions]) -> dict[str, Any]:
    """Read all data as training would, and report on it, even if training would refuse the data.

    Args:
        name_or_path: Data source, as for `load`.
        options: Options of `CheckOptions` and `load`.

    Returns:
        A plain dict: that of `Dataset.describe`, with ``classes`` and ``held_out_classes`` as {name: number of examples},
        ``range`` (lowest, highest value in data units), ``mean`` and ``std`` per channel or column, ``constant`` columns,
        ``integer`` columns, ``header`` (of a table: whether its first line was taken as column names; else None), ``repeated``
        (held-out examples that are also training examples, which only those of many copies are), ``repeats`` (examples of both
        splits that are copies of an earlier one), ``removed`` (training examples left out because they equal a held-out one),
        ``copies`` (of a table: how equal rows are split, a sentence; else None), ``read_as`` (a sentence on a file that may be
        read in two ways: how it was taken, and how to get the other; else None), ``warnings`` (sentences, if held-out examples
        are training examples or classes have few examples), ``skipped`` and ``converted`` as lists of {file, reason}, and
        ``ignored``.

        For a table of mixed types: ``table``, with ``rows``, ``separator``, ``missing_texts``, ``target``, ``constraints``,
        ``notes``, and ``fields``, a dict for each column of the file: name, kind ("left out" for one that is not used), range (as
        it is written) and atoms (shares of values that are frequent) of numbers, categories (how many) and their shares, all four
        of the training rows, missing (share of the cells of all rows without a value), examples, and why. Units of coordinates
        are left out.

        For image files: ``files`` (their number) and ``duplicates``, up to five of the groups of files with the same pixels, as
        {files, copies}. ``refused`` is the reason why training would refuse the data, else None; then there are only ``skipped``
        and ``name``. ``changes`` has what was ``added``, ``removed`` and ``changed`` since the earlier check, else None, and
        ``differs`` whether the fingerprint is another one. ``written`` is the file that was written, else None.

    Raises:
        UsageError, DataError: as for `load`, but not for image files that training would refuse; a file `out` that is there.
        CheckpointError: if the disk refuses.
    """
    refuse_unknown(options, CheckOptions, "data.check")
    out = options.get("out")
    against = options.get("against")
    schema = options.get("write_schema")
    if out is not None and Path(out).exists():
        raise UsageError(
            f"{os.fspath(out)} already exists. Choose another `out`, or delete the file first."
        )
    known = None
    if against is not None:
        try:
            content = json.loads(plain_path(Path(against)).read_bytes())
            known = {"fingerprint": content["fingerprint"], "files": dict(content["files"])}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            expected = "expected a file that `pushforward data check` wrote with `out`"
            raise DataError(
                f"{os.fspath(against)} is not a list of the files of a data set ({error}): {expected}."
            ) from error
    loading: Any = {
        name: value
        for name, value in options.items()
        if name not in ("out", "against", "write_schema")
    }
    try:
        data = read(name_or_path, loading)
        report = _of_data(data) | {"refused": None}
        if schema is not None:
            if data.table is None:
                raise UsageError(
                    f"`write_schema` supports tables of mixed types, but {data.name} is not one. "
                    "Use `table=True` to read it as one."
                )
            data.table.write(Path(schema), data.space)
    except DataError as error:
        if schema is not None and error.schema:
            at("tables.reading.schema:write_schema")(Path(schema), error.schema)
            raise DataError(
                f"{error}\n  {schema} contains the columns that could be read, and drops the others."
            ) from error
        if not error.skipped:
            raise
        report = {
            "name": os.fspath(name_or_path),
            "refused": str(error),
            "skipped": _listed(error.skipped),
            "classes": {},
        }
    report |= {"changes": None, "differs": False, "written": None}
    if is_frame(name_or_path):
        return report
    path = Path(name_or_path).expanduser()
    packed = packed_in(path) if path.is_dir() and os.fspath(name_or_path) not in names() else None
    if out is None and known is None and packed is None:
        return report
    files = file_hashes(path)
    fingerprint = report.get("fingerprint")
    if packed is not None:
        digests = {
            str(shard["file"]): str(shard.get("sha256")) for shard in packed.manifest["shards"]
        }
        differing = [
            name for name, digest in digests.items() if files.get(name, {}).get("sha256") != digest
        ]
        if differing:
            report["refused"] = (
                f"These tars in {packed.folder} have changed since the images were packed: "
                f"{', '.join(differing)}. Restore them, or pack the images again."
            )
    if known is not None:
        before = known["files"]
        changes = {
            "added": sorted(files.keys() - before.keys()),
            "removed": sorted(before.keys() - files.keys()),
            "changed": sorted(
                name for name, file in files.items() if name in before and before[name] != file
            ),
        }
        report |= {"changes": changes, "differs": known["fingerprint"] != fingerprint}
    if out is not None:
        content = {
            "format": FORMAT,
            "source": os.fspath(name_or_path),
            "fingerprint": fingerprint,
            "files": files,
        }
        with replacing(Path(out)) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        report["written"] = os.fspath(out)
    return report


def _of_data(data: Dataset) -> dict[str, Any]:
    space = data.space
    x = data.train.x
    counts = class_counts(data)
    hashes = content_hashes(x)
    held_out = content_hashes(data.held_out.x)
    names, low, high = space.columns or range(math.prod(space.shape)), *_range(x)
    report = {
        **data.describe(),
        "classes": {name: train for name, (train, _) in counts.items()},
        "held_out_classes": {name: held_out for name, (_, held_out) in counts.items()},
        "range": [low, high],
        "mean": list(space.units.get("mean", ())),
        "std": list(space.units.get("std", ())),
        "constant": [str(names[i]) for i in np.flatnonzero(np.ptp(x, axis=0) == 0)]
        if len(space.shape) == 1
        else [],
        "integer": [str(names[i]) for i in space.integer],
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
    if data.table is not None:
        for name in COORDINATES:
            del report[name]
        return report | data.table.report(space) | {"classes": {}}
    if (
        space.has_pixels
        and data.train.labels is not None
        and (several := _in_several_classes(data))
    ):
        report["warnings"] += [
            f"{counted(several, 'image')} found in more than one class. A class-conditional model "
            "learns such an image in each of its classes. Remove the copies in the wrong class."
        ]
    if data.files is not None:
        groups: dict[int, list[str]] = {}
        for name, content in zip(data.files.names, data.files.hashes.tolist(), strict=True):
            groups.setdefault(content, []).append(name)
        largest = sorted(
            (files for files in groups.values() if len(files) > 1), key=len, reverse=True
        )[:_GROUPS]
        duplicates = [{"files": files[:_NAMED], "copies": len(files)} for files in largest]
        report |= {"files": len(data.files.names) + len(data.skipped), "duplicates": duplicates}
    return report


def _in_several_classes(data: Dataset) -> int:
    splits = (data.train, data.held_out)
    labels = np.concatenate([split.labels for split in splits if split.labels is not None])
    pairs = np.unique(
        np.stack([np.concatenate([split.hashes for split in splits]), labels.view(np.uint64)]),
        axis=1,
    )
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


def _range(x: NDArray[Any]) -> list[float]:
    if hasattr(x, "level_counts"):  # images that stay on disk
        x = np.flatnonzero(x.level_counts().sum(0)).astype(np.uint8)
    scale = 255 if x.dtype == np.uint8 else 1
    return [float(x.min()) / scale, float(x.max()) / scale]


def _listed(files: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"file": file, "reason": reason} for file, reason in files]


def file_hashes(path: Path) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of each source file: the images of a folder, its tars, or the file itself."""
    if not path.exists():
        return {}
    folder = path if path.is_dir() else path.parent
    if not path.is_dir():
        names = [path.name]
    else:
        names = [tar.name for tar in tars_in(path)] or image_names(path)[0]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(
            zip(names, pool.map(lambda name: _described(folder / name), names), strict=True)
        )


def _described(path: Path) -> dict[str, Any]:
    try:
        with opened(path) as file:
            digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
    except (OSError, UnusableError):
        return {"bytes": None, "sha256": None}
