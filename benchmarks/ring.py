"""Ring of eight and grid of 25 Gaussians: who keeps every mode, as heavy and as wide as it is, and
leaves nothing in between?

    python benchmarks/ring.py [--data ring grid] [--models gan original flow ddpm edm] [--seconds
    150] [--seeds 10] [--others 3]

gan, flow, ddpm and edm as they come, and beside them the original game (non-saturating
cross-entropy, no penalty) with PacGAN's networks and settings: generator 4 x 400 with batch
normalisation, critic 3 x 200 maxout of 5, Adam 1e-4 with beta1 .8, batch
100. Averaged and raw weights, 25,000 samples each. A mode is kept with 50 to 150 % of its mass; KL
  is the mean over ten parts of
2,500 samples, as in the field's tables. What is finished lies in a folder and is not trained again.

Reference: Lin et al., PacGAN (2018), section 4.1; Goodfellow et al., Maxout Networks (2013).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    remembered,
    results,
    table,
    watched,
    write,
)

import numpy as np
import torch
from torch import nn

import pushforward as pf
from pushforward.methods import Penalties
from pushforward.metrics.modes import count_modes
from pushforward.training.loop.machine import seeded

N = 25_000
PARTS = 10
SHOWN = 4_000
NAMES = ["bridges", "spread", "kl", "high_quality"]
PUBLISHED = {
    "ring": [("GAN", "6.3 ± 0.5", "0.45", "0.982"), ("PacGAN4", "7.8", "0.07", "0.959")],
    "grid": [("GAN", "17.3 ± 0.8", "0.70", "0.948"), ("PacGAN4", "24.8", "0.04", "0.936")],
}
BARS = {"ring": 0.005, "grid": 0.015}
WARNING = (
    "High quality is the fraction of samples within 3 standard deviations of a mode. A perfect "
    "model has 98.89 %; larger values "
    "mean that modes are too narrow. Narrow modes and samples between modes cancel, so this score "
    "alone cannot rank models."
)


class Generator(nn.Module):
    """PacGAN's: four hidden layers of 400 with batch normalisation, from a code of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (2, 400, 400, 400):
            layers += [nn.Linear(inputs, 400), nn.BatchNorm1d(400), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(400, 2))

    def forward(self, z: torch.Tensor, t: Any = None, condition: Any = None) -> torch.Tensor:
        return self.layers(z)


class Critic(nn.Module):
    """PacGAN's: three hidden layers of 200 maxout units of five pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, 200 * 5) for inputs in (2, 200, 200)])
        self.last = nn.Linear(200, 1)

    def forward(self, x: torch.Tensor, t: Any = None, condition: Any = None) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).reshape(len(x), 200, 5).amax(2)
        return self.last(x)


def original(space: pf.data.Space) -> pf.Recipe:
    """The original game with PacGAN's networks and settings."""
    game = pf.GAN(
        Generator(),
        Critic(),
        space,
        latent=2,
        loss="non_saturating",
        penalties=Penalties(gamma=0.0),
    )
    settings = {
        "batch": 100,
        "lr": 1e-4,
        "betas": (0.8, 0.999),
        "clip": None,
        "precision": "float32",
    }
    return pf.Recipe(
        game,
        pf.Training(**settings, schedule=pf.Schedule(warmup=1, decay=0.0), ema=20_000),
        "original game",
        "GAN",
    )


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=["ring", "grid"], choices=["ring", "grid"])
    parser.add_argument("--models", nargs="*", default=["gan", "original", "flow", "ddpm", "edm"])
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seeds", type=int, default=10, help="trainings of the gan")
    parser.add_argument("--others", type=int, default=3, help="trainings of each other model")
    parser.add_argument("--n", type=int, default=N, help="samples that are judged")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--runs", default="runs/ring-benchmark", help="folder of what is finished")
    given = parsed(
        parser,
        words,
        data=["ring"],
        models=["gan", "original"],
        seconds=0.02,
        seeds=1,
        others=1,
        n=500,
    )
    cases = [
        (data, name, seed, given.seconds, given.n, given.runs)
        for data in given.data
        for seed in range(max(given.seeds, given.others))
        for name in given.models
        if seed < (given.seeds if name == "gan" else given.others)
    ]
    rows = [row for case_rows in each(run_case, cases, given.jobs) for row in case_rows]
    for data in given.data:
        report(data, [row for row in rows if row["data"] == data], given)
        picture(data, given.models, given.runs)


def run_case(
    data: str, name: str, seed: int, seconds: float, n: int, runs: str
) -> list[dict[str, Any]]:
    """Train one model and judge its averaged and its raw weights; or read what was found before."""
    loaded = load(data)
    make = original if name == "original" else pf.recipes.named(name)
    recipe = seeded(lambda: make(loaded.space), seed)
    facts = {"data": data, "model": name, "seed": seed}

    def work():
        return judged(recipe, loaded, seconds, seed, n, Path(runs) / f"{data}-{name}-{seed}.npy")

    results = remembered(
        runs, f"{data}-{name}-{seed}", recipe, {**facts, "budget_seconds": seconds, "n": n}, work
    )
    print(facts, *results, sep="\n", flush=True)
    return [{**facts, **row} for row in results]


def judged(
    recipe: pf.Recipe, data: Any, seconds: float, seed: int, n: int, keep: Path
) -> list[dict[str, Any]]:
    """Train, measure both kinds of weights, and keep some samples of the averaged ones for the
    picture.
    """
    trainer, facts = watched(recipe, data, seconds, seed)
    both = {"averaged": trainer.average.method, "raw": trainer.method.eval()}
    drawn = {
        weights: method.transport().sample(n, seed=seed).numpy() for weights, method in both.items()
    }
    keep.parent.mkdir(parents=True, exist_ok=True)
    np.save(keep, drawn["averaged"][:SHOWN])
    return [
        {**facts, "weights": weights, **measured(x, data.truth)} for weights, x in drawn.items()
    ]


