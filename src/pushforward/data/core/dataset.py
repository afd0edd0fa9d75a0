"""Data sets: a space with a training and a held-out split, and the record of the examples that a model has seen."""

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
from pushforward.data.core.hashes import (
    ATOM,
    Hashes,
    among,
    distinct,
    held_out_indices,
    permutation,
    repeated,
)
from pushforward.data.images.image_store import Streamed, content_hashes, selected
from pushforward.data.spaces import Space
from pushforward.data.spaces.space import kind_of, measure
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.numbers import some

if TYPE_CHECKING:
    from torch import Tensor


_BYTES = (
    1 << 24
)  # about how much is hashed at a time, so that examples that stay on disk are read in parts
_LIMIT_KEY = 0x5EED_0F_5711
FEW = 20  # training examples of a class below which a model can hardly learn the class
NAMED = 12


class Files(NamedTuple):
    """The image files that both splits of a data set were read from.

    Args:
        names: File names, in the source's order.
        hashes: Hashes of the images (`example_hashes`), uint64 (n,).
    """

    names: Sequence[str]
    hashes: Hashes


@dataclass(frozen=True)
class Split:
    """Examples of one split, in stored format.

    Args:
        x: Images uint8 (n, C, H, W), vectors float32 (n, d) in data units, or any array that a
            plugin's space accepts. Images that stay on disk are a
            `pushforward.data.images.image_store.Streamed`, which can be indexed like an array.
        labels: Class numbers int64 (n,), or None.
        source_hashes: Hashes of the examples before scaling or binarisation; None uses hashes of
            ``x``.
        given: Values of other conditions by name, (n, ...).
        table_values: Values of a table's rows as in its file, float64 (n, columns), NaN if missing.
            The coordinates in ``x`` may round them, or replace rare ones. None if only coordinates
            are known.
    """

    x: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    source_hashes: Hashes | None = None
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    table_values: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        kind_of(self.x)
        if self.labels is not None and (
            self.labels.dtype != np.int64 or self.labels.shape != (len(self.x),)
        ):
            raise DataError(
                f"Labels have shape {self.labels.shape} and dtype {self.labels.dtype}; expected "
                f"shape ({len(self.x)},) and dtype int64, one label per example."
            )
        if any(len(values) != len(self.x) for values in self.given.values()):
            raise DataError(
                f"The number of values of a condition differs from the number of examples, {len(self.x)}."
            )

    def __len__(self) -> int:
        return len(self.x)

    def data_units(self, index: Any = None) -> Tensor:
        """Return examples in data units.

        Args:
            index: Examples to return, as a slice, integer array or boolean array; None for all.

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
        """Values of all conditions, including labels, by name."""
        return {**({} if self.labels is None else {"label": self.labels}), **self.given}

    def condition(
        self, names: Iterable[str], index: Any = None, device: Any = "cpu"
    ) -> dict[str, Tensor] | None:
        """Return the values of conditions as tensors.

        Args:
            names: Names of conditions; those that the examples lack are left out.
            index: Examples to return, as a slice, integer array or boolean array; None for all.
            device: Device of the tensors.

        Returns:
            Tensors of length n by name; None without any.
        """
        import torch

        values = self.values
        if index is None:
            index = slice(None)
        tensors = {
            name: torch.from_numpy(np.array(values[name][index])).to(device)
            for name in names
            if name in values
        }
        return tensors or None

    def take(self, index: Any) -> Split:
        labels = None if self.labels is None else self.labels[index]
        given = {name: values[index] for name, values in self.given.items()}
        values = None if self.table_values is None else self.table_values[index]
        return Split(selected(self.x, index), labels, self.hashes[index], given, values)

    def followed_by(self, other: Split) -> Split:
        """Append the examples of another split with the same conditions."""

        def joined(name: str) -> Any:
            parts = [getattr(self, name), getattr(other, name)]
            if any(part is None for part in parts):
                return None
            return np.concatenate(parts)

        given = {name: np.concatenate([self.given[name], other.given[name]]) for name in self.given}
        return Split(joined("x"), joined("labels"), joined("hashes"), given, joined("table_values"))

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
        return Split(self.x, None, self.source_hashes, self.given, self.table_values)


@dataclass(frozen=True)
class Dataset:
    """A data set with a training split and a held-out split.

    Args:
        name: Short name, used for run folders.
        space: Units, shape and names, measured on the training split.
        train: Training examples.
        held_out: Held-out examples, which scores compare with; fixed for each source.
        truth: Known properties of the distribution, for toys and stacked images.
        skipped: Unusable files that were left out, as (file, reason).
        converted: Files that had to be converted, as (file, conversion).
        header: Whether the first line of a table was read as column names; None if the data is not
            a table.
        ignored: Number of hidden files and of files with other extensions in the folder.
        removed: Number of training examples left out because they equal a held-out example.
        origin: Arguments of `pushforward.data.load` that read the data, stored in runs; None for
            data created in Python.
        probabilities: Grey images from which binary training examples are drawn again in every
            epoch, uint8 with the shape of ``train.x``, which is one such sample; None for data that
            does not change.
        files: Usable image files; None if the data was not read from image files.
        table: Decisions about each column of a table of mixed types
            (`pushforward.tables.reading.schema.TableFacts`); None for other data.
        apart: Whether equal rows of a table are split independently; None for other data.
        read_as: Sentence on a file that can be read in two ways: the way chosen, and how to choose
            the other; otherwise empty.
        trained_on: Whether samples of another program were learned from the training split
            (`pushforward.data.real_data`); False if the split is only additional real data; None if
            unknown.
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
    table: Any = None
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
        """sha256 (hex) of the examples, conditions, class and column names and shape of both splits; independent of the name.

        The fingerprint of a table depends on its values, not on its coordinates.
        """
        return self._fingerprints[0]

    @cached_property
    def examples_fingerprint(self) -> str:
        """sha256 (hex) of the examples, column names and shape of both splits; independent of labels."""
        return self._fingerprints[1]

    @cached_property
    def stored_fingerprints(self) -> tuple[str, str]:
        """`fingerprint` and `examples_fingerprint` of the stored examples; those of a table depend on its coordinates."""
        if self.train.table_values is None or self.held_out.table_values is None:
            return self._fingerprints
        return fingerprints(self.space, self.train, self.held_out, coordinates=True)

    @cached_property
    def _fingerprints(self) -> tuple[str, str]:
        return fingerprints(self.space, self.train, self.held_out)

    def describe(self) -> dict[str, Any]:
        """Return a dict for manifests and reports: name, kind, shape, ``rows``, classes, columns, fingerprint, files."""
        return {
            "name": self.name,
            "kind": self.space.noun,
            "shape": list(self.space.shape),
            "train": len(self.train),
            "held_out": len(self.held_out),
            "classes": list(self.space.classes),
            "columns": list(self.space.columns),
            "given": [
                entry for name in self.train.given for entry in self.space.conditions[name].entries
            ],
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
    """Compute sha256 (hex) of the examples, conditions and names of splits, with and without labels.

    Args:
        space: Space of the data.
        splits: Splits to hash; each example is read once.
        coordinates: Whether to hash the coordinates of a table's rows; otherwise the values of its
            file are hashed if they are known, so that all digits count and the encoding does not.
    """
    whole = hashlib.sha256()
    unlabelled = hashlib.sha256()
    rows = [split.table_values for split in splits if split.table_values is not None]
    if len(rows) == len(splits) and not coordinates:
        fields: Any = getattr(space, "fields", ())
        whole.update(
            json.dumps({"columns": [[field.name, list(field.levels)] for field in fields]}).encode()
        )
        for known in rows:
            _add(known, whole)
        return whole.hexdigest(), whole.hexdigest()
    for digest, names in ((whole, space.classes), (unlabelled, space.without_labels().classes)):
        digest.update(
            json.dumps({"shape": space.shape, "classes": names, "columns": space.columns}).encode()
        )
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


@dataclass(frozen=True)
class Schema:
    """Description of the examples of a source.

    Args:
        classes: Class names; labels are dropped if empty.
        columns: Column names of a table.
        integer: Indices of integer columns.
        target: Name of the column used as the label.
        fit: Function that fits a space to training and held-out examples as in the file, and returns
            it with both splits; None for examples that are stored unchanged.
        kinds: Functions that create the kind of each other condition from its training values and
            the indices ``chosen`` to draw from; see `ConditionKind.measure`.
        apart: Whether equal rows of a table are split independently, with numbered hashes; None for
            other data.
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
    """Create a data set: split off held-out examples if needed, apply the limit, and measure the space.

    Training examples that equal a held-out example are left out, unless the example has more than
    `ATOM` copies or equal rows are split independently.

    Args:
        name: Name of the data set.
        train: Training examples, or all examples if the source has no held-out examples.
        held_out: Held-out examples of the source; or the exact number of examples to hold out; or
            None for about a tenth, see `held_out_indices`.
        schema: Classes, columns and conditions of the examples.
        limit: Maximum number of training examples, chosen by ``seed``.
        seed: Seed that chooses the examples kept by ``limit``; held-out examples do not depend on
            it.
        extra: Further attributes of `Dataset`: truth, skipped, converted, ignored, header and
            files.

    Returns:
        The dataset.

    Raises:
        DataError: fewer than two examples, or splits with examples of different shapes.
        UsageError: a limit below 1.
    """
    scaled, extra["apart"] = train.source_hashes is not None, schema.apart
    if not isinstance(held_out, Split):
        held = held_out_indices(train.hashes, train.labels, held_out)
        keep = np.ones(len(train), dtype=bool)
        keep[held] = False
        train, held_out = train.take(keep), train.take(held)
    if not len(train) or not len(held_out):
        raise DataError(
            f"The data has {len(train)} training examples and {len(held_out)} held-out examples; both splits need at least one."
        )
    shapes = {split.x.shape[1:] for split in (train, held_out)}
    if len(shapes) > 1:
        raise DataError(
            f"{name}: the training and held-out examples have different shapes ({shapes}); expected the same. "
            "Use `resize=N` and `channels=rgb` to convert images."
        )
    train, removed = (train, 0) if schema.apart else _without_copies(train, held_out, scaled)
    if limit is not None and whole("limit", limit, 1) < len(train):
        train = train.take(np.sort(permutation(len(train), _LIMIT_KEY, seed)[:limit]))
    if schema.fit is not None:
        space, train, held_out = schema.fit(train, held_out)
        return Dataset(name, space, train, held_out, removed=removed, **extra)
    if not schema.classes:
        train = train.without_labels()
        held_out = held_out.without_labels()
    values = [train.given[name] for name in schema.kinds]
    chosen = Columns.evenly(np.concatenate(values, axis=1), train.labels) if values else None
    conditions: dict[str, ConditionKind] = {
        name: kind(train.given[name], chosen=chosen) for name, kind in schema.kinds.items()
    }
    if train.labels is not None:
        conditions = {"label": Label.of(train.labels, schema.classes, schema.target), **conditions}
    space = measure(train.x, conditions, columns=schema.columns, integer=schema.integer)
    return Dataset(name, space, train, held_out, removed=removed, **extra)


def _without_copies(train: Split, held_out: Split, scaled: bool) -> tuple[Split, int]:
    """The training examples that equal no held-out example, and how many did; scaled ones are compared as they are now."""
    here, there = (
        content_hashes(split.x) if scaled else split.hashes for split in (train, held_out)
    )
    copies = among(here, np.sort(there))
    if copies.any():
        copies &= repeated(np.concatenate([here, there]))[: len(here)] <= ATOM
    if copies.all():
        raise DataError(
            "Every training example equals a held-out example, so no training data is left. "
            "Add distinct examples, or pass other held-out examples."
        )
    if copies.any():
        return (train.take(~copies), int(copies.sum()))
    return (train, 0)


def given_columns(data: Dataset, columns: Sequence[str]) -> Dataset:
    """Turn columns of a data set into conditions, which models receive instead of generating them.

    Columns without a kind form one condition, ``given``, of the kind `Numbers`. A column with a
    kind, such as ``angle:Cyclic``, is a condition of its own with the column's name. The held-out
    examples stay the same.

    Args:
        data: Vectors with named columns.
        columns: Column names, each as NAME or NAME:KIND.

    Raises:
        UsageError: If the data has no named columns, a column or kind does not exist, or no column
            would be left.
    """
    present = data.space.columns
    plain = [column for column in columns if ":" not in column]
    chosen: dict[str, tuple[type[ConditionKind], list[str]]] = (
        {"given": (Numbers, plain)} if plain else {}
    )
    for column, _, kind in (column.partition(":") for column in columns if ":" in column):
        known = {
            name: part
            for name, part in registry().items()
            if part is not Label and not part.learned
        }
        if kind not in known:
            raise UsageError(
                f'There is no kind of condition "{kind}" for columns; available kinds: '
                f"{', '.join(known)}.{did_you_mean(kind, known)} Use `target` for a label, and "
                "`plugins=[FILE]` for a kind of your own."
            )
        if column in chosen:
            raise UsageError(
                f'The name "{column}" occurs twice among the conditions of `given` ("given" is '
                "the condition of all columns without a kind)."
            )
        chosen[column] = known[kind], [column]
    wanted = [column for _, names in chosen.values() for column in names]
    for column in wanted:
        if column not in present:
            named = ", ".join(present) or "none, because `given` needs a table of numbers"
            hint = did_you_mean(column, present)
            raise UsageError(
                f'{data.name} has no column "{column}".{hint} Available columns: {named}.'
            )
    remaining = [i for i, column in enumerate(present) if column not in wanted]
    if len(set(wanted)) < len(wanted) or not remaining:
        raise UsageError(
            f"`given` contains a column twice, or all columns of {data.name}: "
            f"{', '.join(columns)}. At least one column must remain."
        )
    if taken := data.space.conditions.keys() & chosen.keys():
        raise UsageError(
            f"{data.name} already has a condition {', '.join(taken)}. Rename the column."
        )
    places = {
        name: [present.index(column) for column in names] for name, (_, names) in chosen.items()
    }
    sides = []
    for split in (data.train, data.held_out):
        given = {name: split.x[:, columns].copy() for name, columns in places.items()}
        sides.append(
            Split(
                split.x[:, remaining].copy(), split.labels, split.hashes, {**split.given, **given}
            )
        )
    train, held_out = sides
    own = {
        name: (type(kind), kind.entries)
        for name, kind in data.space.conditions.items()
        if name in data.train.given
    }
    parts = own | chosen
    examples = Columns.evenly(
        np.concatenate([train.given[name] for name in parts], axis=1), train.labels
    )
    kinds = {
        name: kind.measure(train.given[name], names, examples)
        for name, (kind, names) in parts.items()
    }
    integer = [remaining.index(i) for i in data.space.integer if i in remaining]
    names = [present[i] for i in remaining]
    space = measure(train.x, {**data.space.conditions, **kinds}, columns=names, integer=integer)
    return dataclasses.replace(data, space=space, train=train, held_out=held_out)


@dataclass(frozen=True)
class Seen:
    """Hashes of the training examples of a model and of the models it builds on.

    Args:
        own: Hashes of its training examples, sorted, uint64 (n,); None if unknown.
        inherited: Hashes of the training examples of all models and data sets that it builds on,
            except those that their own data holds out as well; sorted, uint64 (m,).
        shared: Hashes of its training examples that its own data holds out as well (`ATOM`),
            sorted, uint64 (k,).
        apart: `Dataset.apart` of its data; None for data that is not a table, and for runs of
            earlier versions.
        names: Names of these models and data sets.
        unknown: Names of those whose training examples are unknown.
        own_seconds: Duration of its training in seconds, including the computation of a teacher's
            trajectories.
        seconds: Training durations of the models it builds on in seconds, by name, if known.
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
        hashes = [self.inherited, other.inherited] + (
            [] if other.own is None else [other.own[~among(other.own, other.shared)]]
        )
        return replace(
            self,
            inherited=distinct(np.concatenate(hashes)),
            names=tuple(dict.fromkeys((*self.names, name, *other.names))),
            unknown=tuple(
                dict.fromkeys(
                    (*self.unknown, *((name,) if other.own is None else ()), *other.unknown)
                )
            ),
            seconds={
                **self.seconds,
                **other.seconds,
                **({} if other.own is None else {name: other.own_seconds}),
            },
        )

    def overlaps(self, data: Dataset) -> tuple[int, int]:
        """Count the held-out examples among the model's own and among the inherited training examples.

        Examples that the model's own data had in both splits do not count: `shared_examples` reports them.
        """
        held_out = data.held_out.hashes
        if self.own is None:
            own = 0
        else:
            own = int((among(held_out, self.own) & ~among(held_out, self.shared)).sum())
        return own, int(among(held_out, self.inherited).sum())


def shared_examples(data: Dataset) -> tuple[str, ...]:
    """Return warnings about held-out examples that are also training examples; usually none.

    There is no warning below 1 % of the held-out examples, unless they are most examples of a
    class.
    """
    held_out = data.held_out.hashes
    labels = data.held_out.labels
    shared = among(held_out, np.sort(data.train.hashes))
    most: list[int] = []
    if labels is not None:
        copied, every = (
            np.bincount(part, minlength=len(data.space.classes))
            for part in (labels[shared], labels)
        )
        most = np.flatnonzero(2 * copied > every).tolist()
    if 100 * shared.sum() <= len(held_out) and not most:
        return ()
    if most:
        classes = (
            f", including most of class {', '.join(data.space.classes[label] for label in most)}"
        )
    else:
        classes = ""
    return (
        f"{int(shared.sum()):,} of the {len(held_out):,} held-out examples of {data.name} are "
        f"also training examples{classes}, because examples with more than {ATOM} copies occur in "
        "both splits. On these examples, scores cannot tell memorisation from generalisation. If "
        "the copies are an accident or the result of oversampling, keep one of each.",
    )


def seen_in_training(data: Dataset, builds_on: Iterable[tuple[str, Seen]] = ()) -> Seen:
    """Return the training examples of a model, including those of the models it builds on.

    Args:
        data: Training data set.
        builds_on: Training examples of the models and data sets that it builds on, by name.
    """
    own = distinct(data.train.hashes)
    seen = Seen(own, shared=own[among(own, np.sort(data.held_out.hashes))], apart=data.apart)
    for name, other in builds_on:
        seen = seen.joined_by(name, other)
    return seen


def class_counts(data: Dataset) -> dict[str, tuple[int, int]]:
    """Count the training and the held-out examples of each class; empty for data without labels."""
    classes = data.space.classes
    labels = [
        split.labels
        for split in (data.train, data.held_out)
        if classes and split.labels is not None
    ]
    counts = [np.bincount(numbers, minlength=len(classes)).tolist() for numbers in labels]
    return dict(zip(classes, zip(*counts, strict=True), strict=True))


def rare_classes(data: Dataset) -> tuple[str, ...]:
    """Return warnings about classes with few training or no held-out examples; usually none."""
    counts = class_counts(data)
    few = [f"{name} ({train})" for name, (train, _) in counts.items() if train < FEW]
    unseen = [name for name, (_, held_out) in counts.items() if not held_out]
    sentences = []
    if few:
        sentences.append(
            f"these classes have fewer than {FEW} training examples, so samples are poor: {some(few, NAMED)}."
        )
    if unseen:
        sentences.append(
            f"these classes have no held-out examples: {some(unseen, NAMED)}. Scores do not cover them."
        )
    return tuple(sentences)
