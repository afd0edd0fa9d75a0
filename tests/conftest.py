"""One thread a test process, since several run beside each other, and threads that do not spin;
before torch is imported.
"""

import contextlib
import copy
import gc
import importlib
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault(
    "TORCH_FAKE_TENSOR_DISPATCH_CACHE", "0"
)  # costs small programs of torch.export more than it saves

import pytest

from pushforward import plugins
from pushforward.registries import KINDS

pytest.register_assert_rewrite("programs")

from programs import command_line, editing_runs, forking  # noqa: E402

import pushforward  # noqa: E402

gc.disable()  # until all tests are collected: what is imported stays
TRACED = {False: (256, 8), True: (1000, 16)}
"""Examples and steps of trajectories: the usual examples in a quarter of the steps."""
QUICK = {
    "training.monitor.standard_callbacks": {"PICTURES": (), "DRAWN": {False: 4, True: 100}},
    "extractors.classifier": {"SEEN": 2000},
    "data.spaces.space": {"REDRAWS": 3},
    "evaluation.models": {"SHOWN": {False: 9, True: 100}},
    "evaluation.pictures": {
        "SHOWN": {False: 9, True: 100},
        "FORMING": {False: 4, True: 60},
        "JUDGED": 50,
    },
    "evaluation.comparison": {"CURVE_STEPS": (1, 4)},
    "evaluation.evaluator": {"LEAST": 1e6, "FEWEST": 20, "PROBED": 20},
    "evaluation.costs": {"TIMED_ROUNDS": 1, "TURN_SECONDS": 0.01},
    "evaluation.trajectories": {"TRACED_SECONDS": 0.01, "TRACED": TRACED, "LEVELS": 5},
}
"""What is drawn of a model, how long a classifier of features learns, how long a model is timed and
measuring may take, by
module: tests of these set numbers of their own. Processes that are forked for tests have them
    too."""


def _set_quick(put=setattr):
    """Set the numbers of `QUICK`; yields each with its module and its usual value."""
    for name, numbers in QUICK.items():
        module = importlib.import_module(f"pushforward.{name}")
        for number, value in numbers.items():
            yield module, number, getattr(module, number)
            put(module, number, value)


def pytest_collection_finish():
    """Libraries and tests stay to the end: no collection of garbage goes through them again, and
    there are fewer collections.

    Nobody reads the stacks of the nodes of an exported program.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    forking.start(lambda: list(_set_quick()))
    gc.enable()
    importlib.import_module("torch.fx.config").do_not_emit_stack_traces = True


def pytest_sessionfinish():
    forking.stop()


@pytest.fixture(scope="session", autouse=True)
def _quick(tmp_path_factory):
    """No pictures while it trains, short timings; features and floors are computed once. Yields the
    usual numbers.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(shared / "cache"))
        yield list(_set_quick(patch.setattr))


@pytest.fixture(scope="session")
def as_usual(_quick):
    """A context in which the numbers of `QUICK` are as users have them, for fixtures that are
    shared.
    """

    @contextlib.contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            for module, number, value in _quick:
                patch.setattr(module, number, value)
            yield

    return context


@pytest.fixture(scope="session")
def command_folder(tmp_path_factory):
    """A folder with a table and runs, which commands share; a test changes nothing that was
    there.
    """
    folder = tmp_path_factory.mktemp("cli")
    command_line.furnish(folder)
    return folder


@pytest.fixture(scope="module")
def here(command_folder):
    """A folder to work in, with one finished run of each kind."""
    with contextlib.chdir(command_folder):
        yield command_folder


@pytest.fixture(scope="session")
def editing_folder(tmp_path_factory):
    """The same with images, for the verbs that edit."""
    folder = tmp_path_factory.mktemp("editing")
    editing_runs.furnish(folder)
    return folder


@pytest.fixture(autouse=True)
def _seeded():
    """A test draws the same numbers in any order of tests."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def content():
    """A comparison as plain data, which a test may change."""
    from programs.reporting import whole

    return copy.deepcopy(whole())


@pytest.fixture
def pictured(monkeypatch):
    """A picture of few samples at the end of each training."""
    monkeypatch.setattr("pushforward.training.monitor.standard_callbacks.PICTURES", (1.0,))


@pytest.fixture
def usual(_quick, monkeypatch):
    """The numbers of `QUICK` as users have them."""
    for module, number, value in _quick:
        monkeypatch.setattr(module, number, value)


@pytest.fixture(scope="session")
def forget():
    """Forgets all plug-ins, as a new process does."""

    def all_parts():
        plugins.LOADED.clear()
        for registry in KINDS.values():
            registry.forget()

    return all_parts


@pytest.fixture(scope="module", autouse=True)
def _own_plugins():
    """What a module registers is forgotten after it."""
    before = [(registry, dict(registry.added)) for registry in KINDS.values()]
    yield
    for registry, added in before:
        registry.forget()
        registry.added.update(added)
    plugins.LOADED.clear()


@pytest.fixture(scope="session")
def moons():
    """All of the moons; nobody changes them."""
    return pushforward.data.load("moons")
