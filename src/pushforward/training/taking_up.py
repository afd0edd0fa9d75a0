"""A run that is there, taken up by a new trainer: for resuming it, and where its processes were started again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pushforward.devices import device_named
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Method
from pushforward.plugins import files_of
from pushforward.recipes.recipe import Recipe
from pushforward.trackers import trackers_of
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.disk import disk
from pushforward.training.fit_options import ResumeOptions, budget_in
from pushforward.training.folders import hold, put_back
from pushforward.training.going_back import stored_for
from pushforward.training.holding import Holding
from pushforward.training.launching import note_here, still_asked
from pushforward.training.marks import mark
from pushforward.training.processes import Processes
from pushforward.training.progress import report, watcher_of
from pushforward.training.run import load, pick
from pushforward.training.run_data import data_of_run
from pushforward.training.run_spec import budget_of, check_spec, command, extend, read_spec, rebuilt, recipe_of
from pushforward.training.settings import Settings
from pushforward.training.tensors import restore
from pushforward.training.trainer import Trainer
from pushforward.training.verifying import next_good

__all__ = ["taken_up"]


def taken_up(folder: Path, options: ResumeOptions, processes: Processes) -> Trainer:
    """The `Trainer` of an existing run for the processes that this one belongs to; see `resume`."""
    plugins, writes = files_of(options.get("plugins", ())), processes.rank == 0
    checkpoint, method, device = options.get("checkpoint"), options.get("method"), device_named(options.get("device", "cpu"))
    given, watcher = budget_in(options), watcher_of(options.get("progress") if writes else False)
    if writes:
        put_back(folder)
    processes.agreed(False)  # the run is there again for all of them
    content = read_spec(folder, plugins)
    budget, trackers = given or budget_of(content), trackers_of(options.get("trackers"))
    lock = hold(folder) if writes else None
    try:
        if checkpoint is not None and not processes.first(not writes or still_asked(folder, checkpoint, command())):
            if writes:
                report(watcher, f"This launch has gone on from {checkpoint} already: its newest checkpoint is taken up.")
            checkpoint, options = None, {**options, "checkpoint": None}
        if checkpoint is None and lock is not None:
            _clean_up(folder)
        processes.agreed(False)  # nobody reads what an interrupted save has left
        where = _newest(folder, processes) if checkpoint is None else pick(folder, checkpoint)
        if where is not None:
            stored, damage = _stored(where, device, options, processes)
            check_spec(folder, content, stored.state)
            if given and asdict(budget) != content["budget"]:
                budget.check_beyond(folder, stored.state["seconds"], stored.state["step"], content["training"]["batch"])
        data = data_of_run(
            folder,
            content,
            options.get("data"),
            absent="Hand it to pf.resume(run, data=...) again.",
            changed=f"start a new run from its weights: `init={folder}`",
            processes=processes,
        )
        if where is None:
            recipe = _started_over(folder, content, method, plugins)
        else:
            recipe = rebuilt(folder, content, stored.folder, method)
        settings = Settings(
            seed=content["seed"],
            device=device,
            augment=tuple(content["augment"]),
            checkpoint_every=content["checkpoint_every"],
            trackers=trackers,
        )
        holding = Holding(folder, lock, content, writes)
        trainer = Trainer(recipe, data, budget, out=holding, settings=settings, progress=watcher, processes=processes)
        if where is not None:
            if damage is not None and writes:
                report(watcher, _set_aside(folder, where, stored.folder, damage))
            trainer.restore(stored)
        processes.agreed(False)  # all have read the spec
        extend(folder, content, budget, trainer.clock.step, writes)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    note_here(folder)
    mark(trainer.folder, trainer.recipe.method, trainer.average.method)
    return trainer


def _stored(
    where: Path, device: torch.device, options: ResumeOptions, processes: Processes
) -> tuple[checkpoints.Checkpoint, CheckpointError | None]:
    """What a training goes on from, and where that is not the newest checkpoint, what is wrong with that."""
    fallback, named = bool(options.get("fallback")), options.get("checkpoint") is not None
    if fallback and named:
        raise UsageError("Give either `checkpoint`, or `fallback=True`, which goes on from the newest checkpoint that is whole.")
    if fallback and processes.count > 1:
        where, damage = _whole(where, processes)
        return stored_for(processes, where, device), damage
    try:
        return stored_for(processes, where, device), None
    except CheckpointError as error:
        if fallback and (good := next_good(where)) is not None:
            return checkpoints.load(good, device), error
        if fallback or named or error.before is None:
            raise
        raise CheckpointError(f"{error} `fallback=True` goes on from it.", error.before) from error


def _whole(where: Path, processes: Processes) -> tuple[Path, CheckpointError | None]:
    """The checkpoint that all processes take, or the one before it where the first process sees that it is damaged, and how."""
    damage = None
    if processes.rank == 0:
        try:
            checkpoints.read_state(where)
        except CheckpointError as error:
            if error.before is None:
                raise
            damage = error
    return where.with_name(processes.first(where.name if damage is None else damage.before)), damage


def _set_aside(folder: Path, damaged: Path, good: Path, error: CheckpointError) -> str:
    """Take its name from a damaged checkpoint and make another one the newest; returns what happened, in sentences.

    Raises:
        CheckpointError: If the disk refuses.
    """
    known = {path.name for path in damaged.parent.iterdir()}
    names = (f"damaged-{damaged.name}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, len(known) + 3))))
    aside = damaged.with_name(next(name for name in names if name not in known))
    lost = max(checkpoints.step_of(damaged), log.last_step(folder / "metrics.jsonl")) - checkpoints.step_of(good)
    with disk(damaged):
        os.rename(damaged, aside)
    checkpoints.write_latest(good.parent, good.name)
    again = f": {lost:,} steps are computed again" if lost > 0 else ""
    stays = "It is neither read nor removed: delete it once nobody wants to look into it."
    return f"{error} The damaged one is set aside as {aside}. {stays} Training goes on from {good.name}{again}."


def _clean_up(folder: Path) -> None:
    """Remove what an interrupted save has left in a run's folder."""
    inside = folder / "checkpoints"
    if inside.is_dir():
        with disk(inside):
            checkpoints.clean_up(inside)
            _sweep(folder)


