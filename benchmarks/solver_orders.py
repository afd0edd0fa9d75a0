"""The order of every solver on a closed-form problem, and the moments that stochastic ones keep.

    python benchmarks/solver_orders.py [--only SOLVER ...]     (the other rows are kept from results/solver_orders.json)

Five Gaussians of standard deviation 0.5 on a circle of radius 2 (METHODS 3f), float64, equal steps in log-SNR from -6 to 7, 48
starts; the truth is RK4 in 2,000 steps, which Dormand-Prince at a tolerance of 1e-10 confirms. Stochastic solvers: one
Gaussian of correlated entries, 100,000 rows, mean and covariance against the truth, in standard errors, and the bias of
the covariance at two numbers of steps.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from protocol import RESULTS, each, table, write

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from closed_form import ring
from test_solvers import FIXED, PATHS, STOCHASTIC, moments

from pushforward import solvers
from pushforward.paths import VP
from pushforward.transports import Flow

STEPS = (128, 256, 512)
OTHERS = {"unipc:3": (128, 512, 1024, 2048), "rk4": (40, 80)}
"""The fourth order is reached late by UniPC, and by RK4 until the truth's own error is near."""
RUNS = {"ancestral": (400, 1600), "ddim:0.5": (400, 1600), "eulermaruyama:2": (400, 1600), "predictorcorrector": (200, 800)}
ROWS = 100_000


def end(path: str, solver: Any, steps: int) -> torch.Tensor:
    denoiser = ring(PATHS[path])
    torch.manual_seed(1)
    start, stop = denoiser.path.time(torch.tensor([-6.0, 7.0], dtype=torch.float64)).tolist()
    x = torch.randn(48, 2, dtype=torch.float64) * denoiser.path.at(torch.tensor([start], dtype=torch.float64)).r
    return Flow(denoiser, solver, steps).solve(x, start, stop)


def orders(name: str) -> list[dict[str, Any]]:
    rows = []
    for path in PATHS:
        truth = end(path, solvers.RK4(), 2000)
        check = float((end(path, solvers.Adaptive(1e-10, 1e-10), 2) - truth).abs().max())
        steps = OTHERS.get(name, STEPS)
        errors = [float((end(path, solvers.named(name), n) - truth).square().mean().sqrt()) for n in steps]
        slopes = [math.log2(a / b) / math.log2(n / m) for a, b, m, n in zip(errors, errors[1:], steps, steps[1:], strict=False)]
        about = {"solver": name, "path": path, "order": solvers.named(name).order, "truth": check}
        rows.append({**about, "steps": steps, "errors": errors, "slopes": slopes})
    return rows


def weak(name: str) -> dict[str, Any]:
    few, many = RUNS.get(name, (100, 400))
    found: dict[str, Any] = {"solver": name, "steps": [few, many], "bias": []}
    for steps in (few, many):
        mean, covariance, wanted_mean, wanted = moments(name, VP(), steps, ROWS)
        variance = wanted.diagonal()
        errors = ((variance[:, None] * variance + wanted**2) / ROWS).sqrt()
        found["bias"].append(float((covariance - wanted).abs().max()))
        found["mean"] = float(((mean - wanted_mean).abs() / (variance / ROWS).sqrt()).max())
        found["covariance"] = float(((covariance - wanted).abs() / errors).max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[*FIXED, *STOCHASTIC])
    given = parser.parse_args()
    path = RESULTS / "solver_orders.json"
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    made = [row for part in each(orders, [(name,) for name in FIXED if name in given.only], 2) for row in part]
    made += each(weak, [(name,) for name in STOCHASTIC if name in given.only], 2)
    every = [*made, *(row for row in kept if row["solver"] not in given.only)]
    rows = [row for row in every if "slopes" in row]
    sampled = sorted((row for row in every if "bias" in row), key=lambda row: STOCHASTIC.index(row["solver"]))
    head = ["solver", "declared", *PATHS, "furthest from the declared"]
    body = []
    for name in FIXED:
        mine = {row["path"]: row for row in rows if row["solver"] == name}
        order = mine["vp"]["order"]
        off = max(abs(row["slopes"][-1] - order) for row in mine.values())
        body.append([name, str(order), *(", ".join(f"{s:.3f}" for s in mine[path]["slopes"]) for path in PATHS), f"{off:.3f}"])
    text = "Slope of the RMS error between 128, 256 and 512 steps (rk4: 40 and 80; unipc:3: 128, 512, 1024 and 2048):\n\n"
    text += table(head, body)
    text += (
        f"\n\nMeans and covariances of {ROWS:,} rows of a correlated Gaussian at log-SNR 6, VP; in standard errors at the larger "
    )
    text += "number of steps (3 is the bar), and the greatest error of the covariance at both:\n\n"
    text += table(
        ["solver", "steps", "mean, in standard errors", "covariance, in standard errors", "error of the covariance"],
        [
            [
                r["solver"],
                " and ".join(map(str, r["steps"])),
                f"{r['mean']:.2f}",
                f"{r['covariance']:.2f}",
                " -> ".join(f"{b:.4f}" for b in r["bias"]),
            ]
            for r in sampled
        ],
    )
    write("solver_orders", "Orders of the solvers", text, [*rows, *sampled])


if __name__ == "__main__":
    main()
