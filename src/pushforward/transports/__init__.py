"""Transports: z -> x, all that sampling, evaluation, comparison and export ever see.

Names are imported when first used.
"""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
