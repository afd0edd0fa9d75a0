"""Results as objects: what a metric declares is where a report puts it, and what JSON gives back."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import pushforward as pf
from pushforward import metrics, plugins
from pushforward.errors import UsageError
from pushforward.evaluation import scores as scoring
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.metrics.two_sample import Kernel
from pushforward.registries import METRICS
from pushforward.report import statistics, tables
from pushforward.report.findings import findings

TILT = '''
"""Tilt: how far the mean of samples lies from that of real data."""

from pushforward.metrics.score import MetricInfo, Samples, Score


class Tilt:
    """Distance between the means of generated and held-out examples."""

    scores = {
        "tilt": MetricInfo("Tilt", "lower", "Distance between means.", group="Colour and tilt"),
        "lean": MetricInfo("Lean", "higher", "A share.", unit="%", group="Quality and diversity", role="quality", priority=0),
    }

    def applies(self, samples: Samples) -> bool:
        return True

    def __call__(self, samples: Samples) -> dict[str, Score]:
        gap = float(abs(samples.generated.mean(0) - samples.reference.mean(0)).max())
        return {"tilt": Score(gap, error=0.5), "lean": Score(1 / (1 + gap))}
'''


@pytest.fixture
def tilted(tmp_path, monkeypatch):
    """A new metric: one file."""
    (tmp_path / "tilt.py").write_text(TILT)
    monkeypatch.setattr(METRICS, "added", {})
    plugins.load(tmp_path / "tilt.py")
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    return tmp_path


def gaussians(seed=0):
    from pushforward.data import VectorSpace
    from pushforward.data.core.dataset import Dataset, Split

    rows = np.random.default_rng(seed).normal(size=(120, 2)).astype(np.float32)
    return Dataset("cloud", VectorSpace((2,), (0.0, 0.0), (1.0, 1.0)), Split(rows[:80]), Split(rows[80:]))


def test_a_new_metric_is_one_file_and_stands_where_it_says(tilted, capsys):
    from pushforward.cli import main
    from pushforward.evaluation.baselines import GaussianBaseline

    data = gaussians()
    comparison = pf.compare({"it": GaussianBaseline.fit(data)}, data, n=20, repeats=2, curve=False)
    score = comparison["it"].scores["tilt"]
    assert score.value == pytest.approx(np.mean(score.values))
    assert (score.error, score.n, len(comparison.floors["tilt"].values)) == (0.5, 20, scoring.REDRAWS)
    headings = [heading for heading, _ in tables.scorecards(comparison)]
    assert headings == ["Quality and diversity", "Memorisation", "Two-sample comparisons", "Colour and tilt"]
    assert any(one.text.startswith("Of it (") and " in lean" in one.text for one in findings(comparison)), (
        "before Fréchet distance"
    )
    page = pf.Report(comparison).to_html()
    assert "Lean" in page or "lean" in page
    assert "Distance between means." in page
    assert re.search(r"\| it \|.* % ", pf.Report(comparison).to_markdown()), "a share"
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert list(pf.evaluate(GaussianBaseline.fit(data), data, n=20, metrics=["lean"]).models[0].scores) == ["lean"]
    assert main(["list", "metrics", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["tilt"]["scores"] == ["tilt", "lean"]
    assert listed["bpd"]["scores"] == ["bpd"], "bits per dimension is one more metric"


def test_a_metric_of_ones_own_is_registered_by_name(monkeypatch):
    monkeypatch.setattr(METRICS, "added", {})

    class Mine:
        scores = {"mine": MetricInfo("Mine")}  # noqa: RUF012

        def applies(self, samples):
            return True

        def __call__(self, samples):
            return {"mine": Score(1.0)}

    metrics.register("mine", Mine)
    metrics.register("mine", Mine)
    assert describe()["mine"].label == "Mine"
    for name, part in (("frechet", Mine), ("other", Mine), ("kernel", Kernel)):
        with pytest.raises(UsageError, match="belongs to another metric"):
            metrics.register(name, part)
    with pytest.raises(UsageError, match="not a metric"):
        metrics.register("path", Path)


def compared():
    values = {"frechet": (0.2, 0.4), "near_copies": (0.01, 0.0), "modes_held": (8.0, 7.0), "sharpness": (0.9, 0.8)}
    values["authenticity"] = (0.5, 0.4)
    models = [
        ModelResult(name, scores={metric: Score(both[at], 0.01, ratio=2.0) for metric, both in values.items()})
        for at, name in enumerate(("flow", "gan"))
    ]
    floors = {metric: Score(0.1, 0.01) for metric in values}
    order = ("sharpness", "modes_held", "authenticity", "near_copies", "frechet")
    return Comparison("two", models=models, metrics={name: describe()[name] for name in order}, floors=floors)


def test_groups_come_from_the_metrics_those_that_rank_first_and_further_checks_last():
    assert statistics.groups(compared()) == [
        ("Quality and diversity", ["frechet"]),
        ("Modes", ["modes_held"]),
        ("Memorisation", ["near_copies", "authenticity"]),
        ("Further checks", ["sharpness"]),
    ]


def test_every_registered_score_reads_back_and_shares_are_in_per_cent():
    for info in describe().values():
        assert MetricInfo.from_json(info.to_json()) == info
    (_, table) = next(card for card in tables.scorecards(compared()) if card[0] == "Memorisation")
    assert [cell.flat for cell in table.rows[0].cells] == ["1.0 ± 1.0 %", "50.0 ± 1.0 %"]
    assert table.columns[0].hint == "→ 10.0 %"


def test_texts_of_results_are_short():
    comparison = compared()
    assert repr(comparison) == 'Comparison("two", models: 2, scores: 5, n = None)'
    lines = str(comparison).splitlines()
    assert len(lines) == 1 + 1 + 2 + 1
    assert lines[2].split("  ")[0] == "flow"
    assert repr(comparison["gan"]).startswith('ModelResult("gan": frechet 0.400 ± 0.010, near_copies')
    named = dataclasses.replace(comparison, models=(ModelResult("<b>", scores={"kid": Score(1.0)}),))
    assert "<b>" not in named._repr_html_()
    assert "&lt;b&gt;" in named._repr_html_()


def test_scores_that_are_not_finite_are_none_and_numbers_stay():
    assert Score(math.inf).value is None
    assert math.isnan(Score(math.nan).number)
    assert Score(np.float32(0.5)) == Score(0.5)
    assert Score(2, values=[1, 3]).values == (1, 3)
