"""Utility: how well trees that learn from samples predict the target of real rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.table import Table, shuffled
from pushforward.metrics.trees import inputs, predictor, predictor_rows
from pushforward.metrics.uncertainty import area

Array = NDArray[np.float64]
CLASSES = 20  # Classes of a target that are told apart, at most
OTHERS = "Real data's score is that of trees trained on the training rows, tested on the same held-out rows."


def utility(table: Table) -> tuple[str, float, float] | None:
    """Train on samples, test on real rows: the name of the score, its value, and the standard error over new real rows.

    "utility_auc" is the area under the ROC curve of a class, of several classes the mean over those that real rows have, one
    against the rest; 1/2 for trees that never saw two classes. "utility_rmse" is the root mean squared error of a number over the
    standard deviation of real rows, 1 for one that predicts the mean. Rows without a target are left out.

    Args:
        table: With a target. Trees learn from ``learned``, 50,000 of these rows at most, and fewer of wide tables.

    Returns:
        None where real rows have a single target value.

    References:
        Esteban et al., Real-valued (medical) time series generation with recurrent conditional GANs, 2017, arXiv:1706.02633
        ("TSTR"); Xu et al., Modeling tabular data using conditional GAN, 2019, arXiv:1907.00503 ("machine learning efficacy").
    """
    table = table if table.learned is None else replace(table, generated=table.learned, learned=None)
    place = table.names.index(table.target)
    kinds = np.delete(table.categorical, place)
    (x, y), (test, real) = (
        (np.delete(rows, place, axis=1)[known], side[known, place])
        for rows, side in zip(inputs(table), (table.generated, table.reference), strict=True)
        for known in (~np.isnan(side[:, place]),)
    )
    if len(real) < 2 or np.ptp(real) == 0 or not x.shape[1]:
        return None
    order = shuffled(np.column_stack([x, y]), 0)[: predictor_rows(len(table.names))]
    if table.categorical[place]:
        return ("utility_auc", *_class_area(kinds, (x[order], *_classes(y[order], real)), test))
    return ("utility_rmse", *_number_error(kinds, (x[order], y[order], real), test))


def _classes(y: Array, real: Array) -> tuple[Array, Array]:
    values, counts = np.unique(real, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")][: CLASSES - 1]
    return tuple(np.where(np.isin(side, frequent), side, -1.0) for side in (y, real))  # type: ignore[return-value]


def _class_area(kinds: NDArray[np.bool_], known: tuple[Array, Array, Array], test: Array) -> tuple[float, float]:
    x, y, real = known
    seen, classes = np.unique(y), np.unique(real)
    shares = predictor(kinds, y, True).fit(x, y).predict_proba(test) if len(seen) > 1 else np.zeros((len(test), len(seen)))
    ranks = {value: shares[:, at] for at, value in enumerate(seen)}
    areas, terms = [], np.zeros(len(test))
    for value in classes[-1:] if len(classes) == 2 else classes:
        own, rank = real == value, ranks.get(value, np.zeros(len(test)))
        above, below = area(rank[own], rank[~own])
        areas.append(float(above.mean()))
        terms[own] += (above - areas[-1]) / own.mean()
        terms[~own] += (below - areas[-1]) / (1 - own.mean())
    return float(np.mean(areas)), float(terms.std(ddof=1) / len(areas) / np.sqrt(len(test)))


def _number_error(kinds: NDArray[np.bool_], known: tuple[Array, Array, Array], test: Array) -> tuple[float, float]:
    x, y, real = known
    mean, std = real.mean(), real.std()
    guess = predictor(kinds, y, False).fit(x, (y - mean) / std).predict(test) if len(y) > 1 else np.zeros(len(test))
    squares = ((real - mean) / std - guess) ** 2
    value = float(np.sqrt(squares.mean()))
    terms = squares - ((real - mean) / std * value) ** 2  # the unit varies with the same rows
    return value, float(terms.std(ddof=1) / np.sqrt(len(terms)) / (2 * max(value, 1e-12)))


class Utility:
    """How well trees that are trained on samples predict the target column of real rows."""

    definition: ClassVar[int] = 2
    floor_redraws: ClassVar[int] = 1  # real rows to learn from are the same every time
    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "utility_auc": share_info(
            "AUC of a learner from samples",
            "higher",
            f"Boosted trees learn the target from samples and predict that of held-out rows: area under the ROC curve. {OTHERS}",
            group="Use",
        ),
        "utility_rmse": MetricInfo(
            "Error of a learner from samples",
            "lower",
            "Boosted trees learn the target from samples and predict that of held-out rows: root mean squared error in standard "
            f"deviations of the target. {OTHERS}",
            group="Use",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and bool(samples.table.target)

    def left_out(self, samples: Samples) -> tuple[str, ...]:
        assert samples.table is not None
        target = samples.table.names.index(samples.table.target)
        return ("utility_rmse",) if samples.table.categorical[target] else ("utility_auc",)

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One of the two scores.

        Its error over new samples is not known, so that an interval is from samplings and the error of the held-out rows.
        """
        assert samples.table is not None
        result = utility(samples.table)
        if result is None:
            return {}
        name, value, shared = result
        return {name: Score(value, reference_error=shared)}
