"""Each score says how it was measured, and scores that were measured otherwise are not compared
with it.
"""

import dataclasses
import hashlib
import subprocess
import sys

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
from pushforward.metrics.two_sample import frechet_distance
from pushforward.metrics.uncertainty import frechet_bias


def cloud(seed=0, count=180):
    rows = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    space = VectorSpace((2,), (0.0, 0.0), (1.0, 1.0))
    half = count // 2
    return Dataset("cloud", space, Split(rows[:half]), Split(rows[half:]))


def compare(models, data=None, **options):
    """Compare models on few samples."""
    return pf.compare(models, data, **{"n": 40, "repeats": 2, "curve": False, **options})


def compared(data, name="it", **options):
    return compare({name: GaussianBaseline.fit(data)}, data, **options)


@pytest.fixture(scope="module")
def first():
    return compared(cloud())


def test_a_score_carries_how_it_was_measured(first):
    model = first["it"]
    protocol = first.protocol
    assert protocol.n == 40
    assert protocol.k == 5
    assert protocol.dimensions == 2
    assert protocol.quantisation == "float32"
    assert protocol.data == cloud().fingerprint
    assert len(protocol.reference) == 64
    assert protocol.extractor
    assert protocol.versions == {"pushforward": pf.__version__}
    for name in ("frechet", "energy", "w2", "neighbour_test"):
        score = model.scores[name]
        low, high = score.interval
        assert low < score.value < high, name
        assert score.interval_of == "examples"
        assert score.n == 40
        assert 0 < score.reference_error < score.error
        assert name in first.real_data_scores
    assert pf.Comparison.from_json(first.to_json()) == first


def half_width(score, of):
    """Half the width of the interval of a score whose value is 1."""
    assert score.interval_of == of
    return score.interval[1] - 1


def test_intervals_over_examples_samplings_and_trainings():
    whole = with_interval(Score(1.0, values=(0.9, 1.1), error=0.5, reference_error=0.3))
    expected = 1.96 * (0.3**2 + 0.4**2 / 2) ** 0.5
    assert half_width(whole, "examples") == pytest.approx(expected)
    repeats = (0.9, 1.0, 1.1)
    student = with_interval(Score(1.0, values=repeats))
    expected = 4.3027 * 0.1 / 3**0.5
    assert half_width(student, "samplings") == pytest.approx(expected, rel=1e-4)
    trainings = over_trainings(Score(1.0, values=repeats, error=9.0, reference_error=0.3))
    expected = 1.96 * (0.3**2 + 0.1**2 / 3) ** 0.5
    assert half_width(trainings, "training runs") == pytest.approx(expected, rel=0.01)


def test_scores_that_do_not_vary_or_are_missing_have_no_interval():
    single = Score(1.0)
    constant = Score(8.0, values=(8.0, 8.0))
    missing = Score(None, error=1.0)
    missing_once = Score(1.0, values=(1.0, None))
    for unknown in (single, constant, missing, missing_once):
        assert with_interval(unknown).interval is None


def test_trainings_of_a_recipe_have_an_interval_over_trainings(first):
    one = dataclasses.replace(first["it"], name="it-0", seed=0)
    frechet = dataclasses.replace(one.scores["frechet"], value=0.5)
    scores = {**one.scores, "frechet": frechet}
    two = dataclasses.replace(one, name="it-1", seed=1, scores=scores)
    both = dataclasses.replace(first, models=(one, two))
    together = aggregated(both)["it"].scores
    assert together["frechet"].interval_of == "training runs"
    assert together["energy"].interval is None, (
        "two trainings that agree do not say how trainings vary"
    )


def test_finished_runs_of_a_recipe_are_one_row_also_if_they_were_scored_apart():
    data = cloud()
    first = GaussianBaseline.fit(data)
    second = GaussianBaseline.fit(cloud(1))
    listed = compare({"it": [first, second], "else": first}, data)
    apart = [compare({"it-0": first}, data), compare({"it-1": second}, data)]
    for comparison in (listed, pf.compare(apart, seeds=2)):
        assert len(comparison["it"].trainings) == 2
        assert comparison.settings.seeds == 2
        assert comparison["it"].scores == listed["it"].scores
    assert pf.compare(apart).settings.seeds == 1
    assert listed["else"].trainings == ()
    with pytest.raises(UsageError, match="got a and b"):
        pf.compare({"a": first, "b": second}, data, seeds=2)


def names(comparison):
    return [model.name for model in comparison.models]


def test_comparisons_of_one_protocol_are_joined_without_scoring_again(first, tmp_path, monkeypatch):
    other = compared(cloud(), "other", repeats=3)
    # whoever scored again would fail
    monkeypatch.setattr("pushforward.evaluation.evaluator.score", None)
    both = pf.compare([first, other])
    assert names(both) == ["it", "other"]
    assert both["it"] == first["it"]
    assert both["other"].scores == other["other"].scores
    assert both.protocol == first.protocol
    assert both.settings.n == 40
    assert both.settings.repeats is None
    assert both.real_data_scores == first.real_data_scores
    assert {"it", "other", "real"} <= set(both.pictures)
    saved = pf.Report(first).save(tmp_path / "report.json")
    again = pf.compare([saved, other])
    assert names(again) == ["it", "other"]


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


MINE = """
from pushforward.metrics import MetricInfo, Score

class Mine:
    scores = {"mine": MetricInfo("Mine", "lower", "The distance of means.")}
    def applies(self, samples):
        return True
    def __call__(self, samples):
        return {"mine": Score(float(abs(samples.generated.mean() - samples.reference.mean())))}
"""
SCORING = """
import pushforward as pf
from pushforward import plugins
from pushforward.evaluation.baselines import GaussianBaseline

plugins.load("mine.py")
data = pf.data.load("moons")
result = pf.compare({"it": GaussianBaseline.fit(data)}, data, n=40, repeats=1, curve=False)
print(result.protocol.versions["mine"])
"""


def test_a_users_metric_is_known_by_its_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    words = [sys.executable, "-c", SCORING]
    printed = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [hashlib.sha256(file.read_bytes()).hexdigest()[:12]]


def mean_frechet_distance(d, n, repeats):
    """The mean distance of two clouds of one Gaussian."""
    random = np.random.default_rng(0)
    distances = []
    for _ in range(repeats):
        first = random.normal(size=(n, d))
        second = random.normal(size=(n, d))
        distances.append(frechet_distance(first, second))
    return np.mean(distances)


@pytest.mark.parametrize(("d", "n"), [(2, 50), (8, 200)])
def test_the_bias_that_a_frechet_distance_states_is_what_clouds_of_one_gaussian_have(d, n):
    size = 20_000
    reference = np.random.default_rng(1).normal(size=(size, d))
    bias = frechet_bias(reference, n)
    of_reference = n / size
    of_two_small_clouds = bias * 2 / (1 + of_reference)
    assert of_two_small_clouds == pytest.approx(mean_frechet_distance(d, n, 200), rel=0.1)
    assert bias < 0.55 * of_two_small_clouds
