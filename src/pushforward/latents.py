"""What can be done with the z of a one-call model: truncate it, search for that of given data, stay near it.

A GAN's generator and a VAE's decoder have neither an inverse nor noise levels, but all of a sample is in its z. Iterative models
have better means: guidance, `Flow.encode`, `pushforward.editing.vary`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.denoiser import Condition, rows_of
from pushforward.draws import Draws, RowDraws
from pushforward.editing import one_row
from pushforward.errors import Diverged, UsageError
from pushforward.transports import BATCH, Asked, Transport, check_transport, has_steps, inner_of

__all__ = ["Inversion", "Nearby", "Truncated", "invert", "truncate"]


def truncate(z: Tensor, limit: float) -> Tensor:
    """Standard normal numbers moved into [-limit, limit], each to the same quantile of the truncated normal distribution.

    With the normal distribution function F, every number becomes F^-1(F(-limit) + (F(limit) - F(-limit)) F(z)): monotone and odd
    in z, and z itself as the limit grows. The result has the distribution that drawing anew until all numbers are within the
    limit gives (Brock et al.), but it follows z continuously, so that one seed gives related samples at every limit.

    Args:
        z: Standard normal, any shape.
        limit: Above 0.

    Returns:
        z's shape and type.

    Raises:
        UsageError: For a limit that is not above 0.

    References:
        Brock, Donahue, Simonyan, Large Scale GAN Training for High Fidelity Natural Image Synthesis (2019), section 3.1.
    """
    if not limit > 0:
        raise UsageError(f"The limit of a truncation is above 0, got {limit}; without a limit nothing is truncated.")
    # by the lower tail, where small probabilities keep their digits
    edge = math.erfc(limit / math.sqrt(2)) / 2
    tail = edge + (1 - 2 * edge) * torch.erfc(z.double().abs() / math.sqrt(2)) / 2
    return (-torch.special.ndtri(tail) * z.sign()).clamp(-limit, limit).to(z.dtype)


class Truncated(Transport):
    """A one-call model whose z is kept within a limit (`truncate`): less varied samples, and truer ones while the model bears it.

    What z gets is the distribution of training, given that all its numbers are within the limit: what remains possible keeps its
    frequencies. Shrinking z by a factor psi does not, and belongs to the output w of a mapping network, whose mean is a typical w
    (Karras et al.). Small limits shrink |z| as well, 0.5 to 0.28 sqrt(d), and few models were made to bear that; how far one
    does, `pushforward.evaluation.truncation` measures.

    Args:
        inner: A one-call model: a `Map`, or a `Latent` of one.
        limit: The largest size of any number of z, above 0; from about 4 on it changes next to nothing.

    Raises:
        UsageError: For an iterative model, or a limit that is not above 0.

    References:
        Brock, Donahue, Simonyan (BigGAN, 2019), section 3.1; Karras, Laine, Aila (StyleGAN, 2019), appendix B, for psi.
    """

    def __init__(self, inner: Transport, limit: float) -> None:
        super().__init__()
        _one_call(inner, "Truncation", "Guidance makes its samples truer and less varied.")
        truncate(torch.zeros(1), limit)
        self.inner, self.limit = inner, float(limit)
        self.space, self.noise_shape = inner.space, inner.noise_shape

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """inner(truncate(z))."""
        return self.inner(truncate(z, self.limit), condition, draws)

    def noise(self, draws: Draws) -> Tensor:
        """The inner model's, before truncation."""
        return self.inner.noise(draws)

    @property
    def calls(self) -> int:
        """The inner model's."""
        return self.inner.calls


class Nearby(Transport):
    """Samples around one z of a one-call model: those of sqrt(1 - s^2) z + s n, with n standard normal.

    Were z a draw like any other, so would be what comes out, at every s. At strength 1 z is not looked at: what comes out is what
    the model itself draws with the same seeds.

    Args:
        inner: A one-call model: a `Map`, or a `Latent` of one.
        z: The middle, (*noise_shape), such as an `Inversion` holds.
        strength: s, in (0, 1]: small is nearly z, 1 a new sample.

    Raises:
        UsageError: For an iterative model, z of another shape, or a strength that is none.
    """

    z: Tensor

    def __init__(self, inner: Transport, z: Tensor, strength: float) -> None:
        super().__init__()
        _one_call(inner, "Varying z", "Vary its data: pushforward.editing.vary.")
        if tuple(z.shape) != tuple(inner.noise_shape):
            raise UsageError(f"Expected one z of shape {tuple(inner.noise_shape)}, got {tuple(z.shape)}.")
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.inner, self.strength = inner, float(strength)
        self.space, self.noise_shape = inner.space, inner.noise_shape
        self.register_buffer("z", z[None].to(inner.device), persistent=False)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """The inner model at the mixture; z is n."""
        return self.inner(math.sqrt(1 - self.strength**2) * self.z.to(z) + self.strength * z, condition, draws)

    @property
    def calls(self) -> int:
        """The inner model's."""
        return self.inner.calls


