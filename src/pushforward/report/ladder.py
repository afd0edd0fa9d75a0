"""Scores of a map between two times in few calls, beside its teacher's from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from pushforward.evaluation.intervals import NORMAL, half_width
from pushforward.evaluation.measurements import CurvePoint, Ladder
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import counted, plain
from pushforward.report.statistics import DIFFER, curve_metric, with_spread
from pushforward.report.tables import Cell, Column, Row, Table, figures, score_column


@dataclass(frozen=True)
class Rung:
    """One score of a point of a curve over network calls.

    Args:
        calls: Network calls for one sample.
        value: The mean over samplings.
        values: One for each sampling.
        interval: The ends of the 95 % interval; None where there is none.
        steps: Of the solver; None where unknown.
    """

    calls: float
    value: float
    values: tuple[float | None, ...] = ()
    interval: tuple[float, ...] | None = None
    steps: float | None = None

    @property
    def spread(self) -> float | None:
        """Over samplings; None for a single one."""
        values = [value for value in self.values if value is not None]
        return stdev(values) if len(values) > 1 else None

    @property
    def error(self) -> float | None:
        """The standard error of its interval, which holds that of held-out examples; None where there is none."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2 / NORMAL

    @property
    def text(self) -> str:
        """The value with its interval, else with its spread over samplings."""
        return with_spread(self.value, self.spread, self.interval)

    def differs(self, other: Rung, least: float, comparisons: int = 1) -> bool:
        """Whether two points differ measurably, whose samplings have the same noise; ``least`` is real data's spread."""
        first, second = (Score(each.value, each.spread, each.error, each.values, reference_error=0.0) for each in (self, other))
        return abs(self.value - other.value) > half_width(first, second, (least, least), True, comparisons)


def rung_of(point: CurvePoint | None, metric: str) -> Rung | None:
    """One score of a point; None where it has none."""
    value = None if point is None else point.scores.get(metric)
    if point is None or point.calls is None or value is None:
        return None
    return Rung(point.calls, value, tuple(point.values.get(metric, ())), point.intervals.get(metric), point.steps)


def rungs_of(points: Sequence[CurvePoint], metric: str) -> list[Rung]:
    """One score of all points that have it, by calls."""
    rungs = [rung for point in points if (rung := rung_of(point, metric)) is not None]
    return sorted(rungs, key=lambda rung: rung.calls)


def ladder_metric(comparison: Comparison) -> str:
    """The distance that ladders show; the energy distance where they lack it, as those of tables do."""
    metric = curve_metric(comparison)
    points = [point for model in comparison.models if model.ladder is not None for point in model.ladder.points]
    return metric if comparison.info(metric).better == "lower" and any(metric in p.scores for p in points) else "energy"


def above(ladder: Ladder, metric: str, first: Rung, other: Rung) -> bool:
    """Whether a score is measurably greater than another one."""
    return first.value > other.value and first.differs(other, width_of(ladder, metric), len(ladder.points))


def width_of(ladder: Ladder, metric: str) -> float:
    """The spread of real data's score at the ladder's n."""
    floor = ladder.floors.get(metric)
    return 0.0 if floor is None or floor.spread is None else floor.spread


def ratio_text(ladder: Ladder, metric: str, first: Rung, own: Rung) -> str:
    """Such as ``1.2 times (1.0 to 1.4)``; empty where the teacher's value is within noise of 0, so that it means nothing."""
    width = width_of(ladder, metric)
    if own.value <= DIFFER * max(width, 1e-12):
        return ""
    ratio, wide = first.value / own.value, width / own.value
    each = [a / b for a, b in zip(first.values, own.values, strict=False) if a is not None and b]
    wide = max(wide, stdev(each)) if len(each) > 1 else wide
    low, high = (plain(max(0.0, ratio + side * DIFFER * wide), 2) for side in (-1, 1))
    return f"{plain(ratio, 2)} times ({low} to {high})"


def ladder_table(comparison: Comparison, model: ModelResult) -> Table | None:
    """Scores by the number of calls, the map beside its teacher; None for a model without a ladder."""
    ladder = model.ladder
    if ladder is None or not ladder.points:
        return None
    names = list(dict.fromkeys(name for point in ladder.points for name in point.scores))
    taught = bool(ladder.teacher or ladder.own)
    columns = []
    for name in names:
        column = score_column(comparison, name)
        columns += [column, *[Column(f"{column.label}, teacher", column.what, column.hint)] * taught]
    columns += [Column("Distance to teacher (std)", "Root mean square, from the teacher's samples of the same noise.")] * taught
    rows = []
    for point in sorted(ladder.points, key=lambda point: point.calls or 0.0):
        fitting = [other for other in ladder.teacher if (other.calls or 0.0) <= (point.calls or 0.0)]
        beside = max(fitting, key=lambda other: other.calls or 0.0, default=None)
        rows.append(Row(counted(point.calls, "call"), _ladder_cells(names, point, beside, taught, point.distance), "calls"))
    for other, name in ((ladder.own, "teacher"), (ladder.default, "teacher by its own default")):
        if other is not None and other not in ladder.teacher and not (other is ladder.default and other == ladder.own):
            rows.append(
                Row(f"{name}: {counted(other.calls, 'call')}", _ladder_cells(names, None, other, taught, other.distance), "baseline")
            )
    floors = [cell for name in names for cell in (figures(ladder.floors.get(name)), *[Cell("–")] * taught)]
    return Table(columns, [*rows, Row("real data", [*floors, *[Cell("–")] * taught], "floor")])


def _ladder_cells(
    names: Sequence[str], point: CurvePoint | None, beside: CurvePoint | None, taught: bool, distance: float | None
) -> list[Cell]:
    cells = []
    for name in names:
        fewer = beside is not None and point is not None and beside.calls != point.calls
        note = counted(beside.calls, "call") if fewer and beside else ""
        cells += [figures(rung_of(point, name)), *[figures(rung_of(beside, name), note=note)] * taught]
    return cells + [Cell("–" if distance is None else plain(distance, 2))] * taught


def ladder_how(ladder: Ladder) -> str:
    """How the points of a ladder were measured, and what its training learned of its teacher."""
    parts = [f"n = {ladder.n:,}" if ladder.n else "", f"samplings of each point: {ladder.repeats}" if ladder.repeats else ""]
    if ladder.own is not None and not ladder.finished:
        by = f" ({ladder.solver}, {counted(ladder.own.calls, 'call')})" if ladder.solver else ""
        parts.append(f"learned of the teacher{by}: {ladder.learned or 'not recorded'}")
    if ladder.default is not None and ladder.default != ladder.own:
        parts.append(f"the teacher's own default: {ladder.default_solver}, {counted(ladder.default.calls, 'call')}")
    return "; ".join(filter(None, parts))
