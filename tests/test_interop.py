"""Models of diffusers read and written, and its samplers as independent witnesses of ours on the same network and times."""

import dataclasses
import json
import shutil
import sys

import pytest
import torch

import pushforward as pf
from pushforward import solvers, spec
from pushforward.denoiser import Preconditioning
from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.interop import DiffusersUNet, from_diffusers, to_diffusers
from pushforward.predictions import target
from pushforward.tabulated import linear_betas
from pushforward.testing import class_labels, space_data
from pushforward.training import autoencoder_of

diffusers = pytest.importorskip("diffusers")
SHAPE = (3, 8, 12)
T = 1000


def unet_config(**changes):
    """The settings of a tiny UNet2DModel."""
    return {
        "sample_size": SHAPE[1:],
        "in_channels": SHAPE[0],
        "out_channels": SHAPE[0],
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        **changes,
    }


def unet(**changes):
    """A tiny network of random weights whose output has a standard deviation near 1 and changes with time."""
    torch.manual_seed(3)
    network = diffusers.UNet2DModel(**unet_config(**changes)).eval().requires_grad_(False)
    network.conv_out.weight.mul_(3)
    return network


def saved(folder, scheduler, **changes):
    """A folder as diffusers writes it, and the network in it."""
    network = unet(**changes)
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(folder)
    return folder, network


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def noise(n=4, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def level_times(timesteps, levels=T):
    """The times of diffusers' timesteps, and the last, 0."""
    return [(float(i) + 1) / levels for i in timesteps] + [0.0]


def states_of(scheduler, network, x):
    """The state after each of diffusers' steps."""
    states = []
    with torch.no_grad():
        for t in scheduler.timesteps:
            seen = scheduler.scale_model_input(x, t) if isinstance(scheduler, diffusers.EulerDiscreteScheduler) else x
            x = scheduler.step(network(seen, t).sample, t, x).prev_sample
            states.append(x)
    return states


def our_states(denoiser, solver, times, x):
    flow = pf.Flow(denoiser, solver, len(times) - 1, grid=times)
    with torch.no_grad():
        return [state for _, state in flow.walk(x, flow.times)]


def close(ours, theirs, at=""):
    """To 1e-4 of their scale, which is 1 for all but noise predictions: their data is the network's error over alpha."""
    scale = max(1.0, float(theirs.abs().max()))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * scale, msg=lambda text: f"{at}{text}")


def agree(ours, theirs):
    assert len(ours) == len(theirs) > 1
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        close(mine, other, f"after step {i + 1}: ")


def lambdas(denoiser, times):
    return denoiser.path.log_snr(torch.tensor(times, dtype=torch.float64)) / 2


def v_model(folder, scheduler):
    """A model that predicts v, read from diffusers' folder; v keeps states near 1 where random networks err."""
    where, network = saved(folder / "theirs", scheduler)
    return from_diffusers(where), network


V = {"prediction_type": "v_prediction"}


@pytest.mark.parametrize(
    ("kind", "schedule"), [("epsilon", "linear"), ("sample", "scaled_linear"), ("v_prediction", "squaredcos_cap_v2")]
)
def test_ddim(kind, schedule, tmp_path):
    """Trailing spacing: diffusers then goes from level to level in equal steps from the last, and ends at alpha = 1.

    Its other spacings start below the last level, where its noise is not quite the noise of that level.
    """
    scheduler = diffusers.DDIMScheduler(
        prediction_type=kind, beta_schedule=schedule, clip_sample=False, timestep_spacing="trailing"
    )
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(8)
    theirs = states_of(scheduler, network, noise())
    agree(our_states(denoiser, solvers.DDIM(), level_times(scheduler.timesteps), noise()), theirs)


def test_euler_of_the_discrete_schedule_is_ddim(tmp_path):
    """EulerDiscrete keeps x_t / alpha as its state; the rest is DDIM."""
    scheduler = diffusers.EulerDiscreteScheduler(**V, timestep_spacing="trailing")
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(8)
    times = level_times(scheduler.timesteps)
    k = denoiser.path.at(torch.tensor(times[:-1], dtype=torch.float64))
    alphas = [*k.alpha[1:].tolist(), 1.0]
    start = float(k.sigma[0] / k.alpha[0])
    theirs = [a * x for a, x in zip(alphas, states_of(scheduler, network, start * noise()), strict=True)]
    agree(our_states(denoiser, solvers.DDIM(), times, float(k.sigma[0]) * noise()), theirs)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_dpm_of_order_2(schedule, tmp_path):
    """With steps at levels that we choose, unequal ones. Its last step goes to sigma = 0 at first order, as ours.

    ``lower_order_final`` concerns only the last steps of short solves of order 3, and the last one, which is of order 1 anyway.
    """
    scheduler = diffusers.DPMSolverMultistepScheduler(**V, beta_schedule=schedule, lower_order_final=False)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(timesteps=[980, 801, 650, 433, 210, 99, 30, 4])
    theirs = states_of(scheduler, network, noise())
    agree(our_states(denoiser, solvers.DPM(2), level_times(scheduler.timesteps), noise()), theirs)


