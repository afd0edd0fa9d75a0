"""Sentences in which names of models are marked, so that a page can set them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

from pushforward.evaluation.results import ModelResult
from pushforward.numbers import listing

__all__ = ["CLOSE", "OPEN", "Sentence", "family_aside", "inside", "marked", "named", "unmarked", "verb", "warning", "with_values"]

OPEN, CLOSE = "\ue000", "\ue001"
"""Around names inside a sentence's ``marked`` text; private code points."""


@dataclass(frozen=True)
class Sentence:
    """One finding.

    Args:
        kind: "measure" (a measure that cannot be relied on), "baseline" (no model is better), "quality", "diversity", "sweep",
            "distance" (the Fréchet distance of points), "speed", "training", "calls", "copies" (a baseline of copies), or
            "warning".
        marked: The text, with names between `OPEN` and `CLOSE`.
        link: The section that shows it.
    """

    kind: str
    marked: str
    link: str

    @property
    def text(self) -> str:
        """Plain text."""
        return unmarked(self.marked)


def warning(text: str, link: str = "scorecard") -> Sentence:
    """A finding to keep in mind, with the section that shows it."""
    return Sentence("warning", text, link)


def marked(name: str) -> str:
    """A name between the marks."""
    return f"{OPEN}{unmarked(name)}{CLOSE}"


def named(names: Sequence[str]) -> str:
    """Names in a sentence, marked."""
    return listing(marked(name) for name in names)


def with_values(values: Mapping[str, str]) -> str:
    """Names in a sentence, each with what is said of it, such as ``gan (3 %) and vae (5 %)``."""
    return listing(f"{marked(name)} ({value})" for name, value in values.items())


def unmarked(text: str) -> str:
    """Text without the marks of names."""
    return text.replace(OPEN, "").replace(CLOSE, "")


def inside(label: str) -> str:
    """A label as it stands within a sentence: abbreviations and names keep their capital."""
    keeps = label[:2].isupper() or label.startswith(("Fréchet", "Sinkhorn", "Wasserstein"))
    return label if keeps else label[:1].lower() + label[1:]


def family_aside(model: ModelResult) -> str:
    """A model's family where its name does not say it."""
    words = " ".join(re.split("[^a-z0-9]+", model.name.lower()))
    return "" if f" {model.family.lower()} " in f" {words} " else model.family


def verb(subjects: Sized, singular: str, plural: str) -> str:
    """The verb that agrees in number."""
    return singular if len(subjects) == 1 else plural
