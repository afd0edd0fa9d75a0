"""Models to evaluate: their checks, and the contents of run folders."""

from __future__ import annotations

import shlex
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np

from pushforward import spec
from pushforward.data import Dataset, Space
from pushforward.data.core.dataset import shared_examples
from pushforward.data.images.image_file import array_header
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.results import ModelResult
from pushforward.evaluation.scores import sample_count
from pushforward.files import opened, read_object
from pushforward.methods.method import training_only
from pushforward.numbers import finite
from pushforward.plugins import plugin_options
from pushforward.registries import RECIPES
from pushforward.training import Budget, Run, load
from pushforward.training.checkpoint.storage import weights_hash
from pushforward.training.monitor.standard_callbacks import SIDE
from pushforward.training.runs.log import MARK, best_of, in_words
from pushforward.training.runs.provenance import data_of_run, leaks
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport, starts

Model = Run | Transport  # What is evaluated
SHOWN = {False: 64, True: 1000}  # samples that are drawn, by whether they are points
MOST = 1000  # samples of one moment that are read at most; a run stores no more
# Points that are stored, at most twice as many: of a health series, and of a loss curve
POINTS = 300
LOSSES = 400
FAULTS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
SETTINGS = (
    "recipe",
    "training",
    "data",
    "budget",
    "augment",
    "asked",
    "init",
    "method",
)  # of a spec: how a run was trained


def named_models(models: Any) -> dict[str, Any]:
    """Name the ``models`` of `pushforward.compare`.

    Runs in a list have the names of their folders, and runs of one recipe end in their seeds.
    """
    kinds = (Mapping, Sequence)
    if not models or isinstance(models, (str, Path)) or not isinstance(models, kinds):
        raise UsageError(
            '`models` must be a dict such as {"flow": run} or a list of runs or folders, with at '
            f"least one model, got {models!r}."
        )
    if not isinstance(models, Mapping):
        return _by_folder(models)
    pairs = []
    for name, model in models.items():
        pairs += _trainings(str(name), model)
    named = dict(pairs)
    if len(named) < len(pairs):
        raise UsageError(
            "Two models have the same name. Training runs of one recipe must have different seeds."
        )
    return named


def _trainings(name: str, model: Any) -> list[tuple[str, Any]]:
    if not isinstance(model, (list, tuple)):
        return [(name, model)]
    pairs = []
    for place, given in enumerate(model):
        run = load_model(given)
        seed = place
        if isinstance(run, Run):
            seed = run.spec["seed"]
        pairs.append((f"{name}-{seed}", run))
    return pairs


def _by_folder(models: Sequence[Any]) -> dict[str, Any]:
    named = {}
    for place, model in enumerate(models, start=1):
        name = f"comparison {place}"
        folder = getattr(model, "folder", model)
        if isinstance(folder, (str, Path)):
            name = Path(folder).name
            if name in named or stored_file(folder) is not None:
                name = str(folder)
        named[name] = model
    return named


def stored_file(path: str | Path) -> Path | None:
    """Return the file of stored results at a path, or None."""
    place = Path(path)
    if place.is_dir():
        inside = place / "report.json"
        if inside.is_file() and not (place / "spec.json").exists():
            return inside
        return None
    if place.suffix.lower() == ".json" and place.is_file():
        return place
    return None


def load_model(model: Any) -> Model:
    """Return a run or transport, or load a run from its folder."""
    if isinstance(model, str) and model in RECIPES and not Path(model).is_dir():
        raise UsageError(f'"{model}" is a recipe. Train it first: pf.fit("{model}", data).')
    if isinstance(model, (str, Path)):
        return load(model)
    if not isinstance(model, (Run, Transport)):
        raise UsageError(
            f"Expected a run (pf.load), a run folder or a transport, got {type(model).__name__}."
        )
    return model


