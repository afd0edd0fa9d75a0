"""The report's tables as rows of cells, for HTML, Markdown and text alike; scores in few calls beside a teacher's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev
from typing import Any

from pushforward.evaluation.intervals import NORMAL, Variation, Variations
from pushforward.evaluation.measurements import CurvePoint, Ladder, SweepPoint
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
    plain,
)
from pushforward.report.statistics import (
    DIFFER,
    curve_metric,
    decimals_in,
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
    with_spread,
)

# Signs of a heading, with their meaning
ARROWS = {"↓": "lower is better", "↑": "higher is better", "→": "the value that is right, or that real data has"}
BASELINE = "baseline"  # The short name of baselines
PRIVACY_NOTE = (
    "These scores find copies, and do not prove that there are none. pushforward does not offer differential privacy, sequences "
    "or several tables: each row counts as one person."
)
LONGEST = 60  # Characters of a setting's value that are shown


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
    """A heading, what it means, and an arrow that says which way is better or which value is right."""

    label: str
    what: str = ""
    hint: str = ""

    @property
    def named(self) -> str:
        """The label with the arrow."""
        return f"{self.label} {self.hint}".strip()


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
    """Columns and rows, and a sentence below them, which may be empty."""

    columns: Sequence[Column] = field(default_factory=list)
    rows: Sequence[Row] = field(default_factory=list)
    note: str = ""

    @property
    def filled(self) -> Table:
        """The columns in which any row has a value."""
        chosen = [at for at in range(len(self.columns)) if any(row.cells[at].value != "–" for row in self.rows)]
        rows = [replace(row, cells=[row.cells[at] for at in chosen]) for row in self.rows]
        return replace(self, columns=[self.columns[at] for at in chosen], rows=rows)


# Scores ---------------------------------------------------------------------------------------------------------


def scorecards(comparison: Comparison) -> list[tuple[str, Table]]:
    """One table for each group of scores that any model has, under the heading that their metrics declare."""
    cards = [(heading, scorecard(comparison, metrics)) for heading, metrics in groups(comparison)]
    note = PRIVACY_NOTE if comparison.data.kind == "row" else ""
    return [(heading, replace(card, note=note if heading == "Privacy" else "")) for heading, card in cards]


def scorecard(comparison: Comparison, metrics: Sequence[str]) -> Table:
    """Models, the baselines and real data; a column for each score."""
    best = {metric: _best(comparison, metric) for metric in metrics}
    rows = []
    for at, model in enumerate(comparison.models):
        cells = [score_cell(comparison, model, metric, best[metric] == at) for metric in metrics]
        rows.append(Row(model.name, cells, "model", at, family_aside(model)))
    others = (row for row in (comparison.baseline, *comparison.further_baselines) if row is not None)
    rows += [Row(row.name, [score_cell(comparison, row, metric) for metric in metrics], "baseline") for row in others]
    rows += [
        Row(guess.name, [figures(guess if m == metric else None) for m in metrics], "baseline")
        for metric, guess in guess_statistics(comparison).items()
        if metric in metrics
    ]
    rows.append(Row("real data", [floor_cell(comparison, metric) for metric in metrics], "floor"))
    return Table([score_column(comparison, metric) for metric in metrics], rows)


def summary(comparison: Comparison) -> Table:
    """The one table that is always shown: the scores that rank models, the time of a sample and of training; of one model all."""
    cards = scorecards(comparison)
    if len(comparison.models) == 1:
        turns = [turned(card) for _, card in cards]
        columns = turns[0].columns if turns else []
        note = "".join(turn.note for turn in turns)
        return Table(columns, [row for turn in turns for row in turn.rows], note).filled
    metrics = main_metrics(comparison) or [metric for _, names in groups(comparison) for metric in names][:2]
    table = scorecard(comparison, metrics)
    times = models_table(comparison, (SAMPLE, TRAINED))
    empty = [Cell("–")] * len(times.columns)
    cells = {row.name: row.cells for row in times.rows}
    rows = []
    for row in table.rows:
        own = cells.get(row.name, empty) if row.kind == "model" else empty
        rows.append(replace(row, cells=[*row.cells, *own]))
    return Table([*table.columns, *times.columns], rows).filled


def turned(table: Table) -> Table:
    """A scorecard of one model with a row for each score: the model, real data, their ratio, and the first baselines."""
    (model,), (floor,), baselines = ([row for row in table.rows if row.kind == kind] for kind in ("model", "floor", "baseline"))
    rows = []
    for at, column in enumerate(table.columns):
        guess = next((row.cells[at] for row in baselines if row.cells[at].value != "–"), Cell("–"))
        cell = model.cells[at]
        rows.append(Row(column.named, [replace(cell, note=""), floor.cells[at], Cell(cell.note or "–"), guess], "score"))
    return Table([Column(name) for name in (model.name or "model", "real data", "ratio", BASELINE)], rows, table.note)


def family_aside(model: ModelResult) -> str:
    """A model's family where its name does not say it."""
    words = " ".join(re.split("[^a-z0-9]+", model.name.lower()))
    return "" if f" {model.family.lower()} " in f" {words} " else model.family


