"""Scores in further feature spaces, which stand beside those of the first: two spaces that disagree are a warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from pushforward.data import Dataset
from pushforward.evaluation.features import Features, fit_features
from pushforward.evaluation.halves import kind_of
from pushforward.evaluation.naming import chosen
from pushforward.evaluation.scoring import floors, score
from pushforward.extractors import Spaces, check_spaces, named_extractors
from pushforward.metrics import MetricInfo, Score

SCORES = ("frechet", "kid", "precision", "recall", "coverage")
"""What is computed in every space: scores of features that order models."""


def fit_spaces(dataset: Dataset, spaces: Spaces) -> tuple[Features, tuple[Features, ...]]:
    """The features by which models are ranked, and further ones.

    Args:
        dataset: The data.
        spaces: One or several; None is the space that suits the data.

    Raises:
        UsageError: For an unknown name, or one that comes twice.
        DataError: If an extractor cannot read the data.
        MissingExtra: Without a package that one needs.
    """
    extractors = named_extractors(kind_of(dataset) if spaces is None else spaces)
    check_spaces(extractors, dataset)
    first, *others = extractors.items()
    return fit_features(dataset, dict([first])), tuple(fit_features(dataset, dict([other]), reads=False) for other in others)


def learns(dataset: Dataset, spaces: Spaces) -> bool:
    """Whether any of the spaces is learned, so that floors come from one half of the training examples of a toy as well."""
    return any(extractor.learns for extractor in named_extractors(kind_of(dataset) if spaces is None else spaces).values())


def named_in(name: str, features: Features) -> str:
    """The name of a score in a further space, such as "frechet (pca)"."""
    return f"{name} ({features.name})"


def scores_in(
    others: Sequence[Features], x: Tensor | np.ndarray, dataset: Dataset, n: int, metrics: Sequence[str] | None
) -> dict[str, Score]:
    """Scores of samples in further spaces, by `named_in`."""
    return _by_space(others, metrics, lambda features, names: score(x, dataset, features, n=n, metrics=names))


def floors_in(others: Sequence[Features], dataset: Dataset, n: int, metrics: Sequence[str] | None) -> dict[str, Score]:
    """Floors in further spaces, by `named_in`."""
    return _by_space(others, metrics, lambda features, names: floors(dataset, features, n=n, metrics=names))


def _by_space(
    others: Sequence[Features], metrics: Sequence[str] | None, scored: Callable[[Features, list[str]], dict[str, Score]]
) -> dict[str, Score]:
    """Those of `SCORES` that were asked for, in each space."""
    names = [name for _, names in chosen(metrics) for name in names if name in SCORES] if others else []
    spaces = others if names else ()
    return {named_in(name, space): result for space in spaces for name, result in scored(space, names).items()}


def infos_in(others: Sequence[Features], known: Mapping[str, MetricInfo], n: int) -> dict[str, MetricInfo]:
    """What a report must know of scores in further spaces: a heading of their own, and no role in the verdict."""
    infos = {}
    for features in others:
        for name in SCORES:
            info = known[name]
            what = f"{info.what} Here in other features: {features.describe(n)}."
            infos[named_in(name, features)] = replace(
                info, label=f"{info.label} ({features.name})", what=what, group=f"In other features: {features.name}", role=None
            )
    return infos
