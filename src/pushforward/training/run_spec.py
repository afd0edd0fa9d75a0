"""A run's ``spec.json``: written at its start, and read again as a recipe and a budget."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pushforward import spec
from pushforward.data import Dataset
from pushforward.errors import CheckpointError, MissingExtra
from pushforward.launched import launched
from pushforward.methods.method import Method
from pushforward.plugins import file_hash, load_needed
from pushforward.recipes.recipe import Recipe, Training
from pushforward.training import checkpoint as checkpoints
from pushforward.training.budget import Budget
from pushforward.training.folders import check_run
from pushforward.training.generators import seeded
from pushforward.training.machine import computed_by
from pushforward.training.rebuilding import Limited, check_batch, check_counts, stored_bytes

__all__ = [
    "FORMAT",
    "budget_of",
    "check_spec",
    "command",
    "described",
    "digest",
    "extend",
    "not_recorded",
    "read_spec",
    "rebuilt",
    "recipe_of",
    "write_new",
]

FORMAT = 4
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What constructors raise for arguments that they do not take."""


def described(
    recipe: Recipe, data: Dataset, budget: Budget, settings: Mapping[str, Any], files: Sequence[Path]
) -> dict[str, Any]:
    """The content of a new run's ``spec.json``."""
    return {
        "format_version": FORMAT,
        "recipe": recipe.name,
        "family": recipe.family,
        "training": spec.describe(asdict(recipe.training)),
        "data": getattr(data, "origin", None),
        "fingerprint": data.fingerprint,
        "examples_fingerprint": data.examples_fingerprint,
        "budget": asdict(budget),
        "plugins": [{"file": str(path), "sha256": file_hash(path)} for path in files],
        **settings,
    }


def write_new(folder: Path, content: Mapping[str, Any], data: Dataset) -> None:
    """Create a run folder with its spec and manifest.

    Raises:
        CheckpointError: If the disk refuses.
    """
    manifest = {
        "format_version": FORMAT,
        **computed_by(),
        "seed": content["seed"],
        "data": data.describe(),
        "command": command(),
        **({} if (name := launched().name) is None else {"launch": name}),
    }
    checkpoints.write_json(folder / "spec.json", content)
    checkpoints.write_json(folder / "manifest.json", manifest)


def command() -> str:
    """The command of this process."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return " ".join([name, *sys.argv[1:]])


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
            "with other settings start a new run, from these weights if you like: `init={folder}`."
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
            checkpoints.write_json(folder / "spec.json", {**content, **changed})
        content |= changed


def read_spec(folder: str | Path, plugins: str | Path | Iterable[str | Path] = ()) -> dict[str, Any]:
    """The spec of a run, after the plugins that it needs have been named and checked.

    Raises:
        CheckpointError: If the folder is no run, or a plugin is not named or has changed.
        UsageError: If a file that is named is not there, or cannot be loaded.
    """
    folder = Path(folder)
    check_run(folder)
    content = checkpoints.read_json(folder / "spec.json")
    number = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(number, int):
        raise CheckpointError(f"{folder}/spec.json is damaged: it states no format. Restore it from a copy.")
    if number != FORMAT:
        raise CheckpointError(
            f"{folder}/spec.json is of format {number}, and this version reads {FORMAT}: use the version that trained it, or "
            "train again."
        )
    _check_kinds(folder, content)
    load_needed(content["plugins"], plugins)
    return content


_KINDS: dict[str, Any] = {
    "recipe": str,
    "family": str,
    "method": dict,
    "training": dict,
    "fingerprint": str,
    "examples_fingerprint": str,
    "rows": dict,
    "budget": dict,
    "plugins": list,
    "seed": int,
    "augment": list,
    "checkpoint_every": (int, type(None)),
}
_MAY: dict[str, Any] = {"init": str, "init_step": int, "data": dict, "parts": dict, "asked": dict, "samplers": dict}


_LATER = ("examples_fingerprint", "rows")
"""What the first runs of this format do not say."""


def not_recorded(folder: Path, name: str) -> CheckpointError:
    """The error for a run whose spec lacks what earlier versions did not write to it."""
    return CheckpointError(
        f"{folder}/spec.json was written by an earlier version of pushforward, which did not record {name}. Train it again."
    )


def _check_kinds(folder: Path, content: dict[str, Any]) -> None:
    wrong = [name for name, kind in _KINDS.items() if not isinstance(content.get(name, ...), kind)]
    wrong += [name for name, kind in _MAY.items() if content.get(name) is not None and not isinstance(content[name], kind)]
    plugins = content.get("plugins")
    augment = content.get("augment")
    wrong += ["augment"] if isinstance(augment, list) and not all(isinstance(name, str) for name in augment) else []
    if isinstance(plugins, list) and not all(
        isinstance(plugin, dict) and all(isinstance(plugin.get(name), str) for name in ("file", "sha256")) for plugin in plugins
    ):
        wrong.append("plugins")
    if wrong and all(name in _LATER and name not in content for name in wrong):
        raise not_recorded(folder, wrong[0])
    if wrong:
        raise CheckpointError(f"{folder}/spec.json is damaged: it does not say {wrong[0]} as it should. Restore the file.")


def recipe_of(content: dict[str, Any], method: Method | None = None, seed: int = 0, stored: int | None = None) -> Recipe:
    """The recipe that a spec describes, with weights drawn from the seed.

    Args:
        stored: Bytes of the run's weights, beyond which no method of it goes far; None where it has saved none.

    Raises:
        CheckpointError: If the spec describes none that this version can build.
    """
    try:
        check_batch(content["training"])
        if method is None:
            check_counts(content["method"])
        with Limited(stored):
            built = method if method is not None else seeded(lambda: spec.build(content["method"]), seed)
            if not isinstance(built, Method):
                raise TypeError(f"{type(built).__name__} is no method")
            for shape in {part.space.shape for part in built.modules() if method is None and hasattr(part, "space")}:
                torch.empty(4, *shape, device="meta")  # type: ignore[misc]  # what a solver holds of one example
        return Recipe(built, Training(**content["training"]), content["recipe"], content["family"])
    except (CheckpointError, MissingExtra):
        raise
    except _UNFIT as error:
        raise CheckpointError(
            f"The run's spec.json describes no recipe of this version: {str(error).rstrip('.')}. Restore the file."
        ) from error


def rebuilt(folder: Path, content: dict[str, Any], checkpoint: Path, method: Method | None = None) -> Recipe:
    """The recipe of a run whose weights lie in a checkpoint; see `recipe_of`.

    Raises:
        CheckpointError: Also if its method would take far more memory than these weights account for.
    """
    return recipe_of(content, method, stored=stored_bytes(checkpoint, folder / "parts"))


def budget_of(content: dict[str, Any]) -> Budget:
    """The budget that a spec holds.

    Raises:
        CheckpointError: If it holds none.
    """
    try:
        return Budget(**content["budget"])
    except _UNFIT as error:
        raise CheckpointError(f"The run's spec.json holds no budget: {error}. Restore the file.") from error
