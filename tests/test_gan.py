"""Adversarial games, their augmentation, networks, penalties and recipe, each against a closed
form.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from programs.cases import class_labels
from programs.critics import CLASSES, dcgan, labels, layers, residual, textbook, unnormalised
from programs.small_networks import awaken
from torch import Tensor, nn
from torch.nn import functional as F

import pushforward as pf
from pushforward.conditions import Numbers
from pushforward.data import Batch, ImageSpace, VectorSpace
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.methods import CriticInput, Penalties, StepContext, Sums
from pushforward.methods.adversarial import OBJECTIVES, DiffAugment, between, slope
from pushforward.methods.method import answered, parameters
from pushforward.networks import (
    DCGANCritic,
    DCGANGenerator,
    ProjectionHead,
    TextbookCritic,
    TextbookGenerator,
)
from pushforward.networks.gan import ScaleCritic
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare, reopen

PLANE = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
PICTURES = ImageSpace(
    shape=(3, 6, 9), mean=(0.5,) * 3, std=(0.25,) * 3, low=(0.0,) * 3, high=(1.0,) * 3
)
A = 1.5
B = 0.7


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, whose slope is a x; for packs, the sum over their rows."""

    def __init__(self, pack=1):
        super().__init__()
        self.pack = pack
        self.a = nn.Parameter(torch.tensor(A))

    def forward(self, x, t=None, condition=None):
        return (self.a * x.square().flatten(1).sum(1) / 2).reshape(-1, self.pack).sum(1)


class Scale(nn.Module):
    def __init__(self, shape=(2,)):
        super().__init__()
        self.shape = shape
        self.b = nn.Parameter(torch.tensor(B))

    def forward(self, z, t=None, condition=None):
        return (self.b * z).reshape(-1, *self.shape)


def now(rows, step=0, progress=0.0, samples=0, start=0):
    return StepContext(BlockDraws(0, step, rows, start), samples, progress, step)


def game(space=PLANE, loss="relativistic", **settings):
    """A GAN with the settings of its penalties and of its critic's input in one call."""
    given = CriticInput(
        **{
            name: settings.pop(name)
            for name in CriticInput.__dataclass_fields__
            if name in settings
        }
    )
    penalties = Penalties(**settings)
    critic = Quadratic(given.pack)
    return pf.GAN(
        Scale(space.shape),
        critic,
        space,
        latent=space.size,
        loss=loss,
        penalties=penalties,
        critic_input=given,
    )


def turns(method, x, moment=None):
    if moment is None:
        moment = now(len(x))
    return dict(method.turns(Batch(x), moment)), moment.notes


def rows(n=64):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3))


def parts(n=64):
    """Scores and squared slopes of n real and generated examples, computed apart from the
    library.
    """
    real = rows(n)
    fake = B * now(n).draws.normal((2,))
    return [value.square().sum(1) * scale for scale in (A / 2, A**2) for value in (real, fake)]


