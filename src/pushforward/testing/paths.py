"""The laws of paths."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.paths import VE, VP, Coefficients, Cosine, Linear, Narrowed, Path, Shifted
from pushforward.tabulated import Tabulated, linear_betas
from pushforward.testing.laws import built, law, rebuilt

EVERY_PATH: dict[str, Path] = {
    "linear": Linear(),
    "cosine": Cosine(),
    "vp": VP(),
    "ve": VE(),
    "ddpm": Tabulated(linear_betas()),
    "short-table": Tabulated([0.05, 0.2, 0.4, 0.9]),
    "shifted-cosine": Shifted(Cosine(), 2.0),
    "shifted-vp": Shifted(VP(), 0.3),
    "narrowed": Narrowed(VP(), 0.01, 0.9),
}
"""At least one path of every class of the package."""


def pairs(path: Path, n: int = 33) -> tuple[Tensor, Tensor, Coefficients, Tensor]:
    """Data and noise (n, 3), coefficients at log-SNR in [-8, 8] where the path reaches so far, and x_t (n, 3), in float64."""
    high, low = path.log_snr_ends()
    t = path.time(torch.linspace(max(-8, low), min(8, high), n, dtype=torch.float64))
    x, z = torch.randn(2, n, 3, dtype=torch.float64)
    k = path.at(t).over(x)
    return x, z, k, k.alpha * x + k.sigma * z


def check_path(path: Path | type[Path]) -> None:
    """Check all laws of a path, in milliseconds.

    1. Derivatives of alpha and sigma agree with automatic differentiation.
    2. The log-SNR is that of the coefficients and falls in t; `time` inverts it.
    3. Single precision stays close to double precision between the ends.
    4. Coefficients have the shape of t, and the description rebuilds the path.

    Args:
        path: A path, or a class that needs no arguments.

    Raises:
        Broken: If a law is broken; an `AssertionError` that names the law.
        TypeError: If it is no path.
    """
    thing: Path = built(path, Path)
    with law(thing, "its ends must lie in [0, 1], the first before the second"):
        assert 0 <= thing.ends[0] < thing.ends[1] <= 1
    _check_derivatives(thing)
    _check_log_snr(thing)
    t = _times(thing, 61)
    with law(thing, "single precision must stay close to double precision"):
        for single, double in zip(vars(thing.at(t.float())).values(), vars(thing.at(t)).values(), strict=True):
            assert single.dtype == torch.float32
            torch.testing.assert_close(single.double(), double, rtol=2e-3, atol=2e-5)
    with law(thing, "coefficients must have the shape of t"):
        assert all(part.shape == (3, 20) for part in vars(thing.at(t[:60].reshape(3, 20))).values())
    with law(thing, "its description must rebuild it"):
        assert torch.equal(rebuilt(thing).at(t).alpha, thing.at(t).alpha)


def _times(path: Path, n: int) -> Tensor:
    return torch.linspace(*path.ends, n, dtype=torch.float64)


def _check_derivatives(path: Path) -> None:
    # knots of a table have one-sided second derivatives only, so the times avoid them
    t = (_times(path, 50) * 0.997 + 0.0011).clamp(*path.ends).requires_grad_()
    k = path.at(t)
    with law(path, "its derivatives must be those of its coefficients"):
        for value, derivative in ((k.alpha, k.dalpha), (k.sigma, k.dsigma)):
            # adding 0 t gives a constant its zero derivative
            (slope,) = torch.autograd.grad((value + 0 * t).sum(), t, retain_graph=True)
            torch.testing.assert_close(derivative, slope, rtol=1e-9, atol=1e-11)


def _check_log_snr(path: Path) -> None:
    t = _times(path, 61)
    k, value = path.at(t), path.log_snr(t)
    with law(path, "its log-SNR must be that of its coefficients and fall"):
        torch.testing.assert_close(value, 2 * (k.alpha.log() - k.sigma.log()), rtol=1e-8, atol=1e-8)
        assert (value.diff() < 0).all()
    with law(path, "time(log_snr(t)) must be t"):
        torch.testing.assert_close(path.time(path.log_snr(t)), t, rtol=1e-9, atol=1e-10)
