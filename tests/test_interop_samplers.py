"""Samplers of diffusers as independent witnesses of ours, on the same network and times."""

import pytest
import torch
from programs.diffusers_models import (
    T,
    V,
    agree,
    diffusers,
    level_times,
    noise,
    our_states,
    states_of,
    v_model,
)

import pushforward as pf
from pushforward import solvers

PREDICTIONS = [
    ("epsilon", "linear"),
    ("sample", "scaled_linear"),
    ("v_prediction", "squaredcos_cap_v2"),
]


@pytest.mark.parametrize(("kind", "schedule"), PREDICTIONS)
def test_ddim(kind, schedule, tmp_path):
    """Trailing spacing: diffusers then goes from level to level in equal steps from the last, and
    ends at alpha = 1.
    """
    settings = {"prediction_type": kind, "beta_schedule": schedule, "clip_sample": False}
    scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing", **settings)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(8)
    theirs = states_of(scheduler, network, noise())
    ours = our_states(denoiser, solvers.DDIM(), level_times(scheduler.timesteps), noise())
    agree(ours, theirs)


def test_euler_of_the_discrete_schedule_is_ddim(tmp_path):
    """EulerDiscrete keeps x_t / alpha as its state; the rest is DDIM."""
    scheduler = diffusers.EulerDiscreteScheduler(**V, timestep_spacing="trailing")
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(8)
    times = level_times(scheduler.timesteps)
    k = denoiser.path.at(torch.tensor(times[:-1], dtype=torch.float64))
    start = float(k.sigma[0] / k.alpha[0])
    states = states_of(scheduler, network, start * noise())
    alphas = [*k.alpha[1:].tolist(), 1.0]
    theirs = [alpha * state for alpha, state in zip(alphas, states, strict=True)]
    ours = our_states(denoiser, solvers.DDIM(), times, float(k.sigma[0]) * noise())
    agree(ours, theirs)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_dpm_of_order_2(schedule, tmp_path):
    """With steps at levels that we choose, unequal ones. Its last step goes to sigma = 0 at first
    order, as ours.
    """
    settings = {**V, "beta_schedule": schedule, "lower_order_final": False}
    scheduler = diffusers.DPMSolverMultistepScheduler(**settings)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(timesteps=[980, 801, 650, 433, 210, 99, 30, 4])
    theirs = states_of(scheduler, network, noise())
    ours = our_states(denoiser, solvers.DPM(2), level_times(scheduler.timesteps), noise())
    agree(ours, theirs)


@pytest.mark.parametrize(("order", "lowered"), [(1, 0), (2, 0), (3, 2)])
def test_unipc(order, lowered, tmp_path):
    """UniPC with B(h) = e^h - 1 on the data. Orders are those of the predictor.

    diffusers lowers order 3 in the last two steps (``lower_order_final``, without which its last
    step divides by zero), so the states agree up to there.
    """
    settings = {**V, "solver_order": order, "solver_type": "bh2"}
    scheduler = diffusers.UniPCMultistepScheduler(timestep_spacing="trailing", **settings)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(8)
    theirs = states_of(scheduler, network, noise())
    ours = our_states(denoiser, solvers.UniPC(order), level_times(scheduler.timesteps), noise())
    compared = 8 - lowered
    agree(ours[:compared], theirs[:compared])


@pytest.mark.parametrize("order", [1, 2])
def test_deis(order, tmp_path):
    """Its polynomials are in log(sigma / alpha), integrated against sigma / alpha: the same as ours
    in log-SNR.

    It ends at the first level, not at sigma = 0, so its last step is left out.
    """
    settings = {**V, "solver_order": order, "lower_order_final": False}
    scheduler = diffusers.DEISMultistepScheduler(timestep_spacing="trailing", **settings)
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(8)
    theirs = states_of(scheduler, network, noise())
    ours = our_states(denoiser, solvers.DEIS(order), level_times(scheduler.timesteps), noise())
    agree(ours[:-1], theirs[:-1])


class Given:
    """The same noise as diffusers draws from a generator."""

    def __init__(self, n, seed):
        self.n = n
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, shape):
        return torch.randn(self.n, *shape, generator=self.generator)


def test_ancestral(tmp_path):
    """DDPM with the posterior variance ("fixed_small"), without clipping; every level, and no noise
    in the last step.
    """
    scheduler = diffusers.DDPMScheduler(
        **V,
        num_train_timesteps=20,
        beta_start=0.005,
        beta_end=0.5,
        clip_sample=False,
        variance_type="fixed_small",
    )
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(20)
    x = noise()
    theirs = []
    generator = torch.Generator().manual_seed(5)
    flow = pf.Flow(denoiser, solvers.Ancestral(), 20)
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = network(x, t).sample
            x = scheduler.step(output, t, x, generator=generator).prev_sample
            theirs.append(x)
        ours = [x for _, x in flow.walk(noise(), flow.times, None, Given(4, 5))]
    agree(ours, theirs)


FLOW_TIMES = [0.999, 0.85, 0.6, 0.35, 0.2, 0.05, 0.0]
"""From our end of the straight path: diffusers starts at 1 by itself, where data and noise cannot
be told apart.
"""


def test_euler_on_the_straight_path(tmp_path):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(sigmas=FLOW_TIMES[:-1])
    theirs = states_of(scheduler, network, noise())
    ours = our_states(denoiser, solvers.Euler(), FLOW_TIMES, noise())
    agree(ours, theirs)


def test_heun_on_the_straight_path(tmp_path):
    """Two calls a step and one in the last, which is Euler's step to 0 in both; its points are set
    by hand.
    """
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    denoiser, network = v_model(tmp_path, scheduler)
    scheduler.set_timesteps(len(FLOW_TIMES) - 1)
    first, *inner, last = FLOW_TIMES
    calls = [first]
    for time in inner:
        calls += [time, time]
    scheduler.timesteps = T * torch.tensor(calls)
    scheduler.sigmas = torch.tensor([*calls, last])
    states = states_of(scheduler, network, noise())
    theirs = [*states[1::2], states[-1]]
    ours = our_states(denoiser, solvers.Heun(), FLOW_TIMES, noise())
    agree(ours, theirs)
