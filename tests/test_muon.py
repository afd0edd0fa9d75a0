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


def steps(parameters, optimizer, count=3, without=()):
    moves = []
    for seed in range(count):
        random = torch.Generator().manual_seed(100 + seed)
        for index, parameter in enumerate(parameters):
            gradient = torch.randn(parameter.shape, generator=random) * 10.0 ** (index - 4)
            parameter.grad = None if index in without else gradient
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer.step()
        moves.append(
            [parameter.detach() - old for parameter, old in zip(parameters, before, strict=True)]
        )
    return moves


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_are_those_of_pytorch_one_matrix_at_a_time(decay, monkeypatch):
    monkeypatch.setattr(muon, "has_bfloat16", lambda: True)
    mine = matrices()
    theirs = matrices()
    reference = torch.optim.Muon(
        theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
    )
    own = Muon(mine, lr=0.02, weight_decay=decay)
    for ours, known in zip(
        steps(mine, own, without=[2]), steps(theirs, reference, without=[2]), strict=True
    ):
        for a, b in zip(ours, known, strict=True):
            assert (a - b).norm() <= 1e-6 * b.norm()
    for a, b in zip(mine, theirs, strict=True):  # checkpoints of either are read by the other
        actual = own.state[a].keys()
        assert actual == reference.state[b].keys()
        assert all(
            torch.equal(value, reference.state[b][kind]) for kind, value in own.state[a].items()
        )


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
        s = torch.logspace(0, -decay, s.shape[1], dtype=torch.float64).expand_as(s)
    x = u @ torch.diag_embed(s) @ vh
    s = s / s.norm(dim=1, keepdim=True)
    for _ in range(5):
        s = muon.A * s + muon.B * s**3 + muon.C * s**5
    expected = u @ torch.diag_embed(s) @ vh
    error = (orthogonalise(x.float(), torch.float32) - expected).flatten(1).norm(
        dim=1
    ) / expected.flatten(1).norm(dim=1)
    assert error.max() < 2e-5
