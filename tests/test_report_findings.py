"""What the report finds: who is ahead, what cannot be relied on, and planted faults, by one rule and one table."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from programs.report_pages import toy_content
from programs.reporting import ABOUT, compared, comparison, make_model, model, put, report, said, score, scorecards, swept

from pushforward.evaluation.comparison import joined
from pushforward.evaluation.results import Comparison, ModelResult, Protocol, Settings
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.report import conditions, statistics, tables
from pushforward.report.findings import RULES, STANDINGS, findings, standings
from pushforward.report.text import limits


def best_cells(content):
    return [
        (row.name, c) for _, table in scorecards(content)[:1] for row in table.rows for c, x in enumerate(row.cells) if x.best
    ]


# Who is ahead ---------------------------------------------------------------------------------------------------


def test_a_sound_comparison_names_winners_and_worries_of_nothing(content):
    assert said(content, "warning") == said(content, "measure") == []
    assert said(content)[:2] == [
        "Best in Fréchet distance: flow (0.130); next ddpm (0.210); real data 0.100.",
        "Best in coverage: flow (0.950), ddpm (0.942); next gan (0.880); real data 0.960, within noise.",
    ]
    assert "Fastest to sample: gan (210 µs), vae (210 µs); slower: flow (at least 19 times as long), ddpm" in said(content)[2]
    assert best_cells(content) == [("flow", 0)]
    assert standings(comparison(content)) == {
        "flow": "flow is best in Fréchet distance.",
        "ddpm": "ddpm is measurably worse in Fréchet distance than flow.",
        "gan": "gan is measurably worse in Fréchet distance than flow; fastest to sample.",
        "vae": "vae is measurably worse in Fréchet distance than flow; fastest to sample.",
    }


STATES = [
    ({"a": 0.2, "b": 0.5}, 2.0, "best", "Best in", "a is best in"),
    ({"a": 0.2, "b": 0.2}, 2.0, "level", "No measurable difference in", "a does not differ measurably"),
    ({"a": 0.2, "b": 0.21, "c": 0.9}, 2.0, "best", "Best in", "a is among the best in"),
    ({"a": 0.2}, 2.0, "single", "Of a (", "a beats no network"),
    ({"a": 2.02, "b": 3.0}, 2.0, "bad", "no better than no network (2.000)", "a is no better than no network"),
    ({"a": 3.0, "b": 9.0}, 2.0, "bad", "no better than no network (2.000)", "a is worse than no network"),
    (
        {"a": 0.11, "b": 0.5},
        0.1,
        "bad",
        "no better than no network (",
        "a is no better than",
    ),
]


@pytest.mark.parametrize(("distances", "base", "state", "finding", "standing"), STATES)
def test_each_state_of_a_ranking_has_its_sentences(distances, base, state, finding, standing):
    results = compared({name: (value, 0.9, 0.01) for name, value in distances.items()}, base=(base, 0.5))
    assert conditions._state(results, "frechet") == state
    assert any(finding in text and "Fréchet" in text for text in said(results, "verdict"))
    assert standings(results)["a"].startswith(standing)


def test_every_template_can_be_filled(content):
    """Names in braces of a rule are values that its condition yields; a row without a condition's value would raise."""
    assert len({rule.template for rule in RULES}) >= 40
    known = Path(conditions.__file__).read_text(encoding="utf-8")
    for template in (rule.template for rule in RULES):
        assert all(f'"{name}":' in known for name in re.findall(r"{(\w+)}", template)), template
    assert all("{name}" in text for text in STANDINGS.values())


def test_nobody_is_called_best_in_a_score_whose_spread_is_not_known(content):
    for key, value, best in (("error", 0.01, [("flow", 0)]), ("spread", 0.01, [("flow", 0)]), ("error", None, [])):
        for entry in content["models"]:
            entry["scores"]["frechet"] = {"value": entry["scores"]["frechet"]["value"], key: value}
        assert best_cells(content) == best
    assert said(content)[0].startswith("Ahead in Fréchet distance, by single values whose spread is not known: flow")


def test_nobody_is_called_best_who_does_not_beat_no_network_in_the_score_that_ranks():
    results = compared({"flow": (2.0, 0.9, 0.1), "gan": (0.2, 0.8, 0.1)})
    assert "Ahead of the other models in coverage, but no better than no network in Fréchet distance: flow" in said(results)[1]
    cells = {row.name: row.cells for _, table in tables.scorecards(results) for row in table.rows}
    assert [cell.best for cell in (*cells["flow"], *cells["gan"])] == [False, False, True, False]


