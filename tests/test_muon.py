"""Muon in batches: PyTorch's updates, fewer products, and the closed form in float32."""

import pytest
import torch
from torch import nn

from pushforward.training.loop import optimizers as muon
from pushforward.training.loop.optimizers import Muon, orthogonalise

SHAPES = [(40, 90), (40, 90), (96, 33), (33, 96), (96, 33), (64, 64), (40, 90), (35, 300)]


def matrices(seed=0):
    random = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]


def gradients(seed):
    """A gradient for each matrix, of sizes that differ by decades."""
    random = torch.Generator().manual_seed(100 + seed)
    values = []
    for index, shape in enumerate(SHAPES):
        gradient = torch.randn(shape, generator=random)
        values.append(gradient * 10.0 ** (index - 4))
    return values


def steps(parameters, optimizer, without):
    """How three steps move each matrix, one of which has no gradient."""
    moves = []
    for seed in range(3):
        for parameter, gradient in zip(parameters, gradients(seed), strict=True):
            parameter.grad = gradient
        parameters[without].grad = None
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer.step()
        for parameter, old in zip(parameters, before, strict=True):
            moves.append(parameter.detach() - old)
    return moves


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_are_those_of_pytorch_one_matrix_at_a_time(decay, monkeypatch):
    monkeypatch.setattr(muon, "has_bfloat16", lambda: True)
    mine = matrices()
    theirs = matrices()
    own = Muon(mine, lr=0.02, weight_decay=decay)
    reference = torch.optim.Muon(
        theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
    )
    moves = steps(mine, own, without=2)
    expected = steps(theirs, reference, without=2)
    for move, known in zip(moves, expected, strict=True):
        error = (move - known).norm()
        assert error <= 1e-6 * known.norm()
    for a, b in zip(mine, theirs, strict=True):  # checkpoints of either are read by the other
        torch.testing.assert_close(own.state[a], reference.state[b], rtol=0, atol=0)


def from_singular_values(u, s, vh):
    return u @ torch.diag_embed(s) @ vh


@pytest.mark.parametrize("shape", [(3, 40, 300), (3, 300, 40), (2, 40, 50), (2, 50, 50)])
@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_float32_follows_the_polynomial_of_the_singular_values(shape, decay):
    """Each iteration maps a singular value s to A s + B s^3 + C s^5; ``decay`` is the number of
    decades that they span.
    """
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    if decay:
        values = torch.logspace(0, -decay, s.shape[1], dtype=torch.float64)
        s = values.expand_as(s)
    x = from_singular_values(u, s, vh)
    s = s / s.norm(dim=1, keepdim=True)
    for _ in range(5):
        s = muon.A * s + muon.B * s**3 + muon.C * s**5
    expected = from_singular_values(u, s, vh)
    difference = orthogonalise(x.float(), torch.float32) - expected
    error = difference.norm(dim=(1, 2)) / expected.norm(dim=(1, 2))
    assert error.max() < 2e-5
