"""Students of tables: maps between two times whose rows are those of the file in any number of
calls.
"""

import io

import numpy as np
import pytest
import torch
from programs.command_line import answer
from programs.tables import mixed_table
from torch import nn

import pushforward as pf
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
    kind = "abc"[i * i % 3]
    paid = 0
    if i % 3 == 0:
        paid = i * 7 % 90 + 0.25
    born = f"{1 + i % 28}.{1 + i % 12}.{1990 + i % 9}"
    note = ("", "y", "x", "y")[i % 4]
    return f"{kind},{i % 5},{37 * i % 211},{paid},{born},{note}\n"


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
    denoiser = method.denoiser
    with torch.no_grad():
        for parameter in denoiser.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if recipe != "flow":
            denoiser.move(torch.linspace(-0.5, 0.5, denoiser.layout.count))
    return method


def student_for(data, recipe="flow"):
    return student_of_table(method_of(data, recipe).denoiser)


def trajectories_of(data, n):
    """Trajectories of a teacher of a table, in four steps."""
    teacher = Flow(method_of(data).denoiser, "dpm", 4, "time")
    return Trajectories(teacher, n)


def encoded_rows(data, n):
    """The first training rows in model coordinates."""
    rows = data.space.encoded(data.train.table_values[:n])
    return torch.from_numpy(rows).float()


def context(n=64):
    return StepContext(BlockDraws(0, 0, n), samples=0, progress=0.0)


@pytest.mark.parametrize("recipe", ["flow", "ddpm", "edm"])
def test_a_student_starts_as_its_teacher_whatever_its_path(mixed, recipe):
    teacher = method_of(mixed, recipe).denoiser.double()
    student = student_of_table(teacher).double()
    assert student.jumps
    assert not teacher.jumps
    x = torch.randn(64, teacher.layout.size, dtype=torch.float64)
    t = torch.linspace(0.05, 0.95, 64, dtype=torch.float64)
    straight = teacher
    if recipe != "flow":
        straight = teacher.on(pf.Linear())
    difference = (student.predict("data", x, t) - straight.predict("data", x, t)).abs()
    assert difference.mean() < 0.01
    assert difference.max() < 0.2
    assert student.space == teacher.space


def test_a_network_of_zeros_draws_categories_by_their_shares_in_one_jump():
    shares = {"abc": (0.6, 0.3, 0.1), "ny": (0.9, 0.1)}
    fields = [Category(letters, tuple(letters), wanted) for letters, wanted in shares.items()]
    space = TableSpace.of(fields)
    student = student_of_table(pf.recipes.flow(space, "tiny").method.denoiser)
    student.network = Nothing(space.size)
    n = 4000
    values = space.values(Flow(student, Jump(), 1).sample(n, seed=3)).astype(int)
    for column, wanted in zip(values.T, shares.values(), strict=True):
        counts = np.bincount(column, minlength=len(wanted))
        np.testing.assert_allclose(counts / n, wanted, atol=4 * 0.5 / np.sqrt(n))


def test_the_target_of_a_jump_leads_to_its_end(mixed):
    """Where the estimate is the target, the jump from x_t ends at x_s."""
    student = student_for(mixed, "ddpm")
    layout = student.layout
    factors = student.factors
    rows = encoded_rows(mixed, 50)
    data = factors * (rows - layout.mean) / layout.std
    x_t = torch.randn_like(data) * factors
    t = torch.linspace(0.1, 0.9, len(data))
    columns = over(student.columns("v", t, 0 * t), x_t)
    shares, v = student.target(data, x_t, columns)
    torch.testing.assert_close(shares, rows * layout.discrete)
    scale = columns["alpha"] * factors
    sigma = columns["sigma"]
    width = (scale**2 + sigma**2).sqrt()
    ends = factors * (scale * x_t / width - sigma * v) / width
    numbers = layout.scores
    torch.testing.assert_close(ends[:, numbers], data[:, numbers], atol=1e-4, rtol=1e-4)


