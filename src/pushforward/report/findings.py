"""The table of findings: a condition on a comparison, and the template into which its values are put.

`RULES` holds one row for each kind of finding; thresholds and conditions are in `pushforward.report.finding_conditions`.
`standings` writes the one plain sentence of each model. docs/findings.md explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import ROLES
from pushforward.report import finding_conditions as when
from pushforward.report.statistics import (
    baseline_text,
    fastest,
    inside,
    lead_text,
    metric_for,
    placed,
    statistic,
    statistics,
)


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Args:
        kind: "measure" (one that cannot be relied on), "verdict" or "warning".
        text: The sentence.
        link: The section of the page that shows it.
        models: What is said of each model that it is about, by name.
        short: What the sentence of each of these models says of it, with ``said`` from ``models``; empty for nothing.
    """

    kind: str
    text: str
    link: str
    models: Mapping[str, str] = field(default_factory=dict)
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
            found.append(Finding(rule.kind, rule.template.format(**words), rule.link, models, rule.short))
    return found + [
        Finding("warning", f"{m.name}: {text}", "cost", {m.name: ""}) for m in comparison.models for text in m.warnings
    ]


def warnings(comparison: Comparison) -> list[Finding]:
    """The findings that a reader must keep in mind, without those of the verdict."""
    return [finding for finding in findings(comparison) if finding.kind != "verdict"]


def listed(values: Mapping[str, str]) -> str:
    """Names with what is said of each, such as ``gan (3 %), vae (5 %)``."""
    return ", ".join(f"{name} ({value})" if value else name for name, value in values.items())


# The table ------------------------------------------------------------------------------------------------------

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
        "No model is proven good here by {label}: {base} is not clearly worse than real data.",
        when.cannot_tell,
    ),
    Rule("measure", "reproduce", "Take every score with care: n = {n}, below {least}.", when.few_samples),
    *(Rule("verdict", "scorecard", "{label}{order}: {models}{floor}{stands}.", partial(when.ranked, role)) for role in ROLES),
    Rule("verdict", "scorecard", "Clearly apart in {label}: {models}.", when.separated),
    Rule(
        "verdict",
        "scorecard",
        "{name} are training rows drawn again, and have {value} in {label}: which alone does not show that a model has learned.",
        when.row_copies,
    ),
    Rule("verdict", "sweep", "Best by training time, in {label}: {stages}. One training run of each.", when.sweep),
    Rule("verdict", "cost", "Fastest to sample: {models}; slower: {others}.", when.sampling_times),
    Rule("verdict", "cost", "Training time of each: about {time}.{ahead}", partial(when.training_times, True)),
    Rule(
        "verdict",
        "cost",
        "Training took unequal time, {ends}: the scores are not at equal budgets.",
        partial(when.training_times, False),
    ),
    Rule("verdict", "calls", "Fewest calls that are not clearly worse than the best: {models}.", when.enough_calls),
    Rule(
        "verdict",
        "ladder",
        "In {calls} {models} has {scores} {teacher}, from the same noise; it is {worse}.",
        when.few_calls,
    ),
    Rule("verdict", "ladder", "The finish of {models} gained nothing: its weights are those of its start.", when.nothing_gained),
    Rule("warning", "samples", "Collapsed, samples repeat: {models}.", when.each_of(when.collapsed), "collapsed ({said})"),
    Rule("warning", "scorecard", "No finite score, so nothing is said: {models}.", when.unscored),
    Rule(
        "warning",
        "scorecard",
        "Clearly worse than no network ({base}) in {label}: {models}.",
        partial(when.against_no_network, True),
    ),
    Rule(
        "warning",
        "scorecard",
        "Not clearly better than no network ({base}) in {label}: {models}.",
        partial(when.against_no_network, False),
    ),
    Rule("warning", "scorecard", "{why}", when.no_score),
    Rule(
        "warning",
        "scorecard",
        "Not clearly better than {guess} in {label}: {models}.",
        when.against_guess,
        "not clearly better than a guess",
    ),
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
        "Recall is low, and high precision does not mean here that samples look right: {models}.",
        when.each_of(partial(when.varied, "few")),
        "low recall",
    ),
    Rule(
        "warning",
        "scorecard",
        "Samples vary as much as real data (recall), but many look wrong: {models}.",
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
        "Do not rank {models} against {other} by {label}: it is clearly ahead in {first} features and "
        "clearly behind in {space} features.",
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
        "hard to recognise ({said})",
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


def standings(comparison: Comparison) -> dict[str, str]:
    """One plain sentence on each model, without intervals, by its name; best first."""
    fast = [model.name for model in fastest(comparison)]
    found = findings(comparison)
    sentences = {}
    for model in placed(comparison):
        about = [finding for finding in found if finding.short and model.name in finding.models]
        shorts = dict.fromkeys(finding.short.format(said=finding.models[model.name]) for finding in about)
        parts = [_standing(comparison, model), *shorts]
        if model.name in fast:
            parts.append("fastest to sample" if len(fast) == 1 else "among the fastest to sample")
        sentences[model.name] = "; ".join(parts) + "."
    return sentences


def _standing(comparison: Comparison, model: ModelResult) -> str:
    """Where a model stands in the score that ranks models."""
    metric = metric_for(comparison, "quality")
    own = None if metric is None else statistic(comparison, model, metric)
    if metric is None or own is None:
        return f"{model.name} was not ranked: the ranking score is missing"
    label = inside(comparison.info(metric).label)
    base = baseline_text(comparison, metric, own)
    best, *others = statistics(comparison, metric)
    if not others:
        return f"{model.name} is {base} in {label}" if base else f"{model.name} is the only model with a {label}"
    if own.name == best.name:
        stands = [f"{model.name} has the best {label}", lead_text(best, others)]
    elif best.better_than(own):
        stands = [f"{model.name} is clearly behind {best.name} in {label}"]
    else:
        stands = [f"{model.name} is not clearly apart from {best.name} in {label}"]
    if base and base != "clearly better than no network":
        stands.append(f"but {base}" if own.name == best.name else f"and {base}")
    return ", ".join(stands)
