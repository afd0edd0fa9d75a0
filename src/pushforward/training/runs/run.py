"""Runs, as they are written and read."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack
from warnings import warn

import torch
from torch import nn

from pushforward import spec
from pushforward.data import Dataset, Space
from pushforward.data.core.dataset import Seen, seen_in_training
from pushforward.denoisers import Denoiser
from pushforward.errors import (
    CheckpointError,
    MissingExtra,
    RunUsageError,
    UsageError,
    did_you_mean,
)
from pushforward.files import disk, read_json
from pushforward.methods.method import Method
from pushforward.plugins import load_needed, recorded, resume_command
from pushforward.recipes.recipe import Recipe, Training
from pushforward.runtime import device_named, facts
from pushforward.samples import drawn_from
from pushforward.sampling_options import (
    Sampling,
    configure,
    given_options,
    guidance_notes,
    seed_of,
    with_conditions,
)
from pushforward.solvers.solver import Solver
from pushforward.training.checkpoint.storage import (
    all_in,
    fill,
    latest,
    read_tensors,
    seal,
    sha256,
    step_name,
    unfinished,
    weights_of,
    write_json,
)
from pushforward.training.checkpoint.tensors import load as load_checkpoint
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.machine import machine, seeded, version
from pushforward.training.monitor.alarms import lost
from pushforward.training.runs import log
from pushforward.training.runs.folder import Holding, check_run, checkpoint_in
from pushforward.training.runs.learned_solvers import Learned
from pushforward.training.runs.log import best_of
from pushforward.training.runs.provenance import read_seen, seen_by, write_seen
from pushforward.training.runs.views import Viewed
from pushforward.transports import BATCH, ConditionLike, Flow, Transport, inner_of

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
        except (CheckpointError, OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The part {name} of {folder} is damaged: {path}: {str(error).splitlines()[0]}. "
                "Copy the part again from "
                "the original run; models trained on top of it cannot be used without it."
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


LARGEST = 10_000
"""Largest number allowed in a spec of a network, solver or transport, or the number of stored
weights if larger."""
MOST = (
    1_000_000  # the largest such number of a run that has saved no weights, and the largest batch
)
_COUNTED = tuple(
    f"pushforward.{home}." for home in ("interop", "networks", "solvers", "transports")
)


def begin(
    holding: Holding,
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
        **({"samplers": dict(recipe.samplers)} if recipe.samplers else {}),
        "method": method,
    }
    content["plugins"] = recorded(settings.plugins, content)
    if holding.writes:
        content["parts"] = write_parts(holding.folder, recipe.method)
        content["rows"] = write_seen(holding.folder, seen_in_training(data, recipe.builds_on))
        commit = None
        program = Path(sys.argv[0])
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            words = ["git", "rev-parse", "HEAD"]
            here = Path(__file__).parent
            commit = (
                subprocess.run(
                    words, cwd=here, capture_output=True, encoding="utf-8", timeout=5
                ).stdout.strip()
                or None
            )
        manifest = {
            "format_version": FORMAT,
            "machine": machine(),
            "packages": {
                name: version(name) for name in ("pushforward", "torch", "numpy", "safetensors")
            },
            "commit": commit,
            "seed": settings.seed,
            "data": data.describe(),
            "command": shlex.join(
                [
                    program.parent.name if program.name == "__main__.py" else program.name,
                    *sys.argv[1:],
                ]
            ),
        }
        write_json(holding.folder / "spec.json", content)
        write_json(holding.folder / "manifest.json", manifest)
    return content


def digest(content: Mapping[str, Any]) -> str:
    """Compute the sha256 of a spec without its budget."""
    fixed = {name: value for name, value in content.items() if name not in ("budget", "extended")}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def check_spec(folder: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Compare a spec with the one that a checkpoint was written under."""
    if state.get("spec_sha256") not in (None, digest(content)):
        raise CheckpointError(
            f"{folder}/spec.json has changed since the checkpoint was written (its sha256 "
            "differs). Restore the file. "
            "To train with other settings, start a new run, if you like from these weights: "
            f"`init={folder}`."
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
            "Use the version that "
            "trained the run, or restore the file."
        )
    wrong = [name for name, kind in _KINDS.items() if not isinstance(content.get(name), kind)]
    named = (
        plugin.get(key) if isinstance(plugin, dict) else None
        for plugin in content["plugins"]
        for key in ("file", "sha256")
    )
    if wrong or not all(isinstance(text, str) for text in named):
        name = (*wrong, "plugins")[0]
        raise CheckpointError(
            f"{folder}/spec.json is damaged: its entry {name} is missing or invalid. Restore the "
            "file."
        )
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
"""The required entries of a spec, by name."""


