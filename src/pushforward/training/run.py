"""A run folder: what was trained, on what, how far, and the weights."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Unpack

import torch

from pushforward import recipes, spec, waiting
from pushforward.data import Dataset, Space
from pushforward.data.seen import Seen
from pushforward.devices import device_named
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods import Method
from pushforward.notebooks import facts
from pushforward.recipes import Recipe, Training
from pushforward.samples import Samples
from pushforward.sampling import Sampling, configure, given_options
from pushforward.solvers import Solver
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.budget import Budget
from pushforward.training.generators import seeded
from pushforward.training.lineage import read_seen, seen_by
from pushforward.training.parts import read_parts
from pushforward.training.tensors import load as place
from pushforward.transports import BATCH, Asked, Transport, inner_of

__all__ = ["Run", "checkpoint_in", "load", "machine", "transport_of"]

FORMAT = 3


class Run:
    """A finished or interrupted training, read from its folder.

    Args:
        folder: The run's folder.
        content: What ``spec.json`` holds.
        method: The method with the weights that were asked for (the average by default).
        state: The checkpoint's counters: step, samples, seconds, total.
        warnings: Sentences that a report must say of it.
    """

    def __init__(
        self, folder: Path, content: dict[str, Any], method: Method, state: dict[str, Any], warnings: Sequence[str] = ()
    ) -> None:
        self.folder, self.spec, self.method, self.state, self.warnings = folder, content, method, state, tuple(warnings)
        self._guides: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def space(self) -> Space:
        """The data's shape and units."""
        return self.method.space

    @cached_property
    def transport(self) -> Transport:
        """The method's sampler with its default solver and steps."""
        return self.method.transport()

    @property
    def denoiser(self) -> Any:
        """The denoiser of an iterative model.

        Raises:
            UsageError: For a model that moves noise in one call.
        """
        found = getattr(inner_of(self.transport), "denoiser", None)
        if found is None:
            raise UsageError(f"{self.folder} holds a one-call model; it has no denoiser.")
        return found

    @cached_property
    def seen(self) -> Seen:
        """The examples that it has learned from, and those that the models it builds on have.

        Raises:
            CheckpointError: If the folder's record of them is damaged.
        """
        seen = read_seen(self.folder, self.spec)
        for folder in self._guides:
            seen = seen.joined_by(str(folder), seen_by(folder))
        return seen

    def sample(
        self, n: int = 64, condition: Asked = None, *, seed: int = 0, batch: int = BATCH, **options: Unpack[Sampling]
    ) -> Samples:
        """New samples in data units, on the CPU; sample i comes from ``seed + i`` alone.

        Args:
            n: How many.
            condition: For example ``{"label": 3}``, ``{"label": "cat"}`` or ``{"age": 40}``, or n values in a list or tensor.
                What is not asked for is drawn as it occurs in the training data.
            seed: The seed of the first sample, any whole number.
            batch: Rows computed at a time.
            options: The options of `configured`: ``steps=8``, ``solver="heun"``, ``scale=2.0``, ...

        Returns:
            float32, (n, *shape): images in [0, 1], vectors in the data's own units; ``show()`` and ``to_pil()`` draw them.

        Raises:
            UsageError: For numbers, conditions or options that the model cannot take.
            Diverged: If a sample is not finite.
        """
        transport = self.configured(**options).transport
        return Samples.of(transport.sample(n, condition, seed=seed, batch=batch), self.space)

    def configured(self, **options: Unpack[Sampling]) -> Run:
        """The same run with other sampling options, to sample from, evaluate or compare; its weights are shared.

        Args:
            options: See `pushforward.sampling.Sampling`; ``weaker`` may also be a run, its folder, or FOLDER@CHECKPOINT.

        Raises:
            UsageError: For an option that this kind of model does not have, or a value out of range.
            CheckpointError: If ``weaker`` is no run.
        """
        given = given_options(options)
        if not given:
            return self
        run = copy.copy(self)
        for name in ("transport", "seen"):
            run.__dict__.pop(name, None)
        weaker = given.get("weaker")
        if isinstance(weaker, (str, Path)):
            folder, checkpoint = checkpoint_in(weaker)
            weaker = load(folder, checkpoint=checkpoint, device=self.transport.device)
        if isinstance(weaker, Run):
            run._guides = (*self._guides, weaker.folder)
            given["weaker"] = weaker.denoiser
        run.transport = configure(self.transport, grids=self.learned_grid, name=str(self.folder), **given)
        return run

    def losses(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``: step, samples, seconds and the loss of each player.

        Raises:
            CheckpointError: If the disk does not give the file.
        """
        return log.read(self.folder / "metrics.jsonl")

    def learned_grids(self) -> list[dict[str, Any]]:
        """What `pushforward tune` has stored: steps, solver, times and how well they did, one row for each.

        Raises:
            CheckpointError: If ``grids.json`` is damaged.
        """
        path = self.folder / "grids.json"
        if not path.is_file():
            return []
        content = checkpoints.read_json(path)
        rows = content.get("grids") if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and {"steps", "solver", "times"} <= row.keys() for row in rows
        ):
            raise CheckpointError(
                f"{path} is damaged: it holds no learned grids. Delete it and run: pushforward tune {self.folder}"
            )
        return rows

    def learned_grid(self, steps: int, solver: Solver) -> list[float] | None:
        """The times that were learned for so many steps of this solver; None where there are none."""
        wanted = spec.describe(solver)
        return next((row["times"] for row in self.learned_grids() if (row["steps"], row["solver"]) == (steps, wanted)), None)

    def store_grid(self, solver: Solver, times: Sequence[float], **about: Any) -> None:
        """Keep learned times with the run, in place of earlier ones for as many steps of the same solver.

        Args:
            solver: The solver that they are for.
            times: N + 1 falling times, the last 0.
            about: What else is known of them, plain values.

        Raises:
            CheckpointError: If the disk refuses.
        """
        row = {"steps": len(times) - 1, "solver": spec.describe(solver), "times": [float(t) for t in times], **about}
        key = row["steps"], row["solver"]
        others = [one for one in self.learned_grids() if (one["steps"], one["solver"]) != key]
        content = {"format_version": FORMAT, "grids": sorted([*others, row], key=lambda one: one["steps"])}
        checkpoints.write_json(self.folder / "grids.json", content)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.spec['recipe']}, step {self.state['step']})"

    def _repr_html_(self) -> str:
        """What a notebook shows below a cell."""
        data = (self.spec.get("data") or {}).get("name_or_path", "given in Python")
        trained = {"step": f"{self.state['step']:,}", "samples": f"{self.state['samples']:,}"}
        seconds = {"seconds": f"{self.state['seconds']:.1f}"}
        about = {"recipe": f"{self.spec['recipe']} ({self.spec['family']})", "data": data, **trained, **seconds}
        return facts(f"Run {self.folder}", about | {"sampler": repr(self.transport)})


def checkpoint_in(text: str | Path) -> tuple[str, str | None]:
    """The folder and the checkpoint of FOLDER or FOLDER@CHECKPOINT."""
    text = str(text)
    folder, _, checkpoint = (text, "", "") if Path(text).is_dir() else text.partition("@")
    return folder, checkpoint or None


def machine() -> dict[str, Any]:
    """What the numbers of a run were measured on."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "threads wait": waiting.report(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def described(
    recipe: Recipe, data: Dataset, budget: Budget, settings: Mapping[str, Any], plugins: Sequence[Path]
) -> dict[str, Any]:
    """What a new run's ``spec.json`` holds."""
    return {
        "format_version": FORMAT,
        "recipe": recipe.name,
        "family": recipe.family,
        "training": spec.describe(asdict(recipe.training)),
        "data": getattr(data, "origin", None),
        "fingerprint": data.fingerprint,
        "rows_fingerprint": data.rows_fingerprint,
        "budget": asdict(budget),
        "plugins": [{"file": str(path), "sha256": recipes.file_hash(path)} for path in plugins],
        **settings,
    }


