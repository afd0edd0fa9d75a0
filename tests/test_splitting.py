"""A batch in parts: statistics of the whole, gradients for one player at a time, dropout by blocks,
memory that falls.
"""

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
        self.first = nn.Sequential(
            nn.Linear(2, 3), nn.BatchNorm1d(3) if norm else nn.Identity(), nn.Linear(3, 2)
        )
        self.second = nn.Linear(2, 1)
        self.idle = nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.zeros(2))
        self.log = []

    @property
    def players(self):
        return {"first": self.first, "second": self.second}

    def losses(self, batch, now):
        draws = [torch.rand(1)]
        y = self.first(batch.x) * self.idle
        yield "first", self.second(y).square().mean()
        self.log.append(
            {name: [p.grad for p in part.parameters()] for name, part in self.players.items()}
        )
        total = yield Sums(len(batch.x), {"x": batch.x.sum(0)}, {"x": batch.x}, then=self._seen)
        draws.append(torch.rand(1))
        yield "second", self.second(y.detach()).square().mean()
        self.log.append((total, torch.cat(draws)))

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
            parameter.copy_(
                torch.linspace(-1, 1, parameter.numel()).view(parameter.shape) + 0.1 * number
            )
    return prepare(recipe, data, steps=9, out=tmp_path / str(parts))


def test_every_part_receives_the_sums_of_the_whole_batch(tmp_path):
    """And the buffers that follow them move once."""
    for parts in (1, 4):
        trainer = trainer_of(tmp_path, parts)
        x = trainer.sampler.batch(0).x
        trainer.train_step(trainer.next_batch())
        totals = [entry[0] for entry in trainer.method.log if isinstance(entry, tuple)]
        assert len(totals) == parts
        for total in totals:
            assert total.count == len(x)
            torch.testing.assert_close(total.values["x"], x.sum(0))
            assert torch.equal(total.examples["x"], x)
        torch.testing.assert_close(trainer.method.seen, x.mean(0))


def test_gradients_reach_the_player_whose_turn_it_is_and_nobody_else(tmp_path):
    trainer = trainer_of(tmp_path, 2)
    gradients = {}

    def gradients_of(name):
        gradients[name] = [
            None if p.grad is None else p.grad.clone() for p in trainer.method.parameters()
        ]
        return torch.zeros(())

    for name, player in trainer.state.optimizers.items():
        player.update = lambda *_, name=name: (gradients_of(name), torch.tensor(True))
    wanted = trainer.method
    reached = []
    for name, parameter in wanted.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: None if p.grad is None else reached.append(name.split(".")[0])
        )
    x = trainer.sampler.batch(0).x
    trainer.train_step(trainer.next_batch())
    assert sorted(reached) == 8 * ["first"] + 4 * ["second"], (
        "in each of two parts, and none is computed for others"
    )
    own = {name: {id(p) for p in part.parameters()} for name, part in wanted.players.items()}
    for name, values in gradients.items():
        parameters = list(wanted.parameters())
        y = wanted.first(x) * wanted.idle
        loss = wanted.second(y if name == "first" else y.detach()).square().mean()
        exact = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient, true in zip(parameters, values, exact, strict=True):
            if id(parameter) in own[name]:
                torch.testing.assert_close(gradient, true)
            elif name == "first":
                assert gradient is None
    assert wanted.idle.grad is None
    assert all(parameter.requires_grad for parameter in wanted.parameters())


def test_dropout_is_keyed_by_the_first_block_of_a_part(tmp_path):
    """The first part draws what a whole batch draws; each goes on from turn to turn where
    it was.
    """
    drawn = {}
    for parts in (1, 2, 4):
        trainer = trainer_of(tmp_path, parts)
        trainer.train_step(trainer.next_batch())
        drawn[parts] = [entry[1] for entry in trainer.method.log if isinstance(entry, tuple)]
    for parts, values in drawn.items():
        for number, numbers in enumerate(values):
            block = number * 4 // parts
            names = (0, "dropout", 0, block) if block else (0, "dropout", 0)
            random = torch.Generator().manual_seed(key(*names) >> 1)
            expected = torch.rand(2, generator=random)
            assert torch.equal(numbers, expected), (parts, number)


class Saved:
    """A tensor that a graph keeps; the bytes of all that are alive, weights apart, are counted."""

    alive: ClassVar[dict] = {}
    most = 0

    def __init__(self, tensor):
        self.tensor = tensor
        self.place = tensor.untyped_storage().data_ptr()
        count, size = self.alive.get(self.place, (0, tensor.untyped_storage().nbytes()))
        self.alive[self.place] = count + 1, size
        Saved.most = max(Saved.most, sum(size for _, size in self.alive.values()))

    def __del__(self):
        count, size = self.alive[self.place]
        self.alive[self.place] = count - 1, size
        if count == 1:
            del self.alive[self.place]


@pytest.mark.parametrize(
    ("name", "shape"), [("gan", (17,)), ("finish", (17,)), ("autoencoder", (1, 8, 8))]
)
def test_saved_activations_fall_with_the_number_of_parts(name, shape, tmp_path):
    data = space_data(shape, labels=True, n=300)
    most = {}
    for parts in (1, 4, 8):
        recipe = recipe_for(name, data, batch=8 * BLOCK, accumulate=parts, precision="float32")
        trainer = prepare(recipe, data, steps=9, out=tmp_path / str(parts))
        weights = {p.untyped_storage().data_ptr() for p in trainer.method.parameters()}
        Saved.alive = {}
        Saved.most = 0

        def pack(t, weights=weights):
            if t.untyped_storage().data_ptr() in weights:
                return t
            return Saved(t)

        with torch.autograd.graph.saved_tensors_hooks(
            pack, lambda held: held.tensor if isinstance(held, Saved) else held
        ):
            trainer.train_step(trainer.next_batch())
        most[parts] = Saved.most
    fixed = 3.5 * 2**20 if name == "autoencoder" else 0  # spectrally normalised weights
    for parts in (4, 8):
        assert most[parts] - fixed < 1.1 * (most[1] - fixed) / parts, most


def test_rows_may_have_any_seeds():
    seeds = [7, 3, 3, 2**40, 11]
    draws = ExampleDraws(seeds)
    numbers = draws.normal((2, 3))
    uniform = draws.uniform()
    other = draws.stream("other").normal((4,))
    for row, seed in enumerate(seeds):
        alone = ExampleDraws(seed, 1)
        expected = alone.normal((2, 3))[0]
        assert torch.equal(numbers[row], expected)
        assert torch.equal(uniform[row], alone.uniform()[0])
        expected = alone.stream("other").normal((4,))[0]
        assert torch.equal(other[row], expected)
    actual = ExampleDraws(np.arange(3, 6)).uniform()
    expected = ExampleDraws(3, 3).uniform()
    assert torch.equal(actual, expected)
    actual = ExampleDraws(7).uniform()
    expected = ExampleDraws([7]).uniform()
    assert torch.equal(actual, expected), "where no number is given, of a single sample"


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
