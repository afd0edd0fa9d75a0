"""Augmentation of what the critic sees, against arithmetic of its own."""

import numpy as np
import pytest
import torch
from programs.games import PICTURES, A, B, game, images, now, turns

from pushforward.data import Batch
from pushforward.draws import BlockDraws
from pushforward.methods import Sums
from pushforward.methods.adversarial import DiffAugment
from pushforward.methods.method import answered


def changed(policy, n=40, probability=1.0, x=None):
    x = images(n) if x is None else x
    return DiffAugment(policy, extent=4.0)(x, BlockDraws(0, 0, len(x)), probability)


def test_colour_is_brightness_saturation_and_contrast():
    """Recomputed in NumPy from the same numbers."""
    draws = BlockDraws(0, 0, 40)
    draws.uniform()
    bright, saturate, contrast = (draws.uniform().numpy().astype(np.float64)[:, None, None, None] for _ in range(3))
    x = images().numpy().astype(np.float64) + 4.0 * (bright - 0.5) / 2
    x = 2 * saturate * x + (1 - 2 * saturate) * x.mean(1, keepdims=True)
    x = (contrast + 0.5) * x + (0.5 - contrast) * x.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(changed("color").numpy(), x, rtol=1e-4, atol=1e-5)


def test_translation_shifts_whole_rows_by_an_eighth_at_most():
    x = torch.arange(1.0, 1 + 600 * 3 * 8 * 24).reshape(600, 3, 8, 24)
    moved = changed("translation", x=x)
    seen = set()
    for before, after in zip(x, moved, strict=True):
        fits = [(i, j) for i in range(-2, 3) for j in range(-4, 5) if torch.equal(after, shifted(before, i, j))]
        assert len(fits) == 1
        seen.add(fits[0])
    assert seen == {(i, j) for i in (-1, 0, 1) for j in range(-3, 4)}


def shifted(x, down, right):
    out = torch.zeros_like(x)
    height, width = x.shape[1:]
    out[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = x[
        :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return out


def test_cutout_hides_one_rectangle_of_half_the_sides_wherever_it_falls():
    hidden = (changed("cutout", x=torch.ones(2000, 3, 8, 24)) == 0).float()
    assert torch.equal(hidden.amin(1), hidden.amax(1))
    hidden = hidden[:, 0]
    tall, wide = hidden.amax(2).sum(1), hidden.amax(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), tall * wide)
    assert int(tall.max()) == 4
    assert int(wide.max()) == 12
    often = hidden.mean(0)
    # every pixel is hidden by as many of the 9 x 25 places of the centre as lie within half a hole of it
    centre = [sum(start <= i < start + 4 for start in range(-2, 7)) / 9 for i in range(8)]
    across = [sum(start <= i < start + 12 for start in range(-6, 19)) / 25 for i in range(24)]
    np.testing.assert_allclose(often.numpy(), np.outer(centre, across), atol=0.06)


def test_changes_come_with_their_probability_and_for_each_row_alone():
    image = images(1).expand(3000, -1, -1, -1)
    share = float((changed("cutout", x=image, probability=0.3) != image).flatten(1).any(1).float().mean())
    assert share == pytest.approx(0.3, abs=0.03)
    assert torch.equal(changed("color,translation,cutout", probability=0.0), images())


def test_gradients_pass_through_augmentation():
    """The derivative along a direction equals a finite difference."""
    x, along = images(8).double().requires_grad_(), torch.randn(8, 3, 6, 9).double()
    weights = torch.randn(8, 3, 6, 9).double()
    total = lambda x: (changed("color,translation,cutout", x=x) * weights).sum()  # noqa: E731
    (slopes,) = torch.autograd.grad(total(x), x)
    step = 1e-5
    difference = (total(x + step * along) - total(x - step * along)) / (2 * step)
    assert float((slopes * along).sum()) == pytest.approx(float(difference.detach()), rel=1e-6)


def split_turns(method, x):
    """The losses of two halves of a batch, played in lock step, joined by their mean."""
    halves = [method.losses(Batch(part), now(64, start=start)) for part, start in ((x[:64], 0), (x[64:], 64))]
    joined, reply = {}, None
    while moves := [move for move in [answered(half, reply) for half in halves] if move is not None]:
        reply = None
        if isinstance(moves[0], Sums):
            total = {name: sum(move.values[name] for move in moves) for name in moves[0].values}
            reply = Sums(128, total, then=moves[0].then).settled()
        else:
            joined[moves[0][0]] = sum(loss for _, loss in moves) / 2
    return joined


def test_all_parts_and_turns_of_a_step_see_one_strength(monkeypatch):
    """Even where it moves fast: a batch in two parts has the losses of the whole."""
    monkeypatch.setattr("pushforward.methods.adversarial.ADAPTATION", 200)
    whole, split = (game(PICTURES, augment=DiffAugment(), strength=0.4, ada_target=-0.5) for _ in range(2))
    (wanted, _), losses = turns(whole, images(128), now(128)), split_turns(split, images(128))
    assert abs(float(whole.strength_now) - 0.4) > 0.1
    for player in wanted:
        torch.testing.assert_close(losses[player], wanted[player])


@pytest.mark.parametrize("name", ["relativistic", "hinge"])
def test_the_strength_moves_with_how_the_critic_leans(name):
    """Up where it is surer than wanted; by the sum over rows, whatever the parts; never below 0 or above .8."""
    x = images(128)
    whole = game(PICTURES, loss=name, augment=DiffAugment(), strength=0.4, ada_target=0.6)
    split = game(PICTURES, loss=name, augment=DiffAugment(), strength=0.4, ada_target=0.6)
    turns(whole, x, now(128))
    split_turns(split, x)
    torch.testing.assert_close(whole.strength_now, split.strength_now)
    real, fake = x, now(128).draws.normal((162,)).reshape(x.shape) * B
    draws = now(128).draws.stream("augment")
    seen = [whole.critic_input.augment(rows, draws, 0.4).square().flatten(1).sum(1) for rows in (real, fake)]
    lean = (seen[0] - seen[1] if name == "relativistic" else seen[0]).sign().mean()
    torch.testing.assert_close(whole.strength_now, 0.4 + (lean - 0.6) * 128 / 500_000)
    for start, least, most in ((3.0, 0.79, 0.81), (-2.0, -0.01, 0.01)):
        whole.strength_now.fill_(start)
        turns(whole, x, now(128))
        assert least < float(whole.strength_now) < most
    fixed = game(PICTURES, augment=DiffAugment(), strength=0.4)
    turns(fixed, x, now(128))
    assert float(fixed.strength_now) == pytest.approx(0.4)


def test_the_critic_sees_real_and_generated_rows_through_the_same_changes():
    """A policy that hides half of the image makes both kinds of rows smaller; penalties are those of what is seen."""
    x = images(64)
    method = game(PICTURES, augment=DiffAugment("cutout"), gamma=1.0)
    _, notes = turns(method, x, now(64))
    draws = now(64).draws.stream("augment")
    fake = now(64).draws.normal((162,)).reshape(x.shape) * B
    real_seen, fake_seen = (method.critic_input.augment(rows, draws, 1.0) for rows in (x, fake))
    wanted = A**2 / 2 * (real_seen.square().flatten(1).sum(1) + fake_seen.square().flatten(1).sum(1)).mean()
    torch.testing.assert_close(notes["penalty"], wanted)