@dataclass(frozen=True)
class Inversion:
    """What `invert` found for n rows of data; all tensors are on the CPU.

    Args:
        z: (n, *noise_shape) float32.
        x: What the model makes of z, (n, *shape), data units.
        error: The root mean squared difference between x and the data, (n,), in standard deviations of the data.
        first: The same of the best z that was drawn before any optimisation, (n,).
        condition: What z was found with, n rows of each name; None for a model without conditions.
    """

    z: Tensor
    x: Tensor
    error: Tensor
    first: Tensor
    condition: Condition


def invert(
    transport: Transport,
    x: Tensor,
    condition: Asked = None,
    *,
    steps: int = 300,
    starts: int = 8,
    candidates: int = 256,
    lr: float = 0.1,
    prior: float = 0.01,
    seed: int = 0,
    batch: int = BATCH,
) -> Inversion:
    """Find the z whose samples are nearest to given data.

    For each row the best few of many random z are improved by Adam on the mean squared difference in model units plus
    prior (|z| / sqrt(d) - 1)^2, which holds z in d dimensions where noise lies. The rate falls to 0 on half a cosine. Of all
    starts and steps whose error is not above that of the best random z, the best is kept. Every row is searched for by itself,
    with the same random z: a row's result does not depend on the others.

    Args:
        transport: A one-call model: a `Map`, or a `Latent` of one.
        x: Data units, (n, *shape), n at least 1.
        condition: For example ``{"label": 3}``, or one for each row. None tries labels as often as they are in the training data,
            and keeps the one that fits best.
        steps: Updates; 0 takes the best random z.
        starts: How many z are improved for each row.
        candidates: How many random z these are chosen from, at least ``starts``.
        lr: Adam's rate at the start.
        prior: The weight of the pull towards |z| = sqrt(d); 0 leaves it out.
        seed: Of the random z, all of them others for every seed, and others than those that `Transport.sample` draws.
        batch: Rows computed at a time, at least one for each start.

    Returns:
        z, its samples and errors.

    Raises:
        UsageError: For an iterative model, data of another shape or range, or numbers that cannot be.
        Diverged: If the model gives nothing finite.

    References:
        Zhu, Krähenbühl, Shechtman, Efros, Generative Visual Manipulation on the Natural Image Manifold (2016);
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020), section 5 and appendix D.
    """
    _one_call(transport, "The search for z", "Its method encode solves from data to noise.")
    _check(x, steps, starts, lr, prior, batch)
    target = transport.space.to_model(torch.stack([one_row(transport, row) for row in x]))
    given = None if condition is None else transport.conditions(len(x), condition, seed)
    group, parts = max(1, batch // starts), []
    for start in range(0, len(x), group):
        rows = slice(start, start + group)
        search = _Search(transport, target[rows], starts, prior)
        search.begin(rows_of(given, rows), max(candidates, starts), seed, batch)
        parts.append(search.run(steps, lr))
    return _joined(parts)


def _one_call(transport: Transport, what: str, advice: str) -> None:
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner):
        raise UsageError(f"{what} is for one-call models, such as GANs and VAEs; this one takes {inner.steps} steps. {advice}")


def _check(x: Tensor, steps: int, starts: int, lr: float, prior: float, batch: int) -> None:
    if x.dim() == 0 or len(x) == 0:
        raise UsageError(f"Expected at least one row of data, (n, *shape); got shape {tuple(x.shape)}.")
    if steps < 0 or starts < 1 or batch < 1:
        raise UsageError(f"steps are 0 or more, starts and batch at least 1; got {steps}, {starts} and {batch}.")
    if not 0 < lr < math.inf or not 0 <= prior < math.inf:
        raise UsageError(f"lr is above 0, prior 0 or more, and both are finite; got {lr} and {prior}.")


