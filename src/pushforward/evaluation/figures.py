"""The pictures that go with a comparison, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

__all__ = ["Absent", "Arithmetic", "Field2D", "LatentPictures", "Map2D", "NearestImages", "Pictures"]


class Absent(Enum):
    """Why the samples of a model in a stored comparison are not shown, as a clause for one model and for several."""

    GONE = ("the folder of its run is not where it was", "the folders of their runs are not where they were")
    OTHER = (
        "the run in its folder is not known to be what was scored",
        "the runs in their folders are not known to be what was scored",
    )
    TRAINED = ("its run has been trained further since", "their runs have been trained further since")
    SAMPLING = (
        "it was scored with other weights or sampling options than those of the samples that its run stored",
        "they were scored with other weights or sampling options than those of the samples that their runs stored",
    )
    NOT_STORED = ("its run stored none of its last step", "their runs stored none of their last steps")
    UNREADABLE = ("its run, or what it stored, cannot be read", "their runs, or what they stored, cannot be read")
    NO_RUN = ("it was scored without a run", "they were scored without runs")


@dataclass(frozen=True)
class Map2D:
    """Latent codes as points in the plane.

    Args:
        points: (n, 2): the codes themselves where they have two numbers, else their first two principal axes.
        labels: int64 (n,), or None.
        share: The share of the codes' variance that the plane holds.
    """

    points: np.ndarray
    labels: np.ndarray | None
    share: float


@dataclass(frozen=True)
class Arithmetic:
    """Images of one class moved towards another.

    Args:
        groups: The two class names.
        frames: Images of each sequence.
        x: uint8 (sequences * frames, height, width, channels).
    """

    groups: tuple[str, str]
    frames: int
    x: np.ndarray


@dataclass(frozen=True)
class LatentPictures:
    """A model's latent space.

    Args:
        map: Codes of held-out examples; None for codes of one number.
        strip: Held-out images, then as many reconstructions, uint8 (2 n, height, width, channels); None for vectors.
        walks: Images between two codes, by interpolation; under "classes" one code decoded as each class.
        arithmetic: None where the autoencoder is given labels, or there are no two classes.
    """

    map: Map2D | None = None
    strip: np.ndarray | None = None
    walks: Mapping[str, np.ndarray] = field(default_factory=dict)
    arithmetic: Arithmetic | None = None


@dataclass(frozen=True)
class NearestImages:
    """The training images nearest to the first samples of a grid.

    Args:
        x: uint8 (n, height, width, channels).
        distances: (n,): Euclidean, over all pixels, in standard deviations of the data.
        usual: The median distance from held-out images to their nearest training images.
    """

    x: np.ndarray
    distances: np.ndarray
    usual: float


@dataclass(frozen=True)
class Field2D:
    """How an iterative model moves the plane, on the straight path x_t = (1 - t) x + t z, in data units.

    Args:
        limits: The square that both grids span: least x, greatest x, least y, greatest y.
        times: (T,), falling, of the velocities.
        velocities: (classes, T, rows, columns, 2): how far a point moves towards data in a unit of time, at the middles of the
            cells; rows from the least to the greatest y.
        way_times: (steps + 1,), falling, of the trajectories.
        ways: (classes, rows, columns, steps + 1, 2): trajectories from noise at the middles of the cells.
        classes: Names, one for each entry of the first axis; a single empty one for a model without labels.
    """

    limits: tuple[float, float, float, float]
    times: np.ndarray
    velocities: np.ndarray
    way_times: np.ndarray
    ways: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """What a report draws of one model, or of real data.

    Args:
        grid: Samples, uint8 (n, height, width, channels) or float (n, d).
        formation: (t, samples) from noise to data; None for models of one call.
        training: (step, samples), of the same noise.
        paths: Trajectories of points in the plane, float (n, steps + 1, 2) from noise to data, in data units; None for others.
        landscapes: (step, the arrays of `pushforward.training.monitor.critic_landscape`: scores, limits, raw).
        latent: For models with an encoder.
        nearest: Of images.
        field: Of an iterative model of points in the plane.
        mesh: (rows, columns, 2), data units: a grid of noise, as a model of one call of points in the plane maps it.
        pair: Of a map between two times with a teacher: its samples in one call and the teacher's from the same noise.
        absent: Why there is no grid, where that is known.
    """

    grid: np.ndarray | None = None
    formation: Sequence[tuple[float, np.ndarray]] | None = None
    training: Sequence[tuple[int, np.ndarray]] = ()
    paths: np.ndarray | None = None
    landscapes: Sequence[tuple[int, Mapping[str, np.ndarray]]] = ()
    latent: LatentPictures | None = None
    nearest: NearestImages | None = None
    field: Field2D | None = None
    mesh: np.ndarray | None = None
    pair: tuple[np.ndarray, np.ndarray] | None = None
    absent: Absent | None = None
