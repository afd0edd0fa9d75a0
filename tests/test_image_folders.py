"""Folders of image files, hostile and plain: each is used, converted or refused with a reason."""

import os

import numpy as np
import pytest
from PIL import Image
from programs.image_files import has, picture, plain, rows_of

from pushforward.data import load
from pushforward.errors import DataError


def test_flat_folder_has_no_labels_and_keeps_every_pixel(tmp_path):
    plain(tmp_path, 20)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    data = load(tmp_path)
    assert data.space.shape == (3, 12, 10)
    assert data.space.classes == ()
    assert data.train.labels is None
    assert (len(data.train) + len(data.held_out), data.ignored) == (20, 2)
    assert len(data.held_out) >= 2
    assert data.skipped == ()
    assert data.converted == ()
    assert data.name == tmp_path.name
    assert all(has(data, picture(i)) for i in range(20))
    assert load(tmp_path).fingerprint == data.fingerprint


def test_class_folders_are_the_classes(tmp_path):
    plain(tmp_path / "zebra", 20)
    plain(tmp_path / "ape" / "deeper", 10, start=20)
    (tmp_path / "empty").mkdir()
    data = load(tmp_path)
    assert data.space.classes == ("ape", "zebra")
    assert data.space.label.frequencies == tuple(np.bincount(data.train.labels) / len(data.train))
    assert (np.bincount(data.train.labels) + np.bincount(data.held_out.labels, minlength=2)).tolist() == [10, 20]
    apes = [picture(i).transpose(2, 0, 1) for i in range(20, 30)]
    for row, label in zip(rows_of(data), np.concatenate([data.train.labels, data.held_out.labels]), strict=True):
        assert (label == 0) == any(np.array_equal(row, ape) for ape in apes)
    plain(tmp_path, 1)
    with pytest.raises(DataError, match=r"images of its own .1. beside subfolders"):
        load(tmp_path)


@pytest.mark.parametrize(("shape", "channels"), [((12, 10), 1), ((12, 10, 3), 3), ((12, 10, 4), 4)])
def test_channels_follow_the_content(tmp_path, shape, channels):
    plain(tmp_path, 4, shape)
    assert load(tmp_path).space.shape == (channels, 12, 10)
    Image.fromarray(np.full((12, 10, 4), 255, np.uint8)).save(tmp_path / "white.png")  # opaque and gray
    assert load(tmp_path).space.shape == (channels, 12, 10)


def test_gray_and_colour_together(tmp_path):
    plain(tmp_path, 3, (12, 10))
    plain(tmp_path, 1, (12, 10, 4), start=3)
    data = load(tmp_path)
    gray = picture(0, (12, 10))
    assert has(data, np.dstack([gray, gray, gray, np.full_like(gray, 255)]))
    assert has(data, picture(3, (12, 10, 4)))


def test_more_than_a_tenth_unusable_is_an_error(tmp_path):
    plain(tmp_path, 18)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    assert len(load(tmp_path).skipped) == 2  # 2 of 20
    (tmp_path / "c.png").write_text("no")
    with pytest.raises(DataError, match=r"(?s)3 of 21 image files.*more than 10%.*a.png: empty file.*c.png: no image") as caught:
        load(tmp_path)
    assert caught.value.exit_code == 3


def test_sizes_that_differ_need_resize(tmp_path):
    plain(tmp_path, 7)
    plain(tmp_path, 2, (30, 20, 3), start=7)
    with pytest.raises(DataError, match=r"12 x 10 and 30 x 20, of .*`resize=") as caught:
        load(tmp_path)
    assert "`resize=10`" in str(caught.value)
    assert load(tmp_path, resize=8).space.shape == (3, 8, 8)
    assert load(tmp_path, resize=(6, 9)).space.shape == (3, 6, 9)


def test_resize_is_antialiased_and_keeps_the_aspect(tmp_path):
    checks = (np.indices((64, 128)).sum(0) % 2 * 255).astype(np.uint8)  # a fine checkerboard, whose average is 127.5
    ramp = np.tile(np.arange(128, dtype=np.uint8) * 2, (64, 1))
    for i in range(2):
        Image.fromarray(checks).save(tmp_path / f"check{i}.png")
        Image.fromarray(ramp).save(tmp_path / f"ramp{i}.png")
    rows = rows_of(load(tmp_path, resize=16))[:, 0].astype(float)
    even = rows[np.ptp(rows, axis=(1, 2)) < 20]
    assert len(even) == 2
    assert np.abs(even - 127.5).max() < 6
    ramps = rows[np.ptp(rows, axis=(1, 2)) >= 20]
    middle = ramp[:, 32:96].reshape(16, 4, 16, 4).mean((1, 3))
    assert np.abs(ramps - middle).max() < 3  # the middle square, not the whole width squeezed


def test_links_that_lead_back_end(tmp_path):
    plain(tmp_path / "a", 5)
    os.symlink(tmp_path, tmp_path / "a" / "up")
    assert len(rows_of(load(tmp_path))) == 5
