"""What the report says of planted faults."""

from __future__ import annotations

import pytest
from programs.report_pages import check_page, toy_content
from programs.reporting import ABOUT, model, put, report, said, score, scorecards

from pushforward.metrics import describe


def test_high_precision_far_from_the_data_does_not_look_right(content):
    for metric, value in {"precision": 0.85, "recall": 0.0, "density": 0.4}.items():
        put(content, "gan", metric, value)
    assert said(content, "warning") == []


@pytest.mark.parametrize(
    ("name", "scores", "sentence"),
    [
        (
            "gan",
            {"near_copies": 0.12},
            "Memorisation: samples of gan (12.00 %) are near-copies of training examples, more than real data's",
        ),
        (
            "gan",
            {"precision": 0.85, "recall": 0.3},
            "Samples of gan (precision 1.1×, recall 0.38× real data's) look like real examples but vary too little",
        ),
        (
            "vae",
            {"precision": 0.24, "recall": 0.8},
            "Samples of vae (density 1.1×, precision 0.30×, recall 1.0× real data's) cover the data, but many look wrong.",
        ),
        (
            "vae",
            {"density": 0.55, "recall": 0.8},
            "Samples of vae (density 0.55×, precision 0.92×, recall 1.0× real data's) cover the data, but many look wrong.",
        ),
        ("vae", {"sharpness": 0.5}, "Samples are blurred, by their fine detail: vae (0.50× real data's)."),
        ("gan", {"sharpness": 1.9}, "Samples are grainy, by their fine detail: gan (1.9× real data's)."),
    ],
)
def test_planted_faults_are_told(content, name, scores, sentence):
    for metric, value in scores.items():
        put(content, name, metric, value)
    warnings = said(content, "warning")
    assert len(warnings) == 1
    assert warnings[0].startswith(sentence)


@pytest.mark.parametrize(
    ("scores", "against"),
    [
        ({"sharpness": 0.02}, "but sharpness 0.020×"),
        ({"classifier_test": 0.947}, "but classifier test 94.7 %"),
        ({"neighbour_test": 0.9, "frechet": 2.4}, "but nearest-neighbour test 90.0 % and no better than no network"),
    ],
)
def test_samples_that_other_scores_tell_from_real_data_are_not_said_to_look_right(content, scores, against):
    gan, known = model(content, "gan"), describe()
    content["metrics"] |= {test: known[test].to_plain() for test in ("classifier_test", "neighbour_test")}
    for metric, value in {"precision": 0.85, "recall": 0.0, **scores}.items():
        gan["scores"][metric] = score(value, 0.008, ABOUT[metric][2] if metric in ABOUT else None)
    (sentence,) = [text for text in said(content, "warning") if "recall" in text]
    assert sentence.startswith(f"Samples of gan (precision 1.1×, recall 0× real data's, {against}) lie in few places")
    assert "look like real" not in sentence
    gan["scores"] |= {"sharpness": score(0.98, 0.008, 1.0), "frechet": score(0.44, 0.008, 0.1)}
    gan["scores"] |= {test: score(0.75, 0.008, None) for test in ("classifier_test", "neighbour_test")}
    assert "look like real examples but vary too little" in said(content, "warning")[0]


def test_faults_of_toys(content):
    content = toy_content(content)
    warnings = said(content, "warning")
    assert warnings == [
        "Modes are lost: gan holds 6 of 8.",
        "Samples fall between the modes, where no data is: vae (20.00 %).",
        "Modes are too narrow (width over the true one): gan (0.600).",
        "Modes are too wide (width over the true one): vae (1.800).",
    ]


def test_modes_from_their_mass(content):
    for name, mass in (("gan", [0.3, 0.3, 0.03, 0.37, 0.0]), ("flow", [0.2] * 5)):
        model(content, name)["scores"]["modes_held"] = {"extra": {"mass": mass}}
    assert said(content, "warning") == ["Modes are lost: gan holds 3 of 5 (too little of modes 3 and 5)."]


