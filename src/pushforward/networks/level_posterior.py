"""The posterior mean of images of 256 levels: a network's prior of each value, times the likelihood of its noisy value."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.networks.embedding import Condition

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
        noisy = x * torch.hypot(torch.ones_like(ratio), ratio)
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
