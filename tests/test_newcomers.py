"""What a new Python user tries: it works, or the error says what was expected."""

import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.data import DataOptions
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.training.options import (
    BudgetOptions,
    FitOptions,
    ResumeOptions,
    TrainingChanges,
    TrainingOptions,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "flow"
    return pf.fit(pf.recipes.flow("digits", "tiny"), "digits", steps=2, out=out)


def test_a_name_stands_for_its_data_and_a_function_for_its_recipe(tmp_path):
    first = pf.fit("flow", "moons", steps=2, out=tmp_path / "a")
    moons = pf.data.load("moons")
    second = pf.fit(pf.recipes.flow, moons, steps=2, out=tmp_path / "b")
    small = partial(pf.recipes.flow, size="small")
    third = pf.fit(small, "moons", steps=2, out=tmp_path / "c", augment=())
    weights = first.method.state_dict()
    for other in (second, third):
        for name, weight in other.method.state_dict().items():
            assert torch.equal(weight, weights[name]), name
    assert first.spec["asked"] == second.spec["asked"] == {"size": "small"}
    expected = first.transport.sample(3)
    assert torch.equal(first.sample(3), expected)
    resumed = pf.resume(first, steps=3, data="moons")
    assert resumed.state["step"] == 3


@pytest.mark.parametrize(
    ("function", "options"), [(pf.fit, FitOptions), (pf.resume, ResumeOptions)]
)
def test_every_option_of_training_is_described(function, options):
    parts = (BudgetOptions, TrainingOptions, TrainingChanges, options)
    described = "\n".join(part.__doc__ for part in parts)
    for name in options.__annotations__:
        assert f"``{name}``" in function.__doc__, name
        assert f"        {name}: " in described, name


def test_every_option_of_data_is_described_and_others_are_refused():
    for name in DataOptions.__annotations__:
        assert re.search(rf"\b{name}\b", pf.data.load.__doc__), name
        assert f"        {name}: " in DataOptions.__doc__, name
        with pytest.raises(UsageError, match=f'data.load .*"{name}s".* Did you mean "{name}"'):
            pf.data.load("moons", **{f"{name}s": None})


class OfTwo(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)

    def forward(self, x, t):
        return self.inner(x)


def refused(says):
    return pytest.raises(UsageError, match=says)


@pytest.fixture
def nothing_written(tmp_path, monkeypatch):
    """A folder to work in, into which the test must write no run."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.glob("**/spec.json"))


@pytest.mark.usefixtures("nothing_written")
def test_a_recipe_of_another_kind_is_refused(run):
    with refused(r"pf.fit\(recipe, data\)"):
        pf.fit(pf.data.load("digits"), "flow")
    with refused("pf.resume"):
        pf.fit(run, "digits")
    linear = torch.nn.Linear(2, 2)
    with refused("inside a recipe"):
        pf.fit(linear, "digits")
    with refused("Unknown network"):
        pf.fit("gan", "digits", network=linear)
    with refused(r"network\(x, t, condition\), .*OfTwo.forward is \(x, t\)"):
        recipe = pf.recipes.flow("moons", network=OfTwo())
        pf.fit(recipe, "moons", steps=2)


@pytest.mark.usefixtures("nothing_written")
def test_data_of_another_kind_are_refused():
    with refused("Expected data: a name or path, an array or tensor"):
        pf.fit("flow", 9)
    with refused("examples of equal shape"):
        pf.fit("flow", [torch.zeros(2), torch.zeros(3)])
    with refused(r'split, such as data\["train"\]'):
        pf.fit("flow", {"train": torch.zeros(9, 2)})


@pytest.mark.usefixtures("nothing_written")
def test_options_of_training_are_checked(run):
    fit = partial(pf.fit, "flow", "digits")
    with refused("`steps` must be .* got '9'"):
        fit(steps="9")
    with refused("`seed` must be"):
        fit(seed="1")
    with refused('"gpu"'):
        fit(device="gpu")
    with refused("exactly one budget"):
        fit(budget="60s", epochs=3)
    with refused("`epochs` must be positive"):
        fit(epochs=0)
    with refused("`batch` must be"):
        pf.Training(batch="64")
    with refused('pf.resume .*Did you mean "checkpoint"'):
        pf.resume(run, checkpont="step_000002")


@pytest.mark.usefixtures("nothing_written")
def test_options_of_sampling_are_checked(run):
    with refused("`n` must be at least 0"):
        run.sample(-1)
    with refused('"seeds".*Did you mean "seed"'):
        run.sample(3, seeds=1)
    with refused("either `seed` or `generator`"):
        run.sample(2, seed=1, generator=torch.Generator())
    with refused("must be a torch.Generator"):
        run.sample(2, generator=np.random.default_rng())


@pytest.mark.usefixtures("nothing_written")
def test_arguments_of_transports_are_checked(run):
    flow = run.transport
    with refused(r"sample\(4, seed=3\)"):
        flow.sample(4, 3)
    with refused('Unknown condition "class".*"label"'):
        flow.sample(3, {"class": "dog"})
    with refused(r"x\[None\]"):
        flow.encode(torch.zeros(1, 8, 8))
    with refused('Did you mean "heun"'):
        flow.with_solver("hein", 4)
    with refused("run.denoiser"):
        pf.Guided(run, 2.0)


@pytest.mark.usefixtures("nothing_written")
def test_runs_in_the_wrong_place_are_refused(run):
    with refused("run folder"):
        pf.load(run)
    with refused("or a list of runs"):
        pf.compare(run)
    with refused("different seeds"):
        pf.compare({"it": [run, run]})
    with refused("is a recipe"):
        pf.compare(["flow", "gan"], "digits")


def test_the_public_names_of_packages_are_listed_before_they_are_imported():
    code = """if True:
        import importlib, pkgutil, pushforward
        for found in pkgutil.walk_packages(pushforward.__path__, "pushforward."):
            if found.ispkg:
                package = importlib.import_module(found.name)
                hidden = {*getattr(package, "__all__", ())} - {*dir(package)}
                assert not hidden, (found.name, hidden)
        assert {"load", "fit", "data"} <= {*dir(pushforward)}"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"x": np.zeros(4)}, "vectors"),
        ({"x": np.full((4, 2), np.nan)}, "NaN"),
        ({"x": np.zeros((4, 2)), "labels": [0, 1, 2, 0], "classes": ("a", "b")}, "from 0 to 1"),
        ({"x": np.zeros((4, 2)), "held_out": np.zeros((4, 3))}, "must be equal"),
    ],
)
def test_arrays_that_are_refused(arguments, says):
    with pytest.raises(DataError, match=says):
        pf.data.from_arrays(**arguments)


