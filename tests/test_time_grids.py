"""Time grids: their ends, their order, and what is refused."""

from collections import deque

import numpy as np
import pytest
import torch

from pushforward.errors import UsageError
from pushforward.paths import VE, VP, Cosine, Linear, Tabulated, linear_betas
from pushforward.solvers import DPM, grids
from pushforward.testing import ring
from pushforward.transports import Flow


@pytest.mark.parametrize("name", grids.GRIDS)
@pytest.mark.parametrize("path", [VP(), Linear(), Cosine(), VE(), Tabulated(linear_betas())])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_grids_fall_from_the_end_to_zero(name, path, steps):
    times = grids.times(name, path, steps)
    assert len(times) == steps + 1
    assert times[0] == path.ends[1]
    assert times[-1] == 0
    assert (np.diff(times) < 0).all()
    assert (times[:-1] >= path.ends[0]).all()


def test_karras_grid_on_its_own_path_is_the_papers():
    sigma = 80 * grids.karras(VE(), 18)[:-1]
    i = np.arange(18)
    wanted = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigma, wanted, rtol=1e-10)


def test_a_thousand_steps_on_the_table_are_its_levels():
    np.testing.assert_array_equal(grids.uniform_time(Tabulated(linear_betas()), 1000), np.arange(1000, -1, -1) / 1000)


def test_given_times_are_the_grid():
    given = Flow(ring(VP()), DPM(), 3, [1.0, 0.5, 0.2, 0.0])
    assert given.times.tolist() == [1.0, 0.5, 0.2, 0.0]
    named = Flow(ring(VP()), DPM(), 3, "log_snr")
    torch.testing.assert_close(Flow(ring(VP()), DPM(), 3, named.times).sample(4), named.sample(4), rtol=0, atol=0)


def test_a_walk_is_differentiated_through_its_times():
    flow = Flow(ring(VP()), DPM(3), 4, "log_snr")
    x = torch.randn(5, 2, dtype=torch.float64)

    def end(inner):
        times = torch.cat([torch.tensor([1.0]), inner, torch.zeros(1)])
        return deque(flow.walk(x, times), maxlen=1).pop()[1].sum()

    inner = torch.tensor(flow.times[1:-1].copy(), requires_grad=True)
    assert torch.autograd.gradcheck(end, inner, atol=1e-6)


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "abc"])
@pytest.mark.parametrize("grid", ["shifted", "karras"])
def test_a_grid_refuses_numbers_that_make_no_grid(grid, number):
    with pytest.raises(UsageError, match=r"between 0.001 and|no number"):
        grids.times(f"{grid}:{number}", Linear(), 5)


def test_the_flows_grid_of_25_steps_is_what_it_was():
    u = np.arange(25, -1, -1) / 25
    np.testing.assert_array_equal(grids.times("shifted:0.3", Linear(), 25), 0.999 * 0.3 * u / (1 + (0.3 - 1) * u))
