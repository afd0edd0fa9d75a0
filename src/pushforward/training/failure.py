"""What is known of a failed step: ``failure/`` in the run's folder, written whole, in place of an earlier one.

``failure.json`` holds the step and its error, the examples of its batch, the keys of its draws, statistics of the batch and,
module by module, of weights and gradients, the run's spec, versions, and the end of the log; ``batch.safetensors`` the batch
where it is small. Losses and gradients are computed again, of the present weights, with no update between two players.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.data import Batch, PreparedSampler
from pushforward.data.sampler import positions_of
from pushforward.denoisers.precision import network_precision
from pushforward.draws import BLOCK
from pushforward.errors import CheckpointError, Diverged, OutOfMemory
from pushforward.methods.method import Sums
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.disk import disk
from pushforward.training.machine import computed_by
from pushforward.training.reading import batch_of
from pushforward.training.tensors import local, write

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer

__all__ = ["describe", "write_failure"]

FORMAT, FOLDER = 1, "failure"
ROWS = 100
"""Rows of the log that are repeated."""
BYTES = 16 * 2**20
"""Batches up to this size are stored."""


def write_failure(trainer: Trainer, error: Diverged | OutOfMemory) -> str:
    """Write what is known of a failed step; a sentence that says where, or why that could not be written."""
    try:
        return _write(trainer, error)
    except CheckpointError as refused:
        return f"What is known of it could not be written: {refused}"
    except Exception as refused:  # of any part, which is no reason to end a training that can go on
        return f"What is known of it could not be written: {type(refused).__name__}: {refused}"


def _write(trainer: Trainer, error: Diverged | OutOfMemory) -> str:
    assert error.step is not None
    batch = _batch_of(trainer, error.step - 1)
    content = describe(trainer, error, batch)
    if not trainer.holding.writes:
        return ""
    folder = trainer.folder / FOLDER
    temporary = folder.with_name(f".tmp-{os.getpid()}-{FOLDER}")
    try:
        with disk(folder):
            temporary.mkdir()
            (temporary / "failure.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            tensors = {} if batch is None else _tensors(batch)
            if tensors and sum(value.nbytes for value in tensors.values()) <= BYTES:
                write(temporary / "batch.safetensors", tensors)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    bad = [name for name, known in (content["batch"] or {}).items() if known["not_finite"]]
    of_data = f'"{bad[0]}" of its batch is not finite itself. ' if bad else ""
    return f"{of_data}What is known of it is in {folder}."


def describe(trainer: Trainer, error: Diverged | OutOfMemory, batch: Batch | None) -> dict[str, Any]:
    """What is known of a failed step, JSON-ready; without statistics, which take memory, where that did not suffice."""
    assert error.step is not None
    training = trainer._step.training
    numbers = isinstance(error, Diverged)
    weights = dict(trainer.method.named_parameters()) | dict(trainer.method.named_buffers())
    content = {
        "format_version": FORMAT,
        "error": type(error).__name__,
        "what": error.what,
        "step": error.step,
        "checkpoint": checkpoints.step_name(trainer.saver.step),
        "settings": {
            "seed": trainer.settings.seed,
            "precision": trainer.precision,
            "batch": training.batch,
            "accumulate": training.accumulate,
            "rate": trainer._step.rate,
            **trainer.recovery.state(),
        },
        "examples": _examples(trainer, error.step - 1),
        "draws": _draws(trainer, error.step - 1),
        "batch": {name: _statistics([value]) for name, value in _tensors(batch).items()}
        if batch is not None and numbers
        else None,
        **_losses(trainer, error, batch),
        "weights": _by_module(weights) if numbers else None,
        "spec": trainer.content,
        **computed_by(),
        "log": log.read(trainer.journal.path)[-ROWS:],
    }
    return json.loads(json.dumps(content, default=str))  # type: ignore[no-any-return]


def _batch_of(trainer: Trainer, step: int) -> Batch | None:
    """The batch of a step, counted from 0; None where not even that is possible."""
    try:
        return batch_of(trainer, step)
    except (RuntimeError, MemoryError, OSError, ValueError):
        return None


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch by name, on the CPU."""
    named = {"x": batch.x, **(batch.condition or {}), **{f"fields/{name}": value for name, value in batch.fields.items()}}
    return {name: value.detach().cpu() for name, value in named.items()}


def _examples(trainer: Trainer, step: int) -> dict[str, Any]:
    """Which examples a batch has: epochs, and places in the training split."""
    sampler = trainer.sampler.order if isinstance(trainer.sampler, PreparedSampler) else trainer.sampler
    number = step // trainer.method.reuse
    epochs, places = sampler.positions(*positions_of(number, sampler.batch_size, trainer._step.index))
    return {"batch": number, "epochs": epochs.tolist(), "indices": places.tolist()}


def _draws(trainer: Trainer, step: int) -> dict[str, Any]:
    """The keys of a step's draws."""
    index = trainer._step.index
    blocks = list(range(index.start // BLOCK, -(-index.stop // BLOCK)))
    return {"keyed by": "seed, stream, step, call, block", "seed": trainer.settings.seed, "step": step, "blocks": blocks}


def _losses(trainer: Trainer, error: Diverged | OutOfMemory, batch: Batch | None) -> dict[str, Any]:
    """Losses, and statistics of gradients by module for each player, computed again."""
    if isinstance(error, OutOfMemory) or batch is None or trainer.processes.count > 1:
        return {"losses": None, "gradients": None}
    try:
        with network_precision(trainer.precision):
            return _computed_again(trainer, batch, error.step or 0)
    except Exception as again:  # of any part, which is no reason to lose the rest
        return {"losses": None, "gradients": f"not computed: {type(again).__name__}: {again}"}


def _computed_again(trainer: Trainer, batch: Batch, step: int) -> dict[str, Any]:
    clock = copy.copy(trainer.clock)
    clock.step = step - 1
    parts = [trainer._step._part(index, batch, clock) for index in trainer._step.parts]
    losses, gradients, reply = {}, {}, None
    while (move := trainer._step._together(parts, reply)) is not None:
        reply = move if isinstance(move, Sums) else None
        if not isinstance(move, Sums):
            losses[move[0]] = _statistics([move[1]])["mean"]
            named = trainer.players[move[0]].module.named_parameters()
            gradients[move[0]] = _by_module({name: p.grad for name, p in named if p.grad is not None})
            for parameter in trainer.method.parameters():
                parameter.grad = None
    return {"losses": losses, "gradients": gradients}


def _by_module(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The statistics of tensors, all of one module together, by the module's name."""
    modules: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        modules.setdefault(name.rpartition(".")[0], []).append(local(tensor))
    return {name: _statistics(inside) for name, inside in modules.items()}


def _statistics(tensors: Sequence[Tensor]) -> dict[str, Any]:
    """Range and mean of the finite numbers, None where there are none; how many there are, and the share that is not finite."""
    numbers = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
    finite = numbers[numbers.isfinite()].double()
    least, most, mean = (float(of(finite)) for of in (torch.min, torch.max, torch.mean)) if len(finite) else (None,) * 3
    share = 1 - len(finite) / max(1, len(numbers))
    return {"min": least, "max": most, "mean": mean, "count": len(numbers), "not_finite": share}
