"""Recipes: functions ``name(space, size="small", **settings) -> Recipe``, one module per family."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
