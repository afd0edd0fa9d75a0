"""The page that runs exported models, in Chromium and in Firefox: its noise, its samples, every
control, its way and its walk.

Most models here are graphs in closed form, written by hand: what each input does to x is known.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from programs.tables import wide_space, wide_values

import pushforward as pf
from pushforward.conditions import Label, Numbers
from pushforward.conditions.kind import Request
from pushforward.draws import ExampleDraws, key
from pushforward.editing.interpolation import slerp
from pushforward.errors import UsageError
from pushforward.export.files import Graph, Unlike, describe, showable
from pushforward.export.page import build, write
from pushforward.tables.reading.string_columns import Format
from pushforward.transports import Flow, with_inner

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import browser
import firefox

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

HERE = Path(pf.__file__).parent / "export"
LABELS = Label(("zero", "one", "two", "<b>"), (0.1, 0.2, 0.3, 0.4))
IMAGES = pf.data.ImageSpace((1, 6, 6), (0.3,), (0.38,), (0.0,), (1.0,), {"label": LABELS})
NUMBERS = Numbers(("age", "size"), (2.0, 0.5), (1.0, 1.0))
PLANE = pf.data.VectorSpace((2,), (0.0, 1.0), (1.0, 0.5), conditions={"given": NUMBERS})
HOSTILE = "</script><img src=x onerror=alert(1)>"
STEPS = (1, 2, 4)


def graph(inputs, output, lines):
    text = (
        f'<ir_version: 10, opset_import: ["" : 20]>\nsampler ({inputs}) => ({output}) '
        f"{{\n{lines}\n}}"
    )
    return onnx.parser.parse_model(text).SerializeToString()


SUM = """
  axis = Constant <value_ints = [0]> ()
  end = Constant <value_ints = [3]> ()
  tile = Constant <value_ints = [-1, 1, 1, 1]> ()
  labels = Cast <to = 1> (label)
  count = Cast <to = 1> (steps)
  number = Cast <to = 1> (solver)
  share = Constant <value_float = 0.02> ()
  less = Constant <value_float = 0.01> ()
  low = Constant <value_float = 0.0> ()
  high = Constant <value_float = 1.0> ()
  middle = Constant <value_float = 0.4> ()
  tenth = Constant <value_float = 0.1> ()
  more = Constant <value_float = 0.05> ()
  settings = Sum (labels, scale, count, number)
  level = Mul (settings, share)
  levels = Reshape (level, tile)
  total = ReduceSum <keepdims = 0> (noise, axis)
  from_z = Mul (z, tenth)
  from_noise = Mul (total, more)
  from_decoder = Mul (decoder_noise, less)
  last = Sum (from_z, from_noise, from_decoder, levels, middle)
  begun = Sum (from_z, middle)
  half = Mean (begun, last)
  first_state = Unsqueeze (begun, axis)
  second_state = Unsqueeze (half, axis)
  sample = Unsqueeze (last, axis)
  all = Concat <axis = 0> (first_state, second_state, sample)
  both = Constant <value_ints = [2]> ()
  back = Mul (way, both)
  from = Sub (both, back)
  kept = Slice (all, from, end, axis)
  x = Clip (kept, low, high)"""
"""Beside z and noise: .02 for each number of label, scale, steps and solver; two states stand
before the sample.
"""


@functools.cache
def images(name="flow"):
    """A model of images that draws at every step, and a decoder that draws."""
    flow = pf.recipes.flow(IMAGES, "tiny", network="mlp").method.transport()
    flows = {
        solver: {n: Flow(flow.denoiser, solver, n) for n in STEPS}
        for solver in ("ancestral", "dpm")
    }
    about = describe(flow, flows, {"solver": "dpm", "steps": 2, "scale": 1.0}, name)
    shape = "n,1,6,6"
    inputs = (
        f"float[{shape}] z, int64[n] label, float[n] scale, float[draws,{shape}] noise, "
        f"float[{shape}] decoder_noise, "
    )
    content = graph(f"{inputs}int64 steps, int64 solver, int64 way", f"float[k,{shape}] x", SUM)
    return about | {"decoder_stream": str(key("rows", "sample/decoder"))}, content


def expected(seeds, label, scale, solver, steps, stream="sample"):
    """The states and the samples of `images`, (3, n, 6, 6)."""
    draws = ExampleDraws(seeds, name=stream)
    labels = Request(IMAGES.conditions).values(len(seeds), label, seeds[0])["label"]
    z = draws.normal((1, 6, 6))
    count = images()[0]["draws"][solver][str(steps)]
    noises = sum((draws.normal((1, 6, 6)) for _ in range(count)), torch.zeros_like(z))
    level = 0.02 * (labels + scale + steps + ["ancestral", "dpm"].index(solver)).view(-1, 1, 1, 1)
    last = 0.4 + 0.1 * z + 0.05 * noises + 0.01 * draws.stream("decoder").normal((1, 6, 6)) + level
    begun = 0.4 + 0.1 * z
    return torch.stack([begun, (begun + last) / 2, last]).clamp(0, 1)[:, :, 0].numpy()


def points(name="points"):
    """Vectors of two numbers: those of z and what is given."""
    about = describe(pf.recipes.gan(PLANE, "tiny").method.transport(), {}, {}, name)
    lines = """
  start = Constant <value_ints = [0]> ()
  stop = Constant <value_ints = [2]> ()
  axis = Constant <value_ints = [1]> ()
  two = Slice (z, start, stop, axis)
  x = Add (two, given)"""
    return about, graph(f"float[n,{about['noise'][0]}] z, float[n,2] given", "float[n,2] x", lines)


def table_space():
    """Open and closed numbers, levels, dates and categories, with frequent values and
    missing ones.
    """
    from pushforward.tables.columns import Category, Number

    rng = np.random.default_rng(0)
    n = 3000
    weight = rng.normal(70, 9, n)
    paid = np.where(
        rng.random(n) < 0.4, 0.0, np.where(rng.random(n) < 0.1, np.nan, rng.exponential(900, n))
    )
    born = np.rint(rng.uniform(0, 15000, n)) * 86400
    fields = [
        Number.measured("weight", weight, form=Format(decimals=2)),
        Number.measured("paid", paid, form=Format(digits=4)),
        Number.measured("rooms", rng.integers(1, 7, n).astype(float), "whole", Format(decimals=0)),
        Number.measured("born", born, "date", Format(pattern="%-d.%m.%Y")),
        Number.measured("none", np.full(n, np.nan)),
        Category.measured(
            "town", rng.integers(0, 3, n).astype(float), ("Bonn", "Köln", "Ulm <i>"), missing=True
        ),
    ]
    return pf.data.TableSpace.of(fields)


def rows():
    """Rows of a table whose coordinates are the first numbers of z."""
    space = table_space()
    about = describe(pf.recipes.gan(space, "tiny").method.transport(), {}, {}, "rows")
    about["noise"] = [space.shape[0]]
    return (
        about,
        graph(f"float[n,{space.shape[0]}] z", f"float[n,{space.shape[0]}] x", "  x = Identity (z)"),
        space,
    )


CONTROLS = "[...document.querySelectorAll('input, select')]"


class Page:
    """A page in a browser, as it is when it is opened."""

    def __init__(self, opened, path):
        self.run = opened.run
        if self.run("location.href") != path.resolve().as_uri():
            opened.open(path)
            self.settle()
            opened.first = self.run(f"{CONTROLS}.map((one) => [one.value, one.checked])")
            return
        put = (
            "[one.value, one.checked] = first[i]; one.dispatchEvent(new Event('input', "
            "{bubbles: "
            "true}))"
        )
        for _ in range(2):  # since solvers change what sliders of steps mean
            self.run(
                f"((first) => {CONTROLS}.forEach((one, i) => {{ {put}; "
                f"}}))({json.dumps(opened.first)})"
            )
            self.settle()

    def settle(self):
        """Wait until the page has computed what is asked for."""
        text = "document.querySelector('[role=status]').textContent"
        look = f"const look = () => {text}.endsWith('…') ? setTimeout(look, 10) : done({text})"
        said = self.run(f"new Promise((done) => {{ {look}; look(); }})")
        assert "ms" in said or " s" in said, said
        return said

    def set(self, **values):
        """Give controls values as a person does; -- stands for - in their names as _."""
        for name, value in values.items():
            if name == "view":
                chosen = f"[name=view][value={value}]"
            else:
                chosen = f"#{name.replace('_', '-')}"
            act = "one.checked = true" if name == "view" else f"one.value = {json.dumps(value)}"
            self.run(
                f"(() => {{ const one = document.querySelector('{chosen}'); {act}; "
                "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
            )
        return self.settle()

    def pixels(self, panel=0):
        """The pixels of a canvas, (height, width, RGBA)."""
        get = "c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        # shorter than numbers
        text = f"Array.from({get}.data, (value) => String.fromCharCode(value)).join('')"
        given = (
            f"(() => {{ const c = document.querySelectorAll('canvas')[{panel}]; return "
            "[c.width, "
            f"c.height, {text}]; }})()"
        )
        width, height, data = self.run(given)
        return np.frombuffer(data.encode("latin-1"), np.uint8).reshape(height, width, 4)

    def tiles(self, panel=0, side=6, count=16):
        """The images of a grid, (count, side, side)."""
        picture = self.pixels(panel)[..., 0]
        across = int(np.ceil(np.sqrt(count)))
        gap = (picture.shape[1] - across * side) // max(1, across - 1)
        places = [divmod(i, across) for i in range(count)]
        return np.stack(
            [picture[y * (side + gap) :, x * (side + gap) :][:side, :side] for y, x in places]
        )


def near(shown, x):
    """Whether pixels are those of samples from 0 to 1, to one level."""
    return np.abs(shown.astype(float) - 255 * x).max() <= 1


@pytest.fixture(scope="module")
def chromium():
    if browser.binary() is None:
        pytest.skip("there is no Chromium")
    with browser.Browser() as opened:
        yield opened
        assert opened.requests == []
        expected = "willReadFrequently", "example.org"  # of the tests themselves
        assert [
            error for error in opened.errors if not any(part in error for part in expected)
        ] == []


@pytest.fixture(scope="module")
def mozilla():
    if firefox.binary() is None:
        pytest.skip("there is no Firefox")
    with firefox.Firefox() as opened:
        yield opened


@pytest.fixture(params=["chromium", "mozilla"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "one": [images()],
        "two": [images(HOSTILE), images("second")],
        "mixed": [images(), points()],
        "rows": [rows()[:2]],
        "many": [
            images("flow"),
            images("ddpm"),
            ({**images("broken")[0], "number": 5}, b"not a model"),
            images("vae"),
        ],
    }
    for name, models in made.items():
        beside = ("report.html", [f"gan: {HOSTILE}"]) if name == "many" else ()
        write(folder / f"{name}.html", models, HOSTILE, *beside)
    return {name: folder / f"{name}.html" for name in made}


def test_noise_is_numpys_bit_for_bit(either, pages):
    Page(either, pages["one"])
    code = (HERE / "templates" / "worker.js").read_text()
    for seed, call, n in ((0, 0, 100_000), (-3, 2, 5_000), (2**53 - 1, 0, 5_000)):
        stream = key("rows", "sample")
        wanted = np.random.Generator(
            np.random.Philox(
                key=np.array([seed % 2**64, stream], np.uint64), counter=[0, 0, 0, call]
            )
        )
        drawn = f"[...new Uint32Array(noise([{seed}], '{stream}', {call}, [{n}]).buffer)]"
        numbers = either.run(f"(() => {{ {code}; return {drawn}; }})()")
        assert (
            np.array(numbers, np.uint32) == wanted.standard_normal(n, np.float32).view(np.uint32)
        ).all()


def test_samples_are_those_of_the_seeds_labels_and_settings(either, pages):
    page = Page(either, pages["one"])
    assert near(page.tiles(), expected(range(16), None, 1.0, "dpm", 2)[-1])
    page.set(solver_0="ancestral", steps_0=2, scale_0=3.5, seed=40)
    assert near(page.tiles(), expected(range(40, 56), None, 3.5, "ancestral", 4)[-1])
    page.set(given_0="2", seed=-5)
    assert near(page.tiles(), expected(range(-5, 11), {"label": 2}, 3.5, "ancestral", 4)[-1])
    page.set(view="one")
    assert near(page.pixels()[..., 0], expected([-5], {"label": 2}, 3.5, "ancestral", 4)[-1, 0])


def test_every_control_changes_the_picture_and_changes_it_back(either, pages):
    page = Page(either, pages["one"])
    page.set(view="walk")
    controls = {
        "seed": (0, 9),
        "toward": (1, 9),
        "share": (50, 90),
        "given_0": ("", "3"),
        "solver_0": ("dpm", "ancestral"),
    }
    controls |= {
        "steps_0": (1, 2),
        "scale_0": (1, 8),
        "reached": (100, 0),
        "view": ("walk", "grid"),
    }
    named = set(
        either.run("[...document.querySelectorAll('main :is(input, select)')].map((one) => one.id)")
    )
    assert named - {""} == {name.replace("_", "-") for name in controls} - {"view"}
    first = page.pixels()
    for name, (usual, other) in controls.items():
        page.set(**{name: other})
        assert not np.array_equal(page.pixels(), first), name
        page.set(**{name: usual})
        assert np.array_equal(page.pixels(), first), name


def test_the_way_leads_from_noise_to_data_for_the_model_that_has_one(either, pages):
    page = Page(either, pages["mixed"])
    states = expected(range(16), None, 1.0, "dpm", 2)
    for reached, state in ((0, 0), (50, 1), (100, 2)):
        page.set(reached=reached)
        assert near(page.tiles(), states[state])
        veiled = either.run("[...document.querySelectorAll('.veil')].map((one) => !one.hidden)")
        assert veiled == [False, reached < 100]


@pytest.mark.parametrize("motion", [True, False])
def test_a_way_plays_to_its_end_in_quarters_where_motion_is_reduced(chromium, pages, motion):
    page = Page(chromium, pages["one"])
    chromium.resize(768, 900, motion=motion)
    page.run("(() => { document.getElementById('play').click(); })()")
    seen = page.run("""new Promise((done) => {
      const seen = [], slider = document.getElementById("reached");
      const look = () => {
        seen.push(slider.valueAsNumber);
        if (document.querySelector(".on")) setTimeout(look, 50); else done(seen);
      };
      setTimeout(look, 50);
    })""")
    assert seen == sorted(seen)
    assert (seen[0] < 50, seen[-1]) == (True, 100)
    assert ({*seen} <= {0, 25, 50, 75, 100}) == (not motion)
    assert near(page.tiles(), expected(range(16), None, 1.0, "dpm", 2)[-1])


def test_a_walk_turns_from_one_seed_to_the_other(either, pages):
    page = Page(either, pages["mixed"])
    about = points()[0]
    page.set(view="walk", seed=3, toward=8, given_1_0=2.0, given_1_1=0.5)
    ends = [ExampleDraws([seed]).normal(about["noise"]) for seed in (3, 8)]
    for share in (0, 30, 100):
        page.set(share=share)
        x, y = slerp(*ends, share / 100)[0, :2].tolist()
        column, row = middle_of_the_dot(page)
        assert column == pytest.approx(0.5 + (x + 2.0 - 0.0) / 5.6, abs=0.01)
        assert row == pytest.approx(0.5 - (y + 0.5 - 1.0) / 5.6, abs=0.01)


def test_a_walk_with_a_solver_that_draws_ends_at_the_other_seed(chromium, pages):
    page = Page(chromium, pages["one"])
    page.set(view="walk", seed=0, toward=9, share=100, given_0="3", solver_0="ancestral")
    reached = page.pixels()
    page.set(view="one", seed=9)
    largest = np.abs(reached.astype(int) - page.pixels().astype(int)).max()
    assert largest <= 1


def middle_of_the_dot(page):
    """Where the pixels of the model's colour are, as shares of the width and the height."""
    picture = page.pixels(1).astype(int)
    inked = (picture[..., 3] > 200) & (picture[..., 0] - picture[..., 2] > 100)
    rows, columns = np.nonzero(inked)
    return columns.mean() / picture.shape[1], rows.mean() / picture.shape[0]


