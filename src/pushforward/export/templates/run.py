"""Draws samples from model.onnx with numpy and onnxruntime alone: python run.py --help."""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime

EXPORT = ""  # The identifier of the export that this script belongs to
here = pathlib.Path(__file__)
space = json.loads(here.with_name("space.json").read_text(encoding="utf-8"))
parser = argparse.ArgumentParser(description=f"Write samples of {space['name']} to a file.")
options = {"n": 16, "seed": 0, "out": "samples.npy", **space["default"]}
known = {each["name"]: ["", *each["names"]] for each in space["conditions"] if "names" in each}
known |= {"solver": [*space["draws"]]} if "solver" in options else {}
for name, value in (
    options | {each["name"]: "" for each in space["conditions"] if each["kind"] != "known"}
).items():
    parser.add_argument(
        f"--{name}", type=type(value), default=value, choices=known.get(name), metavar=name.upper()
    )
asked = vars(parser.parse_args())
n = asked["n"]
out = pathlib.Path(asked["out"])
if n < 1:
    parser.error(f"--n must be at least 1, got {n}")
if out.suffix != ".npy":
    parser.error(f"--out must end in .npy (an array for numpy.load), got {out}")
if not out.parent.is_dir():
    parser.error(f"{out.parent} is not a folder")
model = onnxruntime.InferenceSession(
    here.with_name("model.onnx"), providers=["CPUExecutionProvider"]
)
about = json.loads(model.get_modelmeta().custom_metadata_map["pushforward"])
if not EXPORT == space.get("export") == about.get("export"):
    parser.error("model.onnx, space.json and run.py belong to different exports. Export again.")
seeds = [(asked["seed"] + i) % 2**64 for i in range(n)]


def drawn(stream, call, shape=None):
    """Draw normal numbers for each sample by its seed, or one uniform number without a shape."""
    keys = [np.array([seed, int(stream)], np.uint64) for seed in seeds]
    each = [np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, call])) for key in keys]
    return np.stack(
        [
            g.random(dtype=np.float32) if shape is None else g.standard_normal(shape, np.float32)
            for g in each
        ]
    )


def given(condition, text):
    """Parse the values of a numeric condition from text such as 1.5,2."""
    usual = condition["usual"]
    try:
        values = [float(word) for word in text.split(",")] if text else usual
    except ValueError:
        values = []
    if len(values) != len(usual):
        parser.error(
            f"--{condition['name']} needs {len(usual)} comma-separated numbers, got {text}"
        )
    return np.tile(np.array(values, condition["type"]), (n, 1))


draws = space["draws"]
if "solver" in asked:
    counts = draws[asked["solver"]]
    steps = str(asked["steps"])
    if steps not in counts:
        parser.error(f"--steps must be one of {', '.join(counts)}, got {steps}")
    draws = counts[steps]
feeds = {
    "z": drawn(space["stream"], 0, space["noise"]),
    "decoder_noise": drawn(space["decoder_stream"] or 0, 0, space["shape"]),
}
feeds["noise"] = np.stack(
    [drawn(space["stream"], 1 + call, space["noise_of_draws"]) for call in range(max(1, draws))]
)
feeds["solver"] = np.array(known["solver"].index(asked["solver"]) if "solver" in asked else 0)
feeds |= {
    "steps": np.array(asked.get("steps", 1)),
    "scale": np.full(n, asked.get("scale", 1), np.float32),
}
for each in space["conditions"]:
    text = asked.get(each["name"])
    if each["kind"] == "label":  # as often as in the training data, where none is given
        usual = np.searchsorted(np.float32(each["ends"][:-1]), drawn(each["stream"], 0), "right")
        feeds["label"] = np.full(n, each["names"].index(text)) if text else usual
    else:
        feeds[each["name"]] = given(each, text)
np.save(
    out, model.run(["x"], {each.name: feeds[each.name] for each in model.get_inputs()})[0]
)  # data units
