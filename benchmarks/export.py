"""Does the ONNX file of every sampler draw what the sampler draws, how large is it, and how fast?

Protocol, on untrained networks whose weights are scattered (a network that puts out zero would
agree in anything):

(a) Parity. Every recipe in its tiny size, wrappers of a flow, latent models, learned steps and rows
of Shoppers, each one graph (`pushforward.export.graph`) with every solver of fixed steps. The
greatest difference from the sampler in torch, in standard deviations of the data, over 1, 4, 25 and
50 steps and batches of 1, 5 and 64; each example has its own scale of guidance, from 0 to 3. The
bar is 1e-5. Beside it stands the sampler's own rounding there, its distance from itself in float64.

(b) Bytes of the file without its tensors, which are weights and tables; the bar is 60 kB, 100 kB
for rows, whose columns are described in the file.

(c) Processor seconds in torch, without guidance, over those in onnxruntime at scale 1, one thread
each, at batches of 1 and 64 and 10 steps of dpm, in turns; the median. The bar is 2 for the median
of all models at batch 1, and .97 for each at batch 64.

    pip install 'pushforward[onnx]'
    python benchmarks/export.py [--repeats 5] [--models NAME ...] [--smoke]
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from protocol import benchmark, parsed, results, table, write

import numpy as np
import torch

import pushforward as pf
from pushforward import networks
from pushforward.data.core.named_set import folder
from pushforward.export import Graph, graph
from pushforward.export.parity import Distance, by_torch, distances, feeds_of, session
from pushforward.registries import RECIPES, SOLVERS
from pushforward.testing.models import recipe_for
from pushforward.training import in_latent
from pushforward.transports import (
    Autoencoder,
    Flow,
    Latent,
    Transport,
    has_steps,
    inner_of,
    with_inner,
)

FIXED = tuple(name for name, part in SOLVERS.items() if not part.adaptive and not part.jumps)
STEPS = (1, 4, 25, 50)
BATCHES = (1, 5, 64)
BAR = 1e-5
ROOM = {False: 60_000, True: 100_000}
TURN = 0.2  # Processor seconds of a turn at least


def scattered(transport: Transport) -> Transport:
    """The transport with weights of which none is left at zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in transport.parameters():
            if not weight.abs().sum():
                weight.normal_(0, 0.02)
    return transport.eval()


def of(recipe: str, data: Any, **options: Any) -> Transport:
    """An untrained tiny model of a recipe."""
    torch.manual_seed(0)
    if options:
        built = pf.recipes.named(recipe)(data.space, "tiny", **options)
    else:
        built = recipe_for(recipe, data)
    return built.method.transport()


def latent(flow: Flow) -> Latent:
    """The flow's images as codes of images of twice the side."""
    torch.manual_seed(0)
    image = pf.data.ImageSpace((1, 16, 16), (0.5,), (0.3,), (0.0,), (1.0,))
    encoder = networks.Compressor((1, 16, 16), outputs=2, factor=2, width=8)
    return Latent(
        flow,
        Autoencoder(encoder, networks.Expander((1, 16, 16), inputs=1, factor=2, width=8), image),
    )


def large() -> Any:
    """The digits' classes with images of 28 x 28, for which recipes choose convolutions."""
    digits = pf.data.load("digits")
    space = pf.data.ImageSpace(
        (1, 28, 28), (0.13,), (0.31,), (0.0,), (1.0,), digits.space.conditions
    )
    return dataclasses.replace(digits, space=space)


