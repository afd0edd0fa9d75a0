"""Solvers of the probability-flow ODE and its stochastic kin."""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
