"""The report as JSON, Markdown and text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import sys

import numpy as np
import pytest
from programs import command_line
from programs.report_pages import check_page
from programs.reporting import comparison, report

from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score, describe
from pushforward.report import Report
from pushforward.report.papers import score_rows
from pushforward.report.plain_text import text
from pushforward.report.statistics import main_metrics


def test_json_is_strict_and_equals_the_content(content):
    def no_constant(name):
        raise AssertionError(name)

    whole = comparison(content)
    assert holds(json.loads(report(content).to_json(), parse_constant=no_constant), content)
    assert Comparison.from_json(whole.to_json()) == whole == Comparison.from_plain(whole.to_plain())
    scores = {
        "kid": Score(
            float("nan"), values=(1.0, np.float32("inf")), extra={"mass": np.array([0.25, np.nan])}
        )
    }
    first = ModelResult("it", parameters=np.int64(7), conditioned=(), scores=scores, seed=(1, None))
    single = dataclasses.replace(whole, models=(first,))
    plain = json.loads(single.to_json(), parse_constant=no_constant)["models"][0]
    kid = {
        name: value for name, value in plain["scores"]["kid"].items() if value not in (None, [], "")
    }
    assert kid == {"values": [1.0, None], "extra": {"mass": [0.25, None]}}
    assert (plain["parameters"], plain["conditioned"], plain["seed"]) == (7, [], [1, None])
    assert Comparison.from_json(single.to_json()) == single
    check_page(Report(single).to_html())
    with pytest.raises(TypeError, match=r"plain data.*object"):
        ModelResult(run=object())


def holds(actual, wanted):
    """Whether JSON has everything that it was read from; it may have more, which are defaults."""
    if isinstance(wanted, dict):
        return all(
            name in actual and holds(actual[name], value)
            for name, value in wanted.items()
            if value is not None
        )
    if isinstance(wanted, list):
        return len(actual) == len(wanted) and all(map(holds, actual, wanted))
    return actual == wanted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format_version": 1, "entrants": []}, "format 1"),
        ([], "damaged"),
        ({"format_version": 2, "models": {"a": 1}}, "damaged"),
        ({"format_version": 2, "models": [{"scores": {"kid": 3}}]}, "damaged"),
    ],
)
def test_other_formats_and_damage_are_refused(wrong, message):
    with pytest.raises(CheckpointError, match=message):
        Comparison.from_json(json.dumps(wrong))
    with pytest.raises(CheckpointError, match="damaged"):
        Comparison.from_json("{")
    with pytest.raises(UsageError, match=r"pf\.compare"):
        Report({"models": []})


def test_scores_for_papers(content, tmp_path):
    """The CSV file and the LaTeX tables hold each training run and all differences."""
    single = comparison(content)
    twins = [
        dataclasses.replace(model, name=f"{model.name}-{s}", seed=s)
        for model in single.models
        for s in (0, 1)
    ]
    whole = aggregated(dataclasses.replace(single, models=tuple(twins)))
    written = Report(whole)
    lines = list(csv.DictReader(io.StringIO(written.save(tmp_path / "scores.csv").read_text())))
    known = {(line["model"], line["other"], line["seed"], line["metric"]): line for line in lines}
    for model in whole.models:
        for run in model.trainings:
            for metric, score in run.scores.items():
                value = float(known[model.name, "", str(run.seed), metric]["value"])
                assert value == score.value
    pairs = [(metric, pair) for metric, pairs in whole.differences().items() for pair in pairs]
    for metric, pair in pairs:
        line = known[pair["first"], pair["other"], "", metric]
        assert float(line["value"]) == pair["difference"]
        assert line["clear"] == str(int(pair["ahead"] is not None))
        if pair["margin"] is not None:
            width = float(line["interval_high"]) - float(line["interval_low"])
            assert width == pytest.approx(2 * pair["margin"])
    frame = whole.to_frame()
    tex = written.save(tmp_path / "scores.tex").read_text()
    sections = [
        part.split("\n", 1) for part in re.split(r"^% (?=\w.*\n\\begin)", tex, flags=re.M)[1:]
    ]
    assert {"Training runs", "Paired differences"} <= {heading for heading, _ in sections}
    for _, table in sections:
        columns = len(re.search(r"\{tabular\}\{(\w+)\}", table)[1])
        rows = [line for line in table.split("\n") if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
        assert not re.search(r"(?<!\\)%|[−→]", table)
    main = set(main_metrics(whole))
    clear = sum(pair["ahead"] is not None for metric, pair in pairs if metric in main)
    bold = sum(
        table.count("textbf") for heading, table in sections if heading == "Paired differences"
    )
    assert 0 < bold == clear < sum(metric in main for metric, _ in pairs)
    scores = dict(sections)["Scores"].split("\n")
    (distance,) = [row for row in scores if row.startswith("Fréchet")]
    shown = [float(cell) for cell in re.findall(r"& (?:\\textbf\{)?([\d.]+)", distance)]
    wanted = [*frame["frechet"], whole.baseline.scores["frechet"].value]
    wanted.append(whole.real_data_scores["frechet"].value)
    assert shown == pytest.approx(wanted, abs=0.006)


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
    rows = [
        ModelResult(name, scores={"kid": Score(value, error=error)})
        for name, value in (("a", 0.3), ("b", 0.3 + gap))
    ]
    metrics = {"kid": dataclasses.replace(describe()["kid"], role="quality")}
    whole = Comparison(metrics=metrics, models=tuple(rows))
    (line,) = re.findall("^a .*b.*", Report(whole).to_latex().replace("$-$", "-"), re.MULTILINE)
    low, high = map(float, re.findall(r"(-?[\d.]+)[,\]]", line))
    assert (low * high > 0) is ("textbf" in line) is (gap > 0.1)


def test_files_are_written_whole_or_not_at_all(content, tmp_path, monkeypatch):
    written = report(content)
    written.save_all(tmp_path / "new" / "folder")
    files = ["report.html", "report.json", "report.md", "scores.csv", "scores.tex"]
    names = sorted(os.listdir(tmp_path / "new" / "folder"))
    assert names == files
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
    content["models"] = [
        entry | {"name": f"{entry['name']} {i}"}
        for i in range(copies)
        for entry in content["models"]
    ]
    for entry in content["models"]:
        entry["extension"] = "pushforward resume it"
        entry["sampling"]["steps"] = 1  # too few, as the curve shows
    lines = text(comparison(content), width=width).split("\n")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width
    headings = [line.split()[0] for line in lines[: lines.index("")] if not line.startswith(" ")]
    assert headings == ["Best", "Clear?", "Copies", "Speed", "Problems", "Next"]
    said = " ".join(lines[: lines.index("")])
    assert not re.search(r"\[.*\]|±", said), "answers are without intervals"
    (head,) = [line for line in lines if "Fréchet distance ↓" in line]
    count = len(re.split(r"  +", head.strip()))
    assert count <= 5, "and the column of names"
    table = lines[lines.index(head) + 1 : -2]
    assert len(table) < 3 or [line[:6] for line in table[-2:]] == ["no net", "real d"], (
        "models are left out first"
    )


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
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    exit_code, out, _ = command_line.run(capsys, "report", str(tmp_path))
    assert exit_code == 0
    assert written.answers["Clear?"] in " ".join(out.split())
    assert f"pushforward report {tmp_path} --full" in out
    exit_code, whole, _ = command_line.run(capsys, "report", str(tmp_path), "--full")
    assert exit_code == 0
    assert len(whole) > len(out)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
