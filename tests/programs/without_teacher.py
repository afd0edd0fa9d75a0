"""Students that are killed after a step and go on without their teacher, for tests that they end in
the same bits.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pushforward as pf
from pushforward.data import Dataset
from pushforward.recipes import Recipe
from pushforward.testing import assert_same, final_state
from pushforward.training.api import prepare, reopen


def check_killed(
    make: Callable[[], Recipe], data: Dataset, teacher: Path, folder: Path, steps: int = 6
) -> Any:
    """Train a recipe as a whole, and again cut after a step, going on once the teacher's folder is
    gone.

    Both are in ``folder``, as "whole" and "cut".

    Returns:
        The final state of the one that was cut, as of `pushforward.testing.final_state`.
    """
    options: dict[str, Any] = {"steps": steps, "seed": 3, "checkpoint_every": 1}
    pf.fit(make(), data, out=folder / "whole", **options)
    trainer = prepare(make(), data, out=folder / "cut", **options)
    trainer.advance(1e-9)
    assert 0 < trainer.clock.step < steps
    del trainer
    shutil.rmtree(teacher)
    reopen(folder / "cut", data=data).advance()
    whole = final_state(folder / "whole")
    cut = final_state(folder / "cut")
    assert_same(whole, cut)
    return cut
