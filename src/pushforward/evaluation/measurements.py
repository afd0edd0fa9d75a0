"""What is measured of a model besides its scores: cost, curves, trajectories, the course of training, the latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pushforward.files import Record
from pushforward.metrics import Score
from pushforward.numbers import count, counted


@dataclass(frozen=True)
class Plan(Record):
    """What is measured of every model of a comparison, so that measuring takes no longer than it may.

    Args:
        n: Samples on either side.
        repeats: Samplings of each model.
        redraws: Draws of real data for the real-data scores; None for the usual number.
        turns: Timed rounds of each model; None for the usual number.
        memory: Whether the memory of sampling and training is measured.
        sweep: Seconds for each model's scores over solver steps; 0 leaves them out, and trajectories.
        limit: Seconds that measuring may take; None without a limit.
        estimate: Seconds that measuring was expected to take.
        took: Seconds that measuring took.
    """

    n: int | None = None
    repeats: int | None = None
    redraws: int | None = None
    turns: int | None = None
    memory: bool = True
    sweep: float = 40.0
    limit: float | None = None
    estimate: float | None = None
    took: float | None = None

    @property
    def words(self) -> str:
        """What is measured and what is left out, such as "2 samplings of 500 samples for each model, without memory use"."""
        samples = f"{counted(self.repeats, 'sampling')} of {count(self.n)} samples for each model"
        kept = {"sweeps over solver steps": self.sweep, "memory use": self.memory}
        left_out = " or ".join(name for name, measured in kept.items() if not measured)
        return f"{samples}, without {left_out}" if left_out else samples


@dataclass(frozen=True)
class TrainingCost(Record):
    """What training took; means where several trainings are one model.

    Args:
        seconds: Time inside training steps.
        steps: Training steps.
        samples: Examples drawn.
        precision: Of network calls.
        batch: Examples of a step.
        samples_per_second: Examples drawn in a second.
        memory_mb: The most that a step holds in tensors, MiB, weights, their average and optimiser's too; None where unknown.
        trajectory_seconds, ancestor_seconds: Time beside ``seconds``, of a teacher's trajectories, and of all trainings of the
            models that it builds on (teacher, autoencoder, start), as far as they say; None without any.
    """

    seconds: float | None = None
    steps: float | None = None
    samples: float | None = None
    precision: str | None = None
    batch: float | None = None
    samples_per_second: float | None = None
    memory_mb: float | None = None
    trajectory_seconds: float | None = None
    ancestor_seconds: float | None = None


@dataclass(frozen=True)
class SampleTime(Record):
    """Seconds for one sample, timed in turns of ``batch`` samples.

    Args:
        low: The fastest turn. From it to the median is what the measurement supports.
        high: The median turn.
        values: Each turn.
    """

    batch: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Memory(Record):
    """The most held in tensors, MiB, weights included, when ``batch`` samples are generated at a time."""

    mb: float | None = None
    batch: float | None = None


@dataclass(frozen=True)
class SamplingCost(Record):
    """What a sample costs.

    Args:
        solver: Its name and grid; None for models of one call.
        steps: Of the solver.
        calls: Network evaluations for one sample.
        seconds_per_sample: The lower quartile over the turns of ``timing``.
        timing: All turns.
        flops_per_sample: Floating point operations.
        memory: The most that is held.
        refused: The share of draws that broke a constraint of a table and were drawn again; None without constraints.
    """

    solver: str | None = None
    steps: float | None = None
    calls: float | None = None
    seconds_per_sample: float | None = None
    timing: SampleTime = field(default_factory=SampleTime)
    flops_per_sample: float | None = None
    memory: Memory = field(default_factory=Memory)
    refused: float | None = None


@dataclass(frozen=True)
class CurvePoint(Record):
    """Scores at one number of steps, by score: a single sampling, or means over several.

    Args:
        steps: Of the solver.
        calls: Network evaluations for one sample.
        scores: Values by name.
        values: One for each sampling, by name; samplings of two points of a ladder have the same noise.
        distance: How far samples are from the teacher's of the same noise: root mean square, in standard deviations of data.
        intervals: The ends of 95 % intervals as those of `Score`, by name, of the points of a ladder.
        sample_terms, reference_terms: Those of `Score`, by name, the first as means over samplings.
    """

    steps: float | None = None
    calls: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    values: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    distance: float | None = None
    intervals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sample_terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    reference_terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ladder(Record):
    """Quality of a map between two times in few calls, and of its teacher from the same noise.

    Args:
        n, repeats: Samples on either side, and samplings of each point.
        floors: What real data scores at this n, by score.
        points: Of the map, in 1, 2, 4, 8 and 16 calls.
        teacher: Of the teacher by its own solver, each in at most as many calls; empty where there is none.
        own, solver: The teacher by the solver and in the steps of the map's training; and that solver, in words.
        default, default_solver: The same in the steps of the teacher's own run; None where the map's run does not name them.
        teacher_run: The folder of the teacher's run, as the map's run names it; None where it names none.
        finished: Whether the teacher is the map that was finished, at which this one starts.
        learned: What of the teacher the map's training learns (`pushforward.methods.Method.learns`); None where unknown.
    """

    n: int | None = None
    repeats: int | None = None
    floors: Mapping[str, Score] = field(default_factory=dict)
    points: tuple[CurvePoint, ...] = ()
    teacher: tuple[CurvePoint, ...] = ()
    own: CurvePoint | None = None
    solver: str | None = None
    default: CurvePoint | None = None
    default_solver: str | None = None
    teacher_run: str | None = None
    finished: bool = False
    learned: str | None = None


@dataclass(frozen=True)
class LevelError(Record):
    """The mean squared error in v at one noise level, and its standard error."""

    log_snr: float | None = None
    error: float | None = None
    spread: float | None = None


@dataclass(frozen=True)
class Trajectory(Record):
    """How an iterative model moves noise to data (`pushforward.evaluation.model_metrics`).

    Args:
        n: How many trajectories were measured.
        straightness: 0 for straight lines at constant speed.
        npe: The normalised path energy; None for images and vectors of many columns.
        loss_by_level: From data to noise.
    """

    n: float | None = None
    straightness: float | None = None
    npe: float | None = None
    loss_by_level: tuple[LevelError, ...] = ()


@dataclass(frozen=True)
class Series(Record):
    """Values over training steps; ``seconds`` are those inside the steps so far, where they are stored."""

    step: tuple[float | None, ...] = ()
    value: tuple[float | None, ...] = ()
    seconds: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Health(Record):
    """What was measured while a model was trained.

    Args:
        modes: How many modes the data has; None where that is not known.
        series: By measure: modes_held, bridges, spread, coverage, frechet, critic_accuracy, logit_gap and others.
        skipped: How many steps were skipped, in words; empty where none was.
        best: Of a map between two times which step was the best, in words.
    """

    modes: float | None = None
    series: Mapping[str, Series] = field(default_factory=dict)
    skipped: str = ""
    best: str | None = None


@dataclass(frozen=True)
class SweepPoint(Record):
    """Scores after one training of a recipe for a budget of its own.

    Args:
        seconds: Time inside training steps.
        steps: Training steps.
        seed: Of the training, or of several.
        scores: By name.
        budget: Seconds for which it was to train; None where that is not known.
        commands: Command lines that train it again; empty for the longest training, which is the model itself.
    """

    seconds: float | None = None
    steps: float | None = None
    seed: int | tuple[int | None, ...] | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    budget: float | None = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alarm(Record):
    """The begin of an alarm of training, or with ``over`` its end.

    Args:
        kind: Such as "collapse".
        step: At which it was raised, or was over.
        value: The measured value.
        threshold: The value from which it is raised.
        sentence: What happened.
        advice: What to do.
        over: Whether this is the end.
        training: The name of the training, where several are one model.
    """

    kind: str = ""
    step: float | None = None
    value: float | None = None
    threshold: float | None = None
    sentence: str = ""
    advice: str = ""
    over: bool = False
    training: str | None = None


@dataclass(frozen=True)
class Reconstruction(Record):
    """How near reconstructions of held-out examples are to them.

    Args:
        n: How many examples.
        explained: The share of the variance about the mean example that they explain; 1 is all.
        feature_distance: Mean squared distance in the features of the scores, in which data has unit variance.
        psnr: Decibels, for images.
        ssim: Structural similarity, for images; 1 is equal.
    """

    n: float | None = None
    explained: float | None = None
    feature_distance: float | None = None
    psnr: float | None = None
    ssim: float | None = None


@dataclass(frozen=True)
class CodeStatistics(Record):
    """What the latent codes of held-out examples carry.

    Args:
        n: How many examples.
        units: Numbers of a code.
        active: Those whose mean varies over the data.
        kl: The KL term, nats an example; None where the prior is not N(0, 1).
        mismatch: KL of all codes together, as a Gaussian, to the prior, nats; None where there are too few examples.
        by_unit: The KL term of each unit, nats, falling, at most 64.
    """

    n: float | None = None
    units: float | None = None
    active: float | None = None
    kl: float | None = None
    mismatch: float | None = None
    by_unit: tuple[float, ...] = ()


@dataclass(frozen=True)
class LatentStatistics(Record):
    """A model's latent space: reconstructions, and codes; the latter None for codes without variances."""

    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    code: CodeStatistics | None = None


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
        landscapes: (step, the arrays of `pushforward.training.monitor.standard_callbacks`: scores, limits, raw).
        latent: For models with an encoder.
        nearest: Of images.
        field: Of an iterative model of points in the plane.
        mesh: (rows, columns, 2), data units: a grid of noise, as a model of one call of points in the plane maps it.
        pair: Of a map between two times with a teacher: its samples in one call and the teacher's from the same noise.
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
