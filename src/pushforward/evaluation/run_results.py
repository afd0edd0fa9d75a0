"""What the folder of a run says: settings and origin, cost, losses, health, alarms, and the landscapes of the critic."""

from __future__ import annotations

import copy
import json
import math
import shlex
import statistics
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np

from pushforward import spec
from pushforward.data import Space
from pushforward.data.array_headers import array_header
from pushforward.errors import CheckpointError
from pushforward.evaluation import cost
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.results import ModelResult
from pushforward.metrics import Score, describe
from pushforward.numbers import count, finite, plain
from pushforward.safe_files import opened, read_object
from pushforward.training import Run
from pushforward.training import checkpoint as checkpoints
from pushforward.training.best import best_of
from pushforward.training.checkpoint import unfinished
from pushforward.training.landscape import SIDE
from pushforward.training.skipping import MARK, in_words
from pushforward.training.tensors import restore
from pushforward.training.tuned import weights_of
from pushforward.training.variety_alarm import lost
from pushforward.training.verifying import latest, weights_hash
from pushforward.transports import Transport

# Options of `pushforward.data.load` that are lists; words between commas on the command line
LISTS = ("given", "columns", "drop", "missing")


def commands(run: Run) -> list[str]:
    """The command lines that train this run again, one more for each extension of its budget.

    Where no command line can, because the recipe or the data came from Python, a comment says where the settings are.
    """
    return commands_of(run.folder, run.spec, _out(run)) or [
        f"# {run.folder} was trained from Python; its settings are in {run.folder}/spec.json"
    ]


def _out(run: Run) -> Path | None:
    """The run's folder, for the option --out; None where training makes that folder by itself, or a comparison did."""
    source, trained_by = run.spec.get("data") or {}, str(read_object(run.folder / "manifest.json").get("command"))
    usual = Path("runs") / f"{Path(str(source.get('name_or_path'))).stem or 'data'}-{run.spec['recipe']}"
    return None if run.folder.resolve() == usual.resolve() or trained_by.startswith("pushforward compare ") else run.folder


def commands_of(folder: Path, spec: Mapping[str, Any], out: Path | None = None) -> list[str]:
    """The command lines that train a run of this specification; none where the recipe or the data came from Python.

    Args:
        folder: The run's.
        spec: Its specification (`pushforward.training.Run.spec`).
        out: The folder for the new run; None for the default. Ignored where the budget was extended: then FOLDER-again.
    """
    source = spec.get("data") or {}
    if spec.get("asked") is None or not _readable(source):
        return []
    files = [plugin["file"] for plugin in spec.get("plugins") or ()]
    others = {Path(path) for path in spec["asked"].get("plugin") or ()}
    own = next((file for file in files if Path(file) not in others), None)
    budgets = [*(extension["budget"] for extension in spec.get("extended", [])), spec["budget"]]
    words = ["pushforward train", shlex.quote(own or spec["recipe"]), "--data", shlex.quote(source["name_or_path"])]
    schema = shlex.quote(f"{folder}-schema.json") if source.get("schema") else ""
    out = Path(f"{folder}-again") if len(budgets) > 1 else out
    again = shlex.quote(str(out))
    words += [_amount(budgets[0]), *reading_options(source), *([f"--schema {schema}"] if schema else [])]
    words += [*_options(spec["asked"]), *_options(_settings(spec)), *_options({"out": out})]
    named = "".join(f" --plugin {shlex.quote(file)}" for file in files)
    before = [f"printf %s {shlex.quote(_on_one_line(source['schema']))} > {schema}"] if schema else []
    return [*before, " ".join(words), *(f"pushforward resume {again} {_amount(budget)}{named}" for budget in budgets[1:])]


def _readable(source: Mapping[str, Any]) -> bool:
    """Whether the command line can read the same examples: it makes squares, limits by seed 0, and parts lists at commas."""
    height, width = source.get("resize") or (0, 0)
    listed = [word for name in LISTS for word in source.get(name) or ()]
    return "name_or_path" in source and height == width and not source.get("seed") and not any("," in word for word in listed)


def _on_one_line(schema: Mapping[str, Any]) -> str:
    """A schema as JSON without two blanks in a row, since a report joins the words of a command by single blanks."""
    return json.dumps(schema).replace("  ", r" \u0020")


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


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    augment, every = ",".join(spec["augment"]) or None, spec["checkpoint_every"]
    return {"augment": augment, "checkpoint-every": every, "init": spec.get("init"), "seed": spec["seed"]}


