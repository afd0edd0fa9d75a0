"""The verbs that edit with a run, the options that all sampling verbs share, and mistakes
in them.
"""

import contextlib
import functools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs.command_line import run
from programs.editing_runs import MANY, done, pixels

from pushforward.data.images.image_set import read_image
from pushforward.errors import DataError


@pytest.fixture(scope="module")
def here(editing_folder):
    with contextlib.chdir(editing_folder):
        yield editing_folder


def test_interpolation_ends_at_the_images(here, capsys):
    words = ["interpolate", "flow", "--from", "a.png", "--to", "b.png", "--frames", "4", *MANY]
    done(capsys, *words, "--out", "frames")
    names = sorted(os.listdir("frames"))
    assert names == ["0.png", "1.png", "2.png", "3.png"]
    for name, frame in (("a.png", "0"), ("b.png", "3")):
        gap = pixels(name).astype(float) / 255 - pixels(f"frames/{frame}.png").astype(float) / 255
        assert np.sqrt(np.mean(gap**2)) < 0.05
    assert run(capsys, *words, "--out", "strip.png")[0] == 0
    strip = pixels("strip.png")
    assert strip.shape == (64, 4 * 64 + 3 * 2)
    np.testing.assert_array_equal(strip[::8, 66:130:8], pixels("frames/1.png"))


@pytest.mark.parametrize("family", ["flow", "gan"])
def test_interpolation_between_seeds_ends_at_their_samples(here, capsys, family):
    said = done(
        capsys,
        "interpolate",
        family,
        "--seeds",
        "5,7",
        "--label",
        "2",
        "--frames",
        "3",
        "--out",
        f"{family}-between",
    )
    assert said["seeds"] == [5, 7]
    for seed, frame in ((5, 0), (7, 2)):
        code = run(
            capsys,
            "sample",
            family,
            "--n",
            "1",
            "--label",
            "2",
            "--seed",
            str(seed),
            "--out",
            f"{family}-{seed}",
        )[0]
        assert code == 0
        sample = pixels(f"{family}-{seed}/0-2.png").astype(int)
        largest = np.abs(sample - pixels(f"{family}-between/{frame}.png")).max()
        assert largest <= 1


def test_a_strength_runs_from_the_image_to_a_new_sample(here, capsys):
    gaps = []
    for strength in ("0.01", "0.5", "1"):
        words = ["a.png", "--strength", strength, "--n", "3", "--seed", "4", "--label", "1", *MANY]
        said = done(capsys, "vary", "flow", *words, "--out", f"v{strength}.npz")
        x = np.load(f"v{strength}.npz")["x"][..., 0].astype(float)
        gaps.append(np.abs(x - pixels("a.png")).mean())
        assert said["calls_per_sample"] == 2 * round(float(strength) * 100) - 1
    assert gaps == sorted(gaps)
    assert gaps[0] < 20
    code = run(
        capsys,
        "sample",
        "flow",
        "--n",
        "3",
        "--seed",
        "4",
        "--label",
        "1",
        *MANY,
        "--out",
        "new.npz",
    )[0]
    assert code == 0
    actual = np.load("new.npz")["x"]
    expected = np.load("v1.npz")["x"]
    np.testing.assert_array_equal(actual, expected)


def test_inpainting_keeps_what_is_not_masked(here, capsys):
    holes = pixels("mask.png") >= 128
    assert (holes.sum(), holes[0, 0], holes[7, 7]) == (19, False, True)
    few = ["inpaint", "flow", "a.png", "--steps", "6", "--n", "4"]
    said = done(capsys, *few, "--mask", "mask.png", "--rounds", "2", "--out", "filled.npz")
    assert (said["filled"], said["calls_per_sample"]) == (19, 11)
    x = np.load("filled.npz")["x"][..., 0]
    actual = (x == pixels("a.png")).all(0)
    np.testing.assert_array_equal(actual, ~holes)
    calls_per_sample = done(
        capsys, *few, "--box", "2,1,5,7", "--label", "3", "--scale", "2", "--out", "box.npz"
    )["calls_per_sample"]
    assert calls_per_sample == 52
    x = np.load("box.npz")["x"][..., 0]
    box = np.zeros((8, 8), dtype=bool)
    box[2:5, 1:7] = True
    actual = (x == pixels("a.png")).all(0)
    np.testing.assert_array_equal(actual, ~box)
    assert (np.load("box.npz")["label"] == 3).all()


