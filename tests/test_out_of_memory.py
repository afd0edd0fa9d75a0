"""Memory that does not suffice for a step splits batches into more parts; how much a training needs is foreseen."""

import itertools
import json
import math
import weakref

import pytest
import torch
from programs.failing import lacking

import pushforward as pf
from pushforward.errors import Diverged, OutOfMemory
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import failure, foresight, memory
from pushforward.training.api import prepare, reopen
from pushforward.training.processes import Processes
from pushforward.training.recovering import Recovery, Rollback
from pushforward.training.runs import log
from pushforward.training.skipping import in_words

DATA = space_data((2,), labels=False)


def training(out, recipe="flow", steps=12, every=4, **settings):
    return prepare(recipe_for(recipe, DATA, **settings), DATA, steps=steps, out=out, checkpoint_every=every)


@pytest.mark.parametrize(("most", "parts"), [(256, 2), (128, 4), (64, 8)])
def test_a_batch_for_which_memory_does_not_suffice_is_split(most, parts, tmp_path):
    trainer = lacking(training(tmp_path / "run", steps=3, batch=512), most)
    trainer.advance()
    training(tmp_path / "split", steps=3, batch=512, accumulate=parts).advance()
    tensors, state = final_state(tmp_path / "run")
    assert [rollback["accumulate"] for rollback in state.pop("rollbacks")] == [2, 4, 8][: int(math.log2(parts))]
    assert_same((tensors, state), final_state(tmp_path / "split"))
    said = in_words(log.read(tmp_path / "run" / "metrics.jsonl"))
    assert f"the same batches in {parts} parts (the memory does not suffice for step 1)" in said
    again = reopen(tmp_path / "run", data=DATA, steps=5)
    assert len(again._step.parts) == parts, "a resumed run begins with it"
    again.close()


def test_the_gradients_of_the_parts_that_were_computed_before_memory_failed_are_dropped(tmp_path):
    lacking(training(tmp_path / "run", steps=2, batch=256, accumulate=2), 64, first=False).advance()
    training(tmp_path / "split", steps=2, batch=256, accumulate=4).advance()
    tensors, state = final_state(tmp_path / "run")
    del state["rollbacks"]
    assert_same((tensors, state), final_state(tmp_path / "split"))


def test_a_step_is_repeated_without_the_tensors_of_the_failed_one(tmp_path):
    trainer = lacking(training(tmp_path / "run", steps=1, batch=256), 64)
    play, held, alive = trainer.method.losses, [], []

    def losses(batch, now):
        if now.draws.start == 0:
            alive.append([tensor() is not None for tensor in held])
        local = torch.zeros(1)
        held.append(weakref.ref(local))
        yield from play(batch, now)

    def restored(stored):
        alive.append([tensor() is not None for tensor in held])
        restore(stored)

    restore, trainer.restore, trainer.method.losses = trainer.restore, restored, losses
    trainer.advance()
    assert len(alive) == 5, "256, 128 and 64 examples at a time, and two returns"
    assert not any(itertools.chain(*alive))


@pytest.mark.parametrize(
    ("batch", "parts", "own", "processes", "each"), [(256, 4, 1, 2, 2), (256, 4, 1, 4, 1), (384, 3, 1, 2, 3), (512, 4, 2, 4, 2)]
)
def test_the_parts_of_a_batch_are_shared_by_the_processes_that_resume(batch, parts, own, processes, each, tmp_path):
    trainer = training(tmp_path / "run", batch=batch, accumulate=own)
    trainer.processes = trainer._step.processes = Processes()
    trainer.processes.count = processes
    trainer.recovery._recorded = [Rollback("memory", 0, 1, 1.0, parts, "")], 0.0
    trainer.recovery.restore(trainer, {"step": 0})
    assert trainer._step.training.accumulate == each
    trainer.close()


def test_a_rollback_records_the_parts_of_all_processes(tmp_path):
    trainer = training(tmp_path / "run", batch=256, accumulate=2)
    trainer.advance(1e-9)
    trainer.processes = trainer._step.processes = Processes()
    trainer.processes.count = 2
    trainer.recovery.go_back(trainer, Diverged("", 1, ""))
    assert trainer.recovery.rollbacks[0].accumulate == 4
    assert trainer._step.training.accumulate == 2
    trainer.close()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), KeyError("x")])
