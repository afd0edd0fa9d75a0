"""Limits that hold themselves: the numbers in limits.json can only fall."""

import ast
import itertools
import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMITS = json.loads((ROOT / "tests" / "limits.json").read_text())
SOURCE = runpy.run_path(str(ROOT / "tests" / "limits.py"))
MEASURED = SOURCE["MEASURED"]
FAULTS = runpy.run_path(str(ROOT / "tests" / "faults.py"))["FAULTS"]


def test_every_limit_is_measured():
    assert LIMITS.keys() == MEASURED.keys()


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_holds(name):
    counted = MEASURED[name]()
    listed = "\n".join(f"  {place}" for place in counted)
    assert len(counted) <= LIMITS[name], (
        f"{len(counted)} {name}; tests/limits.json allows {LIMITS[name]}. Make the new ones smaller; do not raise the limit. "
        f"These count:\n{listed}"
    )


def test_limits_are_met_by_a_count_that_sees_what_it_should():
    tree = ast.parse("def f(self, a, *b, c=1, **d):\n    'doc'\n    if a:\n        made = [one for one in b]\n    return made\n")
    function = tree.body[0]
    assert SOURCE["statements"](function) == 4
    assert SOURCE["parameters"](function) == 4
    names = sorted(name for name, _ in SOURCE["bindings"](SOURCE["walk"](tree)))
    assert names == ["a", "b", "c", "d", "made", "one", "self"]


def test_the_chain_is_one_of_imports():
    graph, rings, chain = SOURCE["imports"](), SOURCE["rings"](), SOURCE["chain"]()
    assert len(chain) == len(set(chain)) > 10
    for module, other in itertools.pairwise(chain):
        assert other in rings[module] or any(other in graph[inner] for inner in rings[module])


def imported(nodes):
    """The modules that a file imports, anywhere in it."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_test_and_no_benchmark_imports_a_test():
    tests = {path.stem for path in (ROOT / "tests").glob("*.py")}
    sources, nodes = ({**SOURCE[of]("tests"), **SOURCE[of]("benchmarks")} for of in ("sources", "nodes"))
    for path, text in ((Path(file), text) for file, text in sources.items() if file.count("/") == 1):
        assert not tests & {module.split(".")[0] for module in imported(nodes[str(path)])} - {path.stem}, path.name
        code = re.findall(r"^\s*from (test_\w+|conftest) import", text, re.M)  # in code that a test runs elsewhere
        assert not code, path.name


def test_planted_faults_name_lines_that_exist():
    """A fault whose line has changed can no longer be planted by ``tests/faults.py``."""
    for file, faults in FAULTS.items():
        text = (ROOT / "src" / "pushforward" / file).read_text()
        assert not [line for line, _, _ in faults if line not in text], file
        tests = {ROOT / "tests" / f"test_{name}.py" for *_, names in faults for name in names.split()}
        assert all(test.exists() for test in tests), file


FORBIDDEN = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "subprocess", "yaml"}
ALLOWED = {
    ("training/machine.py", "subprocess"): "asks git for the commit of the package",
    ("plugins.py", "exec"): "runs a Python file that the user has named",
    ("networks/pretrained.py", "torch.load"): "reads weights of a package, with weights_only",
    ("extractors/inception.py", "torch.load"): "reads weights that the user names, with weights_only",
}
CALLS = {
    "eval",
    "exec",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "np.load",
    "numpy.load",
    "torch.hub.load",
    "yaml.load",
}


def dangerous(file, node):
    """What a node of a syntax tree does that a file could use to run code; None for most."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        return next((name for name in names if name.split(".")[0] in FORBIDDEN), None)
    if not isinstance(node, ast.Call) or (name := ast.unparse(node.func)) not in CALLS:
        return None
    settings = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in ("np.load", "numpy.load") and settings.get("allow_pickle") == "False":
        return None
    return f"{name} of any file" if name == "torch.load" and settings.get("weights_only") != "True" else name


def test_the_package_has_no_code_that_runs_a_file():
    seen = set()
    for file, nodes in SOURCE["nodes"]("src").items():
        seen |= {(file.removeprefix("src/pushforward/"), what) for node in nodes if (what := dangerous(file, node))}
    assert seen == ALLOWED.keys()
