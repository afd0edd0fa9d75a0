"""The grid of exact resume: precision, where the training stops, and worker processes, for every
recipe.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from programs.digest import state_digest
from programs.interruptions import Killed

from pushforward.methods.method import answered
from pushforward.testing import assert_same, final_state
from pushforward.training import Trainer
from pushforward.training.api import prepare, reopen
from reliability_parts.apart import apart, warmed
from reliability_parts.cases import CASES, Case

__all__ = ["POSITIONS", "PRECISIONS", "measured"]

PRECISIONS = ("float32", "bfloat16")
POSITIONS = {"mid-epoch": 3, "epoch edge": 4, "inside accumulation": 3}
"""The step after which a training stops; an epoch has two steps. The last one dies between the
parts of the step after it.
"""
STEPS = 6


def measured(
    cases: Sequence[str], precisions: Sequence[str], workers: Sequence[int], smoke: bool
) -> list[dict[str, Any]]:
    """A row for each case: how many cells of the grid end bit for bit, and what differs in
    others.
    """
    warmed()
    rows = []
    for name in cases:
        status, cells = apart(smoke)(lambda name=name: _cells(CASES[name], precisions, workers))
        cells = cells or [{"wrong": f"the process ended with {status}"}]
        row = {
            "part": "grid",
            "case": name,
            "cells": len(cells),
            "wrong": [cell for cell in cells if cell["wrong"]],
        }
        print(row, flush=True)
        rows.append(row)
    return rows


def _cells(case: Case, precisions: Sequence[str], workers: Sequence[int]) -> list[dict[str, Any]]:
    return [cell for precision in precisions for cell in _of_precision(case, precision, workers)]


def _of_precision(case: Case, precision: str, workers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Each stopped training against a single whole one, which has no workers; only images that stay
    on disk have workers.
    """
    streams = case.images and any(workers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = {
            count: case.streamed(folder / "images", count) if streams else case
            for count in {0, *workers}
        }
        _new(read[0], precision, folder / "whole").advance()
        for position, count in itertools.product(POSITIONS, workers if streams else (0,)):
            cut = folder / f"{position} {count}"
            _stopped(_new(read[count], precision, cut), position)
            reopen(cut, data=read[count].data).advance()
            cell = {"precision": precision, "position": position, "workers": count}
            yield {**cell, "wrong": _difference(folder / "whole", cut)}


def _new(case: Case, precision: str, folder: Path) -> Trainer:
    recipe = case.build(precision=precision)
    return prepare(
        recipe, case.data, steps=STEPS, checkpoint_every=1, out=folder, seed=3, **case.fit
    )


def _stopped(trainer: Trainer, position: str) -> None:
    """Train until a position, and stop there as a signal or as a kill would."""
    step = POSITIONS[position]
    if position == "inside accumulation":
        losses = trainer.method.losses
        with patch.object(
            trainer.method, "losses", lambda batch, now: _cut(losses(batch, now), now, step)
        ):
            try:
                trainer.advance()
            except Killed:
                return
        raise AssertionError("The training was to die between the parts of a step.")
    while trainer.clock.step < step:
        trainer.advance(1e-9)
    trainer.finish()


def _cut(game: Iterator[Any], now: Any, step: int) -> Iterator[Any]:
    """The game of a part of a batch, which dies at its start in one step if it is not the first
    part.
    """
    reply = None
    while (move := answered(game, reply)) is not None:
        if now.step == step and now.draws.start:
            raise Killed
        reply = yield move


def _difference(whole: Path, cut: Path) -> str:
    """What differs, in words; empty where nothing does."""
    if state_digest(whole) == state_digest(cut):
        return ""
    try:
        assert_same(final_state(whole), final_state(cut))
    except AssertionError as error:
        return str(error)
    return "The logs differ."
