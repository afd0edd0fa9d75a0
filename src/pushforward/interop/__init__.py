"""Conversion of models from and to diffusers folders: UNet2DModel pipelines and AutoencoderKL.

Only safetensors weights are read, and no class that a folder names is imported.
"""

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
