"""What a model costs: parameters, arithmetic, memory and time; models that are timed and trained in turns."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from pushforward.errors import CheckpointError, DataError, Diverged
from pushforward.evaluation.measurements import Memory, SampleTime, SamplingCost
from pushforward.training import Run, Trainer
from pushforward.training.loop.machine import added_peak, held_bytes
from pushforward.training.loop.trainer import finished, salvaged
from pushforward.transports import Flow, Transport, has_steps, inner_of, with_inner
from pushforward.transports.transport import as_drawn, unmet_kept

TURNS = 7  # How often each model is timed
TURN_SECONDS = 1.0  # About the most that one model's turn may take; where a single sample takes longer, a turn is one sample
SHORTEST = 0.02  # Seconds; a turn repeats calls that take less, so that a clock can time it
MOST_CALLS = 100  # Calls of one turn at most
FEW_STEPS = 6  # Steps of an iterative model whose memory is measured: no more is held at once in many
TURN = 5.0  # Seconds of training that a model has before the next one's turn


def parameters(module: nn.Module) -> int:
    """The numbers that training sets; a tensor that two parts share counts once."""
    return sum(tensor.numel() for tensor in module.parameters())


def training_only(method: nn.Module, sampler: nn.Module) -> dict[str, int]:
    """The numbers in each part of a method that its sampler does not use, such as a critic, by name; no part without numbers."""
    sampled = set(map(id, sampler.parameters()))
    unused = {name: parameters(part) for name, part in method.named_children() if not sampled & set(map(id, part.parameters()))}
    return {name: size for name, size in unused.items() if size}


def flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Floating point operations of matrix products, convolutions and attention in ``function(*inputs)``.

    A multiplication and an addition count as two. Element-wise work is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


def lower_quartile(timing: SampleTime) -> float:
    """The seconds of a sample, by the lower quartile of its turns, since other programs can only slow a turn down."""
    return float(np.quantile(timing.values, 0.25))


def time_in_turns(samplers: Mapping[str, Callable[[int], Any]], most: int, turns: int = TURNS) -> dict[str, SampleTime]:
    """Time several models in turns, so that a machine that is busy for a moment slows all of them alike.

    Each model first makes a single sample twice and then a batch twice, which warms it up and finds the batch that a turn can
    hold: ``most`` samples, fewer where they would take longer than a turn.

    Args:
        samplers: For each name, a function that makes n samples.
        most: Samples made at a time at most.
        turns: Timed turns of each model.

    Returns:
        For each name, its times.
    """
    batches, calls = dict.fromkeys(samplers, 1), {}
    for _ in range(2):
        passes = [{name: _seconds(sample, batches[name]) for name, sample in samplers.items()} for _ in range(2)]
        for name in samplers:
            single = max(min(times[name] for times in passes) / batches[name], 1e-9)
            fits = TURN_SECONDS / single
            batches[name] = max(batches[name], most if fits >= most else 2 ** math.floor(math.log2(max(1.0, fits))))
            calls[name] = min(MOST_CALLS, max(1, math.ceil(SHORTEST / (single * batches[name]))))
    names, seconds = list(samplers), {name: list[float]() for name in samplers}
    for turn in range(turns):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            samples = batches[name] * calls[name]
            seconds[name].append(_seconds(samplers[name], batches[name], calls[name]) / samples)
    return {
        name: SampleTime(batches[name], min(values), statistics.median(values), tuple(values)) for name, values in seconds.items()
    }


def seconds_per_sample(sample: Callable[[int], Any], n: int, turns: int = TURNS) -> float:
    """The time of one sample of a single model; see `time_in_turns`."""
    return lower_quartile(time_in_turns({"": sample}, n, turns)[""])


def _seconds(sample: Callable[[int], Any], n: int, calls: int = 1) -> float:
    _wait()
    began = time.perf_counter()
    for _ in range(calls):
        sample(n)
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


@as_drawn()
def sampling_memory(transport: Transport, n: int) -> int | None:
    """Bytes in tensors that sampling a batch of n holds at most, the weights included.

    PyTorch's allocator counts them (`training.loop.memory.added_peak`), so neither the library nor other models and data
    in the process matter, and the same model gives the same number every time. Iterative models are sampled in at most
    six steps, since steps follow one another and hold no more in many.

    Returns:
        Bytes; None where nothing can be measured.
    """
    added = added_peak(lambda: _in_few_steps(transport, FEW_STEPS).sample(n, batch=n), transport.device)
    return None if added is None else held_bytes(transport) + added


@as_drawn()
def sampling_flops(transport: Transport) -> int:
    """Floating point operations of a sample, as `flops` counts them.

    Every network call takes the same, so those of an iterative model follow from solves of one step and of two.
    """
    short, long = (_in_few_steps(transport, steps) for steps in (1, 2))
    if long is transport:
        return flops(partial(_batch, transport, 1))
    first, second = (flops(partial(_batch, few, 1)) for few in (short, long))
    return second + (second - first) * (transport.calls - long.calls) // (long.calls - short.calls)


def _in_few_steps(transport: Transport, steps: int) -> Transport:
    flow = inner_of(transport)
    if not has_steps(flow) or flow.solver.adaptive or flow.steps <= steps:
        return transport
    if len({flow.denoiser.calls(float(t)) for t in flow.times[:-1]}) > 1:
        return transport
    grid = flow.grid if flow.grid is None or isinstance(flow.grid, str) else "time"
    return with_inner(transport, flow.with_solver(flow.solver, steps, grid))


def sampling_costs(models: Mapping[str, Transport], most: int) -> dict[str, SamplingCost]:
    """What sampling costs each model.

    Args:
        models: By name; they are timed in turns.
        most: Samples made at a time, at most where time and exactly where memory is measured.
    """
    timings = time_in_turns({name: partial(_batch, transport) for name, transport in models.items()}, most)
    costs = {}
    for name, transport in models.items():
        flow = inner_of(transport)
        costs[name] = SamplingCost(
            solver=solver_title(flow) if has_steps(flow) else None,
            steps=flow.steps if has_steps(flow) else None,
            calls=transport.calls,
            seconds_per_sample=lower_quartile(timings[name]),
            timing=timings[name],
            flops_per_sample=sampling_flops(transport),
            memory=Memory(megabytes(sampling_memory(transport, most)), most),
        )
    return costs


def _batch(transport: Transport, n: int) -> torch.Tensor:
    with unmet_kept():
        return transport.sample(n, batch=n)


def megabytes(count: int | None) -> float | None:
    """Bytes in units of 2^20; None stays None."""
    return None if count is None else count / 2**20


def solver_title(transport: Flow) -> str:
    """A flow's solver and grid in words."""
    name, grid = type(transport.solver).__name__, transport.grid
    if getattr(transport, "learned", None) is not None:
        return f"{name} by a learned table"
    return name if grid is None else f"{name} on the {grid} grid" if isinstance(grid, str) else f"{name} on times of its own"


