"""Helpers of the checks: reports of broken laws, and parts rebuilt from their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pushforward import spec


class Broken(AssertionError):
    """A part does not obey a law; the message names both."""


@contextmanager
def law(part: Any, says: str) -> Iterator[None]:
    """Name the part and the law in any failed assertion of the block."""
    try:
        yield
    except AssertionError as error:
        raise Broken(f"{type(part).__name__}: {says}. {error}".rstrip()) from error


def built(part: Any, kind: type, *arguments: Any) -> Any:
    """The part, or an object of it where a class is given.

    Raises:
        TypeError: If it is not of this kind.
    """
    thing = part(*arguments) if isinstance(part, type) else part
    if not isinstance(thing, kind):
        raise TypeError(f"Expected a {kind.__name__} or a class of them, got {thing!r}.")
    return thing


def refuses(work: Callable[[], object], error: type[Exception]) -> bool:
    """Whether work ends with this error."""
    try:
        work()
    except error:
        return True
    return False


def rebuilt(part: Any) -> Any:
    """The part made again from its description, as a run on disk makes it; a class of yours is registered for that."""
    kind, name = type(part), type(part).__name__
    known = spec.registered().get(name, kind)
    with law(part, "its class must not bear the name of a part of pushforward"):
        assert known is kind or not known.__module__.startswith("pushforward."), f"{known} has it."
    if not kind.__module__.startswith("pushforward."):
        spec.register(kind)
    return spec.build(spec.describe(part))
