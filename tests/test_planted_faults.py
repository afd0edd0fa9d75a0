"""Planted faults that the verdict or its warnings name in words, and healthy twins of which they
say nothing.

One table, a row for each fault: what is said of it, how it is planted, and its twin. Faults of
    samples are arrays that are
scored, faults of training are logs of measures.
"""

from __future__ import annotations

import dataclasses
import functools
import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import pushforward as pf
from pushforward.evaluation import evaluate
from pushforward.evaluation.models import health_of
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report.findings import findings
from pushforward.training.monitor.alarms import Watch

METRICS = {
    "digits": ["near_copies", "copying", "class_distance", "sharpness", "manifold", "distinct"],
    "ring": ["near_copies", "modes", "manifold", "distinct"],
}
ASIDE = 600
SAMPLES = 250


class World:
    """Data of which training examples are kept aside, which are what a perfect model samples, and
    what is said of samples.
    """

    def __init__(self, name, folder):
        data = pf.data.load(name, limit=3000)
        order = np.random.default_rng(3).permutation(
            len(data.train)
        )  # examples of one writer follow each other
        train = data.train.take(order[ASIDE:])
        held_out = data.held_out.take(slice(360))
        self.data = dataclasses.replace(data, train=train, held_out=held_out)
        self.fresh = data.train.take(order[:ASIDE])
        self.name = name
        self.folder = folder
        self.x = self.fresh.data_units().numpy()

    def said(self, x):
        """The verdict on samples in data units."""
        n = min(len(x), SAMPLES)
        comparison = evaluate(x, self.data, n=n, repeats=1, metrics=METRICS[self.name])
        return [finding.text for finding in findings(comparison)]

    @functools.cached_property
    def healthy(self):
        return self.said(self.x)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    return {name: World(name, tmp_path_factory.mktemp(name)) for name in ("digits", "ring")}


def noisy(x, seed, size=0.06):
    return np.clip(x + size * np.random.default_rng(seed).standard_normal(x.shape), 0, 1).astype(
        np.float32
    )


def blurred(world):
    return gaussian_filter(world.x, (0, 0, 0.7, 0.7))


def alike(world):
    """Samples of half the variance."""
    return world.x.mean(0) + np.sqrt(0.5) * (world.x - world.x.mean(0))


def without_two_modes(world):
    centres = np.asarray(world.data.truth.centres)
    return world.x[np.square(world.x[:, None] - centres).sum(2).argmin(1) > 1]


def one_picture_per_class(world):
    """One blurred picture of each class, with noise of one of 100 grey levels."""
    labels = world.fresh.labels
    pictures = blurred(world)
    first = np.unique(labels, return_index=True)[1]
    return noisy(pictures[first[labels]], 5, 0.01)


def three_points(world):
    centres = np.asarray(world.data.truth.centres, np.float32)
    return centres[np.arange(len(world.x)) % 3]


def one_noisy_picture(world):
    return noisy(np.repeat(world.x[:1], len(world.x), 0), 2, 0.05)


def half_alike(world):
    repeated = world.x.copy()
    repeated[::2] = repeated[0]
    return repeated


def memorised(world):
    picked = np.random.default_rng(0).permutation(len(world.data.train))[:32]
    return noisy(world.data.train.data_units(np.tile(picked, 16)).numpy(), 1, 0.01)


def logged(**measures):
    """The verdict on a training of 700 steps with these measures, each a number or a function of
    the step.
    """
    watch = Watch()
    rows = []
    for step in range(1, 701):
        health = {
            name: value(step) if callable(value) else value for name, value in measures.items()
        }
        row = {
            "step": step,
            "health": {name: value for name, value in health.items() if value is not None},
        }
        rows.append({**row, "alarm": [dataclasses.asdict(alarm) for alarm in watch.read(row)]})
    log = type("Log", (), {"losses": lambda _: rows})()
    health, alarms = health_of(log)
    return [
        finding.text
        for finding in findings(
            Comparison(models=(ModelResult("model", health=health, alarms=alarms),))
        )
    ]


def samples(world, planted):
    """What is said of samples with a fault, and of a perfect model's."""
    return lambda worlds: worlds[world].said(
        planted(worlds[world])
    ), lambda worlds: worlds[world].healthy


def log(fault, twin):
    """The same of the logs of trainings."""
    return lambda worlds: logged(**fault), lambda worlds: logged(**twin)


FAULTS = {
    "two of eight modes dropped": (r"\(6 of 8 modes\)", *samples("ring", without_two_modes)),
    "one class missing": (
        r"\(class 7\)",
        *samples("digits", lambda world: world.x[world.fresh.labels != 7]),
    ),
    "samples blurred": ("blurred", *samples("digits", blurred)),
    "too alike": ("Recall is low", *samples("digits", alike)),
    "one picture per class": (
        r"\(10 (clearly )?distinct .*collapse",
        *samples("digits", one_picture_per_class),
    ),
    "one picture with noise": (
        r"\(1 (clearly )?distinct .*collapse",
        *samples("digits", one_noisy_picture),
    ),
    "three points": (r"\(3 (clearly )?distinct .*collapse", *samples("ring", three_points)),
    "half of the images alike": (r"\(12\d* distinct .*collapse", *samples("digits", half_alike)),
    "half of the points alike": (r"\(12\d* distinct .*collapse", *samples("ring", half_alike)),
    "32 images memorised": (r"\(100.*near-copies", *samples("digits", memorised)),
    "training examples with noise": (
        r"\(C_T = −",
        *samples("digits", lambda world: noisy(world.data.train.data_units(slice(300)).numpy(), 4)),
    ),
    "trained on held-out examples": (
        "held-out neighbours",
        *samples("digits", lambda world: noisy(world.data.held_out.data_units().numpy(), 2)),
    ),
    "a saturated critic": (
        "the critic wins",
        *log(
            {"critic_accuracy": 1.0, "logit_gap": lambda step: step / 10},
            {"critic_accuracy": 0.7, "logit_gap": 0.4},
        ),
    ),
    "a collapsed posterior": (
        "0 of 16 latent units are active",
        *log({"active_units": 0, "units": 16}, {"active_units": 9, "units": 16}),
    ),
    "a loss that is NaN": (
        "the loss or gradient of model is not finite",
        *log(
            {"skipped/model": lambda step: 1 if step == 690 else None}, {"gradient_norm/model": 1.0}
        ),
    ),
}
"""By the fault: the words for it, the verdict on it, and the verdict on its healthy twin."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_and_its_healthy_twin_is_not(fault, worlds):
    words, planted, twin = FAULTS[fault]
    texts = planted(worlds)
    assert any(re.search(words, text) for text in texts), texts
    wrong = [
        text
        for text in twin(worlds)
        if any(re.search(other, text) for other, _, _ in FAULTS.values())
    ]
    assert wrong == []
