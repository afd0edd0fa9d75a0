"""What a model costs: parameters, arithmetic, memory and time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from pushforward.evaluation.measurements import Memory, SampleTime, SamplingCost
from pushforward.training.loop.memory import added_peak, held_bytes
from pushforward.transports import Flow, Transport, has_steps, inner_of, with_inner
from pushforward.transports.rejection import as_drawn, unmet_kept

__all__ = [
    "flops",
    "lower_quartile",
    "megabytes",
    "parameters",
    "sampling_costs",
    "sampling_memory",
    "seconds_per_sample",
    "solver_title",
    "time_in_turns",
    "training_only",
]

TURNS = 7
"""How often each model is timed."""
TURN_SECONDS = 1.0
"""About the most that one model's turn may take; where a single sample takes longer, a turn is one sample."""
SHORTEST = 0.02
"""Seconds; a turn repeats calls that take less, so that a clock can time it."""
MOST_CALLS = 100
"""Calls of one turn at most."""
FEW_STEPS = 6
"""Steps of an iterative model whose memory is measured: no more is held at once in many."""


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
    single = _fastest_of_two(samplers, dict.fromkeys(samplers, 1))
    first = {name: _affordable(seconds, most) for name, seconds in single.items()}
    batched = _fastest_of_two(samplers, first)
    batches = {name: max(first[name], _affordable(seconds / first[name], most)) for name, seconds in batched.items()}
    calls = {
        name: min(MOST_CALLS, max(1, math.ceil(SHORTEST / max(seconds / first[name] * batches[name], 1e-9))))
        for name, seconds in batched.items()
    }
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


def _fastest_of_two(samplers: Mapping[str, Callable[[int], Any]], batches: Mapping[str, int]) -> dict[str, float]:
    passes = [{name: _seconds(sample, batches[name]) for name, sample in samplers.items()} for _ in range(2)]
    return {name: min(times[name] for times in passes) for name in samplers}


def _affordable(seconds: float, most: int) -> int:
    """How many samples of so many seconds fit into a turn: ``most``, or a power of two."""
    fits = TURN_SECONDS / max(seconds, 1e-9)
    return most if fits >= most else 2 ** math.floor(math.log2(max(1.0, fits)))


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
    """The same model in so many steps; unchanged where it has no more or steps differ (adaptive solver, guidance interval)."""
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
    return {name: _cost(transport, timings[name], most) for name, transport in models.items()}


def _cost(transport: Transport, timing: SampleTime, most: int) -> SamplingCost:
    flow = inner_of(transport)
    return SamplingCost(
        solver=solver_title(flow) if has_steps(flow) else None,
        steps=flow.steps if has_steps(flow) else None,
        calls=transport.calls,
        seconds_per_sample=lower_quartile(timing),
        timing=timing,
        flops_per_sample=sampling_flops(transport),
        memory=Memory(megabytes(sampling_memory(transport, most)), most),
    )


def _batch(transport: Transport, n: int) -> torch.Tensor:
    with unmet_kept():
        return transport.sample(n, batch=n)


def megabytes(count: int | None) -> float | None:
    """Bytes in units of 2^20; None stays None."""
    return None if count is None else count / 2**20


def solver_title(transport: Flow) -> str:
    """A flow's solver and grid in words."""
    name = type(transport.solver).__name__
    return name + (_grid_title(transport.grid) if getattr(transport, "learned", None) is None else " by a learned table")


def _grid_title(grid: str | Sequence[float] | None) -> str:
    if grid is None:
        return ""
    return f" on the {grid} grid" if isinstance(grid, str) else " on times of its own"
