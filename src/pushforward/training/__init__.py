"""Training: loop, budgets, averages, checkpoints and run folders."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