def after_the_start(denoiser, kind, solver, times, states):
    """Our states from the third step on, begun from diffusers' state and from the estimates at diffusers' earlier states."""
    rows = torch.tensor(times, dtype=torch.float32)[:, None].expand(-1, len(states[0]))
    with torch.no_grad():
        nodes = [
            (denoiser.path.log_snr(t.double()) / 2, denoiser.predict(kind, x, t))
            for x, t in zip([noise(), states[0]], rows[:2], strict=True)
        ]
        x, memory, states_after = states[1], tuple(reversed(nodes)), []
        for i in range(2, len(times) - 2):
            x, memory = solver.step(denoiser, x, rows[i], rows[i + 1], None, None, memory)
            states_after.append(x)
    return states_after


def test_dpm_of_order_3_but_for_the_curvature(tmp_path):
    """diffusers gives the parabola's curvature half its weight; with the other half added, one step is ours.

    The exact integral of u^2 times the exponential is twice the bracket of its formula, whose D2 is a divided difference (the
    second derivative over 2). Its solves start with a step of order 1, ours with a single-step method of order 2.
    """
    scheduler = diffusers.DPMSolverMultistepScheduler(**V, solver_order=3, lower_order_final=False)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(timesteps=[950, 760, 540, 300, 120])
    times = level_times(scheduler.timesteps)
    states = states_of(scheduler, network, noise())
    x = [noise(), *states]
    data = [denoiser.predict("data", x[i], torch.full((4,), times[i])) for i in range(3)]
    lam = lambdas(denoiser, times[:4])
    h, h0, h1 = (lam[3] - lam[2], lam[2] - lam[1], lam[1] - lam[0])
    newer, older = (data[2] - data[1]) * float(h / h0), (data[1] - data[0]) * float(h / h1)
    curvature = (newer - older) * float(h / (h0 + h1))
    alpha = denoiser.path.at(torch.tensor(times[3], dtype=torch.float64)).alpha
    missing = -alpha * ((torch.exp(-h) - 1 + h) / h**2 - 0.5)
    ours = after_the_start(denoiser, "data", solvers.DPM(3), times, states)[0]
    assert (ours - states[2]).abs().max() > 1e-3
    torch.testing.assert_close(ours, states[2] + float(missing) * curvature, rtol=1e-4, atol=1e-4)


def test_unipc(tmp_path):
    """UniPC with B(h) = e^h - 1 on the data. Orders are those of the predictor.

    diffusers lowers order 3 in the last two steps (``lower_order_final``, without which its last step divides by zero), so the
    states agree up to there.
    """
    for order, lowered in ((1, 0), (2, 0), (3, 2)):
        scheduler = diffusers.UniPCMultistepScheduler(**V, solver_order=order, solver_type="bh2", timestep_spacing="trailing")
        denoiser, network = v_model(tmp_path / str(order), scheduler)
        scheduler.set_timesteps(8)
        theirs = states_of(scheduler, network, noise())
        ours = our_states(denoiser, solvers.UniPC(order), level_times(scheduler.timesteps), noise())
        agree(ours[: 8 - lowered], theirs[: 8 - lowered])


def test_deis(tmp_path):
    """Its polynomials are in log(sigma / alpha), integrated against sigma / alpha: the same as ours in log-SNR.

    It ends at the first level, not at sigma = 0, so its last step is left out. Its order 3 starts with a step of order 1 and one
    of order 2, ours with a single-step method, so ours is begun from its states.
    """
    for order in (1, 2):
        scheduler = diffusers.DEISMultistepScheduler(
            **V, solver_order=order, timestep_spacing="trailing", lower_order_final=False
        )
        denoiser, network = v_model(tmp_path / str(order), scheduler)
        scheduler.set_timesteps(8)
        theirs = states_of(scheduler, network, noise())
        ours = our_states(denoiser, solvers.DEIS(order), level_times(scheduler.timesteps), noise())
        agree(ours[:-1], theirs[:-1])
    scheduler = diffusers.DEISMultistepScheduler(**V, solver_order=3, timestep_spacing="trailing", lower_order_final=False)
    scheduler.set_timesteps(8)
    theirs = states_of(scheduler, network, noise())
    times = level_times(scheduler.timesteps)
    agree(after_the_start(denoiser, "noise", solvers.DEIS(3), times, theirs), theirs[2:-1])


