"""Two-dimensional toy distributions with known densities and independent samples.

Each toy has a fixed seed of its own, 100,000 training and 10,000 held-out examples. They come from numpy's
``RandomState``, the one generator whose stream numpy has promised never to change, so that a toy is the same data on
every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pushforward.data.core.dataset import Split
from pushforward.data.core.ground_truth import Truth
from pushforward.data.core.named_set import Source

Floats = NDArray[np.float64]
Draw = tuple[Floats, NDArray[np.int64] | None]

TRAIN_EXAMPLES = 100_000
HELD_OUT_EXAMPLES = 10_000


@dataclass(frozen=True)
class Toy:
    """A toy distribution.

    Args:
        what: One-line description.
        draw: Function from (generator, n) to examples (n, 2) and their modes (n,) or None.
        classes: Names of the modes; empty if examples have none.
        truth: Known properties of the distribution.
    """

    what: str
    draw: Callable[[RandomState, int], Draw]
    classes: tuple[str, ...] = ()
    truth: Truth | None = None

    def examples(
        self, name: str, n: int = TRAIN_EXAMPLES + HELD_OUT_EXAMPLES
    ) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Draw n examples with the seed that belongs to a name.

        Args:
            name: Name of the toy, which determines the seed.
            n: Number of examples.

        Returns:
            Examples float32 (n, 2) and modes int64 (n,) or None.
        """
        x, modes = self.draw(RandomState(zlib.crc32(name.encode())), n)
        return x.astype(np.float32), None if modes is None else modes.astype(np.int64)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
BLOCK_ELEMENTS = 1 << 22


def _blurred(
    curves: Sequence[Callable[[Floats], Floats]], ends: tuple[float, float], panels: int, std: float
) -> Truth:
    """The truth of a point that is uniform in the parameter of one of some curves, plus Gaussian noise.

    Its density, the integral of N(x; c(t), std^2 I) over t, is taken by Gauss and Legendre's rule on panels that are no
    longer than about the noise, which is exact to rounding.

    Args:
        curves: parameters (m,) -> points (m, 2), all equally probable.
        ends: between which the parameter is uniform.
        panels: into how many equal parts that is divided; an even number, so that the middle is an end of one.
        std: standard deviation of the noise.
    """
    edges = np.linspace(*ends, panels + 1)
    t = (edges[:-1, None] + (NODES + 1) / 2 * np.diff(edges)[:, None]).ravel()
    points = np.concatenate([curve(t) for curve in curves])
    weights = np.tile(WEIGHTS / 2 / panels, panels * len(curves)) / len(curves)
    return Truth(log_pdf=_in_blocks(Truth(points, std, weights).log_density, len(points)))


def _in_blocks(log_pdf: Callable[[Floats], Floats], width: int) -> Callable[[Floats], Floats]:
    block = max(1, BLOCK_ELEMENTS // width)

    def blockwise(x: Floats) -> Floats:
        return np.concatenate(
            [log_pdf(x[i : i + block]) for i in range(0, len(x), block)] or [np.zeros(0)]
        )

    return blockwise


def _gaussians(what: str, centres: Floats, std: float) -> Toy:
    def draw(random: RandomState, n: int) -> Draw:
        modes = random.randint(len(centres), size=n)
        return centres[modes] + std * random.standard_normal((n, 2)), modes

    classes = tuple(str(k) for k in range(len(centres)))
    return Toy(what, draw, classes, Truth(centres, std, np.full(len(centres), 1 / len(centres))))


def _circle(radius: float) -> Floats:
    angles = 2 * np.pi * np.arange(8) / 8
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


LATTICE = np.stack(np.meshgrid(*2 * [np.arange(-4.0, 5.0, 2.0)], indexing="ij"), axis=-1).reshape(
    -1, 2
)


def _upper(angle: Floats) -> Floats:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _lower(angle: Floats) -> Floats:
    return np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)


