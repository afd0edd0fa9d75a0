"""Evaluation of models and samples on held-out data. Names are imported on first use."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
