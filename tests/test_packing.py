"""Images on disk and packed in tars: the same data set as in memory; tars of other tools, hostile
ones among them.
"""

import gzip
import io
import json
import math
import os
import shutil
import tarfile

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from programs.photos import photos, picture
from programs.text_tables import read_cases

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


PACKINGS = {
    "png": ("png", {}),
    "npy": ("npy", {}),
    "scaled": ("png", {"resize": 4}),
    "unlabelled": ("npy", {"labelled": False}),
}


@pytest.mark.parametrize(("encoding", "options"), PACKINGS.values(), ids=PACKINGS)
def test_packed_images_are_the_same_data_set(folder, tmp_path, encoding, options):
    here = pf.data.load(folder, **options)
    packed = tmp_path / "packed"
    manifest = pf.data.pack(folder, packed, encoding=encoding, per_tar=20, **options)
    training_tars = math.ceil(len(here.train) / 20)
    assert len(manifest["shards"]) == training_tars + 1
    assert manifest["fingerprint"] == here.fingerprint
    for stream in (False, True):
        there = pf.data.load(packed, stream=stream)
        assert there.train.on_disk == stream
        assert there.fingerprint == here.fingerprint
        assert there.space == here.space
        # also of images that were scaled, whose split is that of the originals
        assert_array_equal(there.train.hashes, here.train.hashes)
        assert_array_equal(there.held_out.hashes, here.held_out.hashes)
        left = Sampler(there, 16, augment=("flip",))
        right = Sampler(here, 16, augment=("flip",))
        for number in (0, 3, 5):
            same(left.batch(number), right.batch(number))


def read_tar(path):
    """The content of each member."""
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_any_program_reads_the_tars(folder, packed):
    data = pf.data.load(folder)
    manifest = json.loads((packed / "manifest.json").read_text())
    images = []
    classes = []
    for shard in manifest["shards"]:
        members = read_tar(packed / shard["file"])
        for name, content in members.items():
            if name.endswith(".png"):
                image = Image.open(io.BytesIO(content)).convert("RGBA")
                images.append(np.asarray(image))
                classes.append(int(members[name.replace("png", "cls")]))
    x = np.concatenate([data.train.x, data.held_out.x])
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    assert_array_equal(np.stack(images), x.transpose(0, 2, 3, 1))
    assert_array_equal(classes, labels)
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


@pytest.fixture
def foreign():
    """Members as another tool writes them: 24 images of the classes 0 and 10."""
    members = {"notes.txt": b"hello"}
    for number in range(24):
        stem = f"a/b/{number:03}"
        class_first = {
            f"{stem}.cls": b"%d\n" % (10 * (number % 2)),
            f"{stem}.left.jpeg": image(number, "JPEG"),
        }
        if number % 3 == 0:
            class_first = dict(reversed(class_first.items()))
        members |= class_first
        members[f"{stem}.json"] = b"{}"
    return members


def test_tars_of_other_tools(tmp_path, foreign):
    one = tar(tmp_path / "one.tar", foreign)
    several = tmp_path / "set"
    several.mkdir()
    members = list(foreign.items())
    tar(several / "0.tar", dict(members[:40]))
    tar(several / "1.tar", dict(members[40:]))
    for place in (one, several):
        data = pf.data.load(place)
        assert len(data.train) + len(data.held_out) == 24
        assert data.space.classes == ("0", "10")
        assert data.ignored == 25
    streamed = pf.data.load(several, stream=True)
    assert streamed.fingerprint == pf.data.load(one).fingerprint


def test_images_of_which_some_have_no_class_have_none(tmp_path, foreign):
    for name in list(foreign):
        if name.endswith("1.cls"):
            del foreign[name]
    data = pf.data.load(tar(tmp_path / "some.tar", foreign))
    assert data.space.classes == ()


def test_names_are_names_and_no_paths(tmp_path):
    (tmp_path / "inner").mkdir()
    names = ("../../evil", "/evil", "a/../../../evil", "C:\\evil", "x" * 300)
    members = {}
    for i, name in enumerate(5 * names):
        members[f"{name}{i}.png"] = image(i)
    path = tar(tmp_path / "inner" / "x.tar", members)
    before = sorted(os.walk(tmp_path))
    data = pf.data.load(path)
    assert len(data.train) + len(data.held_out) == 25
    assert sorted(os.walk(tmp_path)) == before


