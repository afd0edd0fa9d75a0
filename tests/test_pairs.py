"""Models are compared in pairs: on the same labels, noise and held-out examples, by one rule, which
every sentence follows.
"""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.intervals import combined
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, ModelResult
from pushforward.metrics import MetricInfo, Samples, Score
from pushforward.metrics.manifold import Manifold
from pushforward.metrics.transport import Wasserstein
from pushforward.metrics.two_sample import Frechet, Kernel, TwoSample
from pushforward.report.answers import answers
from pushforward.report.findings import findings
from pushforward.tables.metrics.table import Table
from pushforward.tables.metrics.trees import Detection

N = 60
CLASSES = 5
DIMENSIONS = 2
INFOS = {"frechet": MetricInfo("Fréchet distance", "lower", role="quality", least=0.0)}
RIGHT = np.array([1.0, 0.0])
UP = np.array([0.0, 1.0])


def as_samples(x, real, shape=(1, 1, 2)):
    return Samples(x, real, real, x, real, shape)


def simulated(seed, shifts, share=True, classes=True, samplings=5, trainings=1):
    """Models whose distribution is the data's, moved: several samplings of each, against the same
    held-out examples.

    Args:
        seed: Of everything.
        shifts: By how much each model is moved, so that those moved equally far are equally good.
        share: Whether models start from the same noise.
        classes: Whether classes are drawn in proportion; else independently, the same for all
            models.
        samplings: Of each training run.
        trainings: Training runs of each model, which differ in how far they are moved.
    """
    random = np.random.default_rng([seed, 7])
    means = np.random.default_rng(0).standard_normal((CLASSES, DIMENSIONS))
    real = means[random.integers(CLASSES, size=N)] + random.standard_normal((N, DIMENSIONS))
    labels = np.tile(np.arange(N) % CLASSES, (samplings, 1))
    if not classes:
        labels = random.integers(CLASSES, size=(samplings, N))
    noise = random.standard_normal((samplings, N, DIMENSIONS))
    frechet = Frechet()
    models = []
    for (number, shift), run in itertools.product(enumerate(shifts), range(trainings)):
        if not share:
            noise = random.standard_normal(noise.shape)
        differing = 0.3 * random.standard_normal()
        if trainings > 1:
            shift = shift * (1 + differing)
        samplings_of_model = means[labels] + noise + shift
        scores = [frechet(as_samples(x, real))["frechet"] for x in samplings_of_model]
        joined = combined(scores, N, None, INFOS["frechet"])
        models.append(ModelResult(f"model {number}-{run}", seed=run, scores={"frechet": joined}))
    comparison = Comparison(models=tuple(models), metrics=INFOS)
    if trainings > 1:
        return aggregated(comparison)
    return comparison


def ahead(comparison, metric="frechet"):
    """The model that is ahead in each pair, or None."""
    return [pair["ahead"] for pair in comparison.differences()[metric]]


def told_apart(shifts, repeats, **options):
    """The fraction of comparisons in which any model is called ahead of another."""
    return np.mean([any(ahead(simulated(seed, shifts, **options))) for seed in range(repeats)])


def test_of_models_equally_bad_in_other_ways_none_is_called_ahead_in_more_than_a_twentieth():
    """Other held-out examples are hard for each."""
    assert told_apart([RIGHT, -RIGHT, UP], 100) <= 0.05


@pytest.mark.parametrize(("samplings", "trainings"), [(5, 1), (1, 1), (1, 3)])
def test_of_equal_models_none_is_called_ahead_in_more_than_a_twentieth_of_comparisons(
    samplings, trainings
):
    """The same distribution from other noise."""
    options = {"samplings": samplings, "trainings": trainings}
    assert told_apart([RIGHT] * 3, 100, share=False, **options) <= 0.05


@pytest.mark.parametrize("samplings", [1, 2, 5])
@pytest.mark.parametrize("share", [True, False])
def test_models_that_differ_are_told_apart_however_few_samplings_there_are(samplings, share):
    """Four models, two of them three times as bad as the others by far more than their
    scores vary.
    """
    shifts = [0.9 * RIGHT, 0.9 * UP, 2.7 * RIGHT, 2.7 * UP]
    good = {"model 0-0", "model 1-0"}
    for seed in range(20):
        comparison = simulated(seed, shifts, share=share, samplings=samplings)
        for pair in comparison.differences()["frechet"]:
            better = good & {pair["first"], pair["other"]}
            if len(better) == 1:
                assert pair["ahead"] in better


