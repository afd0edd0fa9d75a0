"""Adversarial games and penalties on slopes, each against a closed form."""

import math

import pytest
import torch
from programs.games import A, B, game, now, parts, rows, turns
from torch import nn
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.methods.adversarial import OBJECTIVES, between, slope


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        ("relativistic", lambda r, f: -torch.sigmoid(r - f).log(), lambda r, f: -torch.sigmoid(f - r).log()),
        (
            "non_saturating",
            lambda r, f: (
                F.binary_cross_entropy_with_logits(r, torch.ones_like(r), reduction="none")
                + F.binary_cross_entropy_with_logits(f, torch.zeros_like(f), reduction="none")
            ),
            lambda r, f: F.binary_cross_entropy_with_logits(f, torch.ones_like(f), reduction="none"),
        ),
        (
            "minimax",
            lambda r, f: -torch.sigmoid(r).log() - (1 - torch.sigmoid(f)).log(),
            lambda r, f: (1 - torch.sigmoid(f)).log(),
        ),
        (
            "hinge",
            lambda r, f: (
                F.hinge_embedding_loss(r, -torch.ones_like(r), margin=1, reduction="none")
                + F.hinge_embedding_loss(-f, -torch.ones_like(f), margin=1, reduction="none")
            ),
            lambda r, f: -f,
        ),
        ("least_squares", lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2, lambda r, f: (f - 1) ** 2 / 2),
        ("wasserstein", lambda r, f: f - r, lambda r, f: -f),
    ],
)
def test_every_game_is_its_papers(name, critic, generator):
    real, fake, *_ = parts()
    method = game(loss=name, gamma=0.0)
    losses, _ = turns(method, rows())
    torch.testing.assert_close(losses["critic"], critic(real, fake).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["generator"], generator(real, fake).mean(), rtol=1e-4, atol=1e-5)
    b = torch.tensor(B, requires_grad=True)
    generator(real, b**2 / B**2 * fake).mean().backward()
    (slope_in_b,) = torch.autograd.grad(losses["generator"], method.generator.b)
    torch.testing.assert_close(slope_in_b, b.grad, rtol=1e-4, atol=1e-5)


def test_every_known_game_is_tested():
    marks = next(m for m in test_every_game_is_its_papers.pytestmark if m.name == "parametrize")
    assert {case[0] for case in marks.args[1]} == set(OBJECTIVES)


@pytest.mark.parametrize(("penalty", "weights"), [("r1", (1, 0)), ("r2", (0, 1)), ("r1+r2", (1, 1)), ("none", (0, 0))])
def test_zero_centred_penalties_of_a_quadratic_critic(penalty, weights):
    real, fake, real_slope, fake_slope = parts()
    losses, notes = turns(game(loss="non_saturating", kind=penalty, gamma=0.8), rows())
    wanted = 0.4 * (weights[0] * real_slope + weights[1] * fake_slope).mean()
    torch.testing.assert_close(notes["penalty"], wanted)
    torch.testing.assert_close(losses["critic"], (F.softplus(-real) + F.softplus(fake)).mean() + wanted)


def test_the_one_centred_penalty_of_a_quadratic_critic():
    """The slope at a point between is a times that point."""
    moment = now(64)
    u = now(64).draws.stream("between").uniform()[:, None]
    middle = u * rows() + (1 - u) * B * now(64).draws.normal((2,))
    _, notes = turns(game(loss="wasserstein", gamma=10.0), rows(), moment)
    torch.testing.assert_close(notes["penalty"], 10 * (A * middle.norm(dim=1) - 1).square().mean())


def test_penalties_have_the_gradient_of_their_definition():
    """By finite differences in a critic that is not quadratic, flat ones included."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x, y, u = torch.randn(7, 2).double(), torch.randn(7, 2).double(), torch.rand(7).double()

    def value(kind):
        if kind == "gradient":
            return between(x, y, u, lambda rows: net(rows)[:, 0]).mean()
        given = x.clone().requires_grad_()
        return slope(net(given)[:, 0], given).mean()

    weight = net[0].weight
    for kind in ("r1", "gradient"):
        (slopes,) = torch.autograd.grad(value(kind), weight)
        with torch.no_grad():
            weight[3, 1] += 1e-6
            high = value_without_graph(value, kind)
            weight[3, 1] -= 2e-6
            low = value_without_graph(value, kind)
            weight[3, 1] += 1e-6
        assert float(slopes[3, 1]) == pytest.approx((high - low) / 2e-6, rel=1e-5)
    nn.init.zeros_(net[2].weight)
    assert torch.isfinite(torch.autograd.grad(value("gradient"), weight)[0]).all()


def value_without_graph(value, kind):
    with torch.enable_grad():
        return float(value(kind).detach())


def test_lazy_penalties_come_seldom_and_weigh_as_much():
    lazy, always, without = game(gamma=0.5, interval=4), game(gamma=0.5), game(gamma=0.0)
    for step in range(8):
        (losses, notes), (bare, _) = (turns(method, rows(), now(64, step)) for method in (lazy, without))
        assert ("penalty" in notes) == (step % 4 == 0)
        torch.testing.assert_close(losses["critic"], bare["critic"] + notes.get("penalty", 0.0))
        if "penalty" in notes:
            assert notes["penalty"] == pytest.approx(4 * float(turns(always, rows(), now(64, step))[1]["penalty"]))


def test_gamma_moves_by_progress_or_by_samples():
    by_progress = game(gamma=1.0, gamma_end=0.1)
    by_samples = game(gamma=1.0, gamma_end=0.1, ramp=1000)
    for share in (0.0, 0.3, 1.0):
        wanted = 0.1 + 0.9 * math.cos(math.pi * share / 2) ** 2
        assert by_progress.penalties.weight(now(1, progress=share)) == pytest.approx(wanted)
        assert by_samples.penalties.weight(now(1, progress=0.9, samples=int(1000 * share))) == pytest.approx(wanted)
        short = game(gamma=1.0, gamma_end=0.1, shortest_ramp=1000)
        for samples, progress in ((int(1000 * share), 1.0), (1500, share)):
            assert short.penalties.weight(now(1, progress=progress, samples=samples)) == pytest.approx(wanted)
    assert by_samples.penalties.weight(now(1, samples=1500)) == pytest.approx(0.1)


def test_packs_are_scored_and_penalised_together():
    """With D the sum over a pack, a pair of packs is what the paper's pair of rows is."""
    real, fake, real_slope, fake_slope = (value.reshape(-1, 4).sum(1) for value in parts())
    losses, notes = turns(game(pack=4, gamma=0.6), rows())
    torch.testing.assert_close(notes["penalty"], 0.3 * (real_slope + fake_slope).mean())
    torch.testing.assert_close(losses["critic"], F.softplus(fake - real).mean() + notes["penalty"])
    with pytest.raises(UsageError, match="multiple of 4"):
        turns(game(pack=4), rows(62))
    assert game(pack=4, minibatch_std=3).group == 12
    torch.testing.assert_close(game(pack=4).scores(rows(5)), 4 * A / 2 * rows(5).square().sum(1))


def test_notes_say_how_the_game_stands():
    real, fake, *_ = parts()
    _, notes = turns(game(), rows())
    torch.testing.assert_close(notes["logit_gap"], (real - fake).mean())
    assert float(notes["critic_accuracy"]) == pytest.approx(float((real > fake).float().mean()))
    assert not any(note.requires_grad for note in notes.values())
