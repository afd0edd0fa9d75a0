"""Samplers of diffusers as independent witnesses of ours, on the same network and times."""

import pytest
import torch
from programs.diffusers_models import T, V, agree, diffusers, lambdas, level_times, noise, our_states, states_of, v_model

import pushforward as pf
from pushforward import solvers


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
