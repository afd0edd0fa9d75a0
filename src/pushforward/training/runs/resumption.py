"""A run that is there, taken up by a new trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pushforward.devices import device_named
from pushforward.errors import CheckpointError, UsageError
from pushforward.files import disk
from pushforward.methods.method import Method
from pushforward.plugins import files_of
from pushforward.recipes.recipe import Recipe
from pushforward.trackers import trackers_of
from pushforward.training.checkpoint.contents import clean_up
from pushforward.training.checkpoint.integrity import fault, latest, next_good, step_name
from pushforward.training.checkpoint.saver import stored_for
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.progress import watcher_of
from pushforward.training.loop.trainer import Trainer
from pushforward.training.options import ResumeOptions, Settings, budget_in
from pushforward.training.runs import log
from pushforward.training.runs.provenance import data_of_run
from pushforward.training.runs.run import load, pick
from pushforward.training.runs.run_lock import Holding, hold
from pushforward.training.runs.spec import budget_of, check_spec, extend, read_spec, recipe_of
from pushforward.training.runs.warm_start import mark


def taken_up(folder: Path, options: ResumeOptions, processes: Processes) -> Trainer:
    """The `Trainer` of an existing run for the processes that this one belongs to; see `resume`."""
    plugins, writes = files_of(options.get("plugins", ())), processes.rank == 0
    checkpoint, method, device = options.get("checkpoint"), options.get("method"), device_named(options.get("device", "cpu"))
    given, watcher = budget_in(options), watcher_of(options.get("progress") if writes else False)
    if checkpoint is not None and options.get("fallback"):
        raise UsageError("Give either `checkpoint`, or `fallback=True`, which goes on from the newest checkpoint that is whole.")
    content = read_spec(folder, plugins)
    budget, trackers = given or budget_of(content), trackers_of(options.get("trackers"))
    lock = hold(folder) if writes else None
    try:
        if checkpoint is None and lock is not None:
            _clean_up(folder)
        # another machine may still see an older one
        newest = _newest(folder, bool(options.get("fallback"))) if writes and checkpoint is None else None
        where = processes.first(None if newest is None else str(newest.name))
        start = pick(folder, checkpoint) if checkpoint else None if where is None else folder / "checkpoints" / where
        if start is not None:
            stored = stored_for(processes, start, device)
            check_spec(folder, content, stored.state)
            if given and asdict(budget) != content["budget"]:
                budget.check_beyond(folder, stored.state["seconds"], stored.state["step"], content["training"]["batch"])
        data = data_of_run(folder, content, options.get("data"))
        recipe = (
            _started_over(folder, content, method, plugins)
            if start is None
            else recipe_of(content, method, weights=(start, folder / "parts"))
        )
        settings = Settings(
            seed=content["seed"],
            device=device,
            augment=tuple(map(str, content["augment"])),
            checkpoint_every=content["checkpoint_every"],
            trackers=trackers,
        )
        holding = Holding(folder, lock, content, writes)
        trainer = Trainer(recipe, data, budget, out=holding, settings=settings, progress=watcher, processes=processes)
        if start is not None:
            trainer.restore(stored)
        processes.agreed(False)  # all have read the spec
        extend(folder, content, budget, trainer.clock.step, writes)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    mark(trainer.folder, trainer.recipe.method, trainer.average.method)
    return trainer


def _clean_up(folder: Path) -> None:
    with disk(folder):
        clean_up(folder / "checkpoints")
        for left in folder.glob("cache/**/.tmp-*"):
            left.unlink(missing_ok=True)


def _newest(folder: Path, fallback: bool) -> Path | None:
    """A run's newest checkpoint, or the newest that is whole; None for a run that was never saved and has made no step.

    Raises:
        CheckpointError: If the run has made steps and its checkpoints are gone.
    """
    where = latest(folder / "checkpoints")
    if where is None and (rows := log.read(folder / "metrics.jsonl")):
        raise CheckpointError(
            f"{folder} was trained for {rows[-1]['step']:,} steps, and its checkpoints are gone: it cannot be resumed. Restore "
            "them, or train again into another folder."
        )
    if where is not None and fallback and fault(where) is not None:
        return next_good(where) or where
    return where


def _started_over(folder: Path, content: dict[str, Any], method: Method | None, plugins: Sequence[str | Path]) -> Recipe:
    """The recipe of a run that was never saved, with the weights that it had at its start.

    Raises:
        CheckpointError: If they came from Python and are lost, or the run of ``init`` has changed since.
    """
    if method is None and content.get("init") is not None:
        recipe = recipe_of(content)
        source = load(content["init"], checkpoint=step_name(content["init_step"]), plugins=plugins)
        restore(recipe.method, source.method.state_dict(), source.folder)
        return recipe
    if method is None and not content.get("from_seed"):
        raise CheckpointError(
            f"{folder} was never saved, and its first weights, which came from Python or from a teacher, are lost. Train it "
            "again as before, with `overwrite=True`, or give them in Python: pf.resume(run, method=...)."
        )
    return recipe_of(content, method, content["seed"])
