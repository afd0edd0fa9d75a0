"""What can be evaluated: runs, run folders and transports, and whether they fit the data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.conditions.label import Label
from pushforward.data import Dataset, Space, TableSpace
from pushforward.data.dataset import Split
from pushforward.data.keys import permutation
from pushforward.data.readers import examples_in, left_out
from pushforward.data.readers.reader import Examples
from pushforward.data.readers.tables import TABLES, read_rows
from pushforward.data.reading import Reading
from pushforward.data.seen import shared_examples
from pushforward.data.tables import Number
from pushforward.data.tables.comparable import holds
from pushforward.data.tables.faults import count, some
from pushforward.errors import DataError, UsageError, quoted
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.features import quantised
from pushforward.evaluation.results import REPEAT_SEEDS, ModelResult
from pushforward.evaluation.scores import compared
from pushforward.numbers import counted
from pushforward.predictor import Condition
from pushforward.recipes import registry
from pushforward.safe_files import plain_path
from pushforward.table_column import Column
from pushforward.training import Run, load
from pushforward.training.lineage import leaks
from pushforward.training.own_columns import is_data_of
from pushforward.training.run import transport_of
from pushforward.training.run_data import data_of_run
from pushforward.transports import BATCH, Transport, has_steps, inner_of

if TYPE_CHECKING:
    from pushforward.couplings import Source


def check_unseen(name: str, run: Run, data: Dataset) -> None:
    """Refuse a run that was trained on held-out examples of the data.

    Raises:
        UsageError: Saying how many.
        CheckpointError: If the run's record of its training examples is damaged.
    """
    own, _ = run.seen.overlaps(data)
    if None not in (run.seen.apart, data.apart) and run.seen.apart != data.apart:
        rule = "apart" if run.seen.apart else "together"
        raise UsageError(
            f"{name} was trained on data whose equal rows are split {rule}, and those of {data.name} are not, so that its "
            f'held-out rows may be training rows: read it with copies="{rule}".'
        )
    if own:
        raise UsageError(
            f"{name} was trained on {own:,} of the {len(data.held_out):,} held-out examples of {data.name}, so its scores there "
            "would mean nothing. Judge it on the data that it was trained on, or on other examples, or train a new run."
        )


def unseen_warnings(model: Run | Transport, data: Dataset) -> tuple[str, ...]:
    """What a report must say of a model that may have seen held-out examples: from ancestors, or because the data repeats them.

    A transport does not know its training examples; those of a `GaussianBaseline` are taken to be the data's.
    """
    if isinstance(model, GaussianBaseline):
        return ()
    warnings = leaks(model.seen, data) if isinstance(model, Run) else ()
    known = isinstance(model, Run) and "examples_fingerprint" in model.spec and is_data_of(model.spec, data)
    if not isinstance(model, Run) or (
        not known and (model.seen.own is None or (model.seen.apart is None) != (data.apart is None))
    ):
        warnings += (
            f"it is unknown on which examples it was trained. If held-out examples of {data.name} were among them, these scores "
            "are too good." + ("" if isinstance(model, Run) else " Pass the run instead of its transport: it holds a record."),
        )
    return warnings + shared_examples(data) + _unscored_conditions(model)


def _unscored_conditions(model: Run | Transport) -> tuple[str, ...]:
    others = [(name, kind) for name, kind in model.space.conditions.items() if name != "label" and not kind.learned]
    entries = [entry for name, kind in others for entry in kind.entries or (name,)]
    if not entries:
        return ()
    return (f"scores do not look at {', '.join(entries)}: they do not find out a model that ignores what it is given.",)


def source_of(model: Run | Transport) -> Source | None:
    """The data set that a flow starts from instead of noise; None for models that start from noise."""
    flow = inner_of(model.transport if isinstance(model, Run) else model)
    return flow.source if has_steps(flow) else None


def starts(model: Run | Transport) -> int | None:
    """The different held-out examples that a flow starts from instead of noise; None for models that start from noise."""
    source = source_of(model)
    return None if source is None else len(torch.unique(source.held_out, dim=0))


def fitting(models: Iterable[Run | Transport], data: Dataset, n: int | None) -> int:
    """How many samples are compared: ``n`` where given, else as many as the data allows and every model can make.

    Raises:
        UsageError: If the data does not allow ``n``; see `compared`.
        DataError: If the data set is too small for any comparison.
    """
    if n:
        return compared(data, n)
    counts = [count for model in models if (count := starts(model)) is not None]
    return max(2, min([compared(data), *counts]))


def starts_warnings(model: Run | Transport, n: int) -> tuple[str, ...]:
    """What a report must say of a model that starts from other data than noise, also where fewer than ``n`` samples differ."""
    source, count = source_of(model), starts(model)
    if source is None or count is None:
        return ()
    moved = f"it does not start from noise: its samples are held-out examples of {source.data}, moved. So it is sampled once."
    if count >= n:
        return (moved,)
    return (
        moved,
        f"it starts from {count:,} different held-out examples of its source, so its {n:,} samples repeat, and its scores are "
        f"worse than those of different samples. Compare at most {count:,}: n={count}.",
    )


def check_model_kind(model: object) -> None:
    """Refuse what is neither a run nor a transport.

    Raises:
        UsageError: Saying what was expected.
    """
    if not isinstance(model, (Run, Transport)):
        raise UsageError(f"Expected a run (pf.load), its folder, or a transport; got a {type(model).__name__}.")


def models_of(models: Any) -> dict[str, Run | Transport]:
    """Models by name, from what `pushforward.compare` accepts.

    Raises:
        UsageError: For anything else, or where there is nothing to compare.
        CheckpointError: If a run cannot be read.
    """
    if isinstance(models, (Run, Transport, str, Path)) or not isinstance(models, (Mapping, Sequence)):
        kind = type(models).__name__
        raise UsageError(f'Expected models by name, such as {{"flow": run}}, or a list of runs or folders; got a {kind}.')
    if not models:
        raise UsageError("There is nothing to compare; name at least one recipe or run.")
    named = models if isinstance(models, Mapping) else _with_names(models)
    for model in named.values():
        if isinstance(model, str) and model in registry() and not Path(model).is_dir():
            raise UsageError(
                f'"{model}" is a recipe, and trained runs are compared. Train it first: '
                f'pf.compare({{"{model}": pf.fit("{model}", data, seconds=60), ...}}, data).'
            )
    loaded = {str(name): load(model) if isinstance(model, (str, Path)) else model for name, model in named.items()}
    for model in loaded.values():
        check_model_kind(model)
    return loaded


def _with_names(models: Sequence[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for model in models:
        if not isinstance(model, (Run, str, Path)):
            raise UsageError(f'A {type(model).__name__} has no name: give models by name, such as {{"flow": run.transport}}.')
        folder = model.folder if isinstance(model, Run) else Path(model)
        named[str(folder) if folder.name in named else folder.name] = model
    return named


def informed(models: Mapping[str, Run | Transport]) -> Run | Transport:
    """The model whose data says most: the first run with labels or other conditions, else the first model."""
    conditioned = [model for model in models.values() if isinstance(model, Run) and model.space.conditions]
    return conditioned[0] if conditioned else next(iter(models.values()))


def check_model(name: str, model: Run | Transport, data: Dataset) -> None:
    """Refuse a model that was made for other data.

    Raises:
        UsageError: Saying what it was made for.
    """
    space = transport_of(model).space
    if (tuple(space.shape), space.names) != (tuple(data.space.shape), data.space.names):
        if isinstance(space, TableSpace) and isinstance(data.space, TableSpace):
            raise UsageError(_other_columns(name, space, data.name, data.space))
        raise UsageError(f"{name} makes {_described(space)}; {data.name} has {_described(data.space)}.")
    if isinstance(model, Run):
        check_unseen(name, model, data)
    if isinstance(model, Run) and not is_data_of(model.spec, data):
        raise UsageError(f"{name} was trained on other data than {data.name}; compare runs of the same data.")


def _other_columns(name: str, own: TableSpace, other_name: str, other: TableSpace) -> str:
    here, there = ({field.name: field for field in space.fields} for space in (own, other))
    parts = {
        f"only {name} has": [column for column in here if column not in there],
        f"only {other_name} has": [column for column in there if column not in here],
        "other categories or frequent values in": [c for c in here if c in there and here[c].width != there[c].width],
    }
    differ = "; ".join(f"{words} {some(map(quoted, columns))}" for words, columns in parts.items() if columns)
    return f"{name} makes rows with other columns than {other_name}: {differ or 'another order'}. Compare runs of the same table."


def _described(space: Space) -> str:
    return f"rows of {counted(len(space.names), 'column')}" if space.names else f"examples of shape {tuple(space.shape)}"


def data_of(model: Run | Transport) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        UsageError: If the model does not say what that was.
        DataError: If it has changed since.
    """
    if not isinstance(model, Run):
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    absent = "Evaluate it in Python and give the data: pf.evaluate(run, data), or pf.compare(runs, data)."
    return data_of_run(model.folder, model.spec, None, absent=absent, changed="train again")


