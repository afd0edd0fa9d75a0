"""Warnings about samples: copies, lost modes, blur, wrong classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import finite_all, listing, percent, plain
from pushforward.report.rounding import floor_text, value_text
from pushforward.report.sentences import Sentence, marked, named, verb, warning, with_values
from pushforward.report.statistics import THRESHOLDS, differ, floor_of, lacking, ratio_of, statistic, statistics

__all__ = ["DETAIL_RULES", "SAMPLE_RULES", "memorised"]

OF_REAL = " real data's"
"""After a ratio to what real data scores."""

Rule = Callable[[Comparison], Iterator[Sentence]]


def memorised(comparison: Comparison) -> dict[str, str]:
    """The share of near-copies of each model that has too many, by its name.

    Real data has near-copies too where examples repeat; only more than that counts.
    """
    floor, spread = floor_of(comparison, "near_copies")
    allowed = (floor or 0.0) + THRESHOLDS["near_copies"]
    return {
        score.name: value_text(comparison, "near_copies", score)
        for score in statistics(comparison, "near_copies")
        if score.value > allowed and differ(score.value - (floor or 0.0), score.width, spread)
    }


def _memorised(comparison: Comparison) -> Iterator[Sentence]:
    floor, copies = floor_of(comparison, "near_copies")[0], memorised(comparison)
    if copies:
        allowed = THRESHOLDS["near_copies"]
        what = (
            f"the {percent(allowed)} that this report allows"
            if floor is None
            else f"real data's {floor_text(comparison, 'near_copies')}"
        )
        yield warning(f"Memorisation: samples of {with_values(copies)} are near-copies of training examples, more than {what}.")


def _precision_and_recall(comparison: Comparison) -> Iterator[Sentence]:
    """Precision hardly falls in many dimensions, so density and others too say whether samples lie apart from the data."""
    repeat, few, wrong = {}, {}, {}
    for model in comparison.models:
        precision, recall, density = (ratio_of(model, metric) for metric in ("precision", "recall", "density"))
        if precision is None or recall is None:
            continue
        apart = density is not None and density < THRESHOLDS["density_right"]
        numbers = f"precision {_times(precision)}, recall {_times(recall)}{OF_REAL}"
        if not apart and precision >= THRESHOLDS["precision_right"] and recall < THRESHOLDS["recall_poor"]:
            against = _against_looks(comparison, model)
            if against:
                few[model.name] = f"{numbers}, but {listing(against)}"
            else:
                repeat[model.name] = numbers
        if (apart or precision < THRESHOLDS["precision_poor"]) and recall >= THRESHOLDS["recall_right"]:
            wrong[model.name] = numbers if density is None else f"density {_times(density)}, {numbers}"
    if repeat:
        yield warning(
            f"Samples of {with_values(repeat)} look like real examples but vary too little: each looks right, and much of the "
            "data is never produced."
        )
    if few:
        yield warning(
            f"Samples of {with_values(few)} lie in few places: high precision and low recall do not mean here that each looks "
            "right."
        )
    if wrong:
        yield warning(f"Samples of {with_values(wrong)} cover the data, but many look wrong.")


def _against_looks(comparison: Comparison, model: ModelResult) -> list[str]:
    """What speaks against samples that look right: blur or grain, tests that tell them apart, no lead over no network."""
    sharpness = ratio_of(model, "sharpness")
    reasons = []
    if sharpness is not None and not THRESHOLDS["blurred"] <= sharpness <= THRESHOLDS["grainy"]:
        reasons.append(f"sharpness {_times(sharpness)}")
    for metric, name in (("classifier_test", "classifier test"), ("neighbour_test", "nearest-neighbour test")):
        score = statistic(comparison, model, metric)
        if score is not None and score.value > THRESHOLDS["told_apart"]:
            reasons.append(f"{name} {value_text(comparison, metric, score)}")
    return [*reasons, "no better than no network"] if model.name in lacking(comparison) else reasons


def _times(ratio: float) -> str:
    """A ratio to real data's score, as scorecards have it."""
    return f"{plain(ratio, 2)}×"


