"""Alpha-precision and beta-recall: do samples lie among typical real rows, and near real rows of every kind?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import nearest
from pushforward.metrics.table import embedded, shuffled
from pushforward.metrics.uncertainty import by_blocks, share_error

MOST = 5000  # Rows of either side that are compared, at most: time grows with their square
LEVELS = 30
LEAST = 20  # Rows of a block by which errors are measured, at least
WHERE = "in the space of numbers in units of their range and indicators of categories"


def fidelity(generated: NDArray[np.float64], real: NDArray[np.float64]) -> tuple[float, float]:
    """Alpha-precision and beta-recall, integrated over all levels, in the space of the points that are given.

    The alpha-support of real data is the ball around its mean that holds a share alpha of it. P(alpha) is the share of samples in
    it. R(beta) is the share of real points that lie no farther from their nearest sample than from their nearest other real
    point, and whose nearest sample is one of the share beta of these that are nearest to the samples' mean. The results are 1 -
    mean |P - alpha| / mean alpha and 1 - mean |R - beta| / mean beta, over 30 levels from 0 to 1.

    Args:
        generated: (n, f).
        real: (n, f), as many, n at least 2; else R means something else.

    Returns:
        Alpha-precision, 1 for perfect samples, and beta-recall, of which perfect samples have about a half, as a real point's
        nearest neighbour is as likely a sample as another real point.

    References:
        Alaa et al., How faithful is your synthetic data?, 2022, arXiv:2102.08921, sections 3 and 4; without their embedding in a
        sphere: what the package synthcity calls "naive".
    """
    levels, centre = np.linspace(0, 1, LEVELS), real.mean(0)
    radii = np.quantile(np.linalg.norm(real - centre, axis=1), levels)
    outward = np.linalg.norm(generated - centre, axis=1)
    precision = (outward[:, None] <= radii).mean(0)
    own, _ = nearest(real, real, 1)
    distances, at = nearest(real, generated)
    reached = np.linalg.norm(generated[at] - generated.mean(0), axis=1)
    within = reached[:, None] <= np.quantile(reached, levels)
    recall = ((distances <= own)[:, None] & within).mean(0)
    alpha, beta = (float(1 - np.abs(curve - levels).sum() / levels.sum()) for curve in (precision, recall))
    return alpha, beta


class Fidelity:
    """Alpha-precision and beta-recall of the rows of a table."""

    definition: ClassVar[int] = 2
    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "alpha_precision": share_info(
            "Alpha-precision",
            "higher",
            f"Whether samples lie as far from the middle of the data as real rows do, {WHERE}: 1 where they do.",
            group="Quality and diversity",
        ),
        "beta_recall": share_info(
            "Beta-recall",
            "higher",
            f"How much of real data has a sample nearer than its nearest other real row, {WHERE}: real data has about a half.",
            group="Quality and diversity",
            role="diversity",
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and samples.equal and len(samples.generated) >= 10

    def __call__(self, samples: Samples) -> dict[str, Score]:
        assert samples.table is not None
        x, y = (side[shuffled(side, seed)[:MOST]] for seed, side in enumerate(embedded(samples.table)))
        values = dict(zip(self.scores, np.clip(fidelity(x, y), 0, 1), strict=True))
        spreads = by_blocks(lambda a, b: np.array(fidelity(a, b)), x, y, LEAST) if samples.errors else None
        if spreads is None:
            return {name: Score(float(value)) for name, value in values.items()}
        scores = {}
        for (name, value), spread in zip(values.items(), spreads, strict=True):
            error = max(float(spread), share_error(value * len(x), len(x)))
            scores[name] = Score(float(value), error=error, reference_error=error * 0.5**0.5)
        return scores
