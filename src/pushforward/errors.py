"""Errors of the user's side, each with its exit code of the command line."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from pushforward import synonyms

SURE = 0.75  # The least similarity, from 0 to 1, at which a name of this library is suggested: better none than a wrong one


class PushforwardError(ValueError):
    """Wrong input or a failed run; the message says what happened, what was expected and how to fix it."""

    exit_code = 2


class UsageError(PushforwardError):
    """An option, a name or an argument that cannot be used."""


class DataError(PushforwardError):
    """Data that cannot be read or trained on.

    Args:
        message: The error.
        skipped: (file, reason) of every file that cannot be used, where there are such.
        schema: The schema of what could be read of a table; empty for other errors.
    """

    exit_code = 3

    def __init__(self, message: str, skipped: Iterable[tuple[str, str]] = (), schema: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.skipped = tuple(skipped)
        self.schema = dict(schema or {})


class CheckpointError(PushforwardError):
    """A checkpoint that is missing or damaged, or a disk that refuses to take one.

    Args:
        message: The error.
        before: The name of the checkpoint before a damaged one, such as "step_000500"; None where there is none.
    """

    exit_code = 4

    def __init__(self, message: str, before: str | None = None) -> None:
        super().__init__(message)
        self.before = before


class RunUsageError(CheckpointError):
    """A run that is named wrongly: no run or checkpoint has the name, or a plug-in that it needs is not named."""

    exit_code = 2


class _Failed(PushforwardError):
    """A step that failed.

    Args:
        message: The error.
        step: The step; None where going back does not help.
        what: What happened, without what follows from it.
    """

    def __init__(self, message: str, step: int | None = None, what: str | None = None) -> None:
        super().__init__(message)
        self.step, self.what = step, message if what is None else what


class Diverged(_Failed):
    """A loss, gradient or weight is infinite or not a number, or the logit gap ran away; the last sound checkpoint is kept."""

    exit_code = 5


class OutOfMemory(_Failed):
    """The memory does not suffice for a training step."""

    exit_code = 6


class GroupError(PushforwardError):
    """One of the processes of a training was lost, did not answer in time, or computed something else than the others."""

    exit_code = 1


class MissingExtra(PushforwardError):
    """An optional dependency is not installed; the message holds the pip line."""

    exit_code = 7


def imported(module: str, needed: str, extra: str) -> Any:
    """A module of an optional dependency.

    Args:
        module: Its name.
        needed: The beginning of the message, such as "This needs diffusers, which".
        extra: The extra of this package that installs it.

    Raises:
        MissingExtra: Where it is not installed, with the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{needed} cannot be imported ({error}). Install it: pip install 'pushforward[{extra}]'") from error


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that no part of a kind has, such as ``unknown("recipe", "flwo", names)``."""
    names = list(known)
    return UsageError(f'Unknown {what} "{name}"; known: {", ".join(names)}.{suggestion(name, names)}')


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Suggest a name of this library for a word that it does not know.

    Args:
        word: The word, such as "guidance_scale".
        known: The names that can be used in its place.
        prefix: Written before a name, such as the dashes of an option.

    Returns:
        A sentence after a space, such as ``' Did you mean "scale"?'``, or an empty string. Words of other libraries are
        looked up (`pushforward.synonyms`); others are compared by their spelling (`did_you_mean`).
    """
    listed = synonyms.is_listed(word)
    name = synonyms.name_for(word, known) if listed else closest(word, known, SURE)
    if name is not None:
        return f' Did you mean "{prefix}{name}"?'
    return synonyms.note_on(word)


def did_you_mean(word: str, known: Iterable[str], least: float = 0.6) -> str:
    """A hint such as ``' Did you mean "flow"?'``, or an empty string where nothing known is close to ``word``: see `closest`."""
    name = closest(word, known, least)
    return "" if name is None else f' Did you mean "{name}"?'


def closest(word: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known name that is closest to a word; None where none is close.

    Capital letters do not count. Where no name is close it is the first one that holds the word. ``least`` is the least
    similarity of a close name, from 0 to 1.
    """
    names = {name.lower(): name for name in reversed(list(known))}
    lower = word.lower()
    close = difflib.get_close_matches(lower, names, n=1, cutoff=least)
    close = close or [name for name in reversed(names) if len(lower) >= 3 and lower in name]
    return names[close[0]] if close else None


def quoted(text: str) -> str:
    """A text between quotes of a kind that it does not hold: double ones, else single ones, else typographic ones."""
    first, last = next(((mark, mark) for mark in ('"', "'") if mark not in text), ("“", "”"))
    return f"{first}{text}{last}"
