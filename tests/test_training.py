import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import os
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import pictures
from pushforward.cli import main
from pushforward.conditions import Label
from pushforward.denoiser import Denoiser
from pushforward.draws import BLOCK, ExampleDraws
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError
from pushforward.evaluation import Judge, train_in_turns
from pushforward.evaluation.commands import commands
from pushforward.evaluation.models import check_model
from pushforward.methods import Denoising
from pushforward.methods.method import answered
from pushforward.networks import UNet
from pushforward.testing import CASES, assert_same, final_state, recipe_for, shape_for, space_data
from pushforward.training import Budget, Trainer, checkpoint, memory
from pushforward.training.budget import Clock, Stage
from pushforward.training.digests import state_digest
from pushforward.training.ema import Average
from pushforward.training.folders import hold
from pushforward.training.observing import Observer
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare

RECIPES = list(pf.recipes.registry())


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_run_ends_bit_for_bit(name, tmp_path):
    """Stopped at an epoch's edge (64 rows, batch 32: after step 2) and mid-epoch, in float32 or bfloat16 by turns.

    What draws beside the resumed training changes nothing either: its streams have names of their own.
    """
    data, precision = space_data(shape_for(name), labels=True, n=64), ("float32", "bfloat16")[RECIPES.index(name) % 2]
    recipe = lambda: recipe_for(name, data, batch=32, precision=precision)  # noqa: E731
    whole = pf.fit(recipe(), data, steps=5, out=tmp_path / "whole", seed=3)
    trainer = prepare(recipe(), data, steps=5, out=tmp_path / "cut", seed=3)
    for stop in (2, 3):
        consumed(trainer)
        while trainer.clock.step < stop:
            trainer.advance(1e-9)
        trainer.finish()
        trainer = reopen(tmp_path / "cut", data=data)
        assert trainer.clock.step == stop
    consumed(trainer)
    trainer.advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    logs = [without_times(run.losses()) for run in (whole, pf.load(tmp_path / "cut"))]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 5
    assert state_digest(tmp_path / "whole") == state_digest(tmp_path / "cut")


def without_times(rows):
    """Rows of a log in which floats are hexadecimal: JSON keeps every bit of them."""
    return [{**row, "seconds": 0.0, "loss": {name: value.hex() for name, value in row["loss"].items()}} for row in rows]


class Consumer(Observer):
    """Draws after every step, from the generators of torch and numpy and from those of a sampling."""

    def due(self, moment):
        return True

    def look(self, moment):
        torch.rand(3), np.random.rand(3)
        ExampleDraws(0, 2, "train").normal((3,))
        return {}


def consumed(trainer):
    """Beside a training others draw: before each turn from a stream of the step's own, between steps, and batches to come.

    One more frozen part is used.
    """
    losses = trainer.method.losses
    trainer.method.freeze("another", torch.nn.Linear(3, 2))

    def drawing(batch, now):
        game, reply = losses(batch, now), None
        while True:
            now.draws.stream("another").uniform(), trainer.method.another(now.draws.stream("another").normal((3,)))
            if (move := answered(game, reply)) is None:
                return
            trainer.sampler.batch(trainer.clock.step + 9)
            reply = yield move

    trainer.method.losses = drawing
    trainer.observers += (Consumer(),)


SEEN_BY_PARTS = ("autoencoder",)
"""Estimates of spectral norms move once for each part of a batch."""


@pytest.mark.parametrize("name", RECIPES)
def test_accumulation_changes_nothing_but_rounding(name, tmp_path):
    data = space_data(shape_for(name), labels=True, n=300)
    finals = []
    for parts in (1, 2):
        recipe = recipe_for(name, data, batch=4 * BLOCK, accumulate=parts, precision="float32")
        pf.fit(recipe, data, steps=3, out=tmp_path / str(parts), seed=0)
        finals.append(final_state(tmp_path / str(parts))[0]["method"])
    if name in SEEN_BY_PARTS:
        # estimates of singular vectors move once for every part, and far while they are young
        for key in {key for key in finals[0] if not key.endswith(("._u", "._v"))}:
            torch.testing.assert_close(finals[0][key], finals[1][key], rtol=0.1, atol=0.03)
        return
    # pairing cancels the critic's last bias: its gradient is rounding, which Adam blows up
    for key in {key for key in finals[0] if not (key.startswith("critic.") and key.endswith("leave.bias"))}:
        torch.testing.assert_close(finals[0][key], finals[1][key], rtol=1e-3, atol=2e-5)


