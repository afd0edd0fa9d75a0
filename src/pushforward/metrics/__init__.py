"""Metrics: arrays in, scores out; they know nothing of models, networks or data sets.

Each file of this folder holds one metric, and `registry` finds it there: a new metric is one new file. It declares the name,
the direction and the place in the report of each of its scores (`MetricInfo`). A metric of one's own is added by `register`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from types import ModuleType

from pushforward.errors import UsageError
from pushforward.metrics.score import Metric, MetricInfo, Samples, Score, is_metric
from pushforward.spec import check_names

__all__ = ["Metric", "MetricInfo", "Samples", "Score", "adopt", "describe", "register", "registry"]

_ADDED: dict[str, type[Metric]] = {}


def registry() -> dict[str, type[Metric]]:
    """Every metric by the name of its file, then those that `register` added; all are built without arguments."""
    return _own(tuple(__path__)) | _ADDED


@functools.cache
def _own(folders: tuple[str, ...]) -> dict[str, type[Metric]]:
    """The metrics of the package's folders, which stay the same while it runs."""
    modules = {entry.name: importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(folders)}
    return {name: part for name, module in modules.items() for part in _defined(module)}


def _defined(module: ModuleType) -> list[type[Metric]]:
    return [
        part for part in vars(module).values() if inspect.isclass(part) and part.__module__ == module.__name__ and is_metric(part)
    ]


def register(name: str, metric: type[Metric]) -> None:
    """Let evaluations, comparisons and the command line use a further metric.

    Args:
        name: Its name in `registry`; one that was added before is replaced.
        metric: A class whose ``scores`` declare a `MetricInfo` by name.

    Raises:
        UsageError: If it is no metric, or gives a score whose name another metric has.
    """
    if not is_metric(metric):
        raise UsageError(f'{metric!r} is not a metric: its class needs an attribute "scores", a dict from names to MetricInfo.')
    owners = {score: owner for owner, other in registry().items() if owner != name for score in other.scores}
    taken = [score for score in metric.scores if score in owners]
    if taken or name in registry().keys() - _ADDED.keys():
        raise UsageError(f"The name {taken[0] if taken else name!r} belongs to another metric. Choose another name.")
    _ADDED[name] = metric


def adopt(module: ModuleType) -> list[str]:
    """Register the metrics that a module defines, by the lower-case names of their classes; these names."""
    metrics = {part.__name__.lower(): part for part in _defined(module)}
    check_names("metric", metrics, _ADDED, module)
    for name, metric in metrics.items():
        register(name, metric)
    return list(metrics)


def describe() -> dict[str, MetricInfo]:
    """What a reader needs to know about each score, by its name."""
    return {name: info for metric in registry().values() for name, info in metric.scores.items()}
