"""A solver's way along given times: by its table, or step by step where it has none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.draws import Draws
from pushforward.predictor import Condition, Predicting, Predictor
from pushforward.solvers.solver import Solver
from pushforward.solvers.symbols import NotAffine
from pushforward.solvers.table import Table
from pushforward.solvers.tracing import compile_table

__all__ = ["Walks", "stepped"]

TABLES = 8
"""How many tables are kept: those of a flow's own times and of the last solves, encodings and variations."""
Times = np.ndarray | Tensor
States = Iterator[tuple[float, Tensor]]


class Walks:
    """The walks of one solver, which compiles a table once for the same times, denoiser and settings of both.

    An attribute of the solver or the denoiser that is replaced, such as the scale of guidance, makes another table. What is
    changed inside an attribute, such as a path's own attributes, is not noticed.

    Args:
        solver: Any.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._tables: dict[bytes, tuple[list[Any], Table | NotAffine]] = {}

    def along(self, denoiser: Predictor, x: Tensor, times: Times, condition: Condition, draws: Draws | None) -> States:
        """(time, state) after each step from the state x (n, *shape) at the first time, model units."""
        table = self.table(denoiser, times)
        if isinstance(table, NotAffine):
            yield from stepped(self.solver, denoiser, x, times, condition, draws)
        else:
            yield from table.walk(denoiser, x, condition, draws)

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
        try:
            return compile_table(self.solver, times, denoiser)
        except NotAffine as reason:
            if not self.solver.adaptive:
                name = type(self.solver).__name__
                warnings.warn(f"The step of {name} is not affine ({reason}): it is run as it is, without a table.", stacklevel=2)
            return reason


def _settings(part: object) -> list[Any]:
    """What a part is and holds: its attributes by name, and those of the predictors inside.

    A module is known by the dicts that it holds, which it shares with what torch.export puts instead of a module that is
    used twice.
    """
    held = {name: value for name, value in getattr(part, "__dict__", {}).items() if name != "training"}
    inner = [value for value in (*held.values(), *held.get("_modules", {}).values()) if isinstance(value, Predicting)]
    own = [] if isinstance(part, nn.Module) else [part]
    return [*own, *chain(*held.items()), *chain(*map(_settings, inner))]


def _same(a: list[Any], b: list[Any]) -> bool:
    """Whether two lists hold the same objects."""
    return len(a) == len(b) and all(left is right for left, right in zip(a, b, strict=True))


def stepped(solver: Solver, denoiser: Predictor, x: Tensor, times: Times, condition: Condition, draws: Draws | None) -> States:
    """The walk by the solver's own steps: what a table stands for, and the way of steps that are not affine."""
    memory = None
    along = times if isinstance(times, Tensor) else torch.from_numpy(np.array(times))
    rows = along.to(x)[:, None].expand(-1, len(x))
    for i, stop in enumerate(along.tolist()[1:]):
        asked = denoiser, x, rows[i], rows[i + 1], condition, draws, memory
        if stop == 0:
            x = solver.last(*asked)
        else:
            x, memory = solver.step(*asked)
        yield stop, x
