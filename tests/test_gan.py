"""Adversarial games, augmentation, networks, penalties and recipe against closed forms."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from programs.cases import class_labels
from programs.critics import CLASSES, dcgan, labels, layers, residual, textbook, unnormalised
from programs.games import (
    GAMES,
    PICTURES,
    A,
    B,
    adaptive,
    game,
    generated,
    generated_images,
    images,
    now,
    parts,
    rows,
    split_turns,
    squares,
    turns,
)
from programs.small_networks import awaken
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

import pushforward as pf
from pushforward.conditions import Numbers
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.methods.adversarial import OBJECTIVES, DiffAugment, between, slope
from pushforward.methods.method import parameters
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


@pytest.mark.parametrize("paper", GAMES)
def test_every_game_is_its_papers(paper):
    real, fake, *_ = parts()
    method = game(loss=paper.__name__, gamma=0.0)
    losses, _ = turns(method, rows())
    critic, generator = paper(real, fake)
    assert_close(losses["critic"], critic.mean(), rtol=1e-4, atol=1e-5)
    assert_close(losses["generator"], generator.mean(), rtol=1e-4, atol=1e-5)
    b = torch.tensor(B, requires_grad=True)
    scaled = b**2 / B**2 * fake
    _, generator = paper(real, scaled)
    generator.mean().backward()
    (slope_in_b,) = torch.autograd.grad(losses["generator"], method.generator.b)
    assert_close(slope_in_b, b.grad, rtol=1e-4, atol=1e-5)


def test_every_known_game_is_tested():
    assert {paper.__name__ for paper in GAMES} == set(OBJECTIVES)


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1+r2", "none"])
def test_zero_centred_penalties_of_a_quadratic_critic(penalty):
    real, fake, real_slope, fake_slope = parts()
    method = game(loss="non_saturating", kind=penalty, gamma=0.8)
    losses, notes = turns(method, rows())
    penalised = torch.zeros(64)
    if "r1" in penalty:
        penalised = penalised + real_slope
    if "r2" in penalty:
        penalised = penalised + fake_slope
    wanted = 0.4 * penalised.mean()
    assert_close(notes["penalty"], wanted)
    plain = F.softplus(-real) + F.softplus(fake)
    assert_close(losses["critic"], plain.mean() + wanted)


def test_the_one_centred_penalty_of_a_quadratic_critic():
    """The slope at a point between is a times that point."""
    moment = now(64)
    uniform = now(64).draws.stream("between").uniform()
    u = uniform[:, None]
    middle = u * rows() + (1 - u) * generated()
    method = game(loss="wasserstein", gamma=10.0)
    _, notes = turns(method, rows(), moment)
    slopes = A * middle.norm(dim=1)
    expected = 10 * (slopes - 1).square().mean()
    assert_close(notes["penalty"], expected)


def test_penalties_have_the_gradient_of_their_definition():
    """By finite differences in a critic that is not quadratic, flat ones included."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(7, 2).double()
    y = torch.randn(7, 2).double()
    u = torch.rand(7).double()

    def scores(x):
        return net(x)[:, 0]

    def value(kind):
        if kind == "gradient":
            return between(x, y, u, scores).mean()
        given = x.clone().requires_grad_()
        return slope(scores(given), given).mean()

    weight = net[0].weight
    for kind in ("r1", "gradient"):
        (slopes,) = torch.autograd.grad(value(kind), weight)
        with torch.no_grad():
            weight[3, 1] += 1e-6
            high = value_without_graph(value, kind)
            weight[3, 1] -= 2e-6
            low = value_without_graph(value, kind)
            weight[3, 1] += 1e-6
        difference = (high - low) / 2e-6
        assert float(slopes[3, 1]) == pytest.approx(difference, rel=1e-5)
    nn.init.zeros_(net[2].weight)
    (slopes,) = torch.autograd.grad(value("gradient"), weight)
    assert torch.isfinite(slopes).all()


def value_without_graph(value, kind):
    with torch.enable_grad():
        return float(value(kind).detach())


