"""A training that fails goes back to its newest checkpoint, once with half the learning rate, or with smaller parts."""

import json
import math

import pytest
import torch
from programs.failing import infinite_weight, nan_data, nan_gradient, nan_loss, spoiled

import pushforward as pf
from pushforward.data import Batch
from pushforward.errors import CheckpointError, Diverged
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.budget import Clock
from pushforward.training.processes import Processes
from pushforward.training.runs import log
from pushforward.training.skipping import in_words

DATA = space_data((2,), labels=False)
ROLLBACK = {"cause": "diverged", "step": 4, "at": 8, "rate": 0.5, "accumulate": 1, "why": "not finite"}
EVERYWHERE = {"loss": nan_loss, "gradient": nan_gradient, "data": nan_data}


def training(out, recipe="flow", steps=12, every=4, **settings):
    return prepare(recipe_for(recipe, DATA, **settings), DATA, steps=steps, out=out, checkpoint_every=every)


def advanced(trainer, step):
    """The trainer after its first rollback, at a step."""
    while not (trainer.recovery.rollbacks and trainer.clock.step >= step):
        trainer.advance(1e-9)
    return trainer


def watched(trainer):
    """The trainer, whose weights and averages are looked at before and after each step."""
    step = trainer.step

    def checked():
        done = step()
        for method in (trainer.method, trainer.average.method):
            assert all(bool(value.isfinite().all()) for value in method.state_dict().values())
        return done

    trainer.step = checked
    return trainer


def spoiled_batch(batch, bad):
    return Batch(batch.x * math.nan, batch.condition) if bad else batch


