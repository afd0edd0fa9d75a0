"""Scores in few network calls compared with those of a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from pushforward.evaluation.intervals import NORMAL, Variation, Variations
from pushforward.evaluation.measurements import CurvePoint, Ladder
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import aligned, count, counted, plain
from pushforward.report.statistics import DIFFER, curve_metric, decimals_for, factor_of, with_spread
from pushforward.report.tables import Cell, Column, Row, Table, figures, score_column


@dataclass(frozen=True)
class Rung:
    """One score of a point of a curve over network calls.

    Args:
        calls: Network calls per sample.
        value: The mean over samplings.
        values: The value of each sampling.
        interval: The ends of the 95 % interval; None if unknown.
        sample_terms, reference_terms: Terms of the score; see
            `pushforward.evaluation.measurements.CurvePoint`.
    """

    calls: float
    value: float
    values: tuple[float | None, ...] = ()
    interval: tuple[float, ...] | None = None
    sample_terms: tuple[float, ...] = ()
    reference_terms: tuple[float, ...] = ()

    @property
    def spread(self) -> float | None:
        """The standard deviation over samplings; None for a single sampling."""
        values = [value for value in self.values if value is not None]
        if len(values) > 1:
            return stdev(values)
        return None

    @property
    def text(self) -> str:
        """The value with its interval or standard deviation."""
        return with_spread(self.value, self.spread, self.interval)

    def differs(self, other: Rung, least: float, comparisons: int = 1) -> bool:
        """Return whether two points with the same noise differ significantly; ``least`` is the minimum standard deviation."""
        margin = self._variations(least).margin(other._variations(least), comparisons)
        return abs(self.value - other.value) > margin

    def _variations(self, least: float) -> Variations:
        if self.sample_terms and self.reference_terms:
            return Variations(
                Variation.of_terms(self.sample_terms), Variation.of_terms(self.reference_terms)
            )
        if self.interval is not None:
            return Variations(Variation(((self.interval[1] - self.interval[0]) / 2 / NORMAL) ** 2))
        return Variations(Variation(max(self.spread or 0.0, least) ** 2))


def rung_of(point: CurvePoint | None, metric: str) -> Rung | None:
    """Return one score of a point; None if the point lacks it."""
    value = None if point is None else point.scores.get(metric)
    if point is None or point.calls is None or value is None:
        return None
    return Rung(
        point.calls,
        value,
        tuple(point.values.get(metric, ())),
        point.intervals.get(metric),
        point.sample_terms.get(metric, ()),
        point.reference_terms.get(metric, ()),
    )


def rungs_of(points: Sequence[CurvePoint], metric: str) -> list[Rung]:
    """Return one score of all points that have it, sorted by calls."""
    rungs = [rung for point in points if (rung := rung_of(point, metric)) is not None]
    return sorted(rungs, key=lambda rung: rung.calls)


def ladder_metric(comparison: Comparison) -> str:
    """Return the distance that tables of few calls show; the energy distance for tables of data."""
    metric = curve_metric(comparison)
    points = [
        point
        for model in comparison.models
        if model.ladder is not None
        for point in model.ladder.points
    ]
    if comparison.info(metric).better == "lower" and any(metric in p.scores for p in points):
        return metric
    return "energy"


def above(ladder: Ladder, metric: str, first: Rung, other: Rung) -> bool:
    """Return whether a score is significantly greater than another one."""
    return first.value > other.value and first.differs(
        other, width_of(ladder, metric), len(ladder.points)
    )


def width_of(ladder: Ladder, metric: str) -> float:
    """Return the standard deviation of real data's score at the n of the ladder."""
    return ladder.floors.get(metric, Score()).spread or 0.0


def ratio_text(ladder: Ladder, metric: str, first: Rung, own: Rung) -> str:
    """Format a ratio, such as ``1.2 times (1.0 to 1.4)``; empty if the denominator is not clearly above 0."""
    width = width_of(ladder, metric)
    if own.value <= DIFFER * max(width, 1e-12):
        return ""
    ratio = first.value / own.value
    wide = width / own.value
    each = [a / b for a, b in zip(first.values, own.values, strict=False) if a is not None and b]
    if len(each) > 1:
        wide = max(wide, stdev(each))
    low, high = (plain(max(0.0, ratio + side * DIFFER * wide), 2) for side in (-1, 1))
    return f"{plain(ratio, 2)} times ({low} to {high})"


