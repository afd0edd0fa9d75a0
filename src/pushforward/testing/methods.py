"""The laws of methods: turns of a game, and the transport that the weights make."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.data import Batch, Dataset
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.methods.method import Method, Now, PrecomputesInputs
from pushforward.predictor import Condition
from pushforward.recipes.recipe import Recipe
from pushforward.testing.laws import law, rebuilt
from pushforward.testing.samples import space_data
from pushforward.training.preparing import fields_of
from pushforward.transports import Transport

BATCH = 16


def check_method(
    method: Method | Recipe | Callable[..., Method | Recipe], data: Dataset | None = None, *, size: int = BATCH
) -> None:
    """Check the laws of a method that need no training, in seconds.

    1. Players are named modules that share no parameter; frozen parts belong to none.
    2. ``turns`` yields the names of players with finite losses of no dimension, and each loss reaches its player's parameters.
    3. Losses are a function of batch, `Now` and weights: the same again is the same to the last bit.
    4. The description rebuilds the method with the same names and shapes of tensors.
    5. The result of `PrecomputesInputs.prepared` for an example depends on the example and its place alone.
    6. The transport's samples are finite, have the shape of the data and stay within its bounds; sample i comes from seed + i.

    Args:
        method: A method, a recipe, or a function that makes either from a `Space`.
        data: For the method; None makes labelled vectors of 17 columns.
        size: Examples of a batch; a multiple of the method's ``group``.

    Raises:
        Broken: If a law is broken; an `AssertionError` that names the law.
        TypeError: If it is no method.
    """
    data = data or space_data((17,), labels=True)
    thing = method if isinstance(method, (Method, Recipe)) else method(data.space)
    thing = thing.method if isinstance(thing, Recipe) else thing
    if not isinstance(thing, Method):
        raise TypeError(f"Expected a method, a recipe, or a function that makes one from a space, got {thing!r}.")
    _check_players(thing)
    if isinstance(thing, PrecomputesInputs):
        _check_prepared(thing, data, size)
    _check_turns(stirred(thing), data, size)
    with law(thing, "its description must rebuild it"):
        again, tensors = rebuilt(thing), thing.state_dict()
        assert {name: part.shape for name, part in again.state_dict().items()} == {n: t.shape for n, t in tensors.items()}
    _check_samples(thing, stirred(thing).transport(), data)


def _check_players(method: Method) -> None:
    with law(method, "it must have players, and parameters for each"):
        assert method.players
        assert all(list(player.parameters()) for player in method.players.values())
    owned = [id(p) for player in method.players.values() for p in player.parameters()]
    with law(method, "players must share no parameter"):
        assert len(owned) == len(set(owned))
    with law(method, "frozen parts must belong to no player"):
        assert not set(owned) & {id(p) for part in method.parts.values() for p in part.parameters()}


def _check_turns(method: Method, data: Dataset, size: int) -> None:
    batch = _batch(method, data, size)
    first, second = (_turns(copy.deepcopy(method), batch) for _ in range(2))
    with law(method, "losses must yield players' names, with finite losses of no dimension"):
        assert first
        for player, loss, _ in first:
            assert player in method.players, f'"{player}" is no player.'
            assert loss.shape == (), f"A loss has the shape {tuple(loss.shape)}."
            assert math.isfinite(float(loss))
    with law(method, "each loss must reach its player's parameters"):
        for player, _, slope in first:
            assert slope > 0, f'No gradient reaches "{player}".'
    with law(method, "losses must be a function of batch, now and weights alone"):
        assert [float(loss) for _, loss, _ in first] == [float(loss) for _, loss, _ in second]


def _batch(method: Method, data: Dataset, size: int) -> Batch:
    x, condition = _examples(data, slice(size))
    if not isinstance(method, PrecomputesInputs):
        return Batch(x, condition)
    fields = fields_of(method, x, condition)
    return Batch(fields.pop("x"), condition, fields)


def _examples(data: Dataset, index: slice) -> tuple[Tensor, Condition]:
    return data.space.to_model(data.train.data_units(index)), data.train.condition(data.space.conditions, index)


def _check_prepared(method: PrecomputesInputs, data: Dataset, size: int) -> None:
    whole = fields_of(method, *_examples(data, slice(size)))
    half = fields_of(method, *_examples(data, slice(size // 2, size)), size // 2)
    with law(method, "prepared inputs must depend on the example alone"):
        for name, value in half.items():
            torch.testing.assert_close(value, whole[name][size // 2 :], rtol=1e-4, atol=1e-4)


def _turns(method: Method, batch: Batch) -> list[tuple[str, Tensor, float]]:
    torch.manual_seed(0)  # dropout alone uses torch's generator
    turns = []
    for player, loss in method.turns(batch, Now(BlockDraws(0, 1, len(batch.x)), 0, 0.5, 1)):
        slope = 0.0
        if player in method.players and loss.dim() == 0:
            parameters = [p for p in method.players[player].parameters() if p.requires_grad]
            slopes = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            slope = sum(float(part.abs().sum()) for part in slopes if part is not None)
        turns.append((player, loss.detach(), slope))
    return turns


def _check_samples(method: Method, transport: Transport, data: Dataset) -> None:
    x, space = transport.sample(4, seed=7), data.space
    with law(method, "samples must be finite, of the shape of the data and within its bounds"):
        assert x.shape == (4, *space.shape)
        assert torch.isfinite(x).all()
        assert space.levels is None or (x.min() >= 0 and x.max() <= 1)
    with law(method, "sample i must come from seed + i alone"):
        check_seeds(transport)


def check_seeds(transport: Transport) -> None:
    """Examples of a batch are those of a smaller batch with later seeds, and differ among each other."""
    whole = moved(transport, 0, 8)
    scale = float(whole.std())
    apart = (whole[1:] - whole[:-1]).flatten(1).square().mean(1).sqrt()
    assert apart.min() > 1e-2 * scale, "Equal samples would agree whatever their seeds."
    for seed, n in ((4, 4), (2, 1)):
        torch.testing.assert_close(moved(transport, seed, n), whole[seed : seed + n], rtol=0, atol=1e-4 * scale)


def moved(transport: Transport, seed: int, n: int) -> Tensor:
    """The samples in model units: data units clamp images, where a model that is hardly trained saturates."""
    draws = ExampleDraws(seed, n)
    with torch.no_grad():
        return transport(draws.normal(transport.noise_shape), transport.conditions(n, None, seed), draws)


def stirred(method: Method) -> Method:
    """A copy whose zero-initialised layers have moved, so that samples depend on every part of it."""
    method, random = copy.deepcopy(method).eval(), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=random))
    return method
