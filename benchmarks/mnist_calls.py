"""Quality against network calls on MNIST: one DDPM's weights under all solvers.

    PUSHFORWARD_DATA=FOLDER python benchmarks/mnist_calls.py [--run RUN] [--size tiny] [--blocks 3]
    [--reference 128]

RUN is a ddpm trained as in mnist.py (ten minutes); without it one of the size is trained. The
reference is its own probability-flow ODE; beside it stand `--exact` blocks of the same in 1,000
calls and `--ancestral` blocks of 1,000 ancestral steps, 10 million network evaluations each. (1)
The same 128 starts under every solver at 4, 8, 16 and 32 calls, RMS distance to the ODE in 1,000
calls, float32, model units. (2) Fréchet distance and KID of 10,000 samples to the 10,000 test
digits, in blocks of disjoint seeds, at 8 and 16 calls and for
    the reference in `--reference` calls, whose own distance to 1,000 calls is printed with it:
    1,000 calls for 30,000 samples are 30 million network evaluations.
(3) The same weights read on the straight path and solved adaptively, with scaled noise, against the
same on their own path. Grids are learned on noise that no sample uses. Rows that the results hold
for the same run are not made again.
"""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import time
from typing import Any

from protocol import benchmark, load, parsed, results, table, train, write

import numpy as np
import torch

import pushforward as pf
from pushforward import solvers
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.draws import ExampleDraws
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.scores import score
from pushforward.paths import Linear
from pushforward.solvers import Adaptive
from pushforward.transports import Flow
from pushforward.transports.learned_steps import learn_grid

CALLS = (4, 8, 16, 32)
SOLVERS = [
    "ddim",
    "dpm:2",
    "dpm:3",
    "deis:2",
    "deis:3",
    "ipndm",
    "unipc:1",
    "unipc:2",
    "unipc:3",
    "singlestep:2",
    "singlestep:3",
    "heun",
]
GRIDS = ["dpm:2", "unipc:2"]
"""Solvers whose steps are also at equal times and at learned ones; the others' are equal in
log-SNR.
"""
JUDGED = [("unipc:2", "time"), ("unipc:2", "learned"), ("ddim", "time")]
ONLY_EIGHT = {("ddim", "time")}
FAR = 9_000_000
"""The seed of the noise that distances are measured from."""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--reference", type=int, default=128)
    parser.add_argument("--exact", type=int, default=1, help="blocks")
    parser.add_argument("--ancestral", type=int, default=1, help="blocks")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--starts", type=int, default=128, help="whose distances are measured")
    parser.add_argument("--count", type=int, default=10_000, help="samples of a block")
    parser.add_argument(
        "--long", type=int, default=1000, help="calls of the ODE that is taken as the truth"
    )
    parser.add_argument("--calls", type=int, nargs="*", default=CALLS)
    parser.add_argument("--solvers", nargs="*", default=SOLVERS)
    parser.add_argument(
        "--judged", type=int, nargs="*", default=(8, 16), help="calls whose samples are scored"
    )
    parser.add_argument("--rounds", type=int, default=36, help="of learning a grid")
    small = {
        "seconds": 0.02,
        "blocks": 1,
        "reference": 9,
        "starts": 4,
        "count": 20,
        "long": 12,
        "calls": [4, 8],
        "judged": [8],
        "rounds": 1,
    }
    given = parsed(parser, words, **small, solvers=["ddim", "unipc:2", "heun"])
    data = load("mnist")
    if given.run:
        run = pf.load(given.run)
    else:
        run = train(lambda: pf.recipes.ddpm(data.space, given.size), data, 0, seconds=given.seconds)
    name = f"mnist_calls_{given.size}"
    cache = Kept(run, name, given)
    cache.rows("straight path", lambda: straight(run))
    judged(run, data, cache, 0)
    distances(run, cache)
    for block in range(1, given.blocks):
        judged(run, data, cache, block)

    def exact(block):
        return quality(data, block, flow_of(run, "unipc:2", given.long), given.count)

    def ancestral(block):
        return quality(data, block, flow_of(run, "ancestral", given.long, "time"), given.count)

    for block in range(given.exact):
        cache.rows(f"block {block} reference {given.long}", functools.partial(exact, block))
    for block in range(given.ancestral):
        cache.rows(
            f"block {block} ancestral time {given.long}", functools.partial(ancestral, block)
        )
    text = report(cache, given)
    write(
        name,
        f"MNIST: one DDPM ({given.size}) under all solvers",
        text,
        cache.content["rows"],
        **cache.about,
        reference=given.reference,
    )


