"""More cases of hostile runs: names that lead elsewhere, and specs and counters that ask for what
they should not.
"""

from __future__ import annotations

import hashlib
import shutil

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


def _set(run, **content):
    """Replace entries of the spec."""
    respec(run, lambda spec: spec.update(content))


def _listed(run, name):
    outside = hashlib.sha256(b"outside").hexdigest()
    entry = {"size": 5, "sha256": outside}
    remanifest(newest(run), lambda files: files.update({str(name): entry}))


def _latest(run, name):
    latest = run / "checkpoints" / "latest.json"
    change(latest, lambda content: content.update(checkpoint=name))


def _parts(run, name):
    def renamed(spec):
        teacher = spec["parts"]["teacher"]
        spec["parts"] = {str(name): teacher}

    respec(run, renamed)


def _stored(run, name):
    change(file_of(run, "index.json"), lambda index: index.update(parts=[name]))


# only the known files are read
cases("MANIFEST.json lists", NAMES, _listed, harmless=NAMES)
# another checkpoint is taken where it names none
cases("latest.json names", NAMES, _latest, harmless=NAMES)
cases("spec.json has parts", NAMES, _parts)
cases("index.json has parts", NAMES, _stored, harmless=NAMES)


def _from(run, name):
    """A run that was never saved starts from the run that it names."""
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").unlink()
    change(run / "spec.json", lambda spec: spec.update(init=name, init_step=0))


def _data(run, name):
    _set(run, data={"name_or_path": name, "note": "digits"})


def _download(run, name):
    _set(run, data={"name_or_path": name, "download": True})


def _plugin(run, file):
    path = run / "plugin.py"
    canary = run.parent / CANARY
    path.write_text(f"import os\nos.system('touch {canary}')\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    needed = {"file": file or str(path), "sha256": digest}
    _set(run, plugins=[needed])


def _code_as_data(run, _):
    _plugin(run, None)
    code = str(run / "plugin.py")
    _set(run, plugins=[], data={"name_or_path": code})


DEVICE = "/dev/zero"
DOWNLOADS = {"a device": DEVICE, "a download": "mnist"}
PLUGINS = {"inside": None, "of a device": DEVICE, "of a list": [1]}
cases("spec.json starts from", NAMES, _from)
cases("spec.json has data", NAMES, _data)
cases("spec.json has data", {"code": None}, _code_as_data)
cases("spec.json has data", DOWNLOADS, _download)
cases("spec.json has a plug-in", PLUGINS, _plugin)

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


def _method(run, content):
    _set(run, method=content)


cases("spec.json has the class", CLASSES, _network)
cases("spec.json is the class", CLASSES, _method)

SIZES = {
    "a width over 2^63": 2**64,
    "a negative width": -1,
    "a width of text": "48",
    "no width": None,
}


def _width(run, width):
    respec(run, lambda spec: spec["method"]["flow_map"]["network"].update(width=width))


cases("spec.json has", SIZES, _width)


def _space_of(part):
    if "space" in part:
        return part["space"]
    return part["teacher"]["denoiser"]["space"]


def _space(run, content):
    def changed(spec):
        for name in ("flow_map", "trajectories"):
            space = _space_of(spec["method"][name])
            space.update(content)

    respec(run, changed)


SPACES = {
    "shape of 10^12": {"shape": [10**12]},
    "shape of many dimensions": {"shape": [1] * 10_000},
    "std of zero": {"std": [0.0, 0.0]},
    "many columns": {"columns": ["x"] * 100_000},
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


def _other(run, content):
    _set(run, **content)


cases("spec.json with", OTHERS, _other, harmless=_READ_ON)
COUNTERS = {
    "step of text": {"step": "x"},
    "step of 10^30": {"step": 10**30},
    "true step": {"step": True},
    "seconds below zero": {"seconds": -1e300},
    "trajectories of 10^12": {"trajectories": 10**12},
    "memory of text": {"peak_memory_mb": "x"},
}
_COUNTED = COUNTERS.keys() - {"step of text"}


def _counters(run, content):
    restate(run, lambda state: state.update(content))


cases("state.json with", COUNTERS, _counters, harmless=_COUNTED)


def _unnamed(run):
    change(run / "spec.json", lambda spec: {})


CASES["spec.json without names"] = _unnamed
