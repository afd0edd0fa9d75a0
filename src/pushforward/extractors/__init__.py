"""Feature extractors: the spaces in which generated and real examples are compared.

Each file of this folder holds one, and `registry` finds it there: a new extractor is one new file. One's own is a subclass of
`Extractor`, added by `register` or a plug-in, or any network, handed over as it is.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from torch import nn

from pushforward.data.dataset import Dataset
from pushforward.errors import UsageError, did_you_mean
from pushforward.extractors.extractor import Extractor, OfModule
from pushforward.spec import check_names, classes_of

__all__ = [
    "Extractor",
    "OfModule",
    "Space",
    "Spaces",
    "adopt",
    "check_spaces",
    "named",
    "named_extractors",
    "register",
    "registry",
]

Space = str | Extractor | type[Extractor] | nn.Module
"""What chooses a feature space: a name, an extractor or a network."""
Spaces = Space | Sequence[Space] | Mapping[str, Space] | None
"""One or several, which may be named by the user; None for the one that suits the data."""

_ADDED: dict[str, type[Extractor]] = {}
_OTHER_NAMES = {
    "self-supervised": ("vicreg", "simsiam", "byol", "ssl", "selfsupervised", "unlabelled", "unlabeled"),
    "raw": ("pixels", "pixel", "none", "columns", "identity"),
    "pca": ("principal-components", "principal"),
    "inception": ("fid", "inception-v3", "inceptionv3", "torch-fidelity"),
    "efficientnet": ("lite0", "efficientnet-lite0", "imagenet", "pretrained"),
    "classifier": ("labels", "supervised", "lenet"),
}
"""What else extractors are called."""


def _own() -> dict[str, type[Extractor]]:
    modules = ((entry.name, importlib.import_module(f"{__name__}.{entry.name}")) for entry in pkgutil.iter_modules(__path__))
    parts = {name: list(classes_of(module, Extractor).values()) for name, module in modules if name != "extractor"}
    return {name.replace("_", "-"): classes[0] for name, classes in parts.items() if classes}


def registry() -> dict[str, type[Extractor]]:
    """Every feature extractor by the name of its file, then those that `register` added."""
    return _own() | _ADDED


def register(name: str, extractor: type[Extractor]) -> None:
    """Let evaluations, comparisons and the command line use a further extractor; one that was added before is replaced.

    Raises:
        UsageError: If it is no extractor, or its name belongs to one of the package's own.
    """
    if not (inspect.isclass(extractor) and issubclass(extractor, Extractor)):
        raise UsageError(f"{extractor!r} is not a feature extractor: expected a subclass of pushforward.extractors.Extractor.")
    if name in _own() or set(name) & set(":, ()"):
        raise UsageError(f'The name "{name}" cannot be used for further features. Choose another name.')
    _ADDED[name] = extractor


def adopt(module: ModuleType) -> list[str]:
    """Register the extractors that a module defines, by the lower-case names of their classes; these names."""
    parts = {name.lower(): part for name, part in classes_of(module, Extractor).items()}
    check_names("feature extractor", parts, _ADDED, module)
    for name, part in parts.items():
        register(name, part)
    return list(parts)


def named(name: str) -> Extractor:
    """An extractor by name, as the command line gives it; ``inception:FILE`` and ``efficientnet:224`` set its first argument.

    Raises:
        UsageError: For an unknown name, or an argument that the extractor does not take.
    """
    known, (word, _, value) = registry(), name.strip().partition(":")
    word = word.lower().replace("_", "-")
    if word not in known:
        hint = next((f' Did you mean "{own}"?' for own, others in _OTHER_NAMES.items() if word in others), "")
        raise UsageError(f'Unknown features "{name}"; known: {", ".join(known)}.{hint or did_you_mean(word, known)}')
    if not value:
        return known[word]()
    arguments = list(inspect.signature(known[word]).parameters.values())
    if not arguments:
        raise UsageError(f'The features "{word}" take no argument; write `features={word}`.')
    factory: Callable[[Any], Extractor] = known[word]
    if not isinstance(arguments[0].default, int):
        return factory(value)
    try:
        number = int(value)
    except ValueError:
        raise UsageError(f'"{value}" in the features "{name}" is no whole number; write `features={word}:128`.') from None
    return factory(number)


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
    """The name of a space, and its extractor."""
    if isinstance(part, str):
        return part.strip().partition(":")[0].lower().replace("_", "-"), named(part)
    if inspect.isclass(part) and issubclass(part, Extractor):
        part = part()
    if isinstance(part, nn.Module):
        return type(part).__name__, OfModule(part)
    if isinstance(part, Extractor):
        names = {kind: name for name, kind in registry().items()}
        return names.get(type(part), type(part).__name__.lower()), part
    raise UsageError(f'Expected the name of features, such as "pca", an extractor or a network (nn.Module); got {part!r}.')