def _options(given: Mapping[str, Any]) -> list[str]:
    each = ((name, element) for name, value in given.items() for element in (value if isinstance(value, list) else [value]))
    return [f"--{name} {shlex.quote(str(value))}" for name, value in each if value is not None]


def _amount(budget: Mapping[str, Any]) -> str:
    options = {"steps": "--steps {}", "samples": "--samples {}", "seconds": "--budget {}s"}
    name = next(name for name in options if budget.get(name) is not None)
    return options[name].format(repr(budget[name]).removesuffix(".0"))


SHOWN = {False: 64, True: 1000}  # Samples that are drawn, by whether they are points
MOST = 1000  # Samples of one moment that are read at most; a run stores no more
_FAULTS = (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def moments_of(run: Run) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Step and arrays of every ``samples/step_NNNNNN.npz`` of a run, in the order of steps.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples, or cannot be read.
    """
    named = {path: path.stem.removeprefix("step_") for path in sorted((run.folder / "samples").glob("step_*.npz"))}
    for path, number in named.items():
        if number.isascii() and number.isdecimal():
            yield int(number), _arrays(path, run.space)


def _arrays(path: Path, space: Space) -> dict[str, np.ndarray]:
    try:
        with opened(path) as file:
            _check(path, file, space)
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
    except CheckpointError:
        raise
    except _FAULTS as error:
        raise CheckpointError(f"{path} holds no samples: {error}. Delete the file; a training writes it again.") from error


def _check(path: Path, content: IO[bytes], space: Space) -> None:
    example = space.quantise(np.zeros((1, *space.shape), dtype=np.float32))
    expected = {"x.npy": (MOST, *example.shape[1:]), "scores.npy": (SIDE, SIDE), "limits.npy": (4,), "raw.npy": (MOST, 2)}
    with ZipFile(content) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, _, dtype = array_header(file)
            most = expected.get(member.filename, ())
            known = dtype == example.dtype if member.filename == "x.npy" else dtype.kind == "f"
            if len(shape) != len(most) or shape[1:] != most[1:] or not known or not 0 < shape[0] <= most[0]:
                raise CheckpointError(f"{path} holds {member.filename} of shape {shape} and {dtype}: expected samples.")


def history_of(run: Run) -> list[tuple[int, np.ndarray]]:
    """The samples that a run stored while it was trained, up to its own step, from the same noise: step and samples.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples.
    """
    frames = []
    for step, arrays in moments_of(run):
        if "x" in arrays and step <= run.state["step"]:
            frames.append((step, run.space.drawing(arrays["x"][: SHOWN[run.space.as_points]])))
    return frames


POINTS = 300  # Points of a health series that are stored at most, each the mean of its neighbours
LOSSES = 400  # About the most points of a loss curve that are stored


def of_run(result: ModelResult, run: Run) -> ModelResult:
    """A model's result with what its run knows: family, method, training, losses and commands."""
    state, seconds = run.state, run.state["seconds"]
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
        losses=_losses(run),
        commands=tuple(commands(run)),
        config=config_of(run),
        origin=origin_of(run),
    )


def unfinished_warnings(run: Run) -> tuple[str, ...]:
    """That a training has not used up its budget; empty where it has, or where it ended by itself or broke off."""
    if any("broke off" in text for text in run.warnings):
        return ()
    newest = latest(run.folder / "checkpoints")
    words = None if newest is None else unfinished(newest, run.spec.get("budget") or {})
    if not words or lost(run.losses()):
        return ()
    return (f"it is unfinished: {words} of training. Resume it first: pushforward resume {shlex.quote(str(run.folder))}",)


