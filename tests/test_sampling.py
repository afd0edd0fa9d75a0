"""Choosing how a trained transport is sampled, in the library: the command line only reads the options."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.pictures import scatter_picture
from pushforward.samples import Samples, Sampling, configure


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {name: pf.fit(name, "digits", steps=2, size="tiny", out=folder / name) for name in ("flow", "gan")}


def test_options_give_the_flow_that_is_built_by_hand(runs):
    flow = runs["flow"].transport
    weaker = pf.recipes.flow("digits", "tiny").method.transport().denoiser
    options = {"solver": "heun", "steps": 3, "grid": "karras", "scale": 3.0, "interval": (0.2, 5.0)}
    configured = configure(flow, weaker=weaker, weaker_scale=1.5, threshold=0.9, **options)
    guided = pf.Autoguided(pf.Guided(flow.denoiser, 3.0, (0.2, 5.0)), weaker, 1.5, (0.2, 5.0))
    built = pf.Flow(pf.Thresholded(guided, 0.9), pf.solvers.Heun(), 3, "karras")
    assert torch.equal(configured.sample(4, seed=7), built.sample(4, seed=7))
    assert configured.calls == built.calls
    assert configure(flow) is flow
    assert configure(flow, steps=None, scale=None) is flow


def test_learned_times_are_used_for_unguided_steps_alone(runs):
    times, asked = [0.9, 0.5, 0.2, 0.0], []

    def grids(steps, solver):
        asked.append((steps, type(solver).__name__))
        return times if steps == 3 else None

    def grid(**options):
        return configure(runs["flow"].transport, grids=grids, **options).grid

    assert grid(steps=3) == times
    assert asked == [(3, "DPM")]
    assert grid(steps=3, scale=2.0, grid="learned") == times
    own = runs["flow"].transport.grid
    assert [grid(steps=3, scale=2.0), grid(steps=4), grid(steps=3, grid="time")] == [own, own, "time"]
    assert grid(solver="heun") is None
    with pytest.raises(UsageError, match="pushforward tune the transport --steps 5 --solver heun"):
        grid(grid="learned", steps=5, solver=pf.solvers.Heun())


def test_given_times_stand_for_their_own_number_of_steps(runs):
    flow = runs["flow"].transport.with_solver("heun", 2, [0.9, 0.4, 0.0])
    assert configure(flow, scale=2.0).grid == [0.9, 0.4, 0.0]
    assert configure(flow, steps=4).grid is None


def test_what_does_not_fit_is_refused_by_name(runs):
    flow, gan = runs["flow"].transport, runs["gan"].transport
    for transport, options, says in (
        (gan, {"steps": 3, "scale": 2.0}, "`steps`, `scale`: the transport holds a model that makes a sample in one call"),
        (flow, {"truncation": 1.0}, "iterative model"),
        (flow, {"interval": (0.2, 5)}, "`scale` or `weaker`"),
        (flow, {"weaker_scale": 2.0}, "weaker=RUN"),
        (flow, {"steps": 0}, "at least 1"),
        (flow, {"stesp": 3}, 'Did you mean "steps"'),
    ):
        with pytest.raises(UsageError, match=says):
            configure(transport, **options)
    assert torch.equal(configure(gan, truncation=0.5).sample(3), pf.editing.Truncated(gan, 0.5).sample(3))


def test_a_run_samples_with_the_same_options(runs):
    run, other = runs["flow"], runs["gan"]
    few = run.configured(steps=3, solver="heun")
    assert torch.equal(run.sample(4, {"label": 3}, seed=5, steps=3, solver="heun"), few.sample(4, {"label": 3}, seed=5))
    assert (run.transport.steps, few.transport.steps, few.folder) == (25, 3, run.folder)
    guided = run.configured(weaker=run.folder, weaker_scale=3.0, steps=3)
    assert torch.equal(guided.sample(2), run.configured(weaker=run.denoiser, weaker_scale=3.0, steps=3).sample(2))
    assert str(run.folder) in guided.seen.names
    assert run.seen.names == few.seen.names == ()
    with pytest.raises(UsageError, match="one-call"):
        run.sample(1, weaker=other)
    with pytest.raises(UsageError, match=f"`solver`: {other.folder} holds"):
        other.sample(1, solver="heun")


def test_every_option_of_the_library_is_one_of_the_command_line():
    from dataclasses import fields

    from pushforward.cli.options import Guiding, Solving

    assert set(Sampling.__annotations__) == {field.name for group in (Solving, Guiding) for field in fields(group)}


def test_samples_are_tensors_that_can_be_drawn(runs):
    x = runs["gan"].sample(9)
    assert isinstance(x, Samples)
    assert (x.shape, x.dtype, x.min() >= 0, x.max() <= 1) == ((9, 1, 8, 8), torch.float32, True, True)
    assert type(x + 1) is type(x.mean(0)) is type(x[0]) is torch.Tensor
    assert type(x[:4]) is Samples
    picture = x[:4].to_pil(columns=2, zoom=1)
    pixels = np.asarray(picture)
    assert pixels.shape == (17, 17)
    np.testing.assert_array_equal(pixels[:8, 9:], runs["gan"].space.quantise(x)[1, ..., 0])
    copy = pickle.loads(pickle.dumps(x))
    assert torch.equal(copy, x)
    assert copy.space == x.space
    assert repr(x) == "Samples(9 of 1x8x8, images in data units)"
    assert x._repr_png_()[1:4] == b"PNG"
    assert x[:0]._repr_png_() is None
    with pytest.raises(UsageError, match="n is 0"):
        x[:0].to_pil()


def test_vectors_of_two_numbers_are_drawn_as_points():
    space = pf.data.load("moons").space
    assert Samples.of(torch.rand(9, 2), space).to_pil().size == (560, 560)
    wide = pf.data.from_arrays(np.random.default_rng(0).random((40, 3))).space
    with pytest.raises(UsageError, match="vectors of 2 numbers"):
        Samples.of(torch.rand(9, 3), wide).to_pil()


def test_short_texts_of_runs_and_transports(runs):
    flow, html = runs["flow"].transport, runs["flow"]._repr_html_()
    parameters = f"{sum(p.numel() for p in flow.parameters()):,} parameters"
    beginning = f"Flow(1x8x8 images, 10 classes, {parameters}, velocity on Linear, "
    assert repr(flow) == f"{beginning}25 steps of DPM(order=2) on shifted:0.3)"
    guided = runs["flow"].configured(steps=3, scale=2.0, solver="heun", grid="time").transport
    assert repr(guided) == f"{beginning[:-2]}, Guided, 3 steps of Heun() on time)"
    assert repr(runs["gan"].transport).startswith("Map(1x8x8 images, 10 classes, ")
    for said in (str(runs["flow"].folder), "flow (flow matching)", "digits", "<th style='text-align:left'>step</th>"):
        assert said in html
    assert "25 steps of DPM(order=2)" in flow._repr_html_()
    assert "\n" not in repr(flow)


@pytest.fixture
def notebook(monkeypatch):
    """A stand-in for IPython in a kernel; yields what was displayed and how each of it was updated."""
    shown = []

    class Handle:
        def update(self, value, raw=False):
            shown.append(("updated", value))

    def display(value, raw=False, display_id=None):
        shown.append(("displayed", value))
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, version_info=(9, 0)))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return shown


def test_a_notebook_shows_progress_and_samples(runs, notebook, tmp_path, monkeypatch, capsys):
    clock = types.SimpleNamespace(monotonic=iter(range(1000)).__next__)
    monkeypatch.setattr("pushforward.training.loop.callbacks.time", clock)
    run = pf.fit("vae", "moons", steps=3, size="tiny", out=tmp_path / "a")
    kinds, values = zip(*notebook, strict=True)
    assert kinds == ("displayed", *["updated"] * (len(kinds) - 1))
    assert "value='1.0000'" in values[-1]["text/html"]
    assert "100 %  step 3/3" in values[-1]["text/plain"]
    del notebook[:]
    pf.fit("vae", "moons", steps=3, size="tiny", out=tmp_path / "b", progress=False)
    assert notebook == []
    run.sample(4).show()
    assert [(kind, value.size) for kind, value in notebook] == [("displayed", (560, 560))]
    assert "Traceback" not in capsys.readouterr().err


def test_progress_is_shown_on_a_terminal_or_where_it_is_asked_for(monkeypatch):
    from pushforward.training.loop.callbacks import Silent, watcher_of

    assert isinstance(watcher_of(None), Silent)
    assert isinstance(watcher_of(True), pf.Progress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert isinstance(watcher_of(None), pf.Progress)
    assert isinstance(watcher_of(False), Silent)
    with pytest.raises(UsageError, match="progress=True"):
        pf.fit("flow", "moons", steps=1, progress="yes")


def test_a_cell_that_names_its_folder_runs_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"steps": 1, "size": "tiny", "out": "mine", "overwrite": True}
    first = pf.fit("vae", "moons", **options).sample(2)
    assert torch.equal(pf.fit("vae", "moons", **options).sample(2), first)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="overwrite=True"):
        pf.fit("vae", "moons", steps=1, size="tiny", out="mine")
    with pytest.raises(UsageError, match="flip"):
        pf.fit("vae", "moons", **options, augment="flop")
    assert torch.equal(pf.load("mine").sample(2), first), "a training that cannot be set up replaces nothing"
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").touch()
    with pytest.raises(UsageError, match="exists already"):
        pf.fit("vae", "moons", **{**options, "out": "else"})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["else", "mine"]


def test_numbers_along_the_edges_say_where_points_are():
    points = torch.rand(9, 2).numpy()
    bare, numbered = (np.asarray(scatter_picture(points, size=200, ticks=ticks)) for ticks in (False, True))
    changed = (bare != numbered).any(-1)
    assert changed[:, :40].any()
    assert changed[-20:].any()
    assert not changed[:-25, 60:].any()
