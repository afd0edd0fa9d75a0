"""The tables of a report as rows of cells, for HTML, Markdown and text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pushforward.evaluation.measurements import SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import (
    aligned,
    bounded,
    count,
    counted,
    counts,
    duration,
    durations,
    finite,
    listing,
    measured,
)
from pushforward.report.statistics import (
    decimals_in,
    factor_of,
    floor_of,
    floor_statistic,
    groups,
    guess_statistics,
    main_metrics,
    statistic,
    statistics,
    target_text,
    times_real,
    unproven,
)

# Arrows in headings, with their meaning
ARROWS = {
    "↓": "lower is better",
    "↑": "higher is better",
    "→": "the correct value, or the value of real data",
}
BASELINE = "baseline"  # The short name of baselines
PRIVACY_NOTE = (
    "These scores can find copies but cannot prove that there are none. Each row counts as one person. "
    "pushforward does not offer differential privacy, and does not support sequences or several related tables."
)
LONGEST = 60  # Maximum length of the value of a setting


@dataclass(frozen=True)
class Cell:
    """A value with its standard deviation or interval, a note, and whether it is the best one."""

    value: str
    spread: str = ""
    note: str = ""
    best: bool = False
    interval: str = ""

    @property
    def beside(self) -> str:
        """The interval or standard deviation, as written after the value; empty if unknown."""
        if self.interval:
            return f" {self.interval}"
        if self.spread:
            return f" ± {self.spread}"
        return ""

    @property
    def flat(self) -> str:
        """The cell on one line."""
        return self.value + self.beside + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Column:
    """A heading, a sentence that explains it, and an arrow that shows the better direction or correct value."""

    label: str
    what: str = ""
    hint: str = ""

    @property
    def named(self) -> str:
        """The label with the arrow."""
        return f"{self.label} {self.hint}".strip()


@dataclass(frozen=True)
class Row:
    """A row of kind "model", "floor", "baseline", "calls", "score" or "key", with the number and family of a model."""

    name: str
    cells: Sequence[Cell]
    kind: str = "model"
    index: int = 0
    family: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows, with an optional note below."""

    columns: Sequence[Column] = field(default_factory=list)
    rows: Sequence[Row] = field(default_factory=list)
    note: str = ""

    @property
    def filled(self) -> Table:
        """The table without empty columns."""
        chosen = [
            at
            for at in range(len(self.columns))
            if any(row.cells[at].value != "–" for row in self.rows)
        ]
        rows = [replace(row, cells=[row.cells[at] for at in chosen]) for row in self.rows]
        return replace(self, columns=[self.columns[at] for at in chosen], rows=rows)


# Scores ---------------------------------------------------------------------------------------------------------


