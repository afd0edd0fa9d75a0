"""One figure has the same digits and uncertainty in sentences and tables; what the Fréchet distance of points says."""

import dataclasses

import pytest
from programs.reporting import said

from pushforward.evaluation.measurements import CurvePoint, SampleTime, SamplingCost
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult, Settings
from pushforward.metrics import Score, describe
from pushforward.report import Report
from pushforward.report.bias import bias_note
from pushforward.report.captions import curve_notes
from pushforward.report.markup import whole_options
from pushforward.report.sentences import unmarked
from pushforward.report.tables import score_cell, score_column
from pushforward.report.verdict import claims

METRICS = ("energy", "frechet", "w2", "coverage", "near_copies", "held_out_ratio", "density")
FLOORS = dict(zip(METRICS, (0.0, 0.00692, 0.24, 0.969, 0.051, 0.83, 1.0283), strict=True))
SPREADS = dict(zip(METRICS, (0.004, 0.004, 0.02, 0.015, 0.01, 0.3, 0.04), strict=True))
GAUSSIAN = (0.037, 0.02, 0.57, 0.59, 0.007, 0.7, 0.27)


def stated(value, spread, half=None):
    """A score with an interval that is wider than its spread."""
    wide = 3 * spread if half is None else half
    return Score(value, spread, values=(value, value), interval=(value - wide, value + wide))


def points(models, base=GAUSSIAN, seconds=None):
    """A comparison on points in two dimensions: for each model its scores in the order of METRICS."""
    known = {name: describe()[name] for name in METRICS}

    def scores(values):
        return {name: stated(value, SPREADS[name]) for name, value in zip(METRICS, values, strict=False)}

    rows = []
    for name, values in models.items():
        time = (seconds or {}).get(name, 1.0)
        sampling = SamplingCost(calls=1, seconds_per_sample=time, timing=SampleTime(low=time, high=1.01 * time))
        rows.append(ModelResult(name, scores=scores(values), sampling=sampling))
    return Comparison(
        "it",
        data=DataInfo("moons", shape=(2,)),
        metrics=known,
        floors={name: Score(value, SPREADS[name]) for name, value in FLOORS.items()},
        models=tuple(rows),
        baseline=ModelResult("no network (one Gaussian)", scores=scores(base)),
        settings=Settings(n=300, repeats=2),
    )


FLOW, VAE, GAN = (
    (0.002, 0.019, 0.30, 0.78, 0.01, 0.9),
    (0.025, 0.021, 0.43, 0.67, 0.01, 0.9),
    (0.039, 0.05, 0.54, 0.66, 0.01, 0.9),
)


@pytest.mark.parametrize(
    ("models", "base", "sentence"),
    [
        (
            {"flow": FLOW, "vae": VAE, "gan": GAN},
            GAUSSIAN,
            "flow and vae do not differ measurably, nor from no network; Wasserstein distance W2 separates flow from no "
            "network (0.30 [0.24, 0.36] for flow, 0.57 [0.51, 0.63] for no network).",
        ),
        (
            {"flow": FLOW, "vae": VAE},
            (1.0, 0.9, 0.9, 0.1),
            "flow and vae do not differ measurably; Wasserstein distance W2 separates flow from vae "
            "(0.30 [0.24, 0.36] for flow, 0.43 [0.37, 0.49] for vae).",
        ),
        (
            {"vae": VAE, "gan": GAN},
            (0.037, 0.0, 0.57, 0.59),
            "no network is ahead of vae and gan; in Wasserstein distance W2 the order is reversed: vae is ahead of no network "
            "(0.43 [0.37, 0.49] for vae, 0.57 [0.51, 0.63] for no network).",
        ),
        (
            {"vae": VAE, "gan": GAN},
            (0.037, 0.0, 0.46, 0.59),
            "no network is ahead of vae and gan; in Wasserstein distance W2 as well no network is ahead of gan "
            "(0.46 [0.40, 0.52] for no network, 0.54 [0.48, 0.60] for gan).",
        ),
        (
            {"flow": FLOW, "twin": FLOW},
            GAUSSIAN,
            "flow and twin do not differ measurably, nor from no network; Wasserstein distance W2 separates flow from no network",
        ),
        (
            {"flow": FLOW, "twin": FLOW},
            FLOW,
            "flow and twin do not differ measurably, nor from no network; in Wasserstein distance W2, energy distance and "
            "coverage flow, twin and no network do not differ measurably either.",
        ),
        (
            {"flow": FLOW[:2], "twin": FLOW[:2]},
            (1.0, 0.9, 0.9),
            "flow and twin do not differ measurably; in energy distance flow and twin do not differ measurably either.",
        ),
        (
            {"vae": VAE[:2], "gan": VAE[:2]},
            (0.025, 0.0),
            "no network is ahead of vae and gan; in energy distance no model differs measurably from no network.",
        ),
        ({"flow": FLOW, "gan": GAN}, (0.037, 0.02, 0.57), "flow is not measurably ahead of no network; Wasserstein distance W2"),
    ],
    ids=[
        "level with no network",
        "level",
        "no network ahead",
        "ahead in both",
        "twins",
        "nothing separates",
        "few scores",
        "ahead alone",
        "one level with no network",
    ],
)
def test_of_points_the_frechet_distance_says_whom_it_does_not_tell_apart_and_what_does(models, base, sentence):
    (text,) = said(points(models, base), "distance")
    assert text.startswith(f"In Fréchet distance, which compares mean and covariance of points alone, {sentence}")
    assert text in [claim.text for claim in claims(points(models, base))]


