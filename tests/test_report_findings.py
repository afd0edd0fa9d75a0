"""What a report finds and shows: who is ahead, what cannot be relied on, intervals, and several
trainings of one recipe.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from inspect import isgeneratorfunction
from pathlib import Path

import numpy as np
import pytest
from programs.report_pages import check_page
from programs.reporting import (
    RANKING,
    compared,
    comparison,
    model,
    pooled,
    put,
    report,
    said,
    scorecards,
    swept,
)
from scipy.special import stdtrit

from pushforward.evaluation.joined import joined
from pushforward.evaluation.measurements import SamplingCost, TrainingCost
from pushforward.evaluation.results import (
    Comparison,
    DataInfo,
    ModelResult,
    Protocol,
    Score,
    Settings,
)
from pushforward.metrics import MetricInfo
from pushforward.report import (
    Report,
    findings as general_findings,
    model_findings,
    samples,
    statistics,
    steps_curves,
    tables,
)
from pushforward.report.answers import answers
from pushforward.report.findings import FINDINGS, findings
from pushforward.report.plain_text import commands, limits, subtitle
from pushforward.report.sprites import Look
from pushforward.report.statistics import statistic
from pushforward.tables.baselines import ROW_COPIES


def best_cells(content):
    return [
        (row.name, c)
        for _, table in scorecards(content)[:1]
        for row in table.rows
        for c, x in enumerate(row.cells)
        if x.best
    ]


# Who is ahead


def answered(content):
    results = content if isinstance(content, Comparison) else comparison(content)
    return answers(results.best_first())


def test_a_sound_comparison_answers_every_question(content):
    """Models are given in another order than the one in which they are named."""
    content["models"].reverse()
    content["real_data_scores"]["frechet"]["spread"] = 0.02
    for number, entry in enumerate(content["models"]):
        entry["extension"] = f"pushforward resume runs/{number}"
        entry["curve"] = []
    assert said(content, "warning") == said(content, "measure") == said(content, "copies") == []
    lines = answered(content)
    assert list(lines) == ["Best", "Clear?", "Copies", "Speed", "Problems", "Next"]
    actual = re.findall(r"flow|ddpm|gan|vae|[\d.]*\d", lines["Best"])
    assert actual == ["flow", "0.130", "1.3", "ddpm", "2.1", "gan", "4.4", "vae", "9.2"]
    assert lines["Clear?"] == "flow is ahead of every other model (95 %)."
    actual = re.findall(r"[\d.]+ %", lines["Copies"])
    assert actual == ["0.4 %"] * 2
    actual = re.findall(r"flow|ddpm|gan|vae|[\d.]*\d", lines["Speed"])
    assert actual == ["0.2", "gan", "vae", "4", "flow", "ddpm"]
    assert not re.search("flow|ddpm|gan|vae", lines["Problems"])
    reached, further = re.split(r"(?<=\.) (?=ddpm)", lines["Next"])
    assert re.match(r"flow .*real data.* at n = 360", reached)
    assert re.match(r"ddpm, gan and vae .*`pushforward resume runs/2`", further)
    assert best_cells(content) == [("flow", 0)]
    (coverage,) = (text for text in said(content) if "In coverage" in text)
    assert "flow is ahead of gan and vae (95 %). flow and ddpm cannot be distinguished." in coverage


PLACES = [
    ({"a": 0.2, "b": 0.5}, 2.0, "a is ahead of every other model (95 %)."),
    (
        {"a": 0.2, "b": 0.2},
        2.0,
        "a is not ahead of any other model (95 %). a and b cannot be distinguished.",
    ),
    (
        {"a": 0.2, "b": 0.21, "c": 0.9},
        2.0,
        "a is ahead of c (95 %). a and b cannot be distinguished.",
    ),
    (
        {"a": 1.99, "b": 3.0},
        2.0,
        "a is ahead of every other model (95 %). "
        "No model is ahead of the baseline, which scores 2. The baseline is ahead of b.",
    ),
    (
        {"a": 1.5, "b": 3.0},
        2.0,
        "a is ahead of every other model (95 %). The baseline, which scores 2, is ahead of b.",
    ),
]


@pytest.mark.parametrize(("distances", "base", "clear"), PLACES)
def test_one_line_says_who_is_ahead_and_who_cannot_be_distinguished(distances, base, clear):
    actual = answered(
        compared({name: (value, 0.9, 0.1) for name, value in distances.items()}, base=(base, 0.5))
    )["Clear?"]
    assert actual == clear


@pytest.mark.parametrize(
    ("distance", "real", "baseline"),
    [
        (0.2, "is significant", "better"),
        (0.11, "not significant", "better"),
        (0.05, "significantly better", "better"),
        (2.02, "is", "not"),
        (3.0, "is", "worse"),
    ],
)
def test_a_single_model_stands_beside_real_data_and_the_baseline(distance, real, baseline):
    said_of = answered(compared({"it": (distance, 0.9, 0.1)}))
    assert list(said_of)[:2] == ["Quality", "Baseline"]
    assert real in said_of["Quality"].split(".")[-2]
    assert baseline in said_of["Baseline"].split(".")[-2]


def test_a_later_model_with_a_wider_interval_keeps_its_place(content):
    content["models"] = content["models"][:3]
    for entry, value, error in zip(
        content["models"], (0.12, 0.2, 0.25), (0.01, 0.01, 0.1), strict=True
    ):
        entry["scores"]["frechet"] = {"value": value, "error": error}
    lines = answered(content)
    actual = re.findall(r"flow|ddpm|gan|[\d.]*\d", lines["Best"])
    assert actual == ["flow", "0.120", "0.100", "ddpm", "0.200", "gan", "0.250"]
    ahead, level = re.split(r"(?<=\)\.) ", lines["Clear?"])
    assert ahead == "flow is ahead of ddpm (95 %)."
    assert re.findall("(flow|ddpm) and gan", level) == ["flow", "ddpm"]
    assert best_cells(content) == []


def test_all_pages_and_tables_have_the_best_model_first():
    results = compared({"far": (0.9, 0.5, 1.0), "near": (0.2, 0.5, 1.0), "middle": (0.5, 0.5, 1.0)})
    models = (ModelResult("unscored"), *results.models)
    results = dataclasses.replace(results, models=models)
    order = ["near", "middle", "far", "unscored"]
    made = Report(results)
    assert [model.name for model in made.comparison.models] == order
    assert [entry["name"] for entry in json.loads(made.to_json())["models"]] == order
    for text in (str(results), made.to_text(full=True), made.to_markdown(), made._repr_html_()):
        places = [re.search(rf"\b{name}\b[^\n]*0\.[259]00", text).start() for name in order[:3]]
        assert places == sorted(places)


def test_every_finding_is_reported_once_and_has_a_description():
    assert len(set(FINDINGS)) == len(FINDINGS) >= 28
    assert all(finding.__doc__ for finding in FINDINGS)
    for module in (general_findings, steps_curves, model_findings):
        yielding = {
            function
            for function in vars(module).values()
            if isgeneratorfunction(function) and function.__module__ == module.__name__
        }
        assert yielding <= {*FINDINGS}, module


def test_nobody_is_ahead_in_a_score_of_which_nothing_says_how_it_varies(content):
    del content["real_data_scores"], content["baseline"]
    for key, value, best in (("error", 0.01, True), ("spread", 0.01, True), ("error", None, False)):
        for entry in content["models"]:
            entry["scores"]["frechet"] = {"value": entry["scores"]["frechet"]["value"], key: value}
        assert (("flow", 0) in best_cells(content)) == best
    pairs = json.loads(comparison(content).to_json())["differences"]["frechet"]
    assert {(pair["margin"], pair["ahead"]) for pair in pairs} == {(None, None)}
    assert "not ahead of any other model" in answered(content)["Clear?"]


def test_lucky_agreement_of_repeats_is_no_difference(content):
    """Spreads of zero: the standard deviation of real data's score still bounds what can be
    told.
    """
    content["models"] = content["models"][:2]
    content["baseline"]["scores"]["frechet"]["spread"] = 0.0
    for value, ahead in ((0.143, None), (0.155, "flow")):
        for entry, own in zip(content["models"], (0.120, value), strict=True):
            entry["scores"]["frechet"] |= {"value": own, "spread": 0.0}
        pairs = comparison(content).differences()["frechet"]
        assert {pair["other"]: pair["ahead"] for pair in pairs if pair["first"] == "flow"}[
            "ddpm"
        ] == ahead


@pytest.mark.parametrize(("share", "distinct"), [(0.95, False), (1.05, True)])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_one_rule_decides_every_comparison(content, share, distinct, spread):
    """Just below and just above the margin: among models, against real data and against no
    network.
    """
    width = max(spread, 0.01)
    real_data_score = 0.01
    quantile = 2.2414  # of a normal distribution, for two comparisons at a level of .05
    rows = content["models"] = content["models"][:2]
    base = content["baseline"]

    def set_to(row, mean):
        row["scores"] = {"frechet": {"value": mean, "spread": spread}}

    set_to(rows[0], 0.5)
    set_to(rows[1], 0.5 + share * quantile * 2**0.5 * width)
    set_to(base, 1.9)
    assert ("flow is ahead of every" in answered(content)["Clear?"]) is distinct
    set_to(base, 0.5 + share * quantile * 2**0.5 * width)
    assert ("flow" in statistics.unproven(comparison(content))) is not distinct
    draws = 5
    content["real_data_scores"]["frechet"]["values"] = [0.1] * draws
    new = (
        real_data_score * (1 + 1 / draws) ** 0.5
    )  # of one more draw of real data, beside their mean
    set_to(base, 0.1 + share * stdtrit(draws - 1, 0.975) * new)  # a single comparison
    assert statistics.blind(comparison(content), "frechet") is not distinct
    base["scores"]["frechet"]["interval"] = [0.09, 0.9]
    assert statistics.blind(comparison(content), "frechet"), (
        "its interval contains the score of real data"
    )
    near = 0.1 + share * stdtrit(draws - 1, 0.9875) * new
    set_to(base, near)
    set_to(rows[0], near)
    actual = statistics.at_real_data(
        comparison(content), "frechet", statistic(comparison(content), model_of(content), "frechet")
    )
    assert actual is not distinct


def model_of(content):
    return comparison(content).models[0]


# Times, sweeps, calls
# -------------------------------------------------------------------------------------------


def test_times_are_listed_from_the_fastest(content):
    for entry, seconds in zip(content["models"], (0.0199, 0.001, 0.005, 0.002), strict=True):
        entry["sampling"]["seconds_per_sample"] = seconds
    names = [entry["name"] for entry in content["models"]]
    found = re.findall(r"([\d.]+) ms for (\w+)", answered(content)["Speed"])
    assert found == [("1", names[1]), ("2", names[3]), ("5", names[2]), ("20", names[0])]


def test_how_many_calls_are_enough(content):
    """Differences vary by .004 over groups of samples, and a single good point before a bad one
    does not count.
    """
    content["real_data_scores"]["frechet"] = {"value": 0.01, "spread": 0.0001}

    def drawn(calls, mean):  # the noise of one model's points is the same but for these
        terms = [mean + 0.05 * at + 0.004 * ((at * calls) % 3 - 1) for at in range(-4, 5)]
        rest = {"sample_terms": terms, "reference_terms": [0.0, 0.1, 0.2]}
        score = {"value": mean, "values": [mean]} | rest
        return {"calls": calls, "steps": calls, "scores": {"frechet": score}}

    for name, curve in (
        ("flow", ((1, 0.3), (2, 0.09), (4, 0.046), (8, 0.047), (16, 0.033), (32, 0.03))),
        ("ddpm", ((1, 0.3), (4, 0.031), (8, 0.05), (16, 0.0315), (32, 0.03))),
    ):
        model(content, name)["curve"] = [drawn(*point) for point in curve]
        model(content, name)["sampling"]["steps"] = 32
    assert re.search(
        r"flow and ddpm with --steps 16 .*not .* significantly worse than .*32",
        answered(content)["Next"],
    )
    model(content, "flow")["sampling"]["steps"] = 8
    model(content, "ddpm")["curve"][-1] = drawn(32, 0.2)
    assert re.search(r"flow with --steps 16 .*better than .*8", answered(content)["Next"])
    assert re.search(r"ddpm with --steps 4 .*better than .*32", answered(content)["Next"])


SHORT = {"seconds": 60.0, "steps": 200, "samples": 51_200}


@pytest.mark.parametrize(
    ("training", "data", "why", "what"),
    [
        (SHORT, {}, "too few training steps", "`pushforward resume it`"),
        (
            SHORT | {"steps": 900},
            {"train": 20_000},
            "too few passes over the data",
            "`pushforward resume it`",
        ),
        (SHORT | {"steps": 12}, {}, "0.20 training steps per second", "--size tiny"),
        (
            SHORT | {"steps": 12},
            {"kind": "image", "shape": [3, 64, 64]},
            "0.20 training steps per second",
            "--resize 32",
        ),
        (SHORT | {"steps": 900}, {}, "real data", "`pushforward resume it`"),
    ],
)
def test_advice_follows_from_the_steps_and_passes_of_the_training(
    content, training, data, why, what
):
    content["models"] = content["models"][2:3]
    content["models"][0] |= {
        "extension": "pushforward resume it",
        "training": training,
        "curve": [],
    }
    content["data"] |= data
    assert re.search(f"{why}.*{what}", answered(content)["Next"])


def test_an_alarm_is_told_before_anything_else(content):
    content["models"] = content["models"][2:3]
    (entry,) = content["models"]
    entry["extension"] = "pushforward resume it"
    alarm = {"kind": "critic", "step": 3, "sentence": "the critic wins", "advice": "raise gamma"}
    entry["alarms"] = [alarm]
    assert "raise gamma" in answered(content)["Next"]
    entry["alarms"] = [alarm, alarm | {"step": 5, "over": True}]
    assert "gamma" not in answered(content)["Next"]


def test_a_sweep_says_the_budget_and_else_the_seconds():
    for budgets, said_to_be in (
        ((4, 8, 120), ["4 s", "8 s", "2 min"]),
        ((None,) * 3, ["4.1 s", "8.2 s", "16 s"]),
    ):
        table = tables.sweep_table(
            swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)}, budgets)
        )
        assert [row.cells[0].flat for row in table.rows] == said_to_be * 2


def test_times_of_joined_reports_rank_nobody():
    parts = {"flow": (0.2, 0.9, 0.1), "gan": (0.9, 0.9, 0.001)}
    reports = {
        name: compared({name: one}, protocol=Protocol("it", "it", 20))
        for name, one in parts.items()
    }
    both = joined(reports)
    assert both.settings.timed == (("flow",), ("gan",))
    assert "cannot be compared" in answered(both)["Speed"]
    assert "in different sessions" in " ".join(limits(both))


def test_budgets_are_equal_only_with_the_time_of_what_models_build_on(content):
    def unequal():
        return [text for text in said(content) if text.startswith("Training took ")]

    assert unequal() == []
    model(content, "gan")["training"]["ancestor_seconds"] = 60.0
    assert re.search(r"60.2 s \(\w+\) to 2.00 min \(gan\)", unequal()[0])
    for entry in content["models"]:
        entry["training"]["ancestor_seconds"] = 60.0
    assert unequal() == []


# Measures that cannot be relied on, and warnings
# ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spaces", "named"),
    [
        (("efficientnet",), 1),
        (("pca", "efficientnet:224"), 1),
        (("inception:weights.pt",), 1),
        (("classifier", "pca"), 0),
    ],
)
def test_a_judge_that_was_the_teacher_is_named(spaces, named):
    results = compared(
        {"gan": (0.2, 0.9, 0.1), "flow": (0.5, 0.8, 0.1)}, settings=Settings(n=360, spaces=spaces)
    )
    critic = {"part": "GAN", "critic": {"part": "ProjectedCritic", "side": 128}}
    taught = dataclasses.replace(results.models[0], config={"method": critic})
    results = dataclasses.replace(results, models=(taught, results.models[1]))
    total = sum("ImageNet" in text and "gan" in text for text in said(results, "measure"))
    assert total == named
    assert ("gan has scores in features" in answered(results)["Problems"]) == bool(named)


@pytest.mark.parametrize(
    ("name", "scores", "finding"),
    [
        ("gan", {"near_copies": 0.12}, r"gan \(12 %, .*0.400 % .*copies"),
        (
            "gan",
            {"precision": 0.85, "recall": 0.3},
            r"gan \(precision 1.1×, recall 0.38×\) .*lack diversity",
        ),
        (
            "vae",
            {"precision": 0.24, "recall": 0.8},
            r"vae \(precision 0.30×, recall 1.0×.*unrealistic",
        ),
        ("vae", {"sharpness": 0.5}, r"vae \(0.50×\) .*blurred"),
        ("gan", {"sharpness": 1.9}, r"gan \(1.9×\) .*grainy"),
        ("gan", {"precision": 0.85, "recall": 0.0, "density": 0.4}, None),
    ],
)
def test_planted_faults_are_told(content, name, scores, finding):
    content["metrics"]["near_copies"]["unit"] = "%"
    for metric, value in scores.items():
        put(content, name, metric, value)
    found = said(content, "warning") + said(content, "copies")
    assert len(found) == (finding is not None)
    assert finding is None or re.search(finding, found[0])


def test_a_collapsed_model_is_named_first_and_no_weaker_words_stand_beside(content):
    collapse = {"precision": 0.85, "recall": 0.0, "sharpness": 0.5, "frechet": 2.4}
    for metric, value in collapse.items():
        put(content, "gan", metric, value)
    before = answered(content)["Problems"]
    assert "gan has low recall and blurred samples" in before
    content["real_data_scores"]["distinct_samples"] = {"value": 987.0}
    for row in content["models"]:
        row["scores"]["distinct_samples"] = {
            "value": 980.0,
            "ratio": 980 / 987,
            "extra": {"of": 1000},
        }
    model(content, "gan")["scores"]["distinct_samples"] = {
        "value": 10.0,
        "ratio": 10 / 987,
        "extra": {"of": 1000},
    }
    content["settings"]["n"] = 1000
    results = comparison(content)
    warnings = [finding for finding in findings(results) if finding.kind == "warning"]
    assert "collapse" in warnings[0].text
    assert list(warnings[0].problems) == ["gan"]
    assert [finding for finding in warnings if "gan" in finding.text] == warnings[:1]
    assert all(number in warnings[0].text for number in ("10", "1,000", "987"))
    lines = answered(results)
    assert re.match(r"gan .*collapse \(10 distinct samples among 1,000\)", lines["Problems"])
    assert "blurred" not in lines["Problems"]
    assert re.search("gan collapsed.*learning rate", lines["Next"])


def test_a_training_run_that_collapsed_is_named_among_several():
    def training(name, distinct):
        score = Score(distinct, ratio=distinct / 300, extra={"of": 300})
        return ModelResult(name, scores={"distinct_samples": score})

    runs = (training("gan-0", 300.0), training("gan-1", 290.0), training("gan-2", 12.0))
    score = Score(200.0, ratio=200 / 300, values=(300.0, 290.0, 12.0), extra={"of": 300})
    model = ModelResult("gan", scores={"distinct_samples": score}, trainings=runs)
    metrics = {"distinct_samples": MetricInfo("Distinct samples", "target")}
    real_data_scores = {"distinct_samples": Score(300.0, 1.0)}
    results = Comparison(models=(model,), metrics=metrics, real_data_scores=real_data_scores)
    (text,) = (text for text in said(results) if "collapse" in text)
    assert "gan-2 with 12 distinct samples among 300" in text
    assert not {"gan-0", "gan-1"} & {*re.findall(r"gan-\d", text)}


def test_the_documentation_has_every_threshold(content):
    page = (Path(__file__).parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^(`[A-Z].*?) \| (.*?) \|", page, re.MULTILINE)
    thresholds = vars(general_findings) | vars(model_findings)
    assert len(rows) >= 20
    for names, values in rows:
        stated = [float(value.replace("−", "-").replace(",", "")) for value in values.split(", ")]
        assert [thresholds[name] for name in re.findall("[A-Z_]+", names)] == stated
    assert len(page.split()) <= 600
    assert "docs/findings.md" in report(content).to_html()


HALF = 1.96 * (0.01**2 + (0.02**2 - 0.01**2) / 3) ** 0.5


def bare(model):
    scores = {name: Score(score.value, score.spread) for name, score in model.scores.items()}
    return dataclasses.replace(model, scores=scores)


def test_tables_show_intervals_where_there_are_any():
    results = compared({"flow": (0.2, 0.9, 0.1), "gan": (0.5, 0.8, 0.1)})
    cells = {
        row.kind + row.name: row.cells
        for _, table in tables.scorecards(results)[:1]
        for row in table.rows
    }
    assert cells["modelflow"][0].flat == "0.200 [0.172, 0.228]"
    assert cells["modelflow"][1].flat == "90.0 [87.2, 92.8] %"
    assert cells["baselineno network"][0].flat == "2.000 ± 0.010"
    assert "**0.200 [0.172, 0.228]**" in Report(results).to_markdown().replace("\\", "")
    page = Report(results).to_html()
    assert '<span class="value">0.200</span> <span class="interval">[0.172, 0.228]</span>' in page
    assert re.search(r"flow,,\d*,frechet,0.2,0.01,0.17", page.replace("%2C", ",")), (
        "the CSV has both"
    )
    assert (
        "0.200 ± 0.010"
        in Report(
            dataclasses.replace(results, models=tuple(map(bare, results.models)))
        ).to_markdown()
    )


def test_error_bars_are_the_intervals():
    results = compared({"flow": (0.2, 0.9, 0.1)})
    bar = statistic(results, results["flow"], "frechet").bar
    assert bar == pytest.approx((0.2 - HALF, 0.2 + HALF))
    bar = statistic(results, bare(results["flow"]), "frechet").bar
    assert bar == pytest.approx((0.19, 0.21)), "else one spread"
    bar = statistic(results, ModelResult("it", scores={"frechet": Score(0.2)}), "frechet").bar
    assert bar is None


def test_rows_without_a_network_stand_below_the_models():
    scores = {"frechet": Score(0.1, 0.01), "coverage": Score(0.9, 0.01)}
    copies = ModelResult(ROW_COPIES, scores=scores)
    results = dataclasses.replace(compared({"flow": (0.2, 0.9, 0.1)}), further_baselines=(copies,))
    (_, table), *_ = tables.scorecards(results)
    assert [row.name for row in table.rows][:3] == ["flow", "no network", ROW_COPIES]


def test_numbers_in_a_column_have_the_same_number_of_decimals(content):
    model(content, "vae")["scores"]["frechet"]["spread"] = 0.2
    columns = []
    for _, card in tables.scorecards(comparison(content)):
        columns += zip(*(row.cells for row in card.rows), strict=True)
    for cells in columns:
        values = [cell.value for cell in cells if cell.value != "–"]
        count = len({len(value.partition(".")[2]) for value in values})
        assert count == 1, values


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
    models = (ModelResult("a", scores={"near": Score(1.0, 0.1), "test": Score(0.6, 0.01)}),)
    results = Comparison("it", metrics=info, real_data_scores=real_data_scores, models=models)
    assert [tables.score_column(results, metric).hint for metric in info] == ["→ 0.2", "→ 50 %"]


@pytest.mark.parametrize("given", [True, False])
def test_parts_of_given_samples_with_one_score_have_no_spread(given):
    one = ModelResult("it", scores={"frechet": Score(0.5, 0.0)}, given=given)
    cell = tables.score_cell(Comparison("it", metrics=RANKING, models=(one,)), one, "frechet")
    assert (cell.value, cell.spread) == ("0.500", "" if given else "0.000")


def test_a_table_is_of_columns_and_not_of_coordinates():
    data = DataInfo("it", (23,), "row", columns=tuple("abcde"))
    assert "5 columns" in subtitle(Comparison(data=data))


def test_commands_that_read_a_run_follow_its_training():
    flow = ModelResult(
        "flow", run="runs/digits-flow", commands=("pushforward train flow --data digits",)
    )
    results = Comparison(
        "it",
        models=(flow,),
        commands=("pushforward report runs/digits-flow/", "pushforward compare a b"),
    )
    assert commands(results) == [*flow.commands, *results.commands]


# Cost and settings
# ----------------------------------------------------------------------------------------------


def test_the_cost_tables_show_what_a_training_builds_on_and_refused_draws(content):
    model(content, "flow")["training"] |= {
        "seconds": 14.6,
        "trajectory_seconds": 15.4,
        "ancestor_seconds": 300.0,
    }
    model(content, "flow")["sampling"]["refused"] = 0.375
    (_, training), (_, sampling) = tables.costs(comparison(content))
    cells = {
        column.label: cell.flat
        for table in (training, sampling)
        for column, cell in zip(table.columns, table.rows[0].cells, strict=True)
    }
    wanted = {
        "Training": "14.6 s",
        "Trajectories": "15.4 s",
        "Built on": "5 min",
        "Rejected samples, %": "37.5",
    }
    assert cells.items() >= wanted.items()


def test_settings_that_differ_are_listed_and_others_are_not():
    def config(lr, width):
        method = {"part": "Denoising", "network": {"part": "MLP", "widths": [width, width]}}
        return {
            "method": method,
            "recipe": "flow",
            "training": {"lr": lr, "batch": 64, "clip": None},
        }

    models = tuple(
        ModelResult(name, config=config(lr, width))
        for name, lr, width in (("a", 0.001, 8), ("b", 0.003, 16))
    )
    rows = tables.differences(Comparison(models=models)).rows
    assert [(row.name, [cell.value for cell in row.cells]) for row in rows] == [
        ("training.lr", ["0.001", "0.003"]),
        ("method.network.widths", ["[8, 8]", "[16, 16]"]),
    ]
    assert not tables.differences(Comparison(models=models[:1]))


# Charts


# Captions


@pytest.mark.parametrize(
    ("earlier", "says"), [(None, "after step 80"), (0, "weights after step 0 of 80")]
)
def test_a_caption_names_the_step_of_the_weights(earlier, says):
    one = ModelResult(
        "map",
        training=TrainingCost(steps=80),
        weights_step=earlier,
        sampling=SamplingCost("Jump", calls=1),
    )
    shown = comparison({}, {"map": {"grid": np.zeros((3, 2))}})
    one_shown = dataclasses.replace(shown, models=(one,))
    (panel,) = samples.player(one_shown, Look(shown.pictures))["panels"]
    assert panel["moment"] == says


def trained(content, values, name="flow"):
    """One model for each training of a recipe, as `compare --seeds` makes them, in place of one."""
    (place,) = (i for i, entry in enumerate(content["models"]) if entry["name"] == name)
    trainings = []
    for seed, value in enumerate(values):
        entry = copy.deepcopy(content["models"][place]) | {
            "name": f"{name}-{seed}",
            "seed": seed,
            "run": f"runs/{name}-{seed}",
        }
        entry["scores"]["frechet"] |= {"value": value, "ratio": value / 0.1}
        entry["training"]["seconds"] = 60.0 + seed
        entry["commands"] = [f"pushforward train {name} --seed {seed}"]
        trainings.append(entry)
    content["models"][place : place + 1] = trainings
    content["settings"]["seeds"] = len(values)
    return content


def test_small_scores_have_a_digit_in_sentences(content):
    for number, entry in enumerate(content["models"]):
        entry["scores"]["frechet"] |= {
            "value": 2e-5 * (number + 1),
            "spread": None,
            "interval": [0.0, 9e-4],
        }
    said_first = answered(content)["Best"]
    assert "0.00002" in said_first
    assert "0.0000)" not in said_first


def test_a_guess_is_a_constant_that_a_better_score_outperforms():
    bits = {"bpd": MetricInfo("Bits per dimension", "lower", "The length of a code.")}
    uniform = ModelResult("uniform guess", scores={"bpd": Score(4.09)})

    def lines(value):
        scores = {"bpd": Score(value, 0.03, 0.03, (value,), interval=(value - 0.06, value + 0.06))}
        scored = ModelResult("vdm", scores=scores)
        return said(Comparison(metrics=bits, models=(scored,), guesses=(uniform,)), "warning")

    assert lines(3.46) == []
    assert len(lines(4.07)) == len(lines(4.2)) == 1


def test_trainings_of_a_recipe_are_one_row_with_their_own_spread(content):
    content = trained(content, (0.12, 0.20, 0.13))
    pictures = {entry["name"]: {"grid": i} for i, entry in enumerate(content["models"])} | {
        "real": {"grid": 9}
    }
    aggregate, drawn = pooled(content, pictures)
    assert [entry["name"] for entry in aggregate["models"]] == ["flow", "ddpm", "gan", "vae"]
    flow = model(aggregate, "flow")
    row = flow["scores"]["frechet"]
    assert row["value"] == pytest.approx(0.15)
    assert row["spread"] == pytest.approx(np.std([0.12, 0.20, 0.13], ddof=1))
    assert row["ratio"] == pytest.approx(1.5)
    assert row["values"] == [0.12, 0.20, 0.13]
    assert flow["scores"]["kid"]["spread"] == pytest.approx(0.0002), "no less than over samplings"
    assert flow["training"]["seconds"] == pytest.approx(61)
    assert flow["parameters"] == 402_314
    assert [training["seed"] for training in flow["trainings"]] == [0, 1, 2]
    assert [training["scores"]["frechet"]["value"] for training in flow["trainings"]] == [
        0.12,
        0.20,
        0.13,
    ]
    assert len(flow["commands"]) == 3
    assert {name: parts.grid for name, parts in drawn.items()} == {
        "flow": 0,
        "ddpm": 3,
        "gan": 4,
        "vae": 5,
        "real": 9,
    }
    clear = answered(comparison(aggregate))["Clear?"]
    assert clear == "flow is ahead of gan and vae (95 %). flow and ddpm cannot be distinguished.", (
        "0.15 ± 0.04 and 0.21"
    )
    assert "Standard deviations over a few training runs" in " ".join(limits(comparison(aggregate)))
    check_page(report(aggregate).to_html())


def test_a_training_without_a_score_leaves_the_mean_without_one(content):
    content = trained(content, (0.12, 0.20, 0.13))
    content["models"][1]["scores"]["frechet"]["value"] = None
    row = model(pooled(content, {})[0], "flow")["scores"]["frechet"]
    assert (row["value"], row["values"]) == (None, [0.12, 0.13]), (
        "a failed training is no training less"
    )
