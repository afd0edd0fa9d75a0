"""Writes the coordinates of rows that run.py has drawn as a table, with numpy alone: python rows.py samples.npy samples.csv."""

import csv
import datetime
import json
import pathlib
import sys

import numpy as np


def cells_of(column, x):
    """The cells of one column of ``space.json``, from coordinates (n, d)."""
    block = x[:, column["start"] : column["stop"]].astype(np.float64)
    scored = "edges" in column  # then the first coordinate is a score, and the first indicator says that it counts
    texts = np.array([*([None] * scored), *column["texts"]], dtype=object)
    special = texts[np.argmax(block[:, scored:], axis=1)] if block.shape[1] > scored else np.full(len(x), None)
    if not scored:
        return special.tolist()
    if column.get("cells") is not None:
        ordinary = np.array([*column["cells"], None], dtype=object)[np.searchsorted(column["edges"], block[:, 0])]
    else:
        numbers = np.interp(block[:, 0], column["edges"], column["numbers"])
        ordinary = [written(value, column) for value in numbers.tolist()]
    return [text if text is not None else number for text, number in zip(special, ordinary, strict=True)]


def written(value, column):
    """A number or date as the table writes it."""
    if column["pattern"]:
        seconds = round(value / column["unit"]) * column["unit"]
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
        return moment.strftime(column["pattern"])
    if column["decimals"] is None:
        value = float(f"{value:.{column['digits'] or 17}g}")
        text = str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
    else:
        text = f"{round(value, column['decimals']) + 0.0:,.{column['decimals']}f}"
    if column["least"] is not None:
        whole, _, fraction = text.partition(".")
        fraction = fraction.rstrip("0").ljust(column["least"], "0")
        text = f"{whole}.{fraction}" if fraction else whole
    return text.translate(str.maketrans({",": column["group"], ".": column["point"]}))


if __name__ == "__main__":
    space = json.loads(pathlib.Path(__file__).with_name("space.json").read_text())
    x = np.load(sys.argv[1], allow_pickle=False)
    columns = {column["name"]: cells_of(column, x) for column in space["columns"]}
    with open(sys.argv[2], "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