# Shares differ that are farther apart than a percentage point and than so many standard errors of their difference
POINT, ERRORS = 0.01, 4.0


def odd_rows(space: TableSpace, values: NDArray[np.float64], training: int) -> list[str]:
    """A sentence for each kind of cell that columns do not hold, for shares of frequent values, and for each broken constraint.

    Args:
        space: The table.
        values: Of its columns, (n, columns), NaN where missing.
        training: How many training rows the shares of its columns are of, at least 1.
    """
    sides = [(field, values[:, place]) for place, field in enumerate(space.fields)]
    numbers = [(field, column) for field, column in sides if isinstance(field, Number)]
    kinds = {
        "out of the range of the training rows": {field.name: _outside(field, column) for field, column in numbers},
        "no whole number in columns of whole numbers": {
            field.name: int((column % 1 > 0).sum()) for field, column in numbers if field.kind == "whole"
        },
        "missing in columns that lack no value in the training rows": {
            field.name: int(np.isnan(column).sum()) for field, column in sides if not field.missing
        },
    }
    notes = [_note(words, cells) for words, cells in kinds.items() if any(cells.values())]
    shares = [text for field, column in sides for text in _frequent(field, column, training)]
    if shares:
        notes.append(f"frequent and missing values have other shares than in the training rows: {some(shares)}.")
    fields, named = {field.name: field for field, _ in sides}, {field.name: column for field, column in sides}
    for constraint in space.constraints:
        broken = int((~holds(constraint, fields, named)).sum())
        if broken:
            rows = f"{count(broken, 'row')} of the samples break{'s' * (broken == 1)}"
            notes.append(f"{rows} the constraint {quoted(constraint.text)}.")
    return notes


