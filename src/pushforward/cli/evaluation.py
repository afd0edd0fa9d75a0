"""The verbs that look at a single run: evaluate, report, nearest."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import (
    check_names,
    condition_of,
    data_file,
    device_of,
    load_plugins,
    real_source,
    source,
    typed_options,
    words,
)
from pushforward.cli.options import (
    ALL_DATA,
    AS_IT_IS,
    AT_LEAST_1,
    EVALUATION,
    INSPECT,
    NEWEST,
    PLACED,
    SAMPLES,
    UNGUIDED,
    Compared,
    DataOption,
    Device,
    Devices,
    EvaluationOption,
    Features,
    Full,
    Guiding,
    Json,
    Label,
    Loading,
    ModelOption,
    N,
    Out,
    Placing,
    Plugins,
    Reading,
    Repeats,
    RunFolder,
    Seed,
    Solving,
    Thorough,
    app,
    as_options,
    check_report,
    columns,
    command,
    show,
    show_report,
    tell,
)
from pushforward.cli.sampling import configured_run, enlarged, precision_of, save_picture, target_of
from pushforward.errors import DataError, UsageError
from pushforward.numbers import clipped, shortened

if TYPE_CHECKING:
    from PIL import Image

    from pushforward.data import Dataset
    from pushforward.evaluation.models import Given
    from pushforward.evaluation.pictures import Nearest

LISTED, CELL = 8, 20  # Samples of a table on the terminal, and characters of a cell there, at most


@app.command(group=INSPECT, sort_key=1)
def evaluate(
    run: ModelOption[str],
    samples: ModelOption[str | None] = None,
    *,
    data: DataOption[str | None] = None,
    train: DataOption[str | None] = None,
    reading: Reading = ALL_DATA,
    n: Compared = None,
    repeats: Repeats = None,
    thorough: Thorough = False,
    metrics: Annotated[str, Parameter(group=EVALUATION, show_default=False)] = "",
    features: Features = None,
    seed: EvaluationOption[int] = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Out = None,
    json: Json = False,
    full: Full = False,
    loading: Loading = NEWEST,
    devices: Devices = None,
) -> None:
    """Score a run, or samples of any program, against real data.

    Each score stands beside that of real data, and of a Gaussian in place of a model. Options of solver, guidance and weights,
    such as --steps, --scale and --checkpoint, do not apply to files of samples. Examples:
    `pushforward evaluate runs/digits-flow --metrics frechet,kid`,
    `pushforward evaluate real.csv synthetic.csv --train train.csv --out quality.html`

    Args:
        run: The run's folder; real data if SAMPLES follow; or samples of any program, with --data.
        samples: Samples of any program: a table, an .npz or .npy file, or a folder of images. RUN is then real data of the same
            kind.
        train: The data that the program of SAMPLES learned from. Without it, copy and privacy scores are left out.
        data: For samples: what they are compared with, a name, a path, or a run, whose data is taken. A run knows its own.
        repeats: Number of samplings to score; default 5, or fewer if the time is short. A file of samples is divided into as
            many sets of n.
        metrics: Some of `pushforward list metrics`, separated by commas; default all but bpd and cas. Without
            this option a map from distil, finish, meanflow or dmd is also scored in 1 to 16 network calls beside its teacher.
        seed: Added to the seeds of all samplings.
        out: Write the report to this .html, .md or .json file.
    """
    if out is not None:
        check_report(out)
    check_names(loading.plugin, data=data, metrics=words(metrics), features=features)
    from pushforward.training.runs.folder import is_run

    model: Any = run
    if samples is None and train is not None:
        raise UsageError("--train needs real data and samples: pushforward evaluate real.csv synthetic.csv --train train.csv.")
    if samples is not None:
        model, data = _beside_real_data(run, samples, data, train, reading, loading)
    elif not is_run(run):
        if (solving, guiding) != (AS_IT_IS, UNGUIDED) or loading.checkpoint or loading.raw:
            raise UsageError(f"{run} holds samples already: leave out the options of solver, guidance and weights.")
        model, data = _samples(run, data, reading, loading)
    elif data is not None and not Path(run).exists():
        raise DataError(f"There is no file or folder {run}: expected samples in .npz, .npy or .csv, or a folder of images.")
    elif data is not None or typed_options(reading):
        raise UsageError(f"{run} is a run, which knows its own data: leave out --data and the options of reading it.")
    else:
        model = configured_run(run, loading, solving, guiding)
    from pushforward.evaluation.comparison import evaluate as judge
    from pushforward.report.findings import warnings
    from pushforward.report.plain_text import text

    options: dict[str, Any] = {"n": n, "repeats": repeats, "metrics": words(metrics) or None, "features": features, "seed": seed}
    options |= {"plugins": loading.plugin, "batch": loading.batch, "tell": tell, "thorough": thorough}
    with precision_of(loading):
        comparison = judge(model, data, **options)
    result = {**comparison.to_plain(), "warnings": [finding.text for finding in warnings(comparison)]} if json else None
    show(result, json, lambda _: as_options(text(comparison, full)))
    if out is not None:
        from pushforward import Report

        comparison = replace(comparison, commands=(command(),))
        tell(f"written to {Report(comparison).save(out)}")


def _beside_real_data(
    real: str, samples: str, data: str | None, train: str | None, reading: Reading, loading: Loading
) -> tuple[Given, Any]:
    """Samples of another program and the real data that they are compared with, read.

    Raises:
        UsageError: If --data is given as well.
    """
    from pushforward.evaluation.models import given_samples

    if data is not None:
        raise UsageError(f"{real} is the real data: leave out --data. The data that the samples were learned from is --train.")
    load_plugins(loading.plugin)
    loaded = real_source(real, train, reading)
    return given_samples(samples, loaded), loaded


def _samples(path: str, data: str | None, reading: Reading, loading: Loading) -> tuple[Given | str, Any]:
    """Samples and the data that they are compared with, read; of a run that is named as data its folder, which is read later.

    Raises:
        UsageError: Without data.
        RunUsageError: For a folder of several runs, which names them.
    """
    from pushforward.evaluation.models import given_samples
    from pushforward.training.runs.folder import check_run, runs_inside

    if runs_inside(Path(path)):
        check_run(path)
    if data is None:
        raise UsageError(f"{path} is no run, but may hold samples: name what they are compared with, such as --data digits.")
    load_plugins(loading.plugin, [data])
    if (Path(data) / "spec.json").is_file():
        return path, data
    loaded = source(data_file(data, loading.plugin)[0], replace(reading, rare=reading.rare or "keep"))
    return given_samples(path, loaded), loaded


@app.command(group=INSPECT, sort_key=1)
def report(
    run: RunFolder,
    *,
    n: Compared = None,
    repeats: Repeats = None,
    thorough: Thorough = False,
    features: Features = None,
    out: Out = None,
    json: Json = False,
    full: Full = False,
    plugin: ModelOption[Plugins] = (),
    device: Device = "auto",
) -> None:
    """Write the report of one run: an HTML page, Markdown and JSON.

    It shows what `compare` shows, for a single model. Example: `pushforward report runs/digits-flow`

    Args:
        out: The folder for the report; default that of the run with "-report" at its end.
    """
    from pushforward.training.runs.folder import check_run, free_folder

    check_names(plugin, features=features)
    check_run(run)
    from pushforward import Report, load
    from pushforward.evaluation import compare

    folder = Path(run)
    where = free_folder(out, folder.name, "report", under=folder.parent)
    load_plugins(plugin, [run])
    model = load(folder, plugins=plugin, device=device_of(device))
    options: dict[str, Any] = {"n": n, "repeats": repeats, "features": features, "thorough": thorough}
    page = Report(compare([model], **options, commands=[command()], tell=tell))
    show_report(page, where, json, full)


@app.command(group=INSPECT, sort_key=2)
def nearest(
    run: RunFolder,
    *,
    n: N = 16,
    k: Annotated[int, Parameter(group=SAMPLES, validator=AT_LEAST_1)] = 3,
    seed: Seed = 0,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Out = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Show samples beside the nearest training data.

    A sample no farther from a training example than a quarter of the usual distance of new data is called a near-copy. Examples
    are numbered from 0 within the training split, so not as in a file, of which some examples are held out. Example:
    `pushforward nearest runs/digits-gan --n 16 --out nearest.png`

    Args:
        k: Training examples beside each sample.
        label: A class by number or name; default: drawn as often as in the training data.
        out: .png (each sample on the left, the nearest to its right), or .csv for vectors and tables; of tables each sample as
            the file writes it, of rank 0, and below it its training rows. Default: a new file in RUN/samples.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import nearest as search
    from pushforward.files import replacing
    from pushforward.samples import usual_ending

    loaded = configured_run(run, loading, solving, guiding)
    ending = usual_ending(loaded.space)
    target = target_of(loaded, out, f"nearest-seed{seed}-n{n}", n * (k + 1) if ending == ".png" else n, placing, (ending,))
    condition, data = condition_of(loaded, label), data_of(loaded)
    with precision_of(loading):
        x = loaded.transport.sample(n, condition, seed=seed, batch=loading.batch)
    near = search(x, data, k)
    samples = _samples_beside(data, near, seed)
    if ending == ".png":
        save_picture(_picture(data, near, placing.zoom), target)
    else:
        with replacing(target) as temporary:
            _write(temporary, data, near, samples)
    result = {"out": str(target), "n": n, "k": k, "seed": seed, "threshold": near.threshold}
    result |= {"near_copies": int(near.copies.sum()), "samples": samples}
    show(result | ({"columns": list(data.space.names)} if data.space.names else {}), json, _in_words)


def _samples_beside(data: Dataset, near: Nearest, seed: int) -> list[dict[str, Any]]:
    """Each sample with its training examples; of a table with their cells, as the table's file writes them."""
    space: Any = data.space
    neighbours = zip(near.examples.tolist(), near.distances.tolist(), near.copies.tolist(), strict=True)
    samples: list[dict[str, Any]] = [
        {"seed": seed + i, "examples": examples, "distances": distances, "near_copy": copy}
        for i, (examples, distances, copy) in enumerate(neighbours)
    ]
    for sample, row, where in zip(samples, space.records(near.x) if space.names else (), near.examples, strict=False):
        others = space.records(data.train.data_units(where))
        sample |= {"row": list(row), "rows": [list(other) for other in others]}
    return samples


