"""What a report says of a map that was finished, beside the map that it starts from."""

import dataclasses

import pytest
import torch
from programs.rungs import content, points

import pushforward as pf
from pushforward.metrics import describe
from pushforward.report.findings import findings
from pushforward.report.tables import ladder_how
from pushforward.testing import space_data

OWN = dataclasses.replace(points(0.02)[0], steps=16, calls=16)


def said(comparison):
    return [finding.text for finding in findings(comparison) if finding.link == "ladder" and finding.kind == "verdict"]


@pytest.mark.parametrize(
    ("values", "than"), [((0.015, 0.02), "nowhere"), ((0.015, 0.026, 0.026), "measurably worse in 2 calls, 4")]
)
def test_a_finished_map_is_compared_in_as_many_calls(values, than):
    """Samplings agree, so that the spread of real data counts, .002: 2.4 times that, as three points are compared."""
    (claim,) = said(content(points(0.02)[0], rungs=points(*values)))
    assert "its teacher in 1 call" in claim
    assert than in claim


def test_of_a_finish_that_ended_with_the_weights_of_its_start_nothing_is_said_to_be_gained():
    (claim,) = said(content(points(0.02)[0], rungs=points(0.02, 0.02), weights_step=0))
    assert claim == "The finish of student gained nothing: its weights are those of its start."


@pytest.mark.parametrize("learned", ["samples", "samples and velocity", "score", None])
def test_what_a_map_learned_of_its_teacher_is_said_as_it_was(learned):
    """None is that of methods that do not say it; a map that was finished learned nothing of its start."""
    ladder = dataclasses.replace(content(OWN, rungs=points(0.02)).models[0].ladder, learned=learned)
    assert ladder_how(ladder).endswith(f"learned of the teacher (UniPC, 16 calls): {learned or 'not recorded'}")
    assert "teacher" not in ladder_how(dataclasses.replace(ladder, finished=True))


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
    (claim,) = said(given)
    assert "the energy distance of its teacher in 16 calls" in claim
    assert claim.endswith("it is measurably worse in 1 call.")
