"""Missing cells are drawn from models of tables; files and frames with gaps are read as training
reads them.
"""

import shlex
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


def flow_of(space, network="auto"):
    """The transport of an untrained flow."""
    recipe = pf.recipes.flow(space, "tiny", network=network)
    return recipe.method.transport()


def pairs():
    """A model of two columns, the second of which is a copy of the first wherever that is given."""
    a = Category("a", ("u", "v"), (0.5, 0.5))
    b = Category("b", ("no", "yes"), (0.4, 0.4, 0.2), True)
    return TableSpace.of([a, b])


class CopyingOrMissing(nn.Module):
    def forward(self, x, t, condition=None):
        a = x[:, :2]
        given = x[:, 5:6]
        return torch.cat([0 * a, 60 * a * given, 0 * x[:, :1]], dim=1)


GAPPY = '''b,"note, free",a\r
no,"x ""y""",u\r
 ?,  1.50,v\r
?,,u\r
yes,z,NA\r
,z,?'''


FULL = '''b,"note, free",a\r
no,"x ""y""",u\r
yes,1.50,v\r
no,,u\r
yes,z,{a}\r
{b},z,{last_a}\r
'''


def test_missing_cells_are_drawn_given_the_others_and_all_else_stays(tmp_path):
    transport = flow_of(pairs(), CopyingOrMissing())
    table = tmp_path / "t.csv"
    table.write_bytes(GAPPY.encode())
    imputed = pf.impute(transport, table, draws=12, seed=1)
    drawn = imputed.values
    assert (drawn[:, 1, 1] == 1).all()
    assert (drawn[:, 2, 1] == 0).all()
    assert not np.isnan(drawn).any()
    assert set(np.unique(drawn[:, 4])) == {0, 1}
    one = drawn[7].astype(int)
    a = "uv"[one[3, 0]]
    last_a = "uv"[one[4, 0]]
    b = ("no", "yes")[one[4, 1]]
    full = tmp_path / "full.csv"
    imputed.write(full, 7)
    wanted = FULL.format(a=a, b=b, last_a=last_a)
    assert full.read_bytes().decode() == wanted
    assert imputed.spread[1].tolist() == [0, 0]
    assert 0.2 < imputed.spread[4, 1] <= 0.5
    again = pf.impute(transport, drawn[0], draws=2)
    assert_array_equal(again.values, np.stack([drawn[0], drawn[0]]))
    single = pf.impute(transport, table, draws=2, seed=1, batch=1)
    assert_array_equal(single.values, drawn[:2])


@pytest.mark.filterwarnings("ignore:Values outside the training range")
def test_a_row_has_its_own_seed_and_keeps_values_that_the_model_has_not_seen():
    x = Number.measured("x", np.arange(50.0))
    b = Category("b", ("no", "yes"), (0.5, 0.5))
    transport = flow_of(TableSpace.of([x, b]))
    values = np.full((5, 2), np.nan)
    values[[0, 1, 4], 0] = [3, 99, -5]
    values[[0, 2], 1] = [1, 0]
    whole = pf.impute(transport, values, seed=4).values[0]
    rest = pf.impute(transport, values[1:], seed=5).values[0]
    assert_array_equal(whole[1:], rest)
    given = ~np.isnan(values)
    assert_array_equal(whole[given], values[given])


def test_no_two_rows_share_draws_beyond_the_period_of_seeds(monkeypatch):
    normal = np.random.default_rng(0).normal(size=20_000)
    x = Number.measured("x", normal)
    b = Category("b", ("no", "yes"), (0.5, 0.5))
    transport = flow_of(TableSpace.of([x, b]))
    values = np.tile([np.nan, 0.0], (11, 1))

    def drawn(values, **options):
        return pf.impute(transport, values, **options).values[:, :, 0]

    monkeypatch.setattr(imputation, "PERIOD", 4)
    whole = drawn(values, draws=3, seed=2)
    assert len(np.unique(whole)) == whole.size
    late = drawn(values[5:], draws=3, seed=7, batch=3)
    assert_array_equal(late, whole[:, 5:])
    monkeypatch.undo()
    second = drawn(values[:2], seed=6)
    assert_array_equal(second[0], whole[1, :2])


