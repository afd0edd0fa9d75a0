"""Choice of what is measured, within the time for which the models were trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from pushforward.evaluation.curves import SWEEPS
from pushforward.evaluation.evaluator import Evaluator, batch_of, most_at_once
from pushforward.evaluation.measurements import Plan
from pushforward.evaluation.results import Comparison
from pushforward.evaluation.scores import floors
from pushforward.evaluation.timing import TURN_SECONDS, TURNS, speed
from pushforward.numbers import duration
from pushforward.runtime import launched
from pushforward.training import Run
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport, has_steps, inner_of

LEAST = 30.0  # Seconds that measuring may always take
SIZES = (10_000, 5_000, 2_000, 1_000, 500)
# First reductions; then samplings are reduced, then samples
REDUCTIONS: Sequence[Mapping[str, Any]] = (
    {"sweep": 20.0},
    {"sweep": 10.0},
    {"sweep": 0.0},
    {"memory": False},
    {"turns": 3, "redraws": 5},
)
WARMING = 2  # Models are warmed up for as long as this many timed rounds take
MARGIN = 1.1  # For what is not estimated: pictures, reading and writing
REDRAW = 0.5  # Scoring a draw of real data takes this fraction of the time of scoring a sampling
# Samples whose scoring is timed: as a warm-up, then in earnest
FEWEST = 50
PROBED = 500


def planned(
    seconds: Callable[[Plan], float],
    limit: float,
    sizes: Sequence[int],
    samplings: Sequence[int],
) -> Plan:
    """Choose what to measure within a time limit in ``seconds``, the estimate of a plan.

    Sweeps, memory and timed rounds are reduced first, then samplings, then samples.
    """
    plan = Plan(n=sizes[0], repeats=samplings[0], limit=limit)
    reductions = list(REDUCTIONS)
    reductions += [{"repeats": count} for count in samplings[1:]]
    reductions += [{"n": n} for n in sizes[1:]]
    for reduction in reductions:
        if seconds(plan) <= limit:
            break
        reduced = replace(plan, **reduction)
        if seconds(reduced) < seconds(plan):
            plan = reduced
    return replace(plan, estimate=seconds(plan))


def follow_plan(
    judge: Evaluator,
    models: Sequence[Run | Transport],
    n: int | None,
    repeats: int | None,
    thorough: bool,
    curve: bool = False,
) -> None:
    """Plan what an evaluation measures, and print the plan. Several processes measure everything.

    ``n`` and ``repeats`` are None if they may be reduced, unless ``thorough``.
    """
    if launched().count > 1:
        return
    features = time.perf_counter() - judge.began
    sizes = [judge.n]
    if n is None:
        sizes += [size for size in SIZES if size < judge.n]
    samplings: Sequence[int] = [judge.repeats]
    if not repeats:
        samplings = range(judge.repeats, 0, -1)
    trained = sum(model.state["seconds"] for model in models if isinstance(model, Run))
    usual = max(LEAST, trained)
    limit = max(usual, features + usual / 2)  # new features, computed once, leave half of the time
    seconds = estimator(judge, models, curve)
    plan = planned(seconds, math.inf if thorough else limit, sizes, samplings)
    judge.follow(plan)
    if judge.tell is None:
        return
    expected = f"measuring takes about {duration(plan.estimate, 2)} in all"
    if limit > usual:
        expected += f", {duration(features, 2)} of it for new features"
    if not thorough and (plan.estimate or 0.0) > limit:
        expected += ", which is the minimum"
    judge.tell(f"{expected}: {plan.words}")


def estimator(
    judge: Evaluator, models: Sequence[Run | Transport], curve: bool
) -> Callable[[Plan], float]:
    """Time sampling and scoring, to build a function that estimates a plan's seconds."""
    data = judge.data
    for most in (FEWEST, PROBED):  # the first call imports libraries
        n = min(judge.n, most)
        started = time.perf_counter()
        needed = data.space.samples_needed(n, len(data.train))
        examples = np.arange(needed) % len(data.train)
        judge.score(data.train.data_units(examples), n)
    scoring = (time.perf_counter() - started) / n
    transports = [transport_of(model) for model in models]
    sweeps = sum(_sweeps(transport, curve, judge) for transport in transports)
    at_once = most_at_once(data)
    drawing = 0.0
    turn = 0.0
    for transport in transports:
        batch, single = speed(partial(batch_of, transport), min(judge.n, judge.batch))
        drawing += single
        turn += min(at_once * single, max(batch * single, TURN_SECONDS))
    rows = max(1, len(models)) + (3 if data.space.names else 1)  # with the baselines
    spent = time.perf_counter() - judge.began

    @cache
    def stored(n: int) -> bool:
        return bool(floors(data, judge.features, n=n, metrics=judge.metrics, only_stored=True))

    def seconds(plan: Plan) -> float:
        n = plan.n or 0
        sampling = data.space.samples_needed(n, len(data.train)) * drawing + rows * n * scoring
        total = spent + (plan.repeats or 0) * sampling
        total += (WARMING + (plan.turns or TURNS)) * turn
        total += plan.sweep * sweeps
        if plan.memory:
            total += 2 * turn + len(models)
        if not stored(n):
            total += (plan.redraws or data.space.redraws) * REDRAW * n * scoring
        return MARGIN * total

    return seconds


def _sweeps(transport: Transport, curve: bool, judge: Evaluator) -> int:
    flow = inner_of(transport)
    if not has_steps(flow):
        return 0
    ladder = 0
    if flow.solver.jumps and judge.metrics is None:
        ladder = SWEEPS
    return curve + ladder


def took(judge: Evaluator, comparison: Comparison) -> Comparison:
    """Add the duration of measuring to a comparison, and print it."""
    seconds = time.perf_counter() - judge.began
    if judge.tell is not None:
        judge.tell(f"measuring took {duration(seconds, 2)}")
    plan = replace(comparison.settings.plan, took=seconds)
    return replace(comparison, settings=replace(comparison.settings, plan=plan))
