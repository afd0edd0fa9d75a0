from pushforward.networks.autoencoder import (
    Codebook as Codebook,
    Compressor as Compressor,
    Decoder as Decoder,
    Encoder as Encoder,
    Expander as Expander,
    PatchCritic as PatchCritic,
    Rounding as Rounding,
)
from pushforward.networks.blocks import (
    Conditioning as Conditioning,
    TimeEmbedding as TimeEmbedding,
)
from pushforward.networks.gan import (
    Critic as Critic,
    DCGANCritic as DCGANCritic,
    DCGANGenerator as DCGANGenerator,
    Generator as Generator,
    ProjectionHead as ProjectionHead,
    TextbookCritic as TextbookCritic,
    TextbookGenerator as TextbookGenerator,
)
from pushforward.networks.mlp import MLP as MLP, Perceptron as Perceptron
from pushforward.networks.transformer import ColumnTransformer as ColumnTransformer, DiT as DiT
from pushforward.networks.unet import UNet as UNet
from pushforward.networks.wrappers import (
    FourierFeatures as FourierFeatures,
    LevelPosterior as LevelPosterior,
    Packed as Packed,
    Reshaped as Reshaped,
    SignCodes as SignCodes,
    Spectral as Spectral,
)
