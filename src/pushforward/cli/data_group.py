"""The options that say how a data source is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

__all__ = ["DATA", "Flag", "Header", "Reading"]

DATA = Group("Data", sort_key=20)
Header = Literal["yes", "no"]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


@Parameter(name="*", group=DATA)
@dataclass(frozen=True)
class Reading:
    """How a data source is read.

    Args:
        target: A table's column to predict, or vectors' label.
        given: Columns of numbers that are given, not generated: age,income. NAME:KIND names a kind of condition.
        header: The first line of a table holds names: yes or no.
        resize: Make images this wide and high.
        limit: Use at most this many training examples.
        download: Fetch a named data set that is not there yet.
        stream: Read images from disk as they are needed.
        workers: Threads that read batches from disk ahead; default 1.
        columns: Columns of a table to keep: age,sex; or names for all.
        drop: Columns of a table to leave out: id,note.
        missing: Cells without a value, in place of the usual: "?,NA".
        schema: A table's kinds: data check --write-schema FILE.
        constraint: Rows meet it: "end >= start", 'sex != "X"'. Repeatable.
        table: A .csv of plain numbers is a table: yes or no.
        copies: Equal rows of a table are split together or apart.
    """

    target: str | None = None
    given: str | None = None
    header: Annotated[Header | None, Parameter(show_choices=False)] = None
    resize: int | None = None
    limit: int | None = None
    download: Flag = False
    stream: Flag = False
    workers: int | None = None
    columns: str | None = None
    drop: str | None = None
    missing: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    schema: str | None = None
    constraint: Annotated[tuple[str, ...], Parameter(negative_iterable=(), consume_multiple=False, show_default=False)] = ()
    table: Annotated[Header | None, Parameter(show_choices=False)] = None
    copies: Annotated[Literal["together", "apart"] | None, Parameter(show_choices=False)] = None
