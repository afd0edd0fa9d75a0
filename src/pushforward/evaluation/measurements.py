"""Measurements of a model other than scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from pushforward.files import Record
from pushforward.metrics import Score
from pushforward.numbers import count, plural
from pushforward.pictures import Limits

Number = float | None  # None if unknown
Numbers = tuple[Number, ...]
Seeds = int | tuple[int | None, ...] | None  # of one or several training runs


@dataclass(frozen=True)
class Plan(Record):
    """How much is measured of every model of a comparison.

    Args:
        n: Number of samples per side.
        repeats: Number of samplings per model.
        redraws: Number of draws of real data; None for the usual number.
        sweep: Maximum number of seconds per model for scores over solver steps.
        limit: Approximate time limit in seconds.
        took: Duration in seconds.
    """

    n: int | None = None
    repeats: int | None = None
    redraws: int | None = None
    sweep: float = 40.0
    limit: Number = None
    took: Number = None

    @property
    def words(self) -> str:
        """Describe the plan, such as "2 samplings of 500 samples"."""
        return f"{plural(self.repeats, 'sampling')} of {count(self.n)} samples"


@dataclass(frozen=True)
class TrainingCost(Record):
    """Cost of training, or the mean of several training runs.

    Args:
        memory_mb: Peak memory of a training step in MiB.
        trajectory_seconds: Additional seconds for the trajectories of a teacher.
        ancestor_seconds: Training seconds of the models that this model builds on.
    """

    seconds: Number = None
    steps: Number = None
    samples: Number = None
    precision: str | None = None
    batch: Number = None
    samples_per_second: Number = None
    memory_mb: Number = None
    trajectory_seconds: Number = None
    ancestor_seconds: Number = None

    @property
    def total(self) -> Number:
        """Return the seconds of training, trajectories and ancestors."""
        parts = (self.seconds, self.trajectory_seconds, self.ancestor_seconds)
        return sum(filter(None, parts)) or None


@dataclass(frozen=True)
class SampleTime(Record):
    """Seconds per sample in timed rounds: of the fastest, their median, and of each."""

    batch: Number = None
    low: Number = None
    high: Number = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Memory(Record):
    """Peak memory of sampling in MiB, with the weights."""

    mb: Number = None
    batch: Number = None


@dataclass(frozen=True)
class SamplingCost(Record):
    """Cost of one sample.

    Args:
        calls: Number of network calls.
        seconds_per_sample: Lower quartile of the seconds per sample in ``timing``.
        refused: Fraction of draws that broke a constraint of a table and were drawn again.
    """

    solver: str | None = None
    steps: Number = None
    calls: Number = None
    seconds_per_sample: Number = None
    timing: SampleTime = field(default_factory=SampleTime)
    flops_per_sample: Number = None
    memory: Memory = field(default_factory=Memory)
    refused: Number = None

    @property
    def seconds_per_call(self) -> Number:
        """Return the seconds of one network call."""
        if not self.seconds_per_sample or not self.calls:
            return None
        return self.seconds_per_sample / self.calls


@dataclass(frozen=True)
class CurvePoint(Record):
    """Scores at one number of solver steps, by name.

    Args:
        calls: Number of network calls per sample.
        distance: Root mean square distance between samples of the model and of its teacher from the
            same noise, in standard deviations of the data.
    """

    steps: Number = None
    calls: Number = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    distance: Number = None

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Self:
        """Read a point; in reports of earlier versions, scores are numbers."""
        intervals = data.get("intervals") or {}
        scores = {}
        for name, score in (data.get("scores") or {}).items():
            if not isinstance(score, Mapping):
                score = {"value": score, "interval": intervals.get(name)}
            scores[name] = score
        return super().from_plain({**data, "scores": scores})


@dataclass(frozen=True)
class StepsCurve(Record):
    """Quality of a flow map in few calls, and of its teacher from the same noise.

    Args:
        teacher: Scores of the teacher with at most the same numbers of calls.
        own: Scores of the teacher with the ``solver`` and steps used in training.
        default: Scores of the teacher with the solver and steps of its own run.
        finished: Whether the teacher is the flow map from which `finish` started.
        learned: What the map learns from the teacher.
    """

    n: int | None = None
    repeats: int | None = None
    real_data_scores: Mapping[str, Score] = field(
        default_factory=dict, metadata={"former": "floors"}
    )
    points: tuple[CurvePoint, ...] = ()
    teacher: tuple[CurvePoint, ...] = ()
    own: CurvePoint | None = None
    solver: str | None = None
    default: CurvePoint | None = None
    default_solver: str | None = None
    finished: bool = False
    learned: str | None = None


@dataclass(frozen=True)
class LevelError(Record):
    """Mean squared error of the prediction of v at a log-SNR."""

    log_snr: Number = None
    error: Number = None


@dataclass(frozen=True)
class Trajectory(Record):
    """Trajectories of an iterative model: straightness, path energy, and errors by noise level."""

    n: Number = None
    straightness: Number = None
    npe: Number = None
    loss_by_level: tuple[LevelError, ...] = ()


@dataclass(frozen=True)
class Series(Record):
    """Values over training steps and, if stored, training seconds."""

    step: Numbers = ()
    value: Numbers = ()
    seconds: Numbers = ()


@dataclass(frozen=True)
class Health(Record):
    """Measurements made during training, and sentences on skipped steps and the best step."""

    modes: Number = None
    series: Mapping[str, Series] = field(default_factory=dict)
    skipped: str = ""
    best: str | None = None


@dataclass(frozen=True)
class SweepPoint(Record):
    """Scores of a training run with one of several budgets in seconds."""

    seconds: Number = None
    steps: Number = None
    seed: Seeds = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    budget: Number = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alarm(Record):
    """Start or end (``over``) of an alarm in a training run, such as "collapse"."""

    kind: str = ""
    step: Number = None
    value: Number = None
    threshold: Number = None
    sentence: str = ""
    advice: str = ""
    over: bool = False
    training: str | None = None


@dataclass(frozen=True)
class Reconstruction(Record):
    """Quality of the reconstructions of held-out examples.

    Args:
        explained: Explained fraction of the variance.
        feature_distance: Mean squared distance in feature space.
        psnr: Peak signal-to-noise ratio in decibels.
        ssim: Structural similarity.
    """

    n: Number = None
    explained: Number = None
    feature_distance: Number = None
    psnr: Number = None
    ssim: Number = None


@dataclass(frozen=True)
class CodeStatistics(Record):
    """Statistics of the latents of held-out examples.

    Args:
        units: Number of latent dimensions.
        active: Number of dimensions whose mean varies over the data.
        kl: KL term in nats per example, if the prior is N(0, 1).
        mismatch: KL divergence of all latents, as one Gaussian, from the prior in nats.
    """

    n: Number = None
    units: Number = None
    active: Number = None
    kl: Number = None
    mismatch: Number = None


@dataclass(frozen=True)
class LatentStatistics(Record):
    """Measurements of a latent space; ``code`` is None without variances."""

    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    code: CodeStatistics | None = None


@dataclass(frozen=True)
class Map2D:
    """Latents (n, 2) in a plane that holds a ``share`` of their variance."""

    points: np.ndarray
    labels: np.ndarray | None
    share: float


@dataclass(frozen=True)
class LatentPictures:
    """Pictures of a latent space.

    Args:
        strip: Held-out images and then their reconstructions, uint8 (2 n, height, width, channels).
        walks: "spherical", images between two latents, and "classes", one latent decoded as each
            class.
    """

    map: Map2D | None = None
    strip: np.ndarray | None = None
    walks: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class NearestImages:
    """Nearest training images, their distances in standard deviations, and the usual one."""

    x: np.ndarray
    distances: np.ndarray
    usual: float


@dataclass(frozen=True)
class Field2D:
    """Velocities and trajectories of an iterative model in the plane, on the straight path.

    Both start at the centres of grid cells, with rows in ascending order of y.

    Args:
        limits: Square spanned by the grids in data units: (min x, max x, min y, max y).
        velocities: Velocities towards data, (classes, T, rows, columns, 2).
        ways: Trajectories, (classes, rows, columns, steps + 1, 2).
    """

    limits: Limits
    times: np.ndarray
    velocities: np.ndarray
    way_times: np.ndarray
    ways: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """Arrays that a report draws for one model or for real data.

    Args:
        grid: Samples, uint8 (n, height, width, channels) or float (n, d).
        formation: Pairs (t, samples) from noise to data.
        training: Pairs (training step, samples), all from the same noise.
        landscapes: Pairs (training step, arrays) of `pushforward.training.monitor`.
        pair: Samples of a flow map with one call, and of its teacher from the same noise.
    """

    grid: np.ndarray | None = None
    formation: Sequence[tuple[float, np.ndarray]] | None = None
    training: Sequence[tuple[int, np.ndarray]] = ()
    landscapes: Sequence[tuple[int, Mapping[str, np.ndarray]]] = ()
    latent: LatentPictures | None = None
    nearest: NearestImages | None = None
    field: Field2D | None = None
    pair: tuple[np.ndarray, np.ndarray] | None = None
