"""The documentation is true: its code runs as pasted, its commands run, its links lead somewhere.

Budgets are two steps, and named data sets hold a few examples; all else is as a reader would paste
it.
"""

import contextlib
import dataclasses
import functools
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import serving
from programs.text_tables import read_cases

import pushforward as pf
import pushforward.testing  # before `briefly`, since its checks train for a fixed number of steps
from pushforward.cli import main
from pushforward.data import Split
from pushforward.registries import PARTS, SETS
from pushforward.training.options import BUDGETS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLUGIN = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""Code that a page's commands read from a file."""
SMALL_OPTIONS = """
train    | --steps 2 --size tiny --batch 16
distil   | --steps 2 --batch 16 --trajectories 32
resume   | --steps 3
compare  | --steps 2 --size tiny --batch 16 --n 20 --repeats 1
evaluate | --n 20 --repeats 1
sample   | --n 4
report   | --n 20 --repeats 1
tune     | --rounds 1 --examples 4
inpaint  | --n 1 --rounds 1
invert   | --steps 2 --starts 2
nearest  | --n 4
"""
SMALL = {verb: options.split() for verb, options in read_cases(SMALL_OPTIONS)}
"""What each verb is given, instead of its budget or besides."""
BEFORE = {
    "runs/mnist-ddpm": "ddpm",
    "runs/mnist-tiny": "ddpm",
    "runs/mnist-vdm": "vdm",
    "runs/mnist-gan": "gan",
}
"""Runs that the pages take for granted, with their recipes."""
CHEAP = {"ddpm": {"network": "mlp"}}
"""Settings of these recipes, for which nothing on a page depends on the kind of network."""


def blocks(page, language):
    text = page.read_text()
    return [code for name, code in FENCE.findall(text) if name == language]


def pages(language):
    found = [page for page in PAGES if blocks(page, language)]
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in found]


def commands(page):
    """The words of each command on a page."""
    found = []
    for code in blocks(page, "bash"):
        joined = code.replace("\\\n", " ")
        for line in joined.splitlines():
            program, *words = shlex.split(line, comments=True) or [None]
            if program == "pushforward":
                found.append(words)
    return found


def small(words):
    words = list(words)
    if "--budget" in words:
        at = words.index("--budget")
        del words[at : at + 2]
    verb = words[0]
    added = SMALL.get(verb, [])
    for option, value in zip(added[::2], added[1::2], strict=True):
        put(words, option, value)
    if "--devices" in words:
        put(words, "--devices", "2")
    if verb == "sample" and words[-1].endswith("samples.npz"):
        put(words, "--n", "20")  # as many as are scored after it
    if "mine.py" in " ".join(words) and "--batch" in words:
        put(words, "--batch", "64")  # its loss compares groups of 64
    return words


def put(words, option, value):
    """Give an option this value."""
    if option not in words:
        words += [option, value]
    words[words.index(option) + 1] = value


def digits(side):
    """A reader of few digits, enlarged to images of this side."""

    def read(download):
        from sklearn.datasets import load_digits

        source = load_digits()
        order = np.random.default_rng(0).permutation(len(source.target))
        rows = order[:150]
        levels = np.rint(source.images[rows] * (255 / 16))
        factor = side // 8
        x = levels.astype(np.uint8).repeat(factor, 1).repeat(factor, 2)
        edge = (side - x.shape[1]) // 2
        padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
        labels = source.target[rows].astype(np.int64)
        return Split(padded[:, None], labels), None

    return read


