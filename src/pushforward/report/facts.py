"""Title, subtitle, commands, and the facts about data, settings and machine."""

from __future__ import annotations

import os

from pushforward.evaluation.measurements import SweepPoint
from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, counted, duration, listing
from pushforward.report.sentences import marked
from pushforward.report.statistics import THRESHOLDS

__all__ = [
    "CODES",
    "KEEP_IN_MIND",
    "LIMITS",
    "VERDICT",
    "budget_of",
    "commands",
    "facts",
    "named_run",
    "scored_trainings",
    "subtitle",
    "title",
]

VERDICT, KEEP_IN_MIND, CODES, LIMITS = "Verdict", "What to keep in mind", "What the codes hold", "Limits of this comparison"
"""Headings of the page, of Markdown and of text."""


def title(comparison: Comparison) -> str:
    """The page's heading."""
    if len(comparison.models) == 1 and comparison.data.name and not comparison.title:
        return f"{comparison.models[0].name} on {comparison.data.name}"
    return comparison.title or "Comparison of generative models"


def subtitle(comparison: Comparison) -> str:
    """Data, size and budget on one line."""
    data, settings = comparison.data, comparison.settings
    what = f"{data.kind}s" if data.kind else "samples"
    shape = [str(size) for size in data.shape]
    parts = [data.name] if data.name else []
    if data.train is not None:
        rest = f" and {count(data.held_out)} held-out" if data.held_out is not None else ""
        parts.append(f"{count(data.train)} training{rest} {what}")
    if data.kind == "row" and data.columns:  # its coordinates are more than its columns
        parts.append(counted(len(data.columns), "column"))
    elif shape:
        parts.append(
            " × ".join(shape[1:] if len(shape) == 3 and shape[0] == "1" else shape) + (" numbers" if len(shape) == 1 else "")
        )
    if settings.budget:
        parts.append(f"trained for {settings.budget}".replace("for --", "with --"))
    if trainings := scored_trainings(comparison):
        parts.append(f"scores and samples: {trainings}")
    if (settings.seeds or 1) > 1:
        parts.append(f"{settings.seeds} trainings of each recipe")
    if settings.n is not None:
        parts.append(f"n = {count(settings.n)}")
    return " · ".join(parts)


def scored_trainings(comparison: Comparison) -> str:
    """Which trainings scores and samples show where there are several budgets, such as "trainings of 6 s"; empty elsewhere."""
    names = [model.name for model in comparison.models]
    last = {name: budget_of(points[-1]) for name, points in comparison.sweep.items() if len(points) > 1 and name in names}
    if not last:
        return ""
    whose = "" if len(last) == len(names) else f" ({listing(last)})"
    return f"trainings of {listing(dict.fromkeys(last.values()))}{whose}"


def budget_of(point: SweepPoint) -> str:
    """The budget; of a point that does not say it the seconds trained, in two digits, as budgets are kept to a few per cent."""
    seconds = point.seconds
    if point.budget is not None or seconds is None:
        return duration(point.budget)
    return f"{seconds:.2g} s" if 0.1 <= seconds < 10 else duration(float(f"{seconds:.2g}"))


def commands(comparison: Comparison) -> list[str]:
    """Commands that repeat the comparison and its trainings, each once, one line each; what reads a run follows its training."""
    shorter = {name: [line for point in points for line in point.commands] for name, points in comparison.sweep.items()}
    trainings = [line for model in comparison.models for line in (*shorter.get(model.name, ()), *model.commands)]
    folders = [part.run for model in comparison.models for part in (model, *model.trainings) if part.run is not None]
    runs = set(map(os.path.normpath, folders))
    reads = (at for at, line in enumerate(comparison.commands) if runs & {os.path.normpath(word) for word in line.split()})
    first = next(reads, len(comparison.commands))
    lines = [*comparison.commands[:first], *trainings, *comparison.commands[first:]]
    return list(dict.fromkeys(" ".join(line.split()) for line in lines))


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Data, settings, machine: name and value."""
    data, settings, protocol = comparison.data, comparison.settings, comparison.protocol
    names = data.classes
    classes = f"{len(names)}: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else None
    rows: list[tuple[str, object]] = [
        ("Date", comparison.created),
        ("Data", data.name),
        ("Classes", classes),
        ("Given to models", ", ".join(data.given)),
        ("Data fingerprint", data.fingerprint),
        ("Samples on either side", settings.n),
        ("Samplings of each model", settings.repeats),
        ("Trainings of each recipe", settings.seeds),
        ("Budget", settings.budget),
        ("Neighbours k", settings.k),
        ("Features", settings.features),
        ("Feature extractor", protocol.extractor),
        ("Preprocessing", protocol.preprocessing),
        ("Quantisation", protocol.quantisation),
        ("Distances between rows", protocol.representation),
        ("Reference examples", protocol.reference),
        ("Parameters", _parameters(comparison)),
    ]
    labels = {"cpu": "Processor", "processor": "Processor", "torch": "PyTorch"}
    rows += [(labels.get(key, key.capitalize()), value) for key, value in comparison.machine.items()]
    rows += [(f"Run {model.name}", model.run) for model in comparison.models]
    return [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in rows if value not in (None, "", ())]


def _parameters(comparison: Comparison) -> str:
    """Whether models have as many parameters as each other, as far as samples need them; empty for fewer than two models."""
    sizes = {model.name: model.parameters for model in comparison.models if model.parameters}
    if len(sizes) < 2:
        return ""
    matched = max(sizes.values()) <= THRESHOLDS["matched"] * min(sizes.values())
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items()) + f" ({'' if matched else 'not '}matched within 10 %)"


def named_run(comparison: Comparison, folder: str | None) -> str:
    """The name of the model whose run lies in a folder, between commas; empty where the comparison has none."""
    place = None if folder is None else os.path.normpath(folder)
    for model in comparison.models:
        runs = [part.run for part in (model, *model.trainings) if part.run is not None]
        if place is not None and place in map(os.path.normpath, runs):
            return f", {marked(model.name)} of this comparison,"
    return ""