def test_lazy_penalties_come_seldom_and_weigh_as_much():
    lazy = game(gamma=0.5, interval=4)
    always = game(gamma=0.5)
    without = game(gamma=0.0)
    for step in range(8):
        losses, notes = turns(lazy, rows(), now(64, step))
        bare, _ = turns(without, rows(), now(64, step))
        assert ("penalty" in notes) == (step % 4 == 0)
        expected = bare["critic"] + notes.get("penalty", 0.0)
        assert_close(losses["critic"], expected)
        if "penalty" in notes:
            _, every_step = turns(always, rows(), now(64, step))
            wanted = 4 * float(every_step["penalty"])
            assert notes["penalty"] == pytest.approx(wanted)


def test_gamma_moves_by_progress_and_in_a_least_number_of_samples():
    whole = game(gamma=1.0, gamma_end=0.1)
    short = game(gamma=1.0, gamma_end=0.1, shortest_ramp=1000)
    for share in (0.0, 0.3, 1.0):
        cosine = math.cos(math.pi * share / 2)
        wanted = 0.1 + 0.9 * cosine**2
        actual = whole.penalties.weight(now(1, progress=share))
        assert actual == pytest.approx(wanted)
        for samples, progress in ((int(1000 * share), 1.0), (1500, share)):
            actual = short.penalties.weight(now(1, progress=progress, samples=samples))
            assert actual == pytest.approx(wanted)


def test_packs_are_scored_and_penalised_together():
    """With D the sum over a pack, a pair of packs is what the paper's pair of rows is."""
    real, fake, real_slope, fake_slope = (value.reshape(-1, 4).sum(1) for value in parts())
    method = game(pack=4, gamma=0.6)
    losses, notes = turns(method, rows())
    slopes = real_slope + fake_slope
    assert_close(notes["penalty"], 0.3 * slopes.mean())
    plain = F.softplus(fake - real).mean()
    assert_close(losses["critic"], plain + notes["penalty"])
    packed = game(pack=4)
    odd = rows(62)
    with pytest.raises(UsageError, match="multiple of 4"):
        turns(packed, odd)
    grouped = game(pack=4, minibatch_std=3)
    assert grouped.group == 12
    few = rows(5)
    expected = 4 * A / 2 * squares(few)
    assert_close(packed.scores(few), expected)


def test_notes_say_how_the_game_stands():
    real, fake, *_ = parts()
    _, notes = turns(game(), rows())
    expected = (real - fake).mean()
    assert_close(notes["logit_gap"], expected)
    right = real > fake
    accuracy = float(notes["critic_accuracy"])
    assert accuracy == pytest.approx(float(right.float().mean()))
    assert not any(note.requires_grad for note in notes.values())


def test_the_recipe_shows_vectors_as_signs_and_waves_and_images_as_they_are():
    from pushforward.networks import FourierFeatures, SignCodes

    plane = space_data((2,), labels=False).space
    pictures = space_data((1, 8, 8), labels=False).space
    vectors = pf.recipes.gan(plane).method
    images = pf.recipes.gan(pictures).method
    assert isinstance(vectors.generator, SignCodes)
    assert isinstance(vectors.critic, FourierFeatures)
    assert vectors.generator.sign_codes == 10
    assert vectors.critic.fourier_features == 32
    assert not isinstance(images.generator, SignCodes)
    assert not isinstance(images.critic, FourierFeatures)
    held = pf.recipes.gan(plane, spectral=True, latent_size=5).method
    assert held.generator.sign_codes == 5
    assert not any(isinstance(part, FourierFeatures) for part in held.critic.modules())
    with pytest.raises(UsageError, match="fourier_features"):
        pf.recipes.gan(pictures, fourier_features=4)


def ramp(space, **options):
    """The schedule's shortest ramp, which is that of the penalties."""
    recipe = pf.recipes.gan(space, "tiny", **options)
    shortest = recipe.training.schedule.shortest_ramp
    assert recipe.method.penalties.shortest_ramp == shortest
    return shortest


def test_the_ramp_of_a_game_of_vectors_takes_400_000_samples_at_least():
    plane = space_data((2,), labels=False).space
    assert ramp(plane) == 400_000
    assert ramp(plane, penalty="none") is None
    assert ramp(plane, gamma=0.0) is None
    for shape in ((1, 8, 8), (1, 17, 9)):
        images = space_data(shape, labels=False).space
        assert ramp(images) is None
    examples = ((20.0,), (60.0,))
    age = Numbers(("age",), (40.0,), (10.0,), examples)
    ages = dataclasses.replace(plane, conditions={"age": age})
    assert ramp(ages) is None