def _best(comparison: Comparison, metric: str) -> int | None:
    """The index of the model that is clearly ahead of all others and of the baseline.

    None where real data's score is the right one: nothing is best in a "target", nor with fewer near-copies than real data has;
    and for a model that is not clearly better than the baseline in the score that ranks models.
    """
    if comparison.info(metric).better == "target":
        return None
    ranked = statistics(comparison, metric)
    if len(ranked) < 2 or ranked[0].name in unproven(comparison):
        return None
    best, *others = ranked
    base = statistic(comparison, comparison.baseline, metric)
    if not all(best.better_than(other) for other in (*others, *([] if base is None else [base]))):
        return None
    if metric == "near_copies" and best.value < (floor_of(comparison, metric)[0] or 0.0):
        return None
    return [model.name for model in comparison.models].index(best.name)


def score_column(comparison: Comparison, metric: str) -> Column:
    """A score's heading: its label, what it means, and which way is better or which value is right."""
    info = comparison.info(metric)
    value = target_text(comparison, metric) if info.better == "target" else ""
    arrow = {"lower": "↓", "higher": "↑"}.get(info.better, f"→ {value}" if value else "")
    return Column(info.label or metric, info.what, arrow if metric in comparison.metrics else "")


def score_cell(comparison: Comparison, row: ModelResult, metric: str, best: bool = False) -> Cell:
    """A score with its interval or spread, and its ratio to what real data scores; a dash where there is none."""
    score = statistic(comparison, row, metric)
    if score is not None and row.given and not score.spread:  # all samples were used each time
        score = replace(score, spread=None)
    times = times_real(comparison, row, metric)
    note = f"{times}×" if times else ""
    return figures(score, comparison.info(metric).unit == "%", note, best, decimals_in(comparison, metric))


def floor_cell(comparison: Comparison, metric: str) -> Cell:
    """What real data scores, with the decimals of its column."""
    is_share = comparison.info(metric).unit == "%"
    return figures(floor_statistic(comparison, metric), is_share, decimals=decimals_in(comparison, metric))


def figures(score: Any, is_share: bool = False, note: str = "", best: bool = False, decimals: int | None = None) -> Cell:
    """A value with its interval, else with its spread, of a share in per cent; a dash where there is none."""
    if score is None or score.value is None:
        return Cell("–")
    factor, unit = (100, " %") if is_share else (1, "")
    if score.interval is not None:
        value, interval = bounded(factor * score.value, [factor * end for end in score.interval], decimals)
        return Cell(value, "", note, best, interval + unit)
    value, wide = measured(factor * score.value, None if score.spread is None else factor * score.spread, decimals)
    if is_share and not finite(wide):
        return Cell(value + unit, "", note, best)
    return Cell(value, wide and wide + unit, note, best)