def test_a_category_that_is_called_as_missing_values_are_is_a_value(tmp_path):
    a = Category("a", ("None", "u"), (0.5, 0.5))
    b = Category("b", ("no", "yes"), (0.5, 0.5))
    table = tmp_path / "t.csv"
    table.write_text("a,b\nNone,None\n")
    imputed = pf.impute(flow_of(TableSpace.of([a, b])), table)
    assert imputed.missing.tolist() == [[False, True]]


class WhereMissing(nn.Module):
    """The first column is v where the second one is given as missing, elsewhere u."""

    def forward(self, x, t, condition=None):
        u = 0 * x[:, :1] + 30
        v = 60 * x[:, 4:5] * x[:, 6:7]
        return torch.cat([u, v, 0 * x[:, 2:5]], dim=1)


def test_gaps_of_columns_that_are_not_named_stay_and_are_given_as_missing(tmp_path):
    transport = flow_of(pairs(), WhereMissing())
    table = tmp_path / "t.csv"
    table.write_text("b,a\n,\nno,?\n,u\n")
    imputed = pf.impute(transport, table, only="a")
    assert imputed.text() == "b,a\n,v\nno,u\n,u\n"
    assert imputed.missing.tolist() == [[True, False], [True, False], [False, False]]
    assert np.isnan(imputed.values[0, [0, 2], 1]).all()
    with pytest.raises(UsageError, match='"c"'):
        pf.impute(transport, table, only="c")
    with pytest.raises(UsageError, match=r'"bb".* Did you mean "b"'):
        pf.impute(transport, table, only=["a", "bb"])


class CopyingOrNothing(nn.Module):
    """Nothing may be given of the second column."""

    def forward(self, x, t, condition=None):
        assert not x[:, 5].any()
        return 0 * x[:, :4]


def test_nothing_is_given_of_a_gap_that_is_not_named_where_no_value_may_be_missing():
    a = Category("a", ("u", "v"), (0.5, 0.5))
    b = Category("b", ("no", "yes"), (0.4, 0.6))
    transport = flow_of(TableSpace.of([a, b]), CopyingOrNothing())
    gaps = np.full((3, 2), np.nan)
    imputed = pf.impute(transport, gaps, only=["a"])
    assert not np.isnan(imputed.values[0, :, 0]).any()


def test_imputation_refuses_what_it_cannot_do(tmp_path):
    transport = flow_of(pairs(), CopyingOrMissing())
    table = tmp_path / "t.csv"
    table.write_text("a,b\nu,no\nw,maybe\nx,?\n")
    with pytest.raises(DataError, match=r'"a" .*line 3 \("w"\), line 4 \("x"\).*one of: u, v'):
        pf.impute(transport, table)
    table.write_text("c,d\nu,v\n")
    with pytest.raises(DataError, match="an expected column"):
        pf.impute(transport, table)
    moons = pf.data.load("moons", limit=20)
    vae = pf.recipes.vae(moons.space, "tiny").method.transport()
    with pytest.raises(UsageError, match="flow, ddpm or edm"):
        pf.impute(vae, table)


def whole_numbers(*names):
    return [Number.measured(name, np.arange(50.0), "whole") for name in names]


@pytest.mark.filterwarnings("ignore:Values outside the training range")
def test_rows_that_break_a_constraint_are_drawn_again_or_named(monkeypatch):
    monkeypatch.setattr(imputation, "REDRAWS", 12)
    fields = whole_numbers("start", "end", "x")
    rules = (Constraint("end >= start"), Constraint("x < 90"))
    plain = flow_of(TableSpace.of(fields))
    bound = flow_of(TableSpace.of(fields, constraints=rules))
    nan = np.nan
    values = np.full((42, 3), nan)
    values[:40:2] = [25, nan, 3]
    values[1:40:2] = [nan, 25, 3]
    values[40:] = [[70, nan, 3], [9, 8, nan]]
    free = pf.impute(plain, values, seed=4).values[0, :40]
    bounded = pf.impute(bound, values, seed=4)
    drawn = bounded.values[0, :40]
    start, end, _ = free.T
    broken = end < start
    assert 5 < broken.sum() < 35
    assert_array_equal(drawn[~broken], free[~broken])
    start, end, _ = drawn.T
    assert (end >= start).all()
    assert 0.2 < bounded.drawn_again < 0.9
    assert bounded.unmet == (40, 41)
    some = pf.impute(bound, values[30:40], seed=34, batch=3)
    assert_array_equal(some.values[0], drawn[30:])


