"""Conditions of findings. Each yields the values of a sentence, by the names in the template, if the condition holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from pushforward.evaluation.measurements import Alarm
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.names import MODEL_SCORES
from pushforward.metrics.score import Role, Score
from pushforward.numbers import count, counted, duration, finite_all, listing, percent, plain
from pushforward.report.ladders import above, ladder_metric, ratio_text, rung_of, rungs_of
from pushforward.report.statistics import (
    Statistic,
    alarm_periods,
    alarm_text,
    at_floor,
    blind,
    curve_metric,
    differ,
    floor_of,
    floor_text,
    guess_statistics,
    inside,
    lead_text,
    main_metrics,
    named,
    ratio_of,
    standing,
    statistic,
    statistics,
    sweep_score,
    unproven,
    value_text,
)
from pushforward.report.tables import budget_of, sweep_metric

THRESHOLDS: dict[str, float] = {
    "near_copies": 0.01,  # fraction of near-copies above that of real data
    "copying": -3.0,  # C_T (Meehan et al. 2020), below real data's if that is negative
    "held_out_ratio": 0.2,  # distance from real data: below, training examples repeat; above, held-out ones
    "attack": 0.02,  # AUC of a membership attack above chance
    "told_by": 0.01,  # decrease of the ROC AUC when a column is shuffled
    "class_held": 0.2,  # fraction of a class's expected frequency
    "class_read": 0.8,  # accuracy of the classifier that recognises classes: below, it may always miss one of them
    "class_expected": 15.0,  # expected samples of a class: with fewer, a lack may be chance
    # relative to real data; in brackets four splits of digits, n = 300
    "distinct": 0.6,  # distinct samples: below, a model has collapsed (recipes after 50 to 300 steps: .82 to 1; half alike: .5)
    "alike": 0.15,  # the same by the plain 1 % quantile (recipes: .27 to 1), if recall is below the next
    "recall_none": 0.02,  # recall that counts as none
    "precision_right": 0.9,  # precision: above, samples look realistic (real: 1.01 to 1.03)
    "precision_poor": 0.6,  # precision: below, many samples look unrealistic
    "density_right": 0.7,  # density: below, samples are off the data (real: .93 to 1.06; noise of .2: .64 to .83)
    "recall_poor": 0.85,  # recall: below, samples lack diversity (without 3 classes: .69 to .82, without 1: .90 to .97)
    "recall_right": 0.9,  # recall: above, samples cover the data (real: .99 to 1.01)
    "hardly_told": 0.8,  # two-sample score: above, trees hardly tell samples from real rows
    "told_apart": 0.8,  # two-sample tests: above, most samples are told from real data (all from half of its modes: .75)
    "mode_held": 0.2,  # fraction of a mode's expected mass
    "bridges": 0.05,  # fraction of samples between modes, above that of real data
    "narrow": 0.8,  # width of the modes relative to their true width: below, too narrow
    "wide": 1.25,  # above, too wide
    "blurred": 0.75,  # high-frequency power relative to real data: below, blurred
    "grainy": 1.35,  # above, grainy
    "agreement": 0.9,  # fraction of samples recognised as their class, relative to real data
    "small": 200,  # number of samples: below, scores are unreliable
    "few": 2000,  # below, the bias of a score is reported
    "biased": 0.25,  # fraction of a score that is bias
    "early": 500,  # steps: below, an unused latent may be too early to call collapse
    "unequal_time": 1.15,  # ratio of training times that counts as unequal
    "unequal_size": 2.0,  # ratio of parameter counts that counts as unequal
}
# Parts of a method, and feature extractors, that use ImageNet features (Kynkäänniemi et al. 2023, arXiv:2203.06026)
TEACHERS = frozenset({"ProjectedCritic", "PretrainedFeatures"})
JUDGES = ("efficientnet", "inception")

BESIDE = ", compared with "  # What separates a value from that of real data
Values = dict[str, Any]  # By the names in a template; "models" and "some" map names to details
Condition = Callable[[Comparison], Iterator[Values]]
Sentence = Callable[
    [Comparison, ModelResult], str
]  # Details about one model; empty if the condition does not hold


def _valued(comparison: Comparison, metric: str, scores: Sequence[Statistic]) -> dict[str, str]:
    return {score.name: value_text(comparison, metric, score) for score in scores}


# Who is ahead ---------------------------------------------------------------------------------------------------


def ranked(role: Role, comparison: Comparison) -> Iterator[Values]:
    """Yield the models' scores, best first, and how they compare with each other and the baseline."""
    metric = comparison.ranking_metric(role)
    if metric is None:
        return
    floor = floor_text(comparison, metric)
    scores = [
        (score.name, value_text(comparison, metric, score))
        for score in statistics(comparison, metric)
    ]
    (best, first), *others = scores
    yield {
        "label": inside(comparison.info(metric).label),
        "scores": listing(
            [f"{best} scores {first}", *(f"{name} {value}" for name, value in others)]
        ),
        "floor": f" Real data scores {floor}." if floor else "",
        "stands": standing(comparison, metric),
    }


