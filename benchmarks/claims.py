"""Test common claims about generative models with the results of the benchmarks, and write
docs/claims.md.

    python benchmarks/claims.py                          # runs missing benchmarks; writes
    docs/claims.md and results/claims.* python benchmarks/claims.py --measure stability      #
    repeats one small measurement first python benchmarks/claims.py --smoke

Each verdict follows from a rule (claim_measurements/*rules.py) on figures from results/*.json. The
small measurements take seconds per training run, with three seeds. Missing benchmarks take as long
as the table in README.md says.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterable
from typing import Any

from protocol import RESULTS, benchmark, parsed, results, table, write

import torch
from claim_measurements.fifteen import CLAIMS
from claim_measurements.figures import Claim, Figure, Results

PAGE = RESULTS.parents[1] / "docs" / "claims.md"
MEASUREMENTS = (
    "jump",
    "gradients",
    "straightness",
    "calls",
    "stability",
    "labels",
    "regression",
    "game",
    "blur",
)
COMMANDS = {
    "ablation_ring": "ablation.py --data ring",
    "ring": "ring.py --data ring",
    "grid": "ring.py --data grid",
    "digits": "digits.py",
    "holes_mnist": "holes.py --seconds 240 --latent-seconds 120",
    "latent_mnist": "latent.py --data mnist --pixel-seconds 900 --coder-seconds 60 "
    "--latent-seconds 240",
    "latent_emoji_swap_1": "latent.py --swap 1",
    "mnist": "mnist.py",
    "mnist_calls_small": "mnist_calls.py --size small --blocks 2 --reference 64",
    "stacked_digits": "stacked.py --models gan flow ddpm --seconds 200",
    **{f"claim_{name}": f"claims.py --measure {name}" for name in MEASUREMENTS},
}
"""The command that writes each result."""
INTRODUCTION = """# Common claims, tested

This page tests fifteen common claims about generative models. Each verdict follows from a rule in
the code, applied to results in `benchmarks/results/`. A claim is not decided if its verdict depends
on a threshold that lies inside the interval of a value. Intervals are 95 % intervals: Student's t
over seeds, Wilson's for fractions, Newcombe's for differences between fractions. The data sets are
small images and points in a plane, so verdicts may not apply to large models. [The
results](../benchmarks/results/claims.md) give the rule, limits, date and command of each claim.
`python benchmarks/claims.py` runs missing benchmarks and writes both pages."""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--measure",
        nargs="*",
        default=[],
        choices=MEASUREMENTS,
        help="measurements to repeat first",
    )
    given = parsed(parser, words, measure=list(MEASUREMENTS))
    torch.set_num_threads(1)
    for name in given.measure:
        importlib.import_module(f"claim_measurements.{name}").measure(given.smoke)
    for name in sorted({source for claim in CLAIMS for source in claim.sources}):
        if not (RESULTS / f"{name}.json").exists() and not given.smoke:
            program, *options = COMMANDS[name].split()
            importlib.import_module(program.removesuffix(".py")).main(
                options
            ) if program != "claims.py" else _measured(name)
    known = stored(source for claim in CLAIMS for source in claim.sources)
    rows = judged(known)
    (results() / f"page-{PAGE.name}" if given.smoke else PAGE).write_text(page(rows))
    write("claims", "Common claims", details(rows), rows)


def _measured(name: str) -> None:
    importlib.import_module(f"claim_measurements.{name.removeprefix('claim_')}").measure()


def stored(names: Iterable[str]) -> dict[str, Any]:
    """Read the existing results with these names."""
    paths = {name: RESULTS / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def judged(known: Results) -> list[dict[str, Any]]:
    """Return a row for each claim, with figures, verdict, texts, commands, and when and where it
    was measured.
    """
    return [
        row_of(claim, known) if set(claim.sources) <= set(known) else blank(claim)
        for claim in CLAIMS
    ]


def blank(claim: Claim) -> dict[str, Any]:
    """Return the row of a claim whose results are incomplete."""
    words = dict.fromkeys(("shown", "floor", "limits"), "")
    return {
        "claim": claim.text,
        "verdict": "not measured",
        "rule": claim.condition,
        "figures": {},
        **words,
        "measured": "Results are missing; `python benchmarks/claims.py` runs the missing "
        "benchmarks.",
        "commands": commands(claim),
        "sources": {},
    }


def commands(claim: Claim) -> list[str]:
    """Return the commands that write the results of a claim."""
    return [f"python benchmarks/{COMMANDS[name]}" for name in claim.sources]


def row_of(claim: Claim, known: Results) -> dict[str, Any]:
    figures = claim.read(known)
    words = {
        **figures,
        **{
            f"{name}_most": Figure(each.high, each.high, each.high, 1)
            for name, each in figures.items()
        },
    }
    sources = {
        name: {key: known[name][key] for key in ("date", "commit", "machine")}
        for name in claim.sources
    }
    return {
        "claim": claim.text,
        "verdict": claim.rule(figures),
        "rule": claim.condition,
        "figures": {name: vars(each) for name, each in figures.items()},
        "shown": claim.shown.format(**words),
        "floor": claim.floor.format(**words),
        "measured": claim.measured.format(**words),
        "limits": claim.limits.format(**words),
        "commands": commands(claim),
        "sources": sources,
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """Write the table, with a row for each claim."""
    body = [
        [
            str(number),
            row["claim"].replace("|", "\\|"),
            f"**{row['verdict']}**",
            row["shown"],
            row["floor"],
        ]
        for number, row in enumerate(rows, start=1)
    ]
    return table(["", "claim", "verdict", "measured", "reference"], body)


def page(rows: list[dict[str, Any]]) -> str:
    """Write the text of docs/claims.md."""
    return f"{INTRODUCTION}\n\n{summary(rows)}\n"


def details(rows: list[dict[str, Any]]) -> str:
    """Write the table and, for each claim, the measurement, limits, rule and commands."""
    parts = [summary(rows)]
    for number, row in enumerate(rows, start=1):
        parts.append(f"## {number}. {row['claim']}")
        measured = f" Measured {when(row['sources'])}." if row["sources"] else ""
        parts.append(
            " ".join(
                part
                for part in (row["measured"], row["limits"], f"*{row['rule']}*{measured}")
                if part
            )
        )
        parts.append("\n".join(f"- `{command}`" for command in row["commands"]))
    return "\n\n".join(parts)


def when(sources: dict[str, Any]) -> str:
    """Write date, commit and processor of each result, without repetitions."""
    seen = dict.fromkeys(
        f"{each['date']} at {each['commit']} ({each['machine']['processor']})"
        for each in sources.values()
    )
    return ", ".join(seen)


if __name__ == "__main__":
    main()
