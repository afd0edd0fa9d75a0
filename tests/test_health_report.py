"""What reports and the progress bar show of health and alarms."""

import dataclasses
import io
import re

import pytest

import pushforward as pf
from pushforward.evaluation.comparison import aggregated
from pushforward.evaluation.models import health_of
from pushforward.report import Report
from pushforward.report.findings import findings
from pushforward.report.statistics import alarm_periods
from pushforward.training.loop.budget import Budget, Clock
from pushforward.training.loop.callbacks import Pace, Progress, duration
from pushforward.training.monitor import health
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
    series = health.series
    assert health.modes == 8
    assert series["modes_held"].step == (50, 100)
    assert len(series["critic_accuracy"].step) == 120
    assert {"gradient_norm/critic", "gradient_norm/generator", "penalty", "coverage", "frechet", "spread"} <= series.keys()
    assert ring.models[0].alarms == ()
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


@pytest.mark.parametrize("wrong", [None, {}, {"series": None}, {"series": {"coverage": None}}, {"series": {"coverage": {}}}])
def test_health_may_be_missing(ring, wrong):
    alarms = [None, {}, {"step": 4}, {"step": 5, "over": True}]
    assert 'id="verdict"' in Report(dataclasses.replace(changed(ring, health=wrong, alarms=alarms), pictures={})).to_html()
    assert "Alarm" not in Report(changed(ring, health=wrong, alarms=None)).to_markdown()


def test_alarms_of_all_trainings_of_a_recipe_are_kept(ring):
    models = [changed(ring, name=f"gan-{seed}", seed=seed, alarms=[alarm("collapse", 50)] * seed).models[0] for seed in (0, 1)]
    pooled = aggregated(dataclasses.replace(ring, models=tuple(models), pictures={}))
    assert [alarm.training for alarm in pooled.models[0].alarms] == ["gan-1"]
    assert any("Alarm of gan-1" in finding.text for finding in findings(pooled))
    page = Report(pooled).to_html()
    assert '<g class="alarm">' not in page, "the curves are those of gan-0"
    assert "gan-1, from step 50 to the end" in page


@pytest.mark.parametrize(("steps", "together"), [((7, 7), 7), ((7, 5), None), ((7, None), None)])
def test_the_weights_of_several_trainings_have_a_step_where_all_have_it(ring, steps, together):
    models = [changed(ring, name=f"gan-{seed}", seed=seed, weights_step=step).models[0] for seed, step in enumerate(steps)]
    pooled = aggregated(dataclasses.replace(ring, models=tuple(models), pictures={})).models[0]
    assert pooled.weights_step == together
    assert tuple(training.weights_step for training in pooled.trainings) == steps


def test_long_series_are_means_of_neighbours():
    class Long:
        def losses(self):
            return [{"step": s, "health": {"logit_gap": float(s), "modes": 4, "bad": None}} for s in range(1, 1201)]

    health, alarms = health_of(Long())
    assert (health.modes, alarms) == (4, ())
    assert health.series.keys() == {"logit_gap"}
    assert len(health.series["logit_gap"].step) == 300
    assert health.series["logit_gap"].value[:2] == (2.5, 6.5)


def test_progress_shows_what_was_measured(monkeypatch):
    class Clock:
        step, seconds, total, progress = 50, 2.0, 100, 0.5

    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    progress = Progress(interval=0.0)
    progress("ring-gan", Clock, 6400, {"critic": 0.7})
    progress.measured("ring-gan", health.in_words({"modes": 8, "modes_held": 7, "coverage": 0.5}))
    progress("ring-gan", Clock, 6400, {"critic": 0.7})
    first, second = stream.getvalue().splitlines()
    assert "modes" not in first
    assert second == f"{first}  modes 7/8"
    assert health.in_words({"coverage": 0.812}) == "coverage 0.81"
    assert health.in_words({"logit_gap": 1.0}) == ""


def plain(monkeypatch):
    """A training's clock at half of its 100 steps, the seconds now, the text that is printed, and progress in plain lines."""

    class Clock:
        step, seconds, total, progress = 50, 2.0, 100, 0.5

    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("pushforward.training.loop.callbacks.time.monotonic", lambda: now[0])
    return Clock, now, stream, Progress(interval=10.0)


def test_progress_shows_every_model_that_trains_in_turns(monkeypatch):
    Clock, now, stream, progress = plain(monkeypatch)
    for second in range(60):
        now[0] = float(second)
        progress("gan" if second // 5 % 2 else "flow", Clock, 6400, {})
    names = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert names == ["flow", "gan"] * 5


def test_progress_ends_with_the_last_step(monkeypatch):
    Clock, now, stream, progress = plain(monkeypatch)
    progress("short", Clock, 6400, {})
    for seconds in (0, 11):
        now[0] = float(seconds)
        progress("flow", Clock, 6400, {})
    Clock.step, Clock.progress = 100, 1.0
    progress("flow", Clock, 12800, {})
    progress.close()
    progress.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[:2] for line in lines] == [["flow", "50"], ["flow", "100"]], "and of a run without a line nothing"
    assert "step 100/100" in lines[1]
    assert "left" not in lines[1]
    progress.preparing("flow", 0.5, "again")
    progress.close()
    assert len(stream.getvalue().splitlines()) == 2, "nothing of the training before"


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


def test_the_time_left_of_a_budget_in_seconds_is_the_rest_of_it():
    """Also after training has gone back: the share of the seconds grows on."""
    clock, pace = Clock(Budget(seconds=600.0), 64), Pace()
    for step in [*range(201), *range(100, 120)]:
        clock.step = step
        clock.tick(1.0)
        pace.add(clock.seconds, 64 * clock.step, clock.progress)
    assert pace.words() == f"  64 examples/s  {duration(600 - clock.seconds)} left"
