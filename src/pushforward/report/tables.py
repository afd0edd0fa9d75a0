"""The report's tables as rows of cells, for HTML, Markdown and text alike: scores, trajectories, losses by noise level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import bounded, count, finite, measured, plain
from pushforward.report.rounding import Stated, target_text
from pushforward.report.sentences import family_aside
from pushforward.report.statistics import (
    floor_of,
    floor_statistic,
    groups,
    guess_statistics,
    lacking,
    leaders,
    ratio_of,
    statistic,
    without_spread,
)

__all__ = [
    "ARROWS",
    "DIRECTIONS",
    "NO_NETWORK",
    "Cell",
    "Column",
    "Row",
    "Table",
    "figures",
    "level_points",
    "levels",
    "score_cell",
    "score_column",
    "scorecards",
    "trajectories",
    "turned",
]

ARROWS = {"↓": "lower is better", "↑": "higher is better", "→": "the value that is right, or that real data has"}
"""First signs of what a column says of better and worse, with their meaning."""
DIRECTIONS = {"lower": f"↓ {ARROWS['↓']}", "higher": f"↑ {ARROWS['↑']}"}
"""What stands beside a score."""
NO_NETWORK = "no network"
"""The short name of baselines."""
IS_RIGHT, IN_REAL = " is right", " in real data"
"""What follows the value of a "target" score: one that is right by itself, or what real data scores."""


@dataclass(frozen=True)
class Cell:
    """A value, its spread, a note beneath, whether it is best, and its interval, which stands in place of the spread."""

    value: str
    spread: str = ""
    note: str = ""
    best: bool = False
    interval: str = ""

    @property
    def beside(self) -> str:
        """The interval or the spread as it stands beside the value; empty where there is neither."""
        return f" {self.interval}" if self.interval else f" ± {self.spread}" if self.spread else ""

    @property
    def flat(self) -> str:
        """All on one line."""
        return self.value + self.beside + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and which way is better; ``paired`` keeps a column beside the one before it."""

    label: str
    what: str = ""
    hint: str = ""
    paired: bool = False

    @property
    def named(self) -> str:
        """The label, with an arrow where one way is better, or with the value that is right."""
        direction = (
            self.hint.removesuffix(IS_RIGHT)
            .removesuffix(IN_REAL)
            .removesuffix(" lower is better")
            .removesuffix(" higher is better")
        )
        return f"{self.label} {direction}" if direction[:1] in ARROWS else self.label


@dataclass(frozen=True)
class Row:
    """A line of kind "model", "floor", "baseline", "calls", "score" or "key"; ``index`` counts models, ``family`` is an aside."""

    name: str
    cells: Sequence[Cell]
    kind: str = "model"
    index: int = 0
    family: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows."""

    columns: Sequence[Column] = field(default_factory=list)
    rows: Sequence[Row] = field(default_factory=list)

    def of(self, chosen: Sequence[int]) -> Table:
        """Some of the columns."""
        rows = [Row(row.name, [row.cells[at] for at in chosen], row.kind, row.index, row.family) for row in self.rows]
        return Table([self.columns[at] for at in chosen], rows)

    @property
    def filled(self) -> Table:
        """The columns in which any row has a value."""
        return self.of([at for at in range(len(self.columns)) if any(row.cells[at].value != "–" for row in self.rows)])


def turned(table: Table) -> Table:
    """A scorecard of one model with a row for each score.

    Its columns are the model, real data, the ratio of the two, and the baselines; those without any value are left out.
    """
    (model,), (floor,), baselines = ([row for row in table.rows if row.kind == kind] for kind in ("model", "floor", "baseline"))
    rows = []
    for at, column in enumerate(table.columns):
        cell, guesses = model.cells[at], [row.cells[at] for row in baselines if row.cells[at].value != "–"]
        cells = [cell, floor.cells[at], Cell(cell.note or "–"), *(guesses or [Cell("–")])]
        rows.append(Row(column.named, cells[:4], "score"))
    return Table([Column(name) for name in (model.name or "model", "real data", "ratio", NO_NETWORK)], rows).filled


def scorecards(comparison: Comparison) -> list[tuple[str, Table]]:
    """One table for each group of scores that any model has, under the heading that their metrics declare."""
    return [(heading, _scorecard(comparison, metrics)) for heading, metrics in groups(comparison)]


def _scorecard(comparison: Comparison, metrics: Sequence[str]) -> Table:
    best = {metric: _best(comparison, metric) for metric in metrics}
    rows = []
    for at, model in enumerate(comparison.models):
        cells = [score_cell(comparison, model, metric, best[metric] == at) for metric in metrics]
        rows.append(Row(model.name, cells, "model", at, family_aside(model)))
    others = (row for row in (comparison.baseline, *comparison.further_baselines) if row is not None)
    rows += [Row(row.name, [score_cell(comparison, row, metric) for metric in metrics], "baseline") for row in others]
    rows += _guesses(comparison, metrics)
    floors = [figures(floor_statistic(comparison, metric), comparison.info(metric).unit == "%") for metric in metrics]
    rows.append(Row("real data against real data", floors, "floor"))
    return Table([score_column(comparison, metric) for metric in metrics], rows)


def _guesses(comparison: Comparison, metrics: Sequence[str]) -> list[Row]:
    """A row for each baseline that belongs to one metric, such as the uniform guess of bits per dimension."""
    return [
        Row(guess.name, [figures(guess if m == metric else None) for m in metrics], "baseline")
        for metric, guess in guess_statistics(comparison).items()
        if metric in metrics
    ]


def _best(comparison: Comparison, metric: str) -> int | None:
    """The number of the model that is measurably ahead of all others and of the no-network row.

    None where real data's score is the right one: nothing is best in a "target", nor with fewer near-copies than real data has;
    for a model that does not beat no network in the score that ranks models; and for a score without any spread.
    """
    if comparison.info(metric).better == "target" or without_spread(comparison, metric):
        return None
    lead = leaders(comparison, metric)
    scores = [statistic(comparison, model, metric) for model in comparison.models]
    base = statistic(comparison, comparison.baseline, metric)
    if len(lead) != 1 or sum(score is not None for score in scores) < 2 or lead[0].name in lacking(comparison):
        return None
    if metric == "near_copies" and lead[0].value < (floor_of(comparison, metric)[0] or 0.0):
        return None
    return scores.index(lead[0]) if base is None or lead[0].better_than(base) else None


def score_column(comparison: Comparison, metric: str) -> Column:
    """A score's heading: its label, what it means, and which way is better or which value is right."""
    info = comparison.info(metric)
    hint = DIRECTIONS.get(info.better, "")
    if info.better == "target":
        which = IN_REAL if info.target is None else IS_RIGHT
        hint = f"→ {value}{which}" if (value := target_text(comparison, metric)) else ""
    return Column(info.label or metric, info.what, hint if metric in comparison.metrics else "")