def sweep(comparison: Comparison) -> Iterator[Values]:
    """Yield which recipe leads after each budget that all recipes were trained for."""
    metric = sweep_metric(comparison)
    label = inside(comparison.info(metric).label)
    names = [model.name for model in comparison.models if comparison.sweep.get(model.name)]
    rows = [comparison.sweep[name] for name in names]
    if len(rows) < 2 or len({tuple(point.budget for point in points) for points in rows}) > 1:
        return
    stages = []
    for points in zip(*rows, strict=True):
        scores = [
            sweep_score(comparison, name, point, metric)
            for name, point in zip(names, points, strict=True)
        ]
        ranked = sorted(filter(None, scores), key=lambda score: score.loss)
        if len(ranked) == len(points):
            lead = lead_text(ranked[0], ranked[1:])
            stages.append(
                f"After {budget_of(points[0])} of training, {ranked[0].name} has the best {label}, {lead}."
            )
    if len(stages) > 1:
        yield {"stages": " ".join(stages)}


# Time -----------------------------------------------------------------------------------------------------------


def training_times(comparison: Comparison) -> Iterator[Values]:
    """Yield the shortest and the longest training time, including what models build on, if they differ."""
    seconds = {}
    for model in comparison.models:
        total = model.training.total
        if total:
            seconds[model.name] = total
    ends = sorted(seconds, key=lambda name: seconds[name])
    if len(ends) > 1 and seconds[ends[-1]] > THRESHOLDS["unequal_time"] * seconds[ends[0]]:
        shortest, longest = (f"{duration(seconds[name])} ({name})" for name in (ends[0], ends[-1]))
        yield {"shortest": shortest, "longest": longest}


# Few calls ------------------------------------------------------------------------------------------------------


def few_calls(comparison: Comparison) -> Iterator[Values]:
    """Yield how each map compares with its teacher in its fewest calls, and with how many calls it is worse."""
    metric = ladder_metric(comparison)
    label = inside(comparison.info(metric).label)
    for model in comparison.models:
        ladder = model.ladder
        own = None if ladder is None else rung_of(ladder.own, metric)
        rungs = [] if ladder is None else rungs_of(ladder.points, metric)
        if ladder is None or own is None or not rungs or model.weights_step == 0:
            continue
        teacher = f"its teacher, which uses {counted(own.calls, 'call')} and the same noise"
        ratio = ratio_text(ladder, metric, rungs[0], own)
        if ratio:
            scores = f"reaches {ratio} the {label} of {teacher}"
        else:
            scores = f"has a {label} of {rungs[0].text}, compared with {own.text} for {teacher}"
        worse = listing(
            counted(rung.calls, "call") for rung in rungs if above(ladder, metric, rung, own)
        )
        yield {
            "models": {model.name: ""},
            "calls": counted(rungs[0].calls, "call"),
            "scores": scores,
            "worse": f"It is significantly worse with {worse}."
            if worse
            else "No difference is significant.",
        }


