"""Parts of the report: which model to choose, settings that differ, axes, and what is drawn over points in the plane."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from pushforward.data import ImageSpace, VectorSpace
from pushforward.data.dataset import Dataset, Split
from pushforward.evaluation.measurements import Alarm, CurvePoint, Health, SampleTime, SamplingCost
from pushforward.evaluation.pictures import field_of, formation_of, mesh_of, pictures_of
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult, Settings
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import bounded, measured
from pushforward.paths import VP
from pushforward.report import Report
from pushforward.report.axes import Axis, padded, start_note
from pushforward.report.charts import Plot, line_chart
from pushforward.report.charts import Series as Line
from pushforward.report.choosing import choices
from pushforward.report.class_chart import class_section
from pushforward.report.curves import frontier
from pushforward.report.differences import differences, failures
from pushforward.report.sentences import unmarked
from pushforward.report.statistics import groups
from pushforward.report.verdict import MOST, claims, remarks
from pushforward.solvers import Heun
from pushforward.testing import Mixture
from pushforward.transports import Flow, Map

MEAN, STD = (0.5, -0.3), 0.4


def timed(seconds, calls):
    return SamplingCost(calls=calls, seconds_per_sample=seconds, timing=SampleTime(low=seconds, high=1.01 * seconds))


def compared(values, **more):
    """Models by name: Fréchet distance, seconds of a sample, network calls."""
    models = tuple(
        ModelResult(name, scores={"frechet": Score(value, 0.01)}, sampling=timed(seconds, calls))
        for name, (value, seconds, calls) in values.items()
    )
    info = {"frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality")}
    base = ModelResult("no network", scores={"frechet": Score(2.0, 0.01)})
    floors = {"frechet": Score(0.1, 0.01)}
    return Comparison("it", metrics=info, floors=floors, models=models, baseline=base, settings=Settings(n=360), **more)


def lines(comparison):
    return [unmarked(choice.text) for choice in choices(comparison)]


def test_the_score_that_ranks_models_is_the_first_of_its_table():
    comparison = compared({"flow": (0.2, 0.1, 40)})
    scores = {"recall": Score(0.5), **comparison.models[0].scores}
    info = {"recall": MetricInfo("Recall", "higher", "A share."), **comparison.metrics}
    models = (dataclasses.replace(comparison.models[0], scores=scores),)
    (_, names), *_ = groups(dataclasses.replace(comparison, metrics=info, models=models))
    assert names == ["frechet", "recall"]


def test_what_rounds_to_zero_has_no_sign():
    assert measured(-0.0001, 0.006) == ("0.000", "0.006")
    assert bounded(-0.0001, [-0.0002, 0.01]) == ("0.000", "[0.000, 0.010]")
    assert measured(-1.5, 0.1) == ("−1.50", "0.10")


def test_each_model_has_a_line_that_says_for_whom_it_is():
    values = {"gan": (0.9, 0.001, 1), "few": (0.5, 0.01, 4), "flow": (0.2, 0.1, 40), "old": (0.6, 0.1, 40), "bad": (2.0, 0.1, 40)}
    assert lines(compared(values)) == [
        "Choose gan if samples must come fast (1 ms each).",
        "Choose few if you want a better Fréchet distance than gan and less time for a sample than flow (0.500 ± 0.010, 10 ms "
        "each).",
        "Choose flow if Fréchet distance counts most (0.200 ± 0.010).",
        "No score speaks for old: flow (0.200 ± 0.010) and few (0.500 ± 0.010) are measurably better in Fréchet distance "
        "than its 0.600 ± 0.010, and no slower.",
        "Do not choose bad as it is: it does not beat no network in Fréchet distance (2.000 ± 0.010 against 2.000 ± 0.010). "
        "Train it longer.",
    ]
    both = {"flow": (0.2, 0.1, 40), "edm": (0.21, 0.1, 40), "gan": (0.9, 0.001, 1)}
    assert lines(compared(both)) == [
        "Choose flow or edm if Fréchet distance counts: they do not differ measurably in it at n = 360 (0.200 ± 0.010 and "
        "0.210 ± 0.010). Nor do they in the time of a sample: 100 ms (40 network calls).",
        "Choose gan if samples must come fast (1 ms each).",
    ]
    assert lines(compared({"flow": (0.2, 0.1, 40)})) == [], "nothing to choose between"


def test_a_blind_measure_speaks_for_nobody_but_can_speak_against():
    comparison = compared({"flow": (0.11, 0.1, 40), "gan": (0.3, 0.1, 1)})
    comparison = dataclasses.replace(comparison, baseline=ModelResult("no network", scores={"frechet": Score(0.1, 0.01)}))
    assert lines(comparison) == [
        "flow does not beat no network in Fréchet distance, which cannot show here that a model is good.",
        "Besides Fréchet distance, nothing that was measured speaks for flow or against it.",
        "Do not choose gan as it is: it is worse than no network in Fréchet distance (0.300 ± 0.010 against 0.100 ± 0.010). "
        "Train it longer.",
    ]


def test_a_curve_is_named_by_the_score_that_it_shows():
    comparison = compared({"flow": (0.2, 0.04, 8)})
    curve = (CurvePoint(calls=2, scores={"frechet": 0.8}), CurvePoint(calls=4, scores={"frechet": 0.4}))
    flow = dataclasses.replace(comparison.models[0], curve=curve)
    info = {"frechet": MetricInfo("Some score", "lower", role="quality")}
    page = Report(dataclasses.replace(comparison, models=(flow,), metrics=info)).to_html()
    assert "Some score against network calls" in page
    assert "Fréchet" not in page


def test_the_verdict_has_six_sentences_and_what_disqualifies_a_measure_stands_first(monkeypatch):
    from pushforward.report import ladder, verdict
    from pushforward.report.sentences import Sentence

    comparison = compared({"flow": (0.2, 0.1, 40), "gan": (0.9, 0.001, 1)})
    comparison = dataclasses.replace(comparison, settings=Settings(n=20, dimensions=1), data=DataInfo(shape=(9,)))
    more = [Sentence("calls", f"Map {number}.", "ladder") for number in range(9)]
    monkeypatch.setattr(ladder, "claims", lambda _: iter(more))
    assert verdict.ladder is ladder
    first = claims(comparison)
    assert len(first) == MOST
    assert [sentence.kind for sentence in first[:3]] == ["measure", "measure", "quality"]
    rest = [sentence.text for sentence in remarks(comparison)]
    assert rest[: len(more) - (MOST - 4)] == [sentence.text for sentence in more[MOST - 4 :]]


def test_the_order_of_the_page():
    rng = np.random.default_rng(0)
    from pushforward.evaluation.measurements import Pictures

    shown = {name: Pictures(rng.normal(size=(20, 2))) for name in ("flow", "gan", "real")}
    page = Report(compared({"flow": (0.2, 0.1, 40), "gan": (2.4, 0.001, 1)}, pictures=shown)).to_html()
    places = [page.index(f'<section id="{key}">') for key in ("verdict", "samples", "remarks", "choose", "scorecard", "cost")]
    assert places == sorted(places)


def test_settings_that_differ_are_listed_and_others_are_not():
    def config(lr, width):
        method = {"part": "Denoising", "network": {"part": "MLP", "widths": [width, width]}}
        return {"recipe": "flow", "training": {"lr": lr, "batch": 64, "clip": None}, "method": method}

    models = tuple(ModelResult(name, config=config(lr, width)) for name, lr, width in (("a", 0.001, 8), ("b", 0.003, 16)))
    (settings, training), (parts, method) = differences(Comparison(models=models))
    assert [settings, parts] == ["Settings that differ", "Method and networks: what differs"]
    assert [(row.name, [cell.value for cell in row.cells]) for row in training.rows] == [("training.lr", ["0.001", "0.003"])]
    assert [(row.name, [cell.value for cell in row.cells]) for row in method.rows] == [
        ("method.network.widths", ["[8, 8]", "[16, 16]"])
    ]
    text = Report(Comparison(models=models)).to_html()
    assert "training.lr" in text
    assert "<th scope=row>training.batch" not in text
    assert differences(Comparison(models=models[:1])) == []


def test_what_went_wrong_is_the_last_thing_on_the_page():
    alarms = (Alarm("collapse", 10, sentence="Modes are lost"), Alarm("collapse", 20, over=True))
    model = ModelResult("gan", health=Health(skipped="3 of 90 steps were skipped"), alarms=alarms, warnings=("It diverged.",))
    comparison = Comparison(models=(model,))
    assert failures(comparison) == ["gan: 3 of 90 steps were skipped.", "gan: 1 alarm of training.", "gan: It diverged."]
    page = Report(comparison).to_html()
    assert page.index("What went wrong") > page.rindex("<h3>", 0, page.index("What went wrong"))
    assert "<h3>" not in page[page.index("What went wrong") :]


@pytest.mark.parametrize(
    ("low", "high", "log", "note"),
    [
        (0.0, 1.0, False, ""),
        (0.2, 1.0, False, ""),
        (0.8, 1.0, False, " · axis does not start at\u00a00"),
        (0.1, 9.0, True, " · log scale"),
    ],
)
def test_axes_say_where_they_do_not_start_at_0(low, high, log, note):
    ends = (low, high) if log else padded(low, high)
    assert start_note(Axis(*ends, 0, 100, log=log)) == note


def test_quality_stands_against_seconds_in_proportion_to_calls():
    curve = tuple(CurvePoint(calls=calls, scores={"frechet": value}) for calls, value in ((2, 0.8), (4, 0.4), (8, 0.2)))
    comparison = compared({"flow": (0.2, 0.04, 8), "gan": (0.9, 0.001, 1)})
    flow = dataclasses.replace(comparison.models[0], curve=curve)
    chart = frontier(dataclasses.replace(comparison, models=(flow, comparison.models[1])))
    assert "flow: 0.800 at 0.0100<" in chart
    assert "flow: 0.200 at 0.0400<" in chart
    assert "gan: 0.900 at 0.00100<" in chart


def test_the_share_of_each_class_stands_beside_that_of_real_data():
    extra = {"share": [0.5, 0.1, 0.4], "real": [0.25, 0.25, 0.5]}
    models = tuple(ModelResult(name, scores={"class_distance": Score(0.25, extra=extra)}) for name in ("gan", "vae"))
    chart = class_section(Comparison(data=DataInfo(classes=("a", "<b>", "c")), models=models))
    for wanted in ("a: 25 % of real data", "vae, &lt;b&gt;: 10 %", "gan, c: 40 %"):
        assert wanted in chart
    heights = [float(number) for number in re.findall(r'class="band" [^>]*height="([\d.]+)"', chart)]
    assert heights[2] / heights[0] == pytest.approx(2, abs=0.01)
    assert class_section(Comparison(models=(ModelResult("gan"),))) == ""


# Points in the plane --------------------------------------------------------------------------------------------


def plane(steps=8):
    return Flow(Mixture(VP(), [list(MEAN)], STD), Heun(), steps)


def rows_of(space, n=60):
    split = Split((np.array(MEAN) + STD * np.random.default_rng(0).normal(size=(n, 2))).astype(np.float32))
    return Dataset("rows", space, split, split)


def test_velocities_and_trajectories_are_those_of_the_closed_form():
    """x_t = (1 - t) m + s(t) z with s^2 = (1 - t)^2 std^2 + t^2, on the straight path, whatever path the model knows."""
    flow = plane()
    field = field_of(flow, rows_of(flow.space))
    left, right, low, high = field.limits
    assert right - left == pytest.approx(high - low)
    side, mean = field.velocities.shape[2], np.array(MEAN)
    share = (np.arange(side) + 0.5) / side
    x = np.stack(np.meshgrid(left + share * (right - left), low + share * (high - low)), axis=-1)
    for number, t in enumerate(field.times[1:-1], 1):
        s = math.hypot((1 - t) * STD, t)
        moved = -mean + (t - (1 - t) * STD**2) / s**2 * (x - (1 - t) * mean)
        np.testing.assert_allclose(field.velocities[0, number], -moved, atol=2e-3)
    starts, ends = field.ways[0, :, :, 0], field.ways[0, :, :, -1]
    np.testing.assert_allclose(ends, mean + STD * starts, atol=0.03)
    assert field.classes == ("",)


def test_points_form_at_the_same_times_and_end_as_the_samples():
    flow = plane()
    samples = flow.sample(5)
    frames = formation_of(flow, samples, 5)
    assert [t for t, _ in frames] == pytest.approx(np.linspace(1, 0, 24).tolist())
    np.testing.assert_array_equal(frames[-1][1], samples.numpy())
    half = {round(t, 3): x for t, x in frames}[round(12 / 23, 3)]
    z = frames[0][1]
    t = 12 / 23
    np.testing.assert_allclose(half, (1 - t) * np.array(MEAN) + math.hypot((1 - t) * STD, t) * z, atol=0.02)


class Shear(nn.Module):
    """Noise of three numbers to the plane: (a, b, c) to (a + 2 b, b + 7 c)."""

    def forward(self, z, t=None, condition=None):
        return torch.stack([z[:, 0] + 2 * z[:, 1], z[:, 1] + 7 * z[:, 2]], dim=1)


def test_a_mesh_is_a_grid_of_noise_as_the_map_sees_it():
    space = VectorSpace((2,), (1.0, 0.0), (2.0, 1.0))
    mesh = mesh_of(Map(Shear(), space, (3,)))
    half = len(mesh) // 2
    assert mesh.shape == (34, 65, 2)
    np.testing.assert_allclose(mesh[0, :, 1], np.linspace(-2, 2, 65), atol=1e-5)
    np.testing.assert_allclose(mesh[0, :, 0], 1 + 2 * (-2 + 2 * np.linspace(-2, 2, 65)), atol=1e-5)
    np.testing.assert_allclose(mesh[half:, :, 1], np.linspace(-2, 2, 17)[:, None] * np.ones(65), atol=1e-5)
    assert mesh_of(plane()) is None


class Fixed(nn.Module):
    """Always the image that it holds, in model units."""

    def __init__(self, image):
        super().__init__()
        self.image = image

    def forward(self, z, t=None, condition=None):
        return self.image.expand(len(z), *self.image.shape)


def test_the_nearest_training_image_is_drawn_beside_a_sample():
    rng = np.random.default_rng(2)
    train, held = (rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8) for n in (30, 12))
    space = ImageSpace((1, 4, 4), (0.0,), (0.5,))
    data = Dataset("images", space, Split(train), Split(held))
    changed = train[7].astype(float) / 255
    changed[0, 0, 0] += 0.25 if changed[0, 0, 0] < 0.5 else -0.25
    model = Map(Fixed(torch.from_numpy(2 * changed).float()), space, (3,))
    nearest = pictures_of(model, None, data).nearest
    assert (nearest.x[0, :, :, 0] == train[7, 0]).all()
    assert nearest.distances[0] == pytest.approx(0.5, abs=0.01), "a quarter over a standard deviation of a half"
    flat = [array.reshape(len(array), -1) / 255 / 0.5 for array in (held, train)]
    gaps = np.linalg.norm(flat[0][:, None] - flat[1][None], axis=2).min(1)
    assert nearest.usual == pytest.approx(float(np.median(gaps)))


def test_values_about_zero_do_not_take_the_log_scale_from_the_others():
    lines = [Line("a", 0, (1, 4, 16), (0.5, 0.02, -0.0001))]
    chart = line_chart(lines, "calls", "Distance", Plot(log_x=True, log_y=True), floor=(0.0, 0.001))
    heights = [float(place) for place in re.findall(r'class="dot"><title>[^<]*</title><circle cx="[^"]*" cy="([^"]*)"', chart)]
    assert np.diff(heights).min() > 60
    assert "log scale, what real data may score at the edge" in chart
