"""What a report says of a map that was finished, beside the map that it starts from."""

import dataclasses

import pytest
import torch
from programs.rungs import content, points
from pushforward.report.rungs import how

import pushforward as pf
from pushforward.metrics import describe
from pushforward.report.ladder import claims, table
from pushforward.testing import space_data

OWN = dataclasses.replace(points(0.02)[0], steps=16, calls=16)


@pytest.mark.parametrize(("value", "than"), [(0.015, "measurably better"), (0.0165, "not measurably worse")])
def test_a_finished_map_may_be_better_than_its_teacher_in_as_many_calls(value, than):
    """Samplings agree, so that the spread of real data counts, .002: 2.4 times that, as three points are compared."""
    (claim,) = claims(content(points(0.02)[0], rungs=points(value, 0.02)))
    assert f"Already in one call it is {than} than the teacher in one call." in claim.text


def test_a_finished_map_that_is_better_in_one_call_does_not_stay_worse():
    (claim,) = claims(content(points(0.02)[0], rungs=points(0.015, 0.026, 0.026)))
    says = "In one call it is measurably better and in 2 to 4 calls measurably worse than the teacher in one call."
    assert says in claim.text


def test_of_a_finish_that_ended_with_the_weights_of_its_start_nothing_is_said_to_be_gained():
    (claim,) = claims(content(points(0.02)[0], rungs=points(0.02, 0.02), weights_step=0))
    assert claim.text == "The finish of student gained nothing: its weights are those of its start, its teacher."


def test_a_finish_is_not_said_to_be_trained_on_samples_of_its_teacher():
    given = content(points(0.02)[0], rungs=points(0.02, 0.02))
    (student,) = given.models
    assert "The map was trained on samples that its teacher draws" in how(student.ladder)
    finished = dataclasses.replace(student.ladder, finished=True)
    assert "teacher" not in how(finished)
    slow = dataclasses.replace(finished, default=OWN, default_solver="Jump")
    assert how(slow).endswith("of each point. The default of the teacher's own run is Jump in 16 calls.")
    for measured, calls in ((student.ladder, "in one call:"), (finished, "in as many calls:")):
        column = table(given, dataclasses.replace(student, ladder=measured)).columns[-1]
        assert column.what.startswith(f"From the teacher's samples of the same noise {calls}")


@pytest.mark.parametrize(
    ("learned", "sentence"),
    [
        ("samples", "The map was trained on samples that its teacher draws by UniPC in 16 calls."),
        ("samples and velocity", "on samples that its teacher draws by UniPC in 16 calls, and on the teacher's velocity."),
        ("velocity", "on its teacher's velocity, and on no samples of it. The teacher is shown by UniPC in 16 calls."),
        ("score", "on its teacher's score, and on no samples of it. The teacher is shown by UniPC in 16 calls."),
        (None, "The teacher of the map's training is shown by UniPC in 16 calls; what the map learned of it is not recorded."),
    ],
)
def test_what_a_map_learned_of_its_teacher_is_said_as_it_was(learned, sentence):
    """None is that of reports of earlier versions, and of methods that do not say it."""
    (student,) = content(OWN, rungs=points(0.02)).models
    said = how(dataclasses.replace(student.ladder, learned=learned))
    assert sentence in said
    assert ("trained on samples" in said) == ("samples" in (learned or ""))


def test_each_recipe_with_a_teacher_knows_what_it_learns_of_it():
    space = space_data((2,), labels=False, n=20).space
    teacher = pf.recipes.flow(space, "tiny").method.transport()
    distil = {
        "samples": [{"trajectories": 4, "diagonal": 0.0}],
        "samples and velocity": [{"trajectories": 4}, {"trajectories": 4, "diagonal": 0.0, "rule": "start"}],
        "velocity": [{"rule": "start", "stored": 0.0}, {"trajectories": 4, "diagonal": 1.0}],
    }
    for learned, options in ((learned, options) for learned, ways in distil.items() for options in ways):
        assert pf.recipes.distil(space, teacher=teacher, **options).method.learns == learned
    matched = pf.recipes.dmd(space, teacher=teacher).method
    assert matched.learns == "score"
    assert pf.recipes.finish(space, "tiny", teacher=matched.flow_map).method.learns == ""
    assert pf.recipes.meanflow(space, "tiny").method.learns == ""
    coder = pf.recipes.vae(space, "tiny").method.autoencoder()
    codes = space_data(coder.encode(torch.zeros(1, 2)).shape[1:], labels=False, n=20).space
    inner = pf.transports.Latent(pf.recipes.flow(codes, "tiny").method.transport(), coder)
    assert pf.recipes.distil(space, teacher=inner, trajectories=4).method.learns == "samples and velocity"


def test_a_map_of_a_table_is_compared_by_its_energy_distance():
    """Ladders of tables have no Fréchet distance, and reports of tables are ranked by the two-sample score."""
    of_table = lambda point: dataclasses.replace(  # noqa: E731
        point, scores={"energy": point.scores["frechet"]}, values={"energy": point.values["frechet"]}
    )
    own = of_table(OWN)
    given = content(own, rungs=tuple(map(of_table, points(0.03, 0.02))))
    (student,) = given.models
    ladder = dataclasses.replace(student.ladder, floors={"energy": student.ladder.floors["frechet"]})
    known = describe()
    metrics = {name: known[name] for name in ("detection", "energy")}
    given = dataclasses.replace(given, metrics=metrics, models=(dataclasses.replace(student, ladder=ladder),))
    (claim,) = claims(given)
    assert "times" in claim.text
    assert "the energy distance of its teacher in 16 calls (UniPC)" in claim.text
    assert "From 2 calls on it is not measurably worse than the teacher in 16 calls." in claim.text
