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
from pushforward.report import tables
from pushforward.report.statistics import (
    factor_of,
    floor_of,
    groups,
    rows_of,
    statistic,
    with_spread,
)

Record = dict[str, Any]  # values by column

# Rows -------------------------------------------------------------------------------------------


def score_rows(comparison: Comparison) -> list[Record]:
    """Return a row of scores, intervals and cost for each model."""
    rows = []
    for model in comparison.models:
        rows.append(_score_row(comparison, model))
    return rows


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
            value = pair["difference"]
            margin = pair["margin"]
            line = {
                "model": _safe(pair["first"]),
                "other": _safe(pair["other"]),
                "metric": metric,
                "value": value,
                "clear": int(pair["ahead"] is not None),
            }
            if margin is not None:
                line |= {"interval_low": value - margin, "interval_high": value + margin}
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
"""


def latex(comparison: Comparison) -> str:
    """Return a table with the scores of all models and of the baseline."""
    rows = [_score_row(comparison, row) for row in rows_of(comparison)]
    lines = [_line(["", *(row["model"] for row in rows)]), "\\midrule"]
    metrics = [metric for _, names in groups(comparison) for metric in names]
    for metric in metrics:
        cells = []
        best = tables.best(comparison, metric)
        for row in rows:
            cell = _escaped(_score_text(row, metric, factor_of(comparison, metric)))
            if row["model"] == best:
                cell = f"\\textbf{{{cell}}}"
            cells.append(cell)
        lines.append(_line([tables.score_column(comparison, metric).named], cells))
    begin = f"\\begin{{tabular}}{{l{'r' * len(rows)}}}\n\\toprule\n"
    end = "\n\\bottomrule\n\\end{tabular}\n"
    return HEADING + begin + "\n".join(lines) + end


def _line(texts: Sequence[str], cells: Sequence[str] = ()) -> str:
    return " & ".join([*map(_escaped, texts), *cells]) + " \\\\"


def _escaped(text: str) -> str:
    return text.translate(LATEX)


def _score_text(row: Record, metric: str, factor: int) -> str:
    value = row.get(metric)
    if value is None:
        return "–"
    low = row[f"{metric}_low"]
    high = row[f"{metric}_high"]
    spread = row[f"{metric}_spread"]
    interval = None if low is None else (factor * low, factor * high)
    spread = None if spread is None else factor * spread
    text = with_spread(factor * value, spread, interval)
    return f"{text} %" if factor == 100 else text
