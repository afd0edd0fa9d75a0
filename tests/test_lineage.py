"""A run keeps the hashes of its training examples: whoever builds on it is not judged silently on
what it has seen.
"""

import dataclasses

import numpy as np
import pytest

import pushforward as pf
from pushforward.data import Split
from pushforward.data.core.dataset import Seen
from pushforward.data.core.hashes import example_hashes
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.models import check_model, of_run, unseen_warnings
from pushforward.evaluation.results import ModelResult
from pushforward.testing import recipe_for, space_data
from pushforward.training.recipe_argument import with_frozen
from pushforward.training.runs.provenance import leaks, seen_by


@pytest.fixture(scope="module")
def data():
    return space_data((2,), labels=False)


@pytest.fixture
def run(data, tmp_path):
    return fitted(data, tmp_path / "run")


def swapped(data, rows):
    """The same rows, of which so many held-out ones are in the training split and the other way
    round.
    """
    x = data.train.x
    held_out = data.held_out.x
    train = np.concatenate([held_out[:rows], x[rows:]])
    others = np.concatenate([x[:rows], held_out[rows:]])
    return dataclasses.replace(data, name="swapped", train=Split(train), held_out=Split(others))


def fitted(data, folder, **options):
    return pf.fit(recipe_for("vae", data), data, steps=1, out=folder, **options)


def test_a_run_records_its_training_rows_and_no_others(data, run):
    seen = pf.load(run.folder).seen
    expected = np.unique(example_hashes(data.train.x))
    np.testing.assert_array_equal(seen.own, expected)
    assert len(seen.inherited) == 0
    assert seen.names == ()
    assert seen.unknown == ()
    assert seen.overlaps(data) == (0, 0)
    assert seen.overlaps(swapped(data, 7)) == (7, 0)


def test_examples_that_a_models_own_data_holds_out_as_well_are_no_leak_of_its_heirs():
    own = np.array([1, 2, 3], dtype=np.uint64)
    shared = np.array([2], dtype=np.uint64)
    heir = Seen().joined_by("first", Seen(own, shared=shared))
    assert heir.inherited.tolist() == [1, 3]


def test_a_run_is_not_judged_on_what_it_was_trained_on(data, run):
    one_shared = swapped(data, 1)
    says = r"was trained on 1 of the 24 held-out examples"
    with pytest.raises(UsageError, match=says):
        pf.evaluate(run, one_shared, repeats=1)
    with pytest.raises(UsageError, match=says):
        pf.compare({"it": run}, one_shared)
    with pytest.raises(UsageError, match=says):
        check_model("it", run, one_shared)
    with pytest.raises(UsageError, match="held-out examples"):
        pf.evaluate(run, swapped(data, 3), metrics=["bpd"])
    assert warnings_of(run, data) == ()

    older = pf.load(run.folder)
    object.__setattr__(older, "seen", Seen())
    assert unseen_warnings(older, data) == (), "its own data are known without hashes"
    assert unseen_warnings(older, swapped(data, 1))


def warnings_of(model, data):
    (result,) = pf.evaluate(model, data, repeats=1, metrics=["energy"]).models
    return result.warnings


def test_what_an_ancestor_has_seen_is_said_in_the_verdict_down_the_chain(data, tmp_path):
    other = swapped(data, 5)
    first = fitted(data, tmp_path / "first")
    second = fitted(other, tmp_path / "second", init=first.folder)
    third = fitted(other, tmp_path / "third", init=second.folder)
    for run, ancestors in ((second, [first]), (third, [second, first])):
        assert run.seen.overlaps(other) == (0, 5)
        new = fitted(other, tmp_path / f"new-{run.name}")
        comparison = pf.compare({"it": run, "new": new}, other, repeats=1, curve=False)
        report = pf.Report(comparison)
        (said,) = [sentence for sentence in report.findings if "held-out examples" in sentence]
        assert said.startswith("it: 5 of the 24 held-out examples of swapped")
        for ancestor in ancestors:
            assert str(ancestor.folder) in said
        assert "5 of the 24" in report.to_markdown()
    fourth = fitted(data, tmp_path / "fourth", init=first.folder)
    assert fourth.seen.overlaps(data) == (0, 0)


def test_a_damaged_record_is_refused_by_name_and_sampling_does_not_need_it(data, run, tmp_path):
    path = run.folder / "rows.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    again = pf.load(run.folder)
    again.transport.sample(2)
    with pytest.raises(CheckpointError, match=r"rows\.safetensors.*differs"):
        pf.evaluate(again, data)
    with pytest.raises(CheckpointError, match=r"rows\.safetensors.*differs"):
        fitted(data, tmp_path / "next", init=run.folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"rows.safetensors"):
        _ = pf.load(run.folder).seen