def images(n=40):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(n, 3, 6, 9, generator=generator)


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        (
            "relativistic",
            lambda r, f: -torch.sigmoid(r - f).log(),
            lambda r, f: -torch.sigmoid(f - r).log(),
        ),
        (
            "non_saturating",
            lambda r, f: (
                F.binary_cross_entropy_with_logits(r, torch.ones_like(r), reduction="none")
                + F.binary_cross_entropy_with_logits(f, torch.zeros_like(f), reduction="none")
            ),
            lambda r, f: F.binary_cross_entropy_with_logits(
                f, torch.ones_like(f), reduction="none"
            ),
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
    expected = critic(real, fake).mean()
    torch.testing.assert_close(losses["critic"], expected, rtol=1e-4, atol=1e-5)
    expected = generator(real, fake).mean()
    torch.testing.assert_close(losses["generator"], expected, rtol=1e-4, atol=1e-5)
    b = torch.tensor(B, requires_grad=True)
    generator(real, b**2 / B**2 * fake).mean().backward()
    (slope_in_b,) = torch.autograd.grad(losses["generator"], method.generator.b)
    torch.testing.assert_close(slope_in_b, b.grad, rtol=1e-4, atol=1e-5)


def test_every_known_game_is_tested():
    marks = next(m for m in test_every_game_is_its_papers.pytestmark if m.name == "parametrize")
    assert {case[0] for case in marks.args[1]} == set(OBJECTIVES)


@pytest.mark.parametrize(
    ("penalty", "weights"), [("r1", (1, 0)), ("r2", (0, 1)), ("r1+r2", (1, 1)), ("none", (0, 0))]
)
def test_zero_centred_penalties_of_a_quadratic_critic(penalty, weights):
    real, fake, real_slope, fake_slope = parts()
    losses, notes = turns(game(loss="non_saturating", kind=penalty, gamma=0.8), rows())
    wanted = 0.4 * (weights[0] * real_slope + weights[1] * fake_slope).mean()
    torch.testing.assert_close(notes["penalty"], wanted)
    expected = (F.softplus(-real) + F.softplus(fake)).mean() + wanted
    torch.testing.assert_close(losses["critic"], expected)


def test_the_one_centred_penalty_of_a_quadratic_critic():
    """The slope at a point between is a times that point."""
    moment = now(64)
    u = now(64).draws.stream("between").uniform()[:, None]
    middle = u * rows() + (1 - u) * B * now(64).draws.normal((2,))
    _, notes = turns(game(loss="wasserstein", gamma=10.0), rows(), moment)
    expected = 10 * (A * middle.norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(notes["penalty"], expected)


def test_penalties_have_the_gradient_of_their_definition():
    """By finite differences in a critic that is not quadratic, flat ones included."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(7, 2).double()
    y = torch.randn(7, 2).double()
    u = torch.rand(7).double()

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
        actual = float(slopes[3, 1])
        assert actual == pytest.approx((high - low) / 2e-6, rel=1e-5)
    nn.init.zeros_(net[2].weight)
    assert torch.isfinite(torch.autograd.grad(value("gradient"), weight)[0]).all()


def value_without_graph(value, kind):
    with torch.enable_grad():
        return float(value(kind).detach())


def test_lazy_penalties_come_seldom_and_weigh_as_much():
    lazy = game(gamma=0.5, interval=4)
    always = game(gamma=0.5)
    without = game(gamma=0.0)
    for step in range(8):
        (losses, notes), (bare, _) = (
            turns(method, rows(), now(64, step)) for method in (lazy, without)
        )
        assert ("penalty" in notes) == (step % 4 == 0)
        expected = bare["critic"] + notes.get("penalty", 0.0)
        torch.testing.assert_close(losses["critic"], expected)
        if "penalty" in notes:
            assert notes["penalty"] == pytest.approx(
                4 * float(turns(always, rows(), now(64, step))[1]["penalty"])
            )


def test_gamma_moves_by_progress_and_in_a_least_number_of_samples():
    whole = game(gamma=1.0, gamma_end=0.1)
    short = game(gamma=1.0, gamma_end=0.1, shortest_ramp=1000)
    for share in (0.0, 0.3, 1.0):
        wanted = 0.1 + 0.9 * math.cos(math.pi * share / 2) ** 2
        actual = whole.penalties.weight(now(1, progress=share))
        assert actual == pytest.approx(wanted)
        for samples, progress in ((int(1000 * share), 1.0), (1500, share)):
            actual = short.penalties.weight(now(1, progress=progress, samples=samples))
            assert actual == pytest.approx(wanted)


def test_packs_are_scored_and_penalised_together():
    """With D the sum over a pack, a pair of packs is what the paper's pair of rows is."""
    real, fake, real_slope, fake_slope = (value.reshape(-1, 4).sum(1) for value in parts())
    losses, notes = turns(game(pack=4, gamma=0.6), rows())
    expected = 0.3 * (real_slope + fake_slope).mean()
    torch.testing.assert_close(notes["penalty"], expected)
    expected = F.softplus(fake - real).mean() + notes["penalty"]
    torch.testing.assert_close(losses["critic"], expected)
    with pytest.raises(UsageError, match="multiple of 4"):
        turns(game(pack=4), rows(62))
    assert game(pack=4, minibatch_std=3).group == 12
    actual = game(pack=4).scores(rows(5))
    expected = 4 * A / 2 * rows(5).square().sum(1)
    torch.testing.assert_close(actual, expected)


def test_notes_say_how_the_game_stands():
    real, fake, *_ = parts()
    _, notes = turns(game(), rows())
    expected = (real - fake).mean()
    torch.testing.assert_close(notes["logit_gap"], expected)
    assert float(notes["critic_accuracy"]) == pytest.approx(float((real > fake).float().mean()))
    assert not any(note.requires_grad for note in notes.values())


def test_the_recipe_shows_vectors_as_signs_and_waves_and_images_as_they_are():
    from pushforward.networks import FourierFeatures, SignCodes

    vectors, images = (
        pf.recipes.gan(space_data(shape, labels=False).space) for shape in ((2,), (1, 8, 8))
    )
    assert isinstance(vectors.method.generator, SignCodes)
    assert isinstance(vectors.method.critic, FourierFeatures)
    assert (vectors.method.generator.sign_codes, vectors.method.critic.fourier_features) == (10, 32)
    assert not isinstance(images.method.generator, SignCodes)
    assert not isinstance(images.method.critic, FourierFeatures)
    held = pf.recipes.gan(space_data((2,), labels=False).space, spectral=True, latent_size=5)
    assert held.method.generator.sign_codes == 5
    assert not any(isinstance(part, FourierFeatures) for part in held.method.critic.modules())
    with pytest.raises(UsageError, match="fourier_features"):
        pf.recipes.gan(space_data((1, 8, 8), labels=False).space, fourier_features=4)


@pytest.mark.parametrize(
    ("shape", "options", "shortest"),
    [
        ((2,), {}, 400_000),
        ((2,), {"penalty": "none"}, None),
        ((2,), {"gamma": 0.0}, None),
        ((1, 8, 8), {}, None),
        ((1, 17, 9), {}, None),
    ],
)
def test_the_ramp_of_a_game_of_vectors_takes_400_000_samples_at_least(shape, options, shortest):
    space = space_data(shape, labels=False).space
    recipe = pf.recipes.gan(space, "tiny", **options)
    assert (
        recipe.training.schedule.shortest_ramp == recipe.method.penalties.shortest_ramp == shortest
    )
    if len(shape) == 1:
        conditions = {"age": Numbers(("age",), (40.0,), (10.0,), ((20.0,), (60.0,)))}
        ages = dataclasses.replace(space, conditions=conditions)
        shortest_ramp = pf.recipes.gan(ages, "tiny", **options).training.schedule.shortest_ramp
        assert shortest_ramp is None


@pytest.mark.parametrize(("shortest", "samples"), [(64, 128), (256, 256)])
def test_the_rate_moves_by_samples(tmp_path, shortest, samples):
    """The optimiser's rate at each of 8 steps, against the cosine written out; and a bad setting is
    refused.
    """
    data = space_data((2,), labels=False)
    schedule = pf.Schedule(warmup=1, decay=0.0, lr_ramp=0.5, shortest_ramp=shortest)
    trainer = prepare(
        recipe_for("gan", data, batch=16, lr=1e-2, schedule=schedule),
        data,
        steps=8,
        out=tmp_path / "run",
    )
    seen = []
    player = trainer.state.optimizers["critic"]
    update = player.update

    def watched(*given):
        result = update(*given)
        (group,) = player._optimizers[0][0].param_groups
        seen.append(group["lr"])
        return result

    player.update = watched
    trainer.advance()
    shares = [math.cos(math.pi * min(1, step * 16 / samples) / 2) ** 2 for step in range(8)]
    np.testing.assert_allclose(seen, [1e-2 * (0.5 + 0.5 * share) for share in shares])
    with pytest.raises(UsageError):
        pf.Schedule(lr_ramp=-1)


@pytest.mark.parametrize("accumulate", [2])
def test_a_run_with_every_aid_resumes_bit_for_bit(tmp_path, accumulate):
    """Adaptive strength, lazy penalties, packs, deviation, spectral norms, moving averages; killed
    in the middle of a period.
    """
    data = space_data((1, 17, 9), labels=True)

    def with_aids():
        torch.manual_seed(0)
        aids = {
            "pack": 2,
            "minibatch_std": 2,
            "spectral": True,
            "penalty_interval": 3,
            "penalty": "r1",
            "loss": "hinge",
        }
        aids |= {"sign_codes": 3}
        recipe = pf.recipes.gan(
            data.space,
            "tiny",
            augment_critic="translation,cutout",
            strength=0.4,
            ada_target=-0.5,
            **aids,
        )
        return dataclasses.replace(
            recipe, training=dataclasses.replace(recipe.training, batch=128, accumulate=accumulate)
        )

    whole = prepare(with_aids(), data, steps=8, out=tmp_path / "whole")
    whole.advance()
    broken = prepare(with_aids(), data, steps=8, out=tmp_path / "broken", checkpoint_every=4)
    broken.callbacks.watcher = lambda *_: setattr(broken, "stop", broken.clock.step == 4)
    broken.progress.say = broken.progress.measured = lambda *_: None
    broken.advance()
    assert broken.clock.step == 4
    taken_up = reopen(tmp_path / "broken", data=data, method=with_aids().method)
    taken_up.advance()
    assert float(whole.method.strength_now) > 0.4
    for own, other in (
        (whole.method, taken_up.method),
        (whole.average.method, taken_up.average.method),
    ):
        for name, value in own.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    for player, theirs in zip(
        whole.state.optimizers.values(), taken_up.state.optimizers.values(), strict=True
    ):
        assert all(
            torch.equal(value, theirs.state()[name]) for name, value in player.state().items()
        )


def changed(policy, n=40, probability=1.0, x=None):
    if x is None:
        x = images(n)
    return DiffAugment(policy, extent=4.0)(x, BlockDraws(0, 0, len(x)), probability)


def test_colour_is_brightness_saturation_and_contrast():
    """Recomputed in NumPy from the same numbers."""
    draws = BlockDraws(0, 0, 40)
    draws.uniform()
    bright, saturate, contrast = (
        draws.uniform().numpy().astype(np.float64)[:, None, None, None] for _ in range(3)
    )
    x = images().numpy().astype(np.float64) + 4.0 * (bright - 0.5) / 2
    x = 2 * saturate * x + (1 - 2 * saturate) * x.mean(1, keepdims=True)
    x = (contrast + 0.5) * x + (0.5 - contrast) * x.mean((1, 2, 3), keepdims=True)
    actual = changed("color").numpy()
    np.testing.assert_allclose(actual, x, rtol=1e-4, atol=1e-5)


def test_translation_shifts_whole_rows_by_an_eighth_at_most():
    x = torch.arange(1.0, 1 + 600 * 3 * 8 * 24).reshape(600, 3, 8, 24)
    moved = changed("translation", x=x)
    seen = set()
    for before, after in zip(x, moved, strict=True):
        fits = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-4, 5)
            if torch.equal(after, shifted(before, i, j))
        ]
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
    tall = hidden.amax(2).sum(1)
    wide = hidden.amax(1).sum(1)
    actual = hidden.sum((1, 2))
    assert torch.equal(actual, tall * wide)
    assert int(tall.max()) == 4
    assert int(wide.max()) == 12
    often = hidden.mean(0)
    # every pixel is hidden by as many of the 9 x 25 places of the centre as lie within half a hole
    # of it
    centre = [sum(start <= i < start + 4 for start in range(-2, 7)) / 9 for i in range(8)]
    across = [sum(start <= i < start + 12 for start in range(-6, 19)) / 25 for i in range(24)]
    expected = np.outer(centre, across)
    np.testing.assert_allclose(often.numpy(), expected, atol=0.06)


