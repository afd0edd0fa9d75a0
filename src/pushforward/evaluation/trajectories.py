"""How an iterative model moves: straight or bent, how far beyond the least, and how wrong at each noise level.

Flows of different paths move differently through time although they can end alike. They are compared on the straight path
x_t = (1 - t) x + t z, on which any denoiser can be read (`pushforward.denoisers.Repathed`). All is in model units, where the
data has standard deviation 1.

References:
    Liu et al., Flow Straight and Fast: Rectified Flow (2023), section 2.2, for the straightness S.
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport (2024), for the path
    energy and the normalised path energy.
    Kingma and Gao, Understanding Diffusion Objectives (2023), for log-SNR as the axis on which losses of all paths compare.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data import Dataset
from pushforward.data.core.keys import permutation
from pushforward.denoisers import Condition, Predictor, Repathed, condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.evaluation.measurements import LevelError, Trajectory
from pushforward.paths import Linear, assign, target
from pushforward.solvers import DPM
from pushforward.transports import BATCH, Flow, Transport, has_levels

# Examples and steps of the trajectories that are measured, by whether samples are points
TRACED = {False: (256, 32), True: (1000, 64)}
MOST_ASSIGNED = 2_000  # Examples that one exact assignment takes at most; its time grows with their third power
TRACED_SECONDS = 4.0  # about the most that one model's trajectories, and as much again its losses by noise level, may take
LEVELS = 13
FEW_COLUMNS = 16  # vectors of more columns have no transport cost: the least cost cannot be estimated from so few examples
FURTHEST = 9.0  # The largest |log-SNR| at which losses are measured: beyond, x_t is noise or data to one part in a hundred


def trace(flow: Flow, n: int, seed: int = 0, steps: int = 64, condition: Condition = None) -> tuple[Tensor, Tensor]:
    """The trajectories of a flow's ODE on the straight path, from the noise that `Transport.sample` draws.

    The flow's own solver and grid play no part: its denoiser is read on the straight path and solved by DPM-Solver++(2M) at
    equal steps in log-SNR, so that trajectories of all models are measured alike.

    Args:
        flow: What moves.
        n: How many trajectories, at least 1.
        seed: Example i starts from the noise of ``seed + i``.
        steps: How many steps, at least 1; one network call each.
        condition: A tensor of n examples by name; None draws labels as `Transport.sample` does.

    Returns:
        Times (steps + 1,), float64, falling from t_max to 0, and states (steps + 1, n, *shape), model units, on the CPU.

    Raises:
        UsageError: For a condition that cannot be.
    """
    given = flow.conditions(n, condition, seed)
    parts = []
    for start in range(0, n, BATCH):
        part = slice(start, min(start + BATCH, n))
        z = ExampleDraws(seed + start, part.stop - start, device=flow.device).normal(flow.noise_shape)
        times, states = trace_from(flow, z, steps, condition_at(given, part))
        parts.append(states)
    return times, torch.cat(parts, dim=1)


def trace_from(flow: Flow, z: Tensor, steps: int = 64, condition: Condition = None) -> tuple[Tensor, Tensor]:
    """The trajectories of `trace` from given noise (n, *shape), with the conditions of its examples."""
    straight = Flow(Repathed(flow.denoiser, Linear()), DPM(order=2), steps, "log_snr")
    with torch.no_grad():
        x = z.to(flow.device) * float(straight.times[0])
        walked = (state for _, state in straight.walk(x, straight.times, condition))
        return torch.from_numpy(straight.times), torch.stack([x, *walked]).cpu()


def straightness(flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64) -> float:
    """How far the trajectories of a flow are from straight lines at constant speed.

        S = E int_0^1 |(z - x) - v(x_t, t)|^2 dt  /  E |z - x|^2

    along the flow's own trajectories on the straight path, from z at t = 1 to x at t = 0. A flow with S = 0 needs one step
    of Euler. Since int v dt = z - x, S is also the path energy over E |z - x|^2, less 1.

    Args:
        flow: What moves.
        n: Trajectories, drawn from ``seed`` on.
        seed: The seed of the first one.
        steps: Steps of the solve. Within a step v is the step's displacement over its time, and from t_max to 1 that of the
            first step. For Gaussian data 64 steps give the value to within .004, 24 to within .03.

    Returns:
        A number from 0, the same for all units.

    References:
        Liu et al., Rectified Flow (2023), section 2.2, there without the denominator.
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps))
    moved = torch.einsum("t,tnd->nd", shares, velocity)
    off = torch.einsum("t,tnd->", shares, (moved - velocity).square())
    return float(off / moved.square().sum())


def path_energy(flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64, condition: Condition = None) -> float:
    """The mean energy of a flow's trajectories on the straight path, E int_0^1 |v(x_t, t)|^2 dt.

    No flow that moves the noise onto the data has less than W2^2, the squared Wasserstein distance between the two
    (Benamou and Brenier), and only straight trajectories of an optimal plan have as little.

    Args:
        flow: What moves.
        n: Trajectories, drawn from ``seed`` on.
        seed: The seed of the first one.
        steps: Steps of the solve, as in `straightness`.
        condition: As in `trace`.

    Returns:
        Squared model units, summed over an example's entries.

    References:
        Tong et al. (2024), the path energy PE; Benamou and Brenier, A Computational Fluid Mechanics Solution to the
        Monge-Kantorovich Mass Transfer Problem (2000).
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps, condition))
    return float(torch.einsum("t,tnd->", shares, velocity.square()) / n)


def _velocities(times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity of each step, (steps, n, d), float64, and the share of [0, 1] in which it is held, (steps,)."""
    steps = states.flatten(2).double()
    velocity = (steps[1:] - steps[:-1]) / times.diff()[:, None, None]
    shares = -torch.cat([times.new_ones(1), times[1:]]).diff()
    return velocity, shares


