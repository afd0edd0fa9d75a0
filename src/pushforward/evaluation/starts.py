"""How many different samples a model can make: a flow from a data set makes one of each held-out example of that data set."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pushforward.data import Dataset
from pushforward.evaluation.scoring import compared
from pushforward.training import Run
from pushforward.transports import Transport, has_steps, inner_of

__all__ = ["fitting", "starts", "starts_warnings"]


def starts(model: Run | Transport) -> int | None:
    """The different held-out examples that a flow starts from instead of noise; None for models that start from noise."""
    flow = inner_of(model.transport if isinstance(model, Run) else model)
    if not has_steps(flow) or flow.source is None:
        return None
    return len(torch.unique(flow.source.held_out, dim=0))


def fitting(models: Iterable[Run | Transport], data: Dataset, n: int | None) -> int:
    """How many samples are compared: ``n`` where given, else as many as the data allows and every model can make.

    Raises:
        UsageError: If the data does not allow ``n``; see `compared`.
        DataError: If the data set is too small for any comparison.
    """
    if n:
        return compared(data, n)
    counts = [count for model in models if (count := starts(model)) is not None]
    return max(2, min([compared(data), *counts]))


def starts_warnings(model: Run | Transport, n: int) -> tuple[str, ...]:
    """What a report must say of a model that cannot make ``n`` different samples."""
    count = starts(model)
    if count is None or count >= n:
        return ()
    return (
        f"it starts from {count:,} different held-out examples of its source, so its {n:,} samples repeat, and its scores are "
        f"worse than those of different samples. Compare at most {count:,}: n={count}.",
    )
