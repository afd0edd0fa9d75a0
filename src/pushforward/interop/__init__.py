"""Conversion of models from and to diffusers folders; only safetensors weights are read."""

from pushforward.interop.diffusers import (
    DiffusersDecoder,
    DiffusersEncoder,
    DiffusersUNet,
    autoencoder_from_diffusers,
    from_diffusers,
    to_diffusers,
)

__all__ = [
    "DiffusersDecoder",
    "DiffusersEncoder",
    "DiffusersUNet",
    "autoencoder_from_diffusers",
    "from_diffusers",
    "to_diffusers",
]
