"""Run folders as released versions wrote them, which later versions must load and resume.

    python tests/golden/folders.py

adds a folder of the present format for each recipe below, beside those of earlier formats, which
stay as they are. Each was stopped after four of eight steps; ``end.json`` holds the losses of all
eight, and five samples at the end.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import pushforward as pf
from pushforward.networks import MLP
from pushforward.testing import space_data
from pushforward.training.api import prepare
from pushforward.training.loop.machine import seeded
from pushforward.training.runs.spec_file import FORMAT

FOLDER = Path(__file__).parent
STEPS = 8
STOPPED = 4


def data():
    """What the recipes below are trained on."""
    return space_data((2,), labels=False, n=40)


def network(inputs, outputs, times):
    """A perceptron of a few hundred numbers."""
    return MLP(inputs, outputs, width=8, depth=1, times=times)


def flow(data):
    return pf.recipes.flow(data.space, network=network(2, 2, 1))


def gan(data):
    return pf.recipes.gan(
        data.space, generator=network(4, 2, 0), critic=network(2, 1, 0), latent_size=4
    )


def vae(data):
    return pf.recipes.vae(
        data.space, encoder=network(2, 4, 0), decoder=network(2, 2, 0), latent_size=2
    )


def meanflow(data):
    return pf.recipes.meanflow(data.space, network=network(2, 2, 2))


RECIPES = {"flow": flow, "gan": gan, "vae": vae, "meanflow": meanflow}
"""Of one player, of two, with a likelihood and with two times."""


def batches(recipe):
    """The recipe with small batches, in float32."""
    return replace(recipe, training=replace(recipe.training, batch=16, precision="float32"))


def record(name):
    """The folder of a recipe in the present format."""
    final = FOLDER / f"{name}-format-{FORMAT}"
    with tempfile.TemporaryDirectory() as place:
        known = data()
        make = lambda: batches(seeded(lambda: RECIPES[name](known), 0))  # noqa: E731
        whole = pf.fit(make(), known, steps=STEPS, out=f"{place}/whole")
        trainer = prepare(make(), known, steps=STEPS, out=f"{place}/cut", checkpoint_every=STOPPED)
        while trainer.clock.step < STOPPED:
            trainer.advance(1e-9)
        trainer.close()
        shutil.rmtree(f"{place}/cut/checkpoints/step_000000")
        Path(f"{place}/cut/.lock").unlink()
        losses = [row["loss"] for row in whole.losses()]
        samples = whole.transport.sample(5, seed=1).tolist()
        manifest = json.loads(Path(f"{place}/cut/manifest.json").read_text())
        del manifest["machine"]["platform"]
        Path(f"{place}/cut/manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        Path(f"{place}/cut/end.json").write_text(
            json.dumps({"losses": losses, "samples": samples}, indent=0) + "\n"
        )
        shutil.rmtree(final, ignore_errors=True)
        shutil.copytree(f"{place}/cut", final, ignore=shutil.ignore_patterns("samples"))
    print(final.name, sum(path.stat().st_size for path in final.rglob("*") if path.is_file()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in RECIPES:
        record(name)
