"""Small models to export, how far their graphs are from them, and the scripts of exports."""

import shutil
import subprocess
import sys

import torch
from programs.cases import class_labels

import pushforward as pf
from pushforward import networks
from pushforward.conditions import Label
from pushforward.export.parity import distances, session
from pushforward.networks import MLP, LevelPosterior, Reshaped, UNet
from pushforward.transports import Autoencoder, Flow, Latent

SMALL = (1, 8, 8)
CLASSES = ("a", "b")
LABELS = {"label": Label(CLASSES, (0.5, 0.5))}
SPACE = pf.data.ImageSpace(SMALL, (0.4,), (0.3,), (0.0,), (1.0,), conditions=LABELS)


def speaking(network):
    network.leave.reset_parameters()
    return network


def mlp():
    network = MLP(64, 64, width=16, depth=1, conditions=class_labels(2))
    return Reshaped(speaking(network), SMALL)


def unet():
    network = UNet(SMALL, widths=(8,), blocks=1, conditions=class_labels(2), heads=2)
    return speaking(network)


def levels():
    network = MLP(512, 512, width=8, depth=1, conditions=class_labels(2))
    return LevelPosterior(Reshaped(network, (8, 8, 8)), SPACE)


def dit():
    shape = {"patch": 4, "width": 16, "depth": 1, "heads": 2}
    network = networks.DiT(SMALL, conditions=class_labels(2), **shape)
    return speaking(network)


class Light(torch.nn.Module):
    """A few operations on x, all times and the label; what else networks do is exported above, by
    itself.
    """

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(64, 64)
        self.codes = torch.nn.Embedding(3, 64)

    def forward(self, x, t, condition=None):
        times = t[..., None].flatten(1)
        seen = self.map(x.flatten(1)) + times @ self.map.weight[: times.shape[1]]
        if condition is not None:
            seen = seen + self.codes(number(condition))
        return torch.sin(seen).unflatten(1, SMALL)


def number(condition):
    hidden = condition.get("label_null")
    if hidden is None:
        return condition["label"] + 1
    return torch.where(hidden, 0, condition["label"] + 1)


def denoiser(path=None):
    torch.manual_seed(0)
    return pf.Denoiser(mlp(), path or pf.Linear(), "velocity", SPACE).eval()


def latent(flow):
    shape = (1, 16, 16)
    image = pf.data.ImageSpace(shape, (0.5,), (0.3,), (0.0,), (1.0,))
    decoder = networks.Expander(shape, inputs=1, factor=2, width=8)
    encoder = networks.Compressor(shape, outputs=2, factor=2, width=8)
    coded = Autoencoder(encoder, decoder, image).eval()
    return Latent(flow, coded)


def model(recipe, solver, way="plain"):
    torch.manual_seed(0)
    part = pf.recipes.named(recipe)(SPACE, "tiny", network=Light()).method.denoiser
    if solver == "jump":
        part = pf.FlowMap(Light(), part.path, part.prediction, SPACE)
    if way == "repathed":
        part = part.on(pf.VP())
    if way == "autoguided":
        part = pf.Autoguided(part, denoiser(path=pf.VP()))
    if way == "guided and thresholded":
        guided = pf.Guided(part, 2.0, (0.1, 3.0))
        part = pf.Thresholded(guided, 0.9)
    flow = Flow(part, solver, 2)
    if way == "latent":
        flow = latent(flow)
    return flow.eval()


def transport_of(recipe, space=SPACE, **options):
    """The untrained model of a recipe."""
    method = pf.recipes.named(recipe)(space, "tiny", **options).method
    return method.transport().eval()


def opened(made):
    return session(made.model.SerializeToString())


def worst(made, steps=(1, 2, 5), examples=(1, 5)):
    """The greatest distance of a graph from its sampler, in standard deviations."""
    found = distances(opened(made), made.transport, made.flows, steps, examples)
    return max(each.worst for each in found)


def nodes_of(onnx_graph, kind):
    return [node for node in onnx_graph.node if node.op_type == kind]


def size_of(tensors):
    """Bytes of all tensors."""
    return sum(len(each.raw_data) for each in tensors)


ALONE = """
import os, runpy, sys
sys.modules["torch"] = sys.modules["pushforward"] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(file, words):
    """Run a file in a Python that has neither torch nor this library."""
    command = [sys.executable, "-c", ALONE, str(file), *words.split()]
    subprocess.run(command, check=True, cwd=file.parent)


def copied(written, folder):
    """A copy of an export."""
    folder.mkdir()
    for file in written.files:
        shutil.copy(file, folder)
    return folder


def contents(folder):
    """The bytes of each file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(file, words):
    """What a script says that refuses its command line."""
    command = [sys.executable, file.name, *words.split()]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
