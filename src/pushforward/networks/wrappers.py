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
from pushforward.data.spaces.table import TableSpace
from pushforward.data.tables.coordinates import Coordinates, gumbel
from pushforward.errors import UsageError
from pushforward.networks.blocks import Condition, Kinds, check_condition, check_input, kinds_of, values_of


class Reshaped(nn.Module):
    """A network on vectors, for examples of any shape: for very small images an MLP learns most per second.

    Args:
        network: A network whose ``inputs`` is the number of entries of x, such as an `MLP`.
        shape: Of one output; () gives one number for each example, as a critic does.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.shape = network, tuple(shape)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        return self.network(x.flatten(1), t, condition).reshape(x.shape[0], *self.shape)


class FourierFeatures(nn.Module):
    """A network on a vector joined by sines and cosines of it, along random directions, of wavelengths from wide to narrow.

    A perceptron learns wide structure long before narrow. For modes a hundredth as wide as the data, a critic learns where they
    are and not how wide, and a generator may shrink in them or circle about their centres unseen. Waves of all scales show both.

    Args:
        network: ``network(features, t, condition)`` on vectors of inputs + 2 waves numbers.
        inputs: Length of x.
        fourier_features: Number of directions; each has its own frequency and gives a sine and a cosine.
        low: The lowest frequency, in radians per model unit.
        high: The highest; those between are spaced geometrically.
        columns: The numbers of x along which directions run; None for all.

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
        self.network, self.inputs, self.fourier_features, self.low, self.high = network, inputs, fourier_features, low, high
        self.columns = None if columns is None else tuple(columns)
        directions = nn.functional.normalize(torch.randn(fourier_features, inputs), dim=1)
        if self.columns is not None:
            seen = torch.zeros(inputs).index_fill(0, torch.tensor(self.columns), 1.0)
            directions = nn.functional.normalize(directions * seen, dim=1)
        frequencies = torch.logspace(math.log10(low), math.log10(high), fourier_features)
        self.register_buffer("frequencies", directions * frequencies[:, None])

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network`` on x (n, inputs), model units, and its waves."""
        check_input(x, (self.inputs,), "a network with Fourier features")
        # an angle of 100 radians in bfloat16 is off by a quarter
        with torch.autocast(x.device.type, enabled=False):
            angles = x @ self.frequencies.to(x.dtype).T
        return self.network(torch.cat([x, angles.sin(), angles.cos()], dim=1), t, condition)


MOST = 16  # Signs that a table may have, one vector for each of their patterns


class SignCodes(nn.Module):
    """A generator that receives z scaled down, and beside it a learned code for the pattern of the signs of its first numbers.

    A continuous map takes connected noise to connected samples: between modes that data keeps apart it must leave bridges, as
    thin as its slope is steep. The signs, fair coins, make it continuous in pieces only, one for each of 2^signs patterns, and
    the pieces can lie apart. A pattern's code starts as the signs themselves and learns alone, so that each piece can leave one
    mode for another without its neighbours. Within a piece z could still decide between two modes and leave a bridge; so it is
    scaled down: the code selects the mode, z the place within it. For its user z stays standard normal: seeds, interpolation and
    truncation mean what they mean elsewhere; a path through z jumps where a sign changes.

    Args:
        network: ``network(z, None, condition)`` for z of latent + signs numbers.
        latent: Length of z.
        sign_codes: How many of its numbers show their signs, at most ``latent`` and 16.
        scale: Factor of z; 1 leaves it unchanged.

    Raises:
        UsageError: For more signs than z has numbers, or than 16.

    References:
        Khayatkhoei, Elgammal, Singh, Disconnected Manifold Learning for GANs (2018), and Tanielian et al., Learning
        Disconnected Manifolds: a No GAN's Land (2020), for what continuity costs; Gurumurthy et al., DeLiGAN (2017), for noise
        from a mixture whose parts are learned.
    """

    powers: Tensor

    def __init__(self, network: nn.Module, latent: int, sign_codes: int, scale: float = 0.3) -> None:
        super().__init__()
        if sign_codes > min(latent, MOST):
            raise UsageError(f"z has {latent} numbers and cannot show {sign_codes} signs; expected at most {min(latent, MOST)}.")
        self.network, self.latent, self.sign_codes, self.scale = network, latent, sign_codes, scale
        self.register_buffer("powers", 2 ** torch.arange(sign_codes), persistent=False)
        patterns = torch.arange(2**sign_codes)[:, None].bitwise_and(self.powers) > 0
        self.codes = nn.Parameter(2.0 * patterns - 1.0)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network`` on ``scale`` z and the code of its signs, for noise x (n, latent)."""
        pattern = ((x[:, : self.sign_codes] > 0) * self.powers).sum(1)
        return self.network(torch.cat([self.scale * x, F.embedding(pattern, self.codes)], dim=1), t, condition)