def single_steps(scheduler, network, x, times, order, denoiser):
    """diffusers' single-step method: its steps between the points of one of ours are our stages."""
    lam = lambdas(denoiser, times[:-1])
    fine = [lam[i] + (lam[i + 1] - lam[i]) * j / order for i in range(len(lam) - 1) for j in range(order)] + [lam[-1]]
    fine = torch.stack(fine)
    scheduler.set_timesteps(len(fine))
    scheduler.timesteps = (denoiser.path.time(2 * fine) * T - 1).float()
    scheduler.sigmas = torch.cat([torch.exp(-fine), scheduler.sigmas[-1:].double()]).float()
    scheduler.order_list = [*range(1, order + 1)] * (len(times) - 2) + [1]
    states = []
    with torch.no_grad():
        for i, t in enumerate(scheduler.timesteps):
            # our stage at two thirds takes the line through the first two estimates, which it calls "heun" in order 2
            scheduler.register_to_config(solver_type="heun" if (order, i % order) == (3, 1) else "midpoint")
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
            states.append(x)
    return states[order - 1 :: order][: len(times) - 2], states[-1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("of", ["noise", "data"])
def test_single_step(order, of, tmp_path):
    """Its orders 1, 2 (, 3) take turns between grid points; put at halves or thirds in log-SNR they are our stages.

    With one ``solver_type`` throughout its order 3 is another method of the same order. Under "noise" it cannot end at sigma = 0,
    so the last step is left out there.
    """
    names = {"noise": ("dpmsolver", "sigma_min"), "data": ("dpmsolver++", "zero")}
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        **V, solver_order=order, algorithm_type=names[of][0], final_sigmas_type=names[of][1]
    )
    denoiser, network = v_model(tmp_path, scheduler)
    times = level_times([950, 700, 420, 160, 30])
    theirs, last = single_steps(scheduler, network, noise(), times, order, denoiser)
    ours = our_states(denoiser, solvers.SingleStep(order, of), times, noise())
    agree(ours[:-1], theirs)
    if of == "data":
        torch.testing.assert_close(ours[-1], last, rtol=1e-4, atol=1e-4)


class Given:
    """The same noise as diffusers draws from a generator."""

    def __init__(self, n, seed):
        self.n, self.generator = n, torch.Generator().manual_seed(seed)

    def normal(self, shape):
        return torch.randn(self.n, *shape, generator=self.generator)


def test_ancestral(tmp_path):
    """DDPM with the posterior variance ("fixed_small"), without clipping; every level, and no noise in the last step."""
    scheduler = diffusers.DDPMScheduler(
        **V, num_train_timesteps=20, beta_start=0.005, beta_end=0.5, clip_sample=False, variance_type="fixed_small"
    )
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(20)
    x, theirs, generator = noise(), [], torch.Generator().manual_seed(5)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x, generator=generator).prev_sample
            theirs.append(x)
        flow = pf.Flow(denoiser, solvers.Ancestral(), 20)
        ours = [x for _, x in flow.walk(noise(), flow.times, None, Given(4, 5))]
    agree(ours, theirs)


FLOW_TIMES = [0.999, 0.85, 0.6, 0.35, 0.2, 0.05, 0.0]
"""From our end of the straight path: diffusers starts at 1 by itself, where data and noise cannot be told apart."""


def test_euler_on_the_straight_path(tmp_path):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(sigmas=FLOW_TIMES[:-1])
    theirs = states_of(scheduler, network, noise())
    agree(our_states(denoiser, solvers.Euler(), FLOW_TIMES, noise()), theirs)


def test_shifted_euler_on_the_straight_path(tmp_path):
    """A shift moves the times, which the network is reported as they are; the path stays."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(sigmas=[0.99, 0.7, 0.3])
    theirs = states_of(scheduler, network, noise())
    agree(our_states(denoiser, solvers.Euler(), [*scheduler.sigmas.tolist()[:-1], 0.0], noise()), theirs)


def test_heun_on_the_straight_path(tmp_path):
    """Two calls a step and one in the last, which is Euler's step to 0 in both; its points are set by hand."""
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(len(FLOW_TIMES) - 1)
    sigmas = torch.tensor(FLOW_TIMES)
    scheduler.timesteps = T * torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2)])
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    theirs = states_of(scheduler, network, noise())
    agree(our_states(denoiser, solvers.Heun(), FLOW_TIMES, noise()), [*theirs[1::2], theirs[-1]])