def test_upscaling_averages_to_the_image(here, capsys):
    said = done(
        capsys, "upscale", "flow", "small.png", "--n", "3", "--steps", "6", "--out", "up.npz"
    )
    assert said["factor"] == 2
    x = np.load("up.npz")["x"][..., 0].astype(float)
    inside = ((x > 0) & (x < 255)).reshape(3, 4, 2, 4, 2).all((2, 4))
    gap = np.abs(x.reshape(3, 4, 2, 4, 2).mean((2, 4)) - pixels("small.png"))
    assert inside.sum() > 5
    assert gap[inside].max() <= 0.5


def test_a_generated_image_is_projected_on_itself(here, capsys):
    import torch

    from pushforward import load

    code = run(capsys, "sample", "gan", "--n", "2", "--seed", "40", "--label", "3", "--out", "own")[
        0
    ]
    assert code == 0
    files = ["own/0-3.png", "own/1-3.png"]
    said = done(
        capsys, "invert", "gan", *files, "--label", "3", "--steps", "150", "--out", "found.npz"
    )
    assert [image["file"] for image in said["images"]] == files
    assert all(
        image["condition"] == {"label": "3"} and image["error"] < image["error_of_random_z"] / 2
        for image in said["images"]
    )
    held = np.load("found.npz")
    assert held["files"].tolist() == files
    np.testing.assert_allclose(
        held["error"], [image["error"] for image in said["images"]], rtol=1e-6
    )
    model = load("gan").transport
    with torch.no_grad():
        images = model(torch.from_numpy(held["z"]), {"label": torch.from_numpy(held["label"])})
    expected = model.space.quantise(model.space.to_data(images))
    np.testing.assert_array_equal(held["x"], expected)


