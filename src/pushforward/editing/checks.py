"""Checks of models and data for editing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pushforward.conditions.kind import ConditionKind, mask_of
from pushforward.denoiser import trained
from pushforward.errors import UsageError
from pushforward.transports import ConditionLike, Flow, Transport, check_transport, has_steps, inner_of


def condition_of_data(flow: Flow, condition: ConditionLike) -> ConditionLike:
    """The condition for editing given data, as `Transport.sample` takes it.

    None is the unconditional model here: a label drawn by chance, as in sampling, would contradict the data.

    Raises:
        UsageError: For None where the model was trained with labels only, or for some of several conditions.
    """
    check_complete(flow.space.conditions, condition)
    if condition is not None or not flow.space.conditions:
        return condition
    inner = trained(flow.denoiser)
    if inner is not None and not inner.unconditional:
        raise UsageError(
            "This model was trained with labels or other conditions only (label_dropout=0): name the label of the data."
        )
    return {mask_of(name): torch.tensor(True) for name in flow.space.conditions}


def check_complete(kinds: Mapping[str, ConditionKind], condition: ConditionLike) -> None:
    """Refuse a condition that names only some of the model's conditions: the others would be drawn by chance.

    Raises:
        UsageError: Naming all of it.
    """
    named = condition if isinstance(condition, Mapping) else {}
    entries = {name: kind.entries or (name,) for name, kind in kinds.items()}
    whole = [name in named or mask_of(name) in named or set(entries[name]) <= set(named) for name in kinds]
    if named and not all(whole):
        words = ", ".join(entry for name in kinds for entry in entries[name])
        raise UsageError(f"What is not named would be drawn by chance and contradict the data: name all of {words}, or none.")


def iterative(transport: Transport) -> Flow:
    """The transport as a `Flow`.

    Raises:
        UsageError: If it is none.
    """
    check_transport(transport)
    if not has_steps(transport):
        raise UsageError(
            f"A {type(transport).__name__} is no iterative model: it has no inverse and no noise levels, so it cannot edit given "
            "data. Use a diffusion or flow model, interpolate between two seeds, or search for z: pushforward.editing.invert."
        )
    return transport


def checked_example(transport: Transport, x: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """One example in data units, checked and on the transport's device.

    Raises:
        UsageError: For another shape, numbers that are no floating-point ones or not finite, or beyond the data's range.
    """
    space, wanted = transport.space, shape or tuple(transport.space.shape)
    x = torch.as_tensor(x)
    if tuple(x.shape) != wanted or not x.is_floating_point():
        raise UsageError(
            f"Expected one example of floating-point numbers of shape {wanted}; got {x.dtype} of shape {tuple(x.shape)}."
        )
    if not bool(x.isfinite().all()):
        raise UsageError("The data to edit holds numbers that are not finite.")
    if space.low is not None and space.high is not None and (x.min() < min(space.low) - 1e-4 or x.max() > max(space.high) + 1e-4):
        raise UsageError(
            f"Data units run from {min(space.low):g} to {max(space.high):g} here; got values from {x.min():g} to {x.max():g}."
        )
    return x.to(transport.device)


def check_one_call(transport: Transport, what: str, advice: str) -> None:
    """Refuse an iterative model.

    Raises:
        UsageError: With the edit that this model does not support, and an alternative.
    """
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner):
        raise UsageError(f"{what} is for one-call models, such as GANs and VAEs; this one takes {inner.steps} steps. {advice}")
