"""Conditions of models, which a space declares by name, each with a kind (`ConditionKind`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.conditions.columns import Columns, Numbers
    from pushforward.conditions.kind import ConditionKind, Request, hidden, mask_of, registry
    from pushforward.conditions.label import Label

__all__ = [
    "Columns",
    "ConditionKind",
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
        "columns": ("Columns", "Numbers"),
        "kind": ("ConditionKind", "hidden", "mask_of", "registry", "Request"),
        "label": ("Label",),
    },
)
