"""Near-copies: generated examples that are training examples with a little noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.uncertainty import share_error

if TYPE_CHECKING:
    from torch import Tensor  # imported where it is used, so that the names of metrics are known without it


JUDGES = 500  # Held-out examples, at most, whose distance to the training examples sets the threshold
BLOCK = 1024  # Examples of either side that are compared at a time: few enough that their distances stay in the processor's cache
TREE = 8  # Columns up to which a search tree beats matrix products
SKETCH = 32  # Dimensions of the projection that rules out most pairs


def _examples(x: np.ndarray, scale: np.ndarray | None) -> Tensor:
    import torch

    examples, unit = torch.from_numpy(x.astype(np.float32)), 255.0 if x.dtype == np.uint8 else 1.0
    if scale is None:
        return examples.div_(unit)
    return examples.mul_(torch.as_tensor(1 / (unit * scale.astype(np.float64)), dtype=torch.float32))


def _blocks(x: np.ndarray, scale: np.ndarray | None) -> Iterator[Tensor]:
    for start in range(0, len(x), BLOCK):
        yield _examples(x[start : start + BLOCK], scale)


def _closest(examples: Tensor, others: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The squared distance of each example to the nearest of the others, who come in blocks, and which one that is.

    By a matrix product, so it is exact to about 1e-6 of the squared lengths only.
    """
    import torch

    best, where = torch.full((len(examples),), torch.inf), torch.zeros(len(examples), dtype=torch.int64)
    passed = 0
    for block in others:
        lengths, turned = block.square().sum(1), (-2 * block).T.contiguous()
        for start in range(0, len(examples), BLOCK):
            here = slice(start, start + BLOCK)
            squares = torch.addmm(lengths, examples[here], turned)
            closer = squares.amin(1) < best[here]
            if closer.any():
                low, at = squares[closer].min(1)
                best[here][closer], where[here][closer] = low, at + passed
        passed += len(block)
    return best + examples.square().sum(1), where


