"""Distributions of the columns of tables, and dependence between pairs of columns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from pushforward.metrics.modes import Parts, variation
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.uncertainty import errors
from pushforward.tables.column import Floats, Integers
from pushforward.tables.metrics.table import Table, codes

# Of the pictures: columns at most, bins of a number, and categories, of which the rarest are one
DRAWN = 24
BINS = 24
BARS = 12


def kolmogorov_smirnov(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Find the largest distance between two distribution functions, its position and its sign.

    Missing values (NaN) count as smaller than every number, so different fractions of missing
    values also count.

    Args:
        x: First values, (n,).
        y: Second values, (m,).

    Returns:
        Distance, position, and 1 if a larger fraction of ``x`` lies at or below the position, else
            -1.
    """
    from scipy.stats import ks_2samp

    x, y = (np.where(np.isnan(side), -np.inf, side) for side in (x, y))
    result = ks_2samp(x, y, method="asymp")
    return float(result.statistic), float(result.statistic_location), float(result.statistic_sign)


def shape_errors(
    table: Table,
) -> tuple[Floats, Floats, Floats]:
    """Compute the error of each column, and the contribution of each row to their mean.

    The error is the Kolmogorov-Smirnov distance for numbers, and the total variation for
    categories. Missing values are a separate category, or count as the smallest number. Without
    missing values, 1 minus the error is the column score of the package sdmetrics (KSComplement,
    TVComplement).

    Returns:
        Errors (columns,) from 0 to 1, and terms for `pushforward.metrics.uncertainty.errors`, (n,)
            and (m,).
    """
    each = []
    terms = [np.zeros(len(table.generated)), np.zeros(len(table.reference))]
    for place, discrete in enumerate(table.categorical):
        x = table.generated[:, place]
        y = table.reference[:, place]
        if discrete:
            count = len(table.labels[place])
            distance, *added = variation(codes(x, count), codes(y, count), count + 1)
        else:
            distance, *added = _of_numbers(x, y)
        each.append(distance)
        terms = [term + part for term, part in zip(terms, added, strict=True)]
    columns = len(table.names)
    return np.array(each), terms[0] / columns, terms[1] / columns


def _of_numbers(x: Floats, y: Floats) -> Parts:
    distance, at, sign = kolmogorov_smirnov(x, y)
    return distance, sign * (~(x > at)).astype(np.float64), -sign * (~(y > at)).astype(np.float64)


def histograms(table: Table) -> dict[str, Any]:
    """Compute histograms of the first columns, for plots.

    Returns:
        "kinds" of the columns; "counts", the number of bins of each column; "edges" of the bins of
            numbers, concatenated over columns; "texts" of the bins of categories, and "missing" for
            the last bin if values are missing; "share" and "real", the fractions of generated and
            held-out rows, concatenated.
    """
    parts: dict[str, list[Any]] = {
        "kinds": list(table.kinds[:DRAWN]),
        "counts": [],
        "edges": [],
        "texts": [],
        "share": [],
        "real": [],
    }
    for place in range(min(DRAWN, len(table.names))):
        sides = table.generated[:, place], table.reference[:, place]
        if table.categorical[place] or 0 < len(table.labels[place]) <= BARS:
            cells, texts, count = _bars(sides, table.labels[place], bool(table.categorical[place]))
        else:
            edges = _edges(sides[1])
            cells = [_bins(side, edges) for side in sides]
            texts = ()
            count = len(edges) - 1
            parts["edges"] += edges.tolist()
        if table.missing:
            gaps = table.missing[place]
        else:
            gaps = any(np.isnan(side).any() for side in sides)
        if gaps:
            texts = (*texts, "missing")
            count = count + 1
        parts["counts"].append(count)
        parts["texts"].append(texts)
        for name, cell in zip(("share", "real"), cells, strict=True):
            parts[name] += (np.bincount(cell, minlength=count)[:count] / len(cell)).tolist()
    return {name: tuple(part) for name, part in parts.items()}


def _edges(real: Floats) -> Floats:
    known = real[~np.isnan(real)]
    low, high = np.quantile(known, [0.005, 0.995]) if len(known) else (0.0, 0.0)
    if not np.array_equal(known, np.round(known)):
        return np.linspace(low, high if high > low else low + 1, BINS + 1)
    low = np.floor(low)
    high = np.ceil(high)
    width = max(1.0, np.ceil((high - low + 1) / BINS))
    count = int(np.ceil((high - low + 1) / width))
    return np.asarray(low - 0.5 + width * np.arange(count + 1), np.float64)


def _bins(values: Floats, edges: Floats) -> Integers:
    cells = np.searchsorted(edges[1:-1], values, "right")
    return np.where(np.isnan(values), len(edges) - 1, cells)


def _bars(
    sides: tuple[Floats, ...], labels: tuple[str, ...], by_share: bool
) -> tuple[list[Integers], tuple[str, ...], int]:
    count = len(labels)
    bars = min(len(labels), BARS)
    shares = np.bincount(codes(sides[1], count), minlength=count + 1)[:count]
    order = np.argsort(-shares, kind="stable") if by_share else np.arange(count)
    place = np.full(count + 1, bars)
    place[order] = np.minimum(np.arange(count), bars - 1)
    texts = [labels[at] for at in order[:bars]]
    if count > BARS:
        texts[-1] = "others"
    return [place[codes(side, count)] for side in sides], tuple(texts), bars