def test_models_level_in_the_ranking_score_are_told_apart_by_others(content):
    for entry in content["models"]:
        entry["scores"]["frechet"]["spread"] = 0.5
    assert said(content)[0].startswith("No measurable difference in Fréchet distance: flow (0.1), ddpm")
    assert "They differ measurably in recall: flow (0.770), gan (0.680)." in said(content)


def test_intervals_play_no_part_in_who_is_best():
    """Intervals that overlap, as of few trainings, beside spreads that tell two models apart."""
    results = compared({"flow": (0.2, 0.9, 0.1), "gan": (0.3, 0.9, 0.1)})
    wide = tuple(
        dataclasses.replace(model, scores={name: dataclasses.replace(s, interval=(0.0, 1.0)) for name, s in model.scores.items()})
        for model in results.models
    )
    assert said(dataclasses.replace(results, models=wide))[0].startswith("Best in Fréchet distance: flow (0.2); next gan (0.3)")


def test_lucky_agreement_of_repeats_is_no_difference(content):
    """Spreads of zero: the floor's own spread still bounds what can be told."""
    content["models"] = content["models"][:2]
    for value, finding in ((0.148, "No measurable difference in Fréchet"), (0.149, "Best in Fréchet distance: flow (0.120)")):
        for entry, own in zip(content["models"], (0.120, value), strict=True):
            entry["scores"]["frechet"] |= {"value": own, "spread": 0.0}
        assert said(content)[0].startswith(finding)


@pytest.mark.parametrize(("share", "distinct"), [(0.95, False), (1.05, True)])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_one_rule_decides_every_comparison(content, share, distinct, spread):
    """Just below and just above two spreads of a difference: among models, against real data and against no network."""
    width, floor = max(spread, 0.01), 0.01
    rows = content["models"] = content["models"][:2]
    base = content["baseline"]

    def set_to(row, mean):
        row["scores"] = {"frechet": {"value": mean, "spread": spread}}

    set_to(rows[0], 0.5)
    set_to(rows[1], 0.5 + share * 2 * 2**0.5 * width)
    set_to(base, 1.9)
    assert ("Best in Fréchet distance: flow" in said(content)[0]) is distinct
    set_to(base, 0.5 + share * 2 * 2**0.5 * width)
    assert ("flow" in conditions.lacking(comparison(content))) is not distinct
    near = 0.1 + share * 2 * np.hypot(width, floor)
    set_to(base, near)
    assert statistics.blind(comparison(content), "frechet") is not distinct
    set_to(rows[0], near)
    assert any("within noise" in text for text in said(content)) is not distinct


def test_a_leader_of_a_wide_spread_is_not_named_as_the_next():
    results = compared({"flow": (0.2, 0.90, 0.1), "gan": (0.5, 0.80, 0.1), "ddpm": (0.3, 0.85, 0.1)})
    wide = dataclasses.replace(results.models[1].scores["coverage"], spread=0.2)
    gan = dataclasses.replace(results.models[1], scores={**results.models[1].scores, "coverage": wide})
    text = said(dataclasses.replace(results, models=(results.models[0], gan, results.models[2])))[1]
    assert text.startswith("Best in coverage: flow (90.0 %), gan (80.0 %); next ddpm (85.0 %)")


def test_the_rule_that_is_stated_is_the_one_that_is_used(content, monkeypatch):
    assert "below 0.028 in Fréchet distance as none, at n = 360" in " ".join(limits(comparison(content)))  # 2 sqrt(2) 0.010
    content["metrics"]["coverage"]["unit"] = "%"
    assert "2.8 percentage points in coverage" in " ".join(limits(comparison(content)))
    monkeypatch.setattr(statistics, "DIFFER", 3.0)
    for entry in content["models"]:
        entry["scores"]["frechet"] = {"value": 0.1, "spread": 0.002}
    assert "below 0.042 in Fréchet distance" in " ".join(limits(comparison(content)))  # 3 sqrt(2) 0.01, of real data


