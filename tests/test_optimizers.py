"""Players: which optimiser moves which parameter, and that states survive a file."""

import pytest
import torch
from torch import nn

from pushforward.errors import CheckpointError, UsageError
from pushforward.recipes import Training
from pushforward.training.loop.optimizers import PlayerOptimizer


def network(layout=torch.channels_last):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 40, 3),
        nn.Conv2d(40, 48, 3),
        nn.Conv2d(48, 64, 3, groups=4),
        nn.Conv2d(64, 33, 1),
        nn.Conv2d(33, 2, 3),
    )
    return layers.to(memory_format=layout)


def give_gradients(module, seed):
    random = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        gradient = torch.randn(parameter.shape, generator=random)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)


def plain_rows(weight):
    """A kernel as a matrix: a row for each output."""
    return weight.reshape(len(weight), -1)


def channels_last_rows(weight):
    return plain_rows(weight.permute(0, 2, 3, 1))


def split_parameters(module):
    """The wide kernels, and all other parameters: those are narrow (3, 2), grouped or biases."""
    wide = [module[1].weight, module[3].weight]
    places = {id(weight) for weight in wide}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in places]
    return wide, rest


def assert_close(actual, expected):
    torch.testing.assert_close(actual.detach(), expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "row"),
    [(torch.channels_last, channels_last_rows), (torch.contiguous_format, plain_rows)],
)
def test_muon_moves_wide_kernels_as_matrices_and_adamw_the_rest(layout, row, monkeypatch):
    """Against the two optimisers applied by hand to copies laid out plainly."""
    monkeypatch.setattr("pushforward.training.loop.optimizers.has_bfloat16", lambda: True)
    module = network(layout)
    twin = network(torch.contiguous_format)
    settings = Training(lr=3e-3, optimizer="muon", clip=None, weight_decay=0.01)
    player = PlayerOptimizer(module, "one", settings)
    kernels, rest = split_parameters(twin)
    rows = [row, plain_rows]
    matrices = []
    for as_rows, kernel in zip(rows, kernels, strict=True):
        matrices.append(nn.Parameter(as_rows(kernel.detach()).clone()))
    muon = torch.optim.Muon(matrices, lr=1.5e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=1.5e-3, betas=(0.9, 0.99), weight_decay=0.01)
    for seed in range(3):
        give_gradients(module, seed)
        give_gradients(twin, seed)
        for as_rows, matrix, kernel in zip(rows, matrices, kernels, strict=True):
            matrix.grad = as_rows(kernel.grad).clone()
        player.update(0.5)
        muon.step()
        adamw.step()
    moved, others = split_parameters(module)
    for as_rows, matrix, kernel in zip(rows, matrices, moved, strict=True):
        assert_close(as_rows(kernel), matrix)
    for mine, theirs in zip(others, rest, strict=True):
        assert_close(mine, theirs)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_gradients_are_clipped_by_the_norm_of_all(share):
    """AdamW's first average is the gradient that it received, but for a factor."""
    module = nn.Linear(3, 2)
    give_gradients(module, 1)
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    settings = Training(optimizer="adamw", clip=share * float(norm), betas=(0.75, 0.99))
    player = PlayerOptimizer(module, "one", settings)
    player.update(1.0)
    state = player.state()
    for number, gradient in enumerate(gradients):
        expected = 0.25 * min(share, 1) * gradient
        torch.testing.assert_close(state[f"one/{number}/exp_avg"], expected)


def update(module, player, seed):
    give_gradients(module, seed)
    player.update(1.0)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_restored_player_goes_on_bit_for_bit(optimizer):
    settings = Training(lr=1e-2, optimizer=optimizer)
    whole = network()
    cut = network()
    first = PlayerOptimizer(whole, "one", settings)
    second = PlayerOptimizer(cut, "one", settings)
    for seed in range(2):
        update(whole, first, seed)
        update(cut, second, seed)
    held = {name: value.clone().contiguous() for name, value in second.state().items()}
    names = {tuple(name.split("/")[:2]) for name in held}
    assert names == {("one", str(number)) for number in range(10)}
    again = network()
    again.load_state_dict(cut.state_dict())
    third = PlayerOptimizer(again, "one", settings)
    third.restore({**held, "other/0/step": torch.zeros(())})
    restored = third.state()
    for name, value in held.items():
        assert torch.equal(restored[name], value), "of its own shape, before a step reads it"
    update(whole, first, 7)
    update(again, third, 7)
    for expected, actual in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(actual, expected)


def test_a_state_of_another_parameter_is_refused():
    module = network()
    player = PlayerOptimizer(module, "one", Training(lr=1e-2))
    update(module, player, 0)
    state = player.state()
    swapped = {**state, "one/0/exp_avg": torch.ones(3, 1, 7)}
    with pytest.raises(CheckpointError, match=r"one/0/exp_avg.*3, 1, 7"):
        player.restore(swapped)


def test_a_learning_rate_of_zero_is_refused():
    with pytest.raises(UsageError, match="`lr` must be positive"):
        Training(lr=0)


def test_a_parameter_without_a_gradient_stays():
    module = network()
    weight = module[1].weight
    before = weight.detach().clone()
    player = PlayerOptimizer(module, "one", Training(optimizer="muon"))
    give_gradients(module, 0)
    weight.grad = None
    player.update(1.0)
    assert torch.equal(weight, before)
