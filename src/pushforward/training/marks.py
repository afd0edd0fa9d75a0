"""Which modules have been trained in this process, and where: they are not taken for new ones."""

from __future__ import annotations

from pathlib import Path

from pushforward.methods.method import Method

__all__ = ["mark", "trainings"]

_TRAINED_IN = "_trained_in"
"""The attribute of a module that a trainer has been given: the run's folder. Neither it nor a copy is taken for a new one."""


def mark(folder: Path, *methods: Method) -> None:
    """Remember in the modules of methods that they are trained in a run's folder."""
    for method in methods:
        for module in method.modules():
            setattr(module, _TRAINED_IN, str(folder.absolute()))


def trainings(method: Method) -> tuple[str, ...]:
    """The folders of the runs that have trained modules of a method."""
    marked = [part for part in method.modules() if hasattr(part, _TRAINED_IN) and any(p.requires_grad for p in part.parameters())]
    return tuple(dict.fromkeys(str(getattr(part, _TRAINED_IN)) for part in marked))
