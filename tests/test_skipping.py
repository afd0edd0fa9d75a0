"""Steps whose loss or gradient is not finite: they change nothing, are counted, and end a training
where they are too many.
"""

import functools
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
    copied = {}
    for group, tensors in trainer.state.state_dict().items():
        if isinstance(tensors, dict):
            copied[group] = {name: value.clone() for name, value in tensors.items()}
    return copied


def skipped(row):
    """The optimisers that skipped this step, by the log."""
    health = row.get("health", {})
    return {key.removeprefix(MARK) for key in health if key.startswith(MARK)}


def prepared(out, name="flow", steps=9, every=None, **settings):
    recipe = recipe_for(name, DATA, **settings)
    return prepare(recipe, DATA, steps=steps, out=out, checkpoint_every=every)


def advance_to(trainer, step):
    while trainer.clock.step < step:
        trainer.advance(1e-9)


def one_step(trainer):
    """What a trainer holds before and after its next step, and the row of the log."""
    before = state_of(trainer)
    step = trainer.clock.step
    trainer.advance(1e-9)
    assert trainer.clock.step == step + 1
    rows = [*log.read(trainer.journal.path), *trainer.journal.held]
    row = rows[-1]
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
    trainer = prepared(tmp_path / "run", recipe, **settings)
    spoiled(trainer, {2}, how)
    advance_to(trainer, 2)
    before, after, row = one_step(trainer)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert skipped(row) == set(trainer.state.optimizers)
    before, after, row = one_step(trainer)
    assert not all(unchanged(before["method"], after["method"]).values())
    for tensors in after.values():
        for key, value in tensors.items():
            assert value.isfinite().all(), key
    trainer.close()


def unchanged(before, after):
    """Whether each tensor is what it was."""
    return {key: torch.equal(value, after[key]) for key, value in before.items()}


def test_the_other_player_of_a_game_goes_on(tmp_path):
    trainer = prepared(tmp_path / "run", "gan")
    spoiled(trainer, {1}, only_critic)
    trainer.advance(1e-9)
    before, after, row = one_step(trainer)
    for group in ("method", "optimizer"):
        same = unchanged(before[group], after[group])
        generator = [alike for key, alike in same.items() if key.startswith("generator")]
        critic = [alike for key, alike in same.items() if key.startswith("critic")]
        assert not all(generator)
        assert all(critic)
    assert skipped(row) == {"critic"}
    trainer.close()


class Beside(Processes):
    """One process that adds up what another one has, which is not finite at one step."""

    def __init__(self, what):
        self.what = what
        self.calls = 0

    def sum(self, tensors):
        self.calls += 1
        other = self.other("loss")
        return [tensor + other for tensor in tensors]

    def add_gradients(self, parameters):
        other = self.other("gradient")
        for parameter in parameters:
            parameter.grad += other

    def other(self, what):
        if what == self.what and self.calls == 2:
            return math.nan
        return 0


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_processes_agree_by_what_they_have_added_up(what, tmp_path):
    trainer = prepared(tmp_path / "run")
    trainer.processes = trainer.rounds.processes = Beside(what)
    for expected in (set(), {"denoiser"}, set()):
        _, _, row = one_step(trainer)
        assert skipped(row) == expected
    trainer.close()


@pytest.mark.parametrize("bad", [False, True])
def test_the_fused_kernel_skips_as_the_processor_does(bad, monkeypatch):
    """On an accelerator nobody waits to read whether a gradient is finite."""
    ends = []
    for waits in (True, False):
        monkeypatch.setattr(optimizers, "_waits", lambda player, waits=waits: waits)
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        training = pf.Training(lr=0.1, weight_decay=0.1)
        player = optimizers.PlayerOptimizer(module, "denoiser", training)
        for step in range(4):
            spoilt = bad and step == 2
            x = torch.full((5, 3), 1.0 + step)
            if spoilt:
                x *= math.nan
            loss = module(x).square().mean()
            loss.backward()
            norm, finite = player.update(1.0, loss=loss.detach())
            assert bool(finite) != spoilt
            assert bool(norm.isfinite()) != spoilt
        ends.append([*module.state_dict().values(), *player.state().values()])
    for own, other in zip(*ends, strict=True):
        assert torch.equal(own, other)


def test_a_training_with_skipped_steps_is_resumed_bit_for_bit(tmp_path, monkeypatch):
    play = Denoising.losses

    def losses(self, batch, now):
        if now.step in (2, 5, 6):
            return nan_loss(batch, now, functools.partial(play, self))
        return play(self, batch, now)

    monkeypatch.setattr(Denoising, "losses", losses)
    run = pf.fit(recipe_for("flow", DATA), DATA, steps=9, out=tmp_path / "whole")
    trainer = prepared(tmp_path / "cut", every=4)
    advance_to(trainer, 6)
    trainer.close()
    again = reopen(tmp_path / "cut", data=DATA)
    assert again.journal.skips.count == 1
    again.advance()
    assert again.journal.skips.count == 3
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    rows = untimed(run)
    assert untimed(pf.load(tmp_path / "cut")) == rows
    assert [row["step"] for row in rows if not row["loss"]] == [3, 6, 7]
    first, *_ = closing_notes(run, len(DATA.train))
    assert "was not finite: 3, the first at step 3" in first
    health, alarms = health_of(run)
    assert "was not finite: 3, the" in health.skipped
    assert [alarm.kind for alarm in alarms] == ["skipped"]


def untimed(run):
    """The log without times."""
    return [{**row, "seconds": 0} for row in run.losses()]


def row(step, bad, **health):
    if bad:
        health[f"{MARK}map"] = 1
    return {"step": step, "loss": {}, "health": health}


def problem(steps, last):
    """The first step at which so many skipped ones are too many."""
    skips = Skips()
    for step in range(1, last + 1):
        if skips.read(row(step, step in steps)) is not None:
            return step
    return None


def test_skipped_steps_in_a_row_are_too_many():
    assert problem([5, 6, 8, 9], 2000) is None, "two in a row"
    assert problem([5, 6, 7], 2000) == 7


def test_too_many_end_a_training_with_the_last_weights_that_were_good(tmp_path):
    trainer = prepared(tmp_path / "run", steps=40, every=2)
    spoiled(trainer, range(4, 40), nan_loss)
    advance_to(trainer, 4)
    good = state_of(trainer)
    with pytest.raises(
        Diverged,
        match=r"3 steps in a row, up to step 7, .* denoiser was not finite.*step 4 is saved",
    ):
        trainer.advance()
    stored, _ = final_state(tmp_path / "run")
    assert trainer.checkpointer.step == 4, "no checkpoint right after a skipped step"
    assert all(unchanged(stored["method"], good["method"]).values())


def test_a_training_of_which_no_step_was_finite_has_diverged(tmp_path, monkeypatch, capsys):
    def losses(self, batch, now):
        output = self.denoiser.network(batch.x, batch.x[:, 0])
        yield "denoiser", math.nan * output.mean()

    monkeypatch.setattr(Denoising, "losses", losses)
    monkeypatch.chdir(tmp_path)
    command = "train flow --data moons --size tiny --steps 2 --out run"
    assert cli.main(command.split()) == 5
    assert "In every step" in " ".join(capsys.readouterr().err.split())
