"""A comparison in words, tables and pictures: one HTML file, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.report.logs import health_of, landscapes_of
from pushforward.report.pool import pooled
from pushforward.report.report import FORMAT, Report

__all__ = ["FORMAT", "Report", "compare"]


def compare(
    models: Mapping[str, Any] | Sequence[Any],
    data: Any = None,
    *,
    n: int | None = None,
    repeats: int = 3,
    seeds: int = 1,
    budget: str | None = None,
    commands: Sequence[str] = (),
) -> Report:
    """Judge models on one data set and report.

    Args:
        models: Runs, run folders or transports by the name that the report shows; or a list of runs or folders, which keep their
            own names.
        data: The data set, or its name or path; runs know their own.
        n: Samples on either side; None takes as many as the data allows.
        repeats: Samplings of each model.
        seeds: Trainings of each recipe that ``models`` holds. From two on, runs named after their own seed (``flow-0``,
            ``flow-1``) become one row, with the mean and the spread over trainings; any other model stays a row of its own.
        budget: What each was trained with, in words.
        commands: Command lines that make this comparison.

    Raises:
        UsageError: If there is nothing to compare, or the models were made for other data.
    """
    from pushforward.evaluation.compare import compare_models, models_of
    from pushforward.training import Run

    models = models_of(models)
    content, pictures = compare_models(models, data, n=n, repeats=repeats, budget=budget, commands=commands)
    for entrant in content["entrants"]:
        model = models[entrant["name"]]
        if isinstance(model, Run):
            entrant |= health_of(model)
            pictures[entrant["name"]]["landscapes"] = landscapes_of(model)
    content["settings"] = {**(content.get("settings") or {}), "seeds": seeds}
    if seeds > 1:
        content, pictures = pooled(content, pictures)
    return Report(content, pictures)
