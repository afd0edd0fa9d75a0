"""Does every sampler export, and does its program draw what the sampler draws?

Protocol, on untrained networks whose weights are scattered (a network that puts out zero would agree in anything):

(a) Whole samplers. Every recipe of digits with labels, in its tiny size, is exported (`pushforward.transports.export.exported`)
with three rows and run on five: one-call recipes as they are, iterative ones under every solver with fixed steps, each plain,
guided, in a latent space and read on another path; jumps ask a flow map of an MLP. The network of vdm, whose export takes ten
seconds, is an MLP but under its own solver, dpm. The bar is a distance of at most 1e-5 from the sampler, in data units.

(b) Scans. The flow under dpm, heun, unipc, euler and ancestral is exported once by `exported_scan` and run with the tables of 2,
7 and 20 steps. The bar is the same.

    python benchmarks/export.py [--steps 3] [--smoke]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

from protocol import benchmark, parsed, table, write

import torch
from torch import Tensor

import pushforward as pf
from pushforward import networks, recipes, solvers
from pushforward.conditions import Label
from pushforward.denoisers import FlowMap
from pushforward.errors import UsageError
from pushforward.networks import MLP, Reshaped
from pushforward.registries import SOLVERS
from pushforward.transports import Autoencoder, Flow, Latent, Transport, has_steps, inner_of
from pushforward.transports.export import GivenNoise, exported, exported_scan, noise_count, scan_inputs

SPACE = pf.data.ImageSpace((1, 8, 8), (0.3,), (0.38,), (0.0,), (1.0,), {"label": Label(tuple("0123456789"), (0.1,) * 10)})
ITERATIVE, ONE_CALL = ("flow", "ddpm", "edm", "vdm"), ("gan", "vae", "hvae", "vqvae")
SCANNED = ("dpm", "heun", "unipc", "euler", "ancestral")
WAYS = ("plain", "guided", "latent", "repathed")
ROWS = 5
BAR = 1e-5


def scattered(transport: Transport) -> Transport:
    """The transport with weights of which none is left at zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in transport.parameters():
            if not weight.abs().sum():
                weight.normal_(0, 0.02)
    return transport.eval()


def in_latent(flow: Flow) -> Latent:
    """The flow's images as codes of images of twice the side."""
    torch.manual_seed(0)
    image = pf.data.ImageSpace((1, 16, 16), (0.5,), (0.3,), (0.0,), (1.0,))
    encoder = networks.Compressor((1, 16, 16), outputs=2, factor=2, width=8)
    return Latent(flow, Autoencoder(encoder, networks.Expander((1, 16, 16), inputs=1, factor=2, width=8), image).eval())


def model(recipe: str, solver: str, way: str, steps: int) -> Transport:
    """An untrained recipe's transport under a solver."""
    torch.manual_seed(0)
    options = {"network": mlp()} if recipe == "vdm" and solver != "dpm" else {}
    transport = scattered(recipes.named(recipe)(SPACE, "tiny", **options).method.transport())
    flow = inner_of(transport)
    if not has_steps(flow):
        return transport
    denoiser: Any = flow_map() if solver == "jump" else flow.denoiser
    if way == "guided":
        denoiser = pf.Guided(denoiser, 2.0)
    if way == "repathed":
        denoiser = denoiser.on(pf.Linear() if recipe == "ddpm" else pf.VP())
    solved = Flow(denoiser, solvers.named(solver), steps)
    return in_latent(solved).eval() if way == "latent" else solved.eval()


def flow_map() -> FlowMap:
    """An untrained map between two times."""
    return FlowMap(mlp(times=2), pf.Linear(), "velocity", SPACE)


def mlp(times: int = 1) -> Reshaped:
    """A small network of the images' pixels, whose output is not zero."""
    network = MLP(64, 64, width=64, depth=2, conditions=SPACE.conditions, times=times)
    network.leave.reset_parameters()
    return Reshaped(network, SPACE.shape)


def distance(transport: Transport) -> float:
    """The greatest distance of the program's samples from the sampler's, in data units."""
    z, label = torch.randn(ROWS, *transport.noise_shape), torch.arange(ROWS)
    draws = noise_count(transport)
    noise = torch.randn(draws, ROWS, *inner_of(transport).space.shape) if draws else None
    with torch.no_grad():
        x = transport(z, {"label": label}, None if noise is None else GivenNoise(noise))
        drawn: Tensor = exported(transport).module()(z, {"label": label}, noise)
        return float((drawn - transport.space.to_data(x)).abs().max())


