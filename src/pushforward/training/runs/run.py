"""A run folder: the method, the data, the progress, and the weights."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack
from warnings import warn

import torch

from pushforward import spec
from pushforward.data import Space
from pushforward.data.core.train_hashes import Seen
from pushforward.devices import device_named
from pushforward.errors import UsageError
from pushforward.methods.method import Method
from pushforward.notebooks import facts
from pushforward.samples import drawn_from
from pushforward.sampling_options import Sampling, configure, given_options, guidance_notes
from pushforward.solvers.learned import LearnedTable
from pushforward.solvers.solver import Solver
from pushforward.training.checkpoint.best import best_name
from pushforward.training.checkpoint.integrity import latest, no_checkpoint, unfinished, weights_of
from pushforward.training.checkpoint.stored import load as load_checkpoint
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.monitor.alarms import lost
from pushforward.training.runs import log
from pushforward.training.runs.folder import checkpoint_in
from pushforward.training.runs.frozen_modules import read_parts
from pushforward.training.runs.learned_solvers import GRIDS, TABLES, Learned
from pushforward.training.runs.provenance import read_seen, seen_by
from pushforward.training.runs.spec import check_spec, read_spec, recipe_of
from pushforward.transports import BATCH, ConditionLike, Transport, inner_of


class Run:
    """A finished or interrupted training, read from its folder.

    Args:
        folder: The run's folder.
        content: What ``spec.json`` holds.
        method: The method with the chosen weights (the average by default).
        state: The checkpoint's counters: step, samples, seconds, total; and weights_step where training has ended with the
            weights of an earlier step.
        weights: The hash of the weights' file, by which learned grids and tables know theirs.
        warnings: Sentences that a report must print.
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
        self.folder, self.spec, self.method, self.state, self.weights = folder, content, method, state, weights
        self.warnings = tuple(warnings)
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
        denoiser = getattr(inner_of(self.transport), "denoiser", None)
        if denoiser is None:
            raise UsageError(f"{self.folder} holds a one-call model; it has no denoiser.")
        return denoiser

    @property
    def learned(self) -> Learned:
        """The grids and tables that were learned for it."""
        return Learned(self.folder, self.weights, self.state["step"])

    @cached_property
    def seen(self) -> Seen:
        """The examples that it has learned from and its seconds of training, and those of the models that it builds on.

        Raises:
            CheckpointError: If the folder's record of them is damaged.
        """
        seen = read_seen(self.folder, self.spec, self.state)
        for folder in self._guides:
            seen = seen.joined_by(str(folder), seen_by(folder))
        return seen

    @property
    def unfinished(self) -> tuple[str, ...]:
        """A sentence that training has not used up its budget; empty where it has, or ended by itself or broke off."""
        newest = latest(self.folder / "checkpoints")
        words = None if newest is None else unfinished(newest, self.spec.get("budget") or {})
        if not words or any("broke off" in text for text in self.warnings) or lost(self.losses()):
            return ()
        return (f"it is unfinished: {words} of training. Resume it first: pushforward resume {shlex.quote(str(self.folder))}",)

    def sample(
        self, n: int = 64, condition: ConditionLike = None, *, seed: int = 0, batch: int = BATCH, **options: Unpack[Sampling]
    ) -> Any:
        """New samples in data units, on the CPU; sample i comes from ``seed + i`` alone.

        Args:
            n: How many.
            condition: For example ``{"label": 3}``, ``{"label": "cat"}`` or ``{"age": 40}``, or n values in a list or tensor.
                Conditions that are not given are drawn as they occur in the training data.
            seed: The seed of the first sample, any whole number.
            batch: Examples computed at a time.
            options: The options of `configured`: ``steps=8``, ``solver="heun"``, ``scale=2.0``, ...

        Returns:
            `Samples` in data units (see `pushforward.samples`); of a table a pandas data frame, where pandas is installed.

        Raises:
            UsageError: For numbers, conditions or options that the model cannot take.
            Diverged: If a sample is not finite, or breaks a constraint of the data after all its draws.
        """
        run = self.configured(**options)
        for sentence in run.warnings[len(self.warnings) :]:
            warn(sentence, stacklevel=2)
        return drawn_from(run.transport, n, condition, seed=seed, batch=batch)

    def configured(self, **options: Unpack[Sampling]) -> Run:
        """The same run with other sampling options, to sample from, evaluate or compare; its weights are shared.

        Args:
            options: See `pushforward.sampling_options.Sampling`; ``weaker`` may also be a run, its folder, or FOLDER@CHECKPOINT.

        Raises:
            UsageError: For an option that this model does not have, a value out of range, or a learned grid of other weights.
            CheckpointError: If ``weaker`` is no run.
        """
        given = given_options(options)
        if not given:
            return self
        run = copy.copy(self)
        run.warnings = (*self.warnings, *self.learned.stale(self.transport, given))
        for name in ("transport", "seen"):
            run.__dict__.pop(name, None)
        weaker = given.get("weaker")
        if isinstance(weaker, (str, Path)):
            folder, checkpoint = checkpoint_in(weaker)
            weaker = load(folder, checkpoint=checkpoint, device=self.transport.device)
        if isinstance(weaker, Run):
            run._guides = (*self._guides, weaker.folder)
            given["weaker"] = weaker.denoiser
        run.transport = configure(
            self.transport, grids=self.learned_grid, tables=self.learned_table, name=str(self.folder), **given
        )
        run.warnings = tuple(dict.fromkeys((*run.warnings, *guidance_notes(run.transport))))
        return run

    def losses(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``: step, samples, seconds and the loss of each player.

        Raises:
            CheckpointError: If the disk does not give the file.
        """
        return log.read(self.folder / "metrics.jsonl")

    def learned_grids(self) -> list[dict[str, Any]]:
        """The results of `pushforward tune`: steps, solver, times and their errors, one entry for each.

        Raises:
            CheckpointError: If ``grids.json`` is damaged.
        """
        return self.learned.read(GRIDS)

    def learned_grid(self, steps: int, solver: Solver) -> list[float] | None:
        """The times that were learned for so many steps of this solver and these weights; None where there are none."""
        entry = self.learned.entry(GRIDS, steps, solver)
        return list(entry["times"]) if entry is not None and self.learned.fits(entry) else None

    def store_grid(self, solver: Solver, times: Sequence[float], **facts: Any) -> None:
        """Keep learned times with the run, in place of earlier ones for as many steps of the same solver.

        Args:
            solver: The solver that they are for.
            times: N + 1 falling times, the last 0.
            facts: Further facts, plain values.

        Raises:
            CheckpointError: If the disk refuses.
        """
        entry = {"steps": len(times) - 1, "solver": spec.describe(solver), "times": [float(t) for t in times], **facts}
        self.learned.store(GRIDS, entry)

    def learned_tables(self) -> list[dict[str, Any]]:
        """The results of `pushforward tune --what table`: steps, solver, guidance, table and its error.

        Raises:
            CheckpointError: If ``tables.json`` is damaged.
        """
        return self.learned.read(TABLES)

    def learned_table(self, steps: int, solver: Solver, guidance: Mapping[str, Any] | None = None) -> LearnedTable | None:
        """The table learned for so many steps of this solver, this guidance and these weights; None where there is none.

        Args:
            steps: How many.
            solver: The solver that learning started from.
            guidance: Options of `pushforward.sampling_options.Sampling`, such as ``{"scale": 2.0}``; None is none.

        Raises:
            CheckpointError: If ``tables.json`` is damaged.
        """
        entry = self.learned.entry(TABLES, steps, solver, guidance)
        try:
            return LearnedTable(**entry["table"]) if entry is not None and self.learned.fits(entry) else None
        except (TypeError, UsageError) as error:
            raise self.learned.damaged(TABLES) from error

    def store_table(self, solver: Solver, table: LearnedTable, guidance: Mapping[str, Any] | None = None, **facts: Any) -> None:
        """Keep a learned table with the run, in place of an earlier one for the same steps, solver and guidance.

        Args:
            solver: The solver that learning started from.
            table: The learned table.
            guidance: As for `learned_table`.
            facts: Further facts, plain values.

        Raises:
            CheckpointError: If the disk refuses.
        """
        key = {"solver": spec.describe(solver), "guidance": spec.describe(dict(guidance or {}))}
        self.learned.store(TABLES, {"steps": len(table.grid) - 1, **key, "table": asdict(table), **facts})

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.spec['recipe']}, step {self.state['step']})"

    def _repr_html_(self) -> str:
        data = (self.spec.get("data") or {}).get("name_or_path", "given in Python")
        summary, now = {"recipe": f"{self.spec['recipe']} ({self.spec['family']})", "data": data}, self.state
        summary |= {"step": f"{now['step']:,}", "samples": f"{now['samples']:,}", "seconds": f"{now['seconds']:.1f}"}
        return facts(f"Run {self.folder}", summary | {"sampler": repr(self.transport)})


def pick(folder: Path, name: str | None) -> Path:
    """A run's checkpoint by name, or the newest; "best" is that of a map's best step (`pushforward.training.checkpoint.best`).

    Raises:
        CheckpointError: If there is none of that name, or none at all.
    """
    name = best_name(folder) if name == "best" else name
    chosen = folder / "checkpoints" / name if name else latest(folder / "checkpoints")
    if chosen is None or not chosen.is_dir():
        raise no_checkpoint(folder, name)
    return chosen


def load(
    folder: str | Path,
    *,
    raw: bool = False,
    checkpoint: str | None = None,
    plugins: str | Path | Iterable[str | Path] = (),
    method: Method | None = None,
    device: torch.device | str = "cpu",
) -> Run:
    """Read a run: its spec and the weights of its newest checkpoint, verified by hash.

    Args:
        folder: The run's folder.
        raw: Take the last weights in place of their average.
        checkpoint: A checkpoint's name, such as "step_000500"; None takes the newest, "best" that of a map's best step.
        plugins: Python files, or a single one, whose classes the run needs; a run is read only with those that it was trained
            with.
        method: A method of the run's structure, for runs whose networks cannot be rebuilt from the spec.
        device: Where the weights go.

    Raises:
        CheckpointError: If the folder is no run, a file is missing or damaged, or a plugin is not named.
    """
    if not isinstance(folder, (str, Path)):
        raise UsageError(f'Expected a run\'s folder, such as "runs/digits-flow"; got a {type(folder).__name__}.')
    folder, device, content = Path(folder), device_named(device), read_spec(Path(folder), plugins)
    stored = load_checkpoint(pick(folder, checkpoint), device)
    check_spec(folder, content, stored.state)
    built = recipe_of(content, method, weights=(stored.folder, folder / "parts")).method.to(device)
    read_parts(folder, content, built, device)
    restore(built, stored.weights(raw), stored.folder)
    built.eval().requires_grad_(False)
    return Run(folder, content, built, stored.state, weights_of(stored.folder, raw))


def transport_of(model: Run | Transport) -> Transport:
    """The transport of a run, or the transport itself."""
    return model.transport if isinstance(model, Run) else model
