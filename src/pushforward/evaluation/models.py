"""What can be evaluated: runs, run folders and transports, and whether they fit the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.data import Dataset
from pushforward.errors import UsageError
from pushforward.evaluation.unseen import check_unseen
from pushforward.recipes import registry
from pushforward.training import Run, load
from pushforward.training.own_columns import is_data_of
from pushforward.training.run import transport_of
from pushforward.training.run_data import data_of_run
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


def informed(models: Mapping[str, Run | Transport]) -> Run | Transport:
    """The model whose data says most: the first run with labels or other conditions, else the first model."""
    conditioned = [model for model in models.values() if isinstance(model, Run) and model.space.conditions]
    return conditioned[0] if conditioned else next(iter(models.values()))


def check_model(name: str, model: Run | Transport, data: Dataset) -> None:
    """Refuse a model that was made for other data.

    Raises:
        UsageError: Saying what it was made for.
    """
    if tuple(transport_of(model).space.shape) != tuple(data.space.shape):
        raise UsageError(f"{name} makes examples of shape {transport_of(model).space.shape}; {data.name} has {data.space.shape}.")
    if isinstance(model, Run):
        check_unseen(name, model, data)
    if isinstance(model, Run) and not is_data_of(model.spec, data):
        raise UsageError(f"{name} was trained on other data than {data.name}; compare runs of the same data.")


def data_of(model: Run | Transport) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        UsageError: If the model does not say what that was.
        DataError: If it has changed since.
    """
    if not isinstance(model, Run):
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    absent = "Evaluate it in Python and give the data: pf.evaluate(run, data), or pf.compare(runs, data)."
    return data_of_run(model.folder, model.spec, None, absent=absent, changed="train again")
