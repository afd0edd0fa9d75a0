"""The hashes of a run's training examples in its folder, the seconds of its ancestors, and warnings for its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.data import Dataset
from pushforward.data.seen import Seen
from pushforward.denoisers import Denoiser
from pushforward.errors import CheckpointError
from pushforward.paths import Source
from pushforward.recipes.recipe import Recipe
from pushforward.training import checkpoint as checkpoints
from pushforward.training.disk import appearing
from pushforward.training.run_spec import not_recorded
from pushforward.transports import Autoencoder, Transport

if TYPE_CHECKING:
    from pushforward.methods import Method

__all__ = ["leaks", "read_seen", "seen_by", "sources_of", "with_ancestors", "write_seen"]

_FILE = "rows.safetensors"


def with_ancestors(recipe: Recipe) -> Recipe:
    """The recipe, with the names of all data sets and models that its method learns from.

    These are the data sets that it starts from instead of noise, and frozen models of which the recipe does not state where
    they come from.
    """
    sources = {f"the source {name}": source for name, source in sources_of(recipe.method).items()}
    builds_on = [(name, seen) for name, seen in recipe.builds_on if name not in sources]
    if not builds_on:
        models = [name for name, part in recipe.method.parts.items() if isinstance(part, (Autoencoder, Denoiser, Transport))]
        builds_on = [(f"{'an' if name[0] in 'aeiou' else 'a'} {name} handed over in Python", Seen()) for name in models]
    return replace(recipe, builds_on=(*builds_on, *((name, source.seen) for name, source in sources.items())))


def sources_of(method: Method) -> dict[str, Source]:
    """The data sets that a method starts from instead of noise, by name."""
    parts = (getattr(module, "source", None) for module in method.modules())
    return {source.data: source for source in parts if isinstance(source, Source)}


def write_seen(folder: Path, seen: Seen) -> dict[str, Any]:
    """Write the hashes to ``folder/rows.safetensors``, whole or not at all.

    Returns:
        The entry of the run's spec: the file's sha256, and the names of models and data sets that the run builds on.

    Raises:
        CheckpointError: If the disk refuses.
    """
    from torch import tensor

    from pushforward.training.tensors import write

    path = folder / _FILE
    hashes = np.zeros(0, dtype=np.uint64) if seen.own is None else seen.own
    with appearing(path) as temporary:
        write(temporary, {"own": tensor(hashes), "inherited": tensor(seen.inherited), "shared": tensor(seen.shared)})
    names = {"builds_on": list(seen.names), "unknown": list(seen.unknown)}
    return {"sha256": checkpoints.sha256(path), **names, "seconds": dict(seen.seconds), "apart": seen.apart}


def read_seen(folder: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> Seen:
    """The training examples and seconds of a run, by the content of its ``spec.json`` and the counters of a checkpoint.

    Raises:
        CheckpointError: If the file is missing or has changed, or the spec is of an earlier version and does not name it.
    """
    from pushforward.training.tensors import read

    if "rows" not in content:
        raise not_recorded(folder, "rows")
    record, path = content["rows"], folder / _FILE
    try:
        if not path.is_file():
            raise OSError("it is missing")
        if checkpoints.sha256(path) != record["sha256"]:
            raise OSError("it differs from what was written (sha256)")
        rows = {name: values.numpy() for name, values in read(path).items()}
        names = tuple(record["builds_on"]), tuple(record["unknown"])
        times = {name: float(+value) for name, value in record.get("seconds", {}).items()}
        own_seconds = state.get("seconds", 0.0) + (state.get("store_seconds") or 0.0)
        return Seen(rows["own"], rows["inherited"], rows["shared"], *names, record.get("apart"), own_seconds, times)
    except (AttributeError, CheckpointError, OSError, KeyError, TypeError, ValueError) as error:
        why = f"the entry {error} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(
            f"{path}, which says on which examples the run was trained, cannot be used: {why}. Copy it again from where the "
            "run came from."
        ) from error


def seen_by(folder: str | Path) -> Seen:
    """The training examples and seconds of a run, by its folder; unknown for a folder of another kind, such as diffusers'."""
    path = Path(folder)
    if not (path / "spec.json").is_file():
        return Seen()
    content, newest = checkpoints.read_json(path / "spec.json"), checkpoints.latest(path / "checkpoints")
    state = {} if newest is None else checkpoints.read_state(newest)
    return read_seen(path, content if isinstance(content, dict) else {}, state)


def leaks(seen: Seen, data: Dataset) -> tuple[str, ...]:
    """Warnings where a model that builds on others is evaluated on held-out examples, in sentences; usually none."""
    _, inherited = seen.overlaps(data)
    sentences = []
    if inherited:
        sentences.append(
            f"{inherited:,} of the {len(data.held_out):,} held-out examples of {data.name} were training examples of what it "
            f"builds on ({', '.join(seen.names)}), so its scores are better than they would be on unseen data."
        )
    if seen.unknown:
        sentences.append(
            f"it builds on {', '.join(seen.unknown)}, which does not say on which examples it was trained, nor how long: whether "
            f"the held-out examples of {data.name} are among them is unknown, and that time is not counted."
        )
    return tuple(sentences)
