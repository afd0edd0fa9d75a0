"""Are 100,000 samples of a table valid, cell by cell, and how long do they take?

    python benchmarks/table_validity.py [--tables adult] [--recipes flow,gan,vae] [--seconds 60]
    [--run RUN] [--rows 100000]

Rows join those of earlier calls in results/table_validity.json and replace those of the same table
and model. Each recipe is trained for so many seconds in training steps, or the run of a table is
taken as it is. The samples' cells, as they are written to a file, are compared with those of the
training rows, as text, by code that shares nothing with the columns of the package: texts that no
training row has, numbers outside of the training rows' range, fractions of whole numbers, more
decimals than the file has, missing cells where none is missing, and rows that break a constraint.
The bar is 0 of each, in 100,000 rows. Shares of missing cells and of frequent values (atoms) depend
on the training; the bar is 1 point of a hundred, and the columns beyond it are named. Drawing is
measured in seconds of processor time; the bar is 60 for the flow of Adult.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from typing import Any

from protocol import benchmark, commit, parsed, results, smoking, table, train, write

import torch
from tables import FILES, read

import pushforward as pf
from pushforward.data.core.named_set import folder
from pushforward.tables.reading.string_columns import MISSING
from pushforward.transports import Transport
from pushforward.transports.redrawing import counting_draws

CONSTRAINTS = {"adult": ["`capital-gain` * `capital-loss` <= 0"], "shoppers": ["ExitRates >= 0"]}
"""What the rows of a table meet; the first is an equation in disguise: one of the two columns is 0.
"""
FAULTS = ("invented", "range", "fraction", "decimals", "missing")
PLAIN = re.compile(r"-?\d+$")
POINT = 0.01
BATCH = 1024
"""Rows drawn at a time: in batches of 256 the same rows take a quarter longer."""


def data_of(name: str) -> Any:
    """The table, with its constraints."""
    if smoking() or name not in CONSTRAINTS:
        return read(name)
    file, target = FILES[name]
    return pf.data.load(folder() / "tables" / file, target=target, constraints=CONSTRAINTS[name])


def decimals(text: str) -> int:
    """Digits after the point."""
    return len(text.partition(".")[2])


def broken(kind: str, real: Counter[str], drawn: Counter[str]) -> Counter[str]:
    """How many cells of a column of samples are wrong, by the fault.

    Args:
        kind: Of the column.
        real: The cells of the training rows, with their numbers.
        drawn: Those of the samples.
    """
    faults: Counter[str] = Counter()
    known = [text for text in real if text not in MISSING]
    numeric = kind in ("number", "whole")
    values = [float(text) for text in known] if numeric else []
    least = min(values, default=0.0)
    greatest = max(values, default=0.0)
    most = max(map(decimals, known), default=0)
    for text, count in drawn.items():
        if text in MISSING:
            faults["missing"] += count * (text not in real)
        elif not numeric:
            faults["invented"] += count * (text not in real)
        else:
            faults["range"] += count * (not least <= float(text) <= greatest)
            faults["fraction"] += count * (kind == "whole" and not PLAIN.match(text))
            faults["decimals"] += count * (decimals(text) > most)
    return faults


def distance(field: Any, real: Counter[str], drawn: Counter[str]) -> tuple[float, float]:
    """By how much the share of missing cells differs, and that of the atom that differs most."""
    sizes = real.total(), drawn.total()

    def share(texts):
        return abs(
            sum(real[text] for text in texts) / sizes[0]
            - sum(drawn[text] for text in texts) / sizes[1]
        )

    atoms = [field.form.cell(atom) for atom in getattr(field, "atoms", ())]
    return share(MISSING), max((share([atom]) for atom in atoms), default=0.0)


def cells(space: Any, parts: Any) -> list[Counter[str]]:
    """The cells of each column with their numbers, as they are written."""
    columns: list[Counter[str]] = [Counter() for _ in space.fields]
    for x in parts:
        for column, texts in zip(columns, zip(*space.cells(x), strict=True), strict=True):
            column.update(texts)
    return columns


def measured(name: str, data: Any, model: str, transport: Transport, rows: int) -> dict[str, Any]:
    """Draw, count what is wrong, and time it."""
    space = transport.space
    began = time.process_time()
    with counting_draws() as tally:
        parts = [x for x, _ in transport.stream(rows, seed=0, batch=BATCH)]
    seconds = time.process_time() - began
    real = cells(space, [data.train.x])
    drawn = cells(space, parts)
    faults: Counter[str] = Counter()
    off = []
    for field, here, there in zip(space.fields, real, drawn, strict=True):
        faults += broken(field.kind, here, there)
        off += [
            (gap, field.name, what)
            for gap, what in zip(distance(field, here, there), ("missing", "atom"), strict=True)
        ]
    valid = [space.valid(x) for x in parts]
    unmet = None if valid[0] is None else sum(int((~part).sum()) for part in valid)
    beyond = [
        f"{column} ({what} {100 * gap:.1f})"
        for gap, column, what in sorted(off, reverse=True)
        if gap > POINT
    ]
    return {
        "table": name,
        "model": model,
        "rows": sum(map(len, parts)),
        "seconds": round(seconds, 1),
        **{fault: int(faults[fault]) for fault in FAULTS},
        "constraints": unmet,
        "drawn again": None if unmet is None else round(tally.share, 4),
        "most missing": max((gap for gap, _, what in off if what == "missing"), default=0.0),
        "most atom": max((gap for gap, _, what in off if what == "atom"), default=0.0),
        "beyond a point": beyond,
        "commit": commit(),
    }


def joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of earlier calls and these, in the order of the tables; of one table and model the
    newest.
    """
    path = results() / "table_validity.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    newest = {(row["table"], row["model"]): row for row in (*earlier, *rows)}
    return sorted(newest.values(), key=lambda row: list(FILES).index(row["table"]))


