"""The recipe of adversarial games: rates, ramps, codes, and runs that resume."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.conditions import Numbers
from pushforward.errors import UsageError
from pushforward.methods import Penalties
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare, reopen


def test_the_recipe_shows_vectors_as_signs_and_waves_and_images_as_they_are():
    from pushforward.networks import FourierFeatures, SignCodes

    vectors, images = (pf.recipes.gan(space_data(shape, labels=False).space) for shape in ((2,), (1, 8, 8)))
    assert isinstance(vectors.method.generator, SignCodes)
    assert isinstance(vectors.method.critic, FourierFeatures)
    assert (vectors.method.generator.sign_codes, vectors.method.critic.fourier_features) == (10, 32)
    assert not isinstance(images.method.generator, SignCodes)
    assert not isinstance(images.method.critic, FourierFeatures)
    held = pf.recipes.gan(space_data((2,), labels=False).space, spectral=True, latent_size=5)
    assert held.method.generator.sign_codes == 5
    assert not any(isinstance(part, FourierFeatures) for part in held.method.critic.modules())
    with pytest.raises(UsageError, match="leave fourier_features out"):
        pf.recipes.gan(space_data((1, 8, 8), labels=False).space, fourier_features=4)


def test_the_recipe_hands_its_schedules_on():
    options = {"lr_ramp": 0.3, "beta2_end": 0.9, "ramp": 700, "shortest_ramp": 900}
    recipe = pf.recipes.gan(space_data((2,), labels=False).space, gamma=2.0, gamma_end=0.5, ema_share=0.2, **options)
    assert recipe.training.schedule == pf.Schedule(**options)
    assert recipe.training.ema_share == 0.2
    assert recipe.method.penalties == Penalties("r1+r2", 2.0, 0.5, 700, shortest_ramp=900)


@pytest.mark.parametrize(
    ("shape", "options", "shortest"),
    [
        ((2,), {}, 400_000),
        ((2,), {"ramp": 700}, None),
        ((2,), {"penalty": "none"}, None),
        ((2,), {"gamma": 0.0}, None),
        ((1, 8, 8), {}, None),
        ((1, 17, 9), {"shortest_ramp": 5}, 5),
    ],
)
def test_the_ramp_of_a_game_of_vectors_takes_400_000_samples_at_least(shape, options, shortest):
    space = space_data(shape, labels=False).space
    recipe = pf.recipes.gan(space, "tiny", **options)
    assert recipe.training.schedule.shortest_ramp == recipe.method.penalties.shortest_ramp == shortest
    if len(shape) == 1:
        ages = dataclasses.replace(space, conditions={"age": Numbers(("age",), (40.0,), (10.0,), ((20.0,), (60.0,)))})
        assert pf.recipes.gan(ages, "tiny", **options).training.schedule.shortest_ramp is None


@pytest.mark.parametrize(
    ("ramp", "samples"), [({"ramp": 64}, 64), ({"shortest_ramp": 64}, 128), ({"shortest_ramp": 256}, 256)], ids=str
)
def test_rate_and_beta2_move_by_samples(tmp_path, ramp, samples):
    """What the optimisers are given at each of 8 steps, against the cosine written out; and a bad setting is refused."""
    data = space_data((2,), labels=False)
    schedule = pf.Schedule(warmup=1, decay=0.0, lr_ramp=0.5, beta2_end=0.999, **ramp)
    trainer = prepare(
        recipe_for("gan", data, betas=(0.0, 0.9), batch=16, lr=1e-2, schedule=schedule), data, steps=8, out=tmp_path / "run"
    )
    seen, player = [], trainer.players["critic"]
    update = player.update

    def watched(*given):
        result = update(*given)
        (group,) = player._optimizers[0][0].param_groups
        seen.append((group["lr"], group["betas"][1]))
        return result

    player.update = watched
    trainer.advance()
    shares = [math.cos(math.pi * min(1, step * 16 / samples) / 2) ** 2 for step in range(8)]
    np.testing.assert_allclose([rate for rate, _ in seen], [1e-2 * (0.5 + 0.5 * share) for share in shares])
    np.testing.assert_allclose([beta for _, beta in seen], [0.999 + (0.9 - 0.999) * share for share in shares])
    for bad in ({"beta2_end": 1.0}, {"ramp": 0}, {"shortest_ramp": 0}, {"lr_ramp": -1}):
        with pytest.raises(UsageError):
            pf.Schedule(**bad)


@pytest.mark.parametrize("accumulate", [2])
def test_a_run_with_every_aid_resumes_bit_for_bit(tmp_path, accumulate):
    """Adaptive strength, lazy penalties, packs, deviation, spectral norms, moving averages; killed in the middle of a period."""
    data = space_data((1, 17, 9), labels=True)

    def with_aids():
        torch.manual_seed(0)
        aids = {"pack": 2, "minibatch_std": 2, "spectral": True, "penalty_interval": 3, "penalty": "r1", "loss": "hinge"}
        aids |= {"ramp": 500, "beta2_end": 0.9, "lr_ramp": 0.5, "sign_codes": 3}
        recipe = pf.recipes.gan(data.space, "tiny", augment_critic="translation,cutout", strength=0.4, ada_target=-0.5, **aids)
        return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=128, accumulate=accumulate))

    whole = prepare(with_aids(), data, steps=8, out=tmp_path / "whole")
    whole.advance()
    broken = prepare(with_aids(), data, steps=8, out=tmp_path / "broken", checkpoint_every=4)
    broken.progress = lambda *_: setattr(broken, "stop", broken.clock.step == 4)
    broken.progress.say = broken.progress.measured = lambda *_: None
    broken.advance()
    assert broken.clock.step == 4
    taken_up = reopen(tmp_path / "broken", data=data, method=with_aids().method)
    taken_up.advance()
    assert float(whole.method.strength_now) > 0.4
    for own, other in ((whole.method, taken_up.method), (whole.average.method, taken_up.average.method)):
        for name, value in own.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    for player, theirs in zip(whole.players.values(), taken_up.players.values(), strict=True):
        assert all(torch.equal(value, theirs.state()[name]) for name, value in player.state().items())
