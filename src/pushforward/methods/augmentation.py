"""Augmentation that gradients pass through, the same for real and generated images: colour, translation, cutout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.arguments import one_of
from pushforward.draws import Draws

POLICIES = ("color", "translation", "cutout")
SHIFT, HOLE = 1 / 8, 1 / 2  # The greatest shift and the side of the hole, as shares of the image's sides


class DiffAugment(nn.Module):
    """Random changes of images in model units, differentiable in the images; examples are changed independently.

    * color: brightness, x + range (u - 1/2) / 2; then saturation, away from or towards the mean of the channels by a factor in
      [0, 2]; then contrast, away from or towards the mean of the image by a factor in [1/2, 3/2].
    * translation: by up to an eighth of each side, in whole pixels; new pixels are 0, the data's mean.
    * cutout: a square of half of each side becomes 0; it may hang over the edge.

    Args:
        policy: Which of `POLICIES`, applied in this order; a string joins them by commas.
        extent: The distance of the data's lowest to its highest value, in model units.

    Raises:
        UsageError: For an unknown policy.

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training (2020).
    """

    def __init__(self, policy: str | Sequence[str] = POLICIES, extent: float = 2.0) -> None:
        super().__init__()
        names = tuple(policy.split(",")) if isinstance(policy, str) else tuple(policy)
        for name in names:
            one_of("augmentation", name, POLICIES)
        self.policy, self.extent = names, extent

    def forward(self, x: Tensor, draws: Draws, probability: Tensor | float = 1.0) -> Tensor:
        """Changed images.

        Args:
            x: (n, C, H, W), model units.
            draws: Randomness for each image.
            probability: Of each change, for each image on its own.
        """
        for name in self.policy:
            apply = draws.uniform() < probability
            changed = getattr(self, f"_{name}")(x, draws)
            x = torch.where(apply[:, None, None, None], changed, x)
        return x

    def _color(self, x: Tensor, draws: Draws) -> Tensor:
        bright, saturate, contrast = (draws.uniform()[:, None, None, None].to(x) for _ in range(3))
        x = x + self.extent * (bright - 0.5) / 2
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * 2 * saturate
        middle = x.mean((1, 2, 3), keepdim=True)
        return middle + (x - middle) * (contrast + 0.5)

    def _translation(self, x: Tensor, draws: Draws) -> Tensor:
        moved = x
        for axis in (2, 3):
            side = x.shape[axis]
            most = int(side * SHIFT + 0.5)
            shift = (draws.uniform() * (2 * most + 1)).long() - most
            source = torch.arange(side, device=x.device) - shift[:, None]
            shape = (len(x), 1, side, 1) if axis == 2 else (len(x), 1, 1, side)
            index = source.clamp(0, side - 1).reshape(shape).expand_as(x)
            inside = ((source >= 0) & (source < side)).reshape(shape)
            moved = torch.gather(moved, axis, index) * inside
        return moved

    def _cutout(self, x: Tensor, draws: Draws) -> Tensor:
        hidden = []
        for side in x.shape[2:]:
            width = int(side * HOLE + 0.5)
            # the centre is uniform over all pixels, so that the border is hidden as often as the middle
            start = (draws.uniform() * (side + (1 - width % 2))).long() - width // 2
            place = torch.arange(side, device=x.device)
            hidden.append((place >= start[:, None]) & (place < start[:, None] + width))
        return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])