def enough_steps(comparison: Comparison, model: ModelResult) -> str:
    """Return a sentence about how many sampling steps are enough, if they differ much from those of the model.

    From these steps on, no point of the model's curve is significantly worse than the best one.
    """
    metric = curve_metric(comparison)
    own = model.sampling.steps
    rungs = [] if own is None or blind(comparison, metric) else rungs_of(model.curve, metric)
    if len(rungs) < 3 or own is None:
        return ""
    turn = -1.0 if comparison.info(metric).better == "higher" else 1.0
    spread = floor_of(comparison, metric)[1]
    best = min(rungs, key=lambda rung: turn * rung.value)
    worse = [at for at, rung in enumerate(rungs) if rung.differs(best, spread, len(rungs) - 1)]
    first = worse[-1] + 1 if worse else 0
    calls = rungs[first].calls if first < len(rungs) else best.calls
    steps = next((point.steps for point in model.curve if point.calls == calls), None)
    if steps is None or own / 2 < steps <= own:
        return ""
    own_calls = next((point.calls for point in model.curve if point.steps == own), None)
    own_rung = next((rung for rung in rungs if rung.calls == own_calls), best)
    worse_here = own_rung.differs(best, spread, len(rungs) - 1)
    if steps > own and not worse_here:
        return ""
    better = "better than" if worse_here else "not significantly worse than"
    return f"Samples of {{names}} with --steps {count(steps)} are {better} those with {count(own)}."


def nothing_gained(comparison: Comparison) -> Iterator[Values]:
    """Yield maps whose best weights are those before the finish."""
    for model in comparison.models:
        if model.ladder is not None and model.weights_step == 0:
            yield {"models": {model.name: ""}}


def rises(comparison: Comparison) -> Iterator[Values]:
    """Yield maps that get significantly worse with more calls."""
    metric = ladder_metric(comparison)
    for model in comparison.models:
        rungs = [] if model.ladder is None else rungs_of(model.ladder.points, metric)
        best = min(rungs, key=lambda rung: rung.value, default=None)
        if best is None or model.ladder is None:
            continue
        if any(
            rung.calls > best.calls and above(model.ladder, metric, rung, best) for rung in rungs
        ):
            calls = counted(best.calls, "call")
            yield {
                "models": {model.name: ""},
                "label": inside(comparison.info(metric).label),
                "best": calls,
            }


def uncovered(comparison: Comparison) -> Iterator[Values]:
    """Yield maps whose coverage is significantly lower than that of their teacher."""
    for model in comparison.models:
        if model.ladder is None:
            continue
        own = rung_of(model.ladder.own, "coverage")
        first = next(iter(rungs_of(model.ladder.points, "coverage")), None)
        if first is not None and own is not None and above(model.ladder, "coverage", own, first):
            calls = counted(first.calls, "call")
            yield {
                "models": {model.name: ""},
                "calls": calls,
                "value": plain(first.value),
                "taught": plain(own.value),
            }


# Measures -------------------------------------------------------------------------------------------------------


def taught_judges(comparison: Comparison) -> Iterator[Values]:
    """Yield ImageNet feature spaces that score models trained with ImageNet features."""
    taught = {
        model.name: "" for model in comparison.models if _has_part(model.config.get("method"))
    }
    for space in comparison.settings.spaces:
        if taught and space.partition(":")[0] in JUDGES:
            yield {"models": taught, "space": space}


def _has_part(value: object) -> bool:
    """Whether a method's settings name one of the `TEACHERS`, at any depth."""
    if isinstance(value, Mapping):
        return value.get("part") in TEACHERS or any(map(_has_part, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_part, value))


def cannot_tell(comparison: Comparison) -> Iterator[Values]:
    """Yield scores in which the baseline is not significantly worse than real data."""
    labels = [
        inside(comparison.info(metric).label)
        for metric in main_metrics(comparison)
        if blind(comparison, metric)
    ]
    if labels:
        yield {"label": listing(labels)}


