"""Optimisers of each network, and the average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.denoisers.denoiser import has_bfloat16
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Method
from pushforward.recipes.recipe import Training
from pushforward.training.checkpoint.tensors import by_place, gradient_norm, local, placed

NARROWEST = 32
"""Muon trains kernels whose matrix, (channels out) x (channels in, height, width), has both sides
at least this long."""


MOMENTUM = 0.95
# coefficients of the iteration X <- (A + B G + C G^2) X with G = X X^T
A = 3.4445
B = -4.7750
C = 2.0315
ITERATIONS = 5
EPS = 1e-7  # the least norm that a matrix is divided by
# iterations in a row that update G alone in float32: longer blocks let errors of small singular
# values grow
ROUNDS = (3, 2)


class PlayerOptimizer:
    """Parameters of one network with their optimisers.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019); Jordan et al., Muon
        (2024), for kernels as matrices.
    """

    def __init__(self, module: nn.Module, name: str, training: Training) -> None:
        self.module = module
        self.name = name
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.lr = float(training.of(name, "lr"))
        self.clip = training.of(name, "clip")
        wide = set()
        if training.of(name, "optimizer") == "muon":
            wide = _wide_kernels(module)
        if wide and any(hasattr(p, "device_mesh") for p in self.parameters):
            raise UsageError(
                "Muon needs whole matrices, but these weights are sharded. Use `optimizer=adamw`."
            )
        self._numbers = {parameter: number for number, parameter in enumerate(self.parameters)}
        self._kernels = [p for p in self.parameters if id(p) in wide]
        others = [p for p in self.parameters if id(p) not in wide]
        self._matrices = [nn.Parameter(_matrix(kernel.detach())) for kernel in self._kernels]
        betas = tuple(training.of(name, "betas"))
        decay = training.of(name, "weight_decay")
        # each with its parameters
        self._optimizers: list[tuple[torch.optim.Optimizer, list[nn.Parameter]]] = []
        for plain in by_place(others):
            adamw = torch.optim.AdamW(
                plain, lr=self.lr, betas=betas, weight_decay=decay, fused=True
            )
            self._optimizers.append((adamw, plain))
        if self._kernels:
            muon = Muon(self._matrices, lr=self.lr, weight_decay=decay)
            self._optimizers.append((muon, self._kernels))

    def update(self, rate: float, loss: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take one step with the current gradients, and clear them."""
        norm = gradient_norm(self.parameters)
        finite = torch.isfinite(norm if loss is None else norm + loss)
        if self.clip is not None:
            for clipped in by_place(self.parameters):
                nn.utils.clip_grads_with_norm_(clipped, self.clip, norm, foreach=True)
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad)
        for optimizer, _ in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * rate
        waits = _waits(self)
        for optimizer, _ in self._optimizers:
            if waits and not finite:
                break
            if not waits:
                optimizer.grad_scale = None  # type: ignore[attr-defined]
                optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            optimizer.step()
        for parameter in (*self.parameters, *self._matrices):
            parameter.grad = None
        return norm, finite

    @property
    def rate(self) -> float:
        if self._optimizers:
            return float(self._optimizers[0][0].param_groups[0]["lr"])
        return self.lr

    def state(self) -> dict[str, Tensor]:
        """Return the optimisers' tensors, named PLAYER/PARAMETER/KIND."""
        states = {}
        for optimizer, parameters in self._optimizers:
            for at, kinds in optimizer.state_dict()["state"].items():
                number = self._numbers[parameters[at]]
                for kind, value in kinds.items():
                    states[f"{self.name}/{number}/{kind}"] = value
        return states

    def state_bytes(self) -> int:
        """Return the bytes of the optimiser states after the first step."""
        total = 0
        for optimizer, parameters in self._optimizers:
            averages = 2 if isinstance(optimizer, torch.optim.AdamW) else 1
            total += averages * 4 * sum(local(parameter).numel() for parameter in parameters)
        return total

    def restore(self, tensors: dict[str, Tensor]) -> None:
        stored: dict[nn.Parameter, dict[str, Any]] = {}
        for path, value in tensors.items():
            player, index, kind = path.rsplit("/", 2)
            if player != self.name:
                continue
            parameter = self.parameters[int(index)]
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter).copy_(placed(value, parameter))
            elif value.numel() not in (1, parameter.numel()):
                raise CheckpointError(
                    f"The optimiser state {path} has the shape {tuple(value.shape)}; expected "
                    f"{tuple(parameter.shape)}."
                )
            stored.setdefault(parameter, {})[kind] = value
        for optimizer, parameters in self._optimizers:
            state = {at: stored[p] for at, p in enumerate(parameters) if p in stored}
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def _wide_kernels(module: nn.Module) -> set[int]:
    wide = set()
    for part in module.modules():
        if not isinstance(part, nn.Conv2d) or part.groups > 1:
            continue
        kernel = part.weight
        if kernel.requires_grad and min(len(kernel), kernel[0].numel()) >= NARROWEST:
            wide.add(id(kernel))
    return wide


