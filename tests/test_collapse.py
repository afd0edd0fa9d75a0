"""Collapse of a posterior, planted and reported."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.conditions import Label
from pushforward.data import Split, VectorSpace
from pushforward.data.core.dataset import Dataset
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.latent import latent_statistics
from pushforward.report.findings import findings
from pushforward.training.monitor.alarms import RULES, alarms


def history(active, units=16, steps=1200, **more):
    """One row a step; ``active`` is a number or a function of the step."""
    of = active if callable(active) else lambda step: active
    return [{"step": step, "health": {"active_units": of(step), "units": units, **more}} for step in range(1, steps + 1)]


def used(codes, size, steps=1200):
    """One row a step of a book of codes."""
    of = codes if callable(codes) else lambda step: codes
    return [{"step": step, "health": {"perplexity": of(step), "book": size}} for step in range(1, steps + 1)]


def told(rows):
    return [(alarm.kind, alarm.step, alarm.over) for alarm in alarms(rows)]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (history(0), [("posterior", 501, False)]),
        (history(1), [("posterior", 501, False)]),
        (history(2), []),
        (history(1, units=4), []),
        (history(0, units=4), [("posterior", 501, False)]),
        (history(lambda step: 0 if step < 400 else 16), []),
        (history(lambda step: 0 if step < 700 else 16), [("posterior", 501, False), ("posterior", 700, True)]),
        (history(6, beta=4.0), [("regularised", 501, False)]),
        (history(6, beta=1.0), []),
        (history(9, beta=4.0), []),
        (history(0, beta=4.0), [("posterior", 501, False)]),
        (used(5.0, 256), [("book", 501, False)]),
        (used(5.3, 256), []),
        (used(2.0, 8), [("book", 501, False)]),
        (used(2.1, 8), []),
        (used(lambda step: 3.0 if step < 400 else 90.0, 256), []),
        (used(lambda step: 3.0 if step < 700 else 90.0, 256), [("book", 501, False), ("book", 700, True)]),
    ],
)
def test_when_a_code_is_silent(rows, wanted):
    assert told(rows) == wanted


def test_what_is_said_of_a_silent_code():
    (alarm,) = alarms(history(0, beta=8.0))
    assert alarm.sentence == "the posterior has collapsed: 0 of 16 units of the code are active, so the decoder ignores it"
    assert alarm.advice.startswith("lower beta, or set warmup to 0.3")
    (alarm,) = alarms(history(5, beta=8.0))
    assert "at beta 8 5 of 16 units of the code are active" in alarm.text
    assert "lower beta" in alarm.advice
    (alarm,) = alarms(history(0))
    assert alarm.advice.startswith("lower divergence")
    (alarm,) = alarms(history(0, beta=0.0))
    assert "warmup" not in alarm.advice
    (alarm,) = alarms(used(3.2, 256))
    assert alarm.sentence == "the codebook is hardly used: about 3 of 256 codes of the codebook are in use"


def test_a_plain_autoencoder_s_samples_raise_no_alarm():
    rows = lambda beta: [  # noqa: E731
        {"step": step, "health": {"coverage": 0.6 if step < 400 else 0.2, "beta": beta}} for step in range(1, 900)
    ]
    assert told(rows(0.0)) == []
    assert [kind for kind, _, _ in told(rows(1.0))] == ["collapse"]


@pytest.fixture
def soon(monkeypatch):
    """A code must be silent for 200 steps, not 500: more than the 150 of a sound training."""
    for kind in ("posterior", "regularised"):
        monkeypatch.setitem(RULES, kind, (RULES[kind][0], 200))


def trained(data, folder, steps=260, batch=64, **options):
    recipe = pf.recipes.vae(data.space, "tiny", **options)
    small = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=batch))
    return pf.fit(small, data, steps=steps, out=folder)


def kinds(run):
    return {alarm["kind"] for row in run.losses() for alarm in row.get("alarm", [])}


def test_a_weight_that_is_too_high_collapses_the_posterior_and_is_told(tmp_path, soon):
    data = pf.data.load("digits", limit=400)
    run = trained(data, tmp_path / "high", beta=400.0)
    assert kinds(run) == {"posterior"}
    assert latent_statistics(run, data, fit_features(data)).code.active <= 1
    said = [
        sentence.text
        for sentence in findings(pf.compare({"high": run}, data, n=40, repeats=1, curve=False))
        if "posterior has collapsed" in sentence.text
    ]
    assert said


class Knowing(nn.Module):
    """A decoder too strong: it knows every class's image by heart, and the label tells it which."""

    def __init__(self, images, latent):
        super().__init__()
        self.images, self.code = nn.Parameter(images), nn.Linear(latent, images.shape[1])

    def forward(self, z, t=None, condition=None):
        return self.images[condition["label"]] + self.code(z)


def test_a_decoder_that_is_too_strong_leaves_the_code_unused_and_is_told(tmp_path, soon):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    label = random.integers(0, 5, size=600)
    images = 3 * random.normal(size=(5, 8))
    x = (images[label] + 0.1 * random.normal(size=(600, 8))).astype(np.float32)
    shares = tuple(np.bincount(label) / len(label))
    space = VectorSpace((8,), tuple(x.mean(0)), tuple(x.std(0)), conditions={"label": Label(tuple("abcde"), shares)})
    data = Dataset("prototypes", space, Split(x[:540], label[:540]), Split(x[540:], label[540:]))
    known = Knowing(space.to_model(torch.from_numpy(images)).float(), 4)
    recipe = pf.recipes.vae(space, "tiny", decoder=known, latent_size=4)
    run = pf.fit(
        dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=64)),
        data,
        steps=260,
        out=tmp_path / "run",
    )
    assert kinds(run) == {"posterior"}
    plain = trained(data.without_labels(), tmp_path / "plain", latent_size=4)
    assert kinds(plain) == set()


def test_the_default_keeps_its_code_on_digits(tmp_path, soon):
    data = pf.data.load("digits", limit=400)
    for name, labels in (("given", True), ("without", False)):
        mine = data if labels else data.without_labels()
        run = trained(mine, tmp_path / name, batch=32)
        assert kinds(run) == set()
        assert latent_statistics(run, mine, fit_features(mine)).code.active > 4
