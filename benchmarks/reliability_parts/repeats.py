"""The same training again in another process, and two trainings that want one folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protocol import printed_by

import pushforward as pf
from pushforward.errors import PushforwardError
from pushforward.training.api import prepare, reopen
from reliability_parts.apart import apart, warmed
from reliability_parts.cases import CASES, Case

__all__ = ["determinism", "locks"]

PROGRAM = Path(__file__).parents[1] / "programs" / "digests.py"


def determinism(cases: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each case: whether two new processes end in the same digest.

    They have other folders and other seeds of hashes, and train the cases in opposite orders.
    """
    digests = []
    for number, order in enumerate((cases, tuple(reversed(cases)))):
        os.environ["PYTHONHASHSEED"] = str(number + 1)
        digests.append(json.loads(printed_by(PROGRAM, list(order), Path(pf.__file__).parents[1])))
    del os.environ["PYTHONHASHSEED"]
    differ = [name for name in cases if digests[0][name] != digests[1][name]]
    return [
        {
            "part": "determinism",
            "case": name,
            "digest": digests[0][name],
            "wrong": ["differs"] if name in differ else [],
        }
        for name in cases
    ]


def locks(trials: int, smoke: bool) -> list[dict[str, Any]]:
    """Rows of trainings that were refused: a folder that is held, and one for which two new
    trainings race.
    """
    warmed()
    return [_held(trials, smoke), *([] if smoke else [_raced(trials)])]


def _held(trials: int, smoke: bool) -> dict[str, Any]:
    """While one process trains, others want to resume the run, or to replace it."""
    case = CASES["flow"]

    def outcomes() -> list[list[int]]:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            trainer = prepare(case.build(), case.data, steps=10**9, out=out)
            trainer.advance(1e-9)
            trainer.holding.reopen()
            codes = [
                list(apart(smoke)(lambda again=again: _code(out, again)))
                for again in [True, False] * (trials // 2)
            ]
            trainer.close()
        return codes

    _, codes = apart(smoke)(outcomes)
    wrong = [code for code in codes if code != [0, 4]]
    return {
        "part": "locks",
        "case": "a folder that is held",
        "trials": trials,
        "refused": codes.count([0, 4]),
        "wrong": wrong,
    }


def _code(out: Path, again: bool) -> int:
    """The exit code of a training that wants a folder which another one has."""
    case = CASES["flow"]
    try:
        if again:
            reopen(out, data=case.data)
        else:
            prepare(case.build(), case.data, steps=1, out=out, overwrite=True)
    except PushforwardError as error:
        return error.exit_code
    return 0


def _raced(trials: int) -> dict[str, Any]:
    """Two processes train into one new folder at once: one gets it."""
    wrong = []
    for _ in range(trials):
        with tempfile.TemporaryDirectory() as folder:
            started = [_started(CASES["flow"], Path(folder) / "run") for _ in range(2)]
            codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in started)
            if codes not in ([0, 2], [0, 4]):
                wrong.append(codes)
    return {
        "part": "locks",
        "case": "two new trainings",
        "trials": trials,
        "refused": trials - len(wrong),
        "wrong": wrong,
    }


def _started(case: Case, out: Path) -> int:
    """A process that trains for a few steps, and ends with its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare(case.build(), case.data, steps=3, out=out).advance()
            code = 0
        except PushforwardError as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return child
