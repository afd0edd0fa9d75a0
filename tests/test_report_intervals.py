"""What the report shows of uncertainty, sweeps and judges: intervals, error bars, and sentences that do not contradict."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from pushforward.evaluation.intervals import with_interval
from pushforward.evaluation.measurements import SamplingCost, SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult, Settings
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import bounded
from pushforward.pictures import scatter_picture
from pushforward.report import Report
from pushforward.report.charts import Series, line_chart
from pushforward.report.choosing import choices
from pushforward.report.feature_spaces import taught_judges
from pushforward.report.sentences import unmarked
from pushforward.report.statistics import statistic
from pushforward.report.sweep import sweep, sweep_sentence, sweep_table
from pushforward.report.tables import scorecards
from pushforward.report.verdict import verdict

INFO = {
    "frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality"),
    "coverage": MetricInfo("Coverage", "higher", "A share.", role="diversity", unit="%"),
}
FLOORS = {"frechet": Score(0.1, 0.01), "coverage": Score(0.96, 0.01)}


def sampled(value, spread=0.01, error=0.02):
    """Three samplings whose interval comes from their examples: 1.96 sqrt(.01^2 + (error^2 - .01^2) / 3) either way."""
    values = (value - spread, value, value + spread)
    return with_interval(Score(value, spread, error=error, reference_error=0.01, values=values))


HALF = 1.96 * (0.01**2 + (0.02**2 - 0.01**2) / 3) ** 0.5


def compared(values, base=(2.0, 0.5), **more):
    """Models by name with their Fréchet distance and coverage."""
    models = tuple(
        ModelResult(
            name,
            scores={"frechet": sampled(distance), "coverage": sampled(share)},
            sampling=SamplingCost(calls=1, seconds_per_sample=0.01),
        )
        for name, (distance, share) in values.items()
    )
    none = ModelResult("no network", scores={"frechet": Score(base[0], 0.01), "coverage": Score(base[1], 0.01)})
    given = {"metrics": INFO, "floors": FLOORS, "models": models, "baseline": none, "settings": Settings(n=360, repeats=3)}
    return Comparison("it", **(given | more))


def said(comparison, kind=None):
    return [sentence.text for sentence in verdict(comparison) if kind in (None, sentence.kind)]


# Intervals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (0.13, (0.112, 0.148), ("0.130", "[0.112, 0.148]")),
        (0.13, (0.10, 0.16), ("0.13", "[0.10, 0.16]")),
        (0.001, (-0.01, 0.012), ("0.001", "[−0.010, 0.012]")),
        (1234.5, (1100.0, 1369.0), ("1,234", "[1,100, 1,369]")),
    ],
)
def test_a_value_and_its_interval_have_the_same_decimals(value, interval, shown):
    assert bounded(value, interval) == shown


def test_tables_show_intervals_where_there_are_any_and_say_so_once():
    comparison = compared({"flow": (0.2, 0.9), "gan": (0.5, 0.8)})
    cells = {row.kind + row.name: row.cells for _, table in scorecards(comparison) for row in table.rows}
    assert cells["modelflow"][0].flat == "0.200 [0.172, 0.228]"
    assert cells["baselineno network"][0].flat == "2.000 ± 0.010"
    text, page = Report(comparison).to_markdown(), Report(comparison).to_html()
    assert "**0.200 [0.172, 0.228]**" in text.replace("\\", "")
    assert "| 2.000 ± 0.010 |" in text
    assert '<span class="value">0.200</span> <span class="interval">[0.172, 0.228]</span>' in page
    for shown in (text, page):
        assert shown.count("is the 95 % interval of a score, from 3 samplings of one training") == 1
    assert page.count("<strong>[ , ]</strong> 95 % interval, from 3 samplings of one training") == 1
    assert "flow,frechet,0.2,0.01,0.17" in page.replace("%2C", ","), "the CSV has both"
    without = dataclasses.replace(comparison, models=tuple(bare(model) for model in comparison.models))
    assert "0.200 ± 0.010" in Report(without).to_markdown()
    assert "95 %" not in Report(without).to_html() + Report(without).to_markdown()


def bare(model):
    return dataclasses.replace(model, scores={name: Score(score.value, score.spread) for name, score in model.scores.items()})


def test_shares_have_intervals_in_per_cent():
    info = {"coverage": dataclasses.replace(INFO["coverage"], unit="%")}
    ((_, table),) = scorecards(compared({"flow": (0.2, 0.9)}, metrics=info, floors={}))
    assert table.rows[0].cells[0].flat == "90.0 [87.2, 92.8] %"


def test_error_bars_are_the_intervals_and_the_legend_says_so():
    comparison = compared({"flow": (0.2, 0.9), "gan": (0.5, 0.8)})
    score = statistic(comparison, comparison["flow"], "frechet")
    assert score.bar == pytest.approx((0.2 - HALF, 0.2 + HALF))
    assert statistic(comparison, bare(comparison["flow"]), "frechet").bar == pytest.approx((0.19, 0.21)), "else one spread"
    assert statistic(comparison, ModelResult("it", scores={"frechet": Score(0.2)}), "frechet").bar is None
    page = Report(comparison).to_html()
    bars = "Bars: the 95 % interval of a score, longer where two scores do not differ measurably, so that their bars touch"
    assert f"{bars} and one spread either way where there is no interval" in page
    assert page.count(f"{bars}, from 3 samplings of one training.") == 1, "quality against seconds"


def test_a_chart_makes_room_for_its_bars_and_draws_them_to_scale():
    chart = line_chart([Series("it", 0, [1, 2], [1.0, 2.0], bars=[(0.0, 3.0), None])], "x", "y")
    lines = [float(y) for y in re.findall(r'class="gridline" [^>]*y1="([\d.]+)"', chart)]
    values = [float(text) for text in re.findall(r'text-anchor="end">([\d.]+)</text>', chart)]
    ((low, high),) = re.findall(r'class="whisker" [^>]*y1="([\d.]+)" y2="([\d.]+)"', chart)
    unit = (lines[0] - lines[-1]) / (values[-1] - values[0])
    assert float(low) - float(high) == pytest.approx(3 * unit, abs=0.3)
    assert values[-1] >= 2.5


def test_intervals_play_no_part_in_who_is_best():
    """Intervals that overlap, as of few trainings, beside spreads that tell two models apart."""
    comparison = compared({"flow": (0.2, 0.9), "gan": (0.3, 0.9)})
    wide = tuple(
        dataclasses.replace(model, scores={name: dataclasses.replace(s, interval=(0.0, 1.0)) for name, s in model.scores.items()})
        for model in comparison.models
    )
    (beside,) = said(dataclasses.replace(comparison, models=wide), "quality")
    assert beside.startswith("flow has the best Fréchet distance: 0.2 [0.0, 1.0], next gan with 0.3 [0.0, 1.0]; ")
    assert said(comparison, "quality")[0].startswith("flow has the best Fréchet distance: 0.200 [0.172, 0.228], next gan")


# Sentences ------------------------------------------------------------------------------------------------------


def test_nobody_is_called_best_who_does_not_beat_no_network():
    values = {"flow": (0.2, 0.80), "gan": (0.5, 0.70), "vae": (0.9, 0.60)}
    for base, sentence in (
        (0.79, "Of the models, flow is least bad in coverage: 0.800 [0.772, 0.828], next gan with"),  # the one before says it
        (0.5, "flow has the best coverage: 0.800"),
    ):
        comparison = compared(values, base=(2.0, base))
        assert said(comparison, "diversity")[0].startswith(sentence)
        stated = [text for text in said(comparison) if "the no-network row in coverage" in text]
        assert len(stated) == (base > 0.6), stated
        chosen = unmarked(choices(comparison)[0].text)
        assert ("coverage counts" in chosen) == (base < 0.6), "what does not beat no network is nobody's reason"


def test_of_several_leaders_those_that_beat_no_network_are_named():
    values = {"flow": (0.2, 0.80), "gan": (0.5, 0.79), "vae": (0.9, 0.60)}
    comparison = compared(values, base=(2.0, 0.77))
    text = said(comparison, "diversity")[0]
    assert text.startswith("flow and gan lead in coverage, with no measurable difference between them at n = 360: ")
    assert "next vae with 0.600 [0.572, 0.628]; of these only flow measurably beats no network" in text
    assert any(
        sentence.startswith("gan does not measurably beat the no-network row in coverage") for sentence in said(comparison)
    )
    both = said(compared(values, base=(2.0, 0.79)), "diversity")[0]
    assert both.startswith("Of the models, flow and gan are least bad in coverage, with no measurable difference between them")
    assert "lead" not in both


def test_the_next_model_is_none_of_the_leaders():
    """A leader of a wide spread may have a lower mean than a model that is measurably behind."""
    comparison = compared({"flow": (0.2, 0.90), "gan": (0.5, 0.80), "ddpm": (0.3, 0.85)})
    wide = dataclasses.replace(comparison.models[1].scores["coverage"], spread=0.2)
    models = [dataclasses.replace(model, scores={**model.scores}) for model in comparison.models]
    models[1].scores["coverage"] = wide
    (text,) = said(dataclasses.replace(comparison, models=tuple(models)), "diversity")[:1]
    assert text.startswith("flow and gan lead in coverage")
    assert "next ddpm with 0.850" in text


# Sweeps ---------------------------------------------------------------------------------------------------------


def swept(rows, budgets=(None, None, None)):
    """Fréchet distances of each recipe after 4.1, 8.2 and 16.4 seconds, for budgets that say so or not."""
    comparison = compared({name: (values[-1], 0.9) for name, values in rows.items()})
    times = (4.1, 8.2, 16.4)
    points = {
        name: tuple(
            SweepPoint(seconds, 9, 0, {"frechet": sampled(value)}, budget)
            for seconds, value, budget in zip(times, values, budgets, strict=True)
        )
        for name, values in rows.items()
    }
    return dataclasses.replace(comparison, sweep=points)


def test_the_verdict_says_who_leads_after_which_time_of_training():
    comparison = swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2), "vae": (1.6, 0.9, 0.8)})
    assert said(comparison, "sweep") == [
        "By time of training, in Fréchet distance: gan leads after 4.1 s; gan and flow lead, with no measurable difference "
        "between them, after 8.2 s; flow leads after 16 s (one training of each)."
    ]
    same = swept({"gan": (2.5, 0.4, 0.2), "flow": (2.1, 0.4, 0.2)})
    assert unmarked(sweep_sentence(same).marked) == (
        "By time of training, in Fréchet distance: flow scores best after 4.1 s, but not measurably better than no network; "
        "models do not differ measurably after 8.2 s and 16 s (one training of each)."
    )
    some = unmarked(sweep_sentence(swept({"gan": (2.5, 0.4, 1.98), "flow": (2.1, 0.4, 1.96), "vae": (9, 9, 9)})).marked)
    assert "flow and gan lead, with no measurable difference between them, though only flow measurably beats no network," in some
    short = unmarked(sweep_sentence(swept({"gan": (2.5, 2.4, 2.3), "flow": (2.6, 2.5, 2.2)})).marked)
    assert short.endswith(
        "flow scores best after 16 s (one training of each). None of them is measurably better than no network."
    )
    level = unmarked(sweep_sentence(swept({"gan": (2.5, 0.4, 0.2), "flow": (2.5, 0.4, 0.2)})).marked)
    assert "models do not differ measurably after 4.1 s, and none measurably beats no network; " in level
    assert sweep_sentence(compared({"gan": (0.2, 0.9), "flow": (0.3, 0.9)})) is None
    assert sweep_sentence(swept({"gan": (0.5, 0.4, 0.39)})) is None, "nothing to lead"


def test_the_sweep_stands_below_the_samples_with_its_bars():
    comparison = swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)})
    page = Report(comparison).to_html()
    places = [page.index(f'<section id="{key}">') for key in ("verdict", "sweep", "choose", "scorecard")]
    assert places == sorted(places)
    assert sweep(comparison).count('class="whisker"') == 6
    assert "from 3 samplings of one training" in sweep(comparison)


def test_a_sweep_has_a_line_for_each_model_and_budget_wherever_it_is_read():
    comparison = swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)}, budgets=(4, 8, 120))
    lines = [[row.name, *(cell.flat for cell in row.cells)] for row in sweep_table(comparison).rows]
    assert lines[0] == ["gan", "4 s", "0.500 [0.472, 0.528]", "4.10 s", "9"]
    assert [line[0] + line[1] for line in lines] == ["gan4 s", "gan8 s", "gan2 min", "flow4 s", "flow8 s", "flow2 min"]
    assert "flow leads after 2 min" in said(comparison, "sweep")[0], "the budget, not the seconds measured"
    assert "| gan | 4 s | 0.500 [0.472, 0.528] | 4.10 s | 9 |" in Report(comparison).to_markdown().replace("\\", "")
    text, page = Report(comparison).to_text(), Report(comparison).to_html()
    assert re.search(r"a training for each line\n.*\n(gan .*\n){3}flow +4 s +1.500 \[1.472, 1.528\] +4.10 s +9", text)
    assert sweep(comparison).count('data-label="Budget"') == 6
    table = [line.split(",") for line in unquote(page[page.index("data:text/csv") :].split('"')[0]).splitlines()]
    values = {(line[0], line[-2]): (line[2], line[-1]) for line in table if line[1] == "frechet"}
    assert values["gan", "4"] == ("0.5", "4.1")
    assert values["flow", "120"][0] == "0.2", "the model itself"
    assert len(values) == sum(line[1] == "frechet" for line in table) == 7, "each training once, and no network"
    assert sweep_table(compared({"gan": (0.2, 0.9)})) is None


def test_a_sweep_of_other_budgets_than_those_of_its_neighbour_ranks_nothing():
    first, other = (swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)}, budgets) for budgets in ((4, 8, 16), (1, 2, 3)))
    both = dataclasses.replace(first, sweep={**first.sweep, "flow": other.sweep["flow"]})
    assert sweep_sentence(both) is None


# Judges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spaces", "kinds"),
    [
        (("efficientnet",), ["measure"]),
        (("pca", "efficientnet:224"), ["warning"]),
        (("inception:weights.pt",), ["measure"]),
        (("classifier", "pca"), []),
    ],
)
def test_a_judge_that_was_the_teacher_is_named(spaces, kinds):
    comparison = compared({"gan": (0.2, 0.9), "flow": (0.5, 0.8)}, settings=Settings(n=360, spaces=spaces))
    critic = {"part": "GAN", "critic": {"part": "ProjectedCritic", "side": 128}}
    taught = dataclasses.replace(comparison.models[0], config={"method": critic})
    comparison = dataclasses.replace(comparison, models=(taught, comparison.models[1]))
    sentences = list(taught_judges(comparison))
    assert [sentence.kind for sentence in sentences] == kinds
    assert all("too good for gan, which was trained" in sentence.text for sentence in sentences)
    if kinds == ["measure"]:
        assert said(comparison)[0] == sentences[0].text, "before what rests on it"
    assert list(taught_judges(dataclasses.replace(comparison, models=comparison.models[1:]))) == []


def test_real_data_are_rings_and_samples_are_dots():
    """A colour-blind reader tells them apart: rings are empty inside, dots are not."""
    real, points = np.array([[-0.5, 0.0]]), np.array([[0.5, 0.0]])
    picture = np.asarray(scatter_picture(points, real, limits=(-1, 1, -1, 1), size=240, transparent=True))[..., 3]
    assert picture[120, 180] > 200
    assert picture[120, 60] == 0
    assert picture[120, 50:70].max() > 100, "the ring itself"


@pytest.mark.parametrize("script", ["screenshot.py", "accessibility.py"])
def test_a_missing_report_is_named_and_nothing_is_drawn(script, tmp_path):
    command = [sys.executable, str(Path(__file__).parents[1] / "docs" / script), "none.html", "picture.png"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "There is no file none.html" in ended.stderr
    assert list(tmp_path.iterdir()) == []
