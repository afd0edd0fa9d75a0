"""Trends of pairs: how far the dependence of each two columns is from the real one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.table import Parts, Table, codes, variation
from pushforward.metrics.uncertainty import errors

BINS = 10  # Bins of equal width of a number beside a category
PAIRS, SHOWN = 1000, 40  # Pairs that are compared at most, and columns whose pairs a report shows

Terms = tuple[NDArray[np.float64], NDArray[np.float64]]
Cells = tuple[NDArray[np.int64], NDArray[np.int64], int]  # The cells of generated and of held-out rows, and how many there are


def pair_errors(table: Table) -> tuple[list[tuple[int, int]], NDArray[np.float64], Terms]:
    """The error of each pair of columns, and what each row adds to their mean.

    Of two numbers it is half of the difference of Pearson's correlations, over rows that have both; of others the total
    variation of the two columns' joint shares, in which a number is cut into ten bins of equal width, and missing values are a
    category. It is 1 minus the score of each pair in the package sdmetrics (CorrelationSimilarity, ContingencySimilarity,
    ColumnPairTrends). A correlation of a column that is constant is 0; a pair with a column that is constant on both sides is
    left out.

    Returns:
        Pairs of columns, all or 1,000 spread evenly over them; errors (pairs,) from 0 to 1; and terms as
        `pushforward.metrics.uncertainty.errors` takes them, (n,) and (m,).
    """
    every = list(combinations(range(len(table.names)), 2))
    chosen = [every[at] for at in np.unique(np.linspace(0, len(every) - 1, min(len(every), PAIRS)).astype(int))]
    cells, sides = _cells(table), (table.generated, table.reference)
    pairs, each, terms = [], [], [np.zeros(len(side)) for side in sides]
    for first, second in chosen:
        if table.categorical[[first, second]].any():
            error, *added = _contingency(cells[first], cells[second])
        else:
            correlations = [_correlation(side[:, first], side[:, second]) for side in sides]
            if all(value is None for value, _ in correlations):
                continue
            gap = (correlations[0][0] or 0.0) - (correlations[1][0] or 0.0)
            error, sign = abs(gap) / 2, np.sign(gap) / 2
            added = [sign * correlations[0][1], -sign * correlations[1][1]]
        pairs.append((first, second))
        each.append(error)
        terms = [term + part for term, part in zip(terms, added, strict=True)]
    count = max(1, len(pairs))
    return pairs, np.array(each), (terms[0] / count, terms[1] / count)


def _cells(table: Table) -> list[Cells]:
    columns: list[Cells] = []
    for place, discrete in enumerate(table.categorical):
        x, y = table.generated[:, place], table.reference[:, place]
        if discrete:
            count = len(table.labels[place])
            columns.append((codes(x, count), codes(y, count), count + 1))
            continue
        known = y[~np.isnan(y)]
        edges = np.histogram_bin_edges(known if len(known) else np.zeros(1), BINS)
        of_x, of_y = (np.where(np.isnan(side), BINS + 2, np.digitize(side, edges)) for side in (x, y))
        columns.append((of_x, of_y, BINS + 3))
    return columns


def _contingency(first: Cells, second: Cells) -> Parts:
    of_x, of_y = first[0] * second[2] + second[0], first[1] * second[2] + second[1]
    occurring, where = np.unique(np.concatenate([of_x, of_y]), return_inverse=True)
    return variation(where[: len(of_x)], where[len(of_x) :], len(occurring))


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float | None, NDArray[np.float64]]:
    both, terms = ~(np.isnan(x) | np.isnan(y)), np.zeros(len(x))
    if both.sum() < 2 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return None, terms
    u, v = ((side[both] - side[both].mean()) / side[both].std() for side in (x, y))
    value = float((u * v).mean())
    terms[both] = (u * v - value * (u**2 + v**2) / 2) * len(x) / both.sum()
    return value, terms


class PairTrends:
    """Mean error of the dependence of pairs of columns."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "pair_error": share_info(
            "Pair trend error",
            "lower",
            "How far the dependence of two columns is from the real one, mean over pairs: half of the difference of correlations "
            "of numbers, total variation of joint shares of others.",
            unit="%",
            group="Columns and pairs",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and len(samples.table.names) > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "pair_error"; none where no pair of columns varies.

        ``extra`` has the names of the first columns as "columns", and as "matrix" the error of each two of them, (k, k), NaN for
        pairs that were not compared.
        """
        assert samples.table is not None
        pairs, each, terms = pair_errors(samples.table)
        if not pairs:
            return {}
        if not samples.errors:
            return {"pair_error": Score(float(each.mean()))}
        names = samples.table.names[:SHOWN]
        matrix = np.full((len(names), len(names)), np.nan)
        for (first, second), error in zip(pairs, each, strict=True):
            if second < len(names):
                matrix[first, second] = matrix[second, first] = error
        error, shared = errors(*terms)
        extra = {"columns": names, "matrix": tuple(map(tuple, matrix.tolist()))}
        return {"pair_error": Score(float(each.mean()), error=error, reference_error=shared, extra=extra)}
