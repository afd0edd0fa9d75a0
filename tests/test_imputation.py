"""Missing cells are drawn from models of tables; files and frames with gaps are read as training
reads them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from programs.tables import mixed_table
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.cli.sampling import _imputed
from pushforward.data import TableSpace
from pushforward.errors import DataError, UsageError
from pushforward.tables import Category, Number, imputation
from pushforward.tables.columns import Format
from pushforward.tables.constraints import Constraint
from pushforward.tables.imputation import Imputed
from pushforward.tables.reading.csv_dialect import (
    Layout,
    filled as filled_text,
    gappy_values,
    read_known,
)
from pushforward.tables.reading.frames import filled_frame, frame_of, frame_table


def pairs():
    """A model of two columns, the second of which is a copy of the first wherever that is given."""
    return TableSpace.of(
        [Category("a", ("u", "v"), (0.5, 0.5)), Category("b", ("no", "yes"), (0.4, 0.4, 0.2), True)]
    )


class CopyingOrMissing(nn.Module):
    def forward(self, x, t, condition=None):
        return torch.cat([0 * x[:, :2], 60 * x[:, :2] * x[:, 5:6], 0 * x[:, :1]], dim=1)


def test_missing_cells_are_drawn_given_the_others_and_all_else_stays(tmp_path):
    space = pairs()
    transport = pf.recipes.flow(space, network=CopyingOrMissing()).method.transport()
    text = 'b,"note, free",a\r\nno,"x ""y""",u\r\n ?,  1.50,v\r\n?,,u\nyes,z,NA\r\n,z,?'
    (tmp_path / "t.csv").write_bytes(text.encode())
    imputed = pf.impute(transport, tmp_path / "t.csv", draws=12, seed=1)
    drawn = imputed.values
    assert (drawn[:, 1, 1] == 1).all()
    assert (drawn[:, 2, 1] == 0).all()
    assert not np.isnan(drawn).any()
    names = set(np.unique(drawn[:, 4]))
    assert names == {0, 1}
    a = (["u", "v"][int(drawn[7, row, 0])] for row in (3, 4))
    b = ["no", "yes"][int(drawn[7, 4, 1])]
    first, second = a
    imputed.write(tmp_path / "full.csv", 7)
    wanted = (
        'b,"note, free",a\r\nno,"x '
        f'""y""",u\r\nyes,1.50,v\r\nno,,u\r\nyes,z,{first}\r\n{b},z,{second}\r\n'
    )
    assert (tmp_path / "full.csv").read_bytes().decode() == wanted
    assert imputed.spread[1].tolist() == [0, 0]
    assert 0.2 < imputed.spread[4, 1] <= 0.5
    again = pf.impute(transport, imputed.values[0], draws=2)
    expected = np.stack([imputed.values[0]] * 2)
    assert_array_equal(again.values, expected)
    actual = pf.impute(transport, tmp_path / "t.csv", draws=2, seed=1, batch=1).values
    assert_array_equal(actual, drawn[:2])


@pytest.mark.filterwarnings("ignore:Values outside the training range")
def test_a_row_has_its_own_seed_and_keeps_values_that_the_model_has_not_seen():
    fields = [Number.measured("x", np.arange(50.0)), Category("b", ("no", "yes"), (0.5, 0.5))]
    transport = pf.recipes.flow(TableSpace.of(fields), "tiny").method.transport()
    values = np.array([[3.0, 1], [99, np.nan], [np.nan, 0], [np.nan, np.nan], [-5, np.nan]])
    whole = pf.impute(transport, values, seed=4)
    rest = pf.impute(transport, values[1:], seed=5)
    assert_array_equal(whole.values[0, 1:], rest.values[0])
    actual = whole.values[0][~np.isnan(values)]
    expected = values[~np.isnan(values)]
    assert_array_equal(actual, expected)


