"""Ten students of a flow on digits, a minute each: is any seed bad, and does each match its teacher
in one call?

    python benchmarks/student_seeds.py [--data digits] [--seconds 60] [--seeds 10] [--repeats 3]

One teacher is trained for --seconds, then students that differ in their seed, for --seconds each of
one thread, their trajectories included. Judged in one call against the held-out examples, and the
teacher by its default. Bars: all seeds finite and within 1.3 times of the median Fréchet distance;
the mean distance at most 1.10 times the teacher's; coverage over its floor at least .98.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    seconds_of,
    table,
    train,
    write,
)

import numpy as np
import torch

import pushforward as pf
from pushforward.errors import Diverged
from pushforward.evaluation import Evaluator
from pushforward.training.api import student

NAMES = ["frechet", "coverage", "recall"]
WITHIN = 1.3
RATIO = 1.10
COVERAGE = 0.98


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3, help="samplings of each model")
    parser.add_argument(
        "--n", type=int, help="samples on either side; default as many as the held-out data allows"
    )
    parser.add_argument("--trajectories", type=int)
    given = parsed(parser, words, seconds=0.05, seeds=2, repeats=1, n=40, trajectories=64)
    torch.set_num_threads(1)
    data = load(given.data)
    judge = Evaluator(data, given.n or len(data.held_out), given.repeats)
    teacher = train(lambda: pf.recipes.flow(data.space), data, 0, seconds=given.seconds)
    rows = [row_of("teacher", 0, teacher, judge)]
    settings = {} if given.trajectories is None else {"trajectories": given.trajectories}
    for seed in range(given.seeds):
        out = Path(tempfile.mkdtemp()) / "run"
        began = time.perf_counter()
        trainer = student(
            teacher,
            data=data,
            settings=settings,
            seconds=given.seconds,
            seed=seed,
            out=out,
            progress=pf.Progress(60),
        )
        filled = time.perf_counter() - began
        try:
            trainer.advance()
        except Diverged as error:
            rows.append({"model": "student", "seed": seed, "diverged": str(error)})
            continue
        rows.append(
            {**row_of("student", seed, pf.load(out), judge), "before its first step": filled}
        )
    report(rows, judge, given)


def row_of(name: str, seed: int, run: pf.Run, judge: Evaluator) -> dict[str, Any]:
    scores, _ = judge.scores(run.transport)
    row: dict[str, Any] = {
        "model": name,
        "seed": seed,
        "step": run.state["step"],
        "seconds": seconds_of(run),
    }
    row |= {metric: scores[metric].value for metric in NAMES}
    print(row, flush=True)
    return row


def report(rows: list[dict[str, Any]], judge: Evaluator, given: argparse.Namespace) -> None:
    """The table, and which bars hold."""
    teacher = rows[0]
    students = [row for row in rows[1:] if "diverged" not in row]
    body = [["teacher", *(f"{teacher[metric]:.4g}" for metric in NAMES)]]
    body.append(
        [
            f"{len(students)} students",
            *(mean_and_spread([row[metric] for row in students]) for metric in NAMES),
        ]
    )
    floor = real_data_scores(judge, NAMES)
    body.append(["real data", *(floor.get(metric, "") for metric in NAMES)])
    distances = np.array([row["frechet"] for row in students])
    worst = distances.max() / np.median(distances)
    ratio = distances.mean() / teacher["frechet"]
    share = (
        np.mean([row["coverage"] for row in students]) / judge.real_data_scores["coverage"].value
    )
    verdict = lambda ok: "reached" if ok else "missed"  # noqa: E731
    text = table(["model", *NAMES], body)
    text += (
        f"\n\n{given.seconds:g} s of one thread for each training, {given.repeats} samplings "
        "of "
        "each model."
    )
    text += (
        f"\n\n- finite: {len(students)} of {given.seeds} ({verdict(len(students) == given.seeds)})"
    )
    text += (
        f"\n- largest Fréchet distance {worst:.2f} times the median, bar {WITHIN} "
        f"({verdict(worst <= WITHIN)})"
    )
    text += (
        f"\n- mean Fréchet distance in one call {ratio:.2f} times the teacher's, bar "
        f"{RATIO:.2f} "
        f"({verdict(ratio <= RATIO)})"
    )
    text += (
        f"\n- mean coverage over its floor {share:.3f}, bar {COVERAGE} "
        f"({verdict(share >= COVERAGE)})"
    )
    write(
        "student_seeds", f"{given.data}: students of {given.seeds} seeds", text, rows, **vars(given)
    )


if __name__ == "__main__":
    main()
