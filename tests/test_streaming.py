"""Images that stay on disk: the same data, bit for bit, as in memory, of which no more is read than is asked for."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from programs.photos import photos, picture

import pushforward as pf
from pushforward.data import Sampler
from pushforward.data.core import dataset as fingerprints
from pushforward.data.images import image_set as images
from pushforward.data.images.image_store import ImageStore
from pushforward.data.images.streamed import level_counts
from pushforward.errors import DataError
from pushforward.testing import recipe_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def decodings(monkeypatch):
    """The numbers of the images that are decoded again, in their order."""
    numbers, again = [], ImageStore.again

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


@pytest.mark.parametrize("options", [{}, {"resize": 4}, {"limit": 20, "seed": 3}, {"labelled": False}], ids=str)
def test_it_is_the_same_data_set(folder, options, monkeypatch):
    monkeypatch.setattr(images, "BLOCK", 1 if not options else 9)  # blocks that need one, three and four channels
    there, here = pf.data.load(folder, stream=True, **options), pf.data.load(folder, stream=False, **options)
    assert there.train.on_disk
    assert not here.train.on_disk
    assert there.space == here.space
    for name in ("fingerprint", "examples_fingerprint", "skipped", "converted", "removed"):
        assert getattr(there, name) == getattr(here, name), name
    for split in ("train", "held_out"):
        left, right = getattr(there, split), getattr(here, split)
        np.testing.assert_array_equal(left.x[:], right.x)
        np.testing.assert_array_equal(left.hashes, right.hashes)
        np.testing.assert_array_equal(left.labels, right.labels) if right.labels is not None else None
    np.testing.assert_array_equal(there.train.x.level_counts(), level_counts(here.train.x))


@pytest.mark.parametrize("augment", [(), ("flip", "shift", "dequantise")], ids=str)
def test_batches_are_the_same_for_any_number_of_workers(folder, augment):
    here = Sampler(pf.data.load(folder, stream=False), 16, seed=5, augment=augment)
    for workers in (0, 1, 2, 4):
        there = Sampler(pf.data.load(folder, stream=True, workers=workers), 16, seed=5, augment=augment)
        for number in (0, 1, 2, 2, 3, 9, 4, 0):  # on, again, across the end of an epoch, forward and back
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
    assert sorted(decodings) == sorted(data.held_out.x.places), "the levels of all but the training examples are counted again"
    decodings.clear()
    data.train.take(slice(3, 9)).without_labels()
    Sampler(data, 8).order(0)
    assert decodings == []
    assert len(data.fingerprint) == len(data.examples_fingerprint) == 64
    assert len(decodings) == len(data.train) + len(data.held_out), "one pass for both fingerprints"


def test_a_fingerprint_reads_no_more_than_a_part_at_a_time(folder, monkeypatch):
    data, whole, parts = pf.data.load(folder, stream=True), pf.data.load(folder, stream=False).fingerprint, []
    monkeypatch.setattr(fingerprints, "_BYTES", 1000)
    decoded = type(data.train.x)._stacked
    monkeypatch.setattr(type(data.train.x), "_stacked", lambda x, rows: parts.append(decoded(x, rows)) or parts[-1])
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
    says = "is gone" if fate == "gone" else "has changed"
    with pytest.raises(DataError, match=f"{file.parent.name}/{file.name} {says} since the data was first read"):
        [sampler.batch(number) for number in range(1, 9)]  # those that were decoded before it happened are still right


def test_a_training_ends_with_the_same_weights_and_resumes_from_disk(folder, tmp_path):
    ends = {}
    for name, steps, stream in (("here", 4, False), ("there", 4, True), ("resumed", 2, True)):
        data = pf.data.load(folder, stream=stream, resize=4)
        run = pf.fit(recipe_for("flow", data), data, steps=steps, out=tmp_path / name, augment=("flip",), checkpoint_every=2)
        if name == "resumed":
            assert run.spec["data"]["stream"] is True
            run = pf.resume(tmp_path / name, steps=4)
        ends[name] = torch.cat([value.flatten() for value in run.method.state_dict().values()])
    assert torch.equal(ends["there"], ends["here"])
    assert torch.equal(ends["resumed"], ends["here"])