def write_new(folder: Path, content: Mapping[str, Any], data: Dataset) -> None:
    """Create a run folder with its spec and manifest.

    Raises:
        CheckpointError: If the disk refuses.
    """
    packages = ("pushforward", "torch", "numpy", "safetensors")
    manifest = {
        "format_version": FORMAT,
        "machine": machine(),
        "packages": {name: _version(name) for name in packages},
        "commit": _commit(),
        "seed": content["seed"],
        "data": data.describe(),
        "command": " ".join(Path(part).name if i == 0 else part for i, part in enumerate(sys.argv)),
    }
    checkpoints.write_json(folder / "spec.json", content)
    checkpoints.write_json(folder / "manifest.json", manifest)


def digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a spec without its budget, which extending a run changes."""
    fixed = {name: value for name, value in content.items() if name not in ("budget", "extended")}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def check_spec(folder: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Compare a spec with the one that a checkpoint was written under.

    Raises:
        CheckpointError: If they differ.
    """
    if state.get("spec_sha256", digest(content)) != digest(content):
        raise CheckpointError(
            f"{folder}/spec.json has changed since the checkpoint was written (its sha256 differs). Restore the file; to train "
            "with other settings start a new run, from these weights if you like: `init={folder}`."
        )


def extend(folder: Path, content: dict[str, Any], budget: Budget, step: int) -> None:
    """Store a new budget in the spec, and which one it replaces at which step, so that a later resume keeps it.

    Raises:
        CheckpointError: If the disk refuses; the old spec stays.
    """
    if asdict(budget) != content["budget"]:
        earlier = [*content.get("extended", []), {"step": step, "budget": content["budget"]}]
        changed = {"extended": earlier, "budget": asdict(budget)}
        checkpoints.write_json(folder / "spec.json", {**content, **changed})
        content |= changed


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def read_spec(folder: str | Path, plugins: Iterable[str | Path] = ()) -> dict[str, Any]:
    """The spec of a run, after the plugins that it needs have been named and checked.

    Raises:
        CheckpointError: If the folder is no run, or a plugin is missing or has changed.
    """
    folder = Path(folder)
    if not (folder / "spec.json").is_file():
        raise CheckpointError(f"{folder} is no run: it has no spec.json. Runs are made by `pushforward train`.")
    content = checkpoints.read_json(folder / "spec.json")
    if not isinstance(content, dict) or content.get("format_version") != FORMAT:
        raise CheckpointError(f"{folder}/spec.json is of a format that this version cannot read (it reads {FORMAT}).")
    _check_kinds(folder, content)
    given = {recipes.file_hash(path): path for path in plugins if Path(path).is_file()}
    for needed in content["plugins"]:
        if needed["sha256"] not in given:
            changed = " The file given has changed since." if given else ""
            raise CheckpointError(
                f"This run was trained with {needed['file']} (sha256 {needed['sha256'][:12]}...), which is run only "
                f"when you name it: `plugins=[{needed['file']}]`.{changed}"
            )
    for path in plugins:
        recipes.load_file(path)
    return content


