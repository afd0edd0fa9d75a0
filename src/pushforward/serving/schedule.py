"""The network calls that make one sample: the table of its solver, compiled once and packed beside those of other requests."""

from __future__ import annotations

import threading
from typing import Any

from torch import Tensor

from pushforward import spec
from pushforward.denoisers.denoiser import Predictor
from pushforward.export.tables import Dense, RowLayout, dense
from pushforward.transports import Flow

MOST = 256  # Schedules that are kept for the next requests


class Schedule:
    """The calls of a flow's solve.

    Args:
        flow: Under a solver that has a table.

    Attributes:
        kinds: What each call asks of the denoiser: "jump" or "data", of which its columns make every prediction. A denoiser
            without columns is asked for the prediction itself.
        noises: How many noises are drawn before the first call and after each of them.

    Raises:
        UsageError: For a solver that chooses its own steps, or whose steps are not affine.
    """

    def __init__(self, flow: Flow) -> None:
        table = flow.table
        self.table: Dense = dense(table)
        self.width, self.noises = flow.width, self.table.noises
        apart = "t" in _names(self.table.columns)
        kinds = (row.call.kind for row in table.rows if row.call is not None)
        self.kinds = tuple(kind if apart or kind == "jump" else "data" for kind in kinds)
        self._packed: dict[str, tuple[RowLayout, Tensor]] = {}

    def __len__(self) -> int:
        """How many calls there are."""
        return len(self.kinds)

    def row(self, number: int, layout: RowLayout) -> Tensor:
        """The coefficients of a call, (K,) float32, as the layout of its kind packs them."""
        kind = self.kinds[number]
        if kind not in self._packed or self._packed[kind][0] is not layout:
            self._packed[kind] = layout, layout.rows(self.table)
        return self._packed[kind][1][number]

    def start(self, layout: RowLayout) -> Tensor:
        """How the slots begin, (W, 1 + M): from z and the noises that are drawn first."""
        return layout.start(self.table, self.width)


def _names(columns: dict[str, Any]) -> set[str]:
    inner = (_names(part) for part in columns.values() if isinstance(part, dict))
    return {*columns}.union(*inner)


class Schedules:
    """The schedules of one denoiser; one is compiled once for the same solver, times and learned coefficients.

    Args:
        denoiser: It takes scales of guidance for each example, where it takes any.
    """

    def __init__(self, denoiser: Predictor) -> None:
        self.denoiser = denoiser
        self._known: dict[tuple[str, bytes, str], Schedule] = {}
        self._lock = threading.Lock()

    def of(self, flow: Flow) -> Schedule:
        """The calls of a flow whose steps, solver and coefficients hold for the denoiser as well."""
        key = str(spec.describe(flow.solver)), flow.times.tobytes(), repr(flow.learned)
        with self._lock:
            if key not in self._known:
                while len(self._known) >= MOST:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = Schedule(Flow(self.denoiser, flow.solver, flow.steps, flow.grid, flow.learned))
            return self._known[key]


class Layouts:
    """For each kind of call the layout that packs all schedules which were met so far."""

    def __init__(self) -> None:
        self._widest: dict[str, list[Dense]] = {}
        self._layouts: dict[str, RowLayout] = {}

    def __getitem__(self, kind: str) -> RowLayout:
        return self._layouts[kind]

    def include(self, schedule: Schedule) -> int:
        """Let the layouts hold a schedule; returns how many slots the widest one has."""
        for kind in set(schedule.kinds):
            tables = [*self._widest.get(kind, []), schedule.table]
            wider = RowLayout.of(tables)
            if wider != self._layouts.get(kind):
                self._widest[kind], self._layouts[kind] = tables, wider
        return max(layout.slots for layout in self._layouts.values())
