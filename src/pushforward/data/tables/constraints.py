"""Conditions that every row of a table meets, such as "end >= start"; `comparable` says what columns they compare."""

from __future__ import annotations

import ast
import copy
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.errors import UsageError
from pushforward.errors import quoted as in_quotes

__all__ = ["TEXT", "Constraint"]

TEXT = ""
"""Under which the number of a text stands beside those of columns; no column is called so."""

_COMPARED: dict[type, Callable[..., Any]] = {
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMPUTED: dict[type, Callable[..., Any]] = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_QUOTED = re.compile(r"`([^`]+)`")
LONGEST, DEEPEST = 500, 50
_ROUNDING = 1e-12
"""Relative difference up to which two sides are equal, since 0.1 + 0.2 is not 0.3 in binary."""


@dataclass(frozen=True)
class Constraint:
    """A comparison of columns of numbers or dates and numbers, joined by + - and *, or of a column with a text.

    A row with a missing value in one of the columns meets it. Sides that differ by rounding alone are equal.

    Args:
        text: Such as "end >= start", "a + b <= 100", "`hours-per-week` > 0" or "born >= '2001-01-01'"; backquotes stand around
            names that hold other characters than letters, digits and underscores.

    Raises:
        UsageError: For anything else.
    """

    text: str

    def __post_init__(self) -> None:
        """Check that it can be computed."""
        self._parsed  # noqa: B018

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it compares."""
        tree, quoted = self._parsed
        names = (quoted.get(node.id, node.id) for node in ast.walk(tree) if isinstance(node, ast.Name))
        return tuple(dict.fromkeys(names))

    @cached_property
    def quoted(self) -> str | None:
        """The text that it compares a column with; None where it compares with none."""
        tree, _ = self._parsed
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
        return next(texts, None)

    def spelled(self, value: float | str | None) -> str:
        """The comparison in one spelling, with this value in place of its text; blanks and kinds of quotes do not count."""
        parsed, quoted = self._parsed
        tree = copy.deepcopy(parsed)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                node.id = quoted.get(node.id, node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = repr(value)
        return ast.dump(tree)

    @property
    def plain(self) -> bool:
        """Whether its sides are single columns and texts, which are equal or not: all that categories can be compared by."""
        tree, _ = self._parsed
        sides = (tree.left, *tree.comparators)
        whole = all(isinstance(side, ast.Name) or _is_text(side) for side in sides)
        return whole and all(isinstance(op, (ast.Eq, ast.NotEq)) for op in tree.ops)

    @property
    def unequal(self) -> bool:
        """Whether it is a single !=."""
        tree, _ = self._parsed
        return len(tree.ops) == 1 and isinstance(tree.ops[0], ast.NotEq)

    def holds(self, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Whether each row meets it, (n,).

        Args:
            values: The numbers of each column, (n,), NaN where missing; that of the text under `TEXT`. See `comparable.numbers`.
        """
        tree, quoted = self._parsed
        sides = [_computed(side, quoted, values) for side in (tree.left, *tree.comparators)]
        missing: Any = np.any([np.isnan(values[name]) for name in self.names], axis=0)
        compared: Any = True
        for op, left, right in zip(tree.ops, sides, sides[1:], strict=False):
            near = _near(left, right)
            strict = isinstance(op, (ast.Lt, ast.Gt, ast.NotEq))
            plain = _COMPARED[type(op)](left, right)
            compared = compared & ((plain & ~near) if strict else (plain | near))
        return np.broadcast_to(compared | missing, np.shape(next(iter(values.values())))).copy()

    def possible(self, low: Mapping[str, NDArray[np.float64]], high: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Whether a row may meet it whose numbers lie between two ends, (n,); False only where none does.

        Args:
            low: The least number of each column, (n,).
            high: The greatest one.
        """
        tree, quoted = self._parsed
        sides = [_between(side, quoted, low, high) for side in (tree.left, *tree.comparators)]
        may: Any = True
        for op, left, right in zip(tree.ops, sides, sides[1:], strict=False):
            may = may & _may(type(op), left, right)
        return np.broadcast_to(may, np.shape(next(iter(low.values())))).copy()

    @cached_property
    def _parsed(self) -> tuple[ast.Compare, dict[str, str]]:
        """The comparison, and the names in backquotes by what stands for them in it."""
        quoted: dict[str, str] = {}

        def named(match: re.Match[str]) -> str:
            quoted[f"_quoted_{len(quoted)}"] = match[1]
            return f" {list(quoted)[-1]} "

        text = _QUOTED.sub(named, self.text)
        try:
            if len(text) > LONGEST:
                raise SyntaxError("it is too long")
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise _refused(self.text) from error
        if not isinstance(tree, ast.Compare):
            raise _refused(self.text)
        if not all(type(op) in _COMPARED for op in tree.ops):
            raise _refused(self.text)
        sides = (tree.left, *tree.comparators)
        for side in sides:
            if not (_is_text(side) and len(sides) == 2 and any(isinstance(other, ast.Name) for other in sides)):
                _check(side, self.text)
        if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
            raise _refused(self.text)
        return tree, quoted


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _check(node: ast.AST, text: str, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise _refused(text)
    if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        _check(node.left, text, depth + 1)
        _check(node.right, text, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check(node.operand, text, depth + 1)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)) or abs(node.value) > 1e300:
            raise _refused(text)
    elif not isinstance(node, ast.Name):
        raise _refused(text)


def _computed(node: ast.AST, quoted: Mapping[str, str], values: Mapping[str, NDArray[np.float64]]) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _computed(node.left, quoted, values), _computed(node.right, quoted, values)
        return _COMPUTED[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        return -_computed(node.operand, quoted, values)
    if isinstance(node, ast.Constant):
        return values[TEXT] if isinstance(node.value, str) else np.float64(node.value)  # type: ignore[arg-type]
    assert isinstance(node, ast.Name)
    return values[quoted.get(node.id, node.id)]


Ends = tuple[Any, Any]
"""The least and the greatest value of a side of a comparison."""


def _between(
    node: ast.AST, quoted: Mapping[str, str], low: Mapping[str, NDArray[np.float64]], high: Mapping[str, NDArray[np.float64]]
) -> Ends:
    """The ends of a side by interval arithmetic; a column that occurs twice counts as two."""
    if isinstance(node, ast.BinOp):
        left, right = _between(node.left, quoted, low, high), _between(node.right, quoted, low, high)
        results = [_COMPUTED[type(node.op)](a, b) for a in left for b in right]
        return np.minimum.reduce(results), np.maximum.reduce(results)
    if isinstance(node, ast.UnaryOp):
        least, greatest = _between(node.operand, quoted, low, high)
        return -greatest, -least
    return _computed(node, quoted, low), _computed(node, quoted, high)


def _may(op: type, left: Ends, right: Ends) -> Any:
    """Whether a comparison holds for some values between the ends of its sides."""
    if op in (ast.Gt, ast.GtE):
        return _may({ast.Gt: ast.Lt, ast.GtE: ast.LtE}[op], right, left)
    if op is ast.Eq:
        return _may(ast.LtE, left, right) & _may(ast.LtE, right, left)
    if op is ast.NotEq:
        return _may(ast.Lt, left, right) | _may(ast.Lt, right, left)
    near = _near(left[0], right[1])
    return (left[0] < right[1]) & ~near if op is ast.Lt else (left[0] <= right[1]) | near


def _near(left: Any, right: Any) -> Any:
    return np.abs(left - right) <= _ROUNDING * np.maximum(np.abs(left), np.abs(right))


def _refused(text: str) -> UsageError:
    return UsageError(
        f"{in_quotes(text[:80])} is no constraint: expected a comparison (<=, >=, <, >, == or !=) of columns and numbers, joined "
        'by +, - and *, such as end >= start, or of a column with a text, such as state == "open"; names with other characters '
        "than letters, digits and _ stand in backquotes."
    )