def test_no_two_rows_share_draws_beyond_the_period_of_seeds(monkeypatch):
    fields = [
        Number.measured("x", np.random.default_rng(0).normal(size=20_000)),
        Category("b", ("no", "yes"), (0.5, 0.5)),
    ]
    transport = pf.recipes.flow(TableSpace.of(fields), "tiny").method.transport()
    monkeypatch.setattr(imputation, "PERIOD", 4)
    values = np.tile([np.nan, 0.0], (11, 1))
    drawn = pf.impute(transport, values, draws=3, seed=2).values[:, :, 0]
    assert len(np.unique(drawn)) == drawn.size
    actual = pf.impute(transport, values[5:], draws=3, seed=7, batch=3).values[:, :, 0]
    assert_array_equal(actual, drawn[:, 5:])
    monkeypatch.undo()
    actual = pf.impute(transport, values[:2], seed=6).values[0, :, 0]
    assert_array_equal(actual, drawn[1, :2])


def test_a_category_that_is_called_as_missing_values_are_is_a_value(tmp_path):
    space = TableSpace.of(
        [Category("a", ("None", "u"), (0.5, 0.5)), Category("b", ("no", "yes"), (0.5, 0.5))]
    )
    (tmp_path / "t.csv").write_text("a,b\nNone,None\n")
    imputed = pf.impute(pf.recipes.flow(space, "tiny").method.transport(), tmp_path / "t.csv")
    assert imputed.missing.tolist() == [[False, True]]


class WhereMissing(nn.Module):
    """The first column is v where the second one is given as missing, elsewhere u."""

    def forward(self, x, t, condition=None):
        return torch.cat([0 * x[:, :1] + 30, 60 * x[:, 4:5] * x[:, 6:7], 0 * x[:, 2:5]], dim=1)


def test_gaps_of_columns_that_are_not_named_stay_and_are_given_as_missing(tmp_path):
    transport = pf.recipes.flow(pairs(), network=WhereMissing()).method.transport()
    (tmp_path / "t.csv").write_text("b,a\n,\nno,?\n,u\n")
    imputed = pf.impute(transport, tmp_path / "t.csv", only="a")
    assert imputed.text() == "b,a\n,v\nno,u\n,u\n"
    assert imputed.missing.tolist() == [[True, False], [True, False], [False, False]]
    assert np.isnan(imputed.values[0, [0, 2], 1]).all()
    never = TableSpace.of(
        [Category("a", ("u", "v"), (0.5, 0.5)), Category("b", ("no", "yes"), (0.4, 0.6))]
    )
    plain = pf.recipes.flow(never, network=CopyingOrNothing()).method.transport()
    assert not np.isnan(
        pf.impute(plain, np.full((3, 2), np.nan), only=["a"]).values[0, :, 0]
    ).any(), "nothing is given of b"
    for only, words in (("c", '"c"'), (["a", "bb"], '"bb".* Did you mean "b"')):
        with pytest.raises(UsageError, match=words):
            pf.impute(transport, tmp_path / "t.csv", only=only)


class CopyingOrNothing(nn.Module):
    """Nothing may be given of the second column."""

    def forward(self, x, t, condition=None):
        assert not x[:, 5].any()
        return 0 * x[:, :4]


