"""Transports: z -> x, all that sampling, evaluation, comparison and export ever see.

Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.transports.flow import (
        Autoencoder,
        Flow,
        Latent,
        Map,
        has_levels,
        has_steps,
        inner_of,
        starts,
        with_inner,
    )
    from pushforward.transports.transport import (
        BATCH,
        ConditionLike,
        Transport,
        as_examples,
        check_transport,
    )

__all__ = [
    "BATCH",
    "Autoencoder",
    "ConditionLike",
    "Flow",
    "Latent",
    "Map",
    "Transport",
    "as_examples",
    "check_transport",
    "has_levels",
    "has_steps",
    "inner_of",
    "starts",
    "with_inner",
]

__getattr__ = exports(
    __name__,
    {
        "flow": (
            "Autoencoder",
            "Flow",
            "Latent",
            "Map",
            "has_levels",
            "has_steps",
            "inner_of",
            "starts",
            "with_inner",
        ),
        "transport": ("BATCH", "ConditionLike", "Transport", "as_examples", "check_transport"),
    },
)
