"""What can be evaluated: runs, transports, given samples; whether they fit the data and have not seen its held-out examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.conditions.label import Label
from pushforward.data import Dataset, TableSpace
from pushforward.data.core.dataset import Split, shared_examples
from pushforward.data.core.hashes import permutation
from pushforward.data.readers import examples_in
from pushforward.data.readers.reader import Reading
from pushforward.data.readers.tables import TABLES, read_rows
from pushforward.data.tables import Number
from pushforward.data.tables.constraints import holds
from pushforward.errors import DataError, UsageError, quoted
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.features import quantised
from pushforward.evaluation.results import REPEAT_SEEDS
from pushforward.evaluation.scores import compared
from pushforward.files import plain_path
from pushforward.numbers import some
from pushforward.paths import Source
from pushforward.registries import RECIPES
from pushforward.training import Run, load
from pushforward.training.runs.provenance import data_of_run, leaks
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport, has_steps, inner_of

LEAST, SLACK = 2, 1e-3  # the fewest samples, and how far outside of [0, 1] images may lie
HELD = 1024  # held-out examples that are read at a time


def check_model_kind(model: object) -> None:
    """Refuse what is neither a run nor a transport.

    Raises:
        UsageError: Saying what was expected.
    """
    if not isinstance(model, (Run, Transport)):
        raise UsageError(f"Expected a run (pf.load), its folder, or a transport; got a {type(model).__name__}.")


def models_of(models: Any) -> dict[str, Run | Transport]:
    """Models by name, from what `pushforward.compare` accepts; runs and folders of a list by their folder's name.

    Raises:
        UsageError: For anything else, or where there is nothing to compare.
        CheckpointError: If a run cannot be read.
    """
    if isinstance(models, (str, Path)) or not isinstance(models, (Mapping, Sequence)):
        kind = type(models).__name__
        raise UsageError(f'Expected models by name, such as {{"flow": run}}, or a list of runs or folders; got a {kind}.')
    if not models:
        raise UsageError("There is nothing to compare; name at least one recipe or run.")
    named: dict[str, Any] = dict(models) if isinstance(models, Mapping) else {}
    for model in () if named else models:
        if not isinstance(model, (Run, str, Path)):
            raise UsageError(f'A {type(model).__name__} has no name: give models by name, such as {{"flow": run.transport}}.')
        folder = model.folder if isinstance(model, Run) else Path(model)
        named[str(folder) if folder.name in named else folder.name] = model
    for name, model in named.items():
        if isinstance(model, str) and model in RECIPES and not Path(model).is_dir():
            raise UsageError(f'"{model}" is a recipe, and trained runs are compared: train it first, pf.fit("{model}", data).')
        named[name] = load(model) if isinstance(model, (str, Path)) else model
        check_model_kind(named[name])
    return {str(name): model for name, model in named.items()}


def informed(models: Mapping[str, Run | Transport]) -> Run | Transport:
    """The model whose data says most: the first run with labels or other conditions, else the first model."""
    conditioned = [model for model in models.values() if isinstance(model, Run) and model.space.conditions]
    return conditioned[0] if conditioned else next(iter(models.values()))


def check_model(name: str, model: Run | Transport, data: Dataset) -> None:
    """Refuse a model that was made for other data, or trained on held-out examples.

    Raises:
        UsageError: Saying what it was made for.
    """
    space, other = transport_of(model).space, data.space
    if (tuple(space.shape), space.names) != (tuple(other.shape), other.names):
        if isinstance(space, TableSpace) and isinstance(other, TableSpace):
            here, there = ({field.name: field.width for field in each.fields}.items() for each in (space, other))
            differ = some(map(quoted, sorted({column for column, _ in here ^ there}))) or "their order"
            raise UsageError(f"{name} makes rows of another table than {data.name}; columns or categories differ: {differ}.")
        raise UsageError(f"{name} makes examples of shape {tuple(space.shape)}; {data.name} has {tuple(other.shape)}.")
    if isinstance(model, Run):
        check_unseen(name, model, data)
        if model.spec["examples_fingerprint"] != data.examples_fingerprint:
            raise UsageError(f"{name} was trained on other data than {data.name}; compare runs of the same data.")


def data_of(model: Run | Transport) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        UsageError: If the model does not say what that was.
        DataError: If it has changed since.
    """
    if not isinstance(model, Run):
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    return data_of_run(model.folder, model.spec)


