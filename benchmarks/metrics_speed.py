"""Seconds and memory of every metric: 10,000 MNIST samples, and the peak at 50,000.

    PUSHFORWARD_DATA=FOLDER python benchmarks/metrics_speed.py [--n 10000] [--many 50000] [--threads
    1]

Features and classes are computed first, and timed apart: an evaluation has those of real data in
    its cache. The samples are
training examples that the features were not fitted on, so the numbers are those of a perfect model.
Each metric runs once; seconds are of processor time, which other programs do not lengthen. Memory
is what it adds to the peak of the process, at so many samples and as many real examples (images
drawn again, with noise); a matrix of all their distances would have 8 n^2 bytes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from protocol import benchmark, load, parsed, table, write

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from pushforward.evaluation.features import Features, fit_features
from pushforward.metrics import Samples
from pushforward.registries import METRICS

SECONDS = 60
CHUNK_MB = 1024
"""The bars: of all metrics together, and what a metric may add to memory."""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument(
        "--many",
        type=int,
        default=50_000,
        help="samples at which memory is measured; 0 leaves it out",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--metrics", nargs="*", default=list(METRICS))
    given = parsed(parser, words, n=60, many=200, threads=1)
    data = load(given.data)
    torch.set_num_threads(given.threads)
    with threadpool_limits(given.threads):
        features = fit_features(data)
        began = time.process_time()
        few = of_data(data, features, given.n)
        took = time.process_time() - began
        seconds = {
            name: spent(name, few)[0] for name in given.metrics if METRICS[name]().applies(few)
        }
        many = again(data, features, given.many) if given.many else None
        added = {} if many is None else {name: spent(name, many) for name in seconds}
    report(seconds, added, took, given)


def of_data(data: Any, features: Features, n: int) -> Samples:
    """Training examples that the features do not know, against held-out ones."""
    rows = np.random.default_rng(0).permutation(features.halves.drawn)[:n]
    return samples(
        data,
        features,
        data.train.data_units(rows),
        data.held_out.data_units(slice(n)),
        data.held_out.labels[:n],
    )


def again(data: Any, features: Features, n: int) -> Samples:
    """Real examples drawn again with noise, as many as are asked for on either side."""
    numbers = np.random.default_rng(1)
    sides = []
    for split in (data.train, data.held_out):
        x = split.data_units(numbers.integers(len(split), size=n))
        sides.append(
            x.add_(
                0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(len(sides)))
            ).clamp_(0, 1)
        )
    return samples(data, features, *sides, np.arange(n) % len(data.space.classes))


def samples(
    data: Any,
    features: Features,
    generated: torch.Tensor,
    reference: torch.Tensor,
    labels: np.ndarray,
) -> Samples:
    return Samples(
        generated=generated.flatten(1).numpy(),
        reference=reference.flatten(1).numpy(),
        training=data.train.x.reshape(len(data.train), -1),
        generated_features=features(generated, len(generated)),
        reference_features=features(reference, len(reference)),
        shape=tuple(data.space.shape),
        scale=data.space.scale,
        generated_classes=features.classify(generated),
        reference_classes=labels,
        classes=len(data.space.classes),
    )


def spent(name: str, given: Samples) -> tuple[float, float]:
    """Seconds of processor time of a metric, and the megabytes by which it raises the peak of the
    process.
    """
    metric = METRICS[name]()
    before = peak_memory_after_reset()
    began = time.process_time()
    metric(given)
    took = time.process_time() - began
    added = (peak_memory() - before) / 2**20
    print(f"{name}: n = {len(given.generated):,}, {took:.2f} s, {added:.0f} MB", flush=True)
    return took, added


def peak_memory_after_reset() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def report(
    seconds: dict[str, float],
    added: dict[str, tuple[float, float]],
    took: float,
    given: argparse.Namespace,
) -> None:
    """The table, with the sum to which the bar applies."""
    head = ["metric", f"seconds, n = {given.n:,}", f"seconds, n = {given.many:,}", "added MB"]
    rows = []
    for name, value in seconds.items():
        longer, mb = added.get(name, (0.0, 0.0))
        rows.append({"metric": name, "seconds": value, "seconds_many": longer, "added_mb": mb})
    total = sum(seconds.values())
    whole = 8 * given.many**2 / 2**20
    most = max(row["added_mb"] for row in rows)
    body = [
        [
            row["metric"],
            f"{row['seconds']:.2f}",
            f"{row['seconds_many']:.1f}",
            f"{row['added_mb']:.0f}",
        ]
        for row in rows
    ]
    body.append(
        [
            "all",
            f"{total:.2f}",
            f"{sum(row['seconds_many'] for row in rows):.1f}",
            f"at most {most:.0f}",
        ]
    )
    fast, small = ("yes" if passes else "no" for passes in (total < SECONDS, most < CHUNK_MB))
    text = table(head, body)
    text += (
        f"\n\nProcessor time of {given.threads} thread(s). Features and classes of "
        f"{2 * given.n:,} "
        f"images took {took:.1f} s, "
    )
    text += (
        f"which is not counted. A matrix of {given.many:,} x {given.many:,} distances would "
        "have "
        f"{whole:,.0f} MB."
    )
    text += (
        f"\n\nBars: {SECONDS} s for all metrics ({fast}), {CHUNK_MB:,} MB added by each ({small})."
    )
    title = f"Seconds and memory of the metrics on {given.data}"
    write("metrics_speed", title, text, rows, n=given.n, many=given.many, threads=given.threads)


if __name__ == "__main__":
    main()
