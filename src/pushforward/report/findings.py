"""The table of findings: a condition on a comparison, and the template into which its values are put.

`RULES` holds one row for each kind of finding, `STANDINGS` the one plain sentence of each model; thresholds and conditions are in
`pushforward.report.finding_conditions`. docs/findings.md explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report import finding_conditions as when
from pushforward.report.statistics import (
    fastest,
    inside,
    lacking,
    leaders,
    metric_for,
    statistic,
    statistics,
    without_spread,
)


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Args:
        kind: "measure" (one that cannot be relied on), "verdict" or "warning".
        text: The sentence.
        link: The section of the page that shows it.
        models: Whom it is about.
        short: What the sentence of each of these models says of it; empty for nothing.
    """

    kind: str
    text: str
    link: str
    models: tuple[str, ...] = ()
    short: str = ""


@dataclass(frozen=True)
class Rule:
    """A row of the table: where ``holds`` yields values, ``template`` with these values is a finding."""

    kind: str
    link: str
    template: str
    holds: when.Condition
    short: str = ""


def findings(comparison: Comparison) -> list[Finding]:
    """All findings: measures that cannot be relied on, the verdict, then warnings, those of the runs last."""
    found = []
    for rule in RULES:
        for values in rule.holds(comparison):
            models = values.get("models", {})
            words = {name: listed(value) if isinstance(value, Mapping) else value for name, value in values.items()}
            found.append(Finding(rule.kind, rule.template.format(**words), rule.link, tuple(models), rule.short))
    return found + [Finding("warning", f"{m.name}: {text}", "cost", (m.name,)) for m in comparison.models for text in m.warnings]


def warnings(comparison: Comparison) -> list[Finding]:
    """The findings that a reader must keep in mind, without those of the verdict."""
    return [finding for finding in findings(comparison) if finding.kind != "verdict"]


def listed(values: Mapping[str, str]) -> str:
    """Names with what is said of each, such as ``gan (3 %), vae (5 %)``."""
    return ", ".join(f"{name} ({value})" if value else name for name, value in values.items())


# The table ------------------------------------------------------------------------------------------------------

# Sentences of a ranking, by its state
RANKINGS = {
    "single": "Of {models} in {label}{floor}.",
    "level": "No measurable difference in {label}: {models}{floor}.",
    "bad": "Ahead of the other models in {label}, but no better than no network ({base}): {models}{behind}{floor}.",
    "unproven": "Ahead of the other models in {label}, but no better than no network in {main}: {models}{behind}{floor}.",
    "unknown": "Ahead in {label}, by single values whose spread is not known: {models}{behind}{floor}.",
    "best": "Best in {label}: {models}{behind}{floor}.",
}

