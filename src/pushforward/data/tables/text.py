"""The cells of a table's text: encoding, separator, quotes, comments and lines of another length."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pushforward.data.tables.faults import Faults, some
from pushforward.data.tables.rows import CellRows, Collector

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
Report = Callable[[int], None]
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

    rows: CellRows
    lines: Sequence[int]
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
    head, encoding = _decoded(content, faults)
    separator = separator or _separator(head)
    total = content.count(b"\n") + 1
    report = (lambda line: progress(min(line, total), total)) if progress else None
    split = _split(lambda: _lines_of(content, encoding, separator), separator, faults, report)
    usual, lines = split.rows()
    width, comments, ragged = split.usual, [], []
    for place, row in split.others:
        if row[0].startswith(COMMENTS):
            comments.append(split.lines[place])
        elif any(row):
            ragged.append(f"line {split.lines[place]} ({len(row)} cell{'s' * (len(row) != 1)})")
    if ragged:
        number = f"{len(ragged):,} line{' has' if len(ragged) == 1 else 's have'}"
        faults.add(
            f"{number} another number of cells than the other lines, which have {width}: {some(ragged)}. The separator is "
            f"{_named(separator)}. Correct or remove these lines; put quotes around cells that hold the separator."
        )
    return Cells(usual, lines, separator, encoding, tuple(comments), faults)


def _named(separator: str) -> str:
    return NAMES.get(separator, f'"{separator}"') if separator == " " else f"the {NAMES.get(separator, separator)}"


def _decoded(content: bytes, faults: Faults) -> tuple[str, str]:
    """The first lines of the text, and its encoding; bytes that are no text are noted."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return _head(content.decode(encoding)), encoding
    except UnicodeDecodeError:
        text = content.decode(encoding, errors="replace")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if "\ufffd" in line]
    faults.add(
        f"{len(lines):,} line{'s are' if len(lines) != 1 else ' is'} not UTF-8 text: {_lines(lines)}. Save the file in UTF-8; "
        "files of older programs are often in Windows-1252: `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`."
    )
    return _head(text), encoding


def _head(text: str) -> str:
    """The first lines."""
    return "\n".join(text.split("\n", LOOKED_AT)[:LOOKED_AT])


def _lines(numbers: list[int]) -> str:
    return f"line{'s' * (len(numbers) != 1)} {some(numbers)}"


def _separator(text: str) -> str:
    """The separator that splits most of the first lines into as many cells as their first one, and into more than one."""
    lines = text.split("\n")
    head = "\n".join(line for line in lines if not line.startswith(COMMENTS)) or "\n".join(lines)
    best, most = ",", 0.0
    for separator in SEPARATORS:
        split = _split(partial(_lines_in, head, separator), separator, Faults())
        share = split.widths[split.usual] / max(1, len(split.lines)) if split.usual > 1 else 0.0
        if share > most + (0.2 if separator == " " else 0):
            best, most = separator, share
    return best


def _lines_of(content: bytes, encoding: str, separator: str) -> Iterable[str]:
    """The lines of a file's content, which is decoded part by part."""
    if separator == " ":
        return _lines_in(content.decode(encoding, errors="replace"), separator)
    return io.TextIOWrapper(io.BytesIO(content), encoding, errors="replace", newline="")


def _lines_in(text: str, separator: str) -> Iterable[str]:
    """The lines of a text; cells between blanks have none before and after them, and no tabs."""
    if separator == " ":
        return (line.strip().replace("\t", " ") + "\n" for line in text.splitlines())
    return io.StringIO(text, newline="")


def _split(source: Callable[[], Iterable[str]], separator: str, faults: Faults, report: Report | None = None) -> Collector:
    """The cells of every line that holds any.

    Args:
        source: Returns the lines, which are read again where their first ones have another number of cells than most.
        separator: Between cells.
        faults: Notes what is wrong.
        report: Called with the number of lines that were read, from time to time.
    """
    split = _collected(source(), separator, None, faults, report)
    if split.width not in (None, split.usual):
        split = _collected(source(), separator, split.usual, Faults(), report)
    if any("\n" in cell for cell in split.last):
        _check_end("".join(source()), separator, split.lines, faults)
    return split


def _collected(lines: Iterable[str], separator: str, width: int | None, faults: Faults, report: Report | None) -> Collector:
    reader, split = csv.reader(lines, delimiter=separator, skipinitialspace=True), Collector(width)
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                split.add(row, reader.line_num)
                if report and not len(split.lines) % EVERY:
                    report(reader.line_num)
    except csv.Error as error:
        faults.add(f"line {reader.line_num}: {error}. Is a quote that begins a cell not closed?")
    split.take_apart()
    return split


def _check_end(text: str, separator: str, lines: Sequence[int], faults: Faults) -> None:
    """Note a quote that is never closed, which swallows the rest of the file."""
    start = lines[-2] if len(lines) > 1 else 0
    rest = "\n".join(text.split("\n")[start:])
    try:
        list(csv.reader(io.StringIO(rest, newline=""), delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "end of data" in str(error):
            faults.add(f"a quote that is opened on line {start + 1} is never closed. Close or remove it.")
