"""P-values of several samplings or trainings as a single valid p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["merged_p"]


def merged_p(values: Sequence[float]) -> float:
    """Twice the mean of p-values, at most 1; a single p-value is returned as it is.

    Under the hypothesis it is at most alpha with probability alpha at most, however the p-values depend on each other, as
    those of samplings that share their reference do. Their mean alone is not: it can be up to twice as likely.

    Args:
        values: P-values, each in [0, 1], at least one of them.

    References:
        Rüschendorf, Random variables with maximum sums, 1982. Vovk and Wang, Combining p-values via averaging, 2020,
        arXiv:1212.4966, table 1 and proposition 3.
    """
    return min(1.0, min(len(values), 2) * math.fsum(values) / len(values))
