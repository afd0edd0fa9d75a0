"""Commands as a person gives them, in a folder with runs."""

import contextlib
import shlex

import numpy as np

from pushforward.cli import main

TINY = ["--size", "tiny", "--steps", "4", "--batch", "64"]


def furnish(folder):
    """Put a table and one finished run of each kind into a folder."""
    rows = np.random.default_rng(0).normal(size=(60, 3))
    lines = ["height,weight,count,kind"]
    for number, (height, weight, count) in enumerate(rows):
        kind = "xy"[number % 2]
        lines.append(f"{height:.3f},{weight:.3f},{int(count * 5)},{kind}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "plain").write_text("a file without an ending")
    with contextlib.chdir(folder):
        for model in (
            "flow --out flow",
            "gan --out gan",
            "flow --data table.csv --target kind --out rows",
        ):
            assert main(["train", *shlex.split(model), *TINY]) == 0


def run(capsys, line, *more):
    """The exit code and both outputs of a command: a line, and words that follow it."""
    code = main([*shlex.split(line), *more])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def answer(capsys, line, *more):
    """What a command that succeeds prints."""
    code, out, err = run(capsys, line, *more)
    assert code == 0, err
    return out
