"""The data and the models that a run builds on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import tensor

from pushforward.data import Dataset, dataset_of
from pushforward.data.core.dataset import Seen
from pushforward.data.core.load import DataLike, read as read_data
from pushforward.denoisers import Denoiser
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.files import read_object
from pushforward.paths import Source
from pushforward.recipes.recipe import Recipe
from pushforward.training.checkpoint.storage import (
    appearing,
    latest,
    read_state,
    read_tensors,
    sha256,
    write_tensors,
)
from pushforward.transports import Autoencoder, Transport

_FILE = "rows.safetensors"


def with_ancestors(recipe: Recipe) -> Recipe:
    """Add all data sets and models that a method learns from to its recipe."""
    sources = {}
    for module in recipe.method.modules():
        source = getattr(module, "source", None)
        if isinstance(source, Source):  # data that the method starts from instead of noise
            sources[f"the source {source.data}"] = source.seen
    builds_on = [(name, seen) for name, seen in recipe.builds_on if name not in sources]
    if not builds_on:
        for name, part in recipe.method.parts.items():
            if isinstance(part, (Autoencoder, Denoiser, Transport)):
                article = "an" if name[0] in "aeiou" else "a"
                builds_on.append((f"{article} {name} passed in Python", Seen()))
    return replace(recipe, builds_on=(*builds_on, *sources.items()))


def write_seen(folder: Path, seen: Seen) -> dict[str, Any]:
    """Write the hashes to ``folder/rows.safetensors``, whole or not at all."""
    path = folder / _FILE
    hashes = np.zeros(0, dtype=np.uint64) if seen.own is None else seen.own
    tensors = {
        "own": tensor(hashes),
        "inherited": tensor(seen.inherited),
        "shared": tensor(seen.shared),
    }
    with appearing(path) as temporary:
        write_tensors(temporary, tensors)
    return {
        "sha256": sha256(path),
        "builds_on": list(seen.names),
        "unknown": list(seen.unknown),
        "seconds": dict(seen.seconds),
        "apart": seen.apart,
    }


def read_seen(folder: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> Seen:
    """Read the training examples and seconds of a run."""
    path = folder / _FILE
    try:
        record = content["rows"]
        if sha256(path) != record["sha256"]:
            raise ValueError("it has changed since it was written (its sha256 differs)")
        rows = {name: values.numpy() for name, values in read_tensors(path).items()}
        times = {name: float(+value) for name, value in record.get("seconds", {}).items()}
        own_seconds = state.get("seconds", 0.0) + (state.get("store_seconds") or 0.0)
        return Seen(
            rows["own"],
            rows["inherited"],
            rows["shared"],
            tuple(record["builds_on"]),
            tuple(record["unknown"]),
            record.get("apart"),
            own_seconds,
            times,
        )
    except (AttributeError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"Cannot use {path}, which records the training examples of the run: {error}. Copy it "
            "again from the original run."
        ) from error


def seen_by(folder: str | Path) -> Seen:
    """Read the training examples and seconds of a run folder; unknown for other folders."""
    path = Path(folder)
    if not (path / "spec.json").is_file():
        return Seen()
    newest = latest(path / "checkpoints")
    state = {} if newest is None else read_state(newest)
    return read_seen(path, read_object(path / "spec.json"), state)


def leaks(seen: Seen, data: Dataset) -> tuple[str, ...]:
    """Return warnings if a model may have seen held-out examples."""
    _, inherited = seen.overlaps(data)
    sentences = []
    if inherited:
        sentences.append(
            f"{inherited:,} of the {len(data.held_out):,} held-out examples of {data.name} were "
            f"training examples of a model that it builds on ({', '.join(seen.names)}), so its "
            "scores are better than on unseen data."
        )
    if seen.unknown:
        sentences.append(
            f"it builds on {', '.join(seen.unknown)}, whose training examples and training time "
            f"are unknown: its training may have included held-out examples of {data.name}, and "
            "its training time is not counted."
        )
    return tuple(sentences)


def data_of_run(folder: Path, content: Mapping[str, Any], data: DataLike = None) -> Dataset:
    """Load the data of a run, which must not have changed."""
    place: Any = content.get("data")
    known = isinstance(place, dict) and isinstance(place.get("name_or_path"), str)
    if known and not isinstance(data, Dataset):
        # nothing is downloaded because a run folder says so
        options: Any = {"rare": "keep"}  # as earlier versions, which stored no such option
        options |= {name: value for name, value in place.items() if name != "download"}
        if data is not None:
            options["name_or_path"] = str(data)
        try:
            dataset = read_data(options["name_or_path"], options)
        except (AttributeError, DataError, OSError, TypeError) as error:
            raise DataError(
                f"The data of {folder}: {error} If the data has moved, give its new location: "
                "`data=PLACE`."
            ) from error
    elif data is not None:
        dataset = dataset_of(data)
    else:
        raise UsageError(
            f"{folder} was trained on data passed in Python, which a run does not store. Pass the "
            "same data as `data`, in Python."
        )
    if content["fingerprint"] != dataset.fingerprint:
        earlier = ""
        if dataset.table:
            earlier = (
                ' Runs of earlier versions learned rare texts: read their data with `rare="keep"`.'
            )
        raise DataError(
            f"The data has changed since {folder} was trained (fingerprint "
            f"{dataset.fingerprint[:12]}, expected {content['fingerprint'][:12]}). Restore the "
            f"data, or start a new run from these weights: `init={folder}`.{earlier}"
        )
    return dataset
