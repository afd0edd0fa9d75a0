"""The floor of near-copies: how many training examples have a near-copy among all the others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.label import Label
from pushforward.data.dataset import Dataset, Split
from pushforward.data.spaces import Space, TableSpace
from pushforward.data.stacked import numbered
from pushforward.data.streamed import selected, without
from pushforward.data.tables.renumbering import renumbered
from pushforward.data.truth import Stack
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import Cache, Features, cache_folder, halves, quantised, write_whole
from pushforward.evaluation.intervals import deviation
from pushforward.extractors.classifier import EXAMPLES as AT_A_TIME
from pushforward.metrics import Metric, Samples, Score, registry
from pushforward.metrics.memorisation import Memorisation, near_copies
from pushforward.metrics.selection import MODEL_SCORES, Choice, chosen, measured
from pushforward.metrics.subsets import drawn
from pushforward.metrics.table import Table, embedding
from pushforward.metrics.trees import inputs
from pushforward.metrics.uncertainty import area
from pushforward.metrics.utility import Utility
from pushforward.predictor import Condition
from pushforward.transports import Transport


def copied(
    x: np.ndarray, used: NDArray[np.int64], references: Sequence[np.ndarray], scale: np.ndarray | None, part: float
) -> NDArray[np.bool_] | None:
    """Which examples are near-copies of the other examples of a set, as samples of a model are of all training examples.

    A model's samples are compared with the whole training set. Comparing the examples of one redraw with what the redraw leaves
    of it would miss the twins that it takes away. So the examples are judged in as many blocks as there are references, each
    against all examples outside of its block.

    Args:
        x: (k, d) training examples; float32, or uint8 where 255 stands for 1.
        used: Numbers of the examples that are judged, sorted.
        references: Held-out examples (m, d) that set a block's threshold.
        scale: What each column is divided by, (d,).
        part: As `near_copies` has it.

    Returns:
        For each of ``used``; None where a threshold is 0, so that nothing can be said.
    """
    copies = np.zeros(len(used), bool)
    for block, reference in enumerate(references):
        block_places = np.arange(block, len(used), len(references))
        if not len(block_places):
            continue
        others = np.ones(len(x), bool)
        others[used[block_places]] = False
        examples = x[used[block_places]].astype(np.float32)
        examples = examples / np.float32(255) if x.dtype == np.uint8 else examples
        copies[block_places], threshold = near_copies(examples, selected(x, others), reference, scale, part)
        if threshold == 0:
            return None
    return copies


def floor_path(folder: Path, key: str, n: int, redraws: int, chosen: Choice, parts: Sequence[Any]) -> Path:
    """The floors' file; its name hashes everything that they depend on, the metrics' source included.

    Args:
        folder: The cache.
        key: Of the features.
        n: Examples on either side.
        redraws: How often they are drawn.
        chosen: The metrics.
        parts: Functions whose files hold the code that draws the examples.
    """
    named = [(type(metric).__qualname__, sorted(vars(metric).items()), scores) for metric, scores in chosen]
    words = hashlib.sha256(repr((key, n, redraws, named)).encode())
    words.update(_source(chosen, parts))
    return folder / "floors" / f"{words.hexdigest()[:32]}.json"


def _source(chosen: Choice, parts: Sequence[Any]) -> bytes:
    import inspect
    import sys

    files = {inspect.getfile(type(metric)) for metric, _ in chosen}
    files |= {inspect.getfile(sys.modules[part.__module__]) for part in (*parts, drawn, Memorisation, Table, inputs, area)}
    return b"".join(hashlib.sha256(Path(file).read_bytes()).digest() for file in sorted(files))


def read_floors(path: Path) -> dict[str, Score] | None:
    """The floors in a file; None where it is missing or damaged."""
    try:
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        if content["key"] != path.stem:
            return None
        return {name: Score.from_plain(row) for name, row in content["floors"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_floors(path: Path, floors: Mapping[str, Score]) -> None:
    """Write floors into the cache."""
    content = {name: floor.to_plain() for name, floor in floors.items()}
    write_whole(path, json.dumps({"format_version": 2, "key": path.stem, "floors": content}).encode())


GOLDEN = (5**0.5 - 1) / 2  # multiples of it modulo 1 fill the unit interval evenly, and so does any stretch of them


def reads_classes(choice: Choice, dataset: Dataset, features: Features) -> bool:
    """Whether a metric wants classes (``reads_classes``), and a classifier and labels give them."""
    wanted = any(getattr(metric, "reads_classes", False) for metric, _ in choice)
    return wanted and features.classifies and dataset.held_out.labels is not None


def classes_of(split: Split, index: np.ndarray, features: Features) -> np.ndarray:
    """The class of examples as the classifier reads it, int64, one for each of ``index``."""
    parts = [index[start : start + AT_A_TIME] for start in range(0, len(index), AT_A_TIME)]
    return np.concatenate([features.classify(split.data_units(part)) for part in parts])


def class_fields(generated: np.ndarray, dataset: Dataset, reference: np.ndarray) -> dict[str, Any]:
    """The fields of `pushforward.metrics.Samples` that hold classes.

    Args:
        generated: The class of each generated example, (n,).
        dataset: With labels.
        reference: Numbers of the held-out examples that are compared.
    """
    labels = dataset.held_out.labels
    assert labels is not None, "reads_classes says whether there are labels"
    return {"generated_classes": generated, "reference_classes": labels[reference], "classes": len(dataset.space.classes)}


def labels_for(transport: Transport, data: Dataset, n: int, seed: int) -> Condition:
    """Labels of n samples in proportion to the training examples', within about two of each class; None without labels.

    They are the same for every model, and the label of sample i comes from ``seed + i`` alone.
    """
    own, label = transport.space.label, data.space.label
    if own is None or label is None or not label.frequencies or own.channels != label.channels:
        return None
    places = torch.from_numpy((seed + np.arange(n)) * GOLDEN % 1)
    return {"label": label.draw(places, places)}


def in_proportion(
    examples: NDArray[np.int64], split: Split, label: Label | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of a split's examples in an order by chance, of which the first n have classes in proportion, whatever n is."""
    order = random.permutation(examples)
    if label is None or split.labels is None or not label.frequencies:
        return order
    own = split.labels[order]
    by_class = np.argsort(own, kind="stable")
    rank = np.empty(len(own))
    rank[by_class] = np.arange(len(own)) - np.searchsorted(own[by_class], own[by_class])
    shares, start = np.maximum(label.frequencies, 1e-12), random.random(len(label.frequencies))
    return order[np.argsort((rank + start[own]) / shares[own], kind="stable")]