def test_a_small_difference_is_seen_where_models_share_noise_and_held_out_examples():
    shifts = [0.3 * RIGHT, RIGHT]
    assert told_apart(shifts, 40) > 0.8
    for seed in range(40):
        (better,) = ahead(simulated(seed, shifts))
        assert better in ("model 0-0", None)


def test_pairs_and_classes_in_proportion_make_the_margin_smaller():
    def margin(comparison):
        return comparison.differences()["frechet"][0]["margin"]

    def apart(comparison):
        models = tuple(alone(model) for model in comparison.models)
        return dataclasses.replace(comparison, models=models)

    def alone(model):
        score = dataclasses.replace(model.scores["frechet"], reference_terms=(), sample_terms=())
        return dataclasses.replace(model, scores={"frechet": score})

    shifts = [0.3 * RIGHT, 0.4 * RIGHT]
    ratios = []
    for seed in range(20):
        comparison = simulated(seed, shifts)
        ratios.append(margin(comparison) / margin(apart(comparison)))
    assert np.median(ratios) < 0.5


def test_the_interval_of_a_difference_holds_the_true_one():
    """True distances of equal Gaussians that are moved: the squares of what they are moved by, and
    the same bias for both.
    """
    shifts = [0.3 * RIGHT, 0.8 * UP]
    truth = 0.3**2 - 0.8**2
    held = 0
    for seed in range(100):
        (pair,) = simulated(seed, shifts).differences()["frechet"]
        held += abs(pair["difference"] - truth) <= pair["margin"]
    assert held >= 93


TERMS = {
    "frechet": Frechet,
    "kid": Kernel,
    "sliced_w2": Wasserstein,
    "coverage": Manifold,
    "recall": Manifold,
    "energy": TwoSample,
    "detection": Detection,
}
IMAGES = ("frechet", "kid", "sliced_w2")


def scored(name, x, real):
    shape = (2,)
    if name in IMAGES:
        shape = (1, 1, 2)
    samples = as_samples(x, real, shape)
    if name == "detection":
        table = Table(x, real, ("a", "b"), ("number", "number"), ((), ()))
        samples = dataclasses.replace(samples, table=table)
    metric = TERMS[name]()
    return metric(samples)[name]


@pytest.mark.parametrize("name", TERMS)
def test_terms_of_samples_say_how_a_score_varies_and_belong_to_the_same_samples_in_all_models(name):
    random = np.random.default_rng(5)
    samplings = 60
    factor = 2
    if name == "detection":  # its classifiers take long
        samplings = 12
        factor = 4
    n = 160
    real = random.standard_normal((n, 2))
    values = []
    variances = []
    for _ in range(samplings):
        noise = random.standard_normal((n, 2))
        score = scored(name, 0.6 + noise, real)
        values.append(score.value)
        variances.append(np.var(score.sample_terms, ddof=1) / 32)
    assert len(score.sample_terms) == 32
    assert len(score.reference_terms) == 32
    variance = np.var(values, ddof=1)
    assert variance / factor < np.mean(variances) < 4 * variance

    if name in ("coverage", "recall"):
        assert variances[-1] == pytest.approx(score.error**2 - score.reference_error**2)

    def correlation(noise):
        other = scored(name, 0.65 + noise, real)
        return np.corrcoef(other.sample_terms, score.sample_terms)[0, 1]

    other_noise = random.standard_normal((n, 2))
    assert correlation(noise) > 0.5 + abs(correlation(other_noise))


def test_roots_are_compared_by_their_squares():
    """Models whose values differ: the terms of a root are those of its square over twice the value,
    by the delta method.
    """
    random = np.random.default_rng(3)
    roots = []
    squares = []
    for name, value in (("a", 0.2), ("b", 0.5)):
        sample, reference = random.standard_normal((2, 32))
        square = Score(value**2, sample_terms=sample, reference_terms=reference)
        squares.append(of_score(name, square))
        slope = 1 / (2 * value)
        root = Score(value, sample_terms=slope * sample, reference_terms=slope * reference)
        roots.append(of_score(name, root))
    of_roots = the_pair(roots, MetricInfo(root=True))
    of_squares = the_pair(squares, MetricInfo())
    both = 0.2 + 0.5
    assert of_roots["difference"] * both == pytest.approx(of_squares["difference"])
    assert of_roots["margin"] * both == pytest.approx(of_squares["margin"])


