"""What is said to a user of tables: given values that cannot be, names that are close, lines of the file, columns left out."""

import itertools
import json
import re
import shlex
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from programs.tables import mixed_table

import pushforward as pf
from pushforward.cli import _warned_in_words, main
from pushforward.cli.given import condition_of
from pushforward.cli.neighbours import _listed_rows, _samples, _with_rows, _write_nearest
from pushforward.cli.reading import options_of_reading
from pushforward.cli.sampling import check_images
from pushforward.cli.table_check import of_table
from pushforward.cli.terminal import app
from pushforward.data import TableSpace, check, load
from pushforward.data.sources import stated
from pushforward.data.tables import Number
from pushforward.data.tables.constraints import Constraint
from pushforward.data.tables.gaps import GappyFile
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.evaluation.curves import truncation_curve
from pushforward.evaluation.pictures import nearest
from pushforward.evaluation.run_results import commands
from pushforward.recipes.students import student_of
from pushforward.spec import build, describe

COLUMNS = ("a", "b", "c")


@pytest.mark.parametrize("text", ["a >= b", "a - 2 * b < c + 1", "a != c", "a == -c", "-1 <= a < b + c", "a * b > 3.5"])
def test_a_constraint_is_possible_where_some_row_between_the_ends_meets_it(text):
    """Never denied where a row of a grid meets it, and decided exactly where all numbers are known."""
    rng, constraint = np.random.default_rng(3), Constraint(text)
    low = rng.integers(-4, 4, (240, 3)).astype(float)
    high = low + rng.integers(0, 3, (240, 3)) * (np.arange(240) < 180)[:, None]
    possible = constraint.possible(dict(zip(COLUMNS, low.T, strict=True)), dict(zip(COLUMNS, high.T, strict=True)))
    met = np.zeros(240, dtype=bool)
    for shares in itertools.product((0, 0.5, 1), repeat=3):
        met |= constraint.holds(dict(zip(COLUMNS, (low + shares * (high - low)).T, strict=True)))
    assert (possible | ~met).all()
    single = (low == high).all(1)
    assert single.any()
    assert (possible == met)[single].all()
    assert not possible.all()


def test_given_values_that_contradict_a_constraint_are_named_before_anything_is_drawn():
    fields = [Number.measured(name, np.arange(50.0), "whole") for name in ("start", "end")]
    fields.append(Number.measured("rest", np.array([1.0, 2.0, np.nan]), "whole"))
    space = TableSpace.of(fields, constraints=(Constraint("end >= start + 20"), Constraint("rest <= end")))
    model = pf.recipes.flow(space, "tiny").method.transport()
    with pytest.raises(UsageError, match=r'given values end=20, start=10 break the constraint "end >= start . 20"'):
        model.sample(2, {"start": 10, "end": 20})
    with pytest.raises(UsageError, match=r"start=10 break .* that the training rows do not have counts as the nearest"):
        model.sample(2, {"start": 10, "end": 20})
    with pytest.raises(UsageError, match=r"given value start=40 leaves no value of end \(0 to 49\) by which a row meets"):
        model.sample(2, {"start": [3, 40]})
    for request in ({"start": 10, "end": 30}, {"start": 29}, {"start": 0, "end": 20, "rest": None}, None):
        model.stream(2, request)


def test_names_are_close_whatever_their_capitals_and_where_they_hold_the_word():
    known = ["sex", "net price (with tax)", "net price"]
    assert did_you_mean("SXE", known) == ' Did you mean "sex"?'
    assert did_you_mean("net prices", known) == ' Did you mean "net price"?'
    assert did_you_mean("tax", known) == ' Did you mean "net price (with tax)"?'
    assert did_you_mean("ax", known) == did_you_mean("weight of it", known) == ""


def test_a_model_of_vectors_from_a_csv_says_how_its_columns_can_be_given(tmp_path):
    path = tmp_path / "iris.csv"
    path.write_text("width,length,species\n" + "".join(f"{i}.5,{i * i}.25,{'ab'[i % 2]}\n" for i in range(60)))
    space = load(path, target="species").space
    assert (space.names, space.columns) == ((), ("width", "length"))
    run = SimpleNamespace(space=space, transport=pf.recipes.flow(space, "tiny").method.transport())
    for given, says in (("species=b", "`label=b`"), ("width=1", "`table=True`"), ("length=long", "`table=True`")):
        with pytest.raises(UsageError, match=f'^"{given.partition("=")[0]}" is .*{says}'):
            run.transport.sample(2, condition_of(run, None, given))
    with pytest.raises(UsageError, match="takes columns and numbers"):
        condition_of(run, None, "=b")
    with pytest.raises(UsageError, match=r"got \"label=b\"\. A label is given by --label\.$"):
        condition_of(run, None, "label=b")
    with pytest.raises(UsageError, match="there were no labels in training"):
        space.with_conditions().label_index("b")
    with pytest.raises(UsageError, match=r"is a model of vectors: .*`table=True`"):
        pf.editing.impute(run, path)


