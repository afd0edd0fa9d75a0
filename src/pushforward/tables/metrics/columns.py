"""Distributions of the columns of tables, and dependence between pairs of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from pushforward.data.core.hashes import Floats, Integers
from pushforward.metrics.modes import variation
from pushforward.metrics.score import Infos, Samples, Score, Scores, share_info
from pushforward.metrics.uncertainty import errors
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


def shape_errors(table: Table) -> tuple[Floats, Floats, Floats]:
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
    of_generated = np.zeros(len(table.generated))
    of_reference = np.zeros(len(table.reference))
    for place, discrete in enumerate(table.categorical):
        x = table.generated[:, place]
        y = table.reference[:, place]
        if discrete:
            count = len(table.labels[place])
            distance, of_x, of_y = variation(codes(x, count), codes(y, count), count + 1)
        else:
            distance, at, sign = kolmogorov_smirnov(x, y)
            of_x = np.where(x > at, 0.0, sign)
            of_y = np.where(y > at, 0.0, -sign)
        each.append(distance)
        of_generated += of_x
        of_reference += of_y
    columns = len(table.names)
    return np.array(each), of_generated / columns, of_reference / columns


def histograms(table: Table) -> dict[str, Any]:
    """Compute histograms of the first columns, for plots.

    Returns:
        "kinds" of the columns; "counts", the number of bins of each column; "edges" of the bins of
            numbers, concatenated over columns; "texts" of the bins of categories, and "missing" for
            the last bin if values are missing; "share" and "real", the fractions of generated and
            held-out rows, concatenated.
    """
    parts: dict[str, list[Any]] = {"counts": [], "edges": [], "texts": [], "share": [], "real": []}
    for place, labels in enumerate(table.labels[:DRAWN]):
        x = table.generated[:, place]
        y = table.reference[:, place]
        if table.categorical[place] or 0 < len(labels) <= BARS:
            bars = _bars(y, len(labels), bool(table.categorical[place]))
            order = np.argsort(bars[:-1], kind="stable")[:BARS]
            texts = [labels[number] for number in order]
            if len(labels) > BARS:
                texts[-1] = "others"
            count = len(texts)
            bins = [bars[codes(side, len(labels))] for side in (x, y)]
        else:
            edges = _edges(y)
            texts = []
            count = len(edges) - 1
            bins = []
            for side in (x, y):
                inner = np.searchsorted(edges[1:-1], side, "right")
                bins.append(np.where(np.isnan(side), count, inner))
            parts["edges"] += edges.tolist()
        gaps = bool(np.isnan(x).any() or np.isnan(y).any())
        if table.missing:
            gaps = table.missing[place]
        if gaps:
            texts.append("missing")
            count += 1
        parts["counts"].append(count)
        parts["texts"].append(tuple(texts))
        for name, places in zip(("share", "real"), bins, strict=True):
            parts[name] += (np.bincount(places, minlength=count)[:count] / len(places)).tolist()
    lists = {name: tuple(part) for name, part in parts.items()}
    return {"kinds": table.kinds[:DRAWN], **lists}


def _edges(real: Floats) -> Floats:
    known = real[~np.isnan(real)]
    low, high = np.quantile(known, [0.005, 0.995]) if len(known) else (0.0, 0.0)
    if not np.array_equal(known, np.round(known)):
        return np.linspace(low, high if high > low else low + 1, BINS + 1)
    low = np.floor(low)
    high = np.ceil(high)
    width = max(1.0, np.ceil((high - low + 1) / BINS))
    return np.arange(low, high + 1 + width, width) - 0.5


def _bars(real: Floats, count: int, by_frequency: bool) -> Integers:
    order = np.arange(count)
    if by_frequency:
        order = np.argsort(-np.bincount(codes(real, count), minlength=count)[:count], kind="stable")
    bars = np.full(count + 1, min(count, BARS))
    bars[order] = np.minimum(np.arange(count), BARS - 1)
    return bars


class ColumnShapes:
    """Mean error of the distributions of single columns."""

    scores: ClassVar[Infos] = {
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

    def __call__(self, samples: Samples) -> Scores:
        """Compute one score, "column_error".

        ``extra`` has the column names as "columns", their errors as "errors", and `histograms`.
        """
        each, *terms = shape_errors(samples.table)
        extra: dict[str, Any] = {"columns": samples.table.names, "errors": tuple(each.tolist())}
        if samples.errors:
            extra |= histograms(samples.table)
        return {"column_error": _mean_score(samples, each, terms, extra)}


def _mean_score(
    samples: Samples, each: Floats, terms: Sequence[Floats], extra: Mapping[str, Any]
) -> Score:
    error = shared = None
    if samples.errors:
        error, shared = errors(terms[0], terms[1])
    return Score(float(each.mean()), error=error, reference_error=shared, extra=extra)


JOINT_BINS = 10  # Bins of equal width of a number beside a category
# Pairs that are compared at most, and columns whose pairs a report shows
PAIRS = 1000
SHOWN = 40


def pair_errors(table: Table) -> tuple[list[tuple[int, int]], Floats, Floats, Floats]:
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
    cells = _cells(table)
    n = len(table.generated)
    pairs = []
    each = []
    of_generated = np.zeros(n)
    of_reference = np.zeros(len(table.reference))
    for number in np.unique(evenly).tolist():
        first, second = every[number]
        if table.categorical[[first, second]].any():
            joint = cells[first] * (cells[second].max() + 1) + cells[second]
            occurring, where = np.unique(joint, return_inverse=True)
            error, of_x, of_y = variation(where[:n], where[n:], len(occurring))
        else:
            x, of_x = _correlation(table.generated[:, first], table.generated[:, second])
            y, of_y = _correlation(table.reference[:, first], table.reference[:, second])
            if x is None and y is None:
                continue
            gap = (x or 0.0) - (y or 0.0)
            error = abs(gap) / 2
            sign = np.sign(gap) / 2
            of_x = sign * of_x
            of_y = -sign * of_y
        pairs.append((first, second))
        each.append(error)
        of_generated += of_x
        of_reference += of_y
    count = max(1, len(pairs))
    return pairs, np.array(each), of_generated / count, of_reference / count


def _cells(table: Table) -> list[Integers]:
    cells = []
    for place, discrete in enumerate(table.categorical):
        real = table.reference[:, place]
        column = np.concatenate([table.generated[:, place], real])
        if discrete:
            cells.append(codes(column, len(table.labels[place])))
            continue
        known = real[~np.isnan(real)]
        edges = np.histogram_bin_edges(known if len(known) else np.zeros(1), JOINT_BINS)
        cells.append(np.where(np.isnan(column), JOINT_BINS + 2, np.digitize(column, edges)))
    return cells


def _correlation(x: Floats, y: Floats) -> tuple[float | None, Floats]:
    both = ~(np.isnan(x) | np.isnan(y))
    terms = np.zeros(len(x))
    if both.sum() < 2 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return None, terms
    u = (x[both] - x[both].mean()) / x[both].std()
    v = (y[both] - y[both].mean()) / y[both].std()
    value = (u * v).mean()
    terms[both] = (u * v - value * (u**2 + v**2) / 2) * len(x) / both.sum()
    return value, terms


class PairTrends:
    """Mean error of the dependence of pairs of columns."""

    scores: ClassVar[Infos] = {
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

    def __call__(self, samples: Samples) -> Scores:
        """Compute one score, "pair_error"; none if no pair of columns varies.

        ``extra`` has the names of the first columns as "columns", and as "matrix" the error of each
        two of them, (k, k), NaN for pairs that were not compared.
        """
        pairs, each, *terms = pair_errors(samples.table)
        if not pairs:
            return {}
        names = samples.table.names[:SHOWN]
        matrix = np.full((len(names), len(names)), np.nan)
        for (first, second), error in zip(pairs, each, strict=True):
            if second < len(names):
                matrix[first, second] = matrix[second, first] = error
        extra = {"columns": names, "matrix": tuple(map(tuple, matrix.tolist()))}
        return {"pair_error": _mean_score(samples, each, terms, extra)}
