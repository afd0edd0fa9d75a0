"""Class histogram: do samples show every class as often as real data does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.errors import UsageError
from pushforward.metrics.exchanges import divisions, norm_growth
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.uncertainty import errors

__all__ = ["Classes", "shares", "total_variation"]

DIVISIONS = 200


def shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """The share of each class among labels, float64 (classes,).

    Args:
        labels: Whole numbers from 0 to classes - 1, (n,), n at least 1.
        classes: How many classes there are.

    Raises:
        UsageError: If there is no label, or one that is no class.
    """
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise UsageError(f"Expected at least one label, and labels from 0 to {classes - 1} only, got {len(labels)}.")
    counts: np.ndarray = np.bincount(labels, minlength=classes) / len(labels)
    return counts


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Half of the sum of |p - q|, from 0 to 1: the share of examples with another class.

    Args:
        p: Probabilities, (k,).
        q: Probabilities, (k,).
    """
    return float(np.abs(p - q).sum() / 2)


class Classes:
    """Total variation between the classes read from samples and the labels of held-out examples."""

    reads_classes: ClassVar[bool] = True
    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "class_distance": share_info(
            "Class histogram",
            "lower",
            "Share of samples that would have to show another class for every class to be as frequent as in real data, as a "
            "classifier reads them (total variation).",
            unit="%",
            group="Classes",
        )
    }

    def applies(self, samples: Samples) -> bool:
        """Where the classes of both sides are known."""
        return samples.generated_classes is not None and samples.reference_classes is not None

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "class_distance".

        ``extra`` has the share of each class in samples as "share", and in real data as "real".
        """
        generated, reference = samples.generated_classes, samples.reference_classes
        assert generated is not None
        assert reference is not None
        share, real = (shares(labels, samples.classes) for labels in (generated, reference))
        extra = {"share": tuple(share.tolist()), "real": tuple(real.tolist())}
        side = np.sign(share - real) / 2
        first_order = errors(side[generated], -side[reference])
        growth: tuple[float, ...] = ()
        if samples.errors:
            growth = norm_growth(_divided(generated, reference, samples.classes), first_order, len(generated), len(reference))
        score = Score(
            total_variation(share, real), error=first_order[0], reference_error=first_order[1], growth=growth, extra=extra
        )
        return {"class_distance": score}


def _divided(generated: np.ndarray, reference: np.ndarray, classes: int) -> list[float]:
    """Total variations of divisions of all labels."""
    labels = np.concatenate([generated, reference])
    return [
        total_variation(shares(labels[first], classes), shares(labels[second], classes))
        for first, second in divisions(len(generated), len(reference), DIVISIONS)
    ]
