"""A critic on the features of a network trained on photographs: for sets of a few thousand images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.draws import ExampleDraws
from pushforward.networks.checks import check_input, image_shape, positive, size_choice
from pushforward.networks.embedding import Condition, Kinds, kinds_of
from pushforward.networks.perceptual import PretrainedFeatures, bilinear
from pushforward.networks.pretrained import FEATURES, STRIDES
from pushforward.networks.projection import ProjectionHead
from pushforward.networks.resampling import Resample
from pushforward.networks.spectral import Spectral

SLOPE = 0.2


class Mixing(nn.Module):
    """Fixed random projections of features: across channels at each depth, then from each depth to the next finer one.

    With 1 x 1 convolutions c and 3 x 3 convolutions s the mixed features are m_4 = c_4(f_4) and
    m_l = c_l(f_l) + up(s_l(m_(l + 1))), where up doubles the sides bilinearly. There are no biases and nothing in between, so
    all is linear. The weights are normal with variance 2 / fan-in (Kaiming), drawn from the seed alone: they are made again,
    bit for bit, and not saved.

    Args:
        side: Of the square images that the features are of, a multiple of 32.
        width: Channels of m_1; each coarser one has twice as many.
        seed: Of the weights.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, section 3.2.
    """

    def __init__(self, side: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.widths = [width * 2**level for level in range(4)]
        for level, (features, out) in enumerate(zip(FEATURES, self.widths, strict=True)):
            self.register_buffer(f"across_{level}", _kaiming(f"across {level}", (out, features, 1, 1), seed), persistent=False)
        for level, (fine, coarse) in enumerate(pairwise(self.widths)):
            self.register_buffer(f"down_{level}", _kaiming(f"down {level}", (fine, coarse, 3, 3), seed), persistent=False)
        grids = [side // stride for stride in STRIDES]
        self.enlarge = nn.ModuleList([Resample(bilinear(a, b), bilinear(a, b)) for a, b in pairwise(grids)])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Mixed features of four depths, finest first, of the sides of those given."""
        mixed = [F.conv2d(f, self.get_buffer(f"across_{level}")) for level, f in enumerate(features)]
        for level in reversed(range(3)):
            coarse = F.conv2d(mixed[level + 1], self.get_buffer(f"down_{level}"), padding=1)
            mixed[level] = mixed[level] + self.enlarge[level](coarse)
        return mixed


