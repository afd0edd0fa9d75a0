"""Networks and samplers as programs of `torch.export`, against the samplers themselves."""

import pytest
import torch
from torch.export import Dim

import pushforward as pf
from pushforward import networks, solvers
from pushforward.conditions import Label
from pushforward.networks import MLP, LevelPosterior, Reshaped, UNet
from pushforward.registries import RECIPES, SOLVERS
from pushforward.testing import class_labels
from pushforward.transports import Autoencoder, Flow, Latent, inner_of, with_inner
from pushforward.transports.export import GivenNoise, dense, exported, exported_scan, noise_count, run, scan_inputs

SMALL = (1, 8, 8)
CLASSES = ("a", "b")
SPACE = pf.data.ImageSpace(SMALL, (0.4,), (0.3,), (0.0,), (1.0,), conditions={"label": Label(CLASSES, (0.5, 0.5))})


def speaking(network):
    network.leave.reset_parameters()
    return network


TIMED = {
    "mlp": lambda: Reshaped(speaking(MLP(64, 64, width=16, depth=1, conditions=class_labels(2))), SMALL),
    "unet": lambda: speaking(UNet(SMALL, widths=(8,), blocks=1, conditions=class_labels(2), heads=2)),
    "levels": lambda: LevelPosterior(
        Reshaped(MLP(512, 512, width=8, depth=1, conditions=class_labels(2)), (8, *SMALL[1:])), SPACE
    ),
    "dit": lambda: speaking(networks.DiT(SMALL, patch=4, width=16, depth=1, heads=2, conditions=class_labels(2))),
}


class Light(torch.nn.Module):
    """A few operations on x, all times and the label; what else networks do is exported above, by itself."""

    def __init__(self):
        super().__init__()
        self.map, self.codes = torch.nn.Linear(64, 64), torch.nn.Embedding(3, 64)

    def forward(self, x, t, condition=None):
        times = t[:, None] if t.dim() == 1 else t
        seen = self.map(x.flatten(1)) + times @ self.map.weight[: times.shape[1]]
        if condition is not None:
            seen = seen + self.codes(number(condition))
        return torch.sin(seen).unflatten(1, SMALL)


def number(condition):
    hidden = condition.get("label_null")
    return condition["label"] + 1 if hidden is None else torch.where(hidden, 0, condition["label"] + 1)


def program(module, *inputs):
    n = Dim("n", min=1)
    shapes = [None if part is None else ({k: {0: n} for k in part} if isinstance(part, dict) else {0: n}) for part in inputs]
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
    coded = Autoencoder(networks.Compressor((1, 16, 16), outputs=2, factor=2, width=8), decoder, image).eval()
    return Latent(flow, coded)


def model(recipe, solver, way="plain"):
    torch.manual_seed(0)
    part = pf.recipes.named(recipe)(SPACE, "tiny", network=Light()).method.denoiser
    if solver == "jump":
        part = pf.FlowMap(Light(), part.path, part.prediction, SPACE)
    if way == "repathed":
        part = part.on(pf.Linear() if recipe == "ddpm" else pf.VP())
    if "guided" in way:
        part = pf.Autoguided(part, denoiser(path=pf.VP())) if way == "autoguided" else pf.Guided(part, 2.0, (0.1, 3.0))
    flow = Flow(pf.Thresholded(part, 0.9) if way == "guided and thresholded" else part, solver, 2)
    return (latent(flow) if way == "latent" else flow).eval()


PAIRS = [
    ("flow", "euler", "latent"),
    ("flow", "heun", "guided"),
    ("flow", "midpoint", "repathed"),
    ("flow", "rk4", "plain"),
    ("flow", "jump", "plain"),
    ("ddpm", "ancestral", "guided and thresholded"),
    ("ddpm", "ddim", "repathed"),
    ("ddpm", "ipndm", "latent"),
    ("ddpm", "predictorcorrector", "plain"),
    ("edm", "churn", "autoguided"),
    ("edm", "deis", "repathed"),
    ("edm", "dpmsde", "guided"),
    ("edm", "singlestep", "latent"),
    ("vdm", "dpm", "guided"),
    ("vdm", "eulermaruyama", "latent"),
    ("vdm", "unipc", "plain"),
]
"""Each recipe in steps and each solver with fixed steps occurs; all pairs are in benchmarks/export.py."""
ONE_CALL = ("gan", "hvae", "vae", "vqvae")


