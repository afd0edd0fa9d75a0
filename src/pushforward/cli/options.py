"""The application, options that verbs share as typed groups (each a panel of a verb's help), and how results are printed."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
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
    UnusedCliTokensError,
)
from cyclopts.validators import Number

from pushforward import synonyms
from pushforward.errors import UsageError, suggestion
from pushforward.registries import RECIPES

if TYPE_CHECKING:
    from pushforward.report import Report

STARTED = time.perf_counter()  # When this process began, about

# The groups of verbs
TRAIN, USE, INSPECT = (Group(name, sort_key=i) for i, name in enumerate(("Train", "Use a run", "Inspect"), start=1))
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


def _files(kind: Any, paths: tuple[str, ...]) -> None:
    for path in paths:
        if not Path(path).is_file():
            raise ValueError(f"There is no file {path}; expected a Python file with parts of your own, or one that a run needs.")


Track = Annotated[str | None, Parameter(group=OUTPUT, help="Log to tensorboard, wandb or mlflow too, or several: a,b.")]
Precision = Literal["auto", "float32", "bfloat16"]
Header = Literal["yes", "no"]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Plugins = Annotated[
    tuple[str, ...],
    Parameter(
        name="--plugin",
        group=COMPUTE,
        negative_iterable=(),
        consume_multiple=False,
        show_default=False,
        validator=_files,
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
Flops = Annotated[
    float | None,
    Parameter(group=BUDGET, validator=Number(gt=0), help="Budget in floating point operations of training steps: 1e15."),
]
Epochs = Annotated[
    float | None,
    Parameter(group=BUDGET, validator=Number(gt=0), help="Budget in passes over the training examples: 20 or 0.5."),
]
Settings = Annotated[str, Parameter(show=False)]  # A recipe's own settings, as any other options
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
Devices = Annotated[
    int | None,
    Parameter(
        group=PROCESSES,
        validator=AT_LEAST_1,
        help="Start this many processes here, each with a CUDA device of its own or a share of the cores.",
    ),
]
Json = Annotated[Flag, Parameter(group=OUTPUT, help="Print the result as JSON.")]
Full = Annotated[Flag, Parameter(group=OUTPUT, help="Print all findings and scores.")]
N = Annotated[int, Parameter(group=SAMPLES, validator=AT_LEAST_1, help="Number of samples.")]
Compared = Annotated[
    int | None,
    Parameter(
        group=EVALUATION,
        validator=Number(gte=2),
        help="Number of samples to compare with as many held-out examples; default as many as the data and the time allow.",
    ),
]
Repeats = Annotated[
    int | None,
    Parameter(group=EVALUATION, validator=AT_LEAST_1, help="Number of samplings to score; default 5, or fewer to save time."),
]
Thorough = Annotated[
    Flag,
    Parameter(
        group=EVALUATION,
        help="Measure everything. By default measuring takes about as long as training, or 30 s if that is longer.",
    ),
]
Seed = Annotated[int, Parameter(group=SAMPLES, help="Sample i comes from seed + i alone.")]
Label = SampleOption[str | None]
Given = Annotated[
    str | None,
    Parameter(
        group=SAMPLES,
        help="Values of columns that the model is conditioned on: age=40,income=2. Columns that are not named are drawn "
        "together from the training examples, whatever is asked of the others.",
    ),
]
Resize = Annotated[Flag, Parameter(group=MODEL, help="Scale and crop images of another size than the model's.")]
Out = OutputOption[str | None]
Overwrite = Annotated[Flag, Parameter(group=OUTPUT, help="Replace what is there.")]


@Parameter(name="*", group=DATA)
@dataclass(frozen=True)
class Reading:
    """How a data source is read.

    Args:
        target: A table's column to predict, or vectors' label.
        given: Columns of numbers that are given, not generated: age,income. NAME:KIND names a kind of condition.
        header: The first line of a table holds names: yes or no.
        resize: Scale and crop images: 64, or 48x64 (height x width).
        channels: Convert images: rgb or grey.
        background: The colour below transparent pixels: white or #808080.
        limit: Use at most this many training examples.
        download: Fetch a named data set that is not there yet.
        stream: Read images from disk as they are needed.
        workers: Threads that read batches from disk ahead; default 1.
        columns: Columns of a table to keep: age,sex; or names for all.
        drop: Columns of a table to leave out: id,note.
        missing: Cells without a value, in place of the usual: "?,NA".
        schema: A table's kinds: data check --write-schema FILE.
        constraint: Rows meet it: "end >= start", 'sex != "X"'. Repeatable.
        table: A .csv of plain numbers is a table: yes or no.
        copies: Equal rows of a table are split together or apart.
        rare: Texts that only one row has: replace (default) or keep.
    """

    target: str | None = None
    given: str | None = None
    header: Annotated[Header | None, Parameter(show_choices=False)] = None
    resize: str | None = None
    channels: Annotated[Literal["rgb", "grey"] | None, Parameter(show_choices=False)] = None
    background: str | None = None
    limit: int | None = None
    download: Flag = False
    stream: Flag = False
    workers: int | None = None
    columns: str | None = None
    drop: str | None = None
    missing: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    schema: str | None = None
    constraint: Annotated[tuple[str, ...], Parameter(negative_iterable=(), consume_multiple=False, show_default=False)] = ()
    table: Annotated[Header | None, Parameter(show_choices=False)] = None
    copies: Annotated[Literal["together", "apart"] | None, Parameter(show_choices=False)] = None
    rare: Annotated[Literal["replace", "keep"] | None, Parameter(show_choices=False)] = None


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
        return {name: value for name, value in asdict(self).items() if name != "augment" and value is not None}


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
        precision: Precision of the network calls.
    """

    raw: Flag = False
    checkpoint: str | None = None
    plugin: Plugins = ()
    batch: int = 256
    device: Device = "auto"
    precision: Precision = "float32"


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class Placing:
    """How a result is written.

    Args:
        zoom: Enlarge every pixel this many times; by default small images of a grid become about 64 pixels wide, others stay.
    """

    zoom: int | None = None
    overwrite: Overwrite = False


