"""The eight-mode ring of PacGAN: who keeps every mode?

    python benchmarks/ring.py [--seconds 60] [--seeds 5]

flow, ddpm and gan as they come, and beside them the original game (non-saturating cross-entropy, no penalty) with PacGAN's
networks and settings: generator 4 x 400 with batch normalisation, critic 3 x 200 maxout of 5, Adam 1e-4 with beta1 .8, batch
100, raw and averaged weights. A mode is held with at least 20 % of its mass. 2,500 samples each.

Reference: Lin et al., PacGAN (2018), section 4.1; Goodfellow et al., Maxout Networks (2013).
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from typing import Any

import torch
from protocol import each, floors, mean_and_spread, table, write
from torch import nn

import pushforward as pf
from pushforward.evaluation import Judge
from pushforward.training.start import prepare, seeded

NAMES = ["modes_held", "modes_found", "high_quality", "bridges", "spread", "mode_kl", "frechet"]


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
    game = pf.GAN(Generator(), Critic(), space, latent=2, game="non_saturating", gamma=0.0)
    settings = {"batch": 100, "lr": 1e-4, "betas": (0.8, 0.999), "clip": None, "precision": "float32", "decay": 0.0, "warmup": 1}
    return pf.Recipe(game, pf.Training(**settings, ema=20_000), "original game", "GAN")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--entrants", nargs="*", default=["flow", "ddpm", "edm", "gan", "original"])
    given = parser.parse_args()
    data = pf.data.load("ring")
    judge = Judge(data, 2500, 3)
    cases = [(name, given.seconds, seed) for name in given.entrants for seed in range(given.seeds)]
    report(list(itertools.chain(*each(one, cases, given.jobs))), judge, given)


def one(name: str, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Train one entrant and judge its averaged and its raw weights."""
    data = pf.data.load("ring")
    judge = Judge(data, 2500, 3)
    make = original if name == "original" else pf.recipes.named(name)
    recipe = seeded(lambda: make(data.space), seed)
    trainer = prepare(recipe, data, seconds=seconds, seed=seed, out=tempfile.mkdtemp() + "/run", progress=pf.Progress(30))
    trainer.advance()
    found = []
    for weights, method in (("averaged", trainer.average.method), ("raw", trainer.method.eval())):
        scores, _ = judge.scores(method.transport())
        values = {metric: scores[metric]["mean"] for metric in NAMES if metric in scores}
        found.append({"entrant": name, "seed": seed, "weights": weights, "steps": trainer.clock.step, **values})
        print(found[-1], flush=True)
    return found


def report(rows: list[dict[str, Any]], judge: Judge, given: argparse.Namespace) -> None:
    body = []
    for name in given.entrants:
        for weights in ("averaged", "raw"):
            mine = [row for row in rows if row["entrant"] == name and row["weights"] == weights]
            each = "/".join(f"{row['modes_held']:g}" for row in mine)
            values = [mean_and_spread([row[m] for row in mine]) if m in mine[0] else "" for m in NAMES[1:]]
            body.append([f"{name}, {weights}", f"{sum(r['steps'] for r in mine) / len(mine):,.0f}", each, *values])
    floor = floors(judge, NAMES)
    body.append(["real data (floor)", "", floor["modes_held"], *(floor.get(m, "") for m in NAMES[1:])])
    base = judge.baseline()["scores"]
    body.append(["no network", "", *(f"{base[m]['mean']:.4g}" if m in base else "" for m in NAMES)])
    text = table(["entrant, weights", "steps", "modes held of 8, each seed", *NAMES[1:]], body)
    text += f"\n\n{given.seconds:g} s of training on one thread each, {given.seeds} seeds, 3 samplings of 2,500."
    write("ring", "Ring of eight modes", text, rows, seconds=given.seconds, seeds=given.seeds)


if __name__ == "__main__":
    main()
