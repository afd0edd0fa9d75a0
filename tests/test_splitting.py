"""A batch in parts: statistics of the whole, gradients for one player at a time, dropout by blocks,
memory that falls.
"""

import functools
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.draws import BLOCK, ExampleDraws, key
from pushforward.errors import UsageError
from pushforward.methods import Method, Sums
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare


class Two(Method):
    """Two players, a parameter that belongs to neither, and notes of what a step did."""

    def __init__(self, space, norm=False):
        super().__init__()
        self.space = space
        middle = nn.Identity()
        if norm:
            middle = nn.BatchNorm1d(3)
        self.first = nn.Sequential(nn.Linear(2, 3), middle, nn.Linear(3, 2))
        self.second = nn.Linear(2, 1)
        self.idle = nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.zeros(2))
        self.totals = []
        self.drawn = []

    @property
    def players(self):
        return {"first": self.first, "second": self.second}

    def losses(self, batch, now):
        before = torch.rand(1)
        y = self.first(batch.x) * self.idle
        yield "first", self.second(y).square().mean()
        sums = {"x": batch.x.sum(0)}
        total = yield Sums(len(batch.x), sums, {"x": batch.x}, then=self._seen)
        after = torch.rand(1)
        yield "second", self.second(y.detach()).square().mean()
        self.totals.append(total)
        self.drawn.append(torch.cat([before, after]))

    def _seen(self, total):
        self.seen += total.values["x"] / total.count

    def transport(self):
        return pf.Map(self.first, self.space, (2,))


def trainer_of(tmp_path, parts, **options):
    data = space_data((2,), labels=False, n=300)
    training = pf.Training(batch=4 * BLOCK, accumulate=parts, precision="float32")
    recipe = pf.Recipe(Two(data.space, **options), training)
    with torch.no_grad():
        for number, parameter in enumerate(recipe.method.parameters()):
            values = torch.linspace(-1, 1, parameter.numel()) + 0.1 * number
            parameter.copy_(values.view(parameter.shape))
    return prepare(recipe, data, steps=9, out=tmp_path / str(parts))


@pytest.mark.parametrize("parts", [1, 4])
def test_every_part_receives_the_sums_of_the_whole_batch(tmp_path, parts):
    """And the buffers that follow them move once."""
    trainer = trainer_of(tmp_path, parts)
    x = trainer.sampler.batch(0).x
    trainer.train_step(trainer.next_batch())
    totals = trainer.method.totals
    assert len(totals) == parts
    for total in totals:
        assert total.count == len(x)
        torch.testing.assert_close(total.values["x"], x.sum(0))
        assert torch.equal(total.examples["x"], x)
    torch.testing.assert_close(trainer.method.seen, x.mean(0))


