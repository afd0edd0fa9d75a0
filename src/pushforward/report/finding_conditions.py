"""Conditions of findings: each yields the values of a sentence where it holds, by the names in its template."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Any

from pushforward.evaluation.measurements import Alarm
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.names import MODEL_SCORES
from pushforward.metrics.score import Role, Score
from pushforward.numbers import count, counted, duration, finite_all, percent, plain
from pushforward.report.statistics import (
    Statistic,
    alarm_periods,
    blind,
    curve_metric,
    differ,
    floor_of,
    floor_statistic,
    floor_text,
    guess_statistics,
    inside,
    lead_text,
    main_metrics,
    ratio_of,
    standing,
    statistic,
    statistics,
    sweep_score,
    unproven,
    value_text,
)
from pushforward.report.tables import above, budget_of, ladder_metric, ratio_text, rung_of, rungs_of, sweep_metric

THRESHOLDS: dict[str, float] = {
    "near_copies": 0.01,  # share of near-copies above the floor's from which samples count as memorised
    "copying": -3.0,  # C_T from which samples count as copies (Meehan et al. 2020), below real data's where that is less than 0
    "held_out_ratio": 0.2,  # how far from real data's: below, samples repeat training examples; above, held-out ones
    "attack": 0.02,  # area of a membership attack above chance
    "told_by": 0.01,  # fall of the area under the ROC curve from which a column gives samples away
    "class_held": 0.2,  # share of a class's fair share from which it is held
    "class_read": 0.8,  # accuracy of the classifier that reads classes: below, it may misread one of them always
    "class_expected": 15.0,  # samples that a class should have: with fewer, a lack may be chance
    # over the floors; in brackets four splits of digits, n = 300
    "distinct": 0.6,  # distinct samples: below, a model has collapsed (recipes after 50 to 300 steps: .82 to 1; half alike: .5)
    "alike": 0.15,  # the same by the plain 1 % quantile (recipes: .27 to 1), where recall is below the next
    "recall_none": 0.02,  # recall over real data's that counts as none
    "precision_right": 0.9,  # precision: above, samples look right (real: 1.01 to 1.03)
    "precision_poor": 0.6,  # precision: below, many samples look wrong
    "density_right": 0.7,  # density: below, samples lie apart from the data (real: .93 to 1.06; noise of .2: .64 to .83)
    "recall_poor": 0.85,  # recall: below, samples repeat themselves (without 3 classes: .69 to .82, without 1: .90 to .97)
    "recall_right": 0.9,  # recall: above, samples cover the data (real: .99 to 1.01)
    "hardly_told": 0.8,  # two-sample score: from here on, trees hardly tell samples from real rows
    "told_apart": 0.8,  # two-sample tests: above, most samples are told from real data (all from half of its modes: .75)
    "mode_held": 0.2,  # share of a mode's fair mass from which it is held
    "bridges": 0.05,  # share of samples between the modes, above the floor's
    "narrow": 0.8,  # width of the modes over the true first: below, too narrow
    "wide": 1.25,  # above, too wide
    "blurred": 0.75,  # high-frequency power over real data's: below, blurred
    "grainy": 1.35,  # above, grainy
    "agreement": 0.9,  # share of samples recognised as the class they were asked to be, over that of real data
    "small": 200,  # samples on either side: below, scores are hardly worth reading
    "few": 2000,  # below, what the number of samples adds to a score is named
    "biased": 0.25,  # share of a score that this adds, from which it is named
    "early": 500,  # steps below which an unused code may be too early to call collapse
    "unequal_time": 1.15,  # training times that count as unequal
    "unequal_size": 2.0,  # parameter counts that count as unequal
}
# Parts of a method and feature extractors that were trained on ImageNet (Kynkäänniemi et al. 2023, arXiv:2203.06026)
TEACHERS = frozenset({"ProjectedCritic", "PretrainedFeatures"})
JUDGES = ("efficientnet", "inception")

Values = dict[str, Any]  # By the names in a template; "models" maps names to what is said of each, "some" and "others" likewise
Condition = Callable[[Comparison], Iterator[Values]]


def _valued(comparison: Comparison, metric: str, scores: Sequence[Statistic]) -> dict[str, str]:
    return {score.name: value_text(comparison, metric, score) for score in scores}


# Who is ahead ---------------------------------------------------------------------------------------------------


def ranked(role: Role, comparison: Comparison) -> Iterator[Values]:
    """The models by the score of a role, best first, and how they stand to each other and to the baseline."""
    metric = comparison.ranking_metric(role)
    if metric is not None:
        floor = floor_text(comparison, metric)
        stands = standing(comparison, metric)
        yield {
            "models": _valued(comparison, metric, statistics(comparison, metric)),
            "label": comparison.info(metric).label,
            "floor": f"; real data {floor}" if floor else "",
            "stands": f" {stands}." if stands else "",
        }


def sweep(comparison: Comparison) -> Iterator[Values]:
    """Who leads after each of the budgets that all recipes were trained for."""
    metric = sweep_metric(comparison)
    rows = {name: points for name in (m.name for m in comparison.models) if (points := comparison.sweep.get(name))}
    if len(rows) < 2 or len({tuple(point.budget for point in points) for points in rows.values()}) > 1:
        return
    stages = []
    for points in zip(*rows.values(), strict=True):
        scored = [sweep_score(comparison, name, point, metric) for name, point in zip(rows, points, strict=True)]
        ranked = sorted(filter(None, scored), key=lambda score: score.loss)
        if len(ranked) == len(points):
            stages.append(f"after {budget_of(points[0])} {ranked[0].name} is {lead_text(ranked[0], ranked[1:])}")
    if len(stages) > 1:
        yield {"label": inside(comparison.info(metric).label), "stages": "; ".join(stages)}


# Time -----------------------------------------------------------------------------------------------------------


def training_times(comparison: Comparison) -> Iterator[Values]:
    """The shortest and the longest training, with what models build on, where their times are unequal."""
    costs = {model.name: model.training for model in comparison.models}
    parts = {name: (cost.seconds, cost.trajectory_seconds, cost.ancestor_seconds) for name, cost in costs.items()}
    seconds = {name: total for name, times in parts.items() if (total := sum(filter(None, times))) > 0}
    ranked = sorted(seconds, key=lambda name: seconds[name])
    if len(seconds) > 1 and seconds[ranked[-1]] > THRESHOLDS["unequal_time"] * seconds[ranked[0]]:
        yield {"ends": {name: duration(seconds[name]) for name in (ranked[0], ranked[-1])}}


# Few calls ------------------------------------------------------------------------------------------------------


def few_calls(comparison: Comparison) -> Iterator[Values]:
    """How each map compares with its teacher: the ratio in its fewest calls, and in which calls it is clearly worse."""
    metric = ladder_metric(comparison)
    for model in comparison.models:
        ladder = model.ladder
        own = None if ladder is None else rung_of(ladder.own, metric)
        rungs = [] if ladder is None else rungs_of(ladder.points, metric)
        if ladder is None or own is None or not rungs or model.weights_step == 0:
            continue
        worse = [counted(rung.calls, "call") for rung in rungs if above(ladder, metric, rung, own)]
        ratio, label = ratio_text(ladder, metric, rungs[0], own), inside(comparison.info(metric).label)
        yield {
            "models": {model.name: ""},
            "calls": counted(rungs[0].calls, "call"),
            "scores": f"{ratio} the {label} of" if ratio else f"{label} {rungs[0].text}, and {own.text} has",
            "teacher": f"its teacher in {counted(own.calls, 'call')}",
            "worse": f"clearly worse in {', '.join(worse)}" if worse else "nowhere clearly worse",
        }


def enough_steps(comparison: Comparison, model: ModelResult) -> str:
    """The fewest sampling steps from which no point of a model's curve is clearly worse than its best one, if they are others."""
    metric, own = curve_metric(comparison), model.sampling.steps
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
    better = "are better than" if steps > own or first == len(rungs) else "are as good as"
    return f"{counted(steps, 'sampling step')} {better} {count(own)} (--steps {count(steps)})"


