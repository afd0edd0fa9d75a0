"""The floor of near-copies: how many training examples have a near-copy among all the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pushforward.data.images.streamed import selected
from pushforward.metrics.memorisation import near_copies

__all__ = ["copied"]


def copied(
    x: np.ndarray, used: NDArray[np.int64], references: Sequence[np.ndarray], scale: np.ndarray | None, part: float
) -> NDArray[np.bool_] | None:
    """Which examples are near-copies of the other examples of a set, as samples of a model are of all training examples.

    A model's samples are compared with the whole training set. Comparing the examples of one redraw with what the redraw leaves
    of it would miss the twins that it takes away. So the examples are judged in as many blocks as there are references, each
    against all examples outside of its block.

    Args:
        x: (k, d) training examples; float32, or uint8 where 255 stands for 1.
        used: Numbers of the examples that are judged, sorted.
        references: Held-out examples (m, d) that set a block's threshold.
        scale: What each column is divided by, (d,).
        part: As `near_copies` has it.

    Returns:
        For each of ``used``; None where a threshold is 0, so that nothing can be said.
    """
    copies = np.zeros(len(used), bool)
    for block, reference in enumerate(references):
        block_places = np.arange(block, len(used), len(references))
        if not len(block_places):
            continue
        others = np.ones(len(x), bool)
        others[used[block_places]] = False
        examples = x[used[block_places]].astype(np.float32)
        examples = examples / np.float32(255) if x.dtype == np.uint8 else examples
        copies[block_places], threshold = near_copies(examples, selected(x, others), reference, scale, part)
        if threshold == 0:
            return None
    return copies
