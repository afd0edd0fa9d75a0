"""Packed images: the same data set from tars that other tools read, and tars of other tools, hostile ones among them."""

import gzip
import io
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from programs.photos import photos, picture

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Sampler
from pushforward.errors import DataError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def packed(folder, tmp_path):
    pf.data.pack(folder, tmp_path / "packed", per_tar=20)
    return tmp_path / "packed"


@pytest.mark.parametrize(
    ("encoding", "options"), [("png", {}), ("npy", {}), ("png", {"resize": 4}), ("npy", {"labelled": False})]
)
def test_packed_images_are_the_same_data_set(folder, tmp_path, encoding, options):
    here = pf.data.load(folder, **options)
    manifest = pf.data.pack(folder, tmp_path / "packed", encoding=encoding, per_tar=20, **options)
    assert len(manifest["shards"]) == -(-len(here.train) // 20) + 1
    for stream in (False, True):
        there = pf.data.load(tmp_path / "packed", stream=stream)
        assert there.train.on_disk == stream
        assert there.fingerprint == here.fingerprint == manifest["fingerprint"]
        assert there.space == here.space
        for split in ("train", "held_out"):  # also of images that were scaled, whose split is that of the originals
            np.testing.assert_array_equal(getattr(there, split).hashes, getattr(here, split).hashes)
        for number in (0, 3, 5):
            left, right = Sampler(there, 16, augment=("flip",)).batch(number), Sampler(here, 16, augment=("flip",)).batch(number)
            assert torch.equal(left.x, right.x)
            assert here.train.labels is None or torch.equal(left.condition["label"], right.condition["label"])


def test_any_program_reads_the_tars(folder, packed):
    data, manifest = pf.data.load(folder), json.loads((packed / "manifest.json").read_text())
    images, classes = [], []
    for shard in manifest["shards"]:
        index = json.loads((packed / shard["file"]).with_suffix(".json").read_text())
        content = (packed / shard["file"]).read_bytes()
        with tarfile.open(packed / shard["file"]) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        for name, offset, size in zip(index["names"], index["offsets"], index["sizes"], strict=True):
            assert content[offset : offset + size] == members[name]
            images.append(np.asarray(Image.open(io.BytesIO(members[name])).convert("RGBA")))
            classes.append(int(members[name.replace("png", "cls")]))
    splits = data.train, data.held_out
    np.testing.assert_array_equal(np.stack(images), np.concatenate([split.x for split in splits]).transpose(0, 2, 3, 1))
    assert classes == np.concatenate([split.labels for split in splits]).tolist()
    assert manifest["classes"] == ["cats", "dogs"]


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def image(seed, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(picture(seed)).save(content, kind)
    return content.getvalue()


def test_tars_of_other_tools(tmp_path):
    members = {"notes.txt": b"hello"}
    for number in range(24):
        pair = [(f"a/b/{number:03}.cls", b"%d\n" % (10 * (number % 2))), (f"a/b/{number:03}.left.jpeg", image(number, "JPEG"))]
        members |= dict(pair if number % 3 else reversed(pair))
        members |= {f"a/b/{number:03}.json": b"{}"}
    (tmp_path / "set").mkdir()
    parts = [dict(list(members.items())[:40]), dict(list(members.items())[40:])]
    for number, part in enumerate(parts):
        tar(tmp_path / "set" / f"{number}.tar", part)
    for place, n in ((tar(tmp_path / "one.tar", members), 24), (tmp_path / "set", 24)):
        data = pf.data.load(place)
        assert len(data.train) + len(data.held_out) == n
        assert data.space.classes == ("0", "10")
        assert data.ignored == 25
    assert pf.data.load(tmp_path / "one.tar").fingerprint == pf.data.load(tmp_path / "set", stream=True).fingerprint
    some = tar(tmp_path / "some.tar", {name: content for name, content in members.items() if not name.endswith("1.cls")})
    assert pf.data.load(some).space.classes == (), "images of which some have no class have none"


def test_names_are_names_and_no_paths(tmp_path):
    (tmp_path / "inner").mkdir()
    names = ("../../evil", "/evil", "a/../../../evil", "C:\\evil", "x" * 300)
    path = tar(tmp_path / "inner" / "x.tar", {f"{name}{i}.png": image(i) for i, name in enumerate(5 * names)})
    before = sorted(os.walk(tmp_path))
    data = pf.data.load(path)
    assert len(data.train) + len(data.held_out) == 25
    assert sorted(os.walk(tmp_path)) == before


def with_header(change, content=b""):
    info = tarfile.TarInfo("000.png")
    change(info)
    return info.tobuf(tarfile.GNU_FORMAT) + content


def large(kind):
    def change(info):
        info.type, info.size = kind, 2**33

    return change


HOSTILE = {
    "compressed": (gzip.compress(b"x" * 1000), r"compressed \(gzip\).*plain tar"),
    "text": (b"this is no tar at all " * 100, "damaged or no tar"),
    "empty": (b"", "damaged or no tar|no images"),
    "cut": (with_header(lambda info: setattr(info, "size", 5000), bytes(700)), "it ends inside of 000.png"),
    "long name": (with_header(large(tarfile.GNUTYPE_LONGNAME), bytes(1024)), "a header says that it has 8,589,934,592 bytes"),
    "pax": (with_header(large(tarfile.XHDTYPE), bytes(1024)), "a header says that it has 8,589,934,592 bytes"),
    "link": (with_header(lambda info: setattr(info, "type", tarfile.SYMTYPE), bytes(1024)), "no images"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tars_are_refused(tmp_path, kind):
    content, says = HOSTILE[kind]
    for name in ("x.tar", "x.tar.gz")[: 2 if kind == "compressed" else 1]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=says):
            pf.data.load(tmp_path / name)


def test_a_member_that_is_too_large_is_left_out_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("pushforward.data.readers.shards.MAX_MEMBER", 1000)
    members = {f"{number:03}.png": image(number) for number in range(19)} | {"100.png": bytes(5000)}
    tar(tmp_path / "x.tar", members)
    data = pf.data.load(tmp_path / "x.tar")
    assert data.skipped == (("x.tar/100.png", "5,000 bytes, more than 0 MB"),)


def test_arrays_in_tars_are_checked(tmp_path):
    def array(value):
        content = io.BytesIO()
        np.save(content, value)
        return content.getvalue()

    good = {f"{number:03}.npy": array(picture(number)) for number in range(60)}
    bad = {
        "a.npy": array(picture(0).astype(np.float32)),
        "b.npy": array(picture(0))[:-1],
        "c.npy": array(np.array([{}], dtype=object)),
        "d.npy": array(np.zeros((2, 3, 4, 5), np.uint8)),
        "e.npy": array(np.zeros((6, 5, 2), np.uint8)),
        "f.npy": b"\x93NUMPY\x01\x00" + b"\xff" * 60,
    }
    data = pf.data.load(tar(tmp_path / "x.tar", good | bad))
    assert [file for file, _ in data.skipped] == [f"x.tar/{name}" for name in bad]
    assert dict(data.skipped)["x.tar/b.npy"] == "its header says (6, 5, 3), and 89 bytes follow"
    assert len(data.train) + len(data.held_out) == 60


def broken(content):
    """Damages of a manifest and of an index, with what is said."""
    shard = content["shards"][0]
    return [
        ({"shards": [{**shard, "file": "../x.tar"}]}, "no name of a tar"),
        ({"shards": [{**shard, "file": "/etc/passwd"}]}, "no name of a tar"),
        ({"shards": [{**shard, "file": "no.tar"}]}, "no.tar is missing"),
        ({"shards": [{**shard, "bytes": 7}]}, "has 7 bytes"),
        ({"shards": [{**shard, "bytes": 10**9}]}, "has 1,000,000,000 bytes"),
        ({"shards": 5}, "json is damaged"),
        ({"shards": []}, "names no tars"),
        ({"classes": None}, "json is damaged"),
    ]


def test_damaged_manifests_are_refused(packed):
    content = json.loads((packed / "manifest.json").read_text())
    for change, says in broken(content):
        (packed / "manifest.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(DataError, match=says):
            pf.data.load(packed)
    (packed / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read"):
        pf.data.load(packed)
    (packed / "manifest.json").write_text(json.dumps(content))
    file = packed / "train-000000.json"
    index = json.loads(file.read_text())
    for change in (
        {"offsets": [2**40] * 20},
        {"sizes": [-1] * 20},
        {"names": []},
        {"hashes": ["x"] * 20},
        {"labels": ["9"] * 20},
    ):
        file.write_text(json.dumps({**index, **change}))
        with pytest.raises(DataError, match=r"manifest.json is damaged"):
            pf.data.load(packed)


def test_what_is_packed_appears_whole_or_not_at_all(folder, tmp_path):
    def stop(done, total):
        if done > 70:  # images that are written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pf.data.pack(folder, tmp_path / "packed", progress=lambda done, total: stop(done + 63 * (total == 62), total))
    assert list(tmp_path.iterdir()) == []
    pf.data.pack(folder, tmp_path / "packed")
    with pytest.raises(UsageError, match="is there already"):
        pf.data.pack(folder, tmp_path / "packed")
    for name, options, says in (
        ("moons", {}, "only images"),
        ("digits", {"encoding": "jpg"}, "png, npy"),
        ("digits", {"per_tar": 0}, "at least 1"),
    ):
        with pytest.raises(UsageError, match=says):
            pf.data.pack(name, tmp_path / "other", **options)


@pytest.mark.parametrize("encoding", ["png", "npy"])
def test_one_changed_byte_is_refused(folder, tmp_path, encoding, capsys):
    pf.data.pack(folder, tmp_path / "packed", encoding=encoding)
    file = tmp_path / "packed" / "train-000000.tar"
    index, content = json.loads(file.with_suffix(".json").read_text()), bytearray(file.read_bytes())
    content[index["offsets"][3] + index["sizes"][3] - 30] ^= 255  # of an image's pixels
    file.write_bytes(content)
    for stream, limit in ((False, None), (True, 9)):
        with pytest.raises(DataError, match=r"differ from manifest.json"):
            pf.data.load(tmp_path / "packed", stream=stream, limit=limit)
    assert main(["data", "check", str(tmp_path / "packed")]) == 3
    assert "the images were packed" in capsys.readouterr().err or encoding == "npy"
