"""Maps between two times in few calls, beside their teacher or start: what is measured, and what
the report says.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

import pushforward as pf
from pushforward.evaluation.costs import solver_title
from pushforward.evaluation.curves import pair_of, steps_curve_of, teacher_of
from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.intervals import combined
from pushforward.evaluation.measurements import CurvePoint, StepsCurve
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, ModelResult
from pushforward.evaluation.scores import score
from pushforward.metrics import Score, describe
from pushforward.report.findings import findings
from pushforward.testing import recipe_for, space_data
from pushforward.training.monitor import health as map_health, standard_callbacks as observers
from pushforward.training.recipe_argument import with_frozen
from pushforward.training.runs.run import by_default, described_sampler


def points(*values, spread=0.007, coverage=0.95, distance=None):
    """Points in 1, 2, 4, ... calls; the difference of any two has a standard error of .0018, or .25
    ``spread``.
    """
    groups = np.arange(32)

    held_out = tuple(0.1 * groups)
    curve = []
    for at, value in enumerate(values):
        signs = 1 - 2 * (groups >> at & 1)  # those of two points are independent
        terms = tuple(value + 0.05 * groups + spread * signs)
        frechet = Score(value, values=(value,), sample_terms=terms, reference_terms=held_out)
        scores = {"frechet": frechet, "coverage": Score(coverage, 0.0, values=(coverage,) * 3)}
        curve.append(CurvePoint(2**at, 2**at, scores, distance))
    return tuple(curve)


def content(own=None, *, scores, **of_model):
    real_data_scores = {"frechet": Score(0.01, 0.002), "coverage": Score(0.96, 0.01)}
    solver = None
    if own:
        solver = "UniPC"
    curve = StepsCurve(360, 3, real_data_scores, scores, (), own, solver, learned="samples")
    model = ModelResult("student", steps_curve=curve, **of_model)
    known = describe()
    metrics = {name: known[name] for name in real_data_scores}
    return Comparison(metrics=metrics, models=(model,))


@pytest.fixture(scope="module")
def data():
    return space_data((2,), labels=True, n=120)


@pytest.fixture(scope="module")
def student(data, tmp_path_factory):
    """A run of a student after few steps, with its health measured at each second one."""
    folder = tmp_path_factory.mktemp("ladder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_health, "interval", lambda batch: 2)
        patch.setattr(observers, "PICTURES", ())
        teacher = pf.fit(recipe_for("flow", data), data, steps=8, out=folder / "teacher")
        distil = with_frozen("distil", {"teacher": teacher})
        recipe = distil(data.space, trajectories=64, teacher_steps=8)
        training = dataclasses.replace(recipe.training, batch=16)
        recipe = dataclasses.replace(recipe, training=training)
        return pf.fit(recipe, data, steps=8, out=folder / "student")


@pytest.fixture(scope="module")
def judge(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Evaluator(data, n=20, repeats=2)


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each sampling by an evaluator."""
    arguments = []
    draw = Evaluator.draw

    def recorded(self, *given):
        arguments.append(given)
        return draw(self, *given)

    monkeypatch.setattr(Evaluator, "draw", recorded)
    return arguments


METRICS = ["energy", "frechet", "coverage"]
CALLS = [1, 2, 4, 8, 16]


def calls_of(points):
    return [point.calls for point in points]


def repeats_of(judge, flow):
    """Samples of two repeats."""
    return [judge.draw(flow, seed, 20)[0] for seed in (REPEAT_SEEDS, 2 * REPEAT_SEEDS)]


def scores_of(judge, x):
    return score(x, judge.data, judge.features, n=20, metrics=METRICS)


def distance_of(space, samples, others):
    """The root mean square of the differences of samples in model units."""
    squares = []
    for x, y in zip(samples, others, strict=True):
        difference = space.to_model(x) - space.to_model(y)
        squares.append(float(difference.square().mean()))
    return np.mean(squares) ** 0.5


def in_calls(transport, calls):
    return transport.with_solver(transport.solver, calls, transport.grid)


