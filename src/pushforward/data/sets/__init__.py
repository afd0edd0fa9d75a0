"""Named data sets, discovered from the files of this folder; `register` adds others.

A file defines `Source`s, or sets `Derived` from others, as variables or in a tuple. They are listed in the order of the files:
images first, then sets derived from others, then vectors.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from pushforward.data.source import Derived, Named
from pushforward.errors import UsageError
from pushforward.plugins import parts_of
from pushforward.spec import check_names

__all__ = ["adopt", "own", "register", "registry"]

_ADDED: dict[str, Named] = {}


@functools.cache
def own() -> dict[str, Named]:
    """The package's own data sets by name."""
    modules = [importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)]
    sets = [part for module in modules for part in parts_of(module, Named)]
    return {part.name: part for part in sorted(sets, key=lambda part: (len(part.shape) == 1, isinstance(part, Derived)))}


def registry() -> dict[str, Named]:
    """Every data set by name: the package's own, then those that `register` added."""
    return own() | _ADDED


def register(*sets: Named) -> None:
    """Let `pushforward.data.load` and the command line find further data sets; one that was added before is replaced.

    Raises:
        UsageError: For a name that belongs to one of the package's own, or that could be a path.
    """
    for part in sets:
        if part.name in own():
            raise UsageError(f'The name "{part.name}" belongs to another data set. Choose another name.')
        if not part.name or set(part.name) & set("/\\") or part.name.endswith((".py", ".csv", ".npy", ".npz")):
            raise UsageError(f'"{part.name}" cannot be the name of a data set: it would be taken for a path.')
        _ADDED[part.name] = part


def adopt(module: ModuleType) -> list[str]:
    """Register the data sets that a module defines; their names."""
    sets = parts_of(module, Named)
    check_names("data set", {part.name: part for part in sets}, _ADDED, module)
    register(*sets)
    return [part.name for part in sets]
