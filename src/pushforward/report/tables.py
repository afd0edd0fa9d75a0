"""The report's tables as rows of cells, for HTML and Markdown alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pushforward.report.numbers import count, duration, finite, listing, measured, plain, quantity
from pushforward.report.readings import (
    GROUPS,
    entrants_of,
    floor_of,
    guess_reading,
    label_of,
    leaders,
    metric_of,
    name_of,
    ratio_of,
    reading,
    target_of,
)

__all__ = [
    "Cell",
    "Column",
    "Row",
    "Table",
    "commands",
    "costs",
    "facts",
    "level_points",
    "levels",
    "score_note",
    "scorecards",
    "subtitle",
    "title",
    "trajectories",
]

SHARES = {"near_copies", "bridges"}
SAMPLING = 9
"""The first column of `costs` that is about sampling."""


@dataclass(frozen=True)
class Cell:
    """A value, its spread, a note beneath, and whether it is best."""

    value: str
    spread: str = ""
    note: str = ""
    best: bool = False

    @property
    def flat(self) -> str:
        """All on one line."""
        return self.value + (f" ± {self.spread}" if self.spread else "") + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and which way is better."""

    label: str
    what: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Row:
    """One line. ``kind`` is "entrant", "floor" or "baseline"; ``index`` counts the entrants."""

    name: str
    cells: Sequence[Cell]
    kind: str = "entrant"
    index: int = 0


@dataclass(frozen=True)
class Table:
    """Columns and rows."""

    columns: Sequence[Column] = field(default_factory=list)
    rows: Sequence[Row] = field(default_factory=list)


def title(content: Mapping[str, Any]) -> str:
    """The page's heading."""
    return str(content.get("title") or "Comparison of generative models")


def subtitle(content: Mapping[str, Any]) -> str:
    """Data, size and budget on one line."""
    data, settings = content.get("data") or {}, content.get("settings") or {}
    what = {"image": "images", "vector": "vectors"}.get(str(data.get("kind")), "samples")
    shape = [str(one) for one in data.get("shape") or []]
    parts = [str(data["name"])] if data.get("name") else []
    if finite(data.get("train")) is not None:
        rest = f" and {count(data['held_out'])} held-out" if finite(data.get("held_out")) is not None else ""
        parts.append(f"{count(data['train'])} training{rest} {what}")
    if shape:
        parts.append(
            " × ".join(shape[1:] if len(shape) == 3 and shape[0] == "1" else shape) + (" numbers" if len(shape) == 1 else "")
        )
    if settings.get("budget"):
        parts.append(f"trained for {settings['budget']}".replace("for --", "with --"))
    if finite(settings.get("n")) is not None:
        parts.append(f"n = {count(settings['n'])}")
    return " · ".join(parts)


