"""Laws that every network obeys, on spaces of all kinds, and its parts: resampling, groups and
packs, bounded slopes, waves.
"""

from __future__ import annotations

import itertools

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
    SMALL,
    TIMELESS,
    arguments,
    awaken,
    mlp,
    outputs,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

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

LABELLED = [case for case in SMALL if case.values[2]]


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
    rows = whole.reshape(5, -1)
    for i in range(5):
        inputs = row_of(x, i), row_of(t, i)
        label = condition and {"label": row_of(condition["label"], i)}
        alone = network(*inputs, label).reshape(1, -1)
        assert_close(alone, row_of(rows, i), rtol=1e-10, atol=1e-10)
    assert rows.std(0).min() > 0


def row_of(values, i):
    if values is None:
        return None
    return values[i : i + 1]


@pytest.mark.parametrize(("build", "shape", "classes"), LABELLED)
def test_null_rows_read_as_unconditional(build, shape, classes):
    network = awaken(build(shape, classes).double(), 0.3)
    x, t, condition = arguments(build, shape, classes, 5)
    free = network(x, t, None)
    labelled = network(x, t, condition)
    null = torch.tensor([True, False, True, False, False])
    condition["label_null"] = null
    mixed = network(x, t, condition)
    assert_close(mixed[null], free[null], rtol=1e-12, atol=1e-12)
    assert_close(mixed[~null], labelled[~null], rtol=1e-12, atol=1e-12)
    difference = (free - labelled).reshape(5, -1).abs()
    assert difference.amax(1).min() > 1e-3
    assert_close(network(x, t, {}), free)


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_forward_mode_derivative_equals_difference(build, shape, classes):
    network = awaken(build(shape, classes).double())
    x, t, condition = arguments(build, shape, classes, 3)
    primals = [x]
    if t is not None:
        primals.append(t)
    tangents = [torch.randn_like(primal) for primal in primals]

    def call(x: Tensor, t: Tensor | None = None) -> Tensor:
        return network(x, t, condition)

    def change(step: float) -> Tensor:
        with torch.no_grad():
            ahead = call(*torch._foreach_add(primals, tangents, alpha=step))
            behind = call(*torch._foreach_add(primals, tangents, alpha=-step))
        return ahead - behind

    _, derivative = torch.func.jvp(call, tuple(primals), tuple(tangents))
    # Fourth order, and a step small enough for frequencies up to 1000; leaky ReLUs are piecewise
    # linear.
    h = 1e-5
    difference = (8 * change(h) - change(2 * h)) / (12 * h)
    assert_close(derivative, difference, rtol=1e-6, atol=1e-6)
    assert derivative.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("precision", "error", "value_error"), [("float32", 1e-4, 1e-5), ("bfloat16", 0.1, 0.05)]
)
@pytest.mark.parametrize(
    ("build", "shape", "classes"), [p for p in SMALL if p.values[0] in DENOISERS]
)
def test_forward_mode_works_in_every_precision(
    build, shape, classes, precision, error, value_error
):
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
    _, exact = derivative(network.double(), x.double(), tangent.double(), t.double())
    assert (tangent_out - exact).norm() < error * exact.norm()
    assert (value - plain).norm() < value_error * plain.norm()


def exported(network, *inputs):
    program = torch.export.export(network, inputs, strict=False)
    return program.module()


