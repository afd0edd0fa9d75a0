"""The tables of a solver, each compiled once."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.predictor import Predicting, Predictor
from pushforward.solvers.learned import LearnedTable
from pushforward.solvers.solver import Solver
from pushforward.solvers.symbols import NotAffine
from pushforward.solvers.table import Table
from pushforward.solvers.tracing import compile_table
from pushforward.warned import warn

TABLES = 8
"""How many tables are kept: those of a flow's own times and of the last solves, encodings and variations."""
Times = np.ndarray | Tensor


class TableCache:
    """The tables of one solver: one is compiled once for the same times, denoiser and settings of both.

    An attribute of the solver or the denoiser that is replaced, such as the scale of guidance, makes another table. What is
    changed inside an attribute, such as a path's own attributes, is not noticed.

    Args:
        solver: Any.
        learned: A table to use along its own times.
    """

    def __init__(self, solver: Solver, learned: LearnedTable | None = None) -> None:
        self.solver, self.learned = solver, learned
        self._tables: dict[bytes, tuple[list[Any], Table | NotAffine]] = {}

    def table(self, denoiser: Predictor, times: Times) -> Table | NotAffine:
        """The table of these times, from the last few that were compiled, or why there is none."""
        if isinstance(times, Tensor) and times.requires_grad:
            return self._compiled(denoiser, times.cpu())
        along = np.array(times, dtype=np.float64)
        key, settings = along.tobytes(), [*_settings(self.solver), *_settings(denoiser)]
        if key in self._tables and _same(self._tables[key][0], settings):
            return self._tables[key][1]
        while len(self._tables) >= TABLES:
            self._tables.pop(next(iter(self._tables)))
        self._tables[key] = settings, self._compiled(denoiser, torch.from_numpy(along))
        return self._tables[key][1]

    def _compiled(self, denoiser: Predictor, times: Tensor) -> Table | NotAffine:
        if self.learned is not None and not times.requires_grad and times.tolist() == list(self.learned.grid):
            return self.learned.table(denoiser)
        try:
            return compile_table(self.solver, times, denoiser)
        except NotAffine as reason:
            if not self.solver.adaptive:
                name = type(self.solver).__name__
                warn(f"The step of {name} is not affine ({reason}): it is run as it is, without a table.")
            return reason


def _settings(part: object) -> list[Any]:
    """The identity of a part: its attributes by name, and those of the predictors inside.

    A module is known by the dicts that it holds, which it shares with what torch.export puts instead of a module that is
    used twice.
    """
    held = {name: value for name, value in getattr(part, "__dict__", {}).items() if name != "training"}
    inner = [value for value in (*held.values(), *held.get("_modules", {}).values()) if isinstance(value, Predicting)]
    identity = [] if isinstance(part, nn.Module) else [part]
    return [*identity, *chain(*held.items()), *chain(*map(_settings, inner))]


def _same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(left is right for left, right in zip(a, b, strict=True))
