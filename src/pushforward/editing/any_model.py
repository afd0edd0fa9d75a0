"""Edits of given data with a model of any kind, by the means that its kind has.

An iterative model encodes data into noise. An autoencoder encodes it into a latent. For any other one-call model the z of the
nearest sample is searched for.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pushforward.conditions import Request
from pushforward.editing.checks import check_complete, condition_of_data
from pushforward.editing.interpolation import interpolate, interpolate_noise, walk
from pushforward.editing.inversion import Inversion, invert
from pushforward.editing.variation import Nearby, variation
from pushforward.errors import UsageError
from pushforward.transports import BATCH, Autoencoder, ConditionLike, Transport, has_steps, inner_of

Events = Callable[[str], None]
"""A function that is called with one line for each event of a long search."""


def _silent(line: str) -> None:
    return None


def between(
    transport: Transport,
    ends: tuple[Tensor, Tensor],
    frames: int,
    condition: ConditionLike = None,
    *,
    autoencoder: Autoencoder | None = None,
    interpolation: str = "spherical",
    batch: int = BATCH,
    events: Events = _silent,
) -> Tensor:
    """Data between two given examples.

    Args:
        transport: A model of any kind; an iterative one under a deterministic solver.
        ends: The first and the last example, data units, (*shape).
        frames: How many, both ends included; at least 2.
        condition: One label for all frames. None is the unconditional model, or for a one-call model the label that fits best.
        autoencoder: The model's encoder and decoder, where it has them.
        interpolation: "spherical" or "linear" (`pushforward.editing.interpolation`).
        batch: Examples computed at a time.
        events: Called with one line for each event of a search.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a stochastic solver, or a label where the autoencoder receives none.
    """
    a, b = ends
    if has_steps(inner_of(transport)):
        return interpolate(transport, a, b, frames, condition, interpolation=interpolation, batch=batch)
    if autoencoder is not None and (condition is not None or not autoencoder.space.conditions):
        if condition is not None and not autoencoder.space.conditions:
            raise UsageError("Between images this model goes through its latent, which receives no labels: leave `label` out.")
        check_complete(autoencoder.space.conditions, condition)
        given = None if condition is None else Request(autoencoder.space.conditions).values(1, condition, 0)
        return walk(autoencoder, a, b, frames, given, interpolation=interpolation)
    first, condition = _nearest(transport, a, condition, batch, events)
    last, condition = _nearest(transport, b, condition, batch, events)
    return interpolate_noise(transport, first.z[0], last.z[0], frames, condition, interpolation=interpolation, batch=batch)


def variations(
    transport: Transport,
    x: Tensor,
    strength: float,
    condition: ConditionLike = None,
    *,
    batch: int = BATCH,
    events: Events = _silent,
) -> tuple[Transport, ConditionLike]:
    """The sampler of variations of a given example, and the condition to sample it under.

    Args:
        transport: A model of any kind.
        x: The example, data units, (*shape).
        strength: In (0, 1]: small is nearly x, 1 a new sample.
        condition: One label; None is the unconditional model, or for a one-call model the label that fits best.
        batch: Examples computed at a time in a search.
        events: Called with one line for each event of a search.

    Raises:
        UsageError: As `pushforward.editing.variation` and `pushforward.editing.Nearby`.
    """
    if has_steps(inner_of(transport)):
        given = edited_condition(transport, condition)
        return variation(transport, x, strength, given), given
    Nearby(transport, x.new_zeros(transport.noise_shape), strength)  # refuses a wrong strength before the search
    nearest, condition = _nearest(transport, x, condition, batch, events)
    return Nearby(transport, nearest.z[0], strength), condition


def edited_condition(transport: Transport, condition: ConditionLike) -> ConditionLike:
    """The condition under which given data is edited: for an iterative model None is the unconditional model."""
    inner = inner_of(transport)
    return condition_of_data(inner, condition) if has_steps(inner) else condition


def _nearest(
    transport: Transport, x: Tensor, condition: ConditionLike, batch: int, events: Events
) -> tuple[Inversion, ConditionLike]:
    events("searching for the z of the nearest sample ...")
    nearest = invert(transport, x[None], condition, batch=batch)
    events(f"it differs from the image by {float(nearest.error[0]):.3f} (RMS, in standard deviations of the data)")
    if condition is None and nearest.condition is not None:
        condition = {name: value[0] for name, value in nearest.condition.items()}
        events(f"{_words(transport, nearest.condition)} fits best; choose another with `label` or `given`")
    return nearest, condition


def _words(transport: Transport, condition: dict[str, Tensor]) -> str:
    kinds = transport.space.conditions
    cells = [cell for name, values in condition.items() for cell in kinds[name].cells(values[:1])[0].items()]
    return ", ".join(f"{name} {value}" for name, value in cells)
