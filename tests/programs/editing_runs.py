"""A folder of images and runs for the verbs that edit."""

import contextlib
import json

import numpy as np
from PIL import Image
from programs.command_line import TINY, run

from pushforward.cli import main


def furnish(folder):
    """Put some images and a run of each kind into a folder."""
    with contextlib.chdir(folder):
        _draw_images()
        assert main(["train", "flow", "--out", "flow", "--checkpoint-every", "2", *TINY]) == 0
        assert main(["train", "gan", "--out", "gan", *TINY]) == 0
        assert main(["train", "vae", "--out", "vae", *TINY]) == 0
        assert main(["train", "flow", "--data", "moons", "--out", "moons", *TINY]) == 0
        assert main(["train", "gan", "--data", "moons", "--out", "points", *TINY]) == 0


def _draw_images():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for name, image in zip(("a.png", "b.png"), pixels, strict=False):
        Image.fromarray(image).save(name)
    Image.fromarray(pixels[2]).resize((16, 16)).save("large.png")
    Image.fromarray(pixels[0, :4, :4]).save("small.png")
    Image.fromarray(np.stack([pixels[0]] * 2 + [pixels[1]], -1)).save("colours.png")
    Image.fromarray(np.full((8, 8, 4), 100, dtype=np.uint8)).save("clear.png")
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[2:5, 1:7] = 255
    mask[0, 0] = 127
    mask[7, 7] = 128
    Image.fromarray(mask).save("mask.png")


def done(capsys, *words):
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def pixels(name):
    return np.asarray(Image.open(name))


MANY = ["--solver", "heun", "--steps", "100", "--grid", "log_snr"]
