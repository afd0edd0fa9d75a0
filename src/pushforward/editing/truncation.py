"""Truncation: samples of a one-call model from the middle of its noise.

Iterative models have a better means to the same end: guidance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.editing.checks import check_one_call
from pushforward.errors import UsageError
from pushforward.predictor import Condition
from pushforward.transports import Transport


def truncate(z: Tensor, limit: float) -> Tensor:
    """Standard normal numbers moved into [-limit, limit], each to the same quantile of the truncated normal distribution.

    With the normal distribution function F, every number becomes F^-1(F(-limit) + (F(limit) - F(-limit)) F(z)): monotone and odd
    in z, and z itself as the limit grows. The result has the distribution that drawing again until all numbers are within the
    limit gives (Brock et al.), but it follows z continuously, so that one seed gives related samples at every limit.

    Args:
        z: Standard normal, any shape.
        limit: Above 0.

    Returns:
        z's shape and type.

    Raises:
        UsageError: For a limit that is not above 0.

    References:
        Brock, Donahue, Simonyan, Large Scale GAN Training for High Fidelity Natural Image Synthesis (2019), section 3.1.
    """
    if not limit > 0:
        raise UsageError(f"The limit of a truncation is above 0, got {limit}; without a limit nothing is truncated.")
    # by the lower tail, where small probabilities keep their digits
    edge = math.erfc(limit / math.sqrt(2)) / 2
    tail = edge + (1 - 2 * edge) * torch.erfc(z.double().abs() / math.sqrt(2)) / 2
    return (-torch.special.ndtri(tail) * z.sign()).clamp(-limit, limit).to(z.dtype)


class Truncated(Transport):
    """A one-call model whose z is kept within a limit (`truncate`): less varied samples, and truer ones while the model bears it.

    What z gets is the distribution of training, given that all its numbers are within the limit: what remains possible keeps its
    frequencies. Shrinking z by a factor psi does not, and belongs to the output w of a mapping network, whose mean is a typical w
    (Karras et al.). Small limits shrink |z| as well, 0.5 to 0.28 sqrt(d), and few models were made to bear that; how far one
    does, `pushforward.evaluation.truncation` measures.

    Args:
        inner: A one-call model: a `Map`, or a `Latent` of one.
        limit: The largest size of any number of z, above 0; from about 4 on it changes next to nothing.

    Raises:
        UsageError: For an iterative model, or a limit that is not above 0.

    References:
        Brock, Donahue, Simonyan (BigGAN, 2019), section 3.1; Karras, Laine, Aila (StyleGAN, 2019), appendix B, for psi.
    """

    def __init__(self, inner: Transport, limit: float) -> None:
        super().__init__()
        check_one_call(inner, "Truncation", "Guidance makes its samples truer and less varied.")
        truncate(torch.zeros(1), limit)
        self.inner, self.limit = inner, float(limit)
        self.space, self.noise_shape = inner.space, inner.noise_shape

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.inner(truncate(z, self.limit), condition, draws)

    def noise(self, draws: Draws) -> Tensor:
        return self.inner.noise(draws)

    @property
    def calls(self) -> int:
        return self.inner.calls
