"""Several models, trained in turns under one budget and judged by one measure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pushforward.data import Dataset, dataset_of
from pushforward.data.keys import permutation
from pushforward.errors import CheckpointError, Diverged, UsageError
from pushforward.evaluation.judge import SHOWN, Judge, check_model_kind, data_of
from pushforward.evaluation.starts import fitting
from pushforward.evaluation.unseen import check_unseen
from pushforward.recipes import registry
from pushforward.training import Run, Trainer, load
from pushforward.training.lineage import earlier_split
from pushforward.training.start import finished, kept
from pushforward.transports import Transport

__all__ = ["check_model", "compare_models", "informed", "models_of", "train_in_turns"]

TURN = 5.0
"""Seconds of training that an entrant has before the next one's turn."""


def train_in_turns(trainers: Sequence[Trainer], turn: float = TURN) -> list[Run]:
    """Train several models side by side, so that a machine whose speed drifts treats all alike.

    A training that diverges is left at its last checkpoint, and its run says so in ``warnings``; the others go on.

    Args:
        trainers: One for each entrant; a trainer whose ``stop`` is set is left where it is.
        turn: Seconds of training in one turn.

    Returns:
        The runs, in the order of ``trainers``.

    Raises:
        Diverged: If all of them diverge.
        CheckpointError: If the disk refuses; the other trainings are saved where they are, as far as it lets them.
    """
    try:
        return _trained_in_turns(trainers, turn)
    except CheckpointError:
        for trainer in trainers:
            with suppress(CheckpointError, Diverged):
                trainer.finish()
        raise
    finally:
        for trainer in trainers:
            trainer.close()


