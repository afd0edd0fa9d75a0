"""The weight of the house stays below its limits, and its code runs no file."""

import ast
import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
SOURCE = runpy.run_path(str(TESTS / "limits.py"))
FAULTS = runpy.run_path(str(TESTS / "faults.py"))["FAULTS"]


def test_the_house_weighs_no_more_than_it_may():
    limits = json.loads((TESTS / "limits.json").read_text())
    figures = SOURCE["figures"]()
    assert figures.keys() == limits.keys()
    over = []
    for name, figure in figures.items():
        if figure > limits[name]:
            over.append(f"{name}: {figure:,} of {limits[name]:,}")
    assert not over, (
        "Remove something in place of what was added, or raise tests/limits.json and say why: "
        f"{over}"
    )


def is_nested(node):
    """Return whether a node is a ternary directly inside another one."""
    children = ast.iter_child_nodes(node)
    return isinstance(node, ast.IfExp) and any(isinstance(child, ast.IfExp) for child in children)


def is_packed(node):
    """Return whether a node is ``a, b = x, y``, except exchanges such as ``a, b = b, a``."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    if not isinstance(node.targets[0], ast.Tuple):
        return False
    assigned = {ast.unparse(target) for target in node.targets[0].elts}
    used = {ast.unparse(part) for part in ast.walk(node.value) if isinstance(part, ast.expr)}
    return not assigned & used


@pytest.mark.parametrize("is_dense", [is_nested, is_packed])
def test_each_step_is_on_a_line_of_its_own(is_dense):
    found = []
    for folder in ("src", "tests", "benchmarks"):
        for file, nodes in SOURCE["nodes"](folder).items():
            found += [f"{file}:{node.lineno}" for node in nodes if is_dense(node)]
    assert not found, f"Write a block, or one assignment per line: {', '.join(found)}"


def imported(nodes):
    """The modules that import statements name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_no_test_and_no_benchmark_imports_a_test(folder):
    tests = {path.stem for path in TESTS.glob("*.py")}
    nodes = SOURCE["nodes"](folder)
    for file, text in SOURCE["sources"](folder).items():
        if file.count("/") > 1:
            continue
        modules = {module.split(".")[0] for module in imported(nodes[file])}
        assert not tests & modules - {Path(file).stem}, file
        in_code_of_programs = re.findall(r"^\s*from (test_\w+|conftest) import", text, re.M)
        assert not in_code_of_programs, file


def test_planted_faults_name_lines_that_exist():
    """A fault whose line has changed can no longer be planted by ``tests/faults.py``."""
    for file, faults in FAULTS.items():
        text = (ROOT / "src" / "pushforward" / file).read_text()
        for line, _, modules in faults:
            assert line in text, file
            for module in modules.split():
                assert (TESTS / f"test_{module}.py").exists(), file


FORBIDDEN = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "subprocess",
    "yaml",
}
ALLOWED = {
    ("training/runs/spec_file.py", "subprocess"): "asks git for the commit of the package",
    ("plugins.py", "exec"): "runs a Python file that the user has named",
    (
        "extractors/pretrained.py",
        "torch.load",
    ): "reads weights of a package, or that the user names, with weights_only",
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


def dangerous(node):
    """What a node of a syntax tree does that a file could use to run code; None for most."""
    for module in imported([node]):
        if module.split(".")[0] in FORBIDDEN:
            return module
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    if name not in CALLS:
        return None
    settings = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in ("np.load", "numpy.load") and settings.get("allow_pickle") == "False":
        return None
    if name == "torch.load" and settings.get("weights_only") != "True":
        return f"{name} of any file"
    return name


def test_the_package_has_no_code_that_runs_a_file():
    seen = set()
    for file, nodes in SOURCE["nodes"]("src").items():
        for node in nodes:
            danger = dangerous(node)
            if danger:
                seen.add((file.removeprefix("src/pushforward/"), danger))
    assert seen == ALLOWED.keys()
