"""The inputs of training batches: the data, or inputs that a method computes from it once."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import spec
from pushforward.data import Dataset, PreparedSampler, Sampler
from pushforward.denoisers import Condition
from pushforward.draws import ExampleDraws
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Method, PrecomputesInputs
from pushforward.safe_files import check_tensors
from pushforward.training import checkpoint as checkpoints
from pushforward.training import tensors
from pushforward.training.claiming import note
from pushforward.training.disk import appearing
from pushforward.training.settings import Settings

__all__ = ["fields_of", "prepared", "sampler_of"]

CHUNK = 500
"""Examples prepared at a time."""
CACHE = "cache"
"""The folder, within a run's, of prepared inputs."""

_last: tuple[tuple[Any, str], dict[str, Tensor]] | None = None
"""The inputs prepared last in this process: making a recipe needs the codes' units before its trainer needs the codes."""


def prepared(
    method: PrecomputesInputs, data: Dataset, device: torch.device | str = "cpu", key: str | None = None
) -> dict[str, Tensor]:
    """A method's prepared inputs of all training examples, by name: "x" and further fields, (n, ...) each, on the CPU.

    ``key`` is theirs, for which all frozen weights are hashed, where it is known already.

    Raises:
        UsageError: If the method's result does not follow `PrecomputesInputs`.
        CheckpointError: If something is not finite.
    """
    global _last
    known = getattr(method.prepared, "__func__", method.prepared), key or _key(method, data)
    if _last is not None and _last[0] == known:
        return _last[1]
    parts = [_part(method, data, start, device) for start in range(0, len(data.train), CHUNK)]
    for part in parts:
        if part.keys() != parts[0].keys():
            raise UsageError(
                f"{type(method).__name__}.prepared returned {', '.join(parts[0])} for some examples and {', '.join(part)} for "
                "others. Expected the same names for all."
            )
    fields = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for name, value in fields.items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(
                f'"{name}", which {type(method).__name__} prepares of the data, is not finite. Where a frozen part makes it '
                f"({', '.join(method.parts) or 'it has none'}), its weights have diverged: train that again."
            )
    _last = known, fields
    return fields


def _part(method: PrecomputesInputs, data: Dataset, start: int, device: torch.device | str) -> dict[str, Tensor]:
    index = slice(start, start + CHUNK)
    space = method.space
    x = space.to_model(data.train.data_units(index).to(device))
    fields = fields_of(method, x, data.train.condition(space.conditions, index, device), start)
    return {name: (value.float() if value.is_floating_point() else value).cpu() for name, value in fields.items()}


def fields_of(method: PrecomputesInputs, x: Tensor, condition: Condition, start: int = 0) -> dict[str, Tensor]:
    """A method's prepared inputs of training examples x (n, *shape), model units; ``start`` is the place of the first one.

    Raises:
        UsageError: If it is neither a tensor nor tensors by name with an "x", or has another number of examples.
    """
    draws = ExampleDraws(start, len(x), "prepared", x.device)
    with torch.no_grad():
        returned = method.prepared(x, condition, draws)
    fields = dict(returned) if isinstance(returned, Mapping) else {"x": returned}
    wrong = [
        f'"{name}": {tuple(value.shape)}' if isinstance(value, Tensor) else f'"{name}": {type(value).__name__}'
        for name, value in fields.items()
        if not isinstance(value, Tensor) or value.shape[:1] != x.shape[:1]
    ]
    if wrong or "x" not in fields:
        raise UsageError(
            f"{type(method).__name__}.prepared returned {'; '.join(wrong) or ', '.join(fields) or 'nothing'}. Expected a tensor, "
            f'or tensors by name with "x" among them, each with as many examples as it was given ({len(x)}).'
        )
    return fields


def _key(method: PrecomputesInputs, data: Dataset) -> str:
    """The key of a method's prepared inputs: the data, the frozen parts, and the settings that are not networks."""
    names = [name for name in inspect.signature(type(method)).parameters if hasattr(method, name)]
    learned = {id(p) for player in getattr(method, "players", {}).values() for p in player.parameters()}
    settings = {name: getattr(method, name) for name in names}
    fixed = {
        name: value
        for name, value in settings.items()
        if isinstance(value, nn.Module) and not any(id(p) in learned for p in value.parameters())
    }
    plain = {name: value for name, value in settings.items() if not isinstance(value, nn.Module)}
    modules = {**fixed, **method.parts}
    described = spec.describe({"parts": modules, "settings": plain})
    digest = hashlib.sha256(f"{method.prepared.__qualname__}{json.dumps(described, sort_keys=True)}".encode())
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            digest.update(f"{name}.{key}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"{digest.hexdigest()}-{data.stored_fingerprints[0]}"


def sampler_of(
    method: Method, data: Dataset, batch: int, *, settings: Settings, folder: Path, keep: bool = True
) -> Sampler | PreparedSampler:
    """The sampler of training batches: of the data, or of the method's prepared inputs.

    ``keep`` writes prepared inputs to the run's folder.

    Raises:
        UsageError: For augmentations of data that is prepared once.
        CheckpointError: If the disk refuses, or something prepared is not finite.
    """
    names = tuple(method.space.conditions)
    if not isinstance(method, PrecomputesInputs):
        return Sampler(data, batch, seed=settings.seed, augment=settings.augment, conditions=names)
    if settings.augment:
        raise UsageError(
            f"`augment={','.join(settings.augment)}`: what this method is trained on is prepared from the data once, so it is "
            "not changed again in every epoch. Leave it out; the frozen part, or a model of the data, can be trained with it."
        )
    once = _stored(method, data, folder, torch.device(settings.device), keep)
    return PreparedSampler(data, once, batch, seed=settings.seed, conditions=names)


def _stored(method: PrecomputesInputs, data: Dataset, folder: Path, device: torch.device, keep: bool) -> dict[str, Tensor]:
    """Prepared inputs, from the run's folder where they are complete; else computed, and written where ``keep`` is set."""
    path, key = folder / CACHE / "prepared.safetensors", _key(method, data)
    description = path.with_suffix(".json")
    try:
        known = checkpoints.read_json(description)
        check_tensors(path)
        if known.get("key") == key and checkpoints.sha256(path) == known.get("sha256"):
            return tensors.read(path)
    except (CheckpointError, OSError, AttributeError, KeyError):
        pass  # a cache that is not there or not whole is made again
    started = time.perf_counter()
    fields = prepared(method, data, device, key)
    if not keep:
        return fields
    note(folder, f"{CACHE}/{path.name}", f"{CACHE}/{description.name}")
    with appearing(path) as temporary:
        tensors.write(temporary, fields)
    seconds = time.perf_counter() - started
    written = {"key": key, "sha256": checkpoints.sha256(path), "rows": len(fields["x"]), "seconds": seconds}
    checkpoints.write_json(description, written)
    return fields
