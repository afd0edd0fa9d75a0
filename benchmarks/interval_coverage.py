"""Do the 95 % intervals of scores hold the true value? Simulated repeats of whole evaluations, new
samples and real data in each.

    python benchmarks/interval_coverage.py [--repeats 200] [--n 200]
    python benchmarks/interval_coverage.py --metrics copying sinkhorn --cases "points, perfect"    #
    these alone

Rows that are not measured stay as results/ has them.

Each repeat draws n real and n generated examples (three times), scores them as an evaluation does,
and asks whether the stated interval holds the true value. True values are closed forms where there
are such, else the mean score over repeats that are not those judged: for a score whose mean depends
on n, that mean is what the interval is of.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import product
from typing import Any

from protocol import benchmark, parsed, results, table, write

import numpy as np
from interval_cases.clouds import Case, cases
from interval_cases.of_models import of_classes, of_density, true_bits
from interval_cases.tables import TABLES, of_table

from pushforward.evaluation.intervals import combined
from pushforward.metrics import MetricInfo, Samples, Score, describe
from pushforward.metrics.modes import Stacked
from pushforward.metrics.score import MODEL_SCORES, chosen, measured as scores_of

SAMPLINGS = 3
MODES = 27
READ = "modes that are read"
EVEN = "modes that are read, perfect"
TAUGHT = "classes that are taught"
DENSITY = "a density"
OF_MODELS = {TAUGHT: "cas", DENSITY: "bpd", READ: "stacked_kl", EVEN: "stacked_kl"}
"""Scores that ask a model or a reader, by case."""


class Reader:
    """Modes as they are written in the first column."""

    modes = MODES

    def read(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, 0].astype(np.int64)


def repeated(case: Case, n: int, repeat: int, metrics: list[str] | None) -> list[dict[str, Score]]:
    """The scores of each sampling of one repeat."""
    draw = np.random.Generator(np.random.Philox(key=[repeat, sum(map(ord, case.name))]))
    reference = case.real(n, draw)
    training = case.real(2 * n, np.random.Generator(np.random.Philox(1)))
    return [
        scores_of(case.samples(n, reference, training, draw), chosen(metrics))
        for _ in range(SAMPLINGS)
    ]


def wanted(case: Case, metrics: list[str] | None) -> list[str] | None:
    """The names of scores that are measured of a case, of those that were asked for; None
    for all.
    """
    if metrics is None:
        if case.scores is None:
            return None
        return list(case.scores)
    return [
        name
        for name in metrics
        if name not in OF_MODELS.values() and (case.scores is None or name in case.scores)
    ]


def table_scores(case: str, metrics: list[str] | None) -> list[str]:
    """The same of a table."""
    return [name for name in TABLES[case][2] if metrics is None or name in metrics]


def of_stacked(n: int, repeat: int, most: float) -> list[dict[str, Score]]:
    """The same for modes that a classifier reads, the most frequent of which is so many times as
    frequent as the least.
    """
    draw = np.random.Generator(np.random.Philox(key=[repeat, 7]))
    shares = np.linspace(1, most, MODES) / np.linspace(1, most, MODES).sum()
    rows = [draw.choice(MODES, (n, 1), p=shares).astype(np.float32) for _ in range(SAMPLINGS)]
    return [Stacked()(Samples(x, x, x, x, x, shape=(1,), truth=Reader())) for x in rows]


def known_scores() -> dict[str, MetricInfo]:
    """What is known of each score."""
    return {**describe(), **MODEL_SCORES}


def coverage(
    name: str, results: list[list[dict[str, Score]]], truths: dict[str, float], n: int
) -> list[dict[str, Any]]:
    """How often the interval of each score holds the true value, which comes from the other half of
    the repeats.
    """
    rows: list[dict[str, Any]] = []
    known = known_scores()
    for score in results[0][0]:
        values = np.array([[sampling[score].number for sampling in repeat] for repeat in results])
        half = len(values) // 2
        other = [
            truths.get(score, float((values[half:] if at < half else values[:half]).mean()))
            for at in range(len(values))
        ]
        for count in sorted({1, len(results[0])}):
            intervals = [
                combined([sampling[score] for sampling in repeat[:count]], n, None, known[score])
                for repeat in results
            ]
            stated = [
                (interval, true)
                for interval, true in zip(intervals, other, strict=True)
                if interval.interval
            ]
            spread = float(values[:, :count].mean(1).std(ddof=1))
            if len(stated) < len(intervals) / 2 or spread == 0:
                continue
            held = [
                interval.interval[0] <= true <= interval.interval[1] for interval, true in stated
            ]
            widths = [(interval.interval[1] - interval.interval[0]) / 2 for interval, _ in stated]
            row = {
                "case": name,
                "score": score,
                "samplings": count,
                "of": stated[0][0].interval_of,
                "held": float(np.mean(held)),
            }
            rows.append(
                row
                | {"true": float(np.mean(other)), "half": float(np.mean(widths)), "spread": spread}
            )
    return rows


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--metrics", nargs="*", help="measure these alone")
    parser.add_argument(
        "--cases", nargs="*", help="by these alone, such as 'points, perfect'; with --metrics"
    )
    given = parsed(parser, words, repeats=2, n=40)
    rows = []
    for cloud in cases()[:: 2 if given.smoke else 1]:
        wanted_scores = wanted(cloud, given.metrics)
        if wanted_scores == [] or (given.cases and cloud.name not in given.cases):
            continue
        results_of = [repeated(cloud, given.n, at, wanted_scores) for at in range(given.repeats)]
        rows += coverage(cloud.name, results_of, cloud.truths, given.n)
        print(cloud.name, flush=True)
    for case, (*_, truths) in TABLES.items():
        names = table_scores(case, given.metrics)
        if names and case in (given.cases or [case]):
            of_case = [of_table(given.n, at, case, names, SAMPLINGS) for at in range(given.repeats)]
            rows += coverage(case, of_case, truths, given.n)
            print(case, flush=True)
    further = (
        (READ, partial(of_stacked, most=2), {}),
        (EVEN, partial(of_stacked, most=1), {}),
        (TAUGHT, of_classes, {}),
    )
    for name, of_model, truths in (*further, (DENSITY, of_density, {"bpd": true_bits()})):
        if (given.metrics is None or OF_MODELS[name] in given.metrics) and name in (
            given.cases or [name]
        ):
            rows += coverage(
                name, [of_model(given.n, at) for at in range(given.repeats)], truths, given.n
            )
            print(name, flush=True)
    rows = [{**row, "repeats": given.repeats} for row in rows]
    report(rows if given.metrics is None else joined(rows), given)


def joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows, and of the results that there are those of other scores, which say at which
    commit they were measured.
    """
    path = results() / "interval_coverage.json"
    before = json.loads(path.read_text()) if path.exists() else {"rows": []}
    measured = {(row["case"], row["score"]) for row in rows}
    others = [row for row in before["rows"] if (row["case"], row["score"]) not in measured]
    rows = rows + [
        {"commit": before["commit"], "repeats": before["repeats"], **row} for row in others
    ]
    order = {
        name: at
        for at, name in enumerate(
            [*(case.name for case in cases()), *TABLES, READ, EVEN, TAUGHT, DENSITY]
        )
    }
    scores = {name: at for at, name in enumerate(known_scores())}
    return sorted(
        rows, key=lambda row: (order[row["case"]], scores[row["score"]], row["samplings"])
    )


