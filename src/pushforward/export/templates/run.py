"""Draws samples from model.onnx with numpy and onnxruntime alone: python run.py --help."""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime

space = json.loads(pathlib.Path(__file__).with_name("space.json").read_text())
parser = argparse.ArgumentParser(description=f"Draws samples of {space['name']} into a file.")
options = {"n": 16, "seed": 0, "out": "samples.npy", **space["default"]}
known = {each["name"]: ["", *each["names"]] for each in space["conditions"] if "names" in each}
known |= {"solver": [*space["draws"]], "steps": range(1, 1 + space["most"])} if "solver" in options else {}
for name, value in (options | {each["name"]: "" for each in space["conditions"] if each["kind"] != "known"}).items():
    parser.add_argument(f"--{name}", type=type(value), default=value, choices=known.get(name), metavar=name.upper())
asked = vars(parser.parse_args())
n, seeds = asked["n"], [(asked["seed"] + i) % 2**64 for i in range(asked["n"])]


def drawn(stream, call, shape=None):
    """Numbers of each sample, by its seed alone: normal, or without a shape one that is uniform."""
    keys = [np.array([seed, int(stream)], np.uint64) for seed in seeds]
    each = [np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, call])) for key in keys]
    return np.stack([g.random(dtype=np.float32) if shape is None else g.standard_normal(shape, np.float32) for g in each])


draws = space["draws"][asked["solver"]][str(asked["steps"])] if "solver" in asked else space["draws"]
feeds = {"z": drawn(space["stream"], 0, space["noise"]), "decoder_noise": drawn(space["decoder_stream"] or 0, 0, space["shape"])}
feeds["noise"] = np.stack([drawn(space["stream"], 1 + call, space["noise_of_draws"]) for call in range(max(1, draws))])
feeds["solver"] = np.array([*space["draws"]].index(asked["solver"]) if "solver" in asked else 0)
feeds |= {"steps": np.array(asked.get("steps", 1)), "scale": np.full(n, asked.get("scale", 1), np.float32)}
for each, text in [(each, asked.get(each["name"])) for each in space["conditions"]]:
    if each["kind"] == "label":  # as often as in the training data, where none is given
        usual = np.searchsorted(np.float32(each["ends"][:-1]), drawn(each["stream"], 0), "right")
        feeds["label"] = np.full(n, each["names"].index(text)) if text else usual
    else:
        feeds[each["name"]] = np.tile(np.array(text.split(",") if text else each["usual"], each["type"]), (n, 1))
model = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name("model.onnx"), providers=["CPUExecutionProvider"])
np.save(asked["out"], model.run(["x"], {each.name: feeds[each.name] for each in model.get_inputs()})[0])  # data units
