"""Folders of small image files of every kind that can be used."""

import numpy as np
from PIL import Image


def picture(seed, shape=(6, 5, 3)):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, shape).astype(np.uint8)


def photos(folder, n=60, shape=(6, 5, 3)):
    """Gray, coloured and transparent images in two class folders; one is a palette image, one is
    empty, two are copies.
    """
    cats = folder / "cats"
    dogs = folder / "dogs"
    cats.mkdir(parents=True, exist_ok=True)
    dogs.mkdir(exist_ok=True)
    for number in range(n):
        place = cats
        if number % 3 == 0:
            place = dogs
        pixels = picture(number, shape)
        if number % 4 == 0:
            pixels = pixels[..., 0]
        elif number % 7 == 0:
            opacity = picture(n + number, shape)[..., 0]
            pixels = np.dstack([pixels, opacity])
        Image.fromarray(pixels).save(place / f"{number:03}.png")
    copy = Image.fromarray(picture(1, shape))
    copy.save(dogs / "copy.png")
    palette = Image.fromarray(picture(3 * n, shape)).convert("P")
    palette.save(dogs / "palette.png")
    (cats / "empty.png").write_bytes(b"")
    return folder
