"""How much nearer to a model's own ODE do learned tables come than learned times, at equal calls?

    python benchmarks/learned_table.py [--runs RUN ...] [--calls 4 8] [--solvers unipc:2 dpm:2]
    [--count 10000]

RUN is a trained flow, ddpm or edm; without one a flow and a ddpm of digits are trained for
`--seconds` each. For each solver and number of calls, times are learned (`learn_grid`) and then a
table (`learn_table`), which starts from the best of them and of the named grids, and is kept where
it is nearer to the ODE and its samples are no farther from training examples than those of the
grids. On noise that neither has seen, for tables that are kept and for those that are not:

(1) the RMS distance of `--starts` samples to the same model's ODE in `--long` calls (unipc:2, equal
log-SNR), model units, and
    its standard error over starts. The bar is 25 % below the best grid, named or learned.
(2) the Fréchet distance of `--count` samples to the held-out examples, and that of the ODE in
`--reference` calls beside it.

Nothing is chosen on the noise of (1) and (2), nor on held-out examples.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from protocol import benchmark, load, parsed, table, train, write

import pushforward as pf
from pushforward import solvers
from pushforward.denoisers.denoiser import network_precision
from pushforward.evaluation.curves import training_distance
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.scores import score
from pushforward.solvers.solver import GRIDS
from pushforward.transports import Flow
from pushforward.transports.learned_steps import Pairs, along, learn_grid, learn_table

FAR = 9_000_000
"""The seed of the noise that distances are measured from."""
BAR = 0.25


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="*", default=[])
    parser.add_argument("--recipes", nargs="*", default=["flow", "ddpm"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--solvers", nargs="*", default=["unipc:2", "dpm:2"])
    parser.add_argument("--calls", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--examples", type=int, default=256, help="of noise to learn on")
    parser.add_argument("--rounds", type=int, default=200, help="of learning a table")
    parser.add_argument("--grid-rounds", type=int, default=40)
    parser.add_argument(
        "--teacher", type=int, default=100, help="calls of the samples to reproduce"
    )
    parser.add_argument("--starts", type=int, default=512)
    parser.add_argument("--long", type=int, default=1000)
    parser.add_argument("--reference", type=int, default=100)
    parser.add_argument(
        "--count", type=int, default=10_000, help="samples of a Fréchet distance; 0 leaves it out"
    )
    parser.add_argument("--precision", default="float32")
    small = {
        "seconds": 0.02,
        "examples": 2,
        "rounds": 2,
        "grid_rounds": 1,
        "teacher": 3,
        "starts": 2,
        "long": 6,
        "reference": 6,
    }
    given = parsed(parser, words, **small, calls=[2], solvers=["dpm:2"], count=20, recipes=["ddpm"])
    data = load(given.data)
    given.count = min(given.count, len(data.held_out))
    names = given.runs or given.recipes
    rows = []
    with network_precision(given.precision):
        for name in names:
            run = pf.load(name) if given.runs else trained(name, data, given.seconds)
            rows += measured(run, data, given)
    name = "learned_table" if given.data == "digits" else f"learned_table_{given.data}"
    write(name, f"Learned tables against learned times: {given.data}", report(rows, given), rows)


def trained(recipe: str, data: Any, seconds: float) -> pf.Run:
    return train(lambda: pf.recipes.named(recipe)(data.space), data, 0, seconds=seconds)


def measured(run: pf.Run, data: Any, given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for every solver and number of calls of a run."""
    exact = Flow(run.denoiser, solvers.UniPC(2), given.long, "log_snr")
    pairs = Pairs.of(exact, exact, given.starts, FAR)
    features = fit_features(data) if given.count else None

    def frechet(flow):
        return quality(flow, data, features, given.count) if given.count else None

    distance = training_distance(run.transport, data)
    model = {"recipe": run.spec["recipe"], "step": run.state["step"]}
    ode = frechet(Flow(run.denoiser, solvers.UniPC(2), given.reference, "log_snr"))
    rows = []
    for name in given.solvers:
        for calls in given.calls:
            flow = Flow(run.denoiser, solvers.named(name), calls)
            rows.append(
                {
                    **model,
                    "solver": name,
                    "calls": calls,
                    "frechet_ode": ode,
                    **compared(flow, pairs, frechet, distance, given),
                }
            )
            print(json.dumps(rows[-1], default=float), flush=True)
    return rows


