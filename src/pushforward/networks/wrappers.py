"""Networks around another one, which widen its input, bound its slope or read its output as a distribution."""

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
    check_condition,
    check_input,
    kinds_of,
    values_of,
)


class Reshaped(nn.Module):
    """Wrapper that applies a network for vectors to examples of any shape. For very small images, an MLP trains fastest.

    Args:
        network: A network whose ``inputs`` is the number of entries of x, such as an `MLP`.
        shape: Shape of one output; () for one number per example, as for a critic.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.shape = network, tuple(shape)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        return self.network(x.flatten(1), t, condition).reshape(x.shape[0], *self.shape)


class FourierFeatures(nn.Module):
    """Network with additional inputs: sines and cosines along random directions, with wavelengths from wide to narrow.

    An MLP learns coarse structure long before fine structure. For modes a hundredth as wide as the
    data, a critic learns their position but not their width, so a generator may shrink them or
    circle around their centres unnoticed. Waves of all scales show both.

    Args:
        network: ``network(features, t, condition)`` on vectors of inputs + 2 waves numbers.
        inputs: Length of x.
        fourier_features: Number of directions; each has its own frequency and gives a sine and a cosine.
        low: Lowest frequency, in radians per model unit.
        high: Highest frequency; frequencies are spaced geometrically.
        columns: Indices of the columns of x that directions use; None for all.

    References:
        Tancik et al., Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains (2020), who draw
        frequencies from a Gaussian: one scale, where modes between which mass must move and modes of some width need many.
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
        directions = nn.functional.normalize(torch.randn(fourier_features, inputs), dim=1)
        if self.columns is not None:
            seen = torch.zeros(inputs).index_fill(0, torch.tensor(self.columns), 1.0)
            directions = nn.functional.normalize(directions * seen, dim=1)
        frequencies = torch.logspace(math.log10(low), math.log10(high), fourier_features)
        self.register_buffer("frequencies", directions * frequencies[:, None])

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Apply ``network`` to x (n, inputs), in model units, and its waves."""
        check_input(x, (self.inputs,), "a network with Fourier features")
        # an angle of 100 radians in bfloat16 is off by a quarter
        with torch.autocast(x.device.type, enabled=False):
            angles = x @ self.frequencies.to(x.dtype).T
        return self.network(torch.cat([x, angles.sin(), angles.cos()], dim=1), t, condition)


MOST = 16  # Signs that a table may have, one vector for each of their patterns


class SignCodes(nn.Module):
    """Generator that receives z scaled down, and a learned code for the sign pattern of the first dimensions of z.

    A continuous map takes connected noise to connected samples, so it leaves bridges between
    separate modes. Signs make the map piecewise continuous, with one piece for each of 2^signs
    patterns, and pieces can be separate. The code of a pattern starts as the signs themselves and
    is trained independently, so each piece can move to another mode without its neighbours. z is
    scaled down so that the code selects the mode, and z the position within it. For users, z stays
    standard normal: seeds, interpolation and truncation work as usual, but a path through z jumps
    where a sign changes.

    Args:
        network: ``network(z, None, condition)`` for z of latent + signs numbers.
        latent: Length of z.
        sign_codes: Number of entries of z whose signs are used, at most ``latent`` and 16.
        scale: Factor applied to z; 1 leaves z unchanged.

    Raises:
        UsageError: If there are more signs than entries of z, or more than 16.

    References:
        Khayatkhoei, Elgammal, Singh, Disconnected Manifold Learning for GANs (2018), and Tanielian et al., Learning
        Disconnected Manifolds: a No GAN's Land (2020), for what continuity costs; Gurumurthy et al., DeLiGAN (2017), for noise
        from a mixture whose parts are learned.
    """

    powers: Tensor

    def __init__(
        self, network: nn.Module, latent: int, sign_codes: int, scale: float = 0.3
    ) -> None:
        super().__init__()
        if sign_codes > min(latent, MOST):
            raise UsageError(
                f"{sign_codes} sign codes do not fit into a z of {latent} numbers. Use at most {min(latent, MOST)}."
            )
        self.network = network
        self.latent = latent
        self.sign_codes = sign_codes
        self.scale = scale
        self.register_buffer("powers", 2 ** torch.arange(sign_codes), persistent=False)
        patterns = torch.arange(2**sign_codes)[:, None].bitwise_and(self.powers) > 0
        self.codes = nn.Parameter(2.0 * patterns - 1.0)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Apply ``network`` to ``scale`` z and the code of its signs, for noise x (n, latent)."""
        pattern = ((x[:, : self.sign_codes] > 0) * self.powers).sum(1)
        return self.network(
            torch.cat([self.scale * x, F.embedding(pattern, self.codes)], dim=1), t, condition
        )


