"""Learned tables: the general form of a solver, learning it, the command that keeps it, and where
it is used.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import cli, solvers, spec
from pushforward.errors import UsageError
from pushforward.evaluation.curves import training_distance
from pushforward.paths import VE, VP, Linear
from pushforward.solvers import DPM, UniPC
from pushforward.solvers.table import LearnedTable, general
from pushforward.testing import ring
from pushforward.transports import Flow
from pushforward.transports.learned_steps import learn_table

NEARER = {"n": 64, "rounds": 12, "batch": 32}
NAMES = [
    "ddim",
    "euler",
    "heun",
    "midpoint",
    "rk4",
    "ipndm",
    "singlestep:2",
    "singlestep",
    "dpm:1",
    "dpm",
    "dpm:3",
    "deis",
]
NAMES += ["unipc:1", "unipc", "unipc:3"]


def no_data(flow):
    """A distance to real data that is the same for all samples."""
    return 0.0


def unchanged(flow):
    """The flow with its own coefficients as a learned table."""
    return flow.with_table(LearnedTable.of(general(flow.table), flow.times.tolist()))


@pytest.mark.parametrize("path", [Linear(), VP(), VE(0.02, 20)], ids=["linear", "vp", "ve"])
@pytest.mark.parametrize("name", NAMES)
def test_the_general_form_does_what_the_solver_does(path, name):
    flow = Flow(ring(path), solvers.named(name), 5)
    ours = unchanged(flow)
    x = (
        torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        * flow.width
    )
    states = list(ours.walk(x, ours.times))
    wanted = list(flow.walk(x, flow.times))
    assert [t for t, _ in states] == [t for t, _ in wanted] == flow.times[1:].tolist()
    for (_, state), (_, other) in zip(states, wanted, strict=True):
        torch.testing.assert_close(state, other, rtol=1e-8, atol=1e-8)
    assert ours.calls == flow.calls == flow.solver.calls(5)
    assert "learned table" in ours.facts()["solver"]


def test_a_learned_table_is_plain_data_and_is_checked():
    table = unchanged(Flow(ring(VP()), UniPC(2), 3)).learned
    again = LearnedTable(**json.loads(json.dumps(dataclasses.asdict(table))))
    assert again == table
    assert spec.build(spec.describe(table)) == table
    for part, value in (
        ("times", [0.5]),
        ("weights", [[1.0]]),
        ("stops", [0, 1]),
        ("stops", [2, 1]),
        ("grid", [1.0, 0.0]),
    ):
        with pytest.raises(UsageError, match="3 calls"):
            dataclasses.replace(table, **{part: value})
    with pytest.raises(UsageError, match="not finite"):
        dataclasses.replace(table, times=[0.9, float("nan"), 0.1])
    with pytest.raises(UsageError, match="with_table"):
        Flow(ring(VP()), UniPC(2), 3, "time", table)


def test_other_times_are_solved_by_the_solver_itself():
    flow = Flow(ring(VP()), DPM(2), 4)
    table = unchanged(flow).learned
    ours = flow.with_table(
        dataclasses.replace(
            table, weights=[[2 * weight for weight in row] for row in table.weights]
        )
    )
    x = flow.sample(5, seed=1)
    assert not torch.allclose(ours.sample(5, seed=1), x)
    torch.testing.assert_close(ours.encode(x), flow.encode(x))
    assert ours.with_solver(DPM(2), 4).learned is None


def test_a_learned_table_is_nearer_on_noise_that_it_was_not_learned_on():
    flow = Flow(ring(VP()), UniPC(2), 3, "log_snr")
    learned = learn_table(flow, no_data, **NEARER)
    assert learned.after < 0.75 * learned.before
    assert "refused" not in str(learned)
    truth = flow.with_solver(DPM(2), 100, "log_snr").sample(300, seed=9)

    def error(model):
        return float((model.sample(300, seed=9) - truth).square().mean().sqrt())

    ours = flow.with_table(learned.table)
    assert error(ours) < 0.8 * error(flow.with_solver(UniPC(2), 3, learned.grid))
    assert ours.calls == flow.calls


def test_a_table_with_worse_samples_is_refused_and_a_better_one_is_kept():
    """The table comes nearer to the samples of many steps; which samples are like the data is
    another matter.
    """
    flow = Flow(ring(VP()), UniPC(2), 3, "log_snr")
    coarse, exact = (
        learn_table(
            flow,
            training_distance(flow, pf.data.from_arrays(solve.sample(400, seed=5).numpy())),
            **NEARER,
        )
        for solve in (flow, flow.with_solver(DPM(2), 100, "log_snr"))
    )
    assert coarse.after == exact.after < exact.before
    assert coarse.to_data[1] > coarse.to_data[0]
    assert exact.to_data[1] < exact.to_data[0]
    assert coarse.table is None
    assert exact.table is not None
    assert "is not used" in str(coarse)
    given = flow.with_solver(UniPC(2), 3, "shifted:9").times.tolist()
    best_is_given = learn_table(
        flow, lambda tried: float(tried.times.tolist() != given), grids=[given], **NEARER
    )
    assert best_is_given.to_data == (0.0, 1.0)
    assert best_is_given.table is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pf.fit(
        "flow", "digits", steps=8, size="tiny", out=tmp_path_factory.mktemp("runs") / "digits"
    )


def table_of(run, steps, **guidance):
    """A table that is told apart from every solver: the data are the start's estimate alone."""
    flow = Flow(run.denoiser, run.transport.solver, steps)
    table = general(flow.table)
    table.weights[-1] = 0.0
    table.weights[-1, 1] = 1.0
    learned = LearnedTable.of(table, flow.times.tolist())
    run.store_table(flow.solver, learned, guidance, before=1.0, after=0.5)
    return learned