def test_the_input_of_a_block_moves_with_the_length_of_the_jump(mixed):
    student = student_for(mixed)
    seen = []
    student.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x_t = torch.randn(20, student.layout.size)
    t = torch.full((20,), 0.8)
    for to in (0.8, 0.3):
        columns = student.columns("v", t, torch.full_like(t, to))
        student.estimate(x_t, over(columns, x_t))
    standing, moving = seen
    moved = (moving - standing)[:, : student.layout.size]
    expected = 0.5 * x_t / np.hypot(0.2, 0.8) * student.layout.discrete
    torch.testing.assert_close(moved, expected)


def test_half_of_the_trajectories_are_given_columns_of_other_rows(mixed):
    store = trajectories_of(mixed, 400)
    denoiser = store.teacher.denoiser
    layout = denoiser.layout
    _, first, second = store.places(BlockDraws(0, 0, 64))
    assert (first < second).all()
    everything = torch.arange(400)
    given, _ = denoiser.given(store.condition(everything))
    has_given = given.known.any(1)
    assert 0.4 < has_given.float().mean() < 0.6
    known = given.known[:, layout.owner]
    ends, _ = store.at(everything, -1)
    rows = ends / denoiser.factors * layout.std + layout.mean
    x = given.x.float()
    torch.testing.assert_close(rows[known], x[known], atol=0.01, rtol=0.01)
    assert not x[~known].any()
    led = has_given[:CHUNK]
    others = store.teacher.sample(int(led.sum()), seed=SEED + APART)
    expected = others * known[:CHUNK][led]
    torch.testing.assert_close(x[:CHUNK][led], expected.float())


def test_between_two_states_of_a_line_the_target_is_its_end(mixed):
    student = student_for(mixed)
    store = trajectories_of(mixed, 64)
    store.fill()
    store.condition_known.zero_()
    layout = student.layout
    rows = encoded_rows(mixed, 64)
    data = (rows - layout.mean) / layout.std
    times = torch.tensor(store.times).view(1, -1, 1)
    noise = torch.randn_like(data)
    store.states = (1 - times) * data[:, None] + times * noise[:, None]
    ((_, loss),) = TableDistillation(student, store).losses(None, context())
    which, first, second = store.places(BlockDraws(0, 0, 64).stream("trajectories"))
    assert (second < 4).any()
    x_t, t = store.at(which, first)
    _, s = store.at(which, second)
    columns = over(student.columns("v", t, s), x_t)
    _, target = student.target(data[which], x_t, columns)
    errors = student.errors(student.estimate(x_t, columns), rows[which], target)
    expected = (errors.indicators + errors.scores).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)


def test_given_columns_have_no_loss(mixed):
    student = student_for(mixed)
    store = trajectories_of(mixed, 64)
    method = TableDistillation(student, store)
    assert method.learns == "samples"
    store.fill()
    store.condition_known[:, student.layout.size :] = 1.0
    ((player, loss),) = method.losses(None, context())
    assert player == "map"
    assert loss == 0


