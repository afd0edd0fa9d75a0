"""Objects as plain data: a part is its class name and its constructor's arguments.

Attributes keep their arguments' names, so a run stores its parts as JSON and is rebuilt from them. Only classes of
this package and of plugins that the user has named can be rebuilt: a file cannot make the library import anything else.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Mapping, MutableMapping
from types import ModuleType
from typing import Any

from pushforward.annotated import misfit
from pushforward.errors import CheckpointError, UsageError

__all__ = ["adopt", "build", "check_names", "classes", "classes_of", "describe", "plugins", "register", "registered"]

_FOLDERS = (
    "paths",
    "denoisers.denoiser",
    "denoisers.table_denoiser",
    "denoisers.guidance",
    "solvers",
    "transports.transport",
    "transports.flow",
    "transports.latent",
    "transports.rejection",
    "conditions",
    "networks",
    "methods",
    "data.spaces",
    "data.tables",
    "interop",
)
_PLUGINS: dict[str, type] = {}
_FILES: dict[tuple[str, str], str] = {}
"""The file that registered a part, by its kind and name."""
_PLAIN = (str, int, float, bool, type(None))


def _modules(package: str) -> list[Any]:
    module = importlib.import_module(package)
    modules = [module]
    if hasattr(module, "__path__"):
        modules += [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules(module.__path__)]
    return modules


def classes(package: str, kind: type) -> dict[str, Any]:
    """The concrete public classes of ``kind`` that the modules of a package define, by name in alphabetical order."""
    return dict(sorted((name, part) for module in _modules(package) for name, part in classes_of(module, kind).items()))


def classes_of(module: ModuleType, kind: type) -> dict[str, Any]:
    """The concrete public classes of ``kind`` that a module itself defines, by name in its order."""
    defined = {name: value for name, value in vars(module).items() if _defines(module, value) and not name.startswith("_")}
    return {name: value for name, value in defined.items() if issubclass(value, kind) and not inspect.isabstract(value)}


def _defines(module: ModuleType, value: Any) -> bool:
    return inspect.isclass(value) and value.__module__ == module.__name__


@functools.cache
def _own() -> dict[str, type]:
    """The package's own classes, which stay the same while it runs."""
    package: dict[str, type] = {}
    for folder in _FOLDERS:
        built_in = classes(f"pushforward.{folder}", object)
        twice = package.keys() & built_in.keys()
        assert not twice, f"two parts share a name: {twice}"
        package.update(built_in)
    return package


def registered() -> dict[str, type]:
    """Every class that a spec may name: the package's own and the plugins'.

    Raises:
        UsageError: If a class of a plugin bears the name of one of the package's own.
    """
    classes = _own()
    for name in classes.keys() & _PLUGINS.keys():
        if _PLUGINS[name] is not classes[name]:
            home = _PLUGINS[name].__module__
            file = getattr(sys.modules.get(home), "__file__", None) or home
            raise UsageError(f'The name "{name}" belongs to a class of pushforward. Rename it in {file}.')
    return classes | _PLUGINS


def register(*parts: type) -> None:
    """Let specs name further classes, such as a user's networks and methods.

    Args:
        parts: Classes whose attributes keep their constructor arguments' names.
    """
    _PLUGINS.update({part.__name__: part for part in parts})


def plugins(kind: type) -> list[type]:
    """The concrete classes of ``kind`` among those registered, in the order in which they came."""
    return [part for part in _PLUGINS.values() if issubclass(part, kind) and not inspect.isabstract(part)]


def adopt(module: ModuleType) -> list[str]:
    """Register all classes that a module defines, so that specs may name them; their names.

    Raises:
        UsageError: For a name that belongs to a class of another file.
    """
    parts = {value.__name__: value for value in vars(module).values() if _defines(module, value)}
    check_names("class", parts, _PLUGINS, module)
    _PLUGINS.update(parts)
    return list(parts)


def check_names(kind: str, parts: Mapping[str, Any], added: MutableMapping[str, Any], module: ModuleType) -> None:
    """Refuse parts of a plug-in whose names belong to another file; a file that has changed loses the parts that it had.

    Args:
        kind: A key of `pushforward.plugins.KINDS`.
        parts: What the module defines of it, by name.
        added: The parts of that kind that were registered before.
        module: The plug-in.

    Raises:
        UsageError: For a name of another file, since a run would silently be built with the part that came last.
    """
    file = module.__file__
    for name in [name for name, part in added.items() if name not in parts and _file_of(kind, name, part) == file]:
        del added[name]
    held = [name for name in parts if name in added and added[name] is not parts[name]]
    taken = [name for name in held if _file_of(kind, name, added[name]) != file]
    if taken:
        holder = _file_of(kind, taken[0], added[taken[0]]) or "this session"
        raise UsageError(f'The name "{taken[0]}" belongs to a {kind} of {holder}. Rename it in {file}.')
    _FILES.update({(kind, name): str(file) for name in parts})


def _file_of(kind: str, name: str, part: Any) -> str | None:
    if inspect.isclass(part) or inspect.isfunction(part):
        return getattr(sys.modules.get(part.__module__), "__file__", None)
    return _FILES.get((kind, name))


def _arguments(part: type) -> list[inspect.Parameter]:
    wanted = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in inspect.signature(part).parameters.values() if p.kind in wanted]


def describe(value: Any) -> Any:
    """A plain, JSON-ready description of a part; numbers, strings, lists and dicts are unchanged.

    A foreign object that does not keep its arguments is described by its class name alone; it cannot be rebuilt and
    `build` says so.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(name): describe(item) for name, item in value.items()}
    part = type(value)
    try:
        arguments = {p.name: describe(getattr(value, p.name)) for p in _arguments(part)}
    except (AttributeError, ValueError):  # ValueError: a class without a signature, such as a tensor's
        return {"part": part.__name__, "opaque": True}
    return {"part": part.__name__, **arguments}


def build(spec: Any) -> Any:
    """The object that `describe` described.

    Raises:
        CheckpointError: If the spec names an unknown class or arguments that it does not take.
    """
    if isinstance(spec, list):
        return [build(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if "part" not in spec:
        return {name: build(item) for name, item in spec.items()}
    name, known = spec["part"], registered()
    if not isinstance(name, str):
        raise CheckpointError(f"The run's spec names a part {name!r:.60}: expected the name of a class.")
    if spec.get("opaque"):
        raise CheckpointError(
            f"This run used {name}, which does not keep its constructor's arguments as attributes, so it cannot be rebuilt "
            "from the run alone. Keep them (self.width = width, ...), or hand the method over: pf.load(run, method=...)."
        )
    if name not in known:
        raise CheckpointError(
            f"This run uses {name}, which is not part of pushforward. Name the file that defines it, `plugins=[FILE.py]`, "
            "or hand the method over in Python: pf.load(run, method=...)."
        )
    arguments = {key: build(item) for key, item in spec.items() if key != "part"}
    if known[name].__module__.startswith("pushforward.") and (wrong := misfit(known[name], arguments)) is not None:
        raise CheckpointError(f"The run's spec does not fit {name} of this version: {wrong} is none of its values.")
    try:
        return known[name](**arguments)
    except TypeError as error:
        raise CheckpointError(f"The run's spec does not fit {name} of this version: {error}.") from error