class Packed(nn.Module):
    """A critic of packs: each ``pack`` consecutive examples are joined on the channel (or feature) axis and get one score.

    Conditions are appended to their examples first, as channels: labels one-hot, numbers standardised, all zero where there are
    none. The inner network is then built without conditions.

    Args:
        network: A critic built for examples of `Packed.shape` and without conditions: ``network(x, None, None)`` gives one number
            per example.
        pack: Examples in a pack, at least 1.
        conditions: Kinds of condition by name; None for an unconditional network.

    Raises:
        UsageError: For a condition that cannot become channels.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018.
    """

    def __init__(self, network: nn.Module, pack: int, conditions: Kinds = None) -> None:
        super().__init__()
        self.network, self.pack = network, pack
        self.conditions = kinds_of(conditions)
        _channels(self.conditions)

    @staticmethod
    def shape(shape: Sequence[int], pack: int, conditions: Kinds = None) -> tuple[int, ...]:
        """The shape of one example that the inner network must be built for.

        Args:
            shape: Shape of one example of the data: (d,), or (channels, height, width).
            pack: Examples in a pack.
            conditions: Kinds of condition by name; None for an unconditional network.

        Returns:
            (pack (d + c),), or (pack (channels + c), height, width), with c channels for conditions.
        """
        return (pack * (int(shape[0]) + _channels(kinds_of(conditions))), *(int(side) for side in shape[1:]))

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n / pack,), one for each pack, of x (n, channels, height, width) or (n, d), n a multiple of ``pack``."""
        n = x.shape[0]
        if t is not None:
            raise UsageError("Got a time t, but a packed critic is built without one. Pass t=None.")
        if x.ndim < 2 or n % self.pack:
            raise UsageError(
                f"Got x of shape {tuple(x.shape)}; expected (n, channels, ...) with n a multiple of pack={self.pack}. "
                "Choose a batch, and parts of it, that packs divide."
            )
        check_condition(condition, self.conditions, n)
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, n, x.device, condition)
            channels = kind.as_channels(values).to(x.dtype)
            channels = channels if null is None else torch.where(null[:, None], 0.0, channels)
            x = torch.cat([x, channels.unflatten(1, (-1, *[1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])], dim=1)
        packs = x.reshape(n // self.pack, self.pack * x.shape[1], *x.shape[2:])
        return self.network(packs, None, None).reshape(n // self.pack)


def _channels(kinds: Mapping[str, ConditionKind]) -> int:
    for name, kind in kinds.items():
        if not kind.channels:
            raise UsageError(f'A packed critic cannot take the condition "{name}" ({type(kind).__name__}); leave pack out.')
    return sum(kind.channels for kind in kinds.values())


LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class UnitVectors(nn.Module):
    """The spectral norm of the library, as if its two singular vectors had length 1.

    They have in training. In an average of a network (EMA) they are averaged too and become shorter, down to a third, where
    the leading direction turns; the norm u W v would be too small by both lengths and the network too steep.

    Args:
        norm: The library's parametrisation of the same weight.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = (norm,)  # in a tuple, since the layer already owns it as a module

    def forward(self, weight: Tensor) -> Tensor:
        return weight * (self.norm[0].get_buffer("_u").norm() * self.norm[0].get_buffer("_v").norm())


