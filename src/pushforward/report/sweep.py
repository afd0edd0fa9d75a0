"""Quality against the time of training, for recipes that were trained for several budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

from pushforward.evaluation.measurements import SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, duration, listing
from pushforward.report.axes import far_apart
from pushforward.report.bars import bars_note, samplings
from pushforward.report.charts import Plot, Series, line_chart
from pushforward.report.curves import floor_band
from pushforward.report.facts import budget_of, scored_trainings
from pushforward.report.markup import framed, prose, scrolled, signs, split
from pushforward.report.sentences import Sentence, inside, named, verb
from pushforward.report.statistics import Statistic, best_of, metric_for, statistic
from pushforward.report.tables import Cell, Column, Row, Table, score_cell, score_column

__all__ = ["HEADING", "sweep", "sweep_note", "sweep_sentence", "sweep_table"]

HEADING = "Quality against the time of training"
NOTE = (
    "Each point is a training of its own, from its start to the end of its schedule, with one seed. A longer training has other "
    "learning rates and penalties at that time, and scores better or worse there. Nothing was measured between points."
)

BUT = ", but not measurably better than no network"
LEVEL = "models do not differ measurably"


@dataclass(frozen=True)
class Stage:
    """The scores of all recipes after one of the budgets.

    Args:
        time: The budget, in words.
        scores: Best first.
    """

    time: str
    scores: Sequence[Statistic]


def sweep(comparison: Comparison) -> str:
    """A chart of the score that ranks models against seconds of training; empty where nothing was trained for several budgets."""
    numbers = {model.name: number for number, model in enumerate(comparison.models)}
    metric, lines, drawn = _metric(comparison), [], []
    for name, points in comparison.sweep.items():
        scored = [(point.seconds, score) for point in points if (score := _score(comparison, name, point, metric)) is not None]
        known = [(seconds, score) for seconds, score in scored if seconds is not None]
        if known and name in numbers:
            seconds, statistics = zip(*known, strict=True)
            heights, bars = [score.value for score in statistics], [score.bar for score in statistics]
            lines.append(Series(name, numbers[name], seconds, heights, bars=bars))
            drawn += [point.scores[metric] for point in points if metric in point.scores]
    if not lines:
        return ""
    values = [value for line in lines for value in line.y if value is not None]
    info = comparison.info(metric)
    better = {"lower": ", lower is better", "higher": ", higher is better"}.get(info.better, "")
    plot = Plot(log_x=True, log_y=info.better == "lower" and far_apart(values))
    chart = line_chart(lines, "seconds of training", f"{info.label}{better}", plot, floor=floor_band(comparison, metric))
    legend = bars_note(comparison, drawn, f"from {samplings(comparison)} of one training")
    figure = framed(signs(comparison, {line.index for line in lines}), chart, legend)
    sentence = sweep_sentence(comparison)
    words = "" if sentence is None else f"<p>{prose(sentence.marked)}</p>"
    table = sweep_table(comparison)
    body = "" if table is None else scrolled(table, HEADING)
    return split(f"{words}<p>{escape(sweep_note(comparison))}</p>{body}", figure)


def sweep_note(comparison: Comparison) -> str:
    """What the points are, and which trainings the rest of the report shows."""
    trainings = scored_trainings(comparison)
    return f"{NOTE} Scores and samples elsewhere in this report: {trainings}." if trainings else NOTE


def sweep_table(comparison: Comparison) -> Table | None:
    """A line for each model and budget: the score that ranks models, the seconds trained and the steps; None without a sweep."""
    metric, rows = _metric(comparison), []
    for index, model in enumerate(comparison.models):
        for point in comparison.sweep.get(model.name, ()):
            score = score_cell(comparison, ModelResult(model.name, scores=point.scores), metric)
            cells = [Cell(budget_of(point)), score, Cell(duration(point.seconds)), Cell(count(point.steps))]
            rows.append(Row(model.name, cells, index=index))
    columns = [
        Column("Budget"),
        score_column(comparison, metric),
        Column("Trained", "Time inside training steps."),
        Column("Steps"),
    ]
    return Table(columns, rows) if rows else None


def sweep_sentence(comparison: Comparison) -> Sentence | None:
    """Which recipes lead after each of the budgets; None where nothing was trained for several."""
    metric, stages = _metric(comparison), _stages(comparison)
    if len(stages) < 2:
        return None
    base = statistic(comparison, comparison.baseline, metric)
    never = all(short for _, short in (_lead(stage, base) for stage in stages))
    clauses = [
        f"{lead} after {listing(stage.time for stage in group)}{_beside(lead) if short and not never else ''}"
        for (lead, short), group in groupby(stages, lambda stage: _lead(stage, base))
    ]
    label, after = inside(comparison.info(metric).label), " None of them is measurably better than no network." * never
    return Sentence("sweep", f"By time of training, in {label}: {'; '.join(clauses)} (one training of each).{after}", "sweep")


def _beside(lead: str) -> str:
    """What follows a clause none of whose leaders beats no network."""
    return ", and none measurably beats no network" if lead == LEVEL else BUT


def _lead(stage: Stage, base: Statistic | None) -> tuple[str, bool]:
    """Who is best after one of the budgets, by the rule of all comparisons, and whether no leader beats no network."""
    lead = best_of(stage.scores)
    ahead = [score for score in lead if base is None or score.better_than(base)]
    if len(lead) == len(stage.scores):
        return LEVEL, not ahead
    best = verb(lead, "leads", "lead") if ahead else f"{verb(lead, 'scores', 'score')} best"
    level = "" if len(lead) == 1 else ", with no measurable difference between them,"
    if 0 < len(ahead) < len(lead):
        level += f" though only {_names(ahead)} measurably {verb(ahead, 'beats', 'beat')} no network,"
    return f"{_names(lead)} {best}{level}", not ahead


def _names(scores: Sequence[Statistic]) -> str:
    return named([score.name for score in scores])


def _stages(comparison: Comparison) -> list[Stage]:
    """The budgets that all recipes were trained for, the shortest first."""
    metric, models = _metric(comparison), [model.name for model in comparison.models]
    rows = [points for name, points in comparison.sweep.items() if name in models]
    if len(rows) < 2 or len({len(points) for points in rows}) > 1:
        return []
    stages = []
    for number in range(len(rows[0])):
        points = {name: comparison.sweep[name][number] for name in models if name in comparison.sweep}
        scores = [_score(comparison, name, point, metric) for name, point in points.items()]
        known = sorted((score for score in scores if score is not None), key=lambda score: score.loss)
        seconds = [point.seconds for point in points.values() if point.seconds is not None]
        if len(known) == len(points) == len(seconds):
            budgets = {point.budget for point in points.values()}
            if len(budgets) > 1:
                return []  # of joined reports with other budgets
            stages.append(Stage(budget_of(SweepPoint(sum(seconds) / len(seconds), budget=budgets.pop())), known))
    return stages


def _score(comparison: Comparison, name: str, point: SweepPoint, metric: str) -> Statistic | None:
    row = next((model for model in comparison.models if model.name == name), ModelResult(name))
    score = statistic(comparison, replace(row, scores=point.scores, trainings=()), metric)
    return None if score is None else replace(score, comparisons=score.comparisons * len(comparison.sweep[name]))


def _metric(comparison: Comparison) -> str:
    """The score that ranks models, or the Fréchet distance where points of the sweep lack it."""
    known = {name for points in comparison.sweep.values() for point in points for name in point.scores}
    metric = metric_for(comparison, "quality")
    return metric if metric is not None and metric in known else "frechet"