def _moons(what: str, noise: float, scale: float, shift: tuple[float, float]) -> Toy:
    def draw(random: RandomState, n: int) -> Draw:
        modes = random.randint(2, size=n)
        angle = np.pi * random.random_sample(n)
        curve = np.where(modes[:, None] == 0, _upper(angle), _lower(angle))
        return (curve + noise * random.standard_normal((n, 2))) * scale + np.array(shift), modes

    placed = [lambda t, c=curve: c(t) * scale + np.array(shift) for curve in (_upper, _lower)]
    panels = 2 * int(np.ceil(np.pi / noise / 2)) if noise else 0
    truth = _blurred(placed, (0, np.pi), panels, noise * scale) if noise else None
    return Toy(what, draw, ("upper", "lower"), truth)


def _s(t: Floats) -> Floats:
    return np.stack([np.sin(t), np.sign(t) * (np.cos(t) - 1)], axis=1)


def _scurve(random: RandomState, n: int) -> Draw:
    t = 3 * np.pi * (random.random_sample(n) - 0.5)
    return 1.5 * (_s(t) + 0.05 * random.standard_normal((n, 2))), None


def _checkerboard(random: RandomState, n: int) -> Draw:
    corner = random.randint(8, size=n)
    column = corner // 2
    pair = corner % 2
    row = 2 * pair + column % 2
    cell = np.stack([column, row], axis=1)
    return 2.0 * (cell + random.random_sample((n, 2))) - 4.0, None


def _checkerboard_log_pdf(x: Floats) -> Floats:
    cell = np.floor((x + 4) / 2)
    inside = ((cell >= 0) & (cell < 4)).all(axis=1) & (cell.sum(axis=1) % 2 == 0)
    return np.where(inside, -np.log(32.0), -np.inf)


def _spiral(t: Floats) -> Floats:
    return t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)


def _swissroll(random: RandomState, n: int) -> Draw:
    t = 1.5 * np.pi * (1 + 2 * random.random_sample(n))
    return (_spiral(t) + random.standard_normal((n, 2))) / 5, None


def _pinwheel(random: RandomState, n: int) -> Draw:
    modes = random.randint(5, size=n)
    arm = random.standard_normal((n, 2)) * np.array([0.3, 0.1]) + np.array([1.0, 0.0])
    angle = 2 * np.pi * modes / 5 + _twist(arm[:, 0])
    cos = np.cos(angle)
    sin = np.sin(angle)
    turned = np.stack(
        [cos * arm[:, 0] - sin * arm[:, 1], sin * arm[:, 0] + cos * arm[:, 1]], axis=1
    )
    return 2 * turned, modes


def _twist(along: Floats) -> Floats:
    return 0.25 * np.exp(along)


def _pinwheel_log_pdf(x: Floats) -> Floats:
    """Density by the change of variables from (u, v) on an arm to x: sum of p(u, v) / |det| over all (u, v) that go there.

    A point at radius r and angle phi comes from u with r cos(phi - angle(u)) = u, which lies between -r and r; all such u
    are bracketed on a grid and found by bisection.
    """
    y = x / 2
    k = 513
    r = np.hypot(y[:, 0], y[:, 1])
    phi = np.arctan2(y[:, 1], y[:, 0])
    phi = (
        phi[:, None] - 2 * np.pi * np.arange(5) / 5
    ).ravel()  # five arms: five times as many points
    r = np.repeat(r, 5)
    grid = r[:, None] * np.linspace(-1, 1, k)
    above = r[:, None] * np.cos(phi[:, None] - _twist(grid)) > grid
    row, cell = np.nonzero(above[:, :-1] != above[:, 1:])
    low = grid[row, cell]
    high = grid[row, cell + 1]
    was = above[row, cell]
    for _ in range(45):
        middle = (low + high) / 2
        same = (r[row] * np.cos(phi[row] - _twist(middle)) > middle) == was
        low = np.where(same, middle, low)
        high = np.where(same, high, middle)
    u = low
    v = r[row] * np.sin(phi[row] - _twist(low))
    det = np.abs(1 - _twist(u) * v)
    log_p = (
        -(((u - 1) / 0.3) ** 2 + (v / 0.1) ** 2) / 2
        - np.log(2 * np.pi * 0.3 * 0.1 * 5 * 4)
        - np.log(det)
    )
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
        Truth(log_pdf=_in_blocks(_pinwheel_log_pdf, 5 * 513)),
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
