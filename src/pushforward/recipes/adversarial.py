"""GANs with relativistic pairs and gradient penalties, and maps that a critic sharpens."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from pushforward.arguments import whole
from pushforward.data import Space
from pushforward.denoisers.denoiser import FlowMap
from pushforward.errors import UsageError
from pushforward.methods import (
    GAN,
    AdversarialRefinement,
    AnchorPenalty,
    CriticInput,
    Guard,
    Method,
    Penalties,
)
from pushforward.methods.adversarial import OBJECTIVES, DiffAugment
from pushforward.methods.refinement import FeatureCritic
from pushforward.networks import (
    MLP,
    Critic,
    DCGANCritic,
    DCGANGenerator,
    FourierFeatures,
    Generator,
    Packed,
    SignCodes,
    Spectral,
    TextbookCritic,
    TextbookGenerator,
    UNet,
)
from pushforward.networks.blocks import size_choice
from pushforward.networks.gan import FeatureHeads
from pushforward.recipes.defaults import (
    batch_size,
    chosen_network,
    flat,
    precision,
    with_shape,
)
from pushforward.recipes.recipe import (
    LossOption,
    NetworkOption,
    PathOption,
    Recipe,
    RegularisationOption,
    Schedule,
    Training,
    on_space,
)
from pushforward.recipes.students import copy_of, in_latents
from pushforward.transports import Latent, inner_of

# Generators and critics by architecture; an MLP stands beside them
PAIRS: dict[str, tuple[Any, Any]] = {
    "dcgan": (DCGANGenerator, DCGANCritic),
    "residual": (Generator, Critic),
    "textbook": (TextbookGenerator, TextbookCritic),
}


# Kinds of generators and critics: plain ones, and those of images
PLAYERS = (("mlp", "textbook"), ("dcgan", "residual"))
# Width and depth of a game's perceptrons on vectors: a game needs many steps more than wide layers
GAMES = {"tiny": (64, 2), "small": (96, 2), "base": (256, 3)}


# Highest frequency, in radians, of Fourier features along scores of a table
HIGHEST = 30.0


def _player(
    space: Space, size: str, inputs: int, outputs: Sequence[int], minibatch_std: int = 0
) -> nn.Module:
    # the gradient norm of a critic is penalised, which costs less for a piecewise linear network
    options: dict[str, Any] = {
        "times": 0,
        "activation": "leaky_relu",
        "conditions": space.conditions,
        "minibatch_std": minibatch_std,
    }
    count = math.prod(outputs)
    width, depth = size_choice(size, GAMES)
    if len(space.shape) == 1 and max((inputs, *outputs)) <= width:
        network = MLP(inputs, count, width=width, depth=depth, **options)
    else:
        network = MLP.sized(size, shape=(inputs,), outputs=count, **options)
    return with_shape(network, space, outputs)


def generator_for(
    space: Space, size: str, latent: int, kind: str = "auto", sign_codes: int = 0
) -> nn.Module:
    """Build a generator from noise of length ``latent`` to data, with sign codes (`SignCodes`)."""
    inputs = latent + sign_codes
    chosen = chosen_network(space, kind, *PLAYERS)
    if chosen == "mlp":
        network = _player(space, size, inputs, space.shape)
    else:
        convolutional, _ = PAIRS[chosen]
        network = convolutional.sized(
            size, shape=space.shape, latent=inputs, conditions=space.conditions
        )
    if sign_codes:
        return SignCodes(network, latent, sign_codes)
    return network


def critic_for(
    space: Space,
    size: str,
    kind: str = "auto",
    *,
    pack: int = 1,
    minibatch_std: int = 0,
    fourier_features: int = 0,
    spectral: bool = False,
    normalise: bool = False,
) -> nn.Module:
    """Build a critic of examples or of packs of examples.

    Args:
        space: Shape and conditions of the data.
        size: "tiny", "small" or "base".
        kind: Name in `PAIRS`, or "auto".
        pack: Number of examples that get one common score.
        minibatch_std: Group size for minibatch standard deviation; 0 for none.
        fourier_features: Number of Fourier features of vectors; 0 for none.
        spectral: Whether to use spectral normalisation.
        normalise: Whether a DCGAN uses batch normalisation.
    """
    chosen = chosen_network(space, kind, *PLAYERS)
    conditions = space.conditions
    if fourier_features and (chosen != "mlp" or len(space.shape) != 1):
        raise UsageError(
            "Fourier features need an mlp critic on vectors. Leave out fourier_features."
        )
    single = space
    if pack > 1:
        space = space.with_conditions().unscaled(Packed.shape(space.shape, pack, conditions))
    if chosen == "mlp":
        network = _player(space, size, space.size + 2 * fourier_features, (), minibatch_std)
        if fourier_features:
            network = _with_waves(network, single, space.size, pack, fourier_features)
    else:
        options = {"conditions": space.conditions, "minibatch_std": minibatch_std}
        if chosen == "dcgan":
            options["normalise"] = normalise
        _, convolutional = PAIRS[chosen]
        network = convolutional.sized(size, shape=space.shape, **options)
    if pack > 1:
        network = Packed(network, pack, conditions)
    if spectral:
        return Spectral(network)
    return network


def _with_waves(network: nn.Module, space: Space, size: int, pack: int, waves: int) -> nn.Module:
    if space.continuous is None:
        return FourierFeatures(network, size, waves)
    columns = []
    for part in range(pack):
        columns += [part * (size // pack) + place for place in space.continuous]
    return FourierFeatures(network, size, waves, high=HIGHEST, columns=columns)


def augmentation(space: Space, names: str) -> DiffAugment | None:
    """Return the augmentation with these names, separated by commas; None for "none"."""
    if names == "none":
        return None
    bounds = space.bounds
    if bounds is None:
        return DiffAugment(names)
    low, high = bounds
    return DiffAugment(names, extent=float((high - low).max()))


# DCGANs of images of at most this many numbers leave their first mode sooner with short noise
PLAIN = 1024

# Games of vectors find their modes at a high rate and high penalties, which takes many samples
SHORTEST_RAMP = 400_000


@on_space
def gan(
    space: Space,
    size: str = "small",
    *,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    network: NetworkOption[str] = "auto",
    latent_size: NetworkOption[int | None] = None,
    sign_codes: NetworkOption[int | None] = None,
    fourier_features: NetworkOption[int | None] = None,
    loss: LossOption[str] = "relativistic",
    gamma: RegularisationOption[float | None] = None,
    penalty: RegularisationOption[str | None] = None,
    penalty_interval: RegularisationOption[int | None] = None,
    difference: RegularisationOption[float | None] = None,
    pack: RegularisationOption[int] = 1,
    minibatch_std: RegularisationOption[int] = 0,
    spectral: RegularisationOption[bool] = False,
    augment_critic: RegularisationOption[str] = "none",
    strength: RegularisationOption[float | None] = None,
    ada_target: RegularisationOption[float | None] = None,
) -> Recipe:
    """GAN with the R3GAN loss: relativistic pairs, R1 and R2; one network call per sample.

    For vectors with continuous attributes, the batch size is 512 and the critic's learning rate is
    eight times the generator's.

    Args:
        generator: Module ``generator(z, None, condition)``.
        critic: Module ``critic(x, None, condition)``.
        network: auto, mlp, dcgan, residual (R3GAN's) or textbook; auto uses mlp for vectors and
            very small images, otherwise dcgan.
        latent_size: Length of the noise vector; the default is 16 for vectors and for dcgan images
            with 257 to 1,024 numbers, otherwise 64.
        sign_codes: Number of noise entries whose signs the generator also receives, as one learned
            code per pattern, so that it can jump between modes; the default is 10 for vectors.
        fourier_features: Number of Fourier features of vectors for the critic, so that it resolves
            narrow modes; the default is 32 for an mlp critic of vectors without spectral norms.
        loss: relativistic, non_saturating (the original, which may collapse), minimax, hinge,
            least_squares or wasserstein.
        gamma: Weight of the gradient penalties; the default is 10 for convolutional images and for
            wasserstein, 0.5 for vectors without continuous attributes, otherwise 5.
        penalty: r1, r2 or gradient, joined by +, or none; the default depends on the loss, r1+r2
            for relativistic.
        penalty_interval: Number of steps between penalties (lazy regularisation); the default is 4
            for dcgan on images with more than 256 numbers, otherwise 1.
        difference: Step of finite differences for estimating r1 and r2, for example 0.05, which
            saves the second derivative; exact gradients by default.
        pack: Number of samples that the critic scores together; 2 to 4 against lost modes.
        minibatch_std: Group size for minibatch standard deviation in the critic; usually 4, 0 for
            none.
        spectral: Whether the critic uses spectral normalisation.
        augment_critic: Augmentation of the critic's inputs, for small data sets of images: color,
            translation, cutout, separated by commas; or none.
        strength: Probability of each augmentation; the default is 1, or initially 0 with
            ada_target.
        ada_target: Target for the mean sign of the critic's scores, reached by adapting the
            strength (ADA); usually 0.6, none by default.

    References:
        Huang et al., The GAN Is Dead; Long Live the GAN! (2024); see also `pushforward.GAN`.
    """
    vector = len(space.shape) == 1
    points = vector and not _continuous(space)
    convolutional = not flat(space)
    dcgan = convolutional and network in ("auto", "dcgan")

    if latent_size is None:
        latent_size = 64
        if vector or (dcgan and space.size <= PLAIN):
            latent_size = 16
    latent = whole("latent_size", latent_size, 1)
    if sign_codes is None:
        sign_codes = 0
        if vector:
            sign_codes = min(10, latent)
    if fourier_features is None:
        fourier_features = 0
        plain_mlp = vector and network in ("auto", "mlp") and not spectral
        if plain_mlp and space.continuous != ():
            fourier_features = 32

    if penalty is None:
        penalty = "none"
        if loss in OBJECTIVES:
            penalty = OBJECTIVES[loss].penalty
    if penalty_interval is None:
        penalty_interval = 4 if dcgan else 1
    if gamma is None:
        if convolutional or loss == "wasserstein":
            gamma = 10.0
        elif points:
            gamma = 0.5
        else:
            gamma = 5.0
    penalised = penalty != "none" and gamma > 0
    shortest_ramp = None
    if points and penalised:
        shortest_ramp = SHORTEST_RAMP
    if strength is None:
        strength = 1.0 if ada_target is None else 0.0

    if critic is None:
        critic = critic_for(
            space,
            size,
            network,
            pack=pack,
            minibatch_std=minibatch_std,
            fourier_features=fourier_features,
            spectral=spectral,
            normalise=penalty == "none" and not spectral,
        )
    if generator is None:
        generator = generator_for(space, size, latent, network, sign_codes)
    generator, latent = space.generator(generator, latent)
    gamma_end = gamma * 0.1
    if vector:
        gamma_end = gamma * 0.06
    penalties = Penalties(penalty, gamma, gamma_end, penalty_interval, difference, shortest_ramp)
    augment = augmentation(space, augment_critic)
    critic_input = CriticInput(pack, minibatch_std, augment, strength, ada_target)
    method = GAN(
        generator,
        critic,
        space,
        latent=latent,
        loss=loss,
        penalties=penalties,
        critic_input=critic_input,
    )

    if not penalised:
        penalty_interval = 1
    training = _training(space, penalty_interval)
    schedule = Schedule(lr_end=0.1)
    if vector:
        # the rate falls throughout, because a step at the full rate may leave a mode
        schedule = Schedule(lr_ramp=0.01, shortest_ramp=shortest_ramp)
    training = dataclasses.replace(training, schedule=schedule)
    return Recipe(method, training, "gan", "GAN")


def _continuous(space: Space) -> bool:
    return any(kind.continuous for kind in space.conditions.values())


def _training(space: Space, penalty_interval: int) -> Training:
    vector = len(space.shape) == 1
    if vector:
        lr = 1.5e-3
    elif flat(space):
        lr = 5e-4
    else:
        lr = 1e-3
    batch = batch_size(space)
    critic_lr = lr
    if vector and _continuous(space):
        # each value of an attribute has few examples, so the game is noisier
        batch = 512
        lr = lr / 2
        critic_lr = 8 * lr
    betas = (0.0, 0.99)
    share = 1.0
    if penalty_interval > 1:
        # StyleGAN2, appendix B: lazy penalties adjust the optimiser's rates
        share = penalty_interval / (penalty_interval + 1)
    players = {}
    critic: dict[str, Any] = {}
    if critic_lr * share != lr:
        critic["lr"] = critic_lr * share
    if penalty_interval > 1:
        critic["betas"] = [beta**share for beta in betas]
    if critic:
        players["critic"] = critic
    return Training(
        batch,
        lr=lr,
        betas=betas,
        clip=None,
        ema=20_000,
        precision=precision(space),
        players=players,
    )


# Initial fraction of training in which only the critic is trained: a convolutional one, which
# starts with random weights, and one of features
STILL = 0.15


STILL_FEATURES = 0.05


@on_space
def finish(
    space: Space,
    size: str = "small",
    *,
    teacher: FlowMap | Latent,
    critic: nn.Module | None = None,
    network: NetworkOption[str] = "auto",
    calls: PathOption[int] = 1,
    inside: PathOption[float] = 0.0,
    anchor: LossOption[float] = 0.3,
    gamma: RegularisationOption[float | None] = None,
    augment_critic: RegularisationOption[str] = "none",
    coverage: RegularisationOption[float] = 0.97,
    recall: RegularisationOption[float] = 0.95,
) -> Recipe:
    """Map between two times, sharpened by a critic; training stops before it loses diversity.

    Args:
        size: Size of the critic, unless it is one of features.
        teacher: Starting map: a run of distil, meanflow or dmd. In a latent space, the critic
            scores latents.
        critic: Module ``critic(x, None, condition)``.
        network: Network of the critic: auto, mlp, dcgan, residual or textbook, as in gan; or
            features, small critics on features of the starting map, which auto uses if the
            map is a U-Net.
        calls: Default number of network calls per sample; training uses one.
        inside: Fraction of jumps that start at noisy data, which keeps samples in 2 or 4 calls
            good.
        anchor: Weight of the squared distance to the teacher's samples from the same noise.
        gamma: Weight of the critic's gradient penalties; the default is 0 for a critic of features,
            otherwise 1.
        augment_critic: Augmentation of the critic's inputs, for small data sets of images: color,
            translation, cutout, separated by commas; or none.
        coverage: Training stops if coverage falls significantly below this fraction of its initial
            value; 0 for no limit.
        recall: Training stops if recall falls significantly below this fraction of its initial
            value; 0 for no limit.

    References:
        Lin et al., Adversarial Flow Models (2025); Huang et al., The GAN Is Dead (2024).
    """
    augment = augmentation(space, augment_critic)
    inner: Any = teacher
    if isinstance(teacher, Latent):
        inner = inner_of(teacher)
        space = inner.space
    flow_map = getattr(inner, "denoiser", inner)
    if critic is None:
        critic = _critic(space, size, network, flow_map)
    by_features = isinstance(critic, FeatureCritic)
    small = flat(space)
    usual_gamma = 1.0
    still = STILL
    lr = 1e-3
    map_lr = 5e-5
    if by_features:
        usual_gamma = 0.0
        still = STILL_FEATURES
        map_lr = 2e-4
    elif small:
        still = 0.0
    if small:
        lr = 5e-4
        map_lr = 3e-4
    if gamma is None:
        gamma = usual_gamma
    guard = None
    if coverage or recall:
        guard = Guard(coverage, recall)

    method: Method = AdversarialRefinement(
        copy_of(flow_map),
        critic,
        teacher=flow_map,
        penalties=Penalties("r1+r2", gamma, gamma / 10, difference=0.05),
        critic_input=CriticInput(augment=augment),
        anchor=AnchorPenalty(anchor, inside, still),
        guard=guard,
        steps=calls,
    )
    method, family = in_latents(method, teacher)

    training = Training(
        batch_size(space),
        lr=lr,
        betas=(0.0, 0.99),
        clip=None,
        ema=20_000,
        precision=precision(space),
        players={"map": {"lr": map_lr}},
    )
    return Recipe(method, training, "finish", family, first_weights=_finish_start_as_teacher)


def _critic(space: Space, size: str, network: str, flow_map: FlowMap) -> nn.Module:
    unet = flow_map.network
    if isinstance(unet, UNet) and network in ("auto", "features"):
        return FeatureCritic(FeatureHeads.of(unet))
    if network == "features":
        raise UsageError(
            "A critic can only read features of a UNet, but the network of this map is a "
            f"{type(unet).__name__}. Use `network=auto`."
        )
    return critic_for(space, size, network)


def _finish_start_as_teacher(method: Any) -> None:
    inner = getattr(method, "method", method)
    inner.flow_map.load_state_dict(inner.teacher.state_dict())
