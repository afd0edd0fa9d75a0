"""Data sets: a space with a training and a held-out split."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.arguments import whole
from pushforward.conditions.columns import Columns
from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.label import Label
from pushforward.data.core.hashes import (
    ATOM,
    Array,
    Floats,
    Hashes,
    Integers,
    Pixels,
    among,
    blocks,
    distinct,
    held_out_indices,
    permutation,
    repeated,
)
from pushforward.data.images.image_file import Reasons
from pushforward.data.images.image_store import Streamed, content_hashes, selected
from pushforward.data.spaces import Space
from pushforward.data.spaces.space import kind_of, measure
from pushforward.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


_BYTES = 1 << 24  # hashed at a time, so that examples that stay on disk are read in parts
_LIMIT_KEY = 0x5EED_0F_5711
FEW = 20  # training examples of a class below which a model can hardly learn the class


@dataclass(frozen=True)
class Split:
    """Examples of one split, in stored format.

    Args:
        x: Images uint8 (n, C, H, W), vectors float32 (n, d) in data units, an array that a plugin's
            space accepts, or a `Streamed`.
        labels: Class numbers int64 (n,), or None.
        source_hashes: Hashes of the examples before scaling or binarisation, if they differ from
            ``x``.
        given: Values of other conditions by name, (n, ...).
        table_values: Values of a table's rows as in its file, float64 (n, columns), NaN if missing.
    """

    x: Array
    labels: Integers | None = None
    source_hashes: Hashes | None = None
    given: Mapping[str, Array] = field(default_factory=dict)
    table_values: Floats | None = None

    def __post_init__(self) -> None:
        kind_of(self.x)
        n = len(self.x)
        labels = self.labels
        if labels is not None and (labels.dtype != np.int64 or labels.shape != (n,)):
            raise DataError(
                f"Labels have shape {labels.shape} and dtype {labels.dtype}; expected shape ({n},) "
                "and dtype int64, one label per example."
            )
        for values in self.given.values():
            if len(values) != n:
                raise DataError(
                    f"A condition has {len(values)} values; expected {n}, one per example."
                )

    def __len__(self) -> int:
        return len(self.x)

    def data_units(self, index: Any = slice(None)) -> Tensor:
        """Return examples float32 in data units: images (n, C, H, W) in [0, 1], vectors (n, d)."""
        import torch

        examples = self.x[index]
        if examples.dtype == np.uint8:
            return torch.from_numpy(np.ascontiguousarray(examples)).to(torch.float32).div_(255)
        return torch.from_numpy(np.array(examples, dtype=np.float32))

    @property
    def values(self) -> dict[str, Array]:
        """Values of all conditions, including labels, by name."""
        if self.labels is None:
            return dict(self.given)
        return {"label": self.labels, **self.given}

    def condition(
        self, names: Iterable[str], index: Any = slice(None), device: Any = "cpu"
    ) -> dict[str, Tensor] | None:
        """Return the values of known conditions as tensors by name; None without any."""
        import torch

        values = self.values
        tensors = {}
        for name in names:
            if name in values:
                tensors[name] = torch.from_numpy(np.array(values[name][index])).to(device)
        return tensors or None

    def take(self, index: Any) -> Split:
        labels = self.labels
        if labels is not None:
            labels = labels[index]
        table_values = self.table_values
        if table_values is not None:
            table_values = table_values[index]
        given = {name: values[index] for name, values in self.given.items()}
        return Split(selected(self.x, index), labels, self.hashes[index], given, table_values)

    def followed_by(self, other: Split) -> Split:
        """Append the examples of another split with the same conditions."""
        given = {name: np.concatenate([self.given[name], other.given[name]]) for name in self.given}
        return Split(
            np.concatenate([self.x, other.x]),
            _joined(self.labels, other.labels),
            np.concatenate([self.hashes, other.hashes]),
            given,
            _joined(self.table_values, other.table_values),
        )

    @property
    def on_disk(self) -> bool:
        return isinstance(self.x, Streamed)

    @cached_property
    def hashes(self) -> Hashes:
        """Hashes of the source examples, uint64 (n,), which identify them across data sets."""
        if self.source_hashes is None:
            return content_hashes(self.x)
        return self.source_hashes

    def without_labels(self) -> Split:
        return replace(self, labels=None)


def _joined(first: Array | None, second: Array | None) -> Array | None:
    if first is None or second is None:
        return None
    return np.concatenate([first, second])


class Distribution:
    """Base class of known distributions of data (`Dataset.truth`)."""


@dataclass(frozen=True)
class Dataset:
    """A data set with a training split and a held-out split.

    Args:
        name: Short name, used for run folders.
        space: Units, shape and names, measured on the training split.
        truth: Known properties of the distribution.
        skipped: Unusable files that were left out, as (file, reason).
        converted: Files that had to be converted, as (file, conversion).
        header: Whether the first line of a table was read as column names.
        ignored: Number of hidden files and of files with other extensions.
        removed: Number of training examples left out because they equal a held-out example.
        origin: Arguments of `pushforward.data.load` that read the data; None for data created in
            Python.
        probabilities: Grey images uint8 from which binary training examples are drawn in every
            epoch.
        table: Decisions about each column of a table of mixed types.
        apart: Whether equal rows of a table are split independently.
        read_as: How an ambiguous file was read, and how to choose the other way; may be empty.
        trained_on: Whether samples of another program were learned from the training split.
    """

    name: str
    space: Space
    train: Split
    held_out: Split
    truth: Distribution | None = None
    skipped: Reasons = ()
    converted: Reasons = ()
    ignored: int = 0
    removed: int = 0
    header: bool | None = None
    origin: Mapping[str, Any] | None = None
    probabilities: Pixels | None = None
    table: Any = None
    apart: bool | None = None
    read_as: str = ""
    trained_on: bool | None = None

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.space.shape))
        counts = f"{len(self.train):,} train, {len(self.held_out):,} held out"
        return f'Dataset("{self.name}", {counts}, {self.space.noun}s of shape {shape})'

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of both splits, with conditions, names and shape; of a table, its values."""
        return self._fingerprints[0]

    @cached_property
    def examples_fingerprint(self) -> str:
        """The fingerprint without labels."""
        return self._fingerprints[1]

    @cached_property
    def _fingerprints(self) -> tuple[str, str]:
        return fingerprints(self.space, self.train, self.held_out)

    def describe(self) -> dict[str, Any]:
        """Describe the data set as plain values, for manifests and reports."""
        space = self.space
        given: list[str] = []
        for name in self.train.given:
            given += space.conditions[name].entries
        return {
            "name": self.name,
            "kind": space.noun,
            "shape": list(space.shape),
            "train": len(self.train),
            "held_out": len(self.held_out),
            "classes": list(space.classes),
            "columns": list(space.columns),
            "given": given,
            "binary": space.binary,
            "truth": self.truth is not None,
            "skipped": len(self.skipped),
            "converted": len(self.converted),
            "removed": self.removed,
            "fingerprint": self.fingerprint,
        }

    def without_labels(self) -> Dataset:
        return replace(
            self,
            space=self.space.without_labels(),
            train=self.train.without_labels(),
            held_out=self.held_out.without_labels(),
            origin=self.origin and {**self.origin, "labelled": False},
        )


