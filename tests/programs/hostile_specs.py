"""More cases of hostile runs: names that lead elsewhere, and specs and counters that ask for what
they should not.
"""

from __future__ import annotations

import hashlib

from programs.hostile import CANARY, change, file_of, newest, remanifest, respec, restate
from programs.hostile_cases import CASES, cases

NAMES = {
    "a folder above": "../../../outside/file",
    "the root": "/etc/passwd",
    "the one above": "..",
    "a detour": "step_000001/../../../../outside/step_000001",
    "a list": ["step_000001"],
    "an object": {"step": 1},
}


def _listed(run, name):
    entry = {"size": 5, "sha256": hashlib.sha256(b"outside").hexdigest()}
    remanifest(newest(run), lambda files: files.update({str(name): entry}))


def _latest(run, name):
    change(run / "checkpoints" / "latest.json", lambda content: content.update(checkpoint=name))


def _parts(run, name):
    respec(run, lambda spec: spec.update(parts={str(name): spec["parts"]["teacher"]}))


def _stored(run, name):
    change(file_of(run, "index.json"), lambda index: index.update(parts=[name]))


cases("MANIFEST.json lists", NAMES, _listed, harmless=NAMES)  # only the known files are read
cases(
    "latest.json names", NAMES, _latest, harmless=NAMES
)  # another checkpoint is taken where it names none
cases("spec.json has parts", NAMES, _parts)
cases("index.json has parts", NAMES, _stored, harmless=NAMES)


def _from(run, name):
    """A run that was never saved starts from the run that it names."""
    import shutil

    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").unlink()
    change(run / "spec.json", lambda spec: spec.update(init=name, init_step=0))


def _data(run, name):
    respec(run, lambda spec: spec.update(data={"name_or_path": name, "note": "digits"}))


def _plugin(run, file):
    path = run / "plugin.py"
    path.write_text(f"import os\nos.system('touch {run.parent / CANARY}')\n")
    needed = {
        "file": str(path) if file is None else file,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    respec(run, lambda spec: spec.update(plugins=[needed]))


def _code_as_data(run, _):
    _plugin(run, None)
    respec(run, lambda spec: spec.update(plugins=[], data={"name_or_path": str(run / "plugin.py")}))


cases("spec.json starts from", NAMES, _from)
cases("spec.json has data", NAMES, _data)
cases("spec.json has data", {"code": None}, _code_as_data)
cases(
    "spec.json has data",
    {"a device": "/dev/zero", "a download": "mnist"},
    lambda run, name: respec(run, _download(name)),
)
cases(
    "spec.json has a plug-in",
    {"inside": None, "of a device": "/dev/zero", "of a list": [1]},
    _plugin,
)


def _download(name):
    return lambda spec: spec.update(data={"name_or_path": name, "download": True})


CLASSES = {
    "os.system": {"part": "os.system", "command": "touch canary"},
    "eval": {"part": "eval", "source": "1"},
    "Popen": {"part": "Popen", "args": ["touch", CANARY]},
    "a module": {"part": "pushforward.plugins.load", "path": "plugin.py"},
    "no name": {"part": None},
    "a list": {"part": ["Flow"]},
    "opaque": {"part": "Flow", "opaque": True},
    "itself": {"part": "Distillation"},
    "arguments of other names": {"part": "MLP", "self": 1, "__init__": 2},
}


def _network(run, network):
    respec(run, lambda spec: spec["method"]["flow_map"].update(network=network))


cases("spec.json has the class", CLASSES, _network)
cases(
    "spec.json is the class",
    CLASSES,
    lambda run, content: respec(run, lambda spec: spec.update(method=content)),
)

SIZES = {
    "a width over 2^63": ("width", 2**64),
    "a negative width": ("width", -1),
    "a width of text": ("width", "48"),
    "no width": ("width", None),
}
cases(
    "spec.json has",
    SIZES,
    lambda run, size: respec(
        run, lambda spec: spec["method"]["flow_map"]["network"].update([size])
    ),
)


def _space(run, item):
    for part in ("flow_map", "trajectories"):
        respec(run, lambda spec, part=part: _space_of(spec["method"][part]).update([item]))


def _space_of(part):
    if "space" in part:
        return part["space"]
    return part["teacher"]["denoiser"]["space"]


SPACES = {
    "shape of 10^12": ("shape", [10**12]),
    "shape of many dimensions": ("shape", [1] * 10_000),
    "std of zero": ("std", [0.0, 0.0]),
    "many columns": ("columns", ["x"] * 100_000),
}
cases("spec.json has a space with", SPACES, _space, harmless=("many columns",))
OTHERS = {
    "format of text": {"format_version": "4"},
    "training of nothing": {"training": {}},
    "batch of 10^12": {"training": {"batch": 10**12}},
    "batch of text": {"training": {"batch": "x"}},
    "unknown setting": {"training": {"batch": 4, "hook": "os.system"}},
    "budget of nothing": {"budget": {}},
    "true seed": {"seed": True},
    "rows of nothing": {"rows": {}},
    "checkpoints of zero steps": {"checkpoint_every": 0},
}
_READ_ON = ("true seed", "training of nothing", "batch of 10^12")
cases(
    "spec.json with",
    OTHERS,
    lambda run, content: respec(run, lambda spec: spec.update(content)),
    harmless=_READ_ON,
)
COUNTERS = {
    "step of text": {"step": "x"},
    "step of 10^30": {"step": 10**30},
    "true step": {"step": True},
    "seconds below zero": {"seconds": -1e300},
    "trajectories of 10^12": {"trajectories": 10**12},
    "memory of text": {"peak_memory_mb": "x"},
}
_COUNTED = COUNTERS.keys() - {"step of text"}
cases(
    "state.json with",
    COUNTERS,
    lambda run, content: restate(run, lambda state: state.update(content)),
    harmless=_COUNTED,
)
CASES["spec.json without names"] = lambda run: change(run / "spec.json", lambda spec: {})