# Whether held-out examples are new to a model, and how many different samples it can make.


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
            f"{name} was trained on data whose equal rows are split {rule}, so that held-out rows of {data.name} may be its "
            f'training rows: read it with copies="{rule}".'
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
    known = isinstance(model, Run) and model.spec["examples_fingerprint"] == data.examples_fingerprint
    if not isinstance(model, Run) or (
        not known and (model.seen.own is None or (model.seen.apart is None) != (data.apart is None))
    ):
        warnings += (
            f"it is unknown on which examples it was trained. If held-out examples of {data.name} were among them, these scores "
            "are too good." + ("" if isinstance(model, Run) else " Pass the run instead of its transport: it holds a record."),
        )
    others = [(name, kind) for name, kind in model.space.conditions.items() if name != "label" and not kind.learned]
    entries = [entry for name, kind in others for entry in kind.entries or (name,)]
    unscored = (f"scores do not look at {', '.join(entries)}: they do not find out a model that ignores what it is given.",)
    return warnings + shared_examples(data) + (unscored if entries else ())


def source_of(model: Run | Transport) -> Source | None:
    """The data set that a flow starts from instead of noise; None for models that start from noise."""
    flow = inner_of(transport_of(model))
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


# Samples that are given.


@dataclass(frozen=True)
class StoredSamples:
    """Samples of a file or a folder, which fit the data that they are to be compared with.

    Args:
        path: Where they are.
        x: (n, *shape), images uint8, vectors float32.
        labels: The number of each one's class in ``classes``, int64 (n,); None where there are none.
        classes: Names of the classes.
        values: The rows of a table as the file holds them, float64 (n, columns), which ``x`` may round; None for other samples.
    """

    path: Path
    x: NDArray[np.generic]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    values: NDArray[np.float64] | None = None


