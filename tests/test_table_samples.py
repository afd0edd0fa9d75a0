"""Samples of tables and their constraints: written as the file of the data is, read again, drawn
again where they break one.
"""

import ast
import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs.table_files import mixed_columns
from programs.tables import Noise

import pushforward as pf
from pushforward import spec
from pushforward.cli import main
from pushforward.conditions import Label
from pushforward.data import TableSpace, load
from pushforward.data.core.hashes import permutation
from pushforward.draws import ExampleDraws
from pushforward.errors import DataError, Diverged, UsageError
from pushforward.evaluation import curves, evaluator
from pushforward.evaluation.results import ModelResult
from pushforward.evaluation.samples import given_samples
from pushforward.metrics import Score
from pushforward.samples import write_samples
from pushforward.solvers import Euler
from pushforward.tables.baselines import RowMixture
from pushforward.tables.columns import Category, Format, Number
from pushforward.tables.constraints import Constraint, check_constraints, holds
from pushforward.transports import Map
from pushforward.transports.redrawing import (
    MEASURED,
    RejectionSampler,
    Tally,
    counted,
    unmet_kept,
    warn_unmet,
    without_rejection,
)

TEXT = "start;end;flag\n" + "".join(
    f"{i % 13};{i % 13 + i % 3};{('no', 'yes')[i % 2]}\n" for i in range(400)
)


def table(tmp_path, text=TEXT, name="t.csv", **options):
    (tmp_path / name).write_text(text)
    return load(tmp_path / name, **options)


@pytest.mark.parametrize("ending", ["csv", "tsv", "npz"])
@pytest.mark.parametrize("header", [True, False])
def test_samples_are_written_as_the_file_is_and_read_again(tmp_path, ending, header):
    columns = mixed_columns(90)
    rows = [
        ";".join(f'"{cell}"' if ";" in cell else cell for cell in row)
        for row in zip(*columns.values(), strict=True)
    ]
    if header:
        rows = [";".join(columns), *rows]
    data = table(
        tmp_path, "\n".join(rows) + "\n", header=header, target="member" if header else None
    )
    x = torch.from_numpy(data.train.x)
    file = tmp_path / f"new.{ending}"
    write_samples(file, data.space, len(x), [(x[:7], None), (x[7:], None)])
    if ending != "npz":
        lines = [
            line.replace("\t", ";").replace('"', "") for line in file.read_text().split("\n")[:-1]
        ]
        assert set(lines) <= {row.replace('"', "") for row in rows}
        assert lines[0] == rows[0] or not header
    actual = given_samples(file, data).x
    expected = data.train.x[permutation(len(x), 0)]
    assert np.array_equal(actual, expected)


def test_samples_of_other_columns_and_values_are_refused(tmp_path):
    data = table(tmp_path)
    numbers = table(
        tmp_path, "size;flag\n" + "".join(f"{i}.5;{('no', 'yes')[i % 2]}\n" for i in range(90))
    )
    for known, text, says in (
        (data, "start;end\n1;2\n1;3\n", "columns flag"),
        (numbers, "size;flag\n1.5;maybe\nx;no\n", r'"size".*line 3 \("x"\)'),
    ):
        (tmp_path / "new.csv").write_text(text)
        with pytest.raises(DataError, match=says):
            given_samples(tmp_path / "new.csv", known)
    (tmp_path / "new.csv").write_text("size;flag\n1.5;maybe\n3.5;no\n")
    given = given_samples(tmp_path / "new.csv", numbers)
    names = sorted(given.values[:, 1])
    assert names == [0, 2], "another text is a value that the model does not know"
    (tmp_path / "new.csv").write_text("flag,more,start,end\nNo,1,3.0,4\nyes,2,2,5\n")
    values = data.space.values(given_samples(tmp_path / "new.csv", data).x)[
        np.argsort(permutation(2, 0))
    ]
    assert [field.kind for field in data.space.fields] == ["ordinal", "ordinal", "boolean"]
    actual = data.space.cells(data.space.encoded(values))[0]
    assert actual == ["3", "4", "no"]


