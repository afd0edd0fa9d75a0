"""Membership attack: can somebody who has samples alone tell training rows from other real rows?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.memorisation import nearest_distance
from pushforward.metrics.nearest_rows import some
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.uncertainty import area, area_errors

MOST = 2000  # Candidates of either kind at most
TINY = 1e-6  # What is added to distances before their logarithm; exact copies are at distance 0
ATTACKS = "An attacker who has samples alone tells training rows from held-out rows, equally many"


def attack(
    members: NDArray[np.float32],
    others: NDArray[np.float32],
    generated: NDArray[np.float32],
    known: NDArray[np.float32] | None = None,
    scale: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How an attacker ranks members above others: by the distance of a row to its nearest sample, the nearer the higher.

    With real rows that he knows, he ranks by how many times nearer a row is to a sample than to one of these, an estimate of the
    ratio of the two densities.

    Args:
        members: Training rows, (n, d).
        others: Real rows that were not trained on, (m, d).
        generated: Samples, (k, d).
        known: Real rows that are neither, (r, d); None for an attacker who has none.
        scale: What each column is divided by, (d,).

    Returns:
        What `pushforward.metrics.uncertainty.area` returns: the mean of either is the area under the ROC curve, 1/2 for chance.

    References:
        Chen et al., GAN-Leaks, 2020, arXiv:1909.03935, section 5 (distance). van Breugel et al., Membership inference attacks
        against synthetic data through overfitting detection, 2023, arXiv:2302.12580 (ratio of densities, "DOMIAS").
    """

    def ranks(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        near = np.log(nearest_distance(rows, generated, scale) + TINY)
        return -near if known is None else np.log(nearest_distance(rows, known, scale) + TINY) - near

    return area(ranks(members), ranks(others))


class Membership:
    """Areas under the ROC curves of two attacks, in the standardised values of the table."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "membership": share_info(
            "Membership attack, AUC",
            "target",
            f"{ATTACKS}, by the distance to the nearest sample: 0.5 is chance, 1 names every training row. This is one attack; "
            "others may reach more.",
            group="Memorisation",
            target=0.5,
        ),
        "membership_ratio": share_info(
            "Membership attack with known rows, AUC",
            "target",
            f"{ATTACKS}, by how much nearer a row is to a sample than to a real row that the attacker knows: 0.5 is chance.",
            group="Memorisation",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and min(len(samples.training), len(samples.reference)) >= 20

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Two scores; half of the held-out rows are those that the second attacker knows.

        Their errors are over new candidates, which all samplings share.
        """
        training, reference = samples.training, samples.reference
        others = some(reference, MOST, 1)
        members = some(training, len(others), 0)
        generated = samples.generated if samples.generated_more is None else samples.generated_more
        half = len(others) // 2
        attacks = {
            "membership": attack(members, others[: len(members)], generated, None, samples.scale),
            "membership_ratio": attack(members[:half], others[:half], generated, others[half:], samples.scale),
        }
        return {
            name: Score(float(above.mean()), error=error, reference_error=error)
            for name, (above, below) in attacks.items()
            for error in area_errors(above, below)[:1]
        }
