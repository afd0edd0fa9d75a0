"""The verdict: what is best and by how much, in sentences; then the warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pushforward.evaluation.results import ROW_COPIES, Comparison
from pushforward.metrics.score import Role
from pushforward.numbers import count, duration, listing, plain
from pushforward.report import facts, ladder
from pushforward.report.bars import has_intervals, has_trainings
from pushforward.report.clauses import differences
from pushforward.report.gaussian import gaussian_distance
from pushforward.report.rounding import value_text
from pushforward.report.sentences import Sentence, inside, named, verb
from pushforward.report.speeds import sampling_sentence
from pushforward.report.statistics import (
    THRESHOLDS,
    Statistic,
    at_floor,
    at_n,
    floor_of,
    floor_statistic,
    lacking,
    leaders,
    metric_for,
    statistic,
    statistics,
    values_of,
    with_spread,
    without_spread,
)
from pushforward.report.sweep import sweep_sentence
from pushforward.report.warnings import unbeaten, warnings

__all__ = ["claims", "remarks", "verdict"]

MOST = 6
"""Sentences of a verdict at most."""
FIRST = ("measure", "baseline")
"""Kinds of sentences that disqualify a measure, or all models by it, and so stand before those that rest on it."""


def verdict(comparison: Comparison) -> list[Sentence]:
    """All findings: what disqualifies a measure, what is best and by how much, then the warnings."""
    single = [
        _best(comparison, "quality"),
        _best(comparison, "diversity"),
        gaussian_distance(comparison),
        _row_copies(comparison),
        sweep_sentence(comparison),
        sampling_sentence(comparison),
        _training(comparison),
    ]
    sentences = [sentence for sentence in single if sentence is not None]
    sentences += [*ladder.claims(comparison), *warnings(comparison)]
    return sorted(sentences, key=lambda sentence: FIRST.index(sentence.kind) if sentence.kind in FIRST else len(FIRST))


def claims(comparison: Comparison) -> list[Sentence]:
    """The sentences of the verdict itself, six at most."""
    return [sentence for sentence in verdict(comparison) if sentence.kind != "warning"][:MOST]


def remarks(comparison: Comparison) -> list[Sentence]:
    """What to keep in mind: the warnings, and before them what the verdict has no room for."""
    sentences = verdict(comparison)
    rest = [sentence for sentence in sentences if sentence.kind != "warning"][MOST:]
    return [*rest, *(sentence for sentence in sentences if sentence.kind == "warning")]


def _best(comparison: Comparison, role: Role) -> Sentence | None:
    metric = metric_for(comparison, role)
    if metric is None:
        return None
    ranked, lead = statistics(comparison, metric), leaders(comparison, metric)
    label = inside(comparison.info(metric).label)
    if len(ranked) == 1:
        text = f"{named([ranked[0].name])} has {'an' if label[:1] in 'aeiou' else 'a'} {label} of {ranked[0].text}"
        base = statistic(comparison, comparison.baseline, metric)
        if base is not None and base.better_than(ranked[0]):
            text += f", measurably worse than no network ({base.text})"
    elif len(lead) == len(ranked):
        between, values = named([score.name for score in lead]), values_of(lead)
        text = f"No measurable difference in {label} between {between}{at_n(comparison)}: {values}"
        clauses = [] if role == "diversity" else differences(comparison, metric)
        if clauses:
            text = f"{between} differ measurably in {listing(clauses)}, but not in {label}{at_n(comparison)}: {values}"
    else:
        text = _leading(comparison, metric, ranked, lead)
    return Sentence(role, text + _beside_floor(comparison, metric, lead), "scorecard")


def _leading(comparison: Comparison, metric: str, ranked: Sequence[Statistic], lead: Sequence[Statistic]) -> str:
    """Who is ahead of the other models, and by how much; nobody is called best who does not beat no network."""
    label, names = inside(comparison.info(metric).label), named([score.name for score in lead])
    after = next(score for score in ranked if score.name not in {leader.name for leader in lead})
    second = f"next {named([after.name])} with {after.text}"
    base = statistic(comparison, comparison.baseline, metric)
    beat = [score for score in lead if base is None or score.better_than(base)]
    between = "" if len(lead) == 1 else f", with no measurable difference between them{at_n(comparison)}"
    values = f"{values_of(lead)}, {second}"
    if base is not None and not beat and unbeaten(comparison, metric):
        return f"Of the models, {names} {verb(lead, 'is', 'are')} least bad in {label}{between}: {values}"
    if base is not None and not beat:
        compared = f", but not measurably better than no network ({base.text})"
        which = f"{names} {verb(lead, 'scores', 'score')} best of the models in {label}{compared}{between}"
        return f"{which}: {values}"
    weak, main = _unproven(comparison, metric, lead)
    if len(weak) == len(lead):
        but = f", but {verb(lead, 'does', 'do')} not beat no network in {main}{between}"
        return f"{names} {verb(lead, 'scores', 'score')} best of the models in {label}{but}: {values}"
    if len(lead) == 1 and without_spread(comparison, metric):
        return f"{names} scores best of the models in {label}, by a single value each, whose spread is not known: {values}"
    if len(lead) == 1:
        return f"{names} has the best {label}: {values}"
    some = f"; of these only {named([score.name for score in beat])} measurably {verb(beat, 'beats', 'beat')} no network"
    rest = f"; {named(weak)} {verb(weak, 'does', 'do')} not beat no network in {main}" if weak else ""
    return f"{names} lead in {label}{between}: {values}{some if len(beat) < len(lead) else ''}{rest}"


def _unproven(comparison: Comparison, metric: str, lead: Sequence[Statistic]) -> tuple[list[str], str]:
    """The leaders that do not beat no network in the score that ranks models, and that score's label."""
    main = metric_for(comparison, "quality")
    if main is None or main == metric:
        return [], ""
    return [score.name for score in lead if score.name in lacking(comparison)], inside(comparison.info(main).label)