def test_a_run_is_saved_before_its_first_step(tmp_path):
    """And a trainer that has not begun costs no checkpoint."""
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=3, out=tmp_path / "run")
    assert checkpoint.latest(tmp_path / "run" / "checkpoints") is None
    trainer.advance(1e-9)
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").name == "step_000000"
    trainer.close()
    assert reopen(tmp_path / "run", data=data).clock.step == 0


def test_a_method_handed_over_resumes_with_its_own_weights(tmp_path):
    """Its weights come from no seed: without the checkpoint of step 0 they would be lost."""
    data = space_data((2,), labels=False)
    handed_over = lambda: trained_a_little(recipe_for("flow", data).method)  # noqa: E731
    whole = pf.fit(handed_over(), data, steps=3, out=tmp_path / "whole")
    prepare(handed_over(), data, steps=3, out=tmp_path / "cut").advance(1e-9)
    pf.resume(tmp_path / "cut", data=data)
    assert_same(final_state(whole.folder), final_state(tmp_path / "cut"))


def trained_a_little(method):
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.01)
    return method


def test_dropout_is_repeated_and_resumed(tmp_path):
    """A U-Net drops features by a function, not by a module that a search would find."""
    data = space_data((1, 8, 8), labels=False)
    recipe = lambda: dropping(recipe_for("flow", data, batch=16))  # noqa: E731
    for number in range(2):
        torch.manual_seed(number)
        pf.fit(recipe(), data, steps=4, out=tmp_path / str(number))
    assert_same(final_state(tmp_path / "0"), final_state(tmp_path / "1"))
    trainer = prepare(recipe(), data, steps=4, out=tmp_path / "cut", checkpoint_every=2)
    trainer.advance(1e-9)
    trainer.advance(1e-9)
    trainer.close()
    torch.manual_seed(9)
    pf.resume(tmp_path / "cut", data=data)
    assert_same(final_state(tmp_path / "0"), final_state(tmp_path / "cut"))


def dropping(recipe):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet.sized("tiny", shape=(1, 8, 8), dropout=0.3)
    old = recipe.method.denoiser
    method = Denoising(Denoiser(network, old.path, old.prediction, old.space))
    return dataclasses.replace(recipe, method=method)


def test_every_part_plays_to_its_end(tmp_path):
    """What follows the last yield runs in each part of a batch."""
    data = space_data((2,), labels=False, n=300)
    trainer = prepare(recipe_for("flow", data, batch=2 * BLOCK, accumulate=2), data, steps=1, out=tmp_path / "run")
    losses, ended = trainer.method.losses, []

    def counted(batch, now):
        yield from losses(batch, now)
        ended.append(len(batch.x))

    trainer.method.losses = counted
    trainer.advance()
    assert ended == [BLOCK, BLOCK]


def test_a_batch_is_kept_as_long_as_its_method_asks_and_draws_are_fresh_each_step(tmp_path):
    data = space_data((2,), labels=False, n=300)
    trainer = prepare(pf.recipes.flow(data.space, "tiny", coupling="ot", reuse=2), data, steps=4, out=tmp_path / "run")
    losses, rows, drawn = trainer.method.losses, [], []

    def noted(batch, now):
        rows.append(batch.x.clone())
        drawn.append(now.draws.stream("noted").uniform())
        return losses(batch, now)

    trainer.method.losses = noted
    trainer.advance()
    assert [torch.equal(a, b) for a, b in itertools.pairwise(rows)] == [True, False, True]
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(drawn))