@pytest.mark.parametrize(("shortest", "samples"), [(64, 128), (256, 256)])
def test_the_rate_moves_by_samples(tmp_path, shortest, samples):
    """The optimiser's rate at each of 8 steps, against the cosine written out; and a bad setting is
    refused.
    """
    data = space_data((2,), labels=False)
    schedule = pf.Schedule(warmup=1, decay=0.0, lr_ramp=0.5, shortest_ramp=shortest)
    recipe = recipe_for("gan", data, batch=16, lr=1e-2, schedule=schedule)
    trainer = prepare(recipe, data, steps=8, out=tmp_path / "run")
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
    progress = np.minimum(1, 16 * np.arange(8) / samples)
    cosine = np.cos(np.pi * progress / 2)
    wanted = 1e-2 * (0.5 + 0.5 * cosine**2)
    np.testing.assert_allclose(seen, wanted)
    with pytest.raises(UsageError):
        pf.Schedule(lr_ramp=-1)


AIDS = {
    "pack": 2,
    "minibatch_std": 2,
    "spectral": True,
    "penalty_interval": 3,
    "penalty": "r1",
    "loss": "hinge",
    "sign_codes": 3,
    "augment_critic": "translation,cutout",
    "strength": 0.4,
    "ada_target": -0.5,
}
"""Adaptive strength, lazy penalties, packs, deviation and spectral norms."""


def test_a_run_with_every_aid_resumes_bit_for_bit(tmp_path):
    """Killed in the middle of a period."""
    data = space_data((1, 17, 9), labels=True)

    def with_aids():
        torch.manual_seed(0)
        recipe = pf.recipes.gan(data.space, "tiny", **AIDS)
        training = dataclasses.replace(recipe.training, batch=128, accumulate=2)
        return dataclasses.replace(recipe, training=training)

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
    assert_equal(taken_up.method.state_dict(), whole.method.state_dict())
    assert_equal(taken_up.average.method.state_dict(), whole.average.method.state_dict())
    for name, optimizer in whole.state.optimizers.items():
        again = taken_up.state.optimizers[name]
        assert_equal(again.state(), optimizer.state())


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def changed(policy, n=40, probability=1.0, x=None):
    if x is None:
        x = images(n)
    augment = DiffAugment(policy, extent=4.0)
    draws = BlockDraws(0, 0, len(x))
    return augment(x, draws, probability)


def test_colour_is_brightness_saturation_and_contrast():
    """Recomputed in NumPy from the same numbers."""
    draws = BlockDraws(0, 0, 40)
    draws.uniform()

    def uniform():
        numbers = draws.uniform().double()
        return numbers.reshape(-1, 1, 1, 1).numpy()

    brightness = uniform()
    saturation = uniform()
    contrast = uniform()
    x = images().double().numpy()
    x = x + 4.0 * (brightness - 0.5) / 2
    grey = x.mean(1, keepdims=True)
    x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdims=True)
    x = mean + (contrast + 0.5) * (x - mean)
    actual = changed("color").numpy()
    np.testing.assert_allclose(actual, x, rtol=1e-4, atol=1e-5)


def test_translation_shifts_whole_rows_by_an_eighth_at_most():
    numbers = torch.arange(1.0, 1 + 600 * 3 * 8 * 24)
    x = numbers.reshape(600, 3, 8, 24)
    moved = changed("translation", x=x)
    tried = itertools.product(range(-2, 3), range(-4, 5))
    shifts = list(tried)
    seen = set()
    for before, after in zip(x, moved, strict=True):
        fits = [shift for shift in shifts if torch.equal(after, shifted(before, *shift))]
        assert len(fits) == 1
        seen.update(fits)
    allowed = itertools.product(range(-1, 2), range(-3, 4))
    assert seen == set(allowed)


def shifted(x, down, right):
    """Move an image, which leaves zeros behind."""
    _, height, width = x.shape
    padded = F.pad(x, (4, 4, 4, 4))
    top = 4 - down
    left = 4 - right
    return padded[:, top : top + height, left : left + width]


def test_cutout_hides_one_rectangle_of_half_the_sides_wherever_it_falls():
    white = torch.ones(2000, 3, 8, 24)
    hidden = (changed("cutout", x=white) == 0).float()
    assert torch.equal(hidden.amin(1), hidden.amax(1))
    hidden = hidden[:, 0]
    tall = hidden.amax(2).sum(1)
    wide = hidden.amax(1).sum(1)
    area = hidden.sum((1, 2))
    assert torch.equal(area, tall * wide)
    assert int(tall.max()) == 4
    assert int(wide.max()) == 12
    expected = np.outer(covered(8), covered(24))
    often = hidden.mean(0).numpy()
    np.testing.assert_allclose(often, expected, atol=0.06)


