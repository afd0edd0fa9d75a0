"""Shapes of columns: how far each column's distribution alone is from the real one."""

from __future__ import annotations

from collections.abc import Mapping
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
            "How far the distribution of each column alone is from the real one, mean over columns: Kolmogorov-Smirnov distance "
            "of numbers, total variation of categories. Says nothing of how columns go together.",
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