def _losses(run: Run) -> dict[str, Series]:
    rows = run.losses()
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows[:: max(1, len(rows) // LOSSES)]:
        for player, value in row["loss"].items():
            points.setdefault(player, []).append((row["step"], value))
    return {player: _series(line) for player, line in points.items()}


def _series(points: Sequence[tuple[float, ...]], timed: bool = False) -> Series:
    columns = [tuple(column) for column in zip(*points, strict=True)]
    return Series(*columns[: 3 if timed else 2])


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
    timed = {name for name in series if name.startswith("frechet")} if "frechet_2" in series else set()
    drawn = {name: _series(_thinned(points), name in timed) for name, points in series.items()}
    skipped, best = in_words(rows), best_of(rows)
    said = None if best is None else best.sentence
    return (Health(modes, drawn, skipped, said) if drawn or skipped else None), alarms


def _thinned(points: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    width = -(-len(points) // POINTS)
    parts = [points[start : start + width] for start in range(0, len(points), width)]
    means = [[statistics.fmean(column) for column in zip(*part, strict=True)] for part in parts]
    return [(round(step), float(f"{value:.5g}"), *(round(at, 3) for at in seconds)) for step, value, *seconds in means]


def landscapes_of(run: Run) -> list[tuple[int, Mapping[str, np.ndarray]]]:
    """Step, and scores, limits and raw samples (`pushforward.training.landscape`), for each moment up to a run's step."""
    landscapes: list[tuple[int, Mapping[str, np.ndarray]]] = []
    for step, arrays in moments_of(run):
        if step <= run.state["step"] and {"scores", "limits", "raw"} <= arrays.keys():
            landscapes.append((step, {name: arrays[name] for name in ("scores", "limits", "raw")}))
    return landscapes


# Entries of a run's spec that say how it was trained
SETTINGS = ("recipe", "training", "data", "budget", "augment", "asked", "init", "method")


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
    latest = read_object(run.folder / "checkpoints/latest.json")
    weights = read_object(run.folder / f"checkpoints/{_named(latest)}/MANIFEST.json").get("files", {})
    packages, machine = manifest.get("packages") or {}, manifest.get("machine") or {}
    known = {
        "Command": manifest.get("command"),
        "Commit": manifest.get("commit"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Machine": ", ".join(str(machine[name]) for name in ("processor", "accelerator") if machine.get(name)),
        "Data sha256": run.spec.get("fingerprint"),
        "Weights sha256": run.weights or weights_hash(weights),
        "Sampling": None if _samples_as_trained(run) else "with other options than the run's own",
    }
    return {name: str(value) for name, value in known.items() if value}


def _samples_as_trained(run: Run) -> bool:
    return bool(spec.describe(run.transport) == spec.describe(run.method.transport()))


def _named(latest: Mapping[str, Any]) -> str:
    return next((str(value) for value in latest.values() if isinstance(value, str)), "")


# Share of the training from which half an average's weight is older: below, it can hardly lag, and nothing is measured
LONG = 0.1
LAG_MOST = 500  # Samples of either weights, at most
WORSE = 1.25  # How many times the score of the last weights an average that lags has at least

Scored = Callable[[Transport, int], Mapping[str, Score]]


def lag_warnings(model: Run | Transport, scored: Scored, n: int) -> tuple[str, ...]:
    """What a report must say of a run whose averaged weights score measurably worse than its last ones, from the same noise.

    Args:
        model: A run with its averaged weights; nothing is said of others.
        scored: Scores of a number of samples of a transport, which start from the same seed each time.
        n: How many samples are compared otherwise.
    """
    if not isinstance(model, Run) or not _long(model):
        return ()
    last, n = _last(model), min(n, LAG_MOST)
    if last is None:
        return ()
    by_name = describe()
    averaged, newest = scored(model.method.transport(), n), scored(last, n)
    known = [name for name in averaged if name in newest and name in by_name]
    ranking = [name for name in known if by_name[name].role == "quality" and by_name[name].better == "lower"]
    if not ranking:
        return ()
    name = min(ranking, key=lambda name: by_name[name].priority)
    old, new = averaged[name], newest[name]
    if old.error is None or new.error is None:
        return ()
    noise = math.hypot(old.error, new.error)
    if old.number - new.number <= 2 * noise or old.number <= WORSE * new.number:
        return ()
    return (
        f"its averaged weights lag behind its last ones: their {by_name[name].label} is {plain(old.number, 2)}, that of the last "
        f"weights {plain(new.number, 2)}, of {count(n)} samples each. Train longer, lower ema_share, or take the last weights.",
    )


def _long(run: Run) -> bool:
    training, samples = run.spec["training"], run.state["samples"]
    return bool(min(training["ema"], training["ema_share"] * samples) > LONG * samples)


def _last(run: Run) -> Transport | None:
    """The sampler with the last weights of a run's checkpoint; None where these are the run's, or the checkpoint is gone."""
    folder = run.folder / "checkpoints" / checkpoints.step_name(run.state["step"])
    if not folder.is_dir() or run.weights != weights_of(folder):
        return None
    method = copy.deepcopy(run.method)
    restore(method, checkpoints.load(folder, run.transport.device).weights(raw=True), folder)
    method.eval()
    return method.transport()
