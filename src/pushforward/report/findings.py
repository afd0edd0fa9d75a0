"""The table of findings: a condition on a comparison, and the template into which its values are put.

`RULES` holds one row for each kind of finding; thresholds and conditions are in
`pushforward.report.finding_conditions`. docs/findings.md explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pushforward.evaluation.results import Comparison
from pushforward.numbers import listing
from pushforward.report import finding_conditions as when


@dataclass(frozen=True)
class Finding:
    """One sentence about a comparison.

    Args:
        kind: "measure" (scores cannot be trusted), "verdict", "copies" or "warning".
        text: The sentence.
        models: Details about each model concerned, by name.
        short: The problem of each of these models as a noun phrase, in which ``{said}`` stands for
            the details; empty if the answer about problems leaves it out.
    """

    kind: str
    text: str
    models: Mapping[str, str] = field(default_factory=dict)
    short: str = ""


@dataclass(frozen=True)
class Rule:
    """A row of the table: each set of values that ``holds`` yields fills ``template``."""

    kind: str
    template: str
    holds: when.Condition
    short: str = ""


def findings(comparison: Comparison) -> list[Finding]:
    """Return all findings: unreliable scores, the verdict, warnings, and the warnings of runs."""
    found = []
    for rule in RULES:
        for values in rule.holds(comparison):
            models = values.get("models", {})
            words = {
                name: listed(value) if isinstance(value, Mapping) else value
                for name, value in values.items()
            }
            found.append(Finding(rule.kind, rule.template.format(**words), models, rule.short))
    for model in comparison.models:
        found += [
            Finding("warning", f"{model.name}: {text}", {model.name: ""}) for text in model.warnings
        ]
    return found


def warnings(comparison: Comparison) -> list[Finding]:
    """Return all findings except the verdict."""
    return [finding for finding in findings(comparison) if finding.kind != "verdict"]


def listed(values: Mapping[str, str]) -> str:
    """Join names and their details, such as ``gan (3 %) and vae (5 %)``."""
    return listing(f"{name} ({value})" if value else name for name, value in values.items())


def _models(template: str, say: when.Sentence, short: str = "", kind: str = "warning") -> Rule:
    """Return a rule about the models for which ``say`` returns details."""
    return Rule(kind, template, when.each_of(say), short)


# The table ------------------------------------------------------------------------------------------------------

# All kinds of findings, in the order of the report
RULES: tuple[Rule, ...] = (
    Rule(
        "measure",
        "{models} used ImageNet features in training, so scores in {space} features are too optimistic. "
        "Compare the models in features that no model was trained on.",
        when.taught_judges,
        "scores in features that it was trained on",
    ),
    Rule(
        "warning",
        "The {label} cannot show whether a model is good, because the baseline is not significantly worse than real data.",
        when.cannot_tell,
    ),
    Rule(
        "measure",
        "The scores are unreliable, because they are based on only {n} samples. {least}.",
        when.few_samples,
    ),
    Rule("verdict", "In {label}, {scores}.{floor} {stands}", partial(when.ranked, "diversity")),
    Rule("verdict", "{stages} Each recipe was trained once for each budget.", when.sweep),
    Rule(
        "verdict",
        "Training took from {shortest} to {longest}, so the models did not have equal budgets.",
        when.training_times,
    ),
    Rule("verdict", "With {calls}, {models} {scores}. {worse}", when.few_calls),
    Rule(
        "verdict",
        "Finishing did not improve {models}, so the initial weights were kept.",
        when.nothing_gained,
    ),
    _models(
        "Samples of {models} are nearly identical, a sign of mode collapse.",
        when.collapsed,
        "mode collapse ({said})",
    ),
    Rule("warning", "Models without a finite score were not ranked: {models}.", when.unscored),
    Rule("warning", "{why}", when.no_score),
    Rule(
        "warning",
        "In {label}, {models} did not significantly outperform {guess}.",
        when.against_guess,
        "scores no better than a guess",
    ),
    _models(
        "Samples of {models} include near-copies of training data.", when.memorised, kind="copies"
    ),
    _models("Samples of {models} miss some modes of the data.", when.lost_modes, "only {said}"),
    _models(
        "Samples of {models} look realistic but lack diversity, compared with real data.",
        partial(when.varied, "repeat"),
        "too little diversity",
    ),
    _models(
        "Recall is low for {models}. High precision alone does not show that samples look realistic.",
        partial(when.varied, "few"),
        "low recall",
    ),
    _models(
        "Samples of {models} are as diverse as real data, but many look unrealistic.",
        partial(when.varied, "wrong"),
        "many unrealistic samples",
    ),
    _models("Samples of {models} lack some classes.", when.missing_classes, "missing classes"),
    _models(
        "Samples of {models} lie closer to training examples than held-out examples do.",
        when.copying,
        kind="copies",
    ),
    _models(
        "The scores of {models} are invalid, because the model has probably seen the held-out examples.",
        when.held_out_seen,
        "held-out examples in its training data",
    ),
    _models(
        "An attacker with samples of {models} can tell training rows from new ones. Chance is an AUC of 0.5.",
        when.attacked,
        kind="copies",
    ),
    _models(
        "A classifier can tell samples of {models} from real rows.",
        when.given_away,
        "columns that give samples away ({said})",
    ),
    Rule(
        "warning",
        "The {label} cannot rank {models} and {other}. {models} is ahead in {first} features and behind in {space} features.",
        when.disagreements,
    ),
    Rule(
        "warning",
        "The {label} of {models} gets significantly worse with more than {best}. Sample with {best}, or train longer.",
        when.rises,
        "worse samples with more calls",
    ),
    Rule(
        "warning",
        "With {calls}, {models} has a coverage of {value}, compared with {taught} for its teacher.",
        when.uncovered,
    ),
    Rule("warning", "{alarm}", when.alarms, "an alarm during training"),
    Rule(
        "warning",
        "No latent dimension is active in {models}, so {alike}.{early} Train longer, or set warmup to 0.3.",
        when.unused_codes,
        "an unused latent",
    ),
    _models(
        "Samples of {models} often lie between the modes.",
        when.bridges,
        "{said} of its samples between modes",
    ),
    _models(
        "Samples of {models} have narrower modes than the true distribution.",
        when.beyond("spread", "narrow", -1),
    ),
    _models(
        "Samples of {models} have wider modes than the true distribution.",
        when.beyond("spread", "wide", 1),
    ),
    _models(
        "Samples of {models} look blurred, with less fine detail than real data.",
        when.beyond("sharpness", "blurred", -1, True),
        "blurred samples",
    ),
    _models(
        "Samples of {models} look grainy, with more fine detail than real data.",
        when.beyond("sharpness", "grainy", 1, True),
        "grainy samples",
    ),
    Rule(
        "warning",
        "Samples of {models} are too rarely recognised as the requested class, compared with {real} for real data.",
        when.misread_classes,
        "only {said} of samples in the requested class",
    ),
    Rule(
        "warning",
        "The models are not directly comparable, because they were given different conditions: {models}.",
        when.unlike_conditions,
    ),
    Rule("warning", "The number of parameters differs between {some}.", when.unequal_sizes),
    Rule(
        "warning",
        "At n = {n}, about {bias} of the {label} of {models} is bias, which more samples would reduce.",
        when.biased,
    ),
)
