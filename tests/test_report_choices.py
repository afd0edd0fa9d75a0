"""What the report says once, whom it calls best, and what it says of joined reports."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from programs.compared import INFO, compared
from programs.reporting import said

from pushforward.evaluation.measurements import LatentStatistics, Pictures
from pushforward.evaluation.merge import joined
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult, Protocol, Settings
from pushforward.evaluation.run_results import _amount
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import plain
from pushforward.report import Report
from pushforward.report.choosing import choices
from pushforward.report.facts import commands
from pushforward.report.limits import limits
from pushforward.report.markup import prose, scrolled
from pushforward.report.sentences import inside, unmarked
from pushforward.report.statistics import metric_for
from pushforward.report.tables import Cell, Column, Row, Table, score_column, scorecards

SHARE = Cell("7", interval="[3, 11] %")


def lines(comparison):
    return [unmarked(choice.text) for choice in choices(comparison)]


def test_what_holds_of_several_models_is_said_once():
    level = compared({"flow": (0.2, 0.1, 40), "edm": (0.21, 0.1, 40), "gan": (0.21, 0.001, 1)})
    assert lines(level) == [
        "flow, edm and gan do not differ measurably in Fréchet distance at n = 360 (0.200 ± 0.010, 0.210 ± 0.010 and "
        "0.210 ± 0.010). What decides is the time of a sample: gan 1 ms (1 network call), flow 100 ms (40 network calls) and edm "
        "100 ms (40 network calls)."
    ]
    page = Report(level).to_html()
    assert len(re.findall('class="sign', page[page.index('<ul class="choices">') :].split("</ul>")[0])) == 3
    assert lines(compared({"flow": (0.2, 0.1, 40), "gan": (2.0, 0.1, 1), "vae": (2.01, 0.1, 1), "old": (3.0, 0.1, 1)})) == [
        "Choose flow if Fréchet distance counts most (0.200 ± 0.010).",
        "Do not choose gan and vae as they are: they do not beat no network in Fréchet distance (2.000 ± 0.010 and 2.010 ± 0.010 "
        "against 2.000 ± 0.010). Train them longer.",
        "Do not choose old as it is: it is worse than no network in Fréchet distance (3.000 ± 0.010 against 2.000 ± 0.010). "
        "Train it longer.",
    ]
    shared = {"gan": (0.9, 0.001, 1), "old": (0.91, 0.001, 1), "flow": (0.2, 0.1, 40)}
    assert lines(compared(shared))[0] == "Choose gan or old if samples must come fast (1 ms each)."


def test_warnings_are_named_where_there_are_any():
    comparison = compared({"flow": (0.2, 0.1, 40), "old": (3.0, 0.1, 1)})
    models = tuple(dataclasses.replace(model, warnings=("It is.",)) for model in comparison.models)
    assert lines(comparison)[-1].endswith(" Train it longer.")
    assert lines(dataclasses.replace(comparison, models=models))[-1].endswith(" Train it longer, or look at its warnings.")


def test_no_model_is_chosen_for_its_speed_beside_a_better_one_that_is_as_fast():
    choices = lines(compared({"gan": (0.9, 0.001, 1), "old": (1.2, 0.001, 1), "flow": (0.2, 0.1, 40)}))
    assert "Choose gan if samples must come fast (1 ms each)." in choices
    assert [line for line in choices if "old" in line] == [
        "No score speaks for old: gan (0.900 ± 0.010) is measurably better in Fréchet distance than its 1.200 ± 0.010, and no "
        "slower."
    ]


def test_of_many_models_that_do_not_differ_names_and_times_are_no_list():
    many = {name: (0.2, 0.001 if name == "a" else 0.1, 1) for name in "abcde"}
    assert lines(compared(many)) == [
        "These models do not differ measurably in Fréchet distance at n = 360 (from 0.200 ± 0.010 to 0.200 ± 0.010). "
        "What decides is the time of a sample: a takes 1 ms (1 network call), the others up to 100 ms (1 network call)."
    ]


def test_a_score_that_no_network_passes_as_well_says_once_that_it_cannot_tell():
    base = ModelResult("no network", scores={"frechet": Score(0.1, 0.01)})
    assert lines(compared({"flow": (0.11, 0.1, 40), "edm": (0.11, 0.1, 40)}, baseline=base)) == [
        "Neither flow nor edm beats no network in Fréchet distance, which cannot show here that a model is good.",
        "flow and edm do not differ measurably in Fréchet distance at n = 360 (0.110 ± 0.010 and 0.110 ± 0.010). "
        "Nor do they in the time of a sample: 100 ms (40 network calls).",
    ]
    worse = compared({"flow": (0.11, 0.1, 40), "edm": (0.11, 0.1, 40), "gan": (0.5, 0.1, 1)}, baseline=base)
    assert lines(worse)[1] == "Besides Fréchet distance, nothing that was measured speaks for flow and edm or against them."


def test_of_a_model_against_which_something_speaks_it_is_not_said_that_nothing_does():
    """A score of quality that no network passes as well; the model is worse than that in coverage, or a warning names it."""
    base = ModelResult("no network", scores={"frechet": Score(0.1, 0.01), "coverage": Score(0.93, 0.01)})
    behind = lines(compared({"flow": (0.11, 0.86), "gan": (0.5, 0.79)}, scores=tuple(INFO), baseline=base))
    assert behind[-1] == (
        "Do not choose flow as it is: it is worse than no network in coverage (0.860 ± 0.010 against 0.930 ± 0.010). Train it "
        "longer."
    )
    assert not any("nothing that was measured" in line.lower() for line in behind)
    comparison = compared({"flow": (0.11, 0.1, 40), "gan": (0.5, 0.1, 1)}, baseline=base)
    models = tuple(dataclasses.replace(model, warnings=("It is.",)) for model in comparison.models)
    assert any("nothing that was measured" in line for line in lines(comparison))
    assert not any("nothing that was measured" in line for line in lines(dataclasses.replace(comparison, models=models)))


def test_a_model_that_differs_in_a_score_is_not_said_to_have_nothing_for_it():
    info = {**INFO, "recall": MetricInfo("Recall", "higher", "A share.")}
    base = ModelResult("no network", scores={"frechet": Score(0.1, 0.01)})
    for recall, said_of in ((0.8, False), (0.61, True)):
        scores = {"flow": (0.115, recall, 0.1, 40), "gan": (0.132, 0.6, 0.1, 1)}
        given = dataclasses.replace(compared(scores, ("frechet", "recall"), baseline=base), metrics=info)
        assert any("othing that was measured speaks for flow" in line for line in lines(given)) == said_of


def test_who_leads_in_both_is_said_in_one_line_and_who_leads_in_one_in_two():
    values = {"flow": (0.2, 0.9), "edm": (0.21, 0.9), "gan": (0.9, 0.6)}
    first = lines(compared(values, scores=tuple(INFO)))[0]
    assert first.startswith(
        "Choose flow or edm if Fréchet distance or coverage counts: they do not differ measurably in either at"
    )
    values |= {"gan": (0.9, 0.9)}
    assert [text.split(":")[0] for text in lines(compared(values | {"vae": (0.9, 0.6)}, scores=tuple(INFO)))][:2] == [
        "Choose flow or edm if Fréchet distance counts",
        "Choose flow, edm or gan if coverage counts",
    ]


def test_nobody_is_called_best_who_does_not_beat_no_network_in_the_score_that_ranks():
    comparison = compared({"flow": (2.0, 0.9), "gan": (0.2, 0.8)}, scores=tuple(INFO))
    assert said(comparison, "diversity")[0].startswith(
        "flow scores best of the models in coverage, but does not beat no network in Fréchet distance: 0.900 ± 0.010, next gan"
    )
    cells = {row.name: row.cells for _, table in scorecards(comparison) for row in table.rows}
    assert [cell.best for cell in (*cells["flow"], *cells["gan"])] == [False, False, True, False]
    floors = {"coverage": Score(0.5, 0.01)}
    level = compared({"flow": (0.2, 0.51), "gan": (0.2, 0.4)}, scores=tuple(INFO), floors=floors)
    assert said(level, "diversity")[0].startswith(
        "flow scores best of the models in coverage, but not measurably better than no network (0.500 ± 0.010): 0.510 ± 0.010"
    )
    some = compared({"flow": (2.0, 0.9), "gan": (0.2, 0.9), "vae": (0.5, 0.6)}, scores=tuple(INFO))
    assert "; flow does not beat no network in Fréchet distance" in said(some, "diversity")[0]


def test_a_report_of_stored_images_says_that_it_shows_no_pictures():
    comparison = compared({"flow": (0.2,)})
    models = tuple(dataclasses.replace(model, run="runs/flow") for model in comparison.models)
    images = dataclasses.replace(comparison, data=DataInfo(shape=(1, 8, 8)), models=models)
    assert any("Pictures of samples are not shown" in limit for limit in limits(images))
    page = Report(images).to_html()
    assert "Pictures of samples are not shown" in page[page.index('id="samples"') :].split("</section>")[0]
    assert "Pictures of samples are not shown" in " ".join(Report(images).to_text().split())
    assert "was left out" not in page, "which would contradict it"
    both = dataclasses.replace(
        images, models=(*images.models, ModelResult("gan", run="runs/gan")), pictures={"flow": Pictures(np.zeros((1, 8, 8, 1)))}
    )
    assert any("Pictures of samples of gan are not shown" in limit for limit in limits(both))
    assert not any("Pictures of samples" in limit for limit in limits(comparison))


def test_models_of_one_name_are_called_by_the_shortest_name_of_their_report():
    part = compared({"it": (0.2,)}, protocol=Protocol("it", "it", 20))
    for sources, ends in {
        ("runs/a/report.json", "runs/b"): ("a", "b"),
        ("a/x/report.json", "b/x/report.json"): ("a/x/report.json", "b/x/report.json"),
        ("old.json", "report.json"): ("old", "report.json"),
    }.items():
        assert [model.name for model in joined(dict.fromkeys(sources, part)).models] == [f"it ({end})" for end in ends]


def test_models_none_of_which_beats_no_network_are_not_good_yet():
    level = lines(compared({"gan": (2.0, 0.1, 1), "vae": (2.01, 0.001, 1)}))
    assert level[0].startswith("Neither is good yet. Do not choose gan and vae as they are: they do not beat no network in ")
    three = lines(compared({"gan": (2.0, 0.1, 1), "vae": (2.01, 0.001, 1), "old": (3.0, 0.1, 1)}))
    assert [line.startswith("None of them is good yet. ") for line in three] == [True, False]
    assert not any("good yet" in line for line in lines(compared({"gan": (2.0, 0.1, 1), "vae": (0.2, 0.001, 1)})))


def test_models_worse_than_no_network_are_ranked_whatever_their_order():
    worse = compared({"gan": (3.01, 0.1, 1), "ddpm": (9.0, 0.1, 1), "flow": (3.0, 0.1, 1), "vae": (4.0, 0.1, 1)})
    assert lines(worse)[-1].startswith(
        "None of them is good yet. Do not choose flow, gan, vae and ddpm as they are: they are worse than no network in "
        "Fréchet distance (from 3.000 ± 0.010 to 9.000 ± 0.010 against 2.000 ± 0.010)."
    )


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.997, 2, "1.0"), (1.04, 2, "1.0"), (0.98, 2, "0.98"), (9.996, 3, "10.0"), (0.0999, 2, "0.10")]
)
def test_a_number_that_rounds_up_to_a_further_digit_has_no_further_decimal(value, digits, text):
    assert plain(value, digits) == text


def test_a_command_has_the_budget_with_all_of_its_digits_and_no_others():
    assert _amount({"seconds": 20.0}) == "--budget 20s"
    assert _amount({"seconds": 0.125}) == "--budget 0.125s"
    assert _amount({"steps": 5000, "seconds": None}) == "--steps 5000"


def test_cells_have_their_unit_beside_the_value_and_say_it_again_where_the_page_is_narrow():
    table = Table([Column("KL", "", "nats"), Column("Recall", "", "↑ higher is better")], [Row("vae", [Cell("3"), SHARE])])
    page = scrolled(table, "codes")
    assert 'data-label="KL, nats"' in page
    assert 'data-label="Recall ↑"' in page
    assert '<span class="value">7\u00a0%</span> <span class="interval">[3, 11]</span>' in page


def test_the_value_that_is_right_has_no_more_digits_than_its_error():
    info = {"near": MetricInfo("Nearest", "target"), "test": MetricInfo("Test", "target", unit="%", target=0.5)}
    floors = {"near": Score(0.230, 0.6), "test": Score(0.49, 0.02)}
    models = (ModelResult("a", scores={"near": Score(1.0, 0.1), "test": Score(0.6, 0.01)}),)
    comparison = Comparison("it", metrics=info, floors=floors, models=models)
    assert [score_column(comparison, metric).hint for metric in info] == ["→ 0.2 in real data", "→ 50 % is right"]
    page = Report(comparison).to_html()
    assert '<a href="#limits">Limits</a>' in page
    assert page.index('<section id="limits">') < page.index("What it cannot show") < page.index("</main>")


def timed_apart():
    """Two reports of models that were timed in a session each."""
    parts = {"flow": (0.2, 0.1, 40), "gan": (0.9, 0.001, 1)}
    return {
        name: compared({name: numbers}, protocol=Protocol("it", "it", 20), settings=Settings(n=20, shared=()))
        for name, numbers in parts.items()
    }


def test_times_of_joined_reports_rank_nobody():
    both = joined(timed_apart())
    assert both.settings.timed == (("flow",), ("gan",))
    page, text = Report(both).to_html(), Report(both).to_markdown()
    assert said(both, "speed") == [
        "A sample takes from 1 ms (1 network call) (gan) to 100 ms (40 network calls) (flow); these times were measured in "
        "different sessions, so they rank no model."
    ]
    assert [warning for warning in said(both, "warning") if "Times do not compare: flow – gan were timed in" in warning]
    assert not [line for line in lines(both) if "fast" in line or "slower" in line or "less time" in line]
    assert any(line.startswith("No score speaks for gan: flow (0.200") for line in lines(both))
    for shown in (page, text):
        assert "all models are timed in turns" not in shown
        assert "Models of different reports were timed in different sessions, so their times do not compare." in shown
    assert "in different sessions" in " ".join(limits(both))
    again = joined({"both": both, "vae": compared({"vae": (0.5, 0.1, 1)}, protocol=both.protocol)})
    assert again.settings.timed == (("flow",), ("gan",), ("vae",))
    assert Comparison.from_json(again.to_json()) == again
    together = compared({"flow": (0.2, 0.1, 40), "gan": (0.9, 0.001, 1)})
    assert "gan samples fastest" in said(together, "speed")[0]


def test_joined_reports_say_which_pictures_they_lack():
    both = joined(timed_apart())
    drawn = {name: Pictures(np.zeros((4, 2))) for name in ("flow", "gan", "real")}
    models = (both.models[0], dataclasses.replace(both.models[1], latent=LatentStatistics()))
    page = Report(dataclasses.replace(both, models=models, pictures=drawn)).to_html()
    lack = "Not shown here, as report.json does not hold it: the way from noise to samples (flow) and pictures of codes (gan)."
    assert lack in page
    fresh = dataclasses.replace(both, models=models, pictures=drawn, settings=Settings(n=20))
    assert "report.json does not hold" not in Report(fresh).to_html()


def test_commands_that_read_a_run_follow_its_training():
    model = ModelResult("flow", run="runs/digits-flow", commands=("pushforward train flow --data digits",))
    comparison = Comparison("it", models=(model,), commands=("pushforward report runs/digits-flow/", "pushforward compare a b"))
    assert commands(comparison) == [
        "pushforward train flow --data digits",
        "pushforward report runs/digits-flow/",
        "pushforward compare a b",
    ]
    fresh = dataclasses.replace(comparison, commands=("pushforward compare flow gan",))
    assert commands(fresh)[0] == "pushforward compare flow gan", "which trains"


def test_lines_do_not_break_within_a_number_and_its_error_or_unit():
    nb = "\u00a0"
    assert prose("6 % at n = 5, 0.1 ± 0.2; the % of") == f"6{nb}% at n{nb}={nb}5, 0.1{nb}±{nb}0.2; the % of"


def leading(text):
    """The models that a sentence of the verdict calls best."""
    who = re.match(r"(.*?) (?:scores? best|has the best|leads? in|(?:is|are) least bad in)", unmarked(text))
    return set(re.findall(r"gan|edm|vae|flow", who[1])) if who else set()


@pytest.mark.parametrize("base", [(0.1, 0.96), (0.1, 0.5), (2.0, 0.96), (2.0, 0.5)])
def test_no_model_that_the_verdict_calls_best_is_one_for_which_nothing_speaks(base):
    """Where no network passes as real data in a score, in both or in none; edm leads in coverage, gan in distance."""
    row = ModelResult("no network", scores={name: Score(value, 0.01) for name, value in zip(INFO, base, strict=True)})
    scores = {"gan": (0.11, 0.3, 0.1, 1), "edm": (0.2, 0.9, 0.1, 1), "vae": (0.2, 0.9, 0.1, 1), "flow": (0.5, 0.3, 0.1, 1)}
    comparison = compared(scores, tuple(INFO), baseline=row)
    for role in ("quality", "diversity"):
        label = inside(comparison.info(metric_for(comparison, role)).label)
        best = leading(said(comparison, role)[0])
        assert best
        unpraised = [line for line in lines(comparison) if re.search("nothing that was|no score speaks", line, re.IGNORECASE)]
        assert all(f"Besides {label}" in line for line in unpraised if leading(f"{line.split(':')[0]} leads in") & best)
    assert "No score speaks for flow" in " ".join(unpraised) or base[0] < 1
