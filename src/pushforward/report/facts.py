"""Title, subtitle, commands, limits, and the facts about data, settings and machine."""

from __future__ import annotations

import os
from itertools import combinations

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, counted, plain
from pushforward.report.conditions import THRESHOLDS
from pushforward.report.statistics import inside, main_metrics, margin, sessions, statistics
from pushforward.report.tables import budget_of


def title(comparison: Comparison) -> str:
    """The page's heading."""
    if len(comparison.models) == 1 and comparison.data.name and not comparison.title:
        return f"{comparison.models[0].name} on {comparison.data.name}"
    return comparison.title or "Comparison of generative models"


def subtitle(comparison: Comparison) -> str:
    """Data, size and budget on one line."""
    data, settings = comparison.data, comparison.settings
    size = " × ".join(map(str, data.shape[1:] if len(data.shape) == 3 and data.shape[0] == 1 else data.shape))
    size = counted(len(data.columns), "column") if data.kind == "row" and data.columns else size
    trained, scored = settings.budget, scored_trainings(comparison)
    parts = [
        data.name,
        "" if data.train is None else f"{count(data.train)} training, {count(data.held_out)} held out",
        size,
        f"trained for {trained}".replace("for --", "with --") if trained else "",
        f"scores and samples: {scored}" if scored else "",
        f"trainings of each recipe: {settings.seeds}" if (settings.seeds or 1) > 1 else "",
        "" if settings.n is None else f"n = {count(settings.n)}",
    ]
    return " · ".join(filter(None, parts))


def scored_trainings(comparison: Comparison) -> str:
    """Which trainings scores and samples show where there are several budgets; empty elsewhere."""
    names = {model.name for model in comparison.models}
    last = [budget_of(points[-1]) for name, points in comparison.sweep.items() if len(points) > 1 and name in names]
    return f"trainings of {', '.join(dict.fromkeys(last))}" if last else ""


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
    names = ", ".join(data.classes[:12]) + ", …" * (len(data.classes) > 12)
    rows: list[tuple[str, object]] = [
        ("Date", comparison.created),
        ("Data", data.name),
        ("Classes", f"{len(data.classes)}: {names}" if names else None),
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
    matched = sizes and max(sizes.values()) <= THRESHOLDS["matched"] * min(sizes.values())
    listed = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return f"{listed} ({'' if matched else 'not '}matched within 10 %)" if len(sizes) > 1 else ""


def limits(comparison: Comparison) -> list[str]:
    """What this comparison cannot show."""
    sentences, n = [], comparison.settings.n
    for metric in main_metrics(comparison):
        margins = sorted(margin(*pair) for pair in combinations(statistics(comparison, metric), 2))
        if margins and margins[-1] > 0:
            info, where = comparison.info(metric), f", at n = {count(n)}" if n else ""
            ends = [plain(end * (100 if info.unit == "%" else 1), 2) for end in (margins[0], margins[-1])]
            span = " to ".join(dict.fromkeys(ends)) + " percentage points" * (info.unit == "%")
            sentences.append(f"Read a difference below {span} in {inside(info.label)} as none{where}.")
    if any(len(model.trainings) < 2 and not model.given for model in comparison.models):
        sentences.append("Of a model that was trained once, intervals are those of sampling: another seed can change the order.")
    if any(len(model.trainings) > 1 for model in comparison.models):
        sentences.append("Spreads over a few trainings are rough. Pictures and losses are those of the first training.")
    if comparison.settings.features:
        sentences.append(f"Scores are in these features, and not comparable with published ones: {comparison.settings.features}.")
    apart = len(sessions(comparison)) > 1
    sentences.append(f"Times hold for the machine below{', and were measured in different sessions' * apart}.")
    bits = [(model.name, model.scores["bpd"]) for model in comparison.models if "bpd" in model.scores]
    measured = [f"Bits of {name}: {score.extra['how']}; n = {score.n}." for name, score in bits if "how" in score.extra]
    return [*sentences, *measured, *filter(None, [absent(comparison)])]


def absent(comparison: Comparison) -> str:
    """Which models' samples are not shown; empty where all are, or nothing is known of the data."""
    models = [model for model in comparison.models if model.run or model.sampling.calls is not None]
    lacking = [model.name for model in models if comparison.pictures.get(model.name, Pictures()).grid is None]
    return (
        f"Not in report.json, see report.html beside it: samples of {', '.join(lacking)}."
        if lacking and comparison.data.shape
        else ""
    )


def failures(comparison: Comparison) -> list[str]:
    """What went wrong on the way: steps that were skipped, alarms, warnings of the runs."""
    lines = []
    for model in comparison.models:
        skipped = "" if model.health is None else model.health.skipped
        raised = sum(not alarm.over for alarm in model.alarms)
        parts = [skipped, f"alarms of training: {raised}" if raised else "", *model.warnings]
        lines += [f"{model.name}: {part.rstrip('.')}." for part in parts if part]
    return lines
