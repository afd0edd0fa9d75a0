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

JSON = [
    f"{name}.json" for name in ("spec", "state", "MANIFEST", "latest", "threads", "grids", "report")
]
TENSORS = [f"{name}.safetensors" for name in ("average", "optimizer", "weights", "rows")]
FILES = (*JSON, *TENSORS, "index.json", "000000.safetensors", "metrics.jsonl", "step_000001.npz")
CASES = {}
HARMLESS = set()
"""The cases by name; those whose damage no reader needs to refuse: it is in a file that is made
anew or not read.
"""


def cases(name, kinds, damage, harmless=()):
    """A case for each kind, which the damage gets after the run's folder."""
    if not isinstance(kinds, dict):
        kinds = {kind: kind for kind in kinds}
    for kind, given in kinds.items():
        words = f"{name}: {kind}"
        CASES[words] = lambda run, given=given: damage(run, given)
        if kind in harmless:
            HARMLESS.add(words)


# --- pickles, under every name


def _second_protocol(where):
    return pickle.dumps(Evil(where), protocol=2)


def _fourth_protocol(where):
    return pickle.dumps(Evil(where), protocol=4)


def _of_torch(where):
    file = io.BytesIO()
    torch.save({"x": Evil(where)}, file)
    return file.getvalue()


def _of_numpy(where):
    file = io.BytesIO()
    array = np.array([Evil(where)], dtype=object)
    np.savez(file, x=array)
    return file.getvalue()


PICKLES = {
    "protocol 2": _second_protocol,
    "protocol 4": _fourth_protocol,
    "of torch": _of_torch,
    "of numpy, zipped": _of_numpy,
}


def _pickled(run, name, make=_second_protocol):
    content = make(run.parent / CANARY)
    file_of(run, name).write_bytes(content)
    if name.endswith(".safetensors"):
        signed(run)


for _name in ("average.safetensors", "step_000001.npz"):
    cases(f"pickle in {_name}", PICKLES, lambda run, make, name=_name: _pickled(run, name, make))
UNREAD = ("index.json", "000000.safetensors", "metrics.jsonl", "latest.json")
cases("pickle instead of", FILES, _pickled, harmless=UNREAD)

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
    canary = run.parent / CANARY
    content = _second_protocol(canary)
    if name.endswith(".py"):
        content = f"import os\nos.system('touch {canary}')\n".encode()
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
    run = next(parent for parent in path.parents if parent.name == "run")
    outside = run.parent / "outside" / path.name
    os.rename(path, outside)
    path.symlink_to(outside)


def _device(path):
    path.symlink_to("/dev/zero")


def _loop(path):
    path.symlink_to(path.name)


def _link_to_nothing(path):
    path.symlink_to("nowhere")


def _made(path, kind):
    """Put something special in the place of a file or folder."""
    if kind == "link":
        _copied_outside(path)
    else:
        replaced(path, SPECIAL[kind])


SPECIAL = {
    "pipe": _fifo,
    "socket": _listening,
    "device": _device,
    "link": _copied_outside,
    "loop": _loop,
    "link to nothing": _link_to_nothing,
}
FOLDERS = {
    "checkpoints": "checkpoints",
    "checkpoint": "",
    "parts": "parts",
    "cache": "cache",
    "samples": "samples",
    "lock": ".lock",
}


def _folder(run, name):
    if not name:
        return newest(run)
    return run / name


for _kind in SPECIAL:
    unread = ()
    if _kind in ("pipe", "socket"):  # most readers never open such a file
        unread = {*FILES, *FOLDERS}
    cases(
        f"{_kind} instead of",
        FILES,
        lambda run, name, kind=_kind: _made(file_of(run, name), kind),
        harmless=unread,
    )
    cases(
        f"{_kind} instead of the folder",
        FOLDERS,
        lambda run, name, kind=_kind: _made(_folder(run, name), kind),
        harmless=unread,
    )
cases(
    "folder instead of",
    FILES,
    lambda run, name: replaced(file_of(run, name), os.mkdir),
    harmless=("index.json", "000000.safetensors", "threads.json", "grids.json", "latest.json"),
)


def _sparse(run, name):
    with file_of(run, name).open("r+b") as file:
        file.truncate(2 << 30)


cases("two gigabytes of", FILES, _sparse, harmless=UNREAD)

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
            entry = {name: _entry(path)}
            remanifest(newest(run), lambda files: files.update(entry))

    cases(f"{name} with", TEXTS, damage, harmless)


def _entry(path):
    from pushforward.training.checkpoint.storage import sha256

    return {"size": path.stat().st_size, "sha256": sha256(path)}


for _name in (*JSON, "index.json", "metrics.jsonl"):
    unread = ()
    if _name in UNREAD:
        unread = TEXTS
    _texts(_name, unread)


def _naming_nothing(run, name):
    file_of(run, name).write_text("{}")


cases("names nothing", ["latest.json"], _naming_nothing, harmless=["latest.json"])
ROLLBACKS = json.loads('[5, null, [1], [{}], {"cause": "diverged"}, [{"cause": "memory"}]]')


def _rolling_back(run, name):
    rows = [{"step": 1, "loss": {}, "rollback": bad} for bad in ROLLBACKS]
    log.append(run / name, rows)


cases("has other rollbacks", ["metrics.jsonl"], _rolling_back, harmless=["metrics.jsonl"])

# --- tensors

ONE = b"\0" * 4
EMPTY = tensor(shape=(0,), offsets=(0, 0))
MANY = {f"x{i}": EMPTY for i in range(100_000)}
OUTSIDE = tensor(offsets=(4096, 4100))
OVERFLOWING = tensor(shape=(2**32, 2**32), offsets=(0, 0))
NEGATIVE = tensor(shape=(-1, -1))
HEADERS = {
    "length of 100 MB": {"content": b"{}", "length": 100_000_000},
    "no length": {"content": b"", "length": 0},
    "100 MB": {"content": b'{"x": 1}', "length": 100_000_000, "size": 100_000_008},
    "100,000 tensors": {"content": json.dumps(MANY).encode()},
    "overlap": {"content": {"x": tensor(), "y": tensor()}, "data": ONE},
    "outside": {"content": {"x": OUTSIDE}, "data": ONE},
    "overflow": {"content": {"x": OVERFLOWING}},
    "negative shape": {"content": {"x": NEGATIVE}, "data": ONE},
    "empty shape": {"content": {"x": EMPTY}},
    "nested": {"content": TEXTS["nested lists"]},
    "entries of other kinds": {"content": {"x": [], "y": None, "z": 1}},
    "nothing": {"content": {}},
}
for _kind, _given in HEADERS.items():
    fits = {"nothing": TENSORS[:2], "empty shape": TENSORS[1:2]}.get(_kind, ())
    cases(
        f"tensors: {_kind}, in",
        TENSORS,
        lambda run, name, given=_given: header(run, name, **given),
        harmless=fits,
    )
cases(
    "trajectories",
    HEADERS,
    lambda run, given: header(run, "000000.safetensors", **given),
    harmless=HEADERS,
)
