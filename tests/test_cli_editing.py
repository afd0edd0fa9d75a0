"""The verbs that edit with a run, the options that all sampling verbs share, and mistakes
in them.
"""

import contextlib
import functools
import os
from pathlib import Path

import numpy as np
import pytest
from programs.command_line import run
from programs.editing_runs import done, pixels
from programs.text_tables import read_cases

from pushforward.data.images.image_set import read_image
from pushforward.errors import DataError

FINELY = "--solver heun --steps 100 --grid log_snr"


@pytest.fixture(scope="module")
def here(editing_folder):
    with contextlib.chdir(editing_folder):
        yield editing_folder


@pytest.fixture
def told(here, capsys):
    """A function that runs a command and returns what it says."""
    return lambda line: done(capsys, *line.split())


def drawn(name):
    """The gray images in an .npz file, as floats."""
    return np.load(name)["x"][..., 0].astype(float)


def rms(difference):
    return np.sqrt(np.mean(difference**2))


def test_interpolation_ends_at_the_images(told):
    command = f"interpolate flow --from a.png --to b.png --frames 4 {FINELY}"
    told(f"{command} --out frames")
    names = sorted(os.listdir("frames"))
    assert names == ["0.png", "1.png", "2.png", "3.png"]
    for name, frame in (("a.png", "0"), ("b.png", "3")):
        gap = pixels(name).astype(float) - pixels(f"frames/{frame}.png")
        assert rms(gap) < 0.05 * 255
    told(f"{command} --out strip.png")
    strip = pixels("strip.png")
    assert strip.shape == (64, 4 * 64 + 3 * 2)
    np.testing.assert_array_equal(strip[::8, 66:130:8], pixels("frames/1.png"))


@pytest.mark.parametrize("family", ["flow", "gan"])
def test_interpolation_between_seeds_ends_at_their_samples(told, family):
    out = f"{family}-between"
    said = told(f"interpolate {family} --seeds 5,7 --label 2 --frames 3 --out {out}")
    assert said["seeds"] == [5, 7]
    for seed, frame in ((5, 0), (7, 2)):
        folder = f"{family}-{seed}"
        told(f"sample {family} --n 1 --label 2 --seed {seed} --out {folder}")
        sample = pixels(f"{folder}/0-2.png").astype(int)
        gap = sample - pixels(f"{out}/{frame}.png")
        assert np.abs(gap).max() <= 1


def test_a_strength_runs_from_the_image_to_a_new_sample(told):
    options = f"--n 3 --seed 4 --label 1 {FINELY}"
    gaps = []
    for strength, calls in (("0.01", 1), ("0.5", 99), ("1", 199)):
        out = f"v{strength}.npz"
        said = told(f"vary flow a.png --strength {strength} {options} --out {out}")
        assert said["calls_per_sample"] == calls
        gap = np.abs(drawn(out) - pixels("a.png"))
        gaps.append(gap.mean())
    assert gaps == sorted(gaps)
    assert gaps[0] < 20
    told(f"sample flow {options} --out new.npz")
    np.testing.assert_array_equal(drawn("new.npz"), drawn("v1.npz"))


def test_inpainting_keeps_what_is_not_masked(told):
    holes = pixels("mask.png") >= 128
    assert holes.sum() == 19
    assert holes[7, 7]
    assert not holes[0, 0]
    command = "inpaint flow a.png --steps 6 --n 4"
    said = told(f"{command} --mask mask.png --rounds 2 --out filled.npz")
    assert said["filled"] == 19
    assert said["calls_per_sample"] == 11
    np.testing.assert_array_equal(kept("filled.npz"), ~holes)
    said = told(f"{command} --box 2,1,5,7 --label 3 --scale 2 --out box.npz")
    assert said["calls_per_sample"] == 52
    outside = np.ones((8, 8), dtype=bool)
    outside[2:5, 1:7] = False
    np.testing.assert_array_equal(kept("box.npz"), outside)
    labels = np.load("box.npz")["label"]
    assert (labels == 3).all()


def kept(name):
    """The pixels that are those of the image in all samples."""
    same = drawn(name) == pixels("a.png")
    return same.all(0)


def test_upscaling_averages_to_the_image(told):
    said = told("upscale flow small.png --n 3 --steps 6 --out up.npz")
    assert said["factor"] == 2
    x = drawn("up.npz").reshape(3, 4, 2, 4, 2)
    within = (x > 0) & (x < 255)
    inside = within.all((2, 4))
    gap = np.abs(x.mean((2, 4)) - pixels("small.png"))
    assert inside.sum() > 5
    assert gap[inside].max() <= 0.5


def test_a_generated_image_is_projected_on_itself(told):
    import torch

    from pushforward import load

    told("sample gan --n 2 --seed 40 --label 3 --out own")
    files = ["own/0-3.png", "own/1-3.png"]
    said = told(f"invert gan {' '.join(files)} --label 3 --steps 150 --out found.npz")
    errors = []
    for image, file in zip(said["images"], files, strict=True):
        assert image["file"] == file
        assert image["condition"] == {"label": "3"}
        assert image["error"] < image["error_of_random_z"] / 2
        errors.append(image["error"])
    held = np.load("found.npz")
    assert held["files"].tolist() == files
    np.testing.assert_allclose(held["error"], errors, rtol=1e-6)
    model = load("gan").transport
    z = torch.from_numpy(held["z"])
    label = torch.from_numpy(held["label"])
    with torch.no_grad():
        images = model(z, {"label": label})
    expected = model.space.quantise(model.space.to_data(images))
    np.testing.assert_array_equal(held["x"], expected)