class Spectral(nn.Module):
    """A network whose linear layers and convolutions have a largest singular value of about 1, so that its slope is bounded.

    Every weight of a Linear, Conv2d or ConvTranspose2d is divided by its norm as a matrix (outputs, everything else), which
    each call in training mode follows by one step of the power iteration, kept in buffers; a call in evaluation mode changes
    nothing. `torch.func.jvp` and `torch.export` work in both modes. Biases, embeddings, a learned basis and normalisation layers
    stay as they are; leave batch normalisation out.

    A weight that starts at zero, as the last one of a residual block does, has no direction to keep: dividing by its norm
    gives no number, and no later step would correct it. Such weights are drawn again, normal with variance 1 / fan-in, so the
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

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        return self.network(x, t, condition)


class StraightThrough(nn.Module):
    """A generator whose scores and logits become the coordinates of a row: each block is drawn from its logits.

    The first ``latent`` numbers of z are the network's; each further number makes the Gumbel noise of an indicator, so that z
    decides on the row alone. Of logits a and Gumbel numbers g the largest a + g has the probability softmax(a). Forward its
    indicator is exactly 1 and the others of the block 0; backward the gradient is that of softmax((a + g) / temperature).
    Scores of closed columns move to the score of the value that they stand for, and those of atoms and missing values to 0, as
    rows of the table have them; the gradient passes through the former unchanged.

    Args:
        network: ``network(z, None, condition)`` gives scores and logits (n, d) of z (n, latent).
        space: The table's columns.
        latent: Numbers of z that the network receives.
        temperature: That of the gradient, above 0.

    References:
        Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax (2017), section 2.2, "straight-through".
    """

    def __init__(self, network: nn.Module, space: TableSpace, latent: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.network, self.space, self.latent, self.temperature = network, space, latent, temperature
        self.layout = Coordinates(space)

    @staticmethod
    def noise_size(space: TableSpace, latent: int) -> int:
        """Length of z: ``latent``, and a number for each indicator."""
        return latent + sum(stop - start for start, stop in space.blocks)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Rows in model units, (n, d), of noise x (n, `noise_size`)."""
        check_input(x, (self.noise_size(self.space, self.latent),), "a generator of rows")
        out = self.network(x[:, : self.latent], t, condition)
        with torch.autocast(x.device.type, enabled=False):
            return self._rows(out.float(), gumbel(x[:, self.latent :].float()))

    def _rows(self, out: Tensor, noise: Tensor) -> Tensor:
        layout = self.layout
        noisy = (out.index_add(1, layout.indicators, noise) if len(layout.indicators) else out) / self.temperature
        soft = layout.log_shares(noisy).exp()
        rows = layout.chosen(noisy) + (soft - soft.detach()) if len(layout.indicators) else torch.zeros_like(out)
        scores = out[:, layout.scores]
        codes = layout.codes.gather(1, layout.value_of(scores.detach()).T).T
        scores = scores + torch.where(layout.closed, codes - scores, 0.0).detach()
        rows = rows.index_copy(1, layout.scores, layout.gated(rows) * scores)
        return (rows - layout.mean) / layout.std


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
    """The mean of an entry of 256 levels given its noisy value, by Bayes' rule from a network's prior.

    The network receives the whole noisy image and gives each entry a prior: a Gaussian on the levels, extra mass on the
    lowest and the highest (black and white pixels), and a little on all levels, so that a confident wrong prior does not
    outweigh the observation. That prior times the Gaussian likelihood of the entry's own noisy value is the posterior, whose mean
    is returned. So the network need not learn to read a value to a part in a thousand, nor to round to a level, which low noise
    asks for and reduced precision forbids.

    The output is a data prediction, and the clock must be ``log_snr``: t = log(sigma / alpha) / 4 with scaled input.

    Args:
        network: ``network(x, t, condition)`` on examples of `PARTS` times as many channels.
        space: The images' shape, units and bounds.

    References:
        Salimans et al., PixelCNN++ (2017), for mass on the outer levels; Kingma et al., Variational Diffusion Models (2021),
        appendix on low noise; Graves et al., Bayesian Flow Networks (2023), for outputs as distributions over levels.
    """

    low: Tensor
    gap: Tensor

    def __init__(self, network: nn.Module, space: Space) -> None:
        super().__init__()
        self.network, self.space = network, space
        low, high = space.bounds or (torch.tensor(-1.0), torch.tensor(1.0))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("gap", (high - low) / 255, persistent=False)

    def forward(self, x: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        """The posterior mean of the data, shaped and typed like x.

        Args:
            x: x_t / hypot(alpha, sigma), (n, *shape).
            t: log(sigma / alpha) / 4, (n,).
            condition: None or a dict of tensors with n examples.
        """
        low, gap = self.low.to(x), self.gap.to(x)
        ratio = torch.exp(4 * t).reshape(-1, *(1,) * (x.dim() - 1))
        noisy = x * torch.sqrt(1 + ratio.square())
        ends = torch.stack([low.expand_as(x), (low + 255 * gap).expand_as(x)])
        off = (noisy - ends) / ratio
        inner = torch.cat([x, *off.clamp(-6, 6) / 3, noisy.clamp(ends[0], ends[1]), *_waves(noisy, ratio, gap)], dim=1)
        output = self.network(inner, t, condition).to(x.dtype)
        mean, log_std, favour, outer = output.unflatten(1, (PARTS, -1)).movedim(1, 0).split([*[len(WIDTHS)] * 3, 2])
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
    return [torch.exp(-(ratio * turn).square() / 2) * wave(noisy * turn) for turn in turns for wave in (torch.sin, torch.cos)]


def _rounded(middle: Tensor, width: Tensor, low: Tensor, gap: Tensor) -> Tensor:
    """The mean of a Gaussian that lives on levels low + i gap, i = 0 to 255; where it spans many of them, its middle."""
    narrow = width < WIDE * gap
    if narrow.device.type == "cpu" and not torch.compiler.is_compiling() and not narrow.any():
        return middle  # most steps of sampling; elsewhere asking would cost more than it spares
    place = (middle - low) / gap
    nearest = place.detach().round().clamp(0, 255)
    offsets = torch.arange(-REACH, REACH + 1, device=place.device, dtype=place.dtype).reshape(-1, *(1,) * place.dim())
    tightness = (width / gap).clamp(0.02, WIDE).square().reciprocal() / 2
    # -(nearest + offset - place)^2 tightness, less what all offsets share
    weights = torch.addcmul(offsets * (2 * (place - nearest) * tightness), -offsets.square(), tightness)
    outside = (offsets < -nearest) | (offsets > 255 - nearest)
    weights = torch.softmax(weights.masked_fill(outside, -torch.inf), dim=0)
    exact = low + gap * (nearest + (weights * offsets).sum(0))
    return torch.where(narrow, exact, middle)