@pytest.mark.filterwarnings("ignore:Values outside the training range")
def test_rows_whose_given_values_break_a_constraint_are_not_drawn_again():
    fields = whole_numbers("start", "end", "x")
    space = TableSpace.of(fields, constraints=(Constraint("end >= start"),))
    values = np.array([[9, 8, np.nan]])
    imputed = pf.impute(flow_of(space), values)
    assert imputed.drawn_again == 0
    assert imputed.unmet == (0,)


def test_a_column_called_numbers_holds_no_numbers_of_lines():
    pd = pytest.importorskip("pandas")
    fields = whole_numbers("numbers", "x")
    space = TableSpace.of(fields, constraints=(Constraint("numbers < 9"),))
    values = np.array([[[3.0, 1.0], [20.0, 1.0]]])
    missing = np.array([[False, True]] * 2)
    frame = pd.DataFrame({"numbers": [3, 20], "x": [None, None]})
    imputed = Imputed(values, missing, space, frame, unmet=(1,))
    assert _imputed(imputed)["unmet"] == [1]


NAMES = ("p", "q")


def command(line):
    return main(shlex.split(line))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder with a run of a table of mixed kinds, and the table's space."""
    folder = tmp_path_factory.mktemp("mixed")
    data = mixed_table(200)
    recipe = pf.recipes.flow(data.space, "tiny")
    pf.fit(recipe, data, steps=2, out=folder / "run", progress=False)
    return folder, data.space


@pytest.fixture
def in_mixed(mixed, monkeypatch):
    """The table's space; commands run in the folder."""
    folder, space = mixed
    monkeypatch.chdir(folder)
    return space


def test_given_columns_on_the_command_line(in_mixed):
    with pytest.warns(UserWarning, match="whole=99 does not occur in the training data"):
        code = command("sample run --n 3 --given 'kind=b, whole=99' --steps 2 --out s.npz")
    assert code == 0
    values = in_mixed.values(np.load("s.npz")["x"])
    largest = in_mixed.fields[2].knots[-1]
    assert (values[:, 3] == 1).all()
    assert (values[:, 2] == largest).all()


def test_imputation_on_the_command_line(in_mixed, capsys):
    Path("t.csv").write_text("kind,whole\nb,\n?,4\n")
    assert command("impute run t.csv --out f.csv --draws 2 --steps 2") == 0
    printed = capsys.readouterr()
    assert printed.out.split()[-2:] == ["f-1.csv", "f-2.csv"]
    absent = [name for name in in_mixed.names if name not in ("kind", "whole")]
    assert f": {', '.join(absent)}\n" in printed.err
    lines = Path("f-2.csv").read_text().splitlines()
    assert lines[2] in ("a,4", "b,4", "c,4")
    assert command("impute run t.csv --out k.csv --only kind --steps 2") == 0
    lines = Path("k.csv").read_text().splitlines()
    assert lines[1] == "b,"
    assert command("impute run t.csv --out n.csv --only ''") == 2
    assert "--only" in capsys.readouterr().err
    assert command("impute run t.csv --out f.csv --draws 2") == 2, "the files are there"


def filled(path, content, cells, layout):
    """The bytes of a file whose cells "?" or "" hold the next ones of some others."""
    path.write_bytes(content)
    file = read_known(path, NAMES, layout)
    columns = [column.cells() for column in file.columns]
    given = {name: {} for name in file.names}
    waiting = iter(cells)
    for row, old in enumerate(zip(*columns, strict=True)):
        for name, cell in zip(file.names, old, strict=True):
            if cell in ("", "?"):
                given[name][row] = next(waiting)
    assert next(waiting, None) is None
    return filled_text(file, given).encode(file.encoding)


BLANKS = Layout(separator=" ")


TABS = Layout(separator="\t")


HEADLESS = Layout(header=False)


