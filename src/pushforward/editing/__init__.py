"""Editing with a trained model."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
