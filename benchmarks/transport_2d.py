"""Two-dimensional transport: the protocols of Tong et al. (2024) and of C2OT (2025), at most 150 s
of one core each.

    python benchmarks/transport_2d.py [--seconds 120] [--seeds 5] [--only noise 8gaussians]

From noise: 10,000 training examples, 1,000 samples by 100 Euler steps against 1,000 held-out
examples, the mean of ten disjoint pairs; W2 is the root of the exact assignment's mean squared
distance, NPE is from 2,000 examples. Minibatch optimal transport in groups of 512, and independent
noise beside it. From 8gaussians-c2ot to moons-c2ot: 100,000 training examples on both sides, 10,000
held-out examples moved, W2 squared; one Euler step and 100 Heun steps, unconditional and given the
class, groups of 1,024.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
from typing import Any

from protocol import benchmark, each, load, mean_and_spread, parsed, table, train, write

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

import pushforward as pf
from pushforward.evaluation.trajectories import transport_cost
from pushforward.networks import MLP
from pushforward.paths import Independent, OptimalTransport, Source, Stratified, Uniform
from pushforward.recipes import Recipe, Training
from pushforward.solvers import Euler, Heun
from pushforward.transports import Flow

FEW = 1_000
PUBLISHED = {
    "8gaussians": "W2 1.05 to 1.28, NPE .018 (OT-CFM), 1129 s",
    "8gaussians independent": "W2 1.28, NPE .22",
    "moons": "W2 .24, NPE .087",
    "scurve": "W2 .26, NPE .027",
    "c2ot": "W2^2 .072 (one step), .050 (adaptive)",
    "c2ot labelled": "W2^2 .048 (one step), .018 (adaptive)",
}
FLOORS = {
    "8gaussians": "W2 .56",
    "8gaussians independent": "W2 .56",
    "moons": "W2 .21",
    "scurve": "W2 .25",
}


def recipe(space: Any, group: int, source: Any, independent: bool = False) -> Recipe:
    network = MLP(2, 2, width=128, depth=3, conditions=space.conditions)
    couple = Independent(source) if independent else OptimalTransport(group, source)
    method = pf.Denoising(
        pf.Denoiser(network, pf.Linear(), "velocity", space, unconditional=False, source=source),
        couple=couple,
        times=Stratified(Uniform()),
        label_dropout=0.0,
        solver=Euler(),
        steps=100,
        grid="time",
    )
    return Recipe(method, Training(group, lr=2e-3, precision="float32"), "flow", "flow matching")


def in_the_planes_units(data: Any, unit: float) -> Any:
    """One scale for both columns, as in the papers: noise is N(0, 1) in the data's own units, and
    distances are the plane's.
    """
    return dataclasses.replace(
        data, space=dataclasses.replace(data.space, mean=(0.0, 0.0), std=(unit, unit))
    )


def w2(x: torch.Tensor, y: torch.Tensor) -> float:
    """The mean squared distance of the best assignment, by POT's network simplex; few examples,
    which need no POT, by SciPy.
    """
    if len(x) <= FEW:
        distances = torch.cdist(x.double(), y.double()).square().numpy()
        return float(distances[linear_sum_assignment(distances)].mean())
    import ot

    return float(
        ot.emd2([], [], ot.dist(x.double().numpy(), y.double().numpy()), numItermax=10_000_000)
    )


def from_noise(name: str, seconds: float, seed: int, pairs: int, moved: int) -> dict[str, Any]:
    data = in_the_planes_units(load(name.split()[0], limit=10_000), 1.0)
    run = train(
        functools.partial(recipe, data.space, 512, None, name.endswith("independent")),
        data,
        seed,
        seconds=seconds,
    )
    flow = run.transport
    held_out = data.held_out.data_units()
    parts = min(10, len(held_out) // pairs)
    both = [
        (flow.sample(pairs, seed=(i + 1) * 1_000_000), held_out[i * pairs : (i + 1) * pairs])
        for i in range(parts)
    ]
    row = {"data": name, "seed": seed, "W2": float(np.mean([w2(x, y) ** 0.5 for x, y in both]))}
    row |= {
        "NPE": transport_cost(flow, data, moved // 5),
        "steps": run.state["step"],
        "seconds": run.state["seconds"],
    }
    print(row, flush=True)
    return row


def from_gaussians(labelled: bool, seconds: float, seed: int, moved: int) -> dict[str, Any]:
    data = in_the_planes_units(load("moons-c2ot", labelled=labelled), 3.0)
    space = data.space
    source = Source("8gaussians-c2ot", space)
    run = train(functools.partial(recipe, space, 1024, source), data, seed, seconds=seconds)
    start = space.to_model(load("8gaussians-c2ot").held_out.data_units()[:moved])
    held_out = data.held_out
    y = held_out.data_units()[:moved]
    if held_out.labels is None or not labelled:
        condition = None
    else:
        condition = {"label": torch.from_numpy(held_out.labels[:moved])}
    row: dict[str, Any] = {"data": "c2ot labelled" if labelled else "c2ot", "seed": seed}
    for label, solver, steps in (("one step", Euler(), 1), ("100 Heun steps", Heun(), 100)):
        with torch.no_grad():
            x = space.to_data(Flow(run.denoiser, solver, steps, "time")(start, condition))
        row[label] = w2(x, y)
    row |= {"steps": run.state["step"], "seconds": run.state["seconds"]}
    print(row, flush=True)
    return row


def run_case(name: str, seconds: float, seed: int, pairs: int, moved: int) -> dict[str, Any]:
    if name.startswith("c2ot"):
        return from_gaussians(name.endswith("labelled"), seconds, seed, moved)
    return from_noise(name, seconds, seed, pairs, moved)


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(PUBLISHED))
    parser.add_argument("--pairs", type=int, default=1_000, help="samples of a distance, ten times")
    parser.add_argument(
        "--moved",
        type=int,
        default=10_000,
        help="held-out examples that are moved; a fifth of them for NPE",
    )
    parser.add_argument("--jobs", type=int, default=2)
    given = parsed(
        parser,
        words,
        seconds=0.02,
        seeds=1,
        only=["8gaussians", "c2ot labelled"],
        pairs=30,
        moved=100,
    )
    cases = [
        (name, given.seconds, seed, given.pairs, given.moved)
        for name, seed in itertools.product(given.only, range(given.seeds))
    ]
    rows = each(run_case, cases, given.jobs)
    body = []
    for name in given.only:
        mine = [row for row in rows if row["data"] == name]
        columns = ("one step", "100 Heun steps") if name.startswith("c2ot") else ("W2", "NPE")
        cells = [f"{label} {mean_and_spread([row[label] for row in mine])}" for label in columns]
        steps = f"{np.mean([row['steps'] for row in mine]):,.0f}"
        seconds = f"{np.mean([row['seconds'] for row in mine]):.0f}"
        body.append(
            [
                name,
                *cells,
                steps,
                seconds,
                PUBLISHED[name],
                FLOORS.get(name, "W2^2 .016 (10,000 true samples against as many)"),
            ]
        )
    text = table(
        ["from, to", "", "", "steps", "seconds", "published", "floor (true samples)"], body
    )
    text += "\n\nBars: 8gaussians W2 .80, NPE .018; c2ot in one step W2^2 .04, labelled .03."
    write(
        "transport_2d",
        "Two-dimensional transport",
        text,
        rows,
        seeds=given.seeds,
        seconds=given.seconds,
    )


if __name__ == "__main__":
    main()
