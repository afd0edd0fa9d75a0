"""Whom the report calls better, by which measures, and how small a difference it can tell."""

from __future__ import annotations

import numpy as np
import pytest
from programs.report_pages import Reader
from programs.reporting import comparison, model, plain_notes, put, report, said, scorecards

from pushforward.report import limits as stated
from pushforward.report import statistics


def test_a_sound_comparison_names_winners_and_worries_of_nothing(content):
    assert said(content, "quality") == [
        "flow has the best Fréchet distance: 0.130 ± 0.008, next ddpm with 0.210 ± 0.008; real data scores 0.100 ± 0.010."
    ]
    put(content, "flow", "frechet", 0.128)
    assert said(content, "quality")[0].endswith("real data scores 0.100 ± 0.010, within noise of it.")
    assert said(content, "diversity")[0].startswith(
        "flow and ddpm lead in coverage, with no measurable difference between them at n = 360"
    )
    assert said(content, "speed") == [
        "gan and vae sample fastest, in 210 µs each (1 network call, 64 at once); flow takes 19 times as long (19 network "
        "calls) and ddpm 20 times as long (20 network calls)."
    ]
    assert said(content, "warning") == []
    _, table = scorecards(content)[0]
    assert [(row.name, c) for row in table.rows for c, cell in enumerate(row.cells) if cell.best] == [("flow", 0)]


def test_overlapping_intervals_are_no_difference(content):
    for entry in content["models"]:
        entry["scores"]["frechet"]["spread"] = 0.5
    assert said(content, "quality")[0].startswith(
        "flow, ddpm, gan and vae differ measurably in coverage (0.950 ± 0.008 for flow, 0.790 ± 0.008 for vae) and recall"
    )
    assert not any(cell.best for _, table in scorecards(content) for row in table.rows for cell in row.cells[:1])


def test_nobody_is_called_best_in_a_score_whose_spread_is_not_known(content):
    starred = [("flow", 0)]
    for key, value, best in (("error", 0.01, starred), ("spread", 0.01, starred), ("error", None, [])):
        for entry in content["models"]:
            entry["scores"]["frechet"] = {"value": entry["scores"]["frechet"]["value"], key: value}
        _, table = scorecards(content)[0]
        assert [(row.name, c) for row in table.rows for c, cell in enumerate(row.cells) if cell.best] == best
        texts = report(content).to_markdown(), " ".join(report(content).to_text().split())
        assert [text.count("No model is called best in a score with neither") for text in texts] == [not best] * 2
    assert said(content, "quality")[0].startswith(
        "flow scores best of the models in Fréchet distance, by a single value each, whose spread is not known: 0.130, next ddpm"
    )


def two_alike(content):
    """Two models and the no-network row within noise of real data in the Fréchet distance; the first repeats itself."""
    content["models"] = [model(content, "vae"), model(content, "flow")]
    content["settings"] |= {"n": 50, "repeats": 1}
    content["floors"]["frechet"] = {"value": 0.08, "spread": 0.05}
    for row, values in zip(
        (*content["models"], content["baseline"]), ((0.047, 0.64, 0.02), (0.05, 1, 1), (0.049, 1, 1)), strict=True
    ):
        row["scores"] = {name: {"value": value} for name, value in zip(("frechet", "coverage", "recall"), values, strict=True)}
    return content