class _Search:
    """Rows that are searched for together, several z for each; row i has the z from i starts to (i + 1) starts - 1."""

    def __init__(self, transport: Transport, target: Tensor, starts: int, prior: float) -> None:
        self.transport, self.target, self.starts, self.prior = transport, target, starts, prior

    def begin(self, given: Condition, candidates: int, seed: int, batch: int) -> None:
        """Choose the best random z of each row."""
        drawn = self.transport.noise(RowDraws(0, candidates, f"project/{seed}", self.transport.device))
        found = []
        for i in range(len(self.target)):
            one = rows_of(given, torch.zeros(candidates, dtype=torch.int64, device=self.target.device) + i)
            tried = self.transport.conditions(candidates, None, seed) if one is None else one
            with torch.no_grad():
                errors = torch.cat([self._tried(i, drawn, tried, slice(at, at + batch)) for at in range(0, candidates, batch)])
            best = errors.nan_to_num(torch.inf).argsort(stable=True)[: self.starts]
            found.append((drawn[best], rows_of(tried, best)))
        self.z = torch.cat([z for z, _ in found])
        self.condition = _together([tried for _, tried in found])

    def _tried(self, i: int, z: Tensor, tried: Condition, part: slice) -> Tensor:
        return self._error(self.transport(z[part], rows_of(tried, part)), self.target[i : i + 1])

    def _error(self, made: Tensor, target: Tensor) -> Tensor:
        """The mean squared error of each row as files hold it, within the data's bounds."""
        bounds = self.transport.space.bounds
        held = made if bounds is None else made.clamp(bounds[0].to(made), bounds[1].to(made))
        return (held - target).square().flatten(1).mean(1)

    def run(self, steps: int, lr: float) -> Inversion:
        """Improve all z, and take the best of each row."""
        z = self.z.clone().requires_grad_(True)
        optimizer, target = torch.optim.Adam([z], lr=lr), self.target.repeat_interleave(self.starts, 0)
        best, least = self.z.clone(), torch.full((len(z),), torch.inf, device=z.device)
        errors, first = least.clone(), least
        for i in range(steps + 1):
            with torch.enable_grad():
                made = self.transport(z, self.condition)
                pull = self.prior * _off_norm(z)
                (slope,) = torch.autograd.grad((made - target).square().flatten(1).mean(1).sum() + pull.sum(), z)
            error = self._error(made.detach(), target)
            first = error.view(-1, self.starts).amin(1).repeat_interleave(self.starts) if i == 0 else first
            worth = torch.where(error <= first, error + pull.detach(), torch.inf)
            better = worth < least
            best[better], least[better], errors[better] = z.detach()[better], worth[better], error[better]
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * i / max(1, steps))) / 2
            z.grad = slope
            optimizer.step()
        return self._best(best, least, errors, first)

    def _best(self, z: Tensor, least: Tensor, errors: Tensor, first: Tensor) -> Inversion:
        if not bool(least.view(-1, self.starts).amin(1).isfinite().all()):
            raise Diverged("The model gives nothing finite for any z: the weights have diverged. Use an earlier checkpoint.")
        rows = torch.arange(len(self.target), device=z.device) * self.starts
        at = rows + least.view(-1, self.starts).argmin(1)
        condition = rows_of(self.condition, at)
        with torch.no_grad():
            x = self.transport.space.to_data(self.transport(z[at], condition))
        held = None if condition is None else {name: part.cpu() for name, part in condition.items()}
        return Inversion(z[at].cpu(), x.float().cpu(), errors[at].sqrt().cpu(), first[at].sqrt().cpu(), held)


def _off_norm(z: Tensor) -> Tensor:
    """(|z| / sqrt(d) - 1)^2 of each row."""
    return ((z.flatten(1).square().mean(1) + 1e-12).sqrt() - 1).square()


def _together(conditions: list[Condition]) -> Condition:
    held = [one for one in conditions if one is not None]
    return {name: torch.cat([one[name] for one in held]) for name in held[0]} if held else None


def _joined(parts: list[Inversion]) -> Inversion:
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("z", "x", "error", "first")}
    return Inversion(**joined, condition=_together([part.condition for part in parts]))
