"""Checks and computations before the first step."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import spec
from pushforward.conditions.kind import described, met
from pushforward.data import Dataset, Sampler, Space
from pushforward.denoisers import Condition, Denoiser
from pushforward.denoisers.denoiser import check_network, network_precision
from pushforward.draws import ExampleDraws
from pushforward.errors import CheckpointError, UsageError
from pushforward.files import read_json, read_object
from pushforward.methods.method import LatentMethod, Method, PrecomputesInputs
from pushforward.methods.trajectories import Trajectories
from pushforward.recipes.recipe import Recipe
from pushforward.training.checkpoint.storage import (
    appearing,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
)
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.display import Watcher, clock_time


def check_fit(
    recipe: Recipe, data: Dataset, budget: Budget, checkpoint_every: int | None, processes: int = 1
) -> None:
    """Raise an error if a method does not fit the data, or settings are invalid."""
    _check_space(recipe.method, data)
    for part in recipe.method.modules():
        if isinstance(part, Denoiser):
            check_network(part.network)
    for name, player in recipe.method.players.items():
        if not any(parameter.requires_grad for parameter in player.parameters()):
            raise UsageError(
                f'Nothing in the network "{name}" can be trained: its weights are frozen, as in a '
                "loaded run. To continue from a run's weights, use them as a start: "
                '`pf.fit("flow", data, init=run)`.'
            )
    if checkpoint_every is not None and checkpoint_every < 1:
        raise UsageError(f"`checkpoint_every` must be at least 1 step, got {checkpoint_every}.")
    if processes > 1 and budget.seconds is not None and _trajectories_of(recipe.method):
        raise UsageError(
            "Several processes that compute teacher trajectories would stop at different ones with "
            "a budget in seconds. Use `steps` or `samples`."
        )


def _check_space(method: Method, data: Dataset) -> None:
    trained = method.space
    space = data.space
    differing = [] if met(trained.conditions, space.conditions) else ["conditions"]
    for name in ("shape", "columns", "low", "high"):
        if getattr(trained, name) != getattr(space, name):
            differing.append(name)
    if not isinstance(method, LatentMethod):  # whose units are those of its autoencoder
        differing += differing_units(trained, space)
    if differing:
        raise UsageError(
            f"The method was built for data of {examples_of(trained)}; {data.name} differs in "
            f"{', '.join(differing)}: {examples_of(space)}. Build the recipe from data.space."
        )


def _trajectories_of(method: Method) -> Trajectories | None:
    for part in method.modules():
        if isinstance(part, Trajectories):
            return part
    return None


def examples_of(space: Space) -> str:
    """Describe the examples of a space in a few words."""
    return f"shape {space.shape} with {described(space.conditions)}"


def differing_units(trained: Space, space: Space) -> list[str]:
    """Return the names of units that differ by more than rounding on another machine."""
    units = space.units
    if trained.shape != space.shape:
        return list(units)
    differing = []
    for name, values in units.items():
        pairs = zip(getattr(trained, name), values, units["std"], strict=True)
        if not all(abs(a - b) <= 1e-6 * (std + abs(b)) for a, b, std in pairs):
            differing.append(name)
    return differing


CHUNK = 500  # examples prepared at a time
CACHE = "cache"  # the folder, within a run's, of what is computed once
SHARE = 0.25  # fraction of a budget in seconds that trajectories may take

_last: tuple[tuple[Any, str], dict[str, Tensor]] | None = None
"""Inputs last prepared in this process: first for the latents' units, then for the trainer."""


def prepare_inputs(
    method: PrecomputesInputs,
    data: Dataset,
    device: torch.device | str = "cpu",
    key: str | None = None,
) -> dict[str, Tensor]:
    """Compute a method's prepared inputs of all training examples, on the CPU."""
    global _last
    known = getattr(method.prepared, "__func__", method.prepared), key or _key(method, data)
    if _last is not None and _last[0] == known:
        return _last[1]
    parts = []
    conditions = method.space.conditions
    for start in range(0, len(data.train), CHUNK):
        index = slice(start, start + CHUNK)
        x = method.space.to_model(data.train.data_units(index).to(device))
        condition = data.train.condition(conditions, index, device)
        fields = fields_of(method, x, condition, start)
        parts.append({name: value.cpu() for name, value in fields.items()})
    fields = {}
    for name in parts[0]:
        value = torch.cat([part[name] for part in parts])
        if value.is_floating_point():
            value = value.float()
        if not value.isfinite().all():
            raise CheckpointError(
                f'"{name}", which {type(method).__name__} prepares from the data, is not finite. '
                f"If a frozen part computes it ({', '.join(method.parts) or 'it has none'}), the "
                "weights of that part have diverged: train it again."
            )
        fields[name] = value
    _last = known, fields
    return fields


