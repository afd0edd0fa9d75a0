"""Columns of a table that are left out for what they hold are said, in Python and on the command line."""

import warnings

import pytest

import pushforward as pf
from pushforward.cli.inputs import source
from pushforward.data import load


def test_in_python_columns_that_are_left_out_are_a_warning_and_on_the_command_line_a_line(tmp_path, capsys):
    pd = pytest.importorskip("pandas")
    path = tmp_path / "t.csv"
    frame = pd.DataFrame({"id": range(40), "x": [i % 7 / 8 for i in range(40)], "c": list("abca" * 10)})
    frame.to_csv(path, index=False)
    for place in (frame, path):
        with pytest.warns(UserWarning, match='left out "id"') as warned:
            load(place)
        assert [warning.filename for warning in warned] == [__file__], "at the line of the user"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(frame, drop=["id"])
        load(frame, schema={"columns": {"id": {"kind": "whole"}}})
        data = source(str(path))
        assert capsys.readouterr().err.count('left out "id"') == 1
        assert data.space.names == ("x", "c")
        pf.resume(pf.fit("flow", data, size="tiny", steps=1, out=tmp_path / "run").folder, steps=2)