def test_what_tables_cannot_have_is_refused_with_what_they_can():
    data = mixed_table(300)
    flow, vae = (recipe(data.space, "tiny").method for recipe in (pf.recipes.flow, pf.recipes.vae))
    for recipe in (pf.recipes.shortcut, pf.recipes.consistency, pf.recipes.meanflow):
        with pytest.raises(UsageError, match=r"Train a flow and distil it: .*`pushforward distil RUN`"):
            recipe(data.space, "tiny")
    with pytest.raises(UsageError, match=r"Train a flow and distil it: .*`pushforward distil RUN`"):
        student_of(flow.denoiser)
    for method in (flow, vae):
        with pytest.raises(UsageError, match=r"^bpd: rows of a table have no density"):
            pf.evaluate(method.transport(), data, metrics="bpd")
    limits = []
    with pytest.raises(UsageError, match="n = 20 is too few examples"):
        truncation_curve(vae.transport(), data, [1.0], 20, watch=limits.append)
    assert not limits


def test_nearest_rows_of_a_table_are_written_as_its_file_writes_them(tmp_path):
    data = mixed_table(300)
    near = nearest(data.train.data_units(np.array([4, 9])), data, 2)
    _write_nearest(tmp_path / "n.csv", data, near, 7, None)
    head, *rows = [line.split(",") for line in (tmp_path / "n.csv").read_text().splitlines()]
    assert head == ["seed", "rank", "distance", "near_copy", "number", "gain", "whole", "kind", "member"]
    assert [row[:2] for row in rows] == [["7", "0"], ["7", "1"], ["7", "2"], ["8", "0"], ["8", "1"], ["8", "2"]]
    assert rows[0][2] == ""
    assert [float(row[2]) for row in rows[1:3]] == near.distances[0].tolist()
    assert [rows[0][4:], rows[1][4:], rows[3][4:]] == data.space.cells(data.train.data_units(np.array([4, 4, 9])))


def test_the_terminal_lists_nearest_rows_as_the_file_writes_them_in_the_columns_that_fit():
    data = mixed_table(300)
    near = nearest(data.train.data_units(np.arange(4, 14)), data, 2)
    samples = _with_rows(_samples(near, 7), data, near)
    cells = data.space.cells(data.train.data_units(np.array([4])))[0]
    assert (samples[0]["row"], samples[0]["rows"][0]) == (cells, cells)
    head, first, second, third, fourth, *rest = _listed_rows(list(data.space.names), samples, 200).splitlines()
    assert head.split() == ["seed", "distance", "number", "gain", "whole", "kind", "member"]
    assert first.split() == ["7", "near-copy", *cells]
    assert second.split()[:2] == ["training", "0.000"]
    assert (third.split()[0], fourth.split()[0]) == ("training", "8")
    assert rest[-1] == "... and 2 more samples in the file"
    lines = _listed_rows(list(data.space.names), samples, len(head) - 2).splitlines()
    assert lines[0] == head.removesuffix("member").rstrip()
    assert lines[-1] == "... and 1 more column and 2 more samples in the file"
    assert max(map(len, lines[:-1])) <= len(head) - 2


def test_verbs_of_images_say_what_a_table_has_instead(capsys):
    space = mixed_table(60).space
    with pytest.raises(UsageError, match=r"a model of rows; .* `sample --given number=VALUE` .* `interpolate --seeds 0,1`"):
        check_images(SimpleNamespace(folder="runs/t", space=space))
    for words in (["vary", "runs/t"], ["impute", "runs/t", "t.csv"]):
        assert main(words) == 2
    vary, impute = " ".join(capsys.readouterr().err.split()).split("error: ")[1:]
    assert "of a table, pushforward sample RUN --given COLUMN=VALUE" in vary
    assert impute.startswith("impute needs a file to write, such as")


