"""A server of trained runs: requests of many clients share network calls."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
