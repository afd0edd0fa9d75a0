"""The tables of a report as rows of cells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pushforward.evaluation.measurements import SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import (
    aligned,
    count,
    counts,
    duration,
    durations,
    finite,
    listing,
    mean_and_interval,
    mean_and_std,
    plural,
)
from pushforward.report.statistics import (
    decimals_in,
    factor_of,
    groups,
    guess_statistics,
    main_metrics,
    real_data_score_of,
    real_data_statistic,
    statistic,
    statistics,
    target_text,
    times_real,
    unproven,
)


@dataclass(frozen=True)
class Cell:
    """A value with its standard deviation or interval, and a note."""

    value: str
    spread: str = ""
    note: str = ""
    best: bool = False
    interval: str = ""

    @property
    def beside(self) -> str:
        """The interval or standard deviation, as written after the value."""
        if self.interval:
            return f" {self.interval}"
        if self.spread:
            return f" ± {self.spread}"
        return ""

    @property
    def flat(self) -> str:
        """The cell on one line."""
        note = f" ({self.note})" if self.note else ""
        return f"{self.value}{self.beside}{note}"


EMPTY = Cell("–")


@dataclass(frozen=True)
class Column:
    """A heading, its explanation, and an arrow to the better or correct value."""

    label: str
    what: str = ""
    hint: str = ""

    @property
    def named(self) -> str:
        """The label with the arrow."""
        return f"{self.label} {self.hint}".strip()


@dataclass(frozen=True)
class Row:
    """A row of kind "model", "real data", "baseline", "calls", "score" or "key"."""

    name: str
    cells: Sequence[Cell]
    kind: str = "model"
    index: int = 0
    family: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows, with an optional note below; false without rows."""

    columns: Sequence[Column] = field(default_factory=list)
    rows: Sequence[Row] = field(default_factory=list)
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.rows)

    @property
    def filled(self) -> Table:
        """The table without empty columns."""
        columns = []
        cells: list[list[Cell]] = [[] for _ in self.rows]
        for at, column in enumerate(self.columns):
            of_column = [row.cells[at] for row in self.rows]
            if of_column.count(EMPTY) < len(of_column):
                columns.append(column)
                for kept, cell in zip(cells, of_column, strict=True):
                    kept.append(cell)
        rows = list(map(_with_cells, self.rows, cells))
        return replace(self, columns=columns, rows=rows)


def _with_cells(row: Row, cells: Sequence[Cell]) -> Row:
    return replace(row, cells=cells)


# Scores -----------------------------------------------------------------------------------------

BASELINE = "baseline"  # the short name of baselines
ARROWS = {
    "↓": "lower is better",
    "↑": "higher is better",
    "→": "the correct value, or the value of real data",
}
PRIVACY_NOTE = (
    "These scores can find copies but cannot prove that there are none. Each row counts as one "
    "person. pushforward does not offer differential privacy, and does not support sequences or "
    "several related tables."
)


