"""The cases of hostile runs: functions, by name, that damage a run in its folder."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket

import numpy as np
import torch
from programs.hostile import (
    CANARY,
    Evil,
    file_of,
    header,
    newest,
    remanifest,
    replaced,
    signed,
    tensor,
)

from pushforward.training.runs import log

JSON = (
    "spec.json",
    "state.json",
    "MANIFEST.json",
    "latest.json",
    "threads.json",
    "grids.json",
    "report.json",
)
TENSORS = (
    "average.safetensors",
    "optimizer.safetensors",
    "weights.safetensors",
    "rows.safetensors",
)
FILES = (*JSON, *TENSORS, "index.json", "000000.safetensors", "metrics.jsonl", "step_000001.npz")
CASES = {}
HARMLESS = set()
"""The cases by name; those whose damage no reader needs to refuse: it is in a file that is made
anew or not read.
"""


def cases(name, kinds, damage, harmless=()):
    """A case for each kind, which the damage gets after the run's folder."""
    for kind in kinds:
        words = f"{name}: {kind}"
        CASES[words] = lambda run, kind=kind: damage(
            run, kinds[kind] if isinstance(kinds, dict) else kind
        )
        if kind in harmless:
            HARMLESS.add(words)


# --- pickles, under every name

PICKLES = {
    "protocol 2": lambda where: pickle.dumps(Evil(where), protocol=2),
    "protocol 4": lambda where: pickle.dumps(Evil(where), protocol=4),
    "of torch": lambda where: _saved(torch.save, {"x": Evil(where)}),
    "of numpy, zipped": lambda where: _zipped(np.array([Evil(where)], dtype=object)),
}


def _saved(save, content, first=False, **options):
    file = io.BytesIO()
    save(*((file, content) if first else (content, file)), **options)
    return file.getvalue()


def _zipped(array):
    file = io.BytesIO()
    np.savez(file, x=array)
    return file.getvalue()


def _pickled(run, name, make=PICKLES["protocol 2"]):
    file_of(run, name).write_bytes(make(run.parent / CANARY))
    if name.endswith(".safetensors"):
        signed(run)


for _name in ("average.safetensors", "step_000001.npz"):
    cases(f"pickle in {_name}", PICKLES, lambda run, make, name=_name: _pickled(run, name, make))
cases(
    "pickle instead of",
    FILES,
    _pickled,
    harmless=("index.json", "000000.safetensors", "metrics.jsonl", "latest.json"),
)

BESIDE = (
    "model.pt",
    "pytorch_model.bin",
    ".metadata",
    "__0_0.distcp",
    "state.pkl",
    "sitecustomize.py",
    "torch.py",
)


def _beside(run, name):
    code = f"import os\nos.system('touch {run.parent / CANARY}')\n".encode()
    content = code if name.endswith(".py") else PICKLES["protocol 2"](run.parent / CANARY)
    for folder in (run, newest(run), run / "parts" / "teacher"):
        (folder / name).write_bytes(content)
    signed(run)


cases("beside the checkpoint", BESIDE, _beside, harmless=BESIDE)

# --- files that are no files


def _fifo(path):
    os.mkfifo(path)


def _listening(path):
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)
    os.chdir(before)


def _copied_outside(path):
    """A link to a whole and valid file or folder outside of the run."""
    outside = (
        next(parent for parent in path.parents if parent.name == "run").parent
        / "outside"
        / path.name
    )
    os.rename(path, outside)
    path.symlink_to(outside)


SPECIAL = {
    "pipe": lambda path: replaced(path, _fifo),
    "socket": lambda path: replaced(path, _listening),
    "device": lambda path: replaced(path, lambda path: path.symlink_to("/dev/zero")),
    "link": _copied_outside,
    "loop": lambda path: replaced(path, lambda path: path.symlink_to(path.name)),
    "link to nothing": lambda path: replaced(path, lambda path: path.symlink_to("nowhere")),
}
FOLDERS = {
    "checkpoints": lambda run: run / "checkpoints",
    "checkpoint": newest,
    "parts": lambda run: run / "parts",
    "cache": lambda run: run / "cache",
    "samples": lambda run: run / "samples",
    "lock": lambda run: run / ".lock",
}
for _kind, _make in SPECIAL.items():
    unread = _kind in ("pipe", "socket")  # most readers never open such a file
    cases(
        f"{_kind} instead of",
        FILES,
        lambda run, name, make=_make: make(file_of(run, name)),
        harmless=FILES if unread else (),
    )
    cases(
        f"{_kind} instead of the folder",
        FOLDERS,
        lambda run, where, make=_make: make(where(run)),
        harmless=FOLDERS if unread else (),
    )
