"""The page that runs exported models, in Chromium and in Firefox: its noise, its samples, every
control, its way and its walk.

Most models here are graphs in closed form, written by hand: what each input does to x is known.
"""

from __future__ import annotations

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
from programs.exported_pages import (
    LABELS,
    PLANE,
    Page,
    described,
    expected,
    expected_states,
    images,
    near,
    points,
    rows,
    table_space,
)
from programs.tables import wide_space, wide_values
from programs.text_tables import cases

import pushforward as pf
from pushforward.conditions import Label, Numbers
from pushforward.draws import ExampleDraws, key
from pushforward.editing.interpolation import slerp
from pushforward.errors import UsageError
from pushforward.export.files import Graph, Unlike, showable
from pushforward.export.page import build, write
from pushforward.tables.reading.string_columns import Format
from pushforward.transports import Flow, with_inner

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import browser
import firefox

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

HERE = Path(pf.__file__).parent / "export"
HOSTILE = "</script><img src=x onerror=alert(1)>"
OWN_ERRORS = re.compile("willReadFrequently|example.org")
"""What the tests themselves make a browser complain of."""


@pytest.fixture(scope="module")
def chromium():
    if browser.binary() is None:
        pytest.skip("there is no Chromium")
    with browser.Browser() as opened:
        yield opened
        assert opened.requests == []
        assert [error for error in opened.errors if not OWN_ERRORS.search(error)] == []


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
    about, _ = images("broken")
    broken = ({**about, "number": 5}, b"not a model")
    about, content, _ = rows()
    models = {
        "one": [images()],
        "two": [images(HOSTILE), images("second")],
        "mixed": [images(), points()],
        "rows": [(about, content)],
        "many": [images("flow"), images("ddpm"), broken, images("vae")],
    }
    paths = {name: folder / f"{name}.html" for name in models}
    for name in ("one", "two", "mixed", "rows"):
        write(paths[name], models[name], HOSTILE)
    write(paths["many"], models["many"], HOSTILE, "report.html", [f"gan: {HOSTILE}"])
    return paths


@cases("""
    seed              call  n
    0                 0     100000
    -3                2     5000
    9007199254740991  0     5000
""")
def test_noise_is_numpys_bit_for_bit(either, pages, seed, call, n):
    page = Page(either, pages["one"])
    code = (HERE / "templates" / "worker.js").read_text()
    stream = key("rows", "sample")
    words = np.array([seed % 2**64, stream], np.uint64)
    philox = np.random.Philox(key=words, counter=[0, 0, 0, call])
    wanted = np.random.Generator(philox).standard_normal(n, np.float32)
    drawn = f"[...new Uint32Array(noise([{seed}], '{stream}', {call}, [{n}]).buffer)]"
    numbers = page.run(f"(() => {{ {code}; return {drawn}; }})()")
    bits = np.array(numbers, np.uint32)
    assert np.array_equal(bits, wanted.view(np.uint32))


def test_samples_are_those_of_the_seeds_labels_and_settings(either, pages):
    page = Page(either, pages["one"])
    assert near(page.tiles(), expected(range(16)))
    page.set(solver_0="ancestral", steps_0=2, scale_0=3.5, seed=40)
    settings = {"scale": 3.5, "solver": "ancestral", "steps": 4}
    assert near(page.tiles(), expected(range(40, 56), **settings))
    page.set(given_0="2", seed=-5)
    assert near(page.tiles(), expected(range(-5, 11), label=2, **settings))
    page.set(view="one")
    assert near(page.image(), expected([-5], label=2, **settings)[0])


def test_every_control_changes_the_picture_and_changes_it_back(either, pages):
    page = Page(either, pages["one"])
    page.set(view="walk")
    controls = {
        "seed": (0, 9),
        "toward": (1, 9),
        "share": (50, 90),
        "given_0": ("", "3"),
        "solver_0": ("dpm", "ancestral"),
        "steps_0": (1, 2),
        "scale_0": (1, 8),
        "reached": (100, 0),
        "view": ("walk", "grid"),
    }
    named = set(page.each("main :is(input, select)", "one.id"))
    assert named - {""} == {name.replace("_", "-") for name in controls} - {"view"}
    first = page.pixels()
    for name, (usual, other) in controls.items():
        page.set(**{name: other})
        assert not np.array_equal(page.pixels(), first), name
        page.set(**{name: usual})
        assert np.array_equal(page.pixels(), first), name


