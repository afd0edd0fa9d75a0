"""What a report must say of the constraints that the samples of a model of a table meet."""

from __future__ import annotations

import numpy as np

from pushforward.data.spaces import Space, TableSpace
from pushforward.data.tables.constraints import TEXT, Constraint, numbers
from pushforward.errors import quoted
from pushforward.numbers import listing
from pushforward.transports.rejection import MEASURED, TURNS, Tally, named_constraints

__all__ = ["constraint_warnings"]


def constraint_warnings(own: Space, data: Space, tally: Tally) -> tuple[str, ...]:
    """Sentences on a model whose constraints are not those of the data, or that hardly meets its own.

    Args:
        own: The model's space.
        data: That of the data with which it is compared.
        tally: The draws of the samples that were scored.
    """
    if not isinstance(own, TableSpace) or not isinstance(data, TableSpace):
        return ()
    own_texts, other_texts = ({_meaning(each, space): quoted(each.text) for each in space.constraints} for space in (own, data))
    lacking, further = (
        [text for meaning, text in here.items() if meaning not in there]
        for here, there in ((other_texts, own_texts), (own_texts, other_texts))
    )
    sentences = []
    if lacking:
        sentences.append(
            f"it was trained without {_named(lacking)}: its samples may break what those of models with "
            f"{'it' if len(lacking) == 1 else 'them'} are drawn again to meet."
        )
    if further:
        sentences.append(
            f"its samples are drawn again until they meet {_named(further)}, which the data of this comparison does not have."
        )
    if tally.unmet:
        sentences.append(
            f"{tally.unmet:,} of its samples break {named_constraints(own)} still, after {MEASURED} further draws each, and are "
            f"scored as they are ({tally.share:.0%} of all draws did). Sampling draws each up to {TURNS} times."
        )
    return tuple(sentences)


def _meaning(constraint: Constraint, space: TableSpace) -> str:
    """A constraint in one spelling: a date is its second, however it is written."""
    fields = {field.name: field for field in space.fields}
    dated = constraint.quoted is not None and all(fields[name].kind == "date" for name in constraint.names)
    if not dated:
        return constraint.spelled(constraint.quoted)
    nothing = {name: np.zeros(0) for name in constraint.names}
    return constraint.spelled(float(numbers(constraint, fields, nothing)[TEXT]))


def _named(texts: list[str]) -> str:
    return f"the constraint{'s' * (len(texts) > 1)} {listing(texts)}"
