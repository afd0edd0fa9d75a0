"""Is each family's loss a regression, whose minimum is a conditional mean that does not move while
it is learned?

On 128 points of 8gaussians every conditional mean is a sum over the points. Diffusion and flow: the
    trained denoiser, read as v,
against E[v | x_t]. VAE: the decoder's mean against E[x | z] under the encoder's own codes. Each as
the mean square of what is left over that of the conditional mean: 0 for a regression that has
converged. The GAN is measured by `claim_measurements.game`.

References:
    Vincent, A Connection between Score Matching and Denoising Autoencoders (2011); Lipman et al.
    (2023), theorem 2.
"""

from __future__ import annotations

from typing import Any

from protocol import load, mean_and_spread, table, write

import torch
from torch import Tensor

import pushforward as pf
from claim_measurements.shared import SEEDS, trained

POINTS = 128
DRAWN = 2_000


def measure(small: bool = False) -> None:
    steps, seeds = (3, 1) if small else (2000, SEEDS)
    data = load("8gaussians", limit=POINTS, labelled=False)
    x = data.space.to_model(data.train.data_units())
    rows = []
    for seed in range(seeds):
        row: dict[str, Any] = {"seed": seed}
        for name in ("flow", "ddpm", "vae"):
            recipe = pf.recipes.named(name)
            run = trained(
                lambda recipe=recipe: recipe(data.space, "tiny"),
                data,
                seed,
                steps,
                precision="float32",
            )
            assert run is not None, "these models do not diverge"
            row[name] = (
                of_decoder(run.method.eval(), x, seed)
                if name == "vae"
                else of_denoiser(run.transport.denoiser, x, seed)
            )
        rows.append(row)
        print(row, flush=True)
    body = [
        [name, mean_and_spread([row[name] for row in rows])] for name in ("flow", "ddpm", "vae")
    ]
    text = table(["family", "left over the conditional mean"], body)
    text += f"\n\n{POINTS} points, {steps} steps, tiny networks, {seeds} seeds."
    write(
        "claim_regression",
        "Losses as regressions",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        points=POINTS,
    )


def of_denoiser(denoiser: Any, x: Tensor, seed: int) -> float:
    """What is left between the denoiser's v and E[v | x_t], over uniform times, relative to E[v |
    x_t].
    """
    generator = torch.Generator().manual_seed(seed)
    picked = x[torch.randint(len(x), (DRAWN,), generator=generator)]
    t = 0.02 + 0.96 * torch.rand(DRAWN, generator=generator)
    k = denoiser.path.at(t).over(picked)
    x_t = k.alpha * picked + k.sigma * torch.randn(picked.shape, generator=generator)
    apart = (x_t[:, None] - k.alpha[:, None] * x).square().sum(2)
    mean = (-apart / (2 * k.sigma**2)).softmax(1) @ x
    noise = (x_t - k.alpha * mean) / k.sigma
    known = (k.alpha * noise - k.sigma * mean) / k.r
    with torch.no_grad():
        return left(denoiser.predict("v", x_t, t, None), known)


def of_decoder(vae: Any, x: Tensor, seed: int) -> float:
    """What is left between the decoder's mean and E[x | z], over codes of the points, relative to
    E[x | z].
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        mean, log_variance = vae.posterior(x)
        picked = torch.randint(len(x), (DRAWN,), generator=generator)
        z = mean[picked] + (log_variance[picked] / 2).exp() * torch.randn(
            DRAWN, mean.shape[1], generator=generator
        )
        log_density = -((z[:, None] - mean).square() / log_variance.exp() + log_variance).sum(2) / 2
        known = log_density.softmax(1) @ x
        return left(vae.likelihood.mean(vae.code_decoder(z, None, None)), known)


def left(estimate: Tensor, known: Tensor) -> float:
    return float((estimate - known).square().sum() / known.square().sum())
