"""The files of a source by their content: written down, and compared with what was written before."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

from pushforward.data.image_files import UnusableError, opened
from pushforward.data.image_store import image_names
from pushforward.data.packed import tars_in
from pushforward.errors import DataError
from pushforward.replacing import replacing
from pushforward.safe_files import plain_path

__all__ = ["Record", "compared", "differences", "file_hashes", "read_hashes", "write_hashes"]

FORMAT = "pushforward-files-1"
MAX_BYTES = 2**30
_BLOCK = 1024

Files = dict[str, dict[str, Any]]
"""``bytes`` and ``sha256`` of each file by its name, None for one that cannot be read."""


class Record(NamedTuple):
    """What is written down of a source.

    Args:
        source: its name or path, as it was given.
        fingerprint: of the data that was read from it; None where training would refuse the data.
        reading: the options that decide what is read (`pushforward.data.sources.stated`).
        files: of the source.
    """

    source: str
    fingerprint: str | None
    reading: dict[str, Any]
    files: Files


def file_hashes(path: Path, progress: Callable[[int, int], None] | None = None) -> Files:
    """Size and sha256 of each file of a source: the images of a folder, its tars, or the file itself; none of a named set.

    Args:
        path: the folder or the file.
        progress: called with the number of files that have been read and that of all.
    """
    if not path.exists():
        return {}
    folder = path if path.is_dir() else path.parent
    names = [path.name] if not path.is_dir() else [tar.name for tar in tars_in(path)] or image_names(path)[0]
    files: Files = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _BLOCK):
            block = names[start : start + _BLOCK]
            files |= zip(block, pool.map(lambda name: _described(folder / name), block), strict=True)
            if progress is not None:
                progress(len(files), len(names))
    return files


def _described(path: Path) -> dict[str, Any]:
    try:
        with opened(path) as file:
            digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
    except (OSError, UnusableError):
        return {"bytes": None, "sha256": None}


def write_hashes(out: Path, record: Record) -> None:
    """Write down what is known of a source.

    Raises:
        CheckpointError: If the disk refuses.
    """
    content = {"format": FORMAT, **record._asdict()}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_hashes(path: Path) -> Record:
    """What `write_hashes` wrote down.

    Raises:
        DataError: a file that is not there or not of this kind.
    """
    try:
        if plain_path(path).stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES >> 30} GB")
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}")
        files = {str(name): dict(file) for name, file in content["files"].items()}
        return Record(str(content["source"]), content["fingerprint"], dict(content["reading"]), files)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} holds no files of a data set ({error}): expected what `pushforward data check` wrote as its `out`."
        ) from error


def differences(known: Record, now: Record) -> dict[str, list[Any]]:
    """What differs besides files, by name, as [what was written down, what is now].

    These are "fingerprint", options of reading, and "source" where the last part of its path is another one.
    """
    pairs: dict[str, list[Any]] = {"fingerprint": [known.fingerprint, now.fingerprint]}
    pairs |= {name: [known.reading.get(name), now.reading.get(name)] for name in (known.reading | now.reading)}
    source = [known.source, now.source] if Path(known.source).name != Path(now.source).name else [None, None]
    return {name: pair for name, pair in ({"source": source} | pairs).items() if pair[0] != pair[1]}


def compared(known: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of files that were added, removed and changed since, each sorted; what is known of a file may be anything."""
    changed = [name for name, file in files.items() if name in known and known[name] != file]
    return {
        "added": sorted(files.keys() - known.keys()),
        "removed": sorted(known.keys() - files.keys()),
        "changed": sorted(changed),
    }