def models(smoke: bool) -> Iterator[tuple[str, Transport]]:
    """Every model by name."""
    digits = pf.data.load("digits")
    flow = of("flow", digits)
    if smoke:
        yield from (("flow", flow), ("gan", of("gan", digits)))
        return
    yield from ((name, of(name, digits)) for name in RECIPES if name != "autoencoder")
    inner = inner_of(flow)
    assert isinstance(inner, Flow)
    weaker = inner_of(of("ddpm", digits)).denoiser  # type: ignore[attr-defined]
    yield (
        "autoguided",
        Flow(pf.Autoguided(pf.Guided(inner.denoiser), weaker, 2.0, (0.1, 3.0)), "dpm", 4),
    )
    yield (
        "thresholded",
        Flow(pf.Thresholded(pf.Guided(inner.denoiser, 1.5, (0.2, 4.0)), 0.9), "dpm", 4),
    )
    yield "latent", latent(inner)
    yield "vqvae fsq", of("vqvae", digits, codebook="fsq")
    yield from ((f"{name} 28 x 28", of(name, large())) for name in ("flow", "gan", "vae"))
    yield "dit 28 x 28", of("flow", large(), network="dit")
    yield from (
        (f"{name} of points", of(name, pf.data.load("moons"))) for name in ("flow", "vae", "gan")
    )
    rows = pf.data.load(folder() / "tables" / "shoppers.csv")
    yield from ((f"{name} of rows", of(name, rows)) for name in ("flow", "gan", "vae"))
    codes = recipe_for("vae", rows).method.autoencoder()
    yield "latent of rows", in_latent("flow", rows, codes, "tiny").method.transport()


def made_of(name: str, transport: Transport, smoke: bool) -> Graph:
    """The graph of a model under every solver that it takes."""
    inner = inner_of(transport)
    steps = max(STEPS[:2] if smoke else STEPS)
    names = FIXED if has_steps(inner) and not inner.solver.jumps else ()
    learned = []
    if name == "flow" and isinstance(inner, Flow):  # one table of learned times
        learned = [
            Flow(inner.denoiser, "dpm", 4, [*inner.with_solver("dpm", 4, "time").times.tolist()])
        ]
    return graph(
        transport,
        names[:3] if smoke else names,
        steps if has_steps(inner) else None,
        learned=learned,
        name=name,
    )


def bytes_above(made: Graph) -> int:
    """The file's bytes without its tensors."""
    nodes = [*made.model.graph.node]
    for node in nodes:
        nodes += [inner for attribute in node.attribute for inner in attribute.g.node]
    tensors = [
        *made.model.graph.initializer,
        *(attribute.t for node in nodes for attribute in node.attribute),
    ]
    return made.model.ByteSize() - sum(len(tensor.raw_data) for tensor in tensors)


def rounding(made: Graph, opened: Any, at: Distance) -> float:
    """How far the sampler in float32 is from itself in float64, in standard deviations; NaN where
    it cannot be.
    """
    if at.solver:
        model = with_inner(made.transport, made.flows[at.solver][at.steps])
    else:
        model = made.transport
    feeds = feeds_of(
        opened, model, at.n, 0, True, list(made.flows).index(at.solver) if at.solver else 0
    )
    exact = {
        name: part.astype(np.float64) if part.dtype == np.float32 else part
        for name, part in feeds.items()
    }
    try:
        away = by_torch(model, feeds) - by_torch(copy.deepcopy(model).double(), exact)
    except RuntimeError:  # a network that computes in float32 alone
        return math.nan
    return float(
        (away.abs() / torch.from_numpy(model.space.scale).reshape(1, *model.space.shape)).max()
    )


def processor_seconds(work: Callable[[], Any], calls: int) -> float:
    """Of one call, the mean over several."""
    began = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - began) / calls


def ratio(made: Graph, batch: int, repeats: int) -> float:
    """Processor seconds in torch over those in onnxruntime, the median of turns."""
    opened = session(made.model.SerializeToString())
    solver = "dpm" if "dpm" in made.flows else next(iter(made.flows), "")
    steps = min(10, max(made.flows[solver])) if solver else 1
    model = with_inner(made.transport, made.flows[solver][steps]) if solver else made.transport
    feeds = feeds_of(
        opened, model, batch, 0, False, list(made.flows).index(solver) if solver else 0
    )
    plain = {name: part for name, part in feeds.items() if name != "scale"}
    ways = (lambda: by_torch(model, plain), lambda: opened.run(["x"], feeds))
    once = [processor_seconds(way, 2) for way in ways]
    counts = [max(1, round(TURN / max(each, 1e-5))) for each in once]
    turns = [
        [processor_seconds(way, count) for way, count in zip(ways, counts, strict=True)]
        for _ in range(repeats)
    ]
    return statistics.median(eager / exported for eager, exported in turns)


