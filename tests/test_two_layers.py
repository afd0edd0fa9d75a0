"""Models of two layers against their exact likelihood."""

import math

import pytest
import torch
from programs.linear_vaes import NOISE, UPPER, WEIGHT, agree, exact_rows, gradients, hierarchy, linear_vae, now
from torch import distributions

from pushforward.data import Batch
from pushforward.draws import ExampleDraws
from pushforward.methods.evidence_bound import importance_bound


def test_two_layers_reach_the_exact_likelihood():
    x = exact_rows(64)
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    covariance = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    mean = WEIGHT @ torch.full((2,), 0.3) + 0.2
    truth = float(distributions.MultivariateNormal(mean, covariance).log_prob(x).mean())
    with torch.no_grad():
        few = float(importance_bound(hierarchy().log_weights(x, 5, ExampleDraws(0, 64))).mean())
        many = float(importance_bound(hierarchy().log_weights(x, 20_000, ExampleDraws(0, 64))).mean())
    assert few < truth - 0.05
    assert many == pytest.approx(truth, abs=0.01)


def test_samples_of_two_layers_have_the_model_s_moments():
    x = hierarchy().transport().sample(40_000, batch=40_000)
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    torch.testing.assert_close(x.mean(0), WEIGHT @ torch.full((2,), 0.3) + 0.2, rtol=0, atol=0.03)
    wanted = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    torch.testing.assert_close(torch.cov(x.T), wanted, rtol=0, atol=0.05)


@pytest.mark.parametrize("doubly", [False, True])
def test_log_variances_of_two_layers_cannot_run_away(doubly):
    said = {"encoder": -1e4, "upper_encoder": 1e4, "upper_decoder": -1e4}
    vae = hierarchy(dreg=doubly)
    for part, log_variance in said.items():
        getattr(vae, part).log_variance.data.fill_(log_variance)
    ((_, loss),) = list(vae.losses(Batch(exact_rows(64)), now(64)))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in vae.parameters())
    assert vae.autoencoder().encoder(exact_rows(4))[:, 2:].eq(-7).all(), "latents see the same code"


def apart(**options):
    """An upper posterior far from the exact one, so that its score counts."""
    vae = hierarchy(**options)
    with torch.no_grad():
        vae.upper_encoder.map.weight.mul_(2)
        vae.upper_encoder.map.bias.add_(1.5)
    return vae


@pytest.mark.parametrize(("make", "beta"), [(hierarchy, 1.0), (apart, 0.5)])
def test_the_doubly_reparameterised_gradient_holds_for_two_layers(make, beta):
    plain, doubly = (gradients(make, beta, way) for way in (False, True))
    for part in ("encoder", "upper_encoder", "upper_decoder", "decoder"):
        agree(plain[part], doubly[part])


def test_upper_codes_are_drawn_afresh_as_often_as_weights_are_asked_for():
    vae, draws, seen = hierarchy(), ExampleDraws(0, 4), []
    vae.upper_encoder.map.weight.data.zero_()
    vae.upper_decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    for _ in range(2):
        vae.log_weights(exact_rows(4), 3, draws)
    assert not torch.isclose(seen[0], seen[1]).any()


@pytest.mark.parametrize("make", [linear_vae, lambda **options: hierarchy(**options)])
@pytest.mark.parametrize("options", [{}, {"samples": 6}, {"dreg": True}, {"samples": 6, "dreg": True, "beta": 0.5}])
def test_both_halves_of_the_bound_are_noted_whatever_the_objective(make, options):
    x, vae, at = exact_rows(20_000), make(**options), now(20_000)
    loss = next(vae.losses(Batch(x), at))[1].detach()
    assert not any(note.requires_grad for note in at.notes.values())
    assert float(at.notes["beta"]) == options.get("beta", 1.0)
    bound = float(at.notes["log_likelihood"] - at.notes["beta"] * at.notes["kl"])
    if options.get("samples", 1) == 1:
        assert bound == pytest.approx(-3 * float(loss), abs=0.02)
    else:
        assert bound < -3 * float(loss) - 0.05
    method = make()
    list(method.losses(Batch(x), alone := now(20_000)))
    for name in ("kl", "log_likelihood", "explained"):
        assert float(at.notes[name]) == pytest.approx(float(alone.notes[name]), abs=0.03)
    assert float(at.notes["units"]) == 2
