"""Kernel distance (KID): an unbiased comparison of two clouds that needs no Gaussians and few samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.metrics.growth import Growth, mean_growth
from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.uncertainty import kernel_errors


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    values: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def squared_mmd(x: np.ndarray, y: np.ndarray, grows: bool = False) -> tuple[float, float, Growth]:
    """The unbiased squared MMD of two clouds of equal size with the kernel (x.y / f + 1)^3, and its standard error.

    The mean over pairs i != j of k(x_i, x_j), plus that of k(y_i, y_j), minus twice the mean of all k(x_i, y_j). It is
    not cut off at 0: an unbiased estimate of zero is negative half of the time. The error is a jackknife over examples.

    Args:
        x: (n, f), n at least 3.
        y: (n, f).
        grows: Whether to find out how its variance grows, which comes third.

    References:
        Gretton et al., A kernel two-sample test, 2012. Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401.
    """
    n = len(x)
    xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    growth = kernel_errors(xx, yy, xy)[1] if grows else Growth()
    own = xx.sum(1) - np.diag(xx) + yy.sum(1) - np.diag(yy)
    rows, columns, both = xy.sum(1), xy.sum(0), np.diag(xy)
    value = own.sum() / (n * (n - 1)) - 2 * xy.sum() / n**2
    left_out = (own.sum() - 2 * own) / ((n - 1) * (n - 2)) - 2 * (xy.sum() - rows - columns + both) / (n - 1) ** 2
    return float(value), float(np.sqrt((n - 1) * left_out.var())), growth


def kernel_distance(
    x: np.ndarray, y: np.ndarray, *, every_pair: int = 5000, block: int = 1000, grows: bool = False
) -> tuple[float, float, Growth]:
    """KID between two clouds of features and its standard error.

    All pairs up to ``every_pair`` examples; above, the mean over disjoint blocks, whose spread gives the error. Examples are
    drawn for the blocks without replacement, each side by a fixed permutation of its own: examples sorted by class would
    make every block compare other classes. Over permutations every pair is as likely in a block as any other, so the
    mean is the value over all pairs, in whatever order the examples come; one permutation is off by about the error.
    Clouds of equal size up to ``every_pair`` do not depend on their order at all.

    Args:
        x: (n, f).
        y: (m, f); of the longer cloud as many examples are drawn as the shorter one has.
        every_pair: The most examples for which all pairs are compared.
        block: Examples of a block above that.
        grows: Whether to find out how its variance grows, which comes third: of blocks that of one over their number.
    """
    n, order = min(len(x), len(y)), np.random.Generator(np.random.Philox(0))
    x, y = (np.asarray(examples[order.permutation(len(examples))[:n]], dtype=np.float64) for examples in (x, y))
    if n <= every_pair:
        return squared_mmd(x, y, grows)
    parts = [squared_mmd(x[at : at + block], y[at : at + block], grows) for at in range(0, n - block + 1, block)]
    values, count = np.array([value for value, *_ in parts]), len(parts)
    growth = mean_growth([growth for *_, growth in parts], count)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(count)), growth


class Kernel:
    """KID between the features of generated and held-out examples.

    Features come with unit total variance; here they are stretched so that the reference has unit variance per
    dimension on average, the scale for which the kernel (x.y / f + 1)^3 sees more than the means.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "kid": MetricInfo(
            "KID",
            "lower",
            "Kernel distance between features, unbiased: real data scores about 0, and may score below.",
            group="Quality and diversity",
            role="quality",
            priority=3,
            unbiased=True,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and min(len(samples.generated), len(samples.reference)) > 2

    def __call__(self, samples: Samples) -> dict[str, Score]:
        x, y = samples.generated_features, samples.reference_features
        centre, total = y.mean(0), float(y.var(0).sum())
        stretch = np.sqrt(y.shape[1] / total) if total > 0 else 1.0
        value, error, growth = kernel_distance((x - centre) * stretch, (y - centre) * stretch, grows=samples.errors)
        return {"kid": Score(value, error=error, reference_error=error / np.sqrt(2), growth=growth if samples.errors else ())}