def test_the_way_leads_from_noise_to_data_for_the_model_that_has_one(either, pages):
    page = Page(either, pages["mixed"])
    states = expected_states(range(16))
    for reached, state in zip((0, 50, 100), states, strict=True):
        page.set(reached=reached)
        assert near(page.tiles(), state)
        veiled = page.each(".veil", "!one.hidden")
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
    assert seen[0] < 50
    assert seen[-1] == 100
    in_quarters = set(seen) <= {0, 25, 50, 75, 100}
    assert in_quarters == (not motion)
    assert near(page.tiles(), expected(range(16)))


def test_a_walk_turns_from_one_seed_to_the_other(either, pages):
    page = Page(either, pages["mixed"])
    about, _ = points()
    page.set(view="walk", seed=3, toward=8, given_1_0=2.0, given_1_1=0.5)
    start, end = (ExampleDraws([seed]).normal(about["noise"]) for seed in (3, 8))
    for share in (0, 30, 100):
        page.set(share=share)
        z = slerp(start, end, share / 100)
        x, y = z[0, :2].tolist()
        column, row = middle_of_the_dot(page)
        assert column == pytest.approx(0.5 + (x + 2.0 - 0.0) / 5.6, abs=0.01)
        assert row == pytest.approx(0.5 - (y + 0.5 - 1.0) / 5.6, abs=0.01)


def test_a_walk_with_a_solver_that_draws_ends_at_the_other_seed(chromium, pages):
    page = Page(chromium, pages["one"])
    page.set(view="walk", seed=0, toward=9, share=100, given_0="3", solver_0="ancestral")
    reached = page.pixels().astype(int)
    page.set(view="one", seed=9)
    difference = np.abs(reached - page.pixels())
    assert difference.max() <= 1


def middle_of_the_dot(page):
    """Where the pixels of the model's colour are, as shares of the width and the height."""
    picture = page.pixels(1).astype(int)
    red, _, blue, alpha = np.moveaxis(picture, -1, 0)
    inked = (alpha > 200) & (red - blue > 100)
    rows, columns = np.nonzero(inked)
    height, width = inked.shape
    return columns.mean() / width, rows.mean() / height


def test_many_models_share_a_page_and_one_that_fails_does_not_stop_the_others(chromium, pages):
    page = Page(chromium, pages["many"])
    page.set(seed=7, steps_1=0, scale_1=5, steps_3=2)
    for panel, scale, steps in ((0, 1.0, 2), (1, 5.0, 1), (3, 1.0, 4)):
        assert near(page.tiles(panel), expected(range(7, 23), scale=scale, steps=steps))
    times = page.each(".panel", "Number(one.dataset.milliseconds ?? 0)")
    assert [time > 0 for time in times] == [True, True, False, True]
    colours = page.each(".panel", "one.classList[1]")
    assert colours == ["e0", "e1", "e5", "e3"]
    assert len(page.each("[id^=given]", "1")) == 1  # one class for all
    paragraphs = page.each("p", "one.textContent")
    assert sum(text.startswith("gan: ") for text in paragraphs) == 1


@cases("""
    name   view  links
    one    walk  #guide
    mixed  walk  #guide
    rows   grid  #guide
    many   grid  report.html #guide
""")
def test_each_control_has_one_sentence_and_a_page_beside_a_report_links_to_it(
    chromium, pages, name, view, links
):
    page = Page(chromium, pages[name])
    page.set(view=view)

    def shown(selector):
        found = page.each(selector, "[one.checkVisibility(), one.textContent]")
        return [text for visible, text in found if visible]

    terms = shown("dt")
    sentences = shown("dd")
    named = [word for term in terms for word in term.split(", ")]
    assert len(named) == len(set(named))
    labels = {label.removesuffix(" to data") for label in shown("main :is(label, button)")}
    assert labels - {""} == set(named) - {"Data"}
    assert len(sentences) == len(terms)
    for sentence in sentences:
        assert sentence.endswith(".")
        assert ". " not in sentence
    assert page.each("a", 'one.getAttribute("href")') == links.split()


