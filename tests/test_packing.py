"""Images on disk and packed in tars: the same data set as in memory; tars of other tools, hostile
ones among them.
"""

import gzip
import io
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from programs.photos import photos, picture

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Sampler
from pushforward.data.core import dataset as fingerprints
from pushforward.data.images import image_set as images
from pushforward.data.images.image_store import ImageStore, level_counts
from pushforward.errors import DataError, UsageError
from pushforward.testing import recipe_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def packed(folder, tmp_path):
    pf.data.pack(folder, tmp_path / "packed", per_tar=20)
    return tmp_path / "packed"


@pytest.mark.parametrize(
    ("encoding", "options"),
    [("png", {}), ("npy", {}), ("png", {"resize": 4}), ("npy", {"labelled": False})],
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
        for split in (
            "train",
            "held_out",
        ):  # also of images that were scaled, whose split is that of the originals
            actual = getattr(there, split).hashes
            expected = getattr(here, split).hashes
            assert_array_equal(actual, expected)
        for number in (0, 3, 5):
            left = Sampler(there, 16, augment=("flip",)).batch(number)
            right = Sampler(here, 16, augment=("flip",)).batch(number)
            assert torch.equal(left.x, right.x)
            assert here.train.labels is None or torch.equal(
                left.condition["label"], right.condition["label"]
            )


def test_any_program_reads_the_tars(folder, packed):
    data = pf.data.load(folder)
    manifest = json.loads((packed / "manifest.json").read_text())
    images = []
    classes = []
    for shard in manifest["shards"]:
        with tarfile.open(packed / shard["file"]) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        for name in members:
            if name.endswith(".cls"):
                continue
            images.append(np.asarray(Image.open(io.BytesIO(members[name])).convert("RGBA")))
            classes.append(int(members[name.replace("png", "cls")]))
    splits = data.train, data.held_out
    expected = np.concatenate([split.x for split in splits]).transpose(0, 2, 3, 1)
    assert_array_equal(np.stack(images), expected)
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
        pair = [
            (f"a/b/{number:03}.cls", b"%d\n" % (10 * (number % 2))),
            (f"a/b/{number:03}.left.jpeg", image(number, "JPEG")),
        ]
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
    fingerprint = pf.data.load(tmp_path / "one.tar").fingerprint
    expected = pf.data.load(tmp_path / "set", stream=True).fingerprint
    assert fingerprint == expected
    some = tar(
        tmp_path / "some.tar",
        {name: content for name, content in members.items() if not name.endswith("1.cls")},
    )
    assert pf.data.load(some).space.classes == (), "images of which some have no class have none"


def test_names_are_names_and_no_paths(tmp_path):
    (tmp_path / "inner").mkdir()
    names = ("../../evil", "/evil", "a/../../../evil", "C:\\evil", "x" * 300)
    path = tar(
        tmp_path / "inner" / "x.tar",
        {f"{name}{i}.png": image(i) for i, name in enumerate(5 * names)},
    )
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
        info.type = kind
        info.size = 2**33

    return change


HOSTILE = {
    "compressed": (gzip.compress(b"x" * 1000), "compressed|Decompress"),
    "text": (b"this is no tar at all " * 100, "is damaged"),
    "empty": (b"", "is damaged|no images"),
    "cut": (with_header(lambda info: setattr(info, "size", 5000), bytes(700)), "000.png"),
    "long name": (with_header(large(tarfile.GNUTYPE_LONGNAME), bytes(1024)), "is damaged"),
    "pax": (with_header(large(tarfile.XHDTYPE), bytes(1024)), "is damaged"),
    "link": (
        with_header(lambda info: setattr(info, "type", tarfile.SYMTYPE), bytes(1024)),
        "no images",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tars_are_refused(tmp_path, kind):
    content, says = HOSTILE[kind]
    for name in ("x.tar", "x.tar.gz")[: 2 if kind == "compressed" else 1]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=says):
            pf.data.load(tmp_path / name)


def test_a_member_that_is_too_large_is_left_out_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("pushforward.data.images.tars.MAX_MEMBER", 1000)
    members = {f"{number:03}.png": image(number) for number in range(19)} | {"100.png": bytes(5000)}
    tar(tmp_path / "x.tar", members)
    data = pf.data.load(tmp_path / "x.tar")
    assert data.skipped == (("x.tar/100.png", "5,000 bytes exceed the limit of 0 MB"),)


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
    assert "89 bytes of shape (6, 5, 3)" in dict(data.skipped)["x.tar/b.npy"]
    assert len(data.train) + len(data.held_out) == 60


def broken(content):
    """Damages of a manifest and of an index, with what is said."""
    shard = content["shards"][0]
    return [
        ({"shards": [{**shard, "file": "../x.tar"}]}, "x.tar"),
        ({"shards": [{**shard, "file": "no.tar"}]}, "no.tar is missing"),
        ({"shards": [{**shard, "bytes": 7}]}, "has 7 bytes"),
        ({"shards": 5}, "json is damaged"),
        ({"classes": ["cats"]}, "json is damaged"),
    ]


def test_damaged_manifests_are_refused(packed):
    content = json.loads((packed / "manifest.json").read_text())
    for change, says in broken(content):
        (packed / "manifest.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(DataError, match=says):
            pf.data.load(packed)
    (packed / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is damaged"):
        pf.data.load(packed)
    (packed / "manifest.json").write_text(json.dumps(content))
    file = packed / "train-000000.json"
    index = json.loads(file.read_text())
    for change in ({"hashes": ["x"] * 20}, {"hashes": index["hashes"][1:]}, {"hashes": None}):
        file.write_text(json.dumps({**index, **change}))
        with pytest.raises(DataError, match=r"manifest.json is damaged"):
            pf.data.load(packed)


def test_what_is_packed_appears_whole_or_not_at_all(folder, tmp_path):
    def stop(done, total):
        if done > 70:  # images that are written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pf.data.pack(
            folder,
            tmp_path / "packed",
            progress=lambda done, total: stop(done + 63 * (total == 62), total),
        )
    assert list(tmp_path.iterdir()) == []
    pf.data.pack(folder, tmp_path / "packed")
    with pytest.raises(UsageError, match="already exists"):
        pf.data.pack(folder, tmp_path / "packed")


@pytest.mark.parametrize("encoding", ["png", "npy"])
def test_one_changed_byte_is_refused(folder, tmp_path, encoding, capsys):
    pf.data.pack(folder, tmp_path / "packed", encoding=encoding)
    file = tmp_path / "packed" / "train-000000.tar"
    content = bytearray(file.read_bytes())
    with tarfile.open(file) as archive:
        image = archive.getmember(f"000000003.{encoding}")
    content[image.offset_data + image.size - 30] ^= 255  # of an image's pixels
    file.write_bytes(content)
    for stream, limit in ((False, None), (True, 9)):
        with pytest.raises(DataError, match=r"differ from manifest.json"):
            pf.data.load(tmp_path / "packed", stream=stream, limit=limit)
    code = main(["data", "check", str(tmp_path / "packed")])
    assert code == 3
    capsys.readouterr()


@pytest.fixture
def decodings(monkeypatch):
    """The numbers of the images that are decoded again, in their order."""
    numbers = []
    again = ImageStore.again

    def counted(store, i, content, size=None):
        numbers.append(i)
        return again(store, i, content, size)

    monkeypatch.setattr(ImageStore, "again", counted)
    return numbers


def same(left, right):
    assert torch.equal(left.x, right.x)
    assert (left.condition is None) == (right.condition is None)
    for name, values in (left.condition or {}).items():
        assert torch.equal(values, right.condition[name])


@pytest.mark.parametrize(
    "options", [{}, {"resize": 4}, {"limit": 20, "seed": 3}, {"labelled": False}], ids=str
)
def test_it_is_the_same_data_set(folder, options, monkeypatch):
    monkeypatch.setattr(
        images, "BLOCK", 1 if not options else 9
    )  # blocks that need one, three and four channels
    there = pf.data.load(folder, stream=True, **options)
    here = pf.data.load(folder, stream=False, **options)
    assert there.train.on_disk
    assert not here.train.on_disk
    assert there.space == here.space
    for name in ("fingerprint", "examples_fingerprint", "skipped", "converted", "removed"):
        assert getattr(there, name) == getattr(here, name), name
    for split in ("train", "held_out"):
        left = getattr(there, split)
        right = getattr(here, split)
        assert_array_equal(left.x[:], right.x)
        assert_array_equal(left.hashes, right.hashes)
        assert_array_equal(left.labels, right.labels) if right.labels is not None else None
    actual = there.train.x.level_counts()
    expected = level_counts(here.train.x)
    assert_array_equal(actual, expected)


@pytest.mark.parametrize("augment", [(), ("flip", "shift", "dequantise")], ids=str)
def test_batches_are_the_same_for_any_number_of_workers(folder, augment):
    here = Sampler(pf.data.load(folder, stream=False), 16, seed=5, augment=augment)
    for workers in (0, 1, 2, 4):
        there = Sampler(
            pf.data.load(folder, stream=True, workers=workers), 16, seed=5, augment=augment
        )
        for number in (
            0,
            1,
            2,
            2,
            3,
            9,
            4,
            0,
        ):  # on, again, across the end of an epoch, forward and back
            same(there.batch(number), here.batch(number))
        for part in (slice(4, 9), slice(0, 4)):
            same(there.batch(7, index=part), here.batch(7, index=part))


def test_workers_decode_ahead_and_without_them_nothing_is(folder, decodings):
    for workers, batches in ((0, 1), (2, 5)):
        data = pf.data.load(folder, stream=True, workers=workers)
        decodings.clear()
        sampler = Sampler(data, 8)
        sampler.batch(0)
        if workers:
            sampler._store("cpu")[0]._pool.shutdown()
        assert len(decodings) == 8 * batches
    sampler.batch(0)
    assert len(decodings) == 8 * batches, "a batch that is taken again is not decoded again"


def test_reading_a_set_decodes_each_image_once_and_then_the_held_out_ones(folder, decodings):
    data = pf.data.load(folder, stream=True)
    assert sorted(decodings) == sorted(data.held_out.x.places), (
        "the levels of all but the training examples are counted again"
    )
    decodings.clear()
    data.train.take(slice(3, 9)).without_labels()
    Sampler(data, 8).order(0)
    assert decodings == []
    assert len(data.fingerprint) == len(data.examples_fingerprint) == 64
    assert len(decodings) == len(data.train) + len(data.held_out), "one pass for both fingerprints"


def test_a_fingerprint_reads_no_more_than_a_part_at_a_time(folder, monkeypatch):
    data = pf.data.load(folder, stream=True)
    whole = pf.data.load(folder, stream=False).fingerprint
    parts = []
    monkeypatch.setattr(fingerprints, "_BYTES", 1000)
    decoded = type(data.train.x)._stacked
    monkeypatch.setattr(
        type(data.train.x), "_stacked", lambda x, rows: parts.append(decoded(x, rows)) or parts[-1]
    )
    assert data.fingerprint == whole
    assert max(part.nbytes for part in parts) <= 1000


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fate", ["damaged", "changed", "gone", "touched"])
def test_a_file_that_changes_or_vanishes_is_named(tmp_path, workers, fate):
    data = pf.data.load(photos(tmp_path / "photos", 12), stream=True, workers=workers)
    sampler = Sampler(data, len(data.train))
    sampler.batch(0)
    file = tmp_path / "photos" / data.train.x.store.names[data.train.x.places[5]]
    if fate == "gone":
        file.unlink()
    elif fate == "damaged":
        file.write_bytes(b"no image")
    elif fate == "changed":
        Image.fromarray(picture(99)).save(file)
    else:
        os.utime(file, ns=(1, 1))
        sampler.batch(9)
        return  # the pixels are the same
    says = "has .*" if fate == "gone" else "has changed"  # as it is read
    with pytest.raises(
        DataError, match=f"{file.parent.name}/{file.name} {says} since the data was first read"
    ):
        [
            sampler.batch(number) for number in range(1, 9)
        ]  # those that were decoded before it happened are still right


def test_a_training_ends_with_the_same_weights_and_resumes_from_disk(folder, tmp_path):
    ends = {}
    for name, steps, stream in (("here", 4, False), ("there", 4, True), ("resumed", 2, True)):
        data = pf.data.load(folder, stream=stream, resize=4)
        run = pf.fit(
            recipe_for("flow", data),
            data,
            steps=steps,
            out=tmp_path / name,
            augment=("flip",),
            checkpoint_every=2,
        )
        if name == "resumed":
            assert run.spec["data"]["stream"] is True
            run = pf.resume(tmp_path / name, steps=4)
        ends[name] = torch.cat([value.flatten() for value in run.method.state_dict().values()])
    assert torch.equal(ends["there"], ends["here"])
    assert torch.equal(ends["resumed"], ends["here"])
