"""Initial students of a trained denoiser: maps between two times that start as their teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward import spec
from pushforward.data import Space
from pushforward.denoisers import Denoiser, FlowMap, MapSampling, Preconditioning
from pushforward.errors import UsageError
from pushforward.methods import LatentMethod, Method
from pushforward.networks.blocks import TimeEmbedding
from pushforward.paths import Linear, Path
from pushforward.recipes.defaults import flat
from pushforward.solvers.solver import grid_times
from pushforward.transports import Latent


def student_of(
    teacher: Denoiser, unconditional: bool | None = None, guidance: Sequence[float] | None = None
) -> FlowMap:
    """Build a map between two times on the straight path, initialised as a denoiser on any path.

    Its network is the teacher's with a second time. ``guidance`` is the range of guidance scales
    that it receives as a third time, initially without effect.

    Raises:
        UsageError: If the network does not support a second time, or its input or output depends on
            its path.
    """
    scale_input = teacher.preconditioning.scale_input
    fixed = teacher.output in ("velocity", "score") or not scale_input
    if fixed and not isinstance(teacher.path, Linear):
        raise UsageError(
            f"This model's network outputs the {teacher.output} of its own path "
            f"({type(teacher.path).__name__}). Distillation needs a network that predicts data, "
            "noise or v from an input of unit variance, or a network on the straight path."
        )
    if unconditional is None:
        unconditional = teacher.unconditional
    times = 2
    if guidance is not None:
        times = 3
    network, straight = straightened(teacher, times)
    return FlowMap(
        network,
        straight,
        "velocity",
        teacher.space,
        source=teacher.source,
        preconditioning=Preconditioning(scale_input, "t", teacher.output, guidance),
        unconditional=unconditional,
        sampling=MapSampling(jump_grid(teacher.space)),
    )


def straightened(teacher: Denoiser, times: int = 2) -> tuple[nn.Module, Path]:
    """Return the network with more times of the straight path, and that path."""
    path = teacher.path
    if isinstance(path, Linear):
        return with_second_time(teacher.network, path.ends, teacher.time, times), path
    straight = teacher.on(Linear()).path

    def received(t: Tensor) -> Tensor:
        return teacher.time(path.time_within(straight.log_snr(t)))

    return with_second_time(teacher.network, straight.ends, received, times), straight


def jump_grid(space: Space) -> str:
    """Choose the grid of trajectories and jumps; the shift for images halves the error of UniPC."""
    if flat(space):
        return "time"
    return "shifted:2"


def times_of_jumps(teacher: Denoiser, steps: int) -> str | list[float]:
    """Return the teacher's grid with the log-SNRs at which its student's jumps begin."""
    grid = jump_grid(teacher.space)
    path = teacher.path
    if isinstance(path, Linear):
        return grid
    straight = teacher.on(Linear()).path
    jumps = torch.from_numpy(grid_times(grid, straight, steps)[:-1])
    times = path.time_within(straight.log_snr(jumps))
    return [*times.tolist(), 0.0]


def copy_of(denoiser: Any) -> Any:
    """Copy a denoiser, or a map between two times, with trainable weights."""
    return deepcopy(denoiser).requires_grad_(True).train()


# Times at which the two embeddings are compared
POINTS = 4096
# Weight of the squared weights in the fit of an embedding, for each of its points
RIDGE = 1e-6


def with_second_time(
    network: nn.Module,
    ends: tuple[float, float],
    received: Callable[[Tensor], Tensor],
    times: int = 2,
) -> nn.Module:
    """Copy a network to one with two or more times, which initially depends only on the first.

    The two layers of the copy's time embedding are fitted to the original by linear regression.

    Args:
        network: Network with one time; its class must accept ``times``.
        ends: Smallest and largest time that the copy receives.
        received: Function from times of the copy to times of the network, both (n,), float64.
        times: Number of times of the copy: 3 to include a guidance scale.

    Raises:
        UsageError: If the network does not have exactly one time, or does not support more.
    """
    described = spec.describe(network)
    if not _set_times(described, times):
        raise UsageError(
            f"{type(network).__name__} cannot become a map between two times: its class must "
            "accept times= (here 1). Networks of pushforward (MLP, UNet, DiT) do."
        )
    copy = spec.build(described).to(next(network.parameters()))
    weights = copy.state_dict()
    for name, weight in network.state_dict().items():
        if name in weights and weights[name].shape == weight.shape:
            weights[name] = weight
    copy.load_state_dict(weights)
    points = torch.linspace(*ends, POINTS, dtype=torch.float64)
    for name, embedding in network.named_modules():
        if isinstance(embedding, TimeEmbedding):
            fitted = copy.get_submodule(name)
            _fit(fitted, embedding, points, received(points))
    return copy.train(network.training)


def _set_times(described: Any, times: int) -> bool:
    if not isinstance(described, dict):
        return False
    if described.get("times") == 1:
        described["times"] = times
        return True
    return any(_set_times(part, times) for part in described.values())


@torch.no_grad()
def _fit(fitted: TimeEmbedding, embedding: TimeEmbedding, times: Tensor, received: Tensor) -> None:
    device = fitted.inner.weight.device
    times = times.to(device, torch.float64)
    received = received.to(device, torch.float64)
    old = deepcopy(embedding).double()
    new = deepcopy(fitted).double()
    others = [torch.zeros_like(times)] * (new.times - 1)
    features = new.features(torch.stack([times, *others], dim=1))
    # sines and cosines of each time; only those of the first time get weights
    of_time = torch.zeros(2, new.times, len(new.frequencies), dtype=torch.bool, device=device)
    of_time[:, 0] = True
    first = of_time.flatten()
    weight, bias = _regression(features[:, first], old.inner(old.features(received[:, None])))
    new.inner.weight.zero_()
    new.inner.weight[:, first] = weight
    new.inner.bias.copy_(bias)
    weight, bias = _regression(F.silu(new.inner(features)), old(received))
    new.outer.weight.copy_(weight)
    new.outer.bias.copy_(bias)
    fitted.load_state_dict(new.state_dict())


def _regression(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    mean = inputs.mean(0)
    center = outputs.mean(0)
    x = inputs - mean
    y = outputs - center
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y).T
    return weight, center - weight @ mean


def in_latents(method: Method, teacher: Any) -> tuple[Method, str]:
    """Train a student in the latent space of its teacher, if any; also return its family."""
    if isinstance(teacher, Latent):
        return LatentMethod(method, teacher.autoencoder), "flow map in a latent space"
    return method, "flow map"