def test_names_are_text(chromium, pages):
    page = Page(chromium, pages["two"])
    assert page.run("document.title") == HOSTILE
    assert page.each(".panel h2", "one.textContent")[0] == HOSTILE
    assert page.each("img", "1") == []
    assert page.each("#given-0 option", "one.text")[1:] == list(LABELS.names)
    assert page.settle().startswith(HOSTILE)


def records(space, x):
    """The cells of rows, as texts."""
    return [list(map(str, row)) for row in space.records(x)]


def test_cells_are_those_of_the_table(either, pages):
    about, _, space = rows()
    page = Page(either, pages["rows"])
    x = ExampleDraws(range(8)).normal(about["noise"])
    header, *shown = page.each("tr", "[...one.children].map((cell) => cell.textContent)")
    assert header == list(space.names)
    assert shown == records(space, x)
    page.set(view="one")
    assert page.each("td", "one.textContent") == shown[0]
    code = (HERE / "templates" / "cells.js").read_text()
    columns = json.dumps(about["columns"])
    more = 2 * ExampleDraws(range(300)).normal(about["noise"])
    many = f"{json.dumps(more.tolist())}.map((x) => columns.map((column) => cell(column, x)))"
    cells = either.run(f"(() => {{ {code}; const columns = {columns}; return {many}; }})()")
    assert cells == records(space, more)


def in_node(code, given):
    """What the page's script and more code make of an input, in Node.js."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    script = (HERE / "templates" / "cells.js").read_text()
    read = 'const given = JSON.parse(require("fs").readFileSync(0, "utf8"));'
    words = [node, "-e", f"{script}\n{read}\n{code}"]
    text = json.dumps(given)
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_pages_script_writes_cells_byte_for_byte():
    """In Node.js: of every kind of number, from noise that reaches all values and from the values'
    own coordinates.
    """
    code = """
    const cells = (row) => given.columns.map((column) => cell(column, Float32Array.from(row)));
    console.log(JSON.stringify(given.rows.map(cells)));"""
    wide = wide_space(wide_values())
    own = wide.encoded(wide_values())
    for space, coordinates in ((table_space(), None), (wide, own)):
        x = np.random.default_rng(1).normal(0, 1.5, (1500, *space.shape)).astype(np.float32)
        if coordinates is not None:
            x = np.concatenate([x, coordinates])
        about = described(space, "rows")
        cells = in_node(code, {"columns": about["columns"], "rows": x.tolist()})
        assert cells == space.cells(x)


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
PATTERNS = """
%Y-%m-%d
%-d/%-m/%y %-H:%M
%b %d, %Y %I:%M %p
%A %d %B %Y %H:%M:%S.%f
%j %a %w %Y
"""
NUMBERS = "0 -0 1e16 1e21 9007199254740992 1000000000000000.5 -1e-7 1e-5 0.045 999.995"
SECONDS = "5e-7 1.5e-6 -5e-7 0.9999999 951782400"


def test_the_pages_script_rounds_halves_and_writes_exponents_as_python_does():
    random = np.random.default_rng(0)
    mantissas = random.normal(size=300)
    exponents = random.integers(-25, 25, 300)
    eighths = np.arange(-100, 100) / 8
    halves = np.arange(-50, 50) * 0.005
    special = np.array(NUMBERS.split(), float)
    numbers = np.concatenate([mantissas * 10.0**exponents, eighths, halves, special])
    half_days = np.arange(-5, 5) * 43200.0
    special = np.array(SECONDS.split(), float)
    seconds = np.concatenate([random.uniform(-3e9, 6e9, 300), half_days, special])
    forms = [(form, numbers) for form in FORMATS]
    for pattern in PATTERNS.strip().splitlines():
        forms.append((Format(pattern=pattern), seconds))
    code = """
    const texts = (value, form) => [written(value, form), written(rounded(value, form), form)];
    const both = ([form, values]) => values.map((value) => texts(value, form));
    console.log(JSON.stringify(given.map(both)));"""
    answers = in_node(code, [[vars(form), values.tolist()] for form, values in forms])
    for (form, values), cells in zip(forms, answers, strict=True):
        written, rounded = map(list, zip(*cells, strict=True))
        assert written == list(map(form.cell, values.tolist()))
        assert rounded == list(map(form.cell, form.rounded(values).tolist()))


def test_given_numbers_begin_at_their_mean_in_full():
    given = Numbers(("population",), (1601445.97,), (300.0,))
    space = pf.data.VectorSpace((2,), (0.0, 1.0), (1.0, 0.5), conditions={"given": given})
    page = build([(described(space, "m"), b"")], "a page")
    (field,) = re.findall(r'<input type="number" step="any"[^>]*>', page)
    value = re.search('value="([^"]*)"', field)[1]
    assert float(value) == 1601445.97


def test_a_worker_of_the_page_may_ask_for_nothing(either, pages):
    page = Page(either, pages["one"])
    code = """
    self.addEventListener('securitypolicyviolation', (event) =>
      postMessage(event.effectiveDirective));
    fetch('https://example.org').catch(() => 0)"""
    made = f"new Worker(URL.createObjectURL(new Blob([{json.dumps(code)}])))"
    said = page.run(f"new Promise((done) => {{ {made}.onmessage = ({{data}}) => done(data); }})")
    assert said == "connect-src"


@cases("""
    name  columns
    rows  1 1 1
    one   1 1 1
    many  4 2 1