def test_changes_come_with_their_probability_and_for_each_row_alone():
    image = images(1).expand(3000, -1, -1, -1)
    share = float(
        (changed("cutout", x=image, probability=0.3) != image).flatten(1).any(1).float().mean()
    )
    assert share == pytest.approx(0.3, abs=0.03)
    assert torch.equal(changed("color,translation,cutout", probability=0.0), images())


def test_gradients_pass_through_augmentation():
    """The derivative along a direction equals a finite difference."""
    x = images(8).double().requires_grad_()
    along = torch.randn(8, 3, 6, 9).double()
    weights = torch.randn(8, 3, 6, 9).double()
    total = lambda x: (changed("color,translation,cutout", x=x) * weights).sum()  # noqa: E731
    (slopes,) = torch.autograd.grad(total(x), x)
    step = 1e-5
    difference = (total(x + step * along) - total(x - step * along)) / (2 * step)
    actual = float((slopes * along).sum())
    assert actual == pytest.approx(float(difference.detach()), rel=1e-6)


def split_turns(method, x):
    """The losses of two halves of a batch, played in lock step, joined by their mean."""
    halves = [
        method.losses(Batch(part), now(64, start=start))
        for part, start in ((x[:64], 0), (x[64:], 64))
    ]
    joined = {}
    reply = None
    while moves := [
        move for move in [answered(half, reply) for half in halves] if move is not None
    ]:
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
    whole, split = (
        game(PICTURES, augment=DiffAugment(), strength=0.4, ada_target=-0.5) for _ in range(2)
    )
    (wanted, notes) = turns(whole, images(128), now(128))
    losses = split_turns(split, images(128))
    assert float(notes["strength"]) == pytest.approx(0.4)
    assert abs(float(whole.strength_now) - 0.4) > 0.1
    for player in wanted:
        torch.testing.assert_close(losses[player], wanted[player])