def test_numbers_with_a_unit_that_are_taken_as_categories_are_noted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,share,grade\n" + "".join(f"{i}.5,{i * 7 % 45}%,{i % 5} kg\n" for i in range(90)))
    data = load(path)
    assert [field.kind for field in data.space.fields] == ["number", "category", "category"]
    (note,) = data.table.notes
    assert note.startswith('the column "share" has 45 different texts, taken as categories, of which samples hold no others')
    assert 'without "%"' in note


def test_numbers_with_a_unit_in_two_columns_have_one_note_and_their_shares_can_be_told_from_them(tmp_path):
    path = tmp_path / "t.csv"
    rows = "".join(f"{i}.5,{i * 7 % 45}%,{i * 7 % 44}%,{'ab'[i % 3 == 0]}\n" for i in range(90))
    path.write_text(f"x,share,growth,grade\n{rows}")
    (note,) = load(path).table.notes
    advice = 'taken as categories, of which samples hold no others: write the numbers alone, without "%", for a column of numbers'
    assert note == f'the columns "share" (45 different texts), "growth" (44 different texts): {advice}'
    text = of_table(check(path)["table"])
    assert text.count("write the numbers alone") == 1
    assert text.count("samples hold no others: see the note") == 2
    lines = text.splitlines()
    assert "training rows: values (share) or range" in lines[-5]
    assert re.search(r"grade +category +a \(\d\d %\), b \(\d\d %\) ", lines[-1])
    assert re.search(r"share +category +0% \(\d\.\d %\), ", lines[-3])


def test_a_check_says_of_which_rows_its_shares_are(tmp_path):
    """Shares and ranges are those of the training rows, which a model is given; cells are missing in all rows."""
    path = tmp_path / "t.csv"
    path.write_text("x,job\n" + "".join(f"{i}.5,{'' if i % 5 == 0 else 'ab'[i % 3 == 0]}\n" for i in range(90)))
    head, _, job = of_table(check(path)["table"]).splitlines()[-3:]
    assert re.split("  +", head)[2:4] == ["training rows: values (share) or range", "all rows: missing"]
    data = load(path)
    shares = [round(100 * share) for share in data.space.fields[1].shares[:2]]
    assert re.split("  +", job)[2:4] == [f"a ({shares[0]} %), b ({shares[1]} %)", "20 %"]
    assert round(1000 * data.space.fields[1].shares[2]) != 200, "the training rows are others than all rows"


TWO_BLANKS = {"columns": {"size": {"kind": "ordinal", "names": ["it's  S", "   L"]}}, "constraints": ["a <= b"]}
READINGS = [
    {"constraints": ["end >= start", "`the price` < 1"], "drop": ["id"], "table": True},
    {"columns": ["start", "end of it"], "missing": ["?", ""], "header": False, "table": False},
    {"schema": TWO_BLANKS, "target": "end", "given": ["start"], "limit": 7, "seed": 0},
]


@pytest.mark.parametrize("reading", READINGS)
def test_the_command_that_trains_a_run_again_reads_its_table_as_the_run_did(tmp_path, monkeypatch, reading):
    monkeypatch.chdir(tmp_path)
    common = {"recipe": "flow", "asked": {}, "budget": {"steps": 1}, "augment": [], "checkpoint_every": None, "seed": 0}
    run = SimpleNamespace(folder=Path("a run"), spec={**common, "data": {"name_or_path": "t.csv", **reading}})
    *before, line = (" ".join(text.split()) for text in commands(run))
    for text in before:
        subprocess.run(text, shell=True, check=True)
    assert len(before) == ("schema" in reading)
    _, bound, _ = app.parse_args(shlex.split(line)[1:])
    assert stated(options_of_reading(bound.arguments["reading"])) == reading
    from_python = {"name_or_path": "t.csv", "columns": ["a,b"]}
    assert commands(SimpleNamespace(folder=Path("r"), spec={**common, "data": from_python}))[0].startswith("# ")


def test_a_file_with_gaps_is_counted_by_its_lines(tmp_path):
    path, data = tmp_path / "gaps.csv", tmp_path / "t.csv"
    path.write_text('kind,whole\n\n"b",4\na,five\n')
    data.write_text("kind,whole\n" + "a,4\nb,40\nb,41\n" * 20)
    space = load(data).space
    file = GappyFile.read(path, space.names)
    assert file.numbers == [3, 4]
    with pytest.raises(DataError, match='whole: "five" in line 4'):
        file.values(space.fields)


