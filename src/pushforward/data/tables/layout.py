"""How the file of a table is laid out, so that samples are written as it is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """The form of a table's file.

    Args:
        separator: Between cells; a blank stands for any run of them.
        header: Whether the first line holds the columns' names.
        missing: The text of a missing value, for each column.
    """

    separator: str = ","
    header: bool = True
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Turn a list into a tuple."""
        object.__setattr__(self, "missing", tuple(map(str, self.missing)))
