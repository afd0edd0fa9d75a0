"""Choosing how a trained transport is sampled, in the library: the command line only reads the
options.
"""

import pickle
import sys
import types

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.samples import Samples, drawn_from
from pushforward.sampling_options import Sampling, configure
from pushforward.testing import space_data
from pushforward.training.loop.display import Silent, watcher_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: pf.fit(name, "digits", steps=2, size="tiny", out=folder / name)
        for name in ("flow", "gan")
    }


def test_options_give_the_flow_that_is_built_by_hand(runs):
    flow = runs["flow"].transport
    weaker = pf.recipes.flow("digits", "tiny").method.transport().denoiser
    options = {"solver": "heun", "steps": 3, "grid": "karras", "scale": 3.0, "interval": (0.2, 5.0)}
    configured = configure(flow, weaker=weaker, weaker_scale=1.5, threshold=0.9, **options)
    guided = pf.Autoguided(pf.Guided(flow.denoiser, 3.0, (0.2, 5.0)), weaker, 1.5, (0.2, 5.0))
    built = pf.Flow(pf.Thresholded(guided, 0.9), pf.solvers.Heun(), 3, "karras")
    actual = configured.sample(4, seed=7)
    expected = built.sample(4, seed=7)
    assert torch.equal(actual, expected)
    assert configured.calls == built.calls
    assert configure(flow) is flow
    assert configure(flow, steps=None, scale=None) is flow


def test_samples_as_a_person_takes_them_are_those_of_their_seed():
    transport = pf.recipes.gan("digits", "tiny").method.transport()
    drawn = drawn_from(transport, 3, None, seed=5, batch=2)
    actual = drawn.as_subclass(torch.Tensor)
    expected = transport.sample(3, seed=5, batch=2)
    assert torch.equal(actual, expected)


def test_learned_times_are_used_for_unguided_steps_alone(runs):
    times = [0.9, 0.5, 0.2, 0.0]
    asked = []

    def grids(steps, solver):
        asked.append((steps, type(solver).__name__))
        if steps == 3:
            return times
        return None

    def grid(**options):
        return configure(runs["flow"].transport, grids=grids, **options).grid

    assert grid(steps=3) == times
    assert asked == [(3, "DPM")]
    assert grid(steps=3, scale=2.0, grid="learned") == times
    own = runs["flow"].transport.grid
    assert [grid(steps=3, scale=2.0), grid(steps=4), grid(steps=3, grid="time")] == [
        own,
        own,
        "time",
    ]
    assert grid(solver="heun") is None
    with pytest.raises(UsageError, match="pushforward tune the transport --steps 5 --solver heun"):
        grid(grid="learned", steps=5, solver=pf.solvers.Heun())


def test_given_times_stand_for_their_own_number_of_steps(runs):
    flow = runs["flow"].transport.with_solver("heun", 2, [0.9, 0.4, 0.0])
    assert configure(flow, scale=2.0).grid == [0.9, 0.4, 0.0]
    assert configure(flow, steps=4).grid is None


def test_what_does_not_fit_is_refused_by_name(runs):
    flow = runs["flow"].transport
    gan = runs["gan"].transport
    for transport, options, says in (
        (gan, {"steps": 3, "scale": 2.0}, "samples in one call.*`steps`, `scale`"),
        (flow, {"truncation": 1.0}, "iterative model"),
        (flow, {"interval": (0.2, 5)}, "`scale` or `weaker`"),
        (flow, {"weaker_scale": 2.0}, "weaker=RUN"),
        (flow, {"steps": 0}, "at least 1"),
        (flow, {"stesp": 3}, 'Did you mean "steps"'),
    ):
        with pytest.raises(UsageError, match=says):
            configure(transport, **options)
    actual = configure(gan, truncation=0.5).sample(3)
    expected = pf.editing.Truncated(gan, 0.5).sample(3)
    assert torch.equal(actual, expected)


