"""Network calls of diffusion by sampler, without a network's own errors; and the weights of a DDPM
as a flow.

Calls: the ideal denoiser of eight narrow Gaussians on a ring, known in closed form, on DDPM's
    thousand levels. Enough calls are
the fewest from which on, for every larger number tried, the spread about the modes is within 10 %
of the true one, and the share of points within three standard deviations of a mode within .02 of
the true share. The ancestral sampler and DDIM go by equal times, as published, DPM-Solver++(2M) by
equal log-SNR, the default of `ddpm` on vectors.

As a flow: DDIM on the path of a DDPM of digits against Euler's steps of the velocity on the
    straight path, at matched log-SNR,
from matched starts. Both move along the same estimates of data and noise, so their samples differ
by rounding alone.

References:
    Ho et al. (2020); Song et al., DDIM (2021); Lu et al., DPM-Solver++ (2022); Kingma and Gao
    (2023), for the equivalence.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from protocol import load, mean_and_spread, table, write

import numpy as np
import torch

import pushforward as pf
from claim_measurements.shared import SEEDS, trained
from pushforward.draws import ExampleDraws
from pushforward.paths import Tabulated, linear_betas
from pushforward.solvers import DDIM, Euler
from pushforward.testing.solvers import ring
from pushforward.transports import Flow

CALLS = {
    "ancestral": (5, 10, 25, 50, 100, 250, 1000),
    "ddim": (5, 10, 25, 50, 100, 250),
    "dpm:2": (5, 10, 15, 20, 25, 50),
}
GRIDS = {"ancestral": "time", "ddim": "time", "dpm:2": "log_snr"}
STD = 0.05
RADIUS = math.sqrt(2)
INSIDE = 1 - math.exp(-9 / 2)
"""The share of a Gaussian in a plane within three standard deviations."""
WITHIN = {"spread": 0.1, "inside": 0.02}
TRUE = {"spread": 1.0, "inside": INSIDE}


def measure(small: bool = False) -> None:
    steps, seeds, n = (2, 1, 100) if small else (40, SEEDS, 400)
    calls = {name: counts[:2] for name, counts in CALLS.items()} if small else CALLS
    data = load("digits")
    rows = []
    for seed in range(seeds):
        run = trained(
            lambda: pf.recipes.ddpm(data.space, "tiny"), data, seed, steps, precision="float32"
        )
        assert run is not None, "this model does not diverge"
        rows.append(
            {"seed": seed, **as_flow(run.transport, 4 if small else 64), **quality(calls, n, seed)}
        )
        print(rows[-1], flush=True)
    body = []
    for name, counts in calls.items():
        values = {
            key: [
                mean_and_spread([row["quality"][name][str(c)][key] for row in rows]) for c in counts
            ]
            for key in TRUE
        }
        cells = [
            ", ".join(f"{c}: {value}" for c, value in zip(counts, values[key], strict=True))
            for key in TRUE
        ]
        body.append([name, *cells, mean_and_spread([row["needed"][name] for row in rows])])
    body.append(["truth", "1", f"{INSIDE:.4g}", ""])
    text = table(
        ["sampler", "spread by calls", "within three standard deviations", "calls needed"], body
    )
    gaps = [
        mean_and_spread([row[f"apart_{kind}"] for row in rows]) for kind in ("float32", "float64")
    ]
    text += "\n\nLargest difference between DDIM and Euler on the straight path: "
    text += f"{gaps[0]} (float32), {gaps[1]} (float64) in model units."
    text += (
        f"\n\n{seeds} samplings of {n:,} samples; DDPM on digits: {steps} steps, tiny "
        "network, "
        f"{seeds} seeds."
    )
    write(
        "claim_calls",
        "Calls of diffusion, and its weights as a flow",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        n=n,
        within=WITHIN,
    )


def quality(calls: dict[str, tuple[int, ...]], n: int, seed: int) -> dict[str, Any]:
    """Spread and share by sampler and calls, and the fewest calls needed; twice the most where none
    is enough.
    """
    ideal = ring(Tabulated(linear_betas()), modes=8, radius=RADIUS, std=STD)
    by_sampler: dict[str, dict[str, dict[str, float]]] = {}
    needed = {}
    for name, counts in calls.items():
        samples = {
            c: Flow(ideal, name, c, GRIDS[name]).sample(n, seed=(seed + 1) * 1_000_000)
            for c in counts
        }
        by_sampler[name] = {str(c): scored(x, ideal.centres) for c, x in samples.items()}
        needed[name] = fewest(by_sampler[name])
    return {"quality": by_sampler, "needed": needed}


def scored(x: torch.Tensor, centres: torch.Tensor) -> dict[str, float]:
    """The root mean square distance to the nearest mode over the true one, of points within five
    times of it, and the share.
    """
    distance = torch.cdist(x.double(), centres).amin(1) / STD
    near = distance[distance < 5]
    spread = float(near.square().mean().sqrt()) / math.sqrt(2) if len(near) else math.inf
    return {"spread": spread, "inside": float((distance < 3).double().mean())}


def fewest(qualities: dict[str, dict[str, float]]) -> int:
    """The fewest calls from which on all are good; twice the most where the most are not."""
    counts = sorted(int(count) for count in qualities)
    needed = 2 * counts[-1]
    for count in reversed(counts):
        if any(abs(qualities[str(count)][key] - TRUE[key]) > WITHIN[key] for key in TRUE):
            break
        needed = count
    return needed


def as_flow(flow: Flow, n: int, steps: int = 25) -> dict[str, float]:
    """The largest difference, model units, of the same weights under DDIM on their own path and
    Euler on the straight one.
    """
    gaps = {}
    for kind in (torch.float32, torch.float64):
        denoiser = copy.deepcopy(flow.denoiser).to(kind)
        own = Flow(denoiser, DDIM(), steps, "time")
        straight = denoiser.on(pf.Linear())
        snr = denoiser.path.log_snr(torch.tensor(own.times[:-1], dtype=torch.float64))
        times = straight.path.time(snr).clamp(*straight.path.ends).numpy()
        other = Flow(straight, Euler(), steps, np.append(times, 0.0).tolist())
        edges = [each.denoiser.path.at(torch.tensor(each.times[:1])) for each in (own, other)]
        # a state on the straight path is the one on the own path, scaled by the ratio of standard
        # deviations
        scale = float(edges[0].sigma / edges[0].r * edges[1].r / edges[1].sigma)
        z = ExampleDraws(1_000_000, n).normal(flow.noise_shape).to(kind)
        condition = flow.conditions(n, None, 0)
        with torch.no_grad():
            gaps[f"apart_{str(kind).removeprefix('torch.')}"] = float(
                (own(z, condition) - other(z * scale, condition)).abs().max()
            )
    return gaps
