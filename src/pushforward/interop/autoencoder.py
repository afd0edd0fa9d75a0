"""diffusers' AutoencoderKL as an encoder and a decoder here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.data.spaces import ImageSpace, Space
from pushforward.errors import UsageError
from pushforward.interop.folders import config_of, from_config, library, load_network
from pushforward.predictor import Condition


class _Half(nn.Module, ABC):
    def __init__(self, config: nn.Module | Mapping[str, Any]) -> None:
        super().__init__()
        model = config if isinstance(config, nn.Module) else from_config("AutoencoderKL", config)
        if not isinstance(model, library().AutoencoderKL):
            raise UsageError(f"Expected an AutoencoderKL or its configuration, got a {type(model).__name__}.")
        self.config = config_of(model)
        self._take(model)

    @abstractmethod
    def _take(self, model: Any) -> None:
        """Keep the networks of this half."""


class DiffusersEncoder(_Half):
    """The encoder of diffusers' AutoencoderKL: images in [-1, 1] to means and log-variances of codes."""

    def _take(self, model: Any) -> None:
        self.encoder, self.leave = model.encoder, model.quant_conv

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Apply.

        Args:
            x: (n, channels, height, width), both sides multiples of 2 for each halving inside.
            t: None: an encoder knows no time.
            condition: None: it knows no labels.

        Returns:
            (n, 2 c, height / f, width / f); log-variances within [-30, 20], as diffusers holds them.
        """
        moments = self.encoder(x)
        mean, log_variance = (moments if self.leave is None else self.leave(moments)).chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(-30.0, 20.0)], dim=1)


class DiffusersDecoder(_Half):
    """The decoder of diffusers' AutoencoderKL: codes to images in [-1, 1]."""

    def _take(self, model: Any) -> None:
        self.enter, self.decoder = model.post_quant_conv, model.decoder

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.decoder(z if self.enter is None else self.enter(z))


def autoencoder_from_diffusers(folder: str | Path, data: Space) -> tuple[DiffusersEncoder, DiffusersDecoder, Space]:
    """Read the folder of an AutoencoderKL (``config.json`` and weights as safetensors), as ``save_pretrained`` writes it.

    Its configured scaling (``scaling_factor``, ``shift_factor``) is not used: here the codes' units are measured
    on the data.

    Args:
        folder: Of the AutoencoderKL itself, which is ``vae/`` in a pipeline's folder.
        data: The space of the data to encode.

    Returns:
        Encoder, decoder, and the space that they take: the data's shape in [-1, 1], without labels.

    Raises:
        CheckpointError: If a file is missing or damaged.
        UsageError: For weights as pickle only, another network, or data that it cannot take.
        MissingExtra: Without diffusers.
    """
    model = load_network(Path(folder), "AutoencoderKL")
    channels, multiple = model.config["in_channels"], 2 ** (len(model.config["block_out_channels"]) - 1)
    shape = tuple(data.shape)
    if len(shape) != 3 or shape[0] != channels or model.config["out_channels"] != channels:
        raise UsageError(
            f"{folder} takes images of {channels} channels and gives {model.config['out_channels']}; got examples of {shape}."
        )
    if shape[1] % multiple or shape[2] % multiple:
        raise UsageError(
            f"{folder} halves images {multiple.bit_length() - 1} times, so both sides must be multiples of {multiple}; they are "
            f"{shape[1]} x {shape[2]}. Bring the images to such a size: `resize=N`."
        )
    half = (0.5,) * channels
    space = ImageSpace(shape, half, half, (0.0,) * channels, (1.0,) * channels)
    return DiffusersEncoder(model), DiffusersDecoder(model), space
