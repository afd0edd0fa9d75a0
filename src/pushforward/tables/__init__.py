"""Tables of mixed types.

All that is special to this kind of data, which other packages reach through `Space`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.tables.column import Column
    from pushforward.tables.columns import Category, Number

__all__ = ["Category", "Column", "Number"]

__getattr__ = exports(__name__, {"column": ("Column",), "columns": ("Category", "Number")})
