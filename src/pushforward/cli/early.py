"""What is refused before torch is imported, which takes seconds: names, paths and numbers, in the library's own words.

The library checks all of it again. Where Python files of the user's own are named, which may add parts, only it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pushforward.registries import EXTRACTORS, RECIPES


def check_recipes(*names: str, plugins: Sequence[str] = ()) -> None:
    """Refuse names that no recipe has; Python files are recipes of the user's own.

    Raises:
        UsageError: As `pushforward.recipes.named`.
    """
    for name in names:
        if not plugins and not name.endswith(".py"):
            RECIPES.check(name)


def check_data(data: str | None, plugins: Sequence[str] = ()) -> None:
    """Refuse data that is neither a known name nor a path that exists.

    Raises:
        UsageError: As `pushforward.data.load`, for an unknown name.
        DataError: As it, for a path where nothing is.
    """
    from pushforward.data.core.load import check_there

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
    for word in words:
        EXTRACTORS.check(word.lower().replace("_", "-"))


def check_numbers(n: int | None = None, repeats: int = 1) -> None:
    """Refuse numbers of samples or samplings that are too small for any data.

    Raises:
        UsageError: Saying the least.
    """
    from pushforward.arguments import whole

    if n is not None:
        whole("n", n, 2)
    whole("repeats", repeats, 1)