def fingerprints(space: Space, *splits: Split) -> tuple[str, str]:
    """Compute sha256 (hex) of examples, conditions and names, with and without labels."""
    tables = [split.table_values for split in splits if split.table_values is not None]
    if len(tables) == len(splits):
        fingerprint = _table_fingerprint(space, tables)
        return fingerprint, fingerprint
    labelled = hashlib.sha256()
    unlabelled = hashlib.sha256()
    names = {"shape": space.shape, "classes": space.classes, "columns": space.columns}
    _add_text(names, labelled)
    _add_text(names | {"classes": space.without_labels().classes}, unlabelled)
    for split in splits:
        _add(split.x, labelled, unlabelled)
        if split.labels is None:
            labelled.update(b"none")
        else:
            _add(split.labels, labelled)
        unlabelled.update(b"none")
        for name, values in split.given.items():
            entries = list(space.conditions[name].entries)
            _add_text([name, entries], labelled, unlabelled)
            _add(values, labelled, unlabelled)
    return labelled.hexdigest(), unlabelled.hexdigest()


def _table_fingerprint(space: Any, tables: Iterable[Floats]) -> str:
    digest = hashlib.sha256()
    columns = [[column.name, list(column.levels)] for column in space.fields]
    _add_text({"columns": columns}, digest)
    for values in tables:
        _add(values, digest)
    return digest.hexdigest()