def page(rows: list[dict[str, Any]]) -> str:
    """The table of results."""
    head = [
        "table",
        "model",
        "steps",
        "rows",
        "seconds",
        *FAULTS,
        "constraints",
        "drawn again",
        "columns beyond 1 point",
    ]
    return table(head, [[*(str(row[name]) for name in head[:-3]), *_last(row)] for row in rows])


def _last(row: dict[str, Any]) -> list[str]:
    """The last three cells: without constraints there is nothing to break or to draw again."""
    if row["constraints"] is None:
        again = ["–", "–"]
    else:
        again = [str(row["constraints"]), f"{100 * row['drawn again']:.1f} %"]
    return [*again, ", ".join(row["beyond a point"]) or "none"]


@benchmark
def main(words: list[str]) -> None:
    """Measure, print, and write results/table_validity.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="adult", help=f"of {', '.join(FILES)}")
    parser.add_argument("--recipes", default="flow,gan,vae")
    parser.add_argument("--seconds", type=float, default=60, help="inside training steps")
    parser.add_argument("--size", default="small")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--run", help="a run of the table, in place of trainings")
    given = parsed(parser, words, recipes="vae", seconds=0.05, size="tiny", rows=300)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in given.tables.split(","):
        data = data_of(name)
        if given.run:
            run = pf.load(given.run)
            rows.append(
                {
                    **measured(name, data, run.spec["recipe"], run.transport, given.rows),
                    "steps": int(run.state["step"]),
                }
            )
        for recipe in () if given.run else given.recipes.split(","):

            def make(recipe=recipe, data=data):
                return pf.recipes.named(recipe)(data.space, given.size)

            run = train(make, data, 0, seconds=given.seconds)
            rows.append(
                {
                    **measured(name, data, recipe, run.transport, given.rows),
                    "steps": int(run.state["step"]),
                }
            )
            print(rows[-1], flush=True)
        every = joined(rows)
        write("table_validity", "Are samples of tables valid?", page(every), every)


if __name__ == "__main__":
    main()
