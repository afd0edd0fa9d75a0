"""Samples of tables and their constraints: written as the file of the data is, read again, drawn
again where they break one.
"""

import dataclasses
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs.table_files import mixed_columns
from programs.tables import Noise
from programs.text_tables import cases

import pushforward as pf
from pushforward import spec
from pushforward.cli import main
from pushforward.conditions import Label
from pushforward.data import TableSpace, load
from pushforward.data.core.hashes import permutation
from pushforward.draws import ExampleDraws
from pushforward.errors import DataError, Diverged, UsageError
from pushforward.evaluation import curves, evaluator
from pushforward.evaluation.results import ModelResult
from pushforward.evaluation.samples import given_samples
from pushforward.metrics import Score
from pushforward.samples import write_samples
from pushforward.solvers import Euler
from pushforward.tables.baselines import RowMixture
from pushforward.tables.columns import Format, Number
from pushforward.tables.constraints import Constraint
from pushforward.transports import Map
from pushforward.transports.redrawing import (
    MEASURED,
    RejectionSampler,
    Tally,
    counting_draws,
    unmet_kept,
    warn_unmet,
    without_rejection,
)


def lines_of(header, line, n):
    """The text of a table: a header and n lines, each of which a function makes from a number."""
    return "\n".join([header, *map(line, range(n)), ""])


def _interval(i):
    start = i % 13
    end = start + i % 3
    flag = ("no", "yes")[i % 2]
    return f"{start};{end};{flag}"


TEXT = lines_of("start;end;flag", _interval, 400)


def space_of(tmp_path, *constraints):
    """The space of the usual table under constraints."""
    return table(tmp_path, constraints=constraints).space


def table(tmp_path, text=TEXT, name="t.csv", **options):
    (tmp_path / name).write_text(text)
    return load(tmp_path / name, **options)


@pytest.mark.parametrize("ending", ["csv", "tsv", "npz"])
@pytest.mark.parametrize("header", [True, False])
def test_samples_are_written_as_the_file_is_and_read_again(tmp_path, ending, header):
    columns = mixed_columns(90)
    lines = [";".join(row) for row in zip(*columns.values(), strict=True)]
    target = None
    if header:
        lines.insert(0, ";".join(columns))
        target = "member"
    data = table(tmp_path, "\n".join(lines) + "\n", header=header, target=target)
    x = torch.from_numpy(data.train.x)
    file = tmp_path / f"new.{ending}"
    write_samples(file, data.space, len(x), [(x[:7], None), (x[7:], None)])
    if ending != "npz":
        text = file.read_text().replace("\t", ";").replace('"', "")
        written = text.splitlines()
        assert set(written) <= set(lines)
        assert written[0] == lines[0] or not header
    actual = given_samples(file, data).x
    expected = data.train.x[permutation(len(x), 0)]
    assert np.array_equal(actual, expected)


def sizes(tmp_path):
    """A table of numbers with a decimal and a boolean."""
    text = lines_of("size;flag", lambda i: f"{i}.5;{('no', 'yes')[i % 2]}", 90)
    return table(tmp_path, text)


def given(tmp_path, text, data):
    """Samples from a file of such a text."""
    file = tmp_path / "new.csv"
    file.write_text(text)
    return given_samples(file, data)


def test_samples_of_other_columns_and_values_are_refused(tmp_path):
    with pytest.raises(DataError, match="columns flag"):
        given(tmp_path, "start;end\n1;2\n1;3\n", table(tmp_path))
    with pytest.raises(DataError, match=r'"size".*line 3 \("x"\)'):
        given(tmp_path, "size;flag\n1.5;maybe\nx;no\n", sizes(tmp_path))


def test_a_text_that_the_model_does_not_know_is_a_value_of_its_own(tmp_path):
    samples = given(tmp_path, "size;flag\n1.5;maybe\n3.5;no\n", sizes(tmp_path))
    assert sorted(samples.values[:, 1]) == [0, 2]


def test_samples_may_have_more_columns_in_another_order(tmp_path):
    data = table(tmp_path)
    samples = given(tmp_path, "flag,more,start,end\nNo,1,3.0,4\nyes,2,2,5\n", data)
    in_order = np.argsort(permutation(2, 0))
    values = data.space.values(samples.x)[in_order]
    assert [field.kind for field in data.space.fields] == ["ordinal", "ordinal", "boolean"]
    cells = data.space.cells(data.space.encoded(values))
    assert cells[0] == ["3", "4", "no"]