def few_samples(comparison: Comparison) -> Iterator[Values]:
    """Yield the number of samples if it is too small."""
    n = comparison.settings.n
    compared = any(
        metric not in MODEL_SCORES for model in comparison.models for metric in model.scores
    )
    if compared and n is not None and n < THRESHOLDS["small"]:
        enough = (comparison.data.held_out or 0) >= THRESHOLDS["small"]
        least = count(THRESHOLDS["small"])
        larger = f"Use a larger data set, so that at least {least} examples are held out"
        yield {"n": count(n), "least": f"Use at least {least}" if enough else larger}


def biased(comparison: Comparison) -> Iterator[Values]:
    """Yield ranking scores that consist largely of bias at a small n: the score of real data, or an estimate."""
    n = comparison.settings.n
    if n is None or n >= THRESHOLDS["few"]:
        return
    for metric, info in comparison.metrics.items():
        if info.role is None:
            continue
        scores = {
            model.name: model.scores[metric]
            for model in comparison.models
            if metric in model.scores
        }
        known = [score.bias for score in scores.values() if score.bias is not None]
        if not known:
            continue
        floor = floor_of(comparison, metric)[0]
        bias = sum(known) / len(known) if floor is None else floor
        most = {
            name: ""
            for name, score in scores.items()
            if score.value and bias > THRESHOLDS["biased"] * score.value
        }
        if most:
            yield {
                "models": most,
                "n": count(n),
                "label": inside(info.label),
                "bias": plain(bias, 2),
            }


def unscored(comparison: Comparison) -> Iterator[Values]:
    """Yield models without a finite score."""
    metrics = main_metrics(comparison)
    lost = {
        m.name: ""
        for m in comparison.models
        if all(statistic(comparison, m, metric) is None for metric in metrics)
    }
    if metrics and lost:
        yield {"models": lost}


def no_score(comparison: Comparison) -> Iterator[Values]:
    """Yield why a metric has no score."""
    for why in comparison.unscored.values():
        yield {"why": why}


def against_guess(comparison: Comparison) -> Iterator[Values]:
    """Yield models that are not significantly better than a guess, in scores that have one."""
    for metric, base in guess_statistics(comparison).items():
        low = [score for score in statistics(comparison, metric) if not score.better_than(base)]
        if low:
            label = inside(comparison.info(metric).label)
            guess = {base.name: value_text(comparison, metric, base)}
            yield {"models": _valued(comparison, metric, low), "label": label, "guess": guess}


def disagreements(comparison: Comparison) -> Iterator[Values]:
    """Yield pairs of models that are ranked differently in two feature spaces, both times significantly."""
    first, *others = comparison.settings.spaces or ("",)
    for space in others:
        names = [
            name.removesuffix(f" ({space})")
            for name in comparison.metrics
            if name.endswith(f" ({space})")
        ]
        for model, other in permutations(comparison.models, 2):
            for name in names:
                if _ahead(comparison, name, model, other) and _ahead(
                    comparison, f"{name} ({space})", other, model
                ):
                    label = inside(comparison.info(name).label)
                    yield {
                        "models": {model.name: ""},
                        "other": other.name,
                        "first": first,
                        "space": space,
                        "label": label,
                    }


def _ahead(comparison: Comparison, metric: str, model: ModelResult, other: ModelResult) -> bool:
    score, rival = (statistic(comparison, row, metric) for row in (model, other))
    return score is not None and rival is not None and score.better_than(rival)


# Samples --------------------------------------------------------------------------------------------------------


def each_of(say: Sentence) -> Condition:
    """Return the condition that yields the models for which ``say`` returns details."""

    def holds(comparison: Comparison) -> Iterator[Values]:
        models = {
            model.name: text for model in comparison.models if (text := say(comparison, model))
        }
        if models:
            yield {"models": models}

    return holds


def beyond(metric: str, threshold: str, side: int, over_floor: bool = False) -> Sentence:
    """Return the sentence about a score, or its ratio to real data, that is below (side -1) or above (1) a threshold.

    The whole interval must be beyond the threshold.
    """

    def say(comparison: Comparison, model: ModelResult) -> str:
        score = statistic(comparison, model, metric)
        if score is None or not score.value:
            return ""
        value = ratio_of(model, metric) if over_floor else score.value
        if value is None or collapsed(comparison, model):
            return ""
        ends = [value, *(value * end / score.value for end in score.interval or ())]
        if any(side * (end - THRESHOLDS[threshold]) <= 0 for end in ends):
            return ""
        return f"{plain(value, 2)}×"

    return say


