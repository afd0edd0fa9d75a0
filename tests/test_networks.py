"""Laws that every network obeys, on spaces of all kinds, and its parts: resampling, groups and
packs, bounded slopes, waves.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs.cases import class_labels
from programs.critics import generator, labels, largest, layers, residual, textbook, unnormalised
from programs.small_networks import (
    CASES,
    CLASSES,
    DENOISERS,
    LATENT,
    ON_VECTORS,
    SMALL,
    TIMELESS,
    arguments,
    awaken,
    critic,
    dit,
    encoder,
    mlp,
    outputs,
    unet,
)
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.denoisers.denoiser import call, network_precision
from pushforward.errors import UsageError
from pushforward.networks import (
    MLP,
    Critic,
    DiT,
    Encoder,
    FourierFeatures,
    Packed,
    SignCodes,
    Spectral,
    TextbookCritic,
    UNet,
)
from pushforward.networks.blocks import (
    Conditioning,
    Modulation,
    append_minibatch_std,
    attend,
    films_of,
    modulate,
)
from pushforward.networks.gan import Resample, doubling, halving


@pytest.mark.parametrize(("build", "shape", "classes"), CASES)
def test_shapes(build, shape, classes):
    network = build(shape, classes)
    x, t, condition = arguments(build, shape, classes, 5, torch.float32)
    y = network(x, t, condition)
    assert y.shape == outputs(build, shape, 5)
    assert y.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = awaken(network)(x, t, condition)
    high = network(x, t, condition)
    assert low.dtype == torch.float32
    assert (low - high).norm() < 0.1 * high.norm() + 1e-3


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_rows_are_independent(build, shape, classes):
    network = awaken(build(shape, classes).double())
    x, t, condition = arguments(build, shape, classes, 5)
    whole = network(x, t, condition)
    for i in range(5):
        row = slice(i, i + 1)
        alone = network(
            x[row], None if t is None else t[row], condition and {"label": condition["label"][row]}
        )
        torch.testing.assert_close(alone, whole[row], rtol=1e-10, atol=1e-10)
    assert whole.flatten(1).std(0).min() > 0 if whole.ndim > 1 else whole.std() > 0


@pytest.mark.parametrize(
    "build", [p.values[0] for p in SMALL if p.values[2]], ids=lambda build: build.__name__
)
def test_null_rows_read_as_unconditional(build):
    shape = (5,) if build in ON_VECTORS else (3, 6, 5)
    network = awaken(build(shape, CLASSES).double(), 0.3)
    x, t, condition = arguments(build, shape, CLASSES, 5)
    null = torch.tensor([True, False, True, False, False])
    free = network(x, t, None)
    labelled = network(x, t, condition)
    mixed = network(x, t, {**condition, "label_null": null})
    torch.testing.assert_close(mixed[null], free[null], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixed[~null], labelled[~null], rtol=1e-12, atol=1e-12)
    difference = (free - labelled).reshape(5, -1).abs().amax(1)
    assert difference.min() > 1e-3
    torch.testing.assert_close(network(x, t, {}), free)


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_forward_mode_derivative_equals_difference(build, shape, classes):
    network = awaken(build(shape, classes).double())
    x, t, condition = arguments(build, shape, classes, 3)
    primals = (x,) if t is None else (x, t)
    tangents = tuple(torch.randn_like(primal) for primal in primals)

    def call(*inputs: Tensor) -> Tensor:
        return network(inputs[0], inputs[1] if t is not None else None, condition)

    def moved(step: float) -> Tensor:
        with torch.no_grad():
            return call(*(p + step * v for p, v in zip(primals, tangents, strict=True)))

    _, derivative = torch.func.jvp(call, primals, tangents)
    # Fourth order, and a step small enough for frequencies up to 1000; leaky ReLUs are piecewise
    # linear.
    h = 1e-5
    difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-6)
    assert derivative.abs().max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("build", "shape", "classes"), [p for p in SMALL if p.values[0] in DENOISERS]
)
def test_forward_mode_works_in_every_precision(build, shape, classes, precision):
    """Fused attention has no forward-mode derivative, and group_norm mixes types in it: both are
    gone round there.
    """
    network = awaken(build(shape, classes))
    x, t, condition = arguments(build, shape, classes, 3, torch.float32)
    tangent = torch.randn_like(x)

    def derivative(network, x, tangent, t):
        return torch.func.jvp(lambda x: call(network, x, t, condition), (x,), (tangent,))

    with network_precision(precision):
        value, tangent_out = derivative(network, x, tangent, t)
        with torch.no_grad():
            plain = call(network, x, t, condition)
    _, exact = derivative(
        network.double(), x.double(), tangent.double(), None if t is None else t.double()
    )
    error = (tangent_out - exact).norm() / exact.norm()
    assert error < (1e-4 if precision == "float32" else 0.1)
    assert (value - plain).norm() < (1e-5 if precision == "float32" else 0.05) * plain.norm()


@pytest.mark.parametrize(("build", "shape", "classes"), [p for p in SMALL if p.values[2]])
def test_export_equals_eager(build, shape, classes):
    network = awaken(build(shape, classes)).eval()
    x, t, condition = arguments(build, shape, classes, 3, torch.float32)
    exported = torch.export.export(network, (x, t, condition), strict=False).module()
    x, t, _ = arguments(build, shape, classes, 3, torch.float32)
    actual = exported(x, t, condition)
    expected = network(x, t, condition)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", list(DENOISERS))
def test_denoisers_start_at_zero_and_others_do_not(build):
    shape = (5,) if build is mlp else (2, 7, 9)
    x, t, _ = arguments(build, shape, 0, 4, torch.float32)
    actual = build(shape)(x, t).abs().max()
    assert actual == 0
    actual = build(shape, times=0)(x).abs().max()
    assert actual > 0
    for timeless in TIMELESS:
        actual = (
            timeless((2, 7, 9))(arguments(timeless, (2, 7, 9), 0, 4, torch.float32)[0]).abs().max()
        )
        assert actual > 0


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_every_parameter_learns(build, shape, classes):
    network = awaken(build(shape, classes))
    x, t, condition = arguments(build, shape, classes, 5, torch.float32)
    if condition is not None:
        condition["label_null"] = torch.tensor([False, False, False, True, False])
    network(x, t, condition).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("build", [unet, dit, critic, encoder])
def test_odd_sizes_equal_hand_padded_even_sizes(build):
    """A network for 5 x 3 equals the same weights on the hand-padded image, cropped at the top
    left.
    """
    odd = (2, 5, 3)
    even = (2, 8, 4)
    if build is critic or build is encoder:
        options = {"stem": 4, "width": 8}
        options |= {"blocks": 1} if build is critic else {"latent": LATENT}
        kind = Critic if build is critic else Encoder
        small = kind(odd, **options)
        large = kind(even, **options)
        x = torch.randn(4, *odd)
        t = None
    else:
        options = {"stem": 4} if build is unet else {"patch": 4, "depth": 2}
        kind = UNet if build is unet else DiT
        options |= {"heads": 2} | ({"blocks": 1, "widths": (8,)} if build is unet else {"width": 8})
        small = kind(odd, **options)
        large = kind(even, **options)
        x = torch.randn(4, *odd)
        t = torch.rand(4)
    awaken(small)
    large.load_state_dict(small.state_dict())
    rows = [0, 1, 2, 3, 4, 4, 4, 4]
    padded = x[:, :, rows][:, :, :, [0, 1, 2, 2]]
    expected = large(padded, t)
    if expected.ndim == 4:
        expected = expected[:, :, :5, :3]
    torch.testing.assert_close(small(x, t), expected)


@pytest.mark.parametrize("size", [(7, 5), (8, 6), (1, 2), (4, 9)])
def test_resampling_is_the_kernel_1_2_1(size):
    height, width = size
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    kernel = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    smooth = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel / 16, groups=3)
    halve = Resample(halving(height), halving(width)).double()
    torch.testing.assert_close(halve(x), smooth[:, :, ::2, ::2])

    coarse = halve(x)
    double = Resample(doubling(height), doubling(width)).double()
    spread = torch.zeros(
        2, 3, 2 * coarse.shape[2] + 1, 2 * coarse.shape[3] + 1, dtype=torch.float64
    )
    edge = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    spread[:, :, ::2, ::2] = edge
    expected = F.conv2d(F.pad(spread, (1, 1, 1, 1)), kernel / 4, groups=3)[:, :, :height, :width]
    torch.testing.assert_close(double(coarse), expected)


def test_modulation_and_attention_are_their_formulas():
    h = torch.randn(3, 4, 2, 5)
    scale = torch.randn(3, 4)
    shift = torch.randn(3, 4)
    actual = modulate(h, (scale, shift))
    torch.testing.assert_close(actual, h * scale[:, :, None, None] + shift[:, :, None, None])
    actual = modulate(h[:, :, 0, 0], (scale, shift))
    torch.testing.assert_close(actual, h[:, :, 0, 0] * scale + shift)
    assert modulate(h, None) is h
    modulation = Modulation.films(6, [2, 3])
    nn.init.zeros_(modulation.linear.weight)
    for (scale, shift), width in zip(
        films_of(modulation, torch.randn(4, 6), 2), (2, 3), strict=True
    ):
        assert torch.equal(scale, torch.ones(4, width))
        assert torch.equal(shift, torch.zeros(4, width))
    q, k, v = torch.randn(3, 2, 2, 7, 4).unbind(0)
    expected = torch.softmax(torch.einsum("nhid,nhjd->nhij", q, k) / 2, -1) @ v
    torch.testing.assert_close(attend(q, k, v), expected)
    actual = attend(q.bfloat16(), k.bfloat16(), v.bfloat16()).float()
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)


# The deviation of groups


@pytest.mark.parametrize(("n", "group"), [(8, 4), (10, 4), (3, 4), (7, 1), (6, 2)])
@pytest.mark.parametrize("sides", [(), (2, 3)])
def test_deviation_equals_a_loop(n, group, sides):
    h = torch.randn(n, 5, *sides, dtype=torch.float64) * torch.logspace(
        -5, 1, 5, dtype=torch.float64
    ).view(5, *[1 for _ in sides])
    result = append_minibatch_std(h, group)
    assert result.shape == (n, 6, *sides)
    assert torch.equal(result[:, :5], h)
    rows = h.numpy().reshape(n, -1)
    group = n if n % group else group
    for start in range(0, n, group):
        s = rows[start : start + group].std(axis=0)
        smooth = np.mean(np.sqrt(s**2 + 1e-8) - 1e-4)
        for row in range(start, min(start + group, n)):
            channel = result[row, 5].numpy()
            expected = np.full(sides, smooth)
            np.testing.assert_allclose(channel, expected, rtol=1e-9, atol=1e-13)
            assert np.mean(s) - 1e-4 <= channel.min() <= channel.max() <= np.mean(s)


@pytest.mark.parametrize("make", [textbook, unnormalised, residual])
def test_critics_with_deviation_see_their_group_alone(make):
    network = awaken(make((2, 6, 9), minibatch_std=3), 0.2).double()
    x = torch.randn(9, 2, 6, 9).double()
    moved = x.clone()
    moved[4] += 1.0
    change = (network(moved) - network(x)).abs()
    assert change[3:6].min() > 1e-6
    actual = change[[0, 1, 2, 6, 7]].max()
    assert actual == 0


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
    actual = max(abs(norm - 1) for norm in before)
    assert actual > 0.05
    assert after == pytest.approx([1.0] * len(after), abs=1e-3)


def test_spectral_slopes_are_bounded():
    """Leaky ReLUs and layers of norm one: two scores differ by at most the distance of the
    inputs.
    """
    network = Spectral(awaken(TextbookCritic((7,), width=8), 1.0)).double()
    with torch.no_grad():
        for _ in range(300):
            network(torch.zeros(1, 7).double())
    x, y = torch.randn(2, 500, 7).double()
    ratio = (network(x) - network(y)).abs() / (x - y).norm(dim=1)
    assert 0.1 < ratio.max() <= 1 + 1e-3


def spectral_critic() -> Spectral:
    return Spectral(residual((2, 6, 9), conditions=class_labels(CLASSES)))


@pytest.mark.parametrize("training", [True, False])
def test_spectral_networks_export_and_have_forward_derivatives(training):
    x, v = torch.randn(2, 5, 2, 6, 9, dtype=torch.float64)
    condition = labels(5)
    network = spectral_critic().double()
    network.train(training)
    if not training:
        exported = torch.export.export(network, (x, None, condition), strict=False).module()
        actual = exported(x, None, condition)
        expected = network(x, None, condition)
        torch.testing.assert_close(actual, expected)
    _, derivative = torch.func.jvp(lambda x: network(x, None, condition), (x,), (v,))
    network.eval()
    with torch.no_grad():
        difference = (
            network(x + 1e-6 * v, None, condition) - network(x - 1e-6 * v, None, condition)
        ) / 2e-6
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-7)


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
    values = network(z)[:, 3:].tolist()
    assert values == [[7.0, 8.0], [7.0, 8.0], [-1.0, -1.0]]


def test_fourier_features_are_sines_and_cosines_of_growing_frequency():
    network = FourierFeatures(Sees(), 2, 4, low=0.5, high=32.0)
    rates = network.frequencies.norm(dim=1)
    assert rates.tolist() == pytest.approx([0.5, 2.0, 8.0, 32.0], rel=1e-5)
    x = torch.randn(7, 2)
    out = network(x, None, {"label": x})
    assert network.network.given == (None, {"label": x})
    angles = torch.stack([x @ row for row in network.frequencies], dim=1)
    assert torch.allclose(
        out, torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=1), atol=1e-5
    )


def test_fourier_directions_point_everywhere():
    rows = nn.functional.normalize(FourierFeatures(Sees(), 3, 2000).frequencies, dim=1)
    assert rows.mean(0).abs().max() < 0.05
    assert torch.allclose(rows.T @ rows / len(rows), torch.eye(3) / 3, atol=0.04)


def test_fourier_angles_keep_their_precision():
    from pushforward.denoisers.denoiser import call, network_precision

    network = FourierFeatures(Sees(), 2, 16)
    x = 3 * torch.randn(50, 2)
    with network_precision("bfloat16"):
        seen = call(network, x)
    angles = (x[:, None] * network.frequencies).sum(2)
    assert torch.allclose(seen, torch.cat([x, angles.sin(), angles.cos()], dim=1), atol=1e-3)


def test_more_signs_than_numbers_or_than_a_table_may_have_are_refused():
    for latent, signs in ((5, 6), (40, 17)):
        with pytest.raises(UsageError, match=f"{signs} sign codes .* at most {min(latent, 16)}"):
            SignCodes(Sees(), latent, signs)


def test_a_leaky_perceptron_is_piecewise_linear():
    """Without biases it scales with its input; the plain one does not."""
    network, smooth = (
        MLP(5, 1, width=7, depth=3, times=0, **kind) for kind in ({"activation": "leaky_relu"}, {})
    )
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    smooth.load_state_dict(network.state_dict())
    x = torch.randn(6, 5)
    assert torch.allclose(network(3 * x), 3 * network(x), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(smooth(3 * x), 3 * smooth(x), rtol=1e-2)


def test_a_network_without_times_refuses_one_and_one_with_times_needs_it():
    for times, t in ((0, torch.zeros(1)), (1, None)):
        conditioning = Conditioning(4, times=times)
        with pytest.raises(UsageError, match=f"times={times}"):
            conditioning(torch.zeros(5, 3), t, None)
    shape = Conditioning(4, times=1)(torch.zeros(5, 3), torch.zeros(1), None).shape
    assert shape == (1, 4)