def report(rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    known = known_scores()
    names = list(dict.fromkeys((row["case"], row["score"]) for row in rows))
    body = []
    for case, score in names:
        by_samplings = {
            row["samplings"]: row for row in rows if (row["case"], row["score"]) == (case, score)
        }
        cells = [
            f"{by_samplings[count]['held']:.1%}".replace("%", " %")
            if count in by_samplings
            else "–"
            for count in (1, SAMPLINGS)
        ]
        last = by_samplings[max(by_samplings)]
        width = f"{last['half'] / (1.96 * last['spread']):.2f}"
        of = "at any n" if known[score].unbiased else f"at n = {given.n}"
        body.append([case, score, of, f"{last['true']:.4g}", *cells, last["of"], width])
    head = [
        "case",
        "score",
        "true value",
        "",
        "held, 1 sampling",
        f"held, {SAMPLINGS} samplings",
        "interval over",
        "width over the right one",
    ]
    text = table(head, body)
    for count, perfect in product((1, SAMPLINGS), (False, True)):
        some = [
            row
            for row in rows
            if row["samplings"] == count and ("perfect" in row["case"]) == perfect
        ]
        within = [row for row in some if 0.9 <= row["held"] <= 0.99]
        text += (
            f"\n\n{count} sampling{'s' if count > 1 else ''}, models that are "
            f"{'' if perfect else 'not '}perfect: "
        )
        text += (
            f"{len(within)} of {len(some)} scores hold the true value in 90 to 99 % of the repeats"
        )
        off = [
            f"{row['score']} ({row['case']}, {row['held']:.1%})".replace("%)", " %)")
            for row in some
            if row not in within
        ]
        text += f"; not {', '.join(off)}." if off else "."
    text += (
        "\n\nReal data is drawn anew for each repeat, of tables (rows) with the training rows, "
        "which an interval of "
        "nearest_ratio takes as given. The width is that of the mean interval over 1.96 standard "
        "deviations of the score over "
        "repeats. Distances of a perfect model are at the end of their range, where their first "
        "order is 0. There each value is "
        "tested with the variance that it would have, and intervals reach farther up than down."
    )
    for repeats in sorted({row["repeats"] for row in rows}, reverse=True):
        some = dict.fromkeys(
            f"{row['score']} ({row['case']})" for row in rows if row["repeats"] == repeats
        )
        which = "" if all(row["repeats"] == repeats for row in rows) else f" ({len(some)} scores)"
        points = 100 * 1.96 * (0.95 * 0.05 / repeats) ** 0.5
        text += (
            f"\n\nWith {repeats} repeats{which} a share of 95 % is uncertain by {points:.0f} "
            "points."
        )
        text += (
            ""
            if repeats == max(row["repeats"] for row in rows)
            else f" So few have {', '.join(some)}."
        )
    for older in dict.fromkeys(row["commit"] for row in rows if "commit" in row):
        names = dict.fromkeys(
            f"{row['score']} ({row['case']})" for row in rows if row.get("commit") == older
        )
        text += f"\n\nMeasured before, at {older}: {', '.join(names)}."
    write(
        "interval_coverage",
        "Intervals of scores that hold the true value",
        text,
        rows,
        repeats=given.repeats,
        n=given.n,
    )


if __name__ == "__main__":
    main()