def test_a_distilled_table_has_the_kinds_of_its_file(tmp_path, monkeypatch, capsys):
    """In any number of calls no category is new, whole numbers are whole, ranges hold, and given
    columns are as given.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(CSV)
    answer(capsys, "train flow --data t.csv --size tiny --steps 40 --out flow")
    answer(capsys, "distil flow --steps 40 --out map --trajectories 512 --teacher-steps 8")
    known = columns_of(CSV)
    for calls in (1, 2, 4):
        out = tmp_path / f"{calls}.csv"
        answer(capsys, f"sample map --n 300 --steps {calls} --given size=3 --out {out}")
        kind, size, count, paid, _, note = columns_of(out.read_text())
        assert set(kind) <= set(known[0])
        assert set(size) == {"3"}
        assert set(count) <= set(known[2])
        amounts = paid.astype(float)
        assert amounts.min() >= 0
        assert amounts.max() <= 90.25
        assert 0.5 < (paid == "0").mean() < 0.85
        assert set(note) == {"", "x", "y"}
        assert 0.1 < (note == "").mean() < 0.45
    run = pf.load("map")
    assert run.transport.calls == 1
    imputed = pf.impute(run, tmp_path / "t.csv", only="note")
    notes = imputed.cells()["note"].values()
    assert set(notes) <= {"x", "y"}
    capsys.readouterr()


@pytest.mark.parametrize("recipe", ["ddpm", "edm"])
def test_a_denoiser_with_column_factors_is_distilled(mixed, tmp_path, recipe):
    """A resumed student has the teacher's samples, and its budget includes the trajectories."""
    method = method_of(mixed, recipe)
    teacher = pf.fit(method, mixed, steps=2, out=tmp_path / "teacher", progress=False)
    assert teacher.transport.space != mixed.space
    settings = {"trajectories": 64, "teacher_steps": 4}
    options = {"settings": settings, "data": mixed, "progress": False}
    student = distil(teacher, steps=2, out=tmp_path / "student", **options)
    rebuilt = pf.load(student.folder).method.trajectories.teacher
    same_steps = Flow(teacher.transport.denoiser, rebuilt.solver, rebuilt.steps, rebuilt.grid)
    assert torch.equal(rebuilt.sample(8, seed=1), same_steps.sample(8, seed=1))
    trained = student.state["seconds"]
    less = trained + min(student.state["store_seconds"] / 2, trained)
    with pytest.raises(UsageError, match="leaves nothing to do"):
        pf.resume(student, seconds=less, data=mixed, progress=False)


def columns_of(text):
    """The cells of a table below its header, by column."""
    return np.loadtxt(io.StringIO(text), dtype=str, delimiter=",", skiprows=1, unpack=True)


def test_a_score_is_compared_as_sampling_uses_it(mixed):
    """Where the estimate of v times the probability of a number is the target, a map has no error,
    and a denoiser has one.
    """
    denoiser = method_of(mixed).denoiser
    student = student_of_table(denoiser)
    rows = encoded_rows(mixed, 50)
    x_t = torch.randn(len(rows), student.layout.size)
    t = torch.full((len(rows),), 0.8)
    now = 0 * t

    def largest_error(model, data):
        columns = over(model.columns("v", t, now), x_t)
        _, v = model.target(data, x_t, columns)
        return model.errors(model.estimate(x_t, columns), rows, v).scores.max()

    assert largest_error(student, student.jump(x_t, t, now)) < 1e-6
    assert largest_error(denoiser, denoiser.predict("data", x_t, t)) >= 1e-6


def test_what_does_not_fit_a_table_is_refused_by_name(mixed, tmp_path):
    recipe = pf.recipes.flow(mixed.space, "tiny")
    run = pf.fit(recipe, mixed, steps=1, out=tmp_path / "flow", progress=False)
    for name in ("trajectories", "teacher_steps"):
        with pytest.raises(UsageError, match=f"`{name}` must be at least 1, got 0"):
            distil(run, steps=1, settings={name: 0}, data=mixed, progress=False)
    finish = with_frozen("finish", {"teacher": run})
    moons = pf.data.load("moons")
    with pytest.raises(UsageError, match=r"finish does not support tables"):
        finish(moons.space)


def test_settings_and_recipes_that_tables_do_not_have_are_refused(mixed):
    teacher = pf.recipes.flow(mixed.space, "tiny").method.transport()
    with pytest.raises(UsageError, match="rule, last"):
        pf.recipes.distil(mixed.space, teacher=teacher, rule="start", last=0.1)
    for name in ("consistency", "meanflow", "shortcut"):
        with pytest.raises(UsageError, match="the mean of two categories"):
            getattr(pf.recipes, name)(mixed.space, "tiny")
