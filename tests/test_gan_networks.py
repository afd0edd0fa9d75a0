"""The networks of the adversarial family: critics that see groups, packs and bounded slopes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import pushforward as pf
from pushforward.cli import announcing
from pushforward.cli.announcing import critic_name
from pushforward.errors import UsageError
from pushforward.networks import (
    MLP,
    Critic,
    DCGANCritic,
    DCGANGenerator,
    FourierFeatures,
    Packed,
    ProjectionHead,
    Reshaped,
    SignCodes,
    Spectral,
    TextbookCritic,
    TextbookGenerator,
    parameter_count,
)
from pushforward.networks.minibatch_std import append_minibatch_std
from pushforward.recipes.choice import PAIRS
from pushforward.spec import build, describe
from pushforward.testing import class_labels, space_data
from pushforward.training.ema import Average

CLASSES = 3
SHAPES = [(1, 8, 8), (3, 13, 21), (1, 28, 28), (17,)]
Build = Callable[..., nn.Module]


def textbook(shape, **options):
    return TextbookCritic(shape, width=9, **options)


def dcgan(shape, **options):
    return DCGANCritic(shape, width=6, **options)


def unnormalised(shape, **options):
    return DCGANCritic(shape, width=6, normalise=False, **options)


def residual(shape, **options):
    return Critic(shape, width=8, blocks=1, **options)


CRITICS = (textbook, dcgan, unnormalised, residual)
CASES = [
    pytest.param(make, shape, id=f"{make.__name__}-{'x'.join(map(str, shape))}")
    for make in CRITICS
    for shape in SHAPES
    if len(shape) == 3 or make is textbook
]


def awaken(network: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move every parameter off its start, so that nothing is hidden behind a zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def labels(n: int) -> dict[str, Tensor]:
    return {"label": torch.arange(n) % CLASSES}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# The deviation of groups


@pytest.mark.parametrize(("n", "group"), [(8, 4), (10, 4), (3, 4), (7, 1), (6, 2)])
@pytest.mark.parametrize("sides", [(), (2, 3)])
def test_deviation_equals_a_loop(n, group, sides):
    h = torch.randn(n, 5, *sides, dtype=torch.float64) * torch.logspace(-5, 1, 5, dtype=torch.float64).view(
        5, *[1 for _ in sides]
    )
    result = append_minibatch_std(h, group)
    assert result.shape == (n, 6, *sides)
    assert torch.equal(result[:, :5], h)
    rows = h.numpy().reshape(n, -1)
    for start in range(0, n, group):
        s = rows[start : start + group].std(axis=0)
        smooth = np.mean(np.sqrt(s**2 + 1e-8) - 1e-4)
        for row in range(start, min(start + group, n)):
            channel = result[row, 5].numpy()
            np.testing.assert_allclose(channel, np.full(sides, smooth), rtol=1e-9, atol=1e-13)
            assert np.mean(s) - 1e-4 <= channel.min() <= channel.max() <= np.mean(s)


def test_deviation_of_known_groups():
    """Rows at +a and -a deviate by a; equal rows, and rows alone, by exactly nothing."""
    h = torch.tensor([3.0, 1.0, 7.0, 7.0, 5.0])[:, None].expand(5, 4) * torch.tensor([1.0, -1.0, 1.0, -1.0])
    torch.testing.assert_close(append_minibatch_std(h, 2)[:, 4], torch.tensor([1.0, 1, 0, 0, 0]), rtol=0, atol=2e-4)
    assert torch.equal(append_minibatch_std(h, 2)[2:, 4], torch.zeros(3))
    assert torch.equal(append_minibatch_std(h, 1)[:, 4], torch.zeros(5))
    assert append_minibatch_std(h[:0], 2).shape == (0, 5)
    h = torch.tensor([64, 64.5, 64, 65])[:, None].expand(4, 3)  # exact in bfloat16, their mean is not
    low = append_minibatch_std(h.bfloat16(), 4)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), append_minibatch_std(h, 4), rtol=0.005, atol=0)


def test_deviation_has_derivatives_at_zero():
    h = torch.full((5, 2), 0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: append_minibatch_std(h, 4), h, eps=1e-8, atol=1e-4)
    (slope,) = torch.autograd.grad(append_minibatch_std(h, 4)[:, 2].square().sum(), h, create_graph=True)
    (curve,) = torch.autograd.grad((slope * torch.randn_like(slope)).sum(), h)
    assert slope.abs().max() == 0
    assert curve.isfinite().all()
    assert torch.autograd.gradgradcheck(lambda h: 1e-4 * append_minibatch_std(h, 4), h, eps=1e-8, atol=1e-3)
    with pytest.raises(UsageError, match="at least 1"):
        append_minibatch_std(h, 0)
    with pytest.raises(UsageError, match="one entry per example"):
        append_minibatch_std(h[:, 0], 4)


@pytest.mark.parametrize("make", [textbook, unnormalised, residual])
def test_critics_with_deviation_see_their_group_alone(make):
    network = awaken(make((2, 6, 9), minibatch_std=3), 0.2).double()
    x = torch.randn(8, 2, 6, 9).double()
    moved = x.clone()
    moved[4] += 1.0
    change = (network(moved) - network(x)).abs()
    assert change[3:6].min() > 1e-6
    assert change[[0, 1, 2, 6, 7]].max() == 0
    with torch.no_grad():  # alone, a row sees no deviation, whatever the weight it has
        alone = network(x[:1])
        plain = make((2, 6, 9)).double()
        state = network.state_dict()
        for name, value in plain.state_dict().items():
            value.copy_(cut(state[name], value.shape))
    torch.testing.assert_close(plain(x[:1]), alone)


def cut(weight: Tensor, shape: torch.Size) -> Tensor:
    """Leave out the weights of the last channel, which a head with deviation has more."""
    if weight.shape == shape:
        return weight
    return weight[tuple(slice(side) for side in shape)]


def test_without_deviation_the_residual_critic_is_what_it_was():
    torch.manual_seed(3)
    without = residual((2, 6, 9), conditions=class_labels(CLASSES)).state_dict()
    torch.manual_seed(3)
    with_it = residual((2, 6, 9), conditions=class_labels(CLASSES), minibatch_std=4).state_dict()
    assert list(without) == list(with_it)
    changed = [name for name in without if without[name].shape != with_it[name].shape]
    assert changed == ["basis", "leave.weight"]
    drawn_before = list(without)[list(without).index("basis") + 1 :]
    assert all(torch.equal(without[n], with_it[n]) for n in without if n not in changed and n not in drawn_before)


# Packs


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,)])
def test_packs_are_rows_joined_by_hand(shape):
    inner = awaken(TextbookCritic(Packed.shape(shape, 3), width=8))
    assert Packed.shape(shape, 3) == (3 * shape[0], *shape[1:])
    packed = Packed(inner, 3)
    x = torch.randn(6, *shape)
    joined = torch.stack([torch.cat([x[0], x[1], x[2]]), torch.cat([x[3], x[4], x[5]])])
    scores = packed(x)
    assert scores.shape == (2,)
    torch.testing.assert_close(scores, inner(joined))
    partner = x.clone()
    partner[4] += 1
    assert (packed(partner) - scores)[0] == 0
    assert (packed(partner) - scores)[1].abs() > 1e-4
    exported = torch.export.export(packed, (x,), strict=False).module()
    torch.testing.assert_close(exported(x), scores)


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,)])
def test_labels_stay_with_their_rows(shape):
    assert Packed.shape(shape, 2, class_labels(CLASSES)) == (2 * (shape[0] + CLASSES), *shape[1:])
    inner = awaken(TextbookCritic(Packed.shape(shape, 2, class_labels(CLASSES)), width=8))
    packed = Packed(inner, 2, class_labels(CLASSES))
    x, chosen = torch.randn(4, *shape), [2, 0, 1, 2]
    null = torch.tensor([False, True, False, False])
    labelled = []
    for i in range(4):
        hot = torch.zeros(CLASSES, *shape[1:])
        if not null[i]:
            hot[chosen[i]] = 1
        labelled.append(torch.cat([x[i], hot]))
    joined = torch.stack([torch.cat(labelled[:2]), torch.cat(labelled[2:])])
    condition = {"label": torch.tensor(chosen), "label_null": null}
    torch.testing.assert_close(packed(x, None, condition), inner(joined))
    torch.testing.assert_close(packed(x), packed(x, None, {"label": torch.tensor(chosen), "label_null": torch.ones(4) > 0}))
    torch.testing.assert_close(packed(x, None, {}), packed(x))
    exchanged = packed(x, None, {"label": torch.tensor([0, 2, 1, 2])}) - packed(x, None, {"label": torch.tensor(chosen)})
    assert exchanged[0].abs() > 1e-4
    assert exchanged[1] == 0


def test_packs_take_critics_of_one_column_and_of_flattened_images():
    vectors = Packed(MLP(*Packed.shape((4,), 2), 1, width=8, depth=2, times=0), 2)
    assert vectors(torch.randn(6, 4)).shape == (3,)
    shape = Packed.shape((2, 3, 5), 2, class_labels(CLASSES))
    images = Packed(Reshaped(MLP(int(np.prod(shape)), 1, width=8, depth=2, times=0), ()), 2, class_labels(CLASSES))
    assert images(torch.randn(6, 2, 3, 5), None, labels(6)).shape == (3,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Packed(textbook((4,)), 0),
        lambda: Packed.shape((4,), 0),
        lambda: Packed(textbook((8,)), 2)(torch.zeros(5, 4)),
        lambda: Packed(textbook((8,)), 2)(torch.zeros(4, 3)),
        lambda: Packed(textbook((8,)), 2)(torch.zeros(4)),
        lambda: Packed(textbook((8,)), 2)(torch.zeros(4, 4), torch.zeros(4)),
        lambda: Packed(textbook((8,)), 2)(torch.zeros(4, 4), None, labels(4)),
        lambda: Packed(textbook((14,)), 2, class_labels(CLASSES))(torch.zeros(4, 4), None, labels(2)),
    ],
)
def test_what_cannot_be_packed_is_refused(call):
    with pytest.raises(UsageError, match=r"expected|at least|built"):
        call()


# Spectral normalisation


def largest(layer: nn.Module) -> float:
    """The largest singular value of a layer's weight as a matrix (outputs, everything else)."""
    weight = layer.weight.detach().double()
    weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    return torch.linalg.svdvals(weight.flatten(1))[0].item()


