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
SHIFTS = np.eye(DIMENSIONS)


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
    labels = [
        np.arange(N) % CLASSES if classes else random.integers(CLASSES, size=N)
        for _ in range(samplings)
    ]
    noise = random.standard_normal((samplings, N, DIMENSIONS))
    models = []
    for (number, shift), run in itertools.product(enumerate(shifts), range(trainings)):
        if not share:
            noise = random.standard_normal(noise.shape)
        moved = shift * (1 + 0.3 * random.standard_normal() * (trainings > 1))
        samples = [
            as_samples(means[label] + z + moved, real)
            for label, z in zip(labels, noise, strict=True)
        ]
        scores = {
            "frechet": combined(
                [Frechet()(one)["frechet"] for one in samples], N, None, INFOS["frechet"]
            )
        }
        models.append(ModelResult(f"model {number}-{run}", seed=run, scores=scores))
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


@pytest.mark.parametrize(
    ("shifts", "options"),
    [
        (
            [SHIFTS[0], -SHIFTS[0], SHIFTS[1]],
            {},
        ),  # equally bad in other ways: other held-out examples are hard
        ([SHIFTS[0]] * 3, {"share": False}),  # the same distribution from other noise
        ([SHIFTS[0]] * 3, {"share": False, "samplings": 1}),
        ([SHIFTS[0]] * 3, {"share": False, "samplings": 1, "trainings": 3}),
    ],
)
def test_of_equal_models_none_is_called_ahead_in_more_than_a_twentieth_of_comparisons(
    shifts, options
):
    assert told_apart(shifts, 100, **options) <= 0.05


@pytest.mark.parametrize("samplings", [1, 2, 5])
@pytest.mark.parametrize("share", [True, False])
def test_models_that_differ_are_told_apart_however_few_samplings_there_are(samplings, share):
    """Four models, two of them three times as bad as the others by far more than their
    scores vary.
    """
    shifts = [0.9 * SHIFTS[0], 0.9 * SHIFTS[1], 2.7 * SHIFTS[0], 2.7 * SHIFTS[1]]
    for seed in range(20):
        pairs = simulated(seed, shifts, share=share, samplings=samplings).differences()["frechet"]
        said = {(pair["first"], pair["other"]): pair["ahead"] for pair in pairs}
        for good, bad in itertools.product(("model 0-0", "model 1-0"), ("model 2-0", "model 3-0")):
            assert said[good, bad] == good


def test_a_small_difference_is_seen_where_models_share_noise_and_held_out_examples():
    shifts = [0.3 * SHIFTS[0], SHIFTS[0]]
    assert told_apart(shifts, 40) > 0.8
    assert all(ahead(simulated(seed, shifts))[0] in ("model 0-0", None) for seed in range(40))


def test_pairs_and_classes_in_proportion_make_the_margin_smaller():
    def margin(comparison):
        return comparison.differences()["frechet"][0]["margin"]

    def apart(comparison):
        models = tuple(alone(model) for model in comparison.models)
        return dataclasses.replace(comparison, models=models)

    def alone(model):
        score = dataclasses.replace(model.scores["frechet"], reference_terms=(), sample_terms=())
        return dataclasses.replace(model, scores={"frechet": score})

    shifts = [0.3 * SHIFTS[0], 0.4 * SHIFTS[0]]
    pairs = [simulated(seed, shifts) for seed in range(20)]
    actual = np.median([margin(pair) / margin(apart(pair)) for pair in pairs])
    assert actual < 0.5


def test_the_interval_of_a_difference_holds_the_true_one():
    """True distances of equal Gaussians that are moved: the squares of what they are moved by, and
    the same bias for both.
    """
    shifts = [0.3 * SHIFTS[0], 0.8 * SHIFTS[1]]
    held = 0
    for seed in range(100):
        (pair,) = simulated(seed, shifts).differences()["frechet"]
        held += abs(pair["difference"] - (0.3**2 - 0.8**2)) <= pair["margin"]
    assert held >= 93


TERMS = {
    "frechet": (Frechet, (1, 1, 2)),
    "kid": (Kernel, (1, 1, 2)),
    "sliced_w2": (Wasserstein, (1, 1, 2)),
    "coverage": (Manifold, (2,)),
    "recall": (Manifold, (2,)),
    "energy": (TwoSample, (2,)),
    "detection": (Detection, None),
}


