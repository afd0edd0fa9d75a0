"""The protocol of scores as it is read off data, features and metrics."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

from pushforward.data import Dataset
from pushforward.evaluation.features import Features
from pushforward.evaluation.protocol import Protocol
from pushforward.evaluation.rows import REPRESENTATION, is_table
from pushforward.evaluation.scoring import reference_examples
from pushforward.registries import METRICS

__all__ = ["protocol_of"]


def protocol_of(
    data: Dataset, features: Features, n: int, k: int, metrics: Sequence[str], others: Sequence[Features] = ()
) -> Protocol:
    """The protocol of scores of n samples.

    Args:
        data: The data set, whose held-out examples are the reference.
        features: In which scores are computed.
        n: Samples on either side.
        k: Neighbours.
        metrics: Names of the scores.
        others: Further features that scores stand in beside.
    """
    space = data.space
    quantisation = f"{space.levels} levels" if space.levels is not None else "float32"
    return Protocol(
        data=data.fingerprint,
        reference=_sha256(data, n),
        n=n,
        k=k,
        extractor=features.identity,
        dimensions=features.dims(n),
        preprocessing=features.preprocessing,
        quantisation=quantisation,
        representation=REPRESENTATION if is_table(space) else "",
        labels="in proportion" if space.label is not None else "",
        versions=_versions(metrics),
        spaces={other.name: other.identity for other in others},
        weights={each.name: each.weights for each in (features, *others)},
    )


def _sha256(data: Dataset, n: int) -> str:
    examples = data.held_out.data_units(reference_examples(len(data.held_out), n)).numpy()
    return hashlib.sha256(repr(examples.shape).encode() + examples.tobytes()).hexdigest()


def _versions(metrics: Sequence[str]) -> dict[str, str]:
    """The version of this package, and by score the number of its definition, or a hash of the user's own file."""
    import inspect
    from pathlib import Path

    versions = {"pushforward": str(sys.modules["pushforward"].__version__)}  # importing the package would point up
    for metric in METRICS.values():
        own = set(metric.scores) & set(metrics)
        if own and not metric.__module__.startswith("pushforward.metrics."):
            file = Path(inspect.getfile(metric))
            content = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""
            versions |= dict.fromkeys(sorted(own), content)
        elif own and (definition := getattr(metric, "definition", None)):
            versions |= dict.fromkeys(sorted(own), f"definition {definition}")
    return versions