SETTINGS = [
    ("DDPMScheduler", {"beta_schedule": "sigmoid"}),
    ("DDPMScheduler", {"trained_betas": [0.01, 0.3, 0.2, 0.4], "num_train_timesteps": 4}),
    ("DDIMScheduler", {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50}),
    ("PNDMScheduler", {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
    ("DPMSolverMultistepScheduler", {"beta_end": 0.03}),
    ("DPMSolverSinglestepScheduler", {}),
    ("UniPCMultistepScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
    ("DEISMultistepScheduler", {}),
    ("EulerDiscreteScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_levels_are_those_of_the_sampler(name, settings, tmp_path):
    """alpha^2 at t = (i + 1) / T is the sampler's own product, for the classes whose schedule we read without making them."""
    scheduler = getattr(diffusers, name)(**settings)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    path = from_diffusers(folder).path
    levels = len(scheduler.alphas_cumprod)
    t = (torch.arange(levels, dtype=torch.float64) + 1) / levels
    torch.testing.assert_close(path.at(t).alpha.square(), scheduler.alphas_cumprod.double(), rtol=2e-5, atol=1e-9)


def test_a_schedule_that_ends_at_pure_noise(tmp_path):
    """All levels but the last are the sampler's; the last has next to no signal, and less than the one before."""
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True, **V)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    t = (torch.arange(T, dtype=torch.float64) + 1) / T
    alpha2 = denoiser.path.at(t).alpha.square()
    torch.testing.assert_close(alpha2[:-1], scheduler.alphas_cumprod[:-1].double(), rtol=1e-4, atol=1e-9)
    assert 0 < alpha2[-1] < alpha2[-2] / 2 < 1e-6
    z = noise()
    theirs = scheduler.step(network(z, T - 1).sample, T - 1, z).pred_original_sample
    ours = denoiser.predict("data", z, torch.ones(4))
    torch.testing.assert_close(ours.clamp(-1, 1), theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_prediction_means_what_it_meant(kind, tmp_path):
    """At a level the network gets diffusers' own timestep, and the data read from it is diffusers' estimate."""
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser, x = from_diffusers(folder), noise(1)
    scheduler.set_timesteps(T)
    for i in (0, 1, 417, 998, 999):
        t = torch.tensor([(i + 1) / T])
        torch.testing.assert_close(denoiser(x, t), network(x, i).sample, rtol=1e-4, atol=1e-4)
        theirs = scheduler.step(network(x, i).sample, i, x).pred_original_sample
        close(denoiser.predict("data", x, t), theirs)


def test_v_has_the_sign_of_diffusers(tmp_path):
    scheduler = diffusers.DDPMScheduler(**V)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    denoiser, x, z, i = from_diffusers(folder), noise(seed=1), noise(seed=2), torch.tensor([0, 80, 500, 999])
    k = denoiser.coefficients(x, (i.double() + 1) / T)
    ours = target("v", x.double(), z.double(), k).float()
    torch.testing.assert_close(ours, scheduler.get_velocity(x, z, i), rtol=1e-4, atol=1e-5)


def test_a_flow_is_told_t_times_the_levels(tmp_path):
    folder, network = saved(tmp_path / "theirs", diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=300))
    denoiser, x, t = from_diffusers(folder), noise(), torch.tensor([0.01, 0.3, 0.77, 0.999])
    assert (type(denoiser.path), denoiser.prediction) == (pf.Linear, "velocity")
    torch.testing.assert_close(denoiser.predict("velocity", x, t), network(x, 300 * t).sample, rtol=1e-5, atol=1e-5)


def test_flow_sigmas_of_a_diffusion_sampler(tmp_path):
    settings = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    folder, _ = saved(tmp_path / "theirs", diffusers.DPMSolverMultistepScheduler(**settings))
    assert type(from_diffusers(folder).path) is pf.Linear


def test_samples_are_images_and_units_are_from_minus_one_to_one(tmp_path):
    folder, _ = saved(tmp_path / "theirs", diffusers.DDPMScheduler(**V))
    denoiser = from_diffusers(folder)
    assert not denoiser.training
    low, high = (end.flatten().tolist() for end in denoiser.space.bounds)
    assert (low, high) == ([-1] * 3, [1] * 3)
    x = pf.Flow(denoiser, solvers.DPM(2), 5).sample(3, seed=7)
    assert x.shape == (3, *SHAPE)
    assert x.std() > 0.1


WRITTEN = [
    (diffusers.DDPMScheduler(), {"beta_schedule": "linear", "beta_end": 0.02, "prediction_type": "epsilon"}),
    (diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", **V), {"beta_schedule": "squaredcos_cap_v2", **V}),
    (
        diffusers.PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085},
    ),
    (diffusers.DDPMScheduler(beta_schedule="sigmoid", prediction_type="sample"), {"prediction_type": "sample"}),
    (diffusers.FlowMatchHeunDiscreteScheduler(700), {"num_train_timesteps": 700, "shift": 1.0}),
]


@pytest.mark.parametrize(("scheduler", "wanted"), WRITTEN)
def test_round_trip(scheduler, wanted, tmp_path):
    """Folder, denoiser, folder: diffusers reads the same network, and the same levels; so do we."""
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    to_diffusers(denoiser, tmp_path / "ours")
    assert [path.name for path in tmp_path.glob(".*")] == []
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "ours")
    assert wanted.items() <= dict(back.scheduler.config).items()
    again, x, t = from_diffusers(tmp_path / "ours"), noise(), torch.tensor([0.2, 0.4, 0.6, 0.9])
    assert torch.equal(back.unet(x, 500).sample, network(x, 500).sample)
    assert torch.equal(again.predict("data", x, t), denoiser.predict("data", x, t))
    if type(denoiser.path) is pf.Tabulated:
        assert again.path.betas == denoiser.path.betas
        named = back.scheduler.config.trained_betas is None
        assert named == (scheduler.config.beta_schedule != "sigmoid")


def test_parts_of_weights_are_read_together(tmp_path):
    folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder / "unet", max_shard_size="60KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    t = torch.full((4,), 0.5)
    torch.testing.assert_close(from_diffusers(folder)(noise(), t), network(noise(), 499).sample, rtol=1e-4, atol=1e-4)


def labelled(tmp_path, space=None):
    folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler(**V), num_class_embeds=5)
    return from_diffusers(folder, space=space), network


def test_labels(tmp_path):
    """Five embedded classes are five classes, none of which stands for no label."""
    denoiser, network = labelled(tmp_path)
    label, t, x = torch.tensor([4, 0, 2, 1]), torch.full((4,), 0.5), noise()
    assert denoiser.space.classes == ("0", "1", "2", "3", "4")
    theirs = network(x, 499, class_labels=label).sample
    torch.testing.assert_close(denoiser(x, t, {"label": label}), theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(denoiser(x, t, {"label": label.flip(0)}), theirs, atol=1e-2)
    assert not denoiser.unconditional
    with pytest.raises(UsageError, match="unconditional"):
        pf.Guided(denoiser, 2.0)
    with pytest.raises(UsageError, match="label for every example"):
        denoiser(x, t)
    with pytest.raises(UsageError, match="label_dropout=0"):
        denoiser(x, t, {"label": label, "label_null": label > 2})


def test_a_class_for_no_label(tmp_path):
    """Where the space names one class fewer than are embedded, the last of them is the null, for guidance."""
    four = {"conditions": class_labels(4)}
    space = pf.data.ImageSpace(SHAPE, (0.5,) * 3, (0.5,) * 3, (0.0,) * 3, (1.0,) * 3, **four)
    denoiser, network = labelled(tmp_path, space)
    label, t, x = torch.tensor([3, 0, 2, 1]), torch.full((4,), 0.5), noise()
    with_label, without = network(x, 499, class_labels=label).sample, network(x, 499, class_labels=torch.full((4,), 4)).sample
    torch.testing.assert_close(denoiser(x, t), without, rtol=1e-4, atol=1e-4)
    guided = pf.Guided(denoiser, 3.0).predict("v", x, t, {"label": label})
    torch.testing.assert_close(guided, without + 3 * (with_label - without), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": (0.4,) * 3}, "standard deviation of 0.5"),
        ({"std": (0.3,) * 3}, "standard deviation of 0.5"),
        ({"shape": (2, 8, 12), "mean": (0.5,) * 2, "std": (0.5,) * 2}, "2 channels"),
        ({"conditions": class_labels(3)}, "3 classes"),
        ({}, "0 classes"),
    ],
)
def test_spaces_that_do_not_fit(changes, said, tmp_path):
    space = pf.data.ImageSpace(**{"shape": SHAPE, "mean": (0.5,) * 3, "std": (0.5,) * 3, **changes})
    with pytest.raises(UsageError, match=said):
        labelled(tmp_path, space)


def test_shapes_that_do_not_fit():
    network = DiffusersUNet(unet())
    t = torch.full((2,), 0.5)
    for shape in ((2, 3, 8, 13), (2, 3, 9, 12), (2, 1, 8, 12), (3, 8, 12)):
        with pytest.raises(UsageError, match="multiples of 2"):
            network(torch.zeros(shape), t)
    for wrong in (None, torch.tensor(0.5), torch.full((3,), 0.5)):
        with pytest.raises(UsageError, match="one time for each example"):
            network(torch.zeros(2, *SHAPE), wrong)
    with pytest.raises(UsageError, match="without labels"):
        network(torch.zeros(2, *SHAPE), t, {"label": torch.tensor([0, 1])})


def broken(change):
    """A folder with one thing wrong in it."""

    def make(tmp_path):
        folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
        change(folder, network)
        return folder

    return make


def as_pickle(folder, network):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder / "unet", safe_serialization=False)


def pickle_beside_lost_parts(folder, network):
    """A pickle does not take the place of parts that are lost."""
    as_pickle(folder, network)
    parts = {"metadata": {}, "weight_map": {"conv_in.bias": "diffusion_pytorch_model-00001-of-00001.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(parts))


def cut(folder, network):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def one_weight_less(folder, network):
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    save_file(weights, path)


def in_json(name, **changes):
    return lambda folder, network: rewrite(folder / name, **changes)


def without(name):
    return lambda folder, network: (folder / name).unlink()


SAMPLER, INDEX, NETWORK = "scheduler/scheduler_config.json", "model_index.json", "unet/config.json"
BROKEN = {
    "pickle": (as_pickle, UsageError, "safe_serialization=True"),
    "pickle beside lost parts": (pickle_beside_lost_parts, CheckpointError, "cannot be read"),
    "no size": (in_json(NETWORK, sample_size=None), UsageError, "names no sample_size"),
    "cut weights": (cut, CheckpointError, "cannot be read"),
    "a weight missing": (one_weight_less, CheckpointError, "missing keys: conv_in.bias"),
    "no weights": (without("unet/diffusion_pytorch_model.safetensors"), CheckpointError, "safetensors is missing"),
    "no index": (without(INDEX), CheckpointError, "model_index.json is missing"),
    "no sampler": (without(SAMPLER), CheckpointError, "scheduler_config.json is missing"),
    "no config": (without(NETWORK), CheckpointError, "config.json is missing"),
    "damaged": (lambda folder, network: (folder / SAMPLER).write_text('{"beta'), CheckpointError, "cannot be read"),
    "a list": (lambda folder, network: (folder / INDEX).write_text("[]"), CheckpointError, "holds no settings"),
    "sampler": (in_json(INDEX, scheduler=["diffusers", "DDPScheduler"]), UsageError, 'Did you mean "DDPMScheduler"'),
    "network": (in_json(INDEX, unet=["diffusers", "UNet2DConditionModel"]), UsageError, "UNet2DConditionModel; only UNet2DModel"),
    "network, in its config": (in_json(NETWORK, _class_name="Transformer2DModel"), UsageError, "Transformer2DModel"),
    "foreign code": (in_json(INDEX, unet=["my_module", "UNet2DModel"]), UsageError, "only diffusers' own classes"),
    "no network named": (in_json(INDEX, unet=[None, None]), UsageError, "names no unet"),
    "more parts": (in_json(INDEX, vae=["diffusers", "AutoencoderKL"]), UsageError, "also has vae"),
    "prediction": (in_json(SAMPLER, prediction_type="score"), UsageError, "epsilon, sample, v_prediction"),
    "schedule": (in_json(SAMPLER, beta_schedule="wavy"), UsageError, "makes no schedule"),
    "beta": (in_json(SAMPLER, trained_betas=[0.1, 1.5, 0.1], num_train_timesteps=3), UsageError, "between 0 and 1"),
    "too few betas": (in_json(SAMPLER, trained_betas=[0.1, 0.2]), UsageError, "2 trained_betas for 1000"),
    "continuous": (in_json(SAMPLER, timestep_type="continuous"), UsageError, "continuous"),
    "quantised": (in_json(NETWORK, quantization_config={"quant_method": "torchao"}), UsageError, "quantised"),
    "other channels": (in_json(NETWORK, in_channels=4), CheckpointError, "cannot be read|do not fit"),
    "not for it": (in_json(NETWORK, block_out_channels=[8, 17]), CheckpointError, "cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_folders_that_cannot_be_read(case, tmp_path):
    change, error, said = BROKEN[case]
    with pytest.raises(error, match=said):
        from_diffusers(broken(change)(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"out_channels": 6}, "as many out as in"),
        ({"time_embedding_type": "fourier"}, "fourier"),
        ({"class_embed_type": "timestep"}, "timestep"),
    ],
)
def test_networks_that_cannot_be_wrapped(changes, said):
    with pytest.raises(UsageError, match=said):
        DiffusersUNet(unet_config(**changes))


def test_wrong_arguments():
    with pytest.raises(UsageError, match="got a Linear"):
        DiffusersUNet(torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match="levels"):
        DiffusersUNet(unet_config(), levels=0)
    with pytest.raises(UsageError, match="offset"):
        DiffusersUNet(unet_config(), offset=2)
    with pytest.raises(UsageError, match="null is 5"):
        DiffusersUNet(unet_config(num_class_embeds=5), null=5)
    with pytest.raises(UsageError, match="makes no UNet2DModel"):
        DiffusersUNet(unet_config(block_out_channels=(8,)))


def space_in_diffusers_units():
    half = (0.5,) * SHAPE[0]
    return pf.data.ImageSpace(SHAPE, half, half, (0.0,) * 3, (1.0,) * 3)


def refused(**changes):
    parts = {
        "network": DiffusersUNet(unet()),
        "path": pf.Tabulated(linear_betas()),
        "prediction": "noise",
        "space": space_in_diffusers_units(),
        "preconditioning": Preconditioning(scale_input=False),
        **changes,
    }
    return pf.Denoiser(**parts)


def other_units():
    return pf.data.ImageSpace(SHAPE, (0.4,) * 3, (0.2,) * 3)


def from_other_data():
    model = refused()
    model.source = pf.couplings.Source("digits", model.space, fingerprint="known")
    return model


REFUSED = {
    "source": (from_other_data, "from other data instead of noise"),
    "our network": (lambda: refused(network=pf.networks.UNet(SHAPE, widths=(16, 32))), "which diffusers does not have"),
    "path": (lambda: refused(path=pf.VP()), "on the path VP"),
    "prediction": (lambda: refused(prediction="velocity"), '"velocity" on the path Tabulated'),
    "noise on the straight path": (lambda: refused(path=pf.Linear()), '"noise" on the path Linear'),
    "units": (lambda: refused(space=other_units()), "standard deviation of 0.5"),
    "scaled input": (lambda: refused(path=pf.Linear(), prediction="velocity", preconditioning=None), "scale_input=False"),
    "clock": (lambda: refused(preconditioning=Preconditioning(clock="log_snr")), "log_snr"),
    "levels": (lambda: refused(path=pf.Tabulated(linear_betas(500))), "levels=500, offset=1"),
    "offset": (lambda: refused(path=pf.Linear(), prediction="velocity"), "levels=1000, offset=0"),
    "no denoiser": (lambda: pf.Map(torch.nn.Identity(), space_in_diffusers_units(), SHAPE), "got a Map"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_diffusers_has_no_words_for(case, tmp_path):
    model, said = REFUSED[case]
    with pytest.raises(UsageError, match=said):
        to_diffusers(model(), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_folder_is_not_overwritten_and_appears_whole(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        to_diffusers(refused(), tmp_path / "there")

    def full(self, folder, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(diffusers.DDPMScheduler, "save_pretrained", full)
    with pytest.raises(CheckpointError, match="No space left"):
        to_diffusers(refused(), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_without_diffusers(tmp_path, monkeypatch):
    folder, _ = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for call in (lambda: from_diffusers(folder), lambda: DiffusersUNet(unet_config())):
        with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[diffusers\]'"):
            call()


def test_a_network_is_rebuilt_from_its_description():
    network = DiffusersUNet(unet(num_class_embeds=5), 300, 0, 4)
    again = spec.build(json.loads(json.dumps(spec.describe(network))))
    again.load_state_dict(network.state_dict())
    t, condition = torch.tensor([0.1, 0.4, 0.6, 0.9]), {"label": torch.tensor([0, 3, 1, 2])}
    for given in (condition, None):
        assert torch.equal(again.eval()(noise(), t, given), network(noise(), t, given))


@pytest.mark.parametrize(("preconditioned", "output"), [(True, "v_prediction"), (False, "epsilon")])
def test_a_network_of_diffusers_is_trained_here_and_handed_back(tmp_path, preconditioned, output):
    """Trained on the average of `fit`; the run is read again from its folder, and diffusers reads what was written of it."""
    data = pf.data.load("digits")
    space = dataclasses.replace(data.space.with_labels(False), mean=(0.5,), std=(0.5,))
    data = dataclasses.replace(data, space=space)
    config = unet_config(sample_size=8, in_channels=1, out_channels=1)
    recipe = pf.recipes.ddpm(space, network=DiffusersUNet(config), preconditioned=preconditioned)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, precision="float32", batch=8))
    run = pf.fit(recipe, data, steps=3, out=tmp_path / "run")
    to_diffusers(run, tmp_path / "out")
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.8])
    wanted = run.denoiser.predict("data", x, t)
    again = from_diffusers(tmp_path / "out")
    torch.testing.assert_close(again.predict("data", x, t), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pf.load(tmp_path / "run").denoiser.predict("data", x, t), wanted, rtol=1e-4, atol=1e-4)
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")
    assert back.scheduler.config.beta_schedule == "linear"
    assert back.scheduler.config.prediction_type == output
    theirs = run.denoiser.predict("v" if preconditioned else "noise", x, t)
    torch.testing.assert_close(back.unet(x, 1000 * t - 1).sample, theirs, rtol=1e-4, atol=1e-4)


def test_training_goes_on_from_what_was_read(tmp_path):
    """A method that is handed over keeps its weights: one step of AdamW moves each by at most its rate, 1e-3."""
    data = pf.data.load("digits")
    data = dataclasses.replace(data, space=dataclasses.replace(data.space.with_labels(False), mean=(0.5,), std=(0.5,)))
    size = {"sample_size": 8, "in_channels": 1, "out_channels": 1}
    folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler(**V), **size)
    denoiser = from_diffusers(folder, space=data.space)
    run = pf.fit(pf.Denoising(denoiser), data, steps=1, out=tmp_path / "run")
    trained = run.denoiser.network.unet.state_dict()
    moved = max(float((value - trained[name]).abs().max()) for name, value in network.state_dict().items())
    assert 1e-4 < moved < 1.1e-3


# An AutoencoderKL as the frozen part of a latent model


def kl_autoencoder(folder, **changes):
    torch.manual_seed(0)
    config = {
        "block_out_channels": (16, 16),
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "norm_num_groups": 4,
        "latent_channels": 3,
        "scaling_factor": 0.3,
        **changes,
    }
    autoencoder = diffusers.AutoencoderKL(**config)
    autoencoder.save_pretrained(str(folder), safe_serialization=True)
    return autoencoder.eval()


def test_an_autoencoder_kl_codes_and_decodes_as_diffusers_does(tmp_path):
    theirs = kl_autoencoder(tmp_path / "kl")
    data = space_data((3, 12, 16), labels=True)
    ours = autoencoder_of(tmp_path / "kl", data.space)
    x = data.train.data_units(slice(4))
    with torch.no_grad():
        wanted = theirs.encode(2 * x - 1).latent_dist
        mean, log_variance = ours.moments(ours.space.to_model(x)).chunk(2, 1)
        torch.testing.assert_close(mean, wanted.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(log_variance, wanted.logvar, rtol=1e-4, atol=1e-5)
        image = ours.space.to_data(ours.decode(wanted.mean))
        torch.testing.assert_close(image, (theirs.decode(wanted.mean).sample / 2 + 0.5).clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_a_model_in_the_space_of_an_autoencoder_kl_is_whole_by_itself(tmp_path):
    kl_autoencoder(tmp_path / "kl")
    data = space_data((3, 12, 16), labels=True)
    run = pf.fit(pf.in_latent("flow", data, tmp_path / "kl", "tiny"), data, steps=2, out=tmp_path / "run")
    shutil.rmtree(tmp_path / "kl")
    x = run.transport.sample(2, seed=1)
    assert x.shape == (2, 3, 12, 16)
    torch.testing.assert_close(pf.load(tmp_path / "run").transport.sample(2, seed=1), x, rtol=1e-4, atol=1e-5)
    assert run.space.classes == data.space.classes


@pytest.mark.parametrize(
    ("shape", "words"), [((3, 13, 16), "multiples of 2"), ((1, 12, 16), "3 channels"), ((17,), "3 channels")]
)
def test_data_that_an_autoencoder_kl_cannot_take_is_refused(shape, words, tmp_path):
    kl_autoencoder(tmp_path / "kl")
    with pytest.raises(UsageError, match=words):
        autoencoder_of(tmp_path / "kl", space_data(shape, labels=False).space)
    rewrite(tmp_path / "kl" / "config.json", _class_name="AutoencoderTiny")
    with pytest.raises(UsageError, match="only AutoencoderKL"):
        autoencoder_of(tmp_path / "kl", space_data((3, 12, 16), labels=False).space)
