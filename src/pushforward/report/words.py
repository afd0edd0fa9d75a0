"""Numbers turned into sentences, by rules. Every threshold of the report is in `THRESHOLDS`, and nowhere else.

Two scores differ (`differ`) where they are more than 2 spreads of their difference apart, ``2 sqrt(v^2 + w^2)``. The
spread of a score is that over its trainings, else over its samplings, and no less than the floor's: three of them can
agree by luck. So no difference below 2 sqrt 2 spreads of the floor counts, among models or against real data, and "best",
"no measurable difference" and the limits at the page's end all follow one rule. Intervals are drawn as ``mean ± sqrt(2) w``:
where two overlap, there is no measurable difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pushforward.report.numbers import count, duration, finite, listing, measured, percent, plain

__all__ = [
    "CURVE_NOTES",
    "GROUPS",
    "THRESHOLDS",
    "Reading",
    "Sentence",
    "blind",
    "curve_notes",
    "curve_points",
    "differ",
    "entrants_of",
    "family_of",
    "floor_reading",
    "leaders",
    "limits",
    "loss_caption",
    "name_of",
    "ratio_of",
    "reading",
    "readings",
    "shared_noise",
    "verdict",
]

THRESHOLDS: dict[str, float] = {
    "differ": 2.0,  # from how many spreads of their difference two scores differ
    "near_copies": 0.01,  # share of near-copies from which samples count as memorised
    "precision_right": 0.9,  # precision over its floor: above, samples look right
    "density_right": 0.7,  # density over its floor: below, samples lie apart from the data even where precision is high
    "recall_poor": 0.85,  # recall over its floor: below, samples repeat themselves (digits without 3 classes: 0.83)
    "precision_poor": 0.6,  # precision over its floor: below, many samples look wrong (digits with noise 0.2: 0.53)
    "recall_right": 0.9,  # recall over its floor: above, samples cover the data
    "mode_held": 0.2,  # share of a mode's fair mass from which it is held
    "bridges": 0.05,  # share of samples between the modes, above the floor's
    "narrow": 0.8,  # width of the modes over the true one: below, too narrow
    "wide": 1.25,  # above, too wide
    "blurred": 0.75,  # high-frequency power over real data's: below, blurred
    "grainy": 1.35,  # above, grainy
    "agreement": 0.9,  # share of samples recognised as the class they were asked to be
    "small": 200,  # samples on either side: below, scores are hardly worth reading
    "faster": 1.2,  # a time ratio that counts as a difference
    "unequal_time": 1.15,  # training times that count as unequal
    "unequal_size": 2.0,  # parameter counts that count as unequal
    "enough": 0.02,  # relative gap to the best point of a curve that counts as none
}

QUALITY, DIVERSITY = ("frechet", "kid"), ("coverage", "recall")
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Quality and diversity", ("frechet", "kid", "precision", "recall", "density", "coverage")),
    ("Modes", ("modes_held", "modes_found", "high_quality", "bridges", "spread", "mode_kl")),
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


def _inside(label: str) -> str:
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


def verdict(content: Mapping[str, Any]) -> list[Sentence]:
    """The findings: what is best and by how much, then what to worry about."""
    claims = [
        _best(content, QUALITY, "quality"),
        _best(content, DIVERSITY, "diversity"),
        _sampling(content),
        _training(content),
    ]
    found = [one for one in claims if one is not None] + list(_worries(content))
    return sorted(found, key=lambda one: one.kind != "baseline")


def _named(names: Sequence[str]) -> str:
    return listing(f"{OPEN}{name}{CLOSE}" for name in names)


def _chosen(content: Mapping[str, Any], metrics: Sequence[str]) -> str | None:
    """The first of the metrics that any entrant has."""
    return next((metric for metric in metrics if readings(content, metric)), None)


def _best(content: Mapping[str, Any], metrics: Sequence[str], what: str) -> Sentence | None:
    metric = _chosen(content, metrics)
    if metric is None:
        return None
    ranked, lead = readings(content, metric), leaders(content, metric)
    label = _inside(label_of(content, metric))
    if len(ranked) == 1:
        text = f"{_named([ranked[0].name])} has a {label} of {ranked[0].text}"
    elif len(lead) == 1:
        second = f"next {_named([ranked[1].name])} with {ranked[1].text}"
        text = f"{_named([lead[0].name])} has the best {what}: {label} {lead[0].text}, {second}"
    elif len(lead) == len(ranked):
        between = _named([one.name for one in lead])
        text = f"No measurable difference in {what} between {between}{_at(content)}: {label} {_values(lead)}"
    else:
        text = (
            f"{_named([one.name for one in lead])} lead in {what}, with no measurable difference between them"
            f"{_at(content)}: {label} {_values(lead)}, next {_named([ranked[len(lead)].name])} with "
            f"{ranked[len(lead)].text}"
        )
    return Sentence(what, text + _beside_floor(content, metric, lead), "scorecard")


def _at(content: Mapping[str, Any]) -> str:
    n = finite((content.get("settings") or {}).get("n"))
    return "" if n is None else f" at n = {count(n)}"


def _values(some: Sequence[Reading]) -> str:
    return listing([one.text for one in some]) if len(some) <= 3 else f"from {some[0].text} to {some[-1].text}"


def _beside_floor(content: Mapping[str, Any], metric: str, lead: Sequence[Reading]) -> str:
    mean, spread = floor_of(content, metric)
    if mean is None:
        return "."
    text = f"; real data scores {with_spread(mean, spread or None)}"
    return text + (" (no measurable difference)." if all(at_floor(content, metric, one) for one in lead) else ".")


def _numbers(content: Mapping[str, Any], group: str, key: str) -> dict[str, float]:
    found = {name_of(one): finite((one.get(group) or {}).get(key)) for one in entrants_of(content)}
    return {name: value for name, value in found.items() if value is not None and value > 0}


def _sampling(content: Mapping[str, Any]) -> Sentence | None:
    times, calls = _numbers(content, "sampling", "seconds_per_sample"), _numbers(content, "sampling", "calls")
    if not times:
        return None
    ranked = sorted(times, key=lambda name: times[name])
    first, last = ranked[0], ranked[-1]
    near = [name for name in ranked if times[name] < THRESHOLDS["faster"] * times[first]]
    each = f"{duration(times[first])} each{_calls(calls, first)}"
    if len(ranked) == 1:
        return Sentence("speed", f"{_named([first])} takes {duration(times[first])} for a sample{_calls(calls, first)}.", "cost")
    if len(near) == len(ranked):
        return Sentence("speed", f"All sample about equally fast, in {each}.", "cost")
    lead = f"{_named(near)} {'samples' if len(near) == 1 else 'sample'} fastest, in {each}"
    slow = f"{_named([last])} takes {plain(times[last] / times[first], 2)} times as long{_calls(calls, last)}"
    return Sentence("speed", f"{lead}; {slow}.", "cost")


def _calls(calls: Mapping[str, float], name: str) -> str:
    if name not in calls:
        return ""
    return f" ({count(calls[name])} network call{'' if calls[name] == 1 else 's'})"


def _training(content: Mapping[str, Any]) -> Sentence | None:
    seconds = _numbers(content, "training", "seconds")
    if len(seconds) < 2:
        return None
    ranked = sorted(seconds, key=lambda name: seconds[name])
    low, high = seconds[ranked[0]], seconds[ranked[-1]]
    steps = list(_numbers(content, "training", "steps").values())
    if high > THRESHOLDS["unequal_time"] * low and len(steps) == len(seconds) and min(steps) == max(steps):
        text = (
            f"All made {count(steps[0])} training steps, which took from {duration(low)} ({_named(ranked[:1])}) to "
            f"{duration(high)} ({_named(ranked[-1:])})."
        )
        return Sentence("training", text, "cost")
    if high > THRESHOLDS["unequal_time"] * low:
        text = (
            f"Training took unequal time, from {duration(low)} ({_named(ranked[:1])}) to {duration(high)} "
            f"({_named(ranked[-1:])}); the scores are not at equal budgets."
        )
        return Sentence("training", text, "cost")
    rates = {name: value / seconds[name] for name, value in _numbers(content, "training", "samples").items() if name in seconds}
    text = f"All were trained for about {duration((low + high) / 2)}"
    if len(rates) > 1:
        best, worst = max(rates, key=lambda name: rates[name]), min(rates, key=lambda name: rates[name])
        if rates[best] > THRESHOLDS["faster"] * rates[worst]:
            times = plain(rates[best] / rates[worst], 2)
            text += f", in which {_named([best])} saw {times} times as many samples as {_named([worst])}"
    return Sentence("training", f"{text}.", "cost")


# What to worry about ----------------------------------------------------------------------------------------


def _worries(content: Mapping[str, Any]) -> Iterator[Sentence]:
    for rule in RULES:
        yield from rule(content)
    for entrant in entrants_of(content):
        for warning in entrant.get("warnings") or []:
            yield Sentence("worry", f"{_named([name_of(entrant)])}: {_clean(warning)}", "cost")


def _clean(text: Any) -> str:
    return str(text).replace(OPEN, "").replace(CLOSE, "")


def _worry(text: str, link: str = "scorecard") -> Iterator[Sentence]:
    yield Sentence("worry", text, link)


def _verb(names: Sequence[Any], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _each(found: Mapping[str, str]) -> str:
    """Such as ``gan (3 %) and vae (5 %)``."""
    return listing(f"{OPEN}{name}{CLOSE} ({value})" for name, value in found.items())


def _unscored(content: Mapping[str, Any]) -> Iterator[Sentence]:
    metrics = [one for one in (_chosen(content, QUALITY), _chosen(content, DIVERSITY)) if one is not None]
    lost = [name_of(one) for one in entrants_of(content) if metrics and all(reading(content, one, m) is None for m in metrics)]
    if lost:
        yield from _worry(
            f"{_named(lost)} {_verb(lost, 'has', 'have')} no finite score, so nothing is said about {_verb(lost, 'it', 'them')}."
        )


def _against_no_network(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Whoever does not beat a Gaussian has learned nothing; a score at its floor cannot tell, and is passed over."""
    for metric in (_chosen(content, QUALITY), _chosen(content, DIVERSITY)):
        base = reading(content, content.get("baseline"), metric) if metric else None
        if base is None or metric is None:
            continue
        ranked = readings(content, metric)
        short = [one for one in ranked if not one.better_than(base) and not at_floor(content, metric, one)]
        if short:
            none = len(short) == len(ranked) > 1
            near = "measurably " if any(one.loss < base.loss for one in short) else ""
            who = f"{_named([one.name for one in short])} {_verb(short, 'does', 'do')} not {near}beat"
            who = f"No model {near}beats" if none else who
            text = f"{who} the no-network row in {_inside(label_of(content, metric))}: {_values(short)} against {base.text}."
            yield Sentence("baseline" if none else "worry", text, "scorecard")