def met(text, values):
    return holds(
        Constraint(text),
        {name: Number.measured(name, column) for name, column in values.items()},
        values,
    )


@pytest.mark.parametrize("seed", range(3))
def test_constraints_are_what_python_says(seed):
    rng = np.random.default_rng(seed)
    values = {name: rng.integers(-3, 4, 50).astype(float) for name in ("a", "b", "c")}
    values["b"][:5] = np.nan
    for text in (
        "a >= b",
        "a - 2 * b < c + 1",
        "a != c",
        "a == -c",
        "-1 <= a < b + c",
        "a * b <= 3.5",
    ):
        expected = [
            eval(
                compile(ast.parse(text, mode="eval"), "", "eval"),
                {name: v[i] for name, v in values.items()},
            )
            for i in range(50)
        ]
        absent = np.isnan(values["b"]) & ("b" in text)
        assert (met(text, values) == np.where(absent, True, expected)).all(), text
    quoted = Constraint("`a b` >= `c-d`")
    assert quoted.names == ("a b", "c-d")
    actual = met(quoted.text, {"a b": np.array([1.0, 2.0]), "c-d": np.array([2.0, 1.0])}).tolist()
    assert actual == [False, True]
    assert met(
        "a + b == c", {"a": np.array([0.1]), "b": np.array([0.2]), "c": np.array([0.3])}
    ).all()
    assert not met("a < b", {"a": np.array([0.3]), "b": np.array([0.1 + 0.2])}).any()


def test_a_row_with_any_missing_value_meets_a_chain():
    values = np.where(np.eye(3, dtype=bool), np.nan, [3.0, 2.0, 1.0])
    assert met("a <= b <= c", dict(zip("abc", values.T, strict=True))).all()
    assert not met(
        "a <= b <= c", {"a": np.array([3.0]), "b": np.array([2.0]), "c": np.array([1.0])}
    ).any()


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a >= __import__('os')",
        "a.b > 1",
        "a > 'x' > b",
        "a ** 9 > 1",
        "a >",
        "a" + " + a" * 300 + " > 0",
    ],
)
def test_what_is_no_constraint_is_refused(text):
    with pytest.raises(UsageError, match="constraint"):
        Constraint(text)


def test_rows_that_break_a_constraint_are_named(tmp_path):
    text = TEXT.replace("\n4;4;no\n", "\n4;3;no\n", 1)
    with pytest.raises(DataError, match=r'constraint "end >= start" .* 1 row \(lines \d+'):
        table(tmp_path, text, constraints="end >= start")
    for constraint, says in {
        "end >= begin": '"begin"',
        "flag > 0": "common order",
        "`end` >= x": '"x"',
    }.items():
        with pytest.raises(UsageError, match=says):
            table(tmp_path, constraints=[constraint])
    levels = "a;b\n" + "".join(f"{7 + i % 5};{i % 2}\n" for i in range(90))
    kind = table(tmp_path, levels, table=True, constraints=["a >= 7"]).space.fields[0].kind
    assert kind == "ordinal"
    data = table(tmp_path, constraints=["end >= start", "end - start <= 2"])
    assert load(**data.origin).space == data.space == spec.build(spec.describe(data.space))
    assert data.space.valid(torch.from_numpy(data.train.x)).all()


def rough(space):
    return Map(Noise(), space, space.shape)


def test_samples_meet_constraints_and_depend_on_their_own_seed_alone(tmp_path):
    free, bound = (rough(table(tmp_path, constraints=c).space) for c in ((), ("end >= start",)))
    with counted() as tally:
        x = bound.sample(60, seed=5)
    values = bound.space.values(x)
    plain = free.sample(60, seed=5)
    broken = ~bound.space.valid(plain)
    assert (values[:, 1] >= values[:, 0]).all()
    assert 10 < broken.sum() < 50
    assert torch.equal(x[~broken], plain[~broken])
    assert tally.drawn == 60 + tally.refused
    assert tally.refused >= broken.sum()
    assert all(torch.equal(bound.sample(1, seed=5 + i)[0], x[i]) for i in range(0, 60, 7))
    assert torch.equal(bound.sample(60, seed=5, batch=7), x)
    with without_rejection():
        assert torch.equal(bound.sample(60, seed=5), plain)
    again = bound.part(0, 60, None, 5)[0]
    assert torch.equal(again, x)
    assert not torch.equal(
        ExampleDraws([5], name="sample/again 1").normal((3,)), ExampleDraws([5]).normal((3,))
    )


