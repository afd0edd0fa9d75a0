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
from programs.image_files import chunk, content, has, picture, plain, rows_of

import pushforward as pf
from pushforward.cli import main
from pushforward.data import check, load
from pushforward.errors import DataError, UsageError
from pushforward.testing import recipe_for


def labels_of(data):
    """All labels, in the order of `rows_of`."""
    return np.concatenate([data.train.labels, data.held_out.labels])


def test_flat_folder_has_no_labels_and_keeps_every_pixel(tmp_path):
    plain(tmp_path, 20)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    data = load(tmp_path)
    assert data.space.shape == (3, 12, 10)
    assert data.space.classes == ()
    assert data.train.labels is None
    assert len(rows_of(data)) == 20
    assert data.ignored == 2
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
    shares = np.bincount(data.train.labels) / len(data.train)
    assert data.space.label.frequencies == tuple(shares)
    rows = rows_of(data)
    labels = labels_of(data)
    assert np.bincount(labels).tolist() == [10, 20]
    apes = np.stack([picture(i).transpose(2, 0, 1) for i in range(20, 30)])
    assert content(rows[labels == 0]) == content(apes)


def test_images_beside_class_folders_are_refused(tmp_path):
    plain(tmp_path / "zebra", 20)
    plain(tmp_path, 1)
    with pytest.raises(DataError, match=r"subfolders"):
        load(tmp_path)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_follow_the_content(tmp_path, channels):
    shape = (12, 10) if channels == 1 else (12, 10, channels)
    plain(tmp_path, 4, shape)
    assert load(tmp_path).space.shape == (channels, 12, 10)
    opaque = np.full((12, 10, 4), 255, np.uint8)
    Image.fromarray(opaque).save(tmp_path / "white.png")
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
    assert found.space.shape[0] == 4
    grey = load(tmp_path, channels="grey")
    assert grey.space.shape[0] == 1
    white = load(tmp_path, channels="rgb")
    black = load(tmp_path, background="black")
    for data in (grey, white, black):
        assert (data.held_out.hashes == found.held_out.hashes).all()
    colours = found.train.x[:, :3].astype(float)
    alpha = found.train.x[:, 3:] / 255
    on_black = alpha * colours
    on_white = on_black + (1 - alpha) * 255
    for data, expected in ((white, on_white), (black, on_black)):
        assert data.space.shape[0] == 3
        largest = np.abs(data.train.x - expected).max()
        assert largest <= 1
    for x, row in zip(white.train.x, grey.train.x[:, 0], strict=True):
        image = Image.fromarray(x.transpose(1, 2, 0)).convert("L")
        assert (row == np.asarray(image)).all()
    streamed = load(tmp_path, channels="grey", stream=True)
    assert streamed.fingerprint == grey.fingerprint


def test_check_takes_channels_and_background(tmp_path):
    plain(tmp_path, 10)
    code = main(["data", "check", str(tmp_path), "--channels", "grey", "--background", "white"])
    assert code == 0


WRONG = [("channels", "cmyk"), ("background", "no colour"), ("resize", "8x8x8"), ("resize", 0)]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_other_channels_backgrounds_and_sizes_are_refused(tmp_path, name, value):
    plain(tmp_path, 10)
    with pytest.raises(UsageError, match=str(value)):
        load(tmp_path, **{name: value})


def test_channels_of_a_named_set_cannot_be_chosen():
    with pytest.raises(UsageError):
        load("digits", channels="grey")


def idx(folder, name, array):
    """Write an IDX file, compressed if its name ends with .gz."""
    path = folder / name
    sides = np.array(array.shape, dtype=">u4").tobytes()
    written = bytes([0, 0, 8, array.ndim]) + sides + array.tobytes()
    if path.suffix == ".gz":
        written = gzip.compress(written)
    path.write_bytes(written)
    return path


IDX_IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)
IDX_LABELS = np.arange(40, dtype=np.uint8) % 3
TRAIN = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def idx_folder(tmp_path):
    """Training and test images with their labels."""
    idx(tmp_path, TRAIN, IDX_IMAGES[:30])
    idx(tmp_path, TRAIN_LABELS, IDX_LABELS[:30])
    idx(tmp_path, TEST, IDX_IMAGES[30:])
    idx(tmp_path, TEST_LABELS, IDX_LABELS[30:])
    return tmp_path


