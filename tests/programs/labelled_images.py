"""A data set of random images in three classes."""

import numpy as np

from pushforward.data import Dataset, Split
from pushforward.data.core.dataset import Schema, build


def pictures(n=37, shape=(3, 5, 4), labelled=True, seed=0) -> Dataset:
    random = np.random.RandomState(seed)
    x = random.randint(0, 256, (n, *shape)).astype(np.uint8)
    labels = np.arange(n) % 3 if labelled else None
    return build(
        "pictures", Split(x, labels), schema=Schema(("cat", "dog", "emu") if labelled else ())
    )
