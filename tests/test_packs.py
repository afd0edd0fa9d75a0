"""Critics that see groups and packs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs.critics import residual, textbook, unnormalised
from programs.small_networks import awaken

from pushforward.networks import (
    Packed,
    TextbookCritic,
)
from pushforward.networks.blocks import append_minibatch_std

# The deviation of groups


@pytest.mark.parametrize(("n", "group"), [(8, 4), (10, 4), (3, 4), (7, 1), (6, 2)])
@pytest.mark.parametrize("sides", [(), (2, 3)])
def test_deviation_equals_a_loop(n, group, sides):
    h = torch.randn(n, 5, *sides, dtype=torch.float64) * torch.logspace(-5, 1, 5, dtype=torch.float64).view(
        5, *[1 for _ in sides]
    )
    result = append_minibatch_std(h, group)
    assert result.shape == (n, 6, *sides)
    assert torch.equal(result[:, :5], h)
    rows = h.numpy().reshape(n, -1)
    for start in range(0, n, group):
        s = rows[start : start + group].std(axis=0)
        smooth = np.mean(np.sqrt(s**2 + 1e-8) - 1e-4)
        for row in range(start, min(start + group, n)):
            channel = result[row, 5].numpy()
            np.testing.assert_allclose(channel, np.full(sides, smooth), rtol=1e-9, atol=1e-13)
            assert np.mean(s) - 1e-4 <= channel.min() <= channel.max() <= np.mean(s)


@pytest.mark.parametrize("make", [textbook, unnormalised, residual])
def test_critics_with_deviation_see_their_group_alone(make):
    network = awaken(make((2, 6, 9), minibatch_std=3), 0.2).double()
    x = torch.randn(8, 2, 6, 9).double()
    moved = x.clone()
    moved[4] += 1.0
    change = (network(moved) - network(x)).abs()
    assert change[3:6].min() > 1e-6
    assert change[[0, 1, 2, 6, 7]].max() == 0


# Packs


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,)])
def test_packs_are_rows_joined_by_hand(shape):
    inner = awaken(TextbookCritic(Packed.shape(shape, 3), width=8))
    assert Packed.shape(shape, 3) == (3 * shape[0], *shape[1:])
    packed = Packed(inner, 3)
    x = torch.randn(6, *shape)
    joined = torch.stack([torch.cat([x[0], x[1], x[2]]), torch.cat([x[3], x[4], x[5]])])
    scores = packed(x)
    assert scores.shape == (2,)
    torch.testing.assert_close(scores, inner(joined))
    partner = x.clone()
    partner[4] += 1
    assert (packed(partner) - scores)[0] == 0
    assert (packed(partner) - scores)[1].abs() > 1e-4
    exported = torch.export.export(packed, (x,), strict=False).module()
    torch.testing.assert_close(exported(x), scores)
