"""The course of a training run as a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.runtime import in_notebook


def figure_of(name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw losses, and Fréchet distances if any were measured, side by side.

    Args:
        name: The run's name, for the title.
        rows: The rows of ``metrics.jsonl``, at least one.
    """
    from matplotlib import pyplot

    panels = {"loss": [(row["step"], row["loss"]) for row in rows]}
    scored = [(row["step"], row["health"]) for row in rows if "frechet" in row.get("health", ())]
    if scored:
        panels["Fréchet distance"] = [(step, _distances(health)) for step, health in scored]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 4), layout="constrained", squeeze=False)
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        steps, values = zip(*points, strict=True)
        for what in values[-1]:
            axis.plot(steps, [each.get(what) for each in values], label=what, marker=".", markersize=3)
        axis.set(title=name, xlabel="step", ylabel=title)
        axis.legend()
    if in_notebook():  # which shows the returned figure, and all open ones a second time
        pyplot.close(figure)
    return figure


def _distances(health: Mapping[str, Any]) -> dict[str, Any]:
    return {what: value for what, value in health.items() if what.startswith("frechet")}
