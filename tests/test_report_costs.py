"""What the report says of network calls, time and memory."""

from __future__ import annotations

import pytest
from programs.reporting import comparison, make_model, model, plain_notes, report, said

from pushforward.report import captions, costs
from pushforward.report.choosing import choices
from pushforward.report.sprites import Look
from pushforward.report.story import story


def test_how_many_calls_are_enough(content):
    points = ((1, 1, 3.0), (7, 4, 0.4), (15, 8, 0.13), (31, 16, 0.125))
    model(content, "flow")["curve"] = [{"calls": c, "steps": s, "scores": {"frechet": f}} for c, s, f in points]
    model(content, "ddpm")["curve"] = [{"calls": c, "scores": {"frechet": 1 / c}} for c in (1, 2, 4, 8)]
    assert plain_notes(content) == [
        "For flow, 15 calls (8 steps: 0.130) are enough, not measurably worse than 31 calls (16 steps: 0.125); more only "
        "cost time.",
        "ddpm still improves at 8 calls (0.125).",
    ]


def test_a_plateau_above_the_best_of_a_curve_is_not_enough(content):
    """Differences vary by .002 over samplings, and a single good point before a bad one does not count."""
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.0001}

    def sampled(calls, mean):  # the noise of one model's points is the same but for these
        values = [mean + 0.05 * at + 0.002 * ((at * calls) % 3 - 1) for at in (-2, -1, 0, 1, 2)]
        mean = sum(values) / len(values)
        return {"calls": calls, "scores": {"frechet": mean}, "values": {"frechet": values}}

    for name, curve in (
        ("flow", ((1, 0.3), (2, 0.09), (4, 0.046), (8, 0.047), (16, 0.033), (32, 0.03))),
        ("ddpm", ((1, 0.3), (4, 0.031), (8, 0.05), (16, 0.0315), (32, 0.03))),
    ):
        model(content, name)["curve"] = [sampled(*point) for point in curve]
    flow, ddpm = plain_notes(content)
    assert flow.startswith("For flow, 16 calls (")
    assert "are enough, not measurably worse than 32 calls (" in flow
    assert ddpm.startswith("For ddpm, 16 calls (")
    assert "are enough, not measurably worse than 32 calls (" in ddpm
    model(content, "ddpm")["curve"][-1] = sampled(32, 0.2)
    assert plain_notes(content)[1].startswith("For ddpm, 4 calls (0.0314")


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ((1.0, 1.1), (19.9, 20.5), "flow samples fastest, in 1 ms each (19 network calls, 64 at once); ddpm takes 18 to "
         "21 times as long (20 network calls)."),
        ((1.0, 1.001), (20.0, 20.01), "flow samples fastest, in 1 ms each (19 network calls, 64 at once); ddpm takes 20 "
         "times as long (20 network calls)."),
        ((1.0, 1.0), (253.4, 253.6), "flow samples fastest, in 1 ms each (19 network calls, 64 at once); ddpm takes 250 "
         "times as long (20 network calls)."),
        ((1.0, 3.0), (25.3, 40.0), "flow samples fastest, in 1 ms each (19 network calls, 64 at once); ddpm takes at "
         "least 8.4 times as long (20 network calls)."),
        ((1.0, 30.0), (25.3, 30.0), "No measurable difference in sampling time: from 1 ms to 25.3 ms each, 64 at once."),
        ((1.0, 1.1), (1.2, 1.3), "No measurable difference in sampling time: from 1 ms to 1.20 ms each, 64 at once."),
    ],
)  # fmt: skip
def test_speeds_are_compared_as_far_as_their_spread_supports_it(content, first, second, sentence):
    content["models"] = content["models"][:2]
    for entry, (low, high) in zip(content["models"], (first, second), strict=True):
        entry["sampling"] |= {"seconds_per_sample": low / 1000, "timing": {"batch": 64, "low": low / 1000, "high": high / 1000}}
    assert said(content, "speed") == [sentence]


def test_the_fastest_models_keep_their_own_times(content):
    """The second one's fastest turn is near the first one, its own time is not."""
    content["models"] = [make_model(name) for name in ("vae", "flow", "ddpm")]
    times = ((1.0, 1.0, 1.05), (25.0, 1.1, 30.0), (100.0, 100.0, 110.0))
    for entry, (own, low, high) in zip(content["models"], times, strict=True):
        timing = {"batch": 64, "low": low / 1000, "high": high / 1000}
        entry["sampling"] |= {"seconds_per_sample": own / 1000, "timing": timing, "calls": 1}
    (sentence,) = said(content, "speed")
    assert sentence.startswith("vae and flow sample fastest, from 1 ms to 25 ms each (1 network call, 64 at once); ddpm takes ")
    content["models"][1]["sampling"]["calls"] = 25
    assert "from 1 ms to 25 ms each (64 at once); ddpm" in said(content, "speed")[0]


def test_a_time_of_a_sample_says_of_how_many_at_once_it_is(content):
    """In the verdict, in the choice of a model, on the axis of the chart and on the cards of a demo."""
    content["models"] = [make_model(name) for name in ("gan", "vae", "flow")]
    for entry, batch in zip(content["models"], (1000, 64, 1), strict=True):
        entry["sampling"]["timing"]["batch"] = batch
    assert said(content, "speed") == [
        "gan and vae sample fastest, in 210 µs each (1 network call, 64 to 1,000 at once); flow takes 19 times as long (19 "
        "network calls, one at a time)."
    ]
    whole = comparison(content)
    assert any("samples must come fast (210 µs each, 1,000 at once)" in choice.text for choice in choices(whole))
    assert "seconds for one sample of a batch" in report(content).to_html()
    assert "1 call · 210 µs a sample · 1,000 at once" in story(whole, Look({}), [])
    content["models"][0]["scores"]["frechet"]["value"] = 0.13
    assert "210 µs (1 network call, 1,000 at once) and" in choices(comparison(content))[0].text


