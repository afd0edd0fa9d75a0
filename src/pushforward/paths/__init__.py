"""Paths from data to noise, predictions on them, couplings, and training times."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