def test_many_models_share_a_page_and_one_that_fails_does_not_stop_the_others(chromium, pages):
    page = Page(chromium, pages["many"])
    page.set(seed=7, steps_1=0, scale_1=5, steps_3=2)
    for panel, scale, steps in ((0, 1.0, 2), (1, 5.0, 1), (3, 1.0, 4)):
        assert near(page.tiles(panel), expected(range(7, 23), None, scale, "dpm", steps)[-1])
    times = chromium.run(
        "[...document.querySelectorAll('.panel')].map((one) => Number(one.dataset.milliseconds ?? "
        "0))"
    )
    assert [time > 0 for time in times] == [True, True, False, True]
    colours = chromium.run(
        "[...document.querySelectorAll('.panel')].map((one) => one.classList[1])"
    )
    assert colours == ["e0", "e1", "e5", "e3"]
    assert chromium.run("document.querySelectorAll('[id^=given]').length") == 1  # one class for all
    assert (
        chromium.run(
            "[...document.querySelectorAll('p')].filter((one) => one.textContent.startsWith('gan: "
            "')).length"
        )
        == 1
    )


def test_each_control_has_one_sentence_and_a_page_beside_a_report_links_to_it(chromium, pages):
    links = {}
    for name, view in (("one", "walk"), ("mixed", "walk"), ("rows", "grid"), ("many", "grid")):
        page = Page(chromium, pages[name])
        page.set(view=view)
        shown = "filter((one) => one.checkVisibility()).map((one) => one.textContent)"
        labels = chromium.run(f"[...document.querySelectorAll('main :is(label, button)')].{shown}")
        terms, sentences = (
            chromium.run(f"[...document.querySelectorAll('{kind}')].{shown}")
            for kind in ("dt", "dd")
        )
        named = [word for term in terms for word in term.split(", ")]
        assert len(named) == len({*named})
        assert {label.removesuffix(" to data") for label in labels} - {""} == {*named} - {"Data"}
        assert len(sentences) == len(terms)
        assert all(sentence.endswith(".") and ". " not in sentence for sentence in sentences)
        links[name] = chromium.run(
            "[...document.querySelectorAll('a')].map((one) => one.getAttribute('href'))"
        )
    assert links == {
        "one": ["#guide"],
        "mixed": ["#guide"],
        "rows": ["#guide"],
        "many": ["report.html", "#guide"],
    }


