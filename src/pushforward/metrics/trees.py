"""Boosted trees over the columns of a table, as learners that tell rows apart or predict a column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.table import Table, rank

# Rows, and cells of a table, that trees are given at most to tell rows apart; time grows with their number
ROWS, CELLS = 10_000, 300_000
# The same where they predict a column: a single training on all rows, where telling rows apart takes three
TO_PREDICT, CELLS_TO_PREDICT = 50_000, 1_500_000
STOPPED = 2000  # Rows from which on a tenth of them says when a predictor has learned enough; of fewer a tenth says little
TREES, PATIENCE = 500, 10  # Trees of a predictor that is stopped, at most, and how many trees in a row do not help before it is
CODES = 250  # Categories of a column that trees tell apart, at most; the rarest are one


def inputs(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generated and held-out rows as trees read them, without missing values.

    A missing number becomes the least of its column, a missing category one more. Of many categories, which are then numbered by
    their frequency among held-out rows, the rarest are one.
    """
    generated, reference = table.generated.copy(), table.reference.copy()
    for place, discrete in enumerate(table.categorical):
        sides = [side[:, place] for side in (generated, reference)]
        known = [side[~np.isnan(side)] for side in sides]
        count = len(table.labels[place])
        absent = float(count) if discrete else min((float(part.min()) - 1 for part in known if len(part)), default=0.0)
        for side in sides:
            side[np.isnan(side)] = absent
        if discrete and count >= CODES:
            places = rank(sides[1], count)
            for side in sides:
                side[:] = np.minimum(places[side.astype(np.int64)], CODES - 1)
    return generated, reference


def predictor_rows(columns: int) -> int:
    """How many rows a predictor learns from at most: 50,000, of more than 30 columns fewer, but no less than 1,000."""
    return max(1000, min(TO_PREDICT, CELLS_TO_PREDICT // max(1, columns)))


def most_rows(columns: int) -> int:
    """How many rows trees are given at most: 10,000, of more than 30 columns fewer, but no less than 1,000."""
    return max(1000, min(ROWS, CELLS // max(1, columns)))


def classifier(categorical: NDArray[np.bool_]) -> Any:
    """Boosted trees for classes.

    Args:
        categorical: Which of the columns hold categories, (columns,).

    References:
        Ke et al., LightGBM: a highly efficient gradient boosting decision tree, 2017; scikit-learn's implementation, with its
        default settings: 100 trees of at most 31 leaves.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=False, categorical_features=categorical, random_state=0)


def predictor(categorical: NDArray[np.bool_], y: NDArray[np.float64], classes: bool) -> Any:
    """Boosted trees that predict a column: of classes, or of numbers.

    Args:
        categorical: Which of the other columns hold categories, (columns,).
        y: The column in the rows that they learn from, (n,). From 2,000 rows on training ends where ten trees in a row do not
            lessen the loss of a tenth of the rows, at 500 trees at the latest. With fewer rows, or a class of a single row, it
            ends at 100 trees.
        classes: Whether the column holds classes.

    References:
        As `classifier`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    stopped = {"early_stopping": True, "max_iter": TREES, "n_iter_no_change": PATIENCE, "validation_fraction": 0.1}
    alone = classes and bool((np.unique(y, return_counts=True)[1] < 2).any())
    chosen = stopped if len(y) >= STOPPED and not alone else {"early_stopping": False}
    return kind(categorical_features=categorical, random_state=0, **chosen)
