"""The verdict: what is best and by how much, in sentences; then what to worry about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.report.numbers import count, duration, finite, plain
from pushforward.report.readings import (
    DIVERSITY,
    QUALITY,
    THRESHOLDS,
    Reading,
    Sentence,
    at_floor,
    at_n,
    chosen,
    entrants_of,
    floor_of,
    inside,
    label_of,
    leaders,
    name_of,
    named,
    readings,
    values_of,
    with_spread,
)
from pushforward.report.speeds import sampling_sentence
from pushforward.report.worries import worries

__all__ = ["verdict"]


def verdict(content: Mapping[str, Any]) -> list[Sentence]:
    """The findings: what is best and by how much, then what to worry about."""
    claims = [
        _best(content, QUALITY, "quality"),
        _best(content, DIVERSITY, "diversity"),
        sampling_sentence(content),
        _training(content),
    ]
    found = [one for one in claims if one is not None] + list(worries(content))
    return sorted(found, key=lambda one: one.kind != "baseline")


def _best(content: Mapping[str, Any], metrics: Sequence[str], what: str) -> Sentence | None:
    metric = chosen(content, metrics)
    if metric is None:
        return None
    ranked, lead = readings(content, metric), leaders(content, metric)
    label = inside(label_of(content, metric))
    if len(ranked) == 1:
        text = f"{named([ranked[0].name])} has a {label} of {ranked[0].text}"
    elif len(lead) == 1:
        second = f"next {named([ranked[1].name])} with {ranked[1].text}"
        text = f"{named([lead[0].name])} has the best {what}: {label} {lead[0].text}, {second}"
    elif len(lead) == len(ranked):
        between = named([one.name for one in lead])
        text = f"No measurable difference in {what} between {between}{at_n(content)}: {label} {values_of(lead)}"
    else:
        text = (
            f"{named([one.name for one in lead])} lead in {what}, with no measurable difference between them"
            f"{at_n(content)}: {label} {values_of(lead)}, next {named([ranked[len(lead)].name])} with "
            f"{ranked[len(lead)].text}"
        )
    return Sentence(what, text + _beside_floor(content, metric, lead), "scorecard")


def _beside_floor(content: Mapping[str, Any], metric: str, lead: Sequence[Reading]) -> str:
    mean, spread = floor_of(content, metric)
    if mean is None:
        return "."
    text = f"; real data scores {with_spread(mean, spread or None)}"
    return text + (" (no measurable difference)." if all(at_floor(content, metric, one) for one in lead) else ".")


def _numbers(content: Mapping[str, Any], group: str, key: str) -> dict[str, float]:
    found = {name_of(one): finite((one.get(group) or {}).get(key)) for one in entrants_of(content)}
    return {name: value for name, value in found.items() if value is not None and value > 0}


def _training(content: Mapping[str, Any]) -> Sentence | None:
    seconds = _numbers(content, "training", "seconds")
    if len(seconds) < 2:
        return None
    ranked = sorted(seconds, key=lambda name: seconds[name])
    low, high = seconds[ranked[0]], seconds[ranked[-1]]
    steps = list(_numbers(content, "training", "steps").values())
    if high > THRESHOLDS["unequal_time"] * low and len(steps) == len(seconds) and min(steps) == max(steps):
        text = (
            f"All made {count(steps[0])} training steps, which took from {duration(low)} ({named(ranked[:1])}) to "
            f"{duration(high)} ({named(ranked[-1:])})."
        )
        return Sentence("training", text, "cost")
    if high > THRESHOLDS["unequal_time"] * low:
        text = (
            f"Training took unequal time, from {duration(low)} ({named(ranked[:1])}) to {duration(high)} "
            f"({named(ranked[-1:])}); the scores are not at equal budgets."
        )
        return Sentence("training", text, "cost")
    rates = {name: value / seconds[name] for name, value in _numbers(content, "training", "samples").items() if name in seconds}
    text = f"All were trained for about {duration((low + high) / 2)}"
    if len(rates) > 1:
        best, worst = max(rates, key=lambda name: rates[name]), min(rates, key=lambda name: rates[name])
        if rates[best] > THRESHOLDS["faster"] * rates[worst]:
            times = plain(rates[best] / rates[worst], 2)
            text += f", in which {named([best])} saw {times} times as many samples as {named([worst])}"
    return Sentence("training", f"{text}.", "cost")
