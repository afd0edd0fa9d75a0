"""Scores of generated examples, and real-data scores."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.label import Label
from pushforward.data import Dataset, Split
from pushforward.data.core.encoder import Encoder
from pushforward.data.images.image_store import selected
from pushforward.data.sets.derived import Stack, numbered
from pushforward.denoisers import Condition
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import (
    Cache,
    Features,
    cache_folder,
    halves,
    quantised,
    read_cached,
    write_cached,
)
from pushforward.evaluation.intervals import deviation, mean_extra
from pushforward.extractors.classifier import EXAMPLES
from pushforward.metrics import Samples, Score
from pushforward.metrics.memorisation import Memorisation, near_copies
from pushforward.metrics.score import Choice, Scores, Wanted, chosen, measured
from pushforward.metrics.subsets import blocks
from pushforward.transports import Transport

MOST = 10_000  # examples that are compared at most, unless more are asked for
# Multiples of it modulo 1 fill the unit interval evenly, and so does any stretch of them
GOLDEN = (5**0.5 - 1) / 2


def sample_count(dataset: Dataset, n: int | None = None, learned: bool = False) -> int:
    """Choose the number of examples per side.

    Args:
        n: Requested number; None for the maximum, at most 10,000.
    """
    held_out = len(dataset.held_out)
    train = len(dataset.train)
    drawn = train if isinstance(dataset.truth, Stack) else len(halves(dataset, learned).drawn)
    most = min(held_out, drawn - 1)
    sizes = (
        f"{dataset.name} has {held_out} held-out examples and {drawn} training examples for "
        "real-data scores"
    )
    if most < 2:
        raise DataError(
            f"{sizes}. Scores need at least 2 held-out examples and 3 training examples."
        )
    if n is None:
        return max(2, min(held_out, (drawn + 1) // 2, MOST))
    if not 2 <= whole("n", n) <= most:
        raise UsageError(f"`n` must be between 2 and {most}, got {n}: {sizes}.")
    return whole("n", n)


def score(
    generated: Tensor | np.ndarray,
    dataset: Dataset,
    features: Features,
    *,
    n: int | None = None,
    metrics: Wanted = None,
    redraw_seed: int = 0,
    values: np.ndarray | None = None,
    learned: Tensor | np.ndarray | None = None,
) -> Scores:
    """Score generated examples on equally many held-out examples.

    Args:
        generated: Generated examples in data units, (n or more, *shape). The first n are compared;
            attacks on tables use all.
        n: Number of examples per side; None for the result of `sample_count`.
        metrics: Metrics, or names of metrics or scores; None for all that apply.
        values: Values of generated table rows, float64 (n or more, columns); None to derive them
            from coordinates, which may be rounded.
        learned: Table rows for training a predictor of the target, as coordinates or values; None
            for the generated rows.

    Returns:
        Scores by name, in a fixed order.
    """
    n = sample_count(dataset, n)
    if len(generated) < n:
        raise UsageError(
            f"There are {len(generated)} generated examples; expected at least n = {n}. Generate "
            "more, or lower n."
        )
    choice = chosen(metrics)
    encoder = dataset.space.encoder(dataset)
    if values is None:
        values = encoder.values(torch.as_tensor(generated))
    every = quantised(generated, dataset.space)
    examples = every[:n]
    reference = reference_examples(len(dataset.held_out), n, redraw_seed)
    held_out = dataset.held_out.data_units(reference)
    classes = features.classify(examples) if _reads_classes(choice, dataset, features) else None
    samples = Samples(
        **encoder.of_samples(every, n, reference, values, learned),
        generated_features=features(examples, n),
        reference_features=features(held_out, n, real=True),
        **_data_fields(encoder, features, classes, reference),
    )
    return measured(samples, choice)


def real_data_scores(
    dataset: Dataset,
    features: Features,
    *,
    n: int | None = None,
    redraws: int | None = None,
    metrics: Wanted = None,
    cache: Cache = None,
) -> Scores:
    """Compute real-data scores, which a perfect model would have.

    The examples are drawn with class frequencies of the data from those that features were not
    fitted on (``features.halves``). The other training examples serve as the training set of
    metrics.

    Args:
        n: Number of examples per side; None for the result of `sample_count`.
        redraws: Number of draws; None for the usual number of the kind of data. Stored scores with
            this number are preferred. Expensive metrics limit the number by their attribute
            ``real_data_redraws``.
        cache: Folder; None for `cache_folder`, False for no cache.

    Returns:
        Scores by name: mean over draws, value of each draw, and the standard deviation for n new
        examples as spread. Draws share examples, so their standard deviation is divided by the
        square root of 1 - n / m, with m the number of examples that they are drawn from.
    """
    n = sample_count(dataset, n)
    choice = chosen(metrics)
    usual = dataset.space.redraws
    redraws = redraws or usual
    folder = cache_folder(cache)
    paths: list[Path] = []
    if folder is not None:
        key = features.key + dataset.space.encoder(dataset).digest
        paths = [real_data_path(folder, key, n, count, choice) for count in (usual, redraws)]
    for path in paths:
        if (stored := read_cached(path)) is not None:
            return {name: Score.from_plain(row) for name, row in json.loads(stored).items()}
    split = dataset.train
    examples = features.halves.drawn
    if isinstance(dataset.truth, Stack):
        split = Split(dataset.truth.composed(examples, 2 * n, 1))
        examples = np.arange(2 * n)
    picks = [
        in_proportion(examples, split, dataset.space.label, _random(redraw))[:n]
        for redraw in range(redraws)
    ]
    drawn: dict[str, list[Score]] = {}
    for scores in _score_redraws(dataset, features, n, choice, split, picks):
        for name, score in scores.items():
            drawn.setdefault(name, []).append(score)
    rest = math.sqrt(1 - min(n / len(examples), 0.5))
    measured = {}
    for name, row in drawn.items():
        values = tuple(score.number for score in row)
        spread = deviation(values) / rest if len(row) > 1 else 0.0
        mean = float(np.mean(values))
        measured[name] = Score(mean, spread, values=values, n=n, extra=mean_extra(row))
    if paths:
        plain = {name: score.to_plain() for name, score in measured.items()}
        write_cached(paths[-1], json.dumps(plain).encode())
    return measured


def _score_redraws(
    dataset: Dataset,
    features: Features,
    n: int,
    choice: Choice,
    split: Split,
    picks: Sequence[np.ndarray],
) -> Iterator[Scores]:
    held_out = dataset.held_out
    encoder = dataset.space.encoder(dataset)
    used = np.unique(np.concatenate(picks))
    references = [reference_examples(len(held_out), n, redraw) for redraw in range(len(picks))]
    of_real = partial(features, n=n, real=True)
    of_drawn = _in_parts(split, used, MOST, of_real)
    of_held_out = _in_parts(held_out, np.arange(len(held_out)), MOST, of_real)
    classes = None
    if _reads_classes(choice, dataset, features):
        classes = _in_parts(split, used, EXAMPLES, features.classify)
    copies = {}
    if split is dataset.train:
        for number, (metric, _) in enumerate(choice):
            # copies are counted among all training examples but the copied ones themselves
            if isinstance(metric, Memorisation):
                compared_with = [encoder.at(held_out, reference) for reference in references]
                copies[number] = copied(encoder.training, used, compared_with, encoder.scale)
    for redraw, (picked, reference) in enumerate(zip(picks, references, strict=True)):
        at = np.searchsorted(used, picked)
        read_classes = None if classes is None else classes[at]
        samples = Samples(
            **encoder.of_real(split, picked, reference),
            generated_features=of_drawn[at],
            reference_features=of_held_out[reference],
            errors=False,
            **_data_fields(encoder, features, read_classes, reference),
        )
        scores: Scores = {}
        for number, (metric, names) in enumerate(choice):
            if redraw >= getattr(metric, "real_data_redraws", redraw + 1):
                continue
            if number not in copies:
                scores |= measured(samples, [(metric, names)])
                continue
            flags = copies[number]
            if flags is not None:
                scores |= dict.fromkeys(names, Score(float(flags[at].mean())))
        yield scores


def _in_parts(
    split: Split, index: np.ndarray, size: int, work: Callable[[Tensor], np.ndarray]
) -> np.ndarray:
    parts = [work(split.data_units(index[part])) for part in blocks(len(index), size)]
    return np.concatenate(parts)


def copied(
    x: np.ndarray,
    used: NDArray[np.int64],
    references: Sequence[np.ndarray],
    scale: np.ndarray | None,
) -> NDArray[np.bool_] | None:
    """Find training examples that are near-copies of other training examples.

    Examples are compared in blocks, one per reference, with all examples outside of their block.
    Comparing one draw only with the examples that it omits would miss copies within the draw.

    Args:
        x: Training examples, (k, d), float32, or uint8 with 255 for 1.
        references: Held-out examples, (m, d) each, that set the threshold of a block.
        scale: Divisor of each column, (d,).

    Returns:
        Whether each example of ``used`` is a near-copy; None if a threshold is 0.
    """
    copies = np.zeros(len(used), bool)
    for block, reference in enumerate(references):
        block_places = np.arange(block, len(used), len(references))
        if not len(block_places):
            continue
        others = np.ones(len(x), bool)
        others[used[block_places]] = False
        examples = x[used[block_places]].astype(np.float32)
        if x.dtype == np.uint8:
            examples = examples / np.float32(255)
        training = selected(x, others)
        copies[block_places], threshold = near_copies(examples, training, reference, scale)
        if threshold == 0:
            return None
    return copies


def real_data_path(folder: Path, key: str, n: int, redraws: int, choice: Choice) -> Path:
    """Return the cache file of real-data scores.

    Its name is a hash of all inputs and the source code.
    """
    named = [
        (type(metric).__qualname__, sorted(vars(metric).items()), scores)
        for metric, scores in choice
    ]
    words = hashlib.sha256(repr((key, n, redraws, named)).encode())
    parts: list[Any] = [real_data_scores, halves, numbered, *(type(metric) for metric, _ in choice)]
    own = {Path(inspect.getfile(part)) for part in parts}
    for file in sorted({*own, *Path(inspect.getfile(Samples)).parent.glob("*.py")}):
        words.update(hashlib.sha256(file.read_bytes()).digest())
    return folder / "real_data_scores" / f"{words.hexdigest()[:32]}.json"


def reference_examples(count: int, n: int, seed: int = 0) -> np.ndarray:
    """Choose the sorted indices of n held-out examples, depending only on the seed."""
    if n == count:
        return np.arange(count)
    return np.sort(_random(seed).permutation(count)[:n])


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def _reads_classes(choice: Choice, dataset: Dataset, features: Features) -> bool:
    wanted = any(getattr(metric, "reads_classes", False) for metric, _ in choice)
    return wanted and features.classifies and dataset.held_out.labels is not None


def _data_fields(
    encoder: Encoder, features: Features, classes: np.ndarray | None, reference: np.ndarray
) -> dict[str, Any]:
    dataset = encoder.data
    truth: Any = dataset.truth
    if isinstance(truth, Stack):
        # the classifier of the channels reads the mode of each flat example
        shape = features.space.shape
        truth = SimpleNamespace(
            modes=truth.modes, read=lambda x: features.classify(x.reshape(-1, *shape))
        )
    known = {
        "shape": encoder.shape,
        "scale": encoder.scale,
        "truth": truth,
        "apart": bool(dataset.apart),
    }
    if classes is None or dataset.held_out.labels is None:
        return known
    labels = dataset.held_out.labels[reference]
    return known | {
        "generated_classes": classes,
        "reference_classes": labels,
        "classes": len(dataset.space.classes),
    }


def labels_for(transport: Transport, data: Dataset, n: int, seed: int) -> Condition:
    """Draw labels of n samples with the class frequencies of the training examples.

    None without labels.

    All models receive the same labels. The label of sample i depends only on ``seed + i``.
    """
    own = transport.space.label
    label = data.space.label
    if own is None or label is None or not label.frequencies or own.channels != label.channels:
        return None
    places = torch.from_numpy((seed + np.arange(n)) * GOLDEN % 1)
    return {"label": label.draw(places, places)}


def in_proportion(
    examples: NDArray[np.int64], split: Split, label: Label | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Shuffle indices of examples so that every first n have the data's class frequencies."""
    order = random.permutation(examples)
    if label is None or split.labels is None or not label.frequencies:
        return order
    own = split.labels[order]
    by_class = np.argsort(own, kind="stable")
    rank = np.empty(len(own))
    rank[by_class] = np.arange(len(own)) - np.searchsorted(own[by_class], own[by_class])
    shares = np.maximum(label.frequencies, 1e-12)
    start = random.random(len(label.frequencies))
    return order[np.argsort((rank + start[own]) / shares[own], kind="stable")]