def test_samples_that_never_meet_a_constraint_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("pushforward.transports.redrawing.TURNS", 2)
    data = table(tmp_path, constraints="start * start >= 0 * end")
    assert data.space.constraints[0].names == ("start", "end")
    space = table(
        tmp_path,
        "a;b\n" + "".join(f"{i}.5;{i}.5\n" for i in range(200)),
        constraints="a == b",
        table=True,
    ).space
    transport = rough(space)
    with pytest.raises(
        Diverged, match=r'0 of 9 samples satisfy the constraint "a == b"\. .* compute it'
    ):
        pf.samples.draw_to(tmp_path / "x.csv", transport, 9)
    assert not (tmp_path / "x.csv").exists()
    with pytest.raises(Diverged, match="0 of 9"):
        transport.part(0, 9, None, 0)
    monkeypatch.undo()
    monkeypatch.setattr("pushforward.transports.redrawing.HOPELESS", 60)
    with (
        counted() as tally,
        pytest.raises(
            Diverged,
            match=r'0 of 60 generated rows satisfy the constraint "a == b"\. .* compute it',
        ),
    ):
        transport.sample(70, batch=10)
    assert (tally.drawn, tally.refused) == (60, 60)
    monkeypatch.setattr("pushforward.transports.redrawing.TURNS", 2)
    with counted() as tally, unmet_kept():
        x = transport.sample(70, batch=20)
    broken = int((~space.valid(x)).sum())
    assert (tally.drawn - tally.refused, len(x)) == (70 - broken, 70)
    assert tally.drawn > 200, "within `unmet_kept` every sample has all its draws"
    with pytest.warns(
        UserWarning, match=f'{broken} of 70 samples violate the constraint "a == b". Advice'
    ):
        warn_unmet(space, x, "Advice")


