import pytest
import torch

from pushforward.errors import UsageError
from pushforward.paths import VE, VP, Cosine, Linear, Narrowed, Path, Shifted, Tabulated, linear_betas
from pushforward.spec import build, classes, describe

PATHS = [Linear(), Cosine(), VP(), VE(), Tabulated(linear_betas()), Tabulated([0.05, 0.2, 0.4, 0.9])]
PATHS += [Shifted(Cosine(), 2.0), Shifted(VP(), 0.3), Narrowed(VP(), 0.01, 0.9)]
IDS = ["linear", "cosine", "vp", "ve", "ddpm", "short-table", "shifted-cosine", "shifted-vp", "narrowed"]


def inner_times(path, n=61):
    low, high = path.ends
    return torch.linspace(low, high, n, dtype=torch.float64)


def test_every_path_of_the_package_is_tested():
    assert {type(path).__name__ for path in PATHS} == set(classes("pushforward.paths", Path))


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_derivatives_agree_with_autodiff(path):
    # knots of a table have one-sided second derivatives only, so the times avoid them
    t = (inner_times(path, 50) * 0.997 + 0.0011).clamp(*path.ends).requires_grad_()
    k = path.at(t)
    # adding 0 t gives a constant alpha its zero derivative
    (dalpha,) = torch.autograd.grad((k.alpha + 0 * t).sum(), t, retain_graph=True)
    (dsigma,) = torch.autograd.grad(k.sigma.sum(), t)
    torch.testing.assert_close(k.dalpha, dalpha, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(k.dsigma, dsigma, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_log_snr_is_that_of_the_coefficients_and_falls(path):
    t = inner_times(path)
    k, value = path.at(t), path.log_snr(t)
    torch.testing.assert_close(value, 2 * (k.alpha.log() - k.sigma.log()), rtol=1e-8, atol=1e-8)
    assert (value.diff() < 0).all()


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_time_inverts_log_snr(path):
    t = inner_times(path, 257)
    torch.testing.assert_close(path.time(path.log_snr(t)), t, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_single_precision_stays_close_at_the_ends(path):
    t = inner_times(path)
    for single, double in zip(vars(path.at(t.float())).values(), vars(path.at(t)).values(), strict=True):
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=2e-3, atol=2e-5)


def test_a_table_keeps_the_schedule_at_its_levels():
    betas = linear_betas(1000)
    alpha_bar = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)
    k = Tabulated(betas).at(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(k.alpha**2, alpha_bar, rtol=1e-10, atol=0)
    torch.testing.assert_close(k.sigma**2, 1 - alpha_bar, rtol=1e-10, atol=0)


def test_known_values():
    half = torch.tensor([0.5], dtype=torch.float64)
    assert Linear().at(half).alpha.item() == 0.5
    assert Cosine().at(half).alpha.item() == pytest.approx(2**-0.5)
    assert VE().at(half).sigma.item() == 40.0
    # Song et al. (2021): the VP path with betas .1 and 20 ends at exp(-10.05) of the signal's power
    assert VP().at(half * 2).alpha.item() ** 2 == pytest.approx(4.3185e-05, rel=1e-3)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_spec_round_trip(path):
    again = build(describe(path))
    t = inner_times(path)
    assert torch.equal(again.at(t).alpha, path.at(t).alpha)


@pytest.mark.parametrize("make", [lambda: VP(0.0), lambda: VE(1.0, 0.5), lambda: Tabulated([0.1]), lambda: Tabulated([0.1, 1.0])])
def test_bad_settings_are_refused(make):
    with pytest.raises(UsageError):
        make()
