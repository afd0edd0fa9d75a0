"""What a training accepts and refuses: budgets, settings, spaces and labels."""

import dataclasses

import pytest
import torch
from programs.trained import other

import pushforward as pf
from pushforward.conditions import Label
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import recipe_for, space_data
from pushforward.training import Budget


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
