"""Constraints of tables: what they compare, messages, and how models are measured that hardly meet them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs.tables import Noise

from pushforward import spec
from pushforward.data import TableSpace, load
from pushforward.data.tables.columns import Category, Format, Number
from pushforward.data.tables.constraints import Constraint, check_constraints, holds
from pushforward.errors import DataError, UsageError
from pushforward.evaluation import evaluator as curves
from pushforward.evaluation.baselines import RowMixture
from pushforward.evaluation.evaluator import Judge, constraint_warnings
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report.tables import costs
from pushforward.solvers import Euler
from pushforward.transports import Map
from pushforward.transports.transport import MEASURED, Tally, counted, unmet_kept


def whole_numbers(least):
    """A model of one column, 0 to 999, whose constraint asks for at least such a number."""
    field = Number.measured("a", np.arange(1000.0), "whole", Format(0))
    space = TableSpace.of([field], constraints=(Constraint(f"a >= {least}"),))
    return Map(Noise(), space, space.shape)


def test_a_model_that_never_meets_its_constraints_is_measured_in_a_bounded_number_of_draws():
    with counted() as tally, unmet_kept():
        whole_numbers(2000).sample(30, batch=7)
    assert (tally.drawn, tally.refused, tally.unmet) == (30 * (1 + MEASURED), 30 * (1 + MEASURED), 30)


def test_the_share_of_refused_draws_and_samples_that_break_constraints_are_reported(monkeypatch):
    transport, scored = whole_numbers(500), []
    judge = SimpleNamespace(
        data=SimpleNamespace(space=dataclasses.replace(transport.space, constraints=(Constraint("a >= 3"),))),
        seed=0, n=10, sampling=lambda models: dict.fromkeys(models, ModelResult("x").sampling),
        scores=lambda sampler, name: (scored.append(len(sampler.sample(40))) or {}, None), _seeds=lambda scores: (),
    )  # fmt: skip
    monkeypatch.setattr("pushforward.evaluation.evaluator.pictures_of", lambda *parts: None)
    monkeypatch.setattr("pushforward.evaluation.evaluator.unseen_warnings", lambda *parts: ())
    result, _ = Judge.judge(judge, "flow", transport, curve=False)
    assert 0.3 < result.sampling.refused < 0.7
    assert [text for text in result.warnings if "constraint" in text] == [
        'it was trained without constraints that other models meet: "a >= 3".',
        'its samples meet constraints that the data of this comparison lacks: "a >= 500".',
    ]
    heading, table = costs(Comparison(models=(result, ModelResult("gan"))))[-1]
    (place,) = [at for at, column in enumerate(table.columns) if column.label == "Refused draws"]
    assert heading == "Sampling"
    assert [row.cells[place].value for row in table.rows] == [f"{result.sampling.refused:.1%}", "–"]
    assert constraint_warnings(transport.space, transport.space, Tally(40, 20)) == ()
    (text,) = constraint_warnings(transport.space, transport.space, Tally(40, 30, 7))
    assert text.startswith('samples that break the constraint "a >= 500" after 20 further draws')
    assert text.endswith(": 7.")


def test_a_curve_scores_the_values_of_rows_in_other_coordinates(monkeypatch):
    values, seen = object(), []
    monkeypatch.setattr(curves, "inner_of", lambda transport: transport)
    monkeypatch.setattr(curves, "with_inner", lambda transport, other: other)
    monkeypatch.setattr(curves, "has_steps", lambda transport: True)
    monkeypatch.setattr(curves, "score", lambda x, *parts, values, **more: seen.append(values) or {})
    flow = SimpleNamespace(solver=Euler(), steps=4, grid="time", calls=4, with_solver=lambda *parts: flow)
    said: list[str] = []
    judge = SimpleNamespace(draw=lambda *parts: (None, None, values), data=None, features=None, n=3, say=said.append)
    assert [point.steps for point in curves.quality_curve(judge, flow, {}, (1, 2), "rows")] == [1, 2, 4]
    assert seen == [values, values]
    assert said == ["rows, steps: 1", "rows, steps: 2"]


FIELDS = {
    field.name: field
    for field in (
        Number.measured("born", np.array([0.0, 86400.0, 3 * 86400.0]), "date", Format(pattern="%d.%m.%Y")),
        Number.measured("age", np.arange(9.0), "whole", Format(0)),
        Category.measured("home", np.array([0.0, 1.0, 2.0]), ["BE", "LU", "NL"]),
        Category.measured("work", np.array([0.0, 1.0, 1.0]), ["LU", "BE"]),
        Category.measured("size", np.array([0.0, 1.0, 2.0]), ["S", "M", "L"], "ordinal"),
        Category.measured("least", np.array([0.0, 1.0, 1.0]), ["S", "L"], "ordinal"),
        Category.measured("other", np.array([0.0, 1.0, 1.0]), ["L", "S"], "ordinal"),
        Category.measured("code", np.array([0.0, 1.0, np.nan]), ["3", "40"], "category"),
        Category.measured("paid", np.array([0.0, 1.0, 1.0]), ["TRUE", "false"], "boolean"),
        Category.measured("sent", np.array([0.0, 1.0, 1.0]), ["no", "yes"], "boolean"),
        Category.measured("flag", np.array([0.0, 1.0, 1.0]), ["0", "1"], "boolean"),
        Number.measured("seen", np.array([0.0, 86400.0]), "date", Format(pattern="%Y-%m-%dT%H:%M:%SZ")),
    )
}
ROWS = {name: np.array(column) for name, column in {
    "born": [0.0, 86400.0, np.nan], "age": [1.0, 2.0, 3.0], "home": [0.0, 1.0, 2.0], "work": [1.0, 1.0, 0.0],
    "size": [0.0, 1.0, 2.0], "least": [1.0, 0.0, 1.0], "other": [0.0, 1.0, 1.0], "code": [0.0, 1.0, np.nan],
    "paid": [0.0, 1.0, 0.0], "sent": [1.0, 1.0, 0.0], "flag": [1.0, 0.0, np.nan], "seen": [0.0, 18000.0, 86400.0],
}.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("born >= '1970-01-02'", "-++"),
        ("'02.01.1970' > born", "+-+"),
        ("age < '3'", "++-"),
        ("home == 'NL'", "--+"),
        ("home != 'NL'", "++-"),
        ("home != 'DE'", "+++"),
        ("code != '41'", "+++"),
        ("'XL' != size", "+++"),
        ("home == work", "+--"),
        ("work != home", "-++"),
        ("size >= 'M'", "-++"),
        ("size > least", "-+-"),
        ("size == least", "--+"),
        ("least > size", "+--"),
        ("code == '40'", "-++"),
        ("paid == 'TRUE'", "+-+"),
        ("seen >= '1970-01-01T10:00:00+05:00'", "-++"),
        ("seen > '1970-01-01T05:00:00'", "--+"),
        ("born + 86400 * age > 172800", "-++"),
    ],
)
def test_constraints_compare_dates_categories_and_levels_with_texts_and_with_one_another(text, met):
    """By hand; no level or category has the same number in two columns. A missing value meets any."""
    constraint = Constraint(text)
    check_constraints([constraint], FIELDS)
    assert "".join("-+"[int(held)] for held in holds(constraint, FIELDS, ROWS)) == met


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hom == 'LU'", 'Did you mean "home"?'),
        ("home == 'Lu'", 'Did you mean "LU"? Expected BE, LU, NL.'),
        ("home > work", "by == or !="),
        ("home + 1 == work", "by == or !="),
        ("size >= other", "no order in common"),
        ("born >= 'soon'", "such as 2021-03-04"),
    ],
)
def test_what_is_wrong_with_a_constraint_is_said_with_the_nearest_name(text, says):
    with pytest.raises(UsageError) as error:
        check_constraints([Constraint("age >= 0"), Constraint(text)], FIELDS)
    assert f'"{text}"' in str(error.value)
    assert says in str(error.value)


def test_rows_that_break_a_constraint_are_named_and_a_level_that_no_row_has_may_be_forbidden(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("born,home,work\n" + "".join(f"{1 + i % 28}.3.2021,{'ab'[i % 2]},{'bac'[i % 3]}\n" for i in range(60)))
    with pytest.raises(DataError, match=r'break the constraint "home == work": 40, in lines 2'):
        load(path, constraints=["home == work", "born >= '2021-03-01'"])
    data = load(path, constraints=["born >= '2021-03-01'", "home != 'lost'"])
    assert data.space.valid(data.train.x).all()
    assert spec.build(spec.describe(data.space)) == data.space


def test_a_model_that_breaks_constraints_warns_and_the_mixture_beside_it_does_not(monkeypatch, recwarn):
    model = whole_numbers(2000)
    x = torch.from_numpy(model.space.encoded(np.zeros((4, 1))))
    monkeypatch.setattr("pushforward.evaluation.evaluator.shared_stream", lambda *given, **options: iter([(x, None)]))
    judge = SimpleNamespace(n=4, seed=0, batch=4, data=SimpleNamespace(space=model.space))
    Judge.draw(judge, RowMixture(model.space, *[torch.ones(1)] * 4), 0)
    assert not recwarn
    Judge.draw(judge, model, 0)
    assert "4 of 4 samples do not meet" in str(recwarn.pop(UserWarning).message)
