"""The cells of a table's text: encoding, separator, quotes, comments and lines of another length."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pushforward.data.tables.faults import Faults, some

__all__ = ["NAMES", "Cells", "Progress", "cells_of"]

SEPARATORS = ("\t", ";", "|", ",", " ")
"""In the order in which they are preferred, where several split all lines alike: 1,5;2,5 holds decimal commas."""
NAMES = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma", " ": "blanks"}
COMMENTS = ("#", "%", "|", "//")
LOOKED_AT = 200
"""Lines by which the separator is chosen."""
EVERY = 50_000
"""Rows from one report of progress to the next."""
Progress = Callable[[int, int], None]
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Cells:
    """The cells of a table's text, without blanks around them.

    Args:
        rows: Those of each line, the first one included.
        lines: The number of the line on which each row ends, from 1.
        separator: Between cells; a blank stands for any run of them.
        encoding: Of the text.
        comments: The numbers of the lines that were left out as comments.
        faults: What is wrong.
    """

    rows: list[list[str]]
    lines: list[int]
    separator: str = ","
    encoding: str = "utf-8"
    comments: tuple[int, ...] = ()
    faults: Faults = field(default_factory=Faults)


def cells_of(content: bytes, separator: str | None = None, progress: Progress | None = None) -> Cells:
    """Split the content of a file into cells.

    Args:
        content: The whole file.
        separator: Between cells; None to find out which one splits the lines alike.
        progress: Called with the number of lines that were read, and that of all, from time to time.

    Returns:
        The cells; what is wrong with them is in ``faults``.
    """
    faults = Faults()
    text, encoding = _decoded(content, faults)
    separator = separator or _separator(text)
    rows, lines = _split(text, separator, faults, progress)
    width = _width(rows)
    usual, comments, ragged = [], [], []
    for place, row in enumerate(rows):
        if len(row) == width:
            usual.append(place)
        elif row[0].startswith(COMMENTS):
            comments.append(lines[place])
        elif any(row):
            ragged.append(f"line {lines[place]} ({len(row)} cell{'s' * (len(row) != 1)})")
    if ragged:
        number = f"{len(ragged):,} line{' has' if len(ragged) == 1 else 's have'}"
        faults.add(
            f"{number} another number of cells than the other lines, which have {width}: {some(ragged)}. The separator is "
            f"{_named(separator)}. Correct or remove these lines; put quotes around cells that hold the separator."
        )
    return Cells([rows[i] for i in usual], [lines[i] for i in usual], separator, encoding, tuple(comments), faults)


def _named(separator: str) -> str:
    return NAMES.get(separator, f'"{separator}"') if separator == " " else f"the {NAMES.get(separator, separator)}"


def _decoded(content: bytes, faults: Faults) -> tuple[str, str]:
    """The text and its encoding; bytes that are no text are noted."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError:
        text = content.decode(encoding, errors="replace")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if "\ufffd" in line]
    faults.add(
        f"{len(lines):,} line{'s are' if len(lines) != 1 else ' is'} not UTF-8 text: {_lines(lines)}. Save the file in UTF-8; "
        "files of older programs are often in Windows-1252: `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`."
    )
    return text, encoding


def _lines(numbers: list[int]) -> str:
    return f"line{'s' * (len(numbers) != 1)} {some(numbers)}"


def _separator(text: str) -> str:
    """The separator that splits most of the first lines into as many cells as their first one, and into more than one."""
    lines = text.split("\n", LOOKED_AT)[:LOOKED_AT]
    head = "\n".join(line for line in lines if not line.startswith(COMMENTS)) or "\n".join(lines)
    best, most = ",", 0.0
    for separator in SEPARATORS:
        rows, _ = _split(head, separator, Faults())
        width = _width(rows)
        share = sum(len(row) == width for row in rows) / max(1, len(rows)) if width > 1 else 0.0
        if share > most + (0.2 if separator == " " else 0):
            best, most = separator, share
    return best


def _width(rows: list[list[str]]) -> int:
    """The usual number of cells in a row."""
    return Counter(map(len, rows)).most_common(1)[0][0] if rows else 0


def _split(text: str, separator: str, faults: Faults, progress: Progress | None = None) -> tuple[list[list[str]], list[int]]:
    """The cells of every line that holds any, and the line each row ends on."""
    if separator == " ":
        text = "\n".join(line.strip().replace("\t", " ") for line in text.splitlines())
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=separator, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    known: dict[str, str] = {}  # equal cells are one text in memory
    total, same = text.count("\n") + 1 if progress else 0, known.setdefault
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                cells = [*map(str.strip, row)]
                rows.append([*map(same, cells, cells)])
                lines.append(reader.line_num)
                if progress and not len(lines) % EVERY:
                    progress(min(reader.line_num, total), total)
    except csv.Error as error:
        faults.add(f"line {reader.line_num}: {error}. Is a quote that begins a cell not closed?")
    if rows and any("\n" in cell for cell in rows[-1]):
        _check_end(text, separator, lines, faults)
    return rows, lines


def _check_end(text: str, separator: str, lines: list[int], faults: Faults) -> None:
    """Note a quote that is never closed, which swallows the rest of the file."""
    start = lines[-2] if len(lines) > 1 else 0
    rest = "\n".join(text.split("\n")[start:])
    try:
        list(csv.reader(io.StringIO(rest, newline=""), delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "end of data" in str(error):
            faults.add(f"a quote that is opened on line {start + 1} is never closed. Close or remove it.")
