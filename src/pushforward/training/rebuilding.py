"""Building a method from a spec that may come from somebody else: no more memory and work than its weights account for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from pushforward import spec
from pushforward.errors import CheckpointError

__all__ = ["Limited", "check_batch", "check_counts", "stored_bytes"]

SPARE = 128 << 20
"""Bytes that a method may take beyond its weights: a pretrained network of features, tables of a path."""
TIMES = 4
"""Times the bytes of its stored weights (which hold averages and optimisers too) that a method may take."""
CALLS = 50_000
"""Operations of torch while a method is built, and one more for each 100 bytes of stored weights: each layer takes about ten."""
LARGEST = 10_000_000
"""The largest whole number in a spec of a network, a solver or a transport: none is that wide or deep."""
_COUNTED = tuple(f"pushforward.{home}." for home in ("interop", "networks", "solvers", "transports"))
_SHAPED = ("empty", "empty_strided", "full", "ones", "rand", "randint", "randn", "repeat", "zeros")
_LONG = ("arange", "eye", "linspace", "logspace", "randperm", "tril_indices", "triu_indices")
_SIZES = {
    **{f"aten::{prefix}{name}": ("size", "repeats") for name in _SHAPED for prefix in ("", "new_")},
    **{f"aten::{name}": ("n", "m", "end", "steps", "row", "col") for name in _LONG},
}
"""Torch's operations that make as many numbers as they are given, and their arguments that say how many."""


def stored_bytes(*folders: Path) -> int:
    """The bytes of the files in folders and below; a folder that is not there has none."""
    below = (Path(place, name) for folder in folders for place, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(path).st_size for path in below)


def check_counts(content: Any) -> None:
    """Refuse a spec whose networks, solvers or transports have a number that no memory could hold as many layers or steps of.

    Raises:
        CheckpointError: Naming the part and the number.
    """
    known, waiting = spec.registered(), [(content, "")]
    while waiting:
        value, part = waiting.pop()
        if isinstance(value, dict):
            name = value.get("part")
            if isinstance(name, str) and name in known:
                part = name if f"{known[name].__module__}.".startswith(_COUNTED) else ""
            waiting += [(inner, part) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, part) for inner in value]
        elif part and isinstance(value, (int, float)) and not abs(value) <= LARGEST:
            raise CheckpointError(
                f"The run's spec.json gives {part} the number {value:.4g}, which is too large. Restore the file."
            )


def check_batch(training: Mapping[str, Any]) -> None:
    """Refuse a batch that no memory holds, before any of it is drawn.

    Raises:
        CheckpointError: With the number.
    """
    if isinstance(batch := training.get("batch"), (int, float)) and not 0 < batch <= LARGEST:
        raise CheckpointError(f"The run's spec.json gives a batch of {batch:.4g} examples. Restore the file.")


class Limited(TorchDispatchMode):
    """Within this context torch makes no more numbers, and does no more, than the weights of a run account for.

    Args:
        stored: Bytes of the run's weights; None for a run that has saved none, which may take this machine's memory.

    Raises:
        CheckpointError: Inside, before more memory is taken.
    """

    def __init__(self, stored: int | None) -> None:
        super().__init__()
        self.most = _memory() if stored is None else SPARE + TIMES * stored
        self.calls = math.inf if stored is None else CALLS + stored // 100
        self._bytes, self._calls = 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler for that, which takes a second, before the first operation is counted."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, and the numbers that it is to make."""
        given = kwargs or {}
        self._calls += 1
        self._bytes += 4 * _wanted(func, args, given)
        if self._bytes > self.most or self._calls > self.calls:
            what = f"over {self.most >> 20:,} MiB of memory" if self._bytes > self.most else "far more layers"
            raise CheckpointError(
                f"The run's spec.json describes a method that would take {what}, which the weights of this run do not account "
                "for. Restore the file. If the run is your own, and its method makes large tables that are not saved, "
                "hand the method over, which is not limited: pf.load(run, method=...) or pf.resume(run, method=...)."
            )
        return func(*args, **given)


def _wanted(func: Any, args: Any, given: Mapping[str, Any]) -> int:
    """How many numbers an operation is to make, where its arguments say so."""
    names = _SIZES.get(func._schema.name)
    if names is None:
        return 0
    named = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | dict(given)
    sizes = [_product(named[name]) for name in names if name in named]
    return math.prod(sizes) ** (2 if func._schema.name == "aten::eye" and len(sizes) == 1 else 1)


def _product(size: Any) -> int:
    parts: Iterable[Any] = size if isinstance(size, (list, tuple)) else [size]
    return math.prod(int(part) for part in parts if isinstance(part, (int, float)) and math.isfinite(part))


def _memory() -> int:
    """Bytes of this machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 40
