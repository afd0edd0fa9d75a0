"""Where jumps to data start in training: at noise, and for a share of the examples on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.couplings import training_noise
from pushforward.denoiser import FlowMap
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.predictor import Condition, shaped


def check_unguided(flow_map: FlowMap) -> None:
    """Refuse a map that has learned guidance at a range of scales: its samples are compared with data, which has none.

    Raises:
        UsageError: With the alternative.
    """
    if flow_map.preconditioning.guidance is not None:
        raise UsageError(
            "This map has learned guidance at a range of scales, and guided samples differ from the data that they would be "
            "compared with. Sharpen a student that was distilled without guidance, or with one scale."
        )


def starts(flow_map: FlowMap, x: Tensor, draws: Draws, inside: float = 0.0) -> tuple[Tensor, Tensor]:
    """States and times from which a map jumps to data.

    Args:
        flow_map: The map, whose path they are on.
        x: Training examples in model units, (n, *shape).
        draws: Randomness for each.
        inside: The share of examples that start as data mixed with noise, at a uniform time of the path; the others start where
            sampling does, at noise alone (or at training examples of its source).

    Returns:
        (n, *shape) and (n,).
    """
    path, z = flow_map.path, training_noise(flow_map.source, x.shape[1:], draws)
    low, high = path.ends
    t = torch.full((len(x),), high, dtype=x.dtype, device=x.device)
    if not inside:
        return path.at(t).over(x).sigma * z, t
    chosen = draws.stream("inside").uniform().to(x) < inside
    t = torch.where(chosen, low + draws.stream("start").uniform().to(x) * (high - low), t)
    k = path.at(t).over(x)
    data = torch.where(shaped(chosen, x), x, torch.zeros_like(x))
    return k.alpha * data + k.sigma * z, t


def jump_to_data(flow_map: FlowMap, start: tuple[Tensor, Tensor], condition: Condition) -> Tensor:
    """The data that a map makes of states and times in one evaluation, (n, *shape)."""
    x, t = start
    return flow_map.jump(x, t, torch.zeros_like(t), condition)
