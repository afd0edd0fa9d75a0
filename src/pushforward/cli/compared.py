"""What is compared: recipes to train and finished runs, told apart, named, and on which data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.cli.terminal import say
from pushforward.errors import UsageError, did_you_mean
from pushforward.registries import RECIPES

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.evaluation import Comparison
    from pushforward.training import Run

__all__ = ["check_models", "check_reports", "named_runs", "possible_runs", "shared_data", "sorted_models", "stored_results"]

_DURATION = re.compile(r",|,?(\d+\.?\d*(s|m|min|h)?,?)+")
"""What is left of durations that have spaces between them."""


def check_models(models: Sequence[str], plugins: Sequence[str] = ()) -> None:
    """Refuse, before torch is imported, what is neither a recipe of the package nor a file or folder."""
    for name in models:
        if not plugins and not name.endswith(".py") and not Path(name).exists() and name not in RECIPES:
            raise _no_model(name, RECIPES)


def _no_model(name: str, recipes: Sequence[str]) -> UsageError:
    if _DURATION.fullmatch(name):
        return UsageError(
            f'"{name}" is no model. Write durations after --budget, with no space after a comma, such as --budget 3s,6s.'
        )
    hint = did_you_mean(name, recipes)
    return UsageError(f'"{name}" is neither a recipe ({", ".join(recipes)}) nor a run folder nor a report.{hint}')


def possible_runs(models: Sequence[str]) -> list[str]:
    """The models that are no recipes of this package, and may be runs."""
    return [name for name in models if name not in RECIPES]


def stored_results(models: Sequence[str]) -> dict[str, Comparison]:
    """The models that are results of earlier comparisons: report.json, or the folder that holds it."""
    from pushforward.evaluation.merge import stored, stored_file

    files = {name: stored_file(name) for name in models if name not in RECIPES}
    places = [file.resolve() for file in files.values() if file is not None]
    if len(set(places)) < len(places) or (len(models) > len(set(models)) and places):
        raise UsageError("A report is named twice. Name every recipe, run and report once.")
    return {name: stored(file) for name, file in files.items() if file is not None}


def check_reports(reports: Mapping[str, Comparison], data: Dataset | None = None) -> None:
    """Refuse reports of unlike protocols, or of other data than that of the other models, before anything is trained."""
    from pushforward.evaluation.results import check_same

    check_same([(name, report.protocol) for name, report in reports.items()], [report.data.name for report in reports.values()])
    for name, report in reports.items():
        if data is not None and report.protocol.data != data.fingerprint:
            raise UsageError(
                f"{name} holds scores on other data ({report.data.name}) than {data.name}: compare models of the same data."
            )


def sorted_models(models: Sequence[str], reports: int = 0) -> tuple[list[str], list[str]]:
    """Recipes to train, and folders of finished runs; each at most once. Beside reports there may be no other models.

    A name that a recipe and a folder share is the recipe, and that is said.
    """
    if not models and not reports:
        raise UsageError("Name at least one recipe or run, such as: pushforward compare gan vae ddpm flow --data digits")
    fresh = [name for name in models if name in RECIPES or name.endswith(".py")]
    finished = [name for name in models if name not in fresh]
    for name in finished:
        if not Path(name).is_dir():
            raise _no_model(name, list(RECIPES))
    places = [name if name in RECIPES else str(Path(name).resolve()) for name in models]
    again = next((name for i, name in enumerate(models) if places[i] in places[:i]), None)
    if again is not None:
        raise UsageError(f'"{again}" is named twice. Name every recipe and run once; several trainings of each are --seeds N.')
    for name in fresh:
        if Path(name).is_dir() and str(Path(name).resolve()) not in places:
            say(f"{name} is taken for the recipe, which is trained; {_beside(name)}")
    return fresh, finished


def _beside(name: str) -> str:
    """What a folder that is called like a recipe is, in words."""
    if any((Path(name) / file).is_file() for file in ("spec.json", "report.json")):
        return f"to compare what is in the folder {name}, write ./{name}"
    return f"the folder {name} is {'empty' if not any(Path(name).iterdir()) else 'no run: it has no spec.json'}"


def shared_data(runs: Sequence[tuple[str, Run]], data: str | None, read: Callable[[str], Dataset]) -> Dataset:
    """The named data, else that of the runs, else digits; runs of other data are refused before anything is trained."""
    from pushforward.evaluation.models import check_model, data_of, informed

    loaded = read(data or "digits") if data or not runs else data_of(informed(dict(runs)))
    for name, run in runs:
        check_model(name, run, loaded)
    return loaded


def named_runs(runs: Sequence[tuple[str, Run]], fresh: Sequence[str]) -> dict[str, Run]:
    """Runs by names of their own: the folder's, or where that is taken the path as it was given."""
    twice = next((name for i, name in enumerate(fresh) if name in fresh[:i]), None)
    if twice is not None:
        raise UsageError(f'Two recipes are called "{twice}"; rename the function in one of the files.')
    named: dict[str, Run] = {}
    for given, run in runs:
        taken = {*fresh, *named}
        named[next(name for name in (run.name, given, str(run.folder.resolve())) if name not in taken)] = run
    return named
