"""What the small measurements share: seeds, trainings of few steps and floors."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pushforward as pf
from pushforward.errors import Diverged
from pushforward.evaluation import Evaluator
from pushforward.training import Run
from pushforward.training.api import prepare
from pushforward.training.loop.machine import seeded

SEEDS = 3
KNOWN = 3
"""Seeds of digits that were known when the number of trainings was fixed: counted are those from
here on.
"""


def trained(
    make: Callable[[], pf.Recipe], data: Any, seed: int, steps: int, **training: Any
) -> Run | None:
    """A recipe after so many steps, with these of its training settings changed; None where the
    training diverged.
    """

    def changed() -> pf.Recipe:
        recipe = make()
        return dataclasses.replace(
            recipe, training=dataclasses.replace(recipe.training, **training)
        )

    out = Path(tempfile.mkdtemp()) / "run"
    trainer = prepare(seeded(changed, seed), data, steps=steps, seed=seed, out=out)
    try:
        trainer.advance()
    except Diverged:
        return None
    return pf.load(out)


def floors_of(judge: Evaluator, names: list[str]) -> dict[str, dict[str, float | None]]:
    """Value and spread of each floor, as JSON holds them."""
    return {
        name: {
            "value": judge.real_data_scores[name].value,
            "spread": judge.real_data_scores[name].spread,
        }
        for name in names
    }