class Kept:
    """Rows by name, written as they come, so that a long run can be broken off."""

    def __init__(self, run: pf.Run, name: str, given: argparse.Namespace) -> None:
        self.given = given
        weights = hashlib.sha256()
        for tensor in run.denoiser.state_dict().values():
            weights.update(tensor.contiguous().numpy().tobytes())
        self.about = {
            "weights": weights.hexdigest()[:16],
            "step": run.state["step"],
            "seconds": run.state["seconds"],
        }
        self.path = results() / f"{name}.json"
        old = json.loads(self.path.read_text()) if self.path.exists() else {}
        same = old.get("weights") == self.about["weights"]
        self.content: dict[str, Any] = {**self.about, "rows": old.get("rows", {}) if same else {}}

    def rows(self, name: str, make: Any) -> Any:
        if name not in self.content["rows"]:
            started = time.perf_counter()
            self.content["rows"][name] = make()
            print(
                f"{name}: {self.content['rows'][name]} ({time.perf_counter() - started:.0f} s)",
                flush=True,
            )
            self.path.write_text(json.dumps(self.content, indent=1, default=float) + "\n")
        return self.content["rows"][name]


def flow_of(run: pf.Run, name: str, calls: int, grid: Any = "log_snr") -> Flow:
    """The flow of as many steps as so many calls allow; Heun's calls, for one, are odd."""
    solver = solvers.named(name)
    steps = max(steps for steps in range(1, calls + 1) if solver.calls(steps) <= calls)
    return Flow(run.denoiser, solver, steps, grid)


def starts(run: pf.Run, n: int, seed: int) -> tuple[torch.Tensor, Any]:
    return ExampleDraws(seed, n).normal(run.transport.noise_shape), run.transport.conditions(
        n, None, seed
    )


def ends(flow: Flow, z: torch.Tensor, condition: Any) -> torch.Tensor:
    with torch.no_grad():
        parts = [
            flow(z[i : i + 128], {k: v[i : i + 128] for k, v in condition.items()})
            for i in range(0, len(z), 128)
        ]
    return torch.cat(parts)


def learned(run: pf.Run, cache: Kept, name: str, calls: int) -> Any:
    def make() -> Any:
        flow = flow_of(run, name, calls)
        with network_precision(resolve_precision("auto", "cpu")):
            grid = learn_grid(
                flow,
                n=cache.given.starts,
                rounds=cache.given.rounds,
                batch=min(32, cache.given.starts),
            )
        return {"times": grid.times, "before": grid.before, "after": grid.after}

    return cache.rows(f"grid {name} {calls}", make)["times"]


def distances(run: pf.Run, cache: Kept) -> None:
    """RMS distances to the ODE in 1,000 calls."""
    given = cache.given
    z, condition = starts(run, given.starts, FAR)

    @functools.cache
    def truth() -> torch.Tensor:
        return ends(Flow(run.denoiser, solvers.DPM(2), given.long, "log_snr"), z, condition)

    def distance(flow: Flow) -> float:
        return float((ends(flow, z, condition) - truth()).square().mean().sqrt())

    for name in given.solvers:
        for calls in given.calls:
            cache.rows(
                f"rms {name} log_snr {calls}", lambda n=name, c=calls: distance(flow_of(run, n, c))
            )
    for name in GRIDS:
        for calls in given.calls:
            cache.rows(
                f"rms {name} time {calls}",
                lambda n=name, c=calls: distance(flow_of(run, n, c, "time")),
            )
    for calls in (n for n in (64, 128) if n <= given.long):
        for grid in ("time", "log_snr"):
            cache.rows(
                f"rms unipc:2 {grid} {calls}",
                lambda c=calls, g=grid: distance(flow_of(run, "unipc:2", c, g)),
            )
    for name in GRIDS:
        for calls in given.judged:
            times = learned(run, cache, name, calls)
            cache.rows(
                f"rms {name} learned {calls}",
                lambda n=name, c=calls, t=times: distance(flow_of(run, n, c, t)),
            )


def straight(run: pf.Run) -> dict[str, float]:
    """RMS between the ODE solved adaptively on the model's own path and on the straight one, from
    matched log-SNR.
    """
    z, condition = starts(run, 16, FAR)
    gaps = {}
    for kind, tolerance in ((torch.float64, 1e-5), (torch.float32, 1e-6)):
        denoiser = copy.deepcopy(run.denoiser).to(kind)
        solver = Adaptive(tolerance, tolerance)
        own = Flow(denoiser, solver, 2)
        other = Flow(denoiser.on(Linear()), solver, 2)
        edges = [flow.denoiser.path.at(torch.tensor(flow.times[:1])) for flow in (own, other)]
        # x on the new path is x on the old one, scaled by the ratio of standard deviations
        scaled = z.to(kind) * float(edges[0].sigma / edges[0].r * edges[1].r / edges[1].sigma)
        gap = ends(own, z.to(kind), condition) - ends(other, scaled, condition)
        gaps[f"{str(kind).removeprefix('torch.')}, tolerance {tolerance:g}"] = float(
            gap.square().mean().sqrt()
        )
    return gaps