cases(
    "folder instead of",
    FILES,
    lambda run, name: replaced(file_of(run, name), lambda path: path.mkdir()),
    harmless=("index.json", "000000.safetensors", "threads.json", "grids.json", "latest.json"),
)


def _sparse(run, name):
    with file_of(run, name).open("r+b") as file:
        file.truncate(2 << 30)


cases(
    "two gigabytes of",
    FILES,
    _sparse,
    harmless=("index.json", "000000.safetensors", "metrics.jsonl", "latest.json"),
)

# --- JSON

DEPTH = 100_000
TEXTS = {
    "nested lists": b"[" * DEPTH + b"]" * DEPTH,
    "huge integer": b'{"step": ' + b"9" * 1_000_000 + b"}",
    "nan": b'{"step": NaN}',
    "twice": b'{"format_version": 4, "format_version": 4}',
    "utf-16": '{"step": 1}'.encode("utf-16"),
    "empty": b"",
    "list": b"[]",
    "cut": b'{"step": 1',
    "many lists": b"[" + b"[]," * 3_000_000 + b"[]]",
}


def _texts(name, harmless=()):
    def damage(run, text):
        path = file_of(run, name)
        path.write_bytes(text)
        if name == "state.json":
            remanifest(newest(run), lambda files: files.update({"state.json": _entry(path)}))

    cases(f"{name} with", TEXTS, damage, harmless)


def _entry(path):
    from pushforward.training.checkpoint.storage import sha256

    return {"size": path.stat().st_size, "sha256": sha256(path)}


for _name in JSON:
    _texts(_name, TEXTS if _name == "latest.json" else ())
_texts("index.json", TEXTS)
_texts("metrics.jsonl", TEXTS)
CASES["latest.json names nothing"] = lambda run: (run / "checkpoints" / "latest.json").write_text(
    "{}"
)
HARMLESS.add("latest.json names nothing")
ROLLBACKS = [
    {"step": 1, "loss": {}, "rollback": bad}
    for bad in (5, None, [1], [{}], {"cause": "diverged"}, [{"cause": "memory"}])
]
CASES["metrics.jsonl has other rollbacks"] = lambda run: log.append(
    run / "metrics.jsonl", ROLLBACKS
)
HARMLESS.add("metrics.jsonl has other rollbacks")

# --- tensors

ONE = b"\0" * 4
MANY = json.dumps({f"x{i}": tensor(shape=(0,), offsets=(0, 0)) for i in range(100_000)}).encode()
HEADERS = {
    "length of 100 MB": lambda run, name: header(run, name, b"{}", length=100_000_000),
    "no length": lambda run, name: header(run, name, b"", length=0),
    "100 MB": lambda run, name: header(
        run, name, b'{"x": 1}', length=100_000_000, size=100_000_008
    ),
    "100,000 tensors": lambda run, name: header(run, name, MANY),
    "overlap": lambda run, name: header(run, name, {"x": tensor(), "y": tensor()}, ONE),
    "outside": lambda run, name: header(run, name, {"x": tensor(offsets=(4096, 4100))}, ONE),
    "overflow": lambda run, name: header(
        run, name, {"x": tensor(shape=(2**32, 2**32), offsets=(0, 0))}
    ),
    "negative shape": lambda run, name: header(run, name, {"x": tensor(shape=(-1, -1))}, ONE),
    "empty shape": lambda run, name: header(run, name, {"x": tensor(shape=(0,), offsets=(0, 0))}),
    "nested": lambda run, name: header(run, name, TEXTS["nested lists"]),
    "entries of other kinds": lambda run, name: header(run, name, {"x": [], "y": None, "z": 1}),
    "nothing": lambda run, name: header(run, name, {}),
}
for _kind, _damage in HEADERS.items():
    fits = {"nothing": TENSORS[:2], "empty shape": TENSORS[1:2]}.get(_kind, ())
    cases(
        f"tensors: {_kind}, in",
        TENSORS,
        lambda run, name, damage=_damage: damage(run, name),
        harmless=fits,
    )
cases(
    "trajectories", HEADERS, lambda run, damage: damage(run, "000000.safetensors"), harmless=HEADERS
)
