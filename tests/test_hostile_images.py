"""Hostile image files: each is left out or converted with its reason, training goes on, and none takes much memory or time."""

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
from programs.image_files import chunk
from programs.photos import picture

import pushforward as pf
from pushforward.cli import main
from pushforward.data import check
from pushforward.testing import recipe_for

SHAPE = (6, 5, 3)
MB = 2**20


def png(*others, width=5, height=6, pixels=bytes(6 * 16), after=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = chunk(b"IHDR", head) + b"".join(others) + chunk(b"IDAT", zlib.compress(pixels)) + after + chunk(b"IEND", b"")
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
    "text.jpg": (b"no image", "no image that can be read"),
}
CONVERTED = {
    "cmyk.jpg": (saved("JPEG", mode="CMYK"), "CMYK to RGB"),
    "palette.png": (saved("PNG", mode="P"), "palette to RGB"),
    "animated.gif": (animation(), "first frame of an animation, palette to RGB"),
    "turned.png": (turned(), "rotated as its EXIF says"),
}
RENAMED = {"renamed.png": saved("JPEG"), "renamed.jpg": saved("PNG"), "renamed.gif": saved("WEBP"), "renamed.bmp": saved("TIFF")}


def write(folder, files, good=0):
    folder.mkdir(exist_ok=True)
    for number in range(good):
        Image.fromarray(picture(number, SHAPE)).save(folder / f"{number:03}.png")
    for name, content in files.items():
        (folder / name).write_bytes(content[0] if isinstance(content, tuple) else content)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Of 128 image files, 8 cannot be used and 9 are no plain ones."""
    folder = write(tmp_path / "photos", {**BOMBS, **BAD, **CONVERTED, **RENAMED}, good=112)
    os.mkfifo(folder / "pipe.png")
    return folder


def test_training_leaves_them_out_and_check_names_each(folder, tmp_path, capsys):
    refused = {name: says for name, (_, says) in {**BOMBS, **BAD}.items()} | {"pipe.png": "no plain file"}
    report = check(folder)
    assert (report["files"], report["train"] + report["held_out"]) == (128, 120)
    reasons = {row["file"]: row["reason"] for row in report["skipped"]}
    assert reasons.keys() == refused.keys()
    assert [(name, reasons[name]) for name, says in refused.items() if says not in reasons[name]] == []
    notes = {row["file"]: row["reason"] for row in report["converted"]}
    assert notes == {name: says for name, (_, says) in CONVERTED.items()}
    assert main(["data", "check", str(folder)]) == 0
    output = capsys.readouterr().out
    assert all(f"{name}; reason: " in output for name in refused)
    data = pf.data.load(folder, stream=True)
    assert len(data.skipped) == 8
    assert pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / "run").state["step"] == 2
    for number in range(20):
        (folder / f"more{number}.png").write_bytes(b"")
    assert main(["data", "check", str(folder)]) == 3
    output = capsys.readouterr().out
    assert all(f"more{number}.png; reason: empty file" in output for number in range(20))
    assert main(["train", "flow", "--data", str(folder), "--out", str(tmp_path / "refused")]) == 3
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
    """What was said of each source, and the memory in MB that they took beyond a plain one."""
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
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return content.getvalue()


def test_archives_of_arrays_that_are_bombs_take_little_memory(tmp_path):
    np.savez(tmp_path / "plain.npz", x=picture(0, (30, 4)).astype(np.float32))
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