def test_gradients_reach_the_player_whose_turn_it_is_and_nobody_else(tmp_path):
    trainer = trainer_of(tmp_path, 2)
    method = trainer.method
    gradients = {}

    def keep_gradients(player):
        kept = {}
        for name, parameter in method.named_parameters():
            kept[name] = None
            if parameter.grad is not None:
                kept[name] = parameter.grad.clone()
        gradients[player] = kept
        return torch.zeros(()), torch.tensor(True)

    for player, optimizer in trainer.state.optimizers.items():
        optimizer.update = lambda *_, player=player: keep_gradients(player)
    reached = []

    def keep_name(parameter, name):
        if parameter.grad is not None:
            reached.append(name.partition(".")[0])

    for name, parameter in method.named_parameters():
        parameter.register_post_accumulate_grad_hook(functools.partial(keep_name, name=name))
    x = trainer.sampler.batch(0).x
    trainer.train_step(trainer.next_batch())
    # in each of two parts, and none is computed for others
    assert sorted(reached) == 8 * ["first"] + 4 * ["second"]
    for player, values in gradients.items():
        y = method.first(x) * method.idle
        if player == "second":
            y = y.detach()
        loss = method.second(y).square().mean()
        exact = torch.autograd.grad(loss, list(method.parameters()), allow_unused=True)
        for (name, gradient), true in zip(values.items(), exact, strict=True):
            if name.startswith(player):
                torch.testing.assert_close(gradient, true)
            elif player == "first":
                assert gradient is None
    assert method.idle.grad is None
    assert all(parameter.requires_grad for parameter in method.parameters())


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_dropout_is_keyed_by_the_first_block_of_a_part(tmp_path, parts):
    """The first part draws what a whole batch draws; each goes on from turn to turn where
    it was.
    """
    trainer = trainer_of(tmp_path, parts)
    trainer.train_step(trainer.next_batch())
    blocks = range(0, 4, 4 // parts)
    for block, numbers in zip(blocks, trainer.method.drawn, strict=True):
        names = [0, "dropout", 0]
        if block:
            names.append(block)
        random = torch.Generator().manual_seed(key(*names) >> 1)
        expected = torch.rand(2, generator=random)
        assert torch.equal(numbers, expected), block


class Saved:
    """A tensor that a graph keeps; the bytes of all that are alive, weights apart, are counted."""

    alive: ClassVar[dict] = {}
    most = 0

    def __init__(self, tensor):
        self.tensor = tensor
        storage = tensor.untyped_storage()
        self.place = storage.data_ptr()
        count, size = self.alive.get(self.place, (0, storage.nbytes()))
        self.alive[self.place] = count + 1, size
        total = sum(size for _, size in self.alive.values())
        Saved.most = max(Saved.most, total)

    def __del__(self):
        count, size = self.alive[self.place]
        self.alive[self.place] = count - 1, size
        if count == 1:
            del self.alive[self.place]


def most_saved(trainer):
    """The most bytes that the graphs of a step keep."""
    weights = {weight.untyped_storage().data_ptr() for weight in trainer.method.parameters()}
    Saved.alive = {}
    Saved.most = 0

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() in weights:
            return tensor
        return Saved(tensor)

    def unpack(held):
        if isinstance(held, Saved):
            return held.tensor
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        trainer.train_step(trainer.next_batch())
    return Saved.most


@pytest.mark.parametrize(
    ("name", "shape"), [("gan", (17,)), ("finish", (17,)), ("autoencoder", (1, 8, 8))]
)
def test_saved_activations_fall_with_the_number_of_parts(name, shape, tmp_path):
    data = space_data(shape, labels=True, n=300)
    fixed = 0
    if name == "autoencoder":
        fixed = 3.5 * 2**20  # spectrally normalised weights
    most = {}
    for parts in (1, 4, 8):
        recipe = recipe_for(name, data, batch=8 * BLOCK, accumulate=parts, precision="float32")
        trainer = prepare(recipe, data, steps=9, out=tmp_path / str(parts))
        most[parts] = most_saved(trainer) - fixed
    for parts in (4, 8):
        assert most[parts] < 1.1 * most[1] / parts, most


def test_rows_may_have_any_seeds():
    seeds = [7, 3, 3, 2**40, 11]
    draws = ExampleDraws(seeds)
    numbers = draws.normal((2, 3))
    uniform = draws.uniform()
    other = draws.stream("other").normal((4,))
    for row, seed in enumerate(seeds):
        alone = ExampleDraws(seed, 1)
        assert torch.equal(alone.normal((2, 3))[0], numbers[row])
        assert torch.equal(alone.uniform()[0], uniform[row])
        assert torch.equal(alone.stream("other").normal((4,))[0], other[row])


def test_consecutive_seeds_are_those_of_a_first_one_and_a_number():
    consecutive = ExampleDraws(np.arange(3, 6)).uniform()
    assert torch.equal(consecutive, ExampleDraws(3, 3).uniform())
    single = ExampleDraws(7).uniform()
    assert torch.equal(single, ExampleDraws([7]).uniform())


def test_batch_normalisation_is_not_split(tmp_path):
    trainer = trainer_of(tmp_path, 1, norm=True)
    trainer.train_step(trainer.next_batch())
    with pytest.raises(UsageError, match=r"first\.1 \(BatchNorm1d\) normalises over the batch"):
        trainer_of(tmp_path, 2, norm=True)


def test_the_loss_of_a_generator_gives_its_critic_no_gradient():
    data = space_data((17,), labels=False)
    gan = recipe_for("gan", data).method
    real = data.space.to_model(data.train.data_units(slice(16)))
    fake = torch.randn(real.shape, requires_grad=True)
    gan.game.generator_loss(real, fake, None).backward()
    assert fake.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in gan.critic.parameters())
