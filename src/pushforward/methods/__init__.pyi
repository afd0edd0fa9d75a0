from pushforward.methods.adversarial import (
    GAN as GAN,
    CriticInput as CriticInput,
    Penalties as Penalties,
)
from pushforward.methods.autoencoders import (
    PerceptualAutoencoder as PerceptualAutoencoder,
    QuantisedAutoencoder as QuantisedAutoencoder,
)
from pushforward.methods.denoising import Denoising as Denoising
from pushforward.methods.distillation import (
    Distillation as Distillation,
    TeacherPairs as TeacherPairs,
    Trajectories as Trajectories,
)
from pushforward.methods.distribution_matching import DistributionMatching as DistributionMatching
from pushforward.methods.finish import (
    AdversarialRefinement as AdversarialRefinement,
    AnchorPenalty as AnchorPenalty,
)
from pushforward.methods.flow_map import FlowMapMatching as FlowMapMatching
from pushforward.methods.latent_method import LatentMethod as LatentMethod
from pushforward.methods.likelihoods import EvidenceBound as EvidenceBound
from pushforward.methods.method import (
    Guard as Guard,
    Method as Method,
    StepContext as StepContext,
    Sums as Sums,
)
from pushforward.methods.vae import VAE as VAE, HierarchicalVAE as HierarchicalVAE