def test_names_are_text(chromium, pages):
    page = Page(chromium, pages["two"])
    assert chromium.run("document.title") == HOSTILE
    assert chromium.run("document.querySelector('.panel h2').textContent") == HOSTILE
    assert chromium.run("document.querySelectorAll('img').length") == 0
    actual = [
        *chromium.run("[...document.querySelector('#given-0').options].map((one) => one.text)")
    ][1:]
    assert actual == [*LABELS.names]
    assert page.settle().startswith(HOSTILE)


def test_cells_are_those_of_the_table(either, pages):
    about, _, space = rows()
    page = Page(either, pages["rows"])
    x = ExampleDraws(range(8)).normal(about["noise"])
    shown = either.run(
        "[...document.querySelectorAll('tr')].map((row) => [...row.children].map((cell) => "
        "cell.textContent))"
    )
    assert shown[0] == list(space.names)
    assert shown[1:] == [[str(cell) for cell in row] for row in space.records(x)]
    page.set(view="one")
    assert (
        either.run("[...document.querySelectorAll('td')].map((cell) => cell.textContent)")
        == shown[1]
    )
    code = (HERE / "templates" / "cells.js").read_text()
    columns = json.dumps(about["columns"])
    more = 2 * ExampleDraws(range(300)).normal(about["noise"])
    many = f"{json.dumps(more.tolist())}.map((x) => columns.map((column) => cell(column, x)))"
    cells = either.run(f"(() => {{ {code}; const columns = {columns}; return {many}; }})()")
    assert cells == [[str(cell) for cell in row] for row in space.records(more)]


