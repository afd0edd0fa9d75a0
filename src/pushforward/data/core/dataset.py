"""Samples with their space: how they are split, which of them are held out, and what a model has learned from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pushforward.arguments import whole
from pushforward.conditions.columns import Columns, Numbers
from pushforward.conditions.kind import ConditionKind, registry
from pushforward.conditions.label import Label
from pushforward.data.core.ground_truth import Stack, Truth
from pushforward.data.core.hashes import ATOM, Hashes, among, distinct, held_out_indices, permutation, repeated
from pushforward.data.images.image_store import Streamed, content_hashes, selected
from pushforward.data.spaces import Space, TableSpace
from pushforward.data.spaces.space import kind_of, measure
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.numbers import some

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data.tables.schema import TableFacts


_BYTES = 1 << 24  # about how much is hashed at a time, so that examples that stay on disk are read in parts
_LIMIT_KEY = 0x5EED_0F_5711
FEW = 20  # training examples of a class below which a model can hardly learn the class
NAMED = 12


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
            images that stay on disk are a `pushforward.data.images.image_store.Streamed`, which is read as an array is.
        labels: int64 (n,), or None.
        source_hashes: the hash of each example as its source holds it, before it was scaled or binarised; None: that of ``x``.
        given: values of further conditions by name, (n, ...).
        table_values: the values of a table's rows as its file holds them, float64 (n, columns), NaN where missing, which
            coordinates may round or, if they are rare, replace; None where there are only coordinates.
    """

    x: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    source_hashes: Hashes | None = None
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    table_values: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        kind_of(self.x)
        if self.labels is not None and (self.labels.dtype != np.int64 or self.labels.shape != (len(self.x),)):
            raise DataError(
                f"Labels of type {self.labels.dtype} and shape {self.labels.shape}: expected int64, one for each of "
                f"{len(self.x)} examples, as labels.astype(np.int64) makes them."
            )
        if any(len(values) != len(self.x) for values in self.given.values()):
            raise DataError(f"A condition has more or fewer values than the {len(self.x)} examples.")

    def __len__(self) -> int:
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
        labels = None if self.labels is None else self.labels[index]
        given = {name: values[index] for name, values in self.given.items()}
        values = None if self.table_values is None else self.table_values[index]
        return Split(selected(self.x, index), labels, self.hashes[index], given, values)

    def followed_by(self, other: Split) -> Split:
        """Append the examples of another split, which has the same conditions."""

        def joined(name: str) -> Any:
            parts = [getattr(self, name), getattr(other, name)]
            return None if any(part is None for part in parts) else np.concatenate(parts)

        given = {name: np.concatenate([self.given[name], other.given[name]]) for name in self.given}
        return Split(joined("x"), joined("labels"), joined("hashes"), given, joined("table_values"))

    @property
    def on_disk(self) -> bool:
        return isinstance(self.x, Streamed)

    @cached_property
    def hashes(self) -> Hashes:
        """A hash of each example's content in its source, uint64 (n,), which identifies it across data sets."""
        return content_hashes(self.x) if self.source_hashes is None else self.source_hashes

    def without_labels(self) -> Split:
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
        trained_on: whether samples of another program were learned from the training split (`pushforward.data.real_data`); False
            if the split is only further real data; None if this is unknown.
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
    trained_on: bool | None = None

    def __repr__(self) -> str:
        shape = self.space.shape
        columns = f"columns: {len(self.space.names) or shape[0]}"
        what = columns if len(shape) == 1 else f"{'x'.join(map(str, shape))} {self.space.noun}s"
        known = "".join(f", {kind.describe()}" for kind in self.space.conditions.values())
        return f'Dataset("{self.name}", {len(self.train):,} train, {len(self.held_out):,} held out, {what}{known})'

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
        return dataclasses.replace(
            self,
            space=self.space.without_labels(),
            train=self.train.without_labels(),
            held_out=self.held_out.without_labels(),
            origin=self.origin and {**self.origin, "labelled": False},
        )


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


