"""Two-dimensional toy distributions with known densities, drawn with fixed seeds."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pushforward.data.core.dataset import Split
from pushforward.data.core.ground_truth import Truth
from pushforward.data.core.hashes import Floats, Integers
from pushforward.data.core.named_set import Source

Draw = tuple[Floats, Integers | None]

TRAIN_EXAMPLES = 100_000
HELD_OUT_EXAMPLES = 10_000


@dataclass(frozen=True)
class Toy:
    """A toy distribution; ``draw`` returns examples (n, 2) and their modes (n,) or None."""

    what: str
    draw: Callable[[RandomState, int], Draw]
    classes: tuple[str, ...] = ()
    truth: Truth | None = None

    def examples(
        self, name: str, n: int = TRAIN_EXAMPLES + HELD_OUT_EXAMPLES
    ) -> tuple[NDArray[np.float32], Integers | None]:
        """Draw examples float32 (n, 2) and modes int64 (n,) or None, with a seed from the name."""
        x, modes = self.draw(RandomState(zlib.crc32(name.encode())), n)
        if modes is not None:
            modes = modes.astype(np.int64)
        return x.astype(np.float32), modes


NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
BLOCK_ELEMENTS = 1 << 22
GRID = 513  # points between which an arm of the pinwheel is searched


def _blurred(
    curves: Sequence[Callable[[Floats], Floats]], ends: tuple[float, float], panels: int, std: float
) -> Truth:
    """Return the truth of a uniform point on one of some curves, plus Gaussian noise.

    Gauss-Legendre quadrature on panels no longer than about the noise is exact to rounding; an even
    number of panels ends one in the middle.
    """
    edges = np.linspace(*ends, panels + 1)
    t = (edges[:-1, None] + (NODES + 1) / 2 * np.diff(edges)[:, None]).ravel()
    points = np.concatenate([curve(t) for curve in curves])
    weights = np.tile(WEIGHTS / 2 / panels, panels * len(curves)) / len(curves)
    mixture = Truth(points, std, weights)
    return Truth(log_pdf=_in_blocks(mixture.log_density, len(points)))


def _in_blocks(log_pdf: Callable[[Floats], Floats], width: int) -> Callable[[Floats], Floats]:
    block = max(1, BLOCK_ELEMENTS // width)

    def blockwise(x: Floats) -> Floats:
        densities = [np.zeros(0)]
        for start in range(0, len(x), block):
            densities.append(log_pdf(x[start : start + block]))
        return np.concatenate(densities)

    return blockwise


def _gaussians(what: str, centres: Floats, std: float) -> Toy:
    count = len(centres)

    def draw(random: RandomState, n: int) -> Draw:
        modes = random.randint(count, size=n)
        return centres[modes] + std * random.standard_normal((n, 2)), modes

    classes = tuple(str(k) for k in range(count))
    return Toy(what, draw, classes, Truth(centres, std, np.full(count, 1 / count)))


def _circle(radius: float) -> Floats:
    return radius * _upper(2 * np.pi * np.arange(8) / 8)


LATTICE = np.array(list(itertools.product(np.arange(-4.0, 5.0, 2.0), repeat=2)))


def _upper(angle: Floats) -> Floats:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _lower(angle: Floats) -> Floats:
    return np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)


def _moons(what: str, noise: float, scale: float, shift: tuple[float, float]) -> Toy:
    def placed(points: Floats) -> Floats:
        return points * scale + np.array(shift)

    def draw(random: RandomState, n: int) -> Draw:
        modes = random.randint(2, size=n)
        angle = np.pi * random.random_sample(n)
        curve = np.where(modes[:, None] == 0, _upper(angle), _lower(angle))
        return placed(curve + noise * random.standard_normal((n, 2))), modes

    curves = [lambda t: placed(_upper(t)), lambda t: placed(_lower(t))]
    panels = 2 * int(np.ceil(np.pi / noise / 2))
    truth = _blurred(curves, (0, np.pi), panels, noise * scale)
    return Toy(what, draw, ("upper", "lower"), truth)


def _s(t: Floats) -> Floats:
    return np.stack([np.sin(t), np.sign(t) * (np.cos(t) - 1)], axis=1)


def _scurve(random: RandomState, n: int) -> Draw:
    t = 3 * np.pi * (random.random_sample(n) - 0.5)
    return 1.5 * (_s(t) + 0.05 * random.standard_normal((n, 2))), None


def _checkerboard(random: RandomState, n: int) -> Draw:
    column, pair = np.divmod(random.randint(8, size=n), 2)
    row = 2 * pair + column % 2
    cell = np.stack([column, row], axis=1)
    return 2.0 * (cell + random.random_sample((n, 2))) - 4.0, None


def _checkerboard_log_pdf(x: Floats) -> Floats:
    cell = np.floor((x + 4) / 2)
    inside = ((cell >= 0) & (cell < 4)).all(axis=1) & (cell.sum(axis=1) % 2 == 0)
    return np.where(inside, -np.log(32.0), -np.inf)


def _spiral(t: Floats) -> Floats:
    return t[:, None] * _upper(t)


def _swissroll(random: RandomState, n: int) -> Draw:
    t = 1.5 * np.pi * (1 + 2 * random.random_sample(n))
    return (_spiral(t) + random.standard_normal((n, 2))) / 5, None


def _pinwheel(random: RandomState, n: int) -> Draw:
    modes = random.randint(5, size=n)
    arm = random.standard_normal((n, 2)) * np.array([0.3, 0.1]) + np.array([1.0, 0.0])
    u, v = arm.T
    angle = 2 * np.pi * modes / 5 + _twist(u)
    cos = np.cos(angle)
    sin = np.sin(angle)
    turned = np.stack([cos * u - sin * v, sin * u + cos * v], axis=1)
    return 2 * turned, modes


def _twist(along: Floats) -> Floats:
    return 0.25 * np.exp(along)


def _pinwheel_log_pdf(x: Floats) -> Floats:
    """Sum p(u, v) / |det| over all (u, v) on an arm that go to x.

    A point at radius r and angle phi comes from u with r cos(phi - angle(u)) = u, found by
    bisection.
    """
    y, z = (x / 2).T
    arms = 2 * np.pi * np.arange(5) / 5
    r = np.repeat(np.hypot(y, z), 5)
    phi = (np.arctan2(z, y)[:, None] - arms).ravel()
    grid = r[:, None] * np.linspace(-1, 1, GRID)
    above = r[:, None] * np.cos(phi[:, None] - _twist(grid)) > grid
    row, cell = np.nonzero(above[:, :-1] != above[:, 1:])
    was = above[row, cell]
    u = grid[row, cell]
    high = grid[row, cell + 1]
    r = r[row]
    phi = phi[row]
    for _ in range(45):
        middle = (u + high) / 2
        same = (r * np.cos(phi - _twist(middle)) > middle) == was
        u = np.where(same, middle, u)
        high = np.where(same, high, middle)
    v = r * np.sin(phi - _twist(u))
    log_norm = np.log(2 * np.pi * 0.3 * 0.1 * 5 * 4)
    log_det = np.log(np.abs(1 - _twist(u) * v))
    log_p = -(((u - 1) / 0.3) ** 2 + (v / 0.1) ** 2) / 2 - log_norm - log_det
    total = np.full(len(x), -np.inf)
    np.logaddexp.at(total, row // 5, log_p)
    return total


TOYS: dict[str, Toy] = {
    "ring": _gaussians(
        "8 Gaussians on a circle of radius 1, std 0.01 (mode collapse)", _circle(1), 0.01
    ),
    "grid": _gaussians("25 Gaussians on a 5 x 5 lattice, std 0.05 (mode collapse)", LATTICE, 0.05),
    "8gaussians": _gaussians("8 Gaussians on a circle of radius 5, std 1", _circle(5), 1.0),
    "8gaussians-c2ot": _gaussians(
        "8 Gaussians on a circle of radius 5, std 0.562 (protocol of C2OT)", _circle(5), 0.562
    ),
    "moons": _moons(
        "two interleaved half circles, noise 0.05, doubled, moved left by 1", 0.05, 2, (-1, 0)
    ),
    "moons-c2ot": _moons(
        "two interleaved half circles, noise 0.2, times 3, minus 1 (protocol of C2OT)",
        0.2,
        3,
        (-1, -1),
    ),
    "scurve": Toy(
        "an S of two half circles, noise 0.05, times 1.5",
        _scurve,
        truth=_blurred([lambda t: 1.5 * _s(t)], (-1.5 * np.pi, 1.5 * np.pi), 190, 0.075),
    ),
    "checkerboard": Toy(
        "uniform on 8 of the 16 squares of [-4, 4]^2",
        _checkerboard,
        truth=Truth(log_pdf=_checkerboard_log_pdf),
    ),
    "swissroll": Toy(
        "a spiral, noise 0.2",
        _swissroll,
        truth=_blurred([lambda t: _spiral(t) / 5], (1.5 * np.pi, 4.5 * np.pi), 140, 0.2),
    ),
    "pinwheel": Toy(
        "5 curved arms",
        _pinwheel,
        tuple(str(k) for k in range(5)),
        Truth(log_pdf=_in_blocks(_pinwheel_log_pdf, 5 * GRID)),
    ),
}


def _set(name: str, toy: Toy) -> Source:
    def read(download: bool) -> tuple[Split, Split]:
        x, labels = toy.examples(name)
        examples = Split(x, labels)
        return examples.take(slice(TRAIN_EXAMPLES)), examples.take(slice(TRAIN_EXAMPLES, None))

    return Source(
        name=name,
        what=toy.what,
        shape=(2,),
        counts=(TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
        read=read,
        classes=toy.classes,
        labelled=False,
        truth=toy.truth,
    )


SETS = tuple(_set(name, toy) for name, toy in TOYS.items())