def nothing_gained(comparison: Comparison) -> Iterator[Values]:
    """Maps whose finish ended at the weights of its start."""
    yield from ({"models": {m.name: ""}} for m in comparison.models if m.ladder is not None and m.weights_step == 0)


def rises(comparison: Comparison) -> Iterator[Values]:
    """Curves over calls that rise by more than noise."""
    metric = ladder_metric(comparison)
    for model in comparison.models:
        rungs = [] if model.ladder is None else rungs_of(model.ladder.points, metric)
        best = min(rungs, key=lambda rung: rung.value, default=None)
        if best is None or model.ladder is None:
            continue
        later = [rung for rung in rungs if rung.calls > best.calls and above(model.ladder, metric, rung, best)]
        if later:
            calls = counted(best.calls, "call")
            yield {"models": {model.name: ""}, "label": inside(comparison.info(metric).label), "best": calls}


def uncovered(comparison: Comparison) -> Iterator[Values]:
    """Coverage that is lost on the way from the teacher."""
    for model in comparison.models:
        if model.ladder is not None:
            first, own = next(iter(rungs_of(model.ladder.points, "coverage")), None), rung_of(model.ladder.own, "coverage")
            if first is not None and own is not None and above(model.ladder, "coverage", own, first):
                calls = counted(first.calls, "call")
                yield {"models": {model.name: ""}, "calls": calls, "value": plain(first.value), "taught": plain(own.value)}


