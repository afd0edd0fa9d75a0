"""Samples that are there already, in a file, a folder or an array, as something that can be scored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.dataset import Split
from pushforward.data.keys import permutation
from pushforward.data.readers import examples_in
from pushforward.data.source import Reading
from pushforward.denoiser import Condition
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.curves import REPEAT_SEEDS
from pushforward.evaluation.features import quantised
from pushforward.evaluation.results import ModelResult
from pushforward.transports import BATCH

__all__ = ["Given", "given_samples", "is_run", "unknown_origin"]

LEAST, SLACK = 2, 1e-3
"""The fewest samples, and how far outside of [0, 1] images may lie."""


class Given:
    """Samples in data units. Repeated samplings take different ones, as long as there are enough.

    Args:
        x: (n, *shape), float32.
        labels: The class of each as a number of the data's classes (n,), int64; None where unknown.
        notes: What a reader of their scores must know.
    """

    def __init__(self, x: Tensor, labels: np.ndarray | None = None, notes: tuple[str, ...] = ()) -> None:
        order = permutation(len(x), 0)  # a folder or a file may be sorted by class
        self.x, self.labels, self.notes = x[torch.from_numpy(order)], None if labels is None else labels[order], notes

    def __len__(self) -> int:
        """How many samples."""
        return len(self.x)

    def stream(self, n: int, *, seed: int = 0, batch: int = BATCH) -> Iterator[tuple[Tensor, Condition]]:
        """The r-th n samples with their labels, for the seed of repeat r (`pushforward.evaluation.curves.REPEAT_SEEDS`)."""
        first = max(0, seed // REPEAT_SEEDS - 1) * n
        for start in range(first, first + n, batch):
            part = slice(start, min(start + batch, first + n))
            labels = None if self.labels is None else {"label": torch.from_numpy(self.labels[part])}
            yield self.x[part], labels


def is_run(path: str | Path) -> bool:
    """Whether a path is meant as a run: it is no file or folder of samples."""
    folder = Path(path)
    return (folder / "spec.json").exists() or not folder.exists()


def given_samples(samples: Any, data: Dataset) -> Given:
    """Samples of a file, a folder of images, or an array, checked against the data.

    Args:
        samples: A path (.npz, .npy, .csv, or a folder of images), or (n, *shape) in data units; images may be uint8.
        data: What they are to be compared with.

    Raises:
        DataError: For files that cannot be read, examples of another shape, fewer than two, or values that are not finite.
        UsageError: For samples of another type.
    """
    labels, classes, name = None, tuple[str, ...](), "The array"
    if isinstance(samples, (str, Path)):
        (split, classes), name = _read(Path(samples), data), str(samples)
        x, labels = split.x, split.labels
    elif isinstance(samples, (np.ndarray, Tensor)):
        x = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
    else:
        raise UsageError(f"Expected samples as a path, an array or a tensor; got a {type(samples).__name__}.")
    _check(name, x, data)
    numbers = _numbered(labels, classes, tuple(data.space.classes))
    rows, notes = quantised(x, data.space), []
    if labels is not None and numbers is None:
        notes.append(f"the labels in {name} are no classes of {data.name}, so they are not scored.")
    known = {example.tobytes() for example in quantised(data.held_out.x, data.space).numpy()}
    copies = sum(row.tobytes() in known for row in rows.numpy())
    if copies:
        notes.append(
            f"{copies:,} of the {len(rows):,} samples are held-out examples of {data.name}: scores against them mean little."
        )
    return Given(rows, numbers, tuple(notes))


def _check(name: str, x: np.ndarray, data: Dataset) -> None:
    shape, images = tuple(data.space.shape), data.space.levels is not None
    if tuple(x.shape[1:]) != shape:
        raise DataError(
            f"{name} holds samples of shape {tuple(x.shape[1:])}, and {data.name} has examples of shape {shape}: expected the "
            "same size and channels, in the layout of that data."
        )
    if len(x) < LEAST:
        raise DataError(f"{name} holds {len(x)} sample{'' if len(x) == 1 else 's'}; scores need at least {LEAST}.")
    finite = np.isfinite(x.reshape(len(x), -1)).all(1) if x.dtype.kind == "f" else np.ones(len(x), bool)
    if not finite.all():
        raise DataError(f"{int((~finite).sum())} of {len(x)} samples of {name} hold NaN or infinite values: remove them.")
    outside = x.dtype.kind == "f" and (x.min() < -SLACK or x.max() > 1 + SLACK)
    if images and (outside or (x.dtype.kind != "f" and x.dtype != np.uint8)):
        raise DataError(
            f"{name} holds images of type {x.dtype} from {x.min():g} to {x.max():g}: expected uint8 from 0 to 255, or floats "
            "from 0 to 1."
        )


def _read(path: Path, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    target = None
    if path.suffix.lower() == ".csv" and "label" not in data.space.columns:
        with path.open(encoding="utf-8-sig") as file:
            target = "label" if "label" in re.split("[,;\\t]", file.readline().strip().replace('"', "")) else None
    split, classes, columns = examples_in(path, Reading(target=target))
    wanted = tuple(data.space.columns)
    if not columns or not wanted or columns == wanted:
        return split, classes
    if set(columns) != set(wanted):
        raise DataError(
            f"{path} has the columns {', '.join(columns)}, and {data.name} has {', '.join(wanted)}: expected the same."
        )
    return replace(split, x=split.x[:, [columns.index(name) for name in wanted]]), classes


def _numbered(labels: np.ndarray | None, names: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray | None:
    """Labels as numbers of the data's classes; None where a name is none of them."""
    if labels is None or not set(names) <= set(classes):
        return None
    numbers = np.array([classes.index(name) for name in names], np.int64)
    return np.asarray(numbers[labels])


def unknown_origin(samples: Any, given: Given, scores: ModelResult, data: Dataset) -> ModelResult:
    """The result with the name of the samples, and the warning that nothing is known of the model."""
    name = Path(samples).name if isinstance(samples, (str, Path)) else "samples"
    warning = (
        f"it is unknown on which examples the model of these samples was trained. If held-out examples of {data.name} were among "
        "them, these scores are too good."
    )
    return replace(scores, name=name, warnings=(*given.notes, warning))
