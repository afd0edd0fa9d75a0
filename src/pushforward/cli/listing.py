"""The verbs that look: list, doctor."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import DATA, INSPECT, Json, Plugins
from pushforward.cli.parsing import device_of, load_plugins
from pushforward.cli.terminal import app, columns, first_line, list_app, show
from pushforward.errors import CheckpointError, UsageError
from pushforward.registries import EXTRACTORS, METRICS, RECIPES, SOLVERS

__all__ = ["doctor", "list_features", "list_metrics", "list_recipes", "list_runs", "list_solvers"]

Listed = Annotated[Plugins, Parameter(group=DATA)]
"""Plug-ins whose parts are listed as well."""


@list_app.command(name="recipes")
def list_recipes(*, plugin: Listed = (), json: Json = False) -> None:
    """Name the recipes and their settings."""
    from pushforward import recipes

    load_plugins(plugin)
    rows = {
        name: {"what": first_line(function), "settings": list(recipes.settings(function))} for name, function in RECIPES.items()
    }
    show(rows, json, lambda recipes: columns([[name, row["what"]] for name, row in recipes.items()]))


@list_app.command(name="features")
def list_features(*, plugin: Listed = (), json: Json = False) -> None:
    """Name the feature extractors, and say what each compares examples in."""
    load_plugins(plugin)
    rows = {
        name: {"what": first_line(part), "learns": part.learns, "argument": next(iter(inspect.signature(part).parameters), None)}
        for name, part in EXTRACTORS.items()
    }
    show(rows, json, lambda rows: columns([[name, row["what"]] for name, row in rows.items()]))


@list_app.command(name="solvers")
def list_solvers(*, plugin: Listed = (), json: Json = False) -> None:
    """Name the solvers with their order, calls per step and the number that a name can be given, as in dpm:3."""
    load_plugins(plugin)
    rows = {}
    for name, part in SOLVERS.items():
        solver, arguments = part(), list(inspect.signature(part).parameters)
        rows[name] = {
            "number": {arguments[0]: getattr(solver, arguments[0])} if arguments else None,
            "order": solver.order,
            "calls_per_step": None if solver.adaptive else solver.calls_per_step,
            "grid": solver.grid,
            "stochastic": solver.stochastic,
            "what": first_line(part),
        }
    show(rows, json, lambda solvers: columns([_solver(name, row) for name, row in solvers.items()]))


def _solver(name: str, row: dict[str, Any]) -> list[str]:
    number = "" if row["number"] is None else "[:{}={:g}]".format(*next(iter(row["number"].items())))
    calls = row["calls_per_step"]
    cost = "calls as needed" if calls is None else f"{calls} call{'s' if calls > 1 else ''} a step"
    return [f"{name}{number}", f"order {row['order']}", cost, f"grid {row['grid']}", row["what"]]


@list_app.command(name="metrics")
def list_metrics(*, plugin: Listed = (), json: Json = False) -> None:
    """Name the metrics."""
    from pushforward.evaluation.model_metrics import MODEL_METRICS

    load_plugins(plugin)
    rows = {name: {"what": first_line(metric), "scores": list(metric.scores)} for name, metric in METRICS.items()}
    rows |= {name: {"what": first_line(score), "scores": [name]} for name, score in MODEL_METRICS.items()}
    show(rows, json, lambda metrics: columns([[n, ", ".join(r["scores"]), r["what"]] for n, r in metrics.items()]))


@list_app.command(name="runs")
def list_runs(folder: str = "runs", *, json: Json = False) -> None:
    """Name the runs below a folder.

    Args:
        folder: Where to look.

    Raises:
        UsageError: For a folder that does not exist, other than the default.
    """
    if not Path(folder).is_dir() and folder != "runs":
        raise UsageError(f"There is no folder {folder}: name the one that holds runs.")
    rows = [_run_row(path) for path in sorted(Path(folder).glob("**/spec.json"))]
    empty = f"no runs in {folder}; train one: pushforward train flow --data digits --budget 60s"
    show(rows, json, lambda runs: _table(runs) if runs else empty)


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows with their names above."""
    return columns([list(rows[0]), *([str(value or "-") for value in row.values()] for row in rows)])


def _run_row(path: Path) -> dict[str, Any]:
    """What a run's spec and checkpoints say of it; a damaged one is a row as well."""
    from pushforward.safe_files import read_json
    from pushforward.training.checkpoint.integrity import latest, unfinished
    from pushforward.training.runs.folder import check_run

    run = str(path.parent)
    try:
        check_run(path.parent)
        content, newest = read_json(path), latest(path.parent / "checkpoints")
        recipe, source = content["recipe"], (content.get("data") or {}).get("name_or_path")
    except (CheckpointError, OSError, AttributeError, KeyError, TypeError):
        return {"run": run, "recipe": "cannot be read", "data": None, "checkpoint": None, "unfinished": None}
    progress = None if newest is None else unfinished(newest, content.get("budget") or {})
    return {"run": run, "recipe": recipe, "data": source, "checkpoint": newest.name if newest else None, "unfinished": progress}


@app.command(group=INSPECT, sort_key=9)
def doctor(*, json: Json = False) -> None:
    """Print devices, versions of packages, and missing extras."""
    show(_offered(), json, lambda rows: "\n".join(f"{name}: {value}" for name, value in rows.items()))


def _offered() -> dict[str, Any]:
    """The machine, its devices, and the versions of packages."""
    import torch

    from pushforward.denoisers.precision import resolve_precision
    from pushforward.training.monitor.machine import machine

    versions = {
        **machine(),
        "cuda": torch.cuda.is_available(),
        "best precision": resolve_precision("auto", device_of("auto")),
    }
    versions["data folder"] = os.environ.get("PUSHFORWARD_DATA") or "~/.cache/pushforward (set PUSHFORWARD_DATA to change)"
    packages = ("torchvision", "numpy", "scipy", "scikit-learn", "pillow", "safetensors", "matplotlib", "cyclopts", "rich")
    versions |= {name: _version(name) or f"missing: pip install {name}" for name in packages}
    return versions | _extras()


def _extras() -> dict[str, str]:
    """Each extra of the package: whether all that it needs is installed, else what is missing and how to install it."""
    from importlib import metadata

    needs: dict[str, list[str]] = {}
    try:
        wanted = metadata.requires("pushforward") or []
    except metadata.PackageNotFoundError:  # run from its source
        wanted = []
    for requirement in wanted:
        if parts := re.match(r"([\w.-]+).*\bextra == ['\"]([\w.-]+)", requirement):
            needs.setdefault(parts[2], []).append(parts[1])
    return {f"extra {name}": _installed(name, packages) for name, packages in needs.items()}


def _installed(extra: str, packages: list[str]) -> str:
    missing = [package for package in packages if _version(package) is None]
    return f"missing {', '.join(missing)}: pip install 'pushforward[{extra}]'" if missing else "installed"


def _version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
