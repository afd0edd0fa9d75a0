"""From one row of noise to another: along the sphere, or straight."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.errors import UsageError

__all__ = ["WAYS", "lerp", "slerp"]

_PARALLEL = 1e-8
"""Below this length, what is left of a direction without its part along another says nothing."""


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Spherical interpolation: each row turns along the great circle from a to b, while its norm changes linearly.

    In many dimensions noise lies close to a sphere, and a straight line between two rows of it leaves that sphere. Where a and b
    are opposite, the circle is through the axis on which a is shortest. A row of zeros has no direction and takes the other's.

    Args:
        a: Rows (n, *shape).
        b: Rows (n, *shape).
        share: How far to go, one number or one for each row, (n,): 0 is a, 1 is b.

    Returns:
        Rows (n, *shape) of a's type.

    Raises:
        UsageError: For a and b of different shapes.

    References:
        Shoemake, Animating Rotation with Quaternion Curves (1985), section 3.3; White, Sampling Generative Networks (2016),
        section 2.1.
    """
    first, second, far = _alike(a, b, share)
    norms = first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True)
    u = torch.where(norms[0] > 0, first, second)
    v = torch.where(norms[1] > 0, second, first)
    u, v = F.normalize(u, dim=1), F.normalize(v, dim=1)
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
    turned = torch.cos(far * angle) * u + torch.sin(far * angle) * _across(u, v)
    return (torch.lerp(*norms, far) * turned).to(a.dtype).reshape(a.shape)


def lerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Linear interpolation, (1 - share) a + share b for each row.

    Half way between two independent rows of noise in d dimensions the mean squared norm is d / 2 where noise has d: the model is
    asked for what it was never trained on, and answers with something too average. So `slerp` is the usual way.

    Args:
        a: Rows (n, *shape).
        b: Rows (n, *shape).
        share: How far to go, one number or one for each row, (n,): 0 is a, 1 is b.

    Returns:
        Rows (n, *shape) of a's type.

    Raises:
        UsageError: For a and b of different shapes.
    """
    first, second, far = _alike(a, b, share)
    return torch.lerp(first, second, far).to(a.dtype).reshape(a.shape)


WAYS = {"spherical": slerp, "linear": lerp}
"""How to go from one row of noise to another."""


def _alike(a: Tensor, b: Tensor, share: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends as flat rows and the share as a column, float64."""
    if a.shape != b.shape:
        raise UsageError(f"Rows can be interpolated only if they are alike; got {tuple(a.shape)} and {tuple(b.shape)}.")
    far = torch.as_tensor(share, dtype=torch.float64, device=a.device).reshape(-1, 1)
    return a.flatten(1).double(), b.flatten(1).double(), far


def _across(u: Tensor, v: Tensor) -> Tensor:
    """The unit direction of v's part perpendicular to u, both unit rows; an arbitrary one where they are parallel."""
    axis = F.one_hot(u.abs().argmin(1), u.shape[1]).to(u)
    part, spare = (other - (other * u).sum(1, keepdim=True) * u for other in (v, axis))
    return F.normalize(torch.where(part.norm(dim=1, keepdim=True) > _PARALLEL, part, spare), dim=1)
