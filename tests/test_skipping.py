"""Steps whose loss or gradient is not finite: they change nothing, are counted, and end a training
where they are too many.
"""

import math

import pytest
import torch
from programs.failing import (
    infinite_constant,
    nan_data,
    nan_gradient,
    nan_loss,
    only_critic,
    second_part,
    spoiled,
)

import pushforward as pf
from pushforward import cli
from pushforward.cli.training import closing_notes
from pushforward.errors import Diverged
from pushforward.evaluation.models import health_of
from pushforward.methods.denoising import Denoising
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop import optimizers
from pushforward.training.runs import log
from pushforward.training.runs.log import MARK, Skips

DATA = space_data((2,), labels=False)


def state_of(trainer):
    """Weights, averages and optimisers, copied."""
    return {
        group: {name: value.clone() for name, value in tensors.items()}
        for group, tensors in trainer.state.state_dict().items()
        if isinstance(tensors, dict)
    }


def one_step(trainer):
    """What a trainer holds before and after its next step, and the row of the log."""
    before = state_of(trainer)
    step = trainer.clock.step
    trainer.advance(1e-9)
    assert trainer.clock.step == step + 1
    row = [*log.read(trainer.journal.path), *trainer.journal.held][-1]
    assert row["step"] == step + 1
    return before, state_of(trainer), row


CASES = {
    "loss": ("flow", {}, nan_loss),
    "gradient": ("flow", {"clip": None}, nan_gradient),
    "constant": ("flow", {}, infinite_constant),
    "part": ("flow", {"batch": 128, "accumulate": 2}, second_part),
    "muon": ("flow", {"optimizer": "muon"}, nan_loss),
    "statistics": ("vqvae", {}, nan_data),
    "game": ("gan", {}, nan_loss),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_that_is_not_finite_changes_nothing(name, tmp_path):
    recipe, settings, how = CASES[name]
    trainer = spoiled(
        prepare(recipe_for(recipe, DATA, **settings), DATA, steps=9, out=tmp_path / "run"), {2}, how
    )
    trainer.advance(1e-9)
    trainer.advance(1e-9)
    before, after, row = one_step(trainer)
    for group, tensors in before.items():
        assert tensors.keys() == after[group].keys()
        for key, value in tensors.items():
            torch.testing.assert_close(
                after[group][key], value, rtol=0, atol=0, msg=f"{group}/{key}"
            )
    assert {key for key in row.get("health", {}) if key.startswith(MARK)} == {
        f"{MARK}{player}" for player in trainer.state.optimizers
    }
    before, after, row = one_step(trainer)
    changed = {
        key
        for key, value in before["method"].items()
        if not torch.equal(value, after["method"][key])
    }
    assert changed
    assert all(bool(value.isfinite().all()) for group in after.values() for value in group.values())
    trainer.close()


def test_the_other_player_of_a_game_goes_on(tmp_path):
    trainer = spoiled(
        prepare(recipe_for("gan", DATA), DATA, steps=9, out=tmp_path / "run"), {1}, only_critic
    )
    trainer.advance(1e-9)
    before, after, row = one_step(trainer)
    for group in ("method", "optimizer"):
        same = {key: torch.equal(value, after[group][key]) for key, value in before[group].items()}
        assert not all(alike for key, alike in same.items() if key.startswith("generator"))
        assert all(alike for key, alike in same.items() if key.startswith("critic"))
    assert [key for key in row.get("health", {}) if key.startswith(MARK)] == [f"{MARK}critic"]
    trainer.close()


class Beside(Processes):
    """One process that adds up what another one has, which is not finite at one step."""

    def __init__(self, what):
        self.what = what
        self.calls = 0

    def added(self, tensors):
        self.calls += 1
        return [
            tensor + (math.nan if self.what == "loss" and self.calls == 2 else 0)
            for tensor in tensors
        ]

    def add_gradients(self, parameters):
        for parameter in parameters:
            parameter.grad += math.nan if self.what == "gradient" and self.calls == 2 else 0


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_processes_agree_by_what_they_have_added_up(what, tmp_path):
    trainer = prepare(recipe_for("flow", DATA), DATA, steps=9, out=tmp_path / "run")
    trainer.processes = trainer.rounds.processes = Beside(what)
    marks = [f"{MARK}denoiser" in one_step(trainer)[2].get("health", {}) for _ in range(3)]
    assert marks == [False, True, False]
    trainer.close()


@pytest.mark.parametrize("bad", [False, True])
def test_the_fused_kernel_skips_as_the_processor_does(bad, monkeypatch):
    """On an accelerator nobody waits to read whether a gradient is finite."""
    ends = []
    for waits in (True, False):
        monkeypatch.setattr(optimizers, "_waits", lambda player, waits=waits: waits)
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        player = optimizers.PlayerOptimizer(
            module, "denoiser", pf.Training(lr=0.1, weight_decay=0.1)
        )
        for step in range(4):
            x = torch.full((5, 3), math.nan if bad and step == 2 else 1.0 + step)
            loss = module(x).square().mean()
            loss.backward()
            norm, finite = player.update(1.0, loss=loss.detach())
            assert bool(finite) == bool(norm.isfinite()) == (not (bad and step == 2))
        ends.append([*module.state_dict().values(), *player.state().values()])
    for own, other in zip(*ends, strict=True):
        assert torch.equal(own, other)


def test_a_training_with_skipped_steps_is_resumed_bit_for_bit(tmp_path, monkeypatch):
    play = Denoising.losses
    monkeypatch.setattr(
        Denoising,
        "losses",
        lambda self, batch, now: (nan_loss if now.step in (2, 5, 6) else lambda b, n, p: p(b, n))(
            batch, now, lambda b, n: play(self, b, n)
        ),
    )
    pf.fit(recipe_for("flow", DATA), DATA, steps=9, out=tmp_path / "whole")
    trainer = prepare(
        recipe_for("flow", DATA), DATA, steps=9, out=tmp_path / "cut", checkpoint_every=4
    )
    while trainer.clock.step < 6:
        trainer.advance(1e-9)
    trainer.close()
    again = reopen(tmp_path / "cut", data=DATA)
    assert again.journal.skips.count == 1
    again.advance()
    assert again.journal.skips.count == 3
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    rows = [
        [{**row, "seconds": 0} for row in pf.load(tmp_path / name).losses()]
        for name in ("whole", "cut")
    ]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0] if not row["loss"]] == [3, 6, 7]
    run = pf.load(tmp_path / "whole")
    assert "was not finite: 3, the first at step 3" in closing_notes(run, len(DATA.train))[0]
    assert "was not finite: 3, the" in health_of(run)[0].skipped
    assert [alarm.kind for alarm in health_of(run)[1]] == ["skipped"]


