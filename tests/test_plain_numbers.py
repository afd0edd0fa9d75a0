"""Tables of plain numbers are vectors or tables, and what was decided is said."""

import numpy as np

from pushforward.cli import main
from pushforward.cli.groups import Reading as Options
from pushforward.cli.reading import source
from pushforward.data import TableSpace, check, load


def test_plain_numbers_say_how_they_were_taken_and_how_to_get_the_other(tmp_path, capsys):
    path, rng = tmp_path / "t.csv", np.random.default_rng(0)
    path.write_text("a,b,kind\n" + "".join(f"{a:.1f},{b:.2f},{'uv'[int(a > 0)]}\n" for a, b in rng.normal(size=(60, 2))))
    rest = "for a table, whose samples keep decimals, whole numbers and ranges"
    for options, sentence in {
        ("target",): f'read as vectors of 2 numbers with the label "kind"; `table=True` {rest}',
        ("target", "given"): f'read as vectors of 1 number with the label "kind"; `table=True` without `given` {rest}',
        ("target", "no"): "",
        ("target", "yes"): "",
        (): "",
    }.items():
        named = {"target": {"target": "kind"}, "given": {"given": ["b"]}, "no": {"table": False}, "yes": {"table": True}}
        data = load(path, **{name: value for option in options for name, value in named[option].items()})
        assert data.read_as == sentence
        assert isinstance(data.space, TableSpace) == (sentence == "" and "no" not in options)
    assert main(["data", "check", str(path), "--target", "kind"]) == 0
    assert f'read as vectors of 2 numbers with the label "kind"; --table yes {rest}' in capsys.readouterr().out
    assert check(path, target="kind")["read_as"].startswith("read as vectors")
    assert check(path)["read_as"] is None
    source(str(path), Options(target="kind"))
    assert capsys.readouterr().err == f'{path}: read as vectors of 2 numbers with the label "kind"; --table yes {rest}\n'