def collapsed(comparison: Comparison, model: ModelResult) -> str:
    """Return the number of distinct samples of each training run with far fewer of them than real data."""
    if not model.trainings:
        return _distinct(comparison, model)
    return listing(
        f"{run.name} with {text}" for run in model.trainings if (text := _distinct(comparison, run))
    )


def _distinct(comparison: Comparison, model: ModelResult) -> str:
    score = model.scores.get("distinct_samples", Score())
    distinct = score.value
    of = score.extra.get("of")
    near = score.extra.get("near")
    if score.ratio is None or not of:
        return ""
    recall = ratio_of(model, "recall")
    unvaried = recall is not None and recall < THRESHOLDS["recall_none"]
    kind = "distinct"
    if unvaried and near is not None and near < THRESHOLDS["alike"] * of:
        distinct = near
        kind = "clearly distinct"
    elif score.ratio >= THRESHOLDS["distinct"]:
        return ""
    real = count(comparison.floors["distinct_samples"].value)
    return _beside_real(f"{count(distinct)} {kind} samples among {count(of)}", real)


def _beside_real(value: str, real: str) -> str:
    if real:
        return f"{value}{BESIDE}{real} for real data"
    return value


def memorised(comparison: Comparison, model: ModelResult) -> str:
    """Return the fraction of near-copies if there are significantly more than in real data."""
    score = statistic(comparison, model, "near_copies")
    floor, spread = floor_of(comparison, "near_copies")
    if score is None:
        return ""
    gap = score.value - (floor or 0.0)
    if gap <= THRESHOLDS["near_copies"] or not differ(gap, score.width, spread):
        return ""
    return _beside_real(
        value_text(comparison, "near_copies", score), floor_text(comparison, "near_copies")
    )


def copying(comparison: Comparison, model: ModelResult) -> str:
    """Return C_T if samples are closer to training examples than new data is, but are not near-copies.

    Blurred samples are close to held-out examples as well and do not count.
    """
    score = statistic(comparison, model, "copying_test")
    floor = floor_of(comparison, "copying_test")[0] or 0.0
    if score is None or score.value >= min(0.0, floor) + THRESHOLDS["copying"]:
        return ""
    if _side(comparison, model) >= 0 or memorised(comparison, model):
        return ""
    return f"C_T = {value_text(comparison, 'copying_test', score)}"


def held_out_seen(comparison: Comparison, model: ModelResult) -> str:
    """Return the ratio of held-out neighbours to chance if it is significantly too high."""
    score = statistic(comparison, model, "held_out_ratio")
    if score is None or _side(comparison, model) <= 0:
        return ""
    return f"{value_text(comparison, 'held_out_ratio', score)}× as many held-out neighbours as by chance"


def _side(comparison: Comparison, model: ModelResult) -> int:
    """Return 1 if samples are significantly nearer to held-out examples than real data, -1 if to training examples, else 0."""
    score = statistic(comparison, model, "held_out_ratio")
    if score is None:
        return 0
    value, spread = floor_of(comparison, "held_out_ratio")
    gap = score.value - (1.0 if value is None else value)
    stated = model.scores["held_out_ratio"]
    error = stated.error or 0.0  # large if all samples are alike, unlike their spread
    if (
        gap > 0
    ):  # if samples reach few examples, chance alone can look like held-out examples that were seen
        error = max(error, stated.extra.get("tail", 0.0))
    if abs(gap) < THRESHOLDS["held_out_ratio"] or not differ(
        abs(gap), max(score.width, error), spread
    ):
        return 0
    if gap > 0:
        return 1
    return -1


def attacked(comparison: Comparison, model: ModelResult) -> str:
    """Return the highest AUC among the attacks that are significantly better than chance."""
    reached = []
    for metric in ("membership", "membership_ratio"):
        score = statistic(comparison, model, metric)
        if score is None or score.interval is None or score.interval[0] <= 0.5:
            continue
        floor, spread = floor_of(comparison, metric)
        gap = score.value - max(0.5, floor or 0.5)
        if gap >= THRESHOLDS["attack"] and differ(gap, score.width, spread):
            reached.append(score.value)
    if reached:
        return f"AUC {plain(max(reached), 2)}"
    return ""


