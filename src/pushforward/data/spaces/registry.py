"""The kinds of data that there are: those of `pushforward.data.spaces`, then those of plug-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from pushforward import spec
from pushforward.conditions.kind import ConditionKind
from pushforward.data.spaces.space import Space
from pushforward.errors import DataError
from pushforward.registries import at

_OWN = ("image:ImageSpace", "table:TableSpace", "vector:VectorSpace")


def kinds() -> tuple[type[Space], ...]:
    """Every kind of data, in the order in which `accepts` is called."""
    return (*(at(f"data.spaces.{home}") for home in _OWN), *spec.plugins(Space))


def kind_of(x: NDArray[Any]) -> type[Space]:
    """The kind of data that an array (n, *shape) holds: the first that accepts it.

    Raises:
        DataError: If none does.
    """
    for kind in kinds():
        if kind.accepts(x):
            return kind
    known = ", or ".join(kind.stores() for kind in kinds())
    raise DataError(f"Examples of type {x.dtype} and shape {x.shape}: expected {known}.")


def measure(
    x: NDArray[Any],
    conditions: Mapping[str, ConditionKind] | None = None,
    *,
    columns: Sequence[str] = (),
    integer: Sequence[int] = (),
) -> Space:
    """Measure a space on a training split.

    Args:
        x: images uint8 (n, C, H, W), where 255 means 1, vectors float32 (n, d), or any array that a plug-in's space accepts.
        conditions: kinds of condition by name.
        columns: column names.
        integer: numbers of the whole-number columns.

    Returns:
        The space, of the first kind that accepts the array; the standard deviation is the population's (divided by n).

    Raises:
        DataError: If no kind of data accepts the array.
    """
    names: dict[str, Any] = {"columns": tuple(columns)} if columns else {}
    names |= {"integer": tuple(integer)} if integer else {}
    return kind_of(x).measured(x, conditions=conditions or {}, **names)
