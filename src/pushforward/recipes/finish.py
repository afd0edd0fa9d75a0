"""A map between two times, finished by a critic: sharper in one call, with the same noise for the same sample."""

from __future__ import annotations

from typing import Annotated, Any

from torch import nn

from pushforward.data import Space
from pushforward.denoisers import FlowMap
from pushforward.errors import UsageError
from pushforward.methods import Anchor, CriticInput, Finish, Guard, LatentMethod, Method, Penalties
from pushforward.methods.augmentation import DiffAugment
from pushforward.methods.perceptual_distance import FeatureCritic
from pushforward.networks import UNet
from pushforward.networks.pretrained import FeatureHeads
from pushforward.recipes.choice import batch_size, extent_of, flat, precision
from pushforward.recipes.choice import critic as choose_critic
from pushforward.recipes.recipe import LOSS, NETWORK, PATH, REGULARISATION, SCHEDULE, Recipe, Training, on_space
from pushforward.recipes.students import copy_of
from pushforward.transports import Latent, inner_of

STILL, STILL_FEATURES = 0.15, 0.05
"""The share of training in which a convolutional critic, which knows nothing at first, learns alone; and one of features."""


@on_space
def finish(
    space: Space,
    size: str = "small",
    *,
    teacher: FlowMap | Latent,
    critic: nn.Module | None = None,
    network: Annotated[str, NETWORK] = "auto",
    calls: Annotated[int, PATH] = 1,
    inside: Annotated[float, PATH] = 0.0,
    anchor: Annotated[float, LOSS] = 0.3,
    anchor_end: Annotated[float | None, SCHEDULE] = None,
    still: Annotated[float | None, SCHEDULE] = None,
    gamma: Annotated[float | None, REGULARISATION] = None,
    gamma_end: Annotated[float | None, SCHEDULE] = None,
    difference: Annotated[float, REGULARISATION] = 0.05,
    penalty_interval: Annotated[int, REGULARISATION] = 1,
    augment_critic: Annotated[str, REGULARISATION] = "none",
    strength: Annotated[float, REGULARISATION] = 1.0,
    coverage: Annotated[float, REGULARISATION] = 0.97,
    recall: Annotated[float, REGULARISATION] = 0.95,
    checks: Annotated[int, REGULARISATION] = 8,
) -> Recipe:
    """A distilled map (or any other between two times), sharpened by a critic; training ends where it would lose variety.

    Args:
        space: The data's shape, units and conditions; the teacher's.
        size: The size of the critic alone, where it is not of features; the map keeps that of its teacher.
        teacher: The map that is finished: a run of distil, meanflow or dmd. In a latent space the critic looks at codes.
        critic: A module ``critic(x, None, condition)`` in place of the default.
        network: The critic's: auto, mlp, dcgan, residual, textbook or projected, as of gan; or features, small critics of the
            features of the map that is finished, which auto takes where that is a U-Net.
        calls: The default number of network calls per sample; the game is of one.
        inside: The share of jumps that start at data mixed with noise, which keeps samples in 2 or 4 calls good.
        anchor: The weight of the squared distance to the teacher's samples of the same noise.
        anchor_end: The weight at the end, on a cosine; the default keeps it.
        still: The share of training in which only the critic learns; the default is .05 for a critic of features, .15 for
            any other of images, 0 for one of points or rows.
        gamma: The weight of the penalties on the critic's slope, at data and at samples; the default is 0 for a critic of
            features, else 1.
        gamma_end: The weight at the end, on a cosine; the default is a tenth of gamma.
        difference: The step of the finite differences by which slopes are penalised; 0 differentiates exactly.
        penalty_interval: Steps between penalties (lazy regularisation).
        augment_critic: Changes to the critic's inputs, for few images: color, translation, cutout, joined by commas; or none.
        strength: The probability of each change of augment_critic.
        coverage: Training ends where coverage falls below this share of the start's by more than noise; 0 allows any.
        recall: Training ends where recall falls below this share of the start's by more than noise; 0 allows any.
        checks: How often both are measured, at equal shares of training. The quality of samples is not: compare with the teacher.

    References:
        Lin et al., Adversarial Flow Models (2025); Huang et al., The GAN Is Dead; Long Live the GAN! (2024).
    """
    augment = None if augment_critic == "none" else DiffAugment(augment_critic, extent=extent_of(space))
    inner: Any = inner_of(teacher) if isinstance(teacher, Latent) else teacher
    flow_map, space = getattr(inner, "denoiser", inner), inner.space if isinstance(teacher, Latent) else space
    critic = critic if critic is not None else _critic(space, size, network, flow_map)
    by_features = isinstance(critic, FeatureCritic)
    gamma = gamma if gamma is not None else 1.0 - by_features
    still = still if still is not None else (STILL_FEATURES if by_features else STILL * (not flat(space)))
    method: Method = Finish(
        copy_of(flow_map),
        critic,
        teacher=flow_map,
        penalties=Penalties(
            "r1+r2", gamma, gamma / 10 if gamma_end is None else gamma_end, None, penalty_interval, difference or None
        ),
        critic_input=CriticInput(augment=augment, strength=strength),
        anchor=Anchor(anchor, anchor_end, inside, still),
        guard=Guard(coverage, recall, checks) if coverage or recall else None,
        steps=calls,
    )
    family = "flow map"
    if isinstance(teacher, Latent):
        method, family = LatentMethod(method, teacher.autoencoder), f"{family} in a latent space"
    return Recipe(method, _training(space, by_features), "finish", family, first_weights=_start_as_teacher)


def _critic(space: Space, size: str, network: str, flow_map: FlowMap) -> nn.Module:
    unet = flow_map.network
    if network == "features" and not isinstance(unet, UNet):
        raise UsageError(
            f"Only a UNet has features for a critic; the network of this map is a {type(unet).__name__}: choose `network=auto`."
        )
    if network in ("auto", "features") and isinstance(unet, UNet):
        return FeatureCritic(FeatureHeads.of(unet))
    return choose_critic(space, size, network)


def _training(space: Space, by_features: bool) -> Training:
    critic, moved = (5e-4, 3e-4) if flat(space) else (1e-3, 2e-4 if by_features else 5e-5)
    players = {"map": {"lr": moved}}
    return Training(
        batch_size(space), lr=critic, betas=(0.0, 0.99), clip=None, ema=20_000, precision=precision(space), players=players
    )


def _start_as_teacher(method: Any) -> None:
    inner = method.method if isinstance(method, LatentMethod) else method
    inner.flow_map.load_state_dict(inner.teacher.state_dict())
