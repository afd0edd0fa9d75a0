"""How straight a flow's trajectories are, and how many steps of Euler it needs: a curved path, a
straight one, two remedies.

The same perceptron learns to move noise onto 8gaussians on the variance-preserving path (vp), on
the straight path with independent noise (straight), with minibatch optimal transport (ot), and from
the straight flow's own pairs (reflow); as many steps each, the velocity predicted, times uniform.
Straightness is that of `straightness`, 0 for straight lines, measured on the straight path for all.
Steps are counted on each model's own path: the least number of Euler steps, in equal times, that
end within .1 standard deviations (root mean square) of 100 steps of Heun.

References:
    Liu et al., Rectified Flow (2023); Tong et al. (2024).
"""

from __future__ import annotations

from typing import Any

from protocol import load, mean_and_spread, table, write

import torch

import pushforward as pf
from claim_measurements.shared import SEEDS, trained
from pushforward.draws import ExampleDraws
from pushforward.evaluation.trajectories import straightness
from pushforward.methods import TeacherPairs, Trajectories
from pushforward.networks import MLP
from pushforward.paths import Independent, OptimalTransport, Stratified, Uniform
from pushforward.recipes import Recipe, Training
from pushforward.solvers import Euler, Heun
from pushforward.transports import Flow

MODELS = ("vp", "straight", "ot", "reflow")
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
WITHIN = 0.1
GROUP = 128
REUSE = 4
"""Examples whose noise is permuted together, and the steps for which a plan is kept."""


def measure(small: bool = False) -> None:
    steps, seeds, moved = (2, 1, 50) if small else (400, SEEDS, 400)
    data = load("8gaussians", limit=10_000)
    rows = [row for seed in range(seeds) for row in models(data, seed, steps, moved, small)]
    body = []
    for model in dict.fromkeys(row["model"] for row in rows):
        model_rows = [row for row in rows if row["model"] == model]
        body.append(
            [
                model,
                *(
                    mean_and_spread([row[name] for row in model_rows])
                    for name in ("straightness", "steps_needed", "rms_8")
                ),
            ]
        )
    body.append(["straight lines (floor)", "0", "1", "0"])
    text = table(["model", "straightness", "Euler steps needed", "RMS distance of 8 steps"], body)
    text += (
        f"\n\n8gaussians, {steps:,} steps of {GROUP} each, {moved:,} trajectories, {seeds} seeds."
    )
    write(
        "claim_straightness",
        "Straight paths",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        moved=moved,
        within=WITHIN,
    )


def models(data: Any, seed: int, steps: int, moved: int, small: bool) -> list[dict[str, Any]]:
    """The models of one seed, and what is measured of each."""
    rows = []
    straight = None
    for model in ("straight", "reflow") if small else MODELS:
        couple: Any = OptimalTransport(GROUP, REUSE) if model == "ot" else Independent()
        if model == "reflow":
            assert straight is not None, "the straight flow comes first"
            couple = TeacherPairs(
                Trajectories(straight.with_solver("dpm:2", 16), max(64, 16 * moved), ends=True)
            )
        path = pf.VP() if model == "vp" else pf.Linear()
        run = trained(
            lambda path=path, couple=couple: recipe(data.space, path, couple), data, seed, steps
        )
        assert run is not None, "these flows do not diverge"
        flow = run.transport
        if model == "straight":
            straight = flow
        rows.append({"model": model, "seed": seed, **measured(flow, moved, small)})
        print(rows[-1], flush=True)
    return rows


def recipe(space: Any, path: Any, couple: Any) -> Recipe:
    network = MLP(2, 2, width=64, depth=3, conditions=space.conditions)
    denoiser = pf.Denoiser(network, path, "velocity", space, unconditional=False)
    method = pf.Denoising(
        denoiser, couple=couple, times=Stratified(Uniform()), solver=Euler(), steps=100, grid="time"
    )
    return Recipe(method, Training(GROUP, lr=2e-3, precision="float32"), "flow", "flow matching")


def measured(flow: Flow, moved: int, small: bool = False) -> dict[str, float]:
    """Straightness, Euler steps needed, and the distance that 8 steps leave."""
    z = ExampleDraws(1_000_000, moved).normal(flow.noise_shape)
    counts = STEPS[:6] if small else STEPS
    with torch.no_grad():
        end = Flow(flow.denoiser, Heun(), counts[-1] if small else 100, "time")(z)
        distance = {
            n: float((Flow(flow.denoiser, Euler(), n, "time")(z) - end).square().mean().sqrt())
            for n in counts
        }
    needed = next((n for n in counts if distance[n] <= WITHIN), 2 * counts[-1])
    straight = straightness(flow, moved, steps=8 if small else 64)
    return {
        "straightness": straight,
        "steps_needed": needed,
        "rms_8": distance[8],
        "rms_1": distance[1],
    }