def _picture(data: Dataset, near: Nearest, zoom: int | None) -> Image.Image:
    from PIL import Image

    k = near.examples.shape[1]
    left = enlarged(data.space.drawing(data.space.quantise(near.x)), 1, zoom)
    neighbours = data.space.quantise(data.train.data_units(near.examples.ravel()))
    right = enlarged(data.space.drawing(neighbours), k, zoom)
    sheet = Image.new(left.mode, (left.width + left.width // 4 + right.width, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + left.width // 4, 0))
    return sheet


def _write(path: Path, data: Dataset, near: Nearest, samples: list[dict[str, Any]]) -> None:
    """Vectors: a line for each sample and each of its neighbours. Tables: each sample, of rank 0, above its training rows."""
    space: Any = data.space
    names = list(space.names or space.columns) or [f"x{i}" for i in range(space.shape[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=space.layout.separator if space.names else ",", lineterminator="\n")
        number, others = ([], []) if space.names else (["training_example"], [f"nearest_{name}" for name in names])
        writer.writerow(["seed", "rank", *number, "distance", "near_copy", *names, *others])
        for sample, x, where in zip(samples, space.quantise(near.x), near.examples, strict=True):
            if space.names:
                writer.writerow([sample["seed"], 0, "", int(sample["near_copy"]), *sample["row"]])
            others = sample.get("rows") or space.quantise(data.train.data_units(where)).tolist()
            for rank, (example, distance, other) in enumerate(zip(where, sample["distances"], others, strict=True), start=1):
                own_number, own = ([], []) if space.names else ([int(example)], x.tolist())
                place = [sample["seed"], rank, *own_number, distance, int(distance <= near.threshold)]
                writer.writerow([*place, *own, *other])


def _in_words(result: dict[str, Any]) -> str:
    summary = (
        f"{result['near_copies']} of {result['n']} are near-copies: within {result['threshold']:.3f}, a quarter of the median"
    )
    listed = _rows(result["columns"], result["samples"]) if "columns" in result else _numbers(result["samples"])
    return f"{listed}\n\n{summary} distance of held-out examples, in standard deviations of the data\nwritten to {result['out']}"


def _numbers(samples: list[dict[str, Any]]) -> str:
    rows = [["seed", "distance", "", "nearest training examples"]]
    for sample in samples:
        copy = "near-copy" if sample["near_copy"] else ""
        rows.append([str(sample["seed"]), f"{sample['distances'][0]:.3f}", copy, " ".join(map(str, sample["examples"]))])
    return columns(rows)


def _rows(names: list[str], samples: list[dict[str, Any]]) -> str:
    rows = [["seed", "", "distance", *shortened(names, CELL)]]
    for sample in samples[:LISTED]:
        copy = "near-copy" if sample["near_copy"] else "sample"
        rows.append([str(sample["seed"]), copy, "", *(clipped(cell, CELL) for cell in sample["row"])])
        for distance, row in zip(sample["distances"], sample["rows"], strict=True):
            rows.append(["", "training", f"{distance:.3f}", *(clipped(cell, CELL) for cell in row)])
    widths, room = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)], shutil.get_terminal_size((120, 24)).columns
    fitting = max(4, sum(sum(widths[: i + 1]) - 2 <= room for i in range(len(widths))))
    more = "\n... all samples and columns are in the file" if fitting < len(widths) or len(samples) > LISTED else ""
    return f"{columns([row[:fitting] for row in rows])}{more}"
