"""The verbs that edit with a run, and the options that all sampling verbs share."""

import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pushforward.cli import main
from pushforward.data.images import read_image
from pushforward.errors import DataError

TINY = ["--size", "tiny", "--steps", "4", "--batch", "64"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder to work in, with a run of each kind and some images."""
    folder = tmp_path_factory.mktemp("editing")
    before = os.getcwd()
    os.chdir(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for name, image in zip(("a.png", "b.png"), pixels, strict=False):
        Image.fromarray(image).save(name)
    Image.fromarray(pixels[2]).resize((16, 16)).save("large.png")
    Image.fromarray(pixels[0, :4, :4]).save("small.png")
    Image.fromarray(np.stack([pixels[0]] * 2 + [pixels[1]], -1)).save("colours.png")
    Image.fromarray(np.full((8, 8, 4), 100, dtype=np.uint8)).save("clear.png")
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[2:5, 1:7], mask[0, 0] = 255, 127
    mask[7, 7] = 128
    Image.fromarray(mask).save("mask.png")
    assert main(["train", "flow", "--out", "flow", "--checkpoint-every", "2", *TINY]) == 0
    assert main(["train", "gan", "--out", "gan", *TINY]) == 0
    assert main(["train", "vae", "--out", "vae", *TINY]) == 0
    assert main(["train", "flow", "--data", "moons", "--out", "moons", *TINY]) == 0
    assert main(["train", "gan", "--data", "moons", "--out", "points", *TINY]) == 0
    yield folder
    os.chdir(before)


def run(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def done(capsys, *words):
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def pixels(name):
    return np.asarray(Image.open(name))


MANY = ["--solver", "heun", "--steps", "100", "--grid", "log_snr"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["interpolate"], 2, "needs a run"),
        (["vary", "flow"], 2, "needs an image"),
        (["inpaint", "flow"], 2, "needs an image"),
        (["upscale", "flow"], 2, "needs a small image"),
        (["vary", "nothing", "a.png"], 2, "no folder nothing"),
        (["vary", "flow", "none.png"], 3, "no image file none.png"),
        (["vary", "flow", "flow/spec.json"], 3, "no image that can be read"),
        (["vary", "flow", "clear.png"], 3, "transparent"),
        (["vary", "flow", "large.png"], 2, "16 x 16 pixels (height x width), and the model makes 8 x 8. Add --resize"),
        (["vary", "flow", "a.png", "--strength", "0"], 2, "(0, 1]"),
        (["vary", "flow", "a.png", "--out", "x.gif"], 2, "no .gif"),
        (["vary", "flow", "a.png", "--out", "a.png"], 2, "exists already"),
        (["vary", "flow", "a.png", "--scale", "2"], 2, "--label"),
        (["vary", "flow", "a.png", "--batch", "0"], 2, "batch must be at least 1"),
        (["vary", "flow", "a.png", "--strenght", "1"], 2, "--strength"),
        (["vary", "gan", "a.png", "--strength", "2"], 2, "(0, 1]"),
        (["vary", "gan", "a.png", "--steps", "3"], 2, "in one call"),
        (["vary", "moons", "a.png"], 2, "model of vectors"),
        (["inpaint", "flow", "a.png"], 2, "--mask MASK.png"),
        (["inpaint", "flow", "a.png", "--mask", "mask.png", "--box", "0,0,1,1"], 2, "--mask MASK.png"),
        (["inpaint", "flow", "a.png", "--box", "0,0,9,8"], 2, "bottom <= 8"),
        (["inpaint", "flow", "a.png", "--box", "0,0,8"], 2, "four whole numbers"),
        (["inpaint", "flow", "a.png", "--box", "0,0,8,8"], 2, "fills all"),
        (["inpaint", "flow", "a.png", "--mask", "large.png"], 2, "large.png is 16 x 16"),
        (["inpaint", "flow", "a.png", "--box", "0,0,4,4", "--rounds", "0"], 2, "--rounds"),
        (["inpaint", "vae", "a.png", "--box", "0,0,4,4"], 2, "one-call model (VAE)"),
        (["upscale", "flow", "a.png"], 2, "4 x 4 or 2 x 2"),
        (["upscale", "gan", "small.png"], 2, "one-call"),
        (["interpolate", "flow", "--from", "a.png"], 2, "--to"),
        (["interpolate", "flow", "--from", "a.png", "--to", "b.png", "--seeds", "0,1"], 2, "or two seeds"),
        (["interpolate", "flow", "--seeds", "0"], 2, "two whole numbers"),
        (["interpolate", "flow", "--frames", "1"], 2, "--frames must be at least 2"),
        (["interpolate", "flow", "--solver", "ancestral"], 2, "stochastic"),
        (["interpolate", "flow", "--from", "a.png", "--to", "b.png", "--solver", "ancestral"], 2, "no inverse"),
        (["interpolate", "gan", "--from", "a.png", "--to", "large.png"], 2, "--resize"),
        (["interpolate", "gan", "--interpolation", "straight"], 2, "straight"),
        (["interpolate", "gan", "--steps", "3"], 2, "in one call"),
        (["sample", "flow", "--truncation", "0.7"], 2, "iterative model ("),
        (["sample", "gan", "--truncation", "0"], 2, "above 0"),
        (["sample", "gan", "--truncation", "0.7", "--steps", "3"], 2, "--steps: gan holds a model that makes a sample in one"),
        (["invert", "flow", "a.png"], 2, "iterative model ("),
        (["invert", "gan", "large.png"], 2, "16 x 16"),
        (["invert", "gan", "none.png"], 3, "no image file none.png"),
        (["invert", "gan", "a.png", "--out", "found.gif"], 2, ".png or .npz"),
        (["invert", "gan", "a.png", "--out", "a.png"], 2, "exists already"),
        (["invert", "gan", "a.png", "--label", "x"], 2, "no class"),
        (["invert", "gan", "a.png", "--starts", "0"], 2, "at least 1"),
        (["invert", "nothing", "a.png"], 2, "no folder nothing"),
        (["truncation", "flow"], 2, "iterative model ("),
        (["truncation", "gan", "--limits", "1,much"], 2, "--limits takes numbers"),
        (["truncation", "gan", "--limits", "0,1"], 2, "above 0"),
        (["truncation", "gan", "--out", "curve.pdf"], 2, "drawn as a .png"),
        (["truncation", "gan", "--out", "a.png"], 2, "exists already"),
        (["truncation", "points", "--n", "5", "--out", "curve.png"], 2, "too few examples"),
        (["nearest", "gan", "--k", "0"], 2, "--k must be at least 1"),
        (["nearest", "gan", "--k", "9999"], 2, "at most 4,096 images"),
        (["nearest", "moons", "--k", "9999999"], 2, "number of training examples"),
        (["nearest", "gan", "--out", "near.csv"], 2, "writes .png for images"),
        (["nearest", "moons", "--out", "near.png"], 2, "writes .csv for vectors"),
        (["nearest", "gan", "--out", "a.png"], 2, "exists already"),
        (["sample", "flow", "--interval", "1:2"], 2, "--scale or --weaker"),
        (["sample", "flow", "--scale", "2", "--interval", "2:1"], 2, "the lower first"),
        (["sample", "flow", "--scale", "2", "--interval", "2"], 2, "0.2:5"),
        (["sample", "flow", "--weaker-scale", "2"], 2, "--weaker RUN"),
        (["sample", "flow", "--weaker", "nothing"], 2, "no folder nothing"),
        (["sample", "flow", "--weaker", "gan"], 2, "one-call"),
        (["sample", "flow", "--weaker", "moons"], 2, "examples of shape"),
        (["sample", "flow", "--weaker", "flow@step_9"], 2, "step_9"),
        (["sample", "flow", "--threshold", "2"], 2, "(0, 1]"),
        (["sample", "moons", "--threshold", "0.9"], 2, "bounds"),
        (["sample", "moons", "--scale", "2"], 2, "labels"),
        (["sample", "gan", "--weaker", "flow", "--threshold", "0.9"], 2, "--weaker, --threshold: gan holds a model"),
        (["sample", "flow", "--grid", "learned", "--steps", "3"], 2, "pushforward tune flow --steps 3"),
        (["sample", "flow", "--grid", "learned", "--solver", "heun"], 2, "--solver heun"),
        (["evaluate", "flow", "--weaker-scale", "2"], 2, "--weaker RUN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_message(here, capsys, words, code, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, *words)
    assert (exit_code, out) == (code, ""), err
    assert says in " ".join(err.split()), err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def test_interpolation_ends_at_the_images(here, capsys):
    words = ["interpolate", "flow", "--from", "a.png", "--to", "b.png", "--frames", "4", *MANY]
    said = done(capsys, *words, "--out", "frames")
    assert sorted(os.listdir("frames")) == ["0.png", "1.png", "2.png", "3.png"]
    for name, frame, error in zip(("a.png", "b.png"), ("0", "3"), said["end_errors"], strict=True):
        gap = pixels(name).astype(float) / 255 - pixels(f"frames/{frame}.png").astype(float) / 255
        assert np.sqrt(np.mean(gap**2)) == pytest.approx(error, abs=2e-3)
        assert error < 0.05
    assert run(capsys, *words, "--out", "strip.png")[0] == 0
    strip = pixels("strip.png")
    assert strip.shape == (64, 4 * 64 + 3 * 2)
    np.testing.assert_array_equal(strip[::8, 66:130:8], pixels("frames/1.png"))


@pytest.mark.parametrize("family", ["flow", "gan", "vae"])
def test_interpolation_between_seeds_ends_at_their_samples(here, capsys, family):
    said = done(capsys, "interpolate", family, "--seeds", "5,7", "--label", "2", "--frames", "3", "--out", f"{family}-between")
    assert said["seeds"] == [5, 7]
    for seed, frame in ((5, 0), (7, 2)):
        assert run(capsys, "sample", family, "--n", "1", "--label", "2", "--seed", str(seed), "--out", f"{family}-{seed}")[0] == 0
        sample = pixels(f"{family}-{seed}/0-2.png").astype(int)
        assert np.abs(sample - pixels(f"{family}-between/{frame}.png")).max() <= 1


def test_an_interpolation_is_written_by_its_ending(here, capsys):
    for words, frames in ((["gan", "--out", "there.gif"], 16), (["moons", "--frames", "5", "--out", "points.gif"], 5)):
        assert run(capsys, "interpolate", *words)[0] == 0
        assert Image.open(words[-1]).n_frames == frames
    assert done(capsys, "interpolate", "moons", "--frames", "5")["out"].endswith("moons/samples/interpolate-seeds0-1.csv")
    assert len(open("moons/samples/interpolate-seeds0-1.csv").read().split()) == 6


def test_a_strength_runs_from_the_image_to_a_new_sample(here, capsys):
    gaps = []
    for strength in ("0.01", "0.5", "1"):
        said = done(
            capsys,
            "vary",
            "flow",
            "a.png",
            "--strength",
            strength,
            "--n",
            "3",
            "--seed",
            "4",
            "--label",
            "1",
            *MANY,
            "--out",
            f"v{strength}.npz",
        )
        x = np.load(f"v{strength}.npz")["x"][..., 0].astype(float)
        gaps.append(np.abs(x - pixels("a.png")).mean())
        assert said["calls_per_sample"] == 2 * round(float(strength) * 100) - 1
    assert gaps == sorted(gaps)
    assert gaps[0] < 20
    assert run(capsys, "sample", "flow", "--n", "3", "--seed", "4", "--label", "1", *MANY, "--out", "new.npz")[0] == 0
    np.testing.assert_array_equal(np.load("new.npz")["x"], np.load("v1.npz")["x"])


def test_inpainting_keeps_what_is_not_masked(here, capsys):
    holes = pixels("mask.png") >= 128
    assert (holes.sum(), holes[0, 0], holes[7, 7]) == (19, False, True)
    few = ["inpaint", "flow", "a.png", "--steps", "6", "--n", "4"]
    said = done(capsys, *few, "--mask", "mask.png", "--rounds", "2", "--out", "filled.npz")
    assert (said["filled"], said["calls_per_sample"]) == (19, 11)
    x = np.load("filled.npz")["x"][..., 0]
    np.testing.assert_array_equal((x == pixels("a.png")).all(0), ~holes)
    assert done(capsys, *few, "--box", "2,1,5,7", "--label", "3", "--scale", "2", "--out", "box.npz")["calls_per_sample"] == 52
    x = np.load("box.npz")["x"][..., 0]
    box = np.zeros((8, 8), dtype=bool)
    box[2:5, 1:7] = True
    np.testing.assert_array_equal((x == pixels("a.png")).all(0), ~box)
    assert (np.load("box.npz")["label"] == 3).all()


def test_the_solver_is_ancestral_unless_one_is_named(here, capsys):
    few = ["inpaint", "flow", "a.png", "--box", "0,0,4,8", "--steps", "6", "--grid", "time", "--n", "2", "--rounds", "1"]
    samples = {}
    for name, more in (("default", []), ("ancestral", ["--solver", "ancestral"]), ("heun", ["--solver", "heun"])):
        assert run(capsys, *few, *more, "--out", f"{name}.npz")[0] == 0
        samples[name] = np.load(f"{name}.npz")["x"]
    np.testing.assert_array_equal(samples["default"], samples["ancestral"])
    assert (samples["default"] != samples["heun"]).any()


def test_upscaling_averages_to_the_image(here, capsys):
    said = done(capsys, "upscale", "flow", "small.png", "--n", "3", "--steps", "6", "--out", "up.npz")
    assert said["factor"] == 2
    x = np.load("up.npz")["x"][..., 0].astype(float)
    inside = ((x > 0) & (x < 255)).reshape(3, 4, 2, 4, 2).all((2, 4))
    gap = np.abs(x.reshape(3, 4, 2, 4, 2).mean((2, 4)) - pixels("small.png"))
    assert inside.sum() > 5
    assert gap[inside].max() <= 0.5


def test_images_are_made_to_fit_only_when_told(here, capsys):
    small = ["--strength", "0.01", "--n", "1", *MANY]
    for name in ("large.png", "colours.png"):
        assert run(capsys, "vary", "flow", name, "--resize", *small, "--out", f"fit-{name}")[0] == 0
        wanted = np.asarray(Image.open(name).convert("L").resize((8, 8), Image.Resampling.BICUBIC)).astype(float)
        assert np.abs(pixels(f"fit-{name}") - wanted).mean() < 20


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
    from pushforward.guidance import Autoguided, Thresholded

    flow = load("flow").transport
    inner = Guided(flow.denoiser, 3.0, (0.2, 5.0))
    weak = load("flow", checkpoint="step_000002").denoiser
    for words, denoiser in (
        (["--scale", "3", "--interval", "0.2:5"], inner),
        (["--weaker", "flow@step_000002"], Autoguided(flow.denoiser, weak, 2.0)),
        (
            [
                "--scale",
                "3",
                "--interval",
                "0.2:5",
                "--weaker",
                "flow@step_000002",
                "--weaker-scale",
                "1.5",
                "--threshold",
                "0.9",
            ],
            Thresholded(Autoguided(inner, weak, 1.5, (0.2, 5.0)), 0.9),
        ),
    ):
        said = done(capsys, "sample", "flow", "--n", "5", *words, "--out", "guided.npz", "--overwrite")
        wanted = Flow(denoiser, flow.solver, flow.steps, flow.grid)
        assert said["calls_per_sample"] == wanted.calls
        np.testing.assert_array_equal(np.load("guided.npz")["x"], flow.space.quantise(wanted.sample(5)))


def test_truncated_samples_are_those_of_the_library(here, capsys):
    from pushforward import load
    from pushforward.editing import Truncated

    model = load("gan").transport
    for limit in (0.5, 30):
        words = ["sample", "gan", "--n", "5", "--seed", "2", "--truncation", str(limit), "--out", f"cut{limit}.npz"]
        assert run(capsys, *words)[0] == 0
        np.testing.assert_array_equal(
            np.load(f"cut{limit}.npz")["x"], model.space.quantise(Truncated(model, limit).sample(5, seed=2))
        )
    free = model.space.quantise(model.sample(5, seed=2)).astype(int)
    assert np.abs(np.load("cut30.npz")["x"] - free).max() <= 1
    assert np.abs(np.load("cut0.5.npz")["x"] - free).max() > 1


def test_a_generated_image_is_projected_on_itself(here, capsys):
    import torch

    from pushforward import load

    assert run(capsys, "sample", "gan", "--n", "2", "--seed", "40", "--label", "3", "--out", "own")[0] == 0
    files = ["own/0-3.png", "own/1-3.png"]
    said = done(capsys, "invert", "gan", *files, "--label", "3", "--steps", "150", "--out", "found.npz")
    assert [image["file"] for image in said["images"]] == files
    assert all(
        image["condition"] == {"label": "3"} and image["error"] < image["error_of_random_z"] / 2 for image in said["images"]
    )
    held = np.load("found.npz")
    assert held["files"].tolist() == files
    np.testing.assert_allclose(held["error"], [image["error"] for image in said["images"]], rtol=1e-6)
    model = load("gan").transport
    with torch.no_grad():
        images = model(torch.from_numpy(held["z"]), {"label": torch.from_numpy(held["label"])})
    np.testing.assert_array_equal(held["x"], model.space.quantise(model.space.to_data(images)))
    again = ["invert", "gan", *files, "--label", "3", "--steps", "2", "--out", "found.png"]
    code, out, _ = run(capsys, *again)
    assert code == 0
    assert "best random z" in out
    assert run(capsys, *again)[0] == 2
    assert run(capsys, *again, "--overwrite")[0] == 0
    shown = pixels("found.png")
    assert shown.shape == (2 * 66 - 2, 3 * 66 - 2)
    np.testing.assert_array_equal(shown[:64:8, :64:8], pixels(files[0]))
    gap = np.abs(shown[:64, :64].astype(int) - shown[:64, 66:130])
    np.testing.assert_array_equal(shown[:64, 132:], gap)


def test_one_call_models_interpolate_and_vary_images_by_their_z(here, capsys, monkeypatch):
    from pushforward.editing import Search, any_model, invert

    monkeypatch.setattr(any_model, "invert", functools.partial(invert, search=Search(steps=100, starts=2)))
    assert run(capsys, "sample", "vae", "--n", "2", "--seed", "40", "--label", "3", "--out", "ends")[0] == 0
    ends = ["--from", "ends/0-3.png", "--to", "ends/1-3.png"]
    frames = {}
    for way in ("spherical", "linear"):
        # without a label, which its encoder would need, the z is searched for
        words = ["interpolate", "vae", *ends, "--frames", "3", "--interpolation", way, "--out", f"{way}.npz"]
        assert max(done(capsys, *words)["end_errors"]) < 0.05
        frames[way] = np.load(f"{way}.npz")["x"][..., 0].astype(int)
    for end, name in ((0, "ends/0-3.png"), (2, "ends/1-3.png")):
        assert np.abs(frames["linear"][end] - pixels(name)).max() < 15
        np.testing.assert_array_equal(frames["linear"][end], frames["spherical"][end])
    assert (frames["linear"][1] != frames["spherical"][1]).any()
    coded = done(capsys, "interpolate", "vae", *ends, "--label", "3", "--frames", "3", "--out", "coded.npz")
    assert max(coded["end_errors"]) < 0.15
    gaps = []
    for strength in ("0.01", "0.5", "1"):
        words = ["vary", "vae", "ends/0-3.png", "--label", "3", "--n", "3", "--seed", "4", "--strength", strength]
        assert done(capsys, *words, "--out", f"around{strength}.npz")["calls_per_sample"] == 1
        x = np.load(f"around{strength}.npz")["x"][..., 0].astype(float)
        gaps.append(np.abs(x - pixels("ends/0-3.png")).mean())
    assert gaps == sorted(gaps)
    assert run(capsys, "sample", "vae", "--n", "3", "--seed", "4", "--label", "3", "--out", "fresh.npz")[0] == 0
    np.testing.assert_array_equal(np.load("fresh.npz")["x"], np.load("around1.npz")["x"])
    code, _, err = run(capsys, "vary", "vae", "ends/0-3.png", "--n", "2", "--out", "free.npz")
    assert code == 0
    label = err.split("label ")[1].split()[0]
    assert (np.load("free.npz")["label"] == int(label)).all()


def test_samples_are_shown_beside_their_nearest_training_rows(here, capsys):
    from pushforward.data import load as load_data

    said = done(capsys, "nearest", "gan", "--n", "3", "--k", "2", "--seed", "5", "--out", "near.png")
    assert [entry["seed"] for entry in said["samples"]] == [5, 6, 7]
    assert said["near_copies"] == 0 < said["threshold"] < min(entry["distances"][0] for entry in said["samples"])
    shown, train = pixels("near.png"), load_data("digits").train.x[:, 0]
    assert shown.shape == (3 * 66 - 2, 64 + 16 + 2 * 66 - 2)
    for i, entry in enumerate(said["samples"]):
        for j, row in enumerate(entry["examples"]):
            np.testing.assert_array_equal(shown[66 * i : 66 * i + 64 : 8, 80 + 66 * j : 144 + 66 * j : 8], train[row])
    assert run(capsys, "sample", "gan", "--n", "3", "--seed", "5", "--out", "beside")[0] == 0
    for i, name in enumerate(sorted(os.listdir("beside"))):
        np.testing.assert_array_equal(shown[66 * i : 66 * i + 64 : 8, :64:8], pixels(f"beside/{name}"))
    code, out, _ = run(capsys, "nearest", "moons", "--n", "2", "--k", "2", "--out", "near.csv")
    assert code == 0
    assert "of 2 are near-copies" in out
    header, *lines = (line.split(",") for line in open("near.csv").read().split())
    assert header[:5] == ["seed", "rank", "training_example", "distance", "near_copy"]
    assert [line[:2] for line in lines] == [["0", "1"], ["0", "2"], ["1", "1"], ["1", "2"]]
    space = load_data("moons").space
    for line in lines:
        row, distance, sample, other = int(line[2]), float(line[3]), np.array(line[5:7], float), np.array(line[7:], float)
        np.testing.assert_allclose(other, load_data("moons").train.x[row], rtol=1e-6)
        assert np.linalg.norm((sample - other) / space.std) == pytest.approx(distance, rel=1e-4)


def test_truncation_prints_its_curve_and_draws_it(here, capsys):
    words = ["truncation", "points", "--limits", "1,0.25", "--n", "40", "--repeats", "2"]
    said = done(capsys, *words, "--out", "curve.png")
    assert [point["limit"] for point in said["points"]] == [0.25, 1.0, None]
    assert Image.open("curve.png").size == (1600, 720)
    code, out, err = run(capsys, *words)
    assert code == 0
    assert "scoring z truncated to 0.25" in err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["limit", "0.25", "1", "none", "real"]
    for line, point in zip(lines[1:4], said["points"], strict=True):
        assert f"{point['scores']['frechet']['value']:.3f}" in line
    assert f"{said['floors']['coverage']['value']:.3f}" in lines[4]


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
