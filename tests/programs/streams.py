"""Who draws from which stream of a training."""

from __future__ import annotations

import collections
import contextlib
import sys
from pathlib import Path
from unittest.mock import patch

from pushforward.draws import BlockDraws


@contextlib.contextmanager
def consumers():
    """A dict, filled within: for each stream, the functions that have drawn from it, each with its file."""
    drawn = collections.defaultdict(set)

    def noted(call):
        def draw(draws, *arguments):
            frame = sys._getframe(1)
            drawn[draws.name].add(f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}")
            return call(draws, *arguments)

        return draw

    with (
        patch.object(BlockDraws, "normal", noted(BlockDraws.normal)),
        patch.object(BlockDraws, "uniform", noted(BlockDraws.uniform)),
    ):
        yield drawn
