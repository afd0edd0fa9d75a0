"""A critic on the features of the map that is finished: what it sees, what learns, and runs that hold it."""

import torch
from torch import nn

import pushforward as pf
from pushforward.data import Batch
from pushforward.denoisers import FlowMap
from pushforward.draws import BlockDraws
from pushforward.methods import Finish, Now
from pushforward.methods.perceptual_distance import FeatureCritic
from pushforward.networks import UNet
from pushforward.networks.pretrained import FeatureHeads
from pushforward.paths import Linear
from pushforward.testing import assert_same, final_state, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.recipe_argument import with_frozen

DATA = space_data((1, 8, 8), labels=True)
NET = {"widths": (16, 32), "blocks": 1, "heads": 2}


class Mean(nn.Module):
    """Scores that are the mean of the first map of features, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, features, t=None, condition=None):
        return self.weight * features[0].flatten(1).mean(1)


class Shown(nn.Module):
    """A network whose features are its input, and its two times."""

    times = 2

    def features(self, x, t=None, condition=None):
        assert condition is None or set(condition) == {"label"}
        assert torch.equal(t[:, 0], t[:, 1])
        return [x + t[:, :1, None, None]]

    def forward(self, x, t, condition=None):
        return x


def unet_map(seed=0):
    torch.manual_seed(seed)
    network = UNet((1, 8, 8), **NET, conditions=DATA.space.conditions, times=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return FlowMap(network, Linear(), "velocity", DATA.space)


def test_examples_are_mixed_with_noise_at_the_time_that_the_denoiser_reads():
    critic = FeatureCritic(Mean(), low=0.1, high=0.6)
    critic.look_through(FlowMap(Shown(), Linear(), "velocity", DATA.space))
    n, label = 1024, {"label": torch.zeros(1024, dtype=torch.long)}
    seen, mixed = critic.noised(label, BlockDraws(0, 0, n), lambda x: 2 * x)
    assert set(label) == {"label"}
    (t,) = (seen[name] for name in seen if name != "label")
    assert 0.1 <= t.min() < 0.11
    assert 0.59 < t.max() <= 0.6
    x = torch.full((n, 1, 8, 8), 1.5)
    first, second = mixed(x), mixed(x)
    noise = (first - 3 * (1 - t)[:, None, None, None]) / t[:, None, None, None]
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1) < 0.01
    assert not torch.equal(first, second)
    r = torch.hypot(1 - t, t)[:, None, None, None]  # networks receive inputs of unit variance
    scores = critic(first, None, seen).detach()
    torch.testing.assert_close(scores, (first / r).flatten(1).mean(1) + t)
    alone = critic(x, None, label).detach()
    torch.testing.assert_close(alone, torch.full((n,), 1.5 / (0.9**2 + 0.1**2) ** 0.5 + 0.1))


def test_the_heads_fit_the_features_of_any_unet_and_know_conditions():
    for shape, stem, widths in (((1, 28, 28), 2, (16, 32)), ((3, 9, 20), 1, (16, 16, 32))):
        network = UNet(shape, widths=widths, blocks=1, stem=stem, heads=2, conditions=DATA.space.conditions)
        heads, x = FeatureHeads.of(network, hidden=8), torch.randn(3, *shape)
        features = network.features(x, torch.rand(3), {"label": torch.tensor([0, 1, 2])})
        assert [max(h.shape[2:]) for h in features] == list(heads.sides)
        scores = [heads(features, None, {"label": torch.full((3,), label)}) for label in (0, 1)]
        assert scores[0].shape == (3,)
        assert not torch.equal(*scores)


def test_only_the_small_critics_learn_and_both_players_see_noise():
    method = pf.recipes.finish(DATA.space, "tiny", teacher=unet_map()).method
    assert isinstance(method, Finish)
    assert isinstance(method.critic, FeatureCritic)
    assert method.critic.teacher is method.teacher
    assert set(method.parts) == {"teacher"}
    assert {name.split(".")[0] for name, _ in method.critic.named_parameters()} == {"heads"}
    assert (method.penalties.gamma, method.anchor.still) == (0.0, 0.05)
    calls, score = [], method.critic.forward
    method.critic.forward = lambda x, t, condition: calls.append((x.detach(), condition)) or score(x, t, condition)
    x = method.space.to_model(DATA.train.data_units(slice(64)))
    batch = Batch(x, {"label": torch.arange(64) % 3})
    turns = dict(method.turns(batch, Now(BlockDraws(0, 0, 64), 0, 0.5)))
    turns["map"].backward()
    assert any(p.grad is not None and p.grad.any() for p in method.flow_map.parameters())
    assert len(calls) == 3, "both at once, the samples, the data"
    assert all(len(condition) == 2 and "label" in condition for _, condition in calls)
    assert not any(torch.equal(part, x) for seen, _ in calls for part in seen.split(64))


def test_a_resumed_run_with_it_ends_in_the_same_bits(tmp_path):
    def mapped(space, size="small"):
        return pf.recipes.meanflow(space, size, network=UNet((1, 8, 8), **NET, conditions=space.conditions, times=2))

    pf.fit(mapped(DATA.space), DATA, steps=1, out=tmp_path / "map")
    recipe = with_frozen("finish", {"teacher": tmp_path / "map"})(DATA.space, "tiny", network="features", coverage=0, recall=0)
    pf.fit(recipe, DATA, steps=3, out=tmp_path / "whole")
    recipe = with_frozen("finish", {"teacher": tmp_path / "map"})(DATA.space, "tiny", network="features", coverage=0, recall=0)
    trainer = prepare(recipe, DATA, steps=3, out=tmp_path / "halves", checkpoint_every=1)
    trainer.advance(1e-9)
    trainer.finish()
    reopen(tmp_path / "halves", data=DATA).advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "halves"))
    assert isinstance(pf.load(tmp_path / "whole").method.critic, FeatureCritic)
