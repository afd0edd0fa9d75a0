"""What a report says of a teacher by the default sampler of its own run."""

import dataclasses

import pytest
from programs.rungs import content, points

import pushforward as pf
from pushforward.errors import CheckpointError
from pushforward.report.tables import ladder_how, ladder_table
from pushforward.training.runs.run import by_default

OWN = dataclasses.replace(points(0.02)[0], steps=16, calls=16)


@pytest.mark.parametrize("same", [False, True])
def test_the_report_names_the_default_sampler_of_the_teacher(same):
    given = content(OWN, rungs=points(0.03, 0.022))
    default = OWN if same else dataclasses.replace(OWN, calls=31, scores={"frechet": 0.018})
    measured = dataclasses.replace(given.models[0].ladder, default=default, default_solver="Heun on the karras grid")
    given = dataclasses.replace(given, models=(dataclasses.replace(given.models[0], ladder=measured),))
    names = [row.name for row in ladder_table(given, given.models[0]).rows]
    assert ("teacher by its own default: 31 calls" in names) == (not same)
    assert ("the teacher's own default: Heun on the karras grid, 31 calls" in ladder_how(measured)) == (not same)


def test_a_part_that_is_no_solver_is_no_sampler():
    flow = pf.recipes.flow(pf.data.load("moons", limit=20).space, "tiny").method.transport()
    stored = {"solver": {"part": "Linear"}, "steps": 4, "grid": "time"}
    with pytest.raises(CheckpointError, match="frozen part teacher: Expected a solver"):
        by_default({"samplers": {"teacher": stored}}, "teacher", flow)