# What is found, in this order
RULES: tuple[Rule, ...] = (
    Rule(
        "measure",
        "reproduce",
        "The judge is the teacher: scores in {space} features are too good for {models}. Compare in features that no model was "
        "trained on.",
        when.taught_judges,
        "judged by its teacher",
    ),
    Rule(
        "measure",
        "scorecard",
        "No model is proven good here by {label}: {base} is not measurably worse than real data.",
        when.cannot_tell,
    ),
    Rule("measure", "reproduce", "Take every score with care: n = {n}, below {least}.", when.few_samples),
    *(
        Rule("verdict", "scorecard", text, partial(when.ranked, state, role))
        for role in ("quality", "diversity")
        for state, text in RANKINGS.items()
    ),
    Rule("verdict", "scorecard", "They differ measurably in {label}: {models}.", when.separated),
    Rule(
        "verdict",
        "scorecard",
        "{name} are training rows drawn again, and have {value} in {label}: which alone does not show that a model has learned.",
        when.row_copies,
    ),
    Rule("verdict", "sweep", "By time of training, in {label}: {stages}. One training of each.", when.sweep),
    Rule("verdict", "cost", "Fastest to sample: {models}; slower: {others}.", when.sampling_times),
    Rule("verdict", "cost", "Training time of each: about {time}.{ahead}", partial(when.training_times, True)),
    Rule(
        "verdict",
        "cost",
        "Training took unequal time, {ends}: the scores are not at equal budgets.",
        partial(when.training_times, False),
    ),
    Rule("verdict", "calls", "Fewest calls that are not measurably worse than the best: {models}.", when.enough_calls),
    Rule(
        "verdict",
        "ladder",
        "In {calls} {models} has {scores} {teacher}, from the same noise; it is {worse}.",
        when.few_calls,
    ),
    Rule("verdict", "ladder", "The finish of {models} gained nothing: its weights are those of its start.", when.nothing_gained),
    Rule("warning", "samples", "Collapsed, samples repeat: {models}.", when.each_of(when.collapsed), "collapsed"),
    Rule("warning", "scorecard", "No finite score, so nothing is said: {models}.", when.unscored),
    Rule("warning", "scorecard", "Worse than no network ({base}) in {label}: {models}.", partial(when.against_no_network, True)),
    Rule(
        "warning",
        "scorecard",
        "Not measurably better than no network ({base}) in {label}: {models}.",
        partial(when.against_no_network, False),
    ),
    Rule("warning", "scorecard", "{why}", when.no_score),
    Rule("warning", "scorecard", "No better than {guess} in {label}: {models}.", when.against_guess, "no better than a guess"),
    Rule(
        "warning",
        "samples",
        "Memorisation, near-copies of training data: {models}.",
        when.each_of(when.memorised),
        "memorises",
    ),
    Rule("warning", "samples", "Modes are lost: {models}.", when.each_of(when.lost_modes), "loses modes"),
    Rule(
        "warning",
        "scorecard",
        "Samples look right but vary too little, beside real data: {models}.",
        when.each_of(partial(when.varied, "repeat")),
        "varies too little",
    ),
    Rule(
        "warning",
        "scorecard",
        "Samples lie in few places, and high precision does not mean here that they look right: {models}.",
        when.each_of(partial(when.varied, "few")),
        "samples in few places",
    ),
    Rule(
        "warning",
        "scorecard",
        "Samples cover the data, but many look wrong, beside real data: {models}.",
        when.each_of(partial(when.varied, "wrong")),
        "many samples look wrong",
    ),
    Rule("warning", "samples", "Classes are missing: {models}.", when.each_of(when.missing_classes), "classes are missing"),
    Rule(
        "warning",
        "scorecard",
        "Memorisation, samples nearer to training examples than held-out ones are: {models}.",
        when.each_of(when.copying),
        "memorises",
    ),
    Rule(
        "warning",
        "scorecard",
        "Held-out examples were learned, so scores against them mean nothing; times as near as by chance: {models}.",
        when.each_of(when.held_out_seen),
        "has seen held-out examples",
    ),
    Rule(
        "warning",
        "scorecard",
        "Memorisation, an attacker who has samples tells training rows from new ones; 0.5 is chance: {models}.",
        when.each_of(when.attacked),
        "memorises",
    ),
    Rule("warning", "columns", "Columns by which trees tell samples from real rows: {models}.", when.each_of(when.given_away)),
    Rule(
        "warning",
        "scorecard",
        "Do not rank {models} against {other} by {label}: it is ahead in {first} features and behind in {space} features.",
        when.disagreements,
    ),
    Rule(
        "warning",
        "ladder",
        "More calls make {models} worse in {label}, by more than noise. Sample it in {best}, or train longer.",
        when.rises,
        "worse in more calls",
    ),
    Rule(
        "warning",
        "ladder",
        "In {calls} {models} has coverage {value}, its teacher {taught}.",
        when.uncovered,
    ),
    Rule("warning", "health", "Alarm of {training} from step {step} {ends}: {what}.", when.alarms, "alarm of training"),
    Rule(
        "warning",
        "codes",
        "No unit of the code is active, {alike}{early}: {models}. Train longer, or set warmup to 0.3.",
        when.unused_codes,
        "unused code",
    ),
    Rule(
        "warning",
        "samples",
        "Samples between the modes: {models}.",
        when.each_of(when.bridges),
        "samples between modes",
    ),
    Rule("warning", "samples", "Modes are too narrow, beside the true width: {models}.", when.beyond("spread", "narrow", -1)),
    Rule("warning", "samples", "Modes are too wide, beside the true width: {models}.", when.beyond("spread", "wide", 1)),
    Rule(
        "warning",
        "samples",
        "Blurred, by fine detail: {models}.",
        when.beyond("sharpness", "blurred", -1, True),
        "blurred",
    ),
    Rule("warning", "samples", "Grainy, by fine detail: {models}.", when.beyond("sharpness", "grainy", 1, True), "grainy"),
    Rule(
        "warning",
        "samples",
        "Samples are too rarely recognised as the class they were asked to be: {models}.",
        when.each_of(when.misread),
        "hard to recognise",
    ),
    Rule("warning", "reproduce", "Not like for like, models were given different conditions: {models}.", when.unlike_conditions),
    Rule("warning", "cost", "The models differ in size: {some}.", when.unequal_sizes),
    Rule("warning", "cost", "Times do not compare, measured in different sessions: {groups}.", when.timed_apart),
    Rule(
        "warning",
        "scorecard",
        "At n = {n} about {bias} of every {label} is bias that more samples would remove, a large part of: {models}.",
        when.biased,
    ),
)


