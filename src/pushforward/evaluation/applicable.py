"""Whether named metrics are computed for a kind of data, known before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pushforward.data import Dataset
from pushforward.data.core.ground_truth import Stack
from pushforward.errors import UsageError
from pushforward.evaluation.model_scores import MODEL_SCORES
from pushforward.evaluation.naming import chosen
from pushforward.evaluation.rows import Raw, is_table, rows_at, table_of
from pushforward.metrics import Metric, Samples
from pushforward.metrics.utility import Utility
from pushforward.registries import METRICS

__all__ = ["check_applicable"]

EXAMPLES = 100
"""More than any metric needs to apply, so that few held-out examples are no reason to refuse one."""


def check_applicable(names: Sequence[str] | None, data: Dataset) -> None:
    """Refuse metrics that have no meaning for the data, whatever the model.

    Metrics of plug-ins, and those of stacked images, are not judged in advance.

    Args:
        names: As `pushforward.evaluate` takes them; None means all that apply.
        data: With what samples are compared.

    Raises:
        UsageError: Naming those that are computed for such data.
    """
    own = [name for name in names or () if isinstance(name, str) and name not in MODEL_SCORES]
    if not own or isinstance(data.truth, Stack):
        return
    samples, refused = _real(data), {}
    for name in own:
        ((metric, wanted),) = chosen([name])
        if not set(wanted) & {*_computed(metric, samples)} and type(metric).__module__.startswith("pushforward."):
            refused[name] = metric
    if not refused:
        return
    known = [score for other in METRICS.values() for score in _computed(other(), samples)]
    of_tables = samples.table is not None and not any(isinstance(metric, Utility) for metric in refused.values())
    kind, verb = "tables" if of_tables else f"these {data.space.noun}s", "is" if len(refused) == 1 else "are"
    raise UsageError(f"{', '.join(refused)} {verb} not computed for {kind}. These are: {', '.join(known)}.")


def _computed(metric: Metric, samples: Samples) -> Sequence[str]:
    """The names of a metric's scores that it has for such data."""
    if not metric.applies(samples):
        return ()
    return [name for name in metric.scores if name not in getattr(metric, "left_out", lambda _: ())(samples)]


def _real(data: Dataset) -> Samples:
    """Held-out examples on either side, repeated where they are few; features without a meaning."""
    picked, raw = np.resize(np.arange(len(data.held_out)), EXAMPLES), Raw(data)
    examples, features = raw.at(data.held_out, picked), np.zeros((EXAMPLES, 2))
    rows = rows_at(data.held_out, picked) if is_table(data.space) else None
    classes = None if data.held_out.labels is None else data.held_out.labels[picked]
    return Samples(
        generated=examples,
        reference=examples,
        training=examples,
        generated_features=features,
        reference_features=features,
        shape=examples.shape[1:] if is_table(data.space) else tuple(data.space.shape),
        truth=data.truth,
        generated_classes=classes,
        reference_classes=classes,
        classes=len(data.space.classes),
        table=None if rows is None else table_of(data.space, rows, rows),
    )
