"""The report as JSON, Markdown and text."""

from __future__ import annotations

import dataclasses
import json
import os
import re

import numpy as np
import pytest
from programs.report_pages import check_page
from programs.reporting import comparison, model, report, said

from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.report import Report
from pushforward.report.text import score_parts, scores_text
from pushforward.report.text import text as as_text


def test_json_is_strict_and_equals_the_content(content):
    def no_constant(name):
        raise AssertionError(name)

    whole = comparison(content)
    assert holds(json.loads(report(content).to_json(), parse_constant=no_constant), content)
    assert Comparison.from_json(whole.to_json()) == whole == Comparison.from_plain(whole.to_plain())
    scores = {"kid": Score(float("nan"), values=(1.0, np.float32("inf")), extra={"mass": np.array([0.25, np.nan])})}
    first = ModelResult("it", parameters=np.int64(7), conditioned=(), scores=scores, seed=(1, None))
    single = dataclasses.replace(whole, models=(first,))
    plain = json.loads(single.to_json(), parse_constant=no_constant)["models"][0]
    kid = {name: value for name, value in plain["scores"]["kid"].items() if value not in (None, [], "")}
    assert kid == {"values": [1.0, None], "extra": {"mass": [0.25, None]}}
    assert (plain["parameters"], plain["conditioned"], plain["seed"]) == (7, [], [1, None])
    assert Comparison.from_json(single.to_json()) == single
    check_page(Report(single).to_html())
    with pytest.raises(TypeError, match="plain data; object is not"):
        ModelResult(run=object())


def holds(actual, wanted):
    """Whether JSON has everything that it was read from; it may have more, which are defaults."""
    if isinstance(wanted, dict):
        return all(name in actual and holds(actual[name], value) for name, value in wanted.items() if value is not None)
    if isinstance(wanted, list):
        return len(actual) == len(wanted) and all(map(holds, actual, wanted))
    return actual == wanted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format_version": 1, "entrants": []}, "has format 1; this version of pushforward reads format 2"),
        ({"entrants": []}, "damaged: the number of the format is missing"),
        ([], "damaged: the number of the format is missing"),
        ({"format_version": 2, "models": {"a": 1}}, "models must be a list, got"),
        ({"format_version": 2, "models": [{"scores": {"kid": 3}}]}, r"models\[0\].scores.kid must be an object, got 3"),
        ({"format_version": 2, "models": [{"scores": {"kid": {"value": "3"}}}]}, 'kid.value must be a number, got "3"'),
        ({"format_version": 2, "models": [{"latent": {"code": 3}}]}, r"models\[0\].latent.code must be an object, got 3"),
        ({"format_version": 2, "metrics": {"kid": {"better": "more"}}}, "metrics.kid.better must be 'lower' or 'higher' or 'tar"),
        ({"format_version": 2, "data": {"shape": [True]}}, r"data.shape\[0\] must be a whole number, got true"),
    ],
)
def test_other_formats_and_wrong_types_are_refused_by_their_place(wrong, message):
    with pytest.raises(CheckpointError, match=message):
        Comparison.from_json(json.dumps(wrong))
    with pytest.raises(CheckpointError, match="not JSON"):
        Comparison.from_json("{")
    with pytest.raises(UsageError, match=r"pf\.compare"):
        Report({"models": []})


def test_files_are_written_whole_or_not_at_all(content, tmp_path, monkeypatch):
    written = report(content)
    written.save_all(tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["report.html", "report.json", "report.md"]
    target = tmp_path / "mine.html"
    written.save(target)
    assert target.read_text(encoding="utf-8") == written.to_html()
    with pytest.raises(UsageError, match=r"\.html, \.json or \.md"):
        written.save(tmp_path / "mine.pdf")

    target.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        written.save(target)
    with pytest.raises(CheckpointError, match="No space left"):
        written.save_all(tmp_path)
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["mine.html", "new"]


def test_markdown_has_verdict_scores_cost_and_commands(content):
    content["models"][0]["name"] = "flow|a*b"
    text = report(content).to_markdown()
    for line in said(content):
        assert line.replace("|", "\\|").replace("*", "\\*") in text
    assert "**0.130 ± 0.008 (1.3×)**" in text
    assert content["commands"][0] in text
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 7
    for table in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_text_for_a_terminal_holds_verdict_and_scores(content):
    text = report(content).to_text()
    assert "- flow has the best Fréchet distance: 0.130 ± 0.008" in text
    assert re.search(r"^flow +0.130 ± 0.008 \* +0.00040 ± 0.00020 ", text, re.M)
    assert max(map(len, text.splitlines())) < 150
    assert re.search(r"^no network +", text, re.M)
    assert re.search(r"^real data +", text, re.M)
    assert "the ratio to what" not in text, "the terminal shows none"
    assert "In round brackets stands the ratio to what real data scores." in report(content).to_markdown()
    assert report({}).to_text() == ""
    assert "Fréchet distance ↓" in text


def test_the_scores_of_one_model_read_alike_in_evaluate_and_in_its_report(content):
    content["models"] = [model(content, "flow")]
    content["models"][0]["scores"]["kid"] |= {"value": -0.0012, "interval": [-0.0031, 0.0007]}
    given = comparison(content)
    terminal, printed, parts = scores_text(given, 110), as_text(given, 110), score_parts(given, 110)
    assert parts
    assert all(part in terminal and part in printed for part in parts)
    assert re.search(r"^KID ↓ +−0.0012 \[−0.0031, 0.0007\] +0.0000 ± 0.0003 ", terminal, re.M)
    assert re.search(r"^Fréchet distance ↓ +0.130 ± 0.008 +0.100 ± 0.010 +1.3× ", terminal, re.M)
    assert re.search(r"^Density → \S+ +", terminal, re.M), "the right value stands beside a score that has one"
    assert re.search(r" flow +real data +ratio +no network$", terminal, re.M)
    key = "; → the value that is right, or that real data has\n"
    assert f"\n\nHow to read the scores\n↓ lower is better; ↑ higher is better{key}" in terminal
    assert "<strong>→</strong> the value that is right, or that real data has<" in report(content).to_html()
    assert "[low, high] is the 95 % interval of a score" in terminal
    assert "Best" not in terminal, "a single model is compared with none"
    assert max(map(len, terminal.splitlines())) <= 110
    assert max(map(len, scores_text(given, 60).splitlines())) <= 60