def test_what_is_known_of_a_failure_needs_no_memory_and_never_ends_a_training(error, tmp_path, monkeypatch):
    def refused(*arguments):
        raise error

    monkeypatch.setattr(failure, "_statistics", refused)
    trainer = lacking(training(tmp_path / "run", steps=2, batch=128), 64)
    trainer.advance()
    known = json.loads((tmp_path / "run" / "failure" / "failure.json").read_text())
    assert (known["error"], known["step"], known["weights"], known["batch"]) == ("OutOfMemory", 1, None, None)
    monkeypatch.setattr(failure, "describe", refused)
    assert f"could not be written: {type(error).__name__}" in failure.write_failure(trainer, OutOfMemory("", 1, ""))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_game_whose_second_turn_lacks_memory_repeats_the_first(error, tmp_path):
    """The critic was updated by then."""
    lacking(training(tmp_path / "run", "gan", 7, 3, batch=128), 64, "generator", error, after=4).advance()
    reference = training(tmp_path / "split", "gan", 7, 3, batch=128)
    while reference.clock.step < 3:
        reference.advance(1e-9)
    reference._step.change(1.0, 2)
    reference.advance()
    tensors, state = final_state(tmp_path / "run")
    assert [(rollback["step"], rollback["at"]) for rollback in state.pop("rollbacks")] == [(3, 5)]
    assert_same((tensors, state), final_state(tmp_path / "split"))


def test_a_batch_that_cannot_be_split_is_refused_with_what_was_tried(tmp_path):
    with pytest.raises(OutOfMemory, match=r"192 was computed in 3 parts, and it cannot be split further.*`batch`.*failure"):
        lacking(training(tmp_path / "run", batch=192), 1).advance()
    with pytest.raises(OutOfMemory, match="batch of 16 was computed at once"):
        lacking(training(tmp_path / "small"), 1).advance()
    assert pf.load(tmp_path / "run").state["step"] == 0
    assert OutOfMemory("").exit_code == 6


def test_several_processes_do_not_go_back_alone_for_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Recovery, "go_back", lambda *given: pytest.fail("it went back alone"))
    trainer = lacking(training(tmp_path / "run", batch=128), 64)
    trainer.processes = Processes()
    trainer.processes.count = 2
    with pytest.raises(OutOfMemory, match="Use a smaller `batch`"):
        trainer.advance()


def test_other_errors_of_a_step_are_no_lack_of_memory(tmp_path):
    trainer = lacking(training(tmp_path / "run", batch=128), 64, error=RuntimeError("shapes do not agree"))
    with pytest.raises(RuntimeError, match="shapes do not agree"):
        trainer.advance()
    assert memory.lacks_memory(RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory"))


def test_memory_is_foreseen_from_steps_on_few_examples(tmp_path, monkeypatch):
    """A part of twice as many examples needs twice the activations, and what is not free is said."""
    data = space_data((1, 8, 8), labels=False, n=300)
    trainer = prepare(recipe_for("vae", data, batch=512), data, steps=1, out=tmp_path / "run")
    before = {name: value.clone() for name, value in trainer.method.state_dict().items()}
    monkeypatch.setattr(foresight, "present_memory", lambda: 1000)
    needed = foresight.foreseen(trainer)
    assert all(torch.equal(value, before[name]) for name, value in trainer.method.state_dict().items())
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name in ("checkpoints", "metrics.jsonl")] == []
    whole = memory.added_peak(lambda: (trainer.step(), trainer.step()))
    assert needed[0] - 1000 == pytest.approx(whole, rel=0.1)
    assert needed[3] - 1000 == pytest.approx(foresight._held_in(trainer, 64), rel=1e-2)
    steps = [larger - smaller for larger, smaller in itertools.pairwise(needed)]
    assert steps[:2] == pytest.approx([2 * steps[1], 2 * steps[2]], rel=1e-4)
    monkeypatch.setattr(foresight, "free_memory", lambda: needed[0])
    assert foresight.memory_warning(trainer) is None
    monkeypatch.setattr(foresight, "free_memory", lambda: needed[2] - 1000)
    assert "`accumulate=4`" in foresight.memory_warning(trainer)
    monkeypatch.setattr(foresight, "free_memory", lambda: 9)
    assert "a smaller `batch`" in foresight.memory_warning(trainer)
    monkeypatch.setattr(foresight, "free_memory", lambda: None)
    assert foresight.memory_warning(trainer) is None
    trainer.close()
    small = prepare(recipe_for("vae", data, batch=128), data, steps=1, out=tmp_path / "small")
    assert foresight.foreseen(small) is None
    small.close()


def test_free_memory_is_what_the_system_and_the_control_group_leave(tmp_path, monkeypatch):
    for limit, free in (("max\n", None), ("5000\n", 3000)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("2000\n")
        monkeypatch.setattr(memory, "_GROUP", tmp_path)
        assert free is None or memory.free_memory() == free
        assert memory.free_memory() > 0
    assert 0 < memory.present_memory() <= memory.peak_memory()
