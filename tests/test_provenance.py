"""Each score says how it was measured, and scores that were measured otherwise are not compared
with it.
"""

import dataclasses

import numpy as np
import pytest

import pushforward as pf
from pushforward.data import VectorSpace
from pushforward.data.core.dataset import Dataset, Split
from pushforward.errors import UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.intervals import over_trainings, with_interval
from pushforward.evaluation.joined import aggregated
from pushforward.metrics import Score


def cloud(seed=0, count=180, shift=0.0):
    rows = np.random.default_rng(seed).normal(shift, 1, size=(count, 2)).astype(np.float32)
    return Dataset(
        "cloud",
        VectorSpace((2,), (0.0, 0.0), (1.0, 1.0)),
        Split(rows[: count // 2]),
        Split(rows[count // 2 :]),
    )


def compared(data, name="it", **options):
    return pf.compare(
        {name: GaussianBaseline.fit(data)},
        data,
        **{"n": 40, "repeats": 2, "curve": False, **options},
    )


@pytest.fixture(scope="module")
def first():
    return compared(cloud())


def test_a_score_carries_how_it_was_measured(first):
    model = first["it"]
    protocol = first.protocol
    assert (protocol.n, protocol.k, protocol.dimensions, protocol.quantisation) == (
        40,
        5,
        2,
        "float32",
    )
    assert protocol.data == cloud().fingerprint
    assert len(protocol.reference) == 64
    assert protocol.extractor
    assert protocol.versions == {"pushforward": pf.__version__}
    for name in ("frechet", "energy", "w2", "neighbour_test"):
        score = model.scores[name]
        low, high = score.interval
        assert low < score.value < high, name
        assert (score.interval_of, score.n) == ("examples", 40)
        assert 0 < score.reference_error < score.error
        assert name in first.real_data_scores
    assert pf.Comparison.from_json(first.to_json()) == first


def test_intervals_over_examples_samplings_and_trainings():
    whole = with_interval(Score(1.0, values=(0.9, 1.1), error=0.5, reference_error=0.3))
    assert whole.interval_of == "examples"
    assert whole.interval[1] - 1 == pytest.approx(1.96 * (0.3**2 + 0.4**2 / 2) ** 0.5)
    student = with_interval(Score(1.0, values=(0.9, 1.0, 1.1)))
    assert student.interval_of == "samplings"
    assert student.interval[1] - 1 == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    trainings = over_trainings(Score(1.0, values=(0.9, 1.0, 1.1), error=9.0, reference_error=0.3))
    assert trainings.interval_of == "training runs"
    assert trainings.interval[1] - 1 == pytest.approx(1.96 * (0.3**2 + 0.1**2 / 3) ** 0.5, rel=0.01)
    for unknown in (
        Score(1.0),
        Score(8.0, values=(8.0, 8.0)),
        Score(None, error=1.0),
        Score(1.0, values=(1.0, None)),
    ):
        assert with_interval(unknown).interval is None


def test_trainings_of_a_recipe_have_an_interval_over_trainings(first):
    two = [dataclasses.replace(first["it"], name=f"it-{seed}", seed=seed) for seed in (0, 1)]
    scores = {**two[1].scores, "frechet": dataclasses.replace(two[1].scores["frechet"], value=0.5)}
    two[1] = dataclasses.replace(two[1], scores=scores)
    together = aggregated(dataclasses.replace(first, models=tuple(two)))["it"].scores
    assert together["frechet"].interval_of == "training runs"
    assert together["energy"].interval is None, (
        "two trainings that agree do not say how trainings vary"
    )


def test_finished_runs_of_a_recipe_are_one_row_also_if_they_were_scored_apart():
    data = cloud()
    other = cloud(1)
    models = [GaussianBaseline.fit(data), GaussianBaseline.fit(other)]
    options = {"n": 40, "repeats": 2, "curve": False}
    listed = pf.compare({"it": models, "else": models[0]}, data, **options)
    apart = [
        pf.compare({f"it-{seed}": model}, data, **options) for seed, model in enumerate(models)
    ]
    for comparison in (listed, pf.compare(apart, seeds=2)):
        assert len(comparison["it"].trainings) == comparison.settings.seeds == 2
        assert comparison["it"].scores == listed["it"].scores
    assert pf.compare(apart).settings.seeds == 1
    assert listed["else"].trainings == ()
    with pytest.raises(UsageError, match="got a and b"):
        pf.compare({"a": models[0], "b": models[1]}, data, seeds=2)


def test_comparisons_of_one_protocol_are_joined_without_scoring_again(first, tmp_path, monkeypatch):
    other = compared(cloud(), "other", repeats=3)
    monkeypatch.setattr(
        "pushforward.evaluation.evaluator.score", None
    )  # whoever scored again would fail
    both = pf.compare([first, other])
    assert [model.name for model in both.models] == ["it", "other"]
    assert both["it"] == first["it"]
    assert both["other"].scores == other["other"].scores
    assert both.protocol == first.protocol
    assert (both.settings.n, both.settings.repeats) == (40, None)
    assert both.real_data_scores == first.real_data_scores
    assert {"it", "other", "real"} <= set(both.pictures)
    again = pf.compare([pf.Report(first).save(tmp_path / "report.json"), other])
    assert [model.name for model in again.models] == ["it", "other"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("n", 60, "n (40 and 60)"),
        ("reference", "0123456789" * 4, "and 01234567"),
        ("extractor", "inception", "and inception)"),
        ("versions", {"pushforward": "9"}, "versions ({'pushforward': "),
    ],
)
def test_unlike_protocols_are_refused_with_the_field_and_both_values(first, field, value, words):
    protocol = dataclasses.replace(first.protocol, **{field: value})
    other = dataclasses.replace(first, protocol=protocol)
    with pytest.raises(UsageError, match="cannot be compared") as error:
        pf.compare([first, other])
    assert words in str(error.value)


def frechet_bias(d, n, repeats, seed=0):
    from pushforward.metrics.two_sample import frechet_distance

    random = np.random.default_rng(seed)
    return np.mean(
        [
            frechet_distance(random.normal(size=(n, d)), random.normal(size=(n, d)))
            for _ in range(repeats)
        ]
    )


@pytest.mark.parametrize(("d", "n"), [(2, 50), (8, 200)])
def test_the_bias_that_a_frechet_distance_states_is_what_clouds_of_one_gaussian_have(d, n):
    from pushforward.metrics.uncertainty import frechet_bias as stated

    reference = np.random.default_rng(1).normal(size=(20_000, d))
    twice = (
        stated(reference, n) * 2 * (1 / n) / (1 / n + 1 / len(reference))
    )  # as if the reference too were n examples
    alone = stated(reference, n)
    assert twice == pytest.approx(frechet_bias(d, n, 200), rel=0.1)
    assert alone < 0.55 * twice
