"""Equal budgets in floating point operations, several budgets in one comparison, and sizes beside each other."""

import json

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import UsageError
from pushforward.evaluation.results import Comparison
from pushforward.methods import Now
from pushforward.registries import RECIPES
from pushforward.training.api import prepare
from pushforward.training.estimates import step_flops, steps_within
from pushforward.training.loop.budget import Budget, Clock


@pytest.fixture(scope="module")
def moons():
    return pf.data.load("moons", limit=2000)


def test_the_operations_of_a_step_are_those_of_its_matrix_products(moons):
    recipe = pf.recipes.flow(moons.space, "tiny")
    products = [weight for weight in recipe.method.parameters() if weight.ndim == 2]
    every = 6 * sum(weight.numel() for weight in products) * recipe.training.batch
    assert 0.9 * every < step_flops(recipe, moons) <= every  # of the first layer no gradient by its input is computed


def test_a_budget_of_operations_becomes_steps(moons, tmp_path):
    recipe = pf.recipes.flow(moons.space, "tiny")
    steps, each = steps_within(5e7, recipe, moons)
    assert steps == int(5e7 / each) > 1
    trainer = prepare("flow", moons, size="tiny", flops=5e7, out=tmp_path / "run")
    assert trainer.budget.steps == steps
    trainer.close()
    with pytest.raises(UsageError, match="allows no step"):
        steps_within(1e3, recipe, moons)
    with pytest.raises(UsageError, match="`flops` must be positive, got -1"):
        steps_within(-1, recipe, moons)
    with pytest.raises(UsageError, match="exactly one budget"):
        pf.fit("flow", moons, steps=3, flops=5e7, out=tmp_path / "other")


def test_the_command_line_takes_operations_and_several_budgets(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    shared = ["--data", "moons", "--limit", "500", "--size", "tiny", "--n", "60", "--repeats", "1", "--json"]
    assert main(["compare", "flow", "--flops", "3e7", *shared, "--out", "a"]) == 0
    out, err = capsys.readouterr()
    assert "flow: a step takes 9.3e+06 floating point operations, so 3e+07 allow 3 steps" in err
    result = json.loads(out)
    option, value = result["settings"]["budget"].split()
    assert (option, float(value), result["models"][0]["training"]["steps"]) == ("--flops", 3e7, 3)
    assert main(["compare", "flow", "--budget", "0.2s,0.1s", "--features", "pca", *shared, "--out", "b"]) == 0
    out, err = capsys.readouterr()
    result = Comparison.from_json(out)
    assert result.settings.spaces == ("pca",)
    first, last = result.sweep["flow"]
    assert first.seconds < last.seconds
    assert (first.budget, last.budget) == (0.1, 0.2)
    assert last.scores["energy"] == result["flow"].scores["energy"]
    assert [point.scores[name].n for point in (first, last) for name in ("energy", "frechet")] == [60] * 4
    assert [model.name for model in result.models] == ["flow"]


@pytest.mark.parametrize("name", [name for name, part in RECIPES.items() if not pf.recipes.missing_parts(part)])
def test_no_schedule_is_the_same_however_long_training_lasts(name):
    """So no longer training holds the shorter ones of a sweep: docs/decisions/comparison.md."""
    schedule = pf.recipes.named(name)("digits", "tiny").training.schedule
    rates = []
    for steps in (1000, 2000):
        clock = Clock(Budget(steps=steps), batch=1)
        clock.step = 900
        rates.append(schedule.rate(clock, Now(None, samples=900, progress=clock.progress)))
    assert rates[0] < 0.9 * rates[1]
