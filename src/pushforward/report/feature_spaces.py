"""Where two feature spaces disagree in the order of models, and where one judges models that it taught."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import listing
from pushforward.report.sentences import Sentence, inside, named, unmarked, verb, warning
from pushforward.report.statistics import statistic

__all__ = ["disagreements", "taught_judges"]

TEACHERS = frozenset({"ProjectedCritic", "PretrainedFeatures"})
"""Parts of a method that look through EfficientNet as it was trained on ImageNet."""
OF_IMAGENET = {"efficientnet": "EfficientNet", "inception": "Inception"}
"""Feature extractors that were trained on ImageNet, by name."""


def disagreements(comparison: Comparison) -> Iterator[Sentence]:
    """Pairs of models of which one is measurably better in the first space and measurably worse in another."""
    first, *others = comparison.settings.spaces or ("",)
    for space in others:
        names = [name.removesuffix(f" ({space})") for name in comparison.metrics if name.endswith(f" ({space})")]
        for model, other in permutations(comparison.models, 2):
            labels = [
                inside(comparison.info(name).label)
                for name in names
                if _ahead(comparison, name, model.name, other.name)
                and _ahead(comparison, f"{name} ({space})", other.name, model.name)
            ]
            if labels:
                yield warning(
                    f"{named([model.name])} is ahead of {named([other.name])} in {unmarked(first)} features and behind in "
                    f"{unmarked(space)} features: do not rank these two by {listing(labels)}."
                )


def _ahead(comparison: Comparison, metric: str, name: str, other: str) -> bool:
    """Whether one model is measurably better than another."""
    score, rival = (statistic(comparison, comparison[model], metric) for model in (name, other))
    return score is not None and rival is not None and score.better_than(rival)


def taught_judges(comparison: Comparison) -> Iterator[Sentence]:
    """Features of ImageNet that judge models which were trained by features of ImageNet.

    References:
        Kynkäänniemi et al., The Role of ImageNet Classes in Fréchet Inception Distance, 2023, arXiv:2203.06026.
    """
    taught = [model.name for model in comparison.models if _has_part(model.config.get("method"))]
    for number, space in enumerate(comparison.settings.spaces):
        network = OF_IMAGENET.get(space.partition(":")[0])
        if not taught or network is None:
            continue
        same = (
            "the same features"
            if network == "EfficientNet"
            else "features of EfficientNet, which has learned from the same images"
        )
        yield Sentence(
            "warning" if number else "measure",
            f"The judge is the teacher: scores in {network} features are too good for {named(taught)}, which "
            f"{verb(taught, 'was', 'were')} trained to look right in {same}. Compare in features that no model was trained on.",
            "reproduce",
        )


def _has_part(value: object) -> bool:
    """Whether a method's settings name one of the `TEACHERS`, at any depth."""
    if isinstance(value, Mapping):
        return value.get("part") in TEACHERS or any(map(_has_part, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_part, value))
