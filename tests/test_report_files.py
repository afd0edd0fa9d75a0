"""The report as JSON, Markdown and text."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import sys

import numpy as np
import pytest
from programs import command_line
from programs.report_pages import check_page
from programs.reporting import comparison, put_interval, report

from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score, describe
from pushforward.report import Report
from pushforward.report.papers import score_rows
from pushforward.report.plain_text import text
from pushforward.report.statistics import main_metrics


def strict(text):
    """JSON without NaN and infinity."""

    def no_constant(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=no_constant)


def test_json_is_strict_and_equals_the_content(content):
    written = report(content).to_json()
    check_holds(strict(written), content)
    whole = comparison(content)
    assert Comparison.from_json(whole.to_json()) == whole
    assert Comparison.from_plain(whole.to_plain()) == whole


def test_numbers_of_numpy_and_without_a_value_are_written_as_json(content):
    values = (1.0, np.float32("inf"))
    score = Score(float("nan"), values=values, extra={"mass": np.array([0.25, np.nan])})
    options = {"parameters": np.int64(7), "conditioned": (), "seed": (1, None)}
    model = ModelResult("it", scores={"kid": score}, **options)
    single = dataclasses.replace(comparison(content), models=(model,))
    plain = strict(single.to_json())["models"][0]
    kid = plain["scores"]["kid"]
    assert kid["values"] == [1.0, None]
    assert kid["extra"] == {"mass": [0.25, None]}
    assert kid.get("value") is None
    assert plain["parameters"] == 7
    assert plain["conditioned"] == []
    assert plain["seed"] == [1, None]
    assert Comparison.from_json(single.to_json()) == single
    check_page(Report(single).to_html())


def test_results_are_plain_data():
    with pytest.raises(TypeError, match=r"plain data.*object"):
        ModelResult(run=object())


def check_holds(actual, wanted):
    """JSON has everything that it was read from; it may have more, which are defaults."""
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            if value is not None:
                check_holds(actual[name], value)
    elif isinstance(wanted, list):
        for one, other in zip(actual, wanted, strict=True):
            check_holds(one, other)
    else:
        assert actual == wanted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format_version": 1, "entrants": []}, "format 1"),
        ([], "damaged"),
        ({"format_version": 2, "models": {"a": 1}}, "damaged"),
        ({"format_version": 2, "models": [{"scores": {"kid": 3}}]}, "damaged"),
    ],
)
def test_other_formats_are_refused(wrong, message):
    with pytest.raises(CheckpointError, match=message):
        Comparison.from_json(json.dumps(wrong))


def test_damage_is_refused():
    with pytest.raises(CheckpointError, match="damaged"):
        Comparison.from_json("{")
    with pytest.raises(UsageError, match=r"pf\.compare"):
        Report({"models": []})


@pytest.fixture
def twice(content):
    """A comparison of models that were trained with two seeds each."""
    single = comparison(content)
    twins = []
    for model in single.models:
        for seed in (0, 1):
            twins.append(dataclasses.replace(model, name=f"{model.name}-{seed}", seed=seed))
    return aggregated(dataclasses.replace(single, models=tuple(twins)))


def pairs_of(whole):
    """Every difference with its metric."""
    pairs = []
    for metric, differences in whole.differences().items():
        pairs += [(metric, pair) for pair in differences]
    return pairs


def test_the_csv_file_holds_each_training_run_and_all_differences(twice, tmp_path):
    path = Report(twice).save(tmp_path / "scores.csv")
    known = {}
    for line in csv.DictReader(path.read_text().splitlines()):
        known[line["model"], line["other"], line["seed"], line["metric"]] = line
    for model in twice.models:
        for run in model.trainings:
            for metric, score in run.scores.items():
                line = known[model.name, "", str(run.seed), metric]
                assert float(line["value"]) == score.value
    for metric, pair in pairs_of(twice):
        line = known[pair["first"], pair["other"], "", metric]
        assert float(line["value"]) == pair["difference"]
        clear = pair["ahead"] is not None
        assert line["clear"] == str(int(clear))
        if pair["margin"] is not None:
            width = float(line["interval_high"]) - float(line["interval_low"])
            assert width == pytest.approx(2 * pair["margin"])


def test_the_csv_file_holds_intervals_from_low_to_high(content, tmp_path):
    put_interval(content, "flow", "frechet", [0.25, 0.75])
    path = Report(comparison(content)).save(tmp_path / "scores.csv")
    lines = csv.DictReader(path.read_text().splitlines())
    intervals = []
    for line in lines:
        if line["model"] == "flow" and line["metric"] == "frechet" and not line["other"]:
            intervals.append((line["interval_low"], line["interval_high"]))
    assert intervals == [("0.25", "0.75")]


def latex_tables(whole, tmp_path):
    """The tables of the LaTeX file with their headings."""
    tex = Report(whole).save(tmp_path / "scores.tex").read_text()
    _, *sections = re.split(r"^% (?=\w.*\n\\begin)", tex, flags=re.MULTILINE)
    return [section.split("\n", 1) for section in sections]


def test_rows_of_latex_tables_have_a_cell_for_each_column(twice, tmp_path):
    tables = latex_tables(twice, tmp_path)
    headings = {heading for heading, _ in tables}
    assert {"Training runs", "Paired differences"} <= headings
    for _, table in tables:
        columns = re.search(r"\{tabular\}\{(\w+)\}", table)[1]
        for line in table.split("\n"):
            if line.endswith("\\\\"):
                separators = re.findall(r"(?<!\\)&", line)
                assert len(separators) + 1 == len(columns)
        assert not re.search(r"(?<!\\)%|[−→]", table)


def test_latex_tables_print_significant_differences_in_bold(twice, tmp_path):
    main = main_metrics(twice)
    clear = [pair["ahead"] is not None for metric, pair in pairs_of(twice) if metric in main]
    bold = 0
    for heading, table in latex_tables(twice, tmp_path):
        if heading == "Paired differences":
            bold += table.count("textbf")
    assert 0 < bold == sum(clear) < len(clear)


def test_latex_tables_have_the_scores_of_all_models(twice, tmp_path):
    scores = dict(latex_tables(twice, tmp_path))["Scores"]
    (distance,) = [row for row in scores.split("\n") if row.startswith("Fréchet")]
    cells = re.findall(r"& (?:\\textbf\{)?([\d.]+)", distance)
    wanted = [
        *twice.to_frame()["frechet"],
        twice.baseline.scores["frechet"].value,
        twice.real_data_scores["frechet"].value,
    ]
    assert list(map(float, cells)) == pytest.approx(wanted, abs=0.006)


def test_a_frame_has_a_row_for_each_model(content, monkeypatch):
    whole = comparison(content)
    frame = whole.to_frame()
    assert list(frame["model"]) == [model.name for model in whole.models]
    first = frame.iloc[0]
    score = whole.models[0].scores["frechet"]
    assert first["frechet"] == score.value
    assert first["frechet_spread"] == score.spread
    assert first["training_seconds"] == whole.models[0].training.seconds
    monkeypatch.setitem(sys.modules, "pandas", None)
    polars = pytest.importorskip("polars")
    assert whole.to_frame().equals(polars.DataFrame(score_rows(whole)))
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtra, match="pandas or polars"):
        whole.to_frame()


@pytest.mark.parametrize("gap", [0.1006, 0.0994])
def test_only_the_interval_of_a_significant_difference_excludes_0_as_it_is_printed(gap):
    error = 0.1 / 2.2414 / 2**0.5  # so that the margin is 0.1
    first = ModelResult("a", scores={"kid": Score(0.3, error=error)})
    second = ModelResult("b", scores={"kid": Score(0.3 + gap, error=error)})
    kid = dataclasses.replace(describe()["kid"], role="quality")
    whole = Comparison(metrics={"kid": kid}, models=(first, second))
    tex = Report(whole).to_latex().replace("$-$", "-")
    (line,) = re.findall("^a .*b.*", tex, re.MULTILINE)
    low, high = map(float, re.findall(r"(-?[\d.]+)[,\]]", line))
    assert (low * high > 0) is ("textbf" in line) is (gap > 0.1)


def test_files_are_written_whole_or_not_at_all(content, tmp_path, monkeypatch):
    written = report(content)
    folder = tmp_path / "new" / "folder"
    written.save_all(folder)
    names = " ".join(sorted(os.listdir(folder)))
    assert names == "report.html report.json report.md scores.csv scores.tex"
    target = tmp_path / "mine.html"
    written.save(target)
    assert target.read_text(encoding="utf-8") == written.to_html()
    with pytest.raises(UsageError, match=r"\.html, \.json, \.md"):
        written.save(tmp_path / "mine.pdf")

    target.write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(CheckpointError, match="No space left"):
        written.save(target)
    with pytest.raises(CheckpointError, match="No space left"):
        written.save_all(tmp_path)
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["mine.html", "new"]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("copies", [1, 4, 12])
def test_the_short_text_is_the_answers_and_a_table_in_30_lines(content, copies, width):
    models = []
    for i in range(copies):
        for model in content["models"]:
            model["extension"] = "pushforward resume it"
            model["sampling"]["steps"] = 1  # too few, as the curve shows
            models.append(model | {"name": f"{model['name']} {i}"})
    content["models"] = models
    lines = text(comparison(content), width=width).split("\n")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width
    answers = lines[: lines.index("")]
    headings = [line.split()[0] for line in answers if not line.startswith(" ")]
    assert " ".join(headings) == "Best Clear? Copies Speed Problems Next"
    assert not re.search(r"\[.*\]|±", " ".join(answers)), "answers are without intervals"
    (head,) = [line for line in lines if "Fréchet distance ↓" in line]
    columns = re.split(r"  +", head.strip())
    assert len(columns) <= 5, "and the column of names"
    table = lines[lines.index(head) + 1 : -2]
    if len(table) > 2:  # models are left out first
        *_, baseline, real_data = table
        assert baseline.startswith("no net")
        assert real_data.startswith("real d")


def test_commands_of_the_answers_are_not_broken_and_stand_on_the_page_as_code(content):
    command = "pushforward resume runs/a_folder/another --budget 240s"
    for entry in content["models"]:
        entry |= {"extension": command, "curve": []}
    assert command in text(comparison(content), width=80)
    assert f"<code>{command}</code>" in report(content).to_html()
    assert f"`{command}`" in report(content).to_markdown()


def test_a_stored_report_is_printed_again(content, tmp_path, capsys):
    written = Report(comparison(content))
    written.save_all(tmp_path)
    before = contents(tmp_path)
    exit_code, out, _ = command_line.run(capsys, "report", str(tmp_path))
    assert exit_code == 0
    assert written.answers["Clear?"] in " ".join(out.split())
    assert f"pushforward report {tmp_path} --full" in out
    exit_code, whole, _ = command_line.run(capsys, "report", str(tmp_path), "--full")
    assert exit_code == 0
    assert len(whole) > len(out)
    assert contents(tmp_path) == before


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
