"""Models to and from the folders of diffusers: pipelines of a UNet2DModel, and the AutoencoderKL.

Weights are read from safetensors only, and no class that a folder names is ever imported.
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
