"""Train recipes for a few steps and print their losses and where the package is, as JSON: run by
``same_training.py``.

    python benchmarks/programs/few_steps.py STEPS NAME ...

A name is a recipe's; ``NAME:image`` trains it on images, and ``NAME:unlabelled`` without labels.
All that it uses of the package is the same in both commits.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pushforward as pf
from pushforward.data import Dataset, Split
from pushforward.training.api import prepare

SHAPES = {"image": (1, 8, 8), "vector": (17,)}
SEED = 5


def data_of(kind: str, labels: bool) -> Dataset:
    """300 random examples and 24 held-out ones."""
    random = np.random.default_rng(0)
    shape = SHAPES[kind]
    if kind == "vector":
        x = (random.normal(size=(324, *shape)) * 2 + 1).astype(np.float32)
        measured = {"mean": x.mean(0).tolist(), "std": x.std(0).tolist()}
    else:
        x = random.integers(0, 256, size=(324, *shape), dtype=np.uint8)
        measured = {"mean": (0.5,), "std": (0.29,), "low": (0.0,), "high": (1.0,)}
    label = random.integers(0, 3, size=324) if labels else None
    train, held_out = (
        Split(x[part], None if label is None else label[part])
        for part in (slice(300), slice(300, None))
    )
    return Dataset(
        "random", space_of(kind, measured, ("a", "b", "c") if labels else ()), train, held_out
    )


def space_of(kind: str, measured: dict[str, Any], classes: tuple[str, ...]) -> Any:
    """The space, in which commit 8eb11c4 has the classes themselves."""
    frequencies = (0.5, 0.25, 0.25) if classes else ()
    if hasattr(pf.data, "ImageSpace"):
        from pushforward.conditions import Label

        conditions = {"label": Label(classes, frequencies)} if classes else {}
        return (pf.data.ImageSpace if kind == "image" else pf.data.VectorSpace)(
            SHAPES[kind], **measured, conditions=conditions
        )
    return pf.data.Space(SHAPES[kind], **measured, classes=classes, frequencies=frequencies)


def losses(name: str, steps: int) -> dict[str, list[float]]:
    """The losses of each player."""
    recipe, *kinds = name.split(":")
    kind = "image" if "image" in kinds else "vector"
    data = data_of(kind, "unlabelled" not in kinds)
    if recipe == "ddpm" and "preconditioned" in _options(recipe):
        options = {"preconditioned": False}
    else:
        options = {}
    built = pf.recipes.named(recipe)(data.space, "tiny", **options)
    training = dataclasses.replace(built.training, batch=64, precision="float32")
    with tempfile.TemporaryDirectory() as folder:
        trainer = prepare(
            dataclasses.replace(built, training=training),
            data,
            steps=steps,
            out=Path(folder) / "run",
            seed=SEED,
        )
        trainer.advance()
        rows = [
            json.loads(line)
            for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        ]
    return {player: [row["loss"][player] for row in rows] for player in rows[0]["loss"]}


def _options(recipe: str) -> list[str]:
    import inspect

    return list(inspect.signature(pf.recipes.named(recipe)).parameters)


if __name__ == "__main__":
    torch.set_num_threads(1)
    values = {name: losses(name, int(sys.argv[1])) for name in sys.argv[2:]}
    print(json.dumps({"package": pf.__file__, "losses": values}))
