"""Networks and samplers as programs of `torch.export` and as ONNX files, against the samplers
themselves.
"""

import base64
import copy
import errno
import functools
import itertools
import json
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from programs.cases import class_labels
from programs.tables import mixed_table, wide_table
from torch.export import Dim

import pushforward as pf
from pushforward import networks, solvers
from pushforward.cli import main
from pushforward.conditions import Label
from pushforward.denoisers.denoiser import SCALE
from pushforward.editing.given_data import Truncated
from pushforward.errors import CheckpointError, UsageError
from pushforward.export import Unlike, graph
from pushforward.export.onnx_file import OPSET
from pushforward.export.parity import by_torch, distances, feeds_of, session
from pushforward.export.program import End, GivenNoise, Sampler, TableRow, exported, inputs_of
from pushforward.export.tables import RowLayout, dense
from pushforward.files import replacing, replacing_files
from pushforward.networks import MLP, LevelPosterior, Reshaped, UNet
from pushforward.registries import SOLVERS
from pushforward.samples import write_samples
from pushforward.training import in_latent
from pushforward.transports import Autoencoder, Flow, Latent, inner_of, with_inner

SMALL = (1, 8, 8)
CLASSES = ("a", "b")
SPACE = pf.data.ImageSpace(
    SMALL, (0.4,), (0.3,), (0.0,), (1.0,), conditions={"label": Label(CLASSES, (0.5, 0.5))}
)


def speaking(network):
    network.leave.reset_parameters()
    return network


TIMED = {
    "mlp": lambda: Reshaped(
        speaking(MLP(64, 64, width=16, depth=1, conditions=class_labels(2))), SMALL
    ),
    "unet": lambda: speaking(
        UNet(SMALL, widths=(8,), blocks=1, conditions=class_labels(2), heads=2)
    ),
    "levels": lambda: LevelPosterior(
        Reshaped(MLP(512, 512, width=8, depth=1, conditions=class_labels(2)), (8, *SMALL[1:])),
        SPACE,
    ),
    "dit": lambda: speaking(
        networks.DiT(SMALL, patch=4, width=16, depth=1, heads=2, conditions=class_labels(2))
    ),
}


class Light(torch.nn.Module):
    """A few operations on x, all times and the label; what else networks do is exported above, by
    itself.
    """

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(64, 64)
        self.codes = torch.nn.Embedding(3, 64)

    def forward(self, x, t, condition=None):
        times = t[:, None] if t.dim() == 1 else t
        seen = self.map(x.flatten(1)) + times @ self.map.weight[: times.shape[1]]
        if condition is not None:
            seen = seen + self.codes(number(condition))
        return torch.sin(seen).unflatten(1, SMALL)


def number(condition):
    hidden = condition.get("label_null")
    if hidden is None:
        return condition["label"] + 1
    return torch.where(hidden, 0, condition["label"] + 1)


def program(module, *inputs):
    n = Dim("n", min=1)
    shapes = []
    for part in inputs:
        if part is None:
            shapes.append(None)
        elif isinstance(part, dict):
            shapes.append({name: {0: n} for name in part})
        else:
            shapes.append({0: n})
    with torch.no_grad():
        return torch.export.export(module.eval(), inputs, dynamic_shapes=tuple(shapes)).module()


def given(n, times=1):
    torch.manual_seed(n)
    t = torch.rand(n) if times == 1 else torch.rand(n, times)
    return torch.randn(n, *SMALL), t, {"label": torch.arange(n) % 2}


