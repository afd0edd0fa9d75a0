"""Options that several verbs share, as typed groups; each group is a panel of a verb's help."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from pushforward.cli.data_group import DATA, Flag, Header, Reading

__all__ = [
    "ALL_DATA",
    "AS_IT_IS",
    "BUDGET",
    "COMPUTE",
    "DATA",
    "EVALUATION",
    "INSPECT",
    "MODEL",
    "NEWEST",
    "NO_BUDGET",
    "NO_CHANGES",
    "OUTPUT",
    "PLACED",
    "PROCESSES",
    "SAMPLES",
    "SOLVER",
    "STARTING",
    "TRAIN",
    "TRAINING",
    "UNGUIDED",
    "USE",
    "Budgeting",
    "Changes",
    "Conditioned",
    "Device",
    "Features",
    "Flag",
    "Frozen",
    "Full",
    "Given",
    "Guiding",
    "Header",
    "Image",
    "Json",
    "Label",
    "Loading",
    "N",
    "Placing",
    "Plugins",
    "Precision",
    "Reading",
    "Resize",
    "RunFolder",
    "Seed",
    "Settings",
    "Solving",
    "Sweeping",
    "Track",
]

TRAIN, USE, INSPECT = (Group(name, sort_key=i) for i, name in enumerate(("Train", "Use a run", "Inspect"), start=1))
"""The groups of verbs."""
MODEL = Group("Model", sort_key=10)
BUDGET = Group("Budget", sort_key=30)
STARTING = Group("Other models", sort_key=35)
TRAINING = Group("Training", sort_key=40)
PROCESSES = Group("Processes", sort_key=45)
SAMPLES = Group("Samples", sort_key=50)
SOLVER = Group("Solver", sort_key=60)
GUIDANCE = Group("Guidance", sort_key=70)
EVALUATION = Group("Evaluation", sort_key=75)
OUTPUT = Group("Output", sort_key=80)
COMPUTE = Group("Weights and device", sort_key=90)

Track = Annotated[
    str | None,
    Parameter(
        group=OUTPUT,
        help="Log to tensorboard, wandb or mlflow too, or several: a,b.",
    ),
]
Precision = Literal["auto", "float32", "bfloat16"]
Plugins = Annotated[
    tuple[str, ...],
    Parameter(
        name="--plugin",
        group=COMPUTE,
        negative_iterable=(),
        consume_multiple=False,
        show_default=False,
        help="A Python file with parts of your own, or one that a run was trained with; may be repeated.",
    ),
]
Features = Annotated[
    str | None,
    Parameter(
        group=EVALUATION,
        help="Some of `pushforward list features`, separated by commas: models are ranked by the first, and scores of the others "
        "stand beside. inception:FILE names a file of weights. Default: what suits the data.",
    ),
]
Frozen = Annotated[
    tuple[str, ...],
    Parameter(name="--frozen", group=STARTING, negative_iterable=(), consume_multiple=False, show_default=False),
]
Settings = Annotated[str, Parameter(show=False)]
"""A recipe's own settings, as any other options."""
RunFolder = Annotated[str, Parameter(group=MODEL, help="The run's folder.")]
Conditioned = Annotated[
    Literal["label", "none"] | None,
    Parameter(
        group=DATA,
        show_choices=False,
        help="label: with labels, as is usual where there are any; none: without. Columns of --given are used either way.",
    ),
]
Image = Annotated[str, Parameter(group=MODEL, help="The image file.")]
Device = Annotated[str, Parameter(group=COMPUTE, help="auto, cpu, cuda or cuda:1.")]
Json = Annotated[bool, Parameter(group=OUTPUT, negative=(), show_default=False, help="Print the result as JSON.")]
Full = Annotated[bool, Parameter(group=OUTPUT, negative=(), show_default=False, help="Print all findings and scores.")]
N = Annotated[int, Parameter(group=SAMPLES, help="Number of samples.")]
Seed = Annotated[int, Parameter(group=SAMPLES, help="Sample i comes from seed + i alone.")]
Label = Annotated[str | None, Parameter(group=SAMPLES)]
Given = Annotated[
    str | None,
    Parameter(
        group=SAMPLES,
        help="Values of columns that the model is conditioned on: age=40,income=2. Columns that are not named are drawn "
        "together from the training examples, whatever is asked of the others.",
    ),
]
Resize = Annotated[
    bool,
    Parameter(group=MODEL, negative=(), show_default=False, help="Scale and crop images of another size than the model's."),
]


