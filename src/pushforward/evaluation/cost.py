"""What sampling costs: arithmetic, memory, and time, which is measured in turns over all models."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from pushforward.evaluation.measurements import Memory, SampleTime, SamplingCost
from pushforward.training.loop.memory import added_peak, held_bytes
from pushforward.transports import Flow, Transport, has_steps, inner_of, with_inner
from pushforward.transports.rejection import as_drawn, unmet_kept

TURNS = 7  # How often each model is timed
TURN_SECONDS = 1.0  # About the most that one model's turn may take; where a single sample takes longer, a turn is one sample
SHORTEST = 0.02  # Seconds; a turn repeats calls that take less, so that a clock can time it
MOST_CALLS = 100  # Calls of one turn at most
FEW_STEPS = 6  # Steps of an iterative model whose memory is measured: no more is held at once in many


def flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Floating point operations of matrix products, convolutions and attention in ``function(*inputs)``.

    A multiplication and an addition count as two. Element-wise work is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


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
    return float(np.quantile(time_in_turns({"": sample}, n, turns)[""].values, 0.25))


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
        flow, held = inner_of(transport), sampling_memory(transport, most)
        costs[name] = SamplingCost(
            solver=solver_title(flow) if has_steps(flow) else None,
            steps=flow.steps if has_steps(flow) else None,
            calls=transport.calls,
            seconds_per_sample=float(np.quantile(timings[name].values, 0.25)),  # other programs can only slow a turn down
            timing=timings[name],
            flops_per_sample=sampling_flops(transport),
            memory=Memory(None if held is None else held / 2**20, most),
        )
    return costs


def _batch(transport: Transport, n: int) -> torch.Tensor:
    with unmet_kept():
        return transport.sample(n, batch=n)


def solver_title(transport: Flow) -> str:
    """A flow's solver and grid in words."""
    name, grid = type(transport.solver).__name__, transport.grid
    if getattr(transport, "learned", None) is not None:
        return f"{name} by a learned table"
    return name if grid is None else f"{name} on the {grid} grid" if isinstance(grid, str) else f"{name} on times of its own"
