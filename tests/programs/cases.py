"""Kinds of data that recipes and networks are tried on."""

import itertools

from pushforward.conditions import Label

SHAPES = [(2,), (17,), (1, 8, 8), (3, 13, 21), (4, 16, 16)]
# Every kind of data: the shape of an example, and whether it has labels
CASES = list(itertools.product(SHAPES, [False, True]))
IDS = ["x".join(map(str, shape)) + ("-labels" if labels else "") for shape, labels in CASES]


def class_labels(classes):
    """Build the conditions for a number of equally frequent classes; none for 0."""
    if classes:
        return {"label": Label.numbered(classes)}
    return {}
