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
from pushforward.methods.distillation import Distillation as Distillation
from pushforward.methods.flow_map import FlowMapMatching as FlowMapMatching
from pushforward.methods.likelihoods import EvidenceBound as EvidenceBound
from pushforward.methods.method import (
    Guard as Guard,
    LatentMethod as LatentMethod,
    Method as Method,
    StepContext as StepContext,
    Sums as Sums,
)
from pushforward.methods.refinement import (
    AdversarialRefinement as AdversarialRefinement,
    AnchorPenalty as AnchorPenalty,
    DistributionMatching as DistributionMatching,
)
from pushforward.methods.trajectories import (
    TeacherPairs as TeacherPairs,
    Trajectories as Trajectories,
)
from pushforward.methods.vae import VAE as VAE, HierarchicalVAE as HierarchicalVAE
