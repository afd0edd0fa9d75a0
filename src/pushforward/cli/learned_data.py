"""The data of a training that names none: that of the runs that it learns from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.groups import ALL_DATA, Reading
from pushforward.cli.reading import source

if TYPE_CHECKING:
    from pushforward.data import Dataset

__all__ = ["examples"]


def examples(
    data: str | None, runs: Iterable[str], reading: Reading, condition: str | None = None, plugins: Sequence[str] = ()
) -> Dataset:
    """The data that was named; else that of the first of these runs, as it read it; digits where there is no run.

    Args:
        data: What ``--data`` names, or None.
        runs: Folders of runs that are learned from; a folder that is no run is passed over.
        reading: How data is read: options that are given change how the runs' data is read.
        condition: The name of its condition, or None.
        plugins: The Python files that the runs need.

    Raises:
        UsageError: If the data of a run came from Python.
        DataError: If it cannot be read, or has changed.
    """
    from pushforward.training.run_data import data_of_run
    from pushforward.training.run_spec import read_spec

    folder = next((Path(run) for run in runs if (Path(run) / "spec.json").is_file()), None)
    if data is not None or folder is None:
        return source(data or "digits", reading, condition)
    spec = read_spec(folder, plugins)
    place = _place(spec)
    if place is not None and (reading != ALL_DATA or condition is not None):
        return source(place, reading, condition)
    return data_of_run(folder, spec, None, absent="Train from Python, and give the data.", changed="name the data: `--data DATA`")


def _place(spec: Mapping[str, Any]) -> str | None:
    """Where the data of a run is."""
    place = (spec.get("data") or {}).get("name_or_path")
    return place if isinstance(place, str) else None
