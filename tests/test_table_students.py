"""Students of tables: maps between two times whose rows are those of the file in any number of
calls.
"""

import numpy as np
import pytest
import torch
from programs.tables import mixed_table
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.data.spaces import TableSpace
from pushforward.denoisers.denoiser import over
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.methods import StepContext, Trajectories
from pushforward.methods.trajectories import APART, CHUNK, SEED
from pushforward.solvers import Jump
from pushforward.tables.columns import Category
from pushforward.tables.denoiser import TableDistillation
from pushforward.tables.recipes import student_of_table
from pushforward.training import distil
from pushforward.training.recipe_argument import with_frozen
from pushforward.transports import Flow


def row(i):
    paid = 0 if i % 3 else i * 7 % 90 + 0.25
    born = f"{1 + i % 28}.{1 + i % 12}.{1990 + i % 9}"
    note = "" if i % 4 == 0 else "xy"[i % 2]
    return f"{'abc'[i * i % 3]},{i % 5},{37 * i % 211},{paid},{born},{note}\n"


CSV = "kind,size,count,paid,born,note\n" + "".join(map(row, range(300)))


class Nothing(nn.Module):
    """A network of zeros."""

    times = 1

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x, t, condition=None):
        return x.new_zeros(len(x), self.size)


@pytest.fixture(scope="module")
def mixed():
    return mixed_table(600)


def method_of(data, recipe="flow"):
    """A method of a table whose network puts out no zeros, and whose columns have factors."""
    torch.manual_seed(0)
    method = getattr(pf.recipes, recipe)(data.space, "tiny").method
    with torch.no_grad():
        for parameter in method.denoiser.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if recipe != "flow":
            method.denoiser.move(torch.linspace(-0.5, 0.5, method.denoiser.layout.count))
    return method


@pytest.mark.parametrize("recipe", ["flow", "ddpm", "edm"])
def test_a_student_starts_as_its_teacher_whatever_its_path(mixed, recipe):
    teacher = method_of(mixed, recipe).denoiser.double()
    student = student_of_table(teacher).double()
    assert student.jumps
    assert not teacher.jumps
    x = torch.randn(64, teacher.layout.size, dtype=torch.float64)
    t = torch.linspace(0.05, 0.95, 64, dtype=torch.float64)
    straight = teacher if recipe == "flow" else teacher.on(pf.Linear())
    difference = (student.predict("data", x, t) - straight.predict("data", x, t)).abs()
    assert difference.mean() < 0.01
    assert difference.max() < 0.2
    assert student.space == teacher.space


def test_a_network_of_zeros_draws_categories_by_their_shares_in_one_jump():
    shares = (0.6, 0.3, 0.1)
    space = TableSpace.of(
        [Category("c", ("a", "b", "c"), shares), Category("d", ("no", "yes"), (0.9, 0.1))]
    )
    student = student_of_table(pf.recipes.flow(space, "tiny").method.denoiser)
    student.network = Nothing(space.size)
    values = space.values(Flow(student, Jump(), 1).sample(4000, seed=3))
    for column, wanted in enumerate((shares, (0.9, 0.1))):
        counted = np.bincount(values[:, column].astype(int), minlength=len(wanted)) / len(values)
        np.testing.assert_allclose(counted, wanted, atol=4 * 0.5 / np.sqrt(len(values)))


