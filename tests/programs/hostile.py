"""Hostile runs: what damages a copy of a small run, and what reads it; the cases are in
``hostile_cases.py``.

Hashes are written anew after a change, so that no reader is spared by an earlier check.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import time
from pathlib import Path

import numpy as np

import pushforward as pf
from pushforward.errors import PushforwardError
from pushforward.evaluation.comparison import read_comparison
from pushforward.evaluation.models import moments_of
from pushforward.files import read_json
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import reopen
from pushforward.training.checkpoint.storage import sha256, write_json
from pushforward.training.runs.spec_file import digest

DATA = space_data((2,), labels=False)
LIMIT = 60
"""Seconds after which a reader counts as hanging; other work beside it slows this machine."""
CANARY = "canary"
"""The file, beside the run, that code from a run would write."""


class Hanging(BaseException):
    """A reader waits, or reads on for ever; no reader takes it for an error of the disk."""


class Evil:
    """Unpickled, it writes the canary."""

    def __init__(self, where):
        self.where = str(where)

    def __reduce__(self):
        return os.system, (f"touch {self.where}",)


def small_run(folder):
    """Train a student with a frozen teacher, stored trajectories and a learned grid, from which all
    cases are made.
    """
    run = pf.fit(recipe_for("distil", DATA, batch=4), DATA, steps=1, out=folder, progress=False)
    run.store_grid(pf.solvers.Euler(), [1.0, 0.5, 0.0])
    for name, content in {
        "threads": {"stages": [{"step": 0, "threads": [1]}]},
        "tables": {"tables": []},
    }.items():
        write_json(folder / f"{name}.json", {"format_version": 1, **content})
    (folder / "samples").mkdir(exist_ok=True)
    np.savez_compressed(folder / "samples" / "step_000001.npz", x=DATA.train.x[:4])
    (folder / "report.json").write_text(pf.Comparison().to_json())


def attack(base, place, damage):
    """Damage a copy of a run in an empty folder and read it; the messages of our errors. Others are
    raised.

    Args:
        base: The folder of `small_run`.
        place: Where the copy goes.
        damage: A case.
    """
    run = place / "run"
    shutil.copytree(base, run)
    damage(run)
    messages = []
    for read in READERS:
        try:
            read(run)
        except (MemoryError, PushforwardError) as error:
            messages.append(str(error))
    return messages


def loaded(run):
    """Load a run, sample from it, and read what it holds beside; the last error."""
    model = pf.load(run)
    model.transport.sample(1)
    fault = None
    for read in (
        model.losses,
        model.learned_grids,
        lambda: model.seen,
        lambda: list(moments_of(model)),
    ):
        try:
            read()
        except PushforwardError as error:
            fault = error
    if fault is not None:
        raise fault


def resumed(run):
    """Take a run up."""
    reopen(run, data=None if _names_data(run) else DATA).close()


def _names_data(run):
    try:
        return read_json(run / "spec.json")["data"] is not None
    except (PushforwardError, LookupError, TypeError):
        return False


def reported(run):
    """Read the results that lie in a run's folder."""
    read_comparison(run / "report.json")


READERS = (reported, loaded, resumed)


def newest(run):
    """The run's newest checkpoint."""
    return run / "checkpoints" / "step_000001"


def file_of(run, name):
    """The file of this name that readers take, wherever it lies."""
    places = (
        newest(run),
        run,
        run / "parts" / "teacher",
        run / "cache" / "trajectories",
        run / "samples",
        run / "checkpoints",
    )
    return next(place / name for place in places if (place / name).exists())


def signed(run):
    """Write sizes and hashes of all that is there anew."""
    for folder in (newest(run), run / "parts" / "teacher"):
        remanifest(folder, lambda files, folder=folder: files.update(listing(folder)))
    store = run / "cache" / "trajectories"
    parts = [sha256(path) for path in sorted(store.glob("*.safetensors"))]
    change(store / "index.json", lambda index: index.update(parts=parts))
    rows = run / "rows.safetensors"
    weights = run / "parts" / "teacher" / "weights.safetensors"

    def rehashed(spec):
        spec["rows"]["sha256"] = sha256(rows)
        spec["parts"]["teacher"] = sha256(weights)

    respec(run, rehashed)


def listing(folder):
    """Size and hash of each file of a checkpoint, as its manifest lists them."""
    files = [path for path in folder.iterdir() if path.name != "MANIFEST.json" and path.is_file()]
    return {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in files}


def change(path, function):
    """Change the content of a JSON file in place, or by what the function returns."""
    content = json.loads(path.read_text())
    returned = function(content)
    path.write_text(json.dumps(content if returned is None else returned))


def respec(run, function):
    """Change a spec, and let the checkpoint agree with it."""
    change(run / "spec.json", function)
    content = json.loads((run / "spec.json").read_text())
    restate(
        run,
        lambda state: (
            state.update(spec_sha256=digest(content)) if isinstance(content, dict) else None
        ),
    )


def restate(run, function):
    """Change the counters of the newest checkpoint, and let its manifest agree."""
    change(newest(run) / "state.json", function)
    remanifest(newest(run), lambda files: files.update(listing(newest(run))))


def remanifest(folder, function):
    """Change the files that a manifest lists."""

    def changed(content):
        content["files"] = function(content["files"]) or content["files"]

    change(folder / "MANIFEST.json", changed)


def header(run, name, content, data=b"", length=None, size=None):
    """Put a header of tensors and their bytes in place of a file, of this size in all, and let all
    hashes agree.
    """
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    with file_of(run, name).open("wb") as file:
        file.write(struct.pack("<Q", len(content) if length is None else length) + content + data)
        file.truncate(size)
    signed(run)


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    """The entry of one tensor in a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def replaced(path, make):
    """Remove a file or folder, and make something else in its place."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


def outcome(base, place, damage):
    """How an attack ended: messages, what was raised, seconds, MiB of memory beyond those before,
    and what it touched outside.
    """
    (place / "outside").mkdir(parents=True)
    (place / "outside" / "file").write_text("outside")
    resident = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
    began = time.perf_counter()
    messages = []
    fault = None
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT)
    try:
        messages = attack(base, place, damage)
    except (Exception, Hanging) as error:
        fault = f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    seconds = time.perf_counter() - began
    peak = _memory("VmHWM") - resident
    touched = sorted({path.name for path in place.iterdir()} - {"run", "outside"})
    touched += [] if (place / "outside" / "file").read_text() == "outside" else ["outside/file"]
    shutil.rmtree(place)
    return {
        "messages": messages,
        "fault": fault,
        "seconds": seconds,
        "peak": peak,
        "touched": touched,
    }


def _late(number, frame):
    raise Hanging(f"no answer within {LIMIT} s")


def _memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