def fields_of(
    method: PrecomputesInputs, x: Tensor, condition: Condition, start: int = 0
) -> dict[str, Tensor]:
    """Compute a method's prepared inputs for training examples from index ``start`` on."""
    draws = ExampleDraws(start, len(x), "prepared", x.device)
    with torch.no_grad():
        returned = method.prepared(x, condition, draws)
    fields = dict(returned) if isinstance(returned, Mapping) else {"x": returned}
    fitting = "x" in fields
    shapes = {}
    for name, value in fields.items():
        if isinstance(value, Tensor):
            shapes[name] = tuple(value.shape)
            fitting = fitting and value.shape[:1] == x.shape[:1]
        else:
            shapes[name] = type(value)
            fitting = False
    if not fitting:
        raise UsageError(
            f"{type(method).__name__}.prepared returned {shapes}. Expected a tensor, or a dict of "
            f'tensors with the key "x", each with the same number of examples as the input '
            f"({len(x)})."
        )
    return fields


def _key(method: PrecomputesInputs, data: Dataset) -> str:
    learned = set()
    for player in getattr(method, "players", {}).values():
        learned |= {id(parameter) for parameter in player.parameters()}
    modules = {}
    plain = {}
    for name in inspect.signature(type(method)).parameters:
        value = getattr(method, name, None)
        if not isinstance(value, nn.Module):
            if hasattr(method, name):
                plain[name] = value
        elif not any(id(parameter) in learned for parameter in value.parameters()):
            modules[name] = value
    modules |= method.parts
    described = spec.describe({"parts": modules, "settings": plain})
    text = f"{method.prepared.__qualname__}{json.dumps(described, sort_keys=True)}"
    digest = hashlib.sha256(text.encode())
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            digest.update(f"{name}.{key}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"{digest.hexdigest()}-{data.fingerprint}"


def sampler_of(
    method: Method,
    data: Dataset,
    batch: int,
    *,
    settings: Settings,
    folder: Path,
    keep: bool = True,
) -> Sampler:
    """Build the sampler of training batches."""
    names = tuple(method.space.conditions)
    if not isinstance(method, PrecomputesInputs):
        return Sampler(data, batch, seed=settings.seed, augment=settings.augment, conditions=names)
    if settings.augment:
        raise UsageError(
            f"`augment={','.join(settings.augment)}` has no effect here: this method trains on "
            "inputs that are prepared from the data once. Leave out augment. You can augment when "
            "training the frozen part, or a model of the data itself."
        )
    path = folder / CACHE / "prepared.safetensors"
    key = _key(method, data)
    known = read_object(path.with_suffix(".json"))
    fields = None
    with contextlib.suppress(CheckpointError, OSError):  # a cache that is not whole is made again
        if known.get("key") == key and sha256(path) == known.get("sha256"):
            fields = read_tensors(path)
    if fields is None:
        started = time.perf_counter()
        fields = prepare_inputs(method, data, settings.device, key)
        if keep:
            with appearing(path) as temporary:
                write_tensors(temporary, fields)
            facts = {
                "key": key,
                "sha256": sha256(path),
                "rows": len(fields["x"]),
                "seconds": time.perf_counter() - started,
            }
            write_json(path.with_suffix(".json"), facts)
    return Sampler(data, batch, seed=settings.seed, conditions=names, prepared=fields)


class TrajectoryStore:
    """Teacher trajectories of a method, kept in the run folder and computed part by part.

    Attributes:
        seconds: Total computing time.
    """

    def __init__(
        self,
        method: Method,
        folder: Path,
        writes: bool = True,
        precision: str = "float32",
        processes: Processes | None = None,
    ) -> None:
        self.folder = folder / CACHE / "trajectories"
        self.writes = writes
        self.precision = precision
        self.seconds = 0.0
        self.trajectories = _trajectories_of(method)
        self._hashes: list[str] = []
        self._ends = [0]  # trajectories that are there after each part that was read
        self._finished = False
        self._count: int | None = None
        if self.trajectories is not None and not self.trajectories.ready:
            self._read(self.trajectories)
            parts = min((processes or Processes()).gather(len(self._hashes)))
            if parts < len(self._hashes):
                del self._hashes[parts:]
                self.trajectories.ready = self._ends[parts]
                self._finished = False

    def _read(self, trajectories: Trajectories) -> None:
        try:
            content = read_json(self.folder / "index.json")
            hashes = content["parts"]
            seconds = float(content["seconds"])
            finished = bool(content["finished"])
            self.seconds = seconds  # they were spent, even where a part is damaged
            for index, written in zip(trajectories.missing(), hashes, strict=False):
                path = self._path(len(self._hashes))
                if sha256(path) != written:
                    return
                trajectories.put(index, read_tensors(path, trajectories.teacher.device))
                self._hashes.append(written)
                self._ends.append(index.stop)
            self._finished = finished
        except (OSError, TypeError, KeyError, ValueError, RuntimeError):
            pass  # missing or damaged parts are computed again

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"

    def state(self) -> dict[str, Any]:
        ready = None
        if self.trajectories is not None and self.whole:
            ready = self.trajectories.ready
        return {"store_seconds": self.seconds, "trajectories": ready}

    def restore(self, state: Mapping[str, Any], budget: Budget) -> Budget:
        self._count = state.get("trajectories")
        if self._count is not None:
            self.seconds = state.get("store_seconds", 0.0)
        return budget.after(self.seconds)

    @property
    def whole(self) -> bool:
        if self.trajectories is None:
            return True
        if self._count is not None:
            return self.trajectories.ready >= self._count
        return self._finished or self.trajectories.ready == self.trajectories.count

    def complete(
        self, name: str, budget: Budget, watcher: Watcher, stopped: Callable[[], bool]
    ) -> Budget:
        """Compute missing parts within a quarter of the budget, and return the rest of it."""
        trajectories = self.trajectories
        if trajectories is None:
            return budget.after(self.seconds)
        for index in trajectories.missing():
            if self.whole or stopped():
                break
            started = time.perf_counter()
            with network_precision(self.precision):
                part = trajectories.part(index)
            trajectories.put(index, part)
            if self.writes:
                path = self._path(len(self._hashes))
                with appearing(path) as temporary:
                    write_tensors(temporary, part)
                self._hashes.append(sha256(path))
            if self._count is None:
                self.seconds += time.perf_counter() - started
                if budget.seconds is not None:
                    self._finished = self.seconds >= SHARE * budget.seconds
            if self.writes:
                self._write_index()
            done = f"{index.stop:,}/{trajectories.count:,}"
            words = f"{done} teacher trajectories  {clock_time(self.seconds)}"
            watcher.preparing(name, index.stop / trajectories.count, words)
        return budget.after(self.seconds)

    def _write_index(self) -> None:
        content = {
            "format_version": 1,
            "parts": self._hashes,
            "seconds": self.seconds,
            "finished": self._finished,
        }
        write_json(self.folder / "index.json", content)


_TRAINED_IN = "_trained_in"
"""Attribute of modules that were trained, and of their copies: the run folder."""


def mark(folder: Path, *methods: Method) -> None:
    """Remember in the modules of methods that they are trained in a run's folder."""
    for method in methods:
        for module in method.modules():
            setattr(module, _TRAINED_IN, str(folder.absolute()))


def trainings(method: Method) -> tuple[str, ...]:
    """Return the folders of runs that have trained modules of a method."""
    folders: dict[str, None] = {}
    for part in method.modules():
        if hasattr(part, _TRAINED_IN) and any(p.requires_grad for p in part.parameters()):
            folders[str(getattr(part, _TRAINED_IN))] = None
    return tuple(folders)
