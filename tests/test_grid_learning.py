"""Learned grids, the command that makes and uses them, and the sampler that each denoising recipe
comes with.
"""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs.text_tables import read_cases

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.paths import VP, Linear
from pushforward.sampling_options import configure
from pushforward.solvers import DPM, Ancestral, UniPC
from pushforward.testing import recipe_for, ring, space_data
from pushforward.transports import Flow
from pushforward.transports.learned_steps import learn_grid


@pytest.mark.parametrize("solver", [DPM(2), UniPC(2)], ids=["dpm", "unipc"])
@pytest.mark.parametrize("path", [VP(), Linear()], ids=["vp", "linear"])
def test_a_learned_grid_does_better_on_noise_that_it_was_not_learned_on(path, solver):
    flow = Flow(ring(path), solver, 6, "log_snr")
    learned = learn_grid(flow, n=64, rounds=20, batch=32)
    assert learned.after < 0.8 * learned.before
    assert len(learned.times) == 7
    fine = Flow(ring(path), solver, 200, "log_snr")
    truth = fine.sample(300, seed=9)
    ours = flow.with_solver(solver, 6, learned.times)

    def error(model):
        gaps = model.sample(300, seed=9) - truth
        return float(gaps.square().mean().sqrt())

    assert error(ours) < 0.9 * error(flow)


def ring_flow(solver, steps):
    return Flow(ring(VP()), solver, steps, "log_snr")


def test_a_grid_that_cannot_be_bettered_is_kept():
    flow = ring_flow(DPM(2), 5)
    learned = learn_grid(flow, n=32, rounds=2, batch=16, lr=50.0)
    assert learned.times == flow.times.tolist()
    assert learned.after == learned.before


def test_no_grid_is_learned_for_a_solver_that_draws():
    flow = ring_flow(Ancestral(), 4)
    with pytest.raises(UsageError, match="Ancestral"):
        learn_grid(flow, n=4, rounds=1, batch=4)


def test_a_stochastic_solver_of_the_run_gives_way_to_one_that_can_be_tuned(capsys):
    from pushforward.cli.distillation import _flow

    def tuned(own, named):
        """The solver whose steps are tuned, and whether the message names the way to use them."""
        flow = _flow(SimpleNamespace(transport=ring_flow(own, 9)), named, 4)
        assert flow.steps == 4
        printed = capsys.readouterr().err
        return type(flow.solver), "Sample with --solver dpm --steps 4" in printed

    assert tuned(Ancestral(), None) == (DPM, True)
    assert tuned(Ancestral(), "unipc") == (UniPC, False)
    assert tuned(UniPC(), None) == (UniPC, False)
    flow = ring_flow(Ancestral(), 9)
    with pytest.raises(UsageError, match=r"tune the transport .*--steps 4 --solver dpm"):
        configure(flow, steps=4, grid="learned")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = pf.data.load("moons", limit=500)
    out = tmp_path_factory.mktemp("runs") / "moons"
    return pf.fit(pf.recipes.flow(data.space, "tiny"), data, steps=30, out=out)


def test_the_command_keeps_the_grid_and_sampling_uses_it(run, monkeypatch, capsys):
    from pushforward.cli import main

    monkeypatch.chdir(run.folder.parent)
    command = "tune moons --steps 4 --examples 16 --rounds 2 --json"
    assert main(command.split()) == 0
    stored = json.loads(capsys.readouterr().out)
    again = pf.load("moons")
    solver = again.transport.solver
    assert again.learned_grid(4, solver) == stored["times"]
    assert again.learned_grid(5, solver) is None
    assert again.learned_grid(4, UniPC()) is None
    # a grid that differs from the named one, so that its use can be seen
    times = [0.999, 0.7, 0.3, 0.1, 0.0]
    again.store_grid(solver, times)
    command = "sample moons --steps 4 --n 8 --out x.npz"
    assert main(command.split()) == 0
    wanted = Flow(again.denoiser, solver, 4, times).sample(8)
    with np.load("x.npz") as file:
        np.testing.assert_allclose(file["x"], wanted, atol=1e-5)


def test_what_was_learned_belongs_to_the_weights_that_it_was_learned_for(tmp_path):
    """A grid of step 2 is used for its weights alone: not after the run was trained on, and
    not for the last weights.
    """
    data = pf.data.load("moons", limit=100)
    folder = tmp_path / "run"
    times = [0.9, 0.5, 0.2, 0.0]
    run = pf.fit("flow", data, steps=2, size="tiny", out=folder)

    def keeps(run):
        run.store_grid(run.transport.solver, times)

    def uses(run, **options):
        return run.configured(**options).transport.times.tolist() == times

    keeps(run)
    for fitting in (run, pf.load(folder)):
        assert uses(fitting, steps=3)
        assert uses(fitting, steps=3, grid="learned")
    raw = pf.load(folder, raw=True)
    assert not uses(raw, steps=3)
    pf.resume(folder, data=data, steps=4)
    later = pf.load(folder)
    assert not uses(later, steps=3)
    with pytest.raises(UsageError, match="no grid learned"):
        later.configured(steps=3, grid="learned")
    earlier = pf.load(folder, checkpoint="step_000002")
    assert uses(earlier, steps=3), "the weights that it was learned for are still there"
    keeps(later)
    assert uses(later, steps=3)
    earlier = pf.load(folder, checkpoint="step_000002")
    assert uses(earlier, steps=3), "what was learned for earlier weights stays"


DEFAULTS = """
flow | vector | DPM  | 25 | shifted:0.3
flow | digits | DPM  | 25 | shifted:0.3
flow | image  | DPM  | 25 | time
ddpm | vector | DPM  | 25 | log_snr
ddpm | digits | DPM  | 25 | time
ddpm | image  | DPM  | 25 | time
edm  | vector | Heun | 18 | karras
edm  | digits | Heun | 18 | karras
edm  | image  | Heun | 18 | karras
"""
SHAPES = {"vector": (2,), "digits": (1, 8, 8), "image": (1, 28, 28)}


@pytest.mark.parametrize(("name", "kind", "solver", "steps", "grid"), read_cases(DEFAULTS))
def test_default_samplers(name, kind, solver, steps, grid):
    data = space_data(SHAPES[kind], labels=False)
    flow = recipe_for(name, data).method.transport()
    assert type(flow.solver).__name__ == solver
    assert flow.steps == steps
    assert flow.grid == grid


@pytest.mark.parametrize("name", ["flow", "ddpm", "edm"])
@pytest.mark.parametrize("std", [0.1, 0.05])
def test_default_samplers_keep_the_width_of_narrow_modes(name, std):
    """Eight narrow Gaussians of unit variance together, and their exact denoiser: what is lost is
    lost by the sampler.
    """
    data = space_data((2,), labels=False)
    method = recipe_for(name, data).method
    exact = ring(method.denoiser.path, modes=8, radius=math.sqrt(2), std=std)
    flow = Flow(exact, method.solver, method.steps, method.grid)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2000, 2, dtype=torch.float64, generator=generator)
    distances = torch.cdist(flow(z), exact.centres)
    nearest, modes = distances.min(1)
    variance = nearest.square().mean() / 2
    assert math.sqrt(variance) == pytest.approx(std, rel=0.05)
    fractions = modes.bincount(minlength=8) / 2000
    np.testing.assert_allclose(fractions, 1 / 8, rtol=0, atol=0.025)
