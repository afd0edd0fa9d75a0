"""What can be evaluated: runs, transports, given samples; whether they fit the data, and what the folder of a run says of it."""

from __future__ import annotations

import re
import shlex
import statistics
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor

from pushforward import spec
from pushforward.conditions.label import Label
from pushforward.data import Dataset, Reading, Space, Split, TableSpace
from pushforward.data.core.dataset import shared_examples
from pushforward.data.core.hashes import permutation
from pushforward.data.core.load import reading_of
from pushforward.data.images.image_file import array_header
from pushforward.data.readers import examples_in
from pushforward.data.readers.reader import is_frame
from pushforward.data.readers.tables import TABLES, frame_rows, read_rows
from pushforward.data.tables.string_columns import some
from pushforward.errors import CheckpointError, DataError, UsageError, quoted
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.features import quantised
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.results import REPEAT_SEEDS, ModelResult
from pushforward.evaluation.scores import compared
from pushforward.files import opened, plain_path, read_object
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

SHOWN = {False: 64, True: 1000}  # samples that are drawn, by whether they are points
MOST = 1000  # samples of one moment that are read at most; a run stores no more
POINTS, LOSSES = 300, 400  # points that are stored at most: of a health series, means of neighbours; about, of a loss curve
FAULTS = (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
SETTINGS = ("recipe", "training", "data", "budget", "augment", "asked", "init", "method")  # of a spec: how a run was trained
LEAST, SLACK = 2, 1e-3  # the fewest samples, and how far outside of [0, 1] images may lie
HELD = 1024  # held-out examples that are read at a time


def models_of(models: Any) -> dict[str, Run | Transport]:
    """Models by name, from what `pushforward.compare` accepts; runs and folders of a list by their folder's name.

    Raises:
        UsageError: For anything else, or where there is nothing to compare.
        CheckpointError: If a run cannot be read.
    """
    if isinstance(models, (str, Path)) or not isinstance(models, (Mapping, Sequence)):
        kind = type(models).__name__
        raise UsageError(f'Expected models by name, such as {{"flow": run}}, or a list of runs or folders; got a {kind}.')
    if not models:
        raise UsageError("There is nothing to compare; name at least one recipe or run.")
    named: dict[str, Any] = dict(models) if isinstance(models, Mapping) else {}
    for model in () if named else models:
        folder = model.folder if isinstance(model, Run) else Path(model)
        named[str(folder) if folder.name in named else folder.name] = model
    for name, model in named.items():
        if isinstance(model, str) and model in RECIPES and not Path(model).is_dir():
            raise UsageError(f'"{model}" is a recipe, and trained runs are compared: train it first, pf.fit("{model}", data).')
        named[name] = load(model) if isinstance(model, (str, Path)) else model
        if not isinstance(named[name], (Run, Transport)):
            raise UsageError(f"Expected a run (pf.load), its folder, or a transport; got a {type(model).__name__}.")
    return {str(name): model for name, model in named.items()}


def informed(models: Mapping[str, Run | Transport]) -> Run | Transport:
    """The model whose data says most: the first run with labels or other conditions, else the first model."""
    conditioned = [model for model in models.values() if isinstance(model, Run) and model.space.conditions]
    return conditioned[0] if conditioned else next(iter(models.values()))


def check_model(name: str, model: Run | Transport, data: Dataset) -> None:
    """Refuse a model that was made for other data, or trained on held-out examples.

    Raises:
        UsageError: Saying what it was made for.
    """
    space, other = transport_of(model).space, data.space
    if (tuple(space.shape), space.names) != (tuple(other.shape), other.names):
        if isinstance(space, TableSpace) and isinstance(other, TableSpace):
            here, there = ({field.name: field.width for field in each.fields}.items() for each in (space, other))
            differ = some(map(quoted, sorted({column for column, _ in here ^ there}))) or "their order"
            kept = any(field.rare for field in other.fields) and not any(field.rare for field in space.fields)
            hint = " If the model learned rare texts, use `rare=keep`." if kept else ""
            raise UsageError(
                f"{name} makes rows of another table than {data.name}; columns or categories differ: {differ}.{hint}"
            )
        raise UsageError(f"{name} makes examples of shape {tuple(space.shape)}; {data.name} has {tuple(other.shape)}.")
    if isinstance(model, Run):
        check_unseen(name, model, data)
        if model.spec["examples_fingerprint"] != data.examples_fingerprint:
            raise UsageError(f"{name} was trained on other data than {data.name}; compare runs of the same data.")


def data_of(model: Run | Transport) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        UsageError: If the model does not say what that was.
        DataError: If it has changed since.
    """
    if not isinstance(model, Run):
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    return data_of_run(model.folder, model.spec)


# Whether held-out examples are new to a model, and how many different samples it can make.


def check_unseen(name: str, run: Run, data: Dataset) -> None:
    """Refuse a run that was trained on held-out examples of the data.

    Raises:
        UsageError: Saying how many.
        CheckpointError: If the run's record of its training examples is damaged.
    """
    own, _ = run.seen.overlaps(data)
    if None not in (run.seen.apart, data.apart) and run.seen.apart != data.apart:
        rule = "apart" if run.seen.apart else "together"
        raise UsageError(
            f"{name} was trained on data whose equal rows are split {rule}, so that held-out rows of {data.name} may be its "
            f'training rows: read it with copies="{rule}".'
        )
    if own:
        raise UsageError(
            f"{name} was trained on {own:,} of the {len(data.held_out):,} held-out examples of {data.name}, so its scores there "
            "would mean nothing. Judge it on the data that it was trained on, or on other examples, or train a new run."
        )


def unseen_warnings(model: Run | Transport, data: Dataset) -> tuple[str, ...]:
    """What a report must say of a model that may have seen held-out examples: from ancestors, or because the data repeats them.

    A transport does not know its training examples; those of a `GaussianBaseline` are taken to be the data's.
    """
    if isinstance(model, GaussianBaseline):
        return ()
    warnings = leaks(model.seen, data) if isinstance(model, Run) else ()
    known = isinstance(model, Run) and model.spec["examples_fingerprint"] == data.examples_fingerprint
    if not isinstance(model, Run) or (
        not known and (model.seen.own is None or (model.seen.apart is None) != (data.apart is None))
    ):
        warnings += (
            f"it is unknown on which examples it was trained. If held-out examples of {data.name} were among them, these scores "
            "are too good." + ("" if isinstance(model, Run) else " Pass the run instead of its transport: it holds a record."),
        )
    others = [(name, kind) for name, kind in model.space.conditions.items() if name != "label" and not kind.learned]
    entries = [entry for name, kind in others for entry in kind.entries or (name,)]
    unscored = (f"scores do not look at {', '.join(entries)}: they do not find out a model that ignores what it is given.",)
    return warnings + shared_examples(data) + (unscored if entries else ())


def fitting(models: Iterable[Run | Transport], data: Dataset, n: int | None) -> int:
    """How many samples are compared: ``n`` where given, else as many as the data allows and every model can make.

    Raises:
        UsageError: If the data does not allow ``n``; see `compared`.
        DataError: If the data set is too small for any comparison.
    """
    if n is not None:
        return compared(data, n)
    counts = [known[1] for model in models if (known := starts(transport_of(model))) is not None]
    return max(2, min([compared(data), *counts]))


def starts_warnings(model: Run | Transport, n: int) -> tuple[str, ...]:
    """What a report must say of a model that starts from other data than noise, also where fewer than ``n`` samples differ."""
    known = starts(transport_of(model))
    if known is None:
        return ()
    source, count = known
    moved = f"it does not start from noise: its samples are held-out examples of {source.data}, moved. So it is sampled once."
    repeats = f"it starts from {count:,} different examples, so its {n:,} samples repeat. Compare at most {count:,}: n={count}."
    return (moved, repeats) if count < n else (moved,)


# Samples that are given.


class Given:
    """Samples in data units. Repeated samplings take different ones, as long as there are enough.

    Args:
        name: Of their file, or "samples".
        x: (n, *shape), float32.
        labels: The class of each as a number of the data's classes (n,), int64; None where unknown.
        notes: What a reader of their scores must know.
        values: The rows of a table as their file holds them, (n, columns), float64; None where there are only coordinates.
    """

    def __init__(self, name: str, x: Tensor, labels: np.ndarray | None, notes: Sequence[str], values: np.ndarray | None) -> None:
        order = permutation(len(x), 0)  # a folder or a file may be sorted by class
        self.name, self.x, self.notes = name, x[torch.from_numpy(order)], tuple(notes)
        self.labels = None if labels is None else labels[order]
        self.values = None if values is None else values[order]

    def __len__(self) -> int:
        return len(self.x)

    def part(self, n: int, seed: int) -> tuple[Tensor, np.ndarray | None, np.ndarray | None]:
        """The r-th n samples, labels and values, for the seed of repeat r (`pushforward.evaluation.results.REPEAT_SEEDS`)."""
        first = max(0, seed // REPEAT_SEEDS - 1) * n
        x, labels, values = (None if rows is None else rows[first : first + n] for rows in (self.x, self.labels, self.values))
        assert isinstance(x, Tensor)
        return x, labels, values  # type: ignore[return-value]


def given_samples(samples: Any, data: Dataset) -> Given:
    """Return samples of a file, a folder of images, a data frame or an array, checked against the data.

    Args:
        samples: A path (.npz, .npy, .csv, another table, or a folder of images; of an .npz ``x`` and ``label`` or ``y`` are
            read), a data frame with the data's columns, or (n, *shape) in data units; images may be uint8.
        data: What they are to be compared with.

    Raises:
        DataError: For files that cannot be read, examples of another shape, fewer than two, or values that are not finite.
        UsageError: For samples of another type.
    """
    if isinstance(samples, Given):
        return samples
    space, name, classes = data.space, "samples", tuple[str, ...]()
    labels = values = None
    if isinstance(samples, (str, Path)):
        name = Path(samples).name
        split, classes = _read(plain_path(Path(samples)), data)
        x, labels, values = split.x, split.labels, split.table_values
    elif is_frame(samples) and isinstance(space, TableSpace):
        values = frame_rows(samples, space)
        x = space.encoded(values, foreign=True)
    elif is_frame(samples) and list(samples.columns) == list(space.columns):
        x = samples.to_numpy()
    elif isinstance(samples, (np.ndarray, Tensor)):
        x = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
    else:
        raise UsageError(
            "Expected samples as a path, an array, a tensor, or a data frame with the columns of the data; got a "
            f"{type(samples).__name__}."
        )
    _check_samples(name, x, data)
    examples, notes = quantised(x, space), []
    if labels is not None:
        places = [space.classes.index(each) if each in space.classes else -1 for each in classes]
        labels = np.array(places, np.int64)[labels] if min(places, default=0) >= 0 else None
        notes += [f"their labels are no classes of {data.name}, so they are not scored."] if labels is None else []
    copies = 0 if isinstance(space, TableSpace) else _held_out_copies(examples, data)  # rows of few values repeat by chance
    if copies:
        notes.append(
            f"{copies:,} of the {len(examples):,} samples are held-out examples of {data.name}: scores against them mean little."
        )
    return Given(name, examples, labels, notes, values)


def _check_samples(name: str, x: np.ndarray, data: Dataset) -> None:
    shape, floats = tuple(data.space.shape), x.dtype.kind == "f"
    if tuple(x.shape[1:]) != shape:
        hint = " Convert both with `resize=N`, and with `channels=rgb` or `channels=grey`." if data.space.has_pixels else ""
        raise DataError(
            f"{name} holds samples of shape {tuple(x.shape[1:])}, and {data.name} has examples of shape {shape}.{hint}"
        )
    if len(x) < LEAST:
        raise DataError(f"{name} holds too few samples, {len(x)}: scores need at least {LEAST}.")
    wrong = int((~np.isfinite(x.reshape(len(x), -1))).any(1).sum()) if floats else 0
    if wrong:
        raise DataError(f"{name}: {wrong} of {len(x)} samples hold NaN or infinite values: remove them.")
    fits = x.min() >= -SLACK and x.max() <= 1 + SLACK if floats else x.dtype == np.uint8
    if data.space.levels is not None and not fits:
        raise DataError(
            f"{name} holds images of type {x.dtype} from {x.min():g} to {x.max():g}: expected uint8 from 0 to 255, or floats "
            "from 0 to 1."
        )


def _read(path: Path, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    space, own = data.space, tuple(data.space.columns)
    if isinstance(space, TableSpace) and path.suffix.lower() in TABLES.endings:
        values = read_rows(path, space)
        return Split(space.encoded(values, foreign=True), table_values=values), ()
    origin = data.origin or {}
    options: Any = {name: origin[name] for name in ("resize", "channels", "background") if name in origin}
    reading, given = reading_of(options if space.has_pixels else {}), set[str]()
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            cells = re.split("[,;\\t]", file.readline().strip().replace('"', ""))
        names = {cell.strip() for cell in cells} - set(own)
        kind = space.conditions.get("label")
        called = (kind.target if isinstance(kind, Label) else None, "label")
        target = next((name for name in called if name in names), None)
        given = names & {entry for kind in space.conditions.values() for entry in kind.entries}
        header = True if target or given or (own and set(own) <= {cell.strip() for cell in cells}) else None
        reading = Reading(target=target, header=header or origin.get("header"))
    split, classes, columns = examples_in(path, reading)
    keep = [name for name in columns if name not in given]  # what the model received is not compared
    if own and columns and set(keep) != set(own):
        raise DataError(f"{path} has the columns {', '.join(keep)}, and {data.name} has {', '.join(own)}: expected the same.")
    wanted = own if own and columns else keep
    if list(wanted) != list(columns):
        split = replace(split, x=split.x[:, [columns.index(name) for name in wanted]])
    return split, classes


def _held_out_copies(examples: Tensor, data: Dataset) -> int:
    counts = Counter(example.tobytes() for example in examples.numpy())
    known = set[bytes]()
    for start in range(0, len(data.held_out), HELD):
        part = quantised(data.held_out.x[start : start + HELD], data.space).numpy()
        known |= {content for content in (example.tobytes() for example in part) if content in counts}
    return sum(counts[content] for content in known)


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
        extension=_resume(run, Budget(**run.spec["budget"]).longer(state["step"])),
        config={name: _without_space(run.spec[name]) for name in SETTINGS if run.spec.get(name) not in (None, {}, [])},
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
                _check_headers(file, run.space)
                file.seek(0)
                with np.load(file, allow_pickle=False) as stored:
                    yield int(number), {name: stored[name] for name in stored.files}
        except FAULTS as error:
            raise CheckpointError(f"{path} holds no samples: {error}. Delete the file; a training writes it again.") from error


def _check_headers(content: IO[bytes], space: Space) -> None:
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


def commands(run: Run) -> list[str]:
    """The command that trained a run, and one for each extension of its budget; a comment where it was trained from Python."""
    _, *longer = [*(extension["budget"] for extension in run.spec.get("extended", [])), run.spec["budget"]]
    trained_by = str(read_object(run.folder / "manifest.json").get("command"))
    if not trained_by.startswith("pushforward "):
        return [f"# The settings of {run.folder} are in {run.folder}/spec.json"]
    return [trained_by, *(_resume(run, Budget(**budget)) for budget in longer)]


def _resume(run: Run, budget: Budget) -> str:
    return f"pushforward resume {shlex.quote(str(run.folder))} {budget}{plugin_options(run.spec)}"
