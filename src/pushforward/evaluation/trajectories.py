"""Trajectories of iterative models: straightness, energy, and losses by noise level.

Flows with different paths move differently through time even if their samples are the same. They
are compared on the straight path x_t = (1 - t) x + t z, to which any denoiser can be converted
(`pushforward.denoisers.Rescheduled`), in model units.

References:
    Liu et al., Flow Straight and Fast: Rectified Flow (2023), section 2.2, for the straightness S.
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal
    Transport (2024), for the path energy and the normalised path energy. Kingma and Gao,
    Understanding Diffusion Objectives (2023), for log-SNR as the axis on which losses of all paths
    compare.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition, Predictor, Rescheduled
from pushforward.denoisers.denoiser import condition_at
from pushforward.draws import ExampleDraws
from pushforward.evaluation.measurements import LevelError, Trajectory
from pushforward.metrics.subsets import blocks
from pushforward.paths import Linear, assign, target
from pushforward.solvers import DPM
from pushforward.transports import BATCH, Flow, Transport, has_levels

# Numbers of trajectories and steps, by whether samples are points
TRACED = {False: (256, 32), True: (1000, 64)}
TRACED_SECONDS = (
    4.0  # Approximate limit for the trajectories of a model, and for its losses by noise level
)
LEVELS = 13
FEW_COLUMNS = (
    16  # With more columns, the minimal transport cost cannot be estimated from so few examples
)
# The largest |log-SNR| at which losses are measured: beyond, x_t is noise or data to one part in a
# hundred
FURTHEST = 9.0


def trace(
    flow: Flow, n: int, seed: int = 0, steps: int = 64, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """Compute trajectories on the straight path from the noise of `Transport.sample`.

    The solver and time grid of the flow are not used. All models are solved with DPM-Solver++(2M)
    at equal steps in log-SNR, so that their trajectories are comparable.

    Args:
        steps: Number of steps, at least 1, with one network call each.
        condition: Tensors with n entries by name; None to draw labels as `Transport.sample` does.

    Returns:
        Times (steps + 1,), float64, in descending order from t_max to 0, and states (steps + 1, n,
        *shape) in model units, on the CPU.
    """
    given = flow.conditions(n, condition, seed)
    parts = []
    for part in blocks(n, BATCH):
        draws = ExampleDraws(seed + part.start, part.stop - part.start, device=flow.device)
        z = draws.normal(flow.noise_shape)
        times, states = trace_from(flow, z, steps, condition_at(given, part))
        parts.append(states)
    return times, torch.cat(parts, dim=1)


def trace_from(
    flow: Flow, z: Tensor, steps: int = 64, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """Compute the trajectories of `trace` from given noise (n, *shape) and conditions."""
    straight = Flow(Rescheduled(flow.denoiser, Linear()), DPM(order=2), steps, "log_snr")
    with torch.no_grad():
        x = z.to(flow.device) * float(straight.times[0])
        walked = (state for _, state in straight.walk(x, straight.times, condition))
        return torch.from_numpy(straight.times), torch.stack([x, *walked]).cpu()


def straightness(flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64) -> float:
    """Measure the deviation of a flow's trajectories from straight lines at constant speed.

        S = E int_0^1 |(z - x) - v(x_t, t)|^2 dt  /  E |z - x|^2

    along trajectories on the straight path, from z at t = 1 to x at t = 0. A flow with S = 0 needs
    one Euler step. Because int v dt = z - x, S is also the path energy divided by E |z - x|^2,
    minus 1.

    Args:
        steps: Number of solver steps. For Gaussian data, the error of S is below 0.004 with 64
            steps and below 0.03 with 24.

    Returns:
        Straightness, at least 0, independent of units.
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps))
    moved = torch.einsum("t,tnd->nd", shares, velocity)
    off = torch.einsum("t,tnd->", shares, (moved - velocity).square())
    return float(off / moved.square().sum())