def _memorised(content: Mapping[str, Any]) -> Iterator[Sentence]:
    found = [one for one in readings(content, "near_copies") if one.mean > THRESHOLDS["near_copies"]]
    if found:
        floor = floor_of(content, "near_copies")[0]
        beside = "" if floor is None else f" (real data: {percent(floor)})"
        yield from _worry(
            f"Memorisation: samples of {_each({one.name: percent(one.mean) for one in found})} are near-copies of "
            f"training samples{beside}, more than the {percent(THRESHOLDS['near_copies'])} that this report allows."
        )


def _precision_and_recall(content: Mapping[str, Any]) -> Iterator[Sentence]:
    repeat, wrong = {}, {}
    for entrant in entrants_of(content):
        precision, recall = (ratio_of(entrant, metric) for metric in ("precision", "recall"))
        if precision is None or recall is None:
            continue
        density = ratio_of(entrant, "density")
        dense = density is None or density >= THRESHOLDS["density_right"]
        numbers = f"precision {plain(precision, 2)}, recall {plain(recall, 2)} of real data's"
        if dense and precision >= THRESHOLDS["precision_right"] and recall < THRESHOLDS["recall_poor"]:
            repeat[name_of(entrant)] = numbers
        if precision < THRESHOLDS["precision_poor"] and recall >= THRESHOLDS["recall_right"]:
            wrong[name_of(entrant)] = numbers
    if repeat:
        yield from _worry(f"Samples of {_each(repeat)} look right but repeat themselves.")
    if wrong:
        yield from _worry(f"Samples of {_each(wrong)} cover the data, but many look wrong.")