# One sentence a model -------------------------------------------------------------------------------------------

# Where a model stands in the score that ranks models; `_standing` decides
STANDINGS: dict[str, str] = {
    "unranked": "{name} has no score by which models are ranked",
    "worse": "{name} is worse than no network in {label}",
    "level_with_none": "{name} is no better than no network in {label}",
    "blind": "{name} is no better than no network in {label}, which cannot tell here",
    "single": "{name} beats no network in {label}",
    "alone": "{name} was measured in {label}, without a model to compare it with",
    "best": "{name} is best in {label}",
    "level": "{name} does not differ measurably from the other models in {label}",
    "among": "{name} is among the best in {label}",
    "behind": "{name} is measurably worse in {label} than {lead}",
}


def standings(comparison: Comparison) -> dict[str, str]:
    """One plain sentence on each model, without intervals, by its name."""
    metric, fast = metric_for(comparison, "quality"), [model.name for model in fastest(comparison)]
    found, sentences = findings(comparison), {}
    for model in comparison.models:
        label = "" if metric is None else inside(comparison.info(metric).label)
        ahead = [] if metric is None else [score.name for score in leaders(comparison, metric)]
        lead = ", ".join(ahead[:3]) + ", …" * (len(ahead) > 3)
        text = STANDINGS[_standing(comparison, model, metric)].format(name=model.name, label=label, lead=lead)
        shorts = dict.fromkeys(finding.short for finding in found if finding.short and model.name in finding.models)
        sentences[model.name] = "; ".join([text, *["fastest to sample"] * (model.name in fast), *shorts]) + "."
    return sentences


def _standing(comparison: Comparison, model: ModelResult, metric: str | None) -> str:
    own = None if metric is None else statistic(comparison, model, metric)
    if metric is None or own is None:
        return "unranked"
    base, lead = statistic(comparison, comparison.baseline, metric), leaders(comparison, metric)
    if base is not None and base.better_than(own):
        return "worse"
    if model.name in lacking(comparison, metric):
        return "level_with_none"
    if base is not None and not own.better_than(base):
        return "blind"
    if len(statistics(comparison, metric)) == 1:
        return "alone" if base is None else "single"
    if len(lead) == len(statistics(comparison, metric)):
        return "level"
    if own.name not in {score.name for score in lead}:
        return "behind"
    return "best" if len(lead) == 1 and not without_spread(comparison, metric) else "among"
