"""Several models scored by one measure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from pushforward.arguments import refuse_unknown, whole
from pushforward.data import Dataset, dataset_of
from pushforward.errors import UsageError
from pushforward.evaluation.aggregate import aggregated
from pushforward.evaluation.drawing import real_pictures
from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.joining import joined, taken_apart
from pushforward.evaluation.judge import Judge
from pushforward.evaluation.ladder import with_ladder
from pushforward.evaluation.models import check_model, data_of, informed, models_of
from pushforward.evaluation.results import REPEATS, Comparison, ModelResult
from pushforward.evaluation.run_results import health_of, landscapes_of
from pushforward.evaluation.scoring import compared
from pushforward.evaluation.unseen import fitting
from pushforward.extractors import Spaces
from pushforward.training import Run
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport

__all__ = ["SaidOptions", "compare"]


class SaidOptions(TypedDict, total=False):
    """What a report says of a comparison, and what is said while it is made.

    Args:
        budget: What each model was trained with, in words.
        commands: Command lines that repeat the comparison.
        tell: Called with a line before each sampling of a model, such as ``print``; silent by default.
    """

    budget: str | None
    commands: Sequence[str]
    tell: Callable[[str], None] | None


def compare(
    models: Mapping[str, Run | Transport | Comparison | str | Path] | Sequence[Run | Comparison | str | Path],
    data: Dataset | str | Path | None = None,
    *,
    n: int | None = None,
    repeats: int = REPEATS,
    features: Spaces = None,
    seeds: int = 1,
    curve: bool | Sequence[int] = True,
    **said: Unpack[SaidOptions],
) -> Comparison:
    """Score models on one data set; `pushforward.Report` renders the result.

    Args:
        models: Runs, run folders or transports by the name that the report shows; or a list of runs or folders, which keep their
            own names. Results of earlier comparisons, or their files (report.json), are joined without scoring them again.
        data: The data set, or its name or path; runs know their own.
        n: Samples on either side; None takes as many as earlier results have, else as the data allows (`pushforward.evaluate`).
        repeats: Samplings of each model.
        features: Feature spaces (`pushforward.evaluate`): models are ranked in the first.
        seeds: Trainings of each recipe that ``models`` holds. From two on, runs named after their own seed (``flow-0``,
            ``flow-1``) become one row, with the mean and the spread over trainings; any other model stays a row of its own.
        curve: Whether to measure quality against network calls, of a map between two times beside its teacher, trajectories and
            the memory of training; or the numbers of steps in which quality is measured, beside each model's own.
        said: ``budget``, ``commands`` and ``tell`` (`SaidOptions`); ``tell=print`` shows what is measured, which takes minutes.

    Raises:
        UsageError: If there is nothing to compare, the models were made for other data, or earlier results were measured by
            another protocol; the message names what differs.
    """
    refuse_unknown(said, SaidOptions, "compare", also=("n", "repeats", "features", "seeds", "curve"))
    budget, commands = said.get("budget"), said.get("commands", ())
    earlier, models = taken_apart(models)
    if earlier:
        details: dict[str, Any] = {"repeats": repeats, "features": features, "seeds": seeds, "curve": curve, **said}
        n = next(iter(earlier.values())).protocol.n if n is None else n
        every = joined({**earlier, **({"the models": compare(models, data, n=n, **details)} if models else {})})
        return replace(every, commands=tuple(dict.fromkeys([*every.commands, *commands])))
    models = models_of(models)
    data = dataset_of(data) if data is not None else data_of(informed(models))
    if "real" in models:
        raise UsageError('A model cannot be named "real", as real data is in a report: give it another name.')
    for name, model in models.items():
        check_model(name, model, data)
    n = None if n is None else compared(data, n)
    judge = Judge(data, fitting(models.values(), data, n), repeats, spaces=features, tell=said.get("tell"))
    sampling = judge.sampling({name: transport_of(model) for name, model in models.items()})
    results, pictures = [], {}
    for name, model in models.items():
        result, drawn = judge.judge(name, model, curve=curve, sampling=sampling[name])
        if curve:
            result, drawn = with_ladder(judge, model, result, drawn)
        result, pictures[name] = _with_history(result, drawn, model)
        results.append(result)
    baseline = judge.baseline()
    comparison = judge.comparison(results, baseline)
    shared = tuple(tuple(group) for group in _sharing_noise(models))
    comparison = replace(
        comparison,
        title=f"{', '.join(models)} on {data.name}",
        created=datetime.date.today().isoformat(),
        settings=replace(comparison.settings, budget=budget, seeds=whole("seeds", seeds, 1), shared=shared),
        commands=tuple(commands),
        pictures={**pictures, "real": real_pictures(data)},
    )
    return aggregated(comparison) if seeds > 1 else comparison


def _with_history(result: ModelResult, pictures: Pictures, model: Run | Transport) -> tuple[ModelResult, Pictures]:
    if not isinstance(model, Run):
        return result, pictures
    health, alarms = health_of(model)
    return replace(result, health=health, alarms=alarms), replace(pictures, landscapes=landscapes_of(model))


def _sharing_noise(models: Mapping[str, Run | Transport]) -> list[list[str]]:
    """The names of models whose noise has one shape, so that equal seeds give equal noise; groups of two and more."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, model in models.items():
        groups.setdefault(tuple(transport_of(model).noise_shape), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
