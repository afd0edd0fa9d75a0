"""Scores of generated examples, and their floors: what real data scores against real data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.ground_truth import Stack, numbered
from pushforward.data.images.streamed import without
from pushforward.data.spaces import TableSpace
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.cache import Cache, cache_folder
from pushforward.evaluation.copies import copied
from pushforward.evaluation.features import Features, quantised
from pushforward.evaluation.floor_cache import floor_path, read_floors, write_floors
from pushforward.evaluation.halves import halves
from pushforward.evaluation.intervals import deviation
from pushforward.evaluation.naming import Choice, chosen, measured
from pushforward.evaluation.read_classes import class_fields, classes_of, in_proportion, reads_classes
from pushforward.evaluation.rows import Raw, is_table, rows_at, table_of
from pushforward.metrics import Metric, Samples, Score
from pushforward.metrics.memorisation import Memorisation

__all__ = ["MOST", "compared", "floors", "reference_examples", "score"]

MOST = 10_000
"""Examples that are compared at most unless more are asked for."""
REDRAWS, OF_TABLES = 20, 10
"""How often a floor's examples are drawn again unless another number is asked for; those of tables, whose metrics take long."""

PARTS = (copied, halves, numbered, class_fields, table_of, in_proportion)
"""What draws a floor's examples, beside this file: another source makes another floor."""


