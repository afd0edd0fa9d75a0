"""Samples with their space: a training split, a fixed held-out split, and the known facts of their distribution."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.example_hashes import Hashes
from pushforward.data.core.ground_truth import Stack, Truth
from pushforward.data.images.streamed import Streamed, content_hashes, selected
from pushforward.data.spaces import Space
from pushforward.data.spaces.registry import kind_of
from pushforward.data.tables.column_report import TableFacts
from pushforward.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class Files(NamedTuple):
    """The image files that a data set was read from, those of both splits.

    Args:
        names: of the files, in the source's order.
        hashes: of their images (`example_hashes`), uint64 (n,).
    """

    names: Sequence[str]
    hashes: Hashes


@dataclass(frozen=True)
class Split:
    """Examples as they are stored.

    Args:
        x: images uint8 (n, C, H, W), vectors float32 (n, d) in data units, or any array that the space of a plug-in accepts;
            images that stay on disk are a `pushforward.data.images.streamed.Streamed`, which is read as an array is.
        labels: int64 (n,), or None.
        source_hashes: the hash of each example as its source holds it, before it was scaled or binarised; None: that of ``x``.
        given: values of further conditions by name, (n, ...).
        table_values: the values of a table's rows as its file holds them, float64 (n, columns), NaN where missing, which
            coordinates may round; None where there are only coordinates.
    """

    x: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    source_hashes: Hashes | None = None
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    table_values: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check the properties that the library relies on.

        Raises:
            DataError: If it is not so.
        """
        kind_of(self.x)
        if self.labels is not None and (self.labels.dtype != np.int64 or self.labels.shape != (len(self.x),)):
            raise DataError(
                f"Labels of type {self.labels.dtype} and shape {self.labels.shape}: expected int64, one for each of "
                f"{len(self.x)} examples, as labels.astype(np.int64) makes them."
            )
        for name, values in self.given.items():
            if len(values) != len(self.x):
                raise DataError(f"The condition {name} has {len(values)} values for {len(self.x)} examples: expected as many.")

    def __len__(self) -> int:
        """How many examples."""
        return len(self.x)

    def data_units(self, index: Any = None) -> Tensor:
        """Examples in data units.

        Args:
            index: which examples (slice, integer or boolean array); None for all.

        Returns:
            Images float32 (n, C, H, W) in [0, 1]; vectors float32 (n, d).
        """
        import torch

        examples = self.x[slice(None) if index is None else index]
        if examples.dtype == np.uint8:
            return torch.from_numpy(np.ascontiguousarray(examples)).to(torch.float32).div_(255)
        return torch.from_numpy(np.array(examples, dtype=np.float32))

    @property
    def values(self) -> dict[str, NDArray[Any]]:
        """The values of all conditions by name, labels among them."""
        return {**({} if self.labels is None else {"label": self.labels}), **self.given}

    def condition(self, names: Iterable[str], index: Any = None, device: Any = "cpu") -> dict[str, Tensor] | None:
        """The values of conditions as tensors.

        Args:
            names: which conditions; those that the examples lack are left out.
            index: which examples (slice, integer or boolean array); None for all.
            device: where the tensors go.

        Returns:
            Tensors of length n by name; None without any.
        """
        import torch

        values, index = self.values, slice(None) if index is None else index
        tensors = {name: torch.from_numpy(np.array(values[name][index])).to(device) for name in names if name in values}
        return tensors or None

    def take(self, index: Any) -> Split:
        """The examples of an index (slice, integer or boolean array), in its order."""
        labels = None if self.labels is None else self.labels[index]
        given = {name: values[index] for name, values in self.given.items()}
        values = None if self.table_values is None else self.table_values[index]
        return Split(selected(self.x, index), labels, self.hashes[index], given, values)

    @property
    def on_disk(self) -> bool:
        """Whether the examples stay on disk, and are read each time that they are asked for."""
        return isinstance(self.x, Streamed)

    @cached_property
    def hashes(self) -> Hashes:
        """A hash of each example's content in its source, uint64 (n,), which identifies it across data sets."""
        return content_hashes(self.x) if self.source_hashes is None else self.source_hashes

    def without_labels(self) -> Split:
        """The same examples without labels."""
        return Split(self.x, None, self.source_hashes, self.given, self.table_values)


