"""Time per sample, in batches large enough that a fixed time per call hardly matters."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from pushforward.evaluation.measurements import SampleTime

TURNS = 7  # Timed rounds
TURN_SECONDS = 1.0  # Approximate time of one model in one round; longer if one sample takes longer
SHORTEST = 0.02  # Seconds; shorter calls are repeated, so that a clock can time them
MOST_CALLS = 100  # Largest number of repeated calls


def speed(sample: Callable[[int], Any], most: int) -> tuple[int, float]:
    """Measure the seconds per sample, in batches that grow until a fixed time per call hardly matters.

    Args:
        sample: Function that draws n samples.
        most: Largest batch size; smaller if larger ones save less than a quarter per sample, or take long.

    Returns:
        Batch size and seconds per sample.
    """
    sample(1)  # warms it up
    n = 1
    before = math.inf
    while True:
        seconds = _seconds(sample, n)
        if seconds < TURN_SECONDS:
            seconds = min(seconds, _seconds(sample, n))  # other programs may have slowed it down
        single = max(seconds / n, 1e-9)
        settled = seconds >= TURN_SECONDS / 4 and single > 0.75 * before
        if n == most or settled or seconds >= 2 * TURN_SECONDS:
            return n, single
        before = single
        n = min(most, n * (4 if seconds < TURN_SECONDS else 2))


def time_in_turns(
    samplers: Mapping[str, Callable[[int], Any]], most: int, turns: int | None = None
) -> dict[str, SampleTime]:
    """Time several models in alternating rounds, so that other load on the machine slows all of them alike.

    Args:
        samplers: Functions that draw n samples, by name.
        most: Largest batch size; smaller as in `speed`.
        turns: Number of timed rounds; None for `TURNS`.

    Returns:
        Times by name.
    """
    batches = {}
    calls = {}
    for name, sample in samplers.items():
        batches[name], single = speed(sample, most)
        calls[name] = math.ceil(min(MOST_CALLS, SHORTEST / (single * batches[name])))
    names = list(samplers)
    seconds = {name: list[float]() for name in samplers}
    for turn in range(turns or TURNS):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            samples = batches[name] * calls[name]
            seconds[name].append(_seconds(samplers[name], batches[name], calls[name]) / samples)
    return {
        name: SampleTime(batches[name], min(values), statistics.median(values), tuple(values))
        for name, values in seconds.items()
    }


def _seconds(sample: Callable[[int], Any], n: int, calls: int = 1) -> float:
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    wait: Callable[[], Any] = torch.cuda.synchronize if cuda else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(calls):
        sample(n)
    wait()
    return time.perf_counter() - began