def test_the_frechet_distance_of_points_needs_no_sentence_where_one_model_leads_nor_where_it_ranks():
    ahead = points({"flow": (0.002, 0.007, 0.3), "gan": GAN}, (0.04, 0.2, 0.6))
    assert said(ahead, "distance") == []
    images = points({"flow": FLOW, "vae": VAE})
    assert said(dataclasses.replace(images, data=DataInfo("digits", shape=(1, 8, 8))), "distance") == []
    assert said(points({"flow": FLOW}), "distance") == []


def test_models_that_do_not_differ_in_the_ranking_score_are_told_apart_by_w2_first():
    (text,) = said(points({"flow": FLOW, "vae": (0.004, *VAE[1:])}), "quality")
    assert text.startswith("flow and vae differ measurably in Wasserstein distance W2 (0.30 [0.24, 0.36] for flow, 0.43")


# Figures ------------------------------------------------------------------------------------------------------------


def test_sentences_state_a_score_as_its_table_does_and_name_the_spread_of_real_data():
    comparison = points({"flow": FLOW, "gan": GAN})
    cell = score_cell(comparison, comparison.models[0], "coverage")
    (text,) = said(comparison, "diversity")
    assert text.startswith(f"flow has the best coverage: {cell.value} {cell.interval}, next gan with 0.66 [0.61, 0.71]; ")
    assert text.endswith("real data scores 0.969 ± 0.015 (spread).")
    assert all(" ± " not in claim.text.partition("; real data")[0] for claim in claims(comparison))
    page = Report(comparison).to_html()
    assert "<strong>±</strong> standard deviation over repeats, no interval" in page
    assert "± is the standard deviation over repeats, where there is no interval" in page


def test_what_real_data_scores_has_the_digits_of_its_table():
    comparison = points({"flow": FLOW, "gan": GAN})
    models = [dataclasses.replace(m, scores={**m.scores, "frechet": Score(0.02, 0.004, bias=0.0069)}) for m in comparison.models]
    assert "about 0.007 in Fréchet distance" in bias_note(dataclasses.replace(comparison, models=tuple(models)))
    copies = points({"flow": (*FLOW[:4], 0.2234, 0.9), "gan": GAN})
    (text,) = [text for text in said(copies, "warning") if "near-copies" in text]
    assert text == "Memorisation: samples of flow (22 %) are near-copies of training examples, more than real data's 5.1 %."
    assert score_cell(copies, copies.models[0], "near_copies").value == "22"
    dense = points({"flow": (*FLOW, 0.5), "vae": (0.004, *VAE[1:], 1.0)})
    (text,) = said(dense, "quality")
    assert "; 1.03 is right)" in text
    assert score_column(dense, "density").hint == "→ 1.03 in real data"


def test_points_of_a_curve_have_the_digits_that_the_spread_of_real_data_supports():
    curve = tuple(CurvePoint(calls=n, steps=n, scores={"energy": value}) for n, value in ((1, 0.31234), (4, 0.2), (8, 0.1002)))
    (model,) = points({"flow": FLOW}).models
    comparison = dataclasses.replace(points({"flow": FLOW}), models=(dataclasses.replace(model, curve=curve),))
    assert [unmarked(note) for note in curve_notes(comparison)] == ["flow still improves at 8 calls (0.100)."]


def test_near_copies_are_right_where_real_data_has_them_and_none_is_best():
    comparison = points({"flow": FLOW, "gan": (*GAN[:4], 0.001, 0.9)})
    assert score_column(comparison, "near_copies").named == "Near-copies → 5.1 %"
    assert score_column(comparison, "near_copies").hint == "→ 5.1 % in real data"
    assert "Fewer prove nothing by themselves" in describe()["near_copies"].what


def test_held_out_neighbours_have_a_unit():
    comparison = points({"flow": FLOW, "gan": GAN})
    assert score_column(comparison, "held_out_ratio").named == "Held-out neighbours → 0.8 × chance"


def test_all_slower_models_are_named_with_how_many_times_as_long_they_take():
    models = dict.fromkeys(("gan", "flow", "ddpm"), FLOW)
    (text,) = said(points(models, seconds={"gan": 1.0, "flow": 9.0, "ddpm": 20.0}), "speed")
    assert text.endswith(
        "each (1 network call); flow takes 8.9 to 9.1 times as long (1 network call) and ddpm 20 times as long (1 network call)."
    )
    many = dict.fromkeys(("gan", "a", "b", "c", "d"), FLOW)
    (text,) = said(points(many, seconds={"gan": 1.0, "a": 5.0, "b": 6.0, "c": 7.0, "d": 20.0}), "speed")
    assert text.endswith("; a, b, c and d take from 5 times as long (a) to 20 times as long (d).")


def test_names_of_options_are_set_so_that_no_line_breaks_within_them_and_copies_stay_plain():
    page = whole_options('<p title="--raw">go on with --write-schema a-b, not --, or x--y</p><svg><text>--n</text></svg>')
    marked = '<span class="option">--write-schema</span>'
    assert page == f'<p title="--raw">go on with {marked} a-b, not --, or x--y</p><svg><text>--n</text></svg>'
    models = points({"flow": FLOW, "gan": GAN}).models
    comparison = Comparison("it", models=models, settings=Settings(budget="--budget 4s"), commands=("pushforward list --json",))
    html = Report(comparison).to_html()
    for place in ("trained with {}", "<pre>pushforward list {}"):
        option = "--json" if "pre" in place else "--budget"
        assert place.format(f'<span class="option">{option}</span>') in html
    assert ".option { white-space: nowrap; }" in html