@dataclass(frozen=True)
class Dataset:
    """A source of data, read and split.

    Args:
        name: a short name, used for run folders.
        space: units, shape and names, measured on the training split.
        train: the training examples.
        held_out: the examples that scores compare with; fixed for each source.
        truth: known facts of the distribution, for toys and stacked images.
        skipped: (file, reason) of every file left out.
        converted: (file, conversion) of every file that was not plain.
        header: whether the first line of a table was taken as column names; None for data that is no table.
        ignored: how many hidden files and files with other endings lay in the folder.
        removed: how many training examples were left out because they equal a held-out example.
        origin: the arguments of `pushforward.data.load` that read it; None for data made in Python. Runs store it.
        probabilities: grey images from which training examples of zeros and ones are drawn again in every epoch, uint8 of the
            shape of ``train.x``, which is one such draw; None for data that stays as it is.
        files: the image files that can be used; None for data that is no image files.
        table: what was decided of each column of a table of mixed types; None for other data.
        apart: whether equal rows of a table are split apart, as draws of their own; None for other data.
        read_as: a sentence that says how a file was taken which may be read in two ways, and how to get the other; else empty.
    """

    name: str
    space: Space
    train: Split
    held_out: Split
    truth: Truth | Stack | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    removed: int = 0
    header: bool | None = None
    origin: Mapping[str, Any] | None = None
    probabilities: NDArray[np.uint8] | None = None
    files: Files | None = None
    table: TableFacts | None = None
    apart: bool | None = None
    read_as: str = ""

    def __repr__(self) -> str:
        """Name, sizes and shape; not the examples."""
        shape = self.space.shape
        count = len(self.space.names) or shape[0]
        columns = f"{count} column{'' if count == 1 else 's'}"
        what = columns if len(shape) == 1 else f"{'x'.join(map(str, shape))} {self.space.noun}s"
        known = "".join(f", {kind.describe()}" for kind in self.space.conditions.values())
        return f'Dataset("{self.name}", {len(self.train):,} train, {len(self.held_out):,} held out, {what}{known})'

    def _repr_html_(self) -> str:
        from pushforward.data.core.notebook import notebook

        return notebook(self)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the examples, conditions, class and column names and shape of both splits; not of the name.

        Of a table it is that of its values, in whatever coordinates its rows are.
        """
        return self._fingerprints[0]

    @cached_property
    def examples_fingerprint(self) -> str:
        """sha256 (hex) of the examples, column names and shape of both splits, the same with labels and without them."""
        return self._fingerprints[1]

    @cached_property
    def stored_fingerprints(self) -> tuple[str, str]:
        """`fingerprint` and `examples_fingerprint` of the examples as they are stored: of a table by its rows' coordinates."""
        if self.train.table_values is None or self.held_out.table_values is None:
            return self._fingerprints
        return fingerprints(self.space, self.train, self.held_out, coordinates=True)

    @cached_property
    def _fingerprints(self) -> tuple[str, str]:
        return fingerprints(self.space, self.train, self.held_out)

    def describe(self) -> dict[str, Any]:
        """A plain dict for manifests and reports: name, kind, shape, ``rows``, classes, columns, fingerprint, files."""
        return {
            "name": self.name,
            "kind": self.space.noun,
            "shape": list(self.space.shape),
            "train": len(self.train),
            "held_out": len(self.held_out),
            "classes": list(self.space.classes),
            "columns": list(self.space.columns),
            "given": [entry for name in self.train.given for entry in self.space.conditions[name].entries],
            "binary": self.space.binary,
            "truth": self.truth is not None,
            "skipped": len(self.skipped),
            "converted": len(self.converted),
            "removed": self.removed,
            "fingerprint": self.fingerprint,
        }

    def without_labels(self) -> Dataset:
        """The same examples without labels, in a space without classes."""
        return dataclasses.replace(
            self,
            space=self.space.without_labels(),
            train=self.train.without_labels(),
            held_out=self.held_out.without_labels(),
            origin=self.origin and {**self.origin, "labelled": False},
        )


_BYTES = 1 << 24  # about how much is hashed at a time, so that examples that stay on disk are read in parts


def fingerprints(space: Space, *splits: Split, coordinates: bool = False) -> tuple[str, str]:
    """sha256 (hex) of the examples, conditions and names of splits, with labels and without them; each example is read once.

    Args:
        space: Of the data.
        splits: Its examples.
        coordinates: Whether rows of a table are hashed as their coordinates; else as the values of its file, where these are
            known, so that all digits count, and the ways in which versions encode them do not.
    """
    whole, unlabelled = hashlib.sha256(), hashlib.sha256()
    rows = [split.table_values for split in splits if split.table_values is not None]
    if len(rows) == len(splits) and not coordinates:
        fields: Any = getattr(space, "fields", ())
        whole.update(json.dumps({"columns": [[field.name, list(field.levels)] for field in fields]}).encode())
        for known in rows:
            _add(known, whole)
        return whole.hexdigest(), whole.hexdigest()
    for digest, names in ((whole, space.classes), (unlabelled, space.without_labels().classes)):
        digest.update(json.dumps({"shape": space.shape, "classes": names, "columns": space.columns}).encode())
    for split in splits:
        _add(split.x, whole, unlabelled)
        for digest, labels in ((whole, split.labels), (unlabelled, None)):
            if labels is None:
                digest.update(b"none")
            else:
                _add(labels, digest)
        for name, values in split.given.items():
            for digest in (whole, unlabelled):
                digest.update(json.dumps([name, list(space.conditions[name].entries)]).encode())
            _add(values, whole, unlabelled)
    return whole.hexdigest(), unlabelled.hexdigest()


def _add(array: Any, *digests: Any) -> None:
    kind = array.dtype.newbyteorder("<")
    step = max(1, _BYTES // max(1, kind.itemsize * math.prod(array.shape[1:])))
    for digest in digests:
        digest.update(f"{kind.str}{array.shape}".encode())
    for start in range(0, len(array), step):
        part = np.ascontiguousarray(array[start : start + step].astype(kind, copy=False))
        for digest in digests:
            digest.update(part.data)