@pytest.mark.parametrize("name", ["relativistic", "hinge"])
def test_the_strength_moves_with_how_the_critic_leans(name):
    """Up where it is surer than wanted; by the sum over rows, whatever the parts; never below 0 or
    above .8.
    """
    x = images(128)
    whole = game(PICTURES, loss=name, augment=DiffAugment(), strength=0.4, ada_target=0.6)
    split = game(PICTURES, loss=name, augment=DiffAugment(), strength=0.4, ada_target=0.6)
    turns(whole, x, now(128))
    split_turns(split, x)
    torch.testing.assert_close(whole.strength_now, split.strength_now)
    real = x
    fake = now(128).draws.normal((162,)).reshape(x.shape) * B
    draws = now(128).draws.stream("augment")
    seen = [
        whole.critic_input.augment(rows, draws, 0.4).square().flatten(1).sum(1)
        for rows in (real, fake)
    ]
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
    """A policy that hides half of the image makes both kinds of rows smaller; penalties are those
    of what is seen.
    """
    x = images(64)
    method = game(PICTURES, augment=DiffAugment("cutout"), gamma=1.0)
    _, notes = turns(method, x, now(64))
    draws = now(64).draws.stream("augment")
    fake = now(64).draws.normal((162,)).reshape(x.shape) * B
    real_seen, fake_seen = (method.critic_input.augment(rows, draws, 1.0) for rows in (x, fake))
    wanted = (
        A**2
        / 2
        * (real_seen.square().flatten(1).sum(1) + fake_seen.square().flatten(1).sum(1)).mean()
    )
    torch.testing.assert_close(notes["penalty"], wanted)


