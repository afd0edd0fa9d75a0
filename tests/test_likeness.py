"""How alike samples are to a denoiser: the distance of its own features, and the loss of a distillation that it is part of."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pushforward as pf
from pushforward.data import Batch, ImageSpace
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.draws import BlockDraws
from pushforward.methods import Distillation, Now
from pushforward.methods.perceptual_distance import Likeness
from pushforward.networks import UNet
from pushforward.paths import VP, Linear

SPACE = ImageSpace((1, 8, 8), mean=(0.0,), std=(1.0,))


class Same(nn.Module):
    """A network whose features are its inputs."""

    def features(self, x, t=None, condition=None):
        return [x, (1 + t[:, None, None, None]) * x]


@pytest.mark.parametrize("path", [Linear(), VP()], ids=lambda path: type(path).__name__)
def test_the_distance_is_that_of_normalised_features_of_equally_noised_images(path):
    denoiser = Denoiser(Same(), path, "noise", SPACE, preconditioning=Preconditioning(scale_input=True))
    x, y, noise = torch.randn(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    at = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.4])
    distance = Likeness().distance(denoiser, (x, y), (at, noise), None)
    share = at[:, None, None, None]
    # noise of the straight path, in the scale of unit variance that a network receives on any path; its norm drops the scale
    given, wanted = (F.group_norm((1 - share) * image + share * noise, 1, eps=0.0) for image in (x, y))
    torch.testing.assert_close(distance, (given - wanted).square().flatten(1).mean(1), rtol=2e-3, atol=1e-4)
    assert Likeness().distance(denoiser, (x, x.clone()), (at, noise), None).abs().max() == 0


def test_features_of_a_unet_are_its_levels_and_its_middle():
    network = UNet((1, 8, 8), widths=(16, 32), blocks=1)
    x, t, seen = torch.randn(2, 1, 8, 8), torch.rand(2), []
    for level in (*network.down, network.middle):
        level.register_forward_hook(lambda module, given, output: seen.append(output))
    with torch.no_grad():
        network(x, t)
        features = network.features(x, t)
    assert [tuple(h.shape) for h in features] == [(2, 16, 8, 8), (2, 32, 4, 4)]
    assert all(torch.equal(a, b) for a, b in zip(features, seen[:2], strict=True))


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    network = UNet((1, 8, 8), widths=(16, 32), blocks=1, heads=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return pf.Flow(Denoiser(network, Linear(), "velocity", SPACE, unconditional=False), "euler", 4)


def test_only_jumps_to_data_are_compared_and_the_weight_is_that_of_their_loss(teacher):
    usual = pf.recipes.distil(SPACE, teacher=teacher, trajectories=16, teacher_steps=4).method
    assert isinstance(usual, Distillation)
    assert usual.likeness == Likeness(2.0)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    def loss(likeness):
        usual.likeness = likeness
        now = Now(BlockDraws(0, 0, 64), 0, 0.0)
        ((_, value),) = usual.losses(Batch(x), now)
        return value.detach(), now.notes

    none, alone = loss(None)
    single, notes = loss(Likeness(1.0))
    double, _ = loss(Likeness(2.0))
    assert "unlikeness" not in alone
    assert float(notes["unlikeness"]) > 0
    torch.testing.assert_close(double - none, 2 * (single - none))
    assert float(single - none) > 1e-3
    usual.trajectories.draw = _inside(usual.trajectories.draw)
    torch.testing.assert_close(loss(Likeness(1.0))[0], loss(None)[0], rtol=0, atol=0)


def _inside(draw):
    """Pairs of times of which none ends at the data."""

    def drawn(draws):
        (x_t, t), (x_s, s), condition = draw(draws)
        return (x_t, t + 0.001), (x_s, s + 0.0005), condition

    return drawn
