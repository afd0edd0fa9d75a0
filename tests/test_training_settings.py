"""What a training accepts and refuses: budgets, settings, spaces and labels."""

import dataclasses
import re

import pytest
import torch
from programs.trained import other

import pushforward as pf
from pushforward.conditions import Label
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.models import check_model
from pushforward.testing import recipe_for, space_data
from pushforward.training import Budget, Trainer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("60s", 60), ("10m", 600), ("1.5h", 5400), (12, 12), ("20 sec", 20), ("5 minutes", 300), ("2 Hours", 7200)],
)
def test_durations(text, seconds):
    assert Budget.duration(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("5000", 5000), ("200k", 200_000), ("1M", 1_000_000), ("1.5k", 1500)])
def test_counts(text, count):
    assert Budget.count(text) == count


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Budget.duration("soon"),
        lambda: Budget.duration("0s"),
        lambda: Budget.duration("1_000s"),
        lambda: Budget.duration("1_0"),
        lambda: Budget.count("-3"),
        lambda: Budget(),
        lambda: Budget(steps=1, samples=2),
        lambda: Budget(steps=0),
    ],
)
def test_bad_budgets(wrong):
    with pytest.raises(UsageError):
        wrong()


def test_a_budget_below_what_is_trained_is_refused(tmp_path):
    data = space_data((2,), labels=False)
    run = pf.fit(recipe_for("flow", data), data, steps=3, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"seconds already, and 1e-06 is less.*give more, such as `seconds=\d+`"):
        pf.resume(run, seconds=1e-6, data=data)
    assert pf.resume(run, steps=4, data=data).state["step"] == 4


def test_a_run_of_another_method_lends_no_weights(tmp_path):
    data = space_data((2,), labels=False)
    run = pf.fit(recipe_for("flow", data), data, steps=1, out=tmp_path / "flow")
    with pytest.raises(UsageError, match="another method: recipe flow there and ddpm here, prediction velocity there"):
        pf.fit(recipe_for("ddpm", data), data, steps=1, out=tmp_path / "ddpm", init=run.folder)
    assert not (tmp_path / "ddpm").exists()


def test_ones_own_module_stands_in_and_is_handed_over_again(tmp_path):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, 2)

        def forward(self, x, t=None, condition=None):
            return self.inner(torch.cat([x, t[:, None]], 1))

    data = space_data((2,), labels=False)
    make = lambda: pf.recipes.flow(data.space, network=Own())  # noqa: E731
    run = pf.fit(make(), data, steps=2, out=tmp_path / "run")
    with pytest.raises(CheckpointError, match="method="):
        pf.load(tmp_path / "run")
    again = pf.load(tmp_path / "run", method=make().method)
    assert torch.equal(again.transport.sample(3), run.transport.sample(3))


def test_accumulation_that_would_split_a_group_is_refused(tmp_path):
    data = space_data((2,), labels=False, n=600)
    recipe = recipe_for("flow", data, batch=96, accumulate=2)
    with pytest.raises(UsageError, match="multiple of"):
        Trainer(recipe, data, Budget(steps=1), out=tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (5.0, 6.0)},
        {"std": (3.0, 1.0)},
        {"low": (0.0, 0.0), "high": (1.0, 1.0)},
        {"columns": ("a", "b")},
        {"conditions": {"label": Label(("a", "c", "b"), (0.5, 0.25, 0.25))}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_method_of_another_space_is_refused(changes, tmp_path):
    data = space_data((2,), labels=True)
    recipe = recipe_for("flow", dataclasses.replace(data, space=other(data.space, **changes)))
    says = "3 classes, but other ones" if "conditions" in changes else next(iter(changes))
    with pytest.raises(UsageError, match=says):
        pf.fit(recipe, data, steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_method_without_labels_may_learn_from_labelled_data_but_not_the_reverse(tmp_path):
    data = space_data((2,), labels=True)
    plain = data.without_labels()
    assert not pf.fit(recipe_for("flow", plain), data, steps=1, out=tmp_path / "plain").space.classes
    with pytest.raises(UsageError, match="classes"):
        pf.fit(recipe_for("flow", data), plain, steps=1, out=tmp_path / "labelled")


def test_spaces_that_differ_by_rounding_are_one(tmp_path):
    data = space_data((2,), labels=False)
    near = other(data.space, mean=[m * (1 + 1e-12) for m in data.space.mean])
    pf.fit(recipe_for("flow", dataclasses.replace(data, space=near)), data, steps=1, out=tmp_path / "run")


@pytest.mark.parametrize("name", ["lr", "batch", "batch_size"])
def test_the_call_that_a_hint_writes_changes_one_setting_alone(name):
    """For instance not the optimiser, which another `Training` would."""
    data = space_data((3, 16, 16), labels=False)
    recipe = pf.recipes.vae(data.space, "tiny")
    training, setting = recipe.training, name.removesuffix("_size")
    with pytest.raises(UsageError) as refused:
        pf.fit(recipe, data, **{name: 3})
    call = re.search(r"dataclasses\.replace\(.*\)\)", str(refused.value))[0]
    written = eval(call, {"dataclasses": dataclasses, "pf": pf, "recipe": recipe}).training
    assert training.optimizer == "muon" != pf.Training().optimizer
    assert getattr(written, setting) != getattr(training, setting)
    assert dataclasses.replace(written, **{setting: getattr(training, setting)}) == training


def test_runs_with_and_without_labels_are_compared(tmp_path):
    """The same rows and split; other rows are refused."""
    data = space_data((2,), labels=True)
    plain = data.without_labels()
    runs = {
        str(dataset.space.classes != ()): pf.fit(recipe_for("vae", dataset), dataset, steps=1, out=tmp_path / str(i))
        for i, dataset in enumerate((plain, data))
    }
    comparison = pf.compare(runs, data, repeats=1, curve=False)
    assert [model.conditioned for model in comparison.models] == [(), ("label",)]
    strange = space_data((2,), labels=False, seed=5)
    for run in runs.values():
        check_model("run", run, data)
        with pytest.raises(UsageError, match="other data"):
            check_model("run", run, strange)