def scorecards(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return one table for each group of scores that any model has, with its heading."""
    cards = []
    for heading, metrics in groups(comparison):
        card = scorecard(comparison, metrics)
        private = heading == "Privacy" and comparison.data.kind == "row"
        cards.append((heading, replace(card, note=PRIVACY_NOTE) if private else card))
    return cards


def scorecard(comparison: Comparison, metrics: Sequence[str]) -> Table:
    """Return a table with a column for each score; the baselines and real data follow the models."""
    best = {metric: _best(comparison, metric) for metric in metrics}
    rows = []
    for at, model in enumerate(comparison.models):
        cells = [score_cell(comparison, model, metric, best[metric] == at) for metric in metrics]
        rows.append(Row(model.name, cells, "model", at, family_aside(model)))
    for row in (comparison.baseline, *comparison.further_baselines):
        if row is not None:
            rows.append(
                Row(
                    row.name,
                    [score_cell(comparison, row, metric) for metric in metrics],
                    "baseline",
                )
            )
    for metric, guess in guess_statistics(comparison).items():
        if metric in metrics:
            rows.append(
                Row(
                    guess.name,
                    [figures(guess if m == metric else None) for m in metrics],
                    "baseline",
                )
            )
    rows.append(Row("real data", [floor_cell(comparison, metric) for metric in metrics], "floor"))
    return Table([score_column(comparison, metric) for metric in metrics], rows)


def summary(comparison: Comparison) -> Table:
    """Return the table of the first screen: ranking scores and times, or all scores of a single model."""
    if len(comparison.models) == 1:
        turns = [turned(card) for _, card in scorecards(comparison)]
        columns = turns[0].columns if turns else []
        note = "".join(turn.note for turn in turns)
        return Table(columns, [row for turn in turns for row in turn.rows], note).filled
    metrics = (
        main_metrics(comparison)
        or [metric for _, names in groups(comparison) for metric in names][:2]
    )
    table = scorecard(comparison, metrics)
    times = models_table(comparison, (SAMPLE, TOTAL))
    empty = [Cell("–")] * len(times.columns)
    cells = {row.name: row.cells for row in times.rows}
    rows = []
    for row in table.rows:
        own = cells.get(row.name, empty) if row.kind == "model" else empty
        rows.append(replace(row, cells=[*row.cells, *own]))
    return Table([*table.columns, *times.columns], rows).filled


def turned(table: Table) -> Table:
    """Return a scorecard of one model with a row for each score: model, real data, ratio, and first baseline."""
    (model,), (floor,), baselines = (
        [row for row in table.rows if row.kind == kind] for kind in ("model", "floor", "baseline")
    )
    rows = []
    for at, column in enumerate(table.columns):
        guess = next((row.cells[at] for row in baselines if row.cells[at].value != "–"), Cell("–"))
        cell = model.cells[at]
        rows.append(
            Row(
                column.named,
                [replace(cell, note=""), floor.cells[at], Cell(cell.note or "–"), guess],
                "score",
            )
        )
    return Table(
        [Column(name) for name in (model.name or "model", "real data", "ratio", BASELINE)],
        rows,
        table.note,
    )


def family_aside(model: ModelResult) -> str:
    """Return the family of a model if the name does not contain it."""
    words = " ".join(re.split("[^a-z0-9]+", model.name.lower()))
    if f" {model.family.lower()} " in f" {words} ":
        return ""
    return model.family


def _best(comparison: Comparison, metric: str) -> int | None:
    """Return the index of the model that is ahead of all others and of the baseline; None if there is none.

    No model is best in a "target", with fewer near-copies than real data, or without a lead over
    the baseline in the score that ranks models.
    """
    if comparison.info(metric).better == "target":
        return None
    ranked = statistics(comparison, metric)
    if len(ranked) < 2 or ranked[0].name in unproven(comparison):
        return None
    best, *others = ranked
    base = statistic(comparison, comparison.baseline, metric)
    if not all(best.better_than(other) for other in filter(None, (*others, base))):
        return None
    if metric == "near_copies" and best.value < (floor_of(comparison, metric)[0] or 0.0):
        return None
    return [model.name for model in comparison.models].index(best.name)


def score_column(comparison: Comparison, metric: str) -> Column:
    """Return the column of a score, with an arrow that shows the better direction or the target value."""
    info = comparison.info(metric)
    value = target_text(comparison, metric) if info.better == "target" else ""
    arrow = {"lower": "↓", "higher": "↑"}.get(info.better, f"→ {value}" if value else "")
    return Column(info.label or metric, info.what, arrow if metric in comparison.metrics else "")


def score_cell(comparison: Comparison, row: ModelResult, metric: str, best: bool = False) -> Cell:
    """Return a score with its interval or standard deviation, and its ratio to the score of real data."""
    score = statistic(comparison, row, metric)
    if score is not None and row.given and not score.spread:  # all samples were used each time
        score = replace(score, spread=None)
    times = times_real(comparison, row, metric)
    note = f"{times}×" if times else ""
    return figures(
        score, factor_of(comparison, metric), note, best, decimals_in(comparison, metric)
    )


def floor_cell(comparison: Comparison, metric: str) -> Cell:
    """Return the score of real data, with the decimals of its column."""
    floor = floor_statistic(comparison, metric)
    factor = factor_of(comparison, metric)
    return figures(floor, factor, decimals=decimals_in(comparison, metric))


def figures(
    score: Any, factor: int = 1, note: str = "", best: bool = False, decimals: int | None = None
) -> Cell:
    """Format a value with its interval or standard deviation; with a factor of 100 as percentages, None as a dash."""
    if score is None or score.value is None:
        return Cell("–")
    unit = " %" if factor == 100 else ""
    if score.interval is not None:
        value, interval = bounded(
            factor * score.value, [factor * end for end in score.interval], decimals
        )
        return Cell(value, "", note, best, interval + unit)
    value, wide = measured(factor * score.value, score.spread and factor * score.spread, decimals)
    if unit and not finite(wide):
        return Cell(value + unit, "", note, best)
    return Cell(value, wide and wide + unit, note, best)


# Cost, sweeps, trajectories, codes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A column of a table of models.

    Args:
        label: The heading.
        value: The path of a field of a model, such as "training.seconds", or a function of the model.
        texts: Function that formats all values of the column, with the same decimals.
        what: A sentence about the column.
        hint: The arrow of the heading.
    """

    label: str
    value: str | Callable[[ModelResult], Any]
    texts: Callable[[Sequence[Any]], Sequence[str]] = aligned
    what: str = ""
    hint: str = ""

    def read(self, model: ModelResult) -> Any:
        """Return the value of a model; None if a part of the path is missing."""
        if callable(self.value):
            return self.value(model)
        value: Any = model
        for name in self.value.split("."):
            value = getattr(value, name, None)
        return value


def models_table(comparison: Comparison, measures: Sequence[Measure]) -> Table:
    """Return a row for each model and a column for each measure, without empty rows and columns."""
    columns = [
        measure.texts([measure.read(model) for model in comparison.models]) for measure in measures
    ]
    rows = []
    for number, model in enumerate(comparison.models):
        cells = [Cell(texts[number]) for texts in columns]
        if any(cell.value != "–" for cell in cells):
            rows.append(Row(model.name, cells, index=number))
    return Table(
        [Column(measure.label, measure.what, measure.hint) for measure in measures], rows
    ).filled


def words(values: Iterable[Any]) -> list[str]:
    """Format a column of texts."""
    return [str(value or "–") for value in values]


def _sampler(model: ModelResult) -> str:
    cost = model.sampling
    steps = "" if cost.steps is None else f", {counted(cost.steps, 'step')}"
    return (cost.solver or ("one call" if cost.calls == 1 else "–")) + steps


def _training_only(model: ModelResult) -> str:
    return listing(f"{name} {count(size)}" for name, size in model.other_parameters.items())


def _rejected(model: ModelResult) -> float | None:
    refused = model.sampling.refused
    if refused is None:
        return None
    return 100 * refused


def at_once(batch: float | None) -> str:
    """Return how many samples were drawn at once; empty if unknown."""
    if batch is None:
        return ""
    if batch == 1:
        return "one at a time"
    return f"{count(batch)} at once"


SAMPLE = Measure(
    "Per sample", "sampling.seconds_per_sample", durations, "Time per sample when sampling a batch."
)
TRAINED = Measure("Training", "training.seconds", durations, "Time spent in training steps.")
TOTAL = replace(
    TRAINED, value="training.total", what="Training time, with that of the models it builds on."
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
        TRAINED,
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


def costs(comparison: Comparison) -> list[tuple[str, Table]]:
    """Return the tables of size and training and of sampling, without empty columns."""
    tables = {heading: models_table(comparison, measures) for heading, measures in COSTS.items()}
    return [(heading, table) for heading, table in tables.items() if table.columns]


def sweep_metric(comparison: Comparison) -> str:
    """Return the score that ranks models, or the Fréchet distance if the sweep lacks it."""
    known = {
        name for points in comparison.sweep.values() for point in points for name in point.scores
    }
    metric = comparison.ranking_metric("quality")
    if metric is not None and metric in known:
        return metric
    return "frechet"


def budget_of(point: SweepPoint) -> str:
    """Format the budget of a point, or if unknown its training time with two digits."""
    if point.budget is not None or point.seconds is None:
        return duration(point.budget)
    if 0.1 <= point.seconds < 10:
        return f"{point.seconds:.2g} s"
    return duration(float(f"{point.seconds:.2g}"))


def sweep_table(comparison: Comparison) -> Table | None:
    """Return a row for each model and budget, with score, training time and steps; None without a sweep."""
    metric = sweep_metric(comparison)
    known = [
        (index, m.name, p)
        for index, m in enumerate(comparison.models)
        for p in comparison.sweep.get(m.name, ())
    ]
    if not known:
        return None
    points = [point for *_, point in known]
    seconds = durations([point.seconds for point in points])
    steps = counts(point.steps for point in points)
    rows = []
    for at, (index, name, point) in enumerate(known):
        score = score_cell(comparison, ModelResult(name, scores=point.scores), metric)
        rows.append(
            Row(
                name,
                [Cell(budget_of(point)), score, Cell(seconds[at]), Cell(steps[at])],
                index=index,
            )
        )
    return Table(
        [Column("Budget"), score_column(comparison, metric), Column("Training"), Column("Steps")],
        rows,
    )


WAYS = (
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


def trajectories(comparison: Comparison) -> Table | None:
    """Return straightness and transport cost of each model that has them; None if no model does."""
    table = models_table(comparison, WAYS)
    if table.rows:
        return table
    return None


def level_points(model: ModelResult) -> list[tuple[float, float, float | None]]:
    """Return log-SNR, error and standard deviation by decreasing log-SNR, without values that are not finite."""
    levels = () if model.trajectory is None else model.trajectory.loss_by_level
    points = [
        (level.log_snr, level.error, level.spread)
        for level in levels
        if level.log_snr is not None and level.error is not None
    ]
    return sorted(points, key=lambda point: -point[0])


CODES = (
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


def codes(comparison: Comparison) -> Table | None:
    """Return reconstruction and latent statistics of each model that has them; None if no model does."""
    table = models_table(comparison, CODES)
    if table.rows:
        return table
    return None


# Settings and origins -------------------------------------------------------------------------------------------


def differences(comparison: Comparison) -> Table | None:
    """Return a row for each setting that differs between models, with those of method and networks last.

    None if fewer than two models have settings, or all settings are equal.
    """
    flat = {model.name: dict(_leaves(model.config)) for model in comparison.models if model.config}
    keys = dict.fromkeys(key for leaves in flat.values() for key in leaves)
    unlike = [key for key in keys if len({leaves.get(key) for leaves in flat.values()}) > 1]
    unlike.sort(key=lambda key: key.startswith("method."))
    rows = [
        Row(key, [Cell(leaves.get(key, "–")) for leaves in flat.values()], "key") for key in unlike
    ]
    if len(flat) > 1 and rows:
        return Table([Column(name) for name in flat], rows)
    return None


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
        yield key, text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def origins(comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    """Return folder, seed, commit, versions and hashes of each run, by the name of the model."""
    known = []
    for model in comparison.models:
        facts = {
            "Folder": model.run,
            "Seed": model.seed if isinstance(model.seed, int) else None,
            **model.origin,
        }
        said = {name: str(value) for name, value in facts.items() if value not in (None, "")}
        known += [(model.name, said)] if said else []
    return known
