"""Autoencoders for latent models: perceptual ones, and ones with a codebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import share, weight
from pushforward.data import Batch, Space
from pushforward.denoisers import Condition
from pushforward.denoisers.denoiser import call, shaped
from pushforward.methods.likelihoods import (
    Gaussian,
    Likelihood,
    divergences,
    drawn_from,
    explained,
    mean_of,
)
from pushforward.methods.method import Method, Modules, Move, StepContext, Sums, reparameterised
from pushforward.methods.vae import Deterministic, note_code
from pushforward.transports import Autoencoder, Map

# Decay per step of the running statistics of latents and of code frequencies
MEMORY = 0.99


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms of a `PerceptualAutoencoder`, relative to the absolute error.

    ``adversarial`` is the gradient norm of the critic relative to that of the other terms;
    ``start`` is the fraction of training after which the critic is used.
    """

    features: float = 1.0
    adversarial: float = 0.5
    start: float = 0.2
    kl_weight: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("features", "adversarial", "kl_weight"):
            weight(name, getattr(self, name))
        share("start", self.start, " of training")


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Compute the feature distance between two sets of images, (n,).

    References:
        Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (LPIPS,
        2018), eq. 1, unweighted.
    """
    depths = []
    for x, y in zip(a, b, strict=True):
        apart = F.normalize(x, dim=1) - F.normalize(y, dim=1)
        depths.append(apart.square().sum(1).flatten(1).mean(1))
    return torch.stack(depths).mean(0)


class Standardised(nn.Module):
    """Decoder of latents that were standardised to mean 0 and standard deviation 1 per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.network(self.mean.to(z) + self.std.to(z) * z, t, condition)


