"""Findings about single models; each function follows its thresholds and contains its sentence."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Score
from pushforward.numbers import count, finite_all, listing, percent, plain
from pushforward.report.statistics import (
    Statistic,
    alarm_periods,
    alarm_text,
    at_real_data,
    differ,
    label_in_sentence,
    named,
    ratio_of,
    real_data_score_of,
    real_data_text,
    statistic,
    unproven,
    value_text,
)

BESIDE = ", compared with "  # separates a value from that of real data


@dataclass(frozen=True)
class Finding:
    """One sentence about a comparison.

    Args:
        kind: "measure" (scores cannot be trusted), "verdict", "copies" or "warning".
        text: The sentence.
        problems: The problem of each model as a noun phrase, by name.
    """

    kind: str
    text: str
    problems: Mapping[str, str] = field(default_factory=dict)


Findings = Iterator[Finding]
FindingFunction = Callable[[Comparison], Findings]
Describe = Callable[[Comparison, ModelResult], str]


def texts(found: Iterable[Finding], *kinds: str) -> list[str]:
    """Return the sentences of findings of some kinds."""
    return [finding.text for finding in found if finding.kind in kinds]


def listed(values: Mapping[str, str]) -> str:
    """Join names and their details, such as ``gan (3 %) and vae (5 %)``."""
    words = []
    for name, details in values.items():
        words.append(f"{name} ({details})" if details else name)
    return listing(words)


def concerning(
    text: str, problem: str = "", kind: str = "warning"
) -> Callable[[Describe], FindingFunction]:
    """Decorate a function that describes a model with a problem, and returns "" for others.

    The result reports all models with the problem, which replace ``{}`` in the text. In the noun
    phrase for the problem, ``{}`` is the description without the value of real data.
    """

    def reporting(describe: Describe) -> FindingFunction:
        @functools.wraps(describe)
        def report(comparison: Comparison) -> Findings:
            models = {}
            problems = {}
            for model in comparison.models:
                details = describe(comparison, model)
                if details:
                    models[model.name] = details
                if details and problem:
                    of_model, _, _ = details.partition(BESIDE)
                    problems[model.name] = problem.format(of_model)
            if models:
                yield Finding(kind, text.format(listed(models)), problems)

        return report

    return reporting


def beside_real(value: str, real: str) -> str:
    """Return a value with that of real data, if known."""
    if not real:
        return value
    return f"{value}{BESIDE}{real} for real data"


# Collapse ---------------------------------------------------------------------------------------

DISTINCT = 0.6  # distinct samples relative to real data (recipes after 50 to 300 steps: .82 to 1)
ALIKE = 0.15  # the same by the plain 1 % quantile (recipes: .27 to 1), if recall is
RECALL_NONE = 0.02  # below this value relative to real data


def collapsed(comparison: Comparison, model: ModelResult) -> str:
    """Return the number of distinct samples if it is far too small."""
    if not model.trainings:
        return _few_distinct(comparison, model)
    found = []
    for run in model.trainings:
        text = _few_distinct(comparison, run)
        if text:
            found.append(f"{run.name} with {text}")
    return listing(found)


NEARLY_IDENTICAL = "Samples of {} are nearly identical, a sign of mode collapse."
mode_collapse = concerning(NEARLY_IDENTICAL, "mode collapse ({})")(collapsed)


def _few_distinct(comparison: Comparison, model: ModelResult) -> str:
    score = model.scores.get("distinct_samples", Score())
    total = score.extra.get("of")
    near = score.extra.get("near")
    if score.ratio is None or not total:
        return ""
    recall = ratio_of(model, "recall")
    unvaried = recall is not None and recall < RECALL_NONE
    if unvaried and near is not None and near < ALIKE * total:
        text = f"{count(near)} clearly distinct samples among {count(total)}"
    elif score.ratio < DISTINCT:
        text = f"{count(score.value)} distinct samples among {count(total)}"
    else:
        return ""
    return beside_real(text, count(comparison.real_data_scores["distinct_samples"].value))


# Copies and attacks -----------------------------------------------------------------------------

NEAR_COPIES = 0.01  # fraction of near-copies above that of real data


def excess_of_copies(comparison: Comparison, model: ModelResult) -> str:
    """Return the fraction of near-copies if it is far above that of real data."""
    score = statistic(comparison, model, "near_copies")
    if score is None:
        return ""
    real_data_score, spread = real_data_score_of(comparison, "near_copies")
    gap = score.value - (real_data_score or 0.0)
    if gap <= NEAR_COPIES or not differ(gap, score.width, spread):
        return ""
    value = value_text(comparison, "near_copies", score)
    return beside_real(value, real_data_text(comparison, "near_copies"))


COPIES_INCLUDED = "Samples of {} include near-copies of training data."
near_copies = concerning(COPIES_INCLUDED, kind="copies")(excess_of_copies)


COPYING = -3.0  # C_T (Meehan et al. 2020), below that of real data if the latter is negative


@concerning(
    "Samples of {} lie closer to training examples than held-out examples do.", kind="copies"
)
def closer_to_training(comparison: Comparison, model: ModelResult) -> str:
    """Report samples that are closer to training than to new examples."""
    score = statistic(comparison, model, "copying_test")
    real_data_score = real_data_score_of(comparison, "copying_test")[0] or 0.0
    if score is None or score.value >= min(0.0, real_data_score) + COPYING:
        return ""
    # blurred samples are close to held-out examples as well
    nearer_to_training = _held_out_excess(comparison, model) < 0
    if not nearer_to_training or excess_of_copies(comparison, model):
        return ""
    return f"C_T = {value_text(comparison, 'copying_test', score)}"


HELD_OUT_RATIO = 0.2  # difference from real data in the ratio of held-out neighbours to chance


@concerning(
    "The scores of {} are invalid, because the model has probably seen the held-out examples.",
    "held-out examples in its training data",
)
def held_out_seen(comparison: Comparison, model: ModelResult) -> str:
    """Report models with significantly more held-out neighbours than real data."""
    score = statistic(comparison, model, "held_out_ratio")
    if score is None or _held_out_excess(comparison, model) <= 0:
        return ""
    ratio = value_text(comparison, "held_out_ratio", score)
    return f"{ratio}× as many held-out neighbours as by chance"


def _held_out_excess(comparison: Comparison, model: ModelResult) -> float:
    score = statistic(comparison, model, "held_out_ratio")
    if score is None:
        return 0.0
    real, spread = real_data_score_of(comparison, "held_out_ratio")
    gap = score.value - (1.0 if real is None else real)
    stated = model.scores["held_out_ratio"]
    error = stated.error or 0.0  # large if all samples are alike, unlike their spread
    if gap > 0:  # if samples reach few examples, chance looks like held-out examples that were seen
        error = max(error, stated.extra.get("tail", 0.0))
    if abs(gap) < HELD_OUT_RATIO or not differ(abs(gap), max(score.width, error), spread):
        return 0.0
    return gap


ATTACK = 0.02  # AUC of a membership attack above chance


@concerning(
    "An attacker with samples of {} can tell training rows from new ones. Chance is an AUC of 0.5.",
    kind="copies",
)
def membership_attacks(comparison: Comparison, model: ModelResult) -> str:
    """Report membership attacks that are significantly better than chance."""
    reached = []
    for metric in ("membership", "membership_ratio"):
        score = statistic(comparison, model, metric)
        if score is None or score.interval is None or score.interval[0] <= 0.5:
            continue
        real_data_score, spread = real_data_score_of(comparison, metric)
        gap = score.value - max(0.5, real_data_score or 0.5)
        if gap >= ATTACK and differ(gap, score.width, spread):
            reached.append(score.value)
    if not reached:
        return ""
    return f"AUC {plain(max(reached), 2)}"


# Columns of tables ------------------------------------------------------------------------------

HARDLY_TOLD = 0.8  # two-sample score: above, trees hardly tell samples from real rows
TOLD_BY = 0.01  # decrease of the ROC AUC when a column is shuffled


@concerning(
    "A classifier can tell samples of {} from real rows.", "columns that give samples away ({})"
)
def given_away(comparison: Comparison, model: ModelResult) -> str:
    """Report columns by which samples are told from real rows."""
    score = statistic(comparison, model, "detection")
    if score is None or at_real_data(comparison, "detection", score) or hardly_told(score):
        return ""
    extra = model.scores["detection"].extra
    falls = dict(zip(extra.get("columns", ()), finite_all(extra.get("falls")), strict=False))
    ranked = sorted(falls, key=lambda name: -falls[name])
    return ", ".join(name for name in ranked[:3] if falls[name] >= TOLD_BY)


def hardly_told(score: Statistic) -> bool:
    """Return whether samples are hardly told from real data."""
    low, _ = score.interval or (score.value, score.value)
    return low >= HARDLY_TOLD


# Modes ------------------------------------------------------------------------------------------

MODES_LOST = 0.05  # modes fewer than in real data


@concerning("Samples of {} miss some modes of the data.", "only {}")
def lost_modes(comparison: Comparison, model: ModelResult) -> str:
    """Report models without samples of some modes."""
    held = statistic(comparison, model, "modes_held")
    real_data_score = real_data_score_of(comparison, "modes_held")[0]
    if held is None or real_data_score is None or held.value >= real_data_score - MODES_LOST:
        return ""
    mass = model.scores["modes_held"].extra.get("mass", ())
    number = value_text(comparison, "modes_held", held)
    return f"{number} of {plain(len(mass) or real_data_score)} modes"


# Quality and diversity --------------------------------------------------------------------------

# All values are relative to real data; in brackets four splits of digits with n = 300
PRECISION_RIGHT = 0.9  # precision: above, samples look realistic (real data: 1.01 to 1.03)
PRECISION_POOR = 0.6  # precision: below, many samples look unrealistic
DENSITY_RIGHT = 0.7  # density: below, samples are off the data (real: .93 to 1.06)
RECALL_POOR = 0.85  # recall: below, samples lack diversity (without 3 classes: .69 to .82)
RECALL_RIGHT = 0.9  # recall: above, samples cover the data (real data: .99 to 1.01)


@concerning(
    "Samples of {} look realistic but lack diversity, compared with real data.",
    "too little diversity",
)
def lack_of_diversity(comparison: Comparison, model: ModelResult) -> str:
    """Report high precision with low recall."""
    if _doubts(comparison, model):
        return ""
    return _low_recall(comparison, model)


@concerning(
    "Recall is low for {}. High precision alone does not show that samples look realistic.",
    "low recall",
)
def low_recall(comparison: Comparison, model: ModelResult) -> str:
    """Report high precision with low recall of samples that may not look realistic."""
    numbers = _low_recall(comparison, model)
    doubts = _doubts(comparison, model)
    if not numbers or not doubts:
        return ""
    return f"{numbers}, but {listing(doubts)}"


def _low_recall(comparison: Comparison, model: ModelResult) -> str:
    ratios = _precision_and_recall(comparison, model)
    if ratios is None:
        return ""
    precision, recall = ratios
    if precision < PRECISION_RIGHT or recall >= RECALL_POOR or _off_the_data(model):
        return ""
    return _numbers(precision, recall)


@concerning(
    "Samples of {} are as diverse as real data, but many look unrealistic.",
    "many unrealistic samples",
)
def unrealistic(comparison: Comparison, model: ModelResult) -> str:
    """Report low precision or density with high recall."""
    ratios = _precision_and_recall(comparison, model)
    if ratios is None:
        return ""
    precision, recall = ratios
    poor = precision < PRECISION_POOR or _off_the_data(model)
    if not poor or recall < RECALL_RIGHT:
        return ""
    numbers = _numbers(precision, recall)
    density = ratio_of(model, "density")
    if density is not None:
        numbers += f", density {plain(density, 2)}×"
    return numbers


def _numbers(precision: float, recall: float) -> str:
    return f"precision {plain(precision, 2)}×, recall {plain(recall, 2)}×"


def _precision_and_recall(comparison: Comparison, model: ModelResult) -> tuple[float, float] | None:
    precision = ratio_of(model, "precision")
    recall = ratio_of(model, "recall")
    if precision is None or recall is None or collapsed(comparison, model):
        return None
    return precision, recall


def _off_the_data(model: ModelResult) -> bool:
    density = ratio_of(model, "density")
    return density is not None and density < DENSITY_RIGHT


BLURRED = 0.75  # high-frequency power relative to real data
GRAINY = 1.35
TOLD_APART = 0.8  # two-sample tests: above, most samples are told from real data


def _doubts(comparison: Comparison, model: ModelResult) -> list[str]:
    doubts = []
    sharpness = ratio_of(model, "sharpness")
    if sharpness is not None and not BLURRED <= sharpness <= GRAINY:
        doubts.append(f"sharpness {plain(sharpness, 2)}×")
    for metric in ("classifier_test", "neighbour_test"):
        score = statistic(comparison, model, metric)
        if score is not None and score.value > TOLD_APART:
            label = label_in_sentence(comparison, metric)
            doubts.append(f"{label} {value_text(comparison, metric, score)}")
    if model.name in unproven(comparison):
        doubts.append("not ahead of the baseline")
    return doubts


@concerning("Samples of {} look blurred, with less fine detail than real data.", "blurred samples")
def blurred(comparison: Comparison, model: ModelResult) -> str:
    """Report samples with less fine detail than real data."""
    ratios = _sharpness(comparison, model)
    if not ratios or max(ratios) >= BLURRED:
        return ""
    return f"{plain(ratios[0], 2)}×"


@concerning("Samples of {} look grainy, with more fine detail than real data.", "grainy samples")
def grainy(comparison: Comparison, model: ModelResult) -> str:
    """Report samples with more fine detail than real data."""
    ratios = _sharpness(comparison, model)
    if not ratios or min(ratios) <= GRAINY:
        return ""
    return f"{plain(ratios[0], 2)}×"


def _sharpness(comparison: Comparison, model: ModelResult) -> list[float]:
    ratio = ratio_of(model, "sharpness")
    score = statistic(comparison, model, "sharpness")
    if ratio is None or score is None or not score.value or collapsed(comparison, model):
        return []
    scale = ratio / score.value
    return [ratio, *(scale * end for end in score.interval or ())]


# Classes ----------------------------------------------------------------------------------------

CLASS_HELD = 0.2  # fraction of a class's expected frequency
CLASS_READ = 0.8  # accuracy of the classifier: below, it may always miss one of the classes
CLASS_EXPECTED = 15.0  # expected samples of a class: with fewer, a lack may be chance


@concerning("Samples of {} lack some classes.", "missing classes")
def missing_classes(comparison: Comparison, model: ModelResult) -> str:
    """Report classes that samples hardly contain."""
    if (comparison.settings.classifier_accuracy or 0.0) < CLASS_READ:
        return ""
    n = comparison.settings.n or 0
    extra = model.scores.get("class_distance", Score()).extra
    real = finite_all(extra.get("real"))
    samples = finite_all(extra.get("share"))
    rare = []
    for name, own, wanted in zip(comparison.data.classes, samples, real, strict=False):
        if n * wanted >= CLASS_EXPECTED and own < CLASS_HELD * wanted:
            rare.append(name)
    if not rare:
        return ""
    if len(rare) == 1:
        return f"class {rare[0]}"
    return f"classes {named(rare)}"


AGREEMENT = 0.9  # fraction of samples recognised as their class, relative to real data


@concerning(
    "Samples of {} are too rarely recognised as the requested class.",
    "only {} of samples in the requested class",
)
def misread_classes(comparison: Comparison, model: ModelResult) -> str:
    """Report samples that are rarely recognised as their class."""
    n = comparison.settings.n
    real = comparison.settings.classifier_accuracy
    if real is None:
        real = 1.0
    agreement = model.label_agreement
    if agreement is None or agreement >= AGREEMENT * real:
        return ""
    if not differ(real - agreement, _binomial_error(agreement, n), _binomial_error(real, n)):
        return ""
    return beside_real(percent(agreement), percent(real))


def _binomial_error(fraction: float, n: int | None) -> float:
    if not n:
        return 0.0
    return math.sqrt(max(fraction * (1 - fraction), 0.0) / n)


# Training ---------------------------------------------------------------------------------------


def alarms(comparison: Comparison) -> Findings:
    """Report the last standing or the first alarm of each kind."""
    for model in comparison.models:
        chosen = {}
        for begin, end in alarm_periods(model):
            if end is None or begin.kind not in chosen:
                chosen[begin.kind] = begin, end
        for begin, end in chosen.values():
            text = alarm_text(model, begin, end)
            yield Finding("warning", text, {model.name: "an alarm during training"})


EARLY = 500  # steps: below, an unused latent may be too early to call collapse


def unused_latents(comparison: Comparison) -> Findings:
    """Report models without an active latent dimension."""
    for model in comparison.models:
        if model.latent is None or model.latent.code is None:
            continue
        latent = model.latent.code
        if not latent.units or latent.active != 0 or _posterior_alarm(model):
            continue
        models = {model.name: f"0 of {count(latent.units)}"}
        text = f"No latent dimension is active in {listed(models)}, so samples hardly differ."
        steps = model.training.steps
        if steps and steps < EARLY:
            text += f" {count(steps)} steps may be too few to call this posterior collapse."
        text += " Train longer, or set warmup to 0.3."
        yield Finding("warning", text, {model.name: "an unused latent"})


def _posterior_alarm(model: ModelResult) -> bool:
    return any(begin.kind == "posterior" and end is None for begin, end in alarm_periods(model))
