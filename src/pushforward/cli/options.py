"""The application, the options that verbs share, and printed results."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import (
    App,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownCommandError,
    UnknownOptionError,
)
from cyclopts.validators import Number

from pushforward import synonyms
from pushforward.arguments import BATCH, given_in
from pushforward.errors import UsageError, suggestion
from pushforward.registries import RECIPES

if TYPE_CHECKING:
    from pushforward.report import Report

# The groups of verbs
TRAIN = Group("Train", sort_key=1)
USE = Group("Use a run", sort_key=2)
INSPECT = Group("Inspect", sort_key=3)
MODEL = Group("Model", sort_key=10)
DATA = Group("Data", sort_key=20)
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
AT_LEAST_1 = Number(gte=1)

T = TypeVar("T")
ModelOption = Annotated[T, Parameter(group=MODEL)]
DataOption = Annotated[T, Parameter(group=DATA)]
BudgetOption = Annotated[T, Parameter(group=BUDGET)]
StartingOption = Annotated[T, Parameter(group=STARTING)]
TrainingOption = Annotated[T, Parameter(group=TRAINING)]
SampleOption = Annotated[T, Parameter(group=SAMPLES)]
SolverOption = Annotated[T, Parameter(group=SOLVER)]
EvaluationOption = Annotated[T, Parameter(group=EVALUATION)]
OutputOption = Annotated[T, Parameter(group=OUTPUT)]
ComputeOption = Annotated[T, Parameter(group=COMPUTE)]


Track = Annotated[
    str | None,
    Parameter(
        group=OUTPUT, help="Also log to tensorboard, wandb or mlflow. Separate several by commas."
    ),
]
Precision = Literal["auto", "float32", "bfloat16"]
Header = Literal["yes", "no"]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Positive = Annotated[int, Parameter(validator=AT_LEAST_1)]
Unlisted = Annotated[T, Parameter(show_choices=False)]  # The help names the choices
Repeated = Annotated[
    tuple[str, ...], Parameter(negative_iterable=(), consume_multiple=False, show_default=False)
]
Plugins = Annotated[
    Repeated,
    Parameter(
        name="--plugin",
        group=COMPUTE,
        help="Python file that defines your own parts, or that the run was trained with. Can be "
        "repeated.",
    ),
]
Features = Annotated[
    str | None,
    Parameter(
        group=EVALUATION,
        help="Feature extractors, separated by commas; see `pushforward list features`. Models are "
        "ranked by the first. "
        "inception:FILE loads Inception weights from a file. Default: chosen by the kind of data.",
    ),
]
Flops = Annotated[
    float | None,
    Parameter(
        group=BUDGET,
        validator=Number(gt=0),
        help="Budget in floating-point operations, such as 1e15.",
    ),
]
RecipeSetting = Annotated[str, Parameter(show=False)]  # A recipe's own settings
RunFolder = Annotated[str, Parameter(group=MODEL, help="Run folder.")]
RunCheckpoint = Annotated[
    str,
    Parameter(
        group=MODEL,
        help="Run folder, or RUN@CHECKPOINT for an older checkpoint, such as "
        "runs/digits-flow@step_000500. Flow maps also "
        "have RUN@best, the checkpoint with the best samples in 1, 2 and 4 network calls.",
    ),
]
Conditioned = Annotated[
    Unlisted[Literal["label", "none"] | None],
    Parameter(
        group=DATA,
        help="label: train with labels; none: train without. Default: label if the data has "
        "labels. Columns of --given are "
        "used in either case.",
    ),
]
Image = Annotated[str, Parameter(group=MODEL, help="Image file.")]
Device = Annotated[str, Parameter(group=COMPUTE, help="Device: auto, cpu, cuda or cuda:1.")]
Devices = Annotated[
    int | None,
    Parameter(
        group=PROCESSES,
        validator=AT_LEAST_1,
        help="Number of processes on this machine, each with its own CUDA device or part of the "
        "CPU cores.",
    ),
]
Raw = Annotated[
    Flag, Parameter(group=COMPUTE, help="Use the latest weights instead of their average.")
]
Json = Annotated[Flag, Parameter(group=OUTPUT, help="Print the result as JSON.")]
Full = Annotated[Flag, Parameter(group=OUTPUT, help="Print all findings and scores.")]
N = Annotated[Positive, Parameter(group=SAMPLES, help="Number of samples.")]
Compared = Annotated[
    int | None,
    Parameter(
        group=EVALUATION,
        validator=Number(gte=2),
        help="Number of samples and of held-out examples to compare. Default: the maximum that "
        "data and time allow.",
    ),
]
Repeats = Annotated[
    int | None,
    Parameter(
        group=EVALUATION,
        validator=AT_LEAST_1,
        help="Number of times to sample and score. Default: 5, or fewer to save time.",
    ),
]
Thorough = Annotated[
    Flag,
    Parameter(
        group=EVALUATION,
        help="Measure everything. By default, measuring is limited to about the time of training, "
        "or 30 s if that is longer.",
    ),
]
Seed = Annotated[
    int, Parameter(group=SAMPLES, help="Random seed. Sample i depends only on seed + i.")
]
Label = SampleOption[str | None]
Given = Annotated[
    str | None,
    Parameter(
        group=SAMPLES,
        help="Values of conditioning columns, such as age=40,income=2.",
    ),
]
Resize = Annotated[Flag, Parameter(group=MODEL, help="Scale and crop images to the model's size.")]
Out = OutputOption[str | None]
Overwrite = Annotated[Flag, Parameter(group=OUTPUT, help="Replace existing output.")]


@Parameter(name="*", group=DATA)
@dataclass(frozen=True)
class Reading:
    """Options for reading data.

    Args:
        target: Column to predict (tables) or label column (vectors).
        given: Numeric columns to condition on, such as age,income. NAME:KIND also sets the kind of
            condition.
        header: Whether the first line of a table contains column names: yes or no. Default:
            detected.
        resize: Scale and crop images to this size: 64, or 48x64 (height x width).
        channels: Convert images to rgb or grey.
        background: Colour behind transparent pixels, such as white or #808080.
        limit: Maximum number of training examples.
        download: Download a built-in data set if it is missing.
        stream: Read images from disk during training instead of keeping them in memory.
        workers: Number of threads that prefetch images from disk. Default: 1.
        columns: Columns of a table to keep, such as age,sex; for a table without a header, names of
            all columns.
        drop: Columns of a table to leave out, such as id,note.
        missing: Texts that mark missing values, such as "?,NA". They replace the default list.
        schema: Schema of a table: a file written by data check --write-schema.
        constraint: Constraint on rows, such as "end >= start" or 'sex != "X"'. Can be repeated.
        table: Whether to read a .csv of plain numbers as a table (yes) or as vectors (no).
        copies: Keep equal rows of a table in the same split (together), or split each row by itself
            (apart).
        rare: Whether to replace (default) or keep texts that occur in only one row.
    """

    target: str | None = None
    given: str | None = None
    header: Unlisted[Header | None] = None
    resize: str | None = None
    channels: Unlisted[Literal["rgb", "grey"] | None] = None
    background: str | None = None
    limit: int | None = None
    download: Flag = False
    stream: Flag = False
    workers: int | None = None
    columns: str | None = None
    drop: str | None = None
    missing: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    schema: str | None = None
    constraint: Repeated = ()
    table: Unlisted[Header | None] = None
    copies: Unlisted[Literal["together", "apart"] | None] = None
    rare: Unlisted[Literal["replace", "keep"] | None] = None


@Parameter(name="*", group=BUDGET)
@dataclass(frozen=True)
class Budgeting:
    """Training budget; at most one option may be given.

    Args:
        steps: Budget in training steps, such as 5000, 20k or 2M.
        budget: Budget in training time, such as 60s, 10m or 1.5h.
        samples: Budget in training examples drawn, such as 5000, 20k or 2M.
        epochs: Budget in passes over the training examples, such as 20 or 0.5.
    """

    steps: str | None = None
    budget: str | None = None
    samples: str | None = None
    epochs: Annotated[float | None, Parameter(validator=Number(gt=0))] = None


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class Changes:
    """Training settings that replace those of the recipe; None keeps the recipe's value.

    Args:
        batch: Batch size in total; with several processes, a multiple of 64 for each.
        accumulate: Number of micro-batches that a batch is split into to save memory.
        lr: Learning rate.
        optimizer: Optimiser; muon treats convolution kernels as matrices.
        ema: Half-life of the averaged weights, in training examples.
        precision: Precision of network calls.
        augment: Augmentations, separated by commas: flip, shift, dequantise.
    """

    batch: int | None = None
    accumulate: int | None = None
    lr: float | None = None
    optimizer: Literal["adamw", "muon"] | None = None
    ema: float | None = None
    precision: Precision | None = None
    augment: Annotated[str, Parameter(show_default=False)] = ""

    def of_training(self) -> dict[str, Any]:
        """Return the given settings of `pushforward.Training`."""
        return given_in({**asdict(self), "augment": None})


@Parameter(name="*", group=SOLVER)
@dataclass(frozen=True)
class Solving:
    """Solver of an iterative model, or truncation of a one-call model; None changes nothing.

    Args:
        steps: Number of solver steps of an iterative model (diffusion, flow matching).
        solver: Solver name (`pushforward list solvers`). Append a parameter with a colon: dpm:3,
            ddim:0.5.
        grid: Time grid of the steps: time, log_snr, karras, shifted, shifted:1.5, or learned (by
            `pushforward tune`).
        truncation: Largest absolute value of the noise of a one-call model (GAN, VAE), such as 1.5.
    """

    steps: int | None = None
    solver: str | None = None
    grid: str | None = None
    truncation: float | None = None


@Parameter(name="*", group=GUIDANCE)
@dataclass(frozen=True)
class Guiding:
    """Guidance of an iterative model; None means no guidance.

    Args:
        scale: Guidance scale: 1 is the conditional model; larger values follow the label more
            closely, with less diversity.
        interval: Range of noise levels sigma/alpha in which guidance acts, such as 0.2:5. Default:
            all.
        weaker: Weaker run for autoguidance, such as runs/earlier or runs/earlier@step_000500.
        weaker_scale: Autoguidance scale; 1 is no guidance. Default: 2.
        threshold: Clip predicted images at this quantile of their pixels (dynamic thresholding),
            such as 0.995.
    """

    scale: float | None = None
    interval: str | None = None
    weaker: str | None = None
    weaker_scale: float | None = None
    threshold: float | None = None


@Parameter(name="*", group=COMPUTE)
@dataclass(frozen=True)
class Loading:
    """Weights of a run, and how they are used.

    Args:
        batch: Number of samples to compute at a time.
        precision: Precision of network calls.
    """

    raw: Raw = False
    plugin: Plugins = ()
    batch: int = BATCH
    device: Device = "auto"
    precision: Precision = "float32"


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class Placing:
    """How to write a result.

    Args:
        zoom: Integer factor for enlarging pixels. Default: small images in a grid are enlarged to
            about 64 pixels.
    """

    zoom: int | None = None
    overwrite: Overwrite = False


@Parameter(name="*", group=PROCESSES)
@dataclass(frozen=True)
class Sharing:
    """Training of one model by several processes; under a launcher, no option is needed.

    Args:
        shard: Split weights and optimiser states across the processes.
    """

    devices: Devices = None
    shard: Flag = False


NO_BUDGET = Budgeting()
ALL_DATA = Reading()
NO_CHANGES = Changes()
ALONE = Sharing()
AS_IT_IS = Solving()
UNGUIDED = Guiding()
NEWEST = Loading()
PLACED = Placing()


_ARGUMENT = re.compile(r"`([a-z][a-z_]*)(?:=([^`\n]*))?`")
# Options with another name than their argument
_NAMES = {
    "checkpoint": "@CHECKPOINT",
    "seconds": "--budget",
    "plugins": "--plugin",
    "trackers": "--track",
    "constraints": "--constraint",
}
# Options whose value has another form on the command line; other options become flags if True
_WHOLE = {
    "header=True": "--header yes",
    "header=False": "--header no",
    "table=True": "--table yes",
    "table=False": "--table no",
    "labelled=True": "--condition label",
    "labelled=False": "--condition none",
    "shard=False": "no --shard",
}


def command() -> str:
    """Return the running command line, quoted for a shell."""
    return shlex.join(["pushforward", *sys.argv[1:]])


def as_options(message: str) -> str:
    """Replace arguments such as `out=FILE` by command-line options; verbs stay unchanged."""

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        if value is None and name in app:
            return match[0]
        known = _WHOLE.get(f"{name}={value}")
        if known is not None:
            return known
        word = _NAMES.get(name, f"--{name.replace('_', '-')}")
        if value is None or value == "True":
            return word
        return f"{word} {shlex.quote(value.strip('[]').strip(chr(34) + chr(39)))}"

    return _ARGUMENT.sub(option, message)


def unknown_option(option: str, known: Iterable[str], verb: str) -> str:
    """Build the error for an unknown option of a verb, with a suggestion if possible."""
    typed = option.partition("=")[0].lstrip("-")
    options = []
    for name in known:
        if name[-1].isalnum():  # the other names are groups of options
            options.append(name.lstrip("-").replace("_", "-"))
    hint = as_options(suggestion(typed, options, "--"))
    return f"Unknown option --{typed}.{hint} See: pushforward {verb} --help"


def _unknown_command(word: str, known: Iterable[str]) -> str:
    hint = suggestion(word, [name for name in known if not name.startswith("-")])
    recipes = [word] if word in RECIPES else synonyms.names_for(word, RECIPES)
    if recipes and "Did you mean" not in hint:
        return f"{word} is a recipe, not a command. See: pushforward train {recipes[0]} --help"
    return f'Unknown command "{word}".{as_options(hint)} See: pushforward --help'


def _error(error: CycloptsError) -> str:
    verb = " ".join(error.command_chain or ())
    if isinstance(error, UnknownOptionError):
        names: list[str] = []
        for argument in error.argument_collection:
            if argument.parse:
                names += argument.names
        return unknown_option(error.token.keyword or error.token.value, names, verb)
    if isinstance(error, UnknownCommandError) and error.app is not None and error.unused_tokens:
        return _unknown_command(error.unused_tokens[0], error.app)
    if isinstance(error, MissingArgumentError) and error.keyword is not None:
        unnamed = error.argument is not None and error.argument.name == "--[KEYWORD]"
        if unnamed:  # the verb itself reports settings without a value
            words = error.root_input_tokens or ()
            call([f"{word}=" if word == error.keyword else word for word in words])
    return f"{error} See: pushforward {verb} --help"


app = App(
    name="pushforward",
    help="Train, sample, compare and export generative models: GANs, VAEs, diffusion models and "
    "flows.",
    help_format="markdown",
    help_epilogue="Exit codes: 0 success, 1 bug or lost process, 2 wrong usage, 3 unusable data, 4 "
    "checkpoint or disk error, "
    "5 training diverged, 6 out of memory, 7 missing extra, 75 stopped after saving, 130 Ctrl-C. "
    "See docs/exit-codes.md.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app["--help"].group = app["--version"].group = ("Other",)


def call(words: Sequence[str]) -> None:
    """Run a command; an invalid argument exits with 2."""
    try:
        app(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say(f"error: {_error(error)}")
        raise SystemExit(2) from None


data_app = App(name="data", help="List, check or pack data sets.", group=INSPECT, sort_key=4)
list_app = App(
    name="list", help="List recipes, solvers, metrics, features or runs.", group=INSPECT, sort_key=5
)
app.command(data_app)
app.command(list_app)


@dataclass(eq=False)
class Lasting:
    """Text stream that discards all output after an error, as if it was read."""

    stream: Any
    ends: type[OSError]

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush"):
            return functools.partial(self._call, name)
        return getattr(self.stream, name)

    def _call(self, name: str, *given: str) -> None:
        try:
            getattr(self.stream, name)(*given)
        except self.ends:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def say(line: str = "") -> None:
    """Print an event to stderr."""
    print(line, file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """Print an event of the library to stderr, with options instead of Python arguments."""
    say(as_options(line))


def show(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result to stdout, as JSON or as text."""
    if as_json:
        words = json.dumps(value, indent=1, default=str)
    else:
        words = text(value)
    print(words.encode(errors="backslashreplace").decode())  # names of files can be undecodable


