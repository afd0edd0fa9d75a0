"""What a report says of a teacher by the default sampler of its own run."""

import dataclasses

import pytest
from programs.rungs import content, points

import pushforward as pf
from pushforward.errors import CheckpointError
from pushforward.report import Report
from pushforward.report.ladder import claims, table
from pushforward.report.rungs import how
from pushforward.training.runs.learned_solvers import by_default

OWN = dataclasses.replace(points(0.02)[0], steps=16, calls=16)


@pytest.mark.parametrize("same", [False, True])
def test_the_report_names_the_default_sampler_of_the_teacher(same):
    given = content(OWN, rungs=points(0.03, 0.022))
    default = OWN if same else dataclasses.replace(OWN, calls=31, scores={"frechet": 0.018})
    measured = dataclasses.replace(given.models[0].ladder, default=default, default_solver="Heun on the karras grid")
    given = dataclasses.replace(given, models=(dataclasses.replace(given.models[0], ladder=measured),))
    names = [row.name for row in table(given, given.models[0]).rows]
    (claim,) = claims(given)
    said = "By the default of its own run, Heun on the karras grid in 31 calls, the teacher has 0.018"
    page = Report(given).to_html()
    assert ("teacher by its own default: 31 calls" in names) == (said in claim.text) == (not same)
    assert (page.count("teacher by its own default, Heun on the karras grid") > 0) == (not same)
    assert "</svg>teacher by its own default" not in page, "the legend names the map"
    sentence = "This is how the teacher's own run samples by default." if same else "is Heun on the karras grid in 31 calls."
    assert sentence in how(measured)


def test_a_part_that_is_no_solver_is_no_sampler():
    flow = pf.recipes.flow(pf.data.load("moons", limit=20).space, "tiny").method.transport()
    stored = {"solver": {"part": "Linear"}, "steps": 4, "grid": "time"}
    with pytest.raises(CheckpointError, match="Linear is no solver"):
        by_default({"samplers": {"teacher": stored}}, "teacher", flow)
