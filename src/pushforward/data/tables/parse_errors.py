"""What is wrong with a table, collected while it is read, so that one message lists all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pushforward.errors import DataError


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
        if self.sentences:
            raise DataError(f"{name}: " + "\n  ".join(self.sentences))


def some(items: Iterable[object], most: int = 5) -> str:
    """The first items between commas, and how many more there are."""
    words = [str(item) for item in items]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