def score_cell(comparison: Comparison, row: ModelResult, metric: str, best: bool = False) -> Cell:
    """A score with its interval or spread, and its ratio to what real data scores; a dash where there is none."""
    score = statistic(comparison, row, metric)
    if score is not None and row.given and not score.spread:  # all samples were used each time
        score = replace(score, spread=None)
    is_share = comparison.info(metric).unit == "%"
    return figures(score, is_share, "" if is_share else _ratio(comparison, row, metric), best)


def figures(score: Stated | None, is_share: bool = False, note: str = "", best: bool = False) -> Cell:
    """A value with its interval, else with its spread, of a share in per cent; a dash where there is none."""
    if score is None or score.value is None:
        return Cell("–")
    factor, unit = (100, " %") if is_share else (1, "")
    if score.interval is not None:
        value, interval = bounded(factor * score.value, [factor * end for end in score.interval])
        return Cell(value, "", note, best, interval + unit)
    value, wide = measured(factor * score.value, None if score.spread is None else factor * score.spread)
    if is_share and not finite(wide):
        return Cell(value + unit, "", note, best)
    return Cell(value, wide and wide + unit, note, best)


def _ratio(comparison: Comparison, row: ModelResult, metric: str) -> str:
    ratio = ratio_of(row, metric)
    if ratio is None or ratio <= 0 or comparison.info(metric).better == "target":
        return ""
    return f"{plain(ratio, 2)}×"


def trajectories(comparison: Comparison) -> Table | None:
    """Straightness, transport cost and the number of trajectories of each model that has any; None where none has."""
    columns = [
        Column("Straightness", "How far trajectories are from straight lines at constant speed.", "↓ 0 is straight"),
        Column("NPE", "How much more is moved than has to be, relative to the least.", "↓ 0 is the least"),
        Column("Trajectories", "How many were measured."),
    ]
    rows = []
    for number, model in enumerate(comparison.models):
        path = model.trajectory
        if path is not None:
            texts = [plain(path.straightness), plain(path.npe), count(path.n)]
            rows.append(Row(model.name, [Cell(text) for text in texts], index=number))
    table = Table(columns, rows).filled
    return table if {columns[0], columns[1]} & set(table.columns) else None


def level_points(model: ModelResult) -> list[tuple[float, float, float | None]]:
    """Log-SNR, error and its spread, by falling log-SNR; what is not finite is left out."""
    levels = () if model.trajectory is None else model.trajectory.loss_by_level
    points = [
        (level.log_snr, level.error, level.spread) for level in levels if level.log_snr is not None and level.error is not None
    ]
    return sorted(points, key=lambda point: -point[0])


def levels(comparison: Comparison) -> Table | None:
    """The loss of each iterative model (columns) at each noise level (rows); None where no model has any."""
    by_name = {model.name: points for model in comparison.models if (points := level_points(model))}
    cells = {(name, level): Cell(*measured(error, spread)) for name, points in by_name.items() for level, error, spread in points}
    known = sorted({level for _, level in cells}, reverse=True)
    rows = [
        Row(f"{plain(math.exp(-level / 2))} (log-SNR {plain(level)})", [cells.get((name, level), Cell("–")) for name in by_name])
        for level in known
    ]
    return Table([Column(name) for name in by_name], rows) if rows else None