def _modes(content: Mapping[str, Any]) -> Iterator[Sentence]:
    lost = {name_of(one): text for one in entrants_of(content) if (text := _lost_modes(content, one))}
    if lost:
        yield from _worry(f"Modes are lost: {listing(f'{OPEN}{name}{CLOSE} {text}' for name, text in lost.items())}.", "samples")


def _lost_modes(content: Mapping[str, Any], entrant: Mapping[str, Any]) -> str:
    mass = [finite(one) or 0.0 for one in (entrant.get("modes") or {}).get("mass") or []]
    held, floor = reading(content, entrant, "modes_held"), floor_of(content, "modes_held")[0]
    if held is not None and floor is not None:
        return f"holds {plain(held.mean)} of {plain(len(mass) or floor)}" if held.mean < floor - 0.05 else ""
    thin = [i + 1 for i, one in enumerate(mass) if one < THRESHOLDS["mode_held"] / len(mass)]
    if not thin:
        return ""
    which = f"mode{'s' if len(thin) > 1 else ''} {listing(map(str, thin))}"
    return f"holds {len(mass) - len(thin)} of {len(mass)} (too little of {which})"


def _beyond(metric: str, low: str, high: str, below: str, above: str, over_floor: bool) -> Callable[..., Iterator[Sentence]]:
    """A rule for scores whose ideal is a value in the middle."""

    def rule(content: Mapping[str, Any]) -> Iterator[Sentence]:
        less, more = {}, {}
        for entrant in entrants_of(content):
            one = reading(content, entrant, metric)
            share = ratio_of(entrant, metric) if over_floor else one.mean if one else None
            if share is not None and share < THRESHOLDS[low]:
                less[name_of(entrant)] = f"{plain(share, 2)}"
            elif share is not None and share > THRESHOLDS[high]:
                more[name_of(entrant)] = f"{plain(share, 2)}"
        if less:
            yield from _worry(below.format(_each(less)))
        if more:
            yield from _worry(above.format(_each(more)))

    return rule


