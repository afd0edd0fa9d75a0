"""A critic of patches: many small judgements of one image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.checks import check_input, image_shape, level_widths, positive, size_choice
from pushforward.networks.embedding import Condition, check_condition
from pushforward.networks.folding import fold, pad_to
from pushforward.networks.spectral import Spectral

SLOPE = 0.2


class PatchCritic(nn.Module):
    """A score for every patch of an image: is it real, or put out by a decoder?

    Convolutions of 4 x 4, halving the sides but for the last, with leaky ReLU and spectral normalisation, so that no penalty
    is needed. It also gives the features on the way, in which reconstructions can be compared.

    Args:
        shape: (channels, height, width) of one image.
        width: Channels after the first convolution, doubled after each further one up to eight times.
        depth: Convolutions that halve the sides; each doubles, and more, the side of a patch.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, section 3.2.2; Miyato et al., 2018.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        positive(width=width, depth=depth)
        self.shape = image_shape(shape)
        self.width, self.depth = width, depth
        widths = [self.shape[0], *level_widths(width, depth, 8)]
        self.halve = nn.ModuleList([nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)])
        self.mix = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.leave = nn.Conv2d(widths[-1], 1, 1)
        Spectral(self.halve)
        Spectral(self.mix)
        Spectral(self.leave)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int]) -> PatchCritic:
        """Build one of three sizes: 16, 32 or 64 channels at first; 2 halvings, 3 in base."""
        width, depth = size_choice(size, {"tiny": (16, 2), "small": (32, 2), "base": (64, 3)})
        return cls(shape, width=width, depth=depth)

    def features(self, x: Tensor) -> list[Tensor]:
        """The features after each convolution, finest first, and last the scores (n, 1, h, w).

        Args:
            x: (n, channels, height, width), model units.

        Raises:
            UsageError: The shape does not fit.
        """
        check_input(x, self.shape, "PatchCritic")
        h, maps = fold(self._padded(x), 1), []
        for layer in (*self.halve, self.mix):
            h = F.leaky_relu(layer(h), SLOPE)
            maps.append(h)
        return [*maps, self.leave(h)]

    def _padded(self, x: Tensor) -> Tensor:
        """Sides of whole halvings, of which the last starts from at least 4 numbers.

        (oneDNN's bfloat16 convolution now and then gives NaN where the kernel is wider than what it goes over.)
        """
        height, width = (max(side, 2 ** (self.depth + 1)) for side in x.shape[2:])
        grown = F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), mode="replicate")
        return pad_to(grown, 2**self.depth)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n, patches) of images (n, channels, height, width) in model units; it takes no condition."""
        check_condition(condition, {}, x.shape[0])
        return self.features(x)[-1].flatten(1).to(x.dtype)
