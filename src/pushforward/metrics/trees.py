"""Boosted trees over the columns of a table, as learners that tell rows apart or predict a column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.table import Table

__all__ = ["classifier", "inputs", "regressor"]

CODES = 250
"""Categories of a column that trees tell apart, at most; the rarest are one."""


def inputs(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generated and held-out rows as trees read them: categories by their frequency among held-out rows, the rarest as one."""
    generated, reference = table.generated.copy(), table.reference.copy()
    for place in np.flatnonzero(table.categorical):
        count = len(table.labels[place])
        if count > CODES:
            known = reference[~np.isnan(reference[:, place]), place].astype(np.int64)
            rank = np.argsort(np.argsort(-np.bincount(known, minlength=count), kind="stable"), kind="stable")
            for side in (generated, reference):
                some = ~np.isnan(side[:, place])
                side[some, place] = np.minimum(rank[side[some, place].astype(np.int64)], CODES - 1)
    return generated, reference


def classifier(categorical: NDArray[np.bool_]) -> Any:
    """Boosted trees for classes; numbers and categories may be missing.

    Args:
        categorical: Which of the columns hold categories, (columns,).

    References:
        Ke et al., LightGBM: a highly efficient gradient boosting decision tree, 2017; scikit-learn's implementation, with its
        default settings: 100 trees of at most 31 leaves.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=False, categorical_features=categorical, random_state=0)


def regressor(categorical: NDArray[np.bool_]) -> Any:
    """The same for numbers."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(early_stopping=False, categorical_features=categorical, random_state=0)
