"""Folders of image files, hostile and plain: each is used, converted or refused with a reason, in
little memory.
"""

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from programs import forking
from programs.image_files import chunk, has, picture, plain, rows_of

import pushforward as pf
from pushforward.cli import main
from pushforward.data import check, load
from pushforward.errors import DataError, UsageError
from pushforward.testing import recipe_for


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
    values = (
        np.bincount(data.train.labels) + np.bincount(data.held_out.labels, minlength=2)
    ).tolist()
    assert values == [10, 20]
    apes = [picture(i).transpose(2, 0, 1) for i in range(20, 30)]
    for row, label in zip(
        rows_of(data), np.concatenate([data.train.labels, data.held_out.labels]), strict=True
    ):
        assert (label == 0) == any(np.array_equal(row, ape) for ape in apes)
    plain(tmp_path, 1)
    with pytest.raises(DataError, match=r"subfolders"):
        load(tmp_path)


@pytest.mark.parametrize(("shape", "channels"), [((12, 10), 1), ((12, 10, 3), 3), ((12, 10, 4), 4)])
def test_channels_follow_the_content(tmp_path, shape, channels):
    plain(tmp_path, 4, shape)
    assert load(tmp_path).space.shape == (channels, 12, 10)
    Image.fromarray(np.full((12, 10, 4), 255, np.uint8)).save(
        tmp_path / "white.png"
    )  # opaque and gray
    assert load(tmp_path).space.shape == (channels, 12, 10)


def test_more_than_a_tenth_unusable_is_an_error(tmp_path):
    plain(tmp_path, 18)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    assert len(load(tmp_path).skipped) == 2  # 2 of 20
    (tmp_path / "c.png").write_text("no")
    with pytest.raises(DataError, match=r"3 of 21 .*a.png .empty file.*10%") as caught:
        load(tmp_path)
    assert caught.value.exit_code == 3


def test_sizes_that_differ_need_resize(tmp_path):
    plain(tmp_path, 7)
    plain(tmp_path, 2, (30, 20, 3), start=7)
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r'(?s)7 have 12x10.*007\.png.*`resize="12x10"`') as caught:
        load(tmp_path)
    assert [file for file, _ in caught.value.skipped] == ["bad.png", "007.png", "008.png"]
    assert [row["file"] for row in check(tmp_path)["skipped"]] == ["bad.png", "007.png", "008.png"]
    (tmp_path / "bad.png").unlink()
    assert load(tmp_path, resize="12x10").space.shape == (3, 12, 10)
    assert load(tmp_path, resize=8).space.shape == (3, 8, 8)
    shape = load(tmp_path, resize=(6, 9)).space.shape
    assert shape == (3, 6, 9)


def test_channels_and_background_are_chosen(tmp_path):
    """And the split stays, which is that of the files' own pixels."""
    plain(tmp_path, 10)
    plain(tmp_path, 10, (12, 10, 4), start=10)
    found = load(tmp_path)
    grey, rgb, black = (load(tmp_path, **options) for options in GROUNDS)
    assert [data.space.shape[0] for data in (found, grey, rgb, black)] == [4, 1, 3, 3]
    assert all((data.held_out.hashes == found.held_out.hashes).all() for data in (grey, rgb, black))
    colours = found.train.x[:, :3].astype(float)
    alpha = found.train.x[:, 3:] / 255
    largest = np.abs(rgb.train.x - (alpha * colours + (1 - alpha) * 255)).max()
    assert largest <= 1
    largest = np.abs(black.train.x - alpha * colours).max()
    assert largest <= 1
    wanted = [np.asarray(Image.fromarray(x.transpose(1, 2, 0)).convert("L")) for x in rgb.train.x]
    assert (grey.train.x[:, 0] == wanted).all()
    streamed = load(tmp_path, channels="grey", stream=True)
    assert streamed.fingerprint == grey.fingerprint
    code = main(["data", "check", str(tmp_path), "--channels", "grey", "--background", "white"])
    assert code == 0
    for name, value in (
        ("channels", "cmyk"),
        ("background", "no colour"),
        ("resize", "8x8x8"),
        ("resize", 0),
    ):
        with pytest.raises(UsageError, match=str(value)):
            load(tmp_path, **{name: value})
    with pytest.raises(UsageError):
        load("digits", channels="grey")


