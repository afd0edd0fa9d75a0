"""Samplers as `torch.export` programs: whole samplers, and the parts of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pushforward.denoisers.denoiser import SCALE, Condition, evaluate, without_scale
from pushforward.draws import Draws
from pushforward.editing.given_data import Truncated
from pushforward.errors import UsageError
from pushforward.export.dense_program import RowLayout
from pushforward.plugins import line_of
from pushforward.transports import Flow, Latent, Map, Transport, inner_of

Flows = Mapping[str, Mapping[int, Flow]]  # by solver and number of steps
BATCH = 3  # examples that a program is traced with; it takes any number


class GivenNoise(Draws):
    """Source of random numbers that returns given noise: (calls, n, *shape), (n, *shape)."""

    def __init__(self, noise: Tensor | None, decoder: Tensor | None = None) -> None:
        self.noise = noise
        self.decoder = decoder
        self._calls = 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        assert self.noise is not None
        self._calls += 1
        return self.noise[self._calls - 1]

    def uniform(self) -> Tensor:
        raise UsageError("Exported samplers can only draw normal random numbers.")

    def stream(self, name: str) -> Draws:
        if name != "decoder" or self.decoder is None:
            raise UsageError("Exported samplers can only draw from one random stream.")
        return GivenNoise(self.decoder[None])


class Sampler(nn.Module):
    """A transport as a function of tensors; solvers of its flows must have tables."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.transport = transport
        self.space = transport.space  # units as constants of the program
        for part in transport.modules():
            if isinstance(part, Flow):
                _ = part.program  # compiled before tensors are stand-ins

    def forward(
        self,
        z: Tensor,
        condition: Condition = None,
        noise: Tensor | None = None,
        decoder_noise: Tensor | None = None,
    ) -> Tensor:
        """Compute samples (n, *shape) in data units.

        Args:
            z: Noise (n, *noise_shape); for a flow from a source, its examples in model units.
            condition: Values by name, n each, such as {"label": int64 (n,)}.
            noise: Noise (`noise_count`, n, *shape), for a stochastic solver or likelihood.
            decoder_noise: Noise (n, *shape), for latents whose decoder has a likelihood.
        """
        draws = None
        if noise is not None or decoder_noise is not None:
            draws = GivenNoise(noise, decoder_noise)
        x = self.transport(z, condition, draws)
        return self.space.to_data(x)


