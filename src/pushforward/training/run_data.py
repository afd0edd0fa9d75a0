"""The data that a run was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.data import Dataset, dataset_of
from pushforward.data.core.load import read
from pushforward.errors import DataError, UsageError
from pushforward.training.data_files import what_changed
from pushforward.training.own_columns import as_learned
from pushforward.training.same_data import share_fingerprints

if TYPE_CHECKING:
    from pushforward.training.processes import Processes

__all__ = ["data_of_run"]


def data_of_run(
    folder: Path,
    content: Mapping[str, Any],
    data: Dataset | str | Path | None,
    *,
    absent: str,
    changed: str,
    moved: str = "",
    processes: Processes | None = None,
) -> Dataset:
    """The data of a run, which must not have changed; of a table in the coordinates that the run has learned.

    Args:
        folder: The run's folder.
        content: Of its ``spec.json``.
        data: The data set, where it is given, or its place, which is read as the run read its own; None reads that.
        absent: The fix where the run does not record its data's place, a sentence for the error.
        changed: The fix where the data has changed, beside restoring it: a clause for the error.
        moved: The fix where the data has moved: a sentence for the error.
        processes: Those that read it together.

    Raises:
        UsageError: If the data came from Python and is not given.
        DataError: If it cannot be read, or has changed.
    """
    known = _known(content.get("data"))
    if known and not isinstance(data, Dataset):
        options: Any = known | ({} if data is None else {"name_or_path": str(data)})
        try:
            dataset = read(options["name_or_path"], options)
        except DataError as error:
            raise DataError(f"{error} {moved}".strip()) from error
        except (TypeError, AttributeError, OSError) as error:
            raise DataError(
                f"{folder}/spec.json does not say what data it was trained on ({error}). Restore the file."
            ) from error
    elif data is not None:
        dataset = dataset_of(data)
    else:
        raise UsageError(f"{folder} was trained on data from Python, which a run does not hold. {absent}")
    if processes is not None:
        share_fingerprints(dataset, processes)
    learned = as_learned(content, dataset)
    if learned is None:
        was = content["fingerprint"]
        files = what_changed(folder, dataset, None if dataset.origin is None else str(dataset.origin["name_or_path"]))
        raise DataError(
            f"The data has changed since {folder} was trained (fingerprint {dataset.fingerprint[:12]}, was {was[:12]}).{files} "
            f"Restore it, or {changed}."
        )
    return learned


def _known(place: Any) -> dict[str, Any]:
    """Where the data is, as a spec has it; nothing is downloaded because a run folder says so."""
    if not isinstance(place, dict) or not isinstance(place.get("name_or_path"), str):
        return {}
    return {name: value for name, value in place.items() if name != "download"}
