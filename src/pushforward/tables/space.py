"""Space of tables with mixed types: numbers, dates, categories and missing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pushforward.conditions.kind import Shape
from pushforward.data.core.hashes import Array, Floats, Integers, Mask, blocks
from pushforward.data.spaces.scaled import ScaledSpace, VectorSpace
from pushforward.data.spaces.space import Samples, Space
from pushforward.errors import DataError, quoted
from pushforward.registries import at
from pushforward.tables.column import Column, known_in
from pushforward.tables.columns import renumbered
from pushforward.tables.constraints import Constraint, check_constraints, holds
from pushforward.tables.reading.csv_dialect import Layout
from pushforward.tables.reading.string_columns import some

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn


ROWS = 65_536  # how many rows are encoded at a time
# The unit of indicators: two categories are as far from each other, 2, as the two values of a
# number that is -1 or 1.
INDICATOR_SCALE = 0.5**0.5
# The greatest number of coordinates that are compared as they are: as many as the features "raw"
# take
RAW_COORDINATES = 1024
ATTACK = 10_000  # samples that an attack uses at most
TO_LEARN = 50_000  # samples that a predictor of the target uses at most
RECIPES = {
    "autoencoder": "tables.recipes:autoencoder",
    "consistency": "tables.recipes:no_map",
    "ddpm": "tables.recipes:ddpm",
    "distil": "tables.recipes:distil",
    "dmd": "tables.recipes:no_map",
    "edm": "tables.recipes:edm",
    "flow": "tables.recipes:flow",
    "meanflow": "tables.recipes:no_map",
    "shortcut": "tables.recipes:no_map",
}


@dataclass(frozen=True)
class TableSpace(ScaledSpace):
    """Rows of a table as coordinates (d,): one score per numeric column, and blocks of indicators.

    Data units are scores and indicators, exactly one of which is 1 in each block; model units
    subtract the means of the indicators. `values` and `encoded` convert coordinates to the table's
    values and back.

    Args:
        fields: Columns of the table.
        target: Name of the column to predict; empty without one.
        layout: Format of the table's file.
        constraints: Constraints that every row meets.
    """

    fields: tuple[Column, ...] = ()
    target: str = ""
    layout: Layout = Layout()
    constraints: tuple[Constraint, ...] = ()

    noun = "row"
    recipes = RECIPES
    baselines = "tables.baselines:baselines"
    no_density = (
        "tables: categories, missing values and frequent numbers have no density. Use metrics of "
        "tables: detection, fidelity, column_shapes, pair_trends or utility."
    )
    repeats = True
    export_scripts = ("tables/reading/rows.py",)
    sides = ("d",)

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = sum(field.width for field in self.fields)
        texts = {len(self.layout.missing), len(self.layout.types)}
        names = {"", *self.names}
        if widths != self.shape[0] or self.target not in names or texts - {0, len(self.fields)}:
            raise DataError(
                f"{len(self.fields)} columns do not match {self.shape[0]} coordinates, the target "
                f'"{self.target}", or the layout of the file.'
            )
        check_constraints(self.constraints, {field.name: field for field in self.fields})

    @classmethod
    def accepts(cls, x: Array) -> bool:
        return x.ndim == 2 and x.dtype == np.float64

    @classmethod
    def stores(cls) -> str:
        return "float64 values of a table (n, columns)"

    @classmethod
    def of(cls, fields: Sequence[Column], target: str = "", **names: Any) -> Self:
        mean: list[float] = []
        std: list[float] = []
        for field in fields:
            mean += [0.0] * field.scores
            mean += field.shares
            std += [1.0] * field.scores
            std += [INDICATOR_SCALE] * len(field.shares)
        shape = (len(mean),)
        return cls(shape, tuple(mean), tuple(std), fields=tuple(fields), target=target, **names)

    @classmethod
    def measured(cls, x: Array, **names: Any) -> Self:
        if "fields" not in names:
            raise DataError(
                "float64 arrays (n, d) are reserved for values of a table: expected vectors, as "
                "x.astype(np.float32) makes them."
            )
        return cls.of(**names)

    def unscaled(self, shape: Shape) -> VectorSpace:  # type: ignore[override]
        return VectorSpace(shape, (0.0,) * shape[0], (1.0,) * shape[0], conditions=self.conditions)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(chain.from_iterable(field.coordinates for field in self.fields))

    @property
    def left_out(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the file's columns that the model does not learn."""
        return tuple(name for name in self.layout.columns if name not in self.names)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First coordinate of each column, followed by the number of coordinates."""
        return tuple(accumulate((field.width for field in self.fields), initial=0))

    @cached_property
    def spans(self) -> tuple[tuple[Column, int, int], ...]:
        """Columns with the start and end of their coordinates."""
        ends = pairwise(self.starts)
        return tuple((field, *span) for field, span in zip(self.fields, ends, strict=True))

    @cached_property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Start and end of each block of indicators."""
        spans = self.spans
        return tuple((start + field.scores, stop) for field, start, stop in spans if field.shares)

    @cached_property
    def scored(self) -> tuple[int, ...]:
        """Coordinates that are scores."""
        return tuple(start for field, start, _ in self.spans if field.scores)

    @property
    def likelihood(self) -> str:
        return "rows"

    @property
    def continuous(self) -> tuple[int, ...]:
        return self.scored

    def generator(self, network: nn.Module, latent: int) -> tuple[nn.Module, int]:
        generator = at("tables.coordinates:StraightThrough")(network, self, latent)
        return generator, generator.noise_size

    @cached_property
    def open(self) -> tuple[int, ...]:
        """Coordinates that are scores of open columns."""
        return tuple(start for field, start, _ in self.spans if field.open)

    @property
    def precision(self) -> torch.dtype:
        import torch

        if self.open:
            return torch.float64
        return torch.float32

    def to_model(self, x: Tensor) -> Tensor:
        return super().to_model(x.float())

    def finished(
        self,
        x: Tensor,
        condition: Mapping[str, Tensor] | None,
        normal: Callable[[Shape], Tensor],
    ) -> Tensor:
        """Add the digits to scores that float32 cannot represent.

        A float32 score represents the interval of numbers that are rounded to it; the result is
        drawn from this interval. Given columns keep the given scores.
        """
        import torch

        if not self.open:
            return x
        scores = x[:, self.open]
        within = torch.special.ndtr(normal((len(self.open),)).double().cpu()) - 0.5
        x = x.double()
        x[:, self.open] += within * torch.from_numpy(np.spacing(scores.abs().numpy()))
        name = known_in(self.conditions)
        if condition is None or name not in condition:
            return x
        given = condition[name].double().cpu()
        known = given[:, self.size :][:, self.owners] > 0.5
        return torch.where(known, given[:, : self.size], x)

    @cached_property
    def owners(self) -> Integers:
        """Index of the column of each coordinate, (d,)."""
        return np.repeat(np.arange(len(self.fields)), np.diff(self.starts))

    def encoded(self, values: Floats, *, foreign: bool = False) -> Array:
        """Encode values (n, columns) as coordinates in data units, float32 (n, d).

        Args:
            values: Values float64, NaN if missing.
        """
        gaps = np.isnan(values).any(axis=0)
        gaps &= ~np.array([field.missing for field in self.fields], dtype=bool)
        lacking = np.array(self.names)[gaps]
        if len(lacking) and not foreign:
            raise DataError(
                "These columns have no missing values in the training data, but values are "
                f"missing: {', '.join(lacking)}."
            )
        out = np.empty((len(values), self.starts[-1]), dtype=np.float32)
        for block in blocks(len(values), ROWS):
            for place, (field, start, stop) in enumerate(self.spans):
                out[block, start:stop] = field.encode(values[block, place])
        return out

    def values(self, x: Tensor | Array) -> Floats:
        """Decode coordinates in data units, which need not be exact, to values float64."""
        import torch

        if isinstance(x, torch.Tensor):
            examples = x.detach().cpu().double().numpy()
        else:
            examples = np.asarray(x)
        decoded = [field.decode(examples[:, start:stop]) for field, start, stop in self.spans]
        return np.column_stack(decoded)

    def unknown(self, values: Floats) -> Mask:
        """Mark the values (n, columns) that a model cannot learn."""
        pairs = zip(self.fields, values.T, strict=True)
        return np.column_stack([field.unknown(column) for field, column in pairs])

    def cells(self, x: Tensor | Array) -> list[list[Any]]:
        parts = zip(self.fields, self.values(x).T, self.missing_texts, strict=True)
        columns = [field.cells(column, text) for field, column, text in parts]
        return list(map(list, zip(*columns, strict=True)))

    records = cells

    def frame(self, x: Tensor, fill: Mapping[str, str] | None = None) -> Any:
        frame_of = at("tables.reading.frames:frame_of")
        return frame_of(self.fields, self.values(x), self.layout, fill)

    def valid(self, x: Tensor) -> Mask | None:
        if self.constraints:
            return self.met(self.values(x))
        return None

    def met(self, values: Floats) -> Mask:
        fields = {field.name: field for field in self.fields}
        named = dict(zip(self.names, values.T, strict=True))
        met = np.ones(len(values), dtype=bool)
        for constraint in self.constraints:
            met &= holds(constraint, fields, named)
        return met

    def quantise(self, x: Tensor | Array) -> Array:
        return self.encoded(self.values(x))

    def rounded(self, x: Tensor) -> Tensor:
        import torch

        return torch.from_numpy(self.quantise(x))

    def encoder(self, data: Any) -> Any:
        return at("tables.metrics.table:RowEncoder")(data)

    def features(self, labelled: bool, known: bool) -> str:
        if self.size <= RAW_COORDINATES:
            return "raw"
        return "pca"

    @property
    def redraws(self) -> int:
        return 10  # metrics of rows take long

    def samples_needed(self, n: int, training: int) -> int:
        """Return twice the number of training rows, at most 10,000, for attacks.

        For a predictor of the target as many rows.

        Attacks need many samples to find a model that repeats rows. A predictor learns from at most
        50,000 samples.
        """
        learned = min(training, TO_LEARN) if self.target else 0
        return max(n, min(2 * training, ATTACK), learned)

    def recoded(self, x: Tensor, space: Space) -> tuple[Tensor, Floats | None]:
        """Convert rows to the coordinates of another table with the same columns."""
        import torch

        if not isinstance(space, TableSpace) or self.names != space.names:
            return x, None
        if self.fields == space.fields:
            return x, None
        values = renumbered(self.values(x), self.fields, space.fields)
        return torch.from_numpy(space.encoded(values, foreign=True)), values

    def difference(self, data: Space) -> str:
        if not isinstance(data, TableSpace):
            return ""
        own = dict(zip(self.names, np.diff(self.starts), strict=True)).items()
        other = dict(zip(data.names, np.diff(data.starts), strict=True)).items()
        names = sorted({name for name, _ in own ^ other})
        hint = ""
        if any(field.rare for field in data.fields):
            hint = " If the model learned rare texts, use `rare=keep`."
        differing = some(map(quoted, names)) or "their order"
        return f"Columns or categories differ: {differing}.{hint}"

    def constraint_warnings(self, data: Space) -> tuple[str, ...]:
        if not isinstance(data, TableSpace):
            return ()
        differing = set(self.constraints) ^ set(data.constraints)
        if not differing:
            return ()
        texts = ", ".join(sorted(quoted(constraint.text) for constraint in differing))
        return (
            f"its training data and the data of this comparison differ in constraints: {texts}.",
        )

    def read(self, path: Path) -> Samples | None:
        if path.suffix.lower() not in at("tables.reading.reader:TABLES").endings:
            return None
        values = at("tables.reading.reader:read_rows")(path, self)
        return self.encoded(values, foreign=True), values

    def read_frame(self, frame: Any) -> Samples:
        values = at("tables.reading.reader:frame_rows")(frame, self)
        return self.encoded(values, foreign=True), values

    def notes(self, values: Floats, name: str) -> list[str]:
        columns = np.array(self.names)[self.unknown(values).any(axis=0)]
        if not len(columns):
            return []
        listed = some(map(quoted, columns))
        return [f"texts that are not categories of {name} count as unknown values, in {listed}."]

    @property
    def missing_texts(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.layout.missing or ("",) * len(self.fields)

    @property
    def writers(self) -> Mapping[str, str]:
        return {
            ".csv": "tables.reading.frames:write_text",
            ".tsv": "tables.reading.frames:write_text",
            ".parquet": "tables.reading.frames:write_samples",
        }

    def check_file(self, path: Path) -> None:
        if path.suffix.lower() == ".parquet":
            at("tables.reading.frames:for_parquet")(path)

    def export_layout(self) -> dict[str, Any]:
        columns = []
        for (field, start, stop), missing in zip(self.spans, self.missing_texts, strict=True):
            known = {"name": field.name, "start": start, "stop": stop, "kind": field.kind}
            columns.append(known | field.exported(missing))
        form = {"separator": self.layout.separator, "header": self.layout.header}
        return {"columns": columns, "table": form, "units": None}

    @property
    def endings(self) -> Mapping[str, str]:
        return {".csv": ".csv", ".tsv": ".tsv", ".parquet": ".parquet", ".npz": ".npz"}
