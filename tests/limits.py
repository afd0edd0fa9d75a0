"""The size of the code, measured from its source, and the limits that it may not exceed.

    python tests/limits.py            prints each number beside its limit, and what counts
    python tests/limits.py --lower    writes today's numbers into limits.json where they are lower

A limit is a ratchet: the number that was measured when it was set. It is only lowered, until it reaches its target.
"""

from __future__ import annotations

import ast
import functools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMITS = Path(__file__).with_name("limits.json")
PACKAGE = ROOT / "src" / "pushforward"
STATEMENTS, PARAMETERS, LINES = 50, 8, 300
BANNED = ("made", "found", "one", "told", "kept", "about")
"""Names that say nothing of what they hold."""


@functools.cache
def sources(folder: str) -> dict[str, str]:
    """The text of every file below a folder, by its path from the repository's root."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / folder).rglob("*.py"))}


@functools.cache
def trees(folder: str) -> dict[str, ast.Module]:
    """The syntax tree of every file below a folder, by its path from the repository's root."""
    return {file: ast.parse(text) for file, text in sources(folder).items()}


@functools.cache
def nodes(folder: str) -> dict[str, list[ast.AST]]:
    """Every node of the syntax trees below a folder, by the file's path from the repository's root."""
    return {file: list(walk(tree)) for file, tree in trees(folder).items()}


def walk(tree: ast.AST) -> list[ast.AST]:
    """A node and all below it, without operators and the contexts of names; twice as fast as `ast.walk`."""
    nodes_below = [tree]
    for node in nodes_below:
        for name in node._fields:
            part = getattr(node, name, None)
            if isinstance(part, list):
                nodes_below += [inner for inner in part if isinstance(inner, ast.AST)]
            elif isinstance(part, ast.AST) and part._fields:
                nodes_below.append(part)
    return nodes_below


@functools.cache
def functions(folder: str) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below a folder, with where it is."""
    return [
        (f"{file}:{node.lineno} {node.name}", node)
        for file, inside in nodes(folder).items()
        for node in inside
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def statements(function: ast.AST) -> int:
    """Statements within a function, docstrings and those of functions inside it included."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Parameters besides self and cls."""
    given = function.args
    named = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return sum(name not in ("self", "cls") for name in named) + (given.vararg is not None) + (given.kwarg is not None)


def is_signature(place: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether parameters are options: those of a recipe, or of a verb of the command line."""
    recipe = "/recipes/" in place and not function.name.startswith("_")
    return recipe or any("command" in ast.unparse(decorator) for decorator in function.decorator_list)


def long_functions() -> list[str]:
    """A statement has a line of its own, which the formatter sees to: only what has many lines is counted."""
    tall = [part for part in functions("src") if (part[1].end_lineno or 0) - part[1].lineno >= STATEMENTS]
    return [f"{place}: {n}" for place, function in tall if (n := statements(function)) > STATEMENTS]


def wide_functions() -> list[str]:
    return [
        f"{place}: {n}"
        for place, function in functions("src")
        if (n := parameters(function)) > PARAMETERS and not is_signature(place, function)
    ]


def long_files(folder: str) -> list[str]:
    lines = {file: len(text.splitlines()) for file, text in sources(folder).items()}
    return [f"{file}: {n}" for file, n in lines.items() if n > LINES]


def bindings(inside: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Every name that is bound, as a variable or a parameter, with its line."""
    for node in inside:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def banned(*folders: str) -> list[str]:
    return [
        f"{file}:{line} {name}"
        for folder in folders
        for file, inside in nodes(folder).items()
        for name, line in bindings(inside)
        if name in BANNED
    ]


def name_of(file: str) -> str:
    """The module of a file of the package."""
    return ".".join(Path(file).relative_to("src").with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def imports() -> dict[str, frozenset[str]]:
    """What each module of the package imports of it, at its head or later; not for types alone, and not the package itself."""
    known = {name_of(file) for file in trees("src")}
    graph = {}
    for file, inside in nodes("src").items():
        typing = {id(inner) for node in inside if _for_types(node) for inner in walk(node)}
        wanted: set[str] = set()
        for node in inside:
            if id(node) in typing:
                continue
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= (inner & known) | ({node.module} if inner - known else set())
        graph[name_of(file)] = frozenset(wanted & known) - {"pushforward", name_of(file)}
    return graph


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def chain() -> list[str]:
    """The longest chain of modules, each of which imports the next; modules that import each other count as they are met."""

    @functools.cache
    def longest(module: str, above: frozenset[str]) -> tuple[str, ...]:
        onward = imports()[module] - above - ring_of[module]
        below = max((longest(other, frozenset()) for other in sorted(onward)), key=len, default=())
        return (*sorted(ring_of[module]), *below)

    ring_of = rings()
    return list(max((longest(module, frozenset()) for module in sorted(imports())), key=len))


def rings() -> dict[str, frozenset[str]]:
    """Each module with the modules that it imports and that import it, directly or not."""
    graph = imports()

    def reached(module: str) -> frozenset[str]:
        seen, front = {module}, [module]
        while front:
            new = graph[front.pop()] - seen
            seen |= new
            front += new
        return frozenset(seen)

    below = {module: reached(module) for module in graph}
    return {module: frozenset(other for other in below[module] if module in below[other]) for module in graph}


MEASURED = {
    f"functions over {STATEMENTS} statements": long_functions,
    f"functions over {PARAMETERS} parameters": wide_functions,
    f"files of the package over {LINES} lines": lambda: long_files("src"),
    f"files of tests and benchmarks over {LINES} lines": lambda: [*long_files("tests"), *long_files("benchmarks")],
    "banned names in the package": lambda: banned("src"),
    "banned names in tests and benchmarks": lambda: banned("tests", "benchmarks"),
    "modules in the longest chain of imports": chain,
}
"""What counts against each limit."""


def main(words: list[str]) -> None:
    """Print or lower the limits."""
    limits = json.loads(LIMITS.read_text()) if LIMITS.exists() else {}
    for name, measure in MEASURED.items():
        counted = measure()
        print(f"{name}: {len(counted)} of {limits.get(name, 'no limit yet')}")
        if "--lower" in words:
            limits[name] = min(len(counted), limits.get(name, len(counted)))
        else:
            print(*(f"  {place}" for place in counted), sep="\n")
    if "--lower" in words:
        LIMITS.write_text(json.dumps(limits, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
