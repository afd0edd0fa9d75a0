"""Solves in both directions: seeds, streams, ends, and what is not finite."""

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import solvers
from pushforward.errors import Diverged, UsageError
from pushforward.paths import VE, VP, Linear, Tabulated, linear_betas
from pushforward.registries import SOLVERS
from pushforward.solvers import DEIS, DPM, RK4, Heun
from pushforward.testing import PATHS, Mixture, ring, space_data
from pushforward.transports import Flow
from pushforward.transports.likelihood import log_prob

WAYS = {"linear": Linear(), "vp": VP(), "ve": VE(0.002, 80), "tabulated": Tabulated(linear_betas())}
BACK = {"rk4": RK4(), "deis": DEIS(3), "adaptive": solvers.Adaptive(1e-4, 1e-4)}
# an adaptive solver takes its smallest steps at each kink of a tabulated path: a fixed one does there
INVERTED = [(path, solver) for path in WAYS for solver in BACK if (path, solver) != ("tabulated", "adaptive")]


@pytest.mark.parametrize(("path", "solver"), INVERTED)
def test_encode_and_the_flow_are_inverse(path, solver):
    path, solver = WAYS[path], BACK[solver]
    denoiser = ring(path)
    flow = Flow(denoiser, solver, 100, "log_snr")
    torch.manual_seed(0)
    x = denoiser.centres[torch.arange(64) % 5] + 0.5 * torch.randn(64, 2, dtype=torch.float64)
    z, moved = flow.encode(torch.cat([x, x + 1])).chunk(2)
    assert (flow(z) - x).square().mean().sqrt() < 1e-3
    assert 0.7 < z.std() < 1.3
    assert (z.norm(dim=1) - moved.norm(dim=1)).abs().max() > 0.1


@pytest.mark.parametrize("seed", [-7, 2**63, 2**80, np.int64(3)])
def test_any_whole_seed_draws_rows_of_its_own(seed):
    flow = Flow(ring(Linear()), Heun(), 2)
    torch.testing.assert_close(flow.sample(3, seed=seed)[1:], flow.sample(2, seed=int(seed) + 1))


def test_samples_that_are_not_finite_are_refused():
    class Broken(Mixture):
        def predict(self, kind, x, *rest):
            return x / 0

    flow = Flow(Broken(Linear(), [[0.0, 1.0]], 0.5), Heun(), 2)
    with pytest.raises(Diverged, match="not finite"):
        flow.sample(4)
    with pytest.raises(Diverged, match="not finite"):
        list(flow.trajectory(4))


@pytest.mark.parametrize("name", [name for name, part in SOLVERS.items() if not part.jumps])
def test_rows_depend_on_their_seed_alone(name):
    """An adaptive solver's rows share their steps, so they agree to its tolerance only."""
    flow, atol = Flow(ring(VP()), solvers.named(name), 6), 2e-3 if name == "adaptive" else 1e-5
    torch.testing.assert_close(flow.sample(8, seed=0)[4:], flow.sample(4, seed=4), rtol=0, atol=atol)
    torch.testing.assert_close(flow.sample(8, seed=0, batch=3), flow.sample(8, seed=0), rtol=0, atol=atol)
    assert (flow.sample(4, seed=0) - flow.sample(4, seed=1)).abs().max() > 0.1


def test_trajectory_ends_at_the_sample():
    flow = Flow(ring(VP()), DPM(), 5)
    states = list(flow.trajectory(3, seed=2))
    assert [t for t, _ in states] == flow.times.tolist()
    torch.testing.assert_close(states[-1][1].float(), flow.sample(3, seed=2))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("steps", [1, 2, 60])
def test_a_solve_from_and_to_time_0_is_finite(path, steps):
    """At t = 0 the log-SNR is infinite: a solve ends there as sampling does, and starts there as encoding does."""
    flow = Flow(ring(path), solvers.DPM(2), steps, "log_snr")
    start = float(flow.times[0])
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    x = flow.solve(z * float(path.at(torch.tensor(start)).sigma), start, 0.0)
    assert x.isfinite().all()
    if steps == 60:
        assert (x - flow(z)).norm() < 0.05 * x.norm()
        back = flow.solve(x, 0.0, start) / float(path.at(torch.tensor(start)).sigma)
        assert (back - z).norm() < 0.1 * z.norm()
    assert torch.equal(flow.solve(x, start, start), x)
    with pytest.raises(UsageError, match="at least 0"):
        flow.solve(x, start, -0.1)


def test_data_come_back_from_their_noise_given_a_class_by_its_name():
    data = space_data((2,), labels=True, n=60)
    torch.manual_seed(0)
    flow = pf.recipes.flow(data.space, "tiny").method.transport().with_solver("rk4", 40)
    for weights in flow.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    x, name = torch.from_numpy(data.train.x[:3]), data.space.classes[1]
    z = flow.encode(x, {"label": name})
    numbers = {"label": torch.ones(3, dtype=torch.int64)}
    torch.testing.assert_close(z, flow.encode(x, numbers), rtol=0, atol=0)
    torch.testing.assert_close(log_prob(flow, x, {"label": [name] * 3}, steps=4), log_prob(flow, x, numbers, steps=4))
    assert (z - flow.encode(x)).abs().max() > 1e-3
    torch.testing.assert_close(flow.space.to_data(flow(z, numbers)), x, rtol=0, atol=1e-2)
    with pytest.raises(UsageError, match='no class "nobody"'):
        flow.encode(x, {"label": "nobody"})
    assert flow.read(3, {"label": 1, "label_null": False}).keys() == {"label", "label_null"}
