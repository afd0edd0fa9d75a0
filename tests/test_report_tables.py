"""What a report shows: intervals, units and digits of tables, costs, settings and captions."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from programs.reporting import (
    RANKING,
    compared,
    comparison,
    model,
    scorecards,
    swept,
)
from programs.text_tables import read_cases

from pushforward.evaluation.measurements import SamplingCost, TrainingCost
from pushforward.evaluation.results import (
    Comparison,
    DataInfo,
    ModelResult,
    Score,
)
from pushforward.metrics import MetricInfo
from pushforward.report import (
    Report,
    samples,
    tables,
)
from pushforward.report.plain_text import commands, limits, subtitle
from pushforward.report.sprites import Look
from pushforward.report.statistics import statistic
from pushforward.tables.baselines import ROW_COPIES

BUDGETS = """
[4, 8, 120]        | ["4 s", "8 s", "2 min"]
[null, null, null] | ["4.1 s", "8.2 s", "16 s"]
"""


@pytest.mark.parametrize(("budgets", "stated"), read_cases(BUDGETS))
def test_a_sweep_says_the_budget_and_else_the_seconds(budgets, stated):
    results = swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)}, budgets)
    table = tables.sweep_table(results)
    times = [row.cells[0].flat for row in table.rows]
    assert times == stated * 2


HALF = 1.96 * (0.01**2 + (0.02**2 - 0.01**2) / 3) ** 0.5


def bare(model):
    scores = {name: Score(score.value, score.spread) for name, score in model.scores.items()}
    return dataclasses.replace(model, scores=scores)


def test_tables_show_intervals_where_there_are_any():
    results = compared({"flow": (0.2, 0.9, 0.1), "gan": (0.5, 0.8, 0.1)})
    _, table = tables.scorecards(results)[0]
    cells = {}
    for row in table.rows:
        cells[row.kind, row.name] = row.cells
    distance, share, *_ = cells["model", "flow"]
    assert distance.flat == "0.200 [0.172, 0.228]"
    assert share.flat == "90.0 [87.2, 92.8] %"
    assert cells["baseline", "no network"][0].flat == "2.000 ± 0.010"
    markdown = Report(results).to_markdown().replace("\\", "")
    assert "**0.200 [0.172, 0.228]**" in markdown
    page = Report(results).to_html()
    assert '<span class="value">0.200</span> <span class="interval">[0.172, 0.228]</span>' in page
    stored_csv = page.replace("%2C", ",")
    assert re.search(r"flow,,\d*,frechet,0.2,0.01,0.17", stored_csv), "the CSV has both"
    models = tuple(map(bare, results.models))
    without = dataclasses.replace(results, models=models)
    assert "0.200 ± 0.010" in Report(without).to_markdown()


def test_error_bars_are_the_intervals():
    results = compared({"flow": (0.2, 0.9, 0.1)})
    flow = results["flow"]
    bar = statistic(results, flow, "frechet").bar
    assert bar == pytest.approx((0.2 - HALF, 0.2 + HALF))
    bar = statistic(results, bare(flow), "frechet").bar
    assert bar == pytest.approx((0.19, 0.21)), "else one spread"
    unknown = ModelResult("it", scores={"frechet": Score(0.2)})
    assert statistic(results, unknown, "frechet").bar is None


def test_rows_without_a_network_stand_below_the_models():
    scores = {"frechet": Score(0.1, 0.01), "coverage": Score(0.9, 0.01)}
    copies = ModelResult(ROW_COPIES, scores=scores)
    results = compared({"flow": (0.2, 0.9, 0.1)}, further_baselines=(copies,))
    _, table = tables.scorecards(results)[0]
    names = [row.name for row in table.rows]
    assert names[:3] == ["flow", "no network", ROW_COPIES]


def test_numbers_in_a_column_have_the_same_number_of_decimals(content):
    model(content, "vae")["scores"]["frechet"]["spread"] = 0.2
    for _, card in scorecards(content):
        rows = [row.cells for row in card.rows]
        for cells in zip(*rows, strict=True):
            values = [cell.value for cell in cells if cell.value != "–"]
            decimals = {len(value.partition(".")[2]) for value in values}
            assert len(decimals) == 1, values


def test_a_difference_that_is_none_is_stated_in_the_unit_of_its_score(content):
    stated = " ".join(limits(comparison(content)))
    assert re.search(r"Fréchet distance below 0\.035 .*n = 360", stated)
    content["metrics"]["coverage"]["unit"] = "%"
    assert "coverage below 3.5 percentage points" in " ".join(limits(comparison(content)))


def test_the_value_that_is_right_has_its_unit_and_no_more_digits_than_its_error():
    info = {
        "near": MetricInfo("Nearest", "target"),
        "test": MetricInfo("Test", "target", unit="%", target=0.5),
    }
    real_data_scores = {"near": Score(0.230, 0.6), "test": Score(0.49, 0.02)}
    scores = {"near": Score(1.0, 0.1), "test": Score(0.6, 0.01)}
    models = (ModelResult("a", scores=scores),)
    results = Comparison("it", metrics=info, real_data_scores=real_data_scores, models=models)
    hints = [tables.score_column(results, metric).hint for metric in info]
    assert hints == ["→ 0.2", "→ 50 %"]


@pytest.mark.parametrize(("given", "spread"), [(True, ""), (False, "0.000")])
def test_parts_of_given_samples_with_one_score_have_no_spread(given, spread):
    one = ModelResult("it", scores={"frechet": Score(0.5, 0.0)}, given=given)
    results = Comparison("it", metrics=RANKING, models=(one,))
    cell = tables.score_cell(results, one, "frechet")
    assert cell.value == "0.500"
    assert cell.spread == spread


def test_a_table_is_of_columns_and_not_of_coordinates():
    data = DataInfo("it", (23,), "row", columns=tuple("abcde"))
    assert "5 columns" in subtitle(Comparison(data=data))


def test_commands_that_read_a_run_follow_its_training():
    train = "pushforward train flow --data digits"
    read = "pushforward report runs/digits-flow/"
    compare = "pushforward compare a b"
    flow = ModelResult("flow", run="runs/digits-flow", commands=(train,))
    results = Comparison("it", models=(flow,), commands=(read, compare))
    assert commands(results) == [train, read, compare]


def test_the_cost_tables_show_what_a_training_builds_on_and_refused_draws(content):
    flow = model(content, "flow")
    times = {"seconds": 14.6, "trajectory_seconds": 15.4, "ancestor_seconds": 300.0}
    flow["training"] |= times
    flow["sampling"]["refused"] = 0.375
    cells = {}
    for _, table in tables.costs(comparison(content)):
        first = table.rows[0]
        for column, cell in zip(table.columns, first.cells, strict=True):
            cells[column.label] = cell.flat
    assert cells["Training"] == "14.6 s"
    assert cells["Trajectories"] == "15.4 s"
    assert cells["Built on"] == "5 min"
    assert cells["Rejected samples, %"] == "37.5"


def test_settings_that_differ_are_listed_and_others_are_not():
    def configured(name, lr, width):
        network = {"part": "MLP", "widths": [width, width]}
        config = {
            "method": {"part": "Denoising", "network": network},
            "recipe": "flow",
            "training": {"lr": lr, "batch": 64, "clip": None},
        }
        return ModelResult(name, config=config)

    first = configured("a", 0.001, 8)
    second = configured("b", 0.003, 16)
    table = tables.differences(Comparison(models=(first, second)))
    listed = {}
    for row in table.rows:
        listed[row.name] = [cell.value for cell in row.cells]
    assert listed == {
        "training.lr": ["0.001", "0.003"],
        "method.network.widths": ["[8, 8]", "[16, 16]"],
    }
    assert not tables.differences(Comparison(models=(first,)))


@pytest.mark.parametrize(
    ("earlier", "says"), [(None, "after step 80"), (0, "weights after step 0 of 80")]
)
def test_a_caption_names_the_step_of_the_weights(earlier, says):
    training = TrainingCost(steps=80)
    sampling = SamplingCost("Jump", calls=1)
    one = ModelResult("map", training=training, weights_step=earlier, sampling=sampling)
    grid = np.zeros((3, 2))
    shown = comparison({}, {"map": {"grid": grid}})
    one_shown = dataclasses.replace(shown, models=(one,))
    look = Look(shown.pictures)
    (panel,) = samples.player(one_shown, look)["panels"]
    assert panel["moment"] == says
