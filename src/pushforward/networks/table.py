"""Networks of tables: a transformer over columns, and a generator of rows whose indicators are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.data.spaces.table import TableSpace
from pushforward.data.tables.encoding import Coordinates, gumbel
from pushforward.networks.checks import check_input, size_choice
from pushforward.networks.dit import TransformerBlock, rescale
from pushforward.networks.embedding import Condition, Conditioning, Kinds, Modulation, kinds_of


class ColumnTransformer(nn.Module):
    """Transformer denoiser of rows: a token for each column, made of its coordinates and of whether it is given.

    Every column has linear layers of its own at the start and the end. Blocks are a DiT's and start as the identity.

    Args:
        starts: The first coordinate of each column, and after them the number of coordinates d.
        width: Length of a token, a multiple of ``heads``.
        depth: Number of blocks.
        heads: Attention heads.
        conditions: Kinds of condition by name; None for none.
        times: Number of times per example.

    References:
        Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021, for columns as tokens; Peebles and Xie,
        Scalable Diffusion Models with Transformers, 2023, for the blocks.
    """

    shares_time = True  # Times may be one for all rows, which is embedded once
    order: Tensor
    outputs: Tensor

    def __init__(
        self, starts: Sequence[int], *, width: int, depth: int, heads: int, conditions: Kinds = None, times: int = 1
    ) -> None:
        super().__init__()
        self.starts, self.width, self.depth, self.heads = tuple(starts), width, depth, heads
        self.conditions, self.times = kinds_of(conditions), times
        self.size, self.count = self.starts[-1], len(self.starts) - 1
        self.inputs = self.size + self.count
        widths = [stop - start for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True)]
        groups = [[j for j, wide in enumerate(widths) if wide == each] for each in sorted(set(widths))]
        self.enter, self.leave = nn.ParameterList(), nn.ParameterList()
        for group in groups:
            length = widths[group[0]]
            self.enter.append(nn.Parameter(torch.randn(len(group), length + 1, width) / math.sqrt(length + 1)))
            self.leave.append(nn.Parameter(torch.zeros(len(group), width + 1, length)))
        self._index(groups)
        self.position = nn.Parameter(0.5 * torch.randn(1, self.count, width))
        self.layers = nn.ModuleList([TransformerBlock(width, heads) for _ in range(depth)])
        self.conditioning = Conditioning(width, conditions=self.conditions, times=times, shares_time=True)
        starting = [1, 0, 0] * 2 * depth + [1, 0]
        self.modulation = Modulation(width, [width] * len(starting), starting, zero=True)

    def _index(self, groups: Sequence[Sequence[int]]) -> None:
        """Columns of one width together: where their coordinates and marks are, and where their tokens and outputs go."""
        coordinates = [[range(self.starts[j], self.starts[j + 1]) for j in group] for group in groups]
        for number, (group, places) in enumerate(zip(groups, coordinates, strict=True)):
            index = torch.tensor([[*place, self.size + j] for place, j in zip(places, group, strict=True)])
            self.register_buffer(f"inputs{number}", index, persistent=False)
            self.register_buffer(f"tokens{number}", torch.tensor(group), persistent=False)
        order = torch.tensor([j for group in groups for j in group])
        flat = torch.tensor([i for places in coordinates for place in places for i in place])
        self.register_buffer("order", order.argsort(), persistent=False)
        self.register_buffer("outputs", flat.argsort(), persistent=False)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], starts: Sequence[int] | None = None, conditions: Kinds = None, times: int = 1
    ) -> ColumnTransformer:
        """Build one of three sizes: tiny (width 32, depth 2), small (64, 3) or base (192, 6).

        ``shape`` is that of a row, (d,); without ``starts`` every coordinate is a column.
        """
        width, depth, heads = size_choice(size, {"tiny": (32, 2, 2), "small": (64, 3, 4), "base": (192, 6, 6)})
        starts = range(shape[0] + 1) if starts is None else starts
        return cls(starts, width=width, depth=depth, heads=heads, conditions=conditions, times=times)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Rows (n, d) from coordinates, and after them a mark for each column that is given, x (n, d + columns)."""
        check_input(x, (self.inputs,), "ColumnTransformer")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        assert vector is not None
        films = self.modulation(vector)
        parts = [
            torch.bmm(x[:, index].transpose(0, 1), weight) for index, weight in zip(self._held("inputs"), self.enter, strict=True)
        ]
        h = torch.cat(parts)[self.order].transpose(0, 1) + self.position
        for index, block in enumerate(self.layers):
            h = block(h, films[6 * index : 6 * index + 6])
        h = rescale(h, films[-2:]).transpose(0, 1)
        ends = [self._left(h[index], weight) for index, weight in zip(self._held("tokens"), self.leave, strict=True)]
        return torch.cat(ends, dim=1)[:, self.outputs].to(x.dtype)

    def _held(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}{number}") for number in range(len(self.enter))]

    @staticmethod
    def _left(h: Tensor, weight: Tensor) -> Tensor:
        return torch.baddbmm(weight[:, -1:], h, weight[:, :-1]).transpose(0, 1).flatten(1)


class StraightThrough(nn.Module):
    """A generator whose scores and logits become the coordinates of a row: each block is drawn from its logits.

    The first ``latent`` numbers of z are the network's; each further number makes the Gumbel noise of an indicator, so that z
    decides on the row alone. Of logits a and Gumbel numbers g the largest a + g has the probability softmax(a). Forward its
    indicator is exactly 1 and the others of the block 0; backward the gradient is that of softmax((a + g) / temperature).
    Scores of closed columns move to the score of the value that they stand for, and those of atoms and missing values to 0, as
    rows of the table have them; the gradient passes through the former unchanged.

    Args:
        network: ``network(z, None, condition)`` gives scores and logits (n, d) of z (n, latent).
        space: The table's columns.
        latent: Numbers of z that the network receives.
        temperature: That of the gradient, above 0.

    References:
        Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax (2017), section 2.2, "straight-through".
    """

    def __init__(self, network: nn.Module, space: TableSpace, latent: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.network, self.space, self.latent, self.temperature = network, space, latent, temperature
        self.layout = Coordinates(space)

    @staticmethod
    def noise_size(space: TableSpace, latent: int) -> int:
        """Length of z: ``latent``, and a number for each indicator."""
        return latent + sum(stop - start for start, stop in space.blocks)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Rows in model units, (n, d), of noise x (n, `noise_size`)."""
        check_input(x, (self.noise_size(self.space, self.latent),), "a generator of rows")
        out = self.network(x[:, : self.latent], t, condition)
        with torch.autocast(x.device.type, enabled=False):
            return self._rows(out.float(), gumbel(x[:, self.latent :].float()))

    def _rows(self, out: Tensor, noise: Tensor) -> Tensor:
        layout = self.layout
        noisy = (out.index_add(1, layout.indicators, noise) if len(layout.indicators) else out) / self.temperature
        soft = layout.log_shares(noisy).exp()
        rows = layout.chosen(noisy) + (soft - soft.detach()) if len(layout.indicators) else torch.zeros_like(out)
        scores = out[:, layout.scores]
        codes = layout.codes.gather(1, layout.value_of(scores.detach()).T).T
        scores = scores + torch.where(layout.closed, codes - scores, 0.0).detach()
        rows = rows.index_copy(1, layout.scores, layout.gated(rows) * scores)
        return (rows - layout.mean) / layout.std