def test_points_between_two_seeds_are_written_with_a_warning_that_names_the_broken_constraint(
    tmp_path,
):
    space = table(tmp_path, constraints=("end >= start", "end >= 0 * start")).space
    x = torch.from_numpy(
        space.encoded(np.array([[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [8.0, 0.0, 0.0]]))
    )
    with pytest.warns(UserWarning, match=r'2 of 3 .* "end >= start" and'):
        pf.samples.frames_to(tmp_path / "strip.csv", space, x)
    assert len((tmp_path / "strip.csv").read_text().splitlines()) == 4


class Seldom(Map):
    """Meets the constraint in the first draw of its first five samples, and in no other."""

    def _drawn(self, condition, draws):
        x = self.space.encoded(np.tile([9.0, 0.0, 0.0], (len(draws.seeds), 1)))
        met = [seed < 5 and draws.name == "sample" for seed in draws.seeds]
        x[met] = self.space.encoded(np.array([[0.0, 9.0, 0.0]]))
        return torch.from_numpy(x)


@pytest.mark.parametrize(
    "sampled", [lambda t: t.sample(12, batch=3), lambda t: t.part(0, 12, None, 0)]
)
def test_rows_that_meet_no_constraint_are_counted_over_all_batches(tmp_path, monkeypatch, sampled):
    monkeypatch.setattr("pushforward.transports.redrawing.TURNS", 4)
    monkeypatch.setattr("pushforward.transports.redrawing.HOPELESS", 6)
    space = table(tmp_path, constraints=("end >= start", "end >= 0 * start")).space
    with (
        counted() as tally,
        pytest.raises(Diverged, match=r'5 of 12 samples satisfy .* "end >= start" and'),
    ):
        sampled(Seldom(Noise(), space, space.shape))
    assert (tally.drawn, tally.refused) == (12 + 4 * 7, 5 * 7)


def test_draws_of_several_processes_are_counted_together(tmp_path):
    space = table(tmp_path, constraints="end >= start").space
    redrawing = RejectionSampler(space, 40)
    x = rough(space).sample(20)
    redrawing.drawn(lambda condition, draws: x, None, ExampleDraws(0, 20))
    with counted() as tally:
        redrawing.join(lambda own: [2 * own[0], own[1] + 3, own[2] + 1])
        redrawing.join(lambda own: [2 * count for count in own])
    assert redrawing.tally == Tally(40, 3, 1)
    assert tally == Tally(20, 3, 1)


def test_each_sample_has_its_own_condition_in_batches_of_any_size():
    space = pf.data.ImageSpace(
        (1, 2, 2), (0.0,), (1.0,), (0.0,), (1.0,), {"label": Label(tuple("abc"), (0.2, 0.3, 0.5))}
    )

    class Known(torch.nn.Module):
        def forward(self, z, t=None, condition=None):
            return condition["label"][:, None, None, None] / 10 + 0 * z

    labels = [0, 2, 1, 1, 0, 2, 2]
    model = Map(Known(), space, space.shape)
    for batch in (7, 3, 1):
        x = model.sample(7, {"label": labels}, batch=batch)
        expected = torch.tensor(labels) / 10
        torch.testing.assert_close(x[:, 0, 0, 0], expected)


def seldom_met(share):
    """A model of one column whose samples meet its constraint in about such a share."""
    field = Number.measured("a", np.arange(1000.0), "whole", Format(0))
    return rough(
        TableSpace.of([field], constraints=(Constraint(f"a >= {round(1000 * (1 - share))}"),))
    )


def test_which_samples_are_drawn_again_is_the_same_in_batches_of_any_size(monkeypatch):
    monkeypatch.setattr("pushforward.transports.redrawing.TURNS", 6)
    transport = seldom_met(0.02)
    drawn = []
    for batch in (50, 256, 600):
        with counted() as tally, unmet_kept():
            drawn.append((transport.sample(600, seed=3, batch=batch), tally.drawn))
    assert all(torch.equal(x, drawn[0][0]) and count == drawn[0][1] for x, count in drawn)
    assert drawn[0][1] > 3000


def test_a_model_of_a_table_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TEXT)
    options = [
        "--constraint",
        "end >= start",
        "--constraint",
        "end <= start + 2",
        "--target",
        "flag",
    ]
    code = main(
        [
            "train",
            "flow",
            "--size",
            "tiny",
            "--data",
            "t.csv",
            *options,
            "--steps",
            "2",
            "--out",
            "run",
        ]
    )
    assert code == 0
    assert main(["sample", "run", "--n", "9", "--out", "new.csv"]) == 0
    assert re.search(
        r"[\d,]+ of [\d,]+ draws \(\d+\.\d%\) violated the constraints .* and were",
        capsys.readouterr().err,
    )
    header, *rows = (tmp_path / "new.csv").read_text().split()
    assert (header, len(rows)) == ("start;end;flag", 9)
    for row in rows:
        start, end, flag = row.split(";")
        assert int(start) <= int(end) <= int(start) + 2
        assert flag in ("no", "yes")
    frame = pf.load("run").sample(9)
    assert [";".join(map(str, row)) for row in frame.itertuples(index=False)] == rows
    assert 0 < frame.attrs["drawn_again"] < 1


def whole_numbers(least):
    """A model of one column, 0 to 999, whose constraint asks for at least such a number."""
    field = Number.measured("a", np.arange(1000.0), "whole", Format(0))
    constraints = (Constraint(f"a >= {least}"),)
    space = TableSpace.of([field], constraints=constraints)
    return Map(Noise(), space, space.shape)


def test_a_model_that_never_meets_its_constraints_is_measured_in_a_bounded_number_of_draws():
    with counted() as tally, unmet_kept():
        whole_numbers(2000).sample(30, batch=7)
    assert (tally.drawn, tally.refused, tally.unmet) == (
        30 * (1 + MEASURED),
        30 * (1 + MEASURED),
        30,
    )


