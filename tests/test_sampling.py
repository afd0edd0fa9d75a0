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
    interval = (0.2, 5.0)
    options = {"solver": "heun", "steps": 3, "grid": "karras", "scale": 3.0, "interval": interval}
    configured = configure(flow, weaker=weaker, weaker_scale=1.5, threshold=0.9, **options)
    guided = pf.Guided(flow.denoiser, 3.0, interval)
    autoguided = pf.Autoguided(guided, weaker, 1.5, interval)
    built = pf.Flow(pf.Thresholded(autoguided, 0.9), pf.solvers.Heun(), 3, "karras")
    samples = configured.sample(4, seed=7)
    assert torch.equal(samples, built.sample(4, seed=7))
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
    flow = runs["flow"].transport
    times = [0.9, 0.5, 0.2, 0.0]
    asked = []

    def grids(steps, solver):
        asked.append((steps, type(solver).__name__))
        if steps == 3:
            return times
        return None

    def grid(**options):
        return configure(flow, grids=grids, **options).grid

    assert grid(steps=3) == times
    assert asked == [(3, "DPM")]
    assert grid(steps=3, scale=2.0, grid="learned") == times
    assert grid(steps=3, scale=2.0) == flow.grid
    assert grid(steps=4) == flow.grid
    assert grid(steps=3, grid="time") == "time"
    assert grid(solver="heun") is None
    with pytest.raises(UsageError, match="pushforward tune the transport --steps 5 --solver heun"):
        grid(grid="learned", steps=5, solver=pf.solvers.Heun())


def test_given_times_stand_for_their_own_number_of_steps(runs):
    flow = runs["flow"].transport.with_solver("heun", 2, [0.9, 0.4, 0.0])
    assert configure(flow, scale=2.0).grid == [0.9, 0.4, 0.0]
    assert configure(flow, steps=4).grid is None


REFUSED = [
    ({"truncation": 1.0}, "iterative model"),
    ({"interval": (0.2, 5)}, "`scale` or `weaker`"),
    ({"weaker_scale": 2.0}, "weaker=RUN"),
    ({"steps": 0}, "at least 1"),
    ({"stesp": 3}, 'Did you mean "steps"'),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(runs, options, says):
    with pytest.raises(UsageError, match=says):
        configure(runs["flow"].transport, **options)


def test_models_that_sample_in_one_call_take_truncation_but_no_steps(runs):
    gan = runs["gan"].transport
    with pytest.raises(UsageError, match=r"samples in one call.*`steps`, `scale`"):
        configure(gan, steps=3, scale=2.0)
    samples = configure(gan, truncation=0.5).sample(3)
    expected = pf.editing.Truncated(gan, 0.5).sample(3)
    assert torch.equal(samples, expected)


def test_a_run_samples_with_the_same_options(runs):
    run = runs["flow"]
    few = run.configured(steps=3, solver="heun")
    samples = run.sample(4, {"label": 3}, seed=5, steps=3, solver="heun")
    assert torch.equal(samples, few.sample(4, {"label": 3}, seed=5))
    assert run.transport.steps == 25
    assert few.transport.steps == 3
    assert few.folder == run.folder
    assert run.seen.names == ()
    assert few.seen.names == ()


def test_a_run_can_be_guided_by_a_run(runs):
    run = runs["flow"]
    other = runs["gan"]
    guided = run.configured(weaker=run.folder, weaker_scale=3.0, steps=3)
    by_denoiser = run.configured(weaker=run.denoiser, weaker_scale=3.0, steps=3)
    assert torch.equal(guided.sample(2), by_denoiser.sample(2))
    assert str(run.folder) in guided.seen.names
    with pytest.raises(UsageError, match="one-call"):
        run.sample(1, weaker=other)
    with pytest.raises(UsageError, match=f"{other.folder} samples in one call.*`solver`"):
        other.sample(1, solver="heun")


def test_every_option_of_the_library_is_one_of_the_command_line():
    from pushforward.cli.options import Guiding, Solving

    options = Solving.__dataclass_fields__.keys() | Guiding.__dataclass_fields__.keys()
    assert set(Sampling.__annotations__) == options


def test_samples_are_tensors_that_can_be_drawn(runs):
    gan = runs["gan"]
    x = gan.sample(9)
    assert isinstance(x, Samples)
    assert x.shape == (9, 1, 8, 8)
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() <= 1
    for other in (x + 1, x.mean(0), x[0]):
        assert type(other) is torch.Tensor
    first = x[:4]
    assert type(first) is Samples
    pixels = np.asarray(first.to_pil(columns=2, zoom=1))
    second_image = gan.space.quantise(x)[1, ..., 0]
    np.testing.assert_array_equal(pixels[:8, 9:], second_image)
    copy = pickle.loads(pickle.dumps(x))
    assert torch.equal(copy, x)


def test_a_cell_that_names_its_folder_runs_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"steps": 1, "size": "tiny", "out": "mine", "overwrite": True}
    first = pf.fit("vae", "moons", **options).sample(2)
    again = pf.fit("vae", "moons", **options).sample(2)
    assert torch.equal(again, first)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="overwrite=True"):
        pf.fit("vae", "moons", steps=1, size="tiny", out="mine")
    with pytest.raises(UsageError, match="flop"):
        pf.fit("vae", "moons", **options, augment="flop")
    kept = pf.load("mine").sample(2)
    assert torch.equal(kept, first), "a training that cannot be set up replaces nothing"


def test_a_folder_that_is_not_a_run_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="already"):
        pf.fit("vae", "moons", steps=1, size="tiny", out=tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


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
