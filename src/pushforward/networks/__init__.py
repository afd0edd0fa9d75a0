"""Networks: (x, t, condition) -> tensor. They know nothing of noise, paths or methods.

Every network is called as ``network(x, t=None, condition=None)`` and draws no random numbers:

* x: (n, ...), any number of examples; the result is of its type, unless a network says otherwise.
* t: (n,), or (n, times); None for a network that knows no time, such as a generator, critic, encoder or decoder.
* condition: None, or values and masks by name; see `Conditioning`.

It raises `UsageError` for a shape that does not fit, and a time or condition that is missing, unexpected or of the wrong shape;
its constructor for a size that is out of range.

``sized("tiny" | "small" | "base", shape=...)`` builds one of three sizes for examples of this shape; its other arguments are the
class's. It raises `UsageError` for another size, or a shape that the network cannot take. `Reshaped`, `Packed`, `Spectral`,
`SignCodes` and `FourierFeatures` wrap another network.
"""

from __future__ import annotations

from torch import nn

from pushforward.networks.autoencoder import (
    Codebook,
    Compressor,
    Decoder,
    Encoder,
    Expander,
    PatchCritic,
    Rounding,
)
from pushforward.networks.blocks import Conditioning, TimeEmbedding
from pushforward.networks.gan import (
    Critic,
    DCGANCritic,
    DCGANGenerator,
    Generator,
    ProjectionHead,
    TextbookCritic,
    TextbookGenerator,
)
from pushforward.networks.mlp import MLP, Perceptron
from pushforward.networks.pretrained import PretrainedFeatures, ProjectedCritic
from pushforward.networks.transformer import ColumnTransformer, DiT
from pushforward.networks.unet import UNet
from pushforward.networks.wrappers import (
    FourierFeatures,
    LevelPosterior,
    Packed,
    Reshaped,
    SignCodes,
    Spectral,
)

__all__ = [
    "MLP",
    "Codebook",
    "ColumnTransformer",
    "Compressor",
    "Conditioning",
    "Critic",
    "DCGANCritic",
    "DCGANGenerator",
    "Decoder",
    "DiT",
    "Encoder",
    "Expander",
    "FourierFeatures",
    "Generator",
    "LevelPosterior",
    "Packed",
    "PatchCritic",
    "Perceptron",
    "PretrainedFeatures",
    "ProjectedCritic",
    "ProjectionHead",
    "Reshaped",
    "Rounding",
    "SignCodes",
    "Spectral",
    "TextbookCritic",
    "TextbookGenerator",
    "TimeEmbedding",
    "UNet",
    "parameter_count",
]


def parameter_count(module: nn.Module) -> int:
    """Count the trainable parameters of a module.

    Args:
        module: Any module.

    Returns:
        The sum of the sizes of its parameters that require gradients.
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