def check_counts(content: Any, most: float = LARGEST, counted: bool = False) -> None:
    """Raise an error if a part in a spec has a number above ``most``, such as layers."""
    if isinstance(content, dict):
        part = spec.registered().get(str(content.get("part")))
        if part is not None:
            counted = f"{part.__module__}.".startswith(_COUNTED)
        content = list(content.values())
    for inner in content if isinstance(content, list) else ():
        check_counts(inner, most, counted)
    if counted and isinstance(content, (int, float)) and not abs(content) <= most:
        raise CheckpointError(
            f"The run's spec.json contains the number {content:.4g}, which its weights do not "
            "account for. Restore "
            "the file. If the run is your own, pass the method: pf.load(run, method=...)."
        )


def recipe_of(
    content: dict[str, Any],
    method: Method | None = None,
    seed: int = 0,
    weights: Sequence[Path] = (),
) -> Recipe:
    """Build the recipe of a spec, with weights drawn from the seed or a given method."""
    try:
        if not 0 < content["training"].get("batch", 1) <= MOST:
            raise ValueError(f"a batch of {content['training']['batch']:.4g} examples")
        if method is None:
            stored = sum(os.lstat(path).st_size for folder in weights for path in folder.rglob("*"))
            check_counts(content["method"], max(LARGEST, stored // 4) if weights else MOST)
        if method is not None:
            built = method
        else:
            built = seeded(lambda: spec.build(content["method"]), seed)
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


class Run(Viewed):
    """Finished or interrupted training run, read from its folder.

    Args:
        folder: Run folder.
        content: Content of ``spec.json``.
        method: Method with the chosen weights (the average by default).
        state: Counters of the checkpoint: step, samples, seconds, total; and weights_step if
            training ended with the weights of an earlier step.
        weights: Hash of the weights file, by which learned grids and tables are matched.
        warnings: Sentences that a report must print.

    Attributes:
        options: Sampling options of `configured`.
    """

    def __init__(
        self,
        folder: Path,
        content: dict[str, Any],
        method: Method,
        state: dict[str, Any],
        weights: str,
        warnings: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.spec = content
        self.method = method
        self.state = state
        self.weights = weights
        self.warnings = tuple(warnings)
        self._guides: tuple[Path, ...] = ()
        self.options: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self.folder.absolute().name  # of "." as well

    @property
    def space(self) -> Space:
        return self.method.space

    @cached_property
    def transport(self) -> Transport:
        return self.method.transport()

    @property
    def denoiser(self) -> Any:
        """Return the denoiser of an iterative model.

        Raises:
            UsageError: If the model samples in one call.
        """
        denoiser = getattr(inner_of(self.transport), "denoiser", None)
        if denoiser is None:
            raise UsageError(f"{self.folder} is a one-call model, which has no denoiser.")
        return denoiser

    @property
    def learned(self) -> Learned:
        return Learned(self.folder, self.weights, self.state["step"])

    @cached_property
    def seen(self) -> Seen:
        """Return the training examples and seconds of the run and of the models that it builds on."""
        seen = read_seen(self.folder, self.spec, self.state)
        for folder in self._guides:
            seen = seen.joined_by(str(folder), seen_by(folder))
        return seen

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Return a sentence if the budget is not used up; empty otherwise."""
        newest = latest(self.folder / "checkpoints")
        words = None if newest is None else unfinished(newest, self.spec.get("budget") or {})
        if not words or any("broke off" in text for text in self.warnings) or lost(self.losses()):
            return ()
        return (
            f"training is unfinished: {words}. Resume it first: "
            f"{resume_command(self.folder, self.spec)}",
        )

    def sample(
        self,
        n: int = 64,
        condition: ConditionLike = None,
        *,
        seed: int = 0,
        batch: int = BATCH,
        **options: Any,
    ) -> Any:
        """Draw new samples in data units, on the CPU; sample i depends only on ``seed + i``.

        Args:
            n: Number of samples.
            condition: Such as ``{"label": "cat"}``, or n values in a list or tensor; None draws them as in the training data.
            seed: Seed of the first sample, any integer.
            batch: Batch size.
            options: Conditions by name: ``label=3``, ``age=40``; options of `configured`: ``steps=8``, ...; a torch ``generator``
                for its initial seed; ``fill={"id": "sequence"}`` to number the rows in a column that a table's model leaves out.

        Returns:
            `Samples` in data units; for a table, a pandas data frame if pandas is installed.

        Raises:
            UsageError: If the model does not support numbers, conditions or options.
            Diverged: If a sample is not finite, or violates a constraint of the data.
        """
        if (generator := options.pop("generator", None)) is not None:
            seed = seed_of(generator, seed)
        fill = options.pop("fill", None)
        condition, sampling = with_conditions(condition, options, self.space)
        run = self.configured(**sampling)
        for sentence in run.warnings[len(self.warnings) :]:
            warn(sentence, stacklevel=2)
        return drawn_from(run.transport, n, condition, seed=seed, batch=batch, fill=fill)

    def configured(self, **options: Unpack[Sampling]) -> Run:
        """Return the run with other sampling options; weights are shared.

        Args:
            options: See `pushforward.sampling_options.Sampling`; ``weaker`` may also be a run, its folder, or FOLDER@CHECKPOINT.

        Raises:
            UsageError: If an option is not supported or out of range, or a learned grid is for other weights.
            CheckpointError: If ``weaker`` is not a run.
        """
        given = given_options(options)
        if not given:
            return self
        run = copy.copy(self)
        run.warnings = (*self.warnings, *self.learned.stale(self.transport, given))
        run.__dict__.pop("seen", None)
        run.options = {**self.options, **given}
        weaker = given.get("weaker")
        if isinstance(weaker, (str, Path)):
            folder, checkpoint = checkpoint_in(weaker)
            weaker = load(folder, checkpoint=checkpoint, device=self.transport.device)
        if isinstance(weaker, Run):
            run._guides = (*self._guides, weaker.folder)
            given["weaker"] = weaker.denoiser
        run.transport = configure(
            self.transport,
            grids=self.learned_grid,
            name=str(self.folder),
            **given,
        )
        run.warnings = tuple(dict.fromkeys((*run.warnings, *guidance_notes(run.transport))))
        return run

    def export(self, out: str | Path | None = None, **options: Any) -> Any:
        """Export the sampler for use without this library; see `pushforward.export.export`.

        Args:
            out: Output folder; ``export`` in the run folder by default.
            options: Options of `pushforward.export.export`, such as ``format="html"``.

        Returns:
            Written files, and the difference between graph and sampler
                (`pushforward.export.Exported`).
        """
        from pushforward.export.files import export

        return export(
            self.transport,
            out or self.folder / "export",
            learned=self.tuned(),
            name=self.name,
            **options,
        )

    def tuned(self) -> list[Flow]:
        """Return the flows that `pushforward tune` has learned for these weights."""
        flow = inner_of(self.transport)
        if not (isinstance(flow, Flow) and isinstance(flow.denoiser, Denoiser)):
            return []
        flows = []
        for entry in self.learned.read():
            solver = spec.build(entry["solver"])
            tuned = self.configured(steps=entry["steps"], solver=solver)
            flows.append(inner_of(tuned.transport))
        return [each for each in flows if isinstance(each, Flow) and isinstance(each.grid, list)]

    def losses(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``: step, samples, seconds and the loss of each network.

        Raises:
            CheckpointError: If the file cannot be read.
        """
        return log.read(self.folder / "metrics.jsonl")

    def learned_grid(self, steps: int, solver: Solver) -> list[float] | None:
        """Return the times learned for a number of steps of this solver and these weights."""
        entry = self.learned.entry(steps, solver)
        if entry is not None and self.learned.fits(entry):
            return list(entry["times"])
        return None

    def store_grid(self, solver: Solver, times: Sequence[float], **facts: Any) -> None:
        """Store falling times (N + 1) learned for a solver, replacing earlier ones."""
        entry = {
            "steps": len(times) - 1,
            "solver": spec.describe(solver),
            "times": [float(t) for t in times],
            **facts,
        }
        self.learned.store(entry)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.spec['recipe']}, step {self.state['step']})"

    def _repr_html_(self) -> str:
        data = (self.spec.get("data") or {}).get("name_or_path", "given in Python")
        summary = {"recipe": f"{self.spec['recipe']} ({self.spec['family']})", "data": data}
        now = self.state
        summary |= {
            "step": f"{now['step']:,}",
            "samples": f"{now['samples']:,}",
            "seconds": f"{now['seconds']:.1f}",
        }
        return facts(f"Run {self.folder}", summary | {"sampler": repr(self.transport)})


def pick(folder: Path, name: str | None) -> Path:
    """Return a run's checkpoint by name, "best", or the newest."""
    if name == "best":
        best = best_of(log.read(folder / "metrics.jsonl"))
        if best is None:
            raise RunUsageError(
                f"{folder} has no best checkpoint: its samples in 1, 2 and 4 calls were not "
                "measured, because it is not a "
                "map between two times or was trained too briefly. To use the newest checkpoint, "
                "leave out `checkpoint`."
            )
        name = step_name(best.step)
    inside = folder / "checkpoints"
    chosen = inside / name if name else latest(inside)
    if chosen is not None and chosen.is_dir():
        return chosen
    names = [path.name for path in all_in(inside)]
    if not names:
        raise CheckpointError(
            f"{folder} has no checkpoint yet. Start its training: pushforward resume {folder}"
        )
    hint = did_you_mean(name or "", [*names, "best"])
    raise RunUsageError(f"{folder} has no checkpoint {name}.{hint} Available: {', '.join(names)}.")


def load(
    folder: str | Path,
    *,
    raw: bool = False,
    checkpoint: str | None = None,
    plugins: str | Path | Iterable[str | Path] = (),
    method: Method | None = None,
    network: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Run:
    """Load a run: its spec and the weights of its newest checkpoint, verified by hash.

    Args:
        folder: Run folder.
        raw: Whether to load the last weights instead of their average.
        checkpoint: Name of a checkpoint, such as "step_000500"; None for the newest, "best" for a
            map's best step.
        plugins: Python files, or a single file, with the classes that the run needs; they must be
            the files that the run was trained with.
        method: Method with the run's structure, for runs that cannot be rebuilt from the spec.
        network: Network with the same class and arguments as the run's, if it cannot be rebuilt
            from the spec. A copy is used.
        device: Device of the weights.

    Raises:
        CheckpointError: If the folder is not a run folder, a file is missing or damaged, or a
            plugin is not named.
        UsageError: If the network differs from the run's.
    """
    if not isinstance(folder, (str, Path)):
        raise UsageError(
            f'Expected a run folder, such as "runs/digits-flow"; got a {type(folder).__name__}.'
        )
    folder, device, content = Path(folder), device_named(device), read_spec(Path(folder), plugins)
    stored = load_checkpoint(pick(folder, checkpoint), device)
    check_spec(folder, content, stored.state)
    complete = spec.with_network(content, network)
    built = recipe_of(complete, method, weights=(stored.folder, folder / "parts")).method.to(device)
    read_parts(folder, content, built, device)
    restore(built, stored.weights(raw), stored.folder)
    built.eval().requires_grad_(False)
    return Run(folder, content, built, stored.state, weights_of(stored.folder, raw))


def transport_of(model: Run | Transport) -> Transport:
    """Return the transport of a run, or the transport itself."""
    if isinstance(model, Run):
        return model.transport
    return model


def by_default(content: Any, part: str, flow: Flow) -> Flow | None:
    """Build a frozen part with the default sampler of its own run; None if there is none."""
    try:
        stored = (content.get("samplers") or {}).get(part)
        if stored is None:
            return None
        check_counts(stored["solver"])
        return Flow(flow.denoiser, spec.build(stored["solver"]), stored["steps"], stored["grid"])
    except (*UNFIT, UsageError) as error:
        raise CheckpointError(
            "The run's spec.json does not describe a sampler of this version for the frozen part "
            f"{part}: "
            f"{str(error).rstrip('.')}. Restore the file."
        ) from error