def check(module, *makers):
    program_module = program(module, *(make(3) for make in makers))
    inputs = [make(5) for make in makers]
    with torch.no_grad():
        torch.testing.assert_close(program_module(*inputs), module(*inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TIMED)
def test_a_denoisers_network_exports_with_any_number_of_rows(name):
    check(TIMED[name](), lambda n: given(n)[0], lambda n: given(n)[1], lambda n: given(n)[2])


def denoiser(name="mlp", path=None, prediction="velocity", space=SPACE):
    torch.manual_seed(0)
    return pf.Denoiser(TIMED[name](), path or pf.Linear(), prediction, space).eval()


def latent(flow):
    image = pf.data.ImageSpace((1, 16, 16), (0.5,), (0.3,), (0.0,), (1.0,))
    decoder = networks.Expander((1, 16, 16), inputs=1, factor=2, width=8)
    coded = Autoencoder(
        networks.Compressor((1, 16, 16), outputs=2, factor=2, width=8), decoder, image
    ).eval()
    return Latent(flow, coded)


def model(recipe, solver, way="plain"):
    torch.manual_seed(0)
    part = pf.recipes.named(recipe)(SPACE, "tiny", network=Light()).method.denoiser
    if solver == "jump":
        part = pf.FlowMap(Light(), part.path, part.prediction, SPACE)
    if way == "repathed":
        part = part.on(pf.Linear() if recipe == "ddpm" else pf.VP())
    if "guided" in way:
        if way == "autoguided":
            part = pf.Autoguided(part, denoiser(path=pf.VP()))
        else:
            part = pf.Guided(part, 2.0, (0.1, 3.0))
    flow = Flow(pf.Thresholded(part, 0.9) if way == "guided and thresholded" else part, solver, 2)
    return (latent(flow) if way == "latent" else flow).eval()


ONE_CALL = ("gan", "hvae", "vae", "vqvae")
FIXED = sorted(name for name, part in SOLVERS.items() if not part.adaptive and not part.jumps)
WAYS = ("autoguided", "guided and thresholded", "repathed")


def worst(made, steps=(1, 2, 5), examples=(1, 5)):
    """The greatest distance of a graph from its sampler, in standard deviations."""
    opened = session(made.model.SerializeToString())
    return max(
        each.worst for each in distances(opened, made.transport, made.flows, steps, examples)
    )


@pytest.fixture(autouse=True, scope="module")
def one_registry():
    """Torch builds its list of translations anew for each export, which is most of the time of a
    small one.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    first = functools.cache(ONNXRegistry.from_torchlib)

    def another(**versions):
        registry = copy.copy(first(**versions))
        registry.functions = {name: [*found] for name, found in registry.functions.items()}
        return registry

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ONNXRegistry, "from_torchlib", staticmethod(another))
        yield


@pytest.fixture(scope="module")
def every_solver():
    """One graph of a guided model under every solver with fixed steps."""
    return graph(model("edm", "dpm"), FIXED, 12)


def test_one_graph_holds_every_solver_and_number_of_steps(every_solver):
    """Solvers of one and of many slots, with noise and without, share a loop; each example has a
    scale of its own.
    """
    assert list(every_solver.flows) == FIXED
    assert worst(every_solver, (1, 12)) < 1e-5


@pytest.mark.parametrize("recipe", ["ddpm", "vdm"])
def test_every_recipe_in_steps_is_a_graph(recipe):
    actual = worst(graph(model(recipe, "dpm"), ["dpm"], 4), (1, 4))
    assert actual < 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_every_wrapper_of_a_model_is_in_the_graph(way):
    made = graph(model("flow", "dpm", way), ["heun"], 3)
    assert worst(made, (1, 3)) < 1e-5
    assert ("scale" in made.description["default"]) == (way != "autoguided")


def test_a_map_between_two_times_is_a_graph_by_itself():
    made = graph(model("flow", "jump"), [], 3)
    assert list(made.flows) == ["jump"]
    assert worst(made, (1, 3)) < 1e-5
    with pytest.raises(UsageError):
        graph(model("flow", "jump"), ["jump", "heun"], 2)


@pytest.mark.parametrize("recipe", ONE_CALL)
def test_a_model_of_one_call_is_a_graph(recipe):
    torch.manual_seed(0)
    made = graph(pf.recipes.named(recipe)(SPACE, "tiny").method.transport().eval())
    assert worst(made) < 1e-5
    assert made.description["default"] == {}


def begun(start, z, noise):
    """The slots before the first row."""
    return torch.einsum("wk,k...->w...", start, torch.cat([z[None], noise]))


@pytest.mark.skipif(
    torch.__version__ < "2.13",
    reason="torch's scan, which is not public, exports no network before 2.13",
)
def test_the_loop_does_what_torchs_scan_does_bit_for_bit(every_solver):
    from torch._higher_order_ops import scan

    made = every_solver
    flow = made.flows["dpm"][12]
    layout = RowLayout.of(dense(each.table) for by in made.flows.values() for each in by.values())
    arrays = dense(flow.table)
    model_session = session(made.model.SerializeToString())
    feeds = feeds_of(model_session, flow, 4, 0, True, list(made.flows).index("dpm"))
    step = TableRow(flow, layout, arrays.kind)
    end = End(flow)

    class Scanned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.step = step

        def forward(self, slots, rows, condition, noise):
            return scan(
                lambda now, row: (self.step(now, row, condition, noise)[0], row.sum()), slots, rows
            )[0]

    condition = {"label": torch.from_numpy(feeds["label"]), SCALE: torch.from_numpy(feeds["scale"])}
    noise = torch.zeros(layout.noises, 4, *SMALL)
    slots = begun(layout.start(arrays, flow.width).float(), torch.from_numpy(feeds["z"]), noise)
    inputs = (slots, layout.rows(arrays).float(), condition, noise)
    with torch.no_grad():
        looped = torch.onnx.export(
            Scanned().eval(), inputs, dynamo=True, verbose=False, opset_version=OPSET
        ).model_proto
    scanned = session(looped.SerializeToString())
    given = dict(
        zip(
            [each.name for each in scanned.get_inputs()],
            torch.utils._pytree.tree_leaves(inputs),
            strict=True,
        )
    )
    states = torch.from_numpy(
        scanned.run(None, {name: part.numpy() for name, part in given.items()})[0]
    )
    actual = end(states[:1])[0].numpy()
    expected = model_session.run(["x"], feeds)[0]
    assert np.array_equal(actual, expected)


def test_the_way_to_the_samples_is_in_the_graph_where_it_is_asked_for():
    made = graph(model("flow", "heun", "latent"), ["heun"], 3, way=True)
    assert worst(made, (1, 3)) < 1e-5
    opened = session(made.model.SerializeToString())
    feeds = feeds_of(opened, with_inner(made.transport, made.flows["heun"][3]), 2, 0, False)
    (samples,) = opened.run(["x"], feeds)
    (way,) = opened.run(["x"], feeds | {"way": np.array(1)})
    assert way.shape == (1 + 5, 2, 1, 16, 16)
    assert np.array_equal(way[-1:], samples)
    started = made.transport.space.to_data(
        made.transport.decoded(inner_of(made.transport).width * torch.from_numpy(feeds["z"]), None)
    )
    expected = started.detach().numpy()
    np.testing.assert_allclose(way[0], expected, atol=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    return pf.fit("flow", pf.data.load("digits"), size="tiny", steps=4, out=folder)


ALONE = (
    "import sys; sys.modules['torch'] = sys.modules['pushforward'] = None; sys.argv = "
    "sys.argv[1:]; import runpy; "
)
ALONE += (
    "sys.path.insert(0, __import__('os').path.dirname(sys.argv[0])); "
    "runpy.run_path(sys.argv[0], "
    "run_name='__main__')"
)


def alone(file, *words):
    """Run a file in a Python that has neither torch nor this library."""
    subprocess.run(
        [sys.executable, "-c", ALONE, str(file), *map(str, words)], check=True, cwd=file.parent
    )


@pytest.fixture(scope="module")
def written(run):
    return run.export(solvers=["dpm", "ancestral"], steps_up_to=25)


@pytest.mark.parametrize(
    "asked",
    [{}, {"label": "3", "steps": 4, "solver": "ancestral", "scale": 2.0}],
    ids=["usual", "asked"],
)
def test_numpy_and_onnxruntime_draw_what_the_run_draws(run, written, asked):
    assert max(each.worst for each in written.distances) < 1e-5
    out = written.files[0].parent
    alone(
        out / "run.py",
        "--n",
        5,
        "--seed",
        -2,
        *(word for name, value in asked.items() for word in (f"--{name}", value)),
    )
    condition = {"label": asked.pop("label")} if "label" in asked else None
    actual = np.load(out / "samples.npy")
    expected = run.sample(5, condition, seed=-2, **asked).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_files_are_small_and_say_nothing_of_the_machine(run, written):
    texts = {file.name: file.read_bytes() for file in written.files}
    assert texts["run.py"].count(b"\n") <= 95
    assert not re.search(rb"/(home|root|tmp|work)/|\.py", texts["model.onnx"])
    made = onnx.load_from_string(texts["model.onnx"])
    onnx.checker.check_model(made, full_check=True)
    assert [(each.domain, each.version) for each in made.opset_import] == [("", 20)]
    content = json.loads(made.metadata_props[0].value)
    assert content == json.loads(texts["space.json"])
    tables = sum(len(each.raw_data) for each in made.graph.initializer)
    weights = sum(4 * weight.numel() for weight in run.method.parameters())
    (loop,) = (node for node in made.graph.node if node.op_type == "Loop")
    inside = [
        node.attribute[0].t for node in loop.attribute[0].g.node if node.op_type == "Constant"
    ]
    total = sum(len(each.raw_data) for each in inside)
    assert total > 0.9 * weights  # onnxruntime rearranges only such weights
    assert len(texts["model.onnx"]) < weights + tables + 60_000


@pytest.mark.parametrize("make", [mixed_table, wide_table])
def test_rows_of_an_exported_table_are_those_of_sample_byte_for_byte(make, tmp_path):
    """Of codes, whose decoder draws noise of its own; and of wide noise, which reaches all
    values.
    """
    data = make()
    torch.manual_seed(0)
    codes = pf.recipes.vae(data.space, "tiny").method.autoencoder()
    transport = in_latent("flow", data, codes, "tiny").method.transport().eval()
    written = pf.export.export(transport, tmp_path, solvers=["dpm"], steps_up_to=2)
    assert max(each.worst for each in written.distances) < 1e-5
    alone(tmp_path / "run.py", "--n", 40, "--steps", 2)
    drawn = np.load(tmp_path / "samples.npy")
    x = with_inner(transport, inner_of(transport).with_solver("dpm", 2)).sample(40)
    np.testing.assert_allclose(drawn, x.numpy(), atol=1e-3)
    np.save(
        tmp_path / "wide.npy",
        np.random.default_rng(0).normal(0, 1.5, (2000, x.shape[1])).astype(np.float32),
    )
    encoded = data.train.data_units(slice(None)).numpy()
    np.save(tmp_path / "real.npy", encoded.astype(np.float32))
    for name, ending in itertools.product(("samples", "wide", "real"), (".csv", ".tsv")):
        alone(tmp_path / "rows.py", f"{name}.npy", f"{name}{ending}")
        x = torch.from_numpy(np.load(tmp_path / f"{name}.npy"))
        write_samples(tmp_path / f"wanted-{name}{ending}", data.space, len(x), [(x, None)])
        wanted = (tmp_path / f"wanted-{name}{ending}").read_bytes()
        assert (tmp_path / f"{name}{ending}").read_bytes() == wanted
    metadata = {each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props}
    told = json.loads((tmp_path / "space.json").read_text())
    columns = json.loads(lzma.decompress(base64.b85decode(metadata["columns"])))
    assert told == json.loads(metadata["pushforward"]) | {"columns": columns}


def test_an_export_of_a_table_says_that_it_holds_training_values(tmp_path, capsys):
    data = wide_table()
    folder = tmp_path / "run"
    pf.fit("gan", data, size="tiny", steps=2, out=folder)
    extreme = np.nanmax(data.train.table_values[:, 2])
    assert main(["export", str(folder)]) == 0
    assert "training values" in capsys.readouterr().err
    assert repr(float(extreme)) in (folder / "export" / "space.json").read_text()


def test_a_generator_of_rows_is_a_graph():
    """Its scores are looked up among the edges of closed columns; what float16 does not hold, such
    as units, stays float32.
    """
    torch.manual_seed(0)
    actual = worst(
        graph(pf.recipes.gan(mixed_table(200).space, "tiny").method.transport().eval(), half=True)
    )
    assert actual < 1e-5


@pytest.fixture(scope="module")
def learned():
    """A model with steps that were learned, and its graph."""
    flow = model("flow", "dpm")
    return flow, graph(flow, ["dpm"], 3, learned=[Flow(flow.denoiser, "dpm", 2, [0.999, 0.6, 0.0])])


def test_learned_steps_are_a_solver_of_their_own(learned):
    _, made = learned
    assert list(made.flows) == ["dpm", "learned"]
    times = made.flows["learned"][2].times.tolist()
    assert times == [0.999, 0.6, 0.0]
    assert worst(made, (2, 3)) < 1e-5


def test_weights_as_float16_are_those_of_a_rounded_model(learned):
    flow, whole = learned
    half = graph(flow, ["dpm"], 3, half=True)
    assert worst(half, (2,)) < 1e-5
    assert half.model.ByteSize() < whole.model.ByteSize() - sum(
        weight.numel() for weight in flow.parameters()
    )


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(run, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="chooses its own steps"):
        run.export(tmp_path / "a", solvers=["adaptive"])
    with pytest.raises(UsageError, match="diffusers"):
        run.export(tmp_path / "a", format="diffusers")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.py").write_text("somebody's own")
    with pytest.raises(UsageError, match="already"):
        run.export(tmp_path / "b")
    for option in ({"half": True}, {"solvers": ["heun"]}, {"steps_up_to": 3}):
        with pytest.raises(UsageError, match=f"pt2.*{next(iter(option))}"):
            run.export(tmp_path / "a", format="pt2", **option)
    with pytest.raises(UsageError, match="truncation"):
        graph(Truncated(pf.recipes.gan(SPACE, "tiny").method.transport(), 0.5))
    monkeypatch.setattr(
        "pushforward.export.parity.by_torch",
        lambda transport, feeds: by_torch(transport, feeds) + 0.01,
    )
    with pytest.raises(Unlike):
        run.export(tmp_path / "a", solvers=["dpm"], steps_up_to=1)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("number", [lambda x, t: len(x), lambda x, t: float(t[0])])
def test_a_network_that_computes_with_python_numbers_is_refused_without_its_graph(number, capfd):
    class Numbered(torch.nn.Module):
        def forward(self, x, t, condition=None):
            return x * torch.full((x.shape[0], 1), number(x, t))

    space = pf.data.VectorSpace(shape=(2,), mean=(0.0,) * 2, std=(1.0,) * 2)
    flow = pf.Flow(pf.Denoiser(Numbered(), pf.Linear(), "data", space), solvers.Euler(), 1)
    with pytest.raises(UsageError, match=r"x\.shape\[0\]") as refused:
        exported(flow)
    assert "torch.ops" not in str(refused.value) + capfd.readouterr().err


def test_a_program_of_torch_that_differs_from_the_sampler_is_not_written(
    run, tmp_path, monkeypatch
):
    class Off(Sampler):
        def forward(self, z, condition=None, noise=None, decoder_noise=None):
            return super().forward(1.001 * z, condition, noise, decoder_noise)

    monkeypatch.setattr("pushforward.export.program.Sampler", Off)
    with pytest.raises(Unlike):
        run.configured(solver="euler", steps=2).export(tmp_path, format="pt2")
    assert list(tmp_path.iterdir()) == []


def copied(written, folder):
    """A copy of an export."""
    folder.mkdir()
    for file in written.files:
        shutil.copy(file, folder)
    return folder


def refused(file, *words):
    """What a script says that refuses its command line."""
    done = subprocess.run(
        [sys.executable, file.name, *words], cwd=file.parent, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_links_that_somebody_has_planted_lead_nowhere(run, tmp_path):
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    names = ("space.json", "run.py", "model.onnx", "model.pt2")
    loaded = pf.load(folder).configured(solver="euler", steps=2)
    shutil.rmtree(folder / "export", ignore_errors=True)
    (folder / "export").mkdir()
    for name in (*(f".tmp-{os.getpid()}-{name}" for name in names), *names):
        (folder / "export" / name).symlink_to(outside / "file")
    with pytest.raises(CheckpointError):
        pf.load(folder)
    loaded.export(solvers=["euler"], steps_up_to=2, overwrite=True)
    loaded.export(format="pt2", overwrite=True)
    assert (outside / "file").read_text() == "mine"
    assert not any((folder / "export" / name).is_symlink() for name in names)
    shutil.rmtree(folder / "export")
    (folder / "export").symlink_to(outside)
    with pytest.raises(CheckpointError):
        pf.load(folder)
    assert {path.name for path in outside.iterdir()} == {"file"}


@pytest.mark.parametrize("way", [replacing, lambda path: replacing_files(path.parent)])
def test_temporaries_lie_in_a_new_folder_that_is_closed_to_others(way, tmp_path):
    with way(tmp_path / "file.txt") as temporary:
        private = temporary if temporary.is_dir() else temporary.parent
        assert private.parent == tmp_path
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.name.startswith(".tmp-")
        (private / "file.txt").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "new"


@pytest.mark.parametrize("last", ["space.json", "run.py", "model.onnx"])
def test_an_export_onto_a_full_disk_leaves_the_old_one(last, run, written, tmp_path, monkeypatch):
    folder = copied(written, tmp_path / "export")
    (folder / "notes.txt").write_text("somebody's own")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write = Path.write_bytes

    def full(path, content):
        write(path, content[: len(content) // 2])
        if path.name == last:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(CheckpointError):
            run.export(folder, solvers=["euler"], steps_up_to=2, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    run.export(folder, solvers=["euler"], steps_up_to=2, overwrite=True)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in before if after[name] == before[name]} == {"notes.txt"}
    alone(folder / "run.py", "--n", 1, "--steps", 2)


def test_an_export_replaces_all_of_its_files_or_none(run, written, tmp_path):
    folder = copied(written, tmp_path / "export")
    (folder / "space.json").unlink()
    (folder / "space.json").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(CheckpointError):
        run.export(folder, solvers=["euler"], steps_up_to=2, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_files_of_two_exports_do_not_work_together(run, written, tmp_path):
    for number, name in enumerate(("space.json", "run.py", "model.onnx")):
        folder = copied(written, tmp_path / str(number))
        other = run.export(tmp_path / f"other-{number}", solvers=["euler"], steps_up_to=2)
        shutil.copy(other.files[0].parent / name, folder)
        refused(
            folder / "run.py",
            "--n",
            "1",
            "--steps",
            "2",
            "--solver",
            "euler" if name == "space.json" else "dpm",
        )
    torch.manual_seed(0)
    one, two = (
        pf.recipes.gan(make().space, "tiny").method.transport().eval()
        for make in (mixed_table, wide_table)
    )
    for transport, folder in ((one, "one"), (two, "two")):
        pf.export.export(transport, tmp_path / folder)
    shutil.copy(tmp_path / "one" / "rows.py", tmp_path / "two" / "rows.py")
    alone(tmp_path / "two" / "run.py", "--n", "2")
    refused(tmp_path / "two" / "rows.py", "samples.npy", "samples.csv")
    assert "nothing.npy" in refused(tmp_path / "one" / "rows.py", "nothing.npy", "samples.csv")


def test_a_script_refuses_what_it_cannot_do(written, tmp_path):
    folder = copied(written, tmp_path / "export")
    for words in (
        ("--n", "0"),
        ("--n", "-3"),
        ("--out", "f.png"),
        ("--out", "no/f.npy"),
        ("--steps", "26"),
        ("--label", "77"),
    ):
        said = refused(folder / "run.py", *words)
        assert words[1].partition("/")[0] in said


@pytest.mark.parametrize("recipe", ["flow", "gan"])
def test_the_raw_graph_refuses_wrong_steps_solvers_and_labels(recipe):
    torch.manual_seed(0)
    names, most = (["euler", "dpm"], 2) if recipe == "flow" else ([], None)
    transport = pf.recipes.named(recipe)(SPACE, "tiny", network="mlp").method.transport().eval()
    made = graph(transport, names, most)
    opened = session(made.model.SerializeToString())
    assert {
        each.name: each.shape[0] for each in opened.get_inputs() if each.shape
    } == dict.fromkeys({"z", "label", "scale"} & {each.name for each in opened.get_inputs()}, "n")
    model = with_inner(transport, made.flows["euler"][2]) if names else transport
    feeds = feeds_of(opened, model, 2, 0, False)
    opened.run(["x"], feeds)
    wrong = [{"label": np.array([0, label])} for label in (-1, -2, -3, 2, 3, 4, 1 << 41)]
    wrong += [{"label": np.array([1])}, {"label": np.array([0, 1, 1])}]
    if names:
        wrong += [{"scale": np.ones(size, np.float32)} for size in (0, 1, 3)]
        wrong += [
            {name: np.array(value)}
            for name in ("steps", "solver")
            for value in (-1, -2, -3, 3, 5, 1 << 41)
        ]
        wrong += [{"steps": np.array(0)}, {"solver": np.array(2)}]
    for values in wrong:
        with pytest.raises((InvalidArgument, Fail, RuntimeException)):
            opened.run(["x"], feeds | values)


def test_every_learned_step_and_the_most_steps_are_compared(learned):
    made = learned[1]
    opened = session(made.model.SerializeToString())
    compared = {(each.solver, each.steps) for each in distances(opened, made.transport, made.flows)}
    assert compared == {("dpm", 1), ("dpm", 3), ("learned", 2)}


def test_a_flow_from_data_takes_its_examples_and_has_no_script(tmp_path):
    moved = (
        pf.recipes.flow(pf.data.load("moons").space, "tiny", source="8gaussians")
        .method.transport()
        .eval()
    )
    written = pf.export.export(moved, tmp_path, solvers=["euler"], steps_up_to=2)
    assert {file.name for file in written.files} == {"model.onnx", "space.json"}


def test_a_program_of_torch_draws_what_the_sampler_draws(run, tmp_path):
    written = run.configured(solver="ancestral", steps=3).export(tmp_path, format="pt2")
    (file,) = written.files
    assert {(each.solver, each.steps, each.n) for each in written.distances} == {
        ("", 3, 1),
        ("", 3, 5),
    }
    transport = run.configured(solver="ancestral", steps=3).transport
    inputs = inputs_of(transport, 5)
    with torch.no_grad():
        x = transport.space.to_data(
            transport(inputs["z"], inputs["condition"], GivenNoise(inputs["noise"]))
        )
        actual = torch.export.load(file).module()(**inputs)
        torch.testing.assert_close(actual, x, rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match="already"):
        run.export(tmp_path, format="pt2")


@pytest.mark.parametrize(
    "name",
    [
        "dpm",
        "heun",
        "unipc:3",
        "euler",
        "ancestral",
        "predictorcorrector:2",
        "dpm:3",
        "rk4",
        "churn",
    ],
)
def test_arrays_do_what_the_table_does(name):
    """In float64, where the layout has more slots and noises than the table needs."""
    flow = Flow(denoiser().double(), solvers.named(name), 5)
    arrays = dense(flow.table)
    layout = RowLayout(RowLayout.of([arrays]).columns, 8, 4)
    noise = torch.randn(len(arrays.point) + 1, 4, 3, *SMALL).double()
    z = torch.randn(3, *SMALL).double()
    drawn = [noise[i, j] for i, count in enumerate(arrays.noises) for j in range(count)]
    condition = {"label": torch.tensor([0, 1, 1])}
    row = TableRow(flow, layout, arrays.kind)
    with torch.no_grad():
        wanted = flow(z, condition, GivenNoise(torch.stack([*drawn, z])))
        slots = begun(layout.start(arrays, flow.width), z, noise[0])
        for i, values in enumerate(layout.rows(arrays)):
            slots, _ = row(slots, values, condition, noise[i + 1])
    torch.testing.assert_close(slots[0], wanted, rtol=1e-7, atol=1e-7)