SHAPES = [(1, 8, 8), (3, 13, 21), (1, 28, 28), (17,)]


CRITICS = (textbook, dcgan, unnormalised, residual)
CASES = [
    pytest.param(make, shape, id=f"{make.__name__}-{'x'.join(map(str, shape))}")
    for make in CRITICS
    for shape in SHAPES
    if len(shape) == 3 or make is textbook
]


def test_labels_speak_by_projection():
    head = ProjectionHead(6, class_labels(CLASSES)).double()
    features = torch.randn(5, 6, dtype=torch.float64)
    condition = labels(5)
    table = head.conditioning.embeddings.label.table.weight
    labelled = head(features, None, condition)
    free = head(features)
    expected = head.linear(features)[:, 0] + features @ table[CLASSES]
    torch.testing.assert_close(free, expected)
    expected = (features * (table[condition["label"]] - table[CLASSES])).sum(1)
    torch.testing.assert_close(labelled - free, expected)
    actual = head(features, None, {**condition, "label_null": torch.ones(5) > 0})
    torch.testing.assert_close(actual, free)
    actual = ProjectionHead(6)(features.float()).shape
    expected = torch.Size([5])
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("deviation", [0, 2])
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_gradient_penalty_equals_difference(make, shape, deviation):
    """The derivative of sum |grad score|^2 along a direction of the weights, in training mode."""
    network = awaken(
        make(shape, conditions=class_labels(CLASSES), minibatch_std=deviation), 0.05
    ).double()
    x = torch.randn(5, *shape, dtype=torch.float64, requires_grad=True)
    condition = labels(5)
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
    network = DCGANGenerator((3, 64, 64))
    critic = DCGANCritic((3, 64, 64))
    kernels = [tuple(w.shape) for w in [g.weight for g in network.grow] + [network.leave.weight]]
    assert network.enter.weight.shape == (512 * 4 * 4, 100)
    assert kernels == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert [tuple(m.weight.shape[:2]) for m in layers(critic)] == [
        (64, 3),
        (128, 64),
        (256, 128),
        (512, 256),
        (1, 512 * 16),
    ]
    total = sum(isinstance(m, nn.BatchNorm2d) for m in critic.modules())
    assert total == 3
    assert [tuple(m.weight.shape[:2]) for m in layers(dcgan((1, 8, 8)))] == [
        (6, 1),
        (12, 6),
        (1, 12 * 4),
    ]
    for layer in layers(network) + layers(critic):
        spread = 5 * 0.02 / np.sqrt(2 * layer.weight.numel())
        std = layer.weight.std().item()
        assert std == pytest.approx(0.02, abs=spread)
        assert layer.bias is None or layer.bias.abs().max() == 0


