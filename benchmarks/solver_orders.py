"""The order of every solver on a closed-form problem, and the moments that stochastic ones keep.

    python benchmarks/solver_orders.py [--only SOLVER ...]     (the other rows are kept from
    results/solver_orders.json)

Five Gaussians of standard deviation 0.5 on a circle of radius 2, whose ideal denoiser is known by
Bayes' rule; float64, equal steps in log-SNR from -6 to 7, 48 starts; the truth is SciPy's DOP853 at
a tolerance of 1e-12, which RK4 in 2,000 steps confirms. Stochastic solvers: one Gaussian of
correlated entries, 100,000 rows, mean and covariance against the truth, in standard errors, and the
bias of the covariance at two numbers of steps.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from protocol import benchmark, each, parsed, results, table, write

from pushforward import solvers
from pushforward.paths import VP
from pushforward.testing import PATHS, end, error, moments, ring, truth

FIXED = [
    "ddim",
    "euler",
    "heun",
    "midpoint",
    "rk4",
    "ipndm:1",
    "ipndm:2",
    "ipndm:3",
    "ipndm:4",
    "singlestep:2",
    "singlestep:3",
]
FIXED += [f"{name}:{order}" for name in ("dpm", "deis", "unipc") for order in (1, 2, 3)]
STOCHASTIC = [
    "ancestral",
    "ddim:0.5",
    "dpmsde",
    "eulermaruyama",
    "eulermaruyama:2",
    "churn:3",
    "predictorcorrector",
]
STEPS = (128, 256, 512)
OTHERS = {"unipc:3": (128, 512, 1024, 2048), "rk4": (40, 80)}
"""The fourth order is reached late by UniPC, and by RK4 until the truth's own error is near."""
RUNS = {
    "ancestral": (400, 1600),
    "ddim:0.5": (400, 1600),
    "eulermaruyama:2": (400, 1600),
    "predictorcorrector": (200, 800),
}


def orders(name: str, most: int) -> list[dict[str, Any]]:
    """The slopes of a deterministic solver's error on every path, with at most so many steps."""
    rows = []
    solver = solvers.named(name)
    steps = [n for n in OTHERS.get(name, STEPS) if n <= most] or [most // 2, most]
    for path in PATHS:
        check = float(
            (end(ring(PATHS[path]), solvers.RK4(), min(2000, most)) - truth(path)).abs().max()
        )
        errors = [error(path, solver, n) for n in steps]
        slopes = [
            math.log2(a / b) / math.log2(n / m)
            for a, b, m, n in zip(errors, errors[1:], steps, steps[1:], strict=False)
        ]
        facts = {"solver": name, "path": path, "order": solver.order, "truth": check}
        rows.append({**facts, "steps": steps, "errors": errors, "slopes": slopes})
    return rows


def weak(name: str, most: int, n: int) -> dict[str, Any]:
    """Mean and covariance of a stochastic solver's n rows, in standard errors, and its bias at two
    numbers of steps.
    """
    few, many = (min(steps, most) for steps in RUNS.get(name, (100, 400)))
    row: dict[str, Any] = {"solver": name, "steps": [few, many], "bias": []}
    for steps in (few, many):
        mean, covariance, wanted_mean, wanted = moments(solvers.named(name), VP(), steps, n)
        variance = wanted.diagonal()
        errors = ((variance[:, None] * variance + wanted**2) / n).sqrt()
        row["bias"].append(float((covariance - wanted).abs().max()))
        row["mean"] = float(((mean - wanted_mean).abs() / (variance / n).sqrt()).max())
        row["covariance"] = float(((covariance - wanted).abs() / errors).max())
    return row


@benchmark
def main(words: list[str]) -> None:
    """Measure, and write results/solver_orders.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[*FIXED, *STOCHASTIC])
    parser.add_argument("--most", type=int, default=10_000, help="steps of a solve")
    parser.add_argument("--examples", type=int, default=100_000, help="of the correlated Gaussian")
    given = parsed(parser, words, only=["heun", "ancestral"], most=20, examples=500)
    path = results() / "solver_orders.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    measured = [
        row
        for part in each(orders, [(name, given.most) for name in FIXED if name in given.only], 2)
        for row in part
    ]
    measured += each(
        weak, [(name, given.most, given.examples) for name in STOCHASTIC if name in given.only], 2
    )
    rows = [*measured, *(row for row in before if row["solver"] not in given.only)]
    sampled = sorted(
        (row for row in rows if "bias" in row), key=lambda row: STOCHASTIC.index(row["solver"])
    )
    write("solver_orders", "Orders of the solvers", report(rows, sampled, given.examples), rows)


def report(rows: list[dict[str, Any]], sampled: list[dict[str, Any]], n: int) -> str:
    """Both tables."""
    body = []
    for name in FIXED:
        mine = {row["path"]: row for row in rows if row["solver"] == name}
        if not mine:
            continue
        order = mine["vp"]["order"]
        off = max(abs(row["slopes"][-1] - order) for row in mine.values())
        body.append(
            [
                name,
                str(order),
                *(", ".join(f"{s:.3f}" for s in mine[path]["slopes"]) for path in PATHS),
                f"{off:.3f}",
            ]
        )
    text = (
        "Slope of the RMS error between 128, 256 and 512 steps (rk4: 40 and 80; unipc:3: 128, "
        "512, "
        "1024 and 2048):\n\n"
    )
    text += table(["solver", "declared", *PATHS, "furthest from the declared"], body)
    text += (
        f"\n\nMeans and covariances of {n:,} rows of a correlated Gaussian at log-SNR 6, VP; "
        "in "
        "standard errors at the larger "
    )
    text += "number of steps (3 is the bar), and the greatest error of the covariance at both:\n\n"
    head = [
        "solver",
        "steps",
        "mean, in standard errors",
        "covariance, in standard errors",
        "error of the covariance",
    ]
    return text + table(head, [cells(row) for row in sampled])


def cells(row: dict[str, Any]) -> list[str]:
    """A stochastic solver's line of the table."""
    bias = " -> ".join(f"{error:.4f}" for error in row["bias"])
    return [
        row["solver"],
        " and ".join(map(str, row["steps"])),
        f"{row['mean']:.2f}",
        f"{row['covariance']:.2f}",
        bias,
    ]


if __name__ == "__main__":
    main()