class ColumnShapes:
    """Mean error of the distributions of single columns."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "column_error": share_info(
            "Column shape error",
            "lower",
            "Mean distance between the generated and the real distribution of a column: "
            "Kolmogorov-Smirnov distance "
            "for numbers, total variation for categories. Dependence between columns does not "
            "matter.",
            unit="%",
            group="Columns and pairs",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Compute one score, "column_error".

        ``extra`` has the column names as "columns", their errors as "errors", and `histograms`.
        """
        assert samples.table is not None
        each, *terms = shape_errors(samples.table)
        extra: dict[str, Any] = {"columns": samples.table.names, "errors": tuple(each.tolist())}
        error = shared = None
        if samples.errors:
            extra |= histograms(samples.table)
            error, shared = errors(terms[0], terms[1])
        score = Score(float(each.mean()), error=error, reference_error=shared, extra=extra)
        return {"column_error": score}


JOINT_BINS = 10  # Bins of equal width of a number beside a category
# Pairs that are compared at most, and columns whose pairs a report shows
PAIRS = 1000
SHOWN = 40
Terms = tuple[Floats, Floats]
Cells = tuple[
    Integers, Integers, int
]  # The cells of generated and of held-out rows, and how many there are


def pair_errors(table: Table) -> tuple[list[tuple[int, int]], Floats, Terms]:
    """Compute the error of each pair of columns, and the contribution of each row to their mean.

    For two numbers, the error is half the difference of Pearson correlations, over rows with both
    values. For other pairs, it is the total variation of joint frequencies, with numbers in ten
    bins of equal width and missing values as a category. The error is 1 minus the pair score of the
    package sdmetrics (CorrelationSimilarity, ContingencySimilarity, ColumnPairTrends). Constant
    columns have correlation 0; pairs with a column that is constant on both sides are left out.

    Returns:
        Pairs of columns (all, or 1,000 spread evenly); errors (pairs,) from 0 to 1; and terms for
            `pushforward.metrics.uncertainty.errors`, (n,) and (m,).
    """
    every = list(combinations(range(len(table.names)), 2))
    evenly = np.linspace(0, len(every) - 1, min(len(every), PAIRS)).astype(int)
    chosen = [every[at] for at in np.unique(evenly)]
    cells = _cells(table)
    sides = (table.generated, table.reference)
    pairs = []
    each = []
    terms = [np.zeros(len(side)) for side in sides]
    for first, second in chosen:
        if table.categorical[[first, second]].any():
            error, *added = _contingency(cells[first], cells[second])
        else:
            x, of_x = _correlation(sides[0][:, first], sides[0][:, second])
            y, of_y = _correlation(sides[1][:, first], sides[1][:, second])
            if x is None and y is None:
                continue
            gap = (x or 0.0) - (y or 0.0)
            error = abs(gap) / 2
            sign = np.sign(gap) / 2
            added = [sign * of_x, -sign * of_y]
        pairs.append((first, second))
        each.append(error)
        terms = [term + part for term, part in zip(terms, added, strict=True)]
    count = max(1, len(pairs))
    return pairs, np.array(each), (terms[0] / count, terms[1] / count)


def _cells(table: Table) -> list[Cells]:
    columns: list[Cells] = []
    for place, discrete in enumerate(table.categorical):
        x = table.generated[:, place]
        y = table.reference[:, place]
        if discrete:
            count = len(table.labels[place])
            columns.append((codes(x, count), codes(y, count), count + 1))
            continue
        known = y[~np.isnan(y)]
        edges = np.histogram_bin_edges(known if len(known) else np.zeros(1), JOINT_BINS)
        of_x = np.where(np.isnan(x), JOINT_BINS + 2, np.digitize(x, edges))
        of_y = np.where(np.isnan(y), JOINT_BINS + 2, np.digitize(y, edges))
        columns.append((of_x, of_y, JOINT_BINS + 3))
    return columns


def _contingency(first: Cells, second: Cells) -> Parts:
    of_x = first[0] * second[2] + second[0]
    of_y = first[1] * second[2] + second[1]
    occurring, where = np.unique(np.concatenate([of_x, of_y]), return_inverse=True)
    return variation(where[: len(of_x)], where[len(of_x) :], len(occurring))


def _correlation(x: Floats, y: Floats) -> tuple[float | None, Floats]:
    both = ~(np.isnan(x) | np.isnan(y))
    terms = np.zeros(len(x))
    if both.sum() < 2 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return None, terms
    u = (x[both] - x[both].mean()) / x[both].std()
    v = (y[both] - y[both].mean()) / y[both].std()
    value = float((u * v).mean())
    terms[both] = (u * v - value * (u**2 + v**2) / 2) * len(x) / both.sum()
    return value, terms


class PairTrends:
    """Mean error of the dependence of pairs of columns."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "pair_error": share_info(
            "Pair trend error",
            "lower",
            "Mean difference between the generated and the real dependence of two columns: half "
            "the difference of "
            "correlations for two numbers, total variation of joint frequencies for other pairs.",
            unit="%",
            group="Columns and pairs",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and len(samples.table.names) > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Compute one score, "pair_error"; none if no pair of columns varies.

        ``extra`` has the names of the first columns as "columns", and as "matrix" the error of each
        two of them, (k, k), NaN for pairs that were not compared.
        """
        assert samples.table is not None
        pairs, each, terms = pair_errors(samples.table)
        if not pairs:
            return {}
        names = samples.table.names[:SHOWN]
        matrix = np.full((len(names), len(names)), np.nan)
        for (first, second), error in zip(pairs, each, strict=True):
            if second < len(names):
                matrix[first, second] = matrix[second, first] = error
        extra = {"columns": names, "matrix": tuple(map(tuple, matrix.tolist()))}
        error = shared = None
        if samples.errors:
            error, shared = errors(*terms)
        score = Score(float(each.mean()), error=error, reference_error=shared, extra=extra)
        return {"pair_error": score}