""")
def test_nothing_is_wider_than_the_window(chromium, pages, name, columns):
    page = Page(chromium, pages[name])
    page.set(view="walk")
    for width, across in zip((1440, 768, 390), columns.split(), strict=True):
        chromium.resize(width, 900)
        assert page.run("document.documentElement.scrollWidth") == width
        lefts = page.each(".panel", "one.getBoundingClientRect().left")
        assert len(set(lefts)) == int(across)


def test_every_control_has_a_name(chromium, pages):
    page = Page(chromium, pages["many"])
    page.set(view="walk")
    roles = {"button", "slider", "spinbutton", "combobox", "radio", "image", "Canvas", "region"}
    names = []
    for node in chromium.send("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"] and node["role"]["value"] in roles:
            names.append(node["name"]["value"])
    assert len(names) > 20
    assert all(names)


def test_a_control_is_worked_by_keys(chromium, pages):
    page = Page(chromium, pages["one"])
    page.run("document.querySelector('[name=view]').focus()")
    chromium.press("ArrowRight")
    page.settle()
    assert near(page.image(), expected([0])[0])
    page.run("document.querySelector('#steps-0').focus()")
    chromium.press("ArrowRight")
    page.settle()
    assert near(page.image(), expected([0], steps=4)[0])
    assert page.run("document.querySelector('#steps-0').getAttribute('aria-valuetext')") == "4"


def test_a_click_into_the_grid_enlarges_that_sample(chromium, pages):
    page = Page(chromium, pages["one"])
    chromium.click("canvas", 0.6, 0.4)
    page.settle()
    assert near(page.image(), expected([6])[0])


def test_a_flow_and_a_gan_show_what_sample_draws(chromium, real):
    path, flow, gan = real
    page = Page(chromium, path)
    guided = with_inner(flow, Flow(pf.Guided(flow.denoiser, 2.0), "heun", 3))
    page.set(solver_0="heun", steps_0=2, scale_0=2, seed=5)
    for panel, transport in enumerate((guided, gan)):
        x = transport.sample(16, seed=5).numpy()[:, 0]
        shown = page.tiles(panel, 8)
        assert near(shown, x)
        differing = shown != np.rint(255 * x)
        assert differing.mean() <= 0.005


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A page of untrained models whose weights are scattered, and the models."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    from pushforward.export import graph as exported

    label = Label.numbered(10)
    space = pf.data.ImageSpace((1, 8, 8), (0.3,), (0.38,), (0.0,), (1.0,), {"label": label})
    torch.manual_seed(0)
    flow = pf.recipes.flow(space, "tiny", network="mlp").method.transport().eval()
    gan = pf.recipes.gan(space, "tiny", network="mlp").method.transport().eval()
    with torch.no_grad():
        for weight in flow.parameters():
            if not weight.any():
                weight.normal_(0, 0.02)
    models = []
    for graph in (
        exported(flow, ["dpm", "heun"], 3, name="flow", way=True),
        exported(gan, name="gan"),
    ):
        models.append((graph.description, graph.model.SerializeToString()))
    path = tmp_path_factory.mktemp("real") / "page.html"
    write(path, models, "digits")
    size = sum(len(content) for _, content in models)
    assert path.stat().st_size <= 5_000_000 + 1.3 * size
    return path, flow, gan


def test_a_page_is_made_of_models_that_start_from_noise(tmp_path):
    about, content = points()
    page = build([(about, content)], "a page")
    assert build([(about, content)], "a page") == page
    from_data = ({**about, "source": "digits"}, content)
    for models in ([], [from_data]):
        with pytest.raises(UsageError):
            write(tmp_path / "page.html", models, "a page")
    assert list(tmp_path.iterdir()) == []


def _transports(names):
    """An untrained model for each name: of the only call for those that begin with gan or vae."""
    flow = pf.recipes.flow(PLANE, "tiny").method.transport()
    gan = pf.recipes.gan(PLANE, "tiny").method.transport()
    models = dict.fromkeys(names, gan)
    for name in names:
        if name.startswith(("flow", "ddpm")):
            models[name] = flow
    return models


def _exported(transport, *_, name, **__):
    """A graph whose description says what its name asks for."""
    if "untraceable" in name:
        raise RuntimeError("a guard\nand why")
    source = None
    if "data" in name:
        source = "data"
    flows = {}
    if transport.calls > 1:
        flows = {"dpm": {}}
    return Graph(transport, onnx.ModelProto(), {"name": name, "source": source}, flows)


def _checked(graph):
    if "unlike" in graph.description["name"]:
        raise Unlike("It differs.")


@cases("""
    names                                   shown
    flow, ddpm, gan, vae                    flow, ddpm, gan, vae
    gan from data, ddpm unlike, vae, flow   vae, flow
    flow untraceable, gan                   gan
    flow, flow larger, gan                  flow, gan
    gan unlike                              ''