def test_settings_of_the_recipe_and_conditions_are_keywords(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    data = pf.data.from_arrays(x, given={"cx": np.arange(60.0)})
    run = pf.fit("gan", data, size="tiny", pack=2, lr=1e-4, batch=64, steps=1, out=tmp_path / "run")
    asked = {"size": "tiny", "batch": 64, "lr": 1e-4, "pack": 2}
    assert run.spec["asked"] == asked
    training = run.spec["training"]
    assert training["lr"] == 1e-4
    assert training["batch"] == 64
    expected = run.sample(2, {"cx": 3.0})
    assert torch.equal(run.sample(2, cx=3.0), expected)
    assert torch.equal(run.sample(2, given={"cx": 3.0}), expected)
    with pytest.raises(UsageError, match="already contains"):
        run.sample(2, {"given": torch.zeros(2, 1)}, cx=3.0)


def test_a_folder_that_is_not_there_is_named_with_the_one_most_like_it(run):
    runs = run.folder.parent
    with pytest.raises(CheckpointError, match=f"There is no folder {runs / 'nothing'}. "):
        pf.load(runs / "nothing")
    says = rf'folw\. Did you mean "{re.escape(str(run.folder))}"\?'
    with pytest.raises(CheckpointError, match=says):
        pf.load(runs / "folw")