def test_an_autoencoder_hands_on_what_it_has_seen(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    other = swapped(data, 4)
    autoencoder = pf.recipes.autoencoder(data.space, "tiny")
    coder = pf.fit(autoencoder, data, steps=1, out=tmp_path / "coder")
    for way in (coder, coder.folder):
        recipe = pf.in_latent("flow", other, way, "tiny")
        ((name, _),) = recipe.builds_on
        assert name == str(coder.folder)
    run = pf.fit(recipe, other, steps=1, out=tmp_path / "run")
    assert pf.load(run.folder).seen.overlaps(other) == (0, 4)
    in_python = pf.in_latent("flow", other, coder.method.autoencoder(), "tiny")
    ((name, seen),) = in_python.builds_on
    assert name == "an autoencoder passed in Python"
    assert seen.own is None
    assert seen_by(tmp_path).own is None


@pytest.mark.parametrize("way", ["recipe", "method", "own recipe"])
def test_a_source_is_an_ancestor_however_the_method_is_handed_over(way, data, tmp_path):
    file = tmp_path / "source.npy"
    np.save(file, data.held_out.x)
    given = pf.recipes.flow(data.space, "tiny", source=str(file))
    if way == "method":
        given = given.method
    elif way == "own recipe":
        given = pf.recipes.Recipe(given.method)
    seen = pf.fit(given, data, steps=1, out=tmp_path / "run").seen
    assert seen.names == (f"the source {file}",)
    _, inherited = seen.overlaps(data)
    assert inherited > 0


def test_a_trained_method_alone_builds_on_its_run(data, tmp_path):
    method = recipe_for("vae", data).method
    other = swapped(data, 5)
    first = pf.fit(method, data, steps=1, out=tmp_path / "first")
    again = pf.fit(method, other, steps=1, out=tmp_path / "again")
    assert again.seen.names == (str(first.folder),)
    assert again.seen.overlaps(other) == (0, 5)


def test_a_transport_alone_does_not_say_what_it_was_trained_on(data, run):
    (said,) = warnings_of(run.transport, data)
    assert "unknown" in said
    comparison = pf.compare({"it": run.transport, "run": run}, data, repeats=1, curve=False)
    assert [model.warnings for model in comparison.models] == [(said,), ()]
    assert warnings_of(GaussianBaseline.fit(data), data) == ()


def seconds_taken(run):
    """The seconds of a run's own training and of storing its trajectories."""
    return run.state["seconds"] + (run.state["store_seconds"] or 0.0)


def test_the_seconds_of_teacher_start_and_autoencoder_count_once_down_the_chain(data, tmp_path):
    coder = fitted(data, tmp_path / "coder")
    in_latent = pf.in_latent("flow", data, str(coder.folder), "tiny")
    flow = pf.fit(in_latent, data, steps=2, out=tmp_path / "flow")

    def student(name, **options):
        distil = with_frozen("distil", {"teacher": flow})
        recipe = distil(data.space, "tiny", trajectories=8)
        return pf.fit(recipe, data, steps=2, out=tmp_path / name, **options)

    first = student("first")
    second = student("second", init=first.folder)
    assert seconds_taken(first) > first.state["seconds"] > 0
    runs = {run.name: run for run in (coder, flow, first, second)}
    comparison = pf.compare(runs, data, repeats=1, curve=False)
    so_far = 0.0
    for model in comparison.models:
        training = model.training
        so_far += seconds_taken(runs[model.name])
        parts = (training.seconds, training.trajectory_seconds, training.ancestor_seconds)
        total = sum(filter(None, parts))
        assert total == pytest.approx(so_far), model.name
    guided = flow.configured(weaker=str(flow.folder), weaker_scale=2.0)
    training = of_run(ModelResult("it"), guided).training
    taken = seconds_taken(coder)
    assert training.ancestor_seconds == pytest.approx(taken), "no run is its own ancestor"


def test_unknown_examples_of_an_ancestor_are_said_to_be_unknown(data, tmp_path):
    first = fitted(data, tmp_path / "first")
    new = space_data((2,), labels=False, seed=3)
    assert unseen_warnings(first, new) == (), "its record says that other data is new to it"
    heir = Seen(np.zeros(1, np.uint64)).joined_by("runs/old", Seen())
    (said,) = leaks(heir, data)
    assert "runs/old, whose training examples" in said