def _outside(field: Number, column: NDArray[np.float64]) -> int:
    known = (*field.knots, *field.atoms)
    return int(((column < min(known)) | (column > max(known))).sum()) if known else 0


def _frequent(field: Column, column: NDArray[np.float64], training: int) -> Iterator[str]:
    """Each atom of a column of numbers, and its missing values, whose shares of samples and of training rows clearly differ.

    The standard error is that of two shares of one law, estimated from all rows (the pooled two-sample z-test).
    """
    atoms = field.atoms if isinstance(field, Number) else ()
    first = 1 if isinstance(field, Number) else len(field.levels)
    known = [(atom, share) for atom, share in zip((*atoms, *[np.nan] * field.missing), field.shares[first:], strict=True)]
    n = len(column)
    for value, share in known:
        seen = float(np.mean(np.isnan(column) if np.isnan(value) else column == value))
        pooled = (n * seen + training * share) / (n + training)
        if abs(seen - share) > max(POINT, ERRORS * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / training))):
            text = "missing" if np.isnan(value) else field.cells(np.array([value]))[0]
            yield f"{field.name}={text} {seen:.1%} instead of {share:.1%}"


def _note(words: str, cells: Mapping[str, int]) -> str:
    total = sum(cells.values())
    where = some(f"{name}: {number:,}" for name, number in cells.items() if number)
    return f"{count(total, 'cell')} of the samples {'is' if total == 1 else 'are'} {words} ({where}); scored as they are."


LEAST, SLACK = 2, 1e-3  # The fewest samples, and how far outside of [0, 1] images may lie


@dataclass(frozen=True)
class StoredSamples:
    """Samples of a file or a folder, which fit the data that they are to be compared with.

    Args:
        path: Where they are.
        x: (n, *shape), images uint8, vectors float32.
        labels: The number of each one's class in ``classes``, int64 (n,); None where there are none.
        classes: Names of the classes.
        unread: The arrays of the file that are no part of the samples, with their shapes.
        values: The rows of a table as the file holds them, float64 (n, columns), which ``x`` may round; None for other samples.
    """

    path: Path
    x: NDArray[np.generic]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    values: NDArray[np.float64] | None = None


def is_run(path: str | Path) -> bool:
    """Whether a path is meant as a run: it is no file or folder of samples."""
    folder = Path(path)
    return (folder / "spec.json").exists() or not folder.exists()


