"""The trainings of a comparison: which recipes, how large, how often and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.groups import Budgeting, Changes
from pushforward.cli.parsing import asked_for, recipe_of, settings_of
from pushforward.cli.terminal import say
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.training import Run

__all__ = ["Plan", "Planned", "longest", "report_folder", "spent", "steps_for"]


@dataclass(frozen=True)
class Planned:
    """One training: the recipe's name as it was typed, its seed, its folder, what was asked for, and its plug-ins.

    ``seconds`` is the budget of a training that is a point of a sweep; None for that of the comparison.
    """

    name: str
    seed: int
    folder: str
    recipe: Recipe
    settings: dict[str, Any]
    plugins: list[str]
    seconds: float | None = None


class Plan:
    """Which recipes are trained, how large and how often; their settings are checked before any data is read.

    Args:
        changes: To how recipes train.
        sizes: Of each recipe.
        trainings: Of each recipe.
        first: The first seed.
        shorter: Budgets in seconds below that of the comparison, for a sweep, of one training each.
        files: Plug-ins and recipes that are files.
    """

    def __init__(
        self,
        changes: Changes,
        sizes: Mapping[str, str],
        trainings: int,
        first: int,
        shorter: Sequence[float],
        files: Sequence[str],
    ) -> None:
        self.changes, self.sizes, self.seeds = changes, sizes, range(first, first + trainings)
        self.values = {name: settings_of(name, {}) for name in sizes}
        self.files = list(files)
        self.shorter, self.points = shorter, dict[str, list[str]]()

    def recipes(self, data: Dataset) -> list[Planned]:
        """One entry for each recipe and seed, and for each shorter budget of a sweep."""
        planned = []
        for name, size in self.sizes.items():
            others = [file for file in self.files if Path(file) != Path(name)]
            settings = asked_for(size, self.changes, self.values[name]) | ({"plugin": others} if others else {})
            plugins = [name, *others] if name.endswith(".py") else others
            for seed, seconds in [*((seed, None) for seed in self.seeds), *((self.seeds[0], part) for part in self.shorter)]:
                recipe = recipe_of(name, data, size, self.values[name], self.changes, seed)
                folder = recipe.name if len(self.seeds) == 1 else f"{recipe.name}-{seed}"
                if seconds is not None:
                    folder = f"{recipe.name}-{seconds:g}s"
                    self.points.setdefault(recipe.name, []).append(folder)
                planned.append(Planned(name, seed, folder, recipe, settings, plugins, seconds))
        return planned

    def sweep(self, runs: dict[str, Any]) -> dict[str, list[Run]]:
        """The runs of shorter budgets by recipe, which are taken out of ``runs``."""
        return {name: [runs.pop(folder) for folder in folders] for name, folders in self.points.items()}


def longest(budgeting: Budgeting) -> tuple[Budgeting, tuple[float, ...]]:
    """The budget without the shorter ones of a sweep (30s,60s,120s), and those, rising."""
    from dataclasses import replace

    from pushforward.training import Budget

    words = (budgeting.budget or "").split(",")
    if len(words) < 2:
        return budgeting, ()
    seconds = sorted(Budget.duration(word) for word in words)
    if len(set(seconds)) < len(seconds):
        raise UsageError(f"--budget {budgeting.budget} names a duration twice.")
    return replace(budgeting, budget=f"{seconds[-1]:g}s"), tuple(seconds[:-1])


def spent(fresh: Sequence[str], budgeting: Budgeting, flops: str | None) -> str | None:
    """The budget of each recipe as an option; None where nothing is trained."""
    given = [(f"--{name}", getattr(budgeting, name)) for name in ("budget", "steps", "samples")] + [("--flops", flops)]
    return next((f"{option} {value}" for option, value in given if value), "--budget 60s") if fresh else None


def report_folder(out: str | None, data: str = "") -> Path:
    """Where the report goes: ``out``, which must not exist, or a free default."""
    from pushforward.training.runs.folder import free_folder

    if out is None:
        return free_folder(None, f"compare-{data}", "report")
    if Path(out).exists():
        raise UsageError(f"{out} exists already. Choose another --out for the report and the new runs.")
    return Path(out)


def steps_for(flops: float, recipe: Recipe, data: Dataset) -> dict[str, int]:
    """The steps that so many floating point operations allow, which are said, as an option of `prepare`."""
    from pushforward.training.estimates import steps_within

    steps, each = steps_within(flops, recipe, data)
    say(f"{recipe.name}: a step takes {each:.3g} floating point operations, so {flops:g} allow {steps:,} steps")
    return {"steps": steps}