def layers(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]


def generator(shape, **options):
    return DCGANGenerator(shape, latent=5, width=6, **options)


@pytest.mark.parametrize("make", [textbook, unnormalised, residual, generator])
def test_spectral_layers_have_norm_one(make):
    plain = awaken(make((2, 6, 9), conditions=class_labels(CLASSES)), 0.2)
    before = [largest(layer) for layer in layers(plain)]
    network = Spectral(plain)
    x = torch.randn(4, *((5,) if make is generator else (2, 6, 9)))
    with torch.no_grad():
        for _ in range(100):
            network(x, None, labels(4))
    after = [largest(layer) for layer in layers(network)]
    assert len(after) >= 2
    assert max(abs(norm - 1) for norm in before) > 0.05
    assert after == pytest.approx([1.0] * len(after), abs=1e-3)


def test_spectral_slopes_are_bounded():
    """Leaky ReLUs and layers of norm one: two scores differ by at most the distance of the inputs."""
    network = Spectral(awaken(TextbookCritic((7,), width=8), 1.0)).double()
    with torch.no_grad():
        for _ in range(300):
            network(torch.zeros(1, 7).double())
    x, y = torch.randn(2, 500, 7).double()
    ratio = (network(x) - network(y)).abs() / (x - y).norm(dim=1)
    assert 0.1 < ratio.max() <= 1 + 1e-3


