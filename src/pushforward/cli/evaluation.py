"""The verbs that examine one run: evaluate, report and nearest."""

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
    EVALUATION,
    INSPECT,
    NEWEST,
    PLACED,
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
    Positive,
    Reading,
    Repeats,
    RunCheckpoint,
    RunFolder,
    SampleOption,
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

# Samples of a table on the terminal, and characters of a cell there, at most
LISTED = 8
CELL = 20


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

    Each score is shown with the scores of real data and of a simple baseline. Examples:
    `pushforward evaluate runs/digits-flow --metrics frechet,kid`,
    `pushforward evaluate real.csv synthetic.csv --train train.csv --out quality.html`

    Args:
        run: Run folder, or RUN@CHECKPOINT. Before SAMPLES: real data. With --data: samples of any program.
        samples: Samples of any program: a table, an .npz or .npy file, or a folder of images.
        train: Data that the program of SAMPLES was trained on. Without it, copy and privacy scores are left out.
        data: Data to compare samples with: a name, a path, or a run, whose data is used. Only for samples of another program.
        repeats: Number of times to sample and score. Default: 5, or fewer to save time. Samples in a file are split into this
            many sets.
        metrics: Metrics, separated by commas (`pushforward list metrics`). Default: all but bpd and cas; students from distil,
            finish, meanflow and dmd are then also scored in 1 to 16 network calls, next to their teacher.
        seed: Number that is added to the seeds of all samples.
        out: Write the report to this .html, .md or .json file.
    """
    if out is not None:
        check_report(out)
    check_names(loading.plugin, data=data, metrics=words(metrics), features=features)
    from pushforward.training.runs.folder import checkpoint_in, is_run

    model: Any = run
    folder, _ = checkpoint_in(run)
    if samples is None and train is not None:
        raise UsageError(
            "--train needs real data and samples, as in: pushforward evaluate real.csv synthetic.csv --train train.csv"
        )
    if samples is not None:
        model, data = _beside_real_data(run, samples, data, train, reading, loading)
    elif not is_run(folder):
        if (solving, guiding) != (AS_IT_IS, UNGUIDED) or loading.raw:
            raise UsageError(
                f"{run} contains samples, so options for solver, guidance and weights do not apply. Leave them out."
            )
        model, data = _samples(run, data, reading, loading)
    elif data is not None and not Path(folder).exists():
        raise DataError(
            f"{run} does not exist; expected samples in an .npz, .npy or .csv file, or a folder of images."
        )
    elif data is not None or typed_options(reading):
        raise UsageError(
            f"{run} is a run, which is scored on its own data. Leave out --data and the options for reading data."
        )
    else:
        model = configured_run(run, loading, solving, guiding)
    from pushforward.evaluation.comparison import evaluate as judge
    from pushforward.report.findings import warnings
    from pushforward.report.plain_text import text

    options: dict[str, Any] = {
        "n": n,
        "repeats": repeats,
        "metrics": words(metrics) or None,
        "features": features,
        "seed": seed,
    }
    options |= {
        "plugins": loading.plugin,
        "batch": loading.batch,
        "tell": tell,
        "thorough": thorough,
    }
    with precision_of(loading):
        comparison = judge(model, data, **options)
    if json:
        result = {
            **comparison.to_plain(),
            "warnings": [finding.text for finding in warnings(comparison)],
        }
    else:
        result = None
    show(result, json, lambda _: as_options(text(comparison, full)))
    if out is not None:
        from pushforward import Report

        comparison = replace(comparison, commands=(command(),))
        tell(f"written to {Report(comparison).save(out)}")


def _beside_real_data(
    real: str, samples: str, data: str | None, train: str | None, reading: Reading, loading: Loading
) -> tuple[Given, Any]:
    """Read samples of another program, and real data to compare them with.

    Raises:
        UsageError: If --data is given as well.
    """
    from pushforward.evaluation.models import given_samples

    if data is not None:
        raise UsageError(
            f"--data cannot be used here: {real} is the real data. Specify the training data of the samples with --train."
        )
    load_plugins(loading.plugin)
    loaded = real_source(real, train, reading)
    return given_samples(samples, loaded), loaded


def _samples(
    path: str, data: str | None, reading: Reading, loading: Loading
) -> tuple[Given | str, Any]:
    """Read samples, and data to compare them with; for a run as data, return its folder.

    Raises:
        UsageError: If no data is given.
        RunUsageError: If the folder contains several runs, with their names.
    """
    from pushforward.evaluation.models import given_samples
    from pushforward.training.runs.folder import check_run, runs_inside

    if runs_inside(Path(path)):
        check_run(path)
    if data is None:
        raise UsageError(
            f"{path} is not a run folder. If it contains samples, name the data to compare them with, such as --data digits."
        )
    load_plugins(loading.plugin, [data])
    if (Path(data) / "spec.json").is_file():
        return path, data
    loaded = source(
        data_file(data, loading.plugin)[0], replace(reading, rare=reading.rare or "keep")
    )
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
    """Write a report on one run, as HTML, Markdown and JSON, or print an earlier report again.

    Examples: `pushforward report runs/digits-flow`, `pushforward report runs/compare-digits-report --full`

    Args:
        out: Output folder. Default: RUN-report.
    """
    from pushforward.training.runs.folder import check_run, free_folder

    if Path(run, "report.json").is_file() and not Path(run, "spec.json").exists():
        from pushforward import Report
        from pushforward.evaluation.comparison import stored

        show_report(Report(stored(Path(run, "report.json"))), Path(run), json, full, save=False)
        return
    check_names(plugin, features=features)
    check_run(run)
    from pushforward import Report, load
    from pushforward.evaluation import compare

    folder = Path(run)
    where = free_folder(out, folder.name, "report", under=folder.parent)
    load_plugins(plugin, [run])
    model = load(folder, plugins=plugin, device=device_of(device))
    options: dict[str, Any] = {
        "n": n,
        "repeats": repeats,
        "features": features,
        "thorough": thorough,
    }
    page = Report(compare([model], **options, commands=[command()], tell=tell))
    show_report(page, where, json, full)


@app.command(group=INSPECT, sort_key=2)
def nearest(
    run: RunCheckpoint,
    *,
    n: N = 16,
    k: SampleOption[Positive] = 3,
    seed: Seed = 0,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Out = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Show samples with the nearest training examples.

    A near-copy is a sample whose distance to the nearest training example is less than a quarter of
    the median distance for held-out data. Examples are numbered from 0 in the training split, not
    as in the file. Example:
    `pushforward nearest runs/digits-gan --n 16 --out nearest.png`

    Args:
        k: Number of training examples per sample.
        label: Class, by number or name. Default: random, with the frequencies of the training data.
        out: Output file: .png (each sample with the nearest examples to its right), or .csv for vectors and tables, in which rank
            0 marks the samples of a table. Default: a new file in RUN/samples.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import nearest as search
    from pushforward.files import replacing
    from pushforward.samples import usual_ending

    loaded = configured_run(run, loading, solving, guiding)
    ending = usual_ending(loaded.space)
    target = target_of(
        loaded,
        out,
        f"nearest-seed{seed}-n{n}",
        n * (k + 1) if ending == ".png" else n,
        placing,
        (ending,),
    )
    condition = condition_of(loaded, label)
    data = data_of(loaded)
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
    show(
        result | ({"columns": list(data.space.names)} if data.space.names else {}), json, _in_words
    )


def _samples_beside(data: Dataset, near: Nearest, seed: int) -> list[dict[str, Any]]:
    """List each sample with its nearest training examples; for tables, with their cells."""
    space: Any = data.space
    neighbours = zip(
        near.examples.tolist(), near.distances.tolist(), near.copies.tolist(), strict=True
    )
    samples: list[dict[str, Any]] = [
        {"seed": seed + i, "examples": examples, "distances": distances, "near_copy": copy}
        for i, (examples, distances, copy) in enumerate(neighbours)
    ]
    for sample, row, where in zip(
        samples, space.records(near.x) if space.names else (), near.examples, strict=False
    ):
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
    """Write one line per pair of sample and neighbour; for tables, each sample with rank 0, then its neighbours."""
    space: Any = data.space
    names = list(space.names or space.columns) or [f"x{i}" for i in range(space.shape[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(
            file, delimiter=space.layout.separator if space.names else ",", lineterminator="\n"
        )
        number, others = (
            ([], [])
            if space.names
            else (["training_example"], [f"nearest_{name}" for name in names])
        )
        writer.writerow(["seed", "rank", *number, "distance", "near_copy", *names, *others])
        for sample, x, where in zip(samples, space.quantise(near.x), near.examples, strict=True):
            if space.names:
                writer.writerow([sample["seed"], 0, "", int(sample["near_copy"]), *sample["row"]])
            others = sample.get("rows") or space.quantise(data.train.data_units(where)).tolist()
            for rank, (example, distance, other) in enumerate(
                zip(where, sample["distances"], others, strict=True), start=1
            ):
                own_number, own = ([], []) if space.names else ([int(example)], x.tolist())
                place = [
                    sample["seed"],
                    rank,
                    *own_number,
                    distance,
                    int(distance <= near.threshold),
                ]
                writer.writerow([*place, *own, *other])


def _in_words(result: dict[str, Any]) -> str:
    if "columns" in result:
        listed = _rows(result["columns"], result["samples"])
    else:
        listed = _numbers(result["samples"])
    copies = f"{result['near_copies']} of {result['n']} samples are near-copies: within {result['threshold']:.3f} of an example"
    scale = (
        "a quarter of the median distance of held-out examples, in standard deviations of the data"
    )
    return f"{listed}\n\n{copies},\n{scale}\nwritten to {result['out']}"


def _numbers(samples: list[dict[str, Any]]) -> str:
    rows = [["seed", "distance", "", "nearest training examples"]]
    for sample in samples:
        copy = "near-copy" if sample["near_copy"] else ""
        rows.append(
            [
                str(sample["seed"]),
                f"{sample['distances'][0]:.3f}",
                copy,
                " ".join(map(str, sample["examples"])),
            ]
        )
    return columns(rows)


def _rows(names: list[str], samples: list[dict[str, Any]]) -> str:
    rows = [["seed", "", "distance", *shortened(names, CELL)]]
    for sample in samples[:LISTED]:
        copy = "near-copy" if sample["near_copy"] else "sample"
        rows.append(
            [str(sample["seed"]), copy, "", *(clipped(cell, CELL) for cell in sample["row"])]
        )
        for distance, row in zip(sample["distances"], sample["rows"], strict=True):
            rows.append(["", "training", f"{distance:.3f}", *(clipped(cell, CELL) for cell in row)])
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size((120, 24)).columns
    fitting = max(4, sum(sum(widths[: i + 1]) - 2 <= room for i in range(len(widths))))
    if fitting < len(widths) or len(samples) > LISTED:
        more = "\n... the file contains all samples and columns"
    else:
        more = ""
    return f"{columns([row[:fitting] for row in rows])}{more}"