@Parameter(name="*", group=PROCESSES)
@dataclass(frozen=True)
class Sharing:
    """Several processes that train one model together. Under torchrun, Slurm or Ray they find each other without an option.

    Args:
        shard: Each process holds a share of weights and optimisers.
    """

    devices: Devices = None
    shard: Flag = False


NO_BUDGET, ALL_DATA, NO_CHANGES, ALONE = Budgeting(), Reading(), Changes(), Sharing()
AS_IT_IS, UNGUIDED, NEWEST, PLACED = Solving(), Guiding(), Loading(), Placing()


_ARGUMENT = re.compile(r"`([a-z][a-z_]*)(?:=([^`\n]*))?`")
# Options that are called otherwise than their arguments
_NAMES = {"seconds": "--budget", "plugins": "--plugin", "trackers": "--track", "constraints": "--constraint"}
# Options whose value is said in other words, or not at all
_WHOLE = {
    **{f"{name}=True": f"--{name}" for name in ("download", "fallback", "full", "overwrite", "shard", "stream", "thorough")},
    **{
        f"{name}={value}": f"--{name} {word}"
        for name in ("header", "table")
        for value, word in (("True", "yes"), ("False", "no"))
    },
    "labelled=False": "--condition none",
    "labelled=True": "--condition label",
    "shard=False": "no --shard",
}


def command() -> str:
    """The command line that is running, quoted so that a shell reads it as it was typed."""
    return shlex.join(["pushforward", *sys.argv[1:]])


def as_options(message: str) -> str:
    """A message with options instead of the arguments that stand between backticks; verbs and commands stay.

    Args:
        message: Such as "Choose another `out`, or add `overwrite=True`.".
    """

    def option(match: re.Match[str]) -> str:
        name, value, whole = match[1], match[2], _WHOLE.get(match[0].strip("`"))
        if whole is not None or (value is None and name in app):
            return whole or match[0]
        if name == "checkpoint" and sys.argv[1:2] == ["resume"]:
            name = "from"
        word = _NAMES.get(name, f"--{name.replace('_', '-')}")
        return word if value is None else f"{word} {shlex.quote(value.strip('[]').strip(chr(34) + chr(39)))}"

    return _ARGUMENT.sub(option, message)


def unknown_option(option: str, known: Iterable[str], verb: str) -> str:
    """Say that a verb does not have an option, and which one was meant.

    Args:
        option: The option as it was typed, with or without its dashes.
        known: The names of the verb's options; dashes and underscores may differ.
        verb: Such as "train flow".
    """
    typed = option.partition("=")[0].lstrip("-")
    options = [name.lstrip("-").replace("_", "-") for name in known if name[-1].isalnum()]  # others are groups of options
    hint = suggestion(typed, options, "--")
    return f"Unknown option --{typed}.{as_options(hint)} See: pushforward {verb} --help"