""")
def test_every_model_is_shown_that_can_be(names, shown, monkeypatch):
    models = _transports(names.split(", "))
    if "flow larger" in models:
        used = sum(weight.numel() for weight in models["flow"].parameters())
        left = sum(weight.numel() for weight in models["gan"].parameters())
        monkeypatch.setattr("pushforward.export.files.LIVE_WEIGHTS", used + left)
        models["flow larger"] = torch.nn.Linear(left, 1)  # with one more weight, that of its bias
    monkeypatch.setattr("pushforward.export.files.graph", _exported)
    monkeypatch.setattr("pushforward.export.files.checked", _checked)
    told = []
    kept = [about["name"] for about, _ in showable(models, told.append)]
    assert ", ".join(kept) == shown
    for line in told:
        assert " is not on the page: " in line
        assert "\n" not in line
    assert len(told) == len(models) - len(kept)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_runtime_is_the_one_that_its_facts_name():
    folder = HERE / "web"
    facts = json.loads((folder / "onnxruntime-web.json").read_text())
    for file in facts["files"].values():
        packed = (folder / file["packed"]).read_bytes()
        assert sha256(packed) == file["packed_sha256"]
        assert sha256(gzip.decompress(packed)) == file["sha256"]
    assert "MIT License" in (folder / "LICENSE").read_text()
