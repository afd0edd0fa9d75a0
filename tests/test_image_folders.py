"""Folders of image files, hostile and plain: each is used, converted or refused with a reason."""

import io
import os
import resource
import warnings

import numpy as np
import pytest
from PIL import Image
from programs.image_files import has, picture, plain, png, rows_of

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


def test_a_single_subfolder_is_no_class(tmp_path):
    plain(tmp_path / "all", 5)
    assert load(tmp_path).space.classes == ()


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


def test_black_and_white_folder_is_binary(tmp_path):
    for i in range(4):
        Image.fromarray(picture(i, (12, 10)) > 127).save(tmp_path / f"{i}.png")
    assert load(tmp_path).space.binary


def hostile(folder):
    """One file of each kind; returns what each must be reported as."""
    whole = io.BytesIO()
    Image.fromarray(picture(900)).save(whole, "PNG")
    (folder / "truncated.png").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    jpeg = io.BytesIO()
    Image.fromarray(picture(901)).save(jpeg, "JPEG")
    (folder / "truncated.jpg").write_bytes(jpeg.getvalue()[:-80])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no image")
    (folder / "bomb.png").write_bytes(png(30_000, 30_000))
    (folder / "warned.png").write_bytes(png(9_000, 9_000))  # below the decoder's own limit, above ours
    (folder / "loud.png").write_bytes(png(12_000, 12_000))  # the decoder warns
    (folder / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 12\n")
    skipped = {
        "truncated.png": "truncated",
        "truncated.jpg": "truncated",
        "empty.png": "empty file",
        "text.jpg": "no image",
        "bomb.png": "bomb",
        "warned.png": "9000 x 9000 pixels, more than 64 megapixels",
        "loud.png": "12000 x 12000 pixels",
        "program.png": "no image",
    }
    Image.fromarray(picture(902)).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(picture(903, (12, 10)).astype(np.uint16) * 257).save(folder / "deep.png")
    deep = np.random.RandomState(904).randint(0, 65536, (12, 10, 3)).astype(">u2")
    raw = b"".join(b"\x00" + row.tobytes() for row in deep)
    (folder / "deep-rgb.png").write_bytes(png(10, 12, 16, 2, raw))
    Image.fromarray(picture(905)).convert("P").save(folder / "palette.png")
    frames = [Image.fromarray(picture(i)).quantize(16) for i in (906, 907)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(np.rot90(picture(908))).save(folder / "turned.png", exif=exif)
    see_through = Image.fromarray(picture(909)).convert("P")
    see_through.save(folder / "see-through.png", transparency=int(np.asarray(see_through)[0, 0]))
    converted = {
        "cmyk.jpg": "CMYK to RGB",
        "deep.png": "16-bit to 8-bit",
        "deep-rgb.png": "16-bit to 8-bit",
        "palette.png": "palette to RGB",
        "animated.gif": "first frame of an animation",
        "turned.png": "rotated as its EXIF says",
        "see-through.png": "palette to RGB",
    }
    return skipped, converted, deep, frames


def test_hostile_folder(tmp_path):
    plain(tmp_path, 80)
    skipped, converted, deep, frames = hostile(tmp_path)
    Image.init()  # registers every decoder there is, as some other library may have done
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(tmp_path)
    notes = dict(data.skipped)
    assert set(notes) == set(skipped)
    for file, reason in skipped.items():
        assert reason in notes[file], (file, notes[file])
    notes = dict(data.converted)
    assert set(notes) == set(converted)
    for file, note in converted.items():
        assert note in notes[file], (file, notes[file])
    assert len(data.train) + len(data.held_out) == 80 + len(converted)
    rgb = load_rgb(data)
    assert any(np.array_equal(row, picture(908)) for row in rgb)
    gray = picture(903, (12, 10))
    assert any(np.array_equal(row, np.dstack([gray] * 3)) for row in rgb)
    assert any(np.abs(row - deep / 257.0).max() < 1.01 for row in rgb)
    assert any(np.array_equal(row, np.asarray(frames[0].convert("RGB"))) for row in rgb)
    assert data.space.shape[0] == 4
    assert (rows_of(data)[:, 3] == 0).any()


def load_rgb(data):
    return [row[:3].transpose(1, 2, 0) for row in rows_of(data)]


def test_bombs_are_not_unpacked(tmp_path):
    plain(tmp_path, 20)
    side = 12_000
    (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 0, b"\x00" * side * (side + 1)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert dict(load(tmp_path).skipped).keys() == {"bomb.png"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


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


def test_a_name_wins_over_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain(tmp_path / "digits", 5)
    assert load("digits").space.shape == (1, 8, 8)
    assert load("./digits").space.shape == (3, 12, 10) == load(tmp_path / "digits").space.shape
    plain(tmp_path / "photos", 5)
    assert load("photos").name == "photos"
