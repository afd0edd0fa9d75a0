"""What the report calls a teacher, a model and its family, and what it leaves out."""

import dataclasses
import re

import pytest

from pushforward.evaluation.measurements import CurvePoint, Health, Ladder, SamplingCost, Series, TrainingCost
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.report import Report, samples
from pushforward.report.ladder import claims
from pushforward.report.tables import scorecards


@pytest.mark.parametrize("folder", ["runs/flow", "./runs/flow/", "runs/other", None])
def test_a_teacher_that_is_compared_as_well_is_named(folder):
    point, own = (CurvePoint(calls, calls, {"frechet": 0.02}, {"frechet": (0.02,)}) for calls in (1, 16))
    ladder = Ladder(360, 1, {"frechet": Score(0.01, 0.002)}, (point,), own=own, solver="UniPC", teacher_run=folder)
    models = ModelResult("flow", run="runs/flow"), ModelResult("student", ladder=ladder)
    (claim,) = claims(Comparison(metrics={"frechet": describe()["frechet"]}, models=models))
    named = folder in ("runs/flow", "./runs/flow/")
    assert ("of its teacher, flow of this comparison, in 16 calls (UniPC)" in claim.text) == named
    assert ("of its teacher in 16 calls (UniPC)" in claim.text) != named


def test_a_caption_names_the_step_of_the_weights():
    for earlier, says in (
        (None, "after step 80"),
        (60, "weights of step 60, of 80 trained"),
        (0, "weights of step 0, of 80 trained"),
    ):
        model = ModelResult("map", training=TrainingCost(steps=80), weights_step=earlier)
        read = Comparison.from_json(Comparison(models=(model,)).to_json()).models[0]
        assert f'data-rest="{says}">{says}<' in samples._moment(samples.Panel(0, read, ("", 1, 1), None, None))


@pytest.mark.parametrize(("calls", "says"), [(1, "one network call, Jump"), (4, "4 network calls, Jump"), (None, "Jump")])
def test_pictures_say_in_how_many_calls_they_were_drawn(calls, says):
    model = ModelResult("map", sampling=SamplingCost(solver="Jump on the time grid", calls=calls))
    assert samples._solver(model) == f"{says} on the time grid"


def test_a_measure_of_a_single_step_has_no_chart():
    def charts(*values):
        health = Health(series={"coverage": Series(tuple(range(len(values))), values)})
        page = Report(Comparison(models=(ModelResult("gan", health=health),))).to_html()
        return page.count('aria-label="coverage')

    assert [charts(0.5), charts(0.5, None), charts(0.5, 0.6)] == [0, 0, 1]


def test_a_family_stands_beside_a_name_that_does_not_say_it():
    families = {"mine": "GAN", "digits-flow": "flow matching", "a-gan": "GAN"}
    models = [ModelResult(name, family=family, scores={"frechet": Score(0.1)}) for name, family in families.items()]
    comparison = Comparison(models=models, metrics={"frechet": MetricInfo("Fréchet distance", "lower", role="quality")})
    (_, table), *_ = scorecards(comparison)
    assert [row.family for row in table.rows if row.kind == "model"] == ["GAN", "flow matching", ""]
    assert 'mine <span class="family">GAN</span></th>' in Report(comparison).to_html()


def test_a_page_about_one_model_is_called_after_it():
    alone = Comparison(models=(ModelResult("mine"),), data=DataInfo(name="digits"))
    both = dataclasses.replace(alone, models=(ModelResult("mine"), ModelResult("other")))
    titled = [re.search("<h1>(.*)</h1>", Report(given).to_html())[1] for given in (alone, both)]
    assert titled == ["mine on digits", "Comparison of generative models"]
