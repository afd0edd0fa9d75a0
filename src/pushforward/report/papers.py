"""Scores for papers and notebooks: one CSV file, and LaTeX tables for the package booktabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.report import tables
from pushforward.report.statistics import floor_of, main_metrics, rows_of, statistic

# The columns of scores.csv. ``seed`` is that of one training run; ``other`` is the model that ``model`` is compared with, and
# ``clear`` says whether they are clearly apart
COLUMNS = (
    "model other seed metric value spread interval_low interval_high clear "
    "floor_value floor_spread budget_seconds trained_seconds"
).split()
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # How a cell begins that other programs compute
SIGNS = {"−": "$-$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$"}
SIGNS |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | dict.fromkeys("\\~^", " ")
LATEX = str.maketrans(SIGNS)
HEADING = """% Needs \\usepackage{booktabs}. Means with 95 % intervals in brackets, or with the standard deviation.
% Bold: clearly ahead of all other models and of no network. Differences in bold are clear; their
% intervals hold for all pairs of a score together.
"""


def csv_text(comparison: Comparison) -> str:
    """Every score of every model and training run, and the differences of all pairs, one a line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in [*_scores(comparison), *_differences(comparison)]:
        names = ["'" * name.startswith(FORMULA) + name for name in line[:2]]
        missing = [""] * (len(COLUMNS) - len(line))
        writer.writerow([*names, *line[2:], *missing])
    return buffer.getvalue()


def _scores(comparison: Comparison) -> Iterator[list[Any]]:
    for row in rows_of(comparison):
        points = comparison.sweep.get(row.name, ())
        longest = points[-1].budget if points else None
        parts = [(part, longest) for part in (row, *row.trainings)]
        parts += [(ModelResult(row.name, scores=point.scores), point.budget) for point in points[:-1]]
        for part, budget in parts:
            seed = part.seed if isinstance(part.seed, int) else None
            for metric in part.scores:
                score = statistic(comparison, part, metric)
                if score is not None:
                    measured = [score.value, score.spread, *(score.interval or ("", ""))]
                    floor = floor_of(comparison, metric)
                    yield [row.name, "", seed, metric, *measured, "", *floor, budget, part.training.seconds]


def _differences(comparison: Comparison) -> Iterator[list[Any]]:
    for metric, pairs in comparison.differences().items():
        for pair in pairs:
            clear = int(pair["ahead"] is not None)
            ends = _ends(pair) or ("", "")
            yield [pair["first"], pair["other"], "", metric, pair["difference"], "", *ends, clear]


def _ends(pair: Mapping[str, Any]) -> tuple[float, float] | None:
    difference, margin = pair["difference"], pair["margin"]
    return None if margin is None else (difference - margin, difference + margin)


def latex(comparison: Comparison) -> str:
    """A table for each group of scores, then each training run and the paired differences."""
    metrics = main_metrics(comparison)
    labels = [tables.score_column(comparison, metric).named for metric in metrics]
    parts = []
    for heading, card in tables.scorecards(comparison):
        lines = [[column.named, *(row.cells[at] for row in card.rows)] for at, column in enumerate(card.columns)]
        parts.append(_tabular(heading, [row.name for row in card.rows], lines))
    runs = [run for model in comparison.models for run in model.trainings]
    each = [[run.name, *(tables.score_cell(comparison, run, metric) for metric in metrics)] for run in runs]
    parts.append(_tabular("Training runs", labels, each))
    for metric, label in zip(metrics, labels, strict=True):
        lines = []
        for pair in comparison.differences()[metric]:
            score = Score(pair["difference"], interval=_ends(pair))
            is_share = comparison.info(metric).unit == "%"
            cell = tables.figures(score, is_share, best=pair["ahead"] is not None)
            lines.append([f"{pair['first']} − {pair['other']}", cell])
        parts.append(_tabular("Paired differences", [label], lines))
    return HEADING + "\n".join(filter(None, parts))


def _text(cell: tables.Cell | str) -> str:
    if isinstance(cell, str):
        return cell.translate(LATEX)
    value = cell.value.translate(LATEX)
    return (f"\\textbf{{{value}}}" if cell.best else value) + cell.beside.translate(LATEX)


def _tabular(heading: str, names: Sequence[str], lines: Iterable[Sequence[tables.Cell | str]]) -> str:
    """A booktabs table with a column for each name; empty without lines."""
    head, *body = (f"{' & '.join(map(_text, line))} \\\\" for line in [["", *names], *lines])
    rules = [f"% {heading}", f"\\begin{{tabular}}{{l{'r' * len(names)}}}", "\\toprule", head, "\\midrule", *body]
    return "\n".join([*rules, "\\bottomrule", "\\end{tabular}\n"]) if body else ""