def test_imputation_refuses_what_it_cannot_do(tmp_path):
    space = pairs()
    transport = pf.recipes.flow(space, network=CopyingOrMissing()).method.transport()
    (tmp_path / "t.csv").write_text("a,b\nu,no\nw,maybe\nx,?\n")
    with pytest.raises(DataError, match=r'"a" .*line 3 \("w"\), line 4 \("x"\).*one of: u, v'):
        pf.impute(transport, tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("c,d\nu,v\n")
    with pytest.raises(DataError, match="an expected column"):
        pf.impute(transport, tmp_path / "t.csv")
    with pytest.raises(UsageError, match="flow, ddpm or edm"):
        pf.impute(
            pf.recipes.vae(pf.data.load("moons", limit=20).space, "tiny").method.transport(),
            tmp_path / "t.csv",
        )


@pytest.mark.filterwarnings("ignore:Values outside the training range")
def test_rows_that_break_a_constraint_are_drawn_again_or_named(monkeypatch):
    monkeypatch.setattr(imputation, "TURNS", 12)
    fields = [Number.measured(name, np.arange(50.0), "whole") for name in ("start", "end", "x")]
    spaces = [
        TableSpace.of(fields, constraints=rules)
        for rules in ((), (Constraint("end >= start"), Constraint("x < 90")))
    ]
    plain, bound = (pf.recipes.flow(space, "tiny").method.transport() for space in spaces)
    values = np.array([[25, np.nan, 3], [np.nan, 25, 3]] * 20 + [[70, np.nan, 3], [9, 8, np.nan]])
    free = pf.impute(plain, values, seed=4)
    bounded = pf.impute(bound, values, seed=4)
    broken = free.values[0, :40, 1] < free.values[0, :40, 0]
    assert 5 < broken.sum() < 35
    assert (bounded.values[0, :40, 1] >= bounded.values[0, :40, 0]).all()
    assert_array_equal(bounded.values[0, :40][~broken], free.values[0, :40][~broken])
    assert 0.2 < bounded.drawn_again < 0.9
    assert bounded.unmet == (40, 41)
    some = pf.impute(bound, values[30:40], seed=34, batch=3)
    assert_array_equal(some.values[0], bounded.values[0, 30:40])


def test_a_column_called_numbers_holds_no_numbers_of_lines():
    pd = pytest.importorskip("pandas")
    fields = [Number.measured(name, np.arange(50.0), "whole") for name in ("numbers", "x")]
    space = TableSpace.of(fields, constraints=(Constraint("numbers < 9"),))
    values = np.array([[[3.0, 1.0], [20.0, 1.0]]])
    missing = np.array([[False, True]] * 2)
    frame = pd.DataFrame({"numbers": [3, 20], "x": [None, None]})
    unmet = _imputed(Imputed(values, missing, space, frame, unmet=(1,)))["unmet"]
    assert unmet == [1]


def test_given_columns_and_imputation_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = mixed_table(200)
    pf.fit(pf.recipes.flow(data.space, "tiny"), data, steps=2, out="run", progress=False)
    with pytest.warns(UserWarning, match="whole=99 does not occur in the training data"):
        assert (
            main(
                [
                    "sample",
                    "run",
                    "--n",
                    "3",
                    "--given",
                    "kind=b, whole=99",
                    "--steps",
                    "2",
                    "--out",
                    "s.npz",
                ]
            )
            == 0
        )
    values = data.space.values(np.load("s.npz")["x"])
    assert (values[:, 3] == 1).all()
    assert (values[:, 2] == data.space.fields[2].knots[-1]).all()
    Path("t.csv").write_text("kind,whole\nb,\n?,4\n")
    code = main(["impute", "run", "t.csv", "--out", "f.csv", "--draws", "2", "--steps", "2"])
    assert code == 0
    printed = capsys.readouterr()
    actual = printed.out.split()[-2:]
    assert actual == ["f-1.csv", "f-2.csv"]
    absent = ", ".join(name for name in data.space.names if name not in ("kind", "whole"))
    assert f": {absent}\n" in printed.err
    code = main(["impute", "run", "t.csv", "--out", "k.csv", "--only", "kind", "--steps", "2"])
    assert code == 0
    assert Path("k.csv").read_text().splitlines()[1] == "b,"
    code = main(["impute", "run", "t.csv", "--out", "n.csv", "--only", ""])
    assert code == 2
    assert "--only" in capsys.readouterr().err
    lines = Path("f-2.csv").read_text().splitlines()
    assert lines[2] in ("a,4", "b,4", "c,4")
    code = main(["impute", "run", "t.csv", "--out", "f.csv", "--draws", "2"])
    assert code == 2


NAMES = ("p", "q")


def filled(path, content, cells, layout):
    """The bytes of a file whose cells "?" or "" hold the next ones of some others."""
    path.write_bytes(content)
    file = read_known(path, NAMES, layout)
    gaps = [
        (row, place)
        for row, old in enumerate(zip(*(c.cells() for c in file.columns), strict=True))
        for place, cell in enumerate(old)
        if cell in ("", "?")
    ]
    given = {name: {} for name in file.names}
    for (row, place), cell in zip(gaps, cells, strict=True):
        given[file.names[place]][row] = cell
    return filled_text(file, given).encode(file.encoding)


@pytest.mark.parametrize(
    ("before", "cells", "after", "layout"),
    [
        (
            '"p", q,r\n\n"NY",40, \n"a ""b""" , ? ,"?"\n',
            ["1", "2", "x"],
            'p,q,r\nNY,40,1\n"a ""b""",2,x\n',
            {},
        ),
        (
            'p;q\r\n# note\r\n;"4\r\n0"\r\n;?',
            ['a;"', "1", "2"],
            'p;q\r\n"a;""";"4\r\n0"\r\n1;2\r\n',
            {},
        ),
        (" p   q\n a\t ? \n\n'?  ?\n", ["1", "b c"], 'p q\na 1\n\'? "b c"\n', {"separator": " "}),
        ("?, 4\nb, ?\n", ["a", "5"], "a,4\nb,5\n", {"header": False}),
        ("p\tq\n?\tb\n\t\n", ["c", "1", "2"], "p\tq\nc\tb\n1\t2\n", {"separator": "\t"}),
    ],
)
def test_only_gaps_change(tmp_path, before, cells, after, layout):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        actual = filled(tmp_path / "t.txt", before.encode(encoding), cells, Layout(**layout))
        assert actual == after.encode(encoding)


def test_files_are_read_as_training_reads_them(tmp_path):
    path = tmp_path / "t.data"
    fields = [
        Number.measured("x0", np.arange(9.0), "whole", Format(0)),
        Category("x2", ("a", "b"), (0.5, 0.5)),
    ]
    path.write_text("3, drop, ?\n?, this, b\n")
    file = read_known(path, ["x0", "x2"], Layout(header=False))
    values, missing = gappy_values("t", file, fields)
    assert_array_equal(values, [[3, np.nan], [np.nan, 1]])
    assert missing.tolist() == [[False, True], [True, False]]
    path.write_text("1,2,3\n4,5,6\n")
    with pytest.raises(UsageError, match=r"3 columns.*p, q"):
        read_known(path, NAMES, Layout(header=False))
    path.write_text("x0,x2,x0\n3,a,4\n")
    with pytest.raises(DataError, match="unique"):
        read_known(path, ["x0", "x2"])
    path.write_text(f"x0,x2\n3,{'a' * 200_000}\n")
    with pytest.raises(DataError, match="ine 2: field larger"):
        read_known(path, ["x0", "x2"])
    with pytest.raises(DataError, match="cannot be read"):
        read_known(Path(tmp_path), NAMES)


def test_frames_keep_their_types_and_samples_can_be_filled_in():
    pd = pytest.importorskip("pandas")
    fields = [
        Number.measured("born", np.arange(9.0) * 86400, "date", Format(pattern="%d.%m.%Y")),
        Category("zip", ("10115", "20095"), (0.5, 0.5)),
        Category("member", ("no", "yes"), (0.5, 0.5)),
        Category("true", ("False", "True"), (0.4, 0.6), kind="boolean"),
        Number.measured("age", np.arange(9.0), "whole", Format(0)),
    ]
    values = np.array([[86400.0, 0, 1, 0, 3], [2 * 86400, 1, 0, 1, 4]])
    sampled = frame_of(fields, values)
    read, missing = gappy_values("f", frame_table(sampled), fields)
    assert_array_equal(read, values)
    assert not missing.any()
    types = {
        "zip": float,
        "age": "Int64",
        "true": "boolean",
        "member": pd.CategoricalDtype(["no", "yes"]),
    }
    frame = sampled.astype(types).set_index(pd.Index([7, 5]))
    holes = frame.copy()
    for name in holes:
        holes.loc[7, name] = None
    read, missing = gappy_values("f", frame_table(holes), fields)
    assert missing.tolist() == [[True] * 5, [False] * 5]
    assert_array_equal(read[1], values[1])
    pd.testing.assert_frame_equal(filled_frame(holes, fields, values, missing), frame)
