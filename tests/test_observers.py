"""Observers look at a training: what they measure is logged, and the training goes on as if nobody
had looked.
"""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from programs.failing import lacking

import pushforward as pf
from pushforward.errors import OutOfMemory
from pushforward.testing import recipe_for, space_data
from pushforward.training import Budget, Trainer
from pushforward.training.api import prepare
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import load
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop import machine as memory
from pushforward.training.loop.budget import Settings
from pushforward.training.loop.callbacks import Observer
from pushforward.training.monitor import standard_callbacks as observers
from pushforward.training.monitor.standard_callbacks import Pictures
from pushforward.training.runs.folder import claim
from pushforward.training.runs.log import Journal, read

DATA = space_data((2,), labels=False)


class Looks(Observer):
    """Looks every second step, and does what it is given to do."""

    def __init__(self, does=lambda moment: {}, late=False):
        self.does = does
        self.late = late
        self.rows = []
        self.steps = []

    def due(self, moment):
        return moment.step % 2 == 0

    def observe(self, moment):
        self.steps.append(moment.step)
        return self.does(moment)

    def row(self, row, again=False):
        self.rows.append((row["step"], again))
        if row["step"] == 3 and not again:
            return {"noticed": row["step"]}
        return {}


def trainer(folder, *observers, steps=5, **options):
    settings = Settings(seed=1)
    return Trainer(
        recipe_for("flow", DATA),
        DATA,
        Budget(steps=steps),
        out=claim(folder, "data", "flow"),
        observers=observers,
        settings=settings,
        **options,
    )


class Second(Processes):
    """One of several processes, of which the first has measured 1."""

    def first(self, value):
        if "frechet" in value:
            return {"frechet": 1.0}
        return value


def test_the_first_process_decides_what_was_measured(tmp_path):
    here = trainer(
        tmp_path / "run", Looks(lambda moment: {"frechet": np.nan}), steps=2, processes=Second()
    )
    here.advance()
    frechet = pf.load(tmp_path / "run").losses()[1]["health"]["frechet"]
    assert frechet == 1.0


def final(folder):
    return load(latest(folder / "checkpoints")).tensors


def test_measures_are_logged_and_nothing_changes(tmp_path):
    """Though an observer draws numbers and computes with gradients.

    Both looks at a step begin with the same state of torch's generator, and without gradients.
    """
    gradients = []
    drawn = {}

    def measure(moment):
        gradients.append(torch.is_grad_enabled())
        with torch.enable_grad():
            moment.average.transport().sample(2)
        number = float(torch.rand(1))
        drawn.setdefault(moment.step, []).append(number)
        return {"drawn": number, "step": moment.step}

    early = Looks(measure)
    late = Looks(measure, late=True)
    trainer(tmp_path / "with", early, late).advance()
    trainer(tmp_path / "without").advance()
    observed = final(tmp_path / "with")
    unobserved = final(tmp_path / "without")
    for group in observed:
        assert all(
            torch.equal(tensor, unobserved[group][name]) for name, tensor in observed[group].items()
        )
    rows = pf.load(tmp_path / "with").losses()
    assert [row["step"] for row in rows if "drawn" in row.get("health", {})] == [2, 4]
    assert gradients == [False] * 4
    for first, second in drawn.values():
        assert first == second
    assert early.steps == late.steps == [2, 4]
    assert [row.get("noticed") for row in rows] == [None, None, 3, None, None]
    assert early.rows == [(step, False) for step in range(1, 6)]


def test_pictures_wait_until_the_weights_are_known_to_be_sound(tmp_path, monkeypatch):
    """A late observer is not asked about weights that are not finite."""
    monkeypatch.setattr(observers, "PICTURES", (0.4,))
    looks = Looks(late=True)
    run = trainer(tmp_path / "run", looks, Pictures())
    run.average.update = lambda *samples: next(run.average.method.parameters()).data.fill_(np.nan)
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(pf.errors.Diverged, match=r"averaged weights .* not finite"),
    ):
        run.advance()
    assert looks.steps == []