def test_seeds_change_runs_and_equal_seeds_repeat_them(tmp_path):
    data = space_data((2,), labels=False)
    finals = []
    for i, seed in enumerate((0, 0, 1)):
        pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / str(i), seed=seed)
        finals.append(final_state(tmp_path / str(i))[0]["method"]["denoiser.network.enter.weight"])
    assert torch.equal(finals[0], finals[1])
    assert not torch.equal(finals[0], finals[2])


def test_a_finished_run_is_extended_not_repeated(tmp_path):
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("vae", data), data, steps=3, out=tmp_path / "run")
    assert pf.resume(tmp_path / "run", data=data).state["step"] == 3
    assert pf.resume(tmp_path / "run", data=data, steps=5).state["step"] == 5
    assert [row["step"] for row in pf.load(tmp_path / "run").losses()] == [1, 2, 3, 4, 5]


def test_init_starts_from_another_runs_average(tmp_path):
    data = space_data((2,), labels=False)
    first = pf.fit(recipe_for("flow", data), data, steps=3, out=tmp_path / "first")
    trainer = prepare(recipe_for("flow", data), data, steps=3, out=tmp_path / "second", init=tmp_path / "first")
    for name, tensor in first.method.state_dict().items():
        assert torch.equal(trainer.method.state_dict()[name], tensor)


def test_the_average_is_the_stated_one():
    data = space_data((2,), labels=False)
    method = recipe_for("flow", data).method
    average = Average(method, half_life=100, share=0.5)
    parameter, mine = next(method.parameters()), next(average.method.parameters())
    expected = mine.clone()
    for step in range(1, 6):
        with torch.no_grad():
            parameter.add_(step)
        average.update(samples=40 * step, batch=40)
        weight = 1 - 0.5 ** (40 / min(100, 0.5 * 40 * step))
        expected = expected + weight * (parameter.detach() - expected)
        torch.testing.assert_close(mine, expected)


def test_buffers_are_averaged_and_counts_copied():
    data = space_data((2,), labels=False)
    method = recipe_for("flow", data).method
    method.denoiser.network.norm = torch.nn.BatchNorm1d(2)
    average = Average(method, half_life=1e9, share=1.0)
    norm, mine = method.denoiser.network.norm, average.method.denoiser.network.norm
    norm.running_mean += 1
    norm.num_batches_tracked += 7
    average.update(samples=100, batch=50)
    torch.testing.assert_close(mine.running_mean, torch.full((2,), 1 - 0.5**0.5))
    assert mine.num_batches_tracked == 7


def test_the_rate_rises_stays_and_falls():
    clock = Clock(Budget(steps=1000), 1)
    rates = []
    while not clock.done:
        rates.append(clock.rate(warmup=100, decay=1 / 3, end=0.1))
        clock.tick(0.01)
    assert rates[0] == pytest.approx(0.01)
    assert rates[99:660] == pytest.approx([1.0] * 561)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert np.all(np.diff(rates[667:]) < 0)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("60s", 60), ("10m", 600), ("1.5h", 5400), (12, 12)])
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
        lambda: Budget.count("-3"),
        lambda: Budget(),
        lambda: Budget(steps=1, samples=2),
        lambda: Budget(steps=0),
    ],
)
def test_bad_budgets(wrong):
    with pytest.raises(UsageError):
        wrong()


def test_a_lower_case_m_is_no_count():
    with pytest.raises(UsageError, match=r"write 2M for 2 million; minutes are a budget: `seconds=120`"):
        Budget.count("2m")


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


def test_weights_that_are_not_finite_stop_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=9, out=tmp_path / "run", checkpoint_every=2)
    trainer.advance(1e-9)
    trainer.advance(1e-9)
    trainer.average.update = lambda *samples: next(trainer.average.method.parameters()).data.fill_(math.nan)
    with pytest.raises(Diverged, match=r"averaged weights .* not finite after step 4"):
        trainer.advance()
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").name == "step_000002"