def hardly_told(score: Statistic) -> bool:
    """Return whether a classifier hardly tells samples from real data, given their two-sample score."""
    low, _ = score.interval or (score.value, score.value)
    return low >= THRESHOLDS["hardly_told"]


def given_away(comparison: Comparison, model: ModelResult) -> str:
    """Return the columns by which trees tell samples from real rows, if they do so significantly better than by chance."""
    score = statistic(comparison, model, "detection")
    if score is None or at_floor(comparison, "detection", score) or hardly_told(score):
        return ""
    return ", ".join(told_by(model))


def told_by(model: ModelResult) -> list[str]:
    """Return up to three columns by which samples of a model are told from real rows, the most telling first."""
    extra = model.scores.get("detection", Score()).extra
    falls = dict(zip(extra.get("columns", ()), finite_all(extra.get("falls")), strict=False))
    ranked = sorted(falls, key=lambda name: -falls[name])
    return [name for name in ranked[:3] if falls[name] >= THRESHOLDS["told_by"]]


def lost_modes(comparison: Comparison, model: ModelResult) -> str:
    """Return how many modes have enough samples, if some have not."""
    mass = finite_all(model.scores.get("modes_held", Score()).extra.get("mass"))
    held = statistic(comparison, model, "modes_held")
    floor = floor_of(comparison, "modes_held")[0]
    if held is not None and floor is not None:
        few = held.value < floor - 0.05
        if few:
            return (
                f"{value_text(comparison, 'modes_held', held)} of {plain(len(mass) or floor)} modes"
            )
        return ""
    thick = [share for share in mass if share >= THRESHOLDS["mode_held"] / len(mass)]
    if len(thick) < len(mass):
        return f"{len(thick)} of {len(mass)} modes"
    return ""


def bridges(comparison: Comparison, model: ModelResult) -> str:
    """Return the fraction of samples between modes if it exceeds that of real data."""
    score = statistic(comparison, model, "bridges")
    floor = floor_of(comparison, "bridges")[0] or 0.0
    if score and score.value > floor + THRESHOLDS["bridges"]:
        return value_text(comparison, "bridges", score)
    return ""


def varied(kind: str, comparison: Comparison, model: ModelResult) -> str:
    """Return precision and recall relative to real data, if samples "repeat", are "few" of the data, or look "wrong".

    Precision hardly decreases in many dimensions, so density and other scores also decide whether
    samples look realistic.
    """
    precision, recall, density = (
        ratio_of(model, metric) for metric in ("precision", "recall", "density")
    )
    if precision is None or recall is None or collapsed(comparison, model):
        return ""
    apart = density is not None and density < THRESHOLDS["density_right"]
    alike = (
        precision >= THRESHOLDS["precision_right"]
        and not apart
        and recall < THRESHOLDS["recall_poor"]
    )
    against = _against_looks(comparison, model) if alike else ""
    if against:
        found = "few"
    else:
        found = "repeat" if alike else ""
    if (apart or precision < THRESHOLDS["precision_poor"]) and recall >= THRESHOLDS["recall_right"]:
        found = "wrong"
    numbers = f"precision {plain(precision, 2)}×, recall {plain(recall, 2)}×"
    numbers += "" if density is None or found != "wrong" else f", density {plain(density, 2)}×"
    if found == kind:
        return f"{numbers}{against}"
    return ""


def _against_looks(comparison: Comparison, model: ModelResult) -> str:
    """Return what suggests unrealistic samples: blur or grain, two-sample tests, no lead over the baseline."""
    sharpness = ratio_of(model, "sharpness")
    reasons = []
    if sharpness is not None and not THRESHOLDS["blurred"] <= sharpness <= THRESHOLDS["grainy"]:
        reasons.append(f"sharpness {plain(sharpness, 2)}×")
    for metric in ("classifier_test", "neighbour_test"):
        score = statistic(comparison, model, metric)
        if score is not None and score.value > THRESHOLDS["told_apart"]:
            reasons.append(
                f"{inside(comparison.info(metric).label)} {value_text(comparison, metric, score)}"
            )
    if model.name in unproven(comparison):
        reasons.append("not ahead of the baseline")
    if reasons:
        return f", but {listing(reasons)}"
    return ""


