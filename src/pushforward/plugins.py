"""Plug-ins: Python files of users that define recipes, solvers, metrics, data sets and other parts.

A file is run only if the user names it: a run stores the path and the sha256 of its plug-ins, and
is read only after the same files have been named again in this process.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pushforward.errors import CheckpointError, RunUsageError, UsageError
from pushforward.registries import KINDS

_PREFIX = "pushforward_plugin_"  # The prefix of their modules' names
# Files that are not the user's own, besides those in site-packages
_LIBRARIES = (sysconfig.get_path("stdlib"), "<")


@dataclass(frozen=True)
class Plugin:
    """Loaded plug-in, with the names of its parts by kind (`pushforward.registries.KINDS`)."""

    file: Path
    sha256: str
    names: Mapping[str, list[str]]


LOADED: dict[Path, Plugin] = {}
"""The plug-ins of this process, by resolved path."""


def load(path: str | Path) -> Plugin:
    """Run a Python file, once per content, and register the parts that it defines."""
    file = _existing(path)
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    module = _run(file, content, f"{_PREFIX}{sha256[:12]}")
    names = {kind: registry.adopt(module) for kind, registry in KINDS.items()}
    plugin = Plugin(file, sha256, names)
    if not any(plugin.names.values()):
        raise UsageError(
            f"{path} defines nothing that can be used by name; expected a recipe (a function "
            "annotated `-> Recipe`), a Solver, a metric (a class with scores that declare a "
            "MetricInfo), a feature extractor (an Extractor), a Tracker, or a data set (a Source). "
            "See docs/one-new-file.md."
        )
    LOADED[file.resolve()] = plugin
    return plugin


def only(path: str | Path, kind: str, hint: str) -> str:
    """Load a file, and return the name of its only part of a kind."""
    names = load(path).names[kind]
    if len(names) != 1:
        raise UsageError(
            f"{path} must contain exactly one {kind}, {hint}; it contains {names}. "
            "See docs/one-new-file.md."
        )
    return names[0]


def files_of(plugins: str | Path | Iterable[str | Path]) -> list[str | Path]:
    """Return the named files, given as several or a single file."""
    if isinstance(plugins, (str, Path)):
        return [plugins]
    return list(plugins)


def load_needed(
    needed: Iterable[Mapping[str, str]], files: str | Path | Iterable[str | Path]
) -> None:
    """Load the plug-ins of a run, if all are named and unchanged, and any others that are named.

    Raises:
        RunUsageError: If a plug-in is needed and none is named.
        CheckpointError: If a required plug-in is not named, or has changed.
    """
    files = files_of(files)
    hashes = {path: plugin.sha256 for path, plugin in LOADED.items()}
    for file in map(_existing, files):
        hashes[file.resolve()] = file_hash(file)
    for plugin in needed:
        name = plugin["file"]
        sha256 = plugin["sha256"]
        if sha256 in hashes.values():
            continue
        message = (
            f"This run was trained with {name} (sha256 {sha256[:12]}...), which is only run if you "
            f"name it: `plugins=[{name}]`."
        )
        if not files:
            raise RunUsageError(message)
        raise CheckpointError(
            f"{message} None of the named files has this content, so the file has changed since."
        )
    for path in files:
        load(path)


def recorded(files: Iterable[str | Path], content: Any) -> list[dict[str, str]]:
    """Return ``file`` and ``sha256`` of the plug-ins named for a run or in its spec."""
    plugins = [LOADED[Path(file).expanduser().resolve()] for file in files]
    words = set(re.findall(r'"(.*?)"', json.dumps(content)))
    for plugin in LOADED.values():
        if not words.isdisjoint(itertools.chain(*plugin.names.values())):
            plugins.append(plugin)
    hashes = {str(plugin.file): plugin.sha256 for plugin in plugins}
    return [{"file": file, "sha256": sha256} for file, sha256 in hashes.items()]


def _existing(path: str | Path) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(
            f"The file {path} does not exist; expected a Python file that defines your own parts."
        )
    return file


def file_hash(path: Path) -> str:
    """Compute the sha256 of a file, which runs store and check."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(file: Path, content: bytes, name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(file.resolve())
    sys.modules[name] = module
    try:
        exec(compile(content, module.__file__, "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{file} could not be run: {type(error).__name__}: {error}.") from error
    return module


def line_of(error: BaseException) -> str | None:
    """Return where in a user's file an error was raised; None if in pushforward."""
    package = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        if file.startswith(package):
            return None
        if not file.startswith(_LIBRARIES) and "-packages" not in file:
            return f"{file}, line {frame.lineno}"
    return None


def plugin_options(spec: Mapping[str, Any]) -> str:
    """Return the command-line options that name a run's plug-ins."""
    files = [plugin["file"] for plugin in spec.get("plugins") or ()]
    return "".join(f" --plugin {shlex.quote(file)}" for file in files)


def resume_command(folder: Path, spec: Mapping[str, Any]) -> str:
    """Return the command that continues a run."""
    return f"pushforward resume {shlex.quote(str(folder))}{plugin_options(spec)}"