_KINDS: dict[str, Any] = {
    "recipe": str,
    "family": str,
    "method": dict,
    "training": dict,
    "fingerprint": str,
    "budget": dict,
    "plugins": list,
    "seed": int,
    "augment": list,
    "checkpoint_every": (int, type(None)),
}


def _check_kinds(folder: Path, content: dict[str, Any]) -> None:
    wrong = [name for name, kind in _KINDS.items() if not isinstance(content.get(name, ...), kind)]
    plugins = content.get("plugins")
    if isinstance(plugins, list) and not all(isinstance(one, dict) and {"file", "sha256"} <= one.keys() for one in plugins):
        wrong.append("plugins")
    if wrong:
        raise CheckpointError(f"{folder}/spec.json is damaged: it does not say {wrong[0]} as it should. Restore the file.")


def recipe_of(content: dict[str, Any], method: Method | None = None, seed: int = 0) -> Recipe:
    """The recipe that a spec describes, with weights drawn from the seed.

    Raises:
        CheckpointError: If the spec describes none that this version can build.
    """
    try:
        made = method if method is not None else seeded(lambda: spec.build(content["method"]), seed)
        if not isinstance(made, Method):
            raise TypeError(f"{type(made).__name__} is no method")
        return Recipe(made, Training(**content["training"]), content["recipe"], content["family"])
    except CheckpointError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"The run's spec.json describes no recipe of this version: {error}. Restore the file.") from error


def budget_of(content: dict[str, Any]) -> Budget:
    """The budget that a spec holds.

    Raises:
        CheckpointError: If it holds none.
    """
    try:
        return Budget(**content["budget"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"The run's spec.json holds no budget: {error}. Restore the file.") from error


def pick(folder: Path, name: str | None) -> Path:
    """A run's checkpoint by name, or the newest.

    Raises:
        CheckpointError: If there is none of that name, or none at all.
    """
    inside = folder / "checkpoints"
    found = inside / name if name else checkpoints.latest(inside)
    if found is None or not found.is_dir():
        if name:
            raise CheckpointError(f"{folder} has no checkpoint {name}; nothing to load.")
        raise CheckpointError(f"{folder} has no checkpoint yet; nothing to load. Start its training: pushforward resume {folder}")
    return found


def load(
    folder: str | Path,
    *,
    raw: bool = False,
    checkpoint: str | None = None,
    plugins: Iterable[str | Path] = (),
    method: Method | None = None,
    device: torch.device | str = "cpu",
) -> Run:
    """Read a run: its spec and the weights of its newest checkpoint, verified by hash.

    Args:
        folder: The run's folder.
        raw: Take the last weights in place of their average.
        checkpoint: A checkpoint's name, such as "step_000500"; None takes the newest.
        plugins: Python files whose classes the run needs; a run trained with a file is read only with that same file.
        method: A method of the run's structure, for runs whose networks cannot be rebuilt from the spec.
        device: Where the weights go.

    Raises:
        CheckpointError: If the folder is no run, a file is missing or damaged, or a plugin is not named.
    """
    if not isinstance(folder, (str, Path)):
        raise UsageError(f'Expected a run\'s folder, such as "runs/digits-flow"; got a {type(folder).__name__}.')
    folder, device = Path(folder), device_named(device)
    content = read_spec(folder, plugins)
    found = checkpoints.load(pick(folder, checkpoint), device)
    check_spec(folder, content, found.state)
    made = recipe_of(content, method).method.to(device)
    read_parts(folder, content, made, device)
    restore(made, found.weights(raw), found.folder)
    return Run(folder, content, made.eval().requires_grad_(False), found.state)


def restore(method: Method, tensors: dict[str, torch.Tensor], where: Path) -> None:
    """Load weights into a method, or say what does not fit."""
    try:
        place(method, tensors)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"The weights of {where} do not fit the method: {first}") from error


def transport_of(model: Run | Transport) -> Transport:
    """The transport of a run, or the transport itself."""
    return model.transport if isinstance(model, Run) else model
