"""Checks for parts of your own; each raises an `AssertionError` that names a violated law.

    from pushforward.testing import check_solver

    def test_my_solver():
        check_solver(MySolver)

See docs/check-your-part.md. Also small data sets, and denoisers in closed form.
"""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
