"""A run's ``spec.json``: written at its start, and read again as a recipe and a budget."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pushforward import spec
from pushforward.data import Dataset
from pushforward.data.core.train_hashes import seen_in_training
from pushforward.errors import CheckpointError, MissingExtra
from pushforward.files import read_json
from pushforward.methods.method import Method
from pushforward.plugins import file_hash, load_needed
from pushforward.recipes.recipe import Recipe, Training
from pushforward.training.checkpoint.disk import write_json
from pushforward.training.loop.budget import Budget
from pushforward.training.loop.torch_generators import seeded
from pushforward.training.monitor.machine import computed_by
from pushforward.training.options import Settings
from pushforward.training.runs.folder import check_run
from pushforward.training.runs.frozen_modules import write_parts
from pushforward.training.runs.provenance import write_seen
from pushforward.training.runs.run_lock import Holding

FORMAT = 4
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What constructors raise for arguments that they do not take."""


LARGEST = 10_000
"""The largest number in a spec of a network, a solver or a transport, or the number of stored weights where that is larger: no
network is wider or deeper than it has weights."""
MOST = 1_000_000
"""The largest such number of a run that has saved no weights, and the largest batch."""
_COUNTED = tuple(f"pushforward.{home}." for home in ("interop", "networks", "solvers", "transports"))


def begin(
    holding: Holding, recipe: Recipe, data: Dataset, budget: Budget, settings: Settings, method: dict[str, Any]
) -> dict[str, Any]:
    """Write the files of a new run's folder before its first step; returns its spec, with this description of the method.

    Raises:
        CheckpointError: If the disk refuses.
    """
    content = {
        "format_version": FORMAT,
        "recipe": recipe.name,
        "family": recipe.family,
        "training": spec.describe(asdict(recipe.training)),
        "data": getattr(data, "origin", None),
        "fingerprint": data.fingerprint,
        "examples_fingerprint": data.examples_fingerprint,
        "budget": asdict(budget),
        "plugins": [{"file": str(path), "sha256": file_hash(path)} for path in settings.plugins],
        **settings.stored(),
        **({"samplers": dict(recipe.samplers)} if recipe.samplers else {}),
        "method": method,
    }
    if holding.writes:
        content["parts"] = write_parts(holding.folder, recipe.method)
        content["rows"] = write_seen(holding.folder, seen_in_training(data, recipe.builds_on))
        manifest = {"format_version": FORMAT, **computed_by(), "seed": settings.seed, "data": data.describe()}
        manifest |= {"command": command()}
        write_json(holding.folder / "spec.json", content)
        write_json(holding.folder / "manifest.json", manifest)
    return content


