"""Metrics by name: which there are, which are wanted, and what to answer to other names that the field has for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward.errors import UsageError, did_you_mean
from pushforward.evaluation.model_scores import MODEL_SCORES
from pushforward.metrics import Metric, Samples, Score
from pushforward.registries import METRICS

__all__ = ["Choice", "check_metrics", "chosen", "measured"]

Choice = list[tuple[Metric, tuple[str, ...]]]
"""Metrics, each with the names of its scores that are wanted."""

OTHER_NAMES = {
    "frechet": ("fid", "fd", "frechet_distance", "frechet_inception_distance"),
    "frechet_limit": ("fid_infinity", "fd_infinity", "frechet_infinity", "fid_inf", "fd_inf"),
    "wasserstein": ("wasserstein2", "emd", "optimal_transport", "swd", "sliced_wasserstein"),
    "sinkhorn": ("sinkhorn_divergence", "entropic_ot"),
    "class_distance": ("class_histogram", "tv", "total_variation"),
    "copying_test": ("c_t", "ct", "data_copying"),
    "authenticity": ("auth", "authpct"),
    "detection": ("c2st_xgb", "c2st_trees", "detection_score", "logistic_detection"),
    "membership": ("mia", "membership_inference", "domias"),
    "nearest_ratio": ("dcr", "distance_to_closest_record"),
    "nearer_training": ("dcr_share",),
    "column_error": ("shape", "shapes", "ks_complement"),
    "pair_error": ("trend", "trends", "correlation_similarity"),
    "utility": ("mle", "ml_efficacy", "machine_learning_efficacy"),
    "classifier_test": ("c2st", "classifier_two_sample_test"),
    "cas": ("classification_accuracy", "classification_accuracy_score", "tstr"),
    "two_sample": ("two_sample_test",),
    "energy": ("energy_distance",),
    "neighbour_test": ("1nn", "nearest_neighbour_test", "nearest_neighbor_test"),
    "kid": ("mmd", "kernel_inception_distance", "kernel_distance"),
    "manifold": ("prdc", "pr", "precision_recall"),
    "bpd": ("bits", "bits_per_dim", "bits_per_dimension", "nll", "likelihood", "log_likelihood", "elbo"),
    "near_copies": ("copies", "duplicates", "memorization"),
    "modes": ("mode_coverage", "mode_collapse"),
}
"""What else metrics are called, or what measures nearly the same."""
INCEPTION = ("is", "inception", "inception_score")


def check_metrics(names: Sequence[str | Metric] | None) -> None:
    """Refuse names that no metric has, before anything is computed.

    Raises:
        UsageError: Naming what was probably meant, and all metrics.
    """
    known = _known()
    for name in [names] if isinstance(names, str) else names or ():
        if isinstance(name, str) and name not in known:
            raise _unknown(name)


def _unknown(name: str) -> UsageError:
    """The error for a name that is no metric's."""
    known = sorted(_known())
    if name in MODEL_SCORES:
        return UsageError(f"{name} is a matter of the model, not of samples alone: pushforward.evaluate computes it of a run.")
    word = name.lower().replace("-", "_").replace(" ", "_")
    hint = next((f' Did you mean "{own}"?' for own, others in OTHER_NAMES.items() if word in {own, *others}), "")
    if word in INCEPTION:
        hint = " The Inception score does not look at the data, so it is not among them; frechet and kid do."
    return UsageError(f'Unknown metric "{name}"; known: {", ".join(known)}.{hint or did_you_mean(word, known)}')


def _known() -> set[str]:
    of_samples = (name for metric in METRICS.values() for name in metric.scores)
    return {*METRICS, *MODEL_SCORES, *of_samples}


def chosen(wanted: Sequence[str | Metric] | None) -> Choice:
    """Metrics and which of their scores were asked for; None means all.

    Raises:
        UsageError: For a name that is no metric's.
    """
    known = METRICS
    if wanted is None:
        return [(metric(), tuple(metric.scores)) for metric in known.values()]
    owners = {name: metric for metric in known.values() for name in metric.scores}
    by_metric: dict[Any, tuple[Metric, list[str]]] = {}
    for choice in [wanted] if isinstance(wanted, str) else wanted:
        if not isinstance(choice, str):
            by_metric[id(choice)] = (choice, list(choice.scores))
            continue
        metric = known.get(choice) or owners.get(choice)
        if metric is None:
            raise _unknown(choice)
        by_metric.setdefault(metric, (metric(), []))[1].extend(metric.scores if choice in known else (choice,))
    return [(metric, tuple(dict.fromkeys(scores))) for metric, scores in by_metric.values()]


def measured(samples: Samples, choice: Choice) -> dict[str, Score]:
    """The scores that were asked for, of the metrics that apply."""
    return {
        name: result
        for metric, wanted in choice
        if metric.applies(samples)
        for name, result in metric(samples).items()
        if name in wanted
    }
