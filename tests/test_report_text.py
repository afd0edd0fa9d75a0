"""What reports say in a terminal: heads, names and notes; and reports that cannot be compared."""

import dataclasses
import re

import pytest
from programs.compared import compared
from programs.rungs import content, points

import pushforward as pf
from pushforward.cli import main
from pushforward.evaluation.measurements import SampleTime, SamplingCost
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.numbers import shortened
from pushforward.report import Report, captions
from pushforward.report.tables import Cell, Column, Row, Table, score_cell
from pushforward.report.text import _table, scores_text
from pushforward.report.verdict import claims


def test_heads_name_score_and_model_and_pairs_stay_in_one_block(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rungs = tuple(
        dataclasses.replace(point, intervals={"frechet": (0.03, 0.07)}) for point in points(0.05, 0.04, 0.03, distance=0.1234)
    )
    taught = points(0.5, 0.2, 0.08)
    text = Report(content(taught[2], taught, rungs=rungs)).to_text()
    assert max(map(len, text.splitlines())) <= 80
    heads = [line.strip() for line in text.split("How to read")[0].splitlines() if "↓" in line or "↑" in line]
    assert [re.split(r"  +", head) for head in heads] == [
        ["Fréchet distance ↓", "Fréchet distance, teacher ↓"],
        ["Coverage ↑", "Coverage, teacher ↑", "Distance to teacher (std)"],
    ]
    assert "teacher: 4 calls" not in text, "the row of 4 calls has the teacher's own point"
    flat = " ".join(text.split())
    assert "The map was trained on samples that its teacher draws by UniPC in 4 calls." in flat
    assert "Distance to teacher is the root mean square distance of samples from" in flat
    assert "In one call the teacher itself has 0.500 ± 0.004." in flat
    assert "| Coverage ↑ | Coverage, teacher ↑ | Distance" in Report(content(taught[2], taught, rungs=rungs)).to_markdown()


def test_a_terminal_says_which_model_to_choose_and_how_far_apart_models_must_be():
    text = Report(compared({"a": (0.2, 0.9), "b": (0.5, 0.6)}, scores=("frechet", "coverage"))).to_text()
    verdict, chosen, scores = (
        text.index(heading) for heading in ("- a has the best", "Which of these models to choose\n- ", "Further checks\n")
    )
    assert verdict < chosen < scores
    assert "Choose a if Fréchet distance counts most" in text[chosen:scores]
    notes = text[scores:].split("\n\nHow to read the scores\n")[1]
    assert notes.startswith("↓ lower is better; ↑ higher is better\n* best, by more than noise\n")
    assert "→" not in text, "an arrow that no table has is not explained"
    least = text[text.index("\n\nLimits of this comparison\nAt n = ") :]
    assert "0.028 in Fréchet distance and 0.028 in coverage" in " ".join(least.split())
    assert "two models must differ" not in Report(compared({"a": (0.2, 0.9)}, scores=("frechet", "coverage"))).to_text()


def test_names_are_cut_in_the_middle_and_stay_distinct():
    names = [f"vae (compare-digits-report{end})" for end in ("", "-2", "-3")]
    assert shortened(names, 20) == ["vae (comp…ts-report)", "vae (comp…-report-2)", "vae (comp…-report-3)"]
    assert shortened(["flow", "a" * 30], 12) == ["flow", "aaaaa…aaaaaa"]
    inside = [f"vae-{middle}-compare-digits-report" for middle in "ab"]
    short = shortened(inside, 12)
    assert len(set(short)) == 2
    assert max(map(len, short)) <= 12
    deep = ["x" * 20 + middle + "y" * 20 for middle in "ab"]
    assert shortened(deep, 12) == deep, "rather long than alike"


@pytest.mark.parametrize(
    "written", [Report.to_text, Report.to_markdown, Report.to_html, lambda report: scores_text(report.comparison)]
)
def test_why_real_data_can_score_below_zero_is_said_in_every_form(written):
    kid = Score(-0.024, 0.006)
    comparison = Comparison(
        metrics={"kid": describe()["kid"]}, floors={"kid": kid}, models=(ModelResult("a", scores={"kid": kid}),)
    )
    said = " ".join(written(Report(comparison)).split())
    assert said.count("KID is unbiased: real data scores about 0, and may score below 0 by more than the spread") == 1
    assert "is unbiased" not in written(Report(dataclasses.replace(comparison, floors={})))


def test_reports_that_are_damaged_or_alone_are_refused_with_a_way_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pf.Report(Comparison(models=(ModelResult("a"),))).save(tmp_path / "a" / "report.json")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "report.json").write_text('{"format_version": 2, "models": 3}')
    (tmp_path / "c" / "report.md").touch()
    files = sorted(tmp_path.rglob("*"))
    for name, code, says in (
        ("broken.json", 4, "broken.json is damaged (they are not JSON, Expecting"),
        ("broken.json", 4, "make it anew by pushforward compare RUN RUN"),
        ("c", 4, "report.json is damaged (models must be a list, got 3)"),
        ("c", 4, "pushforward compare, the command of which is in c/report.md."),
        ("a/report.json", 2, "a/report.json is a report already, and there is nothing to compare it with"),
    ):
        assert main(["compare", name]) == code
        assert says in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == files, "nothing is written"


def test_losses_of_maps_have_a_caption_of_their_own():
    assert "hardly moves" in captions.loss_caption(ModelResult("m", family="flow map", method="Mapping"))
    assert "hardly moves" not in captions.loss_caption(ModelResult("m", family="flow matching", method="Denoising"))


def test_labels_of_scores_go_on_below_and_are_not_cut():
    label = "Membership attack with known rows, AUC"
    rows = [Row(label, [Cell("0.466 ± 0.000")], kind="score"), Row("AUC", [Cell("1")], kind="score")]
    lines = _table(Table([Column("m" * 46)], rows), 80).split("\n")
    assert [lines[1].split("  ")[0], lines[2].strip()] == ["Membership attack with known", "rows, AUC"]
    assert "…" not in "".join(lines)


def test_a_single_model_is_called_bad_and_its_time_has_a_range():
    score, timing = Score(0.5, 0.01), SampleTime(low=1e-4, high=2e-4)
    model = ModelResult(
        "it", scores={"frechet": score}, sampling=SamplingCost(calls=1, seconds_per_sample=1.35e-4, timing=timing)
    )
    info = {"frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality")}
    base = ModelResult("no network", scores={"frechet": Score(0.1, 0.01)})
    findings = claims(Comparison("it", metrics=info, floors={"frechet": Score(0.01, 0.01)}, models=(model,), baseline=base))
    said = " ".join(sentence.text for sentence in findings)
    assert "of 0.500 ± 0.010, measurably worse than no network (0.100 ± 0.010); real data" in said
    assert "135 µs for a sample" in said
    assert "100 µs to 200 µs in turns" in said


@pytest.mark.parametrize("given", [True, False])
def test_parts_of_given_samples_with_one_score_have_no_spread(given):
    model = ModelResult("it", scores={"frechet": Score(0.5, 0.0)}, given=given)
    info = {"frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality")}
    cell = score_cell(Comparison("it", metrics=info, models=(model,)), model, "frechet")
    assert (cell.value, cell.spread) == ("0.500", "" if given else "0.000")