def test_rows_that_break_a_constraint_are_named(tmp_path):
    text = TEXT.replace("\n4;4;no\n", "\n4;3;no\n", 1)
    with pytest.raises(DataError, match=r'constraint "end >= start" .* 1 row \(lines \d+'):
        table(tmp_path, text, constraints="end >= start")


@cases("""
    constraint    says
    end >= begin  "begin"
    flag > 0      common order
    `end` >= x    "x"
""")
def test_what_a_constraint_names_must_exist_and_be_ordered(tmp_path, constraint, says):
    with pytest.raises(UsageError, match=says):
        table(tmp_path, constraints=[constraint])


def test_levels_may_be_compared_with_numbers(tmp_path):
    text = lines_of("a;b", lambda i: f"{7 + i % 5};{i % 2}", 90)
    data = table(tmp_path, text, table=True, constraints=["a >= 7"])
    assert data.space.fields[0].kind == "ordinal"


def test_constraints_are_stored_with_the_space(tmp_path):
    data = table(tmp_path, constraints=["end >= start", "end - start <= 2"])
    assert load(**data.origin).space == data.space
    assert spec.build(spec.describe(data.space)) == data.space
    assert data.space.valid(torch.from_numpy(data.train.x)).all()


def rough(space):
    return Map(Noise(), space, space.shape)


def test_samples_meet_constraints_and_depend_on_their_own_seed_alone(tmp_path):
    free = rough(space_of(tmp_path))
    bound = rough(space_of(tmp_path, "end >= start"))
    with counting_draws() as tally:
        x = bound.sample(60, seed=5)
    start, end, _ = bound.space.values(x).T
    plain = free.sample(60, seed=5)
    broken = ~bound.space.valid(plain)
    assert (end >= start).all()
    assert 10 < broken.sum() < 50
    assert torch.equal(x[~broken], plain[~broken])
    assert tally.drawn == 60 + tally.refused
    assert tally.refused >= broken.sum()
    for place in range(0, 60, 7):
        alone = bound.sample(1, seed=5 + place)
        assert torch.equal(alone[0], x[place])
    in_batches = bound.sample(60, seed=5, batch=7)
    assert torch.equal(in_batches, x)
    with without_rejection():
        unchecked = bound.sample(60, seed=5)
    assert torch.equal(unchecked, plain)
    part = bound.part(0, 60, None, 5)[0]
    assert torch.equal(part, x)


def test_samples_that_are_drawn_again_have_other_noise():
    first = ExampleDraws([5]).normal((3,))
    again = ExampleDraws([5], name="sample/again 1").normal((3,))
    assert not torch.equal(first, again)


@pytest.fixture
def hopeless(tmp_path):
    """A model whose samples never meet its constraint."""
    text = lines_of("a;b", lambda i: f"{i}.5;{i}.5", 200)
    data = table(tmp_path, text, constraints="a == b", table=True)
    return rough(data.space)


REDRAWING = "pushforward.transports.redrawing"


def test_a_constraint_may_multiply_columns(tmp_path):
    space = space_of(tmp_path, "start * start >= 0 * end")
    assert space.constraints[0].names == ("start", "end")


def test_samples_that_never_meet_a_constraint_are_not_written(tmp_path, monkeypatch, hopeless):
    monkeypatch.setattr(f"{REDRAWING}.REDRAWS", 2)
    says = r'0 of 9 samples satisfy the constraint "a == b"\. .* compute it'
    with pytest.raises(Diverged, match=says):
        pf.samples.draw_to(tmp_path / "x.csv", hopeless, 9)
    assert not (tmp_path / "x.csv").exists()
    with pytest.raises(Diverged, match="0 of 9"):
        hopeless.part(0, 9, None, 0)


def test_drawing_ends_where_there_is_no_hope(monkeypatch, hopeless):
    monkeypatch.setattr(f"{REDRAWING}.HOPELESS", 60)
    says = r'0 of 60 generated rows satisfy the constraint "a == b"\. .* compute it'
    with counting_draws() as tally, pytest.raises(Diverged, match=says):
        hopeless.sample(70, batch=10)
    assert tally.drawn == 60
    assert tally.refused == 60


