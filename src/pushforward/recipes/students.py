"""Maps between two times before their training: new ones, and students of a flow or of a table's denoiser."""

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
from pushforward.networks.blocks import TimeEmbedding
from pushforward.paths import Linear, Path
from pushforward.recipes.choice import flat
from pushforward.solvers.solver import grid_times


def student_of(
    teacher: Denoiser, unconditional: bool | None = None, guidance: Sequence[float] | None = None
) -> FlowMap:
    """Build a map between two times on the straight path, initialised as a denoiser on any path.

    Its network is the teacher's, with a second time. At a time of the straight path, it receives
    the input of the teacher's network at the same log-SNR: the input is scaled to the same size,
    and the new time embedding absorbs the difference of the two times. The student of a flow with a
    source starts from the same source.

    Args:
        teacher: Trained denoiser without guidance.
        unconditional: Whether the student has an unconditional branch; None for the teacher's.
        guidance: Range of guidance scales that the network receives as a third time, initially
            without effect.

    Raises:
        UsageError: If the network does not support a second time, or its input or output depends on
            its path.
    """
    path = teacher.path
    pre = teacher.preconditioning
    if not isinstance(path, Linear) and (
        teacher.output in ("velocity", "score") or not pre.scale_input
    ):
        raise UsageError(
            f"This model's network outputs the {teacher.output} of its own path ({type(path).__name__}). Distillation "
            "needs a network that predicts data, noise or v from an input of unit variance, or a network on the "
            "straight path."
        )
    network, straight = straightened(teacher, 2 if guidance is None else 3)
    pre = Preconditioning(pre.scale_input, "t", teacher.output, guidance)
    known = teacher.unconditional if unconditional is None else unconditional
    options: Any = {
        "preconditioning": pre,
        "unconditional": known,
        "sampling": MapSampling(jump_grid(teacher.space)),
    }
    return FlowMap(network, straight, "velocity", teacher.space, source=teacher.source, **options)


def straightened(teacher: Denoiser, times: int = 2) -> tuple[nn.Module, Path]:
    """A denoiser's network with further times, which are those of the straight path; and that path, between the same log-SNRs."""
    path = teacher.path
    if isinstance(path, Linear):
        return with_second_time(teacher.network, path.ends, teacher.time, times), path
    straight = teacher.on(Linear()).path

    def received(t: Tensor) -> Tensor:
        return teacher.time(path.time(straight.log_snr(t)).clamp(*path.ends))

    return with_second_time(teacher.network, straight.ends, received, times), straight


def jump_grid(space: Space) -> str:
    """Choose the grid of a teacher's trajectories and of its student's jumps.

    For larger images it is shifted towards noise, which halves the error of UniPC compared with
    equal times.
    """
    if flat(space):
        return "time"
    return "shifted:2"


def times_of_jumps(teacher: Denoiser, steps: int) -> str | list[float]:
    """Return the teacher's grid with the log-SNRs at which its student's jumps begin: a name, or falling times."""
    if isinstance(teacher.path, Linear):
        return jump_grid(teacher.space)
    straight = teacher.on(Linear()).path
    jumps = torch.from_numpy(grid_times(jump_grid(teacher.space), straight, steps)[:-1])
    return [*teacher.path.time(straight.log_snr(jumps)).clamp(*teacher.path.ends).tolist(), 0.0]


def copy_of(denoiser: Any) -> Any:
    """Copy a denoiser, or a map between two times, with trainable weights."""
    return deepcopy(denoiser).requires_grad_(True).train()


POINTS = 4096  # Times at which the two embeddings are compared
RIDGE = 1e-6  # The weight of the squared weights in the fit of an embedding, for each of its points


def with_second_time(
    network: nn.Module,
    ends: tuple[float, float],
    received: Callable[[Tensor], Tensor],
    times: int = 2,
) -> nn.Module:
    """Copy a network to one with two or more times, which initially depends only on the first.

    The time embedding of the copy has lower frequencies. Its two layers are fitted to the original
    embedding by two linear regressions, first the inner and then the outer layer; all other weights
    are copied.

    Args:
        network: Network with one time; its class must accept ``times``, like those of
            `pushforward.networks`.
        ends: Smallest and largest time that the copy receives.
        received: Function from times of the copy to times of the network, both (n,), float64, in
            case the scales differ.
        times: Number of times of the copy: 3 to include a guidance scale.

    Raises:
        UsageError: If the network's class does not accept ``times``, or the network does not have
            exactly one time.
    """
    described = spec.describe(network)
    if not _set_times(described, times):
        raise UsageError(
            f"{type(network).__name__} cannot become a map between two times: its class must accept times= (here 1). "
            "Networks of pushforward (MLP, UNet, DiT) do."
        )
    copy: nn.Module = spec.build(described).to(next(network.parameters()))
    target = copy.state_dict()
    source = network.state_dict()
    copy.load_state_dict(
        {
            name: source[name] if source[name].shape == part.shape else part
            for name, part in target.items()
        }
    )
    embeddings = {
        name: part for name, part in network.named_modules() if isinstance(part, TimeEmbedding)
    }
    points = torch.linspace(*ends, POINTS, dtype=torch.float64)
    for name, embedding in embeddings.items():
        fitted = copy.get_submodule(name)
        assert isinstance(fitted, TimeEmbedding)
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
    times, received = (
        part.to(fitted.inner.weight.device, torch.float64) for part in (times, received)
    )
    old = deepcopy(embedding).double()
    new = deepcopy(fitted).double()
    features = new.features(
        torch.stack([times, *[torch.zeros_like(times)] * (new.times - 1)], dim=1)
    )
    number = len(new.frequencies)
    first = torch.zeros(features.shape[1], dtype=torch.bool, device=features.device).view(
        2, new.times, number
    )
    first[:, 0] = True
    first = first.flatten()
    weight, bias = _regression(features[:, first], old.inner(old.features(received[:, None])))
    new.inner.weight.zero_()
    new.inner.weight[:, first] = weight
    new.inner.bias.copy_(bias)
    weight, bias = _regression(F.silu(new.inner(features)), old(received))
    new.outer.weight.copy_(weight)
    new.outer.bias.copy_(bias)
    fitted.load_state_dict(new.state_dict())


def _regression(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the linear layer that maps (n, a) to (n, b) with the least squared error and small weights."""
    mean = inputs.mean(0)
    center = outputs.mean(0)
    x = inputs - mean
    y = outputs - center
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y).T
    return weight, center - weight @ mean
