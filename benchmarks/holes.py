"""Holes, the reason that VAEs exist, and blur, their price.

    PUSHFORWARD_DATA=FOLDER python benchmarks/holes.py [--data mnist] [--seconds 300]
    [--latent-seconds 150]

A plain autoencoder (beta 0) and a VAE of the same network: what do draws from N(0, 1) decode to,
and what the midpoints between the codes of two training examples? Beside them midpoints of pixels,
an autoencoder with an adversarial term (draws of its codes' mean and spread) and a flow in the
latent space of each of the three. Coverage and density of held-out examples, sharpness over real
examples'; what is sampled is sampled three times. Trained in turns; a picture in results/holes.png.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocol import benchmark, load, parsed, real_data_scores, results, table, taken_up, write

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import pushforward as pf
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.editing import INTERPOLATIONS
from pushforward.evaluation import Evaluator
from pushforward.evaluation.pictures import moments, reconstructed
from pushforward.pictures import grid_picture
from pushforward.training.api import train_in_turns

NAMES = ["coverage", "density", "precision", "recall", "frechet", "sharpness"]
KEEP = 0.8
"""The share of the VAE's own coverage that its midpoints must keep."""
SHOWN = 10


class Rows:
    """Rows as a sampler hands them out: in every sampling the same."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def stream(self, n: int, **how: Any) -> Iterator[tuple[Tensor, None]]:
        yield self.x[:n], None


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="of training, each autoencoder"
    )
    parser.add_argument(
        "--latent-seconds",
        type=float,
        default=150.0,
        help="of training, each flow in a latent space",
    )
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3, help="samplings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", default="runs/holes-benchmark", help="folder of the runs")
    given = parsed(parser, words, seconds=0.02, latent_seconds=0.02, n=20, repeats=1)
    data = load(given.data, labelled=False)
    folder = Path(given.runs)
    coders = {
        "autoencoder, beta 0": lambda: pf.recipes.vae(data.space, beta=0.0),
        "VAE": lambda: pf.recipes.vae(data.space),
        "adversarial autoencoder": lambda: pf.recipes.autoencoder(data.space),
    }
    train_in_turns(
        [
            taken_up(make, data, given.seconds, given.seed, folder / slug(name))
            for name, make in coders.items()
        ]
    )
    runs = {name: pf.load(folder / slug(name)) for name in coders}
    priors = {}
    for name in coders:
        make = lambda run=runs[name]: pf.in_latent("flow", data, run)  # noqa: E731
        priors[name] = taken_up(
            make, data, given.latent_seconds, given.seed, folder / f"{slug(name)}-flow"
        )
    train_in_turns(list(priors.values()))
    flows = {name: pf.load(folder / f"{slug(name)}-flow") for name in coders}
    with network_precision(resolve_precision("auto", "cpu")):
        models = everything(data, runs, flows, given)
    judge = Evaluator(data, given.n, given.repeats, NAMES)
    with network_precision(resolve_precision("auto", "cpu")):
        rows = [
            {"rows": name, **{m: score.to_plain() for m, score in judge.scores(x)[0].items()}}
            for name, x in models.items()
        ]
    report(judge, rows, models, data, given)


def slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-").lower()


def everything(
    data: Any, runs: dict[str, pf.Run], flows: dict[str, pf.Run], given: argparse.Namespace
) -> dict[str, Any]:
    """All that is judged by name: samplers, and rows in data units."""
    first, second = (
        data.train.data_units(np.random.default_rng(part).permutation(len(data.train))[: given.n])
        for part in (0, 1)
    )
    models: dict[str, Any] = {"midpoints of pixels": Rows((first + second) / 2)}
    for name, run in runs.items():
        coder = run.method.autoencoder().eval()
        a, b = (moments(coder, x)[0].float() for x in (first, second))
        half = torch.full((given.n,), 0.5)
        models[
            f"{name}: {'N(0, 1)' if coder.standard else 'N(mean, variance of its codes)'} decoded"
        ] = run.transport
        for way in ("linear", "spherical"):
            models[f"{name}: {way} midpoints of codes"] = Rows(
                decoded(coder, INTERPOLATIONS[way](a, b, half))
            )
        models[f"{name}: reconstructions"] = Rows(
            reconstructed(coder, data.held_out.data_units(slice(given.n)))
        )
        models[f"{name}: flow in its latent space"] = flows[name].transport
    return models


def decoded(coder: Any, codes: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat(
            [coder.space.to_data(coder.decode(part)).float() for part in codes.split(250)]
        )


def report(
    judge: Evaluator,
    rows: list[dict[str, Any]],
    models: dict[str, Any],
    data: Any,
    given: argparse.Namespace,
) -> None:
    body = [[row["rows"], *(value(row[m]) for m in NAMES)] for row in rows]
    floor = real_data_scores(judge, NAMES)
    body.append(["real data", *(floor.get(m, "") for m in NAMES)])
    text = table(["rows", *NAMES], body)
    mean = {row["rows"]: {m: row[m]["value"] for m in NAMES} for row in rows}
    own = mean["VAE: N(0, 1) decoded"]["coverage"]
    shares = {
        way: mean[f"VAE: {way} midpoints of codes"]["coverage"] / own for way in INTERPOLATIONS
    }
    text += "\n\nOf the coverage of its samples the VAE's midpoints keep "
    text += ", ".join(f"{share:.2f} ({way})" for way, share in shares.items())
    text += f" (bar: {KEEP}): {'yes' if min(shares.values()) >= KEEP else 'no'}."
    text += (
        f"\n\n{given.seconds:g} s of training each autoencoder, {given.latent_seconds:g} s "
        "each "
        "flow, in turns; "
    )
    text += f"n = {given.n:,}, ± over {given.repeats} samplings."
    settings = {
        "seconds": given.seconds,
        "latent_seconds": given.latent_seconds,
        "n": given.n,
        "seed": given.seed,
    }
    tiles = {
        name: model.x[:SHOWN] if isinstance(model, Rows) else model.sample(SHOWN)
        for name, model in models.items()
    }
    captioned({name: data.space.quantise(x) for name, x in tiles.items()}).save(
        results() / "holes.png"
    )
    write(
        f"holes_{given.data.replace('-', '_')}",
        f"Holes and blur on {given.data}",
        text,
        rows,
        **settings,
    )


def captioned(tiles: dict[str, np.ndarray], scale: int = 2) -> Image.Image:
    """A row of images for each name, beside the name."""
    grid = grid_picture(np.concatenate(list(tiles.values())), SHOWN, scale=scale, gap=4).convert(
        "RGB"
    )
    pitch = (grid.height + 4) // len(tiles)
    font = ImageFont.load_default(size=8 * scale)
    left = 16 + max(math.ceil(font.getlength(name)) for name in tiles)
    sheet = Image.new("RGB", (left + grid.width, grid.height), "white")
    sheet.paste(grid, (left, 0))
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(tiles):
        pen.text(
            (left - 12, row * pitch + (pitch - 4) // 2), name, fill="black", font=font, anchor="rm"
        )
    return sheet


def value(row: dict[str, Any]) -> str:
    """ "mean ± spread", without a spread for rows that are always the same."""
    return f"{row['value']:.4g}" + (
        f" ± {row['spread']:.2g}" if (row["spread"] or 0) > 1e-9 else ""
    )


if __name__ == "__main__":
    main()
