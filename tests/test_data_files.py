"""Hostile and plain files: each is used, converted or refused with a reason, and the reason names what is wrong."""

import io
import os
import pickle
import resource
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from pushforward.data import Space, check, load
from pushforward.errors import DataError, UsageError
from pushforward.outputs import write_samples


def picture(seed=0, shape=(12, 10, 3)):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def plain(folder, n, shape=(12, 10, 3), start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + n):
        Image.fromarray(picture(i, shape)).save(folder / f"{i:03}.png")


def png(width, height, depth=8, colour=2, rows=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows_of(data):
    """All images, in the order of their split."""
    return np.concatenate([data.train.x, data.held_out.x])


def has(data, pixels):
    """Whether some image equals pixels (H, W, C)."""
    return any(np.array_equal(row, pixels.transpose(2, 0, 1)) for row in rows_of(data))


# Image folders


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
    with pytest.raises(DataError, match="images of its own beside 2 subfolders"):
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


def test_a_broken_file_of_another_size_does_not_hide_the_rest(tmp_path):
    plain(tmp_path, 20)
    (tmp_path / "000a.png").write_bytes(png(64, 48))
    assert len(load(tmp_path).skipped) == 1


def test_sizes_that_differ_need_resize(tmp_path):
    plain(tmp_path, 7)
    plain(tmp_path, 2, (30, 20, 3), start=7)
    with pytest.raises(DataError, match=r"12 x 10 \(7 images\), 30 x 20 \(2 images\).*`resize=") as caught:
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


def test_folder_without_images(tmp_path):
    with pytest.raises(DataError, match="no images"):
        load(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"1 other file ignored"):
        load(tmp_path)


def test_links_that_lead_back_end(tmp_path):
    plain(tmp_path / "a", 5)
    os.symlink(tmp_path, tmp_path / "a" / "up")
    assert len(rows_of(load(tmp_path))) == 5


def test_check_lists_files(tmp_path):
    plain(tmp_path, 20)
    Image.fromarray(picture(3)).save(tmp_path / "twin.png")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(picture(99)).convert("P").save(tmp_path / "palette.png")
    report = check(tmp_path)
    assert report["skipped"] == [{"file": "empty.png", "reason": "empty file"}]
    assert report["converted"] == [{"file": "palette.png", "reason": "palette to RGB"}]
    assert (report["train"] + report["held_out"], report["shape"]) == (22, [3, 12, 10])
    assert (report["repeated"], report["removed"]) == (0, 0), "twins fall on one side"
    assert report["fingerprint"] == load(tmp_path).fingerprint


def test_other_files(tmp_path):
    (tmp_path / "table.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"expected an image folder, .npz, .npy, .tar, .csv, .tsv, .data, .txt or .parquet"):
        load(tmp_path / "table.xlsx")
    plain(tmp_path, 1)
    with pytest.raises(DataError, match="give the folder"):
        load(tmp_path / "000.png")
    with pytest.raises(DataError, match=r'Did you mean "table.xlsx"'):
        load(tmp_path / "tabel.xlsx")


# .npz and .npy


@pytest.mark.parametrize("layout", ["last", "first", "gray", "float", "int64", "fortran", "big-endian float"])
def test_images_in_every_layout(tmp_path, layout):
    x = picture(1, (25, 9, 8, 3))
    saved = {
        "last": x,
        "first": x.transpose(0, 3, 1, 2),
        "gray": x[..., 0],
        "float": (x / 255).astype(np.float32),
        "int64": x.astype(np.int64),
        "fortran": np.asfortranarray(x),
        "big-endian float": (x / 255).astype(">f4"),
    }[layout]
    np.savez(tmp_path / "x.npz", x=saved)
    np.save(tmp_path / "x.npy", saved)
    data = load(tmp_path / "x.npz")
    expected = x.transpose(0, 3, 1, 2)[:, : 1 if layout == "gray" else 3]
    key = expected[:, 0, 0, :4].copy().view(np.uint32).ravel()
    rows = rows_of(data)
    assert np.array_equal(rows[np.argsort(rows[:, 0, 0, :4].copy().view(np.uint32).ravel())], expected[np.argsort(key)])
    assert load(tmp_path / "x.npy").fingerprint == data.fingerprint


def test_vectors_labels_and_own_held_out_rows(tmp_path):
    x = np.random.RandomState(2).standard_normal((40, 5))
    names = np.array(["b", "a"])[np.arange(40) % 2]
    np.savez(tmp_path / "v.npz", x=x, y=names, x_test=x[:6] + 1, y_test=names[:6])
    data = load(tmp_path / "v.npz")
    assert np.array_equal(data.train.x, x.astype(np.float32))
    assert data.held_out.x.shape == (6, 5)
    assert data.space.classes == ("a", "b")
    assert data.train.labels[:3].tolist() == [1, 0, 1]
    assert data.held_out.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.space.integer == ()
    np.savez(tmp_path / "i.npz", x=np.arange(60).reshape(20, 3), label=np.repeat([7, 3], 10))
    data = load(tmp_path / "i.npz")
    assert data.space.integer == (0, 1, 2)
    assert data.space.classes == ("3", "7")
    assert ((data.train.labels == 0) == (data.train.x[:, 0] >= 30)).all()


def test_masks_of_0_and_1_are_black_and_white(tmp_path):
    np.savez(tmp_path / "m.npz", x=picture(3, (20, 6, 5)) % 2)
    data = load(tmp_path / "m.npz")
    assert data.space.binary
    assert data.train.x.max() == 255


def test_what_a_space_quantises_is_read_back(tmp_path):
    first = picture(4, (20, 6, 5, 1))
    np.savez(tmp_path / "a.npz", x=first)
    data = load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=data.space.quantise(data.train.data_units()))
    assert np.array_equal(np.sort(rows_of(load(tmp_path / "b.npz")), axis=0), np.sort(data.train.x, axis=0))


class Canary:
    fired = False

    def __reduce__(self):
        return (setattr, (Canary, "fired", True))


def nan_rows():
    x = np.ones((30, 4))
    x[[7, 12], 2] = np.nan, np.inf
    return x


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"x": np.array([[Canary(), 1]], dtype=object)}, "Python objects"),
        ({"x": nan_rows()}, "2 examples of 30.*first is example 8"),
        ({"x": np.full((3, 2), 1e300)}, "3 examples of 3"),
        ({"x": np.zeros((0, 4))}, "is empty"),
        ({"x": np.zeros(9)}, "expected vectors"),
        ({"x": np.zeros((2, 2, 2, 2, 2))}, "expected vectors"),
        ({"x": np.zeros((9, 7, 7, 7), np.uint8)}, "channels"),
        ({"x": picture(1, (5, 4, 4)) * 1.0}, "expected 0 to 1.*uint8"),
        ({"x": picture(1, (5, 4, 4)) / 127.5 - 1}, r"Use \(x \+ 1\) / 2"),
        ({"x": picture(1, (5, 4, 4)).astype(int) + 200}, "expected 0 to 255"),
        ({"x": np.array([["a", "b"], ["c", "d"]])}, "expected numbers"),
        ({"x": np.zeros((3, 2), complex)}, "expected numbers"),
        ({"X": np.zeros((3, 2))}, 'no array "x"; it holds: X'),
        ({"x": np.zeros((1, 2))}, "at least 2"),
        ({"x": np.zeros((9, 2)), "label": np.zeros(8, int)}, r"label has shape \(8,\)"),
        ({"x": np.zeros((9, 2)), "label": np.linspace(0, 1, 9)}, "fractions"),
        ({"x": np.zeros((9, 2)), "label": np.full(9, np.nan)}, "not finite"),
        ({"x": np.zeros((40, 2)), "label": np.arange(40)}, "too many to be classes"),
        ({"x": np.zeros((9, 2)), "x_test": np.zeros((9, 3))}, "expected the same"),
        ({"x": np.zeros((9, 2)), "label": np.array([Canary()] * 9, dtype=object)}, "Python objects"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, match):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(tmp_path / "bad.npz")
    assert not Canary.fired


