"""Parts of networks: sizes, places, resampling, modulation, times and embeddings."""

from __future__ import annotations

import pytest
import torch
from programs.small_networks import LATENT, awaken, critic, dit, encoder, unet
from torch import nn
from torch.nn import functional as F

from pushforward.networks import (
    Critic,
    DiT,
    Encoder,
    UNet,
)
from pushforward.networks.blocks import Resample, attend, doubling, halving
from pushforward.networks.embedding import Modulation, films_of, modulate


@pytest.mark.parametrize("build", [unet, dit, critic, encoder])
def test_odd_sizes_equal_hand_padded_even_sizes(build):
    """A network for 5 x 3 equals the same weights on the hand-padded image, cropped at the top left."""
    odd, even = (2, 5, 3), (2, 8, 4)
    if build is critic or build is encoder:
        options = {"stem": 4, "width": 8}
        options |= {"blocks": 1} if build is critic else {"latent": LATENT}
        kind = Critic if build is critic else Encoder
        small, large = kind(odd, **options), kind(even, **options)
        x, t = torch.randn(4, *odd), None
    else:
        options = {"stem": 4} if build is unet else {"patch": 4, "depth": 2}
        kind = UNet if build is unet else DiT
        options |= {"heads": 2} | ({"blocks": 1, "widths": (8,)} if build is unet else {"width": 8})
        small, large = kind(odd, **options), kind(even, **options)
        x, t = torch.randn(4, *odd), torch.rand(4)
    awaken(small)
    large.load_state_dict(small.state_dict())
    rows = [0, 1, 2, 3, 4, 4, 4, 4]
    padded = x[:, :, rows][:, :, :, [0, 1, 2, 2]]
    expected = large(padded, t)
    if expected.ndim == 4:
        expected = expected[:, :, :5, :3]
    torch.testing.assert_close(small(x, t), expected)


def test_tokens_know_their_place():
    """Without positions a transformer would answer to exchanged patches with exchanged answers."""
    network = awaken(DiT((1, 4, 8), patch=4, width=8, depth=1, heads=2).double())
    x, t = torch.randn(3, 1, 4, 8).double(), torch.rand(3).double()
    assert (network(x.roll(4, 3), t) - network(x, t).roll(4, 3)).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(7, 5), (8, 6), (1, 2), (4, 9)])
def test_resampling_is_the_kernel_1_2_1(size):
    height, width = size
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    kernel = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    smooth = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel / 16, groups=3)
    halve = Resample(halving(height), halving(width)).double()
    torch.testing.assert_close(halve(x), smooth[:, :, ::2, ::2])

    coarse = halve(x)
    double = Resample(doubling(height), doubling(width)).double()
    spread = torch.zeros(2, 3, 2 * coarse.shape[2] + 1, 2 * coarse.shape[3] + 1, dtype=torch.float64)
    edge = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    spread[:, :, ::2, ::2] = edge
    expected = F.conv2d(F.pad(spread, (1, 1, 1, 1)), kernel / 4, groups=3)[:, :, :height, :width]
    torch.testing.assert_close(double(coarse), expected)


def test_modulation_and_attention_are_their_formulas():
    h, scale, shift = torch.randn(3, 4, 2, 5), torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(modulate(h, (scale, shift)), h * scale[:, :, None, None] + shift[:, :, None, None])
    torch.testing.assert_close(modulate(h[:, :, 0, 0], (scale, shift)), h[:, :, 0, 0] * scale + shift)
    assert modulate(h, None) is h
    modulation = Modulation.films(6, [2, 3])
    nn.init.zeros_(modulation.linear.weight)
    for (scale, shift), width in zip(films_of(modulation, torch.randn(4, 6), 2), (2, 3), strict=True):
        assert torch.equal(scale, torch.ones(4, width))
        assert torch.equal(shift, torch.zeros(4, width))
    q, k, v = torch.randn(3, 2, 2, 7, 4).unbind(0)
    expected = torch.softmax(torch.einsum("nhid,nhjd->nhij", q, k) / 2, -1) @ v
    torch.testing.assert_close(attend(q, k, v), expected)
    torch.testing.assert_close(attend(q.bfloat16(), k.bfloat16(), v.bfloat16()).float(), expected, rtol=0.05, atol=0.05)