def most_informed(models: Mapping[str, Model]) -> Model:
    """Return the first run with labels or other conditions, or the first model if there is none."""
    conditioned = [
        model for model in models.values() if isinstance(model, Run) and model.space.conditions
    ]
    if conditioned:
        return conditioned[0]
    return next(iter(models.values()))


def check_model(name: str, model: Model, data: Dataset) -> None:
    """Raise an error if a model was trained on other data, or on held-out examples."""
    space = transport_of(model).space
    other = data.space
    if (space.shape, space.names) != (other.shape, other.names):
        difference = space.difference(other)
        if difference:
            raise UsageError(f"{name} was trained on another table than {data.name}. {difference}")
        raise UsageError(
            f"{name} generates examples of shape {space.shape}, but {data.name} has shape "
            f"{other.shape}."
        )
    if isinstance(model, Run):
        check_unseen(name, model, data)
        if model.spec["examples_fingerprint"] != data.examples_fingerprint:
            raise UsageError(
                f"{name} was not trained on {data.name}. Compare runs with the same data."
            )


def data_of(model: Model) -> Dataset:
    """Return the data set that a run was trained on."""
    if not isinstance(model, Run):
        raise UsageError("This model does not record its data. Pass the data set as `data`.")
    return data_of_run(model.folder, model.spec)


# Checks that held-out examples are new to a model, and the number of its different samples.


def check_unseen(name: str, run: Run, data: Dataset) -> None:
    """Raise an error if a run was trained on held-out examples of the data."""
    own, _ = run.seen.overlaps(data)
    if None not in (run.seen.apart, data.apart) and run.seen.apart != data.apart:
        rule = "apart" if run.seen.apart else "together"
        raise UsageError(
            f'{name} was trained with copies="{rule}", so held-out rows of {data.name} may be '
            "among its training "
            f'rows. Load the data with copies="{rule}".'
        )
    if own:
        raise UsageError(
            f"{name} was trained on {own:,} of the {len(data.held_out):,} held-out examples of "
            f"{data.name}, so its "
            "scores would be meaningless. Evaluate it on its own data or on other examples, or "
            "train a new run."
        )


def unseen_warnings(model: Model, data: Dataset) -> tuple[str, ...]:
    """Write warnings on held-out examples in the training, and on conditions without scores."""
    if isinstance(model, GaussianBaseline):
        return ()
    warnings = leaks(model.seen, data) if isinstance(model, Run) else ()
    known = (
        isinstance(model, Run) and model.spec["examples_fingerprint"] == data.examples_fingerprint
    )
    unknown = (
        f"its training examples are unknown. If they include held-out examples of {data.name}, "
        "these scores are too good."
    )
    if not isinstance(model, Run):
        advice = " Pass the run instead of its transport, because the run records them."
        warnings += (unknown + advice,)
    elif not known:
        seen = model.seen
        if seen.own is None or (seen.apart is None) != (data.apart is None):
            warnings += (unknown,)
    warnings += shared_examples(data)
    entries: list[str] = []
    for name, kind in model.space.conditions.items():
        if name != "label" and not kind.learned:
            entries += kind.entries or (name,)
    if entries:
        warnings += (
            f"scores do not use {', '.join(entries)}, so they cannot detect a model that ignores "
            "its conditions.",
        )
    return warnings


def fitting(models: Iterable[Model], data: Dataset, n: int | None) -> int:
    """Choose the number of samples per side.

    ``n``, or the maximum that the data and every model allow.
    """
    if n is not None:
        return sample_count(data, n)
    counts = [sample_count(data)]
    for model in models:
        known = starts(transport_of(model))
        if known is not None:
            counts.append(known[1])
    return max(2, min(counts))


