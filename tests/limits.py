"""What the house weighs, counted from its files, and the most that it may weigh.

    python tests/limits.py            prints each figure beside its limit
    python tests/limits.py --lower    writes today's figures into limits.json where they are lower

A limit falls to its target and rises by what a new feature was allowed to add, said in the commit
that raises it.
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
ONE_FILE_A_PART = (
    "recipes",
    "metrics",
    "methods",
    "networks",
    "solvers",
    "features",
    "extractors",
    "sets",
    "readers",
)
"""Folders of the package that hold a file for each part, however many there are."""


@functools.cache
def sources(folder: str) -> dict[str, str]:
    """The text of every Python file below a folder, by its path from the repository's root."""
    texts = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        texts[str(path.relative_to(ROOT))] = path.read_text()
    return texts


@functools.cache
def nodes(folder: str) -> dict[str, list[ast.AST]]:
    """Every node of the syntax trees below a folder, by the file's path from the
    repository's root.
    """
    found = {}
    for file, text in sources(folder).items():
        found[file] = list(ast.walk(ast.parse(text)))
    return found


def name_of(file: str) -> str:
    """The module of a file of the package."""
    path = Path(file).relative_to("src").with_suffix("")
    return ".".join(path.parts).removesuffix(".__init__")


def imports() -> dict[str, set[str]]:
    """The modules of the package that each one imports, packages apart, for types alone as well.

    A name that a package hands on counts as an import of the module that defines it.
    """
    modules = {name_of(file): file for file in sources("src")}
    package = {name for name, file in modules.items() if file.endswith("__init__.py")}
    taken = {name: list(_taken(nodes("src")[file])) for name, file in modules.items()}
    homes = {}
    for name in package:
        stub = (ROOT / modules[name]).with_suffix(".pyi")
        if stub.exists():
            taken[name] += _taken(ast.walk(ast.parse(stub.read_text())))
        for module, part in taken[name]:
            if module in modules:
                homes[name, part] = module

    def home(module: str, part: str) -> str:
        if f"{module}.{part}" in modules:
            return f"{module}.{part}"
        inner = homes.get((module, part), module)
        if inner == module:
            return module
        return home(inner, part)

    others = modules.keys() - package
    found = {}
    for name in others:
        homes_of_parts = {home(module, part) for module, part in taken[name]}
        found[name] = (homes_of_parts & others) - {name}
    return found


def _taken(tree: list[ast.AST]):
    """The modules and parts that import statements name."""
    for node in tree:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module or "", alias.name


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or not."""
    graph = imports()

    def reached(module: str) -> set[str]:
        seen = set()
        front = [module]
        while front:
            new = graph[front.pop()] - seen
            seen |= new
            front += new
        return seen

    below = {module: reached(module) for module in graph}
    groups = set()
    for name in graph:
        if name in below[name]:
            group = [other for other in below[name] if name in below[other]]
            groups.add(tuple(sorted(group)))
    return [list(group) for group in groups]


def crowded() -> int:
    """The most modules side by side in one folder; folders of one file a part are exempt."""
    folders: Counter[Path] = Counter()
    for file in map(Path, sources("src")):
        if file.name != "__init__.py" and file.parent.name not in ONE_FILE_A_PART:
            folders[file.parent] += 1
    return max(folders.values())


def words(path: Path) -> int:
    """Words between blanks."""
    return len(path.read_text().split())


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def expressions(tree: list[ast.AST]) -> int:
    """Count the expressions of a file, except docstrings."""
    documented = [node for node in tree if isinstance(node, DOCUMENTED)]
    docstrings = sum(ast.get_docstring(node, clean=False) is not None for node in documented)
    return sum(isinstance(node, ast.expr) for node in tree) - docstrings


def folder_of(file: str) -> str:
    """Return the folder of the package that a file belongs to, or "root"."""
    parts = Path(file).relative_to("src/pushforward").parts
    if len(parts) > 1:
        return parts[0]
    return "root"


def figures() -> dict[str, int]:
    """Return each figure by its name."""
    per_folder: Counter[str] = Counter()
    for file, tree in nodes("src").items():
        per_folder[folder_of(file)] += expressions(tree)
    found = {f"expressions in {folder}": per_folder[folder] for folder in sorted(per_folder)}

    pages = [path for path in (ROOT / "docs").rglob("*.md") if "results" not in path.parts]
    pages += [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    decisions = list((ROOT / "docs" / "decisions").glob("*.md"))
    texts = {**sources("src"), **sources("tests"), **sources("benchmarks")}
    return found | {
        "files of the package": len(sources("src")),
        "modules in a folder": crowded(),
        "circles of imports": len(circles()),
        f"files over {LINES} lines": sum(text.count("\n") > LINES for text in texts.values()),
        "words of documentation": sum(map(words, pages)),
        "words of README": words(ROOT / "README.md"),
        "pages of decisions": len(decisions),
        "words of the longest decision": max(map(words, decisions)),
    }


def main(options: list[str]) -> None:
    """Print the figures, or lower the limits to them."""
    limits = json.loads(LIMITS.read_text())
    for name, figure in figures().items():
        limit = limits.get(name, figure)
        print(f"{name}: {figure:,} of {limit:,}")
        limits[name] = min(figure, limit)
    if "--lower" in options:
        LIMITS.write_text(json.dumps(limits, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