def test_textbook_pair_is_its_formula():
    network = TextbookGenerator((1, 28, 28))
    critic = TextbookCritic((1, 28, 28))
    z = torch.randn(3, 100)
    x = torch.randn(3, 1, 28, 28)
    a = network.enter
    b = network.leave
    hidden = (z @ a.weight.T + a.bias).clamp(min=0)
    expected = (hidden @ b.weight.T + b.bias).reshape(3, 1, 28, 28)
    torch.testing.assert_close(network(z), expected)
    hidden = x.flatten(1) @ critic.enter.weight.T + critic.enter.bias
    hidden = torch.maximum(hidden, 0.2 * hidden)
    torch.testing.assert_close(
        critic(x), hidden @ critic.leave.linear.weight[0] + critic.leave.linear.bias
    )
    assert parameters(network) == 101 * 256 + 257 * 784
    assert parameters(critic) == 785 * 256 + 257


@pytest.mark.parametrize(("side", "last"), [(56, 3), (8, 4), (4, 4), (1, 1)])
def test_small_critics_score_every_place_and_take_the_mean(side, last):
    small = ScaleCritic(7, side, 5, class_labels(CLASSES))
    x = torch.randn(2, 7, side, side)
    label = {"label": torch.tensor([2, 0])}
    h = x
    for convolution in small.convolutions:
        h = torch.where(convolution(h) > 0, convolution(h), 0.2 * convolution(h))
    assert h.shape == (2, 5, last, last)
    places = torch.stack(
        [small.leave(h[:, :, i, j], None, label) for i in range(last) for j in range(last)]
    )
    actual = small(x, None, label)
    torch.testing.assert_close(actual, places.mean(0), rtol=1e-4, atol=1e-5)