def with_header(kind=tarfile.REGTYPE, size=0, content=bytes(1024)):
    """A tar whose first member is of this kind and, by its header, of this size."""
    info = tarfile.TarInfo("000.png")
    info.type = kind
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + content


COMPRESSED = gzip.compress(b"x" * 1000)


HOSTILE = {
    "compressed": ("x.tar", COMPRESSED, "compressed|Decompress"),
    "named as such": ("x.tar.gz", COMPRESSED, "compressed|Decompress"),
    "text": ("x.tar", b"this is no tar at all " * 100, "is damaged"),
    "empty": ("x.tar", b"", "is damaged|no images"),
    "cut": ("x.tar", with_header(size=5000, content=bytes(700)), "000.png"),
    "long name": ("x.tar", with_header(tarfile.GNUTYPE_LONGNAME, 2**33), "is damaged"),
    "pax": ("x.tar", with_header(tarfile.XHDTYPE, 2**33), "is damaged"),
    "link": ("x.tar", with_header(tarfile.SYMTYPE), "no images"),
}


@pytest.mark.parametrize(("name", "content", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_tars_are_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        pf.data.load(path)


def test_a_member_that_is_too_large_is_left_out_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("pushforward.data.images.tars.MAX_MEMBER", 1000)
    members = {f"{number:03}.png": image(number) for number in range(19)}
    members["100.png"] = bytes(5000)
    data = pf.data.load(tar(tmp_path / "x.tar", members))
    assert data.skipped == (("x.tar/100.png", "5,000 bytes exceed the limit of 0 MB"),)


def array(value):
    """The bytes of a NumPy file."""
    content = io.BytesIO()
    np.save(content, value)
    return content.getvalue()


BAD_ARRAYS = {
    "float.npy": array(picture(0).astype(np.float32)),
    "cut.npy": array(picture(0))[:-1],
    "objects.npy": array(np.array([{}], dtype=object)),
    "four dimensions.npy": array(np.zeros((2, 3, 4, 5), np.uint8)),
    "two channels.npy": array(np.zeros((6, 5, 2), np.uint8)),
    "no header.npy": b"\x93NUMPY\x01\x00" + b"\xff" * 60,
}


def test_arrays_in_tars_are_checked(tmp_path):
    members = dict(BAD_ARRAYS)
    for number in range(60):
        members[f"{number:03}.npy"] = array(picture(number))
    data = pf.data.load(tar(tmp_path / "x.tar", members))
    skipped = dict(data.skipped)
    assert list(skipped) == [f"x.tar/{name}" for name in BAD_ARRAYS]
    assert "89 bytes of shape (6, 5, 3)" in skipped["x.tar/cut.npy"]
    assert len(data.train) + len(data.held_out) == 60


BROKEN_SHARDS = """
{"file": "no.tar"}   | no.tar is missing
{"bytes": 7}         | has 7 bytes
"""


def rewritten(path, **changes):
    """Change entries of a JSON file."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(("change", "says"), read_cases(BROKEN_SHARDS))
def test_manifests_of_other_tars_are_refused(packed, change, says):
    manifest = packed / "manifest.json"
    first = json.loads(manifest.read_text())["shards"][0]
    rewritten(manifest, shards=[{**first, **change}])
    with pytest.raises(DataError, match=says):
        pf.data.load(packed)


def test_a_tar_outside_of_the_folder_is_refused(packed):
    manifest = packed / "manifest.json"
    first, *others = json.loads(manifest.read_text())["shards"]
    file = packed / first["file"]
    for suffix in (".tar", ".json"):
        shutil.copy(file.with_suffix(suffix), packed.parent / f"x{suffix}")
    rewritten(manifest, shards=[{**first, "file": "../x.tar"}, *others])
    with pytest.raises(DataError, match=r"\.\./x\.tar"):
        pf.data.load(packed)


@pytest.mark.parametrize("change", [{"shards": 5}, {"classes": ["cats"]}], ids=str)
def test_damaged_manifests_are_refused(packed, change):
    rewritten(packed / "manifest.json", **change)
    with pytest.raises(DataError, match="json is damaged"):
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
    # blocks that need one, three and four channels
    monkeypatch.setattr(images, "BLOCK", 9 if options else 1)
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


def test_manifests_that_nest_without_end_are_refused(packed):
    (packed / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is damaged"):
        pf.data.load(packed)


def test_damaged_indices_are_refused(packed):
    index = packed / "train-000000.json"
    hashes = json.loads(index.read_text())["hashes"]
    for damaged in (["x"] * 20, hashes[1:], None):
        rewritten(index, hashes=damaged)
        with pytest.raises(DataError, match=r"manifest.json is damaged"):
            pf.data.load(packed)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("augment", [(), ("flip", "shift", "dequantise")], ids=str)
def test_batches_are_the_same_for_any_number_of_workers(folder, augment, workers):
    on_disk = pf.data.load(folder, stream=True, workers=workers)
    in_memory = pf.data.load(folder, stream=False)
    there = Sampler(on_disk, 16, seed=5, augment=augment)
    here = Sampler(in_memory, 16, seed=5, augment=augment)
    # on, again, across the end of an epoch, forward and back
    for number in (0, 1, 2, 2, 3, 9, 4, 0):
        same(there.batch(number), here.batch(number))
    for part in (slice(4, 9), slice(0, 4)):
        left = there.batch(7, index=part)
        right = here.batch(7, index=part)
        same(left, right)


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
    sizes = []
    monkeypatch.setattr(fingerprints, "_BYTES", 1000)
    rows_of = type(data.train.x)
    decoded = rows_of._stacked

    def measured(x, rows):
        part = decoded(x, rows)
        sizes.append(part.nbytes)
        return part

    monkeypatch.setattr(rows_of, "_stacked", measured)
    assert data.fingerprint == whole
    assert max(sizes) <= 1000


@pytest.fixture(params=[0, 2], ids=["no worker", "2 workers"])
def begun(request, tmp_path):
    """A sampler of a folder that has drawn its first batch, and one of the folder's files."""
    data = pf.data.load(photos(tmp_path / "photos", 12), stream=True, workers=request.param)
    sampler = Sampler(data, len(data.train))
    sampler.batch(0)
    x = data.train.x
    name = x.store.names[x.places[5]]
    return sampler, tmp_path / "photos" / name


@pytest.mark.parametrize("fate", ["damaged", "changed", "gone"])
def test_a_file_that_changes_or_vanishes_is_named(begun, fate):
    sampler, file = begun
    says = "has changed"
    if fate == "gone":
        file.unlink()
        says = "has .*"  # as it is read
    elif fate == "damaged":
        file.write_bytes(b"no image")
    else:
        Image.fromarray(picture(99)).save(file)
    words = f"{file.parent.name}/{file.name} {says} since the data was first read"
    later = map(sampler.batch, range(1, 9))
    with pytest.raises(DataError, match=words):
        list(later)  # what was decoded before it happened is still right


def test_a_file_that_was_touched_has_the_same_pixels(begun):
    sampler, file = begun
    os.utime(file, ns=(1, 1))
    sampler.batch(9)


def weights(run):
    return torch.cat([value.flatten() for value in run.method.state_dict().values()])


def test_a_training_ends_with_the_same_weights_and_resumes_from_disk(folder, tmp_path):
    def trained(name, steps, stream):
        data = pf.data.load(folder, stream=stream, resize=4)
        recipe = recipe_for("flow", data)
        options = {"augment": ("flip",), "checkpoint_every": 2}
        return pf.fit(recipe, data, steps=steps, out=tmp_path / name, **options)

    here = trained("here", 4, stream=False)
    there = trained("there", 4, stream=True)
    assert torch.equal(weights(there), weights(here))
    cut = trained("cut", 2, stream=True)
    assert cut.spec["data"]["stream"] is True
    resumed = pf.resume(cut.folder, steps=4)
    assert torch.equal(weights(resumed), weights(here))
