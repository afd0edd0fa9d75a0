"""The data that a run was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushforward.data import Dataset, dataset_of
from pushforward.errors import DataError, UsageError
from pushforward.training.lineage import earlier_split

__all__ = ["data_of_run"]


def data_of_run(
    folder: Path, content: Mapping[str, Any], data: Dataset | str | Path | None, *, absent: str, changed: str
) -> Dataset:
    """The data of a run, which must be what it was.

    Args:
        folder: The run's folder.
        content: What its ``spec.json`` holds.
        data: The data set, where it is given; None reads it from where the run did.
        absent: What to do where the run does not say where its data came from, a sentence for the error.
        changed: What to do where the data has changed, beside restoring it: a clause for the error.

    Raises:
        UsageError: If the data came from Python and is not given.
        DataError: If it cannot be read, or has changed.
    """
    from pushforward.data import load

    if data is not None:
        rows = dataset_of(data)
    elif content.get("data"):
        rows = load(**content["data"])
    else:
        raise UsageError(f"{folder} was trained on data from Python, which a run does not hold. {absent}")
    was = content.get("fingerprint")
    if was not in (None, rows.fingerprint):
        raise DataError(
            f"The data has changed since {folder} was trained (fingerprint {rows.fingerprint[:12]}, was {was[:12]}). "
            f"Restore it, or {changed}.{earlier_split(content)}"
        )
    return rows
