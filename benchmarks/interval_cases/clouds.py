"""Two clouds, real and generated, for metrics of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.stats import norm

from pushforward.metrics import Samples
from pushforward.metrics.two_sample import gaussian_distance

__all__ = ["RING", "Case", "cases"]

RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)
STD = 0.1
SIDE = 8
FEATURES = 16
CLASSES = 5
WEIGHTS = np.array([0.16, 0.14, 0.13, 0.125, 0.125, 0.12, 0.11, 0.09])
"""Of the generated modes; the true ones have an eighth each."""
AXES = np.linalg.qr(
    np.random.Generator(np.random.Philox(3)).standard_normal((SIDE * SIDE, FEATURES))
)[0]
DECAY = 1 / np.sqrt(1 + np.arange(SIDE * SIDE))
"""Standard deviations of the numbers of an image, before they are turned."""


def classes_of(features: np.ndarray) -> np.ndarray:
    """Five classes of images, equally frequent in real data, by their first feature."""
    ends = norm.ppf(np.arange(1, CLASSES) / CLASSES) * np.linalg.norm(DECAY * AXES[:, 0])
    return np.digitize(features[:, 0], ends)


@dataclass(frozen=True)
class Case:
    """Real data and a model, by their draws; ``seen`` is the noise of a model that draws held-out
    examples and adds it.

    ``scores`` are those that are measured, None for all.
    """

    name: str
    real: Callable[[int, np.random.Generator], np.ndarray]
    model: Callable[[int, np.random.Generator], np.ndarray]
    shape: tuple[int, ...]
    truths: dict[str, float]
    scores: tuple[str, ...] | None = None
    seen: float | None = None

    def samples(
        self, n: int, reference: np.ndarray, training: np.ndarray, draw: np.random.Generator
    ) -> Samples:
        """One sampling of the model beside a reference."""
        generated = self.model(n, draw)
        if self.seen is not None:
            noise = self.seen * draw.standard_normal((n, *self.shape))
            generated = (reference[draw.integers(0, len(reference), n)] + noise).astype(np.float32)
        features = [
            rows.astype(np.float64) if len(self.shape) == 1 else rows @ AXES
            for rows in (generated, reference)
        ]
        if len(self.shape) == 1:
            truth = SimpleNamespace(centres=RING, std=STD, weights=np.full(8, 1 / 8))
            return Samples(generated, reference, training, *features, shape=self.shape, truth=truth)
        classes = dict(
            zip(("generated_classes", "reference_classes"), map(classes_of, features), strict=True)
        )
        return Samples(
            generated, reference, training, *features, shape=self.shape, **classes, classes=CLASSES
        )


def ring(
    width: float, weights: np.ndarray | None, bridges: float = 0.0
) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Points around eight centres, some of them spread between."""

    def draw(n: int, random: np.random.Generator) -> np.ndarray:
        x = RING[random.choice(8, n, p=weights)] + width * STD * random.standard_normal((n, 2))
        return np.where(
            random.random((n, 1)) < bridges, 0.03 * random.standard_normal((n, 2)), x
        ).astype(np.float32)

    return draw


def images(scale: float, shift: float) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Flattened images of Gaussian numbers."""

    def draw(n: int, random: np.random.Generator) -> np.ndarray:
        x = scale * DECAY * random.standard_normal((n, SIDE * SIDE))
        return (x + shift * AXES[:, 0]).astype(np.float32)

    return draw


def cases() -> list[Case]:
    """A model with usual faults and one without any, for points and for images."""
    spread = AXES.T @ np.diag(DECAY**2) @ AXES
    real = np.zeros(FEATURES)
    limit = gaussian_distance(0.3 * np.eye(FEATURES)[0], 0.81 * spread, real, spread)
    shape = (1, SIDE, SIDE)
    return [
        Case(
            "points, a fair model", ring(1, None), ring(1.1, WEIGHTS, 0.05), (2,), {"bridges": 0.05}
        ),
        Case(
            "points, perfect",
            ring(1, None),
            ring(1, None),
            (2,),
            {"frechet_limit": 0.0, "kid": 0.0, "energy": 0.0, "spread": 1.0},
        ),
        Case(
            "images, a fair model", images(1, 0), images(0.9, 0.3), shape, {"frechet_limit": limit}
        ),
        Case(
            "images, perfect", images(1, 0), images(1, 0), shape, {"frechet_limit": 0.0, "kid": 0.0}
        ),
        Case(
            "a Gaussian, very narrow samples",
            gaussian(1),
            gaussian(0.1),
            (2,),
            {},
            ("recall", "held_out_ratio"),
        ),
        Case(
            "a Gaussian, narrow samples",
            gaussian(1),
            gaussian(0.3),
            (2,),
            {},
            ("recall", "held_out_ratio"),
        ),
        Case(
            "a Gaussian, held-out examples seen",
            gaussian(1),
            gaussian(1),
            (2,),
            {},
            ("held_out_ratio",),
            0.1,
        ),
    ]


def gaussian(scale: float) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Points of one Gaussian."""
    return lambda n, random: (scale * random.standard_normal((n, 2))).astype(np.float32)
