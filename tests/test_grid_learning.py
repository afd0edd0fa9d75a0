"""Learned grids, the command that makes and uses them, and the sampler that each denoising recipe
comes with.
"""

import json
import math
from types import SimpleNamespace

import pytest
import torch

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
    truth = Flow(ring(path), solver, 200, "log_snr")
    ours = flow.with_solver(solver, 6, learned.times)

    def error(model):
        return float((model.sample(300, seed=9) - truth.sample(300, seed=9)).square().mean().sqrt())

    assert error(ours) < 0.9 * error(flow)


def test_a_grid_that_cannot_be_bettered_is_kept():
    flow = Flow(ring(VP()), DPM(2), 5, "log_snr")
    learned = learn_grid(flow, n=32, rounds=2, batch=16, lr=50.0)
    assert learned.times == flow.times.tolist()
    assert learned.after == learned.before


def test_no_grid_is_learned_for_a_solver_that_draws():
    with pytest.raises(UsageError, match="Ancestral"):
        learn_grid(Flow(ring(VP()), Ancestral(), 4, "log_snr"), n=4, rounds=1, batch=4)


def test_a_stochastic_solver_of_the_run_gives_way_to_one_that_can_be_tuned(capsys):
    from pushforward.cli.distillation import _flow

    for own, named, tuned in (
        (Ancestral(), None, DPM),
        (Ancestral(), "unipc", UniPC),
        (UniPC(), None, UniPC),
    ):
        flow = _flow(SimpleNamespace(transport=Flow(ring(VP()), own, 9, "log_snr")), named, 4)
        assert (type(flow.solver), flow.steps) == (tuned, 4)
        assert ("Sample with --solver dpm --steps 4" in capsys.readouterr().err) == (
            named is None and own.stochastic
        )
    with pytest.raises(UsageError, match=r"tune the transport .*--steps 4 --solver dpm"):
        configure(Flow(ring(VP()), Ancestral(), 9, "log_snr"), steps=4, grid="learned")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = pf.data.load("moons", limit=500)
    out = tmp_path_factory.mktemp("runs") / "moons"
    return pf.fit(pf.recipes.flow(data.space, "tiny"), data, steps=30, out=out)


def test_the_command_keeps_the_grid_and_sampling_uses_it(run, tmp_path, capsys):
    from pushforward.cli import main

    command = [
        "tune",
        str(run.folder),
        "--steps",
        "4",
        "--examples",
        "16",
        "--rounds",
        "2",
        "--json",
    ]
    assert main(command) == 0
    stored = json.loads(capsys.readouterr().out)
    again = pf.load(run.folder)
    times = again.learned_grid(4, again.transport.solver)
    assert times == stored["times"]
    assert again.learned_grid(5, again.transport.solver) is None
    assert again.learned_grid(4, UniPC()) is None
    # a grid that differs from the named one, so that its use can be seen
    again.store_grid(again.transport.solver, [0.999, 0.7, 0.3, 0.1, 0.0])
    code = main(
        ["sample", str(run.folder), "--steps", "4", "--n", "8", "--out", str(tmp_path / "x.npz")]
    )
    assert code == 0
    wanted = Flow(again.denoiser, again.transport.solver, 4, [0.999, 0.7, 0.3, 0.1, 0.0]).sample(8)
    import numpy as np

    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_allclose(file["x"], wanted.numpy(), atol=1e-5)


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
    assert uses(pf.load(folder, checkpoint="step_000002"), steps=3), (
        "the weights that it was learned for are still there"
    )
    keeps(later)
    assert uses(later, steps=3)
    assert uses(pf.load(folder, checkpoint="step_000002"), steps=3), (
        "what was learned for earlier weights stays"
    )


DEFAULTS = {
    ("flow", "vector"): ("DPM", 25, "shifted:0.3"),
    ("flow", "digits"): ("DPM", 25, "shifted:0.3"),
    ("flow", "image"): ("DPM", 25, "time"),
    ("ddpm", "vector"): ("DPM", 25, "log_snr"),
    ("ddpm", "digits"): ("DPM", 25, "time"),
    ("ddpm", "image"): ("DPM", 25, "time"),
    ("edm", "vector"): ("Heun", 18, "karras"),
    ("edm", "digits"): ("Heun", 18, "karras"),
    ("edm", "image"): ("Heun", 18, "karras"),
}
SHAPES = {"vector": (2,), "digits": (1, 8, 8), "image": (1, 28, 28)}


@pytest.mark.parametrize(("name", "kind"), DEFAULTS)
def test_default_samplers(name, kind):
    flow = recipe_for(name, space_data(SHAPES[kind], labels=False)).method.transport()
    assert (type(flow.solver).__name__, flow.steps, flow.grid) == DEFAULTS[name, kind]


@pytest.mark.parametrize("name", ["flow", "ddpm", "edm"])
@pytest.mark.parametrize("std", [0.1, 0.05])
def test_default_samplers_keep_the_width_of_narrow_modes(name, std):
    """Eight narrow Gaussians of unit variance together, and their exact denoiser: what is lost is
    lost by the sampler.
    """
    method = recipe_for(name, space_data((2,), labels=False)).method
    exact = ring(method.denoiser.path, modes=8, radius=math.sqrt(2), std=std)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2000, 2, dtype=torch.float64, generator=generator)
    x = pf.Flow(exact, method.solver, method.steps, method.grid)(z)
    distances = torch.cdist(x, exact.centres)
    width = (distances.min(1).values.square().mean() / 2).sqrt()
    masses = distances.argmin(1).bincount(minlength=8) / len(x)
    assert float(width) == pytest.approx(std, rel=0.05)
    assert masses.numpy() == pytest.approx(1 / 8, abs=0.025)