def test_the_target_of_a_jump_leads_to_its_end(mixed):
    """Where the estimate is the target, the jump from x_t ends at x_s."""
    student = student_of_table(method_of(mixed, "ddpm").denoiser)
    layout = student.layout
    rows = mixed.space.encoded(mixed.train.table_values[:50])
    data = student.factors * (torch.from_numpy(rows).float() - layout.mean) / layout.std
    x_t = torch.randn_like(data) * student.factors
    t = torch.linspace(0.1, 0.9, len(data))
    columns = over(student.columns("v", t, 0 * t), x_t)
    shares, v = student.target(data, x_t, columns)
    expected = torch.from_numpy(rows).float() * layout.discrete
    torch.testing.assert_close(shares, expected)
    width = ((columns["alpha"] * student.factors) ** 2 + columns["sigma"] ** 2).sqrt()
    scores = (
        student.factors
        * (columns["alpha"] * student.factors * x_t / width - columns["sigma"] * v)
        / width
    )
    torch.testing.assert_close(
        scores[:, layout.scores], data[:, layout.scores], atol=1e-4, rtol=1e-4
    )


def test_the_input_of_a_block_moves_with_the_length_of_the_jump(mixed):
    student = student_of_table(method_of(mixed).denoiser)
    seen = []
    student.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x_t = torch.randn(20, student.layout.size)
    t = torch.full((20,), 0.8)
    for to in (0.8, 0.3):
        student.estimate(x_t, over(student.columns("v", t, torch.full_like(t, to)), x_t))
    moved = (seen[1] - seen[0])[:, : student.layout.size]
    expected = 0.5 * x_t / np.hypot(0.2, 0.8) * student.layout.discrete
    torch.testing.assert_close(moved, expected)


def test_half_of_the_trajectories_are_given_columns_of_other_rows(mixed):
    denoiser = method_of(mixed).denoiser
    store = Trajectories(Flow(denoiser, "dpm", 4, "time"), 400)
    _, first, second = store.places(BlockDraws(0, 0, 64))
    given, _ = denoiser.given(store.condition(torch.arange(400)))
    assert (first < second).all()
    assert 0.4 < given.known.any(1).float().mean() < 0.6
    known = given.known[:, denoiser.layout.owner]
    ends, _ = store.at(torch.arange(400), -1)
    rows = (ends / denoiser.factors * denoiser.layout.std + denoiser.layout.mean)[known]
    expected = given.x.float()[known]
    torch.testing.assert_close(rows, expected, atol=0.01, rtol=0.01)
    assert not given.x[~known].any()
    first = given.known[:CHUNK].any(1)
    others = store.teacher.sample(int(first.sum()), seed=SEED + APART) * known[:CHUNK][first]
    actual = given.x[:CHUNK][first].float()
    torch.testing.assert_close(actual, others.float())


def test_between_two_states_of_a_line_the_target_is_its_end(mixed):
    student = student_of_table(method_of(mixed).denoiser)
    store = Trajectories(Flow(method_of(mixed).denoiser, "dpm", 4, "time"), 64)
    store.fill()
    store.condition_known.zero_()
    layout = student.layout
    rows = torch.from_numpy(mixed.space.encoded(mixed.train.table_values[:64])).float()
    data = (rows - layout.mean) / layout.std
    times = torch.tensor(store.times)[None, :, None]
    store.states = (1 - times) * data[:, None] + times * torch.randn_like(data)[:, None]
    ((_, loss),) = TableDistillation(student, store).losses(
        None, StepContext(BlockDraws(0, 0, 64), samples=0, progress=0.0)
    )
    which, first, second = store.places(BlockDraws(0, 0, 64).stream("trajectories"))
    x_t, t = store.at(which, first)
    columns = over(student.columns("v", t, store.at(which, second)[1]), x_t)
    errors = student.errors(
        student.estimate(x_t, columns), rows[which], student.target(data[which], x_t, columns)[1]
    )
    assert bool((second < 4).any())
    expected = (errors.indicators + errors.scores).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)


def test_given_columns_have_no_loss(mixed):
    student = student_of_table(method_of(mixed).denoiser)
    store = Trajectories(Flow(method_of(mixed).denoiser, "dpm", 4, "time"), 64)
    method = TableDistillation(student, store)
    assert method.learns == "samples"
    store.fill()
    store.condition_known[:, student.layout.size :] = 1.0
    ((player, loss),) = method.losses(
        None, StepContext(BlockDraws(0, 0, 64), samples=0, progress=0.0)
    )
    assert (player, loss.item()) == ("map", 0.0)


