"""Report on a data set: `check`."""

from __future__ import annotations

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.core.dataset import Dataset, class_counts, rare_classes, shared_examples
from pushforward.data.core.hashes import Array, among, distinct
from pushforward.data.core.load import read
from pushforward.data.images.image_file import Reasons, UnusableError, opened
from pushforward.data.images.image_store import THREADS, content_hashes, image_names
from pushforward.data.readers.images import tars_in
from pushforward.data.readers.reader import is_frame
from pushforward.errors import DataError, UsageError
from pushforward.files import plain_path, replacing
from pushforward.numbers import plural
from pushforward.registries import at

_COPIES = {
    None: None,
    False: "up to 20 copies of a row stay on the same side of the split (`copies=apart` splits "
    "each row independently)",
    True: "each row is split independently, as in a survey; accidental copies cannot be told from "
    "equal rows (`copies=together` keeps equal rows on one side)",
}
FORMAT = "pushforward-files-1"


def check(
    name_or_path: Any,
    *,
    out: str | Path | None = None,
    against: str | Path | None = None,
    write_schema: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Read all data as training would, and report on it, even if training would refuse the data.

    Args:
        name_or_path: Data source, as for `load`.
        out: New JSON file for hashes of the source files and the fingerprint of the data.
        against: File of an earlier check, to report files that changed since then.
        write_schema: New JSON file for the schema of a table, which can be edited.
        options: Options of `DataOptions`.

    Returns:
        `Dataset.describe`, with counts by class, units, ``repeated`` (held-out examples that are
            also training examples), ``repeats`` (copies of an earlier example), ``copies`` (how
            equal rows are split), and warnings. ``refused`` is the reason why training would
            refuse the data; ``changes`` and ``differs`` compare with an earlier check.
    """
    if out is not None and Path(out).exists():
        raise UsageError(
            f"{os.fspath(out)} already exists. Choose another `out`, or delete the file first."
        )
    earlier = None if against is None else _earlier(Path(against))
    report = _report(name_or_path, options, write_schema)
    report |= {"changes": None, "differs": False, "written": None}
    if is_frame(name_or_path):
        return report
    source = os.fspath(name_or_path)
    path = Path(source).expanduser()
    if out is None and earlier is None:
        return report
    files = file_hashes(path)
    fingerprint = report.get("fingerprint")
    if earlier is not None:
        known_fingerprint, known = earlier
        changed = [name for name in files.keys() & known.keys() if known[name] != files[name]]
        report["changes"] = {
            "added": sorted(files.keys() - known.keys()),
            "removed": sorted(known.keys() - files.keys()),
            "changed": sorted(changed),
        }
        report["differs"] = known_fingerprint != fingerprint
    if out is not None:
        content = {
            "format": FORMAT,
            "source": source,
            "fingerprint": fingerprint,
            "files": files,
        }
        with replacing(Path(out)) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        report["written"] = os.fspath(out)
    return report


def _earlier(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        content = json.loads(plain_path(path).read_bytes())
        return content["fingerprint"], dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is not a list of the files of a data set ({error}): expected a file that "
            "`pushforward data check` wrote with `out`."
        ) from error


def _report(name_or_path: Any, loading: Any, schema: Any) -> dict[str, Any]:
    try:
        data = read(name_or_path, loading)
    except DataError as error:
        if schema is not None and error.schema:
            at("tables.reading.schema:write_schema")(Path(schema), error.schema)
            raise DataError(
                f"{error}\n  {schema} contains the columns that could be read, and drops the "
                "others."
            ) from error
        if not error.skipped:
            raise
        return {
            "name": os.fspath(name_or_path),
            "refused": str(error),
            "skipped": _listed(error.skipped),
            "classes": {},
        }
    report = _of_data(data) | {"refused": None}
    if schema is not None:
        if data.table is None:
            raise UsageError(
                f"`write_schema` supports tables of mixed types, but {data.name} is not one. "
                "Use `table=True` to read it as one."
            )
        data.table.write(Path(schema), data.space)
    return report


def _of_data(data: Dataset) -> dict[str, Any]:
    space = data.space
    hashes = content_hashes(data.train.x)
    held_out = content_hashes(data.held_out.x)
    both = np.concatenate([hashes, held_out])
    report = {
        **data.describe(),
        "header": data.header,
        "read_as": data.read_as or None,
        "copies": _COPIES[data.apart],
        "repeated": int(among(held_out, distinct(hashes)).sum()),
        "repeats": len(both) - len(distinct(both)),
        "warnings": [*shared_examples(data), *rare_classes(data)],
        "skipped": _listed(data.skipped),
        "converted": _listed(data.converted),
        "ignored": data.ignored,
    }
    if data.table is not None:
        return report | data.table.report(space) | {"classes": {}}
    x = data.train.x
    names = space.columns or range(math.prod(space.shape))
    constant = []
    if len(space.shape) == 1:
        constant = [str(names[i]) for i in np.flatnonzero(np.ptp(x, axis=0) == 0)]
    several = _in_several_classes(data)
    if several:
        report["warnings"].append(
            f"{plural(several, 'image')} found in more than one class. A class-conditional model "
            "learns such an image in each of its classes. Remove the copies in the wrong class."
        )
    counts = class_counts(data)
    return report | {
        "classes": {name: train for name, (train, _) in counts.items()},
        "held_out_classes": {name: others for name, (_, others) in counts.items()},
        "range": _range(x),
        "mean": list(space.units.get("mean", ())),
        "std": list(space.units.get("std", ())),
        "constant": constant,
        "integer": [str(names[i]) for i in space.integer],
    }


def _in_several_classes(data: Dataset) -> int:
    train = data.train
    held_out = data.held_out
    if not data.space.has_pixels or train.labels is None or held_out.labels is None:
        return 0
    hashes = np.concatenate([train.hashes, held_out.hashes])
    classes = np.concatenate([train.labels, held_out.labels]).view(np.uint64)
    pairs = np.unique(np.stack([hashes, classes]), axis=1)
    return pairs.shape[1] - len(distinct(hashes))


def _range(x: Array) -> list[float]:
    if hasattr(x, "level_counts"):  # images that stay on disk
        x = np.flatnonzero(x.level_counts().sum(0)).astype(np.uint8)
    scale = 255 if x.dtype == np.uint8 else 1
    return [float(x.min()) / scale, float(x.max()) / scale]


def _listed(files: Reasons) -> list[dict[str, str]]:
    return [{"file": file, "reason": reason} for file, reason in files]


def file_hashes(path: Path) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of the images of a folder, its tars, or the file itself."""
    if not path.exists():
        return {}
    names = [path.name]
    folder = path.parent
    if path.is_dir():
        names = [tar.name for tar in tars_in(path)] or image_names(path)[0]
        folder = path
    with ThreadPoolExecutor(THREADS) as pool:
        described = pool.map(_described, map(folder.joinpath, names))
        return dict(zip(names, described, strict=True))


def _described(path: Path) -> dict[str, Any]:
    try:
        with opened(path) as file:
            digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
    except (OSError, UnusableError):
        return {"bytes": None, "sha256": None}