def test_a_short_budget_is_saved_in_quarters(tmp_path, monkeypatch):
    saved, save, tick = [], Trainer.save, Clock.tick
    monkeypatch.setattr(Clock, "tick", lambda self, seconds: tick(self, 1.0))
    monkeypatch.setattr(Trainer, "save", lambda self, **how: (saved.append(self.clock.step), save(self, **how))[1])
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, seconds=8, out=tmp_path / "run")
    assert saved == [0, 2, 4, 6, 8]


def test_a_picture_of_a_toy_shows_real_rows_in_any_order(tmp_path, monkeypatch, usual):
    """Held-out examples may come sorted: the first of them are no sample."""
    drawn, picture = [], pictures.scatter_picture
    monkeypatch.setattr(pictures, "scatter_picture", lambda x, real, **how: (drawn.append(real), picture(x, real, **how))[1])
    data = pf.data.load("moons")
    order = np.argsort(data.held_out.x[:, 0])
    data = dataclasses.replace(data, held_out=data.held_out.take(order))
    pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / "run")
    spread = data.held_out.x[:, 0].std()
    assert drawn
    assert all(abs(real[:, 0].std() / spread - 1) < 0.1 for real in drawn)


def run_folder(tmp_path, steps=4, every=2):
    """A copy of a run that is trained once, with its data."""
    data, prepared = space_data((2,), labels=False), tmp_path.parent / f"made-{steps}-{every}"
    if not prepared.exists():
        pf.fit(recipe_for("flow", data), data, steps=steps, out=prepared, checkpoint_every=every)
    return Path(shutil.copytree(prepared, tmp_path / "run")), data


