"""Scores as sentences need them, and the one rule by which they are compared.

Every threshold of the report is in `THRESHOLDS`, and nowhere else.

Two scores differ (`differ`) where they are more than 2 spreads of their difference apart, ``2 sqrt(v^2 + w^2)``. The
spread of a score is that over its trainings, else over its samplings, and no less than the floor's: three of them can
agree by luck. So no difference below 2 sqrt 2 spreads of the floor counts, among models or against real data, and "best",
"no measurable difference" and the limits at the page's end all follow one rule. Intervals are drawn as ``mean ± sqrt(2) w``:
where two overlap, there is no measurable difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pushforward.report.numbers import count, finite, listing, measured

__all__ = [
    "CLOSE",
    "DIVERSITY",
    "GROUPS",
    "OPEN",
    "QUALITY",
    "THRESHOLDS",
    "Reading",
    "Sentence",
    "alarms_of",
    "at_floor",
    "at_n",
    "blind",
    "chosen",
    "differ",
    "entrants_of",
    "floor_of",
    "floor_reading",
    "guess_reading",
    "inside",
    "label_of",
    "leaders",
    "metric_of",
    "name_of",
    "named",
    "ratio_of",
    "reading",
    "readings",
    "target_of",
    "unmarked",
    "values_of",
    "verb",
    "with_spread",
]

THRESHOLDS: dict[str, float] = {
    "differ": 2.0,  # from how many spreads of their difference two scores differ
    "near_copies": 0.01,  # share of near-copies above the floor's from which samples count as memorised
    # over the floors; in brackets four splits of digits, n = 300
    "precision_right": 0.9,  # precision: above, samples look right (real: 1.01 to 1.03)
    "precision_poor": 0.6,  # precision: below, many samples look wrong
    "density_right": 0.7,  # density: below, samples lie apart from the data (real: .93 to 1.06; noise of .2: .64 to .83)
    "recall_poor": 0.85,  # recall: below, samples repeat themselves (without 3 classes: .69 to .82, without 1: .90 to .97)
    "recall_right": 0.9,  # recall: above, samples cover the data (real: .99 to 1.01)
    "mode_held": 0.2,  # share of a mode's fair mass from which it is held
    "bridges": 0.05,  # share of samples between the modes, above the floor's
    "narrow": 0.8,  # width of the modes over the true one: below, too narrow
    "wide": 1.25,  # above, too wide
    "blurred": 0.75,  # high-frequency power over real data's: below, blurred
    "grainy": 1.35,  # above, grainy
    "agreement": 0.9,  # share of samples recognised as the class they were asked to be, over that of real data
    "dimensions": 4,  # dimensions of the features, of more in the data: below, scores cannot be relied on
    "small": 200,  # samples on either side: below, scores are hardly worth reading
    "faster": 1.2,  # a time ratio that counts as a difference
    "unequal_time": 1.15,  # training times that count as unequal
    "unequal_size": 2.0,  # parameter counts that count as unequal
    "enough": 2.0,  # how many spreads of the floor above the best point of a curve still count as enough
}

QUALITY, DIVERSITY = ("frechet", "kid"), ("coverage", "recall")
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Quality and diversity", ("frechet", "kid", "precision", "recall", "density", "coverage")),
    ("Modes", ("modes_held", "modes_found", "high_quality", "bridges", "spread", "mode_kl", "stacked_modes", "stacked_kl")),
    ("Further checks", ()),
)
"""How the scorecard is split; scores that no group names go into the last."""

OPEN, CLOSE = "\ue000", "\ue001"
"""Around names inside a sentence's ``marked`` text, so that a page can set them apart; private code points."""


@dataclass(frozen=True)
class Sentence:
    """One finding.

    Args:
        kind: "baseline" (nobody beats it), "quality", "diversity", "speed", "training", or "worry".
        marked: The text, with names between `OPEN` and `CLOSE`.
        link: The section that shows it.
    """

    kind: str
    marked: str
    link: str

    @property
    def text(self) -> str:
        """Plain text."""
        return self.marked.replace(OPEN, "").replace(CLOSE, "")


@dataclass(frozen=True)
class Reading:
    """One score of one row, with what it takes to compare it.

    Args:
        name: The row's name.
        mean: The value.
        spread: Over the trainings, or over the samplings of a single one; None where unknown.
        width: The spread that counts: no less than the floor's.
        loss: The value turned so that less is better.
    """

    name: str
    mean: float
    spread: float | None
    width: float
    loss: float

    @property
    def half(self) -> float:
        """Half the interval that is drawn; intervals of equal width that touch are just not different."""
        return THRESHOLDS["differ"] * self.width / math.sqrt(2)

    def better_than(self, other: Reading) -> bool:
        """Whether this one is measurably better."""
        return differ(other.loss - self.loss, self.width, other.width)

    @property
    def text(self) -> str:
        """Mean and spread."""
        return with_spread(self.mean, self.spread)


def differ(gap: float, width: float, other: float) -> bool:
    """Whether a gap between two scores of these spreads is more than noise: the one rule of all comparisons."""
    return gap > THRESHOLDS["differ"] * math.hypot(width, other)


def with_spread(mean: Any, spread: Any) -> str:
    """Such as ``1.02 ± 0.05``."""
    value, wide = measured(mean, spread)
    return f"{value} ± {wide}" if wide else value


def name_of(entrant: Mapping[str, Any]) -> str:
    """What an entrant is called."""
    return str(entrant.get("name") or "unnamed").replace(OPEN, "").replace(CLOSE, "")


