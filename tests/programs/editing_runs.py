"""A folder of images and runs for the verbs that edit."""

import contextlib
import json

import numpy as np
from PIL import Image
from programs.command_line import TINY, run

from pushforward.cli import main

RUNS = """
    train flow --out flow --checkpoint-every 2
    train gan --out gan
    train vae --out vae
    train flow --data moons --out moons
    train gan --data moons --out points
"""


def furnish(folder):
    """Put some images and a run of each kind into a folder."""
    with contextlib.chdir(folder):
        _draw_images()
        for command in RUNS.strip().splitlines():
            assert main([*command.split(), *TINY]) == 0


def _save(name, pixels):
    Image.fromarray(pixels).save(name)


def _draw_images():
    first, second, third = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    _save("a.png", first)
    _save("b.png", second)
    large = Image.fromarray(third).resize((16, 16))
    large.save("large.png")
    _save("small.png", first[:4, :4])
    _save("colours.png", np.stack([first, first, second], -1))
    _save("clear.png", np.full((8, 8, 4), 100, dtype=np.uint8))
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[2:5, 1:7] = 255
    mask[0, 0] = 127
    mask[7, 7] = 128
    _save("mask.png", mask)


def done(capsys, *words):
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def pixels(name):
    return np.asarray(Image.open(name))