def train_in_turns(trainers: Sequence[Trainer], turn: float = TURN, after: Callable[[int], None] | None = None) -> list[Run]:
    """Train several models side by side, so that a machine whose speed drifts treats all alike.

    A training that diverges is left at its last checkpoint, and its run says so in ``warnings``; the others go on.

    Args:
        trainers: One for each model; a trainer whose ``stop`` is set is left where it is.
        turn: Seconds of training in one turn.
        after: Called when all have had a turn, with how many turns each had.

    Returns:
        The runs, in the order of ``trainers``.

    Raises:
        Diverged: If all of them diverge.
        CheckpointError: If the disk refuses; the other trainings are saved where they are, as far as it lets them.
        DataError: If data cannot be read any more; all trainings are saved where they are.
    """
    fallen: dict[int, Diverged] = {}
    turns = 0

    def attempt(number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Diverged as error:
            fallen[number] = error
            trainers[number].progress.say(f"{trainers[number].folder.name}: {error}")

    try:
        while not any(trainer.stop for trainer in trainers):
            waiting = [number for number, trainer in enumerate(trainers) if number not in fallen and not trainer.done]
            if not waiting:
                break
            for number in waiting:
                attempt(number, partial(trainers[number].advance, turn))
            turns += 1
            if after is not None:
                after(turns)
        for number, trainer in enumerate(trainers):
            if number not in fallen:
                attempt(number, trainer.finish)
        if fallen and len(fallen) == len(trainers):
            raise next(iter(fallen.values()))
        return [
            salvaged(trainer, fallen[number]) if number in fallen else finished(trainer)
            for number, trainer in enumerate(trainers)
        ]
    except (CheckpointError, DataError):
        for trainer in trainers:
            with suppress(CheckpointError, Diverged):
                trainer.finish()
        raise
    finally:
        for trainer in trainers:
            trainer.close()
