"""Tables and charts of a report: intervals, cost, sweeps, trajectories, settings, classes."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from programs.report_pages import Reader, check_page, of_toys, toy_content
from programs.reporting import RANKING as INFO
from programs.reporting import compared, comparison, model, report, swept

from pushforward.evaluation.measurements import CurvePoint, Health, Ladder, SamplingCost, Series, TrainingCost
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult, Score
from pushforward.metrics import MetricInfo, describe
from pushforward.numbers import duration
from pushforward.report import Report, curves, samples, tables
from pushforward.report.distributions import class_chart
from pushforward.report.sprites import Look
from pushforward.report.statistics import groups, statistic
from pushforward.report.text import absent, commands

HALF = 1.96 * (0.01**2 + (0.02**2 - 0.01**2) / 3) ** 0.5


def bare(model):
    return dataclasses.replace(model, scores={name: Score(score.value, score.spread) for name, score in model.scores.items()})


def test_tables_show_intervals_where_there_are_any():
    results = compared({"flow": (0.2, 0.9, 0.1), "gan": (0.5, 0.8, 0.1)})
    cells = {row.kind + row.name: row.cells for _, table in tables.scorecards(results)[:1] for row in table.rows}
    assert cells["modelflow"][0].flat == "0.200 [0.172, 0.228]"
    assert cells["modelflow"][1].flat == "90.0 [87.2, 92.8] %"
    assert cells["baselineno network"][0].flat == "2.000 ± 0.010"
    assert "**0.200 [0.172, 0.228]**" in Report(results).to_markdown().replace("\\", "")
    page = Report(results).to_html()
    assert '<span class="value">0.200</span> <span class="interval">[0.172, 0.228]</span>' in page
    assert "flow,frechet,0.2,0.01,0.17" in page.replace("%2C", ","), "the CSV has both"
    assert "0.200 ± 0.010" in Report(dataclasses.replace(results, models=tuple(map(bare, results.models)))).to_markdown()


def test_error_bars_are_the_intervals():
    results = compared({"flow": (0.2, 0.9, 0.1)})
    assert statistic(results, results["flow"], "frechet").bar == pytest.approx((0.2 - HALF, 0.2 + HALF))
    assert statistic(results, bare(results["flow"]), "frechet").bar == pytest.approx((0.19, 0.21)), "else one spread"
    assert statistic(results, ModelResult("it", scores={"frechet": Score(0.2)}), "frechet").bar is None


def test_the_score_that_ranks_models_is_the_first_of_its_table():
    scores, info = {"recall": Score(0.5), "frechet": Score(0.2)}, {"recall": MetricInfo("Recall", "higher", "A share.")}
    (_, names), *_ = groups(Comparison(metrics=info | INFO, models=(ModelResult("a", scores=scores),)))
    assert names == ["frechet", "recall"]


def test_the_value_that_is_right_has_no_more_digits_than_its_error():
    info = {"near": MetricInfo("Nearest", "target"), "test": MetricInfo("Test", "target", unit="%", target=0.5)}
    floors = {"near": Score(0.230, 0.6), "test": Score(0.49, 0.02)}
    models = (ModelResult("a", scores={"near": Score(1.0, 0.1), "test": Score(0.6, 0.01)}),)
    results = Comparison("it", metrics=info, floors=floors, models=models)
    assert [tables.score_column(results, metric).hint for metric in info] == ["→ 0.2", "→ 50 %"]


@pytest.mark.parametrize("given", [True, False])
def test_parts_of_given_samples_with_one_score_have_no_spread(given):
    one = ModelResult("it", scores={"frechet": Score(0.5, 0.0)}, given=given)
    cell = tables.score_cell(Comparison("it", metrics=INFO, models=(one,)), one, "frechet")
    assert (cell.value, cell.spread) == ("0.500", "" if given else "0.000")


def test_samples_of_runs_that_are_not_shown_are_named():
    models = (ModelResult("run", run="runs/a"), ModelResult("given", given=True))
    assert absent(Comparison(models=models, data=DataInfo("digits", (1, 8, 8)))).endswith("samples of run.")


def test_a_family_stands_beside_a_name_that_does_not_say_it():
    families = {"mine": "GAN", "digits-flow": "flow matching", "a-gan": "GAN"}
    models = [ModelResult(name, family=family, scores={"frechet": Score(0.1)}) for name, family in families.items()]
    (_, table), *_ = tables.scorecards(Comparison(models=models, metrics=INFO))
    assert [row.family for row in table.rows if row.kind == "model"] == ["GAN", "flow matching", ""]


def test_a_page_about_one_model_is_called_after_it():
    alone = Comparison(models=(ModelResult("mine"),), data=DataInfo(name="digits"))
    both = dataclasses.replace(alone, models=(ModelResult("mine"), ModelResult("other")))
    titled = [re.search("<h1>(.*)</h1>", Report(given).to_html())[1] for given in (alone, both)]
    assert titled == ["mine on digits", "Comparison of generative models"]


# Cost and settings ----------------------------------------------------------------------------------------------


def test_the_cost_tables_show_spread_batch_and_memory(content):
    model(content, "flow")["training"] |= {"seconds": 14.6, "trajectory_seconds": 15.4, "ancestor_seconds": 300.0}
    (_, training), (_, sampling) = tables.costs(comparison(content))
    for wanted in (("Memory", "21 MB"), ("Training", "14.6 s"), ("Trajectories", "15.4 s"), ("Built on", "5 min")):
        assert wanted in [
            (column.label, cell.flat) for column, cell in zip(training.columns, training.rows[0].cells, strict=True)
        ]
    cells = dict(zip([c.label for c in sampling.columns], sampling.rows[2].cells, strict=True))
    assert cells["Time per sample"].flat == "210 µs (208 µs to 212 µs, 64 at once)"
    assert cells["Memory"].flat == "3.2 MB (64 at once)"


def test_settings_that_differ_are_listed_and_others_are_not():
    def config(lr, width):
        method = {"part": "Denoising", "network": {"part": "MLP", "widths": [width, width]}}
        return {"method": method, "recipe": "flow", "training": {"lr": lr, "batch": 64, "clip": None}}

    models = tuple(ModelResult(name, config=config(lr, width)) for name, lr, width in (("a", 0.001, 8), ("b", 0.003, 16)))
    rows = tables.differences(Comparison(models=models)).rows
    assert [(row.name, [cell.value for cell in row.cells]) for row in rows] == [
        ("training.lr", ["0.001", "0.003"]),
        ("method.network.widths", ["[8, 8]", "[16, 16]"]),
    ]
    assert tables.differences(Comparison(models=models[:1])) is None


def test_commands_that_read_a_run_follow_its_training():
    flow = ModelResult("flow", run="runs/digits-flow", commands=("pushforward train flow --data digits",))
    results = Comparison("it", models=(flow,), commands=("pushforward report runs/digits-flow/", "pushforward compare a b"))
    assert commands(results) == [*flow.commands, *results.commands]
    fresh = dataclasses.replace(results, commands=("pushforward compare flow gan",))
    assert commands(fresh)[0] == "pushforward compare flow gan", "which trains"


# Charts ---------------------------------------------------------------------------------------------------------


def test_quality_stands_against_seconds_in_proportion_to_calls():
    curve = tuple(CurvePoint(calls=calls, scores={"frechet": value}) for calls, value in ((2, 0.8), (4, 0.4), (8, 0.2)))
    results = compared({"flow": (0.2, 0.9, 0.04), "gan": (0.9, 0.9, 0.001)})
    flow = dataclasses.replace(results.models[0], curve=curve, sampling=SamplingCost(calls=8, seconds_per_sample=0.04))
    drawn = curves.against(dataclasses.replace(results, models=(flow, results.models[1])), curves.by_seconds, "seconds")
    for point in ("flow: 0.800 at 0.0100<", "flow: 0.200 at 0.0400<", "gan: 0.900 at 0.00100<"):
        assert point in drawn.svg


def test_a_curve_is_named_by_the_score_that_it_shows():
    curve = (CurvePoint(calls=2, scores={"frechet": 0.8}), CurvePoint(calls=4, scores={"frechet": 0.4}))
    results = compared({"flow": (0.2, 0.9, 0.04)})
    flow, info = (
        dataclasses.replace(results.models[0], curve=curve),
        {"frechet": MetricInfo("Some score", "lower", role="quality")},
    )
    page = Report(dataclasses.replace(results, models=(flow,), metrics=info)).to_html()
    assert "Some score ↓ against network calls" in page.replace(" · log scale", "")
    assert "Fréchet" not in page


def test_a_sweep_has_a_line_for_each_model_and_budget_wherever_it_is_read():
    results = swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)}, budgets=(4, 8, 120))
    lines = [[row.name, *(cell.flat for cell in row.cells)] for row in tables.sweep_table(results).rows]
    assert lines[0] == ["gan", "4 s", "0.500 [0.472, 0.528]", "4.10 s", "9"]
    assert [line[0] + line[1] for line in lines] == ["gan4 s", "gan8 s", "gan2 min", "flow4 s", "flow8 s", "flow2 min"]
    assert "| gan | 4 s | 0.500 [0.472, 0.528] | 4.10 s | 9 |" in Report(results).to_markdown().replace("\\", "")
    assert curves.sweep(results).svg.count('class="whisker"') == 6
    assert tables.sweep_table(compared({"gan": (0.2, 0.9, 0.1)})) is None


def test_the_share_of_each_class_stands_beside_that_of_real_data():
    extra = {"share": [0.5, 0.1, 0.4], "real": [0.25, 0.25, 0.5]}
    models = tuple(ModelResult(name, scores={"class_distance": Score(0.25, extra=extra)}) for name in ("gan", "vae"))
    chart, _ = class_chart(Comparison(data=DataInfo(classes=("a", "<b>", "c")), models=models))
    for wanted in ("a: 25 % of real data", "vae, &lt;b&gt;: 10 %", "gan, c: 40 %"):
        assert wanted in chart
    heights = [float(number) for number in re.findall(r'class="band" [^>]*height="([\d.]+)"', chart)]
    assert heights[2] / heights[0] == pytest.approx(2, abs=0.01)
    assert class_chart(Comparison(models=(ModelResult("gan"),)))[0] == ""


def test_a_measure_of_a_single_step_has_no_chart():
    def charts(*values):
        health = Health(series={"coverage": Series(tuple(range(len(values))), values)})
        return len(curves.health(0, ModelResult("gan", health=health)))

    assert [charts(0.5), charts(0.5, None), charts(0.5, 0.6)] == [0, 0, 1]


def test_trajectories_are_a_table_of_the_models_that_have_any(content):
    table = [[cell.value for cell in row.cells] for row in tables.trajectories(comparison(content)).rows]
    assert table == [["0.125", "250"], ["1.12", "250"]]
    table = tables.trajectories(comparison(toy_content(content)))
    assert [column.label for column in table.columns] == ["Straightness", "NPE", "Trajectories"]
    assert [row.cells[1].value for row in table.rows] == ["0.310", "0.480"]
    for entry in content["models"]:
        del entry["trajectory"]
    assert "trajectories" not in check_page(report(content).to_html()).ids


def test_losses_by_noise_level_line_up_by_level(content):
    """The shorter path lacks the noisiest level; the noisier, the further right, and one line for each iterative model."""
    model(content, "flow")["trajectory"]["loss_by_level"].reverse()
    table = tables.levels(comparison(content))
    assert [column.label for column in table.columns] == ["flow", "ddpm"]
    assert [row.name for row in table.rows][::2] == ["0.0111 (log-SNR 9)", "1 (log-SNR 0)", "90.0 (log-SNR −9)"]
    assert [cell.flat for cell in table.rows[-1].cells] == ["1.210 ± 0.012", "–"]
    chart = curves.levels(comparison(content)).svg
    across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    assert len(across) == 5
    assert across == sorted(across)
    assert chart.count('class="line"') == 2


def test_trajectories_in_the_plane_are_drawn_from_noise_to_sample(content):
    pictures = {name: dict(parts) for name, parts in of_toys().items()}
    lines = pictures["flow"]["paths"] = pictures["flow"]["paths"].copy()
    lines[7, 3] = np.nan
    page = report(toy_content(content), pictures).to_html()
    assert re.findall(r'<svg[^>]*aria-label="Trajectories of (\w+), from noise to data"', page) == ["flow", "ddpm"]
    chart = re.search(r'<svg[^>]*aria-label="Trajectories of flow.*?</svg>', page, re.S)[0]
    assert chart.count('class="way"') == 59, "a line that is not finite is left out"
    limits = Look(comparison({}, pictures).pictures).paths_limits()
    corner = r'd="M([-\d.]+) ([-\d.]+)l4.8'
    for sign, place, off, at in (("from", corner, 2.4, 0), ("to", r'cx="([-\d.]+)" cy="([-\d.]+)"', 0.0, -1)):
        x, y = (float(number) + off for number in re.search(f'class="{sign}" {place}', chart).groups())
        assert limits[0] + x / 320 * (limits[1] - limits[0]) == pytest.approx(lines[0, at, 0], abs=0.02)
        assert limits[3] - y / 320 * (limits[3] - limits[2]) == pytest.approx(lines[0, at, 1], abs=0.02)


# Captions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "calls", "says"),
    [
        (None, 1, "after step 80 1 network call, Jump"),
        (60, 4, "weights of step 60, of 80 trained 4 network calls, Jump"),
        (0, None, "weights of step 0, of 80 trained Jump"),
    ],
)
def test_a_caption_names_the_step_of_the_weights_and_the_calls(earlier, calls, says):
    one = ModelResult("map", training=TrainingCost(steps=80), weights_step=earlier, sampling=SamplingCost("Jump", calls=calls))
    shown = comparison({}, {"map": {"grid": np.zeros((3, 2))}})
    (panel,) = samples.player(dataclasses.replace(shown, models=(one,)), Look(shown.pictures), [])["panels"]
    assert f"{panel['moment']} {panel['how']}" == says


def test_a_map_is_said_to_be_measured_beside_its_teacher():
    point, own = (CurvePoint(calls, calls, {"frechet": 0.02}, {"frechet": (0.02,)}) for calls in (1, 16))
    ladder = Ladder(360, 1, {"frechet": Score(0.01, 0.002)}, (point,), own=own, solver="UniPC")
    results = Comparison(metrics={"frechet": describe()["frechet"]}, models=(ModelResult("student", ladder=ladder),))
    assert any(text.startswith("In 1 call student has 1 times") for text in Report(results).verdict)
    read = Reader(Report(results).to_html())
    assert "ladder" in read.ids
    assert "UniPC" in read.text


def test_durations_read_well():
    assert [duration(seconds) for seconds in (0.00021, 59.0, 600)] == ["210 µs", "59 s", "10 min"]
