"""Models are compared in pairs: the same labels, noise and held-out examples, one rule, and no winner among equals."""

import dataclasses

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.evaluator import Judge
from pushforward.evaluation.intervals import combined
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, ModelResult
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.uncertainty import frechet_errors
from pushforward.report.statistics import leaders, margin, statistic, statistics

N, SAMPLINGS, CLASSES, DIMENSIONS = 60, 5, 5, 2
INFOS = {"frechet": MetricInfo("Fréchet distance", "lower", role="quality", least=0.0)}
SHIFTS = np.eye(DIMENSIONS)


def simulated(seed, shifts, share=True, classes=True):
    """Models whose law is the data's, moved: as many samplings of each, against the same held-out examples.

    Args:
        seed: Of everything.
        shifts: By how much each model is moved, so that those moved as far are equally good.
        share: Whether models start from the same noise.
        classes: Whether classes are drawn in proportion; else independently, the same for all models.
    """
    random = np.random.default_rng([seed, 7])
    means = np.random.default_rng(0).standard_normal((CLASSES, DIMENSIONS))
    real = means[random.integers(CLASSES, size=N)] + random.standard_normal((N, DIMENSIONS))
    labels = [np.arange(N) % CLASSES if classes else random.integers(CLASSES, size=N) for _ in range(SAMPLINGS)]
    noise = random.standard_normal((SAMPLINGS, N, DIMENSIONS))
    models = []
    for number, shift in enumerate(shifts):
        noise = noise if share else random.standard_normal(noise.shape)
        rows = [scored(means[label] + z + shift, real) for label, z in zip(labels, noise, strict=True)]
        scores = {"frechet": combined(rows, N, None, INFOS["frechet"])}
        models.append(ModelResult(f"model {number}", sampling_seeds=tuple(range(SAMPLINGS)), scores=scores))
    return Comparison(models=tuple(models), metrics=INFOS)


def scored(x, real):
    distance = frechet_distance(x, real)
    (error, shared), growth, terms = frechet_errors(x, real, distance)
    return Score(distance, error=error, reference_error=shared, growth=growth, reference_terms=terms)


def told_apart(shifts, repeats, **options):
    """In which of so many comparisons any model is called better than another."""
    compared = (simulated(seed, shifts, **options) for seed in range(repeats))
    return np.array([len(leaders(comparison, "frechet")) < len(shifts) for comparison in compared])


@pytest.mark.parametrize(
    ("shifts", "share"),
    [
        ([SHIFTS[0], -SHIFTS[0], SHIFTS[1]], True),  # equally bad in other ways: other held-out examples are hard
        ([SHIFTS[0]] * 3, False),  # the same law from other noise
    ],
)
def test_of_equal_models_none_is_called_better_in_more_than_a_twentieth_of_comparisons(shifts, share):
    assert told_apart(shifts, 100, share=share).mean() <= 0.05


def test_a_small_difference_is_seen_where_models_share_noise_and_held_out_examples():
    shifts = [0.3 * SHIFTS[0], SHIFTS[0]]
    assert told_apart(shifts, 40).mean() > 0.8
    better = [leaders(simulated(seed, shifts), "frechet")[0].name == "model 0" for seed in range(40)]
    assert np.mean(better) > 0.97


def test_pairs_and_classes_in_proportion_make_the_least_difference_smaller():
    def least(comparison):
        return margin(*statistics(comparison, "frechet"))

    def apart(comparison):
        return dataclasses.replace(comparison, models=tuple(alone(model) for model in comparison.models))

    def alone(model):
        score = dataclasses.replace(model.scores["frechet"], reference_terms=())
        return dataclasses.replace(model, sampling_seeds=(), scores={"frechet": score})

    shifts = [0.3 * SHIFTS[0], 0.4 * SHIFTS[0]]
    pairs = [simulated(seed, shifts) for seed in range(20)]
    chance = [simulated(seed, shifts, classes=False) for seed in range(20)]
    assert np.median([least(pair) / least(apart(pair)) for pair in pairs]) < 0.5
    assert np.median([least(apart(pair)) for pair in pairs]) < np.median([least(apart(pair)) for pair in chance])


def test_the_interval_of_a_difference_holds_the_true_one():
    """True distances of equal Gaussians that are moved: the squares of what they are moved by, and the same bias for both."""
    shifts, held = [0.3 * SHIFTS[0], 0.8 * SHIFTS[1]], 0
    for seed in range(100):
        comparison = simulated(seed, shifts)
        first, other = (statistic(comparison, model, "frechet") for model in comparison.models)
        held += abs(other.value - first.value - (0.8**2 - 0.3**2)) <= margin(first, other)
    assert held >= 93


@pytest.fixture(scope="module")
def digits():
    return pf.data.load("digits")


def test_all_families_get_the_same_labels_in_proportion_and_the_same_noise_where_it_has_one_shape(digits):
    judge, started = Judge(digits, 100, 1, ["frechet"]), {}
    recipes = {name: getattr(pf.recipes, name)(digits.space, "tiny") for name in ("gan", "vae", "ddpm", "flow")}
    transports = {name: recipe.method.transport() for name, recipe in recipes.items()}
    for name, transport in transports.items():
        transport.register_forward_pre_hook(lambda _, given, name=name: started.setdefault(name, given[0]))
    transports["none"] = GaussianBaseline.fit(digits)
    first, *others = (judge.draw(transport, REPEAT_SEEDS)[1] for transport in transports.values())
    assert all(np.array_equal(first, labels) for labels in others)
    assert torch.equal(started["ddpm"], started["flow"])
    shares = np.bincount(digits.train.labels, minlength=10) / len(digits.train)
    assert np.abs(np.bincount(first, minlength=10) - 100 * shares).max() <= 2
    again = judge.draw(transports["gan"], REPEAT_SEEDS + 3, 20)[1]
    assert np.array_equal(again, first[3:23]), "a label comes from its sample's own seed"
    assert not np.array_equal(judge.draw(transports["gan"], 2 * REPEAT_SEEDS)[1], first)
