"""What the house weighs, counted from its files, and the most that it may weigh.

    python tests/limits.py            prints each figure beside its limit
    python tests/limits.py --lower    writes today's figures into limits.json where they are lower

A limit falls to its target and rises by what a new feature was allowed to add, said in the commit that raises it.
"""

from __future__ import annotations

import ast
import functools
import json
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMITS = Path(__file__).with_name("limits.json")
LINES = 600
ONE_FILE_A_PART = ("recipes", "metrics", "methods", "networks", "solvers", "features", "extractors", "sets", "readers")
"""Folders of the package that hold a file for each part, however many there are."""


@functools.cache
def sources(folder: str) -> dict[str, str]:
    """The text of every Python file below a folder, by its path from the repository's root."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / folder).rglob("*.py"))}


@functools.cache
def nodes(folder: str) -> dict[str, list[ast.AST]]:
    """Every node of the syntax trees below a folder, by the file's path from the repository's root."""
    return {file: list(ast.walk(ast.parse(text))) for file, text in sources(folder).items()}


def name_of(file: str) -> str:
    """The module of a file of the package."""
    return ".".join(Path(file).relative_to("src").with_suffix("").parts).removesuffix(".__init__")


def imports() -> dict[str, set[str]]:
    """The modules of the package that each one imports, packages apart, for types alone as well.

    A name that a package hands on counts as an import of the module that defines it.
    """
    modules = {name_of(file): file for file in sources("src")}
    package = {name for name, file in modules.items() if file.endswith("__init__.py")}
    taken = {name: list(_taken(nodes("src")[file])) for name, file in modules.items()}
    homes = {(name, part): module for name in package for module, part in taken[name] if module in modules}

    def home(module: str, part: str) -> str:
        if f"{module}.{part}" in modules:
            return f"{module}.{part}"
        inner = homes.get((module, part), module)
        return module if inner == module else home(inner, part)

    found = {name: {home(module, part) for module, part in pairs} for name, pairs in taken.items() if name not in package}
    return {name: (inner & modules.keys()) - package - {name} for name, inner in found.items()}


def _taken(tree: list[ast.AST]):
    for node in tree:
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or not."""
    graph = imports()

    def reached(module: str) -> set[str]:
        seen, front = set(), [module]
        while front:
            new = graph[front.pop()] - seen
            seen |= new
            front += new
        return seen

    below = {module: reached(module) for module in graph}
    groups = {frozenset(other for other in below[name] if name in below[other]) for name in graph if name in below[name]}
    return [sorted(group) for group in groups]


def crowded() -> int:
    """The most modules side by side in one folder; folders of one file a part are exempt."""
    folders = Counter(Path(file).parent for file in sources("src") if not file.endswith("__init__.py"))
    return max(n for folder, n in folders.items() if folder.name not in ONE_FILE_A_PART)


def words(path: Path) -> int:
    """Words between blanks."""
    return len(path.read_text().split())


def figures() -> dict[str, int]:
    """Each figure of the house by its name."""
    every = [node for tree in nodes("src").values() for node in tree]
    statements = sum(isinstance(node, ast.stmt) for node in every)
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = sum(isinstance(node, described) and ast.get_docstring(node, clean=False) is not None for node in every)
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "results" not in path.parts]
    decisions = list((ROOT / "docs" / "decisions").glob("*.md"))
    texts = {**sources("tests"), **sources("benchmarks")}
    return {
        "statements of the package": statements,
        "statements without docstrings": statements - docstrings,
        "files of the package": len(sources("src")),
        "modules in a folder": crowded(),
        "circles of imports": len(circles()),
        f"files over {LINES} lines": sum(text.count("\n") > LINES for text in (*sources("src").values(), *texts.values())),
        "lines of tests": sum(text.count("\n") for text in sources("tests").values()),
        "words of documentation": sum(map(words, (ROOT / "README.md", ROOT / "CHANGELOG.md", *pages))),
        "words of README": words(ROOT / "README.md"),
        "pages of decisions": len(decisions),
        "words of the longest decision": max(map(words, decisions)),
    }


def main(options: list[str]) -> None:
    """Print the figures, or lower the limits to them."""
    limits = json.loads(LIMITS.read_text())
    for name, figure in figures().items():
        print(f"{name}: {figure:,} of {limits[name]:,}")
        limits[name] = min(figure, limits[name])
    if "--lower" in options:
        LIMITS.write_text(json.dumps(limits, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
