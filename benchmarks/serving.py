"""What is gained by requests that share network calls, and does a server stay within its bounds?

Protocol, on untrained networks whose weights are scattered: the small U-Net of 28 x 28 images and
    the small MLP of 8 x 8 ones.

(a) Work. Requests of one sample with 4 to 50 steps, four solvers, two scales and ten labels, all
there at once: one by one, each by `Flow.sample` with a table that is ready, and by one engine.
Reported are samples per second of processor time, and the 95th percentile of the processor seconds
until requests of at most 6 steps are answered. Both ways take turns; one turn warms up. The bars
are ratios of 1.5 (U-Net) and 2.2 (MLP), and a tenth of the seconds.

(b) Bytes. Mixed requests over HTTP, alone and 16 at once: the share of requests whose PNGs are
equal byte by byte, and the greatest difference of a pixel. The bars are 99 % and one level.

(c) Memory. Resident memory over many requests, after a first tenth of them. The bar is a growth of
5 %.

(d) Flood. Requests at once for three times the rows that an engine holds. The bar: 200 or 429, and
nothing else.

    pip install 'pushforward[serve]'
    python benchmarks/serving.py [--requests 300] [--turns 3] [--bytes 500] [--memory 10000]
    [--smoke]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, table, write

import httpx
import numpy as np
import torch
from PIL import Image

import pushforward as pf
from pushforward import recipes
from pushforward.conditions import Label
from pushforward.denoisers import Guided
from pushforward.serving import Model, application, working
from pushforward.testing import stirred
from pushforward.training import Run
from pushforward.transports import Flow

SOLVERS = ("euler", "heun", "dpm", "ancestral")
SHORT = 6
AT_ONCE = 16
SIDES = {"U-Net": 28, "MLP": 8}
BARS = {"U-Net": 1.5, "MLP": 2.2}
IMAGES = "/v1/images/generations"


def run_of(name: str) -> Run:
    """An untrained flow of images of ten classes."""
    side = SIDES[name]
    label = Label(tuple("0123456789"), (0.1,) * 10)
    space = pf.data.ImageSpace((1, side, side), (0.3,), (0.38,), (0.0,), (1.0,), {"label": label})
    torch.manual_seed(0)
    method = stirred(recipes.named("flow")(space, "small").method)
    return Run(Path(name), {"recipe": "flow"}, method, {"step": 0}, "")


def bodies(count: int, seed: int) -> list[dict[str, Any]]:
    """Mixed requests of one sample."""
    chance = random.Random(seed)
    return [
        {
            "label": str(chance.randrange(10)),
            "seed": 1000 * seed + number,
            "steps": chance.randint(4, 50),
            "solver": chance.choice(SOLVERS),
            "scale": chance.choice((1.0, 2.0)),
        }
        for number in range(count)
    ]


def one_by_one(run: Run, asked: list[dict[str, Any]]) -> tuple[float, float]:
    """Samples per processor second, and the 95th percentile for short requests, each alone."""
    flows = []
    for body in asked:
        denoiser = run.denoiser if body["scale"] == 1 else Guided(run.denoiser, body["scale"])
        flows.append(Flow(denoiser, body["solver"], body["steps"]))
        _ = flows[-1].program  # compiled before the clock runs
    began = time.process_time()
    ends = []
    for flow, body in zip(flows, asked, strict=True):
        flow.sample(1, {"label": body["label"]}, seed=body["seed"])
        ends.append(time.process_time() - began)
    return len(asked) / ends[-1], _late(asked, ends)


def shared(run: Run, asked: list[dict[str, Any]]) -> tuple[float, float]:
    """The same by one engine."""
    model = Model(run)
    requests = [model.request(**body) for body in asked]
    for request in requests:
        model.engine.submit(request)
    ends: dict[int, float] = {}
    began = time.process_time()
    while len(ends) < len(requests):
        model.engine.tick()
        now = time.process_time() - began
        ends |= {
            number: now
            for number, request in enumerate(requests)
            if request.gone and number not in ends
        }
    return len(asked) / max(ends.values()), _late(
        asked, [ends[number] for number in range(len(asked))]
    )


def _late(asked: list[dict[str, Any]], ends: list[float]) -> float:
    short = [end for body, end in zip(asked, ends, strict=True) if body["steps"] <= SHORT]
    return float(np.percentile(short or ends, 95))


def work(run: Run, count: int, turns: int) -> dict[str, float]:
    """Medians over turns of (a)."""
    taken = []
    for turn in range(turns + 1):
        asked = bodies(count, turn)
        if turn % 2:
            pair = (one_by_one(run, asked), shared(run, asked))
        else:
            pair = (shared(run, asked), one_by_one(run, asked))[::-1]
        if turn or not turns:
            taken.append(pair)
    middle = lambda values: statistics.median(list(values))  # noqa: E731
    return {
        "alone": middle(alone[0] for alone, _ in taken),
        "shared": middle(mixed[0] for _, mixed in taken),
        "ratio": middle(mixed[0] / alone[0] for alone, mixed in taken),
        "late alone": middle(alone[1] for alone, _ in taken),
        "late shared": middle(mixed[1] for _, mixed in taken),
        "late ratio": middle(mixed[1] / alone[1] for alone, mixed in taken),
    }


@contextlib.asynccontextmanager
async def served(model: Model) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a network between."""
    transport = httpx.ASGITransport(application([model]))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", timeout=None
    ) as client:
        with working([model.engine]):
            yield client


