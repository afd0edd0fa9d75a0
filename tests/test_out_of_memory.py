"""Memory that does not suffice for a step ends a training with what to do."""

import pytest
import torch
from programs.failing import lacking

import pushforward as pf
from pushforward.errors import OutOfMemory
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare
from pushforward.training.loop import machine as memory

DATA = space_data((2,), labels=False)


def training(out, steps=12, every=4, **settings):
    return prepare(recipe_for("flow", DATA, **settings), DATA, steps=steps, out=out, checkpoint_every=every)


@pytest.mark.parametrize("error", [None, MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_step_that_lacks_memory_is_named_with_what_to_do_and_the_run_stays(error, tmp_path):
    with pytest.raises(OutOfMemory, match=r"does not suffice for step 6 .*smaller `batch`, or a larger `accumulate`"):
        lacking(training(tmp_path / "run", batch=128), 64, error=error, after=5).advance()
    assert pf.load(tmp_path / "run").state["step"] == 4
    assert OutOfMemory("").exit_code == 6


def test_other_errors_of_a_step_are_no_lack_of_memory(tmp_path):
    trainer = lacking(training(tmp_path / "run", batch=128), 64, error=RuntimeError("shapes do not agree"))
    with pytest.raises(RuntimeError, match="shapes do not agree"):
        trainer.advance()
    assert memory.lacks_memory(RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory"))


def test_free_memory_is_what_the_system_and_the_control_group_leave(tmp_path, monkeypatch):
    for limit, free in (("max\n", None), ("5000\n", 3000)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("2000\n")
        monkeypatch.setattr(memory, "_GROUP", tmp_path)
        assert free is None or memory.free_memory() == free
        assert memory.free_memory() > 0