# Cost, sweeps, trajectories, codes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A column of a table of models.

    Args:
        column: Its heading.
        value: What it shows of a model; None for nothing.
        texts: The cells of all values, so that they have the same decimals.
    """

    column: Column
    value: Callable[[ModelResult], Any]
    texts: Callable[[Sequence[Any]], Sequence[str]] = aligned


def models_table(comparison: Comparison, measures: Sequence[Measure]) -> Table:
    """A row for each model and a column for each measure; columns and rows without any value are left out."""
    columns = [measure.texts([measure.value(model) for model in comparison.models]) for measure in measures]
    rows = []
    for number, model in enumerate(comparison.models):
        cells = [Cell(texts[number]) for texts in columns]
        if any(cell.value != "–" for cell in cells):
            rows.append(Row(model.name, cells, index=number))
    return Table([measure.column for measure in measures], rows).filled


def of(path: str) -> Callable[[ModelResult], Any]:
    """Return the function that reads a field by its path, such as ``training.seconds``; None where a part is missing."""

    def read(model: ModelResult) -> Any:
        value: Any = model
        for name in path.split("."):
            value = getattr(value, name, None)
        return value

    return read


def words(values: Iterable[Any]) -> list[str]:
    """Cells of texts."""
    return [str(value or "–") for value in values]


def _sampler(model: ModelResult) -> str:
    cost = model.sampling
    steps = "" if cost.steps is None else f", {counted(cost.steps, 'step')}"
    return (cost.solver or ("one call" if cost.calls == 1 else "–")) + steps


def _training_only(model: ModelResult) -> str:
    return listing(f"{name} {count(size)}" for name, size in model.other_parameters.items())


def at_once(batch: float | None) -> str:
    """How many samples were drawn at once; empty where unknown."""
    return "" if batch is None else "one at a time" if batch == 1 else f"{count(batch)} at once"


SAMPLE = Measure(Column("A sample", "Time of one sample of a batch."), of("sampling.seconds_per_sample"), durations)
TRAINED = Measure(Column("Training", "Time in training steps."), of("training.seconds"), durations)
COSTS = {
    "Size and training": (
        Measure(Column("Parameters", "Of the network that samples."), of("parameters"), counts),
        Measure(Column("Training only", "Parameters of networks that only training needs."), _training_only, words),
        TRAINED,
        Measure(
            Column("Trajectories", "Time in which the teacher generated trajectories."),
            of("training.trajectory_seconds"),
            durations,
        ),
        Measure(
            Column("Built on", "Time in which teacher, autoencoder or start were trained."),
            of("training.ancestor_seconds"),
            durations,
        ),
        Measure(Column("Steps"), of("training.steps"), counts),
        Measure(Column("Training examples drawn"), of("training.samples"), counts),
        Measure(Column("Examples per second"), of("training.samples_per_second"), counts),
        Measure(Column("Batch"), of("training.batch"), counts),
        Measure(Column("Precision"), of("training.precision"), words),
        Measure(Column("Memory, MB", "The most that a training step adds."), of("training.memory_mb")),
    ),
    "Sampling": (
        Measure(Column("Sampler"), _sampler, words),
        Measure(Column("Calls", "Network evaluations for one sample."), of("sampling.calls"), counts),
        Measure(
            Column("Time per sample", "Of a batch, divided by its samples: lower quartile over turns."),
            of("sampling.seconds_per_sample"),
            durations,
        ),
        Measure(Column("Fastest turn"), of("sampling.timing.low"), durations),
        Measure(Column("Median turn"), of("sampling.timing.high"), durations),
        Measure(Column("Samples at once"), of("sampling.timing.batch"), counts),
        Measure(Column("Memory, MB", "The most that sampling a batch adds."), of("sampling.memory.mb")),
        Measure(Column("FLOPs per sample"), of("sampling.flops_per_sample"), counts),
        Measure(
            Column("Refused draws, %", "Draws that broke a constraint of the table and were drawn again."),
            lambda model: None if model.sampling.refused is None else 100 * model.sampling.refused,
        ),
    ),
}


def costs(comparison: Comparison) -> list[tuple[str, Table]]:
    """Size and training, then sampling of each model; columns that no model fills are left out."""
    tables = {heading: models_table(comparison, measures) for heading, measures in COSTS.items()}
    return [(heading, table) for heading, table in tables.items() if table.columns]


def sweep_metric(comparison: Comparison) -> str:
    """The score that ranks models, or the Fréchet distance where points of the sweep lack it."""
    known = {name for points in comparison.sweep.values() for point in points for name in point.scores}
    metric = comparison.ranking_metric("quality")
    return metric if metric is not None and metric in known else "frechet"


def budget_of(point: SweepPoint) -> str:
    """The budget; of a point that does not say it the seconds trained, in two digits, as budgets are kept to a few per cent."""
    if point.budget is not None or point.seconds is None:
        return duration(point.budget)
    return f"{point.seconds:.2g} s" if 0.1 <= point.seconds < 10 else duration(float(f"{point.seconds:.2g}"))


def sweep_table(comparison: Comparison) -> Table | None:
    """A line for each model and budget: the score that ranks models, the seconds trained and the steps; None without a sweep."""
    metric, rows = sweep_metric(comparison), []
    for index, model in enumerate(comparison.models):
        for point in comparison.sweep.get(model.name, ()):
            score = score_cell(comparison, ModelResult(model.name, scores=point.scores), metric)
            cells = [Cell(budget_of(point)), score, Cell(duration(point.seconds)), Cell(count(point.steps))]
            rows.append(Row(model.name, cells, index=index))
    return Table([Column("Budget"), score_column(comparison, metric), Column("Trained"), Column("Steps")], rows) if rows else None


WAYS = (
    Measure(Column("Straightness", "0 is straight.", "↓"), of("trajectory.straightness")),
    Measure(Column("NPE", "Normalised path energy.", "↓"), of("trajectory.npe")),
)


def trajectories(comparison: Comparison) -> Table | None:
    """Straightness and transport cost of each model that has any; None where none has."""
    table = models_table(comparison, WAYS)
    return table if table.rows else None


def level_points(model: ModelResult) -> list[tuple[float, float, float | None]]:
    """Log-SNR, error and its spread, by falling log-SNR; what is not finite is left out."""
    levels = () if model.trajectory is None else model.trajectory.loss_by_level
    points = [
        (level.log_snr, level.error, level.spread) for level in levels if level.log_snr is not None and level.error is not None
    ]
    return sorted(points, key=lambda point: -point[0])


CODES = (
    Measure(Column("PSNR", "Of reconstructions of held-out images, dB.", "↑"), of("latent.reconstruction.psnr")),
    Measure(Column("SSIM", "Structural similarity of reconstructions.", "↑"), of("latent.reconstruction.ssim")),
    Measure(
        Column("Explained", "Share of the variance that reconstructions explain.", "↑"), of("latent.reconstruction.explained")
    ),
    Measure(
        Column("Feature distance", "Of reconstructions, in the features of the scores.", "↓"),
        of("latent.reconstruction.feature_distance"),
    ),
    Measure(Column("Active units", "Numbers of the code whose mean varies over data."), of("latent.code.active"), counts),
    Measure(Column("Units", "Numbers of the code."), of("latent.code.units"), counts),
    Measure(Column("KL", "Cost of the code, nats an example."), of("latent.code.kl")),
    Measure(Column("Mismatch", "How far all codes together lie from the prior, nats.", "↓"), of("latent.code.mismatch")),
)


def codes(comparison: Comparison) -> Table | None:
    """Reconstruction and code of each model that has codes, one row each; None where none has."""
    table = models_table(comparison, CODES)
    return table if table.rows else None


# Settings and origins -------------------------------------------------------------------------------------------


def differences(comparison: Comparison) -> Table | None:
    """The settings that are not the same for all models, one a row, those of method and networks last.

    None where fewer than two models say with which settings they were trained, or all settings are the same.
    """
    flat = {model.name: dict(_leaves(model.config)) for model in comparison.models if model.config}
    keys = dict.fromkeys(key for leaves in flat.values() for key in leaves)
    unlike = [key for key in keys if len({leaves.get(key) for leaves in flat.values()}) > 1]
    unlike.sort(key=lambda key: key.startswith("method."))
    rows = [Row(key, [Cell(leaves.get(key, "–")) for leaves in flat.values()], "key") for key in unlike]
    return Table([Column(name) for name in flat], rows) if len(flat) > 1 and rows else None


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif value is not None and value != {} and key:
        text = f"{value:.10g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        yield key, text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def origins(comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    """Folder, seed, commit, versions and hashes of each run that says any, by the model's name."""
    known = []
    for model in comparison.models:
        facts = {"Folder": model.run, "Seed": model.seed if isinstance(model.seed, int) else None, **model.origin}
        said = {name: str(value) for name, value in facts.items() if value not in (None, "")}
        known += [(model.name, said)] if said else []
    return known