def _unknown_command(word: str, known: Iterable[str]) -> str:
    verbs = [name for name in known if not name.startswith("-")]
    hint = suggestion(word, verbs)
    recipe = word if word in RECIPES else synonyms.name_for(word, RECIPES)
    if recipe is not None and "Did you mean" not in hint:
        return f"{word} is a recipe, not a command. See: pushforward train {recipe} --help"
    return f'Unknown command "{word}".{as_options(hint)} Commands: {", ".join(verbs)}.'


def _error(error: CycloptsError) -> str:
    verb = " ".join(error.command_chain or ())
    if isinstance(error, UnknownOptionError):
        names = (name for argument in error.argument_collection if argument.parse for name in argument.names)
        return f"error: {unknown_option(error.token.keyword or error.token.value, names, verb)}"
    if isinstance(error, UnknownCommandError) and error.app is not None and error.unused_tokens:
        return f"error: {_unknown_command(error.unused_tokens[0], error.app)}"
    if isinstance(error, UnusedCliTokensError):
        unused = shlex.join(error.unused_tokens or ())
        return f"error: {verb}: unexpected argument: {unused}. Everything but the first word is an option, such as --data digits."
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        if error.argument.name == "--[KEYWORD]":  # the verb itself refuses settings without a value
            words = error.root_input_tokens or ()
            call([f"{word}=" if word == error.keyword else word for word in words])
        return f"error: {verb} needs {error.argument.name.lstrip('-').upper()}. See: pushforward {verb} --help"
    return f"error: {error}"


app = App(
    name="pushforward",
    help="Train, sample and compare GANs, VAEs, diffusion models and flows behind one interface.",
    help_format="markdown",
    help_epilogue="Exit codes: 0 done, 1 a bug or a lost process, 2 usage, 3 data, 4 checkpoint or disk, 5 diverged, "
    "6 out of memory, 7 a missing extra, 75 stopped after saving, 130 Ctrl-C. What to do then: docs/exit-codes.md.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app["--help"].group = app["--version"].group = ("Other",)


def call(words: Sequence[str]) -> None:
    """Run the verb that the words of a command name.

    Raises:
        SystemExit: With exit code 2, after the error has been printed, if a word is wrong.
    """
    try:
        app(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say(_error(error))
        raise SystemExit(2) from None


data_app = App(name="data", help="List data sources, or check one before training.", group=INSPECT, sort_key=4)
list_app = App(name="list", help="List recipes, solvers, metrics, features or runs.", group=INSPECT, sort_key=5)
app.command(data_app)
app.command(list_app)


class Lasting:
    """A stream of text; after an error of one kind what is printed goes nowhere, and the work goes on.

    Args:
        stream: The stream that is written to.
        ends: That kind.
    """

    def __init__(self, stream: Any, ends: type[OSError]) -> None:
        self.stream, self.ends = stream, ends

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name) if name in ("write", "flush") else getattr(self.stream, name)

    def _call(self, name: str, *given: str) -> None:
        try:
            getattr(self.stream, name)(*given)
        except self.ends:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def say(line: str = "") -> None:
    """Print an event to stderr."""
    print(line, file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """Print an event of the library to stderr, with options instead of arguments."""
    say(as_options(line))


def show(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result to stdout, as JSON or as text."""
    words = json.dumps(value, indent=1, default=str) if as_json else text(value)
    print(words.encode(errors="backslashreplace").decode())  # names of files may be no text


written = itemgetter("out")  # All that most verbs print that write a file


def check_report(out: str) -> None:
    """Refuse the name of a report's file before anything is measured.

    Raises:
        UsageError: For an ending that no report has.
    """
    if Path(out).suffix.lower() not in (".html", ".md", ".json"):
        raise UsageError(f"--out {out}: a report is a file that ends in .html, .md or .json, such as quality.html.")


def show_report(report: Report, folder: Path, as_json: bool, full: bool) -> None:
    """Save a report and print it, as JSON or as text."""
    report.save_all(folder)
    result = report.comparison.to_plain() if as_json else None
    show(result, as_json, lambda _: f"{as_options(report.to_text(full))}\n\n{folder}/report.html")


def first_line(part: Any) -> str:
    """The first line of a docstring."""
    return (part.__doc__ or "").strip().split("\n")[0]


def columns(rows: list[list[str]]) -> str:
    """Rows of text with their columns aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)] if rows else []
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
