"""Solvers of the probability-flow ODE and its stochastic kin."""

from pushforward.solvers.ddim import DDIM, Ancestral, Jump
from pushforward.solvers.exponential import DEIS, DPM, IPNDM, SingleStep, UniPC
from pushforward.solvers.runge_kutta import RK4, Adaptive, Euler, Heun, Midpoint
from pushforward.solvers.solver import Solver, as_solver, name_of, named, register
from pushforward.solvers.stochastic import DPMSDE, Churn, EulerMaruyama, PredictorCorrector

__all__ = [
    "DDIM",
    "DEIS",
    "DPM",
    "DPMSDE",
    "IPNDM",
    "RK4",
    "Adaptive",
    "Ancestral",
    "Churn",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "Jump",
    "Midpoint",
    "PredictorCorrector",
    "SingleStep",
    "Solver",
    "UniPC",
    "as_solver",
    "name_of",
    "named",
    "register",
]