def first(source):
    """A reader of the first examples."""

    def read(download):
        train, held_out = source.read(download)
        return train.take(slice(400)), held_out.take(slice(200))

    return read


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder as a reader has it: photos, a seven, the example, earlier runs; with small data and
    small budgets.
    """
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        yield _prepared(folder, patch)


def _prepared(folder, patch):
    patch.chdir(folder)
    patch.setenv("PUSHFORWARD_CACHE", str(folder / "cache"))
    for source in few_examples():
        patch.setitem(SETS.added, source.name, source)
    lay_out(folder)
    for page in ("one-new-file.md", "add-a-method.md"):
        text = (ROOT / "docs" / page).read_text()
        for name, code in PLUGIN.findall(text):
            (folder / name).write_text(code)
    mnist = pf.data.load("mnist")
    for out, name in BEFORE.items():
        recipe = pf.recipes.named(name)(mnist.space, "tiny", **CHEAP.get(name, {}))
        pf.fit(recipe, mnist, steps=1, out=out)
    briefly(patch)
    return folder


def few_examples():
    """Named data sets that are read fast."""
    few = dataclasses.replace(SETS["digits"], held_out=40, read=digits(8))
    sources = [few]
    sources.append(dataclasses.replace(few, name="mnist", shape=(1, 28, 28), read=digits(28)))
    for source in SETS.values():
        if source.shape == (2,):
            planar = dataclasses.replace(source, counts=(400, 200), read=first(source))
            sources.append(planar)
    return sources


def lay_out(folder):
    """Photos, a seven, a table of people and the example."""
    random = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(40):
        photo = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(photo).save(folder / "photos" / f"{i}.png")
    seven = random.integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(seven).save(folder / "seven.png")
    lines = ["age,sex,weight,income"]
    for i in range(200):
        income = "high" if i % 3 == 2 else "low"
        lines.append(f"{20 + i % 40},{'fm'[i % 2]},{i % 7}.5,{income}")
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    examples = ROOT / "docs" / "examples"
    shutil.copytree(examples, folder / "docs" / "examples")
    shutil.copy(examples / "mine.py", folder)


def briefly(patch):
    """The budgets of Python code: fewer steps, samples and examples, whatever a page asks for."""
    from pushforward import evaluation, training
    from pushforward.evaluation import curves, model_metrics as bounds, pictures as drawing
    from pushforward.extractors import classifier
    from pushforward.transports import learned_steps as grid_learning, likelihood as likelihood

    def fit(recipe, *given, **options):
        others = {name: value for name, value in options.items() if name not in BUDGETS}
        if isinstance(recipe, str):
            others.setdefault("size", "tiny")
        return real(recipe, *given, steps=2, **others)

    real = training.fit
    patch.setattr(training, "fit", functools.wraps(real)(fit))
    patch.setattr(evaluation, "compare", functools.partial(evaluation.compare, n=20, repeats=1))
    patch.setattr(likelihood, "log_prob", functools.partial(likelihood.log_prob, steps=2))
    patch.setattr(drawing, "SHOWN", {False: 9, True: 100})
    patch.setattr(drawing, "FORMING", {False: 4, True: 60})
    patch.setattr(curves, "CURVE_STEPS", (2,))
    patch.setattr(classifier, "SEEN", 500)
    patch.setattr(bounds, "FITTED", 8)
    learned = functools.partial(grid_learning.learn_grid, rounds=1, n=4, batch=4)
    patch.setattr(grid_learning, "learn_grid", learned)


@contextlib.contextmanager
def asked(page):
    """Where the code of a page is run: the server's page has a server to ask."""
    if page.name != "server.md":
        yield 8000
        return
    run = pf.fit("flow", pf.data.load("digits"), out="asked/digits")
    with serving.beside(run) as port:
        yield port


def run(words):
    if words[0] != "serve":
        return main(words)
    port = serving.free_port()
    put(words, "--port", str(port))
    return serving.until_told(words, port)


@pytest.mark.parametrize("page", pages("python"))
def test_code_runs_as_pasted(page, here, monkeypatch):
    monkeypatch.setattr(PARTS, "added", dict(PARTS.added))
    names = {"__name__": "pasted"}
    with asked(page) as port:
        for code in blocks(page, "python"):
            there = code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            exec(compile(there, str(page), "exec"), names)
    if page == ROOT / "README.md":
        flow = names["flow"]
        x = flow.sample(2, seed=0)
        z = flow.encode(x)
        change = flow.space.to_data(flow(z)) - x
        assert change.abs().max() < 0.05
    if "Network" in names:
        network = names["Network"]()
        run = pf.load("runs/squares", network=network)
        change = run.sample(2, label=1, scale=4) - run.sample(2, label=1)
        assert change.abs().max() > 0.01, "guidance has an effect"


@pytest.mark.parametrize("page", pages("bash"))
def test_commands_run(page, here, capsys):
    for words in commands(page):
        code = run(small(words))
        assert code == 0, f"pushforward {shlex.join(words)}: {code}\n{capsys.readouterr().err}"


def links(page):
    """The files that a page leads to."""
    text = FENCE.sub("", page.read_text())
    prose = re.sub(r"`[^`\n]*`", "", text)
    targets = re.findall(r"\]\(([^)#\s]+)", prose)
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    return [(page.parent / target).resolve() for target in local]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in links(page):
        assert target.exists(), target


def test_every_page_is_reached_from_the_readme():
    seen = set()
    front = [ROOT / "README.md"]
    while front:
        page = front.pop()
        seen.add(page.resolve())
        linked = [other for other in links(page) if other.suffix == ".md"]
        front += [other for other in linked if other not in seen]
    assert {page.resolve() for page in PAGES} <= seen
