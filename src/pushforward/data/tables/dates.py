"""Patterns of dates, by which a column of dates is known."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pushforward.data.tables.format import Format

__all__ = ["as_written", "patterns"]

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
_LOOSE = ("%-d/%-m/%Y", "%-m/%-d/%Y", "%-d.%-m.%Y", "%Y/%-m/%-d", "%Y-%-m-%-d")
_WORDS = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%Y-%b-%d")
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
_LOOSE_TIMES = ("%-H:%M", "%-H:%M:%S")
_ALL = (
    *_DAYS,
    *(f"{day}{gap}{time}{zone}" for day in _DAYS for gap in " T" for time in _TIMES for zone in ("", "Z")),
    *_LOOSE,
    *(f"{day} {time}" for day in (*_LOOSE, *_DAYS) for time in (*_TIMES, *_LOOSE_TIMES)),
    *_WORDS,
    "%Y-%m",
    *_TIMES,
    *_LOOSE_TIMES,
)
_LIKE = re.compile(r"(?=.*\d)[\d:T.Z/ ,-]*(?:[A-Za-z]{3,9}[\d:T.Z/ ,-]*)?$")
"""Texts that may be dates; others need no trial."""
_FIRST = 50


def patterns(texts: Sequence[str]) -> list[str]:
    """The patterns that read and write every one of some texts unchanged, the preferred one first.

    Args:
        texts: Different cells, at least one.
    """
    if not all(_LIKE.match(text) for text in texts[:_FIRST]):
        return []
    fitting = [pattern for pattern in dict.fromkeys(_ALL) if _fits(pattern, texts[:_FIRST])]
    return [pattern for pattern in fitting if _fits(pattern, texts)]


def as_written(pattern: str, texts: Sequence[str]) -> str:
    """A pattern, or the same without zeros before days, months and hours where all texts are written so.

    Args:
        pattern: That reads the texts; %d reads 1 as well as 01.
        texts: Different cells.
    """
    loose = re.sub("%([dmH])", r"%-\1", pattern)
    return loose if not _fits(pattern, texts) and _fits(loose, texts) else pattern


def _fits(pattern: str, texts: Sequence[str]) -> bool:
    form = Format(pattern=pattern)
    return all(not math.isnan(value := form.value(text)) and form.cell(value) == text for text in texts)