def agrees(transport):
    """The program made with 3 rows draws what the sampler draws with 5."""
    z, label, draws = torch.randn(5, *transport.noise_shape), torch.arange(5) % 2, noise_count(transport)
    noise = torch.randn(draws, *z.shape) if draws else None
    with torch.no_grad():
        x = transport.space.to_data(transport(z, {"label": label}, None if noise is None else GivenNoise(noise)))
        torch.testing.assert_close(exported(transport).module()(z, {"label": label}, noise), x, rtol=0, atol=1e-5)


def test_every_recipe_and_every_solver_is_exported():
    fixed = {name for name, part in SOLVERS.items() if not part.adaptive}
    assert {solver for _, solver, _ in PAIRS} == fixed
    maps = {"consistency", "distil", "dmd", "finish", "meanflow", "shortcut"}  # their sampler is the flow's with jumps
    assert {recipe for recipe, _, _ in PAIRS} | set(ONE_CALL) == RECIPES.keys() - {"autoencoder"} - maps


@pytest.mark.parametrize(("recipe", "solver", "way"), PAIRS)
def test_a_sampler_in_steps_is_a_program(recipe, solver, way):
    agrees(model(recipe, solver, way))


@pytest.mark.parametrize("recipe", ONE_CALL)
def test_a_sampler_of_one_call_is_a_program(recipe):
    torch.manual_seed(0)
    agrees(pf.recipes.named(recipe)(SPACE, "tiny").method.transport().eval())


SCANNED = {"dpm": "latent", "heun": "guided", "ancestral": "repathed"}
"""Steps with memory, with two calls, and with noise; more are in benchmarks/export.py."""


@pytest.mark.parametrize("solver", SCANNED)
def test_one_program_serves_any_number_of_steps(solver):
    """A scan over a table that is an input; noise is one, too."""
    program_module, label = None, torch.tensor([0, 1, 1, 0, 1])
    sampler = model("ddpm", solver, SCANNED[solver])
    for steps in (4, 2, 9):
        flow = inner_of(sampler).with_solver(solver, steps)
        transport = with_inner(sampler, flow)
        if program_module is None:
            program_module, (slots, noises) = exported_scan(transport).module(), scan_inputs(transport)[1].first.shape
        inputs, arrays = scan_inputs(transport, slots, noises)
        noise, z = torch.randn(len(arrays.point) + 1, noises, 5, *SMALL), torch.randn(5, *SMALL)
        drawn = [noise[i, j] for i, count in enumerate(arrays.noises) for j in range(count)]
        with torch.no_grad():
            x = transport.space.to_data(transport(z, {"label": label}, GivenNoise(torch.stack([*drawn, z]))))
            torch.testing.assert_close(program_module(z, inputs, {"label": label}, noise), x, rtol=0, atol=1e-5)


def plain_scan(row, state, given):
    for i in range(len(given["point"])):
        state, _ = row(state, torch.utils._pytree.tree_map(lambda part, i=i: part[i], given))
    return state, None


@pytest.mark.parametrize(
    "name", ["dpm", "heun", "unipc:3", "euler", "ancestral", "predictorcorrector:2", "dpm:3", "rk4", "churn"]
)
def test_arrays_do_what_the_table_does(name):
    flow = Flow(denoiser().double(), solvers.named(name), 5)
    arrays = dense(flow.table, 8, 4)
    noise, z = torch.randn(len(arrays.point) + 1, 4, 3, *SMALL).double(), torch.randn(3, *SMALL).double()
    drawn = [noise[i, j] for i, count in enumerate(arrays.noises) for j in range(count)]
    with torch.no_grad():
        wanted = flow(z, {"label": torch.tensor([0, 1, 1])}, GivenNoise(torch.stack([*drawn, z])))
        inputs = arrays.inputs(torch.float64)
        x = run(flow.denoiser, arrays.kind, inputs, flow._at_start(z), {"label": torch.tensor([0, 1, 1])}, noise, plain_scan)
    torch.testing.assert_close(x, wanted, rtol=1e-9, atol=1e-9)
