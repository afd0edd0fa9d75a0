"""The verbs that examine one run: evaluate, report and nearest."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.arguments import split_names
from pushforward.cli.inputs import (
    condition_of,
    data_file,
    load_plugins,
    real_source,
    source,
    typed_options,
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
    command,
    show,
    show_report,
    table,
    tell,
)
from pushforward.cli.sampling import configured_run, precision_of, save_picture, target_of
from pushforward.errors import DataError, UsageError
from pushforward.numbers import clipped

if TYPE_CHECKING:
    from PIL import Image

    from pushforward.data import Dataset
    from pushforward.evaluation.pictures import Nearest
    from pushforward.evaluation.samples import ExternalSamples

LISTED = 24  # Rows on the terminal; the file has all


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
        run: Run folder, or RUN@CHECKPOINT. Before SAMPLES: real data. With --data: samples of any
            program.
        samples: Samples of any program: a table, an .npz or .npy file, or a folder of images.
        train: Data that the program of SAMPLES was trained on. Without it, copy and privacy scores
            are left out.
        data: Data to compare samples with: a name, a path, or a run, whose data is used. Only for
            samples of another program.
        repeats: Number of times to sample and score. Default: 5, or fewer to save time. Samples in
            a file are split into this many sets.
        metrics: Metrics, separated by commas (`pushforward list metrics`). Default: all but bpd and
            cas; students from distil, finish, meanflow and dmd are then also scored in 1 to 16
            network calls, next to their teacher.
        seed: Number that is added to the seeds of all samples.
        out: Write the report to this .html, .md or .json file.
    """
    if out is not None:
        check_report(out)
    from pushforward.training.runs.folder import checkpoint_in, is_run

    model: Any = run
    folder, _ = checkpoint_in(run)
    if samples is None and train is not None:
        raise UsageError(
            "--train needs real data and samples, as in: "
            "pushforward evaluate real.csv synthetic.csv --train train.csv"
        )
    if samples is not None:
        model, data = _beside_real_data(run, samples, data, train, reading, loading)
    elif not is_run(folder):
        model, data = _samples(run, data, reading, loading)
    elif data is not None and not Path(folder).exists():
        raise DataError(
            f"{run} does not exist; expected samples in an .npz, .npy or .csv file, "
            "or a folder of images."
        )
    elif data is not None or typed_options(reading):
        raise UsageError(
            f"{run} is a run, which is scored on its own data. "
            "Leave out --data and the options for reading data."
        )
    else:
        model = configured_run(run, loading, solving, guiding)
    from pushforward.evaluation.comparison import evaluate as scores_of
    from pushforward.report.findings import warnings
    from pushforward.report.plain_text import text

    with precision_of(loading):
        comparison = scores_of(
            model,
            data,
            n=n,
            repeats=repeats,
            metrics=split_names(metrics) or None,
            features=features,
            seed=seed,
            plugins=loading.plugin,
            batch=loading.batch,
            tell=tell,
            thorough=thorough,
        )
    if json:
        sentences = [finding.text for finding in warnings(comparison)]
        show({**comparison.to_plain(), "warnings": sentences}, True, str)
    else:
        show(as_options(text(comparison, full)), False, str)
    if out is not None:
        from pushforward import Report

        comparison = replace(comparison, commands=(command(),))
        tell(f"written to {Report(comparison).save(out)}")


def _beside_real_data(
    real: str, samples: str, data: str | None, train: str | None, reading: Reading, loading: Loading
) -> tuple[ExternalSamples, Any]:
    from pushforward.evaluation.samples import given_samples

    if data is not None:
        raise UsageError(
            f"--data cannot be used here: {real} is the real data. "
            "Specify the training data of the samples with --train."
        )
    load_plugins(loading.plugin)
    loaded = real_source(real, train, reading)
    return given_samples(samples, loaded), loaded