def _row_copies(comparison: Comparison) -> Sentence | None:
    """Says of the baseline of copies that it is one, and how well copies do in the score that ranks models."""
    copies = next((row for row in comparison.further_baselines if row.name == ROW_COPIES), None)
    metric = metric_for(comparison, "quality")
    score = None if copies is None or metric is None else statistic(comparison, copies, metric)
    if copies is None or metric is None or score is None:
        return None
    near, label = statistic(comparison, copies, "near_copies"), inside(comparison.info(metric).label)
    share = "" if near is None else f" ({value_text(comparison, 'near_copies', near)} near-copies)"
    text = f"{named([copies.name])} are training rows drawn again{share} and score {score.text} in {label}"
    return Sentence("copies", f"{text}: a good {label} alone does not show that a model has learned.", "scorecard")


def _beside_floor(comparison: Comparison, metric: str, lead: Sequence[Statistic]) -> str:
    value, spread = floor_of(comparison, metric)
    if value is None:
        return "."
    named_spread = " (spread)" if spread and has_intervals(comparison) else ""
    text = f"; real data scores {with_spread(value, spread or None)}{named_spread}"
    if not all(at_floor(comparison, metric, score) for score in lead):
        return f"{text}."
    floor = floor_statistic(comparison, metric)
    ranked = statistics(comparison, metric)
    if floor is not None and all(score.loss < floor.loss and not score.better_than(floor) for score in ranked):
        return f"{text}, which is no better: these values all lie within noise."
    return f"{text}, within noise of {'it' if len(lead) == 1 else 'them'}."


def _positive(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None and value > 0}


def _training(comparison: Comparison) -> Sentence | None:
    costs = {model.name: model.training for model in comparison.models}
    parts = {name: (cost.seconds, cost.trajectory_seconds, cost.ancestor_seconds) for name, cost in costs.items()}
    seconds = _positive({name: sum(filter(None, times)) for name, times in parts.items()})
    counted = " with what they build on" if any(cost.ancestor_seconds for cost in costs.values()) else ""
    if len(seconds) < 2:
        return None
    ranked = sorted(seconds, key=lambda name: seconds[name])
    low, high = seconds[ranked[0]], seconds[ranked[-1]]
    steps = list(_positive({name: cost.steps for name, cost in costs.items()}).values())
    if high > THRESHOLDS["unequal_time"] * low and len(steps) == len(seconds) and min(steps) == max(steps):
        text = (
            f"All made {count(steps[0])} training steps, which took from {duration(low)} ({named(ranked[:1])}) to "
            f"{duration(high)} ({named(ranked[-1:])}){counted}."
        )
        return Sentence("training", text, "cost")
    if high > THRESHOLDS["unequal_time"] * low:
        text = (
            f"Training took unequal time, from {duration(low)} ({named(ranked[:1])}) to {duration(high)} "
            f"({named(ranked[-1:])}){counted}; the scores are not at equal budgets."
        )
        return Sentence("training", text, "cost")
    samples = _positive({name: cost.samples for name, cost in costs.items()})
    rates = {name: value / seconds[name] for name, value in samples.items() if name in seconds}
    each = "All were trained" if has_trainings(comparison) else "Each was trained once,"
    text, trainings = f"{each} for about {duration((low + high) / 2)}{counted}", facts.scored_trainings(comparison)
    if trainings:
        text = f"Scores and samples are those of the {trainings}; these took about {duration((low + high) / 2)}{counted}"
    if len(rates) > 1:
        best, worst = max(rates, key=lambda name: rates[name]), min(rates, key=lambda name: rates[name])
        if rates[best] > THRESHOLDS["faster"] * rates[worst]:
            times = plain(rates[best] / rates[worst], 2)
            text += f", in which {named([best])} saw {times} times as many training examples as {named([worst])}"
    return Sentence("training", f"{text}.", "cost")
