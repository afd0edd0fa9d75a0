"""Does the direction in which a critic pushes points stay, in a game and without one?

The same critic, on the same 128 points of 8gaussians, from the same weights: once in a game, in
    which its generator learns too,
and once, as a control, against a generator that stays as it was. The direction is the slope of the
critic's score at points about the data, after a third of the training and at its end; the mean
cosine between both is 1 for a label that stays. What the control lacks to 1 is the critic's own
learning, what the game lacks beyond that is the game's.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from protocol import load, mean_and_spread, table, write

import torch
from torch import Tensor
from torch.nn import functional

import pushforward as pf
from pushforward.training.api import prepare
from pushforward.training.loop.machine import seeded

POINTS = 128
STILL = 1e-12
"""The learning rate of a generator that stays."""
FIRST = 100
COUNT = 8
"""The first seed, and how many: the rule of the claim was settled on seeds 0 to 2, which are not
measured again.
"""


def measure(small: bool = False) -> None:
    steps, seeds = (3, 1) if small else (400, COUNT)
    data = load("8gaussians", limit=POINTS, labelled=False)
    x = data.space.to_model(data.train.data_units())
    rows = []
    for seed in range(FIRST, FIRST + seeds):
        rows.append(
            {
                "seed": seed,
                **{name: critics(data, x, seed, steps, name) for name in ("game", "control")},
            }
        )
        print(rows[-1], flush=True)
    body = [[name, mean_and_spread([row[name] for row in rows])] for name in ("game", "control")]
    text = table(["", "cosine of the directions"], body)
    text += f"\n\n{POINTS} points, {steps} steps, tiny networks, {seeds} seeds from {FIRST}; "
    text += "the generator of the control does not learn."
    write(
        "claim_game",
        "Is the target of a GAN fixed?",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        points=POINTS,
    )


def critics(data: Any, x: Tensor, seed: int, steps: int, name: str) -> float:
    """The mean cosine between the directions in which two moments of one training push the same
    points.
    """
    generator = torch.Generator().manual_seed(seed)
    points = x + 0.3 * torch.randn(x.shape, generator=generator)

    def changed() -> pf.Recipe:
        recipe = pf.recipes.gan(data.space, "tiny")
        if name == "game":
            return recipe
        players = {
            **recipe.training.players,
            "generator": {**recipe.training.players.get("generator", {}), "lr": STILL},
        }
        return dataclasses.replace(
            recipe, training=dataclasses.replace(recipe.training, players=players)
        )

    trainer = prepare(
        seeded(changed, seed), data, steps=steps, seed=seed, out=Path(tempfile.mkdtemp()) / "run"
    )
    trainer.save()
    directions = []
    for step in range(steps):
        trainer.train_step(trainer.next_batch())
        if step in (steps // 3, steps - 1):
            here = points.clone().requires_grad_()
            directions.append(
                torch.autograd.grad(trainer.recipe.method.scores(here).sum(), here)[0]
            )
        trainer.state.advance(0.0)
    trainer.close()
    return float(functional.cosine_similarity(*directions, dim=1).mean())
