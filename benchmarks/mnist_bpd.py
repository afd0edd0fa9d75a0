"""Bits per dimension of the 10,000 MNIST test digits under vdm, without labels.

    PUSHFORWARD_DATA=FOLDER python benchmarks/mnist_bpd.py [--run RUN] [--seconds 4200]

The variational bound on the 256 levels of each pixel, two estimates with other draws of noise and
noise levels; the standard error is over digits. RUN is `pushforward train vdm --data mnist
--condition none`; without it one is trained. Published values are exact likelihoods of dequantised
pixels, which bound the same number from above as well.
"""

from __future__ import annotations

import argparse

from protocol import benchmark, load, parsed, table, train, write

import pushforward as pf
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.evaluation.model_metrics import bits

PUBLISHED = "RealNVP 1.06, Glow 1.05, FFJORD .99, Residual Flow .970, RNODE .97"


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run")
    parser.add_argument("--seconds", type=float, default=4200)
    parser.add_argument("--times", type=int, default=16, help="network calls a digit")
    parser.add_argument("--n", type=int, default=10_000, help="test digits")
    given = parsed(parser, words, seconds=0.01, times=2, n=20)
    data = load("mnist", labelled=False)
    if given.run:
        run = pf.load(given.run)
    else:
        run = train(lambda: pf.recipes.vdm(data.space), data, 0, seconds=given.seconds)
    assert not run.space.classes, "the published numbers are those of models without labels"
    rows = []
    with network_precision(resolve_precision("auto", "cpu")):
        for seed in (0, 10_000_000):
            score = bits(run.transport, data, given.n, times=given.times, seed=seed)
            trained = {"steps": run.state["step"], "seconds": run.state["seconds"]}
            rows.append({"seed": seed, **score.to_plain(), **score.extra, **trained})
            print(rows[-1], flush=True)
    head = [
        "noise drawn from seed",
        "bits per dimension",
        "standard error",
        "nats a digit",
        "digits",
        "steps",
        "seconds of training",
    ]
    body = [
        [
            f"{r['seed']:,}",
            f"{r['value']:.4f}",
            f"{r['spread']:.4f}",
            f"{r['nats']:.1f}",
            f"{r['n']:,}",
            f"{r['steps']:,}",
            f"{r['seconds']:.0f}",
        ]
        for r in rows
    ]
    how = f"{rows[0]['how'].capitalize()}; network calls in bfloat16, as in training."
    text = table(head, body) + f"\n\n{how} Target: below 1.0. Published: {PUBLISHED}."
    write("mnist_bpd", "MNIST: bits per dimension", text, rows, samples=run.state["samples"])


if __name__ == "__main__":
    main()