def test_a_distance_that_sees_nothing_never_speaks_for_quality(content):
    content = two_alike(content)
    (quality,), (diversity,) = said(content, "quality"), said(content, "diversity")
    assert quality == (
        "vae and flow differ measurably in coverage (1 for flow, 0.640 for vae) and recall (1 for flow, 0.0200 for vae), but "
        "not in Fréchet distance at n = 50: 0.0470 and 0.0500; real data scores 0.08 ± 0.05, which is no better: these values "
        "all lie within noise."
    )
    assert diversity.startswith(
        "flow scores best of the models in coverage, but not measurably better than no network (1): 1, next vae"
    )
    assert not any("quality" in sentence or "cannot tell a good" in sentence for sentence in said(content))
    assert not any(cell.best for _, table in scorecards(content) for row in table.rows for cell in row.cells), (
        "no network is as good"
    )
    assert "repeated samplings" not in report(content).to_text()
    model(content, "flow")["curve"] = [{"calls": c, "scores": {"frechet": f}} for c, f in ((1, 0.05), (4, 0.051), (16, 0.049))]
    assert plain_notes(content) == [
        "Fréchet distance at n = 50 cannot tell 1 call of flow from 16: even the no-network row is not measurably worse than "
        "real data."
    ]


def test_a_code_without_active_units_is_named_beside_no_alarm(content):
    vae = model(content, "vae")
    vae["latent"] = {"reconstruction": {}, "code": {"active": 0, "units": 2}}
    vae["health"] = {"series": {"active_units": {"step": [1, 100, 159], "value": [0.0, 0.0, 0.0]}}}
    vae["training"]["steps"] = 159
    (worry,) = said(content, "warning")
    assert worry == (
        "Of vae, at the end no unit of the code is active (0 of 2): samples of a class are nearly the same; after 159 steps this "
        "may be too early to call collapse. Train longer, or set warmup to 0.3."
    )
    text = Reader(report(content).to_html()).text
    assert "No alarm was raised, but at the end no unit" in text
    assert "none is posterior collapse" not in text


def test_lucky_agreement_of_repeats_is_no_difference(content):
    """Spreads of zero: the floor's own spread still bounds what can be told."""
    content["models"] = content["models"][:2]
    for entry, value in zip(content["models"], (0.120, 0.148), strict=True):
        entry["scores"]["frechet"] |= {"value": value, "spread": 0.0}
    assert "No measurable difference in Fréchet distance" in said(content, "quality")[0]
    content["models"][1]["scores"]["frechet"]["value"] = 0.149
    assert "flow has the best Fréchet distance" in said(content, "quality")[0]


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
    assert ("flow has the best Fréchet distance" in said(content, "quality")[0]) is distinct
    set_to(base, 0.5 + share * 2 * 2**0.5 * width)
    assert said(content)[0].startswith("No model measurably beats the no-network row") is not distinct
    near = 0.1 + share * 2 * np.hypot(width, floor)
    set_to(base, near)
    assert statistics.blind(comparison(content), "frechet") is not distinct
    set_to(rows[0], near)
    assert said(content, "quality")[0].endswith(", within noise of it.") is not distinct


def test_whoever_does_not_beat_the_no_network_row_is_named(content):
    put(content, "vae", "frechet", 2.4)
    put(content, "gan", "coverage", 0.745)
    warnings = said(content, "warning")
    assert any(
        sentence == "vae is measurably worse than the no-network row in Fréchet distance: 2.400 ± 0.008 against 1.900 ± 0.010."
        for sentence in warnings
    )
    assert any(sentence.startswith("gan does not measurably beat the no-network row in coverage: 0.745") for sentence in warnings)
    assert not any("flow" in sentence or "ddpm" in sentence for sentence in warnings)


def test_features_of_too_few_dimensions_are_the_first_worry(content):
    content["settings"] |= {"n": 11, "dimensions": 1}
    assert said(content)[0] == (
        "These features have 1 dimension (n = 11) and cannot see most differences: do not rely on these scores."
    )
    content["data"]["shape"] = [1]
    assert not any("These features" in sentence for sentence in said(content))


def test_a_blind_score_accuses_nobody(content):
    content["baseline"]["scores"]["coverage"]["value"] = 0.958
    warnings = said(content, "warning")
    assert said(content)[0] == (
        "On this data coverage cannot show that a model is good: even Gaussians fitted to the training data, without any "
        "network, are not measurably worse than real data. A model that scores measurably worse is bad."
    ), "before what rests on it"
    assert not any("flow" in sentence for sentence in warnings)
    assert any(
        sentence.startswith("gan and vae are measurably worse than the no-network row in coverage") for sentence in warnings
    )