@pytest.mark.parametrize(("build", "shape", "classes"), LABELLED)
def test_export_equals_eager(build, shape, classes):
    network = awaken(build(shape, classes)).eval()
    inputs = arguments(build, shape, classes, 3, torch.float32)
    program = exported(network, *inputs)
    inputs = arguments(build, shape, classes, 3, torch.float32)
    assert_close(program(*inputs), network(*inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", list(DENOISERS))
def test_denoisers_start_at_zero_with_times_alone(build):
    shape = (5,) if build is mlp else (2, 7, 9)
    x, t, _ = arguments(build, shape, 0, 4, torch.float32)
    timed = build(shape)
    assert timed(x, t).abs().max() == 0
    untimed = build(shape, times=0)
    assert untimed(x).abs().max() > 0


@pytest.mark.parametrize("build", list(TIMELESS))
def test_networks_without_times_do_not_start_at_zero(build):
    shape = (2, 7, 9)
    x, _, _ = arguments(build, shape, 0, 4, torch.float32)
    network = build(shape)
    assert network(x).abs().max() > 0


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_every_parameter_learns(build, shape, classes):
    network = awaken(build(shape, classes))
    x, t, condition = arguments(build, shape, classes, 5, torch.float32)
    if condition is not None:
        condition["label_null"] = torch.tensor([False, False, False, True, False])
    y = network(x, t, condition)
    y.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("kind", "times", "options"),
    [
        (UNet, 1, {"stem": 4, "widths": (8,), "blocks": 1, "heads": 2}),
        (DiT, 1, {"patch": 4, "width": 8, "depth": 2, "heads": 2}),
        (Critic, 0, {"stem": 4, "width": 8, "blocks": 1}),
        (Encoder, 0, {"stem": 4, "width": 8, "latent": LATENT}),
    ],
)
def test_odd_sizes_equal_hand_padded_even_sizes(kind, times, options):
    """A network for 5 x 3 equals the same weights on the hand-padded image, cropped at the top
    left.
    """
    odd = (2, 5, 3)
    even = (2, 8, 4)
    small = awaken(kind(odd, **options))
    large = kind(even, **options)
    x = torch.randn(4, *odd)
    t = torch.rand(4) if times else None
    large.load_state_dict(small.state_dict())
    padded = F.pad(x, (0, 1, 0, 3), mode="replicate")
    expected = large(padded, t)
    if expected.ndim == 4:
        expected = expected[:, :, :5, :3]
    assert_close(small(x, t), expected)


@pytest.mark.parametrize("size", [(7, 5), (8, 6), (1, 2), (4, 9)])
def test_resampling_is_the_kernel_1_2_1(size):
    height, width = size
    x = torch.randn(2, 3, height, width).double()
    line = torch.tensor([1.0, 2.0, 1.0]).double()
    square = torch.outer(line, line)
    kernel = square.expand(3, 1, 3, 3)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    smooth = F.conv2d(padded, kernel / 16, groups=3)
    halve = Resample(halving(height), halving(width)).double()
    coarse = halve(x)
    assert_close(coarse, smooth[:, :, ::2, ::2])

    double = Resample(doubling(height), doubling(width)).double()
    edge = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    spread = F.conv_transpose2d(edge, kernel / 4, stride=2, groups=3)
    expected = spread[:, :, 1 : 1 + height, 1 : 1 + width]
    assert_close(double(coarse), expected)


def test_modulation_and_attention_are_their_formulas():
    h = torch.randn(3, 4, 2, 5)
    scale = torch.randn(3, 4)
    shift = torch.randn(3, 4)
    film = scale, shift
    modulated = modulate(h, film)
    for i, j in itertools.product(range(2), range(5)):
        expected = h[:, :, i, j] * scale + shift
        assert_close(modulated[:, :, i, j], expected)
    vectors = h[:, :, 0, 0]
    assert_close(modulate(vectors, film), vectors * scale + shift)
    assert modulate(h, None) is h
    modulation = Modulation.films(6, [2, 3])
    nn.init.zeros_(modulation.linear.weight)
    vector = torch.randn(4, 6)
    first, last = films_of(modulation, vector, 2)
    for (scale, shift), width in ((first, 2), (last, 3)):
        assert torch.equal(scale, torch.ones(4, width))
        assert torch.equal(shift, torch.zeros(4, width))
    q, k, v = torch.randn(3, 2, 2, 7, 4)
    scores = torch.einsum("nhid,nhjd->nhij", q, k) / 2
    expected = torch.softmax(scores, -1) @ v
    assert_close(attend(q, k, v), expected)
    low = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert_close(low.float(), expected, rtol=0.05, atol=0.05)


# The deviation of groups


@pytest.mark.parametrize(("n", "group"), [(8, 4), (10, 4), (3, 4), (7, 1), (6, 2)])
@pytest.mark.parametrize("sides", [(), (2, 3)])
def test_deviation_equals_a_loop(n, group, sides):
    scales = torch.logspace(-5, 1, 5).double()
    noise = torch.randn(n, *sides, 5).double()
    h = (scales * noise).movedim(-1, 1)
    result = append_minibatch_std(h, group)
    assert result.shape == (n, 6, *sides)
    assert torch.equal(result[:, :5], h)
    rows = h.reshape(n, -1).numpy()
    channels = result[:, 5].numpy()
    if n % group:
        group = n
    for start in range(0, n, group):
        members = slice(start, start + group)
        std = rows[members].std(axis=0)
        smooth = np.sqrt(std**2 + 1e-8) - 1e-4
        channel = channels[members]
        np.testing.assert_allclose(channel, smooth.mean(), rtol=1e-9, atol=1e-13)
        mean = std.mean()
        assert mean - 1e-4 <= channel.min() <= channel.max() <= mean


@pytest.mark.parametrize("make", [textbook, unnormalised, residual])
def test_critics_with_deviation_see_their_group_alone(make):
    critic = make((2, 6, 9), minibatch_std=3)
    network = awaken(critic, 0.2).double()
    x = torch.randn(9, 2, 6, 9).double()
    moved = x.clone()
    moved[4] += 1.0
    change = (network(moved) - network(x)).abs()
    first, second, third = change.split(3)
    assert second.min() > 1e-6
    assert first.max() == 0
    assert third.max() == 0


# Packs


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,)])
def test_packs_are_rows_joined_by_hand(shape):
    packed_shape = Packed.shape(shape, 3)
    assert packed_shape == (3 * shape[0], *shape[1:])
    inner = awaken(TextbookCritic(packed_shape, width=8))
    packed = Packed(inner, 3)
    x = torch.randn(6, *shape)
    first = torch.cat([*x[:3]])
    last = torch.cat([*x[3:]])
    scores = packed(x)
    assert scores.shape == (2,)
    assert_close(scores, inner(torch.stack([first, last])))
    partner = x.clone()
    partner[4] += 1
    change = packed(partner) - scores
    assert change[0] == 0
    assert change[1].abs() > 1e-4
    program = exported(packed, x)
    assert_close(program(x), scores)


