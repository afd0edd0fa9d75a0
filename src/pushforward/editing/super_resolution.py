"""Super-resolution: large images whose averages over blocks are a given small one."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.editing.checks import checked_example, condition_of_data, iterative
from pushforward.editing.observation import Leading, led
from pushforward.errors import UsageError
from pushforward.transports import BATCH, ConditionLike, Flow, Transport


class Pooled(nn.Module):
    """The projection on images of constant blocks: every pixel becomes the mean of its block.

    It is A^+ A of average pooling A, whose pseudo-inverse A^+ repeats each pixel over its block.

    Args:
        factor: Side of a block in pixels.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return _blocks(F.avg_pool2d(x, self.factor), self.factor)


def _blocks(low: Tensor, factor: int) -> Tensor:
    return low.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def super_resolution(flow: Transport, low: Tensor, **leading: Unpack[Leading]) -> Flow:
    """The flow whose images, averaged over blocks, are a given smaller image.

    Args:
        flow: An iterative model of images (C, H, W); its steps and times are used.
        low: Data units, (C, H / f, W / f) for a whole factor f of at least 2.
        leading: ``solver`` and ``rounds``, see `Leading`.

    Returns:
        A `Flow`; its samples are the large images.

    Raises:
        UsageError: For a one-call model, a model of vectors, or an image that is not smaller by a whole factor.
    """
    model = iterative(flow)
    factor = _factor(model, low)
    known = _blocks(model.space.to_model(checked_example(model, low, tuple(low.shape))[None]), factor)
    return led(model, known, Pooled(factor), **leading)


def _factor(flow: Flow, low: Tensor) -> int:
    shape, small = tuple(flow.space.shape), tuple(low.shape)
    if not flow.space.has_pixels:
        raise UsageError(f"Super-resolution needs a model of images; this one makes {flow.space.noun}s.")
    factor = shape[1] // max(1, small[1]) if len(small) == 3 else 0
    if factor < 2 or (small[0], small[1] * factor, small[2] * factor) != shape:
        raise UsageError(
            f"The model makes {shape[1]} x {shape[2]} pixels in {shape[0]} channels; the image must be smaller by a whole "
            f"factor, in as many channels. Got an array of shape {small}."
        )
    return factor


def super_resolve(
    flow: Transport,
    low: Tensor,
    n: int,
    *,
    condition: ConditionLike = None,
    seed: int = 0,
    batch: int = BATCH,
    **leading: Unpack[Leading],
) -> Tensor:
    """Large images for a small one (`super_resolution`); image i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model of images (C, H, W).
        low: Data units, (C, H / f, W / f) for a whole factor f of at least 2.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        batch: Examples computed at a time.
        leading: ``solver`` and ``rounds``, see `Leading`.

    Returns:
        float32 (n, C, H, W), data units, on the CPU. Averaged over blocks they are ``low``, but for what is clamped to the data's
        bounds at the very end.

    Raises:
        UsageError: As `super_resolution` and `condition_of_data`.
        Diverged: If a sample is not finite.
    """
    enlarger = super_resolution(flow, low, **leading)
    return enlarger.sample(n, condition_of_data(enlarger, condition), seed=seed, batch=batch)
