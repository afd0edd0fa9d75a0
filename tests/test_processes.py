"""Two processes train as one does: gradients and sums are those of the whole batch, whether weights
are sharded or not.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from programs import forking
from programs.distributed import STEPS, trained

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.training.api import reopen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import load
from pushforward.training.distributed.processes import Processes, find_shardable

CODE = "from pathlib import Path; from programs.distributed import main; main(Path.cwd())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes trained."""
    where = tmp_path_factory.mktemp("two")
    done = forking.run(CODE, cwd=where)
    assert done.returncode == 0, done.stderr[-4000:]
    return where


class Alone(NamedTuple):
    """What one process trained: its folder, the first gradients of each player, all parameters."""

    folder: Path
    gradients: dict
    parameters: list


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process trained, by name."""
    where = tmp_path_factory.mktemp("one")
    runs = {}
    for name in STEPS:
        trainer, gradients = trained(name, where / name, Processes())
        parameters = []
        for player in trainer.method.players.values():
            parameters += player.parameters()
        runs[name] = Alone(where / name, gradients, parameters)
    return runs


def tensors_of(folder):
    return load(latest(folder / "checkpoints")).tensors


def losses_of(folder):
    losses = [row["loss"] for row in pf.load(folder).losses()]
    return {player: np.array([loss[player] for loss in losses]) for player in losses[0]}


def norms_of(folder, player):
    """The norms of gradients that the log holds."""
    key = f"gradient_norm/{player}"
    health = [row.get("health") or {} for row in pf.load(folder).losses()]
    return [entry[key] for entry in health if key in entry]


@pytest.mark.parametrize(("name", "player"), [("flow", "denoiser"), ("vae", "autoencoder")])
@pytest.mark.parametrize("kind", ["reduced", "sharded"])
def test_a_training_ends_where_one_process_ends(name, player, kind, folder, alone):
    """Weights, averages, optimisers and the log; files hold whole tensors. A vae is two networks, a
    prior and a variance.
    """
    one = alone[name].folder
    two = folder / f"{name}-{kind}"
    single = tensors_of(one)
    shared = tensors_of(two)
    for group in ("method", "average", "optimizer"):
        torch.testing.assert_close(shared[group], single[group], rtol=1e-5, atol=1e-5)
    losses = losses_of(two)[player]
    np.testing.assert_allclose(losses, losses_of(one)[player], rtol=1e-5)
    norms = norms_of(two, player)
    assert norms
    np.testing.assert_allclose(norms, norms_of(one, player), rtol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_each_process_holds_a_share_of_sharded_weights(name, folder, alone):
    spec = pf.load(folder / f"{name}-sharded").spec
    seen = pf.load(alone[name].folder).seen.own.tolist()
    held = []
    for rank in (0, 1):
        text = (folder / f"{name}-shards-{rank}.json").read_text()
        share = json.loads(text)
        held.append(share["shards"])
        rest = share["whole"]
        assert share["spec"] == spec, "each process returns the whole run"
        assert share["seen"] == seen
    total = sum(held)
    assert total + rest == sum(parameter.numel() for parameter in alone[name].parameters)
    assert max(held) < 0.6 * total
    assert rest < 0.1 * total, "a variance and a prior stay whole"


def test_a_sharded_training_is_resumed_by_one_process(folder, alone):
    """Its files say nothing of shards."""
    from pushforward.testing import space_data

    data = space_data((17,), labels=True, n=300)
    trainer = reopen(folder / "flow-sharded", data=data, steps=21)
    whole = reopen(alone["flow"].folder, data=data, steps=21)
    for single in (trainer, whole):
        single.advance()
    torch.testing.assert_close(trainer.journal.losses, whole.journal.losses, rtol=1e-4, atol=0)


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """The losses of the game with weights that are scaled by one rounding."""
    where = tmp_path_factory.mktemp("control") / "gan"
    trained("gan", where, Processes(), scale=1 + 1.2e-7)
    return losses_of(where)


@pytest.mark.parametrize("kind", ["reduced", "sharded"])
def test_a_game_agrees_as_far_as_rounding_allows(kind, folder, alone, control):
    """The first gradients to 1e-5; later losses within three times the drift of the control."""
    gradients = torch.load(folder / f"gan-{kind}.gradients")
    for player, wanted in alone["gan"].gradients.items():
        error = (gradients[player] - wanted).norm()
        assert error < 1e-5 * wanted.norm(), player
    single = losses_of(alone["gan"].folder)
    shared = losses_of(folder / f"gan-{kind}")
    for player, wanted in single.items():
        drift = np.maximum.accumulate(relative(control[player], wanted))
        allowed = 3 * np.maximum(drift, 1e-6)
        assert (relative(shared[player], wanted) <= allowed).all(), player


def relative(values, wanted):
    """The relative errors of values."""
    return np.abs(values - wanted) / np.abs(wanted)


def test_a_game_is_that_of_one_process_which_adds_up_the_same_parts(folder, tmp_path):
    """To the last digit: two processes differ from one by the order of sums, and by nothing that a
    game could amplify.
    """
    trained("gan", tmp_path / "gan", Processes(), parts=2)
    shared = losses_of(folder / "gan-reduced")
    for player, wanted in losses_of(tmp_path / "gan").items():
        np.testing.assert_array_equal(shared[player], wanted)


class Shifted(torch.nn.Module):
    """A network in another one, which has a weight of its own."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(2, 2)
        self.shift = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.network(x) + self.shift


def test_networks_of_a_player_are_sharded_one_by_one():
    """Nothing calls a vae as a whole, so its weights would never be gathered."""
    from pushforward.testing import space_data

    data = space_data((17,), labels=True, n=300)
    vae = pf.recipes.vae(data.space, "tiny").method
    networks = find_shardable("autoencoder", vae.players["autoencoder"])
    assert networks == [vae.encoder, vae.decoder]
    assert find_shardable("encoder", vae.encoder) == [vae.encoder]
    generator = Shifted()
    assert find_shardable("generator", generator) == [generator], "with its own weight"
    with pytest.raises(UsageError, match='"prior" has no forward pass'):
        find_shardable("prior", vae.prior)
    spectral = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match="spectral norms"):
        find_shardable("critic", spectral)


@pytest.mark.parametrize("kind", ["reduced", "sharded"])
def test_a_book_of_codes_follows_the_whole_batch(kind, folder, alone):
    single = tensors_of(alone["vqvae"].folder)["method"]
    shared = tensors_of(folder / f"vqvae-{kind}")["method"]
    for name in ("codebook.counts", "codebook.sums", "use"):
        torch.testing.assert_close(shared[name], single[name], rtol=1e-4, atol=1e-4, msg=name)
