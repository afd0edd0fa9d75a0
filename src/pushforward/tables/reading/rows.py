"""Write rows as cells, with numpy only: python rows.py samples.npy samples.csv.

pushforward decodes and writes numbers with the functions of this file, and copies it into each
export of a table.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXPORT = ""  # The identifier of the export that this copy belongs to
Form = Mapping[
    str, Any
]  # The settings of `pushforward.tables.reading.string_columns.Format` by name
Floats = NDArray[np.float64]

# Parts of a date that are written without a zero before them, which `datetime.strftime` cannot do
# on every system.
_PARTS = {"%-d": "day", "%-m": "month", "%-H": "hour"}
_UNITS = {"%f": 1e-6, "%S": 1.0, "%M": 60.0, "H": 3600.0}


def unit(pattern: str) -> float:
    """Return the precision of dates of a pattern, in seconds."""
    units = (seconds for part, seconds in _UNITS.items() if part in pattern)
    return next(units, 86400.0)


def rounded(values: Floats, form: Form) -> Floats:
    """Round numbers or dates to the precision of their cells."""
    if form["pattern"]:
        seconds = unit(form["pattern"])
        return np.round(values / seconds) * seconds
    digits = form["digits"]
    if digits is not None:
        return np.array([float(f"{value:.{digits}g}") for value in values.tolist()])
    if form["decimals"] is None:
        return values
    return np.round(values, form["decimals"]) + 0.0


def between(scores: Floats, edges: Floats, numbers: Floats, form: Form) -> Floats:
    """Interpolate numbers linearly between the edges of their scores, and round them."""
    values = rounded(np.interp(scores, edges, numbers), form)
    short = edges.astype(np.float32).astype(np.float64)
    place = np.minimum(np.searchsorted(short, scores), len(short) - 1)
    values = np.where(short[place] == scores, numbers[place], values)
    return np.clip(values, numbers[0], numbers[-1])


def written(value: float, form: Form) -> str:
    """Write a number, or a date in seconds since 1970, as a cell."""
    if form["pattern"]:
        return _date(value, form["pattern"])
    text = _number(value, form)
    whole, point, fraction = text.removeprefix("-").partition(".")
    if form["group"] and whole.isdecimal():
        whole = f"{int(whole):,}".replace(",", form["group"])
    sign = "-" if text.startswith("-") else ""
    if form["plus"] and float(text) > 0:
        sign = "+"
    number = whole + (point and form["point"]) + fraction
    return sign + form["prefix"] + number + form["suffix"]


def _date(value: float, pattern: str) -> str:
    moment = datetime.fromtimestamp(value, UTC)
    for part, name in _PARTS.items():
        pattern = pattern.replace(part, str(getattr(moment, name)))
    return moment.strftime(pattern)


def _number(value: float, form: Form) -> str:
    decimals = form["decimals"]
    least = form["least"]
    digits = form["digits"]
    if decimals is None:
        if digits is not None:
            value = float(f"{value:.{digits}g}")
        if value == int(value) and abs(value) < 2**53:
            return str(int(value))
        return repr(float(value))
    text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    whole, _, fraction = text.partition(".")
    if least is None or least >= decimals:
        return text
    fraction = fraction.rstrip("0").ljust(least, "0")
    if fraction:
        return f"{whole}.{fraction}"
    return whole


def cells_of(column: Mapping[str, Any], x: NDArray[Any]) -> list[str]:
    """Return the cells of one of the columns of ``space.json``, from coordinates (n, d)."""
    block = x[:, column["start"] : column["stop"]].astype(np.float64)
    texts = column["texts"]
    if "edges" not in column:
        return list(map(texts.__getitem__, np.argmax(block, axis=1)))
    ordinary = _ordinary(column, block[:, 0])
    indicators = block[:, 1:]
    if indicators.shape[1] == 0:
        return ordinary
    if not column.get("cells", column.get("numbers")):
        indicators[:, 0] = -np.inf  # every value is among the texts
    chosen = np.argmax(indicators, axis=1).tolist()
    for row, place in enumerate(chosen):
        if place:
            ordinary[row] = texts[place - 1]
    return ordinary


def _ordinary(column: Mapping[str, Any], scores: Floats) -> list[str]:
    edges = np.array(column["edges"])
    if "cells" in column:
        cells = column["cells"] or [""]
        return list(map(cells.__getitem__, np.searchsorted(edges, scores)))
    values = between(scores, edges, np.array(column["numbers"]), column["form"])
    return [written(value, column["form"]) for value in values.tolist()]


def main() -> None:
    """Write the table that the command line asks for."""
    space = json.loads(Path(__file__).with_name("space.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=f"Write samples of {space['name']} as a table.")
    parser.add_argument(
        "samples", type=Path, help="coordinates that run.py has drawn, such as samples.npy"
    )
    parser.add_argument("table", type=Path, help="the table to write, .csv or .tsv")
    asked = parser.parse_args()
    if space.get("export") != EXPORT:
        parser.error(
            "rows.py and space.json belong to different exports. Export again into an empty folder."
        )
    if not asked.samples.is_file():
        parser.error(f"{asked.samples} does not exist. Create it with run.py.")
    x = np.load(asked.samples, allow_pickle=False)
    if list(x.shape[1:]) != space["shape"]:
        parser.error(
            f"{asked.samples} contains arrays of shape {x.shape[1:]}, not {space['shape']}"
        )
    columns = [cells_of(column, x) for column in space["columns"]]
    separator = space["table"]["separator"]
    if asked.table.suffix.lower() == ".tsv":
        separator = "\t"
    with asked.table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        if space["table"]["header"]:
            writer.writerow([column["name"] for column in space["columns"]])
        writer.writerows(zip(*columns, strict=True))


if __name__ == "__main__":
    main()
