"""The scores that come from the model itself; `pushforward.evaluation.model_metrics` computes them."""

from __future__ import annotations

from collections.abc import Mapping

from pushforward.metrics.score import MetricInfo, share_info

MODEL_SCORES: Mapping[str, MetricInfo] = {
    "bpd": MetricInfo(
        "bits per dimension",
        "lower",
        "How many bits the model needs for one number of a held-out example: for images a bound for their 256 levels, for "
        "vectors minus the log density in the data's units, which may be negative.",
        unit="bits",
        unbiased=True,
    ),
    "cas": share_info(
        "Classification accuracy score",
        "higher",
        "How often a classifier that is trained on samples alone names the class of held-out examples; beside it one that is "
        "trained on as many real examples.",
        unit="%",
        group="Classes",
    ),
}
