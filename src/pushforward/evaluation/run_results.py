"""What the folder of a run says: settings and origin, cost, losses, health, alarms, and the landscapes of the critic."""

from __future__ import annotations

import copy
import json
import math
import shlex
import statistics
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np

from pushforward import spec
from pushforward.data import Space
from pushforward.data.images.image_file import array_header
from pushforward.errors import CheckpointError
from pushforward.evaluation import cost
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.results import ModelResult
from pushforward.files import opened, read_object
from pushforward.metrics import Score, describe
from pushforward.numbers import count, finite, plain
from pushforward.training import Run
from pushforward.training.checkpoint.contents import latest, step_name, unfinished, weights_hash, weights_of
from pushforward.training.checkpoint.tensors import load, restore
from pushforward.training.monitor.alarms import lost
from pushforward.training.monitor.standard_callbacks import SIDE
from pushforward.training.runs.log import MARK, best_of, in_words
from pushforward.transports import Transport

LISTS = ("given", "columns", "drop", "missing")  # options of `pushforward.data.load` that are lists
SHOWN = {False: 64, True: 1000}  # samples that are drawn, by whether they are points
MOST = 1000  # samples of one moment that are read at most; a run stores no more
POINTS, LOSSES = 300, 400  # points that are stored at most: of a health series, means of neighbours; about, of a loss curve
FAULTS = (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
SETTINGS = ("recipe", "training", "data", "budget", "augment", "asked", "init", "method")  # of a spec: how a run was trained
# An average of which half the weight is younger than this share of the training can hardly lag, and nothing is measured; samples
# of either weights at most; how many times the score of the last weights an average that lags has at least.
LONG, LAG_SAMPLES, WORSE = 0.1, 500, 1.25


def of_run(result: ModelResult, run: Run) -> ModelResult:
    """A model's result with what its run knows: family, method, training, losses and commands."""
    state, seconds, rows = run.state, run.state["seconds"], run.losses()
    losses: dict[str, list[tuple[float, float]]] = {}
    for row in rows[:: max(1, len(rows) // LOSSES)]:
        for player, value in row["loss"].items():
            losses.setdefault(player, []).append((row["step"], value))
    return replace(
        result,
        family=run.spec["family"],
        method=run.spec["method"]["part"],
        run=str(run.folder),
        seed=run.spec["seed"],
        training=TrainingCost(
            seconds=seconds,
            steps=state["step"],
            samples=state["samples"],
            precision=state.get("precision"),
            batch=state.get("batch"),
            samples_per_second=state["samples"] / seconds if seconds else None,
            trajectory_seconds=state.get("store_seconds") or None,
            ancestor_seconds=sum(taken for name, taken in run.seen.seconds.items() if name != str(run.folder)) or None,
        ),
        weights_step=state.get("weights_step"),
        other_parameters=cost.training_only(run.method, run.transport),
        losses={player: Series(*zip(*line, strict=True)) for player, line in losses.items()},
        commands=tuple(commands(run)),
        config=config_of(run),
        origin=origin_of(run),
    )


def health_of(run: Run) -> tuple[Health | None, tuple[Alarm, ...]]:
    """What was measured while a run was trained, None where nothing was, and its alarms."""
    rows = run.losses()
    series: dict[str, list[tuple[float, ...]]] = {}
    modes = None
    for row in rows:
        measured = row.get("health")
        for name, value in measured.items() if isinstance(measured, dict) else ():
            number = finite(value)
            if name == "modes":
                modes = value
            elif number is not None and not name.startswith(MARK):
                series.setdefault(name, []).append((row["step"], number, row.get("seconds", 0.0)))
    alarms = tuple(Alarm.from_plain(alarm) for row in rows if isinstance(row.get("alarm"), list) for alarm in row["alarm"])
    drawn = {}
    for name, points in series.items():
        width = -(-len(points) // POINTS)
        parts = [zip(*points[start : start + width], strict=True) for start in range(0, len(points), width)]
        steps, values, seconds = zip(*(map(statistics.fmean, part) for part in parts), strict=True)
        timed = "frechet_2" in series and name.startswith("frechet")
        rounded = tuple(float(f"{value:.5g}") for value in values), tuple(round(at, 3) for at in seconds) if timed else ()
        drawn[name] = Series(tuple(map(round, steps)), *rounded)
    skipped, best = in_words(rows), best_of(rows)
    said = None if best is None else best.sentence
    return (Health(modes, drawn, skipped, said) if drawn or skipped else None), alarms


def unfinished_warnings(run: Run) -> tuple[str, ...]:
    """That a training has not used up its budget; empty where it has, or where it ended by itself or broke off."""
    if any("broke off" in text for text in run.warnings):
        return ()
    newest = latest(run.folder / "checkpoints")
    words = None if newest is None else unfinished(newest, run.spec.get("budget") or {})
    if not words or lost(run.losses()):
        return ()
    return (f"it is unfinished: {words} of training. Resume it first: pushforward resume {shlex.quote(str(run.folder))}",)


def config_of(run: Run) -> dict[str, Any]:
    """The settings of a run as its ``spec.json`` holds them; the space, which is the data's, is left out."""
    return {name: _without_space(run.spec[name]) for name in SETTINGS if run.spec.get(name) not in (None, {}, [])}


def _without_space(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_space(inner) for name, inner in value.items() if name not in ("space", "conditions")}
    return [_without_space(inner) for inner in value] if isinstance(value, list) else value


def origin_of(run: Run) -> dict[str, str]:
    """Command, commit, versions and machine of a training, hashes of its data and weights, and whether it samples as trained.

    Weights are those that the run was read with, the averaged ones by default. What a folder does not say is left out.
    """
    manifest = read_object(run.folder / "manifest.json")
    newest = read_object(run.folder / "checkpoints/latest.json").values()
    checkpoint = next((value for value in newest if isinstance(value, str)), "")
    weights = read_object(run.folder / f"checkpoints/{checkpoint}/MANIFEST.json").get("files", {})
    packages, machine = manifest.get("packages") or {}, manifest.get("machine") or {}
    trained = spec.describe(run.transport) == spec.describe(run.method.transport())
    known = {
        "Command": manifest.get("command"),
        "Commit": manifest.get("commit"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Machine": ", ".join(str(machine[name]) for name in ("processor", "accelerator") if machine.get(name)),
        "Data sha256": run.spec.get("fingerprint"),
        "Weights sha256": run.weights or weights_hash(weights),
        "Sampling": None if trained else "with other options than the run's own",
    }
    return {name: str(value) for name, value in known.items() if value}


# What a run stored of its samples.


def moments_of(run: Run) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Step and arrays of every ``samples/step_NNNNNN.npz`` of a run up to its own step, in the order of steps.

    A file is read only where its headers are those of samples.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples, or cannot be read.
    """
    for path in sorted((run.folder / "samples").glob("step_*.npz")):
        number = path.stem.removeprefix("step_")
        if not (number.isascii() and number.isdecimal()) or int(number) > run.state["step"]:
            continue
        try:
            with opened(path) as file:
                _check(file, run.space)
                file.seek(0)
                with np.load(file, allow_pickle=False) as stored:
                    yield int(number), {name: stored[name] for name in stored.files}
        except FAULTS as error:
            raise CheckpointError(f"{path} holds no samples: {error}. Delete the file; a training writes it again.") from error


def _check(content: IO[bytes], space: Space) -> None:
    """Refuse a file of samples whose arrays are of another kind or larger, by their headers alone."""
    example = space.quantise(np.zeros((1, *space.shape), dtype=np.float32))
    expected = {"x.npy": (MOST, *example.shape[1:]), "scores.npy": (SIDE, SIDE), "limits.npy": (4,), "raw.npy": (MOST, 2)}
    with ZipFile(content) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, _, dtype = array_header(file)
            most = expected.get(member.filename, ())
            known = dtype == example.dtype if member.filename == "x.npy" else dtype.kind == "f"
            if len(shape) != len(most) or shape[1:] != most[1:] or not known or not 0 < shape[0] <= most[0]:
                raise ValueError(f"{member.filename} of shape {shape} and {dtype}")


def history_of(run: Run) -> list[tuple[int, np.ndarray]]:
    """The samples that a run stored while it was trained, up to its own step, from the same noise: step and samples.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples.
    """
    most = SHOWN[run.space.as_points]
    return [(step, run.space.drawing(arrays["x"][:most])) for step, arrays in moments_of(run) if "x" in arrays]


def landscapes_of(run: Run) -> list[tuple[int, Mapping[str, np.ndarray]]]:
    """Step, and scores, limits and raw samples (`training.monitor.critic_landscape`), for each moment up to a run's step."""
    names = ("scores", "limits", "raw")
    return [(step, {name: arrays[name] for name in names}) for step, arrays in moments_of(run) if {*names} <= arrays.keys()]


# Whether averaged weights lag behind the last ones, so that samples are worse than training has reached.


def lag_warnings(model: Run | Transport, scored: Callable[[Transport, int], Mapping[str, Score]], n: int) -> tuple[str, ...]:
    """What a report must say of a run whose averaged weights score measurably worse than its last ones, from the same noise.

    Args:
        model: A run with its averaged weights; nothing is said of others.
        scored: Scores of a number of samples of a transport, which start from the same seed each time.
        n: How many samples are compared otherwise.
    """
    last = last_weights(model) if isinstance(model, Run) else None
    if last is None:
        return ()
    assert isinstance(model, Run)
    known, n = describe(), min(n, LAG_SAMPLES)
    averaged, newest = scored(model.method.transport(), n), scored(last, n)
    shared = [name for name in averaged if name in newest and name in known]
    ranking = [name for name in shared if known[name].role == "quality" and known[name].better == "lower"]
    if not ranking:
        return ()
    name = min(ranking, key=lambda name: known[name].priority)
    old, new = averaged[name], newest[name]
    if old.error is None or new.error is None:
        return ()
    noise = math.hypot(old.error, new.error)
    if old.number - new.number <= 2 * noise or old.number <= WORSE * new.number:
        return ()
    return (
        f"its averaged weights lag behind its last ones: their {known[name].label} is {plain(old.number, 2)}, that of the last "
        f"weights {plain(new.number, 2)}, of {count(n)} samples each. Train longer, lower ema_share, or take the last weights.",
    )


def last_weights(run: Run) -> Transport | None:
    """The sampler with the last weights of a run's checkpoint; None where the average is short, or the checkpoint is gone."""
    training, samples = run.spec["training"], run.state["samples"]
    folder = run.folder / "checkpoints" / step_name(run.state["step"])
    short = min(training["ema"], training["ema_share"] * samples) <= LONG * samples
    if short or not folder.is_dir() or run.weights != weights_of(folder):
        return None
    method = copy.deepcopy(run.method)
    restore(method, load(folder, run.transport.device).weights(raw=True), folder)
    method.eval()
    return method.transport()


# The command lines that train a run again.


def commands(run: Run) -> list[str]:
    """The command lines that train this run again, one more for each extension of its budget.

    Where no command line can, because the recipe or the data came from Python, a comment says where the settings are.
    """
    source, trained_by = run.spec.get("data") or {}, str(read_object(run.folder / "manifest.json").get("command"))
    usual = Path("runs") / f"{Path(str(source.get('name_or_path'))).stem or 'data'}-{run.spec['recipe']}"
    by_itself = run.folder.resolve() == usual.resolve() or trained_by.startswith("pushforward compare ")
    return commands_of(run.folder, run.spec, None if by_itself else run.folder) or [
        f"# {run.folder} was trained from Python; its settings are in {run.folder}/spec.json"
    ]


def commands_of(folder: Path, spec: Mapping[str, Any], out: Path | None = None) -> list[str]:
    """The command lines that train a run of this specification; none where the recipe or the data came from Python.

    Args:
        folder: The run's.
        spec: Its specification (`pushforward.training.Run.spec`).
        out: The folder for the new run; None for the default. Ignored where the budget was extended: then FOLDER-again.
    """
    source = spec.get("data") or {}
    height, width = source.get("resize") or (0, 0)
    listed = [word for name in LISTS for word in source.get(name) or ()]
    # the command line makes squares, limits by seed 0, and parts lists at commas
    readable = "name_or_path" in source and height == width and not source.get("seed") and not any("," in word for word in listed)
    if spec.get("asked") is None or not readable:
        return []
    files = [plugin["file"] for plugin in spec.get("plugins") or ()]
    others = {Path(path) for path in spec["asked"].get("plugin") or ()}
    own = next((file for file in files if Path(file) not in others), None)
    budgets = [*(extension["budget"] for extension in spec.get("extended", [])), spec["budget"]]
    out = Path(f"{folder}-again") if len(budgets) > 1 else out
    settings = {"augment": ",".join(spec["augment"]) or None, "checkpoint-every": spec["checkpoint_every"]}
    settings |= {"init": spec.get("init"), "seed": spec["seed"], "out": out}
    schema, before = "", []
    if source.get("schema"):  # without two blanks in a row, since a report joins words by single blanks
        schema = f"{folder}-schema.json"
        text = json.dumps(source["schema"]).replace("  ", r" \u0020")
        before = [f"printf %s {shlex.quote(text)} > {shlex.quote(schema)}"]
    words = ["pushforward train", shlex.quote(own or spec["recipe"]), "--data", shlex.quote(source["name_or_path"])]
    words += [_amount(budgets[0]), *reading_options(source), *_options({"schema": schema or None})]
    words += [*_options(spec["asked"]), *_options(settings)]
    named = "".join(f" --plugin {shlex.quote(file)}" for file in files)
    again = shlex.quote(str(out))
    return [*before, " ".join(words), *(f"pushforward resume {again} {_amount(budget)}{named}" for budget in budgets[1:])]


def reading_options(source: Mapping[str, Any]) -> list[str]:
    """The options that say how a run's data was read, as words of a command line; a schema, which is a file, is none of them.

    Args:
        source: The arguments of `pushforward.data.load`.
    """
    condition = {True: "label", False: "none", None: None}[source.get("labelled")]
    resize = source["resize"][0] if "resize" in source else None
    yes = {True: "yes", False: "no", None: None}
    reading = {"target": source.get("target"), **{name: ",".join(source[name]) for name in LISTS if source.get(name)}}
    reading |= {"header": yes[source.get("header")], "resize": resize, "limit": source.get("limit"), "condition": condition}
    return _options({**reading, "constraint": source.get("constraints"), "table": yes[source.get("table")]})


def _options(given: Mapping[str, Any]) -> list[str]:
    each = ((name, element) for name, value in given.items() for element in (value if isinstance(value, list) else [value]))
    return [f"--{name} {shlex.quote(str(value))}" for name, value in each if value is not None]


def _amount(budget: Mapping[str, Any]) -> str:
    options = {"steps": "--steps {}", "samples": "--samples {}", "seconds": "--budget {}s"}
    name = next(name for name in options if budget.get(name) is not None)
    return options[name].format(repr(budget[name]).removesuffix(".0"))
