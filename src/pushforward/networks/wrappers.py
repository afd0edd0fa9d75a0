"""Networks around another network, which widen its input, bound its gradient or read its output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

from pushforward.conditions.kind import ConditionKind
from pushforward.data.spaces import Space
from pushforward.errors import UsageError
from pushforward.networks.blocks import (
    Condition,
    Kinds,
    Shape,
    Times,
    check_condition,
    check_input,
    condition_channels,
    kinds_of,
)


class Reshaped(nn.Module):
    """Wrapper that applies a network for vectors to examples of any shape."""

    def __init__(self, network: nn.Module, shape: Shape) -> None:
        super().__init__()
        self.network = network
        self.shape = tuple(shape)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        return self.network(x.flatten(1), t, condition).reshape(x.shape[0], *self.shape)


class FourierFeatures(nn.Module):
    """Network with additional inputs: sines and cosines along random directions, on all scales.

    Args:
        network: ``network(features, t, condition)`` on vectors of inputs + 2 waves numbers.
        low: Lowest frequency, in radians per model unit.
        high: Highest frequency; frequencies are spaced geometrically.
        columns: Indices of the columns of x that directions use; None for all.

    References:
        Tancik et al., Fourier Features Let Networks Learn High Frequency Functions in Low
        Dimensional Domains (2020).
    """

    frequencies: Tensor

    def __init__(
        self,
        network: nn.Module,
        inputs: int,
        fourier_features: int = 32,
        *,
        low: float = 1.0,
        high: float = 60.0,
        columns: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.fourier_features = fourier_features
        self.low = low
        self.high = high
        self.columns = None if columns is None else tuple(columns)
        directions = F.normalize(torch.randn(fourier_features, inputs), dim=1)
        if self.columns is not None:
            seen = torch.zeros(inputs).index_fill(0, torch.tensor(self.columns), 1.0)
            directions = F.normalize(directions * seen, dim=1)
        frequencies = torch.logspace(math.log10(low), math.log10(high), fourier_features)
        self.register_buffer("frequencies", directions * frequencies[:, None])

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, (self.inputs,), "a network with Fourier features")
        # an angle of 100 radians in bfloat16 is off by a quarter
        with torch.autocast(x.device.type, enabled=False):
            angles = x @ self.frequencies.to(x.dtype).T
        waves = torch.cat([x, angles.sin(), angles.cos()], dim=1)
        return self.network(waves, t, condition)


MOST = 16  # sign codes, which have one vector for each of their patterns


class SignCodes(nn.Module):
    """Generator that receives z scaled down, and a learned code for the signs of its first entries.

    A continuous map leaves bridges between separate modes; signs make it piecewise continuous.

    Args:
        network: ``network(z, None, condition)`` for z of latent + signs numbers.
        sign_codes: Number of entries of z whose signs are used, at most ``latent`` and 16.
        scale: Factor applied to z.

    References:
        Khayatkhoei, Elgammal, Singh, Disconnected Manifold Learning for GANs (2018); Tanielian et
        al., Learning Disconnected Manifolds: a No GAN's Land (2020); Gurumurthy et al., DeLiGAN
        (2017).
    """

    powers: Tensor

    def __init__(
        self, network: nn.Module, latent: int, sign_codes: int, scale: float = 0.3
    ) -> None:
        super().__init__()
        if sign_codes > min(latent, MOST):
            raise UsageError(
                f"{sign_codes} sign codes do not fit into a z of {latent} numbers. Use at most "
                f"{min(latent, MOST)}."
            )
        self.network = network
        self.latent = latent
        self.sign_codes = sign_codes
        self.scale = scale
        self.register_buffer("powers", 2 ** torch.arange(sign_codes), persistent=False)
        patterns = torch.arange(2**sign_codes)[:, None].bitwise_and(self.powers) > 0
        self.codes = nn.Parameter(2.0 * patterns - 1.0)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        pattern = ((x[:, : self.sign_codes] > 0) * self.powers).sum(1)
        z = torch.cat([self.scale * x, F.embedding(pattern, self.codes)], dim=1)
        return self.network(z, t, condition)


class Packed(nn.Module):
    """Critic of packs: scores ``pack`` consecutive examples, concatenated along the channel axis.

    Conditions are appended to the examples as channels: one-hot labels, standardised numbers, all
    zero for unconditional examples.

    Args:
        network: A critic without conditions for examples of `Packed.shape`.

    Raises:
        UsageError: If a condition cannot be converted to channels.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018.
    """

    def __init__(self, network: nn.Module, pack: int, conditions: Kinds = None) -> None:
        super().__init__()
        self.network = network
        self.pack = pack
        self.conditions = kinds_of(conditions)
        _channels(self.conditions)

    @staticmethod
    def shape(shape: Shape, pack: int, conditions: Kinds = None) -> tuple[int, ...]:
        """Return the example shape for the inner network, with channels of conditions."""
        channels, *sides = map(int, shape)
        channels += _channels(kinds_of(conditions))
        return pack * channels, *sides

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute scores (n / pack,) for examples x (n, *shape), n a multiple of ``pack``."""
        n = x.shape[0]
        check_condition(condition, self.conditions, n)
        for channels in condition_channels(self.conditions, x, condition):
            channels = channels.unflatten(1, (-1, *[1] * (x.ndim - 2)))
            x = torch.cat([x, channels.expand(-1, -1, *x.shape[2:])], dim=1)
        packs = x.reshape(n // self.pack, self.pack * x.shape[1], *x.shape[2:])
        return self.network(packs, None, None).reshape(n // self.pack)


def _channels(kinds: Mapping[str, ConditionKind]) -> int:
    for name, kind in kinds.items():
        if not kind.channels:
            raise UsageError(
                f'A packed critic does not support the condition "{name}" ({type(kind).__name__}). '
                "Leave out pack."
            )
    return sum(kind.channels for kind in kinds.values())


LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class UnitVectors(nn.Module):
    """Spectral norm of torch's parametrisation, with its two singular vectors rescaled to length 1.

    Weight averages (EMA) shorten them, which would make the norm u W v too small.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = (norm,)  # in a tuple, since the layer already owns it as a module

    def forward(self, weight: Tensor) -> Tensor:
        (norm,) = self.norm
        return weight * (norm.get_buffer("_u").norm() * norm.get_buffer("_v").norm())


class Spectral(nn.Module):
    """Network with a bounded gradient: the largest singular value of each layer is about 1.

    The network is changed in place. Weights that start at zero are redrawn. Leave batch
    normalisation out.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for layer in list(network.modules()):
            if not isinstance(layer, LAYERS):
                continue
            if not layer.weight.any():
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            spectral_norm(layer)
            *_, norm = layer.get_submodule("parametrizations.weight").children()
            register_parametrization(layer, "weight", UnitVectors(norm))

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        return self.network(x, t, condition)


# Levels on either side that share a posterior narrower than `WIDE` spacings; others have below 1e-4
REACH = 4
WIDE = 1.2
DOUBT = -5.0  # log weight of the prior that is the same for all levels
# Initial log standard deviations of the prior's Gaussians: in the middle, and at the highest level
WIDTHS = (0.0, -2.0)
PERIODS = (4, 32)  # levels that a wave of a noisy value spans
# Outputs of the inner network per entry: for each Gaussian a mean, a log standard deviation and a
# logit, and a logit for either end
PARTS = 3 * len(WIDTHS) + 2


class LevelPosterior(nn.Module):
    """Posterior mean of entries with 256 levels given their noisy values, from a network's prior.

    The prior of an entry consists of Gaussians on the levels, extra mass on the outer levels, and a
    little on all. The output is a data prediction; the clock must be ``log_snr``: t = log(sigma /
    alpha) / 4.

    Args:
        network: ``network(x, t, condition)`` on examples of `PARTS` times as many channels.

    References:
        Salimans et al., PixelCNN++ (2017); Kingma et al., Variational Diffusion Models (2021),
        appendix on low noise; Graves et al., Bayesian Flow Networks (2023).
    """

    low: Tensor
    gap: Tensor

    def __init__(self, network: nn.Module, space: Space) -> None:
        super().__init__()
        self.network = network
        self.space = space
        low, high = space.bounds or (torch.tensor(-1.0), torch.tensor(1.0))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("gap", (high - low) / 255, persistent=False)

    def forward(self, x: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """Compute the posterior mean of the data, with the shape and dtype of x.

        Args:
            x: Scaled input x_t / hypot(alpha, sigma), (n, *shape).
            t: Times log(sigma / alpha) / 4, (n,).
            condition: None or a dict of tensors with n examples.
        """
        low = self.low.to(x)
        gap = self.gap.to(x)
        high = low + 255 * gap
        ratio = torch.exp(4 * t).reshape(-1, *[1] * (x.dim() - 1))
        variance = ratio.square()
        noisy = x * torch.sqrt(1 + ratio.square())
        ends = torch.stack([low.expand_as(x), high.expand_as(x)])
        off = (noisy - ends) / ratio
        inside = noisy.clamp(ends[0], ends[1])
        features = [x, *off.clamp(-6, 6) / 3, inside, *_waves(noisy, ratio, gap)]
        output = self.network(torch.cat(features, dim=1), t, condition).to(x.dtype)
        parts = output.unflatten(1, (PARTS, -1)).movedim(1, 0)
        gaussians = len(WIDTHS)
        mean, log_std, favour, outer = parts.split([gaussians, gaussians, gaussians, 2])
        # near the highest level the network gives the distance from there, as bfloat16 would round
        # the mean to a level or more
        mean = mean + torch.stack([torch.zeros_like(x), ends[1]])
        log_std = log_std + torch.tensor(WIDTHS).to(x).reshape(-1, *[1] * x.dim())
        std = torch.exp(log_std.clamp(-6, 2)) + gap / 4
        spread = std.square() + variance
        distance = (noisy - mean) / spread.sqrt()
        slabs = favour - distance.square() / 2 - spread.log() / 2
        spikes = outer - 2 - off.square() / 2 - ratio.log()
        flat = DOUBT - torch.log(255 * gap) + math.log(2 * math.pi) / 2
        flat = flat.expand_as(x)
        weights = torch.softmax(torch.cat([slabs, flat[None], spikes]), dim=0)
        middle = (mean * variance + noisy * std.square()) / spread
        rounded = level_mean(middle, std * ratio / spread.sqrt(), low, gap)
        plain = level_mean(noisy, ratio.expand_as(x), low, gap).clamp(ends[0], ends[1])
        return (weights * torch.cat([rounded, plain[None], ends])).sum(0)


def _waves(noisy: Tensor, ratio: Tensor, gap: Tensor) -> list[Tensor]:
    waves = []
    for period in PERIODS:
        frequency = 2 * math.pi / (period * gap)
        damping = torch.exp(-(ratio * frequency).square() / 2)
        waves.append(damping * torch.sin(noisy * frequency))
        waves.append(damping * torch.cos(noisy * frequency))
    return waves


def level_mean(middle: Tensor, width: Tensor, low: Tensor, gap: Tensor) -> Tensor:
    """Compute the mean of a Gaussian on the levels low + i gap, i = 0 to 255."""
    narrow = width < WIDE * gap
    # most steps of sampling; on a GPU asking would cost more than it saves
    if narrow.device.type == "cpu" and not torch.compiler.is_compiling() and not narrow.any():
        return middle
    place = (middle - low) / gap
    nearest = place.detach().round().clamp(0, 255)
    offsets = torch.arange(-REACH, REACH + 1, device=place.device, dtype=place.dtype)
    offsets = offsets.reshape(-1, *[1] * place.dim())
    tightness = (width / gap).clamp(0.02, WIDE).square().reciprocal() / 2
    # -(nearest + offset - place)^2 tightness, without the term that all offsets share
    linear = offsets * (2 * (place - nearest) * tightness)
    weights = torch.addcmul(linear, -offsets.square(), tightness)
    outside = (offsets < -nearest) | (offsets > 255 - nearest)
    weights = torch.softmax(weights.masked_fill(outside, -torch.inf), dim=0)
    exact = low + gap * (nearest + (weights * offsets).sum(0))
    return torch.where(narrow, exact, middle)