def test_samples_that_break_a_constraint_may_be_kept(monkeypatch, hopeless):
    monkeypatch.setattr(f"{REDRAWING}.HOPELESS", 60)
    monkeypatch.setattr(f"{REDRAWING}.REDRAWS", 2)
    with counting_draws() as tally, unmet_kept():
        x = hopeless.sample(70, batch=20)
    broken = int((~hopeless.space.valid(x)).sum())
    assert len(x) == 70
    assert tally.drawn - tally.refused == 70 - broken
    assert tally.drawn > 200, "within `unmet_kept` every sample has all its draws"
    says = f'{broken} of 70 samples violate the constraint "a == b". Advice'
    with pytest.warns(UserWarning, match=says):
        warn_unmet(hopeless.space, x, "Advice")


def test_points_between_two_seeds_are_written_with_a_warning_that_names_the_broken_constraint(
    tmp_path,
):
    space = space_of(tmp_path, "end >= start", "end >= 0 * start")
    starts = np.array([0.0, 9.0, 8.0])
    ends = np.array([9.0, 0.0, 0.0])
    rows = np.column_stack([starts, ends, np.zeros(3)])
    x = torch.from_numpy(space.encoded(rows))
    file = tmp_path / "strip.csv"
    with pytest.warns(UserWarning, match=r'2 of 3 .* "end >= start" and'):
        pf.samples.frames_to(file, space, x)
    assert len(file.read_text().splitlines()) == 4


class Seldom(Map):
    """Meets the constraint in the first draw of its first five samples, and in no other."""

    def _drawn(self, condition, draws):
        met = np.array([seed < 5 and draws.name == "sample" for seed in draws.seeds])
        end = np.where(met, 9.0, 0.0)
        rows = np.column_stack([9.0 - end, end, np.zeros(len(end))])
        return torch.from_numpy(self.space.encoded(rows))


@pytest.mark.parametrize(
    "sampled", [lambda t: t.sample(12, batch=3), lambda t: t.part(0, 12, None, 0)]
)
def test_rows_that_meet_no_constraint_are_counted_over_all_batches(tmp_path, monkeypatch, sampled):
    monkeypatch.setattr(f"{REDRAWING}.REDRAWS", 4)
    monkeypatch.setattr(f"{REDRAWING}.HOPELESS", 6)
    space = space_of(tmp_path, "end >= start", "end >= 0 * start")
    model = Seldom(Noise(), space, space.shape)
    says = r'5 of 12 samples satisfy .* "end >= start" and'
    with counting_draws() as tally, pytest.raises(Diverged, match=says):
        sampled(model)
    assert tally.drawn == 12 + 4 * 7
    assert tally.refused == 5 * 7


def test_draws_of_several_processes_are_counted_together(tmp_path):
    space = space_of(tmp_path, "end >= start")
    redrawing = RejectionSampler(space, 40)
    x = rough(space).sample(20)
    redrawing.drawn(lambda condition, draws: x, None, ExampleDraws(0, 20))
    with counting_draws() as tally:
        redrawing.join(lambda own: [2 * own[0], own[1] + 3, own[2] + 1])
        redrawing.join(lambda own: [2 * count for count in own])
    assert redrawing.tally == Tally(40, 3, 1)
    assert tally == Tally(20, 3, 1)


class Tenth(torch.nn.Module):
    """A tenth of the label in each pixel."""

    def forward(self, z, t=None, condition=None):
        level = condition["label"] / 10
        return level.view(-1, 1, 1, 1) + 0 * z


@pytest.mark.parametrize("batch", [7, 3, 1])
def test_each_sample_has_its_own_condition_in_batches_of_any_size(batch):
    label = Label(tuple("abc"), (0.2, 0.3, 0.5))
    space = pf.data.ImageSpace((1, 2, 2), (0.0,), (1.0,), (0.0,), (1.0,), {"label": label})
    labels = [0, 2, 1, 1, 0, 2, 2]
    model = Map(Tenth(), space, space.shape)
    x = model.sample(7, {"label": labels}, batch=batch)
    expected = torch.tensor(labels) / 10
    torch.testing.assert_close(x[:, 0, 0, 0], expected)