def training(out, steps=12, every=4, **settings):
    return prepare(
        recipe_for("flow", DATA, **settings), DATA, steps=steps, out=out, checkpoint_every=every
    )


@pytest.mark.parametrize(
    "error", [None, MemoryError(), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_a_step_that_lacks_memory_is_named_with_what_to_do_and_the_run_stays(error, tmp_path):
    with pytest.raises(OutOfMemory, match=r"out of memory in step 6.*`batch`.*`accumulate`"):
        lacking(training(tmp_path / "run", batch=128), 64, error=error, after=5).advance()
    assert pf.load(tmp_path / "run").state["step"] == 4
    assert OutOfMemory("").exit_code == 6


def test_other_errors_of_a_step_are_no_lack_of_memory(tmp_path):
    trainer = lacking(
        training(tmp_path / "run", batch=128), 64, error=RuntimeError("shapes do not agree")
    )
    with pytest.raises(RuntimeError, match="shapes do not agree"):
        trainer.advance()
    assert memory.lacks_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory")
    )


def test_free_memory_is_what_the_system_and_the_control_group_leave(tmp_path, monkeypatch):
    for limit, free in (("max\n", None), ("5000\n", 3000)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("2000\n")
        monkeypatch.setattr(memory, "_GROUP", tmp_path)
        assert free is None or memory.free_memory() == free
        assert memory.free_memory() > 0


class Overshooting:
    """A method in place of an average, whose samples are not finite though its weights are."""

    def __init__(self, method):
        self.method = method

    def transport(self):
        transport = self.method.transport()
        transport.forward = lambda z, *_: z.masked_fill(
            torch.arange(len(z))[:, None] < 3, torch.inf
        )
        return transport

    def __getattr__(self, name):
        return getattr(self.method, name)


def test_samples_that_are_not_finite_do_not_end_a_training(tmp_path, monkeypatch):
    monkeypatch.setattr(observers, "PICTURES", (1.0,))
    run = trainer(tmp_path / "run", Pictures(), steps=4)
    run.average.method = Overshooting(run.average.method)
    with pytest.warns(
        UserWarning, match="run: step 4: no samples were written: 3 of 100 samples are not finite"
    ):
        run.advance()
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000004"
    assert [row["step"] for row in pf.load(tmp_path / "run").losses()] == [1, 2, 3, 4]
    assert not list((tmp_path / "run").glob("samples/*"))


def test_pictures_stand_beside_held_out_examples_of_any_place(tmp_path, monkeypatch):
    beside = []
    held_out = DATA.held_out.data_units().tolist()
    monkeypatch.setattr(observers, "PICTURES", (1.0,))
    monkeypatch.setattr(observers, "DRAWN", {True: 10})
    monkeypatch.setattr(
        "pushforward.pictures.scatter_picture",
        lambda x, real, **_: beside.append(real) or Image.new("L", (1, 1)),
    )
    trainer(tmp_path / "run", Pictures(), steps=4).advance()
    places = [held_out.index(row) for row in beside[-1].tolist()]
    assert len(set(places)) == 10
    assert max(places) > 10


def test_a_log_holds_the_rows_up_to_a_divergence_and_gives_them_again(tmp_path):
    alarm = {"kind": "divergence", "over": False, "sentence": "losses rise.", "advice": "wait"}

    class Alarmed(Looks):
        def row(self, row, again=False):
            if row["step"] == 3:
                return {"alarm": [alarm]}
            return {}

    path = tmp_path / "metrics.jsonl"
    again = Looks()
    journal = Journal(path, [Alarmed().row])
    for step in range(1, 6):
        journal.add(step, step, 0.0, {"model": torch.ones(())}, {})
    with pytest.raises(pf.errors.Diverged, match=r"At step 3 losses rise\."):
        journal.flush()
    assert [row["step"] for row in read(path)] == [1, 2, 3]
    Journal(path, [again.row]).cut(2)
    assert again.rows == [(1, True), (2, True)]