FIELDS = {
    field.name: field
    for field in (
        Number.measured(
            "born", np.array([0.0, 86400.0, 3 * 86400.0]), "date", Format(pattern="%d.%m.%Y")
        ),
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
        Number.measured(
            "seen", np.array([0.0, 86400.0]), "date", Format(pattern="%Y-%m-%dT%H:%M:%SZ")
        ),
    )
}
CELLS = {
    "born": [0.0, 86400.0, np.nan],
    "age": [1.0, 2.0, 3.0],
    "home": [0.0, 1.0, 2.0],
    "work": [1.0, 1.0, 0.0],
    "size": [0.0, 1.0, 2.0],
    "least": [1.0, 0.0, 1.0],
    "other": [0.0, 1.0, 1.0],
    "code": [0.0, 1.0, np.nan],
    "paid": [0.0, 1.0, 0.0],
    "sent": [1.0, 1.0, 0.0],
    "flag": [1.0, 0.0, np.nan],
    "seen": [0.0, 18000.0, 86400.0],
}
ROWS = {name: np.array(column) for name, column in CELLS.items()}


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
    """By hand; no level or category has the same number in two columns. A missing value
    meets any.
    """
    constraint = Constraint(text)
    check_constraints([constraint], FIELDS)
    actual = "".join("-+"[int(held)] for held in holds(constraint, FIELDS, ROWS))
    assert actual == met


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hom == 'LU'", 'Did you mean "home"?'),
        ("home == 'Lu'", 'Did you mean "LU"? Expected BE, LU, NL.'),
        ("home > work", "by == or !="),
        ("home + 1 == work", "by == or !="),
        ("size >= other", "no common order"),
        ("born >= 'soon'", "such as 2021-03-04"),
    ],
)
def test_what_is_wrong_with_a_constraint_is_said_with_the_nearest_name(text, says):
    with pytest.raises(UsageError) as error:
        check_constraints([Constraint("age >= 0"), Constraint(text)], FIELDS)
    assert f'"{text}"' in str(error.value)
    assert says in str(error.value)
    with pytest.raises(UsageError, match=re.escape(says)):
        TableSpace.of(list(FIELDS.values()), constraints=(Constraint(text),))


def test_rows_that_break_a_constraint_are_named_and_a_level_that_no_row_has_may_be_forbidden(
    tmp_path,
):
    path = tmp_path / "t.csv"
    path.write_text(
        "born,home,work\n"
        + "".join(f"{1 + i % 28}.3.2021,{'ab'[i % 2]},{'bac'[i % 3]}\n" for i in range(60))
    )
    with pytest.raises(DataError, match=r'constraint "home == work" .* 40 rows \(lines 2'):
        load(path, constraints=["home == work", "born >= '2021-03-01'"])
    data = load(path, constraints=["born >= '2021-03-01'", "home != 'lost'"])
    assert data.space.valid(data.train.x).all()
    assert spec.build(spec.describe(data.space)) == data.space


def test_the_share_of_refused_draws_and_constraints_of_others_are_reported(monkeypatch):
    transport = whole_numbers(500)
    space = dataclasses.replace(transport.space, constraints=(Constraint("a >= 3"),))
    judge = SimpleNamespace(
        data=SimpleNamespace(space=space),
        seed=0,
        n=10,
        sampling=lambda models: dict.fromkeys(models, ModelResult("x").sampling),
        scores=lambda sampler, name: ({}, sampler.sample(40) is None),
    )
    monkeypatch.setattr(evaluator, "pictures_of", lambda *parts: None)
    monkeypatch.setattr(evaluator, "unseen_warnings", lambda *parts: ())
    result, _ = evaluator.Evaluator.judge(judge, "flow", transport, curve=False)
    assert 0.3 < result.sampling.refused < 0.7
    assert [re.findall(r'"(.*)"', text) for text in result.warnings if "constraint" in text] == [
        ['a >= 3", "a >= 500']
    ]


def test_samples_that_break_constraints_after_all_draws_are_counted():
    space = whole_numbers(500).space
    assert evaluator.constraint_warnings(space, space, Tally(40, 20)) == ()
    (text,) = evaluator.constraint_warnings(space, space, Tally(40, 30, 7))
    assert '"a >= 500"' in text
    assert text.startswith("7 ")


