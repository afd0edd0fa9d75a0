"""Sharpness of digits by one generator under losses written by hand, beside which `digits.py` has a
critic's and a VAE's.

The generator of `recipes.gan` learns by the energy distance between a batch of pixels, with their
labels, and a generated one: a proper loss of distributions in which nothing is learned. Beside it
the mean of each class, the minimum of the squared error.

References:
    Székely and Rizzo, Energy statistics (2013); Bellemare et al., The Cramer Distance (2017), for
    generators under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocol import load, mean_and_spread, table, write

import torch
from torch import Tensor
from torch.nn import functional

import pushforward as pf
from claim_measurements.shared import SEEDS, floors_of
from pushforward.evaluation import Evaluator
from pushforward.training.loop.machine import seeded
from pushforward.transports import Map

NAMES = ["sharpness", "frechet", "coverage"]


class Means:
    """The mean of each class of training examples, as often as it is drawn."""

    def __init__(self, data: Any) -> None:
        x = data.train.data_units()
        label = torch.from_numpy(data.train.labels)
        self.label = label
        self.mean = torch.stack(
            [x[label == value].mean(0) for value in range(int(label.max()) + 1)]
        )

    def stream(self, n: int, *, seed: int = 0, **how: Any) -> Iterator[tuple[Tensor, None]]:
        order = torch.randperm(len(self.label), generator=torch.Generator().manual_seed(seed))
        yield self.mean[self.label[order[:n]]], None


def measure(small: bool = False) -> None:
    steps, seeds = (2, 1) if small else (300, SEEDS)
    data = load("digits")
    judge = Evaluator(data, 20 if small else len(data.held_out), 1, NAMES)
    models: dict[str, list[Any]] = {"class means": [Means(data)]}
    models["energy distance"] = [by_energy(data, seed, steps) for seed in range(seeds)]
    rows = []
    for name, samplers in models.items():
        for seed, sampler in enumerate(samplers):
            scores = judge.scores(sampler)[0]
            rows.append(
                {"loss": name, "seed": seed, **{metric: scores[metric].value for metric in NAMES}}
            )
    body = [
        [name, *(mean_and_spread([row[m] for row in rows if row["loss"] == name]) for m in NAMES)]
        for name in models
    ]
    floor = floors_of(judge, NAMES)
    body.append(
        ["real data", *(f"{floor[m]['value']:.4g} ± {floor[m]['spread'] or 0:.2g}" for m in NAMES)]
    )
    text = table(["loss", "sharpness", "Fréchet distance", "coverage"], body)
    text += (
        f"\n\n{steps:,} steps with batch size 128, {seeds} seeds, evaluated on {judge.n} "
        "held-out "
        "digits."
    )
    write(
        "claim_blur",
        "Hand-written losses",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        n=judge.n,
        floor=floor,
    )


def by_energy(data: Any, seed: int, steps: int) -> Map:
    """A generator trained by the energy distance of pixels and labels."""
    method = seeded(lambda: pf.recipes.gan(data.space), seed).method
    x = data.space.to_model(data.train.data_units())
    label = torch.from_numpy(data.train.labels)
    generator = torch.Generator().manual_seed(seed)
    rate = 1e-3
    optimizer = torch.optim.AdamW(method.generator.parameters(), lr=rate, betas=(0.5, 0.99))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        i = torch.randint(len(x), (128,), generator=generator)
        z = torch.randn(128, method.latent, generator=generator)
        fake = method.generator(z, None, {"label": label[i]})
        # labels far apart: pairs of other labels then push alike, whatever the pixels
        marks = 10 * functional.one_hot(label[i], len(data.space.classes)).to(x)
        real, drawn = (torch.cat([part.flatten(1), marks], dim=1) for part in (x[i], fake))
        loss = 2 * torch.cdist(drawn, real).mean() - _within(drawn)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return method.eval().transport()


def _within(x: Tensor) -> Tensor:
    """The mean distance of two different rows."""
    return functional.pdist(x).mean()
