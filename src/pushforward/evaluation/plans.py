"""How much is measured: what fits in the time for which the models were trained, by a few measured seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pushforward.evaluation.evaluator import (
    TURN_SECONDS,
    TURNS,
    Judge,
    batch_of,
    most_at_once,
    seconds_per_sample,
)
from pushforward.evaluation.measurements import Plan
from pushforward.evaluation.results import REPEATS, Comparison
from pushforward.evaluation.scores import attacked, floors, usual_redraws
from pushforward.numbers import duration
from pushforward.runtime import launched
from pushforward.training import Run
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport, has_steps, inner_of

LEAST = 30.0  # Seconds that measuring may always take
SIZES = (10_000, 5_000, 2_000, 1_000, 500)
SWEEPS = (20.0, 10.0, 0.0)  # Seconds for the sweep of one model that are tried below the usual number
FEW_TURNS = 3
WARMING = 2  # Models are warmed up for as long as this many timed rounds take
MARGIN = 1.1  # For what is not estimated: pictures, reading and writing
REDRAW = 0.5  # Scoring a draw of real data over scoring a sampling, in seconds
FEWEST, PROBED = 50, 500  # Samples that are scored to see how long that takes: few as a warm-up, then more


@dataclass(frozen=True)
class Costs:
    """Measured seconds, from which it follows how long a plan takes.

    Args:
        sample: Seconds of a sample of each model, summed over the models.
        scoring: Seconds of scoring a sampling, divided by its samples.
        rows: Number of models, baselines included.
        turn: Seconds of a timed round of all models.
        memory: Seconds of measuring memory.
        sweeps: Number of models with a sweep over solver steps.
        spent: Seconds that every plan takes.
        redraws: Usual number of draws of real data for the real-data scores.
        known: Numbers of samples for which real-data scores are stored.
        drawn: Least number of samples in a sampling.
    """

    sample: float
    scoring: float
    rows: int = 2
    turn: float = 0.0
    memory: float = 0.0
    sweeps: int = 0
    spent: float = 0.0
    redraws: int = 20
    known: Collection[int] = ()
    drawn: int = 0

    def priced(self, plan: Plan) -> Plan:
        """Add the estimate to a plan, and fewer draws of real data where there are fewer samplings and they are not stored."""
        n, repeats, redraws = plan.n or 0, plan.repeats or 0, self.redraws
        if plan.turns and n not in self.known:
            redraws = min(redraws, math.ceil(redraws * repeats / REPEATS))
        scoring = n * self.scoring
        total = self.spent + repeats * (max(n, self.drawn) * self.sample + self.rows * scoring)
        total += (WARMING + (plan.turns or TURNS)) * self.turn + self.sweeps * plan.sweep
        if n not in self.known:
            total += redraws * REDRAW * scoring
        if plan.memory:
            total += self.memory
        return replace(plan, redraws=redraws, estimate=MARGIN * total)


def planned(costs: Costs, limit: float | None, sizes: Sequence[int], samplings: Sequence[int]) -> Plan:
    """Choose what is measured within a limit.

    Sweeps are shortened and left out first, then memory and timed rounds, then samplings, then samples.

    Args:
        costs: What everything takes.
        limit: Seconds; None measures everything.
        sizes: Numbers of samples on either side, falling; a single one is fixed.
        samplings: Numbers of samplings of each model, falling; a single one is fixed.

    Returns:
        The first plan within the limit, else the last one.
    """
    plans = [Plan(n=sizes[0], repeats=samplings[0], most=sizes[0], limit=limit)]
    plans += [replace(plans[0], sweep=seconds) for seconds in SWEEPS]
    plans.append(replace(plans[-1], memory=False))
    plans.append(replace(plans[-1], turns=FEW_TURNS))
    plans += [replace(plans[-1], repeats=fewer) for fewer in samplings[1:]]
    plans += [replace(plans[-1], n=fewer) for fewer in sizes[1:]]
    for plan in map(costs.priced, plans):
        if limit is None or (plan.estimate or 0.0) <= limit:
            break
    return plan


def follow_plan(
    judge: Judge,
    models: Sequence[Run | Transport],
    fixed: tuple[int | None, int | None],
    began: float,
    thorough: bool,
    sweeps: bool = False,
) -> None:
    """Plan what a judge measures, and tell it. Several processes measure everything.

    Args:
        judge: Holds the most samples and samplings.
        models: What is scored; none for given samples.
        fixed: Samples on either side and samplings of each model; None where they are free.
        began: When measuring began, by `time.perf_counter`; since then features were computed.
        thorough: Whether everything is measured.
        sweeps: Whether there is a sweep over solver steps.
    """
    if (thorough and judge.tell is None) or launched().count > 1:
        return
    features = time.perf_counter() - began
    n, repeats = fixed
    sizes = [judge.n, *(size for size in SIZES if size < judge.n and n is None)]
    samplings = [judge.repeats] if repeats else range(judge.repeats, 0, -1)
    trained = sum(model.state["seconds"] for model in models if isinstance(model, Run))
    limit = max(LEAST, trained)
    limit = max(limit, features + limit / 2)  # features of new data, which are computed once, leave half of it
    costs = costs_of(judge, models, sizes, began, sweeps)
    judge.follow(planned(costs, None if thorough else limit, sizes, samplings))
    if judge.tell is not None:
        judge.tell(f"measuring takes about {duration(judge.plan.estimate, 2)} in all: {judge.plan.words}")


def costs_of(judge: Judge, models: Sequence[Run | Transport], sizes: Sequence[int], began: float, sweeps: bool) -> Costs:
    """Measure how long samples and scores take; arguments as of `follow_plan`."""
    data = judge.data
    for n in (min(judge.n, FEWEST), min(judge.n, PROBED)):  # the first call imports libraries
        started = time.perf_counter()
        judge.score(data.train.data_units(np.arange(attacked(data, n)) % len(data.train)), n)
    scoring = (time.perf_counter() - started) / n
    transports = [transport_of(model) for model in models]
    most = most_at_once(data)
    samples = [seconds_per_sample(partial(batch_of, transport), most) for transport in transports]
    turn = sum(max(sample, min(most * sample, TURN_SECONDS)) for sample in samples)
    stored = partial(floors, data, judge.features, metrics=judge.metrics, only_stored=True)
    return Costs(
        sample=sum(samples),
        scoring=scoring,
        rows=max(1, len(models)) + (3 if data.space.names else 1),
        turn=turn,
        memory=2 * turn + len(models),
        sweeps=sum(has_steps(inner_of(transport)) for transport in transports) if sweeps else 0,
        spent=time.perf_counter() - began,
        redraws=usual_redraws(data),
        known=[size for size in sizes if stored(n=size)],
        drawn=attacked(data, 0),
    )


def took(judge: Judge, comparison: Comparison, began: float) -> Comparison:
    """Add to a comparison how long measuring took, and tell it."""
    seconds = time.perf_counter() - began
    if judge.tell is not None:
        judge.tell(f"measuring took {duration(seconds, 2)}")
    settings = comparison.settings
    return replace(comparison, settings=replace(settings, plan=replace(settings.plan, took=seconds)))