class Packed(nn.Module):
    """Critic of packs: concatenates ``pack`` consecutive examples along the channel (or feature) axis and returns one score.

    Conditions are first appended to the examples as channels: one-hot labels, standardised numbers,
    all zero for unconditional examples. The inner network is then built without conditions.

    Args:
        network: A critic built for examples of `Packed.shape` and without conditions: ``network(x,
            None, None)`` returns one number per example.
        pack: Number of examples in a pack, at least 1.
        conditions: Kinds of condition by name; None for an unconditional network.

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
    def shape(shape: Sequence[int], pack: int, conditions: Kinds = None) -> tuple[int, ...]:
        """Return the example shape that the inner network must be built for.

        Args:
            shape: Shape of one data example: (d,), or (channels, height, width).
            pack: Number of examples in a pack.
            conditions: Kinds of condition by name; None for an unconditional network.

        Returns:
            (pack (d + c),), or (pack (channels + c), height, width), with c channels for conditions.
        """
        return (
            pack * (int(shape[0]) + _channels(kinds_of(conditions))),
            *(int(side) for side in shape[1:]),
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute scores (n / pack,), one per pack, for x (n, channels, height, width) or (n, d), n a multiple of ``pack``."""
        n = x.shape[0]
        if t is not None:
            raise UsageError("Got a time t, but packed critics take none. Pass t=None.")
        if x.ndim < 2 or n % self.pack:
            raise UsageError(
                f"Got x of shape {tuple(x.shape)}; expected (n, channels, ...) with n a multiple of pack={self.pack}. "
                "Choose a batch size and micro-batch size divisible by pack."
            )
        check_condition(condition, self.conditions, n)
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, n, x.device, condition)
            channels = kind.as_channels(values).to(x.dtype)
            if null is not None:
                channels = torch.where(null[:, None], 0.0, channels)
            x = torch.cat(
                [x, channels.unflatten(1, (-1, *[1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])],
                dim=1,
            )
        packs = x.reshape(n // self.pack, self.pack * x.shape[1], *x.shape[2:])
        return self.network(packs, None, None).reshape(n // self.pack)


def _channels(kinds: Mapping[str, ConditionKind]) -> int:
    for name, kind in kinds.items():
        if not kind.channels:
            raise UsageError(
                f'A packed critic does not support the condition "{name}" ({type(kind).__name__}). Leave out pack.'
            )
    return sum(kind.channels for kind in kinds.values())


LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class UnitVectors(nn.Module):
    """Spectral norm of torch's parametrisation, with its two singular vectors rescaled to length 1.

    They have length 1 in training. In an averaged network (EMA) they are averaged too and become
    shorter, down to a third, when the leading direction turns. The norm u W v would then be too
    small and the network too steep.

    Args:
        norm: torch's parametrisation of the same weight.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = (norm,)  # in a tuple, since the layer already owns it as a module

    def forward(self, weight: Tensor) -> Tensor:
        return weight * (
            self.norm[0].get_buffer("_u").norm() * self.norm[0].get_buffer("_v").norm()
        )


class Spectral(nn.Module):
    """Network with a bounded gradient: the largest singular value of each linear layer and convolution is about 1.

    Every weight of a Linear, Conv2d or ConvTranspose2d is divided by its norm as a matrix (outputs,
    everything else), which each call in training mode updates by one step of power iteration, kept
    in buffers. Calls in evaluation mode change nothing. `torch.func.jvp` and `torch.export` work in
    both modes. Biases, embeddings, a learned basis and normalisation layers are unchanged. Leave
    batch normalisation out.

    A weight that starts at zero, such as the last weight of a residual block, cannot be divided by
    its norm. Such weights are redrawn from a normal distribution with variance 1 / fan-in, so the
    branch starts at norm 1 like all others.

    Args:
        network: The network, changed in place.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for layer in [module for module in network.modules() if isinstance(module, LAYERS)]:
            if not layer.weight.any():
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            spectral_norm(layer)
            norm = list(layer.get_submodule("parametrizations.weight").children())[-1]
            register_parametrization(layer, "weight", UnitVectors(norm))

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        return self.network(x, t, condition)


# Levels on either side that share a posterior narrower than `WIDE` spacings; the rest have less than 1e-4 of it
REACH = 4
WIDE = 1.2
DOUBT = -5.0  # The log weight of the prior that is the same for all levels
# The log standard deviations of the prior's Gaussians at the start: one in the middle of the data, one at the highest level
WIDTHS = (0.0, -2.0)
PERIODS = (4, 32)  # Levels that a wave of a noisy value spans
# Numbers that the inner network gives for each entry: for each Gaussian a mean, a log standard deviation and a
# logit, and a logit for either end.
PARTS = 3 * len(WIDTHS) + 2


class LevelPosterior(nn.Module):
    """Posterior mean of entries with 256 levels given their noisy values, by Bayes' rule from a network's prior.

    The network receives the whole noisy image and gives each entry a prior: a Gaussian on the
    levels, extra mass on the lowest and the highest (black and white pixels), and a little on all
    levels, so that a confident wrong prior does not outweigh the observation. That prior times the
    Gaussian likelihood of the entry's own noisy value is the posterior, whose mean is returned. So
    the network need not learn values to a part in a thousand, or rounding to levels, which low
    noise requires and reduced precision does not allow.

    The output is a data prediction, and the clock must be ``log_snr``: t = log(sigma / alpha) / 4 with scaled input.

    Args:
        network: ``network(x, t, condition)`` on examples of `PARTS` times as many channels.
        space: Shape, units and bounds of the images.

    References:
        Salimans et al., PixelCNN++ (2017), for mass on the outer levels; Kingma et al., Variational Diffusion Models (2021),
        appendix on low noise; Graves et al., Bayesian Flow Networks (2023), for outputs as distributions over levels.
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

    def forward(self, x: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        """Compute the posterior mean of the data, with the shape and dtype of x.

        Args:
            x: Scaled input x_t / hypot(alpha, sigma), (n, *shape).
            t: Times log(sigma / alpha) / 4, (n,).
            condition: None or a dict of tensors with n examples.
        """
        low = self.low.to(x)
        gap = self.gap.to(x)
        ratio = torch.exp(4 * t).reshape(-1, *(1,) * (x.dim() - 1))
        noisy = x * torch.sqrt(1 + ratio.square())
        ends = torch.stack([low.expand_as(x), (low + 255 * gap).expand_as(x)])
        off = (noisy - ends) / ratio
        inner = torch.cat(
            [x, *off.clamp(-6, 6) / 3, noisy.clamp(ends[0], ends[1]), *_waves(noisy, ratio, gap)],
            dim=1,
        )
        output = self.network(inner, t, condition).to(x.dtype)
        mean, log_std, favour, outer = (
            output.unflatten(1, (PARTS, -1)).movedim(1, 0).split([*[len(WIDTHS)] * 3, 2])
        )
        # near the highest level a mean in bfloat16 would be rounded to a level or more; its distance from there is not
        mean = mean + torch.stack([torch.zeros_like(x), ends[1]])
        log_std = log_std + torch.tensor(WIDTHS).to(x).reshape(-1, *(1,) * x.dim())
        std = torch.exp(log_std.clamp(-6, 2)) + gap / 4
        spread = std.square() + ratio.square()
        slabs = favour - ((noisy - mean) / spread.sqrt()).square() / 2 - spread.log() / 2
        spikes = outer - 2 - off.square() / 2 - ratio.log()
        flat = (DOUBT - torch.log(255 * gap) + math.log(2 * math.pi) / 2).expand_as(x)
        share = torch.softmax(torch.cat([slabs, flat[None], spikes]), dim=0)
        middle = (mean * ratio.square() + noisy * std.square()) / spread
        rounded = _rounded(middle, std * ratio / spread.sqrt(), low, gap)
        plain = _rounded(noisy, ratio.expand_as(x), low, gap).clamp(ends[0], ends[1])
        return (share * torch.cat([rounded, plain[None], ends])).sum(0)


def _waves(noisy: Tensor, ratio: Tensor, gap: Tensor) -> list[Tensor]:
    """Sines and cosines of a noisy value, damped to their mean given the noise: its finer digits, which bfloat16 drops."""
    turns = [2 * math.pi / (period * gap) for period in PERIODS]
    return [
        torch.exp(-(ratio * turn).square() / 2) * wave(noisy * turn)
        for turn in turns
        for wave in (torch.sin, torch.cos)
    ]


def _rounded(middle: Tensor, width: Tensor, low: Tensor, gap: Tensor) -> Tensor:
    """The mean of a Gaussian that lives on levels low + i gap, i = 0 to 255; where it spans many of them, its middle."""
    narrow = width < WIDE * gap
    if narrow.device.type == "cpu" and not torch.compiler.is_compiling() and not narrow.any():
        return middle  # most steps of sampling; elsewhere asking would cost more than it spares
    place = (middle - low) / gap
    nearest = place.detach().round().clamp(0, 255)
    offsets = torch.arange(-REACH, REACH + 1, device=place.device, dtype=place.dtype).reshape(
        -1, *(1,) * place.dim()
    )
    tightness = (width / gap).clamp(0.02, WIDE).square().reciprocal() / 2
    # -(nearest + offset - place)^2 tightness, less what all offsets share
    weights = torch.addcmul(
        offsets * (2 * (place - nearest) * tightness), -offsets.square(), tightness
    )
    outside = (offsets < -nearest) | (offsets > 255 - nearest)
    weights = torch.softmax(weights.masked_fill(outside, -torch.inf), dim=0)
    exact = low + gap * (nearest + (weights * offsets).sum(0))
    return torch.where(narrow, exact, middle)
