"""Maps between two times in two dimensions: rules and losses side by side, at equal seconds of one
thread beside a teacher's.

    python benchmarks/maps_2d.py [--data checkerboard c2ot] [--seconds 90] [--seeds 3] [--methods
    start end ...]

checkerboard: the divergence KL(data || samples) in one call and in four, from a histogram of
    100,000 samples in 32 x 32 bins,
each counted once more than it holds; the data's own is exact (a quarter of a square holds 16 bins).
c2ot: from 8gaussians-c2ot to moons-c2ot, independent coupling, W2 squared of 10,000 held-out
examples that are moved in one call, as in transport_2d.py. Methods with a teacher (stored,
progressive, dmd, reflow) first train a flow for as many seconds, which stand beside their own; dmd
needs a teacher that starts from noise, so it is left out of c2ot.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    seconds_before,
    seconds_of,
    table,
    train,
    write,
)

import numpy as np
import torch
from transport_2d import in_the_planes_units, w2

import pushforward as pf
from pushforward.data.sets.toys import checkerboard
from pushforward.denoisers.denoiser import FlowMap, has_jump
from pushforward.methods import FlowMapMatching
from pushforward.methods.flow_map import Dyadic, Sorted
from pushforward.methods.flow_map_targets import EndTarget, MiddleTarget, StartTarget
from pushforward.networks import MLP
from pushforward.paths import Independent, Source, Stratified, Uniform
from pushforward.recipes import Recipe, Training
from pushforward.solvers import Heun
from pushforward.training.recipe_argument import with_frozen
from pushforward.transports import Flow

PUBLISHED = {
    "checkerboard": "KL .458 (one call), .352 (four)",
    "c2ot": "W2^2 .072 (one step), .050 (adaptive)",
}
BARS = {"checkerboard": (0.40, 0.25), "c2ot": (0.030, None)}
"""The greatest value in one call and in four."""
BINS = 32
SIDE = 4.0
BATCH = 512
WIDTH = 256
DEPTH = 3
RATE = 2e-3
CALLS = (1, 4)


def law(to_data: float = 0.0) -> Sorted:
    return Sorted(Stratified(Uniform()), diagonal=0.25, to_data=to_data)


SCRATCH: dict[str, Any] = {
    "start (mean flow, alpha-flow)": lambda: (StartTarget(1.0, 0.005, over=0.8), law()),
    "start to data (consistency)": lambda: (StartTarget(1.0, 0.005, over=0.8), law(1.0)),
    "middle (shortcut)": lambda: (MiddleTarget(), Dyadic(7)),
    "end (LSD, discrete)": lambda: (EndTarget(0.05), law()),
    "exact mean flow": lambda: (StartTarget(derivative="forward"), law()),
    "exact LSD": lambda: (EndTarget(derivative="forward"), law()),
}
"""Rules that need no teacher, with their laws of times."""
TEACHER: dict[str, Any] = {
    "stored": ("distil", {}),
    "stored, then start": ("distil", {"rule": "start"}),
    "stored, then end": ("distil", {"rule": "end"}),
    "progressive": ("distil", {"rule": "progressive"}),
    "dmd": ("dmd", {}),
    "reflow": ("flow", {"coupling": "reflow"}),
}
"""Recipes that learn from a teacher, with their settings."""


def source_of(name: str, data: Any) -> Source | None:
    if name == "c2ot":
        return Source("8gaussians-c2ot", data.space)
    return None


def data_of(name: str) -> Any:
    if name == "c2ot":
        return in_the_planes_units(load("moons-c2ot", labelled=False), 3.0)
    return load(name)


def mapping(name: str, method: str, data: Any) -> Recipe:
    rule, pairs = SCRATCH[method]()
    source = source_of(name, data)
    network = MLP(2, 2, width=WIDTH, depth=DEPTH, times=2, conditions=data.space.conditions)
    flow_map = FlowMap(
        network, pf.Linear(), "velocity", data.space, unconditional=False, source=source
    )
    learned = FlowMapMatching(flow_map, rule, pairs, couple=Independent(source), label_dropout=0.0)
    return Recipe(learned, Training(BATCH, lr=RATE, precision="float32"), "map", "flow map")


def rated(recipe: Recipe) -> Recipe:
    """The recipe with the batch of the others; a game keeps its rates."""
    training = recipe.training.changed(batch=BATCH)
    return dataclasses.replace(
        recipe, training=training if training.players else training.changed(lr=RATE)
    )


def teacher_of(data: Any, source: Source | None, seconds: float, seed: int) -> pf.Run:
    def make() -> Recipe:
        network = MLP(2, 2, width=WIDTH, depth=DEPTH, conditions=data.space.conditions)
        recipe = pf.recipes.flow(data.space, network=network, source=source)
        return dataclasses.replace(recipe, training=Training(BATCH, lr=RATE, precision="float32"))

    return train(make, data, seed, seconds=seconds)


def divergence(x: np.ndarray) -> float:
    """KL of the checkerboard and a histogram of samples, in nats."""
    edges = np.linspace(-SIDE, SIDE, BINS + 1)
    counts = np.histogram2d(x[:, 0], x[:, 1], bins=(edges, edges))[0].reshape(-1) + 1
    middle = (edges[1:] + edges[:-1]) / 2
    points = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = np.floor((points + 4) / 2)
    on_board = ((cell >= 0) & (cell < 4)).all(axis=1) & (cell.sum(axis=1) % 2 == 0)
    p = on_board / on_board.sum()
    q = counts / (len(x) + BINS * BINS)
    inside = p > 0
    return float((p[inside] * np.log(p[inside] / q[inside])).sum())


def distance(
    name: str, denoiser: Any, data: Any, solver: Any, steps: int, n: int, seed: int
) -> float:
    """The distance of samples in so many steps from the data."""
    if solver == "jump" and not has_jump(denoiser):
        solver = "euler"
    flow = Flow(denoiser, solver, steps, "time")
    if name != "c2ot":
        return divergence(flow.sample(n, seed=(seed + 1) * 10_000_000, batch=10_000).numpy())
    n = min(n, 10_000)
    start = data.space.to_model(load("8gaussians-c2ot").held_out.data_units()[:n])
    with torch.no_grad():
        return w2(data.space.to_data(flow(start, None)), data.held_out.data_units()[:n])


def run_case(name: str, method: str, seconds: float, seed: int, n: int) -> dict[str, Any]:
    data = data_of(name)
    teacher = None
    if method in SCRATCH:
        run = train(lambda: mapping(name, method, data), data, seed, seconds=seconds)
    else:
        teacher = teacher_of(data, source_of(name, data), seconds, seed)
        name_of_recipe, settings = TEACHER[method]
        if name_of_recipe == "flow":
            settings = {
                **settings,
                "network": MLP(2, 2, width=WIDTH, depth=DEPTH, conditions=data.space.conditions),
            }
        recipe = with_frozen(name_of_recipe, {"teacher": teacher})
        run = train(lambda: rated(recipe(data.space, **settings)), data, seed, seconds=seconds)
    row: dict[str, Any] = {"data": name, "method": method, "seed": seed, "steps": run.state["step"]}
    row |= {
        "seconds": seconds_of(run),
        "seconds_before": seconds_before(run),
        "examples": run.state["samples"],
    }
    row |= {
        str(calls): distance(name, run.denoiser, data, "jump", calls, n, seed) for calls in CALLS
    }
    many = teacher or run
    row["many"] = distance(name, many.denoiser, data, Heun(), 25, min(n, 20_000), seed)
    print(row, flush=True)
    return row


def floor_of(name: str, n: int) -> float:
    """The same measure of true examples."""
    data = data_of(name)
    if name == "c2ot":
        y = data.held_out.data_units()[: min(n, 10_000)]
        return w2(data.train.data_units()[: len(y)], y)
    examples, _ = checkerboard(np.random.RandomState(1), n)
    return divergence(np.asarray(examples))


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=["checkerboard", "c2ot"])
    parser.add_argument("--methods", nargs="*", default=[*SCRATCH, *TEACHER])
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    few = ["start (mean flow, alpha-flow)", "stored"]
    given = parsed(
        parser, words, seconds=0.02, seeds=1, n=60, data=["checkerboard", "c2ot"], methods=few
    )
    cases = [
        (name, method, given.seconds, seed, given.n)
        for name, method, seed in itertools.product(given.data, given.methods, range(given.seeds))
        if name != "c2ot" or method != "dmd"
    ]
    rows = each(run_case, cases, given.jobs)
    body = []
    for name in given.data:
        for method in given.methods:
            own = [row for row in rows if (row["data"], row["method"]) == (name, method)]
            if own:
                single, four, many = ([row[key] for row in own] for key in ("1", "4", "many"))
                speed = np.mean([row["examples"] / row["seconds"] for row in own])
                whole = np.mean([row["seconds"] + row["seconds_before"] for row in own])
                scores = map(mean_and_spread, (single, four, many))
                body.append(
                    [
                        name,
                        method,
                        f"{whole:.0f}",
                        *scores,
                        f"{speed:,.0f}",
                        passes(name, single, four),
                    ]
                )
        body.append(
            [name, "true examples (floor)", "", f"{floor_of(name, given.n):.4g}", "", "", "", ""]
        )
    head = [
        "data",
        "method",
        "seconds in all",
        "1 call",
        "4 calls",
        "25 steps of Heun",
        "examples/s",
        "passes",
    ]
    text = table(head, body)
    text += (
        f"\n\n{given.seconds:g} s of one thread for each training; mean ± standard deviation "
        "over "
        f"{given.seeds} trainings. "
    )
    text += "Seconds in all include the teacher's. "
    text += (
        "The column of Heun is the map's own velocity, or of students the teacher's (at most "
        "20,000 samples, whose KL has a "
    )
    text += (
        "higher floor). Bars: checkerboard KL .40 in one call and .25 in four; c2ot W2^2 .030 "
        "in "
        "one call. Published: "
    )
    text += "; ".join(f"{name} {PUBLISHED[name]}" for name in given.data if name in PUBLISHED)
    write(
        "maps_2d",
        "Maps between two times in two dimensions",
        text,
        rows,
        seconds=given.seconds,
        seeds=given.seeds,
    )


def passes(name: str, single: list[float], four: list[float]) -> str:
    first, second = BARS[name]
    ok = np.mean(single) <= first and (second is None or np.mean(four) <= second)
    if ok:
        return "yes"
    return "no"


if __name__ == "__main__":
    main()
