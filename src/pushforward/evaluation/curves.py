"""How an iterative model behaves: quality against network calls, and its trajectories, in a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pushforward.data import Dataset
from pushforward.evaluation.combining import point_of, together
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.measurements import CurvePoint, LevelError, Trajectory
from pushforward.evaluation.results import REPEAT_SEEDS
from pushforward.evaluation.scoring import score
from pushforward.evaluation.trajectories import TRACED, loss_by_level, straightness, transport_cost
from pushforward.metrics import Score
from pushforward.numbers import counted
from pushforward.transports import Flow, Transport, has_levels, has_steps, inner_of, with_inner
from pushforward.transports.learned_steps import Pairs

if TYPE_CHECKING:
    from pushforward.evaluation.judge import Judge

__all__ = ["quality_curve", "training_distance", "trajectory_of"]

CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SECONDS = 40.0  # the most that one model's curve of quality against calls may take
CURVE_SCORES = ("energy", "frechet", "coverage", "detection")
TRACED_SECONDS = 4.0  # about the most that one model's trajectories, and as much again its losses by noise level, may take
LEVELS = 13
# The first seed of samples by which a sampler is chosen, above those of all others, and how many there are at most.
CHOOSING, CHOSEN_BY = 700_000_000, 2_000
FEW_COLUMNS = 16  # vectors of more columns have no transport cost: the least cost cannot be estimated from so few examples


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


def trajectory_of(transport: Transport, data: Dataset, seed: int, seconds: float | None) -> Trajectory | None:
    """How an iterative model moves, on as many examples as the time allows; ``seconds`` is that of one sample.

    None for one-call models, for flows from another source than noise, which have no noise levels, and for models in a
    latent space, which move codes.
    """
    if not has_levels(transport) or not seconds:
        return None
    most, steps = TRACED[transport.space.as_points]
    affordable = TRACED_SECONDS / (seconds / transport.calls * transport.denoiser.calls())
    n = max(16, min(most, round(affordable / steps)))
    comparable = set(transport.space.conditions) <= {"label"}  # the least distance is found within classes
    few = comparable and transport.space.as_points and transport.space.size <= FEW_COLUMNS
    levels = loss_by_level(transport.denoiser, data, LEVELS, max(16, min(1000, round(affordable / LEVELS))))
    return Trajectory(
        n=n,
        straightness=straightness(transport, n, seed, steps),
        npe=transport_cost(transport, data, n, seed, steps) if few else None,
        loss_by_level=tuple(LevelError(**level) for level in levels),
    )


def training_distance(transport: Transport, data: Dataset) -> Callable[[Flow], float]:
    """A measure by which samplers are chosen: how far a flow's samples lie from training examples, with the same starts for all.

    Of points and rows it is the energy distance. Of others it is the Fréchet distance in the features of the data, to training
    examples on which these were not fitted.

    Args:
        transport: The model's, which decodes the codes where its flow samples codes.
        data: What the model was trained on.
    """
    features, name = fit_features(data), "energy" if len(data.space.shape) == 1 else "frechet"
    known = replace(data, held_out=data.train if data.truth else data.train.take(features.halves.drawn))
    n = min(len(known.held_out) - 1, CHOSEN_BY)

    def distance(flow: Flow) -> float:
        x = transport.space.to_data(Pairs.of(flow, with_inner(transport, flow), n, CHOOSING).target).float().cpu()
        return score(x, known, features, n=n, metrics=(name,))[name].number

    return distance
