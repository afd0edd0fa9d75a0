"""The table of findings: a condition on a comparison, and the template into which its values are put.

`RULES` holds one row for each kind of finding; thresholds and conditions are in `pushforward.report.finding_conditions`.
docs/findings.md explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pushforward.evaluation.results import Comparison
from pushforward.report import finding_conditions as when


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Args:
        kind: "measure" (one that cannot be relied on), "verdict", "copies" or "warning".
        text: The sentence.
        link: The section of the page that shows it.
        models: What is said of each model that it is about, by name.
        short: The problem of each of these models in a few words, with ``said`` from ``models``; empty for none.
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
        "{models} trained against the feature extractor that scores them, so scores in {space} features are too good. Compare in "
        "features that no model was trained on.",
        when.taught_judges,
        "trained against the feature extractor that scores it",
    ),
    Rule(
        "warning",
        "scorecard",
        "{label} cannot show whether a model is good: the baseline is not clearly worse than real data.",
        when.cannot_tell,
    ),
    Rule("measure", "reproduce", "n = {n} samples are too few to trust the scores (at least {least}).", when.few_samples),
    Rule("verdict", "scorecard", "{label}: {models}{floor}.{stands}", partial(when.ranked, "diversity")),
    Rule("verdict", "sweep", "Best by training time, in {label}: {stages}. One training run of each.", when.sweep),
    Rule(
        "verdict",
        "cost",
        "Training took unequal time, {ends}: the scores are not at equal budgets.",
        when.training_times,
    ),
    Rule(
        "verdict",
        "ladder",
        "In {calls} {models} has {scores} {teacher}, from the same noise; it is {worse}.",
        when.few_calls,
    ),
    Rule("verdict", "ladder", "The finish of {models} gained nothing: its weights are those of its start.", when.nothing_gained),
    Rule("warning", "samples", "Collapsed, samples repeat: {models}.", when.each_of(when.collapsed), "collapsed ({said})"),
    Rule("warning", "scorecard", "Not ranked, no finite score: {models}.", when.unscored),
    Rule("warning", "scorecard", "{why}", when.no_score),
    Rule(
        "warning",
        "scorecard",
        "Not clearly better than {guess} in {label}: {models}.",
        when.against_guess,
        "not clearly better than a guess",
    ),
    Rule(
        "copies",
        "samples",
        "Samples nearly repeat training data: {models}.",
        when.each_of(when.memorised),
    ),
    Rule("warning", "samples", "Modes are lost: {models}.", when.each_of(when.lost_modes), "modes lost ({said})"),
    Rule(
        "warning",
        "scorecard",
        "Samples look realistic but lack diversity, compared with real data: {models}.",
        when.each_of(partial(when.varied, "repeat")),
        "lacks diversity",
    ),
    Rule(
        "warning",
        "scorecard",
        "Recall is low, and high precision does not mean here that samples look realistic: {models}.",
        when.each_of(partial(when.varied, "few")),
        "low recall",
    ),
    Rule(
        "warning",
        "scorecard",
        "Samples are as diverse as real data (recall), but many look wrong: {models}.",
        when.each_of(partial(when.varied, "wrong")),
        "many samples look wrong",
    ),
    Rule("warning", "samples", "Classes are missing: {models}.", when.each_of(when.missing_classes), "classes are missing"),
    Rule(
        "copies",
        "scorecard",
        "Samples are nearer to training examples than held-out ones are: {models}.",
        when.each_of(when.copying),
    ),
    Rule(
        "warning",
        "scorecard",
        "Held-out examples were learned, so scores against them mean nothing; times as near as by chance: {models}.",
        when.each_of(when.held_out_seen),
        "has seen held-out examples",
    ),
    Rule(
        "copies",
        "scorecard",
        "An attacker who has samples can tell training rows from new ones (chance is 0.5): {models}.",
        when.each_of(when.attacked),
    ),
    Rule(
        "warning",
        "columns",
        "Columns by which trees tell samples from real rows: {models}.",
        when.each_of(when.given_away),
        "given away by the columns {said}",
    ),
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
    Rule("warning", "health", "Alarm of {training} from step {step} {ends}: {what}.", when.alarms, "alarm during training"),
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
        "{said} of samples between modes",
    ),
    Rule("warning", "samples", "Modes are narrower than the true ones: {models}.", when.beyond("spread", "narrow", -1)),
    Rule("warning", "samples", "Modes are wider than the true ones: {models}.", when.beyond("spread", "wide", 1)),
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
        "{said} recognised as the class asked for",
    ),
    Rule("warning", "reproduce", "Not like for like, models were given different conditions: {models}.", when.unlike_conditions),
    Rule("warning", "cost", "The models differ in size: {some}.", when.unequal_sizes),
    Rule(
        "warning",
        "scorecard",
        "At n = {n} about {bias} of every {label} is bias that more samples would remove, a large part of: {models}.",
        when.biased,
    ),
)
