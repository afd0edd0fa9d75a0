"""The spec of a run, ``spec.json``, and its frozen parts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pushforward import spec
from pushforward.data import Dataset
from pushforward.data.core.dataset import seen_in_training
from pushforward.errors import CheckpointError, MissingExtra
from pushforward.files import disk, read_json
from pushforward.methods.method import Method
from pushforward.plugins import load_needed, recorded
from pushforward.recipes.recipe import Recipe, Training
from pushforward.training.checkpoint.storage import fill, read_tensors, seal, sha256, write_json
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.machine import machine, seeded, version
from pushforward.training.runs.folder import RunLock, check_run
from pushforward.training.runs.provenance import write_seen

_FILE = "weights.safetensors"


def write_parts(folder: Path, method: Method) -> dict[str, str]:
    """Copy a method's frozen parts to ``folder/parts/NAME/``, and return their hashes."""
    written = {}
    for name, module in method.parts.items():
        final = folder / "parts" / name
        with disk(final):
            final.mkdir(parents=True, exist_ok=True)
            fill(final, {"weights": module.state_dict()}, {"part": name})
            seal(final)
        written[name] = sha256(final / _FILE)
    return written


def read_parts(
    folder: Path, content: Mapping[str, Any], method: Method, device: torch.device | str = "cpu"
) -> None:
    """Load a method's frozen parts from a run's folder, each verified by its hash."""
    hashes = content.get("parts") or {}
    for name, module in method.parts.items():
        path = folder / "parts" / name / _FILE
        try:
            if sha256(path) != hashes.get(name):
                raise ValueError("it has changed since it was written (its sha256 differs)")
            module.load_state_dict(read_tensors(path, device))
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The part {name} of {folder} is damaged: {path}: {str(error).splitlines()[0]}. "
                "Copy the part again from the original run; models trained on top of it cannot be "
                "used without it."
            ) from error


FORMAT = 4
UNFIT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What constructors raise for unsuitable arguments."""


def begin(
    holding: RunLock,
    recipe: Recipe,
    data: Dataset,
    budget: Budget,
    settings: Settings,
    method: dict[str, Any],
) -> dict[str, Any]:
    """Write the files of a new run folder, and return its spec."""
    content = {
        "format_version": FORMAT,
        "recipe": recipe.name,
        "family": recipe.family,
        "training": spec.describe(asdict(recipe.training)),
        "data": getattr(data, "origin", None),
        "fingerprint": data.fingerprint,
        "examples_fingerprint": data.examples_fingerprint,
        "budget": asdict(budget),
        **settings.stored(),
        "method": method,
    }
    if recipe.samplers:
        content["samplers"] = recipe.samplers
    content["plugins"] = recorded(settings.plugins, content)
    if holding.writes:
        content["parts"] = write_parts(holding.folder, recipe.method)
        content["rows"] = write_seen(holding.folder, seen_in_training(data, recipe.builds_on))
        packages = ("pushforward", "torch", "numpy", "safetensors")
        manifest = {
            "format_version": FORMAT,
            "machine": machine(),
            "packages": {name: version(name) for name in packages},
            "commit": _commit(),
            "seed": settings.seed,
            "data": data.describe(),
            "command": _command(),
        }
        write_json(holding.folder / "spec.json", content)
        write_json(holding.folder / "manifest.json", manifest)
    return content


def _commit() -> str | None:
    here = Path(__file__).parent
    words = ["git", "rev-parse", "HEAD"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(words, cwd=here, capture_output=True, encoding="utf-8", timeout=5)
        return done.stdout.strip() or None
    return None


def _command() -> str:
    program = Path(sys.argv[0])
    name = program.name
    if name == "__main__.py":
        name = program.parent.name
    return shlex.join([name, *sys.argv[1:]])


def digest(content: Mapping[str, Any]) -> str:
    """Compute the sha256 of a spec without its budget."""
    fixed = {name: value for name, value in content.items() if name not in ("budget", "extended")}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def check_spec(folder: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Compare a spec with the one that a checkpoint was written under."""
    if state.get("spec_sha256") not in (None, digest(content)):
        raise CheckpointError(
            f"{folder}/spec.json has changed since the checkpoint was written (its sha256 "
            "differs). Restore the file. To train with other settings, start a new run, if you "
            f"like from these weights: `init={folder}`."
        )


def extend(
    folder: Path, content: dict[str, Any], budget: Budget, step: int, writes: bool = True
) -> None:
    """Store a new budget in the spec, with the earlier one."""
    if asdict(budget) != content["budget"]:
        earlier = [*content.get("extended", []), {"step": step, "budget": content["budget"]}]
        changed = {"extended": earlier, "budget": asdict(budget)}
        if writes:
            write_json(folder / "spec.json", {**content, **changed})
        content |= changed


def read_spec(
    folder: str | Path, plugins: str | Path | Iterable[str | Path] = ()
) -> dict[str, Any]:
    """Read the spec of a run and load the plugins that it needs."""
    folder = Path(folder)
    check_run(folder)
    content = read_json(folder / "spec.json")
    number = content.get("format_version") if isinstance(content, dict) else None
    if number != FORMAT:
        raise CheckpointError(
            f"{folder}/spec.json has format {number!r}, but this version reads format {FORMAT}. "
            "Use the version that trained the run, or restore the file."
        )
    try:
        load_needed(content["plugins"], plugins)
    except (LookupError, TypeError) as error:
        raise CheckpointError(
            f"{folder}/spec.json is damaged: its entry plugins is missing or invalid. Restore the "
            "file."
        ) from error
    return content


def recipe_of(
    content: dict[str, Any],
    method: Method | None = None,
    seed: int = 0,
) -> Recipe:
    """Build the recipe of a spec, with weights drawn from the seed or a given method."""
    try:
        if method is None:
            built = seeded(lambda: spec.build(content["method"]), seed)
        else:
            built = method
        if not isinstance(built, Method):
            raise TypeError(f"{type(built).__name__} is not a method")
        return Recipe(built, Training(**content["training"]), content["recipe"], content["family"])
    except (CheckpointError, MissingExtra):
        raise
    except UNFIT as error:
        raise CheckpointError(
            "The run's spec.json does not describe a recipe of this version: "
            f"{str(error).rstrip('.')}. Restore the file."
        ) from error


def budget_of(content: dict[str, Any]) -> Budget:
    """Return the budget of a spec, or raise a CheckpointError if there is none."""
    try:
        return Budget(**content["budget"])
    except UNFIT as error:
        raise CheckpointError(
            f"The run's spec.json has no valid budget: {error}. Restore the file."
        ) from error
