"""Muon for many matrices: those of one shape are orthogonalised together, by products of batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.denoisers.precision import has_bfloat16

__all__ = ["Muon", "orthogonalise"]

MOMENTUM = 0.95
A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of the iteration X <- (A + B G + C G^2) X with G = X X^T."""
ITERATIONS = 5
EPS = 1e-7
"""The least norm that a matrix is divided by."""
BLOCKS = (3, 2)
"""Iterations in a row that update G alone in float32; longer blocks let errors of small singular values grow."""


class Muon(torch.optim.Optimizer):
    """The updates of ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, one batch of matrices per shape.

    PyTorch orthogonalises one matrix at a time, always in bfloat16. A processor without bfloat16 emulates it, many times slower
    than float32. Here such processors compute in float32.

    Args:
        params: Matrices.
        lr: The learning rate; an update's root mean square is 0.2 times it.
        weight_decay: Decoupled weight decay.

    References:
        Jordan et al., Muon (2024); Liu et al., Muon is Scalable for LLM Training (2025), for the scale.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            if matrices:
                self._move(matrices, group["lr"], group["weight_decay"])

    def _move(self, matrices: list[Tensor], lr: float, weight_decay: float) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        averages = [self._average(matrix) for matrix in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
        updates = torch._foreach_lerp(gradients, averages, MOMENTUM)
        if weight_decay:
            torch._foreach_mul_(matrices, 1 - lr * weight_decay)
        by_shape: dict[torch.Size, list[int]] = {}
        for index, matrix in enumerate(matrices):
            by_shape.setdefault(matrix.shape, []).append(index)
        for shape, indices in by_shape.items():
            moves = orthogonalise(torch.stack([updates[i] for i in indices]), working_dtype(matrices[indices[0]].device))
            alpha = -lr * 0.2 * math.sqrt(max(shape))
            torch._foreach_add_([matrices[i] for i in indices], moves.unbind(), alpha=alpha)

    def _average(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        return state["momentum_buffer"]


def working_dtype(device: torch.device) -> torch.dtype:
    """The type of the iteration: bfloat16, but on processors that only emulate it float32."""
    return torch.bfloat16 if device.type != "cpu" or has_bfloat16() else torch.float32


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring the singular values of each matrix to between about 0.7 and 1.2 by five Newton-Schulz iterations.

    Args:
        matrices: (batch, rows, columns).
        dtype: Of the computation.

    Returns:
        The same shape, in ``dtype``.
    """
    x = matrices.to(dtype)
    norms = torch.stack(torch._foreach_norm(x.unbind())).clamp(min=EPS)  # type: ignore[arg-type]
    x = x.div_(norms[:, None, None]) if x is not matrices else x / norms[:, None, None]
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    rows, columns = x.shape[1:]
    if dtype == torch.bfloat16 or columns < 2 * rows:
        for _ in range(ITERATIONS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    else:
        for count in BLOCKS:
            x = _iterated(x @ x.mT, count) @ x
    return x.mT if tall else x


def _iterated(gram: Tensor, count: int) -> Tensor:
    """The matrix Q by which ``count`` iterations multiply X, from G = X X^T alone: with P = A + B G + C G^2, G becomes P G P.

    All of these are polynomials of one symmetric matrix, so that they commute.
    """
    q: Tensor | None = None
    for left in reversed(range(count)):
        p = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)  # P without its A
        q = _plus_a(p) if q is None else torch.baddbmm(q, p, q, beta=A)
        if left:
            half = torch.baddbmm(gram, p, gram, beta=A)
            gram = torch.baddbmm(half, half, p, beta=A)
    assert q is not None
    return q


def _plus_a(p: Tensor) -> Tensor:
    q = p.clone()
    q.diagonal(dim1=-2, dim2=-1).add_(A)
    return q