# Measures -------------------------------------------------------------------------------------------------------


def taught_judges(comparison: Comparison) -> Iterator[Values]:
    """Features of ImageNet that judge models which were trained by features of ImageNet."""
    taught = {model.name: "" for model in comparison.models if _has_part(model.config.get("method"))}
    spaces = [space for space in comparison.settings.spaces if space.partition(":")[0] in JUDGES]
    yield from ({"models": taught, "space": space} for space in spaces if taught)


def _has_part(value: object) -> bool:
    """Whether a method's settings name one of the `TEACHERS`, at any depth."""
    if isinstance(value, Mapping):
        return value.get("part") in TEACHERS or any(map(_has_part, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_part, value))


def cannot_tell(comparison: Comparison) -> Iterator[Values]:
    """Scores in which the baseline passes as real data."""
    labels = [inside(comparison.info(metric).label) for metric in main_metrics(comparison) if blind(comparison, metric)]
    if labels and comparison.baseline is not None:
        yield {"label": " and ".join(labels), "base": comparison.baseline.name}


def few_samples(comparison: Comparison) -> Iterator[Values]:
    """So few samples that scores hardly mean anything."""
    n = comparison.settings.n
    compared = any(metric not in MODEL_SCORES for model in comparison.models for metric in model.scores)
    if compared and n is not None and n < THRESHOLDS["small"]:
        yield {"n": count(n), "least": count(THRESHOLDS["small"])}


def biased(comparison: Comparison) -> Iterator[Values]:
    """Scores of quality that at a small n consist of bias in good part: what real data scores, else an estimate."""
    n = comparison.settings.n
    ranking = [name for name, info in comparison.metrics.items() if info.role is not None]
    for metric in ranking if n is not None and n < THRESHOLDS["few"] else ():
        scores = {model.name: model.scores[metric] for model in comparison.models if metric in model.scores}
        floor, known = floor_of(comparison, metric)[0], [score.bias for score in scores.values() if score.bias is not None]
        bias = 0.0 if not known else floor if floor is not None else sum(known) / len(known)
        most = {name: "" for name, score in scores.items() if known and score.value and bias > THRESHOLDS["biased"] * score.value}
        if most:
            yield {"models": most, "n": count(n), "label": inside(comparison.info(metric).label), "bias": plain(bias, 2)}


def unscored(comparison: Comparison) -> Iterator[Values]:
    """Models without any finite score."""
    metrics = main_metrics(comparison)
    lost = {m.name: "" for m in comparison.models if all(statistic(comparison, m, metric) is None for metric in metrics)}
    yield from [{"models": lost}] if metrics and lost else []


def no_score(comparison: Comparison) -> Iterator[Values]:
    """Why a metric has no score."""
    yield from ({"why": why} for why in comparison.unscored.values())


def against_guess(comparison: Comparison) -> Iterator[Values]:
    """Models that are not clearly better than a guess, in scores that have one."""
    for metric, base in guess_statistics(comparison).items():
        low = [score for score in statistics(comparison, metric) if not score.better_than(base)]
        if low:
            label, guess = inside(comparison.info(metric).label), {base.name: value_text(comparison, metric, base)}
            yield {"models": _valued(comparison, metric, low), "label": label, "guess": guess}