def _bridges(content: Mapping[str, Any]) -> Iterator[Sentence]:
    floor = floor_of(content, "bridges")[0] or 0.0
    found = [one for one in readings(content, "bridges") if one.mean > floor + THRESHOLDS["bridges"]]
    if found:
        yield from _worry(
            f"Samples fall between the modes, where no data is: {_each({one.name: percent(one.mean) for one in found})}.",
            "samples",
        )


def _labels(content: Mapping[str, Any]) -> Iterator[Sentence]:
    found = {name_of(one): finite(one.get("label_agreement")) for one in entrants_of(content)}
    low = {name: percent(value) for name, value in found.items() if value is not None and value < THRESHOLDS["agreement"]}
    if low:
        yield from _worry(f"A classifier recognises too few samples as the class they were asked to be: {_each(low)}.")
    with_labels = {bool(one["conditioned"]) for one in entrants_of(content) if one.get("conditioned") is not None}
    if len(with_labels) > 1:
        given = [name_of(one) for one in entrants_of(content) if one.get("conditioned")]
        yield from _worry(
            f"Not like for like: {_named(given)} {_verb(given, 'was', 'were')} given class labels, the others were not."
        )


def _sizes(content: Mapping[str, Any]) -> Iterator[Sentence]:
    found = {name_of(one): finite(one.get("parameters")) for one in entrants_of(content)}
    sizes = {name: value for name, value in found.items() if value}
    if len(sizes) < 2:
        return
    least, most = min(sizes, key=lambda name: sizes[name]), max(sizes, key=lambda name: sizes[name])
    if sizes[most] > THRESHOLDS["unequal_size"] * sizes[least]:
        yield from _worry(
            f"The models differ in size: {_named([most])} has {plain(sizes[most] / sizes[least], 2)} times the "
            f"parameters of {_named([least])}.",
            "cost",
        )