written = itemgetter("out")  # The output of most verbs that write a file


def check_report(out: str) -> None:
    """Check the file name of a report before anything is measured."""
    if Path(out).suffix.lower() not in (".html", ".md", ".json"):
        raise UsageError(f"Cannot write a report to {out}. Use the extension .html, .md or .json.")


def show_report(report: Report, folder: Path, as_json: bool, full: bool, save: bool = True) -> None:
    """Save a report, and print it as JSON or text."""
    if save:
        report.save_all(folder)
    if as_json:
        return show(report.comparison.to_plain(), True, str)
    text = as_options(report.to_text(full))
    text = text.replace("Use --full", f"Use `pushforward report {folder} --full`")
    show(f"{text}\n\n{folder}/report.html", False, str)


def first_line(part: Any) -> str:
    """Return the first line of a docstring."""
    return (part.__doc__ or "").strip().split("\n")[0]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows with the same keys as aligned columns below their names."""
    lines = [[name.replace("_", " ") for name in row] for row in rows[:1]]
    for row in rows:
        lines.append([cell(value) for value in row.values()])
    return columns(lines)


def listed(facts: Mapping[str, Any]) -> str:
    """Format facts as two aligned columns, names and values."""
    return columns([[name.replace("_", " "), cell(value)] for name, value in facts.items()])


def cell(value: Any) -> str:
    """Format a value of a result for people."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    return str(value).replace("\n", "\\n")


def columns(rows: list[list[str]]) -> str:
    """Align rows of text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
