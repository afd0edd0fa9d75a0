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
SMALL = {
    "train": {"--steps": "2", "--size": "tiny", "--batch": "16"},
    "distil": {"--steps": "2", "--batch": "16", "--trajectories": "32"},
    "resume": {"--steps": "3"},
    "compare": {"--steps": "2", "--size": "tiny", "--batch": "16", "--n": "20", "--repeats": "1"},
    "evaluate": {"--n": "20", "--repeats": "1"},
    "sample": {"--n": "4"},
    "report": {"--n": "20", "--repeats": "1"},
    "tune": {"--rounds": "1", "--examples": "4"},
    "inpaint": {"--n": "1", "--rounds": "1"},
    "invert": {"--steps": "2", "--starts": "2"},
    "nearest": {"--n": "4"},
}
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


def blocks(page, *languages):
    return [code for language, code in FENCE.findall(page.read_text()) if language in languages]


def pages(*languages):
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if blocks(page, *languages)
    ]


def commands(page):
    lines = [
        line for code in blocks(page, "bash") for line in code.replace("\\\n", " ").splitlines()
    ]
    return [
        words[1:]
        for words in (shlex.split(line, comments=True) for line in lines)
        if words[:1] == ["pushforward"]
    ]


def small(words):
    words = list(words)
    if "--budget" in words:
        at = words.index("--budget")
        del words[at : at + 2]
    added = SMALL.get(words[0], {})
    for option, value in added.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    if "--devices" in words:
        words[words.index("--devices") + 1] = "2"
    if words[0] == "sample" and words[-1].endswith("samples.npz"):
        words[words.index("--n") + 1] = "20"  # as many as are scored after it
    if any(word.endswith("mine.py") for word in words) and "--batch" in words:
        words[words.index("--batch") + 1] = "64"  # its loss compares groups of 64
    return words


def digits(side):
    def read(download):
        from sklearn.datasets import load_digits

        source = load_digits()
        rows = np.random.default_rng(0).permutation(len(source.target))[:150]
        x = (
            np.rint(source.images[rows] * (255 / 16))
            .astype(np.uint8)
            .repeat(side // 8, 1)
            .repeat(side // 8, 2)
        )
        edge = (side - x.shape[1]) // 2
        return Split(
            np.pad(x, ((0, 0), (edge, edge), (edge, edge)))[:, None],
            source.target[rows].astype(np.int64),
        ), None

    return read


def first(source):
    return lambda download: tuple(
        part.take(slice(rows)) for part, rows in zip(source.read(download), (400, 200), strict=True)
    )


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
    few = dataclasses.replace(SETS["digits"], held_out=40, read=digits(8))
    planar = [
        dataclasses.replace(source, counts=(400, 200), read=first(source))
        for source in SETS.values()
        if source.shape == (2,)
    ]
    for source in (
        few,
        dataclasses.replace(few, name="mnist", shape=(1, 28, 28), read=digits(28)),
        *planar,
    ):
        patch.setitem(SETS.added, source.name, source)
    random = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(40):
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(
            folder / "photos" / f"{i}.png"
        )
    Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8)).save(folder / "seven.png")
    people = [
        f"{20 + i % 40},{'fm'[i % 2]},{i % 7}.5,{('low', 'high')[i % 3 > 1]}" for i in range(200)
    ]
    (folder / "people.csv").write_text("\n".join(["age,sex,weight,income", *people]) + "\n")
    shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples")
    shutil.copy(ROOT / "docs" / "examples" / "mine.py", folder)
    for page in ("one-new-file.md", "add-a-method.md"):
        for name, code in PLUGIN.findall((ROOT / "docs" / page).read_text()):
            (folder / name).write_text(code)
    mnist = pf.data.load("mnist")
    for out, recipe in BEFORE.items():
        pf.fit(
            pf.recipes.named(recipe)(mnist.space, "tiny", **CHEAP.get(recipe, {})),
            mnist,
            steps=1,
            out=out,
        )
    briefly(patch)
    return folder


def briefly(patch):
    """The budgets of Python code: fewer steps, samples and examples, whatever a page asks for."""
    from pushforward import evaluation, training
    from pushforward.evaluation import curves, model_metrics as bounds, pictures as drawing
    from pushforward.extractors import classifier
    from pushforward.transports import learned_steps as grid_learning, likelihood as likelihood

    def fit(*given, **options):
        others = {name: value for name, value in options.items() if name not in BUDGETS}
        return real(
            *given, **({"size": "tiny"} if isinstance(given[0], str) else {}) | others, steps=2
        )

    real = training.fit
    patch.setattr(training, "fit", functools.wraps(real)(fit))
    patch.setattr(evaluation, "compare", functools.partial(evaluation.compare, n=20, repeats=1))
    patch.setattr(likelihood, "log_prob", functools.partial(likelihood.log_prob, steps=2))
    drawn = {drawing: {"SHOWN": {False: 9, True: 100}, "FORMING": {False: 4, True: 60}}}
    for module, values in {
        **drawn,
        curves: {"CURVE_STEPS": (2,)},
        classifier: {"SEEN": 500},
        bounds: {"FITTED": 8},
    }.items():
        for name, value in values.items():
            patch.setattr(module, name, value)
    patch.setattr(
        grid_learning,
        "learn_grid",
        functools.partial(grid_learning.learn_grid, rounds=1, n=4, batch=4),
    )


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
    words[words.index("--port") + 1] = str(port := serving.free_port())
    return serving.until_told(words, port)


@pytest.mark.parametrize("page", pages("python"))
def test_code_runs_as_pasted(page, here, monkeypatch):
    monkeypatch.setattr(PARTS, "added", dict(PARTS.added))
    names = {"__name__": "pasted"}
    with asked(page) as port:
        for code in blocks(page, "python"):
            exec(
                compile(code.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), str(page), "exec"),
                names,
            )
    if page == ROOT / "README.md":
        flow = names["flow"]
        x = names["flow"].sample(2, seed=0)
        largest = (flow.space.to_data(flow(flow.encode(x))) - x).abs().max()
        assert largest < 0.05
    if "Network" in names:
        run = pf.load("runs/squares", network=names["Network"]())
        change = run.sample(2, label=1, scale=4) - run.sample(2, label=1)
        assert change.abs().max() > 0.01, "guidance has an effect"


@pytest.mark.parametrize("page", pages("bash"))
def test_commands_run(page, here, capsys):
    for words in commands(page):
        code = run(small(words))
        assert code == 0, f"pushforward {shlex.join(words)}: {code}\n{capsys.readouterr().err}"


def links(page):
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    return [
        target
        for target in re.findall(r"\]\(([^)#\s]+)", prose)
        if not target.startswith(("http://", "https://"))
    ]


def test_links_lead_somewhere():
    assert [
        (page.name, target)
        for page in PAGES
        for target in links(page)
        if not (page.parent / target).exists()
    ] == []


def test_every_page_is_reached_from_the_readme():
    seen = set()
    front = [ROOT / "README.md"]
    while front:
        page = front.pop()
        seen.add(page.resolve())
        linked = [
            (page.parent / target).resolve() for target in links(page) if target.endswith(".md")
        ]
        front += [other for other in linked if other not in seen]
    assert {page.resolve() for page in PAGES} <= seen
