"""What is refused before torch is imported, which takes seconds: names, paths and numbers, in the library's own words.

The library checks all of it again. Where Python files of the user's own are named, which may add parts, only it does.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pushforward.errors import unknown

__all__ = [
    "check_data",
    "check_features",
    "check_metrics",
    "check_numbers",
    "check_recipes",
    "feature_names",
    "recipe_names",
]


def check_recipes(*names: str, plugins: Sequence[str] = ()) -> None:
    """Refuse names that no recipe has; Python files are recipes of the user's own.

    Raises:
        UsageError: As `pushforward.recipes.named`.
    """
    for name in names:
        if not plugins and not name.endswith(".py") and name not in recipe_names():
            raise unknown("recipe", name, recipe_names())


def recipe_names() -> list[str]:
    """The names of all recipes; those of the package are read off its files."""
    loaded = sys.modules.get("pushforward.recipes")
    if loaded is not None:
        return list(loaded.registry())
    return [name for name, text in _files("pushforward.recipes") if re.search(rf"^def {name}\(", text, re.M)]


def feature_names() -> list[str]:
    """The names of the package's own feature extractors, read off its files."""
    files = _files("pushforward.extractors")
    own = [name for name, text in files if name != "extractor" and re.search(r"^class \w+\(Extractor\)", text, re.M)]
    return [name.replace("_", "-") for name in own]


def _files(package: str) -> Iterator[tuple[str, str]]:
    """The name and the text of each file of a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from ((file.stem, file.read_text(encoding="utf-8")) for file in sorted(Path(folder).glob("*.py")))


def check_data(data: str | None, plugins: Sequence[str] = ()) -> None:
    """Refuse data that is neither a known name nor a path that exists.

    Raises:
        UsageError: As `pushforward.data.load`, for an unknown name.
        DataError: As it, for a path where nothing is.
    """
    from pushforward.data.sources import check_there

    if data is not None and not plugins:
        check_there(data)


def check_metrics(names: Iterable[str], plugins: Sequence[str] = ()) -> None:
    """Refuse names that no metric has.

    Raises:
        UsageError: As `pushforward.evaluate`.
    """
    if not plugins:
        from pushforward.metrics.selection import check_metrics as check

        check(list(names))


def check_features(features: str | None, plugins: Sequence[str] = ()) -> None:
    """Refuse names that no feature extractor has.

    Raises:
        UsageError: As `pushforward.evaluate`, whose words need the extractors themselves.
    """
    words = [] if features is None or plugins else [word.strip().partition(":")[0] for word in features.split(",")]
    known = feature_names() if words else []
    if any(word.lower().replace("_", "-") not in known for word in words):
        from pushforward.extractors import named_extractors

        named_extractors(features)


def check_numbers(n: int | None = None, repeats: int = 1) -> None:
    """Refuse numbers of samples or samplings that are too small for any data.

    Raises:
        UsageError: Saying the least.
    """
    from pushforward.arguments import whole

    if n is not None:
        whole("n", n, 2)
    whole("repeats", repeats, 1)