def header(shape, kind="<f4"):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
    return out.getvalue()


def test_damaged_and_oversized_files(tmp_path):
    np.save(tmp_path / "cut.npy", np.ones((50, 4)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    with pytest.raises(DataError, match="cut off"):
        load(tmp_path / "cut.npy")
    (tmp_path / "huge.npy").write_bytes(header((10**6, 10**6)))
    with pytest.raises(DataError, match=r"3,725.3 GB"):
        load(tmp_path / "huge.npy")
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "pickle.npy")
    (tmp_path / "text.npz").write_text("x")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "flip.npz", x=np.random.RandomState(0).standard_normal((50, 4)))
    content = bytearray((tmp_path / "flip.npz").read_bytes())
    content[600] ^= 255
    (tmp_path / "flip.npz").write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        load(tmp_path / "flip.npz")
    assert not Canary.fired


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(header((300 * 2**20 // 16, 4)))
        for _ in range(300):
            member.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="decompression bomb"):
        load(tmp_path / "bomb.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


# .csv


def table(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return tmp_path / "t.csv"


GOOD = "height,count,kind\n" + "".join(f"{i / 4},{i},{'ab'[i % 2]}\n" for i in range(20))


def test_table_with_a_text_target(tmp_path):
    data = load(table(tmp_path, GOOD), target="kind")
    assert data.space.columns == ("height", "count")
    assert data.space.integer == (1,)
    assert data.space.classes == ("a", "b")
    rows = rows_of(data)
    assert sorted(rows.tolist()) == [[i / 4, i] for i in range(20)]
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    assert (labels == rows[:, 1] % 2).all()
    assert isinstance(data.space, Space)
    assert data.name == "t"


def test_numeric_targets_sort_as_numbers(tmp_path):
    text = "x,grade\n" + "".join(f"{i}.5,{(10, 9, 2)[i % 3]}\n" for i in range(30))
    data = load(table(tmp_path, text), target="grade")
    assert data.space.classes == ("2", "9", "10")
    assert data.space.integer == ()


@pytest.mark.parametrize(
    "text", ["\ufeffa,b\r\n1,2\r\n3,4\r\n\r\n", "a;b\n1;2\n3;4\n", "a\tb\n1\t2\n3\t4", '"a",b\n"1",2\n 3 , 4 \n']
)
def test_dialects(tmp_path, text):
    data = load(table(tmp_path, text), table=False)
    assert data.space.columns == ("a", "b")
    assert sorted(rows_of(data).tolist()) == [[1, 2], [3, 4]]


def test_constant_columns_are_reported(tmp_path):
    text = "a,b\n" + "".join(f"{i},5\n" for i in range(20))
    assert load(table(tmp_path, text), table=False).space.std[1] == 1.0
    report = check(tmp_path / "t.csv", table=False)
    assert report["constant"] == ["b"]
    assert report["integer"] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\nabc,3\n4,5\n", r'column "a" holds numbers, and 1 cell of other text: line 3 \("abc"\).*`drop="a"`'),
        ("a,b\n1,2\n3,nan\n4,inf\n5,6\n", r'column "b" holds numbers, and 1 cell of other text: line 4 \("inf"\)'),
        ("a,b\n1,2\n3\n", r"1 line has another number of cells than the other lines, which have 2: line 3 \(1 cell\)"),
        ("a,b\n1,2,3\n", r"line 2 \(3 cells\)"),
        ("a,a\n1,2\n3,4\n", '"a" stands over more than one column'),
        (",a\n0,1\n1,2\n", "column 1 has no name"),
        ("1,2\n3,4\n4,1\n", "names or data"),
        ("", "is empty"),
        ("a,b\n", "no rows"),
        (b"a,b\n\xff\xfe,2\n", "not UTF-8"),
        ("a,b\n1,2\n", "at least 2"),
        ("a\n" + "9" * 200_000 + "\n", "field larger"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, match):
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "target", "kind", "match"),
    [
        (GOOD, "kin", UsageError, 'no column "kin".*Did you mean "kind"'),
        ("a,k\n1,x\n2,\n", "k", DataError, 'column "k", line 3: the label is missing'),
        ("k\nx\ny\n", "k", DataError, "no column beside"),
        ("a,k\n" + "".join(f"{i},{i}\n" for i in range(30)), "k", DataError, "too many to be classes"),
    ],
)
def test_targets_that_are_refused(tmp_path, text, target, kind, match):
    with pytest.raises(kind, match=match):
        load(table(tmp_path, text), target=target, table=False)


def test_a_name_wins_over_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain(tmp_path / "digits", 5)
    assert load("digits").space.shape == (1, 8, 8)
    assert load("./digits").space.shape == (3, 12, 10) == load(tmp_path / "digits").space.shape
    plain(tmp_path / "photos", 5)
    assert load("photos").name == "photos"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"label": np.arange(20) % 2, "x_test": np.zeros((4, 3))}, "label but no label_test"),
        ({"label_test": np.arange(4) % 2, "x_test": np.zeros((4, 3))}, "label_test but no label"),
        ({"label": np.arange(20) % 2, "label_test": np.arange(4) % 2}, "label_test but no x_test"),
    ],
)
def test_labels_come_for_all_rows_or_for_none(tmp_path, arrays, says):
    np.savez(tmp_path / "v.npz", x=np.random.rand(20, 3), **arrays)
    with pytest.raises(DataError, match=says):
        load(tmp_path / "v.npz")


