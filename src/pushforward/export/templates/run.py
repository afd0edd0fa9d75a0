"""Draws samples from model.onnx with numpy and onnxruntime alone: python run.py --help."""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime

EXPORT = ""  # identifier of the export that this script belongs to
here = pathlib.Path(__file__)
space = json.loads(here.with_name("space.json").read_text(encoding="utf-8"))
options = {"n": 16, "seed": 0, "out": "samples.npy", **space["default"]}
choices = {"solver": list(space["draws"])} if "solver" in options else {}
for condition in space["conditions"]:
    if condition["kind"] != "known":
        options[condition["name"]] = ""
    if "names" in condition:
        choices[condition["name"]] = ["", *condition["names"]]
parser = argparse.ArgumentParser(description=f"Write samples of {space['name']} to a file.")
for name, value in options.items():
    parser.add_argument(
        f"--{name}",
        type=type(value),
        default=value,
        choices=choices.get(name),
        metavar=name.upper(),
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
file = here.with_name("model.onnx")
model = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
about = json.loads(model.get_modelmeta().custom_metadata_map["pushforward"])
if not EXPORT == space.get("export") == about.get("export"):
    parser.error("model.onnx, space.json and run.py belong to different exports. Export again.")


def generators(stream, call):
    """Return a generator of random numbers for each sample, by its seed."""
    for seed in range(asked["seed"], asked["seed"] + n):
        key = np.array([seed % 2**64, int(stream)], np.uint64)
        yield np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, call]))


def normal(stream, call, shape):
    """Draw normal numbers for each sample."""
    return np.stack([g.standard_normal(shape, np.float32) for g in generators(stream, call)])


def given(condition, text):
    """Parse the values of a condition, such as 1.5,2 or a class name."""
    if condition["kind"] == "label":
        if text:
            return np.full(n, condition["names"].index(text))
        uniform = [g.random(dtype=np.float32) for g in generators(condition["stream"], 0)]
        return np.searchsorted(np.float32(condition["ends"][:-1]), uniform, "right")
    usual = condition["usual"]
    try:
        values = [float(word) for word in text.split(",")] if text else usual
    except ValueError:
        values = []
    if len(values) != len(usual):
        parser.error(f"--{condition['name']} needs {len(usual)} numbers like 1,2; got {text}")
    return np.tile(np.array(values, condition["type"]), (n, 1))


solver = 0
draws = space["draws"]
if "solver" in asked:
    solver = choices["solver"].index(asked["solver"])
    counts = draws[asked["solver"]]
    steps = str(asked["steps"])
    if steps not in counts:
        parser.error(f"--steps must be one of {', '.join(counts)}, got {steps}")
    draws = counts[steps]
noises = [normal(space["stream"], 1 + i, space["noise_of_draws"]) for i in range(max(1, draws))]
feeds = {
    "z": normal(space["stream"], 0, space["noise"]),
    "decoder_noise": normal(space["decoder_stream"] or 0, 0, space["shape"]),
    "noise": np.stack(noises),
    "solver": np.array(solver),
    "steps": np.array(asked.get("steps", 1)),
    "scale": np.full(n, asked.get("scale", 1), np.float32),
}
for condition in space["conditions"]:
    feeds[condition["name"]] = given(condition, asked.get(condition["name"]))
wanted = {argument.name: feeds[argument.name] for argument in model.get_inputs()}
np.save(out, model.run(["x"], wanted)[0])  # in data units
