"""Detection: can boosted trees tell generated from real rows of a table, and by which columns?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import by_examples
from pushforward.metrics.table import Table, shuffled
from pushforward.metrics.trees import classifier, inputs, most_rows
from pushforward.metrics.uncertainty import area, area_errors

FOLDS = 3
ASKED = 1000  # Rows of either side in a fold by which columns are told apart, at most
CELLS = 4_000_000  # Cells that trees rank at a time where columns are shuffled, about
TAUGHT = 1.5  # The error of an area, measured over new rows on both sides, over that for trees that are given, about


Area = tuple[NDArray[np.float64], NDArray[np.float64]]  # As `pushforward.metrics.uncertainty.area` returns it


def detected(table: Table, importance: bool = True) -> tuple[list[Area], NDArray[np.float64]]:
    """How boosted trees rank rows that they were not trained on, in a cross-validation of three folds.

    Args:
        table: As many generated as held-out rows, or the trees learn the shares instead.
        importance: Whether to say by which columns trees tell rows apart.

    Returns:
        The area under the ROC curve of each fold, by its terms; and by how much the area falls where a column of unseen rows is
        shuffled, mean over the folds, (columns,): 0 unless asked for.
    """
    from sklearn import config_context

    most = most_rows(len(table.names))
    sides = [side[shuffled(side, seed)[:most]] for seed, side in enumerate(inputs(table))]
    rows, own = np.concatenate(sides), np.arange(len(sides[0]) + len(sides[1])) < len(sides[0])
    fold = np.concatenate([np.arange(len(side)) % FOLDS for side in sides])
    areas, falls = [], np.zeros(rows.shape[1])
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for out in (fold == number for number in range(FOLDS)):
            trees = classifier(table.categorical).fit(rows[~out], own[~out])
            areas.append(_ranked(trees, rows[out], own[out]))
            if importance:
                falls += _falls(trees, rows[out], own[out]) / FOLDS
    return areas, falls


def _ranked(trees: Any, rows: NDArray[np.float64], own: NDArray[np.bool_]) -> Area:
    ranks = trees.decision_function(rows)
    return area(ranks[own], ranks[~own])


def _falls(trees: Any, rows: NDArray[np.float64], own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """By how much the area falls where a column is shuffled, (columns,), of some of the rows.

    References:
        Breiman, Random forests, 2001, section 10.
    """
    random = np.random.Generator(np.random.Philox(0))
    some = np.concatenate([random.permutation(np.flatnonzero(side))[:ASKED] for side in (own, ~own)])
    rows, own = rows[some], own[some]
    order, falls = random.permutation(len(rows)), np.zeros(rows.shape[1])
    whole = _ranked(trees, rows, own)[0].mean()
    together = max(1, CELLS // rows.size)  # a call of the trees costs more than the rows of a small table
    for start in range(0, rows.shape[1], together):
        columns = range(start, min(start + together, rows.shape[1]))
        mixed = np.repeat(rows[None], len(columns), axis=0)
        for place, column in enumerate(columns):
            mixed[place, :, column] = rows[order, column]
        ranks = trees.decision_function(mixed.reshape(-1, rows.shape[1])).reshape(len(columns), -1)
        falls[start : columns.stop] = [whole - area(row[own], row[~own])[0].mean() for row in ranks]
    return falls


class Detection:
    """How far boosted trees are from telling generated rows from real ones."""

    floor_redraws: ClassVar[int] = 5
    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "detection": share_info(
            "Two-sample score",
            "higher",
            "Whether boosted trees can tell samples from real rows that they have not seen: 1 where they cannot, 0 where they "
            f"always can. 1 - (2 max(AUC, 1/2) - 1), mean over {FOLDS} folds.",
            group="Quality and diversity",
            role="quality",
            priority=0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and samples.equal and len(samples.generated) >= 10 * FOLDS

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "detection".

        ``extra`` has the mean area under the ROC curve as "auc", the names of the columns as "columns", and as "falls" by how
        much the area falls where each of them is shuffled.
        """
        assert samples.table is not None
        areas, falls = detected(samples.table, samples.errors)
        means = np.array([above.mean() for above, _ in areas])
        value = float(1 - np.mean(2 * np.maximum(means, 0.5) - 1))
        if not samples.errors:
            return {"detection": Score(value)}
        each = np.array([area_errors(above, below) for above, below in areas])
        error, shared = 2 * TAUGHT * np.sqrt((each**2).sum(0)) / FOLDS
        extra = {"auc": float(means.mean()), "columns": samples.table.names, "falls": tuple(falls.tolist())}
        terms = by_examples(-2 * TAUGHT * np.concatenate([below - below.mean() for _, below in areas]))
        score = Score(value, error=float(error), reference_error=float(shared), reference_terms=terms, extra=extra)
        return {"detection": score}
