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

    def terms(at, value):  # the signs of two points are independent
        return tuple(value + 0.05 * groups + spread * (1 - 2 * (groups >> at & 1)))

    return tuple(
        CurvePoint(
            2**at,
            2**at,
            {
                "frechet": Score(
                    value,
                    values=(value,),
                    sample_terms=terms(at, value),
                    reference_terms=tuple(0.1 * groups),
                ),
                "coverage": Score(coverage, 0.0, values=(coverage,) * 3),
            },
            distance,
        )
        for at, value in enumerate(values)
    )


def content(own=None, teacher=(), name="student", spread=0.002, **of_model):
    scores = of_model.pop("scores")
    real_data_scores = {"frechet": Score(0.01, spread), "coverage": Score(0.96, 0.01)}
    measured = StepsCurve(
        360, 3, real_data_scores, scores, teacher, own, "UniPC" if own else None, learned="samples"
    )
    model = ModelResult(name, steps_curve=measured, **of_model)
    known = describe()
    return Comparison(metrics={key: known[key] for key in ("frechet", "coverage")}, models=(model,))


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
        recipe = with_frozen("distil", {"teacher": teacher})(
            data.space, trajectories=64, teacher_steps=8
        )
        recipe = dataclasses.replace(
            recipe, training=dataclasses.replace(recipe.training, batch=16)
        )
        return pf.fit(recipe, data, steps=8, out=folder / "student")