def _small(content: Mapping[str, Any]) -> Iterator[Sentence]:
    n = finite((content.get("settings") or {}).get("n"))
    if n is not None and n < THRESHOLDS["small"]:
        yield from _worry(
            f"Only {count(n)} samples are compared with {count(n)} real ones: take every score with care.", "reproduce"
        )


def _blind(content: Mapping[str, Any]) -> Iterator[Sentence]:
    found = [
        _inside(label_of(content, m)) for m in (_chosen(content, QUALITY), _chosen(content, DIVERSITY)) if m and blind(content, m)
    ]
    if found:
        yield from _worry(
            f"On this data {listing(found)} cannot tell a good model from none: the no-network row itself is within "
            "noise of real data."
        )


RULES: tuple[Callable[[Mapping[str, Any]], Iterator[Sentence]], ...] = (
    _unscored,
    _against_no_network,
    _memorised,
    _modes,
    _precision_and_recall,
    _bridges,
    _beyond(
        "spread",
        "narrow",
        "wide",
        "Modes are too narrow (width over the true one): {}.",
        "Modes are too wide (width over the true one): {}.",
        False,
    ),
    _beyond(
        "sharpness",
        "blurred",
        "grainy",
        "Samples are blurred (fine detail over real data's): {}.",
        "Samples are grainy (fine detail over real data's): {}.",
        True,
    ),
    _labels,
    _sizes,
    _blind,
    _small,
)
"""What a report warns of, in this order."""


# Curves, losses, limits -------------------------------------------------------------------------------------


def curve_notes(content: Mapping[str, Any], metric: str = "frechet") -> list[str]:
    """For each iterative entrant, how many calls are enough; marked text as in `Sentence`."""
    return [note for entrant in entrants_of(content) if (note := _enough(content, entrant, metric))]


def curve_points(entrant: Mapping[str, Any], metric: str) -> list[tuple[float, float, float | None]]:
    """Calls, score and steps along a curve, by calls; points without a finite score are left out."""
    rows = [one for one in entrant.get("curve") or [] if isinstance(one, dict)]
    found = [(finite(one.get("calls")), finite(one.get(metric)), finite(one.get("steps"))) for one in rows]
    kept = [(calls, value, steps) for calls, value, steps in found if calls is not None and value is not None]
    return sorted(kept, key=lambda point: point[0])


def _enough(content: Mapping[str, Any], entrant: Mapping[str, Any], metric: str) -> str:
    points = curve_points(entrant, metric)
    if len(points) < 3:
        return ""
    best = min(value for _, value, _ in points)
    spread, margin = floor_of(content, metric)[1], THRESHOLDS["enough"] * best
    near = (point for point in points if point[1] <= best + margin or not differ(point[1] - best, spread, spread))
    calls, value, steps = next(near)
    name = f"{OPEN}{name_of(entrant)}{CLOSE}"
    if calls == points[-1][0]:
        return f"{name} still improves at {count(calls)} calls."
    inside = "" if steps is None else f" ({count(steps)} step{'' if steps == 1 else 's'})"
    few = "1 call" if calls == 1 else f"{count(calls)} calls"
    return f"For {name}, {few}{inside} {'is' if calls == 1 else 'are'} enough ({plain(value)}); more only cost time."


CURVE_NOTES = (
    "Fréchet distance against network calls for one sample; lower is better. The band is what real data scores "
    "against real data: no model can be seen to be better than that. A model that needs one call is a single "
    "point. One sampling per point."
)

CAPTIONS = {
    "gan": "A game of two players: each loss says how that player fares against the other one as it is now. It is no "
    "measure of quality: a flat or rising curve is normal, and a low generator loss does not mean good samples. "
    "Watch for one player winning for good.",
    "vae": "The negative ELBO per dimension: an upper bound on the negative log-likelihood, reconstruction plus the "
    "cost of the code. Lower is a better model of the data, but blurred samples can have a low one. It may be below "
    "zero for continuous data.",
    "diffusion": "A regression error, averaged over noise levels. It never reaches zero, since the noise in a sample "
    "cannot be known exactly, and it flattens long before the samples stop improving.",
    "flow": "A regression error: how far the predicted velocity is from those of random noise-data pairs. It never "
    "reaches zero, since many pairs cross at one point, and it flattens long before the samples stop improving.",
    "other": "The loss of this method. Compare it with itself over time, never with another family's.",
}


