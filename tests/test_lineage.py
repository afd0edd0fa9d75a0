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


def swapped(data, rows):
    """The same rows, of which so many held-out ones are in the training split and the other way
    round.
    """
    train = data.train.x.copy()
    held_out = data.held_out.x.copy()
    train[:rows], held_out[:rows] = held_out[:rows], data.train.x[:rows]
    return dataclasses.replace(data, name="swapped", train=Split(train), held_out=Split(held_out))


def fitted(data, folder, **options):
    return pf.fit(recipe_for("vae", data), data, steps=1, out=folder, **options)


def test_a_run_records_its_training_rows_and_no_others(tmp_path):
    data = space_data((2,), labels=False)
    run = fitted(data, tmp_path / "run")
    seen = pf.load(run.folder).seen
    expected = np.unique(example_hashes(data.train.x))
    np.testing.assert_array_equal(seen.own, expected)
    assert (len(seen.inherited), seen.names, seen.unknown) == (0, (), ())
    assert seen.overlaps(data) == (0, 0)
    assert seen.overlaps(swapped(data, 7)) == (7, 0)


def test_examples_that_a_models_own_data_holds_out_as_well_are_no_leak_of_its_heirs():
    own, shared = (np.array(hashes, dtype=np.uint64) for hashes in ([1, 2, 3], [2]))
    inherited = Seen().joined_by("first", Seen(own, shared=shared)).inherited.tolist()
    assert inherited == [1, 3]


def test_a_run_is_not_judged_on_what_it_was_trained_on(tmp_path):
    data = space_data((2,), labels=False)
    run = fitted(data, tmp_path / "run")
    judges = (
        lambda d: pf.evaluate(run, d, repeats=1),
        lambda d: pf.compare({"it": run}, d),
        lambda d: check_model("it", run, d),
    )
    for judge in judges:
        with pytest.raises(UsageError, match=r"was trained on 1 of the 24 held-out examples"):
            judge(swapped(data, 1))
    with pytest.raises(UsageError, match="held-out examples"):
        pf.evaluate(run, swapped(data, 3), metrics=["bpd"])
    warnings = pf.evaluate(run, data, repeats=1, metrics=["energy"]).models[0].warnings
    assert warnings == ()


def test_what_an_ancestor_has_seen_is_said_in_the_verdict_down_the_chain(tmp_path):
    data = space_data((2,), labels=False)
    other = swapped(data, 5)
    first = fitted(data, tmp_path / "first")
    second = fitted(other, tmp_path / "second", init=first.folder)
    third = fitted(other, tmp_path / "third", init=second.folder)
    for run, names in ((second, "first"), (third, "second.*first")):
        assert run.seen.overlaps(other) == (0, 5)
        models = {"it": run, "new": fitted(other, tmp_path / f"new-{run.name}")}
        report = pf.Report(pf.compare(models, other, repeats=1, curve=False))
        (said,) = [sentence for sentence in report.verdict if "held-out examples" in sentence]
        assert said.startswith("it: 5 of the 24 held-out examples of swapped")
        for name in names.split(".*"):
            assert str(tmp_path / name) in said
        assert "5 of the 24" in report.to_markdown()
    actual = fitted(data, tmp_path / "fourth", init=first.folder).seen.overlaps(data)
    assert actual == (0, 0)


def test_a_damaged_record_is_refused_by_name_and_sampling_does_not_need_it(tmp_path):
    data = space_data((2,), labels=False)
    run = fitted(data, tmp_path / "run")
    path = run.folder / "rows.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    again = pf.load(run.folder)
    again.transport.sample(2)
    for use in (
        lambda: pf.evaluate(again, data),
        lambda: fitted(data, tmp_path / "next", init=run.folder),
    ):
        with pytest.raises(CheckpointError, match=r"rows\.safetensors.*differs"):
            use()
    path.unlink()
    with pytest.raises(CheckpointError, match=r"rows.safetensors"):
        _ = pf.load(run.folder).seen