GROUNDS = ({"channels": "grey"}, {"channels": "rgb"}, {"background": "black"})


def idx(path, array):
    sides = b"".join(int(side).to_bytes(4, "big") for side in array.shape)
    content = bytes([0, 0, 8, array.ndim]) + sides + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_idx_files_are_read_with_their_labels_and_their_test_images(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)
    labels = (np.arange(40) % 3).astype(np.uint8)
    train = idx(tmp_path / "train-images-idx3-ubyte.gz", x[:30])
    idx(tmp_path / "train-labels-idx1-ubyte", labels[:30])
    test = idx(tmp_path / "t10k-images-idx3-ubyte", x[30:])
    idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[30:])
    data = load(train)
    assert (data.train.x[:, 0] == x[:30]).all()
    assert (data.held_out.x[:, 0] == x[30:]).all()
    assert (data.held_out.labels == labels[30:]).all()
    assert data.space.classes == ("0", "1", "2")
    assert len(load(test).train) + len(load(test).held_out) == 10
    assert not load(idx(tmp_path / "lone.idx3-ubyte", x)).space.classes
    content = train.read_bytes()
    for name, damaged in (
        ("cut-images-idx3-ubyte.gz", content[:100]),
        ("cut-images-idx3-ubyte", gzip.decompress(content)[:-1]),
    ):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            load(tmp_path / name)
    idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[30:] // 2 + 1)
    assert (load(train).held_out.labels == labels[30:] // 2 + 1).all(), (
        "numbered as in training, where 0 occurs as well"
    )
    idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[30:] + 1)
    with pytest.raises(DataError, match="t10k"):
        load(train)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    idx(test, x[30:, :5])
    with pytest.raises(DataError, match="shape"):
        load(train)
    test.unlink()
    idx(tmp_path / "train-labels-idx1-ubyte", labels[:29])
    with pytest.raises(DataError, match="29"):
        load(train)


def test_resize_is_antialiased_and_keeps_the_aspect(tmp_path):
    checks = (np.indices((64, 128)).sum(0) % 2 * 255).astype(
        np.uint8
    )  # a fine checkerboard, whose average is 127.5
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


SHAPE = (6, 5, 3)
MB = 2**20


def png(*others, width=5, height=6, pixels=bytes(6 * 16), after=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = (
        chunk(b"IHDR", head)
        + b"".join(others)
        + chunk(b"IDAT", zlib.compress(pixels))
        + after
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + image


def packed_text(size):
    return chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(size)))


def saved(kind, *, mode="RGB", **options):
    content = io.BytesIO()
    Image.fromarray(picture(7, SHAPE)).convert(mode).save(content, kind, **options)
    return content.getvalue()


def animation():
    frames = [Image.fromarray(picture(seed, SHAPE)).quantize(16) for seed in (1, 2)]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    return content.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(np.rot90(picture(3, SHAPE))).save(content, "PNG", exif=exif)
    return content.getvalue()


BOMBS = {
    "bomb-30k.png": (png(width=30_000, height=30_000), "bomb"),
    "bomb-text.png": (png(packed_text(20 * MB)), "damaged"),
    "bomb-profile.png": (png(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20 * MB)))), "damaged"),
}
"""Content, and what is said of it."""
BAD = {
    "corrupt.png": (png(pixels=b"\7" * 30), "damaged"),
    "truncated.png": (saved("PNG")[:-40], "truncated"),
    "empty.png": (b"", "empty file"),
    "text.jpg": (b"no image", "image"),
}
CONVERTED = {
    "cmyk.jpg": (saved("JPEG", mode="CMYK"), "CMYK to RGB"),
    "palette.png": (saved("PNG", mode="P"), "P to RGB"),
    "animated.gif": (animation(), "first of several images, P to RGB"),
    "turned.png": (turned(), "rotated according to EXIF"),
}
RENAMED = {
    "renamed.png": saved("JPEG"),
    "renamed.jpg": saved("PNG"),
    "renamed.gif": saved("WEBP"),
    "renamed.bmp": saved("TIFF"),
}