def scored(name, x, real):
    metric, shape = TERMS[name]
    if shape is not None:
        return metric()(as_samples(x, real, shape))[name]
    table = Table(x, real, ("a", "b"), ("number", "number"), ((), ()))
    return metric()(dataclasses.replace(as_samples(x, real, (2,)), table=table))[name]


@pytest.mark.parametrize("name", TERMS)
def test_terms_of_samples_say_how_a_score_varies_and_belong_to_the_same_samples_in_all_models(name):
    random = np.random.default_rng(5)
    few = name == "detection"  # its classifiers take long
    n = 160
    real = random.standard_normal((n, 2))
    values = []
    variances = []
    for _ in range(12 if few else 60):
        noise = random.standard_normal((n, 2))
        score = scored(name, 0.6 + noise, real)
        values.append(score.value)
        variances.append(np.var(score.sample_terms, ddof=1) / len(score.sample_terms))
    assert len(score.sample_terms) == len(score.reference_terms) == 32
    factor = 4 if few else 2
    assert np.var(values, ddof=1) / factor < np.mean(variances) < 4 * np.var(values, ddof=1)

    if name in ("coverage", "recall"):
        assert variances[-1] == pytest.approx(score.error**2 - score.reference_error**2)

    def common(x):
        return np.corrcoef(scored(name, x, real).sample_terms, score.sample_terms)[0, 1]

    assert common(0.65 + noise) > 0.5 + abs(common(0.65 + random.standard_normal((n, 2))))


def test_roots_are_compared_by_their_squares():
    """Models whose values differ: the terms of a root are those of its square over twice the value,
    by the delta method.
    """
    random = np.random.default_rng(3)
    roots = []
    squares = []
    for name, value in (("a", 0.2), ("b", 0.5)):
        terms = {
            "sample_terms": random.standard_normal(32),
            "reference_terms": random.standard_normal(32),
        }
        squares.append(ModelResult(name, scores={"frechet": Score(value**2, **terms)}))
        terms = {side: each / (2 * value) for side, each in terms.items()}
        roots.append(ModelResult(name, scores={"frechet": Score(value, **terms)}))
    pairs = []
    for models, root in ((roots, True), (squares, False)):
        comparison = Comparison(models=tuple(models), metrics={"frechet": MetricInfo(root=root)})
        pairs.append(comparison.differences()["frechet"][0])
    assert pairs[0]["difference"] * (0.2 + 0.5) == pytest.approx(pairs[1]["difference"])
    assert pairs[0]["margin"] * (0.2 + 0.5) == pytest.approx(pairs[1]["margin"])


def random_comparison(seed):
    """Four models and a baseline, with terms, errors or spreads by turns, of differences like their
    margins.
    """
    random = np.random.default_rng(seed)
    kind = seed % 3
    metrics = {
        **INFOS,
        "coverage": MetricInfo("Coverage", "higher", role="diversity", least=0.0, most=1.0),
    }

    def score(mean):
        values = tuple((mean + 0.02 * random.standard_normal(2)).tolist())
        terms = [tuple((mean + 0.1 * random.standard_normal(count)).tolist()) for count in (64, 32)]
        known = {"error": 0.03, "reference_error": 0.02}
        if kind == 0:
            known |= dict(zip(("sample_terms", "reference_terms"), terms, strict=True))
        if kind == 2:
            known = {"reference_error": 0.01}
        spread = float(np.std(values, ddof=1))
        return Score(float(np.mean(values)), spread=spread, values=values, **known)

    def row(name):
        scores = {metric: score(random.uniform(0.3, 0.5)) for metric in metrics}
        return ModelResult(name, scores=scores)

    real_data_scores = {
        metric: Score(0.25 if metric == "frechet" else 0.6, 0.01) for metric in metrics
    }
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
        first = answers(comparison)["Best"]
        clauses = answers(comparison)["Clear?"]
    else:
        (text,) = (
            finding.text
            for finding in findings(comparison)
            if finding.kind == "verdict" and metric in finding.text
        )
        first, clauses = re.split(r" Real data scores [\d.]+\. ", text)
    return re.findall(r"\b[a-d]\b", first), re.split(r"\. |, nor can ", clauses.rstrip("."))


