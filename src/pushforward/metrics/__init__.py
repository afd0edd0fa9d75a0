"""Metrics: arrays in, scores out; they know nothing of models, networks or data sets.

Each file of this folder holds one metric, and `registry` finds it there: a new metric is one new file.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from typing import Any

from pushforward.metrics.score import Metric, Samples, Score, is_metric

__all__ = ["Metric", "Samples", "Score", "describe", "registry"]


@functools.cache
def _found() -> dict[str, type[Metric]]:
    found: dict[str, type[Metric]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for part in vars(module).values():
            if inspect.isclass(part) and part.__module__ == module.__name__ and is_metric(part):
                found[entry.name] = part
    return found


def registry() -> dict[str, type[Metric]]:
    """Every metric of this folder by the name of its file; all can be built without arguments."""
    return dict(_found())


def describe() -> dict[str, dict[str, Any]]:
    """What a reader needs to know about each score.

    Returns:
        By score: ``label``, ``better`` ("lower", "higher", "target"), ``what`` it is in a sentence,
        ``target`` where the ideal value is known beforehand, and ``without``, the sentence that explains a missing score.
    """
    about: dict[str, dict[str, Any]] = {}
    for metric in _found().values():
        about |= {name: dict(row) for name, row in metric.about.items()}
    return about
