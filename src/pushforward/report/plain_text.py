"""A comparison as plain text and as Markdown; its facts and limits."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from itertools import combinations, starmap

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, listing, plain, plural, shortened, some
from pushforward.report import steps_curves, tables
from pushforward.report.answers import answers
from pushforward.report.findings import findings, warnings
from pushforward.report.model_findings import texts
from pushforward.report.statistics import (
    factor_of,
    label_in_sentence,
    main_metrics,
    margin,
    sampled,
    sessions,
    statistics,
)
from pushforward.report.tables import ARROWS, BASELINE, Row, Table, budget_of

NARROW = 60  # minimum width of the text
WIDE = 120  # maximum width of the text
LINES = 30  # maximum number of lines of the short text
INDENT = 10  # width of the headings of the answers
GLUE = "\u00a0"  # non-breaking space


# Text for a terminal ----------------------------------------------------------------------------


def text(comparison: Comparison, full: bool = False, width: int | None = None) -> str:
    """Return the answers and one table in at most 30 lines.

    Args:
        comparison: The comparison.
        full: Whether to add all findings, scores and limits.
        width: Characters per line, from 60 to 120; None for the width of the terminal.
    """
    if width is None:
        width = shutil.get_terminal_size((80, 24)).columns
    width = max(NARROW, min(WIDE, width))
    if full:
        return _full(comparison, width)
    return _short(comparison, width)


def _answer_lines(comparison: Comparison, width: int) -> list[str]:
    wrapper = textwrap.TextWrapper(
        width,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = []
    for heading, answer in answers(comparison).items():
        glued = re.sub("`.*?`|[0-9] %", _glue, answer)
        for line in wrapper.wrap(f"{heading.ljust(INDENT)}{glued}"):
            lines.append(line.replace(GLUE, " "))
    return lines


def _glue(found: re.Match[str]) -> str:
    return found[0].strip("`").replace(" ", GLUE)


def _short(comparison: Comparison, width: int) -> str:
    lines = _answer_lines(comparison, width)
    table = tables.summary(comparison)
    by_place = sorted(table.rows, key=lambda row: row.index)  # the last models are left out first
    kept = by_place[: max(0, LINES - len(lines) - 4)]
    shown = Table(table.columns, [row for row in table.rows if row in kept])
    drawn = _table(shown, width, wrap=False) if shown else ""
    number = len(warnings(comparison))
    warned = f"{plural(number, 'warning')}, " if number else ""
    hint = f"Use --full to see {warned}all scores and limits."
    return "\n".join([*lines, "", *drawn.splitlines(), "", hint])


def _full(comparison: Comparison, width: int) -> str:
    parts = ["\n".join(_answer_lines(comparison, width))]
    for heading, content in _sections(comparison):
        if isinstance(content, Table):
            body = _table(content, width)
        else:
            body = _bullets(content, width)
        parts.append(f"{heading}\n{body}")
    return "\n\n".join(parts)


def _sections(comparison: Comparison) -> Iterator[tuple[str, Table | list[str]]]:
    found = findings(comparison)
    sections: dict[str, Table | list[str]] = {
        "Findings": texts(found, "verdict"),
        "Warnings": texts(found, "measure", "copies", "warning"),
    }
    sections["Quality over training time"] = tables.sweep_table(comparison)
    cards = tables.scorecards(comparison)
    for heading, card in cards:
        if len(comparison.models) == 1:
            card = tables.turned(card).filled
        sections[f"Scores: {heading.lower()}"] = card
    for model in comparison.models:
        sections[f"Few calls: {model.name}"] = steps_curves.steps_curve_table(comparison, model)
    sections["Latents"] = tables.codes(comparison)
    sections["Trajectories"] = tables.trajectories(comparison)
    for heading, table in tables.costs(comparison):
        sections[f"Cost: {heading.lower()}"] = table
    if cards:
        sections["How to read the scores"] = _legend(comparison)
    sections["Limits of this comparison"] = limits(comparison)
    sections["Protocol and machine"] = [f"{name}: {value}" for name, value in facts(comparison)]
    for heading, content in sections.items():
        if content:
            yield heading, content


def _legend(comparison: Comparison) -> list[str]:
    spread = f"± the standard deviation over repeats ({sampled(comparison)})"
    lines = ["* marks a model that is ahead of all others and of the baseline"]
    lines += [f"{arrow} {meaning}" for arrow, meaning in ARROWS.items()]
    lines.append(f"[low, high] is a 95 % interval, {spread}")
    lines += [comparison.info(metric).what for metric in main_metrics(comparison)]
    return lines


def _bullets(sentences: Iterable[str], width: int) -> str:
    lines = []
    for sentence in sentences:
        glued = re.sub("(?<=[0-9]) (?=%)", GLUE, sentence)
        lines.append(textwrap.fill(glued, width, initial_indent="- ", subsequent_indent="  "))
    return "\n".join(lines).replace(GLUE, " ")


def _table(table: Table, width: int, wrap: bool = True) -> str:
    names = shortened(["", *map(_name, table.rows)], max(20, width // 3))
    first = max(map(len, names))
    names = [name.ljust(first) for name in names]
    blocks = [names]  # lines of text
    for at, column in enumerate(table.columns):
        lines = [column.named]
        for row in table.rows:
            cell = row.cells[at]
            lines.append(f"{cell.value}{cell.beside}{' *' if cell.best else ''}")
        needed = max(map(len, lines))
        lines = [line.rjust(needed) for line in lines]
        if blocks[-1] is not names and len(blocks[-1][0]) + 2 + needed > width:
            if not wrap:
                break
            blocks.append(names)
        blocks[-1] = [f"{before}  {line}" for before, line in zip(blocks[-1], lines, strict=True)]
    parts = ["\n".join(map(str.rstrip, block)) for block in blocks]
    if table.note:
        parts.append(textwrap.fill(table.note, width))
    return "\n\n".join(parts)


def _name(row: Row) -> str:
    if row.kind == "baseline" and row.name.startswith(BASELINE):
        return BASELINE
    return row.name


# Markdown ---------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """Return the text of report.md."""
    answered = []
    for heading, answer in answers(comparison).items():
        answered.append(f"**{heading}** {_escape_outside_code(answer)}")
    parts = [
        f"# {escape(title(comparison))}",
        escape(subtitle(comparison)),
        _list_items(answered),
    ]
    sections = dict(_sections(comparison))
    settings = tables.differences(comparison)
    if settings:
        sections["Settings that differ"] = settings
    for heading, content in sections.items():
        if isinstance(content, Table):
            body = _markdown_table(content)
        else:
            body = _list_items(map(escape, content))
        parts.append(f"## {escape(heading)}\n\n{body}")
    lines = "\n".join(commands(comparison))
    if lines:
        longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
        fence = "`" * max(3, 1 + longest)
        parts.append(f"## Reproduce\n\n{fence}sh\n{lines}\n{fence}")
    return "\n\n".join(filter(None, parts)) + "\n"


def _list_items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _escape_outside_code(answer: str) -> str:
    parts = " ".join(answer.split()).split("`")
    parts[::2] = map(_escaped, parts[::2])
    return "`".join(parts)


def escape(text: str) -> str:
    """Escape text for Markdown and HTML, on one line."""
    return _escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("&", "&amp;")


def _markdown_table(table: Table) -> str:
    headings = [escape(column.named) for column in table.columns]
    lines = [["", *headings], ["---", *["--:"] * len(headings)]]
    for row in table.rows:
        line = [escape(row.name)]
        for cell in row.cells:
            flat = escape(cell.flat)
            line.append(f"**{flat}**" if cell.best else flat)
        lines.append(line)
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if table.note:
        text += f"\n\n{escape(table.note)}"
    return text


# Title, facts and commands ----------------------------------------------------------------------


def title(comparison: Comparison) -> str:
    """Return the heading of the page."""
    if comparison.title:
        return comparison.title
    if len(comparison.models) == 1 and comparison.data.name:
        return f"{comparison.models[0].name} on {comparison.data.name}"
    return "Comparison of generative models"


def subtitle(comparison: Comparison) -> str:
    """Describe data, budget and number of samples on one line."""
    data = comparison.data
    settings = comparison.settings
    parts = [data.name]
    if data.train is not None:
        parts.append(f"{count(data.train)} training and {count(data.held_out)} held-out examples")
    if data.kind == "row" and data.columns:
        parts.append(plural(len(data.columns), "column"))
    else:
        grayscale = len(data.shape) == 3 and data.shape[0] == 1
        sides = data.shape[1:] if grayscale else data.shape
        parts.append(" × ".join(map(str, sides)))
    if settings.budget:
        parts.append(f"trained for {settings.budget}".replace("for --", "with --"))
    longest = _longest_budgets(comparison)
    if longest:
        parts.append(f"scores of training runs of {longest}")
    if settings.seeds is not None and settings.seeds > 1:
        parts.append(f"{settings.seeds} training runs per recipe")
    if settings.n is not None:
        parts.append(f"n = {count(settings.n)}")
    return " · ".join(filter(None, parts))


def _longest_budgets(comparison: Comparison) -> str:
    names = {model.name for model in comparison.models}
    swept = [points for name, points in comparison.sweep.items() if name in names]
    budgets = [budget_of(points[-1]) for points in swept if len(points) > 1]
    return ", ".join(dict.fromkeys(budgets))


def commands(comparison: Comparison) -> list[str]:
    """Return the commands that repeat the training runs and the comparison."""
    lines: list[str] = []
    for points in comparison.sweep.values():
        for point in points:
            lines += point.commands
    for model in comparison.models:
        lines += model.commands
    lines += comparison.commands
    return list(dict.fromkeys(" ".join(line.split()) for line in lines))


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return name and value of data, settings and machine."""
    data = comparison.data
    settings = comparison.settings
    protocol = comparison.protocol
    rows = [
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
    for key, value in comparison.machine.items():
        rows.append((labels.get(key, key.capitalize()), value))
    for model in comparison.models:
        rows.append((f"Run {model.name}", model.run))
    known = []
    for name, fact in rows:
        if fact not in (None, "", ()):
            known.append((name, f"{fact:,}" if isinstance(fact, int) else str(fact)))
    return known


# Limits -----------------------------------------------------------------------------------------


def limits(comparison: Comparison) -> list[str]:
    """Return what the comparison cannot show."""
    sentences = [_margins(comparison, metric) for metric in main_metrics(comparison)]
    if any(len(model.trainings) < 2 and not model.given for model in comparison.models):
        sentences.append(
            "If a model was trained once, its intervals only cover sampling. Another seed can "
            "change the ranking."
        )
    if any(len(model.trainings) > 1 for model in comparison.models):
        sentences.append("Standard deviations over a few training runs are imprecise.")
        sentences.append("Pictures and losses come from the first training run.")
    if comparison.settings.features:
        sentences.append(
            "Scores depend on the features named below and are not comparable with published "
            "scores."
        )
    times = "Times depend on the machine listed below."
    if len(sessions(comparison)) > 1:
        times += " They were measured in different sessions."
    sentences.append(times)
    for model in comparison.models:
        bits = model.scores.get("bpd")
        if bits is not None and "how" in bits.extra:
            how = f"{bits.extra['how']} (n = {bits.n})"
            sentences.append(f"Bits per dimension of {model.name}: {how}.")
    sentences.append(absent(comparison))
    return list(filter(None, sentences))


def _margins(comparison: Comparison, metric: str) -> str:
    pairs = combinations(statistics(comparison, metric), 2)
    margins = [least for least in starmap(margin, pairs) if 0 < least < math.inf]
    if not margins:
        return ""
    factor = factor_of(comparison, metric)
    low = plain(factor * min(margins), 2)
    high = plain(factor * max(margins), 2)
    unit = " percentage points" if factor == 100 else ""
    text = f"Differences in {label_in_sentence(comparison, metric)} below {low}"
    if low == high:
        text += unit
    else:
        text += f" to {high}{unit}, depending on the models,"
    text += " are not significant"
    if comparison.settings.n:
        text += f" at n = {count(comparison.settings.n)}"
    return f"{text}."


def absent(comparison: Comparison) -> str:
    """Return which models' samples are not shown."""
    lacking = []
    for model in comparison.models:
        sampled_model = model.run or model.sampling.calls is not None
        if sampled_model and comparison.pictures.get(model.name, Pictures()).grid is None:
            lacking.append(model.name)
    if not lacking or not comparison.data.shape:
        return ""
    return f"report.json does not contain the samples of {listing(lacking)}. See report.html."
