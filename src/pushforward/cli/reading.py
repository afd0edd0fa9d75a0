"""Reading the data that a command names, with progress on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pushforward.cli.advice import as_options
from pushforward.cli.groups import ALL_DATA, Header, Reading
from pushforward.cli.terminal import say
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset

__all__ = ["column_names", "counting", "options_of_reading", "source"]

_SHOWN = 10


def source(
    data: str, reading: Reading = ALL_DATA, condition: str | None = None, recorded: Mapping[str, Any] | None = None
) -> Dataset:
    """Load the data that was named, and say what was skipped or converted.

    Args:
        data: Its name or path.
        reading: How it is read.
        condition: The name of its condition, or None.
        recorded: Options of `pushforward.data.load` where the reading names no others.
    """
    from pushforward.data.core.load import read

    options: Any = {**(recorded or {}), **options_of_reading(reading)}
    if condition is not None:
        options["labelled"] = condition == "label"
    with counting(data) as progress:
        loaded = read(data, {**options, "progress": progress})
    if reading.workers is not None and not loaded.train.on_disk:
        say("--workers has no effect: the examples are in memory (--stream leaves images on disk, and decodes them ahead)")
    if loaded.header is False and reading.header is None:
        say(f"{data}: the first line is taken as data, and columns are called x0, x1, ... (--header yes: it holds their names)")
    if loaded.read_as:
        say(f"{data}: {as_options(loaded.read_as)}")
    notes = [f"skipped {name}: {why}" for name, why in loaded.skipped]
    notes += [] if loaded.table is None else loaded.table.sentences
    if loaded.removed:
        notes.append(f"left out {loaded.removed:,} training examples that are also held-out examples")
    notes += [f"converted {name}: {what}" for name, what in loaded.converted]
    for note in notes[:_SHOWN]:
        say(as_options(note))
    if len(notes) > _SHOWN:
        say(f"... and {len(notes) - _SHOWN} more; see: pushforward data check {data}")
    return loaded


def options_of_reading(reading: Reading) -> dict[str, Any]:
    """The options of `pushforward.data.load` that were given."""
    options = {
        "target": reading.target,
        "header": _yes(reading.header),
        "resize": reading.resize,
        "limit": reading.limit,
        "given": column_names(reading.given) or None,
        "stream": reading.stream or None,
        "workers": reading.workers,
        "columns": reading.columns,
        "drop": reading.drop,
        "missing": reading.missing,
        "schema": reading.schema,
        "constraints": reading.constraint or None,
        "table": _yes(reading.table),
        "copies": reading.copies,
    }
    return {name: value for name, value in options.items() if value is not None} | {"download": reading.download}


@contextmanager
def counting(name: str) -> Iterator[Callable[[int, int], None]]:
    """What is called with the number of files or lines that were read, and that of all; a long reading is shown on stderr."""
    from pushforward.training.loop.progress import Progress, duration

    progress, since = Progress(), time.monotonic()
    noun = "lines" if name.lower().endswith((".csv", ".tsv", ".data", ".txt")) else "files"

    def count(done: int, total: int) -> None:
        spent = time.monotonic() - since
        progress.preparing(name, done / total, f"{done:,} of {total:,} {noun}  {duration(spent)}")

    try:
        yield count
    finally:
        progress.close()


def _yes(header: Header | None) -> bool | None:
    return None if header is None else header == "yes"


def column_names(given: str | None, option: str = "--given") -> tuple[str, ...]:
    """The columns of an option, between commas. Their names may hold spaces."""
    names = tuple(name.strip() for name in (given or "").split(",") if name.strip())
    if given is not None and not names:
        raise UsageError(f"{option} names no column: write {option} age,income, or leave it out.")
    return names
