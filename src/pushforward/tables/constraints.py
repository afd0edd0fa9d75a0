"""Constraints that every row of a table meets, such as "end >= start"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, TypeGuard

import numpy as np

from pushforward.data.core.hashes import Floats, Mask
from pushforward.errors import UsageError, did_you_mean, quoted as in_quotes
from pushforward.numbers import finite, some
from pushforward.tables.column import Column, looked_up

Fields = Mapping[str, Column]
Values = Mapping[str, Floats]

TEXT = ""  # under which the number of a text stands beside those of columns; no column is called so
_COMPARED: dict[type, Callable[..., Any]] = {
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMPUTED: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_QUOTED = re.compile(r"`([^`]+)`")
LONGEST = 500
# relative difference up to which two sides are equal, since 0.1 + 0.2 is not 0.3 in binary
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Constraint:
    """Comparison of columns and numbers, combined by +, - and *, or of a column with a text.

    Rows with a missing value in one of the columns meet the constraint. Sides are equal if they
    differ only by rounding.

    Args:
        text: Comparison such as "end >= start", "a + b <= 100", "`hours-per-week` > 0" or "born >=
            '2001-01-01'". Names with characters other than letters, digits and underscores need
            backquotes.

    Raises:
        UsageError: For anything else.
    """

    text: str

    def __post_init__(self) -> None:
        self._tree  # noqa: B018

    @property
    def names(self) -> tuple[str, ...]:
        names = [node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)]
        return tuple(dict.fromkeys(names))

    @cached_property
    def quoted(self) -> str | None:
        for side in _sides(self._tree):
            if _is_text(side):
                return str(side.value)
        return None

    @property
    def plain(self) -> bool:
        """Whether columns or texts are compared by == or !=, as for categories."""
        plain = (ast.Eq, ast.NotEq, ast.Name)
        parts = (*self._tree.ops, *_sides(self._tree))
        return all(isinstance(part, plain) or _is_text(part) for part in parts)

    @cached_property
    def _tree(self) -> ast.Compare:
        quoted: dict[str, str] = {}

        def named(match: re.Match[str]) -> str:
            quoted[f"_quoted_{len(quoted)}"] = match[1]
            return f" {list(quoted)[-1]} "

        text = _QUOTED.sub(named, self.text)
        tree: ast.AST = ast.Constant(None)
        if len(text) <= LONGEST:
            with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                tree = ast.parse(text.strip(), mode="eval").body
        if not _is_comparison(tree):
            raise UsageError(
                f"{in_quotes(self.text[:80])} is not a constraint. Expected a comparison (<=, >=, "
                "<, >, == or !=) of columns and numbers, combined by +, - and *, such as end >= "
                'start, or of a column with a quoted text, such as state == "open". Put '
                "backquotes around names with characters other than letters, digits and _."
            )
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                node.id = quoted.get(node.id, node.id)
        return tree


def _is_comparison(tree: ast.AST) -> TypeGuard[ast.Compare]:
    if not isinstance(tree, ast.Compare) or not all(type(op) in _COMPARED for op in tree.ops):
        return False
    sides = _sides(tree)
    takes_text = len(sides) == 2 and any(isinstance(side, ast.Name) for side in sides)
    for side in sides:
        if not _computable(side) and not (takes_text and _is_text(side)):
            return False
    return any(isinstance(node, ast.Name) for node in ast.walk(tree))


def _sides(tree: ast.Compare) -> list[ast.expr]:
    return [tree.left, *tree.comparators]


def _is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _computable(node: ast.AST) -> bool:
    match node:
        case ast.BinOp():
            known = type(node.op) in _COMPUTED
            return known and _computable(node.left) and _computable(node.right)
        case ast.UnaryOp(op=ast.USub()):
            return _computable(node.operand)
        case ast.Constant(value=int() | float() as value):
            return not isinstance(value, bool) and abs(value) <= 1e300
    return isinstance(node, ast.Name)


def _computed(node: ast.AST, values: Values) -> Any:
    match node:
        case ast.BinOp():
            compute = _COMPUTED[type(node.op)]
            return compute(_computed(node.left, values), _computed(node.right, values))
        case ast.UnaryOp():
            return -_computed(node.operand, values)
        case ast.Constant(value=str()):
            return values[TEXT]
        case ast.Constant(value=int() | float() as number):
            return np.float64(number)
    assert isinstance(node, ast.Name)
    return values[node.id]


def check_constraints(constraints: Iterable[Constraint], fields: Fields) -> None:
    """Check that constraints refer to columns that exist and can be compared."""
    for constraint in constraints:
        who = f"The constraint {in_quotes(constraint.text)}"
        for name in constraint.names:
            if name not in fields:
                raise UsageError(
                    f'{who} refers to "{name}", which is not a column (texts need quotes).'
                    f"{did_you_mean(name, fields)} Columns: {some(fields, 30)}."
                )
        compared = [fields[name] for name in constraint.names]
        by_text = constraint.plain and all(field.levels for field in compared)
        unordered = any(field.kind in ("category", "boolean") for field in compared)
        ordered = constraint.quoted is not None or _same_order(compared)
        if not by_text and (unordered or not ordered):
            raise UsageError(
                f"{who} compares columns with no common order. A category can be compared only "
                "by == or != with a quoted text or another category, and ordered levels with "
                'levels in the same order. To define an order, use "kind": "ordinal" and '
                '"names" in a schema.'
            )
        if constraint.quoted is not None:
            _check_text(who, constraint, compared[0])


def _check_text(who: str, constraint: Constraint, field: Column) -> None:
    text = constraint.quoted or ""
    unequal = isinstance(constraint._tree.ops[0], ast.NotEq)
    forbids = unequal and field.kind in ("category", "ordinal")
    if forbids or not np.isnan(field.read([text])[0]):
        return
    expected = some(field.levels) or "a number, or a date such as 2021-03-04"
    raise UsageError(
        f'{who} compares "{field.name}" with {in_quotes(text)}.{did_you_mean(text, field.levels)} '
        f"Expected {expected}."
    )


def holds(constraint: Constraint, fields: Fields, values: Values) -> Mask:
    """Return whether each row meets a constraint, (n,).

    Categories and levels are compared by their positions among the texts of all compared columns,
    or as numbers if all these texts are numbers. A text that does not occur in its column equals
    nothing.

    Args:
        values: Values of the columns by name, (n,), NaN if missing.
    """
    tree = constraint._tree
    names = constraint.names
    levels = _texts([fields[name] for name in names])
    numbers: dict[str, Any] = {}
    for name in names:
        numbers[name] = _numbered(fields[name], values[name], levels)
    missing = np.isnan(list(numbers.values())).any(axis=0)
    if constraint.quoted is not None:
        field = fields[names[0]]
        numbers[TEXT] = _numbered(field, field.read([constraint.quoted]), levels)[0]
    sides = [_computed(side, numbers) for side in _sides(tree)]
    met: Any = True
    for op, (left, right) in zip(tree.ops, pairwise(sides), strict=True):
        near = np.abs(left - right) <= _ROUNDING * np.maximum(np.abs(left), np.abs(right))
        plain = _COMPARED[type(op)](left, right)
        if isinstance(op, (ast.Lt, ast.Gt, ast.NotEq)):
            met = met & plain & ~near
        else:
            met = met & (plain | near)
    return np.asarray(met | missing)


def _numbered(field: Column, values: Floats, levels: Sequence[str]) -> Floats:
    if not levels:
        return field.numbers(values)
    return looked_up(list(map(levels.index, field.levels)), values)


def _same_order(fields: Sequence[Column]) -> bool:
    texts = _texts(fields)
    if len(texts) > max(len(field.levels) for field in fields):
        return False
    if not texts:
        return True
    return all(sorted(f.levels, key=texts.index) == list(f.levels) for f in fields)


def _texts(fields: Sequence[Column]) -> tuple[str, ...]:
    named = [field.levels for field in fields]
    texts = list(chain.from_iterable(named))
    if not all(named) or all(finite(text) is not None for text in texts):
        return ()
    return tuple(dict.fromkeys([*max(named, key=len), *texts]))


def beyond_ranges(fields: Sequence[Column], values: Floats, given: Mask) -> str:
    """Describe given numbers and dates outside the training rows' ranges; empty without any.

    Args:
        values: Values (n, columns).
        given: Mask of the given values, bool (n, columns).
    """
    beyond = []
    for field, column, known in zip(fields, values.T, given.T, strict=True):
        low, high = field.range or (-np.inf, np.inf)
        outside = column[known & ((column < low) | (column > high))]
        if len(outside):
            cell, first, last = field.cells(np.array([outside[0], low, high]))
            beyond.append(
                f"{len(outside):,} of {field.name}, such as {cell} (the range is {first} to {last})"
            )
    if beyond:
        return (
            f"Values outside the training range: {some(beyond)}. The model uses the nearest values "
            "in the range."
        )
    return ""
