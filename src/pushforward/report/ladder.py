"""The section on few calls: a map between two times beside its teacher, from the same noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from statistics import stdev

from pushforward.evaluation.measurements import CurvePoint, Ladder
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import counted, plain
from pushforward.report.axes import far_apart
from pushforward.report.charts import Plot, Series, line_chart
from pushforward.report.facts import named_run
from pushforward.report.map_captions import DIFFERENCE_NOTE, MOVED_NOTE, TIME_NOTE, ladder_note
from pushforward.report.markup import framed, panel, scrolled, side_by_side, sign, titled
from pushforward.report.path_charts import path_chart
from pushforward.report.rungs import Rung, how, in_words, rung_of, rungs_of, stretches
from pushforward.report.sentences import Sentence, inside, marked, warning
from pushforward.report.sprites import Look
from pushforward.report.statistics import THRESHOLDS, curve_metric
from pushforward.report.tables import DIRECTIONS, Cell, Column, Row, Table, figures

__all__ = ["claims", "how", "rises", "section", "table"]

DISTANCE = "From the teacher's samples of the same noise{}: root mean square, in standard deviations of the data; 0 is the same."
SHOWN_BEHIND = 400
"""Examples of real data behind points that are moved."""


def _metric(comparison: Comparison) -> str:
    """The distance that ladders show; the energy distance where they lack it, as those of tables do."""
    metric = curve_metric(comparison)
    points = [point for model in comparison.models if model.ladder is not None for point in model.ladder.points]
    return metric if comparison.info(metric).better == "lower" and any(metric in p.scores for p in points) else "energy"


def _width(ladder: Ladder, metric: str) -> float:
    """The spread of real data's score at the ladder's n."""
    floor = ladder.floors.get(metric)
    return 0.0 if floor is None or floor.spread is None else floor.spread


def _above(ladder: Ladder, metric: str, first: Rung, other: Rung) -> bool:
    """Whether a score is measurably greater than another one."""
    return first.value > other.value and first.differs(other, _width(ladder, metric), len(ladder.points))


# Sentences ------------------------------------------------------------------------------------------------------


def claims(comparison: Comparison) -> Iterator[Sentence]:
    """How each map compares with its teacher: the ratio in one call, and from how many calls it is no worse."""
    metric = _metric(comparison)
    for model in comparison.models:
        ladder = model.ladder
        own = None if ladder is None else rung_of(ladder.own, metric)
        rungs = [] if ladder is None else rungs_of(ladder.points, metric)
        if ladder is not None and model.weights_step == 0:
            start = f"its teacher{named_run(comparison, ladder.teacher_run)}".rstrip(",")
            text = f"The finish of {marked(model.name)} gained nothing: its weights are those of its start, {start}."
            yield Sentence("calls", text, "ladder")
        elif ladder is not None and own is not None and rungs:
            label, by = inside(comparison.info(metric).label), f" ({ladder.solver})" if ladder.solver else ""
            who = f"In {in_words(rungs[0].calls)} {marked(model.name)}"
            teacher = f"its teacher{named_run(comparison, ladder.teacher_run)} in {in_words(own.calls)}{by}"
            ratio = _ratio(ladder, metric, rungs[0], own)
            text = f"{who} has {ratio} the {label} of {teacher}: {rungs[0].text} against {own.text}"
            if not ratio:
                text = f"{who} scores {rungs[0].text} in {label}, and {teacher} {own.text}"
            follows = _from(ladder, metric, rungs, own) + _equal_calls(ladder, metric, rungs[0], own) + _default(ladder, metric)
            yield Sentence("calls", f"{text}, from the same noise. {follows}", "ladder")


def _ratio(ladder: Ladder, metric: str, first: Rung, own: Rung) -> str:
    """Such as ``1.2 times (1.0 to 1.4)``; empty where the teacher's value is within noise of 0, so that it means nothing."""
    width = _width(ladder, metric)
    if own.value <= THRESHOLDS["differ"] * max(width, 1e-12):
        return ""
    ratio, wide = first.value / own.value, width / own.value
    each = [a / b for a, b in zip(first.values, own.values, strict=False) if a is not None and b]
    wide = max(wide, stdev(each)) if len(each) > 1 else wide
    low, high = (max(0.0, ratio + side * THRESHOLDS["differ"] * wide) for side in (-1, 1))
    digits = 2 if plain(low, 2) != plain(high, 2) else 3
    return f"{plain(ratio, digits)} times ({plain(low, digits)} to {plain(high, digits)})"


