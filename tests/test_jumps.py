"""Maps between two times, and the solver that uses them, against an exact map."""

import pytest
import torch
from torch import nn

from pushforward.denoisers import FlowMap, Preconditioning
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import VP, Linear
from pushforward.solvers import Jump
from pushforward.solvers.solver import stepped
from pushforward.testing import ring
from pushforward.transports import Flow


class Exact(nn.Module):
    """The mean velocity between two times of the flow that moves N(0, 1) onto N(mean, std^2) along the straight path."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x, t, condition=None):
        t, s = t[:, :1], t[:, 1:]
        s = torch.where(s == t, t - 1e-6, s)
        return (self.to(x, t, s) - x) / (s - t)

    def to(self, x, t, s):
        here, there = (torch.sqrt((1 - at) ** 2 * self.std**2 + at**2) for at in (t, s))
        return (1 - s) * self.mean + there / here * (x - (1 - t) * self.mean)


OPTIONS = {
    "prediction": "velocity",
    "space": ring(Linear()).space,
    "preconditioning": Preconditioning(scale_input=False),
}


def exact():
    return FlowMap(Exact(0.7, 0.4), Linear(), **OPTIONS)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_jump_is_exact_for_the_exact_map_in_any_number_of_steps(steps):
    flow = Flow(exact(), "jump", steps)
    z = torch.randn(6, 2, dtype=torch.float64)
    start = torch.tensor([[float(flow.times[0])]], dtype=torch.float64)
    wanted = Exact(0.7, 0.4).to(z * start, start, torch.zeros_like(start))
    torch.testing.assert_close(flow(z), wanted, rtol=1e-9, atol=1e-9)
    assert flow.calls == steps
    states = list(stepped(flow.solver, flow.denoiser, flow._at_start(z), flow.times, None, None))
    torch.testing.assert_close(states[-1][1], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("renoise", [0.6, 1.0])
@pytest.mark.parametrize("path", [Linear(), VP()], ids=["linear", "vp"])
def test_noise_that_is_added_again_leaves_the_exact_map_exact(path, renoise):
    """The exact map of a Gaussian at mean 0 keeps its law: whatever noise is added, samples have the data's mean and width."""
    flow = Flow(FlowMap(Exact(0.0, 0.4), Linear(), **OPTIONS).on(path), Jump(renoise), 4)
    z = torch.randn(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws = ExampleDraws(1, 4000)
    x = flow(z, None, draws)
    assert float(x.std()) == pytest.approx(0.4, rel=0.03)
    apart = (x - flow(z, None, ExampleDraws(9000, 4000))).std() / x.std()
    assert (0.2 < apart < 1.2) if renoise < 1 else apart == pytest.approx(2**0.5, abs=0.2)
    states = list(stepped(flow.solver, flow.denoiser, flow._at_start(z[:5]), flow.times, None, ExampleDraws(1, 5)))
    torch.testing.assert_close(states[-1][1], x[:5], rtol=1e-6, atol=1e-6)
    with pytest.raises(UsageError, match="renoise between 0 and 1"):
        Jump(1.5)


def test_a_flow_map_at_one_time_is_a_denoiser_for_every_solver():
    z = torch.randn(6, 2, dtype=torch.float64)
    jumped = Flow(exact(), "jump", 1)(z)
    for name in ("heun", "dpm:3"):
        torch.testing.assert_close(Flow(exact(), name, 200)(z), jumped, rtol=0, atol=1e-3)


def test_a_flow_map_jumps_on_another_path():
    """Repathed jumps land where jumps on the own path do, scaled to the new path's width."""
    repathed, t = exact().on(VP()), torch.tensor([0.8, 0.7], dtype=torch.float64)
    s, x = t / 2, torch.randn(2, 2, dtype=torch.float64)
    old = {at: Linear().time(VP().log_snr(at)) for at in (t, s)}
    widths = {at: Linear().at(old[at]).r / VP().at(at).r for at in (t, s)}
    wanted = Exact(0.7, 0.4).to(x * widths[t][:, None], old[t][:, None], old[s][:, None]) / widths[s][:, None]
    torch.testing.assert_close(repathed.jump(x, t, s), wanted, rtol=1e-9, atol=1e-9)
