"""How the file of a table is laid out, so that samples are written as it is."""

from __future__ import annotations

from dataclasses import dataclass

from pushforward.errors import DataError

__all__ = ["Layout"]

LONGEST = 1000
"""The most characters of the text of a missing value."""


@dataclass(frozen=True)
class Layout:
    """The form of a table's file.

    Args:
        separator: Between cells; a blank stands for any run of them.
        header: Whether the first line holds the columns' names.
        missing: The text of a missing value, for each column.
        types: The type of each column of a frame, as `frame_types.type_of` or `polars_frames.polars_type` writes it; empty for
            files of text.
        levels: The texts of the levels of each of its columns that is a category, in their order; () for the others.

    Raises:
        DataError: For another separator than one character, or a longer text than `LONGEST`.
    """

    separator: str = ","
    header: bool = True
    missing: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Turn a list into a tuple, and check that a file can be written."""
        object.__setattr__(self, "missing", tuple(map(str, self.missing)))
        object.__setattr__(self, "types", tuple(map(str, self.types)))
        object.__setattr__(self, "levels", tuple(tuple(map(str, texts)) for texts in self.levels))
        if len(self.levels) != len(self.types) or any(len(text) > LONGEST for text in self.types):
            raise DataError(f"The layout of a frame has {len(self.types)} types and {len(self.levels)} lists of levels.")
        if len(self.separator) != 1 or any(len(text) > LONGEST for text in self.missing):
            raise DataError(f"A table's cells are separated by one character, and missing values have at most {LONGEST}.")