@dataclass(frozen=True)
class Rung:
    """One score of a point of a curve over network calls.

    Args:
        calls: Network calls for one sample.
        value: The mean over samplings.
        values: One for each sampling.
        interval: The ends of the 95 % interval; None where there is none.
        sample_terms, reference_terms: As a `pushforward.evaluation.measurements.CurvePoint` has them.
    """

    calls: float
    value: float
    values: tuple[float | None, ...] = ()
    interval: tuple[float, ...] | None = None
    sample_terms: tuple[float, ...] = ()
    reference_terms: tuple[float, ...] = ()

    @property
    def spread(self) -> float | None:
        """Over samplings; None for a single one."""
        values = [value for value in self.values if value is not None]
        return stdev(values) if len(values) > 1 else None

    @property
    def text(self) -> str:
        """The value with its interval, else with its spread over samplings."""
        return with_spread(self.value, self.spread, self.interval)

    def differs(self, other: Rung, least: float, comparisons: int = 1) -> bool:
        """Whether two points, whose samplings have the same noise, are clearly apart; ``least`` is real data's spread."""
        margin = self._variations(least).margin(other._variations(least), comparisons)
        return abs(self.value - other.value) > margin

    def _variations(self, least: float) -> Variations:
        if self.sample_terms and self.reference_terms:
            return Variations(Variation.of_terms(self.sample_terms), Variation.of_terms(self.reference_terms))
        if self.interval is not None:
            return Variations(Variation(((self.interval[1] - self.interval[0]) / 2 / NORMAL) ** 2))
        return Variations(Variation(max(self.spread or 0.0, least) ** 2))


