"""What does a solve cost above its network calls, by tables and by the code before them?

Protocol, on untrained networks, whose calls cost as much as trained ones, on one thread:

(a) Batch 1, the small MLP of the digits, 25 steps, by this package and by that of commit 8eb11c4,
which is taken from the repository's history. Each has a process, and they are asked in turns. The
bar: this package's overhead is at most half of that of before.

(b) Batch 64, the small U-Net on 1 x 28 x 28, 10 steps, by this package. The bar is an overhead of
at most 3 %. Beside it stands the processor time of a solve around a network that computes nothing,
over that of the bare calls, which other work on the machine changes little.

A solve and as many bare calls of the network are timed directly after each other, in alternating
order; the overhead is the median of their ratios, less 1, and the interval holds the middle half of
the ratios.

    python benchmarks/table_speed.py [--turns 15] [--smoke]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocol import BEFORE, benchmark, parsed, printed_by, smoking, source_of, table, write

import numpy as np
import torch

import pushforward as pf

SOLVERS = ("dpm", "unipc", "ddim", "heun", "deis")
PROGRAM = Path(__file__).parent / "programs" / "solve_speed.py"
Case = dict[str, Any]


@contextlib.contextmanager
def process(source: Path) -> Iterator[Process]:
    """A process of the package in a folder, which answers with times; a smoke run has one
    process.
    """
    if smoking():
        yield Process(None, source)
        return
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM)]
    here = tempfile.gettempdir()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=here
    ) as started:
        yield Process(started, source)
        started.communicate()


class Process:
    """A running ``solve_speed.py``.

    Args:
        started: The process; None runs the program here, anew for each case.
        source: The folder of its package.
    """

    def __init__(self, started: subprocess.Popen[str] | None, source: Path) -> None:
        self.started = started
        self.source = source

    def times(self, case: Case) -> dict[str, Any]:
        """What it answers.

        Raises:
            SystemExit: If it has ended.
        """
        line = self._answered(json.dumps(case) + "\n")
        if not line:
            raise SystemExit(f"{PROGRAM.name} has ended.")
        answer: dict[str, Any] = json.loads(line)
        assert Path(answer["package"]).is_relative_to(self.source), answer["package"]
        return answer

    def _answered(self, line: str) -> str:
        if self.started is None:
            # the program turns gradients off, for the process that it takes for its own
            with torch.no_grad():
                return printed_by(PROGRAM, [], self.source, line)
        assert self.started.stdin is not None
        assert self.started.stdout is not None
        self.started.stdin.write(line)
        self.started.stdin.flush()
        return self.started.stdout.readline()


def measured(processes: dict[str, Process], cases: list[Case], turns: int) -> list[dict[str, Any]]:
    """A row for each case and process, from so many turns of all of them."""
    rows = [
        {**case, "code": name, "ratios": [], "idle": []} for case in cases for name in processes
    ]
    for turn in range(turns):
        for row in rows[:: -1 if turn % 2 else 1]:
            answer = processes[row["code"]].times({name: row[name] for name in cases[0]})
            row["ratios"] += [
                solve / bare for solve, bare in zip(answer["solve"], answer["bare"], strict=True)
            ]
            row["idle"].append(answer["idle"] / statistics.median(answer["bare"]))
    for row in rows:
        low, middle, high = np.percentile(row["ratios"], [25, 50, 75]) - 1
        row |= {
            "overhead": middle,
            "low": low,
            "high": high,
            "idle": statistics.median(row["idle"]),
        }
    return rows


def text_of(rows: list[dict[str, Any]]) -> str:
    """Both tables."""

    def words(row: dict[str, Any]) -> str:
        return f"{100 * row['overhead']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"

    of = {(row["side"], row["solver"], row["code"]): row for row in rows}
    few = [
        [
            solver,
            words(row),
            words(now := of[side, solver, "now"]),
            f"{now['overhead'] / row['overhead']:.2f}",
        ]
        for (side, solver, code), row in of.items()
        if code == "before"
    ]
    many = [
        [row["solver"], words(row), f"{100 * row['idle']:.2f} %"]
        for row in rows
        if row["side"] == 28
    ]
    return (
        "Overhead above the bare calls of the small MLP of the digits, batch 1; the bar is half "
        f"of that of commit {BEFORE}.\n\n"
        f"{table(['solver', 'before', 'now', 'ratio'], few)}\n\n"
        "Overhead above the bare calls of the small U-Net; the bar is 3 %.\n\n"
        f"{table(['solver', 'overhead', 'around an idle network'], many)}"
    )


@benchmark
def main(words: list[str]) -> None:
    """Measure, write the tables and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--turns",
        type=int,
        default=15,
        help="turns of (a); (b) has half as many, of two pairs (default 15)",
    )
    given = parsed(parser, words, turns=1)
    if given.turns < 1:
        parser.error("expected at least 1 turn")
    names = SOLVERS[:1] if given.smoke else SOLVERS
    steps, batch, pairs = ((2, 2), 1, 1) if given.smoke else ((25, 10), 64, 10)
    few = [
        {"side": 8, "solver": name, "steps": steps[0], "batch": 1, "pairs": pairs} for name in names
    ]
    many = [
        {"side": 28, "solver": name, "steps": steps[1], "batch": batch, "pairs": 2}
        for name in names
    ]
    with source_of(BEFORE) as source, process(source) as before, contextlib.ExitStack() as stack:
        here = Path(pf.__file__).parents[1]
        # a smoke run has no code from before
        if source == here:
            now = before
        else:
            now = stack.enter_context(process(here))
        rows = measured({"before": before, "now": now}, few, given.turns)
        rows += measured({"now": now}, many, given.turns // 2 + 1)
    write("table_speed", "Solves by tables", text_of(rows), rows, turns=given.turns)


if __name__ == "__main__":
    main()