def test_a_distilled_table_has_the_kinds_of_its_file(tmp_path, monkeypatch, capsys):
    """In any number of calls no category is new, whole numbers are whole, ranges hold, and given
    columns are as given.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(CSV)
    code = main(
        ["train", "flow", "--data", "t.csv", "--size", "tiny", "--steps", "40", "--out", "flow"]
    )
    assert code == 0
    words = ["--trajectories", "512", "--teacher-steps", "8"]
    code = main(["distil", "flow", "--steps", "40", "--out", "map", *words])
    assert code == 0
    file = [line.split(",") for line in CSV.split()[1:]]
    kinds, counts = ({row[place] for row in file} for place in (0, 2))
    for calls in ("1", "2", "4"):
        out = f"{calls}.csv"
        code = main(
            ["sample", "map", "--n", "300", "--steps", calls, "--given", "size=3", "--out", out]
        )
        assert code == 0
        rows = [line.split(",") for line in (tmp_path / out).read_text().splitlines()[1:]]
        assert {row[0] for row in rows} <= kinds
        assert {row[1] for row in rows} == {"3"}
        assert {row[2] for row in rows} <= counts
        assert all(0 <= float(row[3]) <= 90.25 for row in rows)
        assert 0.5 < np.mean([row[3] == "0" for row in rows]) < 0.85
        assert {row[5] for row in rows} == {"", "x", "y"}
        assert 0.1 < np.mean([row[5] == "" for row in rows]) < 0.45
    run = pf.load("map")
    assert run.transport.calls == 1
    imputed = pf.impute(run, tmp_path / "t.csv", only="note")
    names = set(imputed.cells()["note"].values())
    assert names <= {"x", "y"}
    capsys.readouterr()


def test_a_score_is_compared_as_sampling_uses_it(mixed):
    """Where the estimate of v times the probability of a number is the target, a map has no error,
    and a denoiser has one.
    """
    denoiser = method_of(mixed).denoiser
    student = student_of_table(denoiser)
    layout = student.layout
    rows = torch.from_numpy(mixed.space.encoded(mixed.train.table_values[:50])).float()
    x_t = torch.randn(len(rows), layout.size)
    t = torch.full((len(rows),), 0.8)
    for model, right in ((student, True), (denoiser, False)):
        columns = over(model.columns("v", t, 0 * t), x_t)
        estimate = model.estimate(x_t, columns)
        data = model.jump(x_t, t, 0 * t) if model.jumps else model.predict("data", x_t, t)
        _, v = model.target(data, x_t, columns)
        assert (model.errors(estimate, rows, v).scores.max() < 1e-6) == right


def test_what_does_not_fit_a_table_is_refused_by_name(mixed, tmp_path):
    run = pf.fit(
        pf.recipes.flow(mixed.space, "tiny"), mixed, steps=1, out=tmp_path / "flow", progress=False
    )
    for name in ("trajectories", "teacher_steps"):
        with pytest.raises(UsageError, match=f"`{name}` must be at least 1, got 0"):
            distil(run, steps=1, settings={name: 0}, data=mixed, progress=False)
    with pytest.raises(UsageError, match=r"finish does not support tables"):
        with_frozen("finish", {"teacher": run})(pf.data.load("moons").space)


def test_settings_and_recipes_that_tables_do_not_have_are_refused(mixed):
    teacher = pf.recipes.flow(mixed.space, "tiny").method.transport()
    with pytest.raises(UsageError, match="rule, last"):
        pf.recipes.distil(mixed.space, teacher=teacher, rule="start", last=0.1)
    for name in ("consistency", "meanflow", "shortcut"):
        with pytest.raises(UsageError, match="the mean of two categories"):
            getattr(pf.recipes, name)(mixed.space, "tiny")
