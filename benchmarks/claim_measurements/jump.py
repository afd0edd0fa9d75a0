"""x_t of DDPM's thousand levels drawn in one jump, against the chain of single steps: the same
moments, and the time of both.

A chain is x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) e; a jump is alpha_t x + sigma_t e with the
coefficients of the path that `ddpm` is trained on. Compared are (x_t - alpha_t x) / sigma_t: means,
variances, fourth moments and the product with x, as differences in standard errors. Beside them two
sets of jumps, which differ by chance alone.

References:
    Ho et al., Denoising Diffusion Probabilistic Models (2020), equation 4.
"""

from __future__ import annotations

import time

from protocol import load, mean_and_spread, table, write

import torch
from torch import Tensor

from claim_measurements.shared import SEEDS
from pushforward.paths import Tabulated, linear_betas

LEVELS = (10, 100, 500, 1000)


def measure(small: bool = False) -> None:
    seeds, n = (1, 500) if small else (SEEDS, 20_000)
    rows = [row for seed in range(seeds) for row in compared(seed, n)]
    body = []
    for level in LEVELS:
        level_rows = [row for row in rows if row["level"] == level]
        cells = [
            mean_and_spread([row[name] for row in level_rows])
            for name in ("apart", "by_chance", "speedup")
        ]
        body.append([str(level), *cells])
    text = table(
        [
            "level",
            "largest difference, standard errors",
            "of two sets of jumps",
            "chain's time over the jump's",
        ],
        body,
    )
    text += (
        f"\n\n{n:,} points of 8gaussians, eight moments per noise level, {seeds} seeds; mean "
        "± "
        "standard deviation over seeds."
    )
    write("claim_jump", "One jump and a chain of steps", text, rows, seeds=seeds, n=n)


def compared(seed: int, n: int) -> list[dict[str, float]]:
    betas = linear_betas()
    data = load("8gaussians")
    x = data.space.to_model(data.train.data_units(slice(n))).double()
    path = Tabulated(betas)
    generator = torch.Generator().manual_seed(seed)
    state = x
    rows = []
    began = time.process_time()
    spent = 0.0
    for level, beta in enumerate(betas, start=1):
        state = (1 - beta) ** 0.5 * state + beta**0.5 * torch.randn(
            x.shape, generator=generator, dtype=x.dtype
        )
        if level not in LEVELS:
            continue
        spent += time.process_time() - began
        k = path.at(torch.tensor(level / len(betas), dtype=torch.float64))
        began = time.process_time()
        jump = k.alpha * x + k.sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        once = max(time.process_time() - began, 1e-9)  # the clock may not have moved
        again = k.alpha * x + k.sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        noise = [(drawn - k.alpha * x) / k.sigma for drawn in (state, jump, again)]
        rows.append(
            {
                "seed": seed,
                "level": level,
                "apart": apart(noise[0], noise[1], x),
                "by_chance": apart(noise[2], noise[1], x),
                "speedup": spent / once,
            }
        )
        began = time.process_time()
    return rows


def apart(a: Tensor, b: Tensor, x: Tensor) -> float:
    """The largest difference of four moments of each column, in standard errors."""
    moments = [torch.cat([e, e.square(), e.pow(4), e * x], dim=1) for e in (a, b)]
    error = sum(m.var(0) / len(m) for m in moments).sqrt()
    return float(((moments[0].mean(0) - moments[1].mean(0)).abs() / error).max())
