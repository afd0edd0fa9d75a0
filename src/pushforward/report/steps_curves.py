"""Few network calls compared with a teacher: findings and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from pushforward.evaluation.intervals import NORMAL, Variation, Variations
from pushforward.evaluation.measurements import CurvePoint, StepsCurve
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import aligned, count, listing, plain, plural
from pushforward.report.model_findings import Finding, Findings
from pushforward.report.statistics import (
    DIFFER,
    curve_metric,
    decimals_for,
    factor_of,
    label_in_sentence,
)
from pushforward.report.tables import Cell, Column, Row, Table, figures, score_column

# Points of curves -------------------------------------------------------------------------------


@dataclass(frozen=True)
class CurveScore:
    """One score of a point of a curve, and its mean over samplings."""

    calls: float
    value: float
    score: Score

    def differs(self, other: CurveScore, least: float, comparisons: int = 1) -> bool:
        """Return whether two points with the same noise differ significantly."""
        own = _variations(self.score, least)
        margin = own.margin(_variations(other.score, least), comparisons)
        return abs(self.value - other.value) > margin


def _variations(score: Score, least: float) -> Variations:
    if score.sample_terms and score.reference_terms:
        samples = Variation.of_terms(score.sample_terms)
        return Variations(samples, Variation.of_terms(score.reference_terms))
    if score.interval is not None:
        low, high = score.interval
        return Variations(Variation(((high - low) / 2 / NORMAL) ** 2))
    return Variations(Variation(max(score.spread or 0.0, least) ** 2))


def curve_score(point: CurvePoint | None, metric: str) -> CurveScore | None:
    """Return one score of a point."""
    score = _score(point, metric)
    if point is None or point.calls is None or score.value is None:
        return None
    return CurveScore(point.calls, score.value, score)


def _score(point: CurvePoint | None, metric: str) -> Score:
    if point is None:
        return Score()
    return point.scores.get(metric, Score())


def curve_scores(points: Sequence[CurvePoint], metric: str) -> list[CurveScore]:
    """Return one score of all points, sorted by calls."""
    by_calls = (curve_score(point, metric) for point in points)
    return sorted(filter(None, by_calls), key=lambda point: point.calls)


def steps_curve_metric(comparison: Comparison) -> str:
    """Return the distance that tables of few calls show."""
    metric = curve_metric(comparison)
    if comparison.info(metric).better == "lower":
        for model in comparison.models:
            steps_curve = model.steps_curve
            if steps_curve is not None and any(
                metric in point.scores for point in steps_curve.points
            ):
                return metric
    return "energy"


def above(steps_curve: StepsCurve, metric: str, first: CurveScore, other: CurveScore) -> bool:
    """Return whether a score is significantly greater than another one."""
    width = _real_spread(steps_curve, metric)
    return first.value > other.value and first.differs(other, width, len(steps_curve.points))


def _real_spread(steps_curve: StepsCurve, metric: str) -> float:
    return steps_curve.real_data_scores.get(metric, Score()).spread or 0.0


def _ratio_text(steps_curve: StepsCurve, metric: str, first: CurveScore, own: CurveScore) -> str:
    spread = _real_spread(steps_curve, metric)
    if own.value <= DIFFER * max(spread, 1e-12):
        return ""
    ratio = first.value / own.value
    spread = spread / own.value
    pairs = zip(first.score.values, own.score.values, strict=False)
    each = [a / b for a, b in pairs if a is not None and b]
    if len(each) > 1:
        spread = max(spread, stdev(each))
    low = plain(max(0.0, ratio - DIFFER * spread), 2)
    high = plain(max(0.0, ratio + DIFFER * spread), 2)
    return f"{plain(ratio, 2)} times ({low} to {high})"


# Findings ---------------------------------------------------------------------------------------


def few_calls(comparison: Comparison) -> Findings:
    """Report how each map compares with its teacher."""
    metric = steps_curve_metric(comparison)
    label = label_in_sentence(comparison, metric)
    for model in comparison.models:
        steps_curve = model.steps_curve
        if steps_curve is None or model.weights_step == 0:
            continue
        own = curve_score(steps_curve.own, metric)
        by_calls = curve_scores(steps_curve.points, metric)
        if own is None or not by_calls:
            continue
        first = by_calls[0]
        teacher = f"its teacher, which uses {plural(own.calls, 'call')} and the same noise"
        ratio = _ratio_text(steps_curve, metric, first, own)
        if ratio:
            scores = f"reaches {ratio} the {label} of {teacher}"
        else:
            by_teacher = f"{figures(own.score).flat} for {teacher}"
            scores = f"has a {label} of {figures(first.score).flat}, compared with {by_teacher}"

        worse = [
            plural(point.calls, "call")
            for point in by_calls
            if above(steps_curve, metric, point, own)
        ]
        if worse:
            differences = f"It is significantly worse with {listing(worse)}."
        else:
            differences = "No difference is significant."
        text = f"With {plural(first.calls, 'call')}, {model.name} {scores}. {differences}"
        yield Finding("verdict", text)


def nothing_gained(comparison: Comparison) -> Findings:
    """Report maps whose best weights are those before the finish."""
    for model in comparison.models:
        if model.steps_curve is not None and model.weights_step == 0:
            kept = "so the initial weights were kept"
            text = f"Finishing did not improve {model.name}, {kept}."
            yield Finding("verdict", text)


def more_calls_worse(comparison: Comparison) -> Findings:
    """Report maps that get significantly worse with more calls."""
    metric = steps_curve_metric(comparison)
    label = label_in_sentence(comparison, metric)
    for model in comparison.models:
        steps_curve = model.steps_curve
        if steps_curve is None:
            continue
        by_calls = curve_scores(steps_curve.points, metric)
        if not by_calls:
            continue
        best = min(by_calls, key=lambda point: point.value)
        later = [point for point in by_calls if point.calls > best.calls]
        if any(above(steps_curve, metric, point, best) for point in later):
            calls = plural(best.calls, "call")
            text = (
                f"The {label} of {model.name} gets significantly worse with more than {calls}. "
                f"Sample with {calls}, or train longer."
            )
            yield Finding("warning", text, {model.name: "worse samples with more calls"})


def low_coverage(comparison: Comparison) -> Findings:
    """Report maps with significantly lower coverage than their teachers."""
    for model in comparison.models:
        steps_curve = model.steps_curve
        if steps_curve is None:
            continue
        own = curve_score(steps_curve.own, "coverage")
        by_calls = curve_scores(steps_curve.points, "coverage")
        if own is None or not by_calls or not above(steps_curve, "coverage", own, by_calls[0]):
            continue
        calls = plural(by_calls[0].calls, "call")
        coverage = f"a coverage of {plain(by_calls[0].value)}"
        teacher = f"compared with {plain(own.value)} for its teacher"
        text = f"With {calls}, {model.name} has {coverage}, {teacher}."
        yield Finding("warning", text)


# Tables -----------------------------------------------------------------------------------------


def steps_curve_table(comparison: Comparison, model: ModelResult) -> Table:
    """Return the scores of a map and its teacher by calls."""
    steps_curve = model.steps_curve
    if steps_curve is None or not steps_curve.points:
        return Table()
    lines = _steps_curve_lines(steps_curve)
    columns = []
    cells = []  # by column
    metrics = dict.fromkeys(name for point in steps_curve.points for name in point.scores)
    for metric in metrics:
        factor = factor_of(comparison, metric)
        mapped = [_score(line.point, metric) for line in lines]
        taught = [_score(line.teacher, metric) for line in lines]
        known = [score for score in (*mapped, *taught) if score.value is not None]
        decimals = decimals_for(known, factor)
        own_cells = [figures(score, factor, decimals=decimals) for score in mapped]
        own_cells.append(
            figures(steps_curve.real_data_scores.get(metric), factor, decimals=decimals)
        )
        teacher_cells = []
        for score, line in zip(taught, lines, strict=True):
            teacher_cells.append(figures(score, factor, line.note, decimals=decimals))
        teacher_cells.append(Cell("–"))
        column = score_column(comparison, metric)
        columns += [column, replace(column, label=f"{column.label}, teacher")]
        cells += [own_cells, teacher_cells]
    what = "Root mean square distance to the teacher's samples from the same noise."
    columns.append(Column("Distance to teacher (std)", what))
    lines.append(_Line("real data", "real data"))
    cells.append([*map(Cell, aligned([line.distance for line in lines], 2))])
    rows = []
    for line, cells_of_line in zip(lines, zip(*cells, strict=True), strict=True):
        rows.append(Row(line.name, cells_of_line, line.kind))
    return Table(columns, rows).filled


@dataclass(frozen=True)
class _Line:
    name: str
    kind: str
    point: CurvePoint | None = None
    teacher: CurvePoint | None = None
    distance: float | None = None
    note: str = ""


def _steps_curve_lines(steps_curve: StepsCurve) -> list[_Line]:
    lines = []
    teachers = sorted(steps_curve.teacher, key=_calls, reverse=True)
    for point in sorted(steps_curve.points, key=_calls):
        teacher = next((other for other in teachers if _calls(other) <= _calls(point)), None)
        note = ""
        if teacher is not None and teacher.calls != point.calls:
            note = plural(teacher.calls, "call")
        name = plural(point.calls, "call")
        lines.append(_Line(name, "calls", point, teacher, point.distance, note))
    shown = [*steps_curve.teacher]
    for other, name in ((steps_curve.own, "teacher"), (steps_curve.default, "teacher by default")):
        if other is not None and other not in shown:
            shown.append(other)
            name = f"{name}: {plural(other.calls, 'call')}"
            lines.append(_Line(name, "baseline", None, other, other.distance))
    return lines


def _calls(point: CurvePoint) -> float:
    return point.calls or 0.0


def steps_curve_note(steps_curve: StepsCurve) -> str:
    """Describe how a steps curve was measured, and what the map learned."""
    parts = []
    if steps_curve.n:
        parts.append(f"The scores are based on {count(steps_curve.n)} samples.")
    if steps_curve.repeats and steps_curve.repeats > 1:
        parts.append(f"Each point was sampled {count(steps_curve.repeats)} times.")
    if steps_curve.own is not None and not steps_curve.finished:
        teacher = "the teacher"
        if steps_curve.solver:
            teacher += f" ({steps_curve.solver}, {plural(steps_curve.own.calls, 'call')})"
        parts.append(f"Learned from {teacher}: {steps_curve.learned or 'not recorded'}.")
    if steps_curve.default is not None and steps_curve.default != steps_curve.own:
        calls = plural(steps_curve.default.calls, "call")
        parts.append(f"The teacher's default is {steps_curve.default_solver} with {calls}.")
    return " ".join(parts)