def test_idx_files_are_read_with_their_labels_and_their_test_images(idx_folder):
    data = load(idx_folder / TRAIN)
    assert (data.train.x[:, 0] == IDX_IMAGES[:30]).all()
    assert (data.held_out.x[:, 0] == IDX_IMAGES[30:]).all()
    assert (data.held_out.labels == IDX_LABELS[30:]).all()
    assert data.space.classes == ("0", "1", "2")
    assert len(rows_of(load(idx_folder / TEST))) == 10
    lone = idx(idx_folder, "lone.idx3-ubyte", IDX_IMAGES)
    assert not load(lone).space.classes


def test_test_labels_of_idx_files_are_numbered_as_in_training(idx_folder):
    ones_and_twos = IDX_LABELS[30:] // 2 + 1
    idx(idx_folder, TEST_LABELS, ones_and_twos)
    data = load(idx_folder / TRAIN)
    assert (data.held_out.labels == ones_and_twos).all()
    idx(idx_folder, TEST_LABELS, IDX_LABELS[30:] + 1)
    with pytest.raises(DataError, match="t10k"):
        load(idx_folder / TRAIN)


def test_damaged_idx_files_are_named(idx_folder):
    train = (idx_folder / TRAIN).read_bytes()
    cut = idx_folder / "cut-images-idx3-ubyte.gz"
    cut.write_bytes(train[:100])
    short = idx_folder / "cut-images-idx3-ubyte"
    short.write_bytes(gzip.decompress(train)[:-1])
    for path in (cut, short):
        with pytest.raises(DataError, match=path.name):
            load(path)


def test_idx_files_that_do_not_fit_together_are_refused(idx_folder):
    (idx_folder / TEST_LABELS).unlink()
    test = idx(idx_folder, TEST, IDX_IMAGES[30:, :5])
    with pytest.raises(DataError, match="shape"):
        load(idx_folder / TRAIN)
    test.unlink()
    idx(idx_folder, TRAIN_LABELS, IDX_LABELS[:29])
    with pytest.raises(DataError, match="29"):
        load(idx_folder / TRAIN)


def test_resize_is_antialiased_and_keeps_the_aspect(tmp_path):
    """A fine checkerboard becomes grey, and a ramp is cut to its middle square, not squeezed."""
    rows, columns = np.indices((64, 128))
    checks = (rows + columns) % 2 * 255
    ramp = columns * 2
    for name, pixels in (("check", checks), ("ramp", ramp)):
        image = Image.fromarray(pixels.astype(np.uint8))
        for i in range(2):
            image.save(tmp_path / f"{name}{i}.png")
    resized = rows_of(load(tmp_path, resize=16))[:, 0].astype(float)
    even = np.ptp(resized, axis=(1, 2)) < 20
    assert even.sum() == 2
    largest = np.abs(resized[even] - 127.5).max()
    assert largest < 6
    middle = ramp[:, 32:96].reshape(16, 4, 16, 4).mean((1, 3))
    largest = np.abs(resized[~even] - middle).max()
    assert largest < 3


SHAPE = (6, 5, 3)


def png(*others, width=5, height=6, pixels=bytes(6 * 16)):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(pixels))
    end = chunk(b"IEND", b"")
    chunks = [chunk(b"IHDR", head), *others, body, end]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def packed(kind):
    """A chunk that unpacks to twenty megabytes."""
    return chunk(kind, b"k\0\0" + zlib.compress(bytes(20 * 2**20)))


