"""An autoencoder whose latent space other models are trained in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

from torch import nn

from pushforward.arguments import one_of
from pushforward.data import ImageSpace, Space, TableSpace
from pushforward.errors import UsageError
from pushforward.methods import PerceptualAutoencoder
from pushforward.methods.autoencoders import LossWeights
from pushforward.networks import Compressor, Expander, PatchCritic, PretrainedFeatures
from pushforward.networks.autoencoder import map_shape
from pushforward.recipes.choice import batch_size, precision
from pushforward.recipes.choice import critic as choose_critic
from pushforward.recipes.recipe import LOSS, NETWORK, REGULARISATION, SCHEDULE, Recipe, Training, on_space
from pushforward.recipes.vae import vae

ROW_CODE = 32  # Numbers of the code of a row at most, by default
FEATURES = ("critic", "pretrained", "none")


@on_space
def autoencoder(
    space: Space,
    size: str = "small",
    *,
    factor: Annotated[int | None, NETWORK] = None,
    channels: Annotated[int | None, NETWORK] = None,
    critic: Annotated[str, NETWORK] = "patch",
    perceptual_loss: Annotated[str, LOSS] = "critic",
    features: Annotated[float, LOSS] = 1.0,
    adversarial: Annotated[float, LOSS] = 0.1,
    start: Annotated[float, SCHEDULE] = 0.5,
    kl_weight: Annotated[float | None, REGULARISATION] = None,
) -> Recipe:
    """An autoencoder for latents: images to maps a few times smaller; `train flow --latent RUN` goes on from it.

    It receives no labels; models in its latent space may. Of a table of mixed types it is a VAE with a small weight of the KL
    term, whose codes hold nearly all of a row; of the settings it takes channels and kl_weight alone.

    Args:
        space: The data's shape and units; images, or a table of mixed types.
        size: The networks' size: tiny, small or base.
        factor: Pixels of the image for one of the map, along a side: 2, 4 or 8. The default is 2 below 16 pixels, 4 below 64,
            else 8.
        channels: Numbers at each place of the map; the default is 4, or 8 where the factor is 8, and never more than make the
            code half as large as the image. Of a table the numbers of a code; the default is 32, or 2 for each column where that
            is less.
        critic: patch, or one of the recipe gan's for images: dcgan, residual, textbook, projected.
        perceptual_loss: Features in which reconstructions are compared beside pixels: those of the critic of patches (critic), of
            EfficientNet-Lite0 (pretrained; needs the extra projected), or none.
        features: The weight of the perceptual loss.
        adversarial: The weight of the critic relative to the other terms; 0 for none.
        start: The share of training from which the critic counts.
        kl_weight: The weight of the KL term, in nats per number of the code; the default is 0.001. Of a table the weight of the
            whole term beside the log-likelihood of a row; the default is 0.1.

    References:
        Rombach et al., Latent Diffusion Models (2022); see `pushforward.methods.PerceptualAutoencoder`. Zhang et al., TabSyn
        (2024), for latents of tables.
    """
    if isinstance(space, TableSpace):
        codes, weight = channels or min(ROW_CODE, 2 * len(space.fields)), 0.1 if kl_weight is None else kl_weight
        rows = vae(space.with_conditions(), size, latent_size=codes, beta=weight)
        return replace(rows, name="autoencoder", family="autoencoder")
    if not isinstance(space, ImageSpace):
        raise UsageError("An autoencoder for latents squeezes images and tables; for other data train a vae and build on that.")
    if one_of("perceptual loss", perceptual_loss, FEATURES) == "pretrained" and space.low is None:
        raise UsageError("Pretrained features are of images; codes of a latent space are none. Take `perceptual_loss=critic`.")
    side = max(space.shape[1:])
    factor = (2 if side < 16 else (4 if side < 64 else 8)) if factor is None else factor
    most = max(1, space.size // 2 // math.prod(map_shape(space.shape, 1, factor)))
    channels = min(8 if factor == 8 else 4, most) if channels is None else channels
    latent, plain = map_shape(space.shape, channels, factor), space.with_conditions()
    judge = _critic(plain, size, critic)
    if perceptual_loss == "critic" and features and critic != "patch":
        raise UsageError(
            f"The critic {critic} has no features to compare in: choose `perceptual_loss=none` or `perceptual_loss=pretrained`."
        )
    feature_extractor = (
        PretrainedFeatures(space.shape, mean=space.mean, std=space.std, side=64) if perceptual_loss == "pretrained" else None
    )
    method = PerceptualAutoencoder(
        Compressor.sized(size, shape=space.shape, outputs=2 * channels, factor=factor),
        Expander.sized(size, shape=space.shape, inputs=channels, factor=factor),
        judge,
        plain,
        latent=latent,
        feature_extractor=feature_extractor,
        weights=LossWeights(
            0.0 if perceptual_loss == "none" else features, adversarial, start, 1e-3 if kl_weight is None else kl_weight
        ),
    )
    return Recipe(method, _training(space), "autoencoder", "autoencoder")


def _training(space: Space) -> Training:
    """Many small steps: reconstructions are closer to the image after 8 times as many steps of 8 images as after steps of 64.

    The critic's rate is such that it stays ahead: slower critics scored decoded images above real ones.
    """
    players = {"critic": {"lr": 2e-3, "betas": (0.5, 0.99), "optimizer": "adamw", "clip": None}}
    few = batch_size(space) // 8
    return Training(few, lr=4e-3, precision=precision(space), optimizer="muon", ema=20_000, players=players)


def _critic(space: Space, size: str, kind: str) -> nn.Module:
    if kind == "patch":
        return PatchCritic.sized(size, shape=space.shape)
    # a projected critic's small critics are normalised already
    return choose_critic(space, size, kind, spectral=kind != "projected")
