"""Mistakes in paths and numbers are answered before torch is imported, in the words of the
library.
"""

import os
import subprocess
import sys

import numpy as np
from programs.text_tables import read_cases

WRONG = read_cases("""
evaluate missing.npz --data digits | 3 | missing.npz
evaluate x.npy --data digits --n 1 | 2 | Must be >= 2
train flow --budget 60q            | 2 | "60q" is not a duration
sample missing                     | 2 | There is no folder missing
report missing                     | 2 | There is no folder missing
""")
LOOP = """
import contextlib, io, sys
from pushforward.cli import main
for words in sys.argv[1:]:
    with contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words.split())
    print(code, "torch" in sys.modules, err.getvalue().replace(chr(10), " "))
"""


def test_mistakes_are_answered_without_torch(tmp_path):
    images = np.zeros((5, 8, 8, 1), np.uint8)
    np.save(tmp_path / "x.npy", images)
    commands = [command for command, _, _ in WRONG]
    wide = {**os.environ, "COLUMNS": "200"}
    call = [sys.executable, "-c", LOOP, *commands]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, env=wide)
    answers = done.stdout.splitlines()
    assert len(answers) == len(WRONG), done.stderr
    for (command, code, says), answer in zip(WRONG, answers, strict=True):
        assert answer.startswith(f"{code} False error: "), command
        assert says in answer, command
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["x.npy"], "a refused command leaves nothing behind"
