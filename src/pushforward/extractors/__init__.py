"""Feature extractors: the spaces in which generated and real examples are compared."""

from pushforward.extractors.extractor import (
    Extractor,
    FeatureSpace as Space,
    OfModule,
    Spaces,
    check_spaces,
    named,
    named_extractors,
    register,
)

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
