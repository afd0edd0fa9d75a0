"""Groups of settings: each is stored with the run and rebuilt, whatever it holds."""

import json

import pytest

from pushforward import spec
from pushforward.denoisers import Preconditioning
from pushforward.methods import CriticInput, EvidenceBound, Penalties
from pushforward.methods.autoencoders import LossWeights


@pytest.mark.parametrize(
    "settings",
    [
        Penalties("r1+gradient", 2.0, 0.5, 700, 4, shortest_ramp=900),
        CriticInput(2, 4, None, 0.3, 0.6),
        EvidenceBound(0.5, 0.2, 0.1),
        EvidenceBound(samples=3, dreg=True),
        LossWeights(0.3, 0.2, 0.7, 0.1),
        Preconditioning(False, "log_snr", "v"),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_groups_of_settings_are_stored_with_the_run(settings):
    assert settings != type(settings)()
    assert spec.build(json.loads(json.dumps(spec.describe(settings)))) == settings
