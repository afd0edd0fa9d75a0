"""Tiny models of diffusers, its samplers' states, and ours."""

import json

import pytest
import torch

import pushforward as pf
from pushforward.interop import from_diffusers

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
    """A tiny network of random weights whose output has a standard deviation near 1 and changes
    with time.
    """
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
            if isinstance(scheduler, diffusers.EulerDiscreteScheduler):
                seen = scheduler.scale_model_input(x, t)
            else:
                seen = x
            x = scheduler.step(network(seen, t).sample, t, x).prev_sample
            states.append(x)
    return states


def our_states(denoiser, solver, times, x):
    flow = pf.Flow(denoiser, solver, len(times) - 1, grid=times)
    with torch.no_grad():
        return [state for _, state in flow.walk(x, flow.times)]


def close(ours, theirs, at=""):
    """To 1e-4 of their scale, which is 1 for all but noise predictions: their data is the network's
    error over alpha.
    """
    scale = max(1.0, float(theirs.abs().max()))
    torch.testing.assert_close(
        ours, theirs, rtol=0, atol=1e-4 * scale, msg=lambda text: f"{at}{text}"
    )


def agree(ours, theirs):
    assert len(ours) == len(theirs) > 1
    for i, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        close(own, other, f"after step {i + 1}: ")


def v_model(folder, scheduler):
    """A model that predicts v, read from diffusers' folder; v keeps states near 1 where random
    networks err.
    """
    where, network = saved(folder / "theirs", scheduler)
    return from_diffusers(where), network


V = {"prediction_type": "v_prediction"}


def labelled(tmp_path, space=None):
    folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler(**V), num_class_embeds=5)
    return from_diffusers(folder, space=space), network