@pytest.mark.parametrize(
    "name", ["method.safetensors", "average.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]
)
@pytest.mark.parametrize("fault", ["cut", "flip", "delete"])
def test_damage_is_found_before_anything_starts(name, fault, tmp_path):
    folder, data = run_folder(tmp_path)
    path = folder / "checkpoints" / "step_000004" / name
    content = bytearray(path.read_bytes())
    if fault == "delete":
        path.unlink()
    else:
        content[len(content) // 2] ^= 4 if fault == "flip" else 0
        path.write_bytes(content if fault == "flip" else content[: len(content) // 2])
    with pytest.raises(CheckpointError):
        pf.load(folder)
    with pytest.raises(CheckpointError):
        pf.resume(folder, data=data, steps=6)
    assert pf.resume(folder, data=data, steps=6, checkpoint="step_000002").state["step"] == 6


def test_old_checkpoints_go_and_two_stay(tmp_path):
    folder, _ = run_folder(tmp_path, steps=9, every=2)
    assert [path.name for path in sorted((folder / "checkpoints").glob("step_*"))] == ["step_000008", "step_000009"]


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    folder, data = run_folder(tmp_path)
    before, spec = final_state(folder), (folder / "spec.json").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for part in ("_flush", "fill"):
        trainer = reopen(folder, data=data, steps=6)
        monkeypatch.setattr(checkpoint, part, full)
        with pytest.raises(CheckpointError, match="No space left"):
            trainer.advance()
        with pytest.raises(CheckpointError, match="No space left"):
            pf.resume(folder, data=data, steps=9 if part == "_flush" else 6)
        monkeypatch.undo()
        assert not list(folder.rglob(".tmp*"))
        assert_same(final_state(folder), before)
        assert (folder / "spec.json").read_bytes() != spec
    assert pf.resume(folder, data=data).state["step"] == 6


def test_an_extension_is_kept_when_it_is_killed(tmp_path):
    folder, data = run_folder(tmp_path)
    reopen(folder, data=data, steps=9).advance(1e-9)
    assert pf.resume(folder, data=data).state["step"] == 9
    content = json.loads((folder / "spec.json").read_text())
    assert content["budget"]["steps"] == 9
    assert [(extension["step"], extension["budget"]["steps"]) for extension in content["extended"]] == [(4, 4)]


def test_an_extension_in_seconds_keeps_its_settled_number_of_steps(tmp_path):
    """Before it is settled, the number of steps of the shorter budget must not come back; from then on it must."""
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, seconds=1e-3, out=tmp_path / "run")
    trainer.advance()
    first = trainer.clock.total
    trainer = reopen(tmp_path / "run", data=data, seconds=1e6)
    assert trainer.clock.total is None
    trainer.close()
    trainer = reopen(tmp_path / "run", data=data)
    assert trainer.clock.total is None
    assert not trainer.done
    trainer.clock.stages = [Stage(first, 0.5, first + 7)]
    trainer.save()
    trainer.close()
    trainer = reopen(tmp_path / "run", data=data)
    assert trainer.clock.total == first + 7


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """Loss and gradient are finite, and the update is not."""
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=6, out=tmp_path / "run", checkpoint_every=2)
    while trainer.clock.step < 5:
        trainer.advance(1e-9)
    trainer.players["denoiser"].lr = math.inf
    with pytest.raises(Diverged, match=r"weights .* not finite after step 5.*keeps step 4"):
        trainer.advance()
    assert [(rollback.at, rollback.step) for rollback in trainer.recovery.rollbacks] == [(6, 4)]
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").name == "step_000004"


def test_a_broken_training_leaves_the_others_theirs(tmp_path):
    """One model diverges: the rest finish, and the fallen one is judged at its last checkpoint, with a warning."""
    data = space_data((2,), labels=False)
    trainers = [
        prepare(recipe_for(name, data), data, steps=5, out=tmp_path / name, checkpoint_every=2)
        for name in ("vae", "flow", "ddpm")
    ]
    broken = trainers[1]
    while broken.clock.step < 3:
        broken.advance(1e-9)
    broken.average.update = lambda *samples: next(broken.average.method.parameters()).data.fill_(math.nan)
    runs = train_in_turns(trainers, turn=1e-9)
    assert [(run.name, run.state["step"]) for run in runs] == [("vae", 5), ("flow", 2), ("ddpm", 5)]
    assert [len(run.warnings) for run in runs] == [0, 1, 0]
    assert "not finite" in runs[1].warnings[0]
    assert "step 2" in runs[1].warnings[0]
    assert torch.isfinite(runs[1].transport.sample(4)).all()
    result, _ = Judge(data, repeats=1).judge("flow", runs[1], curve=False)
    assert result.warnings == runs[1].warnings


def test_if_all_models_fall_the_comparison_does(tmp_path):
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for(name, data), data, steps=3, out=tmp_path / name) for name in ("vae", "flow")]
    for trainer in trainers:
        with torch.no_grad():
            next(trainer.method.parameters()).fill_(math.nan)
    with pytest.raises(Diverged):
        train_in_turns(trainers)


def test_a_disk_that_refuses_one_model_leaves_the_others_saved_and_free(tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for(name, data), data, steps=9, out=tmp_path / name) for name in ("vae", "flow")]

    def full():
        raise CheckpointError("disk full")

    monkeypatch.setattr(trainers[1], "_advance_once", full)
    with pytest.raises(CheckpointError, match="disk full"):
        train_in_turns(trainers, turn=1e-9)
    for name in ("vae", "flow"):
        hold(tmp_path / name).release()
    assert pf.load(tmp_path / "vae").state["step"] == 1


def test_changed_data_is_refused(tmp_path):
    folder, _ = run_folder(tmp_path)
    other = space_data((2,), labels=False, seed=5)
    with pytest.raises(DataError, match="changed"):
        pf.resume(folder, data=other, steps=6)


def test_a_missing_run_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no run"):
        pf.load(tmp_path)


