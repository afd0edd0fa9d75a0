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
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from programs.exports import (
    SMALL,
    alone,
    contents,
    copied,
    denoiser,
    dit,
    levels,
    mlp,
    model,
    nodes_of,
    opened,
    refused,
    size_of,
    transport_of,
    unet,
    worst,
)
from programs.tables import mixed_table, wide_table
from torch.export import Dim

import pushforward as pf
from pushforward import solvers
from pushforward.cli import main
from pushforward.denoisers.denoiser import SCALE
from pushforward.editing.given_data import Truncated
from pushforward.errors import CheckpointError, UsageError
from pushforward.export import Unlike, graph
from pushforward.export.dense_program import RowLayout, dense
from pushforward.export.onnx_file import OPSET
from pushforward.export.parity import by_torch, distances, feeds_of, session
from pushforward.export.program import End, GivenNoise, Sampler, TableRow, exported, inputs_of
from pushforward.files import replacing, replacing_files
from pushforward.registries import SOLVERS
from pushforward.samples import write_samples
from pushforward.training import in_latent
from pushforward.transports import Flow, inner_of, with_inner


def with_any_rows(network, x, t, condition):
    """A network as a program of torch."""
    rows = {0: Dim("n", min=1)}
    shapes = (rows, rows, dict.fromkeys(condition, rows))
    with torch.no_grad():
        exported = torch.export.export(network.eval(), (x, t, condition), dynamic_shapes=shapes)
    return exported.module()


def given(n):
    torch.manual_seed(n)
    t = torch.rand(n)
    x = torch.randn(n, *SMALL)
    return x, t, {"label": torch.arange(n) % 2}


@pytest.mark.parametrize("make", [mlp, unet, levels, dit])
def test_a_denoisers_network_exports_with_any_number_of_rows(make):
    network = make()
    exported = with_any_rows(network, *given(3))
    inputs = given(5)
    with torch.no_grad():
        torch.testing.assert_close(exported(*inputs), network(*inputs), rtol=1e-5, atol=1e-5)


ONE_CALL = ("gan", "hvae", "vae", "vqvae")
FIXED = sorted(name for name, part in SOLVERS.items() if not part.adaptive and not part.jumps)
WAYS = ("autoguided", "guided and thresholded", "repathed")


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
    made = graph(model(recipe, "dpm"), ["dpm"], 4)
    assert worst(made, (1, 4)) < 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_every_wrapper_of_a_model_is_in_the_graph(way):
    made = graph(model("flow", "dpm", way), ["heun"], 3)
    assert worst(made, (1, 3)) < 1e-5
    scaled = "scale" in made.description["default"]
    assert scaled == (way != "autoguided")


def test_a_map_between_two_times_is_a_graph_by_itself():
    jumping = model("flow", "jump")
    made = graph(jumping, [], 3)
    assert list(made.flows) == ["jump"]
    assert worst(made, (1, 3)) < 1e-5
    with pytest.raises(UsageError):
        graph(jumping, ["jump", "heun"], 2)


@pytest.mark.parametrize("recipe", ONE_CALL)
def test_a_model_of_one_call_is_a_graph(recipe):
    torch.manual_seed(0)
    made = graph(transport_of(recipe))
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
    flows = itertools.chain.from_iterable(by.values() for by in made.flows.values())
    layout = RowLayout.of(dense(each.program) for each in flows)
    arrays = dense(flow.program)
    model_session = opened(made)
    place = list(made.flows).index("dpm")
    feeds = feeds_of(model_session, flow, 4, 0, True, place)
    step = TableRow(flow, layout, arrays.kind)
    end = End(flow)

    class Scanned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.step = step

        def forward(self, slots, rows, condition, noise):
            def stepped(now, row):
                slots, _ = self.step(now, row, condition, noise)
                return slots, row.sum()

            states, _ = scan(stepped, slots, rows)
            return states

    fed = {name: torch.from_numpy(values) for name, values in feeds.items()}
    condition = {"label": fed["label"], SCALE: fed["scale"]}
    noise = torch.zeros(layout.noises, 4, *SMALL)
    start = layout.start(arrays, flow.width).float()
    slots = begun(start, fed["z"], noise)
    rows = layout.rows(arrays).float()
    inputs = (slots, rows, condition, noise)
    options = {"dynamo": True, "verbose": False, "opset_version": OPSET}
    with torch.no_grad():
        looped = torch.onnx.export(Scanned().eval(), inputs, **options).model_proto
    scanned = session(looped.SerializeToString())
    names = [each.name for each in scanned.get_inputs()]
    leaves = [leaf.numpy() for leaf in torch.utils._pytree.tree_leaves(inputs)]
    states = scanned.run(None, dict(zip(names, leaves, strict=True)))[0]
    actual = end(torch.from_numpy(states[:1]))[0]
    expected = model_session.run(["x"], feeds)[0]
    assert np.array_equal(actual.numpy(), expected)