class Given:
    """Samples in data units. Repeated samplings take different ones, as long as there are enough.

    Args:
        x: (n, *shape), float32.
        labels: The class of each as a number of the data's classes (n,), int64; None where unknown.
        notes: What a reader of their scores must know.
        values: The rows of a table as their file holds them, (n, columns), float64; None where there are only coordinates.
    """

    def __init__(self, x: Tensor, labels: np.ndarray | None, notes: Sequence[str], values: np.ndarray | None) -> None:
        order = permutation(len(x), 0)  # a folder or a file may be sorted by class
        self.x, self.labels, self.notes = x[torch.from_numpy(order)], None if labels is None else labels[order], tuple(notes)
        self.values = None if values is None else values[order]
        self.every = self.x if values is None else self.values

    def __len__(self) -> int:
        """How many samples."""
        return len(self.x)

    def part(self, n: int, seed: int) -> tuple[Tensor, np.ndarray | None, np.ndarray | None]:
        """The r-th n samples, labels and values, for the seed of repeat r (`pushforward.evaluation.results.REPEAT_SEEDS`)."""
        first = max(0, seed // REPEAT_SEEDS - 1) * n
        x, labels, values = (None if rows is None else rows[first : first + n] for rows in (self.x, self.labels, self.values))
        assert isinstance(x, Tensor)
        return x, labels, values  # type: ignore[return-value]


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
    elif isinstance(samples, (np.ndarray, Tensor)):
        x = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        check_samples("The array", x, data)
        samples = StoredSamples(Path("samples"), x)
    elif not isinstance(samples, StoredSamples):
        raise UsageError(f"Expected samples as a path, an array or a tensor; got a {type(samples).__name__}.")
    examples, space, labels, notes = quantised(samples.x, data.space), data.space, samples.labels, []
    if labels is not None:
        places = [space.classes.index(name) if name in space.classes else -1 for name in samples.classes]
        labels = np.array(places, np.int64)[labels] if min(places, default=0) >= 0 else None
        if labels is None:
            notes.append(f"the labels in {samples.path} are no classes of {data.name}, so they are not scored.")
    copies = 0 if isinstance(space, TableSpace) else _held_out_copies(examples, data)  # rows of few values repeat by chance
    if copies:
        notes.append(
            f"{copies:,} of the {len(examples):,} samples are held-out examples of {data.name}: scores against them mean little."
        )
    if samples.values is not None and isinstance(space, TableSpace):
        notes += invalid_rows(space, samples.values)
    return Given(examples, labels, notes, samples.values)


def _held_out_copies(examples: Tensor, data: Dataset) -> int:
    counts = Counter(example.tobytes() for example in examples.numpy())
    known = set[bytes]()
    for start in range(0, len(data.held_out), HELD):
        part = quantised(data.held_out.x[start : start + HELD], data.space).numpy()
        known |= {content for content in (example.tobytes() for example in part) if content in counts}
    return sum(counts[content] for content in known)


def invalid_rows(space: TableSpace, values: NDArray[np.float64]) -> list[str]:
    """Sentences on cells that the training rows' columns cannot hold, and on each broken constraint.

    Args:
        space: The table.
        values: Of its columns, (n, columns), NaN where missing.
    """
    named, cells, notes = dict(zip(space.names, values.T, strict=True)), {}, []
    for field in space.fields:
        column, known = named[field.name], (*field.knots, *field.atoms) if isinstance(field, Number) else ()
        wrong = (column < min(known, default=-np.inf)) | (column > max(known, default=np.inf))
        wrong |= (np.isnan(column) & (not field.missing)) | ((column % 1 > 0) & (field.kind == "whole"))
        cells[field.name] = int(wrong.sum())
    if any(cells.values()):
        where = some(f"{name}: {number:,}" for name, number in cells.items() if number)
        notes.append(f"cells out of range, fractional or missing as in no training row: {where}. They are scored as they are.")
    fields = {field.name: field for field in space.fields}
    for constraint in space.constraints:
        count = int((~holds(constraint, fields, named)).sum())
        if count:
            notes.append(f"rows of the samples that break the constraint {quoted(constraint.text)}: {count:,}.")
    return notes


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
    if isinstance(data.space, TableSpace) and path.suffix.lower() in TABLES.endings:
        values = read_rows(path, data.space)
        split, classes = Split(data.space.encoded(values, foreign=True), table_values=values), tuple[str, ...]()
    else:
        split, classes = _read(path, data)
    check_samples(str(path), split.x, data)
    return StoredSamples(path, split.x, split.labels, classes, split.table_values)


def check_samples(name: str, x: np.ndarray, data: Dataset) -> None:
    """Refuse samples that cannot be compared with the data.

    Args:
        name: What messages call them.
        x: (n, *shape) in data units; images may be uint8.
        data: The data.

    Raises:
        DataError: For examples of another shape, fewer than two, or values that are not finite or out of range.
    """
    shape, images, floats = tuple(data.space.shape), data.space.levels is not None, x.dtype.kind == "f"
    if tuple(x.shape[1:]) != shape:
        raise DataError(
            f'"{name}" holds samples of shape {tuple(x.shape[1:])}, and {data.name} has examples of shape {shape}: expected the '
            "same size and channels, in the layout of that data."
        )
    if len(x) < LEAST:
        raise DataError(f'"{name}" holds too few samples, {len(x)}: scores need at least {LEAST}.')
    wrong = int((~np.isfinite(x.reshape(len(x), -1))).any(1).sum()) if floats else 0
    if wrong:
        raise DataError(f"{wrong} of {len(x)} samples of {name} hold NaN or infinite values: remove them.")
    fits = x.min() >= -SLACK and x.max() <= 1 + SLACK if floats else x.dtype == np.uint8
    if images and not fits:
        raise DataError(
            f'"{name}" holds images of type {x.dtype} from {x.min():g} to {x.max():g}: expected uint8 from 0 to 255, or floats '
            "from 0 to 1."
        )


def _read(path: Path, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    """Examples with their columns in the data's order, and the names of their classes."""
    space, own = data.space, tuple(data.space.columns)
    reading, given = Reading(), set[str]()
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            cells = re.split("[,;\\t]", file.readline().strip().replace('"', ""))
        names = {cell.strip() for cell in cells} - set(own)
        kind = space.conditions.get("label")
        called = (kind.target if isinstance(kind, Label) else None, "label")
        target = next((name for name in called if name in names), None)
        given = names & {entry for kind in space.conditions.values() for entry in kind.entries}
        header = True if target or given or (own and set(own) <= {cell.strip() for cell in cells}) else None
        reading = Reading(target=target, header=header or (data.origin or {}).get("header"))
    split, classes, columns = examples_in(path, reading)
    keep = [name for name in columns if name not in given]  # what the model received is not compared
    if own and columns and set(keep) != set(own):
        raise DataError(f"{path} has the columns {', '.join(keep)}, and {data.name} has {', '.join(own)}: expected the same.")
    wanted = own if own and columns else keep
    if list(wanted) != list(columns):
        split = replace(split, x=split.x[:, [columns.index(name) for name in wanted]])
    return split, classes