def test_an_existing_folder_is_not_written_to(tmp_path):
    folder, data = run_folder(tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        pf.fit(recipe_for("flow", data), data, steps=2, out=folder)


def test_runs_hold_no_pickle(tmp_path):
    folder, _ = run_folder(tmp_path)
    endings = {path.suffix for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert endings <= {".json", ".jsonl", ".safetensors", ".npz", ".png"}
    json.loads((folder / "spec.json").read_text())


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


def other(space, **changes):
    return dataclasses.replace(space, **changes)


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


@pytest.mark.parametrize(
    ("change", "sound"),
    [
        (lambda spec: spec["training"].update(lr=0.5), True),
        (lambda spec: spec["training"].update(batchh=5), False),
        (lambda spec: spec.update(seed=4), True),
        (lambda spec: spec["method"].update(steps=7), True),
        (lambda spec: spec["method"].update(stepz=7), False),
        (lambda spec: spec.update(method={"part": "Linear"}), False),
        (lambda spec: spec.pop("recipe"), False),
        (lambda spec: spec.update(plugins=[{}]), False),
    ],
)
@pytest.mark.parametrize("hashed", [True, False])
def test_a_changed_spec_is_refused(change, sound, hashed, tmp_path, monkeypatch):
    """By its hash; and, where a checkpoint holds none, without a bug's traceback if it cannot be read."""
    if not hashed:
        monkeypatch.setattr("pushforward.training.run.check_spec", lambda *_: None)
        monkeypatch.setattr("pushforward.training.taking_up.check_spec", lambda *_: None)
    folder, data = run_folder(tmp_path)
    spec = json.loads((folder / "spec.json").read_text())
    change(spec)
    (folder / "spec.json").write_text(json.dumps(spec))
    for use in (lambda: pf.load(folder), lambda: pf.resume(folder, data=data)):
        with pytest.raises(CheckpointError) if hashed or not sound else contextlib.nullcontext():
            use()


def test_a_run_of_another_format_is_refused_by_its_number(tmp_path):
    folder, data = run_folder(tmp_path)
    spec = json.loads((folder / "spec.json").read_text())
    with pytest.raises(CheckpointError, match=r"no checkpoint step_000009\. Did you mean .* There are: step_000002, step_000004"):
        pf.load(folder, checkpoint="step_000009")
    for junk, says in (('{"a":', r"spec.json cannot be read: it is no JSON .* Restore it"), ("[1]", "no format. Restore it")):
        (folder / "spec.json").write_text(junk)
        with pytest.raises(CheckpointError, match=says):
            pf.load(folder)
    (folder / "spec.json").write_text(json.dumps(spec | {"format_version": 1}))
    for use in (lambda: pf.load(folder), lambda: pf.resume(folder, data=data)):
        with pytest.raises(CheckpointError, match=r"is of format 1, and this version reads \d: use the version that trained it"):
            use()


@pytest.mark.parametrize(
    "manifest", [[], {}, {"files": []}, {"files": {"state.json": {}}}, {"files": {"state.json": 3}}, {"files": None}]
)
def test_a_malformed_manifest_is_damage(manifest, tmp_path):
    folder, _ = run_folder(tmp_path)
    path = folder / "checkpoints" / "step_000004" / "MANIFEST.json"
    whole = json.loads(path.read_text())
    if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
        manifest = {**whole, "files": {**whole["files"], **manifest["files"]}}
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged"):
        pf.load(folder)


@pytest.mark.parametrize("budget", [None, {"stepz": 4}, {}, {"steps": "4"}, {"steps": -4}])
def test_a_malformed_budget_is_damage(budget, tmp_path):
    folder, data = run_folder(tmp_path)
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"budget": budget}))
    with pytest.raises(CheckpointError, match="budget"):
        pf.resume(folder, data=data)


