"""Two-dimensional toy distributions, drawn with fixed seeds."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import RandomState

from pushforward.data.core.dataset import Split
from pushforward.data.core.hashes import Floats, Integers
from pushforward.data.core.named_set import Density, Source, Truth

Draw = tuple[Floats, Integers | None]  # examples (n, 2) and their modes

TRAIN_EXAMPLES = 100_000
HELD_OUT_EXAMPLES = 10_000
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
LATTICE = np.array(list(itertools.product(np.arange(-4.0, 5.0, 2.0), repeat=2)))


def _toy(
    name: str,
    what: str,
    draw: Callable[[RandomState, int], Draw],
    truth: Truth | Density | None,
    classes: tuple[str, ...] = (),
) -> Source:
    def read(download: bool) -> tuple[Split, Split]:
        random = RandomState(zlib.crc32(name.encode()))
        x, modes = draw(random, TRAIN_EXAMPLES + HELD_OUT_EXAMPLES)
        if modes is not None:
            modes = modes.astype(np.int64)
        examples = Split(x.astype(np.float32), modes)
        return examples.take(slice(TRAIN_EXAMPLES)), examples.take(slice(TRAIN_EXAMPLES, None))

    return Source(
        name=name,
        what=what,
        shape=(2,),
        counts=(TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
        read=read,
        classes=classes,
        labelled=False,
        truth=truth,
    )


def _blurred(
    curves: Sequence[Callable[[Floats], Floats]],
    ends: tuple[float, float],
    panels: int,
    noise: float,
    scale: float,
    shift: tuple[float, float] = (0, 0),
) -> Density:
    # Gauss-Legendre quadrature on panels no longer than about the noise is exact to rounding; an
    # even number of panels ends one in the middle
    edges = np.linspace(*ends, panels + 1)
    t = (edges[:-1, None] + (NODES + 1) / 2 * np.diff(edges)[:, None]).ravel()
    points = np.concatenate([curve(t) for curve in curves]) * scale + np.array(shift)
    weights = np.tile(WEIGHTS / 2 / panels, panels * len(curves)) / len(curves)
    return Density(Truth(points, noise * scale, weights).log_density)


def _gaussians(name: str, what: str, centres: Floats, std: float) -> Source:
    count = len(centres)

    def draw(random: RandomState, n: int) -> Draw:
        modes = random.randint(count, size=n)
        return centres[modes] + std * random.standard_normal((n, 2)), modes

    classes = tuple(map(str, range(count)))
    return _toy(name, what, draw, Truth(centres, std, np.full(count, 1 / count)), classes)


def _circle(radius: float) -> Floats:
    return radius * _upper(2 * np.pi * np.arange(8) / 8)


def _upper(angle: Floats) -> Floats:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _lower(angle: Floats) -> Floats:
    return np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)


def _moons(name: str, what: str, noise: float, scale: float, shift: tuple[float, float]) -> Source:
    def draw(random: RandomState, n: int) -> Draw:
        modes = random.randint(2, size=n)
        angle = np.pi * random.random_sample(n)
        curve = np.where(modes[:, None] == 0, _upper(angle), _lower(angle))
        points = curve + noise * random.standard_normal((n, 2))
        return points * scale + np.array(shift), modes

    panels = 2 * int(np.ceil(np.pi / noise / 2))
    truth = _blurred([_upper, _lower], (0, np.pi), panels, noise, scale, shift)
    return _toy(name, what, draw, truth, ("upper", "lower"))


def _s(t: Floats) -> Floats:
    return np.stack([np.sin(t), np.sign(t) * (np.cos(t) - 1)], axis=1)


def _scurve(random: RandomState, n: int) -> Draw:
    t = 3 * np.pi * (random.random_sample(n) - 0.5)
    return 1.5 * (_s(t) + 0.05 * random.standard_normal((n, 2))), None


def checkerboard(random: RandomState, n: int) -> Draw:
    """Draw points from 8 of the 16 squares of [-4, 4]^2."""
    column, pair = np.divmod(random.randint(8, size=n), 2)
    row = 2 * pair + column % 2
    cell = np.stack([column, row], axis=1)
    return 2.0 * (cell + random.random_sample((n, 2))) - 4.0, None


def _checkerboard_density(x: Floats) -> Floats:
    cell = np.floor((np.float64(x) + 4) / 2)
    inside = ((cell >= 0) & (cell < 4)).all(axis=1) & (cell.sum(axis=1) % 2 == 0)
    return np.where(inside, -np.log(32), -np.inf)


def _spiral(t: Floats) -> Floats:
    return t[:, None] * _upper(t)


def _swissroll(random: RandomState, n: int) -> Draw:
    t = 1.5 * np.pi * (1 + 2 * random.random_sample(n))
    return (_spiral(t) + random.standard_normal((n, 2))) / 5, None


def _pinwheel(random: RandomState, n: int) -> Draw:
    modes = random.randint(5, size=n)
    arm = random.standard_normal((n, 2)) * np.array([0.3, 0.1]) + np.array([1.0, 0.0])
    u, v = arm.T
    angle = 2 * np.pi * modes / 5 + 0.25 * np.exp(u)
    cos = np.cos(angle)
    sin = np.sin(angle)
    turned = np.stack([cos * u - sin * v, sin * u + cos * v], axis=1)
    return 2 * turned, modes


SETS = (
    _gaussians(
        "ring", "8 Gaussians on a circle of radius 1, std 0.01 (mode collapse)", _circle(1), 0.01
    ),
    _gaussians("grid", "25 Gaussians on a 5 x 5 lattice, std 0.05 (mode collapse)", LATTICE, 0.05),
    _gaussians("8gaussians", "8 Gaussians on a circle of radius 5, std 1", _circle(5), 1.0),
    _gaussians(
        "8gaussians-c2ot",
        "8 Gaussians on a circle of radius 5, std 0.562 (protocol of C2OT)",
        _circle(5),
        0.562,
    ),
    _moons(
        "moons",
        "two interleaved half circles, noise 0.05, doubled, moved left by 1",
        0.05,
        2,
        (-1, 0),
    ),
    _moons(
        "moons-c2ot",
        "two interleaved half circles, noise 0.2, times 3, minus 1 (protocol of C2OT)",
        0.2,
        3,
        (-1, -1),
    ),
    _toy(
        "scurve",
        "an S of two half circles, noise 0.05, times 1.5",
        _scurve,
        _blurred([_s], (-1.5 * np.pi, 1.5 * np.pi), 190, 0.05, 1.5),
    ),
    _toy(
        "checkerboard",
        "uniform on 8 of the 16 squares of [-4, 4]^2",
        checkerboard,
        Density(_checkerboard_density),
    ),
    _toy(
        "swissroll",
        "a spiral, noise 0.2",
        _swissroll,
        _blurred([_spiral], (1.5 * np.pi, 4.5 * np.pi), 140, 1, 0.2),
    ),
    _toy("pinwheel", "5 curved arms", _pinwheel, None, tuple("01234")),
)
