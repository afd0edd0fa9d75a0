"""Tables in text: dialects, targets, and what is refused."""

import numpy as np
import pytest
import torch
from programs.image_files import rows_of

from pushforward.data import Space, load
from pushforward.errors import DataError, UsageError
from pushforward.samples import write_samples


def table(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return tmp_path / "t.csv"


GOOD = "height,count,kind\n" + "".join(f"{i / 4},{i},{'ab'[i % 2]}\n" for i in range(20))


def test_table_with_a_text_target(tmp_path):
    data = load(table(tmp_path, GOOD), target="kind")
    assert data.space.columns == ("height", "count")
    assert data.space.integer == (1,)
    assert data.space.classes == ("a", "b")
    rows = rows_of(data)
    assert sorted(rows.tolist()) == [[i / 4, i] for i in range(20)]
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    assert (labels == rows[:, 1] % 2).all()
    assert isinstance(data.space, Space)
    assert data.name == "t"


def test_numeric_targets_sort_as_numbers(tmp_path):
    text = "x,grade\n" + "".join(f"{i}.5,{(10, 9, 2)[i % 3]}\n" for i in range(30))
    data = load(table(tmp_path, text), target="grade")
    assert data.space.classes == ("2", "9", "10")
    assert data.space.integer == ()


@pytest.mark.parametrize(
    "text", ["\ufeffa,b\r\n1,2\r\n3,4\r\n\r\n", "a;b\n1;2\n3;4\n", "a\tb\n1\t2\n3\t4", '"a",b\n"1",2\n 3 , 4 \n']
)
def test_dialects(tmp_path, text):
    data = load(table(tmp_path, text), table=False)
    assert data.space.columns == ("a", "b")
    assert sorted(rows_of(data).tolist()) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\nabc,3\n4,5\n", r'column "a" holds numbers, and 1 cell of other text: line 3 \("abc"\).*`drop="a"`'),
        ("a,b\n1,2\n3,nan\n4,inf\n5,6\n", r'column "b" holds numbers, and 1 cell of other text: line 4 \("inf"\)'),
        ("a,b\n1,2\n3\n", r"another number of cells than the other lines, which have 2: line 3"),
        ("a,b\n1,2,3\n", "line 2 "),
        ("a,a\n1,2\n3,4\n", 'more than one column: "a"'),
        (",a\n0,1\n1,2\n", "without a name: 1"),
        ("1,2\n3,4\n4,1\n", "names or data"),
        ("", "is empty"),
        ("a,b\n", "no rows"),
        (b"a,b\n\xff\xfe,2\n", "not UTF-8"),
        ("a,b\n1,2\n", "at least 2"),
        ("a\n" + "9" * 200_000 + "\n", "field larger"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, match):
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "target", "kind", "match"),
    [
        (GOOD, "kin", UsageError, 'no column "kin".*Did you mean "kind"'),
        ("a,k\n1,x\n2,\n", "k", DataError, 'column "k": the label is missing in line 3'),
        ("k\nx\ny\n", "k", DataError, "no column beside"),
        ("a,k\n" + "".join(f"{i},{i}\n" for i in range(30)), "k", DataError, "too many to be classes"),
    ],
)
def test_targets_that_are_refused(tmp_path, text, target, kind, match):
    with pytest.raises(kind, match=match):
        load(table(tmp_path, text), target=target, table=False)


def test_the_targets_name_is_kept(tmp_path):
    (tmp_path / "t.csv").write_text("size,kind\n" + "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(20)))
    data = load(tmp_path / "t.csv", target="kind")
    assert data.space.label.target == "kind"
    write_samples(tmp_path / "out.csv", data.space, 2, [(torch.zeros(2, 1), {"label": torch.tensor([0, 1])})])
    assert (tmp_path / "out.csv").read_text().split() == ["size,kind", "0.0,a", "0.0,b"]