def test_a_state_that_says_too_little_is_damage(tmp_path):
    folder, _ = run_folder(tmp_path)
    inside = folder / "checkpoints" / "step_000004"
    (inside / "state.json").write_text('{"step": 4}')
    manifest = json.loads((inside / "MANIFEST.json").read_text())
    content = (inside / "state.json").read_bytes()
    manifest["files"]["state.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (inside / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="samples"):
        pf.load(folder)


def test_a_torn_log_is_read_and_mended(tmp_path):
    folder, data = run_folder(tmp_path)
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines()
    torn = [lines[0], lines[1][:20], lines[1][:9] + "}", "[1]}", "{}", lines[2], lines[3][: len(lines[3]) // 2]]
    path.write_text("\n".join(torn))
    assert [row["step"] for row in pf.load(folder).losses()] == [1, 3]
    pf.resume(folder, data=data, steps=6)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3, 5, 6]


def test_a_log_that_cannot_be_read_or_written_is_a_disk_error(tmp_path, monkeypatch):
    folder, data = run_folder(tmp_path)
    path = folder / "metrics.jsonl"
    before = path.read_text()
    monkeypatch.setattr(checkpoint.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match="No space left"):
        pf.resume(folder, data=data, checkpoint="step_000002")
    monkeypatch.undo()
    assert path.read_text() == before
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        pf.load(folder).losses()


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("step_*"))


def test_after_an_older_checkpoint_later_ones_go(tmp_path):
    """Of the run that was given up nothing may be taken for the newest, nor kept in a whole one's place."""
    folder, data = run_folder(tmp_path, steps=9, every=3)
    assert names(folder) == ["step_000006", "step_000009"]
    damaged = folder / "checkpoints" / "step_000009" / "method.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    trainer = reopen(folder, data=data, checkpoint="step_000006")
    assert names(folder) == ["step_000006", "step_000009"]
    trainer.advance(1e-9)
    trainer.finish()
    assert names(folder) == ["step_000006", "step_000007"]
    assert checkpoint.latest(folder / "checkpoints").name == "step_000007"
    assert pf.resume(folder, data=data, steps=12).state["step"] == 12
    assert names(folder) == ["step_000009", "step_000012"]
    assert [row["step"] for row in pf.load(folder).losses()] == list(range(1, 13))


def test_the_newest_checkpoint_is_the_one_written_last(tmp_path):
    folder, _ = run_folder(tmp_path)
    inside = folder / "checkpoints"
    pointer = inside / "latest.json"
    pointer.write_text('{"checkpoint": "step_000002"}')
    assert checkpoint.latest(inside).name == "step_000002"
    for text in ('{"checkpoint": "../checkpoints"}', '{"checkpoint": "step_000003"}', "[]", "{", '{"checkpoint": 4}'):
        pointer.write_text(text)
        assert checkpoint.latest(inside).name == "step_000004"
    pointer.unlink()
    weights = inside / "step_000004" / "method.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert checkpoint.latest(inside).name == "step_000002"


def test_memory_is_each_runs_own(tmp_path):
    """What the process held before a run's steps is not the run's."""
    if not os.path.exists("/proc/self/clear_refs"):
        pytest.skip("only Linux counts again")
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for("flow", data), data, steps=3, out=tmp_path / str(i)) for i in range(2)]
    losses, large = trainers[0].method.losses, 400

    def greedy(batch, now):
        torch.ones(large * 2**18)
        yield from losses(batch, now)

    trainers[0].method.losses = greedy
    for trainer in trainers:
        trainer.advance()
    first, second = (pf.load(tmp_path / str(i)).state["peak_memory_mb"] for i in range(2))
    assert first > second + large / 2
    assert reopen(tmp_path / "0", data=data, steps=4).saver.peak / 2**20 == pytest.approx(first)


def test_memory_is_told_where_the_kernel_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PROC", tmp_path / "nothing")
    memory.reset_peak()
    assert memory.peak_memory() > 2**20
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak_memory() == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ema": -5}, "ema"),
        ({"ema_share": -0.1}, "ema_share"),
        ({"schedule": {"warmup": -1}}, "warmup"),
        ({"schedule": {"lr_end": math.nan}}, "lr_end"),
        ({"lr": math.nan}, "learning rate"),
        ({"lr": math.inf}, "learning rate"),
        ({"clip": 0}, "clip"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"players": {"critic": {"lrr": 1e-3}}}, 'Did you mean "lr"'),
        ({"players": {"critic": {"lr": 0}}}, "critic"),
        ({"players": {"critc": {"lr": 1e-3}}}, 'Did you mean "critic"'),
    ],
)
def test_training_settings_are_checked(given, says):
    recipe = recipe_for("gan", space_data((2,), labels=False))
    with pytest.raises(UsageError, match=says):
        dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **given))


