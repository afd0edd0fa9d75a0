"""Warnings that point to the line of the user's program."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

__all__ = ["warn"]

_PACKAGE = os.path.dirname(__file__) + os.sep


def warn(sentences: str) -> None:
    """Warn, as ``warnings.warn`` does, at the line that called the library, however deep inside of it this is called."""
    frame: FrameType | None = sys._getframe(1)
    level = depth = 1
    while frame is not None:
        depth += 1
        if frame.f_code.co_filename.startswith(_PACKAGE):
            level = depth
        frame = frame.f_back
    warnings.warn(sentences, stacklevel=level + 1)
