"""Trainings of one recipe with several seeds as one entrant, so that its spread says what another training would change."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.report.numbers import finite
from pushforward.report.readings import entrants_of, name_of

__all__ = ["pooled"]

KEPT = ("name", "seed", "run", "scores", "training", "sampling", "label_agreement")


def pooled(content: Mapping[str, Any], pictures: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A comparison in which all trainings of a recipe are one row.

    Trainings belong together where names differ only in their own seed at the end (``flow-0``, ``flow-1``), and family,
    method and size are the same. Scores become means over trainings; their spread is that over trainings, or that over
    samplings where it is greater, since a few trainings can agree by luck.

    Args:
        content: As `pushforward.report.report` describes.
        pictures: Arrays by entrant name; those of each first training are kept.

    Returns:
        Content and pictures; entrants of a single training are as they were.
    """
    groups: dict[Any, list[dict[str, Any]]] = {}
    for one in entrants_of(content):
        groups.setdefault(_recipe(one), []).append(one)
    taken = {name_of(group[0]) for group in groups.values() if len(group) == 1}
    names: dict[str, str] = {}
    made = []
    for (stem, *_), group in groups.items():
        name = name_of(group[0]) if len(group) == 1 else stem if stem not in taken else f"{stem} ({len(group)} trainings)"
        taken.add(name)
        names |= {name_of(one): name for one in group}
        made.append(group[0] if len(group) == 1 else _one(name, group))
    shown = {name: pictures[old] for old, name in reversed(names.items()) if old in pictures}
    settings = dict(content.get("settings") or {})
    if isinstance(settings.get("shared"), list):
        settings["shared"] = [list(dict.fromkeys(names.get(one, one) for one in group)) for group in settings["shared"]]
    rest = {name: found for name, found in pictures.items() if name not in names}
    return {**content, "settings": settings, "entrants": made}, shown | rest


def _recipe(entrant: Mapping[str, Any]) -> tuple[Any, ...]:
    """What trainings of one recipe have in common; a name that does not end in its seed stands alone."""
    name, end = name_of(entrant), f"-{entrant.get('seed')}"
    if entrant.get("seed") is None or not name.endswith(end) or name == end:
        return name, id(entrant)
    return name.removesuffix(end), entrant.get("family"), str(entrant.get("method")), entrant.get("parameters")


def _one(name: str, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [one.get("scores") or {} for one in group]
    metrics = dict.fromkeys(metric for one in scores for metric in one)
    return {
        **group[0],
        "name": name,
        "seed": [one.get("seed") for one in group],
        "run": ", ".join(str(one["run"]) for one in group if one.get("run")) or None,
        "trainings": [{key: one[key] for key in KEPT if key in one} for one in group],
        "scores": {metric: _score([one.get(metric) or {} for one in scores]) for metric in metrics},
        "training": _mean([one.get("training") or {} for one in group]),
        "sampling": _mean([one.get("sampling") or {} for one in group]),
        "label_agreement": _mean([one.get("label_agreement") for one in group]),
        "modes": _mean([one.get("modes") for one in group]),
        "trajectory": _mean([one.get("trajectory") for one in group]),
        "alarms": [
            {**alarm, "training": name_of(one)}
            for one in group
            for alarm in one.get("alarms") or []
            if isinstance(alarm, Mapping)
        ],
        "warnings": [f"{name_of(one)}: {text}" for one in group for text in one.get("warnings") or []],
        "commands": [text for one in group for text in one.get("commands") or []],
    }


def _score(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One training without a score leaves none: the others' mean would speak for it."""
    means = [mean for one in parts if (mean := finite(one.get("mean"))) is not None]
    if len(means) < len(parts):
        return {**parts[0], "mean": None, "spread": None, "values": means, "ratio": None}
    spreads = [finite(one.get("spread")) or 0.0 for one in parts]
    sampling = statistics.fmean(one**2 for one in spreads) ** 0.5
    return {**_mean(parts), "spread": max(statistics.stdev(means), sampling), "values": means}


def _mean(parts: Sequence[Any]) -> Any:
    """Numbers averaged, dicts by key, lists of equal length by place; of anything else the first."""
    first = parts[0]
    if all(one == first for one in parts):
        return first
    if all(isinstance(one, Mapping) for one in parts):
        return {key: _mean([one.get(key) for one in parts]) for key in first}
    if all(isinstance(one, list) and len(one) == len(first) for one in parts):
        return [_mean(list(some)) for some in zip(*parts, strict=True)]
    numbers = [one for one in map(finite, parts) if one is not None]
    return statistics.fmean(numbers) if len(numbers) == len(parts) else first