def _add_text(content: Any, *digests: Any) -> None:
    for digest in digests:
        digest.update(json.dumps(content).encode())


def _add(array: Any, *digests: Any) -> None:
    dtype = array.dtype.newbyteorder("<")
    example_bytes = dtype.itemsize * math.prod(array.shape[1:])
    step = max(1, _BYTES // max(1, example_bytes))
    for digest in digests:
        digest.update(f"{dtype.str}{array.shape}".encode())
    for block in blocks(len(array), step):
        part = np.ascontiguousarray(array[block].astype(dtype, copy=False))
        for digest in digests:
            digest.update(part.data)


@dataclass(frozen=True)
class Schema:
    """Description of the examples of a source; labels are dropped without class names.

    Args:
        integer: Indices of integer columns.
        target: Name of the column used as the label.
        fit: Function that fits a space to training and held-out examples as in the file, and
            returns it with both splits; None for examples that are stored unchanged.
        kinds: Functions that create the kind of each condition.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()
    target: str = ""
    fit: Callable[[Split, Split], tuple[Space, Split, Split]] | None = None
    kinds: Mapping[str, Callable[..., ConditionKind]] = field(default_factory=dict)
    apart: bool | None = None


def build(
    name: str,
    train: Split,
    held_out: Split | int | None = None,
    *,
    schema: Schema = Schema(),
    limit: int | None = None,
    seed: int = 0,
    **extra: Any,
) -> Dataset:
    """Create a data set: hold out examples if needed, apply the limit, and measure the space.

    Training examples that equal a held-out example are left out, unless the example has more than
    `ATOM` copies or equal rows are split independently.

    Args:
        held_out: Held-out examples, or their exact number; None for about a tenth.
        limit: Maximum number of training examples, chosen by ``seed``.
        extra: Further attributes of `Dataset`.
    """
    rescaled = train.source_hashes is not None
    if not isinstance(held_out, Split):
        held = held_out_indices(train.hashes, train.labels, held_out)
        kept = np.delete(np.arange(len(train)), held)
        held_out = train.take(held)
        train = train.take(kept)
    _check_splits(name, train, held_out)
    extra |= {"removed": 0, "apart": schema.apart}
    if not schema.apart:
        copies = _copies(train, held_out, rescaled)
        extra["removed"] = int(copies.sum())
        if copies.any():
            train = train.take(~copies)
    if limit is not None and whole("limit", limit, 1) < len(train):
        chosen = permutation(len(train), _LIMIT_KEY, seed)[:limit]
        train = train.take(np.sort(chosen))
    if schema.fit is not None:
        space, train, held_out = schema.fit(train, held_out)
        return Dataset(name, space, train, held_out, **extra)
    if not schema.classes:
        train = train.without_labels()
        held_out = held_out.without_labels()
    conditions: dict[str, ConditionKind] = {}
    if train.labels is not None:
        conditions["label"] = Label.of(train.labels, schema.classes, schema.target)
    conditions |= given_conditions(train, schema.kinds)
    space = measure(train.x, conditions, columns=schema.columns, integer=schema.integer)
    return Dataset(name, space, train, held_out, **extra)


def given_conditions(
    train: Split, kinds: Mapping[str, Callable[..., ConditionKind]]
) -> dict[str, ConditionKind]:
    """Measure conditions on the values of a training split."""
    if not kinds:
        return {}
    values = [train.given[name] for name in kinds]
    chosen = Columns.evenly(np.concatenate(values, axis=1), train.labels)
    return {name: kind(train.given[name], chosen=chosen) for name, kind in kinds.items()}


def _check_splits(name: str, train: Split, held_out: Split) -> None:
    if not len(train) or not len(held_out):
        raise DataError(
            f"The data has {len(train)} training examples and {len(held_out)} held-out examples; "
            "both splits need at least one."
        )
    shape = train.x.shape[1:]
    other = held_out.x.shape[1:]
    if shape != other:
        raise DataError(
            f"{name}: training examples have shape {shape}, and held-out examples {other}. They "
            "must be equal. Use `resize=N` and `channels=rgb` to convert images."
        )


def _copies(train: Split, held_out: Split, rescaled: bool) -> Array:
    if rescaled:
        here = content_hashes(train.x)
        there = content_hashes(held_out.x)
    else:
        here = train.hashes
        there = held_out.hashes
    copies = among(here, np.sort(there))
    if copies.any():
        counts = repeated(np.concatenate([here, there]))
        copies &= counts[: len(here)] <= ATOM
    if copies.all():
        raise DataError(
            "Every training example equals a held-out example, so no training data is left. "
            "Add distinct examples, or pass other held-out examples."
        )
    return copies


@dataclass(frozen=True)
class Seen:
    """Hashes of the training examples of a model and of the models it builds on, sorted.

    Args:
        inherited: Hashes of the training examples of the models and data sets that it builds on,
            except those that their own data holds out as well.
        shared: Hashes of its training examples that its own data holds out as well.
        apart: `Dataset.apart` of its data; None for runs of earlier versions.
        own_seconds: Duration of its training, including a teacher's trajectories.
        seconds: Known training durations of the models it builds on.
    """

    own: Hashes | None = None
    inherited: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    shared: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    names: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    apart: bool | None = None
    own_seconds: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def joined_by(self, name: str, other: Seen) -> Seen:
        inherited = [self.inherited, other.inherited]
        names = [*self.names, name, *other.names]
        unknown = [*self.unknown]
        seconds = {**self.seconds, **other.seconds}
        if other.own is None:
            unknown.append(name)
        else:
            inherited.append(other.own[~among(other.own, other.shared)])
            seconds[name] = other.own_seconds
        unknown += other.unknown
        return replace(
            self,
            inherited=distinct(np.concatenate(inherited)),
            names=tuple(dict.fromkeys(names)),
            unknown=tuple(dict.fromkeys(unknown)),
            seconds=seconds,
        )

    def overlaps(self, data: Dataset) -> tuple[int, int]:
        """Count the held-out examples among the own and the inherited training examples."""
        held_out = data.held_out.hashes
        inherited = int(among(held_out, self.inherited).sum())
        if self.own is None:
            return 0, inherited
        own = among(held_out, self.own) & ~among(held_out, self.shared)
        return int(own.sum()), inherited


def shared_examples(data: Dataset) -> tuple[str, ...]:
    """Return a warning if over 1 % of the held-out examples are also training examples."""
    held_out = data.held_out.hashes
    shared = among(held_out, np.sort(data.train.hashes))
    count = int(shared.sum())
    if 100 * count <= len(held_out):
        return ()
    return (
        f"{count:,} of the {len(held_out):,} held-out examples of {data.name} are "
        f"also training examples, because examples with more than {ATOM} copies occur "
        "in both splits. On these examples, scores cannot tell memorisation from generalisation. "
        "If the copies are an accident or the result of oversampling, keep one of each.",
    )


def seen_in_training(data: Dataset, builds_on: Iterable[tuple[str, Seen]] = ()) -> Seen:
    """Return the training examples of a model, including those of the models it builds on."""
    own = distinct(data.train.hashes)
    shared = own[among(own, np.sort(data.held_out.hashes))]
    seen = Seen(own, shared=shared, apart=data.apart)
    for name, other in builds_on:
        seen = seen.joined_by(name, other)
    return seen


def class_counts(data: Dataset) -> dict[str, tuple[int, int]]:
    """Count training and held-out examples of each class; empty for data without labels."""
    classes = data.space.classes
    labels = data.train.labels
    held_out = data.held_out.labels
    if not classes or labels is None or held_out is None:
        return {}
    train_counts = np.bincount(labels, minlength=len(classes)).tolist()
    held_out_counts = np.bincount(held_out, minlength=len(classes)).tolist()
    return dict(zip(classes, zip(train_counts, held_out_counts, strict=True), strict=True))


def rare_classes(data: Dataset) -> tuple[str, ...]:
    """Return warnings about classes with few training or no held-out examples."""
    counts = class_counts(data).values()
    few = sum(train < FEW for train, _ in counts)
    unseen = sum(not held_out for _, held_out in counts)
    warnings = []
    if few:
        warnings.append(
            f"{few} of {len(counts)} classes have fewer than {FEW} training examples, so samples "
            "of them are poor."
        )
    if unseen:
        warnings.append(
            f"{unseen} of {len(counts)} classes have no held-out examples. Scores do not cover "
            "them."
        )
    return tuple(warnings)
