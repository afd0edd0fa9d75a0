"""How an iterative model behaves: quality against network calls, and its trajectories, in a bounded time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pushforward.evaluation.combining import point_of, together
from pushforward.evaluation.measurements import CurvePoint
from pushforward.evaluation.results import REPEAT_SEEDS
from pushforward.evaluation.scoring import score
from pushforward.metrics import Score
from pushforward.numbers import counted
from pushforward.transports import Transport, has_steps, inner_of, with_inner

if TYPE_CHECKING:
    from pushforward.evaluation.judge import Judge


CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SECONDS = 40.0  # the most that one model's curve of quality against calls may take
CURVE_SCORES = ("energy", "frechet", "coverage", "detection")


def quality_curve(
    judge: Judge, transport: Transport, scores: Mapping[str, Score], counts: Sequence[int] | None = None, name: str = "a model"
) -> tuple[CurvePoint, ...]:
    """Distances and coverage against network calls, for as many steps as the time allows.

    The point of the model's own number of steps is what ``scores`` holds. It takes the place of one of the ``counts`` (None:
    `CURVE_STEPS`) within a factor of 1.5. The others are means over as many samplings, or over fewer, as the time allows: one
    value for each is stored. ``name`` is what progress calls the model.
    """
    flow = inner_of(transport)
    if not has_steps(flow) or flow.solver.adaptive:
        return ()
    # times given one by one are for their own number of steps
    grid = flow.grid if isinstance(flow.grid, str) else None
    points, started = [], time.perf_counter()
    own = flow.steps if flow.grid is grid else 0
    if own:
        points.append(point_of(own, transport.calls, {name: scores[name] for name in CURVE_SCORES if name in scores}))
    rest = [steps for steps in counts or CURVE_STEPS if not own / 1.5 < steps < own * 1.5]
    repeats = max((len(score.values) for score in scores.values()), default=1)
    for steps in rest:
        other = with_inner(transport, flow.with_solver(flow.solver, steps, grid))
        judge.say(f"{name} in {counted(steps, 'step')}")
        began = time.perf_counter()
        samplings = _samplings(judge, other, repeats, CURVE_SECONDS / len(rest))
        points.append(point_of(steps, other.calls, together(samplings, judge.n)))
        took = (time.perf_counter() - began) / len(samplings)
        if time.perf_counter() - started + 2 * took > CURVE_SECONDS:
            break
    return tuple(sorted(points, key=lambda point: point.steps or 0))


def _samplings(judge: Judge, transport: Transport, repeats: int, seconds: float) -> list[dict[str, Score]]:
    """The scores of as many samplings as the time allows, one at least."""
    samplings: list[dict[str, Score]] = []
    began = time.perf_counter()
    for repeat in range(1, repeats + 1):
        x, _, values = judge.draw(transport, repeat * REPEAT_SEEDS)
        samplings.append(score(x, judge.data, judge.features, n=judge.n, metrics=CURVE_SCORES, values=values))
        if (time.perf_counter() - began) * (repeat + 1) > seconds * repeat:
            break
    return samplings
