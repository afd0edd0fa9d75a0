"""Tables in evaluations and reports: what is scored, floors, attacks on models, pictures and
warnings.
"""

import dataclasses
import re

import pytest
import torch
from programs.tables import mixed_table
from programs.text_tables import cases

from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.features import kind_of
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.evaluation.scores import real_data_path
from pushforward.extractors import extractor
from pushforward.metrics import Score, describe
from pushforward.metrics.score import chosen
from pushforward.report.answers import answers
from pushforward.report.findings import findings
from pushforward.report.model_findings import given_away
from pushforward.tables import space
from pushforward.tables.metrics.table import table_of
from pushforward.transports import Transport

DATA = mixed_table(1000, seed=1)
SHOWN = {
    "detection",
    "alpha_precision",
    "beta_recall",
    "energy",
    "column_error",
    "pair_error",
    "utility_auc",
    "distinct_samples",
}
NO_INTERVAL = {"utility_auc", "distinct_samples"}
COPIES = {
    "near_copies",
    "authenticity",
    "held_out_ratio",
    "copying_test",
    "nearest_ratio",
    "nearer_training",
    "unique_texts",
}
ATTACKS = {"membership", "membership_ratio"}


class Rows(Transport):
    """Training rows, the first number of which may be moved."""

    calls = 1

    def __init__(self, moved=0.0):
        super().__init__()
        self.moved = moved
        self.space = DATA.space
        self.noise_shape = (1,)

    def forward(self, z, condition=None, draws=None):
        uniform = torch.special.ndtr(z[:, 0].double())
        chosen_rows = (uniform * len(DATA.train)).long()
        x = DATA.train.data_units(chosen_rows.numpy())
        x[:, 0] += self.moved
        return self.space.to_model(x)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(tmp_path_factory.mktemp("cache")))
        judge = Evaluator(DATA, repeats=1)
        models = []
        for name, moved in (("copy", 0.0), ("moved", 2.0)):
            scores, _ = judge.scores(Rows(moved))
            models.append(ModelResult(name, scores=scores))
        return judge.comparison(models, baselines=True)


def test_the_coordinates_of_rows_are_what_is_compared():
    assert kind_of(DATA) == "raw"
    assert space.RAW_COORDINATES == extractor.MOST
    values = DATA.space.values(DATA.train.x)
    seen = table_of(DATA.space, values[:5], values)
    assert seen.names == DATA.space.names
    assert seen.target == DATA.space.target
    for field, missing, labels in zip(DATA.space.fields, seen.missing, seen.labels, strict=True):
        assert missing == field.missing == (field.name == "kind")
        assert len(labels) == len(getattr(field, "names", ()))


def test_a_table_has_its_own_scores(comparison):
    for model in comparison.models:
        assert set(model.scores) == SHOWN | COPIES | ATTACKS
        for name, score in model.scores.items():
            assert score.interval is not None or name in NO_INTERVAL
    versions = comparison.protocol.versions
    assert versions["utility_auc"] == "definition 2"
    assert versions["beta_recall"] == "definition 2"
    assert comparison.data.columns == DATA.space.names
    most_important = []
    for name, info in describe().items():
        if info.role == "quality" and info.priority == 0:
            most_important.append(name)
    assert most_important == ["detection"]


def test_a_table_has_scores_of_real_data(comparison):
    scores = comparison.real_data_scores
    assert set(scores) == SHOWN | COPIES | ATTACKS
    assert len(scores["detection"].values) == 5
    assert len(scores["utility_auc"].values) == 1
    assert len(scores["energy"].values) == 10
    assert scores["detection"].value > 0.7
    for name in ATTACKS:
        assert abs(scores[name].value - 0.5) < 0.15


def test_an_attack_on_a_model_has_more_samples_than_are_compared(comparison):
    space = DATA.space
    needed = space.samples_needed(10, len(DATA.train))
    assert needed == 2 * len(DATA.train)
    assert space.samples_needed(10, 30_000) == 30_000, "a predictor learns from as many"
    assert space.samples_needed(10, 90_000) == 50_000
    assert needed > comparison.settings.n
    scores = comparison["copy"].scores
    assert scores["membership"].value > 0.8
    assert scores["nearest_ratio"].value == 0


def test_the_verdict_names_copies_attacks_and_the_columns_that_give_samples_away(comparison):
    said = [finding.text for finding in findings(comparison)]
    first = DATA.space.names[0]
    (attack,) = [text for text in said if "attacker" in text]
    assert re.search(r"copy \(AUC 0\.\d+\)", attack)
    assert attack in answers(comparison)["Privacy"]
    moved = [text for text in said if f"moved ({first}" in text]
    assert any("real rows" in text for text in moved)


@cases(r"""
    what    where
    column  number
    pair    \w+ and \w+
""")
def test_the_verdict_on_a_single_model_names_its_worst_column_and_pair(comparison, what, where):
    single = dataclasses.replace(comparison, models=comparison.models[1:])
    said = answers(single)
    assert list(said) == ["Quality", "Baseline", "Privacy", "Problems"]
    assert "classifier can tell" in said["Quality"]
    problem = rf"{what} error in {where} of [\d.]+ %.* [\d.]+ % for real data"
    assert re.search(problem, said["Problems"])


def judged(score, real):
    """A comparison of a model by detection alone."""
    return Comparison(
        models=(ModelResult("it", scores={"detection": score}),),
        metrics={"detection": describe()["detection"]},
        real_data_scores={"detection": real},
    )


@pytest.mark.parametrize(("spread", "named"), [(0.01, True), (0.2, False)])
def test_columns_are_named_only_where_the_score_is_significantly_below_real_data(spread, named):
    extra = {"columns": ("a", "b", "c", "d"), "falls": (0.005, 0.3, 0.2, 0.1)}
    comparison = judged(Score(0.7, extra=extra), Score(0.95, spread))
    texts = [finding.text for finding in given_away(comparison)]
    expected = []
    if named:
        expected = ["A classifier can tell samples of it (b, c, d) from real rows."]
    assert texts == expected


@pytest.mark.parametrize(("value", "words"), [(0.7, "can tell"), (0.9, "can hardly tell")])
def test_the_quality_of_tables_is_told_in_words(value, words):
    comparison = judged(Score(value), Score(0.95, 0.01))
    quality = answers(comparison)["Quality"]
    assert f"classifier {words} samples from real rows" in quality


def test_floors_are_kept_apart_by_the_code_that_they_depend_on(tmp_path):
    def path(key, n, redraws, metric):
        return real_data_path(tmp_path, key, n, redraws, chosen([metric]))

    first = path("key", 10, 5, "detection")
    assert path("key", 10, 5, "detection") == first
    others = {
        path("key", 10, 6, "detection"),
        path("other", 10, 5, "detection"),
        path("key", 10, 5, "energy"),
    }
    assert len(others | {first}) == 4
