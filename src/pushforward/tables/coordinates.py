"""Layout of a table's coordinates as tensors, for networks and losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pushforward.errors import UsageError
from pushforward.methods.likelihoods import LOG_TAU, SPEED, START, Likelihood
from pushforward.networks.blocks import Condition, check_input
from pushforward.tables.columns import FARTHEST, Number
from pushforward.tables.space import TableSpace

# The least entropy, in nats, by which the cross-entropy of a block is divided: columns that hardly
# vary count for less.
LEAST_ENTROPY = 0.1
LEAST_SHARE = 1e-6
# Numbers in the longest vectors of processors, or a multiple: a kernel rounds the rest of a row
# otherwise than whole vectors.
VECTOR = 32


class Coordinates(nn.Module):
    """Positions of scores and indicator blocks among the coordinates of a table.

    There are m indicators, s scores, and at most e values in a closed column.

    Args:
        space: Space of the table.

    Attributes:
        spans: Ranges of coordinates (first, last, width) in order: neighbouring blocks of equal
            width, or scores, with width 0.
        owner: Index of the column of each coordinate, (d,).
        first: First coordinate of each column, (columns,).
        order: Coordinates of the indicators, grouped by block width, (m,).
        gate: For each coordinate, the indicator that its row has a score; d if there is none, (d,).
        blocked: Mask of columns with indicators, bool (columns,).
        absent: Mask of indicators of missing values, bool (d,).
        closed: Mask of scores of closed columns, bool (s,).
        edges: Scores where the values of a closed column begin and end, (s, e + 1), padded with
            `FARTHEST`.
        ranks: Ranks between the values of a closed column, or where the knots of an open one begin
            and end, alternating; increasing in float64 (s, r), padded with 1.
        codes: Score of each value, (s, e), padded with the last one.
        prior: Logarithm of each indicator's frequency, which is at least 1e-6; 0 for scores, (d,).
        entropy: Entropy of each column's indicators in nats, at least `LEAST_ENTROPY`, (columns,).
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...

    def __init__(self, space: TableSpace) -> None:
        super().__init__()
        self.size = space.size
        self.count = len(space.fields)
        self.spans = _spans(space)
        self.widths = sorted({stop - start for start, stop in space.blocks})
        constants = _of_columns(space) | _of_values(space)
        order = [np.zeros(0, dtype=np.int64)]
        for number, width in enumerate(self.widths):
            group = [np.arange(a, b) for a, b in space.blocks if b - a == width]
            constants[f"group{number}"] = np.array(group)
            order += group
        constants["order"] = np.concatenate(order)
        constants["indicators"] = np.sort(constants["order"])
        shares = np.array(space.mean)
        prior = np.where(constants["discrete"], np.log(np.maximum(shares, LEAST_SHARE)), 0.0)
        entropy = [_entropy(field.shares) for field in space.fields]
        floats = {
            "mean": shares,
            "std": np.array(space.std),
            "prior": prior,
            "entropy": np.maximum(entropy, LEAST_ENTROPY),
        }
        constants |= {name: value.astype(np.float32) for name, value in floats.items()}
        for name, value in constants.items():
            tensor = torch.from_numpy(np.ascontiguousarray(value))
            self.register_buffer(name, tensor, persistent=False)

    def log_shares(self, logits: Tensor) -> Tensor:
        """Compute log probabilities of each block, (n, d), from logits (n, d); 0 for scores.

        The result for a row does not depend on the batch. Without gradients, blocks are padded to
        whole vectors of the processor, which is several times faster; the result differs only by
        rounding.
        """
        if torch.is_grad_enabled():
            logarithms = [torch.log_softmax(block, dim=2) for block in self._blocks(logits)]
            return self._spread(logarithms, logits)
        rows = pad(logits.T, (0, VECTOR - logits.shape[0] % VECTOR))
        parts = []
        for start, stop, width in self.spans:
            part = rows[start:stop]
            if width:
                blocks = part.unflatten(0, ((stop - start) // width, width))
                parts.append(torch.log_softmax(blocks, dim=1).flatten(0, 1))
            else:
                parts.append(torch.zeros_like(part))
        if parts:
            return torch.cat(parts)[:, : logits.shape[0]].T.contiguous()
        return torch.zeros_like(logits)

    def chosen(self, logits: Tensor) -> Tensor:
        """Return one-hot indicators of each block's largest logit, (n, d); 0 for scores."""
        chosen = []
        for block in self._blocks(logits):
            largest = block.argmax(dim=2, keepdim=True)
            chosen.append(torch.zeros_like(block).scatter_(2, largest, 1.0))
        return self._spread(chosen, logits)

    def ordinary(self, indicators: Tensor) -> Tensor:
        """Return, for each coordinate, the indicator or probability that its score counts, (n, d).

        It is 1 for indicators and in columns without any.
        """
        one = torch.ones_like(indicators[:, :1])
        return torch.cat([indicators, one], dim=1).index_select(1, self.gate)

    def gated(self, indicators: Tensor) -> Tensor:
        """Return, for each score, the indicator or probability that a row has one, (n, s).

        1 in columns without a block.
        """
        return self.ordinary(indicators)[:, self.scores]

    def by_column(self, values: Tensor) -> Tensor:
        """Sum over the coordinates of each column, (n, columns)."""
        return values.new_zeros(values.shape[0], self.count).index_add_(1, self.owner, values)

    def to_model(self, rows: Tensor) -> Tensor:
        """Convert data units to model units, without column factors."""
        return (rows - self.mean) / self.std

    def joined(self, indicators: Tensor, scores: Tensor) -> Tensor:
        """Build rows in model units, (n, d), from indicators (n, d) and the scores that count."""
        rows = indicators.index_copy(1, self.scores, self.gated(indicators) * scores)
        return self.to_model(rows)

    def value_of(self, scores: Tensor) -> Tensor:
        """Return the index of the value of each score (n, s) in a closed column."""
        inner = self.edges[:, 1:-1]
        return torch.searchsorted(inner.contiguous(), scores.T.contiguous()).T

    def spread(self, x: Tensor, normal: Tensor) -> Tensor:
        """Resample the scores of rows so that they are standard normal in each column.

        A value of a closed column, or a knot of an open one, covers an interval of ranks, in which
        the score is drawn. Scores of atoms and missing values, which do not count, become noise.

        Args:
            x: Coordinates in data units, (n, d).
            normal: Standard normal numbers, one per score, (n, s).
        """
        scores = x[:, self.scores]
        rank = torch.special.ndtr(scores.double()).T.contiguous()
        ranks = self.ranks
        after = torch.searchsorted(ranks, rank).clamp(max=ranks.shape[1] - 1)
        upper = ranks.gather(1, after)
        lower = torch.where(after > 0, ranks.gather(1, (after - 1).clamp(min=0)), 0.0)
        u = lower + (upper - lower) * torch.special.ndtr(normal.double()).T
        drawn = torch.special.ndtri(u.clamp(1e-7, 1 - 1e-7)).T.to(x)
        drawn = torch.where(self.closed | (after.T % 2 == 1), drawn, scores)
        drawn = torch.where(self.gated(x) > 0.5, drawn, normal)
        return x.index_copy(1, self.scores, drawn)

    def _blocks(self, logits: Tensor) -> list[Tensor]:
        return [logits[:, self.get_buffer(f"group{number}")] for number in range(len(self.widths))]

    def _spread(self, blocks: list[Tensor], like: Tensor) -> Tensor:
        if not blocks:
            return torch.zeros_like(like)
        parts = torch.cat([block.flatten(1) for block in blocks], dim=1)
        return torch.zeros_like(like, dtype=parts.dtype).index_copy(1, self.order, parts)


def _entropy(shares: Sequence[float]) -> float:
    return sum(-share * math.log(share) for share in shares if share > 0)


def _spans(space: TableSpace) -> list[tuple[int, int, int]]:
    widths = [0] * space.size
    for start, stop in space.blocks:
        widths[start:stop] = [stop - start] * (stop - start)
    spans = []
    for width, neighbours in groupby(range(space.size), widths.__getitem__):
        places = list(neighbours)
        spans.append((places[0], places[-1] + 1, width))
    return spans


def gumbel(noise: Tensor) -> Tensor:
    """Convert standard normal to standard Gumbel numbers, -log(-log Phi(noise))."""
    return -torch.log(-torch.special.log_ndtr(noise))


def _of_columns(space: TableSpace) -> dict[str, np.ndarray]:
    discrete = np.ones(space.size, dtype=bool)
    discrete[list(space.scored)] = False
    gate = np.full(space.size, space.size)
    absent = np.zeros(space.size, dtype=bool)
    blocked = []
    for field, start, stop in space.spans:
        blocked.append(bool(field.shares))
        if field.scores and field.shares:
            gate[start] = start + 1
        if field.missing:
            absent[stop - 1] = True
    return {
        "owner": space.owners,
        "first": np.array(space.starts[:-1]),
        "discrete": discrete,
        "scores": np.flatnonzero(~discrete),
        "gate": gate,
        "blocked": np.array(blocked),
        "absent": absent,
    }


def _of_values(space: TableSpace) -> dict[str, np.ndarray]:
    numbers = [field for field in space.fields if isinstance(field, Number)]
    ends = list(map(_ends, numbers))
    ranks = [[*field.bounds.tolist(), 1.0] for field in numbers]
    return {
        "closed": np.array([field.closed for field in numbers], dtype=bool),
        "edges": _filled([edges for edges, _ in ends], 2).astype(np.float32),
        "codes": _filled([codes for _, codes in ends], 1).astype(np.float32),
        "ranks": _filled(ranks, 1),
    }


def _ends(field: Number) -> tuple[list[float], list[float]]:
    if not field.closed or not field.knots:
        return [-FARTHEST, FARTHEST], [0.0]
    inner = torch.special.ndtri(torch.from_numpy(field.bounds)).tolist()
    codes = field.encode(np.array(field.knots))[:, 0].tolist()
    return [-FARTHEST, *inner, FARTHEST], codes


def _filled(parts: list[list[float]], least: int) -> np.ndarray:
    length = max([least, *map(len, parts)])
    rows = [part + [part[-1]] * (length - len(part)) for part in parts]
    return np.array(rows, dtype=np.float64).reshape(-1, length)


class StraightThrough(nn.Module):
    """Generator of table rows that turns scores and logits into coordinates.

    The network receives the first ``latent`` dimensions of z; each further dimension gives the
    Gumbel noise of an indicator, so that only z determines the row. With logits a and Gumbel noise
    g, the indicator with the largest a + g is 1 and the others of its block are 0; the gradient is
    that of softmax(a + g). Scores of closed columns move to the score of their value, through which
    the gradient passes unchanged; scores of atoms and missing values become 0.

    Args:
        network: ``network(z, None, condition)`` returns scores and logits (n, d) for z (n, latent).
        space: The table's columns.
        latent: Number of entries of z that the network receives.

    Attributes:
        noise_size: Length of z: ``latent`` plus one number per indicator.

    References:
        Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax (2017), section 2.2,
        "straight-through".
    """

    def __init__(self, network: nn.Module, space: TableSpace, latent: int) -> None:
        super().__init__()
        self.network = network
        self.space = space
        self.latent = latent
        self.layout = Coordinates(space)
        self.noise_size = latent + space.size - len(space.scored)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Generate rows (n, d) in model units from noise x (n, `noise_size`)."""
        check_input(x, (self.noise_size,), "a generator of rows")
        out = self.network(x[:, : self.latent], t, condition)
        with torch.autocast(x.device.type, enabled=False):
            return self._rows(out.float(), gumbel(x[:, self.latent :].float()))

    def _rows(self, out: Tensor, noise: Tensor) -> Tensor:
        layout = self.layout
        rows = torch.zeros_like(out)
        if len(layout.indicators):
            noisy = out.index_add(1, layout.indicators, noise)
            soft = layout.log_shares(noisy).exp()
            rows = layout.chosen(noisy) + (soft - soft.detach())
        scores = out[:, layout.scores]
        codes = layout.codes.gather(1, layout.value_of(scores.detach()).T).T
        scores = scores + torch.where(layout.closed, codes - scores, 0.0).detach()
        return layout.joined(rows, scores)


class Rows(Likelihood):
    """Likelihood of table rows.

    Blocks are categorical, scores normal around the output with a learned variance per column.

    The output holds the means of scores and the logits of indicators. A score of an open column has
    a density. A value of a closed column has a probability: the probability of the scores that it
    covers. If a number is an atom or missing, only the indicators of its column count.

    Args:
        space: Space of the table.

    References:
        Xu et al., Modeling Tabular Data using Conditional GAN (TVAE, 2019), section 4.4, for a
        likelihood of each kind; Rybkin et al., sigma-VAE (2021), for the learned variance.
    """

    discrete = True
    mean_is_data = False

    def __init__(self, space: TableSpace) -> None:
        super().__init__(space)
        if not space.names:
            raise UsageError("Only tables have a row likelihood. Use the Gaussian likelihood.")
        self.layout = Coordinates(space)
        self.spread = nn.Parameter(torch.full((len(self.layout.scores),), START))

    @property
    def log_variance(self) -> Tensor:
        """Log variance of each score, (s,)."""
        return SPEED * self.spread

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Compute log p(x | z) in nats."""
        layout = self.layout
        decoded = decoded.float()
        rows = x * layout.std + layout.mean
        shares = (rows * layout.log_shares(decoded)).sum(1)
        scores = rows[:, layout.scores]
        means = decoded[:, layout.scores]
        deviation = torch.exp(self.log_variance / 2)
        errors = (scores - means) / deviation
        densities = -(errors.square() + self.log_variance + LOG_TAU) / 2
        place = layout.value_of(scores).T
        low = (layout.edges.gather(1, place).T - means) / deviation
        high = (layout.edges.gather(1, place + 1).T - means) / deviation
        each = torch.where(layout.closed, log_between(low, high), densities)
        return shares + (layout.gated(rows) * each).sum(1)

    def mean(self, decoded: Tensor) -> Tensor:
        shares = self.layout.log_shares(decoded.float()).exp()
        rows = torch.where(self.layout.discrete, shares, decoded.float())
        return self.layout.to_model(rows)

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Draw a row in model units.

        Indicators by Gumbel noise, scores with noise of the learned variance.
        """
        layout = self.layout
        rows = mean * layout.std + layout.mean
        drawn = layout.chosen(torch.log(rows.clamp(min=1e-30)) + gumbel(noise))
        scores = rows[:, layout.scores] + torch.exp(self.log_variance / 2) * noise[:, layout.scores]
        return layout.joined(drawn, scores)


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """Compute log(Phi(high) - Phi(low)), low < high, without cancellation in either tail."""
    turned = low + high > 0
    low, high = torch.where(turned, -high, low), torch.where(turned, -low, high)
    above = torch.special.log_ndtr(high)
    below = torch.special.log_ndtr(low)
    return above + torch.log(-torch.expm1((below - above).clamp(max=-1e-6)))
