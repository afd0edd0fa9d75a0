"""Two processes train as one does: gradients and sums are those of the whole batch, whether weights
are sharded or not.
"""

import json

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
from pushforward.training.distributed.processes import Processes, called

CODE = "from pathlib import Path; from programs.distributed import main; main(Path.cwd())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes trained."""
    where = tmp_path_factory.mktemp("two")
    done = forking.run(CODE, cwd=where)
    assert done.returncode == 0, done.stderr[-4000:]
    return where


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process trained, by name: the folder, the first gradients of each player, and the
    players' parameters.
    """
    where = tmp_path_factory.mktemp("one")
    runs = {name: (where / name, *trained(name, where / name, Processes())) for name in STEPS}
    return {
        name: (
            path,
            gradients,
            [p for player in trainer.method.players.values() for p in player.parameters()],
        )
        for name, (path, trainer, gradients) in runs.items()
    }


def tensors_of(folder):
    return load(latest(folder / "checkpoints")).tensors


def losses_of(folder):
    rows = pf.load(folder).losses()
    return {player: np.array([row["loss"][player] for row in rows]) for player in rows[0]["loss"]}


@pytest.mark.parametrize(("name", "player"), [("flow", "denoiser"), ("vae", "autoencoder")])
@pytest.mark.parametrize("kind", ["reduced", "sharded"])
def test_a_training_ends_where_one_process_ends(name, player, kind, folder, alone):
    """Weights, averages, optimisers and the log; files hold whole tensors. A vae is two networks, a
    prior and a variance.
    """
    single = tensors_of(alone[name][0])
    shared = tensors_of(folder / f"{name}-{kind}")
    for group in ("method", "average", "optimizer"):
        assert single[group].keys() == shared[group].keys()
        for key, tensor in single[group].items():
            torch.testing.assert_close(
                shared[group][key], tensor, rtol=1e-5, atol=1e-5, msg=f"{group}/{key}"
            )
    mine = losses_of(folder / f"{name}-{kind}")
    wanted = losses_of(alone[name][0])
    np.testing.assert_allclose(mine[player], wanted[player], rtol=1e-5)
    key = f"gradient_norm/{player}"
    health = [
        [row.get("health") or {} for row in pf.load(path).losses()]
        for path in (folder / f"{name}-{kind}", alone[name][0])
    ]
    norms = [[row[key] for row in rows if key in row] for rows in health]
    assert norms[0]
    np.testing.assert_allclose(*norms, rtol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_each_process_holds_a_share_of_sharded_weights(name, folder, alone):
    shares = [json.loads((folder / f"{name}-shards-{rank}.json").read_text()) for rank in (0, 1)]
    held = [share["shards"] for share in shares]
    rest = shares[0]["whole"]
    assert sum(held) + rest == sum(parameter.numel() for parameter in alone[name][2])
    assert max(held) < 0.6 * sum(held)
    assert rest < 0.1 * sum(held), "a variance and a prior stay whole"
    for share in shares:
        assert share["spec"] == pf.load(folder / f"{name}-sharded").spec, (
            "each process returns the whole run"
        )
        assert share["seen"] == pf.load(alone[name][0]).seen.own.tolist()


def test_a_sharded_training_is_resumed_by_one_process(folder, alone):
    """Its files say nothing of shards."""
    from pushforward.testing import space_data

    data = space_data((17,), labels=True, n=300)
    trainer = reopen(folder / "flow-sharded", data=data, steps=21)
    whole = reopen(alone["flow"][0], data=data, steps=21)
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
    for player, wanted in alone["gan"][1].items():
        norm = float((gradients[player] - wanted).norm())
        assert norm < 1e-5 * float(wanted.norm()), player
    single = losses_of(alone["gan"][0])
    shared = losses_of(folder / f"gan-{kind}")
    for player, wanted in single.items():
        drift = np.maximum.accumulate(np.abs(control[player] - wanted) / np.abs(wanted))
        assert (
            np.abs(shared[player] - wanted) / np.abs(wanted) <= 3 * np.maximum(drift, 1e-6)
        ).all(), player


def test_a_game_is_that_of_one_process_which_adds_up_the_same_parts(folder, tmp_path):
    """To the last digit: two processes differ from one by the order of sums, and by nothing that a
    game could amplify.
    """
    trained("gan", tmp_path / "gan", Processes(), parts=2)
    for player, wanted in losses_of(tmp_path / "gan").items():
        actual = losses_of(folder / "gan-reduced")[player]
        np.testing.assert_array_equal(actual, wanted)


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

    vae = pf.recipes.vae(space_data((17,), labels=True, n=300).space, "tiny").method
    actual = called("autoencoder", vae.players["autoencoder"])
    assert actual == [vae.encoder, vae.decoder]
    assert called("encoder", vae.encoder) == [vae.encoder]
    generator = Shifted()
    assert called("generator", generator) == [generator], "with its own weight"
    with pytest.raises(UsageError, match='"prior" has no forward pass'):
        called("prior", vae.prior)
    with pytest.raises(UsageError, match="spectral norms"):
        called("critic", torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("kind", ["reduced", "sharded"])
def test_a_book_of_codes_follows_the_whole_batch(kind, folder, alone):
    single = tensors_of(alone["vqvae"][0])["method"]
    shared = tensors_of(folder / f"vqvae-{kind}")["method"]
    for name in ("codebook.counts", "codebook.sums", "use"):
        torch.testing.assert_close(shared[name], single[name], rtol=1e-4, atol=1e-4, msg=name)
