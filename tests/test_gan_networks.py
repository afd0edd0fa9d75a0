"""Critics and generators of the adversarial family: slopes, sizes, labels and specs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs.critics import CLASSES, dcgan, generator, labels, layers, residual, textbook, unnormalised
from programs.small_networks import awaken
from torch import Tensor, nn

from pushforward.networks import (
    DCGANCritic,
    DCGANGenerator,
    ProjectionHead,
    TextbookCritic,
    TextbookGenerator,
    parameter_count,
)
from pushforward.testing import class_labels

SHAPES = [(1, 8, 8), (3, 13, 21), (1, 28, 28), (17,)]


CRITICS = (textbook, dcgan, unnormalised, residual)
CASES = [
    pytest.param(make, shape, id=f"{make.__name__}-{'x'.join(map(str, shape))}")
    for make in CRITICS
    for shape in SHAPES
    if len(shape) == 3 or make is textbook
]

# Projection


def test_labels_speak_by_projection():
    head = ProjectionHead(6, class_labels(CLASSES)).double()
    features, condition = torch.randn(5, 6, dtype=torch.float64), labels(5)
    table = head.conditioning.embeddings.label.table.weight
    labelled, free = head(features, None, condition), head(features)
    torch.testing.assert_close(free, head.linear(features)[:, 0] + features @ table[CLASSES])
    torch.testing.assert_close(labelled - free, (features * (table[condition["label"]] - table[CLASSES])).sum(1))
    torch.testing.assert_close(head(features, None, {**condition, "label_null": torch.ones(5) > 0}), free)
    torch.testing.assert_close(ProjectionHead(6)(features.float()).shape, torch.Size([5]))


@pytest.mark.parametrize("make", [textbook, unnormalised])
def test_what_a_label_adds_is_linear_in_the_features(make):
    network = awaken(make((2, 6, 9), conditions=class_labels(CLASSES))).double()
    seen = []
    network.leave.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(40, 2, 6, 9).double()
    first_class = {"label": torch.ones(40, dtype=torch.int64)}
    gain = network(x, None, first_class) - network(x)
    table = network.leave.conditioning.embeddings.label.table.weight
    torch.testing.assert_close(gain, seen[0] @ (table[1] - table[CLASSES]))
    assert gain.std() > 1e-3


# The networks themselves


@pytest.mark.parametrize("deviation", [0, 2])
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_gradient_penalty_equals_difference(make, shape, deviation):
    """The derivative of sum |grad score|^2 along a direction of the weights, in training mode."""
    network = awaken(make(shape, conditions=class_labels(CLASSES), minibatch_std=deviation), 0.05).double()
    x, condition = torch.randn(5, *shape, dtype=torch.float64, requires_grad=True), labels(5)
    weights = list(network.parameters())
    direction = [torch.randn_like(weight) for weight in weights]

    def penalty() -> Tensor:
        scores = network(x, None, condition)
        assert scores.shape == (5,)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return slope.square().sum()

    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True, materialize_grads=True)
    derivative = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True))

    def moved(step: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(weights, direction, alpha=step)
        value = penalty().item()
        with torch.no_grad():
            torch._foreach_add_(weights, direction, alpha=-step)
        return value

    difference = (moved(1e-9) - moved(-1e-9)) / 2e-9
    assert abs(derivative) > 1e-6
    assert derivative == pytest.approx(difference, rel=1e-4, abs=1e-5)


def test_dcgan_of_64_pixels_is_the_published_one():
    network, critic = DCGANGenerator((3, 64, 64)), DCGANCritic((3, 64, 64))
    kernels = [tuple(w.shape) for w in [g.weight for g in network.grow] + [network.leave.weight]]
    assert network.enter.weight.shape == (512 * 4 * 4, 100)
    assert kernels == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert [tuple(m.weight.shape[:2]) for m in layers(critic)] == [(64, 3), (128, 64), (256, 128), (512, 256), (1, 512 * 16)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in critic.modules()) == 3
    assert [tuple(m.weight.shape[:2]) for m in layers(dcgan((1, 8, 8)))] == [(6, 1), (12, 6), (1, 12 * 4)]
    for layer in layers(network) + layers(critic):
        spread = 5 * 0.02 / np.sqrt(2 * layer.weight.numel())
        assert layer.weight.std().item() == pytest.approx(0.02, abs=spread)
        assert layer.bias is None or layer.bias.abs().max() == 0


def test_odd_sizes_are_cropped_and_padded():
    odd, even = (2, 13, 21), (2, 16, 24)
    small, large = generator(odd).eval(), generator(even).eval()
    large.load_state_dict(awaken(small).state_dict())
    z = torch.randn(4, 5)
    assert torch.equal(small(z), large(z)[:, :, :13, :21])
    small, large = dcgan(odd).eval(), dcgan(even).eval()
    large.load_state_dict(awaken(small).state_dict())
    x = torch.randn(4, *odd)
    rows, columns = [*range(13), 12, 12, 12], [*range(21), 20, 20, 20]
    torch.testing.assert_close(small(x), large(x[:, :, rows][:, :, :, columns]))


def test_textbook_pair_is_its_formula():
    network, critic = TextbookGenerator((1, 28, 28)), TextbookCritic((1, 28, 28))
    z, x = torch.randn(3, 100), torch.randn(3, 1, 28, 28)
    a, b = network.enter, network.leave
    hidden = (z @ a.weight.T + a.bias).clamp(min=0)
    torch.testing.assert_close(network(z), (hidden @ b.weight.T + b.bias).reshape(3, 1, 28, 28))
    hidden = x.flatten(1) @ critic.enter.weight.T + critic.enter.bias
    hidden = torch.maximum(hidden, 0.2 * hidden)
    torch.testing.assert_close(critic(x), hidden @ critic.leave.linear.weight[0] + critic.leave.linear.bias)
    assert parameter_count(network) == 101 * 256 + 257 * 784
    assert parameter_count(critic) == 785 * 256 + 257
