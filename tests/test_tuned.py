"""What `tune` keeps belongs to the weights that it was learned for, and its rounds are shown."""

import pytest

import pushforward as pf
from pushforward import cli
from pushforward.errors import UsageError
from pushforward.solvers.learned import LearnedTable, general
from pushforward.transports import Flow


def learned_of(run):
    """The solver's own coefficients in three steps, as a learned table."""
    flow = Flow(run.denoiser, run.transport.solver, 3)
    return LearnedTable.of(general(flow.table), flow.times.tolist())


KINDS = {"learned": "grid learned for 3 steps of DPM", "table": "table learned for 3 steps of DPM"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_belongs_to_the_weights_that_it_was_learned_for(kind, tmp_path, capsys):
    """A grid or table of step 2 is used for its weights alone: not after the run was trained on, and not for the last weights."""
    data, folder, times = pf.data.load("moons", limit=100), tmp_path / "run", [0.9, 0.5, 0.2, 0.0]
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
    assert "it is not used" in raw.configured(steps=3).warnings[0]
    pf.resume(folder, data=data, steps=4)
    later = pf.load(folder)
    said = f"{KINDS[kind]} belongs to the weights of step 2, not to these of step 4: it is not used. Learn it again: pushforward"
    assert not uses(later, steps=3)
    assert said in later.configured(steps=3).warnings[0]
    for options in ({"steps": 4}, {"steps": 3, "solver": "heun"}, {"steps": 3, "grid": "time"}, {"solver": "heun"}):
        assert not later.configured(**options).warnings
    with pytest.raises(UsageError, match=said):
        later.configured(steps=3, grid=kind)
    with pytest.warns(UserWarning, match=said):
        later.sample(2, steps=3)
    assert cli.main(["sample", str(folder), "--n", "2", "--steps", "3", "--out", str(tmp_path / "x.npz")]) == 0
    assert f"note: the {said}" in " ".join(capsys.readouterr().err.split())
    assert uses(pf.load(folder, checkpoint="step_000002"), steps=3), "the weights that it was learned for are still there"
    keeps(later)
    assert uses(later, steps=3)
    assert uses(pf.load(folder, checkpoint="step_000002"), steps=3), "what was learned for earlier weights stays"
