"""Folders of small image files of every kind that can be used."""

import numpy as np
from PIL import Image


def picture(seed, shape=(6, 5, 3)):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def photos(folder, n=60, shape=(6, 5, 3)):
    """Gray, coloured and transparent images in two class folders; one is a palette image, one is
    empty, two are copies.
    """
    for number in range(n):
        place = folder / ("cats" if number % 3 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        pixels = picture(number, shape)
        if number % 4 == 0:
            pixels = pixels[..., 0]
        elif number % 7 == 0:
            pixels = np.dstack([pixels, picture(n + number, shape)[..., 0]])
        Image.fromarray(pixels).save(place / f"{number:03}.png")
    Image.fromarray(picture(1, shape)).save(folder / "dogs" / "copy.png")
    Image.fromarray(picture(3 * n, shape)).convert("P").save(folder / "dogs" / "palette.png")
    (folder / "cats" / "empty.png").write_bytes(b"")
    return folder
