"""Laws that every recipe obeys on every kind of data, one test for each: a failure names the law,
the recipe and the data.

A recipe is trained twice on data of each shape, with labels or without; all laws look at these two
runs.
"""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from programs.cases import CASES, IDS

import pushforward as pf
from pushforward.cli import main
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.registries import RECIPES
from pushforward.samples import draw_to, write_samples
from pushforward.testing import (
    IMAGES_ONLY,
    check_method,
    check_resumed,
    check_sampled,
    check_scored,
    check_seeds,
    check_stored,
    in_few_steps,
    moved,
    recipe_for,
    shape_for,
    space_data,
    stirred,
    train_twice,
)
from pushforward.training.loop.callbacks import StateView
from pushforward.training.monitor.standard_callbacks import Pictures

ON_ALL = ("flow",)
"""Recipes that are trained on every kind of data both with labels and without."""


def _is_tried(number, name, place, shape, labels):
    """Whether a recipe is trained on a kind of data: with labels on every other shape, so that
    labels of a shape meet every other recipe.
    """
    if name in IMAGES_ONLY and len(shape) != 3:
        return False
    if name in ON_ALL:
        return True
    every_other = (number + place // 2) % 2 == 1
    return shape != (4, 16, 16) and labels == every_other


def _pairs():
    """Each recipe with shapes of data and whether they have labels, by name."""
    found = {}
    for number, name in enumerate(RECIPES):
        for place, (shape, labels) in enumerate(CASES):
            if _is_tried(number, name, place, shape, labels):
                found[f"{name}-{IDS[place]}"] = (name, shape, labels)
    return found


PAIRS = _pairs()
"""Each recipe with every shape of data, with labels on every other one, so that labels of a shape
meet every other recipe.
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One for all recipes: they share data, and so features and floors."""
    folder = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("PUSHFORWARD_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module", params=PAIRS.values(), ids=PAIRS)
def trained(request, cache, tmp_path_factory):
    """A recipe trained twice on one kind of data: whole, and killed and resumed."""
    name, shape, labels = request.param
    data = space_data(shape, labels)
    return train_twice(name, data, tmp_path_factory.mktemp("runs"))


def test_a_run_that_was_killed_ends_where_the_whole_one_ends(trained):
    check_resumed(trained)


def test_a_stored_run_describes_its_method(trained):
    check_stored(trained)


def test_every_recipe_meets_data_with_labels_and_without():
    for name in RECIPES:
        met = {labels for other, _, labels in PAIRS.values() if other == name}
        assert met == {True, False}
    for case in CASES[:-2]:
        total = sum((shape, labels) == case for _, shape, labels in PAIRS.values())
        assert total >= len(RECIPES) // 2 - 1


def test_samples_are_those_of_the_run_that_was_trained(trained):
    check_sampled(trained)


def test_scores_are_finite(trained):
    check_scored(trained)


def test_training_draws_its_samples(trained):
    """As its observer does when it is due, which it is in no training of the tests but few."""
    run = trained.run
    moment = StateView(run.folder, 2, 0.5, 1.0, trained.whole.method, run.method, trained.data)
    assert Pictures().observe(moment) == {}
    drawn = {path.suffix for path in (run.folder / "samples").glob("step_000002.*")}
    shape = trained.data.space.shape
    pictured = len(shape) == 3 or shape == (2,)
    expected = {".npz", ".png"} if pictured else {".npz"}
    assert drawn == expected


def test_samples_are_written_in_every_format(trained, tmp_path):
    transport = trained.run.transport
    space = transport.space
    few = in_few_steps(transport)
    drawn = list(few.stream(5, seed=7, batch=2))

    def write(name):
        path = tmp_path / name
        write_samples(path, space, 5, iter(drawn))
        return path

    expected = space.quantise(few.sample(5, seed=7))
    check_arrays(write("x.npz"), space, expected)
    if space.levels is not None:
        Image.open(write("x.png")).load()
        check_folder(write("x"), space)
    else:
        check_rows(write("x.csv"), expected)


def test_samples_are_drawn_as_plot_and_animation(trained, tmp_path):
    pictured(trained.run, tmp_path)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_lawful_method(name):
    data = space_data(shape_for(name), labels=True)
    check_method(recipe_for(name, data), data)


@pytest.mark.parametrize("name", IMAGES_ONLY)
def test_vectors_are_refused_by_recipes_for_images(name):
    with pytest.raises(UsageError, match="images"):
        recipe_for(name, space_data((17,), labels=False))


def check_arrays(path, space, expected):
    pixels = space.levels is not None
    with np.load(path) as file:
        x = file["x"]
        labelled = "label" in file
    nearly = 1 if pixels else 1e-5 * np.abs(expected).max()
    largest = np.abs(x.astype(float) - expected).max()
    assert largest <= nearly
    assert x.dtype == (np.uint8 if pixels else np.float32)
    assert labelled == bool(space.classes)


def check_folder(path, space):
    files = sorted(path.iterdir())
    assert len(files) == 5
    size = Image.open(files[0]).size
    assert size == space.shape[:0:-1]


def check_rows(path, expected):
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert len(rows) == 6
    first = float(rows[1][0])
    assert first == pytest.approx(float(expected[0, 0]), rel=1e-3, abs=1e-3)


def animated(transport, path):
    try:
        draw_to(path, transport, 3)
    except UsageError:
        return False
    return True


def pictured(run, tmp_path):
    """A scatter plot of the plane, and how samples form; in the plane by the command line."""
    iterative = isinstance(run.transport, pf.Flow)
    plane = run.space.shape == (2,)
    animation = tmp_path / "x.gif"
    if plane:
        few = ["--steps", "5"] if iterative and run.transport.steps > 5 else []
        sample = ["sample", str(run.folder), *few, "--n", "3", "--out"]
        picture = tmp_path / "plane.png"
        assert main([*sample, str(picture)]) == 0
        count = len(np.unique(np.asarray(Image.open(picture))))
        assert count > 2
        drawn = main([*sample, str(animation)]) == 0
    else:
        drawn = animated(in_few_steps(run.transport), animation)
    assert drawn == (iterative and (plane or run.space.levels is not None))
    assert animation.exists() == drawn
    if drawn:
        check_frames(animation, min(4, run.transport.steps))


def check_frames(path, least):
    """Check that an animation has frames of one shape and at least some different ones."""
    frames = []
    for frame in ImageSequence.Iterator(Image.open(path)):
        frames.append(np.asarray(frame.convert("RGB")))
    assert len({frame.tobytes() for frame in frames}) >= least
    assert len({frame.shape for frame in frames}) == 1


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("shape", "labels"), [CASES[7]], ids=["3x13x21-labels"])
def test_rows_depend_on_their_seed_alone(name, shape, labels):
    """sample(8, seed=0)[4:] against sample(4, seed=4), and a row by itself, at the recipe's default
    steps.
    """
    data = space_data(shape, labels)
    transport = trained_a_little(name, data).transport()
    many = ExampleDraws(0, 8).normal(transport.noise_shape)
    few = ExampleDraws(4, 4).normal(transport.noise_shape)
    assert torch.equal(many[4:], few)
    check_seeds(transport)
    samples = transport.sample(8, seed=0)
    expected = data.space.to_data(moved(transport, 0, 8))
    torch.testing.assert_close(samples, expected)


def trained_a_little(name, data):
    return stirred(recipe_for(name, data).method)


@pytest.mark.parametrize("name", RECIPES)
def test_labels_and_their_absence_matter(name):
    """A labelled model reads its label; iterative ones read the null of label dropout as no label
    at all.
    """
    data = space_data(shape_for(name), labels=True)
    transport = trained_a_little(name, data).transport()
    if name in IMAGES_ONLY:
        with pytest.raises(UsageError, match="no labels"):
            transport.sample(1, {"label": 0})
        return
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, *transport.noise_shape, generator=generator)
    label = torch.tensor([0, 0, 1, 2])

    def ends(condition):
        return transport(z, condition, ExampleDraws(0, 4))

    first = ends({"label": label})
    other = ends({"label": (label + 1) % 3})
    smallest = (other - first).abs().amax(1).min()
    assert smallest > 1e-4
    hidden = torch.ones(4, dtype=torch.bool)
    null = ends({"label": label, "label_null": hidden})
    torch.testing.assert_close(null, ends(None))