def nearest_distance(x: np.ndarray, training: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """The distance from each example of x (n, d) to its nearest training example, (n,) float64, in units of ``scale``.

    A search tree (few columns) or a matrix product finds the neighbour; after a product the distance is computed from
    the difference, so that an exact copy is at exactly 0.
    """
    import torch

    examples = _examples(x, scale)
    if x.shape[1] <= TREE:
        from scipy.spatial import cKDTree

        return np.asarray(cKDTree(_examples(training, scale).numpy()).query(examples.numpy())[0])
    _, where = _closest(examples, _blocks(training, scale))
    distances = [
        (examples[start : start + BLOCK] - _examples(training[where[start : start + BLOCK].numpy()], scale)).double().norm(dim=1)
        for start in range(0, len(examples), BLOCK)
    ]
    return torch.cat(distances).numpy()


def near_copies(
    generated: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    scale: np.ndarray | None = None,
    part: float = 0.25,
) -> tuple[np.ndarray, float]:
    """Which generated examples are near-copies, (n,) bool, and the threshold.

    A near-copy is no farther from a training example than ``part`` of the median distance from held-out examples to theirs.
    That is 0 where more than half of the held-out examples are copies of training examples; only literal copies are then
    near-copies, and real data consists of them as well.

    Args:
        generated: (n, d).
        training: (k, d), float32, or uint8 where 255 stands for 1.
        held_out: (m, d); 500 of them are used, drawn by a fixed permutation, since examples may come sorted.
        scale: What each column is divided by, (d,).
        part: Share of the median distance.
    """
    distances, (_, threshold, _) = _copy_distances(generated, training, held_out, scale, part)
    return distances <= threshold, threshold


def _copy_distances(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, scale: np.ndarray | None, part: float
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The distance of each generated example to its nearest training example, infinite beyond the greatest threshold.

    Returns:
        The distances, (n,), and three thresholds: two standard errors below, the threshold, and two above. The error is that
        of a median, by the ranks of the distances of which it is the middle.
    """
    judges = np.random.Generator(np.random.Philox(0)).permutation(len(held_out))[:JUDGES]
    usual = nearest_distance(held_out[judges], training, scale)
    step = min(1 / np.sqrt(len(usual)), 0.5)  # twice the standard error of a rank
    low, high = (part * float(np.quantile(usual, 0.5 + side)) for side in (-step, step))
    thresholds = low, part * float(np.median(usual)), high
    suspects = np.flatnonzero(_suspects(generated, training, scale, high))
    distances = np.full(len(generated), np.inf)
    if len(suspects):
        distances[suspects] = nearest_distance(generated[suspects], training, scale)
    return distances, thresholds


def _suspects(generated: np.ndarray, training: np.ndarray, scale: np.ndarray | None, threshold: float) -> np.ndarray:
    d = generated.shape[1]
    if d <= 2 * SKETCH:
        return np.ones(len(generated), bool)
    axes = _axes(training, scale)
    examples = _examples(generated, scale) @ axes
    shortest, _ = _closest(examples, (block @ axes for block in _blocks(training, scale)))
    slack = 1e-5 * (1 + examples.square().sum(1))  # what float32 may add to a squared distance by cancellation
    return (shortest <= threshold**2 + slack).numpy()


def strong_columns(training: np.ndarray, scale: np.ndarray | None, *parts: np.ndarray) -> list[np.ndarray]:
    """Examples in units of ``scale``, in the 64 directions of most variance where columns are more.

    Args:
        training: (k, d), k at least 1, float32, or uint8 where 255 stands for 1.
        scale: What each column is divided by, (d,); None means 1.
        parts: Sets of examples, (n, d) each, as ``training``.

    Returns:
        Each of the parts, (n, min(d, 64)).
    """
    import torch

    if training.shape[1] <= 2 * SKETCH:
        return [_examples(part, scale).numpy() for part in parts]
    axes = _axes(training, scale, 2 * SKETCH)
    return [torch.cat([block @ axes for block in _blocks(part, scale)]).numpy() for part in parts]


def _axes(training: np.ndarray, scale: np.ndarray | None, most: int = SKETCH) -> Tensor:
    import torch

    some = _examples(training[:: max(1, len(training) // 2000)][:2000], scale)
    some = some - some.mean(0)
    mix = torch.from_numpy(np.random.Generator(np.random.Philox(0)).standard_normal((len(some), most))).float()
    axes = torch.linalg.qr(some.T @ mix).Q
    directions: Tensor = torch.linalg.qr(some.T @ (some @ axes)).Q
    return directions


class Memorisation:
    """Share of generated examples that are near-copies of training examples, by raw distance in model units.

    Args:
        part: A near-copy is no farther than this share of the median distance from held-out examples to training examples.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "near_copies": share_info(
            "Near-copies",
            "target",
            "Share of samples closer to a training example than a quarter of the usual distance of new data. More than in real "
            "data are a sign of copying. Fewer prove nothing by themselves: samples that lie off the data have few too.",
            missing="Near-copies have no score: more than half of the held-out examples are copies of training examples.",
            unit="%",
            unbiased=True,
            group="Memorisation",
        )
    }

    def __init__(self, part: float = 0.25) -> None:
        self.part = part

    def applies(self, samples: Samples) -> bool:
        return True

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "near_copies"; ``extra`` has the threshold. It is left out where the threshold is 0."""
        given = samples.generated, samples.training, samples.reference, samples.scale
        distances, (low, threshold, high) = _copy_distances(*given, self.part)
        if threshold == 0:
            return {}
        copies = distances <= threshold
        shared = float(((distances <= high).mean() - (distances <= low).mean()) / 4)
        error = float(np.hypot(share_error(copies.sum(), len(copies)), shared))
        extra = {"threshold": threshold}
        return {"near_copies": Score(float(copies.mean()), error=error, reference_error=shared, extra=extra)}