def disagreements(comparison: Comparison) -> Iterator[Values]:
    """Pairs of models whose order is clear in two feature spaces, and different."""
    first, *others = comparison.settings.spaces or ("",)
    for space in others:
        names = [name.removesuffix(f" ({space})") for name in comparison.metrics if name.endswith(f" ({space})")]
        for model, other in permutations(comparison.models, 2):
            for name in names:
                if _ahead(comparison, name, model, other) and _ahead(comparison, f"{name} ({space})", other, model):
                    label = inside(comparison.info(name).label)
                    yield {"models": {model.name: ""}, "other": other.name, "first": first, "space": space, "label": label}


def _ahead(comparison: Comparison, metric: str, model: ModelResult, other: ModelResult) -> bool:
    score, rival = (statistic(comparison, row, metric) for row in (model, other))
    return score is not None and rival is not None and score.better_than(rival)


# Samples --------------------------------------------------------------------------------------------------------


def _each(comparison: Comparison, say: Callable[[Comparison, ModelResult], str]) -> Iterator[Values]:
    models = {model.name: text for model in comparison.models if (text := say(comparison, model))}
    yield from [{"models": models}] if models else []


def each_of(say: Callable[[Comparison, ModelResult], str]) -> Condition:
    """Condition of what is said of single models."""
    return partial(_each, say=say)


def beyond(metric: str, threshold: str, side: int, over_floor: bool = False) -> Condition:
    """Models whose score, or its ratio to real data's, is below (side -1) or above (1) a threshold."""

    def say(comparison: Comparison, model: ModelResult) -> str:
        score = statistic(comparison, model, metric)
        value = ratio_of(model, metric) if over_floor else None if score is None else score.value
        if value is None or side * (value - THRESHOLDS[threshold]) <= 0 or collapsed(comparison, model):
            return ""
        return plain(value, 2) + "×" * over_floor

    return each_of(say)


def collapsed(comparison: Comparison, model: ModelResult) -> str:
    """Say how many samples are distinct, of each training run in which these are far fewer than in real data."""
    if not model.trainings:
        return _distinct(comparison, model)
    said = {run.name: text for run in model.trainings if (text := _distinct(comparison, run))}
    return "; ".join(f"{name}: {text}" for name, text in said.items())


def _distinct(comparison: Comparison, model: ModelResult) -> str:
    score = model.scores.get("distinct_samples", Score())
    distinct, of, near = score.value, score.extra.get("of"), score.extra.get("near")
    if score.ratio is None or not of:
        return ""
    recall = ratio_of(model, "recall")
    unvaried = recall is not None and recall < THRESHOLDS["recall_none"]
    if unvaried and near is not None and near < THRESHOLDS["alike"] * of:
        distinct = near
    elif score.ratio >= THRESHOLDS["distinct"]:
        return ""
    real = count(comparison.floors["distinct_samples"].value)
    return f"{count(distinct)} distinct samples among {count(of)}; real data {real}"


def memorised(comparison: Comparison, model: ModelResult) -> str:
    """Real data has near-copies too where examples repeat; only more than that counts."""
    score, (floor, spread) = statistic(comparison, model, "near_copies"), floor_of(comparison, "near_copies")
    gap = 0.0 if score is None else score.value - (floor or 0.0)
    much = score is not None and gap > THRESHOLDS["near_copies"] and differ(gap, score.width, spread)
    beside = f", real data {floor_text(comparison, 'near_copies')}" if floor is not None else ""
    return f"{value_text(comparison, 'near_copies', score)}{beside}" if much and score else ""


def copying(comparison: Comparison, model: ModelResult) -> str:
    """Nearer to training examples than new data, and not to held-out ones too, as blurred ones are; if no near-copies."""
    score, floor = statistic(comparison, model, "copying_test"), floor_of(comparison, "copying_test")[0] or 0.0
    low = score is not None and score.value < min(0.0, floor) + THRESHOLDS["copying"]
    if low and score and _side(comparison, model) < 0 and not memorised(comparison, model):
        return f"C_T {value_text(comparison, 'copying_test', score)}"
    return ""


def held_out_seen(comparison: Comparison, model: ModelResult) -> str:
    """Samples nearer to held-out examples than chance allows."""
    score = statistic(comparison, model, "held_out_ratio")
    return f"{value_text(comparison, 'held_out_ratio', score)}×" if score and _side(comparison, model) > 0 else ""


