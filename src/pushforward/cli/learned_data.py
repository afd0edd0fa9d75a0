"""The data of a training that names none: that of the runs that it learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.cli.groups import ALL_DATA, Reading
from pushforward.cli.reading import source

if TYPE_CHECKING:
    from pushforward.data import Dataset

__all__ = ["examples"]


def examples(
    data: str | None, runs: Mapping[str, str], reading: Reading, condition: str | None = None, plugins: Sequence[str] = ()
) -> Dataset:
    """The data that was named; else that of a run that is learned from, as it read it; digits where there is none.

    Of several runs it is the teacher's, or the first one's; that of the autoencoder of a latent space comes last.

    Args:
        data: What ``--data`` names, or None.
        runs: Folders of runs by the parts that they become; a folder that is no run is passed over.
        reading: How data is read: options that are given replace the run's own.
        condition: The name of its condition, or None.
        plugins: The Python files that the runs need.

    Raises:
        UsageError: If the data of a run came from Python.
        DataError: If it cannot be read, or has changed.
    """
    from pushforward.training.runs.provenance import data_of_run
    from pushforward.training.runs.spec import read_spec

    ordered = sorted(runs, key=lambda name: {"teacher": 0, "latent": 2}.get(name, 1))
    folder = next((Path(runs[name]) for name in ordered if (Path(runs[name]) / "spec.json").is_file()), None)
    if data is not None or folder is None:
        return source(data or "digits", reading, condition)
    spec = read_spec(folder, plugins)
    recorded = dict(spec.get("data") or {})
    place = recorded.pop("name_or_path", None)
    if isinstance(place, str) and (reading != ALL_DATA or condition is not None):
        return source(place, reading, condition, recorded)
    return data_of_run(folder, spec)
