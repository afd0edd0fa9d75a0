import pytest
import torch

from pushforward.paths import VE, VP, Cosine, Linear, Path, Tabulated, linear_betas
from pushforward.registries import PARTS, concrete
from pushforward.testing import EVERY_PATH, check_path


def test_every_path_of_the_package_is_tested():
    assert {type(path).__name__ for path in EVERY_PATH.values()} == {
        *concrete(PARTS, Path),
    }


@pytest.mark.parametrize("path", EVERY_PATH.values(), ids=EVERY_PATH)
def test_a_path_obeys_the_laws(path):
    check_path(path)


def test_a_table_keeps_the_schedule_at_its_levels():
    betas = linear_betas(1000)
    alpha_bar = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)
    path = Tabulated(betas)
    assert path.ends == (1 / 1000, 1.0)
    k = path.at(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(k.alpha**2, alpha_bar, rtol=1e-10, atol=0)
    torch.testing.assert_close(k.sigma**2, 1 - alpha_bar, rtol=1e-10, atol=0)


def test_known_values():
    half = torch.tensor([0.5], dtype=torch.float64)
    assert Linear().at(half).alpha.item() == 0.5
    assert Cosine().at(half).alpha.item() == pytest.approx(2**-0.5)
    assert VE().at(half).sigma.item() == 40.0
    # Song et al. (2021): the VP path with betas .1 and 20 ends at exp(-10.05) of the signal's power
    assert VP().at(half * 2).alpha.item() ** 2 == pytest.approx(4.3185e-05, rel=1e-3)