def ladder_table(comparison: Comparison, model: ModelResult) -> Table | None:
    """Return the scores of a map and its teacher by number of calls; None for a model without a ladder."""
    ladder = model.ladder
    if ladder is None or not ladder.points:
        return None
    lines = _ladder_lines(ladder)
    columns: list[Column] = []
    texts: list[list[Cell]] = []
    for name in dict.fromkeys(name for point in ladder.points for name in point.scores):
        factor = factor_of(comparison, name)
        mapped = [rung_of(line.point, name) for line in lines]
        taught = [rung_of(line.teacher, name) for line in lines]
        decimals = decimals_for([rung for rung in (*mapped, *taught) if rung is not None], factor)
        floor = figures(ladder.floors.get(name), factor, decimals=decimals)
        column = score_column(comparison, name)
        columns += [column, replace(column, label=f"{column.label}, teacher")]
        texts.append([*(figures(rung, factor, decimals=decimals) for rung in mapped), floor])
        beside = [
            figures(rung, factor, line.note, decimals=decimals)
            for rung, line in zip(taught, lines, strict=True)
        ]
        texts.append([*beside, Cell("–")])
    columns.append(
        Column(
            "Distance to teacher (std)",
            "Root mean square distance to the teacher's samples from the same noise.",
        )
    )
    texts.append([Cell(text) for text in aligned([*(line.distance for line in lines), None], 2)])
    names = [(line.name, line.kind) for line in lines] + [("real data", "floor")]
    rows = [
        Row(name, cells, kind)
        for (name, kind), cells in zip(names, zip(*texts, strict=True), strict=True)
    ]
    return Table(columns, rows).filled


@dataclass(frozen=True)
class _Line:
    """A row of a ladder: a point of the map, the teacher with as many calls or fewer, and a note about the latter."""

    name: str
    kind: str
    point: CurvePoint | None
    teacher: CurvePoint | None
    distance: float | None
    note: str = ""


def _ladder_lines(ladder: Ladder) -> list[_Line]:
    lines = []
    for point in sorted(ladder.points, key=lambda point: point.calls or 0.0):
        fitting = [
            other for other in ladder.teacher if (other.calls or 0.0) <= (point.calls or 0.0)
        ]
        beside = max(fitting, key=lambda other: other.calls or 0.0, default=None)
        if beside is None or beside.calls == point.calls:
            note = ""
        else:
            note = counted(beside.calls, "call")
        lines.append(
            _Line(counted(point.calls, "call"), "calls", point, beside, point.distance, note)
        )
    shown = [*ladder.teacher]
    for other, name in ((ladder.own, "teacher"), (ladder.default, "teacher by default")):
        if other is not None and other not in shown:
            shown.append(other)
            lines.append(
                _Line(
                    f"{name}: {counted(other.calls, 'call')}",
                    "baseline",
                    None,
                    other,
                    other.distance,
                )
            )
    return lines


def ladder_how(ladder: Ladder) -> str:
    """Describe how the points of a ladder were measured, and what the map learned from its teacher."""
    parts = [f"The scores are based on {count(ladder.n)} samples."] if ladder.n else []
    if ladder.repeats and ladder.repeats > 1:
        parts.append(f"Each point was sampled {count(ladder.repeats)} times.")
    if ladder.own is not None and not ladder.finished:
        by = f" ({ladder.solver}, {counted(ladder.own.calls, 'call')})" if ladder.solver else ""
        parts.append(f"Learned from the teacher{by}: {ladder.learned or 'not recorded'}.")
    if ladder.default is not None and ladder.default != ladder.own:
        parts.append(
            f"The teacher's default is {ladder.default_solver} with {counted(ladder.default.calls, 'call')}."
        )
    return " ".join(parts)