# What distances between rows of a table are measured in; another one needs other words, so that scores are not compared
REPRESENTATION = "values of the file: numbers in standard deviations of the training rows, indicators of categories and gaps"
BLOCK = 65_536  # How many rows are turned into points at a time
MOST, TO_LEARN = 10_000, 50_000  # Samples that an attack, and a predictor of the target, use at most, unless more are compared


def attacked(dataset: Dataset, n: int) -> int:
    """How many samples of a model are drawn where n are compared: of tables twice the training rows, at most 10,000.

    A model that repeats rows is told by the rows that it has repeated, so that few samples hide it from an attack. With a target
    there are as many samples as training rows, at most 50,000, as a predictor learns more from more rows.
    """
    space, train = dataset.space, len(dataset.train)
    learned = min(train, TO_LEARN) if isinstance(space, TableSpace) and space.target else 0
    return max(n, min(2 * train, MOST), learned) if isinstance(space, TableSpace) else n


def column_names(space: Space) -> tuple[str, ...]:
    """The names of a table's columns, or of a vector's numbers."""
    return space.names if isinstance(space, TableSpace) else tuple(space.columns)


def rows_at(split: Split, index: Any) -> Tensor | np.ndarray:
    """Rows as their file holds them, float64 (n, columns), where that is known; else coordinates in data units, (n, d)."""
    return split.data_units(index) if split.table_values is None else split.table_values[index]


def table_of(
    space: Space, generated: Tensor | np.ndarray, reference: Tensor | np.ndarray, learned: Tensor | np.ndarray | None = None
) -> Table | None:
    """The values of generated and held-out rows; None for data that is no table of mixed types.

    Args:
        space: Of the data.
        generated: (n, d) coordinates in data units, or (n, columns) values, float64, which may be none that the columns hold.
        reference: (m, d) or (m, columns).
        learned: (k, d) or (k, columns): the rows that a predictor of the target learns from; None for those generated.
    """
    if not isinstance(space, TableSpace):
        return None
    return Table(
        generated=_values(space, generated),
        reference=_values(space, reference),
        names=space.names,
        kinds=tuple(field.kind for field in space.fields),
        labels=tuple(field.levels for field in space.fields),
        target=space.target,
        missing=tuple(field.missing for field in space.fields),
        learned=_values(space, learned) if learned is not None and space.target else None,
    )


