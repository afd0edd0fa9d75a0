"""Axes of charts: a scale from values to pixels, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["Axis", "far_apart", "padded", "start_note", "tick_text"]

NEAR = 0.5
"""Where the least value is less than this share of the greatest, an axis starts at 0."""
FAR = 8
"""How many times the least value the greatest is on a logarithmic axis."""


class Axis:
    """A scale from values to pixels with its ticks."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, log: bool = False, ticks: int = 5, whole: bool = False
    ) -> None:
        self.log = log and low > 0
        if not high > low:
            pad = abs(low) * 0.1 or 1.0
            low, high = (low / 1.5, high * 1.5) if self.log else (low - pad, high + pad)
        self.low, self.high, self.start, self.end = low, high, start, end
        self.ticks = _log_ticks(low, high) if self.log else _linear_ticks(low, high, ticks, whole)

    def __call__(self, value: float) -> float:
        """Where a value lies; beyond the ends it stays at the edge."""
        scale: Callable[[float], float] = math.log if self.log else float
        if self.log and value <= 0:
            return self.start
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + min(1.04, max(-0.04, share)) * (self.end - self.start)


def padded(low: float, high: float) -> tuple[float, float]:
    """Ends of a linear axis with some room beyond the values; 0 where that is near."""
    room = 0.06 * (high - low)
    return (0.0 if 0 <= low <= NEAR * high else low - room), high + room


def far_apart(values: Sequence[float]) -> bool:
    """Whether values, all above 0, are so far apart that a logarithmic axis shows them better."""
    return bool(values) and min(values) > 0 and max(values) > FAR * min(values)


def start_note(axis: Axis) -> str:
    """What a label says of an axis that is logarithmic or does not hold 0; nothing for any other."""
    if axis.log:
        return " · log scale"
    return "" if axis.low <= 0 <= axis.high else " · axis does not start at\u00a00"


def _linear_ticks(low: float, high: float, ticks: int, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(0 if abs(place) < slack else place) for place in places if low - slack <= place <= high + slack]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    few = math.log10(high / low)
    steps = (1, 2, 5) if few < 2.6 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return ticks if len(ticks) > 1 else _linear_ticks(low, high, 4)


def tick_text(value: float) -> str:
    """A tick's number, short."""
    if value and (abs(value) >= 1e4 or abs(value) < 1e-4):
        size = math.floor(math.log10(abs(value)))
        lead = value / 10**size
        power = f"10{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(c)] if c.isdigit() else '⁻' for c in str(size))}"
        if value >= 1e4 and value < 1e7:
            return f"{value / 1000:,.4g}k"
        return power if abs(lead - 1) < 1e-6 else f"{lead:.3g}·{power}"
    return f"{value:,.6g}".replace("-", "−")
