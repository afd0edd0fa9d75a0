"""Conditions of models, which a space declares by name, each with a kind (`ConditionKind`)."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
