"""Tables of plain numbers are vectors or tables, and what was decided is said."""

import numpy as np

from pushforward.cli import main
from pushforward.cli.inputs import source
from pushforward.cli.options import Reading as Options
from pushforward.data import TableSpace, load


def test_plain_numbers_say_how_they_were_taken_and_how_to_get_the_other(tmp_path, capsys):
    path, rng = tmp_path / "t.csv", np.random.default_rng(0)
    path.write_text("a,b,kind\n" + "".join(f"{a:.1f},{b:.2f},{'uv'[int(a > 0)]}\n" for a, b in rng.normal(size=(60, 2))))
    for options, vectors, said in (
        ({"target": "kind"}, True, True),
        ({"target": "kind", "given": ["b"]}, True, True),
        ({"target": "kind", "table": False}, True, False),
        ({"target": "kind", "table": True}, False, False),
        ({}, False, False),
    ):
        data = load(path, **options)
        assert isinstance(data.space, TableSpace) != vectors
        assert ("`table=True`" in data.read_as) == said
    assert main(["data", "check", str(path), "--target", "kind"]) == 0
    assert "read as vectors; --table yes" in capsys.readouterr().out
    source(str(path), Options(target="kind"))
    assert "read as vectors; --table yes" in capsys.readouterr().err
