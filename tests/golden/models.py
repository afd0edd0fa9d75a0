"""Three small models whose weights are kept beside this file, and the ways in which they are
sampled.

It uses only what the reference commit 8eb11c4 has too: networks, denoisers, flows; conditions were
    class numbers there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from programs.cases import class_labels

import pushforward as pf
from pushforward.conditions import Label
from pushforward.draws import ExampleDraws
from pushforward.editing import Variation, inpainting
from pushforward.networks import MLP, Compressor, Expander, Reshaped, UNet
from pushforward.testing.solvers import solve
from pushforward.transports import Autoencoder, Flow, Latent

FOLDER = Path(__file__).parent
ROWS = 4
STEPS = 5
NAMES = ("digits", "mnist", "emoji")

EVERY_SOLVER = """
ddim euler heun midpoint rk4 ipndm:1 ipndm:2 ipndm:4 singlestep:2 singlestep:3
dpm:1 dpm:2 dpm:3 deis:1 deis:2 deis:3 unipc:1 unipc:2 unipc:3
ancestral ddim:0.5 dpmsde eulermaruyama eulermaruyama:2 churn churn:3
predictorcorrector predictorcorrector:2 adaptive
"""
SOLVERS = EVERY_SOLVER.split()
FEW = ("dpm:2", "heun", "unipc:2", "ancestral", "euler", "singlestep:3", "predictorcorrector")
"""Of the models of images, whose networks cost more, only these are sampled with guidance."""
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "emoji": (4, 8, 8)}
PICTURE = (4, 32, 32)
"""The shape of an emoji, which the autoencoder compresses."""


def network(name, classes):
    """The denoiser's network; all are built here, so that the stored weights fit."""
    shape = SHAPES[name]
    conditions = class_labels(classes)
    if name == "digits":
        inner = MLP(64, 64, width=48, depth=2, conditions=conditions)
        return Reshaped(inner, shape)
    stem = 4 if name == "mnist" else 1
    return UNet(shape, widths=(16, 32), blocks=1, conditions=conditions, stem=stem, heads=2)


def coders():
    """The autoencoder's networks for images of 4 x 32 x 32."""
    encoder = Compressor(PICTURE, outputs=8, factor=4, width=8)
    decoder = Expander(PICTURE, inputs=4, factor=4, width=8)
    return encoder, decoder


def denoiser(name, net, space):
    """The denoiser of each model, as its recipe makes it at the reference commit."""
    from pushforward.paths import Linear, Tabulated, linear_betas

    if name == "mnist":
        return pf.Denoiser(net, Tabulated(linear_betas()), "noise", space)
    return pf.Denoiser(net, Linear(), "velocity", space)


def stored_space(name, stored):
    """The space that the stored numbers describe."""
    count = int(stored["space/classes"])
    classes = tuple(map(str, range(count)))
    label = Label(classes, (1 / count,) * count)
    units = {part: tuple(stored[f"space/{part}"].tolist()) for part in ("mean", "std")}
    if name != "emoji":
        units |= {"low": (0.0,), "high": (1.0,)}
    return pf.data.ImageSpace(SHAPES[name], **units, conditions={"label": label})


def load(name):
    """A denoiser with its stored weights and, for codes, the autoencoder (None for data)."""
    stored = np.load(FOLDER / f"{name}.npz")
    net = network(name, int(stored["space/classes"]))
    _fill(net, stored, "network")
    space = stored_space(name, stored)
    model = denoiser(name, net, space).eval()
    if name != "emoji":
        return model, None
    encoder, decoder = coders()
    _fill(decoder, stored, "decoder")
    image = pf.data.ImageSpace(PICTURE, (0.5,) * 4, (0.25,) * 4, (0.0,) * 4, (1.0,) * 4)
    autoencoder = Autoencoder(encoder, decoder, image, standard=False)
    return model, autoencoder.eval()


def _fill(module, stored, prefix):
    state = {}
    for key in module.state_dict():
        # the weights were stored when labels alone had an embedding
        name = key.replace("conditioning.embeddings.label", "conditioning.label")
        state[key] = torch.from_numpy(stored[f"{prefix}/{name}"]).float()
    module.load_state_dict(state)


def flow_of(model, setting):
    """The flow of a setting, "SOLVER" or "SOLVER guided"."""
    solver, _, how = setting.partition(" ")
    if how == "guided":
        model = pf.Guided(model, 2.0)
    elif how == "interval":
        model = pf.Guided(model, 3.0, (0.3, 5.0))
    elif how == "weaker":
        model = pf.Autoguided(model, pf.Guided(model, 0.0), 1.7)
    elif how == "thresholded":
        model = pf.Thresholded(pf.Guided(model, 4.0), 0.95)
    elif how == "repathed":
        model = model.on(pf.VP())
    return Flow(model, pf.solvers.named(solver), 2 if solver == "adaptive" else STEPS)


def settings(name):
    """All settings of a model."""
    if name != "digits":
        return SOLVERS + [f"{solver} guided" for solver in FEW]
    every = SOLVERS + [f"{solver} guided" for solver in SOLVERS]
    for solver in ("heun", "dpm:3", "ancestral"):
        every += [f"{solver} {how}" for how in ("interval", "weaker", "thresholded")]
    every += [f"{solver} repathed" for solver in ("heun", "dpm:2", "churn")]
    return every


def sample(name, model, autoencoder, setting, dtype=torch.float32):
    """Model units of every k-th number of ROWS samples, flat, float64; the whole solve runs in
    ``dtype``.
    """
    flow = flow_of(model, setting)
    transport = (flow if autoencoder is None else Latent(flow, autoencoder)).to(dtype)
    draws = ExampleDraws(0, ROWS)
    z = draws.normal(flow.noise_shape).to(dtype)
    label = torch.arange(ROWS) % 3
    with torch.no_grad():
        x = transport(z, {"label": label}, draws).flatten(1)
    return x[:, :: max(1, x.shape[1] // 64)].double().numpy()


def edits(model):
    """What runs a flow backwards, from its midst or under an observation, on the digits; model or
    data units.
    """
    flow = Flow(model, pf.solvers.named("dpm:2"), STEPS)
    heun = flow.with_solver(pf.solvers.named("heun"), 4)
    unipc = flow.with_solver(pf.solvers.named("unipc:2"), 6)
    label = {"label": torch.tensor([3, 3])}
    x = flow.sample(2, {"label": 3}, seed=7)
    state = 0.5 * ExampleDraws(3, 2).normal((1, 8, 8))
    half = torch.zeros(8, 8, dtype=torch.bool)
    half[:, 4:] = True
    edited = {"encode": flow.encode(x, label), "encode heun": heun.encode(x, label)}
    with torch.no_grad():
        edited["solve"] = solve(flow, state, 0.8, 0.1, label)
        edited["solve upward"] = solve(unipc, state, 0.2, 0.7, label)
        for rounds in (1, 3):
            mended = inpainting(flow, x[0], half, rounds=rounds)
            edited[f"inpaint {rounds}"] = mended.sample(2, {"label": 3}, seed=1)
    for name, strength in (("vary", 0.6), ("vary little", 0.1)):
        variation = Variation(flow, x[0], strength)
        edited[name] = variation.sample(2, {"label": 3})
    return {name: values.numpy() for name, values in edited.items()}