def _side(comparison: Comparison, model: ModelResult) -> int:
    """1 where samples are measurably nearer to held-out examples than real data is, -1 to training examples, 0 for neither."""
    score = statistic(comparison, model, "held_out_ratio")
    if score is None:
        return 0
    value, spread = floor_of(comparison, "held_out_ratio")
    gap, stated = score.value - (1.0 if value is None else value), model.scores["held_out_ratio"]
    error = stated.error or 0.0  # of samples that are all alike it is large, and their spread is not
    if gap > 0:  # so few may be reached that chance alone looks like held-out examples that were seen
        error = max(error, stated.extra.get("tail", 0.0))
    if abs(gap) < THRESHOLDS["held_out_ratio"] or not differ(abs(gap), max(score.width, error), spread):
        return 0
    return 1 if gap > 0 else -1


def attacked(comparison: Comparison, model: ModelResult) -> str:
    """The AUC of the attack that reaches most among those that are measurably above chance."""
    reached = []
    for metric in ("membership", "membership_ratio"):
        score, (floor, spread) = statistic(comparison, model, metric), floor_of(comparison, metric)
        if score is not None and score.interval is not None and score.interval[0] > 0.5:
            gap = score.value - max(0.5, floor or 0.5)
            reached += [score.value] if gap >= THRESHOLDS["attack"] and differ(gap, score.width, spread) else []
    return f"AUC {plain(max(reached), 2)}" if reached else ""


def given_away(comparison: Comparison, model: ModelResult) -> str:
    """By which columns trees tell samples from real rows, where they do measurably better than on real rows."""
    score, floor = statistic(comparison, model, "detection"), floor_statistic(comparison, "detection")
    clear = score is not None and (score.interval is None or floor is None or score.interval[1] < floor.value)
    told = clear and (floor is None or (score is not None and floor.better_than(score)))
    return ", ".join(told_by(model)) if told else ""


def told_by(model: ModelResult) -> list[str]:
    """The columns by which most samples of a model are told from real rows, three at most, the first the most telling."""
    extra = model.scores.get("detection", Score()).extra
    falls = dict(zip(extra.get("columns", ()), finite_all(extra.get("falls")), strict=False))
    ranked = sorted(falls, key=lambda name: -falls[name])
    return [name for name in ranked[:3] if falls[name] >= THRESHOLDS["told_by"]]


def lost_modes(comparison: Comparison, model: ModelResult) -> str:
    """Modes of which there are too few samples."""
    mass = finite_all(model.scores.get("modes_held", Score()).extra.get("mass"))
    held, floor = statistic(comparison, model, "modes_held"), floor_of(comparison, "modes_held")[0]
    if held is not None and floor is not None:
        few = held.value < floor - 0.05
        return f"holds {value_text(comparison, 'modes_held', held)} of {plain(len(mass) or floor)}" if few else ""
    thin = [number + 1 for number, share in enumerate(mass) if share < THRESHOLDS["mode_held"] / len(mass)]
    return f"too little of {', '.join(map(str, thin))} of {len(mass)}" if thin else ""


def bridges(comparison: Comparison, model: ModelResult) -> str:
    """Share of samples between modes."""
    score, floor = statistic(comparison, model, "bridges"), floor_of(comparison, "bridges")[0] or 0.0
    return value_text(comparison, "bridges", score) if score and score.value > floor + THRESHOLDS["bridges"] else ""


def varied(kind: str, comparison: Comparison, model: ModelResult) -> str:
    """Precision and recall over real data's, of samples that "repeat", lie in "few" places, or look "wrong".

    Precision hardly falls in many dimensions, so density and other scores too say whether samples lie apart from the data.
    """
    precision, recall, density = (ratio_of(model, metric) for metric in ("precision", "recall", "density"))
    if precision is None or recall is None or collapsed(comparison, model):
        return ""
    apart = density is not None and density < THRESHOLDS["density_right"]
    alike = precision >= THRESHOLDS["precision_right"] and not apart and recall < THRESHOLDS["recall_poor"]
    against = _against_looks(comparison, model) if alike else ""
    found = "few" if against else "repeat" if alike else ""
    if (apart or precision < THRESHOLDS["precision_poor"]) and recall >= THRESHOLDS["recall_right"]:
        found = "wrong"
    numbers = f"precision {plain(precision, 2)}×, recall {plain(recall, 2)}×"
    numbers += "" if density is None or found != "wrong" else f", density {plain(density, 2)}×"
    return f"{numbers}{against}" if found == kind else ""


