"""Train cases of the benchmark of reliability and print the digests of their states, as JSON: run
by ``reliability.py``.

python benchmarks/programs/digests.py CASE ...
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from programs.digest import state_digest
from reliability_parts.cases import CASES

from pushforward.training.api import prepare

STEPS = 6
torch.set_num_threads(1)
digests = {}
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for number, name in enumerate(sys.argv[1:]):
        case = CASES[name]
        prepare(
            case.build(), case.data, steps=STEPS, out=f"run {number}", seed=3, **case.fit
        ).advance()
        digests[name] = state_digest(f"run {number}")
    os.chdir("/")
print(json.dumps(digests))
