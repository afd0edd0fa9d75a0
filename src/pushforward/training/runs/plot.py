"""The course of a training run as a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.errors import UsageError
from pushforward.numbers import finite
from pushforward.runtime import in_notebook

SCORES = "frechet"  # What the measured scores of samples begin with


def figure_of(name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw losses, and scores if any were measured, side by side.

    Args:
        name: The run's name, for the title.
        rows: The rows of ``metrics.jsonl``.

    Raises:
        UsageError: For no rows.
    """
    from matplotlib import pyplot

    if not rows:
        raise UsageError(f"{name} has no logged steps yet, so there is nothing to plot.")
    losses = _lines(rows, "loss")
    scores = {what: line for what, line in _lines(rows, "health").items() if what.startswith(SCORES)}
    panels = {"loss": losses, "Fréchet distance": scores} if scores else {"loss": losses}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(6 * len(panels), 4), layout="constrained", squeeze=False)
    figure.suptitle(name)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for what, points in lines.items():
            axis.plot(*zip(*points, strict=True), label=what.replace("_", " "))
        axis.set(xlabel="step", ylabel=title)
        axis.legend()
    if in_notebook():  # which shows the returned figure, and all open ones a second time
        pyplot.close(figure)
    return figure


def _lines(rows: Sequence[Mapping[str, Any]], part: str) -> dict[str, list[tuple[int, float]]]:
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        measured = row.get(part)
        for name, value in measured.items() if isinstance(measured, Mapping) else ():
            number = finite(value)
            if number is not None:
                lines.setdefault(name, []).append((row["step"], number))
    return lines