def transport_cost(flow: Flow, data: Dataset, n: int = 1_000, seed: int = 0, steps: int = 64) -> float:
    """The normalised path energy: how much more a flow moves than it has to.

        NPE = | E int_0^1 |v(x_t, t)|^2 dt - W2^2 | / W2^2

    W2^2 is the least mean squared distance between n examples of noise, those that the trajectories start from, and as many
    held-out examples, by exact assignment; within classes where the model is given labels, since no trajectory leaves its class.
    From finitely many examples W2^2 comes out too large, the more so the fewer they are and the more columns there are, and NPE
    of a good flow too small: compare values of equal n only, and of few columns only.

    Args:
        flow: What moves.
        data: Its held-out split is the target.
        n: Examples on either side, at most `MOST_ASSIGNED`; no more than the held-out split has are taken.
        seed: The seed of the first trajectory.
        steps: Steps of the solve, as in `straightness`.

    Returns:
        A number from 0, the same for all units.

    Raises:
        UsageError: For more examples than an exact assignment takes.

    References:
        Tong et al. (2024), the normalised path energy NPE.
    """
    if not 1 <= n <= MOST_ASSIGNED:
        raise UsageError(f"An exact assignment takes from 1 to {MOST_ASSIGNED:,} examples, got {n}; lower n.")
    x, condition = _held_out(flow.denoiser, data, n, flow.device)
    x, n = x.flatten(1).cpu(), len(x)
    z = ExampleDraws(seed, n).normal(flow.noise_shape).flatten(1)
    label = torch.zeros(n) if condition is None or "label" not in condition else condition["label"].cpu()
    least = 0.0
    for value in torch.unique(label):  # type: ignore[no-untyped-call]
        there, here = x[label == value], z[label == value]
        least += float((there - here[assign(there, here)]).double().square().sum()) / n
    return abs(path_energy(flow, n, seed, steps, condition) - least) / least


def loss_by_level(denoiser: Predictor, data: Dataset, levels: int = 13, examples: int = 1_000) -> list[dict[str, float]]:
    """The error of a denoiser on held-out examples at each of several noise levels.

        error(l) = E |v_model(x_t, t) - (alpha z - sigma x) / r|^2 / d    at  log(alpha^2 / sigma^2) = l,  r^2 = alpha^2 + sigma^2

    v is a mixture of noise and data of unit length and depends on the path only through the log-SNR, so errors of models on
    different paths compare. Part of the error no model can avoid: which noise and which data made x_t cannot be known. Examples
    and noise at a level are the same for every model.

    Args:
        denoiser: Read as v; a model of labels is given those of the data.
        data: Where held-out examples come from.
        levels: How many equally spaced log-SNRs from 9 to -9, at least 2; those that the denoiser's path does not reach are
            left out.
        examples: Held-out examples, at least 2; no more than there are are taken.

    Returns:
        By falling log-SNR, from data to noise: ``log_snr``; ``error``, the mean square of an entry's error, squared model
        units; ``spread``, its standard error over examples.

    References:
        Salimans and Ho, Progressive Distillation (2022), for v; Kingma and Gao (2023), section 3.
    """
    path, (high, low) = denoiser.path, denoiser.path.log_snr_ends()
    held = denoiser.parameters() if isinstance(denoiser, nn.Module) else iter(())
    device = next((tensor.device for tensor in held), torch.device("cpu"))
    x, condition = _held_out(denoiser, data, examples, device)
    losses = []
    for number, level in enumerate(np.linspace(FURTHEST, -FURTHEST, levels).tolist()):
        if not low - 1e-6 <= level <= high + 1e-6:
            continue
        z = ExampleDraws(0, len(x), f"loss at level {number}", device).normal(x.shape[1:])
        errors = []
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            t = path.time(torch.full((len(x[part]),), level, dtype=torch.float64)).clamp(*path.ends).to(x)
            k = path.at(t).over(x[part])
            with torch.no_grad():
                estimate = denoiser.predict("v", k.alpha * x[part] + k.sigma * z[part], t, condition_at(condition, part))
            errors.append((estimate - target("v", x[part], z[part], k)).double().flatten(1).square().mean(1).cpu())
        every = torch.cat(errors)
        losses.append({"log_snr": level, "error": float(every.mean()), "spread": float(every.std() / len(x) ** 0.5)})
    return losses


def _held_out(denoiser: Predictor, data: Dataset, examples: int, device: torch.device) -> tuple[Tensor, Condition]:
    """Some held-out examples in model units, the same for every model, and the conditions that the denoiser takes."""
    index = permutation(len(data.held_out), 0)[:examples]
    x = denoiser.space.to_model(data.held_out.data_units(index).to(device))
    return x, data.held_out.condition(denoiser.space.conditions, index, device)


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