def test_map_and_teacher_are_sampled_in_as_many_calls(student, judge, drawn):
    measured = steps_curve_of(judge, student)
    assert measured.n == 20
    assert measured.repeats == 2
    assert measured.solver == "UniPC on the time grid"
    assert measured.learned == "samples and velocity"
    assert calls_of(measured.points) == CALLS
    assert calls_of(measured.teacher) == CALLS
    assert measured.own == measured.teacher[3]
    assert measured.own.distance == 0
    assert len(drawn) == 2 * (5 + 5 + 1), (
        "the steps in which training held the teacher are not sampled again"
    )
    assert measured.real_data_scores.keys() == {"energy", "frechet", "kid", "coverage"}


def test_map_and_teacher_are_sampled_from_the_same_noise(student, judge):
    measured = steps_curve_of(judge, student)
    teacher = teacher_of(student)
    own = repeats_of(judge, teacher)
    for point, flow in ((measured.points[2], student.transport), (measured.teacher[2], teacher)):
        samples = repeats_of(judge, in_calls(flow, 4))
        repeats = [scores_of(judge, x) for x in samples]
        for name in METRICS:
            scores = [repeat[name] for repeat in repeats]
            actual = point.scores[name]
            assert actual.values == tuple(score.value for score in scores)
            assert actual.value == pytest.approx(np.mean(actual.values))
            assert actual.interval == combined(scores, 20, None, describe()[name]).interval
        expected = distance_of(student.space, samples, own)
        assert point.distance == pytest.approx(expected, rel=1e-5)


def test_the_teacher_is_scored_by_the_default_of_its_own_run(student, judge):
    own = pf.load(student.folder.parent / "teacher").transport
    measured = steps_curve_of(judge, student)
    assert measured.default_solver == solver_title(own)
    assert measured.default_solver != measured.solver
    assert measured.default.calls == own.calls
    energies = [scores_of(judge, x)["energy"].value for x in repeats_of(judge, own)]
    assert measured.default.scores["energy"].values == tuple(energies)


def test_the_default_sampler_of_a_frozen_part_is_stored(student):
    held = teacher_of(student)
    sampler = described_sampler(held)
    stored = {"samplers": {"teacher": sampler}}
    rebuilt = by_default(stored, "teacher", held)
    assert rebuilt.times.tolist() == held.times.tolist()
    assert by_default({}, "teacher", held) is None, "runs of before do not name it"
    for damaged in (
        [1],
        {"teacher": []},
        {"teacher": {"steps": 4}},
        {"teacher": {"solver": {"part": "Linear"}, "steps": 4, "grid": None}},
        {"teacher": {**sampler, "steps": -1}},
    ):
        with pytest.raises(pf.errors.CheckpointError, match="frozen part teacher"):
            by_default({"samplers": damaged}, "teacher", held)


def test_evaluate_measures_a_ladder_where_no_metrics_are_named(student, data):
    lines = []
    comparison = pf.evaluate(student, data, n=20, repeats=1, tell=lines.append)
    assert len(comparison.models[0].steps_curve.points) == 5
    assert lines.count(f"measuring {student.name}, 2 calls ...") == 1
    assert lines.count(f"measuring the teacher of {student.name}, 2 calls ...") == 1
    assert Comparison.from_json(comparison.to_json()) == comparison
    jumped, own = comparison.pictures[student.name].pair
    assert jumped.shape == own.shape == (200, 2)
    expected = teacher_of(student).sample(200).numpy()
    np.testing.assert_array_equal(own, expected)
    named = pf.evaluate(student, data, n=20, repeats=1, metrics=["frechet"])
    assert named.models[0].steps_curve is None
    of_flow = pf.evaluate(teacher_of(student), data, n=20, repeats=1)
    assert of_flow.models[0].steps_curve is None


@pytest.fixture(scope="module")
def finish(student, data, tmp_path_factory):
    """A map that was finished for one step."""
    recipe = with_frozen("finish", {"teacher": student})(
        student.space, "tiny", coverage=0, recall=0
    )
    out = tmp_path_factory.mktemp("finished") / "finish"
    return pf.fit(recipe, data, steps=1, checkpoint_every=1, out=out)


