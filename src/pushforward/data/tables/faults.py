"""What is wrong with a table, collected while it is read, so that one message lists all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pushforward.errors import DataError

__all__ = ["Faults", "count", "some"]

SHOWN = 5


@dataclass
class Faults:
    """Sentences, each with the lines that it is about.

    Args:
        sentences: What was noted so far.
    """

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Note a fault, in one or more whole sentences."""
        self.sentences.append(sentence)

    def refuse(self, name: str) -> None:
        """Refuse the table where anything was noted.

        Args:
            name: What the message calls the table.

        Raises:
            DataError: With every sentence.
        """
        if len(self.sentences) == 1:
            raise DataError(f"{name}: {self.sentences[0]}")
        if self.sentences:
            listed = "".join(f"\n  {number}. {sentence}" for number, sentence in enumerate(self.sentences, 1))
            raise DataError(f"{name} cannot be read as a table, for {len(self.sentences)} reasons:{listed}")


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 cell, 1,000 cells."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def some(items: Iterable[object], most: int = SHOWN) -> str:
    """The first items between commas, and how many more there are."""
    words = [str(item) for item in items]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