@pytest.mark.parametrize("make", [textbook, unnormalised, residual, generator])
def test_spectral_layers_have_norm_one(make):
    shape = (2, 6, 9)
    built = make(shape, conditions=class_labels(CLASSES))
    plain = awaken(built, 0.2)
    before = norms(plain)
    network = Spectral(plain)
    inputs = (5,) if make is generator else shape
    x = torch.randn(4, *inputs)
    with torch.no_grad():
        for _ in range(100):
            network(x, None, labels(4))
    after = norms(network)
    assert len(after) >= 2
    assert np.abs(before - 1).max() > 0.05
    np.testing.assert_allclose(after, 1, atol=1e-3)


def norms(network):
    """The largest singular value of each layer."""
    return np.array([largest(layer) for layer in layers(network)])


def test_spectral_slopes_are_bounded():
    """Leaky ReLUs and layers of norm one: two scores differ by at most the distance of the
    inputs.
    """
    plain = TextbookCritic((7,), width=8)
    network = Spectral(awaken(plain, 1.0)).double()
    zero = torch.zeros(1, 7).double()
    with torch.no_grad():
        for _ in range(300):
            network(zero)
    x, y = torch.randn(2, 500, 7).double()
    gaps = (network(x) - network(y)).abs()
    ratio = gaps / (x - y).norm(dim=1)
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
        program = exported(network, x, None, condition)
        actual = program(x, None, condition)
        assert_close(actual, network(x, None, condition))

    def scores(x):
        return network(x, None, condition)

    _, derivative = torch.func.jvp(scores, (x,), (v,))
    network.eval()
    step = 1e-6 * v
    with torch.no_grad():
        difference = scores(x + step) - scores(x - step)
    assert_close(derivative, difference / 2e-6, rtol=1e-6, atol=1e-7)


