"""What a denoiser of tables is given of rows, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.draws import Draws


@dataclass(frozen=True)
class Given:
    """Columns whose values are given.

    Args:
        x: Coordinates in data units, (n, d).
        known: Which columns, bool (n, columns).
        hide: In which examples the network does not see them, for guidance, bool (n,); None is in none.
        present: Which columns are not missing, bool (n, columns); None where nothing is known of that.
    """

    x: Tensor
    known: Tensor
    hide: Tensor | None = None
    present: Tensor | None = None


@dataclass(frozen=True)
class RowEstimate:
    """What the network says of rows.

    Args:
        v: Of scores, (n, d); without meaning at indicators.
        log_probabilities: Of indicators, (n, d); 0 at scores.
    """

    v: Tensor
    log_probabilities: Tensor


@dataclass(frozen=True)
class RowErrors:
    """The errors of rows by column, (n, columns) each.

    Args:
        indicators: Cross-entropy of the block over the entropy of its shares; 0 without one.
        scores: Squared error of v, where the score counts; 0 without one.
    """

    indicators: Tensor
    scores: Tensor


def known_columns(draws: Draws, columns: int, share: float) -> Tensor:
    """Which columns are given, bool (n, columns): in a share of the rows a part of them that is uniform in [0, 1], else none."""
    part = (draws.uniform() - (1 - share)).clamp(min=0) / max(share, 1e-9)
    return torch.special.ndtr(draws.normal((columns,))) < part[:, None]
