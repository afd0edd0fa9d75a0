"""The variance of two estimators of the gradient of E f(z), z ~ N(mean, spread^2): reparameterised,
and by the score function.

First on f(z) = |z - c|^2, where both variances are known in closed form, which checks the
estimators; then on a VAE's reconstruction error on digits, by the mean of the codes. The score
function has a baseline, the mean of f over the other draws.

References:
    Kingma and Welling (2014), section 2.3; Williams, REINFORCE (1992); Mohamed et al., Monte Carlo
    Gradient Estimation in Machine Learning (2020), sections 4 and 5, for both.
"""

from __future__ import annotations

from typing import Any

from protocol import load, mean_and_spread, table, write

import torch
from torch import Tensor

import pushforward as pf
from claim_measurements.shared import SEEDS, trained


def measure(small: bool = False) -> None:
    steps, seeds, draws = (2, 1, 20_000) if small else (200, SEEDS, 100_000)
    checks = [check(seed, draws) for seed in range(seeds)]
    rows = [
        {**checks[seed], **of_a_vae(seed, steps, 16, 64 if small else 256)} for seed in range(seeds)
    ]
    column = lambda name: mean_and_spread([row[name] for row in rows])  # noqa: E731
    body = [
        ["closed form: error of the reparameterised variance", column("error_reparameterised")],
        ["closed form: error of the score function's variance", column("error_score")],
        [
            "closed form: variance of the score function over the reparameterised one",
            column("closed_form_ratio"),
        ],
        ["VAE: the same, with a baseline", column("ratio_baseline")],
        ["VAE: the same, without one", column("ratio")],
        [
            "VAE: reparameterised, standard deviation over the gradient's norm",
            column("noise_reparameterised"),
        ],
        [
            "VAE: score function with a baseline, standard deviation over the gradient's norm",
            column("noise_score"),
        ],
    ]
    text = table(["", "mean ± standard deviation over seeds"], body)
    text += (
        f"\n\nClosed form: 8 dimensions, {draws:,} samples. VAE: tiny, {steps} steps on "
        "digits, "
        "one sample per gradient."
    )
    write(
        "claim_gradients",
        "Variance of gradients",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        draws=draws,
    )


def closed_form(offset: Tensor, spread: float) -> tuple[float, float]:
    """The variances of both estimators of the gradient of E|z - c|^2 by the mean, summed over
    entries, without a baseline.

    With u = mean - c and z = mean + spread e: 2 (z - c) has the variance 4 spread^2 in each entry;
    f e / spread has E f^2 e_i^2 / spread^2 - 4 u_i^2, from the moments of e up to the sixth.
    """
    d = len(offset)
    a = float(offset.square().sum())
    s2 = spread**2
    second = (
        a**2 + 2 * a * s2 * (d + 2) + s2**2 * (d + 2) * (d + 4) + 4 * s2 * (a + 2 * offset.square())
    )
    return 4 * s2 * d, float((second / s2 - 4 * offset.square()).sum())


def check(seed: int, draws: int) -> dict[str, float]:
    """How far the measured variances are from the closed forms, relative, and the ratio of the
    closed forms.
    """
    generator = torch.Generator().manual_seed(seed)
    offset = torch.randn(8, generator=generator, dtype=torch.float64)
    spread = 0.5
    e = torch.randn(draws, 8, generator=generator, dtype=torch.float64)
    z = offset + spread * e
    first = 2 * z
    second = z.square().sum(1, keepdim=True) * e / spread
    known = closed_form(offset, spread)
    errors = [
        abs(float(x.var(0).sum()) / variance - 1)
        for x, variance in zip((first, second), known, strict=True)
    ]
    return {
        "seed": seed,
        "error_reparameterised": errors[0],
        "error_score": errors[1],
        "closed_form_ratio": known[1] / known[0],
    }


def of_a_vae(seed: int, steps: int, examples: int, draws: int) -> dict[str, Any]:
    """The variances for a VAE's negative log-likelihood by the mean of q(z | x), over examples, and
    the noise of one draw.
    """
    data = load("digits", labelled=False)
    run = trained(
        lambda: pf.recipes.vae(data.space, "tiny"), data, seed, steps, batch=64, precision="float32"
    )
    assert run is not None, "this VAE does not diverge"
    vae = run.method.eval()
    x = data.space.to_model(data.held_out.data_units(slice(examples)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        mean, log_variance = vae.posterior(x)
    estimates: dict[str, list[Tensor]] = {"reparameterised": [], "score": [], "baseline": []}
    for row in range(len(x)):
        spread = (log_variance[row] / 2).exp()
        e = torch.randn(draws, len(spread), generator=generator)
        z = (mean[row] + spread * e).requires_grad_()
        f = -vae.likelihood.log_prob(
            x[row].expand(draws, *x.shape[1:]), vae.code_decoder(z, None, None)
        )
        (slope,) = torch.autograd.grad(f.sum(), z)
        f = f.detach()
        others = (f.sum() - f) / (draws - 1)
        estimates["reparameterised"].append(slope)
        estimates["score"].append(f[:, None] * e / spread)
        estimates["baseline"].append((f - others)[:, None] * e / spread)
    variance = {
        name: float(torch.stack(parts).var(1).sum(1).mean()) for name, parts in estimates.items()
    }
    norm = float(torch.stack(estimates["reparameterised"]).mean(1).square().sum(1).mean()) ** 0.5
    return {
        "ratio": variance["score"] / variance["reparameterised"],
        "ratio_baseline": variance["baseline"] / variance["reparameterised"],
        "noise_reparameterised": variance["reparameterised"] ** 0.5 / norm,
        "noise_score": variance["baseline"] ** 0.5 / norm,
    }