def _samples(
    path: str, data: str | None, reading: Reading, loading: Loading
) -> tuple[ExternalSamples | str, Any]:
    from pushforward.evaluation.samples import given_samples
    from pushforward.training.runs.folder import check_run, runs_inside

    if runs_inside(Path(path)):
        check_run(path)
    if data is None:
        raise UsageError(
            f"{path} is not a run folder. If it contains samples, name the data to compare them "
            "with, such as --data digits."
        )
    load_plugins(loading.plugin)
    if (Path(data) / "spec.json").is_file():
        return path, data
    name, _ = data_file(data, loading.plugin)
    loaded = source(name, replace(reading, rare=reading.rare or "keep"))
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

    Examples: `pushforward report runs/digits-flow`, `pushforward report runs/compare-digits-report
    --full`

    Args:
        out: Output folder. Default: RUN-report.
    """
    from pushforward.training.runs.folder import check_run, free_folder

    folder = Path(run)
    stored_report = folder / "report.json"
    if stored_report.is_file() and not (folder / "spec.json").exists():
        from pushforward import Report
        from pushforward.evaluation.comparison import read_comparison

        show_report(Report(read_comparison(stored_report)), folder, json, full, save=False)
        return
    check_run(run)
    from pushforward import Report, load
    from pushforward.evaluation import compare

    where = free_folder(out, folder.name, "report", under=folder.parent)
    load_plugins(plugin)
    model = load(folder, plugins=plugin, device=device)
    comparison = compare(
        [model],
        n=n,
        repeats=repeats,
        features=features,
        thorough=thorough,
        commands=[command()],
        tell=tell,
    )
    show_report(Report(comparison), where, json, full)


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
        out: Output file: .png (each sample with the nearest examples to its right), or .csv for
            vectors and tables, in which rank 0 marks the samples. Default: a new file in
            RUN/samples.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import nearest as search
    from pushforward.files import replacing
    from pushforward.samples import usual_ending

    loaded = configured_run(run, loading, solving, guiding)
    ending = usual_ending(loaded.space)
    tiles = n * (k + 1) if ending == ".png" else n
    target = target_of(loaded, out, f"nearest-seed{seed}-n{n}", tiles, placing, (ending,))
    condition = condition_of(loaded, label)
    data = data_of(loaded)
    with precision_of(loading):
        x = loaded.transport.sample(n, condition, seed=seed, batch=loading.batch)
    near = search(x, data, k)
    samples = []
    for i, examples in enumerate(near.examples.tolist()):
        sample = {
            "seed": seed + i,
            "near_copy": bool(near.copies[i]),
            "distances": near.distances[i].tolist(),
            "examples": examples,
        }
        samples.append(sample)
    if ending == ".png":
        rows = samples
        save_picture(_picture(data, near, placing.zoom), target)
    else:
        rows = _rows(data, near, seed)
        with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    result = {
        "out": str(target),
        "n": n,
        "k": k,
        "seed": seed,
        "threshold": near.threshold,
        "near_copies": int(near.copies.sum()),
        "samples": samples,
    }
    show(result, json, lambda result: _nearest_text(result, rows))


def _rows(data: Dataset, near: Nearest, seed: int) -> list[dict[str, Any]]:
    from pushforward.samples import columns_of

    space = data.space
    names = columns_of(space)
    rows = []
    for i, sample in enumerate(space.records(near.x)):
        facts: dict[str, Any] = {
            "seed": seed + i,
            "rank": 0,
            "training_example": None,
            "distance": None,
            "near_copy": int(near.copies[i]),
        }
        rows.append(facts | dict(zip(names, sample, strict=True)))
        examples = near.examples[i].tolist()
        for rank, values in enumerate(space.records(data.train.data_units(examples))):
            distance = float(near.distances[i, rank])
            facts |= {"rank": rank + 1, "training_example": examples[rank], "distance": distance}
            facts["near_copy"] = int(distance <= near.threshold)
            rows.append(facts | dict(zip(names, values, strict=True)))
    return rows


def _nearest_text(result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    width = shutil.get_terminal_size((120, 24)).columns
    lines = table(rows[:LISTED]).split("\n")
    listing = "\n".join(clipped(line, width) for line in lines)
    return (
        f"{listing}\n\n{result['near_copies']} of {result['n']} samples are near-copies: within "
        f"{result['threshold']:.3f} of an example,\na quarter of the median distance of held-out "
        f"examples, in standard deviations of the data\nwritten to {result['out']}"
    )


def _picture(data: Dataset, near: Nearest, zoom: int | None) -> Image.Image:
    import torch

    from pushforward.pictures import grid_picture

    n, k = near.examples.shape
    examples = data.train.data_units(near.examples.ravel()).reshape(n, k, *near.x.shape[1:])
    tiles = torch.cat([near.x[:, None], examples], 1).flatten(0, 1)
    return grid_picture(data.space.drawing(data.space.quantise(tiles)), k + 1, scale=zoom)
