"""The options that all sampling verbs share, and mistakes in them."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs.command_line import run
from programs.editing_runs import done, pixels

from pushforward.data.images.image_set import read_image
from pushforward.errors import DataError


@pytest.fixture(scope="module")
def here(editing_folder):
    """A folder to work in, with a run of each kind and some images."""
    with contextlib.chdir(editing_folder):
        yield editing_folder


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["interpolate"], 2, "needs RUN"),
        (["vary", "flow", "large.png"], 2, "16 x 16 pixels (height x width), and the model makes 8 x 8. Add --resize"),
        (["vary", "flow", "a.png", "--strength", "0"], 2, "(0, 1]"),
        (["vary", "flow", "a.png", "--out", "a.png"], 2, "exists already"),
        (["vary", "flow", "a.png", "--scale", "2"], 2, "--label"),
        (["vary", "moons", "a.png"], 2, "model of vectors"),
        (["inpaint", "flow", "a.png"], 2, "--mask MASK.png"),
        (["inpaint", "flow", "a.png", "--box", "0,0,8,8"], 2, "fills all"),
        (["inpaint", "vae", "a.png", "--box", "0,0,4,4"], 2, "one-call model (VAE)"),
        (["upscale", "flow", "a.png"], 2, "4 x 4 or 2 x 2"),
        (["interpolate", "flow", "--seeds", "0"], 2, "--seeds takes 2 numbers"),
        (["interpolate", "flow", "--from", "a.png", "--to", "b.png", "--solver", "ancestral"], 2, "no inverse"),
        (["sample", "flow", "--truncation", "0.7"], 2, "iterative model ("),
        (["invert", "flow", "a.png"], 2, "iterative model ("),
        (["truncation", "flow"], 2, "iterative model ("),
        (["truncation", "points", "--n", "5", "--out", "curve.png"], 2, "too few examples"),
        (["nearest", "gan", "--k", "9999"], 2, "at most 4,096"),
        (["sample", "flow", "--scale", "2", "--interval", "2"], 2, "--interval takes 2 numbers"),
        (["sample", "flow", "--weaker", "gan"], 2, "one-call"),
        (["sample", "moons", "--threshold", "0.9"], 2, "bounds"),
        (["sample", "moons", "--scale", "2"], 2, "labels"),
        (["sample", "flow", "--grid", "learned", "--steps", "3"], 2, "pushforward tune flow --steps 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_message(here, capsys, words, code, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, *words)
    assert (exit_code, out) == (code, ""), err
    assert says in " ".join(err.split()), err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def test_learned_times_are_used_for_their_steps_alone(here, capsys, monkeypatch):
    times = [0.95, 0.6, 0.3, 0.0]
    monkeypatch.setattr("pushforward.training.Run.learned_grid", lambda run, steps, solver: times if steps == 3 else None)
    used = []
    monkeypatch.setattr("pushforward.transports.Flow._at_start", lambda flow, z: used.append(flow.times.tolist()) or z)
    for words, learned in (
        (["--steps", "3"], True),
        (["--steps", "4"], False),
        (["--steps", "3", "--grid", "time"], False),
        (["--steps", "3", "--scale", "2"], False),
        (["--steps", "3", "--scale", "2", "--grid", "learned"], True),
    ):
        code, _, err = run(capsys, "sample", "flow", "--n", "1", *words)
        assert code == 0
        assert (used[-1] == times) == learned, words
        assert ("3 steps of DPM" in err) == learned


def test_guidance_is_what_the_library_makes_of_it(here, capsys):
    from pushforward import Flow, Guided, load
    from pushforward.denoisers import Autoguided, Thresholded

    flow = load("flow").transport
    inner = Guided(flow.denoiser, 3.0, (0.2, 5.0))
    weak = load("flow", checkpoint="step_000002").denoiser
    both = ["--scale", "3", "--weaker", "flow@step_000002"]
    for words, denoiser in (
        (["--scale", "3", "--interval", "0.2:5"], inner),
        (["--weaker", "flow@step_000002"], Autoguided(flow.denoiser, weak, 2.0)),
        (
            [*both, "--interval", "0.2:5", "--weaker-scale", "1.5", "--threshold", "0.9"],
            Thresholded(Autoguided(inner, weak, 1.5, (0.2, 5.0)), 0.9),
        ),
    ):
        said = done(capsys, "sample", "flow", "--n", "5", *words, "--out", "guided.npz", "--overwrite")
        wanted = Flow(denoiser, flow.solver, flow.steps, flow.grid)
        assert said["calls_per_sample"] == wanted.calls
        np.testing.assert_array_equal(np.load("guided.npz")["x"], flow.space.quantise(wanted.sample(5)))


def test_samples_are_shown_beside_their_nearest_training_rows(here, capsys):
    from pushforward.data import load as load_data

    said = done(capsys, "nearest", "gan", "--n", "3", "--k", "2", "--seed", "5", "--out", "near.png")
    assert [entry["seed"] for entry in said["samples"]] == [5, 6, 7]
    assert said["near_copies"] == 0 < said["threshold"] < min(entry["distances"][0] for entry in said["samples"])
    picture, train = pixels("near.png"), load_data("digits").train.x[:, 0]
    assert picture.shape == (3 * 66 - 2, 64 + 16 + 2 * 66 - 2)
    for i, entry in enumerate(said["samples"]):
        for j, row in enumerate(entry["examples"]):
            np.testing.assert_array_equal(picture[66 * i : 66 * i + 64 : 8, 80 + 66 * j : 144 + 66 * j : 8], train[row])
    assert run(capsys, "sample", "gan", "--n", "3", "--seed", "5", "--out", "beside")[0] == 0
    for i, name in enumerate(sorted(os.listdir("beside"))):
        np.testing.assert_array_equal(picture[66 * i : 66 * i + 64 : 8, :64:8], pixels(f"beside/{name}"))
    assert run(capsys, "nearest", "moons", "--n", "2", "--k", "2", "--out", "near.csv")[0] == 0
    space = load_data("moons").space
    for line in (line.split(",") for line in open("near.csv").read().split()[1:]):
        row, distance, sample, other = int(line[2]), float(line[3]), np.array(line[5:7], float), np.array(line[7:], float)
        np.testing.assert_allclose(other, load_data("moons").train.x[row], rtol=1e-6)
        assert np.linalg.norm((sample - other) / space.std) == pytest.approx(distance, rel=1e-4)


def test_an_image_file_is_read_as_a_model_takes_it(here):
    gray, colours, clear = (Image.open(name) for name in ("a.png", "colours.png", "clear.png"))
    plain = np.asarray(gray)
    np.testing.assert_array_equal(read_image(Path("a.png"), 1), plain[None])
    np.testing.assert_array_equal(read_image(Path("a.png"), 3), np.stack([plain] * 3))
    np.testing.assert_array_equal(read_image(Path("a.png"), 4), np.stack([plain] * 3 + [np.full_like(plain, 255)]))
    np.testing.assert_array_equal(read_image(Path("colours.png"), 3), np.asarray(colours).transpose(2, 0, 1))
    luma = np.asarray(colours).astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(read_image(Path("colours.png"), 1)[0] - luma).max() <= 1
    np.testing.assert_array_equal(read_image(Path("clear.png"), 4), np.asarray(clear).transpose(2, 0, 1))
    with pytest.raises(DataError, match="5"):
        read_image(Path("a.png"), 5)