def write(folder, files, good=0):
    folder.mkdir(exist_ok=True)
    for number in range(good):
        Image.fromarray(picture(number, SHAPE)).save(folder / f"{number:03}.png")
    for name, content in files.items():
        (folder / name).write_bytes(content[0] if isinstance(content, tuple) else content)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Of 132 image files, 12 cannot be used and 9 are no plain ones."""
    folder = write(tmp_path / "photos", {**BOMBS, **BAD, **CONVERTED, **RENAMED}, good=112)
    os.mkfifo(folder / "pipe.png")
    return folder


def test_training_leaves_them_out_and_check_names_each(folder, tmp_path, capsys):
    refused = {name: says for name, (_, says) in {**BOMBS, **BAD}.items()} | {
        "pipe.png": "regular file"
    }
    report = check(folder)
    assert report["train"] + report["held_out"] == 120
    reasons = {row["file"]: row["reason"] for row in report["skipped"]}
    assert reasons.keys() == refused.keys()
    assert [
        (name, reasons[name]) for name, says in refused.items() if says not in reasons[name]
    ] == []
    notes = {row["file"]: row["reason"] for row in report["converted"]}
    assert notes == {name: says for name, (_, says) in CONVERTED.items()}
    assert main(["data", "check", str(folder)]) == 0
    output = capsys.readouterr().out
    assert all(f"{name}, reason " in output for name in refused)
    data = pf.data.load(folder, stream=True)
    assert len(data.skipped) == 8
    step = pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / "run").state["step"]
    assert step == 2
    for number in range(20):
        (folder / f"more{number}.png").write_bytes(b"")
    assert main(["data", "check", str(folder)]) == 3
    output = capsys.readouterr().out
    assert all(f"more{number}.png, reason empty file" in output for number in range(20))
    code = main(["train", "flow", "--data", str(folder), "--out", str(tmp_path / "refused")])
    assert code == 3
    assert not (tmp_path / "refused").exists()


MEASURED = """
import resource
import pushforward as pf
from pushforward.errors import DataError
pf.data.load({plain!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for hostile in {hostile!r}:
    try:
        print(len(pf.data.load(hostile).skipped))
    except DataError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def measured(plain, *hostile):
    done = forking.run(MEASURED.format(plain=str(plain), hostile=list(map(str, hostile))))
    assert done.returncode == 0, done.stderr
    *said, memory = done.stdout.splitlines()
    return said, float(memory)


def test_bombs_take_little_memory(tmp_path):
    plain = write(tmp_path / "plain", {}, good=80)
    hostile = write(tmp_path / "hostile", BOMBS, good=80)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(hostile, "x")
    said, memory = measured(plain, hostile, tmp_path / "x.tar")
    assert said == [str(len(BOMBS))] * 2
    assert memory < 100


def header(shape):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return content.getvalue()


def test_archives_of_arrays_that_are_bombs_take_little_memory(tmp_path):
    x = picture(0, (30, 4)).astype(np.float32)
    np.savez(tmp_path / "plain.npz", x=x)
    shapes = {"claims.npz": (10**8, 4), "negative.npz": (-5, 4), "huge.npz": (2**40, 2**40)}
    for name, shape in shapes.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", header(shape) + bytes(64))
    said, memory = measured(tmp_path / "plain.npz", *(tmp_path / name for name in shapes))
    assert all(name in line for name, line in zip(shapes, said, strict=True))
    assert memory < 100


def test_files_that_are_no_files_do_not_stop_the_reading(tmp_path):
    folder = write(tmp_path / "photos", {}, good=20)
    os.symlink(tmp_path / "nowhere", folder / "dangling.png")
    os.symlink(folder / "000.png", folder / "link.png")
    data = pf.data.load(folder)
    assert [file for file, _ in data.skipped] == ["dangling.png"]
    assert "No such file" in data.skipped[0][1]