def measured(x: np.ndarray, truth: Any) -> dict[str, float]:
    """What the table says of samples in data units."""
    known = truth.centres, float(truth.std), truth.weights
    whole = count_modes(x, *known)
    share = len(truth.centres)
    size = len(x) // PARTS
    parts = [count_modes(x[at : at + size], *known).divergence for at in range(0, len(x), size)]
    kept_modes = int(((whole.mass * share >= 0.5) & (whole.mass * share <= 1.5)).sum())
    values = {"bridges": whole.bridges, "spread": whole.spread, "kl": float(np.mean(parts))}
    return {
        "modes_kept": kept_modes,
        "modes_found": whole.reached,
        **values,
        "high_quality": whole.high_quality,
    }


def floor(truth: Any, n: int = N, repeats: int = 10) -> list[dict[str, float]]:
    """The same of samples of the truth itself."""
    random = np.random.default_rng(0)

    def draw():
        return truth.centres[
            random.choice(len(truth.centres), n, p=truth.weights)
        ] + truth.std * random.normal(size=(n, 2))

    return [measured(draw(), truth) for _ in range(repeats)]


def passes(data: str, rows: list[dict[str, Any]], modes: int) -> str:
    """How many trainings meet every bar: all modes kept, bridges at most 1 %, spread .9 to 1.1, and
    KL's.
    """
    good = [
        row["modes_kept"] == modes
        and row["bridges"] <= 0.01
        and 0.9 <= row["spread"] <= 1.1
        and row["kl"] <= BARS[data]
        for row in rows
    ]
    return f"{sum(good)} of {len(good)}"


def report(data: str, rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    truth: Any = load(data).truth
    modes = len(truth.centres)
    body = []
    for name in given.models:
        for weights in ("averaged", "raw"):
            mine = [row for row in rows if row["model"] == name and row["weights"] == weights]
            steps = f"{np.mean([row['steps'] for row in mine]):,.0f}"
            each_kept = "/".join(str(row["modes_kept"]) for row in mine)
            values = [mean_and_spread([row[m] for row in mine]) for m in NAMES]
            alarmed = str(sum(bool(row["alarms"]) for row in mine))
            body.append(
                [
                    f"{name}, {weights}",
                    steps,
                    each_kept,
                    *values,
                    passes(data, mine, modes),
                    alarmed,
                ]
            )
    real = floor(truth, given.n)
    body.append(
        [
            "real data",
            "",
            str(modes),
            *(mean_and_spread([row[m] for row in real]) for m in NAMES),
            "",
            "",
        ]
    )
    for name, held, kl, quality in PUBLISHED[data]:
        body.append([f"{name}, published", "", f"{held} found", "", "", kl, quality, "", ""])
    columns = [
        "model, weights",
        "steps",
        f"modes kept of {modes}, each seed",
        *NAMES,
        "meet all targets",
        "with alarms",
    ]
    text = table(columns, body)
    text += (
        f"\n\n{given.seconds:g} s of training on one thread each, {given.n:,} samples; means and "
    )
    text += (
        "standard deviations over seeds. A mode is kept if it has 50 to 150 % of its mass. "
        "Bridges "
        "are samples between modes, "
    )
    text += (
        "spread is the width of the modes. Targets: all modes kept, bridges at most 0.01, "
        "spread "
        "0.9 to 1.1, "
    )
    text += f"KL at most {BARS[data]:g}. {WARNING}"
    title = "Ring of eight modes" if data == "ring" else "Grid of 25 modes"
    write(
        data,
        title,
        text,
        rows,
        seconds=given.seconds,
        seeds={name: given.seeds if name == "gan" else given.others for name in given.models},
        n=given.n,
    )


def picture(data: str, models: list[str], runs: str) -> None:
    """The first training of each model beside real data, and one mode of each from near by:
    results/DATA.png.
    """
    from matplotlib.figure import Figure

    loaded = load(data)
    truth: Any = loaded.truth
    panels = {"real data": loaded.held_out.data_units().numpy()[:SHOWN]}
    panels |= {
        name: np.load(path)
        for name in models
        if (path := Path(runs) / f"{data}-{name}-0.npy").exists()
    }
    figure = Figure(figsize=(3.2 * len(panels), 6.4), dpi=110, layout="constrained")
    reach = np.abs(truth.centres).max() * 1.25
    centre = truth.centres[len(truth.centres) // 2]
    near = 6 * float(truth.std)
    for (name, x), (far_axes, near_axes) in zip(
        panels.items(), figure.subplots(2, len(panels)).T, strict=True
    ):
        for axes, middle, half, size in (
            (far_axes, (0, 0), reach, 1.0),
            (near_axes, centre, near, 3.0),
        ):
            axes.scatter(*np.asarray(x).T, s=size, color="#0072b2", linewidths=0)
            axes.set(
                xlim=(middle[0] - half, middle[0] + half),
                ylim=(middle[1] - half, middle[1] + half),
                aspect="equal",
            )
            axes.set(xticks=[], yticks=[])
        for radius in (1, 2, 3):
            angle = np.linspace(0, 2 * np.pi, 200)
            circle = centre[:, None] + radius * float(truth.std) * np.stack(
                [np.cos(angle), np.sin(angle)]
            )
            near_axes.plot(*circle, color="0.6", linewidth=0.7)
        far_axes.set_title(name)
        near_axes.set_xlabel("one mode; circles at 1, 2, 3 std")
    figure.savefig(results() / f"{data}.png")


if __name__ == "__main__":
    main()