def rows(folder):
    return [{**row, "seconds": 0} for row in log.read(folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """The end of an undisturbed training whose learning rate is halved after step 4."""
    trainer = training(tmp_path_factory.mktemp("halved") / "run")
    while trainer.clock.step < 4:
        trainer.advance(1e-9)
    for player in trainer.players.values():
        player.lr /= 2
    trainer.advance()
    return final_state(trainer.folder)


@pytest.mark.parametrize("where", [*EVERYWHERE, "weight"])
def test_after_a_rollback_training_goes_on_with_half_the_rate(where, halved, tmp_path):
    trainer = watched(training(tmp_path / "run", clip=None if where == "gradient" else 1.0))
    if where == "weight":
        infinite_weight(trainer, 5)
    else:
        spoiled(trainer, (5, 6, 7), EVERYWHERE[where], times=3)
    trainer.advance()
    tensors, state = final_state(tmp_path / "run")
    (rollback,) = state.pop("rollbacks")
    assert (rollback["cause"], rollback["step"], rollback["rate"]) == ("diverged", 4, 0.5)
    assert rollback["at"] == (6 if where == "weight" else 8)
    if where != "gradient":
        assert_same((tensors, state), halved)
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(1, 13))
    assert [row["step"] for row in rows(tmp_path / "run") if "rollback" in row] == [5]
    said = in_words(rows(tmp_path / "run"))
    assert f"at step {rollback['at']} training went back to step 4, and goes on from there with half the learning rate" in said
    assert "went back to step 4" in pf.load(tmp_path / "run")._repr_html_()


@pytest.mark.parametrize("kill", [4, 6, 9])
def test_a_run_that_went_back_is_resumed_bit_for_bit(kill, halved, tmp_path):
    """Whether it is killed before or after the next checkpoint."""
    trainer = spoiled(training(tmp_path / "run"), (5, 6, 7), nan_loss, times=3)
    advanced(trainer, kill).close()
    assert trainer.saver.step == (8 if kill == 9 else 4)
    pf.resume(tmp_path / "run", data=DATA)
    tensors, state = final_state(tmp_path / "run")
    assert len(state.pop("rollbacks")) == 1
    assert_same((tensors, state), halved)
    whole = spoiled(training(tmp_path / "whole"), (5, 6, 7), nan_loss, times=3)
    whole.advance()
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_an_older_checkpoint_goes_the_way_that_the_run_went_from_there(tmp_path):
    spoiled(training(tmp_path / "run", every=6), (8, 9, 10), nan_loss, times=3).advance()
    for step, rate in ((6, 0.5), (12, 0.5)):
        trainer = reopen(tmp_path / "run", data=DATA, checkpoint=f"step_{step:06d}", steps=16)
        assert trainer._step.rate == rate
        trainer.close()
    trainer = reopen(tmp_path / "run", data=DATA, steps=16)
    trainer.recovery._recorded = ([*trainer.recovery.rollbacks, trainer.recovery.rollbacks[0]], 99.0)
    trainer.restore(tmp_path / "run" / "checkpoints" / "step_000012")
    assert trainer.recovery.news == [], "a rollback to another checkpoint"
    trainer.close()


def test_what_fails_again_ends_the_training_with_what_is_known_of_it(tmp_path):
    trainer = training(tmp_path / "run")
    batch = trainer.sampler.batch
    trainer.sampler.batch = lambda number, *where: spoiled_batch(batch(number, *where), number in (5, 6, 7))
    again = 'up to step 8.*gone back to step 4 with half.*"x" of its batch is not finite'
    with pytest.raises(Diverged, match=again) as caught:
        trainer.advance()
    assert str(tmp_path / "run" / "failure") in str(caught.value)
    assert len(trainer.recovery.rollbacks) == 1
    assert pf.load(tmp_path / "run").state["step"] == 4


def test_the_failure_names_examples_draws_and_what_is_not_finite(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hidden-value")
    data = space_data((2,), labels=True)
    trainer = prepare(recipe_for("gan", data), data, steps=9, out=tmp_path / "run", checkpoint_every=2, seed=3)
    spoiled(trainer, (2, 3, 4), lambda batch, now, play: ((p, v * math.nan if p == "critic" else v) for p, v in play(batch, now)))
    with pytest.raises(Diverged):
        trainer.advance()
    text = (tmp_path / "run" / "failure" / "failure.json").read_text()
    known = json.loads(text)
    assert "hidden-value" not in text
    assert (known["step"], known["checkpoint"], known["settings"]["rate"]) == (5, "step_000002", 0.5)
    batch = trainer.sampler.batch(4)
    stored = pf.training.tensors.read(tmp_path / "run" / "failure" / "batch.safetensors")
    assert torch.equal(stored["x"], batch.x)
    assert torch.equal(stored["label"], batch.condition["label"])
    picked = data.space.to_model(data.train.data_units(known["examples"]["indices"]))
    torch.testing.assert_close(picked, batch.x)
    assert known["draws"]["seed"] == 3
    assert known["draws"]["step"] == 4
    assert known["losses"]["critic"] is None
    assert known["losses"]["generator"] is not None
    assert max(value["not_finite"] for value in known["gradients"]["critic"].values()) == 1.0
    assert {value["not_finite"] for value in known["gradients"]["generator"].values()} == {0.0}
    assert {value["not_finite"] for value in known["weights"].values()} == {0.0}
    assert [row["step"] for row in known["log"]] == [1, 2, 3, 4, 5]
    assert known["spec"]["recipe"] == "gan"


@pytest.mark.parametrize("kill", [False, True])
def test_the_clock_of_a_budget_in_seconds_goes_on(kill, tmp_path, monkeypatch):
    """The steps that are given up count; the number of steps is fixed again after them."""
    tick = Clock.tick
    monkeypatch.setattr(Clock, "tick", lambda clock, measured: tick(clock, 1.0))
    trainer = prepare(recipe_for("flow", DATA), DATA, seconds=30.0, out=tmp_path / "run", checkpoint_every=10)
    spoiled(trainer, (22, 23, 24), nan_loss, times=3)
    advanced(trainer, 20)
    assert trainer.saver.step == 20
    assert trainer.clock.seconds == 25.0
    if kill:
        trainer.close()
        trainer = reopen(tmp_path / "run", data=DATA)
        assert trainer.clock.seconds == 25.0
    trainer.advance()
    assert trainer.clock.seconds == pytest.approx(30, abs=1)
    assert trainer.clock.step == pytest.approx(25, abs=1)
    assert [row["seconds"] for row in log.read(tmp_path / "run" / "metrics.jsonl")][19:22] == [20.0, 26.0, 27.0]


def test_a_failure_at_the_end_of_the_seconds_takes_no_more_of_them(tmp_path, monkeypatch):
    tick = Clock.tick
    monkeypatch.setattr(Clock, "tick", lambda clock, measured: tick(clock, 1.0))
    trainer = prepare(recipe_for("flow", DATA), DATA, seconds=30.0, out=tmp_path / "run", checkpoint_every=10)
    spoiled(trainer, (27, 28, 29), nan_loss, times=3).advance()
    assert trainer.clock.seconds <= 32
    assert trainer.clock.step <= 22


def test_resuming_from_an_older_checkpoint_goes_back_without_a_trace_until_it_saves(tmp_path):
    run = training(tmp_path / "run")
    run.advance()
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    trainer = spoiled(reopen(run.folder, data=DATA, checkpoint="step_000008"), (9, 10, 11), nan_loss, times=3)
    advanced(trainer, 9).close()
    after = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert {path: data for path, data in after.items() if "failure" not in path.parts} == before
    trainer.advance()
    assert [rollback["step"] for rollback in pf.load(run.folder).state["rollbacks"]] == [8]


class Behind(Processes):
    """One of several processes, the first of which has an older checkpoint for its newest; it notes what is compared."""

    def __init__(self):
        self.compared = {}

    def first(self, value):
        return 4 if value == 8 else value

    def compare(self, what):
        self.compared |= what


def test_averaged_weights_that_are_not_finite_are_not_saved(tmp_path):
    trainer = training(tmp_path / "run")
    trainer.save()
    trainer.step()
    trainer.clock.tick(0.0)
    with torch.no_grad():
        next(trainer.average.method.parameters()).fill_(math.inf)
    with pytest.raises(Diverged, match=r"averaged weights.* are not finite after step 1"):
        trainer.save()
    assert trainer.saver.step == 0
    trainer.close()


def test_processes_go_back_to_the_checkpoint_of_the_first_one(tmp_path):
    trainer = training(tmp_path / "run")
    trainer.processes = Behind()
    advanced(spoiled(trainer, (9, 10, 11), nan_loss, times=3), 4).close()
    assert [rollback.step for rollback in trainer.recovery.rollbacks] == [4]
    assert trainer.processes.compared == {"the step and the seconds of training to go on from": [4, pytest.approx(0, abs=99)]}


def test_a_damaged_record_of_rollbacks_is_named(tmp_path):
    trainer = training(tmp_path / "run")
    trainer.advance()
    (tmp_path / "run" / "rollbacks.json").write_text(json.dumps({"seconds": 1, "rollbacks": [{"step": 4}]}))
    with pytest.raises(CheckpointError, match=r"rollbacks\.json is damaged"):
        pf.resume(tmp_path / "run", data=DATA, steps=16)
    (tmp_path / "run" / "rollbacks.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"rollbacks\.json is damaged"):
        pf.resume(tmp_path / "run", data=DATA, steps=16)


@pytest.mark.parametrize("bad", [5, None, [1], [{}], {"cause": "diverged"}, [ROLLBACK | {"at": "6"}], [ROLLBACK | {"why": None}]])
def test_a_row_with_a_malformed_rollback_is_left_out_as_any_damaged_row(bad, tmp_path):
    whole = [{"step": step, "loss": {}, "rollback": [ROLLBACK]} for step in (1, 3)]
    log.append(tmp_path / "metrics.jsonl", [whole[0], {"step": 2, "loss": {}, "rollback": bad}, whole[1]])
    assert log.read(tmp_path / "metrics.jsonl") == whole
    assert in_words(log.read(tmp_path / "metrics.jsonl")).count("went back") == 2