def at_least(least):
    """A model of one column, 0 to 999, whose constraint asks for at least such a number."""
    field = Number.measured("a", np.arange(1000.0), "whole", Format(0))
    constraint = Constraint(f"a >= {least}")
    space = TableSpace.of([field], constraints=(constraint,))
    return rough(space)


def test_which_samples_are_drawn_again_is_the_same_in_batches_of_any_size(monkeypatch):
    monkeypatch.setattr(f"{REDRAWING}.REDRAWS", 6)
    transport = at_least(980)
    samples = []
    drawn = []
    for batch in (50, 256, 600):
        with counting_draws() as tally, unmet_kept():
            samples.append(transport.sample(600, seed=3, batch=batch))
        drawn.append(tally.drawn)
    first = samples[0]
    for other in samples[1:]:
        assert torch.equal(other, first)
    assert drawn == drawn[:1] * 3
    assert drawn[0] > 3000


def test_a_model_of_a_table_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TEXT)
    train = shlex.split(
        "train flow --size tiny --data t.csv --target flag --steps 2 --out run "
        "--constraint 'end >= start' --constraint 'end <= start + 2'"
    )
    assert main(train) == 0
    sample = shlex.split("sample run --n 9 --out new.csv")
    assert main(sample) == 0
    said = r"[\d,]+ of [\d,]+ draws \(\d+\.\d%\) violated the constraints .* and were"
    assert re.search(said, capsys.readouterr().err)
    header, *rows = (tmp_path / "new.csv").read_text().split()
    assert header == "start;end;flag"
    assert len(rows) == 9
    for row in rows:
        start, end, flag = row.split(";")
        assert int(start) <= int(end) <= int(start) + 2
        assert flag in ("no", "yes")
    frame = pf.load("run").sample(9)
    cells = frame.astype(str).to_numpy()
    assert [";".join(row) for row in cells] == rows
    assert 0 < frame.attrs["drawn_again"] < 1


def test_a_model_that_never_meets_its_constraints_is_measured_in_a_bounded_number_of_draws():
    with counting_draws() as tally, unmet_kept():
        at_least(2000).sample(30, batch=7)
    draws = 30 * (1 + MEASURED)
    assert tally == Tally(draws, draws, 30)


def _date_and_places(i):
    return f"{1 + i % 28}.3.2021,{'ab'[i % 2]},{'bac'[i % 3]}"


def test_rows_that_break_a_constraint_are_named_and_a_level_that_no_row_has_may_be_forbidden(
    tmp_path,
):
    text = lines_of("born,home,work", _date_and_places, 60)
    since = "born >= '2021-03-01'"
    with pytest.raises(DataError, match=r'constraint "home == work" .* 40 rows \(lines 2'):
        table(tmp_path, text, constraints=["home == work", since])
    data = table(tmp_path, text, constraints=[since, "home != 'lost'"])
    assert data.space.valid(data.train.x).all()
    assert spec.build(spec.describe(data.space)) == data.space


def test_the_share_of_refused_draws_and_constraints_of_others_are_reported(monkeypatch):
    transport = at_least(500)
    space = dataclasses.replace(transport.space, constraints=(Constraint("a >= 3"),))
    judge = SimpleNamespace(
        data=SimpleNamespace(space=space),
        seed=0,
        n=10,
        sampling=lambda models: dict.fromkeys(models, ModelResult("x").sampling),
        scores=lambda sampler, name: ({}, sampler.sample(40) is None),
    )
    monkeypatch.setattr(evaluator, "pictures_of", lambda *parts: None)
    monkeypatch.setattr(evaluator, "unseen_warnings", lambda *parts: ())
    result, _ = evaluator.Evaluator.evaluate(judge, "flow", transport, curve=False)
    assert 0.3 < result.sampling.refused < 0.7
    (warning,) = [text for text in result.warnings if "constraint" in text]
    assert '"a >= 3", "a >= 500"' in warning


def test_samples_that_break_constraints_after_all_draws_are_counted():
    space = at_least(500).space
    assert evaluator.constraint_warnings(space, space, Tally(40, 20)) == ()
    (text,) = evaluator.constraint_warnings(space, space, Tally(40, 30, 7))
    assert '"a >= 500"' in text
    assert text.startswith("7 ")