def of_score(name, score, seed=0):
    """A model of which one score is known."""
    return ModelResult(name, seed=seed, scores={"score": score})


def the_pair(models, info, real_data_score=None):
    """The pair of two models by their score, after joining training runs of several seeds."""
    known = {}
    if real_data_score is not None:
        known = {"score": real_data_score}
    comparison = Comparison(models=tuple(models), metrics={"score": info}, real_data_scores=known)
    (pair,) = aggregated(comparison).differences()["score"]
    return pair


def random_comparison(seed):
    """Four models and a baseline, with terms, errors or spreads by turns, of differences like their
    margins.
    """
    random = np.random.default_rng(seed)
    kind = seed % 3
    coverage = MetricInfo("Coverage", "higher", role="diversity", least=0.0, most=1.0)
    metrics = {**INFOS, "coverage": coverage}

    def score(mean):
        def near(std, count):
            numbers = mean + std * random.standard_normal(count)
            return tuple(numbers.tolist())

        values = near(0.02, 2)
        sample_terms = near(0.1, 64)
        reference_terms = near(0.1, 32)
        known = {"error": 0.03, "reference_error": 0.02}
        if kind == 0:
            known |= {"sample_terms": sample_terms, "reference_terms": reference_terms}
        if kind == 2:
            known = {"reference_error": 0.01}
        spread = float(np.std(values, ddof=1))
        return Score(float(np.mean(values)), spread=spread, values=values, **known)

    def row(name):
        scores = {metric: score(random.uniform(0.3, 0.5)) for metric in metrics}
        return ModelResult(name, scores=scores)

    real_data_scores = {"frechet": Score(0.25, 0.01), "coverage": Score(0.6, 0.01)}
    models = tuple(map(row, "abcd"))
    return Comparison(
        models=models,
        metrics=metrics,
        real_data_scores=real_data_scores,
        baseline=row("no network"),
    )


def names_in(text):
    return set(re.findall(r"\b[a-d]\b", text))


def said_of(comparison, metric):
    """The models in the order in which they are named, and what is said of each other, clause by
    clause.
    """
    if metric == "frechet":
        said = answers(comparison)
        first = said["Best"]
        rest = said["Clear?"]
    else:
        verdicts = [each.text for each in findings(comparison) if each.kind == "verdict"]
        (text,) = [text for text in verdicts if metric in text]
        first, rest = re.split(r" Real data scores [\d.]+\. ", text)
    order = re.findall(r"\b[a-d]\b", first)
    clauses = re.split(r"\. |, nor can ", rest.rstrip("."))
    return order, clauses


@pytest.mark.parametrize("seed", range(60))
def test_ahead_is_said_exactly_where_the_difference_exceeds_the_margin_in_the_json(seed):
    comparison = random_comparison(seed)
    text = comparison.to_json()
    content = json.loads(text)
    assert Comparison.from_json(text) == comparison
    for metric, higher_is_better in (("frechet", False), ("coverage", True)):
        values = {}
        for model in content["models"]:
            score = model["scores"][metric]
            values[model["name"]] = score["value"]
        order = sorted(values, key=values.get, reverse=higher_is_better)
        best = order[0]
        ahead_of = {}
        for pair in content["differences"][metric]:
            names = {pair["first"], pair["other"]}
            assert (pair["ahead"] in names) == (abs(pair["difference"]) > pair["margin"])
            ahead_of[frozenset(names)] = pair["ahead"]
        said_order, (lead, *clauses) = said_of(comparison, metric)
        assert said_order == order, "no model stands before a better one"

        behind = {name for name in order[1:] if ahead_of[frozenset((best, name))] == best}
        assert lead.startswith(f"{best} is ")
        if len(behind) == 3:
            assert "is ahead of every other model (95 %)" in lead
        elif behind:
            assert " is ahead of " in lead
            assert names_in(lead) == behind | {best}
        else:
            assert "is not ahead of any other model (95 %)" in lead

        groups = [names_in(clause) for clause in clauses if "baseline" not in clause.lower()]
        for pair in itertools.combinations(order, 2):
            indistinct = ahead_of[frozenset(pair)] is None
            together = any(set(pair) <= group for group in groups)
            assert together == indistinct

        not_ahead = set()
        behind_it = set()
        for name in order:
            better = ahead_of[frozenset((name, "no network"))]
            if better != name:
                not_ahead.add(name)
            if better == "no network":
                behind_it.add(name)
        about = [clause for clause in clauses if "the baseline" in clause]
        led = [clause for clause in clauses if clause.startswith("The baseline")]
        assert len(about) == (not_ahead != behind_it)
        assert len(led) == bool(behind_it)
        if about:
            stated = names_in(about[0])
            if about[0].startswith("No model is ahead"):
                stated = set(order)
            assert stated == not_ahead
        if led:
            assert names_in(led[0]) == behind_it
        about += led
        assert len(groups) + len(about) == len(clauses)


