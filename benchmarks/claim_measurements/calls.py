"""One DDPM on digits: quality against network calls by its own sampler and by a fast solver; and the same weights as a flow.

Calls: the Fréchet distance to held-out digits by the ancestral sampler, DDIM and DPM-Solver++(2M) at equal times; needed are the
fewest calls that come within 10 % of the ancestral sampler's at all thousand levels.

As a flow: DDIM on the model's own path against Euler's steps of the velocity on the straight path, at matched log-SNR, from
matched starts. Both move along the same estimates of data and noise, so their samples differ by rounding alone.

References:
    Ho et al. (2020); Song et al., DDIM (2021); Lu et al., DPM-Solver++ (2022); Kingma and Gao (2023), for the equivalence.
"""

from __future__ import annotations

import copy
from typing import Any

from protocol import load, mean_and_spread, table, write

import numpy as np
import torch

import pushforward as pf
from claim_measurements.shared import SEEDS, floors_of, trained
from pushforward.draws import RowDraws
from pushforward.evaluation import Judge
from pushforward.solvers import DDIM, Euler
from pushforward.transports import Flow

CALLS = {"ancestral": (5, 10, 25, 50, 100, 250, 1000), "ddim": (5, 10, 25, 50), "dpm:2": (5, 10, 25, 50)}
LONG = ("ancestral", 1000)
WITHIN = 1.1


def measure(small: bool = False) -> None:
    steps, seeds, repeats = (2, 1, 1) if small else (400, SEEDS, 1)
    calls = {name: tuple(n for n in counts if n <= 5) for name, counts in CALLS.items()} if small else CALLS
    data = load("digits")
    judge = Judge(data, 20 if small else len(data.held_out), repeats, ["frechet"])
    rows = []
    for seed in range(seeds):
        run = trained(lambda: pf.recipes.ddpm(data.space, "tiny"), data, seed, steps, precision="float32")
        assert run is not None, "this model does not diverge"
        rows.append({"seed": seed, **as_flow(run.transport, 4 if small else 64), **quality(judge, run.transport, calls)})
        print(rows[-1], flush=True)
    body = []
    for name, counts in calls.items():
        cells = [f"{n}: {mean_and_spread([row['frechet'][name][str(n)] for row in rows])}" for n in counts]
        body.append([name, ", ".join(cells), mean_and_spread([row["needed"][name] for row in rows])])
    floor = floors_of(judge, ["frechet"])
    body.append(["real data (floor)", f"{floor['frechet']['value']:.4g} ± {floor['frechet']['spread'] or 0:.2g}", ""])
    text = table(["sampler", "Fréchet distance by calls", "calls needed"], body)
    gaps = [mean_and_spread([row[f"apart_{kind}"] for row in rows]) for kind in ("float32", "float64")]
    text += (
        f"\n\nDDIM against Euler on the straight path, largest difference of a pixel: {gaps[0]} (float32), {gaps[1]} (float64)."
    )
    text += f"\n\n{steps} steps of training, tiny networks, {seeds} seeds, {repeats} samplings of {judge.n}."
    settings: dict[str, Any] = {
        "steps": steps,
        "seeds": seeds,
        "repeats": repeats,
        "n": judge.n,
        "floor": floor,
        "within": WITHIN,
    }
    write("claim_calls", "Calls of one DDPM, and the same weights as a flow", text, rows, **settings)


def quality(judge: Judge, flow: Flow, calls: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The Fréchet distance by sampler and calls, and the fewest calls needed; twice the most where none is enough."""
    distance = {
        name: {str(n): judge.scores(flow.with_solver(name, n, "time"))[0]["frechet"].value for n in counts}
        for name, counts in calls.items()
    }
    bar = WITHIN * list(distance[LONG[0]].values())[-1]
    needed = {
        name: next((int(n) for n, value in by_calls.items() if value <= bar), 2 * calls[name][-1])
        for name, by_calls in distance.items()
    }
    return {"frechet": distance, "needed": needed}


def as_flow(flow: Flow, n: int, steps: int = 25) -> dict[str, float]:
    """The largest difference, model units, of the same weights under DDIM on their own path and Euler on the straight one."""
    gaps = {}
    for kind in (torch.float32, torch.float64):
        denoiser = copy.deepcopy(flow.denoiser).to(kind)
        own = Flow(denoiser, DDIM(), steps, "time")
        straight = denoiser.on(pf.Linear())
        snr = denoiser.path.log_snr(torch.tensor(own.times[:-1], dtype=torch.float64))
        times = straight.path.time(snr).clamp(*straight.path.ends).numpy()
        other = Flow(straight, Euler(), steps, np.append(times, 0.0).tolist())
        edges = [each.denoiser.path.at(torch.tensor(each.times[:1])) for each in (own, other)]
        # a state on the straight path is the one on the own path, scaled by the ratio of standard deviations
        scale = float(edges[0].sigma / edges[0].r * edges[1].r / edges[1].sigma)
        z = RowDraws(1_000_000, n).normal(flow.noise_shape).to(kind)
        condition = flow.conditions(n, None, 0)
        with torch.no_grad():
            gaps[f"apart_{str(kind).removeprefix('torch.')}"] = float(
                (own(z, condition) - other(z * scale, condition)).abs().max()
            )
    return gaps
