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
    second = pf.fit(pf.recipes.flow, pf.data.load("moons"), steps=2, out=tmp_path / "b")
    third = pf.fit(
        partial(pf.recipes.flow, size="small"), "moons", steps=2, out=tmp_path / "c", augment=()
    )
    weights = [list(run.method.state_dict().values()) for run in (first, second, third)]
    assert all(
        torch.equal(a, b) for other in weights[1:] for a, b in zip(weights[0], other, strict=True)
    )
    assert first.spec["asked"] == second.spec["asked"] == {"size": "small"}
    expected = first.transport.sample(3)
    assert torch.equal(first.sample(3), expected)
    assert pf.resume(first, steps=3, data="moons").state["step"] == 3


@pytest.mark.parametrize(
    ("function", "options"), [(pf.fit, FitOptions), (pf.resume, ResumeOptions)]
)
def test_every_option_of_training_is_described(function, options):
    for name in options.__annotations__:
        assert f"``{name}``" in function.__doc__, name
        described = (
            part.__doc__ for part in (BudgetOptions, TrainingOptions, TrainingChanges, options)
        )
        assert any(f"        {name}: " in text for text in described), name


def test_every_option_of_data_is_described_and_others_are_refused():
    for name in DataOptions.__annotations__:
        assert re.search(rf"\b{name}\b", pf.data.load.__doc__), name
        assert f"        {name}: " in DataOptions.__doc__, name
        with pytest.raises(UsageError, match=f'data.load .*"{name}s".* Did you mean "{name}"'):
            pf.data.load("moons", **{f"{name}s": None})


def ones(*shape):
    return torch.zeros(*shape)


class OfTwo(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)

    def forward(self, x, t):
        return self.inner(x)


MISTAKES = {
    "swapped": (lambda run: pf.fit(pf.data.load("digits"), "flow"), r"pf.fit\(recipe, data\)"),
    "a run": (lambda run: pf.fit(run, "digits"), "pf.resume"),
    "a network": (lambda run: pf.fit(torch.nn.Linear(2, 2), "digits"), "inside a recipe"),
    "a number": (
        lambda run: pf.fit("flow", 9),
        "Expected data: a name or path, an array or tensor",
    ),
    "sizes": (lambda run: pf.fit("flow", [ones(2), ones(3)]), "examples of equal shape"),
    "splits": (
        lambda run: pf.fit("flow", {"train": ones(9, 2)}),
        r'split, such as data\["train"\]',
    ),
    "steps as text": (
        lambda run: pf.fit("flow", "digits", steps="9"),
        "`steps` must be .* got '9'",
    ),
    "seed as text": (lambda run: pf.fit("flow", "digits", seed="1"), "`seed` must be"),
    "device": (lambda run: pf.fit("flow", "digits", device="gpu"), '"gpu"'),
    "batch as text": (lambda run: pf.Training(batch="64"), "`batch` must be"),
    "positional seed": (lambda run: run.transport.sample(4, 3), r"sample\(4, seed=3\)"),
    "negative n": (lambda run: run.sample(-1), "`n` must be at least 0"),
    "a loaded run": (lambda run: pf.load(run), "run folder"),
    "one run compared": (lambda run: pf.compare(run), "or a list of runs"),
    "guided run": (lambda run: pf.Guided(run, 2.0), "run.denoiser"),
    "one row": (lambda run: run.transport.encode(ones(1, 8, 8)), r"x\[None\]"),
    "solver": (lambda run: run.transport.with_solver("hein", 4), 'Did you mean "heun"'),
    "two budgets": (
        lambda run: pf.fit("flow", "digits", budget="60s", epochs=3),
        "exactly one budget",
    ),
    "a network of a gan": (
        lambda run: pf.fit("gan", "digits", network=torch.nn.Linear(2, 2)),
        "Unknown network",
    ),
    "two seeds": (
        lambda run: run.sample(2, seed=1, generator=torch.Generator()),
        "either `seed` or `generator`",
    ),
    "a generator of NumPy": (
        lambda run: run.sample(2, generator=np.random.default_rng()),
        "must be a torch.Generator",
    ),
    "no passes": (lambda run: pf.fit("flow", "digits", epochs=0), "`epochs` must be positive"),
    "an option of resume": (
        lambda run: pf.resume(run, checkpont="step_000002"),
        'pf.resume .*Did you mean "checkpoint"',
    ),
    "a run twice": (lambda run: pf.compare({"it": [run, run]}), "different seeds"),
    "recipes compared": (lambda run: pf.compare(["flow", "gan"], "digits"), "is a recipe"),
    "a seed": (lambda run: run.sample(3, seeds=1), '"seeds".*Did you mean "seed"'),
    "a network of x and t": (
        lambda run: pf.fit(pf.recipes.flow("moons", network=OfTwo()), "moons", steps=2),
        r"network\(x, t, condition\), .*OfTwo.forward is \(x, t\)",
    ),
    "condition": (
        lambda run: run.transport.sample(3, {"class": "dog"}),
        'Unknown condition "class".*"label"',
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_an_error_that_says_what_was_expected(run, mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, says = MISTAKES[mistake]
    with pytest.raises(UsageError, match=says):
        make(run)
    assert not list(tmp_path.glob("**/spec.json")), "nothing was written"


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
    given = {"cx": np.arange(60.0)}
    data = pf.data.from_arrays(np.random.default_rng(0).normal(size=(60, 2)), given=given)
    run = pf.fit("gan", data, size="tiny", pack=2, lr=1e-4, batch=64, steps=1, out=tmp_path / "run")
    asked = {"size": "tiny", "batch": 64, "lr": 1e-4, "pack": 2}
    assert run.spec["asked"] == asked
    assert (run.spec["training"]["lr"], run.spec["training"]["batch"]) == (1e-4, 64)
    for options in ({"given": {"cx": 3.0}}, {"cx": 3.0}):
        actual = run.sample(2, **options)
        expected = run.sample(2, {"cx": 3.0})
        assert torch.equal(actual, expected)
    with pytest.raises(UsageError, match="already contains"):
        run.sample(2, {"given": torch.zeros(2, 1)}, cx=3.0)
    with pytest.raises(CheckpointError, match=f"There is no folder {tmp_path / 'nothing'}. "):
        pf.load(tmp_path / "nothing")
    with pytest.raises(
        CheckpointError, match=rf'rnu\. Did you mean "{re.escape(str(tmp_path / "run"))}"\?'
    ):
        pf.load(tmp_path / "rnu")
