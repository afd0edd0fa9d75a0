"""Critics that see groups and packs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs.critics import CLASSES, labels, residual, textbook, unnormalised
from programs.small_networks import awaken
from torch import Tensor

from pushforward.networks import (
    MLP,
    Packed,
    Reshaped,
    TextbookCritic,
)
from pushforward.networks.blocks import append_minibatch_std
from pushforward.testing import class_labels

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


def test_deviation_of_known_groups():
    """Rows at +a and -a deviate by a; equal rows, and rows alone, by exactly nothing."""
    h = torch.tensor([3.0, 1.0, 7.0, 7.0, 5.0])[:, None].expand(5, 4) * torch.tensor([1.0, -1.0, 1.0, -1.0])
    torch.testing.assert_close(append_minibatch_std(h, 2)[:, 4], torch.tensor([1.0, 1, 0, 0, 0]), rtol=0, atol=2e-4)
    assert torch.equal(append_minibatch_std(h, 2)[2:, 4], torch.zeros(3))
    assert torch.equal(append_minibatch_std(h, 1)[:, 4], torch.zeros(5))
    assert append_minibatch_std(h[:0], 2).shape == (0, 5)
    h = torch.tensor([64, 64.5, 64, 65])[:, None].expand(4, 3)  # exact in bfloat16, their mean is not
    low = append_minibatch_std(h.bfloat16(), 4)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), append_minibatch_std(h, 4), rtol=0.005, atol=0)


def test_deviation_has_derivatives_at_zero():
    h = torch.full((5, 2), 0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: append_minibatch_std(h, 4), h, eps=1e-8, atol=1e-4)
    (slope,) = torch.autograd.grad(append_minibatch_std(h, 4)[:, 2].square().sum(), h, create_graph=True)
    (curve,) = torch.autograd.grad((slope * torch.randn_like(slope)).sum(), h)
    assert slope.abs().max() == 0
    assert curve.isfinite().all()
    assert torch.autograd.gradgradcheck(lambda h: 1e-4 * append_minibatch_std(h, 4), h, eps=1e-8, atol=1e-3)


@pytest.mark.parametrize("make", [textbook, unnormalised, residual])
def test_critics_with_deviation_see_their_group_alone(make):
    network = awaken(make((2, 6, 9), minibatch_std=3), 0.2).double()
    x = torch.randn(8, 2, 6, 9).double()
    moved = x.clone()
    moved[4] += 1.0
    change = (network(moved) - network(x)).abs()
    assert change[3:6].min() > 1e-6
    assert change[[0, 1, 2, 6, 7]].max() == 0
    with torch.no_grad():  # alone, a row sees no deviation, whatever the weight it has
        alone = network(x[:1])
        plain = make((2, 6, 9)).double()
        state = network.state_dict()
        for name, value in plain.state_dict().items():
            value.copy_(cut(state[name], value.shape))
    torch.testing.assert_close(plain(x[:1]), alone)


def cut(weight: Tensor, shape: torch.Size) -> Tensor:
    """Leave out the weights of the last channel, which a head with deviation has more."""
    if weight.shape == shape:
        return weight
    return weight[tuple(slice(side) for side in shape)]


def test_without_deviation_the_residual_critic_is_what_it_was():
    torch.manual_seed(3)
    without = residual((2, 6, 9), conditions=class_labels(CLASSES)).state_dict()
    torch.manual_seed(3)
    with_it = residual((2, 6, 9), conditions=class_labels(CLASSES), minibatch_std=4).state_dict()
    assert list(without) == list(with_it)
    changed = [name for name in without if without[name].shape != with_it[name].shape]
    assert changed == ["basis", "leave.weight"]
    drawn_before = list(without)[list(without).index("basis") + 1 :]
    assert all(torch.equal(without[n], with_it[n]) for n in without if n not in changed and n not in drawn_before)


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


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,)])
def test_labels_stay_with_their_rows(shape):
    assert Packed.shape(shape, 2, class_labels(CLASSES)) == (2 * (shape[0] + CLASSES), *shape[1:])
    inner = awaken(TextbookCritic(Packed.shape(shape, 2, class_labels(CLASSES)), width=8))
    packed = Packed(inner, 2, class_labels(CLASSES))
    x, chosen = torch.randn(4, *shape), [2, 0, 1, 2]
    null = torch.tensor([False, True, False, False])
    labelled = []
    for i in range(4):
        hot = torch.zeros(CLASSES, *shape[1:])
        if not null[i]:
            hot[chosen[i]] = 1
        labelled.append(torch.cat([x[i], hot]))
    joined = torch.stack([torch.cat(labelled[:2]), torch.cat(labelled[2:])])
    condition = {"label": torch.tensor(chosen), "label_null": null}
    torch.testing.assert_close(packed(x, None, condition), inner(joined))
    torch.testing.assert_close(packed(x), packed(x, None, {"label": torch.tensor(chosen), "label_null": torch.ones(4) > 0}))
    torch.testing.assert_close(packed(x, None, {}), packed(x))
    exchanged = packed(x, None, {"label": torch.tensor([0, 2, 1, 2])}) - packed(x, None, {"label": torch.tensor(chosen)})
    assert exchanged[0].abs() > 1e-4
    assert exchanged[1] == 0


def test_packs_take_critics_of_one_column_and_of_flattened_images():
    vectors = Packed(MLP(*Packed.shape((4,), 2), 1, width=8, depth=2, times=0), 2)
    assert vectors(torch.randn(6, 4)).shape == (3,)
    shape = Packed.shape((2, 3, 5), 2, class_labels(CLASSES))
    images = Packed(Reshaped(MLP(int(np.prod(shape)), 1, width=8, depth=2, times=0), ()), 2, class_labels(CLASSES))
    assert images(torch.randn(6, 2, 3, 5), None, labels(6)).shape == (3,)
