"""Cost of sampling: calls, operations, memory, and time in alternating rounds."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from pushforward.data import Dataset
from pushforward.evaluation.measurements import Memory, SampleTime, SamplingCost
from pushforward.training.loop.machine import added_peak, held_bytes
from pushforward.transports import Flow, Transport, has_steps, inner_of, with_inner
from pushforward.transports.redrawing import unmet_kept, without_rejection

TIMED_ROUNDS = 7  # Timed rounds
TURN_SECONDS = 1.0  # Approximate time of one model in one round; longer if one sample takes longer
SHORTEST = 0.02  # Seconds; shorter calls are repeated
MOST_CALLS = 100  # Largest number of repeated calls
# Steps of an iterative model whose memory is measured: no more is held at once in many
FEW_STEPS = 6
Sampler = Callable[[int], Any]  # Draws n samples


def most_at_once(data: Dataset) -> int:
    """Return the largest batch size for measuring sampling time and memory."""
    if data.space.as_points:
        return 1000
    return 64


def speed(sample: Sampler, most: int) -> tuple[int, float]:
    """Measure the batch size and seconds per sample, in batches that grow while they save time."""
    sample(1)  # warm-up
    n = 1
    before = math.inf
    while True:
        seconds = _seconds(sample, n)
        growth = 2
        if seconds < TURN_SECONDS:
            seconds = min(seconds, _seconds(sample, n))  # other programs may have slowed it down
            growth = 4
        single = max(seconds / n, 1e-9)
        settled = seconds >= TURN_SECONDS / 4 and single > 0.75 * before
        if n == most or settled or seconds >= 2 * TURN_SECONDS:
            return n, single
        before = single
        n = min(most, n * growth)


def time_in_turns(
    samplers: Mapping[str, Sampler], most: int, turns: int = TIMED_ROUNDS
) -> dict[str, SampleTime]:
    """Time models in alternating rounds, so that other load slows all of them alike."""
    batches = {}
    calls = {}
    seconds: dict[str, list[float]] = {}
    for name, sample in samplers.items():
        batch, single = speed(sample, most)
        batches[name] = batch
        calls[name] = math.ceil(min(MOST_CALLS, SHORTEST / (single * batch)))
        seconds[name] = []
    order = deque(samplers)
    for _ in range(turns):
        for name in order:
            took = _seconds(samplers[name], batches[name], calls[name])
            seconds[name].append(took / (batches[name] * calls[name]))
        order.rotate(-1)
    times = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        times[name] = SampleTime(batches[name], min(values), median, tuple(values))
    return times


def _seconds(sample: Sampler, n: int, calls: int = 1) -> float:
    _wait()
    began = time.perf_counter()
    for _ in range(calls):
        sample(n)
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Count the floating-point operations of ``function(*inputs)``."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


@without_rejection()
def sampling_memory(transport: Transport, n: int) -> int | None:
    """Measure the peak memory of tensors while sampling a batch of n, including the weights.

    Returns:
        Bytes; None if memory cannot be measured.
    """
    added = added_peak(
        lambda: _in_few_steps(transport, FEW_STEPS).sample(n, batch=n), transport.device
    )
    if added is None:
        return None
    return held_bytes(transport) + added


@without_rejection()
def sampling_flops(transport: Transport) -> int:
    """Count the floating-point operations per sample, from solves with one and two steps."""
    short = _in_few_steps(transport, 1)
    long = _in_few_steps(transport, 2)
    if long is transport:
        return flops(batch_of, transport, 1)
    first = flops(batch_of, short, 1)
    second = flops(batch_of, long, 1)
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
    """Measure the sampling cost of each model in batches of at most ``most``."""
    samplers = {name: partial(batch_of, transport) for name, transport in models.items()}
    timings = time_in_turns(samplers, most)
    costs = {}
    for name, transport in models.items():
        flow = inner_of(transport)
        solver = None
        steps = None
        if has_steps(flow):
            solver = solver_title(flow)
            steps = flow.steps
        memory = Memory()
        held = sampling_memory(transport, most)
        if held is not None:
            memory = Memory(held / 2**20, most)
        # other programs can only slow a round down
        seconds = float(np.quantile(timings[name].values, 0.25))
        costs[name] = SamplingCost(
            solver=solver,
            steps=steps,
            calls=transport.calls,
            seconds_per_sample=seconds,
            timing=timings[name],
            flops_per_sample=sampling_flops(transport),
            memory=memory,
        )
    return costs


def batch_of(transport: Transport, n: int) -> torch.Tensor:
    """Sample a batch."""
    with unmet_kept():
        return transport.sample(n, batch=n)


def solver_title(transport: Flow) -> str:
    """Name the solver and time grid of a flow, such as "Heun on the shifted:0.3 grid"."""
    name = type(transport.solver).__name__
    grid = transport.grid
    if grid is None:
        return name
    if isinstance(grid, str):
        return f"{name} on the {grid} grid"
    return f"{name} on its own time grid"
