"""Scores for papers and notebooks: one CSV file, and LaTeX tables that require the package booktabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.report import tables
from pushforward.report.statistics import factor_of, floor_of, main_metrics, rows_of, statistic

# Columns of scores.csv: ``seed`` belongs to one training run, ``other`` is the model that ``model``
# is compared with, and ``clear`` is 1 if the difference is significant
COLUMNS = (
    "model other seed metric value spread interval_low interval_high clear "
    "floor_value floor_spread budget_seconds trained_seconds"
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # First characters of cells that other programs evaluate
SIGNS = {
    "−": "$-$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "\\": " ",
    "^": r"\^{}",
    "~": r"\~{}",
    "[": "{[}",
}
LATEX = str.maketrans(SIGNS | {sign: f"\\{sign}" for sign in "&%$#_{}"})
HEADING = """% Requires \\usepackage{booktabs}. Values are means with 95 % intervals in brackets, or with standard deviations.
% Scores in bold are significantly better than those of all other models and of the baseline.
% Differences in bold are significant; their intervals hold jointly for all pairs of a score.
"""


def csv_text(comparison: Comparison) -> str:
    """Return one line for each score of each model and training run, and for the difference of each pair."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS.split())
    for row in rows_of(comparison):
        name = _safe(row.name)
        points = comparison.sweep.get(row.name, ())
        longest = points[-1].budget if points else None
        parts = [(part, longest) for part in (row, *row.trainings)]
        parts += [(ModelResult(scores=point.scores), point.budget) for point in points[:-1]]
        for part, budget in parts:
            for metric in part.scores:
                score = statistic(comparison, part, metric)
                if score is None:
                    continue
                ends = score.interval or ("", "")
                floor = floor_of(comparison, metric)
                seconds = part.training.seconds
                writer.writerow(
                    [
                        name,
                        "",
                        part.seed,
                        metric,
                        score.value,
                        score.spread,
                        *ends,
                        "",
                        *floor,
                        budget,
                        seconds,
                    ]
                )
    for metric, pairs in comparison.differences().items():
        for pair in pairs:
            names = [_safe(pair["first"]), _safe(pair["other"])]
            difference = _difference(pair)
            interval = difference.interval or ("", "")
            clear = int(pair["ahead"] is not None)
            writer.writerow(
                [*names, "", metric, difference.value, "", *interval, clear, "", "", "", ""]
            )
    return buffer.getvalue()


def _safe(name: str) -> str:
    return "'" * name.startswith(FORMULA) + name


def _difference(pair: dict[str, float]) -> Score:
    value = pair["difference"]
    margin = pair["margin"]
    return Score(value, interval=None if margin is None else (value - margin, value + margin))


def latex(comparison: Comparison) -> str:
    """Return a table for each group of scores, and tables of training runs and of paired differences."""
    parts = [HEADING]
    for heading, card in tables.scorecards(comparison):
        lines = [
            [column.named, *(row.cells[at] for row in card.rows)]
            for at, column in enumerate(card.columns)
        ]
        parts.append(_tabular(heading, [row.name for row in card.rows], lines))
    runs = [run for model in comparison.models for run in model.trainings]
    for metric in main_metrics(comparison):
        label = tables.score_column(comparison, metric).named
        factor = factor_of(comparison, metric)
        each = [[run.name, tables.score_cell(comparison, run, metric)] for run in runs]
        parts.append(_tabular("Training runs", [label], each))
        differences = [
            [
                f"{pair['first']} − {pair['other']}",
                tables.figures(_difference(pair), factor, best=pair["ahead"] is not None),
            ]
            for pair in comparison.differences()[metric]
        ]
        parts.append(_tabular("Paired differences", [label], differences))
    return "\n".join(parts)


def _text(cell: tables.Cell | str) -> str:
    if isinstance(cell, str):
        return cell.translate(LATEX)
    value = cell.value.translate(LATEX)
    return (f"\\textbf{{{value}}}" if cell.best else value) + cell.beside.translate(LATEX)


def _tabular(heading: str, names: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Return a booktabs table with a column for each name; empty without lines."""
    head, *body = (" & ".join(map(_text, line)) for line in [["", *names], *lines])
    begin = f"% {heading}\n\\begin{{tabular}}{{l{'r' * len(names)}}}\n\\toprule\n"
    rows = " \\\\\n".join(body)
    if body:
        return f"{begin}{head} \\\\\n\\midrule\n{rows} \\\\\n\\bottomrule\n\\end{{tabular}}\n"
    return ""