def test_one_call_models_interpolate_and_vary_images_by_their_z(here, capsys, monkeypatch):
    from pushforward.editing import Search, interpolation as any_model, invert

    monkeypatch.setattr(
        any_model, "invert", functools.partial(invert, search=Search(steps=100, starts=2))
    )
    code = run(
        capsys, "sample", "vae", "--n", "2", "--seed", "40", "--label", "3", "--out", "ends"
    )[0]
    assert code == 0
    ends = ["--from", "ends/0-3.png", "--to", "ends/1-3.png", "--frames", "3"]
    # without a label, which its encoder would need, the z is searched for
    done(capsys, "interpolate", "vae", *ends, "--out", "searched.npz")
    x = np.load("searched.npz")["x"][..., 0].astype(int)
    for end, name in ((0, "ends/0-3.png"), (2, "ends/1-3.png")):
        largest = np.abs(x[end] - pixels(name)).max()
        assert largest < 15
    done(capsys, "interpolate", "vae", *ends, "--label", "3", "--out", "coded.npz")
    x = np.load("coded.npz")["x"][..., 0].astype(float)
    for end, name in ((0, "ends/0-3.png"), (2, "ends/1-3.png")):
        actual = np.sqrt(np.mean((x[end] - pixels(name)) ** 2))
        assert actual < 0.15 * 255
    gaps = []
    for strength in ("0.01", "0.5", "1"):
        words = [
            "vary",
            "vae",
            "ends/0-3.png",
            "--label",
            "3",
            "--n",
            "3",
            "--seed",
            "4",
            "--strength",
            strength,
        ]
        calls_per_sample = done(capsys, *words, "--out", f"around{strength}.npz")[
            "calls_per_sample"
        ]
        assert calls_per_sample == 1
        gaps.append(
            np.abs(
                np.load(f"around{strength}.npz")["x"][..., 0].astype(float) - pixels("ends/0-3.png")
            ).mean()
        )
    assert gaps == sorted(gaps)
    code = run(
        capsys, "sample", "vae", "--n", "3", "--seed", "4", "--label", "3", "--out", "fresh.npz"
    )[0]
    assert code == 0
    actual = np.load("fresh.npz")["x"]
    expected = np.load("around1.npz")["x"]
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["interpolate"], 2, "run"),
        (["vary", "flow", "large.png"], 2, "--resize"),
        (["vary", "flow", "a.png", "--strength", "0"], 2, "(0, 1]"),
        (["vary", "flow", "a.png", "--out", "a.png"], 2, "already"),
        (["vary", "flow", "a.png", "--scale", "2"], 2, "--label"),
        (["vary", "moons", "a.png"], 2, "vectors"),
        (["inpaint", "flow", "a.png"], 2, "--mask MASK.png"),
        (["inpaint", "flow", "a.png", "--box", "0,0,8,8"], 2, "not everywhere"),
        (["inpaint", "vae", "a.png", "--box", "0,0,4,4"], 2, "not an iterative model"),
        (["upscale", "flow", "a.png"], 2, "smaller by an integer factor"),
        (["interpolate", "flow", "--seeds", "0"], 2, "--seeds takes 2 numbers"),
        (
            ["interpolate", "flow", "--from", "a.png", "--to", "b.png", "--solver", "ancestral"],
            2,
            "deterministic",
        ),
        (["sample", "flow", "--truncation", "0.7"], 2, "iterative model ("),
        (["invert", "flow", "a.png"], 2, "one-call models"),
        (["nearest", "gan", "--k", "9999"], 2, "at most 4,096"),
        (["sample", "flow", "--scale", "2", "--interval", "2"], 2, "--interval takes 2 numbers"),
        (["sample", "flow", "--weaker", "gan"], 2, "one-call"),
        (["sample", "moons", "--threshold", "0.9"], 2, "bounds"),
        (["sample", "moons", "--scale", "2"], 2, "labels"),
        (
            ["sample", "flow", "--grid", "learned", "--steps", "3"],
            2,
            "pushforward tune flow --steps 3",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_message(here, capsys, words, code, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, *words)
    assert (exit_code, out) == (code, ""), err
    assert says in " ".join(err.split()), err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def test_an_image_file_is_read_as_a_model_takes_it(here):
    gray, colours, clear = (Image.open(name) for name in ("a.png", "colours.png", "clear.png"))
    plain = np.asarray(gray)
    actual = read_image(Path("a.png"), 1)
    np.testing.assert_array_equal(actual, plain[None])
    actual = read_image(Path("a.png"), 3)
    expected = np.stack([plain] * 3)
    np.testing.assert_array_equal(actual, expected)
    actual = read_image(Path("a.png"), 4)
    expected = np.stack([plain] * 3 + [np.full_like(plain, 255)])
    np.testing.assert_array_equal(actual, expected)
    actual = read_image(Path("colours.png"), 3)
    expected = np.asarray(colours).transpose(2, 0, 1)
    np.testing.assert_array_equal(actual, expected)
    luma = np.asarray(colours).astype(float) @ [0.299, 0.587, 0.114]
    largest = np.abs(read_image(Path("colours.png"), 1)[0] - luma).max()
    assert largest <= 1
    actual = read_image(Path("clear.png"), 4)
    expected = np.asarray(clear).transpose(2, 0, 1)
    np.testing.assert_array_equal(actual, expected)
    with pytest.raises(DataError, match="5"):
        read_image(Path("a.png"), 5)


def test_guidance_is_what_the_library_makes_of_it(here, capsys):
    from pushforward import Autoguided, Flow, Guided, load

    flow = load("flow").transport
    weak = load("flow", checkpoint="step_000002").denoiser
    for words, denoiser in (
        (["--scale", "3", "--interval", "0.2:5"], Guided(flow.denoiser, 3.0, (0.2, 5.0))),
        (
            ["--weaker", "flow@step_000002", "--weaker-scale", "1.5"],
            Autoguided(flow.denoiser, weak, 1.5),
        ),
    ):
        said = done(
            capsys, "sample", "flow", "--n", "5", *words, "--out", "guided.npz", "--overwrite"
        )
        wanted = Flow(denoiser, flow.solver, flow.steps, flow.grid)
        assert said["calls_per_sample"] == wanted.calls
        actual = np.load("guided.npz")["x"]
        expected = flow.space.quantise(wanted.sample(5))
        np.testing.assert_array_equal(actual, expected)