def test_samplings_score_the_values_of_rows_in_other_coordinates(monkeypatch):
    rows = object()
    seen = []

    def score(x, *parts, values, **more):
        seen.append(values)
        return {}

    monkeypatch.setattr(evaluator, "score", score)
    judge = SimpleNamespace(draw=lambda *parts: (None, None, rows), data=None, features=None)
    _, samplings = evaluator.Evaluator.score_samplings(judge, None, ["energy"], 3, 2, 9.0)
    assert len(samplings) == 2
    assert seen == [rows] * 2


def test_a_curve_has_as_many_samplings_as_the_scores(monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "inner_of", lambda transport: transport)
    monkeypatch.setattr(curves, "with_inner", lambda transport, other: other)
    monkeypatch.setattr(curves, "has_steps", lambda transport: True)
    flow = SimpleNamespace(
        solver=Euler(), steps=4, grid="time", calls=4, with_solver=lambda *parts: flow
    )

    def score_samplings(sampler, metrics, n, repeats, seconds):
        drawn.append(repeats)
        return {}, [None] * repeats

    judge = SimpleNamespace(
        score_samplings=score_samplings, n=3, say=str, plan=SimpleNamespace(sweep=9.0)
    )
    scores = {"energy": Score(1.0, values=(1.0, 2.0, 0.0))}
    points = curves.quality_curve(judge, flow, scores, (1, 2), "flow")
    assert [point.steps for point in points] == [1, 2, 4]
    assert drawn == [3, 3]


def test_a_model_that_breaks_constraints_warns_and_the_mixture_beside_it_does_not(
    monkeypatch, recwarn
):
    model = at_least(2000)
    space = model.space
    x = torch.from_numpy(space.encoded(np.zeros((4, 1))))
    monkeypatch.setattr(evaluator, "labels_for", lambda *given: None)
    monkeypatch.setattr(evaluator, "shared_stream", lambda *given, **options: iter([(x, None)]))
    judge = SimpleNamespace(n=4, seed=0, batch=4, data=SimpleNamespace(space=space))
    mixture = RowMixture(space, *[torch.ones(1)] * 4)
    evaluator.Evaluator.draw(judge, mixture, 0)
    assert not recwarn
    evaluator.Evaluator.draw(judge, model, 0)
    warning = recwarn.pop(UserWarning)
    assert "4 of 4 samples violate" in str(warning.message)


@pytest.fixture
def notes(tmp_path):
    """A file of a number, beside identifiers and texts."""
    file = tmp_path / "t.csv"
    file.write_text(lines_of("id;size;note", lambda i: f"{i};{i % 7}.5;text {i}", 60))
    return file


@pytest.fixture
def notes_run(tmp_path, notes):
    run = tmp_path / "run"
    data = load(notes, drop="note")
    pf.fit("flow", data, size="tiny", steps=1, out=run, progress=False)
    return run


def test_columns_that_are_left_out_are_named_and_filled(tmp_path, notes_run, capsys):
    """So that a file of samples has the columns of the data's file, in their order."""
    out = tmp_path / "new.csv"
    sample = shlex.split(f"sample {notes_run} --n 3 --overwrite --out")
    assert main([*sample, str(out)]) == 0
    assert "id, note" in capsys.readouterr().err
    _, *sizes = out.read_text().split()
    assert main([*sample, str(out), "--fill", 'id=sequence,note="a;b"']) == 0
    assert "left out" not in capsys.readouterr().err
    header, *lines = out.read_text().splitlines()
    assert header == "id;size;note"
    assert lines == [f'{number};{size};"a;b"' for number, size in enumerate(sizes, 1)]
    assert main([*sample, str(out), "--fill", "size=sequence"]) == 2
    assert main([*sample, str(tmp_path / "new.npz"), "--fill", "id=sequence"]) == 2


def test_columns_of_a_frame_that_are_left_out_are_filled(notes_run):
    pytest.importorskip("pandas")
    transport = pf.load(notes_run)
    frame = transport.sample(3, fill={"id": "sequence", "note": "a"})
    assert list(frame.columns) == ["id", "size", "note"]
    assert frame["id"].tolist() == [1, 2, 3]
    assert frame["note"].tolist() == ["a"] * 3
    with pytest.raises(UsageError, match="id, note"):
        transport.sample(3, fill={"size": "sequence"})


def test_a_space_with_columns_left_out_is_stored(notes):
    space = load(notes, drop="note").space
    assert spec.build(spec.describe(space)) == space