def scorecards(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return one table for each group of scores, with its heading."""
    cards = []
    for heading, metrics in groups(comparison):
        card = scorecard(comparison, metrics)
        if heading == "Privacy" and comparison.data.kind == "row":
            card = replace(card, note=PRIVACY_NOTE)
        cards.append((heading, card))
    return cards


def scorecard(comparison: Comparison, metrics: Sequence[str]) -> Table:
    """Return a table of scores; the baselines and real data follow the models."""
    leaders = [best(comparison, metric) for metric in metrics]
    rows = []
    for index, model in enumerate(comparison.models):
        cells = []
        for metric, name in zip(metrics, leaders, strict=True):
            cells.append(score_cell(comparison, model, metric, name == model.name))
        rows.append(Row(model.name, cells, "model", index, family_aside(model)))
    for row in filter(None, (comparison.baseline, *comparison.further_baselines)):
        cells = [score_cell(comparison, row, metric) for metric in metrics]
        rows.append(Row(row.name, cells, "baseline"))
    for guessed, guess in guess_statistics(comparison).items():
        if guessed in metrics:
            cells = [figures(guess) if metric == guessed else EMPTY for metric in metrics]
            rows.append(Row(guess.name, cells, "baseline"))
    rows.append(
        Row("real data", [real_data_cell(comparison, metric) for metric in metrics], "real data")
    )
    return Table([score_column(comparison, metric) for metric in metrics], rows)


def summary(comparison: Comparison) -> Table:
    """Return ranking scores and times, or all scores of a single model."""
    if len(comparison.models) == 1:
        whole = Table()
        for _, card in scorecards(comparison):
            part = turned(card)
            whole = Table(part.columns, [*whole.rows, *part.rows], whole.note + part.note)
        return whole.filled
    metrics = main_metrics(comparison)
    if not metrics:
        metrics = [metric for _, names in groups(comparison) for metric in names][:2]
    table = scorecard(comparison, metrics)
    times = models_table(comparison, (SAMPLE, TOTAL))
    times_of = {row.index: row.cells for row in times.rows}
    none = [EMPTY] * len(times.columns)
    rows = []
    for row in table.rows:
        added = times_of.get(row.index, none) if row.kind == "model" else none
        rows.append(_with_cells(row, [*row.cells, *added]))
    return Table([*table.columns, *times.columns], rows).filled


def turned(table: Table) -> Table:
    """Return a scorecard of one model with scores as rows."""
    model, *baselines, real_data_score = table.rows
    rows = []
    for at, column in enumerate(table.columns):
        cell = model.cells[at]
        ratio = Cell(cell.note or "–")
        guess = next((row.cells[at] for row in baselines if row.cells[at] != EMPTY), EMPTY)
        cells = [replace(cell, note=""), real_data_score.cells[at], ratio, guess]
        rows.append(Row(column.named, cells, "score"))
    names = (model.name or "model", "real data", "ratio", BASELINE)
    return Table(list(map(Column, names)), rows, table.note)


def family_aside(model: ModelResult) -> str:
    """Return the family of a model if its name lacks it."""
    words = re.split("[^a-z0-9]+", model.name.lower())
    if f" {model.family.lower()} " in f" {' '.join(words)} ":
        return ""
    return model.family


def best(comparison: Comparison, metric: str) -> str | None:
    """Return the model that is ahead of all others and of the baseline, if any.

    No model is best in a "target", with fewer near-copies than real data, or without a lead over
    the baseline in the score that ranks models.
    """
    if comparison.info(metric).better == "target":
        return None
    ranked = statistics(comparison, metric)
    if len(ranked) < 2 or ranked[0].name in unproven(comparison):
        return None
    first, *others = ranked
    base = statistic(comparison, comparison.baseline, metric)
    if not all(first.better_than(other) for other in filter(None, (*others, base))):
        return None
    real = real_data_score_of(comparison, metric)[0] or 0.0
    if metric == "near_copies" and first.value < real:
        return None
    return first.name


def score_column(comparison: Comparison, metric: str) -> Column:
    """Return the column of a score, with an arrow."""
    info = comparison.info(metric)
    hint = ""
    if metric in comparison.metrics and info.better == "target":
        hint = f"→ {target_text(comparison, metric)}".removesuffix("→ ")
    elif metric in comparison.metrics:
        hint = {"lower": "↓", "higher": "↑"}[info.better]
    return Column(info.label or metric, info.what, hint)


def score_cell(comparison: Comparison, row: ModelResult, metric: str, best: bool = False) -> Cell:
    """Return a score with its interval and its ratio to real data."""
    score = statistic(comparison, row, metric)
    if score is not None and row.given and not score.spread:  # all samples were used each time
        score = replace(score, spread=None)
    times = times_real(comparison, row, metric)
    note = f"{times}×" if times else ""
    factor = factor_of(comparison, metric)
    return figures(score, factor, note, best, decimals_in(comparison, metric))


def real_data_cell(comparison: Comparison, metric: str) -> Cell:
    """Return the score of real data."""
    real_data_score = real_data_statistic(comparison, metric)
    factor = factor_of(comparison, metric)
    return figures(real_data_score, factor, decimals=decimals_in(comparison, metric))


def figures(
    score: Any, factor: int = 1, note: str = "", best: bool = False, decimals: int | None = None
) -> Cell:
    """Format a score with its interval or standard deviation."""
    if score is None or score.value is None:
        return EMPTY
    unit = " %" if factor == 100 else ""
    shown = multiplied(score, factor)
    if shown.interval is not None:
        value, interval = mean_and_interval(shown.number, shown.interval, decimals)
        return Cell(value, "", note, best, interval + unit)
    value, spread_text = mean_and_std(shown.value, shown.spread, decimals)
    if unit and not finite(spread_text):
        return Cell(value + unit, "", note, best)
    return Cell(value, spread_text and spread_text + unit, note, best)


def multiplied(score: Any, factor: int) -> Score:
    """Return a multiple of a score with its interval and standard deviation."""
    interval = None
    if score.interval is not None:
        low, high = score.interval
        interval = factor * low, factor * high
    spread = None if score.spread is None else factor * score.spread
    return Score(factor * score.value, spread, interval=interval)


# Tables with a row for each model ---------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A column of a table of models."""

    label: str
    value: str | Callable[[ModelResult], Any]
    texts: Callable[[Sequence[Any]], Sequence[str]] = aligned
    what: str = ""
    hint: str = ""

    def read(self, model: ModelResult) -> Any:
        """Return the value of a model."""
        if callable(self.value):
            return self.value(model)
        value: Any = model
        for name in self.value.split("."):
            value = getattr(value, name, None)
        return value


def models_table(comparison: Comparison, measures: Sequence[Measure]) -> Table:
    """Return a row for each model and a column for each measure."""
    columns = []
    texts = []  # by column
    for measure in measures:
        columns.append(Column(measure.label, measure.what, measure.hint))
        texts.append(measure.texts([measure.read(model) for model in comparison.models]))
    rows = []
    for index, model in enumerate(comparison.models):
        cells = [Cell(column[index]) for column in texts]
        if any(cell != EMPTY for cell in cells):
            rows.append(Row(model.name, cells, index=index))
    return Table(columns, rows).filled


def words(values: Iterable[Any]) -> list[str]:
    """Format a column of texts."""
    return [str(value or "–") for value in values]


def _sampler(model: ModelResult) -> str:
    cost = model.sampling
    sampler = cost.solver or "–"
    if not cost.solver and cost.calls == 1:
        sampler = "one call"
    if cost.steps is None:
        return sampler
    return f"{sampler}, {plural(cost.steps, 'step')}"


def _training_only(model: ModelResult) -> str:
    return listing(f"{name} {count(size)}" for name, size in model.other_parameters.items())


def _rejected(model: ModelResult) -> float | None:
    refused = model.sampling.refused
    if refused is None:
        return None
    return 100 * refused


def at_once(batch: float | None) -> str:
    """Return how many samples were drawn at once."""
    if batch is None:
        return ""
    if batch == 1:
        return "one at a time"
    return f"{count(batch)} at once"


SAMPLE = Measure(
    "Per sample", "sampling.seconds_per_sample", durations, "Time per sample when sampling a batch."
)
TOTAL = Measure(
    "Training",
    "training.total",
    durations,
    "Training time, with that of the models it builds on.",
)
COSTS = {
    "Size and training": (
        Measure(
            "Parameters", "parameters", counts, "Parameters of the network that generates samples."
        ),
        Measure(
            "Training only",
            _training_only,
            words,
            "Parameters of networks that are only used in training.",
        ),
        Measure("Training", "training.seconds", durations, "Time spent in training steps."),
        Measure(
            "Trajectories",
            "training.trajectory_seconds",
            durations,
            "Time in which the teacher generated trajectories.",
        ),
        Measure(
            "Built on",
            "training.ancestor_seconds",
            durations,
            "Training time of the teacher, the autoencoder or the initial model.",
        ),
        Measure("Steps", "training.steps", counts),
        Measure(
            "Examples seen",
            "training.samples",
            counts,
            "Training examples used, including repetitions.",
        ),
        Measure("Examples per second", "training.samples_per_second", counts),
        Measure("Batch size", "training.batch", counts),
        Measure("Precision", "training.precision", words),
        Measure("Memory, MB", "training.memory_mb", what="Peak memory that a training step adds."),
    ),
    "Sampling": (
        Measure("Sampler", _sampler, words),
        Measure("Calls", "sampling.calls", counts, "Network evaluations per sample."),
        Measure(
            "Time per sample",
            "sampling.seconds_per_sample",
            durations,
            "Time per sample when sampling a batch (lower quartile of all rounds).",
        ),
        Measure("Fastest round", "sampling.timing.low", durations),
        Measure("Median round", "sampling.timing.high", durations),
        Measure("Samples at once", "sampling.timing.batch", counts),
        Measure("Memory, MB", "sampling.memory.mb", what="Peak memory that sampling a batch adds."),
        Measure("FLOPs per sample", "sampling.flops_per_sample", counts),
        Measure(
            "Rejected samples, %",
            _rejected,
            what="Samples that violated a constraint of the table and were drawn again.",
        ),
    ),
}
TRAJECTORIES = (
    Measure(
        "Straightness",
        "trajectory.straightness",
        what="0 for straight trajectories at constant speed.",
        hint="↓",
    ),
    Measure(
        "NPE",
        "trajectory.npe",
        what="Normalised path energy: excess over optimal transport.",
        hint="↓",
    ),
)
LATENTS = (
    Measure(
        "PSNR",
        "latent.reconstruction.psnr",
        what="Reconstruction quality on held-out images, in dB.",
        hint="↑",
    ),
    Measure(
        "SSIM",
        "latent.reconstruction.ssim",
        what="Structural similarity of reconstructions.",
        hint="↑",
    ),
    Measure(
        "Explained",
        "latent.reconstruction.explained",
        what="Fraction of the variance that reconstructions explain.",
        hint="↑",
    ),
    Measure(
        "Feature distance",
        "latent.reconstruction.feature_distance",
        what="Distance between images and reconstructions in the features used for the scores.",
        hint="↓",
    ),
    Measure(
        "Active units",
        "latent.code.active",
        counts,
        "Latent dimensions whose mean varies over the data.",
    ),
    Measure("Units", "latent.code.units", counts, "Latent dimensions."),
    Measure("KL", "latent.code.kl", what="KL divergence per example, in nats."),
    Measure(
        "Mismatch",
        "latent.code.mismatch",
        what="KL divergence of all latents together from the prior, in nats.",
        hint="↓",
    ),
)


def costs(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return the tables of training and of sampling."""
    tables = []
    for heading, measures in COSTS.items():
        table = models_table(comparison, measures)
        if table.columns:
            tables.append((heading, table))
    return tables


def trajectories(comparison: Comparison) -> Table:
    """Return straightness and transport cost of each model that has them."""
    return models_table(comparison, TRAJECTORIES)


def codes(comparison: Comparison) -> Table:
    """Return reconstruction and latent statistics of each model that has them."""
    return models_table(comparison, LATENTS)


# Training budgets -------------------------------------------------------------------------------


def sweep_metric(comparison: Comparison) -> str:
    """Return the score that a sweep over budgets shows."""
    metric = comparison.ranking_metric("quality")
    for points in comparison.sweep.values():
        if metric is not None and any(metric in point.scores for point in points):
            return metric
    return "frechet"


def budget_of(point: SweepPoint) -> str:
    """Format the budget of a point, or its training time."""
    if point.budget is not None or point.seconds is None:
        return duration(point.budget)
    if 0.1 <= point.seconds < 10:
        return f"{point.seconds:.2g} s"
    return duration(float(f"{point.seconds:.2g}"))


def sweep_table(comparison: Comparison) -> Table:
    """Return a row for each model and budget."""
    metric = sweep_metric(comparison)
    known = []
    times = []
    for index, model in enumerate(comparison.models):
        for point in comparison.sweep.get(model.name, ()):
            known.append((index, model.name, point))
            times.append(point.seconds)
    seconds = durations(times)
    rows = []
    for (index, name, point), time in zip(known, seconds, strict=True):
        score = score_cell(comparison, ModelResult(name, scores=point.scores), metric)
        cells = [Cell(budget_of(point)), score, Cell(time), Cell(count(point.steps))]
        rows.append(Row(name, cells, index=index))
    score_heading = score_column(comparison, metric)
    return Table([Column("Budget"), score_heading, Column("Training"), Column("Steps")], rows)


# Settings and origins ---------------------------------------------------------------------------

LONGEST = 60  # maximum length of the value of a setting


def differences(comparison: Comparison) -> Table:
    """Return a row for each setting that differs between models."""
    flat = {model.name: dict(_leaves(model.config)) for model in comparison.models if model.config}
    keys = dict.fromkeys(key for leaves in flat.values() for key in leaves)
    rows = []
    for key in sorted(keys, key=lambda key: key.startswith("method.")):
        values = [leaves.get(key, "–") for leaves in flat.values()]
        if len(set(values)) > 1:
            rows.append(Row(key, list(map(Cell, values)), "key"))
    return Table(list(map(Column, flat)), rows)


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif value is not None and value != {} and key:
        if isinstance(value, float):
            text = f"{value:.10g}"
        elif isinstance(value, str):
            text = value
        else:
            text = json.dumps(value)
        yield key, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def origins(comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    """Return folder, seed, commit, versions and hashes of each run."""
    known = []
    for model in comparison.models:
        seed = model.seed if isinstance(model.seed, int) else None
        facts = {"Folder": model.run, "Seed": seed, **model.origin}
        stated = {name: str(value) for name, value in facts.items() if value not in (None, "")}
        if stated:
            known.append((model.name, stated))
    return known