def _sweep(folder: Path) -> None:
    """Remove files that processes which are gone were about to give their names (`checkpoints.write_text`)."""
    if not Path("/proc/self").exists():
        return
    for left in folder.rglob(".tmp-*"):
        process = re.match(r"\.tmp-(\d+)[-.]", left.name)
        if process is not None and left.is_file() and not Path(f"/proc/{process[1]}").exists():
            left.unlink(missing_ok=True)


def _newest(folder: Path, processes: Processes) -> Path | None:
    """A run's newest checkpoint, as the first process sees it; None for a run that was never saved and has made no step.

    Raises:
        CheckpointError: If the run has made steps and its checkpoints are gone.
    """
    where = checkpoints.latest(folder / "checkpoints") if processes.rank == 0 else None
    if processes.rank == 0 and where is None and (rows := log.read(folder / "metrics.jsonl")):
        raise CheckpointError(
            f"{folder} was trained for {rows[-1]['step']:,} steps, and its checkpoints are gone: it cannot be resumed. Restore "
            "them, or train again into another folder."
        )
    # another machine may still see an older one
    name = processes.first(None if where is None else where.name)
    return None if name is None else folder / "checkpoints" / name


def _started_over(folder: Path, content: dict[str, Any], method: Method | None, plugins: Sequence[str | Path]) -> Recipe:
    """The recipe of a run that was never saved, with the weights that it had at its start.

    Raises:
        CheckpointError: If they came from Python and are lost, or the run of ``init`` has changed since.
    """
    if method is None and content.get("init") is not None:
        recipe = recipe_of(content)
        name = checkpoints.step_name(content["init_step"])
        if os.path.isdir(content["init"]) and not os.path.isdir(os.path.join(content["init"], "checkpoints", name)):
            raise CheckpointError(
                f"{folder} was never saved, and the weights that it started from are gone: {content['init']} no longer has its "
                f"checkpoint {name}, because it has been trained further since. Delete {folder} and train again, from the "
                f"weights that {content['init']} has now, or restore the checkpoint."
            )
        source = load(content["init"], checkpoint=name, plugins=plugins)
        restore(recipe.method, source.method.state_dict(), source.folder)
        return recipe
    if method is None and not content.get("from_seed"):
        raise CheckpointError(
            f"{folder} was never saved, and its first weights, which came from Python or from a teacher, are lost. Train it "
            "again as before, with `overwrite=True`, or give them in Python: pf.resume(run, method=...)."
        )
    return recipe_of(content, method, content["seed"])
