"""Networks: ``network(x, t=None, condition=None) -> tensor``, without paths or methods.

* x: (n, ...); the result has its dtype.
* t: (n,), or (n, times); None for a network without times.
* condition: None, or values and masks by name; see `Conditioning`.

Networks draw no random numbers, and raise `UsageError` for inputs that do not fit. Common
arguments: shape (of an example), latent (length of z), width, conditions (kinds by name), times
(per example), stem (side of patches folded into channels) and minibatch_std (group size of
`append_minibatch_std`; 0 for none). ``sized("tiny" | "small" | "base", shape=...)`` builds one of
three sizes.
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
    """Count the trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