def _from(ladder: Ladder, metric: str, rungs: Sequence[Rung], own: Rung) -> str:
    worse = [_above(ladder, metric, rung, own) for rung in rungs]
    first = next((number + 1 for number in reversed(range(len(worse))) if worse[number]), 0)
    than = f"than the teacher in {in_words(own.calls)}."
    if all(worse):
        return f"In up to {in_words(rungs[-1].calls)} it stays measurably worse {than}"
    if first == len(rungs):
        ahead = [rung.calls <= own.calls and _above(ladder, metric, own, rung) for rung in rungs]
        return f"{stretches(rungs, ahead, worse)} {than}"
    start = f"From {in_words(rungs[first].calls)} on" if first else f"Already in {in_words(rungs[0].calls)}"
    better = own.calls == rungs[0].calls and not first and _above(ladder, metric, own, rungs[0])
    return f"{start} it is {'' if better else 'not '}measurably {'better' if better else 'worse'} {than}"


def _equal_calls(ladder: Ladder, metric: str, first: Rung, own: Rung) -> str:
    """The teacher in as few calls as the map's first point; empty where that was not measured or is its own point."""
    taught = next((rung for rung in rungs_of(ladder.teacher, metric) if rung.calls == first.calls != own.calls), None)
    return "" if taught is None else f" In {in_words(first.calls)} the teacher itself has {taught.text}."


def _default(ladder: Ladder, metric: str) -> str:
    """The teacher as its own run samples; empty where that is not known or is that of the map's training."""
    if ladder.default == ladder.own or (default := rung_of(ladder.default, metric)) is None:
        return ""
    return (
        f" By the default of its own run, {ladder.default_solver} in {in_words(default.calls)}, the teacher has {default.text}."
    )


def rises(comparison: Comparison) -> Iterator[Sentence]:
    """Warnings: a curve over calls that rises, and coverage that is lost on the way from the teacher."""
    metric = _metric(comparison)
    for model in comparison.models:
        if model.ladder is not None:
            yield from _rising(comparison, model, model.ladder, metric)
            yield from _uncovered(model, model.ladder)


def _rising(comparison: Comparison, model: ModelResult, ladder: Ladder, metric: str) -> Iterator[Sentence]:
    rungs = rungs_of(ladder.points, metric)
    best = min(rungs, key=lambda rung: rung.value, default=None)
    later = [] if best is None else [rung for rung in rungs if rung.calls > best.calls and _above(ladder, metric, rung, best)]
    if best is not None and later:
        worst = max(later, key=lambda rung: rung.value)
        yield warning(
            f"More calls make {marked(model.name)} worse: its {inside(comparison.info(metric).label)} rises from {best.text} in "
            f"{in_words(best.calls)} to {worst.text} in {in_words(worst.calls)}, by more than noise. A map that agrees with "
            f"itself does not; one that was trained to jump to data alone may. Sample it in {in_words(best.calls)}, "
            "choose an earlier checkpoint, or train longer at more pairs of times.",
            "ladder",
        )


def _uncovered(model: ModelResult, ladder: Ladder) -> Iterator[Sentence]:
    first, own = next(iter(rungs_of(ladder.points, "coverage")), None), rung_of(ladder.own, "coverage")
    if first is not None and own is not None and _above(ladder, "coverage", own, first):
        yield warning(
            f"In {in_words(first.calls)} {marked(model.name)} covers measurably less of the data than its teacher in "
            f"{in_words(own.calls)}: coverage {first.text} against {own.text}.",
            "ladder",
        )


# Table ----------------------------------------------------------------------------------------------------------