def rung_of(point: CurvePoint | None, metric: str) -> Rung | None:
    """One score of a point; None where it has none."""
    value = None if point is None else point.scores.get(metric)
    if point is None or point.calls is None or value is None:
        return None
    return Rung(
        point.calls,
        value,
        tuple(point.values.get(metric, ())),
        point.intervals.get(metric),
        point.sample_terms.get(metric, ()),
        point.reference_terms.get(metric, ()),
    )


def rungs_of(points: Sequence[CurvePoint], metric: str) -> list[Rung]:
    """One score of all points that have it, by calls."""
    rungs = [rung for point in points if (rung := rung_of(point, metric)) is not None]
    return sorted(rungs, key=lambda rung: rung.calls)


def ladder_metric(comparison: Comparison) -> str:
    """The distance that ladders show; the energy distance where they lack it, as those of tables do."""
    metric = curve_metric(comparison)
    points = [point for model in comparison.models if model.ladder is not None for point in model.ladder.points]
    return metric if comparison.info(metric).better == "lower" and any(metric in p.scores for p in points) else "energy"


def above(ladder: Ladder, metric: str, first: Rung, other: Rung) -> bool:
    """Whether a score is clearly greater than another one."""
    return first.value > other.value and first.differs(other, width_of(ladder, metric), len(ladder.points))