class FittedTable(NamedTuple):
    """A table whose columns are fitted to its training rows.

    Args:
        space: its columns.
        known: the values of training and held-out rows as the file holds them, (n, columns).
        learned: Values that a model learns instead of these, (n, columns).
    """

    space: TableSpace
    known: Sequence[NDArray[np.float64]]
    learned: Sequence[NDArray[np.float64]]


@dataclass(frozen=True)
class Schema:
    """The description of a source's examples, beside their numbers.

    Args:
        classes: class names; labels are dropped when empty.
        columns: column names of a table.
        integer: numbers of its whole-number columns.
        target: name of the column that became the label.
        fit: a function that fits the columns of a table to the values of its training rows, given those of the held-out rows as
            well, float64 (n, columns) each; None for examples that are stored unchanged.
        kinds: functions that make the kind of each further condition (``given`` of the examples) from its training values, and as
            ``chosen`` of those to draw from; see `ConditionKind.measure`.
        apart: whether equal rows of a table are draws of their own, whose hashes are numbered; None for other data.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()
    target: str = ""
    fit: Callable[[NDArray[np.float64], NDArray[np.float64]], FittedTable] | None = None
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
    """Make a dataset: hold examples out where the source has no split of its own, shorten, measure the space.

    Training examples that equal a held-out example are left out, but atoms (more than `ATOM` copies) and draws of their own.

    Args:
        name: the dataset's name.
        train: training examples, or all examples where the source has no held-out examples of its own.
        held_out: the source's own held-out examples; or exactly how many of its examples to hold out; or None for about a tenth,
            see `held_out_indices`.
        schema: classes, columns and conditions of the examples.
        limit: at most so many training examples, chosen by ``seed``.
        seed: chooses the examples that ``limit`` keeps; the held-out examples never depend on it.
        extra: truth, skipped, converted, ignored, header and files of `Dataset`.

    Returns:
        The dataset.

    Raises:
        DataError: fewer than two examples.
        UsageError: a limit below 1.
    """
    scaled, extra["apart"] = train.source_hashes is not None, schema.apart
    if not isinstance(held_out, Split):
        held = held_out_indices(train.hashes, train.labels, held_out)
        keep = np.ones(len(train), dtype=bool)
        keep[held] = False
        train, held_out = train.take(keep), train.take(held)
    if not len(train) or not len(held_out):
        raise DataError(f"{len(train)} training and {len(held_out)} held-out examples: both splits need at least one.")
    train, removed = (train, 0) if schema.apart else _without_copies(train, held_out, scaled)
    if limit is not None and whole("limit", limit, 1) < len(train):
        train = train.take(np.sort(permutation(len(train), _LIMIT_KEY, seed)[:limit]))
    if schema.fit is not None:
        table = schema.fit(train.x, held_out.x)
        rows = [
            Split(table.space.encoded(learned), source_hashes=split.hashes, table_values=known)
            for split, known, learned in zip((train, held_out), table.known, table.learned, strict=True)
        ]
        return Dataset(name, table.space, rows[0], rows[1], removed=removed, **extra)
    if not schema.classes:
        train, held_out = train.without_labels(), held_out.without_labels()
    values = [train.given[name] for name in schema.kinds]
    chosen = Columns.evenly(np.concatenate(values, axis=1), train.labels) if values else None
    conditions: dict[str, ConditionKind] = {name: kind(train.given[name], chosen=chosen) for name, kind in schema.kinds.items()}
    if train.labels is not None:
        conditions = {"label": Label.of(train.labels, schema.classes, schema.target), **conditions}
    space = measure(train.x, conditions, columns=schema.columns, integer=schema.integer)
    return Dataset(name, space, train, held_out, removed=removed, **extra)


def _without_copies(train: Split, held_out: Split, scaled: bool) -> tuple[Split, int]:
    """The training examples that equal no held-out example, and how many did; scaled ones are compared as they are now."""
    here, there = (content_hashes(split.x) if scaled else split.hashes for split in (train, held_out))
    copies = among(here, np.sort(there))
    if copies.any():
        copies &= repeated(np.concatenate([here, there]))[: len(here)] <= ATOM
    if copies.all():
        raise DataError(
            f"All {len(train)} training examples are also held-out examples: give other held-out examples, or a single set, of "
            "which a tenth is then held out."
        )
    return (train.take(~copies), int(copies.sum())) if copies.any() else (train, 0)


def given_columns(data: Dataset, columns: Sequence[str]) -> Dataset:
    """The data set with some of its columns as conditions, which models receive and do not make.

    Columns that are named alone are together one condition, ``given``, of the kind `Numbers`. A column that names a kind, such as
    ``angle:Cyclic``, is a condition of its own, called as the column. The held-out examples stay the same.

    Args:
        data: Vectors whose columns have names.
        columns: Names of columns, each alone or as NAME:KIND.

    Raises:
        UsageError: For data without named columns, a column or kind that does not exist, or where no column would be left.
    """
    present, plain = data.space.columns, [column for column in columns if ":" not in column]
    chosen: dict[str, tuple[type[ConditionKind], list[str]]] = {"given": (Numbers, plain)} if plain else {}
    for column, _, kind in (column.partition(":") for column in columns if ":" in column):
        known = {name: part for name, part in registry().items() if part is not Label and not part.learned}
        if kind not in known:
            raise UsageError(
                f'There is no kind of condition "{kind}" that is made of columns; those that are: {", ".join(known)}.'
                f"{did_you_mean(kind, known)} A label is a column too: `target`. Your own is in a plug-in: `plugins=[FILE]`."
            )
        if column in chosen:
            raise UsageError(f'`given` names "{column}" twice ("given" is what columns without a kind are called together).')
        chosen[column] = known[kind], [column]
    wanted = [column for _, names in chosen.values() for column in names]
    for column in wanted:
        if column not in present:
            named = ", ".join(present) or "none: `given` names columns of a table of numbers"
            hint = did_you_mean(column, present)
            raise UsageError(f'{data.name} has no column "{column}".{hint} Columns beside a label: {named}.')
    remaining = [i for i, column in enumerate(present) if column not in wanted]
    if len(set(wanted)) < len(wanted) or not remaining:
        raise UsageError(f"`given` names a column twice, or every column of {data.name}: {', '.join(columns)}.")
    if taken := data.space.conditions.keys() & chosen.keys():
        raise UsageError(f"{data.name} has a condition {', '.join(taken)} already: rename the column that is to be given.")
    places = {name: [present.index(column) for column in names] for name, (_, names) in chosen.items()}
    sides = []
    for split in (data.train, data.held_out):
        given = {name: split.x[:, columns].copy() for name, columns in places.items()}
        sides.append(Split(split.x[:, remaining].copy(), split.labels, split.hashes, {**split.given, **given}))
    train, held_out = sides
    own = {name: (type(kind), kind.entries) for name, kind in data.space.conditions.items() if name in data.train.given}
    parts = own | chosen
    examples = Columns.evenly(np.concatenate([train.given[name] for name in parts], axis=1), train.labels)
    kinds = {name: kind.measure(train.given[name], names, examples) for name, (kind, names) in parts.items()}
    integer = [remaining.index(i) for i in data.space.integer if i in remaining]
    names = [present[i] for i in remaining]
    space = measure(train.x, {**data.space.conditions, **kinds}, columns=names, integer=integer)
    return dataclasses.replace(data, space=space, train=train, held_out=held_out)


@dataclass(frozen=True)
class Seen:
    """The hashes of the examples that a model has learned from, and of those that the models it builds on have learned from.

    Args:
        own: of its training examples, sorted, uint64 (n,); None where they are not known.
        inherited: of the training examples of all models and data sets that it builds on, but those that their own data holds out
            as well; sorted, uint64 (m,).
        shared: of those of its training examples that its own data holds out as well (`ATOM`), sorted, uint64 (k,).
        apart: that of its data; None for data that is no table, and for runs of before.
        names: of these models and data sets.
        unknown: the names of those whose training examples are not known.
        own_seconds: of its training, a teacher's trajectories included.
        seconds: of the trainings of those, as far as they are known, by name.
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
        hashes = [self.inherited, other.inherited] + ([] if other.own is None else [other.own[~among(other.own, other.shared)]])
        return replace(
            self,
            inherited=distinct(np.concatenate(hashes)),
            names=tuple(dict.fromkeys((*self.names, name, *other.names))),
            unknown=tuple(dict.fromkeys((*self.unknown, *((name,) if other.own is None else ()), *other.unknown))),
            seconds={**self.seconds, **other.seconds, **({} if other.own is None else {name: other.own_seconds})},
        )

    def overlaps(self, data: Dataset) -> tuple[int, int]:
        """How many held-out examples are among the own and how many among the inherited ones.

        Examples that the model's own data had in both splits do not count: `shared_examples` reports them.
        """
        held_out = data.held_out.hashes
        own = 0 if self.own is None else int((among(held_out, self.own) & ~among(held_out, self.shared)).sum())
        return own, int(among(held_out, self.inherited).sum())


