"""Random damage to a small run, by its seed: to the structure of JSON, to headers of tensors and to
bytes.
"""

from __future__ import annotations

import copy
import json
import random
import struct

from programs import hostile

JSON = (
    "spec.json",
    "state.json",
    "MANIFEST.json",
    "latest.json",
    "threads.json",
    "grids.json",
    "index.json",
    "report.json",
)
TENSORS = (
    "method.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
    "weights.safetensors",
    "rows.safetensors",
)
OTHERS = ("metrics.jsonl", "step_000001.npz", "000000.safetensors")
WEIGHTS = {"spec.json": 12, "state.json": 4, "report.json": 2}
"""How often a file is chosen, once where nothing is said."""
VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    64,
    10**6,
    10**12,
    2**63,
    -(2**31),
    10**40,
    0.5,
    -1.5,
    1e-300,
    1e300,
)
VALUES += ("", "x", "../..", "/etc/passwd", "step_000001", "os.system", "\0", "\ud7ff", "a" * 3000)
VALUES += ([], [1], ["x"], {}, {"part": "MLP"})


def damage(seed):
    """The damage of a seed: a function of a run's folder, and its description."""
    draw = random.Random(seed)
    names = [*JSON, *TENSORS, *OTHERS]
    name = draw.choices(names, [WEIGHTS.get(name, 1) for name in names])[0]
    kind = draw.choices(["structure", "bytes"], [4, 1])[0]
    times = draw.choice((1, 1, 2, 3))
    agree = draw.random() < 0.8

    def done(run):
        path = hostile.file_of(run, name)
        content = path.read_bytes()
        for _ in range(times):
            content = (_structure(draw, name) if kind == "structure" else _bytes(draw))(content)
        path.write_bytes(content)
        if agree:
            _agree(run, name)

    return done, f"seed {seed}: {times} times {kind} of {name}{', hashes agree' if agree else ''}"


def _agree(run, name):
    """Let hashes agree, as far as the damaged file is still one of JSON."""
    try:
        if name == "spec.json":
            hostile.respec(run, lambda _: None)
        elif name == "state.json":
            hostile.restate(run, lambda _: None)
        elif name.endswith(".safetensors"):
            hostile.signed(run)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        pass


def _structure(draw, name):
    def changed(content):
        if name.endswith(".safetensors"):
            (length,) = struct.unpack("<Q", content[:8])
            if length > len(content):
                return content
            header = _encoded(_altered(draw, _decoded(content[8 : 8 + length])))
            return struct.pack("<Q", len(header)) + header + content[8 + length :]
        if name == "metrics.jsonl":
            return b"\n".join(
                _encoded(_altered(draw, _decoded(line))) for line in content.splitlines()
            )
        if name.endswith(".npz"):
            return _bytes(draw)(content)
        return _encoded(_altered(draw, _decoded(content)))

    return changed


def _decoded(content):
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return {}


def _encoded(value):
    return json.dumps(value).encode()


def _altered(draw, value):
    """The value with one change somewhere in it."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return draw.choice(VALUES)
    holder, key = draw.choice(places)
    other, at = draw.choice(places)
    change = draw.randrange(9)
    if change < 4:
        holder[key] = copy.deepcopy(draw.choice(VALUES))
    elif change == 4:
        del holder[key]
    elif change == 5:
        holder[key] = copy.deepcopy(other[at]) if at in range(len(other)) or at in other else None
    elif change == 6:
        holder[key] = [holder[key]] * draw.choice((1, 2, 100))
    elif change == 7 and isinstance(holder, dict):
        holder[draw.choice(("part", "opaque", "self", "", "x" * 50, "steps"))] = holder.pop(key)
    elif isinstance(holder[key], (int, float)):
        holder[key] = holder[key] * draw.choice((-1, 2, 1000, 10**9)) + draw.choice((0, 1, 0.5))
    return value


def _places(value):
    if isinstance(value, dict):
        keys = value
    else:
        keys = range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _bytes(draw):
    def changed(content):
        if not content:
            return bytes([draw.randrange(256)])
        at = draw.randrange(len(content))
        kind = draw.randrange(5)
        if kind == 0:
            return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
        if kind == 1:
            return content[:at]
        if kind == 2:
            return content[:at] + draw.randbytes(draw.choice((1, 8, 200))) + content[at:]
        if kind == 3:
            return content[:at] + content[at : at + 50] * draw.choice((2, 30)) + content[at:]
        return content[:at] + b"\0" * 16 + content[at + 16 :]

    return changed