def test_the_way_to_the_samples_is_in_the_graph_where_it_is_asked_for():
    made = graph(model("flow", "heun", "latent"), ["heun"], 3, way=True)
    assert worst(made, (1, 3)) < 1e-5
    graph_session = opened(made)
    flow = made.flows["heun"][3]
    transport = with_inner(made.transport, flow)
    feeds = feeds_of(graph_session, transport, 2, 0, False)
    (samples,) = graph_session.run(["x"], feeds)
    (way,) = graph_session.run(["x"], feeds | {"way": np.array(1)})
    assert way.shape == (1 + 5, 2, 1, 16, 16)
    assert np.array_equal(way[-1:], samples)
    start = flow.width * torch.from_numpy(feeds["z"])
    with torch.no_grad():
        decoded = transport.decoded(start, None)
    expected = transport.space.to_data(decoded)
    np.testing.assert_allclose(way[0], expected, atol=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    return pf.fit("flow", pf.data.load("digits"), size="tiny", steps=4, out=folder)


@pytest.fixture(scope="module")
def written(run):
    return run.export(solvers=["dpm", "ancestral"], steps_up_to=25)


def test_numpy_and_onnxruntime_draw_what_the_run_draws(run, written):
    assert max(each.worst for each in written.distances) < 1e-5
    out = written.files[0].parent

    def samples(options=""):
        alone(out / "run.py", f"--n 5 --seed -2 {options}")
        return np.load(out / "samples.npy")

    expected = run.sample(5, seed=-2)
    np.testing.assert_allclose(samples(), expected, atol=1e-5)
    expected = run.sample(5, label="3", seed=-2, steps=4, solver="ancestral", scale=2.0)
    actual = samples("--label 3 --steps 4 --solver ancestral --scale 2")
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
    tables = size_of(made.graph.initializer)
    weights = sum(4 * weight.numel() for weight in run.method.parameters())
    (loop,) = nodes_of(made.graph, "Loop")
    constants = nodes_of(loop.attribute[0].g, "Constant")
    inside = size_of(node.attribute[0].t for node in constants)
    assert inside > 0.9 * weights  # onnxruntime rearranges only such weights
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
    alone(tmp_path / "run.py", "--n 40 --steps 2")
    arrays = {"samples": np.load(tmp_path / "samples.npy")}
    two_steps = inner_of(transport).with_solver("dpm", 2)
    x = with_inner(transport, two_steps).sample(40)
    np.testing.assert_allclose(arrays["samples"], x, atol=1e-3)
    random = np.random.default_rng(0)
    arrays["wide"] = random.normal(0, 1.5, (2000, x.shape[1]))
    arrays["real"] = data.train.data_units().numpy()
    for name, array in arrays.items():
        x = torch.from_numpy(array.astype(np.float32))
        np.save(tmp_path / f"{name}.npy", x.numpy())
        for ending in (".csv", ".tsv"):
            written = tmp_path / f"{name}{ending}"
            alone(tmp_path / "rows.py", f"{name}.npy {written.name}")
            wanted = tmp_path / f"wanted-{written.name}"
            write_samples(wanted, data.space, len(x), [(x, None)])
            assert written.read_bytes() == wanted.read_bytes()
    made = onnx.load(tmp_path / "model.onnx")
    metadata = {each.key: each.value for each in made.metadata_props}
    compressed = base64.b85decode(metadata["columns"])
    expected = json.loads(metadata["pushforward"])
    expected["columns"] = json.loads(lzma.decompress(compressed))
    told = (tmp_path / "space.json").read_text()
    assert json.loads(told) == expected


def test_an_export_of_a_table_says_that_it_holds_training_values(tmp_path, capsys):
    data = wide_table()
    folder = tmp_path / "run"
    pf.fit("gan", data, size="tiny", steps=2, out=folder)
    assert main(["export", str(folder)]) == 0
    assert "training values" in capsys.readouterr().err
    written = folder / "export" / "space.json"
    extreme = np.nanmax(data.train.table_values[:, 2])
    assert repr(float(extreme)) in written.read_text()


def test_a_generator_of_rows_is_a_graph():
    """Its scores are looked up among the edges of closed columns; what float16 does not hold, such
    as units, stays float32.
    """
    torch.manual_seed(0)
    data = mixed_table(200)
    made = graph(transport_of("gan", data.space), half=True)
    assert worst(made) < 1e-5


@pytest.fixture(scope="module")
def learned():
    """A model with steps that were learned, and its graph."""
    flow = model("flow", "dpm")
    tuned = Flow(flow.denoiser, "dpm", 2, [0.999, 0.6, 0.0])
    return flow, graph(flow, ["dpm"], 3, learned=[tuned])


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
    weights = sum(weight.numel() for weight in flow.parameters())
    assert half.model.ByteSize() < whole.model.ByteSize() - weights


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
    truncated = Truncated(transport_of("gan"), 0.5)
    with pytest.raises(UsageError, match="truncation"):
        graph(truncated)
    monkeypatch.setattr(
        "pushforward.export.parity.by_torch",
        lambda transport, feeds: by_torch(transport, feeds) + 0.01,
    )
    with pytest.raises(Unlike):
        run.export(tmp_path / "a", solvers=["dpm"], steps_up_to=1)
    assert not (tmp_path / "a").exists()


class Counted(torch.nn.Module):
    """A network that computes with the number of rows."""

    def forward(self, x, t, condition=None):
        return x * torch.full((x.shape[0], 1), len(x))


class Timed(torch.nn.Module):
    """A network that computes with a time as a number of Python."""

    def forward(self, x, t, condition=None):
        return x * torch.full((x.shape[0], 1), float(t[0]))


@pytest.mark.parametrize("network", [Counted(), Timed()], ids=type)
def test_a_network_that_computes_with_python_numbers_is_refused_without_its_graph(network, capfd):
    space = pf.data.VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
    part = pf.Denoiser(network, pf.Linear(), "data", space)
    flow = pf.Flow(part, solvers.Euler(), 1)
    with pytest.raises(UsageError, match=r"x\.shape\[0\]") as refused:
        exported(flow)
    assert "torch.ops" not in str(refused.value)
    assert "torch.ops" not in capfd.readouterr().err


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
    before = contents(folder)
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
    assert contents(folder) == before
    run.export(folder, solvers=["euler"], steps_up_to=2, overwrite=True)
    after = contents(folder)
    assert before.items() & after.items() == {("notes.txt", b"somebody's own")}
    alone(folder / "run.py", "--n 1 --steps 2")


def test_an_export_replaces_all_of_its_files_or_none(run, written, tmp_path):
    folder = copied(written, tmp_path / "export")
    (folder / "space.json").unlink()
    (folder / "space.json").mkdir()
    before = contents(folder)
    with pytest.raises(CheckpointError):
        run.export(folder, solvers=["euler"], steps_up_to=2, overwrite=True)
    assert contents(folder) == before


def test_files_of_two_exports_do_not_work_together(run, written, tmp_path):
    other = run.export(tmp_path / "other", solvers=["euler"], steps_up_to=2)
    for name, solver in (("space.json", "euler"), ("run.py", "dpm"), ("model.onnx", "dpm")):
        folder = copied(written, tmp_path / f"with-{name}")
        shutil.copy(other.files[0].parent / name, folder)
        refused(folder / "run.py", f"--n 1 --steps 2 --solver {solver}")


def test_rows_of_one_export_are_not_written_by_the_script_of_another(tmp_path):
    torch.manual_seed(0)
    folders = [tmp_path / "one", tmp_path / "two"]
    for make, folder in zip((mixed_table, wide_table), folders, strict=True):
        transport = transport_of("gan", make().space)
        pf.export.export(transport, folder)
    one, two = folders
    shutil.copy(one / "rows.py", two)
    alone(two / "run.py", "--n 2")
    refused(two / "rows.py", "samples.npy samples.csv")
    assert "nothing.npy" in refused(one / "rows.py", "nothing.npy samples.csv")


def test_a_script_refuses_what_it_cannot_do(written, tmp_path):
    folder = copied(written, tmp_path / "export")
    for option in ("--n 0", "--n -3", "--out f.png", "--out no/f.npy", "--steps 26", "--label 77"):
        said = refused(folder / "run.py", option)
        value = option.split()[1].removesuffix("/f.npy")
        assert value in said


@pytest.mark.parametrize("recipe", ["flow", "gan"])
def test_the_raw_graph_refuses_wrong_steps_solvers_and_labels(recipe):
    torch.manual_seed(0)
    transport = transport_of(recipe, network="mlp")
    model = transport
    labels = [np.array([0, label]) for label in (-1, -2, -3, 2, 3, 4, 1 << 41)]
    labels += [np.array([1]), np.array([0, 1, 1])]
    wrong = [("label", label) for label in labels]
    if recipe == "flow":
        made = graph(transport, ["euler", "dpm"], 2)
        model = with_inner(transport, made.flows["euler"][2])
        wrong += [("scale", np.ones(size, np.float32)) for size in (0, 1, 3)]
        wrong += [("steps", np.array(steps)) for steps in (-1, -2, -3, 0, 3, 5, 1 << 41)]
        wrong += [("solver", np.array(solver)) for solver in (-1, -2, -3, 2, 3, 5, 1 << 41)]
    else:
        made = graph(transport)
    graph_session = opened(made)
    shapes = {each.name: each.shape for each in graph_session.get_inputs()}
    for name in {"z", "label", "scale"} & shapes.keys():
        assert shapes.pop(name)[0] == "n"
    assert not any(shapes.values())
    feeds = feeds_of(graph_session, model, 2, 0, False)
    graph_session.run(["x"], feeds)
    for name, value in wrong:
        with pytest.raises((InvalidArgument, Fail, RuntimeException)):
            graph_session.run(["x"], feeds | {name: value})


def test_every_learned_step_and_the_most_steps_are_compared(learned):
    _, made = learned
    found = distances(opened(made), made.transport, made.flows)
    compared = {(each.solver, each.steps) for each in found}
    assert compared == {("dpm", 1), ("dpm", 3), ("learned", 2)}


def test_a_flow_from_data_takes_its_examples_and_has_no_script(tmp_path):
    space = pf.data.load("moons").space
    moved = transport_of("flow", space, source="8gaussians")
    written = pf.export.export(moved, tmp_path, solvers=["euler"], steps_up_to=2)
    assert {file.name for file in written.files} == {"model.onnx", "space.json"}


def test_a_program_of_torch_draws_what_the_sampler_draws(run, tmp_path):
    configured = run.configured(solver="ancestral", steps=3)
    written = configured.export(tmp_path, format="pt2")
    (file,) = written.files
    compared = {(each.solver, each.steps, each.n) for each in written.distances}
    assert compared == {("", 3, 1), ("", 3, 5)}
    transport = configured.transport
    inputs = inputs_of(transport, 5)
    noise = GivenNoise(inputs["noise"])
    stored = torch.export.load(file).module()
    with torch.no_grad():
        x = transport(inputs["z"], inputs["condition"], noise)
        actual = stored(**inputs)
    torch.testing.assert_close(actual, transport.space.to_data(x), rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match="already"):
        run.export(tmp_path, format="pt2")


ARRAYS = "dpm heun unipc:3 euler ancestral predictorcorrector:2 dpm:3 rk4 churn"


@pytest.mark.parametrize("name", ARRAYS.split())
def test_arrays_do_what_the_table_does(name):
    """In float64, where the layout has more slots and noises than the table needs."""
    flow = Flow(denoiser().double(), solvers.named(name), 5)
    arrays = dense(flow.program)
    columns = RowLayout.of([arrays]).columns
    layout = RowLayout(columns, 8, 4)
    noise = torch.randn(len(arrays.point) + 1, 4, 3, *SMALL).double()
    z = torch.randn(3, *SMALL).double()
    drawn = []
    for row, count in zip(noise, arrays.noises, strict=False):
        drawn += row[: int(count)]
    given_noise = GivenNoise(torch.stack([*drawn, z]))
    condition = {"label": torch.tensor([0, 1, 1])}
    step = TableRow(flow, layout, arrays.kind)
    with torch.no_grad():
        wanted = flow(z, condition, given_noise)
        start = layout.start(arrays, flow.width)
        slots = begun(start, z, noise[0])
        for values, fresh in zip(layout.rows(arrays), noise[1:], strict=True):
            slots, _ = step(slots, values, condition, fresh)
    torch.testing.assert_close(slots[0], wanted, rtol=1e-7, atol=1e-7)
