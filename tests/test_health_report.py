"""What reports and the progress bar show of health and alarms."""

import dataclasses
import re

import pytest

import pushforward as pf
from pushforward.evaluation.merge import aggregated
from pushforward.report import Report
from pushforward.report.findings import findings
from pushforward.report.statistics import alarm_periods
from pushforward.training.loop.progress import Pace
from pushforward.training.monitor import standard_callbacks as observers


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """A report of a short training on the ring."""
    folder = tmp_path_factory.mktemp("ring")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(folder / "cache"))
        patch.setattr(observers, "PICTURES", (0.02, 0.1, 0.3, 0.6, 1.0))
        data = pf.data.load("ring", limit=2000)
        data = dataclasses.replace(data, held_out=data.held_out.take(slice(300)))
        run = pf.fit(pf.recipes.named("gan")(data.space, "tiny"), data, steps=120, out=folder / "gan")
        return pf.compare({"gan": run}, data, repeats=1, n=200)


def changed(ring, **fields):
    """The comparison with other fields of its model, read from JSON."""
    content = ring.to_plain()
    content["models"][0] |= fields
    return dataclasses.replace(pf.Comparison.from_plain(content), pictures=ring.pictures)


def test_the_report_of_a_gan_shows_how_training_went(ring):
    page, health = Report(ring).to_html(), ring.models[0].health
    assert len(page.encode()) < 8e6
    section = re.search(r'<section id="health".*?>(.*?)</section>', page, re.S)[1]
    labels = re.findall(r'aria-label="([^"]*) against step"', section)
    assert labels == ["modes held, of 8", "bridges", "critic accuracy", "logit gap"]
    assert re.findall(r'class="figtitle">(step [\d,]+)<', section) == ["step 3", "step 12", "step 36", "step 72", "step 120"]
    assert section.count('<img src="data:image/') == 5
    assert "No alarm was raised." in section
    assert "http" not in section
    assert health.series["modes_held"].step == (50, 100)
    assert pf.Comparison.from_json(ring.to_json()) == ring


def alarm(kind, step, over=False, **more):
    advice = "" if over else "raise <gamma>"
    return {
        "kind": kind,
        "step": step,
        "value": 3,
        "threshold": 6,
        "sentence": f"{kind} <b>",
        "advice": advice,
        "over": over,
        **more,
    }


def test_alarms_are_warnings_and_shaded(ring):
    changes = [alarm("collapse", 50), alarm("collapse", 100, True), alarm("critic", 110)]
    comparison = changed(ring, alarms=changes)
    begun = [(begin.kind, end and end.step) for begin, end in alarm_periods(comparison.models[0])]
    assert begun == [("collapse", 100), ("critic", None)]
    assert [finding.text for finding in findings(comparison) if finding.link == "health"] == [
        "Alarm of gan from step 50 until step 100: collapse <b>: raise <gamma>.",
        "Alarm of gan from step 110 to the end of training: critic <b>: raise <gamma>.",
    ]
    page = Report(comparison).to_html()
    assert page.count('<g class="alarm">') == 2 * 4
    assert "<b>" not in page.split("<body>")[1].split("<script")[0]


@pytest.mark.parametrize(("steps", "together"), [((7, 7), 7), ((7, 5), None), ((7, None), None)])
def test_the_weights_of_several_trainings_have_a_step_where_all_have_it(ring, steps, together):
    models = [changed(ring, name=f"gan-{seed}", seed=seed, weights_step=step).models[0] for seed, step in enumerate(steps)]
    pooled = aggregated(dataclasses.replace(ring, models=tuple(models), pictures={})).models[0]
    assert pooled.weights_step == together
    assert tuple(training.weights_step for training in pooled.trainings) == steps


def test_progress_follows_the_speed_of_the_last_minute():
    """A run that was slow is resumed, slows down by half, and goes back to a checkpoint; its budget is in steps."""

    def after(step, seconds):
        pace.add(seconds, 64 * step, step / 1000)
        return pace.words().strip()

    pace = Pace()
    assert after(200, 2000.0) == "", "a single step says nothing: the run was elsewhere before"
    assert after(202, 2001.0) == "128 examples/s  6:39 left"
    assert [after(step, 2000 + 0.5 * (step - 200)) for step in range(203, 401)][-1] == "128 examples/s  5:00 left"
    assert [after(step, 2100 + (step - 400)) for step in range(401, 501)][-1] == "64 examples/s  8:20 left"
    assert after(300, 2201.0) == "", "its seconds are not taken back"
    assert after(302, 2202.0) == "128 examples/s  5:49 left"
    assert after(1, 1.0) == "", "another training of this name"
    assert after(3, 2.0) == "128 examples/s  8:19 left"
