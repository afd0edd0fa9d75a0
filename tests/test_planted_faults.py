"""Planted faults that the verdict or its warnings name in words, and healthy twins of which they
say nothing.

One table, a row for each fault: what is said of it, how it is planted, and its twin. Faults of
    samples are arrays that are
scored, faults of training are logs of measures.
"""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

import pushforward as pf
from pushforward.evaluation import evaluate
from pushforward.evaluation.models import health_of
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report.findings import findings
from pushforward.training.monitor.alarms import AlarmMonitor

METRICS = {
    "digits": ["near_copies", "copying", "class_distance", "sharpness", "manifold", "distinct"],
    "ring": ["near_copies", "modes", "manifold", "distinct"],
}
ASIDE = 600
SAMPLES = 250


def verdict(comparison):
    return [finding.text for finding in findings(comparison)]


class World:
    """Data of which training examples are kept aside, which are what a perfect model samples, and
    what is said of samples.
    """

    def __init__(self, name):
        data = pf.data.load(name, limit=3000)
        random = np.random.default_rng(3)
        order = random.permutation(len(data.train))  # examples of one writer follow each other
        train = data.train.take(order[ASIDE:])
        held_out = data.held_out.take(slice(360))
        self.data = dataclasses.replace(data, train=train, held_out=held_out)
        self.fresh = data.train.take(order[:ASIDE])
        self.name = name
        self.x = self.fresh.data_units().numpy()

    def said(self, x):
        """The verdict on samples in data units."""
        n = min(len(x), SAMPLES)
        comparison = evaluate(x, self.data, n=n, repeats=1, metrics=METRICS[self.name])
        return verdict(comparison)


@pytest.fixture(scope="module")
def worlds():
    return {name: World(name) for name in METRICS}


def noisy(x, seed, size=0.06):
    noise = np.random.default_rng(seed).standard_normal(x.shape)
    return np.clip(x + size * noise, 0, 1).astype(np.float32)


def blurred(world):
    return gaussian_filter(world.x, (0, 0, 0.7, 0.7))


def alike(world):
    """Samples of half the variance."""
    mean = world.x.mean(0)
    return mean + np.sqrt(0.5) * (world.x - mean)


def without_two_modes(world):
    centres = np.asarray(world.data.truth.centres)
    mode = cdist(world.x, centres).argmin(1)
    return world.x[mode > 1]


def without_class_7(world):
    return world.x[world.fresh.labels != 7]


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
    """Copies of 32 training examples."""
    train = world.data.train
    picked = np.random.default_rng(0).permutation(len(train))[:32]
    copies = train.data_units(np.tile(picked, 16)).numpy()
    return noisy(copies, 1, 0.01)


def training_examples_with_noise(world):
    examples = world.data.train.data_units(slice(300)).numpy()
    return noisy(examples, 4)


def held_out_examples_with_noise(world):
    return noisy(world.data.held_out.data_units().numpy(), 2)


def logged(**measures):
    """The verdict on a training of 700 steps with these measures, each a number or a function of
    the step.
    """
    monitor = AlarmMonitor()
    rows = []
    for step in range(1, 701):
        health = {}
        for name, value in measures.items():
            if callable(value):
                value = value(step)
            if value is not None:
                health[name] = value
        row = {"step": step, "health": health}
        alarms = [dataclasses.asdict(alarm) for alarm in monitor.read(row)]
        rows.append({**row, "alarm": alarms})
    health, alarms = health_of(SimpleNamespace(losses=lambda: rows))
    model = ModelResult("model", health=health, alarms=alarms)
    return verdict(Comparison(models=(model,)))


def gap_that_grows(step):
    return step / 10


def skipped_once(step):
    if step == 690:
        return 1
    return None


OF_SAMPLES = [
    ("ring", without_two_modes, r"\(6 of 8 modes\)"),
    ("digits", without_class_7, r"\(class 7\)"),
    ("digits", blurred, "blurred"),
    ("digits", alike, "Recall is low"),
    ("digits", one_picture_per_class, r"\(10 (clearly )?distinct .*collapse"),
    ("digits", one_noisy_picture, r"\(1 (clearly )?distinct .*collapse"),
    ("ring", three_points, r"\(3 (clearly )?distinct .*collapse"),
    ("digits", half_alike, r"\(12\d* distinct .*collapse"),
    ("ring", half_alike, r"\(12\d* distinct .*collapse"),
    ("digits", memorised, r"\(100.*near-copies"),
    ("digits", training_examples_with_noise, r"\(C_T = −"),
    ("digits", held_out_examples_with_noise, "held-out neighbours"),
]
"""The data, samples with a fault, and the words for it; a perfect model is the healthy twin."""
OF_TRAINING = [
    (
        {"critic_accuracy": 1.0, "logit_gap": gap_that_grows},
        {"critic_accuracy": 0.7, "logit_gap": 0.4},
        "the critic wins",
    ),
    (
        {"active_units": 0, "units": 16},
        {"active_units": 9, "units": 16},
        "0 of 16 latent units are active",
    ),
    (
        {"skipped/model": skipped_once},
        {"gradient_norm/model": 1.0},
        "the loss or gradient of model is not finite",
    ),
]
"""Measures of a fault, of its healthy twin, and the words for the fault."""
WORDS = [words for _, _, words in [*OF_SAMPLES, *OF_TRAINING]]


def check_named(words, texts):
    assert re.search(words, "\n".join(texts)), texts


def check_healthy(texts):
    """None of the faults is named."""
    for text in texts:
        for words in WORDS:
            assert not re.search(words, text), text


@pytest.mark.parametrize(("data", "planted", "words"), OF_SAMPLES)
def test_a_planted_fault_of_samples_is_named(data, planted, words, worlds):
    world = worlds[data]
    check_named(words, world.said(planted(world)))


@pytest.mark.parametrize("data", METRICS)
def test_no_fault_of_perfect_samples_is_named(data, worlds):
    world = worlds[data]
    check_healthy(world.said(world.x))


@pytest.mark.parametrize(("measures", "healthy", "words"), OF_TRAINING)
def test_a_planted_fault_of_training_is_named_and_its_healthy_twin_is_not(measures, healthy, words):
    check_named(words, logged(**measures))
    check_healthy(logged(**healthy))