class PerceptualAutoencoder(Method):
    """Autoencoder with the loss |x - d(z)| + feature distance + adversarial term + small KL term.

    The critic scores reconstructions with the hinge loss. Its gradient at each reconstruction is
    scaled to the norm of the gradient of the other terms, times ``weights.adversarial``. Sampled
    alone, it decodes normal numbers with the measured moments of the latents.

    Args:
        encoder: Network from images to means then log-variances, (n, 2 c, h, w).
        decoder: Network from latents to images.
        critic: Network from images to scores (n, patches), or one score per example; its
            `features`, if any, compare reconstructions.
        space: Shape and units of the data; images only.
        latent: Shape of one latent, (c, h, w).
        weights: Weights of the loss terms.

    References:
        Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models (2022), section
        3.1; Esser et al., Taming Transformers (VQGAN, 2021), eq. 7; Larsen et al., Autoencoding
        beyond Pixels (2016), for features of the critic.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        critic: nn.Module,
        space: Space,
        *,
        latent: Sequence[int],
        weights: LossWeights | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.critic = critic
        self.space = space
        self.latent = tuple(map(int, latent))
        self.weights = weights or LossWeights()
        channels, *places = self.latent
        view = (channels, *(1 for _ in places))
        self.register_buffer("code_mean", torch.zeros(view))
        self.register_buffer("code_square", torch.ones(view))

    @property
    def players(self) -> Modules:
        return {"critic": self.critic, "autoencoder": nn.ModuleList([self.encoder, self.decoder])}

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        """Yield the critic loss, then the autoencoder loss, on the same reconstructions."""
        noise = now.draws.normal(self.latent)
        with torch.set_grad_enabled(now.parts == 1):
            mean, log_variance, z, reconstructed = self._reconstructed(batch.x, noise)
        yield "critic", self._critic_loss(batch.x, reconstructed.detach(), now)
        codes = z.detach()
        axes = (0, *range(2, z.dim()))
        sums = {"sum": codes.sum(axes), "square": codes.square().sum(axes)}
        yield Sums(len(z), sums, then=self._measured)
        if now.parts > 1:
            mean, log_variance, z, reconstructed = self._reconstructed(batch.x, noise)
        divergence = divergences(mean, log_variance).flatten(1)
        now.notes["kl"] = divergence.detach().sum(1).mean()
        note_code(now, mean)
        value, slope = self._slope(batch.x, reconstructed.detach(), now)
        toward = (reconstructed * slope).flatten(1).sum(1).mean()
        # the value of the loss, with the gradient of `toward`
        loss = value + toward - toward.detach()
        yield "autoencoder", loss + self.weights.kl_weight * divergence.mean()

    def _reconstructed(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_variance = call(self.encoder, x, None, None).chunk(2, dim=1)
        z = reparameterised(mean, log_variance, noise)
        return mean, log_variance, z, call(self.decoder, z, None, None)

    def _critic_loss(self, x: Tensor, reconstructed: Tensor, now: StepContext) -> Tensor:
        on_real, on_made = call(self.critic, torch.cat([x, reconstructed]), None, None).chunk(2)
        on_real = on_real.reshape(len(x), -1)
        on_made = on_made.reshape(len(x), -1)
        gap = (on_real - on_made).detach().mean(1)
        now.notes.update(patch_gap=gap.mean(), patch_accuracy=(gap > 0).float().mean())
        return (F.relu(1 - on_real) + F.relu(1 + on_made)).mean(1).mean()

    def _slope(self, x: Tensor, reconstructed: Tensor, now: StepContext) -> tuple[Tensor, Tensor]:
        reconstructed.requires_grad_()
        weight = self.weights.adversarial
        with torch.enable_grad():
            error = (x - reconstructed).abs().flatten(1).mean(1)
            distance, scores = self._looks(x, reconstructed)
            near = error + self.weights.features * distance
            (slope,) = torch.autograd.grad(near.sum(), reconstructed, retain_graph=True)
            now.notes.update(error=error.detach().mean(), feature_distance=distance.detach().mean())
            if weight and now.progress >= self.weights.start:
                critical = -scores.reshape(len(x), -1).mean(1).sum()
                (push,) = torch.autograd.grad(critical, reconstructed)
                slope = slope + weight * _length(slope) / (_length(push) + 1e-8) * push
        return near.detach().mean(), slope.detach()

    def _looks(self, x: Tensor, reconstructed: Tensor) -> tuple[Tensor, Tensor]:
        features = getattr(self.critic, "features", None)
        if features is None:
            scores = call(self.critic, reconstructed, None, None)
            return reconstructed.new_zeros(len(x)), scores
        with torch.no_grad():
            real = call(features, x)
        fake = call(features, reconstructed)
        return feature_distance(real[:-1], fake[:-1]), fake[-1]

    def _measured(self, total: Sums) -> None:
        view = self.code_mean.shape
        count = total.count * math.prod(self.latent[1:])
        self.code_mean.lerp_((total.values["sum"] / count).reshape(view), 1 - MEMORY)
        self.code_square.lerp_((total.values["square"] / count).reshape(view), 1 - MEMORY)

    def autoencoder(self) -> Autoencoder:
        return Autoencoder(self.encoder, self.decoder, self.space.with_conditions(), standard=False)

    def transport(self) -> Map:
        variance = self.code_square - self.code_mean.square()
        decoder = Standardised(self.decoder, self.code_mean, variance.clamp(min=1e-8).sqrt())
        return Map(decoder, self.space.with_conditions(), self.latent)


def _length(slope: Tensor) -> Tensor:
    return shaped(slope.flatten(1).norm(dim=1), slope)


class Snapped(nn.Module):
    """Decoder that quantises its input first."""

    def __init__(self, network: nn.Module, codebook: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.codebook = codebook

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.network(self.codebook(z)[0], t, condition)


class Drawn(nn.Module):
    """Sampler that draws the code at each position by its frequency there, and decodes the codes.

    Standard normal noise z selects the code at which the distribution function reaches Phi(z).
    """

    use: Tensor
    edges: Tensor

    def __init__(self, network: nn.Module, codebook: Any, use: Tensor) -> None:
        super().__init__()
        self.network = network
        self.codebook = codebook
        self.register_buffer("use", use)
        steps = use.double().cumsum(-1)
        reached = (steps / steps[..., -1:])[..., :-1].flatten(0, -2)
        self.register_buffer("edges", torch.special.ndtri(reached).contiguous(), persistent=False)

    def codes(self, z: Tensor) -> Tensor:
        """Return code numbers for noise (n, *places)."""
        return (self.edges <= z.double().flatten(1).unsqueeze(-1)).sum(-1).reshape(z.shape)

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.network(self.codebook.look_up(self.codes(z)).to(z), t, condition)


class QuantisedAutoencoder(Method):
    """Autoencoder with a codebook and the loss -log p(x | q(h)) + commitment |h - q(h)|^2.

    Here h = encoder(x), and q(h) is the nearest code, with straight-through gradients. Sampled
    alone, codes are drawn at each position independently.

    Args:
        encoder: Network from data to (n, codebook.dim, *places).
        decoder: Network from codes to ``likelihood.outputs``.
        codebook: ``codebook(h) -> (quantised, numbers)``, with ``size``, ``dim`` and ``look_up``;
            one that learns also has ``assigned``, ``candidates`` and ``follow``.
        space: Shape and units of the data.
        places: Shape of the code map, such as (7, 7).
        likelihood: Distribution of data around the decoder output; `Gaussian` by default.
        commitment: Weight of |h - q(h)|^2, averaged over dimensions.

    References:
        van den Oord et al., VQ-VAE (2017), eq. 3; Mentzer et al., FSQ (2023).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        codebook: Any,
        space: Space,
        *,
        places: Sequence[int],
        likelihood: Likelihood | None = None,
        commitment: float = 0.25,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.space = space
        self.codebook = codebook
        self.places = tuple(map(int, places))
        self.commitment = weight("commitment", commitment)
        self.likelihood = Gaussian(space) if likelihood is None else likelihood
        size = int(codebook.size)
        self.register_buffer("use", torch.full((*self.places, size), 1 / size))

    @property
    def players(self) -> Modules:
        return {"autoencoder": self}

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        x = batch.x
        h = call(self.encoder, x, None, batch.condition)
        quantised, index = self.codebook(h)
        decoded = call(self.decoder, quantised, None, batch.condition)
        log_likelihood = self.likelihood.log_prob(x, decoded)
        apart = (h - quantised.detach()).square().flatten(1).mean(1)
        with torch.no_grad():
            size = self.codebook.size
            often = torch.bincount(index.flatten(), minlength=size) / index.numel()
            now.notes["perplexity"] = torch.exp(-torch.xlogy(often, often).sum())
            now.notes["book"] = often.new_tensor(min(size, index.numel()))
            now.notes["log_likelihood"] = log_likelihood.detach().mean()
            if len(x) > 1:
                now.notes["explained"] = explained(x, self.likelihood.mean(decoded.detach()))
        loss = -log_likelihood.mean() / self.space.size
        yield "autoencoder", loss + self.commitment * apart.mean()
        yield self._use(h, index, now)

    def _use(self, h: Tensor, index: Tensor, now: StepContext) -> Sums:
        values = {"use": _counts(index, self.codebook.size)}
        examples = {}
        if hasattr(self.codebook, "follow"):
            restart = now.draws.stream("restart")
            examples["choice"] = restart.uniform()
            examples["candidates"] = self.codebook.candidates(h, restart.uniform())
            values |= self.codebook.assigned(h, index)
        return Sums(len(index), values, examples, then=self._followed)

    def _followed(self, total: Sums) -> None:
        if hasattr(self.codebook, "follow"):
            moved = {name: total.values[name] for name in ("counts", "sums")}
            self.codebook.follow(**moved, **total.examples, places=math.prod(self.places))
        self.use.lerp_(total.values["use"] / total.count, 1 - MEMORY)

    def autoencoder(self) -> Autoencoder:
        encoder = Deterministic(self.encoder, halved=False)
        decoder = Snapped(mean_of(self.decoder, self.likelihood), self.codebook)
        return Autoencoder(encoder, decoder, self.space)

    def transport(self) -> Map:
        network = Drawn(mean_of(self.decoder, self.likelihood), self.codebook, self.use)
        return Map(network, self.space, self.places, drawn_from(self.likelihood))


def _counts(index: Tensor, size: int) -> Tensor:
    flat = index.flatten(1)
    places = flat.shape[1]
    at = flat + size * torch.arange(places, device=index.device)
    counts = torch.bincount(at.flatten(), minlength=size * places)
    return counts.reshape(*index.shape[1:], size)