def test_a_finished_map_begins_as_the_map_that_it_was_finished_from(finish, student, judge):
    """A map that starts as its teacher and is not trained is its teacher: the same samples, so that
    no score differs.
    """
    begun = pf.load(finish.folder, checkpoint="step_000000")
    measured = steps_curve_of(judge, begun)
    assert measured.finished
    assert calls_of(measured.teacher) == CALLS
    assert measured.own == measured.teacher[0]
    assert measured.own.calls == 1
    assert measured.default == measured.own
    assert measured.points == measured.teacher
    for point in measured.points:
        assert point.distance == 0, "from its teacher in as many calls"
    jumped, own = pair_of(begun)
    np.testing.assert_array_equal(jumped, own)
    expected = in_calls(student.transport, 1).sample(200)
    np.testing.assert_array_equal(own, expected)
    moved, still = pair_of(finish)
    np.testing.assert_array_equal(still, own)
    assert not np.array_equal(moved, own)


def test_the_distance_of_a_finished_map_is_that_in_as_many_calls(finish, student, judge, drawn):
    point = steps_curve_of(judge, finish).points[2]
    assert len(drawn) == 2 * (5 + 5), "nothing is sampled but the points of the ladder"
    samples = repeats_of(judge, in_calls(finish.transport, 4))
    of_teacher = repeats_of(judge, in_calls(student.transport, 4))
    expected = distance_of(finish.space, samples, of_teacher)
    assert point.distance == pytest.approx(expected, rel=1e-4)


OWN = points(*[0.02] * 5)[4]


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (points(0.0235, 0.03), "significantly worse with 2 calls."),
        (points(0.03, 0.04), "significantly worse with 1 call and 2 calls."),
        (points(0.0235, 0.03, 0.02), "significantly worse with 2 calls."),
        (points(0.02, 0.02), "No difference is significant."),
    ],
)
def test_a_map_is_compared_with_its_teacher_in_words(scores, says):
    """Points share noise and held-out examples, which do not widen the interval of a difference."""
    (claim,) = claims_of(content(OWN, scores=scores))
    ratio = r"[\d.]+ times \([\d.]+ to [\d.]+\)"
    assert re.match(f"With 1 call, student .* {ratio} the Fréchet distance .* 16 calls", claim)
    assert claim.endswith(says)


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        ((0.03, 0.02, 0.021, 0.0251), ["with more than 2 calls"]),
        ((0.03, 0.02, 0.021, 0.0245), []),
        ((0.02, 0.03, 0.021), ["with more than 1 call."]),
        ((0.05, 0.03, 0.02), []),
    ],
)
def test_a_curve_over_calls_that_rises_is_told(values, rise):
    """A rise must exceed 2.65 times .0018, as four points are compared."""
    found = []
    for finding in findings(content(scores=points(*values))):
        if "Fréchet distance of student" in finding.text:
            found.append(finding.text)
    assert len(found) == len(rise)
    for text, words in zip(found, rise, strict=True):
        assert words in text


def claims_of(comparison):
    """The verdicts on the student."""
    verdicts = []
    for finding in findings(comparison):
        if "student" in finding.text and finding.kind == "verdict":
            verdicts.append(finding.text)
    return verdicts


@pytest.mark.parametrize(
    ("values", "than"),
    [((0.015, 0.02), "No difference"), ((0.015, 0.026, 0.026), "worse with 2 calls and 4")],
)
def test_a_finished_map_is_compared_in_as_many_calls(values, than):
    """A difference must exceed 2.5 times .0018, as three points are compared."""
    (claim,) = claims_of(content(points(0.02)[0], scores=points(*values)))
    assert re.search("teacher.* 1 call", claim)
    assert than in claim


def test_of_a_finish_that_ended_with_the_weights_of_its_start_nothing_is_said_to_be_gained():
    (claim,) = claims_of(content(points(0.02)[0], scores=points(0.02, 0.02), weights_step=0))
    assert "did not improve student" in claim
