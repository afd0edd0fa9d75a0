"""What a report warns of, by rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pushforward.report.numbers import count, finite, listing, percent, plain
from pushforward.report.readings import (
    CLOSE,
    DIVERSITY,
    OPEN,
    QUALITY,
    THRESHOLDS,
    Reading,
    Sentence,
    alarms_of,
    at_floor,
    blind,
    chosen,
    differ,
    entrants_of,
    floor_of,
    guess_reading,
    inside,
    label_of,
    name_of,
    named,
    ratio_of,
    reading,
    readings,
    unmarked,
    values_of,
    verb,
)

__all__ = ["worries"]


def worries(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Every warning, rule by rule, then those of the entrants themselves."""
    for rule in RULES:
        yield from rule(content)
    for entrant in entrants_of(content):
        for warning in entrant.get("warnings") or []:
            yield Sentence("worry", f"{named([name_of(entrant)])}: {unmarked(warning)}", "cost")


def _worry(text: str, link: str = "scorecard") -> Iterator[Sentence]:
    yield Sentence("worry", text, link)


def _each(found: Mapping[str, str]) -> str:
    """Such as ``gan (3 %) and vae (5 %)``."""
    return listing(f"{OPEN}{name}{CLOSE} ({value})" for name, value in found.items())


def _few_dimensions(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Features that were reduced so far, for want of examples, that most differences are lost."""
    settings, shape = content.get("settings") or {}, (content.get("data") or {}).get("shape") or []
    dimensions, n = finite(settings.get("dimensions")), finite(settings.get("n"))
    if dimensions is not None and dimensions < min(THRESHOLDS["dimensions"], math.prod(shape)):
        some = f"{count(dimensions)} dimension{'' if dimensions == 1 else 's'}"
        size = "" if n is None else f" (n = {count(n)})"
        yield from _worry(
            f"These features have {some}{size} and cannot see most differences: do not rely on these scores.", "reproduce"
        )


def _unscored(content: Mapping[str, Any]) -> Iterator[Sentence]:
    metrics = [one for one in (chosen(content, QUALITY), chosen(content, DIVERSITY)) if one is not None]
    lost = [name_of(one) for one in entrants_of(content) if metrics and all(reading(content, one, m) is None for m in metrics)]
    if lost:
        yield from _worry(
            f"{named(lost)} {verb(lost, 'has', 'have')} no finite score, so nothing is said about {verb(lost, 'it', 'them')}."
        )


def _missing(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Why a metric has no score."""
    for why in (content.get("unscored") or {}).values():
        yield from _worry(unmarked(why))


def _against_no_network(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Whoever does not beat a Gaussian has learned nothing; a score at its floor cannot tell, and is passed over.

    Models that are measurably worse and models within noise of the row get a clause each.
    """
    for metric in (chosen(content, QUALITY), chosen(content, DIVERSITY)):
        base = reading(content, content.get("baseline"), metric) if metric else None
        if base is None or metric is None:
            continue
        ranked = readings(content, metric)
        short = [one for one in ranked if not one.better_than(base) and not at_floor(content, metric, one)]
        worse = [one for one in short if base.better_than(one)]
        level = [one for one in short if one not in worse]
        if not short:
            continue
        label = inside(label_of(content, metric))
        if len(short) == len(ranked) > 1:
            found = [_clause(some, how) for some, how in ((level, "within noise of it"), (worse, "measurably worse")) if some]
            beats = "measurably beats" if level else "beats"
            yield Sentence(
                "baseline", f"No model {beats} the no-network row in {label} ({base.text}): {'; '.join(found)}.", "scorecard"
            )
            continue
        if level:
            who = f"{named([one.name for one in level])} {verb(level, 'does', 'do')} not measurably beat"
            yield from _worry(f"{who} the no-network row in {label}: {values_of(level)} against {base.text}, within noise of it.")
        if worse:
            who = f"{named([one.name for one in worse])} {verb(worse, 'is', 'are')} measurably worse than"
            yield from _worry(f"{who} the no-network row in {label}: {values_of(worse)} against {base.text}.")


def _against_guess(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Models that a guess without any model beats or equals, in metrics that have such a baseline."""
    for metric in content.get("metrics") or {}:
        base = guess_reading(content, metric)
        if base is None:
            continue
        for one in readings(content, metric):
            if not one.better_than(base):
                how = "measurably worse than" if base.better_than(one) else "not measurably better than"
                yield from _worry(
                    f"{named([one.name])} is {how} {base.name} in {inside(label_of(content, metric))}: {one.text} "
                    f"against {base.text}."
                )


def _clause(some: Sequence[Reading], how: str) -> str:
    return f"{named([one.name for one in some])} {verb(some, 'is', 'are')} {how} ({values_of(some)})"


def _memorised(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Real data has near-copies too where examples repeat; only more than that counts."""
    floor, spread = floor_of(content, "near_copies")
    allowed = (floor or 0.0) + THRESHOLDS["near_copies"]
    found = [
        one
        for one in readings(content, "near_copies")
        if one.mean > allowed and differ(one.mean - (floor or 0.0), one.width, spread)
    ]
    if found:
        what = f"the {percent(allowed)} that this report allows" if floor is None else f"real data's {percent(floor)}"
        yield from _worry(
            f"Memorisation: samples of {_each({one.name: percent(one.mean) for one in found})} are near-copies of "
            f"training samples, more than {what}."
        )


def _precision_and_recall(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """Precision hardly falls in many dimensions, so density too says whether samples lie apart from the data."""
    repeat, wrong = {}, {}
    for entrant in entrants_of(content):
        precision, recall, density = (ratio_of(entrant, metric) for metric in ("precision", "recall", "density"))
        if precision is None or recall is None:
            continue
        apart = density is not None and density < THRESHOLDS["density_right"]
        numbers = f"precision {plain(precision, 2)}, recall {plain(recall, 2)} of real data's"
        if not apart and precision >= THRESHOLDS["precision_right"] and recall < THRESHOLDS["recall_poor"]:
            repeat[name_of(entrant)] = numbers
        if (apart or precision < THRESHOLDS["precision_poor"]) and recall >= THRESHOLDS["recall_right"]:
            wrong[name_of(entrant)] = numbers if density is None else f"density {plain(density, 2)}, {numbers}"
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


def _alarms(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """One sentence for each kind of alarm of an entrant: the last that stands at the end, else the first that is over."""
    for entrant in entrants_of(content):
        kinds: dict[str, list[Any]] = {}
        for pair in alarms_of(entrant):
            kinds.setdefault(str(pair[0].get("kind")), []).append(pair)
        for kind, pairs in kinds.items():
            if kind == "divergence" and entrant.get("warnings"):
                continue  # the run broke off, which its warning says
            standing = [pair for pair in pairs if pair[1] is None]
            begin, end = standing[-1] if standing else pairs[0]
            who = begin.get("training") or name_of(entrant)
            advice = f": {unmarked(begin['advice'])}" if begin.get("advice") else ""
            over = " To the end of training this was not over." if end is None else f" It was over at step {count(end['step'])}."
            times = f" It happened {count(len(pairs))} times in all." if len(pairs) > 1 else ""
            yield from _worry(
                f"Alarm while {named([str(who)])} was trained, at step {count(begin['step'])}: "
                f"{unmarked(begin.get('sentence') or '')}{advice}.{over}{times}",
                "health",
            )


def _labels(content: Mapping[str, Any]) -> Iterator[Sentence]:
    """The classifier is not always right on real data either: its own accuracy there is the measure."""
    settings = content.get("settings") or {}
    real, n = finite(settings.get("classifier_accuracy")), finite(settings.get("n"))
    found = {name_of(one): finite(one.get("label_agreement")) for one in entrants_of(content)}
    low = {name: percent(value) for name, value in found.items() if value is not None and _unlike(value, real, n)}
    if low:
        beside = "" if real is None else f"; of real samples it recognises {percent(real)}"
        yield from _worry(f"A classifier recognises too few samples as the class they were asked to be: {_each(low)}{beside}.")
    with_labels = {bool(one["conditioned"]) for one in entrants_of(content) if one.get("conditioned") is not None}
    if len(with_labels) > 1:
        given = [name_of(one) for one in entrants_of(content) if one.get("conditioned")]
        yield from _worry(
            f"Not like for like: {named(given)} {verb(given, 'was', 'were')} given class labels, the others were not."
        )


def _unlike(agreement: float, real: float | None, n: float | None) -> bool:
    """Whether samples are recognised less often than real data, by a margin and by more than n samples of each vary."""
    real = 1.0 if real is None else real
    errors = [math.sqrt(max(share * (1 - share), 0.0) / n) if n else 0.0 for share in (agreement, real)]
    return agreement < THRESHOLDS["agreement"] * real and differ(real - agreement, *errors)


def _sizes(content: Mapping[str, Any]) -> Iterator[Sentence]:
    found = {name_of(one): finite(one.get("parameters")) for one in entrants_of(content)}
    sizes = {name: value for name, value in found.items() if value}
    if len(sizes) < 2:
        return
    least, most = min(sizes, key=lambda name: sizes[name]), max(sizes, key=lambda name: sizes[name])
    if sizes[most] > THRESHOLDS["unequal_size"] * sizes[least]:
        yield from _worry(
            f"The models differ in size: {named([most])} has {plain(sizes[most] / sizes[least], 2)} times the "
            f"parameters of {named([least])}.",
            "cost",
        )


def _small(content: Mapping[str, Any]) -> Iterator[Sentence]:
    n = finite((content.get("settings") or {}).get("n"))
    compared = any(metric != "bpd" for one in entrants_of(content) for metric in one.get("scores") or {})
    if compared and n is not None and n < THRESHOLDS["small"]:
        yield from _worry(
            f"Only {count(n)} samples are compared with {count(n)} real ones: take every score with care.", "reproduce"
        )


def _blind(content: Mapping[str, Any]) -> Iterator[Sentence]:
    found = [
        inside(label_of(content, m)) for m in (chosen(content, QUALITY), chosen(content, DIVERSITY)) if m and blind(content, m)
    ]
    if found:
        yield from _worry(
            f"On this data {listing(found)} cannot tell a good model from none: the no-network row itself is within "
            "noise of real data."
        )


RULES: tuple[Callable[[Mapping[str, Any]], Iterator[Sentence]], ...] = (
    _few_dimensions,
    _unscored,
    _against_no_network,
    _missing,
    _against_guess,
    _memorised,
    _modes,
    _precision_and_recall,
    _alarms,
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
