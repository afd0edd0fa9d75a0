"""Inpainting: the masked entries of given data, filled by a trained model.

Images and vectors are given one at a time, without a leading dimension, in data units.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from pushforward.editing.checks import checked_example, condition_of_data, iterative
from pushforward.editing.observation import Leading, led
from pushforward.errors import UsageError
from pushforward.transports import BATCH, ConditionLike, Flow, Transport


class Masked(nn.Module):
    """The projection on the entries that a mask keeps, x -> mask x.

    Args:
        mask: bool, (1, *shape): True where x is kept.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def inpainting(flow: Transport, x: Tensor, mask: Tensor, **leading: Unpack[Leading]) -> Flow:
    """The flow that fills the masked entries of given data and keeps all others as they are.

    Args:
        flow: An iterative model; its steps and times are used.
        x: Data units, (*shape); values under the mask have no effect.
        mask: bool, (*shape) or, for images, (H, W): True where data is to be made.
        leading: ``solver`` and ``rounds``, see `Leading`.

    Returns:
        A `Flow`; its samples are the filled data.

    Raises:
        UsageError: For a one-call model, data of another shape or range, a mask of another shape, or one that fills
            nothing or all.
    """
    model = iterative(flow)
    known_mask = ~_holes(model, mask)
    known = model.space.to_model(checked_example(model, x)[None]) * known_mask
    return led(model, known, Masked(known_mask), **leading)


def _holes(flow: Flow, mask: Tensor) -> Tensor:
    shape = tuple(flow.space.shape)
    if mask.dtype != torch.bool or tuple(mask.shape) not in (shape, shape[1:]):
        other = f" or {shape[1:]}" if len(shape) == 3 else ""
        raise UsageError(
            f"A mask is bool of shape {shape}{other}, True where data is to be made; got {mask.dtype} {tuple(mask.shape)}."
        )
    if bool(mask.all()) or not bool(mask.any()):
        raise UsageError(
            "A mask must leave some of the data and fill some of it; this one "
            + ("fills all." if mask.any() else "fills nothing.")
        )
    return mask.to(flow.device).expand(shape)[None]


def inpaint(
    flow: Transport,
    x: Tensor,
    mask: Tensor,
    n: int,
    *,
    condition: ConditionLike = None,
    seed: int = 0,
    batch: int = BATCH,
    **leading: Unpack[Leading],
) -> Tensor:
    """Fillings of the masked entries of given data (`inpainting`); filling i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model.
        x: Data units, (*shape).
        mask: bool, (*shape) or, for images, (H, W): True where data is to be made.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        batch: Examples computed at a time.
        leading: ``solver`` and ``rounds``, see `Leading`.

    Returns:
        float32 (n, *shape), data units, on the CPU; entries outside the mask are those of x.

    Raises:
        UsageError: As `inpainting` and `condition_of_data`.
        Diverged: If an example is not finite.
    """
    filler = inpainting(flow, x, mask, **leading)
    return filler.sample(n, condition_of_data(filler, condition), seed=seed, batch=batch)