def compared(dataset: Dataset, n: int | None = None, learned: bool = False) -> int:
    """How many examples either side of a comparison has.

    Args:
        dataset: Its held-out split is the reference.
        n: The wish; None takes min(held-out examples, half of the training examples that floors are drawn from, 10,000).
        learned: As in `halves`.

    Raises:
        UsageError: If n is more than the held-out examples or all but one of those that floors are drawn from, or less than 2.
        DataError: If the data set is too small for any comparison.
    """
    held_out, train = len(dataset.held_out), len(dataset.train)
    drawn = train if isinstance(dataset.truth, Stack) else len(halves(dataset, learned).drawn)
    most = min(held_out, drawn - 1)
    if most < 2:
        least = 3 if drawn == train else 5
        raise DataError(
            f"{dataset.name} has {train} training and {held_out} held-out examples; scores need at least {least} and 2."
        )
    if n is None:
        return max(2, min(held_out, (drawn + 1) // 2, MOST))
    n = whole("n", n)
    if not 2 <= n <= most:
        half = (
            ""
            if drawn == train or most == held_out
            else f", and {train} training examples, of which real data's scores take half"
        )
        raise UsageError(f"`n` must be from 2 to {most} ({dataset.name} has {held_out} held-out examples{half}), got {n}.")
    return n


def score(
    generated: Tensor | np.ndarray,
    dataset: Dataset,
    features: Features,
    *,
    n: int | None = None,
    metrics: Sequence[str | Metric] | None = None,
    redraw_seed: int = 0,
    values: np.ndarray | None = None,
    learned: Tensor | np.ndarray | None = None,
) -> dict[str, Score]:
    """Score generated examples against held-out ones, equally many on either side.

    Args:
        generated: (n or more, *shape) in data units; the first n are used, and of tables all for attacks.
        dataset: The data.
        features: From `fit_features`.
        n: Examples on either side; None means `compared`.
        metrics: Names of metrics or of single scores, or metrics themselves; None means all that apply.
        redraw_seed: Which n of the held-out examples are the reference, where there are more.
        values: The values of the generated rows of a table, float64 (n or more, columns), where these are known beside their
            coordinates, which may round them.
        learned: The rows of a table that a predictor of the target learns from, coordinates or values, at most as many as there
            are training rows; None takes those generated.

    Returns:
        Scores by name, in a fixed order.

    Raises:
        UsageError: If there are fewer generated examples than n, or a name is unknown.
        Diverged: If generated examples hold NaN or infinity; the message says how many.
    """
    n = compared(dataset, n)
    if len(generated) < n:
        raise UsageError(f"{len(generated)} examples were generated and {n} are compared; generate more, or lower n.")
    every, raw = quantised(generated if is_table(dataset.space) else generated[:n], dataset.space), Raw(dataset)
    examples = every[:n]
    if isinstance(dataset.space, TableSpace) and values is None:
        values = dataset.space.values(torch.as_tensor(generated))
    reference = reference_examples(len(dataset.held_out), n, redraw_seed)
    held_out = dataset.held_out.data_units(reference)
    choice = chosen(metrics)
    samples = Samples(
        generated=raw.of(examples, None if values is None else values[:n]),
        reference=raw.at(dataset.held_out, reference),
        training=raw.training,
        generated_features=features(examples, n),
        reference_features=features(held_out, n, real=True),
        table=table_of(
            dataset.space,
            examples if values is None else values[:n],
            rows_at(dataset.held_out, reference),
            ((every if values is None else values) if learned is None else learned)[: len(dataset.train)],
        ),
        generated_more=raw.of(every, values) if is_table(dataset.space) else None,
        **_known(raw, features),
        **(class_fields(features.classify(examples), dataset, reference) if reads_classes(choice, dataset, features) else {}),
    )
    return measured(samples, choice)


def floors(
    dataset: Dataset,
    features: Features,
    *,
    n: int | None = None,
    redraws: int | None = None,
    metrics: Sequence[str | Metric] | None = None,
    cache: Cache = None,
) -> dict[str, Score]:
    """What n training examples score instead of generated ones: the value that a perfect model has.

    They are drawn from those that the features were not fitted on (``features.halves``), classes in proportion, for stacked
    images stacked again from such images. Metrics are given the other training examples as the training set.

    Args:
        dataset: The data.
        features: From `fit_features`.
        n: Examples on either side; None means `compared`.
        redraws: How often the examples are drawn again; None means `REDRAWS`, of tables `OF_TABLES`. Metrics that take long
            have an attribute ``floor_redraws`` with the most of them.
        metrics: As in `score`.
        cache: A folder; None means `cache_folder`, False none.

    Returns:
        By name: the mean over all redraws, one value for each, and as spread the standard deviation of a score of n new examples.
        Redraws share examples, so theirs is less, by the square root of 1 - n / (the examples that they are drawn from), and is
        divided by that.
    """
    n, choice = compared(dataset, n), chosen(metrics)
    redraws = (OF_TABLES if is_table(dataset.space) else REDRAWS) if redraws is None else redraws
    folder = cache_folder(cache)
    key = features.key + (_digest(dataset.held_out.hashes) if is_table(dataset.space) else "")
    path = None if folder is None else floor_path(folder, key, n, redraws, choice, (score, *PARTS))
    if path is not None and (stored := read_floors(path)) is not None:
        return stored
    values: dict[str, list[float]] = {}
    drawn = _Redraws(dataset, features, n, redraws)
    for scores in drawn.scores(choice):
        for name, value in scores.items():
            values.setdefault(name, []).append(value)
    by_score = {name: _floor(row, drawn.share, n) for name, row in values.items()}
    if path is not None:
        write_floors(path, by_score)
    return by_score


def _digest(hashes: np.ndarray) -> str:
    """Of rows whose coordinates, of which features know, may round them."""
    return hashlib.sha256(hashes.tobytes()).hexdigest()


def _floor(values: Sequence[float], share: float, n: int) -> Score:
    spread = deviation(values) / math.sqrt(1 - min(share, 0.5)) if len(values) > 1 else 0.0
    return Score(float(np.mean(values)), spread, values=tuple(values), n=n)


class _Redraws:
    """The examples of all redraws of a floor, and their scores.

    Attributes:
        share: n over the number of examples that are drawn from.
    """

    def __init__(self, dataset: Dataset, features: Features, n: int, redraws: int) -> None:
        self.dataset, self.features, self.n = dataset, features, n
        self.split, examples = dataset.train, features.halves.drawn
        if isinstance(dataset.truth, Stack):
            self.split, examples = Split(dataset.truth.composed(examples, 2 * n, 1)), np.arange(2 * n)
        self.share = n / len(examples)
        self.picks = [in_proportion(examples, self.split, dataset.space.label, _random(redraw))[:n] for redraw in range(redraws)]
        self.references = [reference_examples(len(dataset.held_out), n, redraw) for redraw in range(redraws)]
        self.used, self.raw = np.unique(np.concatenate(self.picks)), Raw(dataset)
        self.all_rows = rows_at(self.split, np.arange(len(self.split))) if is_table(dataset.space) else None

    def scores(self, chosen: Choice) -> Iterator[dict[str, float]]:
        """The scores of each redraw by name."""
        held_out, known = self.dataset.held_out, _known(self.raw, self.features)
        of_drawn = _features_of(self.split, self.used, self.features, self.n)
        of_held_out = _features_of(held_out, np.arange(len(held_out)), self.features, self.n)
        read = reads_classes(chosen, self.dataset, self.features)
        classes = classes_of(self.split, self.used, self.features) if read else None
        copies = {number: self._copies(metric) for number, (metric, _) in enumerate(chosen) if self._leaves_out(metric)}
        for redraw, (picked, reference) in enumerate(zip(self.picks, self.references, strict=True)):
            at = np.searchsorted(self.used, picked)
            samples = Samples(
                generated=self.raw.at(self.split, picked),
                reference=self.raw.at(held_out, reference),
                training=self._others(picked),
                generated_features=of_drawn[at],
                reference_features=of_held_out[reference],
                table=table_of(self.dataset.space, rows_at(self.split, picked), rows_at(held_out, reference), self.all_rows),
                errors=False,
                **known,
                **({} if classes is None else class_fields(classes[at], self.dataset, reference)),
            )
            values: dict[str, float] = {}
            for number, (metric, names) in enumerate(chosen):
                if redraw >= getattr(metric, "floor_redraws", redraw + 1):
                    continue
                if number not in copies:
                    values |= {name: result.number for name, result in measured(samples, [(metric, names)]).items()}
                elif (flags := copies[number]) is not None:
                    values |= dict.fromkeys(names, float(flags[at].mean()))
            yield values

    def _others(self, picked: np.ndarray) -> np.ndarray:
        return self.raw.training if self.split is not self.dataset.train else without(self.raw.training, picked)

    def _leaves_out(self, metric: Metric) -> bool:
        """Whether examples must be compared with all training examples but themselves."""
        return isinstance(metric, Memorisation) and self.split is self.dataset.train

    def _copies(self, metric: Any) -> np.ndarray | None:
        references = [self.raw.at(self.dataset.held_out, reference) for reference in self.references]
        return copied(self.raw.training, self.used, references, self.raw.scale, metric.part)


def _features_of(split: Split, index: np.ndarray, features: Features, n: int) -> np.ndarray:
    parts = [index[start : start + MOST] for start in range(0, len(index), MOST)]
    return np.concatenate([features(split.data_units(part), n, real=True) for part in parts])


def reference_examples(count: int, n: int, seed: int = 0) -> np.ndarray:
    """Choose n of the held-out examples, in their order: all of them, or a draw that depends on the seed alone."""
    return np.arange(count) if n == count else np.sort(_random(seed).permutation(count)[:n])


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def _known(raw: Raw, features: Features) -> dict[str, Any]:
    dataset = raw.dataset
    truth = _Read(dataset.truth.modes, features) if isinstance(dataset.truth, Stack) else dataset.truth
    return {"shape": raw.shape, "scale": raw.scale, "truth": truth, "apart": bool(dataset.apart)}


@dataclass(frozen=True)
class _Read:
    """The truth of stacked images as a metric sees it: how many modes there are, and which one an example shows."""

    modes: int
    features: Features

    def read(self, examples: np.ndarray) -> np.ndarray:
        """The mode of each flat example, by the classifier of the channels."""
        return self.features.classify(examples.reshape(-1, *self.features.space.shape))
