"""Train the three models and record their samples: run once, with the code of the reference commit on the path.

    PYTHONPATH=REFERENCE/src PUSHFORWARD_DATA=DATA python tests/golden/record.py

The files beside it were made with commit 8eb11c4. Weights are stored in half precision, and the samples are those of the stored
weights, so that they can be drawn again exactly.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import models
import numpy as np
import torch

import pushforward as pf
from pushforward.methods import Denoising, Encoded
from pushforward.training.loop.model_setup import prepared
from pushforward.training.recipe_argument import _Alone, code_space

SOURCES = {"digits": "digits", "mnist": "mnist", "emoji": os.environ["PUSHFORWARD_DATA"] + "/emoji"}


def trained(method, data, steps):
    """The averaged network of a short training."""
    with tempfile.TemporaryDirectory() as folder:
        return pf.fit(pf.Recipe(method, pf.Training(batch=32, lr=2e-3, ema=2_000)), data, steps=steps, out=f"{folder}/run").method


def autoencoder(data):
    """A small autoencoder of the emoji, trained without a critic."""
    from pushforward.methods import PerceptualAutoencoder
    from pushforward.networks import PatchCritic

    encoder, decoder = models.coders()
    critic = PatchCritic.sized("tiny", shape=(4, 32, 32))
    plain = data.space.without_labels()
    method = PerceptualAutoencoder(encoder, decoder, critic, plain, latent=(4, 8, 8), features=0.0, adversarial=0.0)
    return trained(method, data, 150).autoencoder()


def record(name):
    """Train, store the weights and the samples under every setting."""
    torch.manual_seed(0)
    data = pf.data.load(SOURCES[name], resize=32 if name == "emoji" else None, labelled=True)
    space, coded = data.space, None
    if name == "emoji":
        coded = autoencoder(data)
        space = code_space(prepared(_Alone(coded), data), data.space)
    method = Denoising(models.denoiser(name, models.network(name, len(space.classes)), space))
    outer = method if coded is None else Encoded(method, coded)
    done = trained(outer, data, 300 if name == "digits" else 150)
    inner = done if coded is None else done.method
    stored = {f"network/{key}": value.half().numpy() for key, value in inner.denoiser.network.state_dict().items()}
    if coded is not None:
        stored |= {f"decoder/{key}": value.half().numpy() for key, value in coded.decoder.state_dict().items()}
    stored |= {
        "space/mean": np.array(space.mean),
        "space/std": np.array(space.std),
        "space/classes": np.array(len(space.classes)),
    }
    path = Path(models.FOLDER / f"{name}.npz")
    np.savez_compressed(path, **stored)
    model, coder = models.load(name)
    for setting in models.settings(name):
        stored[f"samples/{setting}"] = models.sample(name, model, coder, setting).astype(np.float32)
    if name == "digits":
        stored |= {f"edits/{key}": value for key, value in models.edits(model).items()}
        for setting in models.settings(name):
            stored[f"exact/{setting}"] = models.sample(name, *models.load(name), setting, torch.float64)
    np.savez_compressed(path, **stored)
    print(name, f"{path.stat().st_size:,} bytes", np.abs(stored["samples/dpm:2"]).max())


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:] or models.NAMES:
        record(name)