def starts_warnings(model: Model, n: int) -> tuple[str, ...]:
    """Write warnings about a model that starts from data instead of noise."""
    known = starts(transport_of(model))
    if known is None:
        return ()
    source, count = known
    moved = (
        f"it transforms held-out examples of {source.data} instead of noise, so it is sampled "
        "only "
        "once."
    )
    repeats = (
        f"it has {count:,} different examples to start from, so its {n:,} samples repeat. "
        "Use "
        f"n={count} or less."
    )
    if count < n:
        return (moved, repeats)
    return (moved,)


def of_run(result: ModelResult, run: Run) -> ModelResult:
    """Add family, method, training cost, losses and commands of a run to the result of a model."""
    state = run.state
    seconds = state["seconds"]
    losses: dict[str, list[tuple[float, float]]] = {}
    for row in run.losses():
        for player, value in row["loss"].items():
            losses.setdefault(player, []).append((row["step"], value))
    speed = None
    if seconds:
        speed = state["samples"] / seconds
    ancestors = 0.0
    for name, taken in run.seen.seconds.items():
        if name != str(run.folder):
            ancestors += taken
    cost = TrainingCost(
        seconds=seconds,
        steps=state["step"],
        samples=state["samples"],
        precision=state.get("precision"),
        batch=state.get("batch"),
        samples_per_second=speed,
        trajectory_seconds=state.get("store_seconds") or None,
        ancestor_seconds=ancestors or None,
    )
    extension = ""
    if not run.options:
        extension = _resume(run, Budget(**run.spec["budget"]).longer(state["step"]))
    config = {}
    for name in SETTINGS:
        if run.spec.get(name) not in (None, {}, []):
            config[name] = _without_space(run.spec[name])
    return replace(
        result,
        family=run.spec["family"],
        method=run.spec["method"]["part"],
        run=str(run.folder),
        seed=run.spec["seed"],
        training=cost,
        weights_step=state.get("weights_step"),
        other_parameters=training_only(run.method, run.transport),
        losses={player: _series(line, LOSSES) for player, line in losses.items()},
        commands=tuple(commands(run)),
        extension=extension,
        config=config,
        origin=origin_of(run),
    )


def health_of(run: Run) -> tuple[Health | None, tuple[Alarm, ...]]:
    """Return the measurements made during training, or None if there are none, and the alarms."""
    rows = run.losses()
    series: dict[str, list[tuple[float, ...]]] = {}
    modes = None
    alarms = []
    for row in rows:
        if isinstance(row.get("alarm"), list):
            alarms += [Alarm.from_plain(alarm) for alarm in row["alarm"]]
        measured = row.get("health")
        if not isinstance(measured, dict):
            continue
        for name, value in measured.items():
            number = finite(value)
            if name == "modes":
                modes = value
            elif number is not None and not name.startswith(MARK):
                series.setdefault(name, []).append((row["step"], number, row.get("seconds", 0.0)))
    drawn = {}
    for name, points in series.items():
        thinned = _series(points, POINTS)
        timed = "frechet_2" in series and name.startswith("frechet")
        drawn[name] = thinned if timed else replace(thinned, seconds=())
    skipped = in_words(rows)
    if not drawn and not skipped:
        return None, tuple(alarms)
    best = best_of(rows)
    sentence = None if best is None else best.sentence
    return Health(modes, drawn, skipped, sentence), tuple(alarms)


