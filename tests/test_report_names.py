"""What the report calls a teacher, and how samples were drawn."""

import pytest

from pushforward.evaluation.measurements import CurvePoint, Ladder, SamplingCost
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score, describe
from pushforward.report import samples
from pushforward.report.ladder import claims


@pytest.mark.parametrize("folder", ["runs/flow", "./runs/flow/", "runs/other", None])
def test_a_teacher_that_is_compared_as_well_is_named(folder):
    point, own = (CurvePoint(calls, calls, {"frechet": 0.02}, {"frechet": (0.02,)}) for calls in (1, 16))
    ladder = Ladder(360, 1, {"frechet": Score(0.01, 0.002)}, (point,), own=own, solver="UniPC", teacher_run=folder)
    models = ModelResult("flow", run="runs/flow"), ModelResult("student", ladder=ladder)
    (claim,) = claims(Comparison(metrics={"frechet": describe()["frechet"]}, models=models))
    named = folder in ("runs/flow", "./runs/flow/")
    assert ("of its teacher, flow of this comparison, in 16 calls (UniPC)" in claim.text) == named
    assert ("of its teacher in 16 calls (UniPC)" in claim.text) != named


@pytest.mark.parametrize(("calls", "says"), [(1, "one network call, Jump"), (4, "4 network calls, Jump"), (None, "Jump")])
def test_pictures_say_in_how_many_calls_they_were_drawn(calls, says):
    model = ModelResult("map", sampling=SamplingCost(solver="Jump on the time grid", calls=calls))
    assert samples._solver(model) == f"{says} on the time grid"