# Times, sweeps, calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "times"),
    [
        ((1.0, 1.1), (19.9, 20.5), "18"),
        ((1.0, 1.001), (20.0, 20.01), "20"),
        ((1.0, 3.0), (25.3, 40.0), "8.4"),
        ((1.0, 30.0), (25.3, 30.0), ""),
        ((1.0, 1.1), (1.2, 1.3), ""),
    ],
)
def test_speeds_are_compared_as_far_as_their_spread_supports_it(content, first, second, times):
    content["models"] = content["models"][:2]
    for entry, (low, high) in zip(content["models"], (first, second), strict=True):
        entry["sampling"] |= {"seconds_per_sample": low / 1000, "timing": {"batch": 64, "low": low / 1000, "high": high / 1000}}
    found = [text for text in said(content) if "Fastest" in text]
    assert found == ([f"Fastest to sample: flow (1 ms); slower: ddpm (at least {times} times as long)."] if times else [])
    del content["models"][0]["sampling"]["timing"]
    assert not any("Fastest" in text for text in said(content)), "its spread is not known"


def test_the_fastest_models_keep_their_own_times(content):
    """The second one's fastest turn is near the first one, its own time is not."""
    content["models"] = [make_model(name) for name in ("vae", "flow", "ddpm")]
    for entry, (own, low, high) in zip(
        content["models"], ((1.0, 1.0, 1.05), (25.0, 1.1, 30.0), (100.0, 100.0, 110.0)), strict=True
    ):
        entry["sampling"] |= {"seconds_per_sample": own / 1000, "timing": {"low": low / 1000, "high": high / 1000}}
    assert any(text.startswith("Fastest to sample: vae (1 ms), flow (25 ms); slower: ddpm") for text in said(content))


def test_times_of_joined_reports_rank_nobody():
    parts = {"flow": (0.2, 0.9, 0.1), "gan": (0.9, 0.9, 0.001)}
    reports = {name: compared({name: one}, protocol=Protocol("it", "it", 20)) for name, one in parts.items()}
    both = joined(reports)
    assert both.settings.timed == (("flow",), ("gan",))
    assert "Times do not compare, measured in different sessions: flow – gan." in said(both, "warning")
    assert not any("astest" in text for text in (*said(both), *standings(both).values()))
    assert "in different sessions" in " ".join(limits(both))


def test_budgets_are_equal_only_with_the_time_of_what_models_build_on(content):
    assert any(text.startswith("Training time of each: about 60.2 s") for text in said(content))
    model(content, "gan")["training"]["ancestor_seconds"] = 60.0
    assert any(re.match(r"Training took unequal time, \w+ \(60.2 s\), gan \(2.00 min\)", text) for text in said(content))
    for entry in content["models"]:
        entry["training"]["ancestor_seconds"] = 60.0
    assert any(text.startswith("Training time of each: about 2.00 min") for text in said(content))


@pytest.mark.parametrize(
    ("rows", "stages"),
    [
        (
            {"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2), "vae": (1.6, 0.9, 0.8)},
            "gan after 4.1 s; gan, flow after 8.2 s; flow after 16 s",
        ),
        (
            {"gan": (2.5, 0.4, 0.2), "flow": (2.1, 0.4, 0.2)},
            "flow after 4.1 s (no better than no network); no measurable difference after 8.2 s; "
            "no measurable difference after 16 s",
        ),
    ],
)
def test_the_verdict_says_who_leads_after_which_time_of_training(rows, stages):
    results = swept(rows)
    assert f"By time of training, in Fréchet distance: {stages}. One training of each." in said(results)
    assert "after 2 min" in " ".join(said(swept(rows, (4, 8, 120)))), "the budget, not the seconds measured"
    other = dataclasses.replace(results, sweep={**results.sweep, "flow": swept(rows, (1, 2, 3)).sweep["flow"]})
    assert not any("By time" in text for text in said(other)), "other budgets rank nothing"


def test_how_many_calls_are_enough(content):
    """Differences vary by .002 over samplings, and a single good point before a bad one does not count."""
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.0001}

    def drawn(calls, mean):  # the noise of one model's points is the same but for these
        values = [mean + 0.05 * at + 0.002 * ((at * calls) % 3 - 1) for at in (-2, -1, 0, 1, 2)]
        mean = sum(values) / len(values)
        return {"calls": calls, "scores": {"frechet": mean}, "values": {"frechet": values}}

    for name, curve in (
        ("flow", ((1, 0.3), (2, 0.09), (4, 0.046), (8, 0.047), (16, 0.033), (32, 0.03))),
        ("ddpm", ((1, 0.3), (4, 0.031), (8, 0.05), (16, 0.0315), (32, 0.03))),
    ):
        model(content, name)["curve"] = [drawn(*point) for point in curve]
    assert any("flow (16 calls), ddpm (16 calls)" in text for text in said(content))
    model(content, "ddpm")["curve"][-1] = drawn(32, 0.2)
    assert any("flow (16 calls), ddpm (4 calls)" in text for text in said(content))


