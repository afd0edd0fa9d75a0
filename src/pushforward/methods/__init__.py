"""Ways of learning, one file each."""

from pushforward.methods.critic_input import CriticInput
from pushforward.methods.denoising import Denoising
from pushforward.methods.distillation import Distillation
from pushforward.methods.distribution_matching import DistributionMatching
from pushforward.methods.evidence_bound import EvidenceBound
from pushforward.methods.finish import Anchor, Finish
from pushforward.methods.gan import GAN
from pushforward.methods.guard import Guard
from pushforward.methods.hierarchical_vae import HierarchicalVAE
from pushforward.methods.latent_method import LatentMethod
from pushforward.methods.mapping import Mapping
from pushforward.methods.method import Method, Now, Sums
from pushforward.methods.penalties import Penalties
from pushforward.methods.perceptual_autoencoder import PerceptualAutoencoder
from pushforward.methods.quantised import QuantisedAutoencoder
from pushforward.methods.reflow import TeacherPairs
from pushforward.methods.trajectories import Trajectories
from pushforward.methods.vae import VAE

__all__ = [
    "GAN",
    "VAE",
    "Anchor",
    "CriticInput",
    "Denoising",
    "Distillation",
    "DistributionMatching",
    "EvidenceBound",
    "Finish",
    "Guard",
    "HierarchicalVAE",
    "LatentMethod",
    "Mapping",
    "Method",
    "Now",
    "Penalties",
    "PerceptualAutoencoder",
    "QuantisedAutoencoder",
    "Sums",
    "TeacherPairs",
    "Trajectories",
]