def row(step, bad, **health):
    return {"step": step, "loss": {}, "health": {**health, **({f"{MARK}map": 1} if bad else {})}}


def problem(steps, last):
    """The first step at which so many skipped ones are too many."""
    skips = Skips()
    return next(
        (step for step in range(1, last + 1) if skips.read(row(step, step in steps)) is not None),
        None,
    )


def test_skipped_steps_in_a_row_are_too_many():
    assert problem([5, 6, 8, 9], 2000) is None, "two in a row"
    assert problem([5, 6, 7], 2000) == 7


def test_too_many_end_a_training_with_the_last_weights_that_were_good(tmp_path):
    trainer = prepare(
        recipe_for("flow", DATA), DATA, steps=40, out=tmp_path / "run", checkpoint_every=2
    )
    spoiled(trainer, range(4, 40), nan_loss)
    while trainer.clock.step < 4:
        trainer.advance(1e-9)
    good = state_of(trainer)
    with pytest.raises(
        Diverged,
        match=r"3 steps in a row, up to step 7, .* denoiser was not finite.*step 4 is saved",
    ):
        trainer.advance()
    stored = final_state(tmp_path / "run")[0]
    assert trainer.checkpointer.step == 4, "no checkpoint right after a skipped step"
    assert all(torch.equal(good["method"][name], value) for name, value in stored["method"].items())


def test_a_training_of_which_no_step_was_finite_has_diverged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        Denoising,
        "losses",
        lambda self, batch, now: iter(
            [("denoiser", self.denoiser.network(batch.x, batch.x[:, 0]).mean() * math.nan)]
        ),
    )
    words = [
        "train",
        "flow",
        "--data",
        "moons",
        "--size",
        "tiny",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main(words) == 5
    assert "In every step" in " ".join(capsys.readouterr().err.split())
