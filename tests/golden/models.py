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

SOLVERS = [
    "ddim",
    "euler",
    "heun",
    "midpoint",
    "rk4",
    "ipndm:1",
    "ipndm:2",
    "ipndm:4",
    "singlestep:2",
    "singlestep:3",
]
SOLVERS += [f"{name}:{order}" for name in ("dpm", "deis", "unipc") for order in (1, 2, 3)]
SOLVERS += [
    "ancestral",
    "ddim:0.5",
    "dpmsde",
    "eulermaruyama",
    "eulermaruyama:2",
    "churn",
    "churn:3",
]
SOLVERS += ["predictorcorrector", "predictorcorrector:2", "adaptive"]
FEW = ("dpm:2", "heun", "unipc:2", "ancestral", "euler", "singlestep:3", "predictorcorrector")
"""Of the models of images, whose networks cost more, only these are sampled with guidance."""


def network(name, classes):
    """The denoiser's network; all are built here, so that the stored weights fit."""
    if name == "digits":
        return Reshaped(MLP(64, 64, width=48, depth=2, conditions=class_labels(classes)), (1, 8, 8))
    shape = {"mnist": (1, 28, 28), "emoji": (4, 8, 8)}[name]
    stem = 4 if name == "mnist" else 1
    return UNet(
        shape, widths=(16, 32), blocks=1, conditions=class_labels(classes), stem=stem, heads=2
    )


def coders():
    """The autoencoder's networks for images of 4 x 32 x 32."""
    sizes = {"factor": 4, "width": 8}
    return Compressor((4, 32, 32), outputs=8, **sizes), Expander((4, 32, 32), inputs=4, **sizes)


def denoiser(name, net, space):
    """The denoiser of each model, as its recipe makes it at the reference commit."""
    from pushforward.paths import Linear, Tabulated, linear_betas

    if name == "mnist":
        return pf.Denoiser(net, Tabulated(linear_betas()), "noise", space)
    return pf.Denoiser(net, Linear(), "velocity", space)


def load(name):
    """A denoiser with its stored weights and, for codes, the autoencoder (None for data)."""
    stored = np.load(FOLDER / f"{name}.npz")
    units = {part: tuple(stored[f"space/{part}"].tolist()) for part in ("mean", "std")}
    net = network(name, int(stored["space/classes"]))
    shape = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "emoji": (4, 8, 8)}[name]
    classes = tuple(map(str, range(int(stored["space/classes"]))))
    ends = {} if name == "emoji" else {"low": (0.0,), "high": (1.0,)}
    space = pf.data.ImageSpace(
        shape,
        **units,
        **ends,
        conditions={"label": Label(classes, (1 / len(classes),) * len(classes))},
    )
    _fill(net, stored, "network")
    model = denoiser(name, net, space).eval()
    if name != "emoji":
        return model, None
    encoder, decoder = coders()
    _fill(decoder, stored, "decoder")
    image = pf.data.ImageSpace((4, 32, 32), (0.5,) * 4, (0.25,) * 4, (0.0,) * 4, (1.0,) * 4)
    return model, Autoencoder(encoder, decoder, image, standard=False).eval()


def _fill(module, stored, prefix):
    # the weights were stored when labels alone had an embedding
    names = {
        key: key.replace("conditioning.embeddings.label", "conditioning.label")
        for key in module.state_dict()
    }
    state = {
        key: torch.from_numpy(stored[f"{prefix}/{name}"]).float() for key, name in names.items()
    }
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
    every = SOLVERS + [f"{solver} guided" for solver in (SOLVERS if name == "digits" else FEW)]
    if name == "digits":
        every += [
            f"{solver} {how}"
            for solver in ("heun", "dpm:3", "ancestral")
            for how in ("interval", "weaker", "thresholded")
        ]
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
    x = flow.sample(2, {"label": 3}, seed=7)
    label = torch.tensor([3, 3])
    half = torch.zeros(8, 8, dtype=torch.bool)
    half[:, 4:] = True
    mended = {rounds: inpainting(flow, x[0], half, rounds=rounds) for rounds in (1, 3)}
    state = 0.5 * ExampleDraws(3, 2).normal((1, 8, 8))
    with torch.no_grad():
        solved = solve(flow, state, 0.8, 0.1, {"label": label})
        upward = flow.with_solver(pf.solvers.named("unipc:2"), 6)
        upward = solve(upward, state, 0.2, 0.7, {"label": label})
        given = {
            f"inpaint {rounds}": led.sample(2, {"label": 3}, seed=1)
            for rounds, led in mended.items()
        }
    return {
        "encode": flow.encode(x, {"label": label}).numpy(),
        "encode heun": flow.with_solver(pf.solvers.named("heun"), 4)
        .encode(x, {"label": label})
        .numpy(),
        "solve": solved.numpy(),
        "solve upward": upward.numpy(),
        "vary": Variation(flow, x[0], 0.6).sample(2, {"label": 3}).numpy(),
        "vary little": Variation(flow, x[0], 0.1).sample(2, {"label": 3}).numpy(),
        **{key: value.numpy() for key, value in given.items()},
    }