def shared_examples(data: Dataset) -> tuple[str, ...]:
    """Warnings about data some of whose held-out examples are training examples as well, in sentences; usually none.

    Silent below one held-out example in a hundred, unless they are most examples of a class.
    """
    held_out, labels = data.held_out.hashes, data.held_out.labels
    shared = among(held_out, np.sort(data.train.hashes))
    most: list[int] = []
    if labels is not None:
        copied, every = (np.bincount(part, minlength=len(data.space.classes)) for part in (labels[shared], labels))
        most = np.flatnonzero(2 * copied > every).tolist()
    if 100 * shared.sum() <= len(held_out) and not most:
        return ()
    classes = f", among them most of class {', '.join(data.space.classes[label] for label in most)}" if most else ""
    return (
        f"{int(shared.sum()):,} of the {len(held_out):,} held-out examples of {data.name} are training examples as well"
        f"{classes}: the copies of an example that occurs more than {ATOM} times are on both sides. On these "
        "examples, scores do not tell a model that has learned its training examples by heart from a good one. If the copies are "
        "an accident or oversampling, keep one of each.",
    )


def seen_in_training(data: Dataset, builds_on: Iterable[tuple[str, Seen]] = ()) -> Seen:
    """The training examples of a model that is trained on some data and builds on other models.

    Args:
        data: the data.
        builds_on: names of models and data sets, with the training examples of each.
    """
    own = distinct(data.train.hashes)
    seen = Seen(own, shared=own[among(own, np.sort(data.held_out.hashes))], apart=data.apart)
    for name, other in builds_on:
        seen = seen.joined_by(name, other)
    return seen


def class_counts(data: Dataset) -> dict[str, tuple[int, int]]:
    """The training and the held-out examples of each class; empty for data without labels."""
    classes = data.space.classes
    labels = [split.labels for split in (data.train, data.held_out) if classes and split.labels is not None]
    counts = [np.bincount(numbers, minlength=len(classes)).tolist() for numbers in labels]
    return dict(zip(classes, zip(*counts, strict=True), strict=True))


def rare_classes(data: Dataset) -> tuple[str, ...]:
    """Warnings about classes with few training examples, or with none on one side, in sentences; usually none."""
    counts = class_counts(data)
    few = [f"{name} ({train})" for name, (train, _) in counts.items() if train < FEW]
    unseen = [name for name, (_, held_out) in counts.items() if not held_out]
    sentences = []
    if few:
        sentences.append(
            f"fewer than {FEW} training examples of {some(few, NAMED)}: samples of such a class will be poor. Add examples, or "
            "leave the class out."
        )
    if unseen:
        sentences.append(f"no held-out examples of {some(unseen, NAMED)}: scores say nothing of such a class. Add examples.")
    return tuple(sentences)
