"""The samples nearest to training images stand on the page above these images, the closest first."""

import base64
import io

import numpy as np
from PIL import Image

from pushforward.evaluation.measurements import NearestImages, Pictures
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report.samples import CLOSEST, player
from pushforward.report.sprites import Look


def test_the_closest_pairs_are_drawn_in_order_with_their_distances():
    """Sample i is of gray 10 i, and its nearest training image of 10 i + 5; the last is the closest."""
    grays = np.arange(12, dtype=np.uint8) * 10
    samples, training = (np.tile(x[:, None, None, None], (1, 32, 28, 1)) for x in (grays, grays + 5))
    distances = np.arange(12, 0, -1) / 2
    look = Look({"gan": Pictures(samples, nearest=NearestImages(training, distances, 4.0))})
    (shown,) = player(Comparison(models=(ModelResult("gan"), ModelResult("other"))), look, [])["closest"]
    assert shown["distances"] == "0.12 to 1"
    data = shown["picture"][0].partition("base64,")[2]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")).astype(int)
    tiles = drawn[16 :: 32 + 2, 14 :: 28 + 2]
    assert tiles.shape == (2, CLOSEST)
    expected = grays[::-1][:CLOSEST].astype(int)
    np.testing.assert_allclose(tiles, [expected, expected + 5], atol=1)


def test_nothing_is_shown_where_nothing_is_known():
    x = np.zeros((3, 8, 8, 1), np.uint8)
    useless = NearestImages(x, np.ones(3), 0.0)
    for pictures in (Pictures(x), Pictures(x, nearest=useless), Pictures(np.zeros((3, 2)))):
        assert player(Comparison(models=(ModelResult("gan"),)), Look({"gan": pictures}), [])["closest"] == []