def quality(data: Any, block: int, flow: Flow, count: int) -> dict[str, float]:
    with network_precision(resolve_precision("auto", "cpu")):
        x = flow.sample(count, seed=(block + 1) * 1_000_000)
    scores = score(x, data, fit_features(data), n=count, metrics=("frechet", "kid"))
    return {name: score.value for name, score in scores.items()} | {
        "kid_error": scores["kid"].error
    }


def judged(run: pf.Run, data: Any, cache: Kept, block: int) -> None:
    reference = cache.given.reference
    count = cache.given.count
    cache.rows(
        f"block {block} reference {reference}",
        lambda: quality(data, block, flow_of(run, "unipc:2", reference), count),
    )
    for calls in cache.given.judged:
        for name, grid in JUDGED:
            if (name, grid) in ONLY_EIGHT and calls != 8:
                continue
            times = learned(run, cache, name, calls) if grid == "learned" else grid
            work = functools.partial(
                lambda n, c, t: quality(data, block, flow_of(run, n, c, t), count),
                name,
                calls,
                times,
            )
            cache.rows(f"block {block} {name} {grid} {calls}", work)


def report(cache: Kept, given: Any) -> str:
    rows = cache.content["rows"]
    text = (
        f"{given.starts} starts, RMS distance to the probability-flow ODE in {given.long:,} "
        "calls "
        "(dpm:2), model units, "
    )
    text += "float32, by the most calls that each solver was allowed:\n\n"
    named = [
        *((name, "log_snr") for name in given.solvers),
        *((name, grid) for name in GRIDS for grid in ("time", "learned")),
    ]

    def cell(key):
        if key in rows:
            return f"{rows[key]:.4f}"
        return "-"

    text += table(
        ["solver", "grid", *map(str, given.calls)],
        [[n, g, *(cell(f"rms {n} {g} {c}") for c in given.calls)] for n, g in named],
    )
    far = {
        grid: " and ".join(cell(f"rms unipc:2 {grid} {calls}") for calls in (64, 128))
        for grid in ("time", "log_snr")
    }
    text += (
        f"\n\nunipc:2 in 64 and 128 calls: {far['time']} at equal times, {far['log_snr']} at "
        "equal "
        "log-SNR."
    )
    other = "; ".join(
        f"{name}: {value:.2g}" for name, value in rows.get("straight path", {}).items()
    )
    text += (
        "\n\nThe same weights on the straight path, adaptive, scaled noise, RMS over 16 "
        "starts "
        f"(bar 1e-3): {other}.\n\n"
    )
    blocks = [b for b in range(given.blocks) if f"block {b} reference {given.reference}" in rows]
    body = []
    whole = dict.fromkeys(
        [
            ("unipc:2", "", given.reference),
            ("unipc:2", "", given.long),
            ("ancestral", "time", given.long),
        ]
    )
    for name, grid, calls in [*whole, *((n, g, c) for c in (8, 16) for n, g in JUDGED)]:
        keys = [
            f"block {b} reference {calls}" if not grid else f"block {b} {name} {grid} {calls}"
            for b in blocks
        ]
        points = [rows[key] for key in keys if key in rows]
        if not points:
            continue
        base = [rows[f"block {b} reference {given.reference}"] for b in blocks][: len(points)]
        ratio = np.array(
            [point["frechet"] / other["frechet"] for point, other in zip(points, base, strict=True)]
        )
        kid = np.array(
            [point["kid"] - other["kid"] for point, other in zip(points, base, strict=True)]
        )
        spread = f" ± {ratio.std(ddof=1):.3f}" if len(ratio) > 1 else ""
        body.append(
            [
                f"{name} {grid or 'log_snr (the ODE)'}",
                str(calls),
                ", ".join(f"{point['frechet']:.5f}" for point in points),
                f"{ratio.mean():.3f}{spread}",
                ", ".join(f"{point['kid']:.5f}" for point in points),
                f"{kid.mean():+.5f} (standard error of one {points[0]['kid_error']:.5f})",
            ]
        )
    text += f"{given.count:,} samples a block against the 10,000 test digits, bfloat16:\n\n"
    text += table(
        [
            "solver, grid",
            "calls",
            "Fréchet distance by block",
            "over the reference",
            "KID by block",
            "KID less the reference",
        ],
        body,
    )
    return (
        text
        + "\n\nBars: 1.10 at 8 calls, 1.03 at 16. Published ratios at 10 calls: 4.2 (DDIM), 1.5 "
        "(DPM-Solver)."
    )


if __name__ == "__main__":
    main()
