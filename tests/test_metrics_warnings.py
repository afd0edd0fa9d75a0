"""Planted faults that the verdict names by the metrics of classes and of copies, and healthy twins of which it says nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pushforward as pf
from pushforward.evaluation import evaluate
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult, Settings
from pushforward.metrics import Score
from pushforward.report.learned_warnings import LEARNED_RULES
from pushforward.report.warnings import warnings

METRICS = ["near_copies", "copying", "class_distance"]


@pytest.fixture(scope="module")
def digits():
    """Digits of which 600 training examples are kept aside: what a perfect model would sample."""
    data = pf.data.load("digits")
    order = np.random.default_rng(3).permutation(len(data.train))  # examples of one writer follow each other
    return dataclasses.replace(data, train=data.train.take(order[600:])), data.train.take(order[:600])


def said(x, data):
    comparison = evaluate(x, data, n=min(len(x), 250), repeats=1, metrics=METRICS)
    begins = ("Memorisation", "Held-out examples were learned", "Classes are missing")
    return [sentence.text for sentence in warnings(comparison) if sentence.text.startswith(begins)]


def noisy(x, seed, size=0.06):
    return np.clip(x + size * np.random.default_rng(seed).standard_normal(x.shape), 0, 1).astype(np.float32)


def test_new_examples_are_healthy(digits):
    data, fresh = digits
    assert said(fresh.data_units().numpy(), data) == []


def test_a_missing_class_is_named(digits):
    data, fresh = digits
    (sentence,) = said(fresh.data_units(fresh.labels != 7).numpy(), data)
    assert sentence.startswith("Classes are missing: samples shows too little of 7 (0 % where real data has ")


def test_32_memorised_images_are_named(digits):
    data, _ = digits
    picked = np.random.default_rng(0).permutation(len(data.train))[:32]
    (sentence,) = [
        text for text in said(noisy(data.train.data_units(np.tile(picked, 16)).numpy(), 1, 0.01), data) if "Mem" in text
    ]
    assert sentence.startswith("Memorisation: samples of samples (100 %) are near-copies of training samples")


def test_samples_that_repeat_training_examples_with_noise_are_named(digits):
    data, _ = digits
    (sentence,) = said(noisy(data.train.data_units(slice(300)).numpy(), 4), data)
    assert sentence.startswith("Memorisation: samples of samples (C_T −")


def test_a_model_trained_on_held_out_examples_is_named(digits):
    data, _ = digits
    (sentence,) = said(noisy(data.held_out.data_units().numpy(), 2), data)
    assert sentence.startswith("Held-out examples were learned: too many of the real examples nearest to samples of samples (")


def compared(scores, floors=None, **settings):
    known = Settings(**{"n": 300, "classifier_accuracy": 0.95, **settings})
    data = DataInfo("pets", classes=("cat", "dog", "cow"))
    rows = tuple(ModelResult(name, scores=own) for name, own in scores.items())
    comparison = Comparison(data=data, settings=known, models=rows, floors=floors or {})
    return [sentence.text for rule in LEARNED_RULES for sentence in rule(comparison)]


def test_classes_are_missing_only_where_enough_were_expected_and_the_classifier_can_read_them():
    lost = {"gan": {"class_distance": Score(0.3, extra={"share": (0.65, 0.349, 0.001), "real": (0.5, 0.3, 0.2)})}}
    assert compared(lost) == ["Classes are missing: gan shows too little of cow (0 % where real data has 20 %)."]
    assert compared(lost, n=50) == compared(lost, classifier_accuracy=0.5) == []


def test_samples_near_training_examples_are_copies_unless_they_are_near_held_out_ones_too():
    def scores(z, ratio, copies=0.0):
        return {"copying_test": Score(z), "held_out_ratio": Score(ratio), "near_copies": Score(copies)}

    floors = {"copying_test": Score(-0.5, 0.3), "held_out_ratio": Score(1.0, 0.05), "near_copies": Score(0.0, 0.0)}
    models = {"copy": scores(-9, 0.4), "blur": scores(-9, 0.95), "new": scores(-1, 0.9), "literal": scores(-40, 0.1, 0.5)}
    assert compared(models, floors) == [
        "Memorisation: samples of copy (C_T −9) are nearer to training examples than held-out examples are."
    ]
    assert compared({"copy": scores(-9, 0.4)}, floors | {"copying_test": Score(-7.0, 0.3)}) == []
    (sentence,) = compared({"cheat": scores(-1, 2.5)}, floors)
    assert "nearest to samples of cheat (2.5 times as many as by chance, real data 1) are held out" in sentence
    assert compared({"alike": {"held_out_ratio": Score(2.5, error=1.0)}}, floors) == []