def _kaiming(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    normal = ExampleDraws(seed, 1, f"projected critic/{name}").normal(shape)[0]
    return normal * math.sqrt(2 / math.prod(shape[1:]))


class ScaleCritic(nn.Module):
    """Mixed features of one depth to one number: 4 x 4 convolutions of stride 2 until no side is longer than 4, then a head.

    Where the features are so small already there is one 3 x 3 convolution instead. The head's number is the mean over all
    places of what it gives at each.

    Args:
        features: Channels that go in.
        side: Of the features.
        width: Channels after each convolution.
        conditions: Kinds of condition by name; None for an unconditional network.
    """

    def __init__(self, features: int, side: int, width: int, conditions: Kinds) -> None:
        super().__init__()
        number = 0
        while side > 4:
            side, number = side // 2, number + 1
        sizes = [features, *[width] * number]
        halve = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(sizes)]
        self.convolutions = nn.ModuleList(halve or [nn.Conv2d(features, width, 3, padding=1)])
        self.leave = ProjectionHead(width, conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,), float32 at least, of features (n, features, side, side)."""
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), SLOPE)
        return self.leave(x.mean((2, 3)), t, condition)


class ProjectedCritic(nn.Module):
    """Images to four scores: small critics of four depths of a frozen pretrained network, mixed at random.

    The frozen network has features of photographs, so that few images suffice for the critics, and the random mixing
    keeps them from looking at a few of its features alone. Only the critics learn; they are normalised spectrally. `GAN`
    takes the mean of its loss over the four scores: the mean of the four critics' losses, not the loss of their mean. It was
    published with loss="hinge" and penalty="none"; penalties on the slope, which are meant for one score, do not fit it.

    The frozen network is neither among the parameters nor in checkpoints and averages: one copy in a process serves all. It
    keeps the precision of x under autocast too, which makes its backward pass slower on a processor.

    Images are scaled to ``side`` x ``side`` (those that are not square are stretched). Gray is repeated. Images with
    transparency are clamped to [0, 1], as samples are, and laid on a background: on white alone, white and
    transparent are the same; with white and black, at twice the cost, the critic scores both colour and transparency.

    Never evaluate a generator trained with it by features of EfficientNet, or of ImageNet at all: such a critic makes distances
    in them small without making better images. Use features of another kind (`pushforward.evaluation`).

    Args:
        shape: (channels, height, width) of one image; 1, 3 or 4 channels (gray, RGB, RGBA).
        mean: Of each channel, in data units: model units are (x - mean) / std, as `Space` has them.
        std: Of each channel, above 0.
        side: Of the frozen network's input images, a multiple of 32. It was trained at 224; in the paper it is 256. Time
            grows with its square.
        width: Channels of the finest mixed features; the coarsest have eight times as many. At least 40 lose nothing.
        hidden: Channels inside the small critics.
        conditions: Kinds of condition by name; None for an unconditional network. They enter each small critic by projection
            (`ProjectionHead`).
        backgrounds: The backgrounds of images with transparency, from 0 (black) to 1 (white); four scores for each.

    Raises:
        UsageError: A size is out of range, or ``mean`` or ``std`` does not fit the channels.
        MissingExtra: Without the extra ``projected``.
        CheckpointError: If the pretrained weights are missing or others.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, equation 4 and section 3.2; the critics of which have batch
        normalisation besides and score every place by itself.
        Kynkaanniemi et al., The Role of ImageNet Classes in Frechet Inception Distance, 2023, on features that leak.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        side: int = 128,
        width: int = 64,
        hidden: int = 128,
        conditions: Kinds = None,
        backgrounds: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        positive(side=side, width=width, hidden=hidden)
        self.shape = image_shape(shape)
        self.eyes = PretrainedFeatures(shape, mean=mean, std=std, side=side, backgrounds=backgrounds)
        self.mean, self.std, self.backgrounds = self.eyes.mean, self.eyes.std, self.eyes.backgrounds
        self.side, self.width, self.hidden = side, width, hidden
        self.conditions = kinds_of(conditions)
        self.mixing = Mixing(side, width)
        self.critics = nn.ModuleList(
            [
                Spectral(ScaleCritic(channels, side // stride, hidden, conditions))
                for channels, stride in zip(self.mixing.widths, STRIDES, strict=True)
            ]
        )

    @classmethod
    def sized(
        cls,
        size: str,
        *,
        shape: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        conditions: Kinds = None,
        backgrounds: Sequence[float] = (1.0,),
    ) -> ProjectedCritic:
        """Build one of three sizes: sides 64, 128 and 224, and about 0.5, 2.3 and 6.5 million parameters that learn."""
        side, width, hidden = size_choice(size, {"tiny": (64, 40, 64), "small": (128, 64, 128), "base": (224, 64, 192)})
        units = {"mean": mean, "std": std}
        return cls(shape, **units, side=side, width=width, hidden=hidden, conditions=conditions, backgrounds=backgrounds)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores of images (n, channels, height, width) in model units.

        Returns:
            (n, 4), finest depth first. With transparency (n, 4 * backgrounds), by background.
        """
        check_input(x, self.shape, "ProjectedCritic")
        scores = []
        for image in self.eyes.images(x):
            mixed = self.mixing(self.eyes.of_image(image))
            scores += [critic(h, t, condition) for critic, h in zip(self.critics, mixed, strict=True)]
        return torch.stack(scores, dim=1).to(x.dtype)