def recoded(x: Tensor, own: Space, space: Space) -> tuple[Tensor, np.ndarray | None]:
    """Samples of a model in the coordinates of the data: rows of a table whose coordinates are others keep their values.

    Args:
        x: (n, *shape) in data units of ``own``.
        own: The model's space.
        space: The data's.

    Returns:
        The samples, and of rows in other coordinates their values, float64 (n, columns), which those of the data may round.

    Raises:
        DataError: For categories that the data does not have.
    """
    if not isinstance(own, TableSpace) or not isinstance(space, TableSpace):
        return x, None
    if own.fields == space.fields or own.names != space.names:
        return x, None
    values = renumbered(own.values(x), own.fields, space.fields)
    return torch.from_numpy(space.encoded(values, foreign=True)), values


def _values(space: TableSpace, rows: Tensor | np.ndarray) -> np.ndarray:
    return rows if isinstance(rows, np.ndarray) and space.accepts(rows) else space.values(rows)


class Raw:
    """Examples as metrics of distances receive them, flat float32 (n, d): data units, or of tables points of their values.

    The points of a table (`REPRESENTATION`) depend on its data alone, and on no model and no coordinates. Numbers beyond the
    training rows' range count as its ends.

    Args:
        dataset: The data.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.space = dataset, dataset.space

    def of(self, x: Tensor, values: np.ndarray | None = None) -> np.ndarray:
        """Examples in data units, or rows of a table with these values.

        Args:
            x: (n, *shape).
            values: float64 (n, columns); None for those of ``x``.
        """
        if not isinstance(self.space, TableSpace):
            return x.flatten(1).numpy()
        return self._points(self.space.values(x) if values is None else values)

    def at(self, split: Split, index: Any) -> np.ndarray:
        """Some examples of a split."""
        if not isinstance(self.space, TableSpace):
            return self.of(split.data_units(index))
        return self._points(_values(self.space, rows_at(split, index)))

    @cached_property
    def training(self) -> np.ndarray:
        """All training examples; images as they are stored, uint8."""
        train = self.dataset.train
        return self.at(train, slice(None)) if isinstance(self.space, TableSpace) else train.x.reshape(len(train), -1)

    @property
    def scale(self) -> np.ndarray | None:
        """What each number is divided by for distances, (d,); None for points, which are standardised."""
        return None if isinstance(self.space, TableSpace) else self.space.scale

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.training.shape[1:] if isinstance(self.space, TableSpace) else tuple(self.space.shape)

    def _points(self, values: np.ndarray) -> np.ndarray:
        low, high, points = self._embedding
        blocks = [np.clip(values[start : start + BLOCK], low, high) for start in range(0, max(1, len(values)), BLOCK)]
        return np.concatenate([points(block).astype(np.float32) for block in blocks])

    @cached_property
    def _embedding(self) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        assert isinstance(self.space, TableSpace)
        known, fields = _values(self.space, rows_at(self.dataset.train, slice(None))), self.space.fields
        table = table_of(self.space, known[:1], known[:1])
        assert table is not None
        points = embedding(known, table.categorical.tolist(), [len(names) for names in table.labels], [f.missing for f in fields])
        low, high = (
            np.where(table.categorical, end, reduced)
            for end, reduced in ((-np.inf, np.fmin.reduce(known)), (np.inf, np.fmax.reduce(known)))
        )
        return low, high, points


SCORING_MOST = 10_000  # Examples that are compared at most unless more are asked for
# How often a floor's examples are drawn again unless another number is asked for; those of tables, whose metrics take long
REDRAWS, OF_TABLES = 20, 10

# What draws a floor's examples, beside this file: another source makes another floor
PARTS = (copied, halves, numbered, class_fields, table_of, in_proportion)


def compared(dataset: Dataset, n: int | None = None, learned: bool = False) -> int:
    """How many examples either side of a comparison has.

    Args:
        dataset: Its held-out split is the reference.
        n: The wish; None takes min(held-out examples, half of the training examples that floors are drawn from, 10,000).
        learned: As in `halves`.

    Raises:
        UsageError: If n is more than the held-out examples or all but one of those that floors are drawn from, or less than 2.
        DataError: If the data set is too small for any comparison.
    """
    held_out, train = len(dataset.held_out), len(dataset.train)
    drawn = train if isinstance(dataset.truth, Stack) else len(halves(dataset, learned).drawn)
    most = min(held_out, drawn - 1)
    if most < 2:
        least = 3 if drawn == train else 5
        raise DataError(
            f"{dataset.name} has {train} training and {held_out} held-out examples; scores need at least {least} and 2."
        )
    if n is None:
        return max(2, min(held_out, (drawn + 1) // 2, SCORING_MOST))
    n = whole("n", n)
    if not 2 <= n <= most:
        half = (
            ""
            if drawn == train or most == held_out
            else f", and {train} training examples, of which real data's scores take half"
        )
        raise UsageError(f"`n` must be from 2 to {most} ({dataset.name} has {held_out} held-out examples{half}), got {n}.")
    return n


def score(
    generated: Tensor | np.ndarray,
    dataset: Dataset,
    features: Features,
    *,
    n: int | None = None,
    metrics: Sequence[str | Metric] | None = None,
    redraw_seed: int = 0,
    values: np.ndarray | None = None,
    learned: Tensor | np.ndarray | None = None,
) -> dict[str, Score]:
    """Score generated examples against held-out ones, equally many on either side.

    Args:
        generated: (n or more, *shape) in data units; the first n are used, and of tables all for attacks.
        dataset: The data.
        features: From `fit_features`.
        n: Examples on either side; None means `compared`.
        metrics: Names of metrics or of single scores, or metrics themselves; None means all that apply.
        redraw_seed: Which n of the held-out examples are the reference, where there are more.
        values: The values of the generated rows of a table, float64 (n or more, columns), where these are known beside their
            coordinates, which may round them.
        learned: The rows of a table that a predictor of the target learns from, coordinates or values, at most as many as there
            are training rows; None takes those generated.

    Returns:
        Scores by name, in a fixed order.

    Raises:
        UsageError: If there are fewer generated examples than n, or a name is unknown.
        Diverged: If generated examples hold NaN or infinity; the message says how many.
    """
    n = compared(dataset, n)
    if len(generated) < n:
        raise UsageError(f"{len(generated)} examples were generated and {n} are compared; generate more, or lower n.")
    every, raw = quantised(generated if isinstance(dataset.space, TableSpace) else generated[:n], dataset.space), Raw(dataset)
    examples = every[:n]
    if isinstance(dataset.space, TableSpace) and values is None:
        values = dataset.space.values(torch.as_tensor(generated))
    reference = reference_examples(len(dataset.held_out), n, redraw_seed)
    held_out = dataset.held_out.data_units(reference)
    choice = chosen(metrics)
    samples = Samples(
        generated=raw.of(examples, None if values is None else values[:n]),
        reference=raw.at(dataset.held_out, reference),
        training=raw.training,
        generated_features=features(examples, n),
        reference_features=features(held_out, n, real=True),
        table=table_of(
            dataset.space,
            examples if values is None else values[:n],
            rows_at(dataset.held_out, reference),
            ((every if values is None else values) if learned is None else learned)[: len(dataset.train)],
        ),
        generated_more=raw.of(every, values) if isinstance(dataset.space, TableSpace) else None,
        **_known(raw, features),
        **(class_fields(features.classify(examples), dataset, reference) if reads_classes(choice, dataset, features) else {}),
    )
    return measured(samples, choice)


def floors(
    dataset: Dataset,
    features: Features,
    *,
    n: int | None = None,
    redraws: int | None = None,
    metrics: Sequence[str | Metric] | None = None,
    cache: Cache = None,
) -> dict[str, Score]:
    """What n training examples score instead of generated ones: the value that a perfect model has.

    They are drawn from those that the features were not fitted on (``features.halves``), classes in proportion, for stacked
    images stacked again from such images. Metrics are given the other training examples as the training set.

    Args:
        dataset: The data.
        features: From `fit_features`.
        n: Examples on either side; None means `compared`.
        redraws: How often the examples are drawn again; None means `REDRAWS`, of tables `OF_TABLES`. Metrics that take long
            have an attribute ``floor_redraws`` with the most of them.
        metrics: As in `score`.
        cache: A folder; None means `cache_folder`, False none.

    Returns:
        By name: the mean over all redraws, one value for each, and as spread the standard deviation of a score of n new examples.
        Redraws share examples, so theirs is less, by the square root of 1 - n / (the examples that they are drawn from), and is
        divided by that.
    """
    n, choice = compared(dataset, n), chosen(metrics)
    redraws = (OF_TABLES if isinstance(dataset.space, TableSpace) else REDRAWS) if redraws is None else redraws
    folder = cache_folder(cache)
    key = features.key + (_digest(dataset.held_out.hashes) if isinstance(dataset.space, TableSpace) else "")
    path = None if folder is None else floor_path(folder, key, n, redraws, choice, (score, *PARTS))
    if path is not None and (stored := read_floors(path)) is not None:
        return stored
    values: dict[str, list[float]] = {}
    drawn = _Redraws(dataset, features, n, redraws)
    for scores in drawn.scores(choice):
        for name, value in scores.items():
            values.setdefault(name, []).append(value)
    by_score = {name: _floor(row, drawn.share, n) for name, row in values.items()}
    if path is not None:
        write_floors(path, by_score)
    return by_score


def _digest(hashes: np.ndarray) -> str:
    return hashlib.sha256(hashes.tobytes()).hexdigest()


def _floor(values: Sequence[float], share: float, n: int) -> Score:
    spread = deviation(values) / math.sqrt(1 - min(share, 0.5)) if len(values) > 1 else 0.0
    return Score(float(np.mean(values)), spread, values=tuple(values), n=n)


class _Redraws:
    """The examples of all redraws of a floor, and their scores.

    Attributes:
        share: n over the number of examples that are drawn from.
    """

    def __init__(self, dataset: Dataset, features: Features, n: int, redraws: int) -> None:
        self.dataset, self.features, self.n = dataset, features, n
        self.split, examples = dataset.train, features.halves.drawn
        if isinstance(dataset.truth, Stack):
            self.split, examples = Split(dataset.truth.composed(examples, 2 * n, 1)), np.arange(2 * n)
        self.share = n / len(examples)
        self.picks = [in_proportion(examples, self.split, dataset.space.label, _random(redraw))[:n] for redraw in range(redraws)]
        self.references = [reference_examples(len(dataset.held_out), n, redraw) for redraw in range(redraws)]
        self.used, self.raw = np.unique(np.concatenate(self.picks)), Raw(dataset)
        self.all_rows = rows_at(self.split, np.arange(len(self.split))) if isinstance(dataset.space, TableSpace) else None

    def scores(self, chosen: Choice) -> Iterator[dict[str, float]]:
        """The scores of each redraw by name."""
        held_out, known = self.dataset.held_out, _known(self.raw, self.features)
        of_drawn = _features_of(self.split, self.used, self.features, self.n)
        of_held_out = _features_of(held_out, np.arange(len(held_out)), self.features, self.n)
        read = reads_classes(chosen, self.dataset, self.features)
        classes = classes_of(self.split, self.used, self.features) if read else None
        copies = {number: self._copies(metric) for number, (metric, _) in enumerate(chosen) if self._leaves_out(metric)}
        for redraw, (picked, reference) in enumerate(zip(self.picks, self.references, strict=True)):
            at = np.searchsorted(self.used, picked)
            samples = Samples(
                generated=self.raw.at(self.split, picked),
                reference=self.raw.at(held_out, reference),
                training=self._others(picked),
                generated_features=of_drawn[at],
                reference_features=of_held_out[reference],
                table=table_of(self.dataset.space, rows_at(self.split, picked), rows_at(held_out, reference), self.all_rows),
                errors=False,
                **known,
                **({} if classes is None else class_fields(classes[at], self.dataset, reference)),
            )
            values: dict[str, float] = {}
            for number, (metric, names) in enumerate(chosen):
                if redraw >= getattr(metric, "floor_redraws", redraw + 1):
                    continue
                if number not in copies:
                    values |= {name: result.number for name, result in measured(samples, [(metric, names)]).items()}
                elif (flags := copies[number]) is not None:
                    values |= dict.fromkeys(names, float(flags[at].mean()))
            yield values

    def _others(self, picked: np.ndarray) -> np.ndarray:
        return self.raw.training if self.split is not self.dataset.train else without(self.raw.training, picked)

    def _leaves_out(self, metric: Metric) -> bool:
        return isinstance(metric, Memorisation) and self.split is self.dataset.train

    def _copies(self, metric: Any) -> np.ndarray | None:
        references = [self.raw.at(self.dataset.held_out, reference) for reference in self.references]
        return copied(self.raw.training, self.used, references, self.raw.scale, metric.part)


def _features_of(split: Split, index: np.ndarray, features: Features, n: int) -> np.ndarray:
    parts = [index[start : start + SCORING_MOST] for start in range(0, len(index), SCORING_MOST)]
    return np.concatenate([features(split.data_units(part), n, real=True) for part in parts])


def reference_examples(count: int, n: int, seed: int = 0) -> np.ndarray:
    """Choose n of the held-out examples, in their order: all of them, or a draw that depends on the seed alone."""
    return np.arange(count) if n == count else np.sort(_random(seed).permutation(count)[:n])


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def _known(raw: Raw, features: Features) -> dict[str, Any]:
    dataset = raw.dataset
    truth = _Read(dataset.truth.modes, features) if isinstance(dataset.truth, Stack) else dataset.truth
    return {"shape": raw.shape, "scale": raw.scale, "truth": truth, "apart": bool(dataset.apart)}


@dataclass(frozen=True)
class _Read:
    """The truth of stacked images as a metric sees it: how many modes there are, and which one an example shows."""

    modes: int
    features: Features

    def read(self, examples: np.ndarray) -> np.ndarray:
        """The mode of each flat example, by the classifier of the channels."""
        return self.features.classify(examples.reshape(-1, *self.features.space.shape))


EXAMPLES = 100  # More than any metric needs to apply, so that few held-out examples are no reason to refuse one


def check_applicable(names: Sequence[str] | None, data: Dataset) -> None:
    """Refuse metrics that have no meaning for the data, whatever the model.

    Metrics of plug-ins, and those of stacked images, are not judged in advance.

    Args:
        names: As `pushforward.evaluate` takes them; None means all that apply.
        data: With what samples are compared.

    Raises:
        UsageError: Naming those that are computed for such data.
    """
    own = [name for name in names or () if isinstance(name, str) and name not in MODEL_SCORES]
    if not own or isinstance(data.truth, Stack):
        return
    samples, refused = _real(data), {}
    for name in own:
        ((metric, wanted),) = chosen([name])
        if not set(wanted) & {*_computed(metric, samples)} and type(metric).__module__.startswith("pushforward."):
            refused[name] = metric
    if not refused:
        return
    known = [score for other in registry().values() for score in _computed(other(), samples)]
    of_tables = samples.table is not None and not any(isinstance(metric, Utility) for metric in refused.values())
    kind, verb = "tables" if of_tables else f"these {data.space.noun}s", "is" if len(refused) == 1 else "are"
    raise UsageError(f"{', '.join(refused)} {verb} not computed for {kind}. These are: {', '.join(known)}.")


def _computed(metric: Metric, samples: Samples) -> Sequence[str]:
    if not metric.applies(samples):
        return ()
    return [name for name in metric.scores if name not in getattr(metric, "left_out", lambda _: ())(samples)]


def _real(data: Dataset) -> Samples:
    picked, raw = np.resize(np.arange(len(data.held_out)), EXAMPLES), Raw(data)
    examples, features = raw.at(data.held_out, picked), np.zeros((EXAMPLES, 2))
    rows = rows_at(data.held_out, picked) if isinstance(data.space, TableSpace) else None
    classes = None if data.held_out.labels is None else data.held_out.labels[picked]
    return Samples(
        generated=examples,
        reference=examples,
        training=examples,
        generated_features=features,
        reference_features=features,
        shape=examples.shape[1:] if isinstance(data.space, TableSpace) else tuple(data.space.shape),
        truth=data.truth,
        generated_classes=classes,
        reference_classes=classes,
        classes=len(data.space.classes),
        table=None if rows is None else table_of(data.space, rows, rows),
    )
