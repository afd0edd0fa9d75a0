"""Penalties on the critic's slope, which make the adversarial game converge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError

__all__ = ["PENALTIES", "between", "held", "penalties_of", "slope"]

PENALTIES = ("r1", "r2", "gradient")


@contextmanager
def held(critic: nn.Module) -> Iterator[None]:
    """Within this context gradients pass through the critic, and none of its weights is given one, nor is one computed."""
    own = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    for parameter in own:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in own:
            parameter.requires_grad_(True)


def penalties_of(name: str) -> tuple[str, ...]:
    """The penalties that a name such as "r1+r2" joins; "none" is the empty tuple.

    Raises:
        ValueError: For a part that is none of `PENALTIES`, or one that stands twice; the part is the error's argument.
    """
    parts = () if name == "none" else tuple(name.split("+"))
    for index, part in enumerate(parts):
        if part not in PENALTIES or part in parts[:index]:
            raise ValueError(part)
    return parts


def slope(scores: Tensor, x: Tensor) -> Tensor:
    """The squared norm of the score's gradient in its own input, differentiable again.

    Its mean over real rows times gamma / 2 is R1, over generated rows R2.

    Args:
        scores: The critic's scores of x, (n / m,); each depends on m consecutive rows (m = 1 without packing).
        x: What the critic was given, (n, *shape), requiring gradients.

    Returns:
        (n / m,): |grad|^2 over the numbers of all m rows.

    Raises:
        UsageError: For a critic of several scores a row.

    References:
        Mescheder et al., Which Training Methods for GANs do actually Converge? (2018), eq. 9 and 10.
    """
    if len(scores) > len(x):
        raise UsageError(
            f"This critic gives {len(scores) / len(x):g} scores a row; penalties on its slope need one. Train with penalty none."
        )
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).reshape(len(scores), -1).sum(1)


def between(real: Tensor, fake: Tensor, share: Tensor, critic: Callable[[Tensor], Tensor]) -> Tensor:
    """The penalty of WGAN-GP: (|grad D| - 1)^2 at points on the lines from real to generated rows.

    Args:
        real: (n, *shape).
        fake: Shaped alike, paired with the real rows.
        share: Where on the line, (n,) in [0, 1].
        critic: From rows to scores, (n / m,).

    Returns:
        (n / m,).

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs (2017), eq. 3.
    """
    share = share.reshape(-1, *(1,) * (real.dim() - 1))
    x = (share * real + (1 - share) * fake).detach().requires_grad_()
    square = slope(critic(x), x)
    # the root's derivative is infinite at 0, which a critic that starts flat would meet
    return ((square + 1e-12).sqrt() - 1).square()
