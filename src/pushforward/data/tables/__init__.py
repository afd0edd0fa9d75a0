"""Columns of tables with mixed types: their kinds, their encoding as coordinates, and how cells are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.data.tables.columns import Category, Number
    from pushforward.table_column import Column

__all__ = ["Category", "Column", "Number"]

# Column is in pushforward.table_column, from where number.py takes it
__getattr__ = exports(__name__, {"columns": ("Category", "Column", "Number")})
