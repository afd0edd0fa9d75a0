"""By which protocol scores were measured: what must be equal for two scores to be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pushforward.errors import UsageError
from pushforward.records import Record


@dataclass(frozen=True)
class Protocol(Record):
    """Everything that all scores of a comparison share, and without which they cannot be compared with others.

    Args:
        data: sha256 of all examples of the data set, hexadecimal.
        reference: sha256 of the held-out examples that samples are compared with, after quantisation, hexadecimal.
        n: Samples on either side.
        k: Neighbours of precision, recall, density and coverage.
        extractor: What identifies the feature extractor: what determines its weights, where they are trained on the data.
        dimensions: Of the features.
        preprocessing: What happens to an example before the extractor.
        quantisation: How samples are rounded before they are compared.
        representation: What distances between rows of a table are measured in; empty for other data.
        labels: How the classes of samples and of floors are drawn; empty for data without classes.
        versions: Of this package, and by score the number of its definition, where it was changed, or a hash of the file of the
            user's own that defines it.
        spaces: What identifies the extractor of each further feature space, by its name.
        weights: A hash of the extractor's weights as they are in each space, by its name. It is not compared: processors round
            otherwise, so that weights of one origin may differ in their last digits.
    """

    data: str = ""
    reference: str = ""
    n: int | None = None
    k: int | None = None
    extractor: str = ""
    dimensions: int | None = None
    preprocessing: str = ""
    quantisation: str = ""
    representation: str = ""
    labels: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    spaces: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def differences(self, other: Protocol) -> list[tuple[str, Any, Any]]:
        """The fields in which two protocols differ, each with both values; of versions and spaces those that both have."""
        unlike: list[tuple[str, Any, Any]] = []
        for part in (part for part in fields(self) if part.name != "weights"):
            value, other_value = getattr(self, part.name), getattr(other, part.name)
            if part.name in COMMON:
                common = sorted(value.keys() & other_value.keys())
                unlike += [
                    (COMMON[part.name].format(key), value[key], other_value[key])
                    for key in common
                    if value[key] != other_value[key]
                ]
            elif value != other_value:
                unlike.append((NAMES.get(part.name, part.name), value, other_value))
        return unlike


COMMON = {"versions": "the version of {}", "spaces": "the extractor of the feature space {}"}
"""Fields of which only what both protocols hold must be equal, in words."""
NAMES = {
    "reference": "the sha256 of the reference examples",
    "n": "n",
    "k": "k",
    "extractor": "the feature extractor",
    "dimensions": "the number of features",
    "preprocessing": "the preprocessing",
    "quantisation": "the quantisation",
    "representation": "the representation of rows",
    "labels": "how classes are drawn",
}


HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b")
"""A long hash, and what is shown of it."""


def check_same(protocols: Sequence[tuple[str, Protocol]], data: Sequence[str] = ()) -> None:
    """Refuse scores that do not share a protocol.

    Args:
        protocols: Each with the name of where its scores come from.
        data: The names of the data that they are about, where they are known.

    Raises:
        UsageError: Naming each field that differs, one a line, and both values; or both data sets where these differ.
    """
    for name, protocol in protocols:
        if protocol == Protocol():
            raise UsageError(
                f"{name} does not say by which protocol its scores were measured, as reports of earlier versions do not: score "
                "its runs again."
            )
    for at, (name, other) in enumerate(protocols[1:], start=1):
        first, first_protocol = protocols[0]
        if first_protocol.data != other.data:
            raise UsageError(_other_data(first, name, (data[0], data[at]) if data else ("", "")))
        unlike = first_protocol.differences(other)
        if unlike:
            what = "".join(f"\n- {field} is {_text(a)} in {first} and {_text(b)} in {name}" for field, a, b in unlike)
            raise UsageError(
                f"Scores of unlike protocols cannot be compared:{what}\nScore the runs again together: "
                "pushforward compare RUN RUN."
            )


def _other_data(first: str, second: str, names: tuple[str, str]) -> str:
    """Why scores on two data sets cannot be compared."""
    if names[0] != names[1]:
        return f"These reports are about different data ({'; '.join(names)}), so their scores cannot be compared."
    called = f", although both are called {names[0]}" if names[0] else ""
    return f"{first} and {second} are about different data{called}, so their scores cannot be compared."


def _text(value: Any) -> str:
    """A value in words, the hashes in it cut to 8 characters."""
    if value in (None, ""):
        return "not known"
    return '"{}"'.format(HASH.sub(r"\1", value)) if isinstance(value, str) else str(value)