def compared(
    flow: Flow, pairs: Pairs, frechet: Any, distance: Any, given: argparse.Namespace
) -> dict[str, Any]:
    """Distances and Fréchet distances of a solver on named times, on learned ones, and with a
    learned table, kept or not.
    """
    tables: list[Flow] = []

    def watched(tried: Flow) -> float:
        tables.extend([tried] if tried.learned else [])
        return float(distance(tried))

    teacher = flow.with_solver(flow.solver, given.teacher, "log_snr")
    began = time.perf_counter()
    grid = learn_grid(flow, n=given.examples, rounds=given.grid_rounds, teacher=teacher)
    between = time.perf_counter()
    learned = learn_table(
        flow, watched, grids=[grid.times], n=given.examples, rounds=given.rounds, teacher=teacher
    )
    ended = time.perf_counter()
    flows = {name: flow.with_solver(flow.solver, flow.steps, name) for name in GRIDS}
    flows["learned"] = flow.with_solver(flow.solver, flow.steps, grid.times)
    distances = {name: error(other, pairs) for name, other in flows.items()}
    best = min(distances, key=lambda name: distances[name][0])
    row = {
        "grids": distances,
        "best": best,
        "seconds_grid": between - began,
        "seconds_table": ended - between,
    }
    row |= {
        "certified": [learned.before, learned.after],
        "to_data": learned.to_data,
        "frechet_grid": frechet(flows[best]),
    }
    row["kept"] = learned.table is not None
    if not tables:
        return row | {"table": None}
    table = pf.spec.describe(tables[0].learned)
    return row | {
        "distance": error(tables[0], pairs),
        "frechet": frechet(tables[0]),
        "table": table,
    }


def error(flow: Flow, pairs: Pairs) -> tuple[float, float]:
    """The RMS distance to the pairs and its standard error over starts."""
    squares = pairs.distances(along(flow), 128).double()
    root = float(squares.mean().sqrt())
    return root, float(squares.std()) / len(squares) ** 0.5 / (2 * root)


def quality(flow: Flow, data: Any, features: Any, count: int) -> float:
    x = flow.sample(count, seed=1_000_000)
    return score(x, data, features, n=count, metrics=("frechet",))["frechet"].value


def report(rows: list[dict[str, Any]], given: argparse.Namespace) -> str:
    text = (
        f"{given.starts} starts, RMS distance to the model's own ODE in {given.long:,} calls "
        "(unipc:2), model units, "
    )
    text += (
        f"{given.precision}; tables learned on {given.examples} examples of noise in "
        f"{given.rounds} updates, times in "
    )
    text += f"{given.grid_rounds}, both from samples of {given.teacher} calls. "
    text += (
        '"To data" is the distance to training examples by which tables are kept: the least '
        "of a "
        "grid's, and the table's. "
    )
    text += (
        f"Fréchet distance of {given.count:,} samples to as many held-out examples.\n\n"
        if given.count
        else "\n\n"
    )
    head = [
        "model",
        "solver",
        "calls",
        "best named grid",
        "learned times",
        "learned table",
        "below the best grid",
    ]
    head += [
        "to data: grids",
        "table",
        "kept",
        "Fréchet: best grid",
        "table",
        "ODE",
        "seconds: times",
        "table",
    ]
    return (
        text + table(head, [line(row) for row in rows]) + f"\n\nBar: {BAR:.0%} below the best grid."
    )


def line(row: dict[str, Any]) -> list[str]:
    grids = row["grids"]
    named = min((name for name in GRIDS), key=lambda name: grids[name][0])

    def plain(pair):
        return f"{pair[0]:.4f} ± {pair[1]:.2g}"

    cells = [
        row["recipe"],
        row["solver"],
        str(row["calls"]),
        f"{plain(grids[named])} ({named})",
        plain(grids["learned"]),
    ]
    if row["table"] is None:
        cells += ["not nearer", "-", "-", "-", "no"]
    else:
        cells += [plain(row["distance"]), f"{1 - row['distance'][0] / grids[row['best']][0]:.0%}"]
        cells += [*(f"{far:.5f}" for far in row["to_data"]), "yes" if row["kept"] else "no"]
    scores = (
        "-" if score is None else f"{score:.5f}"
        for score in (row["frechet_grid"], row.get("frechet"), row["frechet_ode"])
    )
    return [*cells, *scores, f"{row['seconds_grid']:.0f}", f"{row['seconds_table']:.0f}"]


if __name__ == "__main__":
    main()