def test_columns_that_are_left_out_for_one_reason_are_one_line_and_no_two_names_look_alike(tmp_path):
    path, names = tmp_path / "t.csv", [f"a long name of a column, part {place} of its many words" for place in (1, 2)]
    lines = [f"{i},{i + 5},{i % 7 + 30},{i % 23 / 8}" for i in range(40)]
    path.write_text("id;nr;".replace(";", ",") + ",".join(f'"{name}"' for name in names) + "\n" + "\n".join(lines) + "\n")
    assert load(path).table.sentences == [
        'left out the columns "id", "nr": an identifier: whole numbers that count up from row to row'
    ]
    heads = [line.split("  ")[0] for line in of_table(check(path)["table"]).splitlines()[-2:]]
    assert len(set(heads)) == 2
    assert max(map(len, heads)) < 30


def test_a_frame_of_samples_has_the_types_of_the_training_frame():
    pd = pytest.importorskip("pandas")
    n, rng = 60, np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90 * 24, n), unit="h")
    frame = pd.DataFrame(
        {
            "plain": rng.integers(0, 500, n).astype(np.int16),
            "gaps": pd.array([None if i % 9 == 0 else i * 7 % 97 for i in range(n)], dtype="Int64"),
            "floats": np.where(np.arange(n) % 7, np.arange(n) * 3 % 41.0, np.nan),
            "half": (rng.integers(0, 99, n) / 4).astype(np.float32),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), ["S", "M", "L", "XL"], ordered=True),
            "code": pd.Categorical(rng.integers(1, 4, n)),
            "flag": pd.array([None if i % 8 == 0 else i % 3 == 0 for i in range(n)], dtype="boolean"),
            "never": np.zeros(n, dtype=bool),
            "text": pd.array([None if i % 5 == 0 else "ab"[i % 2] for i in range(n)], dtype="string"),
            "object": pd.Series(["xyz"[i % 3] for i in range(n)], dtype=object),
            "day": days.astype("datetime64[ns]"),
            "here": days.tz_localize("Europe/Berlin"),
        }
    )
    data = load(frame)
    back = data.space.frame(data.train.x)
    assert dict(back.dtypes) == dict(frame.dtypes)
    assert build(json.loads(json.dumps(describe(data.space)))) == data.space, "a run holds the types"
    rows = {tuple(row) for row in frame.astype(str).to_numpy().tolist()}
    assert {tuple(row) for row in back.astype(str).to_numpy().tolist()} <= rows


def test_categories_of_a_frame_come_back_as_they_were():
    pd = pytest.importorskip("pandas")
    n, rng = 1200, np.random.default_rng(0)
    gaps = np.where(rng.random(n) < 0.2, np.nan, rng.integers(1, 4, n).astype(float))
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9, n), unit="D")
    frame = pd.DataFrame(
        {
            "floats": pd.Categorical(gaps, [3.0, 1.0, 2.0, 0.5]),
            "tiny": pd.Categorical(rng.choice([1e-7, 2.5, 1e5], n)),
            "zip": pd.Categorical(rng.integers(10, 60, n) * 1000),
            "rank": pd.Categorical(rng.integers(0, 30, n), ordered=True),
            "day": pd.Categorical(days, [pd.Timestamp("2024-01-01 12:00"), *sorted(set(days))]),
            "here": pd.Categorical(days.tz_localize("Europe/Berlin")),
            "many": pd.Categorical(rng.permutation(n) * 3),
        }
    )
    data = load(frame)
    assert [field.kind for field in data.space.fields[2:4]] == ["category", "ordinal"]
    assert data.table.sentences == [
        'the column "many" has more than 1,000 categories, taken as whole numbers; samples may hold others'
    ]
    back = data.space.frame(data.train.x)
    assert dict(back.dtypes) == dict(frame.dtypes) | {"many": np.int64}, "samples of an open column may be no levels"
    rows = {tuple(row) for row in frame.astype(str).to_numpy().tolist()}
    assert {tuple(row) for row in back.astype(str).to_numpy().tolist()} <= rows


def test_a_warning_of_the_library_is_a_sentence_on_the_command_line():
    plain = warnings.formatwarning
    with _warned_in_words():
        assert warnings.formatwarning("Add `table=True`.", UserWarning, "f.py", 3) == "warning: Add --table yes.\n"
        assert "f.py:3: DeprecationWarning" in warnings.formatwarning("Old.", DeprecationWarning, "f.py", 3, "")
    assert warnings.formatwarning is plain
