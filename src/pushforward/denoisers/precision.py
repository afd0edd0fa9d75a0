"""Reduced precision for network calls only; paths, targets, losses and solver states stay float32.

A network is called through `call`, which applies the precision of the caller's context and returns the
precision of its input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch

from pushforward.errors import UsageError

_ACTIVE: ContextVar[torch.dtype | None] = ContextVar("precision", default=None)
_TYPES = {"float32": None, "bfloat16": torch.bfloat16}


@contextlib.contextmanager
def network_precision(name: str) -> Iterator[None]:
    """Within this context networks run in ``name``: "float32" or "bfloat16" (autocast, weights stay float32)."""
    if not isinstance(name, str) or name not in _TYPES:
        raise UsageError(f'Unknown precision "{name}"; choose auto, float32 or bfloat16.')
    token = _ACTIVE.set(_TYPES[name])
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def call(network: Callable[..., Any], *inputs: Any) -> Any:
    """``network(*inputs)`` under the active precision; the result, or each of a list, has the type of the first input."""
    # exported programs are float32; code that reads the context variable cannot be exported
    dtype, first = None if torch.compiler.is_exporting() else _ACTIVE.get(), inputs[0]
    if dtype is None:
        return network(*inputs)
    with torch.autocast(first.device.type, dtype=dtype):
        output = network(*inputs)
        return [part.to(first.dtype) for part in output] if isinstance(output, list) else output.to(first.dtype)


def resolve_precision(name: str, device: torch.device | str) -> str:
    """Turn "auto" into the fast precision of this machine: bfloat16 where the processor computes in it, else float32."""
    if name != "auto":
        with network_precision(name):
            return name
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if has_bfloat16() else "float32"


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16; others emulate it, many times slower than float32."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