def test_models_within_noise_of_the_no_network_row_are_not_lumped_with_worse_ones(content):
    """.030 and .069 against .034: the one is within noise, the other is twice as far from the data."""
    content["models"] = content["models"][:3]
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.002}
    put(content, "baseline", "frechet", 0.034)
    for row in (content["baseline"], *content["models"]):
        row["scores"]["frechet"]["spread"] = 0.002
    for name, value in (("flow", 0.030), ("ddpm", 0.069), ("gan", 0.02)):
        put(content, name, "frechet", value)
    warnings = [sentence for sentence in said(content, "warning") if "no-network row in Fréchet" in sentence]
    assert warnings == [
        "flow does not measurably beat the no-network row in Fréchet distance: 0.0300 ± 0.0020 against 0.0340 ± 0.0020, within "
        "noise of it.",
        "ddpm is measurably worse than the no-network row in Fréchet distance: 0.0690 ± 0.0020 against 0.0340 ± 0.0020.",
    ]
    put(content, "gan", "frechet", 0.033)
    assert said(content)[0] == (
        "No model measurably beats the no-network row (one Gaussian per class) in Fréchet distance (0.0340 ± 0.0020): flow and "
        "gan are within noise of it (0.0300 ± 0.0020 and 0.0330 ± 0.0020); ddpm is measurably worse (0.0690 ± 0.0020)."
    )


def test_nobody_beats_the_no_network_row(content):
    content["baseline"]["scores"]["frechet"]["value"] = 0.02
    first = "No model beats the no-network row (one Gaussian per class) in Fréchet distance (0.020 ± 0.010)"
    all_worse = f"{first}: flow, ddpm, gan and vae are measurably worse"
    assert said(content, "baseline") == [f"{all_worse} (from 0.130 ± 0.008 to 0.920 ± 0.008)."]
    put(content, "flow", "frechet", 0.12)  # as real data, which is worse than the row as well
    assert said(content, "baseline")[0].startswith(all_worse)
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.001}
    put(content, "flow", "frechet", 0.13)
    assert said(content, "baseline")[0].startswith(all_worse)


def test_a_model_without_finite_scores_wins_nothing(content):
    for metric in ("frechet", "coverage", "kid", "recall"):
        model(content, "flow")["scores"][metric]["value"] = float("nan")
    assert said(content, "quality")[0].startswith("ddpm has the best Fréchet distance")
    assert said(content, "warning")[0].startswith("flow has no finite score")


def test_limits_come_from_the_floors(content):
    text = " ".join(stated.limits(comparison(content)))
    assert "At n = 360, two models must differ by 0.028 in Fréchet distance" in text  # 2 sqrt(2) 0.010
    content["metrics"]["coverage"]["unit"] = "%"
    assert "and 2.8 percentage points in coverage" in stated.noise_limits(comparison(content))
    assert "from the same noise" not in text, "no model has a ladder"
    assert "Each model was trained once" in text
    content["settings"]["seeds"] = 3
    assert "Each model was trained once" in " ".join(stated.limits(comparison(content))), (
        "a stated number is no spread over trainings"
    )


def test_the_rule_that_is_stated_is_the_one_that_is_used(content, monkeypatch):
    monkeypatch.setitem(statistics.THRESHOLDS, "differ", 3.0)
    for entry in content["models"]:
        entry["scores"]["frechet"] = {"value": 0.1, "spread": 0.002}
    text = stated.noise_limits(comparison(content))
    assert "At n = 360, two models must differ by 0.042 in Fréchet distance" in text  # 3 sqrt(2) 0.01, of real data
    assert "from 3 times the spread of their difference on, √(v² + w²)" in text
    assert "from 3 times the spread of their difference on" in report(content).to_text().replace("\n", " ")
