"""Pages of exported models in closed form, written by hand, and what their controls show."""

from __future__ import annotations

import functools
import json

import numpy as np
import torch

import pushforward as pf
from pushforward.conditions import Label, Numbers
from pushforward.conditions.kind import Request
from pushforward.draws import ExampleDraws, key
from pushforward.export.files import describe
from pushforward.tables.columns import Category, Number
from pushforward.tables.reading.string_columns import Format
from pushforward.transports import Flow

LABELS = Label(("zero", "one", "two", "<b>"), (0.1, 0.2, 0.3, 0.4))
IMAGES = pf.data.ImageSpace((1, 6, 6), (0.3,), (0.38,), (0.0,), (1.0,), {"label": LABELS})
NUMBERS = Numbers(("age", "size"), (2.0, 0.5), (1.0, 1.0))
PLANE = pf.data.VectorSpace((2,), (0.0, 1.0), (1.0, 0.5), conditions={"given": NUMBERS})
SOLVERS = ("ancestral", "dpm")
STEPS = (1, 2, 4)


def graph(inputs, output, lines):
    import onnx

    head = f'<ir_version: 10, opset_import: ["" : 20]>\nsampler ({inputs}) => ({output})'
    model = onnx.parser.parse_model(f"{head} {{\n{lines}\n}}")
    return model.SerializeToString()


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
    flows = {}
    for solver in SOLVERS:
        flows[solver] = {steps: Flow(flow.denoiser, solver, steps) for steps in STEPS}
    about = describe(flow, flows, {"solver": "dpm", "steps": 2, "scale": 1.0}, name)
    about["decoder_stream"] = str(key("rows", "sample/decoder"))
    shape = "n,1,6,6"
    inputs = (
        f"float[{shape}] z, int64[n] label, float[n] scale, float[draws,{shape}] noise, "
        f"float[{shape}] decoder_noise, int64 steps, int64 solver, int64 way"
    )
    return about, graph(inputs, f"float[k,{shape}] x", SUM)


def expected_states(seeds, label=None, scale=1.0, solver="dpm", steps=2):
    """The states and the samples of `images`, (3, n, 6, 6)."""
    draws = ExampleDraws(seeds, name="sample")
    given = {}
    if label is not None:
        given["label"] = label
    labels = Request(IMAGES.conditions).values(len(seeds), given, seeds[0])["label"]
    z = draws.normal((1, 6, 6))
    about, _ = images()
    noise = torch.zeros_like(z)
    for _ in range(about["draws"][solver][str(steps)]):
        noise = noise + draws.normal((1, 6, 6))
    decoder_noise = draws.stream("decoder").normal((1, 6, 6))
    settings = labels + scale + steps + SOLVERS.index(solver)
    begun = 0.4 + 0.1 * z
    last = begun + 0.05 * noise + 0.01 * decoder_noise + 0.02 * settings.view(-1, 1, 1, 1)
    states = torch.stack([begun, (begun + last) / 2, last])
    return states.clamp(0, 1)[:, :, 0].numpy()


def expected(seeds, *settings, **more):
    """The samples of `images`, (n, 6, 6)."""
    return expected_states(seeds, *settings, **more)[-1]


def described(space, name):
    """The description of an untrained model of one call."""
    return describe(pf.recipes.gan(space, "tiny").method.transport(), {}, {}, name)


def points(name="points"):
    """Vectors of two numbers: those of z and what is given."""
    about = described(PLANE, name)
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
    rng = np.random.default_rng(0)
    n = 3000
    weight = rng.normal(70, 9, n)
    unpaid = rng.random(n) < 0.4
    missing = rng.random(n) < 0.1
    paid = rng.exponential(900, n)
    paid[missing] = np.nan
    paid[unpaid] = 0.0
    days = np.rint(rng.uniform(0, 15000, n))
    rooms = rng.integers(1, 7, n).astype(float)
    towns = rng.integers(0, 3, n).astype(float)
    none = np.full(n, np.nan)
    dates = Format(pattern="%-d.%m.%Y")
    names = ("Bonn", "Köln", "Ulm <i>")
    fields = [
        Number.measured("weight", weight, form=Format(decimals=2)),
        Number.measured("paid", paid, form=Format(digits=4)),
        Number.measured("rooms", rooms, "whole", Format(decimals=0)),
        Number.measured("born", days * 86400, "date", dates),
        Number.measured("none", none),
        Category.measured("town", towns, names, missing=True),
    ]
    return pf.data.TableSpace.of(fields)


