"""Continuous attributes as conditions: are a flow, a GAN and a VAE as right at a given value as
they are without any?

    python benchmarks/attributes.py [--models flow gan vae] [--data table digits] [--seconds 120]
    [--steps N] [--seeds 3]

Table: an age uniform in [-1, 1] and x = (2 age + e1, s + age + e2) with s = +-1 at random and e of
    standard deviation .3: a
mixture of two Gaussians whose means move with the attribute. At each of five ages the mean and the
standard deviation of n samples are compared with the truth. The bar is three standard errors of n
samples plus what a model of the same recipe and budget, trained on x alone, misses of the whole
mean and standard deviation.

Digits: the attribute is the total ink (the sum of all pixels). The ink of samples is compared with
    what was asked, values of
held-out digits; the bar is a correlation of .95.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

from protocol import benchmark, load, mean_and_spread, parsed, table, train, write

import numpy as np
import torch
from torch import Tensor

import pushforward as pf

AGES = (-0.8, -0.4, 0.0, 0.4, 0.8)
NOISE = 0.3
CORRELATION = 0.95
Row = dict[str, Any]


def truth(age: float | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x at an age, or over all ages."""
    if age is None:
        return torch.zeros(2), torch.tensor(
            [math.sqrt(4 / 3 + NOISE**2), math.sqrt(1 + 1 / 3 + NOISE**2)]
        )
    return torch.tensor([2 * age, age]), torch.tensor([NOISE, math.sqrt(1 + NOISE**2)])


def drawn(n: int, given: bool) -> Any:
    """The table with n examples, with its attribute or without."""
    rng = np.random.default_rng(0)
    age = rng.uniform(-1, 1, n)
    side = rng.choice([-1.0, 1.0], n)
    noise = NOISE * rng.normal(size=(n, 2))
    x = np.stack([2 * age, side + age], 1) + noise
    return pf.data.from_arrays(
        x.astype(np.float32), name="line", given={"age": age} if given else None
    )


def missed(x: Tensor, age: float | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What mean and standard deviation of samples miss, and the standard error of each, by column.

    The standard error of a standard deviation s is sqrt((m4 / s^2 - s^2) / 4n), with m4 the
    samples' fourth central moment.
    """
    mean, std = truth(age)
    own = x.std(0)
    n = len(x)
    fourth = (x - x.mean(0)).pow(4).mean(0)
    error = ((fourth / own.square() - own.square()) / (4 * n)).clamp(min=0).sqrt()
    return (x.mean(0) - mean).abs(), (own - std).abs(), own / math.sqrt(n), error


def budget(given: argparse.Namespace) -> dict[str, Any]:
    """The budget of a training, in steps where they are given, else in seconds."""
    if given.steps:
        return {"steps": given.steps}
    return {"seconds": given.seconds}


def on_table(name: str, seed: int, given: argparse.Namespace) -> Row:
    """Train a recipe with the attribute and without, and compare both with the truth."""
    runs = {}
    for attribute in (True, False):
        data = drawn(given.examples, attribute)
        runs[attribute] = train(
            lambda data=data: pf.recipes.named(name)(data.space), data, seed, **budget(given)
        )
    mean, std, *_ = missed(runs[False].transport.sample(given.n, seed=seed * given.n), None)
    worst = 0.0
    beyond = -math.inf
    for age in AGES:
        off_mean, off_std, error_mean, error_std = missed(
            runs[True].transport.sample(given.n, {"age": age}, seed=seed * given.n), age
        )
        excess = torch.cat([off_mean - 3 * error_mean - mean, off_std - 3 * error_std - std])
        worst = max(worst, float(torch.cat([off_mean, off_std]).max()))
        beyond = max(beyond, float(excess.max()))
    free = float(torch.cat([mean, std]).max())
    row = {"data": "table", "model": name, "seed": seed, "worst": worst, "unconditional": free}
    return {**row, "beyond": beyond, "passes": beyond <= 0}


def inked(data: Any) -> Any:
    """Images with their total ink as an attribute."""
    x = data.train.data_units()
    held = data.held_out.data_units()
    ink = {key: part.flatten(1).sum(1).numpy() for key, part in (("train", x), ("held", held))}
    return pf.data.from_arrays(
        x,
        held_out=held,
        name="inked",
        given={"ink": ink["train"]},
        held_out_given={"ink": ink["held"]},
    )


def on_digits(name: str, seed: int, given: argparse.Namespace) -> Row:
    """Train a recipe on digits given their ink, and correlate what was asked with what was made."""
    data = inked(load("digits", labelled=False))
    run = train(lambda: pf.recipes.named(name)(data.space), data, seed, **budget(given))
    ink_requested = torch.from_numpy(data.held_out.given["given"])[:, 0]
    ink_requested = ink_requested.repeat(-(-min(given.n, 1000) // len(ink_requested)))[
        : min(given.n, 1000)
    ]
    ink = (
        run.transport.sample(len(ink_requested), {"ink": ink_requested}, seed=seed * given.n)
        .flatten(1)
        .sum(1)
    )
    correlation = float(np.corrcoef(ink_requested, ink)[0, 1])
    passed = correlation >= CORRELATION
    return {
        "data": "digits",
        "model": name,
        "seed": seed,
        "correlation": correlation,
        "passes": passed,
    }


def report(rows: list[Row], given: argparse.Namespace) -> str:
    """One line for each recipe."""
    body = []
    for name in given.models:
        both = {
            data: [row for row in rows if (row["data"], row["model"]) == (data, name)]
            for data in ("table", "digits")
        }
        line = [
            mean_and_spread(values) if (values := [row[key] for row in both["table"]]) else ""
            for key in ("worst", "unconditional", "beyond")
        ]
        line.append(
            mean_and_spread(values)
            if (values := [row["correlation"] for row in both["digits"]])
            else ""
        )
        passed = [
            "/".join("yes" if row["passes"] else "no" for row in both[data])
            for data in ("table", "digits")
        ]
        body.append([name, *line, *passed])
    head = [
        "recipe",
        "largest error at an age",
        "the same without ages",
        "beyond the bar",
        "correlation of ink",
        "table passes",
        "digits pass",
    ]
    text = table(head, body)
    length = f"{given.steps:,} steps" if given.steps else f"{given.seconds:g} s"
    return (
        text
        + f"\n\n{length} of training each, {given.seeds} seeds, {given.n:,} samples at each of "
        f"{len(AGES)} ages."
    )


WORKS = {"table": on_table, "digits": on_digits}


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["flow", "gan", "vae"])
    parser.add_argument("--data", nargs="+", default=[*WORKS], choices=[*WORKS])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--steps", type=int, help="of each training, in place of seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=200_000, help="examples of the table")
    given = parsed(parser, words, models=["flow"], seconds=0.1, seeds=1, n=50, examples=200)
    rows = [
        WORKS[work](name, seed, given)
        for name in given.models
        for seed in range(given.seed, given.seed + given.seeds)
        for work in given.data
    ]
    write(
        "attributes",
        "Continuous attributes as conditions",
        report(rows, given),
        rows,
        **vars(given),
    )


if __name__ == "__main__":
    main()