def timed_in_batches(content, batches):
    """Models a, b, c, ... in batches of so many samples: the first takes 1 ms for a sample, the others 30, 40, 50, ... ms."""
    names = "abcdef"[: len(batches)]
    content["models"] = [make_model("gan") | {"name": name} for name in names]
    for place, (entry, batch) in enumerate(zip(content["models"], batches, strict=True)):
        seconds = 0.001 * (1 if place == 0 else 20 + 10 * place)
        timing = {"batch": batch, "low": seconds, "high": seconds}
        entry["sampling"] |= {"seconds_per_sample": seconds, "timing": timing}
    return content


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        ((1000, 1, 1, 1, 1, 64), "a samples fastest, in 1 ms each (1 network call, 1,000 at once); b, c, d, e and f take from 30 "
         "times as long (b, one at a time) to 70 times as long (f, 64 at once)."),
        ((64,) * 6, "a samples fastest, in 1 ms each (1 network call, 64 at once); b, c, d, e and f take from 30 times as long "
         "(b) to 70 times as long (f)."),
        ((64, None, 64), "a samples fastest, in 1 ms each (1 network call, 64 at once); b takes 30 times as long (1 network "
         "call, samples at once not recorded) and c 40 times as long (1 network call, 64 at once)."),
        ((None, 64), "a samples fastest, in 1 ms each (1 network call, samples at once not recorded); b takes 30 times as long "
         "(1 network call, 64 at once)."),
        ((None, None), "a samples fastest, in 1 ms each (1 network call); b takes 30 times as long (1 network call)."),
    ],
)  # fmt: skip
def test_samples_at_once_are_named_for_each_model_unless_all_are_one_known_number(content, batches, sentence):
    assert said(timed_in_batches(content, batches), "speed") == [sentence]


def test_samples_at_once_of_the_slower_are_named_where_those_of_the_fastest_are_several(content):
    timed_in_batches(content, (64, 1000, 1000))
    content["models"][1]["sampling"] = content["models"][0]["sampling"] | {"timing": {"batch": 1000, "low": 0.001, "high": 0.001}}
    assert said(content, "speed") == [
        "a and b sample fastest, in 1 ms each (1 network call, 64 to 1,000 at once); c takes 40 times as long (1 network call, "
        "1,000 at once)."
    ]
    content["models"][1]["sampling"]["timing"]["batch"] = None
    assert "(1 network call, 64 at once where recorded); c takes" in said(content, "speed")[0]


def test_without_a_spread_both_ends_say_of_how_many_at_once_they_are(content):
    timed_in_batches(content, (64, None))
    for entry in content["models"]:
        entry["sampling"]["timing"] = {"batch": entry["sampling"]["timing"]["batch"]}
    (sentence,) = said(content, "speed")
    assert "(1 network call, 64 at once) (a) to 30 ms (1 network call, samples at once not recorded) (b)" in sentence


@pytest.mark.parametrize(
    ("batches", "alone"),
    [
        ((64, 1000), "that of a sample drawn alone is not known. "),
        ((64, 1), "that of a sample drawn alone is known only where the batch has one sample. "),
        ((1, 1), "is that of a sample drawn alone. "),
    ],
)
def test_a_time_of_a_sample_drawn_alone_is_claimed_where_it_was_measured_and_nowhere_else(content, batches, alone):
    whole = comparison(timed_in_batches(content, batches))
    for note in (captions.cost_notes(whole), captions.seconds_note(whole)):
        assert alone in note
        assert ("divided by its samples" in note) == (set(batches) != {1})
        assert "takes longer" not in note


def test_times_without_a_spread_are_not_compared(content):
    """As in reports of earlier versions."""
    for entry in content["models"]:
        del entry["sampling"]["timing"]
    (sentence,) = said(content, "speed")
    assert "times as long" not in sentence
    assert sentence.endswith("the spread of these times is not known.")


def test_the_cost_tables_show_spread_batch_and_memory(content):
    (_, training), (_, sampling) = costs.costs(comparison(content))
    assert [row.cells[[c.label for c in training.columns].index("Memory")].flat for row in training.rows] == ["21 MB"] * 4
    cells = dict(zip([c.label for c in sampling.columns], sampling.rows[2].cells, strict=True))
    assert cells["Time per sample"].flat == "210 µs (208 µs to 212 µs, 64 at once)"
    assert cells["Memory"].flat == "3.2 MB (64 at once)"
    assert "Trajectories" not in [c.label for c in training.columns]
    for entry in content["models"]:
        entry["training"] = {"peak_memory_mb": 743.0}
    assert "743" not in report(content).to_markdown(), "the whole process's memory is not the model's"


def test_the_time_of_trajectories_is_in_the_table_of_training(content):
    model(content, "flow")["training"] |= {"seconds": 14.6, "trajectory_seconds": 15.4}
    (_, training), (_, sampling) = costs.costs(comparison(content))
    cells = dict(zip([c.label for c in training.columns], training.rows[0].cells, strict=True))
    assert (cells["Training"].flat, cells["Trajectories"].flat) == ("14.6 s", "15.4 s")
    assert training.rows[1].cells[[c.label for c in training.columns].index("Trajectories")].flat == "–"
    assert sampling.columns[0].label == "Sampler"