def test_a_run_samples_with_the_same_options(runs):
    run = runs["flow"]
    other = runs["gan"]
    few = run.configured(steps=3, solver="heun")
    actual = run.sample(4, {"label": 3}, seed=5, steps=3, solver="heun")
    expected = few.sample(4, {"label": 3}, seed=5)
    assert torch.equal(actual, expected)
    assert (run.transport.steps, few.transport.steps, few.folder) == (25, 3, run.folder)
    guided = run.configured(weaker=run.folder, weaker_scale=3.0, steps=3)
    expected = run.configured(weaker=run.denoiser, weaker_scale=3.0, steps=3).sample(2)
    assert torch.equal(guided.sample(2), expected)
    assert str(run.folder) in guided.seen.names
    assert run.seen.names == few.seen.names == ()
    with pytest.raises(UsageError, match="one-call"):
        run.sample(1, weaker=other)
    with pytest.raises(UsageError, match=f"{other.folder} samples in one call.*`solver`"):
        other.sample(1, solver="heun")


def test_every_option_of_the_library_is_one_of_the_command_line():
    from dataclasses import fields

    from pushforward.cli.options import Guiding, Solving

    assert set(Sampling.__annotations__) == {
        field.name for group in (Solving, Guiding) for field in fields(group)
    }


def test_samples_are_tensors_that_can_be_drawn(runs):
    x = runs["gan"].sample(9)
    assert isinstance(x, Samples)
    assert (x.shape, x.dtype, x.min() >= 0, x.max() <= 1) == (
        (9, 1, 8, 8),
        torch.float32,
        True,
        True,
    )
    assert type(x + 1) is type(x.mean(0)) is type(x[0]) is torch.Tensor
    assert type(x[:4]) is Samples
    pixels = np.asarray(x[:4].to_pil(columns=2, zoom=1))
    expected = runs["gan"].space.quantise(x)[1, ..., 0]
    np.testing.assert_array_equal(pixels[:8, 9:], expected)
    assert torch.equal(pickle.loads(pickle.dumps(x)), x)


def test_a_cell_that_names_its_folder_runs_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"steps": 1, "size": "tiny", "out": "mine", "overwrite": True}
    first = pf.fit("vae", "moons", **options).sample(2)
    actual = pf.fit("vae", "moons", **options).sample(2)
    assert torch.equal(actual, first)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="overwrite=True"):
        pf.fit("vae", "moons", steps=1, size="tiny", out="mine")
    with pytest.raises(UsageError, match="flop"):
        pf.fit("vae", "moons", **options, augment="flop")
    actual = pf.load("mine").sample(2)
    assert torch.equal(actual, first), "a training that cannot be set up replaces nothing"
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").touch()
    with pytest.raises(UsageError, match="already"):
        pf.fit("vae", "moons", **{**options, "out": "else"})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["else", "mine"]


def test_progress_is_shown_where_a_person_reads_it(monkeypatch):
    assert isinstance(watcher_of(None), Silent)
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(watcher_of(None), pf.Progress)
    assert isinstance(watcher_of(False), Silent)


def test_a_notebook_shows_a_bar_that_is_updated(tmp_path, monkeypatch):
    pages = []
    handles = []

    class Handle:
        def update(self, content, raw):
            pages.append(content["text/html"])

    def display(content, raw, display_id):
        handle = Handle()
        handle.update(content, raw)
        handles.append(handle)
        return handle

    shell = types.SimpleNamespace(kernel=object())
    shown = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    progress = pf.Progress()
    progress.interval = 0
    pf.fit("vae", "moons", size="tiny", steps=3, batch=64, out=tmp_path / "a", progress=progress)
    assert (len(handles), len(pages)) == (1, 3)
    assert pages[0].startswith("a <progress value='0.3333'")
    assert "step 3/3" in pages[-1]


def test_a_notebook_shows_the_parts_of_a_transport():
    space = space_data((2,), labels=False).space
    transport = pf.recipes.flow(space, "tiny").method.transport().with_solver("heun", 7)
    table = transport._repr_html_()
    for text in ("Flow", "vectors of (2,)", "parameters", "Denoiser", "7 steps of heun"):
        assert text in repr(transport)
        assert text in table