def read_samples(path: str | Path, data: Dataset) -> StoredSamples:
    """Samples of a file or a folder of images, checked against the data.

    Args:
        path: An .npz, .npy or .csv file, another table, or a folder of images. Of an .npz ``x`` and ``label`` (or ``y``) are
            read.
        data: What they are to be compared with.

    Raises:
        DataError: For files that cannot be read, examples of another shape, fewer than two, or values that are not finite.
    """
    path = plain_path(Path(path))
    split, classes = _read(path, data)
    check_samples(str(path), split.x, data)
    known = {name for kind in data.space.conditions for name in (kind, f"{kind}_names")}
    unread = tuple(array for array in left_out(path) if array.partition(" ")[0] not in known)
    return StoredSamples(path, split.x, split.labels, classes, unread, split.table_values)


def check_samples(name: str, x: np.ndarray, data: Dataset) -> None:
    """Refuse samples that cannot be compared with the data.

    Args:
        name: What messages call them.
        x: (n, *shape) in data units; images may be uint8.
        data: The data.

    Raises:
        DataError: For examples of another shape, fewer than two, or values that are not finite or out of range.
    """
    shape, images = tuple(data.space.shape), data.space.levels is not None
    if tuple(x.shape[1:]) != shape:
        raise DataError(
            f'"{name}" holds samples of shape {tuple(x.shape[1:])}, and {data.name} has examples of shape {shape}: expected the '
            "same size and channels, in the layout of that data."
        )
    if len(x) < LEAST:
        raise DataError(f'"{name}" holds {counted(len(x), "sample")}; scores need at least {LEAST}.')
    finite = np.isfinite(x.reshape(len(x), -1)).all(1) if x.dtype.kind == "f" else np.ones(len(x), bool)
    if not finite.all():
        raise DataError(f"{int((~finite).sum())} of {len(x)} samples of {name} hold NaN or infinite values: remove them.")
    outside = x.dtype.kind == "f" and (x.min() < -SLACK or x.max() > 1 + SLACK)
    if images and (outside or (x.dtype.kind != "f" and x.dtype != np.uint8)):
        raise DataError(
            f'"{name}" holds images of type {x.dtype} from {x.min():g} to {x.max():g}: expected uint8 from 0 to 255, or floats '
            "from 0 to 1."
        )


