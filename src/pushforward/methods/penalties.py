"""Penalties on the critic's slope, which make the adversarial game converge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError
from pushforward.methods.method import Now
from pushforward.predictor import shaped

PENALTIES = ("r1", "r2", "gradient")


@dataclass(frozen=True)
class Penalties:
    """Which penalties on its slope a critic has, and how heavy they are.

    Args:
        kind: "r1", "r2", "gradient", several joined by "+", or "none"; None takes the loss's own.
        gamma: Their weight at the start; 0 leaves them out.
        gamma_end: Their weight at the end, on a cosine; None keeps it.
        ramp: Training samples over which gamma moves; None is the whole of training.
        interval: Steps between penalties, which are then so many times as heavy (lazy regularisation).
        difference: The step, in model units, of the finite differences that take the place of exact slopes in r1 and r2
            (`differences`); None computes slopes by differentiation.
        shortest_ramp: Training samples over which gamma moves at least: where training ends before, it stops on the way. None
            is no limit.

    Raises:
        UsageError: For an unknown name or a number out of range.
    """

    kind: str | None = None
    gamma: float = 1.0
    gamma_end: float | None = None
    ramp: int | None = None
    interval: int = 1
    difference: float | None = None
    shortest_ramp: int | None = None

    def __post_init__(self) -> None:
        names = self.names
        for index, name in enumerate(names):
            if name not in PENALTIES or name in names[:index]:
                raise UsageError(
                    f'"{self.kind}" is no penalty (at "{name}"); join some of {", ".join(PENALTIES)} by "+", or give none.'
                )
        for name, weight in {"gamma": self.gamma, "gamma_end": self.end}.items():
            if not 0 <= weight < math.inf:
                raise UsageError(f"The weight {name} of the gradient penalties must be 0 or more and finite, got {weight}.")
        for name, count in {"ramp": self.ramp, "shortest_ramp": self.shortest_ramp, "interval": self.interval}.items():
            if count is not None and count < 1:
                raise UsageError(f"The {name} of the gradient penalties must be at least 1, got {count}.")
        if self.difference is not None:
            if not 0 < self.difference < math.inf:
                raise UsageError(f"The step of finite differences must be positive and finite, got {self.difference}.")
            if "gradient" in names:
                raise UsageError(
                    "Finite differences approximate the penalties r1 and r2; the penalty gradient needs exact slopes."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The penalties that the kind joins."""
        return () if self.kind in (None, "none") else tuple(str(self.kind).split("+"))

    @property
    def end(self) -> float:
        """The weight at the end of training."""
        return self.gamma if self.gamma_end is None else self.gamma_end

    def weight(self, now: Now) -> float:
        """The weight on a step that has penalties."""
        return now.along(self.gamma, self.end, self.ramp, self.shortest_ramp)


@contextmanager
def held(critic: nn.Module) -> Iterator[None]:
    """Within this context gradients pass through the critic, and none of its weights is given one, nor is one computed."""
    weights = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    for parameter in weights:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in weights:
            parameter.requires_grad_(True)


def slope(scores: Tensor, x: Tensor) -> Tensor:
    """The squared norm of the score's gradient in its own input, differentiable again.

    Its mean over real examples times gamma / 2 is R1, over generated examples R2.

    Args:
        scores: The critic's scores of x, (n / m,); each depends on m consecutive examples (m = 1 without packing).
        x: What the critic scored, (n, *shape), requiring gradients.

    Returns:
        (n / m,): |grad|^2 over the numbers of all m examples.

    Raises:
        UsageError: For a critic of several scores an example.

    References:
        Mescheder et al., Which Training Methods for GANs do actually Converge? (2018), eq. 9 and 10.
    """
    _check_single(scores, x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).reshape(len(scores), -1).sum(1)


def differences(critic: Callable[[Tensor], Tensor], x: Tensor, noise: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Scores, and the squared norm of their slope by finite differences along random directions.

    (D(x + h n) - D(x))^2 / h^2 has the mean |grad D|^2 over standard normal n where D is linear. It needs no second
    derivative, so that a step costs less than with `slope`.

    Args:
        critic: From examples to scores, (n / m,).
        x: Examples (n, *shape).
        noise: Standard normal, of the shape of x.
        step: h, in model units.

    Returns:
        The scores of x and the estimates, both (n / m,).

    Raises:
        UsageError: For a critic of several scores an example.

    References:
        Lin et al., Diffusion Adversarial Post-Training (APT, 2025), for the approximate R1; Lin et al., Adversarial Flow Models
        (2025).
    """
    scores, moved = critic(torch.cat([x, x + step * noise])).chunk(2)
    _check_single(scores, x)
    return scores, ((moved - scores) / step).square()


def _check_single(scores: Tensor, x: Tensor) -> None:
    if len(scores) > len(x):
        raise UsageError(
            f"This critic gives {len(scores) / len(x):g} scores an example; penalties on its slope need one. "
            "Train with penalty none."
        )


def between(real: Tensor, fake: Tensor, share: Tensor, critic: Callable[[Tensor], Tensor]) -> Tensor:
    """The penalty of WGAN-GP: (|grad D| - 1)^2 at points on the lines from real to generated examples.

    Args:
        real: (n, *shape).
        fake: Of the same shape, paired with the real examples.
        share: Where on the line, (n,) in [0, 1].
        critic: From examples to scores, (n / m,).

    Returns:
        (n / m,).

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs (2017), eq. 3.
    """
    share = shaped(share, real)
    x = (share * real + (1 - share) * fake).detach().requires_grad_()
    square = slope(critic(x), x)
    # the root's derivative is infinite at 0, which a critic that starts flat would meet
    return ((square + 1e-12).sqrt() - 1).square()
