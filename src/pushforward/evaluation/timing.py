"""Time per sample, in batches large enough that a fixed time per call hardly matters."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch

from pushforward.evaluation.measurements import SampleTime

TURNS = 7  # Timed rounds
TURN_SECONDS = 1.0  # Approximate time of one model in one round; longer if one sample takes longer
SHORTEST = 0.02  # Seconds; shorter calls are repeated
MOST_CALLS = 100  # Largest number of repeated calls
Sampler = Callable[[int], Any]  # Draws n samples


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
    samplers: Mapping[str, Sampler], most: int, turns: int | None = None
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
    for _ in range(turns or TURNS):
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
