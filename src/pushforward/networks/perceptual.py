"""Frozen features of a network trained on photographs, at four depths, of images in model units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.networks.checks import check_input, image_shape, positive
from pushforward.networks.pretrained import STRIDES, pretrained
from pushforward.networks.resampling import Resample


def bilinear(new: int, old: int) -> Tensor:
    """The matrix (new, old) of bilinear resampling, smoothed where it makes fewer numbers (antialiased)."""
    return F.interpolate(torch.eye(old)[None, None], (new, old), mode="bilinear", antialias=True)[0, 0]


class PretrainedFeatures(nn.Module):
    """EfficientNet-Lite0's features of images of 1, 3 or 4 channels, differentiable in them.

    Images are scaled to ``side`` x ``side`` (those that are not square are stretched). Gray is repeated. Images with
    transparency are clamped to [0, 1], as samples are, and laid on one background or several.

    The network is neither among the parameters nor in checkpoints and averages: one copy in a process serves all. It keeps
    the precision of x under autocast too, which makes its backward pass slower on a processor.

    Args:
        shape: (channels, height, width) of one image; 1, 3 or 4 channels (gray, RGB, RGBA).
        mean: Of each channel, in data units: model units are (x - mean) / std, as `Space` has them.
        std: Of each channel, above 0.
        side: Of the network's input images, a multiple of 32. It was trained at 224. Time grows with its square.
        backgrounds: The backgrounds of images with transparency, from 0 (black) to 1 (white).

    Raises:
        UsageError: A size is out of range, or ``mean`` or ``std`` does not fit the channels.
        MissingExtra: Without the extra ``projected``.
        CheckpointError: If the pretrained weights are missing or others.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        side: int = 128,
        backgrounds: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        positive(side=side)
        self.shape = image_shape(shape)
        self.mean, self.std = _units(self.shape[0], mean, std)
        self.side = side
        self.backgrounds = tuple(float(value) for value in backgrounds)
        if side % STRIDES[-1]:
            raise UsageError(f"side is {side}; expected a multiple of {STRIDES[-1]}, such as 64, 128 or 224.")
        if not self.backgrounds or not all(0 <= value <= 1 for value in self.backgrounds):
            raise UsageError(f"backgrounds are {self.backgrounds}; expected at least one, each from 0 (black) to 1 (white).")
        pretrained(torch.device("cpu"), torch.float32)  # tells at once what is missing
        self.resize = Resample(bilinear(side, self.shape[1]), bilinear(side, self.shape[2]))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PretrainedFeatures:
        """Go to another device or type, and make the frozen network ready there: inside jvp or export it could not be."""
        super()._apply(fn, recurse)
        pretrained(self.resize.rows.device, self.resize.rows.dtype)
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        """Four maps for each background, finest first: channels `FEATURES`, sides ``side`` divided by `STRIDES`.

        Args:
            x: (n, channels, height, width), model units.

        Raises:
            UsageError: The shape does not fit.
        """
        check_input(x, self.shape, "PretrainedFeatures")
        return [feature for image in self.images(x) for feature in self.of_image(image)]

    def of_image(self, image: Tensor) -> list[Tensor]:
        """Four maps of gray or RGB images in [0, 1], (n, 1 or 3, height, width)."""
        with torch.autocast(image.device.type, enabled=False):
            pixels = (255 * self.resize(image.expand(-1, 3, -1, -1)) - 127) / 128
            return pretrained(image.device, image.dtype)(pixels)

    def images(self, x: Tensor) -> list[Tensor]:
        """From model units to gray or RGB in data units, on each background where there is transparency."""
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (self.mean, self.std))
        image = mean + std * x
        if self.shape[0] != 4:
            return [image]
        colour, alpha = image.clamp(0, 1).split([3, 1], dim=1)
        return [background + alpha * (colour - background) for background in self.backgrounds]


def _units(channels: int, mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if channels not in (1, 3, 4):
        raise UsageError(f"Pretrained features are of images of 1, 3 or 4 channels (gray, RGB, RGBA), got {channels}.")
    units = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    if len(units[0]) != channels or len(units[1]) != channels or not all(0 < value < math.inf for value in units[1]):
        raise UsageError(f"mean is {units[0]} and std {units[1]}; expected {channels} of each, and every std above 0.")
    return units
