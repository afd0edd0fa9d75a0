"""Files and frames with missing cells are read as training reads them, and nothing but these cells changes."""

from pathlib import Path

import numpy as np
import pytest

from pushforward.data.tables import Category, Number
from pushforward.data.tables.columns import Format
from pushforward.data.tables.csv_dialect import GappyFile, Layout, gappy_values
from pushforward.data.tables.frames import filled_frame, frame_of, frame_table
from pushforward.errors import DataError

NAMES = ("p", "q")


def filled(path, content, cells, layout):
    """The bytes of a file whose cells "?" or "" hold the next ones of some others."""
    path.write_bytes(content)
    file = GappyFile.read(path, NAMES, layout)
    gaps = [(row, place) for row, old in enumerate(file.rows) for place, cell in enumerate(old) if cell in ("", "?")]
    given = {name: {} for name in file.header}
    for (row, place), cell in zip(gaps, cells, strict=True):
        given[file.header[place]][row] = cell
    return file.filled(given).encode(file.encoding)


@pytest.mark.parametrize(
    ("before", "cells", "after", "layout"),
    [
        ('"p", q,r\n\n"NY",40, \n"a ""b""" , ? ,"?"\n', ["1", "2", "x"], 'p,q,r\nNY,40,1\n"a ""b""",2,x\n', {}),
        ('p;q\r\n# note\r\n;"4\r\n0"\r\n;?', ['a;"', "1", "2"], 'p;q\r\n"a;""";"4\r\n0"\r\n1;2\r\n', {}),
        (" p   q\n a\t ? \n\n'?  ?\n", ["1", "b c"], 'p q\na 1\n\'? "b c"\n', {"separator": " "}),
        ("?, 4\nb, ?\n", ["a", "5"], "a,4\nb,5\n", {"header": False}),
        ("p\tq\n?\tb\n\t\n", ["c", "1", "2"], "p\tq\nc\tb\n1\t2\n", {"separator": "\t"}),
    ],
)
def test_only_gaps_change(tmp_path, before, cells, after, layout):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert filled(tmp_path / "t.txt", before.encode(encoding), cells, Layout(**layout)) == after.encode(encoding)


def test_files_are_read_as_training_reads_them(tmp_path):
    path = tmp_path / "t.data"
    fields = [Number.measured("x0", np.arange(9.0), "whole", Format(0)), Category("x2", ("a", "b"), (0.5, 0.5))]
    path.write_text("3, drop, ?\n?, this, b\n")
    file = GappyFile.read(path, ["x0", "x2"], Layout(header=False))
    values, missing = file.values(fields)
    np.testing.assert_array_equal(values, [[3, np.nan], [np.nan, 1]])
    assert missing.tolist() == [[False, True], [True, False]]
    path.write_text("1,2,3\n4,5,6\n")
    with pytest.raises(DataError, match=r"3 columns and no line of names: .*p, q"):
        GappyFile.read(path, NAMES, Layout(header=False))
    path.write_text("x0,x2,x0\n3,a,4\n")
    with pytest.raises(DataError, match="each once"):
        GappyFile.read(path, ["x0", "x2"]).values(fields)
    path.write_text(f"x0,x2\n3,{'a' * 200_000}\n")
    with pytest.raises(DataError, match="line 2: field larger than field limit"):
        GappyFile.read(path, ["x0", "x2"])
    with pytest.raises(DataError, match="cannot be read"):
        GappyFile.read(Path(tmp_path), NAMES)


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
    read, missing = gappy_values("f", frame_table(sampled).columns, fields, dates=True)
    np.testing.assert_array_equal(read, values)
    assert not missing.any()
    types = {"zip": float, "age": "Int64", "true": "boolean", "member": pd.CategoricalDtype(["no", "yes"])}
    frame = sampled.astype(types).set_index(pd.Index([7, 5]))
    holes = frame.copy()
    for name in holes:
        holes.loc[7, name] = None
    read, missing = gappy_values("f", frame_table(holes).columns, fields, dates=True)
    assert missing.tolist() == [[True] * 5, [False] * 5]
    np.testing.assert_array_equal(read[1], values[1])
    pd.testing.assert_frame_equal(filled_frame(holes, fields, values, missing), frame)
