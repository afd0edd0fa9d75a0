"""Does a training that is killed, stopped, repeated or contested end where it should, to the last
bit?

Parts:

* ``kills``: SIGKILL before an event that a seed chooses, half of them within the writes of a
  checkpoint. Each training dies four times and is resumed by another process each time; every other
  one keeps a single checkpoint. After each kill the newest checkpoint is verified, and it is no
  older than the last one whose save had returned. The end has the digest of an undisturbed
  training.
* ``grid``: exact resume for every recipe, in float32 and bfloat16, stopped in mid-epoch, at an
  epoch's edge and between the parts of a batch, with each number of worker processes.
* ``determinism``: the same trainings in two new processes, with other folders, seeds of hashes and
  orders.
* ``locks``: a folder that is held refuses a second training; of two new trainings in one folder,
  one gets it.

The digest (`tests/programs/digest.py`) is of weights, averages, optimizers, counters and
the log. Processes are forked from one that has loaded the package and trained nothing.

    python benchmarks/reliability.py [--parts kills,grid] [--kills 500] [--seed 21] [--smoke]
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from protocol import benchmark, commit, parsed, results, table, write

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reliability_parts import grid, kills, repeats
from reliability_parts.cases import CASES

PARTS = ("kills", "grid", "determinism", "locks")
ORDER = {name: number for number, name in enumerate(CASES)}


def joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of now among those of cases that were measured before, by part and case."""
    path = results() / "reliability.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    every = {(row["part"], row["case"]): row for row in (*before, *rows)}
    return sorted(
        every.values(),
        key=lambda row: (PARTS.index(row["part"]), ORDER.get(row["case"], len(ORDER))),
    )


def text_of(rows: list[dict[str, Any]], given: argparse.Namespace) -> str:
    """A line for each part, and a table for each with a row for each case."""
    lines = []
    tables = []
    for part in PARTS:
        inside = [row for row in rows if row["part"] == part]
        if not inside:
            continue
        wrong = sum(len(row["wrong"]) for row in inside)
        when = ", ".join(dict.fromkeys(f"{row['date']} at {row['commit']}" for row in inside))
        lines.append(f"- {part}: {_count(part, inside)}; {wrong} wrong ({when})")
        names = [
            name for name in inside[0] if name not in ("part", "wrong", "digest", "date", "commit")
        ]
        body = [
            [*(str(row[name]) for name in names), "; ".join(map(str, row["wrong"]))]
            for row in inside
        ]
        tables.append(f"**{part}**\n\n{table([*names, 'wrong'], body)}")
    return "\n\n".join(["\n".join(lines), f"Seed {given.seed}.", *tables])


def _count(part: str, rows: list[dict[str, Any]]) -> str:
    if part == "kills":
        count = sum(row["save"] + row["step"] for row in rows)
        return (
            f"{count} kills, {sum(row['save'] for row in rows)} of them within a save, "
            f"{sum(row['end'] for row in rows)} ends"
        )
    if part == "grid":
        return f"{sum(row['cells'] for row in rows)} cells"
    if part == "locks":
        return (
            f"{sum(row['refused'] for row in rows)} of {sum(row['trials'] for row in rows)} refused"
        )
    return f"{len(rows)} trainings, twice"


@benchmark
def main(words: list[str]) -> None:
    """Run the parts, write the tables and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument(
        "--cases", default="", help="names of cases, joined by semicolons; all by default"
    )
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument(
        "--steps", type=int, default=6, help="of each training that is killed; it saves three times"
    )
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--precisions", default=",".join(grid.PRECISIONS))
    parser.add_argument("--workers", default="0", help="numbers of worker processes, such as 0,1,2")
    parser.add_argument("--trials", type=int, default=20, help="of each kind of lock")
    given = parsed(parser, words, cases="flow", kills=4, precisions="float32", trials=2)
    cases = given.cases.split(";") if given.cases else list(CASES)
    rows = []
    work = {
        "kills": lambda: kills.measured(cases, given.kills, given.steps, given.seed, given.smoke),
        "grid": lambda: grid.measured(
            cases, given.precisions.split(","), [*map(int, given.workers.split(","))], given.smoke
        ),
        "determinism": lambda: repeats.determinism(cases),
        "locks": lambda: repeats.locks(given.trials, given.smoke),
    }
    for part in given.parts.split(","):
        rows += [
            {**row, "date": datetime.date.today().isoformat(), "commit": commit()}
            for row in work[part]()
        ]
    rows = joined(rows)
    write(
        "reliability",
        "Training runs that are killed, repeated and contested",
        text_of(rows, given),
        rows,
        **vars(given),
    )


if __name__ == "__main__":
    main()
