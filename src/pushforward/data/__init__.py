"""Data sets: a `Space`, training examples, a fixed held-out split, and batches by number.

Names are imported when first used.
"""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
