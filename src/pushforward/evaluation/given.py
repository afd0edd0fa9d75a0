"""Samples that are there already, in a file, a folder or an array, as something that can be scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset, TableSpace
from pushforward.data.core.keys import permutation
from pushforward.denoisers import Condition
from pushforward.errors import UsageError
from pushforward.evaluation.features import quantised
from pushforward.evaluation.odd_rows import odd_rows
from pushforward.evaluation.results import REPEAT_SEEDS, ModelResult
from pushforward.evaluation.rows import is_table
from pushforward.evaluation.sample_files import StoredSamples, check_samples, read_samples
from pushforward.transports import BATCH

__all__ = ["Given", "given_samples", "unknown_origin"]

HELD = 1024
"""Held-out examples that are read at a time."""


class Given:
    """Samples in data units. Repeated samplings take different ones, as long as there are enough.

    Args:
        x: (n, *shape), float32.
        labels: The class of each as a number of the data's classes (n,), int64; None where unknown.
        notes: What a reader of their scores must know.
        values: The rows of a table as their file holds them, (n, columns), float64; None where there are only coordinates.
    """

    def __init__(
        self,
        x: Tensor,
        labels: np.ndarray | None = None,
        notes: tuple[str, ...] = (),
        values: np.ndarray | None = None,
    ) -> None:
        order = permutation(len(x), 0)  # a folder or a file may be sorted by class
        self.values = None if values is None else values[order]
        self.x, self.labels, self.notes = x[torch.from_numpy(order)], None if labels is None else labels[order], notes

    def __len__(self) -> int:
        """How many samples."""
        return len(self.x)

    def stream(self, n: int, *, seed: int = 0, batch: int = BATCH) -> Iterator[tuple[Tensor, Condition]]:
        """The r-th n samples with their labels, for the seed of repeat r (`pushforward.evaluation.results.REPEAT_SEEDS`)."""
        first = _first(n, seed)
        for start in range(first, first + n, batch):
            part = slice(start, min(start + batch, first + n))
            labels = None if self.labels is None else {"label": torch.from_numpy(self.labels[part])}
            yield self.x[part], labels

    def values_of(self, n: int, seed: int) -> np.ndarray | None:
        """The values of what `stream` yields."""
        first = _first(n, seed)
        return None if self.values is None else self.values[first : first + n]

    @property
    def every(self) -> Tensor | np.ndarray:
        """All rows: their values, or coordinates."""
        return self.x if self.values is None else self.values


def _first(n: int, seed: int) -> int:
    return max(0, seed // REPEAT_SEEDS - 1) * n


def given_samples(samples: Any, data: Dataset) -> Given:
    """Samples of a file, a folder of images, or an array, checked against the data.

    Args:
        samples: A path (.npz, .npy, .csv, or a folder of images), what was read of one (`read_samples`), or (n, *shape) in data
            units; images may be uint8.
        data: What they are to be compared with.

    Raises:
        DataError: For files that cannot be read, examples of another shape, fewer than two, or values that are not finite.
        UsageError: For samples of another type.
    """
    if isinstance(samples, (str, Path)):
        samples = read_samples(samples, data)
    if isinstance(samples, StoredSamples):
        numbers, notes = _numbered(samples.labels, samples.classes, tuple(data.space.classes)), _notes(samples)
        if samples.labels is not None and numbers is None:
            notes.append(f"the labels in {samples.path} are no classes of {data.name}, so they are not scored.")
        examples = quantised(samples.x, data.space)
    elif isinstance(samples, (np.ndarray, Tensor)):
        x = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        check_samples("The array", x, data)
        numbers, notes, examples = None, [], quantised(x, data.space)
    else:
        raise UsageError(f"Expected samples as a path, an array or a tensor; got a {type(samples).__name__}.")
    copies = 0 if is_table(data.space) else _held_out_copies(examples, data)  # rows of few values repeat by chance
    if copies:
        notes.append(
            f"{copies:,} of the {len(examples):,} samples are held-out examples of {data.name}: scores against them mean little."
        )
    values = samples.values if isinstance(samples, StoredSamples) else None
    if values is not None and isinstance(data.space, TableSpace):
        notes += odd_rows(data.space, values, len(data.train))
    return Given(examples, numbers, tuple(notes), values)


def _held_out_copies(examples: Tensor, data: Dataset) -> int:
    """How many examples are held-out ones, which are read in parts."""
    counts = Counter(example.tobytes() for example in examples.numpy())
    known = set[bytes]()
    for start in range(0, len(data.held_out), HELD):
        part = quantised(data.held_out.x[start : start + HELD], data.space).numpy()
        known |= {content for content in (example.tobytes() for example in part) if content in counts}
    return sum(counts[content] for content in known)


def _notes(samples: StoredSamples) -> list[str]:
    """What is said of the arrays that are not compared."""
    if not samples.unread:
        return []
    many, s = (" are", "s") if len(samples.unread) > 1 else (" is", "")
    return [f"the array{s} {', '.join(samples.unread)} of {samples.path.name}{many} not compared: samples are x, classes label."]


def _numbered(labels: np.ndarray | None, names: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray | None:
    """Labels as numbers of the data's classes; None where a name is none of them."""
    if labels is None or not set(names) <= set(classes):
        return None
    numbers = np.array([classes.index(name) for name in names], np.int64)
    return np.asarray(numbers[labels])


def unknown_origin(samples: Any, given: Given, scores: ModelResult, data: Dataset) -> ModelResult:
    """The result with the name of the samples, and the warning that nothing is known of the model."""
    path = samples.path if isinstance(samples, StoredSamples) else samples
    name = Path(path).name if isinstance(path, (str, Path)) else "samples"
    warning = (
        f"it is unknown on which examples the model of these samples was trained. If held-out examples of {data.name} were among "
        "them, these scores are too good."
    )
    return replace(scores, name=name, given=True, warnings=(*given.notes, warning))
