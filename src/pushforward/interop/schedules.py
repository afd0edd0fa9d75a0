"""The schedules of diffusers' samplers as paths, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pushforward.errors import UsageError
from pushforward.interop.folders import library
from pushforward.paths import Linear, Path
from pushforward.tabulated import Tabulated

DISCRETE = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""diffusers' samplers whose settings hold the betas of a discrete schedule."""
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""diffusers' samplers of flow matching on the straight path."""
PREDICTIONS = {"epsilon": "noise", "sample": "data", "v_prediction": "v"}
"""The names of predictions in diffusers, and here."""
_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
_LEAST = 2.0**-24
"""The alpha^2 that takes the place of 0 at the last level, as in several of diffusers' own samplers."""


def trained_on(name: str, settings: Mapping[str, Any]) -> tuple[Path, str]:
    """The path and the prediction of a sampler's settings.

    Raises:
        UsageError: For settings that no path here has.
    """
    kind = settings.get("prediction_type", "flow_prediction" if name in FLOW else "epsilon")
    flow = name in FLOW or bool(settings.get("use_flow_sigmas"))
    if settings.get("invert_sigmas") or settings.get("timestep_type", "discrete") != "discrete":
        raise UsageError("A sampler with invert_sigmas or continuous timesteps counts time in another way; it is not read.")
    if flow != (kind == "flow_prediction") or (not flow and kind not in PREDICTIONS):
        known = "flow_prediction" if flow else ", ".join(PREDICTIONS)
        raise UsageError(f'The prediction_type "{kind}" is not known with this {name}; known: {known}.')
    if flow:
        return Linear(), "velocity"
    return _tabulated(settings), PREDICTIONS[kind]


def _tabulated(settings: Mapping[str, Any]) -> Tabulated:
    given, make = {name: settings[name] for name in _BETAS if name in settings}, library().DDPMScheduler
    try:
        betas = make(**given).betas.double()
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"diffusers makes no schedule of these settings of the sampler: {error}.") from error
    if given.get("num_train_timesteps", len(betas)) != len(betas):
        raise UsageError(
            f"The sampler has {len(betas)} trained_betas for {given['num_train_timesteps']} levels; expected one for each."
        )
    if len(betas) > 1 and betas[-1] == 1:
        before = float(torch.prod(1 - betas[:-1]))
        # log-SNR must fall from level to level, and the last but one may lie below what diffusers puts at the last
        betas[-1] = 1 - min(_LEAST, before / 4) / before
    return Tabulated(betas.tolist())


def settings_of(betas: tuple[float, ...]) -> dict[str, Any]:
    """The settings that give these betas in diffusers, by name where they have one."""
    wanted = torch.tensor(betas, dtype=torch.float64)
    levels: dict[str, Any] = {"num_train_timesteps": len(betas)}
    ends = {"beta_start": float(f"{betas[0]:.6g}"), "beta_end": float(f"{betas[-1]:.6g}")}
    for name in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        settings = {"beta_schedule": name, **ends, **levels}
        rebuilt = library().DDPMScheduler(**settings).betas.double()
        if torch.allclose(rebuilt, wanted, rtol=1e-6, atol=1e-7 * max(betas)):
            return settings
    return {"trained_betas": list(betas), **levels}