def test_spectral_layers_that_start_at_zero_are_drawn_anew():
    critic = residual((2, 6, 9))
    narrow = critic.levels[0][0].narrow
    assert narrow.weight.abs().max() == 0
    network = Spectral(critic)
    x = torch.randn(5, 2, 6, 9, requires_grad=True)
    for _ in range(100):
        network(x)
    scores = network(x) + network(2 * x)  # two calls, each with vectors of its own
    (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    (scores.sum() + slope.square().sum()).backward()
    assert largest(narrow) == pytest.approx(1, abs=1e-3)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def spectral_critic() -> Spectral:
    return Spectral(residual((2, 6, 9), conditions=class_labels(CLASSES)))


def test_spectral_networks_are_copied_saved_and_rebuilt():
    x, condition = torch.randn(5, 2, 6, 9), labels(5)
    network = spectral_critic().to(memory_format=torch.channels_last)
    for _ in range(3):
        network(x, None, condition)
    twin = copy.deepcopy(network).eval()
    spec = json.loads(json.dumps(describe(network)))
    assert spec == {"part": "Spectral", "network": describe(residual((2, 6, 9), conditions=class_labels(CLASSES)))}
    rebuilt = build(spec).to(memory_format=torch.channels_last).eval()
    saved = safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
    rebuilt.load_state_dict(safetensors.torch.load(saved))
    scores = network.eval()(x, None, condition)
    assert torch.equal(twin(x, None, condition), scores)
    assert torch.equal(rebuilt(x, None, condition), scores)
    # a copy in training mode goes its own way
    twin.train()(x, None, condition)
    assert torch.equal(network(x, None, condition), scores)
    assert not torch.equal(twin.eval()(x, None, condition), scores)


def test_spectral_networks_are_averaged():
    """The singular vectors are averaged as well and shrink; the norms must stay."""
    network = Spectral(textbook((6,)))
    average = Average(network, half_life=20_000, share=0.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(1, 301):
        x = torch.randn(32, 6)
        loss = (network(x) - x.norm(dim=1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(32 * step, 32)
    first, last = layers(average.method)
    assert first.parametrizations.weight[0]._u.norm() < 0.95
    assert largest(first) == pytest.approx(1, abs=0.03)
    assert largest(last) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("training", [True, False])
def test_spectral_networks_export_and_have_forward_derivatives(training):
    x, v = torch.randn(2, 5, 2, 6, 9, dtype=torch.float64)
    condition = labels(5)
    network = spectral_critic().double()
    network.train(training)
    if not training:
        exported = torch.export.export(network, (x, None, condition), strict=False).module()
        torch.testing.assert_close(exported(x, None, condition), network(x, None, condition))
    _, derivative = torch.func.jvp(lambda x: network(x, None, condition), (x,), (v,))
    network.eval()
    with torch.no_grad():
        difference = (network(x + 1e-6 * v, None, condition) - network(x - 1e-6 * v, None, condition)) / 2e-6
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-7)


# Projection


def test_labels_speak_by_projection():
    head = ProjectionHead(6, class_labels(CLASSES)).double()
    features, condition = torch.randn(5, 6, dtype=torch.float64), labels(5)
    table = head.conditioning.embeddings.label.table.weight
    labelled, free = head(features, None, condition), head(features)
    torch.testing.assert_close(free, head.linear(features)[:, 0] + features @ table[CLASSES])
    torch.testing.assert_close(labelled - free, (features * (table[condition["label"]] - table[CLASSES])).sum(1))
    torch.testing.assert_close(head(features, None, {**condition, "label_null": torch.ones(5) > 0}), free)
    torch.testing.assert_close(ProjectionHead(6)(features.float()).shape, torch.Size([5]))


@pytest.mark.parametrize("make", [textbook, unnormalised])
def test_what_a_label_adds_is_linear_in_the_features(make):
    network = awaken(make((2, 6, 9), conditions=class_labels(CLASSES))).double()
    seen = []
    network.leave.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(40, 2, 6, 9).double()
    first_class = {"label": torch.ones(40, dtype=torch.int64)}
    gain = network(x, None, first_class) - network(x)
    table = network.leave.conditioning.embeddings.label.table.weight
    torch.testing.assert_close(gain, seen[0] @ (table[1] - table[CLASSES]))
    assert gain.std() > 1e-3


# The networks themselves


@pytest.mark.parametrize("deviation", [0, 2])
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_gradient_penalty_equals_difference(make, shape, deviation):
    """The derivative of sum |grad score|^2 along a direction of the weights, in training mode."""
    network = awaken(make(shape, conditions=class_labels(CLASSES), minibatch_std=deviation), 0.05).double()
    x, condition = torch.randn(5, *shape, dtype=torch.float64, requires_grad=True), labels(5)
    weights = list(network.parameters())
    direction = [torch.randn_like(weight) for weight in weights]

    def penalty() -> Tensor:
        scores = network(x, None, condition)
        assert scores.shape == (5,)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return slope.square().sum()

    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True, materialize_grads=True)
    derivative = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True))

    def moved(step: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(weights, direction, alpha=step)
        value = penalty().item()
        with torch.no_grad():
            torch._foreach_add_(weights, direction, alpha=-step)
        return value

    difference = (moved(1e-9) - moved(-1e-9)) / 2e-9
    assert abs(derivative) > 1e-6
    assert derivative == pytest.approx(difference, rel=1e-4, abs=1e-5)


def test_dcgan_of_64_pixels_is_the_published_one():
    network, critic = DCGANGenerator((3, 64, 64)), DCGANCritic((3, 64, 64))
    kernels = [tuple(w.shape) for w in [g.weight for g in network.grow] + [network.leave.weight]]
    assert network.enter.weight.shape == (512 * 4 * 4, 100)
    assert kernels == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert [tuple(m.weight.shape[:2]) for m in layers(critic)] == [(64, 3), (128, 64), (256, 128), (512, 256), (1, 512 * 16)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in critic.modules()) == 3
    assert [tuple(m.weight.shape[:2]) for m in layers(dcgan((1, 8, 8)))] == [(6, 1), (12, 6), (1, 12 * 4)]
    for layer in layers(network) + layers(critic):
        spread = 5 * 0.02 / np.sqrt(2 * layer.weight.numel())
        assert layer.weight.std().item() == pytest.approx(0.02, abs=spread)
        assert layer.bias is None or layer.bias.abs().max() == 0


def test_odd_sizes_are_cropped_and_padded():
    odd, even = (2, 13, 21), (2, 16, 24)
    small, large = generator(odd).eval(), generator(even).eval()
    large.load_state_dict(awaken(small).state_dict())
    z = torch.randn(4, 5)
    assert torch.equal(small(z), large(z)[:, :, :13, :21])
    small, large = dcgan(odd).eval(), dcgan(even).eval()
    large.load_state_dict(awaken(small).state_dict())
    x = torch.randn(4, *odd)
    rows, columns = [*range(13), 12, 12, 12], [*range(21), 20, 20, 20]
    torch.testing.assert_close(small(x), large(x[:, :, rows][:, :, :, columns]))


def test_batch_normalisation_mixes_rows_only_where_it_is_wanted():
    x = torch.randn(6, 2, 6, 9)
    for normalise in (True, False):
        network = awaken(DCGANCritic((2, 6, 9), width=6, normalise=normalise))
        mixed = (network(x)[:3] - network(x[:3])).abs().max()
        assert (mixed > 1e-3) if normalise else (mixed < 1e-5)


def test_textbook_pair_is_its_formula():
    network, critic = TextbookGenerator((1, 28, 28)), TextbookCritic((1, 28, 28))
    z, x = torch.randn(3, 100), torch.randn(3, 1, 28, 28)
    a, b = network.enter, network.leave
    hidden = (z @ a.weight.T + a.bias).clamp(min=0)
    torch.testing.assert_close(network(z), (hidden @ b.weight.T + b.bias).reshape(3, 1, 28, 28))
    hidden = x.flatten(1) @ critic.enter.weight.T + critic.enter.bias
    hidden = torch.maximum(hidden, 0.2 * hidden)
    torch.testing.assert_close(critic(x), hidden @ critic.leave.linear.weight[0] + critic.leave.linear.bias)
    assert parameter_count(network) == 101 * 256 + 257 * 784
    assert parameter_count(critic) == 785 * 256 + 257


@pytest.mark.parametrize(
    ("kind", "stated"),
    [
        (DCGANGenerator, {"tiny": 0.15e6, "small": 0.9e6, "base": 3.5e6}),
        (DCGANCritic, {"tiny": 0.04e6, "small": 0.5e6, "base": 2.6e6}),
        (TextbookGenerator, {"tiny": 0.06e6, "small": 0.2e6, "base": 0.9e6}),
        (TextbookCritic, {"tiny": 0.05e6, "small": 0.2e6, "base": 0.8e6}),
    ],
)
def test_parameter_counts_are_as_stated(kind, stated):
    for size, number in stated.items():
        assert parameter_count(kind.sized(size, shape=(1, 28, 28))) == pytest.approx(number, rel=0.15)


@pytest.mark.parametrize(
    "network",
    [
        TextbookGenerator((2, 3, 5), latent=4, width=6, conditions=class_labels(CLASSES)),
        TextbookCritic((7,), width=6, conditions=class_labels(CLASSES), minibatch_std=2),
        DCGANGenerator((2, 3, 5), latent=4, width=6, conditions=class_labels(CLASSES)),
        DCGANCritic((2, 3, 5), width=6, conditions=class_labels(CLASSES), minibatch_std=2, normalise=False),
        Critic((2, 3, 5), width=6, blocks=1, minibatch_std=2),
        Spectral(Packed(TextbookCritic(Packed.shape((7,), 2, class_labels(CLASSES)), width=6), 2, class_labels(CLASSES))),
        Packed(Spectral(DCGANCritic(Packed.shape((2, 3, 5), 2), width=6, normalise=False)), 2),
    ],
    ids=lambda network: type(network).__name__,
)
def test_specs_rebuild_the_network(network):
    spec = json.loads(json.dumps(describe(network)))
    twin = build(spec)
    assert describe(twin) == describe(network)
    twin.load_state_dict(network.state_dict())


class Sees(nn.Module):
    """A network that gives back what it receives."""

    def forward(self, x: Tensor, t: Tensor | None = None, condition: object = None) -> Tensor:
        self.given = t, condition
        return x


def test_signs_are_shown_after_the_noise():
    seen = SignCodes(Sees(), 5, 3, scale=0.5)(torch.tensor([[0.5, -2.0, -0.25, -7.0, 3.0]]))
    assert seen.tolist() == [[0.25, -1.0, -0.125, -3.5, 1.5, 1.0, -1.0, -1.0]]


def test_each_pattern_of_signs_learns_its_own_code():
    network = SignCodes(Sees(), 3, 2)
    z = torch.tensor([[1.0, -1.0, 5.0], [2.0, -0.1, -5.0], [-1.0, -1.0, 5.0]])
    loss = network(z)[:, 3:].sum()
    loss.backward()
    assert network.codes.grad.tolist() == [[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    network.codes.data[1] = torch.tensor([7.0, 8.0])
    assert network(z)[:, 3:].tolist() == [[7.0, 8.0], [7.0, 8.0], [-1.0, -1.0]]


def test_signs_let_a_linear_map_leave_a_gap():
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    jump = nn.Linear(3, 1, bias=False)
    jump.weight.data = torch.tensor([[0.01, 0.0, 1.0]])
    x = SignCodes(Alone(jump), 2, 1, scale=1.0)(z)
    assert (x.abs() > 0.95).all()
    assert (x > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


class Alone(nn.Module):
    """A layer, called as networks are called."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, t: Tensor | None = None, condition: object = None) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize(("signs", "scale"), [(0, 1.0), (6, 1.0), (3, 0.0), (3, float("nan")), (17, 1.0)])
def test_signs_out_of_range_are_refused(signs, scale):
    with pytest.raises(UsageError, match=r"signs|sign|scale is"):
        SignCodes(Sees(), 5 if signs < 17 else 20, signs, scale)


def test_fourier_features_are_sines_and_cosines_of_growing_frequency():
    network = FourierFeatures(Sees(), 2, 4, low=0.5, high=32.0)
    rates = network.frequencies.norm(dim=1)
    assert rates.tolist() == pytest.approx([0.5, 2.0, 8.0, 32.0], rel=1e-5)
    x = torch.randn(7, 2)
    out = network(x, None, {"label": x})
    assert network.network.given == (None, {"label": x})
    angles = torch.stack([x @ row for row in network.frequencies], dim=1)
    assert torch.allclose(out, torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=1), atol=1e-5)


def test_fourier_directions_point_everywhere():
    rows = nn.functional.normalize(FourierFeatures(Sees(), 3, 2000).frequencies, dim=1)
    assert rows.mean(0).abs().max() < 0.05
    assert torch.allclose(rows.T @ rows / len(rows), torch.eye(3) / 3, atol=0.04)


def test_fourier_directions_are_kept_with_the_weights():
    first, second = (FourierFeatures(MLP(2 + 8, 1, width=8, depth=1, times=0), 2, 4) for _ in range(2))
    assert not torch.equal(first.frequencies, second.frequencies)
    second.load_state_dict(first.state_dict())
    x = torch.randn(5, 2)
    assert torch.equal(first(x), second(x))
    rebuilt = build(json.loads(json.dumps(describe(first))))
    rebuilt.load_state_dict(first.state_dict())
    assert torch.equal(first(x), rebuilt(x))


def test_a_critic_with_waves_learns_a_narrow_width_sooner():
    """Two Gaussians of one centre, of width .02 and .01, among wide ones: few steps tell them apart only with waves."""
    gaps = {}
    for waves in (0, 32):
        torch.manual_seed(0)
        inner = MLP(2 + 2 * waves, 1, width=32, depth=2, times=0)
        critic = FourierFeatures(inner, 2, waves) if waves else inner
        optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
        for _ in range(150):
            centres = torch.randint(0, 2, (256, 1)) * 2.0 - 1
            wide, narrow = (centres + width * torch.randn(256, 2) for width in (0.02, 0.01))
            loss = nn.functional.softplus(critic(narrow) - critic(wide)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gaps[waves] = float(loss.detach())
    assert gaps[32] < 0.6 < 0.68 < gaps[0]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_fourier_frequencies_out_of_order_are_refused(low, high):
    with pytest.raises(UsageError, match="Frequencies"):
        FourierFeatures(Sees(), 2, 4, low=low, high=high)
    with pytest.raises(UsageError, match="expected"):
        FourierFeatures(Sees(), 2, 4)(torch.zeros(3, 5))


def test_fourier_angles_keep_their_precision():
    from pushforward.precision import call, network_precision

    network, x = FourierFeatures(Sees(), 2, 16), 3 * torch.randn(50, 2)
    with network_precision("bfloat16"):
        seen = call(network, x)
    angles = (x[:, None] * network.frequencies).sum(2)
    assert torch.allclose(seen, torch.cat([x, angles.sin(), angles.cos()], dim=1), atol=1e-3)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "residual", "textbook"])
def test_the_critic_that_was_chosen_is_named(name):
    space = space_data((1, 16, 16), labels=False, n=40).space
    method = pf.recipes.gan(space, "tiny", network=name, pack=2 if name == "mlp" else 1).method
    assert critic_name(describe(method)) == name
    assert critic_name({"method": {"critic": {"part": "FeatureCritic"}}}) == "features"
    assert critic_name({"critic": None}) == critic_name({}) == critic_name({"critic": {"part": "Mine"}}) == ""
    assert {name: critic.__name__ for name, (_, critic) in PAIRS.items()}.items() <= {
        name: part for part, name in announcing.CRITICS.items()
    }.items()