def family_of(entrant: Mapping[str, Any]) -> str:
    """One of the keys of the captions: gan, vae, diffusion, flow, other."""
    words = f"{entrant.get('family') or ''} {entrant.get('method') or ''}".lower()
    known = (
        ("gan", "gan"),
        ("adversarial", "gan"),
        ("vae", "vae"),
        ("variational", "vae"),
        ("autoencoder", "vae"),
        ("flow", "flow"),
    )
    more = (
        ("diffusion", "diffusion"),
        ("ddpm", "diffusion"),
        ("edm", "diffusion"),
        ("score", "diffusion"),
        ("denoising", "diffusion"),
    )
    return next((family for word, family in (*known, *more) if word in words), "other")


def loss_caption(entrant: Mapping[str, Any]) -> str:
    """What a loss curve of this family does and does not mean."""
    return CAPTIONS[family_of(entrant)]


def limits(content: Mapping[str, Any]) -> list[str]:
    """What this comparison cannot show."""
    settings = content.get("settings") or {}
    parts = []
    for metric in content.get("metrics") or {}:
        floor = floor_reading(content, metric)
        if floor is not None and floor.width > 0 and readings(content, metric):
            parts.append(f"{plain(2 * floor.half, 2)} in {_inside(label_of(content, metric))}")
    said = [f"{_at(content).strip().capitalize() or 'Here'}, differences below {listing(parts)} are noise."] if parts else []
    said += _about_trainings(content)
    if settings.get("features"):
        said.append(
            f"Scores are computed in these features: {_clean(settings['features'])}. They are not comparable with published ones."
        )
    said.append("Times were measured on the machine below, and say little about another one.")
    return said


def _about_trainings(content: Mapping[str, Any]) -> list[str]:
    """What the intervals leave out; a value of a single training says nothing of another one."""
    many = [one for one in entrants_of(content) if len(one.get("trainings") or []) > 1]
    once = [one for one in entrants_of(content) if one not in many]
    said = []
    if once:
        who = f"{_plainly(once)} {_verb(once, 'was', 'were')}" if many else "Each model was"
        said.append(f"{who} trained once: the spread is that of sampling, and another training seed can change the order.")
    if many:
        counts = sorted({len(one["trainings"]) for one in many})
        who = f" of {_plainly(many)}" if once else ""
        said.append(
            f"The spread{who} is over {listing(map(str, counts))} trainings, and no less than over samplings; so few know it "
            "only roughly. Pictures, losses and curves are those of the first training."
        )
    return said


def _plainly(some: Sequence[Mapping[str, Any]]) -> str:
    return listing(name_of(one) for one in some)


def shared_noise(content: Mapping[str, Any], places: bool = True) -> str:
    """Which entrants' samples start from the same noise; empty where nothing is known.

    Args:
        content: As `pushforward.report.report` describes.
        places: Whether samples have places that can be compared, as in grids of images.
    """
    names, shared = [name_of(one) for one in entrants_of(content)], (content.get("settings") or {}).get("shared")
    if not isinstance(shared, list) and shared not in ("noise", "seeds"):
        return ""
    stated = shared if isinstance(shared, list) else [names] if shared == "noise" else []
    groups = [kept for one in stated if isinstance(one, list) and len(kept := [name for name in names if name in one]) > 1]
    apart = [name for name in names if not any(name in group for group in groups)]
    same, unlike = (": the same place in each grid is the same z", ", so equal places do not correspond") if places else ("", "")
    if not groups:
        return f"All models use the same seeds. Their noise has different shapes{unlike}."
    if groups == [names]:
        return f"All models start from the same noise{same}."
    said = ", and ".join([f"{listing(groups[0])} start from the same noise", *(f"so do {listing(one)}" for one in groups[1:])])
    rest = (
        f" The noise of {listing(apart)} has {'another shape' if len(apart) == 1 else 'other shapes'}{unlike}." if apart else ""
    )
    return f"{said}{same.replace('each grid', 'their grids')}.{rest}"