def drawn(capsys, folder, *words):
    """The samples of a command, and what it said."""
    out = folder.parent / "x.npz"
    code = cli.main(["sample", str(folder), "--n", "3", "--out", str(out), "--overwrite", *words])
    said = capsys.readouterr().err
    assert code == 0, said
    with np.load(out) as file:
        return file["x"], said


def test_sampling_uses_a_table_for_its_steps_and_guidance_alone(run, capsys):
    plain = table_of(run, 3)
    guided = table_of(run, 4, scale=2.0, interval=(0.2, 5.0))
    run.store_grid(run.transport.solver, [0.9, 0.5, 0.2, 0.0])

    def learned(**options):
        return run.configured(**options).transport.learned

    assert learned(steps=3) == plain
    assert learned(steps=3, grid="table") == plain
    assert learned(steps=4, scale=2, interval=(0.2, 5.0)) == guided
    others = (
        {"steps": 3, "grid": "learned"},
        {"steps": 3, "solver": "heun"},
        {"steps": 3, "scale": 2.0},
        {"steps": 4},
        {},
    )
    assert [learned(**options) for options in others] == [None] * 5
    assert run.configured(steps=3, grid="learned").transport.times.tolist() == [0.9, 0.5, 0.2, 0.0]
    x, said = drawn(capsys, run.folder, "--steps", "3")
    wanted = Flow(run.denoiser, run.transport.solver, 3).with_table(plain).sample(3)
    assert np.abs(x / 255 - wanted.movedim(1, -1).numpy()).max() < 1 / 255
    assert "coefficients" in said
    assert "3 steps of DPM" in said
    assert "coefficients" not in drawn(capsys, run.folder, "--steps", "3", "--grid", "time")[1]


def learned_of(run):
    """The solver's own coefficients in three steps, as a learned table."""
    flow = Flow(run.denoiser, run.transport.solver, 3)
    return LearnedTable.of(general(flow.table), flow.times.tolist())


@pytest.mark.parametrize("kind", ["learned", "table"])
def test_what_was_learned_belongs_to_the_weights_that_it_was_learned_for(kind, tmp_path):
    """A grid or table of step 2 is used for its weights alone: not after the run was trained on,
    and not for the last weights.
    """
    data = pf.data.load("moons", limit=100)
    folder = tmp_path / "run"
    times = [0.9, 0.5, 0.2, 0.0]
    run = pf.fit("flow", data, steps=2, size="tiny", out=folder)

    def keeps(run):
        if kind == "table":
            run.store_table(run.transport.solver, learned_of(run))
        else:
            run.store_grid(run.transport.solver, times)

    def uses(run, **options):
        flow = run.configured(**options).transport
        return flow.learned is not None or flow.times.tolist() == times

    keeps(run)
    for fitting in (run, pf.load(folder)):
        assert uses(fitting, steps=3)
        assert uses(fitting, steps=3, grid=kind)
        assert not fitting.configured(steps=3).warnings
    raw = pf.load(folder, raw=True)
    assert not uses(raw, steps=3)
    assert "is not used" in raw.configured(steps=3).warnings[0]
    pf.resume(folder, data=data, steps=4)
    later = pf.load(folder)
    assert not uses(later, steps=3)
    with pytest.raises(
        UsageError, match="belongs to the weights of step 2, not to those of step 4"
    ):
        later.configured(steps=3, grid=kind)
    with pytest.warns(UserWarning, match="Learn it again: pushforward"):
        later.sample(2, steps=3)
    assert uses(pf.load(folder, checkpoint="step_000002"), steps=3), (
        "the weights that it was learned for are still there"
    )
    keeps(later)
    assert uses(later, steps=3)
    assert uses(pf.load(folder, checkpoint="step_000002"), steps=3), (
        "what was learned for earlier weights stays"
    )


def test_a_table_that_is_no_better_is_refused(monkeypatch):
    monkeypatch.setattr(
        "pushforward.transports.learned_steps.RATES", {"coefficients": 90.0, "grid": 90.0}
    )
    learned = learn_table(Flow(ring(VP()), DPM(2), 4, "log_snr"), no_data, n=16, rounds=2, batch=16)
    assert learned.table is None
    assert learned.after == pytest.approx(learned.before, rel=1e-6)
    assert "is not used" in str(learned)
