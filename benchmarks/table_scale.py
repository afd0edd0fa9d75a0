"""How do time and memory of a table's training grow with its rows?

    python benchmarks/table_scale.py [--rows 10000,100000,1000000] [--steps 200] [--size small]

Tables are drawn from a mixture of eight groups: three numbers of 1 to 3 decimals, a whole number,
    one that is 0 in more than half
of the rows, a letter and a yes or no. Each is read and trained on by a flow in a process of its
own. Seconds are of processor time; memory is what the process holds beyond the package and its
libraries, at its peak. The bar: a number of steps costs the same at every size, and memory grows
with the file only.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, printed_by, table, write

import numpy as np

import pushforward as pf

PROGRAM = Path(__file__).parent / "programs" / "table_size.py"
GROUPS = 8
NAMES = ("first", "second", "third", "count", "gain", "letter", "target")


def make(path: Path, rows: int) -> Path:
    """Write a table of so many rows."""
    centres = np.random.default_rng(1).normal(0, 3, (GROUPS, 3))
    random = np.random.default_rng(0)
    group = random.integers(0, GROUPS, rows)
    x = centres[group] + random.normal(size=(rows, 3))
    count = np.round(20 * np.exp(centres[group, 0] / 3 + random.normal(size=rows))).astype(int)
    gain = np.where(random.random(rows) < 0.6, 0, count)
    letter = np.where(random.random(rows) < 0.2, random.integers(0, GROUPS, rows), group)
    target = x[:, 1] + random.normal(size=rows) > 0
    numbers = [
        [f"{value:.{digits}f}" for value in x[:, place].tolist()]
        for place, digits in enumerate((2, 1, 3))
    ]
    texts = [
        ["abcdefgh"[place] for place in letter.tolist()],
        [("no", "yes")[place] for place in target.tolist()],
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(NAMES)
        writer.writerows(zip(*numbers, count.tolist(), gain.tolist(), *texts, strict=True))
    return path


def page(rows: list[dict[str, Any]], steps: int) -> str:
    """The table, and by how much memory grows with the file between the smallest and the
    largest.
    """
    head = [
        "rows",
        "file, MB",
        "reading, s",
        "peak of reading, MB",
        f"{steps} steps, s",
        "peak, MB",
        "at the end, MB",
    ]
    names = ("rows", "file", "reading", "after reading", "training", "peak", "at the end")
    text = table(
        head, [[f"{row[name]:,.{0 if name == 'rows' else 1}f}" for name in names] for row in rows]
    )
    if len(rows) == 1:
        return text
    first = rows[0]
    last = rows[-1]
    factor = (last["peak"] - first["peak"]) / max(last["file"] - first["file"], 1e-9)
    return f"{text}\n\nThe peak grows by {factor:.1f} bytes for each byte of the file."


@benchmark
def main(words: list[str]) -> None:
    """Measure, print, and write results/table_scale.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", default="small")
    given = parsed(parser, words, rows="200,400", steps=2, size="tiny")
    results = []
    with tempfile.TemporaryDirectory() as place:
        for count in map(int, given.rows.split(",")):
            file = make(Path(place) / f"{count}.csv", count)
            said = printed_by(
                PROGRAM, [str(file), str(given.steps), given.size], Path(pf.__file__).parents[1]
            )
            results.append(json.loads(said.splitlines()[-1]))
            print(results[-1], flush=True)
    write(
        "table_scale",
        "Tables of many rows",
        page(results, given.steps),
        results,
        steps=given.steps,
        size=given.size,
    )


if __name__ == "__main__":
    main()