async def ask(
    client: httpx.AsyncClient, asked: list[dict[str, Any]], at_once: int
) -> list[httpx.Response]:
    """The answers to requests, so many at once."""
    places = asyncio.Semaphore(at_once)

    async def one(body: dict[str, Any]) -> httpx.Response:
        async with places:
            words = {name: value for name, value in body.items() if name != "label"}
            return await client.post(IMAGES, json={"prompt": body["label"], **words})

    return await asyncio.gather(*map(one, asked))


async def equal_bytes(run: Run, count: int) -> tuple[float, int]:
    """The share of (b), and the greatest difference of a pixel in levels."""
    asked = bodies(count, 99)
    async with served(Model(run)) as client:
        alone = await ask(client, asked, 1)
        mixed = await ask(client, asked, AT_ONCE)

    def pixels(answer: httpx.Response) -> np.ndarray:
        return np.asarray(
            Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))
        ).astype(int)

    pairs = list(zip(alone, mixed, strict=True))
    equal = sum(a.json()["data"] == b.json()["data"] for a, b in pairs)
    return equal / count, max(int(np.abs(pixels(a) - pixels(b)).max()) for a, b in pairs)


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def growth(run: Run, count: int) -> float:
    """The relative growth of (c)."""
    asked = [{**body, "steps": 1 + body["seed"] % 6} for body in bodies(count, 7)]
    async with served(Model(run)) as client:
        tenth = max(1, count // 10)
        for start in range(0, tenth, 100):
            await ask(client, asked[start : min(tenth, start + 100)], AT_ONCE)
        before = resident()
        for start in range(tenth, count, 100):
            await ask(client, asked[start : start + 100], AT_ONCE)
        return resident() / before - 1


async def flood(run: Run) -> Counter[int]:
    """How often each status was answered in (d)."""
    asked = [{**body, "n": 8} for body in bodies(96, 3)]
    async with served(Model(run, queue=256)) as client:
        return Counter(answer.status_code for answer in await ask(client, asked, len(asked)))


@benchmark
def main(words: list[str]) -> None:
    """Measure, write results/serving.md and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--requests",
        type=int,
        default=300,
        help="of a turn of the MLP; the U-Net has a fifth (default 300)",
    )
    parser.add_argument("--turns", type=int, default=3, help="turns that count (default 3)")
    parser.add_argument(
        "--bytes", type=int, default=500, help="requests whose bytes are compared (default 500)"
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=10_000,
        help="requests over which memory is watched (default 10,000)",
    )
    given = parsed(parser, words, requests=5, turns=0, bytes=4, memory=20)
    torch.set_num_threads(1)
    runs = {name: run_of(name) for name in SIDES}
    counts = {"U-Net": max(2, given.requests // 5), "MLP": given.requests}
    measured = {name: work(run, counts[name], given.turns) for name, run in runs.items()}
    equal, levels = asyncio.run(equal_bytes(runs["MLP"], given.bytes))
    grown = asyncio.run(growth(runs["MLP"], given.memory))
    codes = asyncio.run(flood(runs["MLP"]))
    head = [
        "network",
        "samples/s alone",
        "shared",
        "ratio",
        "bar",
        "short, p95 s alone",
        "shared",
        "ratio",
        "bar",
    ]
    rows = [
        [
            name,
            f"{figures['alone']:.3g}",
            f"{figures['shared']:.3g}",
            f"{figures['ratio']:.2f}",
            f"{BARS[name]:g}",
            f"{figures['late alone']:.3g}",
            f"{figures['late shared']:.3g}",
            f"{figures['late ratio']:.3f}",
            "0.1",
        ]
        for name, figures in measured.items()
    ]
    others = [
        [
            "requests with equal bytes, alone and together",
            f"{equal:.1%} of {given.bytes:,}",
            "99 %",
        ],
        ["greatest difference of a pixel, levels", str(levels), "1"],
        [f"growth of memory over {given.memory:,} requests", f"{grown:+.1%}", "5 %"],
        [
            "answers to a flood",
            ", ".join(f"{n} x {code}" for code, n in sorted(codes.items())),
            "200 and 429 alone",
        ],
    ]
    text = f"{table(head, rows)}\n\n{table(['over HTTP, MLP', 'measured', 'bar'], others)}"
    values = [{"network": name, **figures} for name, figures in measured.items()]
    over_http = {
        "equal": equal,
        "levels": levels,
        "growth": grown,
        "flood": {str(code): n for code, n in codes.items()},
    }
    write(
        "serving", "Serving", text, [*values, over_http], requests=given.requests, turns=given.turns
    )


if __name__ == "__main__":
    main()