def rows():
    """Rows of a table whose coordinates are the first numbers of z."""
    space = table_space()
    size = space.shape[0]
    about = described(space, "rows")
    about["noise"] = [size]
    return about, graph(f"float[n,{size}] z", f"float[n,{size}] x", "  x = Identity (z)"), space


CONTROLS = "input, select"
PUT = """
((first) => document.querySelectorAll('input, select').forEach((one, i) => {
  [one.value, one.checked] = first[i];
  one.dispatchEvent(new Event('input', {bubbles: true}));
}))(%s)"""
SETTLED = """
new Promise((done) => {
  const look = () => {
    const text = document.querySelector('[role=status]').textContent;
    if (text.endsWith('…')) setTimeout(look, 10); else done(text);
  };
  look();
})"""
SET = """
(() => {
  const one = document.querySelector('%s');
  %s;
  one.dispatchEvent(new Event('input', {bubbles: true}));
})()"""
PIXELS = """
(() => {
  const c = document.querySelectorAll('canvas')[%d];
  const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  const text = Array.from(data, (value) => String.fromCharCode(value)).join('');
  return [c.width, c.height, text];
})()"""
"""Of a canvas; a text is shorter than numbers."""


class Page:
    """A page in a browser, as it is when it is opened."""

    def __init__(self, opened, path):
        self.run = opened.run
        if self.run("location.href") != path.resolve().as_uri():
            opened.open(path)
            self.settle()
            opened.first = self.each(CONTROLS, "[one.value, one.checked]")
            return
        for _ in range(2):  # since solvers change what sliders of steps mean
            self.run(PUT % json.dumps(opened.first))
            self.settle()

    def each(self, selector, code):
        """What JavaScript says of each element that a selector finds."""
        return self.run(f"[...document.querySelectorAll('{selector}')].map((one) => {code})")

    def settle(self):
        """Wait until the page has computed what is asked for."""
        said = self.run(SETTLED)
        assert "ms" in said or " s" in said, said
        return said

    def set(self, **values):
        """Give controls values as a person does; -- stands for - in their names as _."""
        for name, value in values.items():
            if name == "view":
                self.run(SET % (f"[name=view][value={value}]", "one.checked = true"))
            else:
                act = f"one.value = {json.dumps(value)}"
                self.run(SET % (f"#{name.replace('_', '-')}", act))
        return self.settle()

    def pixels(self, panel=0):
        """The pixels of a canvas, (height, width, RGBA)."""
        width, height, data = self.run(PIXELS % panel)
        return np.frombuffer(data.encode("latin-1"), np.uint8).reshape(height, width, 4)

    def image(self):
        """The grey levels of the only image that is shown."""
        return self.pixels()[..., 0]

    def tiles(self, panel=0, side=6, count=16):
        """The images of a grid, (count, side, side)."""
        picture = self.pixels(panel)[..., 0]
        across = int(np.ceil(np.sqrt(count)))
        gap = (picture.shape[1] - across * side) // max(1, across - 1)
        period = side + gap
        tiles = []
        for i in range(count):
            row, column = divmod(i, across)
            tiles.append(picture[row * period :, column * period :][:side, :side])
        return np.stack(tiles)


def near(shown, x):
    """Whether pixels are those of samples from 0 to 1, to one level."""
    return np.abs(shown.astype(float) - 255 * x).max() <= 1
