"""Objects as plain data: a part is its class name and its constructor's arguments.

Attributes keep their arguments' names, so a run stores its parts as JSON and is rebuilt from them. Only classes of
this package and of plugins that the user has named can be rebuilt: a file cannot make the library import anything else.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import os
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pushforward.errors import CheckpointError, UsageError
from pushforward.registries import PARTS, concrete

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLAIN = (str, int, float, bool, type(None))


def registered() -> Mapping[str, type]:
    """Return every class that a spec may name, including classes of plugins."""
    return PARTS


def register(*parts: type) -> None:
    """Let specs name further classes, such as a user's networks and methods.

    Args:
        parts: Classes whose attributes keep their constructor arguments' names.

    Raises:
        UsageError: If a class has the name of a class of the package.
    """
    for part in parts:
        PARTS.add(part.__name__, part)


def plugins(kind: type) -> list[type]:
    """Return the registered concrete classes of ``kind``, in order of registration."""
    return list(concrete(PARTS.added, kind).values())


def describe(value: Any) -> Any:
    """Describe a part as plain JSON data; numbers, strings, lists and dicts are unchanged.

    An object that does not keep its arguments is described only by its class name, so `build`
    cannot rebuild it; neither can it rebuild "your own UNet", whose class only has the name of a
    registered class. A class imported from the file of a plug-in is the class of the plug-in.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(name): describe(item) for name, item in value.items()}
    part = type(value)
    name = part.__name__
    if name in PARTS and _home(PARTS[name]) != _home(part):
        name = f"your own {name}"
    try:
        arguments = {
            p.name: describe(getattr(value, p.name))
            for p in inspect.signature(part).parameters.values()
            if p.kind in _NAMED
        }
    except (
        AttributeError,
        ValueError,
    ):  # ValueError: a class without a signature, such as a tensor's
        return {"part": name, "opaque": True}
    return {"part": name, **arguments}


def _home(part: type) -> tuple[Any, str]:
    """Return the file and the qualified name of a class, or the class itself if it was not read from a file."""
    file = getattr(sys.modules.get(part.__module__), "__file__", None)
    return (os.path.realpath(file) if file else part), part.__qualname__


ALONE = "This run cannot be rebuilt from its folder alone"
PASS = "pass the network: pf.load(run, network=...), or the whole method: pf.load(run, method=...)."


def build(spec: Any, check: bool = False, place: str = "the method") -> Any:
    """Build the object that `describe` described.

    Args:
        spec: The description.
        check: Whether to only check that all values and classes can be built.
        place: Location of the description, for messages.

    Raises:
        CheckpointError: If the spec names an unknown class or arguments that it does not take.
    """
    if isinstance(spec, list):
        return [build(item, check, place) for item in spec]
    if not isinstance(spec, dict):
        return spec
    name = spec.get("part")
    arguments = {}
    inside = place
    for key, item in spec.items():
        if "part" in spec:
            inside = f'the argument "{key}" of {name!s:.60}'
        if key != "part":
            arguments[key] = build(item, check, inside)
    if "part" not in spec:
        return arguments
    if spec.get("opaque"):
        raise CheckpointError(
            f"{ALONE}: {place} is a {name!s:.60}. A run can store numbers, strings, lists, dicts, "
            "and objects that "
            "keep their constructor arguments as attributes with the same names (self.width = "
            "width). Use these, or "
            f"{PASS}"
        )
    if not isinstance(name, str) or name not in PARTS:
        raise CheckpointError(
            f"{ALONE}: {name!s:.60} is not a class of pushforward. Name the file that defines it: "
            f"`plugins=[FILE.py]`, or {PASS}"
        )
    if check:
        return None
    part = PARTS[name]
    if (
        part.__module__.startswith("pushforward.")
        and (wrong := misfit(part, arguments)) is not None
    ):
        raise CheckpointError(
            f"The run's spec does not fit {name} of this version: {wrong} is not one of its values."
        )
    try:
        return part(**arguments)
    except TypeError as error:
        raise CheckpointError(
            f"The run's spec does not fit {name} of this version: {error}."
        ) from error


def with_network(content: dict[str, Any], network: Any) -> dict[str, Any]:
    """Return a run's spec with copies of a network instead of its description; unchanged for None.

    Raises:
        UsageError: If the spec does not describe a network of this class and these arguments.
    """
    if network is None:
        return content
    described = describe(network)
    before = {
        **described,
        "part": type(network).__name__,
    }  # how earlier versions described "your own UNet"
    others = []

    def completed(part: dict[str, Any]) -> dict[str, Any]:
        stored = part.get("network")
        if stored in (described, before):
            part["network"] = copy.deepcopy(network)
        elif isinstance(stored, dict):
            others.append(stored)
        return part

    complete: dict[str, Any] = json.loads(json.dumps(content), object_hook=completed)
    if complete == content:
        stored = ", ".join(map(str, others)) or "none"
        unknown = " (opaque: its arguments were not stored)" if "'opaque'" in stored else ""
        raise UsageError(
            f"Got `network` {described}; this run was trained with another one: {stored}{unknown}. "
            "Build the network as for training, from the same class."
        )
    return complete


_WIDER: dict[Any, tuple[type, ...]] = {
    float: (int, float),
    tuple: (tuple, list),
}  # What JSON gives for a type


def misfit(part: type, arguments: Mapping[str, Any]) -> str | None:
    """Return the first argument that does not fit its annotation, as ``name=value``; None if all fit, or it is unknown."""
    hints = _hints(part)
    wrong = [
        name for name, value in arguments.items() if name in hints and not _fits(value, hints[name])
    ]
    if wrong:
        return f"{wrong[0]}={arguments[wrong[0]]!r:.60}"
    return None


@functools.cache
def _hints(part: type) -> dict[str, Any]:
    try:
        hints = get_type_hints(part.__init__)  # type: ignore[misc]
        return {
            name: hint for name, hint in hints.items() if name in inspect.signature(part).parameters
        }
    except (NameError, TypeError, ValueError, AttributeError):
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    parts = get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    kind = hint if origin is None else origin
    if not inspect.isclass(kind) or kind is object:
        return value is None or kind is not type(None)
    if isinstance(value, bool) and kind in (int, float):
        return kind is int  # True is stored where a whole number was meant
    try:
        known = isinstance(value, _WIDER.get(kind, kind))
    except TypeError:  # a protocol, which says nothing at run time
        return True
    return known and _hold(value, kind, parts)


def _hold(value: Any, kind: type, parts: tuple[Any, ...]) -> bool:
    if not parts or isinstance(value, str):
        return not (isinstance(value, str) and kind is Sequence)
    if isinstance(value, Mapping):
        return all(_fits(name, parts[0]) and _fits(item, parts[-1]) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        several = kind is tuple and len(parts) > 1 and parts[1] is not Ellipsis
        if several:
            return len(value) == len(parts) and all(map(_fits, value, parts))
        return all(_fits(item, parts[0]) for item in value)
    return True
