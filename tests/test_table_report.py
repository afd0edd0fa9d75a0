"""Tables in evaluations and reports: what is scored, floors, attacks on models, pictures and
warnings.
"""

import dataclasses
import re

import pytest
import torch
from programs.tables import mixed_table

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
        chosen_rows = (torch.special.ndtr(z[:, 0].double()) * len(DATA.train)).long()
        x = DATA.train.data_units(chosen_rows.numpy())
        x[:, 0] += self.moved
        return self.space.to_model(x)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(tmp_path_factory.mktemp("cache")))
        judge = Evaluator(DATA, repeats=1)
        models = [
            ModelResult(name, scores=judge.scores(Rows(moved))[0])
            for name, moved in (("copy", 0.0), ("moved", 2.0))
        ]
        return judge.comparison(models, baselines=True)


def test_the_coordinates_of_rows_are_what_is_compared():
    assert kind_of(DATA) == "raw"
    assert space.RAW_COORDINATES == extractor.MOST
    values = DATA.space.values(DATA.train.x)
    seen = table_of(DATA.space, values[:5], values)
    assert seen.missing == tuple(field.missing for field in DATA.space.fields)
    assert [name for name, missing in zip(seen.names, seen.missing, strict=True) if missing] == [
        "kind"
    ]
    assert (seen.names, seen.target) == (DATA.space.names, DATA.space.target)
    assert [len(labels) for labels in seen.labels] == [
        len(getattr(field, "names", ())) for field in DATA.space.fields
    ]


def test_a_table_has_its_own_scores_and_floors(comparison):
    for model in comparison.models:
        assert set(model.scores) == SHOWN | COPIES | ATTACKS
        assert all(
            score.interval is not None
            for name, score in model.scores.items()
            if name not in NO_INTERVAL
        )
    real_data_scores = comparison.real_data_scores
    assert set(real_data_scores) == SHOWN | COPIES | ATTACKS
    assert len(real_data_scores["detection"].values) == 5
    assert len(real_data_scores["utility_auc"].values) == 1
    assert (
        comparison.protocol.versions["utility_auc"]
        == comparison.protocol.versions["beta_recall"]
        == "definition 2"
    )
    assert len(real_data_scores["energy"].values) == 10
    assert real_data_scores["detection"].value > 0.7
    for name in ATTACKS:
        assert abs(real_data_scores[name].value - 0.5) < 0.15
    assert comparison.data.columns == DATA.space.names
    assert [
        name for name, info in describe().items() if info.role == "quality" and info.priority == 0
    ] == ["detection"]


def test_an_attack_on_a_model_has_more_samples_than_are_compared(comparison):
    assert (
        DATA.space.samples_needed(10, len(DATA.train))
        == 2 * len(DATA.train)
        > comparison.settings.n
    )
    assert comparison["copy"].scores["membership"].value > 0.8
    assert comparison["copy"].scores["nearest_ratio"].value == 0


def test_the_verdict_names_copies_attacks_and_the_columns_that_give_samples_away(comparison):
    said = [finding.text for finding in findings(comparison)]
    attack = next(text for text in said if "attacker" in text)
    assert re.search(r"copy \(AUC 0\.\d+\)", attack)
    assert attack in answers(comparison)["Privacy"]
    single = answers(dataclasses.replace(comparison, models=comparison.models[1:]))
    assert list(single) == ["Quality", "Baseline", "Privacy", "Problems"]
    assert "classifier can tell" in single["Quality"]
    first = DATA.space.names[0]
    for what, where in (("column", first), ("pair", r"\w+ and \w+")):
        assert re.search(
            rf"{what} error in {where} of [\d.]+ %.* [\d.]+ % for real data", single["Problems"]
        )
    assert any(f"moved ({first}" in text and "real rows" in text for text in said)


@pytest.mark.parametrize(("spread", "named"), [(0.01, True), (0.2, False)])
def test_columns_are_named_only_where_the_score_is_significantly_below_real_data(spread, named):
    extra = {"columns": ("a", "b", "c", "d"), "falls": (0.005, 0.3, 0.2, 0.1)}
    scores = {"detection": Score(0.7, extra=extra)}
    known = {
        "metrics": {"detection": describe()["detection"]},
        "real_data_scores": {"detection": Score(0.95, spread)},
    }
    model = ModelResult("it", scores=scores)
    texts = [finding.text for finding in given_away(Comparison(models=(model,), **known))]
    assert texts == (
        ["A classifier can tell samples of it (b, c, d) from real rows."] if named else []
    )


@pytest.mark.parametrize(("value", "words"), [(0.7, "can tell"), (0.9, "can hardly tell")])
def test_the_quality_of_tables_is_told_in_words(value, words):
    known = {
        "metrics": {"detection": describe()["detection"]},
        "real_data_scores": {"detection": Score(0.95, 0.01)},
    }
    model = ModelResult("it", scores={"detection": Score(value)})
    quality = answers(Comparison(models=(model,), **known))["Quality"]
    assert f"classifier {words} samples from real rows" in quality


def test_floors_are_kept_apart_by_the_code_that_they_depend_on(tmp_path):
    first = real_data_path(tmp_path, "key", 10, 5, chosen(["detection"]))
    assert first == real_data_path(tmp_path, "key", 10, 5, chosen(["detection"]))
    others = [
        ("key", 10, 6, ["detection"]),
        ("other", 10, 5, ["detection"]),
        ("key", 10, 5, ["energy"]),
    ]
    paths = {
        real_data_path(tmp_path, key, n, redraws, chosen(names))
        for key, n, redraws, names in others
    }
    assert len(paths | {first}) == 4