def path_energy(
    flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64, condition: Condition = None
) -> float:
    """Compute the mean energy of trajectories, E int_0^1 |v(x_t, t)|^2 dt.

    The minimum is W2^2, the squared Wasserstein distance between noise and data (Benamou and
    Brenier). Only straight trajectories of an optimal plan reach it.

    Returns:
        Energy in squared model units, summed over the entries of an example.

    References:
        Tong et al. (2024), the path energy PE; Benamou and Brenier, A Computational Fluid Mechanics
        Solution to the Monge-Kantorovich Mass Transfer Problem (2000).
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps, condition))
    return float(torch.einsum("t,tnd->", shares, velocity.square()) / n)


def _velocities(times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    steps = states.flatten(2).double()
    velocity = (steps[1:] - steps[:-1]) / times.diff()[:, None, None]
    shares = -torch.cat([times.new_ones(1), times[1:]]).diff()
    return velocity, shares


def transport_cost(
    flow: Flow, data: Dataset, n: int = 1_000, seed: int = 0, steps: int = 64
) -> float:
    """Compute the normalised path energy: the excess of the path energy over its minimum.

        NPE = | E int_0^1 |v(x_t, t)|^2 dt - W2^2 | / W2^2

    W2^2 is the smallest mean squared distance between the n noise examples at which trajectories
    start and n held-out examples, by exact assignment; within classes for models with labels. W2^2
    is overestimated, and the NPE of a good flow underestimated, for few examples and many columns,
    so compare only at equal n and with few columns.

    Args:
        n: Number of examples per side, at most the number of held-out examples. The time of the
            assignment grows with n^3.

    Returns:
        Normalised path energy, at least 0, independent of units.

    References:
        Tong et al. (2024), the normalised path energy NPE.
    """
    x, condition = _held_out(flow.denoiser, data, n, flow.device)
    n = len(x)
    x = x.flatten(1).cpu()
    z = ExampleDraws(seed, n).normal(flow.noise_shape).flatten(1)
    if condition is None or "label" not in condition:
        label = torch.zeros(n)
    else:
        label = condition["label"].cpu()
    least = 0.0
    for value in torch.unique(label):  # type: ignore[no-untyped-call]
        there = x[label == value]
        here = z[label == value]
        least += float((there - here[assign(there, here)]).double().square().sum()) / n
    return abs(path_energy(flow, n, seed, steps, condition) - least) / least


def loss_by_level(
    denoiser: Predictor, data: Dataset, levels: int = 13, examples: int = 1_000
) -> tuple[LevelError, ...]:
    """Measure the error of a denoiser on held-out examples at several noise levels.

        error(l) = E |v_model(x_t, t) - (alpha z - sigma x) / r|^2 / d    at  log(alpha^2 / sigma^2)
        = l,  r^2 = alpha^2 + sigma^2

    v depends on the path only through the log-SNR, so errors of models with different paths are
    comparable. Part of the error is unavoidable, because x_t does not determine its noise and data.
    All models use the same examples and noise.

    Args:
        levels: Number of equally spaced log-SNRs from 9 to -9, at least 2; those outside of the
            denoiser's path are omitted.
        examples: Maximum number of held-out examples, at least 2.

    Returns:
        Mean squared errors per entry in squared model units, in descending order of log-SNR.
    """
    high, low = denoiser.path.log_snr_ends()
    device = torch.device("cpu")
    if isinstance(denoiser, nn.Module):
        device = next((tensor.device for tensor in denoiser.parameters()), device)
    x, condition = _held_out(denoiser, data, examples, device)
    losses = []
    for number, level in enumerate(np.linspace(FURTHEST, -FURTHEST, levels).tolist()):
        if not low - 1e-6 <= level <= high + 1e-6:
            continue
        z = ExampleDraws(0, len(x), f"loss at level {number}", device).normal(x.shape[1:])
        errors = []
        for part in blocks(len(x), BATCH):
            given = condition_at(condition, part)
            errors.append(_level_errors(denoiser, x[part], z[part], level, given))
        losses.append(LevelError(level, float(torch.cat(errors).mean())))
    return tuple(losses)


def _level_errors(
    denoiser: Predictor, x: Tensor, z: Tensor, log_snr: float, condition: Condition
) -> Tensor:
    path = denoiser.path
    levels = torch.full((len(x),), log_snr, dtype=torch.float64)
    t = path.time_within(levels).to(x)
    k = path.at(t).over(x)
    with torch.no_grad():
        estimate = denoiser.predict("v", k.state(x, z), t, condition)
    difference = (estimate - target("v", x, z, k)).double().flatten(1)
    return difference.square().mean(1).cpu()


def _held_out(
    denoiser: Predictor, data: Dataset, examples: int, device: torch.device
) -> tuple[Tensor, Condition]:
    index = permutation(len(data.held_out), 0)[:examples]
    x = denoiser.space.to_model(data.held_out.data_units(index).to(device))
    return x, data.held_out.condition(denoiser.space.conditions, index, device)


def trajectory_of(
    transport: Transport, data: Dataset, seed: int, seconds: float | None
) -> Trajectory | None:
    """Measure trajectories of an iterative model on the number of examples that the time allows.

    Args:
        seconds: Seconds per sample; None if unknown.

    Returns:
        Trajectory; None for one-call models, latent models and flows that do not start from noise.
    """
    if not has_levels(transport) or not seconds:
        return None
    most, steps = TRACED[transport.space.as_points]
    affordable = TRACED_SECONDS / (seconds / transport.calls * transport.denoiser.calls())
    n = max(16, min(most, round(affordable / steps)))
    space = transport.space
    # the least distance is found within classes
    comparable = set(space.conditions) <= {"label"}
    examples = max(16, min(1000, round(affordable / LEVELS)))
    levels = loss_by_level(transport.denoiser, data, LEVELS, examples)
    straight = straightness(transport, n, seed, steps)
    npe = None
    if comparable and space.as_points and space.size <= FEW_COLUMNS:
        npe = transport_cost(transport, data, n, seed, steps)
    return Trajectory(
        n=n,
        straightness=straight,
        npe=npe,
        loss_by_level=levels,
    )
