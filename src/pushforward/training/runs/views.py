"""Views of a run: samples, losses and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pushforward import synonyms
from pushforward.errors import suggestion
from pushforward.registries import at
from pushforward.runtime import display, in_notebook
from pushforward.samples import Samples
from pushforward.transports import ConditionLike


class Viewed(ABC):
    """What can be sampled and has been trained, such as `pushforward.Run`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name for titles."""

    @abstractmethod
    def sample(self, n: int = 64, condition: ConditionLike = None, **options: Any) -> Any:
        """Draw samples."""

    @abstractmethod
    def losses(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``."""

    def show(self, n: int = 64, condition: ConditionLike = None, **options: Any) -> None:
        """Draw samples and show them as a picture or a table.

        Args:
            n: Number of samples.
            condition: Condition of the samples; see `sample`.
            options: Options of `sample`, such as ``seed=1``, ``label=3`` or ``steps=8``.

        Raises:
            UsageError: If the samples are vectors that cannot be drawn; see also `sample`.
        """
        drawn = self.sample(n, condition, **options)
        if isinstance(drawn, Samples):
            drawn.show()
        else:
            show = display if in_notebook() else print
            show(drawn)

    def plot(self) -> Any:
        """Draw the losses of training, and the scores measured while training, against the step.

        Returns:
            A matplotlib figure. Only some recipes, such as gan and meanflow, measure scores while
            training; `evaluate` scores every run.
        """
        return figure_of(self.name, self.losses())

    def evaluate(self, data: Any = None, **options: Any) -> Any:
        """Score the run against held-out data; see `pushforward.evaluate`.

        Args:
            data: Data set, or its name or path; None for the run's own.
            options: Options of `pushforward.evaluate`, such as ``n=1000``.
        """
        return at("evaluation:evaluate")(self, data, **options)

    if not TYPE_CHECKING:  # every other attribute would pass as Any

        def __getattr__(self, name: str) -> Any:
            """Refuse a missing attribute, with a hint if it is a word of another library."""
            if synonyms.is_listed(name):
                hint = suggestion(name, dir(type(self)))
                raise AttributeError(
                    f"{type(self).__name__!r} object has no attribute {name!r}.{hint}"
                )
            return object.__getattribute__(self, name)


def figure_of(name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw losses, and Fréchet distances if any were measured, side by side."""
    from matplotlib import pyplot

    panels = {"loss": [(row["step"], row["loss"]) for row in rows]}
    scored = []
    for row in rows:
        health = row.get("health", {})
        if "frechet" in health:
            scored.append((row["step"], _distances(health)))
    if scored:
        panels["Fréchet distance"] = scored
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(9, 4), layout="constrained", squeeze=False
    )
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        steps, values = zip(*points, strict=True)
        for what in values[-1]:
            course = [each.get(what) for each in values]
            axis.plot(steps, course, label=what, marker=".", markersize=3)
        axis.set(title=name, xlabel="step", ylabel=title)
        axis.legend()
    if in_notebook():  # which shows the returned figure, and all open ones a second time
        pyplot.close(figure)
    return figure


def _distances(health: Mapping[str, Any]) -> dict[str, Any]:
    return {what: value for what, value in health.items() if what.startswith("frechet")}
