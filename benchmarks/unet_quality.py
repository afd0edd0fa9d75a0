"""Equal seconds, equal loop, two U-Nets: does the faster one also learn more?

    pip install diffusers
    PUSHFORWARD_DATA=FOLDER python benchmarks/unet_quality.py [--seconds 150]

Flow matching on MNIST without labels, with our small U-Net and with diffusers' UNet2DModel of equal
parameter count as one's own module, by the same optimiser, in turns of five seconds. Theirs is
trained twice, at the rate that suits ours and at a third of it, so that neither is helped by the
choice. Ours runs in bfloat16; theirs in float32, and channels_last, which is faster than its
default layout. Judged by the Fréchet distance of 2,000 samples.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from typing import Any

from protocol import benchmark, load, parsed, real_data_scores, table, write

import torch
from torch import nn
from unet_speed import diffusers_unet

import pushforward as pf
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.evaluation import Evaluator
from pushforward.training.api import prepare, train_in_turns
from pushforward.training.loop.machine import seeded

NAMES = ["frechet", "kid", "coverage", "density"]


class Diffusers(nn.Module):
    """UNet2DModel behind our signature."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = diffusers_unet()

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: Any = None) -> torch.Tensor:
        return self.inner(x, 1000 * t).sample


def theirs(space: pf.data.Space, lr: float) -> pf.Recipe:
    """The recipe with their network, in the precision that it is fastest in."""
    recipe = seeded(lambda: pf.recipes.flow(space, network=Diffusers()), 0)
    return dataclasses.replace(
        recipe,
        training=dataclasses.replace(recipe.training, precision="float32", lr=lr, optimizer="muon"),
    )


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--n", type=int, default=2000)
    given = parsed(parser, words, seconds=0.01, n=20)
    data = load("mnist", labelled=False)
    ours = seeded(lambda: pf.recipes.flow(data.space), 0)
    rate = ours.training.lr
    rates = (rate,) if given.smoke else (rate, rate / 3)
    models = {"ours": ours, **{f"diffusers, rate {lr:g}": theirs(data.space, lr) for lr in rates}}
    folder = tempfile.mkdtemp()
    options = {"seconds": given.seconds, "progress": pf.Progress(60)}
    runs = train_in_turns(
        [
            prepare(recipe, data, out=f"{folder}/{i}", **options)
            for i, recipe in enumerate(models.values())
        ]
    )
    judge = Evaluator(data, given.n, 1)
    rows = []
    body = []
    for (name, recipe), run in zip(models.items(), runs, strict=True):
        with network_precision(resolve_precision(recipe.training.precision, "cpu")):
            scores, _ = judge.scores(run.transport)
        rows.append({"network": name, **run.state, **{m: scores[m].value for m in NAMES}})
        body.append([name, f"{run.state['step']:,}", *(f"{scores[m].value:.4g}" for m in NAMES)])
    floor = real_data_scores(judge, NAMES)
    body.append(["real data", "", *(floor[m] for m in NAMES)])
    base = judge.baselines()[0].scores
    body.append(["no network", "", *(f"{base[m].value:.4g}" for m in NAMES)])
    text = table(["network", "steps", *NAMES], body)
    text += (
        f"\n\n{given.seconds:g} s of training each in turns, n = {given.n}, one training, one "
        "sampling."
    )
    write(
        "unet_quality",
        "Equal seconds with our U-Net and with diffusers'",
        text,
        rows,
        seconds=given.seconds,
    )


if __name__ == "__main__":
    main()