# Measures that cannot be relied on, and warnings ----------------------------------------------------------------


def test_what_disqualifies_a_measure_stands_first(content):
    content["settings"] |= {"n": 11}
    content["baseline"]["scores"]["coverage"]["value"] = 0.958
    kinds = [finding.kind for finding in findings(comparison(content))]
    assert kinds[:2] == ["measure"] * 2
    assert "by coverage: no network (one Gaussian per class) is not measurably worse than real data" in said(content)[0]
    assert "n = 11" in said(content)[1]
    assert not any("flow" in text for text in said(content, "warning")), "a blind score accuses nobody"


@pytest.mark.parametrize(
    ("spaces", "named"),
    [(("efficientnet",), 1), (("pca", "efficientnet:224"), 1), (("inception:weights.pt",), 1), (("classifier", "pca"), 0)],
)
def test_a_judge_that_was_the_teacher_is_named(spaces, named):
    results = compared({"gan": (0.2, 0.9, 0.1), "flow": (0.5, 0.8, 0.1)}, settings=Settings(n=360, spaces=spaces))
    critic = {"part": "GAN", "critic": {"part": "ProjectedCritic", "side": 128}}
    taught = dataclasses.replace(results.models[0], config={"method": critic})
    results = dataclasses.replace(results, models=(taught, results.models[1]))
    assert sum("The judge is the teacher" in text and "gan" in text for text in said(results, "measure")) == named
    assert ("judged by its teacher" in standings(results)["gan"]) == bool(named)


@pytest.mark.parametrize(
    ("name", "scores", "finding"),
    [
        ("vae", {"frechet": 2.4}, "Worse than no network (1.900) in Fréchet distance: vae (2.400)."),
        ("gan", {"coverage": 0.745}, "Not measurably better than no network (0.740) in coverage: gan (0.745)."),
        ("gan", {"near_copies": 0.12}, "Memorisation, near-copies of training data: gan (12.00 %, real data 0.4 %)."),
        ("gan", {"precision": 0.85, "recall": 0.3}, "vary too little, beside real data: gan (precision 1.1×, recall 0.38×)."),
        (
            "vae",
            {"precision": 0.24, "recall": 0.8},
            "look wrong, beside real data: vae (precision 0.30×, recall 1.0×",
        ),
        (
            "vae",
            {"density": 0.55, "recall": 0.8},
            "vae (precision 0.92×, recall 1.0×, density 0.55×)",
        ),
        ("vae", {"sharpness": 0.5}, "Blurred, by fine detail: vae (0.50×)."),
        ("gan", {"sharpness": 1.9}, "Grainy, by fine detail: gan (1.9×)."),
        ("gan", {"precision": 0.85, "recall": 0.0, "density": 0.4}, None),
    ],
)
def test_planted_faults_are_told(content, name, scores, finding):
    content["metrics"]["near_copies"]["unit"] = "%"
    for metric, value in scores.items():
        put(content, name, metric, value)
    found = said(content, "warning")
    assert len(found) == (finding is not None)
    assert finding is None or finding in found[0]


@pytest.mark.parametrize(
    ("scores", "against"),
    [
        ({"sharpness": 0.02}, "but sharpness 0.020×"),
        ({"classifier_test": 0.947}, "but classifier test 94.7 %"),
        ({"neighbour_test": 0.9, "frechet": 2.4}, "but nearest-neighbour test 90.0 %, no better than no network"),
    ],
)
def test_samples_that_other_scores_tell_from_real_data_are_not_said_to_look_right(content, scores, against):
    gan, known = model(content, "gan"), describe()
    content["metrics"] |= {test: known[test].to_plain() for test in ("classifier_test", "neighbour_test")}
    for metric, value in {"precision": 0.85, "recall": 0.0, **scores}.items():
        gan["scores"][metric] = score(value, 0.008, ABOUT[metric][2] if metric in ABOUT else None)
    (sentence,) = [text for text in said(content, "warning") if "recall" in text]
    assert sentence.startswith("Samples lie in few places")
    assert against in sentence


