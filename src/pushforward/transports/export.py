"""Samplers as `torch.export` programs: tensors in, data out, for any number of samples, without this library.

`exported` unrolls the steps of a transport. `exported_scan` holds one step of a flow, whose table is an input: the same program
then serves any number of steps, and any solver of as many slots (`pushforward.solvers.dense`). A learned table is such an input
for its own number of steps; a program that is made from a flow with a table of N calls takes any table of at most N calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.solvers.dense import Dense, dense, run
from pushforward.transports import Flow, Latent, Map, Transport, inner_of, with_inner

BATCH = 3
"""Batch size of the inputs that a program is traced with; it takes any."""


class GivenNoise(Draws):
    """Draws given as a tensor: call k returns the k-th part.

    Args:
        noise: (calls, n, *shape).
    """

    def __init__(self, noise: Tensor) -> None:
        self.noise, self.n, self._calls = noise, noise.shape[1], 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        self._calls += 1
        return self.noise[self._calls - 1]

    def uniform(self) -> Tensor:
        raise UsageError("A sampler that is exported draws normal numbers only.")

    def stream(self, name: str, interval: int = 1) -> Draws:
        raise UsageError("A sampler that is exported draws from one stream only.")


class Sampler(nn.Module):
    """A transport as a function of tensors: (z, condition, noise) -> data in data units.

    Args:
        transport: Any; its flows' solvers have tables.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.transport = transport
        for part in transport.modules():
            if isinstance(part, Flow):
                _ = part.table  # compiled before tensors are stand-ins

    def forward(self, z: Tensor, condition: dict[str, Tensor] | None = None, noise: Tensor | None = None) -> Tensor:
        """Samples (n, *shape), data units.

        Args:
            z: (n, *noise_shape), standard normal; of a flow from a source, examples of it in model units.
            condition: Values by name, n values each, such as {"label": int64 (n,)}; None for a model without conditions.
            noise: (`noise_count`, n, *shape), standard normal, for a stochastic solver, or for a decoder whose samples are drawn
                around its means (a VAE of vectors).
        """
        x = self.transport(z, condition, None if noise is None else GivenNoise(noise))
        return self.transport.space.to_data(x)


def _free(condition: Condition, n: Any) -> dict[str, dict[int, Any]] | None:
    return None if condition is None else {name: {0: n} for name in condition}


def noise_count(transport: Transport) -> int:
    """How often a transport draws noise of the shape of its inner data in one solve, beside z."""
    inner = inner_of(transport)
    if hasattr(inner, "inner"):  # truncated
        return noise_count(inner.inner)  # type: ignore[arg-type]
    if isinstance(inner, Flow):
        return sum(len(row.noises) for row in inner.table.rows)
    return int(isinstance(inner, Map) and inner.likelihood is not None)


def exported(transport: Transport) -> ExportedProgram:
    """The whole of a sampler, from noise to data, as one program; see `Sampler` for its inputs.

    Args:
        transport: Any; a flow under a solver that has a table.

    Returns:
        ``program.module()(z, condition, noise)``, with None for inputs that the model does not take.

    Raises:
        UsageError: For an adaptive solver or one whose steps are not affine, and for a model on codes of a table.
    """
    if isinstance(transport, Latent) and transport.autoencoder.likelihood is not None:
        raise UsageError(
            "This model draws rows around decoded codes, and a program cannot draw them: export a model that is trained on the "
            "table itself."
        )
    device, n, draws = transport.device, Dim("n", min=1), noise_count(transport)
    z = torch.randn(BATCH, *transport.noise_shape, device=device)
    condition = transport.conditions(BATCH, None, 0)
    noise = torch.randn(draws, BATCH, *inner_of(transport).space.shape, device=device) if draws else None
    dynamic = {
        "z": {0: n},
        "condition": _free(condition, n),
        "noise": None if noise is None else {1: n},
    }
    with torch.no_grad():
        return torch.export.export(Sampler(transport).eval(), (z, condition, noise), dynamic_shapes=dynamic)


class ScanSampler(nn.Module):
    """A flow with its table as an input: (z, inputs, condition, noise) -> data in data units, by a scan over the table's rows.

    Args:
        transport: A flow under a solver that has a table, or one in a latent space.

    Raises:
        UsageError: For another transport.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        flow = inner_of(transport)
        if not isinstance(flow, Flow):
            raise UsageError(f"A {type(flow).__name__} has no steps to scan over; export it whole.")
        self.flow, self.transport, self.kind = flow, with_inner(transport, _Ended(flow)), dense(flow.table).kind

    def forward(
        self, z: Tensor, inputs: dict[str, Any], condition: dict[str, Tensor] | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Samples (n, *shape), data units.

        Args:
            z: (n, *noise_shape), standard normal; of a flow from a source, examples of it in model units.
            inputs: Of `scan_inputs`, for any number of steps.
            condition: Values by name, n values each, or None.
            noise: (rows + 1, M, n, *noise_shape), standard normal.
        """
        from torch._higher_order_ops import scan

        assert noise is not None
        x = run(self.flow.denoiser, self.kind, inputs, z * inputs["width"], condition, noise, scan)
        return self.transport.space.to_data(self.transport(x, condition))


class _Ended(Transport):
    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.space, self.noise_shape = flow.space, flow.noise_shape

    def forward(self, z: Tensor, condition: Any = None, draws: Draws | None = None) -> Tensor:
        return z

    @property
    def calls(self) -> int:
        return 0


def scan_inputs(transport: Transport, slots: int = 0, noises: int = 0) -> tuple[dict[str, Any], Dense]:
    """The table of a flow as the inputs of a `ScanSampler`'s program.

    Args:
        transport: The same model under any number of steps, or with a learned table, which holds for its own number alone.
        slots: The program's, where the flow needs fewer; see `pushforward.solvers.dense.dense`.
        noises: Likewise.

    Raises:
        UsageError: For a table that needs more slots or noises than the program has.
    """
    flow = inner_of(transport)
    assert isinstance(flow, Flow)
    arrays = dense(flow.table, slots, noises)
    width = flow._at_start(torch.ones((), dtype=torch.float64)).float()
    return {**arrays.inputs(), "width": width}, arrays


def exported_scan(transport: Transport) -> ExportedProgram:
    """One step of a flow as a program that takes tables of any number of rows; see `ScanSampler` for its inputs.

    Args:
        transport: A flow, or one in a latent space. Its number of steps sets the number of slots of the program: take one with at
            least as many steps as the solver looks back. A learned table of N calls looks back to the start: N + 1 slots.
    """
    n, rows = Dim("n", min=1), Dim("rows", min=1)
    inputs, arrays = scan_inputs(transport)
    z = torch.randn(BATCH, *transport.noise_shape)
    condition = transport.conditions(BATCH, None, 0)
    noise = torch.randn(len(arrays.point) + 1, arrays.first.shape[1], *z.shape)
    fixed = ("start", "first", "width")
    dynamic: dict[str, Any] = {
        "z": {0: n},
        "inputs": {k: None if k in fixed else pytree.tree_map(lambda part: {0: rows}, part) for k, part in inputs.items()},
        "condition": _free(condition, n),
        "noise": {0: rows + 1, 2: n},
    }
    with torch.no_grad():
        return torch.export.export(ScanSampler(transport).eval(), (z, inputs, condition, noise), dynamic_shapes=dynamic)
