"""Objects as plain data: a part is its class name and its constructor's arguments.

Only classes of this package, and of plug-ins that the user has named, can be rebuilt from JSON: a
file cannot make the library import anything else.
"""

from __future__ import annotations

import copy
import inspect
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from pushforward.errors import CheckpointError, UsageError
from pushforward.registries import PARTS, REMOVED, RENAMED, RETIRED, concrete

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLAIN = (str, int, float, bool, type(None))


def registered() -> Mapping[str, type]:
    """Return every class that a spec may name, including classes of plugins."""
    return PARTS


def register(*parts: type) -> None:
    """Let specs name further classes, whose attributes keep their constructor arguments' names."""
    for part in parts:
        PARTS.add(part.__name__, part)


def plugins(kind: type) -> list[type]:
    """Return the registered concrete classes of ``kind``, in order of registration."""
    return list(concrete(PARTS.added, kind).values())


def describe(value: Any) -> Any:
    """Describe a part as plain JSON data; numbers, strings, lists and dicts are unchanged.

    An object that does not keep its arguments is described only by its class name, so `build`
    cannot rebuild it; neither can it rebuild "your own UNet", named like a registered class.
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
    described = {"part": name}
    try:
        for parameter in inspect.signature(part).parameters.values():
            if parameter.kind in _NAMED:
                described[parameter.name] = describe(getattr(value, parameter.name))
    except (AttributeError, ValueError):  # ValueError: a class without a signature
        return {"part": name, "opaque": True}
    return described


def _home(part: type) -> tuple[Any, str]:
    file = getattr(sys.modules.get(part.__module__), "__file__", None)
    if file:
        return os.path.realpath(file), part.__qualname__
    return part, part.__qualname__


ALONE = "This run cannot be rebuilt from its folder alone"
PASS = "pass the network: pf.load(run, network=...), or the whole method: pf.load(run, method=...)."


def build(spec: Any, check: bool = False, place: str = "the method") -> Any:
    """Build the object that `describe` described.

    Args:
        spec: The description.
        check: Whether to only check that all values and classes can be built.
        place: Location of the description, for messages.
    """
    if isinstance(spec, list):
        return tuple(build(item, check, place) for item in spec)
    if not isinstance(spec, dict):
        return spec
    if "part" not in spec:
        return {key: build(item, check, place) for key, item in spec.items()}
    name = spec["part"]
    if isinstance(name, str):
        name = RENAMED.get(name, name)
    shown = f"{name!s:.60}"
    arguments = {}
    for key, item in spec.items():
        if key != "part":
            arguments[key] = build(item, check, f'the argument "{key}" of {shown}')
    if spec.get("opaque"):
        raise CheckpointError(
            f"{ALONE}: {place} is a {shown}. A run can store numbers, strings, lists, dicts, and "
            "objects that keep their constructor arguments as attributes with the same names "
            f"(self.width = width). Use these, or {PASS}"
        )
    if name in REMOVED and name not in PARTS:
        raise CheckpointError(
            f"{place} is a {name}, which is no longer offered. Load the run with the version of "
            "pushforward that trained it."
        )
    if not isinstance(name, str) or name not in PARTS:
        raise CheckpointError(
            f"{ALONE}: {shown} is not a class of pushforward. Name the file that defines it: "
            f"`plugins=[FILE.py]`, or {PASS}"
        )
    if check:
        return None
    part = PARTS[name]
    drop_retired(name, arguments)
    try:
        return part(**arguments)
    except TypeError as error:
        raise CheckpointError(
            f"The run's spec does not fit {name} of this version: {error}."
        ) from error


def drop_retired(name: str, arguments: dict[str, Any]) -> None:
    """Drop arguments of earlier versions; those that changed something are refused."""
    for argument, only in RETIRED.get(name, {}).items():
        value = arguments.pop(argument, only)
        if value != only:
            raise CheckpointError(
                f"This run sets `{argument}` = {value} of {name}, which is no longer offered. Use "
                "the version of pushforward that trained it."
            )


def with_network(content: dict[str, Any], network: Any) -> dict[str, Any]:
    """Return a run's spec with copies of a network instead of its description."""
    if network is None:
        return content
    described = describe(network)
    before = {**described, "part": type(network).__name__}  # of earlier versions
    others = []

    def completed(part: dict[str, Any]) -> dict[str, Any]:
        stored = part.get("network")
        if stored in (described, before):
            part["network"] = copy.deepcopy(network)
        elif stored is not None:
            others.append(stored)
        return part

    complete = json.loads(json.dumps(content), object_hook=completed)
    if complete == content:
        raise UsageError(
            f"Got `network` {described}; this run was trained with another one: {others} (opaque "
            "if its arguments were not stored). Build the network as for training, from the same "
            "class."
        )
    return complete