@pytest.fixture(scope="module")
def digits():
    return pf.data.load("digits")


def test_all_families_get_the_same_labels_in_proportion_and_the_same_noise_where_it_has_one_shape(
    digits,
):
    evaluator = Evaluator(digits, 100, 1, ["frechet"])
    started = {}

    def untrained(name):
        """A model that notes the noise from which it starts."""
        transport = pf.recipes.named(name)(digits.space, "tiny").method.transport()
        transport.register_forward_pre_hook(
            lambda _, given: started.setdefault(name, given[0].clone())
        )
        return transport

    def labels_of(transport, *seeds):
        _, labels, *_ = evaluator.draw(transport, *seeds)
        return labels

    gan = untrained("gan")
    labels = labels_of(gan, REPEAT_SEEDS)
    others = [untrained("vae"), untrained("ddpm"), untrained("flow"), GaussianBaseline.fit(digits)]
    for transport in others:
        np.testing.assert_array_equal(labels_of(transport, REPEAT_SEEDS), labels)
    assert torch.equal(started["ddpm"], started["flow"])
    fractions = np.bincount(digits.train.labels) / len(digits.train)
    counts = np.bincount(labels, minlength=10)
    assert np.abs(counts - 100 * fractions).max() <= 2
    again = labels_of(gan, REPEAT_SEEDS + 3, 20)
    assert np.array_equal(again, labels[3:23]), "a label comes from its sample's own seed"
    assert not np.array_equal(labels_of(gan, 2 * REPEAT_SEEDS), labels)


def differing(values, info, real_data_score=None, **known):
    """The pair of two models of several training runs each, or of one, with these values of one
    score.
    """
    models = []
    for name, runs in zip("ab", values, strict=True):
        for seed, value in enumerate(runs):
            score = Score(value, values=(value,), **known)
            models.append(of_score(f"{name}-{seed}", score, seed))
    return the_pair(models, info, real_data_score)


def test_training_runs_that_agree_because_they_share_noise_are_no_more_certain_than_one():
    errors = {"error": 0.1, "reference_error": 0.02}
    info = MetricInfo("Score")
    alike = differing([(0.5, 0.501, 0.502), (0.6, 0.601, 0.602)], info, **errors)
    single = differing([(0.5,), (0.6,)], info, **errors)
    assert alike["margin"] > 0.99 * single["margin"]
    assert alike["ahead"] is None


def test_on_either_side_of_a_target_errors_that_models_share_add_up():
    errors = {"error": 0.1, "reference_error": 0.1}
    info = MetricInfo("Score", "target")
    pair = differing([(1.2,), (0.9,)], info, Score(1.0, 0.05), **errors)
    assert pair["margin"] > 1.96 * (0.1 + 0.1)


def test_scores_of_one_sampling_without_an_error_are_not_distinguished():
    pair = differing([(1.2,), (0.9,)], MetricInfo("Score"), Score(1.0, 0.05))
    assert pair["margin"] is None
    assert pair["ahead"] is None


def test_a_score_without_an_error_is_judged_by_the_spread_between_samplings_of_all_models():
    models = []
    for name, mean in (("a", 0.5), ("b", 0.53)):
        score = Score(mean, 0.014, values=(mean - 0.01, mean + 0.01))
        models.append(of_score(name, score))
    pair = the_pair(models, MetricInfo("Score"), Score(0.4, 0.001))
    assert pair["ahead"] is None
