"""Held-out examples and images are chosen by their content: laws on random data, and the leaks that
a choice by position has.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from programs.image_files import content, pixels

import pushforward as pf
from pushforward import data as pf_data
from pushforward.cli import main
from pushforward.data import Split
from pushforward.data.core.dataset import Schema, build
from pushforward.data.core.hashes import ATOM, example_hashes, held_out_indices
from pushforward.errors import DataError


def random(seed=0):
    return np.random.default_rng(seed)


def vectors(n, seed=0, d=5):
    return random(seed).standard_normal((n, d)).astype(np.float32)


def sides(x, labels=None):
    schema = Schema(() if labels is None else ("a", "b", "c"))
    data = build("some", Split(x, labels), schema=schema)
    return content(data.train.x), content(data.held_out.x)


@pytest.mark.parametrize(
    "x", [vectors(700), pixels(700), pixels(90, shape=(1, 40, 41)), pixels(9, shape=(3, 256, 256))]
)
def test_the_hash_of_a_row_depends_on_nothing_but_its_content(x):
    hashes = example_hashes(x)
    assert hashes.dtype == np.uint64
    actual = np.concatenate([example_hashes(x[i : i + 1]) for i in range(len(x))])
    assert_array_equal(actual, hashes)
    order = random(1).permutation(len(x))
    actual = example_hashes(x[order])
    assert_array_equal(actual, hashes[order])
    assert len(np.unique(hashes)) == len(x)
    changed = x.copy()
    flat = changed.reshape(len(x), -1)
    flat[np.arange(len(x)), random(2).integers(0, flat.shape[1], len(x))] += 1
    assert not np.isin(example_hashes(changed), hashes).any()


def test_hashes_are_uniform_also_for_rows_that_differ_in_one_bit():
    x = np.zeros((8 * 4096, 4096), dtype=np.uint8)
    x[np.arange(len(x)), np.arange(len(x)) // 8] = 1 << np.arange(len(x)) % 8
    hashes = example_hashes(x.reshape(-1, 1, 64, 64))
    ones = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).mean(0)
    largest = np.abs(ones - 0.5).max()
    expected = 5 * 0.5 / np.sqrt(len(x))
    assert largest < expected
    shares = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16) / len(x)
    largest = np.abs(shares - 1 / 16).max()
    expected = 5 * np.sqrt(1 / 16 / len(x))
    assert largest < expected


def test_an_image_has_one_hash_in_gray_in_colour_and_opaque():
    gray = pixels(50, shape=(1, 7, 4))
    colour = np.repeat(gray, 3, axis=1)
    opaque = np.concatenate([colour, np.full_like(gray, 255)], axis=1)
    assert_array_equal(example_hashes(colour), example_hashes(gray))
    assert_array_equal(example_hashes(opaque), example_hashes(gray))
    opaque[7, 3, 2, 1] = 254
    colour[9, 2, 0, 0] ^= 1
    values = np.flatnonzero(example_hashes(opaque) != example_hashes(gray)).tolist()
    assert values == [7]
    values = np.flatnonzero(example_hashes(colour) != example_hashes(gray)).tolist()
    assert values == [9]
    assert (example_hashes(gray.reshape(50, 1, 4, 7)) != example_hashes(gray)).all(), (
        "the same pixels in another shape"
    )


def test_minus_zero_is_zero():
    x = vectors(20)
    x[:, 2] = 0
    negative = x.copy()
    negative[:, 2] = -0.0
    assert_array_equal(example_hashes(negative), example_hashes(x))


@pytest.mark.parametrize("make", [vectors, pixels])
@pytest.mark.parametrize("seed", range(3))
def test_a_row_stays_on_its_side_whatever_happens_to_the_others(make, seed):
    x = make(1000, seed)
    r = random(10 + seed)
    train, held_out = sides(x)
    assert not train & held_out
    assert len(train | held_out) == 1000
    difference = abs(len(held_out) - 100)
    expected = 5 * np.sqrt(1000 * 0.1 * 0.9)
    assert difference < expected
    some = x[np.sort(r.permutation(1000)[:400])]
    for changed in (
        np.concatenate([make(1, 99 + seed), x]),
        np.concatenate([x, x]),
        np.repeat(x, ATOM, axis=0),
        x[r.permutation(1000)],
        np.concatenate([make(3000, 50 + seed), x]),
    ):
        more_train, more_held_out = sides(changed)
        assert train <= more_train
        assert held_out <= more_held_out
        assert not more_train & more_held_out
    fewer_train, fewer_held_out = sides(some)
    assert (fewer_train, fewer_held_out) == (train & content(some), held_out & content(some))


def test_the_two_leaks_of_a_choice_by_position_are_closed(tmp_path):
    """One row in front of a file of 1,000 rows; and a file whose rows were all written twice."""
    x = vectors(1000, 3, 16)
    np.save(tmp_path / "first.npy", x)
    np.save(tmp_path / "grown.npy", np.concatenate([vectors(1, 4, 16), x]))
    np.save(tmp_path / "doubled.npy", np.concatenate([x, x]))
    first, grown, doubled = (
        pf_data.load(tmp_path / f"{name}.npy") for name in ("first", "grown", "doubled")
    )
    assert not content(grown.held_out.x) & content(first.train.x)
    assert not content(doubled.held_out.x) & content(doubled.train.x)
    assert len(doubled.train) + len(doubled.held_out) == 2000


@pytest.mark.parametrize("n", range(2, 40))
def test_small_data_has_rows_on_both_sides_and_growth_moves_none_from_training(n):
    x = vectors(n + 1, n)
    labels = np.arange(n + 1) % 3
    if n > 3:
        schema = Schema(("a", "b", "c"))
        data = build("few", Split(x[:n], labels[:n]), schema=schema)
    else:
        data = build("few", Split(x[:n]))
    assert len(data.held_out) >= (2 if n >= 5 else 1)
    assert len(data.train) >= 1
    if n > 3:
        names = set(labels[:n])
        assert names == set(data.train.labels)
    trained = content(build("few", Split(x[:n])).train.x)
    judged = content(build("more", Split(x)).held_out.x)
    if n not in (
        4,
        2,
    ):  # five rows hold out two; the highest hash of two rows may be the lower of three
        assert len(trained & judged) == 0


def test_a_class_keeps_its_row_of_the_highest_hash_in_training():
    x = vectors(3000)
    low = np.flatnonzero(example_hashes(x) < np.uint64(2**64 // 10))[:4]
    labels = np.zeros(3000, dtype=np.int64)
    labels[low] = 1
    held = held_out_indices(example_hashes(x), labels)
    assert set(low) - set(held) == {low[np.argmax(example_hashes(x)[low])]}


@pytest.mark.parametrize(
    ("x", "labels", "says"),
    [
        (vectors(1), None, "at least 2"),
        (np.ones((7, 3), dtype=np.float32), None, "All 7 examples"),
        (vectors(3), np.arange(3), "single example"),
    ],
)
def test_data_that_cannot_be_split_is_refused(x, labels, says):
    with pytest.raises(DataError, match=says):
        build("none", Split(x, labels), schema=Schema(() if labels is None else ("a", "b", "c")))


def test_a_fixed_count_is_exact_and_in_the_classes_proportions():
    x = vectors(100)
    labels = np.repeat(np.arange(3), (10, 30, 60))
    held = held_out_indices(example_hashes(x), labels, 20)
    values = np.bincount(labels[held]).tolist()
    assert values == [2, 6, 12]
    order = random(3).permutation(100)
    again = held_out_indices(example_hashes(x)[order], labels[order], 20)
    assert sorted(order[again]) == held.tolist()
    actual = held_out_indices(example_hashes(x), None, 7)
    expected = np.sort(np.argsort(example_hashes(x))[:7])
    assert np.array_equal(actual, expected)


def test_atoms_of_a_distribution_are_split_as_rows_of_their_own():
    """Six values with 400 copies each: both sides have all of them, and a copy that is added moves
    no other one.
    """
    values = vectors(6, 5, 3)
    x = np.repeat(values, 400, axis=0)

    def counts(x):
        held = held_out_indices(example_hashes(x))
        return {
            value.tobytes(): sum(row.tobytes() == value.tobytes() for row in x[held])
            for value in values
        }

    held = counts(x)
    assert all(abs(count - 40) < 5 * np.sqrt(400 * 0.1 * 0.9) for count in held.values())
    actual = counts(x[random(1).permutation(len(x))])
    assert actual == held
    more = counts(np.concatenate([values[:2], x]))
    assert all(0 <= more[key] - count <= 1 for key, count in held.items())
    data = build("atoms", Split(x))
    assert (data.removed, len(data.train) + len(data.held_out)) == (0, 2400)


def test_training_rows_that_equal_a_held_out_row_are_left_out(tmp_path):
    x = vectors(300)
    test = vectors(80, 1)
    actual = np.concatenate([x, test[:25]])
    np.savez(tmp_path / "own.npz", x=actual, x_test=test)
    report = pf_data.check(tmp_path / "own.npz")
    assert (report["train"], report["held_out"], report["removed"], report["repeated"]) == (
        300,
        80,
        25,
        0,
    )
    actual = content(pf_data.load(tmp_path / "own.npz").train.x)
    assert actual == content(x)
    np.savez(tmp_path / "same.npz", x=test[:50], x_test=test)
    with pytest.raises(DataError, match="held-out example"):
        pf_data.load(tmp_path / "same.npz")
    atoms = np.repeat(vectors(4), 100, axis=0)
    np.savez(tmp_path / "atoms.npz", x=atoms, x_test=atoms[::5])
    report = pf_data.check(tmp_path / "atoms.npz")
    assert (report["train"], report["removed"], report["repeated"]) == (400, 0, 80)


def test_data_of_many_copies_says_that_held_out_examples_are_training_examples(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    once = vectors(40, 0, 3)
    np.save("few.npy", np.tile(once, (ATOM, 1)))
    np.save("many.npy", np.tile(once, (ATOM + 1, 1)))
    assert pf_data.check("few.npy")["warnings"] == []
    (said,) = pf_data.check("many.npy")["warnings"]
    count = pf_data.check("many.npy")["held_out"]
    assert said.startswith(f"{count} of the {count} held-out examples of many ")
    code = main(
        ["train", "flow", "--data", "many.npy", "--size", "tiny", "--steps", "1", "--out", "run"]
    )
    assert code == 0
    assert f"warning: {said}" in capsys.readouterr().err
    warnings = pf.evaluate("run", repeats=1).models[0].warnings
    assert warnings == (said,)
    assert main(["data", "check", "many.npy"]) == 0
    assert said in capsys.readouterr().out


def saved(folder, images):
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(folder / f"{i:04}.png")
    return folder


def test_folders_hold_the_same_images_out_at_every_size_and_beside_images_in_colour(tmp_path):
    gray = np.sort(pixels(120, shape=(1, 8, 8)).reshape(120, -1)).reshape(
        120, 1, 8, 8
    )  # brightness tells them apart at every size
    gray = (gray // 16 + np.arange(120)[:, None, None, None] * 2).astype(np.uint8)
    folder = saved(tmp_path / "images", gray)
    whole = pf_data.load(folder)
    small = pf_data.load(folder, resize=4)
    assert whole.removed == small.removed == 0
    assert_array_equal(whole.held_out.hashes, small.held_out.hashes)
    actual = np.sort(whole.train.hashes)
    expected = np.sort(small.train.hashes)
    assert_array_equal(actual, expected)
    np.save(tmp_path / "images.npy", gray.transpose(0, 2, 3, 1))
    actual = pf_data.load(tmp_path / "images.npy").held_out.x
    assert_array_equal(actual, whole.held_out.x)
    actual = pf_data.load(tmp_path / "images.npy", resize=4).held_out.hashes
    assert_array_equal(actual, small.held_out.hashes)
    Image.fromarray(pixels(1, 5, (8, 8, 3))[0]).save(folder / "colour.png")
    colour = pf_data.load(folder)
    assert colour.space.shape == (3, 8, 8)
    assert set(whole.train.hashes) <= set(colour.train.hashes)
    assert set(whole.held_out.hashes) <= set(colour.held_out.hashes)


def test_images_that_scaling_makes_equal_do_not_stay_on_both_sides(tmp_path):
    """Each picture in two sizes: in the folder's own sizes they are different files, at 4 x 4 they
    are the same rows.
    """
    shades = np.linspace(0, 255, 200).astype(np.uint8)
    folder = tmp_path / "two"
    for size in (8, 12):
        for i, shade in enumerate(shades):
            folder.mkdir(exist_ok=True)
            Image.fromarray(np.full((size, size), shade)).save(folder / f"{size}-{i:03}.png")
    data = pf_data.load(folder, resize=4)
    assert data.removed > 10
    assert not content(data.train.x) & content(data.held_out.x)
    assert len(data.train) + len(data.held_out) + data.removed == 400


def test_binarised_images_are_split_as_the_images_they_are_drawn_from():
    grey = pf_data.load("digits")
    bits = pf_data.load("binary-digits", labelled=False, limit=300)
    assert_array_equal(bits.held_out.hashes, grey.held_out.hashes)
    assert np.isin(bits.train.hashes, grey.train.hashes).all()
    assert len(bits.train.hashes) == 300
