"""What the folder of a run says: settings and origin, cost, losses, health, alarms, and the landscapes of the critic."""

from __future__ import annotations

import shlex
import statistics
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np

from pushforward import spec
from pushforward.data import Space
from pushforward.data.core.array_headers import array_header
from pushforward.errors import CheckpointError
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.results import ModelResult
from pushforward.files import opened, read_object
from pushforward.methods.method import training_only
from pushforward.numbers import finite
from pushforward.training import Run
from pushforward.training.checkpoint.best import best_of
from pushforward.training.checkpoint.integrity import weights_hash
from pushforward.training.loop.nonfinite import MARK, in_words
from pushforward.training.monitor.critic_landscape import SIDE

LISTS = ("given", "columns", "drop", "missing")  # options of `pushforward.data.load` that are lists
SHOWN = {False: 64, True: 1000}  # samples that are drawn, by whether they are points
MOST = 1000  # samples of one moment that are read at most; a run stores no more
POINTS, LOSSES = 300, 400  # points that are stored at most: of a health series, means of neighbours; about, of a loss curve
FAULTS = (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
SETTINGS = ("recipe", "training", "data", "budget", "augment", "asked", "init", "method")  # of a spec: how a run was trained


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
        other_parameters=training_only(run.method, run.transport),
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


# The command lines that train a run again.


def commands(run: Run) -> list[str]:
    """The command lines that train this run again, one more for each extension of its budget.

    Where no command line can, a comment says where the settings are.
    """
    source, trained_by = run.spec.get("data") or {}, str(read_object(run.folder / "manifest.json").get("command"))
    usual = Path("runs") / f"{Path(str(source.get('name_or_path'))).stem or 'data'}-{run.spec['recipe']}"
    by_itself = run.folder.resolve() == usual.resolve() or trained_by.startswith("pushforward compare ")
    return commands_of(run.folder, run.spec, None if by_itself else run.folder) or [
        f"# The settings of {run.folder} are in {run.folder}/spec.json"
    ]


def commands_of(folder: Path, spec: Mapping[str, Any], out: Path | None = None) -> list[str]:
    """The command lines that train a run of this specification; none where the recipe, the data or a schema came from Python.

    Args:
        folder: The run's.
        spec: Its specification (`pushforward.training.Run.spec`).
        out: The folder for the new run; None for the default. Ignored where the budget was extended: then FOLDER-again.
    """
    source = spec.get("data") or {}
    height, width = source.get("resize") or (0, 0)
    listed = [word for name in LISTS for word in source.get(name) or ()]
    # the command line makes squares, limits by seed 0, parts lists at commas, and reads schemas of files alone
    readable = "name_or_path" in source and height == width and not any("," in word for word in listed)
    readable = readable and not source.get("seed") and not source.get("schema")
    if spec.get("asked") is None or not readable:
        return []
    files = [plugin["file"] for plugin in spec.get("plugins") or ()]
    others = {Path(path) for path in spec["asked"].get("plugin") or ()}
    own = next((file for file in files if Path(file) not in others), None)
    budgets = [*(extension["budget"] for extension in spec.get("extended", [])), spec["budget"]]
    out = Path(f"{folder}-again") if len(budgets) > 1 else out
    settings = {"augment": ",".join(spec["augment"]) or None, "checkpoint-every": spec["checkpoint_every"]}
    settings |= {"init": spec.get("init"), "seed": spec["seed"], "out": out}
    words = ["pushforward train", shlex.quote(own or spec["recipe"]), "--data", shlex.quote(source["name_or_path"])]
    words += [_amount(budgets[0]), *reading_options(source)]
    words += [*_options(spec["asked"]), *_options(settings)]
    named = "".join(f" --plugin {shlex.quote(file)}" for file in files)
    again = shlex.quote(str(out))
    return [" ".join(words), *(f"pushforward resume {again} {_amount(budget)}{named}" for budget in budgets[1:])]


def reading_options(source: Mapping[str, Any]) -> list[str]:
    """The options that say how a run's data was read, as words of a command line.

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