def _waits(player: PlayerOptimizer) -> bool:
    places = {(p.device.type, hasattr(p, "device_mesh")) for p in player.parameters}
    return bool(player._matrices) or places != {("cuda", False)}


def _matrix(kernel: Tensor) -> Tensor:
    if kernel.is_contiguous():
        return kernel.view(len(kernel), -1)
    return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)


class Muon(torch.optim.Optimizer):
    """``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, batched by shape.

    Processors without bfloat16 compute in float32.

    References:
        Jordan et al., Muon (2024); Liu et al., Muon is Scalable for LLM Training (2025).
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            gradients = [matrix.grad for matrix in matrices]
            for matrix in matrices:
                if "momentum_buffer" not in self.state[matrix]:
                    self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
            averages = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
            torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
            updates = torch._foreach_lerp(gradients, averages, MOMENTUM)
            if group["weight_decay"]:
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            by_shape: dict[torch.Size, list[int]] = {}
            for index, matrix in enumerate(matrices):
                by_shape.setdefault(matrix.shape, []).append(index)
            for shape, indices in by_shape.items():
                # bfloat16, but on processors that only emulate it float32
                exact = matrices[indices[0]].device.type == "cpu" and not has_bfloat16()
                stacked = torch.stack([updates[i] for i in indices])
                moves = orthogonalise(stacked, torch.float32 if exact else torch.bfloat16)
                alpha = -group["lr"] * 0.2 * math.sqrt(max(shape))
                torch._foreach_add_([matrices[i] for i in indices], moves.unbind(), alpha=alpha)


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring the singular values of matrices close to 1 by five Newton-Schulz iterations."""
    x = matrices.to(dtype)
    norms = torch.stack(torch._foreach_norm(x.unbind())).clamp(min=EPS)  # type: ignore[arg-type]
    x = x.div_(norms[:, None, None]) if x is not matrices else x / norms[:, None, None]
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    rows, columns = x.shape[1:]
    if dtype == torch.bfloat16 or columns < 2 * rows:
        for _ in range(ITERATIONS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    else:
        for count in ROUNDS:
            x = _factor(x @ x.mT, count) @ x
    if tall:
        return x.mT
    return x


def _factor(gram: Tensor, count: int) -> Tensor:
    # A Newton-Schulz iteration (Jordan et al., Muon, 2024) multiplies X from the left by A I + P,
    # P = B G + C G^2, so G = X X^T becomes (A I + P) G (A I + P). Q is the product of these factors
    q = None
    for left in reversed(range(count)):
        p = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)  # P without its A
        if q is None:
            q = p.clone()
            q.diagonal(dim1=-2, dim2=-1).add_(A)
        else:
            q = torch.baddbmm(q, p, q, beta=A)
        if left:
            half = torch.baddbmm(gram, p, gram, beta=A)
            gram = torch.baddbmm(half, half, p, beta=A)
    assert q is not None
    return q


class Average:
    """Exponential moving average of a method's parameters and buffers.

    Args:
        method: Method to average.
        half_life: Half-life for long training, in training examples.
        share: Maximum half-life as a fraction of the training examples so far.
        twin: Copy of the method, which must be made before weights are sharded; None to copy it.

    References:
        Karras et al., EDM (2022), appendix F.2.
    """

    def __init__(
        self,
        method: Method,
        half_life: float,
        share: float,
        twin: Method | None = None,
    ) -> None:
        self.half_life = half_life
        self.share = share
        self.method = copy.deepcopy(method) if twin is None else twin
        self.method.eval().requires_grad_(False)
        parts = getattr(method, "averaged", (method,))
        averaged = set()
        for part in parts:
            averaged |= {id(tensor) for tensor in (*part.parameters(), *part.buffers())}
        self._left_out = set()
        self._averages = []
        self._theirs = []
        self._counts = []
        for (name, average), (_, theirs) in zip(_named(self.method), _named(method), strict=True):
            if id(theirs) not in averaged:
                average.data = theirs.data
                self._left_out.add(name)
                continue
            local(average).copy_(local(theirs))
            if average.is_floating_point():
                self._averages.append(local(average))
                self._theirs.append(local(theirs))
            else:
                self._counts.append((average, theirs))

    @torch.no_grad()
    def update(self, samples: int, batch: int) -> None:
        """Update the average after a step."""
        half_life = min(self.half_life, self.share * samples)
        weight = 1.0 if half_life <= 0 else 1 - 0.5 ** (batch / half_life)
        torch._foreach_lerp_(self._averages, self._theirs, weight)
        for average, theirs in self._counts:
            average.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            name: value
            for name, value in self.method.state_dict().items()
            if name not in self._left_out
        }


def _named(method: nn.Module) -> list[tuple[str, Tensor]]:
    return [*method.named_parameters(), *method.named_buffers()]