def table(comparison: Comparison, model: ModelResult) -> Table | None:
    """Scores by the number of calls, the map beside its teacher; None for a model without a ladder."""
    ladder = model.ladder
    if ladder is None or not ladder.points:
        return None
    names = list(dict.fromkeys(name for point in ladder.points for name in point.scores))
    taught = bool(ladder.teacher or ladder.own)
    columns = []
    for name in names:
        info = comparison.info(name)
        columns.append(Column(info.label, info.what, DIRECTIONS.get(info.better, "")))
        columns += [_taught(columns[-1])] if taught else []
    columns += [Column("Distance to teacher (std)", DISTANCE.format(_in_calls(ladder)), "0: the same samples")] if taught else []
    rows = []
    for point in sorted(ladder.points, key=lambda point: point.calls or 0.0):
        rows.append(Row(counted(point.calls, "call"), _cells(names, point, _beside(ladder, point), taught), "calls"))
    if ladder.own is not None and ladder.own not in ladder.teacher:
        rows.append(Row(f"teacher: {counted(ladder.own.calls, 'call')}", _cells(names, None, ladder.own, taught), "baseline"))
    if ladder.default is not None and ladder.default != ladder.own:
        name = f"teacher by its own default: {counted(ladder.default.calls, 'call')}"
        rows.append(Row(name, _cells(names, None, ladder.default, taught, ladder.default.distance), "baseline"))
    floors = [cell for name in names for cell in (figures(ladder.floors.get(name)), *[Cell("–")] * taught)]
    return Table(columns, [*rows, Row("real data", [*floors, *[Cell("–")] * taught], "floor")])


def _in_calls(ladder: Ladder) -> str:
    """In how many calls the teacher draws the samples from which distance is measured."""
    if ladder.finished:
        return " in as many calls"
    return "" if ladder.own is None or ladder.own.calls is None else f" in {in_words(ladder.own.calls)}"


def _taught(column: Column) -> Column:
    """The teacher's column of a score, which stands beside the map's."""
    return Column(f"{column.label}, teacher", f"{column.what} Of the teacher.".strip(), column.hint, paired=True)


def _beside(ladder: Ladder, point: CurvePoint) -> CurvePoint | None:
    """The teacher in the most calls that are no more than a point's."""
    fitting = [other for other in ladder.teacher if (other.calls or 0.0) <= (point.calls or 0.0)]
    return max(fitting, key=lambda other: other.calls or 0.0, default=None)


def _cells(
    names: Sequence[str], point: CurvePoint | None, beside: CurvePoint | None, taught: bool, distance: float | None = None
) -> list[Cell]:
    cells = []
    for name in names:
        cells.append(figures(rung_of(point, name)))
        fewer = beside is not None and point is not None and beside.calls != point.calls
        note = in_words(beside.calls or 0.0) if fewer and beside else ""
        cells += [figures(rung_of(beside, name), note=note)] if taught else []
    distance = distance if point is None else point.distance
    return cells + ([Cell("–" if distance is None else plain(distance, 2))] if taught else [])


# The section ----------------------------------------------------------------------------------------------------


def section(comparison: Comparison, look: Look) -> str:
    """Chart, table, time to quality and difference pictures of every map; empty where no model is one."""
    parts = [
        f"<h3>{titled(model, number)}</h3>{body}"
        for number, model in enumerate(comparison.models)
        if (body := _body(comparison, number, model, look))
    ]
    return f"<p>{escape(ladder_note(comparison))}</p>{''.join(parts)}" if parts else ""


def _body(comparison: Comparison, index: int, model: ModelResult, look: Look) -> str:
    scores, ladder = table(comparison, model), model.ladder
    if scores is None or ladder is None:
        return ""
    body = _chart(comparison, index, model.name, ladder) + scrolled(scores, f"Few calls of {model.name}")
    return f'{body}<p class="note">{escape(how(ladder))}</p>{_times(index, model)}{_pictures(index, model, look)}'