class TableRow(nn.Module):
    """One row of a flow's table, which a loop repeats."""

    def __init__(self, flow: Flow, layout: RowLayout, kind: str) -> None:
        super().__init__()
        self.denoiser = flow.denoiser
        self.layout = layout
        self.kind = kind

    def forward(
        self, slots: Tensor, row: Tensor, condition: Condition = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the slots after the row, and the input state of the denoiser.

        Args:
            slots: Slots, (W, n, *shape).
            row: Row of the table, (K,).
            condition: Values by name, n each.
            noise: Noise, (M, n, *shape).
        """
        columns, point, keep, fresh, spread = self.layout.unpacked(row)
        state = mixed(point[None], slots)[0]
        estimate = evaluate(self.denoiser, self.kind, state, columns, condition)
        after = mixed(keep, slots) + fresh.reshape(-1, *(1,) * estimate.dim()) * estimate
        if noise is not None:
            after = after + mixed(spread, noise)
        return after, state


def mixed(weights: Tensor, parts: Tensor) -> Tensor:
    """Combine parts (k, n, *shape) linearly by weights (m, k)."""
    return (weights @ parts.flatten(1)).unflatten(1, parts.shape[1:])


class End(nn.Module):
    """Conversion of states of a flow, possibly in a latent space, to data units."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.transport = transport
        self.space = transport.space  # units as constants of the program

    def forward(
        self, states: Tensor, condition: Condition = None, decoder_noise: Tensor | None = None
    ) -> Tensor:
        """Convert k states per example, (k, n, *noise_shape), to data units, (k, n, *shape)."""
        k, n = states.shape[:2]
        condition, _ = without_scale(condition)
        if condition is not None:
            condition = {name: _repeated(part, k) for name, part in condition.items()}
        draws = None
        if decoder_noise is not None:
            draws = GivenNoise(None, _repeated(decoder_noise, k))
        x = states.flatten(0, 1)
        if isinstance(self.transport, Latent):
            x = self.transport.decoded(x, condition, draws)
        return self.space.to_data(x).unflatten(0, (k, n))


def _repeated(part: Tensor, k: int) -> Tensor:
    return part.repeat(k, *(1,) * (part.dim() - 1))


def noise_count(transport: Transport) -> int:
    """Count the noise tensors that a transport draws per sample, besides z."""
    inner = inner_of(transport)
    if isinstance(inner, Truncated):
        return noise_count(inner.inner)
    if isinstance(inner, Flow):
        return sum(len(row.noises) for row in inner.program.rows)
    return int(isinstance(inner, Map) and inner.likelihood is not None)


def decoder_draws(transport: Transport) -> bool:
    """Return whether the decoder of latents draws around its means."""
    return isinstance(transport, Latent) and transport.autoencoder.likelihood is not None


def inputs_of(
    transport: Transport, n: int = BATCH, noises: int | None = None, scale: bool = False
) -> dict[str, Any]:
    """Build random inputs of a `Sampler` by name, for n examples.

    Args:
        noises: Number of noise tensors; None for `noise_count`.
        scale: Whether the condition contains a guidance scale for each example.
    """
    device = transport.device
    condition = transport.conditions(n, None, 0)
    if scale:
        condition = {**(condition or {}), SCALE: torch.linspace(0.5, 2.0, n, device=device)}
    inputs = {
        "z": torch.randn(n, *transport.noise_shape, device=device),
        "condition": condition,
        "noise": None,
        "decoder_noise": None,
    }
    if noises is None:
        noises = noise_count(transport)
    if noises:
        shape = inner_of(transport).space.shape
        inputs["noise"] = torch.randn(noises, n, *shape, device=device)
    if decoder_draws(transport):
        inputs["decoder_noise"] = torch.randn(n, *transport.space.shape, device=device)
    return inputs


def traced(
    module: nn.Module, inputs: dict[str, Any], axes: dict[str, Sequence[str]]
) -> ExportedProgram:
    """Export a module, whose arguments are the inputs, as a program.

    Args:
        axes: Names of the dynamic first axes of each input, "" for static ones; ("n",) by default.
    """
    sizes: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for name, part in inputs.items():
        dynamic = {}
        for axis, size in enumerate(axes.get(name, ["n"])):
            if size:
                dynamic[axis] = sizes.setdefault(size, Dim(size, min=1))
        if isinstance(part, dict):
            shapes[name] = dict.fromkeys(part, dynamic)
        else:
            shapes[name] = None if part is None else dynamic
    try:
        with torch.no_grad(), redirect_stderr(StringIO()):  # on which torch prints the whole graph
            program = torch.export.export(module.eval(), (), inputs, dynamic_shapes=shapes)
    except RuntimeError as error:
        line = line_of(error)
        place = f" ({line})" if line else ""
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"torch.export cannot trace the network{place}: {reason} The network must compute with "
            "tensors for any batch size: use x.shape[0] or torch.full_like instead of len(x), "
            "torch.where instead of `if`, and no int() or float() of a tensor."
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def exported(transport: Transport) -> ExportedProgram:
    """Export a whole sampler, from noise to data, as one program with unrolled steps.

    Returns:
        ``program.module()(z=, condition=, noise=, decoder_noise=)``, as for `Sampler`; None for
            inputs that the model does not take.
    """
    return traced(Sampler(transport), inputs_of(transport), {"noise": ("", "n")})
