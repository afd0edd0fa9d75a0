"""Few network calls compared with a teacher: findings and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from pushforward.evaluation.intervals import NORMAL, Variation, Variations
from pushforward.evaluation.measurements import CurvePoint, StepsCurve
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import aligned, count, counted, listing, plain
from pushforward.report.model_findings import Finding, Findings
from pushforward.report.statistics import (
    DIFFER,
    curve_metric,
    decimals_for,
    factor_of,
    label_in_sentence,
    with_spread,
)
from pushforward.report.tables import Cell, Column, Row, Table, figures, score_column

# Points of curves -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rung:
    """One score of a point of a curve: the mean and the values of samplings."""

    calls: float
    value: float
    score: Score

    @property
    def values(self) -> tuple[float | None, ...]:
        """The values of samplings."""
        return self.score.values

    @property
    def interval(self) -> tuple[float, ...] | None:
        """The interval of the mean."""
        return self.score.interval

    @property
    def spread(self) -> float | None:
        """The standard deviation over samplings."""
        return self.score.spread

    @property
    def text(self) -> str:
        """The value with its interval or standard deviation."""
        return with_spread(self.value, self.spread, self.interval)

    def differs(self, other: Rung, least: float, comparisons: int = 1) -> bool:
        """Return whether two points with the same noise differ significantly."""
        margin = self._variations(least).margin(other._variations(least), comparisons)
        return abs(self.value - other.value) > margin

    def _variations(self, least: float) -> Variations:
        score = self.score
        if score.sample_terms and score.reference_terms:
            samples = Variation.of_terms(score.sample_terms)
            return Variations(samples, Variation.of_terms(score.reference_terms))
        if self.interval is not None:
            low, high = self.interval
            return Variations(Variation(((high - low) / 2 / NORMAL) ** 2))
        return Variations(Variation(max(self.spread or 0.0, least) ** 2))


def rung_of(point: CurvePoint | None, metric: str) -> Rung | None:
    """Return one score of a point."""
    if point is None or point.calls is None:
        return None
    score = point.scores.get(metric)
    if score is None or score.value is None:
        return None
    return Rung(point.calls, score.value, score)


def rungs_of(points: Sequence[CurvePoint], metric: str) -> list[Rung]:
    """Return one score of all points, sorted by calls."""
    rungs = (rung_of(point, metric) for point in points)
    return sorted(filter(None, rungs), key=lambda rung: rung.calls)


def ladder_metric(comparison: Comparison) -> str:
    """Return the distance that tables of few calls show."""
    metric = curve_metric(comparison)
    if comparison.info(metric).better == "lower":
        for model in comparison.models:
            ladder = model.ladder
            if ladder is not None and any(metric in point.scores for point in ladder.points):
                return metric
    return "energy"


def above(ladder: StepsCurve, metric: str, first: Rung, other: Rung) -> bool:
    """Return whether a score is significantly greater than another one."""
    width = _real_spread(ladder, metric)
    return first.value > other.value and first.differs(other, width, len(ladder.points))


def _real_spread(ladder: StepsCurve, metric: str) -> float:
    return ladder.floors.get(metric, Score()).spread or 0.0


def _ratio_text(ladder: StepsCurve, metric: str, first: Rung, own: Rung) -> str:
    spread = _real_spread(ladder, metric)
    if own.value <= DIFFER * max(spread, 1e-12):
        return ""
    ratio = first.value / own.value
    spread = spread / own.value
    each = [a / b for a, b in zip(first.values, own.values, strict=False) if a is not None and b]
    if len(each) > 1:
        spread = max(spread, stdev(each))
    low = plain(max(0.0, ratio - DIFFER * spread), 2)
    high = plain(max(0.0, ratio + DIFFER * spread), 2)
    return f"{plain(ratio, 2)} times ({low} to {high})"


# Findings ---------------------------------------------------------------------------------------


def few_calls(comparison: Comparison) -> Findings:
    """Report how each map compares with its teacher."""
    metric = ladder_metric(comparison)
    label = label_in_sentence(comparison, metric)
    for model in comparison.models:
        ladder = model.ladder
        if ladder is None or model.weights_step == 0:
            continue
        own = rung_of(ladder.own, metric)
        rungs = rungs_of(ladder.points, metric)
        if own is None or not rungs:
            continue
        first = rungs[0]
        teacher = f"its teacher, which uses {counted(own.calls, 'call')} and the same noise"
        ratio = _ratio_text(ladder, metric, first, own)
        if ratio:
            scores = f"reaches {ratio} the {label} of {teacher}"
        else:
            scores = f"has a {label} of {first.text}, compared with {own.text} for {teacher}"
        worse = [counted(rung.calls, "call") for rung in rungs if above(ladder, metric, rung, own)]
        if worse:
            differences = f"It is significantly worse with {listing(worse)}."
        else:
            differences = "No difference is significant."
        text = f"With {counted(first.calls, 'call')}, {model.name} {scores}. {differences}"
        yield Finding("verdict", text)


def nothing_gained(comparison: Comparison) -> Findings:
    """Report maps whose best weights are those before the finish."""
    for model in comparison.models:
        if model.ladder is not None and model.weights_step == 0:
            kept = "so the initial weights were kept"
            text = f"Finishing did not improve {model.name}, {kept}."
            yield Finding("verdict", text)


def more_calls_worse(comparison: Comparison) -> Findings:
    """Report maps that get significantly worse with more calls."""
    metric = ladder_metric(comparison)
    label = label_in_sentence(comparison, metric)
    for model in comparison.models:
        ladder = model.ladder
        if ladder is None:
            continue
        rungs = rungs_of(ladder.points, metric)
        if not rungs:
            continue
        best = min(rungs, key=lambda rung: rung.value)
        later = [rung for rung in rungs if rung.calls > best.calls]
        if any(above(ladder, metric, rung, best) for rung in later):
            calls = counted(best.calls, "call")
            text = (
                f"The {label} of {model.name} gets significantly worse with more than {calls}. "
                f"Sample with {calls}, or train longer."
            )
            yield Finding("warning", text, {model.name: "worse samples with more calls"})


def low_coverage(comparison: Comparison) -> Findings:
    """Report maps with significantly lower coverage than their teachers."""
    for model in comparison.models:
        ladder = model.ladder
        if ladder is None:
            continue
        own = rung_of(ladder.own, "coverage")
        rungs = rungs_of(ladder.points, "coverage")
        if own is None or not rungs or not above(ladder, "coverage", own, rungs[0]):
            continue
        calls = counted(rungs[0].calls, "call")
        coverage = f"a coverage of {plain(rungs[0].value)}"
        teacher = f"compared with {plain(own.value)} for its teacher"
        text = f"With {calls}, {model.name} has {coverage}, {teacher}."
        yield Finding("warning", text)


# Tables -----------------------------------------------------------------------------------------


def ladder_table(comparison: Comparison, model: ModelResult) -> Table:
    """Return the scores of a map and its teacher by calls."""
    ladder = model.ladder
    if ladder is None or not ladder.points:
        return Table()
    lines = _ladder_lines(ladder)
    columns: list[Column] = []
    cells: list[list[Cell]] = []  # by column
    metrics = dict.fromkeys(name for point in ladder.points for name in point.scores)
    for metric in metrics:
        factor = factor_of(comparison, metric)
        mapped = [rung_of(line.point, metric) for line in lines]
        taught = [rung_of(line.teacher, metric) for line in lines]
        decimals = decimals_for(filter(None, [*mapped, *taught]), factor)
        own_cells = [figures(rung, factor, decimals=decimals) for rung in mapped]
        own_cells.append(figures(ladder.floors.get(metric), factor, decimals=decimals))
        teacher_cells = []
        for rung, line in zip(taught, lines, strict=True):
            teacher_cells.append(figures(rung, factor, line.note, decimals=decimals))
        teacher_cells.append(Cell("–"))
        column = score_column(comparison, metric)
        columns += [column, replace(column, label=f"{column.label}, teacher")]
        cells += [own_cells, teacher_cells]
    what = "Root mean square distance to the teacher's samples from the same noise."
    columns.append(Column("Distance to teacher (std)", what))
    lines.append(_Line("real data", "floor"))
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


def _ladder_lines(ladder: StepsCurve) -> list[_Line]:
    lines = []
    teachers = sorted(ladder.teacher, key=_calls, reverse=True)
    for point in sorted(ladder.points, key=_calls):
        teacher = next((other for other in teachers if _calls(other) <= _calls(point)), None)
        note = ""
        if teacher is not None and teacher.calls != point.calls:
            note = counted(teacher.calls, "call")
        name = counted(point.calls, "call")
        lines.append(_Line(name, "calls", point, teacher, point.distance, note))
    shown = [*ladder.teacher]
    for other, name in ((ladder.own, "teacher"), (ladder.default, "teacher by default")):
        if other is not None and other not in shown:
            shown.append(other)
            name = f"{name}: {counted(other.calls, 'call')}"
            lines.append(_Line(name, "baseline", None, other, other.distance))
    return lines


def _calls(point: CurvePoint) -> float:
    return point.calls or 0.0


def ladder_how(ladder: StepsCurve) -> str:
    """Describe how a ladder was measured, and what the map learned."""
    parts = []
    if ladder.n:
        parts.append(f"The scores are based on {count(ladder.n)} samples.")
    if ladder.repeats and ladder.repeats > 1:
        parts.append(f"Each point was sampled {count(ladder.repeats)} times.")
    if ladder.own is not None and not ladder.finished:
        teacher = "the teacher"
        if ladder.solver:
            teacher += f" ({ladder.solver}, {counted(ladder.own.calls, 'call')})"
        parts.append(f"Learned from {teacher}: {ladder.learned or 'not recorded'}.")
    if ladder.default is not None and ladder.default != ladder.own:
        calls = counted(ladder.default.calls, "call")
        parts.append(f"The teacher's default is {ladder.default_solver} with {calls}.")
    return " ".join(parts)
