"""Laws that every network obeys, on spaces of all kinds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.conditions import Label
from pushforward.errors import UsageError
from pushforward.networks import (
    MLP,
    Compressor,
    Critic,
    DCGANCritic,
    DCGANGenerator,
    Decoder,
    DiT,
    Encoder,
    Expander,
    Generator,
    PatchCritic,
    Perceptron,
    TextbookCritic,
    TextbookGenerator,
    TimeEmbedding,
    UNet,
    parameter_count,
)
from pushforward.networks.blocks import attend
from pushforward.networks.compression import map_shape
from pushforward.networks.embedding import Modulation, films_of, modulate
from pushforward.networks.folding import pad_to
from pushforward.networks.resampling import Resample, doubling, halving
from pushforward.precision import call, network_precision
from pushforward.testing import class_labels

VECTORS = [(2,), (17,)]
IMAGES = [(1, 8, 8), (3, 13, 21), (4, 32, 32), (2, 5, 3), (1, 1, 2)]
LATENT = 6
CLASSES = 3

Build = Callable[..., nn.Module]


def mlp(shape, classes=0, times=1, **options):
    return MLP(shape[0], shape[0], width=12, depth=2, conditions=class_labels(classes), times=times, **options)


def unet(shape, classes=0, times=1, **options):
    stem = 2 if shape[1] > 12 else 1
    return UNet(shape, widths=(8, 16), blocks=1, heads=2, stem=stem, conditions=class_labels(classes), times=times, **options)


def dit(shape, classes=0, times=1, **options):
    return DiT(
        shape,
        patch=4 if shape[1] > 12 else 2,
        width=16,
        depth=2,
        heads=2,
        conditions=class_labels(classes),
        times=times,
        **options,
    )


def generator(shape, classes=0):
    return Generator(shape, latent=LATENT, width=8, blocks=1, conditions=class_labels(classes), stem=2 if shape[1] > 12 else 1)


def critic(shape, classes=0):
    return Critic(shape, width=8, blocks=1, conditions=class_labels(classes), stem=2 if shape[1] > 12 else 1)


def encoder(shape, classes=0):
    return Encoder(shape, latent=LATENT, width=8, conditions=class_labels(classes), stem=2 if shape[1] > 12 else 1)


def decoder(shape, classes=0):
    return Decoder(shape, latent=LATENT, width=8, conditions=class_labels(classes), stem=2 if shape[1] > 12 else 1)


def textbook_generator(shape, classes=0):
    return TextbookGenerator(shape, latent=LATENT, width=8, conditions=class_labels(classes))


def textbook_critic(shape, classes=0):
    return TextbookCritic(shape, width=8, conditions=class_labels(classes))


def dcgan_generator(shape, classes=0):
    return DCGANGenerator(shape, latent=LATENT, width=8, conditions=class_labels(classes)).eval()


def dcgan_critic(shape, classes=0):
    return DCGANCritic(shape, width=8, conditions=class_labels(classes)).eval()


def compressor(shape, classes=0):
    return Compressor(shape, outputs=4, factor=2, width=8, conditions=class_labels(classes))


def expander(shape, classes=0):
    return Expander(shape, inputs=3, factor=2, width=8, conditions=class_labels(classes))


def patch(shape, classes=0):
    return PatchCritic(shape, width=8).eval()


def perceptron(shape, classes=0):
    return Perceptron(shape[0], shape[0], width=12, conditions=class_labels(classes))


DENOISERS: dict[Build, list] = {mlp: VECTORS, unet: IMAGES, dit: IMAGES}
PLAIN: dict[Build, list] = {textbook_generator: VECTORS + IMAGES[:2], textbook_critic: VECTORS + IMAGES[:2]}
TIMELESS: dict[Build, list] = {generator: IMAGES, critic: IMAGES, encoder: IMAGES, decoder: IMAGES}
TIMELESS |= {dcgan_generator: IMAGES, dcgan_critic: IMAGES, compressor: IMAGES, expander: IMAGES, patch: IMAGES, **PLAIN}
ON_VECTORS = (mlp, perceptron)
FROM_NOISE = (generator, decoder, textbook_generator, dcgan_generator)
CRITICS = (critic, textbook_critic, dcgan_critic)
CASES = [
    pytest.param(build, shape, classes, id=f"{build.__name__}-{'x'.join(map(str, shape))}-{classes}")
    for build, shapes in {**DENOISERS, **TIMELESS, perceptron: VECTORS}.items()
    for shape in shapes
    for classes in (0, CLASSES)
    if not (classes and build is patch)
]
SMALL = [
    pytest.param(build, shape, classes, id=f"{build.__name__}-{classes}")
    for build, shape in [
        (mlp, (5,)),
        (unet, (3, 6, 5)),
        (dit, (3, 6, 5)),
        (generator, (3, 6, 5)),
        (critic, (3, 6, 5)),
        (encoder, (3, 6, 5)),
        (decoder, (3, 6, 5)),
        (textbook_generator, (3, 6, 5)),
        (textbook_critic, (3, 6, 5)),
        (dcgan_generator, (3, 6, 5)),
        (dcgan_critic, (3, 6, 5)),
        (compressor, (3, 6, 5)),
        (expander, (3, 6, 5)),
        (patch, (3, 6, 5)),
        (perceptron, (5,)),
    ]
    for classes in (0, CLASSES)
    if not (classes and build is patch)
]


def awaken(network: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move every parameter off its start, so that nothing is hidden behind a zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def arguments(build: Build, shape: tuple[int, ...], classes: int, n: int, dtype=torch.float64):
    """Input, time and condition for a network that ``build`` makes."""
    inputs = (LATENT,) if build in FROM_NOISE else (map_shape(shape, 3, 2) if build is expander else shape)
    x = torch.randn(n, *inputs, dtype=dtype)
    t = torch.rand(n, dtype=dtype) if build in DENOISERS else None
    condition = {"label": torch.arange(n) % classes} if classes else None
    return x, t, condition


def outputs(build: Build, shape: tuple[int, ...], n: int) -> tuple[int, ...]:
    if build is compressor:
        return (n, *map_shape(shape, 4, 2))
    if build is patch:
        return (n, math.prod(-(-max(side, 8) // 4) for side in shape[1:]))
    return {**dict.fromkeys(CRITICS, (n,)), encoder: (n, 2 * LATENT)}.get(build, (n, *shape))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


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
        alone = network(x[row], None if t is None else t[row], condition and {"label": condition["label"][row]})
        torch.testing.assert_close(alone, whole[row], rtol=1e-10, atol=1e-10)
    assert whole.flatten(1).std(0).min() > 0 if whole.ndim > 1 else whole.std() > 0


@pytest.mark.parametrize("build", [p.values[0] for p in SMALL if p.values[2]], ids=lambda build: build.__name__)
def test_null_rows_read_as_unconditional(build):
    shape = (5,) if build in ON_VECTORS else (3, 6, 5)
    network = awaken(build(shape, CLASSES).double(), 0.3)
    x, t, condition = arguments(build, shape, CLASSES, 5)
    null = torch.tensor([True, False, True, False, False])
    free, labelled = network(x, t, None), network(x, t, condition)
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
    # Fourth order, and a step small enough for frequencies up to 1000; leaky ReLUs are piecewise linear.
    h = 1e-5
    difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-6)
    assert derivative.abs().max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("build", "shape", "classes"), [p for p in SMALL if p.values[0] in DENOISERS])
def test_forward_mode_works_in_every_precision(build, shape, classes, precision):
    """Fused attention has no forward-mode derivative, and group_norm mixes types in it: both are gone round there."""
    network = awaken(build(shape, classes))
    x, t, condition = arguments(build, shape, classes, 3, torch.float32)
    tangent = torch.randn_like(x)

    def derivative(network, x, tangent, t):
        return torch.func.jvp(lambda x: call(network, x, t, condition), (x,), (tangent,))

    with network_precision(precision):
        value, tangent_out = derivative(network, x, tangent, t)
        with torch.no_grad():
            plain = call(network, x, t, condition)
    _, exact = derivative(network.double(), x.double(), tangent.double(), None if t is None else t.double())
    error = (tangent_out - exact).norm() / exact.norm()
    assert error < (1e-4 if precision == "float32" else 0.1)
    assert (value - plain).norm() < (1e-5 if precision == "float32" else 0.05) * plain.norm()


@pytest.mark.parametrize(("build", "shape", "classes"), [p for p in SMALL if p.values[2]])
def test_export_equals_eager(build, shape, classes):
    network = awaken(build(shape, classes)).eval()
    x, t, condition = arguments(build, shape, classes, 3, torch.float32)
    exported = torch.export.export(network, (x, t, condition), strict=False).module()
    x, t, _ = arguments(build, shape, classes, 3, torch.float32)
    torch.testing.assert_close(exported(x, t, condition), network(x, t, condition), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", list(DENOISERS))
def test_denoisers_start_at_zero_and_others_do_not(build):
    shape = (5,) if build is mlp else (2, 7, 9)
    x, t, _ = arguments(build, shape, 0, 4, torch.float32)
    assert build(shape)(x, t).abs().max() == 0
    assert build(shape, times=0)(x).abs().max() > 0
    for timeless in TIMELESS:
        assert timeless((2, 7, 9))(arguments(timeless, (2, 7, 9), 0, 4, torch.float32)[0]).abs().max() > 0


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


@pytest.mark.parametrize("classes", [0, CLASSES])
@pytest.mark.parametrize("build", [critic, mlp])
def test_gradient_penalty_reaches_every_parameter(build, classes):
    if build is mlp:
        network, x = MLP(5, 1, width=12, depth=2, conditions=class_labels(classes), times=0), torch.randn(6, 5)
    else:
        network, x = critic((3, 13, 11), classes), torch.randn(6, 3, 13, 11)
    network = awaken(network).double()
    x = x.double().requires_grad_()
    condition = {"label": torch.arange(6) % CLASSES} if classes else None
    score = network(x, None, condition)
    (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    slope.square().sum().backward()
    silent = {"leave.bias", "enter.bias"}
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        assert gradient is None or gradient.isfinite().all(), name
        # Leaky ReLU has no curvature, so biases move a slope only across its kinks.
        if not name.endswith("bias") and name not in silent and "conditioning" not in name:
            assert gradient is not None, name
            assert gradient.abs().max() > 0, name

    weight = next(p for name, p in network.named_parameters() if name == "enter.weight")
    index = (0,) * weight.ndim

    def penalty() -> float:
        (slope,) = torch.autograd.grad(network(x, None, condition).sum(), x)
        return slope.square().sum().item()

    with torch.no_grad():
        start = weight[index].item()
        values = []
        for step in (1e-6, -1e-6):
            weight[index] = start + step
            with torch.enable_grad():
                values.append(penalty())
        weight[index] = start
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(weight.grad[index].item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("build", [unet, dit, critic, encoder])
def test_odd_sizes_equal_hand_padded_even_sizes(build):
    """A network for 5 x 3 equals the same weights on the hand-padded image, cropped at the top left."""
    odd, even = (2, 5, 3), (2, 8, 4)
    if build is critic or build is encoder:
        options = {"stem": 4, "width": 8}
        options |= {"blocks": 1} if build is critic else {"latent": LATENT}
        kind = Critic if build is critic else Encoder
        small, large = kind(odd, **options), kind(even, **options)
        x, t = torch.randn(4, *odd), None
    else:
        options = {"stem": 4} if build is unet else {"patch": 4, "depth": 2}
        kind = UNet if build is unet else DiT
        options |= {"heads": 2} | ({"blocks": 1, "widths": (8,)} if build is unet else {"width": 8})
        small, large = kind(odd, **options), kind(even, **options)
        x, t = torch.randn(4, *odd), torch.rand(4)
    awaken(small)
    large.load_state_dict(small.state_dict())
    rows = [0, 1, 2, 3, 4, 4, 4, 4]
    padded = x[:, :, rows][:, :, :, [0, 1, 2, 2]]
    expected = large(padded, t)
    if expected.ndim == 4:
        expected = expected[:, :, :5, :3]
    torch.testing.assert_close(small(x, t), expected)


def test_pad_keeps_the_image_in_the_top_left_corner():
    x = torch.randn(2, 3, 5, 7)
    padded = pad_to(x, 4)
    assert padded.shape == (2, 3, 8, 8)
    assert torch.equal(padded[:, :, :5, :7], x)
    assert pad_to(x[:, :, :4, :4], 4).shape == (2, 3, 4, 4)


@pytest.mark.parametrize("build", [unet, dit])
def test_a_pixel_acts_at_its_own_place(build):
    """Residual branches start at zero, so a new network looks nearby; a transposed or shifted crop would show."""
    shape = (1, 13, 10)
    network = build(shape).double()
    network.leave.reset_parameters()
    x, t = torch.zeros(1, *shape, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    for row, column in [(0, 0), (12, 9), (12, 0), (4, 7)]:
        moved = x.clone()
        moved[0, 0, row, column] = 3.0
        reaction = (network(moved, t) - network(x, t))[0, 0].abs()
        assert reaction.shape == (13, 10)
        i, j = divmod(int(reaction.argmax()), 10)
        assert max(abs(i - row), abs(j - column)) <= 4, (row, column, i, j)
        if build is dit:  # exactly its own patch of 4 x 4 pixels
            own = torch.zeros(13, 10, dtype=torch.bool)
            own[row // 4 * 4 : row // 4 * 4 + 4, column // 4 * 4 : column // 4 * 4 + 4] = True
            assert reaction[~own].max() == 0
            assert reaction[own].min() > 0


def test_tokens_know_their_place():
    """Without positions a transformer would answer to exchanged patches with exchanged answers."""
    network = awaken(DiT((1, 4, 8), patch=4, width=8, depth=1, heads=2).double())
    x, t = torch.randn(3, 1, 4, 8).double(), torch.rand(3).double()
    assert (network(x.roll(4, 3), t) - network(x, t).roll(4, 3)).abs().max() > 1e-3


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
    spread = torch.zeros(2, 3, 2 * coarse.shape[2] + 1, 2 * coarse.shape[3] + 1, dtype=torch.float64)
    edge = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    spread[:, :, ::2, ::2] = edge
    expected = F.conv2d(F.pad(spread, (1, 1, 1, 1)), kernel / 4, groups=3)[:, :, :height, :width]
    torch.testing.assert_close(double(coarse), expected)


def test_modulation_and_attention_are_their_formulas():
    h, scale, shift = torch.randn(3, 4, 2, 5), torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(modulate(h, (scale, shift)), h * scale[:, :, None, None] + shift[:, :, None, None])
    torch.testing.assert_close(modulate(h[:, :, 0, 0], (scale, shift)), h[:, :, 0, 0] * scale + shift)
    assert modulate(h, None) is h
    modulation = Modulation.films(6, [2, 3])
    nn.init.zeros_(modulation.linear.weight)
    for (scale, shift), width in zip(films_of(modulation, torch.randn(4, 6), 2), (2, 3), strict=True):
        assert torch.equal(scale, torch.ones(4, width))
        assert torch.equal(shift, torch.zeros(4, width))
    q, k, v = torch.randn(3, 2, 2, 7, 4).unbind(0)
    expected = torch.softmax(torch.einsum("nhid,nhjd->nhij", q, k) / 2, -1) @ v
    torch.testing.assert_close(attend(q, k, v), expected)
    torch.testing.assert_close(attend(q.bfloat16(), k.bfloat16(), v.bfloat16()).float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("build", list(DENOISERS))
def test_two_times(build):
    shape = (5,) if build is mlp else (2, 7, 9)
    network = awaken(build(shape, times=2).double(), 0.2)
    x, s, t = torch.randn(3, *shape).double(), torch.rand(3).double(), torch.rand(3).double()
    y = network(x, torch.stack([t, s], 1))
    for other in (torch.stack([s, t], 1), torch.stack([t, t], 1), torch.stack([s, s], 1)):
        assert (network(x, other) - y).reshape(3, -1).abs().amax(1).min() > 1e-4
    with pytest.raises(UsageError, match=r"\(3, 2\)"):
        network(x, t[:2])


@pytest.mark.parametrize("build", list(DENOISERS))
def test_time_and_label_matter(build):
    shape = (5,) if build is mlp else (2, 7, 9)
    network = awaken(build(shape, CLASSES), 0.2)
    x = torch.randn(1, *shape).expand(4, *shape)
    labels = {"label": torch.tensor([0, 1, 2, 0])}
    y = network(x, torch.full((4,), 0.5), labels)
    torch.testing.assert_close(y[0], y[3])
    for a, b in [(0, 1), (1, 2), (0, 2)]:
        assert (y[a] - y[b]).abs().max() > 1e-3
    assert (network(x, torch.full((4,), 0.6), labels) - y).reshape(4, -1).abs().amax(1).min() > 1e-3


def test_embeddings():
    embedding = Label.numbered(4).embedding(6)
    labels, hidden = torch.tensor([3, 0]), torch.tensor([False, True])
    assert torch.equal(embedding(labels, hidden), embedding.table.weight[[3, 4]])
    assert torch.equal(embedding(labels), embedding.table.weight[[3, 0]])
    time = TimeEmbedding(16).double()
    assert time.frequencies.min() == 1
    assert time.frequencies.max() == pytest.approx(1000)
    first, second = time(torch.tensor([0.3, 0.3 + 1e-3], dtype=torch.float64))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "shape", "budgets"),
    [
        (UNet, (1, 28, 28), {"tiny": (0.15e6, 0.3e6), "small": (1.1e6, 1.3e6), "base": (5e6, 10e6)}),
        (UNet, (1, 8, 8), {"tiny": (0.05e6, 0.3e6), "small": (0.3e6, 0.6e6), "base": (2e6, 10e6)}),
        (DiT, (3, 32, 32), {"tiny": (0.15e6, 0.3e6), "small": (1.1e6, 1.3e6), "base": (5e6, 10e6)}),
        (Generator, (1, 28, 28), {"tiny": (0.05e6, 0.1e6), "small": (0.15e6, 0.3e6), "base": (2e6, 6e6)}),
        (Critic, (1, 28, 28), {"tiny": (0.05e6, 0.1e6), "small": (0.15e6, 0.3e6), "base": (2e6, 6e6)}),
        (Encoder, (1, 28, 28), {"tiny": (0.1e6, 0.25e6), "small": (0.4e6, 1e6), "base": (2e6, 6e6)}),
        (Decoder, (1, 28, 28), {"tiny": (0.1e6, 0.25e6), "small": (0.4e6, 1e6), "base": (2e6, 6e6)}),
        (MLP, (2,), {"tiny": (1e4, 3e4), "small": (4e4, 1e5), "base": (1e6, 3e6)}),
        (DCGANGenerator, (1, 28, 28), {"tiny": (0.2e6, 0.3e6), "small": (1e6, 1.3e6), "base": (4e6, 5e6)}),
        (DCGANCritic, (1, 28, 28), {"tiny": (0.04e6, 0.06e6), "small": (0.5e6, 0.6e6), "base": (2.5e6, 3e6)}),
        (DCGANGenerator, (3, 8, 8), {"tiny": (0.05e6, 0.1e6), "small": (0.4e6, 0.7e6), "base": (2e6, 3e6)}),
        (TextbookGenerator, (1, 28, 28), {"tiny": (0.05e6, 0.07e6), "small": (0.2e6, 0.3e6), "base": (0.9e6, 1.1e6)}),
        (Compressor, (3, 64, 64), {"tiny": (0.05e6, 0.12e6), "small": (0.25e6, 0.4e6), "base": (1.8e6, 2.6e6)}),
        (Expander, (3, 64, 64), {"tiny": (0.05e6, 0.12e6), "small": (0.2e6, 0.4e6), "base": (1.8e6, 2.6e6)}),
        (Perceptron, (784,), {"tiny": (0.1e6, 0.12e6), "small": (0.3e6, 0.4e6), "base": (1e6, 1.1e6)}),
        (TextbookCritic, (17,), {"tiny": (1e3, 2e3), "small": (5e3, 1e4), "base": (2e4, 4e4)}),
    ],
)
def test_parameter_budgets(kind, shape, budgets):
    for size, (low, high) in budgets.items():
        network = kind.sized(size, shape=shape, conditions=class_labels(10))
        assert low <= parameter_count(network) <= high, (size, parameter_count(network))
    with pytest.raises(UsageError, match='Did you mean "small"'):
        kind.sized("smal", shape=shape)


def test_constructor_arguments_are_attributes():
    shape = (3, 9, 12)
    networks = [
        MLP(3, 4, width=5, depth=2, conditions=class_labels(2), times=2),
        UNet(shape, widths=[4, 12], blocks=2, conditions=class_labels(2), times=2, stem=2, heads=3, dropout=0.1),
        DiT(shape, patch=3, width=8, depth=1, heads=2, conditions=class_labels(2), times=0),
        Generator(shape, latent=3, width=4, blocks=2, conditions=class_labels(2), stem=2),
        Critic(shape, width=4, blocks=2, conditions=class_labels(2), stem=2, minibatch_std=3),
        TextbookGenerator(shape, latent=3, width=4, conditions=class_labels(2)),
        TextbookCritic(shape, width=4, conditions=class_labels(2), minibatch_std=3),
        DCGANGenerator(shape, latent=3, width=4, conditions=class_labels(2)),
        DCGANCritic(shape, width=4, conditions=class_labels(2), minibatch_std=3, normalise=False),
        Encoder(shape, latent=3, width=4, blocks=2, conditions=class_labels(2), stem=2),
        Decoder(shape, latent=3, width=4, blocks=2, conditions=class_labels(2), stem=2),
        Compressor(shape, outputs=3, factor=4, width=4, blocks=2, conditions=class_labels(2)),
        Expander(shape, inputs=3, factor=8, width=4, blocks=2, conditions=class_labels(2)),
        PatchCritic(shape, width=4, depth=3),
        Perceptron(5, 3, width=4, depth=3, conditions=class_labels(2)),
    ]
    import inspect

    for network in networks:
        names = list(inspect.signature(type(network).__init__).parameters)[1:]
        twin = type(network)(**{name: getattr(network, name) for name in names})
        twin.load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    "call",
    [
        lambda: UNet((8, 8), widths=(8, 16)),
        lambda: UNet((1, 0, 8), widths=(8, 16)),
        lambda: UNet((1, 8, 8), widths=(8, 0)),
        lambda: UNet((1, 8, 8), widths=(9, 18), heads=4),
        lambda: UNet((1, 8, 8), widths=()),
        lambda: UNet((1, 8, 8), widths=(8, 16), dropout=1.0),
        lambda: DiT((1, 8, 8), patch=2, width=10, depth=1, heads=4),
        lambda: DiT((1, 8, 8), patch=0, width=8, depth=1, heads=4),
        lambda: Generator((1, 8, 8), latent=0, width=8, blocks=1),
        lambda: Decoder((1, 8, 8), latent=0, width=8),
        lambda: Encoder((17,), latent=2, width=8),
        lambda: Compressor((17,), outputs=2, factor=2, width=8),
        lambda: Compressor((1, 8, 8), outputs=2, factor=3, width=8),
        lambda: Compressor((1, 3, 3), outputs=2, factor=4, width=8),
        lambda: Expander((1, 8, 8), inputs=0, factor=2, width=8),
        lambda: Expander((1, 8, 8), inputs=2, factor=2, width=8)(torch.zeros(3, 2, 8, 8)),
        lambda: PatchCritic((1, 8, 8))(torch.zeros(3, 1, 8, 8), None, {"label": torch.zeros(3).long()}),
        lambda: Perceptron(0, 3),
        lambda: Critic((2,), width=8, blocks=1),
        lambda: Critic((1, 8, 8), width=8, blocks=1, minibatch_std=-1),
        lambda: TextbookGenerator((1, 8), latent=3),
        lambda: TextbookCritic((5,), width=0),
        lambda: TextbookCritic((5,), minibatch_std=-1),
        lambda: TextbookCritic((5,))(torch.zeros(3, 5), torch.zeros(3)),
        lambda: TextbookCritic((5,))(torch.zeros(3, 5), None, {"label": torch.zeros(3).long()}),
        lambda: DCGANGenerator((5,)),
        lambda: DCGANCritic((1, 8, 8))(torch.zeros(3, 1, 8, 9)),
        lambda: MLP(0, 1, width=8, depth=1),
        lambda: MLP.sized("tiny", shape=(1, 8, 8)),
        lambda: MLP(2, 2, width=8, depth=1, times=-1),
        lambda: mlp((5,))(torch.zeros(3, 4), torch.zeros(3)),
        lambda: mlp((5,))(torch.zeros(5), torch.zeros(3)),
        lambda: mlp((5,))(torch.zeros(3, 5)),
        lambda: mlp((5,))(torch.zeros(3, 5), torch.zeros(2)),
        lambda: mlp((5,))(torch.zeros(3, 5), torch.tensor(0.5)),
        lambda: mlp((5,), times=0)(torch.zeros(3, 5), torch.zeros(3)),
        lambda: unet((1, 8, 8))(torch.zeros(3, 1, 8, 9), torch.zeros(3)),
        lambda: unet((1, 8, 8))(torch.zeros(1, 8, 8), torch.zeros(3)),
        lambda: unet((1, 8, 8))(torch.zeros(3, 1, 8, 8), torch.zeros(3), {"label": torch.zeros(3).long()}),
        lambda: unet((1, 8, 8), 2)(torch.zeros(3, 1, 8, 8), torch.zeros(3), {"label": torch.zeros(3)}),
        lambda: unet((1, 8, 8), 2)(torch.zeros(3, 1, 8, 8), torch.zeros(3), {"label": torch.zeros(2).long()}),
        lambda: critic((1, 8, 8))(torch.zeros(3, 1, 8, 8), torch.zeros(3)),
        lambda: generator((1, 8, 8))(torch.zeros(3, LATENT), None, {"label": torch.zeros(3).long()}),
        lambda: generator((1, 8, 8))(torch.zeros(3, LATENT + 1)),
    ],
)
def test_what_cannot_be_is_refused(call):
    with pytest.raises(UsageError, match=r"expected|divide|at least|built"):
        call()


def test_a_leaky_perceptron_is_piecewise_linear():
    """Without biases it scales with its input; the plain one does not. So a slope has no slope of its own."""
    network = MLP(5, 1, width=7, depth=3, times=0, activation="leaky_relu").double()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    x = torch.randn(6, 5, dtype=torch.float64)
    assert torch.allclose(network(3 * x), 3 * network(x))
    smooth = MLP(5, 1, width=7, depth=3, times=0).double()
    smooth.load_state_dict(network.state_dict())
    assert not torch.allclose(smooth(3 * x), 3 * smooth(x))
    by_hand = network.leave(nn.functional.leaky_relu(_residual(network, x), 0.2))
    assert torch.allclose(network(x), by_hand)


def _residual(network, x):
    h = network.enter(x)
    for layer in network.hidden:
        h = h + layer(nn.functional.leaky_relu(h, 0.2))
    return h


def test_an_unknown_activation_is_refused():
    with pytest.raises(UsageError, match='Did you mean "leaky_relu"'):
        MLP(5, 1, width=7, depth=3, activation="leaky")