def test_unequal_conditions_are_told(content):
    model(content, "gan")["training"]["seconds"] = 120.0
    model(content, "vae")["parameters"] = 4_000_000
    model(content, "ddpm")["conditioned"] = []
    model(content, "flow")["label_agreement"] = 0.62
    content["settings"]["n"] = 90
    model(content, "gan")["warnings"] = ["3 steps were skipped"]
    text = " ".join(said(content))
    assert "All made 2,990 training steps, which took from 60.2 s (flow) to 2 min (gan)." in text
    model(content, "gan")["training"]["steps"] = 1000
    text = " ".join(said(content))
    assert "Training took unequal time, from 60.2 s (flow) to 2 min (gan)" in text
    assert "vae has 10 times the parameters of gan" in text
    assert "flow, gan and vae were given class labels, the others were not" in text
    model(content, "vae")["conditioned"] = ["age", "label"]
    text = " ".join(said(content))
    assert "flow and gan were given class labels; vae was given age and class labels, the others were not" in text
    assert "recognises too few samples as the class they were asked to be: flow (62 %)." in text
    assert "Only 90 samples" in text
    assert "gan: 3 steps were skipped" in text


def test_near_copies_are_judged_beside_those_of_real_data(content):
    content["floors"]["near_copies"] = {"value": 0.19, "spread": 0.02}
    put(content, "gan", "near_copies", 0.11)
    put(content, "vae", "near_copies", 0.21)  # two hundredths more than real data, which is one spread
    assert said(content, "warning") == []
    put(content, "gan", "near_copies", 0.31)
    (worry,) = said(content, "warning")
    assert worry.startswith(
        "Memorisation: samples of gan (31.00 %) are near-copies of training examples, more than real data's 19.0 %."
    )
    content["floors"]["near_copies"] = None
    assert "more than the 1.0 % that this report allows" in said(content, "warning")[0]


def test_labels_are_judged_beside_those_of_real_data(content):
    content["settings"]["classifier_accuracy"] = 0.865
    model(content, "flow")["label_agreement"] = 0.79
    model(content, "gan")["label_agreement"] = 0.89
    assert said(content, "warning") == []
    model(content, "gan")["label_agreement"] = 0.7
    assert said(content, "warning") == [
        "A classifier recognises too few samples as the class they were asked to be: gan (70 %); "
        "of real examples it recognises 86 %."
    ]
    content["settings"]["n"] = 20  # .7 of 20 samples and .865 of 20 may differ by luck
    assert not any("recognises" in worry for worry in said(content, "warning"))


def test_a_model_worse_than_a_guess_is_named(content):
    guess = {"name": "uniform guess over 256 levels", "scores": {"bpd": {"value": 8.0}}}
    content["metrics"]["bpd"] = {"label": "bits per dimension", "better": "lower"}
    content["guesses"] = [guess]
    for name, value in (("flow", 8.06), ("ddpm", 7.99), ("gan", 1.3)):
        model(content, name)["scores"]["bpd"] = {"value": value, "spread": 0.01}
    assert [sentence for sentence in said(content, "warning") if "bits" in sentence] == [
        "ddpm is not measurably better than uniform guess over 256 levels in bits per dimension: 7.990 ± 0.010 against 8.",
        "flow is measurably worse than uniform guess over 256 levels in bits per dimension: 8.060 ± 0.010 against 8.",
    ]
    _, table = scorecards(content)[-1]
    row = next(row for row in table.rows if row.name == guess["name"])
    assert [cell.value for cell in row.cells][[column.label for column in table.columns].index("bits per dimension")] == "8"
    check_page(report(content).to_html())


def test_budgets_are_equal_only_with_the_time_of_what_models_build_on(content):
    for entry in content["models"]:
        entry["training"]["steps"] += len(entry["name"])
    assert said(content, "training")[0].startswith("Each was trained once, for about 60.2 s")
    model(content, "gan")["training"]["ancestor_seconds"] = 60.0
    (sentence,) = said(content, "training")
    assert sentence.startswith("Training took unequal time, from")
    assert "to 2.00 min (gan)" in sentence
    for entry in content["models"]:
        entry["training"]["ancestor_seconds"] = 60.0
    assert said(content, "training")[0].startswith("Each was trained once, for about 2.00 min")