def measured(smoke: bool, repeats: int, names: list[str]) -> Iterator[dict[str, Any]]:
    """The row of each model, or of those of these names."""
    for name, transport in models(smoke):
        if names and name not in names:
            continue
        began = time.perf_counter()
        made = made_of(name, scattered(transport), smoke)
        opened = session(made.model.SerializeToString())
        away = list(
            distances(
                opened,
                made.transport,
                made.flows,
                STEPS[:2] if smoke else STEPS,
                BATCHES[:2] if smoke else BATCHES,
            )
        )
        worst = max(away, key=lambda each: each.worst)
        row = {
            "model": name,
            "distance": worst.worst,
            "cells": len(away),
            "where": f"{worst.solver} {worst.steps} x {worst.n}",
        }
        above = [
            vars(each) | {"rounding": rounding(made, opened, each)}
            for each in away
            if not each.worst <= BAR
        ]
        row |= {
            "above": above,
            "rounding": rounding(made, opened, worst),
            "rows": bool(made.transport.space.names),
        }
        row |= {"bytes": made.model.ByteSize(), "bytes_above": bytes_above(made)}
        row |= {f"ratio_{batch}": ratio(made, batch, repeats) for batch in (1, 64)}
        print(name, f"{worst.worst:.1e}", f"{time.perf_counter() - began:.0f} s", flush=True)
        yield row


def text_of(rows: list[dict[str, Any]]) -> str:
    """The table, and each bar with what was reached."""
    lines = [
        [
            row["model"],
            f"{row['distance']:.1e}",
            row["where"],
            f"{row['rounding']:.1e}",
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['bytes_above'] / 1e3:.0f}",
            f"{row['ratio_1']:.2f}",
            f"{row['ratio_64']:.2f}",
        ]
        for row in rows
    ]
    head = [
        "model",
        "difference",
        "at (solver, steps x batch)",
        "its rounding",
        "MB",
        "kB above weights",
        "ratio, batch 1",
        "batch 64",
    ]
    far = [
        f"{row['model']} ({len(row['above'])} of {row['cells']} cells)"
        for row in rows
        if not row["distance"] <= BAR
    ]
    wide = [row["model"] for row in rows if row["bytes_above"] > ROOM[row["rows"]]]
    slow = [row["model"] for row in rows if row["ratio_64"] < 0.97]
    first = statistics.median(row["ratio_1"] for row in rows)
    return (
        f"{table(head, lines)}\n\n- Difference at most {BAR:g}: "
        f"{'all' if not far else 'all but ' + ', '.join(far)}.\n"
        f"- Bytes: {'all' if not wide else 'all but ' + ', '.join(wide)}.\n"
        f"- Median ratio at batch 1: {first:.2f} (bar 2). Below .97 at batch 64: "
        f"{', '.join(slow) or 'none'}."
    )


@benchmark
def main(words: list[str]) -> None:
    """Measure, write the table and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="turns of a timing (default 5)")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        help="these alone; the others keep the rows that they have",
    )
    given = parsed(parser, words, repeats=1)
    torch.set_num_threads(1)
    rows = list(measured(given.smoke, given.repeats, given.models))
    if given.models:
        stored = json.loads((results() / "export.json").read_text())["rows"]
        rows += [row for row in stored if row["model"] not in given.models]
    write(
        "export",
        "Exported samplers",
        text_of(rows),
        rows,
        repeats=given.repeats,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