def test_an_autoencoder_hands_on_what_it_has_seen(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    other = swapped(data, 4)
    coder = pf.fit(
        pf.recipes.autoencoder(data.space, "tiny"), data, steps=1, out=tmp_path / "coder"
    )
    for way in (coder, coder.folder):
        recipe = pf.in_latent("flow", other, way, "tiny")
        assert [name for name, _ in recipe.builds_on] == [str(coder.folder)]
    run = pf.fit(recipe, other, steps=1, out=tmp_path / "run")
    actual = pf.load(run.folder).seen.overlaps(other)
    assert actual == (0, 4)
    ((name, seen),) = pf.in_latent("flow", other, coder.method.autoencoder(), "tiny").builds_on
    assert (name, seen.own) == ("an autoencoder passed in Python", None)
    assert seen_by(tmp_path).own is None


@pytest.mark.parametrize("way", ["recipe", "method", "own recipe"])
def test_a_source_is_an_ancestor_however_the_method_is_handed_over(way, tmp_path):
    data = space_data((2,), labels=False)
    np.save(tmp_path / "source.npy", data.held_out.x)
    recipe = pf.recipes.flow(data.space, "tiny", source=str(tmp_path / "source.npy"))
    given = {
        "recipe": recipe,
        "method": recipe.method,
        "own recipe": pf.recipes.Recipe(recipe.method),
    }[way]
    seen = pf.fit(given, data, steps=1, out=tmp_path / "run").seen
    assert seen.names == (f"the source {tmp_path / 'source.npy'}",)
    assert seen.overlaps(data)[1] > 0


def test_a_trained_method_alone_builds_on_its_run(tmp_path):
    data = space_data((2,), labels=False)
    method = recipe_for("vae", data).method
    pf.fit(method, data, steps=1, out=tmp_path / "first")
    again = pf.fit(method, swapped(data, 5), steps=1, out=tmp_path / "again")
    assert again.seen.names == (str(tmp_path / "first"),)
    actual = again.seen.overlaps(swapped(data, 5))
    assert actual == (0, 5)


def test_a_transport_alone_does_not_say_what_it_was_trained_on(tmp_path):
    data = space_data((2,), labels=False)
    run = fitted(data, tmp_path / "run")
    (said,) = pf.evaluate(run.transport, data, repeats=1, metrics=["energy"]).models[0].warnings
    assert "unknown" in said
    comparison = pf.compare({"it": run.transport, "run": run}, data, repeats=1, curve=False)
    assert [model.warnings for model in comparison.models] == [(said,), ()]
    warnings = (
        pf.evaluate(GaussianBaseline.fit(data), data, repeats=1, metrics=["energy"])
        .models[0]
        .warnings
    )
    assert warnings == ()


def test_the_seconds_of_teacher_start_and_autoencoder_count_once_down_the_chain(tmp_path):
    data = space_data((2,), labels=False)
    taken = lambda run: run.state["seconds"] + (run.state["store_seconds"] or 0.0)  # noqa: E731
    coder = fitted(data, tmp_path / "coder")
    flow = pf.fit(
        pf.in_latent("flow", data, str(coder.folder), "tiny"), data, steps=2, out=tmp_path / "flow"
    )
    student = with_frozen("distil", {"teacher": flow})
    first = pf.fit(
        student(data.space, "tiny", trajectories=8), data, steps=2, out=tmp_path / "first"
    )
    second = pf.fit(
        student(data.space, "tiny", trajectories=8),
        data,
        steps=2,
        out=tmp_path / "second",
        init=first.folder,
    )
    assert taken(first) > first.state["seconds"] > 0
    models = {run.name: run for run in (coder, flow, first, second)}
    ancestors: list[pf.Run] = []
    for model, run in zip(
        pf.compare(models, data, repeats=1, curve=False).models, models.values(), strict=True
    ):
        parts = (
            model.training.seconds,
            model.training.trajectory_seconds,
            model.training.ancestor_seconds,
        )
        total = sum(filter(None, parts))
        assert total == pytest.approx(sum(map(taken, (*ancestors, run)))), model.name
        ancestors.append(run)
    guided = of_run(ModelResult("it"), flow.configured(weaker=str(flow.folder), weaker_scale=2.0))
    assert guided.training.ancestor_seconds == pytest.approx(taken(coder)), (
        "no run is its own ancestor"
    )


def test_unknown_examples_of_an_ancestor_are_said_to_be_unknown(tmp_path):
    data = space_data((2,), labels=False)
    first = fitted(data, tmp_path / "first")
    new = space_data((2,), labels=False, seed=3)
    assert unseen_warnings(first, new) == (), "its record says that other data is new to it"
    (said,) = leaks(Seen(np.zeros(1, np.uint64)).joined_by("runs/old", Seen()), data)
    assert "runs/old, whose training examples" in said