def _against_looks(comparison: Comparison, model: ModelResult) -> str:
    """What speaks against samples that look right: blur or grain, tests that tell them apart, no lead over the baseline."""
    sharpness, reasons = ratio_of(model, "sharpness"), []
    if sharpness is not None and not THRESHOLDS["blurred"] <= sharpness <= THRESHOLDS["grainy"]:
        reasons.append(f"sharpness {plain(sharpness, 2)}×")
    for metric in ("classifier_test", "neighbour_test"):
        score = statistic(comparison, model, metric)
        if score is not None and score.value > THRESHOLDS["told_apart"]:
            reasons.append(f"{inside(comparison.info(metric).label)} {value_text(comparison, metric, score)}")
    reasons += ["not ahead of the baseline"] if model.name in unproven(comparison) else []
    return f", but {', '.join(reasons)}" if reasons else ""


def missing_classes(comparison: Comparison, model: ModelResult) -> str:
    """Classes of which samples show hardly any, where enough are expected for that not to be chance."""
    extra, n = model.scores.get("class_distance", Score()).extra, comparison.settings.n or 0
    if (comparison.settings.classifier_accuracy or 0.0) < THRESHOLDS["class_read"]:
        return ""
    real, share = (finite_all(extra.get(side)) for side in ("real", "share"))
    rare = [
        f"{name}: {percent(part)}, real {percent(wanted)}"
        for name, part, wanted in zip(comparison.data.classes, share, real, strict=False)
        if n * wanted >= THRESHOLDS["class_expected"] and part < THRESHOLDS["class_held"] * wanted
    ]
    return "; ".join(rare)


def misread(comparison: Comparison, model: ModelResult) -> str:
    """Samples that a classifier recognises less often than real data, by a margin and by more than n samples of each vary."""
    agreement, n = model.label_agreement, comparison.settings.n
    real = 1.0 if comparison.settings.classifier_accuracy is None else comparison.settings.classifier_accuracy
    if agreement is None or agreement >= THRESHOLDS["agreement"] * real:
        return ""
    errors = [math.sqrt(max(share * (1 - share), 0.0) / n) if n else 0.0 for share in (agreement, real)]
    return f"{percent(agreement)} against {percent(real)} of real data" if differ(real - agreement, *errors) else ""


def unlike_conditions(comparison: Comparison) -> Iterator[Values]:
    """Models that were given different things."""
    given = {
        model.name: ", ".join(model.conditioned) or "nothing" for model in comparison.models if model.conditioned is not None
    }
    yield from [{"models": given}] if len(set(given.values())) > 1 else []


# Trainings ------------------------------------------------------------------------------------------------------


def alarms(comparison: Comparison) -> Iterator[Values]:
    """One for each kind of alarm of a model: the last that stands at the end, else the first that is over."""
    for model in comparison.models:
        kinds: dict[str, list[tuple[Alarm, Alarm | None]]] = {}
        for period in alarm_periods(model):
            kinds.setdefault(period[0].kind, []).append(period)
        for periods in kinds.values():
            begin, end = ([period for period in periods if period[1] is None] or periods[:1])[-1]
            yield {
                "models": {model.name: ""},
                "training": begin.training or model.name,
                "step": count(begin.step),
                "what": f"{begin.sentence}: {begin.advice}" if begin.advice else begin.sentence,
                "ends": "to the end of training" if end is None else f"until step {count(end.step)}",
            }


def unused_codes(comparison: Comparison) -> Iterator[Values]:
    """Codes without an active unit, where no alarm that stands to the end says so."""
    vectors = len(comparison.data.shape) == 1
    for model in comparison.models:
        code = None if model.latent is None else model.latent.code
        standing = any(begin.kind == "posterior" and end is None for begin, end in alarm_periods(model))
        if code is not None and code.units and code.active == 0 and not standing:
            early = (model.training.steps or math.inf) < THRESHOLDS["early"]
            yield {
                "models": {model.name: f"of {count(code.units)}"},
                "alike": "samples differ by the decoder's noise alone" if vectors else "samples are nearly the same",
                "early": f"; {count(model.training.steps)} steps may be too early to call that collapse" if early else "",
            }


def unequal_sizes(comparison: Comparison) -> Iterator[Values]:
    """Models of which one has many times the parameters of another."""
    sizes = {model.name: model.parameters for model in comparison.models if model.parameters}
    if sizes and max(sizes.values()) > THRESHOLDS["unequal_size"] * min(sizes.values()):
        yield {"some": {name: f"{size:,}" for name, size in sizes.items()}}
