"""Training methods, one module each."""

from pushforward.methods.adversarial import GAN, CriticInput, Penalties
from pushforward.methods.autoencoders import PerceptualAutoencoder, QuantisedAutoencoder
from pushforward.methods.denoising import Denoising
from pushforward.methods.distillation import Distillation, TeacherPairs, Trajectories
from pushforward.methods.distribution_matching import DistributionMatching
from pushforward.methods.finish import AdversarialRefinement, AnchorPenalty
from pushforward.methods.flow_map import FlowMapMatching
from pushforward.methods.latent_method import LatentMethod
from pushforward.methods.likelihoods import EvidenceBound
from pushforward.methods.method import Guard, Method, StepContext, Sums
from pushforward.methods.vae import VAE, HierarchicalVAE

__all__ = [
    "GAN",
    "VAE",
    "AdversarialRefinement",
    "AnchorPenalty",
    "CriticInput",
    "Denoising",
    "Distillation",
    "DistributionMatching",
    "EvidenceBound",
    "FlowMapMatching",
    "Guard",
    "HierarchicalVAE",
    "LatentMethod",
    "Method",
    "Penalties",
    "PerceptualAutoencoder",
    "QuantisedAutoencoder",
    "StepContext",
    "Sums",
    "TeacherPairs",
    "Trajectories",
]