def _chart(comparison: Comparison, index: int, name: str, ladder: Ladder) -> str:
    metric = _metric(comparison)
    rungs, taught, own = rungs_of(ladder.points, metric), rungs_of(ladder.teacher, metric), rung_of(ladder.own, metric)
    lines = [Series(name, index, [rung.calls for rung in rungs], [rung.value for rung in rungs], style="solid")]
    if taught:
        calls, values = [rung.calls for rung in taught], [rung.value for rung in taught]
        lines.append(Series("teacher", index + 1, calls, values, style="dashed"))
    if own is not None:
        by = f"teacher by {ladder.solver}" if ladder.solver else "teacher"
        lines.append(Series(by, index + 1, [own.calls], [own.value], line=False))
    if ladder.default != ladder.own and (default := rung_of(ladder.default, metric)) is not None:
        by = f"teacher by its own default, {ladder.default_solver}"
        lines.append(Series(by, index + 1, [default.calls], [default.value], line=False))
    values = [y for line in lines for y in line.y if y is not None and y > 0]
    floor = ladder.floors.get(metric)
    band = None if floor is None or floor.value is None else (floor.value, THRESHOLDS["differ"] * (floor.spread or 0.0) / 2**0.5)
    values += [band[0]] if band is not None and band[0] > 0 else []
    plot = Plot(log_x=True, log_y=far_apart(values))
    chart = line_chart(lines, "network calls for one sample", comparison.info(metric).label, plot, floor=band)
    names = [name, *(["its teacher"] if taught or own else [])]
    return framed(_legend(index, names), chart) if chart else ""


def _legend(index: int, names: Sequence[str]) -> str:
    """The signs of lines that are no models, counted from the model's own."""
    items = "".join(f"<li>{sign(index + number)}{escape(name)}</li>" for number, name in enumerate(names))
    return f'<ul class="legend" style="margin:.4rem 0 1rem">{items}</ul>'


def _times(index: int, model: ModelResult) -> str:
    """Quality in 1, 2 and 4 calls against seconds of training; empty where it was not measured."""
    series = {} if model.health is None else model.health.series
    known = [(calls, series[name]) for calls, name in ((1, "frechet"), (2, "frechet_2"), (4, "frechet_4")) if name in series]
    timed = [(calls, row) for calls, row in known if len(row.seconds) > 1]
    lines = [Series(in_words(calls), index + at, row.seconds, row.value) for at, (calls, row) in enumerate(timed)]
    if not lines:
        return ""
    plot = Plot(height=300, log_y=True)
    chart = line_chart(lines, "seconds of training", "Fréchet distance while training", plot)
    note = f"{TIME_NOTE} {_reached(timed[0][1].seconds, timed[0][1].value)}".strip()
    return framed(_legend(index, [line.name for line in lines]), chart, note)


def _reached(seconds: Sequence[float | None], values: Sequence[float | None]) -> str:
    """When the distance in one call was first within a tenth of the best one."""
    marks = [(at, value) for at, value in zip(seconds, values, strict=False) if at is not None and value is not None]
    if not marks:
        return ""
    best = min(value for _, value in marks)
    first = next(at for at, value in marks if value <= 1.1 * best)
    return f"In one call the distance was first within a tenth of its best ({plain(best, 2)}) after {plain(first, 2)} s."


def _pictures(index: int, model: ModelResult, look: Look) -> str:
    images, factor = look.pair(model.name, index)
    if images:
        enlarged = f" × {factor}" if factor > 1 else ""
        titles = ("in one call", "its teacher", f"|difference|{enlarged}")
        panels = [panel(title, image, f"{model.name}: {title}") for title, image in zip(titles, images, strict=True)]
        return f'<p class="note">{escape(DIFFERENCE_NOTE)}</p>{side_by_side(panels)}'
    lines = look.moved(model.name)
    if lines is None:
        return ""
    behind = None if look.behind is None else look.behind[:SHOWN_BEHIND]
    chart = path_chart(lines, behind, look.limits, index, f"From the teacher's points to those of {model.name} in one call", 480)
    figure = f'<figure><p class="figtitle">{titled(model, index)}</p><div class="frame">{chart}</div></figure>'
    return f'<p class="note">{escape(MOVED_NOTE)}</p><div class=ways>{side_by_side([figure])}</div>'
