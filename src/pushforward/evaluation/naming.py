"""Names of metrics: which there are, and what to answer to other names that the field has for them."""

from __future__ import annotations

from collections.abc import Sequence

from pushforward.errors import UsageError, did_you_mean
from pushforward.evaluation.model_scores import MODEL_SCORES
from pushforward.metrics import Metric, registry

__all__ = ["check_metrics", "unknown_metric"]

OTHER_NAMES = {
    "frechet": ("fid", "fd", "frechet_distance", "frechet_inception_distance", "wasserstein", "wasserstein2", "w2", "emd"),
    "kid": ("mmd", "kernel_inception_distance", "kernel_distance"),
    "manifold": ("prdc", "pr", "precision_recall"),
    "bpd": ("bits", "bits_per_dim", "bits_per_dimension", "nll", "likelihood", "log_likelihood", "elbo"),
    "near_copies": ("copies", "duplicates", "memorization", "authenticity"),
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
            raise unknown_metric(name)


def unknown_metric(name: str) -> UsageError:
    """The error for a name that is no metric's."""
    known = sorted(_known())
    if name in MODEL_SCORES:
        return UsageError("Bits per dimension (bpd) are a matter of the model, not of samples: pushforward.evaluate finds them.")
    word = name.lower().replace("-", "_").replace(" ", "_")
    hint = next((f' Did you mean "{own}"?' for own, others in OTHER_NAMES.items() if word in {own, *others}), "")
    if word in INCEPTION:
        hint = " The Inception score does not look at the data, so it is not among them; frechet and kid do."
    return UsageError(f'Unknown metric "{name}"; known: {", ".join(known)}.{hint or did_you_mean(word, known)}')


def _known() -> set[str]:
    of_samples = (name for metric in registry().values() for name in metric.scores)
    return {*registry(), *MODEL_SCORES, *of_samples, *(name for scores in MODEL_SCORES.values() for name in scores)}
