"""What can be evaluated: runs, run folders and transports, and whether they fit the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.data import Dataset, Space, TableSpace
from pushforward.data.tables.parse_errors import some
from pushforward.errors import UsageError, quoted
from pushforward.evaluation.unseen import check_unseen
from pushforward.numbers import counted
from pushforward.registries import RECIPES
from pushforward.training import Run, load
from pushforward.training.runs.provenance import data_of_run
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport

__all__ = ["check_model", "check_model_kind", "data_of", "informed", "models_of"]


def check_model_kind(model: object) -> None:
    """Refuse what is neither a run nor a transport.

    Raises:
        UsageError: Saying what was expected.
    """
    if not isinstance(model, (Run, Transport)):
        raise UsageError(f"Expected a run (pf.load), its folder, or a transport; got a {type(model).__name__}.")


def models_of(models: Any) -> dict[str, Run | Transport]:
    """Models by name, from what `pushforward.compare` accepts.

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
        if isinstance(model, str) and model in RECIPES and not Path(model).is_dir():
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


def informed(models: Mapping[str, Run | Transport]) -> Run | Transport:
    """The model whose data says most: the first run with labels or other conditions, else the first model."""
    conditioned = [model for model in models.values() if isinstance(model, Run) and model.space.conditions]
    return conditioned[0] if conditioned else next(iter(models.values()))


def check_model(name: str, model: Run | Transport, data: Dataset) -> None:
    """Refuse a model that was made for other data.

    Raises:
        UsageError: Saying what it was made for.
    """
    space = transport_of(model).space
    if (tuple(space.shape), space.names) != (tuple(data.space.shape), data.space.names):
        if isinstance(space, TableSpace) and isinstance(data.space, TableSpace):
            raise UsageError(_other_columns(name, space, data.name, data.space))
        raise UsageError(f"{name} makes {_described(space)}; {data.name} has {_described(data.space)}.")
    if isinstance(model, Run):
        check_unseen(name, model, data)
    if isinstance(model, Run) and model.spec["examples_fingerprint"] != data.examples_fingerprint:
        raise UsageError(f"{name} was trained on other data than {data.name}; compare runs of the same data.")


def _other_columns(name: str, own: TableSpace, other_name: str, other: TableSpace) -> str:
    """What sets the columns of two tables apart."""
    here, there = ({field.name: field for field in space.fields} for space in (own, other))
    parts = {
        f"only {name} has": [column for column in here if column not in there],
        f"only {other_name} has": [column for column in there if column not in here],
        "other categories or frequent values in": [c for c in here if c in there and here[c].width != there[c].width],
    }
    differ = "; ".join(f"{words} {some(map(quoted, columns))}" for words, columns in parts.items() if columns)
    return f"{name} makes rows with other columns than {other_name}: {differ or 'another order'}. Compare runs of the same table."


def _described(space: Space) -> str:
    """What examples of a space are: rows of so many columns, or their shape."""
    return f"rows of {counted(len(space.names), 'column')}" if space.names else f"examples of shape {tuple(space.shape)}"


def data_of(model: Run | Transport) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        UsageError: If the model does not say what that was.
        DataError: If it has changed since.
    """
    if not isinstance(model, Run):
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    return data_of_run(model.folder, model.spec)