LAYOUTS = {
    "quotes": (
        '"p", q,r\n\n"NY",40, \n"a ""b""" , ? ,"?"\n',
        "1|2|x",
        'p,q,r\nNY,40,1\n"a ""b""",2,x\n',
        Layout(),
    ),
    "semicolons": (
        'p;q\r\n# note\r\n;"4\r\n0"\r\n;?',
        'a;"|1|2',
        'p;q\r\n"a;""";"4\r\n0"\r\n1;2\r\n',
        Layout(),
    ),
    "blanks": (" p   q\n a\t ? \n\n'?  ?\n", "1|b c", 'p q\na 1\n\'? "b c"\n', BLANKS),
    "no header": ("?, 4\nb, ?\n", "a|5", "a,4\nb,5\n", HEADLESS),
    "tabs": ("p\tq\n?\tb\n\t\n", "c|1|2", "p\tq\nc\tb\n1\t2\n", TABS),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("before", "cells", "after", "layout"), LAYOUTS.values(), ids=LAYOUTS)
def test_only_gaps_change(tmp_path, before, cells, after, layout, encoding):
    actual = filled(tmp_path / "t.txt", before.encode(encoding), cells.split("|"), layout)
    assert actual == after.encode(encoding)


def test_files_are_read_as_training_reads_them(tmp_path):
    path = tmp_path / "t.data"
    path.write_text("3, drop, ?\n?, this, b\n")
    number = Number.measured("x0", np.arange(9.0), "whole", Format(0))
    category = Category("x2", ("a", "b"), (0.5, 0.5))
    file = read_known(path, ["x0", "x2"], HEADLESS)
    values, missing = gappy_values("t", file, [number, category])
    assert_array_equal(values, [[3, np.nan], [np.nan, 1]])
    assert missing.tolist() == [[False, True], [True, False]]


def test_files_with_other_columns_are_refused(tmp_path):
    path = tmp_path / "t.data"
    path.write_text("1,2,3\n4,5,6\n")
    with pytest.raises(UsageError, match=r"3 columns.*p, q"):
        read_known(path, NAMES, HEADLESS)
    path.write_text("x0,x2,x0\n3,a,4\n")
    with pytest.raises(DataError, match="unique"):
        read_known(path, ["x0", "x2"])
    long = "a" * 200_000
    path.write_text(f"x0,x2\n3,{long}\n")
    with pytest.raises(DataError, match="ine 2: field larger"):
        read_known(path, ["x0", "x2"])
    with pytest.raises(DataError, match="cannot be read"):
        read_known(tmp_path, NAMES)


DAY = 86400.0


BIRTHS = np.arange(9.0) * DAY


FRAME_FIELDS = [
    Number.measured("born", BIRTHS, "date", Format(pattern="%d.%m.%Y")),
    Category("zip", ("10115", "20095"), (0.5, 0.5)),
    Category("member", ("no", "yes"), (0.5, 0.5)),
    Category("true", ("False", "True"), (0.4, 0.6), kind="boolean"),
    Number.measured("age", np.arange(9.0), "whole", Format(0)),
]


FRAME_VALUES = np.array([[DAY, 0, 1, 0, 3], [2 * DAY, 1, 0, 1, 4]])


def test_frames_of_samples_are_read_as_their_values():
    pytest.importorskip("pandas")
    sampled = frame_of(FRAME_FIELDS, FRAME_VALUES)
    read, missing = gappy_values("f", frame_table(sampled), FRAME_FIELDS)
    assert_array_equal(read, FRAME_VALUES)
    assert not missing.any()


def test_frames_keep_their_types_and_samples_can_be_filled_in():
    pd = pytest.importorskip("pandas")
    answers = pd.CategoricalDtype(["no", "yes"])
    types = {"zip": float, "age": "Int64", "true": "boolean", "member": answers}
    frame = frame_of(FRAME_FIELDS, FRAME_VALUES).astype(types)
    frame.index = [7, 5]
    holes = frame.copy()
    for name in holes:
        holes.loc[7, name] = None
    read, missing = gappy_values("f", frame_table(holes), FRAME_FIELDS)
    assert missing[0].all()
    assert not missing[1].any()
    assert_array_equal(read[1], FRAME_VALUES[1])
    full = filled_frame(holes, FRAME_FIELDS, FRAME_VALUES, missing)
    pd.testing.assert_frame_equal(full, frame)
