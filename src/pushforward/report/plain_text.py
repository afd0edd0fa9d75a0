"""A comparison as plain text for a terminal and as Markdown; its facts and limits."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, counted, listing, plain, shortened, some
from pushforward.report import ladders, tables
from pushforward.report.answers import answers
from pushforward.report.findings import findings, warnings
from pushforward.report.statistics import (
    inside,
    main_metrics,
    margin,
    sampled,
    sessions,
    statistics,
)
from pushforward.report.tables import ARROWS, BASELINE, Row, Table, budget_of

# Minimum and maximum width of the text
NARROW = 60
WIDE = 120
LINES = 30  # Maximum number of lines of the short text
INDENT = 10  # Width of the headings of the answers
GLUE = "\u00a0"  # Non-breaking space
KINDS = {
    "Findings": ("verdict",),
    "Warnings": ("measure", "copies", "warning"),
}  # Kinds of findings by heading


def text(comparison: Comparison, full: bool = False, width: int | None = None) -> str:
    """Return the answers and one table, or with ``full`` also all findings, scores and limits.

    Args:
        comparison: The comparison.
        full: Whether nothing is left out; the short text has at most 30 lines.
        width: Characters per line, from 60 to 120; None for the width of the terminal, or 80 without one.
    """
    width = max(NARROW, min(WIDE, width or shutil.get_terminal_size((80, 24)).columns))
    if full:
        return _full(comparison, width)
    return _short(comparison, width)


def _answered(comparison: Comparison, width: int) -> list[str]:
    """Return the answers as indented lines after their headings; commands and percentages are not broken."""
    wrapper = textwrap.TextWrapper(
        width, "", " " * INDENT, break_long_words=False, break_on_hyphens=False
    )
    lines = []
    for heading, answer in answers(comparison).items():
        glued = re.sub(
            "`.*?`|[0-9] %", lambda found: found[0].strip("`").replace(" ", GLUE), answer
        )
        lines += [
            line.replace(GLUE, " ") for line in wrapper.wrap(f"{heading.ljust(INDENT)}{glued}")
        ]
    return lines


def _short(comparison: Comparison, width: int) -> str:
    lines = _answered(comparison, width)
    table = tables.summary(comparison)
    first = sorted(table.rows, key=lambda row: row.index)  # other models are left out first
    kept = first[: max(0, LINES - len(lines) - 4)]
    rows = [row for row in table.rows if row in kept]
    drawn = _table(Table(table.columns, rows), width, wrap=False).split("\n") if rows else []
    number = len(warnings(comparison))
    warned = f"{counted(number, 'warning')}, " if number else ""
    return "\n".join([*lines, "", *drawn, "", f"Use --full to see {warned}all scores and limits."])


def _full(comparison: Comparison, width: int) -> str:
    parts = ["\n".join(_answered(comparison, width))]
    for heading, content in _sections(comparison):
        text = _table(content, width) if isinstance(content, Table) else _bullets(content, width)
        parts += [f"{heading}\n{text}"] if text else []
    return "\n\n".join(parts)


def _sections(comparison: Comparison) -> Iterator[tuple[str, Table | list[str]]]:
    """Yield everything after the answers, with headings."""
    found = findings(comparison)
    for heading, kinds in KINDS.items():
        yield heading, [finding.text for finding in found if finding.kind in kinds]
    cards = tables.scorecards(comparison)
    single = len(comparison.models) == 1
    titled = {"Quality over training time": tables.sweep_table(comparison)}
    titled |= {
        f"Scores: {heading.lower()}": tables.turned(card).filled if single else card
        for heading, card in cards
    }
    titled |= {
        f"Few calls: {model.name}": ladders.ladder_table(comparison, model)
        for model in comparison.models
    }
    titled |= {"Latents": tables.codes(comparison), "Trajectories": tables.trajectories(comparison)}
    titled |= {f"Cost: {heading.lower()}": table for heading, table in tables.costs(comparison)}
    yield from ((heading, table) for heading, table in titled.items() if table is not None)
    if cards:
        signs = [f"{arrow} {meaning}" for arrow, meaning in ARROWS.items()]
        signs += [
            "* marks a model that is ahead of all others and of the baseline",
            f"[low, high] is a 95 % interval, ± the standard deviation over repeats ({sampled(comparison)})",
            *(comparison.info(metric).what for metric in main_metrics(comparison)),
        ]
        yield "How to read the scores", signs
    yield "Limits of this comparison", limits(comparison)
    yield "Protocol and machine", [f"{name}: {value}" for name, value in facts(comparison)]


def _bullets(sentences: Iterable[str], width: int) -> str:
    glued = (re.sub("(?<=[0-9]) (?=%)", GLUE, sentence) for sentence in sentences)
    return "\n".join(
        textwrap.fill(text, width, initial_indent="- ", subsequent_indent="  ") for text in glued
    ).replace(GLUE, " ")


def _table(table: Table, width: int, wrap: bool = True) -> str:
    """Format a table; columns that do not fit follow below, or are left out if ``wrap`` is False."""
    names = shortened(["", *map(_name, table.rows)], max(20, width // 3))
    first = max(map(len, names))
    blocks: list[list[list[str]]] = [[]]
    taken = first
    for at, column in enumerate(table.columns):
        cells = [row.cells[at] for row in table.rows]
        lines = [
            column.named,
            *(f"{cell.value}{cell.beside}{' *' if cell.best else ''}" for cell in cells),
        ]
        wide = max(map(len, lines))
        if blocks[-1] and taken + 2 + wide > width:
            if not wrap:
                break
            blocks.append([])
            taken = first
        blocks[-1].append([line.rjust(wide) for line in lines])
        taken += 2 + wide
    parts = []
    for block in blocks:
        lines = [
            "  ".join([name.ljust(first), *(cells[i] for cells in block)]).rstrip()
            for i, name in enumerate(names)
        ]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *([textwrap.fill(table.note, width)] if table.note else [])])


def _name(row: Row) -> str:
    if row.kind == "baseline" and row.name.startswith(BASELINE):
        return BASELINE
    return row.name


# Markdown -------------------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """Return the text of report.md."""
    parts = [f"# {escape(title(comparison))}", escape(subtitle(comparison))]
    parts.append(
        _listed(
            f"**{heading}** {_spans(answer)}" for heading, answer in answers(comparison).items()
        )
    )
    sections = dict(_sections(comparison))
    settings = tables.differences(comparison)
    if settings is not None:
        sections["Settings that differ"] = settings
    for heading, content in sections.items():
        text = _rows(content) if isinstance(content, Table) else _listed(map(escape, content))
        parts += [f"## {escape(heading)}\n\n{text}"] if text else []
    lines = "\n".join(commands(comparison))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", lines)), default=0))
    parts += [f"## Reproduce\n\n{fence}sh\n{lines}\n{fence}"] if lines else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _spans(answer: str) -> str:
    """Escape an answer for Markdown, except commands between backticks."""
    parts = " ".join(answer.split()).split("`")
    return "".join(
        f"`{part}`" if number % 2 else _escaped(part) for number, part in enumerate(parts)
    )


def escape(text: str) -> str:
    """Escape text for Markdown and HTML, on one line."""
    return _escaped(" ".join(str(text).split()))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("&", "&amp;")


def _rows(table: Table) -> str:
    lines: list[Sequence[str]] = [["", *(escape(column.named) for column in table.columns)]]
    for row in table.rows:
        cells = [(escape(cell.flat), cell.best) for cell in row.cells]
        lines.append([escape(row.name), *(f"**{cell}**" if best else cell for cell, best in cells)])
    lines.insert(1, ["---", *["--:"] * len(table.columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + (
        f"\n\n{escape(table.note)}" if table.note else ""
    )


def title(comparison: Comparison) -> str:
    """Return the heading of the page."""
    if len(comparison.models) == 1 and comparison.data.name and not comparison.title:
        return f"{comparison.models[0].name} on {comparison.data.name}"
    return comparison.title or "Comparison of generative models"


def subtitle(comparison: Comparison) -> str:
    """Describe data, budget and number of samples on one line."""
    data = comparison.data
    settings = comparison.settings
    size = " × ".join(
        map(str, data.shape[1:] if len(data.shape) == 3 and data.shape[0] == 1 else data.shape)
    )
    if data.kind == "row" and data.columns:
        size = counted(len(data.columns), "column")
    trained = settings.budget
    scored = scored_trainings(comparison)
    parts = [
        data.name,
        ""
        if data.train is None
        else f"{count(data.train)} training and {count(data.held_out)} held-out examples",
        size,
        f"trained for {trained}".replace("for --", "with --") if trained else "",
        f"scores of {scored}" if scored else "",
        f"{settings.seeds} training runs per recipe" if (settings.seeds or 1) > 1 else "",
        "" if settings.n is None else f"n = {count(settings.n)}",
    ]
    return " · ".join(filter(None, parts))


def scored_trainings(comparison: Comparison) -> str:
    """Return which training runs are scored if there are several budgets, else an empty string."""
    names = {model.name for model in comparison.models}
    last = [
        budget_of(points[-1])
        for name, points in comparison.sweep.items()
        if len(points) > 1 and name in names
    ]
    if last:
        return f"training runs of {', '.join(dict.fromkeys(last))}"
    return ""


def commands(comparison: Comparison) -> list[str]:
    """Return the commands that repeat the training runs and the comparison."""
    shorter = [
        line for points in comparison.sweep.values() for point in points for line in point.commands
    ]
    trainings = [line for model in comparison.models for line in model.commands]
    return list(
        dict.fromkeys(
            " ".join(line.split()) for line in (*shorter, *trainings, *comparison.commands)
        )
    )


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return name and value of data, settings and machine."""
    data = comparison.data
    settings = comparison.settings
    protocol = comparison.protocol
    rows: list[tuple[str, object]] = [
        ("Date", comparison.created),
        ("Data", data.name),
        ("Classes", f"{len(data.classes)} ({some(data.classes, 12)})" if data.classes else None),
        ("Conditions", ", ".join(data.given)),
        ("Data fingerprint", data.fingerprint),
        ("Samples per model", settings.n),
        ("Samplings per model", settings.repeats),
        ("Measurement plan", settings.plan.words if settings.plan.n else None),
        ("Training runs per recipe", settings.seeds),
        ("Budget", settings.budget),
        ("Neighbours k", settings.k),
        ("Features", settings.features),
        ("Feature extractor", protocol.extractor),
        ("Preprocessing", protocol.preprocessing),
        ("Quantisation", protocol.quantisation),
        ("Representation of rows", protocol.representation),
        ("Reference examples", protocol.reference),
    ]
    labels = {"cpu": "Processor", "processor": "Processor", "torch": "PyTorch"}
    rows += [
        (labels.get(key, key.capitalize()), value) for key, value in comparison.machine.items()
    ]
    rows += [(f"Run {model.name}", model.run) for model in comparison.models]
    return [
        (name, f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in rows
        if value not in (None, "", ())
    ]


def limits(comparison: Comparison) -> list[str]:
    """Return what the comparison cannot show."""
    sentences = [
        sentence
        for metric in main_metrics(comparison)
        if (sentence := _margins(comparison, metric))
    ]
    if any(len(model.trainings) < 2 and not model.given for model in comparison.models):
        sentences.append(
            "If a model was trained once, its intervals only cover sampling. Another seed can change the ranking."
        )
    if any(len(model.trainings) > 1 for model in comparison.models):
        sentences += [
            "Standard deviations over a few training runs are imprecise.",
            "Pictures and losses come from the first training run.",
        ]
    if comparison.settings.features:
        sentences.append(
            "Scores depend on the features named below and are not comparable with published scores."
        )
    apart = " They were measured in different sessions." if len(sessions(comparison)) > 1 else ""
    sentences.append(f"Times depend on the machine listed below.{apart}")
    for model in comparison.models:
        bits = model.scores.get("bpd")
        if bits is not None and "how" in bits.extra:
            sentences.append(
                f"Bits per dimension of {model.name}: {bits.extra['how']} (n = {bits.n})."
            )
    return [*sentences, *filter(None, [absent(comparison)])]


def _margins(comparison: Comparison, metric: str) -> str:
    """Return which differences in a score are too small to be significant; empty if unknown."""
    margins = sorted(margin(*pair) for pair in combinations(statistics(comparison, metric), 2))
    margins = [each for each in margins if 0 < each < math.inf]
    if not margins:
        return ""
    info = comparison.info(metric)
    n = comparison.settings.n
    factor, unit = (100, " percentage points") if info.unit == "%" else (1, "")
    ends = dict.fromkeys(plain(factor * end, 2) for end in (margins[0], margins[-1]))
    depending = ", depending on the models," if len(ends) > 1 else ""
    where = f" at n = {count(n)}" if n else ""
    return f"Differences in {inside(info.label)} below {' to '.join(ends)}{unit}{depending} are not significant{where}."


def absent(comparison: Comparison) -> str:
    """Return which models' samples are not shown; empty if all are, or the data is unknown."""
    models = [model for model in comparison.models if model.run or model.sampling.calls is not None]
    lacking = [
        model.name
        for model in models
        if comparison.pictures.get(model.name, Pictures()).grid is None
    ]
    if not lacking or not comparison.data.shape:
        return ""
    return f"report.json does not contain the samples of {listing(lacking)}. See report.html."