@pytest.fixture(scope="module")
def judge(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Evaluator(data, n=20, repeats=2)


def test_map_and_teacher_are_sampled_from_the_same_noise_in_as_many_calls(
    student, judge, monkeypatch
):
    drawn = []
    draw = Evaluator.draw
    monkeypatch.setattr(
        Evaluator, "draw", lambda self, *given: drawn.append(given) or draw(self, *given)
    )
    measured = steps_curve_of(judge, student)
    assert (measured.repeats, measured.solver, measured.learned) == (
        2,
        "UniPC on the time grid",
        "samples and velocity",
    )
    assert (
        [point.calls for point in measured.points]
        == [point.calls for point in measured.teacher]
        == [1, 2, 4, 8, 16]
    )
    assert measured.own == measured.teacher[3]
    assert (measured.n, len(drawn)) == (20, 2 * (5 + 5 + 1)), (
        "the steps in which training held the teacher are not sampled again"
    )
    assert measured.real_data_scores.keys() == {"energy", "frechet", "kid", "coverage"}
    teacher = teacher_of(student)
    seeds = (REPEAT_SEEDS, 2 * REPEAT_SEEDS)
    own = [judge.draw(teacher, seed, 20)[0] for seed in seeds]
    for point, flow in ((measured.points[2], student.transport), (measured.teacher[2], teacher)):
        samples = [
            judge.draw(flow.with_solver(flow.solver, 4, flow.grid), seed, 20)[0] for seed in seeds
        ]
        scored = [
            score(x, judge.data, judge.features, n=20, metrics=["energy", "frechet", "coverage"])
            for x in samples
        ]
        for name in ("energy", "frechet", "coverage"):
            assert point.scores[name].values == tuple(result[name].value for result in scored)
            assert point.scores[name].value == pytest.approx(np.mean(point.scores[name].values))
            assert (
                point.scores[name].interval
                == combined([row[name] for row in scored], 20, None, describe()[name]).interval
            )
        to_model = student.space.to_model
        squares = [
            float((to_model(x) - to_model(y)).square().mean())
            for x, y in zip(samples, own, strict=True)
        ]
        assert point.distance == pytest.approx(np.mean(squares) ** 0.5, rel=1e-5)
    assert measured.own.distance == 0


def test_the_teacher_is_scored_by_the_default_of_its_own_run(student, judge):
    own = pf.load(student.folder.parent / "teacher").transport
    measured = steps_curve_of(judge, student)
    assert (measured.default_solver, measured.default.calls) == (solver_title(own), own.calls)
    assert measured.default_solver != measured.solver
    samples = [judge.draw(own, seed, 20)[0] for seed in (REPEAT_SEEDS, 2 * REPEAT_SEEDS)]
    scored = [
        score(x, judge.data, judge.features, n=20, metrics=["energy"])["energy"].value
        for x in samples
    ]
    assert measured.default.scores["energy"].values == tuple(scored)
    stored = {"samplers": {"teacher": described_sampler(held := teacher_of(student))}}
    times = by_default(stored, "teacher", held).times.tolist()
    assert times == held.times.tolist()
    assert by_default({}, "teacher", held) is None, "runs of before do not name it"
    for damaged in (
        {"teacher": {"solver": {"part": "Linear"}, "steps": 4, "grid": None}},
        {"teacher": {"steps": 4}},
        *({"teacher": []}, [1]),
        {"teacher": {**stored["samplers"]["teacher"], "steps": -1}},
    ):
        with pytest.raises(pf.errors.CheckpointError, match="frozen part teacher"):
            by_default({"samplers": damaged}, "teacher", held)


def test_evaluate_measures_a_ladder_where_no_metrics_are_named(student, data):
    comparison = pf.evaluate(student, data, n=20, repeats=1, tell=(lines := []).append)
    assert len(comparison.models[0].steps_curve.points) == 5
    assert [
        lines.count(f"measuring {of}{student.name}, 2 calls ...") for of in ("", "the teacher of ")
    ] == [1, 1], lines
    assert Comparison.from_json(comparison.to_json()) == comparison
    jumped, own = comparison.pictures[student.name].pair
    assert jumped.shape == own.shape == (200, 2)
    expected = teacher_of(student).sample(200).numpy()
    np.testing.assert_array_equal(own, expected)
    steps_curve = (
        pf.evaluate(student, data, n=20, repeats=1, metrics=["frechet"]).models[0].steps_curve
    )
    assert steps_curve is None
    steps_curve = pf.evaluate(teacher_of(student), data, n=20, repeats=1).models[0].steps_curve
    assert steps_curve is None


def test_a_finished_map_is_beside_the_map_that_it_was_finished_from(
    student, judge, tmp_path, monkeypatch
):
    """A map that starts as its teacher and is not trained is its teacher: the same samples, so that
    no score differs.
    """
    recipe = with_frozen("finish", {"teacher": student})(
        student.space, "tiny", coverage=0, recall=0
    )
    pf.fit(recipe, judge.data, steps=1, checkpoint_every=1, out=tmp_path / "finish")
    begun = pf.load(tmp_path / "finish", checkpoint="step_000000")
    measured = steps_curve_of(judge, begun)
    assert [point.calls for point in measured.teacher] == [1, 2, 4, 8, 16]
    assert (measured.own, measured.own.calls, measured.default) == (
        measured.teacher[0],
        1,
        measured.own,
    )
    assert measured.points == measured.teacher
    assert [point.distance for point in measured.points] == [0.0] * 5, (
        "from its teacher in as many calls"
    )
    assert measured.finished
    jumped, own = pair_of(begun)
    np.testing.assert_array_equal(jumped, own)
    expected = student.transport.with_solver(student.transport.solver, 1).sample(200).numpy()
    np.testing.assert_array_equal(own, expected)
    finish = pf.load(tmp_path / "finish")
    assert_distances_in_as_many_calls(finish, student, judge, monkeypatch)
    moved, still = pair_of(finish)
    np.testing.assert_array_equal(still, own)
    assert not np.array_equal(moved, own)


def assert_distances_in_as_many_calls(finish, teacher, judge, monkeypatch):
    drawn = []
    draw = Evaluator.draw
    to_model = finish.space.to_model
    monkeypatch.setattr(
        Evaluator, "draw", lambda self, *given: drawn.append(given) or draw(self, *given)
    )
    point = steps_curve_of(judge, finish).points[2]
    assert len(drawn) == 2 * (5 + 5), "nothing is sampled but the points of the ladder"
    rows = [run.transport.with_solver(run.transport.solver, 4) for run in (finish, teacher)]
    pairs = [
        [to_model(judge.draw(flow, seed, 20)[0]) for flow in rows]
        for seed in (REPEAT_SEEDS, 2 * REPEAT_SEEDS)
    ]
    assert point.distance == pytest.approx(
        np.mean([float((x - y).square().mean()) for x, y in pairs]) ** 0.5, rel=1e-4
    )


OWN = points(*[0.02] * 5)[4]


def said(comparison, *words):
    return [
        finding.text
        for finding in findings(comparison)
        if any(word in finding.text for word in words)
    ]


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
    assert re.match(
        r"With 1 call, student .* [\d.]+ times \([\d.]+ to [\d.]+\) the Fréchet distance .* 16 "
        r"calls",
        claim,
    )
    assert claim.endswith(says)


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        ((0.03, 0.02, 0.021, 0.0251), "with more than 2 calls"),
        ((0.03, 0.02, 0.021, 0.0245), None),
        ((0.02, 0.03, 0.021), "with more than 1 call."),
        ((0.05, 0.03, 0.02), None),
    ],
)
def test_a_curve_over_calls_that_rises_is_told(values, rise):
    """A rise must exceed 2.65 times .0018, as four points are compared."""
    found = said(content(scores=points(*values)), "Fréchet distance of student")
    assert len(found) == (rise is not None)
    assert rise is None or rise in found[0]


def claims_of(comparison):
    return [
        finding.text
        for finding in findings(comparison)
        if "student" in finding.text and finding.kind == "verdict"
    ]


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