def _modes(comparison: Comparison) -> Iterator[Sentence]:
    lost = {model.name: text for model in comparison.models if (text := _lost_modes(comparison, model))}
    if lost:
        yield warning(f"Modes are lost: {listing(f'{marked(name)} {text}' for name, text in lost.items())}.", "samples")


def _lost_modes(comparison: Comparison, model: ModelResult) -> str:
    mass = finite_all(model.scores.get("modes_held", Score()).extra.get("mass"))
    held, floor = statistic(comparison, model, "modes_held"), floor_of(comparison, "modes_held")[0]
    if held is not None and floor is not None:
        return (
            f"holds {value_text(comparison, 'modes_held', held)} of {plain(len(mass) or floor)}"
            if held.value < floor - 0.05
            else ""
        )
    thin = [number + 1 for number, share in enumerate(mass) if share < THRESHOLDS["mode_held"] / len(mass)]
    if not thin:
        return ""
    which = f"mode{'s' if len(thin) > 1 else ''} {listing(map(str, thin))}"
    return f"holds {len(mass) - len(thin)} of {len(mass)} (too little of {which})"


def _bridges(comparison: Comparison) -> Iterator[Sentence]:
    floor = floor_of(comparison, "bridges")[0] or 0.0
    between = {
        score.name: value_text(comparison, "bridges", score)
        for score in statistics(comparison, "bridges")
        if score.value > floor + THRESHOLDS["bridges"]
    }
    if between:
        yield warning(f"Samples fall between the modes, where no data is: {with_values(between)}.", "samples")


def _beyond(metric: str, low: str, high: str, below: str, above: str, over_floor: bool) -> Rule:
    """A rule for scores whose ideal is a value in the middle."""

    def rule(comparison: Comparison) -> Iterator[Sentence]:
        less, more = {}, {}
        for model in comparison.models:
            score = statistic(comparison, model, metric)
            value = ratio_of(model, metric) if over_floor else score.value if score else None
            text = "" if score is None or value is None else value_text(comparison, metric, score)
            text = f"{_times(value)}{OF_REAL}" if value is not None and over_floor else text
            if value is not None and value < THRESHOLDS[low]:
                less[model.name] = text
            elif value is not None and value > THRESHOLDS[high]:
                more[model.name] = text
        if less:
            yield warning(below.format(with_values(less)))
        if more:
            yield warning(above.format(with_values(more)))

    return rule


def _labels(comparison: Comparison) -> Iterator[Sentence]:
    """The classifier is not always right on real data either: its own accuracy there is the measure."""
    real, n = comparison.settings.classifier_accuracy, comparison.settings.n
    agreements = {model.name: model.label_agreement for model in comparison.models}
    low = {name: percent(value) for name, value in agreements.items() if value is not None and _unlike(value, real, n)}
    if low:
        beside = "" if real is None else f"; of real examples it recognises {percent(real)}"
        yield warning(f"A classifier recognises too few samples as the class they were asked to be: {with_values(low)}{beside}.")
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in comparison.models:
        if model.conditioned is not None:
            groups.setdefault(model.conditioned, []).append(model.name)
    if len(groups) > 1:
        parts = [
            f"{named(models)} {verb(models, 'was', 'were')} given {_words(given)}" for given, models in groups.items() if given
        ]
        others = ", the others were not" if () in groups else ""
        yield warning(f"Not like for like: {'; '.join(parts)}{others}.")


def _words(given: tuple[str, ...]) -> str:
    """What models were given."""
    return listing(["class labels" if name == "label" else name for name in given])


def _unlike(agreement: float, real: float | None, n: float | None) -> bool:
    """Whether samples are recognised less often than real data, by a margin and by more than n samples of each vary."""
    real = 1.0 if real is None else real
    errors = [math.sqrt(max(share * (1 - share), 0.0) / n) if n else 0.0 for share in (agreement, real)]
    return agreement < THRESHOLDS["agreement"] * real and differ(real - agreement, *errors)


SAMPLE_RULES: tuple[Rule, ...] = (_memorised, _modes, _precision_and_recall)
"""What comes before alarms of training."""
DETAIL_RULES: tuple[Rule, ...] = (
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
        "Samples are blurred, by their fine detail: {}.",
        "Samples are grainy, by their fine detail: {}.",
        True,
    ),
    _labels,
)
"""What comes after them."""
