"""Denoisers: estimates of data, noise, score or velocity at a state and time; and guided ones."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
