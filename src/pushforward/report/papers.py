"""Scores as rows for data frames, CSV and LaTeX (with booktabs)."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import Iterable, Sequence
from typing import Any

from pushforward.errors import imported
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.report import tables
from pushforward.report.statistics import factor_of, floor_of, main_metrics, rows_of, statistic

Record = dict[str, Any]  # values by column

# Rows -------------------------------------------------------------------------------------------


def score_rows(comparison: Comparison) -> list[Record]:
    """Return a row of scores, intervals and cost for each model."""
    return [_score_row(comparison, model) for model in comparison.models]


def _score_row(comparison: Comparison, model: ModelResult) -> Record:
    row: Record = {"model": model.name, "family": model.family, "seed": model.seed}
    for metric in model.scores:
        score = statistic(comparison, model, metric)
        if score is not None:
            low, high = score.interval or (None, None)
            row[metric] = score.value
            row[f"{metric}_spread"] = score.spread
            row[f"{metric}_low"] = low
            row[f"{metric}_high"] = high
    row["parameters"] = model.parameters
    row["training_steps"] = model.training.steps
    row["training_seconds"] = model.training.seconds
    row["network_calls"] = model.sampling.calls
    row["seconds_per_sample"] = model.sampling.seconds_per_sample
    return row


def frame(comparison: Comparison) -> Any:
    """Return `score_rows` as a data frame of pandas, or of polars if pandas is not installed.

    Raises:
        MissingExtra: If neither is installed.
    """
    rows = score_rows(comparison)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    if importlib.util.find_spec("pandas") is None and importlib.util.find_spec("polars"):
        return importlib.import_module("polars").DataFrame(columns)
    pandas = imported("pandas", "A data frame needs pandas or polars", "tables")
    return pandas.DataFrame(columns)


# CSV --------------------------------------------------------------------------------------------

# ``seed`` belongs to one training run, ``other`` is the model that ``model`` is compared with, and
# ``clear`` is 1 if the difference is significant
COLUMNS = (
    "model",
    "other",
    "seed",
    "metric",
    "value",
    "spread",
    "interval_low",
    "interval_high",
    "clear",
    "floor_value",
    "floor_spread",
    "budget_seconds",
    "trained_seconds",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of cells that other programs evaluate


def csv_text(comparison: Comparison) -> str:
    """Return scores, scores of training runs, and paired differences as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for model in rows_of(comparison):
        points = comparison.sweep.get(model.name, ())
        longest = points[-1].budget if points else None
        for run in (model, *model.trainings):
            writer.writerows(_score_lines(comparison, model.name, run, longest))
        for point in points[:-1]:
            run = ModelResult(scores=point.scores)
            writer.writerows(_score_lines(comparison, model.name, run, point.budget))
    for metric, pairs in comparison.differences().items():
        for pair in pairs:
            difference = _difference(pair)
            low, high = difference.interval or (None, None)
            line = {
                "model": _safe(pair["first"]),
                "other": _safe(pair["other"]),
                "metric": metric,
                "value": difference.value,
                "interval_low": low,
                "interval_high": high,
                "clear": int(pair["ahead"] is not None),
            }
            writer.writerow(line)
    return buffer.getvalue()


def _score_lines(
    comparison: Comparison, name: str, run: ModelResult, budget: float | None
) -> Iterable[Record]:
    row = _score_row(comparison, run)
    for metric in run.scores:
        if metric in row:
            floor, floor_spread = floor_of(comparison, metric)
            yield {
                "model": _safe(name),
                "seed": run.seed,
                "metric": metric,
                "value": row[metric],
                "spread": row[f"{metric}_spread"],
                "interval_low": row[f"{metric}_low"],
                "interval_high": row[f"{metric}_high"],
                "floor_value": floor,
                "floor_spread": floor_spread,
                "budget_seconds": budget,
                "trained_seconds": row["training_seconds"],
            }


def _safe(name: str) -> str:
    return "'" * name.startswith(FORMULA) + name


def _difference(pair: dict[str, float]) -> Score:
    value = pair["difference"]
    margin = pair["margin"]
    if margin is None:
        return Score(value)
    return Score(value, interval=(value - margin, value + margin))


# LaTeX ------------------------------------------------------------------------------------------

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


HEADING = """\
% Requires \\usepackage{booktabs}. Values are means with 95 % intervals in brackets, or with \
standard deviations.
% Scores in bold are significantly better than those of all other models and of the baseline.
% Differences in bold are significant; their intervals hold jointly for all pairs of a score.
"""


def latex(comparison: Comparison) -> str:
    """Return tables of scores, training runs and paired differences."""
    parts = [HEADING]
    for heading, card in tables.scorecards(comparison):
        lines = []
        for at, column in enumerate(card.columns):
            lines.append([column.named, *(row.cells[at] for row in card.rows)])
        parts.append(_tabular(heading, [row.name for row in card.rows], lines))
    runs = [run for model in comparison.models for run in model.trainings]
    for metric in main_metrics(comparison):
        label = tables.score_column(comparison, metric).named
        lines = [[run.name, tables.score_cell(comparison, run, metric)] for run in runs]
        parts.append(_tabular("Training runs", [label], lines))
        lines = []
        for pair in comparison.differences().get(metric, ()):  # none for a single score
            names = f"{pair['first']} − {pair['other']}"
            factor = factor_of(comparison, metric)
            significant = pair["ahead"] is not None
            lines.append([names, tables.figures(_difference(pair), factor, best=significant)])
        parts.append(_tabular("Paired differences", [label], lines))
    return "\n".join(parts)


def _text(cell: tables.Cell | str) -> str:
    if isinstance(cell, str):
        return cell.translate(LATEX)
    value = cell.value.translate(LATEX)
    if cell.best:
        value = f"\\textbf{{{value}}}"
    return value + cell.beside.translate(LATEX)


def _tabular(heading: str, names: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    if not lines:
        return ""
    head, *body = (" & ".join(map(_text, line)) for line in [["", *names], *lines])
    begin = f"% {heading}\n\\begin{{tabular}}{{l{'r' * len(names)}}}\n\\toprule\n"
    rows = " \\\\\n".join(body)
    end = "\\bottomrule\n\\end{tabular}\n"
    return f"{begin}{head} \\\\\n\\midrule\n{rows} \\\\\n{end}"