def entrants_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entrants that are there."""
    return [one for one in content.get("entrants") or [] if isinstance(one, dict)]


def metric_of(content: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """What is known of a metric; an empty dict where nothing is."""
    found = (content.get("metrics") or {}).get(metric)
    return found if isinstance(found, dict) else {}


def label_of(content: Mapping[str, Any], metric: str) -> str:
    """A metric's name in words."""
    return str(metric_of(content, metric).get("label") or metric)


def inside(label: str) -> str:
    """A label as it stands within a sentence: abbreviations and names keep their capital."""
    return label if label[:2].isupper() or label.startswith("Fréchet") else label[:1].lower() + label[1:]


def floor_of(content: Mapping[str, Any], metric: str) -> tuple[float | None, float]:
    """Mean (or None) and spread (0 where unknown) of a metric's floor."""
    floor = metric_of(content, metric).get("floor")
    if not isinstance(floor, dict):
        return None, 0.0
    return finite(floor.get("mean")), finite(floor.get("spread")) or 0.0


def target_of(content: Mapping[str, Any], metric: str) -> float | None:
    """The ideal value of a "target" metric: what it says, else the floor's."""
    stated = finite(metric_of(content, metric).get("target"))
    return stated if stated is not None else floor_of(content, metric)[0]


def _loss(content: Mapping[str, Any], metric: str, value: float) -> float:
    better = metric_of(content, metric).get("better")
    if better == "target":
        target = target_of(content, metric)
        return value if target is None else abs(value - target)
    return -value if better == "higher" else value


def reading(content: Mapping[str, Any], row: Mapping[str, Any] | None, metric: str) -> Reading | None:
    """A row's score, or None where there is no finite one."""
    score = ((row or {}).get("scores") or {}).get(metric)
    score = score if isinstance(score, dict) else {"mean": score}
    mean = finite(score.get("mean"))
    if mean is None:
        return None
    spread = finite(score.get("spread"))
    width = max(spread or 0.0, floor_of(content, metric)[1])
    return Reading(name_of(row or {}), mean, spread, width, _loss(content, metric, mean))


def floor_reading(content: Mapping[str, Any], metric: str) -> Reading | None:
    """Real data's score, or None where it is unknown."""
    mean, spread = floor_of(content, metric)
    return None if mean is None else Reading("real data", mean, spread or None, spread, _loss(content, metric, mean))


def guess_reading(content: Mapping[str, Any], metric: str) -> Reading | None:
    """What a guess without a model scores, for metrics that have such a baseline of their own."""
    found = metric_of(content, metric).get("baseline")
    mean = finite(found.get("mean")) if isinstance(found, Mapping) else None
    if mean is None or not isinstance(found, Mapping):
        return None
    spread = finite(found.get("spread"))
    return Reading(str(found.get("name") or "no model"), mean, spread, spread or 0.0, _loss(content, metric, mean))


def ratio_of(row: Mapping[str, Any], metric: str) -> float | None:
    """A row's score over real data's as it was stored; None where the floor is too near zero to divide by."""
    score = (row.get("scores") or {}).get(metric)
    return finite(score.get("ratio")) if isinstance(score, dict) else None


def readings(content: Mapping[str, Any], metric: str) -> list[Reading]:
    """All entrants' scores, best first."""
    found = [reading(content, entrant, metric) for entrant in entrants_of(content)]
    return sorted((one for one in found if one is not None), key=lambda one: one.loss)


def leaders(content: Mapping[str, Any], metric: str) -> list[Reading]:
    """The best entrant and all that it is not measurably better than, best first; one alone is best."""
    ranked = readings(content, metric)
    return [one for one in ranked if not ranked[0].better_than(one)]


def at_floor(content: Mapping[str, Any], metric: str, one: Reading) -> bool:
    """Whether a score is not measurably worse than what real data has."""
    floor = floor_reading(content, metric)
    return floor is not None and not floor.better_than(one)


def blind(content: Mapping[str, Any], metric: str) -> bool:
    """Whether a score tells nothing here, because the no-network row itself is not measurably worse than real data."""
    base = reading(content, content.get("baseline"), metric)
    return base is not None and at_floor(content, metric, base)


def named(names: Sequence[str]) -> str:
    """Names in a sentence, marked."""
    return listing(f"{OPEN}{name}{CLOSE}" for name in names)


def chosen(content: Mapping[str, Any], metrics: Sequence[str]) -> str | None:
    """The first of the metrics that any entrant has."""
    return next((metric for metric in metrics if readings(content, metric)), None)


def at_n(content: Mapping[str, Any]) -> str:
    """How many samples were compared, as it stands in a sentence; empty where unknown."""
    n = finite((content.get("settings") or {}).get("n"))
    return "" if n is None else f" at n = {count(n)}"


def values_of(some: Sequence[Reading]) -> str:
    """Scores in a sentence: all of them, or the first and the last of many."""
    return listing([one.text for one in some]) if len(some) <= 3 else f"from {some[0].text} to {some[-1].text}"


def verb(names: Sequence[Any], one: str, many: str) -> str:
    """The verb that agrees in number."""
    return one if len(names) == 1 else many


def unmarked(text: Any) -> str:
    """Text without the marks of names."""
    return str(text).replace(OPEN, "").replace(CLOSE, "")


def alarms_of(entrant: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Each alarm at its begin with its end, None where it lasted to the end; by the step of the begin."""
    found = [one for one in entrant.get("alarms") or [] if isinstance(one, Mapping) and finite(one.get("step")) is not None]
    begun: dict[Any, int] = {}
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = []
    for one in found:
        key = one.get("training"), one.get("kind")
        if not one.get("over"):
            begun[key] = len(pairs)
            pairs.append((one, None))
        elif key in begun:
            at = begun.pop(key)
            pairs[at] = pairs[at][0], one
    return pairs
