"""Pieces of HTML that several sections of the page are made of; every text of the user passes `escape`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report import tables
from pushforward.report.charts import COLOURS, marker
from pushforward.report.sentences import CLOSE, OPEN, family_aside

__all__ = [
    "bullets",
    "framed",
    "panel",
    "prose",
    "scrolled",
    "side_by_side",
    "sign",
    "signs",
    "split",
    "titled",
    "unbroken",
    "whole_options",
]

CHART_OR_TAG = re.compile(r"(<svg\b.*?</svg>|<[^>]*>)", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def sign(index: int | None) -> str:
    """The sign of a model by its number; nothing for None."""
    if index is None:
        return ""
    colour = f"e{index % len(COLOURS)}"
    return f'<svg class="sign {colour}" viewBox="-6 -6 12 12" aria-hidden="true">{marker(index, r=4.8)}</svg>'


def titled(model: ModelResult, index: int) -> str:
    """A model's sign, name, and family where the name does not say it."""
    return f"{sign(index)}<strong>{escape(model.name)}</strong>{_beside(family_aside(model))}"


def _beside(family: str) -> str:
    return f' <span class="family">{escape(family)}</span>' if family else ""


def signs(comparison: Comparison, some: Collection[int] | None = None) -> str:
    """The signs of all models, or of those with these numbers."""
    chosen = [(number, model) for number, model in enumerate(comparison.models) if some is None or number in some]
    items = [f"<li>{sign(number)}{escape(model.name)}</li>" for number, model in chosen]
    return f'<ul class="legend" style="margin:.4rem 0 1rem">{"".join(items)}</ul>'


def prose(marked: str) -> str:
    """Marked text as HTML, with names set apart."""
    return escape(unbroken(marked)).replace(OPEN, '<span class="name">').replace(CLOSE, "</span>")


def unbroken(text: str) -> str:
    """Text whose lines do not break within a number and its error or unit."""
    return re.sub(r"(?<=\d) %", "\u00a0%", text.replace(" ± ", "\u00a0±\u00a0").replace("n = ", "n\u00a0=\u00a0"))


def whole_options(html: str) -> str:
    """HTML whose lines do not break within the name of an option, such as ``--budget``; charts are left as they are."""
    parts = CHART_OR_TAG.split(html)
    return "".join(part if at % 2 else OPTION.sub(r'<span class="option">\g<0></span>', part) for at, part in enumerate(parts))


def split(words: str, picture: str) -> str:
    """Words beside a picture, where there is room; one of both alone where the other is empty."""
    if not words or not picture:
        return words or picture
    return f'<div class="split"><div class="words">{words}</div><div class="shown">{picture}</div></div>'


def scrolled(table: tables.Table, label: str) -> str:
    """A table whose rows become blocks of their own where the page is narrow."""
    full = " class=full" if len(table.columns) > 4 else ""
    head = "".join(f"<th scope=col>{_heading(column)}</th>" for column in table.columns)
    body, before = "", "model"
    for row in table.rows:
        is_model = row.kind == "model"
        plain = is_model or row.kind in ("calls", "key")
        kind = "" if plain else f' class="reference{" first" if before in ("model", "calls", "key") else ""}"'
        before = row.kind
        name = f"{sign(row.index) if is_model else ''}{escape(row.name)}{_beside(row.family)}"
        cells = "".join(_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True))
        body += f"<tr{kind}><th scope=row>{name}</th>{cells}</tr>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table{full}><thead><tr><td></td>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(column: tables.Column) -> str:
    label = f'<abbr title="{escape(column.what)}">{escape(column.label)}</abbr>' if column.what else escape(column.label)
    return label + (f"<small>{escape(column.hint)}</small>" if column.hint else "")


def _cell(cell: tables.Cell, column: tables.Column) -> str:
    spread, value = f' <span class="spread">± {escape(cell.spread)}</span>' if cell.spread else "", cell.value
    if cell.interval:
        interval = cell.interval.removesuffix(" %")
        value += "\u00a0%" * (interval != cell.interval)  # the interval stands on a line of its own
        spread = f' <span class="interval">{escape(interval)}</span>'
    notes = [escape(cell.note)] if cell.note else []
    if cell.best:
        notes.append('<span class="flag">best</span>')
    small = f"<small>{' · '.join(notes)}</small>" if notes else ""
    kinds = " ".join(filter(None, ["best" if cell.best else "", "" if cell.value != "–" else "none"]))
    kind = f' class="{kinds}"' if kinds else ""
    named = f"{column.label}, {column.hint}" if column.hint and column.named == column.label else column.named
    return f'<td{kind} data-label="{escape(named)}"><span class="value">{escape(value)}</span>{spread}{small}</td>'


def side_by_side(panels: Sequence[str]) -> str:
    """Panels side by side; up to six in a row where there is room."""
    columns = len(panels) if len(panels) <= 6 else -(-len(panels) // 2) if len(panels) <= 10 else 5
    return f'<div class="panels" style="--n:{min(6, max(3, columns))}">{"".join(panels)}</div>'


def framed(keys: str, chart: str, note: str = "") -> str:
    """A chart as wide as the page, below the signs of its lines and above a note."""
    caption = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return f'<figure class="wide">{keys}<div class="scroll">{chart}</div>{caption}</figure>'


def panel(title: str, picture: tuple[str, int, int], alt: str) -> str:
    """A picture under its title; the title is HTML, the picture a data URI with its width and height."""
    uri, width, height = picture
    return (
        f'<figure><p class="figtitle">{title}</p><div class="frame"><img src="{uri}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}"></div></figure>'
    )


def bullets(title: str, items: Iterable[str]) -> str:
    """A heading over a list of HTML items; nothing where there are none."""
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f'<h3>{title}</h3><ul class="plain">{rows}</ul>' if rows else ""