def _series(points: Sequence[tuple[float, ...]], most: int) -> Series:
    stride = max(1, len(points) // most)
    return Series(*zip(*points[::stride], strict=True))


def _without_space(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _without_space(inner)
            for name, inner in value.items()
            if name not in ("space", "conditions")
        }
    if isinstance(value, list):
        return [_without_space(inner) for inner in value]
    return value


def origin_of(run: Run) -> dict[str, str]:
    """Return command, commit, versions, machine and hashes of a training run by label.

    Unknown entries are omitted.
    """
    manifest = read_object(run.folder / "manifest.json")
    newest = read_object(run.folder / "checkpoints/latest.json").values()
    checkpoint = next((value for value in newest if isinstance(value, str)), "")
    weights = read_object(run.folder / f"checkpoints/{checkpoint}/MANIFEST.json").get("files", {})
    packages = manifest.get("packages") or {}
    machine = manifest.get("machine") or {}
    trained = spec.describe(run.transport) == spec.describe(run.method.transport())
    known = {
        "Command": manifest.get("command"),
        "Commit": manifest.get("commit"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Machine": ", ".join(
            str(machine[name]) for name in ("processor", "accelerator") if machine.get(name)
        ),
        "Data sha256": run.spec.get("fingerprint"),
        "Weights sha256": run.weights or weights_hash(weights),
        "Sampling": None if trained else "with options that differ from the run",
    }
    return {name: str(value) for name, value in known.items() if value}


# Samples stored in a run.


def moments_of(run: Run) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Read the stored samples of a run (``samples/step_NNNNNN.npz``) up to its current step.

    Yields:
        Training step, and arrays by name.
    """
    for path in sorted((run.folder / "samples").glob("step_*.npz")):
        number = path.stem.removeprefix("step_")
        if not (number.isascii() and number.isdecimal()) or int(number) > run.state["step"]:
            continue
        try:
            with opened(path) as file:
                _check_headers(file, run.space)
                file.seek(0)
                with np.load(file, allow_pickle=False) as stored:
                    yield int(number), {name: stored[name] for name in stored.files}
        except FAULTS as error:
            raise CheckpointError(
                f"{path} does not contain valid samples: {error}. Delete the file; training writes "
                "it again."
            ) from error


def _check_headers(content: IO[bytes], space: Space) -> None:
    example = space.quantise(np.zeros((1, *space.shape), dtype=np.float32))
    expected = {
        "x.npy": (MOST, *example.shape[1:]),
        "scores.npy": (SIDE, SIDE),
        "limits.npy": (4,),
        "raw.npy": (MOST, 2),
    }
    with ZipFile(content) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, _, dtype = array_header(file)
            most = expected.get(member.filename, ())
            known = dtype == example.dtype if member.filename == "x.npy" else dtype.kind == "f"
            if (
                len(shape) != len(most)
                or shape[1:] != most[1:]
                or not known
                or not 0 < shape[0] <= most[0]
            ):
                raise ValueError(
                    f"unexpected array {member.filename} of shape {shape} and type {dtype}"
                )


def history_of(run: Run) -> list[tuple[int, np.ndarray]]:
    """Return training steps and the samples stored at them, all from the same noise."""
    most = SHOWN[run.space.as_points]
    history = []
    for step, arrays in moments_of(run):
        if "x" in arrays:
            history.append((step, run.space.drawing(arrays["x"][:most])))
    return history


def landscapes_of(run: Run) -> list[tuple[int, Mapping[str, np.ndarray]]]:
    """Return training steps and the critic landscapes stored at them."""
    landscapes: list[tuple[int, Mapping[str, np.ndarray]]] = []
    for step, arrays in moments_of(run):
        arrays.pop("x", None)
        if arrays.keys() >= {"scores", "limits", "raw"}:
            landscapes.append((step, arrays))
    return landscapes


def commands(run: Run) -> list[str]:
    """Return the commands that trained and resumed a run.

    A comment for runs trained from Python.
    """
    _, *longer = [
        *(extension["budget"] for extension in run.spec.get("extended", [])),
        run.spec["budget"],
    ]
    trained_by = str(read_object(run.folder / "manifest.json").get("command"))
    if not trained_by.startswith("pushforward "):
        return [f"# The settings of {run.folder} are in {run.folder}/spec.json"]
    return [trained_by, *(_resume(run, Budget(**budget)) for budget in longer)]


def _resume(run: Run, budget: Budget) -> str:
    if run.spec.get("data") is None:
        return f'pf.resume("{run.folder}", data=data, {budget.argument})'
    return f"pushforward resume {shlex.quote(str(run.folder))} {budget}{plugin_options(run.spec)}"