@pytest.mark.parametrize("big", [2**24 + 1, 2**60 + 1, -(2**53) - 1])
def test_whole_numbers_that_float32_rounds_are_refused(tmp_path, big):
    (tmp_path / "t.csv").write_text("size,id\n" + "".join(f"{i},{i * 7}\n" for i in range(20)) + f"3,{big}\n")
    with pytest.raises(DataError, match=r'column "id", row 21.*Subtract'):
        load(tmp_path / "t.csv", table=False)
    np.save(tmp_path / "t.npy", np.array([[1, 2], [3, big], [4, 5]]))
    with pytest.raises(DataError, match=r"column 1, row 2.*Subtract"):
        load(tmp_path / "t.npy")
    (tmp_path / "t.csv").write_text("id\n" + f"{2**24}\n{2**25}\n" * 6)
    assert load(tmp_path / "t.csv", table=False).train.x.max() == 2**25


def test_the_targets_name_is_kept(tmp_path):
    (tmp_path / "t.csv").write_text("size,kind\n" + "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(20)))
    data = load(tmp_path / "t.csv", target="kind")
    assert data.space.label.target == "kind"
    write_samples(tmp_path / "out.csv", data.space, 2, [(torch.zeros(2, 1), {"label": torch.tensor([0, 1])})])
    assert (tmp_path / "out.csv").read_text().split() == ["size,kind", "0.0,a", "0.0,b"]


def test_a_path_below_home_is_stored_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "v.npy", np.random.rand(20, 3))
    assert load("~/v.npy").origin["name_or_path"] == str((tmp_path / "v.npy").resolve())
