"""Networks of tables: tokens of columns, one time for all rows, and trainings that go on."""

import dataclasses

import numpy as np
import pytest
import torch
from programs.tables import mixed_space, mixed_table, mixed_values
from torch import nn

import pushforward as pf
from pushforward import spec
from pushforward.errors import CheckpointError
from pushforward.networks import ColumnTransformer
from pushforward.paths import Linear
from pushforward.recipes import Training
from pushforward.recipes.choice import table_denoising
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint.digest import state_digest
from pushforward.training.runs.spec import recipe_of


@pytest.fixture(scope="module")
def mixed():
    return mixed_space(mixed_values(500))


def test_a_token_is_made_of_its_own_column_and_makes_its_own_coordinates(mixed):
    network = ColumnTransformer.sized("tiny", shape=mixed.shape, starts=mixed.starts)
    for weight in network.leave:
        nn.init.normal_(weight)
    x = torch.randn(2, mixed.shape[0] + 5)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, torch.zeros(2)).sum(0), x)[:, 0]
    owners = torch.from_numpy(np.concatenate([mixed.owners, np.arange(5)]))
    # blocks start as the identity
    assert torch.equal(jacobian != 0, torch.from_numpy(mixed.owners)[:, None] == owners)
    assert network(x, torch.zeros(2)).shape == (2, *mixed.shape)


@pytest.mark.parametrize("network", ["mlp", "columns"])
def test_a_training_with_learned_factors_resumes_bit_for_bit(network, tmp_path):
    data = mixed_table(200)
    recipe = lambda: dataclasses.replace(pf.recipes.ddpm(data.space, "tiny", network=network), training=Training(batch=64))  # noqa: E731
    whole = pf.fit(recipe(), data, steps=9, out=tmp_path / "whole", seed=3)
    trainer = prepare(recipe(), data, steps=9, out=tmp_path / "cut", seed=3)
    while trainer.clock.step < 2:
        trainer.advance(1e-9)
    trainer.finish()
    reopen(tmp_path / "cut", data=data).advance()
    assert state_digest(tmp_path / "whole") == state_digest(tmp_path / "cut")
    assert bool(whole.method.denoiser.shift.any())
    assert pf.load(tmp_path / "cut").transport.space == whole.transport.space != data.space


@pytest.mark.parametrize("network", ["mlp", "columns"])
def test_the_time_of_all_rows_is_embedded_once_and_says_the_same(mixed, network):
    denoiser = table_denoising(mixed, "tiny", network, Linear(), "velocity").denoiser.eval()
    for weight in denoiser.parameters():
        nn.init.normal_(weight, 0, 0.1)
    lengths = []
    denoiser.network.conditioning.time.register_forward_pre_hook(lambda _, inputs: lengths.append(len(inputs[0])))
    x, t = torch.randn(5, mixed.shape[0]), torch.tensor(0.4)
    with torch.no_grad():
        alone = denoiser.evaluate("data", x, denoiser.columns("data", t))
        torch.testing.assert_close(alone, denoiser.predict("data", x, t.expand(5)), rtol=1e-5, atol=1e-5)
    assert lengths == [1, 5]


def test_a_hostile_number_of_waves_is_refused(mixed):
    method = table_denoising(mixed, "tiny", "mlp", Linear(), "velocity")
    content = {"method": spec.describe(method), "training": {"batch": 64}, "recipe": "flow", "family": "flow"}
    for waves, why in ((4, "inputs; expected"), (10**7, "must be at most 64")):
        content["method"]["denoiser"]["waves"] = waves
        with pytest.raises(CheckpointError, match=why):
            recipe_of(content)