def test_samplings_score_the_values_of_rows_in_other_coordinates(monkeypatch):
    values = object()
    seen = []
    monkeypatch.setattr(
        evaluator, "score", lambda x, *parts, values, **more: seen.append(values) or {}
    )
    judge = SimpleNamespace(draw=lambda *parts: (None, None, values), data=None, features=None)
    _, samplings = evaluator.Evaluator.sampled(judge, None, ["energy"], 3, 2, 9.0)
    assert len(samplings) == 2
    assert seen == [values] * 2


def test_a_curve_has_as_many_samplings_as_the_scores(monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "inner_of", lambda transport: transport)
    monkeypatch.setattr(curves, "with_inner", lambda transport, other: other)
    monkeypatch.setattr(curves, "has_steps", lambda transport: True)
    flow = SimpleNamespace(
        solver=Euler(), steps=4, grid="time", calls=4, with_solver=lambda *parts: flow
    )

    def sampled(sampler, metrics, n, repeats, seconds):
        drawn.append(repeats)
        return {}, [None] * repeats

    judge = SimpleNamespace(sampled=sampled, n=3, say=str, plan=SimpleNamespace(sweep=9.0))
    scores = {"energy": Score(1.0, values=(1.0, 2.0, 0.0))}
    points = curves.quality_curve(judge, flow, scores, (1, 2), "flow")
    assert [point.steps for point in points] == [1, 2, 4]
    assert drawn == [3, 3]


def test_a_model_that_breaks_constraints_warns_and_the_mixture_beside_it_does_not(
    monkeypatch, recwarn
):
    model = whole_numbers(2000)
    x = torch.from_numpy(model.space.encoded(np.zeros((4, 1))))
    monkeypatch.setattr(evaluator, "labels_for", lambda *given: None)
    monkeypatch.setattr(evaluator, "shared_stream", lambda *given, **options: iter([(x, None)]))
    judge = SimpleNamespace(n=4, seed=0, batch=4, data=SimpleNamespace(space=model.space))
    evaluator.Evaluator.draw(judge, RowMixture(model.space, *[torch.ones(1)] * 4), 0)
    assert not recwarn
    evaluator.Evaluator.draw(judge, model, 0)
    assert "4 of 4 samples violate" in str(recwarn.pop(UserWarning).message)


def test_columns_that_are_left_out_are_named_and_filled(tmp_path, capsys):
    """So that a file of samples has the columns of the data's file, in their order."""
    text = "id;size;note\n" + "".join(f"{i};{i % 7}.5;text {i}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(text)
    run = str(tmp_path / "run")
    out = tmp_path / "new.csv"
    pf.fit(
        "flow", load(tmp_path / "t.csv", drop="note"), size="tiny", steps=1, out=run, progress=False
    )
    words = ["sample", run, "--n", "3", "--overwrite", "--out", str(out)]
    assert main(words) == 0
    assert "id, note" in capsys.readouterr().err
    sizes = out.read_text().split()
    assert main([*words, "--fill", 'id=sequence,note="a;b"']) == 0
    assert "left out" not in capsys.readouterr().err
    lines = out.read_text().splitlines()
    assert lines[0] == "id;size;note"
    assert lines[1:] == [f'{number};{size};"a;b"' for number, size in enumerate(sizes[1:], start=1)]
    assert main([*words, "--fill", "size=sequence"]) == 2
    code = main([*words[:-1], str(tmp_path / "new.npz"), "--fill", "id=sequence"])
    assert code == 2
    pytest.importorskip("pandas")
    frame = pf.load(run).sample(3, fill={"id": "sequence", "note": "a"})
    assert list(frame.columns) == ["id", "size", "note"]
    assert frame["id"].tolist() == [1, 2, 3]
    assert frame["note"].tolist() == ["a"] * 3
    with pytest.raises(UsageError, match="id, note"):
        pf.load(run).sample(3, fill={"size": "sequence"})
    space = load(tmp_path / "t.csv", drop="note").space
    assert spec.build(spec.describe(space)) == space
