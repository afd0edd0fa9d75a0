"""What a model costs: parameters, arithmetic, memory and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pushforward.training.memory import peak_memory

__all__ = ["flops", "named_parameters", "parameters", "peak_memory", "seconds_per_sample"]


def parameters(module: nn.Module) -> int:
    """The numbers that training sets; a tensor that two parts share counts once."""
    return sum(one.numel() for one in module.parameters())


def named_parameters(module: nn.Module) -> list[int]:
    """The identity of each parameter tensor, to find out whether two modules share some."""
    return [id(one) for one in module.parameters()]


def flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Floating point operations of matrix products, convolutions and attention in ``function(*inputs)``.

    A multiplication and an addition count as two. Element-wise work is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


def seconds_per_sample(sample: Callable[[int], Any], n: int, repeats: int = 3) -> float:
    """The median time of one sample over ``repeats`` calls of ``sample(n)``, after one call that warms up.

    Args:
        sample: Makes n samples.
        n: How many at once; a batch is faster per sample than a single one.
        repeats: Timed calls.
    """
    sample(min(n, 2))
    times = []
    for _ in range(repeats):
        _wait()
        began = time.perf_counter()
        sample(n)
        _wait()
        times.append((time.perf_counter() - began) / n)
    return statistics.median(times)


def _wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