def scorecards(content: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """One table for each group of scores that anyone has."""
    known = [*(content.get("metrics") or {})]
    rows = [*entrants_of(content), content.get("baseline") or {}]
    known += [name for row in rows for name in row.get("scores") or {} if name not in known]
    named = {metric for _, group in GROUPS for metric in group}
    found = []
    for heading, group in GROUPS:
        wanted = [one for one in group if one in known] if group else [one for one in known if one not in named]
        wanted = [
            one for one in wanted if any(reading(content, row, one) for row in rows) or floor_of(content, one)[0] is not None
        ]
        if wanted:
            found.append((heading, _scorecard(content, wanted)))
    return found


def score_note(content: Mapping[str, Any], ratio: str = "") -> str:
    """How to read the scorecards.

    Args:
        content: As `pushforward.report.report` describes.
        ratio: Where the ratio stands, such as "beneath"; nothing where it is not shown.
    """
    beside = f"; {ratio}, the ratio to what real data scores" if ratio else ""
    over = "trainings" if any(len(one.get("trainings") or []) > 1 for one in entrants_of(content)) else "samplings"
    return (
        f"Mean ± spread over repeated {over}{beside}. A best value is marked only where "
        "it is ahead of every other by more than two spreads of the difference, no spread counted as less than real data's."
    )


def _scorecard(content: Mapping[str, Any], metrics: Sequence[str]) -> Table:
    best = {metric: _best(content, metric) for metric in metrics}
    rows = [
        Row(name_of(one), [_score(content, one, m, best[m] == i) for m in metrics], index=i)
        for i, one in enumerate(entrants_of(content))
    ]
    baseline = content.get("baseline")
    if baseline:
        rows.append(Row(name_of(baseline), [_score(content, baseline, m, False) for m in metrics], "baseline"))
    rows += _guesses(content, metrics)
    rows.append(Row("real data against real data", [_floor(content, m) for m in metrics], "floor"))
    return Table([_column(content, m) for m in metrics], rows)


def _guesses(content: Mapping[str, Any], metrics: Sequence[str]) -> list[Row]:
    """A row for each baseline that belongs to one metric, such as the uniform guess of bits per dimension."""
    found = {metric: one for metric in metrics if (one := guess_reading(content, metric)) is not None}
    return [
        Row(one.name, [Cell(*measured(one.mean, one.spread)) if m == metric else Cell("–") for m in metrics], "baseline")
        for metric, one in found.items()
    ]


def _best(content: Mapping[str, Any], metric: str) -> int | None:
    lead = leaders(content, metric)
    scored = [i for i, one in enumerate(entrants_of(content)) if reading(content, one, metric)]
    if len(lead) != 1 or len(scored) < 2:
        return None
    return next(i for i in scored if reading(content, entrants_of(content)[i], metric) == lead[0])


def _column(content: Mapping[str, Any], metric: str) -> Column:
    about = metric_of(content, metric)
    hints = {"lower": "lower is better", "higher": "higher is better"}
    hint = hints.get(str(about.get("better")), "")
    if about.get("better") == "target":
        target = target_of(content, metric)
        hint = "" if target is None else f"{plain(target)} is right"
    return Column(label_of(content, metric), str(about.get("what") or ""), hint)


def _score(content: Mapping[str, Any], row: Mapping[str, Any], metric: str, best: bool) -> Cell:
    one = reading(content, row, metric)
    if one is None:
        return Cell("–")
    if metric in SHARES:
        return _share(one.mean, one.spread, best)
    value, spread = measured(one.mean, one.spread)
    return Cell(value, spread, _ratio(content, row, metric), best)


def _share(mean: float, spread: float | None, best: bool = False) -> Cell:
    value, wide = measured(100 * mean, None if spread is None else 100 * spread)
    return Cell(value, f"{wide} %", "", best) if finite(wide) else Cell(f"{value} %", "", "", best)


def _ratio(content: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> str:
    ratio = ratio_of(row, metric)
    if ratio is None or ratio <= 0 or metric_of(content, metric).get("better") == "target":
        return ""
    return f"{plain(ratio, 2)}×"


def _floor(content: Mapping[str, Any], metric: str) -> Cell:
    mean, spread = floor_of(content, metric)
    if mean is None:
        return Cell("–")
    if metric in SHARES:
        return _share(mean, spread or None)
    value, wide = measured(mean, spread or None)
    return Cell(value, wide)


def costs(content: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """Size and training, then sampling of each entrant; columns that nobody fills are left out."""
    columns = [
        Column("Parameters", "Of the network that samples."),
        Column("Beside", "Networks that only training needs."),
        Column("Training", "Time inside training steps."),
        Column("Steps"),
        Column("Samples seen"),
        Column("Samples/s", "In training."),
        Column("Batch"),
        Column("Precision"),
        Column("Memory", "The most that a training step adds: weights, gradients, optimiser states and activations."),
        Column("Sampler"),
        Column("Calls", "Network evaluations for one sample."),
        Column("Time per sample", "Lower quartile over the turns; from the fastest turn to the median."),
        Column("Memory", "The most that sampling a batch adds, weights included."),
        Column("FLOPs per sample"),
    ]
    rows = [Row(name_of(one), _cost(one), index=i) for i, one in enumerate(entrants_of(content))]
    kept = [c for c in range(len(columns)) if any(row.cells[c].value != "–" for row in rows)]
    parts = (("Size and training", [c for c in kept if c < SAMPLING]), ("Sampling", [c for c in kept if c >= SAMPLING]))
    return [
        (
            heading,
            Table(
                [columns[c] for c in some],
                [Row(row.name, [row.cells[c] for c in some], index=row.index) for row in rows],
            ),
        )
        for heading, some in parts
        if some
    ]


def _cost(entrant: Mapping[str, Any]) -> list[Cell]:
    training, sampling = entrant.get("training") or {}, entrant.get("sampling") or {}
    beside = entrant.get("other_parameters") or {}
    steps = finite(sampling.get("steps"))
    solver = str(sampling["solver"]) if sampling.get("solver") else "one call" if sampling.get("calls") == 1 else "–"
    memory = sampling.get("memory") or {}
    texts = [
        quantity(entrant.get("parameters")),
        listing(f"{name} {quantity(size)}" for name, size in beside.items()) or "–",
        duration(training.get("seconds")),
        count(training.get("steps")),
        quantity(training.get("samples")),
        count(training.get("samples_per_second")),
        count(training.get("batch")),
        str(training.get("precision") or "–"),
        _megabytes(training.get("memory_mb")),
        solver + (f", {count(steps)} step{'' if steps == 1 else 's'}" if steps is not None else ""),
        count(sampling.get("calls")),
    ]
    return [
        *(Cell(text) for text in texts),
        _time(sampling),
        Cell(_megabytes(memory.get("mb")), note=_at_once(memory)),
        Cell(quantity(sampling.get("flops_per_sample"))),
    ]


def _time(sampling: Mapping[str, Any]) -> Cell:
    timing = sampling.get("timing") or {}
    low, high = finite(timing.get("low")), finite(timing.get("high"))
    notes = [f"{duration(low)} to {duration(high)}"] if low is not None and high is not None else []
    return Cell(duration(sampling.get("seconds_per_sample")), note=", ".join([*notes, *filter(None, [_at_once(timing)])]))


def _at_once(measured_in: Mapping[str, Any]) -> str:
    batch = finite(measured_in.get("batch"))
    return "" if batch is None else f"{count(batch)} at once"


def _megabytes(x: Any) -> str:
    value = finite(x)
    return "–" if value is None else f"{count(value) if value >= 100 else plain(value, 2)} MB"


def trajectories(content: Mapping[str, Any]) -> Table | None:
    """Straightness, transport cost and the number of trajectories of each entrant; None where nobody has any."""
    columns = [
        Column("Straightness", "How far trajectories are from straight lines at constant speed.", "0 is straight"),
        Column("NPE", "How much more is moved than has to be, relative to the least.", "0 is the least"),
        Column("Trajectories", "How many were measured."),
    ]
    rows = []
    for i, entrant in enumerate(entrants_of(content)):
        found = _trajectory(entrant)
        texts = [plain(found.get("straightness")), plain(found.get("npe")), count(found.get("rows"))]
        rows.append(Row(name_of(entrant), [Cell(text) for text in texts], index=i))
    kept = [c for c in range(len(columns)) if any(row.cells[c].value != "–" for row in rows)]
    if not {0, 1} & set(kept):
        return None
    return Table([columns[c] for c in kept], [Row(row.name, [row.cells[c] for c in kept], index=row.index) for row in rows])


def level_points(entrant: Mapping[str, Any]) -> list[tuple[float, float, float | None]]:
    """Log-SNR, error and its spread, by falling log-SNR; what is not finite is left out."""
    rows = [one for one in _trajectory(entrant).get("loss_by_level") or [] if isinstance(one, dict)]
    found = [(finite(one.get("log_snr")), finite(one.get("error")), finite(one.get("spread"))) for one in rows]
    kept = [(level, error, spread) for level, error, spread in found if level is not None and error is not None]
    return sorted(kept, key=lambda point: -point[0])


def levels(content: Mapping[str, Any]) -> Table | None:
    """The loss of each iterative entrant (columns) at each noise level (rows); None where nobody has any."""
    found = {name_of(one): level_points(one) for one in entrants_of(content)}
    found = {name: points for name, points in found.items() if points}
    cells = {(name, level): Cell(*measured(error, spread)) for name, points in found.items() for level, error, spread in points}
    known = sorted({level for _, level in cells}, reverse=True)
    rows = [
        Row(f"{plain(math.exp(-level / 2))} (log-SNR {plain(level)})", [cells.get((name, level), Cell("–")) for name in found])
        for level in known
    ]
    return Table([Column(name) for name in found], rows) if rows else None


def _trajectory(entrant: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entrant.get("trajectory")
    return found if isinstance(found, Mapping) else {}


def commands(content: Mapping[str, Any]) -> list[str]:
    """Commands that make the comparison and its entrants again, each once, one line each."""
    found = [*(content.get("commands") or []), *(one for e in entrants_of(content) for one in e.get("commands") or [])]
    return list(dict.fromkeys(" ".join(str(one).split()) for one in found))


def facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Data, settings, machine: name and value."""
    data, settings, machine = (content.get(key) or {} for key in ("data", "settings", "machine"))
    fingerprint = str(data.get("fingerprint") or "")
    names = [str(one) for one in data.get("classes") or []]
    classes = f"{len(names)}: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else None
    rows: list[tuple[str, Any]] = [
        ("Data", data.get("name")),
        ("Classes", classes),
        ("Data fingerprint", fingerprint or None),
        ("Samples on either side", settings.get("n")),
        ("Samplings of each model", settings.get("repeats")),
        ("Trainings of each recipe", settings.get("seeds")),
        ("Budget", settings.get("budget")),
        ("Neighbours k", settings.get("k")),
        ("Features", settings.get("features")),
    ]
    labels = {"cpu": "Processor", "processor": "Processor", "torch": "PyTorch"}
    rows += [(labels.get(key, str(key).capitalize()), value) for key, value in machine.items()]
    rows += [(f"Run {name_of(one)}", one.get("run")) for one in entrants_of(content)]
    return [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in rows if value not in (None, "", [])]