def width_of(ladder: Ladder, metric: str) -> float:
    """The spread of real data's score at the ladder's n."""
    floor = ladder.floors.get(metric)
    return 0.0 if floor is None or floor.spread is None else floor.spread


def ratio_text(ladder: Ladder, metric: str, first: Rung, own: Rung) -> str:
    """Such as ``1.2 times (1.0 to 1.4)``; empty where the teacher's value is within noise of 0, so that it means nothing."""
    width = width_of(ladder, metric)
    if own.value <= DIFFER * max(width, 1e-12):
        return ""
    ratio, wide = first.value / own.value, width / own.value
    each = [a / b for a, b in zip(first.values, own.values, strict=False) if a is not None and b]
    wide = max(wide, stdev(each)) if len(each) > 1 else wide
    low, high = (plain(max(0.0, ratio + side * DIFFER * wide), 2) for side in (-1, 1))
    return f"{plain(ratio, 2)} times ({low} to {high})"


def ladder_table(comparison: Comparison, model: ModelResult) -> Table | None:
    """Scores by the number of calls, the map beside its teacher; None for a model without a ladder."""
    ladder = model.ladder
    if ladder is None or not ladder.points:
        return None
    names = list(dict.fromkeys(name for point in ladder.points for name in point.scores))
    taught = bool(ladder.teacher or ladder.own)
    columns = []
    for name in names:
        column = score_column(comparison, name)
        columns += [column, *[Column(f"{column.label}, teacher", column.what, column.hint)] * taught]
    columns += [Column("Distance to teacher (std)", "Root mean square, from the teacher's samples of the same noise.")] * taught
    rows = []
    for point in sorted(ladder.points, key=lambda point: point.calls or 0.0):
        fitting = [other for other in ladder.teacher if (other.calls or 0.0) <= (point.calls or 0.0)]
        beside = max(fitting, key=lambda other: other.calls or 0.0, default=None)
        rows.append(Row(counted(point.calls, "call"), _ladder_cells(names, point, beside, taught, point.distance), "calls"))
    for other, name in ((ladder.own, "teacher"), (ladder.default, "teacher by its own default")):
        if other is not None and other not in ladder.teacher and not (other is ladder.default and other == ladder.own):
            rows.append(
                Row(
                    f"{name}: {counted(other.calls, 'call')}",
                    _ladder_cells(names, None, other, taught, other.distance),
                    "baseline",
                )
            )
    floors = [cell for name in names for cell in (figures(ladder.floors.get(name)), *[Cell("–")] * taught)]
    return Table(columns, [*rows, Row("real data", [*floors, *[Cell("–")] * taught], "floor")])


def _ladder_cells(
    names: Sequence[str], point: CurvePoint | None, beside: CurvePoint | None, taught: bool, distance: float | None
) -> list[Cell]:
    cells = []
    for name in names:
        fewer = beside is not None and point is not None and beside.calls != point.calls
        note = counted(beside.calls, "call") if fewer and beside else ""
        cells += [figures(rung_of(point, name)), *[figures(rung_of(beside, name), note=note)] * taught]
    return cells + [Cell("–" if distance is None else plain(distance, 2))] * taught


def ladder_how(ladder: Ladder) -> str:
    """How the points of a ladder were measured, and what its training learned of its teacher."""
    parts = [f"n = {ladder.n:,}" if ladder.n else "", f"samplings of each point: {ladder.repeats}" if ladder.repeats else ""]
    if ladder.own is not None and not ladder.finished:
        by = f" ({ladder.solver}, {counted(ladder.own.calls, 'call')})" if ladder.solver else ""
        parts.append(f"learned of the teacher{by}: {ladder.learned or 'not recorded'}")
    if ladder.default is not None and ladder.default != ladder.own:
        parts.append(f"the teacher's own default: {ladder.default_solver}, {counted(ladder.default.calls, 'call')}")
    return "; ".join(filter(None, parts))