@Parameter(name="*", group=BUDGET)
@dataclass(frozen=True)
class Budgeting:
    """When training ends; at most one of the three.

    Args:
        steps: Budget in steps, in all: 5000, 20k or 2M.
        budget: Budget in seconds of training, in all: 60s, 10m or 1.5h.
        samples: Budget in training examples drawn, in all: 5000, 20k or 2M.
    """

    steps: str | None = None
    budget: str | None = None
    samples: str | None = None


@Parameter(name="*", group=BUDGET)
@dataclass(frozen=True)
class Sweeping(Budgeting):
    """When each training of a comparison ends; at most one of the three.

    Args:
        budget: Budget in seconds of training, in all: 60s, 10m or 1.5h; several, 15s,30s,60s without spaces, are a sweep.
    """

    budget: str | None = None


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class Changes:
    """Changes to how a recipe trains; None leaves the recipe's value.

    Args:
        batch: Examples of a step in all; 64 N in each process.
        accumulate: Parts into which a batch is split to save memory.
        lr: Learning rate.
        optimizer: adamw, or muon, which moves kernels of convolutions as matrices.
        ema: Half-life of averaged weights, in training examples.
        precision: Precision of the network calls.
        augment: flip, shift, dequantise, or several: flip,shift.
    """

    batch: int | None = None
    accumulate: int | None = None
    lr: float | None = None
    optimizer: Literal["adamw", "muon"] | None = None
    ema: float | None = None
    precision: Precision | None = None
    augment: Annotated[str, Parameter(show_default=False)] = ""

    def of_training(self) -> dict[str, Any]:
        """The settings of `pushforward.Training` that were given."""
        given = {name: value for name, value in asdict(self).items() if name != "augment"}
        return {name: value for name, value in given.items() if value is not None}


@Parameter(name="*", group=SOLVER)
@dataclass(frozen=True)
class Solving:
    """How z becomes a sample: the solver of an iterative model, the truncation of a one-call one. None leaves it unchanged.

    Args:
        steps: Solver steps of an iterative model (diffusion, flow matching).
        solver: One of `pushforward list solvers`; dpm:3 and ddim:0.5 set its number.
        grid: The times of the steps: time, log_snr, karras, shifted, shifted:1.5, or learned (by `pushforward tune`);
            table takes the coefficients as well that `pushforward tune --what table` learned.
        truncation: Limit of the size of every number of the noise of a one-call model (GAN, VAE), such as 1.5; see
            `pushforward truncation`.
    """

    steps: int | None = None
    solver: str | None = None
    grid: str | None = None
    truncation: float | None = None


@Parameter(name="*", group=GUIDANCE)
@dataclass(frozen=True)
class Guiding:
    """How an iterative model is guided; None is not at all.

    Args:
        scale: Guidance scale: 1 is the conditional model, larger is closer to the label and less varied.
        interval: Noise levels sigma/alpha between which guidance acts, such as 0.2:5; default everywhere.
        weaker: A run that autoguidance leads away from, such as runs/earlier or runs/earlier@step_000500.
        weaker_scale: Scale of autoguidance: 1 is no guidance; default 2.
        threshold: Clip predicted images at this quantile of their pixels (dynamic thresholding), such as 0.995.
    """

    scale: float | None = None
    interval: str | None = None
    weaker: str | None = None
    weaker_scale: float | None = None
    threshold: float | None = None


@Parameter(name="*", group=COMPUTE)
@dataclass(frozen=True)
class Loading:
    """Which weights of a run are used, and how they are computed with.

    Args:
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest. best is that with the best samples of a flow map in 1, 2 and 4
            network calls.
        batch: Samples computed at a time.
        device: auto, cpu, cuda or cuda:1.
        precision: Precision of the network calls.
    """

    raw: Flag = False
    checkpoint: str | None = None
    plugin: Plugins = ()
    batch: int = 256
    device: str = "auto"
    precision: Precision = "float32"


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class Placing:
    """How a result is written.

    Args:
        zoom: Enlarge every pixel this many times; by default small images of a grid become about 64 pixels wide, others stay.
        overwrite: Replace what is there.
    """

    zoom: int | None = None
    overwrite: Flag = False


NO_BUDGET, NO_SWEEP, ALL_DATA, NO_CHANGES = Budgeting(), Sweeping(), Reading(), Changes()
AS_IT_IS, UNGUIDED, NEWEST, PLACED = Solving(), Guiding(), Loading(), Placing()
