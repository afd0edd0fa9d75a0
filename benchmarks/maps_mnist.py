"""Maps between two times on images: rules and losses side by side, at equal seconds of one thread
and from one teacher.

    PUSHFORWARD_DATA=FOLDER python benchmarks/maps_mnist.py --teacher RUN [--seconds 300] [--seeds
    1] [--methods start end ...]

RUN is a flow; without one a flow of --data is trained for --teacher-seconds. Each method learns
from it for --seconds, which include its trajectories, from the teacher's weights (reflow: from
weights of its own); exact mean flow and exact LSD are the limits of the rules start and end, which
the recipe trains at a tenth of the rate. Judged in one call and in four against the held-out
examples.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    seconds_before,
    seconds_of,
    table,
    train,
    write,
)

import numpy as np
import torch

import pushforward as pf
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.evaluation import Evaluator
from pushforward.training.recipe_argument import with_frozen

STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "stored": ("distil", {}),
    "start": ("distil", {"rule": "start", "stored": 0.0}),
    "middle": ("distil", {"rule": "middle", "stored": 0.0}),
    "end": ("distil", {"rule": "end", "stored": 0.0}),
    "exact mean flow": ("distil", {"rule": "start", "stored": 0.0, "derivative": "forward"}),
    "exact LSD": ("distil", {"rule": "end", "stored": 0.0, "derivative": "forward"}),
    "progressive": ("distil", {"rule": "progressive"}),
    "reflow": ("flow", {"coupling": "reflow"}),
    "dmd": ("dmd", {}),
}
"""Recipes that learn from a teacher, with their settings."""
NAMES = ["frechet", "coverage", "recall"]
CALLS = (1, 4)


def run_case(
    method: str, teacher: str, seconds: float, seed: int, data: Any, n: int
) -> dict[str, Any]:
    torch.set_num_threads(1)
    name, settings = STUDENTS[method]
    recipe = with_frozen(name, {"teacher": pf.load(teacher)})
    run = train(lambda: recipe(data.space, **settings), data, seed, seconds=seconds)
    row = {
        "method": method,
        "seed": seed,
        "step": run.state["step"],
        "seconds": seconds_of(run),
        "samples": run.state["samples"],
    }
    row |= {"seconds_before": seconds_before(run)}
    return row | judged(run, CALLS, data, n)


def judged(run: pf.Run, calls: tuple[int, ...], data: Any, n: int) -> dict[str, Any]:
    """Scores by metric and number of calls."""
    judge = Evaluator(data, n, 1)
    scores = {}
    for count in calls:
        with network_precision(resolve_precision("auto", "cpu")):
            values, _ = judge.scores(run.configured(steps=count).transport)
        scores[str(count)] = {metric: values[metric].value for metric in NAMES}
    print(run.folder.name, scores, flush=True)
    return {"scores": scores}


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--teacher")
    parser.add_argument("--teacher-seconds", type=float, default=1500)
    parser.add_argument("--methods", nargs="*", default=[*STUDENTS])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--long", type=int, default=50, help="calls of the teacher that ratios refer to"
    )
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    small = {
        "seconds": 0.02,
        "teacher_seconds": 0.02,
        "long": 3,
        "n": 40,
        "methods": ["middle", "exact LSD"],
    }
    given = parsed(parser, words, **small)
    torch.set_num_threads(1)
    data = load(given.data)
    teacher = pf.load(given.teacher) if given.teacher else None
    if teacher is None:
        teacher = train(lambda: pf.recipes.flow(data.space), data, 0, seconds=given.teacher_seconds)
    cases = [
        (method, str(teacher.folder), given.seconds, seed, data, given.n)
        for method, seed in itertools.product(given.methods, range(given.seeds))
    ]
    rows = each(run_case, cases, given.jobs)
    best = judged(teacher, (given.long, *CALLS), data, given.n)["scores"]
    report(rows, teacher, best, real_data_scores(Evaluator(data, given.n, 1), NAMES), given)


def report(
    rows: list[dict[str, Any]],
    teacher: pf.Run,
    best: dict[str, Any],
    floor: dict[str, str],
    given: argparse.Namespace,
) -> None:
    """The table of all methods, and the teacher and real data below it."""
    body = []
    for method in given.methods:
        own = [row for row in rows if row["method"] == method]
        cells = [
            mean_and_spread([row["scores"][str(c)][m] for row in own]) for c in CALLS for m in NAMES
        ]
        ratio = (
            np.mean([row["scores"]["1"]["frechet"] for row in own])
            / best[str(given.long)]["frechet"]
        )
        speed = np.mean([row["samples"] / row["seconds"] for row in own])
        body.append(
            [
                method,
                *cells,
                f"{ratio:.1f}",
                f"{np.mean([row['step'] for row in own]):,.0f}",
                f"{speed:,.0f}",
            ]
        )
    body.append(["teacher", *(f"{best[str(c)][m]:.4g}" for c in CALLS for m in NAMES), "", "", ""])
    body.append(
        [
            f"teacher, {given.long} calls",
            *(f"{best[str(given.long)][m]:.4g}" for m in NAMES),
            "",
            "",
            "",
            "1",
            "",
            "",
        ]
    )
    body.append(["real data", *(floor[m] for m in NAMES), "", "", "", "", "", ""])
    columns = [f"{metric}, {calls} call{'s' * (calls > 1)}" for calls in CALLS for metric in NAMES]
    text = table(["method", *columns, "Fréchet ratio, 1 call", "steps", "images/s"], body)
    text += (
        f"\n\n{given.seconds:g} s of one thread for each method, trajectories included; "
        f"{given.seeds} training(s), one sampling "
    )
    before = seconds_of(teacher) + seconds_before(teacher)
    text += (
        f"of {given.n:,}. The teacher's {teacher.state['step']:,} steps took {before:,.0f} s, "
        "which come on top. "
    )
    text += f"Ratios are to the teacher in {given.long} calls."
    write(
        f"maps_{given.data}", f"Maps between two times on {given.data}", text, rows, **vars(given)
    )


if __name__ == "__main__":
    main()
