"""Scores as rows for data frames, CSV and LaTeX (with booktabs)."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pushforward.errors import imported
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.report import tables
from pushforward.report.statistics import (
    decimals_in,
    factor_of,
    groups,
    main_metrics,
    real_data_score_of,
    rows_of,
    statistic,
)

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


def difference_rows(comparison: Comparison) -> list[Record]:
    """Return a row for each score of each pair of models, with the interval of the difference."""
    rows = []
    for metric, pairs in comparison.differences().items():
        for pair in pairs:
            value = pair["difference"]
            margin = pair["margin"]
            row = {
                "model": pair["first"],
                "other": pair["other"],
                "metric": metric,
                "value": value,
                "clear": int(pair["ahead"] is not None),
            }
            if margin is not None:
                row |= {"interval_low": value - margin, "interval_high": value + margin}
            rows.append(row)
    return rows


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
    "real_data_value",
    "real_data_spread",
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
    for row in difference_rows(comparison):
        names = {"model": _safe(row["model"]), "other": _safe(row["other"])}
        writer.writerow(row | names)
    return buffer.getvalue()


def _score_lines(
    comparison: Comparison, name: str, run: ModelResult, budget: float | None
) -> Iterable[Record]:
    row = _score_row(comparison, run)
    for metric in run.scores:
        if metric in row:
            real_data_score, real_data_spread = real_data_score_of(comparison, metric)
            yield {
                "model": _safe(name),
                "seed": run.seed,
                "metric": metric,
                "value": row[metric],
                "spread": row[f"{metric}_spread"],
                "interval_low": row[f"{metric}_low"],
                "interval_high": row[f"{metric}_high"],
                "real_data_value": real_data_score,
                "real_data_spread": real_data_spread,
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
% Differences in bold are significant; their intervals hold jointly for all pairs of a score.
"""


def latex(comparison: Comparison) -> str:
    """Return tables of scores, training runs and paired differences."""
    real = ModelResult("real data", scores=comparison.real_data_scores)
    compared = [*rows_of(comparison), *comparison.further_baselines, real]
    lines = [["", *(_escaped(row.name) for row in compared)]]
    for _, metrics in groups(comparison):
        for metric in metrics:
            lines.append(_score_column(comparison, metric, compared))
    parts = [HEADING, _tabular("Scores", lines)]
    runs = [run for model in comparison.models for run in model.trainings]
    columns = [["", *(_escaped(run.name) for run in runs)]]
    for metric in main_metrics(comparison):
        columns.append(_score_column(comparison, metric, runs))
    parts.append(_tabular("Training runs", list(zip(*columns, strict=True))))
    for metric in main_metrics(comparison):
        parts.append(_tabular("Paired differences", _difference_lines(comparison, metric)))
    return "\n".join(filter(None, parts))


def _score_column(comparison: Comparison, metric: str, models: Sequence[ModelResult]) -> list[str]:
    cells = [_heading(comparison, metric)]
    best = tables.best(comparison, metric)
    decimals = decimals_in(comparison, metric)
    for model in models:
        score = statistic(comparison, model, metric)
        cells.append(_cell(comparison, metric, score, model.name == best, decimals))
    return cells


def _difference_lines(comparison: Comparison, metric: str) -> list[list[str]]:
    lines = [["", _heading(comparison, metric)]]
    for row in difference_rows(comparison):
        if row["metric"] == metric:
            names = _escaped(f"{row['model']} − {row['other']}")
            score = Score(row["value"])
            if "interval_low" in row:
                score = replace(score, interval=(row["interval_low"], row["interval_high"]))
            lines.append([names, _cell(comparison, metric, score, bool(row["clear"]))])
    return lines


def _heading(comparison: Comparison, metric: str) -> str:
    return _escaped(tables.score_column(comparison, metric).named)


def _cell(
    comparison: Comparison, metric: str, score: Any, bold: bool, decimals: int | None = None
) -> str:
    if score is None:
        return "–"
    factor = factor_of(comparison, metric)
    cell = tables.figures(tables.multiplied(score, factor), decimals=decimals)
    text = _escaped(cell.flat)
    if factor == 100:
        text += r" \%"
    if bold:
        text = f"\\textbf{{{text}}}"
    return text


def _escaped(text: str) -> str:
    return text.translate(LATEX)


def _tabular(heading: str, lines: Sequence[Sequence[str]]) -> str:
    if len(lines) < 2:
        return ""
    head, *body = [" & ".join(line) + " \\\\\n" for line in lines]
    begin = f"% {heading}\n\\begin{{tabular}}{{l{'r' * (len(lines[0]) - 1)}}}\n\\toprule\n"
    end = "\\bottomrule\n\\end{tabular}\n"
    return f"{begin}{head}\\midrule\n{''.join(body)}{end}"
