"""Images are held out by their content, whatever their size, their colours and what is drawn from them."""

import numpy as np
from PIL import Image
from programs.image_files import content, pixels

from pushforward import data as pf_data


def saved(folder, images):
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(folder / f"{i:04}.png")
    return folder


def test_folders_hold_the_same_images_out_at_every_size_and_beside_images_in_colour(tmp_path):
    gray = np.sort(pixels(120, shape=(1, 8, 8)).reshape(120, -1)).reshape(
        120, 1, 8, 8
    )  # brightness tells them apart at every size
    gray = (gray // 16 + np.arange(120)[:, None, None, None] * 2).astype(np.uint8)
    folder = saved(tmp_path / "images", gray)
    whole = pf_data.load(folder)
    small = pf_data.load(folder, resize=4)
    assert whole.removed == small.removed == 0
    np.testing.assert_array_equal(whole.held_out.hashes, small.held_out.hashes)
    np.testing.assert_array_equal(np.sort(whole.train.hashes), np.sort(small.train.hashes))
    np.save(tmp_path / "images.npy", gray.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(pf_data.load(tmp_path / "images.npy").held_out.x, whole.held_out.x)
    np.testing.assert_array_equal(pf_data.load(tmp_path / "images.npy", resize=4).held_out.hashes, small.held_out.hashes)
    Image.fromarray(pixels(1, 5, (8, 8, 3))[0]).save(folder / "colour.png")
    colour = pf_data.load(folder)
    assert colour.space.shape == (3, 8, 8)
    assert set(whole.train.hashes) <= set(colour.train.hashes)
    assert set(whole.held_out.hashes) <= set(colour.held_out.hashes)


def test_images_that_scaling_makes_equal_do_not_stay_on_both_sides(tmp_path):
    """Each picture in two sizes: in the folder's own sizes they are different files, at 4 x 4 they are the same rows."""
    shades = np.linspace(0, 255, 200).astype(np.uint8)
    folder = tmp_path / "two"
    for size in (8, 12):
        for i, shade in enumerate(shades):
            folder.mkdir(exist_ok=True)
            Image.fromarray(np.full((size, size), shade)).save(folder / f"{size}-{i:03}.png")
    data = pf_data.load(folder, resize=4)
    assert data.removed > 10
    assert not content(data.train.x) & content(data.held_out.x)
    assert len(data.train) + len(data.held_out) + data.removed == 400


def test_binarised_images_are_split_as_the_images_they_are_drawn_from():
    grey, bits = pf_data.load("digits"), pf_data.load("binary-digits", labelled=False, limit=300)
    np.testing.assert_array_equal(bits.held_out.hashes, grey.held_out.hashes)
    assert np.isin(bits.train.hashes, grey.train.hashes).all()
    assert len(bits.train.hashes) == 300