@pytest.mark.parametrize("seed", range(60))
def test_ahead_is_said_exactly_where_the_difference_exceeds_the_margin_in_the_json(seed):
    comparison = random_comparison(seed)
    content = json.loads(comparison.to_json())
    assert Comparison.from_json(comparison.to_json()) == comparison
    for metric, turn in (("frechet", 1), ("coverage", -1)):
        values = {
            model["name"]: turn * model["scores"][metric]["value"] for model in content["models"]
        }
        order = sorted(values, key=values.get)
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
            actual = any(set(pair) <= group for group in groups)
            assert actual == indistinct

        not_ahead = {name for name in order if ahead_of[frozenset((name, "no network"))] != name}
        behind_it = {
            name for name in order if ahead_of[frozenset((name, "no network"))] == "no network"
        }
        about = [clause for clause in clauses if "the baseline" in clause]
        led = [clause for clause in clauses if clause.startswith("The baseline")]
        assert len(about) == (not_ahead != behind_it)
        assert len(led) == bool(behind_it)
        if about:
            stated = set(order) if about[0].startswith("No model is ahead") else names_in(about[0])
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
    judge = Evaluator(digits, 100, 1, ["frechet"])
    started = {}
    recipes = {
        name: getattr(pf.recipes, name)(digits.space, "tiny")
        for name in ("gan", "vae", "ddpm", "flow")
    }
    transports = {name: recipe.method.transport() for name, recipe in recipes.items()}
    for name, transport in transports.items():
        transport.register_forward_pre_hook(
            lambda _, given, name=name: started.setdefault(name, given[0])
        )
    transports["none"] = GaussianBaseline.fit(digits)
    first, *others = (judge.draw(transport, REPEAT_SEEDS)[1] for transport in transports.values())
    assert all(np.array_equal(first, labels) for labels in others)
    assert torch.equal(started["ddpm"], started["flow"])
    shares = np.bincount(digits.train.labels, minlength=10) / len(digits.train)
    largest = np.abs(np.bincount(first, minlength=10) - 100 * shares).max()
    assert largest <= 2
    again = judge.draw(transports["gan"], REPEAT_SEEDS + 3, 20)[1]
    assert np.array_equal(again, first[3:23]), "a label comes from its sample's own seed"
    assert not np.array_equal(judge.draw(transports["gan"], 2 * REPEAT_SEEDS)[1], first)


def differing(values, info, real_data_score=None, **known):
    """The pair of two models of several training runs each, or of one, with these values of one
    score.
    """
    models = [
        ModelResult(
            f"{name}-{seed}", seed=seed, scores={"score": Score(value, values=(value,), **known)}
        )
        for name, runs in zip("ab", values, strict=True)
        for seed, value in enumerate(runs)
    ]
    real_data_scores = {} if real_data_score is None else {"score": real_data_score}
    (pair,) = aggregated(
        Comparison(models=tuple(models), metrics={"score": info}, real_data_scores=real_data_scores)
    ).differences()["score"]
    return pair


def test_training_runs_that_agree_because_they_share_noise_are_no_more_certain_than_one():
    errors = {"error": 0.1, "reference_error": 0.02}
    alike = differing([(0.5, 0.501, 0.502), (0.6, 0.601, 0.602)], MetricInfo("Score"), **errors)
    assert (
        alike["margin"]
        > differing([(0.5,), (0.6,)], MetricInfo("Score"), **errors)["margin"] * 0.99
    )
    assert alike["ahead"] is None


def test_on_either_side_of_a_target_errors_that_models_share_add_up():
    pair = differing(
        [(1.2,), (0.9,)],
        MetricInfo("Score", "target"),
        Score(1.0, 0.05),
        error=0.1,
        reference_error=0.1,
    )
    assert pair["margin"] > 1.96 * (0.1 + 0.1)


def test_scores_of_one_sampling_without_an_error_are_not_distinguished():
    pair = differing([(1.2,), (0.9,)], MetricInfo("Score"), Score(1.0, 0.05))
    assert (pair["margin"], pair["ahead"]) == (None, None)


def test_a_score_without_an_error_is_judged_by_the_spread_between_samplings_of_all_models():
    models = [
        ModelResult(name, scores={"score": Score(mean, 0.014, values=(mean - 0.01, mean + 0.01))})
        for name, mean in (("a", 0.5), ("b", 0.53))
    ]
    real_data_scores = {"score": Score(0.4, 0.001)}
    comparison = Comparison(
        models=tuple(models),
        metrics={"score": MetricInfo("Score")},
        real_data_scores=real_data_scores,
    )
    assert comparison.differences()["score"][0]["ahead"] is None
