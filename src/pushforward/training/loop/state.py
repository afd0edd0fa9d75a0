"""What ``state.json`` of a checkpoint must say, checked before any of it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MOST = 1 << 62
"""Above every counter."""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _is_amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _are_stages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(stage, dict) for stage in value)


NEEDED: dict[str, Callable[[Any], bool]] = {
    "step": _is_count,
    "samples": _is_count,
    "seconds": _is_amount,
    "total": _or_none(_is_count),
}
MAY: dict[str, Callable[[Any], bool]] = {
    "stages": _are_stages,
    "warmed": _is_amount,
    "budget": lambda value: isinstance(value, dict),
    "spec_sha256": lambda value: isinstance(value, str),
    "precision": lambda value: isinstance(value, str),
    "batch": _is_count,
    "weights_step": _is_count,
    "trajectories": _or_none(_is_count),
    "store_seconds": _is_amount,
    "peak_memory_mb": _or_none(_is_amount),
}


def wrong_counter(state: Any) -> str | None:
    """The name of the first counter that is missing or of another kind; None where all are as they should be."""
    if not isinstance(state, Mapping):
        return next(iter(NEEDED))
    wrong = [name for name, fits in NEEDED.items() if name not in state or not fits(state[name])]
    return next(iter(wrong + [name for name, fits in MAY.items() if name in state and not fits(state[name])]), None)