def test_one_call_models_interpolate_and_vary_images_by_their_z(told, monkeypatch):
    from pushforward.editing import Search, interpolation as any_model, invert

    search = Search(steps=100, starts=2)
    monkeypatch.setattr(any_model, "invert", functools.partial(invert, search=search))
    told("sample vae --n 2 --seed 40 --label 3 --out ends")
    first = pixels("ends/0-3.png")
    last = pixels("ends/1-3.png")
    command = "interpolate vae --from ends/0-3.png --to ends/1-3.png --frames 3"
    # without a label, which its encoder would need, the z is searched for
    told(f"{command} --out searched.npz")
    x = drawn("searched.npz")
    assert np.abs(x[0] - first).max() < 15
    assert np.abs(x[2] - last).max() < 15
    told(f"{command} --label 3 --out coded.npz")
    x = drawn("coded.npz")
    assert rms(x[0] - first) < 0.15 * 255
    assert rms(x[2] - last) < 0.15 * 255
    options = "--label 3 --n 3 --seed 4"
    gaps = []
    for strength in ("0.01", "0.5", "1"):
        out = f"around{strength}.npz"
        said = told(f"vary vae ends/0-3.png {options} --strength {strength} --out {out}")
        assert said["calls_per_sample"] == 1
        gap = np.abs(drawn(out) - first)
        gaps.append(gap.mean())
    assert gaps == sorted(gaps)
    told(f"sample vae {options} --out fresh.npz")
    np.testing.assert_array_equal(drawn("fresh.npz"), drawn("around1.npz"))


MISTAKES = """
interpolate                                       | run
vary flow large.png                               | --resize
vary flow a.png --strength 0                      | (0, 1]
vary flow a.png --out a.png                       | already
vary flow a.png --scale 2                         | --label
vary moons a.png                                  | vectors
inpaint flow a.png                                | --mask MASK.png
inpaint flow a.png --box 0,0,8,8                  | not everywhere
inpaint vae a.png --box 0,0,4,4                   | not an iterative model
upscale flow a.png                                | smaller by an integer factor
interpolate flow --seeds 0                        | --seeds takes 2 numbers
interpolate flow --from a.png --to b.png --solver ancestral | deterministic
sample flow --truncation 0.7                      | iterative model (
invert flow a.png                                 | one-call models
nearest gan --k 9999                              | at most 4,096
sample flow --scale 2 --interval 2                | --interval takes 2 numbers
sample flow --weaker gan                          | one-call
sample moons --threshold 0.9                      | bounds
sample moons --scale 2                            | labels
sample flow --grid learned --steps 3              | pushforward tune flow --steps 3
"""


@pytest.mark.parametrize(("command", "says"), read_cases(MISTAKES))
def test_a_mistake_gets_one_clear_message(here, capsys, command, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, *command.split())
    assert exit_code == 2, err
    assert out == ""
    assert says in " ".join(err.split()), err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def test_an_image_file_is_read_as_a_model_takes_it(here):
    gray = pixels("a.png")
    opaque = np.full_like(gray, 255)
    assert_read("a.png", [gray])
    assert_read("a.png", [gray, gray, gray])
    assert_read("a.png", [gray, gray, gray, opaque])
    colours = pixels("colours.png")
    assert_read("colours.png", colours.transpose(2, 0, 1))
    luma = colours @ np.array([0.299, 0.587, 0.114])
    read = read_image(Path("colours.png"), 1)
    assert np.abs(read[0] - luma).max() <= 1
    assert_read("clear.png", pixels("clear.png").transpose(2, 0, 1))
    with pytest.raises(DataError, match="5"):
        read_image(Path("a.png"), 5)


def assert_read(name, channels):
    actual = read_image(Path(name), len(channels))
    np.testing.assert_array_equal(actual, channels)


def test_guidance_is_what_the_library_makes_of_it(told):
    from pushforward import Autoguided, Flow, Guided, load

    flow = load("flow").transport
    weak = load("flow", checkpoint="step_000002").denoiser
    guided = Guided(flow.denoiser, 3.0, (0.2, 5.0))
    autoguided = Autoguided(flow.denoiser, weak, 1.5)
    for options, denoiser in (
        ("--scale 3 --interval 0.2:5", guided),
        ("--weaker flow@step_000002 --weaker-scale 1.5", autoguided),
    ):
        said = told(f"sample flow --n 5 {options} --out guided.npz --overwrite")
        wanted = Flow(denoiser, flow.solver, flow.steps, flow.grid)
        assert said["calls_per_sample"] == wanted.calls
        actual = np.load("guided.npz")["x"]
        expected = flow.space.quantise(wanted.sample(5))
        np.testing.assert_array_equal(actual, expected)
