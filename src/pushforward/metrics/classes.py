"""Class histogram: do samples show every class as often as real data does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.errors import UsageError
from pushforward.metrics.exchanges import divisions, norm_growth
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.table import variation
from pushforward.metrics.uncertainty import errors

DIVISIONS = 200


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
        return samples.generated_classes is not None and samples.reference_classes is not None

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "class_distance".

        ``extra`` has the share of each class in samples as "share", and in real data as "real".

        Raises:
            UsageError: If a side has no label, or one that is no class.
        """
        generated, reference = samples.generated_classes, samples.reference_classes
        assert generated is not None
        assert reference is not None
        for labels in (generated, reference):
            _check(labels, samples.classes)
        share, real = (np.bincount(labels, minlength=samples.classes) / len(labels) for labels in (generated, reference))
        extra = {"share": tuple(share.tolist()), "real": tuple(real.tolist())}
        distance, *terms = variation(generated, reference, samples.classes)
        first_order = errors(terms[0], terms[1])
        growth: tuple[float, ...] = ()
        if samples.errors:
            growth = norm_growth(_divided(generated, reference, samples.classes), first_order, len(generated), len(reference))
        score = Score(distance, error=first_order[0], reference_error=first_order[1], growth=growth, extra=extra)
        return {"class_distance": score}


def _check(labels: np.ndarray, classes: int) -> None:
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        got = f"labels from {labels.min()} to {labels.max()}" if len(labels) else "no label"
        raise UsageError(f"Expected at least one label, and labels from 0 to {classes - 1} only, got {got}.")


def _divided(generated: np.ndarray, reference: np.ndarray, classes: int) -> list[float]:
    labels = np.concatenate([generated, reference])
    parts = divisions(len(generated), len(reference), DIVISIONS)
    return [variation(labels[first], labels[second], classes)[0] for first, second in parts]
