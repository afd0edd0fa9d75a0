"""A comparison as plain text within the width of a terminal, in short or in full, and as Markdown; its facts and limits."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, counted, plain, shortened
from pushforward.report import ladders, tables
from pushforward.report.answers import answers
from pushforward.report.findings import findings
from pushforward.report.statistics import inside, main_metrics, margin, sampled, sessions, statistics
from pushforward.report.tables import ARROWS, BASELINE, Row, Table, budget_of

NARROW, WIDE = 60, 120  # The least and the greatest width of the text
LINES = 25  # Of the short text at most
INDENT = 10  # Characters before the answers, in which their headings stand
GLUE = "\u00a0"  # A space at which no line breaks
KINDS = {"Findings": ("verdict",), "Warnings": ("measure", "copies", "warning")}  # Kinds of findings by their heading


def text(comparison: Comparison, full: bool = False, width: int | None = None) -> str:
    """The answers and one table; in full also all findings, scores and limits.

    Args:
        comparison: What is reported.
        full: Whether nothing is left out; the short text has 25 lines at most.
        width: Characters in a line; None takes the terminal's, 80 where there is none, from 60 to 120.
    """
    width = max(NARROW, min(WIDE, width or shutil.get_terminal_size((80, 24)).columns))
    return _full(comparison, width) if full else _short(comparison, width)


def _answered(comparison: Comparison, width: int) -> list[str]:
    """The answers as lines, indented beside their headings; commands and shares stay on one line."""
    wrapper = textwrap.TextWrapper(width, "", " " * INDENT, break_long_words=False, break_on_hyphens=False)
    lines = []
    for heading, answer in answers(comparison).items():
        glued = re.sub("`.*?`|[0-9] %", lambda found: found[0].strip("`").replace(" ", GLUE), answer)
        lines += [line.replace(GLUE, " ") for line in wrapper.wrap(f"{heading.ljust(INDENT)}{glued}")]
    return lines


def _short(comparison: Comparison, width: int) -> str:
    lines, table = _answered(comparison, width), tables.summary(comparison)
    rows = table.rows[: max(0, LINES - len(lines) - 4)]
    drawn = _table(Table(table.columns, rows), width, wrap=False).split("\n") if rows else []
    warned = counted(sum(finding.kind != "verdict" for finding in findings(comparison)), "warning")
    return "\n".join([*lines, "", *drawn, "", f"{warned}, all scores and limits: --full"])


def _full(comparison: Comparison, width: int) -> str:
    parts = ["\n".join(_answered(comparison, width))]
    for heading, content in _sections(comparison):
        text = _table(content, width) if isinstance(content, Table) else _bullets(content, width)
        parts += [f"{heading}\n{text}"] if text else []
    return "\n\n".join(parts)


def _sections(comparison: Comparison) -> Iterator[tuple[str, Table | list[str]]]:
    """Everything below the answers, by its heading."""
    found = findings(comparison)
    for heading, kinds in KINDS.items():
        yield heading, [finding.text for finding in found if finding.kind in kinds]
    cards = tables.scorecards(comparison)
    single = len(comparison.models) == 1
    titled = {"Quality against the time of training": tables.sweep_table(comparison)}
    titled |= {f"Scores: {heading.lower()}": tables.turned(card).filled if single else card for heading, card in cards}
    titled |= {f"Few calls: {model.name}": ladders.ladder_table(comparison, model) for model in comparison.models}
    titled |= {"Codes": tables.codes(comparison), "Trajectories": tables.trajectories(comparison)}
    titled |= {f"Cost: {heading.lower()}": table for heading, table in tables.costs(comparison)}
    yield from ((heading, table) for heading, table in titled.items() if table is not None)
    signs = [f"{arrow} {meaning}" for arrow, meaning in ARROWS.items()]
    signs += ["* clearly ahead of all other models and of the baseline", f"[low, high] 95 % interval; {sampled(comparison)}"]
    yield "How to read the scores", signs if cards else []
    yield "Limits of this comparison", limits(comparison)
    yield "Protocol and machine", [f"{name}: {value}" for name, value in facts(comparison)]


def _bullets(sentences: Iterable[str], width: int) -> str:
    return "\n".join(textwrap.fill(text, width, initial_indent="- ", subsequent_indent="  ") for text in sentences)


def _table(table: Table, width: int, wrap: bool = True) -> str:
    """Rows and columns; columns that do not fit beside the others follow below, or with ``wrap`` False are left out."""
    names = shortened(["", *map(_name, table.rows)], max(20, width // 3))
    first = max(map(len, names))
    blocks: list[list[list[str]]] = [[]]
    for at, column in enumerate(table.columns):
        cells = [row.cells[at] for row in table.rows]
        lines = [column.named, *(f"{cell.value}{cell.beside}{' *' if cell.best else ''}" for cell in cells)]
        wide = max(map(len, lines))
        if blocks[-1] and first + sum(2 + len(lines[0]) for lines in blocks[-1]) + 2 + wide > width:
            if not wrap:
                break
            blocks.append([])
        blocks[-1].append([line.rjust(wide) for line in lines])
    note = [textwrap.fill(table.note, width)] if table.note else []
    parts = [
        "\n".join("  ".join([name.ljust(first), *(lines[i] for lines in block)]).rstrip() for i, name in enumerate(names))
        for block in blocks
    ]
    return "\n\n".join([*parts, *note])


def _name(row: Row) -> str:
    return BASELINE if row.kind == "baseline" and row.name.startswith(BASELINE) else row.name


# Markdown -------------------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """The text of report.md."""
    parts = [f"# {escape(title(comparison))}", escape(subtitle(comparison))]
    parts.append(_listed(f"**{heading}** {_spans(answer)}" for heading, answer in answers(comparison).items()))
    for heading, content in _sections(comparison):
        text = _rows(content) if isinstance(content, Table) else _listed(map(escape, content))
        parts += [f"## {escape(heading)}\n\n{text}"] if text else []
    settings = tables.differences(comparison)
    parts += [] if settings is None else [f"## Settings that differ\n\n{_rows(settings)}"]
    lines = "\n".join(commands(comparison))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", lines)), default=0))
    parts += [f"## Reproduce\n\n{fence}sh\n{lines}\n{fence}"] if lines else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _spans(answer: str) -> str:
    """An answer in Markdown; a command between backticks is code, in which nothing is escaped."""
    parts = answer.split("`")
    return "".join(f"`{part}`" if number % 2 else escape(part) for number, part in enumerate(parts))


def escape(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def _rows(table: Table) -> str:
    lines: list[Sequence[str]] = [["", *(escape(column.named) for column in table.columns)]]
    for row in table.rows:
        cells = [(escape(cell.flat), cell.best) for cell in row.cells]
        lines.append([escape(row.name), *(f"**{cell}**" if best else cell for cell, best in cells)])
    lines.insert(1, ["---", *["--:"] * len(table.columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + (f"\n\n{escape(table.note)}" if table.note else "")


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
    """Commands that repeat the training runs, then the comparison, each once, one line each."""
    shorter = [line for points in comparison.sweep.values() for point in points for line in point.commands]
    trainings = [line for model in comparison.models for line in model.commands]
    return list(dict.fromkeys(" ".join(line.split()) for line in (*shorter, *trainings, *comparison.commands)))


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
        ("Measured", settings.plan.words if settings.plan.n else None),
        ("Trainings of each recipe", settings.seeds),
        ("Budget", settings.budget),
        ("Neighbours k", settings.k),
        ("Features", settings.features),
        ("Feature extractor", protocol.extractor),
        ("Preprocessing", protocol.preprocessing),
        ("Quantisation", protocol.quantisation),
        ("Distances between rows", protocol.representation),
        ("Reference examples", protocol.reference),
    ]
    labels = {"cpu": "Processor", "processor": "Processor", "torch": "PyTorch"}
    rows += [(labels.get(key, key.capitalize()), value) for key, value in comparison.machine.items()]
    rows += [(f"Run {model.name}", model.run) for model in comparison.models]
    return [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in rows if value not in (None, "", ())]


def limits(comparison: Comparison) -> list[str]:
    """What this comparison cannot show."""
    sentences, n = [], comparison.settings.n
    for metric in main_metrics(comparison):
        margins = sorted(margin(*pair) for pair in combinations(statistics(comparison, metric), 2))
        margins = [each for each in margins if 0 < each < math.inf]
        if margins:
            info, where = comparison.info(metric), f", at n = {count(n)}" if n else ""
            ends = [plain(end * (100 if info.unit == "%" else 1), 2) for end in (margins[0], margins[-1])]
            span = " to ".join(dict.fromkeys(ends)) + " percentage points" * (info.unit == "%")
            sentences.append(f"Differences in {inside(info.label)} are clear from {span} on{where}; smaller ones may be chance.")
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
