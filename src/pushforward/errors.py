"""Errors that a user can fix, each with its exit code on the command line."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from pushforward import synonyms

SURE = 0.75  # Similarity, from 0 to 1, at which a name is suggested: better none than a wrong one


class PushforwardError(ValueError):
    """Base class of errors that a user can fix."""

    exit_code = 2


class UsageError(PushforwardError):
    """Raised for an invalid option, name or argument."""


class DataError(PushforwardError):
    """Raised if data cannot be read or used for training.

    Args:
        message: Error message.
        skipped: Pairs (file, reason) for unusable files, if any.
        schema: Schema of what could be read of a table.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        skipped: Iterable[tuple[str, str]] = (),
        schema: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.skipped = tuple(skipped)
        self.schema = dict(schema or {})


class CheckpointError(PushforwardError):
    """Raised if a checkpoint is missing or damaged, or cannot be written.

    ``before`` names the checkpoint before a damaged one.
    """

    exit_code = 4

    def __init__(self, message: str, before: str | None = None) -> None:
        super().__init__(message)
        self.before = before


class RunUsageError(CheckpointError):
    """Raised if a run or checkpoint does not exist, or a plug-in is not named."""

    exit_code = 2


class _Failed(PushforwardError):
    def __init__(self, message: str, step: int | None = None, what: str | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.what = message if what is None else what


class Diverged(_Failed):
    """Raised if a loss, gradient or weight is not finite; the last valid checkpoint is kept."""

    exit_code = 5


class OutOfMemory(_Failed):
    """Raised if a training step runs out of memory."""

    exit_code = 6


class GroupError(PushforwardError):
    """Raised if a training process is lost, or differs from the others."""

    exit_code = 1


class MissingExtra(PushforwardError):
    """Raised if an optional dependency is not installed."""

    exit_code = 7


def imported(module: str, needed: str, extra: str) -> Any:
    """Import a module of an extra; ``needed`` begins the error."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{needed} ({error}). To install it: pip install 'pushforward[{extra}]'"
        ) from error


def unknown(what: str, name: str, known: Iterable[str], of: str = "") -> UsageError:
    """Build the error for an unknown name, such as ``unknown("recipe", "flwo", names)``."""
    names = list(known)
    hint = suggestion(str(name), names)
    return UsageError(f'Unknown {what} "{name}"{of}; known: {", ".join(names)}.{hint}')


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Suggest a name of this library, as a sentence after a space, or return "".

    Words of other libraries are looked up; others are compared by their spelling.
    """
    if not synonyms.is_listed(word):
        return did_you_mean(word, known, SURE, prefix)
    names = [f'"{prefix}{name}"' for name in synonyms.names_for(word, known)]
    if names:
        return f" Did you mean {' or '.join(names)}?"
    return synonyms.note_on(word)


def did_you_mean(word: str, known: Iterable[str], least: float = 0.6, prefix: str = "") -> str:
    """Return a hint such as ``' Did you mean "flow"?'``, or ""."""
    name = closest(word, known, least)
    if name is None:
        return ""
    return f' Did you mean "{prefix}{name}"?'


def closest(word: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """Return the known name closest to a word, else the first that contains it."""
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(name.lower(), name)
    lower = word.lower()
    close = difflib.get_close_matches(lower, names, n=1, cutoff=least)
    if not close and len(lower) >= 3:
        close = [name for name in names if lower in name]
    if close:
        return names[close[0]]
    return None


def quoted(text: str) -> str:
    """Quote a text with marks that it does not contain."""
    for mark in ('"', "'"):
        if mark not in text:
            return f"{mark}{text}{mark}"
    return f"“{text}”"
