"""What the benchmarks share: training under a budget, judging, and results written with machine,
seeds, floors and date.

Every benchmark has ``--smoke``: all of its code on a few examples, in one process and a temporary
folder that is removed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import functools
import io
import json
import os
import runpy
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pushforward as pf  # before torch: chooses how its threads wait

# isort: split
import numpy as np
import torch

from pushforward import spec
from pushforward.errors import Diverged
from pushforward.evaluation import Evaluator
from pushforward.evaluation.intervals import deviation
from pushforward.files import replacing
from pushforward.training import Run, Trainer
from pushforward.training.api import prepare, reopen
from pushforward.training.loop.machine import machine, seeded
from pushforward.training.loop.trainer import salvage
from pushforward.training.runs.log import read
from pushforward.training.runs.spec_file import digest

RESULTS = Path(__file__).parent / "results"
BEFORE = "8eb11c4"
"""The commit that the second foundation started from."""
SMOKE_ROWS = 120
"""Examples of either split in a smoke run."""
STAND_INS = {"mnist": "digits", "binary-mnist": "binary-digits", "stacked-mnist": "stacked-digits"}
"""What a smoke run takes for a set that has to be downloaded."""

_smoking: list[Path] = []
"""The temporary folder of the smoke run in progress."""


@contextlib.contextmanager
def smoke() -> Iterator[None]:
    """Everything within is a smoke run: small data, one process, and nothing is left; a smoke run
    within another joins it.
    """
    if _smoking:
        yield
        return
    before = (os.getcwd(), os.environ.get("PUSHFORWARD_CACHE"), tempfile.tempdir)
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        _smoking.append(Path(folder))
        os.environ["PUSHFORWARD_CACHE"] = tempfile.tempdir = folder
        os.chdir(folder)
        try:
            yield
        finally:
            _smoking.clear()
            os.chdir(before[0])
            os.environ.pop("PUSHFORWARD_CACHE")
            if before[1] is not None:
                os.environ["PUSHFORWARD_CACHE"] = before[1]
            tempfile.tempdir = before[2]
            torch.set_num_threads(threads)


def benchmark(main: Callable[[list[str]], None]) -> Callable[..., None]:
    """A benchmark's main function, which takes the words of the command line, or what is given to
    it in their place.
    """

    @functools.wraps(main)
    def run(words: list[str] | None = None) -> None:
        if words is None:
            words = sys.argv[1:]
        with smoke() if "--smoke" in words else contextlib.nullcontext():
            main(words)

    return run


def parsed(parser: argparse.ArgumentParser, words: list[str], **small: Any) -> argparse.Namespace:
    """The options of a benchmark; in a smoke run those of ``small`` are the defaults."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="run all of the code in seconds, on a few examples; write nothing",
    )
    if "--smoke" in words:
        parser.set_defaults(**small)
    return parser.parse_args(words)


def results() -> Path:
    """The folder of the results; in a smoke run one that is removed."""
    folder = _smoking[0] / "results" if _smoking else RESULTS
    folder.mkdir(exist_ok=True)
    return folder


def load(name: str, **options: Any) -> Any:
    """A data set, as `pushforward.data.load` gives it; in a smoke run a few examples of one that
    needs no download.
    """
    if not _smoking:
        return pf.data.load(name, **options)
    limit = min(options.pop("limit", None) or SMOKE_ROWS, SMOKE_ROWS)
    known = STAND_INS.get(name, name if name in pf.data.names() else "digits")
    data = pf.data.load(known, limit=limit, **options)
    few = np.random.default_rng(0).permutation(len(data.held_out))[:SMOKE_ROWS]
    return dataclasses.replace(data, held_out=data.held_out.take(few))


SKIPPED = 8
TIMED = 48
"""Steps that are made before the processor's time is taken, and steps that are timed; multiples of
a lazy penalty's period.
"""


def train(
    make: Callable[[], pf.Recipe],
    data: Any,
    seed: int,
    folder: Path | None = None,
    *,
    seconds: float | None = None,
    **steps: int,
) -> Run:
    """Train a recipe, made with the seed, for so many seconds or ``steps``; in a temporary folder
    unless one is named.
    """
    out = folder or Path(tempfile.mkdtemp()) / "run"
    trainer = prepare(
        seeded(make, seed),
        data,
        seconds=seconds,
        seed=seed,
        out=out,
        progress=pf.Progress(30),
        **steps,
    )
    trainer.advance()
    return pf.load(out)


def seconds_of(run: Run) -> float:
    """The seconds of a training, those in which a teacher made its trajectories included."""
    return run.seen.own_seconds


def seconds_before(run: Run) -> float:
    """The seconds of the trainings that a run builds on: of its teacher, its autoencoder, its
    start, and theirs.
    """
    return float(sum(run.seen.seconds.values()))


def steps_in(make: Callable[[], pf.Recipe], data: Any, seconds: float) -> int:
    """How many steps so many seconds of processor time allow on one thread: a budget that other
    programs do not cut.
    """
    torch.set_num_threads(1)
    skipped, timed = (1, 2) if _smoking else (SKIPPED, TIMED)
    trainer = prepare(
        seeded(make, 0), data, steps=skipped + timed, out=Path(tempfile.mkdtemp()) / "run"
    )
    trainer.save()
    taken = []
    for _ in range(skipped + timed):
        began = time.process_time()
        trainer.train_step(trainer.next_batch())
        taken.append(time.process_time() - began)
        trainer.state.advance(taken[-1])
    trainer.close()
    return max(1, round(seconds / float(np.mean(taken[skipped:]))))