def _read(path: Path, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    if isinstance(data.space, TableSpace) and path.suffix.lower() in TABLES:
        values = read_rows(path, data.space)
        return Split(data.space.encoded(values, foreign=True), table_values=values), ()
    if path.suffix.lower() != ".csv":
        return _in_order(path, examples_in(path, Reading()), data)
    names, own = _header(path), tuple(data.space.columns)
    target, given = _label_column(names, data), _given_columns(names, data)
    header = True if target or given or (own and set(own) <= set(names)) else (data.origin or {}).get("header")
    split, classes, columns = examples_in(path, Reading(target=target, header=header))
    keep = [place for place, name in enumerate(columns) if name not in given]
    if len(keep) < len(columns):
        split, columns = replace(split, x=split.x[:, keep]), tuple(columns[place] for place in keep)
    return _in_order(path, (split, classes, columns), data)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return [cell.strip() for cell in re.split("[,;\\t]", file.readline().strip().replace('"', ""))]


def _label_column(names: Sequence[str], data: Dataset) -> str | None:
    kind = data.space.conditions.get("label")
    called = [kind.target] if isinstance(kind, Label) and kind.target else []
    return next((name for name in (*called, "label") if name in names and name not in data.space.columns), None)


def _given_columns(names: Sequence[str], data: Dataset) -> tuple[str, ...]:
    entries = {entry for kind in data.space.conditions.values() for entry in kind.entries}
    return tuple(name for name in names if name in entries and name not in data.space.columns)


def _in_order(path: Path, examples: Examples, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    (split, classes, columns), wanted = examples, tuple(data.space.columns)
    if not columns or not wanted or columns == wanted:
        return split, classes
    if set(columns) != set(wanted):
        raise DataError(
            f"{path} has the columns {', '.join(columns)}, and {data.name} has {', '.join(wanted)}: expected the same."
        )
    return replace(split, x=split.x[:, [columns.index(name) for name in wanted]]), classes


HELD = 1024  # Held-out examples that are read at a time


class Given:
    """Samples in data units. Repeated samplings take different ones, as long as there are enough.

    Args:
        x: (n, *shape), float32.
        labels: The class of each as a number of the data's classes (n,), int64; None where unknown.
        notes: What a reader of their scores must know.
        values: The rows of a table as their file holds them, (n, columns), float64; None where there are only coordinates.
    """

    def __init__(
        self,
        x: Tensor,
        labels: np.ndarray | None = None,
        notes: tuple[str, ...] = (),
        values: np.ndarray | None = None,
    ) -> None:
        order = permutation(len(x), 0)  # a folder or a file may be sorted by class
        self.values = None if values is None else values[order]
        self.x, self.labels, self.notes = x[torch.from_numpy(order)], None if labels is None else labels[order], notes

    def __len__(self) -> int:
        """How many samples."""
        return len(self.x)

    def stream(self, n: int, *, seed: int = 0, batch: int = BATCH) -> Iterator[tuple[Tensor, Condition]]:
        """The r-th n samples with their labels, for the seed of repeat r (`pushforward.evaluation.results.REPEAT_SEEDS`)."""
        first = _first(n, seed)
        for start in range(first, first + n, batch):
            part = slice(start, min(start + batch, first + n))
            labels = None if self.labels is None else {"label": torch.from_numpy(self.labels[part])}
            yield self.x[part], labels

    def values_of(self, n: int, seed: int) -> np.ndarray | None:
        """The values of what `stream` yields."""
        first = _first(n, seed)
        return None if self.values is None else self.values[first : first + n]

    @property
    def every(self) -> Tensor | np.ndarray:
        """All rows: their values, or coordinates."""
        return self.x if self.values is None else self.values


def _first(n: int, seed: int) -> int:
    return max(0, seed // REPEAT_SEEDS - 1) * n


def given_samples(samples: Any, data: Dataset) -> Given:
    """Samples of a file, a folder of images, or an array, checked against the data.

    Args:
        samples: A path (.npz, .npy, .csv, or a folder of images), what was read of one (`read_samples`), or (n, *shape) in data
            units; images may be uint8.
        data: What they are to be compared with.

    Raises:
        DataError: For files that cannot be read, examples of another shape, fewer than two, or values that are not finite.
        UsageError: For samples of another type.
    """
    if isinstance(samples, (str, Path)):
        samples = read_samples(samples, data)
    if isinstance(samples, StoredSamples):
        numbers, notes = _numbered(samples.labels, samples.classes, tuple(data.space.classes)), _notes(samples)
        if samples.labels is not None and numbers is None:
            notes.append(f"the labels in {samples.path} are no classes of {data.name}, so they are not scored.")
        examples = quantised(samples.x, data.space)
    elif isinstance(samples, (np.ndarray, Tensor)):
        x = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        check_samples("The array", x, data)
        numbers, notes, examples = None, [], quantised(x, data.space)
    else:
        raise UsageError(f"Expected samples as a path, an array or a tensor; got a {type(samples).__name__}.")
    copies = 0 if isinstance(data.space, TableSpace) else _held_out_copies(examples, data)  # rows of few values repeat by chance
    if copies:
        notes.append(
            f"{copies:,} of the {len(examples):,} samples are held-out examples of {data.name}: scores against them mean little."
        )
    values = samples.values if isinstance(samples, StoredSamples) else None
    if values is not None and isinstance(data.space, TableSpace):
        notes += odd_rows(data.space, values, len(data.train))
    return Given(examples, numbers, tuple(notes), values)


def _held_out_copies(examples: Tensor, data: Dataset) -> int:
    counts = Counter(example.tobytes() for example in examples.numpy())
    known = set[bytes]()
    for start in range(0, len(data.held_out), HELD):
        part = quantised(data.held_out.x[start : start + HELD], data.space).numpy()
        known |= {content for content in (example.tobytes() for example in part) if content in counts}
    return sum(counts[content] for content in known)


def _notes(samples: StoredSamples) -> list[str]:
    if not samples.unread:
        return []
    many, s = (" are", "s") if len(samples.unread) > 1 else (" is", "")
    return [f"the array{s} {', '.join(samples.unread)} of {samples.path.name}{many} not compared: samples are x, classes label."]


def _numbered(labels: np.ndarray | None, names: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray | None:
    """Labels as numbers of the data's classes; None where a name is none of them."""
    if labels is None or not set(names) <= set(classes):
        return None
    numbers = np.array([classes.index(name) for name in names], np.int64)
    return np.asarray(numbers[labels])


def unknown_origin(samples: Any, given: Given, scores: ModelResult, data: Dataset) -> ModelResult:
    """The result with the name of the samples, and the warning that nothing is known of the model."""
    path = samples.path if isinstance(samples, StoredSamples) else samples
    name = Path(path).name if isinstance(path, (str, Path)) else "samples"
    warning = (
        f"it is unknown on which examples the model of these samples was trained. If held-out examples of {data.name} were among "
        "them, these scores are too good."
    )
    return replace(scores, name=name, given=True, warnings=(*given.notes, warning))