class Sees(nn.Module):
    """A network that gives back what it receives."""

    def forward(self, x: Tensor, t: Tensor | None = None, condition: object = None) -> Tensor:
        self.given = t, condition
        return x


def test_signs_are_shown_after_the_noise():
    network = SignCodes(Sees(), 5, 3, scale=0.5)
    seen = network(numbers("0.5 -2 -0.25 -7 3"))
    expected = numbers("0.25 -1 -0.125 -3.5 1.5  1 -1 -1")
    assert torch.equal(seen, expected)


def numbers(text):
    """Rows of numbers, separated by semicolons."""
    rows = np.loadtxt(text.split(";"), dtype=np.float32, ndmin=2)
    return torch.from_numpy(rows)


def test_each_pattern_of_signs_learns_its_own_code():
    network = SignCodes(Sees(), 3, 2)
    z = numbers("1 -1 5; 2 -0.1 -5; -1 -1 5")
    codes = network(z)[:, 3:]
    codes.sum().backward()
    assert torch.equal(network.codes.grad, numbers("1 1; 2 2; 0 0; 0 0"))
    network.codes.data[1] = torch.tensor([7.0, 8.0])
    codes = network(z)[:, 3:]
    assert torch.equal(codes, numbers("7 8; 7 8; -1 -1"))


def test_fourier_features_are_sines_and_cosines_of_growing_frequency():
    network = FourierFeatures(Sees(), 2, 4, low=0.5, high=32.0)
    rates = network.frequencies.norm(dim=1)
    assert_close(rates, torch.tensor([0.5, 2.0, 8.0, 32.0]), rtol=1e-5, atol=0)
    x = torch.randn(7, 2)
    condition = {"label": x}
    out = network(x, None, condition)
    assert network.network.given == (None, condition)
    assert_close(out, with_waves(x, network), rtol=0, atol=1e-5)


def with_waves(x, network):
    """Rows with their sines and cosines, computed in full precision."""
    angles = (x[:, None] * network.frequencies).sum(2)
    return torch.cat([x, angles.sin(), angles.cos()], dim=1)


def test_fourier_directions_point_everywhere():
    network = FourierFeatures(Sees(), 3, 2000)
    rows = F.normalize(network.frequencies, dim=1)
    assert rows.mean(0).abs().max() < 0.05
    covariance = rows.T @ rows / len(rows)
    assert_close(covariance, torch.eye(3) / 3, rtol=0, atol=0.04)


def test_fourier_angles_keep_their_precision():
    network = FourierFeatures(Sees(), 2, 16)
    x = 3 * torch.randn(50, 2)
    with network_precision("bfloat16"):
        seen = call(network, x)
    assert_close(seen, with_waves(x, network), rtol=0, atol=1e-3)


def test_more_signs_than_numbers_or_than_a_table_may_have_are_refused():
    network = Sees()
    for latent, signs, most in ((5, 6, 5), (40, 17, 16)):
        with pytest.raises(UsageError, match=f"{signs} sign codes .* at most {most}"):
            SignCodes(network, latent, signs)


def test_a_leaky_perceptron_is_piecewise_linear():
    """Without biases it scales with its input; the plain one does not."""
    shape = {"width": 7, "depth": 3, "times": 0}
    network = MLP(5, 1, activation="leaky_relu", **shape)
    smooth = MLP(5, 1, **shape)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    smooth.load_state_dict(network.state_dict())
    x = torch.randn(6, 5)
    assert_close(network(3 * x), 3 * network(x), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(smooth(3 * x), 3 * smooth(x), rtol=1e-2)


def test_a_network_without_times_refuses_one_and_one_with_times_needs_it():
    x = torch.zeros(5, 3)
    t = torch.zeros(1)
    timeless = Conditioning(4, times=0)
    with pytest.raises(UsageError, match="times=0"):
        timeless(x, t, None)
    timed = Conditioning(4, times=1)
    with pytest.raises(UsageError, match="times=1"):
        timed(x, None, None)
    assert timed(x, t, None).shape == (1, 4)