def _trained_in_turns(trainers: Sequence[Trainer], turn: float) -> list[Run]:
    fallen: dict[int, Diverged] = {}

    def attempt(number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Diverged as error:
            fallen[number] = error
            trainers[number].progress.say(f"{trainers[number].folder.name}: {error}")

    waiting = [number for number, trainer in enumerate(trainers) if not trainer.done]
    while waiting and not any(trainer.stop for trainer in trainers):
        for number in waiting:
            attempt(number, partial(trainers[number].advance, turn))
        waiting = [number for number in waiting if number not in fallen and not trainers[number].done]
    for number, trainer in enumerate(trainers):
        if number not in fallen:
            attempt(number, trainer.finish)
    if fallen and len(fallen) == len(trainers):
        raise next(iter(fallen.values()))
    return [kept(one, fallen[number]) if number in fallen else finished(one) for number, one in enumerate(trainers)]


def compare_models(
    models: Mapping[str, Run | Transport | str | Path] | Sequence[Run | str | Path],
    data: Dataset | str | Path | None = None,
    *,
    n: int | None = None,
    repeats: int = 3,
    budget: str | None = None,
    commands: Sequence[str] = (),
    curve: bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Judge models on one data set.

    Args:
        models: Runs, run folders or transports by the name that the report shows; or a list of runs or folders, which keep their
            own names.
        data: The data set, or its name or path; runs know their own.
        n: Samples on either side; see `evaluate`.
        repeats: Samplings of each model; see `evaluate`.
        budget: What each was trained with, in words.
        commands: The commands that make this comparison.
        curve: Whether to measure quality against network calls.

    Returns:
        The content and the pictures of a `pushforward.report.Report`.

    Raises:
        UsageError: If there is nothing to compare, or the models were made for other data.
    """
    models = models_of(models)
    data = dataset_of(data) if data is not None else data_of(informed(models))
    for name, model in models.items():
        check_model(name, model, data)
    judge = Judge(data, fitting(models.values(), data, n), repeats)
    sampling = judge.sampling({name: _transport(model) for name, model in models.items()})
    judged = {name: judge.entrant(name, model, curve=curve, sampling=sampling[name]) for name, model in models.items()}
    content = {
        "format_version": 1,
        "title": f"{', '.join(models)} on {data.name}",
        "created": datetime.date.today().isoformat(),
        **judge.described(),
        "entrants": [entrant for entrant, _ in judged.values()],
        "baseline": judge.baseline(),
        "commands": list(commands),
    }
    content["settings"] |= {"budget": budget, "seeds": 1, "shared": _sharing_noise(models)}
    shown = data.space.quantise(data.held_out.data_units(permutation(len(data.held_out), 0)[: SHOWN[data.space.kind]]))
    return content, {**{name: pictures for name, (_, pictures) in judged.items()}, "real": {"grid": shown}}


def models_of(models: Any) -> dict[str, Run | Transport]:
    """Models by name, from what `compare_models` accepts.

    Raises:
        UsageError: For anything else, or where there is nothing to compare.
        CheckpointError: If a run cannot be read.
    """
    if isinstance(models, (Run, Transport, str, Path)) or not isinstance(models, (Mapping, Sequence)):
        kind = type(models).__name__
        raise UsageError(f'Expected models by name, such as {{"flow": run}}, or a list of runs or folders; got a {kind}.')
    if not models:
        raise UsageError("There is nothing to compare; name at least one recipe or run.")
    named = models if isinstance(models, Mapping) else _with_names(models)
    for model in named.values():
        if isinstance(model, str) and model in registry() and not Path(model).is_dir():
            raise UsageError(
                f'"{model}" is a recipe, and trained runs are compared. Train it first: '
                f'pf.compare({{"{model}": pf.fit("{model}", data, seconds=60), ...}}, data).'
            )
    loaded = {str(name): load(model) if isinstance(model, (str, Path)) else model for name, model in named.items()}
    for model in loaded.values():
        check_model_kind(model)
    return loaded


def _with_names(models: Sequence[Any]) -> dict[str, Any]:
    """Runs and folders by their folder's name, or where that is taken by its path."""
    named: dict[str, Any] = {}
    for model in models:
        if not isinstance(model, (Run, str, Path)):
            raise UsageError(f'A {type(model).__name__} has no name: give models by name, such as {{"flow": run.transport}}.')
        folder = model.folder if isinstance(model, Run) else Path(model)
        named[str(folder) if folder.name in named else folder.name] = model
    return named


def _sharing_noise(models: Mapping[str, Run | Transport]) -> list[list[str]]:
    """The names of models whose noise has one shape, so that equal seeds give equal noise; groups of two and more."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, model in models.items():
        groups.setdefault(tuple(_transport(model).noise_shape), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def informed(models: Mapping[str, Run | Transport]) -> Run | Transport:
    """The model whose data says most: the first run with labels, else the first model."""
    labelled = [model for model in models.values() if isinstance(model, Run) and model.space.classes]
    return labelled[0] if labelled else next(iter(models.values()))


def _transport(model: Run | Transport) -> Transport:
    return model.transport if isinstance(model, Run) else model


def check_model(name: str, model: Run | Transport, data: Dataset) -> None:
    """Refuse a model that was made for other data.

    Raises:
        UsageError: Saying what it was made for.
    """
    if tuple(_transport(model).space.shape) != tuple(data.space.shape):
        raise UsageError(f"{name} makes rows of shape {_transport(model).space.shape}; {data.name} has {data.space.shape}.")
    if isinstance(model, Run):
        check_unseen(name, model, data)
    if isinstance(model, Run) and not _of_data(model.spec, data):
        raise UsageError(
            f"{name} was trained on other data than {data.name}; compare runs of the same data.{earlier_split(model.spec)}"
        )


def _of_data(spec: Mapping[str, Any], data: Dataset) -> bool:
    """Whether a run learned from these rows, with their labels or without."""
    rows = spec.get("rows_fingerprint")
    if rows is not None:
        return bool(rows == data.rows_fingerprint)
    return spec.get("fingerprint") in (None, data.fingerprint, data.rows_fingerprint)