def saved(kind, *, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(picture(7, SHAPE)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def animation():
    frames = [Image.fromarray(picture(seed, SHAPE)).quantize(16) for seed in (1, 2)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.rot90(picture(3, SHAPE))).save(file, "PNG", exif=exif)
    return file.getvalue()


BOMBS = {
    "bomb-30k.png": png(width=30_000, height=30_000),
    "bomb-text.png": png(packed(b"zTXt")),
    "bomb-profile.png": png(packed(b"iCCP")),
}
BAD = {
    "corrupt.png": png(pixels=b"\7" * 30),
    "truncated.png": saved("PNG")[:-40],
    "empty.png": b"",
    "text.jpg": b"no image",
}
REFUSED = {
    "bomb-30k.png": "bomb",
    "bomb-text.png": "damaged",
    "bomb-profile.png": "damaged",
    "corrupt.png": "damaged",
    "truncated.png": "truncated",
    "empty.png": "empty file",
    "text.jpg": "image",
    "pipe.png": "regular file",
}
CONVERTED = {
    "cmyk.jpg": saved("JPEG", mode="CMYK"),
    "palette.png": saved("PNG", mode="P"),
    "animated.gif": animation(),
    "turned.png": turned(),
}
NOTES = {
    "cmyk.jpg": "CMYK to RGB",
    "palette.png": "P to RGB",
    "animated.gif": "first of several images, P to RGB",
    "turned.png": "rotated according to EXIF",
}
"""Content, and what is said of it."""
RENAMED = {
    "renamed.png": saved("JPEG"),
    "renamed.jpg": saved("PNG"),
    "renamed.gif": saved("WEBP"),
    "renamed.bmp": saved("TIFF"),
}


def write(folder, files, good=0):
    folder.mkdir(exist_ok=True)
    plain(folder, good, SHAPE)
    for name, written in files.items():
        (folder / name).write_bytes(written)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Of 132 image files, 12 cannot be used and 9 are no plain ones."""
    folder = write(tmp_path / "photos", {**BOMBS, **BAD, **CONVERTED, **RENAMED}, good=112)
    os.mkfifo(folder / "pipe.png")
    return folder


def reasons(rows):
    return {row["file"]: row["reason"] for row in rows}


def test_check_names_each_and_says_why(folder, capsys):
    report = check(folder)
    assert report["train"] + report["held_out"] == 120
    skipped = reasons(report["skipped"])
    assert skipped.keys() == REFUSED.keys()
    for name, words in REFUSED.items():
        assert words in skipped[name], name
    assert reasons(report["converted"]) == NOTES
    assert main(["data", "check", str(folder)]) == 0
    output = capsys.readouterr().out
    for name in REFUSED:
        assert f"{name}, reason " in output


def test_training_leaves_them_out(folder, tmp_path):
    data = pf.data.load(folder, stream=True)
    assert len(data.skipped) == 8
    recipe = recipe_for("flow", data)
    run = pf.fit(recipe, data, steps=2, out=tmp_path / "run")
    assert run.state["step"] == 2


def test_a_folder_with_too_many_of_them_is_refused(folder, tmp_path, capsys):
    for number in range(20):
        (folder / f"more{number}.png").write_bytes(b"")
    assert main(["data", "check", str(folder)]) == 3
    output = capsys.readouterr().out
    for number in range(20):
        assert f"more{number}.png, reason empty file" in output
    out = tmp_path / "refused"
    code = main(["train", "flow", "--data", str(folder), "--out", str(out)])
    assert code == 3
    assert not out.exists()


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
    good = write(tmp_path / "plain", {}, good=80)
    hostile = write(tmp_path / "hostile", BOMBS, good=80)
    packed_folder = tmp_path / "x.tar"
    with tarfile.open(packed_folder, "w") as archive:
        archive.add(hostile, "x")
    said, memory = measured(good, hostile, packed_folder)
    assert said == [str(len(BOMBS))] * 2
    assert memory < 100


def header(shape):
    file = io.BytesIO()
    array = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, array)
    return file.getvalue()


def test_archives_of_arrays_that_are_bombs_take_little_memory(tmp_path):
    x = picture(0, (30, 4)).astype(np.float32)
    np.savez(tmp_path / "plain.npz", x=x)
    shapes = {"claims.npz": (10**8, 4), "negative.npz": (-5, 4), "huge.npz": (2**40, 2**40)}
    paths = [tmp_path / name for name in shapes]
    for path, shape in zip(paths, shapes.values(), strict=True):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", header(shape) + bytes(64))
    said, memory = measured(tmp_path / "plain.npz", *paths)
    for path, line in zip(paths, said, strict=True):
        assert path.name in line
    assert memory < 100


def test_files_that_are_no_files_do_not_stop_the_reading(tmp_path):
    folder = write(tmp_path / "photos", {}, good=20)
    os.symlink(tmp_path / "nowhere", folder / "dangling.png")
    os.symlink(folder / "000.png", folder / "link.png")
    data = pf.data.load(folder)
    assert [file for file, _ in data.skipped] == ["dangling.png"]
    assert "No such file" in data.skipped[0][1]