def missing_classes(comparison: Comparison, model: ModelResult) -> str:
    """Return the classes that samples hardly contain, if enough samples of them are expected."""
    extra = model.scores.get("class_distance", Score()).extra
    n = comparison.settings.n or 0
    if (comparison.settings.classifier_accuracy or 0.0) < THRESHOLDS["class_read"]:
        return ""
    real, share = (finite_all(extra.get(side)) for side in ("real", "share"))
    rare = [
        name
        for name, part, wanted in zip(comparison.data.classes, share, real, strict=False)
        if n * wanted >= THRESHOLDS["class_expected"] and part < THRESHOLDS["class_held"] * wanted
    ]
    noun = "class" if len(rare) == 1 else "classes"
    if rare:
        return f"{noun} {named(rare)}"
    return ""


def misread_classes(comparison: Comparison) -> Iterator[Values]:
    """Yield models whose samples are recognised as their class significantly less often than real data."""
    n = comparison.settings.n
    if comparison.settings.classifier_accuracy is None:
        real = 1.0
    else:
        real = comparison.settings.classifier_accuracy
    models = {}
    for model in comparison.models:
        agreement = model.label_agreement
        if agreement is None or agreement >= THRESHOLDS["agreement"] * real:
            continue
        errors = [
            math.sqrt(max(share * (1 - share), 0.0) / n) if n else 0.0
            for share in (agreement, real)
        ]
        if differ(real - agreement, *errors):
            models[model.name] = percent(agreement)
    if models:
        yield {"models": models, "real": percent(real)}


def unlike_conditions(comparison: Comparison) -> Iterator[Values]:
    """Yield what models were given, if it differs."""
    given = {
        model.name: ", ".join(model.conditioned) or "nothing"
        for model in comparison.models
        if model.conditioned is not None
    }
    if len(set(given.values())) > 1:
        yield {"models": given}


# Trainings ------------------------------------------------------------------------------------------------------


def alarms(comparison: Comparison) -> Iterator[Values]:
    """Yield one alarm of each kind for each model: the last one that did not end, else the first one."""
    for model in comparison.models:
        kinds: dict[str, list[tuple[Alarm, Alarm | None]]] = {}
        for period in alarm_periods(model):
            kinds.setdefault(period[0].kind, []).append(period)
        for periods in kinds.values():
            begin, end = ([period for period in periods if period[1] is None] or periods[:1])[-1]
            yield {"models": {model.name: ""}, "alarm": alarm_text(model, begin, end)}


def unused_codes(comparison: Comparison) -> Iterator[Values]:
    """Yield models without an active latent dimension, unless an alarm says so."""
    vectors = len(comparison.data.shape) == 1
    for model in comparison.models:
        code = None if model.latent is None else model.latent.code
        standing = any(
            begin.kind == "posterior" and end is None for begin, end in alarm_periods(model)
        )
        if code is not None and code.units and code.active == 0 and not standing:
            early = (model.training.steps or math.inf) < THRESHOLDS["early"]
            yield {
                "models": {model.name: f"0 of {count(code.units)}"},
                "alike": "samples differ only by the decoder's noise"
                if vectors
                else "samples are nearly identical",
                "early": f" {count(model.training.steps)} steps may be too few to call this posterior collapse."
                if early
                else "",
            }


def unequal_sizes(comparison: Comparison) -> Iterator[Values]:
    """Yield the numbers of parameters if one model has many times those of another."""
    sizes = {model.name: model.parameters for model in comparison.models if model.parameters}
    if sizes and max(sizes.values()) > THRESHOLDS["unequal_size"] * min(sizes.values()):
        yield {"some": {name: count(size) for name, size in sizes.items()}}
