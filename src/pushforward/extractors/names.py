"""Feature spaces by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pushforward.data.core.dataset import Dataset
from pushforward.errors import UsageError
from pushforward.extractors.extractor import Extractor, OfModule
from pushforward.registries import EXTRACTORS, from_text

# What chooses a feature space: a name, an extractor or a network
Space = str | Extractor | type[Extractor] | nn.Module
# One or several, which may be named by the user; None for the one that suits the data
Spaces = Space | Sequence[Space] | Mapping[str, Space] | None


def register(name: str, extractor: type[Extractor]) -> None:
    """Let evaluations, comparisons and the command line use a further extractor; one that was added before is replaced.

    Raises:
        UsageError: If it is no extractor, or its name belongs to one of the package's own.
    """
    EXTRACTORS.add(name, extractor)


def check_extractor(name: str, extractor: Any) -> None:
    """Refuse what is no extractor, and a name that cannot stand in a list of names."""
    if not (inspect.isclass(extractor) and issubclass(extractor, Extractor)):
        raise UsageError(f"{extractor!r} is not a feature extractor: expected a subclass of pushforward.extractors.Extractor.")
    if set(name) & set(":, ()"):
        raise UsageError(f'The name "{name}" cannot be used for further features. Choose another name.')


def named(name: str) -> Extractor:
    """An extractor by name, as the command line gives it; ``inception:FILE`` and ``efficientnet:224`` set its first argument.

    Raises:
        UsageError: For an unknown name, or an argument that the extractor does not take.
    """
    extractor: Extractor = from_text(EXTRACTORS, name)
    return extractor


def named_extractors(spaces: Spaces) -> dict[str, Extractor]:
    """Extractors by the names that reports show, in their order; empty for None.

    Args:
        spaces: One or several, or several by names of the user's own. A text may hold several names, separated by commas.

    Raises:
        UsageError: For an unknown name, what is neither a name nor an extractor nor a network, or one that comes twice.
    """
    if spaces is None:
        return {}
    if isinstance(spaces, Mapping):
        return {name: _one(part)[1] for name, part in spaces.items()}
    parts = spaces.split(",") if isinstance(spaces, str) else spaces if isinstance(spaces, (list, tuple)) else [spaces]
    if not parts:
        raise UsageError("There are no features to compare in: name some, or leave `features` out.")
    extractors: dict[str, Extractor] = {}
    for part in parts:
        name, extractor = _one(part)
        if name in extractors:
            raise UsageError(f"The features {name} are named twice: name each space once.")
        extractors[name] = extractor
    return extractors


def check_spaces(spaces: Spaces, data: Dataset) -> None:
    """Refuse spaces that are unknown, or that cannot be of this data, before anything is computed.

    Raises:
        UsageError: For an unknown name, or a file of weights that is not there.
        DataError: If an extractor cannot read the data.
        MissingExtra: Without a package that one needs.
    """
    for extractor in named_extractors(spaces).values():
        extractor.check(data)


def _one(part: Any) -> tuple[str, Extractor]:
    if isinstance(part, str):
        return part.strip().partition(":")[0].lower().replace("_", "-"), named(part)
    if inspect.isclass(part) and issubclass(part, Extractor):
        part = part()
    if isinstance(part, nn.Module):
        return type(part).__name__, OfModule(part)
    if isinstance(part, Extractor):
        names = {kind: name for name, kind in EXTRACTORS.items()}
        return names.get(type(part), type(part).__name__.lower()), part
    raise UsageError(f'Expected the name of features, such as "pca", an extractor or a network (nn.Module); got {part!r}.')
