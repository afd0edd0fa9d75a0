"""Columns of tables: the distribution of each alone, and the dependence of each two."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.table import Parts, Table, codes, variation
from pushforward.metrics.uncertainty import errors

DRAWN, BINS, BARS = 24, 24, 12  # Of the pictures: columns at most, bins of a number, and categories, of which the rarest are one


def kolmogorov_smirnov(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """The greatest distance of two distribution functions, the value at which it lies, and its sign.

    A missing value (NaN) counts as less than every number, so that shares of missing values count too.

    Args:
        x: (n,).
        y: (m,).

    Returns:
        Distance, value, and 1 where more of ``x`` lies at or below the value, else -1.
    """
    x, y = (np.sort(np.where(np.isnan(side), -np.inf, side)) for side in (x, y))
    places = np.unique(np.concatenate([x, y]))
    gaps = np.searchsorted(x, places, "right") / len(x) - np.searchsorted(y, places, "right") / len(y)
    at = int(np.argmax(np.abs(gaps)))
    return float(abs(gaps[at])), float(places[at]), float(np.sign(gaps[at]))


def shape_errors(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The error of each column, and what each row adds to their mean.

    Of numbers it is the Kolmogorov-Smirnov distance, of categories the total variation; missing values are a category of their
    own, and of numbers count as the least. 1 minus it is the score of each column in the package sdmetrics (KSComplement,
    TVComplement) where nothing is missing.

    Returns:
        Errors (columns,) from 0 to 1, and terms as `pushforward.metrics.uncertainty.errors` takes them, (n,) and (m,).
    """
    each, terms = [], [np.zeros(len(table.generated)), np.zeros(len(table.reference))]
    for place, discrete in enumerate(table.categorical):
        x, y = table.generated[:, place], table.reference[:, place]
        count = len(table.labels[place])
        distance, *added = variation(codes(x, count), codes(y, count), count + 1) if discrete else _of_numbers(x, y)
        each.append(distance)
        terms = [term + part for term, part in zip(terms, added, strict=True)]
    columns = len(table.names)
    return np.array(each), terms[0] / columns, terms[1] / columns


def _of_numbers(x: NDArray[np.float64], y: NDArray[np.float64]) -> Parts:
    distance, at, sign = kolmogorov_smirnov(x, y)
    return distance, sign * (~(x > at)).astype(np.float64), -sign * (~(y > at)).astype(np.float64)


def histograms(table: Table) -> dict[str, Any]:
    """The shares of values of the first columns in bins, for pictures.

    Returns:
        "kinds" of the columns; "counts", how many bins each has; "edges" of the bins of numbers, those of each column after those
        of the last; "texts" of the bins of categories, and "missing" for the last bin where values are missing; "share" and
        "real", the shares of generated and held-out rows, one after the other.
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
            cells, texts, count = [_bins(side, edges) for side in sides], (), len(edges) - 1
            parts["edges"] += edges.tolist()
        if table.missing[place] if table.missing else any(np.isnan(side).any() for side in sides):
            texts, count = (*texts, "missing"), count + 1
        parts["counts"].append(count)
        parts["texts"].append(texts)
        for name, cell in zip(("share", "real"), cells, strict=True):
            parts[name] += (np.bincount(cell, minlength=count)[:count] / len(cell)).tolist()
    return {name: tuple(part) for name, part in parts.items()}


def _edges(real: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ends of bins of numbers, from the .5 % to the 99.5 % quantile; bins of whole numbers hold as many of them each."""
    known = real[~np.isnan(real)]
    low, high = np.quantile(known, [0.005, 0.995]) if len(known) else (0.0, 0.0)
    if not np.array_equal(known, np.round(known)):
        return np.linspace(low, high if high > low else low + 1, BINS + 1)
    low, high = np.floor(low), np.ceil(high)
    width = max(1.0, np.ceil((high - low + 1) / BINS))
    count = int(np.ceil((high - low + 1) / width))
    return np.asarray(low - 0.5 + width * np.arange(count + 1), np.float64)


def _bins(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    cells = np.searchsorted(edges[1:-1], values, "right")
    return np.where(np.isnan(values), len(edges) - 1, cells)


def _bars(
    sides: tuple[NDArray[np.float64], ...], labels: tuple[str, ...], by_share: bool
) -> tuple[list[NDArray[np.int64]], tuple[str, ...], int]:
    count, bars = len(labels), min(len(labels), BARS)
    shares = np.bincount(codes(sides[1], count), minlength=count + 1)[:count]
    order = np.argsort(-shares, kind="stable") if by_share else np.arange(count)
    place = np.full(count + 1, bars)
    place[order] = np.minimum(np.arange(count), bars - 1)
    texts = [labels[at] for at in order[:bars]]
    texts = texts if count <= BARS else [*texts[:-1], "others"]
    return [place[codes(side, count)] for side in sides], tuple(texts), bars


class ColumnShapes:
    """Mean error of the columns' distributions, each alone."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "column_error": share_info(
            "Column shape error",
            "lower",
            "Distance between the generated and the real distribution of each column, averaged over columns: "
            "Kolmogorov-Smirnov distance for numbers, total variation for categories. Does not measure dependence "
            "between columns.",
            unit="%",
            group="Columns and pairs",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "column_error".

        ``extra`` has the names of the columns as "columns", their errors as "errors", and `histograms`.
        """
        assert samples.table is not None
        each, *terms = shape_errors(samples.table)
        if not samples.errors:
            return {"column_error": Score(float(each.mean()))}
        extra = {"columns": samples.table.names, "errors": tuple(each.tolist()), **histograms(samples.table)}
        error, shared = errors(terms[0], terms[1])
        return {"column_error": Score(float(each.mean()), error=error, reference_error=shared, extra=extra)}


JOINT_BINS = 10  # Bins of equal width of a number beside a category
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
        edges = np.histogram_bin_edges(known if len(known) else np.zeros(1), JOINT_BINS)
        of_x, of_y = (np.where(np.isnan(side), JOINT_BINS + 2, np.digitize(side, edges)) for side in (x, y))
        columns.append((of_x, of_y, JOINT_BINS + 3))
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
            "Difference between generated and real dependence of two columns, averaged over pairs: half the "
            "difference of correlations for two numbers, total variation of joint frequencies for other pairs.",
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
