"""Players: which optimiser moves which parameter, and that states survive a file."""

import pytest
import torch
from torch import nn

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
        parameter.grad = torch.empty_like(parameter).copy_(
            torch.randn(parameter.shape, generator=random)
        )


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_muon_moves_wide_kernels_as_matrices_and_adamw_the_rest(layout, monkeypatch):
    """Against the two optimisers applied by hand to copies laid out plainly."""
    monkeypatch.setattr("pushforward.training.loop.optimizers.has_bfloat16", lambda: True)
    module = network(layout)
    twin = network(torch.contiguous_format)
    player = PlayerOptimizer(
        module, "one", Training(lr=3e-3, optimizer="muon", clip=None, weight_decay=0.01)
    )
    wide = [twin[1].weight, twin[3].weight]  # the others are narrow (3, 2) or grouped
    rows = [
        lambda w: (
            w.permute(0, 2, 3, 1).reshape(len(w), -1)
            if layout == torch.channels_last
            else w.reshape(len(w), -1)
        ),
        lambda w: w.reshape(len(w), -1),
    ]
    matrices = [nn.Parameter(row(w.detach()).clone()) for row, w in zip(rows, wide, strict=True)]
    rest = [p for p in twin.parameters() if not any(p is w for w in wide)]
    muon = torch.optim.Muon(matrices, lr=1.5e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=1.5e-3, betas=(0.9, 0.99), weight_decay=0.01)
    for seed in range(3):
        give_gradients(module, seed)
        give_gradients(twin, seed)
        for row, matrix, kernel in zip(rows, matrices, wide, strict=True):
            matrix.grad = row(kernel.grad).clone()
        player.update(0.5)
        muon.step()
        adamw.step()
    for row, matrix, at in zip(rows, matrices, (1, 3), strict=True):
        actual = row(module[at].weight.detach())
        torch.testing.assert_close(actual, matrix.detach(), rtol=1e-5, atol=1e-6)
    others = [
        p for p in module.parameters() if p is not module[1].weight and p is not module[3].weight
    ]
    for mine, theirs in zip(others, rest, strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_gradients_are_clipped_by_the_norm_of_all(share):
    """AdamW's first average is the gradient that it received, but for a factor."""
    module = nn.Linear(3, 2)
    give_gradients(module, 1)
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    player = PlayerOptimizer(
        module, "one", Training(optimizer="adamw", clip=share * float(norm), betas=(0.75, 0.99))
    )
    player.update(1.0)
    for number, gradient in enumerate(gradients):
        actual = player.state()[f"one/{number}/exp_avg"]
        expected = 0.25 * min(share, 1) * gradient
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_restored_player_goes_on_bit_for_bit(optimizer):
    settings = Training(lr=1e-2, optimizer=optimizer)
    whole = network()
    cut = network()
    first = PlayerOptimizer(whole, "one", settings)
    second = PlayerOptimizer(cut, "one", settings)
    for seed in range(2):
        for module, player in ((whole, first), (cut, second)):
            give_gradients(module, seed)
            player.update(1.0)
    held = {name: value.clone().contiguous() for name, value in second.state().items()}
    assert {name.split("/")[0] for name in held} == {"one"}
    assert {int(name.split("/")[1]) for name in held} == set(range(10))
    again = network()
    again.load_state_dict(cut.state_dict())
    third = PlayerOptimizer(again, "one", settings)
    third.restore({**held, "other/0/step": torch.zeros(())})
    restored = third.state()
    assert all(torch.equal(restored[name], value) for name, value in held.items()), (
        "of its own shape, before a step reads it"
    )
    for module, player in ((whole, first), (again, third)):
        give_gradients(module, 7)
        player.update(1.0)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True)
    )


def test_a_parameter_without_a_gradient_stays():
    module = network()
    before = module[1].weight.detach().clone()
    player = PlayerOptimizer(module, "one", Training(optimizer="muon"))
    give_gradients(module, 0)
    module[1].weight.grad = None
    player.update(1.0)
    assert torch.equal(module[1].weight, before)
