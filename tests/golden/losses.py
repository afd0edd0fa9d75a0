"""Losses of 50 small steps of every recipe, and the first gradients of the games: what a change of
the trainer must keep.

    python tests/golden/losses.py PATH

writes the file that ``test_golden_losses.py`` compares with. Numbers are float64. What amplifies
rounding, games and minibatch optimal transport (whose plan is discrete), is trained again with its
weights scaled by 1 + 1.2e-7, one rounding in float32, and by three factors like it: the largest
distance of these losses is the drift that rounding alone causes. Processors round differently, so a
single control is too few.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import torch

import pushforward as pf
from pushforward.methods.likelihoods import Gaussian
from pushforward.registries import RECIPES
from pushforward.testing import IMAGES_ONLY, space_data
from pushforward.testing.models import teachers_for
from pushforward.training.api import prepare
from pushforward.training.loop.optimizers import PlayerOptimizer

STEPS = 50
PROBES = 4
SCALES = (1 + 1.2e-7, 1 - 1.2e-7, 1 + 2.4e-7, 1 - 2.4e-7)
CASES = {
    **{name: (name, {}) for name in RECIPES},
    "distil": ("distil", {"trajectories": 40}),
    "shortcut-average": ("shortcut", {"average": 500.0}),
    "finish": ("finish", {"coverage": 0.0, "recall": 0.0}),  # never ends by itself
    "gan-images": (
        "gan",
        {"augment_critic": "color,translation", "ada_target": 0.6, "minibatch_std": 4},
    ),
    "gan-wasserstein": ("gan", {"loss": "wasserstein"}),
    "flow-ot": ("flow", {"coupling": "ot"}),
}
"""Each case: a recipe and its options."""
BATCH = {"flow-ot": 60}
"""Divides the 300 examples, so that no batch holds an example twice: rounding would decide which of
the two gets which noise, and with it which time.
"""
MAPS = ("consistency", "distil", "meanflow", "shortcut", "shortcut-average")
AMPLIFYING = (
    "gan",
    "autoencoder",
    "gan-images",
    "gan-wasserstein",
    "flow-ot",
    "finish",
    "dmd",
    *MAPS,
)


def shape_of(case):
    """Short vectors where the recipe takes them."""
    if case.endswith("-images") or CASES[case][0] in IMAGES_ONLY:
        return (1, 8, 8)
    return (17,)


def prepared(case, folder, scale=1.0, **training):
    """A trainer for 50 steps of the case, whose weights are scaled."""
    name, options = CASES[case]
    data = space_data(shape_of(case), labels=True, n=300)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        function = pf.recipes.named(name)
        recipe = function(data.space, "tiny", **options, **teachers_for(function, data.space))
    training = {"batch": BATCH.get(case, 64), "precision": "float32", **training}
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **training))
    trainer = prepare(recipe, data, steps=STEPS, out=folder, seed=5)
    with torch.no_grad():
        for likelihood in (
            module for module in trainer.method.modules() if isinstance(module, Gaussian)
        ):
            # the variance of decoders started at 1 when losses were recorded
            likelihood.spread.zero_()
        for parameter in trainer.method.parameters():
            parameter.mul_(scale)
    return trainer


def first_gradients(trainer):
    """Filled while the trainer runs: for each player the norm of its first gradient and four
    projections of it.
    """
    gradients = {}
    update = PlayerOptimizer.update

    def noted(player, *arguments, **named):
        if player.name not in gradients and player.parameters[0].grad is not None:
            gradient = torch.cat(
                [p.grad.flatten().double() for p in player.parameters if p.grad is not None]
            )
            random = torch.Generator().manual_seed(len(gradient))
            probes = torch.randn(PROBES, len(gradient), generator=random, dtype=torch.float64)
            gradients[player.name] = [float(gradient.norm()), *(probes @ gradient).tolist()]
        return update(player, *arguments, **named)

    for player in trainer.state.optimizers.values():
        player.update = noted.__get__(player)
    return gradients


def trained(case, folder, **changes):
    """Losses by player, one for each step, and the first gradients."""
    trainer = prepared(case, folder, **changes)
    gradients = first_gradients(trainer)
    trainer.advance()
    rows = pf.load(folder).losses()
    return {player: [row["loss"][player] for row in rows] for player in rows[0]["loss"]}, gradients


def record():
    """Every case."""
    content = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            losses, gradients = trained(case, Path(folder) / "run")
            content[case] = {"losses": losses}
            if case in AMPLIFYING:
                controls = [
                    trained(case, Path(folder) / f"control {scale}", scale=scale)[0]
                    for scale in SCALES
                ]
                content[case] |= {"gradients": gradients, "controls": controls}
    return content


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(record(), indent=0) + "\n")