def scan_distances(solver: str, counts: tuple[int, ...]) -> Iterator[tuple[int, float]]:
    """The same of one program under tables of several numbers of steps."""
    program = exported_scan(model("flow", solver, "plain", 8)).module()
    slots, noises = scan_inputs(model("flow", solver, "plain", 8))[1].first.shape
    for steps in counts:
        transport = model("flow", solver, "plain", steps)
        inputs, arrays = scan_inputs(transport, slots, noises)
        z, label = torch.randn(ROWS, *transport.noise_shape), torch.arange(ROWS)
        noise = torch.randn(len(arrays.point) + 1, noises, *z.shape)
        drawn = [noise[i, j] for i, count in enumerate(arrays.noises) for j in range(count)]
        with torch.no_grad():
            x = transport.space.to_data(transport(z, {"label": label}, GivenNoise(torch.stack([*drawn, z]))))
            yield steps, float((program(z, inputs, {"label": label}, noise) - x).abs().max())


def fixed_solvers(recipe: str) -> list[str]:
    """The solvers that have a table; one that needs a map between two times is asked once, for the flow."""
    return [name for name, part in SOLVERS.items() if not part.adaptive and (recipe == "flow" or not part.jumps)]


def measured(smoke: bool, steps: int) -> list[dict[str, Any]]:
    """Every cell of the matrix; in a smoke run one of each kind."""
    cells = [(recipe, "", "plain") for recipe in (ONE_CALL[:1] if smoke else ONE_CALL)]
    if smoke:
        cells.append(("flow", "dpm", "guided"))
    else:
        cells += [(recipe, solver, way) for recipe in ITERATIVE for solver in fixed_solvers(recipe) for way in WAYS]
    rows = []
    for recipe, solver, way in cells:
        began = time.perf_counter()
        try:
            apart: float | str = distance(model(recipe, solver, way, steps))
        except (UsageError, RuntimeError) as error:
            apart = f"{type(error).__name__}: {error}".splitlines()[0]
        rows.append(
            {
                "part": "whole",
                "recipe": recipe,
                "solver": solver,
                "way": way,
                "distance": apart,
                "seconds": time.perf_counter() - began,
            }
        )
    for solver in SCANNED[: 1 if smoke else None]:
        rows += [
            {"part": "scan", "recipe": "flow", "solver": solver, "steps": count, "distance": apart}
            for count, apart in scan_distances(solver, (2,) if smoke else (2, 7, 20))
        ]
    return rows


def text_of(rows: list[dict[str, Any]]) -> str:
    """Both tables: the worst way of each recipe and solver, and the scans."""

    def number(value: Any) -> str:
        return value if isinstance(value, str) else f"{value:.1e}"

    def worst(solver: str, recipe: str) -> str:
        apart = [row["distance"] for row in rows if (row["part"], row["solver"], row["recipe"]) == ("whole", solver, recipe)]
        return number(max(apart, key=lambda value: (isinstance(value, str), value))) if apart else ""

    tried = list(dict.fromkeys(row["recipe"] for row in rows if row["part"] == "whole" and row["solver"]))
    names = list(dict.fromkeys(row["solver"] for row in rows if row["part"] == "whole" and row["solver"]))
    whole = table(["solver", *tried], [[name, *(worst(name, recipe) for recipe in tried)] for name in names])
    single = [[row["recipe"], number(row["distance"])] for row in rows if row["part"] == "whole" and not row["solver"]]
    scans = [[row["solver"], str(row["steps"]), number(row["distance"])] for row in rows if row["part"] == "scan"]
    return (
        f"Greatest distance of a program's samples from the sampler's, data units; the bar is {BAR:g}. Of {', '.join(WAYS)} the "
        f"worst is shown.\n\n{whole}\n\n{table(['one call', 'distance'], single)}\n\nOne program, tables of several numbers of "
        f"steps:\n\n{table(['solver', 'steps', 'distance'], scans)}"
    )


@benchmark
def main(words: list[str]) -> None:
    """Measure, write the tables and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3, help="steps of a solve (default 3)")
    given = parsed(parser, words)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    rows = measured(given.smoke, given.steps)
    write("export", "Exported samplers", text_of(rows), rows, steps=given.steps, torch=torch.__version__)


if __name__ == "__main__":
    main()
