"""Conditions of models. A space declares them by name, and each has a kind (`ConditionKind`).

Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.conditions.columns import Columns, Known
    from pushforward.conditions.kind import ConditionKind, hidden, mask_of, registry
    from pushforward.conditions.label import Label
    from pushforward.conditions.numbers import Numbers
    from pushforward.conditions.requests import Request

__all__ = [
    "Columns",
    "ConditionKind",
    "Known",
    "Label",
    "Numbers",
    "Request",
    "hidden",
    "mask_of",
    "registry",
]

__getattr__ = exports(
    __name__,
    {
        "columns": ("Columns", "Known"),
        "kind": ("ConditionKind", "hidden", "mask_of", "registry"),
        "label": ("Label",),
        "numbers": ("Numbers",),
        "requests": ("Request",),
    },
)