def test_a_label_may_be_called_opaque(tmp_path):
    """Weights are drawn from the seed whatever the words in the spec."""
    data = space_data((2,), labels=True)
    data = dataclasses.replace(
        data, space=other(data.space, conditions={"label": Label(("opaque", "b", "c"), (0.5, 0.25, 0.25))})
    )
    weights = []
    for seed in (0, 1):
        trainer = prepare(recipe_for("flow", data), data, steps=1, out=tmp_path / str(seed), seed=seed)
        weights.append(next(trainer.method.parameters()).detach().clone())
    assert not torch.equal(*weights)


def trained_by_command(tmp_path, monkeypatch, *words):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words, "--out", "first"]) == 0
    return pf.load("first")


def repeated(run):
    """The state that a run's own commands lead to."""
    for number, line in enumerate(commands(run)):
        program, *words = shlex.split(line)
        assert program == "pushforward"
        output = ["--out", f"{run.folder}-again"] if number == 0 and "--out" not in words else []
        assert main([*words, *output]) == 0
    return final_state(Path(f"{run.folder}-again"))


def test_a_runs_command_repeats_it(tmp_path, monkeypatch):
    """Every setting that the command line takes has a part in what is trained, or in what is stored."""
    rows = np.random.default_rng(0).integers(0, 256, size=(90, 10, 12), dtype=np.uint8)
    np.savez(tmp_path / "my images.npz", x=rows, y=np.arange(90) % 3)
    words = ["vae", "--data", "my images.npz", "--resize", "8", "--limit", "70", "--condition", "none", "--size", "tiny"]
    words += ["--steps", "3", "--batch", "128", "--accumulate", "2", "--lr", "0.002", "--ema", "700", "--precision", "float32"]
    words += ["--augment", "flip,shift", "--checkpoint-every", "2", "--latent-size", "5", "--seed", "3"]
    run = trained_by_command(tmp_path, monkeypatch, *words)
    assert_same(final_state(run.folder), repeated(run))
    again = pf.load(f"{run.folder}-again")
    assert again.spec == run.spec


def test_an_extended_runs_commands_repeat_it(tmp_path, monkeypatch):
    run = trained_by_command(tmp_path, monkeypatch, "flow", "--data", "moons", "--size", "tiny", "--steps", "2")
    assert main(["train", "flow", "--data", "moons", "--size", "tiny", "--steps", "2", "--init", "first", "--out", "second"]) == 0
    assert main(["resume", "second", "--steps", "4"]) == 0
    run = pf.load("second")
    assert [line.split()[1] for line in commands(run)] == ["train", "resume"]
    assert_same(final_state(run.folder), repeated(run))


def test_a_run_from_python_says_that_no_command_repeats_it(tmp_path):
    folder, _ = run_folder(tmp_path)
    assert commands(pf.load(folder))[0].startswith("# ")
    recipe = pf.recipes.flow(pf.data.load("moons").space, "tiny")
    run = pf.fit(recipe, pf.data.load("moons"), steps=1, out=tmp_path / "moons")
    assert commands(run)[0].startswith("# ")


def test_runs_with_and_without_labels_are_compared(tmp_path):
    """The same rows and split; other rows are refused, by the fingerprint of older runs as well."""
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
    del runs["False"].spec["examples_fingerprint"]
    check_model("run", runs["False"], data)
    with pytest.raises(UsageError, match="other data"):
        check_model("run", runs["False"], strange)


def test_cases_of_the_law_are_all_spaces():
    assert len(CASES) == 10
