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
PAIRS = {
    f"{name}-{label}": (name, *case)
    for number, name in enumerate(RECIPES)
    for place, (case, label) in enumerate(zip(CASES, IDS, strict=True))
    if name not in IMAGES_ONLY or len(case[0]) == 3
    if name in ON_ALL or (case[0] != (4, 16, 16) and case[1] == bool((number + place // 2) % 2))
}
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
    return train_twice(name, space_data(shape, labels), tmp_path_factory.mktemp("runs"))


def test_a_run_that_was_killed_ends_where_the_whole_one_ends(trained):
    check_resumed(trained)


def test_a_stored_run_describes_its_method(trained):
    check_stored(trained)


def test_every_recipe_meets_data_with_labels_and_without():
    assert all(
        {labels for other, _, labels in PAIRS.values() if other == name} == {True, False}
        for name in RECIPES
    )
    for case in CASES[:-2]:
        total = sum((shape, labels) == case for _, shape, labels in PAIRS.values())
        assert total >= len(RECIPES) // 2 - 1


def test_samples_are_those_of_the_run_that_was_trained(trained):
    check_sampled(trained)


def test_scores_are_finite(trained):
    check_scored(trained)


def test_training_draws_its_samples(trained):
    """As its observer does when it is due, which it is in no training of the tests but few."""
    moment = StateView(
        trained.run.folder, 2, 0.5, 1.0, trained.whole.method, trained.run.method, trained.data
    )
    assert Pictures().look(moment) == {}
    drawn = [path.suffix for path in (trained.run.folder / "samples").glob("step_000002.*")]
    pictured = len(trained.data.space.shape) == 3 or trained.data.space.shape == (2,)
    assert sorted(drawn) == ([".npz", ".png"] if pictured else [".npz"])


def test_samples_are_written_in_every_format(trained, tmp_path):
    written(in_few_steps(trained.run.transport), trained.run.transport.space, tmp_path)


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


def written(transport, space, tmp_path):
    drawn = list(transport.stream(5, seed=7, batch=2))
    parts = lambda: iter(drawn)  # noqa: E731
    wanted = space.quantise(transport.sample(5, seed=7))
    write_samples(tmp_path / "x.npz", space, 5, parts())
    with np.load(tmp_path / "x.npz") as file:
        nearly = 1 if space.levels is not None else 1e-5 * np.abs(wanted).max()
        largest = np.abs(file["x"].astype(float) - wanted).max()
        assert largest <= nearly
        assert file["x"].dtype == (np.uint8 if space.levels is not None else np.float32)
        assert ("label" in file) == bool(space.classes)
    if space.levels is not None:
        write_samples(tmp_path / "x.png", space, 5, parts())
        Image.open(tmp_path / "x.png").load()
        write_samples(tmp_path / "x", space, 5, parts())
        files = sorted((tmp_path / "x").iterdir())
        assert len(files) == 5
        size = Image.open(files[0]).size
        assert size == space.shape[:0:-1]
    else:
        write_samples(tmp_path / "x.csv", space, 5, parts())
        rows = list(csv.reader(io.StringIO((tmp_path / "x.csv").read_text())))
        assert len(rows) == 6
        actual = float(rows[1][0])
        assert actual == pytest.approx(float(wanted[0, 0]), rel=1e-3, abs=1e-3)


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
    few = ["--steps", "5"] if iterative and run.transport.steps > 5 else []
    sample = ["sample", str(run.folder), *few, "--n", "3", "--out"]
    if plane:
        code = main([*sample, str(tmp_path / "plane.png")])
        assert code == 0
        count = len(np.unique(np.asarray(Image.open(tmp_path / "plane.png"))))
        assert count > 2
        drawn = main([*sample, str(tmp_path / "x.gif")]) == 0
    else:
        drawn = animated(in_few_steps(run.transport), tmp_path / "x.gif")
    assert drawn == (iterative and (plane or run.space.levels is not None))
    assert (tmp_path / "x.gif").exists() == drawn
    if not drawn:
        return
    frames = [
        np.asarray(frame.convert("RGB"))
        for frame in ImageSequence.Iterator(Image.open(tmp_path / "x.gif"))
    ]
    count = len({frame.tobytes() for frame in frames})
    assert count >= min(4, run.transport.steps)
    assert (np.diff([frame.shape for frame in frames], axis=0) == 0).all()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("shape", "labels"), [CASES[7]], ids=["3x13x21-labels"])
def test_rows_depend_on_their_seed_alone(name, shape, labels):
    """sample(8, seed=0)[4:] against sample(4, seed=4), and a row by itself, at the recipe's default
    steps.
    """
    data = space_data(shape, labels)
    transport = trained_a_little(name, data).transport()
    many = ExampleDraws(0, 8)
    few = ExampleDraws(4, 4)
    actual = many.normal(transport.noise_shape)[4:]
    expected = few.normal(transport.noise_shape)
    assert torch.equal(actual, expected)
    check_seeds(transport)
    actual = transport.sample(8, seed=0)
    expected = data.space.to_data(moved(transport, 0, 8))
    torch.testing.assert_close(actual, expected)


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
    draws = lambda: ExampleDraws(0, 4)  # noqa: E731
    first = transport(z, {"label": label}, draws())
    smallest = (transport(z, {"label": (label + 1) % 3}, draws()) - first).abs().amax(1).min()
    assert smallest > 1e-4
    null = transport(z, {"label": label, "label_null": torch.ones(4, dtype=torch.bool)}, draws())
    torch.testing.assert_close(null, transport(z, None, draws()))
