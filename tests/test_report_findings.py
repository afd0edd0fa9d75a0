"""What a report finds: who is ahead, what cannot be relied on, and several training runs of one
recipe.
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
    compared,
    comparison,
    model,
    pooled,
    put,
    report,
    said,
    scorecards,
)
from programs.text_tables import read_cases
from scipy.special import stdtrit

from pushforward.evaluation.joined import join
from pushforward.evaluation.results import (
    Comparison,
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
    statistics,
    steps_curves,
)
from pushforward.report.answers import answers
from pushforward.report.findings import FINDINGS, findings
from pushforward.report.plain_text import limits
from pushforward.report.statistics import statistic


def best_cells(content):
    _, table = scorecards(content)[0]
    best = []
    for row in table.rows:
        for column, cell in enumerate(row.cells):
            if cell.best:
                best.append((row.name, column))
    return best


def answered(content):
    results = content if isinstance(content, Comparison) else comparison(content)
    return answers(results.best_first())


NAMES_AND_NUMBERS = r"flow|ddpm|gan|vae|[\d.]*\d"


def test_a_sound_comparison_answers_every_question(content):
    """Models are given in another order than the one in which they are named."""
    content["models"].reverse()
    content["real_data_scores"]["frechet"]["spread"] = 0.02
    for number, entry in enumerate(content["models"]):
        entry["extension"] = f"pushforward resume runs/{number}"
        entry["curve"] = []
    for kind in ("warning", "measure", "copies"):
        assert said(content, kind) == []
    lines = answered(content)
    assert list(lines) == ["Best", "Clear?", "Copies", "Speed", "Problems", "Next"]
    named = re.findall(NAMES_AND_NUMBERS, lines["Best"])
    assert " ".join(named) == "flow 0.130 1.3 ddpm 2.1 gan 4.4 vae 9.2"
    assert lines["Clear?"] == "flow is ahead of every other model (95 %)."
    shares = re.findall(r"[\d.]+ %", lines["Copies"])
    assert shares == ["0.4 %"] * 2
    named = re.findall(NAMES_AND_NUMBERS, lines["Speed"])
    assert " ".join(named) == "0.2 gan vae 4 flow ddpm"
    assert not re.search("flow|ddpm|gan|vae", lines["Problems"])
    reached, further = re.split(r"(?<=\.) (?=ddpm)", lines["Next"])
    assert re.match(r"flow .*real data.* at n = 360", reached)
    assert re.match(r"ddpm, gan and vae .*`pushforward resume runs/2`", further)
    assert best_cells(content) == [("flow", 0)]
    (coverage,) = (text for text in said(content) if "In coverage" in text)
    assert "flow is ahead of gan and vae (95 %). flow and ddpm cannot be distinguished." in coverage


PLACES = """
{"a": 0.2, "b": 0.5}             | a is ahead of every other model (95 %).
{"a": 0.2, "b": 0.2}             | a is not ahead of any other model (95 %). \
a and b cannot be distinguished.
{"a": 0.2, "b": 0.21, "c": 0.9}  | a is ahead of c (95 %). a and b cannot be distinguished.
{"a": 1.99, "b": 3.0}            | a is ahead of every other model (95 %). \
No model is ahead of the baseline, which scores 2. The baseline is ahead of b.
{"a": 1.5, "b": 3.0}             | a is ahead of every other model (95 %). \
The baseline, which scores 2, is ahead of b.
"""


@pytest.mark.parametrize(("distances", "clear"), read_cases(PLACES))
def test_one_line_says_who_is_ahead_and_who_cannot_be_distinguished(distances, clear):
    models = {}
    for name, distance in distances.items():
        models[name] = (distance, 0.9, 0.1)
    results = compared(models, base=(2.0, 0.5))
    assert answered(results)["Clear?"] == clear


SINGLE = """
0.2  | is significant       | better
0.11 | not significant      | better
0.05 | significantly better | better
2.02 | is                   | not
3.0  | is                   | worse
"""


@pytest.mark.parametrize(("distance", "real", "baseline"), read_cases(SINGLE))
def test_a_single_model_stands_beside_real_data_and_the_baseline(distance, real, baseline):
    results = compared({"it": (distance, 0.9, 0.1)})
    said_of = answered(results)
    assert list(said_of)[:2] == ["Quality", "Baseline"]
    assert real in said_of["Quality"].split(".")[-2]
    assert baseline in said_of["Baseline"].split(".")[-2]


def test_a_later_model_with_a_wider_interval_keeps_its_place(content):
    del content["models"][3:]
    values = (0.12, 0.2, 0.25)
    errors = (0.01, 0.01, 0.1)
    for entry, value, error in zip(content["models"], values, errors, strict=True):
        entry["scores"]["frechet"] = {"value": value, "error": error}
    lines = answered(content)
    named = re.findall(NAMES_AND_NUMBERS, lines["Best"])
    assert " ".join(named) == "flow 0.120 0.100 ddpm 0.200 gan 0.250"
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
    names = [model.name for model in made.comparison.models]
    assert names == order
    plain = json.loads(made.to_json())
    names = [entry["name"] for entry in plain["models"]]
    assert names == order
    for text in (str(results), made.to_text(full=True), made.to_markdown(), made._repr_html_()):
        places = []
        for name in order[:3]:
            score = re.search(rf"\b{name}\b[^\n]*0\.[259]00", text)
            places.append(score.start())
        assert places == sorted(places)


def test_every_finding_is_reported_once_and_has_a_description():
    assert len(set(FINDINGS)) == len(FINDINGS) >= 28
    assert all(finding.__doc__ for finding in FINDINGS)
    for module in (general_findings, steps_curves, model_findings):
        for function in vars(module).values():
            if isgeneratorfunction(function) and function.__module__ == module.__name__:
                assert function in FINDINGS


def test_nobody_is_ahead_in_a_score_of_which_nothing_says_how_it_varies(content):
    del content["real_data_scores"]
    del content["baseline"]
    for key, value, best in (("error", 0.01, True), ("spread", 0.01, True), ("error", None, False)):
        for entry in content["models"]:
            mean = entry["scores"]["frechet"]["value"]
            entry["scores"]["frechet"] = {"value": mean, key: value}
        assert (("flow", 0) in best_cells(content)) == best
    plain = json.loads(comparison(content).to_json())
    for pair in plain["differences"]["frechet"]:
        assert pair["margin"] is None
        assert pair["ahead"] is None
    assert "not ahead of any other model" in answered(content)["Clear?"]


def test_lucky_agreement_of_repeats_is_no_difference(content):
    """Spreads of zero: the standard deviation of real data's score still bounds what can be
    told.
    """
    del content["models"][2:]
    content["baseline"]["scores"]["frechet"]["spread"] = 0.0
    flow, ddpm = (entry["scores"]["frechet"] for entry in content["models"])
    flow |= {"value": 0.120, "spread": 0.0}
    for value, ahead in ((0.143, None), (0.155, "flow")):
        ddpm |= {"value": value, "spread": 0.0}
        pairs = comparison(content).differences()["frechet"]
        (pair,) = (pair for pair in pairs if (pair["first"], pair["other"]) == ("flow", "ddpm"))
        assert pair["ahead"] == ahead


@pytest.mark.parametrize(("share", "distinct"), [(0.95, False), (1.05, True)])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_one_rule_decides_every_comparison(content, share, distinct, spread):
    """Just below and just above the margin: among models, against real data and against no
    network.
    """
    width = max(spread, 0.01)
    real_data_score = 0.01
    quantile = 2.2414  # of a normal distribution, for two comparisons at a level of .05
    margin = share * quantile * 2**0.5 * width
    del content["models"][2:]
    first, second = content["models"]
    base = content["baseline"]

    def set_to(row, mean):
        row["scores"] = {"frechet": {"value": mean, "spread": spread}}

    set_to(first, 0.5)
    set_to(second, 0.5 + margin)
    set_to(base, 1.9)
    ahead = "flow is ahead of every" in answered(content)["Clear?"]
    assert ahead is distinct
    set_to(base, 0.5 + margin)
    proven = "flow" not in statistics.unproven(comparison(content))
    assert proven is distinct
    draws = 5
    content["real_data_scores"]["frechet"]["values"] = [0.1] * draws
    # of one more draw of real data, beside their mean
    new = real_data_score * (1 + 1 / draws) ** 0.5
    single = stdtrit(draws - 1, 0.975)
    set_to(base, 0.1 + share * single * new)
    seen = not statistics.blind(comparison(content), "frechet")
    assert seen is distinct
    base["scores"]["frechet"]["interval"] = [0.09, 0.9]  # contains the score of real data
    assert statistics.blind(comparison(content), "frechet")
    of_two = stdtrit(draws - 1, 0.9875)
    near = 0.1 + share * of_two * new
    set_to(base, near)
    set_to(first, near)
    results = comparison(content)
    score = statistic(results, results.models[0], "frechet")
    apart = not statistics.at_real_data(results, "frechet", score)
    assert apart is distinct


def test_times_are_listed_from_the_fastest(content):
    times = (0.0199, 0.001, 0.005, 0.002)
    for entry, seconds in zip(content["models"], times, strict=True):
        entry["sampling"]["seconds_per_sample"] = seconds
    found = re.findall(r"([\d.]+) ms for (\w+)", answered(content)["Speed"])
    assert found == [("1", "ddpm"), ("2", "vae"), ("5", "gan"), ("20", "flow")]


FLOW_CURVE = {1: 0.3, 2: 0.09, 4: 0.046, 8: 0.047, 16: 0.033, 32: 0.03}


DDPM_CURVE = {1: 0.3, 4: 0.031, 8: 0.05, 16: 0.0315, 32: 0.03}


def test_how_many_calls_are_enough(content):
    """Differences vary by .004 over groups of samples, and a single good point before a bad one
    does not count.
    """
    content["real_data_scores"]["frechet"] = {"value": 0.01, "spread": 0.0001}

    def drawn(calls, mean):  # the noise of one model's points is the same but for these
        terms = []
        for at in range(-4, 5):
            noise = (at * calls) % 3 - 1
            terms.append(mean + 0.05 * at + 0.004 * noise)
        score = {
            "value": mean,
            "values": [mean],
            "sample_terms": terms,
            "reference_terms": [0.0, 0.1, 0.2],
        }
        return {"calls": calls, "steps": calls, "scores": {"frechet": score}}

    flow = model(content, "flow")
    ddpm = model(content, "ddpm")
    for entry, curve in ((flow, FLOW_CURVE), (ddpm, DDPM_CURVE)):
        entry["curve"] = [drawn(calls, mean) for calls, mean in curve.items()]
        entry["sampling"]["steps"] = 32
    advice = answered(content)["Next"]
    assert re.search(
        r"flow and ddpm with --steps 16 .*not .* significantly worse than .*32", advice
    )
    flow["sampling"]["steps"] = 8
    ddpm["curve"][-1] = drawn(32, 0.2)
    advice = answered(content)["Next"]
    assert re.search(r"flow with --steps 16 .*better than .*8", advice)
    assert re.search(r"ddpm with --steps 4 .*better than .*32", advice)


ADVICE = """
200 | {}                                      | too few training steps | `pushforward resume it`
900 | {"train": 20000}                        | too few passes         | `pushforward resume it`
12  | {}                                      | 0.20 training steps per second | --size tiny
12  | {"kind": "image", "shape": [3, 64, 64]} | 0.20 training steps per second | --resize 32
900 | {}                                      | real data              | `pushforward resume it`
"""


@pytest.mark.parametrize(("steps", "data", "why", "what"), read_cases(ADVICE))
def test_advice_follows_from_the_steps_and_passes_of_the_training(content, steps, data, why, what):
    entry = model(content, "gan")
    content["models"] = [entry]
    entry["extension"] = "pushforward resume it"
    entry["training"] = {"seconds": 60.0, "steps": steps, "samples": 51_200}
    entry["curve"] = []
    content["data"] |= data
    assert re.search(f"{why}.*{what}", answered(content)["Next"])


def test_an_alarm_is_told_before_anything_else(content):
    entry = model(content, "gan")
    content["models"] = [entry]
    entry["extension"] = "pushforward resume it"
    alarm = {"kind": "critic", "step": 3, "sentence": "the critic wins", "advice": "raise gamma"}
    entry["alarms"] = [alarm]
    assert "raise gamma" in answered(content)["Next"]
    end = alarm | {"step": 5, "over": True}
    entry["alarms"] = [alarm, end]
    assert "gamma" not in answered(content)["Next"]


def test_times_of_joined_reports_rank_nobody():
    protocol = Protocol("it", "it", 20)
    flow = compared({"flow": (0.2, 0.9, 0.1)}, protocol=protocol)
    gan = compared({"gan": (0.9, 0.9, 0.001)}, protocol=protocol)
    both = join({"flow": flow, "gan": gan})
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


TAUGHT = """
["efficientnet"]            | 1
["pca", "efficientnet:224"] | 1
["inception:weights.pt"]    | 1
["classifier", "pca"]       | 0
"""


@pytest.mark.parametrize(("spaces", "named"), read_cases(TAUGHT))
def test_a_judge_that_was_the_teacher_is_named(spaces, named):
    settings = Settings(n=360, spaces=tuple(spaces))
    results = compared({"gan": (0.2, 0.9, 0.1), "flow": (0.5, 0.8, 0.1)}, settings=settings)
    gan, flow = results.models
    critic = {"part": "GAN", "critic": {"part": "ProjectedCritic", "side": 128}}
    taught = dataclasses.replace(gan, config={"method": critic})
    results = dataclasses.replace(results, models=(taught, flow))
    warnings = [text for text in said(results, "measure") if "ImageNet" in text and "gan" in text]
    assert len(warnings) == named
    told = "gan has scores in features" in answered(results)["Problems"]
    assert told == bool(named)


FAULTS = r"""
gan | {"near_copies": 0.12}                 | gan \(12 %, .*0.400 % .*copies
gan | {"precision": 0.85, "recall": 0.3}    | gan \(precision 1.1×, recall 0.38×\) .*lack diversity
vae | {"precision": 0.24, "recall": 0.8}    | vae \(precision 0.30×, recall 1.0×.*unrealistic
vae | {"sharpness": 0.5}                    | vae \(0.50×\) .*blurred
gan | {"sharpness": 1.9}                    | gan \(1.9×\) .*grainy
gan | {"precision": 0.85, "recall": 0.0, "density": 0.4} | null
"""


@pytest.mark.parametrize(("name", "scores", "finding"), read_cases(FAULTS))
def test_planted_faults_are_told(content, name, scores, finding):
    content["metrics"]["near_copies"]["unit"] = "%"
    for metric, value in scores.items():
        put(content, name, metric, value)
    found = said(content, "warning") + said(content, "copies")
    if finding is None:
        assert found == []
    else:
        (text,) = found
        assert re.search(finding, text)


def test_the_bias_of_every_score_of_quality_is_told(content):
    content["settings"]["n"] = 500
    for row in content["models"]:
        row["scores"]["frechet"] |= {"value": 0.02, "bias": 0.01}
    told = [text for text in said(content, "warning") if "is bias" in text]
    assert len(told) == 1
    content["real_data_scores"].pop("frechet")
    (text,) = [text for text in said(content, "warning") if "is bias" in text]
    assert "about 0.01" in text


def distinct_samples(count, of, real):
    """The plain score of a count of distinct samples."""
    return {"value": count, "ratio": count / real, "extra": {"of": of}}


def test_a_collapsed_model_is_named_first_and_no_weaker_words_stand_beside(content):
    collapse = {"precision": 0.85, "recall": 0.0, "sharpness": 0.5, "frechet": 2.4}
    for metric, value in collapse.items():
        put(content, "gan", metric, value)
    before = answered(content)["Problems"]
    assert "gan has low recall and blurred samples" in before
    content["real_data_scores"]["distinct_samples"] = {"value": 987.0}
    for row in content["models"]:
        row["scores"]["distinct_samples"] = distinct_samples(980.0, 1000, 987)
    gan = model(content, "gan")
    gan["scores"]["distinct_samples"] = distinct_samples(10.0, 1000, 987)
    content["settings"]["n"] = 1000
    results = comparison(content)
    warnings = [finding for finding in findings(results) if finding.kind == "warning"]
    first = warnings[0]
    assert "collapse" in first.text
    assert list(first.problems) == ["gan"]
    on_gan = [finding for finding in warnings if "gan" in finding.text]
    assert on_gan == [first]
    for number in ("10", "1,000", "987"):
        assert number in first.text
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
    named = re.findall(r"gan-\d", text)
    assert set(named) == {"gan-2"}


def test_the_documentation_has_every_threshold(content):
    path = Path(__file__).parents[1] / "docs" / "findings.md"
    page = path.read_text(encoding="utf-8")
    rows = re.findall(r"^(`[A-Z].*?) \| (.*?) \|", page, re.MULTILINE)
    thresholds = vars(general_findings) | vars(model_findings)
    assert len(rows) >= 20
    for names, values in rows:
        numbers = values.replace("−", "-").replace(",", "").split()
        stated = list(map(float, numbers))
        actual = [thresholds[name] for name in re.findall("[A-Z_]+", names)]
        assert actual == stated
    assert len(page.split()) <= 600
    assert "docs/findings.md" in report(content).to_html()


SEED_DISTANCES = [0.12, 0.20, 0.13]


def trained(content):
    """Three training runs of flow, as `compare --seeds` makes them, instead of one."""
    trainings = []
    for seed, distance in enumerate(SEED_DISTANCES):
        entry = copy.deepcopy(content["models"][0])
        entry["name"] = f"flow-{seed}"
        entry["seed"] = seed
        entry["run"] = f"runs/flow-{seed}"
        entry["scores"]["frechet"] |= {"value": distance, "ratio": distance / 0.1}
        entry["training"]["seconds"] = 60.0 + seed
        entry["commands"] = [f"pushforward train flow --seed {seed}"]
        trainings.append(entry)
    content["models"][:1] = trainings
    content["settings"]["seeds"] = 3
    return content


def test_small_scores_have_a_digit_in_sentences(content):
    for number, entry in enumerate(content["models"], 1):
        score = {"value": 2e-5 * number, "spread": None, "interval": [0.0, 9e-4]}
        entry["scores"]["frechet"] |= score
    said_first = answered(content)["Best"]
    assert "0.00002" in said_first
    assert "0.0000)" not in said_first


def test_a_guess_is_a_constant_that_a_better_score_outperforms():
    bits = {"bpd": MetricInfo("Bits per dimension", "lower", "The length of a code.")}
    uniform = ModelResult("uniform guess", scores={"bpd": Score(4.09)})

    def lines(value):
        interval = (value - 0.06, value + 0.06)
        score = Score(value, 0.03, 0.03, (value,), interval=interval)
        scored = ModelResult("vdm", scores={"bpd": score})
        results = Comparison(metrics=bits, models=(scored,), guesses=(uniform,))
        return said(results, "warning")

    assert lines(3.46) == []
    assert len(lines(4.07)) == 1
    assert len(lines(4.2)) == 1


def test_trainings_of_a_recipe_are_one_row_with_their_own_spread(content):
    content = trained(content)
    pictures = {"real": {"grid": 9}}
    for number, entry in enumerate(content["models"]):
        pictures[entry["name"]] = {"grid": number}
    aggregate, drawn = pooled(content, pictures)
    names = [entry["name"] for entry in aggregate["models"]]
    assert names == ["flow", "ddpm", "gan", "vae"]
    flow = model(aggregate, "flow")
    row = flow["scores"]["frechet"]
    assert row["value"] == pytest.approx(0.15)
    assert row["spread"] == pytest.approx(np.std(SEED_DISTANCES, ddof=1))
    assert row["ratio"] == pytest.approx(1.5)
    assert row["values"] == SEED_DISTANCES
    assert flow["scores"]["kid"]["spread"] == pytest.approx(0.0002), "no less than over samplings"
    assert flow["training"]["seconds"] == pytest.approx(61)
    assert flow["parameters"] == 402_314
    trainings = flow["trainings"]
    seeds = [training["seed"] for training in trainings]
    assert seeds == [0, 1, 2]
    distances = [training["scores"]["frechet"]["value"] for training in trainings]
    assert distances == SEED_DISTANCES
    assert len(flow["commands"]) == 3
    grids = {name: parts.grid for name, parts in drawn.items()}
    assert grids == {"flow": 0, "ddpm": 3, "gan": 4, "vae": 5, "real": 9}
    results = comparison(aggregate)
    clear = answered(results)["Clear?"]  # 0.15 ± 0.04 and 0.21
    assert clear == "flow is ahead of gan and vae (95 %). flow and ddpm cannot be distinguished."
    assert "Standard deviations over a few training runs" in " ".join(limits(results))
    check_page(report(aggregate).to_html())


def test_a_training_without_a_score_leaves_the_mean_without_one(content):
    content = trained(content)
    content["models"][1]["scores"]["frechet"]["value"] = None
    aggregate, _ = pooled(content, {})
    row = model(aggregate, "flow")["scores"]["frechet"]
    assert row["value"] is None, "a failed training is no training less"
    assert row["values"] == [0.12, 0.13]