def command() -> str:
    """The command of this process."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a spec without its budget, which extending a run changes."""
    fixed = {name: value for name, value in content.items() if name not in ("budget", "extended")}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def check_spec(folder: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Compare a spec with the one that a checkpoint was written under.

    Raises:
        CheckpointError: If they differ.
    """
    if state.get("spec_sha256") not in (None, digest(content)):
        raise CheckpointError(
            f"{folder}/spec.json has changed since the checkpoint was written (its sha256 differs). Restore the file; to train "
            f"with other settings start a new run, from these weights if you like: `init={folder}`."
        )


def extend(folder: Path, content: dict[str, Any], budget: Budget, step: int, writes: bool = True) -> None:
    """Store a new budget in the spec, and which one it replaces at which step, so that a later resume keeps it.

    Of several processes one writes.

    Raises:
        CheckpointError: If the disk refuses; the old spec stays.
    """
    if asdict(budget) != content["budget"]:
        earlier = [*content.get("extended", []), {"step": step, "budget": content["budget"]}]
        changed = {"extended": earlier, "budget": asdict(budget)}
        if writes:
            write_json(folder / "spec.json", {**content, **changed})
        content |= changed


def read_spec(folder: str | Path, plugins: str | Path | Iterable[str | Path] = ()) -> dict[str, Any]:
    """The spec of a run, after the plugins that it needs have been named and checked.

    Raises:
        CheckpointError: If the folder is no run, or a plugin is not named or has changed.
        UsageError: If a file that is named is not there, or cannot be loaded.
    """
    folder = Path(folder)
    check_run(folder)
    content = read_json(folder / "spec.json")
    number = content.get("format_version") if isinstance(content, dict) else None
    if number != FORMAT:
        raise CheckpointError(
            f"{folder}/spec.json is of format {number!r}, and this version reads {FORMAT}: use the version that trained it, or "
            "restore the file."
        )
    wrong = [name for name, kind in _KINDS.items() if not isinstance(content.get(name), kind)]
    named = (plugin.get(key) if isinstance(plugin, dict) else None for plugin in content["plugins"] for key in ("file", "sha256"))
    if wrong or not all(isinstance(text, str) for text in named):
        name = (*wrong, "plugins")[0]
        raise CheckpointError(f"{folder}/spec.json is damaged: it does not say {name} as it should. Restore the file.")
    load_needed(content["plugins"], plugins)
    return dict(content)


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("recipe", "family", "fingerprint", "examples_fingerprint"), str),
    **dict.fromkeys(("method", "training", "rows", "budget"), dict),
    **dict.fromkeys(("plugins", "augment"), list),
    "seed": int,
    "checkpoint_every": (int, type(None)),
    "init": (str, type(None)),
    "init_step": (int, type(None)),
    **dict.fromkeys(("data", "parts", "asked", "samplers"), (dict, type(None))),
}
"""What a spec says, by name."""


def check_counts(content: Any, most: float = LARGEST, counted: bool = False) -> None:
    """Refuse a spec whose networks, solvers or transports have a number above ``most``, as many layers or steps.

    Raises:
        CheckpointError: With the number.
    """
    if isinstance(content, dict):
        part = spec.registered().get(str(content.get("part")))
        counted = counted if part is None else f"{part.__module__}.".startswith(_COUNTED)
        content = list(content.values())
    for inner in content if isinstance(content, list) else ():
        check_counts(inner, most, counted)
    if counted and isinstance(content, (int, float)) and not abs(content) <= most:
        raise CheckpointError(
            f"The run's spec.json holds the number {content:.4g}, which its weights do not account for. Restore the file. If the "
            "run is your own, hand the method over: pf.load(run, method=...)."
        )


def recipe_of(content: dict[str, Any], method: Method | None = None, seed: int = 0, weights: Sequence[Path] = ()) -> Recipe:
    """The recipe that a spec describes, with weights drawn from the seed, or around a method.

    Args:
        content: The spec.
        method: A method in place of the one that it describes.
        seed: Of the weights.
        weights: The folders in which the run's weights lie, which bound what is built; none for a run that has saved none.

    Raises:
        CheckpointError: If the spec describes none that this version can build.
    """
    try:
        if not 0 < content["training"].get("batch", 1) <= MOST:
            raise ValueError(f"a batch of {content['training']['batch']:.4g} examples")
        if method is None:
            stored = sum(os.lstat(path).st_size for folder in weights for path in folder.rglob("*"))
            check_counts(content["method"], max(LARGEST, stored // 4) if weights else MOST)
        built = method if method is not None else seeded(lambda: spec.build(content["method"]), seed)
        if not isinstance(built, Method):
            raise TypeError(f"{type(built).__name__} is no method")
        return Recipe(built, Training(**content["training"]), content["recipe"], content["family"])
    except (CheckpointError, MissingExtra):
        raise
    except UNFIT as error:
        raise CheckpointError(
            f"The run's spec.json describes no recipe of this version: {str(error).rstrip('.')}. Restore the file."
        ) from error


def budget_of(content: dict[str, Any]) -> Budget:
    """The budget that a spec holds.

    Raises:
        CheckpointError: If it holds none.
    """
    try:
        return Budget(**content["budget"])
    except UNFIT as error:
        raise CheckpointError(f"The run's spec.json holds no budget: {error}. Restore the file.") from error
