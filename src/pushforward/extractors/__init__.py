"""Feature extractors: the spaces in which generated and real examples are compared."""

from pushforward.extractors.extractor import (
    Extractor,
    OfModule,
    Spaces,
    check_spaces,
    named,
    named_extractors,
    register,
)
from pushforward.extractors.extractor import FeatureSpace as Space

__all__ = [
    "Extractor",
    "OfModule",
    "Space",
    "Spaces",
    "check_spaces",
    "named",
    "named_extractors",
    "register",
]
