"""Network calls of one sample: the table of its solver, packed with those of other requests."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pushforward.export.tables import Dense, RowLayout, dense
from pushforward.transports import Flow


class Schedule:
    """Network calls of a flow's solver; `compute` builds their table, which may take half a second.

    Args:
        flow: Arguments of a `Flow` whose solver has a table.

    Attributes:
        ready: Whether the table has been computed; the other attributes are set then.
        kinds: Estimate in each call: "jump", "data", or for a denoiser without columns the
            prediction.
        noises: Number of noise tensors drawn before the first call and after each call.
    """

    def __init__(self, *flow: Any) -> None:
        self._flow = flow
        self.ready = False
        self._packed: dict[str, tuple[RowLayout, Tensor]] = {}

    def compute(self) -> None:
        """Compute the table, unless it is ready."""
        if self.ready:
            return
        flow = Flow(*self._flow)  # not kept: its table is large
        self.table: Dense = dense(flow.table)
        self.width = flow.width
        self.noises = self.table.noises
        apart = any(place[-1] == "t" for place in self.table.columns)
        kinds = (row.call.kind for row in flow.table.rows if row.call is not None)
        self.kinds = tuple(kind if apart or kind == "jump" else "data" for kind in kinds)
        self.ready = True

    def row(self, number: int, layout: RowLayout) -> Tensor:
        """Return the coefficients of a call, (K,) float32, packed by the layout of its kind."""
        kind = self.kinds[number]
        if kind not in self._packed or self._packed[kind][0] is not layout:
            self._packed[kind] = layout, layout.rows(self.table).float()
        _, rows = self._packed[kind]
        return rows[number]

    def start(self, layout: RowLayout) -> Tensor:
        """Return the initial slots, (W, 1 + M), from z and the first noise tensors."""
        return layout.start(self.table, self.width).float()