def watched(
    recipe: pf.Recipe, data: Any, seconds: float, seed: int
) -> tuple[Trainer, dict[str, Any]]:
    """Train a recipe to its end or until it diverges; the trainer, and steps, seconds, alarms and
    what broke it off.
    """
    out = Path(tempfile.mkdtemp()) / "run"
    diverged = None
    trainer = prepare(recipe, data, seconds=seconds, seed=seed, out=out, progress=pf.Progress(30))
    try:
        trainer.advance()
    except Diverged as error:
        diverged = str(error)
        salvage(trainer, error)
    alarms = [
        alarm
        for row in read(out / "metrics.jsonl")
        for alarm in row.get("alarm", [])
        if not alarm["over"]
    ]
    said = [f"step {alarm['step']:,}: {alarm['sentence']}" for alarm in alarms]
    return trainer, {
        "steps": trainer.clock.step,
        "seconds": trainer.clock.seconds,
        "alarms": said,
        "diverged": diverged,
    }


def taken_up(
    make: Callable[[], pf.Recipe],
    data: Any,
    seconds: float | None,
    seed: int,
    folder: Path,
    steps: int | None = None,
) -> Trainer:
    """A new training of so many seconds or steps in this folder, or the one that is there, at its
    newest checkpoint.

    Raises:
        SystemExit: If the one that is there has another budget.
    """
    watch = pf.Progress(60)
    if not (folder / "checkpoints").exists():
        return prepare(
            seeded(make, seed),
            data,
            seconds=seconds,
            steps=steps,
            seed=seed,
            out=folder,
            progress=watch,
        )
    trainer = reopen(folder, data=data, progress=watch)
    if (trainer.budget.seconds, trainer.budget.steps) != (seconds, steps):
        raise SystemExit(
            f"{folder} has the budget {trainer.budget}: give the same --seconds or --steps, or "
            "other --runs."
        )
    return trainer


def remembered(
    folder: str, name: str, recipe: pf.Recipe, facts: Mapping[str, Any], work: Callable[[], Any]
) -> Any:
    """What ``work()`` found, read from ``folder`` where the same recipe was measured under the same
    settings before.
    """
    content = {
        "method": spec.describe(recipe.method),
        "training": spec.describe(asdict(recipe.training)),
        **facts,
    }
    path = Path(folder) / f"{name}-{digest(content)[:12]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(work(), default=float))
    return json.loads(path.read_text())


def each(work: Callable[..., Any], cases: list[tuple[Any, ...]], jobs: int) -> list[Any]:
    """``work(*case)`` for every case, in ``jobs`` processes of one thread each, results in order; a
    smoke run has one process.
    """
    if _smoking:
        return [work(*case) for case in cases]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        return list(pool.map(work, *zip(*cases, strict=True)))


def smoking() -> bool:
    """Whether a smoke run is in progress."""
    return bool(_smoking)


def printed_by(program: Path, words: list[str], source: Path, given: str = "") -> str:
    """What a program prints that uses the package in a folder, in a process of its own; a smoke run
    has one process.

    Args:
        program: Its file.
        words: Of its command line.
        source: The folder of the package.
        given: What it reads.

    Raises:
        SystemExit: If the program fails.
    """
    if _smoking:
        read = patch.object(sys, "stdin", io.StringIO(given))
        called = patch.object(sys, "argv", [str(program), *words])
        with contextlib.redirect_stdout(io.StringIO()) as out, read, called:
            runpy.run_path(str(program), run_name="__main__")
        return out.getvalue()
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(program), *words]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tempfile.gettempdir(),
        input=given,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def relative(value: float, wanted: float) -> float:
    """The relative distance of a value from the one that is wanted."""
    return abs(value - wanted) / max(abs(wanted), 1e-12)


def mean_and_spread(values: list[float]) -> str:
    """ "mean ± standard deviation" over seeds, in four significant digits."""
    spread = f" ± {deviation(values):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.4g}{spread}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def real_data_scores(judge: Evaluator, names: list[str]) -> dict[str, str]:
    """Each metric's floor in words."""
    scores = judge.real_data_scores
    return {
        name: f"{scores[name].value:.4g} ± {scores[name].spread:.2g}"
        for name in names
        if name in scores
    }


def commit() -> str:
    """The commit that was measured, with a "+" where files had changed since."""

    def run(*words):
        return subprocess.run(
            ["git", *words], cwd=RESULTS.parent, capture_output=True, text=True
        ).stdout.strip()

    changed = run("status", "--porcelain", "--untracked-files=no", "--", "../src", "*.py")
    return run("rev-parse", "--short", "HEAD") + ("+" if changed else "")


@contextlib.contextmanager
def source_of(commit: str) -> Iterator[Path]:
    """A temporary folder with the package of an earlier commit; in a smoke run, which needs no
    history, this package.

    Raises:
        SystemExit: If the repository's history does not go back so far.
    """
    if _smoking:
        yield Path(pf.__file__).parents[1]
        return
    done = subprocess.run(
        ["git", "archive", commit, "src"], cwd=RESULTS.parents[1], capture_output=True
    )
    if done.returncode:
        raise SystemExit(
            f"The history does not hold commit {commit}: fetch all of it. "
            f"{done.stderr.decode().strip()}"
        )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder) / "src"


def write(name: str, title: str, text: str, rows: list[dict[str, Any]], **settings: Any) -> None:
    """Print, and write results/NAME.md for people and results/NAME.json with every value."""
    print(text)
    here = {key: value for key, value in machine().items() if key != "platform"}
    stamp = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": here,
        **settings,
    }
    with replacing(results() / f"{name}.json") as path:
        path.write_text(json.dumps({**stamp, "rows": rows}, indent=1, default=float) + "\n")
    facts = "\n".join(f"- {key}: {json.dumps(value, default=str)}" for key, value in stamp.items())
    (results() / f"{name}.md").write_text(f"# {title}\n\n{text}\n\n{facts}\n")
