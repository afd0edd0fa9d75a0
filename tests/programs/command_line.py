"""Commands as a person gives them, in a folder with runs."""

import contextlib

import numpy as np

from pushforward.cli import main

TINY = ["--size", "tiny", "--steps", "4", "--batch", "64"]


def furnish(folder):
    """Put a table and one finished run of each kind into a folder."""
    rows = np.random.default_rng(0).normal(size=(60, 3))
    text = "height,weight,count,kind\n" + "".join(
        f"{a:.3f},{b:.3f},{int(c * 5)},{'xy'[i % 2]}\n" for i, (a, b, c) in enumerate(rows)
    )
    (folder / "table.csv").write_text(text)
    (folder / "plain").write_text("a file without an ending")
    with contextlib.chdir(folder):
        assert main(["train", "flow", "--out", "flow", *TINY]) == 0
        assert main(["train", "gan", "--out", "gan", *TINY]) == 0
        assert (
            main(
                ["train", "flow", "--data", "table.csv", "--target", "kind", "--out", "rows", *TINY]
            )
            == 0
        )


def run(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err