def test_faults_of_toys(content):
    assert said(toy_content(content), "warning") == [
        "Modes are lost: gan (holds 6 of 8).",
        "Samples between the modes: vae (20.00 %).",
        "Modes are too narrow, beside the true width: gan (0.60).",
        "Modes are too wide, beside the true width: vae (1.8).",
    ]


def test_modes_from_their_mass(content):
    for name, mass in (("gan", [0.3, 0.3, 0.03, 0.37, 0.0]), ("flow", [0.2] * 5)):
        model(content, name)["scores"]["modes_held"] = {"extra": {"mass": mass}}
    assert said(content, "warning") == ["Modes are lost: gan (too little of 3, 5 of 5)."]


def test_unequal_conditions_are_told(content):
    model(content, "vae")["parameters"] = 4_000_000
    model(content, "ddpm")["conditioned"] = []
    model(content, "flow")["label_agreement"] = 0.62
    model(content, "gan")["warnings"] = ["3 steps were skipped"]
    text = " ".join(said(content))
    for wanted in ("differ in size: flow (402,314)", "ddpm (nothing)", "asked to be: flow (62 %", "gan: 3 steps were skipped"):
        assert wanted in text


def test_near_copies_are_judged_beside_those_of_real_data(content):
    content["floors"]["near_copies"] = {"value": 0.19, "spread": 0.02}
    put(content, "gan", "near_copies", 0.11)
    put(content, "vae", "near_copies", 0.21)  # two hundredths more than real data, which is one spread
    assert said(content, "warning") == []
    put(content, "gan", "near_copies", 0.31)
    assert len(said(content, "warning")) == 1
    content["floors"]["near_copies"] = None
    assert len(said(content, "warning")) == 1


def test_labels_are_judged_beside_those_of_real_data(content):
    content["settings"]["classifier_accuracy"] = 0.865
    model(content, "flow")["label_agreement"] = 0.79
    model(content, "gan")["label_agreement"] = 0.7
    assert [("flow" in text, "gan (70 %, real data 86 %)" in text) for text in said(content, "warning")] == [(False, True)]
    content["settings"]["n"] = 20  # .7 of 20 samples and .865 of 20 may differ by luck
    assert said(content, "warning") == []


def test_a_model_worse_than_a_guess_is_named(content):
    content["metrics"]["bpd"] = {"label": "bits per dimension", "better": "lower"}
    content["guesses"] = [{"name": "uniform guess", "scores": {"bpd": {"value": 8.0}}}]
    for name, value in (("flow", 8.06), ("ddpm", 7.99), ("gan", 1.3)):
        model(content, name)["scores"]["bpd"] = {"value": value, "spread": 0.01}
    assert said(content, "warning") == ["No better than uniform guess (8) in bits per dimension: ddpm (7.990), flow (8.060)."]


def test_a_model_without_finite_scores_wins_nothing(content):
    for metric in ("frechet", "coverage", "kid", "recall"):
        model(content, "flow")["scores"][metric]["value"] = float("nan")
    assert said(content)[0].startswith("Best in Fréchet distance: ddpm")
    assert said(content, "warning")[0] == "No finite score, so nothing is said: flow."


def test_a_code_without_active_units_is_named(content):
    vae = model(content, "vae")
    vae["latent"] = {"reconstruction": {}, "code": {"active": 0, "units": 2}}
    vae["training"]["steps"] = 159
    (worry,) = said(content, "warning")
    assert "vae (of 2)" in worry
    assert "159 steps may be too early" in worry
    assert "warmup" in worry


def test_the_documentation_has_every_threshold(content):
    page = (Path(__file__).parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")
    assert [name for name in conditions.THRESHOLDS if f"`{name}`" not in page] == []
    assert len(page.split()) <= 600
    assert "docs/findings.md" in report(content).to_html()


def test_a_model_is_worse_than_no_network_also_where_that_passes_as_real_data():
    info, level = {"frechet": MetricInfo("Fréchet distance", role="quality", priority=1)}, {"frechet": Score(0.03, 0.01)}
    models, base = (ModelResult("gan", scores={"frechet": Score(0.5, 0.01)}),), ModelResult("no network", scores=level)
    found = findings(Comparison(metrics=info, models=models, floors=level, baseline=base))
    assert any(finding.text.startswith("Worse than no network") for finding in found)