def covered(side):
    """How often a hole of half the side hides each pixel, with all places of its centre alike."""
    hole = side // 2
    counts = np.zeros(side + 2 * hole)
    for start in range(side + 1):
        counts[start : start + hole] += 1
    return counts[hole // 2 :][:side] / (side + 1)


def test_changes_come_with_their_probability_and_for_each_row_alone():
    image = images(1).expand(3000, -1, -1, -1)
    differs = changed("cutout", x=image, probability=0.3) != image
    touched = differs.flatten(1).any(1)
    share = float(touched.float().mean())
    assert share == pytest.approx(0.3, abs=0.03)
    unchanged = changed("color,translation,cutout", probability=0.0)
    assert torch.equal(unchanged, images())


def test_gradients_pass_through_augmentation():
    """The derivative along a direction equals a finite difference."""
    x = images(8).double().requires_grad_()
    along = torch.randn(8, 3, 6, 9).double()
    weights = torch.randn(8, 3, 6, 9).double()
    step = 1e-5 * along

    def total(x):
        seen = changed("color,translation,cutout", x=x)
        return (seen * weights).sum()

    (slopes,) = torch.autograd.grad(total(x), x)
    with torch.no_grad():
        difference = total(x + step) - total(x - step)
    derivative = float((slopes * along).sum())
    assert derivative == pytest.approx(float(difference) / 2e-5, rel=1e-6)


def test_all_parts_and_turns_of_a_step_see_one_strength(monkeypatch):
    """Even where it moves fast: a batch in two parts has the losses of the whole."""
    monkeypatch.setattr("pushforward.methods.adversarial.ADAPTATION", 200)
    x = images(128)
    whole = adaptive(-0.5)
    split = adaptive(-0.5)
    wanted, notes = turns(whole, x)
    losses = split_turns(split, x)
    assert float(notes["strength"]) == pytest.approx(0.4)
    assert abs(float(whole.strength_now) - 0.4) > 0.1
    for player in wanted:
        assert_close(losses[player], wanted[player])


@pytest.mark.parametrize("name", ["relativistic", "hinge"])
def test_the_strength_moves_with_how_the_critic_leans(name):
    """Up where it is surer than wanted, by the sum over all rows; never below 0 or above .8."""
    x = images(128)
    whole = adaptive(0.6, loss=name)
    split = adaptive(0.6, loss=name)
    turns(whole, x)
    split_turns(split, x)
    assert_close(whole.strength_now, split.strength_now)
    draws = now(128).draws.stream("augment")
    augment = whole.critic_input.augment
    lean = squares(augment(x, draws, 0.4))
    if name == "relativistic":
        fake = generated_images(x)
        lean = lean - squares(augment(fake, draws, 0.4))
    surer = lean.sign().mean() - 0.6
    assert_close(whole.strength_now, 0.4 + surer * 128 / 500_000)
    for start, bound in ((3.0, 0.8), (-2.0, 0.0)):
        whole.strength_now.fill_(start)
        turns(whole, x)
        assert float(whole.strength_now) == pytest.approx(bound, abs=0.01)
    fixed = game(PICTURES, augment=DiffAugment(), strength=0.4)
    turns(fixed, x)
    assert float(fixed.strength_now) == pytest.approx(0.4)


def test_the_critic_sees_real_and_generated_rows_through_the_same_changes():
    """A policy that hides half of the image makes both kinds of rows smaller; penalties are those
    of what is seen.
    """
    x = images(64)
    augment = DiffAugment("cutout")
    method = game(PICTURES, augment=augment, gamma=1.0)
    _, notes = turns(method, x)
    draws = now(64).draws.stream("augment")
    fake = generated_images(x)
    real_seen = augment(x, draws, 1.0)
    fake_seen = augment(fake, draws, 1.0)
    slopes = A**2 * (squares(real_seen) + squares(fake_seen))
    assert_close(notes["penalty"], slopes.mean() / 2)


SHAPES = [(1, 8, 8), (3, 13, 21), (1, 28, 28)]
CRITICS = (textbook, dcgan, unnormalised, residual)
CASES = [*itertools.product(CRITICS, SHAPES), (textbook, (17,))]


def test_labels_speak_by_projection():
    head = ProjectionHead(6, class_labels(CLASSES)).double()
    features = torch.randn(5, 6, dtype=torch.float64)
    condition = labels(5)
    table = head.conditioning.embeddings.label.table.weight
    labelled = head(features, None, condition)
    free = head(features)
    null = table[CLASSES]
    plain = head.linear(features)[:, 0]
    assert_close(free, plain + features @ null)
    directions = table[condition["label"]] - null
    expected = (features * directions).sum(1)
    assert_close(labelled - free, expected)
    condition["label_null"] = torch.ones(5) > 0
    hidden = head(features, None, condition)
    assert_close(hidden, free)
    unconditional = ProjectionHead(6)
    scores = unconditional(features.float())
    assert scores.shape == (5,)


@pytest.mark.parametrize("deviation", [0, 2])
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_gradient_penalty_equals_difference(make, shape, deviation):
    """The derivative of sum |grad score|^2 along a direction of the weights, in training mode."""
    critic = make(shape, conditions=class_labels(CLASSES), minibatch_std=deviation)
    network = awaken(critic, 0.05).double()
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
    products = torch._foreach_mul(gradients, direction)
    derivative = sum(product.sum().item() for product in products)

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


def channels(network):
    """Outputs and inputs of each layer, as "64x3"."""
    shapes = [layer.weight.shape for layer in layers(network)]
    return " ".join(f"{outputs}x{inputs}" for outputs, inputs, *_ in shapes)


def test_dcgan_of_64_pixels_is_the_published_one():
    network = DCGANGenerator((3, 64, 64))
    critic = DCGANCritic((3, 64, 64))
    assert network.enter.weight.shape == (512 * 4 * 4, 100)
    growing = [*network.grow, network.leave]
    kernels = {layer.weight.shape[2:] for layer in growing}
    assert kernels == {(4, 4)}
    assert channels(network) == "8192x100 512x256 256x128 128x64 64x3"
    assert channels(critic) == f"64x3 128x64 256x128 512x256 1x{512 * 16}"
    normalising = [part for part in critic.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(normalising) == 3
    small = dcgan((1, 8, 8))
    assert channels(small) == f"6x1 12x6 1x{12 * 4}"
    for layer in layers(network) + layers(critic):
        error = 0.02 / np.sqrt(2 * layer.weight.numel())
        std = layer.weight.std().item()
        assert std == pytest.approx(0.02, abs=5 * error)
        assert layer.bias is None or layer.bias.abs().max() == 0


def test_textbook_pair_is_its_formula():
    network = TextbookGenerator((1, 28, 28))
    critic = TextbookCritic((1, 28, 28))
    z = torch.randn(3, 100)
    x = torch.randn(3, 1, 28, 28)
    hidden = F.linear(z, network.enter.weight, network.enter.bias).clamp(min=0)
    image = F.linear(hidden, network.leave.weight, network.leave.bias)
    assert_close(network(z), image.reshape(3, 1, 28, 28))
    hidden = F.linear(x.flatten(1), critic.enter.weight, critic.enter.bias)
    hidden = torch.maximum(hidden, 0.2 * hidden)
    head = critic.leave.linear
    scores = F.linear(hidden, head.weight, head.bias)
    assert_close(critic(x), scores[:, 0])
    assert parameters(network) == 101 * 256 + 257 * 784
    assert parameters(critic) == 785 * 256 + 257


@pytest.mark.parametrize(("side", "last"), [(56, 3), (8, 4), (4, 4), (1, 1)])
def test_small_critics_score_every_place_and_take_the_mean(side, last):
    small = ScaleCritic(7, side, 5, class_labels(CLASSES))
    x = torch.randn(2, 7, side, side)
    label = {"label": torch.tensor([2, 0])}
    h = x
    for convolution in small.convolutions:
        h = convolution(h)
        h = torch.maximum(h, 0.2 * h)
    assert h.shape == (2, 5, last, last)
    places = h.flatten(2).unbind(2)
    scores = torch.stack([small.leave(place, None, label) for place in places])
    actual = small(x, None, label)
    assert_close(actual, scores.mean(0), rtol=1e-4, atol=1e-5)