def test_the_pages_script_writes_cells_byte_for_byte():
    """In Node.js: of every kind of number, from noise that reaches all values and from the values'
    own coordinates.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    code = (HERE / "templates" / "cells.js").read_text()
    code += """
    const { columns, rows } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const cells = rows.map((row) => columns.map((column) => cell(column, Float32Array.from(row))));
    console.log(JSON.stringify(cells));"""
    for space, values in ((table_space(), None), (wide_space(wide_values()), wide_values())):
        about = describe(pf.recipes.gan(space, "tiny").method.transport(), {}, {}, "rows")
        x = np.random.default_rng(1).normal(0, 1.5, (1500, *space.shape)).astype(np.float32)
        if values is not None:
            x = np.concatenate([x, space.encoded(values)])
        given = json.dumps({"columns": about["columns"], "rows": x.tolist()})
        done = subprocess.run(
            [node, "-e", code], input=given, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == space.cells(x)


FORMATS = [
    Format(),
    Format(0, group=","),
    Format(2, plus=True, group="'"),
    Format(3, least=1, point=","),
    Format(12),
    Format(17),
    Format(digits=1),
    Format(digits=6, plus=True),
    Format(2, point=",", group=".", suffix=" EUR"),
    Format(1, prefix="US$ ", plus=True),
    Format(digits=17),
]
PATTERNS = [
    "%Y-%m-%d",
    "%-d/%-m/%y %-H:%M",
    "%b %d, %Y %I:%M %p",
    "%A %d %B %Y %H:%M:%S.%f",
    "%j %a %w %Y",
]


def test_the_pages_script_rounds_halves_and_writes_exponents_as_python_does():
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    r = np.random.default_rng(0)
    numbers = [
        r.normal(size=300) * 10.0 ** r.integers(-25, 25, 300),
        np.arange(-100, 100) / 8,
        np.arange(-50, 50) * 0.005,
    ]
    numbers.append(
        np.array([0.0, -0.0, 1e16, 1e21, 2.0**53, 1e15 + 0.5, -1e-7, 1e-5, 0.045, 999.995])
    )
    seconds = [
        r.uniform(-3e9, 6e9, 300),
        np.arange(-5, 5) * 43200.0,
        np.array([5e-7, 1.5e-6, -5e-7, 0.9999999, 951782400.0]),
    ]
    cases = [(form, np.concatenate(numbers)) for form in FORMATS]
    cases += [(Format(pattern=pattern), np.concatenate(seconds)) for pattern in PATTERNS]
    code = (HERE / "templates" / "cells.js").read_text()
    code += """
    const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const texts = (value, form) => [written(value, form), written(rounded(value, form), form)];
    const both = ([form, values]) => values.map((value) => texts(value, form));
    console.log(JSON.stringify(cases.map(both)));"""
    given = json.dumps([[vars(form), values.tolist()] for form, values in cases])
    done = subprocess.run(
        [node, "-e", code], input=given, capture_output=True, text=True, check=True
    )
    for (form, values), cells in zip(cases, json.loads(done.stdout), strict=True):
        wanted = zip(
            map(form.cell, values.tolist()),
            map(form.cell, form.rounded(values).tolist()),
            strict=True,
        )
        assert cells == [list(pair) for pair in wanted]


def test_given_numbers_begin_at_their_mean_in_full():
    given = Numbers(("population",), (1601445.97,), (300.0,))
    space = pf.data.VectorSpace((2,), (0.0, 1.0), (1.0, 0.5), conditions={"given": given})
    about = describe(pf.recipes.gan(space, "tiny").method.transport(), {}, {}, "m")
    (field,) = re.findall(r'<input type="number" step="any"[^>]*>', build([(about, b"")], "a page"))
    assert float(re.search('value="([^"]*)"', field)[1]) == 1601445.97


def test_a_worker_of_the_page_may_ask_for_nothing(either, pages):
    Page(either, pages["one"])
    tell = (
        "self.addEventListener('securitypolicyviolation', (event) => "
        "postMessage(event.effectiveDirective)); "
    )
    code = f"{tell}fetch('https://example.org').catch(() => 0)"
    made = f"new Worker(URL.createObjectURL(new Blob([{json.dumps(code)}])))"
    assert (
        either.run(f"new Promise((done) => {{ {made}.onmessage = ({{data}}) => done(data); }})")
        == "connect-src"
    )


def test_every_control_has_a_name_and_nothing_is_wider_than_the_window(chromium, pages):
    for name in ("rows", "one", "many"):
        page = Page(chromium, pages[name])
        page.set(view="walk")
        for width, columns in ((1440, 4), (768, 2), (390, 1)):
            chromium.resize(width, 900)
            assert chromium.run("document.documentElement.scrollWidth") == width
            lefts = chromium.run(
                "[...document.querySelectorAll('.panel')].map((one) => "
                "one.getBoundingClientRect().left)"
            )
            assert len({*lefts}) == (columns if name == "many" else 1)
    named = {"button", "slider", "spinbutton", "combobox", "radio", "image", "Canvas", "region"}
    nodes = [
        node
        for node in chromium.send("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"]
    ]
    controls = [node for node in nodes if node["role"]["value"] in named]
    assert len(controls) > 20
    assert [node for node in controls if not node["name"]["value"]] == []


def test_a_control_is_worked_by_keys(chromium, pages):
    page = Page(chromium, pages["one"])
    chromium.run("document.querySelector('[name=view]').focus()")
    chromium.press("ArrowRight")
    page.settle()
    assert near(page.pixels()[..., 0], expected([0], None, 1.0, "dpm", 2)[-1, 0])
    chromium.run("document.querySelector('#steps-0').focus()")
    chromium.press("ArrowRight")
    page.settle()
    assert near(page.pixels()[..., 0], expected([0], None, 1.0, "dpm", 4)[-1, 0])
    assert chromium.run("document.querySelector('#steps-0').getAttribute('aria-valuetext')") == "4"


def test_a_click_into_the_grid_enlarges_that_sample(chromium, pages):
    page = Page(chromium, pages["one"])
    chromium.click("canvas", 0.6, 0.4)
    page.settle()
    assert near(page.pixels()[..., 0], expected([6], None, 1.0, "dpm", 2)[-1, 0])


def test_a_flow_and_a_gan_show_what_sample_draws(chromium, real):
    path, flow, gan = real
    page = Page(chromium, path)
    guided = with_inner(flow, Flow(pf.Guided(flow.denoiser, 2.0), "heun", 3))
    page.set(solver_0="heun", steps_0=2, scale_0=2, seed=5)
    for panel, transport in enumerate((guided, gan)):
        x = transport.sample(16, seed=5).numpy()[:, 0]
        shown = page.tiles(panel, 8)
        assert near(shown, x)
        mean = (shown != np.rint(255 * x)).mean()
        assert mean <= 0.005


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A page of untrained models whose weights are scattered, and the models."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    from pushforward.export import graph as exported

    space = pf.data.ImageSpace(
        (1, 8, 8), (0.3,), (0.38,), (0.0,), (1.0,), {"label": Label.numbered(10)}
    )
    torch.manual_seed(0)
    flow, gan = (
        recipe(space, "tiny", network="mlp").method.transport().eval()
        for recipe in (pf.recipes.flow, pf.recipes.gan)
    )
    with torch.no_grad():
        for weight in (weight for weight in flow.parameters() if not weight.abs().sum()):
            weight.normal_(0, 0.02)
    graphs = [exported(flow, ["dpm", "heun"], 3, name="flow", way=True), exported(gan, name="gan")]
    models = [(made.description, made.model.SerializeToString()) for made in graphs]
    path = tmp_path_factory.mktemp("real") / "page.html"
    write(path, models, "digits")
    assert path.stat().st_size <= 5_000_000 + 1.3 * sum(len(content) for _, content in models)
    return path, flow, gan


def test_a_page_is_made_of_models_that_start_from_noise(tmp_path):
    model = points()
    assert build([model], "a page") == build([model], "a page")
    for models in ([], [({**model[0], "source": "digits"}, model[1])]):
        with pytest.raises(UsageError):
            write(tmp_path / "page.html", models, "a page")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["flow", "ddpm", "gan", "vae"], ["flow", "ddpm", "gan", "vae"]),
        (["gan from data", "ddpm unlike", "vae", "flow"], ["vae", "flow"]),
        (["flow untraceable", "gan"], ["gan"]),
        (["flow", "flow larger", "gan"], ["flow", "gan"]),
        (["gan unlike"], []),
    ],
)
def test_every_model_is_shown_that_can_be(names, shown, monkeypatch):
    flow, gan = (
        recipe(PLANE, "tiny").method.transport() for recipe in (pf.recipes.flow, pf.recipes.gan)
    )
    models = {name: flow if name.split()[0] in ("flow", "ddpm") else gan for name in names}
    if "flow larger" in names:
        used, left = (sum(weight.numel() for weight in model.parameters()) for model in (flow, gan))
        monkeypatch.setattr("pushforward.export.files.LIVE_WEIGHTS", used + left)
        models["flow larger"] = torch.nn.Linear(left, 1)  # with one more weight, that of its bias

    def graph(transport, *_, name, **__):
        if "untraceable" in name:
            raise RuntimeError("a guard\nand why")
        flows = {"dpm": {}} if transport.calls > 1 else {}
        return Graph(
            transport,
            onnx.ModelProto(),
            {"name": name, "source": "data" if "data" in name else None},
            flows,
        )

    def checked(made):
        if "unlike" in made.description["name"]:
            raise Unlike("It differs.")

    monkeypatch.setattr("pushforward.export.files.graph", graph)
    monkeypatch.setattr("pushforward.export.files.checked", checked)
    told = []
    assert [about["name"] for about, _ in showable(models, told.append)] == shown
    assert [" is not on the page: " in line and "\n" not in line for line in told] == [True] * len(
        told
    )
    assert len(told) == sum(" " in name for name in names)


def test_the_runtime_is_the_one_that_its_facts_name():
    folder = HERE / "web"
    facts = json.loads((folder / "onnxruntime-web.json").read_text())
    for file in facts["files"].values():
        packed = (folder / file["packed"]).read_bytes()
        assert hashlib.sha256(packed).hexdigest() == file["packed_sha256"]
        actual = hashlib.sha256(gzip.decompress(packed)).hexdigest()
        assert actual == file["sha256"]
    assert "MIT License" in (folder / "LICENSE").read_text()
